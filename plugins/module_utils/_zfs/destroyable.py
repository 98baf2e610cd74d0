# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Before snapshots are destroyed: what would refuse to go, and why, and what space comes back. Changes nothing."""

from __future__ import annotations

import concurrent.futures
import errno
import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import program


def blocked(snapshots: t.Sequence[str], execute: program.Execute = run) -> dict[str, str]:
    """Those of `snapshots` (``dataset@name``) that cannot be destroyed now -> why.

    One process per pool, and one for each of them.
    """
    found: dict[str, str] = {}
    for batch in program.batches(snapshots):
        for name, number in program.execute(program.CHECK_DESTROY, batch, execute, dry=True).items():
            if number != errno.ENOENT:
                found[name] = _why(name, number, execute)
    return found


def _why(name: str, number: int, execute: program.Execute) -> str:
    try:
        if number == errno.EBUSY:
            # NAME TAG TIME; a name may hold spaces, a tab never
            tags = sorted({line.split("\t")[1] for line in execute(["zfs", "holds", "-H", name]).splitlines()})
            return f"{name} is held as {', '.join(tags)}" if tags else f"{name} is in use (mounted below .zfs, or being sent)"
        if number == errno.EEXIST:
            return f"{name} has the clone {execute(['zfs', 'get', '-H', '-o', 'value', 'clones', name]).strip()}"
    except CommandError as exc:
        return f"{name}: {os.strerror(number)} ({exc})"
    return f"{name}: {os.strerror(number)}"


def space(snapshots: t.Sequence[str], execute: program.Execute = run) -> int | None:
    """Bytes that come back when they all go together; None when ZFS cannot tell."""
    datasets: dict[str, list[str]] = {}
    for one in snapshots:
        dataset, name = one.split("@", 1)
        datasets.setdefault(dataset, []).append(name)

    def ask(dataset: str) -> int:
        out = execute(["zfs", "destroy", "-n", "-v", "-p", f"{dataset}@{','.join(datasets[dataset])}"])
        return sum(int(line.split("\t")[1]) for line in out.splitlines() if line.startswith("reclaim\t"))

    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            return sum(pool.map(ask, datasets))
    except (CommandError, ValueError, IndexError):
        return None
