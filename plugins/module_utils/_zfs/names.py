# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Names of snapshot sets: they tell their story in a plain `zfs list`.

``hvm_20261123T094512Z_PAIR_B``: UTC second, pair, and the mark of the consistency. `B` is the manual's mark.
"""

from __future__ import annotations

import datetime
import functools
import re
import typing as t

MARKS = {"state": "B", "frozen": "F", "quiesced": "Q", "crash": "C"}
CONSISTENCY = {mark: word for word, mark in MARKS.items()}
PREFIX = "hvm_"

_STAMP = re.compile(r"\d{8}T\d{6}Z\Z")
_SET = re.compile(r"hvm_(?P<stamp>\d{8}T\d{6}Z)_(?P<pair>[a-z0-9][a-z0-9-]*)_(?P<mark>[BFQC])\Z")
_FORMAT = "%Y%m%dT%H%M%SZ"


class SetName(t.NamedTuple):
    """`stamp` is the timestamp that the manual's rollback takes."""

    stamp: str
    pair: str
    mark: str

    def __str__(self) -> str:
        return f"{PREFIX}{self.stamp}_{self.pair}_{self.mark}"

    @property
    def consistency(self) -> str:
        return CONSISTENCY[self.mark]

    @property
    def time(self) -> datetime.datetime:
        return datetime.datetime.strptime(self.stamp, _FORMAT).replace(tzinfo=datetime.UTC)


@functools.lru_cache(maxsize=10000)  # a set's name is on every dataset
def parse(snapshot: str) -> SetName | None:
    """The set that a snapshot (the part behind the @) belongs to; None for anything that is not ours."""
    match = _SET.match(snapshot)
    return SetName(match["stamp"], match["pair"], match["mark"]) if match else None


def is_set_of(snapshot: str, pair: str) -> bool:
    """Whether a snapshot belongs to a set of this very pair."""
    parsed = parse(snapshot)
    return parsed is not None and parsed.pair == pair


def is_stamp(text: str) -> bool:
    """Whether it looks like the time in a set's name."""
    return _STAMP.match(text) is not None


def new_name(pair: str, consistency: str, now: datetime.datetime, existing: t.Iterable[str]) -> SetName:
    """A name that sorts behind every existing one, also when the clock has jumped back.

    :param existing: snapshot names (behind the @) that are there, ours or not.
    """
    moment = now.astimezone(datetime.UTC).replace(microsecond=0)
    newest = max((name.time for name in map(parse, existing) if name and name.pair == pair), default=None)
    if newest is not None and moment <= newest:
        moment = newest + datetime.timedelta(seconds=1)
    return SetName(moment.strftime(_FORMAT), pair, MARKS[consistency])
