# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import functools
import threading
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import moving, overlay
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.moving import Seen, Way

RUNNING, PAUSED, OFF, MOVED = (1, 1), (3, 1), (5, 1), (5, 4)
DISK = overlay.Disk("vda", "/srv/web.img", "raw", False, f"{overlay.DIRECTORY}/web.vda.qcow2")
JOB = {"type": 2, "memory_total": 100, "memory_remaining": 60, "disk_remaining": 7, "memory_dirty_rate": 3, "downtime": 12}


class Error(Exception):
    """As libvirt.libvirtError."""

    def __init__(self, text: str = "it broke", code: int = 55) -> None:
        super().__init__(text)
        self._code = code

    def get_error_code(self) -> int:
        return self._code


class VM:
    """One VM on one host, which is connection and domain at once.

    :ivar fails: what its move raises, after `then` was done.
    """

    def __init__(self, state: tuple[int, int] | None, source: str = DISK.overlay) -> None:
        self.now, self.source = state, source
        self.job: dict[str, t.Any] = dict(JOB)
        self.calls: list[str] = []
        self.asked: tuple[t.Any, ...] = ()
        self.fails: Exception | None = None
        self.then: t.Callable[[], None] = lambda: None

    def lookupByName(self, name: str) -> VM:
        if self.now is None:
            raise Error("Domain not found", 42)
        return self

    def state(self) -> list[int]:
        return list(self.now or ())

    def XMLDesc(self, dummy: int) -> str:
        return f"""<domain><devices><disk device="disk"><source file="{self.source}"/><target dev="vda"/></disk>
        <disk device="cdrom"><target dev="sda"/><readonly/></disk></devices></domain>"""

    def jobStats(self) -> dict[str, t.Any]:
        return self.job

    def suspend(self) -> None:
        self.calls.append("suspend")
        self.now = PAUSED

    def abortJob(self) -> None:
        self.calls.append("abort")
        if not self.job["type"]:
            raise Error("no job is active on the domain")

    def migrate3(self, *asked: t.Any) -> None:
        self.asked = asked
        self.then()
        if self.fails:
            raise self.fails


def watch(vm: VM, stop: bool = False, began: float = 0.0, **way: t.Any) -> tuple[t.Any, list[Seen]]:
    """One look. :param began: seconds ago."""
    seen: list[Seen] = []
    made = moving._Watch(vm, "web", Way("m", "d", **way), seen.append, lambda: stop)
    made._began -= began
    made._look(vm)
    return made, seen


# ---- what is seen


def test_what_is_left_is_in_bytes_and_not_known_is_told_apart_from_none() -> None:
    assert Seen.of({**JOB, "memory_page_size": 1024, "memory_bps": 9}) == Seen(60, 100, 7, 3 * 1024, 9, 12)
    assert Seen.of({"type": 2, "memory_dirty_rate": 2}) == Seen(-1, -1, -1, 2 * 4096, -1, -1)
    assert Seen.of({}) == Seen(-1, -1, -1, -1, -1, -1)
    assert Seen.of({"memory_dirty_rate": 0, "memory_remaining": 0}) == Seen(0, -1, -1, 0, -1, -1)


def test_it_arrives_paused_and_defined_with_the_disks_that_are_named_and_without_a_change_on_the_way() -> None:
    every = moving.flags(False)
    for flag in (1, 8, 32, 128, 256, 1 << 12, 1 << 18):  # LIVE PERSIST_DEST PAUSED NON_SHARED_INC CHANGE_PROTECTION ...
        assert every & flag
    assert moving.flags(True) == every | 1 << 13
    assert moving.flags(False, synchronous=False) == every ^ 1 << 18
    assert not every & (4 | 16 | 64), "not tunnelled, not undefined here, and no disk is taken whole"


def test_a_look_tells_what_is_left() -> None:
    made, seen = watch(VM(RUNNING))
    assert seen == [Seen.of(JOB)] and made.report() == (None, False) and not made.aborted


def test_between_two_phases_nothing_is_told() -> None:
    vm = VM(RUNNING)
    vm.job = {"type": 0}
    assert watch(vm, began=10.0, limit=5.0, pause=True)[1] == [] and vm.calls == []


def test_it_is_known_since_when_it_stands_still() -> None:
    made, dummy = watch(VM(PAUSED))
    first = made.report().paused
    assert first is not None
    made._look(VM(PAUSED))
    assert made.report().paused == first


@pytest.mark.parametrize(
    ("way", "state", "calls", "late", "aborted"),
    [
        ({"limit": 5.0, "pause": True}, RUNNING, ["suspend"], True, False),
        ({"limit": 5.0}, RUNNING, ["abort"], True, True),
        ({"limit": 5.0, "pause": True}, PAUSED, [], False, False),
        ({"limit": 20.0, "pause": True}, RUNNING, [], False, False),
        ({"limit": 0.0, "pause": True}, RUNNING, [], False, False),
    ],
)
def test_when_its_time_is_over_it_is_paused_or_given_up(
    way: dict[str, t.Any], state: tuple[int, int], calls: list[str], late: bool, aborted: bool
) -> None:
    vm = VM(state)
    made, dummy = watch(vm, began=10.0, **way)
    assert (vm.calls, made.report().late, made.aborted) == (calls, late, aborted)
    made._look(vm)
    assert vm.calls == calls, "once"


def test_who_wants_it_to_stop_is_obeyed_once_there_is_a_job() -> None:
    vm = VM(RUNNING)
    vm.job = {"type": 0}
    made = moving._Watch(vm, "web", Way("m", "d"), lambda dummy: None, lambda: True)
    with pytest.raises(Error):
        made._look(vm)
    assert not made.aborted
    vm.job = dict(JOB)
    made._look(vm)
    made._look(vm)
    assert made.aborted and vm.calls == ["abort", "abort"]


def overdue(vm: VM, *figures: dict[str, int], told: bool = False) -> list[str]:
    """What is said 1 s before the limit and 1 s after it, when the first of these looks was half as long ago as that."""
    made = moving._Watch(vm, "web", Way("m", "d"), lambda dummy: None, lambda: False)
    for one in figures:
        vm.job = {"type": 2, **one}
        made._look(vm)
        if made._since is not None and one is figures[0]:
            made._since -= moving.STALL / 2
    limit = moving.STALL
    if told:
        made._told, limit = moving.time.monotonic(), moving.ENDING
    return [made._overdue(moving.time.monotonic() + limit + more) for more in (-1, 1)]


def test_what_moves_no_more_is_overdue_after_a_while() -> None:
    some, less = {"memory_total": 9, "memory_remaining": 7}, {"memory_total": 9, "memory_remaining": 6}
    said = "nothing of it went over for 60 s (6 B of 9 B of memory left)"
    assert overdue(VM(RUNNING), some, less) == ["", said]
    assert overdue(VM(RUNNING), some, some) == [said.replace("6 B", "7 B")] * 2
    # all is there: QEMU waits until that host has it on its disks
    assert overdue(VM(RUNNING), {"disk_processed": 5}, {"disk_processed": 6}) == ["", ""]
    assert overdue(VM(RUNNING), {"disk_remaining": 4, "disk_processed": 1}, {"disk_remaining": 4, "disk_processed": 2})[0] == ""


def test_after_it_has_begun_libvirt_may_have_no_job() -> None:
    assert overdue(VM(RUNNING), {"memory_remaining": 7}, {"type": 0}) == ["", ""]


@pytest.mark.parametrize("job", [{"type": 0}, {"type": 2, "memory_total": 0, "memory_remaining": 0}])
@pytest.mark.parametrize(("state", "limit"), [(PAUSED, moving.STALL), (RUNNING, moving.FLUSH)])
def test_the_other_host_has_less_time_to_make_ready_for_one_that_stands_still(
    job: dict[str, int], state: tuple[int, int], limit: float
) -> None:
    vm = VM(state)
    vm.job = job
    made, dummy = watch(vm)
    made._look(vm)
    said = f"nothing of it went over for {limit:g} s (the other host makes ready for it)"
    assert [made._overdue(made._began + limit + more) for more in (-1, 1)] == ["", said]
    vm.job = JOB
    made._look(vm)
    assert made._overdue(made._began + 30) == "", "from now on it counts what goes"


def test_one_that_was_told_to_stop_has_less_time() -> None:
    assert overdue(VM(RUNNING), {}, told=True) == ["", "it was told to stop, and had not done so after 30 s"]


# ---- the move


def move(source: VM, target: VM, stop: t.Callable[[], bool] = lambda: False, **way: t.Any) -> moving.Report:
    return moving.move(source, target, "web", [DISK], Way("/run/m.sock", "/run/d.sock", **way), stop=stop)


def test_libvirt_is_told_both_ways_and_every_disk() -> None:
    source, target = VM(RUNNING), VM(None)
    move(source, target, rate=25, throttle=True)
    to, parameters, flags = source.asked
    assert to is target and flags == moving.flags(True)
    assert parameters == {
        "migrate_uri": "unix:///run/m.sock",
        "disks_uri": "unix:///run/d.sock",
        "migrate_disks": ["vda"],
        "bandwidth": 25,
    }
    move(source, target)
    assert "bandwidth" not in source.asked[1]


def test_a_vm_that_writes_to_its_disk_itself_does_not_move() -> None:
    source = VM(RUNNING, "/srv/web.img")
    with pytest.raises(HvmError, match="VM web writes to vda itself, and not to an overlay: it does not move"):
        move(source, VM(None))
    assert source.asked == ()


def test_what_libvirt_says_is_the_reason() -> None:
    source = VM(RUNNING)
    source.fails = Error("internal error: unable to find backing file")
    with pytest.raises(HvmError, match="VM web did not move: internal error: unable to find backing file") as raised:
        move(source, VM(None))
    assert not isinstance(raised.value, moving.Aborted)


def told_to_abort() -> VM:
    """It fails when somebody has aborted its job."""
    source = VM(RUNNING)
    source.fails = Error("operation aborted", 78)

    def then() -> None:
        for dummy in range(200):
            if source.calls:
                return
            moving.time.sleep(0.01)

    source.then = then
    return source


def test_one_that_was_stopped_says_so() -> None:
    with pytest.raises(moving.Aborted, match="the move of web was stopped"):
        move(told_to_abort(), VM(None), stop=lambda: True)


class Hangs(VM):
    """Whose QEMU waits for the other host, and all that is asked of it with it, until its connections have ended."""

    def __init__(self, state: tuple[int, int], needs: int = 1) -> None:
        super().__init__(state)
        self.cut: list[int] = []
        self.needs, self.ends = needs, threading.Event()
        self.fails = Error("operation failed: migration of disk vda failed")
        self.then = self.hang

    def hang(self) -> None:
        assert self.ends.wait(30)

    def abortJob(self) -> None:
        self.hang()

    def suspend(self) -> None:
        self.hang()

    def cuts(self) -> list[t.Callable[[], None]]:
        def cut(number: int) -> None:
            self.cut.append(number)
            if number == self.needs:
                self.ends.set()

        return [functools.partial(cut, 1), functools.partial(cut, 2)]


@pytest.mark.parametrize(
    ("way", "stop", "needs", "said"),
    [
        ({}, False, 1, r"nothing of it went over for 0.3 s \(60 B of 100 B of memory and 7 B of its disks left"),
        ({}, False, 2, "nothing of it went over for 0.3 s"),
        ({"limit": 0.1, "pause": True}, False, 1, "nothing of it went over for 0.3 s"),
        ({"limit": 0.1}, False, 1, "it was told to stop, and had not done so after 0.2 s"),
        ({}, True, 1, "it was told to stop, and had not done so after 0.2 s"),
    ],
)
def test_one_that_waits_for_a_host_that_takes_nothing_has_its_connections_cut(
    monkeypatch: pytest.MonkeyPatch, way: dict[str, t.Any], stop: bool, needs: int, said: str
) -> None:
    monkeypatch.setattr(moving, "STALL", 0.3 if "nothing" in said else 60)
    monkeypatch.setattr(moving, "ENDING", 0.2)
    source = Hangs(RUNNING, needs)
    with pytest.raises(HvmError, match=f"web did not move, and its connections were closed: {said}.*zpool status"):
        moving.move(source, VM(None), "web", [DISK], Way("m", "d", **way), stop=lambda: stop, cuts=source.cuts())
    assert source.cut == [1, 2][:needs]


def test_one_whose_time_was_over_says_that() -> None:
    with pytest.raises(HvmError, match=r"did not converge within 0.01 s. Give it more time \(hvm_move_limit\)") as raised:
        move(told_to_abort(), VM(None), limit=0.01)
    assert not isinstance(raised.value, moving.Aborted)


@pytest.mark.parametrize(
    ("here", "there", "moved"),
    [(MOVED, PAUSED, True), (None, PAUSED, True), (OFF, PAUSED, False), (RUNNING, PAUSED, False), (MOVED, None, False),
     (MOVED, RUNNING, False), (MOVED, OFF, False)],
)  # fmt: skip
def test_an_answer_that_is_lost_is_no_failure_when_both_hosts_say_so(
    here: tuple[int, int] | None, there: tuple[int, int] | None, moved: bool
) -> None:
    source, target = VM(RUNNING), VM(there)
    source.fails = Error("client socket is closed", 38)
    source.then = lambda: setattr(source, "now", here)
    if moved:
        assert isinstance(move(source, target), moving.Report)
    else:
        with pytest.raises(HvmError, match="did not move"):
            move(source, target)
    assert moving.has_moved(source, target, "web") is moved


def test_a_host_that_does_not_answer_proves_nothing() -> None:
    def lost(dummy: str) -> t.Any:
        raise Error("client socket is closed", 38)

    silent = types.SimpleNamespace(lookupByName=lost)
    assert not moving.has_gone(silent, "web") and not moving.has_ended(silent, "web")
    assert not moving.has_moved(VM(MOVED), silent, "web") and not moving.has_moved(silent, VM(PAUSED), "web")


@pytest.mark.parametrize(
    ("state", "ended"), [(OFF, True), ((5, 0), True), (MOVED, False), (RUNNING, False), (PAUSED, False), (None, False)]
)
def test_one_that_is_off_has_ended_unless_it_has_moved(state: tuple[int, int] | None, ended: bool) -> None:
    assert moving.has_ended(VM(state), "web") is ended
