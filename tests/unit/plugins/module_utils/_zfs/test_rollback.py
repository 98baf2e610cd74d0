# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import dataclasses
import datetime
import re
import struct
import typing as t

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import rollback
from ansible_collections.hvm.pair.plugins.module_utils._zfs.rollback import Kept, Tree

PAIR = "office"
ROOTS = ("rot/b", "ssd/a")
NOW, LATER = "20261124T000000Z", "20261125T000000Z"


# ZFS, as far as a rollback knows it. It refuses what ZFS refuses, and knows nothing of the code under test.


class Refusal(Exception):
    pass


class Panic(Exception):
    """What no command may ever lead to."""


@dataclasses.dataclass
class Snap:
    name: str
    guid: str
    txg: int
    content: int


@dataclasses.dataclass
class Dataset:
    kind: str
    txg: int
    content: int
    origin: Snap | None = None
    snaps: list[Snap] = dataclasses.field(default_factory=list)
    marks: list[Snap] = dataclasses.field(default_factory=list)
    local: dict[str, str] = dataclasses.field(default_factory=dict)


class Pool:
    """Both pools of a host. `run` takes the commands, the other methods are the world going on."""

    def __init__(self) -> None:
        self.txg = 1
        self.datasets: dict[str, Dataset] = {}

    def tick(self) -> int:
        self.txg += 1
        return self.txg

    def create(self, name: str, kind: str = "filesystem", **local: str) -> None:
        txg = self.tick()
        self.datasets[name] = Dataset(kind, txg, txg, local=dict(local))

    def write(self, name: str) -> None:
        self.datasets[name].content = self.tick()

    def snapshot(self, name: str, *roots: str) -> None:
        txg = self.tick()
        for dataset, one in self.datasets.items():
            if any(dataset == root or dataset.startswith(root + "/") for root in roots):
                one.snaps.append(Snap(name, f"guid of {name} on {dataset} in {txg}", txg, one.content))

    def bookmark(self, dataset: str, snap: str, name: str) -> None:
        one = self.datasets[dataset]
        one.marks.append(dataclasses.replace(next(s for s in one.snaps if s.name == snap), name=name))

    def owner(self, snap: Snap | None) -> str:
        return next(name for name, one in self.datasets.items() for mine in one.snaps if mine is snap)

    def run(self, command: t.Sequence[str]) -> None:
        verb, words = command[1], list(command[2:])
        self.txg += 1
        if verb == "clone":
            local = {}
            while words[0] == "-o":
                name, dummy, value = words[1].partition("=")
                local[name] = value
                words = words[2:]
            source, dummy, snap_name = words[0].partition("@")
            found = [snap for snap in self.datasets[source].snaps if snap.name == snap_name]
            if not found or words[1] in self.datasets or words[1].rsplit("/", 1)[0] not in [*self.datasets, "rot", "ssd"]:
                raise Refusal(command)
            kind = self.datasets[source].kind
            if kind == "filesystem" and local.get("canmount", "on") == "on" and local.get("mountpoint", "none") != "none":
                raise Panic(f"{command} would mount it")
            self.datasets[words[1]] = Dataset(kind, self.txg, found[0].content, found[0], local=local)
        elif verb == "promote":
            self.promote(words[0])
        elif verb == "rename":
            if words[0] == "-u":
                words = words[1:]
                if self.datasets[words[0]].kind == "volume":
                    raise Refusal("-u")
            if words[0] not in self.datasets or words[1] in self.datasets:
                raise Refusal(command)
            for name in [one for one in self.datasets if one == words[0] or one.startswith(words[0] + "/")]:
                if len(words[1] + name[len(words[0]) :]) > 255:
                    raise Refusal(command)
                self.datasets[words[1] + name[len(words[0]) :]] = self.datasets.pop(name)
        elif verb == "set":
            self.datasets[words[-1]].local.update(word.split("=", 1) for word in words[:-1])  # type: ignore[misc]
        elif verb == "inherit":
            self.datasets[words[1]].local.pop(words[0], None)
        else:
            raise Panic(f"{command} is nothing that a rollback does")

    def promote(self, name: str) -> None:
        clone = self.datasets[name]
        if clone.origin is None:
            raise Refusal(f"{name} is no clone")
        old = self.datasets[self.owner(clone.origin)]
        last = clone.origin.txg
        snaps = [snap for snap in old.snaps if snap.txg <= last]
        marks = [mark for mark in old.marks if mark.txg <= last]
        if {snap.name for snap in snaps} & {snap.name for snap in clone.snaps}:
            raise Refusal(f"{name}: conflicting snapshot")
        if {mark.name for mark in marks} & {mark.name for mark in clone.marks}:
            raise Panic("avl_add")
        clone.snaps = snaps + clone.snaps
        clone.marks = marks + clone.marks
        old.snaps = [snap for snap in old.snaps if snap.txg > last]
        old.marks = [mark for mark in old.marks if mark.txg > last]
        clone.origin, old.origin = old.origin, clone.origin

    def tree(self) -> Tree:
        def rows(snaps: list[Snap]) -> list[list[t.Any]]:
            return [[snap.name, snap.guid, snap.txg] for snap in snaps]

        found: Tree = {}
        for name, one in self.datasets.items():
            props: dict[str, list[str]] = {"createtxg": [str(one.txg), "-"], "used": ["10", "-"], "mounted": ["no", "-"]}
            if one.kind == "filesystem":
                props.update(canmount=["on", "default"], mountpoint=["none", "inherited"])
            props.update({key: [value, "local"] for key, value in one.local.items()})
            origin = f"{self.owner(one.origin)}@{one.origin.name}" if one.origin else ""
            found[name] = {
                "type": one.kind,
                "guid": "",
                "props": props,
                "origin": origin,
                "snapshots": rows(one.snaps),
                "bookmarks": rows(one.marks),
            }
        return found

    def view(self, *tops: str) -> dict[str, t.Any]:
        """What an administrator cares for: content, snapshots, bookmarks and properties below `tops`."""
        return {
            name: (one.kind, one.content, [s.guid for s in one.snaps], [m.guid for m in one.marks], one.local)
            for name, one in sorted(copy.deepcopy(self.datasets).items())
            if any(name == top or name.startswith(top + "/") for top in tops)
        }

    def do(self, plan: rollback.Plan, stop: int | None = None) -> None:
        assert plan.findings == []
        for step in plan.steps[:stop]:
            self.run(step.command())


def set_name(number: int, mark: str = "C") -> str:
    return f"hvm_202611{number:02d}T000000Z_{PAIR}_{mark}"


S1, S2, S3 = set_name(1, "B"), set_name(2), set_name(3)


def small() -> Pool:
    """One root with a filesystem, a nested one and a volume, three sets; one dataset from after the first set."""
    pool = Pool()
    pool.create("ssd/a", mountpoint="none", canmount="noauto", readonly="on", volmode="none")
    pool.create("ssd/a/my vms", mountpoint="/srv/my vms", canmount="noauto")
    pool.create("ssd/a/my vms/in", mountpoint="/srv/in", canmount="on", quota="1000")
    pool.create("ssd/a/vol", "volume", volsize="4096", refreservation="5000", **{"user:note": "a b"})
    pool.snapshot(S1, "ssd/a")
    pool.bookmark("ssd/a/vol", S1, S1)
    pool.create("ssd/a/new", canmount="noauto")
    pool.write("ssd/a/vol")
    pool.snapshot(S2, "ssd/a")
    pool.bookmark("ssd/a/vol", S2, S2)
    pool.write("ssd/a/my vms")
    pool.snapshot(S3, "ssd/a")
    return pool


A = ["ssd/a"]


# Golden plans


def lines(plan: rollback.Plan) -> list[str]:
    assert plan.findings == []
    return [step.sentence() for step in plan.steps]


def test_the_commands_of_a_rollback() -> None:
    new, old = f"ssd/a-hvm-rollback-{NOW}", f"ssd/a-hvm-kept-{NOW}"
    inert = "-o canmount=noauto -o mountpoint=none -o readonly=on -o volmode=none"
    was = "-o canmount=noauto -o hvm:was-canmount=on -o hvm:was-quota=1000"
    assert lines(rollback.plan(small().tree(), A, PAIR, S1, NOW)) == [
        f"zfs clone {inert} -o hvm:rollback={NOW}/{S1} ssd/a@{S1} {new}",
        f"zfs clone -o canmount=noauto -o mountpoint=/srv/my vms ssd/a/my vms@{S1} {new}/my vms",
        f"zfs clone -o hvm:was-refreservation=5000 -o user:note=a b ssd/a/vol@{S1} {new}/vol",
        f"zfs clone {was} -o mountpoint=/srv/in ssd/a/my vms/in@{S1} {new}/my vms/in",
        f"zfs promote {new}",
        f"zfs promote {new}/my vms",
        f"zfs promote {new}/vol",
        f"zfs promote {new}/my vms/in",
        f"zfs set hvm:kept=office hvm:kept-set={S1} hvm:kept-by=rollback ssd/a",
        "zfs set hvm:was-refreservation=5000 ssd/a/vol",
        "zfs set refreservation=none ssd/a/vol",
        "zfs set hvm:was-quota=1000 hvm:was-canmount=on ssd/a/my vms/in",
        "zfs set quota=none canmount=noauto ssd/a/my vms/in",
        f"zfs rename -u ssd/a {old}",
        f"zfs rename -u {new} ssd/a",
        "zfs set refreservation=5000 ssd/a/vol",
        "zfs inherit hvm:was-refreservation ssd/a/vol",
        "zfs set canmount=on ssd/a/my vms/in",
        "zfs inherit hvm:was-canmount ssd/a/my vms/in",
        "zfs set quota=1000 ssd/a/my vms/in",
        "zfs inherit hvm:was-quota ssd/a/my vms/in",
        "zfs inherit hvm:rollback ssd/a",
    ]


def test_the_commands_of_its_undo() -> None:
    pool = small()
    pool.do(rollback.plan(pool.tree(), A, PAIR, S2, NOW))
    made = lines(rollback.plan_undo(pool.tree(), A, PAIR, NOW, LATER))
    old, aside = f"ssd/a-hvm-kept-{NOW}", f"ssd/a-hvm-kept-{LATER}"
    assert [line for line in made if "was-" not in line and "canmount" not in line and "quota" not in line] == [
        f"zfs set hvm:undo={NOW}/{LATER} {old}",
        f"zfs promote {old}",
        f"zfs promote {old}/my vms",
        f"zfs promote {old}/new",
        f"zfs promote {old}/vol",
        f"zfs promote {old}/my vms/in",
        f"zfs set hvm:kept=office hvm:kept-set={S2} hvm:kept-by=undo hvm:kept-for={NOW} ssd/a",
        "zfs set refreservation=none ssd/a/vol",
        f"zfs rename -u ssd/a {aside}",
        f"zfs rename -u {old} ssd/a",
        "zfs set refreservation=5000 ssd/a/vol",
        "zfs inherit hvm:kept ssd/a",
        "zfs inherit hvm:kept-set ssd/a",
        "zfs inherit hvm:kept-by ssd/a",
        "zfs inherit hvm:undo ssd/a",
    ]


def test_a_root_may_be_a_volume() -> None:
    pool = Pool()
    pool.create("ssd/a", "volume", volsize="4096")
    pool.snapshot(S1, "ssd/a")
    pool.write("ssd/a")
    pool.do(rollback.plan(pool.tree(), A, PAIR, S1, NOW))
    assert pool.datasets["ssd/a"].content != pool.datasets[f"ssd/a-hvm-kept-{NOW}"].content


def test_after_a_rollback_everything_is_somewhere_and_the_replica_can_follow() -> None:
    pool = small()
    before = pool.view("ssd/a")
    replica = pool.tree()
    pool.do(rollback.plan(pool.tree(), A, PAIR, S1, NOW))
    after, aside = pool.view("ssd/a"), pool.view(f"ssd/a-hvm-kept-{NOW}")
    assert sorted(after) == ["ssd/a", "ssd/a/my vms", "ssd/a/my vms/in", "ssd/a/vol"]
    assert after["ssd/a/my vms"][1] != before["ssd/a/my vms"][1]
    assert after["ssd/a/vol"][4] == {key: value for key, value in before["ssd/a/vol"][4].items() if key != "volsize"}
    assert after["ssd/a/my vms/in"][4] == before["ssd/a/my vms/in"][4]
    assert aside[f"ssd/a-hvm-kept-{NOW}/new"][1] == before["ssd/a/new"][1]
    assert rollback.plan(pool.tree(), A, PAIR, S1, NOW).steps == []
    [one] = rollback.kept_trees(pool.tree(), A, PAIR)
    assert one == Kept(NOW, S1, "rollback", {"ssd/a": f"ssd/a-hvm-kept-{NOW}"}, 10)
    assert one.as_dict()["datasets"] == [f"ssd/a-hvm-kept-{NOW}"]
    # the replica still has S2 and S3: it has to go back too, to what both have
    assert rollback.fits(pool.tree(), replica) == ["ssd/a", "ssd/a/my vms", "ssd/a/my vms/in", "ssd/a/vol"]
    assert rollback.common_set(pool.tree(), replica, PAIR) == S1


# What is refused


def test_a_dataset_that_was_there_and_lacks_the_set() -> None:
    pool = small()
    pool.datasets["ssd/a/vol"].snaps = [snap for snap in pool.datasets["ssd/a/vol"].snaps if snap.name != S2]
    [finding] = rollback.plan(pool.tree(), A, PAIR, S2, NOW).findings
    assert finding.sentence() == f"dataset ssd/a/vol did exist at the time of {S2} and has no such snapshot. Take another set."


def test_one_that_was_gone_by_the_time_of_a_verified_set_goes_aside_with_what_it_has() -> None:
    pool = small()
    pool.datasets["ssd/a/vol"].snaps.pop()
    assert rollback.choose("last", pool.tree(), A, PAIR) == S2
    assert rollback.choose("last", pool.tree(), A, PAIR, [S3]) == rollback.choose(S3, pool.tree(), A, PAIR, [S3]) == S3
    snaps = pool.datasets["ssd/a/vol"].snaps
    pool.do(rollback.plan(pool.tree(), A, PAIR, S3, NOW, replica=True))
    assert "ssd/a/vol" not in pool.datasets
    assert pool.datasets[f"ssd/a-hvm-kept-{NOW}/vol"].snaps == snaps
    assert rollback.choose("last", pool.tree(), A, PAIR) == S3


def test_a_root_that_lacks_a_verified_set_is_no_dataset_that_is_gone() -> None:
    pool = small()
    pool.create("rot/b")
    pool.datasets["ssd/a/vol"].snaps = []
    with pytest.raises(HvmError, match=f"on this host: rot/b, ssd/a/vol did exist at {S3} and has no such snapshot"):
        rollback.choose("last", pool.tree(), ["rot/b", "ssd/a"], PAIR)
    with pytest.raises(HvmError, match=f"on this host: rot/b did exist at {S3}"):
        rollback.choose("last", pool.tree(), ["rot/b", "ssd/a"], PAIR, [S3])


def test_a_dataset_that_was_moved_below_a_younger_one() -> None:
    pool = small()
    pool.datasets["ssd/a/new/vol"] = pool.datasets.pop("ssd/a/vol")
    [finding] = rollback.plan(pool.tree(), A, PAIR, S1, NOW).findings
    assert finding.sentence() == (
        f"dataset ssd/a/new/vol has the snapshot {S1}, and ssd/a/new was made later. "
        "It was moved since: rename it to a place whose parents have that snapshot."
    )


def test_a_name_that_would_be_too_long() -> None:
    pool = Pool()
    pool.create("ssd/a")
    long = "ssd/a/" + "x" * (255 - len(f"ssd/a-hvm-rollback-{NOW}/") - 1 - len(S1) + 1)
    pool.create(long)
    pool.create(long[:-1])
    pool.snapshot(S1, "ssd/a")
    [finding] = rollback.plan(pool.tree(), A, PAIR, S1, NOW).findings
    assert "would be too long with its snapshots" in finding.what and long in finding.remedy


def test_something_in_the_way() -> None:
    pool = small()
    pool.create(f"ssd/a-hvm-rollback-{NOW}")
    findings = rollback.plan(pool.tree(), A, PAIR, S1, NOW).findings
    assert findings[0].sentence() == (
        f"dataset ssd/a-hvm-rollback-{NOW} is in the way: it is no clone of ssd/a@{S1}. Rename it to another place."
    )


def test_a_bookmark_that_would_make_the_kernel_panic() -> None:
    pool = small()
    pool.do(rollback.plan(pool.tree(), A, PAIR, S1, NOW))
    kept = f"ssd/a-hvm-kept-{NOW}/vol"
    pool.bookmark(kept, S3, "mine")
    pool.bookmark("ssd/a/vol", S1, "mine")
    [finding] = rollback.plan_undo(pool.tree(), A, PAIR, NOW, LATER).findings
    assert finding.sentence() == (
        f"{kept}#mine and ssd/a/vol#mine have the same name, so {kept} cannot be promoted. Destroy one of the two."
    )


def test_a_snapshot_of_the_same_name() -> None:
    pool = small()
    pool.do(rollback.plan(pool.tree(), A, PAIR, S2, NOW))
    pool.datasets[f"ssd/a-hvm-kept-{NOW}/vol"].snaps[0].name = S1
    [finding] = rollback.plan_undo(pool.tree(), A, PAIR, NOW, LATER).findings
    assert f"vol@{S1} have the same name" in finding.what and finding.remedy == "Rename one of the two."


# Which set


def test_last_and_last_with_states_and_a_timestamp() -> None:
    tree = small().tree()
    assert rollback.choose("last", tree, A, PAIR) == S3
    assert rollback.choose("last_state", tree, A, PAIR) == S1
    assert rollback.choose("20261102T000000Z", tree, A, PAIR) == S2
    assert rollback.choose(S2, tree, A, PAIR) == S2


def test_last_is_the_newest_that_is_complete_for_its_time() -> None:
    pool = small()
    pool.create("ssd/a/newest")
    assert rollback.choose("last", pool.tree(), A, PAIR) == S3
    pool.datasets["ssd/a"].snaps.pop()
    assert rollback.choose("last", pool.tree(), A, PAIR) == S2


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("20261109T000000Z", "there is no snapshot set 20261109T000000Z of the pair office on this host. See 'status'"),
        (S3, f"the set {S3} is not complete: ssd/a/vol did exist then and has no such snapshot. Take another set; see 'status'."),
        ("hvm_20261101T000000Z_other_B", "there is no snapshot set hvm_20261101T000000Z_other_B of the pair office"),
    ],
)
def test_a_set_that_cannot_be_had(to: str, said: str) -> None:
    pool = small()
    pool.datasets["ssd/a/vol"].snaps.pop()
    with pytest.raises(HvmError) as caught:
        rollback.choose(to, pool.tree(), A, PAIR)
    assert str(caught.value).startswith(said)


def test_no_set_at_all() -> None:
    pool = Pool()
    pool.create("ssd/a")
    with pytest.raises(HvmError, match=r"no complete snapshot set with VM states \(B\) of the pair office"):
        rollback.choose("last_state", pool.tree(), A, PAIR)


def test_a_set_that_was_put_aside_is_found_there() -> None:
    pool = small()
    pool.do(rollback.plan(pool.tree(), A, PAIR, S1, NOW))
    with pytest.raises(HvmError) as caught:
        rollback.choose(S2, pool.tree(), A, PAIR)
    assert str(caught.value) == (
        f"the set {S2} was put aside by the rollback of {NOW}. Bring it back first: hvm_zfs_rollback state=undone kept={NOW}."
    )


def test_a_root_in_a_pool_without_the_set_is_a_gap() -> None:
    pool = small()
    pool.create("rot/b")
    assert rollback.members(pool.tree(), ROOTS, S1).lacking == ["rot/b"]


def test_being_there_already() -> None:
    pool = small()
    assert not rollback.is_there(pool.tree(), A, S1, [])
    assert rollback.is_there(pool.tree(), A, S3, [])
    assert not rollback.is_there(pool.tree(), A, S3, ["ssd/a/vol"])
    pool.create("ssd/a/newest")
    assert not rollback.is_there(pool.tree(), A, S3, [])


# Reading


def test_properties_with_tabs_and_lines_in_them() -> None:
    text = (
        "-\tssd/my a\ttype\tfilesystem\n-\tssd/my a\tguid\t7\n-\tssd/my a\torigin\trot/x@s 1\n"
        "local\tssd/my a\tuser:a\tone\ttwo\nthree\tfour\tfive\tsix\ninherited from ssd\tssd/my a\tatime\toff\n"
    )
    entry = rollback.parse(text)["ssd/my a"]
    assert (entry["type"], entry["guid"], entry["origin"]) == ("filesystem", "7", "rot/x@s 1")
    assert rollback.local(entry, "user:a") == "one\ttwo\nthree\tfour\tfive\tsix"
    assert rollback.local(entry, "atime") == "" and entry["props"]["atime"] == ["off", "inherited"]


def test_only_the_roots_and_trees_of_this_kind_beside_them_are_looked_at() -> None:
    listed = ["ssd/a", "ssd/ab", f"ssd/a-hvm-kept-{NOW}", f"ssd/a-hvm-kept-{NOW}-x", f"ssd/b-hvm-kept-{NOW}", "ssd/a-hvm-kept-x"]
    assert rollback.tops(A, listed) == ["ssd/a", f"ssd/a-hvm-kept-{NOW}"]


def test_a_stamp_is_behind_every_other() -> None:
    moment = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
    tree: Tree = {f"ssd/a-hvm-kept-{NOW}": {}, f"ssd/a-hvm-rollback-{LATER}": {}}
    assert rollback.new_stamp(moment, {}) == NOW
    assert rollback.new_stamp(moment, tree) == "20261125T000001Z"


def test_what_only_looks_like_a_kept_tree_is_none() -> None:
    pool = small()
    pool.create(f"ssd/a-hvm-kept-{NOW}")
    pool.create(f"ssd/a-hvm-kept-{LATER}", **{"hvm:kept": "other"})
    pool.create(f"ssd/c-hvm-kept-{LATER}", **{"hvm:kept": PAIR})
    assert rollback.kept_trees(pool.tree(), A, PAIR) == []


# Drop


def aside(pool: Pool, *stamps: str) -> list[Kept]:
    return [one for one in rollback.kept_trees(pool.tree(), A, PAIR) if not stamps or one.stamp in stamps]


def clones(pool: Pool) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, entry in pool.tree().items():
        if entry["origin"]:
            found.setdefault(entry["origin"], []).append(name)
    return found


def test_a_drop_goes_from_the_leaves_to_the_top() -> None:
    pool = small()
    pool.do(rollback.plan(pool.tree(), A, PAIR, S1, NOW))
    top = f"ssd/a-hvm-kept-{NOW}"
    made = rollback.plan_drop(pool.tree(), aside(pool), clones(pool), {})
    assert made.findings == []
    assert made.datasets == [
        (f"{top}/my vms/in", [S2, S3]),
        (f"{top}/my vms", [S2, S3]),
        (f"{top}/new", [S2, S3]),
        (f"{top}/vol", [S2, S3]),
        (top, [S2, S3]),
    ]


def test_a_drop_is_refused_for_what_is_held_mounted_or_cloned() -> None:
    pool = small()
    pool.do(rollback.plan(pool.tree(), A, PAIR, S1, NOW))
    top = f"ssd/a-hvm-kept-{NOW}"
    pool.run(["zfs", "clone", f"{top}/vol@{S2}", "ssd/mine"])
    tree = pool.tree()
    tree[f"{top}/new"]["props"]["mounted"] = ["yes", "-"]
    made = rollback.plan_drop(tree, aside(pool), clones(pool), {f"{top}@{S2}": ["keep me"]})
    assert made.datasets == []
    assert [finding.sentence() for finding in made.findings] == [
        f"dataset ssd/mine is a clone of a snapshot of {top}/vol. Drop that one first, or promote it (zfs promote).",
        f"{top}@{S2} is held by keep me. Ask whose hold that is; zfs release.",
        f"dataset {top}/new is mounted. Unmount it: zfs unmount '{top}/new'.",
    ]


def test_of_two_kept_trees_the_one_that_depends_goes_first() -> None:
    pool = small()
    pool.do(rollback.plan(pool.tree(), A, PAIR, S2, NOW))
    pool.do(rollback.plan(pool.tree(), A, PAIR, S1, LATER))
    # the tree of the first rollback begins at S2, which the second one has put aside
    assert pool.tree()[f"ssd/a-hvm-kept-{NOW}/vol"]["origin"] == f"ssd/a-hvm-kept-{LATER}/vol@{S2}"
    refused = rollback.plan_drop(pool.tree(), aside(pool, LATER), clones(pool), {})
    assert refused.datasets == []
    assert f"dataset ssd/a-hvm-kept-{NOW}/vol is a clone of a snapshot of" in refused.findings[-1].what
    made = rollback.plan_drop(pool.tree(), aside(pool), clones(pool), {})
    assert made.findings == []
    order = [name.split("/")[1] for name, dummy in made.datasets]
    assert order == [f"a-hvm-kept-{NOW}"] * 5 + [f"a-hvm-kept-{LATER}"] * 5


# What shall be done

MOMENT = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)


def wanted(pool: Pool, to: str = "last", undo: bool = False) -> rollback.Aim:
    return rollback.aim(pool.tree(), A, PAIR, undo, to, MOMENT)


def no_writes(tree: Tree) -> Tree:
    for entry in tree.values():
        entry["props"]["written"] = ["0", "-"]
    return tree


def test_a_rollback_to_where_everything_is_already_is_none() -> None:
    pool = small()
    assert wanted(pool) == ("", S3, "", "")
    assert wanted(pool, S1) == ("rollback", S1, NOW, "")
    tree = pool.tree()
    tree["ssd/a/vol"]["props"]["written"] = ["4096", "-"]
    assert rollback.aim(tree, A, PAIR, False, "last", MOMENT) == ("rollback", S3, NOW, "")


def test_bytes_that_are_proven_to_be_none_do_not_count() -> None:
    tree = small().tree()
    for dataset in ("ssd/a", "ssd/a/vol"):
        tree[dataset]["props"]["written"] = ["1024", "-"]
    asked: list[tuple[str, str]] = []

    def untouched(*words: str) -> bool:
        asked.append(words)  # type: ignore[arg-type]
        return words[0] != "ssd/a/vol"

    assert rollback.aim(tree, A, PAIR, False, "last", MOMENT, untouched=lambda *dummy: True).do == ""
    assert rollback.aim(tree, A, PAIR, False, "last", MOMENT, untouched=untouched).do == "rollback"
    assert asked == [("ssd/a", S3), ("ssd/a/vol", S3)]


def record(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack("=II", kind, len(payload)).ljust(312, b"\0") + payload


@pytest.mark.parametrize(
    ("stream", "empty"),
    [
        (record(0) + record(5), True),
        (record(0, b"k" * 1028) + record(5), True),
        (record(0) + record(1) + record(5), False),
        (record(0, b"\5" * 1028) + record(9), False),
        (record(0), False),
        (record(0) + record(5)[:100], False),
        (b"", False),
    ],
)
def test_a_stream_with_nothing_in_it(stream: bytes, empty: bool) -> None:
    assert rollback.is_empty_stream(stream) is empty


def test_a_new_stamp_is_behind_those_of_the_other_host_too() -> None:
    others = [f"ssd/a-hvm-kept-{LATER}", "ssd/a"]
    assert rollback.aim(small().tree(), A, PAIR, False, S1, MOMENT, others).stamp == "20261125T000001Z"


def test_an_interrupted_rollback_goes_on_and_nothing_else_does() -> None:
    pool = small()
    pool.do(rollback.plan(pool.tree(), A, PAIR, S1, NOW), 7)
    for to in ("last", "last_state", S1, S1.split("_")[1]):
        assert wanted(pool, to) == ("rollback", S1, NOW, "")
    with pytest.raises(HvmError) as caught:
        wanted(pool, S2)
    assert str(caught.value) == (
        f"the rollback to {S1} did not end. Finish it first (hvm_zfs_rollback to={S1}), or go back (state=undone)."
    )
    assert wanted(pool, "", undo=True) == ("undo", S1, NOW, "20261124T000001Z")
    assert wanted(pool, NOW, undo=True).stamp == NOW
    with pytest.raises(HvmError, match=f"the rollback of {NOW} did not end. Finish that first: leave out 'kept'"):
        wanted(pool, LATER, undo=True)


def test_an_interrupted_undo_goes_on_and_nothing_else_does() -> None:
    pool = small()
    pool.do(rollback.plan(pool.tree(), A, PAIR, S1, NOW))
    pool.do(rollback.plan_undo(pool.tree(), A, PAIR, NOW, LATER), 3)
    assert wanted(pool, "", undo=True) == ("undo", "", NOW, LATER)
    with pytest.raises(HvmError, match=f"the undo of {NOW} did not end. Finish it first: hvm_zfs_rollback state=undone"):
        wanted(pool)


def test_an_undo_is_done_once_and_can_be_undone_by_name() -> None:
    pool = small()
    with pytest.raises(HvmError, match="no rollback is kept on this host, so there is nothing to undo"):
        wanted(pool, "", undo=True)
    pool.do(rollback.plan(pool.tree(), A, PAIR, S1, NOW))
    assert wanted(pool, "", undo=True) == ("undo", "", NOW, "20261124T000001Z")
    pool.do(rollback.plan_undo(pool.tree(), A, PAIR, NOW, LATER))
    assert wanted(pool, "", undo=True).do == wanted(pool, NOW, undo=True).do == ""
    assert wanted(pool, LATER, undo=True) == ("undo", "", LATER, "20261125T000001Z")
    with pytest.raises(HvmError) as caught:
        wanted(pool, "20200101T000000Z", undo=True)
    assert str(caught.value) == f"nothing is kept under 20200101T000000Z on this host. Kept are: {LATER} (hvm_zfs_kept)."
    # the undo is undone, which is a rollback again, and not the newest undo any more
    pool.do(rollback.plan_undo(pool.tree(), A, PAIR, LATER, "20261126T000000Z"))
    [one] = rollback.kept_trees(pool.tree(), A, PAIR)
    assert (one.stamp, one.by, one.back) == ("20261126T000000Z", "undo", LATER)


def test_what_a_rollback_means_for_each_dataset() -> None:
    tree = small().tree()
    tree["ssd/a/vol"]["props"]["written"] = ["4096", "-"]
    told = rollback.describe(tree, A, rollback.Aim("rollback", S1, NOW, ""))
    assert sorted(told) == ["ssd/a", "ssd/a/my vms", "ssd/a/my vms/in", "ssd/a/new", "ssd/a/vol"]
    assert told["ssd/a/vol"] == {
        "comes_back": True,
        "newer": [S2, S3],
        "written": 4096,
        "kept": f"ssd/a-hvm-kept-{NOW}/vol",
    }
    assert told["ssd/a/new"] == {"comes_back": False, "newer": [S2, S3], "written": 0, "kept": f"ssd/a-hvm-kept-{NOW}/new"}


# The replica


def replica_of(pool: Pool) -> Pool:
    """A replica right after a sync: the same snapshots by GUID, in another pool's transactions; none of the kept trees."""
    there = copy.deepcopy(pool)
    there.datasets = {name: one for name, one in there.datasets.items() if not re.search("-hvm-(kept|rollback)-", name)}
    for one in there.datasets.values():
        one.origin = None  # sent whole, once
        one.txg += 1000
        for snap in [*one.snaps, *one.marks]:
            snap.txg += 1000
        one.content = one.snaps[-1].content if one.snaps else one.content
    return there


def sync(source: Pool, replica: Pool, name: str, *roots: str) -> None:
    """What the sync does with these two: increments from the newest snapshot of the replica, or the whole. Never by force."""
    for dataset, one in source.datasets.items():
        if not any(dataset == root or dataset.startswith(root + "/") for root in roots):
            continue
        guids = [snap.guid for snap in one.snaps]
        at = -1
        if dataset in replica.datasets:
            last = replica.datasets[dataset].snaps[-1].guid
            marks = [mark.guid for mark in one.marks]
            if last not in guids:
                assert last in marks, f"{dataset}: {last} is not known any more"
                txg = one.marks[marks.index(last)].txg
                at = sum(snap.txg <= txg for snap in one.snaps) - 1
            else:
                at = guids.index(last)
        else:
            replica.create(dataset, one.kind)
        there = replica.datasets[dataset]
        for snap in one.snaps[at + 1 :]:
            there.snaps.append(dataclasses.replace(snap, txg=replica.tick()))
            there.content = snap.content
        assert there.snaps[-1].name == name


def test_a_replica_follows_to_what_both_have() -> None:
    pool = small()
    replica = replica_of(pool)
    pool.do(rollback.plan(pool.tree(), A, PAIR, S1, NOW))
    assert rollback.follow(pool.tree(), replica.tree(), A, PAIR) == rollback.Follow("rollback", S1)
    replica.do(rollback.plan(replica.tree(), A, PAIR, S1, NOW, replica=True))
    assert rollback.follow(pool.tree(), replica.tree(), A, PAIR) == rollback.Follow("")
    pool.snapshot(set_name(9), "ssd/a")
    sync(pool, replica, set_name(9), "ssd/a")


def test_a_replica_that_lags_behind_need_not_follow() -> None:
    pool = small()
    replica = replica_of(pool)
    for one in replica.datasets.values():
        one.snaps = one.snaps[:1]
    del replica.datasets["ssd/a/new"]
    pool.do(rollback.plan(pool.tree(), A, PAIR, S2, NOW))
    assert rollback.follow(pool.tree(), replica.tree(), A, PAIR).do == ""


def test_a_replica_that_lacks_the_set_goes_to_the_one_before() -> None:
    pool = small()
    replica = replica_of(pool)
    for one in replica.datasets.values():
        one.snaps = [snap for snap in one.snaps if snap.name != S2]
    del replica.datasets["ssd/a/new"]
    pool.do(rollback.plan(pool.tree(), A, PAIR, S2, NOW))
    assert rollback.follow(pool.tree(), replica.tree(), A, PAIR) == rollback.Follow("rollback", S1)


def test_a_replica_that_was_written_to_follows_and_what_was_written_is_kept() -> None:
    pool = small()
    replica = replica_of(pool)
    tree = replica.tree()
    tree["ssd/a/vol"]["props"]["written"] = ["4096", "-"]
    assert rollback.follow(pool.tree(), tree, A, PAIR, slack=4096).do == ""
    assert rollback.follow(pool.tree(), tree, A, PAIR, slack=4095) == rollback.Follow("rollback", S3)


def test_a_replica_with_nothing_in_common_is_sent_anew_and_kept() -> None:
    pool = small()
    replica = replica_of(pool)
    for snap in replica.datasets["ssd/a/vol"].snaps:
        snap.guid, snap.name = f"other {snap.guid}", f"other-{snap.name}"
    decided = rollback.follow(pool.tree(), replica.tree(), A, PAIR)
    assert decided == rollback.Follow("rollback", S3, ("ssd/a/vol",))
    before = replica.datasets["ssd/a/vol"].content
    replica.do(rollback.plan(replica.tree(), A, PAIR, S3, NOW, replica=True))
    assert "ssd/a/vol" not in replica.datasets
    assert replica.datasets[f"ssd/a-hvm-kept-{NOW}/vol"].content == before
    assert rollback.follow(pool.tree(), replica.tree(), A, PAIR).do == ""


def test_a_replica_without_any_common_set_cannot_follow() -> None:
    pool = small()
    replica = Pool()
    replica.create("ssd/a")
    replica.snapshot(S1, "ssd/a")
    [finding] = rollback.follow(pool.tree(), replica.tree(), A, PAIR, peer="hv2").findings
    assert finding.sentence() == (
        "hv2 has no snapshot set in common with this host. "
        "Let the next sync send it anew; the replica is kept: hvm_zfs_sync with set_aside [ssd/a]."
    )


def test_an_undo_is_followed_by_an_undo() -> None:
    pool = small()
    replica = replica_of(pool)
    before = replica.view("ssd/a")
    for one in (pool, replica):
        one.do(rollback.plan(one.tree(), A, PAIR, S1, NOW))
    pool.do(rollback.plan_undo(pool.tree(), A, PAIR, NOW, LATER))
    # increments would do, but what the replica has kept need not be sent again
    assert rollback.follow(pool.tree(), replica.tree(), A, PAIR, NOW).do == ""
    assert rollback.follow(pool.tree(), replica.tree(), A, PAIR, NOW, eager=True).do == "undo"
    replica.do(rollback.plan_undo(replica.tree(), A, PAIR, NOW, LATER))
    assert settled(replica.view("ssd/a")) == settled(before)
    assert rollback.follow(pool.tree(), replica.tree(), A, PAIR, NOW, eager=True).do == ""


def test_an_undo_that_the_replica_has_no_tree_for_is_followed_by_a_rollback() -> None:
    pool = small()
    pool.do(rollback.plan(pool.tree(), A, PAIR, S1, NOW))
    pool.snapshot(set_name(9), "ssd/a")
    replica = replica_of(pool)
    pool.do(rollback.plan_undo(pool.tree(), A, PAIR, NOW, LATER))
    assert rollback.follow(pool.tree(), replica.tree(), A, PAIR, NOW, eager=True) == rollback.Follow("rollback", S1)


def test_replicas_that_a_sync_has_set_aside_are_listed_each_by_itself() -> None:
    pool = Pool()
    marks = {"hvm:kept": PAIR, "hvm:kept-by": "sync"}
    pool.create(f"ssd/hvm-kept/a-vol-{NOW}", **marks, **{"hvm:was": "ssd/a/vol"})
    pool.create(f"ssd/hvm-kept/a-vol-{NOW}/in")
    pool.create(f"ssd/hvm-kept/a-x-{LATER}", **marks, **{"hvm:was": "ssd/a/x"})
    pool.create(f"ssd/hvm-kept/b-{NOW}", **{**marks, "hvm:kept": "other"})
    pool.create("ssd/hvm-kept/by-hand", **marks)
    found = rollback.aside_trees(pool.tree(), PAIR)
    assert [(one.name, one.stamp, one.by, one.tops) for one in found] == [
        (f"ssd/hvm-kept/a-vol-{NOW}", NOW, "sync", {"ssd/a/vol": f"ssd/hvm-kept/a-vol-{NOW}"}),
        (f"ssd/hvm-kept/a-x-{LATER}", LATER, "sync", {"ssd/a/x": f"ssd/hvm-kept/a-x-{LATER}"}),
    ]
    made = rollback.plan_drop(pool.tree(), found[:1], {}, {})
    assert [name for name, dummy in made.datasets] == [f"ssd/hvm-kept/a-vol-{NOW}/in", f"ssd/hvm-kept/a-vol-{NOW}"]


def test_what_was_aside_before_a_verified_set_is_not_missing() -> None:
    """By then it had come anew, or was gone on the ACTIVE host."""

    def missing(at: str, *verified: str, to: str = S3, has: str = S1) -> bool:
        place, pool = f"ssd/hvm-kept/a-gone-{at}T000000Z", Pool()
        pool.create(place, **{"hvm:kept": PAIR, "hvm:kept-by": "sync", "hvm:was": "ssd/a/gone"})
        pool.snapshot(has, place)
        return "ssd/a/gone" in rollback.missing(small().tree(), pool.tree(), A, PAIR, to, verified)

    assert not missing("20261101", S2) and not missing("20261101", S3) and not missing("20261102", S1, S3)
    assert missing("20261101") and missing("20261101", S1) and missing("20261102", S1, S2, "hvm_odd")  # none since
    assert missing("20261101", S3, to=S2)  # it came, or was gone, after the set that is gone back to
    assert missing("20261101", S3, has=S3)  # the clock has jumped back


# Properties: any history, any interruption


@st.composite
def histories(draw: st.DrawFn) -> tuple[Pool, str]:
    """A host after some time, and a set to go back to."""
    pool = Pool()
    inert = {"readonly": "on", "volmode": "none"}
    for root in ROOTS:
        pool.create(root, **inert, **draw(st.sampled_from([{}, {"mountpoint": "none", "canmount": "noauto"}])))
    number = 0
    taken: list[str] = []

    def inside() -> list[str]:
        return sorted(name for root in ROOTS for name in rollback.below(pool.tree(), root))

    events = st.sampled_from("snapshot create write bookmark template rename back undo".split())
    for event_ in draw(st.lists(events, max_size=25)):
        name = draw(st.sampled_from(inside()))
        if event_ == "snapshot":
            number += 1
            taken.append(set_name(number, draw(st.sampled_from("BC"))))
            pool.snapshot(taken[-1], *ROOTS)
        elif event_ == "create" and pool.datasets[name].kind == "filesystem":
            new = f"{name}/{draw(st.sampled_from(['v m', 'x', 'y']))}"
            local = draw(
                st.sampled_from(
                    [{}, {"canmount": "noauto", "mountpoint": "/m"}, {"mountpoint": "/n"}, {"quota": "9", "user:k": "a b"}]
                )
            )
            if new not in pool.datasets:
                kind = draw(st.sampled_from(["filesystem", "volume"]))
                pool.create(new, kind, **(local if kind == "filesystem" else {"volsize": "8", "refreservation": "9"}))
        elif event_ == "write":
            pool.write(name)
        elif event_ == "bookmark" and pool.datasets[name].snaps:
            snap = pool.datasets[name].snaps[-1].name
            if snap not in [mark.name for mark in pool.datasets[name].marks]:
                pool.bookmark(name, snap, snap)
        elif event_ == "template" and pool.datasets[name].snaps and name not in ROOTS:
            new = f"{name}-clone"
            if new not in pool.datasets:
                pool.run(["zfs", "clone", f"{name}@{pool.datasets[name].snaps[0].name}", new])
        elif event_ == "rename" and name not in ROOTS and f"{name}-moved" not in pool.datasets:
            pool.run(["zfs", "rename", name, f"{name}-moved"])
        elif event_ in ("back", "undo"):
            tree = pool.tree()
            stamp = f"202612{number + len(rollback.stamps(tree)) + 1:02d}T000000Z"
            if event_ == "back":
                known = rollback.set_names(tree, ROOTS, PAIR)
                made = rollback.plan(tree, ROOTS, PAIR, draw(st.sampled_from(known)), stamp) if known else None
            else:
                back = rollback.kept_trees(tree, ROOTS, PAIR)
                made = rollback.plan_undo(tree, ROOTS, PAIR, draw(st.sampled_from(back)).stamp, stamp) if back else None
            if made and not made.findings and stamp not in rollback.stamps(tree):
                pool.do(made)
    if not rollback.set_names(pool.tree(), ROOTS, PAIR):
        pool.snapshot(set_name(30), *ROOTS)
    return pool, draw(st.sampled_from(rollback.set_names(pool.tree(), ROOTS, PAIR)))


STAMP, ASIDE = "20270101T000000Z", "20270102T000000Z"


def guids(pool: Pool) -> list[str]:
    return sorted(snap.guid for one in pool.datasets.values() for snap in one.snaps)


def heads(pool: Pool, tops: t.Sequence[str]) -> dict[str, int]:
    return {name: one.content for top in tops for name, one in pool.datasets.items() if name == top or name.startswith(top + "/")}


def roots_only(tree: Tree) -> Tree:
    return {name: tree[name] for root in ROOTS for name in rollback.below(tree, root)}


def settled(view: dict[str, t.Any]) -> dict[str, t.Any]:
    """canmount=on is the default, and limits may have been left out when they were zero."""
    return {name: (*row[:4], {k: v for k, v in row[4].items() if (k, v) != ("canmount", "on")}) for name, row in view.items()}


@given(histories(), st.data())
def test_any_rollback_can_be_interrupted_anywhere_and_undone(history: tuple[Pool, str], data: st.DataObject) -> None:
    pool, name = history
    made = rollback.plan(pool.tree(), ROOTS, PAIR, name, STAMP)
    if made.findings:
        event("refused")
        return
    before, known = pool.view(*ROOTS), guids(pool)
    whole = copy.deepcopy(pool)
    whole.do(made)

    # it is where it shall be, and nothing is gone
    inside = rollback.members(pool.tree(), ROOTS, name).inside
    assert sorted(heads(whole, ROOTS)) == sorted(inside)
    for dataset, one in whole.datasets.items():
        if dataset in inside:
            assert one.snaps[-1].guid == inside[dataset] and one.content == one.snaps[-1].content
    aside_ = {f"{root}{name_[len(root) :]}" for root in ROOTS for name_ in before if name_.startswith(root)}
    for dataset in aside_:
        root = next(one for one in ROOTS if dataset == one or dataset.startswith(one + "/"))
        assert whole.datasets[rollback.kept(root, STAMP) + dataset[len(root) :]].content == before[dataset][1]
    assert guids(whole) == known
    assert rollback.unfinished(whole.tree(), ROOTS) is None
    assert rollback.plan(whole.tree(), ROOTS, PAIR, name, STAMP).steps == []
    assert not any(key.startswith("hvm:") for row in whole.view(*ROOTS).values() for key in row[4])
    # a replica that is where this host was can follow: all that is left here it knows
    assert rollback.common_set(roots_only(whole.tree()), roots_only(pool.tree()), PAIR) is not None

    # interrupted, found from what is there alone, and finished
    stop = data.draw(st.integers(0, len(made.steps)))
    event(f"{len(made.steps)} steps" if len(made.steps) < 5 else "more steps")
    cut = copy.deepcopy(pool)
    cut.do(made, stop)
    left = rollback.unfinished(cut.tree(), ROOTS)
    assert left == (rollback.Unfinished("rollback", STAMP, name, "") if 0 < stop < len(made.steps) else None)
    again = copy.deepcopy(cut)
    again.do(rollback.plan(again.tree(), ROOTS, PAIR, name, STAMP))
    assert again.view("rot", "ssd") == whole.view("rot", "ssd")

    # interrupted, and gone back from there; interrupted in that too
    back = rollback.plan_undo(cut.tree(), ROOTS, PAIR, STAMP, ASIDE)
    there = copy.deepcopy(cut)
    there.do(back)
    assert settled(there.view(*ROOTS)) == settled(before)
    assert guids(there) == known
    assert rollback.unfinished(there.tree(), ROOTS) is None
    assert rollback.plan_undo(there.tree(), ROOTS, PAIR, STAMP, ASIDE).steps == []
    stop = data.draw(st.integers(0, len(back.steps)))
    cut.do(back, stop)
    left = rollback.unfinished(cut.tree(), ROOTS)
    if 0 < stop < len(back.steps):
        assert left is not None
        assert (left.action, left.stamp, left.aside) == ("undo", STAMP, ASIDE)
        cut.do(rollback.plan_undo(cut.tree(), ROOTS, PAIR, STAMP, ASIDE))
    elif stop == 0:
        cut.do(back)
    assert cut.view("rot", "ssd") == there.view("rot", "ssd")


@given(histories(), st.data())
def test_a_second_rollback_of_what_went_on_and_both_undone(history: tuple[Pool, str], data: st.DataObject) -> None:
    pool, name = history
    made = rollback.plan(pool.tree(), ROOTS, PAIR, name, STAMP)
    if made.findings:
        return
    first = pool.view(*ROOTS)
    pool.do(made)
    pool.snapshot(set_name(31), *ROOTS)
    for root in ROOTS:
        pool.write(root)
    second = pool.view(*ROOTS)
    known = guids(pool)
    made = rollback.plan(
        pool.tree(), ROOTS, PAIR, data.draw(st.sampled_from(rollback.set_names(pool.tree(), ROOTS, PAIR))), "20270103T000000Z"
    )
    if made.findings:
        return
    pool.do(made)
    if data.draw(st.booleans()):
        pool.do(rollback.plan_undo(pool.tree(), ROOTS, PAIR, "20270103T000000Z", "20270104T000000Z"))
        assert settled(pool.view(*ROOTS)) == settled(second)
    pool.do(rollback.plan_undo(pool.tree(), ROOTS, PAIR, STAMP, "20270105T000000Z"))
    assert settled(pool.view(*ROOTS)) == settled(first)
    assert guids(pool) == known


@given(histories())
def test_no_plan_destroys_or_overwrites(history: tuple[Pool, str]) -> None:
    pool, name = history
    for made in (
        rollback.plan(pool.tree(), ROOTS, PAIR, name, STAMP),
        *(rollback.plan_undo(pool.tree(), ROOTS, PAIR, stamp, ASIDE) for stamp in rollback.stamps(pool.tree())),
    ):
        commands = [step.command() for step in made.steps]
        assert {command[1] for command in commands} <= {"clone", "promote", "rename", "set", "inherit"}
        assert not any(word in ("-f", "-p", "-r", "-R", "-F") for command in commands for word in command)
        touched = {word.split("=")[0] for command in commands if command[1] == "set" for word in command[2:-1]}
        assert all(key in (*rollback.LIMITS, "canmount") or key.startswith("hvm:") for key in touched)


@given(histories())
def test_the_plan_sees_what_zfs_does(history: tuple[Pool, str]) -> None:
    pool, name = history
    made = rollback.plan(pool.tree(), ROOTS, PAIR, name, STAMP)
    tree = pool.tree()
    for step in made.steps:
        pool.run(step.command())
        rollback.apply(tree, step)
        real = pool.tree()
        assert sorted(tree) == sorted(real)
        for dataset, entry in real.items():
            assert [tree[dataset][key] for key in ("origin", "snapshots", "bookmarks")] == [
                entry[key] for key in ("origin", "snapshots", "bookmarks")
            ]


@given(histories(), st.data())
def test_replicas_follow_any_rollback_and_any_undo_and_increments_go_on(history: tuple[Pool, str], data: st.DataObject) -> None:
    pool, name = history
    pool.snapshot(f"hvm_20261201T000000Z_{PAIR}_C", *ROOTS)
    replica = replica_of(pool)
    if data.draw(st.booleans()):  # the replica lags behind, or has been pruned
        gone = data.draw(st.sets(st.sampled_from(rollback.set_names(pool.tree(), ROOTS, PAIR))))
        for one in replica.datasets.values():
            one.snaps = [snap for snap in one.snaps if snap.name not in gone] or one.snaps[-1:]
    before = replica.view(*ROOTS)
    made = rollback.plan(pool.tree(), ROOTS, PAIR, name, STAMP)
    if made.findings:
        return
    pool.do(made)
    known = guids(replica)
    for undo in (False, True):
        decided = rollback.follow(pool.tree(), replica.tree(), ROOTS, PAIR, STAMP if undo else "", undo)
        event(f"{'undo' if undo else 'rollback'}: {decided.do or 'in step'}{', refused' if decided.findings else ''}")
        if decided.findings:
            assert "in common" in decided.findings[0].what or "was made later" in decided.findings[0].what
            return
        if decided.do == "rollback":
            stamp = ASIDE if undo else STAMP
            steps = rollback.plan(replica.tree(), ROOTS, PAIR, decided.set, stamp, replica=True)
        elif decided.do == "undo":
            steps = rollback.plan_undo(replica.tree(), ROOTS, PAIR, STAMP, ASIDE)
        else:
            steps = rollback.Plan([], [])
        stop = data.draw(st.integers(0, len(steps.steps)))
        replica.do(steps, stop)  # cut, and gone on with as it is seen there
        left = rollback.unfinished(replica.tree(), ROOTS)
        if left:
            tree = replica.tree()
            if left.action == "undo":
                replica.do(rollback.plan_undo(tree, ROOTS, PAIR, left.stamp, left.aside))
            else:
                replica.do(rollback.plan(tree, ROOTS, PAIR, left.set, left.stamp, replica=True))
        elif stop < len(steps.steps):
            replica.do(steps)
        assert set(known) <= set(guids(replica))  # nothing is lost there either
        assert rollback.follow(pool.tree(), replica.tree(), ROOTS, PAIR).do == ""
        trial, source = copy.deepcopy(replica), copy.deepcopy(pool)
        newest = f"hvm_20261202T000000Z_{PAIR}_C"
        source.snapshot(newest, *ROOTS)
        sync(source, trial, newest, *ROOTS)
        for dataset in rollback.in_use(source.tree(), ROOTS):
            assert trial.datasets[dataset].content == source.datasets[dataset].content
        if undo and decided.do == "undo":
            assert settled(replica.view(*ROOTS)) == settled(before)
        if not undo:
            pool.do(rollback.plan_undo(pool.tree(), ROOTS, PAIR, STAMP, ASIDE))
