# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: hvm_summary
short_description: What became of each pair of a run, as lines
version_added: 0.1.0
author: The hvm.pair developers (@hvm-pair)
description:
  - A line for each pair, failures last, after one that counts them.
options:
  _input:
    description: What the filter P(hvm.pair.hvm_pairs#filter) returns.
    type: list
    elements: dict
    required: true
seealso:
  - plugin: hvm.pair.hvm_pairs
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Summary
  ansible.builtin.debug:
    msg: "{{ hvm_pairs | hvm.pair.hvm_summary }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

import typing as t

from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.hvm.pair.plugins.plugin_utils._summary import lines


def summary(found: list[dict[str, t.Any]]) -> t.Any:
    # what hosts have said is no template; until ansible-core 2.18 a variable that this fills would be one
    return wrap_var([str(line) for line in lines(found)])


class FilterModule:
    """Filters for the reports of the playbooks."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"hvm_summary": summary}
