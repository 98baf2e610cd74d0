# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: hvm_recovery
short_description: Report of a recovery, a failover or a rejoin, as lines
version_added: 0.1.0
author: The hvm.pair developers (@hvm-pair)
description:
  - The decision with its reason, what would be or was lost, what was done, each VM, and what is left to do.
options:
  _input:
    description: Result of M(hvm.pair.hvm_recover), M(hvm.pair.hvm_failover) or M(hvm.pair.hvm_rejoin).
    type: dict
    required: true
  check:
    description: Whether nothing was changed, since it was check mode.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Report
  ansible.builtin.debug:
    msg: "{{ result | hvm.pair.hvm_recovery(ansible_check_mode) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

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


class FilterModule:
    """Filters for the reports of the playbooks."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"hvm_recovery": recovery}
