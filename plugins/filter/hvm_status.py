# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: hvm_status
short_description: State of a host of a pair, as lines
version_added: 0.1.0
author: The hvm.pair developers (@hvm-pair)
description:
  - The manual's three lines, then role and epoch, VMs, last complete snapshot set with its age, lock, what is pending, and which
    playbook comes next.
options:
  _input:
    description: Result of M(hvm.pair.hvm_info).
    type: dict
    required: true
  now:
    description: The time, for tests.
    type: raw
  alone:
    description: Whether the other host could not be looked at.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Status
  ansible.builtin.debug:
    msg: "{{ look | hvm.pair.hvm_status }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._report.status import status


class FilterModule:
    """Filters for the status of a host."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"hvm_status": status}
