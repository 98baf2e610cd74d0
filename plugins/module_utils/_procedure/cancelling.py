# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The word of an operator that a running migration is to end: a file in /run, which the one that runs looks for."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._pair import moving, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import RUN

REQUEST = f"{RUN}/cancel"
#: What becomes of VMs that have moved.
BACK, STAY = "back", "stay"
#: Operations that look for it.
CAN = (moving.OPERATION,)
CANNED = " and ".join(CAN)
#: What becomes of them, in words.
SAID = {BACK: "VMs that have moved come back", STAY: "VMs that have moved stay there"}


def wanted() -> str | None:
    """BACK or STAY; None when nobody wants anything."""
    text = read_text(REQUEST)
    return None if text is None else STAY if text.strip() == STAY else BACK


def forget() -> None:
    """Before an operation begins: no word of before is meant for it."""
    if os.path.lexists(REQUEST):
        os.unlink(REQUEST)


def cancel(moved: str, check: bool, other: str = "the other host") -> dict[str, t.Any]:
    """:param moved: BACK or STAY. :param other: that host's name.
    :return: ``{changed, sentence}``; the second time it changes nothing.
    :raises HvmError: when nothing runs that can be cancelled.
    """
    running = operation.others_operation()
    refused = refusal(running, role.load().now(role.boot_id()), operation.pending(), other)
    if refused:
        raise HvmError(*refused)
    changed = wanted() != moved
    if changed and not check:
        write_atomic(REQUEST, f"{moved}\n", 0o644)
    told = "would be told" if check else "is told"
    return {"changed": changed, "sentence": f"{running} {told} to end; {SAID[moved]}"}


def refusal(
    running: str, now: str, entry: t.Mapping[str, t.Any] | None, other: str
) -> tuple[str, str] | None:
    """Why nobody would look for the word; what and remedy. Pure.

    :param running: what this host's lock is held for; `now`: its role; `entry`: its journal's, when it is not done.
    """
    if not running:
        return "nothing runs here that could be cancelled", f"Only {CANNED} can be, on the host that runs it."
    if running not in CAN:
        return f"{running} cannot be cancelled", f"Only {CANNED} can be. Wait until it has ended."
    mine = moving.source({"pending": entry})
    if moving.target({"pending": entry}) or now != role.ACTIVE or (mine and mine["step"] in moving.ROLE_MOVES):
        if mine:
            return "every VM has moved, and the role with them: nothing is left to cancel", f"To go back, migrate from {other}."
        return f"{running} is run by {other}; here its lock is only lent", f"Cancel it there, on {other}."
    if mine and mine["step"] == moving.COMING_BACK:
        return "VMs that have moved come back already, all of them", "Wait until it has ended."
    return None
