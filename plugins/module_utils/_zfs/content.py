# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What a snapshot holds, as one digest: the same on both hosts, or the replica is none.

A filesystem's snapshot is mounted read-only by itself; a volume's is read through a clone that lives for the time of the reading.
Neither touches the dataset, so a replica stays inert.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import stat
import tempfile
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import existing

CHUNK = 1 << 20
#: Clones for reading are called so, beside the pool's roots; one that a crash left is removed by the next run.
READING = "hvm-reading"

Said = t.Callable[[int], None]


def digest(dataset: str, snapshot: str, volume: bool, said: Said = lambda dummy: None) -> str:
    """SHA-256 of the names, kinds, modes, owners, sizes and contents below a snapshot, or of a volume's bytes.

    :param said: gets the bytes read so far, now and then.
    """
    if volume:
        with _clone(dataset, snapshot) as handle:
            try:
                return str(_file(handle, hashlib.sha256(), said).hexdigest())
            except OSError as exc:
                raise _unreadable(exc, dataset) from exc
    with mounted(f"{dataset}@{snapshot}") as path:
        return tree(path, said)


def is_readable(dataset: str) -> bool:
    """False for an encrypted dataset whose key is not loaded, as a raw replica's is."""
    return run(["zfs", "get", "-H", "-o", "value", "keystatus", dataset]).strip() != "unavailable"


def names_in(dataset: str, snapshot: str, directory: str = "") -> list[str]:
    """Names in a directory (relative to the dataset's mountpoint) as the snapshot has it; [] when it is not there."""
    with mounted(f"{dataset}@{snapshot}") as path:
        try:
            return sorted(os.listdir(os.path.join(path, directory)))
        except (FileNotFoundError, NotADirectoryError):
            return []


def texts_in(dataset: str, snapshot: str, directory: str, ending: str) -> dict[str, str]:
    """Names and texts of the files that end so, in a directory as in `names_in`; "" for one that cannot be read."""
    with mounted(f"{dataset}@{snapshot}") as path:
        found = {}
        for file in pathlib.Path(path, directory).glob(f"*{ending}"):
            try:
                found[file.name] = file.read_text(encoding="utf-8", errors="replace")
            except IsADirectoryError:
                continue
            except OSError:
                found[file.name] = ""
        return found


def tree(top: str, said: Said = lambda dummy: None) -> str:
    """The digest of a directory tree; times of access and change are not part of it, nor are extended attributes.

    :raises HvmError: when any of it cannot be read; what is left out is never taken for equal.
    """
    total = hashlib.sha256()
    done = 0
    start = os.fsencode(top)  # names as bytes: the two hosts may have other locales

    def add(path: bytes, info: os.stat_result, what: bytes | int = 0) -> None:
        # as a tuple, so that no name or target can look like the entry behind it
        total.update(repr((os.path.relpath(path, start), info.st_mode, info.st_uid, info.st_gid, what)).encode())

    def refuse(exc: OSError) -> t.NoReturn:
        raise exc

    def told(count: int) -> None:
        said(done + count)

    try:
        add(start, os.lstat(start))
        for directory, names, files in os.walk(start, onerror=refuse, followlinks=False):
            names.sort()
            for name in sorted([*names, *files]):
                path = os.path.join(directory, name)
                info = os.lstat(path)
                what: bytes | int = 0
                if stat.S_ISREG(info.st_mode):
                    what = _file(path, hashlib.sha256(), told).digest()
                    done += info.st_size
                elif stat.S_ISLNK(info.st_mode):
                    what = os.readlink(path)
                elif stat.S_ISBLK(info.st_mode) or stat.S_ISCHR(info.st_mode):
                    what = info.st_rdev
                add(path, info, what)
    except OSError as exc:
        raise _unreadable(exc, top) from exc
    return total.hexdigest()


def _unreadable(exc: OSError, path: str) -> HvmError:
    name = os.fsdecode(exc.filename) if isinstance(exc.filename, (str, bytes)) else path
    return HvmError(f"{name} cannot be read: {exc.strerror or exc}", "Look at 'zpool status -v' on that host.")


def _file(path: str | bytes | int, into: t.Any, said: Said) -> t.Any:
    done = 0
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0, closefd=not isinstance(path, int)) as handle:
        while count := handle.readinto(buffer):
            into.update(view[:count])
            done += count
            said(done)
    return into


@contextlib.contextmanager
def mounted(name: str) -> t.Iterator[str]:
    """A snapshot, or a dataset that is mounted nowhere, as it is now: at a directory of its own, read-only."""
    directory = tempfile.mkdtemp(prefix="hvm-reading-")
    try:
        # zfsutil: mount.zfs(8) mounts a dataset elsewhere than its mountpoint says only so
        run(["mount", "-t", "zfs", "-o", "ro" if "@" in name else "ro,zfsutil", name, directory])
        try:
            yield directory
        finally:
            run(["umount", directory])
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(directory)  # and nothing else: it may still be mounted


@contextlib.contextmanager
def _clone(dataset: str, snapshot: str) -> t.Iterator[int]:
    # whatever the set: the next run may be about another one, and has to find what a crash left
    name = f"{dataset.split('/', 1)[0]}/{READING}-{hashlib.sha256(dataset.encode()).hexdigest()[:12]}"
    if existing([name]):
        _drop(name)
    # volmode=dev: a device for us, and no look for partitions in it by the host
    run(["zfs", "clone", "-o", "readonly=on", "-o", "volmode=dev", f"{dataset}@{snapshot}", name])
    try:
        handle = _opened(f"/dev/zvol/{name}")
        try:
            yield handle
        finally:
            os.close(handle)
    finally:
        _drop(name)


def _opened(path: str, timeout: float = 60.0) -> int:
    """A descriptor of a device that has just been made: its link comes, goes and comes again; what is open stays."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            if time.monotonic() > deadline:
                raise HvmError(f"no device {path} after {timeout:.0f} s: {exc.strerror}", "Look at 'udevadm monitor'.") from exc
        time.sleep(0.05)


def _drop(name: str) -> None:
    for left in range(50, -1, -1):
        try:
            run(["zfs", "destroy", name])  # a clone without snapshots: without -r it takes nothing with it
        except HvmError:
            if not left:
                raise
            time.sleep(0.1)  # udev may still look at the device
        else:
            return
