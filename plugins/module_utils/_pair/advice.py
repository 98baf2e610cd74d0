# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What the operator does next, by what a host shows: for the status and for whoever refuses. Pure; on the controller, too."""

from __future__ import annotations

import typing as t

#: Operations that did not end -> what ends them, where it is not `recover`.
ENDED_BY = {
    "checkpoint": "the next backup ends it: hvm.pair.backup_secure",
    "backup_unsecure": "the next backup ends it: hvm.pair.backup_unsecure",
    "rollback": "hvm.pair.rollback goes on with it, with the same variables; hvm_rollback_state=undone goes back",
    "undo": "hvm.pair.rollback hvm_rollback_state=undone goes on with it",
}


def advice(found: dict[str, t.Any], alone: bool = False) -> str:
    """What the operator does next, by what one host shows; empty when that is nothing. Pure."""
    role, now, entry = found["role"], found["role"]["now"], found["pending"]
    if found["lock"]:
        return ""
    if entry and entry["operation"] == "failover" and now == "PASSIVE" and alone:
        return "hvm.pair.failover goes on with it, with the same variables"
    if entry:
        return ENDED_BY.get(entry["operation"], "hvm.pair.recover finishes it or undoes it, and says which")
    if now == "UNKNOWN":
        known = role.get("since")
        return "hvm.pair.recover: it was ACTIVE before it rebooted" if known else "hvm.pair.install: it has no role yet"
    if now == "DIVERGED":
        return "hvm.pair.rejoin shows what it holds that the other lacks"
    running = found["hypervisor"]["running"] or found["qemu"]
    if now == "ACTIVE" and not found["hypervisor"]["running"]:
        return "hvm.pair.hv_start, if the hypervisor is not stopped on purpose"
    if now == "PASSIVE" and (running or found["not_inert"]):
        return "hvm.pair.hv_stop: a PASSIVE host runs nothing and mounts nothing"
    saved = [name for name in found["saved"] if found["vms"].get(name, {}).get("state", "stopped") == "stopped"]
    if now == "ACTIVE" and saved:
        return f"hvm_vm state=restored for {', '.join(saved)}, if not saved on purpose"
    return ""
