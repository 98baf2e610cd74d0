# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random schedules of a pair: what must never happen, whatever comes between any two steps.

HVM_SCHEDULES=100000 for many of them; HVM_SEED for others. A schedule that fails is told step by step, and its number plays it
again: HVM_SCHEDULES=1 HVM_SEED=NUMBER.
"""

from __future__ import annotations

import os
import pathlib
import random
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, moving, recovery

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from pair_model import ACTIVE, DIVERGED, PASSIVE, Broken, Pair, finish, heal, play

SCHEDULES = int(os.environ.get("HVM_SCHEDULES", "2000"))
SEED = int(os.environ.get("HVM_SEED", "0"))
EVENTS = 100


def test_never_two_nothing_lost_and_always_a_way_back() -> None:
    reports = writes = promoted = kept = discarded = moved = came_back = restored = alone = 0
    ways = dict.fromkeys(WAYS, 0)
    for seed in range(SEED, SEED + SCHEDULES):
        pair = play(seed, EVENTS)
        reports += pair.reports
        writes += pair.count
        promoted += pair.b.role == ACTIVE
        kept += bool(pair.a.kept or pair.b.kept)
        discarded += bool(pair.discarded)
        moved += pair.moved
        came_back += pair.came_back
        restored += pair.restored
        alone += pair.wins_alone
        for way in WAYS:
            ways[way] += any(way in line for line in pair.log)
    if SCHEDULES >= 1000:  # they get somewhere, and not always to the same end
        assert min(reports / 2, writes / 4, promoted * 8, kept * 32, discarded * 32) > SCHEDULES, (
            f"{reports} reports, {writes} writes, {promoted} promoted, {kept} with data kept, {discarded} with some discarded"
        )
        found = (moved * 2, came_back * 200, restored * 8, alone * 500, *(1000 * count for count in ways.values()))
        assert min(found) > SCHEDULES, (moved, came_back, restored, alone, ways)


#: What a schedule may come to in the midst of a move, by the sentence for it.
WAYS = ("come back from", "go on from what is here, without what they wrote on", "overlays of")


# ---- that it can fail: a guard that is wrong is found


def ignores_epochs(me: t.Any, peer: t.Any, word: str = "") -> list[Finding]:
    blind = peer and {**peer, "role": {**peer["role"], "epoch": 0, "role": "PASSIVE"}}
    return REAL_START(me, blind, word)


def takes_silence_for_death(me: t.Any, peer: t.Any, to: t.Any, dead_host: str = "", **more: t.Any) -> recovery.Decision:
    return REAL_FAILOVER(me, peer, to, dead_host=me["peer"], **more)


def takes_a_failed_fence(me: t.Any, peer: t.Any, to: t.Any, fenced: str | None = None, **more: t.Any) -> recovery.Decision:
    return REAL_FAILOVER(me, peer, to, **more, fenced="" if fenced else fenced)


def goes_on_without_proof(other: t.Any) -> bool:
    return True


def sees_no_intent_log(side: t.Any, *more: t.Any) -> recovery.Own:
    return REAL_OWN(side, *more)._replace(doubt="")


def sees_nothing_written(side: t.Any, *more: t.Any) -> recovery.Own:
    return REAL_OWN(side, *more)._replace(doubt="", written={})


def takes_what_is_torn(me: t.Any, peer: t.Any, word: str = "") -> list[Finding]:
    return REAL_START({**me, "sets": []}, peer, word)


def lets_it_come_back_as_it_is(me: t.Any, peer: t.Any, theirs: t.Any, *more: str) -> recovery.Decision:
    return REAL_REJOIN(me, peer, recovery.Own({}, {}), *more)


def waits_for_a_host_that_is_lost(me: t.Any, peer: t.Any, theirs: t.Any, *more: str) -> recovery.Decision:
    return REAL_REJOIN(me, peer, theirs, *more[:3])


def recovers_a_silent_pair(me: t.Any, peer: t.Any, word: str = "", give_up: str = "") -> recovery.Decision:
    return REAL_RECOVER(me, peer, me["peer"], give_up)


def activates_anything(me: t.Any, epoch: int, name: str, behind: t.Any, complete: bool) -> list[Finding]:
    return REAL_ACTIVATE({**me, "role": {**me["role"], "now": PASSIVE, "epoch": 0}}, epoch, name, [], True)


def knows_of_none_there(mine: t.Any, peer: t.Any) -> moving.Split:
    return moving.Split(tuple(sorted(mine["vms"])), (), ())


def takes_silence_for_nothing(mine: t.Any, peer: t.Any) -> moving.Split:
    found = REAL_SPLIT(mine, peer)
    return found if peer else moving.Split(tuple(sorted({*found.here, *found.unknown})), (), ())


def believes_what_the_source_remembers(mine: t.Any, peer: t.Any) -> moving.Split:
    moved = tuple(sorted(mine.get("moved", ())))
    return moving.Split(tuple(sorted(set(mine["vms"]) - set(moved))), moved, ())


def takes_the_role_for_given(side: t.Any) -> bool:
    return moving.target(side) is not None


def lets_vms_be_started(me: t.Any, verb: str, others: str) -> list[Finding]:
    return []


def forgets_on_request(entry: t.Any) -> list[Finding]:
    return []


def remembers_what_was_given_up(mine: t.Any, peer: t.Any, lost: t.Any) -> dict[str, t.Any]:
    return {}


def waits_for_saved_vms(side: t.Any) -> tuple[str, ...]:
    entry = moving.target(side)
    return tuple(sorted(moving.names(entry, "vms") - moving.names(entry, "arrived")))


def sees_no_overlays(side: t.Any) -> tuple[str, ...]:
    return ()


REAL_SPLIT = moving.split
REAL_START, REAL_ACTIVATE = guards.start, guards.activate
REAL_FAILOVER, REAL_OWN, REAL_REJOIN, REAL_RECOVER = recovery.failover, recovery.own, recovery.rejoin, recovery.recover

WRONG: dict[str, tuple[t.Any, str, t.Callable[..., t.Any], str]] = {
    "epochs are ignored": (guards, "start", ignores_epochs, "runs without writes that nobody gave up"),
    "silence is death": (recovery, "failover", takes_silence_for_death, "two hosts with their gates open"),
    "a failed fence is proof": (recovery, "failover", takes_a_failed_fence, "two hosts with their gates open|nobody gave up"),
    "a role is taken back unasked": (guards, "may_go_on", goes_on_without_proof, "two hosts with their gates open"),
    "the intent log is forgotten": (recovery, "own", sees_no_intent_log, "writes are gone that nobody has discarded"),
    "writes are not looked for": (recovery, "own", sees_nothing_written, "writes are gone that nobody has discarded"),
    "half a sync is started from": (guards, "start", takes_what_is_torn, "runs with disks of two moments"),
    "a host that is lost is waited for": (recovery, "rejoin", waits_for_a_host_that_is_lost, "does not go on alone: DIVERGED"),
    "a host comes back as it is": (recovery, "rejoin", lets_it_come_back_as_it_is, "writes are gone|does not arrive"),
    "nobody is asked where the VMs are": (moving, "split", knows_of_none_there, "run on both|nobody gave up|copies|were written"),
    "who is silent has none": (moving, "split", takes_silence_for_nothing, "run on both hosts|nobody gave up"),
    "memory is believed": (moving, "split", believes_what_the_source_remembers, "run on both hosts|nobody gave up"),
    "the role is given before it is": (moving, "gave_away", takes_the_role_for_given, "two hosts with their gates open"),
    "a VM may be started meanwhile": (guards, "vms", lets_vms_be_started, "run on both hosts|nobody gave up|have moved, and run"),
    "somebody has looked": (moving, "forget", forgets_on_request, "gave up|run on both|are gone|are left|not become whole"),
    "what was given up still counts": (
        moving, "before_it_goes_on", remembers_what_was_given_up, "were written|gave up|are gone|not become whole|two moments",
    ),
    "saved VMs are waited for": (moving, "not_arrived", waits_for_saved_vms, "does not become whole"),
    "overlays are nobody's": (moving, "overlays", sees_no_overlays, "writes are gone|overlays are left"),
    "a silent host is off": (recovery, "recover", recovers_a_silent_pair, "two hosts with their gates open"),
}


#: Where to begin to look for those that few schedules find. Out of date as soon as the model changes: then it takes longer.
BEGIN = {
    "half a sync is started from": 3000, "what was given up still counts": 2804, "saved VMs are waited for": 2300,
    "the role is given before it is": 170, "somebody has looked": 130, "a host that is lost is waited for": 150,
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_guard_is_found(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, wrong, said = WRONG[what]
    monkeypatch.setattr(module, name, wrong)
    first = BEGIN.get(what, 0)
    with pytest.raises(Broken, match=said) as caught:
        for seed in range(first, first + 20_000):
            play(seed, EVENTS)
    assert "schedule" in caught.value.__notes__[0]


# ---- histories that are known by name


@pytest.fixture
def pair() -> Pair:
    """hv1 is ACTIVE, hv2 has a set; then two writes that only hv1 has."""
    made = Pair(random.Random(1))
    made.saves = 0.0
    made.write(made.a)
    finish(made, made.begin(made.a, "backup", True))
    made.write(made.a)
    made.write(made.a)
    return made


def roles(pair: Pair) -> list[tuple[str, bool]]:
    return [(host.now(), host.running) for host in (pair.a, pair.b)]


def do(pair: Pair, host: t.Any, name: str, *words: t.Any) -> str:
    process = pair.begin(host, name, *words)
    finish(pair, process)
    return pair.log[-1]


def test_both_hosts_lose_power_at_once(pair: Pair) -> None:
    for host in (pair.a, pair.b):
        pair.power_off(host)
    for host in (pair.a, pair.b):
        pair.power_on(host)
    assert roles(pair) == [("UNKNOWN", False), (PASSIVE, False)]
    assert "hv1 was ACTIVE in epoch 1, later than any other: hv1 recovers first" in do(pair, pair.b, "recover", "")
    assert "hv1 becomes ACTIVE in epoch 2" in do(pair, pair.a, "recover", "")
    assert roles(pair) == [(ACTIVE, True), (PASSIVE, False)]
    assert pair.a.writes() == 0b111


def test_a_host_returns_after_the_other_was_promoted(pair: Pair) -> None:
    pair.power_off(pair.a)
    assert "hv1 does not answer, and may still be running" in do(pair, pair.b, "failover", "", "", "")
    assert "hv1 is off, by the operator's word" in do(pair, pair.b, "failover", "hv1", "", "")
    pair.write(pair.b)
    pair.power_on(pair.a)
    assert "hv2 is ACTIVE and its hypervisor is not stopped" in do(pair, pair.a, "start", "")
    assert "hvm.pair.rejoin comes next" in do(pair, pair.a, "recover", "")
    assert "hv1 becomes DIVERGED" in do(pair, pair.b, "rejoin", "", "", "")
    assert roles(pair) == [(DIVERGED, False), (ACTIVE, True)]
    assert "the host whose own data go is not named" in do(pair, pair.b, "rejoin", "discard", "", "")
    assert "hv1 becomes PASSIVE" in do(pair, pair.b, "rejoin", "keep", "", "")
    assert (pair.a.kept, pair.a.writes()) == ([0b010, 0b101], 0b001)  # of each dataset
    do(pair, pair.b, "backup", True)
    assert pair.a.writes() == pair.b.writes() == 0b1001
    heal(pair)


def test_the_host_that_returns_wins(pair: Pair) -> None:
    pair.power_off(pair.a)
    do(pair, pair.b, "failover", "hv1", "", "")
    pair.write(pair.b)
    pair.power_on(pair.a)
    assert "hv2 is ACTIVE and runs" in do(pair, pair.a, "rejoin", "", "", "hv1")
    do(pair, pair.b, "stop")
    assert "hv1 was ACTIVE in epoch 1 and wins" in do(pair, pair.a, "rejoin", "", "", "hv1")
    assert roles(pair) == [(ACTIVE, True), (DIVERGED, False)]
    do(pair, pair.a, "rejoin", "discard", "hv2", "")
    assert (pair.a.writes(), pair.b.everything(), pair.discarded) == (0b111, 0b001, 0b1001)
    heal(pair)


# ---- VMs on both hosts


def move_until(pair: Pair, reached: t.Callable[[], bool]) -> None:
    """A `migrate unsecure` from hv1, up to some moment."""
    pair.begin(pair.a, "move")
    for dummy in range(200):
        if reached():
            return
        for one in list(pair.processes):
            pair.advance(one)
            pair.check()
    raise AssertionError("it does not come to that")


def db_alone_has_moved(pair: Pair) -> t.Callable[[], bool]:
    return lambda: pair.b.vms == {"db"} and pair.a.vms == {"web"}


def written_apart(pair: Pair) -> tuple[int, int]:
    """One write by each VM, where it is. :return: that of hv1, that of hv2."""
    pair.write(pair.a)
    pair.write(pair.b)
    return 1 << (pair.count - 2), 1 << (pair.count - 1)


def test_all_vms_move_and_every_write_with_them(pair: Pair) -> None:
    move_until(pair, db_alone_has_moved(pair))
    written_apart(pair)
    finish(pair)
    assert roles(pair) == [(PASSIVE, False), (ACTIVE, True)]
    assert (pair.b.writes(), pair.b.vms, pair.a.overlays, pair.b.overlays) == (pair.written(), {"db", "web"}, {}, {})
    heal(pair)


def web_is_saved(pair: Pair) -> t.Callable[[], bool]:
    """And db is moved."""
    chances = iter([0.5, 0.0])
    pair.choose.random = lambda: next(chances)  # type: ignore[method-assign]
    pair.saves = 0.1
    return lambda: pair.b.vms == {"db"}


def test_a_saved_vm_is_restored_when_the_others_have_moved(pair: Pair) -> None:
    move_until(pair, web_is_saved(pair))
    assert (pair.a.vms, set(pair.a.images), set(pair.b.images)) == (set(), {"web"}, {"web"})
    pair.write(pair.b)
    finish(pair)
    assert (roles(pair), pair.b.vms, pair.b.images, pair.restored) == ([(PASSIVE, False), (ACTIVE, True)], {"db", "web"}, {}, 1)


@pytest.mark.parametrize("lost", ["hv1", "hv2", "both"])
def test_a_saved_vm_is_restored_where_all_come_back(pair: Pair, lost: str) -> None:
    move_until(pair, web_is_saved(pair))
    pair.write(pair.b)
    hosts = [host for host in (pair.a, pair.b) if lost in (host.name, "both")]
    for host in hosts:
        host.power_off(False)
    for process in list(pair.processes):
        pair.kill(process)
    pair.agents_notice()
    for host in hosts:
        pair.power_on(host)
    assert "db come back from hv2" in do(pair, pair.a, "recover", "")
    assert (pair.a.vms, pair.a.images, pair.restored, pair.a.writes()) == ({"db", "web"}, {}, 1, pair.written())
    del pair.choose.random  # type: ignore[method-assign]
    heal(pair)


def test_a_saved_vm_is_restored_where_the_target_goes_on_alone(pair: Pair) -> None:
    move_until(pair, web_is_saved(pair))
    pair.write(pair.b)
    pair.a.power_off(False)
    for process in list(pair.processes):
        pair.kill(process)
    pair.agents_notice()
    assert "db had moved here and go on as they are" in do(pair, pair.b, "failover", "hv1", "", "")
    assert (pair.b.vms, pair.restored) == ({"db", "web"}, 1)


def test_both_hosts_lose_power_with_vms_on_both(pair: Pair) -> None:
    move_until(pair, db_alone_has_moved(pair))
    written_apart(pair)
    for host in (pair.a, pair.b):
        pair.power_off(host)
    for host in (pair.a, pair.b):
        pair.power_on(host)
    assert "and has moved VMs here (db): hv1 recovers first" in do(pair, pair.b, "recover", "")
    assert "db come back from hv2" in do(pair, pair.a, "recover", "")
    assert (pair.a.writes(), pair.a.vms, roles(pair)) == (pair.written(), {"db", "web"}, [(ACTIVE, True), (PASSIVE, False)])
    heal(pair)


def test_the_source_is_lost_with_vms_on_both(pair: Pair) -> None:
    move_until(pair, db_alone_has_moved(pair))
    left, moved = written_apart(pair)
    pair.power_off(pair.a)
    pair.agents_notice()
    assert "They go on" not in do(pair, pair.b, "recover", "")
    assert pair.b.vms == {"db"}
    assert "db had moved here and go on as they are" in do(pair, pair.b, "failover", "hv1", "", "")
    assert (pair.b.writes() & moved, pair.b.writes() & left, pair.given_up) == (moved, 0, left)
    pair.power_on(pair.a)
    assert "overlays of db, web" in do(pair, pair.b, "rejoin", "", "", "")
    assert roles(pair) == [(DIVERGED, False), (ACTIVE, True)]
    assert pair.a.everything() & left
    do(pair, pair.b, "rejoin", "keep", "", "")
    assert left in [kept & left for kept in pair.a.kept]
    heal(pair)


def test_the_target_is_lost_with_vms_on_both_and_comes_back(pair: Pair) -> None:
    move_until(pair, db_alone_has_moved(pair))
    left, moved = written_apart(pair)
    pair.power_off(pair.b)
    finish(pair)
    assert pair.a.vms == {"web"}
    for words in (("", ""), ("hv2", ""), ("", "hv2")):
        assert "VMs have moved there, or may have" in do(pair, pair.a, "recover", *words)
    assert "is_down" not in do(pair, pair.a, "vmstart") and pair.a.vms == {"web"}
    assert "without what they wrote on hv2" in do(pair, pair.a, "recover", "hv2", "hv2")
    assert (pair.a.vms, pair.a.writes() & left, pair.given_up) == ({"db", "web"}, left, moved)
    pair.power_on(pair.b)
    assert "without the VMs that had moved here (db): hvm.pair.rejoin comes next" in do(pair, pair.b, "recover", "")
    assert "overlays of db. hv2 becomes DIVERGED" in do(pair, pair.a, "rejoin", "", "", "")
    do(pair, pair.a, "rejoin", "keep", "", "")
    assert any(kept & moved for kept in pair.b.kept)
    heal(pair)


def told_to_take_over(pair: Pair) -> t.Callable[[], bool]:
    return lambda: pair.b.journal is not None and pair.b.journal["step"] == moving.TAKE_OVER


def test_a_target_that_was_told_to_take_over_goes_on_when_the_source_is_silent(pair: Pair) -> None:
    move_until(pair, told_to_take_over(pair))
    pair.cut()
    for process in list(pair.processes):
        pair.kill(process)
    pair.agents_notice()
    assert roles(pair) == [(PASSIVE, False), (PASSIVE, True)]
    assert "all VMs have moved there" in do(pair, pair.a, "recover", "")
    assert "has handed its role over to hv2, where its VMs run" in do(pair, pair.b, "recover", "")
    assert (roles(pair), pair.b.writes()) == ([(PASSIVE, False), (ACTIVE, True)], pair.written())
    heal(pair)


def test_not_so_when_it_has_lost_its_power_since_as_the_source_may_have_been_told_to_go_on(pair: Pair) -> None:
    move_until(pair, told_to_take_over(pair))
    pair.power_off(pair.b)
    finish(pair)
    assert "without what they wrote on hv2" in do(pair, pair.a, "recover", "hv2", "hv2")
    pair.cut()
    pair.power_on(pair.b)
    assert "hv1 does not answer, and may be ACTIVE" in do(pair, pair.b, "recover", "")
    pair.check()
    heal(pair)


def test_two_operators_start_a_migration_at_the_same_moment(pair: Pair) -> None:
    one, two = pair.begin(pair.a, "migrate"), pair.begin(pair.a, "migrate")
    finish(pair)
    assert [line for line in pair.log if "is running" in line] == [f"{two} failed: Failed {one} is running"]
    assert roles(pair) == [(PASSIVE, False), (ACTIVE, True)]
    assert pair.b.writes() == 0b111
