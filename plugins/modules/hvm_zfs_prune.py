#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_zfs_prune
short_description: Let old snapshot sets of this host go
description:
  - C(hvm zfs snap purge). Works on the host that it runs on, alone, in any role.
  - Run it on both hosts, or on one with O(both=true).
  - Each rule only keeps. A set goes when no rule keeps it and the pair does not need it.
  - Without any option the newest 48 stay (O(keep_last)). With O(keep_last=0) and no other rule nothing goes.
  - "Whatever the rules say, these stay: the set that the next sync starts from, and after a sync that was cut each one that it
    may start from; the newest set, and the newest with VM states (B); any that is held or cloned, as a whole; everything that is
    not this pair's."
  - Which set the next sync starts from, a host knows by itself after a sync that was verified. Only when that does not prove what
    may go is the other host asked; if it does not answer, all that it may have stays, and each set says why.
  - Bookmarks of the pair that are older than that set go too.
  - What cannot be destroyed is a warning, not a failure.
version_added: 0.1.0
options:
  older_than:
    description:
      - Hours. A younger set stays.
      - V(0), like leaving it out, switches the rule off.
    type: float
  except_at:
    description:
      - Local times of day of the host, as C(HH:MM) in quotes. Of each day the first set from then on, within an hour, stays.
      - Only together with O(older_than).
    type: list
    elements: str
    default: []
  keep_last:
    description: The newest so many stay.
    type: int
    default: 48
  keep_hourly:
    description: The newest set of each of the last so many hours that have one stays.
    type: int
    default: 0
  keep_daily:
    description: The same with days, by the host's time zone.
    type: int
    default: 0
  keep_weekly:
    description: The same with ISO weeks.
    type: int
    default: 0
  keep_monthly:
    description: The same with months.
    type: int
    default: 0
  both:
    description:
      - The other host does the same, by its own look and by these rules, asked over the pair's own connection.
      - Whatever fails then, on either host, is a warning.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what it would do, and changes nothing. This is the C(-show) of the original, and the run its C(-exec).
    support: full
  diff_mode:
    description: Shows the sets before and after.
    support: full
extends_documentation_fragment:
  - hvm.pair._pair
  - hvm.pair._progress
"""

EXAMPLES = r"""
- name: Keep the last 20 sets
  hvm.pair.hvm_zfs_prune:
    keep_last: 20

- name: After two days only those of noon and of the evening stay, and always the last 10
  hvm.pair.hvm_zfs_prune:
    older_than: 48
    except_at: ["12:00", "20:00"]
    keep_last: 10

- name: On both hosts, after a backup, on the ACTIVE one
  hvm.pair.hvm_zfs_prune:
    keep_last: 20
    both: true

- name: A day of hourly sets, two weeks of daily ones, a year of monthly ones
  hvm.pair.hvm_zfs_prune:
    keep_last: 4
    keep_hourly: 24
    keep_daily: 14
    keep_monthly: 12
"""

RETURN = r"""
hosts:
  description: With O(both=true) what each host returns of what is below, by its name; without a host on which it failed.
  type: dict
  returned: success, when both is true
decisions:
  description: Every set of the pair on this host, by age, with C(set), C(keep) and C(reason).
  type: list
  elements: dict
  returned: success, when both is false
  sample:
    - set: hvm_20261123T094512Z_office_B
      keep: true
      reason: "the next sync starts from it (held as hvm:office)"
destroyed:
  description: Sets that went; in check mode, that would.
  type: list
  elements: str
  returned: success, when both is false
bytes:
  description: Bytes that come back, as ZFS estimates them; nothing when it cannot tell, or when not everything went.
  type: int
  returned: success, when both is false
blocked:
  description: Sets that no rule keeps and that cannot go, each with the reasons, such as who holds it or which clone needs it.
  type: dict
  returned: success, when both is false
left:
  description: Snapshots that stay although their set goes, since they are the last one that their dataset has.
  type: list
  elements: str
  returned: success, when both is false
bookmarks:
  description: Bookmarks that went; in check mode, that would.
  type: list
  elements: str
  returned: success, when both is false
asked:
  description: Whether the other host was asked.
  type: bool
  returned: success, when both is false
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import cycle, prune
from ansible_collections.hvm.pair.plugins.module_utils._zfs.retention import Rules

COUNTS = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly")


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    rules = Rules(older_than=p["older_than"], except_at=tuple(p["except_at"]), **{name: p[name] for name in COUNTS})
    pair, progress = config.load(p["config"]), Progress(p["progress_file"])
    if not p["both"]:
        return prune.prune(pair, rules, progress, module.check_mode)
    warnings: list[str] = []
    hosts = cycle.prune_both(pair, rules, progress, module.check_mode, warnings)
    diff = [{"before_header": host, "after_header": host, **one.pop("diff")} for host, one in hosts.items()]
    return {"changed": any(one["changed"] for one in hosts.values()), "hosts": hosts, "diff": diff, "warnings": warnings}


def main() -> None:
    HvmModule(
        {
            "older_than": {"type": "float"},
            "except_at": {"type": "list", "elements": "str", "default": []},
            "keep_last": {"type": "int", "default": 48},
            "keep_hourly": {"type": "int", "default": 0},
            "keep_daily": {"type": "int", "default": 0},
            "keep_weekly": {"type": "int", "default": 0},
            "keep_monthly": {"type": "int", "default": 0},
            "both": {"type": "bool", "default": False},
            "progress_file": {"type": "path"},
        }
    ).run(work)


if __name__ == "__main__":
    main()
