# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Where the hosting constraints are kept: one file on each host, on no replicated dataset."""

from __future__ import annotations

import datetime
import os

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import STATE

PATH = f"{STATE}/constraint.json"


def load(path: str = PATH) -> constraint.Constraints:
    """What is stored on this host, with what is over; nothing when there is no file.

    :raises HvmError: for a file that cannot be read.
    """
    text = read_text(path)
    if text is None:
        return ()
    try:
        return constraint.parse(text)
    except HvmError as exc:
        raise HvmError(f"{path}: {exc.what}", exc.remedy) from exc


def save(constraints: constraint.Constraints, path: str = PATH) -> None:
    """Store exactly these. Readable for everyone: whoever asks for the status may see them."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    write_atomic(path, constraint.dump(constraints), 0o644)


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
