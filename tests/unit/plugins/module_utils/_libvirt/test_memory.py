# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import pathlib
import sys
import threading
import time
import typing as t
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import memory
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.memory import (
    FORCE,
    FROZEN,
    GO,
    HOLD,
    RELEASE,
    SAVE,
    Member,
    Pace,
    Passes,
    Seen,
    decide,
)

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_hypervisor import MIB, OFF, PAUSED, RUNNING, VM, Domain, Error, World

GIB = 1 << 30
PACE = Pace()
FAR = Seen(4 * GIB, 2 * GIB, 2 * GIB, 400.0 * MIB, 1, 5.0)
NEAR = FAR._replace(remaining=32 * MIB)
DONE = FAR._replace(remaining=0, done=True)
LET = NEAR._replace(released=1.0)


# ---- decisions


@pytest.mark.parametrize(
    ("seen", "queued", "elapsed", "orders"),
    [
        pytest.param({"a": FAR}, 0, 5, {}, id="far"),
        pytest.param({"a": NEAR}, 0, 5, {"a": RELEASE}, id="one alone"),
        pytest.param({"a": NEAR, "b": FAR}, 0, 5, {"a": HOLD}, id="held for the slower one"),
        pytest.param({"a": FAR._replace(held=True), "b": FAR}, 0, 5, {"a": GO}, id="held, and fallen behind"),
        pytest.param({"a": FAR._replace(held=True, remaining=200 * MIB), "b": FAR}, 0, 5, {"a": HOLD}, id="held, a bit behind"),
        pytest.param({"a": NEAR, "b": NEAR}, 0, 5, {"a": RELEASE, "b": RELEASE}, id="together"),
        pytest.param({"a": DONE, "b": NEAR}, 0, 5, {"b": RELEASE}, id="one has ended by itself"),
        pytest.param({"a": DONE, "b": FAR}, 0, 5, {}, id="one waits already"),
        pytest.param({"a": LET, "b": NEAR}, 0, 5, {"b": RELEASE}, id="one is on its way"),
        pytest.param({"a": FAR._replace(remaining=100 * MIB)}, 0, 5, {"a": RELEASE}, id="would end before the next look"),
        pytest.param({"a": FAR._replace(iteration=6), "b": NEAR}, 0, 5, {"a": RELEASE, "b": RELEASE}, id="gets no nearer"),
        pytest.param({"a": FAR, "b": NEAR}, 0, 1801, {"a": FORCE, "b": FORCE}, id="too long in all"),
        pytest.param({"a": FAR._replace(written=7 * GIB), "b": FAR}, 0, 5, {"a": FORCE}, id="writes too much"),
        pytest.param({"a": LET._replace(released=3.0), "b": DONE}, 0, 5, {"a": FORCE}, id="others wait for it paused"),
        pytest.param({"a": LET._replace(released=3.0)}, 0, 5, {}, id="nobody waits for it"),
        pytest.param({"a": LET._replace(released=9.0)}, 0, 5, {"a": FORCE}, id="nobody waits, but long enough"),
        pytest.param({"a": LET._replace(released=9.0, forced=True)}, 0, 5, {}, id="forced once"),
        pytest.param({"a": NEAR, "s": FAR._replace(steered=False)}, 0, 5, {"a": HOLD}, id="held for a plain save"),
        pytest.param({"s": FAR._replace(steered=False)}, 0, 9999, {}, id="nothing holds a plain save"),
        pytest.param({"a": NEAR, "b": NEAR, "c": FAR}, 1, 5, {"a": RELEASE, "b": HOLD}, id="makes place"),
        pytest.param({"a": NEAR, "b": NEAR._replace(since=9.0), "c": FAR}, 1, 5, {"b": RELEASE, "a": HOLD}, id="the oldest goes"),
        pytest.param({"a": Seen(64 * MIB, 40 * MIB)}, 0, 5, {}, id="small: 40 of 64 MiB are not near"),
    ],
)
def test_who_is_held_and_who_is_let_go(seen: dict[str, Seen], queued: int, elapsed: float, orders: dict[str, str]) -> None:
    assert decide(seen, queued, elapsed, PACE) == orders


@pytest.mark.parametrize(("seen", "orders"), [({"a": NEAR, "b": FAR}, {}), ({"a": FAR._replace(written=7 * GIB)}, {"a": FORCE})])
def test_the_free_strategy_only_ends_what_does_not_end(seen: dict[str, Seen], orders: dict[str, str]) -> None:
    assert decide(seen, 0, 5, Pace(strategy="free")) == orders


sizes = st.integers(1, 64 * GIB)
passes = st.builds(
    Seen, sizes, st.integers(0, 64 * GIB), st.integers(0, 200 * GIB), st.floats(0, 1e10), st.integers(1, 30),
    st.floats(0, 4000), st.none() | st.floats(0, 100), *(st.booleans() for dummy in range(4))
)  # fmt: skip


@given(st.dictionaries(st.sampled_from("abcdef"), passes), st.integers(0, 3), st.floats(0, 4000))
def test_nobody_is_held_when_all_are_near_and_only_the_steered_are_told_anything(
    seen: dict[str, Seen], queued: int, elapsed: float
) -> None:
    orders = decide(seen, queued, elapsed, PACE)
    assert all(seen[name].steered and not seen[name].done for name in orders)
    if all(memory.is_near(one, PACE) for one in seen.values()):
        assert HOLD not in orders.values()
    if elapsed > PACE.limit:
        assert {name for name, one in seen.items() if one.steered and not one.done and not one.forced} == set(orders)
    assert all(order != HOLD or seen[name].released is None for name, order in orders.items())


@pytest.mark.parametrize(
    ("total", "others", "begin"),
    [(GIB, [], True), (GIB, [FAR], True), (GIB // 4, [FAR], False), (GIB // 4, [FAR, NEAR], False), (GIB // 4, [NEAR], True)],
)
def test_a_small_one_begins_when_the_big_one_is_far_enough(total: int, others: list[Seen], begin: bool) -> None:
    assert memory.may_begin(total, others, PACE) is begin


def test_every_disk_is_in_the_snapshot_and_only_those_that_can_be_written_are_ours() -> None:
    xml = """<domain><devices>
      <disk type="file" device="disk"><source file="/a"/><target dev="vda"/></disk>
      <disk type="block" device="lun"><source dev="/dev/b"/><target dev="sdb"/></disk>
      <disk type="network" device="disk"><source protocol="rbd" name="c"/><target dev="vdc"/></disk>
      <disk type="file" device="disk"><source file="/d"/><target dev="vdd"/><readonly/></disk>
      <disk type="file" device="cdrom"><source file="/e.iso"/><target dev="sda"/></disk>
      <disk type="file" device="cdrom"><target dev="sdc"/></disk>
      <disk type="file" device="floppy"><target dev="fda"/></disk>
    </devices></domain>"""
    made = ET.fromstring(memory.snapshot_xml(xml, "/state/a&b.live"))
    found = made.find("memory")
    assert found is not None and found.attrib == {"snapshot": "external", "file": "/state/a&b.live"}
    assert {disk.get("name"): disk.get("snapshot") for disk in made.findall("./disks/disk")} == {
        "vda": "manual", "sdb": "manual", "vdc": "manual", "vdd": "no", "sda": "no", "sdc": "no", "fda": "no"
    }  # fmt: skip


# ---- the hands


class Run:
    """Passes over a world, with what became of them."""

    def __init__(self, world: World, directory: pathlib.Path, **options: t.Any) -> None:
        self.world = world
        self.flushed: list[float] = []
        options.setdefault("fallback", (SAVE, FROZEN))
        members = [
            Member(vm.name, str(directory / f"{vm.name}.live"), vm.memory * 1024, vm.state == RUNNING)
            for vm in world.vms.values()
        ]
        self.passes = Passes(
            world.connect, members, clock=world.clock, sleep=world.sleep, flush=lambda: self.flushed.append(world.now), **options
        )
        self.members = {member.name: member for member in members}

    def run(self) -> None:
        self.passes.open()
        self.passes.run()

    def spread(self) -> float:
        """Seconds that the first one waits for the last."""
        moments = [vm.paused_at for vm in self.world.vms.values() if vm.paused_at is not None]
        return max(moments) - min(moments)


def test_all_are_paused_at_one_moment_and_all_go_on(tmp_path: pathlib.Path) -> None:
    world = World(VM("big", 4096, 300), VM("small", 512, 300), VM("busy", 2048, 300, dirty=40))
    run = Run(world, tmp_path)
    run.run()
    assert world.states() == {"big": PAUSED, "small": PAUSED, "busy": PAUSED}
    assert run.spread() < 0.6
    assert len(run.flushed) == 1
    assert run.passes.astray() == []
    assert run.passes.let_go() == {}
    run.passes.settle()
    assert world.states() == {"big": RUNNING, "small": RUNNING, "busy": RUNNING}
    assert {vm.max_downtime for vm in world.vms.values()} == {300}
    assert all(member.whole and member.resumed >= member.paused > member.began for member in run.members.values())


def test_the_free_strategy_lets_the_quick_ones_wait(tmp_path: pathlib.Path) -> None:
    run = Run(World(VM("big", 4096, 300), VM("small", 512, 300)), tmp_path, pace=Pace(strategy="free"))
    run.run()
    assert run.spread() > 10
    assert not run.flushed


def test_one_that_never_gets_nearer_is_made_to_end(tmp_path: pathlib.Path) -> None:
    world = World(VM("wild", 1024, 300, dirty=500), VM("calm", 1024, 300))
    run = Run(world, tmp_path)
    run.run()
    assert world.states() == {"wild": PAUSED, "calm": PAUSED}
    assert world.vms["wild"].written <= PACE.growth * 1024 + 1024 + 64
    assert "downtime 1000000" in world.vms["wild"].calls


def test_more_than_have_a_place_come_one_after_the_other(tmp_path: pathlib.Path) -> None:
    world = World(*(VM(f"vm{number}", 256, 300) for number in range(9)))
    run = Run(world, tmp_path, pace=Pace(passes=3))
    run.run()
    assert set(world.states().values()) == {PAUSED}


def test_a_vm_that_was_frozen_before_gets_its_image_and_stays_frozen(tmp_path: pathlib.Path) -> None:
    world = World(VM("ice", frozen=True), VM("web"))
    run = Run(world, tmp_path)
    run.run()
    assert run.members["ice"].whole
    assert run.passes.let_go() == {}
    assert world.states() == {"ice": PAUSED, "web": RUNNING}
    assert "resume" not in world.vms["ice"].calls


def test_a_vm_without_disks_is_not_expected_to_stay_paused(tmp_path: pathlib.Path) -> None:
    world = World(VM("live-cd", diskless=True))
    run = Run(world, tmp_path)
    run.run()
    assert (world.states(), run.passes.astray()) == ({"live-cd": RUNNING}, [])


@pytest.mark.parametrize(
    ("fallback", "unsavable", "method", "state"),
    [((SAVE, FROZEN), False, SAVE, OFF), ((SAVE, FROZEN), True, FROZEN, PAUSED), ((FROZEN,), False, FROZEN, PAUSED)],
)
def test_what_libvirt_refuses_falls_back(
    tmp_path: pathlib.Path, fallback: tuple[str, ...], unsavable: bool, method: str, state: int
) -> None:
    world = World(VM("gpu", forbids=55, unsavable=unsavable), VM("web"))
    run = Run(world, tmp_path, fallback=fallback)
    run.run()
    assert (run.members["gpu"].method, world.states()) == (method, {"gpu": state, "web": PAUSED})
    assert run.members["gpu"].refused
    assert run.passes.let_go() == {}
    assert world.states()["web"] == RUNNING


def test_a_plain_save_comes_when_the_others_are_near_their_end(tmp_path: pathlib.Path) -> None:
    world = World(VM("gpu", forbids=67), VM("big", 4096, 300))
    Run(world, tmp_path).run()
    saved = next(moment for moment, call, vm in world.log if (call, vm) == ("save", "gpu"))
    assert saved - 1000 > 4096 / 300 - 2


@pytest.mark.parametrize(("fallback", "code"), [((), 55), ((SAVE, FROZEN), 1), ((SAVE, FROZEN), 38)])
def test_what_fails_is_an_error_and_nobody_stays_paused(tmp_path: pathlib.Path, fallback: tuple[str, ...], code: int) -> None:
    world = World(VM("gpu", forbids=code), VM("web"))
    run = Run(world, tmp_path, fallback=fallback)
    with pytest.raises(HvmError, match=r"the checkpoint of VM gpu failed: cannot migrate") as caught:
        run.run()
    assert caught.value.remedy.startswith("No set was taken. See that there is room")
    assert run.passes.let_go() == {}
    assert world.states() == {"gpu": RUNNING, "web": RUNNING}


@pytest.mark.parametrize(("reason", "clean"), [(1, True), (3, False)])
def test_a_vm_that_ends_meanwhile_does_not_end_the_checkpoint(tmp_path: pathlib.Path, reason: int, clean: bool) -> None:
    world = World(VM("gone"), VM("web", 2048))

    def fault(call: str, vm: str) -> None:
        if call == "stats" and world.now > 1000.5 and world.vms["gone"].state != OFF:
            gone = world.vms["gone"]
            gone.state, gone.reason, gone.failure = OFF, reason, Error(1, "guest unexpectedly quit")
            gone.ended.set()

    world.fault = fault
    run = Run(world, tmp_path)
    run.run()
    assert run.members["gone"].ended is clean
    assert world.states() == {"gone": OFF, "web": PAUSED}
    assert run.passes.let_go() == {}


def test_one_that_somebody_lets_go_on_is_astray(tmp_path: pathlib.Path) -> None:
    world = World(VM("web"), VM("db"))
    run = Run(world, tmp_path)
    run.run()
    world.vms["web"].state = RUNNING
    assert run.passes.astray() == ["web"]


def test_a_daemon_that_has_died_lets_nobody_go_astray(tmp_path: pathlib.Path) -> None:
    world = World(VM("web"), VM("db"))
    run = Run(world, tmp_path)
    run.run()
    dead = {id(member.dom) for member in run.passes.members}
    state = Domain.state

    def after(dom: Domain) -> list[int]:
        if id(dom) in dead:
            raise Error(38, "client socket is closed")
        return state(dom)

    def gone() -> t.NoReturn:
        raise Error(38, "no daemon")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Domain, "state", after)
        assert run.passes.astray() == []
        world.vms["web"].state = RUNNING
        assert run.passes.astray() == ["web"]
        run.passes._connect = gone
        assert run.passes.astray() == ["db", "web"]  # not known is not proven


def test_somebody_wants_the_process_to_end(tmp_path: pathlib.Path) -> None:
    world = World(VM("web", 8192), VM("db"))
    run = Run(world, tmp_path, stop=lambda: world.now > 1001)
    with pytest.raises(memory.Interrupted, match="the checkpoint was interrupted"):
        run.run()
    assert run.passes.let_go() == {}
    assert world.states() == {"web": RUNNING, "db": RUNNING}
    assert "abort" in world.vms["web"].calls


def test_libvirt_is_waited_for_and_what_it_cannot_be_asked_is_told(tmp_path: pathlib.Path) -> None:
    world = World(VM("web"))
    run = Run(world, tmp_path)
    run.run()
    back = world.now + 30

    def gone(call: str, vm: str) -> None:
        if world.now < back:
            raise Error(38, "End of file while reading data")

    world.fault = gone
    assert run.passes.let_go(5) == {"web": "End of file while reading data"}
    assert world.states() == {"web": PAUSED}
    assert run.passes.let_go(60) == {}
    assert world.states() == {"web": RUNNING}


def deaf(vm: VM, *words: str) -> threading.Event:
    """:return: what makes it answer."""
    vm.deaf, vm.deaf_to = threading.Event(), words
    return vm.deaf


def test_nobody_waits_paused_for_one_that_cannot_be_paused(tmp_path: pathlib.Path) -> None:
    world = World(VM("hung", forbids=55), VM("web"))
    answers = deaf(world.vms["hung"], "suspend")
    run = Run(world, tmp_path, fallback=(FROZEN,), pace=Pace(answer=0.3))
    with pytest.raises(HvmError, match=r"^the checkpoint of VM hung failed: its QEMU does not answer\. ") as caught:
        run.run()
    assert "virsh domcontrol hung" in caught.value.remedy
    assert run.passes.let_go(5) == {"hung": "its QEMU does not answer"}
    assert world.states() == {"hung": RUNNING, "web": RUNNING}
    answers.set()  # it pauses now, and somebody is there who lets it go on
    assert run.passes.let_go(5) == {}
    assert world.states() == {"hung": RUNNING, "web": RUNNING}
    assert world.vms["hung"].calls.count("resume") == 1
    run.passes.settle()


@pytest.mark.parametrize("word", ["stats", "speed 1", "downtime 1"])
def test_nor_for_one_that_hangs_while_its_memory_is_written(tmp_path: pathlib.Path, word: str) -> None:
    world = World(VM("hung", 1024, 300), VM("web", 4096, 300))

    def fault(call: str, vm: str) -> None:
        if vm == "hung" and world.now > 1001 and not world.vms["hung"].deaf:
            deaf(world.vms["hung"], word, "abort", "stats")

    world.fault = fault
    run = Run(world, tmp_path, pace=Pace(answer=0.3))
    with pytest.raises(HvmError, match=r"^the checkpoint of VM hung failed: its QEMU does not answer\. "):
        run.run()
    began = time.monotonic()
    assert run.passes.let_go(3) == {"hung": "its QEMU does not answer"}
    assert time.monotonic() - began < 10
    assert world.states()["web"] == RUNNING
    told = len(world.vms["web"].calls)
    answers = world.vms["hung"].deaf
    assert answers
    answers.set()
    time.sleep(0.2)
    assert world.vms["web"].calls[told:] == [], "passes are led on that were given up"
    run.passes.settle()
    assert run.passes.let_go(5) == {}


def test_nor_for_one_that_hangs_before_its_pass_has_begun(tmp_path: pathlib.Path) -> None:
    """libvirt says of it that nothing is written yet, without asking it (seen on the lab: 400 s, and no end)."""
    world = World(VM("hung", 1024, 0.0), VM("web", 1024, 300))
    world.vms["hung"].mute = True
    run = Run(world, tmp_path, pace=Pace(answer=0.3))

    def fault(call: str, vm: str) -> None:
        if (call, vm) == ("stats", "hung") and not world.vms["hung"].deaf:
            deaf(world.vms["hung"], "get downtime", "abort")

    world.fault = fault
    with pytest.raises(HvmError, match=r"^the checkpoint of VM hung failed: its QEMU does not answer\. "):
        run.run()
    assert run.passes.let_go(3) == {"hung": "its QEMU does not answer"}
    assert world.states()["web"] == RUNNING
    answers = world.vms["hung"].deaf
    assert answers
    answers.set()
    assert run.passes.let_go(5) == {}


def test_that_libvirt_waits_for_it_is_told_as_what_it_is(tmp_path: pathlib.Path) -> None:
    world = World(VM("hung", 4096, 300), VM("web", 4096, 300))
    run = Run(world, tmp_path, stop=lambda: world.now > 1001)
    with pytest.raises(memory.Interrupted):
        run.run()

    def fault(call: str, vm: str) -> None:
        if (call, vm) == ("abort", "hung"):
            raise Error(68, "cannot acquire state change lock (held by monitor=remoteDispatchDomainSnapshotCreateXML)")

    world.fault = fault
    assert run.passes.let_go(3) == {"hung": "its QEMU does not answer"}
    assert world.states() == {"hung": RUNNING, "web": RUNNING}
    world.fault = lambda call, vm: None
    assert run.passes.let_go(5) == {}


def test_the_options_have_no_value_that_is_out_of_order() -> None:
    assert dataclasses.asdict(PACE)["interval"] < PACE.ahead < PACE.grace < PACE.limit
    assert PACE.answer < 30, "libvirt's own limit, after which it refuses the next question: that is no answer"


def test_the_numbers_are_libvirts() -> None:
    """They are written out, since the library loads without libvirt; a fake would believe any."""
    libvirt = pytest.importorskip("libvirt")
    assert libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA == memory.NO_METADATA
    assert libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_LIVE == memory.LIVE
    words = ("NO_SUPPORT", "CONFIG_UNSUPPORTED", "ARGUMENT_UNSUPPORTED", "OPERATION_INVALID", "OPERATION_UNSUPPORTED")
    assert {getattr(libvirt, f"VIR_ERR_{word}") for word in words} == memory.REFUSALS
    assert (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_TIMEOUT) == (memory.NO_DOMAIN, memory.OPERATION_TIMEOUT)
    assert libvirt.VIR_DOMAIN_PAUSED == memory.PAUSED
    assert (libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN, libvirt.VIR_DOMAIN_SHUTOFF_SAVED) == (memory.SHUT_DOWN, memory.SAVED)
    assert (libvirt.VIR_DOMAIN_NOSTATE, libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED) == memory.GONE
