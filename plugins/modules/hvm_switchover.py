#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_switchover
short_description: Hand the VMs and the ACTIVE role over to the other host
description:
  - Runs on the ACTIVE host. Everything from the first VM's pause to the last one's resumption on the other host happens in this
    one process, over a connection opened beforehand.
  - Steps - snapshot and sync until the rest is small > save VM states, highest number first > shared IP off > stop here >
    snapshot (B), sync, verify > start there > restore by priority > shared IP on there.
  - Whatever fails before a VM runs on the other host is undone - the VMs go on here, from their saved states. Only when the other
    host was told to take over, and cannot be asked any more whether it did, nothing starts here until
    M(hvm.pair.hvm_recover) knows.
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
  - hvm.pair._progress
"""

EXAMPLES = r"""
- name: Swap the roles
  hvm.pair.hvm_switchover:
"""

RETURN = r"""
active:
  description: Name of the host that is ACTIVE now.
  type: str
  returned: success
set:
  description: Name of the snapshot set that was handed over.
  type: str
  returned: when done
vms:
  description: Each VM's C(interruption) in seconds, by the clock of the source.
  type: dict
  returned: success
bytes:
  description: Bytes that were sent.
  type: int
  returned: when done
steps:
  description: Duration of each step of the interruption, in seconds.
  type: list
  elements: dict
  returned: when done
presync:
  description: The hot rounds before the interruption.
  type: list
  elements: dict
  returned: when done
window:
  description: Seconds from the first pause to the last VM running.
  type: float
  returned: when done
total:
  description: Seconds from beginning to end.
  type: float
  returned: when done
plan:
  description: The steps that would be taken.
  type: list
  elements: str
  returned: in check mode
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import switchover


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    return switchover.migrate(config.load(p["config"]), Progress(p["progress_file"]), module.check_mode)


def main() -> None:
    HvmModule({"progress_file": {"type": "path"}}).run(work)


if __name__ == "__main__":
    main()
