# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What the kernel says is mounted."""

from __future__ import annotations

import re
import typing as t

MOUNTS = "/proc/self/mounts"


def unescape_mount(text: str) -> str:
    """proc_pid_mounts(5), getmntent(3): space, tab, newline and backslash as octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _mounts(mounts: str) -> t.Iterator[tuple[str, str, str]]:
    with open(mounts, encoding="utf-8", errors="surrogateescape") as handle:
        for line in handle:
            source, point, kind = line.split(" ")[:3]
            yield unescape_mount(source), unescape_mount(point), kind


def zfs_mounts(mounts: str = MOUNTS) -> list[tuple[str, str]]:
    """(dataset, mountpoint) of every ZFS filesystem that is mounted."""
    return [(source, point) for source, point, kind in _mounts(mounts) if kind == "zfs"]


def topmost(mountpoint: str, mounts: str = MOUNTS) -> str:
    """The source of what is mounted at a path, and seen there: what is mounted over something comes later; "" for nothing."""
    return next((source for source, point, dummy in reversed(list(_mounts(mounts))) if point == mountpoint), "")
