# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ast
import pathlib
import re

import _cells
import _table
import pytest
from _cells import BACKUP, CONTROL, FAILOVER, FULL, LIBVIRTD, LINK, MIGRATE, MOVE, POWER_SOURCE, POWER_TARGET, SOURCE, TARGET

LIBRARY = pathlib.Path(__file__).resolve().parents[3] / "plugins/module_utils/_procedure"


def cell(procedure, step, fault):
    return _cells.Cell(procedure, next(one for one in _cells.STEPS[procedure] if one.name == step), fault)


def test_each_step_meets_each_fault_or_a_reason_says_why_not():
    everything = _cells.everything()
    assert len(everything) == sum(map(len, _cells.STEPS.values())) * len(_cells.FAULTS)
    left_out = [one for one in everything if one.meaningless]
    assert len(_cells.matrix()) + len(left_out) == len(everything)
    # a fault that is left out everywhere, or a step without any, would be a hole
    assert {one.fault for one in _cells.matrix()} == set(_cells.FAULTS)
    assert all({CONTROL, LINK, POWER_TARGET} <= {one.fault for one in _cells.matrix() if one.step is step}
               for steps in _cells.STEPS.values() for step in steps)  # fmt: skip


def test_names_are_distinct_and_of_what_pytest_can_select():
    names = [one.name for one in _cells.everything()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[\w-]+", name) for name in names)
    assert cell(MIGRATE, "target: first VM", POWER_TARGET).name == "migrate_secure-target_first_VM-power_target"


@pytest.mark.parametrize(
    ("procedure", "step", "fault", "why"),
    [
        (FAILOVER, "start the VMs", POWER_SOURCE, "the source has no power: that is why there is a failover"),
        (MIGRATE, "last sync", LIBVIRTD, "no libvirtd runs on the source in this step"),
        (MIGRATE, "target: ACTIVE", LIBVIRTD, "no libvirtd runs on the target in this step"),
        (BACKUP, "prune", FULL, "pruning only makes room"),
        (MIGRATE, "save", LIBVIRTD, ""),
        (MIGRATE, "hand over", FULL, ""),
    ],
)
def test_what_is_left_out(procedure, step, fault, why):
    assert cell(procedure, step, fault).meaningless == why


@pytest.mark.parametrize(
    ("procedure", "step", "fault", "struck"),
    [
        (MIGRATE, "save", POWER_SOURCE, SOURCE),
        (MIGRATE, "save", POWER_TARGET, TARGET),
        (MIGRATE, "save", LIBVIRTD, SOURCE),
        (MIGRATE, "target: first VM", LIBVIRTD, TARGET),
        (BACKUP, "sync", LINK, TARGET),
        (BACKUP, "sync", CONTROL, ""),
    ],
)
def test_which_host_is_struck(procedure, step, fault, struck):
    assert cell(procedure, step, fault).struck == struck


@pytest.mark.parametrize(
    ("procedure", "step", "fault", "may"),
    [
        (MIGRATE, "save", POWER_SOURCE, True),
        (MIGRATE, "save", POWER_TARGET, False),
        (MIGRATE, "save", LINK, False),
        (MIGRATE, "hand over", POWER_SOURCE, False),
        (MIGRATE, "target: ACTIVE", POWER_TARGET, False),
        (MIGRATE, "target: first VM", POWER_TARGET, True),
        (MIGRATE, "target: first VM", POWER_SOURCE, False),
        (BACKUP, "sync", POWER_SOURCE, True),
        (FAILOVER, "shared IP on", POWER_TARGET, False),
        (FAILOVER, "start the VMs", POWER_TARGET, True),
        (FAILOVER, "start the VMs", CONTROL, False),
    ],
)
def test_memory_may_be_lost_only_with_the_power_of_where_it_is(procedure, step, fault, may):
    assert cell(procedure, step, fault).may_boot is may


def test_counts_may_go_back_only_in_a_failover():
    assert {one.procedure for one in _cells.everything() if one.may_go_back} == {FAILOVER}


#: What the target's journal says; the matrix has later signs of the same: the role's record, and the first VM.
TAKING = {"target: start the hypervisor", "target: restore VMs"}


def noted(name):
    """The words that the journal is given in a file of the library, the variable part of them left out."""
    found = set()
    for node in ast.walk(ast.parse((LIBRARY / name).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "step":
            word = node.args[0]
            if "journal" in ast.unparse(node.func.value) and isinstance(word, ast.Constant):
                found.add(word.value)
    return found


@pytest.mark.parametrize(
    ("procedure", "names", "not_here"),
    [
        (MIGRATE, ["switchover.py"], {"going back", "waiting for the other host", *TAKING}),  # how it is undone
        (BACKUP, ["backup.py"], {"freeze"}),  # one without memory
        # it has no power; and nothing has moved
        (FAILOVER, ["failover.py", "serving.py"], {"the other stands down", "overlays into the disks"}),
        (MOVE, ["move.py"], {"waiting for the other host", "stays as it is"}),  # how it ends otherwise
    ],
)
def test_every_step_that_the_journal_names_is_in_the_matrix(procedure, names, not_here):
    listed = {one.name for one in _cells.STEPS[procedure]}
    assert set.union(*map(noted, names)) - not_here <= listed
    assert {one.sign["journal"][1] for one in _cells.STEPS[procedure] if "journal" in one.sign} <= listed


def test_a_sample_is_of_everything_and_the_same_for_the_same_seed():
    names = [one.name for one in _cells.matrix()] + [f"test_event_{number}" for number in range(9)]
    six = _cells.sample(names, 6, 1)
    assert six == _cells.sample(reversed(names), 6, 1)
    assert six != _cells.sample(names, 6, 2)
    for seed in range(20):
        chosen = _cells.sample(names, 6, seed)
        cells = [name.split("-") for name in chosen if "-" in name]
        assert len(set(chosen)) == 6
        assert {parts[0] for parts in cells} == set(_cells.STEPS)
        assert len({parts[2] for parts in cells}) == len(cells)  # no fault twice
    assert sorted(_cells.sample(names, 500, 1)) == sorted(names)


@pytest.mark.parametrize(
    ("result", "chosen"),
    [
        ({"seconds": 50}, False),
        ({"typed": False, "seconds": 50}, True),
        ({"typed": True, "seconds": 100}, True),
        ({"typed": True, "seconds": 101}, False),
        ({}, False),
    ],
)
def test_make_test_takes_its_cells_from_the_short_ones_that_passed_as_they_are_run_now(result, chosen):
    assert _cells.for_all(result) is chosen


def test_make_test_has_cells_of_more_than_one_procedure_to_take_from():
    known = {name: one for name, one in _table.load(_table.KNOWN).items() if one["passed"] and _cells.for_all(one)}
    assert {"backup_secure", "migrate_secure"} <= {name.split("-")[0] for name in known}
    for seed in range(20):
        assert len({name.split("-")[0] for name in _cells.sample(known, 2, seed)}) == 2
