# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What has to be sent: a pure function of two inventories.

The base is found by GUID, the order by createtxg; never by name or time (zrepl; sanoid #605; OpenZFS #18220).
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import human
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import REPLICATED, Inventory, is_encrypted, is_volume, prop

#: Bytes. Importing a pool rewrites the ZIL header of a dataset, and that shows as "written" (1 KiB seen on 2.3.9). Up to here the
#: kernel decides: it leaves that header out and refuses a receive without -F for all else (dsl_dataset_modified_since_snap).
ZIL_SLACK = 64 << 10

Entry = dict[str, t.Any]
Snap = t.Sequence[t.Any]
#: What `zfs send -nvt` says of a resume token: toguid, toname, fromguid (absent for a first stream), rawok …, as text.
Token = dict[str, str]


@dataclasses.dataclass(frozen=True)
class Step:
    """One stream. `base` is None for a full one, `#name` for a bookmark. With a `token` it goes on where it was cut."""

    dataset: str
    base: str | None
    snapshot: str
    volume: bool
    raw: bool
    token: str = ""

    def as_dict(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Plan:
    """:ivar steps: streams by dataset, parents before children, in order.
    :ivar renames: replicas to rename on the receiver first, ``(old, new)`` in order: the same dataset by its snapshots' GUIDs.
    :ivar aside: replicas that the operator lets be moved out of the way (kept under another name).
    :ivar aborts: datasets whose half-received stream does not fit and is dropped on the receiver (it is a copy).
    :ivar properties: dataset -> property -> value that the replica still lacks.
    :ivar extra: datasets that only the replica has; they are left alone.
    :ivar base: the newest set that both hosts have complete before this sync, or None.
    :ivar findings: why it cannot be done; then nothing may be done.
    """

    steps: list[Step]
    aborts: list[str]
    properties: dict[str, dict[str, str]]
    extra: list[str]
    findings: list[Finding]
    renames: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    aside: list[str] = dataclasses.field(default_factory=list)
    base: str | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.steps or self.aborts or self.properties or self.renames or self.aside)

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "steps": [step.as_dict() for step in self.steps],
            "renames": [list(pair) for pair in self.renames],
            "aside": self.aside,
            "aborts": self.aborts,
            "properties": self.properties,
            "extra": self.extra,
            "base": self.base,
        }


def plan(
    source: Inventory,
    target: Inventory,
    snapshot: str,
    peer: str,
    tokens: t.Mapping[str, Token] | None = None,
    aside: t.Collection[str] = (),
) -> Plan:
    """Bring every dataset of `source` to `snapshot` on the host `peer`.

    :param snapshot: the set's name; each source dataset must have it, or is reported.
    :param tokens: dataset of `target` -> what its resume token holds; one that is not here is not gone on with.
    :param aside: datasets of `target` that may be moved out of the way.
    """
    steps: list[Step] = []
    aborts: list[str] = []
    properties: dict[str, dict[str, str]] = {}
    findings: list[Finding] = []
    moved = [name for name in sorted(aside) if name in target]
    target = outside(target, moved)
    renames, target = renamed(source, target)
    tokens = {_after(renames, name): token for name, token in (tokens or {}).items()}
    for dataset in sorted(source, key=lambda name: (name.count("/"), name)):
        entry = source[dataset]
        wanted = next((snap for snap in entry["snapshots"] if snap[0] == snapshot), None)
        if wanted is None:
            findings.append(
                Finding(
                    f"dataset {dataset} has no snapshot {snapshot}",
                    "Take a new snapshot set: it was made before this dataset was.",
                )
            )
            continue
        copy = target.get(dataset)
        going_on: list[Step] = []
        if copy is not None and prop(copy, "receive_resume_token") not in ("-", ""):
            going_on = _resumed(dataset, entry, copy, wanted, tokens.get(dataset), old_name(renames, dataset))
            if not going_on:
                aborts.append(dataset)
                if not copy["snapshots"]:
                    # half of a first stream and nothing else: `zfs receive -A` destroys it (zfs-receive(8))
                    copy = None
        changes = _properties(entry, copy)
        if changes:
            properties[dataset] = changes
        if copy is None:
            steps += _first(dataset, entry, wanted)
            continue
        finding = None if going_on and not copy["snapshots"] else _diverged(dataset, entry, copy, peer) or _gone_on(
            dataset, entry, copy, wanted, peer
        )
        if finding:
            findings.append(finding)
        elif going_on:
            steps += going_on
        else:
            steps += _increment(dataset, entry, copy["snapshots"][-1][1], wanted)
    findings += _no_room(source, target, steps, peer)
    extra = sorted(name for name in target if name not in source)
    return Plan(steps, aborts, properties, extra, findings, renames, moved, _base(source, target))


def _first(dataset: str, entry: Entry, wanted: Snap) -> list[Step]:
    """A new dataset: from its oldest set, so that the replica can be rolled back to whatever this host can."""
    first = next(snap for snap in entry["snapshots"] if snap[0].startswith("hvm_") or snap is wanted)
    steps = [Step(dataset, None, first[0], is_volume(entry), is_encrypted(entry))]
    return steps if first[1] == wanted[1] else [*steps, *_onward(dataset, entry, first[0], first[2], wanted)]


def _onward(dataset: str, entry: Entry, base: str, txg: int, wanted: Snap) -> list[Step]:
    """From a base to the set; `createtxg` is compared here because `zfs send -i #bookmark` does not (OpenZFS #12657)."""
    if txg >= wanted[2]:
        return []
    kind = (is_volume(entry), is_encrypted(entry))
    if not base.startswith("#"):
        return [Step(dataset, base, wanted[0], *kind)]
    # -I wants a snapshot to begin with (OpenZFS #12415): from the bookmark to the first one behind it, from there on as ever
    first = next(snap for snap in entry["snapshots"] if snap[2] > txg)
    return [Step(dataset, base, first[0], *kind), *_onward(dataset, entry, first[0], first[2], wanted)]


def _increment(dataset: str, entry: Entry, guid: str, wanted: Snap) -> list[Step]:
    known = _bases(entry)
    return _onward(dataset, entry, known[guid][0], known[guid][1], wanted)


def _bases(entry: Entry) -> dict[str, tuple[str, int]]:
    """What can be a base: GUID -> (name, createtxg); `#name` where only the bookmark is left."""
    found = {guid: (f"#{name}", txg) for name, guid, txg in entry.get("bookmarks", [])}
    found.update({guid: (name, txg) for name, guid, txg in entry["snapshots"]})
    return found


def _resumed(dataset: str, entry: Entry, copy: Entry, wanted: Snap, token: Token | None, old: str) -> list[Step]:
    """The streams that go on with a cut one, or none when its token does not fit exactly what would be sent now.

    :param old: the dataset's name when the stream was cut; a token of a renamed dataset names a snapshot that is gone.
    """
    if token is None:
        return []
    to = next((snap for snap in entry["snapshots"] if snap[1] == token.get("toguid")), None)
    base = _bases(entry).get(token.get("fromguid", ""))
    newest = copy["snapshots"][-1][1] if copy["snapshots"] else ""
    if (
        to is None
        or old != dataset
        or token.get("toname") != f"{dataset}@{to[0]}"
        or token.get("fromguid", "") != newest
        or (newest and base is None)
        or ("rawok" in token) != is_encrypted(entry)
        or to[2] > wanted[2]
    ):
        return []
    held = prop(copy, "receive_resume_token")
    first = Step(dataset, base[0] if base else None, to[0], is_volume(entry), is_encrypted(entry), held)
    return [first, *_onward(dataset, entry, to[0], to[2], wanted)]


def outside(inventory: Inventory, tops: t.Collection[str]) -> Inventory:
    """Without `tops` and all below them."""
    below = tuple(f"{top}/" for top in tops)
    return {name: entry for name, entry in inventory.items() if not f"{name}/".startswith(below)}


def tops(names: t.Sequence[str]) -> list[str]:
    """Those that lie below none of the others."""
    return [name for name in names if not any(name.startswith(f"{other}/") for other in names)]


def renamed(source: Inventory, target: Inventory) -> tuple[list[tuple[str, str]], Inventory]:
    """Replicas of datasets that have another name now, and the target as it will be when they are renamed too.

    A replica is the same dataset when the source has its newest snapshot, by GUID, and no dataset of its own name.
    """
    view = dict(target)
    found = []
    for dataset in sorted(source, key=lambda name: (name.count("/"), name)):
        if dataset in view:
            continue
        guids = _bases(source[dataset])
        candidates = [
            name
            for name, copy in view.items()
            if name not in source
            and name.split("/", 1)[0] == dataset.split("/", 1)[0]
            and copy["snapshots"]
            and copy["snapshots"][-1][1] in guids
        ]
        if len(candidates) != 1:
            continue
        found.append((candidates[0], dataset))
        view = {_after([(candidates[0], dataset)], name): copy for name, copy in view.items()}
    return found, view


def _after(renames: t.Sequence[tuple[str, str]], name: str) -> str:
    for old, new in renames:
        if name == old or name.startswith(old + "/"):
            name = new + name[len(old) :]
    return name


def old_name(renames: t.Sequence[tuple[str, str]], name: str) -> str:
    """What a replica is called until the renames are done."""
    return _after([(new, old) for old, new in reversed(renames)], name)


def _diverged(dataset: str, entry: Entry, copy: Entry, peer: str) -> Finding | None:
    """Why the replica cannot take an increment, or None. Nothing is ever rolled back to make it fit."""
    keep = (
        f"Nothing was overwritten. To have it sent anew, and the replica on {peer} kept under another name: "
        f"hvm_zfs_sync with set_aside [{dataset}]."
    )
    if entry["type"] != copy["type"]:
        return Finding(f"dataset {dataset} is a {copy['type']} on {peer} and a {entry['type']} here", keep)
    if is_encrypted(entry) != is_encrypted(copy):
        words = ("encrypted", "not encrypted") if is_encrypted(entry) else ("not encrypted", "encrypted")
        return Finding(f"dataset {dataset} is {words[0]} here and {words[1]} on {peer}", keep)
    if not copy["snapshots"]:
        return Finding(f"dataset {dataset} exists on {peer} without any snapshot, so it is no replica of this one", keep)
    here = _bases(entry)
    common = [snap for snap in copy["snapshots"] if snap[1] in here]
    if not common:
        return Finding(f"dataset {dataset} on {peer} has no snapshot in common with this host", keep)
    last = common[-1]
    newer = [snap[0] for snap in copy["snapshots"] if snap[2] > last[2]]
    if newer:
        some = newer[:3]
        # half a stream is a hidden clone of the newest one, which cannot be destroyed before it (OpenZFS #7262)
        first = f"zfs receive -A {dataset}; " if prop(copy, "receive_resume_token") not in ("-", "") else ""
        return Finding(
            f"dataset {dataset} on {peer} has snapshots that this host lacks, after {last[0]}: {', '.join(some)}",
            "If this host was rolled back, let the replica follow (hvm_zfs_rollback state=followed): "
            "what is newer is kept there. "
            f"If nobody needs them, destroy them there ({first}zfs destroy {dataset}@{','.join(some)}). {keep}",
        )
    mine, theirs = (side.get("ivset", {}).get(last[1]) for side in (entry, copy))
    if mine and theirs and mine != theirs:
        return Finding(f"dataset {dataset}: {last[0]} has another ivsetguid on {peer}: it was once received decrypted", keep)
    written = prop(copy, "written")
    if written != "-" and int(written) > ZIL_SLACK:
        return Finding(
            f"dataset {dataset} on {peer} was written to after {last[0]} ({written} bytes)",
            f"If nobody needs that, go back there by hand (zfs rollback {dataset}@{last[0]}). {keep}",
        )
    return None


def _gone_on(dataset: str, entry: Entry, copy: Entry, wanted: Snap, peer: str) -> Finding | None:
    """A replica never goes back: a set that it has had, and lets go of, does not come again."""
    name, guid, dummy = copy["snapshots"][-1]
    if any(snap[1] == wanted[1] for snap in copy["snapshots"]) or _bases(entry)[guid][1] <= wanted[2]:
        return None
    what = f"dataset {dataset} on {peer} has no snapshot {wanted[0]} any more, and is at {name} already"
    return Finding(what, "Nothing older is sent after that. Leave the set out, and the newest is sent.")


def _no_room(source: Inventory, target: Inventory, steps: t.Sequence[Step], peer: str) -> list[Finding]:
    """New datasets that the receiver has no room for; what an increment needs only ZFS can tell."""
    found = []
    new = [step.dataset for step in steps if step.base is None and not step.token]
    for pool in sorted({name.split("/", 1)[0] for name in new}):
        free = [int(prop(copy, "available")) for name, copy in target.items() if name.startswith(pool + "/") and _number(copy)]
        need = sum(
            int(prop(source[name], column))
            for name in new
            if name.startswith(pool + "/")
            for column in ("usedbydataset", "usedbysnapshots")
            if prop(source[name], column).isdigit()
        )
        if free and need > max(free):
            found.append(
                Finding(
                    f"the new datasets of pool {pool} need {human(need)} and {peer} has {human(max(free))} free",
                    f"Free some there (hvm_zfs_prune), or enlarge the pool {pool}.",
                )
            )
    return found


def _number(entry: Entry) -> bool:
    return prop(entry, "available").isdigit()


def _base(source: Inventory, target: Inventory) -> str | None:
    """The newest snapshot name that every dataset of the source has on both sides, under the same GUID."""
    names: set[str] | None = None
    order: dict[str, int] = {}
    for dataset, entry in source.items():
        theirs = {(name, guid) for name, guid, dummy in target.get(dataset, {"snapshots": []})["snapshots"]}
        mine = {name: txg for name, guid, txg in entry["snapshots"] if (name, guid) in theirs}
        order.update(mine)
        names = set(mine) if names is None else names & set(mine)
    return max(names, key=lambda name: (order[name], name)) if names else None


def _properties(entry: dict[str, t.Any], copy: dict[str, t.Any] | None) -> dict[str, str]:
    changes = {}
    for name in sorted(REPLICATED):
        value, source = entry["props"].get(name, ["-", "-"])
        if source not in ("local", "received") or value == "-":
            continue
        if name == "canmount" and value == "noauto" and copy is not None and not _would_mount(copy, entry):
            continue  # the mark of a first receive (actions.receive_command), come back with the other direction
        if copy is None or copy["props"].get(name, ["-", "-"])[0] != value:
            changes[name] = value
    return changes


def _would_mount(copy: dict[str, t.Any], source: dict[str, t.Any]) -> bool:
    """By itself, with the mountpoint that it has or gets; or never again (off)."""
    places = [prop(entry, "mountpoint") for entry in (copy, source)]
    return prop(copy, "canmount") != "on" or any(place.startswith("/") for place in places)


def missing_on_target(source: Inventory, target: Inventory, snapshot: str) -> list[str]:
    """Datasets whose `snapshot` is not on the other side under the same GUID. Empty: the set is complete there."""
    wrong = []
    for dataset, entry in source.items():
        mine = {name: guid for name, guid, dummy in entry["snapshots"]}
        theirs = {name: guid for name, guid, dummy in target.get(dataset, {"snapshots": []})["snapshots"]}
        if snapshot not in mine or mine[snapshot] != theirs.get(snapshot):
            wrong.append(dataset)
    return sorted(wrong)


def unverified(
    source: Inventory, before: Inventory, found: t.Mapping[str, t.Sequence[t.Any]], snapshot: str
) -> dict[str, str]:
    """What a look at the receiver after the streams does not prove: dataset -> why. Empty: the set is complete there.

    :param before: the receiver's inventory that the plan was made from, after its renames.
    :param found: dataset -> ``[guid, createtxg]`` of `snapshot` as the receiver lists it now.
    """
    wrong = {}
    for dataset, entry in source.items():
        guid = next((snap[1] for snap in entry["snapshots"] if snap[0] == snapshot), None)
        there = found.get(dataset)
        older = [snap for snap in before.get(dataset, {"snapshots": []})["snapshots"] if snap[0] != snapshot]
        if there is None:
            wrong[dataset] = f"{snapshot} is not there"
        elif there[0] != guid:
            wrong[dataset] = f"{snapshot} has the GUID {there[0]} there and {guid} here"
        elif not any(snap[0] == snapshot for snap in before.get(dataset, {"snapshots": []})["snapshots"]) and any(
            snap[2] >= there[1] for snap in older
        ):
            wrong[dataset] = f"{snapshot} is not the newest snapshot there"
    return wrong
