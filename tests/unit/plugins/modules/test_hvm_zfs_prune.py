# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import cycle, prune
from ansible_collections.hvm.pair.plugins.module_utils._zfs.retention import Rules
from ansible_collections.hvm.pair.plugins.modules import hvm_zfs_prune

Module = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def module(module_of: t.Callable[[types.ModuleType], Module]) -> Module:
    return module_of(hvm_zfs_prune)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[t.Any, ...]]:
    made: list[tuple[t.Any, ...]] = []

    def replacement(config: PairConfig, rules: Rules, progress: Progress, check: bool) -> dict[str, t.Any]:
        made.append((config.pair, rules, check))
        progress.say("3 of 6 snapshots of old sets done")
        return {"changed": True, "destroyed": ["hvm_x"], "warnings": ["hv1: d@x stays: it is held or in use"]}

    monkeypatch.setattr(prune, "prune", replacement)
    return made


def test_the_last_48_stay_when_nothing_is_said(
    module: Module, calls: list[tuple[t.Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    # where it goes from there depends on whether this process is a controller, too
    monkeypatch.setattr("ansible.module_utils.basic.AnsibleModule.warn", lambda dummy, text: said.append(text))
    done = module()
    assert calls == [("p", Rules(keep_last=48), False)]
    assert done["changed"] and done["destroyed"] == ["hvm_x"]
    assert said == ["hv1: d@x stays: it is held or in use"]
    assert "deprecations" not in done


def test_each_option_is_a_rule(module: Module, calls: list[tuple[t.Any, ...]], tmp_path: pathlib.Path) -> None:
    words = {"older_than": 36.5, "except_at": ["12:00", "20:30"], "keep_last": 1, "progress_file": str(tmp_path / "progress")}
    counts = {"keep_hourly": 2, "keep_daily": 3, "keep_weekly": 4, "keep_monthly": 5}
    module(check=True, **words, **counts)
    assert calls == [("p", Rules(36.5, ("12:00", "20:30"), 1, **counts), True)]
    assert "3 of 6 snapshots" in (tmp_path / "progress").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"except_at": ["12:00"]}, "except_at is given without older_than"),
        # what YAML makes of 12:00 without quotes
        ({"older_than": 1, "except_at": [720]}, "except_at: '720' is no time of day. Write HH:MM, in quotes"),
        ({"keep_last": -1}, "keep_last is -1. Give 0 or more"),
        ({"older_than": "nan"}, "older_than is nan. Give 0 or more"),
        ({"keep_daily": "many"}, "keep_daily"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(
    module: Module, calls: list[tuple[t.Any, ...]], options: dict[str, t.Any], said: str
) -> None:
    refused = module(**options)
    assert refused["failed"] and said in refused["msg"] and calls == []


def test_a_busy_host_fails_with_its_remedy(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*dummy: t.Any) -> dict[str, t.Any]:
        raise HvmError("another operation is running on hv1: sync by root", "Wait until it has ended, then run this again.")

    monkeypatch.setattr(prune, "prune", busy)
    refused = module()
    assert refused["failed"] and refused["remedy"] == "Wait until it has ended, then run this again."


@pytest.mark.parametrize("check", [False, True])
def test_both_is_for_this_host_and_by_its_agent_for_the_other_one(
    module: Module, calls: list[tuple[t.Any, ...]], monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    asked: list[tuple[Rules, bool, list[str]]] = []
    one = {"changed": False, "destroyed": [], "diff": {"before": "a", "after": "a"}}

    def both(config: PairConfig, rules: Rules, progress: Progress, check: bool, warnings: list[str]) -> dict[str, t.Any]:
        asked.append((rules, check, list(warnings)))
        return {"hv1": dict(one), "hv2": {**one, "changed": True, "destroyed": ["hvm_x"]}}

    monkeypatch.setattr(cycle, "prune_both", both)
    done = module(check=check, keep_last=3, both=True)
    assert asked == [(Rules(keep_last=3), check, [])] and calls == []
    assert done["changed"] and done["hosts"]["hv2"]["destroyed"] == ["hvm_x"]
    assert [part["before_header"] for part in done["diff"]] == ["hv1", "hv2"]
