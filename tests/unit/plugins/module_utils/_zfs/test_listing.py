# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, listing

NOW = datetime.datetime(2026, 11, 23, 12, 0, 30, tzinfo=datetime.UTC)
A, B, C = "hvm_20261121T094512Z_office_C", "hvm_20261123T094512Z_office_B", "hvm_20261123T115950Z_office_F"
FUTURE, BROKEN = "hvm_20270101T000000Z_office_Q", "hvm_20279999T000000Z_office_C"


def inventory_of(**snapshots: t.Sequence[str]) -> inventory.Inventory:
    """dataset, with __ for its slashes -> names of its snapshots, oldest first."""
    return {
        name.replace("__", "/"): {"snapshots": [[snap, f"guid of {snap}", n] for n, snap in enumerate(snaps)]}
        for name, snaps in snapshots.items()
    }


FOUND = inventory_of(ssd__shared=["manual", A, B, C], ssd__shared__vm=[B, C, "hvm_20261123T094512Z_other_B"], rot__new=["x"])


def described(
    found: inventory.Inventory = FOUND, held: t.Collection[str] = (), used: dict[str, int] | None = None
) -> list[dict[str, t.Any]]:
    return listing.describe(found, "office", NOW, held, used)


# As data


def test_a_set_as_data() -> None:
    sets = described(held=[B], used={B: 4096})
    assert [one["name"] for one in sets] == [A, B, C]
    assert sets[1] == {
        "name": B,
        "stamp": "20261123T094512Z",
        "mark": "B",
        "consistency": "state",
        "complete": False,
        "datasets": ["ssd/shared", "ssd/shared/vm"],
        "missing": ["rot/new"],
        "held": True,
        "age": 8118,
        "used": 4096,
    }
    assert (sets[0]["held"], sets[0]["used"]) == (False, 0)


def test_a_set_on_every_dataset_is_complete() -> None:
    (only,) = described(inventory_of(d__r=[B], d__r__a=[B]))
    assert (only["complete"], only["missing"], only["used"]) == (True, [], None)


def test_sets_with_times_that_cannot_be() -> None:
    future, broken = described(inventory_of(d__r=[FUTURE, BROKEN]))
    assert future["age"] == -3326370
    assert broken["age"] is None


def test_no_sets() -> None:
    assert described(inventory_of(d__r=["manual"])) == []
    assert described({}) == []


# The manual's three lists


def lists(found: inventory.Inventory = FOUND, held: t.Collection[str] = ()) -> dict[str, list[str]]:
    return listing.lists(found, "office", described(found, held))


def test_all_is_every_snapshot_as_zfs_names_it() -> None:
    assert lists()["all"] == [
        "rot/new@x",
        "ssd/shared@manual",
        f"ssd/shared@{A}",
        f"ssd/shared@{B}",
        f"ssd/shared@{C}",
        f"ssd/shared/vm@{B}",
        f"ssd/shared/vm@{C}",
        "ssd/shared/vm@hvm_20261123T094512Z_other_B",
    ]


def test_dates_have_the_mark_b_and_what_is_special() -> None:
    assert lists(held=[C])["dates"] == [
        "20261121T094512Z    2 days     crash     incomplete: 2 of 3 datasets lack it",
        "20261123T094512Z B  2 h        state     incomplete: 1 of 3 datasets lack it",
        "20261123T115950Z    0 min      frozen    incomplete: 1 of 3 datasets lack it, held",
    ]


def test_a_date_of_nothing_special_ends_with_its_consistency() -> None:
    assert lists(inventory_of(d__r=[B]))["dates"] == ["20261123T094512Z B  2 h        state"]
    assert lists(inventory_of(d__r=[B]), held=[B])["dates"] == ["20261123T094512Z B  2 h        state     held"]


def test_times_that_cannot_be_are_listed() -> None:
    assert lists(inventory_of(d__r=[FUTURE, BROKEN]))["dates"] == [
        "20270101T000000Z    in future  quiesced",
        "20279999T000000Z    ?          crash",
    ]


def test_lasts_are_the_newest_set_of_each_dataset() -> None:
    found = {**FOUND, **inventory_of(ssd__old=[A, B])}
    assert lists(found)["lasts"] == [
        "-                   rot/new",
        "20261123T094512Z B  ssd/old",
        "20261123T115950Z    ssd/shared",
        "20261123T115950Z    ssd/shared/vm",
    ]


def test_the_timestamp_is_the_first_word_of_every_line() -> None:
    """What rollback takes is what one copies."""
    found = lists(inventory_of(d__r=[A, B, C, FUTURE]))
    assert [line.split()[0] for line in found["dates"]] == [one.split("_")[1] for one in (A, B, C, FUTURE)]
    assert [line.split()[0] for line in found["lasts"]] == [FUTURE.split("_")[1]]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (-1, "in future"),
        (0, "0 min"),
        (59, "0 min"),
        (60, "1 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172799, "47 h"),
        (172800, "2 days"),
        (31536000, "365 days"),
    ],
)
def test_ages_for_people(seconds: int | None, text: str) -> None:
    assert listing.age(seconds) == text


# What would come back


def test_what_a_set_uses_is_the_sum_over_its_datasets() -> None:
    text = f"ssd/shared@{A}\t100\nssd/shared@{B}\t0\nssd/my vms@{A}\t23\nssd/my vms@manual copy\t7\n"
    assert listing.parse_used(text) == {A: 123, B: 0, "manual copy": 7}
    assert listing.parse_used("") == {}
