# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Old snapshot sets go; the newest common set never does."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, inventory, names, plan


def destroy_sets(config: PairConfig, sets: t.Sequence[str]) -> list[str]:
    """Destroy these sets of the pair on this host; returns those that are gone.

    One that is held or cloned stays and is not an error.
    """
    wanted = {name for name in sets if (parsed := names.parse(name)) and parsed.pair == config.pair}
    kept: set[str] = set()
    for dataset, entry in inventory.read(config.datasets).items():
        doomed = [snap[0] for snap in entry["snapshots"] if snap[0] in wanted]
        if doomed and len(doomed) < len(entry["snapshots"]):
            try:
                actions.destroy_snapshots(dataset, doomed)
            except CommandError:
                kept.update(doomed)
    return sorted(wanted - kept)


def prune(config: PairConfig, peer: Peer, keep: int, check: bool = False) -> dict[str, t.Any]:
    """Keep the last `keep` sets on both hosts, and whatever is the newest that both have."""
    mine, theirs = inventory.read(config.datasets), peer.call("datasets")
    here, there = inventory.sets(mine, config.pair), inventory.sets(theirs, config.pair)
    common = [name for name in here if not plan.missing_on_target(mine, theirs, name)]
    doomed = {config.me.name: plan.prunable(list(here), common, keep), config.peer.name: plan.prunable(list(there), common, keep)}
    if not check:
        doomed[config.me.name] = destroy_sets(config, doomed[config.me.name]) if doomed[config.me.name] else []
        if doomed[config.peer.name]:
            doomed[config.peer.name] = peer.call("prune", sets=doomed[config.peer.name])["destroyed"]
    return {"changed": any(doomed.values()), "destroyed": doomed}
