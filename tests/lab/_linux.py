# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Linux guest with a guest agent, for what the guest of `guest.asm` cannot show: shutdown, quiesce, thaw, time.

Debian's cloud kernel and an initramfs with busybox and qemu-ga; no distribution, no systemd, so that it boots in an emulated
host within its patience. On its NIC it has two addresses, answers to pings, and sends back what comes to a TCP port. Its one disk
is an ext4, mounted at /data. It counts in a file there, and says on its serial port:

    boot clean 17                  after mounting; `recover`: the journal had to be replayed; 17: the count it found
    agent                          the agent is being started
    count 18 1795581884 12.34      18 is on stable storage; the date in seconds since 1970, the seconds since the boot
    down powerdown                 it was told to stop: by the agent (powerdown, halt, reboot) or by the power button (button)
    closed                         /data is unmounted; the power goes off
"""

from __future__ import annotations

import inspect
import io
import lzma
import re
import shutil
import stat
import tarfile
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import _guests
import _image
from _image import LabError

SUITE = "trixie"
PACKAGES = ("linux-image-cloud-amd64", "busybox-static", "qemu-guest-agent")
#: What is not built into that kernel, in the order of loading: the disk; the power button, and what makes events of it; the NIC.
MODULES = (
    *("drivers/block/virtio_blk", "drivers/acpi/button", "drivers/input/evdev"),
    *("net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net"),
)
DISK_MIB = 16
AGENT = "org.qemu.guest_agent.0"
#: No witness listens to it: no port.
TUX = _guests.Vm("tux", 40, False, ("zvol:ssd",), True, 0, "52:54:00:48:56:40", 128)
#: In the lab's network for guests (`_network.VMS_GATEWAY4`), of which its init knows nothing but this.
ADDRESS4, ADDRESS6 = "10.44.0.40", "fd44::40"
ECHO_PORT = 7
#: Nobody is there to be spied upon, and each of these costs an emulated guest a part of a second. The TSC is measured against
#: a timer at boot, and under emulation that goes wrong: the clock would run at another rate. So another clock from the start.
CMDLINE = "console=ttyS0 loglevel=3 mitigations=off nokaslr tsc=unstable no_timer_check cryptomgr.notests"

INIT = r"""#!/bin/sh
# the shell finds its applets through /proc/self/exe
busybox mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
exec < /dev/null > /dev/ttyS0 2>&1
for module in /lib/modules/*.ko; do insmod "$module"; done
until test -b /dev/vda; do sleep 0.1; done

/sbin/network

# ext4's s_feature_incompat, EXT4_FEATURE_INCOMPAT_RECOVER: set while it is mounted, cleared by a freeze and by umount
incompat=$(dd if=/dev/vda bs=1 skip=1120 count=1 2> /dev/null | hexdump -e '1/1 "%u"')
if test $((incompat & 4)) -eq 0; then found=clean; else found=recover; fi
# without it the count would go to the initramfs, and look well
until mount -t ext4 /dev/vda /data; do sleep 5; done
count=$(cat /data/count 2> /dev/null)
echo "boot $found ${count:-0}"

# what udev would do
mkdir /dev/virtio-ports
for port in /sys/class/virtio-ports/*; do
  read -r name 2> /dev/null < "$port/name" && ln -s "../${port##*/}" "/dev/virtio-ports/$name"
done
echo agent
(while :; do
  qemu-ga -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0 -t /run -f /run/qga.pid
  sleep 1
done) &
acpid -f -l /dev/null &

(count=${count:-0}
while :; do
  count=$((count + 1))
  # fsync of the renamed file also makes the rename durable: ext4 does both in one transaction
  echo "$count" > /data/new && sync /data/new && mv /data/new /data/count && sync /data/count &&
    read -r uptime rest < /proc/uptime && echo "count $count $(date +%s) $uptime"
  sleep 0.7
done) &
echo "$!" > /run/writer.pid
while :; do wait; sleep 1; done
"""

#: Without a NIC it is one that nobody reaches.
NETWORK = f"""#!/bin/sh
ip link set lo up
test -e /sys/class/net/eth0 || exit 0
# while an IPv6 address is still being tried, it answers nobody
echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
ip addr add {ADDRESS4}/24 dev eth0
ip addr add {ADDRESS6}/64 dev eth0
ip link set eth0 up
nc -ll -p {ECHO_PORT} -e /bin/busybox cat &
"""

#: The agent calls it with -P, -H or -r; see qmp_guest_shutdown() in qga/commands-posix.c.
SHUTDOWN = r"""#!/bin/sh
case " $* " in
*" -P "*) why=powerdown do=poweroff ;;
*" -H "*) why=halt do=halt ;;
*" -r "*) why=reboot do=reboot ;;
*) why=button do=poweroff ;;
esac
# the button pressed twice
mkdir /run/down || exit 1
exec > /dev/ttyS0 2>&1
echo "down $why"
kill -9 "$(cat /run/writer.pid)"
until umount /data; do sleep 0.1; done
echo closed
sync
$do -f
"""

#: path in the initramfs -> text; all executable
SCRIPTS = {
    "init": INIT,
    "sbin/network": NETWORK,
    "sbin/shutdown": SHUTDOWN,
    # how busybox's acpid names the power key
    "etc/acpi/PWRF/00000080": "#!/bin/sh\n/sbin/shutdown\n",
}
LINKS = {"bin/sh": "busybox", "sbin/hwclock": "../bin/busybox"}
DIRECTORIES = ("data", "dev", "proc", "run", "sys")

#: A build makes these in the cache.
KERNEL, INITRD, DISK = "vmlinuz", "initrd", "data.ext4"


# --- the build --------------------------------------------------------------------------------------------------------------


def directory() -> Path:
    code = [inspect.getsource(one) for one in (_work, _contents, cpio)]
    recipe = _image._digest(SUITE, PACKAGES, MODULES, DISK_MIB, SCRIPTS, LINKS, DIRECTORIES, code)
    return _image.cache_dir() / f"linux-{SUITE}-{recipe}"


def build() -> Path:
    """KERNEL, INITRD and DISK in the cache, made when they are not there."""
    return _image._build(directory(), 30, 500, "the Linux guest", _work)


def _work(partial: Path, total: float) -> None:
    tree = partial / "tree.tar"
    _image._mmdebstrap(
        [
            "--variant=extract",
            "--components=main",
            "--include=" + ",".join(PACKAGES),
            '--aptopt=Apt::Install-Recommends "false"',
            "--format=tar",
            SUITE,
            str(tree),
        ],
        partial / "build.log",
        total,
        "the Linux guest",
    )
    root = partial / "root"
    root.mkdir()
    unpack = ["tar", "-C", str(root), "--no-same-owner", "--exclude=./dev/*", "-xf", str(tree)]
    _image.run_or_fail(unpack, "unpack the Linux guest")
    tree.unlink()
    kernel = next(iter(root.glob("boot/vmlinuz-*")), None)
    if kernel is None:
        raise LabError("Debian's package of the kernel has no boot/vmlinuz-*: has it moved?")
    shutil.copyfile(kernel, partial / KERNEL)
    (partial / INITRD).write_bytes(cpio(_contents(root)))
    disk = partial / DISK
    options = "-q -t ext4 -b 4096 -J size=4 -m 0 -E root_owner=0:0".split()
    _image.run_or_fail(["mke2fs", *options, str(disk), f"{DISK_MIB}M"], "make the disk of the Linux guest")
    _image._remove_tree(root)


def _contents(root: Path) -> dict[str, tuple[int, bytes]]:
    """What the initramfs holds, for `cpio`; `root` is the tree of the unpacked packages."""
    found: dict[str, tuple[int, bytes]] = {}
    for name, text in SCRIPTS.items():
        found[name] = (stat.S_IFREG | 0o755, text.encode())
    for name, to in LINKS.items():
        found[name] = (stat.S_IFLNK | 0o777, to.encode())
    for name in DIRECTORIES:
        found[name] = (stat.S_IFDIR | 0o755, b"")
    for number, module in enumerate(MODULES):
        path = next(iter(root.glob(f"usr/lib/modules/*/kernel/{module}.ko.xz")), None)
        if path is None:
            raise LabError(f"Debian's package of the kernel has no module {module}.ko.xz")
        found[f"lib/modules/{number}-{Path(module).name}.ko"] = (stat.S_IFREG | 0o644, lzma.decompress(path.read_bytes()))
    libraries = root / "usr/lib/x86_64-linux-gnu"
    loader, agent = libraries / "ld-linux-x86-64.so.2", root / "usr/sbin/qemu-ga"
    found["bin/busybox"] = (stat.S_IFREG | 0o755, (root / "usr/bin/busybox").read_bytes())
    found["sbin/qemu-ga"] = (stat.S_IFREG | 0o755, agent.read_bytes())
    found["lib64/ld-linux-x86-64.so.2"] = (stat.S_IFREG | 0o755, loader.read_bytes())
    listed = _image.run_or_fail([str(loader), "--library-path", str(libraries), "--list", str(agent)], "list qemu-ga's libraries")
    for name in re.findall(r"^\s*(lib\S+) => ", listed, re.MULTILINE):
        found[f"lib/x86_64-linux-gnu/{name}"] = (stat.S_IFREG | 0o755, (libraries / name).read_bytes())
    return found


def cpio(contents: Mapping[str, tuple[int, bytes]]) -> bytes:
    """An initramfs (cpio newc, not packed: see Documentation/driver-api/early-userspace/buffer-format.rst).

    :param contents: path -> (mode with the type, content or target of the link); directories on the way are added.
    """
    entries = dict(contents)
    for name in contents:
        for parent in Path(name).parents:
            if parent != Path("."):
                entries.setdefault(str(parent), (stat.S_IFDIR | 0o755, b""))
    out = bytearray()
    ordered = sorted(entries.items())  # a directory before what is in it
    for number, (name, (mode, data)) in enumerate([*ordered, ("TRAILER!!!", (0, b""))], 1):
        encoded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


# --- libvirt ----------------------------------------------------------------------------------------------------------------


def boot_paths(vm: _guests.Vm, places: Mapping[str, _guests.Place]) -> tuple[str, str]:
    """Where the kernel and the initramfs lie on a host: with the pool of the disk, so that they go with it to the other host."""
    directory = places[vm.disks[0].partition(":")[2]].directory
    return f"{directory}/{vm.name}.vmlinuz", f"{directory}/{vm.name}.initrd"


def log_path(name: str) -> str:
    """The file on the host that holds what the VM said there."""
    return f"/run/hvm-linux-{name}.log"


def domain_xml(vm: _guests.Vm, disks: Sequence[str], kernel: str, initrd: str) -> str:
    """The VM's definition; `disks` are the paths in order, `kernel` and `initrd` those of `boot_paths`.

    The file of the serial port is appended to: a VM that is restored is a new QEMU, and would begin it afresh.
    """
    lines = [
        "<domain type='qemu'>",
        f"  <name>{escape(vm.name)}</name>",
        f"  <uuid>{_guests.vm_uuid(vm.name)}</uuid>",
        f"  <description>{escape(vm.description)}</description>",
        f"  <memory unit='MiB'>{vm.memory}</memory>",
        "  <vcpu>1</vcpu>",
        "  <os>",
        "    <type arch='x86_64' machine='pc'>hvm</type>",
        f"    <kernel>{escape(kernel)}</kernel>",
        f"    <initrd>{escape(initrd)}</initrd>",
        f"    <cmdline>{escape(CMDLINE)}</cmdline>",
        "  </os>",
        "  <features><acpi/></features>",
        "  <cpu mode='custom' match='exact' check='none'><model>qemu64</model></cpu>",
        "  <clock offset='utc'/>",
        "  <devices>",
    ]
    lines += _guests.disk_xml(vm, disks) + _guests.nic_xml(vm)
    lines += [
        "    <serial type='file'>",
        f"      <source path={quoteattr(log_path(vm.name))} append='on'/>",
        "      <target port='0'/>",
        "    </serial>",
        "    <channel type='unix'>",
        f"      <target type='virtio' name='{AGENT}'/>",
        "    </channel>",
        "    <controller type='usb' model='none'/>",
        "    <memballoon model='none'/>",
        "  </devices>",
        "</domain>",
    ]
    return "\n".join(lines) + "\n"


def archive(files: Mapping[str, str]) -> bytes:
    """A tar.gz that puts KERNEL, INITRD or DISK (the values) where the keys say, when it is unpacked in /."""
    made = build()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as packed:
        for path, name in files.items():
            packed.add(made / name, path.lstrip("/"), filter=_of_root)
    return buffer.getvalue()


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o644
    return member


# --- what it says -----------------------------------------------------------------------------------------------------------


class Boot(t.NamedTuple):
    """:ivar clean: the journal had not to be replayed."""

    clean: bool
    found: int


class Count(t.NamedTuple):
    """:ivar date: seconds since 1970, by the guest's clock.
    :ivar uptime: seconds since its boot."""

    number: int
    date: int
    uptime: float


def said(log: str) -> list[Boot | Count | str]:
    """The whole lines of a serial log, in order; those that are no `Boot` and no `Count` as they are.

    The last line is only taken with its end: QEMU may be writing it.
    """
    found: list[Boot | Count | str] = []
    for line in log.replace("\r", "").split("\n")[:-1]:
        if match := re.fullmatch(r"count (\d+) (\d+) (\d+\.\d+)", line):
            found.append(Count(int(match[1]), int(match[2]), float(match[3])))
        elif match := re.fullmatch(r"boot (clean|recover) (\d+)", line):
            found.append(Boot(match[1] == "clean", int(match[2])))
        elif line:
            found.append(line)
    return found


def counts(log: str) -> list[Count]:
    return [one for one in said(log) if isinstance(one, Count)]


def needs_recovery(head: bytes) -> bool:
    """Whether the ext4 whose first 2 KiB these are is mounted, or was torn off: not frozen, not unmounted.

    EXT4_FEATURE_INCOMPAT_RECOVER of s_feature_incompat, see Documentation/filesystems/ext4/super.rst.
    """
    if head[1080:1082] != b"\x53\xef":
        raise ValueError("there is no ext4 superblock")
    return bool(head[1120] & 4)
