# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Where the hosting constraints are kept: one file on each host, on no replicated dataset.

It has a lock of its own, held for the moment of a change only: a constraint is set while a backup runs, too, and on both hosts
(the lock of an operation is lent by the PASSIVE host to the ACTIVE one only).
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import STATE

PATH = f"{STATE}/constraint.json"


def read(path: str = PATH) -> constraint.Book:
    """What is stored on this host, with what is over; an empty book when there is no file.

    :raises HvmError: for a file that cannot be read.
    """
    text = read_text(path)
    if text is None:
        return constraint.Book()
    try:
        return constraint.parse(text)
    except HvmError as exc:
        raise HvmError(f"{path}: {exc.what}", exc.remedy) from exc


def load(path: str = PATH) -> constraint.Constraints:
    """Those that are set, with what is over."""
    return read(path).there


def save(book: constraint.Book, path: str = PATH) -> None:
    """Store exactly this. Readable for everyone: whoever asks for the status may see them."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    write_atomic(path, constraint.dump(book), 0o644)


@contextlib.contextmanager
def changing(path: str = PATH) -> t.Iterator[None]:
    """Nobody else changes the file between a `read` and a `save`."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(f"{path}.lock", "a", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def today() -> datetime.date:
    """The day it is on this host."""
    return constraint.local_day(datetime.datetime.now(datetime.UTC))


def current_sentence(path: str = PATH) -> str:
    """One line for the status; "" when no constraint holds or is to come. A file that cannot be read must not hide the rest."""
    try:
        there, day = load(path), today()
    except HvmError as exc:
        return str(exc)
    return constraint.in_force(there, day)[1] if constraint.current(there, day) else ""
