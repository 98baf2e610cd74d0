# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""`recover`: the pair is whole again after a crash, as far as that needs no operator's word.

What is done on this host is decided by `_pair.recovery.recover`. Whatever it interrupts itself, the same decision is made again.
"""

from __future__ import annotations

import contextlib
import datetime
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, moving, operation, recovery, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    address,
    arrive,
    both,
    goback,
    holds,
    overlays,
    rollback,
    serving,
    switch,
)
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import qemu_processes
from ansible_collections.hvm.pair.plugins.module_utils._zfs import bases, kept
from ansible_collections.hvm.pair.plugins.module_utils._zfs import rollback as trees
from ansible_collections.hvm.pair.plugins.module_utils._zfs.rollback import Aim

#: The step of a migration in which all VMs are saved and nothing is mounted, but the set that proves it is not there yet.
STOPPED = "last snapshot"
#: In a journal: it was seen in that step, and nothing was mounted since.
AS_SAVED = "as_saved"


def as_saved(me: both.Observation) -> bool:
    """Whether the disks of VMs whose migration was cut off are as they were saved, although no set proves it. Pure.

    The source is `clean` from when it has unmounted everything until it is in use again. That alone says nothing of when its VMs
    were saved, as a start that fails ends in good order, too; so it counts together with the step that it was seen in.
    """
    entry, mine = me["pending"] or {}, me["role"]
    begun = entry.get("operation") == recovery.MIGRATION and operation.SOURCE not in entry
    return bool(
        begun and (entry["step"] == STOPPED or entry.get(AS_SAVED)) and mine["role"] == role.ACTIVE and mine["clean"]
    )


def from_images(me: both.Observation) -> bool:
    """Whether this host took over with a set with VM states (B) and was cut off: what is left of the images goes on. Pure."""
    entry = me["pending"] or {}
    took_over = entry.get("operation") == recovery.FAILOVER and me["role"]["role"] == role.ACTIVE
    return bool(took_over and str(entry.get("set", "")).endswith("_B"))


def apply(config: PairConfig, peer_is_down: str, check: bool, progress: Progress, give_up: str = "") -> dict[str, t.Any]:
    """:param peer_is_down, give_up: the operator's words, as `_pair.recovery.recover` takes them.
    :return: ``{changed, do, sentence, role, epoch, peer_answers, plan, vms, left, warnings, steps}``
    :raises Refused: when it cannot be decided, or may not be done; nothing was changed then.
    :raises HvmError: when this host is ACTIVE and not every VM of it runs.
    """
    with contextlib.ExitStack() as stack:

        def rule(me: both.Observation, other: both.Observation | None, dummy: t.Any) -> recovery.Decision:
            return recovery.recover(me, other, peer_is_down, give_up)

        found = both.decide(config, recovery.RECOVER, rule, check, stack, progress)
        decision = found.decision
        result = found.result(decision.do in (recovery.START, recovery.PASS))
        result["peer_answers"] = found.other is not None
        if decision.do == recovery.START:
            result.update(role=role.ACTIVE, epoch=decision.epoch, **_start(config, found, check, progress))
        elif decision.do == recovery.PASS:
            result.update(role=role.PASSIVE, epoch=decision.epoch, plan=swap_plan(config) + pass_plan(config))
            if not check:
                result["warnings"] = become_passive(config, decision.epoch, f"{config.peer.name} is ACTIVE", progress.say)
        return result


def _start(config: PairConfig, found: both.Decided, check: bool, progress: Progress) -> dict[str, t.Any]:
    decision, me = found.decision, found.me
    aim = Aim("", "", "", "")
    # what it goes on from is a set, whole: its own last one, or one that was received
    if me["role"]["role"] == role.PASSIVE and not moving.target(me):
        aim = back_to(config, "last")
    if check:
        back = [f"go back to {aim.set}; what is newer is kept"] if aim.do else []
        return {"plan": [*back, *switch.start_plan(config, decision.epoch, vms_line(decision.vms))]}
    journal = operation.Journal.of_pending() or operation.Journal(
        recovery.RECOVER, vms=list(decision.vms), epoch=decision.epoch, peer=config.peer.name
    )
    if guards.ended_by_backup(journal.entry):
        journal.entry[guards.RECOVERS] = True
        journal.entry.pop("remedy", None)
    journal.entry[AS_SAVED] = as_saved(me)
    pending = [side["pending"] for side in (me, found.other) if side and side["pending"]]
    frozen = {str(name) for one in pending for name in one.get("frozen", [])}
    fresh = decision.vms if as_saved(me) else ()
    wanted = serving.Wanted(decision.vms, frozen, from_images(me), fresh, elsewhere={*decision.back, *decision.stand})
    progress.say(decision.sentence)
    warnings = []
    mine = moving.source(me)
    if mine:
        journal.step(moving.COMING_BACK, **moving.before_it_goes_on(mine, found.other, decision.lost))
        goback.instead_of_half(config, journal, decision.back)
    if aim.do:
        warnings += go_back(config, aim, lambda text: journal.step(f"recover: {text}"), progress)
    done = serving.serve(config, decision.epoch, "recovered", progress, wanted, journal, found.seen)
    away: dict[str, str] = {}
    if mine and found.peer is not None:
        away = _bring_back(config, found.peer, journal, progress, warnings)
        done["errors"].update(away)
        off = sorted(set(decision.stand).difference(qemu_processes(), done["errors"]))
        warnings += [f"VM {name} is off: it ended here, and not because it had moved (hvm_vm state=started)" for name in off]
    if not away:  # else some are the other host's still, whatever lies here
        close(journal, done, f"recovered: {config.me.name} is ACTIVE")
    done["warnings"] = warnings + done["warnings"] + both.tell_epoch(found.peer, decision.epoch)
    return ended(config, done)


def _bring_back(
    config: PairConfig, peer: Peer, journal: operation.Journal, progress: Progress, warnings: list[str]
) -> dict[str, str]:
    """VMs that have moved to the other host. :return: name -> error."""
    journal.step(moving.COMING_BACK)
    conn = domains.connect()
    try:
        errors = goback.bring_back(config, peer, conn, journal, progress, warnings)
        errors.update(goback.here(conn, journal.entry, progress, errors))
        warnings += serving.put_overlays_beside(config, conn, errors)
        return errors
    finally:
        conn.close()


def close(journal: operation.Journal, done: dict[str, t.Any], what: str) -> None:
    """After `serving.serve`: nothing is pending any more, unless overlays did not come into their disks. That is for `recover`:
    until then no backup has what their VMs write.
    """
    if not (done["errors"] and overlays.left()):
        journal.done(what)


def ended(config: PairConfig, done: dict[str, t.Any]) -> dict[str, t.Any]:
    """What `serving.serve` has come to, as a result.

    :raises HvmError: when something does not run; this host is ACTIVE all the same.
    """
    errors = done.pop("errors")
    if errors:
        said = "; ".join(f"{name}: {text}" for name, text in sorted(errors.items()))
        what = f"{config.me.name} is ACTIVE, but not everything runs: {said}"
        # while VMs are on both hosts no VM is started or restored by hand
        now = {"pending": operation.pending()}
        then = "hvm.pair.recover" if moving.source(now) or moving.target(now) else "hvm_vm state=restored or state=started"
        raise HvmError(what, f"Mend the reason, then {then}.", changed=True, **done)
    return done


def vms_line(names: t.Collection[str]) -> str:
    ran = f"{', '.join(sorted(names))}, and " if names else ""
    return f"start, by priority: {ran}the VMs with autostart=yes; from their state images where these fit"


def back_to(config: PairConfig, to: str) -> Aim:
    """What brings the datasets of a host that is not ACTIVE to a set; one that was interrupted is gone on with."""
    tree = kept.read(config.datasets)
    now = datetime.datetime.now(datetime.UTC)
    verified = holds.verified(config)
    return trees.aim(tree, config.datasets, config.pair, False, to, now, untouched=kept.untouched, verified=verified)


def go_back(config: PairConfig, aim: Aim, step: t.Callable[[str], None], progress: Progress) -> list[str]:
    """Carry it out. Nothing is mounted afterwards. :return: warnings."""

    def said(sentence: str) -> None:
        step(sentence)
        progress.say(sentence)

    rollback.make_inert(config)
    # what was gone on the ACTIVE host by the time of the set goes aside; whether that is so was asked when it was chosen
    made = rollback.plan_for(config, rollback.nothing_received(config), aim, replica=True)
    warnings = rollback.take_steps(config, aim, made, said)
    return warnings + kept.load_keys(trees.in_use(kept.read(config.datasets), config.datasets))


# ---- a host that is PASSIVE from now on


def pass_plan(config: PairConfig) -> list[str]:
    """Pure."""
    lines = [f"unmount the datasets below {', '.join(config.datasets)}: read-only, without devices", "the gate is shut, PASSIVE"]
    return ([f"shared IP off: {', '.join(config.shared_ips)}"] if config.shared_ips else []) + lines


def swap_plan(config: PairConfig) -> list[str]:
    left = trees.unfinished(kept.read(config.datasets), config.datasets)
    return [f"end the {left.action} of {left.stamp}, which was cut off; what is newer is kept"] if left else []


def become_passive(config: PairConfig, epoch: int, reason: str, say: t.Callable[[str], None] = lambda dummy: None) -> list[str]:
    """Inert, then PASSIVE on disk, then nothing pending. The caller has looked that nothing runs here. :return: warnings."""
    warnings: list[str] = list(arrive.depart(config)["warnings"])
    warnings += let_go(config)
    warnings += _end_swap(config, say)
    role.record(role.PASSIVE, epoch, reason)
    journal = operation.Journal.of_pending()
    if journal:
        with contextlib.suppress(HvmError):
            overlays.directory(config, make=False)  # else what is hidden now would be there again later
        overlays.forget(overlays.of_journal(journal.entry))  # the VMs that they were of have moved
        journal.done(f"recovered: {reason}")
    return warnings


def _end_swap(config: PairConfig, say: t.Callable[[str], None]) -> list[str]:
    """Its mark outlives the journal: a failover months later would go on with it, to a set that nobody has chosen then."""
    left = trees.unfinished(kept.read(config.datasets), config.datasets)
    if not left:
        return []
    journal = operation.Journal.of_pending() or operation.Journal(recovery.RECOVER)

    def said(sentence: str) -> None:
        journal.step(f"recover: {sentence}")
        say(sentence)

    return swap_replica(config, Aim(left.action, left.set, left.stamp, left.aside), said)


def swap_replica(config: PairConfig, aim: Aim, said: t.Callable[[str], None]) -> list[str]:
    """On a host that comes back. :param said: told of each step before it is taken. :return: warnings."""
    made = rollback.plan_for(config, rollback.nothing_received(config), aim, replica=True)
    return rollback.take_steps(config, aim, made, said) if made.steps else []


def let_go(config: PairConfig) -> list[str]:
    """Nothing of the pair's is in use here any more. :return: warnings."""
    role.shut_gate()
    bases.reopen(config.datasets)  # else they would be read-only when this host is ACTIVE again
    rollback.make_inert(config)
    try:
        address.give_up(config)
    except HvmError as exc:
        return [f"the shared IP is still here: {exc}"]
    return []
