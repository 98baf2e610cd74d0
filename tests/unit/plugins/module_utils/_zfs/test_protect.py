# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import json
import re
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import program, protect

A, B, C = (f"hvm_20261123T09000{n}Z_office_B" for n in (1, 2, 3))
TAG = "hvm:office"


class Zfs:
    """Snapshots, their holds and bookmarks, as zfs-hold(8), zfs-program(8) and zfs-destroy(8) treat them: all or nothing
    where one command names several, and a failure for what is there or gone already."""

    def __init__(self, *snapshots: str) -> None:
        self.tags: dict[str, set[str]] = {name: set() for name in snapshots}
        self.bookmarks: set[str] = set()
        self.clones: set[str] = set()
        self.commands: list[list[str]] = []
        self.broken = ""

    def __call__(self, command: t.Sequence[str], stdin: str = "") -> str:
        self.commands.append(list(command))
        if self.broken and self.broken in command:
            raise CommandError(command, 1, "", "I/O error")
        return t.cast("str", getattr(self, f"_{command[1]}")(list(command), stdin))

    def held(self, tag: str = TAG) -> set[str]:
        return {name for name, tags in self.tags.items() if tag in tags}

    def _below(self, root: str) -> list[str]:
        found = [name for name in self.tags if f"{name.split('@')[0]}/".startswith(f"{root}/")]
        if not found and root not in ("d/r", "e/s"):
            raise CommandError([], 1, "", f"cannot open '{root}': dataset does not exist")
        return sorted(found, key=lambda name: name.split("@"))

    def _many(self, command: list[str]) -> tuple[str, list[str]]:
        if command[2] == "-r":
            root, snapshot = command[4].split("@")
            found = [name for name in self._below(root) if name.endswith(f"@{snapshot}")]
        else:
            found = command[3:]
        if not found or not set(found) <= set(self.tags):
            raise CommandError(command, 1, "", "dataset does not exist")
        return command[3] if command[2] == "-r" else command[2], found

    def _hold(self, command: list[str], dummy: str) -> str:
        tag, found = self._many(command)
        if any(tag in self.tags[name] for name in found):
            raise CommandError(command, 1, "", "tag already exists on this dataset")
        for name in found:
            self.tags[name].add(tag)
        return ""

    def _release(self, command: list[str], dummy: str) -> str:
        tag, found = self._many(command)
        if any(tag not in self.tags[name] for name in found):
            raise CommandError(command, 1, "", "no such tag on this dataset")
        for name in found:
            self.tags[name].discard(tag)
        return ""

    def _holds(self, command: list[str], dummy: str) -> str:
        assert command[2] == "-H" and set(command[3:]) <= set(self.tags)
        return "".join(f"{name}\t{tag}\tMon Nov 23  9:45 2026\n" for name in command[3:] for tag in sorted(self.tags[name]))

    def _list(self, command: list[str], dummy: str) -> str:
        if "snapshot" not in command:
            self._below(command[-1])
            return f"{command[-1]}\n"
        roots = [word for word in command if word in ("d/r", "e/s") or word.startswith("gone")]
        names = [name for root in roots for name in self._below(root)]
        columns = [f"\t{len(self.tags[name])}" if "name,userrefs" in command else "" for name in names]
        return "".join(f"{name}{column}\n" for name, column in zip(names, columns, strict=True))

    def _destroy(self, command: list[str], dummy: str) -> str:
        (name,) = command[2:]
        if name not in self.bookmarks:
            raise CommandError(command, 1, "", "does not exist")
        self.bookmarks.remove(name)
        return ""

    def _program(self, command: list[str], stdin: str) -> str:
        assert command[2] == "-j" and command[4] == "-"
        step = int(re.findall(r"for i = 1, #argv, (\d) do", stdin)[0])
        (call,) = re.findall(r"err = (zfs\.sync\.\w+\(argv\[i\](?:, argv\[i \+ 1\])?\))\n", stdin)
        words, failed = command[5:], {}
        assert all(program.pool_of(word) == command[3] for word in words)
        for at in range(0, len(words), step):
            if call == "zfs.sync.destroy(argv[i])":
                failed[words[at]] = self._gone(words[at])
            else:
                assert call == "zfs.sync.bookmark(argv[i], argv[i + 1])"
                failed[words[at + 1]] = self._marked(words[at], words[at + 1])
        assert "failed[argv[i + 1]] = err" in stdin if step == 2 else "failed[argv[i]] = err" in stdin
        return json.dumps({"return": {name: number for name, number in failed.items() if number}})

    def _gone(self, name: str) -> int:
        if name not in self.tags:
            return errno.ENOENT
        if self.tags[name]:
            return errno.EBUSY
        if name in self.clones:
            return errno.EEXIST
        del self.tags[name]
        return 0

    def _marked(self, snapshot: str, name: str) -> int:
        if snapshot not in self.tags:
            return errno.ENOENT
        if name in self.bookmarks:
            return errno.EEXIST
        self.bookmarks.add(name)
        return 0


# Destroying


def test_what_can_go_goes_and_the_rest_says_why() -> None:
    zfs = Zfs(f"d/r@{A}", f"d/r@{B}", f"d/r/a@{A}", f"e/s@{A}", f"e/s@{C}")
    zfs.tags[f"d/r@{B}"].add("keep")
    zfs.clones.add(f"e/s@{A}")
    asked = [f"d/r@{A}", f"e/s@{A}", f"d/r@{B}", f"d/r/a@{A}", f"d/r@{C}"]
    assert protect.destroy(asked, zfs) == {f"d/r@{B}": "it is held or in use", f"e/s@{A}": "a clone depends on it"}
    assert set(zfs.tags) == {f"d/r@{B}", f"e/s@{A}", f"e/s@{C}"}
    assert [command[:5] for command in zfs.commands] == [["zfs", "program", "-j", pool, "-"] for pool in ("d", "e")]


def test_an_error_that_has_no_words_of_ours_has_those_of_the_system() -> None:
    assert protect.destroy(["d/r@x"], lambda *dummy, **more: json.dumps({"return": {"d/r@x": errno.EIO}})) == {
        "d/r@x": "Input/output error"
    }


@pytest.mark.parametrize("name", ["d/r", "d/r@", "d/r@a@b", "d/r@a%b", "d/r@%", "d/r@a,b", "d/r#a", ""])
def test_nothing_but_one_snapshot_by_its_name_is_destroyed(name: str) -> None:
    zfs = Zfs("d/r@x")
    with pytest.raises(HvmError, match="not the name of one snapshot"):
        protect.destroy(["d/r@x", name], zfs)
    assert zfs.commands == []


def test_nothing_to_destroy_is_no_command() -> None:
    zfs = Zfs()
    assert (protect.destroy([], zfs), protect.bookmark([], zfs), zfs.commands) == ({}, {}, [])


def test_a_program_takes_a_bounded_number_of_names() -> None:
    names = [f"d/r@{n}" for n in range(2 * program.BATCH + 1)]
    zfs = Zfs(*names, "e/s@x")
    assert protect.destroy([*names, "e/s@x"], zfs) == {}
    assert zfs.tags == {}
    assert [len(command) - 5 for command in zfs.commands] == [program.BATCH, program.BATCH, 1, 1]


@pytest.mark.parametrize("out", ['{"return": {}}', "{}", '{"return": []}', '{"return": null}'])
def test_a_program_that_returns_nothing_has_not_failed(out: str) -> None:
    assert protect.destroy(["d/r@x"], lambda *dummy, **more: out) == {}


# Bookmarks


def test_bookmarks_get_the_names_of_their_snapshots_and_stay_where_they_are() -> None:
    zfs = Zfs(f"d/r@{A}", f"d/r/my vms@{A}", f"e/s@{A}")
    zfs.bookmarks.add(f"d/r#{A}")
    members = [*zfs.tags, f"d/r@{B}"]
    assert protect.bookmark(members, zfs) == {f"d/r#{B}": "it is not there"}
    assert zfs.bookmarks == {f"d/r#{A}", f"d/r/my vms#{A}", f"e/s#{A}"}
    assert len(zfs.commands) == 2


def test_bookmarks_older_than_the_base_are_stale() -> None:
    other = "hvm_20261123T090000Z_other_B"
    marks = [[name, name, n] for n, name in enumerate([other, "hvm_manual", A, B, C])]
    inventory: dict[str, dict[str, t.Any]] = {"d/r": {"bookmarks": marks}, "d/r/a": {"bookmarks": marks[2:3]}, "d/r/b": {}}
    assert protect.stale_bookmarks(inventory, "office", C) == [f"d/r#{A}", f"d/r#{B}", f"d/r/a#{A}"]
    assert protect.stale_bookmarks(inventory, "office", A) == []


def test_bookmarks_that_cannot_go_are_not_said_to_be_gone() -> None:
    zfs = Zfs()
    zfs.bookmarks = {f"d/r#{A}", f"e/s#{A}"}
    assert protect.destroy_bookmarks([f"d/r#{A}", f"d/r#{B}", f"e/s#{A}"], zfs) == [f"d/r#{A}", f"e/s#{A}"]
    assert zfs.bookmarks == set()
    assert all("-r" not in command and "-R" not in command for command in zfs.commands)


@pytest.mark.parametrize("name", ["d/r", f"d/r@{A}", "d/r#a#b"])
def test_nothing_but_bookmarks_is_destroyed_as_one(name: str) -> None:
    with pytest.raises(HvmError, match="not bookmarks"):
        protect.destroy_bookmarks([f"d/r#{A}", name], Zfs())


# Holds


def test_a_set_is_held_with_one_command_for_each_root() -> None:
    zfs = Zfs(f"d/r@{A}", f"d/r/a@{A}", f"d/r/a@{B}", f"e/s@{A}")
    protect.hold(["d/r", "e/s"], A, "office", zfs)
    assert zfs.held() == {f"d/r@{A}", f"d/r/a@{A}", f"e/s@{A}"}
    assert sorted(zfs.commands) == [["zfs", "hold", "-r", TAG, f"{root}@{A}"] for root in ("d/r", "e/s")]


def test_a_tag_is_compared_as_a_whole() -> None:
    zfs = Zfs(f"d/r@{A}", f"d/r@{B}")
    zfs.tags[f"d/r@{A}"] = {"hvm:office2"}
    zfs.tags[f"d/r@{B}"] = {"hvm:offic", TAG}
    assert protect.holds(list(zfs.tags), "office", zfs) == [f"d/r@{B}"]
    assert protect.holds([], "office", zfs) == []
    assert protect.held(["d/r"], "office", zfs) == {B: ["d/r"]}


def test_everything_that_is_held_by_its_set() -> None:
    zfs = Zfs(f"d/r@{A}", f"d/r/a@{A}", f"d/r/a@{B}", f"e/s@{C}", "d/r@manual")
    for name in (f"d/r@{A}", f"d/r/a@{A}", f"e/s@{C}"):
        zfs.tags[name].add(TAG)
    zfs.tags["d/r@manual"].add("somebody")
    assert protect.held(["d/r", "gone/x", "e/s"], "office", zfs) == {A: ["d/r", "d/r/a"], C: ["e/s"]}
    assert protect.held(["gone/x"], "office", zfs) == {}


def test_what_cannot_be_held_is_an_error() -> None:
    zfs = Zfs(f"d/r@{A}", f"d/r/a@{A}")
    zfs.broken = "hold"
    with pytest.raises(CommandError, match="I/O error"):
        protect.hold(["d/r"], A, "office", zfs)
    zfs.broken = ""
    with pytest.raises(CommandError, match="dataset does not exist"):
        protect.hold(["gone/x"], A, "office", zfs)


DATASETS = ("d/r", "d/r/a", "d/r/a/b", "d/r/my vms", "e/s", "e/s/a")
STATES = st.dictionaries(
    st.tuples(st.sampled_from(DATASETS), st.sampled_from([A, B])),
    st.sets(st.sampled_from([TAG, "hvm:office2", "somebody"])),
)


def world(state: dict[tuple[str, str], set[str]]) -> Zfs:
    zfs = Zfs()
    zfs.tags = {f"{dataset}@{name}": set(tags) for (dataset, name), tags in state.items()}
    return zfs


@given(STATES)
def test_whatever_is_held_already_a_set_is_held_everywhere_afterwards_and_nothing_else(
    state: dict[tuple[str, str], set[str]],
) -> None:
    zfs = world(state)
    protect.hold(["d/r", "e/s"], A, "office", zfs)
    for (dataset, name), tags in state.items():
        assert zfs.tags[f"{dataset}@{name}"] == tags | ({TAG} if name == A else set())


@given(STATES)
def test_whatever_is_held_a_set_is_released_everywhere_and_nothing_else(state: dict[tuple[str, str], set[str]]) -> None:
    zfs = world(state)
    protect.release(["d/r", "e/s"], A, "office", zfs)
    for (dataset, name), tags in state.items():
        assert zfs.tags[f"{dataset}@{name}"] == tags - ({TAG} if name == A else set())


# A set that is sent


@pytest.fixture(name="done")
def _done(monkeypatch: pytest.MonkeyPatch) -> list[t.Any]:
    """What is done, in order, in place of ZFS."""
    done: list[t.Any] = []

    def hold(roots: t.Sequence[str], snapshot: str, pair: str) -> None:
        done.append(("hold", roots, snapshot, pair))

    def bookmark(members: list[str]) -> dict[str, str]:
        done.append(("bookmark", members))
        return {}

    monkeypatch.setattr(protect, "hold", hold)
    monkeypatch.setattr(protect, "bookmark", bookmark)
    return done


INVENTORY: dict[str, dict[str, t.Any]] = {
    "d/r": {"snapshots": [[A, "1", 1], [B, "2", 2]]},
    "d/r/new": {"snapshots": [[B, "3", 2]]},
}


def test_a_set_is_remembered_before_it_is_held(done: list[t.Any]) -> None:
    assert protect.hold_and_mark(["d/r"], INVENTORY, A, "office", lambda name: done.append(("remember", name))) == []
    assert done == [("remember", A), ("hold", ["d/r"], A, "office"), ("bookmark", [f"d/r@{A}"])]


def test_what_cannot_be_remembered_is_not_held_but_bookmarked(done: list[t.Any]) -> None:
    def full(dummy: str) -> None:
        raise HvmError("no room")

    assert protect.hold_and_mark(["d/r"], INVENTORY, B, "office", full) == [f"{B} is not held: no room"]
    assert done == [("bookmark", [f"d/r@{B}", f"d/r/new@{B}"])]


def test_a_bookmark_that_is_missing_is_a_warning(done: list[t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protect, "bookmark", lambda dummy: {f"d/{n}#{A}": "it is not there" for n in range(9)})
    (warning,) = protect.hold_and_mark(["d/r"], INVENTORY, A, "office", lambda dummy: None)
    assert warning == "no bookmark: " + "; ".join(f"d/{n}#{A}: it is not there" for n in range(3))
    assert done == [("hold", ["d/r"], A, "office")]


def test_a_program_that_fails_is_a_warning(done: list[t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(dummy: list[str]) -> dict[str, str]:
        raise CommandError(["zfs", "program"], 1, "", "Channel program execution failed")

    monkeypatch.setattr(protect, "bookmark", fail)
    (warning,) = protect.hold_and_mark(["d/r"], INVENTORY, A, "office", lambda dummy: None)
    assert warning == f"{A} has no bookmarks: 'zfs program' failed (1): Channel program execution failed"
    assert len(done) == 1
