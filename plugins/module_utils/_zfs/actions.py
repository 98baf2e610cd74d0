# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What changes a pool: thin, each one command."""

from __future__ import annotations

import concurrent.futures
import os
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import Inventory, is_volume, mountable, prop

#: Seconds for /dev/zvol links to appear after volmode changes (LXD #13656: 0.5 s was too little, 30 s is not).
DEVICE_TIMEOUT = 60.0


def pool_health(pools: t.Sequence[str]) -> dict[str, str]:
    """Health word of each pool; "missing" for one that is not imported."""
    found = {}
    for line in run(["zpool", "list", "-H", "-o", "name,health"]).splitlines():
        name, health = line.split("\t")
        found[name] = health
    return {pool: found.get(pool, "missing") for pool in pools}


def snapshot_set(inventory: Inventory, name: str, properties: dict[str, str]) -> None:
    """One snapshot of every dataset; atomic within each pool (zfs-snapshot(8))."""
    options = [word for key, value in properties.items() for word in ("-o", f"{key}={value}")]
    pools: dict[str, list[str]] = {}
    for dataset in inventory:
        pools.setdefault(dataset.split("/", 1)[0], []).append(f"{dataset}@{name}")
    commands = [["zfs", "snapshot", *options, *members] for members in pools.values()]
    with concurrent.futures.ThreadPoolExecutor(len(commands) or 1) as pool:
        list(pool.map(run, commands))


def destroy_snapshots(dataset: str, snapshots: t.Sequence[str]) -> None:
    """Snapshots only, by name; never recursive, never with clones."""
    if any("@" in name or "%" in name or "," in name for name in snapshots) or not snapshots:
        raise HvmError(f"{snapshots!r} are not snapshot names")
    run(["zfs", "destroy", f"{dataset}@{','.join(snapshots)}"])


def make_writable(roots: t.Sequence[str]) -> None:
    # volmode=dev: QEMU gets its block device, the host does not look for partitions in it
    run(["zfs", "set", "readonly=off", "volmode=dev", *roots])


def make_inert(roots: t.Sequence[str], inventory: Inventory) -> None:
    """Read-only and without devices, set at the roots; a child that says otherwise by itself inherits from now on."""
    for name, inert in (("readonly", "on"), ("volmode", "none")):
        stubborn = [
            dataset
            for dataset, entry in inventory.items()
            if dataset not in roots
            and entry["props"].get(name, ["-", "-"])[0] not in (inert, "-")
            and entry["props"][name][1] in ("local", "received")
        ]
        if stubborn:
            run(["zfs", "inherit", name, *stubborn])
    there = [root for root in roots if root in inventory]
    if there:
        run(["zfs", "set", "readonly=on", "volmode=none", *there])


def is_inert(roots: t.Sequence[str], inventory: Inventory) -> list[str]:
    """Why the datasets are not those of a PASSIVE host; empty when they are."""
    wrong = []
    for name, entry in inventory.items():
        if prop(entry, "mounted") == "yes":
            wrong.append(f"{name} is mounted")
        if prop(entry, "readonly") != "on":
            wrong.append(f"{name} is writable")
        if is_volume(entry) and prop(entry, "volmode") != "none":
            wrong.append(f"{name} has a device (volmode={prop(entry, 'volmode')})")
    return wrong


def mount_all(inventory: Inventory) -> list[str]:
    """Mount what the ACTIVE host mounts; returns the mountpoints that were not mounted before."""
    done = []
    for dataset, mountpoint in mountable(inventory).items():
        if prop(inventory[dataset], "mounted") != "yes":
            run(["zfs", "mount", dataset], remedy=f"See what is in the way at {mountpoint}.")
            done.append(mountpoint)
    return done


def unmount_all(inventory: Inventory, attempts: int = 20) -> None:
    """Unmount the same, innermost first; something may let go a moment later, so it is tried for a few seconds."""
    for dataset, mountpoint in reversed(mountable(inventory).items()):
        for attempt in range(attempts):
            if not os.path.ismount(mountpoint):
                break
            try:
                run(["zfs", "unmount", dataset])
            except CommandError as exc:
                if attempt + 1 == attempts or "busy" not in exc.stderr:
                    users = ", ".join(users_of([mountpoint]).get(mountpoint, [])) or "something that cannot be seen"
                    raise HvmError(
                        f"{mountpoint} ({dataset}) cannot be unmounted: it is used by {users}", "End that, then try again."
                    ) from exc
                time.sleep(0.2)


def users_of(mountpoints: t.Sequence[str]) -> dict[str, list[str]]:
    """Processes with their working directory, root or an open file below each mountpoint, as 'name (pid)'."""
    found: dict[str, list[str]] = {}
    prefixes = [(point, point.rstrip("/") + "/") for point in mountpoints]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        paths = [f"/proc/{pid}/cwd", f"/proc/{pid}/root"]
        try:
            paths += [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd")]
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as handle:
                comm = handle.read().strip()
        except OSError:
            continue
        for path in paths:
            try:
                target = os.readlink(path)
            except OSError:
                continue
            for point, prefix in prefixes:
                if target == point or target.startswith(prefix):
                    label = f"{comm} ({pid})"
                    if label not in found.setdefault(point, []):
                        found[point].append(label)
    return found


def wait_devices(inventory: Inventory, timeout: float = DEVICE_TIMEOUT) -> None:
    """Wait until every zvol has its device."""
    waiting = [name for name, entry in inventory.items() if is_volume(entry)]
    deadline = time.monotonic() + timeout
    while waiting:
        waiting = [name for name in waiting if not os.path.exists(f"/dev/zvol/{name}")]
        if waiting and time.monotonic() > deadline:
            raise HvmError(
                f"no device for {', '.join(waiting)} after {timeout:.0f} s", "Look at 'udevadm monitor' and /dev/zvol."
            )
        if waiting:
            time.sleep(0.05)


def set_properties(dataset: str, properties: dict[str, str]) -> None:
    run(["zfs", "set", *(f"{name}={value}" for name, value in properties.items()), dataset])


def abort_receive(dataset: str) -> None:
    """Drop a half-received stream: it is a copy of what the sender still has."""
    run(["zfs", "receive", "-A", dataset])


def send_command(dataset: str, base: str | None, snapshot: str, raw: bool) -> list[str]:
    """`-L -c -e` always the same: toggling -L between increments once zeroed files (OpenZFS #6224). -I keeps all in between."""
    flags = ["-L", "-w"] if raw else ["-L", "-c", "-e"]
    return ["zfs", "send", *flags, *(["-I", f"@{base}"] if base else []), f"{dataset}@{snapshot}"]


def receive_command(dataset: str, new: bool, volume: bool, root: bool) -> list[str]:
    """Not mounted, resumable, never forced. A new root is made inert as it is made; what is below inherits that."""
    options = ["-u", "-s"]
    if new and not volume:
        options += ["-o", "canmount=noauto"]
    if new and root:
        options += ["-o", "readonly=on", "-o", "volmode=none", "-o", "mountpoint=none"]
    return ["zfs", "receive", *options, dataset]
