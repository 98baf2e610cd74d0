# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The word of an operator that a running migration is to end: a file in /run, which the one that runs looks for."""

from __future__ import annotations

import os

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import RUN

REQUEST = f"{RUN}/cancel"
#: What becomes of VMs that have moved.
BACK, STAY = "back", "stay"
#: Operations that look for it.
CAN = ("migrate_unsecure",)


def wanted() -> str | None:
    """BACK or STAY; None when nobody wants anything."""
    text = read_text(REQUEST)
    return None if text is None else STAY if text.strip() == STAY else BACK


def forget() -> None:
    """Before an operation begins: no word of before is meant for it."""
    if os.path.lexists(REQUEST):
        os.unlink(REQUEST)


def cancel(moved: str, check: bool) -> dict[str, object]:
    """:param moved: BACK or STAY.
    :raises HvmError: when nothing runs that can be cancelled.
    """
    running = operation.others_operation()
    if running not in CAN:
        what = f"{running} cannot be cancelled" if running else "nothing runs here that could be cancelled"
        raise HvmError(what, f"Only {', '.join(CAN)} can, on the host that runs it.")
    changed = wanted() != moved
    if changed and not check:
        write_atomic(REQUEST, f"{moved}\n", 0o644)
    what = "stay there" if moved == STAY else "come back"
    return {"changed": changed, "sentence": f"{running} is told to end; VMs that have moved {what}"}
