# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""MOVING: the time of a `migrate unsecure` in which VMs are on both hosts. Whose each VM is, and what may be done then: pure.

The source is ACTIVE, the target PASSIVE with its gate at ARRIVING. The disks themselves are at the set S on both and nobody
writes them; each VM writes an overlay, on the host where it is.

**A VM is on the target if and only if the target's journal has it in `arrived`.** Both ways: it is put there before the VM goes
on there, and taken out before it goes on at the source. So one write, on one host, moves it. What the source's journal says
(`begun`, before its move is begun; `moved`, after the target has answered) is for the time when the target does not answer: a VM
that is in neither of them cannot be there.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import ACTIVE, ARRIVING, PASSIVE

Observation = dict[str, t.Any]
Entry = t.Mapping[str, t.Any]

#: What journal and lock call it, and the state of a pair in the midst of it.
OPERATION = "migrate_unsecure"
MOVING = "MOVING"
#: The fact that a journal of a migration's target has, and its source's has not: the source's name.
SOURCE = "source"
#: The fact of a source's journal: VMs whose overlays here are half of what is coming back. What was left behind lies beside them
#: then, whole; it counts until all has come.
HALF = "half"

#: Steps of the source's journal, in their order.
OVERLAYS, LAST_SNAPSHOT, LAST_SYNC, ARRIVE_THERE, MOVE = "overlays", "last snapshot", "last sync", "arrive there", "move"
ADDRESS_OFF, STOP_HERE, HAND_OVER, COMMIT_THERE = "shared IP off", "stop here", "hand over", "commit there"
#: And out of it: undone | not known what became of the hand-over | left so by the operator's choice.
COMING_BACK, WAITING, STAYS = "coming back", "waiting for the other host", "stays as it is"
#: Steps of the target's.
ARRIVE, ARRIVED, TAKE_OVER, COMMIT = "arrive", "arrived", "take over", "commit"

#: In these every VM has moved, and the role follows.
ROLE_MOVES = (ADDRESS_OFF, STOP_HERE, HAND_OVER, COMMIT_THERE)
#: Before these have ended, the target knows nothing of it.
_ALONE = ("begin", OVERLAYS, LAST_SNAPSHOT, LAST_SYNC)
#: From these it can go on: the set is there, and nobody has begun to merge overlays.
FORWARD = (ARRIVE_THERE, MOVE, STAYS, ADDRESS_OFF, STOP_HERE, HAND_OVER)


def source(side: Observation) -> Entry | None:
    """The journal of a host that a move has begun on and not ended."""
    entry: Entry | None = side.get("pending")
    return entry if entry and entry["operation"] == OPERATION and "arrived" not in entry else None


def target(side: Observation) -> Entry | None:
    """The journal of a host on which VMs have arrived, or were to; also of one that has begun to go on with them alone."""
    entry: Entry | None = side.get("pending")
    return entry if entry and "arrived" in entry else None


def is_same(mine: Entry | None, theirs: Entry | None) -> bool:
    """Whether the two journals are of one move: by its set, of which there is one only."""
    return bool(mine and theirs and mine.get("set") and mine["set"] == theirs.get("set"))


def names(entry: Entry | None, key: str) -> set[str]:
    return set(map(str, entry.get(key, ()))) if entry else set()


def may_be_there(mine: Entry) -> set[str]:
    """VMs that the target may have, as far as the source knows."""
    return names(mine, "begun") | names(mine, "moved")


class Split(t.NamedTuple):
    """:ivar here: VMs whose state on the source counts. :ivar there: on the target.
    :ivar unknown: only the target could tell, and it does not answer, or does not know the move any more.
    """

    here: tuple[str, ...]
    there: tuple[str, ...]
    unknown: tuple[str, ...]


def split(mine: Entry, peer: Observation | None) -> Split:
    """Whose each VM of a move is, asked on its source.

    :param peer: None when the target does not answer.
    """
    every = names(mine, "vms")
    # one that has become ACTIVE has begun to merge what arrived: what is in its overlays is not the whole of it any more
    theirs = target(peer) if peer and peer["role"]["role"] == PASSIVE else None
    if is_same(mine, theirs):
        there, unknown = names(theirs, "arrived") & every, set[str]()
    elif peer is not None and mine["step"] == COMING_BACK:
        there, unknown = set(), set()  # it has let them all go, and ended its part
    else:
        there, unknown = set(), may_be_there(mine)
    here = every - there - unknown
    return Split(*(tuple(sorted(found)) for found in (here, there, unknown)))


def may_stand_there(mine: Entry, me: Observation, peer: Observation) -> tuple[str, ...]:
    """VMs that are the source's, off there, and have a QEMU on the target: with all their memory, maybe. libvirt can tell."""
    left = (names(mine, "begun") - set(arrived(peer)) - set(me["qemu"])) & set(peer["qemu"])
    return tuple(sorted(left)) if is_same(mine, target(peer)) else ()


def given_up() -> dict[str, t.Any]:
    """What the source's journal says from when its target was given up, with step COMING_BACK: before a VM is started here, or an
    overlay merged.

    Without this a target that is found again would be taken for the other half of this move, and what it has for what is to come
    back: an overlay over disks that have been written since.
    """
    return {"set": "", "begun": [], "moved": []}


def before_it_goes_on(mine: Entry, peer: Observation | None, lost: t.Collection[str]) -> dict[str, t.Any]:
    """What the source's journal says as well, with step COMING_BACK, before a VM is started here or an overlay merged.

    What was decided now must be decided again after the next crash, also when the other host answers by then, or does not.

    :param lost: VMs that the operator has given up on the target.
    """
    if lost:
        return given_up()
    # all is here; of a target that knows this move its own journal says what is there
    return {} if peer is not None and is_same(mine, target(peer)) else {"begun": [], "moved": []}


def arrived(side: Observation) -> tuple[str, ...]:
    return tuple(sorted(names(target(side), "arrived")))


def not_arrived(side: Observation) -> tuple[str, ...]:
    """Of the target: VMs that ran on the source and go on from the set, if at all; saved ones have their images in it."""
    entry = target(side)
    return tuple(sorted(names(entry, "vms") - names(entry, "arrived") - names(entry, "saved")))


def not_mine(side: Observation) -> set[str]:
    """VMs of a move that are not known to be this host's, by its own journal alone."""
    mine = source(side)
    return may_be_there(mine) if mine is not None else set(not_arrived(side))


def overlays(side: Observation) -> tuple[str, ...]:
    """VMs that may have written what is in no dataset of this host.

    What lies on a target besides `arrived` is half a copy, never a VM's disk.
    """
    there = set(side.get("overlays") or ())
    return tuple(sorted(there & set(arrived(side)) if target(side) else there))


def is_ready(side: Observation) -> bool:
    """Whether VMs can arrive here, or run here, although this host is not ACTIVE: since it was made so, in this very boot."""
    return bool(target(side)) and side.get("gate") == ARRIVING


def excused(side: Observation, other: Observation | None) -> bool:
    """Whether a hypervisor, and VMs, may run on a host that is not ACTIVE.

    :param other: None when the other host does not answer: then nobody says otherwise.
    """
    entry = target(side)
    if entry is None:
        return False
    if side.get("gate") != ARRIVING:
        return not names(entry, "arrived") and not side["qemu"]  # it was cut off when it shut everything down
    return other is None or is_same(source(other), entry) or not names(entry, "arrived")


def gave_away(side: Observation) -> bool:
    """Whether a target knows that the source has given its role away: it is told to take over after that only.

    In this very boot. After another one the source may have gone on meanwhile, by an operator's word.
    """
    entry = target(side)
    return entry is not None and entry["step"] in (TAKE_OVER, COMMIT) and side.get("gate") in (ARRIVING, ACTIVE)


def is_on_its_own(entry: Entry) -> bool:
    """Whether a target was told to take over, or has begun to go on by an operator's word: its source does no more about it."""
    return ARRIVED in entry and (entry["step"] in (TAKE_OVER, COMMIT) or SOURCE not in entry)


# ---- where each VM is


class Place(t.NamedTuple):
    """:ivar host: whose VM it is; "" when only a host can tell that does not answer.
    :ivar how: runs | arriving (on its way to the other host) | saved | off | unknown
    """

    host: str
    how: str


def state(me: Observation, peer: Observation | None) -> str:
    """MOVING when VMs are on both hosts, or may be; else "". Either host may be asked, also alone."""
    sides = [side for side in (me, peer) if side is not None]
    for side in sides:
        begun = source(side)
        if begun and begun["step"] not in _ALONE:
            return MOVING
    return MOVING if any(target(side) and not _is_left(side, peer if side is me else me) for side in sides) else ""


def _is_left(side: Observation, other: Observation | None) -> bool:
    """Of a target, whether nobody waits for it: the other host is ACTIVE, and goes on without what has arrived here."""
    return other is not None and other["role"]["now"] == ACTIVE and not is_same(source(other), target(side))


def where(me: Observation, peer: Observation | None) -> dict[str, Place]:
    """Every VM of a move that has begun: by the journals, never by memory. Empty when there is none.

    :param peer: None when it does not answer. Either host may be asked.
    """
    if source(me) is None and target(me) is None and peer is not None:
        me, peer = peer, me
    if source(me) is None and target(me) is not None:
        if peer is None or not is_same(source(peer), target(me)):
            return {} if _is_left(me, peer) else _by_target(me)
        me, peer = peer, me
    mine = source(me)
    if mine is None:
        return {}
    found = split(mine, peer)
    saved, on_its_way = names(mine, "saved"), may_be_there(mine) - set(found.there)
    places = dict.fromkeys(found.unknown, Place("", "unknown"))
    for name in found.here:
        coming = peer is not None and name in on_its_way and name in peer["qemu"]
        runs = name in me["qemu"]
        places[name] = Place(me["host"], "saved" if name in saved else "arriving" if coming else "runs" if runs else "off")
    if peer is not None:
        places.update({name: Place(peer["host"], _how(peer, name)) for name in found.there})
    return dict(sorted(places.items()))


def _how(side: Observation, name: str) -> str:
    return "runs" if name in side["qemu"] else "off"


def _by_target(side: Observation) -> dict[str, Place]:
    entry = target(side)
    places = {name: Place(side["host"], _how(side, name)) for name in arrived(side)}
    others = names(entry, "vms") - set(places)
    return dict(sorted({**places, **{name: Place(side["peer"], "unknown") for name in others}}.items()))


def lines(me: Observation, peer: Observation | None) -> list[str]:
    """For `status`: the state, and a line for each VM."""
    return told(where(me, peer)) if state(me, peer) else []


def told(found: t.Mapping[str, Place]) -> list[str]:
    """The lines for what `where` has found."""
    width = max(map(len, found), default=0)
    said = [f"  {name:<{width}}  {one.host or 'unknown'}  {one.how}" for name, one in found.items()]
    return ["State: MOVING, the VMs are on both hosts", *said]


# ---- what may be done meanwhile


def may_relay(gate: str, lock_operation: str) -> bool:
    """Whether libvirt's and QEMU's sockets of this host may be reached by the other one: while VMs move, and never else.

    :param gate: what the gate says; "" when it is shut. The target's says ARRIVING all the time that VMs can come, also while it
        lends its lock; on their way back they come to the source, which holds its own.
    :param lock_operation: what this host's lock is held for; "" for nothing.
    """
    return gate == ARRIVING or (gate == ACTIVE and lock_operation in (OPERATION, "recover"))


def ways(entry: Entry) -> str:
    """What ends it, as a sentence; for whoever is refused because of it, and for the status."""
    if is_on_its_own(entry):
        return "hvm.pair.recover on this host ends it, or says what is in the way."
    if ARRIVED in entry:
        return f"On {entry[SOURCE]}: hvm.pair.migrate_unsecure goes on with it, hvm.pair.recover brings the VMs back."
    if entry["step"] in FORWARD:
        return "hvm.pair.migrate_unsecure goes on with it, hvm.pair.recover brings the VMs back."
    return "hvm.pair.recover finishes it or undoes it, and says which."


def unfinished(entry: Entry, host: str) -> Finding:
    """Why everything else waits."""
    what = f"{OPERATION}, begun {entry['started']}, did not end: it was last at '{entry['step']}'"
    return Finding(what, str(entry.get("remedy") or ways(entry)), host)


def forget(entry: Entry | None) -> list[Finding]:
    """Why somebody's having looked is not enough: without the journal nobody knows where a VM's newest writes are."""
    if entry is None or not (entry["operation"] == OPERATION or "arrived" in entry):
        return []
    return [Finding("only the journal of migrate_unsecure says where each VM is: it cannot be acknowledged", ways(entry))]


def go_on(me: Observation, peer: Observation) -> list[Finding]:
    """Why a move that has begun here cannot be gone on with: then it goes back, by `recover`."""
    mine, theirs, host, other = source(me), target(peer), me["host"], peer["host"]
    back = "hvm.pair.recover brings the VMs back; then begin anew."
    if mine is None or me["role"]["now"] != ACTIVE:
        what = f"this host is {me['role']['now']}, and only the ACTIVE one goes on with it"
        return [Finding(what, "hvm.pair.recover finds out which host goes on.", host)]
    if mine["step"] not in FORWARD:
        return [Finding(f"it was last at '{mine['step']}': from there it only goes back", back, host)]
    if peer["role"]["now"] != PASSIVE:
        return [Finding(f"{other} is {peer['role']['now']}", "hvm.pair.recover finds out which host goes on.", other)]
    if not may_be_there(mine) and (theirs is None or is_same(mine, theirs)) and not arrived(peer):
        return []  # nothing is there: it is made ready, again or for the first time
    if not is_same(mine, theirs):
        return [Finding(f"{other} does not know of this move", back, other)]
    if is_ready(peer) and peer["hypervisor"]["running"]:
        return []
    lost = sorted(names(theirs, "arrived") | (may_be_there(mine) - set(me["qemu"])))
    if not lost:
        return []  # whatever was on its way still runs here: it is made ready again
    said = ", ".join(lost)
    return [Finding(f"{other} has rebooted since, or was stopped: {said} had moved there and do not run", back, other)]


def new(me: Observation) -> list[str]:
    """On the source: VMs that run, and did not when the move began."""
    return sorted(set(me["qemu"]) - names(source(me), "vms"))


def left_to_move(mine: Entry, peer: Observation, running: t.Collection[str]) -> tuple[list[str], list[str]]:
    """What a hand-over still waits for: ``(VMs that move, VMs that have ended meanwhile)``, names sorted.

    One that has ended on the source after the last set has written to its overlay there all the same: that is copied, and so are
    its variables of the firmware and its TPM, before the target's journal says that it has arrived. Not so one that was saved.
    """
    left = names(mine, "vms") - names(mine, "saved") - names(target(peer), "arrived")
    return sorted(left & set(running)), sorted(left - set(running))
