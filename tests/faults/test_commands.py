# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each command of `hvm` that no procedure of the manual has (test_manual.py has those), typed on the hosts, and what it did."""

from __future__ import annotations

import functools
import time

from _hosts import Host
from _scene import World
from test_events import Record, whole
from test_manual import ACTIVE, PASSIVE, REFUSED, hvm, stamps

#: hvm's exit code when something could not be done.
FAILED = 1
#: VMs of the lab: one that runs, and the one that does not.
VM, OFF = "charlie", "foxtrot"


def names(host: Host, what: str) -> list[str]:
    """Of the VMs that `vms list` has."""
    return sorted(line.split()[0] for line in hvm(host, f"vms list {what}"))


def test_every_command_does_what_it_says(world: World, record: Record) -> None:
    record.update(name="event-commands", title="every other command of `hvm`, on the hosts")
    began = time.time()
    a, b = world.a, world.b
    running, listed = sorted(world.names), functools.partial(names, a)

    # help, in both languages
    assert any("migrate" in line for line in hvm(a, "help"))
    assert any("sharedIP" in line for line in hvm(a, "--lang fr help hv"))

    # one VM
    assert any("running" in line for line in hvm(a, f"vm status {VM}"))
    hvm(a, f"vm freeze {VM}")
    assert listed("freezed") == [VM]
    hvm(a, f"vm unfreeze {VM}")
    assert listed("freezed") == []
    hvm(a, f"vm backup {VM}")
    assert listed("backups") == [VM] and VM in listed("stopped")
    hvm(a, f"vm start {VM}", FAILED)  # it has a saved state
    hvm(a, f"vm restore {VM}")
    assert listed("running") == running and listed("backups") == []
    hvm(a, f"vm start {OFF}")
    assert OFF in listed("running")
    hvm(a, f"vm poweroff {OFF}")
    assert OFF in listed("stopped")
    hvm(a, f"vm set {OFF} --priority 42")
    assert any("42" in line for line in hvm(a, "vms list prio") if OFF in line)
    assert OFF not in listed("autostart")
    hvm(a, "vms list snapshots")

    # all of them
    hvm(a, "vms freeze")
    assert listed("freezed") == running
    hvm(a, "vms unfreeze")
    hvm(a, "vms backup")
    assert listed("backups") == running
    hvm(a, "vms restore")
    assert listed("running") == running
    assert len(hvm(a, "vms status")) > 0

    # the hypervisor, and the shared IP
    assert hvm(a, "hv status") and hvm(b, "hv status")
    assert "enabled" in hvm(a, "hv sharedIP status")[0]
    hvm(a, "hv sharedIP disable")
    assert "disabled" in hvm(a, "hv sharedIP status")[0]
    hvm(a, "hv sharedIP enable")
    assert "enabled" in hvm(a, "hv sharedIP status")[0]

    # snapshots
    number = len(hvm(a, "zfs snap list dates"))
    hvm(a, "zfs snap create")
    hvm(a, "zfs snap sync")
    hvm(a, "zfs snap createsync")
    assert len(hvm(b, "zfs snap list dates")) == number + 2
    assert len(hvm(a, "zfs snap list all")) > number
    assert hvm(a, "zfs snap list lasts") and hvm(a, "snapshots")
    hvm(a, "zfs snap purge -show")
    hvm(a, "zfs snap purge -exec")
    hvm(a, "zfs kept list")
    hvm(a, "zfs umount", REFUSED)  # it runs
    hvm(b, "zfs mount", REFUSED)  # it is a replica

    # what there is nothing to do for
    hvm(a, "recover")
    hvm(b, "recover")
    hvm(a, "acknowledge")
    assert "hvm acknowledge" in hvm(a, "follow")[0]  # how the last one ended
    hvm(a, "scheduled --check")
    hvm(a, "backup unsecure")

    world.heard(names=world.names)
    record.update(waited=0.0, boot=0.0)
    whole(world, record, world.names, began)


def test_every_command_that_switches_off_does_so(world: World, record: Record) -> None:
    record.update(name="event-commands_off", title="commands of `hvm` that switch off VMs or a host, destroy, or change networks")
    began = time.time()
    a, b = world.a, world.b
    running, listed = sorted(world.names), functools.partial(names, a)

    # networks, typed on either host
    hvm(a, "net add br-v30 --interface eth0 --vlan 30")
    assert "br-v30: VLAN 30 of eth0" in hvm(b, "net list")
    hvm(b, "net apply")
    hvm(b, "net remove br-v30")
    assert not any("br-v30" in line for line in hvm(a, "net list"))

    # a set that is needed for nothing
    hvm(a, "zfs snap create")
    unneeded = hvm(a, "zfs snap list dates")[-1].split()[0]
    hvm(a, "zfs snap createsync")
    hvm(a, f"zfs snap destroy {unneeded}")
    assert unneeded not in [line.split()[0] for line in hvm(a, "zfs snap list dates")]

    # VMs: the lab's hear neither an agent nor ACPI, so a shutdown ends as its words say
    hvm(a, f"vm shutdown {VM} --agent-timeout 1 --acpi-timeout 2 --poweroff")
    assert VM in listed("stopped")
    hvm(a, "vms start")  # those with autostart
    assert listed("running") == running
    hvm(a, "vms shutdown --agent-timeout 1 --acpi-timeout 2 --poweroff")
    assert listed("running") == []
    hvm(a, "vms start")
    assert listed("running") == sorted(world.autostart)
    world.heard(names=world.autostart)
    hvm(a, "vms poweroff")
    assert listed("running") == []

    # back to a set, and what that has put aside goes
    set_b = stamps(a)[-1]
    hvm(a, "hv stop")
    hvm(a, f"rollback --to {set_b}")
    aside = hvm(a, "zfs kept list")[0].split()[0].rstrip(":")
    hvm(a, f"zfs kept drop {aside}")
    assert not any(aside in line for line in hvm(a, "zfs kept list"))
    hvm(a, "hv start")
    hvm(a, "vms restore")
    assert listed("running") == running
    world.heard(names=world.names)

    # the VMs move while they run, and the host that they have left is switched off
    hvm(a, "cancel", FAILED)  # there is nothing to cancel
    hvm(a, "migrate unsecure")
    assert (hvm(a, "status"), hvm(b, "status")) == (PASSIVE, ACTIVE)
    a.sh("hvm shutdown", check=False)
    off = time.monotonic() + 120
    while a in world.on() and time.monotonic() < off:
        time.sleep(1)
    assert a not in world.on()
    world.power(a, on=True)
    assert hvm(a, "status") == PASSIVE

    record.update(waited=0.0, boot=round(world.booting, 1))
    whole(world, record, world.names, began, may_boot=world.names, may_go_back=True, times=9)
