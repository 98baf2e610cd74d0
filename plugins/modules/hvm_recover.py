#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_recover
short_description: Make a pair whole again after a crash
description:
  - Decides by role, epoch and journal of both hosts what this one has to do, and does it. The host that was ACTIVE last becomes
    ACTIVE again, and its VMs run - those that ran when an operation was interrupted, and those with autostart=yes, from their
    state images where these fit, else from their disks. The other host becomes PASSIVE.
  - An operation that was interrupted is finished or undone by it, and it says which. A rollback is ended by
    M(hvm.pair.hvm_zfs_rollback).
  - A host that was not the last ACTIVE one is not made ACTIVE by it, unless it had begun to take over, by a failover or because
    all VMs had moved there. For what is lost there is M(hvm.pair.hvm_failover).
  - It can be interrupted and run again at any time. When there is nothing to do it changes nothing.
version_added: 0.1.0
options:
  peer_is_down:
    description:
      - The name of the other host, as the operator's word that it is switched off.
      - Needed when that host does not answer, and this one was ACTIVE before it rebooted, or had begun to hand over. If the word
        is wrong, two hosts run the same VMs.
    type: str
    default: ""
  give_up:
    description:
      - The name of the other host once more, when C(migrate_unsecure) was cut off and VMs have moved there, or may have. Without
        it they are not started here, and the refusal names them.
      - It is the operator's word that what they wrote there is lost. When that host comes back, what it has of its own is held
        (M(hvm.pair.hvm_rejoin)).
      - A host that does not answer must be named in O(peer_is_down), too.
    type: str
    default: ""
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
- name: After a power cut of both hosts, on both
  hvm.pair.hvm_recover:

- name: The other one does not come back, and this one was ACTIVE
  hvm.pair.hvm_recover:
    peer_is_down: hv2
"""

RETURN = r"""
do:
  description: V(start), V(pass) (PASSIVE from now on), V(elsewhere) (the other host, or another module, comes first), or nothing.
  type: str
  returned: success
peer_answers:
  description: Whether the other host could be asked.
  type: bool
  returned: success
sentence:
  description: What was decided, and why.
  type: str
  returned: success
host:
  description: The name of this host.
  type: str
  returned: success
role:
  description: The role of this host afterwards.
  type: str
  returned: success
epoch:
  description: The epoch afterwards.
  type: int
  returned: success
plan:
  description: In check mode what would be done, a line for each step.
  type: list
  elements: str
  returned: success
vms:
  description: What became of each VM that was off, in a sentence.
  type: dict
  returned: success
left:
  description: VMs that stay off, since they neither ran before nor have autostart=yes.
  type: list
  elements: str
  returned: success
warnings:
  description: What is left to do, or did not work and does no harm now.
  type: list
  elements: str
  returned: success
steps:
  description: Duration of each step, in seconds.
  type: list
  elements: dict
  returned: success
findings:
  description: Every reason to refuse, with C(what), C(remedy) and C(host).
  type: list
  elements: dict
  returned: failure
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import recover


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    progress = Progress(p["progress_file"])
    return recover.apply(config.load(p["config"]), p["peer_is_down"], module.check_mode, progress, give_up=p["give_up"])


def main() -> None:
    words = {name: {"type": "str", "default": ""} for name in ("peer_is_down", "give_up")}
    HvmModule({**words, "progress_file": {"type": "path"}}).run(work)


if __name__ == "__main__":
    main()
