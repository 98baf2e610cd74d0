# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""How streams flow: how fast they may, how far they are, and which of them stands still."""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.progress import human

#: Seconds between two lines about one stream.
EVERY = 5.0
#: Seconds between two looks at all of them.
LOOK = 1.0


class Limiter:
    """A rate for all streams together. :param rate: bytes per second; 0 for none."""

    def __init__(self, rate: int = 0, clock: t.Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._free_at = clock()
        self._lock = threading.Lock()

    def piece(self, count: int) -> int:
        """How many of `count` bytes to send at once: a quarter of a second's, so that nobody looks as if it stood still."""
        return min(count, max(self._rate // 4, 1)) if self._rate else count

    def delay(self, count: int) -> float:
        """Seconds to wait before `count` bytes may go; the bytes are taken as gone."""
        if not self._rate:
            return 0.0
        with self._lock:
            now = self._clock()
            start = max(now, self._free_at)
            self._free_at = start + count / self._rate
            return start - now


class Meter:
    """One stream: what went, what is expected, since when it waits and for whom.

    :ivar expected: bytes, as ZFS estimates them; None while that is not known.
    """

    def __init__(self, name: str, clock: t.Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.bytes = 0
        self.expected: int | None = None
        self.failure = ""
        self._clock = clock
        self.started = self.moved_at = self.said_at = clock()
        self.waits_for = ""
        #: what `Watch` has done about it: asked for the estimate, said that it stands still
        self.asked = self.quiet = False
        self.abort: t.Callable[[], None] = lambda: None

    def add(self, count: int) -> None:
        self.bytes += count
        self.moved_at = self._clock()

    @property
    def idle(self) -> float:
        return self._clock() - self.moved_at

    def rate(self) -> float:
        return self.bytes / max(self._clock() - self.started, 0.001)

    def facts(self) -> dict[str, t.Any]:
        """As data: bytes, bytes per second, seconds left (None when unknown)."""
        left = None
        if self.expected is not None and self.bytes:
            left = round(max(self.expected - self.bytes, 0) / self.rate(), 1)
        return {"dataset": self.name, "bytes": self.bytes, "expected": self.expected, "rate": int(self.rate()), "left": left}

    def line(self) -> str:
        facts = self.facts()
        of = f" of {human(facts['expected'])}" if facts["expected"] else ""
        left = f", {duration(facts['left'])} left" if facts["left"] is not None else ""
        return f"{self.name}: {human(facts['bytes'])}{of}, {human(facts['rate'])}/s{left}"


class Watch:
    """Looks at the running streams: says how far they are, names one that stands still, ends it when it does so for too long.

    :param say: ``(text, **facts)``.
    :param estimate: name of the stream -> bytes or None; asked once for one that is worth a line.
    :param stalled: seconds without a byte until it is said; `give_up`: until the stream is ended.
    :param stop: asked whether to end all of them.
    :ivar failure: of the first stream that was ended.
    """

    def __init__(
        self,
        say: t.Callable[..., None],
        estimate: t.Callable[[str], int | None] = lambda dummy: None,
        stalled: float = 60.0,
        give_up: float = 900.0,
        stop: t.Callable[[], bool] = lambda: False,
    ) -> None:
        self._say, self._estimate, self._stalled, self._give_up, self._stop = say, estimate, stalled, give_up, stop
        self.failure = ""
        self._meters: dict[str, Meter] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self._end.set()
        self._thread.join(5)

    def begin(self, name: str) -> Meter:
        meter = Meter(name)
        with self._lock:
            self._meters[name] = meter
        return meter

    def end(self, meter: Meter) -> None:
        with self._lock:
            self._meters.pop(meter.name, None)

    def _run(self) -> None:
        while not self._end.wait(LOOK):
            with self._lock:
                meters = list(self._meters.values())
            for meter in meters:
                self.look(meter, time.monotonic())

    def look(self, meter: Meter, now: float) -> None:
        """One look at one stream; what `_run` does each second."""
        if meter.failure:
            return  # it is ending; a second end would be the connection's, for which it waits by now
        stops = False
        with contextlib.suppress(Exception):  # it cannot be read
            stops = bool(meter.waits_for) and self._stop()  # one that waits for nobody has nothing to end yet
        if stops or meter.idle > self._give_up:
            meter.failure = f"no byte of {meter.name} has moved for {meter.idle:.0f} s: {self._whom(meter)}"
            if stops:
                meter.failure = f"{meter.name} was stopped on its way"
            self.failure = self.failure or meter.failure
            meter.abort()
            return
        if meter.idle > self._stalled:
            if not meter.quiet:
                meter.quiet = True
                self._say(f"{meter.name} stands still for {meter.idle:.0f} s: {self._whom(meter)}", **meter.facts(), stalled=True)
            return
        if meter.quiet:
            meter.quiet = False
            self._say(f"{meter.name} goes on", **meter.facts())
        if now - meter.said_at < EVERY:
            return
        meter.said_at = now
        if not meter.asked and meter.expected is None:
            meter.asked = True
            meter.expected = self._estimate(meter.name)
        self._say(meter.line(), **meter.facts())

    @staticmethod
    def _whom(meter: Meter) -> str:
        return f"it waits for {meter.waits_for}" if meter.waits_for else "it has not begun"


def duration(seconds: float) -> str:
    """For people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
