# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Commands of the host: always a list of arguments, never a shell, always in the C locale, always bounded."""

from __future__ import annotations

import contextlib
import os
import subprocess
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.begun import ENVIRONMENT
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError

#: Seconds; far above what any command here takes on a busy host, so that nothing waits for ever.
TIMEOUT = 300.0

#: Seconds that a killed one may take to end. One that sleeps in the kernel, on a pool that is suspended, does not end at all.
GRACE = 5.0

#: (arguments) -> stdout. What a unit test replaces.
Run = t.Callable[[t.Sequence[str]], str]


def run(command: t.Sequence[str], timeout: float = TIMEOUT, remedy: str = "", stdin: str | None = None) -> str:
    """Run `command` and return what it printed.

    :raises CommandError: when it cannot be started, exits with anything but 0, or takes longer than `timeout` seconds.
    """
    try:
        process = subprocess.Popen(
            list(command),
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )
    except FileNotFoundError as exc:
        raise CommandError(command, 127, "", f"{exc.filename or command[0]}: command not found", remedy) from exc
    try:
        out, err = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired as exc:
        _end(process)
        raise CommandError(command, -1, "", f"no end after {timeout:.0f} s", remedy) from exc
    except BaseException:
        _end(process)
        raise
    if process.returncode:
        raise CommandError(command, process.returncode, out, err, remedy)
    return out


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()


def succeeds(command: t.Sequence[str], timeout: float = TIMEOUT) -> bool:
    """Whether `command` exits with 0."""
    try:
        run(command, timeout)
    except CommandError:
        return False
    return True
