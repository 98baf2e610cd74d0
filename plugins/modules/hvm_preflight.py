#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_preflight
short_description: Ask both hosts of a pair whether an operation may begin
description:
  - Run it on both hosts. The ACTIVE one looks at itself and, over the pair's own connection, at the other, and refuses with
    every reason at once. For a migration that is also what the VMs need and the other one does not offer (CPU, machine type,
    firmware and more); before a backup it is a warning, as is a disk that is on no replicated dataset.
  - The other one says who acts. Nothing is changed.
  - V(migrate_unsecure) may also be one that has begun and is gone on with. How each VM would move is for M(hvm.pair.hvm_move).
  - V(hv_start), V(rollback) and V(follow) are for the host that was ACTIVE last, by the records of both. V(follow) is
    M(hvm.pair.hvm_zfs_rollback) with O(hvm.pair.hvm_zfs_rollback#module:state=followed), which may be done while VMs run.
version_added: 0.1.0
options:
  operation:
    description: What is about to be done.
    type: str
    required: true
    choices: [migrate, migrate_unsecure, backup, backup_unsecure, sync, hv_start, rollback, follow]
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
- name: May the VMs move?
  hvm.pair.hvm_preflight:
    operation: migrate
  register: preflight
"""

RETURN = r"""
acts:
  description: Whether this host is the one that does the work.
  type: bool
  returned: success
active:
  description: Name of the host that acts.
  type: str
  returned: success
role:
  description: Role of this host.
  type: str
  returned: success
sentence:
  description: The decision in words.
  type: str
  returned: success
findings:
  description: Every reason to refuse, with C(what), C(remedy) and C(host).
  type: list
  elements: dict
  returned: failure
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import preflight


def work(module: HvmModule) -> dict[str, t.Any]:
    return preflight.preflight(config.load(module.params["config"]), module.params["operation"])


def main() -> None:
    operations = [*preflight.OPERATIONS, *preflight.LAST_ACTIVE]
    HvmModule({"operation": {"type": "str", "required": True, "choices": operations}}).run(work)


if __name__ == "__main__":
    main()
