# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pair of `fake_pair`, with VMs that write all the time, into disks or overlays that have contents, and a libvirt that moves
them.

Whenever anything is done on either host, each VM that runs writes once more, and is told that it is on disk (`flushed`). What
must never be is asserted where it would happen: a VM that runs twice, a write into a disk that is shut, an overlay that is moved
into and not empty, a disk that is written while its VM is on the other host, an overlay that counts again although its disk has
been written since.

The same path means another file on each host: what the library has for its directories is a symbolic link to those of the host
that acts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import shutil
import tempfile
import threading
import time
import types
import typing as t
import xml.etree.ElementTree as ET

import pytest
from fake_pair import FROZEN, MEMORY, ROOTS, RUNNING, SEED, SPARSE, STOPPED, Host, Killed, Lab, copied

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import dirty, overlay, variables
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import moving as migration
from ansible_collections.hvm.pair.plugins.module_utils._pair import modes, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._peer import flow, probe, relay
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import PeerLost
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    arrive,
    cancelling,
    checkpoint,
    goback,
    hypervisor,
    meanwhile,
    move,
    overlays,
    passage,
    preflight,
    recover,
    relaying,
    serving,
    switchover,
    sync,
)
from ansible_collections.hvm.pair.plugins.module_utils._zfs import bases, inventory
from ansible_collections.hvm.pair.plugins.module_utils._zfs import rollback as trees

#: What the two roots are for.
IMAGES, LIBVIRTS = ROOTS
reopen = bases.reopen
_STATES = {RUNNING: 1, FROZEN: 3, STOPPED: 5}
_NO_DOMAIN = 42


class Off(BaseException):
    """This host, or its agent, ends here; the other one sees a connection that is lost."""


class Error(Exception):
    """As libvirt.libvirtError."""

    def __init__(self, text: str, code: int = 55) -> None:
        super().__init__(text)
        self._code = code

    def get_error_code(self) -> int:
        return self._code


Error.__name__ = "libvirtError"  # by which it is known, where the library is not


@dataclasses.dataclass(eq=False)
class Layer:
    """A disk, or an overlay. :ivar writes: in it; `volatile`: of these, ones that a power cut would take.
    :ivar found: what its disk had in it when the overlay came over it.
    """

    writes: set[int] = dataclasses.field(default_factory=set)
    volatile: set[int] = dataclasses.field(default_factory=set)
    below: Layer | None = None
    found: set[int] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.found = set(self.below.writes) if self.below else set()

    def all(self) -> set[int]:
        return self.writes | (self.below.all() if self.below else set())

    def hides(self) -> set[int]:
        """Newer writes of its disk, which it would lie over."""
        return self.below.writes - self.found - self.writes if self.below else set()


@dataclasses.dataclass
class Process:
    """A QEMU. :ivar layers: target -> the file that it has open. :ivar paths: what its XML calls them.
    :ivar memory: what the guest knows that it has written. :ivar sent: whether all of it has been sent, and it has not run since.
    :ivar flash: variables of its firmware; `incoming`: they have moved with it, and no file has them yet.
    """

    layers: dict[str, Layer]
    paths: dict[str, str]
    memory: set[int]
    jobs: set[str] = dataclasses.field(default_factory=set)
    sent: bool = False
    flash: str = ""
    incoming: bool = False


class Moving(Lab):
    """:ivar at_effect: called with the number of each effect before it is done.
    :ivar flushed: VM -> writes of which the guest was told that they are on disk.
    :ivar others: host -> path -> file of somebody's snapshot, on no dataset of the pair.
    :ivar on_disk: host -> VM -> its definition, as a power cut leaves it.
    :ivar lively: VMs whose memory changes faster than it can be carried. :ivar rates: that VMs have moved with.
    :ivar no_room: VMs that stand still since their overlays cannot be written.
    :ivar excused: VMs that have been given up where they were. :ivar loses_answer: to the next move that libvirt has ended.
    :ivar unconfirmed: VMs with whose moves the source's libvirt dies right before it ends them there: who asked hears nothing.
    :ivar dirty: VM -> MiB of its memory that change in a second; one that is not there cannot be measured. :ivar link: bytes per
        second that the link carries. :ivar asked: what was measured.
    :ivar states_on: the root that state images are on.
    :ivar stuck: VMs whose disks the other host takes nothing of; `unready`: that its libvirt hangs with before any of it goes
        over; `unkept`: files that it does not get to its disk. :ivar closed: endpoints of relays that have ended.
    :ivar cause: why what was struck has ended. :ivar pending: hosts whose journal had not ended then.
    """

    def __init__(self, place: pathlib.Path, patch: pytest.MonkeyPatch) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.here = place / "here"
        self.layers: dict[int, Layer] = {}
        self.disks: dict[str, dict[str, Layer]] = {"hv1": {}, "hv2": {}}
        self.others: dict[str, dict[str, Layer]] = {"hv1": {}, "hv2": {}}
        self.processes: dict[str, dict[str, Process]] = {"hv1": {}, "hv2": {}}
        self.why_off: dict[tuple[str, str], int] = {}
        self.sets: dict[str, dict[str, t.Any]] = {"hv1": {}, "hv2": {}}
        self.flushed: dict[str, set[int]] = {}
        self.saved: dict[str, dict[str, set[int]]] = {"hv1": {}, "hv2": {}}
        self.on_disk: dict[str, dict[str, dict[str, str]]] = {"hv1": {}, "hv2": {}}
        self.unflushed: dict[str, tuple[str, int]] = {}
        self.excused: list[str] = []
        self.lively: set[str] = set()
        self.stuck: set[str] = set()
        self.unready: set[str] = set()
        self.unkept: set[str] = set()
        self.states_on = LIBVIRTS
        self.closed: list[str] = []
        self.no_room: set[str] = set()
        self.rates: list[int] = []
        self.dirty: dict[str, int] = {}
        self.link = 0
        self.asked: list[str] = []
        self.unconfirmed: set[str] = set()
        self.aborted = self.loses_answer = False
        self.number = self.counter = 0
        self.cut = False
        self.pending: list[Host] = []
        self._linked: Host | None = None
        self.cause: BaseException | None = None
        self.at_effect: t.Callable[[int, str], None] = lambda number, effect: None
        self.ready = False
        super().__init__(place, patch)
        for host in (self.hv1, self.hv2):
            (host.place / "overlays").mkdir(parents=True)
            (host.place / "run").mkdir(exist_ok=True)
            (host.place / "nvram").mkdir()
            host.config = host.config._replace(state_dir=f"{self.here}/states")
            host.tree[IMAGES]["props"]["mountpoint"] = ["/srv/vms", "local"]
            host.tree[LIBVIRTS]["props"]["mountpoint"] = ["/var/lib/libvirt", "local"]
        self._replace_move()
        self.ready = True

    # ---- one host after the other

    def _move(self, host: Host) -> None:
        super()._move(host)
        if self._linked is host:
            return
        new = self.here.with_suffix(f".{threading.get_ident()}")  # VMs are started in threads
        new.unlink(missing_ok=True)
        new.symlink_to(host.place)
        new.replace(self.here)
        self._linked = host

    def do(self, what: str) -> None:
        if not self.dead and self.ready:
            self.number += 1
            self.at_effect(self.number, f"{self.at.name} {what}")
        super().do(what)
        if self.ready:
            self.write_all()

    def up(self, host: Host) -> None:
        super().up(host)
        (host.place / "run/gate").write_text(f"ACTIVE {host.role()[1]}\n")

    # ---- what there is

    def define(self, name: str, frozen: bool = False, **more: t.Any) -> None:
        """On hv1, with a disk of its own; it runs."""
        self.hv1.vm(name, **more)
        self.hv1.vms[name]["disks"] = {"vda": [f"/srv/vms/{name}.img", "raw"], "vdb": [f"/srv/vms/{name}.qcow2", "qcow2"]}
        self.hv1.vms[name]["conf"] = {dev: path for dev, (path, dummy) in self.hv1.vms[name]["disks"].items()}
        for path in self.hv1.vms[name]["conf"].values():
            self.disks["hv1"][path] = Layer()
        self.flushed[name] = set()
        self.definitions_on_disk(self.hv1)
        self.start(self.hv1, name)
        if frozen:
            self.hv1.vms[name]["state"] = FROZEN

    def file(self, path: str, host: Host | None = None) -> Layer:
        """An overlay, or a disk, of the host that acts."""
        name = (host or self.at).name
        if path in self.others[name]:
            return self.others[name][path]
        if path.startswith(f"{overlay.DIRECTORY}/"):
            found = path if host is None else str(host.place / "overlays" / os.path.basename(path))
            return self.layers[os.stat(found).st_ino]
        if path.startswith("/backup/"):
            raise FileNotFoundError(2, "No such file", path)
        return self.disks[name][path]

    def chain(self, layer: Layer | None, host: Host) -> list[str]:
        """Paths of a file's layers, from the top."""
        names = {**self.disks[host.name], **self.others[host.name]}
        known = {id(one): path for path, one in reversed(names.items())}
        for file in os.scandir(host.place / "overlays"):
            if file.name.endswith(".qcow2") and file.inode() in self.layers:
                known[id(self.layers[file.inode()])] = f"{overlay.DIRECTORY}/{file.name}"
        found: list[str] = []
        while layer is not None:
            found.append(known.get(id(layer), "gone"))
            layer = layer.below
        return found

    def snapshot_of_somebodys(self, host: Host, name: str, path: str, dev: str = "vda") -> None:
        """As virsh snapshot-create-as --disk-only --no-metadata does it."""
        self.others[host.name][path] = layer = Layer(below=self.file(host.vms[name]["conf"][dev], host))
        host.vms[name]["conf"][dev] = path
        if name in self.processes[host.name]:
            process = self.processes[host.name][name]
            process.layers[dev], process.paths[dev] = layer, path

    def brought_down(self, host: Host, name: str, path: str, dev: str = "vda") -> None:
        """As somebody does it whom the error has told how."""
        layer = self.others[host.name].pop(path)
        below = t.cast("Layer", layer.below)
        below.writes |= layer.writes
        host.vms[name]["conf"][dev] = self.chain(below, host)[0]
        if name in self.processes[host.name]:
            process = self.processes[host.name][name]
            process.layers[dev], process.paths[dev] = below, host.vms[name]["conf"][dev]

    def start(self, host: Host, name: str, state: str = RUNNING) -> Process:
        assert host.vms[name]["state"] == STOPPED
        if name in self.away(host):
            raise Error("Hook script execution failed: it has moved")
        paths = dict(host.vms[name]["conf"])
        with self.on(host):
            try:
                layers = {dev: self.file(path) for dev, path in paths.items()}
            except FileNotFoundError as exc:
                raise Error(f"Cannot access storage file {exc.filename}", 38) from exc
        for dev, layer in layers.items():
            assert not layer.hides(), f"{name} starts from an overlay of {dev} that lies over what it has written since"
        memory = set.union(*(layer.all() for layer in layers.values()))
        self.processes[host.name][name] = Process(layers, paths, memory)
        if "nvram" in host.vms[name]:
            self.processes[host.name][name].flash = self.flash(host, name).read_text()
        host.vms[name]["state"] = state
        return self.processes[host.name][name]

    @staticmethod
    def flash(host: Host, name: str) -> pathlib.Path:
        return host.place / "nvram" / host.vms[name]["nvram"]

    def set_variables(self, host: Host, name: str, text: str, durable: bool = True) -> None:
        """The guest does, or QEMU when it goes on; on disk, or not before its pool writes all that it has not yet."""
        path = self.flash(host, name)
        if not durable:
            self.unflushed.setdefault(str(path), (path.read_text(), path.stat().st_mtime_ns))
        self.processes[host.name][name].flash = text
        path.write_text(text)

    def end(self, host: Host, name: str, reason: int = 1) -> None:
        """By itself, when no reason is given."""
        host.vms[name]["state"] = STOPPED
        self.processes[host.name].pop(name, None)
        self.why_off[host.name, name] = reason

    @staticmethod
    def away(host: Host) -> list[str]:
        """VMs that libvirt's hook lets nobody start on a host."""
        place = host.place / "run/away"
        return os.listdir(place) if place.exists() else []

    def nobody_starts_twice(self) -> None:
        """What has arrived on a host cannot be started on the other one, were it by hand."""
        for host, other in ((self.hv1, self.hv2), (self.hv2, self.hv1)):
            if not host.daemon or not host.gate():
                continue
            loose = set(self.arrived(other)).difference(self.away(host), self.excused)
            if loose and host.role()[0] == "ACTIVE" != other.role()[0]:
                raise AssertionError(f"{sorted(loose)} are on {other.name}, and could be started on {host.name}")

    def libvirt_ends(self, host: Host) -> None:
        """Why a VM is off is in its memory only. VMs that run do not need it."""
        host.daemon = False
        self.why_off.update({key: 0 for key in self.why_off if key[0] == host.name})

    def write_all(self) -> None:
        self.nobody_starts_twice()
        for name in self.flushed:
            hosts = [host for host in (self.hv1, self.hv2) if name in host.vms and host.vms[name]["state"] == RUNNING]
            assert len(hosts) <= 1, f"{name} runs on both hosts"
            for host in hosts:
                self.counter += 1
                process = self.processes[host.name][name]
                for dev, layer in process.layers.items():
                    self.into(host, name, process.paths[dev], layer, {self.counter})
                process.memory.add(self.counter)
                self.flushed[name].add(self.counter)

    def into(self, host: Host, name: str, path: str, layer: Layer, what: set[int]) -> None:
        if path in self.disks[host.name]:
            assert host.tree[IMAGES]["props"]["readonly"][0] != "on", f"{name} writes to {path} on {host.name}, which is shut"
            self.written(host, IMAGES)
        layer.writes |= what

    @staticmethod
    def written(host: Host, dataset: str) -> None:
        if dataset in host.tree:
            host.tree[dataset]["props"]["written"] = [str(int(host.tree[dataset]["props"]["written"][0]) + 1), "-"]

    def definitions_on_disk(self, host: Host) -> None:
        """By an fsync of their directory, or by whatever else brings all of a pool to disk."""
        self.on_disk[host.name] = {name: dict(vm["conf"]) for name, vm in host.vms.items() if "conf" in vm}
        self.unflushed = {path: was for path, was in self.unflushed.items() if not path.startswith(str(host.place))}

    def sync_directory(self, path: str) -> None:
        assert path == overlay.DEFINITIONS
        self.do("sync definitions")
        self.definitions_on_disk(self.at)

    def power_cut(self, host: Host) -> None:
        super().power_cut(host)
        for name, conf in self.on_disk[host.name].items():
            if name in host.vms:
                host.vms[name]["conf"] = dict(conf)
        for name in list(self.processes[host.name]):
            self.end(host, name, 0)
        self.libvirt_ends(host)
        for file in (host.place / "overlays").iterdir():
            layer = self.layers.get(file.stat().st_ino)
            if layer:
                layer.writes -= layer.volatile
                layer.volatile.clear()
        for path in [one for one in self.unflushed if one.startswith(str(host.place))]:
            self.written_as(pathlib.Path(path), self.unflushed.pop(path))
        for name in ("comes", "cancel"):
            (host.place / "run" / name).unlink(missing_ok=True)
        shutil.rmtree(host.place / "run/away", ignore_errors=True)

    @staticmethod
    def written_as(path: pathlib.Path, was: tuple[str, int]) -> None:
        path.write_text(was[0])
        os.utime(path, ns=(was[1], was[1]))

    def strike(self, how: str, at: int) -> list[str]:
        """Before the effect of that number. :return: filled then: the effect; "" when that does not concern what is struck."""
        struck: list[str] = []
        kind, dummy, victim = how.partition(" ")

        def hit(number: int, effect: str) -> None:
            if number != at:
                return
            on = effect.partition(" ")[0]
            struck.append("" if kind == "agent" and on == "hv1" else effect)
            if kind == "link":
                self.cut = True
            elif kind == "agent" and on == "hv2":
                raise Off
            elif kind == "power" and victim == "hv2":
                self.hv2.answers = False
                self.power_cut(self.hv2)
                if on == "hv2":
                    raise Off
            elif kind != "agent":
                self.dead = True
                if kind == "power":
                    self.power_cut(self.hv1)
                raise Killed(effect)

        self.at_effect = hit
        return struck

    def up_again(self) -> None:
        self.at_effect = lambda number, effect: None
        self.cut = False
        self.hv1.answers = self.hv2.answers = True
        self.again()

    # ---- what must be in the end

    def whole(self, active: Host, off: t.Collection[str] = (), frozen: t.Collection[str] = ()) -> None:
        """One ACTIVE host with every VM and all that it was told is on disk, the other one its replica, and nothing left over.

        :param off: VMs that need not run. :param frozen: that stand still.
        """
        other = self.hv2 if active is self.hv1 else self.hv1
        assert (active.role()[0], other.role()[0]) == ("ACTIVE", "PASSIVE")
        assert active.role()[1] == other.role()[1]
        for host in (active, other):
            assert host.pending() == "" if (host.place / "journal.json").exists() else True, host.pending()
            assert self.remains(host) == []
            assert self.away(host) == []
            assert not any("hvm:moving" in entry["props"] for entry in host.tree.values()), host.name
        assert (active.daemon, active.address, (active.place / "run/gate").read_text().split()[0]) == (True, True, "ACTIVE")
        assert not (other.daemon or other.address or other.gate()) and other.inert(), other.name
        assert other.running() == []
        for name in self.flushed:
            vm = active.vms[name]
            assert vm["state"] != STOPPED or name in off, f"{name} does not run"
            assert vm["conf"] == {dev: path for dev, (path, dummy) in vm["disks"].items()}
            for path in vm["conf"].values():
                missing = self.flushed[name] - self.disks[active.name][path].writes
                assert not missing, f"{name} has lost {sorted(missing)} of {path}"
            if vm["state"] != STOPPED:
                assert (vm["state"] == FROZEN) is (name in frozen), name
                process = self.processes[active.name][name]
                assert process.paths == vm["conf"], f"{name} is still on {process.paths}"
                assert all(process.layers[dev] is self.disks[active.name][path] for dev, path in vm["conf"].items())
                assert all(process.memory <= layer.writes for layer in process.layers.values()), f"{name}: RAM and disk disagree"
        self.follows(active, other)

    def kept(self, host: Host) -> dict[str, Layer]:
        """Overlays that were put beside."""
        return {file.name: self.layers[file.stat().st_ino] for file in (host.place / "overlays").glob("kept-*/*.qcow2")}

    def remains(self, host: Host) -> list[str]:
        """Overlays that lie there, and kept ones with what is not in its disk: a crash may come after it was merged."""
        lost = [name for name, one in self.kept(host).items() if not one.below or not one.writes <= one.below.writes]
        return [one.name for one in (host.place / "overlays").iterdir() if not one.name.startswith("kept-")] + lost

    def follows(self, active: Host, other: Host) -> None:
        """The next sync goes as an increment."""
        with self.on(active):
            name = checkpoint.take_set(active.config, "crash", active.role()[1])
            self.send(active, other, name)
        assert {path: layer.writes for path, layer in self.disks[other.name].items()} == {
            path: layer.writes for path, layer in self.sets[active.name][name]["disks"].items()
        }

    # ---- sets

    def snapshot(self, name: str, *hosts: Host) -> None:
        super().snapshot(name, *hosts)
        for host in hosts or (self.hv1, self.hv2):
            self.sets[host.name][name] = self.content(host)
            self.definitions_on_disk(host)

    def content(self, host: Host) -> dict[str, t.Any]:
        """What is in the datasets: disks, definitions, images, the note about overlays."""
        note = host.place / "states" / overlays.NOTE
        known = {name: {key: copied(vm[key]) for key in vm if key != "state"} for name, vm in host.vms.items()}
        disks = {path: Layer(set(layer.writes)) for path, layer in self.disks[host.name].items()}
        return {
            "disks": disks, "vms": known, "images": set(host.images), "note": note.read_text() if note.exists() else None,
            "memory": dict(self.memories(host)),
            "nvram": {one.name: (one.read_text(), one.stat().st_mtime_ns) for one in (host.place / "nvram").glob("*")},
        }  # fmt: skip

    def memories(self, host: Host) -> dict[str, set[int]]:
        return self.saved[host.name]

    def restore(self, host: Host, content: dict[str, t.Any], roots: t.Collection[str] = ROOTS) -> None:
        if IMAGES in roots:
            for path, layer in content["disks"].items():
                self.disks[host.name].setdefault(path, Layer()).writes = set(layer.writes)
        if LIBVIRTS in roots:
            assert not host.daemon, "libvirt's files go back under it"
            host.vms = {name: {**copied(vm), "state": STOPPED} for name, vm in content["vms"].items()}
            host.images = set(content["images"])
            self.definitions_on_disk(host)
            self.memories(host).update(content["memory"])
            for name, was in content["nvram"].items():
                self.written_as(host.place / "nvram" / name, was)
            note = host.place / "states" / overlays.NOTE
            note.parent.mkdir(exist_ok=True)
            note.unlink(missing_ok=True)
            if content["note"] is not None:
                note.write_text(content["note"])

    def send(self, source: Host, target: Host, name: str) -> None:
        """Refused as `zfs receive` does it: over what is not exactly at a snapshot that the source has."""
        for dataset, entry in trees.in_use(target.tree, ROOTS).items():
            newest = entry["snapshots"][-1]
            known = [snap[:2] for snap in source.tree[dataset]["snapshots"]]
            if entry["props"]["written"][0] != "0" or newest[:2] not in known:
                raise HvmError(f"{target.name}: {dataset} has writes or snapshots of its own")
        missing = [snap for snap in source.tree[IMAGES]["snapshots"] if snap[0] not in target.sets()]
        for dataset in ROOTS:
            have = target.sets(dataset)
            target.tree[dataset]["snapshots"] += [list(one) for one in source.tree[dataset]["snapshots"] if one[0] not in have]
        assert name in [one[0] for one in missing]
        for one in missing:
            self.sets[target.name][one[0]] = copied(self.sets[source.name][one[0]])
        self.restore(target, self.sets[source.name][name])

    # ---- what is below

    def _replace_move(self) -> None:
        lab, patch = self, self.patch
        patch.setattr(overlay, "DIRECTORY", f"{self.here}/overlays")
        patch.setattr(variables, "NVRAM", f"{self.here}/nvram")
        patch.setattr(cancelling, "REQUEST", f"{self.here}/run/cancel")
        patch.setattr(modes, "OVERLAYS", overlay.DIRECTORY)
        patch.setattr(bases, "reopen", reopen)
        for module in (overlay, overlays, bases, arrive):
            patch.setattr(module, "run", self.run)
        patch.setattr(overlay, "sync_directory", self.sync_directory)
        patch.setattr(overlay, "is_empty", lambda path: not self.file(path).writes)
        patch.setattr(overlays, "succeeds", lambda command: True)
        patch.setattr(overlays, "is_mounted", lambda: True)
        patch.setattr(overlays, "sockets", lambda dummy: None)
        patch.setattr(meanwhile.content, "is_readable", lambda dummy: True)
        patch.setattr(meanwhile, "_views", lambda *dummy: contextlib.nullcontext((self.at.place / "then", self.at.place / "now")))
        patch.setattr(overlays, "qemu_owner", lambda: (0, 0))
        os_there = types.SimpleNamespace(**vars(os))
        os_there.fsync = self.fsync
        patch.setattr(overlays, "os", os_there)
        patch.setattr(variables, "os", os_there)
        patch.setattr(arrive.content, "mounted", self.mounted)
        mountable = inventory.mountable
        patch.setattr(inventory, "mountable", lambda read: {**mountable(read), **self.points()})
        running = hypervisor.qemu_processes
        for module in (goback, arrive, move, recover):
            patch.setattr(module, "qemu_processes", running)
        patch.setattr(arrive, "hypervisor_running", lambda: lab.at.daemon)
        for module in (arrive, switchover):
            patch.setattr(module, "observe", self.observe)
        patch.setattr(arrive.hypervisor, "run", self.run)
        patch.setattr(switchover.offers, "compare", lambda *dummy: None)
        patch.setattr(switchover.address, "hindrance", lambda dummy: [])
        for module in (move, preflight, cancelling):
            patch.setattr(module, "Peer", self.peer_class(), raising=False)
        patch.setattr(move, "TELL_EVERY", 0.0)
        patch.setattr(goback, "LOOK_AGAIN", 0.0)  # no time passes here
        patch.setattr(move, "ENDS_WITHIN", 0.0)
        patch.setattr(dirty, "SECONDS", 0)
        patch.setattr(probe, "carries", lambda dummy: lab.asked.append("link") or lab.link)
        patch.setattr(switchover.domains, "connect", self.connect)
        patch.setattr(checkpoint.states, "anchor", self.anchor)
        patch.setattr(checkpoint, "save_all", self.save_all)
        patch.setattr(checkpoint, "restore_all", self.restore_all)
        patch.setattr(sync, "sync", self.sync)
        patch.setattr(sync, "settle", lambda *dummy: lab.do("settle the set") or [])
        patch.setattr(serving.address, "take", self.take_address)
        patch.setattr(serving.address, "take_back", self.take_back)
        patch.setattr(serving.shared_ip, "take", self.take_address)
        patch.setattr(relay, "Relay", self.relay_class())
        patch.setattr(flow, "LOOK", 0.05)
        patch.setattr(relay, "push", self.push)
        patch.setattr(relay, "fetch", self.fetch)
        patch.setattr(serving, "bring", self.bring)

    def observe(self, *words: t.Any, **more: t.Any) -> dict[str, t.Any]:
        found = super().observe(*words, **more)
        at = self.at
        active = found["role"]["now"] == role.ACTIVE
        return {
            **found, "address": f"{at.name}.lan", "gate": role.gate_says(), "gate_open": role.gate_is_open(),
            "overlays": overlays.left(), "overlay_bytes": overlays.sizes(),
            "datasets": list(ROOTS), "dataset_names": sorted(at.tree), "missing_datasets": [], "foreign_users": {},
            "mountpoints": ["/srv/vms", "/var/lib/libvirt"], "network_bridges": {}, "bridges": [], "emulators": [],
            "interfaces": [], "state_dir": at.config.state_dir, "state_dir_free": None, "memory_available_kib": 1 << 30,
            "shared_ip": {"interface": "", "in_use_by_us": False, "enabled": at.address,
                          "addresses": dict.fromkeys(at.config.shared_ips, at.address)},
            "vms": {name: self.facts(at, name) for name in at.vms} if active and at.daemon else {},
        }  # fmt: skip

    def facts(self, host: Host, name: str) -> dict[str, t.Any]:
        vm = host.vms[name]
        process = self.processes[host.name].get(name)
        paths = process.paths if process else vm["conf"]
        kinds = ("tpm", "filesystems", "vhost_user", "shareable", "transient", "encrypted", "luns", "jobs", "media")
        return {
            **vm, "bridges": [], "networks": [], "emulator": "", "memory_kib": 1 << 20, "hostdevs": 0, "persistent": True,
            "saved": name in host.images, "snapshots": False, "move": vm.get("move", ""), "obstacles": {one: [] for one in kinds},
            "disks": [{"path": path, "device": "disk", "readonly": False} for path in paths.values()],
        }  # fmt: skip

    def peer_class(self) -> type:
        lab = self
        base = preflight.Peer

        class Peer(base):  # type: ignore[misc,valid-type]
            """One that ends with its agent, and with the link."""

            def __init__(self, config: t.Any) -> None:
                if lab.cut:
                    raise HvmError(f"ssh to {config.peer.name} ended with 255")
                super().__init__(config)
                self.boot, self.lost = self.host.boot, False

            def call(self, op: str, timeout: float = 0, on_event: t.Any = None, **arguments: t.Any) -> t.Any:
                gone = PeerLost(f"the connection to {self.host.name} ended")
                if self.lost or lab.cut or self.host.boot != self.boot:
                    raise gone
                before = lab.at
                try:
                    answer = super().call(op, timeout, on_event, **arguments)
                except Off:
                    assert lab.at is before
                    self.agent._lock.release()
                    self.lost = True
                    raise gone from None
                if lab.cut or not self.host.answers:
                    self.lost = True
                    raise gone
                return answer

        return Peer

    def run(self, command: t.Sequence[str], **dummy: t.Any) -> str:
        at, (verb, *words) = self.at, list(command)
        if verb == "qemu-img":
            return self.qemu_img(words)
        if verb == "systemctl":
            self.do(f"systemctl {words[0]}")
            assert words[0] == "stop" or role.gate_says(), "libvirt starts behind an open gate only"
            if words[0] == "stop":
                self.libvirt_ends(at)
            at.daemon = words[0] == "start"
            self.written(at, LIBVIRTS)
            return ""
        if verb == "mount":
            return ""
        if command[:2] == ["zfs", "get"]:
            return "".join(f"{name}\n" for name, entry in at.tree.items() if bases.MARK in entry["props"])
        self.do(" ".join([verb, words[0], *words[-1:]]))
        self.definitions_on_disk(at)  # each of these ends a transaction group of the pool
        if words[0] == "set":
            for name in words[3:]:
                at.tree[name]["props"].update({"readonly": ["on", "local"], bases.MARK: ["on", "local"]})
        elif words[0] == "inherit":
            for name in words[2:]:
                at.tree[name]["props"].pop(words[1])
                if words[1] == "readonly":
                    at.tree[name]["props"]["readonly"] = ["off", "default"]
        elif words[0] == "rollback":
            dataset, name = words[1].split("@")
            assert at.tree[dataset]["snapshots"][-1][0] == name
            self.restore(at, self.sets[at.name][name], [dataset])
            at.tree[dataset]["props"]["written"] = ["0", "-"]
        else:
            assert words[0] == "mount", command
        return ""

    def qemu_img(self, words: list[str]) -> str:
        path = words[-1]
        if self.at.tree[IMAGES]["props"]["mounted"][0] != "yes":
            raise CommandError(["qemu-img", *words], 1, "", "Could not open backing image")
        if words[0] == "create":
            base, form = (words[words.index(one) + 1] for one in ("-b", "-F"))
            self.do(f"overlay {os.path.basename(path)}")
            below = self.disks[self.at.name][base]
            assert form == {".img": "raw", ".qcow2": "qcow2"}[os.path.splitext(base)[1]]
            assert not os.path.lexists(path)
            pathlib.Path(path).touch()
            self.layers[os.stat(path).st_ino] = Layer(below=below)
        elif words[0] == "info":
            if path not in self.others[self.at.name]:
                raise HvmError(f"qemu-img: Could not open '{path}'")
            return json.dumps([{"filename": one} for one in self.chain(self.file(path), self.at)])
        else:
            assert words[0] == "commit"
            self.do(f"qemu-img commit {os.path.basename(path)}")
            layer = self.file(path)
            base = next(base for base, one in self.disks[self.at.name].items() if one is layer.below)
            assert all(layer not in one.layers.values() for one in self.processes[self.at.name].values()), "a VM has it open"
            self.merge(self.at, base, layer)
        return ""

    def merge(self, host: Host, base: str, layer: Layer) -> None:
        """What is in an overlay comes into its disk: on the ACTIVE host only, while nobody else may call that VM its own."""
        other = self.hv2 if host is self.hv1 else self.hv1
        assert host.role()[0] == "ACTIVE"
        assert host.tree[IMAGES]["props"]["readonly"][0] != "on", f"{base} is shut"
        name = pathlib.Path(base).stem
        assert self.excuse(name) or name not in self.arrived(other), f"{name} is on {other.name}"
        assert self.excuse(name) or other.vms.get(name, {}).get("state") != RUNNING
        assert not layer.hides(), f"{name}: old writes come over what it has written to {base} since"
        self.written(host, IMAGES)
        t.cast("Layer", layer.below).writes |= layer.writes

    def arrived(self, host: Host) -> list[str]:
        path = host.place / "journal.json"
        entry = json.loads(path.read_text()) if path.exists() else {}
        return list(entry.get("arrived", ())) if not entry.get("done") else []

    def excuse(self, name: str) -> bool:
        return name in self.excused

    def points(self) -> dict[str, str]:
        return {LIBVIRTS: str(self.here)} if variables.NVRAM.startswith(str(self.here)) else {}

    def mounted(self, name: str) -> t.Any:
        dataset, dummy, of = name.partition("@")
        assert dataset == LIBVIRTS
        if not of:
            return contextlib.nullcontext(str(self.here))
        then = self.at.place / "then"
        (then / "nvram").mkdir(parents=True, exist_ok=True)
        for file, was in self.sets[self.at.name][of]["nvram"].items():
            self.written_as(then / "nvram" / file, was)
        return contextlib.nullcontext(str(then))

    def fsync(self, fd: int) -> None:
        path = os.path.realpath(f"/proc/self/fd/{fd}")
        if not path.endswith(".qcow2"):
            self.do(f"fsync {os.path.basename(path)}")
            self.unflushed.pop(path, None)
            return
        layer = self.layers[os.fstat(fd).st_ino]
        self.do("fsync")
        layer.volatile.clear()

    # ---- libvirt

    def connect(self, uri: str = "") -> t.Any:
        if "socket=" not in uri:
            return Connection(self, self.at)
        there = self.other()
        if self.cut or not there.answers:
            raise HvmError("libvirt does not answer: the relay ended")
        self.may_relay(there)
        return Connection(self, there)

    def may_relay(self, host: Host) -> None:
        with self.on(host):
            holder, dummy, owner = (operation.lock_holder() or "").partition(" by ")
            refused = relaying.refusal(role.gate_says(), holder, " on " in owner)
        if refused:
            raise HvmError(refused)

    def relay_class(self) -> type:
        lab = self

        class Relay:
            def __init__(self, dummy: t.Any, path: str, endpoint: str, *owner: int, wait: float = 0) -> None:
                assert relaying.path_of(endpoint)
                self.path, self.endpoint = path, endpoint

            def __enter__(self) -> t.Any:
                lab.may_relay(lab.other())
                return self

            def __exit__(self, *dummy: object) -> None:
                self.close()

            def ready(self, dummy: int) -> None:
                pass

            def close(self) -> None:
                lab.closed.append(self.endpoint)

        return Relay

    def _copy(self, source: Host, target: Host, name: str) -> None:
        if self.cut or not self.other().answers:
            raise PeerLost("the relay ended")
        self.may_relay(self.other())
        if name.endswith(".rest"):
            shutil.copy(source.place / "overlays" / name, target.place / "overlays" / name)
            return
        layer = self.layers[(source.place / "overlays" / name).stat().st_ino]
        base = next(base for base, one in self.disks[source.name].items() if one is layer.below)
        path = target.place / "overlays" / name
        open_there = [one for process in self.processes[target.name].values() for one in process.layers.values()]
        assert not path.exists() or self.layers[path.stat().st_ino] not in open_there, "a VM has it open"
        path.unlink(missing_ok=True)
        path.touch()
        self.layers[path.stat().st_ino] = Layer(set(layer.writes), below=self.disks[target.name][base])

    def push(self, dummy: t.Any, name: str, path: str, meter: flow.Meter) -> None:
        self.do(f"push {name}")
        assert os.path.basename(path) == name
        if name in self.unkept:
            ends = threading.Event()
            meter.abort, meter.waits_for = ends.set, self.other().name
            assert ends.wait(10), "it waits for ever"
            raise HvmError(meter.failure)
        self._copy(self.at, self.other(), name)

    def fetch(self, dummy: t.Any, name: str, path: str) -> None:
        self.do(f"fetch {name}")
        assert os.path.basename(path) == name
        self._copy(self.other(), self.at, name)

    def save_all(
        self, dummy: t.Any, conn: t.Any, infos: t.Mapping[str, t.Any], progress: Progress, paused: dict[str, float]
    ) -> list[str]:
        for name in sorted(infos):
            self.do(f"save {name}")
            self.memories(self.at)[name] = self.processes[self.at.name][name].memory
            self.at.images.add(name)
            self.end(self.at, name, 5)
            paused[name] = 1.0
        return sorted(infos)

    def anchor(self, *dummy: t.Any) -> list[str]:
        """A manifest beside each image is written."""
        if self.at.images and self.at.tree[self.states_on]["props"]["readonly"][0] == "on":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return sorted(self.at.images)

    def restore_all(
        self,
        dummy: t.Any,
        conn: t.Any,
        progress: t.Any,
        resumed: t.Callable[[str], None],
        names: t.Collection[str],
        **dummy_more: t.Any,
    ) -> dict[str, str]:
        errors = {}
        for name in sorted(names):
            if name not in self.at.images:
                errors[name] = "its state image is not there"
                continue
            self.bring(conn, name)
            resumed(name)
        return errors

    def bring(self, conn: t.Any, name: str, *dummy: t.Any, **more: t.Any) -> str:
        self.do(f"bring {name}")
        process = self.start(self.at, name)
        saved = name in self.at.images
        if saved:
            process.memory = set(self.memories(self.at)[name])
            self.at.images.discard(name)
            self.written(self.at, LIBVIRTS)
        return f"{name} {'restored' if saved else 'started'}"

    def unfreeze(self, dummy: t.Any, name: str) -> str:
        self.do(f"unfreeze {name}")
        self.processes[self.at.name][name].sent = False
        self.at.vms[name]["state"] = RUNNING
        return f"{name} goes on"

    def sync(self, dummy: t.Any, peer: t.Any, dummy_progress: t.Any, name: str, *dummy_more: t.Any) -> dict[str, t.Any]:
        self.do("sync")
        if self.cut or not self.other().answers:
            raise PeerLost("the connection ended")
        self.send(self.at, self.other(), name)
        return {"bytes": 1, "seconds": 0.0, "warnings": [], "extra_on_peer": []}

    def take_address(self, dummy: t.Any) -> None:
        self.do("address on")
        assert not self.other().address
        self.at.address = True

    def take_back(self, dummy: t.Any, addresses: t.Sequence[str]) -> list[str]:
        if addresses:
            self.take_address(None)
        return []


class Connection:
    """To the libvirt of one host."""

    def __init__(self, lab: Moving, host: Host) -> None:
        self.lab, self.host = lab, host
        self.boot = host.boot
        self._ask()

    def _ask(self) -> None:
        if not self.host.daemon or self.host.boot != self.boot:
            raise HvmError("libvirt does not answer")
        if self.host is not self.lab.at and (self.lab.cut or not self.host.answers):
            raise Error("client socket is closed", 38)

    def getLibVersion(self) -> int:
        self._ask()
        return 1

    def close(self) -> None:
        pass

    def lookupByName(self, name: str) -> Domain:
        self._ask()
        if name not in self.host.vms:
            raise Error(f"Domain not found: {name}", _NO_DOMAIN)
        return Domain(self, name)

    def listAllDomains(self) -> list[Domain]:
        self._ask()
        return [Domain(self, name) for name in self.host.vms]

    def domainListGetStats(self, doms: t.Sequence[Domain], stats: int, flags: int) -> list[tuple[Domain, dict[str, int]]]:
        self._ask()
        assert (stats, flags) == (dirty.STATS_DIRTYRATE, dirty.NOWAIT)
        return [(dom, {dirty.STATUS: dirty.MEASURED, dirty.RATE: self.lab.dirty[dom.name()]}) for dom in doms]

    def defineXML(self, xml: str) -> None:
        root = ET.fromstring(xml)
        name = t.cast("str", root.findtext("name"))
        self.lab.do(f"define {name}")
        if name not in self.host.vms:  # what else it has is the other host's still
            self.host.vms[name] = {**copied(self.lab.other().vms[name]), "state": STOPPED}
        vm = self.host.vms[name]
        for disk in root.findall("./devices/disk"):
            source, target, driver = (t.cast("ET.Element", disk.find(one)) for one in ("source", "target", "driver"))
            dev = target.get("dev", "")
            if dev in vm["disks"]:
                vm["conf"][dev] = t.cast("str", source.get("file"))
                own, form = vm["disks"][dev]
                assert driver.get("type") == (form if vm["conf"][dev] == own else "qcow2")
        self.lab.written(self.host, LIBVIRTS)


class Domain:
    def __init__(self, conn: Connection, name: str) -> None:
        self.conn, self.lab, self.host, self._name = conn, conn.lab, conn.host, name

    @property
    def vm(self) -> dict[str, t.Any]:
        return self.host.vms[self._name]

    @property
    def process(self) -> Process:
        self.conn._ask()
        try:
            return self.lab.processes[self.host.name][self._name]
        except KeyError as exc:
            raise Error("Requested operation is not valid: domain is not running") from exc

    def name(self) -> str:
        return self._name

    def state(self) -> list[int]:
        self.conn._ask()
        state = _STATES[self.vm["state"]]
        reason = 5 if state == 3 and self._name in self.lab.no_room else 1
        return [state, self.lab.why_off.get((self.host.name, self._name), 0) if state == 5 else reason]

    def isActive(self) -> bool:
        return bool(self.vm["state"] != STOPPED)

    def XMLDesc(self, flags: int) -> str:
        self.conn._ask()
        process = None if flags & 2 else self.lab.processes[self.host.name].get(self._name)
        paths, jobs = (process.paths, process.jobs) if process else (self.vm["conf"], set())
        root = ET.Element("domain")
        ET.SubElement(root, "name").text = self._name
        if "nvram" in self.vm:
            ET.SubElement(ET.SubElement(root, "os"), "nvram").text = f"{variables.NVRAM}/{self.vm['nvram']}"
        devices = ET.SubElement(root, "devices")
        for dev, path in paths.items():
            own, form = self.vm["disks"][dev]
            disk = ET.SubElement(devices, "disk", type="file", device="disk")
            ET.SubElement(disk, "driver", name="qemu", type=form if path == own else "qcow2")
            ET.SubElement(disk, "source", file=path)
            below = disk
            for one in self.lab.chain(process.layers[dev], self.host)[1:] if process else ():
                below = ET.SubElement(below, "backingStore", type="file")
                ET.SubElement(below, "format", type=form if one == own else "qcow2")
                ET.SubElement(below, "source", file=one)
            if dev in jobs:
                ET.SubElement(disk, "mirror", type="file", job="active-commit", ready="yes")
            ET.SubElement(disk, "target", dev=dev)
        cdrom = ET.SubElement(devices, "disk", type="file", device="cdrom")
        ET.SubElement(cdrom, "target", dev="sda")
        ET.SubElement(cdrom, "readonly")
        return ET.tostring(root, encoding="unicode")

    def suspend(self) -> None:
        assert self.vm["state"] == RUNNING
        self.lab.do(f"suspend {self._name}")
        self.conn._ask()  # it may be the other host's
        self.vm["state"] = FROZEN

    def resume(self) -> None:
        assert self.vm["state"] == FROZEN
        self.lab.do(f"resume {self._name}")
        self.conn._ask()
        if self.process.incoming:
            self.process.incoming = False
            self.lab.set_variables(self.host, self._name, self.process.flash, durable=False)
        full = [dev for dev, path in self.process.paths.items() if path.startswith(overlay.DIRECTORY)]
        self.process.sent = False
        if self._name not in self.lab.no_room or not full:
            self.vm["state"] = RUNNING

    def create(self) -> None:
        self.lab.do(f"start {self._name}")
        self.lab.start(self.host, self._name)

    def destroy(self) -> None:
        self.conn._ask()
        assert self.process
        self.lab.do(f"destroy {self._name}")
        self.lab.end(self.host, self._name, 2)

    def snapshotCreateXML(self, xml: str, flags: int) -> None:
        """All its disks at one moment, or none."""
        assert flags == 16 | 32 | 4 | 128
        self.lab.do(f"snapshot {self._name}")
        process = self.process
        for disk in ET.fromstring(xml).findall("./disks/disk"):
            source, dev = disk.find("source"), disk.get("name", "")
            if source is None:
                continue
            path = source.get("file", "")
            layer = self.lab.file(path)
            assert layer.below is process.layers[dev] and not layer.writes
            layer.found = set(layer.below.writes)
            process.layers[dev], process.paths[dev], self.vm["conf"][dev] = layer, path, path
        assert all(path.startswith(overlay.DIRECTORY) for path in process.paths.values())
        self.lab.written(self.host, LIBVIRTS)

    def startDirtyRateCalc(self, seconds: int, flags: int) -> None:
        assert (self.vm["state"], seconds, flags) == (RUNNING, dirty.SECONDS, 0)
        self.lab.asked.append(self._name)
        if self._name not in self.lab.dirty:
            raise Error("unsupported configuration: QEMU does not support calculating dirty page rate", 67)

    # ---- back into the disk

    def blockJobInfo(self, dev: str) -> dict[str, int]:
        return {"type": 4} if dev in self.process.jobs else {}

    def blockCommit(self, dev: str, base: object, top: object, bandwidth: int, flags: int) -> None:
        assert (base, top, flags) == (None, None, 1 | 4)
        self.lab.do(f"commit {self._name} {dev}")
        self.process.jobs.add(dev)

    def blockJobAbort(self, dev: str, flags: int) -> None:
        assert flags == 2 and dev in self.process.jobs
        assert self.vm["state"] == FROZEN, "it writes while QEMU changes over"
        self.lab.do(f"pivot {self._name} {dev}")
        process = self.process
        layer, path = process.layers[dev], self.vm["disks"][dev][0]
        self.lab.merge(self.host, path, layer)
        process.layers[dev], process.paths[dev], self.vm["conf"][dev] = t.cast("Layer", layer.below), path, path
        process.jobs.discard(dev)
        self.lab.written(self.host, LIBVIRTS)

    # ---- to the other host

    def abortJob(self) -> None:
        self._wait()
        self.lab.aborted = True

    def _make_ready(self) -> None:
        """As long as the other host's libvirt hangs, and this process is connected to it."""
        closed, end = self.lab.closed.count("libvirt"), time.monotonic() + 10
        while self._name in self.lab.unready:
            assert time.monotonic() < end, "it waits for ever"
            time.sleep(0.01)
            if self.lab.closed.count("libvirt") > closed:
                raise Error("client socket is closed", 38)

    def jobStats(self) -> dict[str, t.Any]:
        if self._name in self.lab.stuck:
            return {"type": 2, "memory_total": 1 << 30, "memory_remaining": 1 << 20, "disk_remaining": 1 << 16}
        return {"type": 2 if self._name in self.lab.lively else 0}

    def _wait(self) -> None:
        """As long as the other host does not take what is written."""
        end = time.monotonic() + 10
        while self._name in self.lab.stuck:
            assert time.monotonic() < end, "it waits for ever"
            time.sleep(0.01)
            back = "back:" if self.host is self.lab.hv2 else ""
            if back + passage.socket_names(self._name)[1] in self.lab.closed:
                raise Error("operation failed: migration of disk vda failed: Input/output error")

    def _converge(self, flags: int) -> None:
        """One that is lively does when it is slowed down and somebody pauses it in the end."""
        end = time.monotonic() + 3 * bool(flags & migration.AUTO_CONVERGE)
        while self._name in self.lab.lively and self.vm["state"] == RUNNING:
            if time.monotonic() > end:
                raise Error("it goes round and round")
            time.sleep(0.01)

    def migrate3(self, target: Connection, parameters: dict[str, t.Any], flags: int) -> None:
        """In phases, as libvirt has them: begun; all is over there; the target has finished; the source has ended."""
        lab, name, process = self.lab, self._name, self.process
        target._ask()
        assert flags & (8 | 32 | 128) == 8 | 32 | 128
        assert parameters["migrate_disks"] == list(process.paths)
        lab.rates.append(parameters.get("bandwidth", 0))
        there = target.host
        with lab.on(there):
            gate = role.gate_says()
            if gate not in (role.ARRIVING, role.ACTIVE):
                raise Error("Hook script execution failed: this host is not ACTIVE")
        if name in lab.processes[there.name]:
            raise Error(f"domain '{name}' is already active")
        if process.sent:
            raise Error("internal error: Can't migrate the vm that was paused due to previous migration")
        was = self.vm["state"]
        phase, landed, before = "begun", False, None
        try:
            lab.do(f"migrate {name}")
            self._make_ready()
            self._converge(flags)
            self._wait()
            self._ask_both(target)
            layers = {}
            for dev, path in process.paths.items():
                layers[dev] = lab.file(path, there)
                assert not layers[dev].writes, f"the overlay {path} is not empty on {there.name}"
            before = copied(there.vms.get(name))
            there.vms[name] = {**copied(self.vm), "state": FROZEN}
            lab.processes[there.name][name] = Process(layers, dict(process.paths), set())
            landed = True
            for dev, layer in layers.items():
                layer.writes |= process.layers[dev].writes
                layer.volatile |= layer.writes
            lab.do(f"copied {name}")
            self._ask_both(target)
            if lab.aborted:
                lab.aborted = False
                raise Error("operation aborted: migration out job: canceled by client", 78)
            self.vm["state"] = FROZEN
            phase, process.sent = "copied", True
            for dev, layer in layers.items():
                layer.writes |= process.layers[dev].writes
                layer.volatile |= layer.writes
            lab.processes[there.name][name].memory = set(process.memory)
            lab.processes[there.name][name].flash, lab.processes[there.name][name].incoming = process.flash, "nvram" in self.vm
            lab.do(f"finish {name}")
            self._ask_both(target)
            phase = "finished"
            lab.written(there, LIBVIRTS)
            lab.do(f"confirm {name}")
            self._ask_both(target)
            if name in lab.unconfirmed:
                lab.unconfirmed.discard(name)
                lab.libvirt_ends(self.host)
                return  # virDomainMigrateVersion3Full warns of it, and no more
        except BaseException as exc:
            if landed and phase != "finished" and there.vms.get(name, {}).get("state") == FROZEN:
                lab.end(there, name, 0)
                there.vms[name] = {**before, "state": STOPPED} if before else there.vms[name]
            # with nobody there any more who tells it the outcome, libvirt lets one stand whose memory has been sent
            stands = process.sent and self.host is not lab.at and lab.cut
            if self.host.vms[name]["state"] == FROZEN and isinstance(exc, Exception) and not stands:
                self.vm["state"], process.sent = was, process.sent and was == FROZEN
            raise
        lab.end(self.host, name, 4)
        if lab.loses_answer:
            lab.loses_answer = False
            raise Error("client socket is closed", 38)

    def _ask_both(self, target: Connection) -> None:
        self.conn._ask()
        target._ask()


# ---- what is done


def pair(lab: Moving) -> None:
    """hv1 is ACTIVE in epoch 3; of its VMs one is off, and three run."""
    lab.be(lab.hv1, "ACTIVE", 3)
    lab.be(lab.hv2, "PASSIVE", 3)
    lab.define("db", priority=1)
    lab.define("web")
    lab.define("mail", priority=50)
    lab.end(lab.hv1, "mail")
    first = "hvm_20261123T030000Z_office_C"
    with lab.on(lab.hv1):
        lab.snapshot(first, lab.hv1)
        lab.send(lab.hv1, lab.hv2, first)


def migrate(lab: Moving, host: Host | None = None, **options: t.Any) -> dict[str, t.Any]:
    with lab.on(host or lab.hv1) as at:
        return move.migrate(at.config, Progress(), options=move.Options(**options))


def recovered(lab: Moving, host: Host, **words: str) -> dict[str, t.Any]:
    with lab.on(host) as at:
        return recover.apply(at.config, words.get("peer_is_down", ""), False, Progress(), words.get("give_up", ""))


Act = t.Callable[[Moving], object]
#: What ends a move: the process on the source | the agent on the target | the link, for a while | the power of either host.
STRIKES = ("process", "agent", "link", "power hv1", "power hv2")


def each_strike(strike: str, prepare: Act, act: Act, every: int = 1, sparse: int = SPARSE) -> t.Iterator[tuple[Moving, str]]:
    """A pair for each effect of `act`, right before which it was struck; both hosts are up again. :return: (it, the effect)

    :param every: 2: every second effect, odd ones by one kind of strike and even ones by the next, since it takes its time.
    :param sparse: one effect of so many.
    """
    print(f"HVM_SEED={SEED}")
    step = every * sparse
    number = STRIKES.index(strike) % every + 1 + every * (SEED % sparse) - step
    while True:
        number += step
        with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir=MEMORY) as place:
            lab = Moving(pathlib.Path(place), patch)
            prepare(lab)
            struck = lab.strike(strike, lab.number + number)
            try:
                act(lab)
            except (HvmError, Killed) as exc:
                lab.cause = exc
            if not struck:
                return
            lab.pending = [host for host in (lab.hv1, lab.hv2) if (host.place / "journal.json").exists() and host.pending()]
            lab.up_again()
            if struck[0]:
                print(f"{strike}, {number}: {struck[0]}")
                yield lab, struck[0]


def ended(lab: Moving) -> Host:
    """`recover`, wherever it says that it is to be run, until there is nothing to recover. :return: the host that is ACTIVE"""
    for dummy in range(3):
        said = [recovered(lab, host) for host in (lab.hv1, lab.hv2)]
        if all(one["do"] == "nothing" or not one["do"] for one in said):
            return next(host for host in (lab.hv1, lab.hv2) if host.role()[0] == role.ACTIVE)
    raise AssertionError([one["sentence"] for one in said])
