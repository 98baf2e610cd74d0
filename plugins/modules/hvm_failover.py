#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_failover
short_description: Let the PASSIVE host take over, when the ACTIVE one is lost
description:
  - The PASSIVE host goes back to its last complete snapshot set (what is newer is kept), becomes ACTIVE in a new epoch, takes the
    shared IP and lets the VMs run, from the state images in the set, if there are any.
  - What was written on the other host after that set is not on this one. It is shown first, per VM and dataset; nothing is done
    until the operator has named the host that is lost.
  - A host that answers is not lost. If it is stopped it can be given up; it becomes DIVERGED, and its data stay there.
  - That a host does not answer is never taken as proof that it is off.
version_added: 0.1.0
options:
  to:
    description:
      - The set to go on from, V(last), V(last_state) (the last one with VM states, B), or a timestamp.
    type: str
    default: last
  dead_host:
    description: The name of the other host, as the operator's word that it is off, and that what is shown may be lost.
    type: str
    default: ""
  give_up:
    description: The name of the other host, when it answers and is to be left behind with what only it has.
    type: str
    default: ""
  fence:
    description:
      - A command that is run on this host to switch the other one off, as a list, such as one of ipmitool. It is run when that
        one does not answer, or refuses to be asked.
      - Its success is proof. Its failure is none, whatever was named, and then nothing is done.
    type: list
    elements: str
    default: []
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
- name: What would be lost?
  hvm.pair.hvm_failover:
    dead_host: hv1
  check_mode: true

- name: The other host is lost
  hvm.pair.hvm_failover:
    dead_host: hv1

- name: The same, after it was switched off by its BMC
  hvm.pair.hvm_failover:
    dead_host: hv1
    fence: [ipmitool, -I, lanplus, -H, 10.0.0.9, -U, admin, -f, /etc/hvm/bmc, power, "off"]
"""

RETURN = r"""
do:
  description: V(take over), or nothing when this host is ACTIVE.
  type: str
  returned: success
set:
  description: The set that this host goes on from.
  type: str
  returned: success
lost:
  description:
    - What would be, or was, lost, with C(set), C(age) in seconds, C(vms), C(datasets) (with the bytes written since, when that is
      known), C(missing) (datasets that are not in the set, with where their last replica is kept, if it is) and C(lines).
  type: dict
  returned: success, and when it is refused
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
from ansible_collections.hvm.pair.plugins.module_utils._procedure import failover


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    words = failover.Words(p["dead_host"], p["give_up"], p["fence"])
    return failover.apply(config.load(p["config"]), p["to"], words, module.check_mode, Progress(p["progress_file"]))


def main() -> None:
    HvmModule(
        {
            "to": {"type": "str", "default": "last"},
            "dead_host": {"type": "str", "default": ""},
            "give_up": {"type": "str", "default": ""},
            "fence": {"type": "list", "elements": "str", "default": []},
            "progress_file": {"type": "path"},
        }
    ).run(work)


if __name__ == "__main__":
    main()
