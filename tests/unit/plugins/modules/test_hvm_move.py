# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hvm_move and hvm_operation: which words reach the procedure, and what comes back."""

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, Refused
from ansible_collections.hvm.pair.plugins.module_utils._pair import modes
from ansible_collections.hvm.pair.plugins.module_utils._procedure import cancelling, move, rollback
from ansible_collections.hvm.pair.plugins.modules import hvm_move, hvm_operation

Module = t.Callable[..., dict[str, t.Any]]
ModuleOf = t.Callable[[types.ModuleType], Module]


def test_how_the_vms_move(module_of: ModuleOf, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[t.Any] = []

    def migrate(config: t.Any, progress: t.Any, check: bool, options: move.Options) -> dict[str, t.Any]:
        told.append((config.pair, check, options))
        return {"changed": True, "active": "hv2", "vms": {}}

    monkeypatch.setattr(move, "migrate", migrate)
    module = module_of(hvm_move)
    assert module()["active"] == "hv2"
    module(mode="direct", fallback="secure", limit=60, max_pause=5, rate=100, on_failure="stay", check=True)
    assert told == [
        ("p", False, move.DEFAULTS),
        ("p", True, move.Options(modes.Policy("direct", 0, 60, 5, "secure"), 100, True)),
    ]
    for wrong in ({"mode": "fast"}, {"fallback": "live"}, {"on_failure": "hope"}, {"limit": "long"}):
        assert module(**wrong)["failed"]
    assert len(told) == 2


def test_what_refuses_a_move_comes_with_its_findings(module_of: ModuleOf, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*dummy: t.Any) -> None:
        raise Refused("the migration", [Finding("VM web holds a device of the host", "Shut it down first.", "hv1")])

    monkeypatch.setattr(move, "migrate", refuse)
    refused = module_of(hvm_move)()
    assert refused["failed"] and "the migration is refused, nothing was changed: hv1: VM web holds" in refused["msg"]
    assert refused["findings"] == [{"what": "VM web holds a device of the host", "remedy": "Shut it down first.", "host": "hv1"}]


def test_an_operation_is_cancelled_or_acknowledged(module_of: ModuleOf, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[t.Any] = []
    monkeypatch.setattr(cancelling, "cancel", lambda *words: told.append(words) or {"changed": True, "sentence": "so"})
    monkeypatch.setattr(rollback, "acknowledge", lambda dummy, check: told.append(check) or {"changed": False})
    module = module_of(hvm_operation)
    assert module(state="cancelled")["sentence"] == "so"
    module(state="cancelled", moved="stay", check=True)
    assert not module(state="acknowledged", check=True)["changed"]
    assert told == [("back", False, "hv2"), ("stay", True, "hv2"), True]
    assert module()["failed"] and module(state="cancelled", moved="gone")["failed"]
    assert len(told) == 3
