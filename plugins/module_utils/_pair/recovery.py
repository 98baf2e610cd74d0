# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What is to be done after something went wrong: pure decisions from what was observed on both hosts.

Each returns a Decision with the sentence that is logged, so that whoever reads the log knows why. As in `guards`, an observation
is what `_procedure.observe.observe` returns, and None for a host that does not answer.
"""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import human
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, moving
from ansible_collections.hvm.pair.plugins.module_utils._pair.guards import Observation
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import ACTIVE, DIVERGED, PASSIVE
from ansible_collections.hvm.pair.plugins.module_utils._zfs import names
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import prop

#: What a decision may say is to be done.
NOTHING = ""
#: recover: this host is or becomes ACTIVE, and its VMs run again | this host is PASSIVE, and made so where it is not
#: | another verb, or the other host, comes first
START, PASS, ELSEWHERE = "start", "pass", "elsewhere"
#: failover
TAKE_OVER = "take over"
#: rejoin, all of them on the host that goes on: the other one becomes PASSIVE as it is | becomes DIVERGED, its data held
#: | PASSIVE, and what it has of its own is kept beside | PASSIVE, and that is destroyed
#: | this host becomes ACTIVE, the other one DIVERGED
JOIN, DIVERGE, KEEP, DISCARD, WIN = "join", "diverge", "keep", "discard", "win"
#: What the operator may choose for a host that is DIVERGED; "": nothing yet.
CHOICES = ("", KEEP, DISCARD)

#: What the journal calls a migration, and what a migration that was cut off is gone on with by `recover`.
MIGRATION = "migrate_secure"
#: What the journal calls the verbs of this file.
RECOVER, FAILOVER, REJOIN = "recover", "failover", "rejoin"
#: Operations that `recover` ends, if they did not end by themselves.
ENDED_BY_RECOVER = (MIGRATION, moving.OPERATION, "backup_secure", *guards.BACKUPS, RECOVER, FAILOVER, REJOIN)


class Decision(t.NamedTuple):
    """:ivar do: one of the words above.
    :ivar sentence: what is done and why, for the log; without its full stop when there are findings it is empty.
    :ivar findings: why it is refused; then nothing may be done.
    :ivar epoch: in which this host becomes ACTIVE, or the other one PASSIVE.
    :ivar vms: that an interrupted migration had saved or was about to; of one that has moved VMs, those that run here.
    :ivar back: VMs whose disks are on the other host, where they have moved: they come back, running or as their overlay.
    :ivar here: VMs whose overlay on this host is what they have written; it is merged into their disks when none is to come back.
    :ivar stand: of `vms`, those that are off here and may stand on the other host, with their memory: they wait for that.
    :ivar lost: VMs whose newest writes the other host may have. Of a refusal they are the reason; of a start, by the operator's
        word, they are those that go on from what is here all the same.
    """

    do: str
    sentence: str
    findings: tuple[Finding, ...] = ()
    epoch: int = 0
    vms: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    here: tuple[str, ...] = ()
    stand: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def _refused(findings: t.Iterable[Finding], lost: t.Iterable[str] = ()) -> Decision:
    return Decision(NOTHING, "", tuple(findings), lost=tuple(lost))


def _epoch(me: Observation, peer: Observation | None) -> int:
    """Above all that either host has recorded, or was about to."""
    known = [side["role"]["epoch"] for side in (me, peer) if side]
    known += [int(side["pending"].get("epoch", 0)) for side in (me, peer) if side and side["pending"]]
    return int(max(known)) + 1


def _began(side: Observation, operation: str) -> bool:
    return bool(side["pending"]) and side["pending"]["operation"] == operation


def _vms(me: Observation, peer: Observation | None) -> tuple[str, ...]:
    """VMs of an interrupted migration, whichever of the hosts remembers it, also where they are on both."""
    found: set[str] = set()
    for side in (me, peer):
        if side is peer and side and moving.target(side) and not moving.is_same(moving.source(me), moving.target(side)):
            continue  # of a move that this host has gone on without
        if side and side["pending"] and not side["lock"]:
            found.update(map(str, side["pending"].get("vms", [])))
    return tuple(sorted(found))


def _is_up(side: Observation) -> bool:
    return bool(side["hypervisor"]["running"] or side["qemu"])


def _was(side: Observation) -> str:
    return f"{side['host']} was ACTIVE in epoch {side['role']['epoch']}"


def _both_sides(
    me: Observation, peer: Observation | None, own: t.Collection[str], moves: bool = True, new: bool = False
) -> list[Finding]:
    """What every one of them needs: roles, pools, nobody else at work, no VM where none may be.

    :param moves: VMs that have moved to a host that is not ACTIVE yet may run there.
    :param new: the other host need not have a role.
    """
    found = guards.common(me, own)
    for side, across in ((me, peer), (peer, me)):
        if side is None:
            continue
        host, now = side["host"], side["role"]["now"]
        if side["lock"]:
            found.append(Finding(f"another operation is running: {side['lock']}", "Wait until it has ended.", host))
        if not side["role"]["since"] and not (new and side is peer):
            found.append(Finding("it has no role yet", "Run the playbook hvm.pair.install on both hosts.", host))
        if now != ACTIVE and moves and moving.excused(side, across):
            pass
        elif now != ACTIVE and side["qemu"]:
            what = f"VMs run here although it is {now}: {', '.join(side['qemu'])}"
            found.append(Finding(what, "Shut them down: they run on a copy, or on data that are not the newest.", host))
        elif now != ACTIVE and side["hypervisor"]["running"]:
            what = f"its hypervisor is running although it is {now}"
            found.append(Finding(what, "Stop it there: hvm_hypervisor state=stopped.", host))
    if peer is not None and peer["pair"] != me["pair"]:
        what = f"it belongs to the pair {peer['pair']}, not to {me['pair']}"
        found.append(Finding(what, "Correct hvm_hosts in the inventory and run hvm.pair.install.", peer["host"]))
    return found


# ---- recover


def recover(me: Observation, peer: Observation | None, peer_is_down: str = "", give_up: str = "") -> Decision:
    """What this host has to do so that the pair is whole again: ACTIVE and running, or PASSIVE and inert, nothing pending.

    On the last ACTIVE host first, by role, epoch and journal of both. It makes nobody ACTIVE who was not the last, but where both
    are PASSIVE: there a migration goes on at its source, and a failover where it began. One that is PASSIVE goes on from its last
    complete set.

    :param peer: None when the other host does not answer.
    Where a `migrate unsecure` has left VMs on both, they all end up on one: its source, as long as that has not given its role
    away; after that its target, and on no word but the operator's the source again.

    :param peer_is_down: the other host's name, typed by the operator: it is off.
    :param give_up: its name again: what only it may have of the VMs that have moved there is given up, too.
    """
    found = _both_sides(me, peer, _ended(me, peer)) + (guards.misnamed(me, peer_is_down) if peer is not None else [])
    if found:
        return _refused(found)
    decided = _recover_moved(me, peer, peer_is_down, give_up) or _recover(me, peer, peer_is_down)
    is_off = peer_is_down == me["peer"] and not guards.not_off(me)
    is_given_up = give_up == me["peer"] and (peer is not None or is_off)
    return _with_overlays(decided, me, peer, is_given_up) if decided.do == START else decided


def _ended(me: Observation, peer: Observation | None) -> tuple[str, ...]:
    """A rollback goes on by itself, but only on the host that was ACTIVE last. On any other one it is ended with the way back."""
    comes_back = me["role"]["now"] != ACTIVE and peer is not None and peer["role"]["now"] == ACTIVE
    is_left = comes_back or me["role"]["role"] == DIVERGED
    return (*ENDED_BY_RECOVER, *guards.ROLLBACK) if is_left else ENDED_BY_RECOVER


def _recover(me: Observation, peer: Observation | None, peer_is_down: str) -> Decision:
    """By role, epoch and journal, where no VM is in between."""
    if me["role"]["role"] == DIVERGED:
        if peer is not None and peer["role"]["now"] == ACTIVE:
            host = me["host"]
            sentence = f"{host} is DIVERGED; {peer['host']} is ACTIVE, and there hvm.pair.rejoin decides: {ways(host)}"
            return Decision(ELSEWHERE, sentence)
        return _refused([Finding(guards.DIVERGED_HERE, guards.DECIDE, me["host"])])
    if peer is None:
        return _recover_alone(me, peer_is_down)
    mine, theirs = me["role"], peer["role"]
    if mine["role"] == ACTIVE:
        return _recover_active(me, peer)
    here, there, other = me["host"], mine["epoch"], peer["host"]
    if theirs["role"] == ACTIVE:
        if there > theirs["epoch"]:
            return _refused([_seen_later(me, peer)])
        if theirs["now"] == ACTIVE:
            return _pass(me, peer)
        return Decision(ELSEWHERE, f"{_was(peer)}, later than any other: {other} recovers first, {here} is {PASSIVE} and waits")
    if theirs["role"] == DIVERGED:
        there_too = f"to go on there: hvm.pair.rejoin with hvm_winner={other}"
        remedy = f"To go on here: hvm.pair.failover with hvm_give_up={other}; {there_too}."
        return _refused([Finding(f"{other} is DIVERGED, and no host is ACTIVE", remedy, here)])
    return _recover_passive(me, peer)


def _recover_alone(me: Observation, peer_is_down: str) -> Decision:
    here, other, epoch = me["host"], me["peer"], me["role"]["epoch"]
    if me["role"]["now"] == ACTIVE:
        return _go_on(me, None)
    if me["role"]["role"] == PASSIVE and not _began(me, MIGRATION):
        if _began(me, FAILOVER):
            what = f"{other} does not answer, and the failover of {here} did not end"
            return _refused([Finding(what, "hvm.pair.failover goes on with it, with the same variables.", here)])
        what = f"{other} does not answer, and {here} is PASSIVE: {other} may be ACTIVE"
        return _refused([Finding(what, f"If {other} is lost: hvm.pair.failover shows what would be lost with it.", here)])
    if up := guards.not_off(me):
        return _refused(up)
    if peer_is_down != other:
        what = f"{other} does not answer, so it may have become ACTIVE"
        if me["role"]["role"] == PASSIVE:
            what = f"{other} was told to take over and does not answer, so it may be ACTIVE"
        remedy = f"When it answers, run this again. If you know that it is switched off, say so: hvm_peer_is_down={other}."
        return _refused([Finding(what, remedy, here)])
    new = _epoch(me, None)
    why = f"was ACTIVE last, in epoch {epoch}" if me["role"]["role"] == ACTIVE else "had begun to hand over"
    sentence = f"{here} {why}; {other} is off, by the operator's word: {here} becomes ACTIVE in epoch {new}"
    return Decision(START, sentence, epoch=new, vms=_vms(me, None))


def _recover_active(me: Observation, peer: Observation) -> Decision:
    """This host was ACTIVE when it last wrote its role down."""
    mine, theirs, here, other = me["role"], peer["role"], me["host"], peer["host"]
    if theirs["now"] == ACTIVE:
        if mine["now"] != ACTIVE:
            was = f"{other} is ACTIVE in epoch {theirs['epoch']}, {here} was in epoch {mine['epoch']}"
            return Decision(ELSEWHERE, f"{was}: hvm.pair.rejoin comes next")
        return _refused([two_active(me, peer)])
    if mine["now"] == ACTIVE:
        return _go_on(me, peer)
    if theirs["role"] == ACTIVE and not guards.is_later(me, peer):
        if guards.is_later(peer, me):
            return Decision(ELSEWHERE, f"{_was(peer)}, later than {here}: {other} recovers first")
        return _refused([guards.both_were_active(me, peer)])
    if theirs["role"] == DIVERGED and theirs["epoch"] > mine["epoch"]:
        return _refused([_seen_later(peer, me)])
    # one that is PASSIVE has nothing of its own, whatever epoch it was told
    new = _epoch(me, peer)
    sentence = (
        f"{here} was ACTIVE last, in epoch {mine['epoch']}; {other} answers and is {theirs['now']} in epoch {theirs['epoch']}: "
        f"{here} becomes ACTIVE in epoch {new}"
    )
    return Decision(START, sentence, epoch=new, vms=_vms(me, peer))


def _go_on(me: Observation, peer: Observation | None) -> Decision:
    """ACTIVE in this very boot: nobody else can have become so since, without this host's word or its end.

    The other one may have been so before, unknown to this one, in an epoch that was higher.
    """
    here, pending = me["host"], me["pending"]
    epoch = me["role"]["epoch"]
    left = [] if pending else moving.overlays(me)
    if me["hypervisor"]["running"] and not pending and not left:
        return Decision(NOTHING, f"{here} is ACTIVE in epoch {epoch} and runs: there is nothing to recover")
    what = f"{pending['operation']} stopped at '{pending['step']}'" if pending else "its hypervisor is stopped"
    if left:
        what = f"the overlays of {', '.join(left)} were never merged"
    if peer is not None and peer["role"]["epoch"] >= epoch + (peer["role"]["role"] != ACTIVE):
        epoch = _epoch(me, peer)  # one that was ACTIVE in the same epoch is left behind, too
        what = f"{what}; {peer['host']} has seen epoch {peer['role']['epoch']}"
    sentence = f"{here} is ACTIVE, and {what}: {here} goes on in epoch {epoch}"
    return Decision(START, sentence, epoch=epoch, vms=_vms(me, peer))


def _pass(me: Observation, peer: Observation) -> Decision:
    here, epoch = me["host"], peer["role"]["epoch"]
    if not (moving.source(me) or moving.target(me)) and (lie := moving.overlays(me)):
        said, other = ", ".join(lie), peer["host"]
        sentence = (
            f"{other} is ACTIVE in epoch {epoch}, and {here} has overlays of {said} that no journal knows: "
            "hvm.pair.rejoin comes next"
        )
        return Decision(ELSEWHERE, sentence)
    left = [f"{me['pending']['operation']} stopped at '{me['pending']['step']}'"] if me["pending"] else []
    left += me["not_inert"][:1]
    left += ["its hypervisor is running"] if me["hypervisor"]["running"] else []
    left += ["it has not seen that epoch"] if me["role"]["epoch"] < epoch else []
    if not left:
        return Decision(NOTHING, f"{peer['host']} is ACTIVE in epoch {epoch}, {here} is PASSIVE: there is nothing to recover")
    return Decision(PASS, f"{peer['host']} is ACTIVE in epoch {epoch}: {here} stays PASSIVE ({'; '.join(left)})", epoch=epoch)


def _recover_passive(me: Observation, peer: Observation) -> Decision:
    """Both are PASSIVE: one had given the role away and nobody took it, or one had begun to take it by force.

    The source of a migration comes first: whatever the other one has begun, nothing was written there.
    """
    here, other = me["host"], peer["host"]
    for operation in (MIGRATION, FAILOVER):
        begun = [side for side in (me, peer) if _began(side, operation)]
        if not begun:
            continue
        # of two, the one with the newer set; they differ in nothing else that counts
        first = max(begun, key=lambda side: (guards.newest(side), int(side["pending"].get("epoch", 0)), side["host"]))
        why = f"{first['host']} had begun a {operation} and {peer['host'] if first is me else here} is PASSIVE too"
        if first is peer:
            return Decision(ELSEWHERE, f"{why}: {other} recovers first")
        new = _epoch(me, peer)
        return Decision(START, f"{why}: {here} becomes ACTIVE in epoch {new}", epoch=new, vms=_vms(me, peer))
    what = f"{here} and {other} are both PASSIVE, and neither says why"
    remedy = "Look at 'status' of both for the newest set, and start the host that has it: hvm_hypervisor state=started."
    return _refused([Finding(what, remedy, here)])


# ---- recover, with VMs that have moved


def _recover_moved(me: Observation, peer: Observation | None, peer_is_down: str, give_up: str) -> Decision | None:
    """Where the journals of a move say more than roles and epochs; None where these are enough."""
    if me["role"]["role"] != PASSIVE:
        return None
    if moving.source(me):
        return _has_given_away(me, peer, peer_is_down, give_up)
    return _has_received(me, peer) if moving.target(me) else None


def _has_given_away(me: Observation, peer: Observation | None, peer_is_down: str, give_up: str) -> Decision | None:
    """The source recorded PASSIVE when every VM had arrived: so all that they have written since is there, and only there.

    The other host goes on, also before it is ACTIVE. This one never does by itself: a proof that the other one is not ACTIVE,
    which is enough after a `migrate secure`, says nothing of where the writes are.
    """
    here, other, mine = me["host"], me["peer"], moving.source(me)
    if peer is not None and peer["role"]["role"] != PASSIVE:
        return None  # as after every migration
    if peer is not None and moving.is_same(mine, moving.target(peer)) and (give_up != other or _is_up(peer)):
        said = f"{here} has handed its role over, and its VMs have moved to {other}: {other} recovers first"
        return Decision(ELSEWHERE, said)
    if peer is None and (up := guards.not_off(me)):
        return _refused(up)
    if peer is None and peer_is_down != other:
        lost = moving.split(mine, None).unknown if mine else ()
        what = f"{other} does not answer, and all VMs have moved there: {', '.join(lost)}"
        remedy = f"When it answers, run this there. If it is off: hvm_peer_is_down={other} shows what would be lost."
        return _refused([Finding(what, remedy, here)], lost)
    new = _epoch(me, peer)
    said = f"{here} had handed over to {other}, which is given up, by the operator's word: {here} becomes ACTIVE in epoch {new}"
    return Decision(START, said, epoch=new, vms=_vms(me, peer))


def _has_received(me: Observation, peer: Observation | None) -> Decision | None:
    """The target, before it is ACTIVE: it goes on if the source has given its role away, and only then."""
    here, other, entry = me["host"], me["peer"], t.cast("moving.Entry", moving.target(me))
    there = ", ".join(moving.arrived(me)) or "none"
    new = _epoch(me, peer)
    if peer is None:
        if entry["operation"] != moving.OPERATION:
            return None  # a failover that has begun
        if moving.gave_away(me):
            why = f"{other} has handed its role over to {here}, where its VMs run"
            return Decision(START, f"{why}: {here} becomes ACTIVE in epoch {new}", epoch=new, vms=_vms(me, None))
        what = f"{other} does not answer, and may be ACTIVE; VMs that have moved here: {there}"
        remedy = f"They go on as they are. If {other} is lost: hvm.pair.failover shows what would be lost with it."
        return _refused([Finding(what, remedy, here)])
    mine = moving.is_same(moving.source(peer), entry)
    alone = moving.source(peer) is None and moving.arrived(me)
    if peer["role"]["role"] == PASSIVE and (mine or alone) and entry["operation"] == moving.OPERATION:
        missing = moving.not_arrived(me) if mine else ()
        if missing:
            what = f"{other} has handed its role over, and {', '.join(missing)} never arrived"
            remedy = f"To go on there with what it has: hvm.pair.recover on {other} with hvm_give_up={here}."
            return _refused([Finding(what, remedy, here)])
        why = f"{other} has handed its role over to {here}, where its VMs have moved"
        return Decision(START, f"{why}: {here} becomes ACTIVE in epoch {new}", epoch=new, vms=_vms(me, peer))
    if peer["role"]["role"] == ACTIVE and mine:
        said = f"{_was(peer)} and has moved VMs here ({there}): {other} recovers first, and they come back"
        return Decision(ELSEWHERE, said)
    if peer["role"]["now"] == ACTIVE and moving.arrived(me):
        said = f"{other} is ACTIVE in epoch {peer['role']['epoch']} without the VMs that had moved here ({there})"
        return Decision(ELSEWHERE, f"{said}: hvm.pair.rejoin comes next")
    return None


def _with_overlays(decided: Decision, me: Observation, peer: Observation | None, is_given_up: bool) -> Decision:
    """A start, with what has to be known of VMs that have moved, or were to.

    :param is_given_up: by the operator's words: a silent host needs two, since one that was only given up may live on.
    """
    mine = moving.source(me)
    if mine is None:
        # what arrived is here; what did not has its disks in the set, and so nothing of it lies in overlays
        return decided._replace(here=moving.overlays(me))
    found = moving.split(mine, peer)
    if found.unknown and not is_given_up:
        return _refused([_not_known(me, peer, mine, found.unknown)], found.unknown)
    here = tuple(sorted({*found.here, *found.unknown} & set(moving.overlays(me))))
    vms = tuple(name for name in decided.vms if name not in found.there)
    said = decided.sentence
    if found.there:
        said = f"{said}; {', '.join(found.there)} come back from {me['peer']}"
    if found.unknown:
        said = f"{said}; {', '.join(found.unknown)} go on from what is here, without what they wrote on {me['peer']}"
    stand = moving.may_stand_there(mine, me, peer) if peer is not None and not found.unknown else ()
    return decided._replace(sentence=said, vms=vms, back=found.there, here=here, stand=stand, lost=found.unknown)


def _not_known(me: Observation, peer: Observation | None, mine: moving.Entry, names: t.Sequence[str]) -> Finding:
    here, other = me["host"], me["peer"]
    since = f"since {mine.get('at') or mine['started']}"
    if peer is None and (up := guards.not_off(me)):
        return up[0]
    if peer is None:
        what = f"{other} does not answer, and VMs have moved there, or may have, {since}: {', '.join(names)}"
        lost = f"If it is off and lost, with what they wrote there: hvm_peer_is_down={other} hvm_give_up={other}."
        remedy = f"When it answers, run this again. {lost}"
    else:
        what = f"{other} does not know any more of the VMs that have moved there, or may have, {since}: {', '.join(names)}"
        remedy = f"Look there for their overlays. If they are lost, with what the VMs wrote: hvm_give_up={other}."
    return Finding(what, remedy, here)


def _seen_later(later: Observation, earlier: Observation) -> Finding:
    older = f"{earlier['host']}, which was ACTIVE, only {earlier['role']['epoch']}"
    return Finding(
        f"{later['host']} has seen epoch {later['role']['epoch']} and {older}",
        "Which has the newest data cannot be told from that. Look at both (hvm.pair.rejoin --check), then name the one that goes "
        "on: hvm.pair.rejoin with hvm_winner.",
        earlier["host"],
    )


def two_active(me: Observation, peer: Observation) -> Finding:
    one, two = sorted((me, peer), key=lambda side: (side["role"]["epoch"], side["host"]))
    return Finding(
        f"two ACTIVE hosts: {one['host']} in epoch {one['role']['epoch']}, {two['host']} in epoch {two['role']['epoch']}",
        f"Shut down the VMs on {one['host']} now and stop its hypervisor (hvm_hypervisor state=stopped), unless you want its "
        "data to go on; then hvm.pair.rejoin with hvm_winner.",
    )


# ---- failover


def failover(
    me: Observation,
    peer: Observation | None,
    to: str | None,
    dead_host: str = "",
    give_up: str = "",
    fenced: str | None = None,
    why_not: str = "",
) -> Decision:
    """May this PASSIVE host take over, although the other one does not hand over?

    :param peer: None when the other host does not answer. One that answers must be seen stopped; it becomes DIVERGED first.
    :param to: the set that this host would go on from; None when there is none, and then `why_not` says why.
    :param dead_host: the other host's name, typed by the operator: it is off, and what was shown may be lost.
    :param give_up: the same for a host that answers: it may be left behind. Two words, because a host that was only given up
        may live on when the link to it is cut at the wrong moment.
    :param fenced: what the fence command came to: "" for success, else its failure; None when there is none, or not yet.
    """
    here, other, mine = me["host"], me["peer"], me["role"]
    if mine["now"] == ACTIVE:
        if me["pending"] and (left := guards.common({**me, "lock": None})):  # not all of it may be served yet
            return _refused(left)
        return Decision(NOTHING, f"{here} is ACTIVE in epoch {mine['epoch']}: there is nothing to take over")
    # of a PASSIVE host: it followed a rollback of the other one, and that one is lost
    ended = (*ENDED_BY_RECOVER, *(guards.ROLLBACK if mine["role"] != ACTIVE else ()))
    # a host that was set up anew; in a pair that has begun, which an installation there sees, too
    found = _both_sides(me, peer, ended, new=mine["epoch"] > 0)
    there = moving.arrived(me)
    if mine["role"] == PASSIVE and moving.source(me):
        what = f"{here} has handed its role over to {other}, and its VMs have moved there"
        remedy = f"Run hvm.pair.recover, with hvm_peer_is_down={other} and hvm_give_up={other} if that host is off and lost."
        found.append(Finding(what, remedy, here))
    elif there and to is not None and to != t.cast("moving.Entry", moving.target(me)).get("set"):
        name = t.cast("moving.Entry", moving.target(me)).get("set")
        what = f"{', '.join(there)} moved here with the set {name}, and go on from it only, not from {to}"
        found.append(Finding(what, f"Choose that set: hvm_failover_to={name}.", here))
    if mine["role"] == DIVERGED:
        words = f"hvm_winner={here}" if peer else f"hvm_winner={here} hvm_dead_host={other}"
        remedy = f"{guards.DECIDE} To go on with them: hvm.pair.rejoin with {words}."
        found.append(Finding(guards.DIVERGED_HERE, remedy, here))
    elif mine["role"] == ACTIVE:
        remedy = f"Run hvm.pair.recover, with hvm_peer_is_down={other} if that host is off."
        found.append(Finding("this host was ACTIVE itself before it rebooted", remedy, here))
    if to is None:
        found.append(Finding(why_not or "there is no complete snapshot set here", "There is nothing to take over with.", here))
    found += _is_gone(me, dead_host, fenced) if peer is None else _is_given_up(me, peer, give_up)
    if found:
        return _refused(found)
    new = _epoch(me, peer)
    proof = f"{other} answers, is stopped, and becomes DIVERGED"
    if peer is not None and not peer["role"]["since"]:
        proof = f"{other} answers, is stopped, and has no role"
    elif peer is None:
        proof = f"{other} was fenced" if fenced == "" else f"{other} is off, by the operator's word"
    sentence = f"{here} becomes ACTIVE in epoch {new}, with the set {to}: {proof}"
    lost = moving.not_arrived(me)
    if there:
        sentence = f"{sentence}; {', '.join(there)} had moved here and go on as they are"
    return Decision(TAKE_OVER, sentence, epoch=new, vms=_vms(me, peer), here=moving.overlays(me), lost=lost)


def _is_gone(me: Observation, dead_host: str, fenced: str | None) -> list[Finding]:
    """Silence is no proof; a name and a fence command that succeeded are."""
    here, other = me["host"], me["peer"]
    if up := guards.not_off(me):
        return up
    if dead_host != other:
        what = f"{other} does not answer, and may still be running"
        if dead_host:
            what = f"{dead_host!r} is not the other host of the pair"
        return [Finding(what, f"If {other} is off, and what is shown may be lost, name it: hvm_dead_host={other}.", here)]
    if fenced:
        remedy = f"See by other means that {other} is off, then run this again without the fence command."
        return [Finding(f"the fence command failed, which proves nothing: {fenced}", remedy, here)]
    return []


def _is_given_up(me: Observation, peer: Observation, give_up: str) -> list[Finding]:
    here, other, theirs = me["host"], peer["host"], peer["role"]
    if theirs["now"] == ACTIVE:
        remedy = f"Migrate instead (hvm.pair.migrate_secure), or run hvm.pair.recover on {other}."
        return [Finding(f"{other} answers and is ACTIVE", remedy, here)]
    if theirs["role"] == PASSIVE:
        return [Finding(f"{other} answers and is PASSIVE", "Run hvm.pair.recover: it finds the host that goes on.", here)]
    if give_up != other and not theirs["since"]:
        what = f"{other} answers, and has no role: it was set up anew, or its record is gone"
        return [Finding(what, f"If the data of {here} are to go on: hvm_give_up={other}.", here)]
    if give_up != other:
        what = f"{give_up!r} is not the other host of the pair" if give_up else f"{other} answers, and was ACTIVE last"
        remedy = f"Start it there (hvm.pair.recover). If what is shown may be left behind: hvm_give_up={other}."
        return [Finding(what, remedy, here)]
    return []


def lost(
    name: str,
    now: datetime.datetime,
    datasets: t.Iterable[str],
    vms: t.Iterable[str],
    with_state: t.Collection[str],
    written: t.Mapping[str, int] | None = None,
    moved: t.Collection[str] = (),
    missing: t.Mapping[str, str] | None = None,
    without: t.Mapping[str, t.Sequence[str]] | None = None,
) -> dict[str, t.Any]:
    """What a failover to the set `name` would lose, as data and as lines.

    :param vms: that the set knows of; `with_state`: those with a state image in it.
    :param written: dataset -> bytes that the other host has written since; None when it cannot be asked.
    :param moved: VMs that go on as they are: they had moved to the host that takes over.
    :param missing: dataset that is not in the set -> where its last replica is kept, or ""; `without`: VM -> those of its disks.
    :return: ``{set, age, vms: {name: {age, memory}}, datasets: {name: {age, written}}, missing, lines}``; seconds, bytes or None.
    """
    missing, without = missing or {}, without or {}
    parsed = names.parse(name)
    age = max(int((now - parsed.time).total_seconds()), 0) if parsed else 0
    lines = [f"the last complete set is {name}, {how_long(age)} old; what was written after it would be lost"]
    found_vms: dict[str, dict[str, t.Any]] = {}
    lines += [f"VM {vm}: has moved here, and loses nothing" for vm in sorted(moved)]
    for vm in sorted(set(vms).difference(moved)):
        memory = vm in with_state and not without.get(vm)
        found_vms[vm] = {"age": age, "memory": memory}
        how = "goes on from its saved memory" if memory else "starts anew from its disks"
        if without.get(vm):
            lines.append(f"VM {vm}: cannot go on: its disks on {', '.join(without[vm])} are not in the set")
        else:
            lines.append(f"VM {vm}: loses {how_long(age)}, and {how}")
    found: dict[str, dict[str, t.Any]] = {}
    for dataset in sorted(datasets):
        count = written.get(dataset, 0) if written is not None else None
        found[dataset] = {"age": age, "written": count}
        said = "unknown" if count is None else f"{count} bytes"
        lines.append(f"dataset {dataset}: written since: {said}")
    for dataset, place in sorted(missing.items()):
        with_parent = place and missing.get(dataset.rsplit("/", 1)[0]) == place.rsplit("/", 1)[0]
        if place and not with_parent:
            lines.append(
                f"dataset {dataset}: is not in the set; its last replica is kept, and comes back, once this host is ACTIVE, by: "
                f"zfs rename {place} {dataset}; zfs inherit readonly {dataset}; zfs inherit volmode {dataset}"
            )
        else:
            lines.append(f"dataset {dataset}: is not in the set")
    return {"set": name, "age": age, "vms": found_vms, "datasets": found, "missing": dict(missing), "lines": lines}


def how_long(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"


# ---- rejoin


class Own(t.NamedTuple):
    """What a host has that the other one lacks.

    :ivar newer: dataset -> its snapshots that the other has never seen, oldest first.
    :ivar written: dataset -> bytes written after its newest snapshot, as far as ZFS tells.
    :ivar doubt: why more may be there than can be seen; "" for nothing.
    :ivar overlays: VMs whose writes are beside the datasets, in overlays that nobody has merged. :ivar sizes: VM -> bytes in
        them, as far as that host can tell.
    """

    newer: dict[str, list[str]]
    written: dict[str, int]
    doubt: str = ""
    overlays: tuple[str, ...] = ()
    sizes: t.Mapping[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self.newer or self.written or self.doubt or self.overlays)

    def sentence(self) -> str:
        """Without its full stop; "" for nothing."""
        said = []
        if self.newer:
            said.append(f"{sum(map(len, self.newer.values()))} snapshots of its own on {', '.join(sorted(self.newer))}")
        if self.written:
            said.append(f"{sum(self.written.values())} bytes written since on {', '.join(sorted(self.written))}")
        if self.overlays:
            said.append(f"overlays of {', '.join(self.overlays)}")
            said += [f"{human(sum(self.sizes.values()))} in these"] if self.sizes else []
        return "; ".join([*said, *([self.doubt] if self.doubt else [])])


def own(side: Observation, mine: t.Mapping[str, t.Any], theirs: t.Mapping[str, t.Any], slack: int = 0) -> Own:
    """What `side` has that the other host lacks.

    GUIDs decide, wherever the other host has them: it may have renamed or destroyed a dataset since.

    :param mine: inventory or tree of `side`, what is kept left out; `theirs`: the other one's.
    :param slack: bytes that a dataset may show as written without being so (plan.ZIL_SLACK).
    """
    known = {snap[1] for entry in theirs.values() for kind in ("snapshots", "bookmarks") for snap in entry.get(kind, [])}
    newer: dict[str, list[str]] = {}
    written: dict[str, int] = {}
    for name, entry in mine.items():
        snapshots = entry["snapshots"]
        last = max((number for number, snap in enumerate(snapshots) if snap[1] in known), default=-1)
        if last + 1 < len(snapshots):
            newer[name] = [snap[0] for snap in snapshots[last + 1 :]]
        count = prop(entry, "written")
        if count.isdigit() and int(count) > slack:
            written[name] = int(count)
    # writes that a guest was told are on disk can be in an intent log only, of which neither "written" nor a snapshot tells
    crashed = side["role"]["role"] == ACTIVE and not side["role"]["clean"]
    doubt = "it was not stopped in good order, so its intent logs may hold writes" if crashed else ""
    overlays = own_overlays(side)
    known_sizes = side.get("overlay_bytes") or {}
    return Own(newer, written, doubt, overlays, {name: known_sizes[name] for name in overlays if name in known_sizes})


def own_overlays(side: Observation) -> tuple[str, ...]:
    """VMs whose writes that host alone may have, beside its datasets.

    A source that has handed its role over has none: what lies there is what its VMs were when they moved.
    """
    copies = side["role"]["role"] == PASSIVE and moving.source(side)
    return () if copies else moving.overlays(side)


def rejoin(
    me: Observation,
    peer: Observation | None,
    theirs: Own,
    choice: str = "",
    discard: str = "",
    winner: str = "",
    dead_host: str = "",
) -> Decision:
    """Let the other host come back. Decided on the host that goes on: the ACTIVE one, or the one that is named as the winner.

    :param peer: the host that comes back; None when it does not answer.
    :param theirs: what it has of its own.
    :param choice: KEEP or DISCARD, for what it has of its own; "": only make sure of it, and show it.
    :param discard: for DISCARD, the name of the host whose own data go, typed by the operator.
    :param winner: the host that goes on, typed by the operator; "": the ACTIVE one.
    :param dead_host: the other host's name, typed by the operator: it is off, and what only it has may be lost. For a winner that
        is DIVERGED: any other is ACTIVE, or has `recover` or `failover`.
    """
    here, other, mine = me["host"], me["peer"], me["role"]
    if winner and winner not in (here, other):
        return _refused([Finding(f"{winner!r} is not a host of the pair", f"Its hosts are {here} and {other}.", here)])
    if peer is None and mine["role"] == DIVERGED:
        found = _both_sides(me, None, _ended(me, None), moves=False) + _may_win_alone(me, winner, dead_host)
        return _refused(found) if found else _win(me, None)
    if peer is None:
        return _refused([Finding(f"{other} does not answer", "It can come back when it does.", here)])
    if not winner and mine["now"] != ACTIVE and peer["role"]["now"] == ACTIVE:
        what = f"{here} is {mine['now']}: it is the host that comes back, and {other} the one that goes on"
        return _refused([Finding(what, f"Run it there, on {other}.", here)])
    # the winner's start ends what it did not; an ACTIVE host recovers first
    found = _both_sides(me, peer, (REJOIN,) if mine["now"] == ACTIVE else _ended(me, peer), moves=False)
    found += guards.common(peer, (*ENDED_BY_RECOVER, *guards.ROLLBACK))
    if choice == DISCARD and discard != other and (winner == here or mine["now"] == ACTIVE):
        what = f"{discard!r} is not the host that comes back" if discard else f"the host whose own data go is not named: {other}"
        found.append(Finding(what, f"To destroy what only {other} has: hvm_discard={other}.", here))
    if winner == other:
        found.append(Finding(f"{other} is named as the winner", f"It is decided there: run this on {other}.", here))
    elif mine["now"] != ACTIVE:
        if not found and winner == here:
            return _win(me, peer)
        if not winner:
            remedy = "Run this on the ACTIVE host, or name the winner: hvm_winner."
            found.append(Finding(f"{here} is {mine['now']}", remedy, here))
    elif peer["role"]["now"] == ACTIVE and (_is_up(peer) or winner != here):
        found.append(two_active(me, peer))
    if found:
        return _refused(found)
    return _take_back(me, peer, theirs, choice)


def _may_win_alone(me: Observation, winner: str, dead_host: str) -> list[Finding]:
    """What the other one has is lost by it, unless that comes back: so both hosts are named."""
    here, other = me["host"], me["peer"]
    if up := guards.not_off(me):
        return up
    if winner == here and dead_host == other:
        return []
    what = f"{other} does not answer, and may still be running"
    if dead_host not in ("", other):
        what = f"{dead_host!r} is not the other host of the pair"
    words = f"hvm_winner={here} hvm_dead_host={other}"
    remedy = f"{here} can come back when it does. If it is off and lost, with what only it has: {words}."
    return [Finding(what, remedy, here)]


def _take_back(me: Observation, peer: Observation, theirs: Own, choice: str) -> Decision:
    other, role = peer["host"], peer["role"]["role"]
    epoch = max(me["role"]["epoch"], peer["role"]["epoch"])
    since = f"{other} {'is' if role in (PASSIVE, DIVERGED) else 'was'} {role} in epoch {peer['role']['epoch']}"
    if not theirs:
        left = role != PASSIVE or peer["role"]["epoch"] != me["role"]["epoch"] or peer["not_inert"] or peer["pending"]
        if not left:
            return Decision(NOTHING, f"{other} is PASSIVE and has nothing of its own: there is nothing to do")
        return Decision(JOIN, f"{since} and has nothing of its own: it becomes PASSIVE in epoch {epoch}", epoch=epoch)
    said = f"{since} and has what {me['host']} lacks: {theirs.sentence()}"
    if choice == KEEP or (role == PASSIVE and choice == "" and not theirs.overlays):
        # a PASSIVE host's own was never a VM's, so nobody need be asked; kept it is all the same
        return Decision(KEEP, f"{said}. It is kept beside, and {other} becomes PASSIVE in epoch {epoch}", epoch=epoch)
    if choice == DISCARD:
        sentence = f"{said}. It is destroyed, by the operator's word, and {other} becomes PASSIVE in epoch {epoch}"
        return Decision(DISCARD, sentence, epoch=epoch)
    if role == DIVERGED:
        return Decision(NOTHING, f"{said}. It is held until somebody decides: {ways(other)}")
    sentence = f"{said}. {other} becomes DIVERGED and it is held until somebody decides: {ways(other)}"
    return Decision(DIVERGE, sentence, epoch=epoch)


def ways(other: str) -> str:
    """The choices for a DIVERGED host, as half a sentence."""
    return f"hvm_rejoin=keep, hvm_rejoin=discard with hvm_discard={other}, or hvm_winner={other}"


def _win(me: Observation, peer: Observation | None) -> Decision:
    """This host goes on with its own data, by the operator's word, and the other one becomes DIVERGED, or is off."""
    here, other, mine = me["host"], me["peer"], me["role"]
    if peer is not None and peer["role"]["now"] == ACTIVE and _is_up(peer):
        remedy = f"Shut its VMs down and stop it first: hvm_vm state=shutdown all=true, hvm_hypervisor state=stopped on {other}."
        return _refused([Finding(f"{other} is ACTIVE and runs", remedy, here)])
    if mine["role"] == PASSIVE:
        what = f"{here} is PASSIVE and has nothing of its own"
        return _refused([Finding(what, "That is a failover: hvm.pair.failover.", here)])
    new = _epoch(me, peer)
    was = f"{'is' if mine['role'] == DIVERGED else 'was'} {mine['role']} in epoch {mine['epoch']}"
    sentence = f"{here} {was} and wins, by the operator's word: it becomes ACTIVE in epoch {new}, and {other} is off"
    if peer is not None:
        theirs = peer["role"]
        sentence = (
            f"{here} {was} and wins, by the operator's word: it becomes ACTIVE in epoch {new}, "
            f"{other} ({theirs['now']} in epoch {theirs['epoch']}) becomes DIVERGED"
        )
        if theirs["role"] == PASSIVE:
            sentence += ", if it has anything of its own"
    return Decision(WIN, sentence, epoch=new, vms=_vms(me, peer), here=moving.overlays(me))
