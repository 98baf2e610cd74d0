# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host is asked before a pool is made there, and what is done; devices are loop devices where the machine has them."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._procedure import pools
from ansible_collections.hvm.pair.plugins.module_utils._zfs.layout import Device, Vdev

A, B = "/dev/disk/by-id/a", "/dev/disk/by-id/b"
MIRROR = {"ssd": {"vdevs": [["mirror", A, B]]}}
STATUS = f"config:\n\n\tNAME STATE READ\n\tssd ONLINE\n\t  mirror-0 ONLINE\n\t    {A} ONLINE\n\t    {B} ONLINE\n\nerrors: no\n"


class Zfs:
    """A host's zpool and zfs, with devices that hold nothing unless it is said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pools: list[str] = []
        self.importable = ""
        self.asked: list[str] = []
        self.fails: dict[str, tuple[int, str]] = {}
        self.devices = {A: Device("/dev/sda"), B: Device("/dev/sdb")}
        monkeypatch.setattr(pools, "device", lambda path, execute: self.devices[path])

    def __call__(self, command: t.Sequence[str]) -> str:
        text = " ".join(command)
        self.asked.append(text)
        for begin, (rc, said) in self.fails.items():
            if text.startswith(begin):
                raise CommandError(command, rc, "", said)
        if text == "zpool list -H -o name":
            return "".join(f"{name}\n" for name in self.pools)
        if text == "zpool import":
            if not self.importable:
                raise CommandError(command, 1, "", "no pools available to import")
            return self.importable
        if text.startswith("zpool status"):
            return STATUS
        if text.startswith(("zpool get", "zfs get")):
            return "ashift\t12\n" if "zpool" in text else "compression\tlz4\natime\ton\nacltype\tposix\n"
        assert text.startswith("zpool create")
        return ""

    def changes(self) -> list[str]:
        return [text for text in self.asked if text.startswith("zpool create")]


@pytest.fixture(name="zfs")
def _zfs(monkeypatch: pytest.MonkeyPatch) -> Zfs:
    monkeypatch.setattr(pools.shutil, "which", lambda name: f"/sbin/{name}")
    return Zfs(monkeypatch)


def test_a_missing_pool_is_made_once_and_check_mode_only_says_so(zfs: Zfs) -> None:
    said = pools.ensure(MIRROR, True, zfs)
    assert (said["changed"], said["created"], zfs.changes()) == (True, ["ssd"], [])
    assert said["diff"]["after"].startswith("zpool create -o ashift=12 ")
    assert pools.ensure(MIRROR, False, zfs)["commands"] == said["commands"]
    assert zfs.changes() == [" ".join(said["commands"][0])]
    zfs.pools, zfs.asked = ["ssd", "other"], []
    again = pools.ensure(MIRROR, False, zfs)
    assert (again["changed"], again["created"], zfs.changes()) == (False, [], [])
    assert "zpool import" not in zfs.asked  # that look takes seconds
    assert again["warnings"] == ["pool ssd is not as hvm_pools describes it, and stays as it is: its atime is on, not off"]


def test_nothing_is_made_while_one_of_several_is_refused(zfs: Zfs) -> None:
    zfs.devices[B] = Device("/dev/sdb", ("has a signature of ext4",))
    with pytest.raises(Refused, match=r"making the pools is refused, nothing was changed: pool rot: .*is not empty"):
        pools.ensure({"ssd": {"vdevs": [[A]]}, "rot": {"vdevs": [[B]]}}, False, zfs)
    assert zfs.changes() == []


def test_a_pool_that_is_not_imported_is_found(zfs: Zfs) -> None:
    zfs.importable = "   pool: ssd\n     id: 1\n"
    with pytest.raises(Refused, match="a pool ssd is there, and not imported"):
        pools.ensure(MIRROR, False, zfs)


def test_nothing_described_asks_for_nothing(zfs: Zfs) -> None:
    assert pools.ensure({}, False, zfs)["changed"] is False and zfs.asked == []


@pytest.mark.parametrize(
    "failure", [(1, "The ZFS modules cannot be auto-loaded.\nTry running ..."), (127, "zpool: command not found")]
)
def test_a_host_without_zfs_is_told_what_to_install(zfs: Zfs, failure: tuple[int, str]) -> None:
    zfs.fails["zpool list"] = failure
    with pytest.raises(HvmError, match="ZFS does not work on this host: ") as error:
        pools.ensure(MIRROR, False, zfs)
    assert "zfs-dkms" in error.value.remedy


def test_check_mode_before_the_packages_are_there_looks_at_the_devices(zfs: Zfs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools.shutil, "which", lambda name: None)
    said = pools.ensure(MIRROR, True, zfs)
    assert said["created"] == ["ssd"] and said["warnings"] == ["ZFS is not installed yet: only the devices were looked at"]
    assert zfs.asked == []


def test_what_zpool_itself_refuses_is_said_with_what_to_do(zfs: Zfs) -> None:
    zfs.fails["zpool create"] = (1, "invalid vdev specification\nuse '-f' to override the following errors:\nmismatched level")
    with pytest.raises(HvmError, match="mismatched level") as error:
        pools.ensure(MIRROR, False, zfs)
    assert "Nothing here uses -f" in error.value.remedy


def test_a_whole_disk_is_known_by_its_first_partition(tmp_path: pathlib.Path) -> None:
    disk = tmp_path / "devices/sdb"
    (disk / "sdb1").mkdir(parents=True)
    (disk / "sdb1/partition").write_text("1\n")
    block = tmp_path / "block"
    block.mkdir()
    (block / "sdb").symlink_to(disk)
    (block / "sdb1").symlink_to(disk / "sdb1")
    assert [pools._disk_of(f"/dev/{name}", str(block)) for name in ("sdb1", "sdb", "gone")] == [
        "/dev/sdb",
        "/dev/sdb",
        "/dev/gone",
    ]


# Real devices


@pytest.fixture(name="loop")
def _loop(tmp_path: pathlib.Path) -> t.Iterator[str]:
    image = tmp_path / "image"
    image.write_bytes(b"")
    with image.open("r+b") as handle:
        handle.truncate(32 << 20)
    tools = all(shutil.which(name) for name in ("losetup", "lsblk", "wipefs"))
    made = tools and subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False)
    if not made or made.returncode:
        pytest.skip("no loop devices here")
    yield made.stdout.strip()
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=False)


def test_a_device_is_empty_until_something_is_on_it(loop: str) -> None:
    assert pools.device(loop, run) == Device(loop)
    run(["mke2fs", "-q", "-F", "-L", "data", loop])
    assert pools.device(loop, run) == Device(loop, ("has a signature of ext4 'data'",)) or pools.device(loop, run) == Device(
        loop, ("has a signature of ext2 'data'",)
    )


def test_a_device_that_somebody_uses_is_not_free(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pools._is_taken(loop) is False
    holder = pools.os.open(loop, pools.os.O_RDONLY | pools.os.O_EXCL)
    try:
        assert pools.device(loop, run) == Device(loop, ("is in use",))
    finally:
        pools.os.close(holder)


def test_what_is_no_block_device_is_none(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    assert pools.device(str(tmp_path / "file")) == pools.device("/dev/null") == pools.device("/dev/no/such") == Device("")


def test_vdevs_are_named_as_they_are_described(tmp_path: pathlib.Path) -> None:
    (tmp_path / "sda").write_text("")
    (tmp_path / "by-id").symlink_to(tmp_path / "sda")
    pool = pools.layout.Wanted("ssd", (Vdev("", "disk", (str(tmp_path / "by-id"),)),), {}, {})
    assert pools._named([str(tmp_path / "sda"), "/dev/other"], pool) == (str(tmp_path / "by-id"), "/dev/other")
