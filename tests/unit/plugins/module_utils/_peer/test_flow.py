# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import threading
import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._peer import flow
from ansible_collections.hvm.pair.plugins.module_utils._peer.flow import Limiter, Meter, Watch


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


# The rate


def test_without_a_rate_nothing_waits() -> None:
    limiter = Limiter()
    assert [limiter.delay(1 << 40) for dummy in range(3)] == [0.0] * 3
    assert limiter.piece(12345) == 12345


def test_each_waits_until_what_went_before_has_had_its_time(clock: Clock) -> None:
    limiter = Limiter(100, clock)
    assert [limiter.delay(50), limiter.delay(200), limiter.delay(1)] == [0.0, 0.5, 2.5]
    clock.now += 2.5
    assert limiter.delay(99) == pytest.approx(0.01)


def test_a_pause_saves_nothing_up(clock: Clock) -> None:
    limiter = Limiter(100, clock)
    clock.now += 3600
    assert [limiter.delay(100), limiter.delay(100)] == [0.0, 1.0]


def test_pieces_are_small_at_a_small_rate_and_never_nothing() -> None:
    assert Limiter(1000).piece(1 << 20) == 250
    assert Limiter(1000).piece(100) == 100
    assert Limiter(1).piece(100) == 1
    assert Limiter(1).piece(0) == 0  # the end of the stream stays its end


@given(
    st.integers(100, 10**9),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.floats(0, 5), st.integers(0, 3)), min_size=1, max_size=40),
)
def test_no_number_of_streams_goes_faster_than_the_rate(rate: int, wanted: list[tuple[int, float, int]]) -> None:
    """From any moment to any later one: at most the rate, and one piece of which the time is not over yet."""
    clock = Clock()
    limiter = Limiter(rate, clock)
    gone: list[tuple[float, int]] = []
    for count, pause, dummy in wanted:
        clock.now += pause
        piece = limiter.piece(count)
        gone.append((clock.now + limiter.delay(piece), piece))
    for begin in range(len(gone)):
        total = 0
        for at, piece in gone[begin:]:
            assert total <= (at - gone[begin][0]) * rate * (1 + 1e-9) + 1e-3
            total += piece


# How far a stream is


def test_what_is_known_of_a_stream(clock: Clock) -> None:
    meter = Meter("ssd/shared", clock)
    assert meter.facts() == {"dataset": "ssd/shared", "bytes": 0, "expected": None, "rate": 0, "left": None}
    meter.expected = 10 << 20
    assert meter.facts()["left"] is None  # nothing has moved: no rate, no guess
    clock.now += 2
    meter.add(1 << 20)
    meter.add(1 << 20)
    assert meter.facts() == {
        "dataset": "ssd/shared",
        "bytes": 2 << 20,
        "expected": 10 << 20,
        "rate": 1 << 20,
        "left": 8.0,
    }
    assert meter.line() == "ssd/shared: 2.0 MiB of 10.0 MiB, 1.0 MiB/s, 8 s left"
    clock.now += 3
    assert meter.idle == 3


def test_a_guess_that_was_too_small_leaves_nothing(clock: Clock) -> None:
    meter = Meter("d", clock)
    meter.expected = 10
    clock.now += 1
    meter.add(20)
    assert meter.facts()["left"] == 0


def test_without_a_guess_there_is_no_time_left(clock: Clock) -> None:
    meter = Meter("d", clock)
    clock.now += 4
    meter.add(2048)
    assert meter.line() == "d: 2.0 KiB, 512 B/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (360000, "100.0 h")],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert flow.duration(seconds) == text


# Who looks at the streams


@dataclasses.dataclass
class Seen:
    watch: Watch
    meter: Meter
    clock: Clock
    lines: list[str]
    facts: list[dict[str, t.Any]]
    asked: list[str]
    aborted: list[str]

    def look(self, seconds: float) -> list[str]:
        """What is said at a look, so much later."""
        self.clock.now += seconds
        del self.lines[:]
        self.watch.look(self.meter, self.clock.now)
        return self.lines


@pytest.fixture(name="seen")
def _seen(clock: Clock) -> Seen:
    lines: list[str] = []
    facts: list[dict[str, t.Any]] = []
    asked: list[str] = []
    aborted: list[str] = []

    def say(text: str, **more: t.Any) -> None:
        lines.append(text)
        facts.append(more)

    def estimate(name: str) -> int | None:
        asked.append(name)
        return 1 << 20

    meter = Meter("ssd/shared", clock)
    meter.abort = lambda: aborted.append(meter.failure)
    return Seen(Watch(say, estimate, stalled=60, give_up=900), meter, clock, lines, facts, asked, aborted)


def test_a_stream_is_told_of_every_few_seconds_and_its_size_asked_once(seen: Seen) -> None:
    assert seen.look(4) == []
    assert seen.asked == []  # one that is over by then is not worth a question
    seen.meter.add(1 << 18)
    assert seen.look(1) == ["ssd/shared: 256.0 KiB of 1.0 MiB, 51.2 KiB/s, 15 s left"]
    assert seen.look(4) == []
    seen.meter.add(1 << 18)
    assert seen.look(1) == ["ssd/shared: 512.0 KiB of 1.0 MiB, 51.2 KiB/s, 10 s left"]
    assert seen.asked == ["ssd/shared"]
    assert seen.facts[-1] == {"dataset": "ssd/shared", "bytes": 1 << 19, "expected": 1 << 20, "rate": 52428, "left": 10.0}


def test_the_next_stream_of_a_dataset_is_asked_for_anew(seen: Seen, clock: Clock) -> None:
    seen.look(10)
    seen.meter = Meter("ssd/shared", clock)
    seen.look(10)
    assert seen.asked == ["ssd/shared", "ssd/shared"]


def test_a_stream_that_stands_still_is_named_once_with_whom_it_waits_for(seen: Seen) -> None:
    seen.meter.waits_for = "hv2"
    assert seen.look(60) != ["ssd/shared stands still for 60 s: it waits for hv2"]
    assert seen.look(1) == ["ssd/shared stands still for 61 s: it waits for hv2"]
    assert seen.facts[-1]["stalled"] is True
    assert seen.look(100) == []
    seen.meter.add(1)
    lines = seen.look(1)
    assert lines[0] == "ssd/shared goes on"
    assert "stalled" not in seen.facts[-1]
    assert seen.aborted == []
    seen.meter.waits_for = "zfs send"
    assert seen.look(61) == ["ssd/shared stands still for 62 s: it waits for zfs send"]


def test_a_stream_that_never_began(seen: Seen) -> None:
    assert seen.look(61) == ["ssd/shared stands still for 61 s: it has not begun"]


def test_a_stream_that_stands_still_for_too_long_is_ended_with_the_reason(seen: Seen) -> None:
    seen.meter.waits_for = "hv2"
    seen.look(900)
    assert (seen.aborted, seen.meter.failure) == ([], "")
    seen.look(1)
    assert seen.aborted == ["no byte of ssd/shared has moved for 901 s: it waits for hv2"]
    assert seen.meter.failure == seen.aborted[0]
    seen.look(1)  # before its thread has noticed: by now it waits for the other host, whose connection others need
    assert len(seen.aborted) == 1


def test_a_slow_stream_is_never_ended(seen: Seen) -> None:
    for dummy in range(200):
        seen.meter.add(1)
        assert not any("still" in line for line in seen.look(59))
    assert seen.aborted == []


def test_one_that_is_to_end_is_ended_as_soon_as_there_is_anything_to_end() -> None:
    meter, ended = Meter("web.vda.qcow2"), list[str]()
    meter.abort = lambda: ended.append(meter.failure)
    watch = Watch(lambda text, **dummy: None, stop=lambda: True)
    watch.look(meter, time.monotonic())
    assert ended == []
    meter.waits_for = "hv2"
    watch.look(meter, time.monotonic())
    watch.look(meter, time.monotonic())
    assert ended == ["web.vda.qcow2 was stopped on its way"] and not meter.idle > 1


def test_the_watch_looks_by_itself_at_what_has_begun_and_not_at_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "LOOK", 0.01)
    lines: list[str] = []
    aborted = threading.Event()
    threads = threading.active_count()
    with Watch(lambda text, **dummy: lines.append(text), stalled=0.05, give_up=0.3) as watch:
        over, stuck = watch.begin("over"), watch.begin("stuck")
        over.abort = lambda: lines.append("over was ended")
        stuck.abort = aborted.set
        watch.end(over)
        assert aborted.wait(20)
        watch.end(stuck)
    assert lines == ["stuck stands still for 0 s: it has not begun"]
    assert stuck.failure.startswith("no byte of stuck has moved")
    assert threading.active_count() == threads


def test_the_watch_ends_at_once() -> None:
    began = time.monotonic()
    with Watch(lambda text, **dummy: None):
        pass
    assert time.monotonic() - began < 0.9
