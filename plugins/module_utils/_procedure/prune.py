# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Old snapshot sets go, on the host where this runs and there alone; what the next sync starts from never does.

Which set that is, this host can tell by itself after a sync that was verified: it is held, and the ledger of the holds names
no other. In any other case the other host is asked; if it does not answer, everything that it may have stays.
"""

from __future__ import annotations

import contextlib
import datetime
import typing as t
import zoneinfo

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import holds
from ansible_collections.hvm.pair.plugins.module_utils._zfs import destroyable, inventory, kernel, names, protect, retention
from ansible_collections.hvm.pair.plugins.module_utils._zfs.retention import Decision

#: Snapshots destroyed at once: few enough to show progress, and to stay far below a command's time limit on slow disks.
CHUNK = 100
#: Seconds by which the clocks of the two hosts may differ without a word about it.
TOLERANCE = 300.0

LOCALTIME = "/etc/localtime"

Reasons = dict[str, str]
Decide = t.Callable[[Reasons], list[Decision]]


class Verdict(t.NamedTuple):
    """:ivar base: the oldest set that a sync may start from, when that is proven; else empty.
    :ivar silent: why the other host did not answer; empty when it did, or was not asked.
    """

    decisions: list[Decision]
    base: str
    asked: bool
    silent: str


def local_zone(path: str = LOCALTIME) -> datetime.tzinfo:
    """The host's time zone with all its clock changes: a day in summer is judged by summer time in winter, too.

    UTC when the file is missing or no zone file, as the C library does it (tzset(3)).
    """
    try:
        with open(path, "rb") as handle:
            return zoneinfo.ZoneInfo.from_file(handle)
    except (OSError, ValueError):
        return datetime.UTC


def ours(held: t.Mapping[str, t.Sequence[str]], pair: str) -> dict[str, t.Sequence[str]]:
    """Of what carries the pair's tag, the pair's sets: somebody may have held another snapshot with it by hand."""
    return {name: where for name, where in held.items() if names.is_set_of(name, pair)}


def unfinished(pending: t.Mapping[str, t.Any] | None) -> Reasons:
    """The sets that the journal of an operation that did not end speaks of."""
    if not pending:
        return {}
    words = [value for value in pending.values() if isinstance(value, str) and names.parse(value)]
    return dict.fromkeys(words, f"{pending['operation']}, which did not end, may need it")


def alone(
    mine: inventory.Inventory,
    held: t.Collection[str],
    ledger: t.Mapping[str, bool] | None,
    pending: bool,
    pair: str,
    peer: str,
    silent: str,
) -> Reasons:
    """What must stay when the other host tells nothing: pure.

    A set is held and bookmarked while it is sent, and the one before is let go when it was seen there. So the other host may
    have what lies between the oldest and the newest of those: a stream that was cut in between has brought some; and of a
    dataset that is sent anew, from its oldest set on, all that is older. Sets that are newer were not sent; without that rule
    they would fill the disk while the other host is dead.

    :param ledger: the sets that are held, as the syncs have written it down (`holds.ledger`); None: no sync was verified since
        it was begun, by the first sync or by a rollback. What was sent until then was held before, or is held by the rollback.
    :param pending: an operation did not end; it may have sent something without holding it first.
    :param silent: why the other host did not answer; empty when it did and has nothing in common, or lacks a root.
    """
    sets = sorted(inventory.sets(mine, pair))
    why = f"{peer} does not answer" if silent else f"{peer} has none of them"
    marks = retention.by_bookmarks(mine, pair)
    if ledger is None:  # then a set is held before it is sent
        last = max({*held, *marks}) if held and not pending else max(sets, default="")
        reason = f"no sync with {peer} was verified on this host so far, and {why}"
        return {name: reason for name in sets if name <= last}
    oldest = min(held, default="")
    marks = {name: reason for name, reason in marks.items() if name >= oldest}
    # one is written down before its first stream begins, and held beside that
    sent = {name for name, placed in ledger.items() if not placed}.intersection(sets)
    known = sorted({*held, *marks, *sent})
    if not known:
        return retention.unproven(sets, peer, silent)
    last = sets[-1] if pending else known[-1]
    first = known[0] if list(ledger.values()) == [True] else ""  # else a sync did not end
    return {name: marks.get(name, f"{peer} may have it, and {why}") for name in sets if first <= name <= last}


def judge(config: PairConfig, mine: inventory.Inventory, held: t.Mapping[str, t.Sequence[str]], decide: Decide) -> Verdict:
    """What may go by `decide`, once it knows what must stay: set -> reason."""
    pending, ledger = operation.pending(), holds.ledger()
    protected = {**unfinished(pending), **retention.by_holds(held, protect.tag(config.pair))}
    decisions = decide(protected)
    verified = [name for name, placed in ledger.items() if placed and name in held] if ledger and len(ledger) == 1 else []
    if not retention.must_ask(decisions, verified):
        return Verdict(decisions, min(held) if verified else "", False, "")
    theirs, silent = ask(config)
    found: Reasons = {}
    if theirs is not None:
        found = retention.by_comparison(mine, theirs, config.datasets, config.pair, config.peer.name)
    base = min([*held, *found]) if found else ""
    if not found:
        found = alone(mine, held, ledger, pending is not None, config.pair, config.peer.name, silent)
    return Verdict(decide({**found, **protected}), base, True, silent)


def ask(config: PairConfig) -> tuple[inventory.Inventory | None, str]:
    """The other host's datasets; None, with the reason, when it does not answer."""
    try:
        with Peer(config) as peer:
            return peer.call("datasets"), ""
    except HvmError as exc:
        return None, exc.what


def prune(config: PairConfig, rules: retention.Rules, progress: Progress, check: bool) -> dict[str, t.Any]:
    """:return: ``{changed, decisions: [{set, keep, reason}], destroyed, bytes, blocked, left, bookmarks, asked, warnings, diff}``

    A snapshot that cannot be destroyed is a warning: what counts, the backup, is done (pvesr ce22af0).
    """
    with contextlib.nullcontext() if check else operation.Lock().held("prune", operation.owner()):
        return _prune(config, rules, progress, check)


def _prune(config: PairConfig, rules: retention.Rules, progress: Progress, check: bool) -> dict[str, t.Any]:
    refuse_broken_pools(config)
    mine = inventory.read(config.datasets)
    sets = inventory.sets(mine, config.pair)
    now, zone = datetime.datetime.now(datetime.UTC), local_zone()
    ahead = retention.ahead(sets, now)
    taken = inventory.read_times([root for root in config.datasets if root in mine]) if ahead else {}
    soon = now.timestamp() + TOLERANCE
    # the newest one is what the next sync starts from
    later = [name for name in ahead if taken.get(name, soon + 1) > soon and name != max(sets)]
    gaps = inventory.gaps(mine, sets)
    verdict = judge(
        config,
        mine,
        ours(protect.held(config.datasets, config.pair), config.pair) if sets else {},
        lambda protected: retention.decide(sets, rules, now, protected, config.pair, zone, taken, gaps),
    )
    doomed = retention.doomed(verdict.decisions, sets)
    blocked = blocked_sets(doomed.snapshots)
    going = {name: members for name, members in doomed.snapshots.items() if name not in blocked}
    bookmarks = protect.stale_bookmarks(mine, config.pair, verdict.base) if verdict.base else []
    result: dict[str, t.Any] = {
        "changed": bool(going or bookmarks),
        "decisions": [one._asdict() for one in final(verdict.decisions, doomed, blocked)],
        "destroyed": sorted(going),
        "bytes": destroyable.space([one for members in going.values() for one in members]),
        "blocked": blocked,
        "left": doomed.left,
        "bookmarks": bookmarks,
        "asked": verdict.asked,
        "warnings": [f"{config.peer.name} was asked what it has and did not answer: {verdict.silent}"] if verdict.silent else [],
    }
    if later:
        result["warnings"].append(
            f"{config.me.name}: {some(later)} is dated in the future, and stays: was the clock ahead when it was taken, or is it "
            f"behind now? If the clock is right and nobody needs it: hvm_zfs_snapshot state=absent name={later[0]}"
        )
    for one in result["decisions"]:
        one["set"] = one.pop("name")
    after = [name for name in sets if name not in going or any(one.endswith(f"@{name}") for one in doomed.left)]
    if not check:
        after = _destroy(config, going, bookmarks, progress, result)
    result["diff"] = {"before": lines(sets), "after": lines(after)}
    return result


def refuse_broken_pools(config: PairConfig) -> None:
    """:raises HvmError: naming each pool of which nobody can say what it needs."""
    broken = {pool: health for pool, health in kernel.pool_health(config.pools).items() if health not in kernel.USABLE}
    if broken:
        words = [f"pool {pool} is {'not there' if health == 'missing' else health}" for pool, health in broken.items()]
        raise HvmError("; ".join(words), f"Nothing was destroyed. Look at it: zpool status {' '.join(broken)}.")


def blocked_sets(snapshots: t.Mapping[str, t.Sequence[str]]) -> dict[str, list[str]]:
    """Set -> what in it cannot be destroyed, and why. Such a set stays whole: who holds one snapshot of it may want it all.

    :param snapshots: set -> ``dataset@set``.
    """
    found: dict[str, list[str]] = {}
    for name, why in destroyable.blocked([one for members in snapshots.values() for one in members]).items():
        found.setdefault(name.split("@", 1)[1], []).append(why)
    return {name: sorted(found[name]) for name in sorted(found)}


def final(decisions: t.Iterable[Decision], doomed: retention.Doomed, blocked: t.Mapping[str, t.Sequence[str]]) -> list[Decision]:
    """The decisions as they will come about: pure."""
    found = []
    for one in decisions:
        if not one.keep and one.name in blocked:
            found.append(Decision(one.name, True, "it cannot go: " + "; ".join(blocked[one.name])))
        elif not one.keep and one.name not in doomed.snapshots:
            datasets = ", ".join(left.split("@", 1)[0] for left in doomed.left if left.endswith(f"@{one.name}"))
            found.append(Decision(one.name, True, f"it is the last one that {datasets} has"))
        else:
            found.append(one)
    return found


def chunks(going: t.Mapping[str, t.Sequence[str]], size: int = CHUNK) -> list[list[str]]:
    """Whole sets, oldest first, up to about `size` snapshots together."""
    found: list[list[str]] = []
    for name in sorted(going):
        if not found or len(found[-1]) >= size:
            found.append([])
        found[-1] += going[name]
    return found


def _destroy(
    config: PairConfig,
    going: t.Mapping[str, t.Sequence[str]],
    bookmarks: t.Sequence[str],
    progress: Progress,
    result: dict[str, t.Any],
) -> list[str]:
    """Corrects `result` to what went; returns the sets that are there afterwards."""
    total, done, failed = sum(map(len, going.values())), 0, False
    here = config.me.name
    for chunk in chunks(going):
        try:
            errors = protect.destroy(chunk)
        except (HvmError, OSError, ValueError) as exc:
            errors = {chunk[0]: str(exc)}
        failed = failed or bool(errors)
        result["warnings"] += [f"{here}: {some(which)} stays: {why}" for why, which in by_reason(errors).items()]
        done += len(chunk)
        progress.say(f"{done} of {total} snapshots of old sets done", done=done, total=total)
    gone = protect.destroy_bookmarks(bookmarks) if bookmarks else []
    if bookmarks:
        progress.say(f"{len(gone)} old bookmarks removed")
    if len(gone) < len(bookmarks):
        result["warnings"].append(f"{here}: {some(sorted(set(bookmarks) - set(gone)))}, old bookmarks, could not be removed")
    left = inventory.sets(inventory.read(config.datasets), config.pair) if going else {}
    # looked at afresh: a command that ran into its time limit may have destroyed all the same
    stayed = {f"{dataset}@{name}" for name, members in left.items() for dataset in members}
    result["destroyed"] = [name for name in sorted(going) if not stayed.intersection(going[name])]
    result["bookmarks"] = gone
    result["changed"] = bool(gone) or any(one not in stayed for members in going.values() for one in members)
    if failed:
        result["bytes"] = None  # what came back was not measured
    return list(left) if going else [one["set"] for one in result["decisions"]]


def by_reason(errors: t.Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(errors):
        found.setdefault(errors[name], []).append(name)
    return found


def some(words: t.Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{words[0]} (and {len(words) - 1} more)"


def lines(sets: t.Iterable[str]) -> str:
    return "".join(f"{name}\n" for name in sets)
