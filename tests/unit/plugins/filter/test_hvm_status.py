# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.filter.hvm_status import FilterModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation, recovery
from ansible_collections.hvm.pair.plugins.module_utils._pair.advice import BY_A_BACKUP, ENDED_BY, FOLLOWS, advice, hangs_on_peer
from ansible_collections.hvm.pair.plugins.module_utils._report.status import age

status = FilterModule().filters()["hvm_status"]
NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)
LOOK: dict[str, t.Any] = {
    "status": ["Hypervisor is running", "Shared IP is enabled", "VMs are running"],
    "hvm": {
        "host": "hv1",
        "pair": "office",
        "role": {"now": "ACTIVE", "epoch": 3, "reason": "took over", "since": "then"},
        "hypervisor": {"running": True},
        "qemu": ["web"],
        "not_inert": [],
        "saved": [],
        "vms": {"web": {"state": "running", "priority": 10, "autostart": True}},
        "pools": {"ssd": "ONLINE", "rot": "DEGRADED"},
        "sets": [
            {"name": "hvm_20261123T090000Z_office_B", "complete": True},
            {"name": "hvm_20261123T110000Z_office_C", "complete": True},
            {"name": "hvm_20261123T113000Z_office_B", "complete": False},
        ],
        "constraint": "",
        "lock": None,
        "pending": None,
    },
}


@pytest.mark.parametrize(
    ("stamp", "text"),
    [("20261123T115959Z", "0 min"), ("20261123T100100Z", "119 min"), ("20261123T100000Z", "2 h"), ("20261120T120000Z", "3 days")],
)
def test_age(stamp: str, text: str) -> None:
    assert age(stamp, NOW) == text


def test_what_a_host_shows() -> None:
    assert status(LOOK, NOW) == [
        *LOOK["status"],
        "hv1 is ACTIVE (pair office, epoch 3; took over)",
        "  web              running  prio 10  autostart",
        "Pool rot is DEGRADED",
        "Last complete set: hvm_20261123T110000Z_office_C, 60 min old",
        "Last with VM states (B): hvm_20261123T090000Z_office_B, 3 h old",
    ]


def test_networks_only_when_something_is_wrong_with_them() -> None:
    told = {"declared": {"br-a": {"name": "br-a"}}, "wrong": {}, "notes": []}
    assert status({**LOOK, "hvm": {**LOOK["hvm"], "networks": told}}, NOW) == status(LOOK, NOW)
    told = {**told, "wrong": {"br-a": ["br-a is not there", "eno1 is switched off"]}, "notes": ["hv2 was not told."]}
    lines = status({**LOOK, "hvm": {**LOOK["hvm"], "networks": told}}, NOW)
    assert lines[-2:] == ["Network br-a: br-a is not there; eno1 is switched off", "Networks: hv2 was not told."]


def test_a_vm_that_an_error_has_stopped_is_told_from_one_that_somebody_has() -> None:
    facts: dict[str, t.Any] = {"state": "frozen", "priority": 1}
    vms = {name: {**facts, "autostart": name == "a", "io_error": name != "ice"} for name in ("a", "b", "ice")}
    lines = status({**LOOK, "hvm": {**LOOK["hvm"], "vms": vms}}, NOW)
    assert lines[4:7] == [
        "  a                frozen   prio 1   autostart (frozen by an I/O error)",
        "  b                frozen   prio 1   (frozen by an I/O error)",
        "  ice              frozen   prio 1",
    ]


def test_where_each_vm_is_while_they_move() -> None:
    vms = {"web": {"host": "hv2", "how": "runs"}, "db": {"host": "hv1", "how": "arriving"}, "app": {"host": "", "how": "unknown"}}
    moving = {"state": "MOVING", "asked": True, "vms": vms}
    look = {**LOOK, "hvm": {**LOOK["hvm"], "peer": "hv2", "lock": "migrate_unsecure by root"}, "moving": moving}
    lines = status(look, NOW)
    assert lines[5:9] == [
        "State: MOVING, the VMs are on both hosts",
        "  app  unknown  unknown",
        "  db   hv1  arriving",
        "  web  hv2  runs",
    ]
    assert lines[9] == "Pool rot is DEGRADED" and lines[-1] == "Running now: migrate_unsecure by root"
    silent = status({**look, "moving": {**moving, "asked": False}}, NOW)
    assert silent[9] == "  hv2 does not answer: of its VMs no more is known"
    assert status({**look, "moving": {}}, NOW) == status({**look, "moving": None}, NOW)
    assert not any("MOVING" in line for line in status({**look, "moving": {}}, NOW))


def test_lock_before_pending_and_no_sets() -> None:
    pending = {"operation": "migrate_secure", "started": "then", "step": "going back", "owner": "bob from 192.0.2.7"}
    pending["cause"] = "full"
    look = {**LOOK, "hvm": {**LOOK["hvm"], "sets": [], "pending": pending, "constraint": "stay on hv1"}}
    assert status(look, NOW)[-6:] == [
        "Last complete set: none",
        "Last with VM states (B): none",
        "Constraint: stay on hv1",
        "Pending: migrate_secure by bob from 192.0.2.7, begun then, stopped at 'going back'",
        "  because: full",
        "Next: hvm.pair.recover finishes it or undoes it, and says which",
    ]
    look["hvm"]["lock"] = "sync by root"
    assert status(look, NOW)[-1] == "Running now: sync by root"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, ""),
        ({"lock": "sync by root", "pending": {"operation": "sync"}}, ""),
        ({"pending": {"operation": "unknown"}}, ENDED_BY["unknown"]),
        ({"pending": {"operation": "rollback"}}, ENDED_BY["rollback"]),
        ({"role": {"now": "UNKNOWN", "since": "then"}}, "hvm.pair.recover: it was ACTIVE before it rebooted"),
        ({"role": {"now": "UNKNOWN", "since": ""}}, "hvm.pair.install: it has no role yet"),
        ({"pending": {"operation": "checkpoint"}}, ENDED_BY["checkpoint"]),
        # the power went in the midst of it: no backup is taken of a host that is not ACTIVE
        (
            {"role": {"now": "UNKNOWN", "since": "then"}, "pending": {"operation": "checkpoint"}},
            "hvm.pair.recover: it was ACTIVE before it rebooted",
        ),
        (
            {"role": {"now": "PASSIVE"}, "pending": {"operation": "backup_unsecure"}},
            "hvm.pair.recover finishes it or undoes it, and says which",
        ),
        (
            {"pending": {"operation": "checkpoint", guards.RECOVERS: True}},
            "hvm.pair.recover finishes it or undoes it, and says which",
        ),
        ({"role": {"now": "UNKNOWN", "since": "then"}, "pending": {"operation": "rollback"}}, ENDED_BY["rollback"]),
        # recover would only say that it is for rejoin to decide
        (
            {"role": {"now": "DIVERGED"}, "pending": {"operation": "migrate_secure"}},
            "hvm.pair.rejoin, on the host that goes on, shows what it holds that the other lacks",
        ),
        ({"role": {"now": "DIVERGED"}}, "hvm.pair.rejoin, on the host that goes on, shows what it holds that the other lacks"),
        (
            {"hypervisor": {"running": False}, "qemu": []},
            "hvm.pair.hv_start, if the hypervisor is not stopped on purpose",
        ),
        ({"role": {"now": "PASSIVE"}}, "hvm.pair.hv_stop: a PASSIVE host runs nothing, mounts nothing, and has no shared IP"),
        ({"role": {"now": "PASSIVE"}, "hypervisor": {"running": False}, "qemu": []}, ""),
        (
            {"role": {"now": "PASSIVE"}, "hypervisor": {"running": False}, "qemu": [], "not_inert": ["t/vm is mounted"]},
            "hvm.pair.hv_stop: a PASSIVE host runs nothing, mounts nothing, and has no shared IP",
        ),
        # while its link was cut it could not ask for the address, and started the VMs without it
        (
            {"shared_ip": {"addresses": {"192.0.2.10/24": True, "2001:db8::10/64": False}}},
            "hvm.pair.hv_start takes the shared IP, if it is not off on purpose",
        ),
        ({"shared_ip": {"addresses": {"192.0.2.10/24": True}}}, ""),
        ({"shared_ip": {"addresses": {}}}, ""),
        (
            {"role": {"now": "PASSIVE"}, "hypervisor": {"running": False}, "qemu": [], "shared_ip": {"addresses": {"x": False}}},
            "",
        ),
        (
            {"vms": {"web": {"state": "frozen", "io_error": True}, "db": {"state": "frozen"}}, "saved": ["db"]},
            "hvm_vm state=unfrozen for web, if there is room again: a disk could not be written",
        ),
        ({"saved": ["web"]}, ""),  # it runs: its image is about to go
        ({"saved": ["db", "web"]}, "hvm_vm state=restored for db, if not saved on purpose"),
    ],
)
def test_what_comes_next(changes: dict[str, t.Any], text: str) -> None:
    assert advice({**LOOK["hvm"], **changes}) == text


def test_a_failover_that_did_not_end_is_gone_on_with_while_the_other_host_is_away() -> None:
    found = {**LOOK["hvm"], "role": {"now": "PASSIVE", "since": "then"}, "pending": {"operation": "failover"}}
    assert advice(found, alone=True) == "hvm.pair.failover goes on with it, with the same variables"
    assert advice(found) == "hvm.pair.recover finishes it or undoes it, and says which"
    assert advice({**found, "role": LOOK["hvm"]["role"]}, alone=True) == advice(found)


@pytest.mark.parametrize("operation", guards.ROLLBACK)
def test_what_a_replica_did_not_end_is_gone_on_with_by_the_host_that_it_follows(operation: str) -> None:
    """An undo there would put aside what has been written since."""
    found = {**LOOK["hvm"], "role": {"now": "PASSIVE", "since": "then"}, "pending": {"operation": operation}}
    assert advice(found) == "hvm.pair.rollback hvm_rollback_state=followed, on the other host, goes on with it"
    assert hangs_on_peer(found)
    assert advice(found, alone=True) == f"{advice(found)}; if that host is lost: hvm.pair.failover does"


def test_vms_that_have_moved_here_go_on_by_a_failover_when_their_source_is_lost() -> None:
    entry: dict[str, t.Any] = {"operation": "migrate_unsecure", "source": "hv2", "arrived": ["web"]}
    entry.update(started="then", step="arrived")
    found = {**LOOK["hvm"], "role": {**LOOK["hvm"]["role"], "now": "PASSIVE"}, "pending": entry}
    assert hangs_on_peer(found) and not hangs_on_peer({**found, "pending": {**entry, "arrived": []}})
    look = {**LOOK, "hvm": {**found, "peer_answers": False}}
    assert "if the other host is lost: hvm.pair.failover" in status(look, NOW)[-1]
    assert "recover on hv2" in status({**look, "hvm": found}, NOW)[-1]


@pytest.mark.parametrize("now", ["ACTIVE", "PASSIVE", "UNKNOWN"])
@pytest.mark.parametrize("name", [*recovery.ENDED_BY_RECOVER, *guards.ROLLBACK, operation.UNKNOWN])
def test_nobody_is_sent_to_recover_by_what_recover_refuses(name: str, now: str) -> None:
    entry = {"operation": name, "started": "then", "step": "begin"}
    found = {**LOOK["hvm"], "role": {"now": now, "since": "then"}, "pending": entry}
    refused = guards.common({**found, "pools": {}}, recovery.ENDED_BY_RECOVER)
    assert bool(refused) is (name not in recovery.ENDED_BY_RECOVER)
    assert not (refused and "recover" in advice(found))


def test_an_unreadable_journal_is_for_a_person_to_look_at(tmp_path: pathlib.Path) -> None:
    for text in ("{", "[]"):
        (tmp_path / "journal.json").write_text(text)
        entry = operation.pending(str(tmp_path / "journal.json"))
        (finding,) = guards.common({**LOOK["hvm"], "pools": {}, "pending": entry}, recovery.ENDED_BY_RECOVER)
        assert finding.remedy.lower() == f"{ENDED_BY['unknown']}.".lower()


def test_what_goes_on_by_itself_is_known_by_its_name() -> None:
    assert set(ENDED_BY) == {*guards.BACKUPS, *guards.ROLLBACK, operation.UNKNOWN}
    assert BY_A_BACKUP == guards.BACKUPS and FOLLOWS == guards.ROLLBACK
