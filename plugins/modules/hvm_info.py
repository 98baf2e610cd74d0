#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_info
short_description: Everything about a host of a pair, as data
description:
  - "What C(hvm status) shows: role, hypervisor, shared IP, VMs, snapshot sets, lock, what is pending."
  - Changes nothing. Works on both hosts, also when the other one is dead.
  - The other host is asked only when a C(migrate_unsecure) has begun, for where each VM is, or when what comes next
    hangs on it (C(peer_answers)).
version_added: 0.1.0
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
- name: Look at both hosts
  hvm.pair.hvm_info:
  register: look
"""

RETURN = r"""
status:
  description: The manual's three lines of C(hvm status).
  type: list
  elements: str
  returned: success
  sample: [Hypervisor is running, Shared IP is enabled, VMs are running]
hvm:
  description:
    - All that was observed; among it C(role), C(hypervisor), C(shared_ip), C(vms), C(pools), C(sets), C(lock), C(pending).
    - C(peer_answers) is there when the advice depends on it, which is on a
      PASSIVE host where a failover or a rollback was cut off, or to which VMs have moved.
  type: dict
  returned: success
moving:
  description:
    - Empty, unless VMs are on both hosts. Then C(state) is V(MOVING), C(asked) says whether the other host answered, and C(vms)
      has for each of them C(host), empty when only the other one knows it, and C(how) - V(runs), V(arriving), V(saved), V(off)
      or V(unknown).
  type: dict
  returned: success
  sample: {state: MOVING, asked: true, vms: {web: {host: hv2, how: runs}}}
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import brief, observe, preflight


def work(module: HvmModule) -> dict[str, t.Any]:
    pair = config.load(module.params["config"])
    found = observe.observe(pair)
    found.update(preflight.peer_answers(pair, found))
    return {"hvm": found, "status": brief.lines(found), "moving": preflight.places(pair, found)}


def main() -> None:
    HvmModule().run(work)


if __name__ == "__main__":
    main()
