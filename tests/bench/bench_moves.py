#!/usr/bin/env python3
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long VMs stand still for a migration: migrate_unsecure beside migrate_secure, there and back, on the same VMs.

The lab's five VMs on files, qcow2 and zvols, with more memory, all of which write to RAM and disk all the time. What is measured
is what is heard of them from outside: the longest time between two of their counts.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
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

HEADING = "## hvm_move"
MEMORY_MIB = 64
TICKS, LOAD_KIB, LOAD_SECTORS = 2, 64, 8
VMS = [dataclasses.replace(vm, memory=MEMORY_MIB) for vm in _guests.VMS]
NAMES = [vm.name for vm in VMS if vm.running]
OURS, SECURE = "migrate_unsecure", "migrate_secure"


class Bench:
    def __init__(self, lab: Lab, rounds: int, secure: int) -> None:
        self.lab, self.rounds, self.secure = lab, rounds, secure
        #: procedure -> the interruption of each VM in each migration, as heard from outside, in seconds
        self.times: dict[str, list[float]] = {}
        self.whole: dict[str, list[float]] = {}

    def prepare(self) -> None:
        self.lab.up()
        self.lab.reset(FRESH)
        _scene.ansible(self.lab, "ansible-playbook", "install.yml")
        _hostside.make_vms(self.lab, VMS, ticks=TICKS, load_kib=LOAD_KIB, load_sectors=LOAD_SECTORS, fill_mib=MEMORY_MIB - 12)
        self._heard()
        _scene.ansible(self.lab, "ansible-playbook", "backup_secure.yml")

    def _heard(self, timeout: float = 300) -> None:
        began = time.time()
        counts: dict[str, int] = {}
        while time.time() < began + timeout:
            time.sleep(1)
            counts = dict.fromkeys(NAMES, 0)
            for beat in _witness.load(_hostside.beats(self.lab)):
                if beat["kind"] == "C" and beat["t"] > began:
                    counts[beat["vm"]] += 1
            if min(counts.values()) >= 20:
                return
        raise LabError(f"not every VM counts after {timeout:.0f} s: {counts}")

    def _migrate(self, procedure: str) -> None:
        """:raises LabError: for anything that the witness holds against a VM: a count lost, its memory and its disks disagree."""
        self._heard()
        began = time.time()
        _scene.ansible(self.lab, "ansible-playbook", f"{procedure}.yml")
        self.whole.setdefault(procedure, []).append(time.time() - began)
        self._heard()
        reports = _witness.analyse(_witness.load(_hostside.beats(self.lab)), began, None, NAMES)
        wrong = [text for report in reports.values() for text in report.verdict]
        if wrong:
            raise LabError(f"{procedure}: {'; '.join(wrong)}")
        seconds = [report.interruption.seconds for report in reports.values() if report.interruption]
        self.times.setdefault(procedure, []).extend(seconds)
        say(f"{procedure}: {', '.join(f'{one:.2f}' for one in seconds)} s")

    def measure(self) -> None:
        for number in range(self.rounds):
            tools = (OURS, SECURE) if number < self.secure else (OURS,)
            for procedure in _figures.order(tools, number):
                for dummy in ("there", "back"):
                    self._migrate(procedure)

    def figures(self) -> list[Figure]:
        return [
            Figure("move_migrations", len(self.whole[OURS]), 2 * self.rounds),
            Figure("move_secure_share", 1 / _figures.ratio(self.times, SECURE, OURS), 0.2, least=False),
            Figure("move_secure_share_of_longest", max(self.times[OURS]) / max(self.times[SECURE]), 0.2, least=False),
        ]


SECTION = """\
{heading}

From one run of `make bench-moves` on {date}: {moves} times `migrate_unsecure` and {saves} times `migrate_secure`, there and
back. Five VMs of {memory} MiB on files, qcow2 and zvols, which write {load} KiB of RAM and {sectors} sectors on each disk in each
turn of 0.11 s of their own time; both hosts emulated on {cores} cores. Measured from outside, by one clock: the longest time
between two counts of a VM, each VM in each migration. After each, the witness has found no count lost, and that memory and disks
agree.

| figure | value | goal | |
|---|---:|---:|---|
{figures}

{table}

The median of the whole run, from its call to its end: {whole}.
"""


def report(bench: Bench, figures: t.Sequence[Figure]) -> str:
    return SECTION.format(
        heading=HEADING,
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        moves=len(bench.whole[OURS]),
        saves=len(bench.whole[SECURE]),
        memory=MEMORY_MIB,
        load=LOAD_KIB,
        sectors=LOAD_SECTORS,
        cores=os.cpu_count(),
        figures="\n".join(figure.row() for figure in figures),
        table="\n".join(_figures.table(bench.times, OURS, {})),
        whole=", ".join(f"{tool} {statistics.median(values):.0f} s" for tool, values in bench.whole.items()),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench_moves.py", description=__doc__)
    parser.add_argument("--name", default=os.environ.get("HVM_LAB_NAME", "bench"), help="which lab (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="times there and back (default: %(default)s)")
    parser.add_argument("--secure", type=int, default=1, help="rounds with migrate_secure, too (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="keep the results in docs/benchmarks.md")
    options = parser.parse_args()
    lab = Lab(options.name)
    bench = Bench(lab, options.rounds, max(options.secure, 1))
    try:
        bench.prepare()
        bench.measure()
        figures = bench.figures()
    finally:
        if not os.environ.get("HVM_LAB_KEEP"):
            with contextlib.suppress(LabError):
                lab.down()
    return _command.tell(report(bench, figures), HEADING, figures, options.record)


if __name__ == "__main__":
    _command.run(main)
