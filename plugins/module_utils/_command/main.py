# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""`hvm`: the manual's command, on either host, also when the other one is dead and there is no controller.

Results go to stdout; steps, warnings and errors to stderr. Exit codes: `_command.outcome`.
"""

from __future__ import annotations

import os
import signal
import sys
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._command import parse, tree
from ansible_collections.hvm.pair.plugins.module_utils._command.outcome import (
    DONE,
    FAILED,
    REFUSED,
    UNWATCHED,
    USAGE,
    Outcome,
    attempt,
)
from ansible_collections.hvm.pair.plugins.module_utils._command.parse import Parsed, UsageError
from ansible_collections.hvm.pair.plugins.module_utils._command.words import Words, language, wished
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress

if t.TYPE_CHECKING:
    from ansible_collections.hvm.pair.plugins.module_utils._command.detached import Task


class Unwatched(Exception):
    """The operator, or the terminal's end, has ended the watching; the work goes on."""


def main(typed: t.Sequence[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without accents is no reason to fail
    words_typed = list(sys.argv[1:] if typed is None else typed)
    asked = parse.lang(words_typed)
    words = Words(language(asked, os.environ))
    try:
        parsed = parse.parse(words_typed)
    except UsageError as exc:
        return _misused(exc, words)
    try:
        return _run(parsed, words_typed, words)
    except OSError as exc:  # of our own output: all else is an outcome
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing is left to be flushed into it
        if not isinstance(exc, BrokenPipeError):
            _say(f"hvm: {exc}")
        return FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _misused(exc: UsageError, words: Words) -> int:
    _say(f"hvm: {words(exc.key, **exc.facts) if exc.key else words.said(exc.text)}")
    _say(words("see help", path=exc.path).rstrip())
    return USAGE


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _out(lines: t.Sequence[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _run(parsed: Parsed, typed: list[str], words: Words) -> int:
    values = parsed.values
    if values.get("help") or parsed.node.action == "help":
        return _help(parsed, words)
    everything = parsed.node.action == "status" and values.get("all")
    if (parsed.node.changes or parsed.node.root or everything) and os.geteuid() != 0:
        _say(f"hvm: {words('not root', path=f'{parsed.path} --all' if everything else parsed.path)}")
        return REFUSED
    if parsed.node.action == "follow":
        return _follow(values, words)
    if parsed.node.changes and not is_check(values):
        from ansible_collections.hvm.pair.plugins.module_utils._command import detached

        return _detached(detached, parsed, typed, words)
    progress = Progress() if values["quiet"] else _Shown(words)
    return _print(attempt(lambda: perform(parsed, progress)), parsed, words)


def _help(parsed: Parsed, words: Words) -> int:
    from ansible_collections.hvm.pair.plugins.module_utils._command import help as helping

    way = parsed.way
    if parsed.node.action == "help" if way else False:
        path = parsed.values.get("path") or []
        way, left = tree.descend(path)
        if left:
            here = f"hvm {tree.path(way)}".strip()
            return _misused(UsageError(tree.path(way), key="no command", word=left[0], at=here), words)
    _out(helping.about(way, words))
    return DONE


def is_check(values: t.Mapping[str, t.Any]) -> bool:
    """`zfs snap purge` has the manual's -show besides."""
    return bool(values["check"] or values.get("show"))


def perform(parsed: Parsed, progress: Progress) -> dict[str, t.Any]:
    """The command itself, in this process."""
    from ansible_collections.hvm.pair.plugins.module_utils._command import actions
    from ansible_collections.hvm.pair.plugins.module_utils._pair import config

    values, node = parsed.values, parsed.node
    pair = config.load(values["config"] or config.PATH)
    action: t.Callable[[actions.Call], dict[str, t.Any]] = getattr(actions, node.action)
    return action(actions.Call(pair, node.words, values, is_check(values), progress, values["json"]))


class _Shown(Progress):
    """Steps of what runs in this very process."""

    def __init__(self, words: Words) -> None:
        super().__init__()
        self._words = words

    def say(self, text: str, **facts: t.Any) -> None:
        super().say(text, **facts)
        _step(self.lines[-1], self._words)


def _step(line: dict[str, t.Any], words: Words) -> None:
    _say(f"{line['t']:8.1f} s  {words.said(str(line['text']))}")


def _detached(detached: t.Any, parsed: Parsed, typed: list[str], words: Words) -> int:
    from ansible_collections.hvm.pair.plugins.module_utils._command import installed
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import agent

    # for both processes: nothing is left to load in an interruption, nor from a library that an installation has taken away
    agent.load_rest()
    installed.load_all()
    begun = attempt(lambda: {"task": detached.Task.new(typed)})
    if begun.error:
        return _print(begun, parsed, words)
    task: Task = begun.result["task"]
    child = detached.start(task, lambda progress: perform(parsed, progress))
    return _watch(detached, task, detached.is_running(child), parsed, words)


def _follow(values: dict[str, t.Any], words: Words) -> int:
    """The task that runs, else the one that has ended last."""
    from ansible_collections.hvm.pair.plugins.module_utils._command import detached

    there = detached.tasks()
    running = [task for task in there if task.process is not None]
    if not there:
        _say(words("nothing to follow"))
        return DONE
    task = (running or there)[-1]
    typed = task.typed
    _say(words("following", command=" ".join(["hvm", *typed]), pid=task.process or "-"))
    parsed = parse.parse(typed)
    shown = parsed._replace(values={**parsed.values, "json": values["json"], "quiet": values["quiet"]})
    return _watch(detached, task, lambda: task.process is not None, shown, words)


def _watch(detached: t.Any, task: Task, alive: t.Callable[[], bool], parsed: Parsed, words: Words) -> int:
    def hung_up(*dummy: t.Any) -> t.NoReturn:
        raise Unwatched

    def show(line: dict[str, t.Any]) -> None:
        if not parsed.values["quiet"]:
            _step(line, words)

    before = {number: signal.signal(number, hung_up) for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)}
    try:
        outcome = detached.watch(task, show, alive)
    except (Unwatched, BrokenPipeError, OSError):
        # one that reads no terminal any more cannot be told
        try:
            _say(words("goes on"))
        except OSError:
            pass
        return UNWATCHED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if outcome is None:
        lost = words("no result", command=" ".join(["hvm", *task.typed]), path=task.output)
        outcome = Outcome(FAILED, {}, {"msg": f"{lost}.", "what": lost, "remedy": ""})
    return _print(outcome, parsed, words)


def _print(outcome: Outcome, parsed: Parsed, words: Words) -> int:
    from ansible_collections.hvm.pair.plugins.module_utils._command import outcome as outcomes
    from ansible_collections.hvm.pair.plugins.module_utils._command import show

    if parsed.node.action == "complete":
        _out(outcome.result.get("words", []))
        return outcome.code
    if parsed.values["json"]:
        _out([outcomes.as_json(outcome)])
    warnings = [*outcome.result.get("warnings", []), *outcome.result.get("unknown", [])]
    for text in warnings:
        _say(f"hvm: {words('warning', text=words.said(str(text)))}")
    if outcome.error:
        lines = show.error(outcome.error, words)
        _say("\n".join([f"hvm: {lines[0]}", *lines[1:]]))
        if outcome.error.get("exception"):
            _say(outcome.error["exception"].rstrip())
        return outcome.code
    if not parsed.values["json"]:
        node = parsed.node
        shown = Words(wished(parsed.values["lang"], os.environ)) if node.action == "status" else words
        lines = show.by_action(node.action)(outcome.result, node.words, parsed.values, is_check(parsed.values), shown)
        _out(lines if node.action in show.DATA else [words.said(line) for line in lines])
    return outcome.code
