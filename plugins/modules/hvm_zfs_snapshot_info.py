#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_zfs_snapshot_info
short_description: Snapshot sets of a host, as data and as lists
description:
  - C(hvm zfs snap list). Changes nothing. Works on any host, in any role, also when the other one is dead.
version_added: 0.1.0
options:
  used:
    description:
      - Ask also for the bytes that each set occupies.
      - Opens every snapshot, which takes a while when there are thousands.
    type: bool
    default: false
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
- name: Which sets are there?
  hvm.pair.hvm_zfs_snapshot_info:
  register: found

- name: As "hvm zfs snap list dates" does
  ansible.builtin.debug:
    msg: "{{ found.lists.dates }}"
"""

RETURN = r"""
sets:
  description: The sets of the pair, oldest first.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Its name.
      type: str
    stamp:
      description: Its timestamp (UTC), which is what a rollback takes.
      type: str
    mark:
      description: B, F, Q or C.
      type: str
    consistency:
      description: "V(state), V(frozen), V(quiesced) or V(crash)."
      type: str
    complete:
      description: Whether every dataset that is there now has it.
      type: bool
    datasets:
      description: Datasets that have it.
      type: list
    missing:
      description: Datasets that lack it.
      type: list
    held:
      description: Whether the pair holds it.
      type: bool
    age:
      description: Seconds.
      type: int
    used:
      description: Bytes that would come back if it went alone; only with O(used=true).
      type: int
lists:
  description:
    - The manual's three lists, as lines.
    - C(all) has every snapshot of every dataset, C(dates) one line for each set (its timestamp, the mark B, age, consistency),
      C(lasts) the newest set of each dataset.
  type: dict
  returned: success
held:
  description: What the pair holds, by snapshot, with the datasets.
  type: dict
  returned: success
resumable:
  description: Datasets with a half-received stream, which the next sync goes on with.
  type: list
  elements: str
  returned: success
bookmarks:
  description: All bookmarks.
  type: list
  elements: str
  returned: success
host:
  description: Name of this host.
  type: str
  returned: success
role:
  description: Its role.
  type: str
  returned: success
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import snapshots


def work(module: HvmModule) -> dict[str, t.Any]:
    return snapshots.look(config.load(module.params["config"]), module.params["used"])


def main() -> None:
    HvmModule({"used": {"type": "bool", "default": False}}).run(work)


if __name__ == "__main__":
    main()
