# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import sys
import threading
import time
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._libvirt import answering

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_hypervisor import OFF, VM, Domain, Error, World


def names(world: World) -> list[str]:
    return sorted(world.vms)


def test_all_answer() -> None:
    world = World(*(VM(f"vm{number}") for number in range(9)))
    assert answering.silent(world.connect, names(world)) == []
    assert sum(call == "connect" for dummy, call, vm in world.log) == 3
    assert answering.silent(world.connect, []) == []


def test_those_that_do_not_are_named_and_hold_up_nobody() -> None:
    world = World(*(VM(f"vm{number}") for number in range(9)))
    for name in ("vm2", "vm3"):
        world.vms[name].deaf = threading.Event()
    began = time.monotonic()
    assert answering.silent(world.connect, names(world), 0.3) == ["vm2", "vm3"]
    assert time.monotonic() - began < 2
    for name in ("vm2", "vm3"):
        t.cast("threading.Event", world.vms[name].deaf).set()


def test_one_that_libvirt_waits_for_already_is_not_asked_once_more() -> None:
    """Each question that is not answered keeps one of libvirtd's workers."""
    world = World(VM("hung"), VM("slow"))
    world.vms["hung"].occupied, world.vms["slow"].occupied = 300_000, 200
    assert answering.silent(world.connect, ["hung", "slow"]) == ["hung"]
    assert (world.vms["hung"].calls, world.vms["slow"].calls) == ([], ["get downtime"])


@pytest.mark.parametrize(("code", "silent"), [(68, ["web"]), (55, []), (42, []), (38, [])])
def test_only_a_question_that_was_not_taken_in_half_a_minute_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, code: int, silent: list[str]
) -> None:
    def asked(dummy: Domain) -> int:
        raise Error(code, "no")

    monkeypatch.setattr(Domain, "migrateGetMaxDowntime", asked)
    assert answering.silent(World(VM("web")).connect, ["web"]) == silent


def test_the_number_is_libvirts() -> None:
    assert pytest.importorskip("libvirt").VIR_DOMAIN_CONTROL_OCCUPIED == answering.OCCUPIED


def test_one_that_has_ended_meanwhile_is_not_silent() -> None:
    world = World(VM("web"))
    world.vms["web"].state = OFF
    assert answering.silent(world.connect, ["web", "gone"]) == []
