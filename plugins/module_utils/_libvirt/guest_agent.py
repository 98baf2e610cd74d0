# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The agent in a guest: whether it answers, and the guest's clock. Every call of it has its limit."""

from __future__ import annotations

import contextlib
import functools
import time
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.hvm.pair.plugins.module_utils._libvirt import bounded
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.errors import AGENT_UNRESPONSIVE, code_of
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.state import RUNNING, state_of

CHANNEL = "org.qemu.guest_agent.0"
NONE, DISCONNECTED, CONNECTED = "none", "disconnected", "connected"
NO_AGENT = {NONE: "no channel for an agent", DISCONNECTED: "no agent is connected"}
NO_ANSWER = "the agent did not answer in time"
#: Seconds for one answer of an agent that is connected.
LIMIT = 5
#: For its clock: it runs hwclock, which waits for the next second (qga, guest-set-time); 5 s were too few in an emulated guest.
CLOCK_LIMIT = 20
#: Seconds until one that did not answer is asked again. Before each command libvirt greets the agent, and waits 5 s for that,
#: whatever its limit is (qemuAgentGuestSync); a guest that was just restored may take longer the first time.
_AGAIN = 0.5
#: Seconds for the clocks of all VMs together: they run meanwhile.
CLOCKS_LIMIT = 30.0
#: Agents that are asked at once. Of one connection libvirtd takes five requests at a time (max_client_requests); one stays free.
AT_ONCE = 4
#: virDomainAgentResponseTimeoutValues: as long as it takes, which is what libvirt begins with.
BLOCK = -2


def channel(xml: str) -> str:
    """What there is of an agent: "none" (no channel), "disconnected" (nobody at its other end), "connected". Pure.

    :param xml: of the domain, live: only there the channel has a state.
    """
    states = [
        target.get("state") == "connected"
        for target in ET.fromstring(xml).findall("./devices/channel/target")
        if target.get("name") == CHANNEL
    ]
    return NONE if not states else CONNECTED if any(states) else DISCONNECTED


def with_channel(xml: str, wanted: bool) -> str:
    """The XML of a domain with a channel for an agent, or without one. Pure.

    :param xml: inactive, with its secrets (VIR_DOMAIN_XML_INACTIVE, _SECURE): it is defined again.
    """
    root = ET.fromstring(xml)
    devices = root.find("devices")
    if devices is None:
        devices = ET.SubElement(root, "devices")
    for one in devices.findall("channel"):
        if one.find(f"./target[@name='{CHANNEL}']") is not None:
            devices.remove(one)
    if wanted:
        one = ET.SubElement(devices, "channel", type="unix")
        ET.SubElement(one, "source", mode="bind")
        ET.SubElement(one, "target", type="virtio", name=CHANNEL)
    return ET.tostring(root, encoding="unicode")


@contextlib.contextmanager
def limited(dom: t.Any, seconds: int = LIMIT) -> t.Iterator[None]:
    """The agent has so many seconds for an answer; afterwards as many as it likes, as before."""
    dom.agentSetResponseTimeout(seconds)
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # the VM may have ended
            dom.agentSetResponseTimeout(BLOCK)


def silence(dom: t.Any) -> str:
    """Why the agent does not answer; "" when it does.

    It is asked for the time, since a ping by libvirt_qemu would mark the VM as tainted.
    """
    found = channel(dom.XMLDesc(0))
    if found != CONNECTED:
        return NO_AGENT[found]
    try:
        with limited(dom):
            dom.getTime()
    except Exception as exc:  # noqa: BLE001  libvirtError, which need not be importable here
        return str(exc)
    return ""


def set_clock(
    conn: t.Any,
    names: t.Iterable[str],
    seconds: float = CLOCKS_LIMIT,
    now: t.Callable[[], int] = time.time_ns,
    brief: t.Collection[str] = (),
) -> list[str]:
    """Set the guests' clocks to the host's, after a restore or an unfreeze. Call it when all VMs run: it takes its time.

    The time is given in seconds: to set it from the guest's own hardware clock (VIR_DOMAIN_TIME_SYNC) is more than the agents of
    Windows can do, and after a restore that clock need not be right either.

    A VM that does not run is left out: its clock is set when it goes on.

    :param seconds: the limit for all of them together.
    :param brief: VMs whose pause was so short that one without an agent is not worth a warning.
    :return: warnings: one for each reason, with the VMs that have it.
    """

    def one(name: str) -> str:
        dom = conn.lookupByName(name)
        if state_of(dom) != RUNNING:
            return ""
        found = channel(dom.XMLDesc(0))
        if found != CONNECTED:
            return "" if name in brief else NO_AGENT[found]
        deadline = time.monotonic() + CLOCK_LIMIT
        while True:
            try:
                with limited(dom, CLOCK_LIMIT):
                    moment = now()
                    dom.setTime({"seconds": moment // 10**9, "nseconds": moment % 10**9})
                return ""
            except Exception as exc:
                if code_of(exc) != AGENT_UNRESPONSIVE or time.monotonic() > deadline:
                    raise
            time.sleep(_AGAIN)

    reasons: dict[str, list[str]] = {}
    functions = {name: functools.partial(one, name) for name in sorted(set(names))}
    for name, call in bounded.all_within(functions, seconds, AT_ONCE).items():
        reason = NO_ANSWER if call is None else str(call.error) if call.error else call.result
        if reason:
            reasons.setdefault(reason, []).append(name)
    return [
        f"the clock of {', '.join(vms)} is not set: {reason}. It may be behind by the time of the pause"
        for reason, vms in sorted(reasons.items())
    ]
