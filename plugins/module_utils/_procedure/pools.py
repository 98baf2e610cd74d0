# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Makes the pools of a host that are not there; looks at those that are (`_zfs.layout` decides)."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import Run, run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._zfs import layout

NO_ZFS = (
    "Install it: on Debian zfs-dkms from 'contrib' with the headers of the running kernel, on Ubuntu the kernel has it; "
    "then: modprobe zfs."
)
BY_HAND = (
    "Correct hvm_pools: vdevs for data must be of one kind, devices of one vdev of one size. Nothing here uses -f; a pool that "
    "wants it is made by hand, and taken as it is."
)


def ensure(described: t.Mapping[str, t.Any], check: bool, execute: Run = run) -> dict[str, t.Any]:
    """:param described: pool -> ``{vdevs, properties, filesystem_properties}``.
    :return: ``{changed, created, differs, commands, diff, warnings}``; `differs`: pool -> how it is not as it is described.
    :raises Refused: with every reason, of all pools, before any of them is made.
    """
    wanted = layout.parse(described)
    warnings = []
    if wanted and check and not shutil.which("zpool"):
        warnings.append("ZFS is not installed yet: only the devices were looked at")
        there: dict[str, list[layout.Vdev]] = {}
        importable: list[str] = []
    else:
        there, importable = _pools(wanted, execute)
    paths = {path for pool in wanted if pool.name not in there for vdev in pool.vdevs for path in vdev.devices}
    values = {pool.name: _values(pool, execute) for pool in wanted if pool.name in there}
    plan = layout.plan(wanted, there, importable, {path: device(path, execute) for path in sorted(paths)}, values)
    if plan.findings:
        raise Refused("making the pools", plan.findings)
    commands = [pool.command() for pool in plan.create]
    if not check:
        for command in commands:
            _create(command, execute)
    warnings += [
        f"pool {pool} is not as hvm_pools describes it, and stays as it is: {'; '.join(how)}"
        for pool, how in plan.differs.items()
    ]
    return {
        "changed": bool(commands),
        "created": [pool.name for pool in plan.create],
        "differs": plan.differs,
        "commands": commands,
        "diff": {"before": "", "after": "".join(f"{' '.join(command)}\n" for command in commands)},
        "warnings": warnings,
    }


def _create(command: t.Sequence[str], execute: Run) -> None:
    try:
        execute(command)
    except CommandError as exc:
        raise HvmError(exc.what, BY_HAND, **exc.details) from exc


def _pools(wanted: t.Sequence[layout.Wanted], execute: Run) -> tuple[dict[str, list[layout.Vdev]], list[str]]:
    """What is imported, with its vdevs; and the names of what could be, if anything is missing: that look takes seconds."""
    if not wanted:
        return {}, []
    try:
        names = execute(["zpool", "list", "-H", "-o", "name"]).split()
    except CommandError as exc:
        if exc.rc == 127 or "modules" in exc.stderr:
            raise HvmError("ZFS does not work on this host: " + exc.stderr.strip().splitlines()[0], NO_ZFS) from exc
        raise
    found = {}
    for pool in wanted:
        if pool.name in names:
            vdevs = layout.parse_status(execute(["zpool", "status", "-P", pool.name]))
            found[pool.name] = [vdev._replace(devices=_named(vdev.devices, pool)) for vdev in vdevs]
    if len(found) == len(wanted):
        return found, []
    try:
        return found, layout.parse_importable(execute(["zpool", "import"]))
    except CommandError as exc:
        if "no pools available" not in exc.stderr:
            raise
        return found, []


def _named(paths: t.Iterable[str], pool: layout.Wanted) -> tuple[str, ...]:
    """The paths as `pool` says them, where it means the same device: ZFS makes partitions of its own on a whole disk."""
    ours = {os.path.realpath(path): path for vdev in pool.vdevs for path in vdev.devices}
    found = []
    for path in paths:
        real = os.path.realpath(path)
        found.append(ours.get(real) or ours.get(_disk_of(real)) or path)
    return tuple(found)


def _disk_of(real: str, sys_block: str = "/sys/class/block") -> str:
    """/dev/sdb1 -> /dev/sdb; what is no partition stays."""
    entry = f"{sys_block}/{os.path.basename(real)}"
    if not os.path.exists(f"{entry}/partition"):
        return real
    return f"/dev/{os.path.basename(os.path.dirname(os.path.realpath(entry)))}"


def _values(pool: layout.Wanted, execute: Run) -> dict[str, set[str]]:
    """Each property twice: a size may be described as `1M` or as 1048576."""
    texts = []
    for words, names in ((["zpool", "get"], pool.properties), (["zfs", "get"], pool.filesystem_properties)):
        for flags in ("-H", "-Hp") if names else ():
            texts.append(execute([*words, flags, "-o", "property,value", ",".join(names), pool.name]))
    return layout.parse_values(*texts)


def device(path: str, execute: Run = run) -> layout.Device:
    """Looked at in three ways: what it says of itself, what is made of it, and whether somebody has it open for himself."""
    real = os.path.realpath(path)
    try:
        if not stat.S_ISBLK(os.stat(real).st_mode):
            return layout.Device("")
    except OSError:
        return layout.Device("")
    columns = ["--json", "--paths", "--output", "NAME,TYPE,RO,MOUNTPOINT"]
    found = layout.holds(execute(["lsblk", *columns, real]), execute(["wipefs", "--no-act", "--json", real]))
    if not found and _is_taken(real):
        found = ["is in use"]
    return layout.Device(real, tuple(found))


def _is_taken(real: str) -> bool:
    """open(2): O_EXCL of a block device fails while it is mounted, or a part of something."""
    try:
        os.close(os.open(real, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as exc:
        if exc.errno != errno.EBUSY:
            raise HvmError(f"{real} cannot be opened: {exc.strerror}", "Look at it: dmesg, lsblk.") from exc
        return True
    return False
