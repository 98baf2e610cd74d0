# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Which snapshot sets may go: pure. Every set gets a sentence, those that stay too.

Two families of rules, each of which only ever keeps: the manual's (younger than some hours, at certain times of day, the last
ones) and one of each hour, day, week and month. A set goes when no rule keeps it and nothing else needs it.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import re
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import names
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import Inventory

#: How far behind a time of day a set still belongs to it: a backup begins on time, and its snapshot comes minutes later.
WINDOW = datetime.timedelta(hours=1)

_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d\Z")
_PERIODS = ("hourly", "daily", "weekly", "monthly")


@dataclasses.dataclass(frozen=True)
class Rules:
    """What stays. A rule that is not given (None, 0, nothing) keeps nothing; when none is given, everything stays.

    :ivar older_than: hours; a younger set stays.
    :ivar except_at: local times of day, ``HH:MM``; of each day the first set from then on, within an hour, stays.
    :ivar keep_last: the newest so many stay.
    :ivar keep_hourly: the newest set stays in each of the last so many hours (local time) that have one. The others likewise,
        with days, ISO weeks and months.
    """

    older_than: float | None = None
    except_at: tuple[str, ...] = ()
    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0

    def __post_init__(self) -> None:
        """:raises HvmError: for a rule that means nothing."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            # written so that NaN is refused too
            if field.name != "except_at" and value is not None and not 0 <= value < 1e9:
                raise HvmError(f"{field.name} is {value}", "Give 0 or more; 0 switches it off.")
        for one in self.except_at:
            if not _TIME.match(one):
                raise HvmError(f"except_at: {one!r} is no time of day", 'Write HH:MM, in quotes: "12:00".')
        if self.except_at and not self.older_than:
            raise HvmError("except_at is given without older_than", "Say from which age on only those stay (older_than, hours).")

    @property
    def is_empty(self) -> bool:
        return self == Rules() or self == Rules(older_than=0)


def rules(raw: t.Mapping[str, t.Any]) -> Rules:
    """From a file or from the other host: by the names of `Rules`, numbers as numbers.

    :raises HvmError: for anything else.
    """
    known = {field.name for field in dataclasses.fields(Rules)}
    wrong = sorted(set(raw) - known)
    if wrong:
        raise HvmError(f"{wrong[0]!r} is no rule of what old sets stay", f"There are {', '.join(sorted(known))}.")
    for name, value in raw.items():
        kind: t.Any = (list, tuple) if name == "except_at" else (int, float, type(None)) if name == "older_than" else int
        if isinstance(value, bool) or not isinstance(value, kind):
            raise HvmError(f"{name} is {value!r}", "Give a number; for except_at a list of times of day.")
    return Rules(**{**raw, "except_at": tuple(str(one) for one in raw.get("except_at", ()))})


class Decision(t.NamedTuple):
    """`reason` is a sentence without its full stop, about the set as "it"."""

    name: str
    keep: bool
    reason: str


class _Set(t.NamedTuple):
    """A set of this pair. `time` is UTC, `local` the same moment here."""

    name: str
    state: bool
    time: datetime.datetime
    local: datetime.datetime


GONE = "no rule keeps it"


def decide(
    sets: t.Iterable[str],
    rules: Rules,
    now: datetime.datetime,
    protected: t.Mapping[str, str],
    pair: str,
    zone: datetime.tzinfo = datetime.UTC,
    taken: t.Mapping[str, int] | None = None,
    gaps: t.Collection[str] = (),
) -> list[Decision]:
    """One decision for each of `sets` (names behind the @), sorted by name, which is by age.

    :param now: an aware time. Sets that are dated later stay, and count in no rule: a clock that was wrong must not make
        the right ones old.
    :param protected: set -> why it must stay. Beside these the newest one stays, the newest with VM states (B), and the newest B
        that is not newer than one of these: the newest B may be half received.
    :param zone: of the days and of `Rules.except_at`.
    :param taken: set -> seconds since 1970, which count where they are earlier than the name says: each name sorts behind the one
        before, so one from a clock that was ahead puts off all that come after it.
    :param gaps: sets that are not complete. They take no other one's place: what would stay without them stays. They go by the
        rules themselves, since what looks like one may be all that there is of a dataset that was moved away and back.
    """
    ordered = sorted(set(sets))
    stay: dict[str, str] = {}
    ours: list[_Set] = []
    for name in ordered:
        parsed = names.parse(name)
        moment = _moment(parsed) if parsed and parsed.pair == pair else None
        if parsed is None or parsed.pair != pair:
            stay[name] = f"it is no set of the pair {pair}"
        elif moment is None:
            stay[name] = "its name has no valid time"
        else:
            if taken and name in taken:
                moment = min(moment, datetime.datetime.fromtimestamp(taken[name], datetime.UTC))
            ours.append(_Set(name, parsed.mark == names.MARKS["state"], moment, moment.astimezone(zone)))
    past = [one for one in ours if one.time <= now]
    whole = [one for one in past if one.name not in gaps]
    reasons = [
        {name: protected[name] for name in ordered if name in protected},
        _needed(whole, protected),
        {one.name: "it is dated in the future" for one in ours if one.time > now},
        {one.name: "no rule is given" for one in ours if rules.is_empty},
    ]
    for some in (whole, past):
        reasons += [_last(some, rules), _younger(some, rules, now), _at_times(some, rules, zone), *_by_period(some, rules)]
    reasons.append(_needed(past, protected))
    for found in reasons:
        for name, reason in found.items():
            stay.setdefault(name, reason)
    return [Decision(name, name in stay, stay.get(name, GONE)) for name in ordered]


def _moment(parsed: names.SetName) -> datetime.datetime | None:
    """Nobody took a set before ZFS; and arithmetic with dates near the years 1 and 9999 overflows."""
    try:
        return parsed.time if 1970 <= parsed.time.year < 9999 else None
    except ValueError:
        return None


def ahead(sets: t.Iterable[str], now: datetime.datetime) -> list[str]:
    """Those whose names are of the future."""
    moments = {name: _moment(parsed) for name in sets if (parsed := names.parse(name))}
    return [name for name, moment in moments.items() if moment and moment > now]


def _needed(past: list[_Set], protected: t.Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    states = [one.name for one in past if one.state]
    base = max((name for name in protected if names.parse(name)), key=_age, default="")
    common = [name for name in states if base and _age(name) <= _age(base)]
    if past:
        found[past[-1].name] = "it is the newest set"
    if states:
        found.setdefault(states[-1], "it is the newest set with VM states (B)")
    if common:
        found.setdefault(common[-1], f"it is the newest set with VM states (B) up to the common set {base}")
    return found


def _age(name: str) -> str:
    return name.split("_")[1]


def _last(past: list[_Set], rules: Rules) -> dict[str, str]:
    last = past[-rules.keep_last :] if rules.keep_last else []
    return {one.name: f"it is one of the last {rules.keep_last} (keep_last)" for one in last}


def _younger(past: list[_Set], rules: Rules, now: datetime.datetime) -> dict[str, str]:
    if not rules.older_than:
        return {}
    limit = datetime.timedelta(hours=rules.older_than)
    return {one.name: f"it is younger than {rules.older_than:g} h (older_than)" for one in past if now - one.time < limit}


def _at_times(past: list[_Set], rules: Rules, zone: datetime.tzinfo) -> dict[str, str]:
    """The window is real time, so that one before midnight, or in the night of a clock change, is an hour long as well."""
    first: dict[tuple[datetime.date, str], str] = {}
    for one in past:
        today = one.local.date()
        for text in rules.except_at:
            at = datetime.time.fromisoformat(text)
            for day in (today - datetime.timedelta(days=1), today):
                start = datetime.datetime.combine(day, at, tzinfo=zone).astimezone(datetime.UTC)
                if start <= one.time < start + WINDOW:
                    first.setdefault((day, text), one.name)
    return {name: f"it is the first one from {text} on, on {day} (except_at)" for (day, text), name in first.items()}


def _by_period(past: list[_Set], rules: Rules) -> t.Iterator[dict[str, str]]:
    for rule in _PERIODS:
        count = getattr(rules, f"keep_{rule}")
        newest: dict[t.Any, str] = {}
        labels: dict[str, str] = {}
        for one in reversed(past if count else []):
            key, label = _period(rule, one.local)
            if key not in newest and len(newest) < count:
                newest[key] = one.name
                labels[one.name] = f"it is the newest of the {label} (keep_{rule})"
        yield labels


def _period(rule: str, local: datetime.datetime) -> tuple[t.Any, str]:
    if rule == "hourly":
        # with the offset: the hour that comes twice in autumn is two hours
        return (local.date(), local.hour, local.utcoffset()), f"hour {local:%Y-%m-%d %H}:00"
    if rule == "daily":
        return local.date(), f"day {local:%Y-%m-%d}"
    if rule == "weekly":
        year, week, dummy = local.isocalendar()
        return (year, week), f"week {year}-W{week:02}"
    return (local.year, local.month), f"month {local:%Y-%m}"


# ---- what the next sync needs


def by_holds(held: t.Mapping[str, t.Sequence[str]], tag: str) -> dict[str, str]:
    """:param held: set -> datasets, as `protect.held` finds them."""
    return dict.fromkeys(held, f"the next sync starts from it (held as {tag})")


def must_ask(decisions: t.Sequence[Decision], held: t.Collection[str]) -> bool:
    """Whether holds alone do not prove what may go: there are none, or something newer is about to go.

    That may be a set that was sent and could not be held any more; and it may be unsent ones of weeks without the other host.
    """
    newest = max((_age(name) for name in held if names.parse(name)), default="")
    return any(not one.keep and _age(one.name) > newest for one in decisions)


def by_comparison(mine: Inventory, theirs: Inventory, roots: t.Sequence[str], pair: str, peer: str) -> dict[str, str]:
    """The newest set that both hosts have, by GUID; one for each dataset, since one that came later has another.

    Nothing when the other host lacks a root: a pool that is not there would look like a host that has nothing.
    """
    if any(root not in theirs for root in roots):
        return {}
    found: dict[str, list[str]] = collections.defaultdict(list)
    everywhere = {snap[1] for entry in theirs.values() for snap in entry["snapshots"]}
    for dataset, entry in mine.items():
        # under its own name, and under any: it may have been renamed here since
        for guids in ({snap[1] for snap in theirs.get(dataset, {"snapshots": []})["snapshots"]}, everywhere):
            common = [name for name, guid, dummy in entry["snapshots"] if guid in guids and names.is_set_of(name, pair)]
            if common and dataset not in found[common[-1]]:
                found[common[-1]].append(dataset)
    return {name: f"it is the newest that {peer} has too ({_some(datasets)})" for name, datasets in found.items()}


def by_bookmarks(mine: Inventory, pair: str) -> dict[str, str]:
    """Sets whose bookmark says that they were sent once."""
    marked = {(dataset, snap[1]) for dataset, entry in mine.items() for snap in entry.get("bookmarks", [])}
    return {
        name: "it has a bookmark, so it was sent once"
        for dataset, entry in mine.items()
        for name, guid, dummy in entry["snapshots"]
        if (dataset, guid) in marked and names.is_set_of(name, pair)
    }


def unproven(sets: t.Iterable[str], peer: str, silent: str) -> dict[str, str]:
    """Nothing tells what the next sync needs: nothing goes (pvesr c0b2948).

    :param silent: why the other host did not answer; empty when it did.
    """
    why = f"{peer} does not answer" if silent else f"{peer} has none of them"
    return dict.fromkeys(sets, f"no hold and no bookmark tells which set the next sync starts from, and {why}")


def _some(datasets: t.Sequence[str]) -> str:
    return datasets[0] if len(datasets) == 1 else f"{len(datasets)} datasets"


# ---- what is destroyed


class Doomed(t.NamedTuple):
    """:ivar snapshots: set -> ``dataset@set`` of what goes; a set of which nothing can go is not in it.
    :ivar left: ``dataset@set`` of what stays although its set goes: the only sets' snapshot that a dataset would have left.
    """

    snapshots: dict[str, list[str]]
    left: list[str]


def doomed(decisions: t.Sequence[Decision], sets: t.Mapping[str, t.Mapping[str, str]]) -> Doomed:
    """A dataset that newer sets lack (its original was destroyed or renamed) keeps the newest it has; it holds no set back.

    :param sets: set -> dataset -> GUID, as `inventory.sets` gives them.
    """
    going = {one.name for one in decisions if not one.keep}
    newest = {dataset: name for name in sorted(sets) for dataset in sets[name]}
    snapshots: dict[str, list[str]] = {}
    left = []
    for name in sorted(going):
        for dataset in sorted(sets.get(name, {})):
            if newest[dataset] == name:
                left.append(f"{dataset}@{name}")
            else:
                snapshots.setdefault(name, []).append(f"{dataset}@{name}")
    return Doomed(snapshots, left)
