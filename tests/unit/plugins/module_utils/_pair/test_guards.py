# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._pair import guards

Change = t.Callable[[dict[str, t.Any], dict[str, t.Any]], None]

VM: dict[str, t.Any] = {
    "state": "running",
    "bridges": ["br0"],
    "networks": ["lan"],
    "emulator": "/usr/bin/qemu-system-x86_64",
    "memory_kib": 1 << 20,
    "hostdevs": 0,
    "persistent": True,
    "saved": False,
    "disks": [
        {"path": "/dev/zvol/ssd/shared/web", "device": "disk", "readonly": False},
        {"path": "/srv/vms/web.qcow2", "device": "disk", "readonly": False},
        {"path": "/iso/debian.iso", "device": "cdrom", "readonly": True},
        {"path": None, "device": "cdrom", "readonly": True},
    ],
}


def host(name: str, peer: str, role: str, epoch: int) -> dict[str, t.Any]:
    """What observe() finds on a host of a pair where all is well."""
    active = role == "ACTIVE"
    return {
        "pair": "office",
        "host": name,
        "peer": peer,
        "address": f"{name}.lan",
        "role": {"role": role, "now": role, "epoch": epoch, "since": "2026-11-01T00:00:00+00:00"},
        "hypervisor": {"running": active},
        "qemu": ["web"] if active else [],
        "shared_ip": {"interface": "eth0", "in_use_by_us": False},
        "pools": {"ssd": "ONLINE"},
        "datasets": ["ssd/shared"],
        "dataset_names": ["ssd/shared", "ssd/shared/web"],
        "missing_datasets": [],
        "mountpoints": ["/srv/vms", "/var/lib/libvirt/"],
        "not_inert": [],
        "lock": None,
        "pending": None,
        "vms": {"web": copy.deepcopy(VM)} if active else {},
        "network_bridges": {"lan": "br1"} if active else {},
        "state_dir": "/var/lib/libvirt/hvm",
        "state_dir_free": 8 << 30,
        "memory_available_kib": 4 << 20,
        "bridges": ["br0", "br1"],
        "interfaces": ["br0", "br1", "eth0", "lo"],
        "emulators": ["/usr/bin/qemu-system-x86_64"],
        "foreign_users": {},
    }


def pair() -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    return host("hv1", "hv2", "ACTIVE", 3), host("hv2", "hv1", "PASSIVE", 2)


def put(side: str, *path: t.Any) -> Change:
    """A change: put("peer", "pools", "ssd", "DEGRADED") sets peer["pools"]["ssd"]."""

    def change(me: dict[str, t.Any], peer: dict[str, t.Any]) -> None:
        *keys, last, value = path
        found: t.Any = me if side == "me" else peer
        for key in keys:
            found = found[key]
        found[last] = value

    return change


def become(side: str, now: str, was: str = "") -> Change:
    def change(me: dict[str, t.Any], peer: dict[str, t.Any]) -> None:
        entry = me if side == "me" else peer
        entry["role"].update(now=now, role=was or now)

    return change


@pytest.mark.parametrize("operation", [guards.backup, guards.sync, guards.migrate])
def test_where_all_is_well_it_is_allowed(operation: t.Callable[..., list[t.Any]]) -> None:
    assert operation(*pair()) == []


INTERRUPTED = {"operation": "migrate_secure", "started": "2026-11-23T10:00:00+00:00", "step": "last sync"}

MIGRATE: dict[str, tuple[Change, str]] = {
    "pool degraded": (put("me", "pools", "ssd", "DEGRADED"), "hv1: pool ssd is DEGRADED. Repair it first: zpool status ssd."),
    "pool missing there": (
        put("peer", "pools", "ssd", "missing"),
        "hv2: pool ssd is not there. Import it (zpool import ssd), or correct hvm_datasets.",
    ),
    "interrupted": (
        put("peer", "pending", INTERRUPTED),
        (
            "hv2: migrate_secure, begun 2026-11-23T10:00:00+00:00, did not end: it was last at 'last sync'. "
            "Look at 'status'; if both hosts are as they should be, remove the mark with hvm_role state=acknowledged."
        ),
    ),
    "not active": (
        become("me", "PASSIVE"),
        (
            "hv1: this host is PASSIVE, and only the ACTIVE one can hand its VMs over. "
            "Run it on the other host, hv2, if that one is ACTIVE."
        ),
    ),
    "rebooted": (
        become("me", "UNKNOWN", "ACTIVE"),
        (
            "hv1: this host is UNKNOWN, and only the ACTIVE one can hand its VMs over. After a boot nothing starts by itself: "
            "look at both hosts, then start the last ACTIVE one (hvm_hypervisor state=started)."
        ),
    ),
    "diverged here": (
        become("me", "DIVERGED"),
        (
            "hv1: this host is DIVERGED, and only the ACTIVE one can hand its VMs over. "
            "It holds writes that the other lacks: decide about them first."
        ),
    ),
    "both active": (
        become("peer", "ACTIVE"),
        (
            "hv2: hv2 is ACTIVE too (epoch 2; hv1 has epoch 3). "
            "Two ACTIVE hosts: stop the VMs on the one with the lower epoch before anything else."
        ),
    ),
    "diverged there": (
        become("peer", "DIVERGED"),
        "hv2: it is DIVERGED: it holds writes that the other lacks. Decide about them first.",
    ),
    "no role there": (
        lambda me, peer: peer["role"].update(role="UNKNOWN", now="UNKNOWN", since=""),
        "hv2: it has no role yet. Run the playbook hvm.pair.install on both hosts.",
    ),
    "dataset only there": (
        put("peer", "dataset_names", ["ssd/shared", "ssd/shared/old", "ssd/shared/web"]),
        (
            "hv2: dataset ssd/shared/old is there and not on hv1 (renamed or destroyed here?). "
            "Rename it to a place outside of ssd/shared, or destroy it."
        ),
    ),
    "was active there": (
        become("peer", "UNKNOWN", "ACTIVE"),
        "hv2: it was ACTIVE (epoch 2) before it rebooted. Find out which host has the newest data before anything is sent there.",
    ),
    "later epoch there": (
        put("peer", "role", "epoch", 4),
        "hv2: hv2 has seen epoch 4 and hv1 only 3. hv2 was ACTIVE after hv1: its data are newer. Nothing may be sent over them.",
    ),
    "another pair": (
        put("peer", "pair", "attic"),
        "hv2: it belongs to the pair attic, not to office. Correct hvm_hosts in the inventory and run hvm.pair.install.",
    ),
    "hypervisor runs there": (
        put("peer", "hypervisor", "running", True),
        "hv2: its hypervisor is running although it is not ACTIVE. Stop it there: hvm_hypervisor state=stopped.",
    ),
    "VMs run there": (
        put("peer", "qemu", ["db", "web"]),
        "hv2: VMs run there: db, web. Shut them down there first; they run on a copy.",
    ),
    "dataset missing": (
        put("me", "missing_datasets", ["rot/shared"]),
        "hv1: dataset rot/shared does not exist. Create it (hvm.pair.install does), or correct hvm_datasets.",
    ),
    "replica writable": (
        put("peer", "not_inert", ["ssd/shared is writable"]),
        "hv2: ssd/shared is writable although it is PASSIVE. A replica must be inert: hvm_hypervisor state=stopped makes it so.",
    ),
    "bridge of a VM": (
        put("peer", "bridges", ["br1"]),
        "hv2: bridge br0 is not there, and web need it. Create it there, as it is on this host.",
    ),
    "bridge of a network": (
        put("peer", "bridges", ["br0"]),
        "hv2: bridge br1 is not there, and web need it. Create it there, as it is on this host.",
    ),
    "emulator": (
        put("peer", "emulators", []),
        "hv2: VM web wants the emulator /usr/bin/qemu-system-x86_64, which is not there. Install it there.",
    ),
    "transient": (
        put("me", "vms", "web", "persistent", False),
        "hv1: VM web is transient and would be lost. Define it (virsh define), or shut it down.",
    ),
    "host device": (
        put("me", "vms", "web", "hostdevs", 1),
        "hv1: VM web holds a device of the host and cannot be saved. Shut it down first, or detach the device.",
    ),
    "runs and is saved": (
        put("me", "vms", "web", "saved", True),
        "hv1: VM web runs and yet has a state image. Look which is right; move the image away if it is old.",
    ),
    "disk elsewhere": (
        put("me", "vms", "web", "disks", 1, "path", "/srv/vms-old/web.qcow2"),
        (
            "hv1: VM web: disk /srv/vms-old/web.qcow2 is on no replicated dataset. "
            "Move it below one of hvm_datasets; it would be left behind."
        ),
    ),
    "memory there": (
        put("peer", "memory_available_kib", 512 << 10),
        "hv2: the VMs need 1024 MiB of memory and 512 MiB are free. Free some there.",
    ),
    "interface there": (
        put("peer", "interfaces", ["lo"]),
        "hv2: interface eth0 for the shared IP is not there. Correct hvm_service_iface.",
    ),
    "room for images": (
        put("me", "state_dir_free", 100 << 20),
        (
            "hv1: the state images may need 1024 MiB and /var/lib/libvirt/hvm has 100 MiB free. "
            "Free some, or shut down VMs that need not run."
        ),
    ),
    "hypervisor stopped": (
        put("me", "hypervisor", "running", False),
        "hv1: the hypervisor is stopped, so there is nothing to migrate. Start it: hvm_hypervisor state=started.",
    ),
    "somebody in the way": (
        put("me", "foreign_users", {"/srv/vms": ["bash (12)", "less (13)"]}),
        (
            "hv1: /srv/vms is in use by bash (12), less (13) and could not be unmounted. "
            "End that (a shell with its directory there?)."
        ),
    ),
    "over the shared IP": (
        put("me", "shared_ip", "in_use_by_us", True),
        "hv1: this run comes in over the shared IP, which is about to move. Connect to the host's own address, as hv1.lan.",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), MIGRATE.values(), ids=MIGRATE)
def test_a_migration_is_refused_with_its_reason(change: Change, sentence: str) -> None:
    me, peer = pair()
    change(me, peer)
    assert [finding.sentence() for finding in guards.migrate(me, peer)] == [sentence]


def test_all_reasons_come_at_once() -> None:
    me, peer = pair()
    for name in (
        "pool degraded",
        "both active",
        "replica writable",
        "transient",
        "disk elsewhere",
        "bridge of a VM",
        "memory there",
    ):
        MIGRATE[name][0](me, peer)
    said = [finding.sentence() for finding in guards.migrate(me, peer)]
    wanted = ("pool degraded", "both active", "replica writable", "transient", "disk elsewhere", "bridge of a VM", "memory there")
    assert said == [MIGRATE[name][1] for name in wanted]


def test_an_interrupted_operation_that_still_runs_is_not_pending() -> None:
    me, _peer = pair()
    me.update(pending=INTERRUPTED, lock="migrate_secure by root since 10:00 (process 1)")
    assert guards.common(me) == []


def test_a_vm_that_is_off_needs_no_memory_and_no_room_but_its_bridge() -> None:
    me, peer = pair()
    me["vms"]["web"].update(state="stopped", hostdevs=1, persistent=True, saved=True)
    peer["memory_available_kib"] = me["state_dir_free"] = 0
    assert guards.landing(me, peer) + guards.room(me) == []
    peer["bridges"] = []
    assert [finding.what[:9] for finding in guards.landing(me, peer)] == ["bridge br", "bridge br"]


def test_vms_on_one_missing_bridge_are_named_together() -> None:
    me, peer = pair()
    me["vms"]["db"] = copy.deepcopy(VM)
    peer["bridges"] = ["br1"]
    assert [finding.what for finding in guards.landing(me, peer)] == ["bridge br0 is not there, and web, db need it"]


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/dev/zvol/ssd/shared", True),
        ("/dev/zvol/ssd/shared/a/b", True),
        ("/dev/zvol/ssd/shared2", False),
        ("/dev/zvol/ssd", False),
        ("/srv/vms/x", True),
        ("/srv/vms2/x", False),
        ("/var/lib/libvirt/images/x", True),
        ("/dev/sda", False),
    ],
)
def test_a_disk_is_replicated_below_a_root_or_a_mountpoint(path: str, inside: bool) -> None:
    assert guards.covered(path, pair()[0]) is inside


def test_a_backup_without_a_look_at_the_other_host_asks_only_this_one() -> None:
    me, dummy = pair()
    assert guards.backup(me, None) == []
    me["vms"]["web"].update(hostdevs=1)
    me["vms"]["db"] = {**copy.deepcopy(VM), "persistent": False}
    assert [finding.sentence() for finding in guards.backup(me, None)] == [
        "hv1: VM web cannot be saved (host device). Shut it down first.",
        "hv1: VM db cannot be saved (transient). Shut it down first.",
    ]


def test_a_sync_does_not_care_where_vms_could_live() -> None:
    me, peer = pair()
    peer.update(bridges=[], emulators=[], memory_available_kib=0)
    assert guards.sync(me, peer) == []
    become("peer", "ACTIVE")(me, peer)
    assert [finding.sentence() for finding in guards.sync(me, peer)] == [MIGRATE["both active"][1]]


# hv start


def test_start_where_the_other_is_stopped_and_not_later() -> None:
    me, peer = pair()
    for now in ("ACTIVE", "PASSIVE", "UNKNOWN"):
        become("me", now)(me, peer)
        assert guards.start(me, peer) == []


STARTS: dict[str, tuple[Change, str]] = {
    "active there": (
        become("peer", "ACTIVE"),
        "hv2: hv2 is ACTIVE and its hypervisor is not stopped. Migrate from there instead.",
    ),
    "hypervisor runs there": (
        put("peer", "hypervisor", "running", True),
        "hv2: hv2 is PASSIVE and its hypervisor is not stopped. Migrate from there instead.",
    ),
    "a VM runs there": (
        put("peer", "qemu", ["web"]),
        "hv2: hv2 is PASSIVE and its hypervisor is not stopped. Migrate from there instead.",
    ),
    "later there": (
        put("peer", "role", "epoch", 9),
        "hv1: hv2 was ACTIVE later (epoch 9, here 3). Start it on hv2 instead.",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), STARTS.values(), ids=STARTS)
def test_start_is_refused(change: Change, sentence: str) -> None:
    me, peer = pair()
    change(me, peer)
    assert [finding.sentence() for finding in guards.start(me, peer, "hv2")] == [sentence]


SILENT = "hv1: hv2 does not answer, so it may be ACTIVE. If you know that it is switched off, say so: peer_is_down=hv2."


@pytest.mark.parametrize(
    ("now", "was", "word", "said"),
    [
        ("ACTIVE", "ACTIVE", "", []),
        ("UNKNOWN", "ACTIVE", "", [SILENT]),
        ("PASSIVE", "PASSIVE", "", [SILENT]),
        ("PASSIVE", "PASSIVE", "yes", [SILENT]),
        ("PASSIVE", "PASSIVE", "hv1", [SILENT]),
        ("PASSIVE", "PASSIVE", "hv2", []),
        ("UNKNOWN", "ACTIVE", "hv2", []),
    ],
)
def test_silence_is_no_proof_but_the_operators_word_is(now: str, was: str, word: str, said: list[str]) -> None:
    me, dummy = pair()
    become("me", now, was)(me, dummy)
    assert [finding.sentence() for finding in guards.start(me, None, word)] == said
