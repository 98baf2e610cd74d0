# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live checkpoints under load: each can be restored on the other host; and whatever goes wrong, no VM stays paused.

``HVM_CHECKPOINTS=20 make vms PYTEST_ARGS="-s -k restored"`` for many; ``HVM_SEED`` repeats one run.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
import typing as t

import pytest
from _hosts import Failure, finish
from _world import AT_THE_SNAPSHOT, STATE_DIR, World

ROUNDS = int(os.environ.get("HVM_CHECKPOINTS", "3"))


def checkpoint(world: World, **options: t.Any) -> dict[str, t.Any]:
    return world.a.call("backup", **options)


def all_is_well(world: World, after: float, without: t.Collection[str] = ()) -> None:
    """Every VM counts on without a gap in its counts, and nothing is left of a checkpoint."""
    names = [name for name in world.names if name not in without]
    world.heard(names=names)
    states = world.states()
    assert {name: states[name] for name in names} == dict.fromkeys(names, "running")
    reports = world.reports(after)
    said = [text for name in names for text in reports[name].verdict]
    assert said == []
    assert all(reports[name].continuous for name in names)
    assert [name for name in world.left() if name.split(".")[0] not in without] == []


def the_next_one_is_whole(world: World, after: float) -> None:
    again = checkpoint(world)
    assert not again.get("failed"), again["msg"]
    assert again["set"].endswith("_B")
    all_is_well(world, after)


def begun(world: World) -> subprocess.Popen[str]:
    """A checkpoint whose memory is being written."""
    process = world.a.begin("backup")
    deadline = time.monotonic() + 60
    while not [name for name in world.left() if "live" in name]:
        assert time.monotonic() < deadline, "no image appears"
        time.sleep(0.05)
    return process


def test_the_vms_hardly_notice(world: World) -> None:
    began = time.time()
    done = checkpoint(world)
    assert not done.get("failed"), done["msg"]
    assert done["set"].endswith("_B")
    assert {name: vm["method"] for name, vm in done["vms"].items()} == dict.fromkeys(world.names, "checkpoint")
    all_is_well(world, began)
    for name, report in world.reports(began).items():
        if report.interruption:
            print(f"{name}: {report.interruption.seconds:.2f} s heard, {done['vms'][name]['interruption']:.2f} s reported")


@pytest.mark.long
def test_each_is_restored_on_the_other_host_from_the_replicated_set(world: World, seed: random.Random) -> None:
    """The other host alone, from the newest set to the oldest: RAM and disks are of one moment in each."""
    sets = []
    for number in range(ROUNDS):
        time.sleep(seed.uniform(0, 2))
        began = time.time()
        done = checkpoint(world)
        assert not done.get("failed"), done["msg"]
        assert done["set"].endswith("_B")
        waits = {name: report.interruption.seconds for name, report in world.reports(began).items() if report.interruption}
        print(f"checkpoint {number + 1}: {done['window']:.2f} s; heard {waits}")
        synced = world.a.call("sync")
        assert not synced.get("failed"), synced["msg"]
        assert synced["set"] == done["set"]
        sets.append(done["set"])
    world.lab.power(world.a.host, on=False)
    world.a.forget()
    every = "$(zfs list -H -o name -r -t filesystem,volume ssd/shared rot/shared)"
    # nothing will follow these sets any more, and going back past one that is held is refused
    world.b.sh(
        "set -e; zfs list -H -o name -r -t snapshot ssd/shared rot/shared | xargs zfs holds -H | "
        "while read -r snapshot tag rest; do zfs release $tag $snapshot; done"
    )
    for number, name in enumerate(reversed(sets), 1):
        world.b.sh(f"set -e; for dataset in {every}; do zfs rollback -r $dataset@{name}; done")
        began = time.time()
        started = world.b.call("hypervisor", state="started", peer_is_down="hva")
        assert not started.get("failed"), started["msg"]
        restored = world.b.call("vm", verb="restored", everything=True)
        assert not restored.get("failed"), restored["msg"]
        assert sorted(restored["vms"]) == world.names
        world.heard(names=world.names)
        reports = world.reports(began)
        said = {vm: (report.disagreements, report.boots, report.errors) for vm, report in reports.items()}
        assert said == dict.fromkeys(said, (0, [], 0)), f"set {name}: {said}"
        print(f"set {number} of {len(sets)}, {name}: {len(said)} VMs restored, no disagreement")
        off = world.b.call("vm", verb="poweredoff", everything=True)
        assert not off.get("failed"), off["msg"]
        stopped = world.b.call("hypervisor", state="stopped")
        assert not stopped.get("failed"), stopped["msg"]


KILL = {
    "before the snapshot": 'kill -9 "$PPID"; exit 1',
    "after the snapshot": '"$ZFS" "$@"; kill -9 "$PPID"; exit 1',
    "asked to end, before the snapshot": 'kill -TERM "$PPID"; sleep 0.5',
}


@pytest.mark.long
@pytest.mark.parametrize("when", list(KILL))
def test_the_module_is_killed_at_the_snapshot(world: World, when: str) -> None:
    began = time.time()
    world.a.sh("rmdir /run/hvm-cut 2>/dev/null || true")
    world.a.wrap(AT_THE_SNAPSHOT.format(body=KILL[when]))
    first = checkpoint(world)
    world.a.unwrap()
    assert world.a.sh("test -e /run/hvm-cut && echo yes || true") == "yes"
    if "asked" not in when:
        assert first["kind"] == "Killed"
    the_next_one_is_whole(world, began)


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0.2, 0.6, 1.2])
def test_the_module_is_killed_while_memory_is_written(world: World, seconds: float) -> None:
    began = time.time()
    process = begun(world)
    time.sleep(seconds)
    world.a.sh("pkill -9 -f '[h]vm-test-driver.py' || true")
    finish(process)
    again = checkpoint(world)
    assert not again.get("failed"), again["msg"]
    all_is_well(world, began)


@pytest.mark.long
def test_libvirtd_is_killed_while_memory_is_written(world: World) -> None:
    began = time.time()
    process = begun(world)
    world.a.sh("systemctl kill -s KILL libvirtd.service")
    done = finish(process)
    print(done.get("msg", done.get("set")))
    world.a.sh("for i in $(seq 100); do virsh -q list >/dev/null 2>&1 && break; sleep 0.2; done")
    states = world.states()
    if done.get("kind") == "Killed" or any(states[name] != "running" for name in world.names):
        print(f"after it: {states}")
    assert {name: states[name] for name in world.names} == dict.fromkeys(world.names, "running")
    again = checkpoint(world)
    assert not again.get("failed"), again["msg"]
    all_is_well(world, began)


@pytest.mark.long
def test_a_vm_is_killed_while_its_memory_is_written(world: World) -> None:
    began = time.time()
    process = begun(world)
    world.a.sh("kill -9 $(cat /run/libvirt/qemu/bravo.pid)")
    done = finish(process)
    print(done.get("msg", done.get("set")))
    if not done.get("failed"):
        assert not done["set"].endswith("_B")
        assert done["vms"]["bravo"]["method"] == "crashed"
    all_is_well(world, began, without=["bravo"])
    assert world.states()["bravo"] == "shut off"
    assert [name for name in world.left() if name.startswith("bravo")] == []


#: Seconds: what a QEMU is waited for while others stand still (memory.Pace), and what an emulated host takes for the rest.
ANSWER, BESIDES = 20.0, 15.0


def signalled(world: World, name: str, signal: str) -> None:
    world.a.sh(f"kill -{signal} $(cat /run/libvirt/qemu/{name}.pid)")


def test_one_that_hangs_holds_up_no_backup_and_no_migration_begins(world: World) -> None:
    others = [name for name in world.names if name != "delta"]
    signalled(world, "delta", "STOP")
    began = time.time()
    done = checkpoint(world)
    assert not done.get("failed"), done["msg"]
    assert done["set"].endswith("_C")
    assert {name: vm["method"] for name, vm in done["vms"].items()} == {**dict.fromkeys(others, "checkpoint"), "delta": "crashed"}
    assert done["warnings"][0].startswith("the QEMU of VM delta does not answer")
    assert "its QEMU does not answer" in world.a.sh("hvm status --all")
    refused = world.a.sh("hvm migrate secure 2>&1 || true", timeout=300)
    assert "the QEMU of VM delta does not answer" in refused
    all_is_well(world, began, without=["delta"])
    signalled(world, "delta", "CONT")
    the_next_one_is_whole(world, began)


@pytest.mark.long
def test_one_that_hangs_in_the_midst_lets_the_others_go_on(world: World) -> None:
    others = [name for name in world.names if name != "delta"]
    began = time.time()
    process = begun(world)
    signalled(world, "delta", "STOP")
    done = finish(process)
    assert done.get("failed"), done
    assert "its QEMU does not answer" in done["msg"]
    all_is_well(world, began, without=["delta"])
    waits = {name: report.interruption.seconds for name, report in world.reports(began).items() if report.interruption}
    print(f"{done['msg']}; heard {waits}")
    assert max(waits.get(name, 0.0) for name in others) < ANSWER + BESIDES
    still = checkpoint(world)
    assert "and the QEMU of VM delta does not answer" in still["msg"]
    signalled(world, "delta", "CONT")
    the_next_one_is_whole(world, began)


@pytest.mark.long
def test_there_is_no_room_for_the_memory(world: World) -> None:
    began = time.time()
    dataset = world.a.sh(f"zfs list -H -o name {STATE_DIR}")
    used = int(world.a.sh(f"zfs get -Hp -o value used {dataset}"))
    world.a.sh(f"zfs set quota={used + (24 << 20)} {dataset}")
    try:
        done = checkpoint(world)
    finally:
        world.a.sh(f"zfs set quota=none {dataset}")
    assert done.get("failed"), done
    print(done["msg"])
    all_is_well(world, began)
    with pytest.raises(Failure):
        world.a.sh(f"ls {STATE_DIR}/*.state")


@pytest.mark.long
def test_it_fills_up_while_the_memory_is_written(world: World) -> None:
    """What is free is looked at before; somebody else takes it meanwhile."""
    began = time.time()
    dataset = world.a.sh(f"zfs list -H -o name {STATE_DIR}")
    process = begun(world)
    world.a.sh(f"zfs set quota=$(( $(zfs get -Hp -o value used {dataset}) + 4194304 )) {dataset}")
    done = finish(process)
    world.a.sh(f"zfs set quota=none {dataset}")
    print(done.get("msg", done.get("set")))
    all_is_well(world, began)


def test_a_frozen_vm_stays_frozen_and_its_memory_is_in_the_set(world: World) -> None:
    began = time.time()
    assert world.a.call("vm", verb="frozen", names=["charlie"])["changed"]
    done = checkpoint(world)
    assert not done.get("failed"), done["msg"]
    assert world.states()["charlie"] == "paused"
    name = done["set"]
    dataset = world.a.sh(f"zfs list -H -o name {STATE_DIR}")
    world.a.sh(f"mkdir -p /run/look && mount -t zfs -o ro {dataset}@{name} /run/look")
    try:
        assert "charlie.state" in world.a.sh("ls /run/look").split()
    finally:
        world.a.sh("umount /run/look")
    assert world.a.call("vm", verb="unfrozen", names=["charlie"])["changed"]
    all_is_well(world, began)


@pytest.mark.long
def test_without_memory_the_vms_are_frozen_for_the_snapshot_alone(world: World) -> None:
    began = time.time()
    done = checkpoint(world, method="freeze")
    assert not done.get("failed"), done["msg"]
    assert done["set"].endswith("_F")
    all_is_well(world, began)


@pytest.mark.long
def test_save_is_the_other_way(world: World) -> None:
    began = time.time()
    done = checkpoint(world, method="save")
    assert not done.get("failed"), done["msg"]
    assert done["set"].endswith("_B")
    all_is_well(world, began)
