#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_rejoin
short_description: Let the other host of a pair come back
description:
  - Runs on the host that goes on, which is the ACTIVE one. The other host becomes PASSIVE when it has nothing that this one
    lacks.
  - Otherwise it becomes DIVERGED; what it has of its own gets a snapshot there and is held, until the operator has chosen.
    Then it goes back to the last common set, and the next sync is an increment.
  - Which of the two goes on can be turned round by naming the winner. The other one becomes DIVERGED then.
version_added: 0.1.0
options:
  choice:
    description:
      - What becomes of what only the other host has. V(keep) puts it beside, until M(hvm.pair.hvm_zfs_kept) drops it; V(discard)
        destroys it.
      - Without a choice it is only made sure of, and shown.
    type: str
    choices: [keep, discard]
  discard:
    description: The name of the host whose own data are destroyed, for O(choice=discard).
    type: str
    default: ""
  winner:
    description: The name of the host that goes on, when that is not the ACTIVE one, or there is none. It runs there.
    type: str
    default: ""
  dead_host:
    description:
      - The name of the other host, when it does not answer and is known to be off.
      - What only it has is lost, unless it comes back.
      - For O(winner), on a host that is DIVERGED.
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
- name: The host that was lost is back
  hvm.pair.hvm_rejoin:

- name: It is DIVERGED, and nobody needs to decide now what is in it
  hvm.pair.hvm_rejoin:
    choice: keep

- name: Its data are not needed
  hvm.pair.hvm_rejoin:
    choice: discard
    discard: hv1

- name: Its data are the better ones - on that host
  hvm.pair.hvm_rejoin:
    winner: hv1

- name: Its data are all that is left, since the other host is lost - on that host
  hvm.pair.hvm_rejoin:
    winner: hv1
    dead_host: hv2
"""

RETURN = r"""
do:
  description: V(join), V(diverge), V(keep), V(discard), V(win), or nothing.
  type: str
  returned: success
own:
  description:
    - What the other host has of its own, with C(snapshots) and C(written) (bytes) per dataset, C(doubt), and C(sentence);
      C(overlays) has the bytes that each VM has written there while VMs were on both hosts (null where nobody can look);
      C(since) has the last common C(set), and the bytes that were C(written) to each dataset since.
  type: dict
  returned: success
kept:
  description: The trees on the other host that hold it now.
  type: list
  elements: str
  returned: success
destroyed:
  description: The datasets and snapshots on the other host that were destroyed.
  type: dict
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
from ansible_collections.hvm.pair.plugins.module_utils._procedure import rejoin


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    words = rejoin.Words(p["choice"] or "", p["discard"], p["winner"], p["dead_host"])
    return rejoin.apply(config.load(p["config"]), words, module.check_mode, Progress(p["progress_file"]))


def main() -> None:
    HvmModule(
        {
            "choice": {"type": "str", "choices": ["keep", "discard"]},
            "discard": {"type": "str", "default": ""},
            "winner": {"type": "str", "default": ""},
            "dead_host": {"type": "str", "default": ""},
            "progress_file": {"type": "path"},
        },
        required_if=[("choice", "discard", ["discard"])],
    ).run(work)


if __name__ == "__main__":
    main()
