#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_network
short_description: VLANs and bridges for the VMs of a pair
description:
  - A network is a bridge that VMs connect to, on both hosts by the same name, over a VLAN of an interface, over a whole
    interface, or over none. The module does what C(hvm net list), C(hvm net add), C(hvm net remove) and C(hvm net apply) do; it
    replaces the script C(hvm-interface-config) of the manual.
  - It writes files of its own for ifupdown or for systemd-networkd, whichever has the interface (netplan hands its interfaces to
    systemd-networkd), and makes the same at once. No file of anybody else is changed.
  - The way by which the host is reached is never touched. An interface that has the address of this session, the default route,
    the shared IP, or the address at which the other host reaches this one may carry VLANs; what would put it into a bridge, or
    remove or change a bridge that has one of these, is refused.
  - A bridge that VMs need, by their definition or because they are connected, is not removed.
  - Run again after a failure or a crash it completes what was begun.
extends_documentation_fragment:
  - hvm.pair._pair
attributes:
  check_mode:
    description: Can run in C(check_mode) and say what it would do without changing anything.
    support: full
  diff_mode:
    description: Shows what changed, or in check mode would change, in diff mode.
    support: full
options:
  state:
    description:
      - V(declared) makes O(networks) the networks of this host. Run it on both, as the role P(hvm.pair.host#role) does. Those of
        an earlier V(declared) that are no longer among them are removed; those that came by V(present) or C(hvm net add) stay.
      - V(present) makes O(networks) on both hosts, besides those that are there; run it on one of them. One that is declared
        already as another one is refused.
      - V(absent) removes the ones that O(networks) names, on both hosts.
      - V(applied) brings the two hosts together, after one of them did not answer, and makes both as declared.
      - V(query) changes nothing; RV(networks) tells how each network stands on both hosts.
    type: str
    choices: [declared, present, absent, applied, query]
    default: declared
  networks:
    description:
      - The networks. Of O(state=absent) only the names count.
      - Required when O(state) is V(declared), V(present) or V(absent). An empty list with V(declared) removes all that the
        inventory had.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - Name of the bridge, as VMs have it in C(<source bridge='...'/>). It begins with a letter and has 15 letters, digits,
            dashes and underscores at most; not C(vlanN), which ifupdown takes for a VLAN.
        type: str
        required: true
      interface:
        description:
          - The interface, or where the two hosts call it differently, a dictionary of host to interface.
          - Without it, the bridge connects the VMs of one host with each other only.
        type: raw
      vlan:
        description: The VLAN on that interface, from 1 to 4094. Without it, the whole interface is in the bridge.
        type: int
      mtu:
        description: The MTU of bridge and VLAN, from 1280; of a whole interface, too. Without it, what the kernel gives them.
        type: int
      addresses:
        description:
          - Addresses of the hosts themselves in this network, as a dictionary of host to list of C(ADDRESS/PREFIX). Most networks
            for VMs need none.
        type: dict
  manager:
    description:
      - Who gets the files on this host, for O(state=declared).
      - V(auto) is whoever has the interface. NetworkManager cannot be.
    type: str
    choices: [auto, ifupdown, networkd]
    default: auto
seealso:
  - module: hvm.pair.hvm_preflight
"""

EXAMPLES = r"""
- name: The networks of this host, as the inventory has them
  hvm.pair.hvm_network:
    networks:
      - name: br-vlan10
        interface: eno1
        vlan: 10
      - name: br-dmz
        interface:
          hv1: eno2
          hv2: enp3s0
      - name: br-storage
        interface: eno1
        vlan: 20
        mtu: 9000
        addresses:
          hv1: [10.20.0.1/24]
          hv2: [10.20.0.2/24]

- name: One more, on both hosts, from one of them
  hvm.pair.hvm_network:
    state: present
    networks:
      - name: br-vlan30
        interface: eno1
        vlan: 30

- name: How they stand
  hvm.pair.hvm_network:
    state: query
  register: networks

- name: Not that one any more
  hvm.pair.hvm_network:
    state: absent
    networks:
      - name: br-vlan30
"""

RETURN = r"""
networks:
  description: All that are declared, by name; with O(state=query) also those whose removal has not ended.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the bridge.
      type: str
      sample: br-vlan10
    interface:
      description: As it was declared.
      type: raw
      sample: eno1
    vlan:
      description: As it was declared; not there when it has none.
      type: int
      sample: 10
    mtu:
      description: As it was declared; not there when nothing was said.
      type: int
      sample: 9000
    addresses:
      description: As they were declared; not there when it has none.
      type: dict
      sample: {"hv1": ["10.20.0.1/24"]}
    sentence:
      description: The same in words.
      type: str
      returned: when O(state=query)
      sample: "br-vlan10: VLAN 10 of eno1"
    origin:
      description: V(inventory) or V(command), who has declared it.
      type: str
      returned: when O(state=query)
      sample: inventory
    hosts:
      description: By host, what is not as it was declared; an empty list when all is well.
      type: dict
      returned: when O(state=query)
      sample: {"hv1": [], "hv2": ["VLAN 10 of eno1 is not there"]}
sentence:
  description: What was declared or removed; empty with O(state=declared).
  returned: when O(state) is not V(query)
  type: str
  sample: "br-vlan30: VLAN 30 of eno1."
actions:
  description: By host, what was done, or in check mode would be.
  returned: when O(state) is not V(query)
  type: dict
  sample: {"hv1": ["br-vlan30: made (VLAN 30 of eno1)"]}
plan:
  description: By host, the files and commands of it.
  returned: when O(state) is not V(query)
  type: dict
  sample: {"hv1": ["write /etc/network/interfaces.d/hvm-br-vlan30", "ifup br-vlan30"]}
remedy:
  description: What can be done about the failure.
  returned: failure
  type: str
  sample: Choose another interface, or do it on the host's console, without hvm.
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._net.managers import MANAGERS
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import networks

ARGUMENT_SPEC: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["declared", "present", "absent", "applied", "query"], "default": "declared"},
    "networks": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "interface": {"type": "raw"},
            "vlan": {"type": "int"},
            "mtu": {"type": "int"},
            "addresses": {"type": "dict"},
        },
    },
    "manager": {"type": "str", "choices": list(MANAGERS), "default": "auto"},
}


def work(module: HvmModule) -> dict[str, t.Any]:
    state, wanted = module.params["state"], module.params["networks"]
    pair = config.load(module.params["config"])
    if state == "query":
        return networks.query(pair)
    if state == "applied":
        return networks.reapply(pair, module.check_mode)
    if state == "present":
        return networks.put(pair, wanted, module.check_mode)
    if state == "absent":
        return networks.take_out(pair, [one["name"] for one in wanted], module.check_mode)
    return networks.declare(pair, wanted, module.params["manager"], module.check_mode)


def main() -> None:
    wanted = [("state", state, ("networks",)) for state in ("declared", "present", "absent")]
    HvmModule(ARGUMENT_SPEC, required_if=wanted).run(work)


if __name__ == "__main__":
    main()
