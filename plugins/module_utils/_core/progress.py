# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Progress of anything that takes more than a few seconds: one line per step, into a file that a person or a plugin reads."""

from __future__ import annotations

import json
import os
import re
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError


class Progress:
    """Steps with their times.

    Each line of the file is a JSON object ``{"t": seconds since the start, "text": ..., facts}``. Losing the file must never
    fail the work, so errors of writing are dropped.
    """

    def __init__(self, path: str | None = None) -> None:
        self._start = time.monotonic()
        self.lines: list[dict[str, t.Any]] = []
        self._file: t.IO[str] | None = None
        if path:
            try:
                self._file = os.fdopen(
                    os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "a", encoding="utf-8"
                )
            except OSError:
                self._file = None

    def say(self, text: str, **facts: t.Any) -> None:
        """:param facts: the same as data, for whoever reads the file with a program."""
        line = {"t": round(time.monotonic() - self._start, 3), "text": text, **facts}
        self.lines.append(line)
        if self._file:
            try:
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()
            except OSError:
                self._file = None


class Stopwatch:
    """Named durations of one run, in seconds; `at` gives the time since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._last = self._start
        self.steps: list[dict[str, t.Any]] = []

    def now(self) -> float:
        return time.monotonic() - self._start

    def step(self, name: str) -> float:
        """End the step that ran until now, under this name."""
        now = time.monotonic()
        self.steps.append({"step": name, "at": round(self._last - self._start, 3), "seconds": round(now - self._last, 3)})
        seconds, self._last = now - self._last, now
        return seconds


_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def bytes_of(text: str) -> int:
    """20M is 20 MiB, as Ansible reads it.

    :raises HvmError: for anything else.
    """
    found = _RATE.fullmatch(text.strip())
    if not found:
        raise HvmError(f"rate: {text!r} is no number of bytes", "Write it as 20M; 0 is no limit.")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


def human(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
