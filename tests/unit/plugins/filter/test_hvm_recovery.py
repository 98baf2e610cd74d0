# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.filter.hvm_recovery import FilterModule

recovery = FilterModule().filters()["hvm_recovery"]
#: As Ansible gives it: it takes the warnings out of a module's result, and shows them itself.
DONE: dict[str, t.Any] = {
    "changed": True,
    "do": "start",
    "sentence": "hv1 was ACTIVE last: hv1 becomes ACTIVE in epoch 4",
    "role": "ACTIVE",
    "epoch": 4,
    "plan": [],
    "vms": {"web": "web restored", "db": "db started"},
    "left": ["cold", "ice"],
    "steps": [{"step": "start the hypervisor", "at": 0.0, "seconds": 2.04}, {"step": "start the VMs", "at": 2.0, "seconds": 0.5}],
}
LOST = {"lines": ["the last complete set is X, 12 min old", "VM web: loses 12 min"]}


def test_what_was_done_each_vm_and_what_is_left() -> None:
    assert recovery(DONE) == [
        "hv1 was ACTIVE last: hv1 becomes ACTIVE in epoch 4",
        "  db started",
        "  web restored",
        "Off, without autostart=yes: cold, ice (hvm_vm state=started)",
        "Took: start the hypervisor 2.0 s, start the VMs 0.5 s",
    ]


def test_nothing_but_the_decision() -> None:
    assert recovery({**DONE, "vms": {}, "left": [], "steps": []}) == [DONE["sentence"]]


def test_a_plan() -> None:
    planned = {**DONE, "plan": ["mount the datasets", "start libvirt"]}
    assert recovery(planned, True) == [DONE["sentence"], "Plan (nothing was changed):", "  mount the datasets", "  start libvirt"]
    assert recovery({**DONE, "plan": []}, True) == [DONE["sentence"]]


def test_what_is_lost_is_told_before_what_was_done() -> None:
    taken = {**DONE, "do": "take over", "lost": LOST}
    assert recovery(taken)[1:4] == [*LOST["lines"], "  db started"]
    assert recovery({**taken, "plan": ["x"]}, True)[1:3] == LOST["lines"]
    assert recovery({**taken, "do": "", "vms": {}, "left": [], "steps": []}) == [DONE["sentence"]]


REJOINED: dict[str, t.Any] = {**DONE, "do": "keep", "vms": {}, "left": [], "steps": [], "kept": [], "destroyed": {}}


def test_where_a_hosts_own_is_now() -> None:
    kept = recovery({**REJOINED, "kept": ["ssd/a-hvm-kept-s", "rot/b-hvm-kept-s"]})
    assert kept[1:] == ["Kept on the other host, until hvm_zfs_kept drops it: ssd/a-hvm-kept-s, rot/b-hvm-kept-s"]
    gone = recovery({**REJOINED, "do": "discard", "destroyed": {"ssd/a-hvm-kept-s": ["x"], "rot/b-hvm-kept-s": []}})
    assert gone[1:] == ["Destroyed on the other host: rot/b-hvm-kept-s, ssd/a-hvm-kept-s"]


def test_how_much_a_host_has_of_its_own() -> None:
    own = {"snapshots": {}, "written": {}, "doubt": "", "sentence": ""}
    since = {"set": "hvm_x", "written": {"ssd/a": 3 << 20, "rot/b": 1024, "ssd/c": 0}}
    assert recovery({**REJOINED, "own": {**own, "since": since}}, True)[1:] == [
        "What only that host has, since hvm_x: 3.0 MiB",
        "  rot/b: 1.0 KiB",
        "  ssd/a: 3.0 MiB",
    ]
    assert recovery({**REJOINED, "own": {**own, "since": {"set": "", "written": {}}}}) == [DONE["sentence"]]
    assert recovery({**REJOINED, "own": own}) == [DONE["sentence"]]
