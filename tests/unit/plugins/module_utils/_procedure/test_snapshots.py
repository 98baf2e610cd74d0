# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import checkpoint, prune, snapshots
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory

CONFIG = PairConfig("p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("tank/vm",), "/vm/state")
OLD, BASE, NEW = (f"hvm_2026112{day}T100000Z_p_{mark}" for day, mark in ((1, "C"), (2, "B"), (3, "C")))


def entry(*sets: str, dataset: str = "tank/vm", token: str = "-", bookmarks: t.Sequence[str] = ()) -> dict[str, t.Any]:
    def named(words: t.Sequence[str]) -> list[list[t.Any]]:
        return [[one, f"{dataset} {one}", number] for number, one in enumerate(words)]

    return {
        "type": "filesystem",
        "guid": dataset,
        "props": {"receive_resume_token": [token, "-"]},
        "snapshots": named(sets),
        "bookmarks": named(bookmarks),
    }


class FakeHost:
    """One dataset with a child, and what is asked of it."""

    def __init__(self) -> None:
        self.datasets: inventory.Inventory = {
            "tank/vm": entry(OLD, BASE, NEW),
            "tank/vm/a": entry(OLD, BASE, NEW, dataset="tank/vm/a"),
        }
        self.held = {BASE: ["tank/vm", "tank/vm/a"]}
        self.peer: inventory.Inventory | None = None
        self.blocked: dict[str, str] = {}
        self.failing: dict[str, str] = {}
        self.destroyed: list[str] = []

    def destroy(self, names: t.Sequence[str]) -> dict[str, str]:
        self.destroyed += names
        return self.failing


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> FakeHost:
    fake = FakeHost()
    real = operation.Lock
    monkeypatch.setattr(snapshots.operation, "Lock", lambda: real(str(tmp_path / "lock")))
    monkeypatch.setattr(snapshots.operation, "pending", lambda: None)
    monkeypatch.setattr(snapshots.inventory, "read", lambda dummy: fake.datasets)
    monkeypatch.setattr(snapshots, "read_datasets", lambda dummy: fake.datasets)
    monkeypatch.setattr(snapshots.protect, "held", lambda *dummy: fake.held)
    monkeypatch.setattr(snapshots.protect, "destroy", fake.destroy)
    monkeypatch.setattr(prune.holds, "ledger", lambda: {BASE: True})
    monkeypatch.setattr(prune.kernel, "pool_health", lambda dummy: {"tank": "ONLINE"})
    monkeypatch.setattr(
        prune.destroyable, "blocked", lambda names: {one: why for one, why in fake.blocked.items() if one in names}
    )
    monkeypatch.setattr(prune, "ask", lambda dummy: (fake.peer, "" if fake.peer else "no route"))
    return fake


# absent


def test_an_old_set_goes_when_it_is_named(host: FakeHost) -> None:
    diff = {"before": f"{OLD}\n{BASE}\n{NEW}\n", "after": f"{BASE}\n{NEW}\n"}
    assert snapshots.apply(CONFIG, "absent", OLD, "crash", True) == {"changed": True, "destroyed": [OLD], "diff": diff}
    assert host.destroyed == []
    assert snapshots.apply(CONFIG, "absent", OLD, "crash", False) == {"changed": True, "destroyed": [OLD], "diff": diff}
    assert host.destroyed == [f"tank/vm@{OLD}", f"tank/vm/a@{OLD}"]


def test_a_set_that_is_not_there_is_absent(host: FakeHost) -> None:
    gone = "hvm_20260101T000000Z_p_C"
    done = snapshots.apply(CONFIG, "absent", gone, "crash", False)
    assert (done["changed"], done["destroyed"], host.destroyed) == (False, [], [])


def absent(name: str) -> str:
    with pytest.raises(HvmError) as caught:
        snapshots.apply(CONFIG, "absent", name, "crash", False)
    return str(caught.value)


def test_the_base_is_never_destroyed(host: FakeHost) -> None:
    assert absent(BASE) == (
        f"the set {BASE} stays: the next sync starts from it (held as hvm:p). "
        "Sync a newer set first; then this one is free to go."
    )
    assert host.destroyed == []


def test_the_newest_common_set_is_never_destroyed_held_or_not(host: FakeHost) -> None:
    host.peer = {"tank/vm": entry(OLD, BASE, NEW), "tank/vm/a": entry(OLD, BASE, dataset="tank/vm/a")}
    assert absent(NEW).startswith(f"the set {NEW} stays: it is the newest that hv2 has too (tank/vm).")
    host.peer["tank/vm"]["snapshots"].pop()
    assert snapshots.apply(CONFIG, "absent", NEW, "crash", False)["changed"]


def test_an_unsent_set_may_go_when_it_is_named_and_the_other_host_is_dead(host: FakeHost) -> None:
    assert snapshots.apply(CONFIG, "absent", NEW, "crash", False)["destroyed"] == [NEW]


def test_without_a_proof_it_stays(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune.holds, "ledger", lambda: None)
    assert "no sync with hv2 was verified on this host so far, and hv2 does not answer" in absent(OLD)


def test_after_a_rollback_without_the_other_host_a_newer_one_may_go(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """No newer set could be synced first, which the refusal asks for."""
    monkeypatch.setattr(prune.holds, "ledger", lambda: None)
    assert snapshots.apply(CONFIG, "absent", NEW, "crash", False)["destroyed"] == [NEW]
    with pytest.raises(HvmError, match=f"the set {OLD} stays: no sync with hv2 was verified on this host so far"):
        snapshots.apply(CONFIG, "absent", OLD, "crash", False)


def test_one_that_is_held_by_somebody_stays_whole(host: FakeHost) -> None:
    host.blocked = {f"tank/vm/a@{OLD}": f"tank/vm/a@{OLD} is held as keep"}
    assert absent(OLD) == (
        f"the set {OLD} stays whole: tank/vm/a@{OLD} is held as keep. "
        "Release the hold (zfs release), or destroy the clone, first."
    )
    assert host.destroyed == []


def test_what_was_not_destroyed_is_named(host: FakeHost) -> None:
    host.failing = {f"tank/vm@{OLD}": "it is held or in use"}
    assert absent(OLD).startswith(f"tank/vm@{OLD} is still there: it is held or in use.")


@pytest.mark.parametrize("name", ["backup", "", "hvm_20261121T100000Z_other_C", f"{OLD}@x", "tank/vm@x"])
def test_only_sets_of_the_pair_can_be_named(host: FakeHost, name: str) -> None:
    for state in ("absent", "present"):
        with pytest.raises(HvmError, match="is not the name of a snapshot set of the pair p"):
            snapshots.apply(CONFIG, state, name, "crash", False)


# present


@pytest.fixture
def active(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    me: dict[str, t.Any] = {
        "host": "hv1",
        "peer": "hv2",
        "role": {"now": "ACTIVE", "epoch": 3},
        "pools": {"tank": "ONLINE"},
        "pending": None,
        "lock": None,
        "sets": [{"name": OLD, "complete": True}, {"name": NEW, "complete": False}],
        "taken": [],
    }

    def take(dummy: PairConfig, consistency: str, epoch: int) -> str:
        me["taken"].append(("take", consistency, epoch))
        return "hvm_20261124T100000Z_p_F"

    monkeypatch.setattr(snapshots, "observe", lambda dummy: me)
    monkeypatch.setattr(checkpoint, "take_set", take)
    monkeypatch.setattr(checkpoint, "check_set", lambda dummy, name: me["taken"].append(("check", name)))
    return me


def test_a_set_is_taken_and_then_looked_at(active: dict[str, t.Any]) -> None:
    taken = "hvm_20261124T100000Z_p_F"
    assert snapshots.apply(CONFIG, "present", None, "frozen", False) == {
        "changed": True,
        "set": taken,
        "diff": {"before": f"{OLD}\n{NEW}\n", "after": f"{OLD}\n{NEW}\n{taken}\n"},
    }
    assert active["taken"] == [("take", "frozen", 3), ("check", taken)]


def test_half_a_set_does_not_stay(active: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def take(*dummy: t.Any) -> str:
        raise HvmError("out of space", half=["tank/vm@x"])

    monkeypatch.setattr(checkpoint, "take_set", take)
    monkeypatch.setattr(checkpoint.protect, "destroy", lambda half: active["taken"].append(half) or {})
    with pytest.raises(HvmError, match="out of space"):
        snapshots.apply(CONFIG, "present", None, "crash", False)
    assert active["taken"] == [["tank/vm@x"]]


def test_in_check_mode_none_is_taken(active: dict[str, t.Any]) -> None:
    planned = snapshots.apply(CONFIG, "present", None, "state", True)
    assert planned["changed"] and planned["set"].endswith("_p_B") and active["taken"] == []


def test_a_complete_set_is_there(active: dict[str, t.Any]) -> None:
    assert not snapshots.apply(CONFIG, "present", OLD, "crash", False)["changed"]
    with pytest.raises(HvmError, match=f"the set {NEW} is not complete and cannot be taken again"):
        snapshots.apply(CONFIG, "present", NEW, "crash", False)


def test_only_the_active_host_takes_sets(active: dict[str, t.Any]) -> None:
    active["role"]["now"] = "PASSIVE"
    with pytest.raises(Refused, match="only the ACTIVE one can take snapshots"):
        snapshots.apply(CONFIG, "present", None, "crash", False)
    assert active["taken"] == []


FAULTS: dict[str, tuple[dict[str, list[t.Any]], list[str]]] = {
    "as it should be": ({"a/x": ["g", 7], "a/x/y": ["h", 7], "b/x": ["i", 9]}, []),
    "one is missing": ({"a/x": ["g", 7], "b/x": ["i", 9]}, ["the set s is not complete: it is not on a/x/y"]),
    "not of one moment": (
        {"a/x": ["g", 7], "a/x/y": ["h", 8], "b/x": ["i", 9]},
        ["the set s was not taken at once in pool a: transaction groups 7, 8"],
    ),
    "nothing is there": ({}, ["the set s is not complete: it is not on a/x, a/x/y, b/x"]),
}


@pytest.mark.parametrize(("found", "wrong"), FAULTS.values(), ids=FAULTS)
def test_a_set_is_complete_and_of_one_transaction_group_in_each_pool(found: dict[str, list[t.Any]], wrong: list[str]) -> None:
    assert checkpoint.set_faults("s", ["a/x", "a/x/y", "b/x"], found) == wrong


def test_a_set_that_is_not_as_it_should_be_is_an_error(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint.actions, "find_set", lambda names, dummy: {one: ["g", 7] for one in names})
    checkpoint.check_set(CONFIG, NEW)
    monkeypatch.setattr(checkpoint.actions, "find_set", lambda names, dummy: {names[0]: ["g", 7]})
    with pytest.raises(HvmError) as caught:
        checkpoint.check_set(CONFIG, NEW)
    assert str(caught.value) == (
        f"the set {NEW} is not complete: it is not on tank/vm/a. "
        f"Take a new set, then destroy this one: hvm_zfs_snapshot state=absent name={NEW}."
    )


# the lists


def test_what_there_is_as_data_and_as_lists(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str]) -> str:
        commands.append(command)
        return f"tank/vm@{OLD}\t100\ntank/vm/a@{OLD}\t50\ntank/vm@{NEW}\t7\n"

    monkeypatch.setattr(snapshots, "run", run)
    monkeypatch.setattr(snapshots.role, "load", lambda: snapshots.role.Role("PASSIVE", 3, "", "", ""))
    host.datasets["tank/vm/a"] = entry(OLD, BASE, dataset="tank/vm/a", token="1-abc", bookmarks=[BASE])
    found = snapshots.look(CONFIG, used=False)
    assert (found["changed"], found["host"], found["role"], commands) == (False, "hv1", "PASSIVE", [])
    assert [(one["name"], one["complete"], one["held"], one["used"]) for one in found["sets"]] == [
        (OLD, True, False, None),
        (BASE, True, True, None),
        (NEW, False, False, None),
    ]
    assert found["sets"][2]["missing"] == ["tank/vm/a"]
    assert [line.split()[0] for line in found["lists"]["dates"]] == ["20261121T100000Z", "20261122T100000Z", "20261123T100000Z"]
    assert found["lists"]["dates"][1].split()[1] == "B"
    assert len(found["lists"]["all"]) == 5 and len(found["lists"]["lasts"]) == 2
    assert found["held"] == {BASE: ["tank/vm", "tank/vm/a"]}
    assert found["resumable"] == ["tank/vm/a"]
    assert found["bookmarks"] == [f"tank/vm/a#{BASE}"]
    assert [one["used"] for one in snapshots.look(CONFIG, used=True)["sets"]] == [150, 0, 7]
    assert commands == [["zfs", "list", "-Hp", "-r", "-t", "snapshot", "-o", "name,used", "tank/vm"]]


def test_a_host_whose_pools_are_gone_has_no_sets(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.datasets, host.held = {}, {}
    monkeypatch.setattr(snapshots.role, "load", lambda: snapshots.role.Role("PASSIVE", 3, "", "", ""))
    found = snapshots.look(CONFIG, used=True)
    assert (found["sets"], found["lists"]) == ([], {"all": [], "dates": [], "lasts": []})
