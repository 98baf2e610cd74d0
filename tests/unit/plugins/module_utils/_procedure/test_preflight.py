# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the host does that was ACTIVE last: which of the two acts, and who else is at work."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Refused
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import preflight

CONFIG = PairConfig("p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("t/vm",), "/vm/state")
Ask = t.Callable[..., dict[str, t.Any]]


def side(host: str, role: str, **more: t.Any) -> dict[str, t.Any]:
    return {
        "host": host, "peer": {"hv1": "hv2", "hv2": "hv1"}[host], "pair": "p", "role": {"role": role, "now": role, "epoch": 3},
        "lock": None, "pending": None, "pools": {}, "hypervisor": {"running": False}, "qemu": [], "missing_datasets": [],
        "not_inert": [],
        **more,
    }  # fmt: skip


@pytest.fixture(name="ask")
def _ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    def ask(operation: str, me: dict[str, t.Any], other: dict[str, t.Any] | None) -> dict[str, t.Any]:
        monkeypatch.setattr(preflight, "look", lambda *dummy, **more: (me, other, "" if other else "no route to host"))
        return preflight.preflight(CONFIG, operation)

    return ask


@pytest.mark.parametrize("operation", ["hv_start", "rollback"])
def test_the_host_that_was_active_last_acts_and_the_other_one_says_so(ask: Ask, operation: str) -> None:
    found = ask(operation, side("hv1", "ACTIVE"), side("hv2", "PASSIVE"))
    assert (found["acts"], found["active"], found["sentence"]) == (True, "hv1", f"hv1 was ACTIVE last: {operation} can begin")
    found = ask(operation, side("hv1", "PASSIVE"), side("hv2", "ACTIVE"))
    assert (found["acts"], found["active"], found["sentence"]) == (False, "hv2", "hv2 was ACTIVE last and does the work")


def test_a_rollback_is_refused_while_the_hypervisor_runs(ask: Ask) -> None:
    with pytest.raises(Refused, match="rollback is refused, nothing was changed: hv1: the hypervisor is running") as caught:
        ask("rollback", side("hv1", "ACTIVE", hypervisor={"running": True}), side("hv2", "PASSIVE"))
    assert "Stop it: hvm_hypervisor state=stopped." in str(caught.value)


def test_the_other_host_follows_while_vms_run_here(ask: Ask) -> None:
    """Rolled back without it, VMs started, and then it comes back: nothing is to be stopped for that."""
    me = side("hv1", "ACTIVE", hypervisor={"running": True}, qemu=["web"])
    assert ask("follow", me, side("hv2", "PASSIVE"))["acts"]
    with pytest.raises(Refused, match=r"hv2 does not answer\. Its replicas can follow when it is back"):
        ask("follow", me, None)
    with pytest.raises(Refused, match="hv2: tank/vm is mounted although it is PASSIVE"):
        ask("follow", me, side("hv2", "PASSIVE", not_inert=["tank/vm is mounted"]))
    with pytest.raises(Refused, match="migrate_secure, begun then, did not end"):
        pending = {"operation": "migrate_secure", "started": "then", "step": "save"}
        ask("follow", {**me, "pending": pending}, side("hv2", "PASSIVE"))


def test_a_pool_that_has_lost_a_disk_is_told_and_hinders_nothing(ask: Ask) -> None:
    me, other = side("hv1", "ACTIVE", pools={"tank": "ONLINE"}), side("hv2", "PASSIVE", pools={"tank": "DEGRADED"})
    told = ["pool tank of hv2 is DEGRADED: replace what has failed (zpool status tank)"]
    assert [ask(operation, me, other)["warnings"] for operation in ("hv_start", "sync")] == [told, told]


@pytest.mark.parametrize("operation", ["backup", "backup_unsecure"])
@pytest.mark.parametrize(
    ("how", "told"),
    [({"state": "running"}, True), ({"state": "other"}, True), ({"saved": True}, True), ({"autostart": True}, True), ({}, False),
     ({"state": "running", "autobackup": False}, False)],
)
def test_a_disk_that_is_in_no_set_is_told_before_each_backup(ask: Ask, operation: str, how: dict[str, t.Any], told: bool) -> None:
    disks = [
        {"path": path, "readonly": path == "/iso/a.iso", "device": "disk"}
        for path in ("/vm/web.img", "/dev/zvol/t/vm/web", "/data/x.qcow2", "/dev/sdb", "/iso/a.iso", "rbd/web", None)
    ]
    vm = {"state": "stopped", "saved": False, "autostart": False, "memory_kib": 1, "disks": disks, **how}
    me = side(
        "hv1", "ACTIVE", vms={"web": vm}, datasets=["t/vm"], mountpoints=["/vm"], state_dir_free=None,
        locked_here=[], dataset_names=["t/vm"], sets=[],
    )  # fmt: skip
    other = side("hv2", "PASSIVE", dataset_names=["t/vm"], sets=[])
    end = "is on no replicated dataset. Move it below one of hvm_datasets; it would be left behind."
    said = [f"hv1: VM web: disk {path} {end}" for path in ("/data/x.qcow2", "/dev/sdb")]
    assert ask(operation, me, other)["warnings"] == (said if told else [])
    assert ask("sync", me, other)["warnings"] == []


@pytest.mark.parametrize("operation", ["hv_start", "rollback"])
@pytest.mark.parametrize("busy", ["hv1", "hv2"])
def test_what_runs_on_either_host_is_told_with_its_owner_and_since_when(ask: Ask, operation: str, busy: str) -> None:
    lock = "sync by root from 192.0.2.7 since 2026-11-25T10:00:00+00:00 (process 7)"
    sides = [side(host, role, lock=lock if host == busy else None) for host, role in (("hv1", "ACTIVE"), ("hv2", "PASSIVE"))]
    with pytest.raises(Refused, match=r"root from 192\.0\.2\.7 since 2026-11-25T10:00:00") as caught:
        ask(operation, *sides)
    assert [(one.host, one.remedy) for one in caught.value.findings] == [(busy, "Wait until it has ended.")]


def moving_pair() -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """hv1's VM web has moved to hv2, db has not."""
    entry = {"operation": "migrate_unsecure", "started": "then", "set": "s", "vms": ["db", "web"], "step": "move"}
    source = {**entry, "begun": ["web"], "moved": ["web"]}
    free, vms = {"in_use_by_us": False}, {"db": {"state": "running"}, "web": {"state": "stopped"}}
    me = side("hv1", "ACTIVE", pending=source, qemu=["db"], hypervisor={"running": True}, shared_ip=free, vms=vms)
    target = {**entry, "source": "hv1", "arrived": ["web"], "step": "arrived"}
    other = side("hv2", "PASSIVE", pending=target, qemu=["web"], hypervisor={"running": True}, gate="ARRIVING")
    return me, other


def test_a_move_that_has_begun_may_be_gone_on_with_and_everything_else_waits(ask: Ask) -> None:
    me, other = moving_pair()
    assert ask("migrate_unsecure", me, other)["acts"]
    assert not ask("migrate_unsecure", other, me)["acts"]
    said = "migrate_unsecure, begun then, did not end.*hvm.pair.migrate_unsecure goes on with it"
    with pytest.raises(Refused, match=said):
        ask("sync", me, other)
    with pytest.raises(Refused, match="hv2 has rebooted since, or was stopped: web had moved there and do not run"):
        ask("migrate_unsecure", me, {**other, "gate": ""})
    with pytest.raises(Refused, match="hv2 does not answer: no route to host"):
        ask("migrate_unsecure", me, None)


def test_where_each_vm_is_is_asked_of_both_hosts_and_only_while_they_move(monkeypatch: pytest.MonkeyPatch) -> None:
    me, other = moving_pair()
    monkeypatch.setattr(preflight, "ask", lambda config: (other, ""))
    there = {"db": {"host": "hv1", "how": "runs"}, "web": {"host": "hv2", "how": "runs"}}
    assert preflight.places(CONFIG, me) == {"state": "MOVING", "asked": True, "vms": there}
    monkeypatch.setattr(preflight, "ask", lambda config: (me, ""))
    assert preflight.places(CONFIG, other) == {"state": "MOVING", "asked": True, "vms": there}  # on the target too
    monkeypatch.setattr(preflight, "ask", lambda config: (None, "no route to host"))
    alone = {"db": {"host": "hv1", "how": "runs"}, "web": {"host": "", "how": "unknown"}}
    assert preflight.places(CONFIG, me) == {"state": "MOVING", "asked": False, "vms": alone}
    monkeypatch.setattr(preflight, "ask", lambda config: pytest.fail("the other host was asked"))
    assert preflight.places(CONFIG, {**me, "pending": None}) == {}
    assert preflight.places(CONFIG, {**me, "pending": {"operation": "migrate_secure", "step": "save", "started": ""}}) == {}


def test_a_host_that_refuses_to_be_asked_answers_for_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    me = {"pending": {"operation": "failover"}, "role": {"now": "PASSIVE"}, "lock": None}
    for silent, answers in (("no route to host", False), (preflight.Refusal("hv2: another version"), True)):
        monkeypatch.setattr(preflight, "ask", lambda dummy, silent=silent: (None, silent))
        assert preflight.peer_answers(CONFIG, me) == {"peer_answers": answers}


def test_nobody_starts_where_the_records_do_not_say_who(ask: Ask) -> None:
    with pytest.raises(Refused, match="this host was not ACTIVE last, and hv2 does not answer"):
        ask("hv_start", side("hv1", "PASSIVE"), None)
    assert ask("hv_start", side("hv1", "ACTIVE"), None)["acts"]  # whether it may is for hvm_hypervisor to say
