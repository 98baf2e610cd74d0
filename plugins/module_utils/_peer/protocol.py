# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What goes over the one connection between the hosts.

Towards the agent: frames, so that requests and the streams of several datasets share one ssh connection. A frame is one
byte of kind, 4 bytes of stream number, 4 bytes of length (network order), then the payload: `J` a JSON request, `D` data
of a stream, `E` its end, `X` its end before its time, `P` nothing: only that somebody is still there. Data of the stream SINK are
counted and dropped. Back: one JSON object per line, `{"id": request, "result" | "error" | "event": ...}`.
"""

from __future__ import annotations

import errno
import os
import struct
import typing as t

PROTOCOL = 2
HEADER = struct.Struct("!cII")
#: The number of a stream that nobody takes: what the link carries is measured with it.
SINK = 0xFFFFFFFF
#: Seconds: how often the asking side says that it is there, and after how long without a word the agent takes it for gone. A link
#: that was cut says nothing, and TCP alone notices after hours; until then the agent would hold its lock.
PING_EVERY = 10.0
SILENCE = 45.0
#: Bytes moved at once; a pipe of this size is asked for.
CHUNK = 1 << 20

#: Waits until a descriptor can be read; False when nothing will come any more.
Ready = t.Callable[[], bool]


def _always() -> bool:
    return True


def read_exact(fd: int, count: int, ready: Ready = _always) -> bytes:
    """`count` bytes, or fewer at the end of the stream."""
    parts = []
    while count and ready():
        part = os.read(fd, min(count, CHUNK))
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def write_all(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def move(source: int, target: int, count: int, ready: Ready = _always) -> int:
    """Move `count` bytes from one descriptor to another, inside the kernel where it can.

    :param ready: asked of the source each time.
    :return: what was moved; less than `count` when the source ended or nobody reads the target any more.
    """
    left = count
    while left and ready():
        try:
            moved = os.splice(source, target, left)
        except BrokenPipeError:
            break
        except OSError as exc:
            if exc.errno != errno.EINVAL:  # neither end is a pipe
                raise
            data = os.read(source, min(left, CHUNK))
            write_all(target, data)
            moved = len(data)
        if not moved:
            break
        left -= moved
    return count - left
