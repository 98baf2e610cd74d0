# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The inventory without listing again the snapshots of datasets where none has come or gone.

Listing is what costs: ZFS opens a dataset anew for each snapshot that it lists when the dataset is not mounted, and on a PASSIVE
host none is (OpenZFS #5218). Since 2.2 it says of each dataset when its list of snapshots last changed (`snapshots_changed`,
zfsprops(7)), so that a list which was read after that is remembered. What is remembered only saves time: without it, or with
ZFS 2.1, everything is listed.
"""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import Run, run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import Inventory, prop

#: Of another form nothing is believed.
FORM = 1
VERSION = "/sys/module/zfs/version"
#: Seconds. The time of a change is whole seconds: another one may come in the same second, so a list is remembered only if it was
#: read when that second was over.
SETTLED = 2

#: dataset -> its list and what it was read with
Known = dict[str, dict[str, t.Any]]


def _stamp(entry: dict[str, t.Any]) -> list[str]:
    """What changes when the list does. `origin`: a promotion moves snapshots from one dataset to another (zfs-promote(8))."""
    return [entry["guid"], prop(entry, "origin"), prop(entry, "snapshots_changed")]


def is_known(entry: dict[str, t.Any], remembered: dict[str, t.Any] | None) -> bool:
    """Whether the remembered list is still that of the dataset."""
    return remembered is not None and prop(entry, "snapshots_changed") != "-" and remembered.get("stamp") == _stamp(entry)


def worth_remembering(entry: dict[str, t.Any], listed: float) -> bool:
    """:param listed: seconds since 1970; before the list was read."""
    changed = prop(entry, "snapshots_changed")
    return changed.isdigit() and listed >= int(changed) + SETTLED


def understands(version: str) -> bool:
    """Whether a ZFS of this version has `snapshots_changed`."""
    numbers = version.strip().split("-", 1)[0].split(".")
    return len(numbers) > 1 and all(number.isdigit() for number in numbers[:2]) and tuple(map(int, numbers[:2])) >= (2, 2)


def read(
    roots: t.Sequence[str],
    path: str,
    bookmarks: bool = True,
    execute: Run = run,
    now: t.Callable[[], float] = time.time,
    version: str = VERSION,
) -> Inventory:
    """As `inventory.read`, with what `path` remembers; two processes when nothing has changed, one without bookmarks.

    The properties and bookmarks are always read: nothing says when those change.

    :param bookmarks: whether they are wanted.
    """
    if not understands(read_text(version) or ""):
        return inventory.read(roots, execute)
    found = inventory.read_datasets(roots, execute, ("origin", "snapshots_changed"))
    if not found:
        return found
    known = _load(path)
    unknown = [name for name, entry in found.items() if not is_known(entry, known.get(name))]
    listed = now()
    if len(unknown) == len(found):
        inventory.read_snapshots(roots, found, execute)
    else:
        for name in found.keys() - set(unknown):
            found[name]["snapshots"] = known[name]["snapshots"]
            if known[name]["ivset"]:
                found[name]["ivset"] = known[name]["ivset"]
        _list_snapshots(found, unknown, execute)
        if bookmarks:
            inventory.read_bookmarks(found, execute)
    inventory.read_ivsets(found, unknown, execute)
    if unknown or known.keys() - found.keys():
        _remember(path, found, known, set(unknown), listed)
    return found


def _list_snapshots(found: Inventory, datasets: t.Sequence[str], execute: Run) -> None:
    if datasets:
        words = ["-d", "1", "-t", "snapshot", "-o", "name,guid,createtxg", "-s", "createtxg"]
        inventory.parse_snapshots(execute(["zfs", "list", "-Hp", *words, *datasets]), found)


def _load(path: str) -> Known:
    try:
        kept = json.loads(read_text(path) or "{}")
        if kept.get("form") != FORM:
            return {}
        return {
            str(name): {"stamp": entry["stamp"], "snapshots": entry["snapshots"], "ivset": entry["ivset"]}
            for name, entry in kept["datasets"].items()
        }
    except (HvmError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _remember(path: str, found: Inventory, known: Known, unknown: t.Collection[str], listed: float) -> None:
    kept: Known = {}
    for name, entry in found.items():
        if name not in unknown:
            kept[name] = known[name]
        elif worth_remembering(entry, listed):
            kept[name] = {"stamp": _stamp(entry), "snapshots": entry["snapshots"], "ivset": entry.get("ivset", {})}
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        write_atomic(path, json.dumps({"form": FORM, "datasets": kept}) + "\n", 0o644)
    except (HvmError, OSError):
        pass  # then it is listed again next time
