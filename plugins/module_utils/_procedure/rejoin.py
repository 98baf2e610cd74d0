# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""`rejoin`: the other host comes back, as a replica; or this one wins. It runs on the host that goes on.

What the other one has of its own is held, kept beside, or destroyed by the operator's word alone. Whether it may is decided by
`_pair.recovery.rejoin`.
"""

from __future__ import annotations

import contextlib
import datetime
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import moving, operation, recovery, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import arrive, both, comeback, goback, recover, serving, switch
from ansible_collections.hvm.pair.plugins.module_utils._zfs import kept
from ansible_collections.hvm.pair.plugins.module_utils._zfs import rollback as trees

_WITH_OWN = (recovery.DIVERGE, recovery.KEEP, recovery.DISCARD)


class Words(t.NamedTuple):
    """The operator's.

    :ivar choice: for what the other host has of its own: "" (only make sure of it), keep, or discard.
    :ivar discard: for discard, the name of that host. :ivar winner: the host that goes on; "" for the ACTIVE one.
    :ivar dead_host: name of the other host: it is off and lost.
    """

    choice: str = ""
    discard: str = ""
    winner: str = ""
    dead_host: str = ""


def apply(config: PairConfig, words: Words, check: bool, progress: Progress) -> dict[str, t.Any]:
    """:return: ``{changed, do, sentence, role, epoch, own: {snapshots, written, doubt, overlays, sentence}, kept, destroyed,
        plan, vms, left, warnings, steps}``
    :raises Refused: when it may not be done; nothing was changed then.
    """
    with contextlib.ExitStack() as stack:
        theirs = recovery.Own({}, {})

        def rule(me: both.Observation, other: both.Observation | None, peer: Peer | None) -> recovery.Decision:
            nonlocal theirs
            if other is not None and peer is not None:
                theirs = comeback.own(config, peer, other)
            return recovery.rejoin(me, other, theirs, *words)

        found = both.decide(config, recovery.REJOIN, rule, check, stack, progress)
        if not check and theirs.doubt and found.peer and found.decision.do in _WITH_OWN:
            # whether there is anything in the logs is known when they have been replayed
            found.peer.call("replay", timeout=comeback.TIMEOUT)
            found = both.once_more(config, found, recovery.REJOIN, rule)
        decision = found.decision
        result = found.result(bool(decision.do))
        result.update(kept=[], destroyed={})
        result["own"] = {
            "snapshots": theirs.newer, "written": theirs.written, "doubt": theirs.doubt, "sentence": theirs.sentence(),
            "overlays": {vm: theirs.sizes.get(vm) for vm in theirs.overlays},
        }  # fmt: skip
        peer = found.peer
        if peer is None and decision.do != recovery.WIN:  # nothing is decided about a host that does not answer
            raise HvmError(found.silent)
        if theirs and peer is not None:
            result["own"]["since"] = comeback.sizes(config, peer)
        if not decision.do:
            return result
        wanted = _Back(stamp=_cut(config)) if peer is None else _back(config, peer, decision.do)
        if decision.do == recovery.KEEP and not wanted.set and found.other and _is_replica(found.other, decision.epoch):
            sentence = f"{config.peer.name} is PASSIVE; what only it has stays where it is: {theirs.sentence()}"
            return {**result, "changed": False, "do": "", "sentence": sentence, "warnings": list(wanted.warnings)}
        result["plan"] = plan_lines(config, decision, wanted, peer is not None)
        if not check:
            progress.say(decision.sentence)
            result.update(_carry_out(config, found, peer, wanted, theirs, progress))
        return result


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _is_replica(side: both.Observation, epoch: int) -> bool:
    """Pure: it is PASSIVE in this epoch, and nothing is left to do for that."""
    is_passive = side["role"]["role"] == role.PASSIVE and side["role"]["epoch"] == epoch
    return bool(is_passive and not side["not_inert"] and not side["pending"])


class _Back(t.NamedTuple):
    """To which set the other host goes back, and under which stamp what is newer is kept; "" for none."""

    set: str = ""
    stamp: str = ""
    warnings: tuple[str, ...] = ()


def _back(config: PairConfig, peer: Peer, do: str) -> _Back:
    """:raises Refused: when it cannot go back to anything."""
    if do == recovery.WIN:
        return _Back(stamp=_cut(config))
    if do not in (recovery.KEEP, recovery.DISCARD):
        return _Back()
    mine, theirs = kept.read(config.datasets), comeback.their_trees(config, peer)
    left = trees.unfinished(theirs, config.datasets)
    if left and left.action == "rollback":
        return _Back(left.set, left.stamp)
    decided = trees.follow(mine, theirs, config.datasets, config.pair, peer=config.peer.name)
    if decided.findings and not decided.set:
        if do == recovery.DISCARD:
            raise Refused(recovery.REJOIN, decided.findings)
        return _Back(warnings=tuple(one.sentence() for one in decided.findings))
    if decided.findings:
        raise Refused(recovery.REJOIN, decided.findings)
    if decided.do != "rollback":
        return _Back()
    stamp = trees.new_stamp(_now(), {**mine, **theirs})
    anew = [f"{name} has nothing in common with this host: the next sync sends it anew" for name in decided.anew]
    return _Back(decided.set, stamp, tuple(anew))


def _cut(config: PairConfig) -> str:
    """Stamp of a swap that has put aside here, or had begun to, what the winner goes on with; "" for none."""
    tree, begun = kept.read(config.datasets), operation.pending() or {}
    left = trees.unfinished(tree, config.datasets)
    if left:
        return left.stamp
    stamp = str(begun.get("stamp", "")) if begun.get("operation") == recovery.REJOIN else ""
    return stamp if any(one.stamp == stamp for one in trees.kept_trees(tree, config.datasets, config.pair)) else ""


def plan_lines(config: PairConfig, decision: recovery.Decision, wanted: _Back, answers: bool) -> list[str]:
    """Pure."""
    other = config.peer.name
    if decision.do == recovery.WIN:
        lines = [f"{other} becomes DIVERGED: what it has of its own is held"] if answers else []
        lines += [f"undo the way back of {wanted.stamp}, which did not end"] if wanted.stamp else []
        return [*lines, *switch.start_plan(config, decision.epoch, recover.vms_line(decision.vms))]
    if decision.do == recovery.DIVERGE:
        return [f"snapshot of what {other} has of its own, held there", f"{other} becomes DIVERGED"]
    fate = "destroyed" if decision.do == recovery.DISCARD else "kept beside"
    back = [f"{other} goes back to {wanted.set}; what is newer there is {fate}"] if wanted.set else []
    return [*back, f"{other} becomes PASSIVE in epoch {decision.epoch}"]


def _carry_out(
    config: PairConfig, found: both.Decided, peer: Peer | None, wanted: _Back, theirs: recovery.Own, progress: Progress
) -> dict[str, t.Any]:
    decision, other = found.decision, config.peer.name
    if decision.do == recovery.WIN or peer is None:
        return _win(config, found, peer, wanted, progress)
    mine = role.load()
    if decision.epoch > mine.epoch:  # first: a host that comes back never knows of a later time than the one that is ACTIVE
        role.write(mine._replace(epoch=decision.epoch))  # the gate stays: a host that was stopped is not started by this
    warnings = list(wanted.warnings)
    was = found.other["role"]["role"] if found.other else ""
    # one that is PASSIVE has nothing of its own, but for what VMs wrote there that had moved
    if decision.do in _WITH_OWN and (was == role.ACTIVE or (theirs.overlays and was == role.PASSIVE)):
        warnings += comeback.stand_down(config, peer, progress)
    if decision.do == recovery.DIVERGE:
        return {"epoch": decision.epoch, "warnings": warnings}
    if decision.do in (recovery.KEEP, recovery.DISCARD) and not wanted.set:
        wanted = _back(config, peer, decision.do)  # the snapshot that has just been taken counts, too
    words = {"do": decision.do, "epoch": decision.epoch, "set": wanted.set, "stamp": wanted.stamp}

    def told(event: dict[str, t.Any]) -> None:
        progress.say(f"{other}: {event['text']}")

    reason = f"came back: {config.me.name} is ACTIVE"
    answer = peer.call("come_back", timeout=comeback.TIMEOUT, on_event=told, reason=reason, **words)
    warnings += [f"{other}: {text}" for text in answer["warnings"]]
    return {"epoch": decision.epoch, "kept": answer["kept"], "destroyed": answer["destroyed"], "warnings": warnings}


def _win(config: PairConfig, found: both.Decided, peer: Peer | None, wanted: _Back, progress: Progress) -> dict[str, t.Any]:
    """:param wanted: with the stamp of a swap that has put aside what this host wins with."""
    decision = found.decision
    facts: dict[str, t.Any] = {"vms": list(decision.vms), "epoch": decision.epoch, "peer": config.peer.name}
    facts["stamp"] = wanted.stamp
    here, pending = set(decision.here), operation.Journal.of_pending()
    if pending and moving.source(found.me):
        here.update(pending.entry.get(moving.HALF, ()))  # what they have left here, not what was on its way back
        goback.instead_of_half(config, pending, ())
    facts.update(arrive.alone(config, here))
    journal = operation.Journal(recovery.REJOIN, **facts)
    journal.step("the other stands down")
    warnings = comeback.stand_down(config, peer, progress) if peer else []
    if wanted.stamp:
        aim = trees.aim(kept.read(config.datasets), config.datasets, config.pair, True, wanted.stamp, _now())
        warnings += recover.go_back(config, aim, lambda text: journal.step(f"back to its own: {text}"), progress)
    try:
        vms = serving.Wanted(decision.vms, facts["frozen"])
        done = serving.serve(config, decision.epoch, "won, by the operator's word", progress, vms, journal, found.seen)
    except HvmError as exc:
        raise HvmError(f"{config.me.name} does not start: {exc}", "Mend the reason, then run this again.") from exc
    recover.close(journal, done, f"{config.me.name} is ACTIVE")
    done["warnings"] = warnings + done["warnings"]
    return {"role": role.ACTIVE, "epoch": decision.epoch, **recover.ended(config, done)}
