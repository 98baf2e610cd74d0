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
      - V(present) takes a new set (or does nothing when the one named in O(name) is there).
      - V(absent) destroys the set in O(name); never the newest that both hosts have.
      - V(pruned) destroys old sets on both hosts and keeps the last O(keep), and always the newest that both have.
    type: str
    default: present
    choices: [present, absent, pruned]
  name:
    description: A set, for O(state=absent), or for O(state=present) to be sure of one.
    type: str
  consistency:
    description: What the caller has made sure of; V(state) is the manual's mark B.
    type: str
    default: crash
    choices: [state, frozen, quiesced, crash]
  keep:
    description: Sets to keep, for O(state=pruned).
    type: int
    default: 48
attributes:
  check_mode:
    description: Says what it would do, and changes nothing.
    support: full
  diff_mode:
    description: Shows the state before and after.
    support: none
extends_documentation_fragment:
  - hvm.pair._pair
"""

EXAMPLES = r"""
- name: Take a snapshot set
  hvm.pair.hvm_zfs_snapshot:

- name: Keep the last 20 sets on both hosts
  hvm.pair.hvm_zfs_snapshot:
    state: pruned
    keep: 20
"""

RETURN = r"""
set:
  description: Name of the set.
  type: str
  returned: when state is present
destroyed:
  description: Sets that went, by host.
  type: dict
  returned: when state is absent or pruned
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import snapshots


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    return snapshots.apply(config.load(p["config"]), p["state"], p["name"], p["consistency"], p["keep"], module.check_mode)


def main() -> None:
    HvmModule(
        {
            "state": {"type": "str", "default": "present", "choices": ["present", "absent", "pruned"]},
            "name": {"type": "str"},
            "consistency": {"type": "str", "default": "crash", "choices": ["state", "frozen", "quiesced", "crash"]},
            "keep": {"type": "int", "default": 48},
        },
        required_if=[("state", "absent", ["name"])],
    ).run(work)


if __name__ == "__main__":
    main()
