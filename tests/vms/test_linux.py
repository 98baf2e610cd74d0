# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Linux guest with an agent: shutdown, quiesce, thaw, time, as the guest itself reports them.

Each test has its control: the same without what is tested, and it is seen to be otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import _linux
import pytest
from _tux import BOUND, NAME, Tux
from _world import AT_THE_SNAPSHOT, World


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
