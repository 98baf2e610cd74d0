# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""`hvm constraint show`, `set`, `unset`: on either host, known to both.

The two hosts meet (`_pair.constraint.meet`) before a constraint is judged and after it was written, and at each scheduled run.
One that does not answer is a warning: it is told when they meet again. No lock of the pair is held: whatever order they come in,
two books always come to the same.
"""

from __future__ import annotations

import contextlib
import datetime
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core import log
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint, constraint_file
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer

#: (book, today) -> the book afterwards, and a sentence.
Edit = t.Callable[[constraint.Book, datetime.date], tuple[constraint.Book, str]]


def query(config: PairConfig) -> dict[str, t.Any]:
    """What both hosts know; nothing is written, not even what the other one has told."""
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
    :raises HvmError: when it is none, or overlaps another one, which may have been set on the other host.
    """
    hosts = [one.name for one in config.hosts]

    def edit(book: constraint.Book, today: datetime.date) -> tuple[constraint.Book, str]:
        said = constraint.local_day(moment) if moment else today
        return constraint.put(book, constraint.new(host, start, end, hosts, today, moment or _now(), said), today)

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

    def edit(book: constraint.Book, today: datetime.date) -> tuple[constraint.Book, str]:
        said = constraint.local_day(moment) if moment else today
        return constraint.take_out(book, moment or _now(), today, host, start, end, said)

    return _work(config, edit, check)


def exchange(config: PairConfig, peer: Peer, check: bool = False) -> tuple[constraint.Book, bool]:
    """:return: what both know then, and whether either host learnt (in check mode: would learn) anything by it."""
    today = constraint_file.today()
    mine = constraint_file.read()
    answer = peer.call("constraints", told="" if check else constraint.dump(_ours(config, mine)))
    theirs = _ours(config, constraint.parse(str(answer["constraints"])))
    if check:
        book = constraint.meet(mine, theirs, today)
        return book, book.there != constraint.current(theirs.there, today) or book.there != constraint.current(mine.there, today)
    book, news = _learn(theirs)
    return book, news or bool(answer["news"])


def told(config: PairConfig, text: str) -> dict[str, t.Any]:
    """The agent's part: what this host knows, once it has learnt what the other one knows. Without a text it only tells."""
    if not text:
        return {"constraints": constraint.dump(_ours(config, constraint_file.read())), "news": False}
    book, news = _learn(_ours(config, constraint.parse(text)))
    return {"constraints": constraint.dump(_ours(config, book)), "news": news}


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _ours(config: PairConfig, book: constraint.Book) -> constraint.Book:
    return constraint.of_hosts(book, [one.name for one in config.hosts])


def _learn(theirs: constraint.Book) -> tuple[constraint.Book, bool]:
    """:return: the book afterwards, and whether anything that is set has changed by it."""
    today = constraint_file.today()
    with constraint_file.changing():
        before = constraint_file.read()
        book = constraint.meet(before, theirs, today)
        if constraint.dump(book) != constraint.dump(before):
            constraint_file.save(book)
    return book, book.there != constraint.current(before.there, today)


_LATER = "It is told at the next scheduled run, or the next time that a constraint is set."


def _work(config: PairConfig, edit: Edit | None, check: bool) -> dict[str, t.Any]:
    today = constraint_file.today()
    warnings: list[str] = []
    before = constraint.current(constraint_file.load(), today)
    sentence, news = "", False
    peer: Peer | None
    with contextlib.ExitStack() as stack:
        try:
            peer = stack.enter_context(Peer(config))
            book, news = exchange(config, peer, check)
        except HvmError as exc:
            peer, book = None, constraint_file.read()
            later = _LATER if edit else f"This is what {config.me.name} knows."
            warnings.append(f"{config.peer.name} cannot be asked: {exc.what}. {later}")
        if edit and check:
            book, sentence = edit(book, today)
        elif edit:
            with constraint_file.changing():
                known = constraint_file.read()
                book, sentence = edit(known, today)
                changes = book.there != constraint.current(known.there, today)
                if changes:
                    constraint_file.save(book)
            if changes:
                log.say(f"constraint: {sentence}")
                book = _tell(config, peer, book, warnings)
    there = constraint.current(book.there, today)
    holding, words = constraint.in_force(there, today)
    return {
        "changed": edit is not None and (news or there != before),
        "sentence": sentence or words,
        "in_force": constraint.record(holding) if holding else {},
        "today": words,
        "constraints": [constraint.record(one) for one in there],
        "text": constraint.show(there, today, [one.name for one in config.hosts]),
        "diff": {"before": _lines(before), "after": _lines(there)},
        "warnings": warnings,
    }


def _tell(config: PairConfig, peer: Peer | None, book: constraint.Book, warnings: list[str]) -> constraint.Book:
    """:raises HvmError: when one was set on the other host in this very moment that overlaps it and counts as later."""
    if peer is None:
        return book
    try:
        after, dummy = exchange(config, peer)
    except HvmError as exc:
        warnings.append(f"{config.peer.name} was not told: {exc.what}. {_LATER}")
        return book
    lost = [one for one in book.there if one not in after.there]
    if lost:
        raise HvmError(
            f"{lost[0].sentence()}: that has given way to one that was set on {config.peer.name} at the same time",
            "See which ones are set: hvm_constraint state=query.",
        )
    return after


def _lines(constraints: constraint.Constraints) -> str:
    return "".join(f"{one.sentence()}\n" for one in constraints)
