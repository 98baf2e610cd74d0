# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Taking the collection off a host: why not, how the host ends, and what is left on it. Pure.

The data stay, whatever is said. A host that is ACTIVE and runs ends as one that stands by itself: its VMs go on, and at its next
boot it mounts its datasets and starts libvirt by itself, as any other host. Every other host ends with its datasets as they are,
read-only and not mounted, and with libvirt off: started by mistake, a copy would run beside the original.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import ACTIVE, DIVERGED, UNKNOWN

#: What the operator may name, so that it is no reason to refuse any more.
WORDS = ("pending", "saved", "stopped", "unknown", "diverged")

#: What `_procedure.uninstall.look` returns.
Found = t.Mapping[str, t.Any]


def stands(found: Found) -> bool:
    """Whether the host goes on by itself."""
    return bool(found["role"]["now"] == ACTIVE and found["gate_open"] and found["hypervisor"])


def refusals(found: Found, despite: t.Collection[str]) -> list[Finding]:
    """Why nothing is removed now.

    :param despite: words of WORDS that the operator has named.
    """
    host, now = found["host"], found["role"]["now"]
    reasons: list[tuple[str, str, str]] = []
    entry = found["pending"]
    if entry:
        what = f"{entry['operation']}, begun {entry['started']}, did not end: it was last at '{entry['step']}'"
        reasons.append(("pending", what, "hvm.pair.recover finishes it or undoes it."))
    if found["saved"]:
        reasons.append(
            (
                "saved",
                f"VMs have state images: {', '.join(found['saved'])}",
                "Restore them (hvm_vm state=restored); without this collection nothing proves that an image fits its disks.",
            )
        )
    if now == ACTIVE and not stands(found):
        reasons.append(
            (
                "stopped",
                "it is ACTIVE, and its hypervisor is stopped",
                "Start it (hvm_hypervisor state=started), so that the host stands by itself afterwards.",
            )
        )
    if now == UNKNOWN and found["role"]["since"]:
        what = "it was ACTIVE before it rebooted, and nobody has said since whether it still is"
        reasons.append(("unknown", what, "hvm.pair.recover finds out."))
    if now == DIVERGED:
        what = "it is DIVERGED: it holds writes that the other host lacks"
        reasons.append(("diverged", what, "Decide about them first (hvm.pair.rejoin)."))
    findings = [
        Finding(what, f"{remedy} Or remove it all the same: hvm_uninstall_despite={word}.", host)
        for word, what, remedy in reasons
        if word not in despite
    ]
    # without a role it is the end of a removal, or the pair was never made
    if found["qemu"] and found["role"]["since"] and not stands(found):
        findings.append(
            Finding(
                f"VMs run here: {', '.join(found['qemu'])}, although it is not the host that goes on with them",
                "Shut them down first.",
                host,
            )
        )
    return findings


def boots(found: Found) -> list[str]:
    """Filesystems that are to be mounted by themselves from the next boot on."""
    return list(found["mountable"]) if stands(found) else []


def left(found: Found, released: bool) -> list[str]:
    """What stays on the host, and how it is used or removed, as sentences.

    :param released: whether the holds and bookmarks of the replication went.
    """
    roots = " ".join(found["datasets"])
    lines = [
        (
            f"datasets: {', '.join(found['datasets'])}, with everything below, {found['snapshots']} snapshots in {found['sets']} "
            f"sets of the pair (zfs list -r -t all {roots})"
        )
    ]
    if stands(found):
        points = ", ".join(found["mountable"].values())
        lines.append(f"they are mounted at each boot from now on (canmount=on): {points}")
        lines.append("libvirt goes on with the VMs that run, and starts by itself at boot")
        if found["autostart"]:
            first = found["autostart"][0]
            lines.append(
                f"VMs with autostart=yes: {', '.join(found['autostart'])}. libvirt does not start them by itself: "
                f"virsh autostart {first}"
            )
        if found["addresses"]:
            lines.append(
                f"shared IP: {', '.join(found['addresses'])} on {found['interface']}, until the next boot. To keep it, write it "
                "into the host's own network configuration"
            )
    elif found["role"]["since"]:
        lines.append(
            "they are a copy, read-only and not mounted, and libvirt stays off. To go on with them, when the other host does "
            f"not: zfs set readonly=off volmode=dev {roots}; zfs set canmount=on and zfs mount, for each filesystem; "
            "systemctl enable --now libvirtd"
        )
    if found["saved"]:
        lines.append(f"state images in {found['state_dir']}: {', '.join(found['saved'])} (virsh restore FILE)")
    if found["kept"]:
        lines.append(f"put aside by rollbacks and syncs: {', '.join(found['kept'])}")
    if found["overlays"]["files"]:
        dataset = found["overlays"]["dataset"]
        lines.append(
            f"overlays of VMs that moved, in {dataset}: {', '.join(found['overlays']['files'])} (zfs destroy {dataset}, when "
            "nobody needs them)"
        )
    if found["networks"]:
        files = " ".join(path for paths in found["networks"].values() for path in paths)
        lines.append(
            f"networks for VMs: {', '.join(found['networks'])}, made at each boot by {files}. To be rid of one, remove its files "
            "and its interfaces (ip link del)"
        )
    if released:
        return lines
    for name, datasets in sorted(found["holds"].items()):
        commands = "; ".join(f"zfs release -r {found['tag']} {root}@{name}" for root in found["datasets"])
        lines.append(f"{name} is held ({found['tag']}) on {len(datasets)} datasets: {commands}")
    if found["bookmarks"]:
        lines.append(f"{len(found['bookmarks'])} bookmarks of sets, such as: zfs destroy '{found['bookmarks'][0]}'")
    if found["holds"] or found["bookmarks"]:
        lines.append("all these holds and bookmarks go with hvm_uninstall_holds=release")
    return lines


def without_agent(authorized_keys: str, agent: str) -> str:
    """The file without the lines that let the other host's key run the agent."""
    return "".join(line for line in authorized_keys.splitlines(True) if f'command="{agent}"' not in line)
