# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What a scheduled run does on this host: a constraint first, then the swap of the roles every so many days, else a backup. Pure.

It works on a pair that is whole only: one host ACTIVE, the other one PASSIVE and answering, nothing begun and not ended. In any
other case it refuses with what the status advises; it never makes a host ACTIVE that the ACTIVE one does not hand over to.
"""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint, guards
from ansible_collections.hvm.pair.plugins.module_utils._pair.advice import advice
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import ACTIVE, PASSIVE, TOOK_OVER

Observation = dict[str, t.Any]

#: ELSEWHERE: it is for the other host, or that one is at it. NOTHING: it is for this host, and there is nothing to do.
BACKUP, MIGRATE, NOTHING, ELSEWHERE = "backup", "migrate", "nothing", "elsewhere"

#: A host that has taken over so short a time ago has just got everything: that was the run of the other host's timer.
JUST_NOW = datetime.timedelta(minutes=45)


class Decision(t.NamedTuple):
    """:ivar do: BACKUP, MIGRATE, NOTHING or ELSEWHERE; "" when it is refused.
    :ivar sentence: what and why, without its full stop.
    :ivar findings: every reason to refuse.
    """

    do: str
    sentence: str
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()


def decide(
    me: Observation,
    peer: Observation | None,
    constraints: t.Iterable[constraint.Constraint],
    swap_days: int,
    now: datetime.datetime,
    zone: datetime.tzinfo | None = None,
) -> Decision:
    """:param peer: None when the other host does not answer.
    :param swap_days: the roles are swapped when they are so many days old; 0: never by this.
    :param zone: that days are counted in; None: the host's own.
    """
    if me["role"]["now"] != ACTIVE:
        return _not_active(me, peer)
    findings = _in_the_way(me, peer)
    if findings or peer is None:
        return Decision("", "", tuple(findings))
    return _due(me, peer, tuple(constraints), swap_days, now, zone)


def _not_active(me: Observation, peer: Observation | None) -> Decision:
    host, other, now = me["host"], me["peer"], me["role"]["now"]
    if peer is not None and peer["role"]["now"] == ACTIVE:
        return Decision(ELSEWHERE, f"{other} is ACTIVE and does the work; {host} is {now}")
    # the ACTIVE host hands over: for a moment neither is
    for side in (me, peer):
        if side and side["lock"]:
            return Decision(ELSEWHERE, f"{side['host']}: {side['lock']} is running; nothing is for {host} to do, which is {now}")
    if peer is None:
        lost = f"If {other} is only silent, it goes on. If it is lost: hvm.pair.failover shows what would be lost with it."
        what = f"this host is {now}, and {other} does not answer: a schedule never makes a host ACTIVE by itself"
        return Decision("", "", (Finding(what, _whole(advice(me, alone=True)) or lost, host),))
    theirs = peer["role"]["now"]
    told = [f"{side['host']}: {text}." for side in (me, peer) if (text := advice(side))]
    remedy = " ".join(told) or "hvm.pair.recover finds out which one goes on."
    return Decision("", "", (Finding(f"no host is ACTIVE: {host} is {now}, {other} is {theirs}", remedy, host),))


def _whole(text: str) -> str:
    """An advice as a sentence of its own."""
    return f"{text if text.startswith('hvm') else text[:1].upper() + text[1:]}." if text else ""


def _in_the_way(me: Observation, peer: Observation | None) -> list[Finding]:
    """Why the ACTIVE host does nothing. What a backup or a migration refuses besides is for them to say."""
    found = []
    for side in (me, peer):
        if side is None:
            continue
        entry = side["pending"]
        if side["lock"]:
            what = f"another operation is running: {side['lock']}"
            found.append(Finding(what, "Nothing was done beside it; the next scheduled run looks anew.", side["host"]))
        elif entry:
            what = f"{entry['operation']}, begun {entry['started']}, did not end: it was last at '{entry['step']}'"
            found.append(Finding(what, _whole(advice(side)), side["host"]))
    if not me["hypervisor"]["running"] and not me["pending"] and not me["lock"]:
        found.append(Finding("this host is ACTIVE and its hypervisor is stopped", _whole(advice(me)), me["host"]))
    if peer is None:
        found.append(Finding(f"{me['peer']} does not answer", "Nothing can be brought there. Look at that host.", me["host"]))
        return found
    found += guards.roles(me, peer)
    if peer["role"]["now"] != PASSIVE and not found:
        found.append(Finding(f"it is {peer['role']['now']}", "Look at its data first: hvm.pair.rejoin.", peer["host"]))
    return found


def _due(
    me: Observation,
    peer: Observation,
    constraints: constraint.Constraints,
    swap_days: int,
    now: datetime.datetime,
    zone: datetime.tzinfo | None,
) -> Decision:
    host, other, today = me["host"], peer["host"], constraint.local_day(now, zone)
    holding, words = constraint.in_force(constraints, today)
    words = words.removesuffix(".")
    warnings: tuple[str, ...] = ()
    if holding and holding.host == other:
        return Decision(MIGRATE, f"{words}: {host} hands over to it")
    if holding and holding.host != host:
        warnings = (f"{holding.sentence()}, and that is no host of the pair: unset it (hvm_constraint state=absent)",)
        holding = None
    took = _took_over(me)
    if took is not None and datetime.timedelta() <= now - took < JUST_NOW:
        minutes = int((now - took).total_seconds() // 60)
        sentence = f"{host} took over {minutes} min ago, with everything that there was: nothing is due"
        return Decision(NOTHING, sentence, (), warnings)
    if holding:
        return Decision(BACKUP, f"{words}: it is ACTIVE, and is backed up", (), warnings)
    due, why = swap(me, peer, constraints, swap_days, today, zone)
    if due:
        return Decision(MIGRATE, f"{why}: {host} hands over to {other}", (), warnings)
    return Decision(BACKUP, f"{host} is ACTIVE and is backed up" + (f"; {why}" if why else ""), (), warnings)


def swap(
    me: Observation,
    peer: Observation,
    constraints: constraint.Constraints,
    swap_days: int,
    today: datetime.date,
    zone: datetime.tzinfo | None = None,
) -> tuple[bool, str]:
    """Whether the roles are due to be swapped, and why; "" when they never are. Days count, not hours: a timer is never on time.

    The roles are as old as the older of the two records: a start writes that of the ACTIVE host anew, and a recovery that of the
    PASSIVE one, but only a swap writes both.
    """
    if not swap_days:
        return False, ""
    since = [_moment(side["role"].get("since", "")) for side in (me, peer)]
    known = [one for one in since if one is not None]
    if not known:
        return False, f"it is not known since when {me['host']} is ACTIVE, so the roles are not swapped"
    first = constraint.local_day(min(known), zone)
    due = first + datetime.timedelta(days=swap_days)
    if today < due:
        return False, f"the next swap of the roles is on {due}"
    soon = today + datetime.timedelta(days=swap_days)
    for one in constraint.current(constraints, today):
        if one.host == me["host"] and today < one.start <= soon:
            return False, f"the roles are not swapped before that: {one.sentence()}"
    often = "day" if swap_days == 1 else f"{swap_days} days"
    return True, f"{me['host']} is ACTIVE since {first}, and the roles are swapped every {often}"


def _took_over(me: Observation) -> datetime.datetime | None:
    return _moment(me["role"].get("since", "")) if str(me["role"].get("reason", "")).startswith(TOOK_OVER) else None


def _moment(text: str) -> datetime.datetime | None:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
