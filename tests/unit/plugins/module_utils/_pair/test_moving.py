# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is decided while VMs are on both hosts: each crash of hv1, the source, beside each of hv2, in moving_golden.txt.

After a change that is meant: HVM_GOLDEN=write, and read the difference.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import advice, guards, modes, moving, operation, recovery

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from test_recovery import host

GOLDEN = pathlib.Path(__file__).parent / "moving_golden.txt"
S, EARLIER = "hvm_20261123T110000Z_office_C", "hvm_20261123T100000Z_office_B"
#: What else an observation has.
SETS: dict[str, t.Any] = {"sets": [{"name": EARLIER, "complete": True}, {"name": S, "complete": True}]}
SETS.update(vms={}, saved=[], state_dir_free=None)
#: web has moved, db is on its way, app has not begun, old was saved.
VMS = ["app", "db", "old", "web"]
BASE = {"operation": "migrate_unsecure", "started": "2026-11-23T11:00:00+00:00", "vms": VMS, "epoch": 6, "saved": ["old"]}
Side = dict[str, t.Any]


def mine(step: str, begun: str = "db web", moved: str = "web", **more: t.Any) -> Side:
    """The source's journal."""
    known = {"set": S} if step not in ("overlays", "last snapshot") else {}
    return {**BASE, **known, "step": step, "begun": begun.split(), "moved": moved.split(), "frozen": [], **more}


def theirs(arrived: str = "web", step: str = "arrived", **more: t.Any) -> Side:
    """The target's."""
    return {**BASE, "source": "hv1", "set": S, "step": step, "arrived": arrived.split(), **more}


def here(role: str, entry: Side | None, qemu: str = "", running: bool | None = None, overlays: str = "app db web") -> Side:
    made = host("hv1", role, 5, 4, pending=entry, overlays={name: [f"{name}.vda"] for name in overlays.split()}, **SETS)
    made.update(qemu=qemu.split(), gate="ACTIVE" if role == "ACTIVE" else "", shared_ip={"in_use_by_us": False})
    made["hypervisor"] = {"running": role == "ACTIVE" if running is None else running}
    return made


def there(role: str, entry: Side | None, qemu: str = "", gate: str = "", overlays: str = "db web", epoch: int = 5) -> Side:
    made = host("hv2", role, epoch, 4, pending=entry, overlays={name: [f"{name}.vda"] for name in overlays.split()}, **SETS)
    made.update(qemu=qemu.split(), gate=gate, hypervisor={"running": bool(gate)}, shared_ip={"in_use_by_us": False})
    return made


ALL = "app db web"
HERE: dict[str, Side] = {
    "ACTIVE at 'overlays'": here("ACTIVE", mine("overlays", "", ""), ALL),
    "ACTIVE at 'arrive there'": here("ACTIVE", mine("arrive there", "", ""), ALL),
    "ACTIVE at 'move'": here("ACTIVE", mine("move"), "app db"),
    "ACTIVE at 'stays as it is'": here("ACTIVE", mine("stays as it is", "web", "web"), "app db"),
    "ACTIVE at 'stop here'": here("stopped", mine("stop here", ALL, ALL)),
    "ACTIVE at 'coming back'": here("ACTIVE", mine("coming back", "web", "web"), "app db"),
    "UNKNOWN at 'overlays'": here("UNKNOWN", mine("overlays", "", "")),
    "UNKNOWN at 'move'": here("UNKNOWN", mine("move")),
    "PASSIVE at 'hand over'": here("PASSIVE", mine("hand over", ALL, ALL)),
    "ACTIVE, overlays left": here("ACTIVE", None, ALL),
    "ACTIVE, nothing left": here("ACTIVE", None, ALL, overlays=""),
    "UNKNOWN, overlays left": here("UNKNOWN", None),
}
THERE: dict[str, Side | None] = {
    "silent": None,
    "ready, nothing arrived": there("PASSIVE", theirs("", "arrive"), "", "ARRIVING", ""),
    "ready, web stands": there("PASSIVE", theirs("", "arrive"), "web", "ARRIVING"),
    "web arrived": there("PASSIVE", theirs(), "web", "ARRIVING"),
    "web arrived, rebooted": there("PASSIVE", theirs()),
    "all arrived": there("PASSIVE", theirs(ALL), ALL, "ARRIVING", ALL),
    "all arrived, told to take over": there("PASSIVE", theirs(ALL, "take over"), ALL, "ARRIVING", ALL),
    "all arrived, told to take over, rebooted": there("PASSIVE", theirs(ALL, "take over"), overlays=ALL),
    "of another move": there("PASSIVE", theirs(set=EARLIER)),
    "PASSIVE": there("PASSIVE", None, overlays=""),
    "ACTIVE at 'commit'": there("ACTIVE", theirs(ALL, "commit", epoch=6), ALL, "ACTIVE", ALL, 6),
    "UNKNOWN at 'commit'": there("UNKNOWN", theirs(ALL, "commit", epoch=6), overlays=ALL, epoch=6),
    "ACTIVE, by a failover": there("ACTIVE", None, ALL, "ACTIVE", "", 6),
    "DIVERGED": there("DIVERGED", None, overlays=""),
}
NOTHING = recovery.Own({}, {})


def said(decided: recovery.Decision) -> str:
    keys = ("vms", "back", "here", "stand", "lost")
    lists = "".join(f" [{key}: {', '.join(getattr(decided, key))}]" for key in keys if getattr(decided, key))
    if decided.findings:
        return "refused: " + " ".join(finding.sentence() for finding in decided.findings) + lists
    return f"{decided.do or 'nothing'}: {decided.sentence}{lists}"


def pairs() -> t.Iterator[tuple[str, Side, Side | None]]:
    for (one, me), (other, peer) in itertools.product(HERE.items(), THERE.items()):
        yield f"{one} | {other}", me, peer


WORDS: tuple[dict[str, str], ...] = ({}, {"peer_is_down": "hv2"}, {"peer_is_down": "hv2", "give_up": "hv2"}, {"give_up": "hv2"})


def table() -> str:
    lines = ["# recover on hv1, the source: hv1 | hv2 | the operator's words"]
    for title, me, peer in pairs():
        for words in WORDS if peer is None else (WORDS[0], WORDS[3]) if title.endswith("| PASSIVE") else WORDS[:1]:
            word = "".join(f" | {key}" for key in words)
            lines.append(f"{title}{word}\n    {said(recovery.recover(me, peer, **words))}")
    lines.append("\n# recover on hv2, the target: hv1 | hv2")
    for title, me, peer in pairs():
        if peer is not None:
            lines.append(f"{title}\n    {said(recovery.recover(peer, me))}")
    lines.append("\n# failover on hv2: hv2, hv1 is silent | hv1 answers, stopped, and is given up")
    for title, peer in THERE.items():
        if peer is not None:
            for to in (S, EARLIER):
                decided = recovery.failover(peer, None, to, "hv1")
                lines.append(f"silent | {title} | to {to}\n    {said(decided)}")
            decided = recovery.failover(peer, HERE["UNKNOWN at 'move'"], S, give_up="hv1")
            lines.append(f"UNKNOWN at 'move' | {title} | hv1 is given up\n    {said(decided)}")
    lines.append("\n# failover on hv1, which had handed over: hv2 is silent")
    lines.append(said(recovery.failover(HERE["PASSIVE at 'hand over'"], None, S, "hv2")))
    lines.append("\n# go on with it, on hv1: hv1 | hv2")
    for title, me, peer in pairs():
        if peer is not None and moving.source(me) and me["role"]["now"] == "ACTIVE":
            found = guards.migrate_unsecure(me, peer)
            lines.append(f"{title}\n    {' '.join(one.sentence() for one in found) or 'goes on'}")
    lines.append("\n# status, and what comes next: hv1 | hv2")
    for title, me, peer in pairs():
        if not title.startswith(("ACTIVE at 'move'", "UNKNOWN at 'move'", "PASSIVE", "ACTIVE, nothing")):
            continue
        lines.append(title)
        lines += [f"    {line}" for line in moving.lines(me, peer)]
        lines.append(f"    hv1: {advice.advice(me, peer is None)}")
        lines += [f"    hv2: {advice.advice(peer)}"] if peer else []
    return "\n".join(lines) + "\n"


def test_every_crash_is_decided_as_written_down() -> None:
    text = table()
    if os.environ.get("HVM_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


# ---- what the table is for, asked of all of it


def test_never_do_both_hosts_go_on_and_never_one_that_may_not() -> None:
    started = 0
    for title, me, peer in pairs():
        mine_, theirs_ = recovery.recover(me, peer), recovery.recover(peer, me) if peer else None
        assert not (mine_.do == recovery.START and theirs_ and theirs_.do == recovery.START), title
        for word in WORDS:  # whatever the operator says of a host that answers
            again = recovery.recover(me, peer, **word)
            if peer is not None and again.do == recovery.START:
                assert not (theirs_ and theirs_.do == recovery.START and peer["qemu"]), title
        started += mine_.do == recovery.START
    assert started > 20


def test_whoever_goes_on_alone_does_so_on_an_operators_word_or_with_proof() -> None:
    for title, me in HERE.items():
        decided = recovery.recover(me, None)
        assert decided.do != recovery.START or me["role"]["now"] == "ACTIVE", title
        assert not (decided.do == recovery.START and set(decided.vms) & moving.may_be_there(moving.source(me) or {})), title
    for title, side in THERE.items():
        if side is not None and recovery.recover(side, None).do == recovery.START:
            proof = side["role"]["now"] == "ACTIVE" or (side["pending"]["step"] == "take over" and side["gate"] == "ARRIVING")
            assert proof, title


def test_a_vm_whose_newest_writes_the_other_host_may_have_is_never_among_those_that_run() -> None:
    for title, me, peer in pairs():
        for words in WORDS:
            decided = recovery.recover(me, peer, **words)
            if decided.do == recovery.START:
                assert not set(decided.back) & (set(decided.vms) | set(decided.here)), title
                assert not decided.lost or words.get("give_up") == "hv2", title
                entry = moving.target(peer) if peer else None
                if peer and peer["role"]["role"] == "PASSIVE" and moving.is_same(moving.source(me), entry):
                    assert set(decided.back) == moving.names(entry, "arrived"), title


def test_one_wrong_word_of_two_starts_nothing() -> None:
    me = HERE["UNKNOWN at 'move'"]
    both = {"peer_is_down": "hv2", "give_up": "hv1"}
    for words in ({"give_up": "hv2"}, {"peer_is_down": "hv2"}, both, {"peer_is_down": "hv3"}):
        assert recovery.recover(me, None, **words).findings


# ---- what may be done meanwhile


@pytest.mark.parametrize("gate", ["", "ACTIVE", "ARRIVING"])
@pytest.mark.parametrize("lock", ["", "migrate_unsecure", "migrate_secure", "recover", "sync", "backup_secure"])
def test_the_relay_is_open_while_vms_move(gate: str, lock: str) -> None:
    # the target's all the time that VMs can come; the source's on their way back
    open_to = {("ACTIVE", "migrate_unsecure"), ("ACTIVE", "recover")}
    assert moving.may_relay(gate, lock) == (gate == "ARRIVING" or (gate, lock) in open_to)


MOVING = "ACTIVE at 'move'"


@pytest.mark.parametrize(
    "refused",
    [
        lambda me, peer: guards.backup(me, None),
        guards.backup_unsecure,
        lambda me, peer: guards.sync({**me, "missing_datasets": []}, peer),
        guards.start,
        lambda me, peer: guards.start(peer, me),
        lambda me, peer: guards.stop({**me, "qemu": [], "foreign_users": {}}),
        lambda me, peer: guards.rollback({**me, "missing_datasets": []}, peer),
        guards.mount,
        lambda me, peer: guards.vms(me, "started", ""),
        lambda me, peer: guards.vms(me, "saved", ""),
        lambda me, peer: guards.vms(peer, "started", ""),
        lambda me, peer: guards.vms(peer, "restored", ""),
        lambda me, peer: guards.vms(me, "started", "migrate_unsecure"),
    ],
)
def test_what_waits_until_it_has_ended(refused: t.Callable[[Side, Side], t.Any]) -> None:
    peer = THERE["web arrived"]
    assert peer is not None
    found = refused({**HERE[MOVING], "missing_datasets": []}, {**peer, "missing_datasets": []})
    assert any("migrate_unsecure" in one.what for one in found)
    assert all(one.remedy for one in found)


def test_what_may_be_done_all_the_same() -> None:
    me, peer = HERE[MOVING], THERE["web arrived, rebooted"]
    assert peer is not None
    for side in (me, peer):
        for verb in ("shutdown", "poweredoff", "frozen", "unfrozen"):
            assert guards.vms(side, verb, "") == []
    assert guards.stop({**peer, "foreign_users": {}}) == []
    arrived = THERE["web arrived"]
    assert arrived is not None
    assert guards.lend(arrived, 5) == []
    assert guards.lend({**arrived, "gate": ""}, 5)


def test_only_the_journal_knows_so_it_is_not_acknowledged(tmp_path: pathlib.Path) -> None:
    for entry in (mine("overlays", "", ""), theirs()):
        assert moving.forget(entry)
        path = str(tmp_path / "journal.json")
        operation.Journal("migrate_unsecure", path).step("move", **entry)
        assert operation.pending(path)
        with pytest.raises(HvmError, match="it cannot be acknowledged"):
            operation.acknowledge(False, path)
    assert moving.forget(None) == moving.forget({**BASE, "operation": "migrate_secure"}) == []


@pytest.mark.parametrize(
    ("side", "refused"),
    [
        (here("ACTIVE", mine("move")), ["db", "web"]),  # its answer may be under way
        (here("ACTIVE", mine("move", "", "")), []),
        (here("ACTIVE", mine("coming back", "", "")), []),  # its target was given up
        (there("PASSIVE", theirs(), gate="ARRIVING"), ["app", "db"]),  # it has come, and nobody has written that down
        (there("ACTIVE", theirs(ALL, "commit", epoch=6), gate="ACTIVE"), []),  # also one that somebody had frozen, and was saved
        (here("ACTIVE", None), []),
    ],
)
def test_of_a_vm_that_stands_on_both_hosts_none_is_let_go_on_by_hand(side: Side, refused: list[str]) -> None:
    found = guards.go_on(side, VMS)
    assert [one.what.split()[1] for one in found] == refused
    assert all("hvm.pair.recover" in one.remedy for one in found)
    assert guards.go_on(side, ["old"]) == []


def test_a_target_that_was_given_up_is_no_place_of_any_vm() -> None:
    me, peer = HERE["ACTIVE, nothing left"], THERE["web arrived, rebooted"]
    for one, other in ((me, peer), (peer, me)):
        assert one is not None
        assert (moving.state(one, other), moving.where(one, other), moving.lines(one, other)) == ("", {}, [])
    assert peer is not None and moving.state(peer, None) == moving.state(peer, HERE["UNKNOWN at 'move'"]) == "MOVING"


# ---- to begin, to arrive, to take over


def test_what_is_left_of_an_earlier_one_is_seen_before_it_begins() -> None:
    me = {**HERE["ACTIVE, overlays left"], "missing_datasets": [], "foreign_users": {}, "dataset_names": [], "vms": {}}
    me.update(bridges=[], shared_ip={"interface": "", "in_use_by_us": False}, state_dir_free=None)
    peer = {**me, **there("PASSIVE", None, overlays="old"), "memory_available_kib": 1 << 20}
    assert [one.sentence() for one in guards.migrate_unsecure(me, peer)] == [
        (
            "hv1: overlays of an earlier migrate_unsecure are left: app, db, web. "
            "hvm.pair.recover on hv1 puts them where they belong."
        ),
        "hv2: overlays of an earlier migrate_unsecure are left: old. hvm.pair.recover on hv2 puts them where they belong.",
    ]
    clean = {"overlays": {}}
    assert guards.migrate_unsecure({**me, **clean}, {**peer, **clean}) == []
    refused = {"web": modes.Choice(modes.REFUSED, findings=(guards.Finding("VM web holds a device of the host", "x", "hv1"),))}
    assert len(guards.migrate_unsecure({**me, **clean}, {**peer, **clean}, refused)) == 1
    doubtful = {**me, **clean, "vms": {"web": {"state": "other", "bridges": [], "networks": [], "emulator": ""}}}
    assert [one.what for one in guards.migrate_unsecure(doubtful, {**peer, **clean})] == ["VM web cannot be proven stopped"]


@pytest.mark.parametrize(
    ("side", "change", "what"),
    [
        ("PASSIVE", {}, ""),
        ("PASSIVE", {"overlays": {"web": ["web.vda"]}}, "overlays are left here: web"),
        ("ready, nothing arrived", {}, ""),
        ("web arrived", {}, ""),
        ("web arrived, rebooted", {}, "an operation did not end here"),
        ("ready, nothing arrived", {"gate": "", "hypervisor": {"running": False}}, ""),
        ("of another move", {}, "an operation did not end here"),
        ("ACTIVE, by a failover", {}, "this host is ACTIVE in epoch 6 and cannot become ACTIVE in 6"),
        ("DIVERGED", {}, "this host is DIVERGED in epoch 5 and cannot become ACTIVE in 6"),
    ],
)
def test_where_vms_may_arrive(side: str, change: Side, what: str) -> None:
    me = THERE[side]
    assert me is not None
    assert [one.what for one in guards.arrive({**me, **change}, 6, S, [], True)] == ([what] if what else [])


def test_nothing_arrives_beside_disks_that_are_not_those_of_the_set() -> None:
    me = THERE["PASSIVE"]
    assert me is not None
    assert guards.arrive(me, 6, S, ["ssd/a"], True)[0].what == f"the set {S} is not the state of ssd/a"
    assert guards.arrive(me, 6, S, [], False)


@pytest.mark.parametrize(
    ("side", "vms", "what"),
    [
        ("all arrived", ALL, ""),
        ("all arrived, told to take over", ALL, ""),
        ("ACTIVE at 'commit'", ALL, ""),
        ("web arrived", ALL, "app, db did not arrive here"),
        ("all arrived, told to take over, rebooted", ALL, "this host is PASSIVE in epoch 5 and cannot become ACTIVE in 6"),
        ("UNKNOWN at 'commit'", ALL, "this host is UNKNOWN in epoch 6 and cannot become ACTIVE in 6"),
        ("PASSIVE", "", f"no VM has arrived here with the set {S}"),
        ("of another move", "web", f"no VM has arrived here with the set {S}"),
        ("ready, nothing arrived", "", ""),
    ],
)
def test_who_may_take_over(side: str, vms: str, what: str) -> None:
    me = THERE[side]
    assert me is not None
    assert [one.what for one in guards.take_over(me, 6, S, vms.split())] == ([what] if what else [])


def test_what_a_hand_over_waits_for() -> None:
    entry, peer = mine("move"), THERE["web arrived"]
    assert peer is not None
    assert moving.left_to_move(entry, peer, ["app"]) == (["app"], ["db"])
    done = THERE["all arrived"]
    assert done is not None
    assert moving.left_to_move(entry, done, []) == ([], [])


# ---- rejoin: what a host has in overlays


def test_overlays_are_a_hosts_own() -> None:
    def own(side: Side | None) -> recovery.Own:
        assert side is not None
        return recovery.own(side, {}, {})

    assert own(THERE["web arrived, rebooted"]).overlays == ("web",)
    assert own(THERE["web arrived, rebooted"]).sentence() == "overlays of web"
    assert own(HERE["UNKNOWN at 'move'"]).overlays == ("app", "db", "web")
    assert not own(HERE["PASSIVE at 'hand over'"])
    assert not own(THERE["ready, nothing arrived"])


def test_a_passive_host_with_a_vms_writes_is_nobodys_replica_until_somebody_has_decided() -> None:
    me, peer = HERE["ACTIVE, nothing left"], THERE["web arrived, rebooted"]
    assert peer is not None
    own = recovery.own(peer, {}, {})
    assert recovery.rejoin(me, peer, own).do == recovery.DIVERGE
    assert recovery.rejoin(me, peer, own, "keep").do == recovery.KEEP
    assert recovery.rejoin(me, peer, own, "discard", "hv2").do == recovery.DISCARD


def test_a_failover_that_was_cut_off_knows_what_had_arrived() -> None:
    entry = {**theirs(), "operation": "failover", "step": "start"}
    side = there("PASSIVE", entry)
    decided = recovery.failover(side, None, S, "hv1")
    assert (decided.here, decided.lost) == (("web",), ("app", "db"))
    assert "app" in recovery.recover(side, None).findings[0].what or recovery.recover(side, None).findings
