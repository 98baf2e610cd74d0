# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which host is started, and when it may be stopped."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._pair import guards


def side(host: str, role: str, epoch: int, now: str = "") -> dict[str, t.Any]:
    return {"host": host, "peer": {"hv1": "hv2", "hv2": "hv1"}[host], "role": {"role": role, "now": now or role, "epoch": epoch}}


LAST: list[tuple[t.Any, t.Any, str, str]] = [
    # this host, the other one, who was ACTIVE last, why nobody
    (("ACTIVE", 3), ("PASSIVE", 3), "hv1", ""),
    (("PASSIVE", 3), ("ACTIVE", 3), "hv2", ""),
    (("ACTIVE", 3), ("ACTIVE", 4), "hv2", ""),
    (("ACTIVE", 4), ("ACTIVE", 3), "hv1", ""),
    (("ACTIVE", 3), None, "hv1", ""),
    (("DIVERGED", 3), ("ACTIVE", 4), "hv2", ""),
    (("ACTIVE", 3), ("ACTIVE", 3), "", "hv1: this host and hv2 were both ACTIVE, in epoch 3."),
    (("PASSIVE", 3), ("PASSIVE", 3), "", "hv1: neither this host nor hv2 was ACTIVE last."),
    (("UNKNOWN", 0), ("PASSIVE", 0), "", "hv1: neither this host nor hv2 was ACTIVE last."),
    (("PASSIVE", 3), None, "", "hv1: this host was not ACTIVE last, and hv2 does not answer. If hv2 is lost: hvm.pair.failover"),
]


@pytest.mark.parametrize(("mine", "theirs", "last", "why"), LAST)
def test_who_was_active_last_by_both_records(mine: t.Any, theirs: t.Any, last: str, why: str) -> None:
    me, peer = side("hv1", *mine), side("hv2", *theirs) if theirs else None
    assert guards.last_active(me, peer) == last
    if peer:
        assert guards.last_active(me=peer, peer=me) == last
    assert [one.sentence()[: len(why)] for one in guards.hv_start(me, peer)] == ([why] if why else [])


ALL_WELL: dict[str, t.Any] = {
    "host": "hv1", "address": "192.0.2.1", "qemu": [], "hypervisor": {"running": True}, "foreign_users": {},
    "shared_ip": {"in_use_by_us": False}, "role": {"role": "ACTIVE", "now": "ACTIVE"},
}  # fmt: skip


def test_a_hypervisor_without_vms_may_stop() -> None:
    assert guards.stop(ALL_WELL) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"qemu": ["web"]}, "hv1: VMs are running: web. Shut them down, save them, or migrate them first."),
        (
            {"foreign_users": {"/vm": ["bash (7)"]}},
            "hv1: /vm is in use by bash (7). End that (a shell with its directory there?).",
        ),
        (
            {"shared_ip": {"in_use_by_us": True}},
            (
                "hv1: this run comes in over the shared IP, which is taken off this host when it stops. "
                "Connect to the host's own address, as 192.0.2.1."
            ),
        ),
    ],
)
def test_what_would_be_cut_off_keeps_it_running(change: dict[str, t.Any], sentence: str) -> None:
    assert [one.sentence() for one in guards.stop({**ALL_WELL, **change})] == [sentence]


#: Before it is stopped or unmounted.
NOT_OURS = {
    "mounted_otherwise": {"t/new": "/new", "t/old": "legacy"},
    "mounted_elsewhere": [["t/old", "/o"], ["t/iso", "/export"]],
}
NOT_OURS_SAID = [
    (
        "hv1: t/new is mounted without hvm.pair, which would not mount it again after a stop or a move. "
        "Leave that to hvm.pair: zfs set canmount=noauto t/new."
    ),
    (
        "hv1: t/old is mounted without hvm.pair, which would not mount it again after a stop or a move. "
        "Leave that to hvm.pair: zfs set canmount=noauto mountpoint=PATH t/old."
    ),
    "hv1: t/iso is mounted at /export, where hvm.pair would not mount it again. Unmount it: umount /export.",
]


@pytest.mark.parametrize(
    ("role", "now", "said"),
    [
        ("ACTIVE", "ACTIVE", NOT_OURS_SAID),
        ("ACTIVE", "UNKNOWN", NOT_OURS_SAID),
        ("PASSIVE", "PASSIVE", []),
        ("DIVERGED", "DIVERGED", []),
    ],
)
def test_the_host_that_starts_again_loses_no_mount_by_a_stop(role: str, now: str, said: list[str]) -> None:
    me = {**ALL_WELL, **NOT_OURS, "role": {"role": role, "now": now}}
    assert [one.sentence() for one in guards.stop(me)] == said
    assert [one.sentence() for one in guards.unmount({**me, "hypervisor": {"running": False}})] == said


def test_a_target_that_could_not_take_the_shared_ip_is_no_target() -> None:
    empty = {"dataset_names": [], "vms": {}, "network_bridges": {}, "memory_available_kib": 0, "shared_ip": {"interface": ""}}
    target = {**empty, "host": "hv2", "no_shared_ip": ["interface br0 has no carrier", "Check its cable."]}
    (found,) = guards.landing({**empty, "host": "hv1"}, target)
    assert found.sentence() == "hv2: it could not take the shared IP: interface br0 has no carrier. Check its cable."
    assert guards.landing({**empty, "host": "hv1"}, {**target, "no_shared_ip": []}) == []


@pytest.mark.parametrize("others", ["", *guards.MOVING, *guards.BACKUPS, "sync", "prune"])
@pytest.mark.parametrize("verb", ["started", "saved", "restored", "frozen", "unfrozen", "shutdown", "poweredoff"])
def test_a_vm_is_not_started_while_all_of_them_move_nor_saved_during_a_backup_and_may_always_end(verb: str, others: str) -> None:
    found = guards.vms({"host": "hv1", "lock": f"{others} by bob since then"}, verb, others)
    images = verb in ("saved", "restored")
    if (others in guards.MOVING and verb == "started") or (others in (*guards.MOVING, *guards.BACKUPS) and images):
        assert [one.sentence() for one in found] == [
            f"hv1: another operation is running: {others} by bob since then. Wait until it has ended."
        ]
    else:
        assert found == []
