# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import config, role
from ansible_collections.hvm.pair.plugins.module_utils._procedure import hypervisor

CONFIG = config.PairConfig("p", config.Host("hv1", "10.0.0.1"), config.Host("hv2", "10.0.0.2"), ("tank/vm",), "/vm/state")


def test_a_start_whose_daemon_does_not_come_up_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket is active by then, so libvirt counts as running, and nobody answers there."""
    did: list[str] = []
    before = role.Role(role.PASSIVE, 4, "s", "r", "b")

    def run(command: t.Sequence[str], timeout: float = 0.0) -> str:
        did.append(" ".join(command[:2]))
        if command[1] == "start":
            raise CommandError(command, 1, "", "start request repeated too quickly")
        return ""

    def dead() -> t.NoReturn:
        raise HvmError("libvirt does not answer")

    monkeypatch.setattr(hypervisor, "run", run)
    monkeypatch.setattr(hypervisor, "qemu_processes", list)
    monkeypatch.setattr(hypervisor, "hypervisor_running", lambda: True)
    monkeypatch.setattr(hypervisor, "daemon_failure", lambda: "")
    monkeypatch.setattr(hypervisor, "drop_autostart_links", lambda: None)
    monkeypatch.setattr(hypervisor.domains, "connect", dead)
    monkeypatch.setattr(hypervisor.inventory, "read", lambda dummy: {})
    for name in ("make_writable", "mount_all", "wait_devices", "unmount_all", "make_inert"):
        monkeypatch.setattr(hypervisor.actions, name, lambda *dummy, name=name: did.append(name))
    for name in ("in_use", "shut_gate", "stopped_in_order"):
        monkeypatch.setattr(role, name, lambda name=name: did.append(name))
    monkeypatch.setattr(role, "load", lambda: before)
    monkeypatch.setattr(role, "record", lambda now, *dummy, **more: did.append(f"record {now}"))
    monkeypatch.setattr(role, "write", lambda entry: did.append(f"record {entry.role}"))
    with pytest.raises(HvmError, match="libvirt does not start"):
        hypervisor.start(CONFIG, 5, "for the test", Progress())
    after = did[did.index("systemctl start") + 1 :]
    assert [one for one in after if one in ("shut_gate", "unmount_all", "make_inert", "record PASSIVE")] == [
        *("shut_gate", "shut_gate", "unmount_all", "make_inert", "record PASSIVE")
    ]
