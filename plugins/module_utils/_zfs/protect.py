# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What keeps the base of the next increment: holds and bookmarks; and destroying what they do not keep.

Many snapshots at once go through a channel program, where `zfs destroy` and `zfs bookmark` want a process and a transaction
group for each dataset.
"""

from __future__ import annotations

import errno
import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import Run, run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import program
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import Inventory, existing

REASONS = {
    errno.EBUSY: "it is held or in use",
    errno.EEXIST: "a clone depends on it",
    errno.ENOENT: "it is not there",
}


def tag(pair: str) -> str:
    """The tag of this pair's holds; compared as a whole, so `a` never matches `ab` (syncoid's prefix does)."""
    return f"hvm:{pair}"


def destroy(snapshots: t.Sequence[str], execute: program.Execute = run) -> dict[str, str]:
    """Destroy snapshots, given as ``dataset@name``; never a dataset, never recursively, never with clones.

    :return: what is still there -> why. A snapshot that was not there is no failure.
    """
    wrong = [name for name in snapshots if name.count("@") != 1 or "%" in name or "," in name or not name.split("@")[1]]
    if wrong:
        raise HvmError(f"{', '.join(map(repr, wrong))}: not the name of one snapshot")
    failed: dict[str, str] = {}
    for batch in program.batches(snapshots):
        for name, number in program.execute(program.DESTROY, batch, execute).items():
            if number != errno.ENOENT:
                failed[name] = REASONS.get(number, os.strerror(number))
    return failed


def bookmark(snapshots: t.Sequence[str], execute: program.Execute = run) -> dict[str, str]:
    """A bookmark of the same name for each ``dataset@name``; one that is there stays.

    :return: bookmarks that are missing afterwards -> why.
    """
    failed: dict[str, str] = {}
    for batch in program.batches(snapshots):
        words = [word for name in batch for word in (name, name.replace("@", "#", 1))]
        for name, number in program.execute(program.BOOKMARK, words, execute).items():
            if number != errno.EEXIST:
                failed[name] = REASONS.get(number, os.strerror(number))
    return failed


def holds(snapshots: t.Sequence[str], pair: str, execute: Run = run) -> list[str]:
    """Those of `snapshots` (all of them there) that this pair holds."""
    if not snapshots:
        return []
    lines = [line.split("\t") for line in execute(["zfs", "holds", "-H", *snapshots]).splitlines()]
    return [words[0] for words in lines if words[1] == tag(pair)]


def held(roots: t.Sequence[str], pair: str, execute: Run = run) -> dict[str, list[str]]:
    """Everything that this pair holds: name of the snapshot -> datasets. Opens every snapshot, so not for the sync's path."""
    roots = existing(roots, execute)
    if not roots:
        return {}
    listed = execute(["zfs", "list", "-Hp", "-r", "-t", "snapshot", "-o", "name,userrefs", *roots])
    referenced = [name for name, refs in (line.split("\t") for line in listed.splitlines()) if refs not in ("0", "-")]
    found: dict[str, list[str]] = {}
    for name in holds(referenced, pair, execute):
        dataset, snapshot = name.split("@", 1)
        found.setdefault(snapshot, []).append(dataset)
    return found


def hold(roots: t.Sequence[str], snapshot: str, pair: str, execute: Run = run) -> None:
    """Hold `snapshot` on every dataset that has it: one command and one transaction group per root."""

    def one(root: str) -> None:
        try:
            execute(["zfs", "hold", "-r", tag(pair), f"{root}@{snapshot}"])
        except CommandError:  # some are held already, or the root has not got it: those that lack it, by name
            members = _on_disk(root, snapshot, execute)
            mine = set(holds(members, pair, execute))
            missing = [name for name in members if name not in mine]
            if missing:
                execute(["zfs", "hold", tag(pair), *missing])

    _each(one, roots)


def hold_and_mark(
    roots: t.Sequence[str], datasets: Inventory, snapshot: str, pair: str, remember: t.Callable[[str], None]
) -> list[str]:
    """Hold and bookmark a set. A failure is a warning: what was sent is there all the same.

    :param remember: told before the hold is taken, so that a crash leaves none that nobody knows of.
    """
    warnings = []
    try:
        remember(snapshot)
        hold(roots, snapshot, pair)
    except (HvmError, OSError) as exc:
        warnings.append(f"{snapshot} is not held: {exc}")
    try:
        members = [f"{name}@{snapshot}" for name, entry in datasets.items() if any(s[0] == snapshot for s in entry["snapshots"])]
        failed = bookmark(members)
        if failed:
            warnings.append("no bookmark: " + "; ".join(f"{name}: {why}" for name, why in sorted(failed.items())[:3]))
    except (HvmError, ValueError) as exc:
        warnings.append(f"{snapshot} has no bookmarks: {exc}")
    return warnings


def release(roots: t.Sequence[str], snapshot: str, pair: str, execute: Run = run) -> None:
    """The reverse; what is not held, or not there, is no failure."""

    def one(root: str) -> None:
        try:
            execute(["zfs", "release", "-r", tag(pair), f"{root}@{snapshot}"])
        except CommandError:
            mine = holds(_on_disk(root, snapshot, execute), pair, execute)
            if mine:
                execute(["zfs", "release", tag(pair), *mine])

    _each(one, roots)


def _on_disk(root: str, snapshot: str, execute: Run) -> list[str]:
    listed = execute(["zfs", "list", "-H", "-r", "-t", "snapshot", "-o", "name", root]).splitlines()
    return [name for name in listed if name.split("@", 1)[1] == snapshot]


def _each(work: t.Callable[[str], None], roots: t.Sequence[str]) -> None:
    import concurrent.futures  # it loads `logging`, which a first look has no time for

    with concurrent.futures.ThreadPoolExecutor(len(roots) or 1) as pool:
        list(pool.map(work, roots))


def stale_bookmarks(datasets: Inventory, pair: str, base: str) -> list[str]:
    """Bookmarks of this pair's sets that are older than the base: nothing will ever be sent from them. Pure.

    :param base: the newest set that both hosts have.
    """
    from ansible_collections.hvm.pair.plugins.module_utils._zfs import names

    found = []
    for dataset, entry in datasets.items():
        for name, dummy, dummy_txg in entry.get("bookmarks", []):
            if names.is_set_of(name, pair) and name < base:
                found.append(f"{dataset}#{name}")
    return found


def destroy_bookmarks(bookmarks: t.Sequence[str], execute: Run = run) -> list[str]:
    """One command each (zfs-destroy(8) takes no list of bookmarks), several at once; returns those that went."""
    if any(name.count("#") != 1 for name in bookmarks):
        raise HvmError(f"{bookmarks!r} are not bookmarks")

    def one(name: str) -> bool:
        try:
            execute(["zfs", "destroy", name])
        except CommandError:
            return False
        return True

    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        gone = list(pool.map(one, bookmarks))
    return [name for name, went in zip(bookmarks, gone, strict=True) if went]
