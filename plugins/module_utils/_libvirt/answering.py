# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Whether a VM's QEMU answers at all.

libvirt waits for it without a limit, so that one that hangs would keep every VM paused that is to be paused together with it. To
libvirt such a VM runs; `virsh domcontrol` calls it occupied, once somebody has asked it something.
"""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._libvirt.bounded import all_within
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.errors import OPERATION_TIMEOUT, code_of

#: Seconds. A QEMU whose storage is slow needs some; ten of them are no VM that anybody uses.
LIMIT = 10.0
#: virDomainControlState: libvirt waits for QEMU's answer.
OCCUPIED = 2
#: VMs that are asked over one connection: libvirtd takes five requests of one at a time (max_client_requests).
EACH = 4


def silent(connect: t.Callable[[], t.Any], names: t.Sequence[str], limit: float = LIMIT) -> list[str]:
    """Those of these VMs that run and do not answer; nothing waits longer than `limit` seconds.

    :param connect: () -> a connection.
    """
    functions = {}
    conns = [connect() for dummy in range(0, len(names), EACH)]
    for number, name in enumerate(names):
        functions[name] = functools.partial(_answers, conns[number // EACH], name, limit)
    calls = all_within(functions, limit, max(len(functions), 1))
    found = [name for name, call in calls.items() if call is None or (call.error is None and not call.result)]
    if not found:  # one that is waited for still needs its own
        for conn in conns:
            conn.close()
    return found


def _answers(conn: t.Any, name: str, limit: float) -> bool:
    dom = conn.lookupByName(name)
    state, dummy, since = dom.controlInfo()  # milliseconds; without a word to QEMU
    if state == OCCUPIED and since > limit * 1000:
        return False
    try:
        dom.migrateGetMaxDowntime()  # the cheapest that QEMU itself is asked
    except Exception as exc:  # noqa: BLE001  any other error is an answer: it has ended, or cannot be asked this
        return code_of(exc) != OPERATION_TIMEOUT
    return True
