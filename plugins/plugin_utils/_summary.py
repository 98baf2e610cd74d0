# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What became of each pair in a run with many: a row of facts for each, and the rows as lines."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.progress import human
from ansible_collections.hvm.pair.plugins.module_utils._pair.advice import advice

#: Outcomes, in the order of the lines: what has to be looked at comes last.
NOT_ASKED, UNCHANGED, PLANNED, DONE, UNREACHABLE, FAILED = "not asked", "unchanged", "planned", "done", "unreachable", "failed"
_ORDER = (NOT_ASKED, UNCHANGED, PLANNED, DONE, UNREACHABLE, FAILED)
_BAD = (UNREACHABLE, FAILED)
_ABOVE = "it failed before or between the steps; the reason is further up"

Result = t.Mapping[str, t.Any]


class Host(t.NamedTuple):
    """What the controller knows of a host of the run.

    :ivar pair: its hvm_pair. :ivar hosts: its hvm_hosts; both empty where they are not given.
    :ivar results: of the tasks that it had, in their order; a task that was left out may be among them.
    :ivar alive: neither failed nor lost.
    """

    name: str
    pair: str
    hosts: tuple[str, ...]
    results: tuple[Result, ...]
    alive: bool


def rows(hosts: t.Sequence[Host], check: bool = False) -> list[dict[str, t.Any]]:
    """Pure: for each pair ``{pair, hosts, active, outcome, seconds, interruption, bytes, said, error}``, sorted, failures last.

    ``active``: the name of the ACTIVE host, or "" where nobody can say; ``seconds``: that the work took; ``interruption``: the
    seconds of the VM that stood still longest; ``bytes``: sent; None, each, where that is not known. ``error``: a sentence with
    its remedy.
    """
    found: dict[tuple[str, ...], list[Host]] = collections.defaultdict(list)
    for host in hosts:
        # two hosts that nothing is said of are a pair, as everywhere; of more, nobody knows which belong together
        found[host.hosts or (tuple(one.name for one in hosts) if len(hosts) <= 2 else (host.name,))].append(host)
    times = collections.Counter(_label(names, members) for names, members in found.items())
    made = []
    for names, members in found.items():
        label = _label(names, members)
        pair = label if times[label] == 1 else f"{label} ({', '.join(names)})"
        made.append({"pair": pair, "hosts": list(names), **_row(members, check)})
    return sorted(made, key=lambda row: (_ORDER.index(row["outcome"]), row["pair"]))


def _label(names: t.Sequence[str], members: t.Sequence[Host]) -> str:
    return next((one.pair for one in members if one.pair), ", ".join(names))


def _row(members: t.Sequence[Host], check: bool) -> dict[str, t.Any]:
    results = [one for host in members for one in host.results if not one.get("skipped")]
    outcome, error = _outcome(members, results, check)
    interruptions = [
        vm["interruption"]
        for one in results
        if isinstance(one.get("vms"), dict)
        for vm in one["vms"].values()
        if isinstance(vm, dict) and "interruption" in vm
    ]
    times = [one["elapsed"] for one in results if "elapsed" in one]
    sent = [count for one in results if "set" in one for count in _sent(one)]
    return {
        # after a failure nobody is believed: what was ACTIVE when it was asked may have handed over
        "active": "" if outcome in _BAD else _active(results),
        "outcome": outcome,
        "seconds": round(sum(times), 1) if times else None,
        "interruption": max(interruptions, default=None),
        "bytes": sum(sent) if sent else None,
        "said": "; ".join(_said(results)),
        "error": error,
    }


def _outcome(members: t.Sequence[Host], results: t.Sequence[Result], check: bool) -> tuple[str, str]:
    """The outcome, and the error's sentence; a failure that the run went on from counts only if the host was lost by another."""
    for host in members:
        if host.alive:
            continue
        bad = [one for one in host.results if one.get("failed") or one.get("unreachable")]
        if not bad:
            return FAILED, f"{host.name}: {_ABOVE}"
        text = " ".join(str(bad[-1].get("msg") or _ABOVE).replace("Task failed: ", "").split())  # ansible-core 2.19 begins so
        where = "" if text.startswith(f"{host.name}:") else f"{host.name}: "
        return UNREACHABLE if bad[-1].get("unreachable") else FAILED, where + text
    if not results:
        return NOT_ASKED, ""
    if not any(one.get("changed") for one in results):
        return UNCHANGED, ""
    return PLANNED if check else DONE, ""


def _active(results: t.Sequence[Result]) -> str:
    found = ""
    for one in results:
        if "hvm" in one:
            found = one["hvm"]["host"] if one["hvm"]["role"]["now"] == "ACTIVE" else found
        elif one.get("active"):
            found = one["active"]
        elif one.get("role") == "ACTIVE" and one.get("host"):
            found = one["host"]
    return found


def _sent(one: Result) -> t.Iterator[int]:
    if one.get("bytes") is not None:
        yield one["bytes"]
    yield from (first["bytes"] for first in one.get("presync") or [])


def _said(results: t.Sequence[Result]) -> list[str]:
    """What the pair says for itself: what a status advises, or the last decision that was carried out."""
    looks = [one["hvm"] for one in results if "hvm" in one]
    advised = [f"{look['host']}: {text}" for look in looks if (text := advice(look, look.get("peer_answers") is False))]
    decided = [one["sentence"] for one in results if one.get("sentence") and one.get("do") and one.get("do") != "elsewhere"]
    return advised or decided[-1:]


# ---- as lines


def lines(found: t.Sequence[dict[str, t.Any]]) -> list[str]:
    """Pure: a line for each row of `rows`, aligned, after one that counts them."""
    counts = collections.Counter(row["outcome"] for row in found)
    total = ", ".join(f"{counts[one]} {one}" for one in _ORDER if counts[one])
    first = max((len(row["pair"]) for row in found), default=0)
    second = max((len(row["active"]) for row in found), default=0)
    return [f"{len(found)} pairs: {total}", *(_line(row, first, max(second, 1)) for row in found)]


def _line(row: dict[str, t.Any], first: int, second: int) -> str:
    facts = []
    if row["seconds"] is not None:
        facts.append(duration(row["seconds"]))
    if row["interruption"] is not None:
        facts.append(f"VMs stood still {row['interruption']:.1f} s at most")
    if row["bytes"] is not None:
        facts.append(f"{human(row['bytes'])} sent")
    said = row["error"] or row["said"]
    outcome = row["outcome"].upper() if row["outcome"] in _BAD else row["outcome"]
    words = [", ".join(facts), said] if facts else [said]
    return f"{row['pair']:<{first}}  {row['active'] or '-':<{second}}  {outcome:<11}  {'  '.join(words)}".rstrip()


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
