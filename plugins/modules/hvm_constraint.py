#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_constraint
short_description: Set, unset or show which host of a pair must be ACTIVE on which days
description:
  - A hosting constraint names the host that must be ACTIVE from one day to another, for example because the other one is to be
    taken out of service. The module does what C(hvm constraint show), C(hvm constraint set) and C(hvm constraint unset) do.
  - Nothing moves by it at once. The scheduled run (M(hvm.pair.hvm_scheduled)) acts on a constraint, and there it goes before the
    normal cycle of backups and migrations.
  - A constraint is made of whole days of the hosts' local time, the first and the last inclusive. Several can be set for
    the future; two for one day cannot. One that is over has no effect, and goes when the constraints are next written.
  - Run it on either host, in any role. The other one is told over the pair's own connection. If that one does not answer there is
    a warning, and it is told when they meet again, at the next scheduled run at the latest. Of what was set on both meanwhile,
    and does not go together, the later one counts.
extends_documentation_fragment:
  - hvm.pair._pair
attributes:
  check_mode:
    description: Can run in C(check_mode) and say what it would do without changing anything.
    support: full
  diff_mode:
    description: Shows what changed, or in check mode would change, in diff mode.
    support: full
options:
  state:
    description:
      - V(present) sets a constraint.
      - V(absent) removes those that match everything that is given, or all of them when nothing is.
      - V(query) changes nothing; RV(text) is what is set, with a calendar.
    type: str
    choices: [present, absent, query]
    default: present
  host:
    description:
      - The host that must be ACTIVE, by its name in the pair. Required when O(state=present).
    type: str
  start:
    description:
      - The first day, as V(today), V(tomorrow), C(D/M/YYYY) or C(YYYY-MM-DD). Required when O(state=present).
      - A first day in the past is accepted when the last one is not.
    type: str
  end:
    description:
      - The last day, inclusive, in the same forms. Without it the constraint is for the one day O(start).
      - With O(state=absent), the last day of the constraints to remove, whatever it is when this is not given.
    type: str
  set_at:
    description:
      - The moment at which the constraint was set, in ISO 8601 with a time zone. V(today) and V(tomorrow) refer to its day.
      - The current time of the host by default. Give it when this runs on several pairs or on both hosts around midnight.
    type: str
seealso:
  - module: hvm.pair.hvm_info
"""

EXAMPLES = r"""
- name: HOST-b is to be ACTIVE tomorrow
  hvm.pair.hvm_constraint:
    host: HOST-b
    start: tomorrow

- name: HOST-b is to be ACTIVE from December 20 to January 3
  hvm.pair.hvm_constraint:
    host: HOST-b
    start: 20/12/2026
    end: 3/1/2027

- name: What is set
  hvm.pair.hvm_constraint:
    state: query
  register: constraints

- name: Show it
  ansible.builtin.debug:
    msg: "{{ constraints.text.splitlines() }}"

- name: Remove every constraint
  hvm.pair.hvm_constraint:
    state: absent
"""

RETURN = r"""
sentence:
  description: What was set or removed, or why there was nothing to do.
  returned: success
  type: str
  sample: HOST-b must be ACTIVE from 2026-12-20 to 2027-01-03 inclusive.
in_force:
  description: The constraint that holds today, as in RV(constraints); empty when there is none.
  returned: success
  type: dict
  sample: {}
today:
  description: What holds today, in words.
  returned: success
  type: str
  sample: "No constraint is in force today, 2026-12-01. The next one: HOST-b must be ACTIVE on 2026-12-20."
constraints:
  description: All that are not over, by their first day.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Follows from host, start and end; the same on both hosts.
      type: str
      sample: 3f2a9c01d4be
    host:
      description: The host that must be ACTIVE.
      type: str
      sample: HOST-b
    start:
      description: The first day.
      type: str
      sample: "2026-12-20"
    end:
      description: The last day, inclusive.
      type: str
      sample: "2027-01-03"
    set_at:
      description: When it was set, UTC.
      type: str
      sample: "2026-12-01T17:30:00Z"
text:
  description: What C(hvm constraint show) prints, with a small calendar.
  returned: success
  type: str
remedy:
  description: What can be done about the failure.
  returned: failure
  type: str
  sample: Unset that one first, or choose other days.
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._pair import config, constraint
from ansible_collections.hvm.pair.plugins.module_utils._procedure import constraints

ARGUMENT_SPEC: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "absent", "query"], "default": "present"},
    "host": {"type": "str"},
    "start": {"type": "str"},
    "end": {"type": "str"},
    "set_at": {"type": "str"},
}


def work(module: HvmModule) -> dict[str, t.Any]:
    state, host, start, end, set_at = (module.params[name] for name in ("state", "host", "start", "end", "set_at"))
    pair = config.load(module.params["config"])
    moment = constraint.parse_moment(set_at) if set_at else None
    if state == "query":
        return constraints.query(pair)
    if state == "present":
        return constraints.put(pair, host or "", start or "", end, module.check_mode, moment)
    return constraints.take_out(pair, host, start, end, module.check_mode, moment)


def main() -> None:
    HvmModule(ARGUMENT_SPEC, required_if=[("state", "present", ("host", "start"))]).run(work)


if __name__ == "__main__":
    main()
