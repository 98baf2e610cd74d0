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
  - When a VM goes on after a restore or a freeze, its agent sets the clock of the guest; where that is not possible there is
    a warning.
  - C(ready=agent), C(ready=tcp:HOST:PORT), C(ready_timeout=SECONDS) and C(delay=SECONDS) in a VM's description make a start wait
    before it goes on with the next priority. A VM that is not ready in time is a warning.
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
      - V(shutdown) unfreezes it, asks the guest to end, by its agent, then by ACPI, and waits; V(poweredoff) switches it off.
        Both fail when the VM cannot be proven stopped, and so does a start of such a VM.
    type: str
    required: true
    choices: [started, saved, restored, frozen, unfrozen, shutdown, poweredoff]
  agent_timeout:
    description:
      - Seconds in which a guest must have shut down that was asked by its agent. A VM without one that is connected is not asked.
      - V(0) leaves this stage out.
    type: int
    default: 60
  acpi_timeout:
    description: Seconds in which a guest must have shut down after ACPI's power button. V(0) leaves this stage out.
    type: int
    default: 120
  poweroff:
    description: With O(state=shutdown), switch a VM off that has not shut down.
    type: bool
    default: false
  poweroff_timeout:
    description: Seconds in which a VM that was switched off, and its process, must be gone.
    type: int
    default: 60
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

- name: Shut all VMs down, and switch off what has not ended after two minutes
  hvm.pair.hvm_vm:
    all: true
    state: shutdown
    agent_timeout: 60
    acpi_timeout: 60
    poweroff: true

- name: Save all VMs, highest number first
  hvm.pair.hvm_vm:
    all: true
    state: saved
"""

RETURN = r"""
actions:
  description:
    - What was done, a sentence each, in order. Of a shutdown, which stage ended the VM and how long that took.
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
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, stopping
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import verbs


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    limits = stopping.Limits(p["agent_timeout"], p["acpi_timeout"], p["poweroff_timeout"], p["poweroff"])
    options = verbs.Options(limits, p["parallel"], p["force"])
    return verbs.apply(config.load(p["config"]), p["state"], p["name"], p["all"], options, module.check_mode)


def main() -> None:
    HvmModule(
        {
            "name": {"type": "list", "elements": "str", "default": []},
            "all": {"type": "bool", "default": False},
            "state": {"type": "str", "required": True, "choices": list(domains.VERBS)},
            "agent_timeout": {"type": "int", "default": 60},
            "acpi_timeout": {"type": "int", "default": 120},
            "poweroff": {"type": "bool", "default": False},
            "poweroff_timeout": {"type": "int", "default": 60},
            "force": {"type": "bool", "default": False},
            "parallel": {"type": "int", "default": 4},
        },
        mutually_exclusive=[("name", "all")],
    ).run(work)


if __name__ == "__main__":
    main()
