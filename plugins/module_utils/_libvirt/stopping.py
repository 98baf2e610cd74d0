# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The end of a VM: asked for by its agent, by the power button, or switched off; and the proof that it has ended."""

from __future__ import annotations

import dataclasses
import threading
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import guest_agent
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.bounded import Call
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.errors import NO_DOMAIN, code_of
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.state import FROZEN, STOPPED, state_of

AGENT, ACPI, POWEROFF = "agent", "acpi", "poweroff"
#: virDomainShutdownFlagValues: GUEST_AGENT, ACPI_POWER_BTN. One at a time: of several libvirt does not say which is first.
_FLAGS = {AGENT: 2, ACPI: 1}
_POLL = 0.2
#: Of one connection libvirtd takes five requests at a time (max_client_requests); one stays free to look at the VMs.
_ASKING = threading.Semaphore(4)

#: Names of the VMs that have a process on this host.
Processes = t.Callable[[], t.Collection[str]]

_ENDED_BY = {AGENT: "was shut down by its agent", ACPI: "was shut down by ACPI", POWEROFF: "was switched off"}
_ASKED = {AGENT: "its agent", ACPI: "ACPI", POWEROFF: "switching it off"}


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds for each stage of a shutdown; 0 leaves the stage out.

    :ivar poweroff: for switching off, and for the process to be gone after that.
    :ivar may_poweroff: whether a shutdown may end in switching it off.
    """

    agent: float = 60
    acpi: float = 120
    poweroff: float = 60
    may_poweroff: bool = False


def stages(channel: str, limits: Limits) -> list[tuple[str, float]]:
    """``[(stage, seconds)]`` of a shutdown, in their order. Pure.

    :param channel: what `guest_agent.channel` says. An agent that is not connected is not asked.
    """
    found = [
        (AGENT, limits.agent if channel == guest_agent.CONNECTED else 0),
        (ACPI, limits.acpi),
        (POWEROFF, limits.poweroff if limits.may_poweroff else 0),
    ]
    return [(stage, seconds) for stage, seconds in found if seconds > 0]


def seen_ended(dom: t.Any, processes: Processes) -> bool:
    """Libvirt calls it stopped, or does not know it any more, *and* there is no process of it."""
    return _libvirt_says(dom) == STOPPED and dom.name() not in processes()


def _libvirt_says(dom: t.Any) -> str:
    try:
        return state_of(dom)
    except Exception as exc:
        if code_of(exc) != NO_DOMAIN:
            raise
        return STOPPED


def shutdown(conn: t.Any, name: str, dummy: str = "", *, processes: Processes, limits: Limits = Limits()) -> str | None:
    """Unfreeze the VM, ask the guest to end, and wait; one stage after the other, each with its limit.

    :return: which stage it was that ended it, and after how long.
    :raises HvmError: when it has not ended: nobody may believe that it is off.
    """
    dom = conn.lookupByName(name)
    if seen_ended(dom, processes):
        return None
    try:
        if state_of(dom) == FROZEN:
            dom.resume()  # frozen it can hear nothing
        channel = guest_agent.channel(dom.XMLDesc(0))
    except Exception:  # noqa: BLE001  it may have ended between two looks; whatever else it is, the first stage will meet it
        channel = guest_agent.NONE
    tried = []
    for stage, seconds in stages(channel, limits):
        began = time.monotonic()
        reason = _try(dom, stage, seconds, processes)
        if not reason:
            return f"{name} {_ENDED_BY[stage]} in {time.monotonic() - began:.1f} s"
        tried.append(f"{_ASKED[stage]}: {reason}")
    raise _not_ended(dom, "; ".join(tried) or "no stage was allowed", limits)


def poweroff(conn: t.Any, name: str, dummy: str = "", *, processes: Processes, limits: Limits = Limits()) -> str | None:
    """Switch the VM off, and see that it is.

    :raises HvmError: when it cannot be proven.
    """
    dom = conn.lookupByName(name)
    if seen_ended(dom, processes):
        return None
    reason = _try(dom, POWEROFF, limits.poweroff, processes)
    if reason:
        raise _unproven(name, reason)
    return f"{name} was switched off"


def _try(dom: t.Any, stage: str, seconds: float, processes: Processes) -> str:
    """Why the stage did not end the VM; "" when it did.

    The call is not waited for: libvirt waits for an agent up to a minute, and for a process that it kills 40 seconds.
    """

    def ask() -> None:
        with _ASKING:
            if stage == POWEROFF:
                dom.destroy()
            else:
                dom.shutdownFlags(_FLAGS[stage])

    call = Call(ask)
    deadline = time.monotonic() + seconds
    refused = ""
    while True:
        if call.wait(_POLL) and call.error and not refused:
            refused = str(call.error)
            if stage != POWEROFF:  # the guest was never asked; but a kill that timed out may yet succeed
                deadline = 0.0
        try:
            if seen_ended(dom, processes):
                return ""
            doubt = "libvirt calls it stopped, but it has a process" if _libvirt_says(dom) == STOPPED else ""
        except Exception as exc:  # noqa: BLE001  libvirt does not answer: that proves nothing
            doubt = str(exc)
        if time.monotonic() >= deadline:
            return doubt or refused or f"it has not ended within {seconds:.0f} s"
        if call.wait(0):
            time.sleep(_POLL)


def _not_ended(dom: t.Any, tried: str, limits: Limits) -> HvmError:
    name = dom.name()
    try:
        running = _libvirt_says(dom) != STOPPED
    except Exception:  # noqa: BLE001
        running = False
    if not running or limits.may_poweroff:
        return _unproven(name, tried)
    return HvmError(
        f"VM {name} has not shut down ({tried})",
        "It still runs. Shut it down from inside, allow poweroff=true, or use state=poweredoff.",
    )


def _unproven(name: str, why: str) -> HvmError:
    return HvmError(f"VM {name} cannot be proven stopped ({why})", "Look for its process; do not start it elsewhere.")
