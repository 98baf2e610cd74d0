# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""`autostart=yes` and `prio=NN` in a VM's description, as the manual writes them; and the order they make."""

from __future__ import annotations

import re
import typing as t

LOWEST = 99

_AUTOSTART = re.compile(r"(?<![\w-])autostart\s*=\s*(yes|no)(?![\w-])", re.IGNORECASE)
_PRIORITY = re.compile(r"(?<![\w-])prio\s*=\s*(\d+)(?![\w-])", re.IGNORECASE)


def autostart(description: str) -> bool:
    """`autostart=yes` anywhere in the text; the last one counts."""
    found = _AUTOSTART.findall(description)
    return bool(found) and found[-1].lower() == "yes"


def priority(description: str) -> int:
    """`prio=NN`, 1 (first) to 99 (last and default); what is outside is brought inside; the last one counts."""
    found = _PRIORITY.findall(description)
    return min(max(int(found[-1]), 1), LOWEST) if found else LOWEST


def by_priority(vms: t.Iterable[tuple[str, int]], descending: bool = False) -> list[list[str]]:
    """Groups of one priority in their order, names sorted inside each. Start, restore and unfreeze ascend; the rest descends."""
    groups: dict[int, list[str]] = {}
    for name, prio in vms:
        groups.setdefault(prio, []).append(name)
    return [sorted(groups[prio]) for prio in sorted(groups, reverse=descending)]
