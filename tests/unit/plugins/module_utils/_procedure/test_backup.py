# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import functools
import json
import os
import pathlib
import signal
import sys
import tempfile
import threading
import time
import types
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import image, memory
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import backup
from ansible_collections.hvm.pair.plugins.module_utils._procedure.backup import Options, consistency, plan

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "_libvirt"))

from fake_hypervisor import OFF, PAUSED, RUNNING, VM, Error, World

DATASETS = {"tank/vm": {"snapshots": [], "props": {}}, "tank/vm/state": {"snapshots": [], "props": {}}}
SAID = {RUNNING: "running", PAUSED: "frozen", OFF: "stopped"}


class Dead(BaseException):
    """The process is no more: nothing of it runs after this."""


class Host1:
    """A host with a world of VMs, whose sets are lists of what lay in the state directory."""

    def __init__(self, directory: pathlib.Path, patch: pytest.MonkeyPatch, *vms: VM) -> None:
        self.world = World(*vms)
        self.directory = directory / "state"
        self.directory.mkdir()
        self.journal = str(directory / "journal")
        self.config = PairConfig("p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("tank/vm",), str(self.directory))
        self.sets: dict[str, dict[str, t.Any]] = {}
        self.fault: t.Callable[[str], None] = lambda what: None
        self.facts: dict[str, dict[str, t.Any]] = {}
        self.sentences: list[str] = []
        for name, value in {
            "observe": lambda dummy: self.observe(),
            "Passes": functools.partial(memory.Passes, clock=self.world.clock, sleep=self.world.sleep),
            "zfs_mounts": list,
            "time": types.SimpleNamespace(monotonic=self.world.clock, sleep=self.world.sleep),
        }.items():
            patch.setattr(backup, name, value)
        patch.setattr(backup.domains, "connect", self.world.connect)
        patch.setattr(backup.inventory, "read", lambda dummy: self.do("read") or DATASETS)
        patch.setattr(backup.checkpoint.actions, "snapshot_set", self.snapshot)
        patch.setattr(backup.kept, "flush", lambda dummy: self.do("flush"))
        patch.setattr(backup.checkpoint, "check_set", lambda *dummy: None)
        patch.setattr(backup.states, "qemu_processes", list)
        patch.setattr(backup.states, "written", lambda dummy: {})
        patch.setattr(backup.image, "write_manifest", self.write_manifest(image.write_manifest))
        patch.setattr(backup.image, "_unfit", lambda *dummy: "")  # it imports libvirt, which is not everywhere
        patch.setattr(operation, "Lock", functools.partial(operation.Lock, str(directory / "lock")))
        patch.setattr(operation, "Journal", functools.partial(operation.Journal, path=self.journal))
        patch.setattr(operation, "pending", functools.partial(operation.pending, self.journal))

    def write_manifest(self, real: t.Callable[..., None]) -> t.Callable[..., None]:
        def write(*arguments: t.Any, **options: t.Any) -> None:
            self.do("manifest")
            real(*arguments, **options)

        return write

    def do(self, what: str) -> None:
        self.fault(what)

    def observe(self) -> dict[str, t.Any]:
        vms = {
            name: {
                "state": SAID[vm.state], "hostdevs": 0, "persistent": True, "memory_kib": vm.memory * 1024, "priority": 99,
                "saved": image.exists(str(self.directory), name), **self.facts.get(name, {})
            }
            for name, vm in self.world.vms.items()
        }  # fmt: skip
        return {
            "vms": vms, "host": "hv1", "role": {"now": "ACTIVE", "epoch": 3}, "pools": {}, "pending": operation.pending(),
            "lock": None, "state_dir_free": None, "state_dir": str(self.directory)
        }  # fmt: skip

    def snapshot(self, dummy: t.Any, name: str, dummy_too: t.Any) -> None:
        self.do("snapshot")
        held = {path.name: path.read_bytes() for path in self.directory.iterdir()}
        frozen = {vm.name: vm.fs_frozen for vm in self.world.vms.values()}
        self.sets[name] = {"files": held, "states": self.world.states(), "fs": frozen}
        self.do("snapshot taken")

    def backup(self, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        progress = Progress()
        try:
            return backup.backup(self.config, progress, Options(**options), check)
        finally:
            self.sentences = [line["text"] for line in progress.lines]

    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())


@pytest.fixture(name="host_with")
def _host_with(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., Host1]:
    return functools.partial(Host1, tmp_path, monkeypatch)


# ---- decisions


@pytest.mark.parametrize(
    ("methods", "word"),
    [
        ([], "state"), (["checkpoint"], "state"), (["checkpoint", "save"], "state"), (["save", "left out", "stopped"], "state"),
        (["checkpoint", "frozen"], "frozen"), (["frozen", "quiesced"], "frozen"), (["quiesced"], "quiesced"),
        (["quiesced", "checkpoint"], "quiesced"), (["frozen", "crashed"], "crash"), (["checkpoint", "crashed"], "crash"),
    ],
)  # fmt: skip
def test_a_mark_promises_no_more_than_is_true_of_all(methods: list[str], word: str) -> None:
    assert consistency(methods) == word


@pytest.mark.parametrize(
    ("policy", "ways"),
    [([], ()), (["refuse"], ()), (["save", "frozen"], ("save", "frozen")), (["frozen", "save"], ("save", "frozen")),
     (["save", "refuse", "frozen"], ("save",)), (["frozen"], ("frozen",))],
)  # fmt: skip
def test_the_policy(policy: list[str], ways: tuple[str, ...]) -> None:
    assert backup.ways(policy) == ways


VMS = {
    "web": {"state": "running", "hostdevs": 0},
    "gpu": {"state": "running", "hostdevs": 1},
    "ice": {"state": "frozen", "hostdevs": 0},
    "own": {"state": "running", "hostdevs": 0, "autobackup": False},
    "off": {"state": "stopped", "hostdevs": 0},
}


@pytest.mark.parametrize(
    ("method", "lines"),
    [
        ("checkpoint", ["memory of gpu, ice, web, while they run", "leave out own: autobackup=no",
                        "gpu holds a device of the host: if libvirt refuses, save or frozen instead", "snapshot set (B)"]),
        ("freeze", ["freeze gpu, ice, web", "leave out own: autobackup=no", "snapshot set (F)"]),
        ("quiesce", ["freeze ice", "freeze the filesystems in gpu, web, where an agent answers; freeze the others",
                     "leave out own: autobackup=no", "snapshot set (F)"]),
    ],
)  # fmt: skip
def test_the_plan(method: str, lines: list[str]) -> None:
    assert plan({"vms": VMS}, Options(method=method))[1] == [*lines, "let them go on"]


def test_a_guest_that_sleeps_costs_the_mark() -> None:
    methods, lines = plan({"vms": {"zzz": {"state": "other", "hostdevs": 0}, "web": VMS["web"]}}, Options())
    assert methods == {"zzz": "crashed", "web": "checkpoint"}
    assert lines[1:3] == ["zzz: the guest sleeps; its disks only, as after a power cut", "snapshot set (C)"]


@pytest.mark.parametrize("method", ["checkpoint", "quiesce", "freeze"])
def test_one_that_does_not_answer_holds_up_no_backup_and_costs_the_mark(method: str) -> None:
    hung = {**VMS["web"], "silent": True}
    vms = {"hung": hung, "web": VMS["web"], "own": {**hung, "autobackup": False}}
    methods, lines = plan({"vms": vms}, Options(method=method))
    assert methods["hung"] == "crashed" != methods["web"]
    left_out = "leave out own: autobackup=no"
    assert lines[1:4] == [left_out, "hung: its QEMU does not answer; its disks only, as after a power cut", "snapshot set (C)"]


# ---- what is done


def test_the_memory_is_in_the_set_and_not_beside_the_running_vm(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web", 1024), VM("db", 2048), VM("ice", frozen=True))
    result = host.backup()
    name = result["set"]
    assert name.endswith("_p_B")
    inside = host.sets[name]
    assert inside["states"] == {"web": PAUSED, "db": PAUSED, "ice": PAUSED}
    assert sorted(inside["files"]) == sorted(f"{vm}.state{end}" for vm in ("web", "db", "ice") for end in ("", ".json"))
    manifest = json.loads(inside["files"]["web.state.json"])
    assert (manifest["paused"], list(manifest["sets"]), manifest["disks"][0]["dataset"]) == (False, [name], "tank/vm/web")
    assert json.loads(inside["files"]["ice.state.json"])["paused"] is True
    assert host.world.states() == {"web": RUNNING, "db": RUNNING, "ice": PAUSED}
    assert host.files() == []
    assert operation.pending() is None
    assert {vm["method"] for vm in result["vms"].values()} == {"checkpoint"}
    assert {"memory", "waited", "interruption"} <= set(result["vms"]["web"])
    assert "interruption" not in result["vms"]["ice"]
    assert [step["step"] for step in result["steps"]] == ["snapshot", "VMs go on"]


@pytest.mark.parametrize("method", ["checkpoint", "quiesce"])
def test_one_whose_qemu_does_not_answer_is_not_waited_for(host_with: t.Callable[..., Host1], method: str) -> None:
    host = host_with(VM("hung"), VM("web"))
    host.facts["hung"] = {"silent": True, "saved": True}
    host.world.vms["hung"].deaf = threading.Event()
    result = host.backup(method=method)
    assert result["vms"]["hung"] == {"method": "crashed"}
    assert result["set"].endswith("_p_C")
    assert result["warnings"][0].startswith("the QEMU of VM hung does not answer: its disks are in the set as after a power cut.")
    assert host.world.vms["hung"].calls == []
    assert host.world.states() == {"hung": RUNNING, "web": RUNNING}


def test_one_that_hangs_in_the_midst_of_it_leaves_something_to_end(host_with: t.Callable[..., Host1]) -> None:
    """It is paused when it answers after all, so the next backup has to look at it."""
    host = host_with(VM("hung"), VM("web"))
    hung = host.world.vms["hung"]
    hung.deaf, hung.deaf_to = threading.Event(), ("suspend",)
    with pytest.raises(HvmError, match=r"not every VM goes on: hung: its QEMU does not answer\. Look at them"):
        host.backup(method="quiesce", pace=memory.Pace(answer=0.3))
    assert host.world.states() == {"hung": RUNNING, "web": RUNNING}
    assert (operation.pending() or {})["ran"] == ["hung", "web"]
    hung.occupied = 60_000
    with pytest.raises(HvmError, match="did not end, and the QEMU of VM hung does not answer"):
        host.backup(method="quiesce")
    hung.occupied = 0
    hung.deaf.set()
    for dummy in range(100):
        if host.world.states()["hung"] == PAUSED:
            break
        time.sleep(0.05)
    result = host.backup(method="quiesce")
    assert "did not end: its VMs go on" in result["warnings"][0]
    assert (host.world.states(), operation.pending()) == ({"hung": RUNNING, "web": RUNNING}, None)


def test_check_mode_changes_nothing(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web"))
    result = host.backup(check=True)
    assert result["plan"] == ["memory of web, while they run", "snapshot set (B)", "let them go on"]
    assert (host.world.log, host.files(), host.sets) == ([], [], {})


def test_a_vm_that_opted_out_is_let_alone_and_told(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web"), VM("own"))
    host.facts["own"] = {"autobackup": False}
    result = host.backup()
    assert (result["set"][-1], result["vms"]["own"]) == ("B", {"method": "left out"})
    assert host.world.vms["own"].calls == []


@pytest.mark.parametrize(
    ("fallback", "unsavable", "mark", "method"),
    [(("save", "frozen"), False, "B", "save"), (("save", "frozen"), True, "F", "frozen"), (("frozen",), False, "F", "frozen")],
)
def test_what_falls_back_is_told_and_the_mark_says_so(
    host_with: t.Callable[..., Host1], fallback: tuple[str, ...], unsavable: bool, mark: str, method: str
) -> None:
    host = host_with(VM("gpu", forbids=55, unsavable=unsavable), VM("web"))
    result = host.backup(fallback=fallback)
    assert (result["set"][-1], result["vms"]["gpu"]["method"], result["vms"]["web"]["method"]) == (mark, method, "checkpoint")
    assert [text for text in result["warnings"] if f"VM gpu: no checkpoint, {method} instead: " in text]
    assert ("gpu.state" in host.sets[result["set"]]["files"]) is (method == "save")
    assert "interruption" in result["vms"]["gpu"]
    assert host.world.states() == {"gpu": RUNNING, "web": RUNNING}
    assert host.files() == []


def test_refused_before_anything_is_done(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web"), VM("gpu"))
    host.facts.update(web={"saved": True}, gpu={"hostdevs": 1})
    with pytest.raises(Refused) as caught:
        host.backup(fallback=())
    assert [finding.what for finding in caught.value.findings] == [
        "VM web runs and yet has a state image",
        "VM gpu holds a device of the host, which allows no checkpoint, and there is no fallback",
    ]
    assert host.world.log == []


def test_a_vm_that_is_killed_costs_the_mark_and_nothing_else(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web"), VM("gone"))
    gone = host.world.vms["gone"]

    def fault(call: str, vm: str) -> None:
        if call == "stats" and vm == "web" and gone.state != OFF:
            gone.state, gone.reason, gone.failure = OFF, 3, Error(1, "guest unexpectedly quit")
            gone.ended.set()

    host.world.fault = fault
    result = host.backup()
    assert (result["set"][-1], result["vms"]["gone"]) == ("C", {"method": "crashed"})
    assert result["warnings"] == ["VM gone ended during the backup: its disks are in the set as after a power cut"]
    assert host.world.states() == {"web": RUNNING, "gone": OFF}
    assert host.files() == []


def test_a_vm_that_is_started_meanwhile_costs_the_mark(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web"), VM("new"))
    new = host.world.vms["new"]
    new.state = OFF
    host.world.fault = lambda call, vm: call == "snapshot" and setattr(new, "state", RUNNING)  # type: ignore[func-returns-value]
    result = host.backup()
    assert (result["set"][-1], result["vms"]["new"]) == ("C", {"method": "crashed"})
    assert result["warnings"] == ["VM new was started during the backup: its disks are in the set as after a power cut"]


def test_vms_that_cannot_be_asked_for_are_not_taken_for_none(
    host_with: t.Callable[..., Host1], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = host_with(VM("web"))
    seen = {**host.observe(), "vms": {}, "vms_error": "libvirt does not answer at qemu:///system"}
    monkeypatch.setattr(backup, "observe", lambda dummy: seen)
    with pytest.raises(Refused, match="the VMs of this host are not known: libvirt does not answer"):
        host.backup()


def test_one_that_goes_on_during_the_snapshot_makes_the_set_a_false_promise(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web"), VM("db"))
    host.fault = lambda what: what == "snapshot taken" and setattr(host.world.vms["db"], "state", RUNNING)  # type: ignore[func-returns-value]
    with pytest.raises(HvmError, match=r"the set hvm_\S+_B is not what its mark says: db went on, or was started, wh") as caught:
        host.backup()
    assert caught.value.remedy.startswith("Destroy it (hvm_zfs_snapshot state=absent name=hvm_")
    assert host.world.states() == {"web": RUNNING, "db": RUNNING}


@pytest.mark.parametrize("options", [{}, {"method": "freeze"}])
@pytest.mark.parametrize("moment", ["snapshot", "snapshot taken"])
def test_one_that_is_started_in_the_last_moment_makes_it_one_too(
    host_with: t.Callable[..., Host1], moment: str, options: dict[str, t.Any]
) -> None:
    """Nobody has its memory, and it was not asked for when the mark was chosen."""
    host = host_with(VM("web"), VM("new"))
    new = host.world.vms["new"]
    new.state = OFF
    host.fault = lambda what: what == moment and setattr(new, "state", RUNNING)  # type: ignore[func-returns-value]
    with pytest.raises(HvmError, match=r"the set hvm_\S+ is not what its mark says: new went on, or was started"):
        host.backup(**options)
    assert host.world.states() == {"web": RUNNING, "new": RUNNING}
    assert (host.files(), operation.pending()) == ([], None)


def test_a_daemon_that_dies_in_the_last_moment_is_no_vm_that_was_started(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web"))
    asked = []

    def dies(call: str, dummy: str) -> None:
        asked.extend([call] if call == "list" else [])
        if asked == ["list"] * 2 and call == "list":
            raise Error(38, "client socket is closed")

    host.world.fault = dies
    assert host.backup()["set"].endswith("_B")
    assert len(asked) == 3


@pytest.mark.parametrize("late", [False, True])
def test_one_that_was_shut_down_and_is_started_again_is_in_no_good_order(host_with: t.Callable[..., Host1], late: bool) -> None:
    host = host_with(VM("web"), VM("gone"))
    gone = host.world.vms["gone"]

    def fault(call: str, vm: str) -> None:
        if call == "stats" and vm == "web" and not gone.ended.is_set():
            gone.state, gone.reason, gone.failure = OFF, 1, Error(1, "guest shut down")
            gone.ended.set()
        if call == "list" and not late:
            gone.state = RUNNING

    def start(what: str) -> None:
        if what == "snapshot" and late:
            gone.state = RUNNING

    host.world.fault, host.fault = fault, start
    if late:
        with pytest.raises(HvmError, match="is not what its mark says: gone went on, or was started"):
            host.backup()
    else:
        result = host.backup()
        assert (result["set"][-1], result["vms"]["gone"]) == ("C", {"method": "crashed"})


@pytest.mark.parametrize("at", ["list", "snapshot"])
def test_one_that_is_left_out_on_purpose_may_be_started_meanwhile(host_with: t.Callable[..., Host1], at: str) -> None:
    host = host_with(VM("web"), VM("own", state=OFF))
    host.facts["own"] = {"autobackup": False, "state": "stopped"}
    own = host.world.vms["own"]
    seen: list[str] = []

    def starts(call: str, vm: str = "") -> None:
        if call == at:
            seen.append(call)
            own.state = RUNNING

    host.world.fault = host.fault = starts
    assert host.backup()["set"][-1] == "B"
    assert seen


@pytest.mark.parametrize("left", [{}, {"tank/vm@x": "a clone depends on it"}])
def test_half_a_set_goes_when_the_vms_go_on(
    host_with: t.Callable[..., Host1], monkeypatch: pytest.MonkeyPatch, left: dict[str, str]
) -> None:
    host = host_with(VM("web"), VM("db"))
    gone: list[str] = []

    def refused(what: str) -> None:
        if what == "snapshot":
            raise HvmError("cannot create snapshots : out of space", half=["tank/vm@x", "tank/vm/state@x"])

    def destroy(half: list[str]) -> dict[str, str]:
        assert host.world.states() == {"web": RUNNING, "db": RUNNING}
        gone.extend(half)
        return left

    host.fault = refused
    monkeypatch.setattr(backup.checkpoint.protect, "destroy", destroy)
    with pytest.raises(HvmError, match="out of space"):
        host.backup()
    assert gone == ["tank/vm@x", "tank/vm/state@x"]
    said = "and tank/vm@x stays: a clone depends on it" if left else "was destroyed again"
    assert any(text.startswith("the set x") and text.endswith(said) for text in host.sentences)
    assert operation.pending() is None


def test_an_image_that_somebody_else_makes_when_the_vms_go_on_is_not_removed(host_with: t.Callable[..., Host1]) -> None:
    """libvirt lets a save wait until the pass has ended, and begins it then."""
    host = host_with(VM("web"))

    def saved(call: str, vm: str) -> None:
        if call == "resume":
            for name in ("web.state", "web.state.json"):
                (host.directory / name).write_text("the operator's")

    host.world.fault = saved
    host.backup()
    assert host.files() == ["web.state", "web.state.json"]
    assert {(host.directory / name).read_text() for name in host.files()} == {"the operator's"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_good_order(host_with: t.Callable[..., Host1], number: int) -> None:
    host = host_with(VM("web", 8192), VM("db", 8192))
    host.world.fault = lambda call, vm: os.kill(os.getpid(), number) if host.world.now > 1002 and call == "stats" else None
    before = signal.getsignal(number)
    with pytest.raises(memory.Interrupted):
        host.backup()
    assert host.world.states() == {"web": RUNNING, "db": RUNNING}
    assert (host.files(), host.sets, operation.pending()) == ([], {}, None)
    assert signal.getsignal(number) is before


# ---- without memory


def test_frozen_for_the_snapshot(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web"), VM("ice", frozen=True))
    old = host.directory / "web.state"
    old.write_text("the operator's own, whatever it is")
    result = host.backup(method="freeze")
    assert (result["set"][-1], host.sets[result["set"]]["states"]) == ("F", {"web": PAUSED, "ice": PAUSED})
    assert host.world.states() == {"web": RUNNING, "ice": PAUSED}
    assert old.exists()


def test_quiesced_where_an_agent_answers(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web", agent=True), VM("db", agent=True))
    result = host.backup(method="quiesce")
    inside = host.sets[result["set"]]
    assert (result["set"][-1], inside["fs"]) == ("Q", {"web": True, "db": True})
    assert inside["states"] == {"web": RUNNING, "db": RUNNING}
    assert not any(vm.fs_frozen for vm in host.world.vms.values())
    assert "agent timeout 10" in host.world.vms["web"].calls and "agent timeout -2" in host.world.vms["web"].calls
    assert result["warnings"] == []


def test_without_an_agent_it_is_paused_and_the_mark_is_the_weaker_one(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web", agent=True), VM("db"))
    result = host.backup(method="quiesce")
    inside = host.sets[result["set"]]
    assert (result["set"][-1], inside["fs"]["web"], inside["states"]["db"]) == ("F", True, PAUSED)
    assert result["warnings"] == ["the filesystems of VM db are not frozen, so it is paused instead: no agent is connected"]
    assert host.world.states() == {"web": RUNNING, "db": RUNNING}


def test_a_late_agent_is_thawed_all_the_same(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web", agent=True))
    web = host.world.vms["web"]

    def late(call: str, vm: str) -> None:
        if call == "fs freeze":
            web.fs_frozen = True
            raise Error(86, "Guest agent is not responding")

    host.world.fault = late
    result = host.backup(method="quiesce")
    assert (result["set"][-1], web.state, web.fs_frozen) == ("F", RUNNING, False)


def mute(host: Host1, *calls: str) -> None:
    """The agent of web answers none of these; nobody waits for a minute here."""

    def silent(call: str, vm: str) -> None:
        if call in calls and vm == "web":
            raise Error(86, "Guest agent is not responding")

    host.world.fault = silent


@pytest.fixture(name="impatient")
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    hasty = functools.partial(backup.quiesce.thaw, limit=0.3, sleep=lambda dummy: time.sleep(0.05))
    monkeypatch.setattr(backup.quiesce, "thaw", hasty)


@pytest.mark.usefixtures("impatient")
def test_an_agent_that_never_answers_fails_no_backup(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web", agent=True), VM("db", agent=True))
    mute(host, "fs freeze", "fs thaw")
    result = host.backup(method="quiesce")
    assert (result["set"][-1], host.sets[result["set"]]["states"]) == ("F", {"web": PAUSED, "db": RUNNING})
    assert result["warnings"][:2] == [
        "the filesystems of VM web are not frozen, so it is paused instead: Guest agent is not responding",
        (
            "VM web is not seen thawed: Guest agent is not responding. "
            "It may hang. Look into it; 'virsh domfsthaw web' thaws it, or resetting it."
        ),
    ]
    assert (host.world.states(), operation.pending()) == ({"web": RUNNING, "db": RUNNING}, None)
    # nor the next one, when the process was killed
    entry = json.loads(pathlib.Path(host.journal).read_text())
    assert entry["deaf"] == ["web"]
    pathlib.Path(host.journal).write_text(json.dumps({**entry, "done": False}))
    host.world.vms["web"].state = PAUSED
    assert "VM web is not seen thawed: Guest agent is not responding" in backup.cure(host.config, Progress())[1]
    assert (host.world.states(), operation.pending()) == ({"web": RUNNING, "db": RUNNING}, None)


@pytest.mark.usefixtures("impatient")
def test_one_that_has_frozen_and_is_not_seen_thawed_is_an_error(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web", agent=True))
    mute(host, "fs thaw")
    for dummy in range(2):
        with pytest.raises(HvmError, match="not every VM goes on: web: VM web is not seen thawed"):
            host.backup(method="quiesce")
    assert (operation.pending() or {})["operation"] == "backup_unsecure"


def test_a_guest_that_thawed_by_itself_is_told(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web", agent=True))
    host.fault = lambda what: what == "snapshot" and setattr(host.world.vms["web"], "fs_frozen", False)  # type: ignore[func-returns-value]
    assert host.backup(method="quiesce")["warnings"] == ["VM web had thawed by itself: it is in the set as after a power cut"]


# ---- whatever fails wherever

FLEET = (
    lambda: VM("web", 1024), lambda: VM("db", 2048, 300, dirty=50), lambda: VM("ice", 512, frozen=True),
    lambda: VM("gpu", forbids=55)
)  # fmt: skip


def check_all_is_well(host: Host1) -> None:
    states = host.world.states()
    # what had to be saved may be off, when its restore failed: its image is there then
    assert states == {"web": RUNNING, "db": RUNNING, "ice": PAUSED, "gpu": states["gpu"]} and states["gpu"] in (RUNNING, OFF)
    left = [name for name in host.files() if not name.startswith("gpu.")] if states["gpu"] == OFF else host.files()
    assert left == []
    assert states["gpu"] == RUNNING or image.exists(str(host.directory), "gpu")
    assert {vm.max_downtime for vm in host.world.vms.values()} <= {300, memory.SHORTEST, 100, memory.ANY}
    for name, inside in host.sets.items():
        for file in inside["files"]:
            if file.endswith(".state"):
                assert f"{file}.json" in inside["files"]
                assert inside["states"][file.removesuffix(".state")] in (PAUSED, OFF)
        if name.endswith("_B"):
            assert {f"{vm}.state" for vm in inside["states"]} <= set(inside["files"])
            assert RUNNING not in inside["states"].values()


@settings(max_examples=50 if os.environ.get("HVM_LONG") else 20)
@given(at=st.integers(0, 220), lasts=st.integers(1, 15), own=st.booleans())
def test_whatever_fails_wherever_every_vm_goes_on_and_no_half_image_is_left(at: int, lasts: int, own: bool) -> None:
    """The call number `at` of libvirt fails, and the next ones; or, `own`, everything else that we do."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        host = Host1(pathlib.Path(directory), patch, *(make() for make in FLEET))
        count = 0

        def fail(*dummy: str) -> None:
            nonlocal count
            count += 1
            if at < count <= at + lasts:
                raise OSError(28, "No space left on device") if own else Error(38, "End of file while reading data")

        if own:
            at %= 12
            host.fault = fail
        else:
            host.world.fault = fail
        with contextlib.suppress(HvmError, OSError, Error):
            host.backup()
        host.fault, host.world.fault = lambda what: None, lambda call, vm: None
        if operation.pending():  # a VM could not be let go on at once
            with contextlib.suppress(HvmError):
                host.backup()
        check_all_is_well(host)
        assert operation.pending() is None


@settings(max_examples=50 if os.environ.get("HVM_LONG") else 5)
@given(at=st.integers(0, 220), own=st.booleans())
def test_a_killed_process_is_made_good_by_the_next_run(at: int, own: bool) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        host = Host1(pathlib.Path(directory), patch, *(make() for make in FLEET[:3]))
        count = 0

        def die(*what: str) -> None:
            nonlocal count
            if what == ("flush",):  # in a thread of its own, where nobody can die
                return
            count += 1
            if count == at + 1:
                raise Dead

        if own:
            at %= 12
            host.fault = die
        else:
            host.world.fault = die
        with pytest.MonkeyPatch.context() as nothing_after:
            nothing_after.setattr(backup._Backup, "go_on", lambda dummy: (dead for dead in ()).throw(Dead()))
            with pytest.raises((Dead, HvmError)):
                host.backup()
        entry = json.loads(pathlib.Path(host.journal).read_text())
        entry["done"] = False  # the process that wrote "done" in passing through here is none in real life
        pathlib.Path(host.journal).write_text(json.dumps(entry))
        host.fault, host.world.fault = lambda what: None, lambda call, vm: None
        result = host.backup()
        assert result["set"].endswith("_B")
        assert "did not end: its VMs go on" in result["warnings"][0]
        assert host.world.states() == {"web": RUNNING, "db": RUNNING, "ice": PAUSED}
        assert host.files() == []
        assert operation.pending() is None


def test_a_verb_lets_go_first_what_a_killed_backup_has_paused(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web"), VM("ice", frozen=True))
    assert backup.cure_before(host.config, host.observe()) == []
    host.world.vms["web"].state = PAUSED
    operation.Journal("backup_unsecure", vms=["ice", "web"], ran=["web"], method="freeze").step("freeze")
    assert backup.cure_before(host.config, {**host.observe(), "lock": "backup by alice"}) == []
    assert host.world.states() == {"web": PAUSED, "ice": PAUSED}
    ended, clock = backup.cure_before(host.config, host.observe())
    assert ended.endswith("did not end: its VMs go on") and clock.startswith("the clock of web is not set: no channel")
    assert host.world.states() == {"web": RUNNING, "ice": PAUSED}
    assert operation.pending() is None


def test_plain_saves_too_let_go_first_what_a_killed_backup_has_paused(
    host_with: t.Callable[..., Host1], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they are saved as paused, and come back so, with nobody left who knows that they ran."""
    host = host_with(VM("web"), VM("ice", frozen=True))
    host.world.vms["web"].state = PAUSED
    operation.Journal("checkpoint", vms=["ice", "web"], ran=["web"], method="checkpoint").step("memory")
    seen: list[t.Any] = []

    def saves(*dummy: t.Any) -> dict[str, t.Any]:
        seen.append((host.world.states(), operation.pending()))
        return {"vms": {"web": {"interruption": 1.0}}, "warnings": ["late"]}

    monkeypatch.setattr(backup.checkpoint, "checkpoint", saves)
    result = host.backup(method=backup.SAVE)
    assert seen == [({"web": RUNNING, "ice": PAUSED}, None)]
    ended, clock, late = result["warnings"]
    assert "did not end: its VMs go on" in ended and clock.startswith("the clock of web is not set") and late == "late"
    assert host.backup(method=backup.SAVE)["warnings"] == ["late"]


@pytest.mark.parametrize("silent", [True, False])
def test_one_that_cannot_be_let_go_keeps_no_other_vm_down(host_with: t.Callable[..., Host1], silent: bool) -> None:
    host = host_with(VM("hung"), VM("web"))
    for vm in host.world.vms.values():
        vm.state = PAUSED
    operation.Journal("backup_unsecure", vms=["hung", "web"], ran=["hung", "web"], method="freeze").step("freeze")

    def fault(call: str, vm: str) -> None:
        if vm == "hung":
            raise Error(38, "End of file while reading data")

    if silent:
        host.world.vms["hung"].occupied = 60_000
    else:
        host.world.fault = fault
    said = "the QEMU of VM hung does not answer" if silent else "not every VM goes on: hung: VM hung cannot be looked at"
    for dummy in range(2):
        with pytest.raises(HvmError, match=said):
            backup.cure(host.config, Progress(), timeout=1.0)
        assert host.world.states() == {"hung": PAUSED, "web": RUNNING}
        assert operation.pending() is not None
    host.world.fault = lambda call, vm: None
    host.world.vms["hung"].occupied = 0
    backup.cure(host.config, Progress())
    assert (host.world.states(), operation.pending()) == ({"hung": RUNNING, "web": RUNNING}, None)


@pytest.mark.parametrize("call", ["rename", "unlink"])
def test_a_suspended_pool_of_the_images_keeps_no_vm_down(
    host_with: t.Callable[..., Host1], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    host = host_with(VM("db"), VM("web"))
    healthy, real = threading.Event(), getattr(os, call)
    monkeypatch.setattr(backup, "FILES_LIMIT", 0.2)
    if call == "unlink":
        host.fault = lambda what: what != "snapshot taken" or monkeypatch.setattr(os, call, sleeps)
    asleep: list[threading.Thread] = []

    def sleeps(path: str, *more: str) -> None:
        if str(host.directory) in path and not healthy.is_set():
            asleep.append(threading.current_thread())
            healthy.wait(20)
        real(path, *more)

    if call == "rename":
        monkeypatch.setattr(os, call, sleeps)
    with pytest.raises(HvmError, match="state does not answer, so images of the VMs' memory may be left there"):
        host.backup()
    assert set(host.world.states().values()) == {RUNNING}
    assert operation.pending() is not None and len(asleep) == 1
    healthy.set()
    asleep[0].join()
    assert host.files() != []
    assert "its VMs go on" in host.backup()["warnings"][0]
    assert (host.files(), operation.pending()) == ([], None)


def test_after_a_power_cut_an_image_is_kept_for_its_manifest_to_judge(host_with: t.Callable[..., Host1]) -> None:
    host = host_with(VM("web"), VM("db"))
    host.world.vms["db"].state = OFF
    (host.directory / "db.state").write_text("image")
    (host.directory / "db.state.live").write_text("half")
    operation.Journal("checkpoint", vms=["db", "web"], ran=["db", "web"], method="checkpoint").step("memory")
    result = host.backup()
    assert result["warnings"][1] == "db: not running any more; a state image of theirs is kept (hvm_vm state=restored)"
    assert host.files() == ["db.state"]


def test_clocks_of_the_vms_that_stood_still_are_set_when_all_go_on(
    host_with: t.Callable[..., Host1], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], list[str], set[str]]] = []

    def set_clock(conn: t.Any, names: t.Iterable[str], brief: t.Collection[str] = ()) -> list[str]:
        asked.append((sorted(names), sorted(brief), set(host.world.states().values())))
        return ["the clock of b is not set"]

    monkeypatch.setattr(backup.checkpoint.guest_agent, "set_clock", set_clock)
    monkeypatch.setattr(backup, "BRIEF", 2.0)
    host = host_with(VM("a"), VM("b"), VM("off"))
    host.world.vms["off"].state = OFF
    result = host.backup()
    assert asked == [(["a", "b"], ["a", "b"], {RUNNING, OFF})]
    assert "the clock of b is not set" in result["warnings"]
    monkeypatch.setattr(backup, "BRIEF", 0.0)
    host.backup()
    assert asked[1][1] == []
    del asked[:]

    def no_room(what: str) -> None:
        if what == "snapshot":
            raise OSError(28, "No space left on device")

    host.fault = no_room
    with pytest.raises(OSError, match="No space left"):
        host.backup()
    assert asked == [(["a", "b"], [], {RUNNING, OFF})]
    assert "the clock of b is not set" in host.sentences


def test_clocks_are_set_of_what_a_killed_backup_has_left_paused(
    host_with: t.Callable[..., Host1], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], list[str]]] = []

    def set_clock(conn: t.Any, names: t.Iterable[str], brief: t.Collection[str] = ()) -> list[str]:
        asked.append((list(names), list(brief)))
        return ["the clock of web is not set"]

    monkeypatch.setattr(backup.checkpoint.guest_agent, "set_clock", set_clock)
    host = host_with(VM("web"), VM("db"))
    host.world.vms["web"].state = PAUSED
    operation.Journal("backup_unsecure", vms=["db", "web"], ran=["db", "web"], method="freeze").step("freeze")
    assert backup.cure(host.config, Progress())[1:] == ["the clock of web is not set"]
    assert asked == [(["web"], [])]
