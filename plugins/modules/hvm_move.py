#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_move
short_description: Move the VMs to the other host while they run, and the ACTIVE role with them
description:
  - Runs on the ACTIVE host. The memory of each VM moves while it runs; what it writes to its disks meanwhile is kept in overlays
    and moves along, so nothing is lost. An interruption is that of the last pass through its memory.
  - Steps - snapshot and sync until the rest is small > overlays for the disks > snapshot, sync, verify > the other host makes
    ready > VM by VM, by priority > shared IP off > stop here > the other host is ACTIVE > shared IP on there > overlays into the
    disks.
  - What fails before the role was handed over is undone - the VMs come back in the same way.
  - Before anything is changed it is measured how fast the memory of each VM changes (libvirt 7.2), and what the link carries.
    A VM that cannot be measured moves all the same.
version_added: 0.1.0
attributes:
  check_mode:
    description:
      - Says how each VM would move and why, how long that would take and how long it would stand still, and changes nothing.
      - For that it is measured how fast the VMs' memory changes, and what the link carries, for about two seconds.
    support: full
  diff_mode:
    description: Shows the state before and after.
    support: none
extends_documentation_fragment:
  - hvm.pair._pair
  - hvm.pair._progress
options:
  mode:
    description:
      - How the VMs move. V(live) moves memory while the VM runs; V(direct) pauses it first; V(secure) saves it, as
        M(hvm.pair.hvm_switchover) does with all of them. V(auto) leaves it to the word C(move=) in a VM's description, and else
        chooses live where that can be done.
    type: str
    choices: [auto, live, direct, secure]
    default: auto
  fallback:
    description:
      - What becomes of a VM whose memory changes faster than it can be carried, as far as that was measured. With V(direct) it is
        slowed down, and paused when O(limit) is over.
    type: str
    choices: [direct, secure, refuse]
    default: direct
  limit:
    description: Seconds for the live move of one VM; then it is paused and moves on, or all goes back, as O(fallback) says.
    type: int
    default: 300
  max_pause:
    description:
      - Seconds that a VM may stand still, as far as that can be told before it is begun; V(0) for any.
      - One that is expected to stand still for longer refuses the whole, before anything is changed.
    type: int
    default: 0
  rate:
    description:
      - MiB per second that one VM's memory may take of the link; V(0) for all that there is.
      - With a rate the link is not measured, and durations are told by it.
    type: int
    default: 0
  on_failure:
    description: Whether VMs that have moved come V(back) when another one cannot, or V(stay) until somebody goes on or goes back.
      VMs that were saved to move are off until then.
    type: str
    choices: [back, stay]
    default: back
"""

EXAMPLES = r"""
- name: Swap the roles, with hardly any interruption
  hvm.pair.hvm_move:

- name: The same over a link that others need, too
  hvm.pair.hvm_move:
    rate: 100
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
  description:
    - Each VM's C(mode), and its C(interruption) in seconds by the clock of the source; C(late) when it was paused because its
      memory changed faster than it went over.
    - In check mode C(mode), C(why), and, where that is known, C(expected_seconds) and C(expected_interruption).
  type: dict
  returned: success
measured:
  description:
    - What was measured before anything was changed.
    - C(link) - bytes per second that the link carries, V(0) when that was not measured.
    - C(dirty) - for each VM that may move live, bytes of its memory that change in a second, null when that was not measured.
  type: dict
  returned: success
bytes:
  description: Bytes of datasets that were sent.
  type: int
  returned: when done
steps:
  description: Duration of each step, in seconds.
  type: list
  elements: dict
  returned: when done
presync:
  description: The hot rounds before.
  type: list
  elements: dict
  returned: when done
window:
  description: Seconds that the VM stood still which stood still longest.
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
from ansible_collections.hvm.pair.plugins.module_utils._pair import config, modes
from ansible_collections.hvm.pair.plugins.module_utils._procedure import move


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    policy = modes.Policy(wish=p["mode"], limit=p["limit"], max_pause=p["max_pause"], fallback=p["fallback"])
    options = move.Options(policy, p["rate"], p["on_failure"] == "stay")
    return move.migrate(config.load(p["config"]), Progress(p["progress_file"]), module.check_mode, options)


def main() -> None:
    HvmModule(
        {
            "progress_file": {"type": "path"},
            "mode": {"type": "str", "choices": list(modes.WISHES), "default": modes.AUTO},
            "fallback": {"type": "str", "choices": list(modes.FALLBACKS), "default": modes.DIRECT},
            "limit": {"type": "int", "default": 300},
            "max_pause": {"type": "int", "default": 0},
            "rate": {"type": "int", "default": 0},
            "on_failure": {"type": "str", "choices": ["back", "stay"], "default": "back"},
        }
    ).run(work)


if __name__ == "__main__":
    main()
