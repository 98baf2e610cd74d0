# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._net import shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import brief

WITHOUT = PairConfig("p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("tank/vm",), "/vm/state")
WITH = WITHOUT._replace(shared_ips=("10.0.0.9/24",), interface="br0")


@pytest.mark.parametrize(("hypervisor", "address", "vms"), list(itertools.product((True, False), repeat=3)))
def test_the_three_lines_are_the_manual_s(hypervisor: bool, address: bool, vms: bool) -> None:
    found = {"hypervisor": {"running": hypervisor}, "shared_ip": {"enabled": address}, "qemu": ["web"] if vms else []}
    assert brief.lines(found) == [
        "Hypervisor is running" if hypervisor else "Hypervisor is stopped",
        "Shared IP is enabled" if address else "Shared IP is disabled",
        "VMs are running" if vms else "VMs are stopped",
    ]


def test_a_pair_without_a_shared_ip_has_it_disabled_and_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brief, "hypervisor_running", lambda: True)
    monkeypatch.setattr(brief, "qemu_processes", list)
    monkeypatch.setattr(shared_ip, "status", lambda *dummy: pytest.fail("it was asked"))
    assert brief.look(WITHOUT) == {"hypervisor": {"running": True}, "shared_ip": {"enabled": False}, "qemu": []}


def test_the_shared_ip_is_looked_for_on_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(brief, "hypervisor_running", lambda: False)
    monkeypatch.setattr(brief, "qemu_processes", lambda: ["web"])

    class Enabled:
        enabled = True

    monkeypatch.setattr(shared_ip, "status", lambda *arguments: asked.append(arguments) or Enabled)
    assert brief.look(WITH) == {"hypervisor": {"running": False}, "shared_ip": {"enabled": True}, "qemu": ["web"]}
    assert asked == [(("10.0.0.9/24",), "br0")]
