# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._procedure import snapshots
from ansible_collections.hvm.pair.plugins.modules import hvm_zfs_snapshot

Module = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def module(module_of: t.Callable[[types.ModuleType], Module]) -> Module:
    return module_of(hvm_zfs_snapshot)


SET = "hvm_20261123T094512Z_p_C"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[t.Any, ...]]:
    made: list[tuple[t.Any, ...]] = []

    def apply(config: t.Any, *arguments: t.Any) -> dict[str, t.Any]:
        made.append((config.pair, *arguments))
        return {"changed": True, "set": SET, "diff": {"before": "", "after": f"{SET}\n"}}

    monkeypatch.setattr(snapshots, "apply", apply)
    return made


def test_what_is_asked_reaches_the_procedure(module: Module, calls: list[tuple[t.Any, ...]]) -> None:
    done = module()
    assert (done["changed"], done["set"], done["diff"]) == (True, SET, {"before": "", "after": f"{SET}\n"})
    module(consistency="quiesced", check=True)
    module(state="absent", name=SET)
    assert calls == [
        ("p", "present", None, "crash", False),
        ("p", "present", None, "quiesced", True),
        ("p", "absent", SET, "crash", False),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"state": "absent"}, "state is absent but all of the following are missing: name"),
        ({"state": "pruned"}, "value of state must be one of: present, absent"),
        ({"keep": 3}, "Unsupported parameters"),
        ({"consistency": "B"}, "value of consistency must be one of"),
    ],
)
def test_what_means_nothing_is_refused(
    module: Module, calls: list[tuple[t.Any, ...]], options: dict[str, t.Any], said: str
) -> None:
    refused = module(**options)
    assert refused["failed"] and said in refused["msg"] and calls == []


def test_a_name_that_is_no_set_is_refused_by_the_procedure_itself(module: Module) -> None:
    refused = module(state="absent", name="tank/vm")
    assert refused["failed"] and "'tank/vm' is not the name of a snapshot set of the pair p" in refused["msg"]
