# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

from ansible_collections.hvm.pair.plugins.module_utils._core.mounts import topmost, zfs_mounts


def test_zfs_filesystems_by_their_real_names(tmp_path: pathlib.Path) -> None:
    (tmp_path / "mounts").write_text("/dev/sda1 / ext4 rw 0 0\nssd/my\\040vms /srv/my\\040vms zfs rw 0 0\n")
    assert zfs_mounts(str(tmp_path / "mounts")) == [("ssd/my vms", "/srv/my vms")]


def test_what_is_mounted_over_something_comes_later(tmp_path: pathlib.Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("ssd/a /srv/my\\040vms zfs rw 0 0\nssd/my\\040b /srv/my\\040vms zfs rw 0 0\n/dev/sda1 / ext4 rw 0 0\n")
    assert topmost("/srv/my vms", str(mounts)) == "ssd/my b"
    assert topmost("/srv", str(mounts)) == ""
