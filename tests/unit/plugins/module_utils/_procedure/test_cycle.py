# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a playbook makes of several modules, made on a host; which command calls what is in `_command/test_calls`."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    backup,
    cycle,
    preflight,
    prune,
    recover,
    rejoin,
    switchover,
    sync,
)
from ansible_collections.hvm.pair.plugins.module_utils._zfs.retention import Rules

CONFIG = PairConfig("p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("tank/vm",), "/vm/state")


def me(role: str, **more: t.Any) -> dict[str, t.Any]:
    on = role == "ACTIVE"
    return {
        "host": "hv1", "peer": "hv2", "role": {"now": role}, "shared_ip": {"in_use_by_us": False, "enabled": on}, "pools": {},
        "hypervisor": {"running": on}, "qemu": [], "lock": None, "pending": None, **more,
    }  # fmt: skip


class Asked:
    """:ivar looks: what this host looks like, one for each look; the last one stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[t.Any] = []
        self.looks = [me("PASSIVE")]
        self.migration: t.Any = {"changed": True, "active": "hv2", "warnings": ["slow"]}
        monkeypatch.setattr(cycle, "observe", lambda config: self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])
        monkeypatch.setattr(cycle, "run", lambda command: self.calls.append(command[0]))
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


def test_a_backup_goes_on_only_after_what_was_before_it_and_gathers_all_warnings(
    monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    def part(name: str, **more: t.Any) -> t.Callable[..., t.Any]:
        return lambda *arguments, **words: asked.note(name, False, {"changed": False, "warnings": [f"{name} warns"], **more})

    monkeypatch.setattr(backup, "backup", part("backup"))
    monkeypatch.setattr(sync, "run", part("sync"))
    monkeypatch.setattr(prune, "prune", part("prune"))
    monkeypatch.setattr(cycle, "prune_there", lambda *dummy: ({"changed": True, "warnings": ["hv2 warns"]}, []))
    done = cycle.backup(CONFIG, Progress(), "backup", backup.Options(), Rules(), False)
    assert [name for name, _check in asked.calls] == ["backup", "sync", "prune"]
    assert done["warnings"] == ["it could not run there", "backup warns", "sync warns", "prune warns", "hv2 warns"]
    assert done["changed"] and done["active"] == "hv1" and set(done["prune"]) == {"hv1", "hv2"}

    def broken(*dummy: t.Any) -> t.NoReturn:
        raise HvmError("the link is cut")

    asked.calls.clear()
    monkeypatch.setattr(sync, "run", broken)
    with pytest.raises(HvmError, match="the link is cut"):
        cycle.backup(CONFIG, Progress(), "backup", backup.Options(), Rules(), False)
    assert [name for name, _check in asked.calls] == ["backup"]  # nothing goes when nothing has come


def test_what_the_other_host_says_of_its_pruning_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Peer:
        def __init__(self, config: PairConfig) -> None:
            pass

        def __enter__(self) -> Peer:
            return self

        def __exit__(self, *dummy: object) -> None:
            pass

        def call(self, op: str, timeout: float, on_event: t.Any, **arguments: t.Any) -> t.Any:
            assert (op, arguments["check"], arguments["rules"]["keep_last"]) == ("prune", True, 7)
            on_event({"text": "3 of 6 snapshots"})
            return {"destroyed": ["hvm_x"], "bytes": 1, "blocked": {}, "warnings": []}

    monkeypatch.setattr(cycle, "Peer", Peer)
    progress = Progress()
    found, warnings = cycle.prune_there(CONFIG, Rules(keep_last=7), progress, True)
    assert found is not None and found["changed"] and warnings == []
    assert [line["text"] for line in progress.lines] == ["hv2: 3 of 6 snapshots"]


# Switching off


def test_an_active_host_is_emptied_and_looked_at_again_before_it_is_switched_off(asked: Asked) -> None:
    asked.looks = [me("ACTIVE"), me("PASSIVE")]
    done = cycle.shut_down(CONFIG, Progress(), "", False)
    assert asked.calls == [("migrate", False), "systemd-run"]
    assert done["migration"]["active"] == "hv2" and done["warnings"] == ["it could not run there", "slow"]


def test_a_passive_host_is_only_switched_off(asked: Asked) -> None:
    assert cycle.shut_down(CONFIG, Progress(), "hv1", False)["migration"] is None
    assert asked.calls == ["systemd-run"]


def test_check_mode_switches_nothing_off(asked: Asked) -> None:
    cycle.shut_down(CONFIG, Progress(), "", True)
    asked.looks = [me("ACTIVE")]
    assert cycle.shut_down(CONFIG, Progress(), "", True)["migration"]
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
        cycle.shut_down(CONFIG, Progress(), name, False)
    assert said in str(caught.value) and asked.calls == []


def test_after_a_migration_it_is_not_said_that_nothing_was_changed(asked: Asked) -> None:
    asked.looks = [me("ACTIVE"), me("PASSIVE", lock="sync by root on hv2")]
    with pytest.raises(HvmError) as caught:
        cycle.shut_down(CONFIG, Progress(), "", False)
    assert not isinstance(caught.value, Refused) and caught.value.details == {"changed": True}
    assert "the VMs are on hv2, and hv1 stays on: hv1: another operation is running" in str(caught.value)
    assert asked.calls == [("migrate", False)]


def test_a_migration_that_fails_switches_nothing_off(asked: Asked) -> None:
    asked.looks, asked.migration = [me("ACTIVE")], HvmError("undone")
    with pytest.raises(HvmError, match="undone"):
        cycle.shut_down(CONFIG, Progress(), "", False)
    assert asked.calls == [("migrate", False)]


# Recovering


@pytest.mark.parametrize(
    ("role", "answers", "check", "rejoins"),
    [
        ("ACTIVE", True, False, True),
        ("ACTIVE", False, False, False),
        ("ACTIVE", True, True, False),
        ("PASSIVE", True, False, False),
    ],
)
def test_the_other_host_comes_back_where_this_one_is_active_and_it_answers(
    monkeypatch: pytest.MonkeyPatch, role: str, answers: bool, check: bool, rejoins: bool
) -> None:
    asked: list[t.Any] = []
    found = {"changed": False, "do": "", "role": role, "peer_answers": answers, "warnings": ["one"], "sentence": "so"}
    monkeypatch.setattr(recover, "apply", lambda *dummy: dict(found))
    joined = {"changed": True, "do": "join", "warnings": ["two"]}
    monkeypatch.setattr(rejoin, "apply", lambda config, words, check, progress: asked.append((words, check)) or dict(joined))
    done = cycle.recover(CONFIG, Progress(), "", check)
    assert bool(asked) == rejoins == done["changed"]
    assert asked in ([], [(rejoin.Words(), False)])  # never with a choice: that is the operator's
    assert done["warnings"] == (["one", "two"] if rejoins else ["one"])
