# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pair of hosts in some hundred lines: disks as sets of writes, role records, gates, locks, journals, one link; VMs that move
from one to the other while they run, each with an overlay over its disks.

Every procedure is a generator that stops after each step, so that a schedule can put anything in between: a power cut, a cut
link, a killed process, another procedure. What may be done is never decided here: it is asked of `_pair.guards` and
`_pair.recovery`.

The operator answers at random, wrongly too. One lie is left out, as no program can see through it: that a host is off which runs
(without a fence command). `docs/design.md` says so.
"""

from __future__ import annotations

import random
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, moving, operation, recovery, role
from ansible_collections.hvm.pair.plugins.module_utils._zfs import rollback

DATASETS = ("ssd/a", "rot/b")
#: Each writes to both datasets.
VMS = ("db", "web")
ACTIVE, PASSIVE, DIVERGED = "ACTIVE", "PASSIVE", "DIVERGED"
Steps = t.Iterator[None]
#: What needs nothing of the other host.
UNLOCKED = (recovery.NOTHING, recovery.ELSEWHERE, recovery.PASS)
#: What the other host's agent goes on with when its connection is cut.
AGENTS = ("activate", "arrive", "land", "takeover")
#: What the lock calls a procedure, where it is another name.
CALLED = {"migrate": "migrate_secure", "move": moving.OPERATION, "start": "hv start", "stop": "hv stop"}


class Lost(Exception):
    """The link went, or the other host."""


class Failed(Exception):
    """A step failed: a full pool, a libvirt that was killed, a refusal."""


class Broken(AssertionError):
    """What must always hold does not."""


class Disk:
    """One dataset: the writes in it (bits), and its snapshots (name, GUID, writes), oldest first."""

    __slots__ = ("head", "snapshots")

    def __init__(self) -> None:
        self.head = 0
        self.snapshots: list[tuple[str, str, int]] = []

    def newest(self) -> int:
        return self.snapshots[-1][2] if self.snapshots else 0

    def at(self, name: str) -> int:
        return next((number for number, snap in enumerate(self.snapshots) if snap[0] == name), -1)


class Host:
    """What outlives a power cut: record, journal, disks. What does not: gate, hypervisor, VMs, locks, processes."""

    def __init__(self, name: str, role: str, epoch: int) -> None:
        self.name = name
        self.boot, self.up = 1, True
        self.role, self.epoch, self.recorded_in = role, epoch, 1
        self.journal: dict[str, t.Any] | None = None
        self.disks = {name: Disk() for name in DATASETS}
        self.writable = self.running = role == ACTIVE
        self.gate = ACTIVE if role == ACTIVE else ""
        self.vms = set(VMS) if role == ACTIVE else set()
        self.paused: set[str] = set()  # of a move: processes that stand still, on the one host or the other
        self.overlays: dict[str, int] = {}  # what each has written since its disks were left alone
        self.images: dict[str, int] = {}  # of saved VMs: what was on their disks then; they lie on the last dataset
        self.seen = 0
        self.clean = role != ACTIVE  # since it was ACTIVE it has been stopped in good order
        self.kept: list[int] = []
        self.aside: dict[str, tuple[list[tuple[str, str, int]], int]] = {}  # of a way back that has not ended: what was in use
        self.log_only = False  # after a crash what was written last may be in the intent logs only, where nobody sees it
        self.lock: Process | None = None

    def now(self) -> str:
        return "UNKNOWN" if self.role == ACTIVE and self.recorded_in != self.boot else self.role

    def record(self, role: str, epoch: int, seen: int | None = None) -> None:
        if role == ACTIVE:
            self.seen = seen if seen is not None else self.epoch if self.role != ACTIVE else self.seen
        self.role, self.epoch, self.recorded_in = role, epoch, self.boot
        if role == ACTIVE:
            self.clean = False
        else:
            self.gate = ""

    def writes(self) -> int:
        """In the datasets, and in overlays that are a VM's."""
        found = 0
        for disk in self.disks.values():
            found |= disk.head
        for vm in self.counting():
            found |= self.overlays[vm]
        return found

    def arrived(self) -> set[str]:
        return set(self.journal.get("arrived", ())) if self.journal else set()

    def counting(self) -> set[str]:
        """VMs whose overlay is no half copy."""
        is_target = self.journal is not None and "arrived" in self.journal
        return set(self.overlays) & self.arrived() if is_target else set(self.overlays)

    def everything(self) -> int:
        found = self.writes()
        for disk in self.disks.values():
            for snap in disk.snapshots:
                found |= snap[2]
        for one in (*self.kept, *self.overlays.values()):
            found |= one
        return found

    def power_off(self, log_only: bool) -> None:
        self.log_only = self.log_only or (bool(self.vms) and self.writable and log_only)
        self.up = self.running = False
        self.gate, self.vms, self.paused = "", set(), set()
        self.lock = None

    def tree(self) -> dict[str, t.Any]:
        return {
            name: {
                "snapshots": [[snap[0], snap[1], number] for number, snap in enumerate(disk.snapshots)],
                "bookmarks": [],
                "props": {"written": [str(0 if self.log_only else (disk.head ^ disk.newest()).bit_count()), "-"]},
            }
            for name, disk in self.disks.items()
        }

    def complete(self) -> list[str]:
        one, *others = self.disks.values()
        return [snap[0] for snap in one.snapshots if all(disk.at(snap[0]) >= 0 for disk in others)]


class Process:
    """A procedure that runs on a host, with one connection to the other."""

    def __init__(self, host: Host, name: str, words: str = "") -> None:
        self.host, self.name, self.words = host, name, words
        self.steps: Steps = iter(())
        self.connected = False
        self.asked_by: Process | None = None  # of an agent that activates, and what it has answered
        self.answer: str | None = None

    def __repr__(self) -> str:
        return f"{self.name}({self.words}) on {self.host.name}"


class Pair:
    def __init__(self, choose: random.Random) -> None:
        self.choose = choose
        self.a, self.b = Host("hv1", ACTIVE, 1), Host("hv2", PASSIVE, 0)
        self.link = True
        self.processes: list[Process] = []
        self.count, self.sets, self.guids = 0, 0, 0
        self.before: dict[int, int] = {}  # write -> all writes that its VM had seen then
        self.own = dict.fromkeys(VMS, 0)  # whose a write is
        self.on = dict.fromkeys(DATASETS, 0)  # and on which dataset
        self.safe = self.discarded = self.given_up = 0
        self.log: list[str] = []
        self.reports = 0  # of safety
        self.wins_alone = 0  # of a DIVERGED host whose other one is lost
        self.moved = self.came_back = 0  # migrations that ended there, VMs that came back
        self.images: dict[str, dict[str, int]] = {}  # set -> those in it
        self.restored = 0
        self.saves = 0.15  # how often a VM does not move, but is saved and restored there
        name = self.new_set()
        for host in (self.a, self.b):
            for dataset, disk in host.disks.items():
                disk.snapshots.append((name, f"first of {dataset}", 0))

    # ---- what a host sees

    def other(self, host: Host) -> Host:
        return self.b if host is self.a else self.a

    def observe(self, host: Host, asked_by: Process | None = None) -> dict[str, t.Any]:
        """As `_procedure.observe` does it. A process does not see its own locks."""
        lock = host.lock is not None and host.lock is not asked_by
        complete = host.complete()
        newest = max(disk.snapshots[-1][0] for disk in host.disks.values())
        return {
            "pair": "p",
            "host": host.name,
            "peer": self.other(host).name,
            "address": host.name,
            "role": {
                "role": host.role,
                "now": host.now(),
                "epoch": host.epoch,
                "since": "then",
                "seen": host.seen,
                "clean": host.clean,
            },
            "hypervisor": {"running": host.running},
            "qemu": sorted(host.vms | host.paused),
            "gate": host.gate,
            "overlays": {vm: [f"{vm}.vda"] for vm in host.overlays},
            "shared_ip": {"interface": "", "in_use_by_us": False},
            "pools": {"ssd": "ONLINE", "rot": "ONLINE"},
            "datasets": list(DATASETS),
            "dataset_names": list(DATASETS),
            "missing_datasets": [],
            "mountpoints": [],
            "not_inert": ["ssd/a is writable"] if host.writable and host.now() != ACTIVE else [],
            "lock": repr(host.lock) if lock else None,
            "pending": self.pending(host),
            "vms": {},
            "network_bridges": {},
            "state_dir": "/states",
            "state_dir_free": None,
            "memory_available_kib": 0,
            "interfaces": [],
            "foreign_users": {},
            "sets": [{"name": complete[-1], "complete": True}, {"name": newest, "complete": newest in complete}],
        }

    def reach(self, process: Process) -> Host | None:
        """The other host, if it answers a new connection."""
        peer = self.other(process.host)
        return peer if self.link and peer.up else None

    def call(self, process: Process) -> Host:
        """The other host over the connection that the process has; it does not come back once it was cut."""
        if not process.connected or not self.reach(process):
            process.connected = False
            raise Lost
        return self.other(process.host)

    # ---- locks and journals

    def take_lock(self, process: Process) -> None:
        if process.host.lock is not None:
            raise Failed(f"{process.host.lock} is running")
        process.host.lock = process

    def lock_both(self, process: Process, epoch: int | None) -> Host:
        """The agent's part, over a connection that is made for it."""
        peer = self.reach(process)
        if peer is None:
            raise Lost
        process.connected = True
        refuse(guards.lend(self.observe(peer), epoch))
        if peer.lock is not None:
            raise Failed(f"{peer.lock} is running there")
        peer.lock = process
        self.see(peer, epoch)
        return peer

    def see(self, peer: Host, epoch: int | None) -> None:
        """A host that is not ACTIVE writes down in which epoch the other one is."""
        if epoch is not None and peer.role != ACTIVE:
            peer.epoch = max(peer.epoch, epoch)

    def decide(
        self, process: Process, rule: t.Callable[[t.Any, t.Any], t.Any]
    ) -> t.Generator[None, None, tuple[Host | None, t.Any]]:
        """Look, decide; then take the other host's lock, look and decide again: somebody may have worked in between.

        :param rule: (this host's observation, the other's or None) -> findings or a decision.
        """
        host, peer = process.host, self.reach(process)
        decided = rule(self.observe(host, process), self.observe(peer) if peer else None)
        refuse(decided.findings if isinstance(decided, recovery.Decision) else decided)
        if peer is not None and not (isinstance(decided, recovery.Decision) and decided.do in UNLOCKED):
            yield
            self.lock_both(process, None)
            yield
            peer = self.call(process)
            decided = rule(self.observe(host, process), self.observe(peer, process))
            refuse(decided.findings if isinstance(decided, recovery.Decision) else decided)
        if isinstance(decided, recovery.Decision):
            process.words += f": {decided.sentence}"
        return peer, decided

    def pending(self, host: Host) -> dict[str, t.Any] | None:
        entry = host.journal
        if entry and operation.SOURCE in entry and entry["operation"] != moving.OPERATION:
            record = role.Role(host.role, host.epoch, "then", "", str(host.recorded_in))
            return entry if operation.took_part(entry, record) else None
        return entry

    def journal(self, process: Process, operation: str, step: str, **facts: t.Any) -> None:
        entry = self.pending(process.host) or {}
        if entry.get("operation") != operation:
            entry = {}
        process.host.journal = {**entry, "operation": operation, "started": "then", "step": step, **facts}

    def ended(self, process: Process, is_killed: bool = False) -> None:
        """Locks end with their process; the agent's with its connection, or with what it is still doing."""
        if process in self.processes:
            self.processes.remove(process)
        if process.host.lock is process:
            process.host.lock = None
        peer = self.other(process.host)
        busy = any(one.name in AGENTS and one.host is peer for one in self.processes)
        if peer.lock is process and not busy and (process.connected or not is_killed):
            peer.lock = None

    # ---- pieces that procedures share

    def new_set(self, mark: str = "C") -> str:
        self.sets += 1
        return f"hvm_20261123T{self.sets // 60:04d}{self.sets % 60:02d}Z_p_{mark}"

    def snapshot(self, host: Host, name: str) -> None:
        newest = host.disks[DATASETS[-1]].snapshots[-1][0]
        self.images[name] = dict(self.images.get(newest, {}) if host.log_only else host.images)
        for disk in host.disks.values():
            self.guids += 1
            disk.snapshots.append((name, str(self.guids), disk.newest() if host.log_only else disk.head))

    def start_hypervisor(self, host: Host, epoch: int, seen: int | None = None) -> Steps:
        previous = (host.role, host.epoch, host.recorded_in, host.seen)
        try:
            host.writable, host.log_only = True, False  # mounted, so the logs are replayed
            yield
            host.record(ACTIVE, epoch, seen)
            yield
            host.gate = ACTIVE
            yield
            host.running = True
            yield
        except Failed:
            if host.vms:  # that have moved here, and run all along
                raise
            self.stop_hypervisor(host)
            host.role, host.epoch, host.recorded_in, host.seen = previous
            raise

    def stop_hypervisor(self, host: Host, keep_writable: bool = False) -> None:
        if host.vms or host.paused:
            raise Failed("VMs are running")
        host.gate, host.running = "", False
        host.writable = keep_writable
        host.clean = host.clean or host.now() == ACTIVE  # what a crash has left in the logs is still there otherwise

    def send(self, process: Process, name: str) -> Steps:
        """A sync of a set: dataset by dataset, each into a PASSIVE host only, none over anything that is not known here."""
        host, peer = process.host, self.call(process)
        # as _zfs.plan has it: a replica with anything of its own is refused
        if recovery.own(self.observe(peer), peer.tree(), host.tree()):
            raise Failed("a replica does not fit")
        for dataset in DATASETS:
            yield
            peer = self.call(process)
            if peer.now() != PASSIVE or peer.writable:
                raise Failed(f"it is {peer.now()}: it takes nothing")
            mine, theirs = host.disks[dataset], peer.disks[dataset]
            known = {snap[1] for snap in theirs.snapshots}
            for snap in mine.snapshots[: mine.at(name) + 1]:
                if snap[1] not in known:
                    theirs.snapshots.append(snap)
                    theirs.head = snap[2]
                    if dataset == DATASETS[-1]:
                        peer.images = dict(self.images.get(snap[0], {}))
        yield
        self.call(process)

    def give_up(self, there: int) -> None:
        """The operator's word: a host goes on with what is `there`, and without what else was ever written."""
        self.given_up |= self.written() & ~there

    def written(self) -> int:
        return (1 << self.count) - 1

    def is_safe(self, host: Host, name: str) -> None:
        """The set was reported to be on both hosts."""
        self.reports += 1
        for disk in host.disks.values():
            self.safe |= disk.snapshots[disk.at(name)][2]

    def go_back(self, host: Host, name: str) -> Steps:
        """The swap of `_zfs.rollback`: what is newer than the set is kept beside; dataset by dataset."""
        for dataset in DATASETS:
            disk = host.disks[dataset]
            at = disk.at(name)
            if at < 0:
                raise Failed(f"{dataset} has no {name}")
            if at + 1 < len(disk.snapshots) or disk.head != disk.snapshots[at][2]:
                kept = disk.head
                for snap in disk.snapshots[at + 1 :]:
                    kept |= snap[2]
                host.kept.append(kept)
                del disk.snapshots[at + 1 :]
                disk.head = disk.snapshots[at][2]
            if dataset == DATASETS[-1]:
                host.images = dict(self.images.get(name, {}))
            yield
        host.log_only = False

    def let_run(self, host: Host, vms: t.Iterable[str]) -> None:
        """From their images where they have one, which goes then; an image is never one of other disks."""
        for vm in sorted(set(vms) - host.vms):
            image = host.images.pop(vm, None)
            if image is not None and image != self.view(host, vm):
                raise Broken(f"{vm} has an image on {host.name} that is not of its disks")
            self.restored += image is not None
        host.vms |= set(vms)

    def stand_down(self, process: Process) -> Steps:
        """The other host becomes DIVERGED. First what it has of its own gets a snapshot: that tells of it from then on."""
        peer = self.call(process)
        own = recovery.own(self.observe(peer, process), peer.tree(), process.host.tree())
        if peer.role == PASSIVE and not own and not peer.journal:
            return
        if own.written or (own and peer.role != DIVERGED):
            self.snapshot(peer, self.new_set())
        yield
        peer = self.call(process)
        peer.record(DIVERGED, peer.epoch)
        yield
        peer = self.call(process)
        peer.writable = False
        yield

    # ---- the procedures

    def run_start(self, process: Process, word: str) -> Steps:
        host = process.host
        self.take_lock(process)
        peer, dummy = yield from self.decide(process, lambda me, other: guards.start(me, other, word))
        if peer is None and host.now() != ACTIVE:
            self.give_up(host.writes())
        if host.running and host.now() == ACTIVE:
            return
        epoch = host.epoch if host.now() == ACTIVE else max(host.epoch, peer.epoch if peer else 0) + 1
        yield from self.start_hypervisor(host, epoch, peer.epoch if peer else None)
        self.let_run(host, VMS)
        yield
        if peer:
            self.see(self.call(process), epoch)

    def run_stop(self, process: Process) -> Steps:
        self.take_lock(process)
        refuse(guards.stop({**self.observe(process.host, process), "qemu": []}))
        process.host.vms = set()
        yield
        self.stop_hypervisor(process.host)
        yield

    def run_backup(self, process: Process, snapshot: bool) -> Steps:
        """`backup_secure`, or `hvm_zfs_sync` alone."""
        host = process.host
        peer = self.reach(process)
        if peer is None:
            raise Lost
        refuse(guards.backup_unsecure(self.observe(host), self.observe(peer)))
        yield
        if snapshot:
            self.take_lock(process)
            refuse(guards.backup_unsecure(self.observe(host, process), None))
            self.snapshot(host, self.new_set("B"))
            host.lock = None
            yield
        peer = self.reach(process)
        if peer is None:
            raise Lost
        me = self.observe(host)
        refuse(guards.sync(me, self.observe(peer)))
        yield
        self.take_lock(process)
        self.lock_both(process, me["role"]["epoch"])
        name = host.complete()[-1]
        yield from self.send(process, name)
        self.is_safe(host, name)

    def run_migrate(self, process: Process) -> Steps:
        """Step by step as `_procedure.switchover` does it."""
        host = process.host
        peer = self.reach(process)
        if peer is None:
            raise Lost
        me, other = self.observe(host), self.observe(peer)
        refuse(guards.migrate(me, other))
        yield
        self.take_lock(process)
        peer = self.lock_both(process, me["role"]["epoch"])
        yield
        peer = self.call(process)
        me, other = self.observe(host, process), self.observe(peer, process)
        refuse(guards.migrate(me, other))
        self.snapshot(host, name := self.new_set())
        yield from self.send(process, name)
        epoch = max(me["role"]["epoch"], other["role"]["epoch"])
        stopped = given_away = False
        try:
            self.journal(process, recovery.MIGRATION, "save", vms=list(VMS), epoch=epoch + 1)
            host.vms = set()
            yield
            self.journal(process, recovery.MIGRATION, "stop here")
            stopped = True
            self.stop_hypervisor(host, keep_writable=True)
            yield
            self.snapshot(host, name := self.new_set("B"))
            self.journal(process, recovery.MIGRATION, "last sync")
            yield from self.send(process, name)
            self.journal(process, recovery.MIGRATION, "hand over")
            yield
            host.writable = False
            yield
            host.record(PASSIVE, epoch)
            given_away = True
            yield
            yield from self.activate_there(process, name, epoch)
        except (Lost, Failed):
            yield from self.revert(process, epoch, stopped, given_away)
            return
        host.record(PASSIVE, epoch + 1)
        yield
        host.journal = None
        self.is_safe(host, name)

    def ask(self, process: Process, name: str, *words: t.Any) -> Steps:
        """The other host's agent does it, and goes on with it when nobody waits for its answer any more."""
        agent = Process(self.call(process), name, ", ".join(map(str, words)))
        agent.asked_by = process
        agent.steps = getattr(self, f"run_{name}")(agent, process, *words)
        self.processes.append(agent)
        while agent.answer is None:
            yield
            self.call(process)
        if agent.answer:
            raise Failed(agent.answer)

    def activate_there(self, process: Process, name: str, epoch: int) -> Steps:
        try:
            yield from self.ask(process, "activate", name, epoch + 1)
        except Lost:
            # the link went while the other host was taking over: what its record says is what happened
            other = yield from self.at_rest(process)
            if other is None:
                raise
            if not guards.took_over(self.observe(other), epoch):
                raise Failed("it did not take over") from None

    def at_rest(self, process: Process) -> t.Generator[None, None, Host | None]:
        """The other host, once nothing is worked on there; None when that cannot be learnt in time."""
        self.disconnect(process)
        for dummy in range(self.choose.randrange(1, 5)):
            peer = self.reach(process)
            if peer is not None and peer.lock is None:
                return peer
            yield
        return None

    def revert(self, process: Process, epoch: int, stopped: bool, given_away: bool) -> Steps:
        host, seen = process.host, None
        if given_away:
            other = yield from self.at_rest(process)
            if not guards.may_go_on(self.observe(other) if other else None):
                self.journal(process, recovery.MIGRATION, "waiting for the other host")
                return
            seen = max(epoch, other.epoch if other else 0)
            epoch = seen + 1
        self.journal(process, recovery.MIGRATION, "going back")
        try:
            if stopped:
                yield from self.start_hypervisor(host, epoch, seen)
            host.vms = set(VMS)
        except (Lost, Failed):
            return
        yield
        host.journal = None

    def run_activate(self, agent: Process, process: Process, name: str, epoch: int) -> Steps:
        host = agent.host
        there = {one: disk.at(name) == len(disk.snapshots) - 1 and disk.head == disk.newest() for one, disk in host.disks.items()}
        behind = [one for one, is_there in there.items() if not is_there]
        refuse(guards.activate(self.observe(host, process), epoch, name, behind, name in host.complete()))
        facts = {operation.SOURCE: process.host.name, "vms": list(VMS), "epoch": epoch}
        host.journal = {"operation": recovery.MIGRATION, "started": "then", "step": "target: start the hypervisor", **facts}
        yield
        try:
            yield from self.start_hypervisor(host, epoch)
        except Failed:
            host.record(PASSIVE, epoch)
            raise
        host.vms = set(VMS)
        yield
        host.journal = None
        agent.answer = ""

    # ---- the same while the VMs run: `migrate unsecure`

    def merge(self, host: Host, vms: t.Iterable[str]) -> Steps:
        """What is in the overlays becomes part of the datasets, a VM after the other."""
        for vm in sorted(vms):
            for dataset, disk in host.disks.items():
                disk.head |= host.overlays[vm] & self.on[dataset]
            del host.overlays[vm]
            yield

    def note(self, process: Process, step: str, **facts: t.Any) -> None:
        self.journal(process, moving.OPERATION, step, **facts)

    def run_move(self, process: Process) -> Steps:
        host = process.host
        peer = self.reach(process)
        if peer is None:
            raise Lost
        refuse(guards.migrate_unsecure(self.observe(host), self.observe(peer)))
        yield
        self.take_lock(process)
        peer = self.lock_both(process, host.epoch)
        yield
        peer = self.call(process)
        me, other = self.observe(host, process), self.observe(peer, process)
        refuse(guards.migrate_unsecure(me, other))
        epoch = max(host.epoch, peer.epoch)
        try:
            if not moving.source(me):
                yield from self.leave_the_disks(process, epoch)
            peer = self.call(process)
            if not (peer.running and moving.is_same(host.journal, moving.target(self.observe(peer, process)))):
                entry = t.cast("dict[str, t.Any]", host.journal)
                self.note(process, moving.ARRIVE_THERE)
                yield
                yield from self.ask(process, "arrive", entry["set"], epoch + 1, entry["vms"], entry["saved"])
            yield from self.undecided(process)
            self.note(process, moving.MOVE)
            live, ended = moving.left_to_move(t.cast("moving.Entry", host.journal), self.observe(peer, process), host.vms)
            for vm in (*live, *ended):
                yield from self.move_there(process, vm)
            yield from self.hand_over(process, epoch)
        except (Lost, Failed):
            if host.role == PASSIVE:
                self.note(process, moving.WAITING)
            elif host.journal and host.journal["step"] == moving.MOVE and self.choose.random() < 0.5:
                self.note(process, moving.STAYS)
            raise

    def leave_the_disks(self, process: Process, epoch: int) -> Steps:
        """From here on the VMs write to their overlays only, and the disks are the same on both hosts when it is done."""
        host = process.host
        running = sorted(host.vms)
        saved = [vm for vm in running if self.choose.random() < self.saves]
        self.note(process, moving.OVERLAYS, vms=running, epoch=epoch + 1, begun=[], moved=[], saved=saved)
        yield
        for vm in saved:
            if vm in host.vms:
                host.images[vm] = self.view(host, vm)
                host.vms.discard(vm)
            yield
        for vm in sorted(set(running).difference(saved)):
            host.overlays[vm] = 0
            yield
        self.note(process, moving.LAST_SNAPSHOT)
        self.snapshot(host, name := self.new_set())
        yield
        self.note(process, moving.LAST_SYNC, set=name)
        yield from self.send(process, name)

    def run_arrive(
        self, agent: Process, process: Process, name: str, epoch: int, vms: list[str], saved: list[str]
    ) -> Steps:
        host = agent.host
        behind = [
            one for one, disk in host.disks.items() if disk.at(name) != len(disk.snapshots) - 1 or disk.head != disk.newest()
        ]
        refuse(guards.arrive(self.observe(host, process), epoch, name, behind, name in host.complete()))
        facts = {operation.SOURCE: process.host.name, "set": name, "epoch": epoch, "vms": vms, "saved": saved, "arrived": []}
        host.journal = {"operation": moving.OPERATION, "started": "then", "step": moving.ARRIVE, **facts}
        yield
        host.gate = moving.ARRIVING
        yield
        host.running = True
        host.journal["step"] = moving.ARRIVED
        agent.answer = ""

    def undecided(self, process: Process) -> Steps:
        """Moves that a process before this one has begun: the target's journal says what became of them."""
        host, peer = process.host, self.call(process)
        mine, arrived = t.cast("dict[str, t.Any]", host.journal), peer.arrived()
        peer.vms |= peer.paused & arrived  # its agent was killed between the journal and the VM
        peer.paused -= arrived
        for vm in mine["begun"]:
            if vm not in arrived:
                peer.paused.discard(vm)
                peer.overlays.pop(vm, None)
                if vm in host.paused:
                    host.vms.add(vm)
            host.paused.discard(vm)
        self.note(process, mine["step"], begun=sorted(arrived & set(mine["vms"])), moved=sorted(arrived & set(mine["vms"])))
        yield

    def move_there(self, process: Process, vm: str) -> Steps:
        host, peer = process.host, self.call(process)
        mine = t.cast("dict[str, t.Any]", host.journal)
        self.note(process, moving.MOVE, begun=sorted({*mine["begun"], vm}))
        yield
        peer = self.call(process)
        if vm in host.vms:
            peer.paused.add(vm)
        peer.overlays[vm] = host.overlays[vm] & self.choose.getrandbits(64)  # a part of it
        yield
        peer = self.call(process)
        runs = vm in host.vms
        if runs:
            host.vms.discard(vm)
            host.paused.add(vm)
        else:
            peer.paused.discard(vm)
        peer.overlays[vm] = host.overlays[vm]
        yield
        try:
            yield from self.ask(process, "land", vm, runs)
        except (Lost, Failed):
            other = yield from self.at_rest(process)
            if other is not None and vm not in other.arrived():  # proven: it is still here
                other.paused.discard(vm)
                other.overlays.pop(vm, None)
                host.vms |= host.paused & {vm}
                host.paused.discard(vm)
                mine = t.cast("dict[str, t.Any]", host.journal)
                self.note(process, moving.MOVE, begun=sorted(set(mine["begun"]) - {vm}))
            raise
        host.paused.discard(vm)
        mine = t.cast("dict[str, t.Any]", host.journal)
        self.note(process, moving.MOVE, moved=sorted({*mine["moved"], vm}))
        yield

    def run_land(self, agent: Process, process: Process, vm: str, runs: bool) -> Steps:
        host = agent.host
        if host.journal is None or not moving.is_ready(self.observe(host, process)):
            raise Failed("it takes nothing any more")
        yield
        host.journal = {**host.journal, "arrived": sorted({*host.journal["arrived"], vm})}
        yield
        host.paused.discard(vm)
        if runs:
            host.vms.add(vm)
        agent.answer = ""

    def hand_over(self, process: Process, epoch: int) -> Steps:
        host, peer = process.host, self.call(process)
        mine = t.cast("dict[str, t.Any]", host.journal)
        moves = sorted(set(mine["vms"]).difference(mine["saved"]))
        if set(moves) - peer.arrived() or host.vms:
            raise Failed("not all have moved")
        self.note(process, moving.STOP_HERE)
        yield
        self.stop_hypervisor(host, keep_writable=True)
        yield
        self.note(process, moving.HAND_OVER)
        yield
        host.writable = False
        yield
        self.call(process)
        host.record(PASSIVE, epoch)
        yield
        try:
            yield from self.ask(process, "takeover", mine["set"], epoch + 1, moves)
        except (Lost, Failed):
            other = yield from self.at_rest(process)
            if other is None or not guards.took_over(self.observe(other), epoch):
                raise
        host.record(PASSIVE, epoch + 1)
        yield
        host.overlays.clear()
        host.journal = None
        self.moved += 1

    def run_takeover(self, agent: Process, process: Process, name: str, epoch: int, vms: list[str]) -> Steps:
        host = agent.host
        refuse(guards.take_over(self.observe(host, process), epoch, name, vms))
        host.journal = {**t.cast("dict[str, t.Any]", host.journal), "step": moving.TAKE_OVER}
        yield
        yield from self.start_hypervisor(host, epoch)
        self.let_run(host, host.journal["saved"])
        yield
        yield from self.merge(host, host.counting())
        host.overlays.clear()
        host.journal = None
        agent.answer = ""

    def come_back(self, process: Process, vm: str) -> Steps:
        """To the source. What arrives there goes to a file of its own: the one that it left behind is whole until then."""
        host, peer = process.host, self.call(process)
        yield
        peer = self.call(process)
        peer.paused |= peer.vms & {vm}
        peer.vms.discard(vm)
        yield
        self.call(process)
        host.overlays[vm] = peer.overlays[vm]
        yield
        peer = self.call(process)
        peer.journal = {**t.cast("dict[str, t.Any]", peer.journal), "arrived": sorted(peer.arrived() - {vm})}
        yield
        peer = self.call(process)
        peer.paused.discard(vm)
        mine = t.cast("dict[str, t.Any]", host.journal)
        rest = {key: sorted(set(mine.get(key, ())) - {vm}) for key in ("begun", "moved")}
        self.note(process, moving.COMING_BACK, **rest)
        host.vms.add(vm)
        self.came_back += 1
        yield

    def depart(self, host: Host) -> None:
        """A host where nothing is left of a move."""
        host.paused.clear()
        host.running = host.running and host.now() == ACTIVE
        host.gate = host.gate if host.now() == ACTIVE else ""
        host.overlays.clear()
        host.journal = None

    def end_of_move(self, process: Process, decided: recovery.Decision) -> Steps:
        """This host is ACTIVE: the VMs that belong here are here, then nothing of a move is left on either."""
        host = process.host
        is_source = moving.source({"pending": host.journal})
        self.let_run(host, decided.vms)
        host.paused -= host.vms
        yield
        if is_source:
            self.note(process, "start the VMs")  # and so on: what is coming back is told by its lists, not by its step
            yield
            self.note(process, moving.COMING_BACK)
            for vm in decided.back:
                yield from self.come_back(process, vm)
            if process.connected:
                peer = self.call(process)
                if moving.is_same(host.journal, moving.target(self.observe(peer, process))):
                    self.depart(peer)
                    yield
        yield from self.merge(host, {*decided.here, *decided.back} & set(host.overlays))
        host.overlays.clear()
        host.paused.clear()

    def run_vmstart(self, process: Process) -> Steps:
        """`hvm_vm state=started all=true`: it takes no lock."""
        host = process.host
        if not host.running or host.gate != ACTIVE:
            raise Failed("the hypervisor is stopped")
        busy = CALLED.get(host.lock.name, host.lock.name) if host.lock else ""
        refuse(guards.vms(self.observe(host), "started", busy))
        self.let_run(host, VMS)
        yield

    def run_recover(self, process: Process, word: str, give_up: str = "") -> Steps:
        host = process.host
        self.take_lock(process)
        peer, decided = yield from self.decide(process, lambda me, other: recovery.recover(me, other, word, give_up))
        if decided.do == recovery.START and ((peer is None and host.now() != ACTIVE) or decided.lost):
            self.give_up(host.writes())
        if decided.do == recovery.PASS:
            host.writable = False
            yield
            host.running, host.gate = False, ""
            host.record(PASSIVE, decided.epoch)
            yield
            self.depart(host)
        elif decided.do == recovery.START:
            begun = self.pending(host)
            host.journal = {key: value for key, value in begun.items() if key != operation.SOURCE} if begun else None
            mine = moving.source({"pending": host.journal})
            if mine:
                seen = self.observe(peer, process) if peer else None
                self.note(process, moving.COMING_BACK, **moving.before_it_goes_on(mine, seen, decided.lost))
            yield
            if not host.running or host.now() != ACTIVE or host.gate != ACTIVE:  # the gate follows the record
                if host.role == PASSIVE and not moving.target({"pending": host.journal}) and not decided.here:
                    yield from self.go_back(host, host.complete()[-1])
                yield from self.start_hypervisor(host, decided.epoch, peer.epoch if peer else None)
            else:
                host.epoch = decided.epoch
                yield
            if host.overlays or decided.back or moving.source({"pending": host.journal}):
                yield from self.end_of_move(process, decided)
            if moving.source({"pending": host.journal}) is None and moving.target({"pending": host.journal}) is None:
                self.let_run(host, VMS)
            yield
            host.journal = None

    def run_failover(self, process: Process, dead_host: str, give_up: str, fence: str) -> Steps:
        """:param fence: "", "works", or "fails", and then the other host may be off or not."""
        host = process.host
        self.take_lock(process)
        to = host.complete()[-1]
        words = {"dead_host": dead_host, "give_up": give_up}
        peer, decided = yield from self.decide(process, lambda me, other: recovery.failover(me, other, to, **words))
        if decided.do != recovery.TAKE_OVER:
            return
        if fence and peer is None:
            if fence == "works" or self.choose.random() < 0.3:
                self.power_off(self.other(host))
            fenced = "" if fence == "works" else "no answer from its BMC"
            decided = recovery.failover(self.observe(host, process), None, to, **words, fenced=fenced)
            refuse(decided.findings)
        there = 0
        for disk in host.disks.values():
            there |= disk.snapshots[disk.at(to)][2]
        for vm in decided.here:
            there |= host.overlays[vm]
        self.give_up(there)
        target = moving.target(self.observe(host, process))
        facts: dict[str, t.Any] = {"epoch": decided.epoch}
        if target:  # what has arrived is known only here
            facts.update({key: target[key] for key in ("set", "vms", "saved", "arrived")})
        self.journal(process, recovery.FAILOVER, "stand down", **facts)
        yield
        if target and not host.arrived():
            self.depart(host)
            self.journal(process, recovery.FAILOVER, "departed", epoch=decided.epoch)
        if peer is not None:
            yield from self.stand_down(process)
        self.journal(process, recovery.FAILOVER, "back to the set")
        if not host.arrived():
            yield from self.go_back(host, to)
        self.journal(process, recovery.FAILOVER, "start")
        yield from self.start_hypervisor(host, decided.epoch, peer.epoch if peer else None)
        yield from self.merge(host, decided.here)
        host.overlays.clear()
        host.paused.clear()
        self.let_run(host, VMS)
        yield
        host.journal = None

    def run_rejoin(self, process: Process, choice: str, discard: str, winner: str, dead_host: str = "") -> Steps:
        host = process.host
        self.take_lock(process)
        theirs = recovery.Own({}, {})

        def rule(me: t.Any, other: t.Any) -> recovery.Decision:
            nonlocal theirs
            theirs = recovery.own(other, self.other(host).tree(), host.tree()) if other else recovery.Own({}, {})
            return recovery.rejoin(me, other, theirs, choice, discard, winner, dead_host)

        peer, decided = yield from self.decide(process, rule)
        if decided.do in (recovery.JOIN, recovery.DIVERGE, recovery.KEEP, recovery.DISCARD):
            host.epoch = max(host.epoch, decided.epoch)
            yield
        if decided.do == recovery.WIN:
            self.wins_alone += peer is None
            for dataset, (snapshots, head) in host.aside.items():  # what it wins with
                host.disks[dataset].snapshots, host.disks[dataset].head = list(snapshots), head
            host.aside = {}
            self.give_up(host.writes())
            for vm in set(host.overlays).difference(decided.here):
                del host.overlays[vm]  # half a copy
            self.journal(process, recovery.REJOIN, "the other stands down", epoch=decided.epoch)
            if peer is not None:
                yield from self.stand_down(process)
            yield from self.start_hypervisor(host, decided.epoch, peer.epoch if peer else None)
            yield from self.merge(host, decided.here)
            self.let_run(host, VMS)
            yield
            host.journal = None
        if decided.do in (recovery.DIVERGE, recovery.KEEP, recovery.DISCARD) and (
            peer.role == ACTIVE or (theirs.overlays and peer.role == PASSIVE)
        ):
            yield from self.stand_down(process)
        if decided.do in (recovery.JOIN, recovery.KEEP, recovery.DISCARD):
            peer = self.call(process)
            peer.writable = False
            yield
        if decided.do in (recovery.KEEP, recovery.DISCARD):
            common = rollback.common_set(host.tree(), peer.tree(), "p")
            if common is None:
                raise Failed("nothing in common")
            before = len(peer.kept)
            beside = 0
            for vm in peer.counting():
                beside |= peer.overlays[vm]
            peer.kept += [beside] if beside else []
            peer.overlays.clear()
            peer.journal = None
            peer.aside = peer.aside or {name: (list(disk.snapshots), disk.head) for name, disk in peer.disks.items()}
            yield
            self.call(process)
            for dummy in self.go_back(peer, common):
                yield
                self.call(process)
            if decided.do == recovery.DISCARD:
                peer.aside = {}
                for kept in peer.kept[before:]:
                    self.discarded |= kept
                del peer.kept[before:]
        if decided.do in (recovery.JOIN, recovery.KEEP, recovery.DISCARD):
            peer = self.call(process)
            peer.record(PASSIVE, decided.epoch)
            peer.aside = {}
            yield
            self.depart(self.call(process))

    # ---- what happens to them

    def begin(self, host: Host, name: str, *words: t.Any) -> Process:
        process = Process(host, name, ", ".join(map(str, words)))
        process.steps = getattr(self, f"run_{name}")(process, *words)
        self.processes.append(process)
        self.advance(process)
        return process

    def advance(self, process: Process, failure: Exception | None = None) -> None:
        try:
            if failure is None:
                next(process.steps)
            else:
                process.steps.throw(failure)  # type: ignore[attr-defined]
        except StopIteration:
            self.ended(process)
            self.log.append(f"{process} ended")
        except (Lost, Failed) as exc:
            self.ended(process)
            process.answer = str(exc) or "failed"
            self.log.append(f"{process} failed: {type(exc).__name__} {exc}")

    def disconnect(self, process: Process) -> None:
        """The connection is closed: the agent gives the lock back when it has nothing more to do."""
        process.connected = False
        self.let_go(process)

    def let_go(self, process: Process) -> None:
        peer = self.other(process.host)
        if peer.lock is process and not any(one.name in AGENTS and one.host is peer for one in self.processes):
            peer.lock = None

    def agents_notice(self) -> None:
        """Agents whose connection was cut find that out."""
        for host in (self.a, self.b):
            process = host.lock
            if process is not None and process.host is not host and (process not in self.processes or not process.connected):
                self.let_go(process)

    def cut(self) -> None:
        self.link = False
        for process in self.processes:
            process.connected = False

    def power_off(self, host: Host) -> None:
        host.power_off(self.choose.random() < 0.5)
        for process in list(self.processes):
            if process.host is host:
                self.processes.remove(process)  # its lock on the other host goes when the agent there notices
                process.connected = False
            elif process.connected:
                process.connected = False

    def power_on(self, host: Host) -> None:
        host.up, host.boot = True, host.boot + 1

    def kill(self, process: Process) -> None:
        self.ended(process, is_killed=True)
        process.connected = False
        if process.asked_by is not None:  # the agent is the end of the connection, and holds the lock
            process.asked_by.connected = False
            self.let_go(process.asked_by)

    def view(self, host: Host, vm: str) -> int:
        """What is on a VM's disks there."""
        found = host.overlays[vm] if vm in host.counting() else 0
        for disk in host.disks.values():
            found |= disk.head & self.own[vm]
        return found

    def write(self, host: Host) -> None:
        """A VM writes, having seen all that is on its disks."""
        bit = 1 << self.count
        vm = self.choose.choice(sorted(host.vms))
        self.before[self.count] = self.view(host, vm)
        self.count += 1
        dataset = DATASETS[self.count % len(DATASETS)]
        self.own[vm] |= bit
        self.on[dataset] |= bit
        if vm in host.overlays:
            host.overlays[vm] |= bit
        else:
            host.disks[dataset].head |= bit

    # ---- what must always hold

    def check(self) -> None:
        live = [host for host in (self.a, self.b) if host.up and host.gate]
        if sum(host.gate == ACTIVE for host in live) > 1:
            raise Broken("two hosts with their gates open")
        if self.a.vms & self.b.vms:
            raise Broken(f"{self.a.vms & self.b.vms} run on both hosts")
        for host in (self.a, self.b):
            self.check_where(host)
        kept = self.a.everything() | self.b.everything() | self.discarded
        if kept != self.written():
            raise Broken(f"writes are gone that nobody has discarded: {self.written() & ~kept:b}")
        for host in live:
            for vm in VMS if host.running and host.gate == ACTIVE else sorted(host.vms):
                # one that has moved is the other host's, until it comes back
                if (
                    vm in host.vms
                    or not moving.is_same(host.journal, self.target_of(host))
                    or vm not in self.other(host).arrived()
                ):
                    self.check_view(host, vm)

    def target_of(self, host: Host) -> dict[str, t.Any] | None:
        entry = self.other(host).journal
        return entry if entry and "arrived" in entry else None

    def check_where(self, host: Host) -> None:
        for vm in host.vms:
            is_active = host.gate == ACTIVE and host.writable and host.now() == ACTIVE
            has_moved = host.gate == moving.ARRIVING and vm in host.arrived()
            if not (host.running and (is_active or has_moved)):
                raise Broken(f"VMs run on {host.name}, which is not an ACTIVE host in order")
        entry = host.journal or {}
        if entry.get("operation") == moving.OPERATION and entry["step"] == moving.MOVE and host.vms & set(entry["saved"]):
            raise Broken(f"{host.vms & set(entry['saved'])} were saved to be restored when all others have moved, and run")
        other = self.target_of(host)
        roles = (host.role, self.other(host).role)
        if other and other["arrived"] and moving.is_same(host.journal, other) and roles == (ACTIVE, PASSIVE):
            # before the role has changed: what the overlays lie on is the same, here and there
            for side, vms in ((host, set(host.overlays)), (self.other(host), set(other["vms"]))):
                below = 0
                for vm in vms | set(other["arrived"]):
                    below |= self.own[vm]
                for disk in side.disks.values():
                    at = disk.at(other["set"])
                    if at < 0 or (disk.head ^ disk.snapshots[at][2]) & below:
                        raise Broken(f"the disks below the overlays of {side.name} were written")

    def check_view(self, host: Host, vm: str) -> None:
        there, own = self.view(host, vm), self.own[vm]
        if self.safe & own & ~there:
            raise Broken(f"{host.name} runs without writes that were reported safe: {self.safe & own & ~there:b}")
        missing = own & ~(there | self.given_up)
        if missing:
            raise Broken(f"{host.name} runs without writes that nobody gave up: {missing:b}")
        left = there
        while left:
            top = left.bit_length() - 1
            if self.before[top] & ~there:
                raise Broken(f"{host.name} runs with disks of two moments")
            left &= ~(1 << top)


def refuse(findings: t.Sequence[t.Any]) -> None:
    if findings:
        raise Failed("; ".join(finding.what for finding in findings))


# ---- schedules

#: Event -> weight. What is not possible just then is nothing.
EVENTS = {
    "advance": 60,
    "write": 14,
    "backup": 4,
    "sync": 1,
    "migrate": 4,
    "move": 8,
    "vmstart": 3,
    "vmstop": 1,
    "start": 3,
    "stop": 1,
    "recover": 5,
    "failover": 4,
    "rejoin": 4,
    "off": 3,
    "on": 6,
    "cut": 2,
    "heal": 4,
    "kill": 2,
    "fail": 2,
    "notice": 3,
    "acknowledge": 1,
}
#: The same for half of the schedules: moves that do not end, and what is done about them.
UNENDED = {**EVENTS, "advance": 80, "move": 6, "recover": 9, "kill": 5, "fail": 4, "on": 8, "notice": 8}
UNENDED.update(dict.fromkeys(("migrate", "backup", "sync", "start", "rejoin"), 1))


def words(pair: Pair, host: Host) -> str:
    """What an operator may say of the other host: that it is off when it is, or something wrong that no guard takes."""
    other = pair.other(host)
    return pair.choose.choice(["", "nobody", host.name, *([] if other.up else [other.name] * 6)])


def happen(pair: Pair, event: str) -> None:
    """One event of a schedule."""
    choose = pair.choose
    host = pair.a if choose.random() < 0.5 else pair.b
    if event == "advance":
        if pair.processes:
            pair.advance(choose.choice(pair.processes))
    elif event == "write":
        for one in (pair.a, pair.b):
            if one.vms:
                pair.write(one)
    elif event == "vmstop":
        if host.vms:
            host.vms.discard(choose.choice(sorted(host.vms)))
    elif event in ("off", "on"):
        if host.up == (event == "off"):
            pair.log.append(f"power {event}: {host.name}")
            (pair.power_off if event == "off" else pair.power_on)(host)
    elif event in ("cut", "heal"):
        if pair.link == (event == "cut"):
            pair.log.append(f"link: {event}")
            pair.cut() if event == "cut" else setattr(pair, "link", True)
    elif event in ("kill", "fail"):
        if pair.processes:
            process = choose.choice(pair.processes)
            pair.log.append(f"{event}: {process}")
            if event == "kill":
                pair.kill(process)
            else:
                pair.advance(process, Failed("a step failed"))
    elif event == "notice":
        pair.agents_notice()
    elif event == "acknowledge":
        if host.up and host.lock is None and not moving.forget(host.journal):
            pair.log.append(f"acknowledged on {host.name}: {host.journal}")
            host.journal = None
    else:
        if event in ("backup", "migrate", "move") and choose.random() < 0.8:
            host = pair.a if pair.a.vms else pair.b
        if host.up:
            begin(pair, host, event)


def begin(pair: Pair, host: Host, event: str) -> None:
    choose, other = pair.choose, pair.other(host)
    if event == "backup":
        arguments: tuple[t.Any, ...] = (True,)
    elif event == "sync":
        event, arguments = "backup", (False,)
    elif event == "start":
        arguments = (words(pair, host),)
    elif event == "recover":
        arguments = (words(pair, host), choose.choice(["", other.name, host.name]))
        if not other.up and choose.random() < 0.3:
            arguments = (other.name, other.name)  # that host is lost
    elif event == "failover":
        fence = choose.choice(["", "", "works", "fails"])
        # with a fence command the operator may be wrong: what counts is what that one says
        dead_host = other.name if fence and choose.random() < 0.7 else words(pair, host)
        arguments = (dead_host, choose.choice(["", other.name, host.name]), fence)
    elif event == "rejoin":
        arguments = (
            choose.choice(recovery.CHOICES),
            choose.choice(["", host.name, other.name]),
            choose.choice(["", "", host.name, other.name, "nobody"]),
            words(pair, host),
        )
    else:
        arguments = ()
    pair.log.append(f"{event} {arguments} on {host.name}")
    pair.begin(host, event, *arguments)


def play(seed: int, events: int) -> Pair:
    """One random schedule, and then the pair is made whole again. :raises Broken: with what led to it."""
    choose = random.Random(seed)
    pair = Pair(choose)
    try:
        weights = UNENDED if seed % 2 else EVENTS
        for event in choose.choices(list(weights), list(weights.values()), k=events):
            happen(pair, event)
            pair.check()
        if seed % 4 > 1:
            go_on_alone(pair)
        heal(pair)
    except Broken as exc:
        exc.add_note(f"schedule {seed} of {events} events:\n  " + "\n  ".join(pair.log))
        raise
    return pair


def go_on_alone(pair: Pair) -> None:
    """One host stays away, maybe for ever, and somebody who knows it does what the sentences advise on the other one.

    :raises Broken: when that does not run in the end.
    """
    host = pair.choose.choice([one for one in (pair.a, pair.b) if one.role == DIVERGED] or [pair.a, pair.b])
    other = pair.other(host)
    pair.log.append(f"---- {other.name} is lost")
    if other.up:
        pair.power_off(other)
    if not host.up:
        pair.power_on(host)
    pair.agents_notice()
    finish(pair)
    for give_up in ("", other.name):
        finish(pair, pair.begin(host, "recover", other.name, give_up))
        finish(pair, pair.begin(host, "failover", other.name, "", ""))
        finish(pair, pair.begin(host, "rejoin", "", "", host.name, other.name))
    if (host.now(), host.running, host.writable) != (ACTIVE, True, True):
        raise Broken(f"{host.name} does not go on alone: {host.now()}")


def heal(pair: Pair) -> None:
    """Power and link are there again, nothing is interrupted any more, and somebody does what the sentences advise.

    :raises Broken: when that does not end with one ACTIVE host that runs, one PASSIVE one, and a backup that arrives.
    """
    pair.log.append("---- healing")
    pair.link = True
    for host in (pair.a, pair.b):
        if not host.up:
            pair.power_on(host)
    pair.agents_notice()
    finish(pair)
    for attempt in range(8):
        for host in (pair.a, pair.b):
            finish(pair, pair.begin(host, "recover", ""))
        active = [host for host in (pair.a, pair.b) if host.now() == ACTIVE and host.running]
        host = active[0] if active else pair.choose.choice([pair.a, pair.b])
        choice = pair.choose.choice([recovery.KEEP, recovery.DISCARD])
        winner = host.name if attempt > 3 and not active else ""
        finish(pair, pair.begin(host, "rejoin", choice if attempt else "", pair.other(host).name, winner))
        for one in (pair.a, pair.b) if not active and attempt > 2 else ():
            finish(pair, pair.begin(one, "start", ""))
            finish(pair, pair.begin(one, "failover", "", pair.other(one).name, ""))
    for host in active:
        pair.let_run(host, VMS)  # hvm_vm state=started: whether VMs shall run is nothing that recover knows
    roles = sorted((host.now(), host.running, bool(host.vms), host.writable) for host in (pair.a, pair.b))
    if roles != [(ACTIVE, True, True, True), (PASSIVE, False, False, False)]:
        raise Broken(f"the pair does not become whole: {roles}")
    if pair.a.overlays or pair.b.overlays:
        raise Broken("overlays are left")
    active_host = pair.a if pair.a.running else pair.b
    before = pair.reports
    finish(pair, pair.begin(active_host, "backup", True))
    if pair.reports == before:
        raise Broken("the next backup does not arrive")
    for way in ("migrate", "move"):
        finish(pair, pair.begin(active_host, way))
        active_host = pair.other(active_host)
        if not active_host.vms:
            raise Broken("the next migration does not arrive")


def finish(pair: Pair, process: Process | None = None) -> None:
    for dummy in range(100):
        if not (process in pair.processes if process else pair.processes):
            return
        for one in list(pair.processes):
            pair.advance(one)
            pair.check()
        pair.agents_notice()
    raise Broken(f"{pair.processes} does not end")
