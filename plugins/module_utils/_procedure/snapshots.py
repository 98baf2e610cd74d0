# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Snapshot sets as a module wants them: there, gone, or listed."""

from __future__ import annotations

import contextlib
import datetime
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import checkpoint, prune
from ansible_collections.hvm.pair.plugins.module_utils._procedure.early import read_datasets
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, listing, names, protect
from ansible_collections.hvm.pair.plugins.module_utils._zfs.retention import Decision


def apply(config: PairConfig, state: str, name: str | None, consistency: str, check: bool) -> dict[str, t.Any]:
    if name is not None and not names.is_set_of(name, config.pair):
        raise HvmError(
            f"{name!r} is not the name of a snapshot set of the pair {config.pair}", "hvm_zfs_snapshot_info lists the sets."
        )
    if state == "present":
        return _present(config, name, consistency, check)
    with contextlib.nullcontext() if check else operation.Lock().held("destroy a set", operation.owner()):
        return _absent(config, t.cast(str, name), check)


def _present(config: PairConfig, name: str | None, consistency: str, check: bool) -> dict[str, t.Any]:
    me = observe(config)
    findings = guards.is_active(me, "take snapshots") + guards.common(me)
    if findings:
        raise Refused("the snapshot", findings)
    before = [entry["name"] for entry in me["sets"]]
    if name:
        found = next((entry for entry in me["sets"] if entry["name"] == name), None)
        if found and found["complete"]:
            return {"changed": False, "set": name, "diff": _diff(before, before)}
        raise HvmError(
            f"the set {name} is {'not complete' if found else 'not there'} and cannot be taken again",
            "Take a new one: leave out 'name'.",
        )
    if check:
        taken = checkpoint.new_set_name(config, inventory.read(config.datasets), consistency)
    else:
        with operation.Lock().held("snapshot", operation.owner()):
            try:
                taken = checkpoint.take_set(config, consistency, me["role"]["epoch"])
            except HvmError as exc:
                checkpoint.drop_half(exc)
                raise
            checkpoint.check_set(config, taken)
    return {"changed": True, "set": taken, "diff": _diff(before, [*before, taken])}


def _absent(config: PairConfig, name: str, check: bool) -> dict[str, t.Any]:
    """On any host, in any role; what the next sync starts from stays, like anything that is held or cloned."""
    prune.refuse_broken_pools(config)
    mine = inventory.read(config.datasets)
    sets = inventory.sets(mine, config.pair)
    if name not in sets:
        return {"changed": False, "destroyed": [], "diff": _diff(sets, sets)}
    held = prune.ours(protect.held(config.datasets, config.pair), config.pair)
    verdict = prune.judge(config, mine, held, lambda protected: [named(name, protected)])
    if verdict.decisions[0].keep:
        raise HvmError(
            f"the set {name} stays: {verdict.decisions[0].reason}", "Sync a newer set first; then this one is free to go."
        )
    snapshots = [f"{dataset}@{name}" for dataset in sorted(sets[name])]
    blocked = prune.blocked_sets({name: snapshots})
    if blocked:
        raise HvmError(
            f"the set {name} stays whole: {'; '.join(blocked[name])}",
            "Release the hold (zfs release), or destroy the clone, first.",
        )
    if not check:
        failed = protect.destroy(snapshots)
        if failed:
            raise HvmError(
                "; ".join(f"{one} is still there: {why}" for one, why in sorted(failed.items())),
                "The others of the set are gone. Run this again when that is settled.",
            )
    return {"changed": True, "destroyed": [name], "diff": _diff(sets, [one for one in sets if one != name])}


def named(name: str, protected: t.Mapping[str, str]) -> Decision:
    """The operator has named this one: only what the pair needs speaks against it."""
    return Decision(name, name in protected, protected.get(name, "it was named"))


def look(config: PairConfig, used: bool) -> dict[str, t.Any]:
    """`hvm zfs snap list`, as data and as lines. Changes nothing; any host, any role, the other one dead or alive.

    :param used: also ask what each set occupies, which opens every snapshot.
    """
    datasets = read_datasets(config)
    roots = [root for root in config.datasets if root in datasets]
    held = protect.held(roots, config.pair)
    sizes = None
    if used:
        columns = ["zfs", "list", "-Hp", "-r", "-t", "snapshot", "-o", "name,used"]
        sizes = listing.parse_used(run([*columns, *roots])) if roots else {}
    sets = listing.describe(datasets, config.pair, datetime.datetime.now(datetime.UTC), held, sizes)
    cut = [name for name in sorted(datasets) if inventory.prop(datasets[name], "receive_resume_token") not in ("-", "")]
    return {
        "changed": False,
        "host": config.me.name,
        "role": role.load().now(role.boot_id()),
        "sets": sets,
        "lists": listing.lists(datasets, config.pair, sets),
        "held": {name: sorted(held[name]) for name in sorted(held)},
        "resumable": cut,
        "bookmarks": sorted(f"{name}#{mark[0]}" for name, entry in datasets.items() for mark in entry["bookmarks"]),
    }


def _diff(before: t.Iterable[str], after: t.Iterable[str]) -> dict[str, str]:
    return {"before": prune.lines(before), "after": prune.lines(after)}
