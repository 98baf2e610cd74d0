# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Report of a backup or a migration, as lines: for playbooks and for mails. Runs on the controller, too."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.progress import human


def report(
    result: dict[str, t.Any],
    active: str | None = None,
    sync: dict[str, t.Any] | None = None,
    prune: dict[str, t.Any] | None = None,
) -> list[str]:
    """Pure: the lines of the report."""
    sync, prune = sync or {}, prune or {}
    if result.get("plan"):
        steps = [*result["plan"], *(f"old sets that go: {line}" for line in pruned(prune))]
        return ["Plan (nothing was changed):", *(f"  {line}" for line in steps)]
    lines = [f"ACTIVE host: {result.get('active') or active}"]
    vms = result.get("vms", {})
    lines.append(f"Interruption of {len(vms)} VMs:" if vms else "No VM was running")
    lines += [line for name, vm in sorted(vms.items()) for line in interruption(name, vm)]
    if result.get("set"):
        lines.append(
            f"Snapshot set: {result['set']} (B: VM states inside)"
            if result["set"].endswith("_B")
            else f"Snapshot set: {result['set']}"
        )
    sent = result.get("bytes", sync.get("bytes"))
    if sent is not None:
        lines.append(f"Sent: {human(sent)}, verified on the other host by GUID")
    moved = any("mode" in vm for vm in vms.values())
    if result.get("presync"):
        before = "Before the VMs moved: " if moved else "Before the interruption: "
        lines.append(before + ", ".join(f"{human(one['bytes'])} in {one['seconds']:.1f} s" for one in result["presync"]))
    if result.get("memory"):
        lines.append(f"Memory written in {result['memory']:.1f} s, while the VMs ran")
    if result.get("steps"):
        # of VMs that move one by one each has an interruption of its own, in the midst of a step
        lines.append(
            f"Steps (the longest interruption of a VM: {result['window']:.1f} s):"
            if moved
            else f"Steps of the interruption ({result['window']:.1f} s, all in one process, no Ansible task among them):"
        )
        width = max(28, *(len(one["step"]) for one in result["steps"]))
        lines += [f"  {one['step']:<{width}} {one['seconds']:8.2f} s" for one in result["steps"]]
    gone = pruned(prune)
    if gone:
        lines.append(f"Old sets pruned: {', '.join(gone)}")
    for host, one in sorted(prune.items()):
        lines += [f"Old set {name} stays on {host}: {'; '.join(why)}" for name, why in sorted(one.get("blocked", {}).items())]
    if result.get("total") is not None:
        lines.append(f"Total: {result['total']:.1f} s")
    return lines


#: How a VM is in a set, where that is not the best that there is.
HOW = {
    "save": "saved and restored",
    "frozen": "without its memory: paused",
    "quiesced": "filesystems frozen by its agent",
    "stopped": "was shut down meanwhile",
    "crashed": "its disks are in the set as after a power cut",
    "left out": "left out: autobackup=no",
}


#: How a VM has moved to the other host.
MOVED = {
    "live": "live",
    "direct": "direct: paused meanwhile",
    "secure": "saved and restored",
}
#: A live move that did not end in its time.
LATE = "live, and paused when its time was over"
#: Frozen, off by then, or moved by an earlier run.
STILL = "no interruption in this run"


def _how(vm: dict[str, t.Any]) -> str:
    if "mode" not in vm:
        return HOW.get(vm.get("method", ""), "")
    if "interruption" not in vm:
        return STILL
    return LATE if vm.get("late") else MOVED.get(vm["mode"], str(vm["mode"]))


def interruption(name: str, vm: dict[str, t.Any]) -> list[str]:
    """The line of one VM; none when nothing is known of it."""
    how = _how(vm)
    if "interruption" not in vm:
        return [f"  {name:<16}        -    {how}"] if how else []
    seconds = vm["interruption"]
    text = f"{seconds:8.1f} s" if seconds >= 10 or "method" not in vm else f"{seconds:8.2f} s"
    return [f"  {name:<16} {text}{f'  {how}' if how else ''}"]


def pruned(prune: dict[str, t.Any]) -> list[str]:
    """What went on each host: the number of sets, and the bytes where ZFS could tell."""
    words = []
    for host, one in sorted(prune.items()):
        if one.get("destroyed"):
            back = f" ({human(one['bytes'])})" if one.get("bytes") is not None else ""
            words.append(f"{len(one['destroyed'])} on {host}{back}")
    return words
