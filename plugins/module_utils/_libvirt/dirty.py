# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""How fast the memory of VMs that run changes, as QEMU measures it.

QEMU compares a sample of the pages (512 of each GiB) at the beginning and at the end of a second. The guest is not slowed down by
that, as it is when every page is watched; and it works without KVM, where that counts nothing. Needs libvirt 7.2.
"""

from __future__ import annotations

import functools
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._libvirt.bounded import all_within

#: virDomainStatsTypes; virConnectGetAllDomainStatsFlags: a VM that something else is done with is left out this time.
STATS_DIRTYRATE, NOWAIT = 1 << 9, 1 << 29
STATUS, RATE = "dirtyrate.calc_status", "dirtyrate.megabytes_per_second"
#: virDomainDirtyRateStatus
MEASURED = 2
#: Seconds that are measured; that all VMs together are waited for; between two looks.
SECONDS, WAIT, LOOK = 1, 5.0, 0.1
_MIB = 1 << 20


def of_stats(stats: t.Mapping[str, t.Any]) -> int | None:
    """Bytes per second; None while they are not known. Pure."""
    return int(stats[RATE]) * _MIB if stats.get(STATUS) == MEASURED and RATE in stats else None


def rates(conn: t.Any, names: t.Iterable[str], wait: float = WAIT) -> dict[str, int | None]:
    """Of VMs that run, all at once.

    :return: bytes per second; None for one that was not measured, whatever the reason: that is no error, since it can move so,
        too.
    """
    deadline = time.monotonic() + wait
    functions = {name: functools.partial(_rate, conn, name, deadline) for name in names}
    calls = all_within(functions, wait, max(len(functions), 1))
    return {name: None if call is None or call.error else call.result for name, call in calls.items()}


def _rate(conn: t.Any, name: str, deadline: float) -> int | None:
    dom = conn.lookupByName(name)
    dom.startDirtyRateCalc(SECONDS, 0)  # QEMU forgets what it has measured before
    time.sleep(SECONDS)
    while time.monotonic() < deadline:
        for dummy, stats in conn.domainListGetStats([dom], STATS_DIRTYRATE, NOWAIT):
            found = of_stats(stats)
            if found is not None:
                return found
        time.sleep(LOOK)
    return None
