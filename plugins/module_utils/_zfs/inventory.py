# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What is there: datasets, snapshots and bookmarks of the roots, read with two `zfs` processes, as plain data.

An inventory travels between the hosts as JSON, so it is dicts and lists all through::

    {"ssd/shared": {"type": "filesystem", "guid": "123", "props": {"mountpoint": ["none", "local"], ...},
                    "snapshots": [["hvm_..._B", "guid", createtxg], ...],     # oldest first
                    "bookmarks": [["hvm_..._B", "guid", createtxg], ...],     # the same
                    "ivset": {"guid": "ivsetguid", ...}}}                     # of encrypted datasets only
"""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import Run, run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError

Inventory = dict[str, dict[str, t.Any]]

#: Read for every dataset. What a replica must have too is in REPLICATED.
PROPERTIES = (
    "type guid createtxg written used available mounted mountpoint canmount readonly volmode volsize encryption keystatus "
    "usedbydataset usedbysnapshots receive_resume_token "
    "compression recordsize atime relatime xattr acltype primarycache logbias sync snapdir"
).split()

#: Properties whose local value on the source is set on the replica too.
#: Never readonly, volmode, quotas, refreservation.
REPLICATED = frozenset(
    "mountpoint canmount compression recordsize atime relatime xattr acltype primarycache logbias sync snapdir".split()
)


def parse_datasets(text: str) -> Inventory:
    """`zfs get -Hp -o name,property,value,source`: four columns, tabs between; names may hold spaces."""
    found: Inventory = {}
    for line in text.splitlines():
        name, prop, value, source = line.split("\t")
        entry = found.setdefault(name, {"props": {}, "snapshots": [], "bookmarks": []})
        if prop in ("type", "guid"):
            entry[prop] = value
        else:
            entry["props"][prop] = [value, source.split(" ", 1)[0]]
    return found


def parse_snapshots(text: str, into: Inventory) -> None:
    """`zfs list -Hp -t snapshot,bookmark -o name,guid,createtxg`, added to `into` in the order of their createtxg."""
    for line in text.splitlines():
        full, guid, createtxg = line.split("\t")
        kind = "snapshots" if "@" in full else "bookmarks"
        dataset, name = full.split("@" if kind == "snapshots" else "#", 1)
        if dataset in into:
            into[dataset][kind].append([name, guid, int(createtxg)])
    for entry in into.values():
        entry["snapshots"].sort(key=_createtxg)
        entry["bookmarks"].sort(key=_createtxg)


def _createtxg(snap: list[t.Any]) -> int:
    return int(snap[2])


def is_encrypted(entry: dict[str, t.Any]) -> bool:
    return prop(entry, "encryption") not in ("off", "-")


def parse_ivsets(guids: str, into: Inventory) -> None:
    """`zfs get -Hp -t snapshot,bookmark -o name,property,value guid,ivsetguid`, added to the entries as guid -> ivsetguid."""
    seen: dict[str, dict[str, str]] = {}
    for line in guids.splitlines():
        full, name, value = line.split("\t")
        seen.setdefault(full, {})[name] = value
    for full, values in seen.items():
        dataset = full.split("@", 1)[0].split("#", 1)[0]
        if dataset in into and values.get("ivsetguid", "-") != "-":
            into[dataset].setdefault("ivset", {})[values["guid"]] = values["ivsetguid"]


def existing(datasets: t.Sequence[str], execute: Run = run) -> list[str]:
    """Those of `datasets` that exist."""
    found = []
    for name in datasets:
        try:
            execute(["zfs", "list", "-H", "-o", "name", name])
        except CommandError as exc:
            if "does not exist" not in exc.stderr:
                raise
        else:
            found.append(name)
    return found


def read_datasets(roots: t.Sequence[str], execute: Run = run, more: t.Sequence[str] = ()) -> Inventory:
    """The datasets alone, with their properties and those of `more`; a root that does not exist is left out."""
    properties = ",".join([*PROPERTIES, *more])
    get = ["zfs", "get", "-Hp", "-r", "-t", "filesystem,volume", "-o", "name,property,value,source", properties]
    try:
        text = execute([*get, *roots])
    except CommandError as exc:
        if "does not exist" not in exc.stderr:
            raise
        roots = existing(roots, execute)
        text = execute([*get, *roots]) if roots else ""
    return parse_datasets(text)


def read_snapshots(roots: t.Sequence[str], into: Inventory, execute: Run = run) -> None:
    """All snapshots and bookmarks of `roots`, those of them that are in `into`."""
    # name, guid and createtxg only: the fast path of ZFS 2.2 (OpenZFS commit dc95911)
    listing = ["zfs", "list", "-Hp", "-r", "-t", "snapshot,bookmark", "-o", "name,guid,createtxg", "-s", "createtxg"]
    parse_snapshots(execute([*listing, *(root for root in roots if root in into)]), into)


def read_times(roots: t.Sequence[str], execute: Run = run) -> dict[str, int]:
    """Name of a snapshot -> when it was taken last below these roots: seconds since 1970, by the clock of who took it."""
    found: dict[str, int] = {}
    for line in execute(["zfs", "list", "-Hp", "-r", "-t", "snapshot", "-o", "name,creation", *roots]).splitlines():
        name, seconds = line.split("\t")
        snapshot = name.split("@", 1)[1]
        found[snapshot] = max(int(seconds), found.get(snapshot, 0))
    return found


def read_ivsets(into: Inventory, datasets: t.Collection[str], execute: Run = run) -> None:
    """Of the encrypted ones among `datasets`, which differ in this when raw and plain increments were mixed (OpenZFS #18784)."""
    encrypted = [name for name, entry in into.items() if name in datasets and is_encrypted(entry) and entry["snapshots"]]
    if encrypted:  # one more process, and only here
        columns = ["-d", "1", "-t", "snapshot,bookmark", "-o", "name,property,value", "guid,ivsetguid"]
        parse_ivsets(execute(["zfs", "get", "-Hp", *columns, *encrypted]), into)


def read(roots: t.Sequence[str], execute: Run = run) -> Inventory:
    """Datasets, snapshots and bookmarks of `roots` and all below them; a root that does not exist is left out."""
    found = read_datasets(roots, execute)
    if found:
        read_snapshots(roots, found, execute)
        read_ivsets(found, found, execute)
    return found


def prop(entry: dict[str, t.Any], name: str) -> str:
    return entry["props"].get(name, ["-", "-"])[0]


def is_volume(entry: dict[str, t.Any]) -> bool:
    return entry["type"] == "volume"


def not_inert(inventory: Inventory) -> list[str]:
    """Why the datasets are not those of a PASSIVE host; empty when they are."""
    wrong = []
    for name, entry in inventory.items():
        if prop(entry, "mounted") == "yes":
            wrong.append(f"{name} is mounted")
        if prop(entry, "readonly") != "on":
            wrong.append(f"{name} is writable")
        if is_volume(entry) and prop(entry, "volmode") != "none":
            wrong.append(f"{name} has a device (volmode={prop(entry, 'volmode')})")
    return wrong


def mountable(inventory: Inventory) -> dict[str, str]:
    """Filesystems that the ACTIVE host mounts and their mountpoints, outermost first: canmount=noauto and a real path."""
    pairs = {
        name: prop(entry, "mountpoint")
        for name, entry in inventory.items()
        if not is_volume(entry) and prop(entry, "canmount") == "noauto" and prop(entry, "mountpoint").startswith("/")
    }
    return dict(sorted(pairs.items(), key=lambda pair: (pair[1].count("/"), pair[1])))


def mounted_otherwise(inventory: Inventory) -> dict[str, str]:
    """Filesystems that are mounted although the ACTIVE host would not mount them, and what their mountpoint says."""
    ours = mountable(inventory)
    return {
        name: prop(entry, "mountpoint")
        for name, entry in inventory.items()
        if prop(entry, "mounted") == "yes" and name not in ours
    }


def sets(inventory: Inventory, pair: str) -> dict[str, dict[str, str]]:
    """Snapshot sets of the pair, oldest first: name of the set -> dataset -> GUID."""
    from ansible_collections.hvm.pair.plugins.module_utils._zfs import names

    found: dict[str, dict[str, str]] = {}
    for dataset, entry in inventory.items():
        for snap, guid, dummy in entry["snapshots"]:
            if names.is_set_of(snap, pair):
                found.setdefault(snap, {})[dataset] = guid
    return dict(sorted(found.items()))


def gaps(inventory: Inventory, sets: t.Mapping[str, t.Mapping[str, str]]) -> set[str]:
    """Sets that some dataset lacks which has an older one, so it was there then: a pool had no room, for example.

    Across pools only the names tell what is older. A read-only dataset is a replica: the newer ones that it lacks may be about to
    come, or it is gone on the ACTIVE host; so it needs a newer one, too.

    :param sets: as `sets` gives them.
    """
    found: set[str] = set()
    for dataset, entry in inventory.items():
        has = [name for name, members in sets.items() if dataset in members]
        last = max(has if prop(entry, "readonly") == "on" else sets, default="")
        found.update(name for name, members in sets.items() if has and has[0] < name <= last and dataset not in members)
    return found


def is_complete(members: dict[str, str], inventory: Inventory) -> bool:
    """Whether the set has a snapshot on every dataset that is there now."""
    return all(dataset in members for dataset in inventory)
