# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Somebody wants this process to end: where that must not come in the midst of something."""

from __future__ import annotations

import contextlib
import signal
import typing as t

ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Remembered:
    """Such a signal is remembered, not raised. What is started meanwhile ends by one as always: handlers are not inherited."""

    def __init__(self) -> None:
        self.came = False
        self._before: dict[int, t.Any] = {}

    def __enter__(self) -> Remembered:
        for number in ENDS:
            with contextlib.suppress(ValueError):  # not in the main thread: then nothing comes here either
                self._before[number] = signal.signal(number, lambda *dummy: setattr(self, "came", True))
        return self

    def __exit__(self, *dummy: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
