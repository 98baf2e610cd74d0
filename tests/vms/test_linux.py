# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Linux guest with an agent on the lab's ACTIVE host: shutdown, quiesce, thaw, time, as the guest itself reports them.

Wants the lab up and installed, like the scenarios: `tests/lab/lab.py exec -- .venv/bin/python -m pytest tests/vms`
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "lab"))

import _guests
import _hostside
import _linux
from _machines import Lab

NAME = _linux.TUX.name
#: Seconds that anything in this guest may take; it is emulated in an emulated host, and boots in half of it.
BOUND = 120.0


class Tux:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.host = _hostside.active(lab)

    def sh(self, script: str, check: bool = True) -> str:
        return self.lab.run(self.host, script, check=check).stdout.decode(errors="replace").strip()

    def state(self) -> str:
        return self.sh(f"LC_ALL=C virsh domstate {NAME}")

    def said(self) -> list[_linux.Boot | _linux.Count | str]:
        """Since the log was last forgotten."""
        return _linux.said(self.lab.run(self.host, f"cat {_linux.log_path(NAME)}", check=False).stdout.decode(errors="replace"))

    def forget(self) -> None:
        """Empty the log, which QEMU's log daemon has open for appending."""
        self.sh(f": > {_linux.log_path(NAME)}")

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
        with contextlib.suppress(_hostside.LabError):
            return self.ask("guest-ping") == {}
        return False

    def needs_recovery(self) -> bool:
        """Whether a snapshot of its disk, taken now, holds a filesystem that has to be recovered."""
        volume = f"{_hostside.PLACES['ssd'].dataset}/{NAME}"
        copy = f"{volume.split('/', 1)[0]}/test-{NAME}"
        device = _guests.volume_path(copy)
        read = f"for i in $(seq 100); do test -b {device} && break; sleep 0.1; done; dd if={device} bs=2048 count=1 status=none"
        self.sh(f"zfs snapshot {volume}@test && zfs clone -o volmode=dev -o readonly=on {volume}@test {copy}")
        try:
            return _linux.needs_recovery(self.lab.run(self.host, read).stdout)
        finally:
            self.sh(f"udevadm settle; zfs destroy {copy}; zfs destroy {volume}@test")


@pytest.fixture(scope="module")
def lab() -> Lab:
    lab = Lab(os.environ.get("HVM_LAB_NAME", "main"))
    _hostside.make_linux(lab)
    return lab


@pytest.fixture
def tux(lab: Lab) -> Iterator[Tux]:
    """Running, counting, its agent answering."""
    one = Tux(lab)
    if one.state() != "running":
        one.forget()
        one.sh(f"virsh -q start {NAME}")
    one.hear(1)
    one.wait(one.answers, "answer of the agent")
    yield one
    one.sh(f"virsh -q domfsthaw {NAME}", check=False)


def test_quiesce(tux: Tux) -> None:
    assert tux.needs_recovery()
    tux.sh(f"virsh -q domfsfreeze {NAME}")
    time.sleep(3)
    last = tux.counts()[-1]
    assert not tux.needs_recovery()
    assert tux.counts()[-1] == last
    tux.sh(f"virsh -q domfsthaw {NAME}")
    assert tux.ask("guest-fsfreeze-status") == "thawed"
    assert tux.hear().number > last.number


def test_time(tux: Tux) -> None:
    def ahead() -> float:
        """Of the host's clock; within what two questions take here."""
        return tux.ask("guest-get-time") / 1e9 - float(tux.sh("date +%s.%N"))

    tux.sh(f"virsh -q suspend {NAME}")
    time.sleep(30)
    tux.sh(f"virsh -q resume {NAME}")
    assert ahead() < -20
    tux.sh(f"virsh -q domtime {NAME} --sync")
    assert abs(ahead()) < 10


@pytest.mark.parametrize(("mode", "why"), [("agent", "powerdown"), ("acpi", "button")])
def test_shutdown(tux: Tux, mode: str, why: str) -> None:
    tux.sh(f"virsh -q shutdown {NAME} --mode {mode}")
    tux.wait(lambda: tux.state() == "shut off", "end")
    assert [one for one in tux.said() if one in (f"down {why}", "closed")] == [f"down {why}", "closed"]
    last = tux.counts()[-1].number
    tux.forget()
    tux.sh(f"virsh -q start {NAME}")
    tux.wait(lambda: any(isinstance(one, _linux.Boot) for one in tux.said()), "boot")
    clean, found = next(one for one in tux.said() if isinstance(one, _linux.Boot))
    assert clean
    assert found in (last, last + 1)
