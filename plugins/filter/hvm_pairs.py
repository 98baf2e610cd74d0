# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: hvm_pairs
short_description: What became of each pair of a run, as data
version_added: 0.1.0
author: The hvm.pair developers (@hvm-pair)
description:
  - Puts the hosts of a run together into their pairs, by C(hvm_hosts), and what each of them registered into a row for each pair.
options:
  _input:
    description: Names of the hosts of the run, C(ansible_play_hosts_all).
    type: list
    elements: str
    required: true
  variables:
    description: Variables of all hosts, C(hostvars).
    type: dict
    required: true
  alive:
    description: Names of those that have neither failed nor were lost, C(ansible_play_hosts) of a later play.
    type: list
    elements: str
    required: true
  results:
    description: Names of the variables that hold the results of the tasks, in their order.
    type: list
    elements: str
    required: true
  check:
    description: Whether nothing was changed, since it was check mode.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: For AWX, which hands it on to the next job of a workflow
  ansible.builtin.set_stats:
    data:
      hvm_pairs: "{{ ansible_play_hosts_all | hvm.pair.hvm_pairs(hostvars, ansible_play_hosts, ['hvm_sync']) }}"
  run_once: true
"""

RETURN = r"""
_value:
  description:
    - For each pair C(pair), C(hosts), C(active) (the name of the ACTIVE host, empty where nobody can say), C(outcome) (V(done),
      V(unchanged), V(planned), V(not asked), V(unreachable) or V(failed)), C(seconds) that the work took, C(interruption) in
      seconds of the VM that stood still longest, C(bytes) that were sent, C(said), and C(error) with its remedy.
  type: list
  elements: dict
"""

import typing as t

from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.hvm.pair.plugins.plugin_utils._summary import Host, rows


def pairs(
    hosts: t.Sequence[str],
    variables: t.Mapping[str, t.Mapping[str, t.Any]],
    alive: t.Collection[str],
    results: t.Sequence[str],
    check: bool = False,
) -> t.Any:
    found = []
    for name in hosts:
        mine = variables[name]
        given = tuple(mine[one] for one in results if one in mine)
        host = Host(name, str(mine.get("hvm_pair") or ""), tuple(mine.get("hvm_hosts") or ()), given, name in alive)
        found.append(host)
    # what hosts have said is no template; until ansible-core 2.18 a variable that this fills would be one
    return wrap_var(rows(found, check))


class FilterModule:
    """Filters for the reports of the playbooks."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"hvm_pairs": pairs}
