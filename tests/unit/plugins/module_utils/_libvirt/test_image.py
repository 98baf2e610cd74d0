# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an image says of itself, and when it may be restored."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import struct
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, image

libvirt = pytest.importorskip("libvirt")

UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
SET, LATER = "hvm_20261125T040000Z_office_B", "hvm_20261125T050000Z_office_C"
STAMP = {"inode": 7, "size": 1 << 30, "mtime_ns": 1764043200123456789}
#: Little endian: version 2, 8192 bytes of XML and cookie, was running, raw, cookie at 4096.
GOLDEN = b"LibvirtQemudSave" + bytes.fromhex("0200000000200000010000000000000000100000") + bytes(56)

XML = f"""
<domain type="kvm" id="3"><name>web</name><uuid>{UUID}</uuid>
  <os><type arch="x86_64" machine="pc-q35-10.0">hvm</type></os>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type="file" device="disk"><source file="/srv/vms/web.qcow2" index="2"/><target dev="vda"/>
      <backingStore type="file" index="3"><format type="raw"/><source file="/srv/vms/base.img"/><backingStore/></backingStore>
    </disk>
    <disk type="block" device="disk"><source dev="/dev/zvol/ssd/shared/web"/><backingStore/><target dev="vdb"/></disk>
    <disk type="volume" device="disk"><source pool="default" volume="data.img"/><target dev="vdc"/></disk>
    <disk type="network" device="disk"><source protocol="rbd" name="rbd/web"/><target dev="vdd"/></disk>
    <disk type="block" device="lun"><source dev="/dev/sdz"/><target dev="sda"/></disk>
    <disk type="file" device="disk"><source file="/srv/vms/ro.img"/><target dev="vde"/><readonly/></disk>
    <disk type="file" device="cdrom"><source file="/iso/debian.iso"/><target dev="hda"/><readonly/></disk>
    <disk type="file" device="cdrom"><target dev="hdb"/></disk>
  </devices>
</domain>
"""


def manifest(**changes: t.Any) -> image.Manifest:
    """web, with one file and one zvol, saved into SET."""
    vm = {"vm": "web", "uuid": UUID, "machine": "pc-q35-10.0", "qemu": "10.0.2", "libvirt": "11.3.0", "paused": False}
    disks = [
        {"target": "vda", "path": "/srv/vms/web.img", "kind": "file", "dataset": "ssd/shared/vms", "stamp": STAMP},
        {"target": "vdb", "path": "/dev/zvol/ssd/shared/web", "kind": "zvol", "dataset": "ssd/shared/web", "stamp": None},
    ]
    return {**image.manifest(vm, disks, {"size": 4096, "ends": "abc"}, [SET]), **changes}


FINE = image.Seen(
    header=image.Header(True, 2, 8192, True),
    size=4096,
    ends="abc",
    uuid=UUID,
    defined=UUID,
    stamps={"/srv/vms/web.img": STAMP},
    written={"ssd/shared/web": {SET: ["0", "11"]}},
    qemu="10.0.2",
)


def told(found: image.Manifest | None = None, force: bool = False, **changes: t.Any) -> list[str]:
    wrong = image.check("web", manifest() if found is None else found, dataclasses.replace(FINE, **changes), force)
    assert all(finding.remedy for finding in wrong)
    return [finding.what for finding in wrong]


# ---- the header


def test_the_header_of_a_whole_image() -> None:
    assert image.HEADER_LENGTH == len(GOLDEN) == 92
    assert image.parse_header(GOLDEN + b"<domain/>") == image.Header(True, 2, 8192, True)


def test_half_an_image_has_another_magic() -> None:
    found = image.parse_header(GOLDEN.replace(b"Save", b"Part"))
    assert found is not None
    assert not found.whole


def test_an_image_from_a_machine_of_the_other_byte_order() -> None:
    swapped = b"LibvirtQemudSave" + struct.pack(">5I56x", 2, 8192, 0, 0, 0)
    assert image.parse_header(swapped) == image.Header(True, 2, 8192, False)


@pytest.mark.parametrize("head", [b"", GOLDEN[:91], b"TestGuestMagic" + bytes(100), bytes(92)])
def test_anything_else_is_no_image(head: bytes) -> None:
    assert image.parse_header(head) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_an_image_or_not(head: bytes) -> None:
    found = image.parse_header(head)
    assert found is None or head[:12] == b"LibvirtQemud"


def test_the_xml_ends_at_its_nul() -> None:
    assert image.parse_xml(b"<domain/>\0\0\0<cookie/>") == "<domain/>"


# ---- what a manifest is made of


def test_disks_that_may_be_written_with_what_lies_below_them() -> None:
    assert [(disk["target"], disk["path"]) for disk in image.disks_of(XML)] == [
        ("vda", "/srv/vms/web.qcow2"),
        ("vda[1]", "/srv/vms/base.img"),
        ("vdb", "/dev/zvol/ssd/shared/web"),
        ("vdc", "default:data.img"),
        ("vdd", ""),
        ("sda", "/dev/sdz"),
    ]


MOUNTS = [("ssd/shared", "/srv"), ("ssd/shared/vms", "/srv/vms"), ("ssd/root", "/")]


@pytest.mark.parametrize(
    ("path", "kind", "dataset"),
    [
        ("/srv/vms/web.img", "file", "ssd/shared/vms"),
        ("/srv/other/web.img", "file", "ssd/shared"),
        ("/srvx/web.img", "file", "ssd/root"),
        ("/dev/zvol/ssd/shared/a/web", "zvol", "ssd/shared/a/web"),
        ("/dev/sdz", "other", "ssd/root"),
        ("", "other", ""),
    ],
)
def test_where_a_disk_lies(path: str, kind: str, dataset: str) -> None:
    assert image.dataset_of(path, MOUNTS) == (kind, dataset)


def test_a_stamp_changes_with_every_write(tmp_path: pathlib.Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"a")
    first = image.stamp(str(disk))
    assert first is not None
    os.chmod(disk, 0o600)  # as libvirt does with owner and mode when a VM ends
    assert image.stamp(str(disk)) == first
    os.utime(disk, ns=(0, first["mtime_ns"] + 1))
    assert image.stamp(str(disk)) != first
    assert image.stamp(str(tmp_path / "none")) is None
    assert image.stamp(str(tmp_path)) is None


def test_disks_are_stamped_where_they_are_files(tmp_path: pathlib.Path) -> None:
    (tmp_path / "disk").write_bytes(b"a")
    disks = [{"target": "vda", "path": str(tmp_path / "disk")}, {"target": "vdb", "path": "/dev/zvol/ssd/shared/web"}]
    file, zvol = image.disk_facts(disks, [("ssd/vms", str(tmp_path))])
    assert (file["kind"], file["dataset"], file["stamp"]["size"]) == ("file", "ssd/vms", 1)
    assert (zvol["kind"], zvol["dataset"], zvol["stamp"]) == ("zvol", "ssd/shared/web", None)


@pytest.mark.parametrize(("number", "text"), [(11003000, "11.3.0"), (9000000, "9.0.0"), (10000013, "10.0.13")])
def test_versions(number: int, text: str) -> None:
    assert image.version_text(number) == text


def test_later_versions_are_greater() -> None:
    assert image.release("9.2.0") < image.release("10.0.0") == image.release("10.0.13")


# ---- files


def test_a_manifest_is_no_image_and_comes_back_as_it_was(tmp_path: pathlib.Path) -> None:
    found = manifest()
    image.write_manifest(str(tmp_path), found)
    assert [path.name for path in tmp_path.iterdir()] == ["web.state.json"]
    assert (tmp_path / "web.state.json").stat().st_mode & 0o777 == 0o600
    assert image.read_manifest(str(tmp_path), "web") == found
    image.write_manifest(str(tmp_path), manifest(paused=True), durable=False)
    assert (image.read_manifest(str(tmp_path), "web") or {})["paused"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"vm": "db"}'])
def test_what_cannot_be_read_or_is_of_another_vm_is_no_manifest(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "web.state.json").write_text(text)
    assert image.read_manifest(str(tmp_path), "web") is None
    assert image.read_manifest(str(tmp_path), "none") is None


def test_the_checksum_tells_images_apart_by_both_ends(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "web.state"
    sums = set()
    for data in (bytes(300 << 10), b"x" + bytes((300 << 10) - 1), bytes((300 << 10) - 1) + b"x", b"short", b""):
        path.write_bytes(data)
        found = image.measure(str(path))
        assert found["size"] == len(data)
        sums.add(found["ends"])
    assert len(sums) == 5


def test_header_and_xml_of_a_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "web.state"
    path.write_bytes(GOLDEN + XML.encode() + b"\0" + bytes(8192))
    header, xml = image.read_header(str(path))
    assert header == image.Header(True, 2, 8192, True)
    assert xml == XML
    path.write_bytes(GOLDEN[:20] + b"\xff" * 4 + GOLDEN[24:])  # a length that cannot be
    assert image.read_header(str(path))[1] == ""
    path.write_bytes(b"precious")
    assert image.read_header(str(path)) == (None, "")


def test_what_is_put_beside_is_no_vms_state_any_more(tmp_path: pathlib.Path) -> None:
    for name in ("web", "db"):
        (tmp_path / f"{name}.state").write_bytes(GOLDEN)
        image.write_manifest(str(tmp_path), {**manifest(), "vm": name})
    place = image.put_beside(str(tmp_path), "web", "20261125T040000Z")
    assert place == f"{tmp_path}/unfit-20261125T040000Z/web.state"
    assert image.saved_names(str(tmp_path)) == ["db"] and not image.exists(str(tmp_path), "web")
    beside = tmp_path / "unfit-20261125T040000Z"
    assert (beside / "web.state").read_bytes() == GOLDEN and (beside / "web.state.json").exists()
    assert beside.stat().st_mode & 0o777 == 0o700
    image.put_beside(str(tmp_path), "db", "20261125T040000Z")  # another VM in the same second
    assert sorted(path.name for path in beside.glob("*.state")) == ["db.state", "web.state"]
    assert image.saved_names(str(tmp_path)) == []


def test_an_image_that_has_not_got_its_name_yet_is_put_beside_under_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "web.state.partial").write_bytes(GOLDEN)
    place = image.put_beside(str(tmp_path), "web", "20261125T040000Z")
    assert pathlib.Path(place).read_bytes() == GOLDEN  # it has no manifest, and that is no reason to fail
    assert [path.name for path in tmp_path.iterdir()] == ["unfit-20261125T040000Z"]


# ---- does it fit?


def test_an_image_on_its_own_disks() -> None:
    assert told() == []


def test_a_zvol_that_was_written_to_is_refused_and_nothing_forces_it() -> None:
    written = {"ssd/shared/web": {SET: ["8192", ""]}}
    said = f"VM web: disk vdb (/dev/zvol/ssd/shared/web) has changed since the VM was saved: 8192 bytes were written since {SET}"
    assert told(written=written) == [said]
    assert told(written=written, force=True) == [said]


def test_a_file_that_was_written_to_is_refused_and_nothing_forces_it() -> None:
    later = {**STAMP, "mtime_ns": STAMP["mtime_ns"] + 1}
    disk = "VM web: disk vda (/srv/vms/web.img)"
    said = f"{disk} has changed since the VM was saved: it was last written at 2025-11-25T04:00:00+00:00"
    assert told(stamps={"/srv/vms/web.img": later}) == [said]
    assert told(stamps={"/srv/vms/web.img": later}, force=True) == [said]
    assert told(stamps={"/srv/vms/web.img": later}, fresh=True) == [said]


@pytest.mark.parametrize(
    ("change", "why"),
    [({"inode": 8}, "it is another file"), ({"size": 5}, "it had 1073741824 bytes and has 5")],
)
def test_another_file_in_its_place(change: dict[str, int], why: str) -> None:
    assert told(stamps={"/srv/vms/web.img": {**STAMP, **change}}) == [
        f"VM web: disk vda (/srv/vms/web.img) has changed since the VM was saved: {why}"
    ]


def test_a_missing_disk() -> None:
    assert told(stamps={}, force=True) == ["VM web: disk vda (/srv/vms/web.img) is not there"]


def test_a_zvol_without_its_set_is_not_proven_and_the_operator_may_vouch_for_it() -> None:
    said = (
        "VM web: disk vdb (/dev/zvol/ssd/shared/web) is in no snapshot set that was taken when the VM was saved, "
        "so nothing proves that it is as it was"
    )
    for written in (None, {}, {"ssd/shared/web": {LATER: ["0", ""]}}):
        assert told(written=written) == [said]
        assert told(written=written, force=True) == []
        assert told(written=written, fresh=True) == []


def test_one_anchor_that_holds_is_enough() -> None:
    both = image.with_set(manifest(), LATER, {"ssd/shared/web": "22", "ssd/other": "33"})
    assert both["sets"] == {SET: {}, LATER: {"ssd/shared/web": "22"}}
    assert told(both, written={"ssd/shared/web": {LATER: ["0", "22"]}}) == []
    assert told(both, written={"ssd/shared/web": {LATER: ["0", "99"]}}) == [
        f"VM web: disk vdb (/dev/zvol/ssd/shared/web) has another snapshot under the name {LATER}"
    ]


def test_disks_that_are_neither_files_nor_zvols_are_never_proven() -> None:
    disk = {"target": "vdd", "path": "", "kind": "other", "dataset": "", "stamp": None}
    assert told(manifest(disks=[disk])) == [
        "VM web: disk vdd (of the network) is neither a file nor a zvol, so nothing proves that it is as it was"
    ]
    assert told(manifest(disks=[disk]), force=True) == []


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"header": None}, "the image of VM web is no image of libvirt's"),
        (
            {"header": image.Header(False, 2, 8192, True)},
            "the image of VM web is half of one: it was never written to its end",
        ),
        ({"size": 4095}, "the image of VM web has 4095 bytes, and its manifest says 4096"),
        ({"ends": "abd"}, "the image of VM web is not the one that its manifest is about: its checksum differs"),
        (
            {"defined": "other"},
            f"the image called web is of another VM: UUID: the image says {UUID}, its manifest says {UUID}, libvirt says other",
        ),
        (
            {"unfit": "unsupported machine"},
            "VM web has the machine type pc-q35-10.0, which is not offered here (unsupported machine)",
        ),
    ],
)
def test_what_is_wrong_with_an_image_is_never_forced(seen: dict[str, t.Any], said: str, force: bool) -> None:
    assert told(force=force, **seen) == [said]


def test_an_older_qemu_is_for_the_operator_to_try() -> None:
    assert told(qemu="9.2.4") == ["VM web was saved with QEMU 10.0.2, and here is the older 9.2.4"]
    assert told(qemu="9.2.4", force=True) == []
    assert told(qemu="10.1.0") == []
    assert told(qemu="") == []


def test_without_a_manifest_only_the_operators_word_counts_and_the_image_must_be_whole() -> None:
    def without(force: bool, **changes: t.Any) -> list[str]:
        return [finding.what for finding in image.check("web", None, dataclasses.replace(FINE, **changes), force)]

    assert without(False) == ["the image of VM web has no manifest: nothing says which disks it fits"]
    assert without(True) == []
    assert len(without(True, uuid="other")) == 1
    assert len(without(True, header=None)) == 1


def test_a_manifest_of_a_later_format_is_not_guessed_at() -> None:
    assert told(manifest(format=2), force=True) == ["the manifest of VM web has format 2, and this version reads 1"]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    assert len(told(size=1, defined="other", stamps={}, written={}, qemu="2.0.0", unfit="no")) == 6


SETS = st.dictionaries(st.sampled_from("abcd"), st.dictionaries(st.sampled_from(["z"]), st.sampled_from(["1", "2"])))
THERE = st.dictionaries(st.sampled_from("abcd"), st.tuples(st.sampled_from(["0", "9"]), st.sampled_from(["", "1", "2"])))


@given(SETS, THERE)
def test_a_zvol_is_proven_only_by_an_anchor_of_its_own_that_is_there_with_nothing_written_since(
    sets: dict[str, dict[str, str]], there: dict[str, tuple[str, str]]
) -> None:
    if image.anchored("z", sets, {"z": there}) == "":
        assert any(name in there and there[name][0] == "0" for name in sets)
    if not set(sets) & set(there):
        assert image.anchored("z", sets, {"z": there}) is None


# ---- with libvirt's test driver: VMs that live in this process only

DOMAIN = """
<domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0">
  <name>{name}</name><uuid>{uuid}</uuid>
  <memory>65536</memory>
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <devices><disk type="file" device="disk"><source file="{disk}"/><target dev="vda"/></disk>{more}</devices>
  <test:runstate>{state}</test:runstate>
</domain>
"""
ZVOL = '<disk type="block" device="disk"><source dev="/dev/zvol/ssd/shared/db"/><target dev="vdb"/></disk>'
WEB, DB = "11111111-f6a4-8304-79aa-97f2502e193f", "22222222-f6a4-8304-79aa-97f2502e193f"


class Host:
    """web has a file, db a file and a zvol; both run. The test driver writes images of its own kind: they are dressed up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
        self.at = tmp_path
        self.images = str(tmp_path / "images")
        self.monkeypatch = monkeypatch
        self.header = image.Header(True, 2, 8192, True)
        xml = ""
        for name, uuid, more in (("web", WEB, ""), ("db", DB, ZVOL)):
            (tmp_path / f"{name}.img").write_bytes(b"disk")
            xml += DOMAIN.format(name=name, uuid=uuid, disk=tmp_path / f"{name}.img", more=more, state=1)
        (tmp_path / "node.xml").write_text(f"<node>{xml}</node>")
        self.conn = domains.connect(f"test://{tmp_path}/node.xml")
        monkeypatch.setattr(image, "read_header", self.read_header)

    def read_header(self, path: str) -> tuple[image.Header | None, str]:
        name = os.path.basename(path).split(".")[0]
        known = pathlib.Path(path).read_bytes().startswith(b"TestGuestMagic")
        uuid = {"web": WEB, "db": DB}[name]
        return (self.header if known else None), f"<domain><uuid>{uuid}</uuid></domain>" if known else ""

    def state(self, name: str) -> str:
        return domains.vms(self.conn, self.images)[name]["state"]

    def files(self) -> list[str]:
        return sorted(path.name for path in pathlib.Path(self.images).iterdir())

    def reasons(self, name: str, **kwargs: t.Any) -> list[str]:
        with pytest.raises(Refused) as caught:
            image.restore(self.conn, name, self.images, **kwargs)
        assert self.state(name) == "stopped"
        assert f"{name}.state" in self.files()
        return [finding.what for finding in caught.value.findings]


@pytest.fixture(name="host")
def _host(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> t.Iterator[Host]:
    host = Host(monkeypatch, tmp_path)
    yield host
    host.conn.close()


def test_saved_and_restored_and_nothing_is_left_of_it(host: Host) -> None:
    assert image.save(host.conn, "web", host.images) == "web saved"
    assert image.saved_names(host.images) == ["web"]
    assert host.files() == ["web.state", "web.state.json"]
    assert os.stat(host.images).st_mode & 0o777 == 0o700
    assert {os.stat(f"{host.images}/{name}").st_mode & 0o777 for name in host.files()} == {0o600}
    found = domains.vms(host.conn, host.images)["web"]
    assert (found["state"], found["saved"]) == ("stopped", True)
    assert image.save(host.conn, "web", host.images) is None
    assert image.restore(host.conn, "web", host.images) == "web restored"
    assert host.files() == []
    assert host.state("web") == "running"
    assert image.restore(host.conn, "web", host.images) is None


def test_what_a_manifest_says_of_a_vm(host: Host) -> None:
    image.save(host.conn, "db", host.images)
    found = image.read_manifest(host.images, "db")
    assert found is not None
    told = ("format", "vm", "uuid", "type", "arch", "machine", "paused", "sets", "begun")
    assert [found[key] for key in told] == [1, "db", DB, "test", "x86_64", "pc", False, {}, ""]
    assert [(disk["target"], disk["kind"]) for disk in found["disks"]] == [("vda", "file"), ("vdb", "zvol")]
    assert found["disks"][0]["stamp"] == image.stamp(f"{host.at}/db.img")
    assert found["image"] == image.measure(f"{host.images}/db.state")
    assert found["boot"] == pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert image.zvols(found) == ["ssd/shared/db"]


def test_half_an_image_is_no_image_and_is_replaced(host: Host) -> None:
    os.mkdir(host.images)
    (host.at / "images/web.state.partial").write_bytes(GOLDEN.replace(b"Save", b"Part"))
    assert image.saved_names(host.images) == []
    assert not image.exists(host.images, "web")
    assert image.save(host.conn, "web", host.images) == "web saved"
    assert host.files() == ["web.state", "web.state.json"]


def test_an_image_is_never_overwritten(host: Host) -> None:
    os.mkdir(host.images)
    for name in ("web.state", "db.state.partial"):
        (host.at / "images" / name).write_bytes(GOLDEN)
    for vm, verb in (("web", image.save), ("web", image.restore), ("db", image.save), ("db", image.restore)):
        with pytest.raises(HvmError, match=f"VM {vm} runs and yet has a state image"):
            verb(host.conn, vm, host.images)
    assert (host.at / "images/web.state").read_bytes() == (host.at / "images/db.state.partial").read_bytes() == GOLDEN
    assert {host.state("web"), host.state("db")} == {"running"}


def test_a_save_whose_client_was_killed_is_not_lost(host: Host) -> None:
    """libvirt goes on without us: a whole image under the name of a half one, and the VM is off."""
    image.save(host.conn, "web", host.images)
    os.rename(f"{host.images}/web.state", f"{host.images}/web.state.partial")
    os.unlink(f"{host.images}/web.state.json")
    host.monkeypatch.setattr(image, "WHOLE", b"TestGuestMagic")
    assert image.saved_names(host.images) == ["web"]
    with pytest.raises(HvmError, match="has a saved state"):
        domains.start(host.conn, "web", host.images)
    assert host.reasons("web") == ["the image of VM web has no manifest: nothing says which disks it fits"]
    assert image.restore(host.conn, "web", host.images, force=True) == "web restored"
    assert host.files() == []


def test_the_image_is_kept_when_restoring_fails(host: Host) -> None:
    image.save(host.conn, "web", host.images)

    def fail(*dummy: t.Any) -> None:
        raise libvirt.libvirtError("no")

    host.monkeypatch.setattr(libvirt.virConnect, "restore", fail)
    with pytest.raises(libvirt.libvirtError):
        image.restore(host.conn, "web", host.images)
    assert host.files() == ["web.state", "web.state.json"]
    assert host.state("web") == "stopped"


def test_a_damaged_image_is_refused_and_kept(host: Host) -> None:
    image.save(host.conn, "web", host.images)
    (host.at / "images/web.state").write_text("damaged")
    assert host.reasons("web", force=True) == ["the image of VM web is no image of libvirt's"]
    assert (host.at / "images/web.state").read_text() == "damaged"


def test_the_image_is_kept_until_the_vm_is_seen_running(host: Host) -> None:
    image.save(host.conn, "web", host.images)
    host.monkeypatch.setattr(image, "state_of", lambda dummy: domains.STOPPED)
    with pytest.raises(HvmError, match="VM web was restored but is not seen running") as caught:
        image.restore(host.conn, "web", host.images, timeout=0.1)
    assert caught.value.remedy == f"Its image is kept: {host.images}/web.state."
    assert image.saved_names(host.images) == ["web"]


class Killed(BaseException):
    """The module's process ends here."""


def cut_before_the_removal(host: Host, name: str, **kwargs: t.Any) -> None:
    def killed(*dummy: t.Any) -> None:
        raise Killed

    with host.monkeypatch.context() as patch:
        patch.setattr(image, "remove", killed)
        with pytest.raises(Killed):
            image.restore(host.conn, name, host.images, **kwargs)
    assert host.state(name) == "running"
    assert f"{name}.state" in host.files()


def test_killed_between_the_running_vm_and_the_removal_the_next_run_removes(host: Host) -> None:
    image.save(host.conn, "web", host.images)
    cut_before_the_removal(host, "web")
    assert image.restore(host.conn, "web", host.images) == "web was restored before; its image is removed"
    assert host.files() == []
    assert host.state("web") == "running"


def test_killed_there_the_next_save_goes_on(host: Host) -> None:
    image.save(host.conn, "web", host.images)
    cut_before_the_removal(host, "web")
    assert image.save(host.conn, "web", host.images) == "web saved"
    assert not (image.read_manifest(host.images, "web") or {})["begun"]
    assert image.restore(host.conn, "web", host.images) == "web restored"


def test_an_image_of_the_past_is_refused_whatever_was_killed_before(host: Host) -> None:
    """The VM ran on, wrote, and ended; its image still lies there. The case for which all this is."""
    image.save(host.conn, "web", host.images)
    cut_before_the_removal(host, "web")
    disk = host.at / "web.img"
    disk.write_bytes(b"disk")  # the same bytes even
    host.conn.lookupByName("web").destroy()
    for force in (False, True):
        (said,) = host.reasons("web", force=force)
        assert said.startswith(f"VM web: disk vda ({disk}) has changed since the VM was saved: it was last written at")


def test_an_image_of_the_past_is_refused_on_a_zvol_too(host: Host) -> None:
    image.save(host.conn, "db", host.images)
    found = image.read_manifest(host.images, "db")
    image.write_manifest(host.images, image.with_set(found or {}, SET))
    cut_before_the_removal(host, "db", written={"ssd/shared/db": {SET: ["0", ""]}})
    host.conn.lookupByName("db").destroy()
    for force in (False, True):
        (said,) = host.reasons("db", written={"ssd/shared/db": {SET: ["4096", ""]}}, force=force)
        assert said.endswith(f"has changed since the VM was saved: 4096 bytes were written since {SET}")


def test_a_vm_that_was_started_by_hand_keeps_its_image_for_somebody_to_look_at(host: Host) -> None:
    image.save(host.conn, "web", host.images)
    found = image.read_manifest(host.images, "web")
    image.write_manifest(host.images, {**(found or {}), "begun": "2026-11-25T04:00:00+00:00"})
    host.conn.lookupByName("web").create()
    with pytest.raises(HvmError, match="VM web runs and yet has a state image"):
        image.restore(host.conn, "web", host.images)
    assert host.files() == ["web.state", "web.state.json"]


def test_what_this_process_has_saved_needs_no_set_for_its_zvols(host: Host) -> None:
    image.save(host.conn, "db", host.images)
    assert len(host.reasons("db")) == 1
    assert image.restore(host.conn, "db", host.images, fresh=["db"]) == "db restored"


@pytest.mark.parametrize(
    ("was_running", "paused", "flag"), [(True, True, 4), (False, False, 2), (True, False, 0), (False, True, 0)]
)
def test_it_goes_on_as_its_manifest_says(host: Host, was_running: bool, paused: bool, flag: int) -> None:
    """The image of a live checkpoint says "paused" of every VM."""
    image.save(host.conn, "web", host.images)
    image.write_manifest(host.images, {**(image.read_manifest(host.images, "web") or {}), "paused": paused})
    host.header = image.Header(True, 2, 8192, was_running)
    asked: list[int] = []
    plain = libvirt.virConnect.restore

    def restore_flags(conn: t.Any, path: str, dummy: None, flags: int) -> None:
        asked.append(flags)
        plain(conn, path)

    host.monkeypatch.setattr(libvirt.virConnect, "restoreFlags", restore_flags)
    assert image.restore(host.conn, "web", host.images) == "web restored"
    assert asked == ([flag] if flag else [])


def test_a_frozen_vm_is_saved_as_such(host: Host) -> None:
    domains.freeze(host.conn, "web")
    assert image.save(host.conn, "web", host.images) == "web saved"
    assert (image.read_manifest(host.images, "web") or {})["paused"]
    host.header = image.Header(True, 2, 8192, False)
    assert image.restore(host.conn, "web", host.images) == "web restored"


def test_a_transient_vm_is_not_saved(host: Host) -> None:
    (host.at / "guest.img").write_bytes(b"disk")
    host.conn.createXML(DOMAIN.format(name="guest", uuid=UUID, disk=host.at / "guest.img", more="", state=1))
    with pytest.raises(HvmError, match="VM guest is transient"):
        image.save(host.conn, "guest", host.images)
    assert host.state("guest") == "running"


def test_a_volume_is_looked_up_in_its_pool(host: Host) -> None:
    host.conn.storagePoolDefineXML("<pool type='dir'><name>p</name><target><path>/srv/p</path></target></pool>").create()
    volume = "<volume><name>v.img</name><capacity>1</capacity></volume>"
    host.conn.storagePoolLookupByName("p").createXML(volume)
    assert image._volume(host.conn, "p:v.img") == "/srv/p/v.img"
    assert image._volume(host.conn, "p:none") == "p:none"
    assert image._volume(host.conn, "/a:b") == "/a:b"


def test_a_machine_type_that_is_not_offered_is_found_before_anything_starts(host: Host) -> None:
    image.save(host.conn, "web", host.images)

    class Unknown(libvirt.libvirtError):  # type: ignore[misc]
        code = libvirt.VIR_ERR_INVALID_ARG

        def get_error_code(self) -> int:
            return int(self.code)

    def capabilities(*dummy: t.Any) -> None:
        raise Unknown("the machine 'pc' is not supported")

    host.monkeypatch.setattr(libvirt.virConnect, "getDomainCapabilities", capabilities)
    (said,) = host.reasons("web", force=True)
    assert said == "VM web has the machine type pc, which is not offered here (the machine 'pc' is not supported)"
    Unknown.code = libvirt.VIR_ERR_NO_SUPPORT
    assert image.restore(host.conn, "web", host.images) == "web restored"


def test_a_zvol_by_the_number_of_its_device_and_a_link_to_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "disk").write_bytes(b"a")
    (tmp_path / "link").symlink_to("disk")
    assert image._real(str(tmp_path / "link")) == str(tmp_path / "disk")
    monkeypatch.setattr(image.os, "walk", lambda dummy: [("/dev/zvol/ssd/shared", ["x"], ["db", "web"])])
    monkeypatch.setattr(image.os.path, "realpath", lambda path: "/dev/zd16" if path.endswith(("/web", "zd16")) else path)
    assert image._real("/dev/zd16") == "/dev/zvol/ssd/shared/web"
    assert image._real("/dev/zvol/ssd/shared/db") == "/dev/zvol/ssd/shared/db"
    assert image._real("") == ""
