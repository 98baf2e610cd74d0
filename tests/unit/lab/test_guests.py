# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
import struct
import subprocess
import xml.etree.ElementTree as ET

import _guests
import _image
import pytest

PLACES = {"ssd": _guests.Place("/srv/ssd images", "ssd/hvm/vm"), "rot": _guests.Place("/srv/rot", "rot/hvm/vm")}
CODE = b"\xeb\x0e\x00\x00HVMG" + bytes(8) + b"x" * 2032


def vm(name):
    return next(one for one in _guests.VMS if one.name == name)


def definition(one, disks):
    return _guests.domain_xml(one, disks, "10.42.0.1")


def tree(name):
    return ET.fromstring(definition(vm(name), _guests.paths(vm(name), PLACES)))


def test_each_vm_has_its_own_name_port_and_mac():
    for one in ("name", "port", "mac"):
        assert len({getattr(vm, one) for vm in _guests.VMS}) == len(_guests.VMS)
    assert _guests.ports() == {47001: "alpha", 47002: "bravo", 47003: "charlie", 47004: "delta", 47005: "echo", 47006: "foxtrot"}


def test_each_kind_of_disk_is_there():
    assert {disk.partition(":")[0] for one in _guests.VMS for disk in one.disks} == {"file", "qcow2", "zvol"}


def test_the_description_is_the_manuals():
    assert vm("alpha").description == "Lab guest alpha, counts on 1 disk. autostart=yes prio=10 Ask the lab before changing it."
    assert vm("echo").description == "Lab guest echo, counts on 1 disk. Ask the lab before changing it."


def test_paths():
    assert _guests.paths(vm("charlie"), PLACES) == ["/srv/ssd images/charlie.qcow2"]
    assert _guests.paths(vm("delta"), PLACES) == ["/srv/ssd images/delta.img", "/dev/zvol/rot/hvm/vm/delta-2"]


def test_a_pool_that_is_not_there():
    with pytest.raises(_image.LabError) as caught:
        _guests.paths(vm("bravo"), {"ssd": PLACES["ssd"]})
    assert str(caught.value) == "bravo: 'zvol:rot' is no disk: it must be file, qcow2, zvol, a colon, ssd"


def test_disks_in_the_definition():
    disks = tree("delta").findall("devices/disk")
    assert [(one.get("type"), one.find("driver").get("cache")) for one in disks] == [("file", "writeback"), ("block", "none")]
    assert [one.find("source").attrib for one in disks] == [
        {"file": "/srv/ssd images/delta.img"},
        {"dev": "/dev/zvol/rot/hvm/vm/delta-2"},
    ]
    assert [(one.find("target").get("dev"), one.find("boot").get("order")) for one in disks] == [("vda", "1"), ("vdb", "2")]
    assert tree("charlie").find("devices/disk/driver").get("type") == "qcow2"


def test_the_serial_port_sends_to_the_witness():
    sources = tree("bravo").findall("devices/serial[@type='udp']/source")
    assert sources[0].attrib == {"mode": "connect", "host": "10.42.0.1", "service": "47002"}


def test_the_definition_is_the_same_each_time():
    assert tree("alpha").findtext("uuid") == tree("alpha").findtext("uuid") != tree("bravo").findtext("uuid")


@pytest.mark.parametrize("name", [one.name for one in _guests.VMS])
def test_libvirt_takes_the_definition(name):
    libvirt = pytest.importorskip("libvirt")
    text = _guests.domain_xml(vm(name), _guests.paths(vm(name), PLACES), "10.42.0.1")
    connection = libvirt.open("test:///default")
    try:
        domain = connection.defineXMLFlags(text.replace("type='qemu'", "type='test'", 1), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        assert domain.name() == name
    finally:
        connection.close()


def test_values_are_patched_in():
    image = _guests.boot_image(CODE, 8 * _guests.MIB, 3, 100, 200, 24)
    assert struct.unpack_from("<5H", image, 8) == (3, 100, 200, (16384 - 128) // 64, 24)
    assert (image[:8], image[18:], len(image)) == (CODE[:8], CODE[18:], len(CODE))


def test_a_disk_begins_with_the_program_and_counts_from_0():
    image = _guests.disk_image(CODE)
    assert len(image) == _guests.MIB
    assert image.startswith(_guests.boot_image(CODE, _guests.MIB))
    assert _guests.counter_of(image) == 0


def test_values_that_cannot_be():
    with pytest.raises(ValueError, match="not the program"):
        _guests.boot_image(b"something else")
    with pytest.raises(ValueError, match="too small"):
        _guests.boot_image(CODE, 65536)
    with pytest.raises(ValueError, match="out of range: 0 ticks, 0 KiB, 0 sectors"):
        _guests.boot_image(CODE, ticks=0)


def test_the_script_is_sh_and_starts_only_those_that_run():
    text = _guests.script(_guests.VMS, PLACES, definition)
    shell = shutil.which("dash") or "sh"
    subprocess.run([shell, "-n"], input=text, text=True, check=True)
    assert [line.split()[-1] for line in text.splitlines() if "virsh -q start" in line] == [
        "alpha",
        "bravo",
        "charlie",
        "delta",
        "echo",
    ]


#: What stands in for the host's commands: virsh knows who was defined, zfs what was created.
FAKES = {
    "zfs": 'echo "zfs $*" >> log; for a; do :; done; case $1 in list) grep -q "zfs create.* $a$" log;; esac',
    "virsh": (
        'echo "virsh $*" >> log\ncase $2 in dominfo) grep -q "<name>$3<" defined 2>/dev/null;; define) cat "$3" >> defined;; esac'
    ),
    "qemu-img": 'echo "qemu-img $*" >> log; cp "$7" "$8"',
}


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Run the script of some VMs in a directory where the commands are fakes; what they were asked."""
    (tmp_path / "bin").mkdir()
    for name, body in FAKES.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "boot").write_bytes(_guests.boot_image(CODE))
    places = {"ssd": _guests.Place(str(tmp_path / "ssd"), "ssd/vm")}

    def run(*names):
        (tmp_path / "log").write_text("")
        text = _guests.script([vm(name) for name in names], places, definition)
        result = subprocess.run(["sh", "-s", "boot"], input=text, text=True, cwd=tmp_path, capture_output=True, check=False)
        asked = (tmp_path / "log").read_text().splitlines()
        return result, [one for one in asked if "dominfo" not in one and "zfs list" not in one]

    run.path = tmp_path
    return run


def test_the_script_makes_a_vm_once(host):
    result, asked = host("alpha")
    assert (result.returncode, result.stdout) == (0, "alpha: made and started\n")
    assert [one.split()[2] for one in asked] == ["define", "start"]
    image = (host.path / "ssd" / "alpha.img").read_bytes()
    assert len(image) == _guests.DISK_SIZE
    assert image.startswith(_guests.boot_image(CODE))
    result, asked = host("alpha")
    assert (result.returncode, result.stdout, asked) == (0, "", [])


def test_a_disk_of_a_crashed_run_keeps_its_count(host):
    host("alpha")
    (host.path / "defined").unlink()
    with (host.path / "ssd" / "alpha.img").open("r+b") as image:
        image.seek(8 * 512)
        image.write(struct.pack("<I", 77))
    result, _asked = host("alpha")
    assert result.stdout == "alpha: made and started\n"
    assert _guests.counter_of((host.path / "ssd" / "alpha.img").read_bytes()) == 77


def test_the_script_makes_qcow2(host):
    result, asked = host("charlie")
    assert result.returncode == 0
    assert asked[0].startswith("qemu-img convert -q -f raw -O qcow2 ")
    assert [path.name for path in (host.path / "ssd").iterdir()] == ["charlie.qcow2"]


def test_without_the_boot_image_nothing_happens(host):
    (host.path / "boot").unlink()
    result, asked = host("alpha")
    assert (result.returncode, asked) == (1, [])
    assert result.stderr == "guests: there is no boot image boot\n"
