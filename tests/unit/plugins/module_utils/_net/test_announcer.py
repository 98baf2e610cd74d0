# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When it announces and when it ends; with real frames: tests/netns."""

from __future__ import annotations

import itertools
import typing as t

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._net.announcer import DEFEND_INTERVAL, LONGEST, QUIET, Moments


def run(conflicts: t.Iterable[int], until: int = 4000, **options: t.Any) -> tuple[list[int], int | None]:
    """Second by second. :return: the seconds of the announcements, and that of the end."""
    moments = Moments(0, **options)
    heard = set(conflicts)
    told = []
    for now in range(until):
        if moments.is_over(now):
            return told, now
        if moments.is_due(now):
            told.append(now)
        if now in heard:
            moments.conflict(now)
    return told, None


def test_after_two_ten_and_sixty_seconds_and_then_it_listens_until_ten_minutes_were_quiet() -> None:
    assert run([]) == ([2, 10, 60], 600)


def test_a_conflict_is_answered_at_once_and_makes_it_stay_longer() -> None:
    assert run([100]) == ([2, 10, 60, 101], 700)  # by the next turn of the loop


def test_conflicts_are_answered_every_ten_seconds_at_the_most() -> None:
    told, dummy = run(range(100, 140))
    assert told == [2, 10, 60, 101, 110, 120, 130, 140]


def test_one_that_spoke_last_is_answered_when_the_interval_is_over() -> None:
    told, dummy = run([100, 104])
    assert told == [2, 10, 60, 101, 110]


def test_moments_that_are_late_count_as_one() -> None:
    moments = Moments(0)
    assert moments.is_due(61)
    assert not moments.is_due(62)


def test_nothing_makes_it_stay_for_ever() -> None:
    told, end = run(range(5000))
    assert end == LONGEST
    assert len(told) < LONGEST / DEFEND_INTERVAL + 4


@given(st.sets(st.integers(0, 3000)))
def test_every_conflict_is_followed_by_an_announcement_and_none_comes_too_soon(conflicts: set[int]) -> None:
    told, end = run(conflicts)
    assert end is not None
    for moment in conflicts:
        if moment + DEFEND_INTERVAL + 1 < end:
            assert any(moment < one <= moment + DEFEND_INTERVAL + 1 for one in told)
    defences = [one for one in told if one not in (2, 10, 60)]
    assert all(later - earlier >= DEFEND_INTERVAL - 1 for earlier, later in itertools.pairwise(defences))
    last = max((one for one in conflicts if one < end), default=0)
    assert end <= max(last + QUIET, 60) + DEFEND_INTERVAL
