# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`backup secure` by plain saves: whatever ends it, every VM that it has stopped goes on."""

from __future__ import annotations

import functools
import os
import pathlib
import signal
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import checkpoint

VM = {"state": "running", "autobackup": True}
NAMES = ("db", "ice", "web")


class Dead(Exception):
    """What libvirt raises on a connection whose daemon has died."""


class World:
    """:ivar at: called before each VM is saved (`("save", name)`), restored, and the set is taken."""

    def __init__(self, place: pathlib.Path, patch: pytest.MonkeyPatch) -> None:
        self.config = PairConfig("p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("tank/vm",), str(place))
        self.images: set[str] = set()
        self.at: t.Callable[[str, str], None] = lambda what, name: None
        self.daemon = 1
        self.left: list[str] = []
        self.marks: list[str] = []
        me = {"vms": {name: dict(VM) for name in NAMES}, "role": {"epoch": 3}}
        patch.setattr(checkpoint, "observe", lambda dummy: me)
        patch.setattr(checkpoint.guards, "backup", lambda *dummy: [])
        patch.setattr(checkpoint.domains, "connect", lambda: Connection(self))
        patch.setattr(checkpoint.domains, "saved_names", lambda dummy: sorted(self.images))
        patch.setattr(checkpoint.hypervisor, "connect_again", lambda: Connection(self))
        patch.setattr(checkpoint.hypervisor, "ended", lambda *dummy: None)
        patch.setattr(checkpoint.guest_agent, "set_clock", lambda *dummy: [])
        patch.setattr(checkpoint, "save_all", self.save_all)
        patch.setattr(checkpoint, "restore_all", self.restore_all)
        patch.setattr(checkpoint, "take_set", self.take_set)
        patch.setattr(checkpoint, "qemu_processes", lambda: self.left)
        patch.setattr(checkpoint, "check_set", lambda *dummy: None)
        patch.setattr(operation, "Lock", functools.partial(operation.Lock, str(place / "lock")))
        patch.setattr(operation, "Journal", functools.partial(operation.Journal, path=str(place / "journal")))
        self.pending = functools.partial(operation.pending, str(place / "journal"))

    def take_set(self, dummy: t.Any, mark: str, *more: t.Any, fresh: t.Any) -> str:
        self.at("set", "")
        self.marks.append(mark)
        return "hvm_x"

    def save_all(self, dummy: t.Any, conn: Connection, infos: t.Any, progress: Progress, paused: dict[str, float]) -> None:
        for name in sorted(infos):
            self.at("save", name)
            conn.getLibVersion()
            self.images.add(name)
            paused[name] = 1.0

    def restore_all(
        self,
        dummy: t.Any,
        conn: Connection,
        progress: Progress,
        resumed: t.Callable[[str], None],
        names: t.Any,
        fresh: t.Any,
        **more: t.Any,
    ) -> dict[str, str]:
        errors = {}
        assert set(fresh) == set(names), "an image of this process, which nothing but it proves"
        for name in sorted(names):
            self.at("restore", name)
            try:
                conn.getLibVersion()
                self.images.remove(name)
                resumed(name)
            except Dead as exc:
                errors[name] = str(exc)
        return errors


class Connection:
    def __init__(self, world: World) -> None:
        self.world, self.daemon = world, world.daemon

    def getLibVersion(self) -> int:
        if self.daemon != self.world.daemon:
            raise Dead("client socket is closed")
        return 1

    def close(self) -> None:
        pass


@pytest.fixture(name="world")
def _world(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def back_up(world: World) -> dict[str, t.Any]:
    return checkpoint.checkpoint(world.config, Progress())


@pytest.mark.parametrize("what", [("save", "db"), ("save", "web"), ("set", ""), ("restore", "ice"), ("restore", "web")])
def test_a_daemon_that_dies_leaves_no_vm_off(world: World, what: tuple[str, str]) -> None:
    def dies(*now: str) -> None:
        if now == what:
            world.daemon += 1
            world.at = lambda *dummy: None

    world.at = dies
    if what[0] == "save":
        with pytest.raises(Dead):
            back_up(world)
    else:
        assert sorted(back_up(world)["vms"]) == list(NAMES)
    assert world.images == set() and world.pending() is None


def test_one_that_is_started_while_the_set_is_taken_makes_it_a_false_promise(world: World) -> None:
    world.at = lambda what, dummy: world.left.append("new") if what == "set" else None
    with pytest.raises(HvmError, match="the set hvm_x is not what its mark says: new was started while it was taken"):
        back_up(world)
    assert world.images == set() and world.pending() is None


def test_half_a_set_goes_when_all_vms_are_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[str] = []

    def refused(what: str, dummy: str) -> None:
        if what == "set":
            raise HvmError("out of space", half=["tank/vm@hvm_x"])

    def destroy(half: list[str]) -> dict[str, str]:
        assert world.images == set() and world.pending() is None
        gone.extend(half)
        return {}

    world.at = refused
    monkeypatch.setattr(checkpoint.protect, "destroy", destroy)
    with pytest.raises(HvmError, match="out of space"):
        back_up(world)
    assert gone == ["tank/vm@hvm_x"]


@pytest.mark.parametrize("what", [("save", "ice"), ("restore", "db"), ("restore", "ice")])
def test_whoever_ends_the_process_does_not_leave_them_saved(world: World, what: tuple[str, str]) -> None:
    def ends(*now: str) -> None:
        if now == what:
            os.kill(os.getpid(), signal.SIGTERM)

    world.at = ends
    if what[0] == "save":
        with pytest.raises(HvmError, match="the backup was interrupted"):
            back_up(world)
    else:
        back_up(world)
    assert world.images == set() and world.pending() is None


def test_what_runs_on_is_not_in_the_set_with_its_memory(world: World) -> None:
    assert back_up(world)["warnings"] == []
    world.left = ["zzz"]  # it sleeps, or was started in between
    assert back_up(world)["warnings"] == ["zzz could not be saved, and run: in the set as after a power cut"]
    assert world.marks == ["state", "crash"]


def test_without_libvirt_nothing_is_pending(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> t.NoReturn:
        raise HvmError("libvirt does not answer")

    monkeypatch.setattr(checkpoint.domains, "connect", refused)
    with pytest.raises(HvmError, match="libvirt does not answer"):
        back_up(world)
    assert world.pending() is None
