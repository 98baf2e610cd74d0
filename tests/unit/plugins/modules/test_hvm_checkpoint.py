# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._procedure import backup
from ansible_collections.hvm.pair.plugins.module_utils._procedure.backup import Options
from ansible_collections.hvm.pair.plugins.modules import hvm_checkpoint

Module = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def module(module_of: t.Callable[[types.ModuleType], Module]) -> Module:
    return module_of(hvm_checkpoint)


def test_what_is_asked_reaches_the_procedure(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def made(config: t.Any, dummy: t.Any, options: Options, check: bool) -> dict[str, t.Any]:
        calls.append((config.pair, options, check))
        return {"changed": True, "set": "hvm_x_B", "vms": {}}

    monkeypatch.setattr(backup, "backup", made)
    assert module()["set"] == "hvm_x_B"
    module(method="quiesce", quiesce_limit=5, fallback=["refuse"], check=True)
    assert calls == [("p", Options(), False), ("p", Options("quiesce", (), 5), True)]


@pytest.mark.parametrize("limit", [-2, 0])
def test_a_limit_for_ever_is_none(module: Module, limit: int) -> None:
    assert module(method="quiesce", quiesce_limit=limit)["msg"] == "quiesce_limit is less than 1. Give 1 second or more."


@pytest.mark.parametrize("options", [{"method": "snapshot"}, {"fallback": ["kill"]}])
def test_only_what_there_is(module: Module, options: dict[str, t.Any]) -> None:
    assert module(**options)["failed"]
