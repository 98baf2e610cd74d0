# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`rejoin` on a pair of fakes, both sides: hv1 goes on, hv2 comes back."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._procedure import comeback, rejoin, switch
from ansible_collections.hvm.pair.plugins.module_utils._procedure.rejoin import Words
from ansible_collections.hvm.pair.plugins.module_utils._zfs import kept as put_aside
from ansible_collections.hvm.pair.plugins.module_utils._zfs import rollback as trees

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_pair import BEFORE, NEW, OLD, ROOTS, SPARSE, Killed, Lab, broken, each_death

NONE, KEEP, DISCARD, WINNER = Words(), Words("keep"), Words("discard", "hv2"), Words(winner="hv1")


@pytest.fixture(name="lab")
def _lab(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab = Lab(tmp_path, monkeypatch)
    took_over(lab)
    return lab


def run(lab: Lab, words: Words = NONE, check: bool = False) -> dict[str, t.Any]:
    return rejoin.apply(lab.hv1.config, words, check, Progress())


def took_over(lab: Lab, epoch: int = 4) -> None:
    """hv1 is ACTIVE in epoch 5; hv2 was in 4, stopped in good order, and has been rebooted since."""
    lab.be(lab.hv1, "ACTIVE", 5, seen=4)
    lab.be(lab.hv2, "ACTIVE", epoch, boot=BEFORE)


def crashed(lab: Lab) -> None:
    """The same, but the power went; what its VMs had written last is in an intent log."""
    lab.be(lab.hv1, "ACTIVE", 5, seen=4)
    lab.be(lab.hv2, "ACTIVE", 4, boot=BEFORE, clean=False)
    lab.hv2.logs = {"ssd/a": 1 << 20}


def diverged(lab: Lab) -> None:
    """The same, later: its data are in a set of its own, and held."""
    lab.be(lab.hv1, "ACTIVE", 5, seen=4)
    lab.be(lab.hv2, "DIVERGED", 4)
    lab.snapshot(NEW, lab.hv2)


LOCKED = ["hv1 lock rejoin", "hv2 lock rejoin"]
REPLAYED = ["hv2 writable", "hv2 mount", "hv2 devices", "hv2 unmount", "hv2 inert", "hv2 record ACTIVE 4"]
DIVERGED = ["hv2 snapshot crash", "hv2 hold", "hv2 record DIVERGED 4"]


def swapped(lab: Lab) -> list[str]:
    found = [one for one in lab.did if one.startswith("hv2 zfs ")]
    assert len(found) > 6
    return found


def kept(lab: Lab) -> list[str]:
    return sorted(name for name in lab.hv2.tree if "-hvm-kept-" in name)


def in_step(lab: Lab) -> bool:
    """An increment can be sent to hv2, and it says that it is a replica."""
    mine, theirs = (trees.in_use(host.tree, ROOTS) for host in (lab.hv1, lab.hv2))
    fits = not trees.fits(mine, theirs) and all(entry["props"].get("written", ["0"])[0] == "0" for entry in theirs.values())
    return bool(fits and lab.hv2.inert() and not lab.hv2.gate() and lab.hv2.role() == ("PASSIVE", lab.hv1.role()[1]))


# ---- it has nothing of its own


def test_a_host_with_nothing_of_its_own_is_passive_again(lab: Lab) -> None:
    result = run(lab)
    look = ["hv2 look", "hv1 look"]
    assert lab.did == [*look, *LOCKED, *look, "hv2 record PASSIVE 5"]
    assert (result["do"], result["changed"], result["role"], result["epoch"]) == ("join", True, "ACTIVE", 5)
    assert result["own"] == {"snapshots": {}, "written": {}, "doubt": "", "sentence": "", "overlays": {}}
    assert result["plan"] == ["hv2 becomes PASSIVE in epoch 5"]
    assert in_step(lab)
    assert lab.hv2.record()["reason"] == "came back: hv1 is ACTIVE"
    lab.again()
    again = run(lab)
    assert lab.did == look
    assert (again["do"], again["changed"], again["plan"]) == ("", False, [])


def test_it_is_inert_and_without_the_address_before_it_is_recorded(lab: Lab) -> None:
    lab.up(lab.hv2)
    lab.hv2.daemon = False
    run(lab)
    assert lab.effects() == [*LOCKED, "hv2 unmount", "hv2 inert", "hv2 address off", "hv2 record PASSIVE 5"]
    assert in_step(lab)


def test_what_may_be_in_its_logs_is_looked_at_before_anybody_is_asked(lab: Lab) -> None:
    crashed(lab)
    lab.hv2.logs = {}
    assert run(lab, check=True)["do"] == "diverge"  # it cannot know
    assert lab.effects() == []
    result = run(lab)
    assert lab.effects() == [*LOCKED, *REPLAYED, "hv2 record PASSIVE 5"]
    assert result["do"] == "join" and in_step(lab)


def test_few_bytes_of_a_guest_are_its_own_too(lab: Lab) -> None:
    """Seen on the lab: a small disk's writes are fewer than what an import may show as written. A stream of them tells."""
    lab.hv2.write(4096)
    result = run(lab)
    assert (result["do"], result["own"]["written"]) == ("diverge", {"ssd/a": 4096})


def test_few_bytes_of_nobody_are_not(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(put_aside, "untouched", lambda *dummy: True)
    lab.hv2.write(1024)
    result = run(lab)
    assert (result["do"], result["own"]["written"]) == ("join", {})


def test_a_later_epoch_is_this_hosts_before_the_other_one_hears_of_it(lab: Lab) -> None:
    took_over(lab, epoch=9)
    assert run(lab)["epoch"] == 9
    assert lab.effects() == [*LOCKED, "hv1 record ACTIVE 9", "hv2 record PASSIVE 9"]
    assert lab.hv1.record()["reason"] == "so"


def test_a_host_that_was_stopped_stays_so_in_a_later_epoch(lab: Lab) -> None:
    took_over(lab, epoch=9)
    lab.be(lab.hv1, "ACTIVE", 5, seen=4)
    lab.down(lab.hv1)
    before = lab.hv1.record()
    assert run(lab)["epoch"] == 9
    assert lab.hv1.record() == {**before, "epoch": 9} and before["clean"]
    assert not lab.hv1.gate()


# ---- it has, and nobody has decided


def test_what_it_has_of_its_own_is_in_a_set_and_held_before_it_says_so(lab: Lab) -> None:
    crashed(lab)
    result = run(lab)
    assert lab.effects() == [*LOCKED, *REPLAYED, *DIVERGED]
    assert (result["do"], result["changed"], result["epoch"]) == ("diverge", True, 5)
    assert result["own"]["written"] == {"ssd/a": 1 << 20} and result["own"]["doubt"] == ""
    assert result["own"]["since"] == {"set": OLD, "written": {"ssd/a": 1 << 20, "rot/b": 0}}
    assert result["plan"] == ["snapshot of what hv2 has of its own, held there", "hv2 becomes DIVERGED"]
    assert lab.hv2.held == lab.hv2.sets()[1:] and len(lab.hv2.held) == 1
    assert lab.hv2.record()["reason"] == "hv1 goes on without it"
    lab.again()
    again = run(lab)
    assert (again["do"], again["changed"]) == ("", False)
    assert lab.effects() == []
    assert again["own"]["snapshots"] == {"ssd/a": lab.hv2.held, "rot/b": lab.hv2.held}
    assert "It is held until somebody decides" in again["sentence"]


def test_a_root_that_is_between_two_names_has_no_set_to_hold(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A swap that was cut off: the host says DIVERGED all the same, and its way back ends the swap."""
    del lab.hv2.tree["rot/b"]
    lab.at = lab.hv2
    monkeypatch.setattr(comeback, "refuse_if_up", lambda: None)
    done = comeback.become_diverged(lab.hv2.config, True, "cut")
    assert lab.hv2.held == [done["set"]] and lab.did[-1].startswith("hv2 record DIVERGED")


def test_check_mode_decides_and_does_nothing(lab: Lab) -> None:
    diverged(lab)
    for words, plan in ((KEEP, "kept beside"), (DISCARD, "destroyed")):
        result = run(lab, words, check=True)
        assert result["plan"] == [f"hv2 goes back to {OLD}; what is newer there is {plan}", "hv2 becomes PASSIVE in epoch 5"]
        assert (result["do"], result["changed"]) == (words.choice, True)
    assert lab.effects() == []


# ---- kept, or destroyed


def test_kept_it_goes_aside_and_the_host_is_passive_last(lab: Lab) -> None:
    diverged(lab)
    result = run(lab, KEEP)
    assert lab.effects() == [*LOCKED, *swapped(lab), "hv2 record PASSIVE 5"]
    assert lab.did[-1] == "hv2 journal ended"
    assert sorted(result["kept"]) == kept(lab) and len(kept(lab)) == 2
    assert (result["destroyed"], in_step(lab)) == ({}, True)
    assert [len(trees.set_names(lab.hv2.tree, [name], "office")) for name in kept(lab)] == [1, 1]
    lab.again()
    assert not run(lab, KEEP)["changed"] and lab.effects() == []


def test_kept_at_once_it_stands_down_first(lab: Lab) -> None:
    crashed(lab)
    result = run(lab, KEEP)
    assert lab.effects() == [*LOCKED, *REPLAYED, *DIVERGED, *swapped(lab), "hv2 record PASSIVE 5"]
    assert in_step(lab)
    (top,) = [name for name in kept(lab) if name.startswith("ssd/a")]
    assert [snap[0] for snap in lab.hv2.tree[top]["snapshots"]] == lab.hv2.held  # what it had written lies in there
    assert top in result["kept"]


def test_a_passive_hosts_own_is_kept_without_a_question(lab: Lab) -> None:
    lab.be(lab.hv2, "PASSIVE", 5)
    lab.hv2.write()
    result = run(lab)
    assert (result["do"], len(kept(lab)), in_step(lab)) == ("keep", 2, True)
    assert not [one for one in lab.did if "DIVERGED" in one]


def test_destroyed_is_what_this_has_put_aside_and_nothing_else(lab: Lab) -> None:
    diverged(lab)
    run(lab, KEEP)
    before = kept(lab)
    lab.again()
    diverged(lab)
    result = run(lab, DISCARD)
    destroyed = [one for one in lab.did if one.startswith("hv2 destroy ")]
    assert lab.effects() == [*LOCKED, *swapped(lab), *destroyed, "hv2 record PASSIVE 5"]
    assert kept(lab) == before
    assert sorted(f"hv2 destroy {name}" for name in result["destroyed"]) == sorted(destroyed)
    assert not {*before} & {*result["destroyed"]} and len(destroyed) == 2
    assert (result["kept"], in_step(lab)) == ([], True)


@pytest.mark.parametrize("is_begun", [True, False])
@pytest.mark.parametrize("words", [KEEP, DISCARD])
def test_a_rollback_that_was_cut_off_there_is_ended_and_what_it_put_aside_is_nobodys_to_destroy(
    tmp_path: pathlib.Path, words: Words, is_begun: bool
) -> None:
    """hv1 has taken over meanwhile. Also when the way back itself is cut off."""
    stamp = "20261124T000000Z"

    def prepare(lab: Lab) -> None:
        diverged(lab)
        with lab.on(lab.hv2):
            lab.begun(lab.hv2, "rollback", "begin", stamp=stamp)
            steps = trees.plan(lab.hv2.tree, ROOTS, "office", OLD, stamp).steps
            renamed = [number for number, step in enumerate(steps) if step.do == "rename"]
            put_aside.take(steps[: renamed[-1] if is_begun else 2], lambda dummy: None)  # of one root a tree is away; of none
        lab.again()

    for lab in each_death(prepare, lambda lab: run(lab, words)):
        run(lab, words)
        assert in_step(lab) and lab.hv2.pending() == ""
        assert kept(lab) == sorted(trees.kept(root, stamp) for root in ROOTS)


@pytest.mark.parametrize("words", [Words("discard"), Words("discard", "hv1")])
def test_nothing_is_destroyed_without_the_name(lab: Lab, words: Words) -> None:
    diverged(lab)
    with pytest.raises(Refused, match=r"To destroy what only hv2 has: hvm_discard=hv2\."):
        run(lab, words)
    assert lab.effects() == []


def test_without_a_set_in_common_it_stays_where_it_is_until_it_is_sent_anew(lab: Lab) -> None:
    diverged(lab)
    for host in (lab.hv1, lab.hv2):
        for root in ROOTS:
            for snap in host.tree[root]["snapshots"]:
                snap[1] += f" on {host.name}"
    with pytest.raises(Refused, match="hv2 has no snapshot set in common with this host"):
        run(lab, DISCARD)
    assert not [one for one in lab.effects() if "destroy" in one or "record" in one]
    lab.again()
    result = run(lab, KEEP)
    assert result["own"]["since"] == {"set": "", "written": {}}
    assert [text for text in result["warnings"] if "no snapshot set in common" in text]
    assert lab.effects() == [*LOCKED, "hv2 record PASSIVE 5"]
    assert lab.hv2.sets() == [OLD, NEW]
    lab.again()
    again = run(lab)
    assert (again["changed"], again["do"], again["plan"]) == (False, "", [])
    assert [text for text in again["warnings"] if "no snapshot set in common" in text]
    assert not [one for one in lab.effects() if "lock" not in one]


def test_a_dataset_of_its_own_goes_aside_with_the_rest(lab: Lab) -> None:
    lab.hv2.create("ssd/a/new")
    run(lab, KEEP)
    assert lab.effects()[2:5] == ["hv2 snapshot crash", "hv2 hold", "hv2 record DIVERGED 4"]
    assert in_step(lab) and "ssd/a/new" not in lab.hv2.tree
    assert len([name for name in kept(lab) if name.endswith("/new")]) == 1


def test_a_dataset_that_only_a_replica_has_stays_where_it_is(lab: Lab) -> None:
    lab.be(lab.hv2, "PASSIVE", 5)
    lab.hv2.create("ssd/a/new")
    for check in (True, False):
        result = run(lab, check=check)
        assert (result["changed"], result["do"]) == (False, "")
    assert result["sentence"] == "hv2 is PASSIVE; what only it has stays where it is: 1048576 bytes written since on ssd/a/new"
    assert not [one for one in lab.effects() if "lock" not in one]
    lab.hv2.tree["rot/b"]["props"]["readonly"] = ["off", "local"]
    lab.again()
    assert run(lab)["changed"] and lab.hv2.inert()


# ---- not now


def test_a_host_that_does_not_answer_comes_back_later(lab: Lab) -> None:
    lab.hv2.answers = False
    with pytest.raises(Refused, match=r"hv2 does not answer \(ssh to hv2 ended with 255\)"):
        run(lab)
    assert lab.effects() == []


@pytest.mark.parametrize("words", [KEEP, DISCARD])
def test_it_is_refused_while_anything_runs_there(lab: Lab, words: Words) -> None:
    diverged(lab)
    lab.faults["hv2 lock rejoin"] = lambda: lab.hv2.processes.append("web")
    with pytest.raises(Refused, match="hv2: VMs run here although it is DIVERGED: web"):
        run(lab, words)
    assert not [one for one in lab.effects() if "lock" not in one]
    lab.again()
    lab.hv2.processes, lab.hv2.daemon = [], True
    with pytest.raises(Refused, match="hv2: its hypervisor is running although it is DIVERGED"):
        run(lab, words)
    assert lab.effects() == []


def test_what_starts_there_at_the_last_moment_is_seen_by_that_host_itself(lab: Lab) -> None:
    diverged(lab)
    looked: list[int] = []

    def look() -> None:
        looked.append(1)
        if len(looked) == 2:
            lab.patch.setattr(comeback, "qemu_processes", lambda: ["web"])

    lab.faults["hv2 look"] = look
    with pytest.raises(HvmError, match="VMs run here: web"):
        run(lab, KEEP)
    assert lab.effects() == LOCKED
    assert lab.hv2.role() == ("DIVERGED", 4)


# ---- turned round


def wins(lab: Lab) -> None:
    """hv1 has the better data; hv2 is ACTIVE, and was stopped for this."""
    lab.be(lab.hv1, "DIVERGED", 4)
    lab.be(lab.hv2, "ACTIVE", 5)
    lab.down(lab.hv2)
    for root in ROOTS:
        lab.hv2.tree[root]["props"]["readonly"] = ["on", "local"]
    lab.snapshot(NEW, lab.hv2)
    lab.hv1.vm("web", autostart=True)


STARTED = [
    *["hv1 address?", "hv1 writable", "hv1 mount", "hv1 devices", "hv1 record ACTIVE 6", "hv1 systemctl start"],
    *["hv1 address on", "hv1 bring web", "hv1 announce"],
]


def test_a_replica_that_has_nothing_of_its_own_stays_one(lab: Lab) -> None:
    """Should the winner be lost, it fails over to a complete set; a DIVERGED one would go on from what a sync has half done."""
    lab.be(lab.hv1, "DIVERGED", 5)
    lab.be(lab.hv2, "PASSIVE", 5)
    result = run(lab, WINNER)
    assert result["sentence"].endswith("hv2 (PASSIVE in epoch 5) becomes DIVERGED, if it has anything of its own")
    assert (lab.hv1.role(), lab.hv2.role()) == (("ACTIVE", 6), ("PASSIVE", 5))
    lab.be(lab.hv1, "DIVERGED", 6)
    lab.snapshot(NEW, lab.hv2)
    run(lab, WINNER)
    assert lab.hv2.role()[0] == "DIVERGED"


def test_the_winner_starts_when_the_other_one_has_stood_down(lab: Lab) -> None:
    wins(lab)
    result = run(lab, WINNER)
    stood_down = ["hv2 snapshot crash", "hv2 hold", "hv2 record DIVERGED 5"]
    assert lab.effects() == [*LOCKED, *stood_down, *STARTED]
    assert next(one for one in lab.did if "journal" in one) == "hv1 journal rejoin: the other stands down"
    assert (result["do"], result["role"], result["epoch"], result["vms"]) == ("win", "ACTIVE", 6, {"web": "web started"})
    assert (lab.hv1.record()["seen"], lab.hv1.pending()) == (5, "")
    assert result["plan"][0] == "hv2 becomes DIVERGED: what it has of its own is held"
    assert result["plan"][1:] == switch.start_plan(lab.hv1.config, 6, result["plan"][-1])
    lab.again()
    assert not run(lab, WINNER)["changed"] and lab.effects() == []


@pytest.mark.parametrize("written", [0, 1 << 20])
def test_a_host_that_is_diverged_gets_another_snapshot_only_when_it_was_written_to(lab: Lab, written: int) -> None:
    lab.be(lab.hv1, "ACTIVE", 5, boot=BEFORE)
    lab.be(lab.hv2, "DIVERGED", 4)
    lab.snapshot(NEW, lab.hv2)
    lab.hv2.write(written)
    run(lab, WINNER)
    assert ("hv2 snapshot crash" in lab.did, lab.hv2.role()[0]) == (bool(written), "DIVERGED")


def test_the_winner_does_not_start_beside_a_host_that_runs(lab: Lab) -> None:
    wins(lab)
    lab.up(lab.hv2)
    with pytest.raises(Refused, match="hv2 is ACTIVE and runs"):
        run(lab, WINNER)
    assert lab.effects() == []


def test_the_winner_does_not_start_when_the_other_one_cannot_stand_down(lab: Lab) -> None:
    wins(lab)
    lab.faults["hv2 record DIVERGED 5"] = broken("no space left")
    with pytest.raises(HvmError, match="no space left"):
        run(lab, WINNER)
    assert (lab.hv1.role(), lab.hv1.gate()) == (("DIVERGED", 4), False)
    lab.again()
    lab.faults.clear()
    assert run(lab, WINNER)["role"] == "ACTIVE"


def test_a_winner_that_does_not_start_is_as_it_was_and_tries_again(lab: Lab) -> None:
    wins(lab)
    lab.faults["hv1 mount"] = broken("/srv is not empty")
    with pytest.raises(HvmError, match=r"hv1 does not start: /srv is not empty\. Mend the reason, then run this again\."):
        run(lab, WINNER)
    assert (lab.hv1.role(), lab.hv1.gate(), lab.hv1.inert()) == (("DIVERGED", 4), False, True)
    lab.again()
    lab.faults.clear()
    run(lab, WINNER)
    assert (lab.hv1.role()[0], lab.hv1.running(), lab.hv1.pending()) == ("ACTIVE", ["web"], "")


def test_a_winner_whose_vm_fails_is_active_and_says_so(lab: Lab) -> None:
    wins(lab)
    lab.faults["hv1 bring web"] = broken("QEMU says no")
    with pytest.raises(HvmError, match="hv1 is ACTIVE, but not everything runs: web: QEMU says no"):
        run(lab, WINNER)
    assert (lab.hv1.role(), lab.hv1.pending()) == (("ACTIVE", 6), "")


def test_the_winner_goes_on_alone_when_the_other_one_is_lost(lab: Lab) -> None:
    wins(lab)
    lab.hv2.answers = False
    alone = Words(winner="hv1", dead_host="hv2")
    for words in (NONE, WINNER, Words(dead_host="hv2")):
        with pytest.raises(Refused, match=r"hvm_winner=hv1 hvm_dead_host=hv2\."):
            run(lab, words)
    plan = run(lab, alone, check=True)["plan"]
    assert plan == switch.start_plan(lab.hv1.config, 5, plan[-1]) and lab.effects() == []
    result = run(lab, alone)
    assert lab.effects() == ["hv1 lock rejoin", *(one.replace("ACTIVE 6", "ACTIVE 5") for one in STARTED)]
    assert (result["do"], result["role"], result["epoch"], lab.hv1.pending()) == ("win", "ACTIVE", 5, "")
    assert result["sentence"].endswith("it becomes ACTIVE in epoch 5, and hv2 is off")


def test_check_mode_of_a_winner(lab: Lab) -> None:
    wins(lab)
    result = run(lab, WINNER, check=True)
    assert (result["do"], lab.effects()) == ("win", [])
    assert result["plan"][-1].startswith("start, by priority: ")


# ---- killed at any step


def safe(lab: Lab) -> None:
    """What holds at any moment."""
    assert not (lab.hv1.gate() and lab.hv2.gate())
    role, epoch = lab.hv2.role()
    own = comeback.recovery.own(
        {"role": lab.hv2.record()}, trees.in_use(lab.hv2.tree, ROOTS), trees.in_use(lab.hv1.tree, ROOTS)
    )
    if role == "DIVERGED":
        assert not own.written and its_data_are_there(lab)
    if role == "PASSIVE":
        assert not own and in_step(lab)
    if lab.hv1.role()[0] == "ACTIVE":
        assert epoch <= lab.hv1.role()[1]


def its_data_are_there(lab: Lab) -> bool:
    snapshots = [snap for name, entry in lab.hv2.tree.items() if name.startswith("ssd/a") for snap in entry["snapshots"]]
    return len(snapshots) > 1


@pytest.mark.parametrize("prepare", [crashed, diverged])
def test_killed_at_any_step_what_it_has_is_kept_all_the_same(prepare: t.Any) -> None:
    deaths = 0
    for lab in each_death(prepare, lambda lab: run(lab, KEEP)):
        deaths += 1
        safe(lab)
        run(lab, KEEP)
        assert in_step(lab) and its_data_are_there(lab) and len(kept(lab)) == 2
        assert not [name for name in lab.hv2.tree if "-hvm-rollback-" in name]
        assert not (lab.hv2.place / "journal.json").exists() or lab.hv2.pending() == ""
        lab.again()
        assert not run(lab, KEEP)["changed"]
    assert deaths * SPARSE > 20


def test_killed_at_any_step_what_was_not_destroyed_is_named() -> None:
    left = 0
    for lab in each_death(diverged, lambda lab: run(lab, DISCARD)):
        if not [one for one in lab.before if "destroy" in one]:
            safe(lab)
        passive = lab.hv2.role()[0] == "PASSIVE"
        result = run(lab, DISCARD)
        assert in_step(lab)
        assert [len(lab.hv2.sets(root)) for root in ROOTS] == [1, 1]
        assert sorted(result["kept"]) == kept(lab) or passive
        left += bool(kept(lab))
    assert left or SPARSE > 1  # behind the swap it has nothing of its own any more, so that nothing is destroyed


def test_killed_at_any_step_it_is_diverged_the_next_time() -> None:
    for lab in each_death(crashed, run):
        safe(lab)
        run(lab)
        assert lab.hv2.role() == ("DIVERGED", 4)
        assert lab.hv2.held and lab.hv2.held[-1] in lab.hv2.sets()
        assert lab.hv2.inert()


def test_the_power_may_go_there_at_any_step() -> None:
    for lab in each_death(crashed, run):
        lab.power_cut(lab.hv2)
        run(lab)
        assert lab.hv2.role() == ("DIVERGED", 4)
        assert lab.hv2.inert() and its_data_are_there(lab)


def test_killed_at_any_step_the_winner_wins_the_next_time() -> None:
    for lab in each_death(wins, lambda lab: run(lab, WINNER)):
        safe(lab)
        active = lab.hv1.role()[0] == "ACTIVE"
        assert not active or lab.hv2.role()[0] == "DIVERGED"
        if active and lab.hv1.pending():
            with lab.on(lab.hv1):
                comeback.recover.apply(lab.hv1.config, "", False, Progress())
        else:
            run(lab, WINNER)
        assert (lab.hv1.role()[0], lab.hv1.gate(), lab.hv1.pending()) == ("ACTIVE", True, "")
        assert (lab.hv2.role()[0], lab.hv1.running()) == ("DIVERGED", ["web"])


def test_killed_at_any_step_of_its_way_back_a_host_wins_with_what_it_had() -> None:
    """hv2 comes back, and the operator thinks better of it: what is set aside there, or was about to be, is what shall go on."""
    turned = 0
    for lab in each_death(diverged, lambda lab: run(lab, KEEP)):
        if lab.hv2.role()[0] == "PASSIVE":
            continue
        lab.down(lab.hv1)
        aside = bool(kept(lab) or trees.unfinished(lab.hv2.tree, ROOTS))
        with lab.on(lab.hv2):
            plan = rejoin.apply(lab.hv2.config, Words(winner="hv2"), True, Progress())["plan"]
            result = rejoin.apply(lab.hv2.config, Words(winner="hv2"), False, Progress())
        turned += aside
        assert any(line.startswith("undo the way back of ") for line in plan) is aside
        assert result["role"] == "ACTIVE" and lab.hv2.pending() == ""
        assert trees.unfinished(lab.hv2.tree, ROOTS) is None
        assert [lab.hv2.sets(root)[:2] for root in ROOTS] == [[OLD, NEW]] * 2
    assert turned * SPARSE > 10


def test_a_swap_there_that_was_cut_off_is_gone_on_with_under_its_own_stamp(lab: Lab) -> None:
    diverged(lab)
    with pytest.raises(Killed):
        lab.dies_at = 25
        run(lab, KEEP)
    left = trees.unfinished(lab.hv2.tree, ROOTS)
    assert left and lab.hv2.pending().startswith("rejoin: zfs ")
    lab.again()
    result = run(lab, KEEP)
    assert sorted(result["kept"]) == kept(lab) == sorted(trees.kept(root, left.stamp) for root in ROOTS)
