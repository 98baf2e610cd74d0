# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tools that we are compared with, brought to the lab's hosts, which have no way to any registry themselves.

This machine downloads Debian's packages (with mmdebstrap, of the hosts' own release) and wheels (with pip) into the lab's
cache, once for each recipe; the hosts get what they lack of them.
"""

from __future__ import annotations

import concurrent.futures
import io
import sys
import tarfile
import typing as t
from pathlib import Path

import _image
from _image import LabError, say
from _machines import HOSTS, Lab, LabHost

#: syncoid is in `sanoid`; pv, lzop and mbuffer are what it and bzfs use when they find them. zfsutils-linux only so that apt
#: does not take another package for it: the hosts have it.
DEBIAN = ("sanoid", "pv", "lzop", "mbuffer", "zfsutils-linux")
#: Plain Python, all of them. zfs-autobackup asks for `argparse` too, a backport of 2015 that would hide Python's own.
WHEELS = ("bzfs==1.25.0", "zfs-autobackup==3.3", "colorama==0.4.6")
HOME = "/opt/hvm-bench"

#: name of the command -> what it calls, as the wheels' own entry points say
ENTRIES = {"bzfs": "bzfs_main.bzfs:main", "zfs-autobackup": "zfs_autobackup.ZfsAutobackup:cli"}

LAUNCHER = """#!/usr/bin/python3
import sys

sys.path.insert(0, "{home}/python")
from {module} import {function}

sys.argv[0] = "{name}"
sys.exit({function}())
"""

INSTALL = r"""
set -e
cd {home}
export DEBIAN_FRONTEND=noninteractive
set -- debs/*.deb
if [ -e "$1" ]; then
  dpkg --install "$@" > dpkg.log 2>&1 || {{ tail -5 dpkg.log >&2; exit 1; }}
fi
rm -rf debs python
systemctl disable --now sanoid.timer > /dev/null 2>&1 || true
for wheel in wheels/*.whl; do python3 -m zipfile -e "$wheel" python; done
rm -rf python/bzfs_tests python/bzfs_testbed
python3 -m compileall -q python
rm -rf wheels
"""


def directory(suite: str) -> Path:
    recipe = _image._digest(suite, DEBIAN, WHEELS)
    return _image.cache_dir() / f"bench-{suite}-{recipe}"


def download(suite: str) -> Path:
    """`debs/` and `wheels/` in the cache, made when they are not there."""
    return _image._build(
        directory(suite), 40, 800, f"the tools to compare with ({suite})", lambda partial, total: _work(suite, partial, total)
    )


def _work(suite: str, partial: Path, total: float) -> None:
    tree = partial / "tree.tar"
    _image._mmdebstrap(
        [
            "--variant=extract",
            "--components=main,contrib",
            "--include=" + ",".join(DEBIAN),
            '--aptopt=Apt::Install-Recommends "false"',
            *(f"--skip={step}" for step in ("extract/unlink", "essential/unlink", "cleanup/apt")),
            "--format=tar",
            suite,
            str(tree),
        ],
        partial / "build.log",
        total,
        "the tools to compare with",
    )
    debs = partial / "debs"
    debs.mkdir()
    with tarfile.open(tree) as archive:
        for member in archive:
            name = Path(member.name)
            if name.suffix == ".deb" and "archives" in name.parts and (source := archive.extractfile(member)):
                (debs / name.name).write_bytes(source.read())
    tree.unlink()
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    _image.run_or_fail([*pip, "-d", str(partial / "wheels"), *WHEELS], "download the wheels of the tools to compare with")


def install(lab: Lab, suite: str) -> None:
    source = download(suite)
    say("installing syncoid, bzfs and zfs-autobackup on both hosts")
    with concurrent.futures.ThreadPoolExecutor(len(HOSTS)) as pool:
        list(pool.map(lambda host: _install(lab, host, source), HOSTS))


def _install(lab: Lab, host: LabHost, source: Path) -> None:
    listed = lab.run(host, "dpkg-query -W -f '${Package} ${db:Status-Status}\\n'").stdout.decode()
    there = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    debs = [path for path in sorted((source / "debs").iterdir()) if path.name.split("_", 1)[0] not in there]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in debs:
            archive.add(path, f"debs/{path.name}")
        for path in sorted((source / "wheels").iterdir()):
            archive.add(path, f"wheels/{path.name}")
    lab.run(host, f"mkdir -p {HOME} && tar -C {HOME} -xf -", timeout=120, stdin=buffer.getvalue())
    lab.run(host, INSTALL.format(home=HOME), timeout=600)
    for name, entry in ENTRIES.items():
        module, function = entry.split(":")
        text = LAUNCHER.format(home=HOME, module=module, function=function, name=name)
        lab.run(host, f"cat > /usr/local/bin/{name} && chmod 755 /usr/local/bin/{name}", stdin=text.encode())


def versions(lab: Lab, host: LabHost) -> dict[str, str]:
    """What is really there, for the record."""
    commands = {
        "Linux": "uname -r",
        "ZFS": "cat /sys/module/zfs/version",
        "Python": "python3 -c 'import platform; print(platform.python_version())'",
        "OpenSSH": "dpkg-query -W -f '${Version}' openssh-client",
        "sanoid (syncoid)": "dpkg-query -W -f '${Version}' sanoid",
    }
    found = {name: lab.run(host, command).stdout.decode().strip() for name, command in commands.items()}
    found.update(t.cast("list[tuple[str, str]]", [tuple(wheel.split("==")) for wheel in WHEELS[:2]]))
    if not all(found.values()):
        raise LabError(f"{host.name}: {', '.join(name for name, value in found.items() if not value)} is not there")
    return found
