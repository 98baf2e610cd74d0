# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._libvirt import moving

MIB = 1 << 20


@pytest.mark.parametrize(
    ("stats", "said"),
    [
        ({}, "its disks are made ready"),
        ({"memory_total": 0, "memory_remaining": 0, "disk_remaining": 0}, "its disks are made ready"),
        ({"memory_total": 0, "memory_remaining": 0, "disk_remaining": 65536, "downtime": 300}, "64.0 KiB of its disks left"),
        (
            {"memory_total": 32 * MIB, "memory_remaining": MIB, "disk_remaining": 65536, "downtime": 300},
            "1.0 MiB of 32.0 MiB of memory and 64.0 KiB of its disks left; it would stand still for 300 ms now",
        ),
        ({"memory_total": 32 * MIB, "memory_remaining": MIB}, "1.0 MiB of 32.0 MiB of memory left"),
        (
            {"memory_total": 48 * MIB, "memory_remaining": 43 * MIB, "memory_bps": 2 * MIB, "downtime": 300},
            "43.0 MiB of 48.0 MiB of memory left; it would stand still for 21500 ms now",
        ),
        (
            {"memory_total": 48 * MIB, "memory_remaining": MIB, "memory_bps": 2 * MIB, "downtime": 9700},
            "1.0 MiB of 48.0 MiB of memory left; it would stand still for 9700 ms now",
        ),
    ],
)
def test_what_is_left_of_a_vm(stats: dict[str, int], said: str) -> None:
    """As libvirt tells it (virDomainGetJobStats): 0 of 0 bytes of memory until the disks are on the other host."""
    assert moving.left(moving.Seen.of(stats)) == said
