# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The relay's far end: one process for one connection, started by ssh with the word RELAY.

It loads little, since whoever connects over there waits for it. Which version of the library asks is not compared (channel.py
does that): an endpoint is allowed only in the midst of an operation, which has begun with such a comparison.
"""

from __future__ import annotations

import errno
import re
import socket
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.joint import join
from ansible_collections.hvm.pair.plugins.module_utils._peer.protocol import PING_EVERY, PROTOCOL, SILENCE
from ansible_collections.hvm.pair.plugins.module_utils._peer.wire import NO_SENSE, OPEN, Cut, Wire, told

#: Seconds for the first line.
HELLO = 30.0
#: Seconds that a socket which is not there yet may be waited for, whatever is asked.
LONGEST_WAIT = 600.0

#: (endpoint) -> path of the socket or the file; raises HvmError to refuse.
Permitted = t.Callable[[str], str]

_FILE = re.compile(r"(read|write):")


def serve(
    load: t.Callable[[], PairConfig],
    permitted: Permitted,
    source: int = 0,
    target: int = 1,
    ping_every: float = PING_EVERY,
    silence: float = SILENCE,
) -> int:
    """:return: what the process ends with: 0 when all that was relayed has been delivered."""
    wire = Wire(source, target, ping_every, silence)
    try:
        asked = wire.hear(HELLO)
        _check(load(), asked)
        endpoint = str(asked.get("endpoint"))
        path = permitted(endpoint)
    except Cut:
        return 1
    except HvmError as exc:
        error = exc
        return _last(lambda: wire.tell({"error": told(error)}))
    try:
        wire.tell({"ok": True})
        kind = _FILE.match(endpoint)
        if kind:
            from ansible_collections.hvm.pair.plugins.module_utils._peer import files

            files.give(wire, path) if kind[1] == "read" else files.take(wire, path)
        else:
            _relay(wire, endpoint, permitted, min(max(float(asked.get("wait", 0)), 0), LONGEST_WAIT))
    except Cut:
        return 1  # nobody is there to be told
    except (HvmError, OSError, ValueError) as exc:
        error = exc if isinstance(exc, HvmError) else HvmError(f"unexpected {type(exc).__name__}: {exc}")
        return _last(lambda: wire.fail(error))
    return 0


def _last(tell: t.Callable[[], None]) -> int:
    try:
        tell()
    except HvmError:
        pass  # nobody is there to be told
    return 1


def _check(config: PairConfig, asked: dict[str, t.Any]) -> None:
    if asked.get("protocol") != PROTOCOL:
        raise HvmError("the two hosts run different versions of hvm.pair", "Run the playbook hvm.pair.install on both hosts.")
    if asked.get("pair") != config.pair or asked.get("me") != config.peer.name:
        raise HvmError(
            f"this host belongs to the pair {config.pair} with {config.peer.name}, "
            f"not to {asked.get('pair')} with {asked.get('me')}",
            "Correct hvm_hosts in the inventory and run hvm.pair.install.",
        )


def _relay(wire: Wire, endpoint: str, permitted: Permitted, seconds: float) -> None:
    """The socket is connected when it is wanted and not before: who listens there may expect one connection only."""
    if wire.receive()[0] != OPEN:
        raise Cut(NO_SENSE)
    with _connect(wire, permitted(endpoint), seconds) as local:  # asked again: this may be long after the first line
        wire.send(OPEN)
        join(wire, local, near=False)


def _connect(wire: Wire, path: str, seconds: float) -> socket.socket:
    """Wait for somebody to listen there, with room for one more."""
    deadline = time.monotonic() + seconds
    while True:
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            local.setblocking(False)
            local.connect(path)
            return local
        except OSError as exc:
            local.close()
            if exc.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN):
                raise HvmError(f"the socket {path} cannot be reached: {exc.strerror or exc}", "") from exc
            if time.monotonic() >= deadline:
                raise HvmError(
                    f"nobody listens at the socket {path}" + (f", for {seconds:.0f} s" if seconds else ""),
                    "What should listen there has not begun, or has ended.",
                ) from exc
        wire.idle(0.05)
