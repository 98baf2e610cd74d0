#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_vm_info
short_description: The VMs of a host, as data and as lists
description:
  - C(hvm vm status), C(hvm vms status) and C(hvm vms list). Changes nothing.
  - It works on any host, in any role. Where libvirt is stopped it does not know the VMs, and where the datasets are not mounted
    not the state images either, as on a PASSIVE host; RV(unknown) says so.
  - The options narrow down what is shown; a VM must pass all that are given.
version_added: 0.1.0
options:
  name:
    description: Only these VMs.
    type: list
    elements: str
    default: []
  state:
    description:
      - Only VMs in one of these states. V(frozen) is the manual's C(freezed); V(other) is a VM that was suspended from inside,
        or one that libvirt calls stopped and that still has a process.
    type: list
    elements: str
    choices: [running, frozen, stopped, other]
    default: []
  autostart:
    description: Only VMs with, or without, C(autostart=yes) in their description.
    type: bool
  autobackup:
    description: Only VMs without, or with, C(autobackup=no) in their description.
    type: bool
  saved:
    description: Only VMs with, or without, a state image.
    type: bool
  snapshots:
    description: Only VMs with, or without, snapshots of libvirt (not of ZFS). Such a VM cannot be migrated by libvirt itself.
    type: bool
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
- name: All VMs
  hvm.pair.hvm_vm_info:
  register: found

- name: As "hvm vms list all" does
  ansible.builtin.debug:
    msg: "{{ found.lists.all }}"

- name: Does db run?
  hvm.pair.hvm_vm_info:
    name: [db]
  register: found
  failed_when: found.unknown | length > 0 or found.vms.db.state != 'running'

- name: VMs that would start by themselves and do not run
  hvm.pair.hvm_vm_info:
    autostart: true
    state: [stopped]
"""

RETURN = r"""
vms:
  description: The VMs, by name.
  type: dict
  returned: success
  contains:
    state:
      description: "V(running), V(frozen), V(stopped) or V(other)."
      type: str
    uuid:
      description: Its UUID.
      type: str
    description:
      description: Its description, as it is.
      type: str
    autostart:
      description: Whether the description says C(autostart=yes).
      type: bool
    priority:
      description: The description's C(prio=NN), V(99) without one.
      type: int
    autobackup:
      description: Whether the description does not say C(autobackup=no).
      type: bool
    ready:
      description: The description's C(ready=), V(agent) or V(tcp:HOST:PORT); empty without one.
      type: str
    ready_timeout:
      description: The description's C(ready_timeout=NN), in seconds.
      type: int
    delay:
      description: The description's C(delay=NN), in seconds.
      type: int
    move:
      description: The description's C(move=), V(live), V(direct) or V(secure); V(auto) without one.
      type: str
    saved:
      description: Whether it has a state image.
      type: bool
    io_error:
      description:
        - Whether it is frozen because one of its disks could not be written, mostly for want of room.
        - It goes on by O(hvm.pair.hvm_vm#module:state=unfrozen).
      type: bool
    snapshots:
      description: Whether libvirt has snapshots of it.
      type: bool
    persistent:
      description: Whether it is defined; a transient VM is gone when it ends.
      type: bool
    managed_save:
      description: Whether libvirt has a state image of its own, of C(virsh managedsave).
      type: bool
    libvirt_autostart:
      description: Whether libvirt's own autostart is on; the next start of the hypervisor or a VM switches it off.
      type: bool
    memory_kib:
      description: Its memory, in KiB.
      type: int
    disks:
      description: Its disks, each with C(path), C(device), C(readonly).
      type: list
      elements: dict
    bridges:
      description: Bridges that it needs.
      type: list
      elements: str
    networks:
      description: Networks of libvirt that it needs.
      type: list
      elements: str
    hostdevs:
      description: Devices of the host that it holds.
      type: int
    emulator:
      description: Path of its QEMU.
      type: str
    machine:
      description: Its machine type.
      type: str
saved:
  description: VMs with a state image. libvirt need not know them.
  type: list
  elements: str
  returned: success
lists:
  description:
    - The manual's lists, one line per VM. C(all) has name and state, C(prio) priority and name in the order of starting.
    - C(running), C(freezed), C(stopped), C(backups), C(snapshots), C(autostart) and C(autobackup) have names.
  type: dict
  returned: success
  sample: {all: ["alpha  running", "db     freezed"], freezed: [db], prio: ["10  db", "99  alpha"]}
status:
  description: The manual's line of C(hvm vms status), by the processes of the host; not narrowed down.
  type: str
  returned: success
  sample: VMs are running
unknown:
  description: What cannot be told on this host now, a sentence each. Empty when everything is known.
  type: list
  elements: str
  returned: success
  sample: ["the VMs are not known: the hypervisor is stopped"]
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
from ansible_collections.hvm.pair.plugins.module_utils._procedure import vms

FLAGS = ("autostart", "autobackup", "saved", "snapshots")


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    flags = {flag: p[flag] for flag in FLAGS if p[flag] is not None}
    return vms.look(config.load(p["config"]), vms.Filter(p["name"], p["state"], flags))


def main() -> None:
    HvmModule(
        {
            "name": {"type": "list", "elements": "str", "default": []},
            "state": {
                "type": "list",
                "elements": "str",
                "default": [],
                "choices": ["running", "frozen", "stopped", "other"],
            },
            **{flag: {"type": "bool"} for flag in FLAGS},
        }
    ).run(work)


if __name__ == "__main__":
    main()
