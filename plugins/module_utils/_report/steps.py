# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Report of a start or a stop of the hypervisor, as lines."""

from __future__ import annotations

import typing as t


def steps(result: dict[str, t.Any], state: str, then: str = "", check: bool = False) -> list[str]:
    """Pure: the lines."""
    plan = result.get("plan") or []
    role = f" ({result['role']}, epoch {result['epoch']})" if "role" in result else ""
    following = [f"Next: {then}"] if then else []
    if not plan:
        return [f"{state} already{role}: nothing to do", *following]
    if check:
        return ["Plan (nothing was changed):", *(f"  {line}" for line in plan)]
    return [f"{state}{role}", *(f"  {line}" for line in plan), *following]
