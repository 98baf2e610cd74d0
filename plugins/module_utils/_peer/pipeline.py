# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Commands of which each reads what the one before writes; the failure of any of them counts."""

from __future__ import annotations

import os
import signal
import subprocess
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.begun import ENVIRONMENT
from ansible_collections.hvm.pair.plugins.module_utils._core.command import GRACE
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError

Processes = t.Sequence["subprocess.Popen[bytes]"]


def start(commands: t.Sequence[t.Sequence[str]], stdin: int, stdout: int) -> list[subprocess.Popen[bytes]]:
    """:param stdin: of the first command, `stdout`: of the last, as `subprocess.Popen` takes them.

    :raises HvmError: when one of them is not installed; the others are gone then.
    """
    processes: list[subprocess.Popen[bytes]] = []
    for command in commands:
        before = processes[-1].stdout if processes else None
        try:
            processes.append(
                subprocess.Popen(
                    list(command),
                    stdin=before or stdin,
                    stdout=stdout if command is commands[-1] else subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env={**os.environ, **ENVIRONMENT},
                )
            )
        except FileNotFoundError as exc:
            reap(processes, kill=True)
            raise HvmError(f"{command[0]} is not installed on this host", "Install it, or do without compression.") from exc
        if before:
            before.close()  # so that the one before hears of it when the next one ends
    return processes


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """One that was killed. In the kernel, on a pool that is suspended, it may sleep for ever."""
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        return False
    return True


def reap(processes: Processes, kill: bool = False) -> list[CommandError]:
    """Wait for all of them. Returns why they failed, the cause first: those that only lost their pipe come last.

    :param kill: end them. Nobody reads from them any more, either: a zfs send was seen (ZFS 2.3.9, Linux 6.12) that had been
        killed in the midst of a write to a full pipe, and slept there with the signal pending.
    """
    failures = []
    for process in processes if kill else ():
        process.kill()
        if process.stdout:
            process.stdout.close()
    for process in processes:
        if kill and not _ends(process):
            said = "it was killed, and does not end"
            failures.append(CommandError(t.cast("list[str]", process.args), -signal.SIGKILL, "", said))
            continue
        said = t.cast("t.IO[bytes]", process.stderr).read().decode(errors="replace")
        code = process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
        if code:
            failures.append(CommandError(t.cast("list[str]", process.args), code, "", said))
    failures.sort(key=lambda failure: failure.rc == -signal.SIGPIPE or "Broken pipe" in failure.stderr)
    return failures
