# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import struct
import typing as t
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import overlay
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.overlay import DIRECTORY, Disk
from ansible_collections.hvm.pair.plugins.module_utils._procedure import relaying

FILE = """<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='/srv/a.img'/>
<target dev='vda' bus='virtio'/></disk>"""
BLOCK = """<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/zvol/ssd/a'/>
<target dev='vdb' bus='virtio'/></disk>"""
#: A chain of the user's own.
QCOW2 = """<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/c.qcow2'/>
<backingStore type='file'><format type='qcow2'/><source file='/srv/golden.qcow2'/><backingStore/></backingStore>
<target dev='vdc' bus='virtio'/></disk>"""
CDROM = """<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/srv/debian.iso'/>
<target dev='sda' bus='sata'/><readonly/></disk>"""
EMPTY = "<disk type='file' device='cdrom'><target dev='sdb' bus='sata'/><readonly/></disk>"
READONLY = """<disk type='file' device='disk'><source file='/srv/r.img'/><target dev='vdd'/><readonly/></disk>"""
BARE = "<disk type='file'><source file='/srv/b.img'/><target dev='hda'/></disk>"

DISKS = [
    Disk("vda", "/srv/a.img", "raw", False, f"{DIRECTORY}/web.vda.qcow2"),
    Disk("vdb", "/dev/zvol/ssd/a", "raw", True, f"{DIRECTORY}/web.vdb.qcow2"),
    Disk("vdc", "/srv/c.qcow2", "qcow2", False, f"{DIRECTORY}/web.vdc.qcow2"),
]


def domain(*disks: str) -> str:
    return f"<domain type='kvm'><name>web</name><devices>{''.join(disks)}<interface/></devices></domain>"


def overlaid(disk: Disk, below: str = "") -> str:
    """A disk as libvirt shows it while it has an overlay."""
    kind, source = ("block", "dev") if disk.block else ("file", "file")
    return f"""<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk.overlay}' index='3'/>
    <backingStore type='{kind}' index='1'><format type='{disk.format}'/><source {source}='{disk.base}'/>
    {below or "<backingStore/>"}</backingStore><target dev='{disk.dev}' bus='virtio'/></disk>"""


#: Somebody's, over an overlay, with libvirt's own name for it.
SNAPSHOT = f"""<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{DIRECTORY}/web.vda.snap1'/>
<backingStore type='file'><format type='qcow2'/><source file='{DISKS[0].overlay}'/><backingStore type='file'><format type='raw'/>
<source file='/srv/a.img'/><backingStore/></backingStore></backingStore>
<mirror type='file' job='copy'><source file='/srv/copy.qcow2'/></mirror><target dev='vda' bus='virtio'/></disk>"""

GOLDEN = """<backingStore type='file' index='2'><format type='qcow2'/><source file='/srv/golden.qcow2'/><backingStore/>
</backingStore>"""


# ---- which disks


def test_every_disk_that_the_vm_can_write_to_has_an_overlay() -> None:
    assert overlay.disks("web", domain(FILE, BLOCK, QCOW2, CDROM, EMPTY, READONLY)) == DISKS


def test_without_a_driver_and_a_kind_it_is_a_raw_disk() -> None:
    assert overlay.disks("web", domain(BARE)) == [Disk("hda", "/srv/b.img", "raw", False, f"{DIRECTORY}/web.hda.qcow2")]


def test_a_vm_without_disks_has_none() -> None:
    assert overlay.disks("web", domain(CDROM)) == []
    assert overlay.disks("web", "<domain/>") == []


@given(st.text(min_size=1), st.text(min_size=1), st.sampled_from(["vda", "sdb"]))
def test_each_vm_has_files_of_its_own_that_the_relay_takes(one: str, other: str, dev: str) -> None:
    path = overlay.overlay_path(one, dev)
    name = path.removeprefix(f"{DIRECTORY}/")
    assert relaying.path_of(f"write:{name}") == path
    assert (overlay.overlay_path(other, dev) == path) is (one == other)


def test_a_name_that_a_file_may_have_is_that_of_the_file() -> None:
    assert overlay.overlay_path("web-1_a", "vda") == f"{DIRECTORY}/web-1_a.vda.qcow2"
    assert overlay.overlay_path("web.1", "vda").startswith(f"{DIRECTORY}/web_1-")
    assert len(overlay.overlay_path("x" * 300, "vda")) < len(DIRECTORY) + 130


# ---- on them, and off again


def test_in_use_are_those_whose_source_is_one() -> None:
    assert overlay.in_use(domain(FILE, overlaid(DISKS[1]), overlaid(DISKS[2]), CDROM), DISKS) == ["vdb", "vdc"]
    assert overlay.in_use(domain(FILE, BLOCK, QCOW2, CDROM, EMPTY), DISKS) == []
    assert overlay.in_use(domain(SNAPSHOT), DISKS) == []


def test_what_a_disk_is_on_instead_covers_it() -> None:
    assert overlay.covers(domain(FILE, overlaid(DISKS[1]), QCOW2, CDROM, EMPTY), DISKS) == []
    chain = [f"{DIRECTORY}/web.vda.snap1", DISKS[0].overlay, "/srv/a.img"]
    assert overlay.covers(domain(SNAPSHOT, BLOCK), DISKS) == [(DISKS[0], "qcow2", chain)]
    other = overlay.covers(domain(FILE.replace("/srv/a.img", "/srv/new.img")), DISKS)
    assert other == [(DISKS[0], "raw", ["/srv/new.img"])]


def test_somebodys_snapshot_is_not_dropped_from_a_definition() -> None:
    assert ET.canonicalize(overlay.on_bases(domain(SNAPSHOT), DISKS)) == ET.canonicalize(domain(SNAPSHOT))


def shown(xml: str) -> list[tuple[str, t.Any, dict[str, str], str, list[str]]]:
    found = []
    for disk in ET.fromstring(xml).findall("./devices/disk"):
        source, driver = disk.find("source"), disk.find("driver")
        chain = [one.get("file") or one.get("dev") or "" for one in disk.findall(".//backingStore/source")]
        assert source is not None and driver is not None
        found.append((disk.find("target").get("dev"), disk.get("type"), source.attrib, driver.get("type"), chain))  # type: ignore[union-attr]
    return found


def test_a_definition_with_overlays_is_that_of_its_disks_again() -> None:
    xml = domain(overlaid(DISKS[0]), overlaid(DISKS[1]), overlaid(DISKS[2], GOLDEN))
    assert shown(overlay.on_bases(xml, DISKS)) == [
        ("vda", "file", {"file": "/srv/a.img"}, "raw", []),
        ("vdb", "block", {"dev": "/dev/zvol/ssd/a"}, "raw", []),
        ("vdc", "file", {"file": "/srv/c.qcow2"}, "qcow2", ["/srv/golden.qcow2"]),
    ]


def test_without_a_chain_as_in_a_definition_it_is_the_same() -> None:
    inactive = f"""<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>
    <source file='{DISKS[1].overlay}'/><target dev='vdb'/></disk>"""
    assert shown(overlay.on_bases(domain(inactive), DISKS)) == [("vdb", "block", {"dev": "/dev/zvol/ssd/a"}, "raw", [])]
    assert "cache=\"none\"" in overlay.on_bases(domain(inactive), DISKS)


def test_a_disk_that_is_no_overlay_of_ours_stays_as_it_is() -> None:
    xml = domain(FILE, BLOCK, QCOW2, CDROM, EMPTY)
    assert ET.canonicalize(overlay.on_bases(xml, DISKS)) == ET.canonicalize(xml)
    other = domain(overlaid(DISKS[0]._replace(dev="vdz")))
    assert ET.canonicalize(overlay.on_bases(other, DISKS)) == ET.canonicalize(other)


def test_what_is_put_on_its_disks_has_the_overlays_that_it_had() -> None:
    """So a disk is never taken for another."""
    xml = overlay.on_bases(domain(*map(overlaid, DISKS)), DISKS)
    assert overlay.disks("web", xml) == DISKS and overlay.in_use(xml, DISKS) == []


@pytest.mark.parametrize(
    ("mirror", "ready"),
    [
        ("", False),
        ("<mirror type='file' job='active-commit'/>", False),
        ("<mirror type='file' job='active-commit' ready='yes'/>", True),
        ("<mirror type='file' job='active-commit' ready='abort'/>", False),
        ("<mirror type='file' job='copy' ready='yes'/>", False),
    ],
)
def test_it_changes_over_when_libvirt_says_that_all_is_there(mirror: str, ready: bool) -> None:
    xml = domain(FILE, overlaid(DISKS[1]).replace("<target", f"{mirror}<target"))
    assert overlay._is_ready(xml, "vdb") is ready
    assert not overlay._is_ready(xml, "vda")


# ---- the files


def test_an_old_one_is_never_written_over(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "run", lambda *dummy, **dummy_more: pytest.fail("qemu-img would write over it"))
    old = tmp_path / "web.vda.qcow2"
    old.symlink_to("/nowhere")
    with pytest.raises(HvmError, match=r"web\.vda\.qcow2 is there already.*recover decides about it"):
        overlay.make(DISKS[0]._replace(overlay=str(old)))


def test_a_new_one_lies_over_its_disk_and_is_nobody_elses(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **dummy: t.Any) -> str:
        asked.append(command)
        pathlib.Path(command[-1]).touch(0o644)
        return ""

    monkeypatch.setattr(overlay, "run", run)
    new = tmp_path / "web.vdc.qcow2"
    overlay.make(DISKS[2]._replace(overlay=str(new)))
    [command] = asked
    assert command[:5] == ["qemu-img", "create", "-q", "-f", "qcow2"]
    assert command[-5:] == ["-b", "/srv/c.qcow2", "-F", "qcow2", str(new)]
    assert new.stat().st_mode & 0o777 == 0o600


def qcow2(*table: int) -> bytes:
    """Version 3 with an L1 table in its fourth cluster."""
    header = struct.pack(">4sIQIIQIIQ", b"QFI\xfb", 3, 0x200, 10, 17, 1 << 34, 0, len(table), 3 << 17)
    return header.ljust(3 << 17, b"\0") + struct.pack(f">{len(table)}Q", *table)


@pytest.mark.parametrize(
    ("content", "empty"),
    [
        (qcow2(0, 0, 0), True),
        (qcow2(0, 1 << 63 | 5 << 17, 0), False),
        (qcow2(0, 0)[:-1], False),
        (qcow2(), False),
        (b"", False),
        (b"RAW!" + qcow2(0)[4:], False),
    ],
)
def test_it_is_empty_when_its_table_refers_to_nothing(tmp_path: pathlib.Path, content: bytes, empty: bool) -> None:
    file = tmp_path / "web.vda.qcow2"
    file.write_bytes(content)
    assert overlay.is_empty(str(file)) is empty


class Snapshots:
    """A VM that is asked for one."""

    def __init__(self, xml: str) -> None:
        self.xml, self.asked, self.did = xml, list[tuple[str, int]](), list[str]()

    def lookupByName(self, name: str) -> t.Any:
        assert name == "web"
        return self

    def XMLDesc(self, dummy: int) -> str:
        return self.xml

    def state(self) -> list[int]:
        return [1, 1]

    def suspend(self) -> None:
        self.did.append("suspend")

    def resume(self) -> None:
        self.did.append("resume")

    def snapshotCreateXML(self, xml: str, flags: int) -> None:
        self.did.append("snapshot")
        self.asked.append((xml, flags))


def test_all_disks_change_at_one_moment_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    vm = Snapshots(domain(FILE, BLOCK, QCOW2, CDROM))
    monkeypatch.setattr(overlay, "sync_directory", vm.did.append)
    overlay.begin(vm, "web", DISKS)
    assert vm.did == ["suspend", "snapshot", "/etc/libvirt/qemu", "resume"]
    [(xml, flags)] = vm.asked
    assert flags == 16 + 32 + 4 + 128  # DISK_ONLY, REUSE_EXT, NO_METADATA, ATOMIC
    root = ET.fromstring(xml)
    assert root.find("memory").get("snapshot") == "no"  # type: ignore[union-attr]
    sources = {one.get("name"): one.find("source") for one in root.findall("./disks/disk")}
    told = {name: (source.get("file") if source is not None else None) for name, source in sources.items()}
    assert told == {**{disk.dev: disk.overlay for disk in DISKS}, "sda": None}
    kinds = {one.get("name"): one.get("snapshot") for one in root.findall("./disks/disk")}
    assert kinds == {"vda": "external", "vdb": "external", "vdc": "external", "sda": "no"}
