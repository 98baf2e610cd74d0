#!/usr/bin/env python3
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long VMs stand still for a consistent set: hvm_checkpoint beside the bare commands and beside save and restore.

Two VMs of 512 MiB whose RAM is full and which write to RAM and disk all the time, one on a file and one on a zvol. What is
measured is what is heard of them from outside: the longest time between two of their counts.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import statistics
import sys
import time
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))

import _command
import _figures
import _guests
import _hostside
import _scene
import _witness
from _figures import Figure
from _image import LabError, say
from _machines import FRESH, Lab
from _scene import ACTIVE

HEADING = "## hvm_checkpoint"

MEMORY_MIB = 512
#: The last of it may belong to the BIOS.
FILL_MIB = MEMORY_MIB - 12
#: 0.11 s of the guest's time per turn; in each turn it writes so much RAM, and so many sectors to its disk.
TICKS, LOAD_KIB, LOAD_SECTORS = 2, 256, 16
VMS = (
    _guests.Vm("filed", 10, True, ("file:ssd",), True, 47101, "52:54:00:48:57:01", MEMORY_MIB),
    _guests.Vm("blocked", 10, True, ("zvol:rot",), True, 47102, "52:54:00:48:57:02", MEMORY_MIB),
)

OURS, BARE, SAVE = "hvm_checkpoint", "bare virsh and zfs", "save, snapshot, restore"
NOTES = {
    BARE: "`virsh snapshot-create --live --no-metadata` of both at once, `zfs snapshot`, `virsh resume`; checks nothing",
    SAVE: "`hvm_checkpoint method=save`",
}

STATE_DIR = "/var/lib/libvirt/hvm"
#: What somebody would type: each VM's memory live into a file while its disks are left alone, then one snapshot, then on.
BARE_SCRIPT = f"""
set -e
for vm in {" ".join(vm.name for vm in VMS)}; do
  {{
    echo "<domainsnapshot><memory snapshot='external' file='{STATE_DIR}/$vm.bare'/>"
    echo "<disks><disk name='vda' snapshot='manual'/></disks></domainsnapshot>"
  }} > /run/$vm.xml
  virsh -q snapshot-create $vm /run/$vm.xml --live --no-metadata > /dev/null & pids="$pids $!"
done
for pid in $pids; do wait $pid; done
zfs snapshot -r ssd/shared@bare_$1
zfs snapshot -r rot/shared@bare_$1
for vm in {" ".join(vm.name for vm in VMS)}; do virsh -q resume $vm; done
rm -f {STATE_DIR}/*.bare
"""

#: No tool's snapshots are the next one's burden.
TIDY = """
for root in ssd/shared rot/shared; do
  for name in $(zfs list -H -o name -d 1 -t snapshot $root | sed 's/.*@//'); do zfs destroy -r $root@$name; done
done
zpool sync
"""


class Bench:
    def __init__(self, lab: Lab, rounds: int) -> None:
        self.lab = lab
        self.rounds = rounds
        #: tool -> the interruption of each VM in each round, as heard from outside, in seconds
        self.times: dict[str, list[float]] = {}
        self.whole: dict[str, list[float]] = {}

    def prepare(self) -> None:
        self.lab.up()
        self.lab.reset(FRESH)
        _scene.ansible(self.lab, "ansible-playbook", "install.yml")
        say(f"making {len(VMS)} VMs of {MEMORY_MIB} MiB")
        _hostside.make_vms(self.lab, VMS, ticks=TICKS, load_kib=LOAD_KIB, load_sectors=LOAD_SECTORS, fill_mib=FILL_MIB)
        self._heard(300)
        self.lab.run(ACTIVE, "cat > /run/hvm-bench-bare.sh", stdin=BARE_SCRIPT.encode())

    def _heard(self, timeout: float) -> None:
        """Wait until every VM has counted for a while."""
        began = time.time()
        while time.time() < began + timeout:
            time.sleep(1)
            counts = {vm.name: 0 for vm in VMS}
            for beat in _witness.load(_hostside.beats(self.lab)):
                if beat["kind"] == "C" and beat["t"] > began:
                    counts[beat["vm"]] += 1
            if min(counts.values()) >= 20:
                return
        raise LabError(f"not every VM counts after {timeout:.0f} s: {counts}")

    def _run(self, tool: str, number: int) -> None:
        if tool == BARE:
            self.lab.run(ACTIVE, f"sh /run/hvm-bench-bare.sh {number}", timeout=600)
        else:
            method = "save" if tool == SAVE else "checkpoint"
            _scene.ansible(self.lab, "ansible", ACTIVE.name, "-m", "hvm.pair.hvm_checkpoint", "-a", f"method={method}")

    def measure(self) -> None:
        tools = (OURS, BARE, SAVE)
        for number in range(self.rounds):
            for tool in _figures.order(tools, number):
                self._heard(120)
                began = time.time()
                self._run(tool, number)
                self.whole.setdefault(tool, []).append(time.time() - began)
                self._heard(120)
                reports = _witness.analyse(_witness.load(_hostside.beats(self.lab)), began, None, [vm.name for vm in VMS])
                wrong = [text for report in reports.values() for text in report.verdict]
                if wrong:
                    raise LabError(f"{tool}: {'; '.join(wrong)}")
                seconds = [report.interruption.seconds for report in reports.values() if report.interruption]
                self.times.setdefault(tool, []).extend(seconds)
                say(f"{tool}: {', '.join(f'{one:.2f}' for one in seconds)} s")
                self.lab.run(ACTIVE, TIDY, timeout=600)

    def figures(self) -> list[Figure]:
        return [
            Figure("checkpoint_bare_ratio", 1 / _figures.ratio(self.times, BARE, OURS), 1.3, least=False),
            Figure("save_checkpoint_ratio", _figures.ratio(self.times, SAVE, OURS), 10.0),
        ]


SECTION = """\
{heading}

From one run of `make bench-vms` on {date}: {rounds} rounds of each, one after another in every round, and every round
begins with another one. Two VMs of {memory} MiB, RAM full, one on a file and one on a zvol, which write {load} KiB of RAM
and {sectors} sectors of disk in each turn of 0.11 s of their own time; both hosts emulated on {cores} cores. Measured from
outside, by one clock: the longest time between two counts of a VM, each VM in each round.

| figure | value | goal | |
|---|---:|---:|---|
{figures}

{table}

The median of the whole run, from its call to its end: {whole}. Ours and save are tasks of Ansible.
"""


def report(bench: Bench, figures: t.Sequence[Figure]) -> str:
    return SECTION.format(
        heading=HEADING,
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        rounds=bench.rounds,
        memory=MEMORY_MIB,
        load=LOAD_KIB,
        sectors=LOAD_SECTORS,
        cores=os.cpu_count(),
        figures="\n".join(figure.row() for figure in figures),
        table="\n".join(_figures.table(bench.times, OURS, NOTES)),
        whole=", ".join(f"{tool} {statistics.median(values):.0f} s" for tool, values in bench.whole.items()),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench_vms.py", description=__doc__)
    parser.add_argument("--name", default=os.environ.get("HVM_LAB_NAME", "bench"), help="which lab (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="keep the results in docs/benchmarks.md")
    options = parser.parse_args()
    lab = Lab(options.name)
    bench = Bench(lab, options.rounds)
    try:
        bench.prepare()
        bench.measure()
        figures = bench.figures()
    finally:
        if not os.environ.get("HVM_LAB_KEEP"):
            with contextlib.suppress(LabError):
                lab.down()
    section = report(bench, figures)
    return _command.tell(section, HEADING, figures, options.record)


if __name__ == "__main__":
    _command.run(main)
