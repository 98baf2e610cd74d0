# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import threading
import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._peer import wire
from ansible_collections.hvm.pair.plugins.module_utils._peer.wire import Cut, Ended, Frames, Told, Wire

Said = list[tuple[bytes, bytes]]
FRAMES = st.lists(st.tuples(st.sampled_from(sorted(wire.KINDS)), st.binary(max_size=40)), max_size=8)


def spell(said: Said) -> bytes:
    return b"".join(wire.HEADER.pack(kind, len(payload)) + payload for kind, payload in said)


def heard(frames: Frames, parts: t.Iterable[bytes]) -> Said:
    """Data that follow data put together: how they were cut says nothing."""
    found: Said = []
    for part in parts:
        frames.feed(memoryview(part))
        while (frame := frames.next()) is not None:
            kind, payload = frame
            if kind == wire.DATA and found and found[-1][0] == wire.DATA:
                payload = memoryview(found.pop()[1] + bytes(payload))
            found.append((kind, bytes(payload)))
    return found


@given(FRAMES, st.lists(st.integers(1, 30), max_size=60))
def test_frames_are_what_was_said_however_they_are_cut(said: Said, cuts: list[int]) -> None:
    text, parts = spell(said), []
    for cut in cuts:
        parts.append(text[:cut])
        text = text[cut:]
    found = heard(Frames(), [*filter(None, parts), text])
    merged: Said = []
    for kind, payload in said:
        if kind == wire.DATA and not payload:
            continue
        if kind == wire.DATA and merged and merged[-1][0] == wire.DATA:
            merged[-1] = (kind, merged[-1][1] + payload)
        else:
            merged.append((kind, payload))
    assert found == merged


@pytest.mark.parametrize("text", [b"{\0\0\0\1x", b"Q\0\0\0\0", b"X\xff\xff\xff\xff", b"F\0\2\0\0"])
def test_what_is_no_frame_is_said_to_be_none(text: bytes) -> None:
    frames = Frames()
    frames.feed(memoryview(text))
    with pytest.raises(Cut, match="what it says cannot be understood"):
        frames.next()


class Ends:
    """Two wires that are joined by pipes."""

    def __init__(self, **signs: float) -> None:
        self.fds = [*os.pipe(), *os.pipe()]
        first_in, second_out, second_in, first_out = self.fds
        self.first = Wire(first_in, first_out, **signs)
        self.second = Wire(second_in, second_out, **signs)

    def close(self, fd: int) -> None:
        self.fds.remove(fd)
        os.close(fd)


@pytest.fixture(name="ends")
def _ends() -> t.Iterator[Ends]:
    ends = Ends(ping_every=0.05, silence=0.4)
    yield ends
    for fd in ends.fds:
        os.close(fd)


def test_more_is_sent_than_a_pipe_holds(ends: Ends) -> None:
    thread = threading.Thread(target=lambda: ends.first.send(wire.DATA, b"x" * 1_000_000))
    thread.start()
    found = 0
    while found < 1_000_000:
        kind, part = ends.second.receive()
        assert kind == wire.DATA
        found += len(part)
    thread.join()


def test_banners_are_no_answer_and_frames_may_follow_it_at_once(ends: Ends) -> None:
    os.write(ends.first.target, b'Welcome\n"text"\n[1]\n{"ok": true}\n' + spell([(wire.OPEN, b"")]))
    assert ends.second.hear(5) == {"ok": True}
    assert ends.second.receive() == (wire.OPEN, b"")


def test_an_answer_that_does_not_come(ends: Ends) -> None:
    with pytest.raises(Cut, match=r"it has not answered within 0 s"):
        ends.second.hear(0.05)
    os.write(ends.first.target, b"x" * 40_000)
    with pytest.raises(Cut, match=r"it has not answered within 0 s"):
        ends.second.hear(0.05)
    ends.close(ends.first.target)
    with pytest.raises(Ended, match="the connection ended"):
        ends.second.hear(0.05)


def test_a_line_without_an_end_is_not_kept(ends: Ends) -> None:
    def talk() -> None:
        with pytest.raises(Cut):
            ends.first.send(wire.DATA, b"x" * 400_000, 0.5)

    thread = threading.Thread(target=talk)
    thread.start()
    with pytest.raises(Cut, match="what it says cannot be understood"):
        ends.second.hear(5)
    thread.join()


def test_whoever_waits_says_that_he_is_there_and_so_is_waited_for(ends: Ends) -> None:
    def late() -> None:
        until = time.monotonic() + 1.0  # longer than the silence
        while time.monotonic() < until:
            ends.first.idle(0.1)
        ends.first.send(wire.OPEN)

    thread = threading.Thread(target=late)
    thread.start()
    assert ends.second.receive()[0] == wire.OPEN
    thread.join()


def test_one_who_says_nothing_is_gone(ends: Ends) -> None:
    began = time.monotonic()
    with pytest.raises(Cut, match="it has said nothing for 0 s"):
        ends.second.receive()
    assert 0.3 < time.monotonic() - began < 5


def test_signs_of_life_are_no_answer(ends: Ends) -> None:
    os.write(ends.first.target, spell([(wire.PING, b"")]) * 3)
    with pytest.raises(Cut, match="it has not answered within 0 s"):
        ends.second.receive(0.2)


def test_one_who_takes_nothing_is_not_waited_for_without_end(ends: Ends) -> None:
    with pytest.raises(Cut, match="it has taken nothing for 0 s"):
        ends.first.send(wire.DATA, b"x" * 1_000_000, patience=0.1)


def test_why_the_other_end_failed(ends: Ends) -> None:
    ends.first.fail(HvmError("the disk is full", "Free some."))
    with pytest.raises(Told) as caught:
        ends.second.receive()
    assert (caught.value.what, caught.value.remedy) == ("the disk is full", "Free some.")


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"remedy": 1}', b"\xff"])
def test_a_failure_that_says_nothing(ends: Ends, text: bytes) -> None:
    ends.first.send(wire.FAILED, text)
    with pytest.raises(Cut, match="it failed, and did not say why"):
        ends.second.receive()


def test_whoever_finds_that_nobody_reads_any_more_hears_why(ends: Ends) -> None:
    ends.second.fail(HvmError("the disk is full"))
    ends.close(ends.second.source)
    with pytest.raises(Told, match="the disk is full"):
        ends.first.send(wire.DATA, b"x" * 1_000_000)


def test_nobody_reads_any_more_and_no_reason_comes(ends: Ends) -> None:
    ends.close(ends.second.source)
    ends.close(ends.second.target)
    with pytest.raises(Ended, match="it takes nothing any more"):
        ends.first.send(wire.DATA, b"x")


def test_while_nothing_is_expected_only_signs_of_life_are_understood(ends: Ends) -> None:
    os.write(ends.first.target, spell([(wire.PING, b""), (wire.PING, b"")])[:-2])
    ends.second.idle(0)
    os.write(ends.first.target, spell([(wire.PING, b"")])[-2:] + spell([(wire.OPEN, b"")]))
    with pytest.raises(Cut, match="what it says cannot be understood"):
        ends.second.idle(0)
