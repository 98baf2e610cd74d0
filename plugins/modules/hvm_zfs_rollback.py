#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_zfs_rollback
short_description: Go back to a snapshot set, and undo that
description:
  - Runs on the host that was ACTIVE last, while its hypervisor is stopped. Brings every dataset of every root to a snapshot set.
  - Nothing is lost. What is newer, writes without a snapshot and datasets made since included, is kept beside the roots as
    C(ROOT-hvm-kept-STAMP), without a copy, until M(hvm.pair.hvm_zfs_kept) drops it.
  - The replicas on the other host follow in the same way, so that the next sync is an increment. When that host does not answer,
    this is a warning, and O(state=followed) makes up for it later.
  - Afterwards the datasets are inert, as they were before. Then start the hypervisor, and restore the VMs if the set holds their
    states (mark B).
  - One that was interrupted goes on where it was when it is run again; until then nothing else starts.
version_added: 0.1.0
options:
  state:
    description:
      - V(rolled_back) goes back to the set in O(to). When all is there already, nothing changes.
      - V(undone) brings back what a rollback has put aside, and keeps what is there now in its turn.
      - V(followed) changes the other host only. Its replicas go back to the newest set that both hosts have, and what is newer
        there is kept. The hypervisor here may run.
    type: str
    default: rolled_back
    choices: [rolled_back, undone, followed]
  to:
    description:
      - V(last) for the newest complete set, V(last_state) for the newest complete one with the states of the VMs (mark B), a
        timestamp such as V(20261123T094512Z), or the whole name of a set.
    type: str
    default: last
  kept:
    description:
      - For O(state=undone), the stamp of the rollback to undo, as M(hvm.pair.hvm_zfs_kept) lists it. The newest one when left
        out.
      - Naming the stamp of an undo does what that has undone again.
    type: str
attributes:
  check_mode:
    description: Says what it would do on both hosts, and changes nothing.
    support: full
  diff_mode:
    description: Shows the state before and after.
    support: none
extends_documentation_fragment:
  - hvm.pair._pair
  - hvm.pair._progress
"""

EXAMPLES = r"""
- name: The VMs are broken - back to the last backup
  hvm.pair.hvm_zfs_rollback:

- name: Back to a moment, with the hypervisor stopped before
  hvm.pair.hvm_zfs_rollback:
    to: 20261123T094512Z

- name: What would the last set with VM states bring back?
  hvm.pair.hvm_zfs_rollback:
    to: last_state
  check_mode: true

- name: That was the wrong one
  hvm.pair.hvm_zfs_rollback:
    state: undone

- name: The other host was off when this one was rolled back
  hvm.pair.hvm_zfs_rollback:
    state: followed
"""

RETURN = r"""
do:
  description: What was done on this host, V(rollback), V(undo), or nothing.
  type: str
  returned: success
set:
  description: The set that the datasets are at now.
  type: str
  returned: success
stamp:
  description: Under which it is kept what was newer; what an undo has brought back.
  type: str
  returned: success
kept:
  description: The trees that hold what was newer.
  type: list
  elements: str
  returned: when something was done on this host
datasets:
  description:
    - For each dataset C(comes_back), C(newer) (its snapshots that are kept and not in use now), C(written) (bytes after the
      newest of them) and C(kept) (where its state before is).
  type: dict
  returned: when something was done on this host
state_images:
  description:
    - VMs whose saved states are in the set.
    - M(hvm.pair.hvm_vm) with O(hvm.pair.hvm_vm#module:state=restored) restores them.
  type: list
  elements: str
  returned: when something was done on this host
plan:
  description: The commands, in order.
  type: list
  elements: str
  returned: when something was done on this host
replica:
  description:
    - What the other host did, with C(host), C(do), C(in_step), and C(set) and C(kept) when it has followed.
    - C(in_step) tells whether the next sync is an increment; null when that host could not be asked.
  type: dict
  returned: success
warnings:
  description: What is left to do, or did not work and does no harm now.
  type: list
  elements: str
  returned: success
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import rollback


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    to = rollback.aim_of(p["state"], p["to"], p["kept"] or "")
    return rollback.apply(config.load(p["config"]), p["state"], to, module.check_mode, Progress(p["progress_file"]))


def main() -> None:
    HvmModule(
        {
            "state": {"type": "str", "default": "rolled_back", "choices": ["rolled_back", "undone", "followed"]},
            "to": {"type": "str", "default": "last"},
            "kept": {"type": "str"},
            "progress_file": {"type": "path"},
        }
    ).run(work)


if __name__ == "__main__":
    main()
