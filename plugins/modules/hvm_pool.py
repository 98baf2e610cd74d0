#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_pool
short_description: The ZFS pools of a host
description:
  - Makes pools that are not there, of devices that hold nothing.
  - A device with a partition, a file system, a label of any kind, or a user is refused, by name. Nothing is ever erased, and
    nothing is made by force.
  - A pool that is there is never changed. Is it not as it is described, a warning says how.
  - All pools are looked at before the first one is made.
version_added: 0.1.0
options:
  pools:
    description:
      - Name of each pool, with C(vdevs), and optionally C(properties) and C(filesystem_properties).
      - C(vdevs) is a list of lists of words, each as C(zpool create) takes it, such as V([mirror, /dev/disk/by-id/ONE,
        /dev/disk/by-id/OTHER]), V([/dev/disk/by-id/ONE]) or V([log, mirror, ...]).
      - C(properties) are those of the pool (C(zpool create -o)). C(ashift) is 12 if nothing is said.
      - C(filesystem_properties) are inherited by every dataset (C(zpool create -O)). If nothing is said, C(compression) is lz4,
        C(atime) off, C(xattr) sa, C(acltype) posixacl, C(mountpoint) none, and C(canmount) off.
      - A property with the value null is left to ZFS.
    type: dict
    required: true
attributes:
  check_mode:
    description: Says what it would do, or refuse, and changes nothing.
    support: full
  diff_mode:
    description: Shows the commands.
    support: full
extends_documentation_fragment:
  - hvm.pair._pair
"""

EXAMPLES = r"""
- name: Two pools
  hvm.pair.hvm_pool:
    pools:
      ssd:
        vdevs:
          - [mirror, /dev/disk/by-id/nvme-ONE, /dev/disk/by-id/nvme-OTHER]
      rot:
        vdevs:
          - [raidz1, /dev/disk/by-id/ata-A, /dev/disk/by-id/ata-B, /dev/disk/by-id/ata-C]
        filesystem_properties:
          recordsize: 1M
"""

RETURN = r"""
created:
  description: Names of the pools that were made, or would be.
  type: list
  elements: str
  returned: success
commands:
  description: The commands that make them.
  type: list
  elements: list
  returned: success
differs:
  description: Of pools that were there, how they are not as they are described.
  type: dict
  returned: success
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._procedure import pools


def work(module: HvmModule) -> dict[str, t.Any]:
    return pools.ensure(module.params["pools"], module.check_mode)


def main() -> None:
    HvmModule({"pools": {"type": "dict", "required": True}}).run(work)


if __name__ == "__main__":
    main()
