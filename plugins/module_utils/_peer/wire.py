# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""One ssh connection as the relay uses it: frames in both directions, and nobody who waits without an end.

A frame is one byte of kind, 4 bytes of length (network order), the payload. Why frames, for two streams of bytes that are only
passed on: the end of one direction must come over while the other one goes on, and whether ssh passes that on is a matter of its
version and of how its server was built; a direction that ended is something else than a link that was cut; and a link that was
cut says nothing, so both ends say now and then that they are there (`PING`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import struct
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._peer.protocol import PING_EVERY, SILENCE

HEADER = struct.Struct("!cI")
#: Bytes of a frame of data at most, and what is read at once: about what a unix socket holds (net.core.wmem_default).
PIECE = 1 << 18
#: Bytes of any other frame, and of the lines before the first.
SMALL = 1 << 16
#: Seconds until the other end has taken what it is told outside of a relayed stream, where it has nothing to wait for.
STALL = 120.0

#: Data; its end in this direction; nobody wants any more of yours; only that somebody is there; why this ends here (JSON).
DATA, END, STOP, PING, FAILED = b"D", b"E", b"S", b"P", b"X"
#: To the far end: the socket is wanted now. Back: it is connected.
OPEN = b"O"
#: Of a file: what is known of it before (JSON), where the data go that follow (8 bytes), it is there and on disk (JSON).
FILE, AT, KEPT = b"F", b"A", b"K"
KINDS = frozenset((DATA, END, STOP, PING, FAILED, OPEN, FILE, AT, KEPT))

NO_SENSE = "what it says cannot be understood"

_GONE = frozenset((errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN))


class Cut(HvmError):
    """The connection ended before its time."""


class Ended(Cut):
    """There was nothing more to read, or nobody to write to: why is known to whoever knows the process there."""

    def __init__(self, what: str = "the connection ended") -> None:
        super().__init__(what)


class Told(HvmError):
    """What the other end said that it refuses or failed at."""


def told(error: HvmError) -> dict[str, str]:
    return {"what": error.what, "remedy": error.remedy}


class Frames:
    """What came, cut into frames, however it was cut on the way. Data are passed on as they come, in parts."""

    def __init__(self) -> None:
        self._rest = memoryview(b"")
        self._begun = bytearray()  # a frame that is not all there
        self._left = 0  # of a frame of data

    def feed(self, view: memoryview) -> None:
        """Only when `next` had nothing any more: what it gave is part of the view before."""
        self._rest = view

    def unread(self) -> bytes:
        """What was fed and is not looked at yet."""
        rest, self._rest = bytes(self._rest), memoryview(b"")
        return rest

    def next(self) -> tuple[bytes, memoryview] | None:
        """(kind, payload), or None when there is no more.

        :raises Cut: for what is no frame.
        """
        while self._rest:
            if self._left:
                return DATA, self._some()
            wanted = HEADER.size
            if len(self._begun) >= HEADER.size:
                wanted += HEADER.unpack_from(self._begun)[1]
            part = self._rest[: wanted - len(self._begun)]
            self._rest = self._rest[len(part) :]
            self._begun += part
            if len(self._begun) < HEADER.size:
                return None
            kind, length = HEADER.unpack_from(self._begun)
            if kind not in KINDS or (kind != DATA and length > SMALL):
                raise Cut(NO_SENSE, "Run the playbook hvm.pair.install on both hosts.")
            if kind == DATA:
                self._left = length
                self._begun.clear()
            elif len(self._begun) == HEADER.size + length:
                payload = bytes(self._begun[HEADER.size :])
                self._begun.clear()
                return kind, memoryview(payload)
        return None

    def _some(self) -> memoryview:
        part = self._rest[: self._left]
        self._rest = self._rest[len(part) :]
        self._left -= len(part)
        return part


class Wire:
    """Two descriptors that are not waited for; whoever has nothing else to do meanwhile waits by `send` and `receive`.

    :param ping_every: seconds between two signs of life, `silence`: without one, after which the other end is gone.
    :ivar heard: when something came (time.monotonic), `said`: when something went.
    """

    def __init__(self, source: int, target: int, ping_every: float = PING_EVERY, silence: float = SILENCE) -> None:
        self.source, self.target = source, target
        self.ping_every, self.silence = ping_every, silence
        os.set_blocking(source, False)
        os.set_blocking(target, False)
        self._buffer = bytearray(PIECE)
        self._frames = Frames()
        self.heard = self.said = time.monotonic()

    def next(self) -> tuple[bytes, memoryview] | None:
        """The next frame of what was read; the payload is good until the next `read`.

        :raises HvmError: what the other end failed at, when that is what it says.
        """
        frame = self._frames.next()
        if frame is not None and frame[0] == FAILED:
            raise _failed(frame[1])
        return frame

    def read(self) -> bool:
        """Take what has come, when `next` has nothing any more. :return: False at the end."""
        try:
            count = os.readv(self.source, [self._buffer])
        except BlockingIOError:
            return True
        except OSError as exc:
            if exc.errno not in _GONE:
                raise
            count = 0
        self.heard = time.monotonic()
        self._frames.feed(memoryview(self._buffer)[:count])
        return count > 0

    def write(self, parts: t.Sequence[bytes | memoryview]) -> int:
        """Bytes of it that went; 0 when nothing can go now.

        :raises HvmError: when nobody takes any more, with the reason when one has come.
        """
        try:
            count = os.writev(self.target, parts)
        except BlockingIOError:
            return 0
        except OSError as exc:
            if exc.errno not in _GONE:
                raise
            raise self._last_words() from exc
        self.said = time.monotonic()
        return count

    def _last_words(self) -> HvmError:
        """Why nobody reads any more may have come already, or be on its way."""
        deadline = time.monotonic() + 2
        try:
            while True:
                while self.next() is not None:
                    pass
                left = deadline - time.monotonic()
                if left <= 0 or not _wait(self.source, select.POLLIN, left) or not self.read():
                    break
        except HvmError as exc:
            return exc
        except OSError:
            pass
        return Ended("it takes nothing any more")

    # ---- for whoever only waits

    def send(self, kind: bytes, payload: bytes | memoryview = b"", patience: float = STALL) -> None:
        """:raises Cut: when it does not go, in `patience` seconds either."""
        self._all([HEADER.pack(kind, len(payload)), payload], patience)

    def _all(self, parts: list[bytes | memoryview], patience: float) -> None:
        views = [memoryview(part) for part in parts if part]
        deadline = time.monotonic() + patience
        while views:
            count = self.write(views)
            if count:
                deadline = time.monotonic() + patience
            elif not _wait(self.target, select.POLLOUT, deadline - time.monotonic()):
                raise Cut(f"it has taken nothing for {patience:.0f} s")
            while views and count >= len(views[0]):
                count -= len(views.pop(0))
            if count:
                views[0] = views[0][count:]

    def fail(self, error: HvmError) -> None:
        """Tell why this ends here."""
        self.send(FAILED, json.dumps(told(error)).encode())

    def receive(self, patience: float | None = None) -> tuple[bytes, memoryview]:
        """The next frame that is more than a sign of life.

        :param patience: seconds; None as long as there are such signs.
        :raises Cut: when it does not come.
        """
        began = time.monotonic()
        self.heard = max(self.heard, began)
        while True:
            frame = self.next()
            if frame is None:
                self.wait(None if patience is None else began + patience - time.monotonic())
                if patience is not None and time.monotonic() >= began + patience:
                    raise Cut(f"it has not answered within {patience:.0f} s")
            elif frame[0] != PING:
                return frame

    def ping(self) -> None:
        """Say that somebody is there, when nothing was said for long."""
        if time.monotonic() >= self.said + self.ping_every:
            self.send(PING, patience=self.silence)

    def wait(self, seconds: float | None) -> None:
        """Until something has come, or `seconds` are over; says and wants to hear that somebody is there.

        :raises Cut: at the end of the connection.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            now = time.monotonic()
            if now >= self.heard + self.silence:
                raise Cut(f"it has said nothing for {self.silence:.0f} s")
            self.ping()
            left = min(self.heard + self.silence, self.said + self.ping_every, *(() if until is None else (until,))) - now
            if _wait(self.source, select.POLLIN, max(left, 0)):
                if not self.read():
                    raise Ended()
                return
            if until is not None and time.monotonic() >= until:
                return

    def idle(self, seconds: float) -> None:
        """The same while nothing is expected but signs of life."""
        self.wait(seconds)
        while (frame := self.next()) is not None:
            if frame[0] != PING:
                raise Cut(NO_SENSE)

    # ---- the lines before the first frame

    def tell(self, line: dict[str, t.Any], patience: float = STALL) -> None:
        self._all([json.dumps(line).encode() + b"\n"], patience)

    def hear(self, patience: float) -> dict[str, t.Any]:
        """The first line that is an object in JSON; a login banner or the like is none.

        :raises Cut: when none comes within `patience` seconds.
        """
        deadline = time.monotonic() + patience
        came = b""
        while True:
            line, end, rest = came.partition(b"\n")
            if end:
                with contextlib.suppress(ValueError):
                    found = json.loads(line)
                    if isinstance(found, dict):
                        self._frames.feed(memoryview(rest))
                        return found
                came = rest
                continue
            if len(came) > SMALL:
                raise Cut(NO_SENSE)
            if not _wait(self.source, select.POLLIN, deadline - time.monotonic()):
                raise Cut(f"it has not answered within {patience:.0f} s")
            if not self.read():
                raise Ended()
            came += self._frames.unread()


def _failed(payload: memoryview) -> HvmError:
    try:
        return told_by(json.loads(bytes(payload)))
    except ValueError:
        return Cut("it failed, and did not say why")


def told_by(error: t.Any) -> HvmError:
    """The opposite of `told`."""
    try:
        return Told(str(error["what"]), str(error.get("remedy", "")))
    except (KeyError, TypeError, AttributeError):
        return Cut("it failed, and did not say why")


def _wait(fd: int, events: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, events)
    return bool(poll.poll(max(seconds, 0) * 1000))
