# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import threading

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError
from ansible_collections.hvm.pair.plugins.module_utils._peer import pipeline


def test_a_writer_that_outlives_its_kill_ends_when_nobody_reads() -> None:
    """As a zfs send that sleeps in the kernel with its signal pending: here, one that the signal does not reach."""
    processes = pipeline.start([["sh", "-c", "yes & wait"]], subprocess.DEVNULL, subprocess.PIPE)
    assert processes[0].stdout
    assert processes[0].stdout.read(2) == b"y\n"
    found: list[list[CommandError]] = []
    reaping = threading.Thread(target=lambda: found.append(pipeline.reap(processes, kill=True)), daemon=True)
    reaping.start()
    reaping.join(20)
    assert not reaping.is_alive()
    assert [failure.rc for failure in found[0]] == [-9]


def test_the_cause_comes_before_those_that_only_lost_their_pipe() -> None:
    commands = [["sh", "-c", "echo first; exec yes"], ["sh", "-c", "read line; echo no >&2; exit 3"]]
    processes = pipeline.start(commands, subprocess.DEVNULL, subprocess.PIPE)
    failures = pipeline.reap(processes)
    assert [(failure.rc, failure.stderr) for failure in failures] == [(3, "no\n"), (-13, "")]
