#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_role
short_description: First role of a host, its datasets, and marks of operations that did not end
description:
  - Gives the hosts of a new pair their first roles; a host that has a role keeps it.
  - Removes the mark of an operation that was interrupted, once somebody has looked; so does M(hvm.pair.hvm_operation).
version_added: 0.1.0
options:
  state:
    description:
      - V(initialised) gives the first role, and makes the missing datasets.
      - V(acknowledged) removes the mark of an interrupted operation.
    type: str
    default: initialised
    choices: [initialised, acknowledged]
  active:
    description: The host that becomes ACTIVE in a new pair. Needed for O(state=initialised).
    type: str
  filesystems:
    description:
      - Datasets that the ACTIVE host mounts, each with C(mountpoint), and optionally C(properties) and C(mode).
      - One that is missing is made on the first ACTIVE host of a new pair, and takes over what lies at its mountpoint.
      - On the ACTIVE host of a pair that has roles, one that is missing is made and mounted. Its mountpoint must be empty.
    type: dict
    default: {}
  create_datasets:
    description:
      - Whether what is missing is made. The ACTIVE host gets the roots and O(filesystems), the PASSIVE one only what lies above
        the roots, where a replica cannot be received without.
      - With V(false), a new pair is refused while one is missing.
    type: bool
    default: true
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
- name: First roles of a new pair
  hvm.pair.hvm_role:
    active: hv1
    filesystems:
      tank/shared/libvirt/qemu:
        mountpoint: /etc/libvirt/qemu
"""

RETURN = r"""
role:
  description: The role of the host.
  type: str
  returned: when state is initialised
epoch:
  description: Its epoch.
  type: int
  returned: when state is initialised
datasets:
  description: Datasets that were made, or would be.
  type: list
  elements: str
  returned: when state is initialised
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import initialise, rollback


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    pair = config.load(p["config"])
    if p["state"] == "acknowledged":
        return rollback.acknowledge(pair, module.check_mode)
    return initialise.initialise(pair, p["active"], p["filesystems"], module.check_mode, p["create_datasets"])


def main() -> None:
    HvmModule(
        {
            "state": {"type": "str", "default": "initialised", "choices": ["initialised", "acknowledged"]},
            "active": {"type": "str"},
            "filesystems": {"type": "dict", "default": {}},
            "create_datasets": {"type": "bool", "default": True},
        },
        required_if=[("state", "initialised", ["active"])],
    ).run(work)


if __name__ == "__main__":
    main()
