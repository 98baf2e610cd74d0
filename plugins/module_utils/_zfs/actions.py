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
from ansible_collections.hvm.pair.plugins.module_utils._core.mounts import MOUNTS, topmost, zfs_mounts
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import Inventory, existing, is_volume, mountable, prop
from ansible_collections.hvm.pair.plugins.module_utils._zfs.plan import Step, Token
from ansible_collections.hvm.pair.plugins.module_utils._zfs.rollback import KEPT, KEPT_BY, KEPT_WAS

#: Seconds for /dev/zvol links to appear after volmode changes (LXD #13656: 0.5 s was too little, 30 s is not).
DEVICE_TIMEOUT = 60.0


def snapshot_set(datasets: t.Iterable[str], name: str, properties: dict[str, str]) -> None:
    """One snapshot of every dataset; atomic within each pool (zfs-snapshot(8)).

    :raises CommandError: with what the other pools have got by now as its detail ``half``: each ``dataset@name`` that this call
        has made. Who destroys them chooses when (`checkpoint.drop_half`).
    """
    options = [word for key, value in properties.items() for word in ("-o", f"{key}={value}")]
    pools: dict[str, list[str]] = {}
    for dataset in datasets:
        pools.setdefault(dataset.split("/", 1)[0], []).append(f"{dataset}@{name}")
    with concurrent.futures.ThreadPoolExecutor(len(pools) or 1) as pool:
        tasks = [pool.submit(run, ["zfs", "snapshot", *options, *members]) for members in pools.values()]
    failed = [exc for task in tasks if (exc := task.exception())]
    if not failed:
        return
    if isinstance(failed[0], HvmError):
        made = [one for task, members in zip(tasks, pools.values(), strict=True) if not task.exception() for one in members]
        failed[0].details["half"] = made
    raise failed[0]


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


def mount_all(inventory: Inventory) -> list[str]:
    """Mount what the ACTIVE host mounts; returns the mountpoints that were not mounted before."""
    done = []
    for dataset, mountpoint in mountable(inventory).items():
        if prop(inventory[dataset], "mounted") != "yes":
            run(["zfs", "mount", dataset], remedy=f"See what is in the way at {mountpoint}.")
            done.append(mountpoint)
    return done


def unmount_all(inventory: Inventory, attempts: int = 20) -> None:
    """Unmount the same, and what ZFS itself or somebody else has mounted of the datasets, innermost first.

    Something may let go a moment later, so it is tried for a few seconds.
    """
    ours = mountable(inventory).items()
    points = [*reversed(mounted_elsewhere(inventory)), *ours]  # at the same place the last one first
    for dataset, mountpoint in sorted(points, key=lambda mount: (mount[1].count("/"), mount[1]), reverse=True):
        # ZFS refuses to unmount what it would not mount (mountpoint=legacy)
        made = (dataset, mountpoint) in ours
        command = ["zfs", "unmount", dataset] if made else ["umount", mountpoint]
        for attempt in range(attempts):
            if not (os.path.ismount(mountpoint) if made else (dataset, mountpoint) in zfs_mounts()):
                break
            if not made and (over := topmost(mountpoint)) != dataset:
                raise HvmError(
                    f"{mountpoint} ({dataset}) cannot be unmounted: {over} is mounted over it", "Unmount that, then try again."
                )
            try:
                run(command)
            except CommandError as exc:
                if attempt + 1 == attempts or "busy" not in exc.stderr:
                    users = ", ".join(users_of([mountpoint]).get(mountpoint, [])) or "something that cannot be seen"
                    raise HvmError(
                        f"{mountpoint} ({dataset}) cannot be unmounted: it is used by {users}", "End that, then try again."
                    ) from exc
                time.sleep(0.2)


def mounted_elsewhere(inventory: Inventory) -> list[tuple[str, str]]:
    """(dataset, where) of every mount of the datasets that `mount_all` does not make: bind mounts, and what else others mount."""
    ours = mountable(inventory)
    return [
        (dataset, point)
        for dataset, point in zfs_mounts()
        # the kernel tells of a mountpoint without its symlinks
        if dataset in inventory and not (dataset in ours and point in (ours[dataset], os.path.realpath(ours[dataset])))
    ]


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


def send_command(step: Step) -> list[str]:
    """`-L -c -e` always the same: toggling -L between increments once zeroed files (OpenZFS #6224). -I keeps all in between.

    From a bookmark there is only -i (zfs-send(8)); a token holds its flags itself.
    """
    if step.token:
        return ["zfs", "send", "-t", step.token]
    flags = ["-L", "-w"] if step.raw else ["-L", "-c", "-e"]
    base: list[str] = []
    if step.base:
        base = ["-i", f"{step.dataset}{step.base}"] if step.base.startswith("#") else ["-I", f"@{step.base}"]
    return ["zfs", "send", *flags, *base, f"{step.dataset}@{step.snapshot}"]


def receive_command(dataset: str, new: bool, volume: bool, root: bool) -> list[str]:
    """Not mounted, resumable, never forced. A new root is made inert as it is made; what is below inherits that."""
    options = ["-u", "-s"]
    if new and not volume:
        options += ["-o", "canmount=noauto"]
    if new and root:
        options += ["-o", "readonly=on", "-o", "volmode=none"]
        if not volume:
            options += ["-o", "mountpoint=none"]
    return ["zfs", "receive", *options, dataset]


#: What zfs receive says (libzfs_sendrecv.c) -> what to do about it on the host {peer}
RECEIVE_REMEDIES = (
    (("out of space", "quota exceeded", "No space left"), "Free space on {peer} (hvm_zfs_prune), or raise the quota. {again}"),
    (
        ("has been modified",),
        (
            "If nobody needs what was written there, go back by hand (zfs rollback to its newest snapshot). "
            "To have it sent anew, and the replica kept under another name: hvm_zfs_sync with set_aside [{dataset}]."
        ),
    ),
    (("is busy",), "Something on {peer} uses the dataset: look for a clone, a mount or another zfs receive there. {again}"),
    (("incomplete stream", "failed to read from stream"), "Run this again: it goes on where it was cut."),
    (("checksum mismatch", "invalid stream", "bad magic"), "The stream was damaged on its way. {again}"),
    (("feature", "unsupported"), "The pool on {peer} lacks a feature that this stream needs: see zpool upgrade there."),
)


def receive_remedy(said: str, peer: str, dataset: str) -> str:
    """What to do about a zfs receive that failed; empty for what nobody has thought of."""
    for words, remedy in RECEIVE_REMEDIES:
        if any(word in said for word in words):
            return remedy.format(peer=peer, dataset=dataset, again="Then run this again: it goes on where it was cut.")
    return ""


def estimate(step: Step) -> int | None:
    """Bytes of a stream as ZFS guesses them; None when it cannot say."""
    command = send_command(step)
    try:
        out = run([*command[:2], "-nP", *command[2:]])
    except CommandError:
        return None
    for line in out.splitlines():
        words = line.split("\t") if "\t" in line else line.split()
        if words[0] == "size" and words[-1].isdigit():
            return int(words[-1])
    return None


def parse_token(text: str) -> Token:
    """What `zfs send -nvt` prints of a resume token: one `key = value` per line; numbers as decimal text, names as they are."""
    found: Token = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition(" = ")
        if not equals:
            continue
        found[key] = str(int(value, 16)) if value.startswith("0x") else value
    return found


def decode_token(token: str) -> Token | None:
    """None for one that this host cannot read. It is printed also when its snapshots are gone."""
    try:
        out = run(["zfs", "send", "-nvt", token])
    except CommandError as exc:
        out = str(exc.details.get("stdout", ""))
    found = parse_token(out)
    return found if "toguid" in found else None


def find_set(datasets: t.Sequence[str], snapshot: str) -> dict[str, list[t.Any]]:
    """dataset -> ``[guid, createtxg]`` of `snapshot`, for those that have it."""
    names = [f"{dataset}@{snapshot}" for dataset in datasets]
    if not names:
        return {}
    try:
        out = run(["zfs", "list", "-Hp", "-t", "snapshot", "-o", "name,guid,createtxg", *names])
    except CommandError as exc:
        if "does not exist" not in exc.stderr:
            raise
        out = str(exc.details.get("stdout", ""))  # those that are there are listed all the same
    found = {}
    for line in out.splitlines():
        name, guid, createtxg = line.split("\t")
        found[name.split("@", 1)[0]] = [guid, int(createtxg)]
    return found


#: Snapshots that are asked for in one argument, which holds 128 KiB at most (Linux, MAX_ARG_STRLEN).
WRITTEN_AT_ONCE = 400


def written_since(datasets: t.Sequence[str], snapshots: t.Sequence[str]) -> dict[str, dict[str, int]]:
    """dataset -> snapshot -> bytes that were written to the dataset since; without what is not there."""
    found: dict[str, dict[str, int]] = {}
    for start in range(0, len(snapshots), WRITTEN_AT_ONCE):
        properties = ",".join(f"written@{name}" for name in snapshots[start : start + WRITTEN_AT_ONCE])
        try:
            out = run(["zfs", "get", "-Hp", "-o", "name,property,value", properties, *datasets])
        except CommandError as exc:
            if "does not exist" not in exc.stderr:
                raise
            out = str(exc.details.get("stdout", ""))  # the other datasets are told of all the same
        for line in out.splitlines():
            dataset, name, value = line.split("\t")
            if value.isdigit():  # "-" where there is no such snapshot
                found.setdefault(dataset, {})[name.removeprefix("written@")] = int(value)
    return found


def in_use(dataset: str, mounts: str = MOUNTS) -> str:
    """Why nothing may be received into a dataset now, as a sentence without its full stop; empty when it may.

    ZFS does not ask: it receives into a mounted filesystem and into an open volume without a word (OpenZFS #11482).
    """
    for source, point in zfs_mounts(mounts):
        if source == dataset:
            return f"{dataset} is mounted at {point}"
    return f"{dataset} has a device: /dev/zvol/{dataset}" if os.path.exists(f"/dev/zvol/{dataset}") else ""


def rename(old: str, new: str) -> None:
    """Never over something that exists (zfs-rename(8)); -u: nothing is mounted or unmounted by it."""
    run(["zfs", "rename", *([] if _is_volume(old) else ["-u"]), old, new])


def _is_volume(dataset: str) -> bool:
    return run(["zfs", "get", "-H", "-o", "value", "type", dataset]).strip() == "volume"


def set_aside(dataset: str, stamp: str, pair: str) -> str:
    """Rename a replica, with all below it, to a place outside of the roots where it stays, inert, until somebody drops it.

    :return: its name there: ``POOL/hvm-kept/DATASET-WITH-DASHES-STAMP``. What it was is in its properties (hvm_zfs_kept).
    """
    pool, rest = dataset.split("/", 1)
    parent = f"{pool}/hvm-kept"
    inert = ["-o", "mountpoint=none", "-o", "canmount=off", "-o", "readonly=on"]
    if not existing([parent]):
        run(["zfs", "create", *inert, parent])
    kept = f"{parent}/{rest.replace('/', '-')}-{stamp}"
    wanted = {"readonly": "on", "volmode": "none", KEPT: pair, KEPT_BY: "sync", KEPT_WAS: dataset}
    before = run(["zfs", "get", "-H", "-o", "property,value,source", ",".join(wanted), dataset])
    set_properties(dataset, wanted)  # before the rename: none is kept without them
    try:
        rename(dataset, kept)
    except CommandError:
        for name, value, source in (line.split("\t") for line in before.splitlines()):
            run(["zfs", "set", f"{name}={value}", dataset] if source == "local" else ["zfs", "inherit", name, dataset])
        raise
    return kept
