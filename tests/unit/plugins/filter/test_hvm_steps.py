# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.hvm.pair.plugins.filter.hvm_steps import FilterModule

steps = FilterModule().filters()["hvm_steps"]
DONE = {"plan": ["mount", "start"], "role": "ACTIVE", "epoch": 4}


def test_what_was_done() -> None:
    assert steps(DONE, "Hypervisor is running", "the VMs") == [
        "Hypervisor is running (ACTIVE, epoch 4)", "  mount", "  start", "Next: the VMs",
    ]  # fmt: skip


def test_what_would_be_done_has_nothing_next() -> None:
    assert steps(DONE, "Hypervisor is running", "the VMs", True) == ["Plan (nothing was changed):", "  mount", "  start"]


def test_nothing_to_do() -> None:
    assert steps({**DONE, "plan": []}, "It runs") == ["It runs already (ACTIVE, epoch 4): nothing to do"]
    assert steps({}, "It runs", "more", True) == ["It runs already: nothing to do", "Next: more"]
