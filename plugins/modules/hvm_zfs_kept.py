#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_zfs_kept
short_description: What rollbacks and syncs have put aside on a host
description:
  - Lists the trees that M(hvm.pair.hvm_zfs_rollback) and M(hvm.pair.hvm_zfs_sync) keep on this host instead of destroying them.
  - Drops one of them, by name. This is the only thing that destroys them.
version_added: 0.1.0
options:
  state:
    description:
      - V(query) lists them.
      - V(absent) destroys what is kept under O(name), with its snapshots. Holds of this pair in it are released; anything else
        that depends on it, such as a hold or a clone of somebody else, is a reason to refuse.
    type: str
    default: query
    choices: [query, absent]
  name:
    description: What to drop, a C(name) of the list. Needed for O(state=absent).
    type: str
attributes:
  check_mode:
    description: Says what would be destroyed, and changes nothing.
    support: full
  diff_mode:
    description: Shows the state before and after.
    support: none
extends_documentation_fragment:
  - hvm.pair._pair
"""

EXAMPLES = r"""
- name: What is kept, and how much space does it need?
  hvm.pair.hvm_zfs_kept:

- name: The rollback was right, what was newer can go
  hvm.pair.hvm_zfs_kept:
    state: absent
    name: 20261124T081500Z

- name: Drop a replica that a sync has set aside
  hvm.pair.hvm_zfs_kept:
    state: absent
    name: ssd/hvm-kept/shared-images-20261124T093000Z
"""

RETURN = r"""
kept:
  description:
    - Oldest first. C(name), C(stamp) (since when), C(by) (V(rollback), V(undo) or V(sync)), C(set) (where the datasets went
      when it was put aside), C(tops) (what it was, and where it is), C(datasets) and C(used) (bytes that come back when it is
      dropped).
  type: list
  elements: dict
  returned: when state is query
destroyed:
  description: Datasets, in order, with the snapshots of each.
  type: dict
  returned: when state is absent
freed:
  description: Bytes that come back.
  type: int
  returned: when state is absent
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import rollback


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    pair = config.load(p["config"])
    if p["state"] == "absent":
        return rollback.drop(pair, p["name"], module.check_mode)
    return {"changed": False, "kept": rollback.kept_list(pair)}


def main() -> None:
    HvmModule(
        {
            "state": {"type": "str", "default": "query", "choices": ["query", "absent"]},
            "name": {"type": "str"},
        },
        required_if=[("state", "absent", ["name"])],
    ).run(work)


if __name__ == "__main__":
    main()
