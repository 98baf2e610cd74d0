#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_scheduled
short_description: The scheduled run of a pair
description:
  - What the timer of each host does. Run it on both hosts; it does its work on the one that is ACTIVE, and says so on the other.
  - A constraint that is in force decides first (M(hvm.pair.hvm_constraint)). If it names the other host, the VMs migrate; if it
    names this one, they are backed up. Without one the roles are swapped when they are old enough; else they are backed up, and
    old sets go on both hosts.
  - It works on a pair that is whole only. When something is pending, or one host does not answer, it fails, and says what
    C(status) advises. It never makes a host ACTIVE that the ACTIVE one does not hand over to.
  - When a migration is refused, a backup is made instead, and the run fails with the reason.
  - The outcome goes into the host's log (tag C(hvm)) with role and epoch. A report of what was done, or why not, is mailed by the
    host if the role P(hvm.pair.host#role) was told where to. A mail that cannot be sent is a warning.
  - How often the roles are swapped, how a backup is made and which old sets stay is in C(/etc/hvm/schedule.json), which the role
    writes from the variables C(hvm_schedule_*); without that file it is as the playbooks have it by themselves.
version_added: 0.1.0
attributes:
  check_mode:
    description: Says what it would do, and changes nothing. No mail is sent, and no line written.
    support: full
  diff_mode:
    description: Shows the state before and after.
    support: none
extends_documentation_fragment:
  - hvm.pair._pair
  - hvm.pair._progress
seealso:
  - module: hvm.pair.hvm_constraint
"""

EXAMPLES = r"""
- name: On both hosts, what is due now
  hvm.pair.hvm_scheduled:
"""

RETURN = r"""
do:
  description:
    - V(backup), V(migrate), V(nothing) (this host has just taken over), V(elsewhere) (it is for the other host), or empty when it
      was refused.
  type: str
  returned: when both hosts could be looked at
sentence:
  description: What was decided, and why.
  type: str
  returned: success
active:
  description: Name of the host that is ACTIVE afterwards; empty when that is not known.
  type: str
  returned: success
role:
  description: Role of this host afterwards.
  type: str
  returned: success
epoch:
  description: Epoch of this host afterwards.
  type: int
  returned: success
subject:
  description: The outcome in a line, as it is the subject of the mail.
  type: str
  returned: always
  sample: "[hvm office] hv1: done: backup secure"
report:
  description: The report, as it is mailed.
  type: list
  elements: str
  returned: always
mailed:
  description: Whether a mail was sent.
  type: bool
  returned: always
findings:
  description: Every reason to refuse, with C(what), C(remedy) and C(host).
  type: list
  elements: dict
  returned: when it was refused
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import scheduled


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    return scheduled.apply(config.load(p["config"]), Progress(p["progress_file"]), module.check_mode)


def main() -> None:
    HvmModule({"progress_file": {"type": "path"}}).run(work)


if __name__ == "__main__":
    main()
