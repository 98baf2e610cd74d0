# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._procedure import vms
from ansible_collections.hvm.pair.plugins.modules import hvm_vm_info

Module = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def module(module_of: t.Callable[[types.ModuleType], Module]) -> Module:
    return module_of(hvm_vm_info)


def test_the_filters_arrive_and_nothing_changes(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, vms.Filter]] = []
    found = {"vms": {}, "lists": {"all": []}, "saved": [], "unknown": []}

    def look(config: t.Any, wanted: vms.Filter) -> dict[str, t.Any]:
        calls.append((config.pair, wanted))
        return dict(found)

    monkeypatch.setattr(vms, "look", look)
    done = module()
    assert done["changed"] is False and {key: done[key] for key in found} == found
    module(name=["web"], state=["running", "frozen"], autostart=False, saved=True, check=True)
    flags = {"autostart": False, "saved": True}
    assert calls == [("p", vms.Filter([], [], {})), ("p", vms.Filter(["web"], ["running", "frozen"], flags))]
    assert module(state=["freezed"])["failed"]
