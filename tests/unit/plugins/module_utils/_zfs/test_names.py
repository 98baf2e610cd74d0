# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._zfs import names

MOMENTS = st.integers(946684800, 3786912000).map(lambda second: datetime.datetime.fromtimestamp(second, datetime.UTC))
NOON = datetime.datetime(2026, 11, 23, 12, 0, 0, tzinfo=datetime.UTC)


def test_a_name_tells_time_pair_and_consistency() -> None:
    name = names.parse("hvm_20261123T094512Z_office-1_B")
    assert name == names.SetName("20261123T094512Z", "office-1", "B")
    assert name is not None
    assert name.consistency == "state"
    assert name.time == datetime.datetime(2026, 11, 23, 9, 45, 12, tzinfo=datetime.UTC)
    assert str(name) == "hvm_20261123T094512Z_office-1_B"


@pytest.mark.parametrize(
    "foreign",
    [
        "",
        "daily",
        "hvm_",
        "hvm_20261123T094512Z_office_X",
        "hvm_20261123T094512Z_office_B2",
        "hvm_20261123T094512Z_office_B\n",
        "hvm_20261123T094512Z_Office_B",
        "hvm_20261123_office_B",
        "xhvm_20261123T094512Z_office_B",
        "autosnap_2026-11-23_09:45:12_daily",
    ],
)
def test_what_is_not_ours_is_none(foreign: str) -> None:
    assert names.parse(foreign) is None


@pytest.mark.parametrize(("consistency", "mark"), [("state", "B"), ("frozen", "F"), ("quiesced", "Q"), ("crash", "C")])
def test_new_name_has_the_mark(consistency: str, mark: str) -> None:
    assert str(names.new_name("office", consistency, NOON, [])) == f"hvm_20261123T120000Z_office_{mark}"


def test_a_local_time_is_written_as_utc() -> None:
    local = NOON.astimezone(datetime.timezone(datetime.timedelta(hours=5, minutes=30)))
    assert names.new_name("office", "state", local, []).stamp == "20261123T120000Z"


def test_a_second_name_in_the_same_second_comes_one_later() -> None:
    first = names.new_name("office", "state", NOON, [])
    assert names.new_name("office", "crash", NOON, [str(first)]).stamp == "20261123T120001Z"


def test_names_of_other_pairs_and_of_others_do_not_count() -> None:
    others = ["hvm_20991231T235959Z_other_B", "zzz", "hvm_2099"]
    assert names.new_name("office", "state", NOON, others).stamp == "20261123T120000Z"


@given(
    st.lists(st.tuples(MOMENTS, st.sampled_from("BFQC"))),
    MOMENTS,
)
def test_a_new_name_sorts_behind_all_whatever_the_clock_says(
    old: list[tuple[datetime.datetime, str]], now: datetime.datetime
) -> None:
    existing = [f"hvm_{moment:%Y%m%dT%H%M%SZ}_office_{mark}" for moment, mark in old]
    new = str(names.new_name("office", "state", now, existing))
    assert names.parse(new) is not None
    assert all(new > name for name in existing)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("hvm_20261123T094512Z_a_B", True),
        ("hvm_20261123T094512Z_ab_B", False),  # the whole name, not how it begins
        ("hvm_20261123T094512Z_a_X", False),
        ("manual", False),
    ],
)
def test_a_set_is_of_one_pair(name: str, ours: bool) -> None:
    assert names.is_set_of(name, "a") is ours


@pytest.mark.parametrize(
    ("text", "stamp"), [("20261123T094512Z", True), ("20261123T094512Z\n", False), ("x/20261123T094512Z", False)]
)
def test_what_looks_like_the_time_of_a_set(text: str, stamp: bool) -> None:
    assert names.is_stamp(text) is stamp
