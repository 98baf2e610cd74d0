# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From times to figures, and from figures to the text that is kept. No I/O."""

from __future__ import annotations

import dataclasses
import math
import statistics
import typing as t

#: tool -> seconds of each round
Times = t.Mapping[str, t.Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Figure:
    """:ivar least: whether `goal` is the least that `value` may be, not the most."""

    name: str
    value: float
    goal: float
    least: bool = True

    @property
    def ok(self) -> bool:
        return self.value >= self.goal if self.least else self.value <= self.goal

    def _parts(self) -> list[str]:
        goal = f"{'>=' if self.least else '<='}{_number(self.goal)}"
        return [self.name, _number(self.value), goal, "ok" if self.ok else "short"]

    def line(self) -> str:
        return " ".join(["figure", *self._parts()])

    def row(self) -> str:
        """The same, of a table in Markdown."""
        return f"| {' | '.join(self._parts())} |"


def _number(value: float) -> str:
    """A count as it is, a ratio with two digits; cut, not rounded, so that no 0.969 is shown as what 0.97 would be."""
    return str(value) if isinstance(value, int) else f"{math.floor(value * 100) / 100:.2f}"


def ratio(times: Times, peer: str, ours: str) -> float:
    """How many times as long the peer takes, by medians."""
    return statistics.median(times[peer]) / statistics.median(times[ours])


def order(names: t.Sequence[str], round_number: int) -> list[str]:
    """Every tool is first once in a while, so that none always runs behind the same other."""
    shift = round_number % len(names)
    return [*names[shift:], *names[:shift]]


def table(times: Times, ours: str, notes: t.Mapping[str, str]) -> list[str]:
    """Markdown: one row per tool, by median."""
    base = statistics.median(times[ours])
    lines = ["| tool | median s | least s | most s | times ours | |", "|---|---:|---:|---:|---:|---|"]
    for name in sorted(times, key=lambda one: statistics.median(times[one])):
        values = times[name]
        middle = statistics.median(values)
        lines.append(
            f"| {name} | {middle:.2f} | {min(values):.2f} | {max(values):.2f} | {middle / base:.2f} | {notes.get(name, '')} |"
        )
    return lines


def replaced(text: str, heading: str, section: str) -> str:
    """`text` with the section under `heading` (``## ...``) in place of the one that was there, else at the end.

    :param section: with its heading, without an empty line at the end.
    """
    parts = text.rstrip("\n").split("\n## ")
    title = heading.removeprefix("## ")
    body = section.removeprefix("## ")
    for number, part in enumerate(parts):
        if number and part.split("\n", 1)[0] == title:
            parts[number] = body
            break
    else:
        parts.append(body)
    return "\n## ".join(part.rstrip("\n") + "\n" for part in parts)
