# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._procedure import mount
from ansible_collections.hvm.pair.plugins.modules import hvm_zfs_mount

Module = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def module(module_of: t.Callable[[types.ModuleType], Module]) -> Module:
    return module_of(hvm_zfs_mount)


def test_what_is_asked_reaches_the_procedure_and_what_it_did_comes_back(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    result = {"changed": True, "mountpoints": ["/srv"], "diff": {"before": {"mounted": []}, "after": {"mounted": ["/srv"]}}}

    def apply(config: t.Any, *arguments: t.Any) -> dict[str, t.Any]:
        calls.append((config.pair, *arguments))
        return dict(result)

    monkeypatch.setattr(mount, "apply", apply)
    done = module(state="mounted")
    assert {key: done[key] for key in result} == result
    module(state="mounted", peer_is_down="hv2", check=True)
    module(state="unmounted")
    assert calls == [("p", "mounted", "", False), ("p", "mounted", "hv2", True), ("p", "unmounted", "", False)]


@pytest.mark.parametrize(
    ("options", "said"),
    [({}, "missing required arguments: state"), ({"state": "present"}, "value of state must be one of: mounted, unmounted")],
)
def test_the_state_must_be_said(module: Module, options: dict[str, str], said: str) -> None:
    refused = module(**options)
    assert refused["failed"] and said in refused["msg"]
