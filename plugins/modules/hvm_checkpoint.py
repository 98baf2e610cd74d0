#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_checkpoint
short_description: A consistent point of all VMs, and the VMs go on
description:
  - >-
    On the ACTIVE host, in one process: brings every running VM to one moment, takes a snapshot set of that moment, and lets
    the VMs go on. The first half of C(hvm backup secure) and C(hvm backup unsecure); the second is M(hvm.pair.hvm_zfs_sync).
  - >-
    Whatever fails, no VM stays paused. After one that was killed, the next run lets go on what is still paused, and removes
    what is left of the images.
  - A VM with C(autobackup=no) in its description is let alone.
version_added: 0.1.0
options:
  method:
    description:
      - >-
        V(checkpoint) writes the memory of the VMs while they run. They are paused for the end of that and for the ZFS snapshot
        only. The state images are inside the set (mark B), and nowhere else.
      - V(save) saves every VM, takes the set (B), and restores the VMs. They are off all the while.
      - >-
        V(quiesce) lets the agent in each guest freeze its filesystems for the snapshot (mark Q). A VM whose agent does not answer
        is paused instead (and the mark is F).
      - V(freeze) pauses the VMs for the snapshot (mark F).
    type: str
    default: checkpoint
    choices: [checkpoint, save, quiesce, freeze]
  fallback:
    description:
      - >-
        What to do, one after the other, with a VM of which libvirt refuses to take a checkpoint, as with one that holds a device
        of the host. V(save) saves and restores it, which keeps it off while its memory is written; V(frozen) pauses it, so that
        the set has its disks only, and the mark F.
      - V(refuse), or an empty list, fails then, with no set taken.
    type: list
    elements: str
    choices: [save, frozen, refuse]
    default: [save, frozen]
  quiesce_limit:
    description:
      - Seconds that an agent may take to freeze its guest's filesystems, at least 1.
      - Windows thaws them by itself after about ten.
    type: int
    default: 10
attributes:
  check_mode:
    description: Says what it would do, and changes nothing.
    support: full
  diff_mode:
    description: Shows the state before and after.
    support: none
extends_documentation_fragment:
  - hvm.pair._pair
  - hvm.pair._progress
"""

EXAMPLES = r"""
- name: Memory of the VMs, snapshot (B), VMs go on
  hvm.pair.hvm_checkpoint:

- name: The same, and no set at all if there is a VM of which no checkpoint can be taken
  hvm.pair.hvm_checkpoint:
    fallback: [refuse]

- name: Filesystems frozen by the agents, snapshot (Q), thawed
  hvm.pair.hvm_checkpoint:
    method: quiesce
"""

RETURN = r"""
set:
  description: Name of the snapshot set.
  type: str
  returned: when it was taken
vms:
  description:
    - By VM. C(method) is how it is in the set, V(checkpoint), V(save), V(frozen), V(quiesced), V(stopped) (it was shut down
      meanwhile), V(crashed) (it ended otherwise, or was started) or V(left out).
    - C(interruption) is how long it was paused or off, C(memory) how long its memory was written, C(waited) how long it was
      paused until the last of the others was; in seconds, where they apply.
  type: dict
  returned: success
steps:
  description: Duration of each step of the interruption, in seconds.
  type: list
  elements: dict
  returned: when it was taken
memory:
  description: Seconds in which memory was written while the VMs ran.
  type: float
  returned: when it was taken, and O(method) was not V(save)
window:
  description: Seconds from the first pause to the last VM running.
  type: float
  returned: when it was taken
plan:
  description: What would be done.
  type: list
  elements: str
  returned: in check mode
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import backup


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    options = backup.Options(p["method"], backup.ways(p["fallback"]), p["quiesce_limit"])
    return backup.backup(config.load(p["config"]), Progress(p["progress_file"]), options, module.check_mode)


def main() -> None:
    HvmModule(
        {
            "method": {"type": "str", "default": "checkpoint", "choices": list(backup.METHODS)},
            "fallback": {"type": "list", "elements": "str", "default": ["save", "frozen"], "choices": list(backup.FALLBACKS)},
            "quiesce_limit": {"type": "int", "default": 10},
            "progress_file": {"type": "path"},
        }
    ).run(work)


if __name__ == "__main__":
    main()
