# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a playbook makes of several modules, made on a host; which command calls what is in `_command/test_calls`."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    alone,
    backup,
    cycle,
    preflight,
    recover,
    rejoin,
    switchover,
)
from ansible_collections.hvm.pair.plugins.module_utils._zfs.retention import Rules

CONFIG = PairConfig("p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("tank/vm",), "/vm/state")


def me(now: str, **more: t.Any) -> dict[str, t.Any]:
    on = now == "ACTIVE"
    return {
        "host": "hv1", "peer": "hv2", "role": {"now": now}, "shared_ip": {"in_use_by_us": False, "enabled": on}, "pools": {},
        "hypervisor": {"running": on}, "qemu": [], "lock": None, "pending": None, **more,
    }  # fmt: skip


class Asked:
    """:ivar looks: what this host looks like, one for each look; the last one stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[t.Any] = []
        self.looks = [me("PASSIVE")]
        self.migration: t.Any = {"changed": True, "active": "hv2", "warnings": ["slow"]}
        monkeypatch.setattr(alone, "observe", lambda config: self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])
        monkeypatch.setattr(alone, "run", lambda command: self.calls.append(command[0]))
        monkeypatch.setattr(switchover, "migrate", lambda config, progress, check: self.note("migrate", check, self.migration))
        acts = {"acts": True, "active": "hv1", "sentence": "so", "warnings": ["it could not run there"]}
        monkeypatch.setattr(preflight, "preflight", lambda config, operation: acts)

    def note(self, name: str, check: bool, answer: t.Any) -> t.Any:
        self.calls.append((name, check))
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


@pytest.mark.parametrize("now", [role.ACTIVE, role.PASSIVE])
@pytest.mark.parametrize(("method", "operation"), [("checkpoint", "backup"), ("save", "backup"), ("freeze", "backup_unsecure")])
def test_a_backup_is_the_whole_cycle_and_only_for_the_active_host(
    monkeypatch: pytest.MonkeyPatch, now: str, method: str, operation: str
) -> None:
    asked: list[t.Any] = []
    monkeypatch.setattr(role, "load", lambda: role.Role(now, 3, "", "", "boot"))
    monkeypatch.setattr(role, "boot_id", lambda: "boot")
    elsewhere = {"acts": False, "active": "hv2", "sentence": "hv2 is ACTIVE and does the work", "warnings": []}
    monkeypatch.setattr(preflight, "preflight", lambda config, name: asked.append(name) or elsewhere)
    ran = {"changed": True, "warnings": []}
    monkeypatch.setattr(cycle, "run", lambda config, options, rules, progress, check: {**ran, "check": check})
    options = backup.Options(method)
    if now == role.ACTIVE:  # then the cycle asks by itself
        done = alone.backup(CONFIG, Progress(), options, Rules(), True)
        assert done == {"active": "hv1", "changed": True, "warnings": [], "check": True} and asked == []
        return
    with pytest.raises(Refused, match="Run it there, on hv2"):
        alone.backup(CONFIG, Progress(), options, Rules(), False)
    assert asked == [operation]


# Switching off


def test_an_active_host_is_emptied_and_looked_at_again_before_it_is_switched_off(asked: Asked) -> None:
    asked.looks = [me("ACTIVE"), me("PASSIVE")]
    done = alone.shut_down(CONFIG, Progress(), "", False)
    assert asked.calls == [("migrate", False), "systemd-run"]
    assert done["migration"]["active"] == "hv2" and done["warnings"] == ["it could not run there", "slow"]


def test_a_passive_host_is_only_switched_off(asked: Asked) -> None:
    assert alone.shut_down(CONFIG, Progress(), "hv1", False)["migration"] is None
    assert asked.calls == ["systemd-run"]


def test_check_mode_switches_nothing_off(asked: Asked) -> None:
    alone.shut_down(CONFIG, Progress(), "", True)
    asked.looks = [me("ACTIVE")]
    assert alone.shut_down(CONFIG, Progress(), "", True)["migration"]
    assert asked.calls == [("migrate", True)]


@pytest.mark.parametrize(
    ("look", "name", "said"),
    [
        (me("PASSIVE"), "hv2", "this is hv1, not hv2. Run it on hv2."),
        (me("ACTIVE", shared_ip={"in_use_by_us": True}), "", "over the shared IP, which is about to move"),
        (me("UNKNOWN"), "", "this host is UNKNOWN, and only a PASSIVE one is switched off"),
        (me("DIVERGED"), "", "this host is DIVERGED"),
        (me("PASSIVE", hypervisor={"running": True}), "", "the hypervisor is running"),
        (me("PASSIVE", shared_ip={"in_use_by_us": False, "enabled": True}), "", "the shared IP is enabled here"),
        (me("PASSIVE", qemu=["web"]), "", "VMs run here: web"),
        (me("PASSIVE", lock="sync by root"), "", "another operation is running: sync by root"),
        (me("PASSIVE", pending={"operation": "x", "started": "then", "step": "y"}), "", "x, begun then, did not end"),
    ],
)
def test_a_host_that_is_not_passive_and_idle_stays_on(asked: Asked, look: dict[str, t.Any], name: str, said: str) -> None:
    asked.looks = [look]
    with pytest.raises(Refused) as caught:
        alone.shut_down(CONFIG, Progress(), name, False)
    assert said in str(caught.value) and asked.calls == []


def test_after_a_migration_it_is_not_said_that_nothing_was_changed(asked: Asked) -> None:
    asked.looks = [me("ACTIVE"), me("PASSIVE", lock="sync by root on hv2")]
    with pytest.raises(HvmError) as caught:
        alone.shut_down(CONFIG, Progress(), "", False)
    assert not isinstance(caught.value, Refused) and caught.value.details == {"changed": True}
    assert "the VMs are on hv2, and hv1 stays on: hv1: another operation is running" in str(caught.value)
    assert asked.calls == [("migrate", False)]


def test_a_migration_that_fails_switches_nothing_off(asked: Asked) -> None:
    asked.looks, asked.migration = [me("ACTIVE")], HvmError("undone")
    with pytest.raises(HvmError, match="undone"):
        alone.shut_down(CONFIG, Progress(), "", False)
    assert asked.calls == [("migrate", False)]


# Recovering


@pytest.mark.parametrize(
    ("now", "answers", "check", "rejoins"),
    [
        ("ACTIVE", True, False, True),
        ("ACTIVE", False, False, False),
        ("ACTIVE", True, True, False),
        ("PASSIVE", True, False, False),
    ],
)
def test_the_other_host_comes_back_where_this_one_is_active_and_it_answers(
    monkeypatch: pytest.MonkeyPatch, now: str, answers: bool, check: bool, rejoins: bool
) -> None:
    asked: list[t.Any] = []
    found = {"changed": False, "do": "", "role": now, "peer_answers": answers, "warnings": ["one"], "sentence": "so"}
    told: list[t.Any] = []
    monkeypatch.setattr(recover, "apply", lambda config, down, check, dummy, give_up: told.append((down, give_up)) or dict(found))
    joined = {"changed": True, "do": "join", "warnings": ["two"]}
    monkeypatch.setattr(rejoin, "apply", lambda config, words, check, progress: asked.append((words, check)) or dict(joined))
    done = alone.recover(CONFIG, Progress(), "hv2", check, "hv3")
    assert told == [("hv2", "hv3")]
    assert bool(asked) == rejoins == done["changed"]
    assert asked in ([], [(rejoin.Words(), False)])  # never with a choice: that is the operator's
    assert done["warnings"] == (["one", "two"] if rejoins else ["one"])
