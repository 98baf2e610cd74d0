# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disk image of a lab host, and the QEMU that runs it.

Two things are built, both with mmdebstrap and both kept in the cache under a name that holds the digest of their recipe:

* *tools*: QEMU, qemu-img and nasm of one fixed Debian release, only unpacked, run through their own dynamic loader. So
  the lab runs on the same QEMU on every machine (QEMU 7.2 of Debian 12 is half as fast and panics a 6.12 kernel).
* *image*: the root file system of a host as ``base.ext4`` with its ``vmlinuz`` and ``initrd``.

A build happens in ``NAME.partial`` and is renamed when it is whole: a crashed one is never taken for an image.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

SUITES = ("trixie", "bookworm")
#: One of each, the older one on the first host: what a pair is while it is being upgraded.
MIXED = "mixed"
TOOLS_SUITE = "trixie"
TOOLS_PACKAGES = ("qemu-system-x86", "qemu-utils", "nasm")
#: What must be on this machine for a build; Debian's and Ubuntu's package of each command.
COMMANDS = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "zstd": "zstd",
}
PACKAGES = (
    "linux-image-cloud-amd64 linux-headers-cloud-amd64 zfs-dkms zfsutils-linux systemd-sysv udev dbus openssh-server "
    "python3 python3-apt python3-libvirt libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils iproute2 "
    "iputils-ping iputils-arping mbuffer zstd kmod initramfs-tools ca-certificates procps"
).split()
MASKED_UNITS = (
    "apt-daily.timer apt-daily-upgrade.timer man-db.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer "
    "dpkg-db-backup.timer systemd-networkd-wait-online.service getty@tty1.service libvirt-guests.service "
    "zfs-zed.service systemd-timesyncd.service"
).split()
DISK_MIB = 3072
NEEDED_FREE_MIB = 7000

#: Runs in the finished tree ($1); everything that makes a Debian tree a lab host.
CUSTOMIZE = r"""
set -eu
root=$1
cat > "$root/etc/systemd/system/lab-ssh-keys.service" <<'UNIT'
[Unit]
Description=ssh host key of this lab host
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=multi-user.target
UNIT
rm -f "$root"/etc/ssh/ssh_host_*
mkdir -p "$root/etc/ssh/sshd_config.d" "$root/root/.ssh"
printf 'HostKey /etc/ssh/ssh_host_ed25519_key\nPermitRootLogin prohibit-password\nUseDNS no\nMaxStartups 50\n' \
  > "$root/etc/ssh/sshd_config.d/lab.conf"
chmod 700 "$root/root/.ssh"
install -m 600 "$LAB_AUTHORIZED_KEYS" "$root/root/.ssh/authorized_keys"
chroot "$root" systemctl enable lab-ssh-keys.service systemd-networkd.service systemd-network-generator.service
chroot "$root" systemctl mask $LAB_MASKED_UNITS
: > "$root/etc/machine-id"
rm -f "$root/etc/hostname" "$root/etc/resolv.conf" "$root/var/lib/dbus/machine-id"
printf '/dev/vda / ext4 rw,noatime 0 1\n' > "$root/etc/fstab"
printf '127.0.0.1 localhost\n::1 localhost\n' > "$root/etc/hosts"
printf 'MODULES=list\nCOMPRESS=zstd\n' > "$root/etc/initramfs-tools/conf.d/lab"
printf 'virtio_pci\nvirtio_blk\nvirtio_net\next4\n' >> "$root/etc/initramfs-tools/modules"
printf 'zfs\n' > "$root/etc/modules-load.d/zfs.conf"
printf 'options zfs zfs_arc_max=268435456 zfs_txg_timeout=5\n' > "$root/etc/modprobe.d/lab-zfs.conf"
printf '[Journal]\nStorage=persistent\nSystemMaxUse=64M\n' > "$root/etc/systemd/journald.conf.d/lab.conf" 2>/dev/null \
  || { mkdir -p "$root/etc/systemd/journald.conf.d"; printf '[Journal]\nStorage=persistent\nSystemMaxUse=64M\n' \
  > "$root/etc/systemd/journald.conf.d/lab.conf"; }
chroot "$root" update-initramfs -u -k all
set -- "$root"/lib/modules/*/updates/dkms/zfs.ko*
test -e "$1" || { echo "E: the ZFS module was not built" >&2; exit 1; }
rm -rf "$root"/var/lib/dkms/zfs/*/build "$root"/var/cache/apt/archives/*.deb
"""

#: Makes the disk from the finished tree, in the build directory ($1); $2 is its size in MiB.
MAKE_DISK = r"""
set -eu
cd "$1"
if [ -e tree.tar ]; then mkdir root; tar -C root --numeric-owner -xpf tree.tar; rm tree.tar; fi
cp root/boot/vmlinuz-* vmlinuz
cp root/boot/initrd.img-* initrd
mke2fs -q -t ext4 -E root_owner=0:0 -J size=32 -d root base.ext4.tmp "$2"M
mv base.ext4.tmp base.ext4
rm -rf root
"""


class LabError(Exception):
    """Something the person at the keyboard has to know; shown as one line."""


def say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


def cache_dir() -> Path:
    base = os.environ.get("HVM_LAB_CACHE")
    if not base:
        base = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "hvm-pair-lab")
    path = Path(base)
    path.mkdir(parents=True, exist_ok=True)
    return path


def is_root() -> bool:
    return os.geteuid() == 0


def need_commands() -> None:
    """Install what the lab needs on this machine (as root), or say what is missing."""
    missing = {package for command, package in COMMANDS.items() if not shutil.which(command, path=_path())}
    if not missing:
        return
    names = " ".join(sorted(missing))
    if not is_root():
        raise LabError(f"missing here: {names}. Ask an administrator for: apt-get install {names} uidmap")
    if not shutil.which("apt-get"):
        raise LabError(f"missing here: {names}. The lab runs on Debian and Ubuntu only: there is no apt-get.")
    say(f"installing {names}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "-q", "update"], ["apt-get", "-q", "-y", "install", "--no-install-recommends", *sorted(missing)]):
        result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if result.returncode:
            raise LabError(f"{' '.join(command)} failed: {result.stderr.strip()[-500:]}")


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def need_space(where: Path, mib: int) -> None:
    free = shutil.disk_usage(where).free // 1048576
    if free < mib:
        raise LabError(
            f"{where} has {free} MiB free and {mib} MiB are needed. Free some, or set HVM_LAB_CACHE to a larger place."
        )


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One builder at a time; the lock goes with the process."""
    with open(path, "w", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is running here, waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ssh_key() -> Path:
    """The key with which this machine enters its lab hosts; made once, never leaves the cache."""
    key = cache_dir() / "id_ed25519"
    if not key.exists():
        with locked(cache_dir() / "key.lock"):
            if not key.exists():
                run_or_fail(
                    ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "hvm.pair lab", "-f", str(key)],
                    "make the lab's ssh key",
                )
    return key


def run_or_fail(command: list[str], what: str, **kwargs: t.Any) -> str:
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": _path(), **kwargs.pop("env", {})},
        **kwargs,
    )
    if result.returncode:
        raise LabError(f"could not {what}: {(result.stderr or result.stdout).strip()[-800:]}")
    return result.stdout


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def image_dir(suite: str) -> Path:
    public = ssh_key().with_suffix(".pub").read_text(encoding="ascii").split()[1]
    return cache_dir() / f"image-{suite}-{_digest(suite, PACKAGES, MASKED_UNITS, DISK_MIB, CUSTOMIZE, MAKE_DISK, public)}"


def tools_dir() -> Path:
    return cache_dir() / f"tools-{TOOLS_SUITE}-{_digest(TOOLS_SUITE, TOOLS_PACKAGES)}"


def _mmdebstrap(arguments: list[str], log: Path, total: float, what: str, env: dict[str, str] | None = None) -> None:
    """Run mmdebstrap with a line of progress every few seconds; the whole output goes to `log`."""
    mirror = os.environ.get("HVM_LAB_MIRROR")
    command = ["setpriv", "--pdeathsig", "TERM", "mmdebstrap", f"--mode={'root' if is_root() else 'unshare'}", *arguments] + (
        [mirror] if mirror else []
    )
    start = last = time.monotonic()
    with open(log, "w", encoding="utf-8") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": _path(), **(env or {})},
        )
        try:
            while process.poll() is None:
                time.sleep(0.5)
                now = time.monotonic()
                if now - last >= 15:
                    last = now
                    say(f"{what}: {now - start:.0f} s of about {total:.0f} s - {_last_line(log)}")
                if now - start > total * 8:
                    raise LabError(f"{what} took more than {total * 8:.0f} s and was stopped; see {log}")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)
    if process.returncode:
        tail = [
            line for line in log.read_text(errors="replace").splitlines() if line.startswith(("E:", "W:", "Error", "dpkg: error"))
        ]
        raise LabError(f"{what} failed: {'; '.join(tail[-4:]) or _last_line(log)} (whole output: {log})")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return textwrap.shorten(lines[-1], 90) if lines else ""


def _build(target: Path, total: float, mib: int, what: str, work: t.Callable[[Path, float], None]) -> Path:
    if (target / "complete").exists():
        return target
    need_commands()
    with locked(cache_dir() / "build.lock"):
        if (target / "complete").exists():
            return target
        need_space(cache_dir(), mib)
        family = target.name.rsplit("-", 1)[0]
        for old in cache_dir().glob(f"{family}-*"):
            if old.name.endswith(".partial"):
                say(f"removing what a crashed build left: {old.name}")
                _remove_tree(old)
        partial = target.with_name(target.name + ".partial")
        partial.mkdir()
        start = time.monotonic()
        say(f"building {what}: about {total:.0f} s, once")
        try:
            work(partial, total)
        except BaseException:
            log = partial / "build.log"
            if log.exists():
                shutil.copy(log, cache_dir() / f"{target.name}.failed.log")
            _remove_tree(partial)
            raise
        (partial / "complete").write_text(f"{time.monotonic() - start:.0f}\n", encoding="ascii")
        partial.rename(target)
        for old in cache_dir().glob(f"{family}-*"):
            if old.is_dir() and old != target:
                _remove_tree(old)
        say(f"built {what} in {time.monotonic() - start:.0f} s")
    return target


def _remove_tree(path: Path) -> None:
    """Remove a tree; what a user namespace made belongs to other ids and needs one again."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists() and not is_root():
        subprocess.run(["unshare", "--map-root-user", "--map-auto", "rm", "-rf", "--", str(path)], check=False)
    if path.exists():
        raise LabError(f"{path} could not be removed")


def _work_tools(partial: Path, total: float) -> None:
    tree = partial / "tree.tar"
    _mmdebstrap(
        [
            "--variant=extract",
            "--components=main",
            "--include=" + ",".join(TOOLS_PACKAGES),
            '--aptopt=Apt::Install-Recommends "false"',
        ]
        + ["--format=tar", TOOLS_SUITE, str(tree)],
        partial / "build.log",
        total,
        "tools",
    )
    root = partial / "root"
    root.mkdir()
    run_or_fail(["tar", "-C", str(root), "--no-same-owner", "--exclude=./dev/*", "-xf", str(tree)], "unpack the tools")
    tree.unlink()


def _work_image(suite: str, partial: Path, total: float) -> None:
    hook = partial / "customize"
    hook.write_text("#!/bin/sh\n" + CUSTOMIZE, encoding="utf-8")
    hook.chmod(0o755)
    public = ssh_key().with_suffix(".pub")
    tree = partial / "tree.tar" if not is_root() else partial / "root"
    _mmdebstrap(
        [
            "--variant=apt",
            "--components=main,contrib",
            "--include=" + ",".join(PACKAGES),
            '--aptopt=Apt::Install-Recommends "false"',
        ]
        + [f"--dpkgopt=path-exclude=/usr/share/{what}/*" for what in ("doc", "man", "locale", "info")]
        + [f"--customize-hook={hook}", f"--format={'directory' if is_root() else 'tar'}", suite, str(tree)],
        partial / "build.log",
        total,
        f"image of {suite}",
        {"LAB_AUTHORIZED_KEYS": str(public), "LAB_MASKED_UNITS": " ".join(MASKED_UNITS)},
    )
    shell = ["sh", "-c", MAKE_DISK, "sh", str(partial), str(DISK_MIB)]
    if is_root():
        run_or_fail(shell, "make the disk image")
    else:  # in a user namespace nobody makes devices, and the kernel fills /dev by itself at boot (devtmpfs)
        options = {"TAR_OPTIONS": "--exclude=./dev/*"}
        run_or_fail(["unshare", "--map-root-user", "--map-auto", *shell], "make the disk image", env=options)


def suites_of(suite: str) -> tuple[str, str]:
    """The Debian release of each host."""
    return ("bookworm", "trixie") if suite == MIXED else (suite, suite)


def build_tools() -> Path:
    return _build(tools_dir(), 60, 1500, "the tools (QEMU)", _work_tools)


def build_image(suite: str) -> Path:
    if suite not in SUITES:
        raise LabError(f"unknown suite {suite!r}: there are {', '.join(SUITES)}")
    return _build(
        image_dir(suite), 330, NEEDED_FREE_MIB, f"the image ({suite})", lambda partial, total: _work_image(suite, partial, total)
    )


def tool(name: str) -> list[str]:
    """The command line that starts a program of the tools tree, without a chroot."""
    root = build_tools() / "root"
    library = root / "usr/lib/x86_64-linux-gnu"
    return [str(library / "ld-linux-x86-64.so.2"), "--library-path", str(library), str(root / "usr/bin" / name)]
