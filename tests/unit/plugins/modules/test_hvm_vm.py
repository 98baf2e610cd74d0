# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest
from ansible.module_utils import basic

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.stopping import Limits
from ansible_collections.hvm.pair.plugins.module_utils._procedure import verbs
from ansible_collections.hvm.pair.plugins.modules import hvm_vm

Module = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def module(module_of: t.Callable[[types.ModuleType], Module]) -> Module:
    return module_of(hvm_vm)


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was warned of; Ansible itself keeps that for the whole process."""
    found: list[str] = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda dummy, text: found.append(text))
    return found


def test_the_options_arrive(module: Module, monkeypatch: pytest.MonkeyPatch, warned: list[str]) -> None:
    calls: list[tuple[t.Any, ...]] = []

    def apply(config: t.Any, *arguments: t.Any) -> dict[str, t.Any]:
        calls.append((config.pair, *arguments))
        return {"changed": True, "actions": ["web was shut down by ACPI in 2.0 s"], "vms": {}, "warnings": ["mind the gap"]}

    monkeypatch.setattr(verbs, "apply", apply)
    done = module(name=["web"], state="shutdown", check=True)
    assert done["changed"] and warned == ["mind the gap"]
    assert calls.pop() == ("p", "shutdown", ["web"], False, verbs.Options(Limits(60, 120, 60, False), 4, False), True)
    limits = {"agent_timeout": 1, "acpi_timeout": 2, "poweroff": True, "poweroff_timeout": 3}
    module(all=True, state="shutdown", parallel=7, force=True, **limits)
    assert calls.pop() == ("p", "shutdown", [], True, verbs.Options(Limits(1, 2, 3, True), 7, True), False)


def test_a_failure_has_its_facts_and_its_warnings(
    module: Module, monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    def apply(*dummy: t.Any) -> t.NoReturn:
        raise HvmError("not all", "Look.", actions=["a started"], changed=True, warnings=["clock"])

    monkeypatch.setattr(verbs, "apply", apply)
    done = module(all=True, state="started")
    assert done["failed"] and (done["msg"], done["actions"]) == ("not all. Look.", ["a started"])
    assert warned == ["clock"]


def test_one_or_all(module: Module) -> None:
    assert module(name=["a"], all=True, state="started")["failed"]
