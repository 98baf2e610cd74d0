# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Linux guest with an agent: shutdown, quiesce, thaw, time, as the guest itself reports them.

Each test has its control: the same without what is tested, and it is seen to be otherwise.
"""

from __future__ import annotations

import json
import shlex
import time
import typing as t
from collections.abc import Callable, Iterator

import _guests
import _hostside
import _linux
import pytest
from _hosts import Failure, Host
from _world import AT_THE_SNAPSHOT, World

NAME = _linux.TUX.name
#: Seconds that anything in this guest may take; it is emulated in an emulated host, and boots in half of it.
BOUND = 180.0
VOLUME = f"{_hostside.PLACES['ssd'].dataset}/{NAME}"
COPY = f"{VOLUME.split('/', maxsplit=1)[0]}/test-{NAME}"


class Tux:
    def __init__(self, host: Host) -> None:
        self.host = host
        self._log = _linux.log_path(NAME)

    def sh(self, script: str, check: bool = True) -> str:
        return self.host.sh(script, check)

    def vm(self, verb: str, **limits: t.Any) -> dict[str, t.Any]:
        done = self.host.call("vm", verb=verb, names=[NAME], **limits)
        assert not done.get("failed"), done
        return done

    def said(self) -> list[_linux.Boot | _linux.Count | str]:
        """Since the log was last forgotten."""
        return _linux.said(self.sh(f"cat {self._log}", check=False))

    def forget(self) -> None:
        """Empty the log, which QEMU's log daemon has open for appending."""
        self.sh(f": > {self._log}")

    def counts(self) -> list[_linux.Count]:
        return [one for one in self.said() if isinstance(one, _linux.Count)]

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + BOUND
        while not condition():
            assert time.monotonic() < end, f"no {what} within {BOUND:.0f} s; it said {self.said()[-5:]}"
            time.sleep(0.5)

    def hear(self, number: int = 2) -> _linux.Count:
        """Wait for that many more counts; the last one."""
        now = len(self.counts())
        self.wait(lambda: len(self.counts()) >= now + number, f"{number} counts")
        return self.counts()[-1]

    def ask(self, command: str, **arguments: t.Any) -> t.Any:
        words = json.dumps({"execute": command, "arguments": arguments})
        return json.loads(self.sh(f"virsh qemu-agent-command --timeout 30 {NAME} {shlex.quote(words)}"))["return"]

    def answers(self) -> bool:
        try:
            return self.ask("guest-ping") == {}
        except Failure:
            return False

    def ahead(self) -> float:
        """Its clock, of the host's; within what two questions take here."""
        return self.ask("guest-get-time") / 1e9 - float(self.sh("date +%s.%N"))

    def needs_recovery(self, name: str) -> bool:
        """Whether its filesystem in that set has to be recovered."""
        device = _guests.volume_path(COPY)
        self.sh(f"zfs clone -o volmode=dev -o readonly=on {VOLUME}@{name} {COPY}")
        try:
            wait = f"for i in $(seq 100); do test -b {device} && break; sleep 0.1; done"
            return _linux.needs_recovery(bytes.fromhex(self.sh(f"{wait}; head -c 2048 {device} | od -An -v -tx1")))
        finally:
            self.sh(f"udevadm settle; zfs destroy {COPY}")

    def backup(self, method: str) -> dict[str, t.Any]:
        done = self.host.call("backup", method=method, quiesce_limit=60)
        assert not done.get("failed"), done
        return done


@pytest.fixture(scope="module")
def alone(ready: World) -> World:
    """The Linux guest made, and no other VM running: it has the host to itself."""
    ready.fresh()
    off = ready.a.call("vm", verb="poweredoff", names=ready.names)
    assert not off.get("failed"), off
    _hostside.make_linux(ready.lab)
    return ready


@pytest.fixture
def tux(alone: World) -> Iterator[Tux]:
    """Running, counting, its agent answering."""
    one = Tux(alone.a)
    if alone.states()[NAME] != "running":
        one.forget()
        one.vm("started")
    one.hear(1)
    one.wait(one.answers, "answer of the agent")
    yield one
    alone.a.unwrap()
    one.sh(f"virsh -q domfsthaw {NAME}", check=False)


def test_its_filesystem_is_quiesced_for_the_set_alone(tux: Tux) -> None:
    frozen = tux.backup("freeze")
    assert frozen["vms"][NAME]["method"] == "frozen"
    assert tux.needs_recovery(frozen["set"])
    quiesced = tux.backup("quiesce")
    assert quiesced["vms"][NAME]["method"] == "quiesced", quiesced
    assert quiesced["set"].endswith("_Q")
    assert not tux.needs_recovery(quiesced["set"])
    print(f"quiesced for {quiesced['vms'][NAME]['interruption']:.2f} s, paused for {frozen['vms'][NAME]['interruption']:.2f} s")
    assert tux.ask("guest-fsfreeze-status") == "thawed"
    tux.hear()


@pytest.mark.long
def test_a_module_that_is_killed_leaves_it_quiesced_until_the_next_run(tux: Tux) -> None:
    tux.sh("rmdir /run/hvm-cut 2>/dev/null || true")
    tux.host.wrap(AT_THE_SNAPSHOT.format(body='kill -9 "$PPID"; exit 1'))
    assert tux.host.call("backup", method="quiesce", quiesce_limit=60)["kind"] == "Killed"
    tux.host.unwrap()
    assert tux.ask("guest-fsfreeze-status") == "frozen"
    tux.backup("freeze")
    assert tux.ask("guest-fsfreeze-status") == "thawed"
    tux.hear()


@pytest.mark.long
def test_its_clock_is_set_when_it_goes_on(tux: Tux) -> None:
    tux.sh(f"virsh -q suspend {NAME}")
    time.sleep(30)
    tux.sh(f"virsh -q resume {NAME}")
    assert tux.ahead() < -20
    assert tux.vm("frozen")["changed"]
    done = tux.vm("unfrozen")
    assert done["warnings"] == []
    assert abs(tux.ahead()) < 10
    assert tux.vm("saved")["changed"]
    time.sleep(20)
    done = tux.vm("restored")
    assert done["warnings"] == []
    assert abs(tux.ahead()) < 10
    tux.hear()


@pytest.mark.long
@pytest.mark.parametrize(("limits", "why", "by"), [({"acpi": 0}, "powerdown", "its agent"), ({"agent": 0}, "button", "ACPI")])
def test_it_is_shut_down(tux: Tux, limits: dict[str, int], why: str, by: str) -> None:
    done = tux.vm("shutdown", **{"agent": BOUND, "acpi": BOUND, **limits})
    assert done["actions"][0].startswith(f"{NAME} was shut down by {by}"), done
    assert done["vms"] == {NAME: "stopped"}
    assert [one for one in tux.said() if one in (f"down {why}", "closed")] == [f"down {why}", "closed"]
    last = tux.counts()[-1].number
    tux.forget()
    tux.vm("started")
    tux.wait(lambda: any(isinstance(one, _linux.Boot) for one in tux.said()), "boot")
    clean, found = next(one for one in tux.said() if isinstance(one, _linux.Boot))
    assert clean
    assert found in (last, last + 1)


@pytest.mark.long
def test_a_shutdown_unfreezes_it_first(tux: Tux) -> None:
    tux.vm("frozen")
    assert tux.vm("shutdown", agent=BOUND, acpi=0)["vms"] == {NAME: "stopped"}
    assert "closed" in tux.said()
