#!/usr/bin/env python3
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run `ansible-test sanity` on what the collection ships. Arguments go to ansible-test. Runs in .venv.

ansible-test wants to stand in a real directory `ansible_collections/hvm/pair`; a link does not do. So the files are kept
in step with a copy, at a path that never changes, and only what changed is copied.

It builds one venv per test and starts each with a script `get-pip` that it downloads from a server of its own. That
script is made here instead, from pip's own wheel, so that a package index is all that is needed.
"""

from __future__ import annotations

import base64
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

import ansible_test
from _tree import ROOT, project_files, shipped_files

COPY = ROOT / "build" / "ansible_collections" / "hvm" / "pair"
CACHE = pathlib.Path.home() / ".ansible" / "test" / "cache"

GET_PIP = '''\
"""pip {version}, made from its wheel by the collection hvm.pair for ansible-test."""
import base64, os, sys, tempfile

WHEEL = {name!r}
DATA = """
{data}"""

with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, WHEEL)
    with open(path, "wb") as file:
        file.write(base64.b64decode(DATA))
    sys.path.insert(0, path)
    from pip._internal.cli.main import main

    # Two options of the real get-pip that pip itself does not know
    options = [option for option in sys.argv[1:] if option not in ("--no-setuptools", "--no-wheel")]
    sys.exit(main(["install", "--no-index", "--find-links", directory, "pip", *options]))
'''


def same(source: pathlib.Path, target: pathlib.Path) -> bool:
    """Whether `target` is the copy of `source` as it is now; shutil.copy2 keeps the time."""
    if target.is_symlink() or not target.is_file():
        return False
    new, old = source.stat(), target.stat()
    return (new.st_size, new.st_mtime_ns, new.st_mode) == (old.st_size, old.st_mtime_ns, old.st_mode)


def update_copy(names: list[str]) -> None:
    """Make the copy hold exactly `names`."""
    for name in names:
        source, target = ROOT / name, COPY / name
        if source.is_symlink():
            if not target.is_symlink() or os.readlink(source) != os.readlink(target):
                target.unlink(missing_ok=True)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(os.readlink(source))
            continue
        if not same(source, target):
            target.unlink(missing_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    wanted = {COPY / name for name in names}
    wanted |= {parent for path in wanted for parent in path.parents}
    for path in sorted(COPY.rglob("*"), reverse=True):
        if path in wanted or (COPY / "tests" / "output") in (path, *path.parents):
            continue
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


def check_archive(names: list[str]) -> list[str]:
    """What `ansible-galaxy collection build` packs beyond `names`, and what it leaves out: build_ignore is wrong then."""
    with tempfile.TemporaryDirectory() as directory:
        command = ["ansible-galaxy", "collection", "build", "--output-path", directory, str(ROOT)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(pathlib.Path(directory).glob("*.tar.gz"))) as archive:
            packed = {member.name for member in archive if not member.isdir()}
    packed -= {"MANIFEST.json", "FILES.json"}
    wanted = set(names) - {"galaxy.yml"}
    return [f"packed, but not to be shipped: {name}" for name in sorted(packed - wanted)] + [
        f"to be shipped, but not packed: {name}" for name in sorted(wanted - packed)
    ]


def seed_get_pip() -> None:
    """Put the `get-pip` that the installed ansible-test asks for into its cache."""
    source = pathlib.Path(ansible_test.__path__[0], "_internal", "python_requirements.py").read_text()
    versions = set(re.findall(r"""\bpip=['"]([0-9.]+)['"]""", source))
    if not versions:
        print("sanity: this ansible-test does not say which pip it wants; it will try to download it", file=sys.stderr)
    for version in versions:
        target = CACHE / f"get_pip_{version.replace('.', '_')}.py"
        if target.exists():
            continue
        with tempfile.TemporaryDirectory() as directory:
            pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "download", "--quiet", "--no-deps", "--dest", directory, f"pip=={version}"], check=True)
            wheel = next(pathlib.Path(directory).glob("pip-*.whl"))
            data = base64.encodebytes(wheel.read_bytes()).decode()
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{os.getpid()}")
        partial.write_text(GET_PIP.format(version=version, name=wheel.name, data=data))
        partial.rename(target)


def main() -> int:
    names = shipped_files(project_files())
    update_copy(names)
    faults = check_archive(names)
    for fault in faults:
        print(f"sanity: galaxy.yml, build_ignore: {fault}", file=sys.stderr)
    seed_get_pip()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    # With the root given it does not look upwards for one, where it would find this checkout's git, which ignores build/.
    env = {**os.environ, "ANSIBLE_TEST_CONTENT_ROOT": str(COPY)}
    result = subprocess.run(["ansible-test", "sanity", "--python", python, *sys.argv[1:]], cwd=COPY, env=env, check=False)
    return result.returncode or bool(faults)


if __name__ == "__main__":
    sys.exit(main())
