# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import time
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core import begun


@pytest.fixture(name="words")
def _words(tmp_path: pathlib.Path) -> t.Iterator[str]:
    """The file, not there yet; and no file descriptor and no process is left behind."""
    before = len(os.listdir("/proc/self/fd"))
    yield str(tmp_path / "begun")
    assert begun.take([]) is None
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_nothing_is_begun_when_nothing_is_written(words: str) -> None:
    begun.begin(words)
    assert begun.take(["echo", "a b"]) is None


def test_what_is_written_is_begun_and_taken_once(words: str) -> None:
    command = ["sh", "-c", "echo \"$LC_ALL $1\"; echo no >&2", "sh", "a b\tc"]
    begun.remember(command, words)
    begun.begin(words)
    assert begun.take(command) == "C a b\tc\n"
    assert begun.take(command) is None


def test_more_than_a_pipe_holds_waits_for_nobody(words: str, tmp_path: pathlib.Path) -> None:
    command = ["sh", "-c", f"head -c 300000 /dev/zero | tr '\\0' x; : > {tmp_path}/done"]
    begun.remember(command, words)
    begun.begin(words)
    deadline = time.monotonic() + 20
    while not (tmp_path / "done").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert begun.take(command) == "x" * 300000


def test_another_command_takes_nothing_of_it_and_it_is_ended(words: str) -> None:
    begun.remember(["sleep", "60"], words)
    begun.begin(words)
    began = time.monotonic()
    assert begun.take(["sleep", "61"]) is None
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("command", [["false"], ["sh", "-c", "echo half; exit 3"], ["/no/such/command"]])
def test_one_that_fails_is_run_again_by_whoever_wants_it(words: str, command: list[str]) -> None:
    begun.remember(command, words)
    begun.begin(words)
    assert begun.take(command) is None


def test_it_is_written_only_when_it_is_another(words: str) -> None:
    begun.remember(["zfs", "get", "a b"], words)
    first = os.stat(words)
    assert first.st_mode & 0o777 == 0o644
    begun.remember(["zfs", "get", "a b"], words)
    assert os.stat(words).st_ino == first.st_ino
    begun.remember(["zfs", "get", "a", "b"], words)
    assert pathlib.Path(words).read_bytes() == b"zfs\0get\0a\0b\0"


def test_half_a_file_is_none(words: str) -> None:
    pathlib.Path(words).write_bytes(b"")
    begun.begin(words)
    assert begun.take([""]) is None


def test_where_nothing_can_be_written_nothing_fails(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "missing" / "begun")
    begun.remember(["zfs", "get"], path)
    begun.begin(path)
    assert begun.take(["zfs", "get"]) is None
