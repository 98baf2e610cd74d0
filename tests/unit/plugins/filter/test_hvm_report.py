# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.hvm.pair.plugins.filter.hvm_report import FilterModule
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import human

report = FilterModule().filters()["hvm_report"]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536 << 20, "1.5 GiB"), (3 << 40, "3.0 TiB")]
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert human(count) == text


def test_a_plan_says_that_nothing_was_changed() -> None:
    assert report({"plan": ["save web"], "vms": {"web": {}}}) == ["Plan (nothing was changed):", "  save web"]


def test_a_migration() -> None:
    result = {
        "active": "hv2",
        "set": "hvm_20261123T094512Z_office_B",
        "vms": {"web": {"interruption": 1.25}, "db": {"interruption": 12.0}, "lost": {}},
        "bytes": 1536,
        "presync": [{"bytes": 2048, "seconds": 0.5}],
        "steps": [{"step": "save", "seconds": 0.5}],
        "window": 12.1,
        "total": 20.0,
    }
    text = "\n".join(report(result))
    for line in (
        "ACTIVE host: hv2",
        "web                   1.2 s",
        "Snapshot set: hvm_20261123T094512Z_office_B (B: VM states inside)",
        "Sent: 1.5 KiB, verified on the other host by GUID",
        "Before the interruption: 2.0 KiB in 0.5 s",
        "Total: 20.0 s",
    ):
        assert line in text
    assert text.index("  db ") < text.index("  web ")
    assert "lost" not in text


def test_vms_that_have_moved_each_with_how_it_did() -> None:
    """Of these the steps are no interruption: each VM stood still in the midst of one."""
    result = {
        "active": "hv2",
        "set": "hvm_20261128T115143Z_lab_C",
        "vms": {
            "alpha": {"mode": "live", "interruption": 1.7},
            "bravo": {"mode": "live", "interruption": 12.4, "late": True},
            "delta": {"mode": "direct", "interruption": 3.04},
            "echo": {"mode": "secure", "interruption": 61.3},
            "ice": {"mode": "direct"},
        },
        "bytes": 128102,
        "presync": [{"bytes": 54784, "seconds": 8.9}],
        "steps": [{"step": "move", "seconds": 60.49}, {"step": "target: overlays into the disks", "seconds": 4.92}],
        "window": 61.3,
        "total": 122.7,
    }
    assert report(result) == [
        "ACTIVE host: hv2",
        "Interruption of 5 VMs:",
        "  alpha                 1.7 s  live",
        "  bravo                12.4 s  live, and paused when its time was over",
        "  delta                 3.0 s  direct: paused meanwhile",
        "  echo                 61.3 s  saved and restored",
        "  ice                     -    no interruption in this run",
        "Snapshot set: hvm_20261128T115143Z_lab_C",
        "Sent: 125.1 KiB, verified on the other host by GUID",
        "Before the VMs moved: 53.5 KiB in 8.9 s",
        "Steps (the longest interruption of a VM: 61.3 s):",
        "  move                               60.49 s",
        "  target: overlays into the disks     4.92 s",
        "Total: 122.7 s",
    ]


def test_a_backup_takes_the_host_and_the_bytes_from_elsewhere() -> None:
    assert report({"set": "hvm_x_C"}, active="hv1", sync={"bytes": 0}) == [
        "ACTIVE host: hv1",
        "No VM was running",
        "Snapshot set: hvm_x_C",
        "Sent: 0 B, verified on the other host by GUID",
    ]


def test_how_each_vm_is_in_the_set() -> None:
    result = {
        "set": "hvm_x_F",
        "vms": {
            "web": {"method": "checkpoint", "interruption": 0.234},
            "gpu": {"method": "frozen", "interruption": 0.5},
            "ice": {"method": "checkpoint"},
            "own": {"method": "left out"},
        },
        "memory": 12.34,
        "steps": [{"step": "snapshot", "seconds": 0.2}],
        "window": 0.25,
    }
    assert report(result, active="hv1")[1:7] == [
        "Interruption of 4 VMs:",
        "  gpu                  0.50 s  without its memory: paused",
        "  own                     -    left out: autobackup=no",
        "  web                  0.23 s",
        "Snapshot set: hvm_x_F",
        "Memory written in 12.3 s, while the VMs ran",
    ]


PRUNED = {
    "hv2": {"destroyed": ["hvm_a", "hvm_b"], "bytes": 1536, "blocked": {}},
    "hv1": {"destroyed": ["hvm_a"], "bytes": None, "blocked": {"hvm_b": ["d/a@hvm_b is held as x", "d/b@hvm_b is held as x"]}},
    "hv3": {"destroyed": [], "bytes": 0, "blocked": {}},
    "hv4": {"failed": True, "msg": "another operation is running"},
}


def test_what_went_and_what_could_not_go_is_told_for_each_host() -> None:
    assert report({"set": "hvm_x_C"}, active="hv1", prune=PRUNED)[-2:] == [
        "Old sets pruned: 1 on hv1, 2 on hv2 (1.5 KiB)",
        "Old set hvm_b stays on hv1: d/a@hvm_b is held as x; d/b@hvm_b is held as x",
    ]
    assert not any("pruned" in line for line in report({"set": "hvm_x_C"}, prune={"hv3": PRUNED["hv3"]}))


def test_a_plan_tells_what_would_be_pruned() -> None:
    assert report({"plan": ["save web"]}, prune=PRUNED)[1:] == [
        "  save web",
        "  old sets that go: 1 on hv1",
        "  old sets that go: 2 on hv2 (1.5 KiB)",
    ]
