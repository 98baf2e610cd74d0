# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""`failover`: the PASSIVE host goes on from its last complete set, because the other one does not come back.

What would be lost is shown before anything is asked for. Whether it may is decided by `_pair.recovery.failover`.
"""

from __future__ import annotations

import contextlib
import datetime
import time
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import image
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.overlay import DEFINITIONS
from ansible_collections.hvm.pair.plugins.module_utils._pair import moving, operation, recovery, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    arrive,
    both,
    comeback,
    holds,
    preflight,
    recover,
    rollback,
    serving,
    switch,
)
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, kept
from ansible_collections.hvm.pair.plugins.module_utils._zfs import rollback as trees
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import prop

#: Seconds for a fence command.
FENCE_TIMEOUT = 120.0
#: Seconds until a host that was switched off must be silent.
OFF_TIMEOUT = 30.0


class Words(t.NamedTuple):
    """The operator's.

    :ivar dead_host: name of the other host: it is off. :ivar give_up: the same for one that answers: it is left behind.
    :ivar fence: command that switches it off, or nothing.
    """

    dead_host: str = ""
    give_up: str = ""
    fence: t.Sequence[str] = ()


def apply(config: PairConfig, to: str, words: Words, check: bool, progress: Progress) -> dict[str, t.Any]:
    """:param to: the set to go on from, as `_zfs.rollback.choose` takes it.
    :return: ``{changed, do, sentence, role, epoch, set, lost, plan, vms, left, warnings, steps}``
    :raises Refused: when it may not be done, with what would be lost; nothing was changed then.
    :raises HvmError: when this host is ACTIVE and not every VM of it runs.
    """
    with contextlib.ExitStack() as stack:
        name: str | None = None
        lost: dict[str, t.Any] = {}

        def rule(me: both.Observation, other: both.Observation | None, peer: Peer | None) -> recovery.Decision:
            nonlocal name
            name, why_not = _set(config, to)  # each time: a sync may have ended before the locks were taken
            lost.clear()
            if name and me["role"]["now"] != role.ACTIVE:
                lost.update(what_is_lost(config, name, peer, moving.arrived(me)))
            # the fence command is what switches off a host that answers and will not be asked; its success is the proof then
            asked = {**me, "peer_says": ""} if words.fence and other is None else me
            return recovery.failover(asked, other, name, words.dead_host, words.give_up, None, why_not)

        try:
            found = both.decide(config, recovery.FAILOVER, rule, check, stack, progress)
        except Refused as exc:
            exc.details["lost"] = lost
            exc.what += "".join(f"\n{line}" for line in lost.get("lines", []))
            raise
        decision = found.decision
        result = found.result(decision.do == recovery.TAKE_OVER)
        result.update(set=name or "", lost=lost)
        if decision.do == recovery.TAKE_OVER and name:
            result.update(role=role.ACTIVE, epoch=decision.epoch)
            # what has moved here is on that set already, and runs, or goes on from its overlays
            undo = _undo(config)
            aim = trees.Aim("", "", "", "") if moving.arrived(found.me) or undo else recover.back_to(config, name)
            if check:
                result["plan"] = plan(config, decision.epoch, aim, words, found, undo)
            else:
                if words.fence and found.other is None:
                    decision = fence(config, found, name, words)
                    result["sentence"] = decision.sentence
                result.update(_take_over(config, found, decision, name, aim, progress, undo))
        return result


def _set(config: PairConfig, to: str) -> tuple[str | None, str]:
    """``(the set, "")``, or ``(None, why there is none)``. A swap that was interrupted is gone on with."""
    tree = kept.read(config.datasets)
    left = trees.unfinished(tree, config.datasets)
    try:
        if left and left.action == "rollback":
            with contextlib.suppress(HvmError):
                return recover.back_to(config, to).set, ""
            return None, f"the way back to {left.set} did not end, and comes first: hvm_failover_to=last goes on with it"
        if left:
            made = trees.plan_undo(tree, config.datasets, config.pair, left.stamp, left.aside)
            tree = trees.after(tree, made.steps)
        return trees.choose(to, tree, config.datasets, config.pair, holds.verified(config)), ""
    except HvmError as exc:
        return None, exc.what


def _undo(config: PairConfig) -> trees.Aim | None:
    """What has to end before any set can be gone back to."""
    left = trees.unfinished(kept.read(config.datasets), config.datasets)
    return trees.Aim(left.action, left.set, left.stamp, left.aside) if left and left.action == "undo" else None


def what_is_lost(config: PairConfig, name: str, peer: Peer | None, moved: t.Collection[str] = ()) -> dict[str, t.Any]:
    """As `recovery.lost` has it, of the set on this host; the other one, when it answers, says what it has written since.

    :param moved: VMs that have moved here, and go on as they are.
    """
    tree = kept.read(config.datasets)
    inside = sorted(trees.members(tree, config.datasets, name).inside)
    written = None
    if peer is not None:
        with contextlib.suppress(HvmError):
            written = {one: int(size) for one, size in peer.call("written", set=name).items()}
    known, images = _vms(config, tree, name)
    aside = kept.read_aside(config.pools)
    missing = trees.missing(tree, aside, config.datasets, config.pair, name, holds.verified(config))
    was = {place: dataset for dataset, place in missing.items() if place}
    mounts = [
        (was.get(one, one), point)
        for one, entry in {**trees.in_use(tree, config.datasets), **aside}.items()
        if (point := prop(entry, "mountpoint")).startswith("/")
    ]
    without = {vm: sorted(missing.keys() & _places(xml, mounts)) for vm, xml in known.items()}
    now = datetime.datetime.now(datetime.UTC)
    return recovery.lost(name, now, inside, {*known, *images}, images, written, moved, missing, without)


def _vms(config: PairConfig, tree: trees.Tree, name: str) -> tuple[dict[str, str], list[str]]:
    """VMs that the set knows, with their XML, and those with a state image in it; none when nobody can look into it."""
    known: dict[str, str] = {}
    images: list[str] = []
    with contextlib.suppress(HvmError):
        known = rollback.texts_with(tree, config.datasets, DEFINITIONS, name, ".xml")
        images = rollback.names_with(tree, config.datasets, config.state_dir, name, ".state")
    return known, images


def _places(xml: str, mounts: t.Sequence[tuple[str, str]]) -> set[str]:
    """Datasets with a disk of the VM; none when its XML cannot be read."""
    try:
        return {image.dataset_of(disk["path"], mounts)[1] for disk in image.disks_of(xml)}
    except ET.ParseError:
        return set()


def fence(config: PairConfig, found: both.Decided, name: str, words: Words) -> recovery.Decision:
    """Switch the other host off by the operator's command. :raises Refused: when that fails, which proves nothing."""
    try:
        run(list(words.fence), timeout=FENCE_TIMEOUT)
        failure = _still_there(config) if isinstance(found.silent, preflight.Refusal) else ""
    except HvmError as exc:
        failure = exc.what
    decision = recovery.failover(found.me, None, name, words.dead_host, words.give_up, failure)
    if decision.findings:
        raise Refused(recovery.FAILOVER, decision.findings)
    return decision


def _still_there(config: PairConfig) -> str:
    """What a host says that has answered before it was switched off, if it does so after OFF_TIMEOUT; "" when it is silent."""
    deadline = time.monotonic() + OFF_TIMEOUT
    while True:
        other, silent = preflight.ask(config)
        if other is None and not isinstance(silent, preflight.Refusal):
            return ""
        if time.monotonic() > deadline:
            return f"it succeeded, and {config.peer.name} still answers"
        time.sleep(1)


def plan(
    config: PairConfig, epoch: int, aim: trees.Aim, words: Words, found: both.Decided, undo: trees.Aim | None
) -> list[str]:
    """Pure."""
    lines = [f"{config.peer.name} becomes DIVERGED: what it has of its own is held"] if found.has_role else []
    if words.fence and found.other is None:
        lines.append(f"fence {config.peer.name}: {words.fence[0]}")
    if undo:
        lines.append(f"end the undo of {undo.stamp}, which was cut off")
    if aim.do:
        lines.append(f"go back to {aim.set}; what is newer here is kept")
    return [*lines, *switch.start_plan(config, epoch, recover.vms_line(()))]


def _take_over(
    config: PairConfig,
    found: both.Decided,
    decision: recovery.Decision,
    name: str,
    aim: trees.Aim,
    progress: Progress,
    undo: trees.Aim | None,
) -> dict[str, t.Any]:
    facts: dict[str, t.Any] = {"vms": list(decision.vms), "epoch": decision.epoch, "set": name, "peer": config.peer.name}
    entry, warnings = moving.target(found.me), list[str]()
    if entry and not entry[moving.ARRIVED]:
        warnings += arrive.depart(config)["warnings"]  # nothing that it was made ready for has come
        aim = recover.back_to(config, name)
    elif entry:
        facts.update(arrive.alone(config, decision.here), **{key: entry.get(key, []) for key in (moving.ARRIVED, "saved")})
    journal = operation.Journal(recovery.FAILOVER, **facts)
    progress.say(decision.sentence)
    journal.step("the other stands down")
    warnings += comeback.stand_down(config, found.peer, progress) if found.peer and found.has_role else []
    journal.step("back to the set")
    rollback.nothing_received(config)

    def said(text: str) -> None:
        journal.step(f"back to the set: {text}")

    if undo:
        warnings += recover.go_back(config, undo, said, progress)
        aim = recover.back_to(config, name)
    if aim.do:
        warnings += recover.go_back(config, aim, said, progress)
    wanted = serving.Wanted(decision.vms, facts.get("frozen", ()), images=name.endswith("_B"))
    done = serving.serve(config, decision.epoch, f"failover with the set {name}", progress, wanted, journal, found.seen)
    recover.close(journal, done, f"took over: {config.me.name} is ACTIVE")
    if aim.do == "rollback":  # the newest that the other one may have: while that is dead, it tells what may go
        with contextlib.suppress(HvmError):  # then all of them stay
            warnings += holds.hold_and_mark(config, inventory.read(config.datasets), name)
    done["warnings"] = warnings + done["warnings"]
    return recover.ended(config, done)
