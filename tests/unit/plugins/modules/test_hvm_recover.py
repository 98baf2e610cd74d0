# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hvm_recover, hvm_failover and hvm_rejoin: which words reach the procedure, and what comes back."""

from __future__ import annotations

import pathlib
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._procedure import failover, recover, rejoin
from ansible_collections.hvm.pair.plugins.modules import hvm_failover, hvm_recover, hvm_rejoin

Module = t.Callable[..., dict[str, t.Any]]
MODULES = {hvm_recover: recover, hvm_failover: failover, hvm_rejoin: rejoin}


@pytest.fixture(name="calls")
def _calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[t.Any, ...]]:
    made: list[tuple[t.Any, ...]] = []

    def apply(config: t.Any, *words: t.Any, **more: t.Any) -> dict[str, t.Any]:
        *rest, progress = words
        made.append((config.pair, *rest, *more.values()))
        progress.say("a step")
        return {"changed": True, "sentence": "so", "warnings": []}

    for procedure in MODULES.values():
        monkeypatch.setattr(procedure, "apply", apply)
    return made


def test_recover(module_of: t.Callable[[types.ModuleType], Module], calls: list[tuple[t.Any, ...]]) -> None:
    module = module_of(hvm_recover)
    assert module()["sentence"] == "so"
    module(peer_is_down="hv2", give_up="hv2", check=True)
    assert calls == [("p", "", False, ""), ("p", "hv2", True, "hv2")]


def test_failover(module_of: t.Callable[[types.ModuleType], Module], calls: list[tuple[t.Any, ...]]) -> None:
    module = module_of(hvm_failover)
    module()
    module(to="last_state", dead_host="hv2", give_up="hv3", fence=["ipmitool", "power", "off"], check=True)
    words = failover.Words("hv2", "hv3", ["ipmitool", "power", "off"])
    assert calls == [("p", "last", failover.Words("", "", []), False), ("p", "last_state", words, True)]


def test_rejoin(module_of: t.Callable[[types.ModuleType], Module], calls: list[tuple[t.Any, ...]]) -> None:
    module = module_of(hvm_rejoin)
    module()
    module(choice="keep", winner="hv1", check=True)
    module(choice="discard", discard="hv2")
    module(winner="hv1", dead_host="hv2")
    words = [("", "", "", ""), ("keep", "", "hv1", ""), ("discard", "hv2", "", ""), ("", "", "hv1", "hv2")]
    assert [told for _pair, told, _check in calls] == words
    assert [check for _pair, _words, check in calls] == [False, True, False, False]


def test_a_choice_is_one_of_two(module_of: t.Callable[[types.ModuleType], Module], calls: list[tuple[t.Any, ...]]) -> None:
    assert module_of(hvm_rejoin)(choice="merge")["failed"]
    assert calls == []


@pytest.mark.parametrize("module", MODULES)
def test_steps_go_into_the_file(
    module_of: t.Callable[[types.ModuleType], Module],
    calls: list[tuple[t.Any, ...]],
    module: types.ModuleType,
    tmp_path: pathlib.Path,
) -> None:
    module_of(module)(progress_file=str(tmp_path / "progress"))
    assert len(calls) == 1 and "a step" in (tmp_path / "progress").read_text()


@pytest.mark.parametrize("module", MODULES)
def test_a_refusal_has_every_reason_and_what_would_be_lost(
    module_of: t.Callable[[types.ModuleType], Module], monkeypatch: pytest.MonkeyPatch, module: types.ModuleType
) -> None:
    def refuse(*dummy: t.Any, **dummy_more: t.Any) -> None:
        refused = Refused("it", [Finding("hv2 does not answer", "Name it.", "hv1"), Finding("no set", "", "hv1")])
        refused.details["lost"] = {"set": "x"}
        raise refused

    monkeypatch.setattr(MODULES[module], "apply", refuse)
    result = module_of(module)()
    assert result["failed"] and [one["what"] for one in result["findings"]] == ["hv2 does not answer", "no set"]
    assert result["lost"] == {"set": "x"}


def test_a_host_that_is_active_and_has_failed_says_that_it_has_changed(
    module_of: t.Callable[[types.ModuleType], Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(*dummy: t.Any, **dummy_more: t.Any) -> None:
        raise HvmError("hv1 is ACTIVE, but not everything runs: web: no", "Mend it.", changed=True, vms={"db": "db started"})

    monkeypatch.setattr(recover, "apply", half)
    result = module_of(hvm_recover)()
    assert (result["failed"], result["changed"]) == (True, True)
    assert (result["vms"], result["remedy"]) == ({"db": "db started"}, "Mend it.")
