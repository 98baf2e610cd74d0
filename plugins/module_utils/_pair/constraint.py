# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Hosting constraints: which host must be ACTIVE from one day to another. No I/O; the file is `constraint_file`.

A constraint is made of whole days, the first and the last inclusive, in the local time of the hosts. Days are compared as
dates, never as seconds: where clocks change, a day has 23 or 25 hours. Only the scheduled job acts on a constraint, and
there it goes before the normal cycle of backups and migrations.

Each host has a book of them, and either may be written in while the other one does not answer. `meet` makes one of two: what was
set or unset later counts, and the same comes out on both hosts, whichever begins and however often they meet.
"""

from __future__ import annotations

import calendar as months
import dataclasses
import datetime
import hashlib
import json
import re
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError

_DAYS = {"today": 0, "tomorrow": 1}
_MANUAL = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)
_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_FORMAT = 1
_SECOND = datetime.timedelta(seconds=1)


@dataclasses.dataclass(frozen=True)
class Constraint:
    """`host` must be ACTIVE from `start` to `end`, both inclusive.

    :ivar id: follows from the other three alone, so that two hosts that are told the same have the same record.
    :ivar set_at: when it was set, UTC, in whole seconds; does not count when two constraints are compared.
    """

    host: str
    start: datetime.date
    end: datetime.date
    set_at: datetime.datetime = dataclasses.field(compare=False)

    @property
    def id(self) -> str:
        return hashlib.sha256(f"{self.host} {self.start} {self.end}".encode()).hexdigest()[:12]

    @property
    def days(self) -> int:
        return (self.end - self.start).days + 1

    def covers(self, day: datetime.date) -> bool:
        return self.start <= day <= self.end

    def overlaps(self, other: Constraint) -> bool:
        return self.start <= other.end and other.start <= self.end

    def sentence(self) -> str:
        """Without its full stop."""
        if self.start == self.end:
            return f"{self.host} must be ACTIVE on {self.start}"
        return f"{self.host} must be ACTIVE from {self.start} to {self.end} inclusive"


Constraints = tuple[Constraint, ...]


@dataclasses.dataclass(frozen=True)
class Book:
    """What a host knows.

    :ivar gone: what was unset, or has given way to a later one, with the moment of that as `set_at`. Without it the other host,
        which was not there, would bring it back. Nothing in it is needed once its last day is over.
    """

    there: Constraints = ()
    gone: Constraints = ()


def _sorted(constraints: t.Iterable[Constraint]) -> Constraints:
    return tuple(sorted(constraints, key=lambda one: (one.start, one.end, one.host)))


def meet(one: Book, other: Book, today: datetime.date) -> Book:
    """What both hosts know once they have heard of each other.

    Of the same constraint the later word counts, of two that overlap the one that was set later; at the same second "gone"
    counts, and else the id decides, so that both hosts come to the same. What has given way stays gone when the later one is
    unset: whoever set that one has seen it as the only one.
    """
    latest: dict[str, tuple[datetime.datetime, bool, Constraint]] = {}
    for book in (one, other):
        for is_gone, entries in ((False, book.there), (True, book.gone)):
            for entry in entries:
                known = latest.get(entry.id)
                if entry.end >= today and (known is None or (entry.set_at, is_gone) > known[:2]):
                    latest[entry.id] = (entry.set_at, is_gone, entry)
    gone = [entry for _moment, is_gone, entry in latest.values() if is_gone]
    kept: list[Constraint] = []
    standing = (entry for _moment, is_gone, entry in latest.values() if not is_gone)
    for entry in sorted(standing, key=lambda entry: (entry.set_at, entry.id), reverse=True):
        winner = next((later for later in kept if later.overlaps(entry)), None)
        if winner is None:
            kept.append(entry)
        else:
            gone.append(dataclasses.replace(entry, set_at=winner.set_at))
    return Book(_sorted(kept), _sorted(gone))


def put(book: Book, one: Constraint, today: datetime.date) -> tuple[Book, str]:
    """With `one`, and why, as a sentence; see `add`. It is later than the word that it is gone, whatever the clocks say."""
    gone = [entry for entry in book.gone if entry.end >= today]
    before = next((entry.set_at for entry in gone if entry == one), None)
    if before is not None and one.set_at <= before:
        one = dataclasses.replace(one, set_at=before + _SECOND)
    there, sentence = add(book.there, one, today)
    return Book(there, _sorted(entry for entry in gone if entry not in there)), sentence


def take_out(
    book: Book,
    moment: datetime.datetime,
    today: datetime.date,
    host: str | None = None,
    start: str | None = None,
    end: str | None = None,
    said: datetime.date | None = None,
) -> tuple[Book, str]:
    """Without those that `remove` takes out at `moment`, and why, as a sentence."""
    there, sentence = remove(book.there, today, host, start, end, said)
    gone = [entry for entry in book.gone if entry.end >= today]
    for entry in current(book.there, today):
        if entry not in there:
            gone.append(dataclasses.replace(entry, set_at=max(_whole(moment), entry.set_at)))
    return Book(there, _sorted(gone)), sentence


def of_hosts(book: Book, hosts: t.Collection[str]) -> Book:
    """Without those for a host that is not in the pair (any more): nobody tells the other host of one."""
    return Book(*(tuple(one for one in part if one.host in hosts) for part in (book.there, book.gone)))


def local_day(moment: datetime.datetime, zone: datetime.tzinfo | None = None) -> datetime.date:
    """The day that `moment` falls on in `zone`; None: the host's own."""
    return moment.astimezone(zone).date()


def parse_moment(text: str) -> datetime.datetime:
    """An ISO 8601 moment with its zone, as UTC.

    :raises HvmError: for anything else.
    """
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("it has no time zone")
    except ValueError as exc:
        raise HvmError(f"{text!r} is not a moment: {exc}", "Write it as 2026-12-20T18:00:00Z.") from exc
    return _whole(moment)


def _whole(moment: datetime.datetime) -> datetime.datetime:
    """As the file has it."""
    return moment.astimezone(datetime.UTC).replace(microsecond=0)


def parse_day(text: str, today: datetime.date) -> datetime.date:
    """today, tomorrow, D/M/YYYY or YYYY-MM-DD.

    :raises HvmError: for anything else, and for a day that is in no calendar.
    """
    word = text.strip()
    try:
        if word in _DAYS:
            return today + datetime.timedelta(days=_DAYS[word])
        manual, iso = _MANUAL.fullmatch(word), _ISO.fullmatch(word)
        if manual:
            day, month, year = map(int, manual.groups())
            return datetime.date(year, month, day)
        if iso:
            return datetime.date.fromisoformat(word)
    except (ValueError, OverflowError) as exc:
        raise HvmError(f"{text!r} is not a day: {exc}", "The day comes first: 20/12/2026 is December 20.") from exc
    raise HvmError(f"{text!r} is not a day", "Write today, tomorrow, D/M/YYYY (20/12/2026) or YYYY-MM-DD (2026-12-20).")


def new(
    host: str,
    start: str,
    end: str | None,
    hosts: t.Sequence[str],
    today: datetime.date,
    set_at: datetime.datetime,
    said: datetime.date | None = None,
) -> Constraint:
    """The constraint that `hvm constraint set HOST START [END]` asks for. Without an end it is for one day.

    :param today: the day it is on this host.
    :param said: the day that "today" means; another than `today` when the two hosts are told one after the other, and
        midnight falls between.
    :raises HvmError: when the host is not in the pair, the end lies before the start, or all of it in the past.
    """
    if host not in hosts:
        raise HvmError(f"{host or repr(host)} is not a host of the pair", f"Its hosts are {' and '.join(sorted(hosts))}.")
    said = said or today
    first = parse_day(start, said)
    last = parse_day(end, said) if end else first
    one = Constraint(host, first, last, _whole(set_at))
    if last < first:
        raise HvmError(f"the constraint ends on {last}, before it begins on {first}", "Give the first day, then the last one.")
    if last < today:
        raise HvmError(f"{one.sentence()}: that is over, today is {today}", "Give a last day that is today or later.")
    return one


def current(constraints: t.Iterable[Constraint], today: datetime.date) -> Constraints:
    """Those that are not over, by their first day."""
    return _sorted(one for one in constraints if one.end >= today)


def add(constraints: t.Iterable[Constraint], one: Constraint, today: datetime.date) -> tuple[Constraints, str]:
    """With `one`, and without what is over; and why, as a sentence. The very same constraint keeps its first record.

    :raises HvmError: when it overlaps another: two answers for one day are none.
    """
    kept = current(constraints, today)
    if one in kept:
        return kept, f"This is set already: {one.sentence()}."
    for other in kept:
        if one.overlaps(other):
            first, last = max(one.start, other.start), min(one.end, other.end)
            when = f"{first}" if first == last else f"{first} to {last}"
            raise HvmError(
                f"{one.sentence()}: that overlaps another constraint ({when}): {other.sentence()}",
                "Unset that one first, or choose other days.",
                overlaps=record(other),
            )
    return current((*kept, one), today), f"{one.sentence()}."


def remove(
    constraints: t.Iterable[Constraint],
    today: datetime.date,
    host: str | None = None,
    start: str | None = None,
    end: str | None = None,
    said: datetime.date | None = None,
) -> tuple[Constraints, str]:
    """Without those that match everything that is given, and without what is over; and why, as a sentence.

    `start` and `end` are the constraint's own first and last day, not days in between. With nothing given, all go.
    """
    first, last = (None if text is None else parse_day(text, said or today) for text in (start, end))
    there = current(constraints, today)
    gone = [one for one in there if host in (None, one.host) and first in (None, one.start) and last in (None, one.end)]
    if gone:
        return tuple(one for one in there if one not in gone), f"Unset: {'; '.join(one.sentence() for one in gone)}."
    return there, "There is no such constraint." if there else "No constraint is set."


def in_force(constraints: t.Iterable[Constraint], today: datetime.date) -> tuple[Constraint | None, str]:
    """The constraint that holds today, and why, as a sentence. One that is over has no effect.

    Two at once cannot be set; should a file hold such two all the same, the one that was set last holds.
    """
    constraints = list(constraints)
    holding = sorted((one for one in constraints if one.covers(today)), key=lambda one: (one.set_at, one.id))
    if holding:
        one = holding[-1]
        return one, f"{one.sentence()}; today, {today}, is day {(today - one.start).days + 1} of {one.days}."
    coming = current(constraints, today)
    if coming:
        return None, f"No constraint is in force today, {today}. The next one: {coming[0].sentence()}."
    if constraints:
        past = max(constraints, key=lambda one: one.end)
        return None, f"No constraint is in force. The last one is over since {past.end}."
    return None, "No constraint is set."


def show(constraints: t.Iterable[Constraint], today: datetime.date, hosts: t.Sequence[str]) -> str:
    """What `hvm constraint show` prints: what holds today, all that is set, and the days of it in a calendar."""
    constraints = list(constraints)
    holding, sentence = in_force(constraints, today)
    lines = [sentence]
    there = current(constraints, today)
    if there:
        lines += ["", *(f"{'*' if one == holding else ' '} {one.sentence()} (set {_utc(one.set_at)})" for one in there)]
        lines += ["", calendar(there, today, hosts)]
    return "\n".join(lines) + "\n"


def calendar(constraints: t.Iterable[Constraint], today: datetime.date, hosts: t.Sequence[str], most: int = 3) -> str:
    """The months from today on in which a constraint holds, `most` of them; each constrained day with its host's letter.

    The letters are a and b by the hosts' names; the day that it is stands behind a ">".
    """
    there = current(constraints, today)
    letters = {host: chr(ord("a") + number) for number, host in enumerate(sorted({*hosts, *(one.host for one in there)}))}
    wanted = sorted({(day.year, day.month) for one in there for day in _first_days(max(one.start, today), one.end, most)})
    blocks = []
    for year, month in wanted[:most]:
        rows = [f"{months.month_name[month]} {year}".center(28).rstrip(), " Mo  Tu  We  Th  Fr  Sa  Su"]
        for week in months.Calendar().monthdayscalendar(year, month):
            # 0 stands for a day of another month
            cells = [_cell(datetime.date(year, month, day), today, there, letters) if day else "    " for day in week]
            rows.append("".join(cells).rstrip())
        blocks.append("\n".join(rows))
    if not blocks:
        return ""
    if len(wanted) > most:
        blocks.append("...")
    blocks.append(", ".join(f"{letter} = {host}" for host, letter in letters.items()))
    return "\n\n".join(blocks)


def record(one: Constraint) -> dict[str, str]:
    """As it is stored and returned."""
    return {
        "id": one.id,
        "host": one.host,
        "start": one.start.isoformat(),
        "end": one.end.isoformat(),
        "set_at": _utc(one.set_at),
    }


def dump(book: Book) -> str:
    """The text of the file, and what one host tells the other."""
    raw: dict[str, t.Any] = {"format": _FORMAT, "constraints": [record(one) for one in book.there]}
    if book.gone:
        raw["gone"] = [record(one) for one in book.gone]
    return json.dumps(raw, indent=1) + "\n"


def parse(text: str) -> Book:
    """Read the file's text; none of it is needed for anything but a constraint, so what is wrong is said, not guessed.

    :raises HvmError: for anything that `dump` does not write.
    """
    try:
        raw = json.loads(text)
        if raw["format"] != _FORMAT:
            raise ValueError(f"it has the format {raw['format']!r}, this version reads {_FORMAT}")
        return Book(_parsed(raw["constraints"]), _parsed(raw.get("gone", ())))
    except (ValueError, TypeError, KeyError, AttributeError, HvmError) as exc:
        what = f"{exc} is missing" if isinstance(exc, KeyError) else str(exc)
        raise HvmError(f"the hosting constraints cannot be read: {what}", "Delete the file and set them anew.") from exc


def _parsed(entries: t.Iterable[t.Any]) -> Constraints:
    found = []
    for entry in entries:
        start, end = datetime.date.fromisoformat(entry["start"]), datetime.date.fromisoformat(entry["end"])
        if not isinstance(entry["host"], str) or end < start:
            raise ValueError(f"{entry} is none")
        found.append(Constraint(entry["host"], start, end, parse_moment(entry["set_at"])))
    return tuple(found)


def _utc(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _first_days(start: datetime.date, end: datetime.date, most: int) -> t.Iterator[datetime.date]:
    """`start`, and the first day of each month after it up to `end`: one more than `most`, so that the end is seen to be cut."""
    day = start
    for _turn in range(most + 1):
        if day > end:
            return
        yield day
        if (day.year, day.month) == (datetime.MAXYEAR, 12):
            return
        day = datetime.date(day.year + day.month // 12, day.month % 12 + 1, 1)


def _cell(day: datetime.date, today: datetime.date, there: Constraints, letters: dict[str, str]) -> str:
    mark = next((letters[one.host] for one in there if one.covers(day)), " ")
    return f"{'>' if day == today else ' '}{day.day:2}{mark}"
