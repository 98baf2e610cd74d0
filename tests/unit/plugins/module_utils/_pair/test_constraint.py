# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import json
import zoneinfo

import hypothesis
import hypothesis.strategies as st
import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint

HOSTS = ["HOST-a", "HOST-b"]
DAY = datetime.timedelta(days=1)
TODAY = datetime.date(2026, 12, 1)
NOW = datetime.datetime(2026, 12, 1, 9, tzinfo=datetime.UTC)
PARIS = zoneinfo.ZoneInfo("Europe/Paris")


def date(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def make(host: str, start: str, end: str = "", set_at: datetime.datetime = NOW) -> constraint.Constraint:
    return constraint.Constraint(host, date(start), date(end or start), set_at)


def asked(host: str, start: str, end: str | None = None, today: datetime.date = TODAY) -> constraint.Constraint:
    return constraint.new(host, start, end, HOSTS, today, NOW)


# What can be asked for


@pytest.mark.parametrize(
    ("words", "start", "end"),
    [
        (("today",), "2026-12-01", "2026-12-01"),
        (("tomorrow",), "2026-12-02", "2026-12-02"),
        (("20/12/2026", "3/1/2027"), "2026-12-20", "2027-01-03"),  # the manual's example, nine years on
        (("5/12/2026",), "2026-12-05", "2026-12-05"),
        (("05/12/2026",), "2026-12-05", "2026-12-05"),
        (("2026-12-20", "2027-01-03"), "2026-12-20", "2027-01-03"),
        (("today", "3/1/2027"), "2026-12-01", "2027-01-03"),
        (("20/11/2026", "today"), "2026-11-20", "2026-12-01"),  # began in the past, is not over
        (("29/2/2028",), "2028-02-29", "2028-02-29"),
        ((" today ",), "2026-12-01", "2026-12-01"),
    ],
)
def test_days_that_the_manual_and_iso_write(words: tuple[str, ...], start: str, end: str) -> None:
    assert asked("HOST-b", *words) == make("HOST-b", start, end)


def test_tomorrow_crosses_the_year() -> None:
    assert asked("HOST-b", "tomorrow", today=date("2026-12-31")).start == date("2027-01-01")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("29/2/2027",), "'29/2/2027' is not a day: day is out of range for month"),
        (("12/20/2026",), "'12/20/2026' is not a day: month must be in 1..12"),
        (("20/12/26",), "'20/12/26' is not a day"),
        (("2026-1-2",), "'2026-1-2' is not a day"),
        (("20.12.2026",), "'20.12.2026' is not a day"),
        (("20/12/2026 10:00",), "'20/12/2026 10:00' is not a day"),
        (("yesterday",), "'yesterday' is not a day"),
        (("٢٠/١٢/٢٠٢٦",), "'٢٠/١٢/٢٠٢٦' is not a day"),
        (("",), "'' is not a day"),
        (("3/1/2027", "20/12/2026"), "the constraint ends on 2026-12-20, before it begins on 2027-01-03"),
        (("30/11/2026",), "HOST-b must be ACTIVE on 2026-11-30: that is over, today is 2026-12-01"),
        (
            ("1/11/2026", "30/11/2026"),
            "HOST-b must be ACTIVE from 2026-11-01 to 2026-11-30 inclusive: that is over, today is 2026-12-01",
        ),
    ],
)
def test_what_is_refused(words: tuple[str, ...], fault: str) -> None:
    with pytest.raises(HvmError) as caught:
        asked("HOST-b", *words)
    assert caught.value.what.startswith(fault)
    assert caught.value.remedy.endswith(".")


def test_a_host_that_is_not_in_the_pair_is_refused() -> None:
    with pytest.raises(HvmError) as caught:
        asked("HOST-c", "today")
    assert str(caught.value) == "HOST-c is not a host of the pair. Its hosts are HOST-a and HOST-b."


def test_tomorrow_after_the_end_of_time_is_no_crash() -> None:
    with pytest.raises(HvmError, match="is not a day"):
        constraint.parse_day("tomorrow", datetime.date.max)


# Days, midnight, and clocks that change


def hours_of(day: datetime.date, zone: datetime.tzinfo) -> list[datetime.datetime]:
    """Every full hour, UTC, that falls on `day` in `zone`."""
    start = datetime.datetime.combine(day - DAY, datetime.time(), datetime.UTC)
    return [hour for n in range(72) if constraint.local_day(hour := start + datetime.timedelta(hours=n), zone) == day]


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-03-30", 24), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_a_day_is_as_long_as_it_is(day: str, hours: int) -> None:
    one = make("HOST-b", day)
    covered = hours_of(date(day), PARIS)
    assert len(covered) == hours
    for other in (date(day) - DAY, date(day) + DAY):
        assert not any(one.covers(constraint.local_day(hour, PARIS)) for hour in hours_of(other, PARIS))


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-10-24T21:59:59+00:00", False),  # 23:59:59 the day before, summer time
        ("2026-10-24T22:00:00+00:00", True),  # midnight
        ("2026-10-25T00:30:00+00:00", True),  # 2:30, the first one
        ("2026-10-25T01:30:00+00:00", True),  # 2:30, the second one
        ("2026-10-25T22:59:59+00:00", True),  # 23:59:59, winter time: start + 86399 s would be over since an hour
        ("2026-10-25T23:00:00+00:00", False),
    ],
)
def test_the_last_second_counts_where_the_day_has_25_hours(moment: str, holds: bool) -> None:
    day = constraint.local_day(datetime.datetime.fromisoformat(moment), PARIS)
    assert (constraint.in_force([make("HOST-b", "2026-10-25")], day)[0] is not None) == holds


def test_the_same_moment_is_another_day_elsewhere() -> None:
    moment = datetime.datetime(2026, 12, 1, 23, 30, tzinfo=datetime.UTC)
    for zone, day in (("Europe/Paris", "2026-12-02"), ("America/Lima", "2026-12-01"), ("Pacific/Kiritimati", "2026-12-02")):
        assert constraint.local_day(moment, zoneinfo.ZoneInfo(zone)) == date(day)


def test_two_hosts_told_around_midnight_mean_the_same_day() -> None:
    said = date("2026-12-01")
    first = constraint.new("HOST-b", "today", "tomorrow", HOSTS, said, NOW, said)
    second = constraint.new("HOST-b", "today", "tomorrow", HOSTS, said + DAY, NOW, said)
    assert first == second and first.id == second.id
    # One day that is over by then is over.
    with pytest.raises(HvmError, match="that is over"):
        constraint.new("HOST-b", "today", None, HOSTS, said + DAY, NOW, said)


# Several


def test_same_again_changes_nothing_and_keeps_the_first_record() -> None:
    once, sentence = constraint.add((), asked("HOST-b", "today"), TODAY)
    assert sentence == "HOST-b must be ACTIVE on 2026-12-01."
    later = constraint.Constraint("HOST-b", TODAY, TODAY, NOW + DAY)
    twice, sentence = constraint.add(once, later, TODAY)
    assert sentence == "This is set already: HOST-b must be ACTIVE on 2026-12-01."
    assert twice == once and twice[0].set_at == NOW


def test_several_in_the_future_are_kept_in_order_and_what_is_over_goes() -> None:
    over = make("HOST-a", "2026-11-01", "2026-11-30")
    there, _sentence = constraint.add([over], asked("HOST-b", "20/12/2026", "3/1/2027"), TODAY)
    there, _sentence = constraint.add(there, asked("HOST-a", "tomorrow"), TODAY)
    there, _sentence = constraint.add(there, asked("HOST-b", "4/1/2027"), TODAY)  # the day after is no overlap
    assert [one.host for one in there] == ["HOST-a", "HOST-b", "HOST-b"]


@pytest.mark.parametrize("host", HOSTS)
def test_an_overlap_is_refused_and_named(host: str) -> None:
    there = (make("HOST-b", "2026-12-20", "2027-01-03"),)
    with pytest.raises(HvmError) as caught:
        constraint.add(there, make(host, "2027-01-03", "2027-01-10"), TODAY)
    assert caught.value.what == (
        f"{host} must be ACTIVE from 2027-01-03 to 2027-01-10 inclusive: that overlaps another constraint (2027-01-03): "
        "HOST-b must be ACTIVE from 2026-12-20 to 2027-01-03 inclusive"
    )
    assert caught.value.remedy == "Unset that one first, or choose other days."
    assert caught.value.details["overlaps"]["start"] == "2026-12-20"
    with pytest.raises(HvmError, match=r"overlaps another constraint \(2026-12-24 to 2026-12-26\)"):
        constraint.add(there, make(host, "2026-12-24", "2026-12-26"), TODAY)


def test_one_that_is_over_hinders_nothing() -> None:
    there = (make("HOST-a", "2026-11-20", "2026-11-30"),)
    assert constraint.add(there, make("HOST-b", "2026-11-25", "2026-12-05"), TODAY)[0] == (
        make("HOST-b", "2026-11-25", "2026-12-05"),
    )


def test_remove_by_what_is_given() -> None:
    a, b, c = make("HOST-a", "2026-12-05"), make("HOST-b", "2026-12-20", "2027-01-03"), make("HOST-b", "2027-02-01")
    there = (make("HOST-a", "2026-11-01"), a, b, c)
    left, sentence = constraint.remove(there, TODAY)
    assert left == ()
    assert sentence == (
        "Unset: HOST-a must be ACTIVE on 2026-12-05; HOST-b must be ACTIVE from 2026-12-20 to 2027-01-03 inclusive; "
        "HOST-b must be ACTIVE on 2027-02-01."
    )
    assert constraint.remove(there, TODAY, host="")[0] == (a, b, c)  # a variable that was left empty is not "all"
    assert constraint.remove(there, TODAY, host="HOST-b")[0] == (a,)
    assert constraint.remove(there, TODAY, start="20/12/2026")[0] == (a, c)
    assert constraint.remove(there, TODAY, "HOST-b", "2027-02-01", "1/2/2027")[0] == (a, b)
    assert constraint.remove(there, TODAY, end="24/12/2026") == ((a, b, c), "There is no such constraint.")  # a day in between
    assert constraint.remove(there[:1], TODAY) == ((), "No constraint is set.")


def test_in_force_says_why() -> None:
    one, nxt = make("HOST-b", "2026-11-30", "2026-12-04"), make("HOST-a", "2026-12-20")
    assert constraint.in_force([nxt, one], TODAY) == (
        one,
        "HOST-b must be ACTIVE from 2026-11-30 to 2026-12-04 inclusive; today, 2026-12-01, is day 2 of 5.",
    )
    assert constraint.in_force([nxt], TODAY) == (
        None,
        "No constraint is in force today, 2026-12-01. The next one: HOST-a must be ACTIVE on 2026-12-20.",
    )
    past = [make("HOST-b", "2026-11-30"), make("HOST-a", "2026-11-01")]
    assert constraint.in_force(past, TODAY) == (None, "No constraint is in force. The last one is over since 2026-11-30.")
    assert constraint.in_force([], TODAY) == (None, "No constraint is set.")


def test_should_a_file_hold_two_for_one_day_the_later_one_holds() -> None:
    old, new = make("HOST-a", "2026-12-01"), make("HOST-b", "2026-12-01", "2026-12-02", NOW + DAY)
    assert constraint.in_force([old, new], TODAY)[0] == constraint.in_force([new, old], TODAY)[0] == new


# Properties

days = st.dates(datetime.date(2026, 11, 1), datetime.date(2027, 1, 31))
constraints = st.builds(
    lambda host, first, length: constraint.Constraint(host, first, first + length * DAY, NOW),
    st.sampled_from(HOSTS),
    days,
    st.integers(0, 20),
)


def set_of(one: constraint.Constraint) -> set[datetime.date]:
    return {one.start + n * DAY for n in range(one.days)}


@hypothesis.given(constraints, constraints)
def test_overlap_is_a_day_in_common(one: constraint.Constraint, other: constraint.Constraint) -> None:
    assert one.overlaps(other) == other.overlaps(one) == bool(set_of(one) & set_of(other))


@hypothesis.given(constraints, days)
def test_covers_its_days_and_no_other(one: constraint.Constraint, day: datetime.date) -> None:
    assert one.covers(day) == (day in set_of(one))


@hypothesis.given(st.lists(constraints, max_size=12), days, days)
def test_whatever_is_asked_for_one_constraint_at_most_holds_on_a_day(
    wanted: list[constraint.Constraint], today: datetime.date, day: datetime.date
) -> None:
    there: constraint.Constraints = ()
    for one in wanted:
        try:
            there, _sentence = constraint.add(there, one, today)
        except HvmError as exc:
            assert exc.details["overlaps"] in [constraint.record(other) for other in there if other.overlaps(one)]
    holding = [one for one in there if one.covers(day)]
    assert len(holding) <= 1
    assert constraint.in_force(there, day)[0] == (holding[0] if holding else None)
    assert list(there) == sorted(there, key=lambda one: one.start)
    assert constraint.parse(constraint.dump(constraint.Book(there))) == constraint.Book(there)


@hypothesis.given(st.lists(constraints, max_size=6), days)
def test_what_is_over_changes_no_answer(some: list[constraint.Constraint], today: datetime.date) -> None:
    assert constraint.in_force(some, today)[0] == constraint.in_force(constraint.current(some, today), today)[0]


@hypothesis.given(constraints, st.lists(constraints, max_size=4), days)
def test_unset_takes_back_what_was_set(
    one: constraint.Constraint, others: list[constraint.Constraint], today: datetime.date
) -> None:
    hypothesis.assume(one.end >= today and not any(one.overlaps(other) for other in others))
    before = constraint.current(others, today)
    after, _sentence = constraint.add(before, one, today)
    assert constraint.remove(after, today, one.host, str(one.start), str(one.end))[0] == before


@hypothesis.given(st.text(max_size=12), days)
def test_no_text_for_a_day_breaks_it(text: str, today: datetime.date) -> None:
    try:
        constraint.parse_day(text, today)
    except HvmError:
        pass


# The file and what is shown


def test_file_is_what_a_person_can_read() -> None:
    one = make("HOST-b", "2026-12-20", "2027-01-03")
    assert json.loads(constraint.dump(constraint.Book((one,)))) == {
        "format": 1,
        "constraints": [
            {"id": one.id, "host": "HOST-b", "start": "2026-12-20", "end": "2027-01-03", "set_at": "2026-12-01T09:00:00Z"}
        ],
    }
    assert len(one.id) == 12 and one.id == make("HOST-b", "2026-12-20", "2027-01-03", NOW + DAY).id


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "Expecting value"),
        ("[]", "list indices must be integers"),
        ("{}", "'format' is missing"),
        ('{"format": 2, "constraints": []}', "it has the format 2, this version reads 1"),
        ('{"format": 1}', "'constraints' is missing"),
        ('{"format": 1, "constraints": [{"host": "a", "start": "2026-12-02", "end": "2026-12-01"}]}', "is none"),
        ('{"format": 1, "constraints": [{"host": "a", "start": "2026-12-01", "end": "2026-12-01"}]}', "'set_at' is missing"),
        (
            '{"format": 1, "constraints": [{"host": "a", "start": "2026-12-01", "end": "2026-12-01", "set_at": "2026-12-01"}]}',
            "it has no time zone",
        ),
        ('{"format": 1, "constraints": [{"host": "a", "start": 3}]}', "argument must be str"),
    ],
)
def test_a_file_that_cannot_be_read_is_said(text: str, fault: str) -> None:
    with pytest.raises(HvmError) as caught:
        constraint.parse(text)
    assert caught.value.what.startswith("the hosting constraints cannot be read: ")
    assert fault in caught.value.what or "missing" in caught.value.what


def test_moments_need_a_zone() -> None:
    assert constraint.parse_moment("2026-12-01T10:00:00.5+01:00") == NOW
    with pytest.raises(HvmError, match="it has no time zone"):
        constraint.parse_moment("2026-12-01T10:00:00")
    with pytest.raises(HvmError, match="'soon' is not a moment"):
        constraint.parse_moment("soon")


def test_show_has_a_calendar() -> None:
    there = [make("HOST-a", "2026-11-28", "2026-12-02"), make("HOST-b", "2026-12-30", "2027-01-01")]
    assert constraint.show(there, TODAY, HOSTS) == (
        "HOST-a must be ACTIVE from 2026-11-28 to 2026-12-02 inclusive; today, 2026-12-01, is day 4 of 5.\n"
        "\n"
        "* HOST-a must be ACTIVE from 2026-11-28 to 2026-12-02 inclusive (set 2026-12-01T09:00:00Z)\n"
        "  HOST-b must be ACTIVE from 2026-12-30 to 2027-01-01 inclusive (set 2026-12-01T09:00:00Z)\n"
        "\n"
        "       December 2026\n"
        " Mo  Tu  We  Th  Fr  Sa  Su\n"
        "    > 1a  2a  3   4   5   6\n"
        "  7   8   9  10  11  12  13\n"
        " 14  15  16  17  18  19  20\n"
        " 21  22  23  24  25  26  27\n"
        " 28  29  30b 31b\n"
        "\n"
        "        January 2027\n"
        " Mo  Tu  We  Th  Fr  Sa  Su\n"
        "                  1b  2   3\n"
        "  4   5   6   7   8   9  10\n"
        " 11  12  13  14  15  16  17\n"
        " 18  19  20  21  22  23  24\n"
        " 25  26  27  28  29  30  31\n"
        "\n"
        "a = HOST-a, b = HOST-b\n"
    )
    assert constraint.show([], TODAY, HOSTS) == "No constraint is set.\n"
    assert constraint.calendar([], TODAY, HOSTS) == ""


def test_a_long_one_shows_three_months_and_that_there_are_more() -> None:
    text = constraint.calendar([make("HOST-b", "2026-12-01", "9999-12-31")], TODAY, HOSTS)
    assert [name in text for name in ("December 2026", "January 2027", "February 2027", "March 2027", "\n...\n")] == [
        True,
        True,
        True,
        False,
        True,
    ]
    assert constraint.calendar([make("HOST-b", "9999-12-01", "9999-12-31")], TODAY, HOSTS).count("b") >= 31
