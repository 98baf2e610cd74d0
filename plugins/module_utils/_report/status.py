# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Status of a host, as lines, and what its operator does next."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._pair import moving
from ansible_collections.hvm.pair.plugins.module_utils._pair.advice import advice

UTC = datetime.timezone.utc  # noqa: UP017  runs on the controller, where ansible-core 2.17 allows Python 3.10


def age(stamp: str, now: datetime.datetime) -> str:
    """How long ago a snapshot set's timestamp was, for people."""
    then = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    minutes = int((now - then).total_seconds() // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"


def status(look: dict[str, t.Any], now: datetime.datetime | None = None, alone: bool = False) -> list[str]:
    """Pure but for the clock: the lines of the status."""
    found = look["hvm"]
    now = now or datetime.datetime.now(UTC)
    role = found["role"]
    lines = list(look["status"])
    lines.append(f"{found['host']} is {role['now']} (pair {found['pair']}, epoch {role['epoch']}; {role['reason']})")
    for name, vm in sorted(found["vms"].items()):
        more = "autostart" if vm["autostart"] else ""
        more += " (frozen by an I/O error)" if vm.get("io_error") else ""
        more += " (its QEMU does not answer)" if vm.get("silent") else ""
        lines.append(f"  {name:<16} {vm['state']:<8} prio {vm['priority']:<3} {more.strip()}".rstrip())
    moves = look.get("moving")
    if moves:
        lines += moving.told({name: moving.Place(**one) for name, one in sorted(moves["vms"].items())})
        lines += [] if moves["asked"] else [f"  {found['peer']} does not answer: of its VMs no more is known"]
    for pool, health in sorted(found["pools"].items()):
        if health != "ONLINE":
            lines.append(f"Pool {pool} is {health}")
    complete = [one["name"] for one in found["sets"] if one["complete"]]
    for title, names in (
        ("Last complete set", complete),
        ("Last with VM states (B)", [name for name in complete if name.endswith("_B")]),
    ):
        lines.append(f"{title}: {names[-1]}, {age(names[-1].split('_')[1], now)} old" if names else f"{title}: none")
    if found.get("constraint"):
        lines.append(f"Constraint: {found['constraint']}")
    told = found.get("networks") or {"wrong": {}, "notes": []}
    lines += [f"Network {name}: {'; '.join(wrong)}" for name, wrong in sorted(told["wrong"].items())]
    lines += [f"Networks: {note}" for note in told["notes"]]
    if found["lock"]:
        lines.append(f"Running now: {found['lock']}")
    elif found["pending"]:
        entry = found["pending"]
        by = f" by {entry['owner']}" if entry.get("owner") else ""
        lines.append(f"Pending: {entry['operation']}{by}, begun {entry['started']}, stopped at '{entry['step']}'")
        if entry.get("cause"):
            lines.append(f"  because: {entry['cause']}")
    following = advice(found, alone or found.get("peer_answers") is False)
    return lines + ([f"Next: {following}"] if following else [])
