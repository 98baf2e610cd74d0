# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host does with itself when the other one goes on, by words that came over the wire. Who sends them is in test_rejoin."""

from __future__ import annotations

import json
import pathlib
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._procedure import comeback
from ansible_collections.hvm.pair.plugins.module_utils._zfs import rollback as trees

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_pair import BEFORE, NEW, OLD, ROOTS, Host, Lab, broken

STAMP = "20261124T000000Z"
WORDS = {"do": "keep", "epoch": 5, "set": OLD, "stamp": STAMP, "reason": "came back"}


@pytest.fixture(name="lab")
def _lab(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """On hv1, which was ACTIVE when the power went."""
    lab = Lab(tmp_path, monkeypatch)
    lab.be(lab.hv1, "ACTIVE", 4, boot=BEFORE, clean=False)
    lab.snapshot(NEW, lab.hv1)
    return lab


@pytest.fixture(name="here")
def _here(lab: Lab) -> Host:
    return lab.hv1


def back(here: Host, **words: t.Any) -> dict[str, t.Any]:
    return comeback.come_back(here.config, {**WORDS, **words}, lambda dummy: None)


OPERATIONS: dict[str, t.Callable[[Host], t.Any]] = {
    "replay": lambda here: comeback.replay(here.config),
    "stand down": lambda here: comeback.become_diverged(here.config, True, "so"),
    "come back": back,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_none_of_it_while_anything_runs_here(lab: Lab, here: Host, name: str) -> None:
    here.processes = ["web"]
    with pytest.raises(HvmError, match=r"VMs run here: web\. Shut them down first\."):
        OPERATIONS[name](here)
    here.processes, here.daemon = [], True
    with pytest.raises(HvmError, match=r"its hypervisor is running\. Stop it there: hvm_hypervisor state=stopped\."):
        OPERATIONS[name](here)
    assert lab.did == []


@pytest.mark.parametrize(
    "words",
    [
        {"do": "diverge"}, {"do": ""}, {"do": "destroy"}, {"stamp": ""}, {"stamp": "x"}, {"stamp": f"{STAMP}/in"},
        {"set": "-r"}, {"set": "hvm_20261123T100000Z_other_C"},
    ],
)  # fmt: skip
def test_words_that_it_does_not_know_change_nothing(lab: Lab, here: Host, words: dict[str, str]) -> None:
    with pytest.raises(HvmError, match=r"is no way back|is no set and stamp of the pair office"):
        back(here, **words)
    assert lab.did == []


# ---- replay


def test_logs_are_replayed_and_nothing_stays_open(lab: Lab, here: Host) -> None:
    here.logs = {"ssd/a": 4096}
    comeback.replay(here.config)
    assert lab.did == [f"hv1 {one}" for one in ("writable", "mount", "devices", "unmount", "inert", "record ACTIVE 4")]
    assert here.inert() and here.tree["ssd/a"]["props"]["written"][0] == "4096"
    assert here.record()["clean"] and here.record()["boot_id"] == BEFORE  # no more is proven than that
    assert not here.gate()


@pytest.mark.parametrize("effect", ["writable", "mount", "devices"])
def test_what_fails_leaves_everything_inert_and_in_doubt(lab: Lab, here: Host, effect: str) -> None:
    def fails() -> None:
        here.tree["rot/b"]["props"]["readonly"] = ["off", "local"]  # half of it was done
        raise HvmError("it failed")

    lab.faults[f"hv1 {effect}"] = fails
    with pytest.raises(HvmError, match="it failed"):
        comeback.replay(here.config)
    assert here.inert()
    assert not here.record()["clean"]


# ---- stand down


def test_it_is_inert_then_its_data_are_held_then_it_says_so(lab: Lab, here: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.up(here)
    here.daemon = False
    monkeypatch.setattr(comeback.holds, "LEDGER", str(here.place / "holds.json"))
    monkeypatch.setattr(comeback.holds, "STATE", str(here.place))
    (here.place / "holds.json").write_text(json.dumps({NEW: True}))
    answer = comeback.become_diverged(here.config, True, "hv2 goes on without it")
    assert comeback.holds.ledger() == {NEW: True, answer["set"]: False}, "who is not told of a hold never lets go of it"
    assert lab.did == [
        f"hv1 {one}" for one in ("unmount", "inert", "address off", "snapshot crash", "hold", "record DIVERGED 4")
    ]
    assert answer == {"set": here.sets()[-1], "warnings": []}
    assert here.held == [answer["set"]] and not here.gate()


def test_the_gate_is_shut_before_anything_is_unmounted(lab: Lab, here: Host) -> None:
    lab.up(here)
    here.daemon = False
    lab.faults["hv1 unmount"] = broken("/srv is busy")
    with pytest.raises(HvmError, match="busy"):
        comeback.become_diverged(here.config, True, "so")
    assert not here.gate()


def test_a_host_with_nothing_of_its_own_needs_no_snapshot(lab: Lab, here: Host) -> None:
    assert comeback.become_diverged(here.config, False, "so") == {"set": "", "warnings": []}
    assert lab.did == ["hv1 record DIVERGED 4"]


@pytest.mark.parametrize("effect", ["snapshot crash", "hold"])
def test_without_a_hold_it_does_not_say_so(lab: Lab, here: Host, effect: str) -> None:
    lab.faults[f"hv1 {effect}"] = broken("no space left")
    with pytest.raises(HvmError, match="no space left"):
        comeback.become_diverged(here.config, True, "so")
    assert here.role() == ("ACTIVE", 4)


# ---- come back


def test_passive_is_the_last_that_is_written(lab: Lab, here: Host) -> None:
    answer = back(here)
    swap = [one for one in lab.did if one.startswith("hv1 zfs ")]
    assert lab.effects() == [*swap, "hv1 record PASSIVE 5"]
    assert answer == {"kept": [trees.kept(root, STAMP) for root in ROOTS], "destroyed": {}, "warnings": []}
    assert here.journal()["outcome"] == "recovered: came back"


def test_a_swap_that_fails_leaves_its_role_and_says_where_it_was(lab: Lab, here: Host) -> None:
    lab.faults["hv1 zfs promote rot/b-hvm-rollback-20261124T000000Z"] = broken("dataset is busy")
    with pytest.raises(HvmError, match="dataset is busy"):
        back(here)
    assert here.role() == ("ACTIVE", 4)
    assert here.pending() == "rejoin: zfs promote rot/b-hvm-rollback-20261124T000000Z"
    assert here.journal()["stamp"] == STAMP


def test_an_unfinished_swap_of_somebody_else_is_finished_first(lab: Lab, here: Host) -> None:
    other = "20261123T230000Z"
    lab.faults[f"hv1 zfs promote rot/b-hvm-rollback-{other}"] = broken("dataset is busy")
    with pytest.raises(HvmError):
        back(here, set=NEW, stamp=other)
    lab.faults.clear()
    here.write()
    back(here)
    assert here.sets() == [OLD]
    assert {name for name in here.tree if name.startswith("ssd/a-")} == {trees.kept("ssd/a", one) for one in (other, STAMP)}


def test_a_dataset_that_the_set_does_not_know_goes_aside_with_the_rest(lab: Lab, here: Host) -> None:
    here.create("ssd/a/old")
    here.tree["ssd/a/old"]["props"]["createtxg"] = ["1", "-"]  # it was there, and somebody has destroyed its snapshot
    back(here)
    assert "ssd/a/old" not in here.tree and f"{trees.kept('ssd/a', STAMP)}/old" in here.tree


@pytest.mark.parametrize("do", ["join", "keep"])
def test_nothing_is_destroyed_unless_it_is_asked_for(lab: Lab, here: Host, do: str) -> None:
    back(here, do=do)
    assert not [one for one in lab.did if "destroy" in one]
    assert len([name for name in here.tree if "-hvm-kept-" in name]) == 2


def test_destroyed_is_the_tree_of_its_own_stamp(lab: Lab, here: Host) -> None:
    back(here, stamp="20261123T230000Z")
    lab.again()
    lab.snapshot(NEW, here)
    answer = back(here, do="discard")
    assert set(answer["destroyed"]) == {trees.kept(root, STAMP) for root in ROOTS}
    assert {name for name in here.tree if name.startswith("ssd/a-")} == {trees.kept("ssd/a", "20261123T230000Z")}
    assert lab.effects()[-1] == "hv1 record PASSIVE 5" and answer["kept"] == []


def test_without_a_set_the_datasets_stay_as_they_are(lab: Lab, here: Host) -> None:
    assert back(here, do="join", set="", stamp="") == {"kept": [], "destroyed": {}, "warnings": []}
    assert lab.effects() == ["hv1 record PASSIVE 5"]


def test_what_was_written_since_a_set(lab: Lab, here: Host) -> None:
    here.write(4096)
    assert comeback.written(here.config, NEW) == {"ssd/a": 4096, "rot/b": 0}
