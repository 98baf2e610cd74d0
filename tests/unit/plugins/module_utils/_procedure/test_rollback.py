# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import both, rollback

CONFIG = PairConfig("office", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("ssd/a", "rot/b"), "/srv/vms/states")
SET = "hvm_20261123T000000Z_office_B"
STAMP = "20261124T000000Z"


def entry(mountpoint: str, *snapshots: str) -> dict[str, t.Any]:
    return {
        "type": "filesystem",
        "props": {"mountpoint": [mountpoint, "local"]},
        "origin": "",
        "snapshots": [[name, name, 1] for name in snapshots],
        "bookmarks": [],
    }


@pytest.mark.parametrize(
    ("state_dir", "place"),
    [
        ("/srv/vms/states", ("ssd/a/vms", "states")),
        ("/srv/vms", ("ssd/a/vms", "")),
        ("/srv/vmsx", ("ssd/a", "vmsx")),
        ("/srv/new/states", ("ssd/a", "new/states")),
        ("/var/lib", None),
    ],
)
def test_state_images_are_on_the_innermost_dataset_that_is_in_the_set(state_dir: str, place: tuple[str, str] | None) -> None:
    tree = {
        "ssd/a": entry("/srv", SET),
        "ssd/a/vms": entry("/srv/vms", SET),
        "ssd/a/new": entry("/srv/new"),  # made later
        "rot/b": entry("none", SET),
        f"ssd/a-hvm-kept-{STAMP}": entry("/srv/vms/states", SET),  # kept, not in use
    }
    assert rollback.place_of(tree, CONFIG.datasets, state_dir, SET) == place


def test_what_a_directory_of_a_set_has_is_read_with_and_without_its_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, found = {"ssd/a": entry("/srv", SET)}, {"a.xml": "<a/>"}
    monkeypatch.setattr(rollback.content, "names_in", lambda *where: [*found, "b"] if where == ("ssd/a", SET, "vms") else [])
    monkeypatch.setattr(rollback.content, "texts_in", lambda *where: found if where == ("ssd/a", SET, "vms", ".xml") else {})
    assert rollback.names_with(tree, CONFIG.datasets, "/srv/vms", SET, ".xml") == ["a"]
    assert rollback.texts_with(tree, CONFIG.datasets, "/srv/vms", SET, ".xml") == {"a": "<a/>"}
    assert rollback.texts_with(tree, CONFIG.datasets, "/etc", SET, ".xml") == {}


@pytest.mark.parametrize(
    "words",
    [
        {"do": "destroy"},
        {"set": "hvm_20261123T000000Z_other_B"},
        {"set": "-r"},
        {"stamp": "x"},
        {"stamp": f"{STAMP}/in"},
        {"do": "undo", "aside": ""},
        {"do": "undo", "aside": "-rf"},
    ],
)
def test_a_replica_takes_no_words_that_it_does_not_know(words: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback.kept, "read", lambda roots: pytest.fail("it went on"))
    with pytest.raises(HvmError, match=r"nothing that a replica can do|is no stamp"):
        rollback.swap(CONFIG, {"do": "rollback", "set": SET, "stamp": STAMP, "aside": "", **words}, lambda dummy: None)


@pytest.mark.parametrize(
    ("name", "there", "said"),
    [
        (STAMP, [], ""),
        (f"ssd/hvm-kept/a-{STAMP}", [], ""),
        (f"ssd/hvm-kept/a-{STAMP}", [f"ssd/hvm-kept/a-{STAMP}"], "is not kept by this collection for the pair office"),
        ("ssd/hvm-kept", [], "is not kept by this collection"),
        ("ssd/a", ["ssd/a"], "is not kept by this collection"),
        ("ssd", ["ssd"], "is not kept by this collection"),
        (f"ssd/a-hvm-kept-{STAMP}", [], "is not kept by this collection"),
    ],
)
def test_only_what_is_kept_is_dropped(name: str, there: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback.operation, "pending", lambda: None)
    monkeypatch.setattr(rollback.kept, "flush", lambda pools: None)
    monkeypatch.setattr(rollback.kept, "read", lambda roots: {"ssd/a": entry("/srv", SET)})
    monkeypatch.setattr(rollback.kept, "read_aside", lambda pools: {})
    monkeypatch.setattr(rollback.kept, "destroy", lambda *dummy: pytest.fail("something was destroyed"))
    monkeypatch.setattr(rollback.inventory, "existing", lambda names: [one for one in names if one in there])
    if said:
        with pytest.raises(Refused, match=said):
            rollback.drop(CONFIG, name, check=True)
    else:
        assert rollback.drop(CONFIG, name, check=True) == {"changed": False, "destroyed": {}, "freed": 0}


def test_nothing_is_dropped_while_a_rollback_is_not_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback.operation, "pending", lambda: {"operation": "undo", "started": "now"})
    with pytest.raises(HvmError, match=r"undo, begun now, did not end\. Run hvm_zfs_rollback again"):
        rollback.drop(CONFIG, STAMP, check=True)


class Other:
    """The other host: its agent of before holds the lock for so many looks."""

    def __init__(self, patch: pytest.MonkeyPatch, looks: int) -> None:
        self.left, self.asked, self.now = looks, list[str](), 0.0
        patch.setattr(rollback.preflight, "reach", lambda *dummy: (self, self.call("observe"), ""))
        patch.setattr(rollback, "observe", lambda dummy: {"host": "hv1", "lock": None, "role": {"epoch": 3}})
        patch.setattr(rollback.guards, "rollback", lambda *dummy: [])
        patch.setattr(rollback.guards, "follower", lambda dummy, other: [Finding("locked", "")] if other["lock"] else [])
        patch.setattr(both, "time", types.SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep))
        patch.setattr(rollback, "_Work", lambda *words: types.SimpleNamespace(run=lambda *dummy: words))

    def call(self, op: str, **dummy: t.Any) -> dict[str, t.Any]:
        self.asked.append(op)
        self.left -= op == "observe"
        return {"host": "hv2", "lock": "rollback by alice on hv1" if self.left >= 0 else None, "pending": None}

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_lock_that_a_power_cut_has_left_on_the_other_host_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Booting takes less than the 45 s for which the agent there waits for a word."""
    other = Other(monkeypatch, looks=2)
    monkeypatch.setattr(rollback.operation.Lock, "take", lambda *dummy: None)
    words: t.Any = rollback.apply(CONFIG, "rolled_back", "last", False, Progress())
    assert (words[1], words[2]) == (other, [])
    assert other.asked == ["observe"] * 3 + ["lock"]


def test_one_that_somebody_works_on_does_not_follow_now(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Other(monkeypatch, looks=1000)
    words: t.Any = rollback.apply(CONFIG, "rolled_back", "last", True, Progress())
    assert (words[1], words[2]) == (None, ["locked."])
    assert both.PATIENCE <= other.now < both.PATIENCE + 5


@pytest.mark.parametrize("lost", [False, True])
def test_the_set_that_was_gone_back_to_is_held_here_when_the_other_host_is_lost_meanwhile(
    monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    def settle(*dummy: t.Any) -> list[str]:
        if lost:
            raise HvmError("the connection to hv2 ended")
        return []

    peer: t.Any = types.SimpleNamespace(call=lambda *dummy, **more: {})
    held: list[str] = []
    monkeypatch.setattr(rollback.rollback, "common_set", lambda *dummy: "hvm_20261122T000000Z_office_C")
    monkeypatch.setattr(rollback.sync, "settle", settle)
    monkeypatch.setattr(rollback.holds, "hold_and_mark", lambda dummy, datasets, name: held.append(name) or [])
    work = rollback._Work(CONFIG, peer, [], "", False, Progress())
    work._protect(rollback.Aim("rollback", SET, STAMP, ""), {})
    assert (held, bool(work.warnings)) == ([SET] if lost else [], lost)


@pytest.mark.parametrize(
    ("state", "to", "kept", "aim"),
    [
        ("rolled_back", "last", "", "last"),
        ("rolled_back", "last_state", "", "last_state"),
        ("undone", "last", "", ""),
        ("undone", "last", "20261124T081500Z", "20261124T081500Z"),
        ("followed", "last", "", "last"),
        ("rolled_back", "last", "20261124T081500Z", None),  # meant to undo, and would go back
        ("followed", "last", "20261124T081500Z", None),
        ("undone", "last_state", "", None),
    ],
)
def test_words_of_another_state_are_not_ignored(state: str, to: str, kept: str, aim: str | None) -> None:
    if aim is None:
        with pytest.raises(HvmError, match="is named"):
            rollback.aim_of(state, to, kept)
    else:
        assert rollback.aim_of(state, to, kept) == aim


def test_a_set_beside_undone_is_to_be_left_out_and_not_gone_back_to() -> None:
    """As after one that was cut off: the advice is to go back, and the set is in the words of before."""
    for state, said in (("undone", "Leave the set out"), ("followed", "To go back: hvm_zfs_rollback state=rolled_back")):
        with pytest.raises(HvmError) as caught:
            rollback.aim_of(state, "20261124T081500Z", "")
        assert caught.value.remedy.startswith(said)
