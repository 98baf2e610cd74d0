#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_hypervisor
short_description: Start or stop the hypervisor of a host
description:
  - C(hvm hv start) mounts the datasets, opens the gate and starts libvirt; C(hvm hv stop) does the reverse.
  - Starting makes the host ACTIVE in a new epoch, if it was not; it is refused when the other host is ACTIVE, was ACTIVE later,
    or cannot be asked, or when another machine has the shared IP. That this one cannot be taken otherwise is a warning.
  - Stopping is refused while VMs run, and over a connection to the shared IP, which goes with it.
version_added: 0.1.0
options:
  state:
    description: What it shall be.
    type: str
    required: true
    choices: [started, stopped]
  peer_is_down:
    description:
      - The name of the other host, as the operator's word that it is switched off.
      - Needed when the other host does not answer and this one was not ACTIVE in this boot. If the word is wrong, two hosts run
        the same VMs.
    type: str
    default: ""
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
- name: Start the hypervisor on the last ACTIVE host
  hvm.pair.hvm_hypervisor:
    state: started
"""

RETURN = r"""
role:
  description: The role afterwards.
  type: str
  returned: success
epoch:
  description: The epoch afterwards.
  type: int
  returned: success
host:
  description: The name of this host.
  type: str
  returned: success
plan:
  description: What was done, or in check mode would be, a line for each step; empty when there was nothing to do.
  type: list
  elements: str
  returned: success
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import switch


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    pair = config.load(p["config"])
    return {"host": pair.me.name, **switch.apply(pair, p["state"], p["peer_is_down"], module.check_mode)}


def main() -> None:
    HvmModule(
        {
            "state": {"type": "str", "required": True, "choices": ["started", "stopped"]},
            "peer_is_down": {"type": "str", "default": ""},
        }
    ).run(work)


if __name__ == "__main__":
    main()
