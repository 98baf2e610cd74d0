# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What the other host may reach through the relay, and when; the agent's start with the word RELAY ends here.

Apart from agent.py: it loads little, and whoever connects over there waits for it.
"""

from __future__ import annotations

import os
import re

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig, load
from ansible_collections.hvm.pair.plugins.module_utils._peer.relayed import serve

LIBVIRT = "/run/libvirt/libvirt-sock"
#: Sockets of QEMU, NAME.sock, while VMs move.
MOVE = f"{role.RUN}/move"
#: Those of VMs that come back: QEMU makes its sockets in the one, the relay in the other, and each wants to be alone there.
BACK = f"{role.RUN}/back"
#: The overlays that VMs write into while they move; a filesystem of its own, not replicated.
OVERLAYS = f"{role.STATE}/overlays"
#: Operations under whose lock VMs move, or come back.
MOVING = ("migrate_unsecure", "recover")

_SOCKET = re.compile(r"(back:)?([a-z0-9]{1,40})\Z")
_FILE = re.compile(r"(?:read|write):([A-Za-z0-9_-][A-Za-z0-9._-]{0,199})\Z")


def path_of(endpoint: str) -> str:
    """The socket, or the file of `read:NAME` and `write:NAME`.

    :raises HvmError: for what is no endpoint. Without a "/", and not hidden, no name leads out of its directory.
    """
    if endpoint == "libvirt":
        return LIBVIRT
    socket = _SOCKET.match(endpoint)
    if socket:
        return f"{BACK if socket[1] else MOVE}/{socket[2]}.sock"
    file = _FILE.match(endpoint)
    if file and not file[1].endswith(".partial"):  # half of one that is being written
        return f"{OVERLAYS}/{file[1]}"
    raise HvmError(f"the relay knows no endpoint {endpoint[:80]!r}")


def refusal(gate: str | None, running: str, lent: bool) -> str:
    """Why nothing is to be reached now; "" when it may be.

    The other host can have itself lent the lock for whatever it likes. So that does not count on an ACTIVE host: VMs come back to
    one that asks for them itself.

    :param gate: what the gate's file says; `running`: for what the pair's lock is held here; `lent`: for the other host.
    """
    state = (gate or "").partition(" ")[0].strip()
    if state == role.ARRIVING or (running in MOVING and not (lent and state)):
        return ""
    if running in MOVING:
        return "this host is ACTIVE, and lets nobody in who only holds its lock"
    return f"no VMs are moving to or from this host ({f'it is held for {running}' if running else 'no operation runs here'})"


def endpoint(config: PairConfig, name: str) -> str:
    """Where the other host is let to, now.

    :raises HvmError: when it is not.
    """
    path = path_of(name)
    reason = refusal(read_text(role.GATE), operation.others_operation(), operation.is_lent())
    if reason:
        raise HvmError(
            f"the relay to {name} is refused: {reason}",
            f"It is open in the midst of {' and '.join(MOVING)} of the pair {config.pair} only.",
        )
    if path.startswith(f"{OVERLAYS}/") and not os.path.ismount(OVERLAYS):
        # what came would fill the root filesystem, and be hidden as soon as that one is mounted
        raise HvmError(f"{OVERLAYS} is not mounted here", "Mount it: zfs mount -a; see zfs list -o name,mountpoint,mounted.")
    return path


def main() -> int:
    return serve(load, lambda name: endpoint(load(), name))
