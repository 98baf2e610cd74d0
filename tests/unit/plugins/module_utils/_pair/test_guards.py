# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._pair import advice, guards, recovery

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
        "role": {
            "role": role,
            "now": role,
            "epoch": epoch,
            "since": "2026-11-01T00:00:00+00:00",
            "seen": epoch - 1,
            "clean": False,
        },
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
        "sets": [{"name": "hvm_20261123T094512Z_office_B", "complete": True, "datasets": 2}],
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


@pytest.mark.parametrize("operation", [guards.backup, guards.sync, guards.migrate])
def test_a_pool_that_has_lost_a_disk_is_a_warning_and_no_reason_to_stay_on_it(operation: t.Callable[..., list[t.Any]]) -> None:
    me, peer = pair()
    assert guards.degraded(me, peer, None) == []
    peer["pools"]["ssd"] = "DEGRADED"
    assert operation(me, peer) == []
    assert guards.degraded(me, peer, None) == ["pool ssd of hv2 is DEGRADED: replace what has failed (zpool status ssd)"]


INTERRUPTED = {"operation": "migrate_secure", "started": "2026-11-23T10:00:00+00:00", "step": "last sync"}

MIGRATE: dict[str, tuple[Change, str]] = {
    "pool suspended": (put("me", "pools", "ssd", "SUSPENDED"), "hv1: pool ssd is SUSPENDED. Repair it first: zpool status ssd."),
    "pool missing there": (
        put("peer", "pools", "ssd", "missing"),
        "hv2: pool ssd is not there. Import it (zpool import ssd), or correct hvm_datasets.",
    ),
    "interrupted": (
        put("peer", "pending", INTERRUPTED),
        (
            "hv2: migrate_secure, begun 2026-11-23T10:00:00+00:00, did not end: it was last at 'last sync'. "
            "hvm.pair.recover finishes it or undoes it, and says which."
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
            "hvm.pair.recover finds the host that was ACTIVE last, and starts it."
        ),
    ),
    "diverged here": (
        become("me", "DIVERGED"),
        (
            "hv1: this host is DIVERGED, and only the ACTIVE one can hand its VMs over. "
            "It holds writes that the other lacks: decide about them first (hvm.pair.rejoin)."
        ),
    ),
    "both active": (
        become("peer", "ACTIVE"),
        (
            "hv2: hv2 is ACTIVE too (epoch 2; hv1 has epoch 3). "
            "Two ACTIVE hosts, and hv2 was it before the other: stop the VMs there, before anything else."
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
    "a QEMU that hangs": (
        put("me", "vms", "web", "silent", True),
        (
            "hv1: the QEMU of VM web does not answer. "
            "See virsh domcontrol web. hvm_vm state=poweredoff ends it; then start it again."
        ),
    ),
    "somebody in the way": (
        put("me", "foreign_users", {"/srv/vms": ["bash (12)", "less (13)"]}),
        (
            "hv1: /srv/vms is in use by bash (12), less (13) and could not be unmounted. "
            "End that (a shell with its directory there?)."
        ),
    ),
    "mounted by ZFS itself": (
        put("me", "mounted_otherwise", {"ssd/shared/iso": "/srv/iso"}),
        (
            "hv1: ssd/shared/iso is mounted without hvm.pair, which would not mount it again after a stop or a move. "
            "Leave that to hvm.pair: zfs set canmount=noauto ssd/shared/iso."
        ),
    ),
    "mounted by fstab": (
        put("me", "mounted_otherwise", {"ssd/shared/iso": "legacy"}),
        (
            "hv1: ssd/shared/iso is mounted without hvm.pair, which would not mount it again after a stop or a move. "
            "Leave that to hvm.pair: zfs set canmount=noauto mountpoint=PATH ssd/shared/iso."
        ),
    ),
    "mounted twice": (
        put("me", "mounted_elsewhere", [["ssd/shared/iso", "/export/iso"]]),
        "hv1: ssd/shared/iso is mounted at /export/iso, where hvm.pair would not mount it again. Unmount it: umount /export/iso.",
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


def test_what_is_mounted_without_hvm_pair_is_said_once() -> None:
    me, peer = pair()
    me.update(mounted_otherwise={"ssd/shared/iso": "/srv/iso"}, mounted_elsewhere=[["ssd/shared/iso", "/srv/iso"]])
    assert len(guards.migrate(me, peer)) == 1


def test_all_reasons_come_at_once() -> None:
    me, peer = pair()
    names = ("pool suspended", "both active", "replica writable", "transient", "disk elsewhere", "bridge of a VM", "memory there")
    for name in names:
        MIGRATE[name][0](me, peer)
    said = [finding.sentence() for finding in guards.migrate(me, peer)]
    assert said == [MIGRATE[name][1] for name in names]


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
    assert guards.backup(me, None) == []  # a checkpoint has other ways
    assert [finding.sentence() for finding in guards.plain_save(me)] == [
        "hv1: VM web cannot be saved (host device). Shut it down first.",
        "hv1: VM db cannot be saved (transient). Shut it down first.",
    ]


def test_a_backup_goes_on_after_one_that_was_killed_and_without_memory_it_needs_no_room() -> None:
    me, dummy = pair()
    entry = {"operation": "checkpoint", "started": "2026-11-23T03:00:00+00:00", "step": "memory", "remedy": "Run it again."}
    me["pending"] = entry
    assert guards.backup(me, None) == []
    assert [one.remedy for one in guards.sync(me, pair()[1])] == ["Run it again."]
    me["state_dir_free"] = 1
    assert len(guards.backup(me, None)) == 1
    assert guards.backup_unsecure(me, None) == []


def test_no_backup_ends_one_that_recover_goes_on_with() -> None:
    me, dummy = pair()
    me["pending"] = {"operation": "checkpoint", "started": "then", "step": "start the VMs", guards.RECOVERS: True}
    (finding,) = guards.backup(me, None)
    assert finding.sentence() == (
        "hv1: checkpoint, begun then, did not end: it was last at 'start the VMs'. "
        "hvm.pair.recover finishes it or undoes it, and says which."
    )
    assert not guards.ended_by_backup(me["pending"])
    assert not guards.ended_by_backup(None)
    assert not guards.ended_by_backup({"operation": "rollback"})


@pytest.mark.parametrize(
    ("epochs", "seen", "said"),
    [
        ((3, 2), (2, 1), "hv2 was it before the other"),
        ((3, 4), (2, 3), "hv1 was it before the other"),
        ((4, 3), (2, 2), "nothing tells which was it later"),  # the higher number is no proof
        ((3, 3), (3, 3), "nothing tells which was it later"),
    ],
)
def test_of_two_active_hosts_the_number_of_the_epoch_does_not_tell_the_later(
    epochs: tuple[int, int], seen: tuple[int, int], said: str
) -> None:
    me, peer = pair()
    for side, epoch, known in zip((me, peer), epochs, seen, strict=True):
        side["role"].update(role="ACTIVE", now="ACTIVE", epoch=epoch, seen=known)
    (found,) = [text for text in sentences(guards.roles(me, peer)) if "is ACTIVE too" in text]
    assert said in found


def test_before_a_migration_the_keys_of_encrypted_datasets_are_loaded_there() -> None:
    me, peer = pair()
    peer["locked"] = ["ssd/secret"]
    said = ["hv2: the encryption key of ssd/secret is not loaded. Load it there: zfs load-key -a."]
    assert sentences(guards.migrate(me, peer)) == sentences(guards.migrate_unsecure(me, peer)) == said
    assert guards.backup(me, peer) == []  # a replica does without


@pytest.mark.parametrize("operation", [guards.migrate, guards.migrate_unsecure])
def test_a_guest_that_sleeps_is_found_before_the_others_are_stopped(operation: t.Callable[..., list[t.Any]]) -> None:
    me, peer = pair()
    name = next(iter(me["vms"]))
    me["vms"][name]["state"] = "other"
    assert f"hv1: VM {name} cannot be proven stopped" in " ".join(sentences(operation(me, peer)))


def test_a_backup_that_did_not_end_is_ended_by_recover_where_libvirt_is_down() -> None:
    me, dummy = pair()
    me["pending"] = {"operation": "checkpoint", "started": "then", "step": "memory", "remedy": "Run it again (hvm_checkpoint)."}
    assert sentences(guards.common(me))[0].endswith("it was last at 'memory'. Run it again (hvm_checkpoint).")
    me["hypervisor"]["running"] = False
    assert "hvm.pair.recover finishes it" in sentences(guards.common(me))[0]
    me["lock"] = None
    assert advice.advice({**me, "saved": []}).startswith("hvm.pair.recover")


@pytest.mark.parametrize("operation", [guards.backup, guards.backup_unsecure])
def test_what_is_in_overlays_is_in_no_backup(operation: t.Callable[..., list[t.Any]]) -> None:
    me, peer = pair()
    me["overlays"] = {"web": ["web.vda.qcow2"]}
    (said,) = sentences(operation(me, peer))
    assert said.startswith("hv1: overlays are left: web; what their VMs write is in no dataset of the pair. hvm.pair.recover")


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


def test_of_two_passive_hosts_the_sets_tell_and_not_the_epoch_that_each_has_seen() -> None:
    """hv1 was ACTIVE in epoch 5, and its system was restored from an image of a time before that; hv2 has seen that epoch."""
    me, peer = pair()
    become("me", "PASSIVE")(me, peer)
    me["role"]["epoch"], peer["role"]["epoch"] = 2, 5
    old, new, torn = ({"name": f"hvm_20261123T1{hour}0000Z_p_C", "complete": hour < 2} for hour in range(3))
    for mine, theirs in (([old, new], [old]), ([new], [new]), ([new], [])):
        me["sets"], peer["sets"] = mine, theirs
        assert guards.start(me, peer) == []
    for mine, theirs in (([old], [old, new]), ([], [])):
        me["sets"], peer["sets"] = mine, theirs
        names = [side[-1]["name"] if side else "none" for side in (theirs, mine)]
        assert [finding.what for finding in guards.start(me, peer)] == [
            f"the newest complete set of hv2 is {names[0]}, and here {names[1]}"
        ]
    me["sets"], peer["sets"] = [old, torn], [old]
    assert [finding.what.partition(":")[0] for finding in guards.start(me, peer)] == ["the replicas are of two moments"]
    me["sets"], peer["role"]["role"] = [old, new], "ACTIVE"
    assert guards.start(me, peer)


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


SILENT = "hv1: hv2 does not answer, so it may be ACTIVE. If you know that it is switched off, say so: hvm_peer_is_down=hv2."

SILENT_SOURCE = (
    "hv1: hv2 does not answer, so it may be ACTIVE; what it wrote since hvm_20261123T094512Z_office_B is only there. "
    "hvm.pair.failover shows what would be lost. If you know that hv2 is switched off: hvm_peer_is_down=hv2."
)
UNDECIDED = (
    "hv1: this host is DIVERGED: it holds writes that the other lacks. Decide about them first: hvm.pair.rejoin shows them."
)


@pytest.mark.parametrize(
    ("now", "was", "word", "said"),
    [
        ("ACTIVE", "ACTIVE", "", []),
        ("UNKNOWN", "ACTIVE", "", [SILENT]),
        ("PASSIVE", "PASSIVE", "", [SILENT_SOURCE]),
        ("PASSIVE", "PASSIVE", "yes", [SILENT_SOURCE]),
        ("PASSIVE", "PASSIVE", "hv1", [SILENT_SOURCE]),
        ("PASSIVE", "PASSIVE", "hv2", []),
        ("UNKNOWN", "ACTIVE", "hv2", []),
        ("DIVERGED", "DIVERGED", "hv2", [UNDECIDED]),
    ],
)
def test_silence_is_no_proof_but_the_operators_word_is(now: str, was: str, word: str, said: list[str]) -> None:
    me, dummy = pair()
    become("me", now, was)(me, dummy)
    assert [finding.sentence() for finding in guards.start(me, None, word)] == said


@pytest.mark.parametrize(("word", "refused"), [("", False), ("hv1", False), ("hv2", False), ("hv9", True), ("yes", True)])
def test_a_word_about_another_host_is_refused_also_where_none_is_needed(word: str, refused: bool) -> None:
    """Else a run over many pairs starts what a mistyped name does not mean."""
    me, peer = pair()
    said = [f"{word!r} is not the other host of the pair"] if refused else []
    assert [finding.what for finding in guards.start(me, peer, word)] == said
    assert [finding.what for finding in recovery.recover(me, peer, word).findings] == said


def test_a_replica_that_is_of_two_moments_is_not_started() -> None:
    me, peer = pair()
    become("me", "PASSIVE")(me, peer)
    me["sets"].append({"name": "hvm_20261123T104512Z_office_B", "complete": False})
    torn = (
        "hv1: the replicas are of two moments: hvm_20261123T104512Z_office_B has arrived on some datasets only. "
        "hvm.pair.recover or hvm.pair.failover goes back to the last complete set."
    )
    assert [finding.sentence() for finding in guards.start(me, None, "hv2")] == [torn]
    assert [finding.sentence() for finding in guards.start(me, peer)] == [torn]


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        # role, epoch and the other's epoch that it had seen, of hv1 and of hv2; both have rebooted
        (("ACTIVE", 6, 5), ("ACTIVE", 5, 4), []),
        (
            ("PASSIVE", 5, 0),
            ("ACTIVE", 5, 4),
            [
                (
                    "hv1: hv2 was ACTIVE last (epoch 5): what it wrote since the last set is only there. "
                    "Start it there. If hv2 cannot: hvm.pair.failover shows what would be lost."
                )
            ],
        ),
        (("ACTIVE", 5, 4), ("ACTIVE", 6, 5), ["hv1: hv2 was ACTIVE later (epoch 6, here 5). Start it on hv2 instead."]),
        # hv2 was started by force in the same epoch, and has asked hv1 since
        (("ACTIVE", 5, 4), ("ACTIVE", 5, 5), ["hv1: hv2 was ACTIVE later (epoch 5, here 5). Start it on hv2 instead."]),
        *(
            (
                ("ACTIVE", mine, seen),
                ("ACTIVE", theirs, saw),
                [
                    (
                        f"hv1: hv1 (epoch {mine}) and hv2 (epoch {theirs}) were both ACTIVE, without each other. Each may hold "
                        "writes that the other lacks. Look at both, then name the one that goes on: hvm.pair.rejoin with "
                        "hvm_winner."
                    )
                ],
            )
            for mine, seen, theirs, saw in ((5, 3, 5, 3), (6, 3, 5, 4), (5, 4, 6, 3))
        ),
    ],
)
def test_of_two_that_were_active_the_one_starts_that_knew_of_the_other(
    mine: tuple[str, int, int], theirs: tuple[str, int, int], said: list[str]
) -> None:
    me, peer = pair()
    for side, (was, epoch, seen) in ((me, mine), (peer, theirs)):
        now = "UNKNOWN" if was == "ACTIVE" else was
        side["role"].update(role=was, now=now, epoch=epoch, seen=seen)
        side["hypervisor"]["running"], side["qemu"] = False, []
    assert [finding.sentence() for finding in guards.start(me, peer)] == said


def test_start_waits_for_what_runs_there_and_refuses_strangers() -> None:
    me, peer = pair()
    peer.update(lock="migrate_secure by root", pair="lab")
    assert [finding.sentence() for finding in guards.start(me, peer)] == [
        "hv2: it belongs to the pair lab, not to office. Correct hvm_hosts in the inventory and run hvm.pair.install.",
        "hv2: another operation is running: migrate_secure by root. Wait until it has ended.",
    ]


# a migration, seen from the host that is asked


@pytest.mark.parametrize(
    ("epoch", "qemu", "said"),
    [
        (3, [], ""),
        (None, [], ""),
        (2, [], "this host has seen epoch 3, and the one that asks is in epoch 2"),
        (3, ["db", "web"], "VMs run here: db, web"),
    ],
)
def test_a_lock_is_lent_to_a_host_that_is_not_behind(epoch: int | None, qemu: list[str], said: str) -> None:
    me, dummy = pair()
    me["qemu"] = qemu
    assert "; ".join(finding.what for finding in guards.lend(me, epoch)) == said


@pytest.mark.parametrize(
    ("change", "epoch", "behind", "complete", "said"),
    [
        (become("me", "PASSIVE"), 4, [], True, ""),
        (become("me", "PASSIVE"), 3, [], True, "this host is PASSIVE in epoch 3 and cannot become ACTIVE in 3"),
        (become("me", "UNKNOWN", "ACTIVE"), 4, [], True, "this host is UNKNOWN in epoch 3 and cannot become ACTIVE in 4"),
        (become("me", "DIVERGED"), 4, [], True, "this host is DIVERGED in epoch 3 and cannot become ACTIVE in 4"),
        (become("me", "PASSIVE"), 4, ["ssd/shared"], True, "the set S is not the state of ssd/shared"),
        (become("me", "PASSIVE"), 4, [], False, "the set S is not the state of all datasets"),
    ],
)
def test_taking_over_needs_exactly_what_was_handed_over(
    change: Change, epoch: int, behind: list[str], complete: bool, said: str
) -> None:
    me, peer = pair()
    me["hypervisor"]["running"], me["qemu"] = False, []
    change(me, peer)
    assert "; ".join(finding.what for finding in guards.activate(me, epoch, "S", behind, complete)) == said
    me["qemu"] = ["web"]
    assert guards.activate(me, epoch, "S", behind, complete)


def test_a_role_that_was_given_away_is_taken_back_on_proof_only() -> None:
    dummy, other = pair()
    assert guards.may_go_on(other)
    assert not guards.may_go_on(None)
    for change in (
        put("peer", "qemu", ["web"]),
        put("peer", "hypervisor", "running", True),
        put("peer", "lock", "activate"),
        become("peer", "UNKNOWN", "ACTIVE"),
    ):
        me, other = pair()
        change(me, other)
        assert not guards.may_go_on(other)


@pytest.mark.parametrize(("was", "epoch", "did"), [("ACTIVE", 4, True), ("ACTIVE", 3, False), ("PASSIVE", 4, False)])
def test_the_record_tells_whether_it_took_over(was: str, epoch: int, did: bool) -> None:
    me, other = pair()
    become("peer", "UNKNOWN", was)(me, other)
    other["role"]["epoch"] = epoch
    assert guards.took_over(other, 3) is did


# zfs mount, zfs umount

REPLICA = (
    "hv1: this host is PASSIVE, and mounting alone changes a replica (OpenZFS #12580): the next sync would be refused. "
    "Look at a clone of a snapshot instead (zfs clone). If this host shall take over: hvm_hypervisor state=started."
)
ACTIVE_THERE = "hv2: hv2 is ACTIVE and its hypervisor is not stopped. Migrate from there instead."


@pytest.mark.parametrize(
    ("now", "peer_now", "word", "said"),
    [
        ("ACTIVE", "PASSIVE", "", []),
        ("ACTIVE", None, "", []),
        ("ACTIVE", "ACTIVE", "", [ACTIVE_THERE]),
        ("PASSIVE", "ACTIVE", "", [REPLICA]),
        ("PASSIVE", "PASSIVE", "", [REPLICA]),
        ("PASSIVE", None, "hv2", [REPLICA]),
        ("UNKNOWN", "PASSIVE", "", []),
        ("UNKNOWN", "UNKNOWN", "", []),
        ("UNKNOWN", "ACTIVE", "", [ACTIVE_THERE]),
        ("UNKNOWN", "ACTIVE", "hv2", [ACTIVE_THERE]),
        ("UNKNOWN", None, "", [SILENT]),
        ("UNKNOWN", None, "hv1", [SILENT]),
        ("UNKNOWN", None, "hv2", []),
        ("DIVERGED", "PASSIVE", "", []),
        ("DIVERGED", "ACTIVE", "", [ACTIVE_THERE]),
        ("DIVERGED", None, "", [SILENT]),
        ("DIVERGED", None, "hv2", []),
    ],
)
def test_mounting_needs_what_starting_needs_and_never_touches_a_replica(
    now: str, peer_now: str | None, word: str, said: list[str]
) -> None:
    me, peer = pair()
    become("me", now, "ACTIVE" if now == "UNKNOWN" else now)(me, peer)
    become("peer", peer_now or "PASSIVE")(me, peer)
    assert [finding.sentence() for finding in guards.mount(me, peer if peer_now else None, word)] == said


def test_mounting_is_refused_when_the_other_was_active_later_or_a_pool_is_ill() -> None:
    me, peer = pair()
    become("me", "UNKNOWN", "ACTIVE")(me, peer)
    peer["role"]["epoch"], me["pools"]["ssd"] = 9, "FAULTED"
    assert [finding.sentence() for finding in guards.mount(me, peer)] == [
        "hv1: pool ssd is FAULTED. Repair it first: zpool status ssd.",
        STARTS["later there"][1],
    ]


UNMOUNTS: dict[str, tuple[Change, list[str]]] = {
    "a VM runs": (
        put("me", "qemu", ["db", "web"]),
        ["hv1: VMs are running: db, web. Shut them down, save them, or migrate them first."],
    ),
    "the hypervisor runs": (
        put("me", "hypervisor", "running", True),
        ["hv1: the hypervisor is running and uses the datasets. Stop it, which unmounts them too: hvm_hypervisor state=stopped."],
    ),
    "somebody is in there": (
        put("me", "foreign_users", {"/srv/vms": ["bash (12)"], "/srv": ["vi (7)", "less (8)"]}),
        [
            "hv1: /srv/vms is in use by bash (12). End that (a shell with its directory there?).",
            "hv1: /srv is in use by vi (7), less (8). End that (a shell with its directory there?).",
        ],
    ),
    "nothing in the way": (put("me", "foreign_users", {}), []),
}


@pytest.mark.parametrize("now", ["ACTIVE", "PASSIVE", "UNKNOWN", "DIVERGED"])
@pytest.mark.parametrize(("change", "said"), UNMOUNTS.values(), ids=UNMOUNTS)
def test_unmounting_is_refused_under_a_hypervisor_or_a_vm_in_any_role(change: Change, said: list[str], now: str) -> None:
    me, peer = pair()
    become("me", now)(me, peer)
    me["hypervisor"]["running"], me["qemu"] = False, []
    change(me, peer)
    assert [finding.sentence() for finding in guards.unmount(me)] == said


# Rollback, and the replicas that follow it

HALF = {"operation": "rollback", "started": "2026-11-23T10:00:00+00:00", "step": "zfs promote x", "remedy": "Run it again."}
HALF_SAID = "hv1: rollback, begun 2026-11-23T10:00:00+00:00, did not end: it was last at 'zfs promote x'. Run it again."


def stopped() -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    me, peer = pair()
    me["hypervisor"]["running"], me["qemu"] = False, []
    return me, peer


def sentences(findings: list[t.Any]) -> list[str]:
    return [finding.sentence() for finding in findings]


ROLLBACKS: dict[str, tuple[Change, list[str]]] = {
    "all is well": (put("me", "lock", None), []),
    "after a boot": (become("me", "UNKNOWN", "ACTIVE"), []),
    "mounted by a boot": (
        lambda me, dummy: me.update(
            role={**me["role"], "now": "UNKNOWN", "role": "ACTIVE"}, mounted_otherwise={"ssd/shared/iso": "/srv/iso"}
        ),
        [MIGRATE["mounted by ZFS itself"][1]],
    ),
    "its own remains": (put("me", "pending", HALF), []),
    "the remains of its undo": (put("me", "pending", {**HALF, "operation": "undo"}), []),
    "a root is between two renames": (
        lambda me, dummy: me.update(pending=HALF, missing_datasets=["ssd/shared"]),
        [],
    ),
    "a root is gone": (
        put("me", "missing_datasets", ["ssd/shared"]),
        ["hv1: dataset ssd/shared does not exist. Look at it: zfs list; correct hvm_datasets."],
    ),
    "other remains": (put("me", "pending", INTERRUPTED), [MIGRATE["interrupted"][1].replace("hv2:", "hv1:")]),
    "the hypervisor runs": (
        put("me", "hypervisor", "running", True),
        ["hv1: the hypervisor is running on the present datasets. Stop it: hvm_hypervisor state=stopped."],
    ),
    "a VM runs without libvirt": (
        put("me", "qemu", ["db", "web"]),
        ["hv1: VMs are running: db, web. Shut them down, or save them."],
    ),
    "pool suspended": (put("me", "pools", "ssd", "SUSPENDED"), [MIGRATE["pool suspended"][1]]),
    "PASSIVE": (
        become("me", "PASSIVE"),
        [
            (
                "hv1: this host is PASSIVE: its datasets are copies of those of hv2. Run it on hv2. If that host is lost, "
                "start this one (hvm_hypervisor state=started), stop it, and roll back."
            )
        ],
    ),
    "DIVERGED": (
        become("me", "DIVERGED"),
        ["hv1: this host is DIVERGED: it holds writes that the other lacks. Decide about them first."],
    ),
    "new": (
        become("me", "UNKNOWN"),
        ["hv1: this host has no role yet. Run the playbook hvm.pair.install on both hosts."],
    ),
    "the other is ACTIVE": (
        become("peer", "ACTIVE"),
        ["hv2: it is ACTIVE. Roll back there: hv1 is not the ACTIVE host any more, and comes back by hvm.pair.recover."],
    ),
    "the other was ACTIVE, earlier": (become("peer", "UNKNOWN", "ACTIVE"), []),
    "the other was ACTIVE, later": (
        put("peer", "role", "epoch", 9),
        [
            (
                "hv2: it was ACTIVE later (epoch 9, hv1 has epoch 3). "
                "Its data are the newer ones: start it there, and look at 'status' of both."
            )
        ],
    ),
    "the other's hypervisor runs": (
        put("peer", "hypervisor", "running", True),
        ["hv2: its hypervisor is not stopped. Stop it there: hvm_hypervisor state=stopped."],
    ),
    "the other's VMs run": (
        put("peer", "qemu", ["web"]),
        ["hv2: its hypervisor is not stopped. Stop it there: hvm_hypervisor state=stopped."],
    ),
    "another pair": (
        put("peer", "pair", "lab"),
        ["hv2: it belongs to the pair lab, not to office. Correct hvm_hosts in the inventory and run hvm.pair.install."],
    ),
    "the other's remains": (put("peer", "pending", INTERRUPTED), []),
}


@pytest.mark.parametrize(("change", "said"), ROLLBACKS.values(), ids=ROLLBACKS)
def test_a_rollback_is_for_the_last_active_host_while_it_is_stopped(change: Change, said: list[str]) -> None:
    me, peer = stopped()
    change(me, peer)
    assert sentences(guards.rollback(me, peer)) == said


def test_a_silent_host_is_no_reason_against_a_rollback() -> None:
    me, dummy = stopped()
    assert guards.rollback(me, None) == []
    become("me", "PASSIVE")(me, {})
    assert len(guards.rollback(me, None)) == 1


@pytest.mark.parametrize("operation", [guards.backup, guards.sync, guards.migrate, guards.start, guards.mount])
def test_nothing_else_begins_on_what_a_rollback_has_left(operation: t.Callable[..., list[t.Any]]) -> None:
    me, peer = pair()
    me["pending"] = HALF
    assert sentences(operation(me, peer)) == [HALF_SAID]


FOLLOWERS: dict[str, tuple[Change, list[str]]] = {
    "all is well": (put("peer", "lock", None), []),
    "its own remains": (put("peer", "pending", HALF), []),
    "other remains": (put("peer", "pending", INTERRUPTED), [MIGRATE["interrupted"][1]]),
    "busy": (
        put("peer", "lock", "a sync by root"),
        ["hv2: another operation is running: a sync by root. Wait until it has ended."],
    ),
    "ACTIVE": (become("peer", "ACTIVE"), [MIGRATE["both active"][1]]),
    "was ACTIVE": (
        become("peer", "UNKNOWN", "ACTIVE"),
        [
            (
                "hv2: it was ACTIVE (epoch 2) before it rebooted. "
                "Find out which host has the newest data before anything is sent there."
            )
        ],
    ),
    "UNKNOWN": (become("peer", "UNKNOWN"), ["hv2: it is UNKNOWN. Only the replicas of a PASSIVE host follow."]),
    "later": (
        put("peer", "role", "epoch", 9),
        [
            (
                "hv2: hv2 has seen epoch 9 and hv1 only 3. "
                "hv2 was ACTIVE after hv1: its data are newer. Nothing may be sent over them."
            )
        ],
    ),
    "writable": (
        put("peer", "not_inert", ["ssd/shared is writable"]),
        [
            (
                "hv2: ssd/shared is writable although it is PASSIVE. "
                "A replica must be inert: hvm_hypervisor state=stopped makes it so."
            )
        ],
    ),
    "this host is PASSIVE": (become("me", "PASSIVE"), [ROLLBACKS["PASSIVE"][1][0]]),
}


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize(("change", "said"), FOLLOWERS.values(), ids=FOLLOWERS)
def test_replicas_follow_on_a_passive_host_only(change: Change, said: list[str], running: bool) -> None:
    me, peer = pair()
    me["hypervisor"]["running"] = running
    change(me, peer)
    assert sentences(guards.follower(me, peer)) == said
