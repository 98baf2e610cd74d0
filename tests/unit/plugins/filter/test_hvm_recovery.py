# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.filter.hvm_recovery import FilterModule

recovery = FilterModule().filters()["hvm_recovery"]
#: As Ansible gives it: it takes the warnings out of a module's result.
DONE: dict[str, t.Any] = {
    "sentence": "hv1 goes on",
    "do": "start",
    "plan": ["start libvirt"],
    "vms": {"web": "web restored", "db": "db started"},
    "left": ["test"],
    "steps": [{"step": "start the VMs", "seconds": 12.34}],
}


def test_what_was_done_is_told_vm_by_vm() -> None:
    assert recovery(DONE) == [
        "hv1 goes on",
        "  db started",
        "  web restored",
        "Off, without autostart=yes: test (hvm_vm state=started)",
        "Took: start the VMs 12.3 s",
    ]


def test_in_check_mode_it_is_the_plan() -> None:
    assert recovery(DONE, True) == ["hv1 goes on", "Plan (nothing was changed):", "  start libvirt"]


def test_a_failover_says_what_is_lost_before_what_it_did() -> None:
    lost = {"lines": ["the last complete set is hvm_x, 5 min old"]}
    assert recovery({**DONE, "do": "take over", "lost": lost})[:2] == ["hv1 goes on", *lost["lines"]]


def test_what_only_the_other_host_has_is_sized() -> None:
    since = {"set": "hvm_x", "written": {"ssd/vm": 3 << 20, "rot/vm": 0}}
    lines = recovery({**DONE, "vms": {}, "left": [], "steps": [], "own": {"since": since}, "kept": ["ssd/vm-hvm-kept-1"]})
    assert lines == [
        "hv1 goes on",
        "What only that host has, since hvm_x: 3.0 MiB",
        "  ssd/vm: 3.0 MiB",
        "Kept on the other host, until hvm_zfs_kept drops it: ssd/vm-hvm-kept-1",
    ]
