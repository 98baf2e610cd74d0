#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_zfs_snapshot
short_description: Snapshot sets of a pair
description:
  - A set is one snapshot of one name on every dataset of every root, taken at once in each pool.
  - "The name tells its story in a plain C(zfs list): UTC timestamp, pair, and the mark of its consistency."
version_added: 0.1.0
options:
  state:
    description:
      - V(present) takes a new set (or does nothing when the one named in O(name) is there), and looks whether it is complete and,
        in each pool, of one transaction group.
      - V(absent) destroys the set in O(name) on this host, whatever its role; never one that the next sync may start from, and
        never one that is held or cloned.
      - To let old sets go by rules see M(hvm.pair.hvm_zfs_prune).
    type: str
    default: present
    choices: [present, absent]
  name:
    description: A set, for O(state=absent), or for O(state=present) to be sure of one.
    type: str
  consistency:
    description: What the caller has made sure of; V(state) is the manual's mark B.
    type: str
    default: crash
    choices: [state, frozen, quiesced, crash]
attributes:
  check_mode:
    description: Says what it would do, and changes nothing.
    support: full
  diff_mode:
    description: Shows the sets before and after.
    support: full
extends_documentation_fragment:
  - hvm.pair._pair
"""

EXAMPLES = r"""
- name: Take a snapshot set
  hvm.pair.hvm_zfs_snapshot:

- name: Destroy a set on this host
  hvm.pair.hvm_zfs_snapshot:
    state: absent
    name: hvm_20261123T094512Z_office_C
"""

RETURN = r"""
set:
  description: Name of the set.
  type: str
  returned: when state is present
destroyed:
  description: The set that went, or nothing.
  type: list
  elements: str
  returned: when state is absent
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import snapshots


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    return snapshots.apply(config.load(p["config"]), p["state"], p["name"], p["consistency"], module.check_mode)


def main() -> None:
    HvmModule(
        {
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "name": {"type": "str"},
            "consistency": {"type": "str", "default": "crash", "choices": ["state", "frozen", "quiesced", "crash"]},
        },
        required_if=[("state", "absent", ["name"])],
    ).run(work)


if __name__ == "__main__":
    main()
