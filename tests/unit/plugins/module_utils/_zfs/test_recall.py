# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, recall

A, B = "ssd/shared", "ssd/shared/my vm"


class Zfs:
    """Two datasets whose snapshots can change; with the time of the change, as ZFS keeps it."""

    def __init__(self, tmp_path: pathlib.Path) -> None:
        self.path = str(tmp_path / "state" / "snapshots.json")
        self.version = tmp_path / "version"
        self.version.write_text("2.3.9-1\n")
        self.now = 1000.0
        self.snapshots: dict[str, list[tuple[str, str, int]]] = {A: [("one", "11", 5)], B: [("one", "12", 5)]}
        self.bookmarks: dict[str, list[tuple[str, str, int]]] = {A: [("old", "9", 2)], B: []}
        self.guids = {A: "1", B: "2"}
        self.origins = {A: "-", B: "-"}
        self.changed: dict[str, str] = {A: "900", B: "900"}
        self.encryption = "off"
        self.commands: list[list[str]] = []

    def __call__(self, command: t.Sequence[str]) -> str:
        self.commands.append(list(command))
        if command[1] == "get" and "guid,ivsetguid" in command:
            return "".join(
                f"{name}@{snap}\t{prop}\t{value}\n"
                for name in command
                if name in self.snapshots
                for snap, guid, dummy in self.snapshots[name]
                for prop, value in (("guid", guid), ("ivsetguid", f"iv{guid}"))
            )
        if command[1] == "get":
            return "".join(
                f"{name}\t{prop}\t{value}\t-\n"
                for name in self.snapshots
                for prop, value in (
                    ("type", "filesystem"),
                    ("guid", self.guids[name]),
                    ("origin", self.origins[name]),
                    ("encryption", self.encryption),
                    ("snapshots_changed", self.changed[name]),
                )
                if prop in command[-2].split(",")
            )
        if "-t" not in command:
            return "there\n"
        kinds = command[command.index("-t") + 1].split(",")
        wanted = self.snapshots if "-r" in command else [name for name in self.snapshots if name in command]
        lines = []
        for name in wanted:
            if "snapshot" in kinds:
                lines += [f"{name}@{snap}\t{guid}\t{txg}\n" for snap, guid, txg in self.snapshots[name]]
            if "bookmark" in kinds:
                lines += [f"{name}#{snap}\t{guid}\t{txg}\n" for snap, guid, txg in self.bookmarks[name]]
        return "".join(lines)

    def take(self, name: str, snap: str, guid: str) -> None:
        self.snapshots[name] = [*self.snapshots[name], (snap, guid, int(guid))]
        self.changed[name] = str(int(self.now))

    def read(self) -> inventory.Inventory:
        self.commands.clear()
        found = recall.read([A], self.path, True, self, lambda: self.now, str(self.version))
        done = list(self.commands)
        plain = inventory.read([A], self)
        for entry in found.values():
            for extra in ("origin", "snapshots_changed"):
                entry["props"].pop(extra, None)
        assert found == plain
        self.commands = done
        return found

    def listed(self) -> list[str]:
        """The datasets whose snapshots the last reading listed."""
        words = [command for command in self.commands if command[1] == "list" and "snapshot" in command[command.index("-t") + 1]]
        return [name for command in words for name in self.snapshots if name in command or "-r" in command]


@pytest.fixture(name="zfs")
def _zfs(tmp_path: pathlib.Path) -> Zfs:
    return Zfs(tmp_path)


def test_the_second_reading_lists_no_snapshot_and_takes_two_processes(zfs: Zfs) -> None:
    zfs.read()
    assert zfs.listed() == [A, B]
    zfs.read()
    assert zfs.listed() == []
    assert [command[1] for command in zfs.commands] == ["get", "list"]


def test_only_what_has_changed_is_listed_again(zfs: Zfs) -> None:
    zfs.read()
    zfs.take(B, "two", "20")
    zfs.now += 10
    zfs.read()
    assert zfs.listed() == [B]
    zfs.read()
    assert zfs.listed() == []


def test_a_list_that_was_read_in_the_second_of_its_change_is_not_believed(zfs: Zfs) -> None:
    zfs.read()
    zfs.take(A, "two", "20")
    zfs.read()
    zfs.take(A, "three", "30")  # the same second: the time of the change is the same
    zfs.read()
    assert zfs.listed() == [A]


def test_without_bookmarks_it_is_one_process(zfs: Zfs) -> None:
    zfs.read()
    zfs.commands.clear()
    found = recall.read([A], zfs.path, False, zfs, lambda: zfs.now, str(zfs.version))
    assert [command[1] for command in zfs.commands] == ["get"]
    assert [entry["snapshots"] for entry in found.values()] == [[["one", "11", 5]], [["one", "12", 5]]]
    inventory.read_bookmarks(found, zfs)
    assert found[A]["bookmarks"] == [["old", "9", 2]]


def test_bookmarks_are_always_read(zfs: Zfs) -> None:
    zfs.read()
    zfs.bookmarks[B] = [("one", "12", 5)]
    assert zfs.read()[B]["bookmarks"] == [["one", "12", 5]]


def test_another_dataset_of_the_same_name_is_listed(zfs: Zfs) -> None:
    zfs.read()
    zfs.guids[B], zfs.snapshots[B] = "3", [("one", "99", 7)]
    zfs.read()
    assert zfs.listed() == [B]


def test_a_promotion_is_noticed(zfs: Zfs) -> None:
    zfs.read()
    zfs.origins[A], zfs.snapshots[A] = f"{B}@one", []
    zfs.read()
    assert zfs.listed() == [A]


def test_a_dataset_that_does_not_say_when_its_list_changed_is_listed_each_time(zfs: Zfs) -> None:
    zfs.changed[A] = "-"
    zfs.read()
    zfs.read()
    assert zfs.listed() == [A]


def test_ivsets_are_remembered_with_their_snapshots(zfs: Zfs) -> None:
    zfs.encryption = "aes-256-gcm"
    zfs.read()
    zfs.now += 10
    zfs.take(B, "two", "20")
    zfs.now += 10
    assert zfs.read()[A]["ivset"] == {"11": "iv11"}
    assert zfs.read()[B]["ivset"] == {"12": "iv12", "20": "iv20"}
    assert [command[1] for command in zfs.commands] == ["get", "list"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"form": 0, "datasets": {}}', '{"form": 1, "datasets": {"ssd/shared": {}}}'])
def test_a_file_that_cannot_be_used_is_as_none(zfs: Zfs, text: str) -> None:
    pathlib.Path(zfs.path).parent.mkdir()
    pathlib.Path(zfs.path).write_text(text)
    zfs.read()
    assert zfs.listed() == [A, B]
    zfs.read()
    assert zfs.listed() == []


def test_a_place_that_cannot_be_written_costs_only_time(zfs: Zfs) -> None:
    pathlib.Path(zfs.path).parent.write_text("a file where the directory should be")
    zfs.read()
    zfs.read()
    assert zfs.listed() == [A, B]


def test_what_is_gone_is_forgotten(zfs: Zfs) -> None:
    zfs.read()
    for kept in (zfs.snapshots, zfs.bookmarks):
        del kept[B]
    zfs.read()
    assert list(json.loads(pathlib.Path(zfs.path).read_text())["datasets"]) == [A]


@pytest.mark.parametrize(
    ("version", "yes"), [("2.1.11-1", False), ("2.2.0", True), ("2.3.9-1\n", True), ("3.0.0", True), ("", False)]
)
def test_which_zfs_says_when_its_snapshots_changed(version: str, yes: bool) -> None:
    assert recall.understands(version) is yes


def test_an_older_zfs_is_not_asked_for_what_it_does_not_know(zfs: Zfs) -> None:
    zfs.version.write_text("2.1.11-1\n")
    zfs.read()
    assert "snapshots_changed" not in json.dumps(zfs.commands)
    assert not pathlib.Path(zfs.path).exists()


def test_a_root_that_is_not_there_is_left_out(zfs: Zfs) -> None:
    def execute(command: t.Sequence[str]) -> str:
        if "rot/shared" in command:
            raise CommandError(command, 1, "", "cannot open 'rot/shared': dataset does not exist")
        return zfs(command)

    assert list(recall.read([A, "rot/shared"], zfs.path, True, execute, lambda: zfs.now, str(zfs.version))) == [A, B]
    assert list(recall.read([A, "rot/shared"], zfs.path, True, execute, lambda: zfs.now, str(zfs.version))) == [A, B]
