# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Calls that may never come back, and how long one waits for them.

libvirt waits for a guest's agent as long as it takes, and some of its own limits are a minute; a VM must not wait so long.
"""

from __future__ import annotations

import threading
import time
import typing as t


class Call:
    """A function in a thread of its own. The thread is a daemon: one that never comes back does not keep the process."""

    def __init__(self, function: t.Callable[[], t.Any]) -> None:
        self._function = function
        self._ended = threading.Event()
        #: What it returned, and what it raised; for one that has ended.
        self.result: t.Any = None
        self.error: BaseException | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self.result = self._function()
        except BaseException as exc:  # noqa: BLE001  given to whoever waits
            self.error = exc
        self._ended.set()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within that time."""
        return self._ended.wait(max(seconds, 0.0))


def all_within(functions: t.Mapping[str, t.Callable[[], t.Any]], seconds: float, at_once: int) -> dict[str, Call | None]:
    """Call them all, `at_once` of them at a time, and wait no longer than `seconds` for all together.

    :return: by name; None for one that did not end, or was not begun.
    """
    deadline = time.monotonic() + seconds
    free = threading.Semaphore(at_once)
    calls: dict[str, Call] = {}

    def freeing(function: t.Callable[[], t.Any]) -> t.Callable[[], t.Any]:
        def run() -> t.Any:
            try:
                return function()
            finally:
                free.release()

        return run

    for name, function in functions.items():
        if not free.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            break
        calls[name] = Call(freeing(function))
    return {name: call if (call := calls.get(name)) and call.wait(deadline - time.monotonic()) else None for name in functions}
