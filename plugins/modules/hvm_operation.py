#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_operation
short_description: End an operation that runs, or the mark of one that did not end
description:
  - V(cancelled) tells a C(migrate_unsecure) that runs on this host to end. It looks for that after the hot sync, before and
    while it moves a VM, and before the shared IP goes off; then it undoes what is to be undone, and fails with that reason. This
    module does not wait for it. Once every VM has moved there is nothing to cancel any more, and this is refused.
  - V(acknowledged) removes the mark of an operation that was interrupted, once somebody has looked. Not that of a
    C(migrate_unsecure) - only its journal says on which host each VM is; M(hvm.pair.hvm_recover) ends it.
version_added: 0.1.0
options:
  state:
    description: What becomes of the operation.
    type: str
    required: true
    choices: [acknowledged, cancelled]
  moved:
    description:
      - For V(cancelled), what becomes of VMs that have moved by then. They come V(back), or they V(stay) on the other host, until
        C(migrate_unsecure) is run again, which goes on with the others, or M(hvm.pair.hvm_recover), which brings them back.
        With V(stay), VMs that were saved to move are off until then.
      - It counts more than O(hvm.pair.hvm_move#module:on_failure).
    type: str
    choices: [back, stay]
    default: back
attributes:
  check_mode:
    description: Says what it would do, and changes nothing.
    support: full
  diff_mode:
    description: Shows the state before and after.
    support: none
extends_documentation_fragment:
  - hvm.pair._pair
seealso:
  - module: hvm.pair.hvm_move
"""

EXAMPLES = r"""
- name: It takes too long, and the VMs that have moved come back
  hvm.pair.hvm_operation:
    state: cancelled

- name: It takes too long; the others move tonight
  hvm.pair.hvm_operation:
    state: cancelled
    moved: stay

- name: Somebody has looked
  hvm.pair.hvm_operation:
    state: acknowledged
"""

RETURN = r"""
sentence:
  description: What it was told.
  type: str
  returned: when state is cancelled
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import cancelling, rollback


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    pair = config.load(p["config"])
    if p["state"] == "acknowledged":
        return rollback.acknowledge(pair, module.check_mode)
    return cancelling.cancel(p["moved"], module.check_mode, pair.peer.name)


def main() -> None:
    HvmModule(
        {
            "state": {"type": "str", "required": True, "choices": ["acknowledged", "cancelled"]},
            "moved": {"type": "str", "default": cancelling.BACK, "choices": [cancelling.BACK, cancelling.STAY]},
        }
    ).run(work)


if __name__ == "__main__":
    main()
