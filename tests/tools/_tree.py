# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files make up the project, and which of them the collection ships."""

from __future__ import annotations

import fnmatch
import pathlib
import subprocess
import typing as t

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]


def project_files(root: pathlib.Path = ROOT) -> list[str]:
    """Paths, relative to `root`, of the files that are in git or would be with `git add --all`."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    # Deleted, but not yet in the index: git still lists it.
    return sorted({name for name in names if name and ((root / name).is_symlink() or (root / name).is_file())})


def shipped_files(names: t.Iterable[str], root: pathlib.Path = ROOT) -> list[str]:
    """Those of `names` that galaxy.yml does not keep out of the collection's archive."""
    patterns = yaml.safe_load((root / "galaxy.yml").read_text())["build_ignore"]

    def ignored(name: str) -> bool:
        path = pathlib.PurePosixPath(name)
        steps = [name, *(str(parent) for parent in path.parents if parent.name)]
        return any(fnmatch.fnmatch(step, pattern) for step in steps for pattern in patterns)

    return [name for name in names if not ignored(name)]
