#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_vm_settings
short_description: Autostart, priority and more of VMs, in their description
description:
  - Writes the words that M(hvm.pair.hvm_vm) and the playbooks go by into the description of VMs, on the ACTIVE host. What else
    the description says stays as it is. The description travels with the VM to the other host.
  - What is not given stays as it is. A VM that runs has it at once.
  - A VM with a state image is refused, since that brings the definition of its own moment back.
version_added: 0.1.0
options:
  name:
    description: The VMs. Without it O(all) must be set.
    type: list
    elements: str
    default: []
  all:
    description: All VMs.
    type: bool
    default: false
  autostart:
    description: Whether C(hvm_vm state=started all=true) and the procedures start it. libvirt's own autostart is always off.
    type: bool
  priority:
    description: From V(1), the first, to V(99), the last.
    type: int
  autobackup:
    description: V(false) - a backup leaves it alone, and the mark of a set does not count it.
    type: bool
  ready:
    description:
      - When it counts as started. V(agent) - when its guest agent answers; V(tcp:HOST:PORT) - when that port opens, an IPv6
        address in brackets; empty - as soon as it runs.
    type: str
  ready_timeout:
    description: Seconds after which the order goes on without it.
    type: int
  delay:
    description: Seconds, after it is ready, until VMs of the next priority are started.
    type: int
  move:
    description:
      - How C(migrate_unsecure) moves it, unless that is told otherwise. V(live) - its memory moves while it runs; V(direct) - it
        is paused meanwhile; V(secure) - it is saved, and restored on the other host; V(auto) - live where its
        memory converges in time, else as the pair is set up (C(hvm_move_fallback)).
    type: str
    choices: [auto, live, direct, secure]
  agent_channel:
    description:
      - Whether it has a channel for a guest agent, C(org.qemu.guest_agent.0). The agent itself is installed in the guest.
      - A VM that runs gets it when it is shut down and started again; there is a warning then.
    type: bool
attributes:
  check_mode:
    description: Says what it would do, and changes nothing.
    support: full
  diff_mode:
    description: Shows the settings before and after.
    support: full
extends_documentation_fragment:
  - hvm.pair._pair
"""

EXAMPLES = r"""
- name: The database first, and the others when it listens
  hvm.pair.hvm_vm_settings:
    name: [db]
    autostart: true
    priority: 1
    ready: tcp:192.0.2.20:5432

- name: A channel for a guest agent in all VMs
  hvm.pair.hvm_vm_settings:
    all: true
    agent_channel: true
"""

RETURN = r"""
actions:
  description: What was done, a sentence each.
  type: list
  elements: str
  returned: success
  sample: ["db: description is now 'autostart=yes prio=1'"]
vms:
  description: The settings of each VM, afterwards.
  type: dict
  returned: success
  sample:
    db:
      {autostart: true, priority: 1, autobackup: true, ready: "", ready_timeout: 120, delay: 0, move: auto, agent_channel: false}
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import vm_settings

SETTINGS = {
    "autostart": {"type": "bool"},
    "priority": {"type": "int"},
    "autobackup": {"type": "bool"},
    "ready": {"type": "str"},
    "ready_timeout": {"type": "int"},
    "delay": {"type": "int"},
    "move": {"type": "str", "choices": ["auto", "live", "direct", "secure"]},
}


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    wanted = {key: p[key] for key in SETTINGS if p[key] is not None}
    return vm_settings.apply(config.load(p["config"]), p["name"], p["all"], wanted, p["agent_channel"], module.check_mode)


def main() -> None:
    HvmModule(
        {
            "name": {"type": "list", "elements": "str", "default": []},
            "all": {"type": "bool", "default": False},
            **SETTINGS,
            "agent_channel": {"type": "bool"},
        },
        mutually_exclusive=[("name", "all")],
        required_one_of=[(*SETTINGS, "agent_channel")],
    ).run(work)


if __name__ == "__main__":
    main()
