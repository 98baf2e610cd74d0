# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Going back to a snapshot set without losing what is newer: pure plans, made from what is there.

Beside each root a tree of clones of the set is built, every clone is promoted (so it owns the snapshots up to the set, under
their GUIDs, with their holds and bookmarks), then two renames swap the trees::

    ROOT                      the tree in use
    ROOT-hvm-rollback-STAMP   being built
    ROOT-hvm-kept-STAMP       put aside: inert, whole, outside of the roots; until it is dropped by name

Undo is the same swap the other way. No plan of either destroys or overwrites anything, and each can be made anew from whatever an
interrupted one has left: names and user properties of the trees say how far it came. Only `drop` destroys.

Trees are siblings of their root, because a rename below the same parent is allowed for encrypted datasets with an inherited key
too (to any other place it is not: dsl_dir_rename_check; seen on 2.3.9), and because they inherit the same properties there. A
tree is data like an inventory, with two keys more per dataset::

    {"ssd/shared": {"type": ..., "guid": ..., "props": {every property: [value, source]}, "origin": "" or "dataset@snapshot",
                    "snapshots": [[name, guid, createtxg], ...], "bookmarks": [[name, guid, createtxg], ...]}}
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import re
import struct
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import names
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import is_volume, prop

Tree = dict[str, dict[str, t.Any]]

#: Local user properties of a tree's top. KEPT: the pair; KEPT_SET: the set where it was left; KEPT_BY: rollback, undo or sync;
#: KEPT_FOR: the stamp of the trees that an undo has brought back; KEPT_WAS: the name that a replica set aside by a sync had.
KEPT, KEPT_SET, KEPT_BY, KEPT_FOR, KEPT_WAS = "hvm:kept", "hvm:kept-set", "hvm:kept-by", "hvm:kept-for", "hvm:was"
#: Marks of a swap that is not finished: "STAMP/SET" of a rollback, "STAMP/STAMP-TO-KEEP-AS" of an undo.
ROLLING, UNDOING = "hvm:rollback", "hvm:undo"
MARKS = (KEPT, KEPT_SET, KEPT_BY, KEPT_FOR, KEPT_WAS, ROLLING, UNDOING)
#: Prefix of what a property was while the dataset was in use.
WAS = "hvm:was-"

#: Taken off a tree that is put aside, and off clones until they are in use: these could stand in the way of a promote, or reserve
#: the same space twice.
LIMITS = ("quota", "refquota", "reservation", "refreservation", "filesystem_limit", "snapshot_limit")
#: Shown as local, but of the origin, of the key, or counted: a clone has or gets them by itself.
NOT_CLONED = frozenset(
    "volsize volblocksize encryption keyformat keylocation pbkdf2iters casesensitivity normalization utf8only version "
    "filesystem_count snapshot_count".split()
)
#: ZFS_MAX_DATASET_NAME_LEN less the end of the string
NAME_MAX = 255
#: Bytes of a record of a stream (dmu_replay_record), and the type of the last one (DRR_END); its type and the length of what
#: follows it come first.
RECORD, END, TYPE_AND_LENGTH = 312, 5, "=II"

_TOP = re.compile(r"(?P<root>.+)-hvm-(?P<kind>rollback|kept)-(?P<stamp>\d{8}T\d{6}Z)\Z", re.DOTALL)
_SOURCES = ("local", "received", "default", "temporary", "inherited", "-")


# ---- reading


def tops(roots: t.Sequence[str], listed: t.Iterable[str]) -> list[str]:
    """Of the `listed` datasets: the roots, and the trees beside them that this file makes."""
    return [name for name in listed if name in roots or ((found := _TOP.match(name)) and found["root"] in roots)]


def parse(text: str) -> Tree:
    """`zfs get -Hp -o source,name,property,value all`: the value comes last, since those of users may hold tabs and newlines."""
    found: Tree = {}
    last: list[str] | None = None
    for line in text.removesuffix("\n").split("\n"):
        words = line.split("\t", 3)
        source = words[0].split(" ", 1)[0]
        if len(words) < 4 or source not in _SOURCES:
            if last is not None:
                last[0] += f"\n{line}"
            continue
        dummy, name, key, value = words
        entry = found.setdefault(name, {"props": {}, "snapshots": [], "bookmarks": [], "origin": ""})
        last = [value, source]
        entry["props"][key] = last
        if key in ("type", "guid"):
            entry[key] = value
        elif key == "origin":
            entry["origin"] = "" if value == "-" else value
    return found


def local(entry: dict[str, t.Any], name: str) -> str:
    """The property's value as it was set on this very dataset; "" for none."""
    value, source = entry["props"].get(name, ["", ""])
    return value if source in ("local", "received") else ""


def below(tree: Tree, top: str) -> list[str]:
    """The dataset `top` and all below it, parents first."""
    return sorted((name for name in tree if name == top or name.startswith(top + "/")), key=lambda name: (name.count("/"), name))


# ---- names


def building(root: str, stamp: str) -> str:
    return f"{root}-hvm-rollback-{stamp}"


def kept(root: str, stamp: str) -> str:
    return f"{root}-hvm-kept-{stamp}"


def stamps(tree: Tree) -> list[str]:
    """Stamps of all trees beside the roots, oldest first."""
    return sorted({found["stamp"] for found in map(_TOP.match, tree) if found})


def new_stamp(now: datetime.datetime, tree: Tree) -> str:
    """A stamp behind every other, also when the clock has jumped back."""
    return names.new_name("x", "crash", now, [f"{names.PREFIX}{stamp}_x_C" for stamp in stamps(tree)]).stamp


class Kept(t.NamedTuple):
    """A tree, or several of different roots, that were put aside together.

    :ivar set: where it was left; `by`: "rollback", "undo" or "sync"; `tops`: what it was -> its tree; `used`: bytes that only it
        holds; `back`: of an undo, the stamp of what it brought back.
    """

    stamp: str
    set: str
    by: str
    tops: dict[str, str]
    used: int
    back: str = ""

    @property
    def name(self) -> str:
        """What an operator calls it by: the stamp of a swap, which may have several trees; the place of a single replica."""
        return next(iter(self.tops.values())) if self.by == "sync" else self.stamp

    def as_dict(self) -> dict[str, t.Any]:
        return {"name": self.name, **self._asdict(), "datasets": sorted(self.tops.values())}


def kept_trees(tree: Tree, roots: t.Sequence[str], pair: str) -> list[Kept]:
    """Oldest first. Both the name and the property must say so: what only looks like one is nobody's to touch."""
    found: dict[str, Kept] = {}
    for name, entry in sorted(tree.items()):
        match = _TOP.match(name)
        if not match or match["kind"] != "kept" or match["root"] not in roots or local(entry, KEPT) != pair:
            continue
        stamp = match["stamp"]
        one = found.get(stamp) or Kept(stamp, local(entry, KEPT_SET), local(entry, KEPT_BY), {}, 0, local(entry, KEPT_FOR))
        one.tops[match["root"]] = name
        found[stamp] = one._replace(used=one.used + _used(entry))
    return [found[stamp] for stamp in sorted(found)]


def _used(entry: dict[str, t.Any]) -> int:
    used = prop(entry, "used")
    return int(used) if used.isdigit() else 0


#: Where a sync puts replicas that are in its way (actions.set_aside).
ASIDE = "hvm-kept"
_ASIDE = re.compile(r"(?P<pool>[^/]+)/hvm-kept/[^/]+-(?P<stamp>\d{8}T\d{6}Z)\Z", re.DOTALL)


def aside_trees(tree: Tree, pair: str) -> list[Kept]:
    """Replicas that a sync has set aside, each by itself, oldest first; those of this pair only."""
    found = []
    for name, entry in tree.items():
        match = _ASIDE.match(name)
        if match and local(entry, KEPT) == pair:
            found.append(Kept(match["stamp"], "", "sync", {local(entry, KEPT_WAS): name}, _used(entry)))
    return sorted(found, key=lambda one: (one.stamp, one.name))


# ---- which set


@dataclasses.dataclass(frozen=True)
class Members:
    """What a set means for the datasets that are there now.

    :ivar inside: dataset -> GUID of its snapshot.
    :ivar later: made after the set; they go aside with everything newer.
    :ivar lacking: older than the set and without its snapshot: the set is not complete.
    """

    inside: dict[str, str]
    later: list[str]
    lacking: list[str]


def members(tree: Tree, roots: t.Sequence[str], name: str) -> Members:
    """`is_complete` of the inventory asks for the datasets of today; here a dataset that is younger than the set is no gap."""
    datasets = [dataset for root in roots for dataset in below(tree, root)]
    inside: dict[str, str] = {}
    since: dict[str, int] = {}
    for dataset in datasets:
        for snap, guid, txg in tree[dataset]["snapshots"]:
            if snap == name:
                inside[dataset] = guid
                pool = dataset.split("/", 1)[0]
                since[pool] = min(txg, since.get(pool, txg))
    later: list[str] = []
    lacking: list[str] = []
    for dataset in datasets:
        if dataset not in inside:
            first = since.get(dataset.split("/", 1)[0], -1)
            (lacking if first < 0 or _born(tree[dataset]) <= first else later).append(dataset)
    return Members(inside, later, lacking)


def missing(
    tree: Tree, aside: Tree, roots: t.Sequence[str], pair: str, name: str, verified: t.Collection[str] = ()
) -> dict[str, str]:
    """Datasets that the set `name` lacks: younger ones, and those that a sync has set aside, to send them anew.

    :param aside: what `kept.read_aside` has read.
    :param verified: as for `choose`: what was aside before one of these was taken had come anew by then, or was gone there.
    :return: dataset -> where its last replica is kept; "" for nowhere.
    """
    there = members(tree, roots, name)
    found = dict.fromkeys(there.later, "")
    settled = [one for one in map(names.parse, verified) if one and str(one) <= name]
    for one in aside_trees(aside, pair):
        for was, top in one.tops.items():
            # one that has the set was put aside after it, whatever the clock said
            if any(one.stamp < later.stamp and not _guid(aside[top], str(later)) for later in settled):
                continue
            found.update({was + dataset[len(top) :]: dataset for dataset in below(aside, top)})
    return {
        dataset: place
        for dataset, place in found.items()
        if dataset not in there.inside and any(f"{dataset}/".startswith(f"{root}/") for root in roots)
    }


def _born(entry: dict[str, t.Any]) -> int:
    """createtxg of the dataset or of its oldest snapshot: a promoted clone is younger than the snapshots that it owns."""
    txg = prop(entry, "createtxg")
    return min([int(txg) if txg.isdigit() else 0, *(snap[2] for snap in entry["snapshots"])])


def set_names(tree: Tree, tops_: t.Iterable[str], pair: str) -> list[str]:
    """Sets of the pair below these datasets, oldest first."""
    found = set()
    for top in tops_:
        for dataset in below(tree, top):
            for snap, *dummy in tree[dataset]["snapshots"]:
                if names.is_set_of(snap, pair):
                    found.add(snap)
    return sorted(found)


def choose(to: str, tree: Tree, roots: t.Sequence[str], pair: str, verified: t.Collection[str] = ()) -> str:
    """The set that `to` means: `last`, `last_state`, a timestamp, or its whole name.

    :param verified: sets that were complete here when a sync ended: what lacks one of these was gone on the ACTIVE host by then.
    :raises HvmError: when there is no such set, or it is not complete.
    """
    known = set_names(tree, roots, pair)

    def lacking(name: str) -> list[str]:
        return [one for one in members(tree, roots, name).lacking if name not in verified or one in roots]

    if to in ("last", "last_state"):
        possible = [name for name in known if to == "last" or name.endswith("_B")]
        for name in reversed(possible):
            if not lacking(name):
                return name
        what = "with VM states (B) " if to == "last_state" else ""
        why = f": {', '.join(lacking(possible[-1]))} did exist at {possible[-1]} and has no such snapshot" if possible else ""
        raise HvmError(
            f"there is no complete snapshot set {what}of the pair {pair} on this host{why}", "See 'status' for the sets."
        )
    found = [name for name in known if to in (name, name.split("_")[1])]
    if not found:
        for one in reversed(kept_trees(tree, roots, pair)):
            if any(to in (name, name.split("_")[1]) for name in set_names(tree, one.tops.values(), pair)):
                raise HvmError(
                    f"the set {to} was put aside by the {one.by} of {one.stamp}",
                    f"Bring it back first: hvm_zfs_rollback state=undone kept={one.stamp}.",
                )
        raise HvmError(f"there is no snapshot set {to} of the pair {pair} on this host", "See 'status' for the sets.")
    missing = lacking(found[-1])
    if missing:
        raise HvmError(
            f"the set {found[-1]} is not complete: {', '.join(missing)} did exist then and has no such snapshot",
            "Take another set; see 'status'.",
        )
    return found[-1]


def is_there(tree: Tree, roots: t.Sequence[str], name: str, modified: t.Collection[str]) -> bool:
    """Whether the roots are at the set already: nothing newer, nothing written, nothing made since.

    :param modified: datasets that were written to after their newest snapshot.
    """
    found = members(tree, roots, name)
    return not (found.later or found.lacking) and all(
        tree[dataset]["snapshots"][-1][0] == name and dataset not in modified for dataset in found.inside
    )


def common_set(mine: Tree, theirs: Tree, pair: str) -> str | None:
    """The newest set that both sides have under the same GUIDs on every dataset that both have; None for none.

    Inventories do as well as trees.
    """
    shared = [dataset for dataset in mine if dataset in theirs and theirs[dataset]["snapshots"]]
    for name in reversed(set_names(mine, shared, pair)):
        if all((guid := _guid(mine[dataset], name)) and guid == _guid(theirs[dataset], name) for dataset in shared):
            return name
    return None


def _guid(entry: dict[str, t.Any], name: str) -> str:
    return next((snap[1] for snap in entry["snapshots"] if snap[0] == name), "")


def fits(mine: Tree, theirs: Tree) -> list[str]:
    """Replicas in `theirs` with something newer than all that `mine` knows; empty: an increment can be sent to each."""
    wrong = []
    for dataset, entry in theirs.items():
        if dataset in mine and entry["snapshots"]:
            known = {snap[1] for kind in ("snapshots", "bookmarks") for snap in mine[dataset].get(kind, [])}
            if entry["snapshots"][-1][1] not in known:
                wrong.append(dataset)
    return sorted(wrong)


# ---- steps


@dataclasses.dataclass(frozen=True)
class Step:
    """One command. `do` is clone, promote, rename, set or inherit.

    :ivar to: the new name of a clone or a rename.
    :ivar properties: of a clone or a set; for inherit: the one property, with "".
    :ivar optional: a failure is told and stops nothing (limits: the data are where they belong all the same).
    """

    do: str
    dataset: str
    to: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    volume: bool = False
    optional: bool = False

    def command(self) -> list[str]:
        pairs = [f"{name}={value}" for name, value in self.properties]
        match self.do:
            case "clone":
                return ["zfs", "clone", *(word for pair in pairs for word in ("-o", pair)), self.dataset, self.to]
            case "rename":
                # -u: nothing is mounted or unmounted by it; a volume does not know it
                return ["zfs", "rename", *([] if self.volume else ["-u"]), self.dataset, self.to]
            case "set":
                return ["zfs", "set", *pairs, self.dataset]
            case "inherit":
                return ["zfs", "inherit", self.properties[0][0], self.dataset]
        return ["zfs", self.do, self.dataset]

    def sentence(self) -> str:
        return " ".join(self.command())


def apply(tree: Tree, step: Step) -> None:
    """What the step does to a tree, as ZFS does it (seen on 2.3.9)."""
    match step.do:
        case "clone":
            source = tree[step.dataset.split("@", 1)[0]]
            tree[step.to] = {
                "type": source["type"],
                "guid": "",
                "origin": step.dataset,
                "props": {
                    **{name: ["on", "default"] for name in ["canmount"] if not is_volume(source)},
                    **{name: [value, "local"] for name, value in step.properties},
                },
                "snapshots": [],
                "bookmarks": [],
            }
        case "promote":
            _promote(tree, step.dataset)
        case "rename":
            moved = {name: step.to + name[len(step.dataset) :] for name in below(tree, step.dataset)}
            for name, new in moved.items():
                tree[new] = tree.pop(name)
            for entry in tree.values():
                owner, at, snap = entry["origin"].partition("@")
                entry["origin"] = moved.get(owner, owner) + at + snap
        case "set":
            tree[step.dataset]["props"].update({name: [value, "local"] for name, value in step.properties})
        case "inherit":
            tree[step.dataset]["props"].pop(step.properties[0][0], None)


def _promote(tree: Tree, dataset: str) -> None:
    """The clone takes its origin, and everything before it, over from the dataset that it was cloned from."""
    entry = tree[dataset]
    owner, dummy, name = entry["origin"].partition("@")
    other = tree[owner]
    txg = next(snap[2] for snap in other["snapshots"] if snap[0] == name)
    moved = {snap[0] for snap in other["snapshots"] if snap[2] <= txg}
    for kind in ("snapshots", "bookmarks"):
        entry[kind] = [snap for snap in other[kind] if snap[2] <= txg] + entry[kind]
        other[kind] = [snap for snap in other[kind] if snap[2] > txg]
    entry["origin"], other["origin"] = other["origin"], f"{dataset}@{name}"
    for one, third in tree.items():
        source, dummy, snap_name = third["origin"].partition("@")
        if one != owner and source == owner and snap_name in moved:
            third["origin"] = f"{dataset}@{snap_name}"


class Plan(t.NamedTuple):
    """:ivar steps: in order; :ivar findings: why it cannot be done, and then nothing may be done."""

    steps: list[Step]
    findings: list[Finding]


class _Work:
    """A plan in the making: every step is seen by the decisions that follow."""

    def __init__(self, tree: Tree) -> None:
        self.tree = copy.deepcopy(tree)
        self.steps: list[Step] = []
        self.findings: list[Finding] = []

    def do(
        self, do: str, dataset: str, to: str = "", properties: t.Mapping[str, str] | None = None, optional: bool = False
    ) -> None:
        volume = do == "rename" and is_volume(self.tree[dataset])
        step = Step(do, dataset, to, tuple((properties or {}).items()), volume, optional)
        apply(self.tree, step)
        self.steps.append(step)

    def mark(self, dataset: str, properties: t.Mapping[str, str]) -> None:
        """Set those that are not set to this yet."""
        missing = {name: value for name, value in properties.items() if local(self.tree[dataset], name) != value}
        if missing:
            self.do("set", dataset, properties=missing)

    def clear(self, dataset: str, *properties: str) -> None:
        for name in properties:
            if local(self.tree[dataset], name):
                self.do("inherit", dataset, properties={name: ""})

    def plan(self) -> Plan:
        return Plan([] if self.findings else self.steps, self.findings)


# ---- the forms of a dataset: in use, and aside


def _mounts_by_itself(entry: dict[str, t.Any]) -> bool:
    return not is_volume(entry) and prop(entry, "canmount") == "on" and prop(entry, "mountpoint").startswith("/")


def _set_limits(entry: dict[str, t.Any]) -> dict[str, str]:
    return {name: value for name in LIMITS if (value := local(entry, name)) not in ("", "0", "none")}


def clone_properties(entry: dict[str, t.Any]) -> dict[str, str]:
    """What a clone of this dataset is made with: every local property, in the form of a dataset that is aside.

    canmount comes before mountpoint in effect, since both are there before `zfs clone` mounts.
    """
    found = {
        name: value
        for name, (value, source) in entry["props"].items()
        if source in ("local", "received") and name not in NOT_CLONED and name not in MARKS
    }
    for name, value in _set_limits(entry).items():
        found[WAS + name] = value
    for name in LIMITS:
        found.pop(name, None)
    if _mounts_by_itself(entry):
        found.update({"canmount": "noauto", WAS + "canmount": "on"})
    return dict(sorted(found.items()))


def _put_aside(work: _Work, top: str) -> None:
    """Nothing in it mounts by itself or reserves space; what that was is remembered first.

    Mountpoints stay: nothing mounts a dataset with canmount=noauto unasked, and they tell what it was.
    """
    for name in below(work.tree, top):
        entry = work.tree[name]
        changes = dict.fromkeys(_set_limits(entry), "none")
        if _mounts_by_itself(entry):
            changes["canmount"] = "noauto"
        if changes:
            work.do("set", name, properties={WAS + one: prop(entry, one) for one in changes})
            work.do("set", name, properties=changes)


def _put_in_use(work: _Work, top: str) -> None:
    for name in below(work.tree, top):
        remembered = [one[len(WAS) :] for one in sorted(work.tree[name]["props"]) if one.startswith(WAS)]
        for one in remembered:
            value = local(work.tree[name], WAS + one)
            if value:
                work.do("set", name, properties={one: value}, optional=True)
                work.clear(name, WAS + one)


def is_empty_stream(head: bytes) -> bool:
    """Whether a stream ends where it begins: BEGIN, with its payload if it is raw, then END. `head` is its beginning."""
    if len(head) < RECORD:
        return False
    at = RECORD + struct.unpack_from(TYPE_AND_LENGTH, head)[1]
    return len(head) >= at + RECORD and struct.unpack_from(TYPE_AND_LENGTH, head, at)[0] == END


# ---- the swap


def _leads_out(tree: Tree, dataset: str, incoming: str, others: t.Sequence[str]) -> bool:
    """Whether `dataset` of the tree `incoming` is a clone, over however many others, of its counterpart in one of the `others`.

    A dataset that was cloned from another one inside the tree (a VM from a template) is no such case: the template's counterpart
    is promoted itself, and the relation stays as it was.
    """
    origin = tree[dataset]["origin"]
    while origin:
        owner = origin.split("@", 1)[0]
        for other in others:
            if owner == other or owner.startswith(other + "/"):
                mine = incoming + owner[len(other) :]
                if mine == dataset or mine not in tree:
                    return True
        origin = tree[owner]["origin"] if owner in tree else ""
    return False


def _promote_all(work: _Work, incoming: str, root: str) -> None:
    """Until nothing of `incoming` depends on another tree of this root: then those can go, and replication goes on from here."""
    others = [name for name in tops([root], work.tree) if name != incoming]
    for dataset in below(work.tree, incoming):
        while _leads_out(work.tree, dataset, incoming, others):
            clash = _clash(work.tree, dataset)
            if clash:
                work.findings.append(clash)
                break
            work.do("promote", dataset)


def _clash(tree: Tree, dataset: str) -> Finding | None:
    """Two snapshots of one name make `zfs promote` fail. Two bookmarks of one name make the kernel panic, and the pool hang
    (VERIFY in avl_add, dsl_bookmark_node_add, dsl_dataset_promote_sync; seen on 2.3.9): so this must be known before.
    """
    entry = tree[dataset]
    owner, dummy, name = entry["origin"].partition("@")
    if owner not in tree:
        return Finding(
            f"dataset {dataset} is a clone of {entry['origin']}, which is in none of the pair's trees", "Look at it: zfs promote."
        )
    other = tree[owner]
    txg = next(snap[2] for snap in other["snapshots"] if snap[0] == name)
    for kind, sign in (("snapshots", "@"), ("bookmarks", "#")):
        own = {snap[0] for snap in entry[kind]}
        twice = [snap[0] for snap in other[kind] if snap[2] <= txg and snap[0] in own]
        if twice:
            verb = "Rename" if sign == "@" else "Destroy"
            return Finding(
                f"{dataset}{sign}{twice[0]} and {owner}{sign}{twice[0]} have the same name, so {dataset} cannot be promoted",
                f"{verb} one of the two.",
            )
    return None


def _swap(work: _Work, root: str, incoming: str, aside: str, marks: dict[str, str]) -> None:
    """`root` becomes `aside`, `incoming` becomes `root`; whichever of the two renames is still to be done."""
    if root in work.tree:
        work.mark(root, marks)
        _put_aside(work, root)
        work.do("rename", root, aside)
    work.do("rename", incoming, root)


def plan(tree: Tree, roots: t.Sequence[str], pair: str, name: str, stamp: str, replica: bool = False) -> Plan:
    """Bring every root to the set `name`; what is newer is kept as `ROOT-hvm-kept-STAMP`.

    The roots must be inert, and nothing of them mounted. Empty when it is done. An interrupted one is planned with its own stamp.

    :param replica: datasets that lack the set go aside too: the ACTIVE host has none of that name, or sends it anew.
    """
    work = _Work(tree)
    waiting = [root for root in roots if root in tree and kept(root, stamp) not in tree]
    # those that were promoted already have taken the set's snapshots along
    found = members(tree, [*waiting, *(building(root, stamp) for root in waiting)], name)
    for root in waiting:
        _build(work, root, name, stamp, found, replica)
    if not work.findings:
        for root in roots:
            if building(root, stamp) in work.tree:
                _promote_all(work, building(root, stamp), root)
    if not work.findings:
        for root in roots:
            if building(root, stamp) in work.tree:
                _swap(work, root, building(root, stamp), kept(root, stamp), {KEPT: pair, KEPT_SET: name, KEPT_BY: "rollback"})
        for root in roots:
            if root in work.tree and local(work.tree[root], ROLLING):
                _put_in_use(work, root)
        for root in roots:  # the mark goes last, from all of them
            if root in work.tree:
                work.clear(root, ROLLING)
    return work.plan()


def _build(work: _Work, root: str, name: str, stamp: str, found: Members, replica: bool) -> None:
    """Clones of `root` that are still missing."""
    new = building(root, stamp)
    for dataset in below(work.tree, root):
        clone = new + dataset[len(root) :]
        entry = work.tree[dataset]
        taken_over = entry["origin"] == f"{clone}@{name}"  # promoted already
        if clone in work.tree:
            if not taken_over and work.tree[clone]["origin"] != f"{dataset}@{name}":
                work.findings.append(
                    Finding(f"dataset {clone} is in the way: it is no clone of {dataset}@{name}", "Rename it to another place.")
                )
            continue
        if dataset in found.lacking and not taken_over and not (replica and dataset != root):
            work.findings.append(
                Finding(f"dataset {dataset} did exist at the time of {name} and has no such snapshot", "Take another set.")
            )
        if dataset not in found.inside:
            continue
        parent = clone.rsplit("/", 1)[0]
        if dataset != root and parent not in work.tree:
            work.findings.append(
                Finding(
                    f"dataset {dataset} has the snapshot {name}, and {dataset.rsplit('/', 1)[0]} was made later",
                    "It was moved since: rename it to a place whose parents have that snapshot.",
                )
            )
            continue
        longest = max((len(snap[0].encode()) for kind in ("snapshots", "bookmarks") for snap in entry[kind]), default=0)
        if len(clone.encode()) + 1 + longest > NAME_MAX:
            work.findings.append(
                Finding(f"the name {clone} would be too long with its snapshots", f"Give {dataset} a shorter name (zfs rename).")
            )
            continue
        properties = clone_properties(entry)
        if dataset == root:
            properties[ROLLING] = f"{stamp}/{name}"
        work.do("clone", f"{dataset}@{name}", clone, properties)


def plan_undo(tree: Tree, roots: t.Sequence[str], pair: str, stamp: str, aside: str) -> Plan:
    """Bring the trees kept under `stamp` back; those in use now are kept under `aside`.

    A rollback that was interrupted before its first rename is parked: its clones are kept under `aside`, and nothing else
    changes. One that was interrupted later is finished first, which takes renames only. Empty when it is done.
    """
    work = _Work(tree)
    name = next((local(tree[top], KEPT_SET) for root in roots if (top := kept(root, stamp)) in tree), "")
    for root in roots:
        for top in (kept(root, stamp), building(root, stamp)):
            if top in work.tree:
                work.mark(top, {UNDOING: f"{stamp}/{aside}"})
    if any(kept(root, stamp) in work.tree for root in roots):
        for root in roots:
            if building(root, stamp) in work.tree:
                _swap(work, root, building(root, stamp), kept(root, stamp), {KEPT: pair, KEPT_SET: name, KEPT_BY: "rollback"})
        for root in roots:
            if kept(root, stamp) in work.tree:
                _promote_all(work, kept(root, stamp), root)
        if not work.findings:
            for root in roots:
                if kept(root, stamp) in work.tree:
                    marks = {KEPT: pair, KEPT_SET: name, KEPT_BY: "undo", KEPT_FOR: stamp}
                    _swap(work, root, kept(root, stamp), kept(root, aside), marks)
    else:
        for root in roots:
            new = building(root, stamp)
            if new in work.tree:
                _promote_all(work, root, root)
        if not work.findings:
            for root in roots:
                new = building(root, stamp)
                if new in work.tree:
                    left = local(work.tree[new], ROLLING).partition("/")[2]
                    work.mark(new, {KEPT: pair, KEPT_SET: left, KEPT_BY: "undo", KEPT_FOR: stamp})
                    work.do("rename", new, kept(root, aside))
    if not work.findings:
        done = [root for root in roots if root in work.tree]
        for root in done:
            _put_in_use(work, root)
        for root in done:
            work.clear(root, KEPT, KEPT_SET, KEPT_BY, KEPT_FOR, ROLLING)
            if kept(root, aside) in work.tree:
                work.clear(kept(root, aside), ROLLING, UNDOING)
            work.clear(root, UNDOING)
    return work.plan()


@dataclasses.dataclass(frozen=True)
class Unfinished:
    """A swap that was interrupted. `action` is "rollback" (of `set`) or "undo" (the present trees go to `aside`)."""

    action: str
    stamp: str
    set: str
    aside: str


def unfinished(tree: Tree, roots: t.Sequence[str]) -> Unfinished | None:
    """What the trees themselves say; an undo began after the rollback that it undoes, so it counts first."""
    rolling, undoing = "", ""
    for name, entry in sorted(tree.items()):
        match = _TOP.match(name)
        if name in roots or (match and match["root"] in roots):
            undoing = local(entry, UNDOING) or undoing
            rolling = local(entry, ROLLING) or rolling
    stamp, dummy, name = rolling.partition("/")
    if undoing:
        back, dummy, aside = undoing.partition("/")
        return Unfinished("undo", back, name, aside)
    return Unfinished("rollback", stamp, name, "") if rolling else None


class Aim(t.NamedTuple):
    """What shall be done on the host that was ACTIVE last.

    :ivar do: "" (nothing), "rollback" or "undo"; `set`: of a rollback; `stamp`: of the rollback; `aside`: under which an undo
        keeps what is in use now.
    """

    do: str
    set: str
    stamp: str
    aside: str


def aim(
    tree: Tree,
    roots: t.Sequence[str],
    pair: str,
    undo: bool,
    to: str,
    now: datetime.datetime,
    others: t.Iterable[str] = (),
    untouched: t.Callable[[str, str], bool] = lambda *dummy: False,
    verified: t.Collection[str] = (),
) -> Aim:
    """:param to: of a rollback, what `choose` takes; of an undo, the stamp or "".
    :param others: datasets of the other host: a new stamp is behind those too.
    :param untouched: (dataset, its newest snapshot) -> proven to hold no write since, although it shows some bytes as written.
    :param verified: as `choose` has it.
    :raises HvmError: when it cannot be had, or another swap must be finished first.
    """
    left = unfinished(tree, roots)
    new = new_stamp(now, {**{name: {} for name in others}, **tree})
    if undo:
        if left:
            if to not in ("", left.stamp):
                raise HvmError(f"the {left.action} of {left.stamp} did not end", "Finish that first: leave out 'kept'.")
            return Aim("undo", left.set, left.stamp, left.aside or new)
        stamp = to_undo(kept_trees(tree, roots, pair), to)
        return Aim("undo", "", stamp, new) if stamp else Aim("", "", "", "")
    if left and left.action == "undo":
        raise HvmError(f"the undo of {left.stamp} did not end", "Finish it first: hvm_zfs_rollback state=undone.")
    if left:
        if to in ("last", left.set, left.set.split("_")[1]) or (to == "last_state" and left.set.endswith("_B")):
            return Aim("rollback", left.set, left.stamp, "")
        raise HvmError(
            f"the rollback to {left.set} did not end",
            f"Finish it first (hvm_zfs_rollback to={left.set}), or go back (state=undone).",
        )
    name = choose(to, tree, roots, pair, verified)
    modified = [dataset for dataset, entry in in_use(tree, roots).items() if _written(entry) and not untouched(dataset, name)]
    return Aim("", name, "", "") if is_there(tree, roots, name, modified) else Aim("rollback", name, new, "")


def describe(tree: Tree, roots: t.Sequence[str], wanted: Aim) -> dict[str, dict[str, t.Any]]:
    """What a rollback means for each dataset: whether it comes back, where its present state is kept, and what that holds."""
    found: dict[str, dict[str, t.Any]] = {}
    for root in roots:
        for dataset in below(tree, root):
            entry = tree[dataset]
            at = next((number for number, snap in enumerate(entry["snapshots"]) if snap[0] == wanted.set), None)
            found[dataset] = {
                "comes_back": at is not None,
                "newer": [snap[0] for snap in entry["snapshots"][0 if at is None else at + 1 :]],
                "written": _written(entry),
                "kept": kept(root, wanted.stamp) + dataset[len(root) :],
            }
    return found


def to_undo(trees: t.Sequence[Kept], stamp: str) -> str:
    """The stamp of the trees to bring back; "" when the newest swap was an undo, or the one of `stamp` is undone already.

    :param trees: of `kept_trees`.
    :param stamp: "" for the newest.
    :raises HvmError: when there is none.
    """
    if stamp:
        if any(one.stamp == stamp for one in trees):
            return stamp
        if any(one.back == stamp for one in trees):
            return ""
        known = ", ".join(one.stamp for one in trees) or "none"
        raise HvmError(f"nothing is kept under {stamp} on this host", f"Kept are: {known} (hvm_zfs_kept).")
    if not trees:
        raise HvmError("no rollback is kept on this host, so there is nothing to undo", "See hvm_zfs_kept.")
    return "" if trees[-1].by == "undo" else trees[-1].stamp


# ---- the replica


def in_use(tree: Tree, roots: t.Sequence[str]) -> Tree:
    """The roots and all below them, without what is kept."""
    return {name: tree[name] for root in roots for name in below(tree, root)}


def after(tree: Tree, steps: t.Sequence[Step]) -> Tree:
    """The tree as it will be."""
    there = copy.deepcopy(tree)
    for step in steps:
        apply(there, step)
    return there


#: A stamp for plans of which only the outcome counts.
_ANY = "20000101T000000Z"


@dataclasses.dataclass(frozen=True)
class Follow:
    """What a replica has to do so that increments can be sent to it again.

    :ivar do: "" (nothing), "rollback" (to `set`) or "undo".
    :ivar anew: replicas that have nothing in common with their dataset: they go aside too, and the next sync sends them whole.
    :ivar findings: why it cannot follow.
    """

    do: str
    set: str = ""
    anew: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def follow(
    mine: Tree,
    theirs: Tree,
    roots: t.Sequence[str],
    pair: str,
    back: str = "",
    eager: bool = False,
    slack: int = 0,
    peer: str = "the other host",
) -> Follow:
    """:param mine: of the ACTIVE host, as it is or will be; `theirs`: of the other one, with what is kept there.
    :param back: the stamp of the rollback that was undone here: undone there too if it was made there and that fits.
    :param eager: undo it although increments could be sent now: what comes back need not be sent again.
    :param slack: bytes that a replica may show as written without being so.
    """
    source = in_use(mine, roots)
    replicas = in_use(theirs, roots)
    written = [name for name in replicas if name in source and _written(replicas[name]) > slack]
    there = not written and not fits(source, replicas)
    if back and (eager or not there) and any(one.stamp == back for one in kept_trees(theirs, roots, pair)):
        made = plan_undo(theirs, roots, pair, back, _ANY)
        if not made.findings and not fits(source, in_use(after(theirs, made.steps), roots)):
            return Follow("undo")
    if there:
        return Follow("")
    anew = sorted(name for name, entry in replicas.items() if name in source and not _shared(source[name], entry))
    rest = {name: entry for name, entry in replicas.items() if name not in anew}
    common = common_set(source, rest, pair)
    if common is None or any(root in anew or root not in rest for root in roots):
        remedy = f"Let the next sync send it anew; the replica is kept: hvm_zfs_sync with set_aside [{', '.join(roots)}]."
        return Follow("rollback", "", tuple(anew), (Finding(f"{peer} has no snapshot set in common with this host", remedy, ""),))
    made = plan(theirs, roots, pair, common, _ANY, replica=True)
    return Follow("rollback", common, tuple(anew), tuple(made.findings))


def _written(entry: dict[str, t.Any]) -> int:
    written = prop(entry, "written")
    return int(written) if written.isdigit() else 0


def _shared(entry: dict[str, t.Any], copy_: dict[str, t.Any]) -> bool:
    """Whether there is a snapshot of the replica that the dataset has too; one without any snapshot shares nothing."""
    known = {snap[1] for snap in entry["snapshots"]}
    return any(snap[1] in known for snap in copy_["snapshots"])


# ---- drop


class Drop(t.NamedTuple):
    """:ivar datasets: to be destroyed, children first, each with its snapshots; :ivar findings: why not."""

    datasets: list[tuple[str, list[str]]]
    findings: list[Finding]


def plan_drop(
    tree: Tree, trees: t.Sequence[Kept], clones: t.Mapping[str, t.Sequence[str]], holds: t.Mapping[str, t.Sequence[str]]
) -> Drop:
    """Destroy kept trees, dataset by dataset, never with what depends on them.

    :param clones: snapshot ("dataset@name") -> clones of it, wherever they are.
    :param holds: snapshot -> tags of holds that are not the pair's own.
    """
    findings: list[Finding] = []
    datasets: list[tuple[str, list[str]]] = []
    doomed = {name for one in trees for top in one.tops.values() for name in below(tree, top)}
    left = sorted(trees, key=lambda one: one.stamp, reverse=True)
    gone: set[str] = set()
    while left:
        # a tree whose snapshots are the origin of another kept one goes after that
        ready = [
            one
            for one in left
            if not any(_dependants(tree, name, clones) - gone - _inside(tree, one) for name in _inside(tree, one) - gone)
        ]
        if not ready:
            break
        one = ready[0]
        left.remove(one)
        for name in _children_first(tree, one, clones):
            gone.add(name)
            datasets.append((name, [snap[0] for snap in tree[name]["snapshots"]]))
    for one in left:
        for name in sorted(_inside(tree, one)):
            for other in sorted(_dependants(tree, name, clones) - doomed):
                what = f"dataset {other} is a clone of a snapshot of {name}"
                findings.append(Finding(what, "Drop that one first, or promote it (zfs promote)."))
    if left and not findings:
        findings.append(Finding(f"{', '.join(one.stamp for one in left)} depend on each other", "Drop them one by one."))
    for name in sorted(doomed):
        if prop(tree[name], "mounted") == "yes":
            findings.append(Finding(f"dataset {name} is mounted", f"Unmount it: zfs unmount '{name}'."))
        for snap, *dummy in tree[name]["snapshots"]:
            tags = holds.get(f"{name}@{snap}", [])
            if tags:
                findings.append(Finding(f"{name}@{snap} is held by {', '.join(tags)}", "Ask whose hold that is; zfs release."))
    return Drop([] if findings else datasets, findings)


def _inside(tree: Tree, one: Kept) -> set[str]:
    return {name for top in one.tops.values() for name in below(tree, top)}


def _dependants(tree: Tree, name: str, clones: t.Mapping[str, t.Sequence[str]]) -> set[str]:
    return {clone for snap in tree[name]["snapshots"] for clone in clones.get(f"{name}@{snap[0]}", [])}


def _children_first(tree: Tree, one: Kept, clones: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Children before parents, clones before their origins."""
    names_ = sorted(_inside(tree, one), key=lambda name: (-name.count("/"), name))
    done: list[str] = []
    while names_:
        for name in names_:
            below_it = any(other != name and other.startswith(name + "/") for other in names_)
            if not below_it and not _dependants(tree, name, clones) & set(names_) - {name}:
                break
        else:
            name = names_[0]
        names_.remove(name)
        done.append(name)
    return done
