# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMs with guests that obey, or do not: agents and shutdowns, which libvirt's test driver does not have."""

from __future__ import annotations

import threading
import typing as t

RUNNING, PAUSED, OFF = 1, 3, 5
CHANNEL = '<channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"{}/></channel>'


class Error(Exception):
    """As libvirt.libvirtError."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self._code = code

    def get_error_code(self) -> int:
        return self._code


class Guest:
    """A VM.

    :ivar agent: None: no channel; False: nobody at its other end; True: connected.
    :ivar obeys: flags of shutdownFlags, and "destroy", that end it; all others have no effect.
    :ivar refuses: the same, with the error that they give.
    :ivar hangs: the same, that never come back.
    :ivar process: it has one, for `Hosts.processes`; None: while it is not off.
    """

    def __init__(self, name: str = "web", agent: bool | None = None, **more: t.Any) -> None:
        self._name, self.agent, self.now = name, agent, more.get("state", RUNNING)
        self.obeys: t.Collection[t.Any] = more.get("obeys", ())
        self.refuses: dict[t.Any, Error] = more.get("refuses", {})
        self.hangs: t.Collection[t.Any] = more.get("hangs", ())
        self.transient: bool = more.get("transient", False)
        self.process: bool | None = more.get("process")
        self.lost: Error | None = None
        self.calls: list[t.Any] = []
        self.clock: dict[str, int] = {}
        self.timeout = -2

    def name(self) -> str:
        return self._name

    def state(self) -> list[int]:
        if self.lost:
            raise self.lost
        if self.transient and self.now == OFF:
            raise Error(42, "Domain not found")
        return [self.now, 1]

    def XMLDesc(self, dummy: int = 0) -> str:
        state = ' state="connected"' if self.agent else ' state="disconnected"'
        channel = "" if self.agent is None else CHANNEL.format(state)
        return f"<domain><name>{self._name}</name><devices>{channel}</devices></domain>"

    def resume(self) -> None:
        self.calls.append("resume")
        self.now = RUNNING

    def _do(self, what: t.Any) -> None:
        self.calls.append(what)
        if what in self.hangs:
            threading.Event().wait(30)
        if what in self.obeys:
            self.now = OFF
        if what in self.refuses:
            raise self.refuses[what]

    def shutdownFlags(self, flag: int) -> None:
        self._do(flag)

    def destroy(self) -> None:
        self._do("destroy")

    def agentSetResponseTimeout(self, seconds: int) -> None:
        self.timeout = seconds

    def getTime(self) -> dict[str, int]:
        assert self.timeout > 0, "libvirt would wait for ever"
        self._do("time")
        return {"seconds": 1, "nseconds": 0}

    def setTime(self, moment: dict[str, int]) -> None:
        assert self.timeout > 0, "libvirt would wait for ever"
        self._do("set time")
        self.clock = moment


class Host:
    """A connection with these VMs."""

    def __init__(self, *guests: Guest) -> None:
        self.guests = {guest.name(): guest for guest in guests}

    def lookupByName(self, name: str) -> Guest:
        if name not in self.guests:
            raise Error(42, "Domain not found")
        return self.guests[name]

    def processes(self) -> list[str]:
        return [name for name, one in self.guests.items() if (one.now != OFF if one.process is None else one.process)]
