# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much is sent to learn what a link carries: on links of every speed, with a clock that goes when something is sent."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._peer import probe
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import PeerLost

MIB = 1 << 20


class Link:
    """:ivar speed: bytes per second. :ivar trip: seconds for an answer. :ivar loses: that many bytes of each burst."""

    def __init__(self, speed: float, trip: float = 0.0, loses: int = 0) -> None:
        self.speed, self.trip, self.loses = speed, trip, loses
        self.now, self.sunk = 100.0, 77
        self.bursts: list[int] = []

    def clock(self) -> float:
        return self.now

    def pour(self, piece: bytes, count: int) -> None:
        assert len(piece) == probe.CHUNK and len(set(piece[:4096])) > 200
        self.bursts.append(count)
        self.sunk += count - self.loses
        self.now += count / self.speed

    def call(self, op: str) -> dict[str, int]:
        assert op == "sink"
        self.now += self.trip
        found, self.sunk = self.sunk, 0
        return {"bytes": found}

    def carries(self) -> int:
        return probe.carries(t.cast("t.Any", self), self.clock)


@pytest.mark.parametrize(
    ("speed", "trip", "bursts", "about"),
    [
        (100 << 10, 0.03, [64 << 10], 0.95),  # 1 Mbit/s: the first burst takes long enough
        (1.2 * MIB, 0.02, [64 << 10 << n for n in range(4)], 0.95),
        (120 * MIB, 0.0005, [64 << 10 << n for n in range(10)], 0.99),
        (1200 * MIB, 0.0002, [64 << 10 << n for n in range(10)], 0.99),  # all that may be sent
    ],
)
def test_on_links_that_there_are(speed: float, trip: float, bursts: list[int], about: float) -> None:
    link = Link(speed, trip)
    found = link.carries()
    assert link.bursts == bursts
    assert about * speed <= found <= speed


@given(st.floats(1e4, 1e11), st.floats(0, 0.3))
def test_it_is_short_and_never_says_more_than_the_link_carries(speed: float, trip: float) -> None:
    link = Link(speed, trip)
    found = link.carries()
    assert 0 < found <= speed * 1.0001 + 1
    assert sum(link.bursts) <= probe.MOST
    # beyond the first burst, which is small, nothing is begun that would not end in time
    assert link.now - 100.0 - trip <= max(probe.LONGEST, probe.FIRST / speed + trip) + 0.001


def test_what_does_not_arrive_says_nothing() -> None:
    assert Link(MIB, loses=1).carries() == 0


def test_a_link_that_ends_is_for_the_caller() -> None:
    class Ends(Link):
        def call(self, op: str) -> dict[str, int]:
            if self.bursts:
                raise PeerLost("the connection to hv2 ended")
            return super().call(op)

    with pytest.raises(PeerLost):
        Ends(MIB).carries()
