# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Snapshot sets as data, and the manual's three lists as lines: pure."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._zfs import names
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import Inventory, is_complete, sets

#: Width of `20261123T094512Z B`
_WIDTH = 18


def describe(
    inventory: Inventory,
    pair: str,
    now: datetime.datetime,
    held: t.Collection[str],
    used: t.Mapping[str, int] | None = None,
) -> list[dict[str, t.Any]]:
    """The sets of the pair, oldest first.

    :param held: sets that the next sync needs.
    :param used: set -> bytes that would come back if it went alone; None: nobody has asked.
    :return: ``[{name, stamp, mark, consistency, complete, datasets, missing, held, age, used}]``; `age` is in seconds.
    """
    found = []
    for name, members in sets(inventory, pair).items():
        parsed = t.cast(names.SetName, names.parse(name))
        entry: dict[str, t.Any] = {
            "name": name,
            "stamp": parsed.stamp,
            "mark": parsed.mark,
            "consistency": parsed.consistency,
            "complete": is_complete(members, inventory),
            "datasets": sorted(members),
            "missing": sorted(dataset for dataset in inventory if dataset not in members),
            "held": name in held,
            "age": _age(parsed, now),
            "used": used.get(name, 0) if used is not None else None,
        }
        found.append(entry)
    return found


def _age(parsed: names.SetName, now: datetime.datetime) -> int | None:
    try:
        return int((now - parsed.time).total_seconds())
    except ValueError:
        return None  # the name only looks like a time


def lists(inventory: Inventory, pair: str, described: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, list[str]]:
    """``hvm zfs snap list all``, ``dates`` and ``lasts``.

    all: every snapshot of every dataset, ours or not, as ZFS names it. dates: one line for each set, oldest first, its timestamp
    (that is what `rollback` takes), and right after it the mark B. lasts: the newest set of each dataset.
    """
    return {
        "all": [f"{dataset}@{snap[0]}" for dataset in sorted(inventory) for snap in inventory[dataset]["snapshots"]],
        "dates": [_date_line(one) for one in described],
        "lasts": [_last_line(dataset, described) for dataset in sorted(inventory)],
    }


def _stamp(one: t.Mapping[str, t.Any]) -> str:
    return f"{one['stamp']} {'B' if one['consistency'] == 'state' else ''}".ljust(_WIDTH)


def _date_line(one: t.Mapping[str, t.Any]) -> str:
    words = [_stamp(one), age(one["age"]).ljust(9), one["consistency"].ljust(8)]
    notes = []
    if not one["complete"]:
        notes.append(f"incomplete: {len(one['missing'])} of {len(one['missing']) + len(one['datasets'])} datasets lack it")
    if one["held"]:
        notes.append("held")
    return "  ".join([*words, ", ".join(notes)]).rstrip()


def _last_line(dataset: str, described: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    newest = next((one for one in reversed(described) if dataset in one["datasets"]), None)
    return f"{_stamp(newest) if newest else '-'.ljust(_WIDTH)}  {dataset}"


def age(seconds: int | None) -> str:
    """For people."""
    if seconds is None:
        return "?"
    if seconds < 0:
        return "in future"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"


def parse_used(text: str) -> dict[str, int]:
    """`zfs list -Hp -t snapshot -o name,used`: the sum by name behind the @, over all datasets."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        full, used = line.split("\t")
        name = full.split("@", 1)[1]
        found[name] = found.get(name, 0) + int(used)
    return found
