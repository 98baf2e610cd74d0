# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's standard VMs: what they are, their disks, their libvirt definition, and the script that makes them on a host.

All run the guest of `guest.asm`, which counts on its disks and says so (`_witness.py` listens). Together they have each kind
of disk, of priority and of start that the collection must handle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
import struct
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import _image

SOURCE = Path(__file__).with_name("guest.asm")
MIB = 1 << 20
DISK_SIZE = 8 * MIB
BRIDGE = "br-vms"
#: Ticks per turn of the lab's guests: 0.66 s, 1.5 beats per second. In an emulated host five guests take half of a real core at
#: 4 ticks, and a third of that at this rate; what measures interruptions chooses its own.
TICKS = 12
FIRST_PORT = 47001
_MAGIC = b"HVMG"
_LOAD_LBA = 128
_LOAD_CHUNK = 64
_KINDS = ("file", "qcow2", "zvol")


# --- the VMs ----------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Vm:
    """One VM of the lab.

    :ivar prio: 1 to 99; None: not in the description, which means 99.
    :ivar disks: `KIND:POOL` each, in order; KIND is file (raw), qcow2 or zvol, POOL a key of the places.
    :ivar running: started by the script.
    :ivar port: UDP port of the witness that its serial port sends to.
    :ivar memory: MiB.
    """

    name: str
    prio: int | None
    autostart: bool
    disks: tuple[str, ...]
    running: bool
    port: int
    mac: str
    memory: int = 32

    @property
    def description(self) -> str:
        """As an administrator writes it in virt-manager: the manual's words among others."""
        words = [f"Lab guest {self.name}, counts on {len(self.disks)} disk{'s' * (len(self.disks) > 1)}."]
        if self.autostart:
            words.append("autostart=yes")
        if self.prio is not None:
            words.append(f"prio={self.prio:02}")
        return " ".join([*words, "Ask the lab before changing it."])


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the images of one pool lie: a mounted directory, and the dataset below which the zvols are."""

    directory: str
    dataset: str


def _vm(number: int, name: str, prio: int | None, autostart: bool, running: bool, *disks: str) -> Vm:
    return Vm(name, prio, autostart, disks, running, FIRST_PORT + number, f"52:54:00:48:56:{number + 1:02x}")


VMS = (
    _vm(0, "alpha", 10, True, True, "file:ssd"),
    _vm(1, "bravo", 20, True, True, "zvol:rot"),
    _vm(2, "charlie", 20, True, True, "qcow2:ssd"),
    _vm(3, "delta", 30, True, True, "file:ssd", "zvol:rot"),
    _vm(4, "echo", None, False, True, "zvol:ssd"),
    _vm(5, "foxtrot", None, False, False, "file:rot"),
)


def ports(vms: Iterable[Vm] = VMS) -> dict[int, str]:
    """UDP port to VM name, as `_witness.collect` wants it."""
    return {vm.port: vm.name for vm in vms}


def paths(vm: Vm, places: Mapping[str, Place]) -> list[str]:
    """The path of each disk on the host, in order."""
    return [volume_path(volume) if kind == "zvol" else volume for kind, volume in _volumes(vm, places)]


def volume_path(dataset: str) -> str:
    return f"/dev/zvol/{dataset}"


def _volumes(vm: Vm, places: Mapping[str, Place]) -> list[tuple[str, str]]:
    """(kind, path of the file or name of the dataset) of each disk."""
    found: list[tuple[str, str]] = []
    for number, disk in enumerate(vm.disks):
        kind, _colon, pool = disk.partition(":")
        if kind not in _KINDS or pool not in places:
            raise _image.LabError(f"{vm.name}: {disk!r} is no disk: it must be {', '.join(_KINDS)}, a colon, {', '.join(places)}")
        name = vm.name if number == 0 else f"{vm.name}-{number + 1}"
        if kind == "zvol":
            found.append((kind, f"{places[pool].dataset}/{name}"))
        else:
            found.append((kind, f"{places[pool].directory}/{name}.{'img' if kind == 'file' else 'qcow2'}"))
    return found


# --- the program and the disks ----------------------------------------------------------------------------------------------


def program() -> bytes:
    """The assembled guest; kept in the lab's cache under the digest of its source."""
    source = SOURCE.read_bytes()
    target = _image.cache_dir() / f"guest-{hashlib.sha256(source).hexdigest()[:12]}.bin"
    if not target.exists():
        partial = target.with_suffix(".partial")
        _image.run_or_fail([*_image.tool("nasm"), "-f", "bin", "-o", str(partial), str(SOURCE)], "assemble guest.asm")
        partial.rename(target)
        for old in _image.cache_dir().glob("guest-*.bin"):
            if old != target:
                old.unlink(missing_ok=True)
    return target.read_bytes()


def boot_image(
    code: bytes, size: int = DISK_SIZE, ticks: int = TICKS, load_kib: int = 0, load_sectors: int = 0, fill_mib: int = 0
) -> bytes:
    """What a disk of `size` bytes begins with: the program with its values patched in (offsets: see guest.asm).

    :param ticks: per turn, 54.9 ms each.
    :param load_kib: KiB of RAM dirtied per turn; up to 24576.
    :param load_sectors: sectors written per turn and disk.
    :param fill_mib: up to where RAM is filled at a cold boot.
    """
    if code[4:8] != _MAGIC:
        raise ValueError("this is not the program of guest.asm")
    area = min(0xFFFF, (size // 512 - _LOAD_LBA) // _LOAD_CHUNK)
    if area < 1:
        raise ValueError(f"a disk of {size} bytes is too small, it must have {(_LOAD_LBA + _LOAD_CHUNK) * 512} at least")
    if not (0 < ticks < 1 << 15 and 0 <= load_kib <= 24576 and 0 <= load_sectors < 1 << 16 and 0 <= fill_mib < 4096):
        raise ValueError(f"out of range: {ticks} ticks, {load_kib} KiB, {load_sectors} sectors, {fill_mib} MiB")
    return code[:8] + struct.pack("<5H", ticks, load_kib, load_sectors, area, fill_mib) + code[18:]


def disk_image(code: bytes, size: int = MIB, **values: int) -> bytes:
    """A whole fresh disk: as `boot_image`, and zeros, which is a counter of 0."""
    return boot_image(code, size, **values).ljust(size, b"\0")


def counter_of(disk: bytes) -> int:
    """The counter in a disk's data sector, from the disk's first 8 sectors and that one."""
    return struct.unpack_from("<I", disk, 8 * 512)[0]


# --- libvirt ----------------------------------------------------------------------------------------------------------------


def disk_xml(vm: Vm, disks: Sequence[str]) -> list[str]:
    """The lines of the VM's disks, whose paths are `disks`, in order.

    Files have cache=writeback: O_DIRECT on ZFS is ignored up to 2.2 and real from 2.3 on, where a write whose buffer changes
    under way fails (zfsprops(7), direct). zvols have cache=none: the page cache of their block device is not ZFS, and a
    `zfs snapshot` would miss what lies in it. ioeventfd is off because the BIOS polls for the completion anyway: one thread
    less to wake, a seventh of the guest's cost in an emulated host. Every disk has a boot order, so the BIOS numbers them
    in this order.
    """
    lines = []
    for number, (disk, path) in enumerate(zip(vm.disks, disks, strict=True)):
        kind = disk.partition(":")[0]
        block = kind == "zvol"
        form, cache = "qcow2" if kind == "qcow2" else "raw", "none" if block else "writeback"
        lines += [
            f"    <disk type='{'block' if block else 'file'}' device='disk'>",
            f"      <driver name='qemu' type='{form}' cache='{cache}' ioeventfd='off'/>",
            f"      <source {'dev' if block else 'file'}={quoteattr(path)}/>",
            f"      <target dev='vd{chr(ord('a') + number)}' bus='virtio'/>",
            f"      <boot order='{number + 1}'/>",
            "    </disk>",
        ]
    return lines


def nic_xml(vm: Vm) -> list[str]:
    """The lines of its NIC. It has no ROM: nobody boots from it, and the file need not be installed."""
    return [
        "    <interface type='bridge'>",
        f"      <mac address='{vm.mac}'/>",
        f"      <source bridge='{BRIDGE}'/>",
        "      <model type='virtio'/>",
        "      <rom enabled='no'/>",
        "    </interface>",
    ]


def vm_uuid(name: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_DNS, name + ".lab.hvm.invalid")


def domain_xml(vm: Vm, disks: Sequence[str], gateway: str) -> str:
    """The VM's definition; `disks` are the paths in order, the serial port sends to `gateway`."""
    lines = [
        "<domain type='qemu'>",
        f"  <name>{escape(vm.name)}</name>",
        f"  <uuid>{vm_uuid(vm.name)}</uuid>",
        f"  <description>{escape(vm.description)}</description>",
        f"  <memory unit='MiB'>{vm.memory}</memory>",
        "  <vcpu>1</vcpu>",
        "  <os><type arch='x86_64' machine='pc'>hvm</type></os>",
        "  <features><acpi/></features>",
        "  <cpu mode='custom' match='exact' check='none'><model>qemu64</model></cpu>",
        "  <clock offset='utc'/>",
        "  <devices>",
    ]
    lines += disk_xml(vm, disks) + nic_xml(vm)
    lines += [
        "    <serial type='udp'>",
        f"      <source mode='connect' host={quoteattr(gateway)} service='{vm.port}'/>",
        "      <source mode='bind' host='0.0.0.0' service='0'/>",
        "      <target port='0'/>",
        "    </serial>",
        "    <controller type='usb' model='none'/>",
        "    <memballoon model='none'/>",
        "  </devices>",
        "</domain>",
    ]
    return "\n".join(lines) + "\n"


# --- the script -------------------------------------------------------------------------------------------------------------

_FUNCTIONS = r"""
set -eu
boot=$1
fail() { echo "guests: $1" >&2; exit 1; }
test -s "$boot" || fail "there is no boot image $boot"

# The dataset that holds zvols: nothing to mount.
parent() {
  zfs list -H -o name "$1" > /dev/null 2>&1 || zfs create -o mountpoint=none -o canmount=off "$1"
}

volume() {
  zfs list -H -o name "$1" > /dev/null 2>&1 || zfs create -V "$size" -o volmode=dev "$1"
  tries=0
  until test -b "/dev/zvol/$1"; do
    tries=$((tries + 1))
    test "$tries" -le 300 || fail "/dev/zvol/$1 did not appear within 30 s"
    sleep 0.1
  done
}

# The program only, not the data sector: a second run after a crash loses no count.
program() {
  dd if="$boot" of="$1" bs=64k conv=notrunc,fsync status=none
}

raw() {
  mkdir -p "$(dirname "$1")"
  test -e "$1" || truncate -s "$size" "$1"
  program "$1"
}

qcow2() {
  mkdir -p "$(dirname "$1")"
  test ! -e "$1" || return 0
  cp "$boot" "$1.new.raw"
  truncate -s "$size" "$1.new.raw"
  qemu-img convert -q -f raw -O qcow2 "$1.new.raw" "$1.new"
  rm "$1.new.raw"
  sync "$1.new"
  mv "$1.new" "$1"
}

known() { virsh -q dominfo "$1" > /dev/null 2>&1; }
"""


def script(
    vms: Iterable[Vm],
    places: Mapping[str, Place],
    define: Callable[[Vm, Sequence[str]], str],
    size: int = DISK_SIZE,
) -> str:
    """A POSIX sh script for the ACTIVE host, as root, with one argument: the file on that host with what each disk begins with.

    :param define: the definition of a VM whose disks have these paths.

    It makes the disks of each VM, defines it, and starts those that run. A VM that libvirt knows is left alone; one that a
    crashed run has not come to define is gone on with.
    """
    text = ["#!/bin/sh", _FUNCTIONS.strip(), f"size={size}", ""]
    for vm in vms:
        volumes = _volumes(vm, places)
        text.append(f"if ! known {vm.name}; then")
        for parent in dict.fromkeys(volume.rpartition("/")[0] for kind, volume in volumes if kind == "zvol"):
            text.append(f"  parent {shlex.quote(parent)}")
        for kind, volume in volumes:
            quoted = shlex.quote(volume)
            if kind == "zvol":
                text += [f"  volume {quoted}", f"  program {shlex.quote(volume_path(volume))}"]
            else:
                text.append(f"  {'raw' if kind == 'file' else 'qcow2'} {quoted}")
        xml = define(vm, paths(vm, places))
        text += ["  xml=$(mktemp)", "  cat > \"$xml\" <<'END_OF_DOMAIN'", xml + "END_OF_DOMAIN"]
        text += ['  virsh -q define "$xml"', '  rm "$xml"']
        if vm.running:
            text.append(f"  virsh -q start {vm.name}")
        text += [f"  echo {vm.name}: made{' and started' if vm.running else ''}", "fi"]
    return "\n".join(text) + "\n"
