# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two books of constraints that meet: whatever was written on either host, whatever their clocks say, both come to the same."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

import hypothesis
import hypothesis.strategies as st
import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint
from ansible_collections.hvm.pair.plugins.module_utils._pair.constraint import Book, Constraint

TODAY = datetime.date(2026, 12, 1)
NOW = datetime.datetime(2026, 12, 1, 9, tzinfo=datetime.UTC)
DAY, SECOND = datetime.timedelta(days=1), datetime.timedelta(seconds=1)


def make(host: str, start: int, end: int = 0, set_at: int = 0) -> Constraint:
    """From the day `start` on, counted from today, to the day `end`; set so many seconds after NOW."""
    return Constraint(host, TODAY + start * DAY, TODAY + max(start, end) * DAY, NOW + set_at * SECOND)


def told(book: Book) -> list[tuple[t.Any, ...]]:
    """Everything in it, the moments too, which do not count when constraints are compared."""
    return [dataclasses.astuple(one) for one in (*book.there, *book.gone)] + [(len(book.there),)]


def both_ways(one: Book, other: Book) -> Book:
    met = constraint.meet(one, other, TODAY)
    assert told(met) == told(constraint.meet(other, one, TODAY))
    return met


def test_each_learns_what_the_other_one_was_told() -> None:
    a, b = make("a", 1), make("b", 5, 7)
    assert both_ways(Book((a,)), Book((b,))) == Book((a, b))


def test_of_two_that_overlap_the_later_one_counts() -> None:
    early, late = make("a", 1, 3, set_at=5), make("b", 3, 4, set_at=6)
    met = both_ways(Book((early,)), Book((late,)))
    assert (met.there, met.gone) == ((late,), (early,))
    assert met.gone[0].set_at == late.set_at
    # the host that had the early one hears of it, and it does not come back when the late one is unset
    after, _sentence = constraint.take_out(met, NOW + 9 * SECOND, TODAY)
    assert both_ways(after, Book((early,))).there == ()


def test_what_was_unset_does_not_come_back_from_a_host_that_was_not_there() -> None:
    one = make("a", 1)
    unset, _sentence = constraint.take_out(Book((one,)), NOW + 60 * SECOND, TODAY)
    assert unset == Book((), (one,))
    assert both_ways(unset, Book((one,))).there == ()


@pytest.mark.parametrize("clock", [-3600, 0, 3600])
def test_set_again_after_it_was_unset_it_is_there_whatever_the_clocks_say(clock: int) -> None:
    one = make("a", 1)
    unset, _sentence = constraint.take_out(Book((one,)), NOW, TODAY)
    again, sentence = constraint.put(unset, make("a", 1, set_at=clock), TODAY)
    assert sentence == "a must be ACTIVE on 2026-12-02." and again.gone == ()
    for other in (Book((one,)), unset, Book()):
        assert both_ways(again, other).there == (one,)


def test_an_unset_by_a_clock_that_is_late_counts() -> None:
    one = make("a", 1, set_at=3600)
    unset, _sentence = constraint.take_out(Book((one,)), NOW, TODAY)
    assert both_ways(unset, Book((one,))).there == ()


def test_what_is_over_is_forgotten_on_both_sides() -> None:
    over = make("a", -5, -1)
    assert both_ways(Book((over,)), Book((), (over,))) == Book()
    assert constraint.put(Book((over,), (over,)), make("b", 1), TODAY)[0] == Book((make("b", 1),))
    assert constraint.take_out(Book((over,), (over,)), NOW, TODAY)[0] == Book()


def test_an_overlap_that_is_known_is_refused_and_changes_nothing() -> None:
    with pytest.raises(HvmError, match="overlaps another constraint"):
        constraint.put(Book((make("a", 1, 3),)), make("b", 3), TODAY)


def test_a_host_that_is_not_of_the_pair_is_left_out() -> None:
    book = Book((make("a", 1), make("x", 3)), (make("x", 5), make("b", 6)))
    assert constraint.of_hosts(book, ["a", "b"]) == Book((make("a", 1),), (make("b", 6),))


def test_the_file_has_what_is_gone_too() -> None:
    book = Book((make("a", 1),), (make("b", 5, set_at=7),))
    read = constraint.parse(constraint.dump(book))
    assert told(read) == told(book)
    assert constraint.parse(constraint.dump(Book(book.there))).gone == ()


# Properties

hosts = st.sampled_from(["a", "b"])
entries = st.builds(make, hosts, st.integers(-2, 12), st.integers(0, 14), st.integers(0, 20))


@st.composite
def books(draw: st.DrawFn) -> Book:
    """As a host may have it: set through `put`, some of it unset again."""
    book = Book()
    for entry in draw(st.lists(entries, max_size=6)):
        try:
            book, _sentence = constraint.put(book, entry, TODAY)
        except HvmError:
            pass
    for entry in draw(st.lists(st.sampled_from(book.there), unique=True)) if book.there else []:
        moment = entry.set_at + draw(st.integers(-5, 5)) * SECOND
        book, _sentence = constraint.take_out(book, moment, TODAY, entry.host, str(entry.start), str(entry.end))
    return book


@hypothesis.given(books(), books())
def test_both_hosts_come_to_the_same_and_a_second_meeting_changes_nothing(one: Book, other: Book) -> None:
    met = both_ways(one, other)
    assert told(both_ways(met, met)) == told(met)
    assert told(both_ways(met, one)) == told(both_ways(met, other)) == told(met)
    for left in met.there:
        assert not [right for right in met.there if right is not left and right.overlaps(left)]


@hypothesis.given(books(), books())
def test_nothing_is_lost_but_what_was_unset_or_has_given_way_to_a_later_one(one: Book, other: Book) -> None:
    met = both_ways(one, other)
    for mine, theirs in ((one, other), (other, one)):
        for entry in mine.there:
            if entry in met.there:
                continue
            unset = [gone for gone in theirs.gone if gone == entry and gone.set_at >= entry.set_at]
            later = [kept for kept in met.there if kept.overlaps(entry) and kept.set_at >= entry.set_at]
            assert unset or later
    for entry in met.there:
        assert entry in one.there or entry in other.there


class Pair:
    """Two hosts with clocks of their own; the operator works on either, they hear of each other now and then."""

    def __init__(self, skew: int) -> None:
        self.books = [Book(), Book()]
        self.clocks = [0, skew]

    def now(self, at: int) -> datetime.datetime:
        return NOW + self.clocks[at] * SECOND

    def meet(self, first: int) -> None:
        met = constraint.meet(self.books[first], self.books[1 - first], TODAY)
        self.books = [met, met]


steps = st.tuples(st.sampled_from(["put", "unset", "meet", "wait"]), st.integers(0, 1), entries)


@hypothesis.given(st.lists(steps, max_size=20), st.integers(-40, 40), st.integers(0, 1))
def test_whatever_happens_on_both_the_last_word_on_a_host_that_is_alone_holds(
    made: list[tuple[str, int, Constraint]], skew: int, last: int
) -> None:
    """The very same constraint, set or unset after a meeting, whatever the two clocks say: what was done last holds."""
    pair = Pair(skew)
    for what, at, entry in made:
        pair.clocks = [clock + 1 for clock in pair.clocks]
        if what == "put":
            try:
                one = dataclasses.replace(entry, set_at=pair.now(at))
                pair.books[at], _sentence = constraint.put(pair.books[at], one, TODAY)
            except HvmError:
                pass
        elif what == "unset":
            pair.books[at], _sentence = constraint.take_out(pair.books[at], pair.now(at), TODAY, entry.host)
        elif what == "meet":
            pair.meet(at)
    pair.meet(last)
    assert told(pair.books[0]) == told(pair.books[1])
    for entry in pair.books[0].there:
        pair.books[last], _sentence = constraint.take_out(pair.books[last], pair.now(last), TODAY, entry.host)
    pair.meet(1 - last)
    assert pair.books[0].there == ()
    final = make("b", 2)
    pair.books[last], _sentence = constraint.put(pair.books[last], dataclasses.replace(final, set_at=pair.now(last)), TODAY)
    pair.meet(1 - last)
    assert pair.books[0].there == pair.books[1].there == (final,)
