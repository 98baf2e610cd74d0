# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Report of a rollback, as lines."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.progress import human


def rollback(result: dict[str, t.Any], check: bool = False) -> list[str]:
    """Pure: the lines."""
    done = result["do"]
    name = f"{result['set']}{' (B: VM states inside)' if result['set'].endswith('_B') else ''}"
    if not done:
        lines = [f"The datasets are at {name} already" if result["set"] else "Nothing to do on this host"]
    elif done == "undo":
        lines = [f"The rollback of {result['stamp']} {'would be' if check else 'is'} undone"]
    else:
        lines = [f"The datasets {'would go' if check else 'are'} back to {name}"]
    for dataset, one in sorted(result.get("datasets", {}).items()):
        lines += [f"  {dataset}: {text}" for text in newer(one)]
    if result.get("kept"):
        lines.append(f"Kept, until hvm_zfs_kept drops it: {', '.join(result['kept'])}")
    if check and result.get("plan"):
        lines += ["Plan (nothing was changed):", *(f"  {line}" for line in result["plan"])]
    lines += replica(result["replica"], check)
    if done and not check:
        lines.append("Next: hvm.pair.hv_start, then the VMs")
    if done == "rollback" and result.get("state_images"):
        lines.append(f"State images of {', '.join(result['state_images'])}: hvm_vm state=restored")
    return lines


def newer(one: dict[str, t.Any]) -> list[str]:
    """What one dataset loses from sight; none when that is nothing."""
    words = []
    if one.get("newer"):
        words.append(f"{len(one['newer'])} newer snapshots")
    if one.get("written"):
        words.append(f"{human(one['written'])} written since")
    if one.get("comes_back") is False:
        words.append("not in the set")
    return [", ".join(words)] if words else []


def replica(one: dict[str, t.Any], check: bool) -> list[str]:
    """What the other host did."""
    if one.get("do"):
        where = f" to {one['set']}" if one.get("set") else ""
        return [f"{one['host']} {'would follow' if check else 'has followed'}{where}; what was newer there is kept"]
    if one.get("in_step"):
        return [f"{one['host']} is in step: the next sync is an increment"]
    return [f"{one['host']} has not followed: hvm_rollback_state=followed, before the next sync"]
