# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What the operator does next, by what a host shows: for the status and for whoever refuses. Pure; on the controller, too."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._pair import moving

#: What ends most of what did not end.
IT_RECOVERS = "hvm.pair.recover finishes it or undoes it, and says which"
#: Operations that did not end -> what ends them, where it is not `recover`.
ENDED_BY = {
    "checkpoint": "the next backup ends it: hvm.pair.backup_secure",
    "backup_unsecure": "the next backup ends it: hvm.pair.backup_unsecure",
    "rollback": "hvm.pair.rollback goes on with it, with the same variables; hvm_rollback_state=undone goes back",
    "undo": "hvm.pair.rollback hvm_rollback_state=undone goes on with it",
    # its journal cannot be read: nothing can go on with it, and nobody but a person can tell what it was
    "unknown": "look at /var/lib/hvm/journal.json, and for overlays in /var/lib/hvm/overlays; then hvm_operation "
    "state=acknowledged",
}
#: The two that a PASSIVE host has by following the other one.
FOLLOWS = ("rollback", "undo")
FOLLOWED = "hvm.pair.rollback hvm_rollback_state=followed, on the other host, goes on with it"
#: Those of them that only an ACTIVE host can end: one that lost its power has to be recovered first, which ends them too.
BY_A_BACKUP = ("checkpoint", "backup_unsecure")


def _moving(found: dict[str, t.Any], alone: bool) -> str:
    """Where VMs have moved, or were to."""
    entry = found["pending"]
    if "arrived" in entry and found["role"]["now"] == "PASSIVE":
        if alone and entry["arrived"]:
            return "hvm.pair.recover; if the other host is lost: hvm.pair.failover goes on with the VMs that have moved here"
        if moving.is_on_its_own(entry):
            return IT_RECOVERS
        return f"hvm.pair.recover on {entry['source']}, or hvm.pair.migrate_unsecure to go on there"
    if found["role"]["now"] == "ACTIVE" and "arrived" not in entry and entry["step"] in moving.FORWARD:
        return "hvm.pair.migrate_unsecure goes on with it, if it can; hvm.pair.recover brings all VMs back"
    return IT_RECOVERS


def hangs_on_peer(found: dict[str, t.Any]) -> bool:
    """Whether what comes next depends on it that the other host answers: of a PASSIVE host on which it was cut off. Pure."""
    entry = found["pending"]
    hangs = bool(entry) and (entry["operation"] in ("failover", *FOLLOWS) or entry.get("arrived"))
    return bool(hangs and found["role"]["now"] == "PASSIVE" and not found["lock"])


def advice(found: dict[str, t.Any], alone: bool = False) -> str:
    """What the operator does next, by what one host shows; empty when that is nothing. Pure."""
    role, now, entry = found["role"], found["role"]["now"], found["pending"]
    if found["lock"]:
        return ""
    if now == "DIVERGED":  # whatever it had begun: no other playbook takes it out of that
        return "hvm.pair.rejoin, on the host that goes on, shows what it holds that the other lacks"
    if entry and now == "PASSIVE" and entry["operation"] in FOLLOWS:
        return f"{FOLLOWED}; if that host is lost: hvm.pair.failover does" if alone else FOLLOWED
    if alone and hangs_on_peer(found) and entry["operation"] == "failover":
        return "hvm.pair.failover goes on with it, with the same variables"
    if entry and (entry["operation"] == "migrate_unsecure" or "arrived" in entry):
        return _moving(found, alone)
    by_a_backup = bool(entry) and entry["operation"] in BY_A_BACKUP
    up = now == "ACTIVE" and found["hypervisor"]["running"]  # else no backup is made, and none ends it
    if entry and (not by_a_backup or (up and not entry.get("recovers"))):
        return ENDED_BY.get(entry["operation"], IT_RECOVERS)
    if now == "UNKNOWN":
        known = role.get("since")
        return "hvm.pair.recover: it was ACTIVE before it rebooted" if known else "hvm.pair.install: it has no role yet"
    if entry:
        return IT_RECOVERS
    if now == "ACTIVE" and found.get("overlays"):
        return f"hvm.pair.recover merges the overlays of {', '.join(sorted(found['overlays']))} into their disks"
    running = found["hypervisor"]["running"] or found["qemu"]
    if now == "ACTIVE" and not found["hypervisor"]["running"]:
        return "hvm.pair.hv_start, if the hypervisor is not stopped on purpose"
    addresses = found.get("shared_ip", {}).get("addresses", {})
    if now == "PASSIVE" and (running or found["not_inert"] or any(addresses.values())):
        return "hvm.pair.hv_stop: a PASSIVE host runs nothing, mounts nothing, and has no shared IP"
    if now == "ACTIVE" and not all(addresses.values()):  # a host that was cut off went on without it
        return "hvm.pair.hv_start takes the shared IP, if it is not off on purpose"
    stuck = [name for name, vm in sorted(found["vms"].items()) if vm.get("io_error")]
    if stuck:
        return f"hvm_vm state=unfrozen for {', '.join(stuck)}, if there is room again: a disk could not be written"
    saved = [name for name in found["saved"] if found["vms"].get(name, {}).get("state", "stopped") == "stopped"]
    if now == "ACTIVE" and saved:
        return f"hvm_vm state=restored for {', '.join(saved)}, if not saved on purpose"
    return ""
