# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every combination of two hosts that matters, beside in recovery_golden.txt: what is decided, and the sentence for it.

After a change that is meant: HVM_GOLDEN=write, and read the difference.
"""

from __future__ import annotations

import datetime
import itertools
import os
import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, recovery

GOLDEN = pathlib.Path(__file__).parent / "recovery_golden.txt"
SET = "hvm_20261123T100000Z_office_B"


def host(name: str, role: str, epoch: int, seen: int, **more: t.Any) -> dict[str, t.Any]:
    """:param role: "ACTIVE" runs; "stopped" is ACTIVE and does not; "UNKNOWN" was ACTIVE before it rebooted; "none": no role."""
    recorded = {"stopped": "ACTIVE", "UNKNOWN": "ACTIVE", "none": "UNKNOWN"}.get(role, role)
    now = {"stopped": "ACTIVE", "none": "UNKNOWN"}.get(role, role)
    since = "" if role == "none" else "2026-11-01T00:00:00+00:00"
    return {
        "pair": "office",
        "host": name,
        "peer": "hv2" if name == "hv1" else "hv1",
        "role": {"role": recorded, "now": now, "epoch": epoch, "seen": seen, "since": since, "clean": role != "UNKNOWN"},
        "hypervisor": {"running": role == "ACTIVE"},
        "qemu": ["web"] if role == "ACTIVE" else [],
        "pools": {"ssd": "ONLINE"},
        "lock": None,
        "pending": None,
        "not_inert": [],
        "sets": [{"name": SET, "complete": True}],
        **more,
    }


def begun(operation: str, step: str = "hand over", **more: t.Any) -> dict[str, t.Any]:
    return {"operation": operation, "started": "2026-11-23T10:00:00+00:00", "step": step, "vms": ["web"], "epoch": 6, **more}


MIGRATING = {"pending": begun("migrate_secure")}
TAKING_OVER = {"pending": begun("failover", "start")}

#: What hv1 is: role, and what else there is to see.
HERE: dict[str, tuple[str, dict[str, t.Any]]] = {
    "ACTIVE": ("ACTIVE", {}),
    "ACTIVE, migrating": ("ACTIVE", {"pending": begun("migrate_secure", "save")}),
    "ACTIVE, stopped": ("stopped", {}),
    "UNKNOWN": ("UNKNOWN", {}),
    "UNKNOWN, migrating": ("UNKNOWN", {"pending": begun("migrate_secure", "last sync")}),
    "PASSIVE": ("PASSIVE", {}),
    "PASSIVE, migrating": ("PASSIVE", MIGRATING),
    "PASSIVE, taking over": ("PASSIVE", TAKING_OVER),
    "PASSIVE, not inert": ("PASSIVE", {"not_inert": ["ssd/shared is mounted"]}),
    "DIVERGED": ("DIVERGED", {}),
}
THERE: dict[str, tuple[str, dict[str, t.Any]]] = {
    "ACTIVE": ("ACTIVE", {}),
    "ACTIVE, stopped": ("stopped", {}),
    "UNKNOWN": ("UNKNOWN", {}),
    "PASSIVE": ("PASSIVE", {}),
    "PASSIVE, migrating": ("PASSIVE", MIGRATING),
    "PASSIVE, taking over": ("PASSIVE", TAKING_OVER),
    "DIVERGED": ("DIVERGED", {}),
}
#: Epochs of both, and what each had seen of the other's.
EPOCHS = {"later": ((5, 4), (4, 3)), "earlier": ((4, 3), (5, 4)), "apart": ((5, 2), (4, 2))}


def said(decided: recovery.Decision) -> str:
    if decided.findings:
        return "refused: " + " ".join(finding.sentence() for finding in decided.findings)
    vms = f" [{', '.join(decided.vms)}]" if decided.vms else ""
    return f"{decided.do or 'nothing'}: {decided.sentence}{vms}"


def pairs() -> t.Iterator[tuple[str, dict[str, t.Any], dict[str, t.Any]]]:
    for (mine, (role, more)), (theirs, (other, and_more)), (when, epochs) in itertools.product(
        HERE.items(), THERE.items(), EPOCHS.items()
    ):
        if when == "apart" and "PASSIVE" in (role, other):
            continue  # it has not been ACTIVE since
        yield f"{mine} | {theirs} | {when}", host("hv1", role, *epochs[0], **more), host("hv2", other, *epochs[1], **and_more)


def silent() -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    for mine, (role, more) in HERE.items():
        yield f"{mine} | silent", host("hv1", role, 5, 4, **more)


def entry(*snapshots: tuple[str, str], written: int = 0, bookmarks: t.Sequence[tuple[str, str]] = ()) -> dict[str, t.Any]:
    return {
        "snapshots": [[name, guid, number] for number, (name, guid) in enumerate(snapshots)],
        "bookmarks": [[name, guid, number] for number, (name, guid) in enumerate(bookmarks)],
        "props": {"written": [str(written), "-"]},
    }


def table() -> str:
    lines = ["# recover on hv1: hv1 | hv2 | hv1 was ACTIVE later, earlier, or neither knew of the other"]
    lines += [f"{title}\n    {said(recovery.recover(me, peer))}" for title, me, peer in pairs()]
    for title, me in silent():
        lines += [f"{title}{words}\n    {said(recovery.recover(me, None, word))}" for word, words in WORDS]
    lines.append("\n# failover on hv1: hv1 | hv2 | as above")
    for title, me, peer in pairs():
        if title.endswith("earlier"):
            lines.append(f"{title} | hv2 is given up\n    {said(recovery.failover(me, peer, SET, give_up='hv2'))}")
    for title, me in silent():
        lines += [f"{title}{words}\n    {said(recovery.failover(me, None, SET, word))}" for word, words in WORDS]
    lines.append("\n# rejoin on hv1, of hv2: hv1 | hv2 | as above | what hv2 has of its own")
    nothing, something = recovery.Own({}, {}), recovery.Own({"ssd/a": ["x", "y"]}, {"ssd/b": 4096})
    for title, me, peer in pairs():
        if "migrating" not in title and "taking over" not in title:
            for own, has in ((nothing, "nothing"), (something, "something")):
                lines.append(f"{title} | {has}\n    {said(recovery.rejoin(me, peer, own))}")
            lines.append(f"{title} | something, hv1 wins\n    {said(recovery.rejoin(me, peer, something, winner='hv1'))}")
    for title, me in silent():
        for word, words in WORDS if me["pending"] is None else ():
            decided = recovery.rejoin(me, None, nothing, winner="hv1", dead_host=word)
            lines.append(f"{title} | hv1 wins{words}\n    {said(decided)}")
    return "\n".join(lines) + "\n"


WORDS = (("", ""), ("hv1", " | hv1 is said to be off"), ("hv2", " | hv2 is said to be off"))


def test_every_combination_is_decided_as_written_down() -> None:
    text = table()
    if os.environ.get("HVM_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("now", ["DIVERGED", "UNKNOWN", "PASSIVE"])
@pytest.mark.parametrize("discard", ["hv1", "hv2", ""])
def test_the_host_that_comes_back_never_names_the_active_one_as_what_may_go(now: str, discard: str) -> None:
    """It was typed on the wrong host (seen on the lab): `--discard` of the ACTIVE host was the remedy."""
    decided = recovery.rejoin(host("hv1", now, 5, 4), host("hv2", "ACTIVE", 6, 5), SOMETHING, recovery.DISCARD, discard)
    assert said(decided) == (
        f"refused: hv1: hv1 is {now}: it is the host that comes back, and hv2 the one that goes on. Run it there, on hv2."
    )
    nobody = said(recovery.rejoin(host("hv1", now, 5, 4), host("hv2", "UNKNOWN", 6, 5), SOMETHING, recovery.DISCARD, discard))
    assert "To destroy" not in nobody and "or name the winner" in nobody


def test_nobody_becomes_active_beside_an_active_host_or_a_silent_one() -> None:
    """What the table is for, asked of all of it."""
    started = 0
    for _title, me, peer in pairs():
        for decided in (recovery.recover(me, peer), recovery.failover(me, peer, SET, give_up="hv2")):
            if decided.do in (recovery.START, recovery.TAKE_OVER) and not decided.findings:
                started += 1
                assert peer["role"]["now"] != "ACTIVE"
                # above all that either host knows, but for one that is ACTIVE already
                least = max(me["role"]["epoch"] - (me["role"]["now"] == "ACTIVE"), peer["role"]["epoch"] - 1)
                assert decided.epoch > least
    for _title, me in silent():
        assert me["role"]["now"] == "ACTIVE" or recovery.recover(me, None).do != recovery.START
        assert me["role"]["now"] == "ACTIVE" or recovery.recover(me, None, "hv1").do != recovery.START
        assert recovery.failover(me, None, SET).do != recovery.TAKE_OVER
    assert started > 30


def test_a_host_that_was_started_by_force_in_the_same_epoch_leaves_that_behind_once_it_is_asked() -> None:
    decided = recovery.recover(host("hv1", "stopped", 5, 4), host("hv2", "UNKNOWN", 5, 4))
    assert (decided.do, decided.epoch) == (recovery.START, 6)
    assert recovery.recover(host("hv1", "stopped", 5, 4), host("hv2", "PASSIVE", 5, 4)).epoch == 5


# ---- failover: what counts as proof


@pytest.mark.parametrize(
    ("dead_host", "fenced", "sentence"),
    [
        ("hv2", None, "hv1 becomes ACTIVE in epoch 6, with the set {set}: hv2 is off, by the operator's word"),
        ("hv2", "", "hv1 becomes ACTIVE in epoch 6, with the set {set}: hv2 was fenced"),
        (
            "hv2",
            "rc 1",
            (
                "hv1: the fence command failed, which proves nothing: rc 1. "
                "See by other means that hv2 is off, then run this again without the fence command."
            ),
        ),
        (
            "",
            "",
            (
                "hv1: hv2 does not answer, and may still be running. "
                "If hv2 is off, and what is shown may be lost, name it: hvm_dead_host=hv2."
            ),
        ),
        (
            "hv3",
            None,
            (
                "hv1: 'hv3' is not the other host of the pair. "
                "If hv2 is off, and what is shown may be lost, name it: hvm_dead_host=hv2."
            ),
        ),
    ],
)
def test_a_name_and_a_fence_that_succeeded_are_proof(dead_host: str, fenced: str | None, sentence: str) -> None:
    decided = recovery.failover(host("hv1", "PASSIVE", 5, 0), None, SET, dead_host, fenced=fenced)
    assert " ".join([decided.sentence, *(finding.sentence() for finding in decided.findings)]).strip() == sentence.format(set=SET)


def test_a_host_that_is_only_given_up_is_not_taken_for_dead() -> None:
    me, peer = host("hv1", "PASSIVE", 5, 0), host("hv2", "UNKNOWN", 5, 4)
    assert recovery.failover(me, peer, SET, give_up="hv2").do == recovery.TAKE_OVER
    # the link was cut in the meantime: it may live on
    assert recovery.failover(me, None, SET, give_up="hv2").findings
    # and one that answers is not dead
    assert recovery.failover(me, peer, SET, dead_host="hv2").findings


def test_a_host_that_was_set_up_anew_before_the_failover_is_no_hindrance() -> None:
    """Nothing there can stand down. But what has no role may run all the same: its record may have been lost."""
    me, peer = host("hv1", "PASSIVE", 5, 0), host("hv2", "none", 0, 0)
    assert said(recovery.failover(me, peer, SET, give_up="hv2")) == (
        f"take over: hv1 becomes ACTIVE in epoch 6, with the set {SET}: hv2 answers, is stopped, and has no role"
    )
    assert said(recovery.failover(me, peer, SET, "hv2")) == (
        "refused: hv1: hv2 answers, and has no role: it was set up anew, or its record is gone. "
        "If the data of hv1 are to go on: hvm_give_up=hv2."
    )
    for more in ({"qemu": ["web"]}, {"hypervisor": {"running": True}}, {"lock": "install by root"}):
        assert recovery.failover(me, {**peer, **more}, SET, give_up="hv2").findings
    # before the first sync it would be no new pair for one host and a new one for the other
    assert recovery.failover(host("hv1", "PASSIVE", 0, 0), peer, SET, give_up="hv2").findings


def test_nothing_is_taken_over_without_a_complete_set() -> None:
    decided = recovery.failover(host("hv1", "PASSIVE", 5, 0), None, None, "hv2", why_not="no set of the pair office")
    assert [finding.sentence() for finding in decided.findings] == [
        "hv1: no set of the pair office. There is nothing to take over with."
    ]


def test_what_would_be_lost_is_told_for_each_vm_and_dataset() -> None:
    now = datetime.datetime(2026, 11, 23, 10, 12, tzinfo=datetime.UTC)
    unknown = recovery.lost(SET, now, ["ssd/b", "ssd/a"], ["web", "db"], ["db"])
    assert unknown == {
        "set": SET,
        "age": 720,
        "vms": {"db": {"age": 720, "memory": True}, "web": {"age": 720, "memory": False}},
        "datasets": {"ssd/a": {"age": 720, "written": None}, "ssd/b": {"age": 720, "written": None}},
        "missing": {},
        "lines": [
            f"the last complete set is {SET}, 12 min old; what was written after it would be lost",
            "VM db: loses 12 min, and goes on from its saved memory",
            "VM web: loses 12 min, and starts anew from its disks",
            "dataset ssd/a: written since: unknown",
            "dataset ssd/b: written since: unknown",
        ],
    }
    known = recovery.lost(SET, now, ["ssd/a", "ssd/b"], [], [], {"ssd/a": 4096})
    assert [line for line in known["lines"] if line.startswith("dataset")] == [
        "dataset ssd/a: written since: 4096 bytes",
        "dataset ssd/b: written since: 0 bytes",
    ]
    before = datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC)
    assert recovery.lost(SET, before, [], [], [])["age"] == 0  # the clock has jumped back


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172800, "2 days")]
)
def test_an_age_in_words(seconds: int, words: str) -> None:
    assert recovery.how_long(seconds) == words


def test_a_host_that_is_diverged_goes_on_alone_by_both_names_only() -> None:
    me = host("hv1", "DIVERGED", 5, 4)
    for winner in ("", "hv1", "hv2", "nobody"):
        for dead_host in ("", "hv1", "hv2", "nobody"):
            decided = recovery.rejoin(me, None, recovery.Own({}, {}), winner=winner, dead_host=dead_host)
            assert (decided.do == recovery.WIN) is ((winner, dead_host) == ("hv1", "hv2")) is not bool(decided.findings)
    up = {**me, "peer_says": "its agent is not of the version that asks"}
    assert recovery.rejoin(up, None, recovery.Own({}, {}), winner="hv1", dead_host="hv2").findings == tuple(guards.not_off(up))
    assert recovery.rejoin(me, host("hv2", "ACTIVE", 6, 5), SOMETHING, winner="hv1", dead_host="hv2").do == ""


# ---- rejoin: what a host has of its own

A, B = (SET, "1"), ("hvm_20261123T110000Z_office_B", "2")
OWN: dict[str, tuple[dict[str, t.Any], dict[str, t.Any], dict[str, list[str]], dict[str, int]]] = {
    "the same": ({"d": entry(A, B)}, {"d": entry(A, B)}, {}, {}),
    "behind": ({"d": entry(A)}, {"d": entry(A, B, written=9)}, {}, {}),
    "the other has the bookmark": ({"d": entry(A)}, {"d": entry(B, bookmarks=[A])}, {}, {}),
    "a snapshot of its own": ({"d": entry(A, B)}, {"d": entry(A)}, {"d": [B[0]]}, {}),
    "the same name, not the same": ({"d": entry(A, (B[0], "3"))}, {"d": entry(A, B)}, {"d": [B[0]]}, {}),
    "written to": ({"d": entry(A, written=65)}, {"d": entry(A)}, {}, {"d": 65}),
    "no more than the slack": ({"d": entry(A, written=64)}, {"d": entry(A)}, {}, {}),
    "nothing in common": ({"d": entry(A)}, {"d": entry(B)}, {"d": [A[0]]}, {}),
    "renamed there": ({"d": entry(A)}, {"e": entry(A)}, {}, {}),
    "made here, empty": ({"d": entry()}, {}, {}, {}),
    "made here, written to": ({"d": entry(written=100)}, {}, {}, {"d": 100}),
}


@pytest.mark.parametrize(("mine", "theirs", "newer", "written"), OWN.values(), ids=OWN)
def test_what_is_a_hosts_own(
    mine: dict[str, t.Any], theirs: dict[str, t.Any], newer: dict[str, list[str]], written: dict[str, int]
) -> None:
    found = recovery.own(host("hv2", "PASSIVE", 5, 4), mine, theirs, slack=64)
    assert (found.newer, found.written, found.doubt) == (newer, written, "")
    assert bool(found) is bool(newer or written)


def test_a_host_that_crashed_while_it_was_active_cannot_prove_that_it_has_nothing() -> None:
    same = {"d": entry(A)}
    assert recovery.own(host("hv2", "UNKNOWN", 5, 4), same, same)
    stopped = host("hv2", "UNKNOWN", 5, 4)
    stopped["role"]["clean"] = True
    assert not recovery.own(stopped, same, same)


SOMETHING = recovery.Own({"ssd/a": ["x"]}, {})


@pytest.mark.parametrize(
    ("words", "do", "said"),
    [
        ({}, recovery.DIVERGE, ""),
        ({"choice": "keep"}, recovery.KEEP, ""),
        ({"choice": "discard", "discard": "hv2"}, recovery.DISCARD, ""),
        ({"choice": "discard"}, "", "the host whose own data go is not named: hv2"),
        ({"choice": "discard", "discard": "hv1"}, "", "'hv1' is not the host that comes back"),
        ({"winner": "hv3"}, "", "'hv3' is not a host of the pair"),
        ({"winner": "hv2"}, "", "hv2 is named as the winner"),
        ({"winner": "hv1"}, recovery.DIVERGE, ""),
    ],
)
def test_what_becomes_of_a_hosts_own_is_the_operators_choice(words: dict[str, str], do: str, said: str) -> None:
    decided = recovery.rejoin(host("hv1", "ACTIVE", 6, 5), host("hv2", "UNKNOWN", 5, 4), SOMETHING, **words)
    assert (decided.do, "; ".join(finding.what for finding in decided.findings)) == (do, said)


def test_the_host_that_goes_on_is_never_in_a_lower_epoch_than_the_one_that_comes_back() -> None:
    assert recovery.rejoin(host("hv1", "ACTIVE", 6, 5), host("hv2", "UNKNOWN", 9, 4), SOMETHING).epoch == 9


@pytest.mark.parametrize("verb", ["recover", "failover", "rejoin"])
def test_each_waits_for_others_and_refuses_what_is_out_of_order(verb: str) -> None:
    def decide(me: dict[str, t.Any], peer: dict[str, t.Any]) -> list[str]:
        decided = {
            "recover": lambda: recovery.recover(me, peer),
            "failover": lambda: recovery.failover(me, peer, SET, give_up="hv2"),
            "rejoin": lambda: recovery.rejoin(me, peer, SOMETHING),
        }[verb]()
        return [finding.what for finding in decided.findings]

    mine = "ACTIVE" if verb == "rejoin" else "PASSIVE"
    if verb != "failover":
        assert "it has no role yet" in decide(host("hv1", mine, 5, 4), host("hv2", "none", 0, 0))
    assert "it has no role yet" in decide(host("hv1", "none", 0, 0), host("hv2", "PASSIVE", 5, 4))
    for change, what in (
        ({"lock": "sync by root"}, "another operation is running: sync by root"),
        ({"pair": "lab"}, "it belongs to the pair lab, not to office"),
        ({"qemu": ["web"]}, "VMs run here although it is UNKNOWN: web"),
        ({"hypervisor": {"running": True}}, "its hypervisor is running although it is UNKNOWN"),
    ):
        assert what in decide(host("hv1", mine, 5, 4), host("hv2", "UNKNOWN", 5, 4, **change))
    me = host("hv1", mine, 5, 4, pools={"ssd": "FAULTED"}, pending=begun("install", remedy="Run it again."))
    assert decide(me, host("hv2", "UNKNOWN", 5, 4))[:2] == [
        "pool ssd is FAULTED",
        "install, begun 2026-11-23T10:00:00+00:00, did not end: it was last at 'hand over'",
    ]


@pytest.mark.parametrize("operation", guards.ROLLBACK)
def test_a_rollback_that_did_not_end_is_in_nobodys_way_where_it_cannot_go_on(operation: str) -> None:
    """It can on the host that was ACTIVE last. On any other the swap is ended with the way back, or the taking over."""
    left = {"pending": begun(operation)}
    replica, rebooted, diverged = (host("hv1", now, 5, 4, **left) for now in ("PASSIVE", "UNKNOWN", "DIVERGED"))
    active, silent = host("hv2", "ACTIVE", 6, 5), None
    assert recovery.failover(replica, silent, SET, "hv2").do == recovery.TAKE_OVER
    assert recovery.failover(replica, host("hv2", "UNKNOWN", 5, 4), SET, give_up="hv2").do == recovery.TAKE_OVER
    assert recovery.recover(replica, active).do == recovery.PASS
    for me in (rebooted, diverged):
        assert recovery.recover(me, active).do == recovery.ELSEWHERE
        there = {**me, "host": "hv2", "peer": "hv1"}
        for own, do in ((recovery.Own({}, {}), recovery.JOIN), (SOMETHING, recovery.KEEP)):
            assert recovery.rejoin(host("hv1", "ACTIVE", 6, 5), there, own, recovery.KEEP).do == do
        assert recovery.rejoin(me, host("hv2", "stopped", 6, 5), SOMETHING, winner="hv1").do == recovery.WIN
    # there it can
    for peer in (silent, host("hv2", "PASSIVE", 5, 4), host("hv2", "UNKNOWN", 4, 3)):
        for decided in (recovery.recover(rebooted, peer, "hv2"), recovery.failover(rebooted, peer, SET, "hv2", "hv2")):
            assert f"{operation}, begun" in decided.findings[0].what
    assert guards.rollback({**rebooted, "missing_datasets": []}, silent) == []
