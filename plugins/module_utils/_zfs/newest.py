# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Inventories that hold the newest snapshot of each dataset only: all that a usual sync needs to know.

Listing all snapshots is what takes the time of a sync with little to send: ZFS opens a dataset anew for each snapshot that it
lists when the dataset is not mounted, and on a PASSIVE host none is (OpenZFS #5218). But a dataset says itself which of its
snapshots is the newest (`prevsnap`, in zfs_prop.c since 0.8), and a snapshot that is asked for by its name costs one look.

When the newest snapshots do not decide it (`decide`), everything is listed.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import Run, run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, names
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import Inventory, prop

#: Of an entry that holds not all snapshots, and no bookmarks.
PARTIAL = "partial"


def read(roots: t.Sequence[str], execute: Run = run) -> Inventory:
    """As `inventory.read`, with the newest snapshot alone and without bookmarks: two processes."""
    found = inventory.read_datasets(roots, execute, ["prevsnap"])
    for entry in found.values():
        entry[PARTIAL] = True
    # that of a clone without snapshots of its own is its origin's
    own = [snap for name, entry in found.items() if (snap := prop(entry, "prevsnap")).startswith(f"{name}@")]
    _look_at(own, found, execute)
    return found


def is_partial(found: Inventory) -> bool:
    return any(PARTIAL in entry for entry in found.values())


def add_bases(source: Inventory, target: Inventory, execute: Run = run) -> None:
    """Add to `source` its snapshots that have the name of the replica's newest one; no process when all are there already."""
    wanted = []
    for dataset, entry in source.items():
        copy = target.get(dataset)
        if copy and copy["snapshots"] and entry["snapshots"]:
            name = copy["snapshots"][-1][0]
            if all(snap[0] != name for snap in entry["snapshots"]):
                wanted.append(f"{dataset}@{name}")
    _look_at(wanted, source, execute)


def _look_at(snapshots: t.Sequence[str], into: Inventory, execute: Run) -> None:
    """Add those of `snapshots` that are there."""
    if not snapshots:
        return
    columns = ["-Hp", "-t", "snapshot", "-o", "name,guid,createtxg"]
    inventory.parse_snapshots(_those_there(["zfs", "list", *columns, *snapshots], execute), into)
    encrypted = [name for name in snapshots if inventory.is_encrypted(into[name.split("@", 1)[0]])]
    if encrypted:
        columns = ["-Hp", "-t", "snapshot", "-o", "name,property,value"]
        inventory.parse_ivsets(_those_there(["zfs", "get", *columns, "guid,ivsetguid", *encrypted], execute), into)


def _those_there(command: t.Sequence[str], execute: Run) -> str:
    """What the command says of those that are there; it fails when one of them is not."""
    try:
        return execute(command)
    except CommandError as exc:
        if "does not exist" not in exc.stderr:
            raise
        return str(exc.details.get("stdout", ""))


def decide(source: Inventory, target: Inventory, pair: str, snapshot: str | None = None) -> bool:
    """Whether these two say what a full listing would say: what has to be sent, and that it fits. Pure.

    That is so when one set of the pair is the newest snapshot of every dataset here, and each dataset has a replica, with nothing
    half received, and the newest snapshot of all replicas is one that is here under the same name and GUID.

    :param snapshot: the set that was asked for, if one was.
    """
    newest = {entry["snapshots"][-1][0] if entry["snapshots"] else "" for entry in source.values()}
    if len(newest) != 1:
        return False
    name = newest.pop()
    if not names.is_set_of(name, pair) or snapshot not in (None, name):
        return False
    bases = set()
    for dataset, entry in source.items():
        copy = target.get(dataset)
        if copy is None or not copy["snapshots"] or prop(copy, "receive_resume_token") not in ("-", ""):
            return False
        if entry["type"] != copy["type"] or inventory.is_encrypted(entry) != inventory.is_encrypted(copy):
            return False
        last = copy["snapshots"][-1]
        bases.add(last[0])
        if not any(snap[0] == last[0] and snap[1] == last[1] for snap in entry["snapshots"]):
            return False
    return len(bases) == 1
