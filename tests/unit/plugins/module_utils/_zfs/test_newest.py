# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import random
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, newest, plan
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import Inventory

A, B = "ssd/shared", "ssd/shared/my vm"
ONE, TWO, THREE = (f"hvm_2026112{day}T094512Z_office_C" for day in (1, 2, 3))


def entry(*snapshots: tuple[str, str, int], token: str = "-", kind: str = "filesystem", **props: str) -> dict[str, t.Any]:
    values = {"written": "0", "receive_resume_token": token, "encryption": "off", **props}
    return {
        "type": kind,
        "guid": "1",
        "props": {name: [value, "-"] for name, value in values.items()},
        "snapshots": [list(snap) for snap in snapshots],
        "bookmarks": [],
    }


class Zfs:
    """`zfs` on a host that has `full`."""

    def __init__(self, full: Inventory, gone: str = "") -> None:
        self.full = full
        self.gone = gone
        self.commands: list[list[str]] = []

    def __call__(self, command: t.Sequence[str]) -> str:
        self.commands.append(list(command))
        if "filesystem,volume" in command:
            assert "prevsnap" in command[-2].split(",")
            return "".join(self._properties(name, one) for name, one in self.full.items())
        asked = [word for word in command if "@" in word]
        lines = [self._line(command[1], word) for word in asked if word != self.gone]
        if not all(lines) or self.gone in asked:
            raise CommandError(command, 1, "".join(lines), f"cannot open '{self.gone}': dataset does not exist")
        return "".join(lines)

    @staticmethod
    def _properties(name: str, one: dict[str, t.Any]) -> str:
        values = {"type": one["type"], "guid": one["guid"], **{prop: value[0] for prop, value in one["props"].items()}}
        if one.get("origin"):
            values["prevsnap"] = one["origin"]
        if one["snapshots"]:
            values["prevsnap"] = f"{name}@{one['snapshots'][-1][0]}"
        return "".join(f"{name}\t{prop}\t{value}\t-\n" for prop, value in values.items())

    def _line(self, verb: str, word: str) -> str:
        dataset, name = word.split("@")
        if dataset not in self.full:  # a foreign one is listed as well
            return f"{word}\tforeign\t1\n" if verb == "list" else ""
        for snap, guid, txg in self.full[dataset]["snapshots"]:
            if snap == name:
                return f"{word}\t{guid}\t{txg}\n" if verb == "list" else f"{word}\tguid\t{guid}\n{word}\tivsetguid\tiv{guid}\n"
        return ""


def test_only_the_newest_snapshot_of_each_is_looked_at() -> None:
    zfs = Zfs({A: entry((ONE, "1", 5), (TWO, "2", 9)), B: entry()})
    found = newest.read([A], zfs)
    assert [command[1] for command in zfs.commands] == ["get", "list"]
    assert zfs.commands[1][-1] == f"{A}@{TWO}"
    assert found[A]["snapshots"] == [[TWO, "2", 9]]
    assert found[B]["snapshots"] == []
    assert newest.is_partial(found)
    assert not newest.is_partial(zfs.full)


@pytest.mark.parametrize("origin", ["ssd/templates/deb@v1", f"{A} 2@{ONE}", f"{A}@{ONE}"])
def test_a_clone_without_snapshots_has_none_of_its_origin(origin: str) -> None:
    """`prevsnap` of a clone is its origin (dsl_dataset_phys_t.ds_prev_snap_obj) until it has one of its own."""
    zfs = Zfs({A: entry((ONE, "1", 5), (TWO, "2", 9)), B: {**entry(), "origin": origin}})
    found = newest.read([A], zfs)
    assert (found[A]["snapshots"], found[B]["snapshots"]) == ([[TWO, "2", 9]], [])
    assert zfs.commands[1][-1] == f"{A}@{TWO}"


def test_a_snapshot_that_went_meanwhile_is_as_none() -> None:
    zfs = Zfs({A: entry((ONE, "1", 5)), B: entry((ONE, "2", 5))}, gone=f"{B}@{ONE}")
    found = newest.read([A], zfs)
    assert found[A]["snapshots"] == [[ONE, "1", 5]]
    assert found[B]["snapshots"] == []


def test_another_failure_is_told() -> None:
    def execute(command: t.Sequence[str]) -> str:
        raise CommandError(command, 1, "", "internal error")

    with pytest.raises(CommandError):
        newest.read([A], execute)


def test_of_encrypted_datasets_the_ivset_is_read_too() -> None:
    zfs = Zfs({A: entry((ONE, "1", 5)), B: entry((ONE, "2", 5), encryption="aes-256-gcm")})
    found = newest.read([A], zfs)
    assert "ivset" not in found[A]
    assert found[B]["ivset"] == {"2": "iv2"}


def test_bases_are_looked_up_by_name_and_only_those_that_lack() -> None:
    zfs = Zfs({A: entry((ONE, "1", 5), (TWO, "2", 9)), B: entry((ONE, "3", 5), (TWO, "4", 9))})
    mine = newest.read([A], zfs)
    zfs.commands.clear()
    newest.add_bases(mine, {A: entry((ONE, "1", 50)), B: entry((TWO, "4", 90))}, zfs)
    assert [command[-1] for command in zfs.commands] == [f"{A}@{ONE}"]
    assert mine[A]["snapshots"] == [[ONE, "1", 5], [TWO, "2", 9]]
    newest.add_bases(mine, {A: entry((ONE, "1", 50)), B: entry((TWO, "4", 90))}, zfs)
    assert len(zfs.commands) == 1


def decides(source: dict[str, t.Any], target: dict[str, t.Any] | None, snapshot: str | None = None) -> bool:
    return newest.decide({A: source}, {} if target is None else {A: target}, "office", snapshot)


def test_the_same_newest_set_on_both_sides_decides() -> None:
    assert decides(entry((TWO, "2", 9)), entry((TWO, "2", 90)))
    assert decides(entry((ONE, "1", 5), (TWO, "2", 9)), entry((ONE, "1", 50)), TWO)


def test_what_does_not_decide() -> None:
    mine, theirs = entry((ONE, "1", 5), (TWO, "2", 9)), entry((ONE, "1", 50))
    assert not decides(mine, theirs, ONE)  # another set was asked for
    assert not decides(mine, None)  # no replica, or it has another name
    assert not decides(mine, entry())
    assert not decides(mine, entry((ONE, "1", 50), token="1-abc"))
    assert not decides(mine, entry((ONE, "7", 50)))  # of the same name, and another
    assert not decides(mine, entry(("manual", "1", 50)))
    assert not decides(mine, entry((ONE, "1", 50), kind="volume"))
    assert not decides(mine, entry((ONE, "1", 50), encryption="aes-256-gcm"))
    assert not decides(entry((ONE, "1", 5), ("manual", "2", 9)), theirs)  # the newest is no set
    assert not decides(entry(("hvm_20261122T094512Z_other_C", "2", 9)), theirs)
    assert not decides(entry(), theirs)
    assert not newest.decide({A: mine, B: entry((ONE, "3", 5))}, {A: theirs, B: entry((ONE, "3", 50))}, "office")  # not complete
    both = {A: mine, B: entry((ONE, "3", 5), (TWO, "4", 9))}
    assert newest.decide(both, {A: theirs, B: entry((ONE, "3", 50))}, "office")
    assert not newest.decide(both, {A: theirs, B: entry((ONE, "3", 50), (TWO, "4", 90))}, "office")  # a sync was cut


def _history(dice: random.Random) -> tuple[Inventory, Inventory]:
    """Two hosts whose datasets share some snapshots, have some of their own, or none."""
    names = [ONE, TWO, THREE, "manual"]
    source: Inventory = {}
    target: Inventory = {}
    for dataset in (A, B):
        snaps = [(name, f"{dataset}{number}", 10 * number + 10) for number, name in enumerate(names)]
        snaps = snaps[: dice.choice([2, 3, 3, 3, 4])]
        there = snaps[: dice.choice([0, 1, 1, 2, 3, 4])]
        mine = [snap for snap in snaps if snap is snaps[-1] or dice.random() > 0.2]
        there = [(name, guid if dice.random() > 0.1 else f"other{guid}", txg * 10) for name, guid, txg in there]
        source[dataset] = entry(*mine)
        if dice.random() > 0.1:
            written, token = dice.choice(["0", "0", "0", "900000"]), dice.choice(["-"] * 9 + ["1-x"])
            target[dataset] = entry(*there, written=written, token=token)
    return source, target


def test_whatever_has_happened_the_newest_decide_as_a_full_listing_does() -> None:
    decided = 0
    for seed in range(8000):
        source, target = _history(random.Random(seed))
        mine, theirs = newest.read([A], Zfs(source)), newest.read([A], Zfs(target))
        newest.add_bases(mine, theirs, Zfs(source))
        if not newest.decide(mine, theirs, "office"):
            continue
        decided += 1
        name = mine[A]["snapshots"][-1][0]
        full = plan.plan(copy.deepcopy(source), copy.deepcopy(target), name, "hv2")
        brief = plan.plan(mine, theirs, name, "hv2")
        assert brief.steps == full.steps, seed
        assert brief.findings == full.findings, seed
        assert (brief.renames, brief.aborts, brief.extra, brief.base) == (full.renames, full.aborts, full.extra, full.base), seed
        assert plan.missing_on_target(mine, theirs, name) == plan.missing_on_target(source, target, name), seed
        complete = [one for one, members in inventory.sets(source, "office").items() if inventory.is_complete(members, source)]
        assert complete[-1] == name, seed
    assert decided > 100
