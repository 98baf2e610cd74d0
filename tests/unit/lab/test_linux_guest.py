# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import ipaddress
import shutil
import stat
import subprocess
import tarfile
import xml.etree.ElementTree as ET

import _guests
import _hostside
import _linux
import _network
import pytest

PLACES = {"ssd": _guests.Place("/srv/ssd images", "ssd/hvm/vm")}
KERNEL, INITRD = _linux.boot_paths(_linux.TUX, PLACES)
XML = _linux.domain_xml(_linux.TUX, _guests.paths(_linux.TUX, PLACES), KERNEL, INITRD)
TREE = ET.fromstring(XML)
LOG = "[    1.2] something\r\nboot clean 0\r\nagent\r\ncount 1 1795582141 1.84\r\ncount 2 1795582142 2.61\r\ncount 3 17955"


def test_its_kernel_lies_with_its_disk():
    assert (KERNEL, INITRD) == ("/srv/ssd images/tux.vmlinuz", "/srv/ssd images/tux.initrd")
    assert (TREE.findtext("os/kernel"), TREE.findtext("os/initrd")) == (KERNEL, INITRD)
    assert TREE.find("devices/disk/source").attrib == {"dev": "/dev/zvol/ssd/hvm/vm/tux"}


def test_what_the_collection_reads_of_it():
    assert TREE.findtext("description") == "Lab guest tux, counts on 1 disk. prio=40 Ask the lab before changing it."
    assert TREE.find("devices/channel/target").attrib == {"type": "virtio", "name": "org.qemu.guest_agent.0"}
    assert TREE.find("devices/serial/source").attrib == {"path": "/run/hvm-linux-tux.log", "append": "on"}


def test_it_has_a_nic_in_the_bridge_for_guests_and_its_addresses_are_in_that_network():
    (nic,) = TREE.findall("devices/interface")
    assert (nic.find("source").attrib, nic.find("model").attrib) == ({"bridge": "br-vms"}, {"type": "virtio"})
    assert nic.find("mac").get("address") not in {vm.mac for vm in _guests.VMS}
    for address, gateway, bits in ((_linux.ADDRESS4, _network.VMS_GATEWAY4, 24), (_linux.ADDRESS6, _network.VMS_GATEWAY6, 64)):
        assert ipaddress.ip_address(address) in ipaddress.ip_network(f"{gateway}/{bits}", strict=False)
        assert f"ip addr add {address}/{bits} dev eth0" in _linux.NETWORK
        assert address != gateway


def test_the_guests_network_is_not_that_of_the_hosts():
    one, other = (ipaddress.ip_network(f"{address}/24", strict=False) for address in (_network.GATEWAY4, _network.VMS_GATEWAY4))
    assert not one.overlaps(other)
    taps = [tap for host in _hostside.HOSTS for tap in (host.tap, host.vms_tap)]
    assert len({*taps, *(mac for host in _hostside.HOSTS for mac in (host.mac, host.vms_mac))}) == 8
    assert all(len(tap) < 16 for tap in taps), "IFNAMSIZ"


def test_it_is_none_of_the_others():
    assert TREE.findtext("name") not in {vm.name for vm in _guests.VMS}
    assert TREE.findtext("uuid") not in {str(_guests.vm_uuid(vm.name)) for vm in _guests.VMS}


def test_libvirt_takes_the_definition():
    libvirt = pytest.importorskip("libvirt")
    connection = libvirt.open("test:///default")
    try:
        text = XML.replace("type='qemu'", "type='test'", 1)
        domain = connection.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        assert domain.name() == "tux"
    finally:
        connection.close()


@pytest.mark.parametrize("text", _linux.SCRIPTS.values(), ids=_linux.SCRIPTS)
def test_its_scripts_are_sh(text):
    subprocess.run([shutil.which("dash") or "sh", "-n"], input=text, text=True, check=True)


def test_said():
    assert _linux.said(LOG) == ["[    1.2] something", (True, 0), "agent", (1, 1795582141, 1.84), (2, 1795582142, 2.61)]
    assert _linux.said("boot recover 17\r\n") == [_linux.Boot(clean=False, found=17)]
    assert _linux.said("") == []


def test_counts():
    assert [one.number for one in _linux.counts(LOG)] == [1, 2]


def test_an_ext4_that_is_mounted_says_so():
    head = bytearray(2048)
    with pytest.raises(ValueError, match="no ext4"):
        _linux.needs_recovery(bytes(head))
    head[1080:1082] = b"\x53\xef"
    head[1120] = 0xC2
    assert not _linux.needs_recovery(bytes(head))
    head[1120] |= 4
    assert _linux.needs_recovery(bytes(head))


def read_cpio(data):
    """(name, mode, content) of each entry, by the positions that the format gives."""
    at, found = 0, []
    while True:
        assert (at % 4, data[at : at + 6]) == (0, b"070701")
        fields = [int(data[at + 6 + 8 * number : at + 14 + 8 * number], 16) for number in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        start = at + 110 + name_size + (-(at + 110 + name_size) % 4)
        if name == b"TRAILER!!!\0":
            return found
        found.append((name[:-1].decode(), mode, data[start : start + size]))
        at = start + size + (-size % 4)


def test_an_initramfs():
    directory = (stat.S_IFDIR | 0o755, b"")
    given = {
        "init": (stat.S_IFREG | 0o755, b"#!/bin/sh\n"),
        "a/deep/file": (stat.S_IFREG | 0o644, b"12345"),
        "a/link": (stat.S_IFLNK | 0o777, b"deep/file"),
        "dev": directory,
    }
    found = {name: (mode, content) for name, mode, content in read_cpio(_linux.cpio(given))}
    assert found == {**given, "a": directory, "a/deep": directory}


def test_a_directory_comes_before_what_is_in_it():
    made = _linux.cpio({"a-b": (stat.S_IFREG, b""), "a/c": (stat.S_IFREG, b"")})
    assert [name for name, _mode, _content in read_cpio(made)] == ["a", "a-b", "a/c"]


def test_the_archive_is_unpacked_in_the_root(tmp_path, monkeypatch):
    for name in (_linux.KERNEL, _linux.DISK):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(_linux, "build", lambda: tmp_path)
    packed = _linux.archive({"/srv/ssd/tux.vmlinuz": _linux.KERNEL, "/run/tux.img": _linux.DISK})
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert [(one.name, one.uid, one.mode) for one in archive] == [
            ("srv/ssd/tux.vmlinuz", 0, 0o644),
            ("run/tux.img", 0, 0o644),
        ]
        assert archive.extractfile("run/tux.img").read() == b"data.ext4"


class Lab:
    """Every host is ACTIVE and knows the VMs in `known`; what it was asked."""

    def __init__(self, known=()):
        self.known = known
        self.asked = []

    def run(self, host, script, timeout=0, check=True, stdin=None):
        self.asked.append((script, stdin))
        code = 1 if "dominfo" in script and script.split()[-1] not in self.known else 0
        return subprocess.CompletedProcess([], code, b"tux: made and started\n" if script.startswith("sh ") else b"", b"")


@pytest.fixture
def packed(monkeypatch):
    seen = {}
    monkeypatch.setattr(_hostside, "active", lambda lab: _hostside.HOSTS[0])
    monkeypatch.setattr(_linux, "archive", lambda files: seen.update(files) or b"packed")
    return seen


def test_it_is_brought_to_the_active_host(packed, capsys):
    lab = Lab()
    _hostside.make_linux(lab)
    assert packed == {
        "/srv/ssd/tux.vmlinuz": "vmlinuz",
        "/srv/ssd/tux.initrd": "initrd",
        "/run/hvm-lab-tux.img": "data.ext4",
    }
    assert [script for script, _stdin in lab.asked] == [
        "virsh -q dominfo tux",
        "tar -C / -xzf -",
        "cat > /run/hvm-lab-vms.sh",
        "sh /run/hvm-lab-vms.sh /run/hvm-lab-tux.img",
        "rm /run/hvm-lab-tux.img",
    ]
    text = lab.asked[2][1].decode()
    assert "  volume ssd/shared/vm/tux\n" in text
    assert "size=16777216\n" in text
    assert "<kernel>/srv/ssd/tux.vmlinuz</kernel>" in text
    assert capsys.readouterr().err == "lab: hva: tux: made and started\n"


def test_one_that_is_there_stays(packed):
    lab = Lab(known=["tux"])
    _hostside.make_linux(lab)
    assert (packed, len(lab.asked)) == ({}, 1)
