# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What changes something runs in a process of its own, which the end of the terminal does not reach; the command only watches it.

A closed window, a lost ssh connection or Ctrl-C ends the watching. The steps are read from a file, as the action plugins of the
playbooks read them; `hvm follow` reads the same file, from wherever it is typed.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import shutil
import signal
import sys
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._command.outcome import Outcome, attempt
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import RUN

DIRECTORY = f"{RUN}/commands"
#: So many of the latest are kept, for `hvm follow`; all are gone at the next boot.
KEEP = 20
_POLL = 0.1

#: (line of the progress file)
Show = t.Callable[[dict[str, t.Any]], None]
Work = t.Callable[[Progress], dict[str, t.Any]]


class Task:
    """One run: what was typed, its steps, what the process printed, and its outcome, in a directory of its own."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.steps, self.output, self._outcome = (os.path.join(place, name) for name in ("steps", "output", "outcome.json"))
        self._typed, self._alive = os.path.join(place, "typed.json"), os.path.join(place, "alive")

    @classmethod
    def new(cls, typed: t.Sequence[str], directory: str = DIRECTORY) -> Task:
        """:raises HvmError: when there is no place for it."""
        now = datetime.datetime.now(datetime.UTC)
        task = cls(os.path.join(directory, f"{now:%Y%m%dT%H%M%S.%fZ}-{os.getpid()}"))
        try:
            os.makedirs(task.place, mode=0o700)
        except OSError as exc:
            raise HvmError(f"{task.place} cannot be made: {exc.strerror}", "See that /run can be written and has room.") from exc
        write_atomic(task._typed, json.dumps(list(typed)), durable=False)
        forget(directory)
        return task

    @property
    def typed(self) -> list[str]:
        return list(json.loads(read_text(self._typed) or "[]"))

    @property
    def outcome(self) -> Outcome | None:
        text = read_text(self._outcome)
        return Outcome(**json.loads(text)) if text else None

    def settle(self, outcome: Outcome) -> None:
        write_atomic(self._outcome, json.dumps(outcome._asdict(), default=str), durable=False)

    def hold(self) -> t.IO[str]:
        """As long as this is open, somebody is at it: a kernel lock, which ends with its process."""
        handle = open(self._alive, "w", encoding="utf-8")  # noqa: SIM115  it stays open
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.write(str(os.getpid()))
        handle.flush()
        return handle

    @property
    def process(self) -> int | None:
        """Who is at it; None when nobody is any more."""
        try:
            with open(self._alive, encoding="utf-8") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(handle.read() or 0)
        except FileNotFoundError:
            pass
        return None


def tasks(directory: str = DIRECTORY) -> list[Task]:
    """The oldest first."""
    try:
        return [Task(os.path.join(directory, name)) for name in sorted(os.listdir(directory))]
    except FileNotFoundError:
        return []


def forget(directory: str = DIRECTORY) -> None:
    """The oldest that have ended go."""
    for task in tasks(directory)[:-KEEP]:
        if task.process is None:
            shutil.rmtree(task.place, ignore_errors=True)


def start(task: Task, work: Work) -> int:
    """A process that works in a session of its own, with SIGHUP ignored and nothing open of this terminal.

    :return: its number.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    ready, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        os.read(ready, 1)  # it holds its lock, or has ended
        os.close(ready)
        return child
    code = 1
    try:
        os.close(ready)
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDONLY)
        output = os.open(task.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        held = task.hold()
        os.close(tell)
        outcome = attempt(lambda: work(Progress(task.steps)))
        task.settle(outcome)
        held.close()
        code = outcome.code
    except BaseException:  # noqa: BLE001  it must not go on as a second copy of who called
        import traceback

        with contextlib.suppress(Exception):
            traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


class _Steps:
    """New whole lines of the progress file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._read = 0

    def new(self) -> t.Iterator[dict[str, t.Any]]:
        try:
            with open(self._path, encoding="utf-8") as handle:
                handle.seek(self._read)
                text = handle.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind("\n") + 1]
        self._read += len(whole.encode())
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                yield json.loads(line)


def watch(task: Task, show: Show, alive: t.Callable[[], bool]) -> Outcome | None:
    """Show the steps until the process has ended. :return: its outcome; None when it has ended without one."""
    steps = _Steps(task.steps)
    while True:
        at_work = alive()
        for line in steps.new():
            show(line)
        if not at_work:
            return task.outcome
        time.sleep(_POLL)


def is_running(child: int) -> t.Callable[[], bool]:
    """Of a process that this one has started."""
    return lambda: os.waitpid(child, os.WNOHANG)[0] == 0
