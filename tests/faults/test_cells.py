# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each step of a procedure meets each fault; then it is mended, and what `status` advises is done. The pair must be whole again.

``make faults SAMPLE=6`` for six of them by chance, ``CELLS="hand_over and power"`` for those with such names.
"""

from __future__ import annotations

import time
import typing as t

import _cells
import _judge
import pytest
from _cells import CONTROL, FAILOVER, FULL, LIBVIRTD, LINK, POWER_SOURCE, POWER_TARGET, TARGET, Cell
from _hosts import Host
from _scene import HOLD, HOLD_CUT, Run, Watch, World, no_bug

#: Seconds after which a host gets its power, its link or its room back, when the procedure has not ended by then: longer than it
#: waits for an answer.
LONGEST = 240.0
#: Seconds for which no VM may be away while the dead host comes back: nothing has to stop for that. An emulated host that boots
#: takes much of the machine.
AWAY = 15.0
CELLS = _cells.matrix()


class Scene:
    """One cell on the lab: `a` is the source, `b` the target."""

    def __init__(self, world: World, cell: Cell) -> None:
        self.world, self.cell = world, cell
        self.hosts = {_cells.SOURCE: world.a, _cells.TARGET: world.b}

    def struck(self) -> Host:
        return self.hosts[self.cell.struck]

    def strike(self, run: Run) -> None:
        world, fault = self.world, self.cell.fault
        if fault in (POWER_SOURCE, POWER_TARGET):
            world.power(self.struck(), on=False)
        elif fault == CONTROL:
            world.node.kill(run)
        elif fault == LINK:
            world.link(self.struck(), up=False)
        elif fault == FULL:
            world.fill(self.struck())
        elif fault == LIBVIRTD:
            world.kill_libvirtd(self.struck())

    def heal(self) -> bool:
        """Whether there was anything to heal."""
        world, fault = self.world, self.cell.fault
        if fault in (POWER_SOURCE, POWER_TARGET):
            world.power(self.struck(), on=True)
        elif fault == LINK:
            world.link(self.struck(), up=True)
        elif fault == FULL:
            world.free(self.struck())
        else:
            return False
        return True

    def run(self) -> None:
        """The procedure, with the fault in its step, to its end or the control node's, and healed."""
        world, cell = self.world, self.cell
        words = []
        if cell.procedure == FAILOVER:
            world.power(world.a, on=False)
            words = [f"hvm_dead_host={world.a.name}"]
        began = time.time()
        watch = Watch(self.hosts[cell.step.host], cell.step.sign, self._hold())
        try:
            run = world.begin(self.hosts[_cells.acting(cell.procedure)], cell.procedure, *words)
            at = watch.wait(run)
            world.lap("to the step")
            self.strike(run)
            self.fault = time.time()
            watch.go_on()
            print(f"{cell.name}: {cell.fault} at '{at['journal']}', {self.fault - began:.1f} s after the start")
            if cell.fault != CONTROL:
                ended = self._ends(run)
                print(f"the procedure has {ended} after {time.time() - self.fault:.0f} s:\n{run.tail(1500)}", flush=True)
                no_bug(run)
        finally:
            watch.close()
        world.lap("to the end of the procedure")
        self.healed = time.time() if self.heal() else self.fault
        world.lap("mended")
        if cell.fault != CONTROL:
            run.wait()  # one that has waited for what was cut
            no_bug(run)

    def may_boot(self) -> set[str]:
        """VMs that may have lost their memory: those of the host whose power went, where they ran on both."""
        world, cell = self.world, self.cell
        if not cell.may_boot:
            return set()
        if cell.step.memory != _cells.BOTH:
            return set(world.names)
        return _judge.on_host(world.beats(), self.struck().name, self.fault)

    def _hold(self) -> float:
        return HOLD_CUT if self.cell.fault == LINK and self.cell.step.host == TARGET else HOLD

    def _ends(self, run: Run) -> str:
        deadline = time.monotonic() + LONGEST
        while run.running() and time.monotonic() < deadline:
            time.sleep(0.5)
        return "not ended" if run.running() else "succeeded" if run.process.returncode == 0 else "failed"


@pytest.fixture
def world(ready: World) -> World:
    ready.lap("between")
    ready.go_on()
    ready.lap("all is as it was")
    return ready


@pytest.mark.parametrize("cell", [pytest.param(cell, id=cell.name) for cell in CELLS])
def test_a_fault_in_a_step(world: World, cell: Cell, record: dict[str, t.Any]) -> None:
    world.typing = cell.typed
    record.update(typed=cell.typed)
    scene = Scene(world, cell)
    scene.run()
    record.update(waited=round(scene.healed - scene.fault, 1), boot=round(world.booting, 1))
    record.update(advice=world.follow_advice())
    world.lap("advice followed")
    names = world.autostart if cell.may_stay_off else world.names
    world.heard(names=names)
    record.update(serving=_judge.serving(world.beats(), names, scene.fault, time.time()))
    world.lap("all are heard")
    said, may_boot = list[str](), scene.may_boot()
    if cell.procedure == FAILOVER:  # the dead host is repaired, and comes back
        back = time.time()
        world.power(world.a, on=True)
        record["advice"] += world.follow_advice()
        quiet = _judge.silence(world.beats(), names, back)
        world.lap(f"the dead host is back; a VM was not heard for {quiet:.1f} s at the most")
        said += [f"a VM was away for {quiet:.1f} s when the dead host came back"] if quiet > AWAY else []
    looks = world.looks()
    said += _judge.pair(looks, names, world.names)
    active = world.active(looks)
    record.update(active=_cells.SOURCE if active is world.a else TARGET)
    said += world.booted(active, may_boot)
    world.lap("looked at")
    said += world.next_backup(active)
    world.lap("the next backup")
    world.heard(names=names)
    floor = world.floor if cell.may_go_back else None
    said += _judge.counts(world.reports(scene.fault), names, floor, may_boot)
    record.update(said=said)
    assert said == []
    record.update(passed=True)
    world.is_whole(active, names)
