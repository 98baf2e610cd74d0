#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_checkpoint
short_description: A consistent point of all VMs, and the VMs go on
description:
  - >-
    On the ACTIVE host, in one process: saves the state of every running VM, takes a snapshot set with the mark B, and
    restores the VMs.
  - The first half of C(hvm backup secure); the second is M(hvm.pair.hvm_zfs_sync).
version_added: 0.1.0
options:
  progress_file:
    description:
      - A file on the host that gets one JSON line per step, for whoever watches.
      - The action plugin of the same name sets it and shows the lines while the play runs.
    type: path
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
- name: VM states, snapshot (B), VMs go on
  hvm.pair.hvm_checkpoint:
"""

RETURN = r"""
set:
  description: Name of the snapshot set.
  type: str
  returned: when it was taken
vms:
  description: Each VM's C(interruption) in seconds.
  type: dict
  returned: success
steps:
  description: Duration of each step, in seconds.
  type: list
  elements: dict
  returned: when it was taken
window:
  description: Seconds from the first pause to the last VM running.
  type: float
  returned: when it was taken
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import checkpoint


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    return checkpoint.checkpoint(config.load(p["config"]), Progress(p["progress_file"]), module.check_mode)


def main() -> None:
    HvmModule({"progress_file": {"type": "path"}}).run(work)


if __name__ == "__main__":
    main()
