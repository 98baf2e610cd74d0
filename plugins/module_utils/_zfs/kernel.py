# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What the kernel says about ZFS by itself. Apart from `actions`, so that the first look loads little."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text

#: Where the kernel says the same as `zpool list -o health` does, without a process.
KSTAT = "/proc/spl/kstat/zfs"


#: Health of a pool that has all its data, and takes more (zpoolconcepts(7)): DEGRADED has only less redundancy left. One in any
#: other health cannot be trusted to tell what is held, or does not answer at all.
USABLE = ("ONLINE", "DEGRADED")


def pool_health(pools: t.Sequence[str]) -> dict[str, str]:
    """Health word of each pool; "missing" for one that is not imported."""
    if os.path.isdir(KSTAT):
        states = {pool: read_text(f"{KSTAT}/{pool}/state") for pool in pools}
        return {pool: (state or "missing").strip() for pool, state in states.items()}
    found = {}
    for line in run(["zpool", "list", "-H", "-o", "name,health"]).splitlines():
        name, health = line.split("\t")
        found[name] = health
    return {pool: found.get(pool, "missing") for pool in pools}


def receivers(datasets: t.Sequence[str]) -> dict[int, str]:
    """Running `zfs receive` processes below `datasets`: pid -> dataset."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as handle:
                words = handle.read().decode(errors="surrogateescape").rstrip("\0").split("\0")
        except OSError:
            continue
        ours = any(words[-1] == root or words[-1].startswith(root + "/") for root in datasets)
        if ours and os.path.basename(words[0]) == "zfs" and words[1:2] in (["receive"], ["recv"]):
            found[int(pid)] = words[-1]
    return found
