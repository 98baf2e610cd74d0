# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: hvm_steps
short_description: What a procedure did, step by step, as lines
version_added: 0.1.0
author: The hvm.pair developers (@hvm-pair)
description:
  - The steps that were taken, or in check mode would be; one line when there was nothing to do.
options:
  _input:
    description: Result of a module that returns C(plan), such as M(hvm.pair.hvm_hypervisor).
    type: dict
    required: true
  state:
    description: What is so afterwards.
    type: str
    required: true
  then:
    description: What comes next.
    type: str
    default: ""
  check:
    description: Whether nothing was changed, since it was check mode.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Report
  ansible.builtin.debug:
    msg: "{{ result | hvm.pair.hvm_steps('Hypervisor is stopped', check=ansible_check_mode) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._report.steps import steps


class FilterModule:
    """Filters for the reports of the playbooks."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"hvm_steps": steps}
