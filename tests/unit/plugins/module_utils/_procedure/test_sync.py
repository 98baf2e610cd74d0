# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import functools
import importlib.util
import json
import pathlib
import random
import subprocess
import sys
import time
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import PeerLost, PeerSilent
from ansible_collections.hvm.pair.plugins.module_utils._peer.flow import Limiter, Meter
from ansible_collections.hvm.pair.plugins.module_utils._procedure import early, holds, sync
from ansible_collections.hvm.pair.plugins.module_utils._procedure.sync import Options
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, plan

CONFIG = PairConfig("office", Host("hv1", "192.0.2.11"), Host("hv2", "192.0.2.12"), ("d/r", "e/s"), "/var/lib/libvirt/hvm")
A, B, C = (f"hvm_20261123T09000{n}Z_office_B" for n in (1, 2, 3))
OTHER = "hvm_20261123T090001Z_other_B"


def entry(dataset: str, *snapshots: str, **props: str) -> dict[str, t.Any]:
    found = {"written": "0", "receive_resume_token": "-", "encryption": "off", **props}
    return {
        "type": "filesystem",
        "props": {name: [value, "-"] for name, value in found.items()},
        "snapshots": [[name, f"{dataset} {name}", n] for n, name in enumerate(snapshots, 1)],
        "bookmarks": [],
    }


def both(*snapshots: str) -> inventory.Inventory:
    return {root: entry(root, *snapshots) for root in CONFIG.datasets}


class Peer:
    """The other host: notes what it is asked, answers from `answers` (a value, an error, or a function of the arguments)."""

    name = "hv2"

    def __init__(self, **answers: t.Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, t.Any]]] = []
        self.hello: dict[str, t.Any] = {}

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self.asked.append(("end", {}))

    def call(self, op: str, **arguments: t.Any) -> t.Any:
        return self.result(self.begin(op, **arguments), op)

    def begin(self, op: str, **arguments: t.Any) -> concurrent.futures.Future[t.Any]:
        self.asked.append((op, arguments))
        answer = self.answers.get(op, {})
        future: concurrent.futures.Future[t.Any] = concurrent.futures.Future()
        try:
            answer = answer(**arguments) if callable(answer) else answer
            if isinstance(answer, Exception):
                raise answer
            future.set_result(answer)
        except Exception as exc:  # noqa: BLE001  it goes to whoever waits
            future.set_exception(exc)
        return future

    def result(self, future: concurrent.futures.Future[t.Any], dummy: str, timeout: float = 0) -> t.Any:
        return future.result(timeout)

    def send(self, stream: int, commands: t.Any, meter: Meter, limiter: Limiter) -> int:
        self.asked.append(("send", {"stream": stream, "commands": commands}))
        answer = self.answers.get("send", 7)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    @property
    def ops(self) -> list[str]:
        return [op for op, dummy in self.asked]


@pytest.fixture(autouse=True)
def _state(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "STATE", str(tmp_path))
    monkeypatch.setattr(holds, "LEDGER", str(tmp_path / "holds.json"))


# Which set


def test_the_newest_complete_set_is_chosen() -> None:
    mine = {"d/r": entry("d/r", A, B, C), "e/s": entry("e/s", A, B)}
    assert sync.choose(CONFIG, mine, None) == B
    assert sync.choose(CONFIG, mine, A) == A
    assert sync.choose(CONFIG, mine, C) == C  # the plan says what it lacks


@pytest.mark.parametrize(
    ("mine", "snapshot", "what"),
    [
        ({"d/r": entry("d/r", A)}, None, "there is no dataset e/s on hv1"),
        ({}, A, "there is no dataset d/r, e/s on hv1"),
        (both(), None, "there is no complete snapshot set of the pair office on hv1"),
        (both("manual", OTHER), None, "there is no complete snapshot set of the pair office on hv1"),
        (both(A), "manual", "'manual' is not the name of a snapshot set of the pair office"),
        (both(A), "", "'' is not the name of a snapshot set of the pair office"),
        (both(A), OTHER, f"'{OTHER}' is not the name of a snapshot set of the pair office"),
        (both(A), f"{A} -x", f"'{A} -x' is not the name of a snapshot set of the pair office"),
    ],
)
def test_a_set_that_cannot_be_sent_is_refused(mine: inventory.Inventory, snapshot: str | None, what: str) -> None:
    with pytest.raises(HvmError) as caught:
        sync.choose(CONFIG, mine, snapshot)
    assert caught.value.what == what
    assert caught.value.remedy


# The plan


def test_only_tokens_that_are_there_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def decode(token: str) -> plan.Token | None:
        asked.append(token)
        return {"toguid": f"d/r {B}", "toname": f"d/r@{B}", "fromguid": f"d/r {A}"} if token == "1-r" else None

    monkeypatch.setattr(sync.actions, "decode_token", decode)
    theirs = both(A)
    theirs["d/r"]["props"]["receive_resume_token"] = ["1-r", "-"]
    theirs["e/s"]["props"]["receive_resume_token"] = ["1-s", "-"]
    theirs["d/r/x"] = entry("d/r/x")
    made = sync.make_plan(CONFIG, both(A, B), theirs, B)
    assert asked == ["1-r", "1-s"]
    assert [(step.dataset, step.token) for step in made.steps] == [("d/r", "1-r"), ("e/s", "")]
    assert made.aborts == ["e/s"]


def test_what_does_not_fit_is_refused_with_everything_at_once() -> None:
    with pytest.raises(Refused) as caught:
        sync.make_plan(CONFIG, both(A), both(B), A)
    assert [finding.what for finding in caught.value.findings] == [
        f"dataset {root} on hv2 has no snapshot in common with this host" for root in CONFIG.datasets
    ]
    assert caught.value.what.startswith(f"the sync of {A} is refused, nothing was changed")


def test_what_is_not_there_cannot_be_set_aside() -> None:
    with pytest.raises(HvmError, match="there is no dataset d/x, d/y on hv2 to set aside"):
        sync.make_plan(CONFIG, both(A), both(A), A, ["d/x", "d/r", "d/y"])


def test_a_plan_is_described_with_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync.actions, "estimate", lambda step: {"d/r": 100, "e/s": None}[step.dataset])
    theirs = {**both(A), "d/r/old": entry("d/r/old")}
    described = sync.describe(sync.make_plan(CONFIG, both(A, B), theirs, B), B)
    assert [(step["dataset"], step["base"], step["bytes"]) for step in described["plan"]] == [("d/r", A, 100), ("e/s", A, None)]
    rest = {key: value for key, value in described.items() if key != "plan"}
    assert rest == {
        "changed": True,
        "set": B,
        "bytes": 100,
        "renames": [],
        "aside": [],
        "aborts": [],
        "properties": {},
        "extra": ["d/r/old"],
        "base": A,
    }


# The sync over any history: the model of two hosts of test_plan.py, with the plans carried out by the code under test


def _model() -> types.ModuleType:
    path = pathlib.Path(__file__).parents[1] / "_zfs" / "test_plan.py"
    spec = importlib.util.spec_from_file_location("model_of_zfs", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODEL = _model()


class Later:
    """A job of the pool: done when somebody wants its result."""

    def __init__(self, work: t.Callable[..., t.Any], *arguments: t.Any) -> None:
        self._work, self._arguments = work, arguments
        self._done: list[t.Any] = []

    def result(self) -> t.Any:
        if not self._done:
            self._done.append(self._work(*self._arguments))
        return self._done[0]


class Pool:
    """What is in it at the same time is done in any order."""

    def __init__(self, dummy: int) -> None:
        pass

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        pass

    submit = staticmethod(Later)

    def shutdown(self, cancel_futures: bool) -> None:
        assert cancel_futures


class Synced(MODEL.World):  # type: ignore[name-defined,misc]
    """Its plans are carried out by `sync.sync`; the other host's agent is the model's target."""

    name = "hv2"

    def __init__(self) -> None:
        super().__init__()
        self.wanted = ""
        self.left = -1  # substreams until the connection ends

    def sync(self, snapshot: str, cut: int = -1) -> plan.Plan:
        self.wanted = snapshot
        return t.cast("plan.Plan", super().sync(snapshot, cut))

    def apply(self, made: plan.Plan, cut: int = -1) -> None:
        self.left = cut
        theirs = copy.deepcopy(self.target)
        options = Options(protect=False, aside=tuple(made.aside))
        try:
            result = sync.sync(CONFIG, t.cast("t.Any", self), Progress(), self.wanted, options, self.source, theirs)
        except PeerLost:
            assert self.left == 0
        except HvmError as exc:
            assert "is not complete on hv2" in exc.what  # `verify` knows whether that is right
        else:
            assert result["changed"] is not made.is_empty
            assert set(result["datasets"]) == {step.dataset for step in made.steps}

    def send_one(self, dummy: t.Any, dummy2: t.Any, step: plan.Step, *dummy3: t.Any) -> int:
        token = step.token
        substreams = self.sent(step)
        for substream in substreams:
            self.received(step, substream, token, self.left == 0)
            if self.left == 0:
                raise PeerLost("cut")
            self.left -= 1
            token = ""
        return len(substreams)

    # what the agent does

    def call(self, op: str, **arguments: t.Any) -> t.Any:
        return getattr(self, f"op_{op}")(**arguments)

    def op_set_aside(self, dataset: str, stamp: str) -> dict[str, str]:
        found = self.without(self.target, dataset)
        assert found
        self.kept += found
        return {"kept": f"kept/{dataset}-{stamp}"}

    def op_abort_receive(self, dataset: str) -> None:
        self.abort(dataset)

    def op_rename(self, dataset: str, to: str) -> None:
        self.rename(self.target, dataset, to)

    def op_set_properties(self, dataset: str, properties: dict[str, str]) -> None:
        for name, value in properties.items():
            self.target[dataset]["props"][name] = [value, "local"]

    def op_settle(self, set: str, datasets: list[str], protect: bool) -> dict[str, t.Any]:
        assert not protect
        there = {name: self.target[name]["snapshots"] for name in datasets if name in self.target}
        found = {name: [snap[1], snap[2]] for name, snaps in there.items() for snap in snaps if snap[0] == set}
        return {"found": found, "warnings": []}


@pytest.fixture(name="model")
def _model_of_two_hosts(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[random.Random], Synced]:
    def make(dice: random.Random) -> Synced:
        def shuffled(jobs: list[Later]) -> list[Later]:
            return dice.sample(jobs, len(jobs))

        world = Synced()

        def decode(token: str) -> plan.Token | None:
            return dict(world.tokens[token]) if token in world.tokens else None

        futures = types.SimpleNamespace(ThreadPoolExecutor=Pool, as_completed=shuffled, Future=concurrent.futures.Future)
        monkeypatch.setattr(sync, "concurrent", types.SimpleNamespace(futures=futures))
        monkeypatch.setattr(sync, "send_one", world.send_one)
        watch = types.SimpleNamespace(begin=Meter, end=str, failure="")
        monkeypatch.setattr(sync, "Watch", lambda *dummy: contextlib.nullcontext(watch))
        monkeypatch.setattr(sync.actions, "decode_token", decode)
        return world

    return make


def test_whatever_has_happened_and_in_whatever_order_streams_run_a_sync_does_its_plan(
    model: t.Callable[[random.Random], Synced],
) -> None:
    """Parents, renames and drops in an order that ZFS takes; cut anywhere; verified; and the next one has nothing to do."""
    for seed in range(300):
        dice = random.Random(seed)
        history = [(dice.choice(MODEL.LIKELY), dice.randrange(1024)) for dummy in range(dice.randrange(5, 25))]
        world = model(dice)
        try:
            for deed, n in history:
                MODEL.DEEDS[deed](world, n)
            world.sync(MODEL.new_set(world))
        except Exception as exc:
            exc.add_note(f"seed {seed}: {history}")
            raise


def moved(*pairs: tuple[str, str], new: t.Sequence[str] = (), snapshots: t.Sequence[str] = (A,)) -> tuple[t.Any, t.Any]:
    """Inventories of here and there: datasets with another name, and new ones."""
    mine, theirs = both(A, B), both(A)
    for there, here in pairs:
        mine[here], theirs[there] = entry(here, A, B), entry(here, *snapshots)
    mine.update({name: entry(name, B) for name in new})
    return mine, theirs


def played(
    model: t.Callable[[random.Random], Synced], mine: inventory.Inventory, theirs: inventory.Inventory
) -> inventory.Inventory:
    """The target after a sync of B, for several orders of what runs at once."""
    for seed in range(20):
        world = model(random.Random(seed))
        world.count = 1000
        world.source, world.target = copy.deepcopy((mine, theirs))
        world.tokens = {"1-x": {"toguid": "gone", "toname": "gone@gone"}}
        world.sync(B)
        assert set(world.target) == set(mine)
    return t.cast("inventory.Inventory", world.target)


def test_increments_below_a_renamed_dataset_come_after_the_rename(model: t.Callable[[random.Random], Synced]) -> None:
    played(model, *moved(("d/r/old", "d/r/new"), ("d/r/old/b", "d/r/new/b"), ("d/r/old/b/c", "d/r/new/b/c")))


def test_renames_of_one_level_come_in_their_order(model: t.Callable[[random.Random], Synced]) -> None:
    """The second one's dataset is where the first one has brought it."""
    played(model, *moved(("d/r/p", "d/r/n1"), ("d/r/p/c", "d/r/n2"), ("d/r/p/c/x", "d/r/n3")))


def test_a_dataset_is_renamed_into_a_new_one_after_that_has_come(model: t.Callable[[random.Random], Synced]) -> None:
    played(model, *moved(("d/r/a", "d/r/box/in/a"), new=["d/r/box", "d/r/box/in"]))


def test_a_cut_stream_of_a_renamed_dataset_is_dropped_under_the_name_it_has(
    model: t.Callable[[random.Random], Synced],
) -> None:
    mine, theirs = moved(("d/r/old", "d/r/new"), ("d/r/old/b", "d/r/new/b"))
    theirs["d/r/old/b"]["props"]["receive_resume_token"] = ["1-x", "-"]
    after = played(model, mine, theirs)
    assert after["d/r/new/b"]["props"]["receive_resume_token"] == ["-", "-"]


# The whole of it


@pytest.fixture(name="protection")
def _protection(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Holds here: what is held, what was done, what fails."""
    here = types.SimpleNamespace(held={}, done=[], failing=set())

    def hold(roots: t.Any, datasets: t.Any, snapshot: str, pair: str, remember: t.Callable[[str], None]) -> list[str]:
        remember(snapshot)
        here.done.append(f"hold {snapshot}")
        if "hold" in here.failing:
            return [f"{snapshot} is not held: no"]
        here.held[snapshot] = ["d/r", "e/s"]
        return []

    def release(roots: t.Any, snapshot: str, pair: str) -> None:
        here.done.append(f"release {snapshot}")
        if snapshot in here.failing:
            raise CommandError(["zfs", "release"], 1, "", "busy")
        here.held.pop(snapshot, None)

    monkeypatch.setattr(holds.protect, "hold_and_mark", hold)
    monkeypatch.setattr(holds.protect, "release", release)
    monkeypatch.setattr(holds.protect, "held", lambda *dummy: dict(here.held))
    return here


def agent(**more: t.Any) -> Peer:
    """An agent whose host has everything of B after the streams."""

    def settle(set: str, datasets: list[str], protect: bool) -> dict[str, t.Any]:
        return {"found": {name: [f"{name} {set}", 99] for name in datasets}, "warnings": []}

    return Peer(**{"settle": settle, "set_aside": lambda dataset, stamp: {"kept": f"{dataset}-{stamp}"}, **more})


def test_a_set_is_sent_verified_and_the_one_before_let_go(protection: types.SimpleNamespace) -> None:
    holds._write_ledger({A: True})
    protection.held[A] = ["d/r"]
    peer, progress = agent(), Progress()
    result = sync.sync(CONFIG, t.cast("t.Any", peer), progress, None, mine=both(A, B), theirs=both(A))
    assert sorted(peer.ops[:-1]) == ["receive", "receive", "send", "send"]
    assert peer.ops[-1] == "settle"
    seconds = result.pop("seconds")
    assert seconds >= 0
    assert result == {
        "changed": True,
        "set": B,
        "bytes": 14,
        "datasets": {"d/r": 7, "e/s": 7},
        "warnings": [],
        "properties": {},
        "renamed": [],
        "resumed": [],
        "kept": [],
        "verified": True,
        "extra_on_peer": [],
    }
    assert protection.done == [f"hold {B}", f"release {A}"]
    assert holds.ledger() == {B: True}
    assert {"dataset": "d/r", "bytes": 7, "done": True} in [
        {key: line[key] for key in ("dataset", "bytes", "done")} for line in progress.lines if "done" in line
    ]


def test_nothing_to_send_asks_nothing_and_holds_nothing(protection: types.SimpleNamespace) -> None:
    peer = agent()
    result = sync.sync(CONFIG, t.cast("t.Any", peer), Progress(), None, mine=both(A), theirs=both(A))
    assert (result["changed"], result["verified"], result["bytes"], result["warnings"]) == (False, True, 0, [])
    assert (peer.ops, protection.done) == ([], [])


@pytest.mark.parametrize("word", ["retries", "stalled", "give_up"])
def test_less_than_nothing_is_refused(word: str) -> None:
    with pytest.raises(HvmError, match=f"{word} is less than 0. Give 0 or more"):
        Options(**{word: -1})


def test_what_is_gone_here_is_told_each_time_until_it_is_put_aside(protection: types.SimpleNamespace) -> None:
    theirs = {**both(A), "d/r/gone": both(A)["d/r"], "d/r/gone/in": both(A)["d/r"]}
    result = sync.sync(CONFIG, t.cast("t.Any", agent()), Progress(), None, mine=both(A), theirs=theirs)
    assert result["extra_on_peer"] == ["d/r/gone", "d/r/gone/in"]
    assert result["warnings"] == [
        (
            "d/r/gone on hv2: gone on this host; older sets are incomplete with it, and no VM can be migrated there. "
            "hvm_zfs_sync with set_aside [d/r/gone] puts it aside, where it is kept"
        )
    ]


def test_a_set_that_is_there_and_not_held_is_held(protection: types.SimpleNamespace) -> None:
    peer = agent()
    result = sync.sync(CONFIG, t.cast("t.Any", peer), Progress(), None, mine=both(A), theirs=both(A), unprotected=True)
    assert result["changed"] is True
    assert (peer.ops, protection.done) == (["settle"], [f"hold {A}"])
    assert peer.asked[0][1] == {"set": A, "datasets": ["d/r", "e/s"], "protect": True}


def test_a_set_is_held_before_anything_is_sent_and_let_go_only_when_it_has_come(protection: types.SimpleNamespace) -> None:
    """Else what was sent in part has no base left here."""
    holds._write_ledger({A: True})
    peer = agent(settle={"found": {"d/r": [f"d/r {B}", 99]}, "warnings": []})
    with pytest.raises(HvmError, match=f"the set {B} is not complete on hv2: e/s: {B} is not there"):
        sync.sync(CONFIG, t.cast("t.Any", peer), Progress(), None, mine=both(A, B), theirs=both(A))
    assert protection.done == [f"hold {B}"]
    assert holds.ledger() == {A: True, B: False}


def test_a_stream_that_fails_leaves_both_held(protection: types.SimpleNamespace) -> None:
    holds._write_ledger({A: True})
    peer = agent(send=CommandError(["zfs", "send"], 1, "", "snapshot is gone"))
    with pytest.raises(CommandError, match="snapshot is gone"):
        sync.sync(CONFIG, t.cast("t.Any", peer), Progress(), None, mine=both(A, B), theirs=both(A))
    assert protection.done == [f"hold {B}"]
    assert holds.ledger() == {A: True, B: False}
    assert "settle" not in peer.ops


def test_a_set_that_cannot_be_held_is_sent_and_the_one_before_stays_held(protection: types.SimpleNamespace) -> None:
    holds._write_ledger({A: True})
    protection.failing = {"hold"}
    result = sync.sync(CONFIG, t.cast("t.Any", agent()), Progress(), None, mine=both(A, B), theirs=both(A))
    assert (result["verified"], result["warnings"]) == (True, [f"{B} is not held: no"])
    assert protection.done == [f"hold {B}"]
    assert holds.ledger() == {A: True, B: False}


def test_without_protection_nothing_is_held(protection: types.SimpleNamespace) -> None:
    peer = agent()
    sync.sync(CONFIG, t.cast("t.Any", peer), Progress(), None, Options(protect=False), both(A, B), both(A))
    assert protection.done == []
    assert peer.asked[-1] == ("settle", {"set": B, "datasets": ["d/r", "e/s"], "protect": False})


def test_what_the_replica_lacks_is_said_before_it_is_sent(protection: types.SimpleNamespace) -> None:
    mine, theirs = both(A, B), both(A)
    mine["d/r"]["props"]["compression"] = ["zstd", "local"]
    theirs["e/s"] = entry("other", A)
    peer, progress = agent(), Progress()
    result = sync.sync(CONFIG, t.cast("t.Any", peer), progress, B, Options(aside=("e/s",)), mine, theirs)
    assert peer.ops[0] == "set_aside"
    assert ("set_properties", {"dataset": "d/r", "properties": {"compression": "zstd"}}) in peer.asked
    assert len(result["kept"]) == 1 and result["kept"][0].startswith("e/s-20")
    assert progress.lines[0]["text"] == f"hv2: e/s is kept as {result['kept'][0]}"
    full = next(arguments for op, arguments in peer.asked if op == "receive" and arguments["dataset"] == "e/s")
    assert (full["new"], full["volume"], full["compressed"]) == (True, False, False)


def test_what_does_not_work_there_and_does_no_harm_is_a_warning(protection: types.SimpleNamespace) -> None:
    def settle(set: str, datasets: list[str], protect: bool) -> dict[str, t.Any]:
        return {"found": {name: [f"{name} {set}", 99] for name in datasets}, "warnings": ["hv2: no hold"]}

    result = sync.sync(CONFIG, t.cast("t.Any", agent(settle=settle)), Progress(), None, mine=both(A, B), theirs=both(A))
    assert result["warnings"] == ["hv2: no hold"]


# One stream


STEP = plan.Step("d/r", A, B, False, False)


def one(peer: Peer, step: plan.Step = STEP, compress: bool = False, failure: str = "") -> int:
    meter = Meter(step.dataset)
    meter.failure = failure
    return sync.send_one(CONFIG, t.cast("t.Any", peer), step, meter, Limiter(), compress)


def test_a_stream_is_announced_and_sent_under_its_number() -> None:
    peer = Peer()
    assert one(peer) == one(peer) == 7
    (first, announced), (dummy, sent), (again, other), dummy2 = peer.asked
    assert (first, again) == ("receive", "receive")
    assert announced["stream"] == sent["stream"] != other["stream"]
    assert announced == {"stream": announced["stream"], "dataset": "d/r", "new": False, "volume": False, "compressed": False}
    assert sent["commands"] == [["zfs", "send", "-L", "-c", "-e", "-I", f"@{A}", f"d/r@{B}"]]


def test_a_compressed_stream_is_compressed_here_and_announced_so() -> None:
    peer = Peer()
    one(peer, compress=True)
    assert peer.asked[0][1]["compressed"] is True
    assert [command[0] for command in peer.asked[1][1]["commands"]] == ["zfs", "zstd"]


@pytest.mark.parametrize(("token", "new"), [("", True), ("1-abc", False)])
def test_half_a_first_stream_makes_no_dataset(token: str, new: bool) -> None:
    peer = Peer()
    one(peer, plan.Step("d/r", None, A, True, False, token))
    assert (peer.asked[0][1]["new"], peer.asked[0][1]["volume"]) == (new, True)


BROKEN = CommandError(["zfs", "send"], 141, "", "it said nothing")
FULL = HvmError("hv2: 'zfs receive' failed (1): out of space", "", stderr="cannot receive: out of space")
CUT = HvmError("hv2: 'zfs receive' failed (1): cannot receive: incomplete stream", "", stderr="incomplete stream")


def test_the_receiver_knows_better_why_it_ended() -> None:
    with pytest.raises(HvmError, match="out of space") as caught:
        one(Peer(send=BROKEN, receive=copy.copy(FULL)))
    assert "Free space on hv2" in caught.value.remedy


def test_a_receiver_whose_stream_was_cut_has_no_news() -> None:
    with pytest.raises(CommandError, match="it said nothing"):
        one(Peer(send=BROKEN, receive=copy.copy(CUT)))


def test_a_receiver_that_failed_at_the_very_end_fails_the_stream_with_a_remedy() -> None:
    with pytest.raises(HvmError, match="out of space") as caught:
        one(Peer(receive=copy.copy(FULL)))
    assert "Free space on hv2" in caught.value.remedy


def test_a_lost_connection_stays_one() -> None:
    lost = PeerLost("the connection ended", "go on")
    for peer in (Peer(send=lost, receive=copy.copy(FULL)), Peer(receive=lost)):
        with pytest.raises(PeerLost, match="the connection ended"):
            one(peer)


def test_a_connection_that_was_ended_for_a_stream_that_stood_still_says_so() -> None:
    why = "no byte of d/r has moved for 900 s: it waits for hv2"
    with pytest.raises(PeerLost) as caught:
        one(Peer(receive=PeerLost("the connection to hv2 ended: closed")), failure=why)
    assert (caught.value.what, caught.value.remedy) == (why, "Run this again: it goes on where it was cut.")


def test_each_stream_is_measured_against_its_own_estimate(
    protection: types.SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int | None]] = []
    watches: list[t.Any] = []

    def watch(say: t.Any, estimate: t.Callable[[str], int | None], stalled: float, give_up: float) -> t.Any:
        watches.append((stalled, give_up))
        return contextlib.nullcontext(
            types.SimpleNamespace(begin=lambda name: asked.append((name, estimate(name))) or Meter(name), end=str, failure="")
        )

    monkeypatch.setattr(sync, "Watch", watch)
    monkeypatch.setattr(sync.actions, "estimate", lambda step: {None: 1000, A: 10}[step.base])
    mine = {**both(A, B), "d/r/new": entry("d/r/new", A, B)}
    sync.sync(CONFIG, t.cast("t.Any", agent()), Progress(), B, Options(stalled=5, give_up=6), mine, both(A, B))
    assert asked == [("d/r/new", 1000), ("d/r/new", 10)]
    assert watches == [(5, 6)]


# Again, after a lost connection


@pytest.fixture(name="attempts")
def _attempts(monkeypatch: pytest.MonkeyPatch) -> list[t.Any]:
    """What `run` finds at each attempt, and is left with: an error, or a function of (options, kept)."""
    found: list[t.Any] = []
    naps: list[float] = []
    begun: list[t.Any] = []

    def attempt(
        dummy: t.Any, dummy2: t.Any, dummy3: t.Any, check: bool, options: Options, kept: dict[str, str], ahead: t.Any
    ) -> t.Any:
        begun.append(ahead)
        what = found.pop(0)
        if isinstance(what, Exception):
            raise what
        return what(options, kept)

    monkeypatch.setattr(sync, "_run", attempt)
    monkeypatch.setattr(sync.time, "sleep", naps.append)
    monkeypatch.setattr(sync, "RETRY_AFTER", 50.0)
    together: list[t.Any] = [found, naps, begun]
    return together


LOST = PeerLost("the connection to hv2 ended: timeout", "Run this again.")


def test_a_lost_connection_is_made_again(attempts: list[t.Any]) -> None:
    found, naps, dummy = attempts
    found += [LOST, LOST, lambda *dummy: {"changed": True}]
    progress = Progress()
    assert sync.run(CONFIG, progress, None, False) == {"changed": True}
    assert naps == [50.0, 50.0]
    assert [line["text"] for line in progress.lines] == [
        f"the connection to hv2 ended: timeout; trying again in 50 s ({left} left)" for left in (2, 1)
    ]


def test_what_was_begun_ahead_serves_the_first_attempt_only(attempts: list[t.Any]) -> None:
    found, dummy, begun = attempts
    found += [LOST, lambda *dummy: {"changed": True}]
    ahead: t.Any = object()
    sync.run(CONFIG, Progress(), None, False, ahead=ahead)
    assert begun == [ahead, None]


def test_a_host_that_is_down_is_an_error_at_once_and_one_that_went_down_is_waited_for(attempts: list[t.Any]) -> None:
    found, naps, dummy = attempts
    silent = PeerSilent("the connection to hv2 ended: connect: No route to host", "Check that hv2 is up.")
    found += [silent]
    with pytest.raises(PeerSilent):
        sync.run(CONFIG, Progress(), None, False)
    assert naps == []
    found += [LOST, silent, lambda *dummy: {"changed": True}]
    assert sync.run(CONFIG, Progress(), None, False) == {"changed": True}
    assert naps == [50.0, 50.0]


def test_it_is_not_made_for_ever(attempts: list[t.Any]) -> None:
    found, naps, dummy = attempts
    found += [LOST, LOST, lambda *dummy: pytest.fail("once too often")]
    with pytest.raises(PeerLost):
        sync.run(CONFIG, Progress(), None, False, Options(retries=1))
    assert naps == [50.0]


def test_a_look_is_not_tried_again(attempts: list[t.Any]) -> None:
    found, naps, dummy = attempts
    found += [LOST]
    with pytest.raises(PeerLost):
        sync.run(CONFIG, Progress(), None, True)
    assert naps == []


@pytest.mark.parametrize(
    "error",
    [
        HvmError("hv2: the pool is full"),
        Refused("the sync", [Finding("it is ACTIVE", "Look.")]),
        CommandError(["zfs", "send"], 1, "", "gone"),
        ValueError("a bug"),
    ],
)
def test_nothing_else_is_tried_again(attempts: list[t.Any], error: Exception) -> None:
    found, naps, dummy = attempts
    found += [error]
    with pytest.raises(type(error)):
        sync.run(CONFIG, Progress(), None, False)
    assert naps == []


def test_what_was_set_aside_is_not_set_aside_again(attempts: list[t.Any]) -> None:
    """There is half of the new replica in its place, and that is to go on."""
    found, *dummy = attempts
    seen: list[tuple[str, ...]] = []

    def cut(options: Options, kept: dict[str, str]) -> None:
        seen.append(options.aside)
        kept["d/a"] = "d/hvm-kept/a"
        raise LOST

    def done(options: Options, kept: dict[str, str]) -> dict[str, str]:
        seen.append(options.aside)
        return dict(kept)

    found += [cut, done]
    assert sync.run(CONFIG, Progress(), None, False, Options(aside=("d/a", "d/b"))) == {"d/a": "d/hvm-kept/a"}
    assert seen == [("d/a", "d/b"), ("d/b",)]


def test_a_cut_after_setting_aside_remembers_what_was_kept(protection: types.SimpleNamespace) -> None:
    theirs = both(A)
    theirs["e/s"] = entry("other", A)
    kept: dict[str, str] = {}
    with pytest.raises(PeerLost):
        sync.sync(
            CONFIG, t.cast("t.Any", agent(send=LOST)), Progress(), B, Options(aside=("e/s",)), both(A, B), theirs, kept=kept
        )
    assert list(kept) == ["e/s"]
    done = sync.sync(CONFIG, t.cast("t.Any", agent()), Progress(), B, Options(), both(A, B), both(A), kept=kept)
    assert done["kept"] == list(kept.values())


def test_a_verified_set_that_is_sent_anew_is_none_until_it_is_there_again(protection: types.SimpleNamespace) -> None:
    """Else a prune here would ask nobody what the replica has by now."""
    holds._write_ledger({B: True})
    theirs = both(A, B)
    theirs["e/s"] = entry("other", A)
    aside = Options(aside=("e/s",))
    with pytest.raises(PeerLost):
        sync.sync(CONFIG, t.cast("t.Any", agent(send=LOST)), Progress(), B, aside, both(A, B), theirs)
    assert holds.ledger() == {B: False}
    sync.sync(CONFIG, t.cast("t.Any", agent()), Progress(), B, Options(), both(A, B), {"d/r": both(A, B)["d/r"]})
    assert holds.ledger() == {B: True}


def test_without_a_ledger_a_set_is_held_before_it_is_sent(
    protection: types.SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is all that says then, after a cut, that the other host may have it."""
    hold = holds.protect.hold_and_mark

    def slow(*arguments: t.Any) -> list[str]:
        time.sleep(0.2)
        return hold(*arguments)

    def receive(**dummy: t.Any) -> dict[str, t.Any]:
        assert protection.held == {B: ["d/r", "e/s"]}
        return {}

    monkeypatch.setattr(holds.protect, "hold_and_mark", slow)
    sync.sync(CONFIG, t.cast("t.Any", agent(receive=receive)), Progress(), B, mine=both(A, B), theirs=both(A))
    assert holds.ledger() == {B: True}


# As an operation of its own


@pytest.fixture(name="pair")
def _pair(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, protection: types.SimpleNamespace) -> types.SimpleNamespace:
    found = types.SimpleNamespace(mine=both(A, B), theirs=both(A), protected={}, findings=[], peer=agent(), locks=[])
    lock = operation.Lock

    def connect(config: PairConfig, dialled: None, look: bool) -> Peer:
        assert look
        found.peer.hello = {"look": {"observation": {"me": "hv2"}, "inventory": found.theirs, "protected": found.protected}}
        return t.cast("Peer", found.peer)

    def guard(me: dict[str, t.Any], other: dict[str, t.Any]) -> list[Finding]:
        assert (me["role"], other) == ({"epoch": 3}, {"me": "hv2"})
        return t.cast("list[Finding]", found.findings)

    found.peer.answers["datasets"] = lambda: found.theirs
    monkeypatch.setattr(sync, "Peer", connect)
    monkeypatch.setattr(sync, "look", lambda *dummy: ({"role": {"epoch": 3}}, found.mine))
    monkeypatch.setattr(sync.guards, "sync", guard)
    monkeypatch.setattr(sync, "read_datasets", lambda dummy: found.mine)
    monkeypatch.setattr(sync.actions, "estimate", lambda dummy: 5)
    monkeypatch.setattr(sync.operation, "Lock", lambda: lock(str(tmp_path / "lock")))
    return found


def run(check: bool = False, snapshot: str | None = None, **options: t.Any) -> dict[str, t.Any]:
    return sync.run(CONFIG, Progress(), snapshot, check, Options(**options))


def test_both_locks_are_taken_before_anything_is_sent(pair: types.SimpleNamespace) -> None:
    pair.peer.answers["lock"] = lambda **dummy: pair.locks.append(operation.lock_holder(sync.operation.Lock()._path))
    assert run()["changed"] is True
    assert pair.peer.ops[:2] == ["lock", "datasets"]
    assert pair.peer.asked[0][1]["epoch"] == 3
    assert "sync by" in pair.locks[0]
    assert pair.peer.ops[-1] == "end"
    assert not operation.lock_holder(sync.operation.Lock()._path)


def test_a_guard_that_says_no_is_heard_before_any_lock(pair: types.SimpleNamespace) -> None:
    pair.findings.append(Finding("hv2 is ACTIVE", "Look at it."))
    with pytest.raises(Refused, match="the sync is refused, nothing was changed: hv2 is ACTIVE"):
        run()
    assert pair.peer.ops == ["end"]


def test_check_mode_says_the_plan_and_locks_nothing(pair: types.SimpleNamespace, protection: types.SimpleNamespace) -> None:
    found = run(check=True)
    assert [(step["dataset"], step["base"], step["snapshot"], step["bytes"]) for step in found["plan"]] == [
        ("d/r", A, B, 5),
        ("e/s", A, B, 5),
    ]
    assert pair.peer.ops == ["end"]
    assert protection.done == []


def test_check_mode_with_the_set_still_to_come(pair: types.SimpleNamespace) -> None:
    pair.mine = both()
    assert run(check=True) == {"changed": True, "set": "the one that will be taken", "plan": []}
    with pytest.raises(HvmError, match="there is no complete snapshot set"):
        run()


def test_nothing_to_do_is_one_question_and_no_lock(pair: types.SimpleNamespace) -> None:
    pair.theirs = both(A, B)
    pair.protected = {B: True}
    holds._write_ledger({B: True})
    result = run()
    assert (result["changed"], result["set"]) == (False, B)
    assert pair.peer.ops == ["end"]


@pytest.mark.parametrize(("here", "there"), [(False, True), (True, False)])
def test_a_set_that_one_side_does_not_hold_is_made_up_for(
    pair: types.SimpleNamespace, protection: types.SimpleNamespace, here: bool, there: bool
) -> None:
    pair.theirs = both(A, B)
    pair.protected = {B: there}
    holds._write_ledger({B: here})
    assert run()["changed"] is True
    assert pair.peer.ops == ["lock", "datasets", "settle", "end"]
    assert protection.done == [f"hold {B}"]


# Holds: what the ledger knows at every moment


class Crash(Exception):
    pass


def crashing(monkeypatch: pytest.MonkeyPatch, protection: types.SimpleNamespace, after: int) -> None:
    """The process ends before its step number `after` of those that change something."""
    left = [after]

    def counted(work: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def step(*arguments: t.Any) -> t.Any:
            if not left[0]:
                raise Crash
            left[0] -= 1
            return work(*arguments)

        return step

    def hold(roots: t.Any, datasets: t.Any, snapshot: str, pair: str, remember: t.Callable[[str], None]) -> list[str]:
        remember(snapshot)
        counted(lambda: protection.held.update({snapshot: ["d/r"]}))()
        return []

    monkeypatch.setattr(holds.protect, "hold_and_mark", hold)
    monkeypatch.setattr(holds.protect, "release", counted(lambda roots, snapshot, pair: protection.held.pop(snapshot, None)))
    monkeypatch.setattr(holds, "write_atomic", counted(holds.write_atomic))


@pytest.mark.parametrize("first", [None, {}, {A: True}, {A: True, "hvm_older": True}, {A: False}])
def test_no_hold_is_ever_forgotten_whenever_it_crashes(
    first: dict[str, bool] | None, protection: types.SimpleNamespace, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed = 0
    for after in range(8):
        protection.held = {name: ["d/r"] for name in first or {}} if first is not None else {A: ["d/r"], "hvm_older": ["d/r"]}
        pathlib.Path(holds.LEDGER).unlink(missing_ok=True)
        if first is not None:
            holds._write_ledger(first)
        with monkeypatch.context() as patch:
            crashing(patch, protection, after)
            try:
                holds.protect_set(CONFIG, both(B), B)
            except Crash:
                crashed += 1
        known = holds.ledger()
        assert known is None or set(protection.held) <= set(known)  # without a ledger ZFS is asked
        assert B in protection.held or set(protection.held) >= set(first or {})  # one of them is always held
        holds.protect_set(CONFIG, both(C), C)
        assert (set(protection.held), holds.ledger()) == ({C}, {C: True})
    assert crashed >= 2


def test_without_a_ledger_zfs_is_asked_what_is_held(protection: types.SimpleNamespace) -> None:
    protection.held = {A: ["d/r"], "hvm_older": ["e/s"]}
    assert holds.protect_set(CONFIG, both(B), B) == []
    assert protection.done == [f"hold {B}", f"release {A}", "release hvm_older"]
    assert holds.ledger() == {B: True}


def test_with_a_ledger_only_what_it_knows_is_let_go(protection: types.SimpleNamespace) -> None:
    protection.held = {A: ["d/r"], "of somebody": ["e/s"]}
    holds._write_ledger({A: True})
    holds.protect_set(CONFIG, both(B), B)
    assert protection.held == {B: ["d/r", "e/s"], "of somebody": ["e/s"]}


def test_what_cannot_be_let_go_stays_known(protection: types.SimpleNamespace) -> None:
    protection.held = {A: ["d/r"], B: ["d/r"]}
    holds._write_ledger({A: True, B: True})
    protection.failing = {A}
    assert holds.protect_set(CONFIG, both(C), C) == [f"hv1: the hold on {A} stays: 'zfs release' failed (1): busy"]
    assert holds.ledger() == {A: True, C: True}
    protection.failing = set()
    assert holds.protect_set(CONFIG, both(C), C) == []
    assert holds.ledger() == {C: True}


def test_nothing_is_let_go_until_the_new_one_is_held(protection: types.SimpleNamespace) -> None:
    protection.held = {A: ["d/r"]}
    holds._write_ledger({A: True})
    protection.failing = {"hold"}
    assert holds.protect_set(CONFIG, both(B), B) == [f"{B} is not held: no"]
    assert protection.held == {A: ["d/r"]}
    assert holds.ledger() == {A: True, B: False}
    assert not holds.is_protected(B)
    protection.failing = set()
    assert holds.protect_set(CONFIG, both(B), B) == []
    assert (protection.held, holds.ledger()) == ({B: ["d/r", "e/s"]}, {B: True})
    assert holds.is_protected(B)


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '["a"]', '"a"', "7"])
def test_a_ledger_that_cannot_be_read_is_none(text: str) -> None:
    pathlib.Path(holds.LEDGER).write_text(text)
    assert holds.ledger() is None
    assert not holds.is_protected(A)


def test_the_ledger_is_what_was_written() -> None:
    holds._write_ledger({B: True, A: False})
    assert json.loads(pathlib.Path(holds.LEDGER).read_text()) == {A: False, B: True}
    holds.remember(A)
    holds.remember(C)
    assert holds.ledger() == {A: False, B: True, C: False}


def test_both_hosts_make_up_for_the_protection_that_an_interruption_left_out(
    protection: types.SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync.inventory, "read", lambda dummy: both(B))
    protection.failing = {"hold"}
    peer = agent(settle={"found": {}, "warnings": ["hv2: no"]})
    assert sync.settle(CONFIG, t.cast("t.Any", peer), B) == [f"{B} is not held: no", "hv2: no"]
    assert peer.asked == [("settle", {"set": B, "datasets": ["d/r", "e/s"], "protect": True})]


# Receivers of an earlier connection


def test_a_receiver_that_ends_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [{7: "d/r"}, {7: "d/r"}, {}]
    monkeypatch.setattr(early.kernel, "receivers", lambda dummy: found.pop(0))
    monkeypatch.setattr(sync.time, "sleep", lambda dummy: None)
    early.wait_for_receivers(["d/r"])
    assert found == []


def test_a_receiver_that_does_not_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early.kernel, "receivers", lambda dummy: {7: "d/r", 8: "e/s"})
    with pytest.raises(HvmError, match=r"still running here: d/r \(pid 7\), e/s \(pid 8\)"):
        early.wait_for_receivers(["d/r"], timeout=0)


class Look:
    """What the agent's first look runs, and what was begun before: `zfs get` in either way says which it was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
        self.ran: list[list[str]] = []
        self.written = str(tmp_path / "begun")
        self.receivers: list[dict[int, str]] = []
        monkeypatch.setattr(early, "run", self.run)
        monkeypatch.setattr(early.begun, "WORDS", self.written)
        monkeypatch.setattr(early.begun, "remember", functools.partial(early.begun.remember, path=self.written))
        monkeypatch.setattr(early.kernel, "receivers", lambda dummy: self.receivers.pop(0) if self.receivers else {})
        monkeypatch.setattr(early.kernel, "pool_health", lambda pools: dict.fromkeys(pools, "ONLINE"))
        monkeypatch.setattr(early.newest, "read", lambda roots, execute: {"d/r": {"said": execute(["echo", *roots])}})

    def run(self, command: t.Sequence[str]) -> str:
        self.ran.append(list(command))
        return "run"

    def take(self) -> str:
        return str(early.take(CONFIG)["d/r"]["said"])


@pytest.fixture(name="looking")
def _looking(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Look:
    return Look(monkeypatch, tmp_path)


def test_the_next_agent_begins_with_what_this_one_ran_first(looking: Look) -> None:
    early.begun.begin(looking.written)
    assert looking.take() == "run"
    assert looking.ran == [["echo", "d/r", "e/s"]]
    early.begun.begin(looking.written)
    assert looking.take() == "d/r e/s\n"
    assert len(looking.ran) == 1


def test_what_was_begun_while_something_was_received_is_not_used(looking: Look) -> None:
    looking.take()
    early.begun.begin(looking.written)
    looking.receivers = [{7: "d/r"}]
    assert looking.take() == "run"
    assert len(looking.ran) == 2


# Content


def compared(
    monkeypatch: pytest.MonkeyPatch, here: dict[str, str], there: dict[str, str | None], keys: t.Collection[str] = ("d/r", "e/s")
) -> tuple[t.Any, Peer, list[str]]:
    monkeypatch.setattr(sync.content, "is_readable", lambda dataset: dataset in keys)
    monkeypatch.setattr(sync.content, "digest", lambda dataset, name, volume, said: f"{here[dataset]} {name} {volume}")
    peer = Peer(content=lambda dataset, set, volume: {"digest": there[dataset] and f"{there[dataset]} {set} {volume}"})
    progress = Progress()
    mine = both(B)
    mine["e/s"]["type"] = "volume"
    try:
        found: t.Any = sync.compare_content(CONFIG, t.cast("t.Any", peer), progress, mine, B)
    except HvmError as exc:
        found = exc
    return found, peer, [line["text"] for line in progress.lines]


def test_the_same_content(monkeypatch: pytest.MonkeyPatch) -> None:
    found, peer, lines = compared(monkeypatch, {"d/r": "x", "e/s": "y"}, {"d/r": "x", "e/s": "y"})
    assert found == {"d/r": f"x {B} False", "e/s": f"y {B} True"}
    assert peer.ops == ["content", "content"]
    assert lines == ["d/r: content is the same on both hosts", "e/s: content is the same on both hosts"]


def test_other_content_is_named_after_all_has_been_read(monkeypatch: pytest.MonkeyPatch) -> None:
    found, dummy, lines = compared(monkeypatch, {"d/r": "x", "e/s": "y"}, {"d/r": "z", "e/s": "y"})
    assert found.what == f"the content of d/r in {B} differs between the hosts"
    assert found.details == {"different": ["d/r"]}
    assert found.remedy.startswith("Do not fail over to hv2 with this set.")
    assert lines == ["d/r: content differs on both hosts", "e/s: content is the same on both hosts"]


@pytest.mark.parametrize(("keys", "there"), [(("e/s",), "x"), (("d/r", "e/s"), None)])
def test_what_has_no_key_is_neither_the_same_nor_another(
    monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...], there: str | None
) -> None:
    found, dummy, lines = compared(monkeypatch, {"d/r": "x", "e/s": "y"}, {"d/r": there, "e/s": "y"}, keys)
    assert found == {"d/r": None, "e/s": f"y {B} True"}
    assert lines[0] == "d/r: its key is not loaded on both hosts"


def test_a_long_reading_is_told_of_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(sync.time, "monotonic", lambda: now[0])
    progress = Progress()
    said = sync._reading(progress, "d/r")
    for seconds in (1, 4.9, 5, 9.9, 10.1):
        now[0] = seconds
        said(int(seconds) << 20)
    assert [line["text"] for line in progress.lines] == ["d/r: 5.0 MiB read", "d/r: 10.0 MiB read"]
    assert progress.lines[0]["bytes"] == 5 << 20


# Before the library is loaded


def test_what_a_reading_fails_at_is_for_whoever_wants_it() -> None:
    def fail() -> t.NoReturn:
        raise HvmError("the pool is suspended")

    reading = early.Reading(fail)
    for dummy in range(2):
        with pytest.raises(HvmError, match="the pool is suspended"):
            reading.result()
    assert early.Reading(lambda: both(A)).result() == both(A)


def test_the_first_look_and_the_first_answer_load_little() -> None:
    """What they cost is for the most part what they import."""
    script = """
import sys
from ansible_collections.hvm.pair.plugins.module_utils._procedure import early
from ansible_collections.hvm.pair.plugins.module_utils._procedure import agent
first = {name for name in ("logging", "dataclasses", "hashlib", "tempfile", "traceback", "ssl") if name in sys.modules}
package = f"{agent.build.PACKAGE}_procedure."
ours = [name for name in ("observe", "sync", "switchover", "rollback") if package + name in sys.modules]
agent.load_rest()
print(sorted(first), ours, f"{package}switchover" in sys.modules)
"""
    tree = str(pathlib.Path(str(sync.__file__)).parents[6])
    words = [sys.executable, "-S", "-c", script]
    said = subprocess.run(words, env={"PYTHONPATH": tree}, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[] [] True"
