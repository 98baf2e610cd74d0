# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._procedure import vm_settings
from ansible_collections.hvm.pair.plugins.modules import hvm_vm_settings

Module = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def module(module_of: t.Callable[[types.ModuleType], Module]) -> Module:
    return module_of(hvm_vm_settings)


def test_only_what_is_given_is_set(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[t.Any, ...]] = []

    def apply(config: t.Any, *arguments: t.Any) -> dict[str, t.Any]:
        calls.append((config.pair, *arguments))
        return {"changed": True, "actions": ["said"], "vms": {}, "diff": {}, "warnings": []}

    monkeypatch.setattr(vm_settings, "apply", apply)
    assert module(name=["web"], autostart=False, ready="", check=True)["actions"] == ["said"]
    assert calls.pop() == ("p", ["web"], False, {"autostart": False, "ready": ""}, None, True)
    module(all=True, priority=1, delay=0, agent_channel=False)
    assert calls.pop() == ("p", [], True, {"priority": 1, "delay": 0}, False, False)


def test_something_is_to_be_set_on_one_or_all(module: Module) -> None:
    assert "one of the following is required" in module(name=["web"])["msg"]
    assert "mutually exclusive" in module(name=["web"], all=True, priority=1)["msg"]
