# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Trees in use and trees that are kept, read and changed: the thin hands of `rollback`."""

from __future__ import annotations

import os
import subprocess
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.begun import ENVIRONMENT
from ansible_collections.hvm.pair.plugins.module_utils._core.command import Run, run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import protect, rollback
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import existing, parse_snapshots, prop
from ansible_collections.hvm.pair.plugins.module_utils._zfs.rollback import Tree

#: Read besides what is set on a dataset itself; all the rest would travel to the other host for nothing.
NEEDED = frozenset(
    "createtxg used written mounted canmount mountpoint readonly volmode keystatus encryptionroot receive_resume_token".split()
)
_LISTING = ["zfs", "list", "-H", "-o", "name", "-t", "filesystem,volume", "-d", "1"]


def read(roots: t.Sequence[str], execute: Run = run) -> Tree:
    """The roots and the trees beside them that a rollback has made; a root that is not there is left out."""
    parents = dict.fromkeys(root.rsplit("/", 1)[0] for root in roots)
    return _read(rollback.tops(roots, execute([*_LISTING, *parents]).splitlines()), execute)


def read_aside(pools: t.Sequence[str], execute: Run = run) -> Tree:
    """What a sync has set aside, without the datasets that hold it."""
    parents = existing([f"{pool}/{rollback.ASIDE}" for pool in pools], execute)
    listed = execute([*_LISTING, *parents]).splitlines() if parents else []
    return _read([name for name in listed if name not in parents], execute)


def _read(found: t.Sequence[str], execute: Run) -> Tree:
    if not found:
        return {}
    columns = ["-t", "filesystem,volume", "-o", "source,name,property,value", "all"]
    tree = rollback.parse(execute(["zfs", "get", "-Hp", "-r", *columns, *found]))
    for entry in tree.values():
        entry["props"] = {name: one for name, one in entry["props"].items() if one[1] in ("local", "received") or name in NEEDED}
    listing = ["zfs", "list", "-Hp", "-r", "-t", "snapshot,bookmark", "-o", "name,guid,createtxg", "-s", "createtxg"]
    parse_snapshots(execute([*listing, *found]), tree)
    return tree


def flush(pools: t.Sequence[str]) -> None:
    """Wait until what was written is in the pools: only then do "written" and "used" tell of it."""
    run(["zpool", "sync", *pools])


def untouched(dataset: str, snapshot: str, command: t.Sequence[str] = ("zfs", "send", "-w")) -> bool:
    """Whether an inert dataset holds what its newest snapshot holds: what would be sent of it is nothing.

    "written" alone does not tell: a volume that was only cloned shows the header of an intent log (1 KiB seen on 2.3.9). What a
    crash has left in the intent log is not seen by this.
    """
    words = [*command, "-i", f"@{snapshot}", dataset]
    sender = subprocess.Popen(  # not `run`: only the beginning is read, and it is no text
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **ENVIRONMENT}
    )
    with sender:
        head = t.cast("t.IO[bytes]", sender.stdout).read(64 << 10)
        sender.kill()
    return rollback.is_empty_stream(head)


def take(steps: t.Sequence[rollback.Step], said: t.Callable[[str], None]) -> list[str]:
    """Take the steps of a plan, in order. Each one is told before it begins.

    :return: what optional steps failed at.
    :raises CommandError: the plan can be made anew from what is there then.
    """
    warnings = []
    for step in steps:
        said(step.sentence())
        try:
            run(step.command(), timeout=1800)
        except CommandError as exc:
            if not step.optional:
                raise
            warnings.append(str(exc))
    return warnings


def load_keys(tree: Tree) -> list[str]:
    """ZFS forgets the key of an encryption root that is promoted (seen on 2.3.9). Those that lie in a file are loaded again.

    :param tree: the datasets in use.
    :return: what is left to do, as sentences.
    """
    warnings = []
    for name, entry in tree.items():
        if prop(entry, "encryptionroot") == name and prop(entry, "keystatus") == "unavailable":
            try:
                if rollback.local(entry, "keylocation") in ("", "prompt"):
                    raise HvmError("it is asked for")
                run(["zfs", "load-key", name])
            except HvmError as exc:
                warnings.append(f"the key of {name} must be loaded before the hypervisor starts: zfs load-key '{name}' ({exc})")
    return warnings


# ---- drop


def clones(tops: t.Sequence[str], execute: Run = run) -> dict[str, list[str]]:
    """``dataset@name`` -> its clones, wherever they are; only snapshots that have some."""
    listed = execute(["zfs", "get", "-H", "-r", "-t", "snapshot", "-o", "name,value", "clones", *tops])
    found = dict(line.split("\t") for line in listed.splitlines())
    return {name: value.split(",") for name, value in found.items() if value not in ("", "-")}


def holds(tops: t.Sequence[str], execute: Run = run) -> dict[str, list[str]]:
    """``dataset@name`` -> tags of its holds; only snapshots that are held."""
    listed = execute(["zfs", "list", "-Hp", "-r", "-t", "snapshot", "-o", "name,userrefs", *tops]).splitlines()
    held = [name for name, refs in (line.split("\t") for line in listed) if refs not in ("0", "-")]
    found: dict[str, list[str]] = {}
    for line in execute(["zfs", "holds", "-H", *held]).splitlines() if held else []:
        name, tag, *dummy = line.split("\t")
        found.setdefault(name, []).append(tag)
    return found


def destroy(planned: t.Sequence[tuple[str, t.Sequence[str]]], ours: t.Collection[str], tag: str) -> None:
    """Dataset by dataset: its snapshots by name, then itself. Never recursively: what nobody has planned for stops it.

    :param planned: of `rollback.plan_drop`; `ours`: snapshots that are held by `tag`.
    """
    for dataset, snapshots in planned:
        names = [f"{dataset}@{one}" for one in snapshots]
        mine = [name for name in names if name in ours]
        if mine:
            run(["zfs", "release", tag, *mine])
        failed = protect.destroy(names)
        if failed:
            raise HvmError(
                "; ".join(f"{name} is still there: {why}" for name, why in sorted(failed.items())[:5]),
                "What was destroyed before it is gone. Look at that, then run this again.",
            )
        run(["zfs", "destroy", dataset], timeout=1800)
