# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.filter.hvm_rollback import FilterModule

rollback = FilterModule().filters()["hvm_rollback"]
SET = "hvm_20261123T094512Z_p_B"
DONE: dict[str, t.Any] = {
    "do": "rollback",
    "set": SET,
    "stamp": "20261124T000000Z",
    "kept": ["t/vm-hvm-kept-20261124T000000Z"],
    "datasets": {
        "t/vm": {"comes_back": True, "newer": ["a", "b"], "written": 2048, "kept": "k"},
        "t/vm/new": {"comes_back": False, "newer": [], "written": 0, "kept": "k"},
        "t/vm/same": {"comes_back": True, "newer": [], "written": 0, "kept": "k"},
    },
    "plan": ["zfs rename t/vm t/vm-hvm-kept-20261124T000000Z"],
    "state_images": ["web"],
    "replica": {"host": "hv2", "do": "rollback", "set": "hvm_x", "in_step": True},
}


def test_what_was_newer_where_it_is_and_what_comes_next() -> None:
    assert rollback(DONE) == [
        f"The datasets are back to {SET} (B: VM states inside)",
        "  t/vm: 2 newer snapshots, 2.0 KiB written since",
        "  t/vm/new: not in the set",
        "Kept, until hvm_zfs_kept drops it: t/vm-hvm-kept-20261124T000000Z",
        "hv2 has followed to hvm_x; what was newer there is kept",
        "Next: hvm.pair.hv_start, then the VMs",
        "State images of web: hvm_vm state=restored",
    ]


def test_the_plan() -> None:
    lines = rollback(DONE, True)
    assert lines[0] == f"The datasets would go back to {SET} (B: VM states inside)"
    assert lines[4:] == [
        "Plan (nothing was changed):",
        "  zfs rename t/vm t/vm-hvm-kept-20261124T000000Z",
        "hv2 would follow to hvm_x; what was newer there is kept",
        "State images of web: hvm_vm state=restored",
    ]


def test_an_undo_and_a_replica_that_could_not_follow() -> None:
    replica = {"host": "hv2", "do": "", "in_step": None}
    lines = rollback({**DONE, "do": "undo", "set": "", "datasets": {}, "state_images": [], "replica": replica})
    assert lines == [
        "The rollback of 20261124T000000Z is undone",
        "Kept, until hvm_zfs_kept drops it: t/vm-hvm-kept-20261124T000000Z",
        "hv2 has not followed: hvm_rollback_state=followed, before the next sync",
        "Next: hvm.pair.hv_start, then the VMs",
    ]


def test_nothing_to_do() -> None:
    replica = {"host": "hv2", "do": "", "in_step": True}
    step = "hv2 is in step: the next sync is an increment"
    nothing = {"do": "", "set": SET, "stamp": "", "replica": replica}
    assert rollback(nothing) == [f"The datasets are at {SET} (B: VM states inside) already", step]
    assert rollback({**nothing, "set": ""}) == ["Nothing to do on this host", step]
