#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_zfs_sync
short_description: Bring a snapshot set to the other host and verify it
description:
  - Runs on the ACTIVE host. Finds for each dataset the newest snapshot that both hosts have, by GUID, and sends what came after
    it, over one ssh connection of the pair's own.
  - Nothing is ever rolled back or destroyed on the other host to make a stream fit; a replica that does not fit is refused with
    the remedy.
version_added: 0.1.0
options:
  set:
    description: The set to bring over; the newest complete one when left out.
    type: str

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
- name: Bring the newest snapshot set to the other host
  hvm.pair.hvm_zfs_sync:
"""

RETURN = r"""
set:
  description: Name of the set.
  type: str
  returned: success
bytes:
  description: Bytes that were sent.
  type: int
  returned: when something was done
datasets:
  description: Bytes by dataset.
  type: dict
  returned: when something was done
seconds:
  description: How long it took.
  type: float
  returned: when something was done
verified:
  description: Whether the set was seen complete on the other host, with equal GUIDs.
  type: bool
  returned: when something was done
properties:
  description: Properties that were set on the replica, by dataset.
  type: dict
  returned: success
plan:
  description: The streams that would be sent, with C(dataset), C(base), C(snapshot).
  type: list
  elements: dict
  returned: in check mode
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import sync


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    return sync.run(config.load(p["config"]), Progress(p["progress_file"]), p["set"], module.check_mode)


def main() -> None:
    HvmModule({"set": {"type": "str"}, "progress_file": {"type": "path"}}).run(work)


if __name__ == "__main__":
    main()
