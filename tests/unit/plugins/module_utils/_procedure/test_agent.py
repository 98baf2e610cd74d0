# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import threading
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import agent, arrive, comeback, observe, offers, prune
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, content, inventory, retention

CONFIG = PairConfig("office", Host("hv2", "192.0.2.12"), Host("hv1", "192.0.2.11"), ("d/r", "e/s"), "/var/lib/libvirt/hvm")
A = "hvm_20261123T090001Z_office_B"


class Told:
    """The agent of a PASSIVE host, asked as the wire asks it; `done` is what it did to the host."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
        self.done: list[tuple[t.Any, ...]] = []
        self.role = role.Role(role.PASSIVE, 3, "", "", "boot")
        lock = operation.Lock
        monkeypatch.setattr(agent.operation, "Lock", lambda: lock(str(tmp_path / "lock")))
        monkeypatch.setattr(agent.role, "load", lambda: self.role)
        monkeypatch.setattr(agent.role, "boot_id", lambda: "boot")
        self.seen: list[int] = []
        monkeypatch.setattr(agent.role, "see", self.seen.append)
        monkeypatch.setattr(actions, "in_use", lambda dummy: "")
        for name in ("abort_receive", "rename", "set_aside", "set_properties"):
            monkeypatch.setattr(actions, name, self.note(name))
        monkeypatch.setattr(actions, "find_set", lambda datasets, name: {datasets[0]: ["1", 7]} if datasets else {})
        monkeypatch.setattr(agent.holds, "protect_set", self.note("protect"))
        monkeypatch.setattr(content, "is_readable", lambda dataset: not dataset.endswith("locked"))
        monkeypatch.setattr(content, "digest", self.note("digest"))
        self.agent = agent.Agent(CONFIG)

    def note(self, name: str) -> t.Callable[..., str]:
        def done(*arguments: t.Any) -> str:
            self.done.append((name, *arguments))
            return name

        return done

    def __call__(self, op: str, **arguments: t.Any) -> t.Any:
        return self.agent.operations()[op](arguments, lambda dummy: None)


@pytest.fixture(name="tell")
def _tell(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Told:
    return Told(monkeypatch, tmp_path)


ASKED: dict[str, dict[str, t.Any]] = {
    "receive": {"dataset": "d/r", "new": False, "volume": False, "stream": 1},
    "abort_receive": {"dataset": "d/r"},
    "rename": {"dataset": "d/r/a", "to": "d/r/b"},
    "set_aside": {"dataset": "d/r", "stamp": "20261123T094512Z"},
    "settle": {"set": A, "datasets": ["d/r"], "protect": True},
    "content": {"dataset": "d/r", "set": A, "volume": False},
    "set_properties": {"dataset": "d/r", "properties": {"compression": "zstd"}},
}
ELSEWHERE = ["d/rr", "d", "", "-F", "d/r@x", "d/r/a@x", "other/d/r"]
BAD: list[tuple[str, str, t.Any]] = [
    *((op, "dataset", name) for op in ASKED if "dataset" in ASKED[op] for name in ELSEWHERE),
    *(("rename", "to", name) for name in ("d/rr", "d/hvm-kept/x", "d/r/a@x")),
    *(("settle", "datasets", ["d/r", name]) for name in ("d/rr", "-o", "d/r@x")),
    *((op, "set", name) for op in ("settle", "content") for name in ("manual", "", "-r", A.replace("office", "other"), f"{A},x")),
    *(("set_aside", "stamp", stamp) for stamp in ("", "x", "20261123T094512Z/x", "20261123T094512Z\n")),
    ("set_properties", "properties", {"compression": "zstd", "readonly": "off"}),
    ("set_properties", "properties", {"quota": "1"}),
]


@pytest.mark.parametrize(("op", "name", "value"), BAD)
def test_whatever_comes_over_the_wire_stays_within_the_pairs_datasets_and_sets(
    tell: Told, op: str, name: str, value: t.Any
) -> None:
    tell("lock", operation="sync", owner="root", epoch=3)
    with pytest.raises(HvmError):
        tell(op, **{**ASKED[op], name: value})
    assert tell.done == []


@pytest.mark.parametrize("now", [role.ACTIVE, role.UNKNOWN, role.DIVERGED])
@pytest.mark.parametrize("op", [op for op in ASKED if op != "settle"])
def test_a_host_that_is_not_passive_takes_nothing(tell: Told, op: str, now: str) -> None:
    tell("lock", operation="sync", owner="root", epoch=3)
    tell.role = role.Role(now, 3, "", "", "boot")
    with pytest.raises(HvmError, match=f"this host is {now}: it takes nothing from the other"):
        tell(op, **ASKED[op])
    assert tell.done == []


def test_what_was_sent_is_settled_also_by_the_host_that_has_taken_over(tell: Told) -> None:
    tell.role = role.Role(role.ACTIVE, 4, "", "", "boot")
    assert tell("settle", **ASKED["settle"]) == {"found": {"d/r": ["1", 7]}, "warnings": "protect"}
    present: inventory.Inventory = {"d/r": {"snapshots": [[A, "1", 7]]}}
    assert tell.done == [("protect", CONFIG, present, A)]


def test_what_has_come_in_part_is_not_protected_and_lets_go_of_nothing(tell: Told) -> None:
    tell("lock", operation="sync", owner="root", epoch=3)
    asked = {**ASKED["settle"], "datasets": ["d/r", "e/s"]}
    assert tell("settle", **asked) == {"found": {"d/r": ["1", 7]}, "warnings": []}
    assert tell.done == []


def test_a_look_at_a_set_protects_nothing_by_itself(tell: Told) -> None:
    assert tell("settle", set=A, datasets=["e/s/a"], protect=False) == {"found": {"e/s/a": ["1", 7]}, "warnings": []}
    assert tell.done == []


def test_a_stream_comes_under_the_lock_only(tell: Told) -> None:
    with pytest.raises(HvmError, match="a stream comes under the pair's lock only"):
        tell("receive", **ASKED["receive"])


def test_a_replica_that_is_in_use_takes_no_stream(tell: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    tell("lock", operation="sync", owner="root", epoch=3)
    monkeypatch.setattr(actions, "in_use", lambda dataset: f"{dataset} is mounted")
    with pytest.raises(HvmError, match="d/r is mounted"):
        tell("receive", **ASKED["receive"])


def test_the_commands_that_take_a_stream_are_made_here(tell: Told) -> None:
    tell("lock", operation="sync", owner="root", epoch=3)
    more = {"command": ["rm"], "commands": [["rm"]]}
    assert tell("receive", **ASKED["receive"], **more) == [["zfs", "receive", "-u", "-s", "d/r"]]
    root, below = (tell("receive", dataset=name, new=True, volume=False, stream=1) for name in ("d/r", "d/r/a"))
    assert "readonly=on" in root[0] and "readonly=on" not in below[0]
    unpack, receive = tell("receive", **ASKED["receive"], compressed=True)
    assert (unpack, receive[-1]) == (["zstd", "-q", "-d", "-c"], "d/r")


@pytest.mark.parametrize(("epoch", "fits"), [(2, False), (3, True), (4, True), (None, True)])
def test_nothing_is_taken_from_a_host_that_has_missed_a_change_of_roles(tell: Told, epoch: int | None, fits: bool) -> None:
    if fits:
        assert tell("lock", operation="sync", owner="root", epoch=epoch) == {}
        assert tell.seen == ([] if epoch is None else [epoch])  # so that a failover without that host is in a later one
    else:
        with pytest.raises(HvmError, match="this host has seen epoch 3, and the one that asks is in epoch 2"):
            tell("lock", operation="sync", owner="root", epoch=epoch)


def test_what_is_asked_in_order_is_done(tell: Told) -> None:
    for op in ("abort_receive", "rename", "set_aside", "set_properties"):
        tell(op, **ASKED[op])
    assert tell("content", **ASKED["content"]) == {"digest": "digest"}
    assert tell("content", **{**ASKED["content"], "dataset": "d/r/locked"}) == {"digest": None}
    assert tell.done == [
        ("abort_receive", "d/r"),
        ("rename", "d/r/a", "d/r/b"),
        ("set_aside", "d/r", "20261123T094512Z", "office"),
        ("set_properties", "d/r", {"compression": "zstd"}),
        ("digest", "d/r", A, False),
    ]


# ---- what comes after a crash


@pytest.fixture(name="afterwards")
def _afterwards(tell: Told, monkeypatch: pytest.MonkeyPatch) -> Told:
    for name in ("replay", "become_diverged", "written"):
        monkeypatch.setattr(comeback, name, tell.note(name))

    def come_back(config: PairConfig, words: dict[str, t.Any], say: t.Callable[[str], None]) -> str:
        say("a step")
        return tell.note("come_back")(config, words)

    monkeypatch.setattr(comeback, "come_back", come_back)
    return tell


BACK = {"do": "keep", "epoch": 5, "set": A, "stamp": "20261123T094512Z", "reason": "so"}
AFTER: dict[str, dict[str, t.Any]] = {
    "see": {"epoch": 4},
    "replay": {},
    "stand_down": {"snapshot": True, "reason": "so"},
    "come_back": BACK,
}


@pytest.mark.parametrize("op", AFTER)
def test_what_changes_a_role_or_a_dataset_is_done_under_the_lock_only(afterwards: Told, op: str) -> None:
    with pytest.raises(HvmError, match="under the pair's lock only"):
        afterwards(op, **AFTER[op])
    assert (afterwards.done, afterwards.seen) == ([], [])
    afterwards("lock", operation="rejoin", owner="root")
    afterwards(op, **AFTER[op])
    assert len(afterwards.done) + len(afterwards.seen) == 1


def test_what_comes_after_a_crash_reaches_its_procedure(afterwards: Told) -> None:
    afterwards("lock", operation="rejoin", owner="root")
    events: list[dict[str, t.Any]] = []
    assert afterwards("see", epoch="4") == {"changed": None}
    assert afterwards.seen == [4]
    afterwards("replay")
    afterwards("stand_down", **AFTER["stand_down"])
    afterwards.agent.operations()["come_back"](BACK, events.append)
    assert afterwards.done == [("replay", CONFIG), ("become_diverged", CONFIG, True, "so"), ("come_back", CONFIG, BACK)]
    assert events == [{"text": "a step"}]


def test_what_was_written_is_told_of_sets_of_the_pair_only(afterwards: Told) -> None:
    for name in ("manual", "-r", A.replace("office", "other"), f"{A},x"):
        with pytest.raises(HvmError, match="is no snapshot set of the pair office"):
            afterwards("written", set=name)
    assert afterwards.done == []
    assert afterwards("written", set=A) == "written"  # it changes nothing: before a lock, too


BESIDE: dict[str, dict[str, t.Any]] = {
    "arrive": {"facts": {"set": A}},
    "arrived": {"vm": "web", "frozen": False},
    "left": {"vm": "web"},
    "drop": {"vm": "web"},
    "pack": {"vm": "web", "nvram": "web.fd", "tpm": ""},
    "depart": {},
    "take_over": {},
}


@pytest.mark.parametrize("op", BESIDE)
def test_what_goes_on_although_nobody_waits_for_it_any_more_has_nothing_beside_it(
    tell: Told, monkeypatch: pytest.MonkeyPatch, op: str
) -> None:
    """Such as an fsync on a pool that is stalled."""
    for name in BESIDE:
        monkeypatch.setattr(arrive, name, tell.note(name))
    entered, goes_on = threading.Event(), threading.Event()

    def slow(*dummy: t.Any) -> dict[str, t.Any]:
        entered.set()
        goes_on.wait(10)
        raise HvmError("it has failed in the end")

    monkeypatch.setattr(agent, "TELL_AFTER", 0.0)
    monkeypatch.setattr(arrive, "arrived", slow)
    tell("lock", operation="migrate_unsecure", owner="root")
    heard = threading.Event()
    said: list[dict[str, t.Any]] = []
    failed: list[str] = []

    def ask() -> None:
        try:
            tell.agent.operations()["arrived"](BESIDE["arrived"], lambda event: said.append(event) or heard.set())
        except HvmError as exc:
            failed.append(exc.what)

    thread = threading.Thread(target=ask)
    thread.start()
    assert entered.wait(10) and heard.wait(10)
    with pytest.raises(HvmError, match="it is still at 'arrived web'"):
        tell(op, **BESIDE[op])
    assert tell.done == []
    goes_on.set()
    thread.join(10)
    assert (said, failed) == ([{"text": "still at 'arrived web'"}], ["it has failed in the end"])
    monkeypatch.setattr(arrive, "arrived", tell.note("arrived"))
    tell(op, **BESIDE[op])
    assert [one[0] for one in tell.done] == [op]


def test_operations_are_what_has_no_underscore(tell: Told) -> None:
    found = set(tell.agent.operations())
    assert set(ASKED) <= found
    assert not [name for name in found if name.startswith("_")] and "operations" not in found


def test_only_emulators_are_run_to_say_what_they_offer(tell: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "emulators", lambda: ["/usr/bin/qemu-system-x86_64"])
    monkeypatch.setattr(offers, "offers", lambda emulators, files: (emulators, files))
    asked = ["/usr/bin/qemu-system-x86_64", "/bin/sh", "qemu-system-x86_64"]
    assert tell("offers", emulators=asked, files=["/a"]) == (["/usr/bin/qemu-system-x86_64"], ["/a"])


# ---- the schedule


def test_old_sets_go_by_the_rules_of_the_host_that_asks_and_by_nothing_that_is_no_rule(
    tell: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {"changed": True, "destroyed": ["a"], "bytes": 1, "blocked": {}, "warnings": [], "decisions": ["much"]}

    def pruned(config: PairConfig, rules: retention.Rules, progress: Progress, check: bool) -> dict[str, t.Any]:
        progress.say("1 of 1")
        tell.done.append((config, rules, check))
        return result

    monkeypatch.setattr(prune, "prune", pruned)
    events: list[dict[str, t.Any]] = []
    asked = {"rules": {"keep_last": 3, "except_at": ["12:00"], "older_than": 48}, "check": True}
    answer = tell.agent.operations()["prune"](asked, events.append)
    # whole: what is done with that of this host is done with that one's (hvm_zfs_prune both=true)
    assert answer == result and events == [{"text": "1 of 1"}]
    assert tell.done == [(CONFIG, retention.Rules(48, ("12:00",), 3), True)]
    wrong: list[t.Any] = [{"keep": 1}, {"keep_last": "1"}, {"keep_last": True}, {"keep_last": -1}, {"except_at": "12:00"}]
    for rules in wrong:
        with pytest.raises(HvmError):
            tell("prune", rules=rules, check=False)
    assert len(tell.done) == 1
