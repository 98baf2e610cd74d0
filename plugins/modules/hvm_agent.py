#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_agent
short_description: The files of a host of a pair
description:
  - Installs what the other host talks to (the agent), the libvirt hook that lets no VM start on a host that is not ACTIVE, and
    the conditions that keep libvirt itself stopped there.
  - Installs the command C(hvm) besides, with its completion for bash, for whoever works on the host itself.
  - The library is the very code that this module was sent with.
  - Nothing is touched that is as it should be. Otherwise it is refused while an operation is running on the host, with whose it
    is and since when, or pending.
  - Files that an older version has brought, and this one lacks, are removed.
version_added: 0.1.0
options:
  state:
    description: Whether they are there.
    type: str
    default: present
    choices: [present, absent]
  wait:
    description: Seconds to wait for an operation on this host to end, before another version is installed.
    type: int
    default: 60
  interface:
    description:
      - Interface of the shared IP. Where systemd-networkd is in charge of it, a drop-in beside its C(.network) file lets networkd
        keep the addresses that it did not give (C(KeepConfiguration=yes)). Else each restart of networkd would take the shared
        IP away. networkd reads it when it reads its files next; nothing is reloaded.
      - Without it, the interface that the description of the pair on the host has.
    type: str
    default: ''
  shared_ips:
    description:
      - The shared addresses that the pair is to have. It is refused while the host has another one of the description that is
        there, which nobody would take off any more. Without this option nothing is asked.
    type: list
    elements: str
  despite_pending:
    description:
      - Whether another version may be installed while an operation is pending that did not end. The version that began it knows
        best how to end it, so run C(hvm recover) on the host first.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what it would do, and changes nothing.
    support: full
  diff_mode:
    description: Shows the state before and after.
    support: full
extends_documentation_fragment:
  - hvm.pair._pair
"""

EXAMPLES = r"""
- name: Install the agent
  hvm.pair.hvm_agent:
"""

RETURN = r"""
version:
  description: Digest of the installed library.
  type: str
  returned: when state is present
previous:
  description: Digest of the library that was there. Empty when none was.
  type: str
  returned: when state is present
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._command import installed
from ansible_collections.hvm.pair.plugins.module_utils._procedure import address, agent, install


def work(module: HvmModule) -> dict[str, t.Any]:
    agent.load_rest()  # what is loaded is installed
    installed.load_all()
    p = module.params
    if p["state"] == "absent":
        return install.remove(module.check_mode, installed.files())
    if p["shared_ips"] is not None:
        install.refuse_left_over(p["shared_ips"])
    return install.install(
        module.check_mode,
        {**installed.files(), **address.files(p["interface"])},
        busy=installed.at_work,
        wait=p["wait"],
        despite_pending=p["despite_pending"],
    )


def main() -> None:
    HvmModule(
        {
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "wait": {"type": "int", "default": 60},
            "interface": {"type": "str", "default": ""},
            "shared_ips": {"type": "list", "elements": "str"},
            "despite_pending": {"type": "bool", "default": False},
        }
    ).run(work)


if __name__ == "__main__":
    main()
