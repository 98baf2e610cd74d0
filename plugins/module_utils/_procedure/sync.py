# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Bring a snapshot set to the other host and prove that it is there."""

from __future__ import annotations

import concurrent.futures
import itertools
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress, human
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._pair.operation import owner
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, inventory, plan

#: Streams at the same time over the one connection.
STREAMS = 3

_numbers = itertools.count(1)


def newest_complete(datasets: inventory.Inventory, pair: str) -> str | None:
    complete = [name for name, members in inventory.sets(datasets, pair).items() if inventory.is_complete(members, datasets)]
    return complete[-1] if complete else None


def make_plan(config: PairConfig, peer: Peer, snapshot: str | None = None) -> tuple[str, plan.Plan]:
    """What would be sent. :raises Refused: when a replica does not fit."""
    mine = inventory.read(config.datasets)
    missing = [root for root in config.datasets if root not in mine]
    if missing:
        raise HvmError(f"there is no dataset {', '.join(missing)} on {config.me.name}", "Create it, or correct hvm_datasets.")
    name = snapshot or newest_complete(mine, config.pair)
    if name is None:
        raise HvmError(
            f"there is no complete snapshot set of the pair {config.pair} on {config.me.name}", "Take one: hvm_zfs_snapshot."
        )
    theirs = peer.call("datasets")
    made = plan.plan(mine, theirs, name, config.peer.name)
    if made.findings:
        raise Refused(f"the sync of {name}", made.findings)
    return name, made


def sync(config: PairConfig, peer: Peer, progress: Progress, snapshot: str | None = None) -> dict[str, t.Any]:
    """Send what `config.peer` lacks of a set, then verify. The second run sends nothing.

    :return: ``{changed, set, bytes, seconds, datasets: {name: bytes}, verified}``
    """
    start = time.monotonic()
    name, made = make_plan(config, peer, snapshot)
    sent: dict[str, int] = {}
    if not made.is_empty:
        for dataset in made.aborts:
            peer.call("abort_receive", dataset=dataset)
        _send_all(config, peer, progress, made, sent)
        for dataset, properties in made.properties.items():
            peer.call("set_properties", dataset=dataset, properties=properties)
    theirs = peer.call("datasets")
    wrong = plan.missing_on_target(inventory.read(config.datasets), theirs, name)
    if wrong:
        raise HvmError(
            f"the set {name} is not complete on {config.peer.name}: {', '.join(wrong)}",
            "Run the sync again; nothing was overwritten.",
        )
    return {
        "changed": not made.is_empty,
        "set": name,
        "bytes": sum(sent.values()),
        "seconds": round(time.monotonic() - start, 3),
        "datasets": sent,
        "properties": made.properties,
        "verified": True,
        "extra_on_peer": made.extra,
    }


def run(config: PairConfig, progress: Progress, snapshot: str | None, check: bool) -> dict[str, t.Any]:
    """The sync as an operation of its own: guarded and locked on both hosts."""
    with Peer(config) as peer:
        me, other = observe(config), peer.call("observe")
        findings = guards.sync(me, other)
        if findings:
            raise Refused("the sync", findings)
        if check:
            if snapshot is None and newest_complete(inventory.read(config.datasets), config.pair) is None:
                return {"changed": True, "set": "the one that will be taken", "plan": []}
            name, made = make_plan(config, peer, snapshot)
            return {
                "changed": not made.is_empty,
                "set": name,
                "plan": [step.as_dict() for step in made.steps],
                "properties": made.properties,
            }
        with operation.Lock().held("sync", owner()):
            peer.call("lock", operation="sync", owner=f"{owner()} on {config.me.name}")
            return sync(config, peer, progress, snapshot)


def _send_all(config: PairConfig, peer: Peer, progress: Progress, made: plan.Plan, sent: dict[str, int]) -> None:
    """Datasets in parallel; the steps of one in order; a new dataset after its new parent."""
    chains: dict[str, list[plan.Step]] = {}
    for step in made.steps:
        chains.setdefault(step.dataset, []).append(step)
    levels: dict[int, list[str]] = {}
    for dataset, steps in chains.items():
        levels.setdefault(dataset.count("/") if steps[0].base is None else 0, []).append(dataset)

    def work(dataset: str) -> None:
        for step in chains[dataset]:
            sent[dataset] = sent.get(dataset, 0) + send_one(config, peer, step)
        progress.say(f"{dataset}: {human(sent[dataset])} sent")

    for dummy, datasets in sorted(levels.items()):
        with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
            jobs = [pool.submit(work, dataset) for dataset in datasets]
            for job in concurrent.futures.as_completed(jobs):
                job.result()


def send_one(config: PairConfig, peer: Peer, step: plan.Step) -> int:
    stream = next(_numbers)
    root = step.dataset in config.datasets
    command = actions.receive_command(step.dataset, step.base is None, step.volume, root)
    future = peer.begin("receive", stream=stream, dataset=step.dataset, command=command)
    try:
        count = peer.send(stream, actions.send_command(step.dataset, step.base, step.snapshot, step.raw))
    except HvmError:
        if future.done() and future.exception():
            raise future.exception() from None  # type: ignore[misc]
        raise
    peer.result(future, f"receive {step.dataset}", timeout=3600)
    return count
