#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_shared_ip
short_description: Enable or disable the shared IP address of a pair on a host
description:
  - The ACTIVE host of a pair holds the shared addresses, the PASSIVE one does not. This module makes it so on one host;
    it is what C(hvm hv sharedIP enable) and C(hvm hv sharedIP disable) do.
  - An address is taken only when nobody answers for it, which is asked with ARP probes (RFC 5227) and IPv6 neighbour
    solicitations. The neighbours are then told where it is now.
  - The neighbours are told again after 2, 10 and 60 seconds, and when another machine claims an address, by the transient unit
    C(hvm-announce.service). Nothing waits for it. It ends when the addresses are gone, or after ten minutes without a claim.
  - That nobody answers does not prove that nobody has it, since the other host may sit behind a dead link. Which host may hold
    the addresses is decided by the roles of the pair; M(hvm.pair.hvm_switchover) moves them together with everything else.
  - An address is added as a host address (C(/32), C(/128)) when the interface has an address of the same network, and with
    the prefix length that was given otherwise.
extends_documentation_fragment:
  - hvm.pair._pair
attributes:
  check_mode:
    description: Can run in C(check_mode) and say what it would do without changing anything.
    support: full
    details:
      - The probes are sent in check mode too. They change nothing, neither on this host nor in the caches of others.
  diff_mode:
    description: Shows what changed, or in check mode would change, in diff mode.
    support: full
options:
  state:
    description:
      - V(enabled) puts the addresses on the interface. It fails when another machine answers for one of them, when the interface
        has no carrier, or when the gateway does not answer; also on a host that is not ACTIVE, and while an operation moves the
        addresses or the role. It does not wait for a sync or a backup.
      - V(disabled) takes them off this host, whatever interface they are on. It fails when the connection that runs the
        module goes to one of them. If the other host has them too, it tells the neighbours once more.
    type: str
    choices: [enabled, disabled]
    required: true
  addresses:
    description:
      - The shared addresses, each as C(ADDRESS/PREFIX), IPv4 or IPv6.
      - Those of the file O(config) by default.
    type: list
    elements: str
  interface:
    description:
      - The interface of the addresses.
      - That of the file O(config) by default.
    type: str
  gateway:
    description:
      - A machine that must answer before the addresses are taken. A host that cannot reach it is the one that is cut off.
        An empty string asks nobody.
      - That of the file O(config) by default. When O(addresses) and O(interface) are both given, the file is not read, and the
        default is to ask nobody.
    type: str
seealso:
  - module: hvm.pair.hvm_info
  - module: hvm.pair.hvm_switchover
"""

EXAMPLES = r"""
- name: Take the shared IP, when nobody else has it
  hvm.pair.hvm_shared_ip:
    state: enabled

- name: Let the shared IP go
  hvm.pair.hvm_shared_ip:
    state: disabled

- name: Take another address, on a host without a pair
  hvm.pair.hvm_shared_ip:
    state: enabled
    addresses:
      - 192.0.2.10/24
      - 2001:db8::10/64
    interface: br0
    gateway: 192.0.2.1
"""

RETURN = r"""
sentence:
  description: How the shared addresses stand now; in check mode, how they would.
  returned: success
  type: str
  sample: Shared IP is enabled
enabled:
  description: Whether all of them are on their interface and can be used.
  returned: success
  type: bool
  sample: true
addresses:
  description: Each of the addresses.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: As it was given.
      type: str
      sample: 192.0.2.10/24
    enabled:
      description: Whether it is on the interface and can be used.
      type: bool
      sample: true
    found:
      description: Each place where this host has it.
      type: list
      elements: str
      sample: ["192.0.2.10/32 on br0"]
    sentence:
      description: The same in words.
      type: str
      sample: 192.0.2.10 is on br0
mac:
  description: The machine that answers for the address that could not be taken; empty when it is not known.
  returned: when another machine has one of the addresses
  type: str
  sample: 52:54:00:12:34:56
remedy:
  description: What can be done about the failure.
  returned: failure
  type: str
  sample: Connect to the host's own address and run this again.
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import address

ARGUMENT_SPEC: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["enabled", "disabled"], "required": True},
    "addresses": {"type": "list", "elements": "str"},
    "interface": {"type": "str"},
    "gateway": {"type": "str"},
}


def work(module: HvmModule) -> dict[str, t.Any]:
    addresses, interface, gateway = (module.params[name] for name in ("addresses", "interface", "gateway"))
    pair = None
    if addresses is None or interface is None:
        pair = config.load(module.params["config"])
        addresses = list(pair.shared_ips) if addresses is None else addresses
        interface = pair.interface if interface is None else interface
        gateway = pair.gateway if gateway is None else gateway
    return address.apply(module.params["state"], addresses, interface, gateway or "", pair, module.check_mode)


def main() -> None:
    HvmModule(ARGUMENT_SPEC).run(work)


if __name__ == "__main__":
    main()
