# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: hvm_report
short_description: Report of a backup or a migration, as lines
version_added: 0.1.0
author: The hvm.pair developers (@hvm-pair)
description:
  - Says which host is ACTIVE, each VM's interruption in seconds and how it has moved, the bytes sent, the snapshot set, and the
    times of the steps.
options:
  _input:
    description: Result of M(hvm.pair.hvm_switchover), M(hvm.pair.hvm_move) or M(hvm.pair.hvm_checkpoint).
    type: dict
    required: true
  active:
    description: Name of the ACTIVE host, where the result does not say it.
    type: str
  sync:
    description: Result of M(hvm.pair.hvm_zfs_sync).
    type: dict
  prune:
    description: Results of M(hvm.pair.hvm_zfs_prune) by host.
    type: dict
"""

EXAMPLES = r"""
- name: Report
  ansible.builtin.debug:
    msg: "{{ result | hvm.pair.hvm_report }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.report import report


class FilterModule:
    """Filters for the reports of the playbooks."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"hvm_report": report}
