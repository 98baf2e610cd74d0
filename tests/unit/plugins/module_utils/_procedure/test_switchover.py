# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A migration that fails, at each step and in each way: the real `_Switch`, start and stop of the hypervisor, saves and restores;
libvirt, ZFS, systemd, the addresses and the other host are told what to say."""

from __future__ import annotations

import functools
import json
import pathlib
import sys
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import image
from ansible_collections.hvm.pair.plugins.module_utils._net.addresses import Status
from ansible_collections.hvm.pair.plugins.module_utils._net.shared_ip import Change
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import PeerLost
from ansible_collections.hvm.pair.plugins.module_utils._procedure import checkpoint, hypervisor, states, switchover

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "_libvirt"))

from fake_hypervisor import OFF, RUNNING, VM, Connection, Error, World

DATASETS = {"tank/vm": {"snapshots": [], "props": {}}, "tank/vm/state": {"snapshots": [], "props": {}}}
V4, V6 = "192.0.2.10/24", "2001:db8::10/64"
STATES = {RUNNING: "running", 3: "frozen", OFF: "stopped"}
EPOCH = 3
Fault = t.Callable[["Pair"], None]


class Target:
    """The other host: what it has recorded, and how it takes the request to become ACTIVE."""

    def __init__(self) -> None:
        self.role = {"role": role.PASSIVE, "now": role.PASSIVE, "epoch": EPOCH, "reason": "handed over"}
        self.lock: str | None = None
        self.qemu: list[str] = []
        self.running = False
        self.activate: t.Callable[[], dict[str, t.Any]] = self.take_over
        self.reachable = True
        self.activated = 0
        self.frozen: list[str] = []

    def take_over(self) -> dict[str, t.Any]:
        self.role = {"role": role.ACTIVE, "now": role.ACTIVE, "epoch": EPOCH + 1, "reason": "took over"}
        self.running, self.qemu = True, ["alpha", "beta", "gamma"]
        return {"steps": [], "errors": {}, "warnings": []}

    def fail(self, text: str = "no VM could be restored") -> dict[str, t.Any]:
        self.role.update(epoch=EPOCH + 1, reason="taking over failed and was undone")
        raise HvmError(text)

    def lose_link(self, before: t.Callable[[], t.Any] = lambda: None) -> dict[str, t.Any]:
        before()
        raise PeerLost("the connection to hv2 ended")


class Pair:
    """The source, with three VMs that run and one that the operator had saved; `faults` says what breaks: name -> how."""

    def __init__(self, tmp_path: pathlib.Path, patch: pytest.MonkeyPatch) -> None:
        self.world = World(VM("alpha"), VM("beta"), VM("gamma"), VM("saved"))
        self.world.vms["saved"].state = OFF
        self.priority = {"alpha": 10, "beta": 20, "gamma": 99, "saved": 99}
        self.images, self.away = tmp_path / "state", tmp_path / "state.away"
        self.images.mkdir()
        (self.images / "saved.state").write_bytes(b"LibvirtQemudSave")
        self.config = PairConfig(
            "p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("tank/vm",), str(self.images), (V4, V6), "br0", "192.0.2.1"
        )
        self.target = Target()
        self.faults: dict[str, Fault] = {}
        self.done: list[str] = []
        self.daemon = self.writable = True
        self.held, self.announced = [V4, V6], 0
        self.extra_qemu: list[str] = []
        self.extra: list[str] = []
        self.journal = tmp_path / "journal"
        self.record = tmp_path / "role"
        self._patch_host(patch, tmp_path)
        self._patch_peer(patch)
        role.record(role.ACTIVE, EPOCH, "before")

    # ---- what is under the code

    def do(self, what: str) -> None:
        self.done.append(what)
        if what in self.faults:
            self.faults[what](self)

    def _patch_host(self, patch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
        write, write_journal, write_manifest = role.write, operation.write_atomic, image.write_manifest

        def journal(path: str, text: str, mode: int) -> None:
            self.do("journal")
            write_journal(path, text, mode)

        def manifest(*arguments: t.Any, **options: t.Any) -> None:
            self.do("manifest")
            write_manifest(*arguments, **options)

        def recorded(entry: role.Role, dummy: str = "") -> None:
            self.do(f"record {entry.role}")
            write(entry, str(self.record))

        patch.setattr(role, "RUN", str(tmp_path / "run"))
        patch.setattr(role, "GATE", str(tmp_path / "run/gate"))
        patch.setattr(role, "write", recorded)
        load = role.load
        patch.setattr(role, "load", lambda *dummy: load(str(self.record)))
        patch.setattr(operation, "write_atomic", journal)
        patch.setattr(operation, "Journal", functools.partial(operation.Journal, path=str(self.journal)))
        patch.setattr(image, "write_manifest", manifest)
        patch.setattr(image, "zfs_mounts", list)
        patch.setattr(image, "_unfit", lambda *dummy: "")
        patch.setattr(states, "qemu_processes", self.qemu)
        patch.setattr(states, "written", lambda dummy: {})
        patch.setattr(checkpoint.domains, "connect", self.connect)
        patch.setattr(checkpoint.domains, "vms", self.vms)
        patch.setattr(checkpoint.inventory, "read", lambda dummy: DATASETS)
        patch.setattr(checkpoint.inventory, "read_datasets", lambda dummy: DATASETS)
        patch.setattr(checkpoint.actions, "snapshot_set", lambda *dummy: self.do("snapshot"))
        patch.setattr(hypervisor, "run", self.run)
        patch.setattr(hypervisor, "qemu_processes", self.qemu)
        patch.setattr(hypervisor, "hypervisor_running", lambda: self.daemon)
        patch.setattr(hypervisor, "daemon_failure", lambda: "")
        patch.setattr(hypervisor, "drop_autostart_links", lambda: None)
        for name in ("neutralise_autostart", "stop_networks"):
            patch.setattr(hypervisor.domains, name, functools.partial(self._note, name))
        patch.setattr(hypervisor.domains, "start_networks", lambda conn: self._note("start_networks", conn) or [])
        for name in ("make_writable", "make_inert", "mount_all", "unmount_all", "wait_devices"):
            patch.setattr(hypervisor.actions, name, functools.partial(self._zfs, name))
        patch.setattr(Connection, "getLibVersion", self.version)
        patch.setattr(checkpoint, "set_clocks", lambda *dummy: self.do("clocks") or [])
        patch.setattr(switchover, "time", types.SimpleNamespace(monotonic=self.world.clock, sleep=self.world.sleep))
        address = switchover.address
        patch.setattr(address.shared_ip, "disable", self.disable)
        patch.setattr(address.shared_ip, "take_back", self.take_back)
        patch.setattr(address, "keep_announcing", lambda *dummy: self.do("announcer") or [])

    def _patch_peer(self, patch: pytest.MonkeyPatch) -> None:
        pair = self

        class Peer:
            """As the real one: a new connection each time it is asked for."""

            def __init__(self, dummy: PairConfig) -> None:
                if not pair.target.reachable:
                    raise HvmError("hv2 does not answer")

            def __enter__(self) -> t.Any:
                return self

            def __exit__(self, *dummy: object) -> None:
                pass

            def close(self) -> None:
                pass

            def call(self, op: str, *dummy: t.Any, **arguments: t.Any) -> t.Any:
                target = pair.target
                if op == "activate":
                    target.activated += 1
                    assert role.load().role == role.PASSIVE, "the role is given away on disk before the request is sent"
                    assert (arguments["epoch"], arguments["vms"]) == (EPOCH + 1, ["alpha", "beta", "gamma"])
                    target.frozen = arguments["frozen"]
                    return target.activate()
                assert op == "observe"
                running = {"running": target.running}
                return {"role": target.role, "lock": target.lock, "qemu": target.qemu, "hypervisor": running}

        patch.setattr(switchover, "Peer", Peer)

        def sync(*dummy: t.Any) -> dict[str, t.Any]:
            self.do("sync")
            return {"bytes": 7, "warnings": [], "extra_on_peer": self.extra}

        patch.setattr(switchover.sync, "sync", sync)
        patch.setattr(switchover.sync, "settle", lambda *dummy: self.do("settle") or [])

    def _note(self, name: str, *dummy: t.Any) -> list[str]:
        self.do(name)
        return []

    def _zfs(self, name: str, *dummy: t.Any) -> None:
        self.do(name)
        if name in ("make_writable", "make_inert"):
            self.writable = name == "make_writable"
        if name == "unmount_all" and self.images.exists():
            self.images.rename(self.away)
        if name == "mount_all" and self.away.exists():
            self.away.rename(self.images)

    def qemu(self) -> list[str]:
        return sorted([name for name, vm in self.world.vms.items() if vm.state != OFF] + self.extra_qemu)

    def connect(self) -> Connection:
        if not self.daemon:
            raise HvmError("libvirt does not answer")
        self.do("connect")
        return self.world.connect()

    def version(self, *dummy: t.Any) -> int:
        if not self.daemon:
            raise Error(38, "client socket is closed")
        return 10_000_000

    def vms(self, *dummy: t.Any) -> dict[str, dict[str, t.Any]]:
        self.version()
        saved = image.saved_names(self.config.state_dir)
        return {
            name: {"state": STATES[vm.state], "priority": self.priority[name], "saved": name in saved}
            for name, vm in self.world.vms.items()
        }

    def run(self, command: t.Sequence[str], **dummy: t.Any) -> str:
        verb = " ".join(command[:2])
        self.do(verb)
        assert verb in ("systemctl start", "systemctl stop")
        assert verb == "systemctl stop" or role.gate_is_open(), "libvirt starts behind an open gate only"
        self.daemon = verb == "systemctl start"
        return ""

    def disable(self, addresses: t.Sequence[str], dummy: str) -> Change:
        self.do("shared IP off")
        gone, self.held = self.held, [one for one in self.held if one not in addresses]
        self.do("shared IP is off")
        return Change(tuple(gone), Status(True, True, "", ()), Status(False, False, "", ()))

    def take_back(self, addresses: t.Sequence[str], dummy: str) -> None:
        self.do("shared IP on")
        self.held = [*self.held, *(one for one in addresses if one not in self.held)]

    # ---- what is asked of it

    def migrate(self) -> dict[str, t.Any]:
        me = {"role": {"epoch": EPOCH}, "shared_ip": {"addresses": {one: one in self.held for one in self.config.shared_ips}}}
        other = {"role": {"epoch": EPOCH}}
        peer = switchover.Peer(self.config)
        running = ["alpha", "beta", "gamma"]
        self.progress = Progress()
        return switchover._Switch(self.config, peer, self.progress, me, other, running).execute()

    def pending(self) -> tuple[str, str] | None:
        found = operation.pending(str(self.journal))
        return (found["operation"], found["step"]) if found else None

    def running(self) -> list[str]:
        return self.qemu()

    def kept(self) -> list[str]:
        """Images, wherever the state directory is now."""
        directory = self.images if self.images.exists() else self.away
        return sorted(path.name for path in directory.iterdir())

    def goes_on_as_before(self, above: int = EPOCH) -> None:
        """:param above: the epoch, at the least."""
        assert self.world.states() == {"alpha": RUNNING, "beta": RUNNING, "gamma": RUNNING, "saved": OFF}
        assert self.kept() == ["saved.state"]  # what the operator had saved stays saved
        assert sorted(self.held) == sorted([V4, V6])
        now = role.load()
        assert (now.role, now.epoch >= above, role.gate_is_open()) == (role.ACTIVE, True, True)
        assert self.daemon and self.writable
        assert self.images.exists()


@pytest.fixture(name="pair")
def _pair(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    return Pair(tmp_path, monkeypatch)


# ---- what may break


def broken(text: str = "No space left on device") -> Fault:
    def fault(dummy: Pair) -> None:
        raise HvmError(text)

    return fault


def nth(number: int, fault: Fault) -> Fault:
    """The n-th time only."""
    count = iter(range(1, 1000))
    return lambda pair: fault(pair) if next(count) == number else None


def fails(*command: str) -> Fault:
    def fault(dummy: Pair) -> None:
        raise CommandError(command, 1, "", "it failed")

    return fault


def link_is_cut(dummy: Pair) -> None:
    raise PeerLost("the connection to hv2 ended")


def a_bug(dummy: Pair) -> None:
    raise KeyError("a bug")


def process_appears(pair: Pair) -> None:
    """Somebody's VM runs when the hypervisor is to be stopped; it has ended when the migration is undone."""
    pair.extra_qemu = ["zombie"]

    def ends(pair: Pair) -> None:
        pair.extra_qemu = []

    pair.faults["make_writable"] = ends


def daemon_dies(pair: Pair) -> None:
    pair.daemon = False
    raise HvmError("client socket is closed")


def daemon_dies_over(vm: str, fails: int = 0) -> t.Callable[[Pair], None]:
    """libvirt pauses a VM before it saves it. :param fails: how often the paused VM cannot be resumed afterwards."""

    def what(pair: Pair) -> None:
        left = iter(range(fails))

        def busy(name: str, whose: str) -> None:
            if (name, whose) == ("resume", vm) and next(left, None) is not None:
                raise Error(68, "cannot acquire state change lock")

        pair.world.vms[vm].state = 3
        pair.world.fault = busy
        daemon_dies(pair)

    return what


def on_call(call: str, vm: str, what: t.Callable[[Pair], None]) -> t.Callable[[Pair], None]:
    """Sets up that libvirt's `call` of `vm` breaks, once."""

    def setup(pair: Pair) -> None:
        def fault(name: str, whose: str) -> None:
            if (name, whose) == (call, vm):
                pair.world.fault = lambda *dummy: None
                what(pair)

        pair.world.fault = fault

    return setup


def fault(name: str, how: Fault) -> t.Callable[[Pair], None]:
    return lambda pair: pair.faults.update({name: how})


def at_target(how: t.Callable[[Target], dict[str, t.Any]]) -> t.Callable[[Pair], None]:
    def setup(pair: Pair) -> None:
        pair.target.activate = lambda: how(pair.target)

    return setup


#: (step, what fails in it, the reason that is told). After each: undone, in the same run.
UNDONE: list[tuple[str, str, t.Callable[[Pair], None], str]] = [
    ("save", "the journal cannot be written", fault("journal", nth(1, broken())), "No space left"),
    ("save", "the first VM cannot be saved", on_call("save", "gamma", broken("cannot migrate")), "gamma: cannot migrate"),
    ("save", "the last VM cannot be saved", on_call("save", "alpha", broken("cannot migrate")), "alpha: cannot migrate"),
    ("save", "a VM is off, and its manifest cannot be written", fault("manifest", nth(1, broken())), "gamma: No space left"),
    ("save", "the last VM is off, without its manifest", fault("manifest", nth(3, broken())), "alpha: No space left"),
    ("save", "libvirt dies", on_call("save", "beta", daemon_dies), "beta: client socket is closed"),
    ("save", "libvirt dies, and leaves a VM paused", on_call("save", "beta", daemon_dies_over("beta")), "socket is closed"),
    ("save", "libvirt dies, and is busy for a while", on_call("save", "beta", daemon_dies_over("beta", 3)), "socket is closed"),
    ("save", "the anchor cannot be written", fault("manifest", nth(4, broken())), "No space left"),
    ("shared IP off", "the journal cannot be written", fault("journal", nth(2, broken())), "No space left"),
    ("shared IP off", "it cannot be taken off", fault("shared IP off", broken("'ip addr del' failed")), "'ip addr del' failed"),
    ("shared IP off", "it is off, and then something fails", fault("shared IP is off", broken("RTNETLINK")), "RTNETLINK"),
    ("stop here", "the journal cannot be written", fault("journal", nth(3, broken())), "No space left"),
    ("stop here", "a VM runs that nobody knows", fault("shared IP is off", process_appears), "VMs are running: zombie"),
    ("stop here", "a network does not stop", fault("stop_networks", nth(1, broken("network is busy"))), "network is busy"),
    ("stop here", "libvirt has died", fault("stop_networks", nth(1, daemon_dies)), "client socket is closed"),
    ("stop here", "libvirt does not stop", fault("systemctl stop", nth(1, fails("systemctl", "stop"))), "it failed"),
    ("stop here", "a dataset is in use", fault("unmount_all", nth(1, broken("/vm is used by bash (7)"))), "bash (7)"),
    ("last snapshot", "the journal cannot be written", fault("journal", nth(4, broken())), "No space left"),
    ("last snapshot", "the pool is full", fault("snapshot", fails("zfs", "snapshot")), "it failed"),
    ("last sync", "the journal cannot be written", fault("journal", nth(5, broken())), "No space left"),
    ("last sync", "the link is cut", fault("sync", link_is_cut), "the connection to hv2 ended"),
    ("last sync", "the pool there is full", fault("sync", broken("cannot receive: out of space")), "out of space"),
    ("last sync", "a bug", fault("sync", a_bug), "a bug"),
    ("hand over", "the journal cannot be written", fault("journal", nth(6, broken())), "No space left"),
    ("hand over", "a dataset cannot be made inert", fault("make_inert", nth(1, fails("zfs", "set"))), "it failed"),
    ("hand over", "the role cannot be recorded", fault("record PASSIVE", nth(1, broken())), "No space left"),
    ("start there", "the target refuses", at_target(lambda target: target.fail("this host is UNKNOWN")), "this host is UNKNOWN"),
    ("start there", "the target undoes it", at_target(lambda target: target.fail()), "no VM could be restored"),
    ("start there", "the link is cut before it acts", at_target(lambda target: target.lose_link()), "did not take over"),
    (
        "start there",
        "the link is cut, and it undoes it",
        at_target(lambda target: target.lose_link(lambda: target.role.update(epoch=EPOCH + 1))),
        "did not take over",
    ),
]


@pytest.mark.parametrize(("step", "what", "setup", "reason"), UNDONE, ids=[f"{one[0]}: {one[1]}" for one in UNDONE])
def test_whatever_fails_before_the_target_runs_the_vms_they_go_on_here(
    pair: Pair, step: str, what: str, setup: t.Callable[[Pair], None], reason: str
) -> None:
    setup(pair)
    with pytest.raises(Exception) as caught:  # one of them is a bug
        pair.migrate()
    assert reason in str(caught.value)
    given_away = step == "start there"
    pair.goes_on_as_before(above=EPOCH + 1 if given_away else EPOCH)
    assert pair.target.activated == (1 if given_away else 0)
    if given_away:
        assert role.load().epoch > pair.target.role["epoch"]
    assert pair.pending() is None
    if isinstance(caught.value, HvmError):
        assert "so the migration was undone, and hv1 goes on as the ACTIVE host" in caught.value.what
        assert caught.value.details["undone"]
    off = "shared IP is off" in pair.done
    assert ("shared IP on" in pair.done, "announcer" in pair.done) == (True, True)
    if off and step != "shared IP off":
        # the VMs first: an address that cannot be taken stops nothing
        assert pair.done.index("clocks") > pair.done.index("shared IP on") > pair.done.index("shared IP is off")


@pytest.mark.parametrize("vm", ["alpha", "beta", "gamma"])
def test_a_daemon_that_dies_while_they_go_back_is_no_vms_fault(pair: Pair, vm: str) -> None:
    fault("sync", link_is_cut)(pair)
    on_call("restore", vm, daemon_dies)(pair)
    with pytest.raises(HvmError, match="so the migration was undone"):
        pair.migrate()
    pair.goes_on_as_before()


def test_what_goes_well_leaves_nothing_here(pair: Pair) -> None:
    result = pair.migrate()
    assert (result["active"], result["changed"], result["warnings"]) == ("hv2", True, [])
    assert (pair.running(), pair.held, pair.daemon, pair.writable) == ([], [], False, False)
    assert (role.load().role, role.load().epoch, role.gate_is_open()) == (role.PASSIVE, EPOCH + 1, False)
    assert pair.pending() is None
    assert sorted(pair.kept()) == sorted(
        ["saved.state", *(f"{vm}.state{end}" for vm in ("alpha", "beta", "gamma") for end in ("", ".json"))]
    )


def test_libvirt_that_has_died_when_it_is_to_be_stopped_stops_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.faults["shared IP is off"] = lambda pair: setattr(pair, "daemon", False)
    monkeypatch.setattr(hypervisor, "hypervisor_running", lambda: True)  # its socket is there
    result = pair.migrate()
    assert (result["active"], pair.running(), pair.daemon) == ("hv2", [], False)
    assert pair.done.count("stop_networks") == 1
    assert pair.done.index("systemctl start") < pair.done.index("stop_networks") < pair.done.index("systemctl stop")


def is_down_and_waits(pair: Pair) -> None:
    assert (pair.running(), pair.held, pair.daemon, pair.writable) == ([], [], False, False)
    assert (role.load().role, role.gate_is_open()) == (role.PASSIVE, False)
    assert pair.pending() == ("migrate_secure", "waiting for the other host")
    assert {"alpha.state", "beta.state", "gamma.state"} <= set(pair.kept())


def unreachable(target: Target) -> None:
    target.reachable = False


def busy(target: Target) -> None:
    target.lock = "migrate_secure by root on hv1"


@pytest.mark.parametrize(
    ("what", "then"),
    [
        ("no answer any more", unreachable),
        ("it is still at it", busy),
        ("its libvirt runs", lambda target: setattr(target, "running", True)),
        ("a VM's process is there", lambda target: setattr(target, "qemu", ["alpha"])),
    ],
)
@pytest.mark.parametrize("way", ["the link is cut", "it answers with an error"])
def test_without_proof_that_the_other_did_not_take_over_nothing_starts_here(
    pair: Pair, what: str, way: str, then: t.Callable[[Target], None]
) -> None:
    def activate() -> dict[str, t.Any]:
        then(pair.target)
        return pair.target.lose_link() if way == "the link is cut" else pair.target.fail()

    pair.target.activate = activate
    began = pair.world.clock()
    with pytest.raises(HvmError, match="hv2 was told to take over, and it is not proven that it did not") as caught:
        pair.migrate()
    assert "it may be ACTIVE, so nothing is started here. Run hvm.pair.recover when hv2 answers" in str(caught.value)
    # it was asked twice, and waited for once
    assert pair.world.clock() - began < 1.2 * switchover.ASK_TIMEOUT
    is_down_and_waits(pair)


def test_a_target_that_took_over_and_then_failed_to_say_so_is_active(pair: Pair) -> None:
    pair.target.activate = lambda: pair.target.lose_link(pair.target.take_over)
    assert pair.migrate()["active"] == "hv2"
    assert (pair.running(), pair.held, role.load().role) == ([], [], role.PASSIVE)


def test_a_target_that_took_over_and_answers_with_an_error_is_not_competed_with(pair: Pair) -> None:
    def activate() -> dict[str, t.Any]:
        pair.target.take_over()
        pair.target.qemu = []
        pair.target.running = False  # it has rebooted since: what counts is its record
        raise HvmError("unexpected KeyError")

    pair.target.activate = activate
    with pytest.raises(HvmError, match="it is not proven that it did not"):
        pair.migrate()
    is_down_and_waits(pair)


def test_what_is_written_after_the_target_took_over_changes_nothing(pair: Pair) -> None:
    pair.faults["settle"] = lambda pair: pair.faults.update({"record PASSIVE": broken(), "journal": broken()})
    result = pair.migrate()
    assert result["active"] == "hv2"
    assert result["warnings"] == ["it could not be written down: No space left on device"] * 2


# ---- when the way back has its own troubles


def test_a_journal_that_cannot_be_written_any_more_keeps_no_vm_down(pair: Pair) -> None:
    pair.faults["sync"] = lambda pair: pair.faults.update(journal=broken()) or link_is_cut(pair)
    with pytest.raises(HvmError, match="so the migration was undone"):
        pair.migrate()
    pair.goes_on_as_before()
    assert pair.pending() == ("migrate_secure", "last sync")  # the next run says so, and `recover` sees that all is well


def test_an_address_that_cannot_be_taken_back_is_said_and_the_vms_run(pair: Pair) -> None:
    pair.faults.update({"sync": link_is_cut, "shared IP on": broken("RTNETLINK answers: no")})
    with pytest.raises(HvmError, match="this host goes on, but not with everything: the shared IP: RTNETLINK answers: no"):
        pair.migrate()
    assert pair.running() == ["alpha", "beta", "gamma"]
    assert (role.load().role, pair.held) == (role.ACTIVE, [])
    assert pair.pending() == ("migrate_secure", "going back")


def test_only_the_addresses_that_were_here_come_back(pair: Pair) -> None:
    pair.held = [V4]
    pair.faults["sync"] = link_is_cut
    with pytest.raises(HvmError):
        pair.migrate()
    assert pair.held == [V4]


def test_one_vm_that_cannot_be_restored_keeps_its_image_and_no_other_down(pair: Pair) -> None:
    pair.faults["sync"] = link_is_cut
    on_call("restore", "beta", broken("QEMU says no"))(pair)
    with pytest.raises(HvmError, match="not with everything: beta: QEMU says no"):
        pair.migrate()
    assert pair.running() == ["alpha", "gamma"]
    assert pair.kept() == ["beta.state", "beta.state.json", "saved.state"]
    assert sorted(pair.held) == sorted([V4, V6])
    assert pair.pending() == ("migrate_secure", "going back")


def test_libvirt_that_dies_on_the_way_back_is_started_and_asked_once_more(pair: Pair) -> None:
    pair.faults["sync"] = link_is_cut
    on_call("restore", "beta", daemon_dies)(pair)
    with pytest.raises(HvmError, match="so the migration was undone"):
        pair.migrate()
    pair.goes_on_as_before()


def test_a_vm_that_stays_paused_is_named(pair: Pair) -> None:
    on_call("save", "beta", daemon_dies_over("beta", 1000))(pair)
    with pytest.raises(HvmError, match="not with everything: beta: cannot acquire state change lock"):
        pair.migrate()
    assert sorted(pair.held) == sorted([V4, V6])


def test_a_vm_that_the_operator_had_frozen_stays_frozen(pair: Pair) -> None:
    pair.world.vms["beta"].state = 3
    pair.faults["sync"] = link_is_cut
    with pytest.raises(HvmError, match="so the migration was undone"):
        pair.migrate()
    assert pair.world.states() == {"alpha": RUNNING, "beta": 3, "gamma": RUNNING, "saved": OFF}


def test_the_other_host_is_told_which_vms_the_operator_had_frozen(pair: Pair) -> None:
    pair.world.vms["beta"].state = 3
    pair.migrate()
    assert (pair.target.activated, pair.target.frozen) == (1, ["beta"])


def test_a_vm_that_ends_while_it_is_saved_is_named(pair: Pair) -> None:
    def crash(pair: Pair) -> None:
        pair.world.vms["beta"].state = OFF
        raise HvmError("operation failed: domain is not running")

    on_call("save", "beta", crash)(pair)
    with pytest.raises(HvmError, match="beta: it ended, and has no state image"):
        pair.migrate()
    assert pair.running() == ["alpha", "gamma"]
    assert sorted(pair.held) == sorted([V4, V6])


def test_libvirt_that_does_not_start_again_is_said_with_both_reasons(pair: Pair) -> None:
    pair.faults.update({"sync": link_is_cut, "systemctl start": fails("systemctl", "start")})
    with pytest.raises(HvmError, match=r"the migration failed \(the connection to hv2 .*could not be undone either") as caught:
        pair.migrate()
    assert "then run hvm.pair.recover." in caught.value.remedy
    assert {"alpha.state", "beta.state", "gamma.state"} <= set(pair.kept())
    assert pair.held == []  # nothing runs here
    assert pair.pending() == ("migrate_secure", "going back")


def test_libvirt_that_died_before_it_was_stopped_leaves_the_other_vms_their_address(pair: Pair) -> None:
    on_call("save", "beta", daemon_dies)(pair)
    pair.faults["systemctl start"] = fails("systemctl", "start")
    with pytest.raises(HvmError, match="could not be undone either"):
        pair.migrate()
    assert pair.running() == ["alpha", "beta"]  # gamma was saved
    assert sorted(pair.held) == sorted([V4, V6])
    assert {"gamma.state", "gamma.state.json"} <= set(pair.kept())


def test_a_vm_that_was_started_meanwhile_is_not_taken_along_unseen(pair: Pair) -> None:
    pair.world.vms["saved"].state = RUNNING
    with pytest.raises(HvmError, match="saved was started after the migration had begun; nothing was stopped"):
        pair.migrate()
    assert pair.running() == ["alpha", "beta", "gamma", "saved"]
    assert pair.pending() is None


def test_a_vm_that_was_shut_down_meanwhile_stays_so(pair: Pair) -> None:
    pair.world.vms["gamma"].state = OFF
    pair.faults["sync"] = link_is_cut
    with pytest.raises(HvmError, match="so the migration was undone"):
        pair.migrate()
    assert pair.running() == ["alpha", "beta"]


def test_what_is_gone_here_and_is_there_is_found_before_a_vm_stands_still(pair: Pair) -> None:
    pair.extra = ["tank/vm/old", "tank/vm/old/in", "tank/vm/older"]
    with pytest.raises(HvmError, match=r"^tank/vm/old, tank/vm/older on hv2: gone on this host, and .* no VM has been touched"):
        switchover.presync(pair.config, switchover.Peer(pair.config), Progress(), EPOCH)
    assert pair.done.count("sync") == 1
    pair.goes_on_as_before()


@pytest.mark.parametrize("hot", [True, False])
def test_half_a_set_goes_when_everything_is_as_it_was(pair: Pair, monkeypatch: pytest.MonkeyPatch, hot: bool) -> None:
    gone: list[str] = []

    def refused(dummy: Pair) -> None:
        raise HvmError("out of space", half=["tank/vm@x"])

    def destroy(half: list[str]) -> dict[str, str]:
        pair.goes_on_as_before()
        gone.extend(half)
        return {}

    pair.faults["snapshot"] = refused
    monkeypatch.setattr(checkpoint.protect, "destroy", destroy)
    with pytest.raises(HvmError, match="out of space"):
        if hot:
            switchover.presync(pair.config, switchover.Peer(pair.config), Progress(), EPOCH)
        else:
            pair.migrate()
    assert gone == ["tank/vm@x"]


def test_libvirt_has_time_to_end_what_was_not_quite_started(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(["frozen", "frozen", "stopped"])
    monkeypatch.setattr(hypervisor.domains, "vms", lambda *dummy: {"beta": {"state": next(looks)}, "ice": {"state": "frozen"}})
    hypervisor.ended(None, "/vm", ["beta", "not known"])
    assert list(looks) == []
    monkeypatch.setattr(hypervisor.domains, "vms", lambda *dummy: {"ice": {"state": "frozen"}})
    hypervisor.ended(None, "/vm", ["ice"], timeout=0.3)  # one that was saved frozen


# ---- the other half: what the target does with a request that it cannot carry out


class Taking:
    """A PASSIVE host with the set of a migration, and the images of two VMs in it."""

    NAME = "hvm_20261123T094512Z_p_B"

    def __init__(self, tmp_path: pathlib.Path, patch: pytest.MonkeyPatch) -> None:
        self.did: list[str] = []
        self.faults: dict[str, BaseException] = {}
        self.errors: dict[str, str] = {}
        self.answers, self.dies_with, self.before_it_dies = True, "", [""][:0]
        self.second = types.SimpleNamespace(close=lambda: None, getLibVersion=lambda: 1)
        self.runs: list[str] = ["alpha", "beta"]
        self.qemu: list[str] = []
        self.daemon = False
        self.events: list[dict[str, t.Any]] = []
        self.now = {"role": role.PASSIVE, "now": role.PASSIVE, "epoch": EPOCH}
        self.config = PairConfig("p", Host("hv2", "10.0.0.2"), Host("hv1", "10.0.0.1"), ("t/vm",), str(tmp_path), (V4,), "br0")
        datasets = {"t/vm": {"snapshots": [[self.NAME, "1", 7]], "props": {"written": ["0", "-"]}}}
        me = {"role": self.now, "qemu": [], "hypervisor": {"running": False}, "host": "hv2"}
        patch.setattr(switchover, "observe", lambda dummy: me)
        patch.setattr(switchover.inventory, "read", lambda dummy: datasets)
        patch.setattr(switchover.hypervisor, "start", self.start)
        patch.setattr(switchover.hypervisor, "stop", self.stop)
        patch.setattr(switchover.hypervisor, "connect_again", lambda: self.do("connect again") or self.second)
        patch.setattr(switchover.hypervisor, "ended", lambda conn, dummy, left: self.do(f"look at {' '.join(sorted(left))}"))
        patch.setattr(switchover.checkpoint, "restore_all", self.restore)
        patch.setattr(switchover.address, "take", lambda dummy: self.do("address"))
        patch.setattr(switchover.address, "keep_announcing", lambda *dummy: self.do("announcer") or ["announced once only"])
        patch.setattr(checkpoint, "set_clocks", lambda dummy: ["a clock"])
        patch.setattr(switchover, "qemu_processes", lambda: self.qemu)
        patch.setattr(switchover, "hypervisor_running", lambda: self.daemon)
        patch.setattr(switchover, "run", lambda command: self.do(" ".join(command)))
        patch.setattr(switchover.role, "record", lambda now, epoch, dummy: self.did.append(f"record {now} {epoch}"))
        self.journal = tmp_path / "journal.json"
        self.steps: list[str] = []
        patch.setattr(switchover.operation.Journal, "_write", lambda journal: self.write(journal, len(self.did)))
        patch.setattr(operation.role, "load", lambda: self.record)

    @property
    def record(self) -> role.Role:
        """As it is on disk: `start` has written it."""
        return role.Role(role.ACTIVE if "start" in self.did else role.PASSIVE, EPOCH + 1, "then", "", "")

    def write(self, journal: operation.Journal, done: int) -> None:
        """:param done: how many of the steps: this is none of them."""
        self.steps.append(f"{journal.entry['step']} ({done})")
        if self.journal.is_dir():
            raise OSError("Input/output error")
        self.journal.write_text(json.dumps(journal.entry))

    def do(self, what: str) -> None:
        self.did.append(what)
        if what in self.faults:
            raise self.faults[what]

    def start(self, *dummy: t.Any) -> t.Any:
        self.do("start")
        self.daemon = True
        return self.connection()

    def connection(self) -> t.Any:
        def version() -> int:
            if not self.answers:
                raise Error(38, "client socket is closed")
            return 1

        return types.SimpleNamespace(close=lambda: None, getLibVersion=version)

    def stop(self, *dummy: t.Any) -> None:
        self.do("stop")
        self.daemon = False
        self.do("unmount")

    def restore(self, dummy: t.Any, dummy_conn: t.Any, dummy_progress: t.Any, resumed: t.Callable[[str], None], *rest: t.Any,
                **more: t.Any) -> dict[str, str]:  # fmt: skip
        if self.dies_with:  # this time only
            assert more["written"] == {"t/vm": {self.NAME: ["0", "1"]}}
            self.dies_with, left = "", [vm for vm in rest[0] if vm not in self.before_it_dies]
            for vm in self.before_it_dies:
                resumed(vm)
            self.do("restore")
            self.answers = False
            return dict.fromkeys(left, "client socket is closed")
        if self.answers:
            assert more["written"] == {"t/vm": {self.NAME: ["0", "1"]}}
        else:
            assert (more["written"], dummy_conn) == (None, self.second)  # what was written since must be asked anew
        for vm in [vm for vm in self.runs if vm in rest[0]]:
            resumed(vm)
        self.do("restore")
        return self.errors

    def activate(self) -> dict[str, t.Any]:
        return switchover.activate(self.config, self.NAME, EPOCH + 1, ["beta", "alpha"], ["beta"], self.events.append)


@pytest.fixture(name="taking")
def _taking(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Taking:
    return Taking(tmp_path, monkeypatch)


def test_the_target_takes_the_address_when_the_vms_run(taking: Taking) -> None:
    answer = taking.activate()
    assert taking.did == ["start", "restore", "address", "announcer"]
    assert (answer["errors"], answer["warnings"]) == ({}, ["announced once only", "a clock"])
    assert [event["resumed"] for event in taking.events if "resumed" in event] == ["alpha", "beta"]


@pytest.mark.parametrize("what", ["start", "restore"])
def test_a_target_on_which_no_vm_runs_is_as_before(taking: Taking, what: str) -> None:
    taking.runs = []
    taking.faults[what] = HvmError("it failed")
    with pytest.raises(HvmError, match="it failed"):
        taking.activate()
    assert taking.did[-3:] == ["stop", "unmount", f"record PASSIVE {EPOCH + 1}"]
    assert "address" not in taking.did


def test_the_target_knows_by_itself_what_it_was_about_to_restore(taking: Taking) -> None:
    taking.activate()
    assert taking.steps == ["target: start the hypervisor (0)", "target: restore VMs (1)", "end (3)"]
    assert operation.pending(str(taking.journal)) is None
    taking.faults["restore"] = KeyboardInterrupt("the link went, and the agent with it")
    with pytest.raises(KeyboardInterrupt, match="the link went"):
        taking.activate()
    found = operation.pending(str(taking.journal))
    assert found is not None
    facts = {key: found[key] for key in ("operation", "source", "set", "epoch", "vms", "frozen")}
    ran = {"vms": ["alpha", "beta"], "frozen": ["beta"]}
    assert facts == {"operation": "migrate_secure", "source": "hv1", "set": taking.NAME, "epoch": EPOCH + 1, **ran}


def test_a_target_that_has_not_become_active_has_nothing_to_finish(taking: Taking) -> None:
    taking.runs = []
    taking.faults["start"] = HvmError("no mount")
    with pytest.raises(HvmError, match="no mount"):
        taking.activate()
    taking.did.clear()
    assert json.loads(taking.journal.read_text())["done"] is False
    assert operation.pending(str(taking.journal)) is None


def test_a_journal_that_cannot_be_written_keeps_no_vm_down_there_either(taking: Taking) -> None:
    taking.journal.mkdir()
    answer = taking.activate()
    assert taking.did == ["start", "restore", "address", "announcer"]
    assert answer["warnings"][:3] == ["it could not be written down: Input/output error"] * 3


def test_a_target_that_cannot_unmount_is_passive_all_the_same(taking: Taking) -> None:
    taking.runs, taking.errors = [], {"alpha": "no", "beta": "no"}
    taking.faults["unmount"] = HvmError("/vm cannot be unmounted: it is used by bash (7)")
    with pytest.raises(HvmError, match="cannot be unmounted") as caught:
        taking.activate()
    assert "no VM could be restored: alpha: no; beta: no" in str(caught.value.__context__)
    assert taking.did[-1] == f"record PASSIVE {EPOCH + 1}"


@pytest.mark.parametrize("left", ["process", "daemon"])
def test_a_target_that_is_not_proven_stopped_stays_active_so_that_the_source_stays_down(taking: Taking, left: str) -> None:
    taking.runs, taking.errors = [], {"alpha": "not seen running after 60 s", "beta": "no"}
    taking.qemu = ["alpha"] if left == "process" else []
    taking.faults["stop"] = HvmError("VMs are running: alpha")
    with pytest.raises(HvmError, match="VMs are running: alpha"):
        taking.activate()
    assert not [one for one in taking.did if one.startswith("record")]


@pytest.mark.parametrize(("before", "left"), [([], "alpha beta"), (["alpha"], "beta")])
def test_a_target_whose_libvirt_dies_restores_what_is_left(taking: Taking, before: list[str], left: str) -> None:
    taking.dies_with, taking.before_it_dies = "it", before
    answer = taking.activate()
    assert taking.did == ["start", "restore", "connect again", f"look at {left}", "restore", "address", "announcer"]
    assert answer["errors"] == {}
    assert [event["resumed"] for event in taking.events if "resumed" in event] == ["alpha", "beta"]


def test_a_target_whose_libvirt_does_not_come_back_says_both_reasons(taking: Taking) -> None:
    taking.dies_with, taking.before_it_dies = "it", ["alpha"]
    taking.faults["connect again"] = HvmError("libvirt does not start")
    assert taking.activate()["errors"] == {"beta": "client socket is closed; libvirt does not start"}
    taking.did.clear()
    taking.dies_with, taking.before_it_dies, taking.answers = "it", [], True
    with pytest.raises(HvmError, match=r"no VM could be restored: .*alpha: client socket is closed; libvirt does not"):
        taking.activate()
    assert taking.did[-3:] == ["stop", "unmount", f"record PASSIVE {EPOCH + 1}"]


def test_from_the_first_running_vm_on_the_target_stays_active(taking: Taking) -> None:
    taking.runs, taking.errors = ["alpha"], {"beta": "QEMU says no"}
    taking.faults["address"] = HvmError("no carrier")
    answer = taking.activate()
    assert answer["errors"] == {"beta": "QEMU says no", "the shared IP": "no carrier"}
    assert "stop" not in taking.did
