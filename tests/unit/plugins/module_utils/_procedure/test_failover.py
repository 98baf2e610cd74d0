# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`failover` on a pair of fakes: hv1 is PASSIVE, hv2 was ACTIVE and is gone, or answers and is stopped."""

from __future__ import annotations

import contextlib
import pathlib
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._procedure import failover, recover, rollback, switch
from ansible_collections.hvm.pair.plugins.module_utils._procedure.failover import Words
from ansible_collections.hvm.pair.plugins.module_utils._zfs import rollback as trees

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_pair import BEFORE, NEW, OLD, ROOTS, SPARSE, STATE, Killed, Lab, broken, each_death

DEAD, GIVEN_UP = Words(dead_host="hv2"), Words(give_up="hv2")
FENCE = Words("hv2", fence=["ipmitool", "off", "-f", "/etc/hvm/bmc"])


def lost(lab: Lab) -> None:
    """hv2 does not answer; it was killed while it sent: one root of hv1 has a newer snapshot than the last complete set."""
    lab.be(lab.hv1, "PASSIVE", 5)
    lab.be(lab.hv2, "ACTIVE", 5, boot=BEFORE, clean=False)
    lab.hv2.answers = False
    lab.hv1.tree["ssd/a"]["snapshots"].append([NEW, "half a set", 99])
    lab.hv1.vm("web", priority=20)
    lab.hv1.vm("db", priority=1, autostart=True)
    lab.hv1.files = {failover.DEFINITIONS: ["db", "web"], "/vm/state": ["web"]}


def stopped(lab: Lab) -> None:
    """hv2 answers, and does not start any more."""
    lost(lab)
    lab.hv2.answers = True
    lab.hv2.logs = {"ssd/a": 1 << 20}


@pytest.fixture(name="lab")
def _lab(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab = Lab(tmp_path, monkeypatch)
    lost(lab)
    return lab


def run(lab: Lab, words: Words = DEAD, to: str = "last", check: bool = False) -> dict[str, t.Any]:
    return failover.apply(lab.hv1.config, to, words, check, Progress())


START = [
    *["hv1 address?", "hv1 writable", "hv1 mount", "hv1 devices", "hv1 record ACTIVE 6", "hv1 systemctl start"],
    *["hv1 address on", "hv1 bring db"],
]


# ---- the operator's word


@pytest.mark.parametrize(
    "words", [Words(), Words("hv1"), Words(give_up="hv2"), Words(fence=["off"]), Words("hv1", fence=["off"])]
)
def test_without_the_right_word_it_only_says_what_would_be_lost(lab: Lab, words: Words) -> None:
    with pytest.raises(Refused) as caught:
        run(lab, words)
    said = str(caught.value)
    assert "If hv2 is off, and what is shown may be lost, name it: hvm_dead_host=hv2." in said
    assert f"\nthe last complete set is {OLD}, " in said and "what was written after it would be lost" in said
    assert "\nVM db: loses " in said and "starts anew from its disks" in said
    assert "\nVM web: loses " in said and "goes on from its saved memory" in said
    assert "\ndataset rot/b: written since: unknown\ndataset ssd/a: written since: unknown" in said
    assert caught.value.details["lost"]["set"] == OLD
    assert caught.value.details["findings"]
    assert lab.effects() == []


def test_what_would_be_lost_is_told_also_when_nobody_can_look_into_the_set(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("names_with", "texts_with"):
        monkeypatch.setattr(failover.rollback, name, lambda *dummy: broken("the key is not loaded")())
    with pytest.raises(Refused) as caught:
        run(lab, Words())
    assert caught.value.details["lost"]["vms"] == {}
    assert "dataset ssd/a" in str(caught.value)


def test_what_was_being_sent_anew_is_told_with_its_way_back(lab: Lab) -> None:
    """A sync had set the replicas of web's disks aside, and was killed: the set has arrived on all the others."""
    place = "ssd/hvm-kept/a-web-20261101T000000Z"
    lab.hv1.create("ssd/a/web")  # half of it has come
    aside = {trees.KEPT: ["office", "local"], trees.KEPT_WAS: ["ssd/a/web", "local"], "mountpoint": ["/srv/web", "local"]}
    lab.hv1.aside = {
        place: {"type": "filesystem", "snapshots": [], "bookmarks": [], "props": aside},
        f"{place}/v": {"type": "volume", "snapshots": [], "bookmarks": [], "props": {"mountpoint": ["-", "-"]}},
    }
    disk = "<domain><devices><disk><source {}/></disk></devices></domain>"
    lab.hv1.files[failover.DEFINITIONS] += ["mail", "odd"]
    lab.hv1.xml = {
        "web": disk.format("file='/srv/web/x.qcow2'"), "mail": disk.format("dev='/dev/zvol/ssd/a/web/v'"),
        "db": disk.format("file='/srv/a/db.qcow2'"), "odd": "half a fi",
    }  # fmt: skip
    with pytest.raises(Refused) as caught:
        run(lab, Words())
    said = str(caught.value).splitlines()
    assert "VM web: cannot go on: its disks on ssd/a/web are not in the set" in said
    assert "VM mail: cannot go on: its disks on ssd/a/web/v are not in the set" in said
    assert any(line.startswith("VM db: loses ") for line in said) and any(line.startswith("VM odd: loses ") for line in said)
    assert said[-2:] == [
        (
            "dataset ssd/a/web: is not in the set; its last replica is kept, and comes back, once this host is ACTIVE, by: "
            f"zfs rename {place} ssd/a/web; zfs inherit readonly ssd/a/web; zfs inherit volmode ssd/a/web"
        ),
        "dataset ssd/a/web/v: is not in the set",
    ]
    lost_ = caught.value.details["lost"]
    assert lost_["missing"] == {"ssd/a/web": place, "ssd/a/web/v": f"{place}/v"}
    assert not lost_["vms"]["web"]["memory"]
    lab.hv1.held = [OLD]  # by a sync that ended without them: what was aside is not wanted any more
    with pytest.raises(Refused) as caught:
        run(lab, Words())
    assert "zfs rename" not in str(caught.value)


def test_the_operators_word_is_enough(lab: Lab) -> None:
    result = run(lab)
    effects = lab.effects()
    swap = [one for one in effects if one.startswith("hv1 zfs ")]
    assert effects == ["hv1 lock failover", *swap, *START, "hv1 announce", "hv1 hold"]
    assert lab.hv1.held == [result["set"]]  # by which a prune tells what may go while hv2 is dead
    assert len(swap) > 6
    assert lab.did[:3] == ["hv1 look", "hv1 lock failover", "hv1 look"]
    assert (result["do"], result["changed"], result["role"], result["epoch"]) == ("take over", True, "ACTIVE", 6)
    assert (result["set"], result["vms"], result["left"]) == (OLD, {"db": "db started"}, ["web"])
    assert result["sentence"] == f"hv1 becomes ACTIVE in epoch 6, with the set {OLD}: hv2 is off, by the operator's word"
    assert result["lost"]["vms"]["web"]["memory"]
    assert lab.hv1.sets() == [OLD] and any(name.startswith("ssd/a-hvm-kept-") for name in lab.hv1.tree)
    journal = lab.hv1.journal()
    facts = ("operation", "set", "epoch", "peer", "done", "outcome")
    assert [journal[key] for key in facts] == ["failover", OLD, 6, "hv2", True, "took over: hv1 is ACTIVE"]


def test_a_replica_that_is_at_its_last_set_stays_as_it_is(lab: Lab) -> None:
    lab.hv1.tree["ssd/a"]["snapshots"].pop()
    run(lab)
    assert lab.effects() == ["hv1 lock failover", *START, "hv1 announce"]


def test_half_a_stream_goes_before_its_dataset_is_in_use(lab: Lab) -> None:
    lab.hv1.tree["ssd/a"]["snapshots"].pop()
    lab.hv1.tree["ssd/a"]["props"]["receive_resume_token"] = ["1-abc", "-"]
    run(lab)
    assert lab.effects()[:3] == ["hv1 lock failover", "hv1 abort ssd/a", "hv1 address?"]


def test_the_second_run_changes_nothing(lab: Lab) -> None:
    run(lab)
    lab.again()
    result = run(lab)
    assert lab.did == ["hv1 look"]
    assert (result["changed"], result["sentence"]) == (False, "hv1 is ACTIVE in epoch 6: there is nothing to take over")
    assert result["lost"] == {}


def test_check_mode_has_the_plan_and_does_nothing(lab: Lab) -> None:
    result = run(lab, FENCE, check=True)
    assert lab.did == ["hv1 look"]
    vms = "start, by priority: the VMs with autostart=yes; from their state images where these fit"
    back = f"go back to {OLD}; what is newer here is kept"
    assert result["plan"] == ["fence hv2: ipmitool", back, *switch.start_plan(lab.hv1.config, 6, vms)]
    assert result["lost"]["set"] == OLD
    stopped(lab)
    assert run(lab, GIVEN_UP, check=True)["plan"][:2] == ["hv2 becomes DIVERGED: what it has of its own is held", back]
    lab.hv1.tree["ssd/a"]["snapshots"] = lab.hv1.tree["ssd/a"]["snapshots"][:1]
    assert back not in run(lab, GIVEN_UP, check=True)["plan"]
    assert lab.effects() == []


@pytest.mark.parametrize("words", [DEAD, Words(), GIVEN_UP])
def test_a_host_that_refuses_to_be_asked_is_not_off_whatever_word_was_given(lab: Lab, words: Words) -> None:
    """It may be ACTIVE with its VMs: an installation has reached one host only, or its record cannot be read."""
    lab.hv2.answers, lab.hv2.refuses = True, "its agent is not of the version that asks"
    with pytest.raises(Refused) as caught:
        run(lab, words)
    assert caught.value.findings[0].what == (
        "hv2 answers, so it is not off, but it cannot be asked: its agent is not of the version that asks"
    )
    assert "does not answer" not in str(caught.value) and "switch it off, then say so." in str(caught.value)
    assert lab.effects() == []
    lab.be(lab.hv1, "ACTIVE", 5, boot=BEFORE)  # nor is it for the other verb
    with pytest.raises(Refused, match="hv2 answers, so it is not off"):
        recover.apply(lab.hv1.config, "hv2", False, Progress())
    assert lab.effects() == []
    lab.hv2.answers = False  # that is what it takes
    assert recover.apply(lab.hv1.config, "hv2", False, Progress())["role"] == "ACTIVE"


def test_an_active_host_goes_on_beside_one_that_refuses_to_be_asked(lab: Lab) -> None:
    lab.hv2.answers, lab.hv2.refuses = True, "its agent is not of the version that asks"
    lab.be(lab.hv1, "ACTIVE", 5)
    lab.down(lab.hv1)
    assert recover.apply(lab.hv1.config, "", False, Progress())["role"] == "ACTIVE"


# ---- the fence


def test_a_fence_that_succeeds_comes_before_anything_else(lab: Lab) -> None:
    result = run(lab, FENCE)
    assert lab.effects()[:2] == ["hv1 lock failover", "hv1 ipmitool off"]
    assert lab.did.index("hv1 ipmitool off") < next(number for number, one in enumerate(lab.did) if "journal" in one)
    assert result["sentence"].endswith("hv2 was fenced")
    assert lab.hv1.role() == ("ACTIVE", 6)


def test_a_fence_that_fails_stops_it_whatever_was_named(lab: Lab) -> None:
    def fails() -> None:
        raise CommandError(["ipmitool"], 1, "", "no route to host")

    lab.faults["hv1 ipmitool off"] = fails
    with pytest.raises(Refused, match=r"the fence command failed, which proves nothing: 'ipmitool' failed .*no route to host"):
        run(lab, FENCE)
    assert lab.effects() == ["hv1 lock failover", "hv1 ipmitool off"]
    assert lab.hv1.role() == ("PASSIVE", 5)
    assert not (lab.hv1.place / "journal.json").exists()


@pytest.mark.parametrize("ends", [True, False])
def test_a_host_that_refuses_to_be_asked_is_fenced_and_has_to_be_silent_then(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """Its root disk fails, say: it answers, and cannot say more. To switch it off is what the command is for."""
    lab.hv2.answers, lab.hv2.refuses = True, "its agent is not of the version that asks"
    monkeypatch.setattr(failover, "OFF_TIMEOUT", 0.0)

    def off() -> None:
        lab.hv2.answers = not ends

    lab.faults["hv1 ipmitool off"] = off
    if ends:
        assert run(lab, FENCE)["sentence"].endswith("hv2 was fenced")
        assert lab.hv1.role() == ("ACTIVE", 6)
    else:
        with pytest.raises(Refused, match="proves nothing: it succeeded, and hv2 still answers"):
            run(lab, FENCE)
        assert lab.hv1.role() == ("PASSIVE", 5)
    assert lab.effects()[:2] == ["hv1 lock failover", "hv1 ipmitool off"]


def test_a_host_that_answers_is_not_fenced(lab: Lab) -> None:
    stopped(lab)
    run(lab, Words(give_up="hv2", fence=["ipmitool", "off"]))
    assert "hv1 ipmitool off" not in lab.did


# ---- a host that answers


def test_a_host_that_answers_stands_down_first(lab: Lab) -> None:
    stopped(lab)
    result = run(lab, GIVEN_UP)
    theirs = [
        *["writable", "mount", "devices", "unmount", "inert", "record ACTIVE 5"],  # its logs are replayed, and it says so
        *["snapshot crash", "hold", "record DIVERGED 5"],
    ]
    effects = lab.effects()
    assert effects[: 2 + len(theirs)] == ["hv1 lock failover", "hv2 lock failover", *(f"hv2 {one}" for one in theirs)]
    assert not [one for one in effects[2 + len(theirs) :] if one.startswith("hv2")]
    assert effects[-10:-2] == START
    assert lab.hv2.held == [lab.hv2.sets()[-1]]
    assert result["sentence"].endswith("hv2 answers, is stopped, and becomes DIVERGED")
    assert lab.hv1.record()["seen"] == 5


def test_a_host_that_was_set_up_anew_is_asked_for_nothing(lab: Lab) -> None:
    lab.hv2.answers = True
    (lab.hv2.place / "role.json").unlink()
    plan = run(lab, GIVEN_UP, check=True)["plan"]
    assert plan[0] == f"go back to {OLD}; what is newer here is kept"
    run(lab, GIVEN_UP)
    assert [one for one in lab.effects() if one.startswith("hv2")] == ["hv2 lock failover"]
    assert (lab.hv1.role(), lab.hv1.record()["seen"]) == (("ACTIVE", 6), 5)  # what it knew of the host that it takes over from


def test_it_is_asked_what_it_has_written_since(lab: Lab) -> None:
    stopped(lab)
    lab.hv2.write(4096)
    with pytest.raises(Refused, match="hv2 answers, and was ACTIVE last") as caught:
        run(lab, DEAD)
    assert "dataset ssd/a: written since: 4096 bytes" in str(caught.value)
    assert lab.effects() == []


def test_a_host_that_cannot_stand_down_leaves_this_one_passive(lab: Lab) -> None:
    stopped(lab)
    lab.faults["hv2 hold"] = broken("hv2 has no space left")
    with pytest.raises(HvmError, match="no space left"):
        run(lab, GIVEN_UP)
    assert (lab.hv1.role(), lab.hv1.gate(), lab.hv2.role()) == (("PASSIVE", 5), False, ("ACTIVE", 5))
    assert "hv1 address?" not in lab.did


def test_one_that_came_up_meanwhile_is_seen_under_the_locks(lab: Lab) -> None:
    stopped(lab)
    lab.faults["hv1 lock failover"] = lambda: lab.be(lab.hv2, "ACTIVE", 6)
    with pytest.raises(Refused, match="hv2 answers and is ACTIVE"):
        run(lab, GIVEN_UP)
    assert lab.effects() == ["hv1 lock failover", "hv2 lock failover"]


def test_one_that_falls_silent_was_only_given_up(lab: Lab) -> None:
    stopped(lab)

    def cut() -> None:
        lab.hv2.answers = False

    lab.faults["hv1 lock failover"] = cut
    with pytest.raises(HvmError, match="the connection to hv2 ended"):
        run(lab, GIVEN_UP)
    assert lab.effects() == ["hv1 lock failover"]
    lab.again()
    with pytest.raises(Refused, match="hv2 does not answer, and may still be running"):
        run(lab, GIVEN_UP)


# ---- which set


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("20200101T000000Z", "there is no snapshot set 20200101T000000Z of the pair office on this host"),
        ("last_state", r"there is no complete snapshot set with VM states \(B\) of the pair office on this host"),
        (NEW, f"the set {NEW} is not complete: rot/b did exist then and has no such snapshot"),
    ],
)
def test_a_set_that_cannot_be_had_is_refused_with_the_reason(lab: Lab, to: str, why: str) -> None:
    with pytest.raises(Refused, match=f"{why}. There is nothing to take over with.") as caught:
        run(lab, DEAD, to)
    assert caught.value.details["lost"] == {}
    assert lab.effects() == []


@pytest.mark.parametrize("when", ["while it waits", "before the locks"])
def test_a_set_that_is_complete_by_now_is_the_last(lab: Lab, when: str) -> None:
    """The other host is silent, and a stream of it still came to its end here."""
    lab.hv1.tree["ssd/a"]["snapshots"].pop()
    with lab.on(lab.hv1):
        lock = operation.Lock()
        lock.take("sync", "bob")
    lab.again()

    def end() -> None:
        lab.snapshot(NEW, lab.hv1)
        lock.release()

    if when == "before the locks":
        lock.release()
        lab.faults["hv1 lock failover"] = end
    lab.waits = iter([end])
    result = run(lab)
    assert (result["set"], result["lost"]["set"], lab.hv1.sets()) == (NEW, NEW, [OLD, NEW])
    assert not [one for one in lab.did if one.startswith("hv1 zfs")]


def test_what_is_gone_on_the_other_host_keeps_no_verified_set_from_being_the_last(lab: Lab) -> None:
    """A VM was removed there with its dataset, and its replica is left here, as ever."""
    for root in ("ssd/a", "rot/b"):
        lab.hv1.tree[root]["snapshots"] = [[OLD, f"{OLD} {root}", 11], [NEW, f"{NEW} {root}", 99]]
    lab.hv1.create("ssd/a/gone")
    lab.hv1.tree["ssd/a/gone"].update(snapshots=[[OLD, "gone", 11]])
    with pytest.raises(Refused, match=f"{NEW} is not complete: ssd/a/gone did exist then"):
        run(lab, DEAD, NEW)
    lab.hv1.held = [NEW]
    for dies_at in (14, None):  # the ledger goes when the way back begins
        lab.again()
        lab.dies_at = dies_at
        with pytest.raises(Killed) if dies_at else contextlib.nullcontext():
            result = run(lab)
    assert (result["set"], lab.hv1.sets(), lab.hv1.role()[0]) == (NEW, [OLD, NEW], "ACTIVE")
    assert "ssd/a/gone" not in lab.hv1.tree
    (aside,) = (name for name in lab.hv1.tree if name.endswith("/gone"))
    assert aside.startswith("ssd/a-hvm-kept-") and lab.hv1.sets(aside) == [OLD]


def test_a_set_beside_a_way_back_that_did_not_end_is_refused(lab: Lab) -> None:
    lab.hv1.tree["ssd/a"]["snapshots"].pop()
    lab.snapshot(STATE, lab.hv1)
    lab.dies_at = 18
    with pytest.raises(Killed):
        run(lab, DEAD, OLD)
    lab.again()
    with pytest.raises(Refused, match=f"the way back to {OLD} did not end, and comes first: hvm_failover_to=last goes on"):
        run(lab, DEAD, "last_state")


def test_an_older_set_on_request(lab: Lab) -> None:
    lab.hv1.tree["ssd/a"]["snapshots"].pop()
    lab.snapshot(STATE, lab.hv1)
    assert run(lab, DEAD, OLD.split("_")[1])["set"] == OLD
    assert lab.hv1.sets() == [OLD]


@pytest.mark.parametrize(("name", "restored"), [(STATE, True), ("hvm_20261123T120000Z_office_C", False)])
def test_from_a_set_with_vm_states_all_of_them_go_on(lab: Lab, name: str, restored: bool) -> None:
    lab.snapshot(name, lab.hv1)
    lab.hv1.images = {"web"}
    result = run(lab)
    assert result["set"] == name
    assert result["vms"] == {"db": "db started", **({"web": "web restored"} if restored else {})}


# ---- what may go wrong


def test_vms_of_a_migration_that_was_cut_off_run_too(lab: Lab) -> None:
    lab.begun(lab.hv1, "migrate_secure", "sync", vms=["web"], epoch=6)
    result = run(lab)
    assert (result["epoch"], set(result["vms"])) == (7, {"db", "web"})  # above what may have been recorded there


def test_a_vm_that_fails_fails_it_although_it_is_active(lab: Lab) -> None:
    lab.faults["hv1 bring db"] = broken("QEMU says no")
    with pytest.raises(HvmError, match="hv1 is ACTIVE, but not everything runs: db: QEMU says no"):
        run(lab)
    assert (lab.hv1.role(), lab.hv1.pending()) == (("ACTIVE", 6), "")


def test_a_holder_of_the_address_elsewhere_leaves_it_passive(lab: Lab) -> None:
    lab.faults["hv1 address?"] = broken("192.0.2.10 is in use", mac="52:54:00:00:00:01")
    with pytest.raises(HvmError, match="is in use"):
        run(lab)
    assert (lab.hv1.role(), lab.hv1.gate(), lab.hv1.daemon) == (("PASSIVE", 5), False, False)


@pytest.mark.parametrize(("prepare", "words"), [(lost, DEAD), (stopped, GIVEN_UP)])
def test_killed_at_any_step_the_next_run_ends_the_same(prepare: t.Any, words: Words) -> None:
    deaths = 0
    for lab in each_death(prepare, lambda lab: run(lab, words)):
        deaths += 1
        diverged = lab.hv2.role()[0] == "DIVERGED"
        assert not lab.hv1.gate() or diverged or not lab.hv2.answers
        if diverged:
            assert lab.hv2.held and lab.hv2.inert()
        if lab.hv1.role()[0] == "PASSIVE":
            run(lab, words)
            epoch = lab.hv1.role()[1]
            assert epoch in (6, 7)  # the one that was begun counts as used
            lab.hv1.record()
        else:
            recover.apply(lab.hv1.config, "", False, Progress())
        lab.again()
        assert (lab.hv1.role()[0], lab.hv1.gate(), lab.hv1.pending()) == ("ACTIVE", True, "")
        assert lab.hv1.running() == ["db"] and lab.hv1.address
        assert [len(lab.hv1.sets(root)) for root in ("ssd/a", "rot/b")] == [1, 1]
        assert len([name for name in lab.hv1.tree if "-hvm-kept-" in name]) == 2
        assert lab.hv2.role()[0] == ("DIVERGED" if words is GIVEN_UP else "ACTIVE")
    assert deaths * SPARSE > 30


def test_killed_at_any_step_while_the_other_one_goes_on_it_leaves_no_swap_for_a_later_failover() -> None:
    """hv2 was only cut off, and runs. The mark of a swap would be gone on with months later, whatever set is named then."""
    cut = 0
    for lab in each_death(lost, run):
        if lab.hv1.role()[0] == "ACTIVE":
            continue
        swap = trees.unfinished(lab.hv1.tree, ROOTS)
        lab.hv2.answers = True
        lab.be(lab.hv2, "ACTIVE", 7)
        plan = recover.apply(lab.hv1.config, "", True, Progress())["plan"]
        if swap:
            cut += 1
            with lab.on(lab.hv1), pytest.raises(Refused, match=rf"the rollback of {swap.stamp} is half done on this host"):
                rollback.acknowledge(lab.hv1.config, False)
            assert plan[0] == f"end the rollback of {swap.stamp}, which was cut off; what is newer is kept"
        recover.apply(lab.hv1.config, "", False, Progress())
        assert trees.unfinished(lab.hv1.tree, ROOTS) is None and {*ROOTS} <= {*lab.hv1.tree}
        assert lab.hv1.role()[0] == "PASSIVE" and lab.hv1.inert()
        assert not (lab.hv1.place / "journal.json").exists() or lab.hv1.pending() == ""
        assert recover.apply(lab.hv1.config, "", False, Progress())["do"] == ""
    assert cut * SPARSE > 5


def test_what_has_left_no_swap_is_acknowledged(lab: Lab) -> None:
    lab.begun(lab.hv1, "failover", "back to the set", vms=[], epoch=6)
    assert rollback.acknowledge(lab.hv1.config, False)["changed"] and lab.hv1.pending() == ""


def test_an_interrupted_way_back_is_gone_on_with_to_the_set_that_it_was_for(lab: Lab) -> None:
    lab.hv1.tree["ssd/a"]["snapshots"].pop()
    lab.snapshot(STATE, lab.hv1)
    with pytest.raises(Killed):
        lab.dies_at = 18
        run(lab, DEAD, OLD)
    assert [name[:16] for name in lab.hv1.tree if "-hvm-kept-" in name] == ["ssd/a-hvm-kept-2"]  # one of the roots was swapped
    lab.again()
    result = run(lab)  # "last" is the one that was begun
    assert result["set"] == OLD and lab.hv1.sets() == [OLD]


@pytest.mark.parametrize("do", ["rollback", "undo"])
def test_a_replica_that_was_following_a_rollback_when_the_other_host_was_lost_takes_over(do: str) -> None:
    def followed(lab: Lab) -> None:
        lab.hv1.tree["ssd/a"]["snapshots"].pop()
        lab.snapshot(NEW, lab.hv1)
        if do == "undo":
            swap(lab, "rollback")

    def swap(lab: Lab, do: str) -> None:
        stamps = {"rollback": ("20261124T000000Z", ""), "undo": ("20261124T000000Z", "20261125T000000Z")}[do]
        rollback.swap(lab.hv1.config, {"do": do, "set": OLD, "stamp": stamps[0], "aside": stamps[1]}, lambda dummy: None)

    def prepare(lab: Lab) -> None:
        lost(lab)
        followed(lab)
        lab.again()

    cut = 0
    for lab in each_death(prepare, lambda lab: swap(lab, do)):
        if not (lab.hv1.place / "journal.json").exists() or lab.hv1.pending().partition(":")[0] != do:
            continue
        cut += bool(trees.unfinished(lab.hv1.tree, ROOTS))
        assert lab.hv1.journal()["remedy"].startswith("On hv2: hvm_zfs_rollback state=followed goes on with it.")
        assert run(lab, check=True)["set"] == run(lab)["set"]
        assert lab.hv1.role()[0] == "ACTIVE" and trees.unfinished(lab.hv1.tree, ROOTS) is None
        assert len({tuple(lab.hv1.sets(root)) for root in ROOTS}) == 1 and lab.hv1.pending() == ""
    assert cut * SPARSE > 5


def test_recover_does_not_go_on_with_it_while_the_other_one_is_silent(lab: Lab) -> None:
    lab.begun(lab.hv1, "failover", "back to the set", vms=[], epoch=6)
    with pytest.raises(Refused, match=r"hvm\.pair\.failover goes on with it"):
        recover.apply(lab.hv1.config, "hv2", False, Progress())
    assert lab.effects() == []


def test_nobody_works_beside_it(lab: Lab) -> None:
    with lab.on(lab.hv1), operation.Lock().held("sync", "bob"):
        lab.again()
        with pytest.raises(Refused, match="another operation is running: sync by bob"):
            run(lab)
    assert lab.effects() == []
