# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""One command that is started before anything else is loaded: what it says is there sooner by the time that loading takes.

Which one that is was written down by the process before, since finding it out would need all that is not loaded yet. Its output
is taken only by whoever wants exactly that command; anybody else starts his own.
"""

from __future__ import annotations

import os

#: The words, with a NUL behind each, as in /proc/PID/cmdline.
WORDS = "/var/lib/hvm/begun"
ENVIRONMENT = {"LC_ALL": "C", "LANGUAGE": "C", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

_process: tuple[list[str], int, int] | None = None


def _written(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as handle:
            return handle.read().split("\0")[:-1]
    except OSError:
        return []


def begin(path: str = WORDS) -> None:
    """Start what is written down; nothing when nothing is."""
    global _process  # noqa: PLW0603  one for the life of the process
    words = _written(path)
    if not words:
        return
    # not a pipe: nobody reads yet, and it must not wait for that
    output = os.memfd_create("begun")
    silent = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 2)]
    try:
        pid = os.posix_spawnp(
            words[0], words, {**os.environ, **ENVIRONMENT}, file_actions=[*silent, (os.POSIX_SPAWN_DUP2, output, 1)]
        )
    except OSError:  # whoever wants it hears why
        os.close(output)
        return
    _process = (words, pid, output)


def take(words: list[str]) -> str | None:
    """What it printed, once; None when it was another command, or failed: then it is to be run."""
    global _process
    begun, _process = _process, None
    if begun is None:
        return None
    known, pid, output = begun
    with open(output, encoding="utf-8", errors="surrogateescape") as handle:
        if known != words:
            os.kill(pid, 9)
        if os.waitpid(pid, 0)[1] or known != words:
            return None
        handle.seek(0)
        return handle.read()


def remember(words: list[str], path: str = WORDS) -> None:
    """For the next process. One that cannot be written is none: this only saves time."""
    if _written(path) == words:
        return
    import contextlib

    from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
    from ansible_collections.hvm.pair.plugins.module_utils._core.files import write_atomic

    with contextlib.suppress(HvmError):
        write_atomic(path, "".join(f"{word}\0" for word in words), 0o644)
