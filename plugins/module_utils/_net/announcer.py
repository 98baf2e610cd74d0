# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Tells the neighbours again where the shared addresses are, after the task that took them has ended.

A process of its own, since neither a task nor an interruption has a minute to wait. It listens as well: a machine that still
claims an address, such as a stale holder that was cut off, is answered by one more announcement, or its neighbours would go on
believing it (keepalived issues 166, 542, 1528). It ends by itself: when the addresses are gone, whoever took them away, or when
it has been quiet for long enough.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net import addresses as pure
from ansible_collections.hvm.pair.plugins.module_utils._net import arp, shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._net.declared import parse_shared
from ansible_collections.hvm.pair.plugins.module_utils._net.wire import Wire

#: Seconds after taking the addresses: for a neighbour that missed the first ones, a switch that was learning, a spanning tree.
REPEATS = (2.0, 10.0, 60.0)
#: Seconds between two answers to a conflict (RFC 5227 2.4 c: a host that keeps its address must not send more often).
DEFEND_INTERVAL = 10.0
#: Seconds without a conflict until it ends, and seconds after which it ends in any case.
QUIET, LONGEST = 600.0, 3600.0
#: Seconds between two looks at the clock; an address that goes is noticed within one.
TURN = 0.5

#: linux/rtnetlink.h: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_CHANGES = 0x1 | 0x10 | 0x100
_NETLINK_ROUTE = 0

Say = t.Callable[[str], None]


class Moments:
    """When to announce, and when to end: pure, with the clock's seconds given to each call."""

    def __init__(
        self, now: float, repeats: t.Sequence[float] = REPEATS, quiet: float = QUIET, longest: float = LONGEST
    ) -> None:
        self._due = sorted(now + seconds for seconds in repeats)
        self._defended = float("-inf")
        self._quiet, self._quiet_since = quiet, now
        self._end = now + longest

    def is_due(self, now: float) -> bool:
        """Whether to announce now; those that are late count as one."""
        late = [moment for moment in self._due if moment <= now]
        self._due = self._due[len(late) :]
        return bool(late)

    def conflict(self, now: float) -> None:
        """Somebody else claims an address: answer at once, but not more often than every DEFEND_INTERVAL."""
        self._quiet_since = now
        if self._defended <= now:  # none is planned that has not been sent yet
            self._defended = max(now, self._defended + DEFEND_INTERVAL)
            self._due = sorted([*self._due, self._defended])

    def is_over(self, now: float) -> bool:
        return now >= self._end or (not self._due and now >= self._quiet_since + self._quiet)


class _Changes:
    """Whether addresses or links of this host have changed since the last question (rtnetlink(7)). A context manager."""

    def __enter__(self) -> _Changes:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_ROUTE)
        self._socket.bind((0, _CHANGES))
        return self

    def __exit__(self, *dummy: object) -> None:
        self._socket.close()

    def any(self) -> bool:
        found = False
        while True:
            try:
                self._socket.recv(65536)
            except BlockingIOError:
                return found
            except OSError:  # ENOBUFS: there were more than fit
                return True
            found = True


class Watch:
    """:param addresses: ADDR/PREFIX; only those that this host has are spoken for."""

    def __init__(self, addresses: t.Sequence[str], interface: str, moments: Moments, say: Say) -> None:
        self._addresses, self._interface, self._moments, self._say = addresses, interface, moments, say
        self._shared = parse_shared(addresses)
        self._wire: Wire | None = None
        self._ours: set[str] = set()
        self._held: list[arp.Address] = []
        self._carrier = False
        self._owed = False  # an announcement that could not be sent

    def run(self, clock: t.Callable[[], float] = time.monotonic) -> str:
        """Until it is over. :return: why it ended."""
        with _Changes() as changes:
            self._look()
            while self._held:
                now = clock()
                if self._moments.is_over(now):
                    self._close()
                    return "nobody else has claimed the addresses for long enough"
                if changes.any():
                    had = self._carrier
                    self._look()
                    self._owed |= self._carrier and not had
                if self._moments.is_due(now) or (self._owed and self._carrier):
                    self._announce()
                self._listen(clock)
            self._close()
            return "the addresses are not here any more"

    def _look(self) -> None:
        links = shared_ip.read_links()
        self._ours = {link.mac for link in links.values()}
        places = pure.status(links, self._shared, self._interface).addresses
        self._held = [one.ip for one, where in zip(self._shared, places, strict=True) if where.enabled]
        link = links.get(self._interface)
        self._carrier = bool(link and link.up and link.carrier)

    def _announce(self) -> None:
        try:
            told = shared_ip.announce(self._addresses, self._interface)
            self._owed = False
        except HvmError as exc:
            self._owed = True
            self._say(str(exc))
        else:
            self._say(f"announced on {self._interface}: {', '.join(told) or 'nothing'}")

    def _listen(self, clock: t.Callable[[], float]) -> None:
        try:
            if self._wire is None:
                self._wire = Wire(self._interface, [one.ip for one in self._shared])
            for message in self._wire.heard(TURN):
                claimed = [one for one in self._held if message.claims(one)]
                if claimed and message.mac not in self._ours:
                    self._say(f"{message.mac} claims {claimed[0]} too")
                    self._moments.conflict(clock())
                    return
        except HvmError:  # the link went down under it
            self._close()
            time.sleep(TURN)

    def _close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


def main(arguments: t.Sequence[str]) -> int:
    """:param arguments: the interface, then each address as ADDR/PREFIX."""
    interface, *addresses = arguments

    def say(text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stdout.write(f"{text}\n")  # into the journal
            sys.stdout.flush()

    try:
        say(Watch(addresses, interface, Moments(time.monotonic()), say).run())
    except HvmError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return os.EX_OK
