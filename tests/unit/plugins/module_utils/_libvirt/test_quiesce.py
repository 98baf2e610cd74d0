# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import quiesce

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_hypervisor import VM, Error, World


def channel(name: str, state: str) -> str:
    return f'<domain><devices><channel type="unix"><target name="{name}"{state}/></channel></devices></domain>'


@pytest.mark.parametrize(
    ("xml", "there"),
    [
        (channel("org.qemu.guest_agent.0", ' state="connected"'), True),
        (channel("org.qemu.guest_agent.0", ' state="disconnected"'), False),
        (channel("org.qemu.guest_agent.0", ""), False),
        (channel("com.redhat.spice.0", ' state="connected"'), False),
        ("<domain><devices/></domain>", False),
    ],
)
def test_an_agent_is_there_when_its_end_is_open(xml: str, there: bool) -> None:
    assert quiesce.has_agent(xml) is there


def thaw(world: World, **options: t.Any) -> int:
    return quiesce.thaw(world.connect().lookupByName("web"), clock=world.clock, sleep=world.sleep, **options)


def test_frozen_with_a_limit_and_seen_thawed() -> None:
    world = World(VM("web"))
    web = world.vms["web"]
    assert quiesce.freeze(world.connect().lookupByName("web"), 7) == 2
    assert thaw(world) == 2
    assert web.calls == ["agent timeout 7", "fs freeze", "fs thaw", "fs thaw", "agent timeout -2"]
    assert not web.fs_frozen


def test_the_agents_own_word_counts() -> None:
    world = World(VM("web"))
    world.vms["web"].fs_frozen = True
    said = iter(["frozen", "thawed"])
    assert thaw(world, status=lambda dummy: next(said)) == 2
    assert world.vms["web"].calls.count("fs thaw") == 2


def test_one_that_had_thawed_by_itself_is_told_apart() -> None:
    assert thaw(World(VM("web"))) == 0


def test_an_agent_that_comes_back_late_is_waited_for() -> None:
    world = World(VM("web"))
    world.vms["web"].fs_frozen = True

    def silent(call: str, vm: str) -> None:
        if call == "fs thaw" and world.now < 1030:
            raise Error(86, "Guest agent is not responding")

    world.fault = silent
    assert thaw(world) == 2


def test_what_is_not_seen_thawed_is_an_error() -> None:
    world = World(VM("web"))
    with pytest.raises(HvmError, match="VM web is not seen thawed: its filesystems are still frozen") as caught:
        thaw(world, status=lambda dummy: "frozen")
    assert "virsh domfsthaw web" in caught.value.remedy
    assert world.now > 1000 + quiesce.THAW_LIMIT


def test_nothing_frozen_is_no_quiesced_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(VM("web"))
    dom = world.connect().lookupByName("web")
    monkeypatch.setattr(dom, "fsFreeze", lambda: 0)
    with pytest.raises(HvmError, match="the agent has frozen no filesystem"):
        quiesce.freeze(dom)
