# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory

# As `zfs get -Hp -r -t filesystem,volume -o name,property,value,source` prints it (ZFS 2.2)
DATASETS = "\n".join(
    "\t".join(row)
    for row in [
        ("ssd/shared", "type", "filesystem", "-"),
        ("ssd/shared", "guid", "10714366914410487493", "-"),
        ("ssd/shared", "mounted", "no", "-"),
        ("ssd/shared", "mountpoint", "none", "local"),
        ("ssd/shared", "canmount", "noauto", "local"),
        ("ssd/shared/my vms", "type", "filesystem", "-"),
        ("ssd/shared/my vms", "guid", "77", "-"),
        ("ssd/shared/my vms", "mounted", "yes", "-"),
        ("ssd/shared/my vms", "mountpoint", "/var/lib/my vms", "local"),
        ("ssd/shared/my vms", "canmount", "noauto", "received"),
        ("ssd/shared/my vms", "compression", "lz4", "inherited from ssd/shared"),
        ("ssd/shared/vm1", "type", "volume", "-"),
        ("ssd/shared/vm1", "guid", "78", "-"),
        ("ssd/shared/vm1", "volsize", "1073741824", "local"),
        ("ssd/shared/vm1", "volmode", "none", "inherited from ssd/shared"),
    ]
)
B1, C2 = "hvm_20261123T094512Z_office_B", "hvm_20261123T101500Z_office_C"
SNAPSHOTS = "\n".join(
    "\t".join(row)
    for row in [
        (f"ssd/shared@{C2}", "2", "900"),
        (f"ssd/shared@{B1}", "1", "700"),
        (f"ssd/shared/my vms@{B1}", "3", "700"),
        ("ssd/shared/my vms@before the update", "4", "800"),
        (f"ssd/shared/vm1@{B1}", "5", "701"),
        ("ssd/elsewhere@x", "6", "1"),
        (f"ssd/shared/my vms#{B1}", "3", "700"),
        ("ssd/shared/my vms#older", "8", "600"),
        ("ssd/elsewhere#x", "6", "1"),
    ]
)


@pytest.fixture(name="found")
def _found() -> inventory.Inventory:
    found = inventory.parse_datasets(DATASETS)
    inventory.parse_snapshots(SNAPSHOTS, found)
    return found


def test_datasets_with_their_properties_and_where_those_come_from(found: inventory.Inventory) -> None:
    assert list(found) == ["ssd/shared", "ssd/shared/my vms", "ssd/shared/vm1"]
    assert found["ssd/shared"]["guid"] == "10714366914410487493"
    assert found["ssd/shared/my vms"]["props"]["mountpoint"] == ["/var/lib/my vms", "local"]
    assert found["ssd/shared/my vms"]["props"]["compression"] == ["lz4", "inherited"]
    assert inventory.is_volume(found["ssd/shared/vm1"])
    assert not inventory.is_volume(found["ssd/shared"])


def test_a_property_that_is_not_there_is_a_dash(found: inventory.Inventory) -> None:
    assert inventory.prop(found["ssd/shared/vm1"], "mountpoint") == "-"


def test_snapshots_are_in_the_order_of_their_creation(found: inventory.Inventory) -> None:
    assert found["ssd/shared"]["snapshots"] == [[B1, "1", 700], [C2, "2", 900]]
    assert found["ssd/shared/my vms"]["snapshots"] == [[B1, "3", 700], ["before the update", "4", 800]]


def test_bookmarks_are_beside_the_snapshots_in_the_same_order(found: inventory.Inventory) -> None:
    assert found["ssd/shared/my vms"]["bookmarks"] == [["older", "8", 600], [B1, "3", 700]]
    assert found["ssd/shared"]["bookmarks"] == []


def test_txgs_are_ordered_as_numbers() -> None:
    found = inventory.parse_datasets("d/a\ttype\tfilesystem\t-")
    inventory.parse_snapshots("d/a@ten\t1\t10\nd/a@nine\t2\t9\nd/a#hundred\t3\t100\nd/a#b\t4\t99\n", found)
    assert [snap[0] for snap in found["d/a"]["snapshots"]] == ["nine", "ten"]
    assert [mark[0] for mark in found["d/a"]["bookmarks"]] == ["b", "hundred"]


def test_only_filesystems_with_a_real_mountpoint_are_mounted_outermost_first(found: inventory.Inventory) -> None:
    found["ssd/shared/outer"] = {
        "type": "filesystem",
        "props": {"mountpoint": ["/var", "local"], "canmount": ["noauto", "local"]},
        "snapshots": [],
    }
    found["ssd/shared/auto"] = {
        "type": "filesystem",
        "props": {"mountpoint": ["/srv", "local"], "canmount": ["on", "default"]},
        "snapshots": [],
    }
    assert list(inventory.mountable(found).items()) == [("ssd/shared/outer", "/var"), ("ssd/shared/my vms", "/var/lib/my vms")]
    assert inventory.mounted_otherwise(found) == {}
    for name in ("outer", "auto"):
        found[f"ssd/shared/{name}"]["props"]["mounted"] = ["yes", "-"]
    assert inventory.mounted_otherwise(found) == {"ssd/shared/auto": "/srv"}


def test_sets_oldest_first_and_whether_they_are_complete(found: inventory.Inventory) -> None:
    sets = inventory.sets(found, "office")
    assert list(sets) == [B1, C2]
    assert sets[B1] == {"ssd/shared": "1", "ssd/shared/my vms": "3", "ssd/shared/vm1": "5"}
    assert inventory.is_complete(sets[B1], found)
    assert not inventory.is_complete(sets[C2], found)
    assert inventory.sets(found, "other") == {}


class Zfs:
    """`zfs` with the root ssd/shared and no other."""

    def __init__(self, error: str = "", encryption: str = "") -> None:
        self.error = error
        self.encryption = encryption
        self.commands: list[list[str]] = []

    def __call__(self, command: t.Sequence[str]) -> str:
        self.commands.append(list(command))
        if self.error:
            raise CommandError(command, 1, "", self.error)
        if "rot/shared" in command:
            raise CommandError(command, 1, "", "cannot open 'rot/shared': dataset does not exist")
        if command[1] == "list":
            return SNAPSHOTS if "snapshot,bookmark" in command else "ssd/shared\n"
        return IVSETS if "guid,ivsetguid" in command else DATASETS + self.encryption


def test_all_is_read_with_two_processes() -> None:
    zfs = Zfs()
    found = inventory.read(["ssd/shared"], zfs)
    assert [command[:2] for command in zfs.commands] == [["zfs", "get"], ["zfs", "list"]]
    assert found["ssd/shared/vm1"]["snapshots"] == [[B1, "5", 701]]
    assert found["ssd/shared/my vms"]["bookmarks"] == [["older", "8", 600], [B1, "3", 700]]


def test_snapshots_are_listed_by_what_needs_no_look_at_each_of_them() -> None:
    """With any other column ZFS opens every snapshot (OpenZFS commit dc95911)."""
    zfs = Zfs()
    inventory.read(["ssd/shared"], zfs)
    assert zfs.commands[1] == [
        *["zfs", "list", "-Hp", "-r", "-t", "snapshot,bookmark", "-o", "name,guid,createtxg", "-s", "createtxg", "ssd/shared"]
    ]


IVSETS = "\n".join(
    "\t".join(row)
    for row in [
        (f"ssd/shared/my vms@{B1}", "guid", "3"),
        (f"ssd/shared/my vms@{B1}", "ivsetguid", "333"),
        ("ssd/shared/my vms@before the update", "guid", "4"),
        ("ssd/shared/my vms@before the update", "ivsetguid", "444"),
        ("ssd/shared/my vms#older", "ivsetguid", "888"),
        ("ssd/shared/my vms#older", "guid", "8"),
        ("ssd/elsewhere@x", "guid", "6"),
        ("ssd/elsewhere@x", "ivsetguid", "666"),
        (f"ssd/shared/vm1@{B1}", "guid", "5"),
        (f"ssd/shared/vm1@{B1}", "ivsetguid", "-"),
    ]
)


def test_what_is_encrypted_costs_one_process_more_and_nothing_else_does() -> None:
    zfs = Zfs(encryption="\nssd/shared/my vms\tencryption\taes-256-gcm\t-\nssd/shared\tencryption\toff\t-")
    found = inventory.read(["ssd/shared"], zfs)
    assert len(zfs.commands) == 3
    assert zfs.commands[2][-2:] == ["guid,ivsetguid", "ssd/shared/my vms"]
    assert found["ssd/shared/my vms"]["ivset"] == {"3": "333", "4": "444", "8": "888"}
    assert [name for name, entry in found.items() if "ivset" in entry] == ["ssd/shared/my vms"]


@pytest.mark.parametrize(("value", "expected"), [("aes-256-gcm", True), ("off", False), ("-", False)])
def test_what_is_encrypted(value: str, expected: bool) -> None:
    assert inventory.is_encrypted({"props": {"encryption": [value, "-"]}}) is expected
    assert inventory.is_encrypted({"props": {}}) is False


def test_a_root_that_is_not_there_is_left_out() -> None:
    zfs = Zfs()
    assert list(inventory.read(["rot/shared", "ssd/shared"], zfs)) == ["ssd/shared", "ssd/shared/my vms", "ssd/shared/vm1"]
    assert zfs.commands[-1][-1] == "ssd/shared"
    assert "rot/shared" not in zfs.commands[-1]
    assert inventory.read(["rot/shared"], zfs) == {}


def test_any_other_error_is_not_taken_for_an_empty_pool() -> None:
    with pytest.raises(CommandError, match="permission denied"):
        inventory.read(["ssd/shared"], Zfs("cannot open 'ssd/shared': permission denied"))


def test_when_sets_were_taken() -> None:
    """Within one command the second may differ from dataset to dataset (OpenZFS #18220)."""
    lines = f"ssd/shared@{B1}\t1795000001\nssd/shared/my vms@{B1}\t1795000002\nssd/shared@{C2}\t1795000900\n"
    asked = ["zfs", "list", "-Hp", "-r", "-t", "snapshot", "-o", "name,creation", "ssd/shared"]
    found = inventory.read_times(["ssd/shared"], lambda command: lines if list(command) == asked else "")
    assert found == {B1: 1795000002, C2: 1795000900}
