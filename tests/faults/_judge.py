# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what was observed after a fault to what is wrong, as sentences. No I/O."""

from __future__ import annotations

import dataclasses
import itertools
import re
import typing as t

import _witness

#: Seconds without a beat that count as not serving; a backup lets VMs stand still for less.
QUIET = 3.0
_HOST = re.compile(r"^\w+: \[(\S+?)\]")
_NEXT = re.compile(r'"Next: (.+)"')
_PLAYBOOK = re.compile(r"hvm\.pair\.(\w+)((?: hvm_\w+=\w+)*)")
_MODULE = re.compile(r"(hvm_vm) (state=\w+) for (.+), if ")


@dataclasses.dataclass(frozen=True)
class Advice:
    """:ivar host: the one that shows it.
    :ivar what: a playbook with its variables, or the module hvm_vm with its arguments.
    """

    host: str
    what: str
    words: tuple[str, ...] = ()

    @property
    def is_module(self) -> bool:
        return self.what == "hvm_vm"


def advised(output: str) -> list[Advice]:
    """What `status` says, of each host, by its lines with "Next:"; its results are printed as JSON. `recover` comes first."""
    found: list[Advice] = []
    host = ""
    for line in output.splitlines():
        named = _HOST.match(line)
        host = named[1] if named else host
        text = _NEXT.search(line)
        if not text:
            continue
        playbook, module = _PLAYBOOK.search(text[1]), _MODULE.search(text[1])
        if playbook:
            found.append(Advice(host, playbook[1], tuple(playbook[2].split())))
        elif module:
            found.append(Advice(host, module[1], (module[2], f"name={module[3].replace(', ', ',')}")))
        else:
            found.append(Advice(host, text[1]))  # what nobody can run is seen to fail
    return sorted(found, key=lambda one: one.what != "recover")


#: What only a fault of ours says: the library's last resort (_core/outcome.py), and Python's.
_BUG = re.compile(r"unexpected \w+(?:Error|Exception|Interrupt)\b.*|Traceback \(most recent call last\)")


def bug(output: str) -> str:
    """What a procedure has said that none may say, however it ends; "" when nothing."""
    found = _BUG.search(output)
    return found[0] if found else ""


def pair(sides: t.Sequence[t.Mapping[str, t.Any]], names: t.Collection[str], may: t.Collection[str] = ()) -> list[str]:
    """:param sides: what `observe` says of both hosts. :param names: VMs that must run. :param may: others that may."""
    said = []
    roles = sorted(side["role"]["now"] for side in sides)
    if roles != ["ACTIVE", "PASSIVE"]:
        said.append("the roles are " + " and ".join(f"{side['role']['now']} of {side['host']}" for side in sides))
    for side in sides:
        host, active = side["host"], side["role"]["now"] == "ACTIVE"
        if side["lock"]:
            said.append(f"{host} is still at work: {side['lock']}")
        if side["pending"]:
            said.append(f"{host} has something pending: {side['pending']['operation']} at '{side['pending']['step']}'")
        if side["overlays"]:
            said.append(f"{host} has overlays: {', '.join(sorted(side['overlays']))}")
        held = sorted(one for one, enabled in side["shared_ip"]["addresses"].items() if enabled)
        if active:
            if not side["hypervisor"]["running"]:
                said.append(f"{host} is ACTIVE and its hypervisor is stopped")
            away = sorted(set(names) - set(side["qemu"]))
            said += [f"{', '.join(away)}: not running on {host}, which is ACTIVE"] if away else []
            more = sorted(set(side["qemu"]).difference(names, may))
            said += [f"{', '.join(more)}: running on {host}, and was off"] if more else []
            still = sorted(name for name, vm in side["vms"].items() if name in side["qemu"] and vm["state"] != "running")
            said += [f"{', '.join(still)}: {side['vms'][still[0]]['state']} on {host}"] if still else []
            if len(held) != len(side["shared_ip"]["addresses"]):
                said.append(f"{host} is ACTIVE and has not the whole shared IP: {', '.join(held) or 'nothing of it'}")
        else:
            if side["qemu"] or side["hypervisor"]["running"]:
                said.append(f"{host} is {side['role']['now']} and runs: {', '.join(side['qemu']) or 'its hypervisor'}")
            said += [f"{host} is {side['role']['now']} and has the shared IP: {', '.join(held)}"] if held else []
            said += [f"{host}: {text}" for text in side["not_inert"]]
    return said


def counts(
    reports: t.Mapping[str, _witness.Report],
    names: t.Collection[str],
    floor: t.Mapping[str, int] | None,
    may_boot: t.Collection[str],
    times: int = 1,
) -> list[str]:
    """What is wrong with the VMs' counts.

    :param names: VMs that must be there at the end.
    :param floor: counts of the last completed set, when they may go back so far; None when not at all.
    :param may_boot: VMs that may have lost their memory, so many times at the most.
    """
    said = []
    for vm, report in reports.items():
        left = list(report.verdict)
        for last, counter, _t in report.boots:
            text = f"{vm} lost its RAM: cold boot at {counter} after {last}"
            if vm in may_boot and len(report.boots) <= times and text in left:
                left.remove(text)
        for last, counter in report.rollbacks:
            text = f"{vm} went back from {last} to {counter}"
            if floor is not None and text in left:
                left.remove(text)
                if counter < floor[vm]:
                    left.append(f"{vm} went back from {last} to {counter}, and the last completed set has {floor[vm]}")
        if vm not in names:
            left = [text for text in left if not text.startswith((f"{vm} is silent", f"{vm} was not heard"))]
        said += left
    return said


def on_host(beats: t.Iterable[_witness.Beat], host: str, before: float) -> set[str]:
    """VMs that were heard from this host last, before that moment."""
    last: dict[str, str] = {}
    for beat in beats:
        if beat["kind"] in "BC" and beat["t"] < before:
            last[beat["vm"]] = beat["host"]
    return {vm for vm, where in last.items() if where == host}


def booted(reasons: t.Mapping[str, str], may_boot: t.Collection[str]) -> list[str]:
    """Whether a VM runs from its disks that should run from its memory; also where its first beats were not heard.

    :param reasons: VM -> ``virsh domstate --reason``. The backup before has stopped and let go every VM, so "booted" is later.
    """
    return [f"{vm} was booted" for vm, reason in sorted(reasons.items()) if "(booted)" in reason and vm not in may_boot]


def silence(beats: t.Iterable[_witness.Beat], names: t.Collection[str], since: float) -> float:
    """The longest time in seconds for which one of these VMs was not heard, of what ends later than `since`."""
    heard: dict[str, list[float]] = {name: [] for name in names}
    for beat in beats:
        if beat["kind"] in "BC" and beat["vm"] in heard:
            heard[beat["vm"]].append(beat["t"])
    pauses = [two - max(one, since) for times in heard.values() for one, two in itertools.pairwise(times) if two > since]
    return round(max(pauses, default=0.0), 1)


def serving(beats: t.Iterable[_witness.Beat], names: t.Collection[str], fault: float, until: float) -> float | None:
    """Seconds from the fault until the last of the VMs is heard again; 0 when none was away, None when one is not heard.

    :param until: interruptions that begin later are of something else.
    """
    heard: dict[str, list[float]] = {name: [] for name in names}
    for beat in beats:
        if beat["kind"] in "BC" and beat["vm"] in heard:
            heard[beat["vm"]].append(beat["t"])
    longest = 0.0
    for times in heard.values():
        if not times or times[-1] < fault:
            return None
        gaps = [(one, two) for one, two in itertools.pairwise(times) if two - one > QUIET and two > fault and one < until]
        if gaps:
            longest = max(longest, gaps[-1][1] - fault)
    return round(longest, 1)


Snapshots = t.Mapping[str, t.Sequence[str]]


def incremental(active: Snapshots, passive: Snapshots, name: str) -> list[str]:
    """Whether the set `name` came as an increment: the replica has what it was based on.

    :param active, passive: dataset -> ``NAME GUID`` of its snapshots, oldest first.
    """
    said = []
    for dataset, snapshots in active.items():
        both = [one for one in snapshots if one in passive.get(dataset, [])]
        if not both or not both[-1].startswith(f"{name} "):
            said.append(f"{dataset} has not arrived with {name}")
        elif len(both) < 2:
            said.append(f"{dataset} was sent as a whole: the hosts have no older snapshot in common")
    return said
