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
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import REPLICATED, Inventory, is_volume, prop

#: Bytes. Importing a pool rewrites the ZIL header of a dataset, and that shows as "written" (1 KiB seen on 2.3.9). Up to here the
#: kernel decides: it leaves that header out and refuses a receive without -F for all else (dsl_dataset_modified_since_snap).
ZIL_SLACK = 64 << 10


@dataclasses.dataclass(frozen=True)
class Step:
    """One stream. `base` is None for a full one."""

    dataset: str
    base: str | None
    snapshot: str
    volume: bool
    raw: bool

    def as_dict(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Plan:
    """:ivar steps: streams by dataset, parents before children, in order.
    :ivar aborts: datasets whose half-received stream does not fit and is dropped on the receiver (it is a copy).
    :ivar properties: dataset -> property -> value that the replica still lacks.
    :ivar extra: datasets that only the replica has; they are left alone.
    :ivar findings: why it cannot be done; then nothing may be done.
    """

    steps: list[Step]
    aborts: list[str]
    properties: dict[str, dict[str, str]]
    extra: list[str]
    findings: list[Finding]

    @property
    def is_empty(self) -> bool:
        return not (self.steps or self.aborts or self.properties)


def plan(source: Inventory, target: Inventory, snapshot: str, peer: str) -> Plan:
    """Bring every dataset of `source` to `snapshot` on the host `peer`.

    :param snapshot: the set's name; each source dataset must have it, or is reported.
    """
    steps: list[Step] = []
    aborts: list[str] = []
    properties: dict[str, dict[str, str]] = {}
    findings: list[Finding] = []
    for dataset in sorted(source, key=lambda name: (name.count("/"), name)):
        entry = source[dataset]
        here = {guid: (name, txg) for name, guid, txg in entry["snapshots"]}
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
        if copy is not None and not copy["snapshots"] and prop(copy, "receive_resume_token") not in ("-", ""):
            # Half of a first stream and nothing else: `zfs receive -A` destroys it, then it is a new one (zfs-receive(8)).
            aborts.append(dataset)
            copy = None
        raw = prop(entry, "encryption") not in ("off", "-")
        changes = _properties(entry, copy)
        if changes:
            properties[dataset] = changes
        volume = is_volume(entry)
        if copy is None:
            first = next(snap for snap in entry["snapshots"] if snap[0].startswith("hvm_") or snap is wanted)
            steps.append(Step(dataset, None, first[0], volume, raw))
            if first[1] != wanted[1]:
                steps.append(Step(dataset, first[0], snapshot, volume, raw))
            continue
        if prop(copy, "receive_resume_token") not in ("-", ""):
            aborts.append(dataset)
        finding = _diverged(dataset, entry, copy, here, peer)
        if finding:
            findings.append(finding)
            continue
        base_name, base_txg = here[copy["snapshots"][-1][1]]
        if base_txg < wanted[2]:
            steps.append(Step(dataset, base_name, snapshot, volume, raw))
    extra = sorted(name for name in target if name not in source)
    return Plan(steps, aborts, properties, extra, findings)


def _diverged(
    dataset: str, entry: dict[str, t.Any], copy: dict[str, t.Any], here: dict[str, tuple[str, int]], peer: str
) -> Finding | None:
    """Why the replica cannot take an increment, or None. Nothing is ever rolled back to make it fit."""
    keep = f"Nothing was overwritten. On {peer}, rename it away ('zfs rename {dataset} {dataset}-kept') to have it sent anew."
    if entry["type"] != copy["type"]:
        return Finding(f"dataset {dataset} is a {copy['type']} on {peer} and a {entry['type']} here", keep)
    if not copy["snapshots"]:
        return Finding(f"dataset {dataset} exists on {peer} without any snapshot, so it is no replica of this one", keep)
    common = [snap for snap in copy["snapshots"] if snap[1] in here]
    if not common:
        return Finding(f"dataset {dataset} on {peer} has no snapshot in common with this host", keep)
    newer = [snap[0] for snap in copy["snapshots"] if snap[2] > common[-1][2]]
    if newer:
        return Finding(
            f"dataset {dataset} on {peer} has snapshots that this host lacks, after {common[-1][0]}: {', '.join(newer[:3])}", keep
        )
    written = prop(copy, "written")
    if written != "-" and int(written) > ZIL_SLACK:
        return Finding(f"dataset {dataset} on {peer} was written to after {common[-1][0]} ({written} bytes)", keep)
    return None


def _properties(entry: dict[str, t.Any], copy: dict[str, t.Any] | None) -> dict[str, str]:
    changes = {}
    for name in sorted(REPLICATED):
        value, source = entry["props"].get(name, ["-", "-"])
        if source not in ("local", "received") or value == "-":
            continue
        if name == "canmount" and value == "noauto" and copy is not None and not _mounts_by_itself(copy):
            continue  # the mark of a first receive (actions.receive_command), come back with the other direction
        if copy is None or copy["props"].get(name, ["-", "-"])[0] != value:
            changes[name] = value
    return changes


def _mounts_by_itself(entry: dict[str, t.Any]) -> bool:
    return prop(entry, "canmount") == "on" and prop(entry, "mountpoint").startswith("/")


def missing_on_target(source: Inventory, target: Inventory, snapshot: str) -> list[str]:
    """Verification: datasets whose `snapshot` is not on the other side under the same GUID. Empty: the set is complete there."""
    wrong = []
    for dataset, entry in source.items():
        mine = {name: guid for name, guid, dummy in entry["snapshots"]}
        theirs = {name: guid for name, guid, dummy in target.get(dataset, {"snapshots": []})["snapshots"]}
        if snapshot not in mine or mine[snapshot] != theirs.get(snapshot):
            wrong.append(dataset)
    return sorted(wrong)


def prunable(all_sets: t.Sequence[str], common: t.Collection[str], keep: int) -> list[str]:
    """Sets that may go, oldest first: never the last `keep`, never the newest that both hosts have.

    :param all_sets: names of the sets on this host.
    :param common: names of the sets that the other host has too, complete and with equal GUIDs.
    """
    ordered = sorted(all_sets)
    protected = set(ordered[-keep:]) if keep else set()
    shared = [name for name in ordered if name in common]
    if not shared:
        return []  # without a proven common base nothing may go (pvesr c0b2948)
    protected.add(shared[-1])
    protected.update([name for name in ordered if name.endswith("_B")][-1:])  # the newest with VM states: what 'rollback' wants
    return [name for name in ordered if name not in protected and name < shared[-1]]
