# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._procedure import snapshots
from ansible_collections.hvm.pair.plugins.modules import hvm_zfs_snapshot_info

Module = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def module(module_of: t.Callable[[types.ModuleType], Module]) -> Module:
    return module_of(hvm_zfs_snapshot_info)


def test_the_sizes_are_asked_for_only_on_request_and_nothing_changes(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    found = {"sets": [], "lists": {"all": [], "dates": [], "lasts": []}, "held": {}, "resumable": [], "bookmarks": []}

    def look(config: t.Any, used: bool) -> dict[str, t.Any]:
        calls.append((config.pair, used))
        return dict(found)

    monkeypatch.setattr(snapshots, "look", look)
    done = module()
    assert done["changed"] is False and {key: done[key] for key in found} == found
    module(used=True, check=True)
    assert calls == [("p", False), ("p", True)]
