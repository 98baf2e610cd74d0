#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_zfs_mount
short_description: Mount or unmount the datasets of a pair, without the hypervisor
description:
  - C(hvm zfs mount) and C(hvm zfs umount), for whoever has to repair something in the datasets. In daily work
    M(hvm.pair.hvm_hypervisor) does this.
  - Mounted means as the ACTIVE host has them, that is writable, and with the devices of the zvols. The role stays as it is.
  - Mounting is refused on a PASSIVE host, since mounting alone changes a replica. On a host that is UNKNOWN or DIVERGED it needs
    the other host to answer and not to be ACTIVE, or the operator's word that it is switched off.
  - Unmounting makes the datasets inert (read-only, no devices); it is refused while the hypervisor or a VM runs.
version_added: 0.1.0
options:
  state:
    description: What they shall be.
    type: str
    required: true
    choices: [mounted, unmounted]
  peer_is_down:
    description:
      - The name of the other host, as the operator's word that it is switched off.
      - Needed for O(state=mounted) when the other host does not answer and this one was not ACTIVE in this boot.
    type: str
    default: ""
attributes:
  check_mode:
    description: Says what it would do, and changes nothing.
    support: full
  diff_mode:
    description: Shows what is mounted, and whether it can be written to, before and after.
    support: full
extends_documentation_fragment:
  - hvm.pair._pair
"""

EXAMPLES = r"""
- name: Mount, to repair something with the hypervisor stopped
  hvm.pair.hvm_zfs_mount:
    state: mounted

- name: Unmount
  hvm.pair.hvm_zfs_mount:
    state: unmounted
"""

RETURN = r"""
mountpoints:
  description: What was mounted or unmounted.
  type: list
  elements: str
  returned: success
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import mount


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    return mount.apply(config.load(p["config"]), p["state"], p["peer_is_down"], module.check_mode)


def main() -> None:
    HvmModule(
        {
            "state": {"type": "str", "required": True, "choices": ["mounted", "unmounted"]},
            "peer_is_down": {"type": "str", "default": ""},
        }
    ).run(work)


if __name__ == "__main__":
    main()
