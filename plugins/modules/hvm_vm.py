#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_vm
short_description: State of the VMs of the ACTIVE host
description:
  - One VM, several, or all, by the priority in their description.
  - Start, restore and unfreeze go from priority 1 to 99; save, freeze, shutdown and poweroff from 99 to 1. VMs of one priority
    are worked on at the same time.
  - Every verb waits until it is done.
version_added: 0.1.0
options:
  name:
    description: The VMs. Without it O(all) must be set.
    type: list
    elements: str
    default: []
  all:
    description:
      - All VMs. For O(state=started) those with C(autostart=yes) in their description; for O(state=restored) those with a state
        image.
    type: bool
    default: false
  state:
    description:
      - V(started) starts it, or lets a frozen one go on.
      - V(saved) writes its memory to a state image and ends it. When it has a zvol, a snapshot set is taken too, which proves
        later that the zvol is as it was.
      - V(restored) brings it back from its state image, if that fits its disks; the image is removed once the VM is seen running.
      - V(frozen) and V(unfrozen) suspend it and let it go on.
      - V(shutdown) asks the guest to end and waits; V(poweredoff) switches it off.
    type: str
    required: true
    choices: [started, saved, restored, frozen, unfrozen, shutdown, poweredoff]
  timeout:
    description: Seconds that a guest has to shut down.
    type: int
    default: 180
  force:
    description:
      - With O(state=restored), your word for what cannot be proven, for an image without a manifest, a disk that no snapshot set
        anchors, or an older QEMU.
      - What is proven wrong stays refused, above all disks that were written to since the VM was saved.
    type: bool
    default: false
  parallel:
    description: VMs of one priority that are worked on at once.
    type: int
    default: 4
attributes:
  check_mode:
    description: Says what it would do, and changes nothing.
    support: full
  diff_mode:
    description: Shows the state before and after.
    support: full
extends_documentation_fragment:
  - hvm.pair._pair
"""

EXAMPLES = r"""
- name: Shut two VMs down
  hvm.pair.hvm_vm:
    name: [web, db]
    state: shutdown

- name: Save all VMs, highest number first
  hvm.pair.hvm_vm:
    all: true
    state: saved
"""

RETURN = r"""
actions:
  description: What was done, a sentence each, in order.
  type: list
  elements: str
  returned: success
  sample: [echo saved, alpha saved]
vms:
  description: State of each VM that was asked for, afterwards.
  type: dict
  returned: success
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import verbs


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    words = (p["state"], p["name"], p["all"], p["timeout"], p["parallel"])
    return verbs.apply(config.load(p["config"]), *words, module.check_mode, p["force"])


def main() -> None:
    HvmModule(
        {
            "name": {"type": "list", "elements": "str", "default": []},
            "all": {"type": "bool", "default": False},
            "state": {"type": "str", "required": True, "choices": list(domains.VERBS)},
            "timeout": {"type": "int", "default": 180},
            "force": {"type": "bool", "default": False},
            "parallel": {"type": "int", "default": 4},
        },
        mutually_exclusive=[("name", "all")],
    ).run(work)


if __name__ == "__main__":
    main()
