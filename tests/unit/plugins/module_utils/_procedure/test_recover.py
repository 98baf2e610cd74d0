# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`recover` on a pair of fakes: what is done in which order, and what is there when it was killed on the way."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation
from ansible_collections.hvm.pair.plugins.module_utils._peer.protocol import SILENCE
from ansible_collections.hvm.pair.plugins.module_utils._procedure import both, recover, serving, switch

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_pair import BEFORE, FROZEN, NEW, OLD, RUNNING, SPARSE, STATE, STOPPED, V4, Host, Lab, broken, each_death


@pytest.fixture(name="lab")
def _lab(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(tmp_path, monkeypatch)


def run(lab: Lab, host: Host | None = None, peer_is_down: str = "", check: bool = False) -> dict[str, t.Any]:
    with lab.on(host or lab.hv1) as at:
        return recover.apply(at.config, peer_is_down, check, Progress())


def crashed(lab: Lab) -> None:
    """hv1 was ACTIVE and about to migrate when the power went; web ran, cold was off, db starts by itself."""
    lab.be(lab.hv1, "ACTIVE", 3, boot=BEFORE, clean=False)
    lab.be(lab.hv2, "PASSIVE", 3)
    lab.hv1.vm("web", priority=20)
    lab.hv1.vm("db", priority=1, autostart=True)
    lab.hv1.vm("cold")
    lab.begun(lab.hv1, "migrate_secure", "save", vms=["web"], frozen=[], epoch=3)
    lab.hv1.images = {"web"}


def handed_over(lab: Lab) -> None:
    """hv1 had given its role away, hv2 never took it; hv1 has written since the last set, and so has libvirt's stop."""
    lab.be(lab.hv1, "PASSIVE", 3)
    lab.be(lab.hv2, "PASSIVE", 3)
    lab.snapshot(NEW)
    lab.hv1.write()
    lab.hv1.vm("web")
    lab.begun(lab.hv1, "migrate_secure", vms=["web"], epoch=4)


BOTH_LOCKED = ["hv2 look", "hv1 look", "hv1 lock recover", "hv2 lock recover", "hv2 look", "hv1 look"]
MOUNTED = ["hv1 writable", "hv1 mount", "hv1 devices"]


def test_the_last_active_host_starts_in_this_order(lab: Lab) -> None:
    crashed(lab)
    result = run(lab)
    assert lab.did == [
        *BOTH_LOCKED,
        "hv1 journal migrate_secure: the shared IP is asked for",
        "hv1 address?",
        "hv1 journal migrate_secure: start the hypervisor",
        *MOUNTED,
        "hv1 record ACTIVE 4",
        "hv1 systemctl start",
        "hv1 journal migrate_secure: shared IP on",
        "hv1 address on",
        "hv1 journal migrate_secure: start the VMs",
        "hv1 settle web",
        "hv1 bring db",
        "hv1 bring web",
        "hv1 announce",
        "hv1 clocks web",
        "hv1 journal ended",
        "hv2 record PASSIVE 4",
    ]
    assert (result["do"], result["changed"], result["role"], result["epoch"]) == ("start", True, "ACTIVE", 4)
    assert result["vms"] == {"db": "db started", "web": "web restored"}
    assert (result["left"], result["warnings"], result["plan"], result["peer_answers"]) == (["cold"], [], [], True)
    assert [step["step"] for step in result["steps"]] == ["start the hypervisor", "shared IP on", "start the VMs"]
    assert lab.hv1.record()["seen"] == 3
    assert (lab.hv1.journal()["operation"], lab.hv1.journal()["outcome"]) == ("migrate_secure", "recovered: hv1 is ACTIVE")


def test_without_a_journal_it_writes_its_own(lab: Lab) -> None:
    crashed(lab)
    (lab.hv1.place / "journal.json").unlink()
    run(lab)
    found = lab.hv1.journal()
    assert (found["operation"], found["vms"], found["epoch"], found["peer"]) == ("recover", [], 4, "hv2")


def taken_over(lab: Lab) -> None:
    """hv2 had just taken over from hv1 when the power of both went; only hv2 comes back."""
    lab.be(lab.hv1, "PASSIVE", 3)
    lab.hv1.answers = False
    lab.be(lab.hv2, "ACTIVE", 4, boot=BEFORE, clean=False)
    lab.hv2.vm("web")
    lab.hv2.vm("mail")
    lab.hv2.vm("cold")
    lab.hv2.images = {"mail"}
    lab.begun(lab.hv2, "migrate_secure", "target: restore VMs", source="hv1", vms=["mail", "web"], frozen=[], epoch=4)


def test_the_target_of_a_migration_knows_by_itself_which_vms_ran(lab: Lab) -> None:
    taken_over(lab)
    result = run(lab, lab.hv2, peer_is_down="hv1")
    assert (result["epoch"], result["vms"]) == (5, {"web": "web started", "mail": "mail restored"})
    assert lab.hv2.journal()["outcome"] == "recovered: hv2 is ACTIVE"


def test_killed_while_it_goes_on_in_an_epoch_of_its_own_the_target_still_knows_them() -> None:
    for lab in each_death(taken_over, lambda lab: run(lab, lab.hv2, peer_is_down="hv1")):
        result = run(lab, lab.hv2, peer_is_down="hv1")
        assert [name for name, vm in sorted(lab.hv2.vms.items()) if vm["state"] == RUNNING] == ["mail", "web"], lab.before
        assert (result["role"], lab.hv2.pending()) == ("ACTIVE", "")


def test_a_target_whose_agent_was_killed_goes_on_and_lets_the_frozen_ones_be(lab: Lab) -> None:
    taken_over(lab)
    lab.be(lab.hv2, "ACTIVE", 4)
    lab.hv2.vm("mail", FROZEN)
    lab.begun(lab.hv2, "migrate_secure", "target: restore VMs", source="hv1", vms=["mail", "web"], frozen=["mail"], epoch=4)
    assert run(lab, lab.hv2)["vms"] == {"web": "web started"}
    assert lab.hv2.vms["mail"]["state"] == FROZEN


def test_a_target_that_never_took_over_leaves_it_to_the_source(lab: Lab) -> None:
    handed_over(lab)
    lab.begun(lab.hv2, "migrate_secure", "target: start the hypervisor", source="hv1", vms=["web"], frozen=[], epoch=4)
    assert run(lab, lab.hv2)["do"] == "elsewhere"
    assert run(lab)["vms"] == {"web": "web started"}
    lab.again()
    assert run(lab, lab.hv2)["sentence"] == "hv1 is ACTIVE in epoch 5, hv2 is PASSIVE: there is nothing to recover"


@pytest.mark.parametrize(
    ("now", "name", "restored"), [("ACTIVE", STATE, ["db", "mail", "web"]), ("ACTIVE", NEW, ["db"]), ("PASSIVE", STATE, ["db"])]
)
def test_a_failover_to_a_set_with_vm_states_that_was_cut_off_goes_on_with_all_of_them(
    lab: Lab, now: str, name: str, restored: list[str]
) -> None:
    lab.be(lab.hv1, now, 6, boot=BEFORE, clean=False)
    lab.be(lab.hv2, "PASSIVE", 5)
    lab.hv1.vm("db", autostart=True)
    lab.hv1.vm("mail")
    lab.hv1.images = {"db", "mail", "web"}
    lab.begun(lab.hv1, "failover", "start the VMs", vms=[], set=name, epoch=6)
    assert sorted(run(lab)["vms"]) == restored


def stopped(lab: Lab, step: str = "last snapshot", clean: bool = True, **more: t.Any) -> None:
    """hv1 had saved web and unmounted everything when the power went."""
    crashed(lab)
    lab.be(lab.hv1, "ACTIVE", 3, boot=BEFORE, clean=clean)
    lab.begun(lab.hv1, "migrate_secure", step, vms=["web"], frozen=[], epoch=4, **more)


def taken_for_fresh(lab: Lab) -> list[str]:
    """Gets the VMs that are brought as from disks that nobody has written to since they were saved."""
    found: list[str] = []

    def bring(conn: t.Any, name: str, *rest: t.Any, fresh: t.Collection[str], **more: t.Any) -> str:
        sentence = lab.bring(conn, name, *rest, **more)
        found.extend([name] if name in fresh else [])
        return sentence

    lab.patch.setattr(serving, "bring", bring)
    return found


@pytest.mark.parametrize(
    ("prepare", "is_fresh"),
    [
        (stopped, True),
        (lambda lab: stopped(lab, clean=False), False),  # it was in use since
        (lambda lab: stopped(lab, "going back"), False),  # a start that failed ends in good order, too
        (lambda lab: stopped(lab, "start the hypervisor", as_saved=True), True),
        (lambda lab: stopped(lab, "start the VMs", clean=False, as_saved=True), False),
        (lambda lab: stopped(lab, source="hv2"), False),
        (crashed, False),
    ],
)
def test_before_the_last_snapshot_the_source_knows_that_nothing_was_written(lab: Lab, prepare: t.Any, is_fresh: bool) -> None:
    prepare(lab)
    found = taken_for_fresh(lab)
    run(lab)
    assert found == (["web"] if is_fresh else [])


def test_a_vm_that_was_restored_has_written_whatever_is_known(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(lab)
    found = taken_for_fresh(lab)
    monkeypatch.setattr(serving.states, "manifests", lambda dummy: {"web": {"begun": "then", "disks": [], "sets": {}}})
    run(lab)
    assert found == []


def test_killed_before_anything_was_in_use_that_is_still_known_and_afterwards_never() -> None:
    found: list[list[str]] = []

    def prepare(lab: Lab) -> None:
        stopped(lab)
        found.append(taken_for_fresh(lab))

    for lab in each_death(prepare, run):
        ran, in_use = lab.hv1.vms["web"]["state"] == RUNNING, not lab.hv1.record()["clean"]
        lab.power_cut(lab.hv1)
        found[-1].clear()
        if ran:
            lab.hv1.images = {"web"}  # as if its image had come back: it has run, and written
        run(lab)
        if lab.did[2:3] == ["hv1 lock recover"]:  # there was something left to recover
            assert found[-1] == ([] if in_use else ["web"]), lab.before


def test_killed_while_it_ends_a_backup_that_was_cut_off_it_still_knows_which_vms_ran() -> None:
    def prepare(lab: Lab) -> None:
        crashed(lab)
        lab.hv1.images.clear()
        lab.begun(lab.hv1, "checkpoint", "memory", vms=["web"], ran=["web"], method="checkpoint")
        lab.patch.setattr(serving.backup, "settled", lambda dummy, name, *more: lab.hv1.vms[name]["state"])
        lab.patch.setattr(serving.backup.Passes, "let_go", lambda *dummy: {})

    for lab in each_death(prepare, run):
        begun = any("journal checkpoint: start the hypervisor" in one for one in lab.before)
        with lab.on(lab.hv1):
            entry = operation.pending()
        # from then on it is no backup's to end: that would let VMs go on which have to be started
        assert entry is None or not begun or not guards.ended_by_backup(entry)
        result = run(lab)
        assert [name for name, vm in sorted(lab.hv1.vms.items()) if vm["state"] == RUNNING] == ["db", "web"], lab.before
        assert (result["role"], lab.hv1.pending()) == ("ACTIVE", "")


@pytest.mark.parametrize("check", [True, False])
def test_the_second_run_changes_nothing(lab: Lab, check: bool) -> None:
    crashed(lab)
    run(lab)
    lab.again()
    result = run(lab, check=check)
    assert lab.did == ["hv2 look", "hv1 look"]
    assert (result["changed"], result["do"], result["epoch"]) == (False, "", 4)
    assert result["sentence"] == "hv1 is ACTIVE in epoch 4 and runs: there is nothing to recover"


def test_check_mode_says_what_it_would_do_and_does_nothing(lab: Lab) -> None:
    crashed(lab)
    result = run(lab, check=True)
    assert lab.did == ["hv2 look", "hv1 look"]
    assert (result["changed"], result["role"], result["epoch"]) == (True, "ACTIVE", 4)
    vms = "start, by priority: web, and the VMs with autostart=yes; from their state images where these fit"
    assert result["plan"] == [*switch.start_plan(lab.hv1.config, 4, vms)]


def test_check_mode_on_a_host_that_goes_back_to_a_set_first(lab: Lab) -> None:
    handed_over(lab)
    result = run(lab, check=True)
    assert lab.did == ["hv2 look", "hv1 look"]
    assert result["plan"][0] == f"go back to {NEW}; what is newer is kept"
    lab.hv1.write(0)
    assert run(lab, check=True)["plan"][0].startswith("mount the datasets")


def test_a_source_that_nobody_took_the_role_from_goes_back_to_its_last_set_before_anything_else(lab: Lab) -> None:
    handed_over(lab)
    lab.up(lab.hv1)  # it was killed between the hand-over and making them inert
    lab.hv1.daemon = lab.hv1.address = False
    run(lab)
    effects = lab.effects()
    swap = [one for one in effects if one.startswith("hv1 zfs ")]
    assert effects[:4] == ["hv1 lock recover", "hv2 lock recover", "hv1 unmount", "hv1 inert"]
    assert effects[4 : 4 + len(swap)] == swap
    assert effects[4 + len(swap) :][:5] == ["hv1 address?", *MOUNTED, "hv1 record ACTIVE 5"]
    assert any("journal migrate_secure: recover: zfs rename" in one for one in lab.did)
    (kept,) = [name for name in lab.hv1.tree if name.startswith("ssd/a-hvm-kept-")]
    assert lab.hv1.tree[kept]["props"]["written"][0] == str(1 << 20)
    assert lab.hv1.sets() == [OLD, NEW]


# ---- nobody else, under both locks


def test_it_is_decided_again_under_both_locks(lab: Lab) -> None:
    crashed(lab)
    # somebody works on the other host until its lock is taken
    lab.faults["hv1 lock recover"] = lambda: lab.be(lab.hv2, "ACTIVE", 7, seen=3)
    result = run(lab)
    assert lab.did == BOTH_LOCKED
    assert (result["do"], result["changed"]) == ("elsewhere", False)
    assert result["sentence"] == "hv2 is ACTIVE in epoch 7, hv1 was in epoch 3: hvm.pair.rejoin comes next"
    assert not lab.hv1.gate()


def busy(lab: Lab) -> operation.Lock:
    """Somebody works on hv2: perhaps the agent of a host that has lost its power."""
    with lab.on(lab.hv2):
        lock = operation.Lock()
        lock.take("sync", "bob")
    lab.again()
    return lock


def test_a_lock_that_ends_is_waited_for(lab: Lab) -> None:
    crashed(lab)
    lab.waits = iter([lambda: None, busy(lab).release])
    progress = Progress()
    assert recover.apply(lab.hv1.config, "", False, progress)["do"] == "start"
    assert lab.did[:6] == ["hv2 look", "hv1 look"] + ["hv1 look", "hv2 look"] * 2
    assert lab.did[6:8] == ["hv1 lock recover", "hv2 lock recover"]
    said = [line["text"] for line in progress.lines if line["text"].startswith("waiting")]
    assert len(said) == 2 and said[0].startswith("waiting for hv2: sync by bob since ")


def test_a_lock_that_does_not_end_is_waited_for_until_a_lost_hosts_agent_would_have(lab: Lab) -> None:
    crashed(lab)
    lock = busy(lab)
    with pytest.raises(Refused, match="hv2: another operation is running: sync by bob"):
        run(lab)
    assert lab.effects() == []
    assert SILENCE < lab.now <= both.PATIENCE + 5
    lock.release()


def test_the_look_of_a_playbook_waits_too(lab: Lab) -> None:
    crashed(lab)
    lab.waits = iter([busy(lab).release])
    assert run(lab, check=True)["do"] == "start"
    assert lab.effects() == []


def test_a_lock_that_is_taken_at_the_last_moment_is_somebody_elses(lab: Lab) -> None:
    crashed(lab)
    lab.faults["hv1 lock recover"] = broken("another operation is running on hv1: sync by bob")
    with pytest.raises(HvmError, match="sync by bob"):
        run(lab)
    lab.faults = {"hv2 lock recover": broken("another operation is running on hv2: sync by bob")}
    with pytest.raises(HvmError, match="sync by bob"):
        run(lab)
    assert not [one for one in lab.effects() if "lock" not in one]


def test_locks_end_with_it(lab: Lab) -> None:
    crashed(lab)
    lab.faults["hv1 mount"] = broken("/srv is not empty")
    with pytest.raises(HvmError, match="not empty"):
        run(lab)
    for host in (lab.hv1, lab.hv2):
        with lab.on(host):
            assert operation.lock_holder() is None


def test_without_the_other_host_it_wants_its_name(lab: Lab) -> None:
    crashed(lab)
    lab.hv2.answers = False
    with pytest.raises(Refused, match=r"hv2 does not answer, so it may have become ACTIVE \(ssh to hv2 ended with 255\)"):
        run(lab)
    with pytest.raises(Refused):
        run(lab, peer_is_down="hv1")
    assert lab.effects() == []
    result = run(lab, peer_is_down="hv2")
    assert (result["do"], result["epoch"], result["peer_answers"]) == ("start", 4, False)
    assert [one for one in lab.did if one.startswith("hv2")] == []
    assert lab.hv1.record()["seen"] == 2  # what nobody has looked at is not seen


# ---- what may go wrong


def test_a_holder_of_the_address_elsewhere_stops_it_before_anything_starts(lab: Lab) -> None:
    crashed(lab)
    lab.faults["hv1 address?"] = broken(f"{V4} is in use", mac="52:54:00:00:00:01")
    with pytest.raises(HvmError, match="is in use"):
        run(lab)
    assert lab.effects() == ["hv1 lock recover", "hv2 lock recover", "hv1 address?"]
    assert (lab.hv1.role(), lab.hv1.gate(), lab.hv1.inert()) == (("ACTIVE", 3), False, True)
    assert lab.hv1.pending() == "migrate_secure: the shared IP is asked for"
    lab.again()
    lab.faults.clear()
    assert run(lab)["vms"] == {"db": "db started", "web": "web restored"}


def test_an_address_that_cannot_be_taken_here_is_no_reason_to_stay_down(lab: Lab) -> None:
    crashed(lab)
    lab.faults["hv1 address?"] = broken("the gateway does not answer")
    result = run(lab)
    assert result["warnings"] == ["the shared IP is not taken: the gateway does not answer (hvm_shared_ip state=enabled)"]
    assert lab.hv1.running() == ["db", "web"]
    assert "hv1 address on" not in lab.did


@pytest.mark.parametrize(
    ("effect", "named"),
    [("hv1 settle web", "web"), ("hv1 address on", "the shared IP"), ("hv1 cure", "a backup that did not end")],
)
def test_what_fails_beside_a_vm_keeps_none_down_and_is_told(lab: Lab, effect: str, named: str) -> None:
    crashed(lab)
    cured: list[str] = []

    def cure(*dummy: t.Any, **dummy_words: t.Any) -> None:
        lab.do("cure")
        cured.append((operation.pending() or {})["operation"])

    lab.patch.setattr(serving.backup, "cure", cure)
    lab.begun(lab.hv1, "checkpoint", vms=["web"])
    lab.faults[effect] = broken("it failed")
    with pytest.raises(HvmError, match=f"hv1 is ACTIVE, but not everything runs: {named}: it failed") as caught:
        run(lab)
    assert lab.hv1.running() == ["db", "web"]
    assert caught.value.details["changed"] and caught.value.details["vms"] == {"db": "db started", "web": "web restored"}
    assert lab.did.index("hv1 settle web") < lab.did.index("hv1 cure") < lab.did.index("hv1 bring db")
    assert cured == ([] if effect == "hv1 cure" else ["checkpoint"])  # it finds the journal that says what to cure


def test_a_vm_that_fails_keeps_no_other_down(lab: Lab) -> None:
    crashed(lab)
    lab.faults["hv1 bring db"] = broken("QEMU says no")
    with pytest.raises(HvmError, match="not everything runs: db: QEMU says no"):
        run(lab)
    assert lab.hv1.running() == ["web"]
    assert lab.did[-2:] == ["hv1 journal ended", "hv2 record PASSIVE 4"]
    lab.again()
    assert run(lab)["do"] == ""  # this host is ACTIVE: what is left is a VM's matter


@pytest.mark.parametrize("step", ["shared IP on", "start the VMs"])
def test_a_journal_that_cannot_be_written_any_more_keeps_no_vm_down(lab: Lab, step: str) -> None:
    crashed(lab)
    lab.faults[f"hv1 journal migrate_secure: {step}"] = broken("journal.json cannot be written")
    result = run(lab)
    assert result["warnings"] == ["it could not be written down: journal.json cannot be written"]
    assert lab.hv1.running() == ["db", "web"] and lab.hv1.address


@pytest.mark.parametrize("effect", [*MOUNTED, "hv1 record ACTIVE 4", "hv1 systemctl start"])
def test_a_start_that_fails_leaves_it_as_it_was_and_pending(lab: Lab, effect: str) -> None:
    crashed(lab)
    lab.faults[effect] = broken("it failed")
    with pytest.raises(HvmError, match="it failed"):
        run(lab)
    assert (lab.hv1.role(), lab.hv1.gate(), lab.hv1.daemon, lab.hv1.inert()) == (("ACTIVE", 3), False, False, True)
    assert lab.hv1.record()["boot_id"] == BEFORE
    assert "hv1 address on" not in lab.did and "hv2 record PASSIVE 4" not in lab.did
    assert lab.hv1.pending() == "migrate_secure: start the hypervisor"


def test_a_link_that_is_cut_when_all_runs_is_a_warning(lab: Lab) -> None:
    crashed(lab)
    lab.faults["hv2 record PASSIVE 4"] = broken("the connection to hv2 ended")
    result = run(lab)
    assert result["warnings"] == ["the other host was not told of epoch 4: the connection to hv2 ended"]
    assert lab.hv1.pending() == ""


# ---- killed at any step


def runs(lab: Lab, epochs: t.Collection[int]) -> None:
    """As it shall be in the end, however often it was begun."""
    one = lab.hv1
    assert (one.role()[0], one.gate(), one.daemon, one.address) == ("ACTIVE", True, True, True)
    assert one.role()[1] in epochs and one.record()["boot_id"] == one.boot
    assert lab.hv2.role() == ("PASSIVE", one.role()[1])
    assert one.pending() == ""


def test_killed_at_any_step_the_next_run_ends_the_same() -> None:
    deaths = 0
    for lab in each_death(crashed, run):
        deaths += 1
        before = lab.hv1.journal()
        assert (before["operation"], before["vms"], before["frozen"]) == ("migrate_secure", ["web"], [])
        died = lab.hv1.pending()
        run(lab)
        if died:
            runs(lab, [4])
        assert lab.hv1.running() == ["db", "web"]
    assert deaths * SPARSE > 20


def test_the_power_may_go_at_any_step() -> None:
    for lab in each_death(crashed, run):
        lab.power_cut(lab.hv1)
        ended = not lab.hv1.pending()
        run(lab)
        runs(lab, [4, 5])
        assert lab.hv1.running() == (["db"] if ended else ["db", "web"])  # what ran then is no longer written down


def test_killed_on_the_way_back_to_the_set_it_goes_on() -> None:
    deaths = 0
    for lab in each_death(handed_over, run):
        deaths += 1
        first = lab.hv1.pending()
        run(lab)
        if first:
            runs(lab, [5, 6])
        assert [len(lab.hv1.sets(root)) for root in ("ssd/a", "rot/b")] == [2, 2]
        assert len([name for name in lab.hv1.tree if "-hvm-kept-" in name]) == 2  # one swap, whoever finished it
        assert not [name for name in lab.hv1.tree if "-hvm-rollback-" in name]
        assert lab.hv1.running() == ["web"]
    assert deaths * SPARSE > 30


# ---- which VMs


def test_who_was_frozen_stays_so_and_who_stood_still_goes_on(lab: Lab) -> None:
    crashed(lab)
    lab.hv1.boot = BEFORE  # the procedure died, the host did not
    lab.up(lab.hv1)
    lab.hv1.vm("web", FROZEN)
    lab.hv1.vm("ice", FROZEN)
    lab.hv1.vm("fridge", FROZEN)
    lab.hv1.vm("db", RUNNING, autostart=True)
    lab.begun(lab.hv1, "migrate_secure", "save", vms=["web", "ice", "db"], frozen=["ice"], epoch=4)
    result = run(lab)
    assert result["vms"] == {"web": "web goes on"}
    assert {name: vm["state"] for name, vm in lab.hv1.vms.items()} == {
        "web": RUNNING, "db": RUNNING, "ice": FROZEN, "fridge": FROZEN, "cold": STOPPED,
    }  # fmt: skip
    assert "hv1 clocks web" in lab.did
    assert (result["epoch"], lab.hv1.role()) == (3, ("ACTIVE", 3))  # ACTIVE in this very boot: it goes on


def test_what_the_other_host_remembers_counts_too(lab: Lab) -> None:
    crashed(lab)
    (lab.hv1.place / "journal.json").unlink()
    lab.begun(lab.hv2, "migrate_secure", vms=["web", "cold"], frozen=[])
    assert set(run(lab)["vms"]) == {"db", "web", "cold"}


# ---- the host that is not the one


def follows(lab: Lab) -> None:
    """hv2 is ACTIVE; hv1 was killed while it made itself PASSIVE, and has missed an epoch."""
    lab.be(lab.hv1, "PASSIVE", 3)
    lab.be(lab.hv2, "ACTIVE", 4, seen=3)
    lab.up(lab.hv1)
    lab.hv1.daemon = False
    lab.begun(lab.hv1, "migrate_secure", vms=["web"])


def test_the_other_one_is_made_inert_before_it_is_recorded(lab: Lab) -> None:
    follows(lab)
    result = run(lab)
    assert lab.did == [
        *["hv2 look", "hv1 look", "hv1 lock recover", "hv2 look", "hv1 look"],  # nothing of the ACTIVE host is touched
        *["hv1 unmount", "hv1 inert", "hv1 address off", "hv1 record PASSIVE 4", "hv1 journal ended"],
    ]
    assert (result["do"], result["changed"], result["role"], result["epoch"]) == ("pass", True, "PASSIVE", 4)
    assert not lab.hv1.gate()
    lab.again()
    assert not run(lab)["changed"]
    assert lab.did == ["hv2 look", "hv1 look"]


def test_check_mode_of_the_other_one(lab: Lab) -> None:
    follows(lab)
    result = run(lab, check=True)
    assert lab.did == ["hv2 look", "hv1 look"]
    assert result["plan"] == [
        f"shared IP off: {V4}",
        "unmount the datasets below ssd/a, rot/b: read-only, without devices",
        "the gate is shut, PASSIVE",
    ]
    assert lab.hv1.gate()


def test_killed_at_any_step_the_other_one_follows_the_next_time() -> None:
    for lab in each_death(follows, run):
        if lab.hv1.role() == ("PASSIVE", 4):
            assert lab.hv1.inert() and not lab.hv1.gate()
        run(lab)
        assert (lab.hv1.role(), lab.hv1.inert(), lab.hv1.gate()) == (("PASSIVE", 4), True, False)
        assert (lab.hv1.address, lab.hv1.pending()) == (False, "")


def test_an_address_that_cannot_be_given_up_is_a_warning(lab: Lab) -> None:
    follows(lab)
    lab.faults["hv1 address off"] = broken("ip says no")
    assert run(lab)["warnings"] == ["the shared IP is still here: ip says no"]
    assert lab.hv1.role() == ("PASSIVE", 4)


def test_nothing_is_taken_from_under_a_vm(lab: Lab) -> None:
    follows(lab)
    lab.hv1.processes = ["web"]
    with pytest.raises(Refused, match="hv1: VMs run here although it is PASSIVE: web"):
        run(lab)
    assert lab.effects() == []


def test_each_host_waits_for_its_turn(lab: Lab) -> None:
    crashed(lab)
    assert run(lab, lab.hv2)["do"] == "elsewhere"
    assert lab.effects() == []
    run(lab)
    lab.again()
    assert run(lab, lab.hv2)["do"] == ""  # told of the epoch by the start, it has nothing left to do
