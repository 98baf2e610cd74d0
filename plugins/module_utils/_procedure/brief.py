# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The manual's three lines of `hvm status`, and nothing that takes longer: without a look into the pools, and without libvirt."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._net import shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import hypervisor_running, qemu_processes


def look(config: PairConfig) -> dict[str, t.Any]:
    """What `lines` needs of an observation, on any host, in any role, also when the other one is dead."""
    enabled = bool(config.shared_ips) and shared_ip.status(config.shared_ips, config.interface).enabled
    return {"hypervisor": {"running": hypervisor_running()}, "shared_ip": {"enabled": enabled}, "qemu": qemu_processes()}


def lines(found: t.Mapping[str, t.Any]) -> list[str]:
    """The manual's three lines, exactly. Pure."""
    return [
        f"Hypervisor is {'running' if found['hypervisor']['running'] else 'stopped'}",
        f"Shared IP is {'enabled' if found['shared_ip']['enabled'] else 'disabled'}",
        f"VMs are {'running' if found['qemu'] else 'stopped'}",
    ]
