# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""After a start: until when VMs of the next priority wait for this one (`ready=`, `delay=` in its description)."""

from __future__ import annotations

import functools
import socket
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._libvirt import bounded, guest_agent
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.description import AGENT, endpoint

_POLL = 1.0
#: Seconds for one attempt to connect.
_CONNECT = 3.0


class Wait(t.NamedTuple):
    """:ivar ready: "agent", "tcp:HOST:PORT", or "".
    :ivar limit: seconds to become ready.
    :ivar delay: seconds after that.
    """

    name: str
    ready: str
    limit: float
    delay: float


def waits(infos: t.Mapping[str, t.Mapping[str, t.Any]], started: t.Iterable[str], last: bool) -> list[Wait]:
    """What to wait for after VMs of one priority were started. Pure.

    :param last: no group comes after them, so that nothing is gained by a delay.
    """
    found = [
        Wait(name, infos[name]["ready"], infos[name]["ready_timeout"], 0 if last else infos[name]["delay"])
        for name in sorted(started)
    ]
    return [one for one in found if one.ready or one.delay]


def wait_for(conn: t.Any, found: t.Sequence[Wait]) -> list[str]:
    """Wait for all of them at the same time.

    :return: warnings: the VMs that were not ready within their limits. The order goes on without them.
    """
    # a look at an agent or a port has its own limit and is not cut off: it may end that much after the VM's limit
    longest = max((one.limit + one.delay for one in found), default=0) + 2 * guest_agent.LIMIT + _CONNECT
    functions = {one.name: functools.partial(_wait, conn, one) for one in found}
    calls = bounded.all_within(functions, longest, max(len(found), 1))
    warnings = []
    for name, call in sorted(calls.items()):
        reason = guest_agent.NO_ANSWER if call is None else str(call.error) if call.error else call.result
        if reason:
            warnings.append(f"VM {name} was started and is not ready: {reason}")
    return warnings


def _wait(conn: t.Any, one: Wait) -> str:
    deadline = time.monotonic() + one.limit
    while one.ready:
        reason = _missing(conn, one)
        if not reason:
            break
        if time.monotonic() >= deadline:
            return f"{reason} ({one.ready}, {one.limit:.0f} s)"
        time.sleep(min(_POLL, one.limit))
    time.sleep(one.delay)
    return ""


def _missing(conn: t.Any, one: Wait) -> str:
    """Why it is not ready yet; "" when it is."""
    if one.ready == AGENT:
        return guest_agent.silence(conn.lookupByName(one.name))
    place = endpoint(one.ready)
    try:
        # endpoint() has passed it once, when the description was read
        with socket.create_connection(place or ("", 0), _CONNECT):
            return ""
    except OSError as exc:
        return str(exc)
