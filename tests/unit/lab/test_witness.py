# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json

import _witness
from hypothesis import given
from hypothesis import strategies as st

A, B = ("10.42.0.11", 40001), ("10.42.0.12", 40002)


def beat(counter, t, kind="C", where="1", source=A, seen=0, rtc=None, vm="vm"):
    return {
        "t": t,
        "vm": vm,
        "host": source[0],
        "source": f"{source[0]}:{source[1]}",
        "kind": kind,
        "where": where,
        "counter": counter,
        "disagreements": seen,
        "rtc": int(t) % 86400 if rtc is None else rtc,
    }


def run(first, number, t, source=A, **more):
    """Ten beats per second."""
    return [beat(first + i, round(t + i / 10, 3), source=source, **more) for i in range(number)]


def report(beats, **more):
    return _witness.analyse(beats, **more)["vm"]


def line(counter, kind="C"):
    return f"{kind}1{counter:08X}00235959"


# --- from datagrams to beats


def test_a_beat():
    assert _witness.parse("C20000012A03235901") == {"kind": "C", "where": "2", "counter": 298, "disagreements": 3, "rtc": 86341}
    assert len("C20000012A03235901") == _witness.LENGTH


def test_what_is_no_beat():
    for text in (
        "",
        "C",
        "C20000012A0323590",
        "C20000012A032359011",
        "Z20000012A03235901",
        "C20000012a03235901",
        "C20000012A03245901",
    ):
        assert _witness.parse(text) is None


@given(st.lists(st.integers(min_value=1, max_value=60), max_size=30))
def test_lines_come_whole_however_they_are_cut(cuts):
    data = b"".join(f"{line(number)}\n".encode() for number in range(10))
    lines = _witness.Reassembler({A[0]: "hva"})
    beats = []
    for cut in [*cuts, len(data)]:
        beats += lines.feed("vm", A, data[:cut], 5.0)
        data = data[cut:]
    assert [one["counter"] for one in beats] == list(range(10))
    assert beats[0] == {
        "t": 5.0,
        "vm": "vm",
        "host": "hva",
        "source": "10.42.0.11:40001",
        "kind": "C",
        "where": "1",
        "counter": 0,
        "disagreements": 0,
        "rtc": 86399,
    }


@given(st.binary(max_size=200))
def test_garbage_is_shown_and_does_not_last(garbage):
    lines = _witness.Reassembler()
    beats = lines.feed("vm", A, garbage + b"\n", 1.0) + lines.feed("vm", A, f"{line(7)}\n".encode(), 2.0)
    assert beats[-1]["counter"] == 7
    assert all(one["kind"] == "?" for one in beats[:-1] if _witness.parse(garbage.decode("ascii", "replace")) is None)
    json.dumps(beats)


def test_senders_and_vms_do_not_mix():
    lines = _witness.Reassembler()
    text = line(7).encode()
    assert lines.feed("one", A, text[:5], 1.0) == lines.feed("two", A, text[:9], 1.0) == []
    assert lines.feed("one", A, text[5:] + b"\n", 1.0)[0]["vm"] == "one"
    assert lines.feed("two", A, text[9:] + b"\n", 1.0)[0]["vm"] == "two"


@given(st.integers(min_value=1, max_value=_witness.LENGTH))
def test_a_beat_that_was_moved_in_the_middle_is_joined(cut):
    lines = _witness.Reassembler()
    text = line(7).encode() + b"\n"
    assert lines.feed("vm", A, line(6).encode() + b"\n" + text[:cut], 1.0)[0]["counter"] == 6
    (one,) = lines.feed("vm", B, text[cut:], 3.0) or [{"counter": 7, "host": B[0], "t": 3.0}]
    beats = lines.feed("vm", B, f"{line(8)}\n".encode(), 4.0)
    assert [found["counter"] for found in [one, *beats]] == [7, 8]
    assert (one["host"], one["t"]) == (B[0], 3.0)


def test_only_the_first_line_of_a_sender_is_joined():
    lines = _witness.Reassembler()
    lines.feed("vm", B, f"{line(1)}\n".encode(), 1.0)
    lines.feed("vm", A, line(7).encode()[:5], 1.0)
    assert lines.feed("vm", B, line(7).encode()[5:] + b"\n", 1.0)[0]["kind"] == "?"


def test_two_beats_whose_end_of_line_was_lost():
    lines = _witness.Reassembler()
    assert [one["counter"] for one in lines.feed("vm", A, (line(7) + line(8) + "\n").encode(), 1.0)] == [7, 8]


def test_a_file_that_still_grows(tmp_path):
    path = tmp_path / "beats"
    assert _witness.load(path) == []
    path.write_text('{"t": 1}\n{"t": 2')
    assert _witness.load(path) == [{"t": 1}]


# --- from beats to a report


def test_all_is_well():
    found = report([beat(0, 0.9, kind="B"), *run(1, 100, 1.0)])
    assert (found.first, found.last, found.beats, found.turn) == (0, 100, 101, 0.1)
    assert (found.continuous, found.lost, found.verdict) == (True, 0, [])
    assert found.boots == [(None, 0, 0.9)]
    assert found.hosts == [_witness.Stay(A[0], 0.9, 10.9, 0, 100)]


def test_a_migration_is_an_interruption_and_nothing_else():
    found = report(run(1, 20, 100.0) + run(21, 20, 103.25, source=B))
    assert (found.continuous, found.verdict) == (True, [])
    assert [(stay.host, stay.first_counter, stay.last_counter) for stay in found.hosts] == [(A[0], 1, 20), (B[0], 21, 40)]
    assert dataclasses.asdict(found.interruption) == {
        "seconds": 1.35,
        "guest_seconds": 2,
        "at": 101.9,
        "from_counter": 20,
        "to_counter": 21,
        "from_host": A[0],
        "to_host": B[0],
    }


def test_there_and_back_is_no_overlap():
    back = (A[0], 40009)
    found = report(run(1, 20, 1.0) + run(21, 20, 5.0, source=B) + run(41, 20, 9.0, source=back))
    assert (found.overlap, found.verdict, [stay.host for stay in found.hosts]) == (None, [], [A[0], B[0], A[0]])


def test_midnight_is_no_long_interruption():
    found = report([beat(1, 86398.0), beat(2, 86401.5)])
    assert (found.interruption.seconds, found.interruption.guest_seconds) == (3.5, 3)


def test_a_guest_clock_that_was_set_back_is_shown():
    assert report([beat(1, 1.0, rtc=1000), beat(2, 2.0, rtc=990)]).interruption.guest_seconds == -10


def test_only_one_migration():
    beats = run(1, 20, 1.0) + run(21, 20, 13.0, source=B) + run(41, 20, 17.0, source=B)
    assert report(beats).interruption.from_counter == 20
    found = report(beats, after=14.0)
    assert (found.interruption.from_counter, found.first, found.hosts[0].host) == (40, 31, B[0])
    assert report(beats, until=14.0).last == 31


def test_lost_beats_are_no_fault():
    beats = run(1, 100, 1.0)
    del beats[20:23], beats[50]
    found = report(beats)
    assert (found.lost, found.continuous, found.verdict) == (4, True, [])


def test_a_jump_is_no_loss():
    found = report(run(1, 20, 1.0) + run(60, 20, 3.0))
    assert (found.lost, found.jumps, found.continuous) == (0, [(20, 60)], False)
    assert found.verdict == ["vm jumped from 20 to 60"]


def test_a_rollback():
    found = report(run(1181, 20, 1.0) + run(1101, 20, 5.0, source=B))
    assert (found.rollbacks, found.continuous) == ([(1200, 1101)], False)
    assert found.verdict == ["vm went back from 1200 to 1101"]


def test_a_count_that_is_repeated():
    assert report(run(1, 20, 1.0) + run(20, 20, 5.0)).verdict == ["vm went back from 20 to 20"]


def test_a_rollback_to_before_the_time_that_is_looked_at():
    beats = run(1, 20, 1.0) + run(11, 20, 5.0)
    assert report(beats, after=4.0).verdict == ["vm went back from 20 to 11"]


def test_a_cold_boot_on_the_same_or_the_next_count_loses_only_ram():
    for counter in (20, 21):
        found = report(run(1, 20, 1.0) + [beat(counter, 9.0, kind="B")] + run(counter + 1, 5, 9.1))
        assert (found.rollbacks, found.lost, found.continuous) == ([], 0, False)
        assert found.verdict == [f"vm lost its RAM: cold boot at {counter} after 20"]
        assert found.interruption.to_counter == counter


def test_a_cold_boot_from_an_older_disk_loses_data():
    found = report(run(1, 20, 1.0) + [beat(15, 9.0, kind="B")] + run(16, 5, 9.1))
    assert found.verdict == ["vm went back from 20 to 15", "vm lost its RAM: cold boot at 15 after 20"]


def test_two_copies_from_the_same_moment():
    copies = sorted(run(21, 30, 5.0) + run(21, 30, 5.03, source=B), key=lambda one: one["t"])
    found = report(run(1, 20, 1.0) + copies)
    assert found.overlap.copies == (A[0], B[0])
    assert 2.5 < found.overlap.last - found.overlap.first < 3.1
    assert found.verdict[0] == "vm ran twice at once for 2.8 s, at 10.42.0.11 and at 10.42.0.12"
    assert not found.continuous


def test_two_copies_of_different_age():
    copies = sorted(run(121, 30, 5.0) + run(21, 30, 5.03, source=B), key=lambda one: one["t"])
    found = report(run(1, 120, -7.0) + copies)
    assert found.overlap.beats > 50
    assert found.rollbacks == [(121, 21)]
    assert len(found.verdict) == 2


def test_two_copies_on_one_host():
    other = (A[0], 40009)
    copies = sorted(run(21, 30, 5.0) + run(21, 30, 5.03, source=other), key=lambda one: one["t"])
    assert report(run(1, 20, 1.0) + copies).overlap.copies == ("10.42.0.11:40001", "10.42.0.11:40009")


def test_a_copy_that_sleeps_and_wakes_again():
    found = report(run(1, 20, 1.0) + run(21, 20, 5.0, source=B) + run(21, 5, 9.0))
    assert found.overlap.copies == (A[0], B[0])


def test_a_disagreement_says_what_was_due():
    # The RAM is an older one than what was heard last: due is what that RAM held.
    again = (B[0], 40009)
    beats = run(1, 30, 1.0) + [beat(30, 8.0, kind="X", source=again, seen=1)] + run(11, 5, 8.0, source=again, seen=1)
    found = report(beats)
    assert found.found == [("1", 30, 10)]
    assert found.verdict == ["vm went back from 30 to 11", "vm disagreed with itself once: disk 1 held 30 instead of 10"]


def test_a_disagreement_at_boot():
    beats = [
        beat(100, 1.0, kind="B", where="3"),
        beat(99, 1.0, kind="L", where="2"),
        beat(100, 1.0, kind="X", where="3", seen=1),
        *run(101, 5, 1.1, seen=1),
    ]
    found = report(beats)
    assert (found.behind, found.disagreements, found.found) == (1, 1, [("3", 100, 99)])
    assert found.verdict == ["vm disagreed with itself once: disk 3 held 100 instead of 99"]


def test_a_disagreement_whose_line_was_lost_is_counted():
    found = report(run(1, 20, 1.0) + run(22, 20, 3.2, seen=2))
    assert (found.disagreements, found.found) == (2, [])
    assert found.verdict == ["vm disagreed with itself 2 times: 2 more"]


def test_an_old_disagreement_is_not_told_again():
    beats = run(1, 20, 1.0) + run(21, 20, 3.0, seen=1) + run(41, 20, 5.0, seen=1)
    assert report(beats).disagreements == 1
    assert report(beats, after=5.0).verdict == []


def test_disagreements_beyond_what_the_guest_can_count():
    beats = run(1, 2, 1.0, seen=255) + [beat(9, 1.2, kind="X", where="R", seen=255)] + run(3, 2, 1.3, seen=255)
    found = report(beats, after=1.15)
    assert found.verdict == ["vm disagreed with itself once: the RAM pattern held 9 instead of 2"]


def test_disk_errors_and_garbage():
    noise = [beat(0x4301, 3.0, kind="E"), {"t": 3.0, "vm": "vm", "host": A[0], "source": "x", "kind": "?", "text": "y"}]
    found = report(run(1, 20, 1.0) + noise + run(21, 5, 3.1))
    assert (found.errors, found.garbled, found.verdict) == (1, 1, ["vm had 1 disk error"])


def test_who_is_expected_must_be_heard_until_the_end():
    beats = run(1, 20, 1.0) + run(1, 100, 1.0, vm="other")
    reports = _witness.analyse(beats, expected=("vm", "other", "third"))
    assert reports["vm"].verdict == ["vm is silent since 20, for 8.0 s"]
    assert reports["other"].verdict == []
    assert reports["third"].verdict == ["third was not heard"]
    assert _witness.analyse(beats)["vm"].verdict == []
    assert _witness.analyse(beats, until=60.0, expected=["other"])["other"].verdict == ["other is silent since 100, for 49.1 s"]


def test_nothing_was_heard():
    assert _witness.analyse([]) == {}
    found = report([], expected=["vm"])
    assert (found.beats, found.continuous, found.interruption) == (0, False, None)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("BCXLE?"), st.sampled_from([A, B]), st.integers(0, 3))))
def test_any_beats_give_a_report_that_can_be_shown(items):
    beats = [
        beat(counter, float(t), kind=kind, source=source, seen=seen) for t, (counter, kind, source, seen) in enumerate(items)
    ]
    reports = _witness.analyse(beats, after=2.0, expected=["vm"])
    assert "vm" in _witness.render(reports)
    json.dumps({vm: dataclasses.asdict(one) for vm, one in reports.items()})


# --- for people


def test_the_table():
    beats = run(1, 20, 100.0, vm="alpha") + run(21, 20, 103.25, source=B, vm="alpha") + run(9, 3, 100.0, vm="bravo")
    beats += run(4, 3, 101.0, vm="bravo")
    assert _witness.render(_witness.analyse(beats, expected=["alpha", "bravo", "echo"])).splitlines() == [
        "VM     counter  beats  lost  longest gap  own clock  hosts                    verdict",
        "alpha  1-40     40     0     1.35 s       2 s        10.42.0.11 > 10.42.0.12  well",
        "bravo  9-6      6      0     0.80 s       1 s        10.42.0.11               1 wrong",
        "echo   -        0      0     -            -          -                        1 wrong",
        "",
        ("alpha went on from 20 from 10.42.0.11 to 10.42.0.12 and is at 40; longest interruption 1.35 s, 2 s by its own clock."),
        "bravo went back from 11 to 4.",
        "echo was not heard.",
    ]


def test_a_quiet_time_in_which_nothing_happened():
    assert _witness.sentence(report([beat(5, 1.0)])) == "vm was heard once, at 5."
