#!/usr/bin/env python3
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hvm_zfs_sync beside syncoid, bzfs, zfs-autobackup and the bare pipe, on the two hosts of the lab."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import sys
import time
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))

import _command
import _figures
import _scene
import _tools
from _figures import Figure
from _image import LabError, say
from _machines import Lab
from _scene import ACTIVE, LARGE, LARGE_MIB, MANY, PASSIVE, Counts, Ran

#: Seconds; what takes longer is measured once.
SLOW = 60.0

HEADING = "## hvm_zfs_sync"

OURS = "hvm_zfs_sync"
SYNCOID, BZFS, AUTOBACKUP = "syncoid", "bzfs", "zfs-autobackup"
PEERS = (SYNCOID, BZFS, AUTOBACKUP)
BZFS_KEPT = "bzfs, connection left open"
PIPE = "bare pipe"
LISTS = "bare zfs list"

TO = f"root@{PASSIVE.name}"
#: Snapshots that were taken before, all of them below the root, as root.
SYNCOID_WORDS = ["syncoid", "--quiet", "--recursive", "--no-sync-snap", "--no-privilege-elevation"]
#: What bzfs's documentation names for speed: its cache where there is nothing to send, no estimate for small snapshots.
BZFS_WORDS = ["bzfs", MANY, f"{TO}:{MANY}", "--recursive", "--no-privilege-elevation", "--quiet"]
AUTOBACKUP_WORDS = [
    *("zfs-autobackup", "--ssh-target", TO, "--ssh-config", f"{_tools.HOME}/ssh_config", "--strip-path", "1"),
    *("--utc", "--snapshot-format", f"hvm_%Y%m%dT%H%M%SZ_{_scene.PAIR}_C"),
    *("--no-snapshot", "--no-thinning", "--no-holds", "--no-guid-check", "--no-progress", "bench", "bench"),
]

LIST = f"zfs list -Hp -r -t snapshot -o name,guid,createtxg {MANY} > /dev/null"

COMMANDS: dict[str, list[str]] = {
    OURS: ["python3", "-IB", f"{_tools.HOME}/_ours.py"],
    SYNCOID: [*SYNCOID_WORDS, MANY, f"{TO}:{MANY}"],
    AUTOBACKUP: AUTOBACKUP_WORDS,
}
IDLE = {
    **COMMANDS,
    BZFS: [*BZFS_WORDS, "--cache-snapshots"],
    # What nobody can do without: a look at both hosts, over one connection.
    LISTS: ["bash", "-c", f"{LIST} & ssh {TO} {LIST}; wait"],
}
CHANGES = {**COMMANDS, BZFS: [*BZFS_WORDS, "--no-estimate-send-size"]}

NOTES = {
    BZFS_KEPT: "run within ten minutes after another one",
    LISTS: "one `zfs list` on each host, one ssh; decides nothing",
    PIPE: "all streams one after another over one ssh; decides and checks nothing",
}


def many_pipe(before: str, after: str) -> list[str]:
    """The floor of many small streams: each read from and written to the same connection, one after another."""
    names = f"zfs list -H -o name -r -t filesystem,volume {MANY}"
    send = f"for d in $({names}); do zfs send -L -c -e -I @{before} $d@{after} || exit 1; done"
    receive = f"for d in $({names}); do zfs receive -u -s $d || exit 1; done"
    return ["bash", "-o", "pipefail", "-c", f"({send}) | ssh {TO} '{receive}'"]


LARGE_PIPE = [
    *("bash", "-o", "pipefail", "-c"),
    f"zfs send -L -c -e {LARGE}@{{set}} | ssh {TO} zfs receive -u -s -o canmount=noauto -o mountpoint=none {LARGE}",
]


class Bench:
    def __init__(self, lab: Lab, rounds: int) -> None:
        self.lab = lab
        self.rounds = rounds
        self.times: dict[str, dict[str, list[float]]] = {"idle": {}, "changes": {}, "large": {}}
        self.counts: dict[str, Counts] = {}
        self.requests: list[str] = []
        self.set_number = _scene.SNAPSHOTS - 1
        self.ansible = 0.0

    def _keep(self, scene: str, tool: str, ran: Ran) -> None:
        self.times[scene].setdefault(tool, []).append(ran.seconds)
        say(f"{scene}: {tool} {ran.seconds:.2f} s")

    def _due(self, scene: str, tools: t.Sequence[str], number: int) -> t.Iterator[str]:
        """The tools of a round; without those that took so long that a second time would tell nothing new."""
        times = self.times[scene]
        return (tool for tool in _figures.order(tools, number) if max(times.get(tool, [0.0])) < SLOW)

    # ---- nothing to send

    def idle(self) -> None:
        _scene.point_pair_at(self.lab, MANY)
        tools = list(IDLE)
        for tool in (OURS, BZFS):  # the others take minutes, and nobody doubts that they start hundreds
            say(f"idle: {tool}, counted, not timed")
            ran, self.counts[tool] = _scene.counted(self.lab, IDLE[tool])
            _need(tool, ran)
            if tool == OURS:
                answer = json.loads(ran.out)
                self.requests = answer["requests"]
                if answer["changed"] or not answer["verified"]:
                    raise LabError(f"there was something to send when there should not have been: {ran.out[-300:]}")
        for number in range(self.rounds):
            for tool in self._due("idle", tools, number):
                self._keep("idle", tool, _need(tool, _scene.timed(self.lab, IDLE[tool])))
                if tool == BZFS:
                    self._keep("idle", BZFS_KEPT, _need(tool, _scene.timed(self.lab, IDLE[BZFS], keep=True)))
        start = time.monotonic()
        _scene.ansible_sync(self.lab)
        self.ansible = time.monotonic() - start

    # ---- small changes

    def changes(self) -> None:
        tools = [*CHANGES, PIPE]
        for number in range(self.rounds):
            for tool in self._due("changes", tools, number):
                before = _scene.set_name(self.set_number)
                self.set_number += 1
                after = _scene.set_name(self.set_number)
                _scene.change(self.lab)
                self.lab.run(ACTIVE, f"zfs snapshot -r {MANY}@{after}")
                command = many_pipe(before, after) if tool == PIPE else CHANGES[tool]
                self._keep("changes", tool, _need(tool, _scene.timed(self.lab, command)))
                self._arrived(tool, after)
                self._tidy()

    def _arrived(self, tool: str, name: str) -> None:
        every = f"$(zfs list -H -o name -r -t filesystem,volume {MANY} | sed 's/$/@{name}/')"
        here, there = (self.lab.run(host, f"zfs list -Hp -o name,guid {every}", check=False).stdout for host in (ACTIVE, PASSIVE))
        if here != there or len(here.splitlines()) != _scene.DATASETS:
            raise LabError(f"{tool} has brought {len(there.splitlines())} of {_scene.DATASETS} snapshots {name} over")

    def _tidy(self) -> None:
        """What a tool has left for itself is not the next one's burden: bookmarks, and a replica with the source's properties."""
        inert = f"zfs inherit -r readonly {MANY}; zfs inherit -r volmode {MANY}; zfs set readonly=on volmode=none {MANY}"
        self.lab.run(PASSIVE, inert, timeout=300)
        self.lab.run(ACTIVE, f"zfs list -H -o name -r -t bookmark {MANY} | xargs -r -n1 -P4 zfs destroy", timeout=300)

    # ---- one large stream

    def large(self) -> None:
        _scene.point_pair_at(self.lab, LARGE)
        name = _scene.LARGE_SET
        commands = {OURS: COMMANDS[OURS], PIPE: [word.format(set=name) for word in LARGE_PIPE]}
        for number in range(self.rounds):
            for tool in _figures.order(list(commands), number):
                self._keep("large", tool, _need(tool, _scene.timed(self.lab, commands[tool])))
                self.lab.run(PASSIVE, f"zfs list {LARGE}@{name} > /dev/null")
                release = f"zfs release -r hvm:{_scene.PAIR} {LARGE}@{name} 2>/dev/null"
                self.lab.run(PASSIVE, f"{release}; zfs destroy -r {LARGE}", timeout=300)
                forget = f"zfs destroy {LARGE}#{name} 2>/dev/null; rm -f /var/lib/hvm/holds.json"
                self.lab.run(ACTIVE, f"{release}; {forget}", check=False)

    # ---- what came out

    def figures(self) -> list[Figure]:
        found = [Figure(f"idle_{peer}_ratio", _figures.ratio(self.times["idle"], peer, OURS), 1.0) for peer in PEERS]
        ours = self.counts[OURS]
        found += [
            Figure("idle_connections", ours.connections, 1, least=False),
            Figure("idle_round_trips", len(self.requests), 1, least=False),
            Figure("idle_zfs_processes_here", ours.zfs_here, 2, least=False),
            Figure("idle_zfs_processes_there", ours.zfs_there, 2, least=False),
            Figure("changes_syncoid_ratio", _figures.ratio(self.times["changes"], SYNCOID, OURS), 3.0),
            Figure("changes_bzfs_ratio", _figures.ratio(self.times["changes"], BZFS, OURS), 1.0),
            Figure("large_pipe_ratio", _figures.ratio(self.times["large"], PIPE, OURS), 0.97),
        ]
        return found


def _need(tool: str, ran: Ran) -> Ran:
    if ran.rc:
        raise LabError(f"{tool} failed ({ran.rc}): {(ran.err or ran.out).strip()[-800:]}")
    return ran


SECTION = """\
{heading}

From one run of `{command}` on {date}: {rounds} rounds of each, the tools one after another in every round, and every round
begins with another one. {versions}; both hosts emulated on {cores} cores.

Each tool is one process on the ACTIVE host, timed from its start to its end, with snapshots that are there already. All of them
find the same datasets in the same state and bring over the same; after each it is checked that every snapshot has arrived under
its GUID. Ours is what the module does on the host; as a task of Ansible the same took {ansible:.1f} s with nothing to send, and
most of that is Ansible's. Every run begins without an open ssh connection, as one that a timer has started; what a run took
longer than {slow:.0f} s for was not repeated.

| figure | value | goal | |
|---|---:|---:|---|
{figures}

A ratio is the other's median time over ours.

Nothing to send: {datasets} datasets ({filesystems} filesystems, {volumes} zvols) with {snapshots} snapshots each.

{idle}

What that starts, counted in a run that is not timed:

| tool | `zfs` here | `zfs` there | `zpool` here | `zpool` there | new ssh connections |
|---|---:|---:|---:|---:|---:|
{counts}

Small changes: {changed} KiB on each of the {datasets} datasets.

{changes}

One large stream: a new dataset of {large_mib} MiB that cannot be compressed.

{large}

How each was called, and why so:

* syncoid: `{syncoid}`. Without a snapshot of its own, as the others take none either; it would be one more command for each
  dataset. The rest are its defaults (lzop, pv and mbuffer are there).
* bzfs: `{bzfs}` with nothing to send; for small changes with `--no-estimate-send-size` in place of the cache. That is what its
  documentation names for each case. Its connection (ssh's ControlMaster) serves the whole run.
* zfs-autobackup: `{autobackup}`. Told how to read our snapshots' names; without holds, check of GUIDs and thinning, which its
  documentation calls faster. The ssh configuration shares one connection (ControlMaster), as it advises.
* bare pipe: `zfs send -L -c -e | ssh | zfs receive -u -s`, the same flags as ours.
"""


def report(bench: Bench, versions: t.Mapping[str, str], figures: t.Sequence[Figure], command: str) -> str:
    """The section of docs/benchmarks.md."""
    tables = {scene: "\n".join(_figures.table(times, OURS, NOTES)) for scene, times in bench.times.items()}
    return SECTION.format(
        heading=HEADING,
        command=command,
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        rounds=bench.rounds,
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        cores=os.cpu_count(),
        slow=SLOW,
        ansible=bench.ansible,
        figures="\n".join(figure.row() for figure in figures),
        datasets=_scene.DATASETS,
        filesystems=_scene.FILESYSTEMS + 1,
        volumes=_scene.VOLUMES,
        snapshots=_scene.SNAPSHOTS,
        counts="\n".join(f"| {tool} | {' | '.join(map(str, count))} |" for tool, count in bench.counts.items()),
        changed=_scene.CHANGED_KIB,
        large_mib=LARGE_MIB,
        syncoid=" ".join(COMMANDS[SYNCOID]),
        bzfs=" ".join(IDLE[BZFS]),
        autobackup=" ".join(AUTOBACKUP_WORDS),
        **tables,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench_zfs.py", description=__doc__)
    parser.add_argument("--name", default=os.environ.get("HVM_LAB_NAME", "bench"), help="which lab (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each measurement (default: %(default)s)")
    parser.add_argument("--prepare", action="store_true", help="only prepare the hosts, and keep that state for the next run")
    parser.add_argument("--record", action="store_true", help="keep the results in docs/benchmarks.md")
    options = parser.parse_args()
    lab = Lab(options.name)
    start = time.monotonic()
    try:
        _scene.prepare(lab, {OURS: IDLE[OURS], BZFS: IDLE[BZFS]})
        if options.prepare:
            return 0
        versions = _tools.versions(lab, ACTIVE)
        say(f"prepared after {time.monotonic() - start:.0f} s; {options.rounds} rounds of each begin")
        bench = Bench(lab, options.rounds)
        for scene in (bench.idle, bench.changes, bench.large):
            scene()
        figures = bench.figures()
    finally:
        if not os.environ.get("HVM_LAB_KEEP"):
            with contextlib.suppress(LabError):
                lab.down()
    section = report(bench, versions, figures, "make bench-zfs")
    say(f"{time.monotonic() - start:.0f} s in all")
    return _command.tell(section, HEADING, figures, options.record)


if __name__ == "__main__":
    _command.run(main)
