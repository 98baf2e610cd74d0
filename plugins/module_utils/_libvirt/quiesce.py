# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Filesystems of a guest, frozen by its agent for a moment, and surely thawed again."""

from __future__ import annotations

import contextlib
import json
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import guest_agent
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.errors import AGENT_TIMEOUT, AGENT_UNRESPONSIVE, code_of

#: Seconds; Windows thaws by itself after about ten (VSS).
LIMIT = 10
#: Seconds in which a guest must be seen thawed. An agent that is late with its freeze may freeze after we gave up on it.
THAW_LIMIT = 60.0


def has_agent(xml: str) -> bool:
    """Whether an agent has its end of the channel open. Pure.

    :param xml: of the domain, live: only there the channel has a state.
    """
    return guest_agent.channel(xml) == guest_agent.CONNECTED


def freeze(dom: t.Any, limit: int = LIMIT) -> int:
    """Freeze all filesystems of a guest; the caller thaws it, also when this fails.

    :param limit: seconds for the agent. Without one libvirt waits for ever (vdsm #160: 27905 s).
    :return: how many were frozen.
    """
    dom.agentSetResponseTimeout(limit)
    count = int(dom.fsFreeze())
    if count <= 0:
        raise HvmError("the agent has frozen no filesystem")
    return count


def thaw(
    dom: t.Any,
    limit: float = THAW_LIMIT,
    status: t.Callable[[t.Any], str | None] | None = None,
    clock: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
) -> int:
    """Thaw a guest and see that it is thawed.

    :param status: (dom) -> "thawed", "frozen", or None when that cannot be asked; then a second thaw that finds nothing frozen
        is the proof.
    :return: how many filesystems the first thaw that was answered has found frozen; 0: it had thawed by itself.
    :raises HvmError: when it is not seen thawed within `limit` seconds; `unheard` when the agent has not answered at all.
    """
    ask = status or fsfreeze_status
    deadline = clock() + limit
    found: int | None = None
    unheard = False
    while True:
        try:
            count = int(dom.fsThaw())
            found = count if found is None else found
            said = ask(dom)
            if said == "thawed" or (said is None and count == 0):
                with contextlib.suppress(Exception):
                    dom.agentSetResponseTimeout(guest_agent.BLOCK)
                return found
            reason, unheard = "its filesystems are still frozen", False
        except Exception as exc:  # noqa: BLE001  libvirtError, which may not be imported here
            reason, unheard = str(exc), found is None and code_of(exc) in (AGENT_UNRESPONSIVE, AGENT_TIMEOUT)
        if clock() > deadline:
            raise HvmError(
                f"VM {dom.name()} is not seen thawed: {reason}",
                f"It may hang. Look into it; 'virsh domfsthaw {dom.name()}' thaws it, or resetting it.",
                **({"unheard": True} if unheard else {}),
            )
        sleep(0.1 if found is not None else 1.0)


def is_unheard(exc: Exception) -> bool:
    """Whether `thaw` has failed since the agent has answered nothing."""
    return isinstance(exc, HvmError) and bool(exc.details.get("unheard"))


def fsfreeze_status(dom: t.Any) -> str | None:
    """What the agent itself says; None when it cannot be asked."""
    try:
        import libvirt_qemu

        answer = libvirt_qemu.qemuAgentCommand(dom, '{"execute": "guest-fsfreeze-status"}', 5, 0)
        said = json.loads(answer)["return"]
    except Exception:  # noqa: BLE001
        return None
    return str(said)
