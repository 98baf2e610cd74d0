# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import json
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import destroyable, program

A, B = (f"hvm_20261123T09000{n}Z_office_B" for n in (1, 2))


class Zfs:
    """What `zfs.check.destroy` says of some snapshots, and what the questions after it find."""

    def __init__(self, checks: dict[str, int], holds: str | None = "", clones: str = "", **reclaim: str) -> None:
        self.checks, self.holds, self.clones, self.reclaim = checks, holds, clones, reclaim
        self.commands: list[list[str]] = []

    def __call__(self, command: t.Sequence[str], stdin: str = "") -> str:
        self.commands.append(list(command))
        if command[1] == "program":
            assert command[2:4] == ["-n", "-j"] and command[5] == "-"
            assert "err = zfs.check.destroy(argv[i])" in stdin and "sync" not in stdin
            assert all(program.pool_of(name) == command[4] for name in command[6:])
            return json.dumps({"return": {name: self.checks[name] for name in command[6:] if self.checks.get(name)}})
        if command[1] == "holds":
            if self.holds is None:
                raise CommandError(command, 1, "", "I/O error")
            return self.holds.replace("NAME", command[-1])
        if command[1] == "get":
            return f"{self.clones}\n"
        assert command[:5] == ["zfs", "destroy", "-n", "-v", "-p"]
        return self.reclaim[command[5]]


def test_what_can_go_is_not_blocked_and_asked_for_with_one_process_in_each_pool() -> None:
    zfs = Zfs({})
    assert destroyable.blocked([f"d/r@{A}", f"e/s@{A}", f"d/r/my vms@{A}"], zfs) == {}
    assert [command[4:] for command in zfs.commands] == [["d", "-", f"d/r@{A}", f"d/r/my vms@{A}"], ["e", "-", f"e/s@{A}"]]


def test_what_is_gone_already_is_not_blocked() -> None:
    assert destroyable.blocked([f"d/r@{A}"], Zfs({f"d/r@{A}": errno.ENOENT})) == {}


BLOCKED = {
    "held by two": (
        errno.EBUSY,
        {"holds": "NAME\tsomebody\tMon Nov 23  9:45 2026\nNAME\thvm:office\tMon Nov 23  9:45 2026\n"},
        f"d/my vms@{A} is held as hvm:office, somebody",
    ),
    "in use": (errno.EBUSY, {}, f"d/my vms@{A} is in use (mounted below .zfs, or being sent)"),
    "cloned": (errno.EEXIST, {"clones": "d/test"}, f"d/my vms@{A} has the clone d/test"),
    "something else": (errno.EIO, {}, f"d/my vms@{A}: Input/output error"),
}


@pytest.mark.parametrize(("number", "more", "sentence"), BLOCKED.values(), ids=BLOCKED)
def test_what_is_blocked_says_by_what(number: int, more: dict[str, t.Any], sentence: str) -> None:
    name = f"d/my vms@{A}"
    assert destroyable.blocked([name], Zfs({name: number}, **more)) == {name: sentence}


def test_a_reason_that_cannot_be_found_out_is_said_to_be_so() -> None:
    name = f"d/r@{A}"
    assert destroyable.blocked([name], Zfs({name: errno.EBUSY}, holds=None)) == {
        name: f"{name}: Device or resource busy ('zfs holds -H {name}' failed (1): I/O error)"
    }


# Space


def test_space_is_asked_once_for_each_dataset_with_all_that_goes() -> None:
    answers = {
        f"d/r@{A},{B}": f"destroy\td/r@{A}\ndestroy\td/r@{B}\nreclaim\t12345\n",
        f"d/my vms@{A}": f"destroy\td/my vms@{A}\nreclaim\t55\n",
    }
    zfs = Zfs({}, **answers)
    assert destroyable.space([f"d/r@{A}", f"d/my vms@{A}", f"d/r@{B}"], zfs) == 12400
    assert len(zfs.commands) == 2
    assert destroyable.space([], zfs) == 0


@pytest.mark.parametrize("out", ["reclaim\t\n", "reclaim\tmany\n"])
def test_space_that_zfs_cannot_tell_is_none(out: str) -> None:
    assert destroyable.space([f"d/r@{A}"], Zfs({}, **{f"d/r@{A}": out})) is None


def test_space_of_what_is_gone_is_none() -> None:
    def fail(command: t.Sequence[str], **dummy: t.Any) -> str:
        raise CommandError(command, 1, "", "could not find any snapshots to destroy")

    assert destroyable.space([f"d/r@{A}"], fail) is None
