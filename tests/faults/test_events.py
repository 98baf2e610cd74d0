# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens to a pair besides a fault in a step: both hosts lose power, one comes back late, clocks jump, people interfere."""

from __future__ import annotations

import time
import typing as t

import _cells
import _judge
import pytest
from _hosts import Host
from _scene import World

Record = dict[str, t.Any]
DAY = 86400


def whole(
    world: World,
    record: Record,
    names: t.Collection[str],
    began: float,
    may_boot: t.Collection[str] = (),
    may_go_back: bool = False,
    times: int = 1,
) -> None:
    """The pair is as it has to be, and the next backup is an increment."""
    world.heard(names=names)
    record.update(serving=_judge.serving(world.beats(), names, began, time.time()))
    looks = world.looks()
    said = _judge.pair(looks, names, world.names)
    active = world.active(looks)
    record.update(active=_cells.SOURCE if active is world.a else _cells.TARGET)
    said += world.booted(active, may_boot)
    said += world.next_backup(active)
    world.heard(names=names)
    said += _judge.counts(world.reports(began), names, world.floor if may_go_back else None, may_boot, times)
    record.update(said=said)
    assert said == []
    record.update(passed=True)


def sets(world: World, host: Host) -> list[str]:
    """Names of the snapshot sets, in the order in which they were taken."""
    return [one.split()[0] for one in world.snapshots(host)["ssd/shared"]]


def both_off(world: World) -> float:
    began = time.time()
    for host in (world.a, world.b):
        world.power(host, on=False)
    return began


@pytest.mark.parametrize("first", ["hva", "hvb"])
def test_both_hosts_lose_power_at_once(world: World, record: Record, first: str) -> None:
    which = "ACTIVE" if first == "hva" else "PASSIVE"
    record.update(name=f"event-both_off_{which}_first", title=f"both hosts lose power at once, the {which} one is back first")
    began = both_off(world)
    order = sorted((world.a, world.b), key=lambda host: host.name != first)
    for host in order:
        world.power(host, on=True)
    record.update(waited=round(time.time() - began, 1), boot=round(world.booting, 1), advice=world.follow_advice())
    assert world.active() is world.a
    whole(world, record, world.autostart, began, may_boot=world.names)


def test_both_hosts_lose_power_and_one_stays_away(world: World, record: Record) -> None:
    """The one that was ACTIVE goes on alone, by the operator's word that the other is off; it follows when it is back."""
    record.update(name="event-both_off_one_back", title="both hosts lose power at once, the PASSIVE one is back much later")
    began = both_off(world)
    world.power(world.a, on=True)
    record.update(waited=round(time.time() - began, 1), boot=round(world.booting, 1), advice=world.follow_advice())
    world.heard(names=world.autostart)
    world.power(world.b, on=True)
    record["advice"] += world.follow_advice()
    assert world.active() is world.a
    whole(world, record, world.autostart, began, may_boot=world.names)


def test_a_host_returns_after_the_other_was_promoted(world: World, record: Record) -> None:
    record.update(name="event-late_return", title="the ACTIVE host dies, the other is promoted, the dead one returns")
    began = time.time()
    world.power(world.a, on=False)
    shown = world.node.run("failover")
    assert shown.process.returncode != 0, "failover asks for no word"
    assert world.observe(world.b)["role"]["now"] == "PASSIVE"
    run = world.node.run("failover", f"hvm_dead_host={world.a.name}")
    assert run.process.returncode == 0, run.tail()
    world.heard(names=world.names)
    serving = time.time()
    record.update(waited=round(serving - began, 1))
    world.power(world.a, on=True)
    time.sleep(10)  # by itself it must not start anything
    back = world.observe(world.a)
    assert (back["role"]["now"] != "ACTIVE", back["qemu"], back["hypervisor"]["running"]) == (True, [], False)
    record.update(boot=round(world.booting, 1), advice=["failover", *world.follow_advice()])
    assert world.active() is world.b
    whole(world, record, world.names, began, may_boot=world.names, may_go_back=True)


@pytest.mark.parametrize("which", ["ACTIVE", "PASSIVE"])
def test_the_clock_jumps_by_a_day(world: World, record: Record, which: str) -> None:
    """Forward and back again; a set that is taken later sorts behind, and nothing is pruned that should not be."""
    record.update(name=f"event-clock_{which}", title=f"the clock of the {which} host jumps by a day, and back")
    host = world.a if which == "ACTIVE" else world.b
    began = time.time()
    before = sets(world, world.a)
    for seconds in (DAY, -DAY):
        host.sh(f"date -u -s @$(( $(date +%s) + {seconds} )) > /dev/null")
        said = world.next_backup()
        assert said == [], f"after a jump by {seconds} s: {said}"
    now = sets(world, world.a)
    assert now[: len(before)] == before, "nothing is pruned because of a clock"
    assert len(now) == len(before) + 2 and now == sorted(now), "what is taken later sorts behind"
    assert sets(world, world.b) == now
    assert world.follow_advice() == []
    run = world.node.run("migrate_secure")
    assert run.process.returncode == 0, run.tail()
    assert world.active() is world.b
    whole(world, record, world.names, began)


_START = "virsh define /root/by-hand.xml; virsh start {vm}"
#: What somebody with root may type on the PASSIVE host to run a VM of the pair. Each must fail, or start nothing.
BY_HAND = {
    "virsh": _START,
    "the service": f"systemctl start libvirtd.service; {_START}",
    "the sockets": f"systemctl start libvirtd.socket libvirtd-ro.socket; {_START}",
    "the daemon itself": f"libvirtd -d; sleep 3; {_START}",
}
UNITS = "libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket"


@pytest.mark.parametrize("way", list(BY_HAND))
def test_somebody_starts_a_vm_by_hand_on_the_passive_host(world: World, record: Record, way: str) -> None:
    """With its definition and a disk at its place, so that nothing but the gate is in the way."""
    record.update(name=f"event-by_hand_{_cells.slug(way)}", title=f"somebody starts a VM on the PASSIVE host: {way}")
    began = time.time()
    vm = next(one.name for one in world.vms if one.running and all(disk.startswith("file") for disk in one.disks[:1]))
    world.b.put("/root/by-hand.xml", world.a.sh(f"virsh dumpxml --inactive {vm}") + "\n")
    disks = world.a.sh(f"virsh -q domblklist --inactive {vm} | awk '{{print $2}}' | grep ^/srv || true").split()
    assert disks
    for disk in disks:
        world.b.sh(f"mkdir -p $(dirname {disk}); truncate -s 64M {disk}")
    said = world.b.sh(f"({BY_HAND[way].format(vm=vm)}) 2>&1", check=False)
    print(said, flush=True)
    time.sleep(5)
    assert world.observe(world.b)["qemu"] == []
    if way == "the daemon itself":  # systemd has no word in it: the hook refuses
        assert "not ACTIVE" in said
        assert "Domain" in said, "it was not even defined"
    else:
        assert "active" not in world.b.sh(f"systemctl is-active {UNITS} || true").split()
    for disk in disks:
        world.b.sh(f"rm -f {disk}")
    world.b.sh(f"rm -f /root/by-hand.xml /etc/libvirt/qemu/{vm}.xml")
    record.update(advice=world.follow_advice())
    if way != "the daemon itself":
        assert record["advice"] == []
    assert world.active() is world.a
    whole(world, record, world.names, began)


def test_two_operators_start_a_migration_at_the_same_moment(world: World, record: Record) -> None:
    """From two control nodes. One migrates, the other is refused, and nothing goes back and forth."""
    record.update(name="event-two_operators", title="two operators start a migration at the same moment")
    began = time.time()
    runs = [world.node.start("migrate_secure"), world.other_node.start("migrate_secure")]
    ended = [run.wait() for run in runs]
    assert sorted(ended) == [False, True], "\n".join(run.tail(1500) for run in runs)
    refused = runs[ended.index(False)].output
    assert "another operation is running" in refused, refused[-3000:]
    assert world.follow_advice() == []
    assert world.active() is world.b
    whole(world, record, world.names, began)
