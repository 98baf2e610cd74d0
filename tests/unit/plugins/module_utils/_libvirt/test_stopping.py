# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import sys
import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import guest_agent, stopping
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.stopping import Limits

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_guest import OFF, PAUSED, RUNNING, Error, Guest, Host

AGENT, ACPI = 2, 1
LIMITS = Limits(0.2, 0.2, 0.2)
FORCED = Limits(0.2, 0.2, 0.2, may_poweroff=True)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_POLL", 0.01)


def shutdown(guest: Guest, limits: Limits = LIMITS) -> str | None:
    host = Host(guest)
    return stopping.shutdown(host, guest.name(), processes=host.processes, limits=limits)


def poweroff(guest: Guest) -> str | None:
    host = Host(guest)
    return stopping.poweroff(host, guest.name(), processes=host.processes, limits=LIMITS)


@pytest.mark.parametrize(
    ("channel", "limits", "expected"),
    [
        ("connected", Limits(), [("agent", 60), ("acpi", 120)]),
        ("disconnected", Limits(), [("acpi", 120)]),
        ("none", Limits(), [("acpi", 120)]),
        ("connected", Limits(10, 20, 30, True), [("agent", 10), ("acpi", 20), ("poweroff", 30)]),
        ("connected", Limits(0, 20, 30, True), [("acpi", 20), ("poweroff", 30)]),
        ("connected", Limits(10, 0), [("agent", 10)]),
        ("none", Limits(10, 0), []),
    ],
)
def test_stages(channel: str, limits: Limits, expected: list[tuple[str, float]]) -> None:
    assert stopping.stages(channel, limits) == expected


@given(
    st.sampled_from(["none", "disconnected", "connected"]),
    st.builds(Limits, st.floats(0, 99), st.floats(0, 99), st.floats(0, 99), st.booleans()),
)
def test_nobody_is_switched_off_unasked_or_before_it_was_asked(channel: str, limits: Limits) -> None:
    found = stopping.stages(channel, limits)
    names = [stage for stage, dummy in found]
    assert names == [one for one in ("agent", "acpi", "poweroff") if one in names]
    assert all(seconds > 0 and seconds == getattr(limits, stage) for stage, seconds in found)
    assert "poweroff" not in names or limits.may_poweroff
    assert "agent" not in names or channel == guest_agent.CONNECTED


def test_by_its_agent() -> None:
    guest = Guest(agent=True, obeys=[AGENT])
    assert str(shutdown(guest)).startswith("web was shut down by its agent in 0.")
    assert guest.calls == [AGENT]
    assert shutdown(guest) is None


def test_by_acpi_without_an_agent_and_after_one_that_does_nothing() -> None:
    assert str(shutdown(Guest(obeys=[ACPI]))).startswith("web was shut down by ACPI in 0.")
    guest = Guest(agent=True, obeys=[ACPI])
    assert str(shutdown(guest)).startswith("web was shut down by ACPI in ")
    assert guest.calls == [AGENT, ACPI]


def test_an_agent_that_refuses_costs_no_time() -> None:
    guest = Guest(agent=True, obeys=[ACPI], refuses={AGENT: Error(86, "Guest agent is not responding")})
    began = time.monotonic()
    shutdown(guest, Limits(30, 5))
    assert time.monotonic() - began < 5
    assert guest.calls == [AGENT, ACPI]


def test_an_agent_that_never_comes_back_has_its_limit_too() -> None:
    guest = Guest(agent=True, obeys=[ACPI], hangs=[AGENT])
    began = time.monotonic()
    assert str(shutdown(guest)).startswith("web was shut down by ACPI")
    assert time.monotonic() - began < 5


def test_a_frozen_vm_goes_on_first() -> None:
    guest = Guest(state=PAUSED, obeys=[ACPI])
    shutdown(guest)
    assert guest.calls == ["resume", ACPI]


def test_a_guest_that_does_not_end_is_an_error_that_says_what_was_tried() -> None:
    guest = Guest(agent=True, refuses={AGENT: Error(86, "Guest agent is not responding")})
    with pytest.raises(HvmError) as caught:
        shutdown(guest)
    assert caught.value.what == (
        "VM web has not shut down (its agent: Guest agent is not responding; ACPI: it has not ended within 0 s)"
    )
    assert "It still runs." in caught.value.remedy
    assert (guest.now, guest.calls) == (RUNNING, [AGENT, ACPI])


def test_switched_off_only_when_asked() -> None:
    guest = Guest(obeys=["destroy"])
    assert str(shutdown(guest, FORCED)).startswith("web was switched off in ")
    assert guest.calls == [ACPI, "destroy"]


def test_poweroff() -> None:
    guest = Guest(obeys=["destroy"])
    assert poweroff(guest) == "web was switched off"
    assert poweroff(guest) is None
    assert guest.calls == ["destroy"]


def test_a_transient_vm_that_is_gone_has_ended() -> None:
    assert poweroff(Guest(obeys=["destroy"], transient=True)) == "web was switched off"
    assert str(shutdown(Guest(obeys=[ACPI], transient=True))).startswith("web was shut down by ACPI")


BUSY = Error(38, "Failed to terminate process 7 with SIGKILL: Device or resource busy")


@pytest.mark.parametrize(
    ("guest", "why"),
    [
        (Guest(refuses={"destroy": BUSY}), str(BUSY)),
        (Guest(), "it has not ended within 0 s"),
        (Guest(hangs=["destroy"]), "it has not ended within 0 s"),
        (Guest(obeys=["destroy"], process=True), "libvirt calls it stopped, but it has a process"),
        (Guest(obeys=["destroy"], process=True, transient=True), "libvirt calls it stopped, but it has a process"),
    ],
)
def test_what_cannot_be_proven_stopped_is_an_error(guest: Guest, why: str) -> None:
    for stop in (poweroff, lambda one: shutdown(one, FORCED)):
        guest.now = RUNNING
        with pytest.raises(HvmError) as caught:
            stop(guest)
        assert caught.value.what.startswith("VM web cannot be proven stopped (")
        assert why in caught.value.what
        assert caught.value.remedy == "Look for its process; do not start it elsewhere."


def test_one_that_libvirt_calls_stopped_already_and_that_has_a_process() -> None:
    with pytest.raises(HvmError, match="cannot be proven stopped"):
        poweroff(Guest(state=OFF, process=True))
    with pytest.raises(HvmError, match="cannot be proven stopped"):
        shutdown(Guest(state=OFF, process=True))


def test_a_kill_that_timed_out_may_yet_succeed() -> None:
    guest = Guest(obeys=["destroy"], refuses={"destroy": BUSY})
    assert poweroff(guest) == "web was switched off"


def test_a_libvirt_that_has_gone_proves_nothing() -> None:
    guest = Guest()

    def lose(dummy: t.Any) -> None:
        guest.lost = Error(38, "End of file while reading data")
        raise guest.lost

    guest._do = lose  # type: ignore[method-assign]
    for stop in (poweroff, shutdown):
        guest.lost = None
        with pytest.raises(HvmError, match=r"cannot be proven stopped .*End of file while reading data"):
            stop(guest)


def test_with_libvirts_own_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    libvirt = pytest.importorskip("libvirt")
    assert {AGENT, ACPI} == set(stopping._FLAGS.values())
    assert stopping._FLAGS[stopping.AGENT] == libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT
    assert stopping._FLAGS[stopping.ACPI] == libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
    assert libvirt.VIR_ERR_NO_DOMAIN == stopping.NO_DOMAIN
    # its test driver knows no flags
    monkeypatch.setattr(libvirt.virDomain, "shutdownFlags", lambda dom, dummy: dom.shutdown())
    conn = libvirt.open("test:///default")
    conn.lookupByName("test").suspend()
    assert str(stopping.shutdown(conn, "test", processes=list, limits=LIMITS)).startswith("test was shut down by ACPI in 0.")
    assert stopping.shutdown(conn, "test", processes=list) is None
    conn.lookupByName("test").create()
    assert stopping.poweroff(conn, "test", processes=list) == "test was switched off"
    conn.close()
