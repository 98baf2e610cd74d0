# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import datetime
import typing as t
import zoneinfo

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import names, retention
from ansible_collections.hvm.pair.plugins.module_utils._zfs.retention import GONE, Decision, Rules

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")  # 2026: summer time from 29 March 01:00 UTC to 25 October 01:00 UTC


def utc(text: str) -> datetime.datetime:
    return datetime.datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=datetime.UTC)


def at(text: str, mark: str = "C") -> str:
    """The set of that minute, UTC."""
    return f"hvm_{utc(text):%Y%m%dT%H%M%SZ}_office_{mark}"


def kept(
    sets: t.Iterable[str],
    rules: Rules,
    now: str,
    zone: datetime.tzinfo = datetime.UTC,
    protected: t.Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What stays -> why."""
    decisions = retention.decide(sets, rules, utc(now), protected or {}, "office", zone)
    return {one.name: one.reason for one in decisions if one.keep}


# Rules


@pytest.mark.parametrize(
    ("rules", "what"),
    [
        ({"keep_last": -1}, "keep_last is -1"),
        ({"older_than": -0.5}, "older_than is -0.5"),
        ({"older_than": float("nan")}, "older_than is nan"),
        ({"older_than": float("inf")}, "older_than is inf"),
        ({"keep_monthly": 10**9}, "keep_monthly is 1000000000"),
        ({"older_than": 1, "except_at": ("24:00",)}, "except_at: '24:00' is no time of day"),
        ({"older_than": 1, "except_at": ("12:00", "9:00")}, "except_at: '9:00' is no time of day"),
        ({"older_than": 1, "except_at": ("12:00\n",)}, "except_at: '12:00\\n' is no time of day"),
        ({"except_at": ("12:00",)}, "except_at is given without older_than"),
        ({"older_than": 0, "except_at": ("12:00",)}, "except_at is given without older_than"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(rules: dict[str, t.Any], what: str) -> None:
    with pytest.raises(HvmError) as caught:
        Rules(**rules)
    assert caught.value.what == what
    assert caught.value.remedy.endswith((".", ")."))


@pytest.mark.parametrize("rules", [Rules(), Rules(older_than=0), Rules(older_than=0.0)])
def test_without_a_rule_everything_stays(rules: Rules) -> None:
    sets = [at("2020-01-01 00:00"), at("2026-01-01 00:00"), at("2026-11-23 00:00")]
    assert rules.is_empty
    assert kept(sets, rules, "2026-11-23 12:00") == {
        sets[0]: "no rule is given",
        sets[1]: "no rule is given",
        sets[2]: "it is the newest set",
    }


# Tables: what each rule keeps, with its sentence


DAYS = [f"2026-11-{day} {hour}:05" for day in (21, 22, 23) for hour in ("00", "06", "12", "18")][:-1]


def test_the_manuals_rule() -> None:
    """Older than 24 hours, except those of noon; the last 2 never."""
    rules = Rules(older_than=24, except_at=("12:00",), keep_last=2)
    younger = "it is younger than 24 h (older_than)"
    assert kept(map(at, DAYS), rules, "2026-11-23 12:10") == {
        at("2026-11-21 12:05"): "it is the first one from 12:00 on, on 2026-11-21 (except_at)",
        at("2026-11-22 12:05"): "it is the first one from 12:00 on, on 2026-11-22 (except_at)",
        at("2026-11-22 18:05"): younger,
        at("2026-11-23 00:05"): younger,
        at("2026-11-23 06:05"): "it is one of the last 2 (keep_last)",
        at("2026-11-23 12:05"): "it is the newest set",
    }


def test_a_set_of_exactly_that_age_is_old() -> None:
    sets = [at("2026-11-22 11:59"), at("2026-11-22 12:00"), at("2026-11-22 12:01"), at("2026-11-23 11:00")]
    assert list(kept(sets, Rules(older_than=24), "2026-11-23 12:00")) == sets[2:]
    assert list(kept(sets, Rules(older_than=0.5), "2026-11-23 12:00")) == sets[3:]  # the newest, although it is older


def test_the_last_ones() -> None:
    assert list(kept(map(at, DAYS), Rules(keep_last=3), "2026-11-23 13:00")) == [at(day) for day in DAYS[-3:]]
    assert len(kept(map(at, DAYS), Rules(keep_last=100), "2026-11-23 13:00")) == len(DAYS)


PERIODS = [
    "2025-12-29 10:00",  # ISO week 1 of 2026
    "2026-01-04 10:00",  # the same week
    "2026-01-31 10:00",
    "2026-03-01 10:00",
    "2026-03-01 10:40",
    "2026-03-02 09:10",
    "2026-03-02 11:20",
]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (
            Rules(keep_hourly=3),
            {
                "2026-03-01 10:40": "it is the newest of the hour 2026-03-01 10:00 (keep_hourly)",
                "2026-03-02 09:10": "it is the newest of the hour 2026-03-02 09:00 (keep_hourly)",
            },
        ),
        (Rules(keep_daily=2), {"2026-03-01 10:40": "it is the newest of the day 2026-03-01 (keep_daily)"}),
        (
            Rules(keep_weekly=5),
            {
                "2026-01-04 10:00": "it is the newest of the week 2026-W01 (keep_weekly)",
                "2026-01-31 10:00": "it is the newest of the week 2026-W05 (keep_weekly)",
                "2026-03-01 10:40": "it is the newest of the week 2026-W09 (keep_weekly)",
            },
        ),
        (Rules(keep_weekly=2), {"2026-03-01 10:40": "it is the newest of the week 2026-W09 (keep_weekly)"}),
        (
            Rules(keep_monthly=3),
            {
                "2025-12-29 10:00": "it is the newest of the month 2025-12 (keep_monthly)",
                "2026-01-31 10:00": "it is the newest of the month 2026-01 (keep_monthly)",
            },
        ),
        (
            Rules(keep_daily=2, keep_monthly=2),
            {
                "2026-01-31 10:00": "it is the newest of the month 2026-01 (keep_monthly)",
                "2026-03-01 10:40": "it is the newest of the day 2026-03-01 (keep_daily)",
            },
        ),
    ],
)
def test_one_of_each_period(rules: Rules, expected: dict[str, str]) -> None:
    """Periods that have no set are not counted."""
    newest = {at("2026-03-02 11:20"): "it is the newest set"}
    assert kept(map(at, PERIODS), rules, "2026-03-02 12:00") == {**{at(one): why for one, why in expected.items()}, **newest}


OLD = Rules(older_than=1)


def test_what_the_hosts_need_stays_whatever_the_rules_say() -> None:
    sets = [
        at("2026-11-01 00:00", "B"),
        at("2026-11-02 00:00", "B"),
        at("2026-11-03 00:00"),
        at("2026-11-04 00:00"),
        at("2026-11-05 00:00", "B"),
        at("2026-11-06 00:00", "B"),
        at("2026-11-07 00:00"),
        at("2026-11-08 00:00"),
    ]
    assert kept(sets, OLD, "2026-11-23 00:00", protected={sets[3]: "the next sync starts from it"}) == {
        sets[1]: f"it is the newest set with VM states (B) up to the common set {sets[3]}",
        sets[3]: "the next sync starts from it",
        sets[5]: "it is the newest set with VM states (B)",
        sets[7]: "it is the newest set",
    }


def test_a_common_set_with_vm_states_is_all_that_is_needed_of_them() -> None:
    sets = [at("2026-11-01 00:00", "B"), at("2026-11-02 00:00", "B"), at("2026-11-03 00:00", "B")]
    assert list(kept(sets, OLD, "2026-11-23 00:00", protected={sets[1]: "the next sync starts from it"})) == sets[1:]


def test_what_goes_says_so() -> None:
    sets = [at("2026-11-01 00:00"), at("2026-11-02 00:00")]
    assert retention.decide(sets, OLD, utc("2026-11-23 00:00"), {}, "office") == [
        Decision(sets[0], False, GONE),
        Decision(sets[1], True, "it is the newest set"),
    ]


def test_what_is_not_ours_stays_and_counts_for_nothing() -> None:
    ours = [at("2026-11-01 00:00"), at("2026-11-02 00:00")]
    foreign = {
        "hvm_20261120T000000Z_other_B": "it is no set of the pair office",
        "hvm_20261120T000000Z_office_X": "it is no set of the pair office",
        "manual": "it is no set of the pair office",
        "zrepl_20261120": "it is no set of the pair office",
        "hvm_20261399T000000Z_office_B": "its name has no valid time",
        "hvm_00010101T000000Z_office_B": "its name has no valid time",
        "hvm_99991231T235959Z_office_B": "its name has no valid time",
    }
    assert kept([*ours, *foreign], Rules(keep_last=1, keep_daily=1), "2026-11-23 00:00", BERLIN) == {
        **foreign,
        ours[1]: "it is the newest set",
    }


# The clock


def test_sets_of_the_future_stay_and_make_no_right_one_old() -> None:
    """A host that once believed to be in 2030: the newest right one is still the newest, and the last two are the last two."""
    sets = [at("2026-11-01 00:00"), at("2026-11-02 00:00", "B"), at("2026-11-03 00:00"), at("2026-11-04 00:00")]
    future = [at("2030-01-01 00:00"), at("2030-01-02 00:00", "B")]
    for rules in (Rules(keep_last=2), Rules(keep_daily=2)):
        found = kept([*sets, *future], rules, "2026-11-23 00:00")
        assert list(found) == [*sets[1:], *future]
        assert found[sets[3]] == "it is the newest set"
        assert found[sets[1]] == "it is the newest set with VM states (B)"
        assert {found[one] for one in future} == {"it is dated in the future"}


def test_what_comes_after_one_of_the_future_goes_by_when_it_was_taken() -> None:
    """Each name is a second behind the one before, so the rules would never let one go again."""
    sets = ["hvm_20990101T000000Z_office_C"]
    taken = {sets[0]: int(utc("2099-01-01 00:00").timestamp())}
    for hour in range(100):
        moment = utc("2026-11-01 00:00") + datetime.timedelta(hours=hour)
        sets.append(str(names.new_name("office", "crash", moment, sets)))
        taken[sets[-1]] = int(moment.timestamp())

    def staying(rules: Rules, now: str) -> list[str]:
        return [one.name for one in retention.decide(sets, rules, utc(now), {}, "office", taken=taken) if one.keep]

    assert retention.ahead([*sets, at("2026-11-01 00:00"), "manual"], utc("2026-11-23 00:00")) == sets
    assert staying(Rules(keep_last=3), "2026-11-23 00:00") == [sets[0], *sets[-3:]]
    assert staying(Rules(keep_daily=2), "2026-11-23 00:00") == [sets[0], sets[-5], sets[-1]]  # 96 hours are four days
    assert staying(Rules(keep_last=3), "2026-10-01 00:00") == sets  # this clock is behind


def test_a_set_of_this_second_is_none_of_the_future() -> None:
    assert kept([at("2026-11-23 12:00")], OLD, "2026-11-23 12:00") == {at("2026-11-23 12:00"): "it is the newest set"}


# Times of day: days with 23 and 25 hours, windows over midnight


def first(sets: t.Sequence[str], *times: str, zone: datetime.tzinfo = BERLIN) -> list[str]:
    """Those (UTC) that the times of day keep."""
    found = kept(map(at, sets), Rules(older_than=1, except_at=times), "2027-01-01 00:00", zone)
    return [one for one in sets if "except_at" in found.get(at(one), "")]


LAST = "2026-12-31 12:00"  # the newest, so that no other one stays for that


@pytest.mark.parametrize(
    ("sets", "times", "expected"),
    [
        # a winter day: 12:00 is 11:00 UTC
        (["2026-01-15 10:59", "2026-01-15 11:00", "2026-01-15 11:01"], ("12:00",), ["2026-01-15 11:00"]),
        (["2026-01-15 11:59", "2026-01-15 12:00"], ("12:00",), ["2026-01-15 11:59"]),
        (["2026-01-15 12:00"], ("12:00",), []),
        # a summer day: 10:00 UTC
        (["2026-07-15 10:05", "2026-07-15 11:05"], ("12:00",), ["2026-07-15 10:05"]),
        # two times, one of which is in the window of the other
        (["2026-01-15 11:05", "2026-01-15 11:35"], ("12:00", "12:30"), ["2026-01-15 11:05", "2026-01-15 11:35"]),
        (["2026-01-15 11:35", "2026-01-15 11:40"], ("12:00", "12:30"), ["2026-01-15 11:35"]),
        # midnight; and a window that ends on the next day
        (["2026-01-14 22:59", "2026-01-14 23:00"], ("00:00",), ["2026-01-14 23:00"]),
        (["2026-01-14 23:10", "2026-01-14 23:20"], ("23:30",), ["2026-01-14 23:10"]),
        (["2026-01-14 22:40", "2026-01-14 23:10"], ("23:30",), ["2026-01-14 22:40"]),
        (["2026-01-14 23:29", "2026-01-14 23:30"], ("23:30",), ["2026-01-14 23:29"]),
        (["2026-01-14 23:10", "2026-01-15 22:40"], ("23:30",), ["2026-01-14 23:10", "2026-01-15 22:40"]),
        # the night without an hour: there is no 02:30, so it is 03:30 (01:30 UTC)
        (["2026-03-29 00:35", "2026-03-29 01:29", "2026-03-29 01:35"], ("02:30",), ["2026-03-29 01:35"]),
        (["2026-03-29 00:35", "2026-03-29 01:05"], ("01:30",), ["2026-03-29 00:35"]),
        (["2026-03-29 01:05"], ("01:30",), ["2026-03-29 01:05"]),  # 35 minutes later, although the clock says 03:05
        # the night with an hour twice: the first 02:30 is 00:30 UTC, and its window is an hour long
        (["2026-10-25 00:29", "2026-10-25 00:35", "2026-10-25 01:35"], ("02:30",), ["2026-10-25 00:35"]),
        (["2026-10-25 01:35"], ("02:30",), []),
        (["2026-10-25 01:15"], ("02:30",), ["2026-10-25 01:15"]),  # 45 minutes later, although the clock says 02:15
        # over midnight in that night's day: 25 hours later
        (["2026-10-24 22:05", "2026-10-25 23:05"], ("00:00",), ["2026-10-24 22:05", "2026-10-25 23:05"]),
    ],
)
def test_the_first_in_the_hour_from_a_time_of_day_on(sets: list[str], times: tuple[str, ...], expected: list[str]) -> None:
    assert first([*sets, LAST], *times) == expected


def test_the_day_of_a_window_is_the_one_in_which_it_began() -> None:
    found = kept([at("2026-01-14 23:10"), at(LAST)], Rules(older_than=1, except_at=("23:30",)), "2027-01-01 00:00", BERLIN)
    assert found[at("2026-01-14 23:10")] == "it is the first one from 23:30 on, on 2026-01-14 (except_at)"


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    sets = ["2026-10-25 00:10", "2026-10-25 00:30", "2026-10-25 01:10", "2026-10-25 01:30", "2026-10-25 02:30"]
    assert list(kept(map(at, sets), Rules(keep_hourly=9), "2026-10-26 00:00", BERLIN)) == [at(sets[n]) for n in (1, 3, 4)]


def test_days_begin_at_the_hosts_midnight_also_when_they_are_longer() -> None:
    day = ["2026-10-24 22:00", "2026-10-25 22:59"]  # 00:00 and 23:59 of the 25th
    sets = ["2026-10-24 21:59", *day, "2026-10-25 23:00"]
    assert list(kept(map(at, sets), Rules(keep_daily=9), "2026-10-27 00:00", BERLIN)) == [at(sets[n]) for n in (0, 2, 3)]


# Properties


MINUTES = int(datetime.timedelta(days=70).total_seconds() // 60)
BEGIN, NOW = utc("2026-08-25 00:00"), utc("2026-11-01 00:00")  # the sets' times: 67 days, and 3 more of the future
COUNTS = st.integers(0, 6)
TIMES = st.lists(st.sampled_from(["00:00", "02:30", "12:00", "12:30", "23:30"]), max_size=3, unique=True)


def moment(minute: int) -> datetime.datetime:
    return BEGIN + datetime.timedelta(minutes=minute)


ONE = st.tuples(st.integers(0, MINUTES), st.sampled_from("BBFQCC"), st.sampled_from(["office"] * 9 + ["other"]))
SETS = st.lists(ONE, max_size=30).map(
    lambda found: [f"hvm_{moment(minute):%Y%m%dT%H%M%SZ}_{pair}_{mark}" for minute, mark, pair in found]
)


@st.composite
def rules_of_any_kind(draw: st.DrawFn) -> Rules:
    older = draw(st.sampled_from([None, 0, 0.5, 24, 24 * 7, 24 * 40]))
    counts = {name: draw(COUNTS) for name in ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly")}
    return Rules(older_than=older, except_at=tuple(draw(TIMES)) if older else (), **counts)


RULES = rules_of_any_kind()
ZONES = st.sampled_from([datetime.UTC, BERLIN, zoneinfo.ZoneInfo("America/St_Johns"), zoneinfo.ZoneInfo("Pacific/Kiritimati")])


def going(
    sets: t.Iterable[str], rules: Rules, zone: datetime.tzinfo = BERLIN, protected: t.Mapping[str, str] | None = None
) -> set[str]:
    return {one.name for one in retention.decide(sets, rules, NOW, protected or {}, "office", zone) if not one.keep}


def ours(sets: t.Iterable[str]) -> list[str]:
    """Those of the pair that are not of the future, oldest first."""
    parsed = {name: names.parse(name) for name in sets}
    return sorted(name for name, one in parsed.items() if one and one.pair == "office" and one.time <= NOW)


@given(SETS, RULES, ZONES, st.data())
def test_what_must_never_go_never_goes(sets: list[str], rules: Rules, zone: datetime.tzinfo, data: st.DataObject) -> None:
    protected = data.draw(st.dictionaries(st.sampled_from(sets), st.just("why"))) if sets else {}
    gone = going(sets, rules, zone, protected)
    event(f"{min(len(gone) // 4, 3)} times 4 go")
    past = ours(sets)
    assert gone <= set(past)
    assert not gone & set(protected)
    assert not gone & set(past[-1:])
    assert not gone & set(past[len(past) - rules.keep_last :] if rules.keep_last < len(past) else past if rules.keep_last else [])
    states = [name for name in past if name.endswith("_B")]
    assert not gone & set(states[-1:])
    if protected:
        newest = max(one.split("_")[1] for one in protected)
        assert not gone & set([name for name in states if name.split("_")[1] <= newest][-1:])
    if rules.is_empty:
        assert not gone
    if rules.older_than:
        edge = NOW - datetime.timedelta(hours=rules.older_than)
        assert not [name for name in gone if t.cast(names.SetName, names.parse(name)).time > edge]


@given(SETS, RULES, RULES, ZONES)
def test_a_rule_more_never_makes_more_go(sets: list[str], one: Rules, other: Rules, zone: datetime.tzinfo) -> None:
    both = Rules(
        older_than=max(one.older_than or 0, other.older_than or 0),
        except_at=tuple(sorted({*one.except_at, *other.except_at})),
        **{
            field.name: max(getattr(one, field.name), getattr(other, field.name))
            for field in dataclasses.fields(Rules)
            if field.name.startswith("keep_")
        },
    )
    if not one.is_empty:  # without any rule everything stays
        assert going(sets, both, zone) <= going(sets, one, zone)


@given(SETS, RULES, ZONES, st.data())
def test_more_protection_never_makes_more_go(sets: list[str], rules: Rules, zone: datetime.tzinfo, data: st.DataObject) -> None:
    protected = data.draw(st.sets(st.sampled_from(sets))) if sets else set()
    less = data.draw(st.sets(st.sampled_from(sorted(protected)))) if protected else set()
    more_go = going(sets, rules, zone, dict.fromkeys(protected, "why")) - going(sets, rules, zone, dict.fromkeys(less, "why"))
    # the newest B up to the newest protected one is another one then, and that is all
    assert all(name.endswith("_B") for name in more_go) and len(more_go) <= 1


@given(SETS, RULES, ZONES)
def test_the_second_run_destroys_nothing(sets: list[str], rules: Rules, zone: datetime.tzinfo) -> None:
    left = set(sets) - going(sets, rules, zone)
    assert going(left, rules, zone) == set()


@given(SETS, RULES, ZONES, st.randoms())
def test_one_decision_for_each_set_whatever_their_order(
    sets: list[str], rules: Rules, zone: datetime.tzinfo, random: t.Any
) -> None:
    decisions = retention.decide(sets, rules, NOW, {}, "office", zone)
    assert [one.name for one in decisions] == sorted(set(sets))
    assert all(one.reason == GONE for one in decisions if not one.keep)
    assert not any(one.reason == GONE for one in decisions if one.keep)
    again = list(sets)
    random.shuffle(again)
    assert retention.decide(again, rules, NOW, {}, "office", zone) == decisions


@given(SETS, RULES, ZONES)
def test_sets_of_the_future_change_nothing(sets: list[str], rules: Rules, zone: datetime.tzinfo) -> None:
    assert going(ours(sets), rules, zone) == going(sets, rules, zone)


# Sets that are not complete


def test_the_halves_of_two_days_without_room_take_no_whole_ones_place() -> None:
    hours = [f"2026-11-{day:02} {hour:02}:05" for day in range(1, 7) for hour in range(24)]
    whole = [at(one, "B") for one in [*hours[:72], hours[-1]]]
    halves = [at(one, "B") for one in hours[72:-1]]
    found = retention.decide([*whole, *halves], Rules(keep_last=48), utc("2026-11-07 00:00"), {}, "office", gaps=halves)
    kept = {one.name: one.reason for one in found if one.keep}
    assert [name for name in whole if name in kept] == whole[-48:]
    assert kept[whole[-2]] == "it is one of the last 48 (keep_last)"
    assert [name for name in halves if name in kept] == halves[-47:]  # they grow old by the rule, too


def test_the_newest_one_with_vm_states_is_a_whole_one() -> None:
    whole, half, last = at("2026-11-01 00:00", "B"), at("2026-11-02 00:00", "B"), at("2026-11-03 00:00")
    for protected in ({}, {last: "the next sync starts from it"}):
        found = retention.decide([whole, half, last], OLD, utc("2026-11-23 00:00"), protected, "office", gaps=[half])
        assert found[0] == Decision(whole, True, "it is the newest set with VM states (B)")


@given(SETS, RULES, ZONES, st.data())
def test_whole_sets_stay_whatever_halves_lie_between(
    sets: list[str], rules: Rules, zone: datetime.tzinfo, data: st.DataObject
) -> None:
    halves = data.draw(st.sets(st.sampled_from(sets))) if sets else set()
    whole = sorted(set(sets) - halves)
    protected = data.draw(st.dictionaries(st.sampled_from(whole), st.just("why"))) if whole else {}
    event(f"{min(len(halves) // 4, 3)} times 4 halves, {min(len(whole) // 4, 3)} times 4 whole")
    mixed = retention.decide(sets, rules, NOW, protected, "office", zone, gaps=halves)
    assert {one.name for one in mixed if not one.keep} - halves == going(whole, rules, zone, protected)
    # and none goes that would have stayed before anybody asked whether it is whole
    assert {one.name for one in mixed if not one.keep} <= going(sets, rules, zone, protected)


# What the next sync needs


A, B, C, D = (f"hvm_2026112{n}T000000Z_office_C" for n in (1, 2, 3, 4))


def decisions(*gone: str) -> list[Decision]:
    return [Decision(name, name not in gone, "") for name in (A, B, C, D, "manual")]


def test_what_is_held_says_as_what() -> None:
    assert retention.by_holds({A: ["d/r"], B: []}, "hvm:office") == {
        A: "the next sync starts from it (held as hvm:office)",
        B: "the next sync starts from it (held as hvm:office)",
    }


@pytest.mark.parametrize(
    ("gone", "held", "ask"),
    [
        ((), (), False),
        ((), (A,), False),
        ((A,), (), True),
        ((A, B), (C,), False),
        ((A, D), (C,), True),
        ((A,), (A,), False),
        ((B,), (A, C), False),
        ((A,), ("manual",), True),  # somebody used our tag for something else
    ],
)
def test_holds_alone_prove_what_is_older_than_they_are(gone: tuple[str, ...], held: tuple[str, ...], ask: bool) -> None:
    assert retention.must_ask(decisions(*gone), held) is ask


def entry(*snapshots: tuple[str, str], marks: t.Sequence[tuple[str, str]] = ()) -> dict[str, t.Any]:
    return {
        "snapshots": [[name, guid, n] for n, (name, guid) in enumerate(snapshots)],
        "bookmarks": [[name, guid, n] for n, (name, guid) in enumerate(marks)],
    }


def test_the_newest_that_both_have_by_guid() -> None:
    mine = {"d/r": entry((A, "1"), (B, "2"), (C, "3")), "d/r/a": entry((B, "4"), (C, "5")), "d/r/new": entry((C, "6"))}
    theirs = {"d/r": entry((A, "1"), (B, "2"), (C, "x")), "d/r/a": entry((B, "4"), ("manual", "9")), "d/r/z": entry()}
    assert retention.by_comparison(mine, theirs, ["d/r"], "office", "hv2") == {
        B: "it is the newest that hv2 has too (2 datasets)"
    }


def test_a_dataset_that_came_later_has_another_one() -> None:
    mine = {"d/r": entry((A, "1"), (C, "3")), "d/r/a": entry((B, "4"))}
    theirs = {"d/r": entry((A, "1"), (C, "3")), "d/r/a": entry((B, "4"))}
    assert retention.by_comparison(mine, theirs, ["d/r"], "office", "hv2") == {
        B: "it is the newest that hv2 has too (d/r/a)",
        C: "it is the newest that hv2 has too (d/r)",
    }


def test_a_dataset_that_was_renamed_here_is_known_there_by_its_old_name() -> None:
    mine = {"d/r": entry((C, "3")), "d/r/new": entry((B, "4"), (C, "5"))}
    theirs = {"d/r": entry((C, "3")), "d/r/old": entry((B, "4"))}
    assert retention.by_comparison(mine, theirs, ["d/r"], "office", "hv2")[B] == "it is the newest that hv2 has too (d/r/new)"


def test_snapshots_that_are_no_sets_are_not_common_sets() -> None:
    both = {"d/r": entry((A, "1"), ("manual", "2"), ("hvm_20261123T000000Z_other_C", "3"))}
    assert list(retention.by_comparison(both, both, ["d/r"], "office", "hv2")) == [A]


def test_a_pool_that_is_missing_there_proves_nothing() -> None:
    both = {"d/r": entry((A, "1"))}
    assert retention.by_comparison(both, both, ["d/r", "e/s"], "office", "hv2") == {}
    assert retention.by_comparison(both, {}, ["d/r"], "office", "hv2") == {}


def test_what_has_a_bookmark_was_sent() -> None:
    mine = {
        "d/r": entry((A, "1"), (B, "2"), ("manual", "3"), marks=[(A, "1"), ("manual", "3"), (B, "other")]),
        "d/r/a": entry((C, "2"), marks=[]),
    }
    assert retention.by_bookmarks(mine, "office") == {A: "it has a bookmark, so it was sent once"}


def test_without_proof_everything_stays() -> None:
    why = "no hold and no bookmark tells which set the next sync starts from, and"
    assert retention.unproven([A, B], "hv2", "") == dict.fromkeys([A, B], f"{why} hv2 has none of them")
    assert retention.unproven([A], "hv2", "no route") == {A: f"{why} hv2 does not answer"}


# What is destroyed


def test_a_dataset_keeps_the_newest_it_has() -> None:
    sets = {A: {"d/r": "1", "d/r/gone": "2"}, B: {"d/r": "3", "d/r/gone": "4"}, C: {"d/r": "5"}}
    found = retention.doomed(decisions(A, B), sets)
    assert found.snapshots == {A: [f"d/r@{A}", f"d/r/gone@{A}"], B: [f"d/r@{B}"]}
    assert found.left == [f"d/r/gone@{B}"]


def test_a_set_of_which_nothing_can_go_is_left_out() -> None:
    assert retention.doomed(decisions(A), {A: {"d/r/gone": "1"}, B: {"d/r": "2"}}) == ({}, [f"d/r/gone@{A}"])
    assert retention.doomed(decisions(A), {B: {"d/r": "2"}}) == ({}, [])


@given(
    st.dictionaries(st.sampled_from([A, B, C, D]), st.dictionaries(st.sampled_from(["d/r", "d/r/a", "e/s"]), st.just("1"))),
    st.sets(st.sampled_from([A, B, C, D])),
)
def test_no_dataset_loses_its_last_and_nothing_that_stays_is_destroyed(sets: dict[str, dict[str, str]], gone: set[str]) -> None:
    found = retention.doomed(decisions(*gone), sets)
    destroyed = {one for members in found.snapshots.values() for one in members}
    there = {f"{dataset}@{name}" for name, members in sets.items() for dataset in members}
    assert destroyed | set(found.left) == {one for one in there if one.split("@")[1] in gone}
    assert not destroyed & set(found.left)
    for dataset in {one.split("@")[0] for one in there}:
        mine = sorted(one for one in there if one.startswith(f"{dataset}@"))
        assert mine[-1] not in destroyed
