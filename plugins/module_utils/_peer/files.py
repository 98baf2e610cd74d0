# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""A file's content over a connection of its own: VM disks' overlays, of megabytes to gigabytes.

What gives and what takes is the same on both hosts. Holes stay holes, a block of zeros becomes one. The digest is of the data
with their places, as they went over: of what lies on the disks it proves no more than that it was written so.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import struct
import threading
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import sync_directory
from ansible_collections.hvm.pair.plugins.module_utils._peer.wire import AT, DATA, END, FILE, KEPT, NO_SENSE, PIECE, Cut, Wire

if t.TYPE_CHECKING:
    from ansible_collections.hvm.pair.plugins.module_utils._peer.flow import Limiter, Meter

PARTIAL = ".partial"
#: A file that was written within so many seconds is read from end to end: ZFS before 2.1.14 and 2.2.2 may say that data is a hole
#: which it has not yet written to the disks (github.com/openzfs/zfs issue 15526; Debian 12 began with 2.1.11). It writes at the
#: latest after zfs_txg_timeout, which is 5 s.
FRESH = 60.0
_PLACE = struct.Struct("!Q")
_ZEROS = bytes(PIECE)


class Done(t.NamedTuple):
    """:ivar size: of the file, in bytes; `sent`: bytes of data that went over, without holes; `sha256`: of these, with places."""

    size: int
    sent: int
    sha256: str


def is_fresh(mtime: float, now: float) -> bool:
    """A time that is still to come says nothing: so it is."""
    return mtime > now - FRESH


def extents(fd: int, size: int) -> list[tuple[int, int]]:
    """(place, length) of what is not a hole; of a filesystem that knows of none, all (lseek(2))."""
    found = []
    at = 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:
                break  # only a hole is left
            if exc.errno == errno.EINVAL:
                return [(0, size)]
            raise
        end = min(os.lseek(fd, at, os.SEEK_HOLE), size)
        if end <= at:
            break  # it has become shorter: who reads it will see
        found.append((at, end - at))
        at = end
    return found


def give(wire: Wire, path: str, meter: Meter | None = None, limiter: Limiter | None = None) -> Done:
    """Send the file; it is on the other host's disk when this returns.

    :raises HvmError: when it cannot be read, or was changed meanwhile.
    """
    import hashlib  # it loads OpenSSL

    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            raise HvmError(f"{path} is not a file", "")
        size = before.st_size
        parts = [(0, size)] if is_fresh(before.st_mtime, time.time()) else extents(fd, size)
        data = sum(length for dummy, length in parts)
        if meter:
            meter.expected = data
        wire.send(FILE, json.dumps({"size": size, "data": data}).encode())
        digest, sent, expected_at = hashlib.sha256(), 0, 0
        buffer = memoryview(bytearray(PIECE))
        for place, length in parts:
            at, end = place, place + length
            while at < end:
                piece = buffer[: min(limiter.piece(PIECE) if limiter else PIECE, end - at)]
                count = os.preadv(fd, [piece], at)
                if not count:
                    raise _changed(path)
                piece = piece[:count]
                if piece[0] or bytes(piece) != _ZEROS[:count]:
                    _pause(limiter, count)
                    if at != expected_at:
                        where = _PLACE.pack(at)
                        wire.send(AT, where)
                        digest.update(where)
                    wire.send(DATA, piece)
                    digest.update(piece)
                    sent += count
                    expected_at = at + count
                at += count
                if meter:
                    meter.add(count)
        after = os.fstat(fd)
        if (after.st_size, after.st_mtime_ns) != (size, before.st_mtime_ns):
            raise _changed(path)
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    finally:
        os.close(fd)
    done = Done(size, sent, digest.hexdigest())
    wire.send(END, _words(done))
    if wire.receive()[0] != KEPT:
        raise Cut(NO_SENSE)
    return done


def take(wire: Wire, path: str, meter: Meter | None = None, limiter: Limiter | None = None) -> Done:
    """Write what comes to `path`, in place of what is there. That stays as it is until all has come and is on the disk.

    :raises HvmError: when it cannot be written, or is not what was sent; nothing of it is left then.
    """
    partial = path + PARTIAL
    fd = _claim(partial)
    try:
        done = _take(wire, fd, path, meter, limiter)
        _meanwhile(wire, lambda: _flush(fd, done.size))
        _meanwhile(wire, lambda: _name(path))
    except BaseException as exc:
        _drop(partial)
        if isinstance(exc, OSError):
            raise _unwritable(path, exc) from exc
        raise
    finally:
        os.close(fd)
    wire.send(KEPT)
    return done


def _take(wire: Wire, fd: int, path: str, meter: Meter | None, limiter: Limiter | None) -> Done:
    import hashlib

    kind, payload = wire.receive()
    if kind != FILE:
        raise Cut(NO_SENSE)
    size, data = _known(payload)
    digest, sent, at = hashlib.sha256(), 0, 0
    if meter:
        meter.expected = data  # no more than that: zeros do not go over
    while True:
        kind, payload = wire.receive()
        if kind == AT:
            if len(payload) != _PLACE.size:
                raise Cut(NO_SENSE)
            (at,) = _PLACE.unpack(payload)
            digest.update(payload)
        elif kind == DATA:
            if at + len(payload) > size:
                raise HvmError(f"more came of {path} than it is long", "")
            _pause(limiter, len(payload))
            digest.update(payload)
            sent += len(payload)
            if meter:
                meter.add(len(payload))
            while payload:
                count = os.pwritev(fd, [payload], at)
                at, payload = at + count, payload[count:]
        elif kind == END:
            break
        else:
            raise Cut(NO_SENSE)
    done = Done(size, sent, digest.hexdigest())
    if bytes(payload) != _words(done):
        raise HvmError(f"what came of {path} is not what was sent", "Run this again.")
    return done


def _words(done: Done) -> bytes:
    return json.dumps(done._asdict()).encode()


def _known(payload: memoryview) -> tuple[int, int]:
    try:
        known = json.loads(bytes(payload))
        size, data = int(known["size"]), int(known["data"])
    except (ValueError, KeyError, TypeError) as exc:
        raise Cut(NO_SENSE) from exc
    if size < 0:
        raise Cut(NO_SENSE)
    return size, data


def _flush(fd: int, size: int) -> None:
    os.ftruncate(fd, size)
    os.fsync(fd)


def _name(path: str) -> None:
    os.replace(path + PARTIAL, path)
    sync_directory(os.path.dirname(path) or ".")


def _meanwhile(wire: Wire, work: t.Callable[[], None]) -> None:
    """Gigabytes go to a slow disk for longer than anybody would wait for a sign of life.

    :raises Cut: also when that is done, and nobody waits for it any more: what he did instead is not to be undone by it.
    """
    failed: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as exc:  # noqa: BLE001  for whoever waits
            failed.append(exc)

    thread = threading.Thread(target=run, name="fsync", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            wire.idle(0)
            thread.join(min(1.0, wire.ping_every))
    finally:
        thread.join()  # the descriptor is its own until then
    if failed:
        raise failed[0]
    for dummy in range(2):  # what has come, and then its end
        wire.idle(0)


def _claim(partial: str) -> int:
    """The file to write into, empty, and of nobody else. What is left of an earlier one is overwritten."""
    while True:
        try:
            fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise _unwritable(partial, exc) from exc
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise HvmError(f"{partial} is not a file", "Remove it.")
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(fd, partial):
                os.fchmod(fd, 0o600)
                os.ftruncate(fd, 0)
                return fd
        except BlockingIOError as exc:
            os.close(fd)
            raise HvmError(f"{partial} is being written by another process", "Wait until that has ended.") from exc
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # between open and lock the other one has ended, and it got its name


def _is(fd: int, path: str) -> bool:
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _drop(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:  # the failure before is what counts; the next one overwrites it
        pass


def _pause(limiter: Limiter | None, count: int) -> None:
    if limiter:
        time.sleep(limiter.delay(count))


def _changed(path: str) -> HvmError:
    return HvmError(f"{path} was changed while it was sent", "See who writes it: nobody may while it is copied.")


def _unreadable(path: str, exc: OSError) -> HvmError:
    return HvmError(f"{path} cannot be read: {exc.strerror or exc}", "")


def _unwritable(path: str, exc: OSError) -> HvmError:
    directory = os.path.dirname(path) or "."
    return HvmError(
        f"{path} cannot be written: {exc.strerror or exc}",
        f"See that the directory {directory} exists and that its filesystem can be written and has room.",
    )
