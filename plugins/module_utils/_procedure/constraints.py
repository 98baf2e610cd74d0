# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""`hvm constraint show`, `set`, `unset`, on this host."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint, constraint_file
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig

#: (what is stored, today) -> what is to be stored, and a sentence.
Edit = t.Callable[[constraint.Constraints, datetime.date], tuple[constraint.Constraints, str]]


def query(config: PairConfig) -> dict[str, t.Any]:
    """What is set; nothing is written."""
    return _work(config, None, check=True)


def put(
    config: PairConfig,
    host: str,
    start: str,
    end: str | None = None,
    check: bool = False,
    moment: datetime.datetime | None = None,
) -> dict[str, t.Any]:
    """`hvm constraint set HOST START [END]`.

    :param moment: when it is set, as the operator says; "today" is its day then.
    :return: ``{changed, sentence, in_force, today, constraints, text, diff, warnings}``, as the module `hvm_constraint` has it.
    :raises HvmError: when it is none, or overlaps another one.
    """
    hosts = [one.name for one in config.hosts]

    def edit(stored: constraint.Constraints, today: datetime.date) -> tuple[constraint.Constraints, str]:
        said = constraint.local_day(moment) if moment else today
        return constraint.add(stored, constraint.new(host, start, end, hosts, today, moment or _now(), said), today)

    return _work(config, edit, check)


def take_out(
    config: PairConfig,
    host: str | None = None,
    start: str | None = None,
    end: str | None = None,
    check: bool = False,
    moment: datetime.datetime | None = None,
) -> dict[str, t.Any]:
    """`hvm constraint unset`: those that match everything that is given. :return: as `put`."""

    def edit(stored: constraint.Constraints, today: datetime.date) -> tuple[constraint.Constraints, str]:
        return constraint.remove(stored, today, host, start, end, constraint.local_day(moment) if moment else today)

    return _work(config, edit, check)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _work(config: PairConfig, edit: Edit | None, check: bool) -> dict[str, t.Any]:
    today = constraint_file.today()
    stored = constraint_file.load()
    before = after = constraint.current(stored, today)
    sentence = ""
    if edit:
        after, sentence = edit(stored, today)
        if after != before and not check:
            constraint_file.save(after)
    holding, words = constraint.in_force(after, today)
    return {
        "changed": after != before,
        "sentence": sentence or words,
        "in_force": constraint.record(holding) if holding else {},
        "today": words,
        "constraints": [constraint.record(one) for one in after],
        "text": constraint.show(after, today, [one.name for one in config.hosts]),
        "diff": {"before": _lines(before), "after": _lines(after)},
        "warnings": [],
    }


def _lines(constraints: constraint.Constraints) -> str:
    return "".join(f"{one.sentence()}\n" for one in constraints)
