# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two hosts in one process, for what is done after something went wrong: the procedures, the agent, records, journals, locks and
the plans of a rollback are the real ones; ZFS, libvirt, systemd and the addresses are told what to say, and write down what they
were asked for, with the host: ``lab.did``."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pathlib
import pickle
import random
import tempfile
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import config as configs
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint_file, networks_file, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import PeerLost, PeerSilent
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    agent,
    both,
    comeback,
    constraints,
    cycle,
    failover,
    holds,
    hypervisor,
    networks,
    observe,
    preflight,
    rollback,
    scheduled,
    serving,
    states,
)
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, bases, inventory, kept, protect
from ansible_collections.hvm.pair.plugins.module_utils._zfs import rollback as trees

#: Every effect is struck with HVM_LONG=1; otherwise every sixth one, by HVM_SEED: the others have their turn in other runs.
SPARSE = 1 if os.environ.get("HVM_LONG") else 6
SEED = int(os.environ.get("HVM_SEED") or random.randrange(1 << 30))
#: A pair is some hundred small files, and each strike has one.
MEMORY = next((place for place in ("/dev/shm",) if os.access(place, os.W_OK)), None)

V4 = "192.0.2.10/24"
ROOTS = ("ssd/a", "rot/b")
#: Sets, oldest first: both hosts have the first one; the last has VM states.
OLD, NEW, STATE = (f"hvm_20261123T1{hour}0000Z_office_{mark}" for hour, mark in ((0, "C"), (1, "C"), (2, "B")))
STOPPED, RUNNING, FROZEN = "stopped", "running", "frozen"
#: Boots, as a record names them.
BOOT, BEFORE = "this boot", "the boot before"

#: Whose defaults are the places of records, journals and locks.
_PLACED = (
    *(role.load, role.record, role.write, role.see, role.stopped_in_order, role.in_use),
    *(operation.Lock.__init__, operation.lock_holder, operation.others_operation, operation.none_moves, operation.acknowledge),
    *(operation.Journal.__init__, operation.Journal.of_pending.__func__, operation.Journal.of_arrival.__func__),
    operation.pending,
    *(constraint_file.read, constraint_file.load, constraint_file.save, constraint_file.changing.__wrapped__),
    *(networks_file.read, networks_file.read_peer, networks_file.save, networks_file.save_peer),
    networks_file.changing.__wrapped__,
)


def copied(what: t.Any) -> t.Any:
    """As copy.deepcopy, in a fifth of its time."""
    return pickle.loads(pickle.dumps(what))


class Killed(BaseException):
    """The process ends here: nothing that it would have done afterwards happens."""


class Host:
    """:ivar logs: bytes in the intent logs, by dataset: seen only after they were replayed.
    :ivar refuses: what its agent says to whoever asks; "" when it does what it is asked.
    :ivar images: VMs with a state image. :ivar files: directory -> what a set has in it, as `rollback.names_with` gives it.
    :ivar aside: what a sync has set aside. :ivar xml: VM -> its definition in a set.
    """

    def __init__(self, name: str, peer: str, place: pathlib.Path) -> None:
        self.name, self.place = name, place
        me, other = configs.Host(name, "10.0.0.1"), configs.Host(peer, "10.0.0.2")
        self.config = configs.PairConfig("office", me, other, ROOTS, "/vm/state", (V4,), "br0", "192.0.2.1")
        self.tree: trees.Tree = {}
        self.aside: trees.Tree = {}
        self.xml: dict[str, str] = {}
        self.logs: dict[str, int] = {}
        self.vms: dict[str, dict[str, t.Any]] = {}
        self.images: set[str] = set()
        self.files: dict[str, list[str]] = {}
        self.held: list[str] = []
        self.processes: list[str] = []
        self.pools = {"ssd": "ONLINE", "rot": "ONLINE"}
        self.answers = True
        self.refuses = ""
        self.daemon = self.address = False
        self.daemon_number = 0
        self.boot = BOOT
        for root in ROOTS:
            local = {"mountpoint": f"/srv/{root[-1]}", "canmount": "noauto", "readonly": "on"}
            props = {**{key: [value, "local"] for key, value in local.items()}, "createtxg": ["1", "-"], "written": ["0", "-"]}
            self.tree[root] = {"type": "filesystem", "guid": root, "origin": "", "snapshots": [], "bookmarks": [], "props": props}

    def vm(self, name: str, state: str = STOPPED, priority: int = 99, autostart: bool = False) -> None:
        more = {"ready": "", "ready_timeout": 0, "delay": 0}
        self.vms[name] = {"state": state, "priority": priority, "autostart": autostart, **more}

    def create(self, dataset: str) -> None:
        """One that the other host has never seen; somebody has written to it."""
        props = {"createtxg": ["99", "-"], "written": [str(1 << 20), "-"], "readonly": ["on", "local"]}
        self.tree[dataset] = {**copied(self.tree[ROOTS[0]]), "guid": dataset, "snapshots": []}
        self.tree[dataset]["props"].update(props)

    def running(self) -> list[str]:
        return sorted([name for name, vm in self.vms.items() if vm["state"] != STOPPED] + self.processes)

    def sets(self, dataset: str = ROOTS[0]) -> list[str]:
        return [snap[0] for snap in self.tree[dataset]["snapshots"]]

    def write(self, count: int = 1 << 20) -> None:
        """Somebody writes, on the first root."""
        self.tree[ROOTS[0]]["props"]["written"] = [str(count), "-"]

    def inert(self) -> bool:
        return not inventory.not_inert(trees.in_use(self.tree, ROOTS))

    def record(self) -> dict[str, t.Any]:
        return json.loads((self.place / "role.json").read_text())

    def role(self) -> tuple[str, int]:
        found = self.record()
        return found["role"], found["epoch"]

    def gate(self) -> bool:
        return (self.place / "run/gate").exists()

    def journal(self) -> dict[str, t.Any]:
        return json.loads((self.place / "journal.json").read_text())

    def pending(self) -> str:
        return "" if self.journal()["done"] else f"{self.journal()['operation']}: {self.journal()['step']}"


class Lab:
    """:ivar at: the host whose process goes on now.
    :ivar did: what was done, with its host; `before`: by the process before this one.
    :ivar waits: what happens while it waits, one after the other.
    :ivar faults: effect, with its host -> what is done instead.
    :ivar dies_at: number of the effect before which the process is killed.
    """

    def __init__(self, place: pathlib.Path, patch: pytest.MonkeyPatch) -> None:
        self.hv1, self.hv2 = Host("hv1", "hv2", place / "hv1"), Host("hv2", "hv1", place / "hv2")
        self.did: list[str] = []
        self.before: list[str] = []
        self.faults: dict[str, t.Callable[[], None]] = {}
        self.dies_at: int | None = None
        self.dead = False
        self.patch = patch
        self.txg = 10
        self.now = 0.0
        self.waits: t.Iterator[t.Callable[[], None]] = iter(())
        self._defaults = {function: function.__defaults__ for function in _PLACED}
        self._places: dict[str, dict[t.Any, tuple[t.Any, ...]]] = {}
        for function in _PLACED:
            patch.setattr(function, "__defaults__", function.__defaults__)
        patch.setattr(role, "RUN", role.RUN)
        patch.setattr(role, "GATE", role.GATE)
        self._move(self.hv1)
        self._replace_pair()
        self._replace_zfs()
        self._replace_host()
        self.snapshot(OLD)

    # ---- one host after the other

    def _move(self, host: Host) -> None:
        self.at = host
        if host.name not in self._places:
            self._places[host.name] = self._placed(str(host.place))
        for function, defaults in self._places[host.name].items():
            function.__defaults__ = defaults
        role.RUN, role.GATE = f"{host.place}/run", f"{host.place}/run/gate"

    def _placed(self, place: str) -> dict[t.Any, tuple[t.Any, ...]]:
        moved = {role.RECORD: "role.json", operation.JOURNAL: "journal.json", operation.LOCK: "run/lock"}
        moved[constraint_file.PATH] = "constraint.json"
        moved |= {networks_file.PATH: "networks.json", networks_file.PEER: "networks-peer.json"}
        moved[networks_file.LOCK] = "networks.lock"
        return {
            function: tuple(f"{place}/{moved[one]}" if one in moved else one for one in defaults)
            for function, defaults in self._defaults.items()
        }

    @contextlib.contextmanager
    def on(self, host: Host) -> t.Iterator[Host]:
        before = self.at
        self._move(host)
        try:
            yield host
        finally:
            self._move(before)

    def other(self) -> Host:
        return self.hv2 if self.at is self.hv1 else self.hv1

    def do(self, what: str) -> None:
        """An effect, which is to come after this; none comes after the process was killed."""
        if self.dead or len(self.did) == self.dies_at:
            self.dead = True
            raise Killed(what)
        self.did.append(f"{self.at.name} {what}")
        self.faults.get(self.did[-1], lambda: None)()

    def sleep(self, seconds: float) -> None:
        """Time passes only here."""
        self.now += seconds
        next(self.waits, lambda: None)()

    def again(self) -> None:
        """The next process."""
        self.before = self.did
        self.did, self.dies_at, self.dead = [], None, False

    def effects(self) -> list[str]:
        """Without looks and journals."""
        return [one for one in self.did if one.split()[1] not in ("look", "journal")]

    def power_cut(self, host: Host) -> None:
        host.boot = f"after {host.boot}"
        self.down(host)
        for vm in host.vms.values():
            vm["state"] = STOPPED

    @staticmethod
    def down(host: Host) -> None:
        """Nothing runs; the datasets stay as they are, but for their mounts."""
        host.daemon = host.address = False
        host.processes = []
        for root in filter(host.tree.__contains__, ROOTS):
            host.tree[root]["props"]["mounted"] = ["no", "-"]
        (host.place / "run/gate").unlink(missing_ok=True)

    # ---- what there is to begin with

    def be(self, host: Host, now: str, epoch: int, seen: int | None = None, clean: bool = True, boot: str = BOOT) -> None:
        """Its record; an ACTIVE host of this boot runs, any other one is inert."""
        host.place.mkdir(parents=True, exist_ok=True)
        self.down(host)
        for root in ROOTS:
            host.tree[root]["props"]["readonly"] = ["on", "local"]
        entry = role.Role(now, epoch, "2026-11-01T00:00:00+00:00", "so", boot, epoch - 1 if seen is None else seen, clean)
        (host.place / "role.json").write_text(json.dumps(entry._asdict()))
        if now == role.ACTIVE and boot == BOOT:
            self.up(host)

    def up(self, host: Host) -> None:
        (host.place / "run").mkdir(exist_ok=True)
        (host.place / "run/gate").write_text("")
        host.daemon = host.address = True
        for root in ROOTS:
            host.tree[root]["props"].update(readonly=["off", "local"], mounted=["yes", "-"])

    def begun(self, host: Host, name: str, step: str = "hand over", **facts: t.Any) -> None:
        with self.on(host):
            entry = {**operation.Journal(name, **facts).entry, "step": step}
            (host.place / "journal.json").write_text(json.dumps(entry))

    def snapshot(self, name: str, *hosts: Host) -> None:
        """The same one on all these hosts."""
        self.txg += 1
        for host in hosts or (self.hv1, self.hv2):
            for dataset, entry in trees.in_use(host.tree, ROOTS).items():
                entry["snapshots"].append([name, f"{name} {dataset} {self.txg}", self.txg])
                entry["props"]["written"] = ["0", "-"]

    # ---- what is below

    def _replace_pair(self) -> None:
        lab, patch = self, self.patch
        write, write_journal, take = role.write, operation.Journal._write, operation.Lock.take

        def written(entry: role.Role, *path: str) -> None:
            lab.do(f"record {entry.role} {entry.epoch}")
            write(entry, *path)

        def journal(one: operation.Journal) -> None:
            lab.do("journal ended" if one.entry["done"] else f"journal {one.entry['operation']}: {one.entry['step']}")
            write_journal(one)

        def taken(lock: operation.Lock, name: str, owner: str, lent: bool = False) -> None:
            lab.do(f"lock {name}")
            take(lock, name, owner)

        class Peer:
            def __init__(self, dummy: configs.PairConfig) -> None:
                self.host = lab.other()
                if not self.host.answers:
                    raise PeerSilent(f"ssh to {self.host.name} ended with 255")
                if self.host.refuses:
                    raise HvmError(f"{self.host.name}: {self.host.refuses}", "Run the playbook hvm.pair.install.")
                with lab.on(self.host):
                    self.agent = agent.Agent(self.host.config)

            def __enter__(self) -> t.Any:
                return self

            def __exit__(self, *dummy: object) -> None:
                self.agent._lock.release()

            def call(self, op: str, timeout: float = 0, on_event: t.Any = None, **arguments: t.Any) -> t.Any:
                if lab.dead:
                    raise Killed
                if not self.host.answers:
                    raise PeerLost(f"the connection to {self.host.name} ended")
                with lab.on(self.host):
                    told = json.loads(json.dumps(arguments))
                    answer = self.agent.operations()[op](told, on_event or (lambda dummy: None))
                return json.loads(json.dumps(answer))

        patch.setattr(role, "write", written)
        patch.setattr(role, "boot_id", lambda: lab.at.boot)
        patch.setattr(operation, "owner", lambda: "alice")
        patch.setattr(operation.Journal, "_write", journal)
        patch.setattr(operation.Lock, "take", taken)
        for module in (constraints, cycle, networks, preflight):
            patch.setattr(module, "Peer", Peer)
        patch.setattr(both, "time", types.SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep))
        for module in (preflight, both, observe, scheduled):
            patch.setattr(module, "observe", self.observe)

    def observe(self, *dummy: t.Any, **dummy_more: t.Any) -> dict[str, t.Any]:
        self.do("look")
        at = self.at
        found = role.as_dict(role.load())
        datasets = trees.in_use(at.tree, ROOTS)
        open_ = [] if found["now"] == role.ACTIVE else inventory.not_inert(datasets)
        return {
            "pair": "office", "host": at.name, "peer": at.config.peer.name, "role": found, "lock": operation.lock_holder(),
            "pending": operation.pending(), "pools": dict(at.pools), "qemu": at.running(),
            "hypervisor": {"running": at.daemon}, "not_inert": open_, "vms": {}, "saved": [],
            "sets": [{"name": name, "complete": True} for name in inventory.sets(datasets, "office")],
        }  # fmt: skip

    def _replace_zfs(self) -> None:
        lab, patch = self, self.patch

        def use(name: str, key: str, *value: str) -> t.Callable[..., None]:
            def done(*dummy: t.Any) -> None:
                lab.do(name)
                for root in ROOTS:
                    if root in lab.at.tree:
                        lab.at.tree[root]["props"][key] = list(value)

            return done

        def mount(*dummy: t.Any) -> None:
            lab.do("mount")
            for root in ROOTS:
                props = lab.at.tree[root]["props"]
                props["mounted"] = ["yes", "-"]
                props["written"] = [str(int(props.get("written", ["0"])[0]) + lab.at.logs.pop(root, 0)), "-"]

        def snapshot_set(dummy: t.Any, name: str, props: dict[str, str]) -> None:
            lab.do(f"snapshot {props['hvm:consistency']}")
            lab.snapshot(name, lab.at)

        def hold(roots: t.Sequence[str], name: str, dummy_pair: str) -> None:
            lab.do("hold")
            for root in roots:
                if root not in lab.at.tree:
                    raise HvmError(f"cannot open '{root}': dataset does not exist")
            lab.at.held.append(name)

        def take(steps: t.Sequence[trees.Step], said: t.Callable[[str], None]) -> list[str]:
            for step in steps:
                said(step.sentence())
                lab.do(f"zfs {step.do} {step.to or step.dataset}")
                trees.apply(lab.at.tree, step)
            return []

        def destroy(planned: t.Sequence[tuple[str, t.Sequence[str]]], *dummy: t.Any) -> None:
            for dataset, dummy_snapshots in planned:
                lab.do(f"destroy {dataset}")
                del lab.at.tree[dataset]

        def since(datasets: t.Sequence[str], sets: t.Sequence[str]) -> dict[str, dict[str, int]]:
            return {one: {name: int(lab.at.tree[one]["props"]["written"][0]) for name in sets} for one in datasets}

        def marked(command: t.Sequence[str]) -> str:
            """zfs get, or zfs list, of the mark of what is shut: nothing is."""
            away = [root for root in ROOTS if root in command and root not in lab.at.tree]
            if away:
                raise CommandError(command, 1, "", f"cannot open '{away[0]}': dataset does not exist")
            return ""

        def in_use(roots: t.Sequence[str]) -> trees.Tree:
            return copied(trees.in_use(lab.at.tree, roots))

        def texts_with(dummy: t.Any, dummy_roots: t.Any, path: str, *dummy_more: str) -> dict[str, str]:
            return {name: lab.at.xml.get(name, "<domain/>") for name in lab.at.files.get(path, [])}

        patch.setattr(actions, "make_writable", use("writable", "readonly", "off", "local"))
        patch.setattr(actions, "make_inert", use("inert", "readonly", "on", "local"))
        patch.setattr(actions, "unmount_all", use("unmount", "mounted", "no", "-"))
        patch.setattr(actions, "mount_all", mount)
        patch.setattr(actions, "wait_devices", lambda dummy: lab.do("devices"))
        patch.setattr(actions, "snapshot_set", snapshot_set)
        patch.setattr(actions, "written_since", since)
        patch.setattr(bases, "run", marked)
        patch.setattr(protect, "hold", hold)
        patch.setattr(protect, "bookmark", lambda dummy: {})
        patch.setattr(protect, "held", lambda *dummy: {name: [] for name in lab.at.held})

        def datasets(roots: t.Sequence[str], *dummy: t.Any) -> trees.Tree:
            found = in_use(roots)
            for name, entry in found.items():
                entry["props"]["prevsnap"] = [f"{name}@{entry['snapshots'][-1][0]}" if entry["snapshots"] else "", "-"]
            return found

        patch.setattr(inventory, "read", in_use)
        patch.setattr(inventory, "read_datasets", datasets)
        patch.setattr(kept, "read", lambda dummy: copied(lab.at.tree))
        patch.setattr(kept, "take", take)
        patch.setattr(kept, "destroy", destroy)
        patch.setattr(kept, "untouched", lambda *dummy: False)
        patch.setattr(kept, "flush", lambda dummy: None)
        patch.setattr(kept, "read_aside", lambda dummy: copied(lab.at.aside))
        for name in ("holds", "clones"):
            patch.setattr(kept, name, lambda dummy: {})
        patch.setattr(actions, "abort_receive", lambda name: lab.do(f"abort {name}"))
        patch.setattr(rollback, "wait_for_receivers", lambda dummy: None)
        patch.setattr(rollback, "names_with", lambda dummy, dummy_roots, path, *dummy_more: lab.at.files.get(path, []))
        patch.setattr(rollback, "texts_with", texts_with)
        patch.setattr(holds, "LEDGER", "/nowhere/holds.json")

    def _replace_host(self) -> None:
        lab, patch = self, self.patch

        def running() -> list[str]:
            if lab.dead:
                raise Killed
            return lab.at.running()

        def run(command: t.Sequence[str], **dummy: t.Any) -> str:
            verb = " ".join(command[:2])
            lab.do(verb)
            if verb.startswith("systemctl "):
                assert verb == "systemctl stop" or role.gate_is_open(), "libvirt starts behind an open gate only"
                lab.at.daemon = verb == "systemctl start"
            return ""

        for module in (hypervisor, serving, comeback, states, agent.glance):
            patch.setattr(module, "qemu_processes", running)
        for module in (hypervisor, comeback):
            patch.setattr(module, "hypervisor_running", lambda: lab.at.daemon)
        for module in (hypervisor, failover):
            patch.setattr(module, "run", run)
        patch.setattr(hypervisor, "drop_autostart_links", lambda: None)
        patch.setattr(hypervisor, "daemon_failure", lambda: "")
        domains = serving.domains
        patch.setattr(domains, "connect", self.connect)
        for name in ("neutralise_autostart", "start_networks", "stop_networks"):
            patch.setattr(domains, name, lambda dummy: [])
        patch.setattr(domains, "vms", lambda *dummy: copied(lab.at.vms))
        patch.setattr(domains, "saved_names", lambda dummy: sorted(lab.at.images))
        patch.setattr(domains, "unfreeze", self.unfreeze)
        patch.setattr(serving, "bring", self.bring)
        patch.setattr(serving.backup, "settled", lambda dummy, name, *more: lab.do(f"settle {name}"))
        patch.setattr(serving.checkpoint, "set_clocks", self.clocks)
        patch.setattr(serving.shared_ip, "prepare", lambda *dummy: lab.do("address?") or "prepared")
        patch.setattr(serving.shared_ip, "take", self.take)
        patch.setattr(serving.address, "keep_announcing", lambda *dummy: lab.do("announce") or [])
        patch.setattr(serving.address, "give_up", self.give_up)

    def connect(self) -> t.Any:
        """To the daemon that is there now; with another one, or none, it answers no more."""
        at, daemon = self.at, self.at.daemon_number

        def answer() -> int:
            if not at.daemon or at.daemon_number != daemon:
                raise HvmError("client socket is closed")
            return 1

        return types.SimpleNamespace(close=lambda: None, getLibVersion=answer)

    def bring(self, conn: t.Any, name: str, *dummy_more: t.Any, **dummy_words: t.Any) -> str:
        self.do(f"bring {name}")
        conn.getLibVersion()
        how = "restored" if name in self.at.images else "started"
        self.at.images.discard(name)
        self.at.vms.setdefault(name, {})["state"] = RUNNING
        return f"{name} {how}"

    def unfreeze(self, dummy: t.Any, name: str) -> str:
        self.do(f"unfreeze {name}")
        self.at.vms[name]["state"] = RUNNING
        return f"{name} goes on"

    def clocks(self, names: t.Sequence[str]) -> list[str]:
        if names:
            self.do(f"clocks {' '.join(names)}")
        return []

    def take(self, prepared: str) -> None:
        assert prepared == "prepared"
        self.do("address on")
        self.at.address = True

    def give_up(self, dummy: t.Any) -> bool:
        had = self.at.address
        if had:
            self.do("address off")
            self.at.address = False
        return had


Act = t.Callable[[Lab], object]


def each_death(prepare: Act, act: Act) -> t.Iterator[Lab]:
    """A pair for each step of `act`, in which the process was killed before that step."""
    print(f"HVM_SEED={SEED}")
    for number in itertools.count(SEED % SPARSE, SPARSE):
        with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir=MEMORY) as place:
            lab = Lab(pathlib.Path(place) / "pair", patch)
            prepare(lab)
            lab.dies_at = number
            try:
                act(lab)
            except Killed:
                lab.again()
                yield lab
            else:
                return


def daemon_dies(lab: Lab, effect: str) -> None:
    """At that effect, once; systemd has started another one by the time that somebody looks."""

    def fault() -> None:
        del lab.faults[effect]
        lab.at.daemon_number += 1

    lab.faults[effect] = fault


def broken(text: str, **details: t.Any) -> t.Callable[[], None]:
    def fault() -> None:
        raise HvmError(text, "", **details)

    return fault
