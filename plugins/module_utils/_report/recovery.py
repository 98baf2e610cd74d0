# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Report of a recovery, a failover or a rejoin, as lines."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.progress import human


def recovery(result: dict[str, t.Any], check: bool = False) -> list[str]:
    """Pure: the lines."""
    lines = [result["sentence"]]
    if result["do"] == "take over":
        lines += result["lost"]["lines"]
    since = result.get("own", {}).get("since") or {}
    if since.get("written"):
        lines.append(f"What only that host has, since {since['set']}: {human(sum(since['written'].values()))}")
        lines += [f"  {dataset}: {human(size)}" for dataset, size in sorted(since["written"].items()) if size]
    for vm, size in sorted(result.get("own", {}).get("overlays", {}).items()):
        lines.append(f"VM {vm}: what it wrote while VMs were on both hosts: {'unknown' if size is None else human(size)}")
    if check:
        if result["plan"]:
            lines += ["Plan (nothing was changed):", *(f"  {line}" for line in result["plan"])]
        return lines
    lines += [f"  {sentence}" for dummy, sentence in sorted(result["vms"].items())]
    if result["left"]:
        lines.append(f"Off, without autostart=yes: {', '.join(result['left'])} (hvm_vm state=started)")
    if result.get("kept"):
        lines.append(f"Kept on the other host, until hvm_zfs_kept drops it: {', '.join(result['kept'])}")
    if result.get("destroyed"):
        lines.append(f"Destroyed on the other host: {', '.join(sorted(result['destroyed']))}")
    steps = ", ".join(f"{step['step']} {step['seconds']:.1f} s" for step in result["steps"])
    return lines + ([f"Took: {steps}"] if steps else [])
