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

from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.hvm.pair.plugins.module_utils._report.recovery import recovery


def report(result: dict[str, t.Any], check: bool = False) -> t.Any:
    # what hosts have said is no template; until ansible-core 2.18 a variable that this fills would be one
    return wrap_var([str(line) for line in recovery(result, check)])


class FilterModule:
    """Filters for the reports of the playbooks."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"hvm_recovery": report}
