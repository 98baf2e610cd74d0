# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The witness: hears the guests' beats from outside of both hosts, with one clock, and says what became of each VM.

Each guest (`guest.asm` has the format of a beat) sends its serial port as UDP datagrams to one port of the lab's gateway.
QEMU sends them byte by byte; the sender's address is the host on which the VM runs, and the sender's port is new with each
QEMU process. Three parts: `collect` (a process: datagrams to a file of JSON lines), `analyse` (pure: beats to reports) and
`render` (a table). By hand::

    python3 _witness.py collect --bind 10.42.0.1 --file beats.jsonl 47001=alpha 47002=bravo
    python3 _witness.py report beats.jsonl --after 1764000000

A line of the file, one per beat::

    {"t": 1764000000.123, "vm": "alpha", "host": "10.42.0.11", "source": "10.42.0.11:40123", "kind": "C", "where": "1",
     "counter": 1200, "disagreements": 0, "rtc": 35128}

t: seconds since 1970 at the end of the beat, running with the monotonic clock; rtc: seconds since midnight by the VM's clock.
kind "?": something that was no beat, as "text". The other kinds are in guest.asm; "counter" of X and L is what was found on disk
(or in RAM) *instead of* the counter, that of E the INT 13h function * 256 + status.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import re
import select
import signal
import socket
import statistics
import struct
import sys
import time
import typing as t
from collections.abc import Iterable, Mapping
from pathlib import Path

Beat = dict[str, t.Any]

_BEAT = re.compile(r"([BCXLE])([0-9R])([0-9A-F]{8})([0-9A-F]{2})([01][0-9]|2[0-3])([0-5][0-9])([0-5][0-9])\Z")
LENGTH = 18  #: characters of a beat without the end of line
_DAY = 86400
#: Seconds without a beat after which a VM that should run is called silent.
SILENT = 5.0
#: A guest that catches up runs faster than its rate; one that counts four times too fast has jumped.
_FASTEST = 0.25
# socket(7), Linux on x86-64 and arm64; Python 3.11 has no names for them.
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35


# --- from datagrams to beats ------------------------------------------------------------------------------------------------


def parse(line: str) -> Beat | None:
    """The beat in one line without its end, or None."""
    match = _BEAT.match(line)
    if not match:
        return None
    kind, where, counter, seen, hours, minutes, seconds = match.groups()
    return {
        "kind": kind,
        "where": where,
        "counter": int(counter, 16),
        "disagreements": int(seen, 16),
        "rtc": int(hours) * 3600 + int(minutes) * 60 + int(seconds),
    }


@dataclasses.dataclass
class _Sender:
    open: str = ""  #: the line that has not ended yet
    lines: int = 0


class Reassembler:
    """Lines out of datagrams, per VM and sender.

    A VM that is moved in the middle of a beat sends the head of it from one host and the tail from the other: a tail that is
    the first to come from its sender, and completes another sender's open head, is joined to it, and the beat belongs to
    the host that ended it.
    """

    def __init__(self, hosts: Mapping[str, str] | None = None) -> None:
        self._hosts = hosts or {}
        self._senders: dict[str, dict[str, _Sender]] = {}

    def feed(self, vm: str, source: tuple[str, int], data: bytes, now: float) -> list[Beat]:
        """Take one datagram of `vm` in; the beats that it completes, and garbage as beats of kind "?"."""
        name = f"{source[0]}:{source[1]}"
        senders = self._senders.setdefault(vm, {})
        sender = senders.setdefault(name, _Sender())
        *lines, sender.open = (sender.open + data.decode("ascii", "replace")).split("\n")
        if len(sender.open) > 50 * LENGTH:  # no end of line for ever: not a guest
            sender.open = ""
        beats: list[Beat] = []
        for line in lines:
            heads = [other for key, other in senders.items() if key != name and other.open] if not sender.lines else []
            sender.lines += 1
            common = {"t": round(now, 3), "vm": vm, "host": self._hosts.get(source[0], source[0]), "source": name}
            beats += [{**common, **beat} for beat in _beats(line, heads)]
        return beats


def _beats(line: str, heads: list[_Sender]) -> list[Beat]:
    beat = parse(line)
    if beat:
        return [beat]
    for head in heads:
        joined = parse(head.open + line)
        if joined:
            head.open = ""
            return [joined]
    if len(line) == 2 * LENGTH:  # the end of line between two beats was lost
        pair = [parse(line[:LENGTH]), parse(line[LENGTH:])]
        if all(pair):
            return [one for one in pair if one]
    return [{"kind": "?", "text": line[:200]}] if line else []


class Clock:
    """Seconds since 1970 that never jump: the wall clock of the start, and the monotonic clock from there."""

    def __init__(self) -> None:
        self._base = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._base + time.monotonic()


def collect(
    ports: Mapping[int, str],
    path: Path,
    bind: str = "10.42.0.1",
    seconds: float | None = None,
    hosts: Mapping[str, str] | None = None,
) -> int:
    """Listen until SIGTERM or SIGINT, or for `seconds`, and append each beat to `path` at once; the number of beats.

    :param ports: UDP port to VM name.
    :param hosts: address to the name that the file shall hold; the address itself where it is not in.
    """
    stop_read, stop_write = socket.socketpair()
    previous = {number: signal.signal(number, lambda *_: stop_write.send(b"x")) for number in (signal.SIGTERM, signal.SIGINT)}
    clock = Clock()
    lines = Reassembler(hosts)
    count = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop_read)
        stack.enter_context(stop_write)
        stack.callback(lambda: [signal.signal(number, handler) for number, handler in previous.items()])
        poll = select.poll()
        poll.register(stop_read, select.POLLIN)
        sockets: dict[int, tuple[socket.socket, str]] = {}
        for port, vm in ports.items():
            one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            _prepare(one)
            one.bind((bind, port))
            sockets[one.fileno()] = (one, vm)
            poll.register(one, select.POLLIN)
        out = stack.enter_context(open(path, "a", encoding="ascii"))
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            wait = 1000.0 if end is None else min(1000.0, max(0.0, (end - time.monotonic()) * 1000))
            for number, _event in poll.poll(wait):
                if number == stop_read.fileno():
                    return count
                one, vm = sockets[number]
                with contextlib.suppress(BlockingIOError):
                    while True:
                        data, ancillary, _flags, source = one.recvmsg(65536, 64)
                        for beat in lines.feed(vm, source, data, clock() - _waited(ancillary)):
                            out.write(json.dumps(beat) + "\n")
                            count += 1
            out.flush()
    return count


def _prepare(one: socket.socket) -> None:
    """A busy machine must cost neither beats (each byte of one is a datagram) nor precision (the kernel says when it came)."""
    one.setblocking(False)
    # The next one listens before this one ends. With nobody at the port a guest's QEMU gets an ICMP error, and may wait for ever:
    # it is told that there is something to read, and another of its threads takes the error away before it reads.
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    try:
        one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
    except PermissionError:  # in a user namespace, on some kernels: what net.core.rmem_max allows, some seconds' worth
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)


def _waited(ancillary: list[tuple[int, int, bytes]]) -> float:
    """Seconds since the kernel has received the datagram."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) == 16:
            seconds, nanoseconds = struct.unpack("qq", data)
            return max(0.0, time.time() - seconds - nanoseconds / 1e9)
    return 0.0


def load(path: Path) -> list[Beat]:
    """The beats of a file that may still grow: a last line without its end is left out."""
    with contextlib.suppress(FileNotFoundError):
        return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines(keepends=True) if line.endswith("\n")]
    return []


# --- from beats to a report -------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Interruption:
    """The longest time between two counts. `seconds` by the witness's clock, `guest_seconds` by the VM's (whole seconds, so
    one more or less than the truth); `at` is when it began."""

    seconds: float
    guest_seconds: int
    at: float
    from_counter: int
    to_counter: int
    from_host: str
    to_host: str


@dataclasses.dataclass
class Stay:
    """A VM on one host, from its first to its last beat there; `process` counts the QEMU processes."""

    host: str
    first: float
    last: float
    first_counter: int
    last_counter: int
    processes: int = 1


@dataclasses.dataclass
class Overlap:
    """Two copies ran at once, on these hosts (or as these senders): `beats` times a beat did not go on from the other's."""

    copies: tuple[str, str]
    first: float
    last: float
    beats: int


@dataclasses.dataclass
class Report:
    """What became of one VM.

    :ivar continuous: every counter once and in order, without a cold boot but the very first; a beat that was lost on its way
        does not count against it.
    :ivar lost: beats that were lost on their way (the guest had the time to send them).
    :ivar jumps: (from, to): it counted on faster than it can, so it is not the same timeline.
    :ivar rollbacks: (from, to): it counted something again that had been seen, without a cold boot or with one.
    :ivar boots: (last counter seen before or None, counter found on disk, t) of each cold boot.
    :ivar behind: disks that were one write behind at a cold boot; no fault.
    :ivar disagreements: between RAM and disk or between disks; at least so many as the guest itself has counted.
    :ivar found: (where, what was found, what was due there if known) of each disagreement that was heard.
    :ivar errors: of INT 13h.
    :ivar garbled: lines that were no beats.
    :ivar turn: median seconds between two counts.
    :ivar silent: seconds from the last beat to the end of what was watched; 0 when that was not given.
    :ivar verdict: what is wrong, a sentence each; empty: all is well.
    """

    vm: str
    beats: int = 0
    first: int | None = None
    last: int | None = None
    first_t: float | None = None
    last_t: float | None = None
    turn: float = 0.0
    continuous: bool = True
    lost: int = 0
    jumps: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    rollbacks: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    boots: list[tuple[int | None, int, float]] = dataclasses.field(default_factory=list)
    behind: int = 0
    disagreements: int = 0
    found: list[tuple[str, int, int | None]] = dataclasses.field(default_factory=list)
    errors: int = 0
    garbled: int = 0
    hosts: list[Stay] = dataclasses.field(default_factory=list)
    overlap: Overlap | None = None
    interruption: Interruption | None = None
    silent: float = 0.0
    verdict: list[str] = dataclasses.field(default_factory=list)


def analyse(
    beats: Iterable[Beat], after: float | None = None, until: float | None = None, expected: Iterable[str] = ()
) -> dict[str, Report]:
    """A report per VM, of the beats with after <= t <= until.

    :param until: also the end of what was watched: who has not beaten for long before it is silent.
    :param expected: VMs that must be there and beating at the end; without `until`, at the time of the last beat of all.
    """
    by_vm: dict[str, list[Beat]] = {name: [] for name in expected}
    known = set(by_vm)
    end = until
    for beat in beats:
        if until is None or beat["t"] <= until:
            by_vm.setdefault(beat["vm"], []).append(beat)
            if until is None and known:
                end = max(end or 0.0, beat["t"])
    return {vm: _analyse_vm(vm, own, after, end, vm in known) for vm, own in sorted(by_vm.items())}


def _analyse_vm(vm: str, everything: list[Beat], after: float | None, end: float | None, expected: bool) -> Report:
    report = Report(vm)
    start = after if after is not None else float("-inf")
    before = [beat for beat in everything if beat["t"] < start]
    beats = [beat for beat in everything if beat["t"] >= start]
    report.garbled = sum(beat["kind"] == "?" for beat in beats)
    report.errors = sum(beat["kind"] == "E" for beat in beats)
    report.behind = sum(beat["kind"] == "L" for beat in beats)
    _disagreements(report, before, beats)
    _counts(
        report,
        [beat for beat in before if beat["kind"] in "BC"],
        [beat for beat in beats if beat["kind"] in "BC"],
    )
    if report.last_t is not None and end is not None:
        report.silent = round(max(0.0, end - report.last_t), 3)
    again = any(last is not None for last, _counter, _t in report.boots)  # the very first boot breaks nothing
    report.continuous = bool(report.beats) and not (report.jumps or report.rollbacks or report.overlap or again)
    report.verdict = _verdict(report, expected)
    return report


def _disagreements(report: Report, before: list[Beat], beats: list[Beat]) -> None:
    """Count them by the X lines, and by the guest's own sticky count where an X line was lost."""
    seen: dict[str, int] = {}  # by process: of two copies each has its own
    latest = 0
    for beat in [*before, *beats]:
        if beat["kind"] == "?":
            continue
        latest = seen.get(_source(beat), latest)
        rise = max(0, beat["disagreements"] - latest)
        seen[_source(beat)] = latest = beat["disagreements"]
        if beats and beat["t"] >= beats[0]["t"]:
            report.disagreements += max(1, rise) if beat["kind"] == "X" else rise  # the sticky count stops at 255
    own: dict[str, list[Beat]] = {}
    for beat in beats:
        own.setdefault(_source(beat), []).append(beat)
    for chain in own.values():
        for at, beat in enumerate(chain):
            if beat["kind"] == "X":
                report.found.append((beat["where"], beat["counter"], _due(chain, at)))


def _due(chain: list[Beat], at: int) -> int | None:
    """What should have been where the X line chain[at] of one process found something else."""
    for beat in reversed(chain[:at]):
        if beat["kind"] in "BL":  # at a cold boot: as disk 1, or as the disk before, which was behind
            return int(beat["counter"])
        if beat["kind"] == "C":
            break
    # In a turn: one less than it then counts. Not what was heard before, for the RAM may have been another one's.
    return next((int(beat["counter"]) - 1 for beat in chain[at:] if beat["kind"] == "C"), None)


def _source(beat: Beat) -> str:
    return beat.get("source") or beat["host"]


def _counts(report: Report, before: list[Beat], beats: list[Beat]) -> None:
    report.beats = len(beats)
    if not beats:
        return
    report.first, report.first_t = beats[0]["counter"], beats[0]["t"]
    report.last, report.last_t = beats[-1]["counter"], beats[-1]["t"]
    gaps = [two["t"] - one["t"] for one, two in itertools.pairwise(beats) if _source(one) == _source(two)]
    report.turn = round(statistics.median(gaps), 3) if gaps else 0.0
    sources: set[str] = set()
    previous = before[-1] if before else None
    inside = False  # whether `previous` is within the time that is looked at
    for beat in beats:
        _stay(report, beat, new=_source(beat) not in sources)
        if previous is None:
            if beat["kind"] == "B":
                report.boots.append((None, beat["counter"], beat["t"]))
        elif _source(beat) in sources and _source(beat) != _source(previous) and not _goes_on(previous, beat, report.turn):
            _overlap(report, previous, beat)
        else:
            _step(report, previous, beat)
            if inside:
                _interruption(report, previous, beat)
        sources.add(_source(beat))
        previous = beat
        inside = True


def _stay(report: Report, beat: Beat, new: bool) -> None:
    if not report.hosts or report.hosts[-1].host != beat["host"]:
        report.hosts.append(Stay(beat["host"], beat["t"], beat["t"], beat["counter"], beat["counter"]))
        return
    stay = report.hosts[-1]
    stay.last, stay.last_counter = beat["t"], beat["counter"]
    stay.processes += new


def _goes_on(one: Beat, two: Beat, turn: float) -> bool:
    """Whether a guest that has sent `one` can send `two`, if some beats between were lost."""
    steps = two["counter"] - one["counter"]
    return steps == 1 or (steps > 1 and two["t"] - one["t"] >= steps * turn * _FASTEST)


def _step(report: Report, one: Beat, two: Beat) -> None:
    steps = two["counter"] - one["counter"]
    if two["kind"] == "B":
        # The disk may be one write ahead of the last beat: the power went between the two. More ahead: beats were lost.
        report.boots.append((one["counter"], two["counter"], two["t"]))
        if steps < 0:
            report.rollbacks.append((one["counter"], two["counter"]))
        elif steps > 1 and _goes_on(one, two, report.turn):
            report.lost += steps - 1
        elif steps > 1:
            report.jumps.append((one["counter"], two["counter"]))
    elif steps < 1:
        report.rollbacks.append((one["counter"], two["counter"]))
    elif not _goes_on(one, two, report.turn):
        report.jumps.append((one["counter"], two["counter"]))
    else:
        report.lost += steps - 1


def _overlap(report: Report, one: Beat, two: Beat) -> None:
    if report.overlap is None:
        where = "host" if one["host"] != two["host"] else "source"
        report.overlap = Overlap((min(one[where], two[where]), max(one[where], two[where])), one["t"], two["t"], 0)
    report.overlap.last = two["t"]
    report.overlap.beats += 1


def _interruption(report: Report, one: Beat, two: Beat) -> None:
    seconds = round(two["t"] - one["t"], 3)
    if report.interruption is None or seconds > report.interruption.seconds:
        guest = (two["rtc"] - one["rtc"]) % _DAY
        report.interruption = Interruption(
            seconds,
            guest - _DAY if guest > _DAY // 2 else guest,  # a clock that was set back is shown as it is
            one["t"],
            one["counter"],
            two["counter"],
            one["host"],
            two["host"],
        )


def _verdict(report: Report, expected: bool) -> list[str]:
    vm = report.vm
    said: list[str] = []
    if report.overlap:
        one, two = report.overlap.copies
        span = report.overlap.last - report.overlap.first
        said.append(f"{vm} ran twice at once for {span:.1f} s, at {one} and at {two}")
    said += [f"{vm} went back from {one} to {two}" for one, two in report.rollbacks]
    said += [f"{vm} jumped from {one} to {two}" for one, two in report.jumps]
    said += [f"{vm} lost its RAM: cold boot at {counter} after {last}" for last, counter, _t in report.boots if last is not None]
    if report.disagreements:
        what = [
            f"{_place(where)} held {found}" + ("" if due is None else f" instead of {due}")
            for where, found, due in report.found[:3]
        ]
        more = report.disagreements - len(what)
        if more > 0:
            what.append(f"{more} more")
        times = "once" if report.disagreements == 1 else f"{report.disagreements} times"
        said.append(f"{vm} disagreed with itself {times}: {', '.join(what)}")
    if report.errors:
        said.append(f"{vm} had {report.errors} disk error{'s' * (report.errors > 1)}")
    if expected and not report.beats:
        said.append(f"{vm} was not heard")
    elif expected and report.silent > SILENT:
        said.append(f"{vm} is silent since {report.last}, for {report.silent:.1f} s")
    return said


def _place(where: str) -> str:
    return "the RAM pattern" if where == "R" else f"disk {where}"


def _instead(due: int | None) -> str:
    return "" if due is None else f" instead of {due}"


# --- for people -------------------------------------------------------------------------------------------------------------


def sentence(report: Report) -> str:
    """What a person wants to know of a VM after a procedure."""
    if report.verdict:
        return "; ".join(report.verdict) + "."
    if not report.beats:
        return f"{report.vm} was not heard."
    gap = report.interruption
    if gap is None:
        return f"{report.vm} was heard once, at {report.last}."
    where = f" from {gap.from_host} to {gap.to_host}" if gap.from_host != gap.to_host else ""
    began = f" (cold boot at {report.boots[0][1]})" if report.boots else ""
    return (
        f"{report.vm} went on from {gap.from_counter}{where} and is at {report.last}{began}; "
        f"longest interruption {gap.seconds:.2f} s, {gap.guest_seconds} s by its own clock."
    )


def render(reports: Mapping[str, Report]) -> str:
    """A table and a sentence per VM."""
    rows = [("VM", "counter", "beats", "lost", "longest gap", "own clock", "hosts", "verdict")]
    for report in reports.values():
        gap = report.interruption
        hosts: list[str] = [stay.host for stay in report.hosts]
        if len(hosts) > 4:
            hosts = [*hosts[:2], "...", hosts[-1]]
        rows.append(
            (
                report.vm,
                f"{report.first}-{report.last}" if report.beats else "-",
                str(report.beats),
                str(report.lost),
                f"{gap.seconds:.2f} s" if gap else "-",
                f"{gap.guest_seconds} s" if gap else "-",
                " > ".join(hosts) or "-",
                f"{len(report.verdict)} wrong" if report.verdict else ("well" if report.beats else "silent"),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*table, "", *(sentence(report) for report in reports.values())]) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Hear the lab's guests, and say what became of each.")
    sub = parser.add_subparsers(dest="what", required=True)
    one = sub.add_parser("collect", help="listen until SIGTERM")
    one.add_argument("--bind", default="10.42.0.1")
    one.add_argument("--file", type=Path, required=True)
    one.add_argument("--seconds", type=float)
    one.add_argument("--host", action="append", default=[], metavar="ADDRESS=NAME")
    one.add_argument("ports", nargs="+", metavar="PORT=VM")
    one = sub.add_parser("report", help="say what is in a file")
    one.add_argument("file", type=Path)
    one.add_argument("--after", type=float)
    one.add_argument("--until", type=float)
    one.add_argument("--expect", action="append", default=[], metavar="VM")
    one.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.what == "collect":
        ports = {int(port): vm for port, vm in (item.split("=", 1) for item in options.ports)}
        hosts = dict(item.split("=", 1) for item in options.host)
        collect(ports, options.file, options.bind, options.seconds, hosts)
        return 0
    reports = analyse(load(options.file), options.after, options.until, options.expect)
    if options.json:
        print(json.dumps({vm: dataclasses.asdict(report) for vm, report in reports.items()}, indent=1))
    else:
        print(render(reports), end="")
    return 1 if any(report.verdict for report in reports.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
