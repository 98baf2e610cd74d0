# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import observe
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions

CONFIG = PairConfig("p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("t/vm",), "/vm/state", (), "br0", "192.0.2.1")


def test_whoever_uses_a_bind_mount_of_the_datasets_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    props = {"mountpoint": ["/srv", "local"], "canmount": ["noauto", "local"], "mounted": ["yes", "-"]}
    datasets = {"t/vm": {"type": "filesystem", "props": props, "snapshots": [], "bookmarks": []}}
    users = {"/srv": ["qemu-system-x86 (5)"], "/export": ["bash (7)"]}
    monkeypatch.setattr(observe, "hypervisor_running", lambda: False)
    monkeypatch.setattr(observe, "_host", lambda dummy: {"role": {"now": "ACTIVE"}, "foreign_users": {}})
    monkeypatch.setattr(actions, "zfs_mounts", lambda: [("t/vm", "/srv"), ("t/vm", "/export")])
    monkeypatch.setattr(actions, "users_of", lambda points: {point: users[point] for point in points})
    found = observe.observe(CONFIG, users=True, datasets=datasets)
    assert found["mounted_elsewhere"] == [("t/vm", "/export")]
    assert found["foreign_users"] == {"/export": ["bash (7)"]}
