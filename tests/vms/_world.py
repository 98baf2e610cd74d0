# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pair as a test of VMs sees it."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t
from pathlib import Path

import _guests
import _hostside
import _witness
from _hosts import DRIVER, HOSTS, Host, Lab, ansible

ROOT = Path(__file__).parents[2]
STATE_DIR = "/var/lib/libvirt/hvm"
#: The lab's VMs with more memory, so that there is time to break something while it is written.
MEMORY_MIB = 96
VMS = [dataclasses.replace(vm, memory=MEMORY_MIB) for vm in _guests.VMS]
#: RAM is full. Each turn of a guest takes 0.11 s of its own time, changes so many KiB of RAM, and writes so many sectors.
LOAD = {"ticks": 2, "load_kib": 128, "load_sectors": 8, "fill_mib": MEMORY_MIB - 12}

#: Before the real zfs: at the first set that is taken, once.
AT_THE_SNAPSHOT = """
if [ "$1" = snapshot ] && mkdir /run/hvm-cut 2>/dev/null; then
{body}
fi
"""
#: Of a VM that is not heard.
LOOK_AT = """
pid=$(cat /run/libvirt/qemu/{vm}.pid 2>/dev/null) || {{ echo no process; exit 0; }}
timeout 10 virsh domstate --reason {vm} 2>&1
timeout 10 virsh qemu-monitor-command {vm} --hmp info status 2>&1
for task in /proc/$pid/task/*; do echo "$(cat $task/comm) $(cut -d' ' -f3,14,15 $task/stat) $(cat $task/wchan)"; done
uptime
tail -n 5 /var/log/libvirt/qemu/{vm}.log
"""
#: A state of the lab: the VMs made and counting.
READY = "vms"


class World:
    """The pair with its VMs running on hva, heard by a witness.

    :cvar vms, load: the VMs and what they do. :cvar ready: name of the lab's state in which they run.
    """

    vms: t.Sequence[_guests.Vm] = VMS
    load: t.Mapping[str, int] = LOAD
    ready = READY
    enough = 10

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.a, self.b = (Host(lab, host) for host in HOSTS)
        self.names = [vm.name for vm in self.vms if vm.running]

    def make(self) -> None:
        ansible(self.lab, "ansible-playbook", "install.yml")
        _hostside.make_vms(self.lab, self.vms, **self.load)
        driver = (ROOT / "tests/zfs/_driver.py").read_text(encoding="utf-8")
        for host in (self.a, self.b):
            host.put(DRIVER, driver)
        self._awake()

    def _awake(self) -> None:
        """One in twenty emulations of an emulation hangs in its firmware. Nothing of ours has touched the VM yet: it is reset."""
        _hostside.start_witness(self.lab, self.vms)
        with contextlib.suppress(AssertionError):
            self.heard(number=1, timeout=60)
        for name in sorted(set(self.names) - {beat["vm"] for beat in self.beats()}):
            print(f"{name} hangs in its first boot, and is reset", flush=True)
            self.a.sh(f"virsh -q reset {name}")

    def fresh(self) -> None:
        """All VMs run and count; whatever was broken is as it was."""
        for host in (self.a, self.b):
            host.forget()
        self.lab.reset(self.ready)
        self.listen()

    def listen(self) -> None:
        _hostside.start_witness(self.lab, self.vms)
        self.heard()

    def beats(self) -> list[dict[str, t.Any]]:
        return _witness.load(_hostside.beats(self.lab))

    def heard(self, number: int | None = None, timeout: float = 120, names: t.Sequence[str] | None = None) -> None:
        """Wait until each VM has counted so often from now on; `enough` times when it is not said."""
        number = self.enough if number is None else number
        began = time.time()
        wanted = set(names if names is not None else self.names)
        counts: dict[str, int] = {}
        while time.time() < began + timeout:
            time.sleep(0.5)
            counts = dict.fromkeys(wanted, 0)
            for beat in self.beats():
                if beat["kind"] == "C" and beat["t"] > began and beat["vm"] in wanted:
                    counts[beat["vm"]] += 1
            if min(counts.values()) >= number:
                return
        silent = [name for name, count in counts.items() if count < number]
        raise AssertionError(f"not every VM counts after {timeout:.0f} s: {counts}\n{self.looked_at(silent)}")

    def looked_at(self, names: t.Sequence[str]) -> str:
        """What can be seen of these VMs from their hosts: libvirt's word, QEMU's, where its threads wait, and its log."""
        found = []
        for host in (self.a, self.b):
            for name in names:
                try:
                    found.append(f"---- {name} on {host.name}\n{host.sh(LOOK_AT.format(vm=name), check=False, timeout=60)}")
                except Exception as exc:  # noqa: BLE001  one that is off, or does not answer
                    found.append(f"---- {name} on {host.name}: {exc}")
        return "\n".join(found)

    def reports(self, after: float) -> dict[str, t.Any]:
        return _witness.analyse(self.beats(), after, None, self.names)

    def states(self, host: Host | None = None) -> dict[str, str]:
        """libvirt's word for each VM, asked anew."""
        script = 'for vm in $(virsh -q list --all --name); do echo "$vm $(virsh -q domstate $vm)"; done'
        return dict(line.split(" ", 1) for line in (host or self.a).sh(script).splitlines() if " " in line)

    def left(self) -> list[str]:
        """What lies in the directory of the state images."""
        return self.a.sh(f"ls -A {STATE_DIR}").split()
