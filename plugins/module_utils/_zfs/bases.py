# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Filesystems with disks to which nobody writes while VMs are on two hosts: read-only, and marked, to be found again.

Of zvols nothing is set: one that is opened first while it is read-only stays so until its last user has closed it
(zvol_first_open), and QEMU keeps it open until what the VM has written is brought into it.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import Inventory, existing, mountable

#: A property of ours on what is shut.
MARK = "hvm:moving"
#: Where libvirt writes on each host that it runs on.
LIBVIRTS = ("/etc/libvirt", "/var/lib/libvirt")


def libvirts(inventory: Inventory) -> list[str]:
    """Filesystems that have libvirt's own files, and maybe disks, too. Pure."""
    return [name for name, point in mountable(inventory).items() if any(_below(point, one) for one in LIBVIRTS)]


def images(inventory: Inventory) -> list[str]:
    """All others that are mounted. Pure."""
    own = libvirts(inventory)
    return [name for name in mountable(inventory) if name not in own]


def _below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory}/")


def shut(inventory: Inventory) -> None:
    """Mounted ones only. Their superblocks become read-only, their mounts stay as they are. One that its owner has made read-only
    is left alone: it is shut, and `reopen` would take that from it.

    QEMU is in a mount namespace of its own, where each mount has the flags that it had when QEMU started: through one that was
    read-only then QEMU can never write. Since 2.2 ``zfs set readonly=on`` changes the mount as well (zfs_mount_setattr); it is
    changed back.
    """
    names = [name for name in images(inventory) if inventory[name]["props"].get("readonly") != ["on", "local"]]
    if names:
        run(["zfs", "set", "readonly=on", f"{MARK}=on", *names])
    points = mountable(inventory)
    for name in names:
        run(["mount", "-o", "remount,bind,rw", points[name]])


def reopen(roots: t.Sequence[str]) -> list[str]:
    """They have again what their parents have. :return: which were shut."""
    get = ["zfs", "get", "-H", "-r", "-t", "filesystem", "-s", "local", "-o", "name", MARK]
    try:
        names = run([*get, *roots]).splitlines()
    except CommandError as exc:
        if "does not exist" not in exc.stderr:
            raise
        there = existing(roots, run)  # in the midst of a swap a root has another name
        names = run([*get, *there]).splitlines() if there else []
    for name in ("readonly", MARK) if names else ():
        run(["zfs", "inherit", name, *names])
    return names
