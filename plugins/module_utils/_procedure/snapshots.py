# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Snapshot sets as a module wants them: there, gone, or pruned."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import checkpoint, prune
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, names, plan


def apply(config: PairConfig, state: str, name: str | None, consistency: str, keep: int, check: bool) -> dict[str, t.Any]:
    if keep < 1:
        raise HvmError(f"keep is {keep}", "At least one set must be kept.")
    if name and ((parsed := names.parse(name)) is None or parsed.pair != config.pair):
        raise HvmError(f"{name} is not the name of a snapshot set of the pair {config.pair}", "See 'status' for the sets.")
    if state == "present":
        return _present(config, name, consistency, check)
    with operation.Lock().held("prune", operation.owner()), Peer(config) as peer:
        if state == "pruned":
            return prune.prune(config, peer, keep, check)
        return _absent(config, peer, t.cast(str, name), check)


def _present(config: PairConfig, name: str | None, consistency: str, check: bool) -> dict[str, t.Any]:
    me = observe(config)
    findings = guards.is_active(me, "take snapshots") + guards.common(me)
    if findings:
        raise Refused("the snapshot", findings)
    if name:
        found = next((entry for entry in me["sets"] if entry["name"] == name), None)
        if found and found["complete"]:
            return {"changed": False, "set": name}
        raise HvmError(
            f"the set {name} is {'not complete' if found else 'not there'} and cannot be taken again",
            "Take a new one: leave out 'name'.",
        )
    if check:
        return {"changed": True, "set": checkpoint.new_set_name(config, inventory.read(config.datasets), consistency)}
    with operation.Lock().held("snapshot", operation.owner()):
        return {"changed": True, "set": checkpoint.take_set(config, consistency, me["role"]["epoch"])}


def _absent(config: PairConfig, peer: Peer, name: str, check: bool) -> dict[str, t.Any]:
    mine, theirs = inventory.read(config.datasets), peer.call("datasets")
    here = inventory.sets(mine, config.pair)
    if name not in here:
        return {"changed": False, "destroyed": {config.me.name: []}}
    common = [one for one in here if not plan.missing_on_target(mine, theirs, one)]
    if (common and name == common[-1]) or (not common and len(here) == 1):
        raise HvmError(
            f"the set {name} is the newest that both hosts have",
            "Without it everything would have to be sent anew. Sync a newer one first.",
        )
    return {"changed": True, "destroyed": {config.me.name: [name] if check else prune.destroy_sets(config, [name])}}
