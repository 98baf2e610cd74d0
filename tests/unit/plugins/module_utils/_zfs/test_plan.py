# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._zfs import plan
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import Inventory

A, B, C = (f"hvm_20261123T09000{n}Z_office_B" for n in (1, 2, 3))
KEEP = "Nothing was overwritten. On hv2, rename it away ('zfs rename d/a d/a-kept') to have it sent anew."


def entry(*snapshots: tuple[str, str, int], kind: str = "filesystem", **props: str) -> dict[str, t.Any]:
    """`name="value"` is a local property, as those that are replicated are."""
    local = {"written": "0", "receive_resume_token": "-", "encryption": "off", **props}
    return {
        "type": kind,
        "props": {name: [value, "local"] for name, value in local.items()},
        "snapshots": [list(snap) for snap in snapshots],
    }


a1, b2, c3 = (A, "guid-a", 10), (B, "guid-b", 20), (C, "guid-c", 30)


def steps(source: Inventory, target: Inventory, snapshot: str = C) -> list[tuple[str, str | None, str]]:
    made = plan.plan(source, target, snapshot, "hv2")
    assert made.findings == []
    return [(step.dataset, step.base, step.snapshot) for step in made.steps]


def refusal(source: Inventory, target: Inventory, snapshot: str = C) -> list[str]:
    return [finding.sentence() for finding in plan.plan(source, target, snapshot, "hv2").findings]


# What is sent


def test_a_new_dataset_begins_with_its_oldest_set_and_goes_on_from_there() -> None:
    assert steps({"d/a": entry(a1, b2, c3)}, {}) == [("d/a", None, A), ("d/a", A, C)]


def test_a_new_dataset_with_one_set_is_one_stream() -> None:
    assert steps({"d/a": entry(("daily", "guid-x", 1), c3)}, {}) == [("d/a", None, C)]


def test_a_new_dataset_takes_nothing_newer_than_what_was_asked_for() -> None:
    assert steps({"d/a": entry(("manual", "guid-m", 1), a1)}, {}, "manual") == [("d/a", None, "manual")]


def test_nothing_to_do_is_an_empty_plan() -> None:
    made = plan.plan({"d/a": entry(a1, c3)}, {"d/a": entry(a1, c3)}, C, "hv2")
    assert made.is_empty
    assert made == plan.Plan([], [], {}, [], [])


def test_an_increment_starts_at_the_newest_common_snapshot() -> None:
    assert steps({"d/a": entry(a1, b2, c3)}, {"d/a": entry(a1, b2)}) == [("d/a", B, C)]


def test_the_base_is_found_by_guid_under_the_name_it_has_here() -> None:
    renamed = ("renamed-there", "guid-b", 999)
    assert steps({"d/a": entry(a1, b2, c3)}, {"d/a": entry(("x", "guid-a", 998), renamed)}) == [("d/a", B, C)]


def test_snapshots_pruned_here_may_stay_there() -> None:
    assert steps({"d/a": entry(b2, c3)}, {"d/a": entry(a1, b2)}) == [("d/a", B, C)]


def test_a_replica_beyond_the_set_takes_nothing() -> None:
    assert steps({"d/a": entry(a1, b2, c3)}, {"d/a": entry(a1, b2, c3)}, B) == []


def test_parents_come_before_children() -> None:
    source = {name: entry(c3) for name in ("d/a/b/c", "e", "d/a", "d/a/b")}
    assert [dataset for dataset, *dummy in steps(source, {})] == ["e", "d/a", "d/a/b", "d/a/b/c"]


def test_volumes_and_encrypted_datasets_are_marked() -> None:
    source = {
        "d/enc": entry(c3, encryption="aes-256-gcm"),
        "d/old": entry(c3, encryption="-"),
        "d/vol": entry(c3, kind="volume"),
    }
    made = plan.plan(source, {}, C, "hv2")
    assert [(step.dataset, step.volume, step.raw) for step in made.steps] == [
        ("d/enc", False, True),
        ("d/old", False, False),
        ("d/vol", True, False),
    ]
    assert made.steps[0].as_dict() == {"dataset": "d/enc", "base": None, "snapshot": C, "volume": False, "raw": True}


def test_what_only_the_replica_has_is_left_alone() -> None:
    made = plan.plan({"d/a": entry(c3)}, {"d/a": entry(c3), "d/z": entry(a1), "d/gone": entry()}, C, "hv2")
    assert made.extra == ["d/gone", "d/z"]
    assert made.is_empty


# Half-received streams


def test_a_half_received_increment_is_dropped_and_sent_again() -> None:
    made = plan.plan({"d/a": entry(a1, c3)}, {"d/a": entry(a1, receive_resume_token="1-abc")}, C, "hv2")
    assert made.aborts == ["d/a"]
    assert [(step.base, step.snapshot) for step in made.steps] == [(A, C)]


def test_a_half_received_first_stream_is_dropped_and_sent_again() -> None:
    # After `zfs receive -A` there is no such dataset any more (zfs-receive(8)).
    source = {"d/a": entry(a1, c3, recordsize="1048576")}
    made = plan.plan(source, {"d/a": entry(receive_resume_token="1-abc", recordsize="1048576", written="4096")}, C, "hv2")
    assert made.findings == []
    assert made.aborts == ["d/a"]
    assert [(step.base, step.snapshot) for step in made.steps] == [(None, A), (A, C)]
    assert made.properties == {"d/a": {"recordsize": "1048576"}}


# Properties


def test_local_and_received_properties_that_differ_are_set() -> None:
    source = {"d/a": entry(c3, mountpoint="/var/lib/libvirt", compression="lz4", readonly="off", quota="10")}
    source["d/a"]["props"]["atime"] = ["off", "received"]
    source["d/a"]["props"]["xattr"] = ["sa", "inherited"]
    source["d/a"]["props"]["sync"] = ["-", "local"]
    target = {"d/a": entry(c3, mountpoint="none", compression="lz4")}
    made = plan.plan(source, target, C, "hv2")
    assert made.properties == {"d/a": {"atime": "off", "mountpoint": "/var/lib/libvirt"}}
    assert not made.is_empty


def test_a_new_dataset_gets_all_of_them() -> None:
    made = plan.plan({"d/a": entry(c3, canmount="noauto", recordsize="1048576")}, {}, C, "hv2")
    assert made.properties == {"d/a": {"canmount": "noauto", "recordsize": "1048576"}}


# What is refused


REFUSED = {
    "the set is missing here": (
        {"d/a": entry(a1)},
        {},
        f"dataset d/a has no snapshot {C}. Take a new snapshot set: it was made before this dataset was.",
    ),
    "no common snapshot": (
        {"d/a": entry(b2, c3)},
        {"d/a": entry(a1)},
        f"dataset d/a on hv2 has no snapshot in common with this host. {KEEP}",
    ),
    "same name, other GUID": (
        {"d/a": entry(c3)},
        {"d/a": entry((C, "other", 30))},
        f"dataset d/a on hv2 has no snapshot in common with this host. {KEEP}",
    ),
    "no snapshot at all": (
        {"d/a": entry(c3)},
        {"d/a": entry(written="12345")},
        f"dataset d/a exists on hv2 without any snapshot, so it is no replica of this one. {KEEP}",
    ),
    "newer there": (
        {"d/a": entry(a1, c3)},
        {"d/a": entry(a1, ("made-there", "x", 11), ("and-this", "y", 12))},
        f"dataset d/a on hv2 has snapshots that this host lacks, after {A}: made-there, and-this. {KEEP}",
    ),
    "rolled back here": (
        {"d/a": entry(a1, c3)},
        {"d/a": entry(a1, b2)},
        f"dataset d/a on hv2 has snapshots that this host lacks, after {A}: {B}. {KEEP}",
    ),
    "written to there": (
        {"d/a": entry(a1, c3)},
        {"d/a": entry(a1, written="131072")},
        f"dataset d/a on hv2 was written to after {A} (131072 bytes). {KEEP}",
    ),
    "written to there, after the set": (
        {"d/a": entry(c3)},
        {"d/a": entry(c3, written="131072")},
        f"dataset d/a on hv2 was written to after {C} (131072 bytes). {KEEP}",
    ),
    "another type": (
        {"d/a": entry(c3, kind="volume")},
        {"d/a": entry(c3)},
        f"dataset d/a is a filesystem on hv2 and a volume here. {KEEP}",
    ),
}


@pytest.mark.parametrize(("source", "target", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_replica_that_does_not_fit_is_refused(source: Inventory, target: Inventory, sentence: str) -> None:
    assert refusal(source, target) == [sentence]
    assert plan.plan(source, target, C, "hv2").steps == []


def test_all_that_is_wrong_is_said_at_once() -> None:
    source = {"d/a": entry(c3), "d/b": entry(a1), "d/c": entry(c3)}
    target = {"d/a": entry(a1), "d/c": entry(c3, written="131072")}
    assert [sentence.split(" ")[1] for sentence in refusal(source, target)] == ["d/a", "d/b", "d/c"]


# Any history


class World:
    """Two hosts' datasets. Snapshots get their GUIDs from a counter, as ZFS makes them unique."""

    def __init__(self) -> None:
        self.source: Inventory = {}
        self.target: Inventory = {}
        self.count = 0

    def snapshot(self, side: Inventory, name: str, datasets: t.Iterable[str]) -> None:
        for dataset in datasets:
            self.count += 1
            if dataset in side:
                side[dataset]["snapshots"].append([name, f"g{self.count}", self.count])
                side[dataset]["props"]["written"] = ["0", "-"]


def receive(source: Inventory, target: Inventory, step: plan.Step) -> None:
    """What zfs send -I | zfs receive (without -F) does, or an AssertionError where it would fail."""
    there = [snap[1] for snap in source[step.dataset]["snapshots"]]
    end = next(n for n, snap in enumerate(source[step.dataset]["snapshots"]) if snap[0] == step.snapshot)
    if step.base is None:
        assert step.dataset not in target
        target[step.dataset] = entry(kind=source[step.dataset]["type"])
        begin = end
    else:
        begin = 1 + next(n for n, snap in enumerate(source[step.dataset]["snapshots"]) if snap[0] == step.base)
        assert begin <= end
        assert target[step.dataset]["snapshots"][-1][1] == there[begin - 1]
        assert target[step.dataset]["props"]["written"][0] == "0"
    txg = max((snap[2] for snap in target[step.dataset]["snapshots"]), default=0)
    for number, snap in enumerate(source[step.dataset]["snapshots"][begin : end + 1], 1):
        assert snap[0] not in [kept[0] for kept in target[step.dataset]["snapshots"]]
        target[step.dataset]["snapshots"].append([snap[0], snap[1], txg + number])


DATASETS = ["d/a", "d/a/b", "d/a/v"]
ACTIONS = st.one_of(
    st.tuples(st.just("create"), st.sampled_from(DATASETS)),
    st.tuples(st.just("set"), st.none()),
    st.tuples(st.just("foreign"), st.sampled_from(DATASETS)),
    st.tuples(st.just("sync"), st.none()),
    st.tuples(st.just("cut"), st.integers(0, 3)),
    st.tuples(st.just("forget"), st.sampled_from(DATASETS)),
    st.tuples(st.just("forget there"), st.sampled_from(DATASETS)),
    st.tuples(st.just("write there"), st.sampled_from(DATASETS)),
    st.tuples(st.just("snapshot there"), st.sampled_from(DATASETS)),
    st.tuples(st.just("roll back"), st.sampled_from(DATASETS)),
)


def new_set(world: World) -> str:
    name = f"hvm_20261123T{world.count:06}Z_office_C"
    world.snapshot(world.source, name, list(world.source))
    return name


def play(world: World, history: list[tuple[str, t.Any]]) -> None:
    for action, what in history:
        here, there = world.source.get(what), world.target.get(what)
        if action == "create" and not here:
            world.source[what] = entry(kind="volume" if what.endswith("v") else "filesystem")
        elif action == "set":
            new_set(world)
        elif action == "foreign":
            world.snapshot(world.source, f"daily-{world.count}", [what])
        elif action in ("sync", "cut"):
            made = plan.plan(world.source, world.target, new_set(world), "hv2")
            if not made.findings:
                for step in made.steps[: what if action == "cut" else None]:
                    receive(world.source, world.target, step)
        elif action == "forget" and here and here["snapshots"]:
            del here["snapshots"][0]
        elif action == "forget there" and there and len(there["snapshots"]) > 1:
            del there["snapshots"][0]
        elif action == "write there" and there and there["snapshots"]:
            there["props"]["written"] = ["131072", "-"]
        elif action == "snapshot there" and there:
            world.snapshot(world.target, f"there-{world.count}", [what])
        elif action == "roll back" and here and here["snapshots"]:
            del here["snapshots"][-1]


@given(st.lists(ACTIONS, max_size=30))
def test_whatever_has_happened_the_plan_ends_equal_or_refuses_and_loses_nothing(history: list[tuple[str, t.Any]]) -> None:
    world = World()
    play(world, [("create", "d/a"), *history])
    snapshot = new_set(world)
    before = copy.deepcopy((world.source, world.target))
    made = plan.plan(world.source, world.target, snapshot, "hv2")
    assert (world.source, world.target) == before
    unique = set()  # datasets of the target with something that the source lacks
    for dataset, found in world.target.items():
        if dataset in world.source:
            known = {snap[1] for snap in world.source[dataset]["snapshots"]}
            if found["props"]["written"][0] != "0" or found["snapshots"][-1][1] not in known:
                unique.add(dataset)
    assert {finding.what.split(" ")[1] for finding in made.findings} == unique
    event(f"refused: {bool(unique)}, steps: {min(len(made.steps), 3)}")
    assert not unique & {step.dataset for step in made.steps}
    for step in made.steps:
        receive(world.source, world.target, step)
    for dataset, found in before[1].items():
        assert world.target[dataset]["snapshots"][: len(found["snapshots"])] == found["snapshots"]
    assert set(plan.missing_on_target(world.source, world.target, snapshot)) == unique
    if not unique:
        assert plan.plan(world.source, world.target, snapshot, "hv2").steps == []


# Verification


def test_verification_wants_the_same_guid_everywhere() -> None:
    source = {"d/a": entry(c3), "d/b": entry(c3), "d/c": entry(c3), "d/d": entry(a1)}
    target = {"d/a": entry(c3), "d/b": entry((C, "other", 30)), "d/d": entry(a1, c3)}
    assert plan.missing_on_target(source, target, C) == ["d/b", "d/c", "d/d"]
    assert plan.missing_on_target({"d/a": entry(c3)}, target, C) == []


# Pruning


def test_the_last_ones_and_the_newest_common_one_stay() -> None:
    sets = [f"s{n}" for n in range(6)]
    assert plan.prunable(sets, ["s1", "s3"], 1) == ["s0", "s1", "s2"]
    assert plan.prunable(sets, sets, 2) == ["s0", "s1", "s2", "s3"]
    assert plan.prunable(sets, sets, 0) == ["s0", "s1", "s2", "s3", "s4"]


def test_without_a_common_set_nothing_may_go() -> None:
    assert plan.prunable(["s0", "s1", "s2"], [], 1) == []
    assert plan.prunable(["s0", "s1", "s2"], ["elsewhere"], 1) == []


@given(st.sets(st.integers(0, 99)), st.sets(st.integers(0, 99)), st.integers(0, 20), st.randoms())
def test_pruning_never_takes_the_newest_common_nor_the_last_ones(
    mine: set[int], theirs: set[int], keep: int, random: t.Any
) -> None:
    sets = [f"s{n:02}" for n in mine]
    random.shuffle(sets)
    common = [f"s{n:02}" for n in theirs]
    gone = plan.prunable(sets, common, keep)
    shared = sorted(set(sets) & set(common))
    assert gone == sorted(set(gone))
    assert set(gone) <= set(sets)
    assert not set(gone) & set(sorted(sets)[len(sets) - keep :] if keep < len(sets) else sets)
    assert not set(gone) & set(shared[-1:])
    assert all(name < shared[-1] for name in gone)


def test_the_mark_of_a_first_receive_is_not_sent_back() -> None:
    """canmount=noauto is set on every new replica; after a change of roles that alone is nothing to set on the other host."""
    here, there = entry(c3, canmount="noauto"), entry(c3, mountpoint="none")
    there["props"]["canmount"] = ["on", "default"]
    assert plan.plan({"d/a": here}, {"d/a": there}, C, "hv2").properties == {}
    there["props"]["mountpoint"] = ["/srv", "local"]
    assert plan.plan({"d/a": here}, {"d/a": there}, C, "hv2").properties == {"d/a": {"canmount": "noauto"}}
