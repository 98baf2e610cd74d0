#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_uninstall
short_description: Takes the collection off a host
description:
  - Removes the timer, the libvirt hook, the unit conditions, the pair's keys, the command C(hvm), the library, the configuration
    and the records.
  - Datasets, snapshots and state images of VMs stay, whatever is said. The result names them.
  - A host that is ACTIVE goes on by itself. Its VMs run on, libvirt is enabled, and its filesystems are mounted at boot.
  - Any other host keeps its datasets read-only and not mounted, and libvirt stays disabled.
  - Refused while an operation is running. What else is a reason to refuse can be named in O(despite).
version_added: 0.1.0
options:
  name:
    description: Name of the pair that this host belongs to. Needed, except in check mode and where nothing is installed.
    type: str
    default: ""
  despite:
    description:
      - Reasons to refuse that do not count.
      - V(pending), an operation that did not end. V(saved), VMs with state images, which only this collection proves to fit their
        disks. V(stopped), the host is ACTIVE with its hypervisor stopped. V(unknown), it was ACTIVE before it rebooted.
        V(diverged), it holds writes that the other one lacks.
      - A host whose hypervisor does not run ends as any other that is not ACTIVE.
    type: list
    elements: str
    choices: [pending, saved, stopped, unknown, diverged]
    default: []
  holds:
    description:
      - What becomes of the holds and bookmarks that keep the base of the next sync. V(keep) only names them, V(release) lets them
        go, on this host.
    type: str
    choices: [keep, release]
    default: keep
attributes:
  check_mode:
    description: Says what it would do, or refuse, and changes nothing.
    support: full
  diff_mode:
    description: Shows the files that go.
    support: full
extends_documentation_fragment:
  - hvm.pair._pair
"""

EXAMPLES = r"""
- name: This pair is given up
  hvm.pair.hvm_uninstall:
    name: office
    holds: release
"""

RETURN = r"""
pair:
  description: Name of the pair. Empty when nothing was there.
  type: str
  returned: success
role:
  description: The role that the host had.
  type: str
  returned: success
done:
  description: What was done, or would be, as sentences.
  type: list
  elements: str
  returned: success
left:
  description: What stays on the host, and how it is used or removed, as sentences.
  type: list
  elements: str
  returned: success
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._command import installed
from ansible_collections.hvm.pair.plugins.module_utils._procedure import uninstall


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    return uninstall.uninstall(
        p["name"], p["despite"], p["holds"] == "release", module.check_mode, installed.files(), installed.at_work
    )


def main() -> None:
    HvmModule(
        {
            "name": {"type": "str", "default": ""},
            "despite": {
                "type": "list",
                "elements": "str",
                "choices": ["pending", "saved", "stopped", "unknown", "diverged"],
                "default": [],
            },
            "holds": {"type": "str", "choices": ["keep", "release"], "default": "keep"},
        }
    ).run(work)


if __name__ == "__main__":
    main()
