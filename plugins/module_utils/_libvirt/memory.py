# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The memory of running VMs into files, all of them up to one moment, at which all of them are paused.

libvirt's external memory snapshot with disks that are somebody else's to snapshot (`snapshot='manual'`, libvirt 8.2): the VM
runs while its memory is written, is paused for the end of it, and stays paused until somebody resumes it.

What happens to whom when is decided by `decide`, from numbers alone; `Passes` carries it out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
import typing as t
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.bounded import Call
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.errors import NO_DOMAIN, OPERATION_TIMEOUT, code_of

#: virDomainSnapshotCreateFlags: NO_METADATA (with metadata a VM cannot migrate), LIVE.
NO_METADATA, LIVE = 4, 256
#: virErrorNumber of what is refused before anything is done: NO_SUPPORT, CONFIG_UNSUPPORTED, ARGUMENT_UNSUPPORTED,
#: OPERATION_INVALID, OPERATION_UNSUPPORTED.
REFUSALS = frozenset((3, 67, 74, 55, 84))
#: virDomainState
PAUSED, GONE = 3, (0, 5, 6)
#: virDomainShutoffReason: the guest or its administrator ended it in good order; it was saved.
SHUT_DOWN, SAVED = 1, 5

#: MiB/s; virDomainMigrateSetMaxSpeed takes no 0. The other is more than any disk takes.
SLOW, FAST = 1, 1 << 20
#: Milliseconds; virDomainMigrateSetMaxDowntime. The last makes every pass end.
SHORTEST, ANY = 1, 1_000_000

#: Why a VM is given up, and seconds between two looks whether that has come.
DEAF = "its QEMU does not answer"
_WATCH = 0.5

#: How the memory of a VM gets into the set, or does not.
CHECKPOINT, SAVE, FROZEN = "checkpoint", "save", "frozen"
HOLD, GO, RELEASE, FORCE = "hold", "go", "release", "force"


@dataclasses.dataclass(frozen=True)
class Pace:
    """How several passes are brought to one end.

    :ivar strategy: "hold": a pass near its end is slowed down until all are, then all are let go at once. "free": each ends when
        it ends, and its VM waits paused for the slowest.
    :ivar near: bytes that a pass may have left to be near its end, or half of the memory of a small VM.
    :ivar ahead: seconds; it is near as well when it would end within these, so that a fast one is not missed between two looks.
    :ivar rounds: a pass that has been through the memory so many times gets no nearer: its guest writes faster than the disk.
    :ivar growth: a pass may write so many times the memory; each page that changes is written again.
    :ivar downtime: milliseconds for which a VM may be paused for the end of its pass.
    :ivar grace: seconds after its release in which a pass must end while others wait paused; four times as many when none does.
    :ivar limit: seconds for all passes; then each ends whatever it takes.
    :ivar stagger: the pass of a smaller VM begins when the others have at most so many times its memory left.
    :ivar passes: at once. libvirtd has 20 workers (max_workers), and a pass keeps one of them.
    :ivar interval: seconds between two looks.
    :ivar answer: seconds that a QEMU may take to answer while other VMs stand still; libvirt waits without a limit. Less than the
        30 s after which libvirt refuses a second question (QEMU_JOB_WAIT_TIME), or each refusal would be taken for an answer.
    """

    strategy: str = "hold"
    near: int = 64 << 20
    ahead: float = 0.3
    rounds: int = 6
    growth: float = 1.5
    downtime: int = 100
    grace: float = 2.0
    limit: float = 1800.0
    stagger: float = 4.0
    passes: int = 12
    interval: float = 0.05
    answer: float = 20.0


PACE = Pace()


class Seen(t.NamedTuple):
    """One pass at one look. Bytes, bytes/s, seconds.

    :ivar since: of its begin.
    :ivar released: since its release; None when it is not.
    :ivar steered: False for a plain save, and for a pass without numbers yet: nothing can hold those.
    """

    total: int
    remaining: int
    written: int = 0
    speed: float = 0.0
    iteration: int = 1
    since: float = 0.0
    released: float | None = None
    held: bool = False
    forced: bool = False
    done: bool = False
    steered: bool = True


def is_near(one: Seen, pace: Pace) -> bool:
    """Whether a pass is at its end, or will never be nearer to it, or is on its way there."""
    limit = min(max(pace.near, one.speed * pace.ahead), one.total / 2)
    close = one.remaining <= limit * (2 if one.held else 1)  # its guest goes on writing meanwhile
    return one.done or close or one.iteration >= pace.rounds or one.forced or one.released is not None


def decide(seen: t.Mapping[str, Seen], queued: int, elapsed: float, pace: Pace) -> dict[str, str]:
    """What to tell which pass now; telling it again changes nothing. Pure.

    HOLD: go slowly and do not end. GO: one that was held has fallen behind: fast again, and do not end. RELEASE: end when
    you can. FORCE: end, however long the VM is paused for it.

    :param seen: of all VMs, those too whose passes have not begun.
    :param queued: how many of these only wait for a place, since too many are going on.
    :param elapsed: seconds since the first pass began.
    """
    going = {name: one for name, one in seen.items() if one.steered and not (one.done or one.forced)}
    patience = pace.grace if any(one.done for one in seen.values()) else 4 * pace.grace
    orders = {
        name: FORCE
        for name, one in going.items()
        if elapsed > pace.limit or one.written > pace.growth * one.total or (one.released or 0.0) > patience
    }
    if pace.strategy == "free":
        return orders
    ready = sorted(
        (name for name, one in going.items() if one.released is None and is_near(one, pace)),
        key=lambda name: (-seen[name].since, name),
    )
    let = queued  # a place is worth more than the wait of the one that has it
    if all(is_near(one, pace) for one in seen.values()):
        let = len(ready)
    behind = [name for name, one in going.items() if one.held and not is_near(one, pace)]
    return {**dict.fromkeys(behind, GO), **dict.fromkeys(ready[:let], RELEASE), **dict.fromkeys(ready[let:], HOLD), **orders}


def may_begin(total: int, others: t.Iterable[Seen], pace: Pace) -> bool:
    """Whether it is time for the pass of a VM with so many bytes: a held pass still creeps, so none is held for long. Pure.

    :param others: the passes that are going on.
    """
    return pace.strategy == "free" or all(is_near(one, pace) or one.remaining <= pace.stagger * total for one in others)


# ---- what libvirt is asked


def snapshot_xml(xml: str, path: str) -> str:
    """The domainsnapshot of a VM: memory into `path`, every disk that can be written left to us. Pure.

    A disk that is not listed would get a new overlay, so all are. The image's header will say that the VM was paused, since
    libvirt leaves it so: its manifest says whether it ran.

    :param xml: of the domain, live.
    """
    root = ET.Element("domainsnapshot")
    ET.SubElement(root, "name").text = "hvm-checkpoint"
    ET.SubElement(root, "memory", snapshot="external", file=path)
    disks = ET.SubElement(root, "disks")
    for target, writable in targets(xml):
        ET.SubElement(disks, "disk", name=target, snapshot="manual" if writable else "no")
    return ET.tostring(root, encoding="unicode")


def targets(xml: str) -> list[tuple[str, bool]]:
    """``(target, whether the guest can write to it)`` of every disk: not to a CD-ROM, a read-only or an empty one. Pure."""
    found = []
    for disk in ET.fromstring(xml).findall("./devices/disk"):
        target = disk.find("target")
        fixed = disk.get("device") == "cdrom" or disk.find("readonly") is not None or disk.find("source") is None
        found.append((target.get("dev", "") if target is not None else "", not fixed))
    return found


# ---- the hands


@dataclasses.dataclass
class Member:
    """One VM of a checkpoint.

    :ivar path: of its image while that is being written.
    :ivar memory: KiB.
    :ivar ran: False when it was frozen before: it is not resumed then.
    :ivar method: CHECKPOINT, SAVE or FROZEN; changes when the first is refused.
    :ivar refused: why, in libvirt's words.
    :ivar stays: libvirt leaves it paused; it resumes one without a disk that can be written.
    :ivar error: why it has no image.
    :ivar ended: it stopped during its pass; True in good order, False when not, None when it goes on.
    :ivar began, paused, resumed: moments of the clock; 0.0 when they did not come.
    :ivar extra: what the owner of the pass has made of the image (`Passes.finish`).
    """

    name: str
    path: str
    memory: int
    ran: bool = True
    method: str = CHECKPOINT
    refused: str = ""
    stays: bool = True
    error: str = ""
    ended: bool | None = None
    began: float = 0.0
    paused: float = 0.0
    resumed: float = 0.0
    touched: bool = False
    saving: bool = False
    whole: bool = False
    extra: t.Any = None
    dom: t.Any = None
    thread: threading.Thread | None = None
    seen: Seen | None = None
    held: bool = False
    forced: bool = False
    released: float | None = None
    downtime: int | None = None

    def is_busy(self) -> bool:
        return self.thread is not None and self.thread.is_alive()


class Interrupted(HvmError):
    """Somebody wants this process to end."""


class Passes:
    """Bring all members to the moment at which they are paused, their memory in files; and let them go on.

    Each member has a connection of its own: of one libvirtd takes five requests at a time (max_client_requests); a pass is one.

    :param connect: () -> a connection.
    :param fallback: methods, in their order, for a VM that libvirt refuses to take a checkpoint of. None left: that is an error.
    :param save: (member): save it the plain way; it is off afterwards. Begins when all other passes are near their end.
    :param finish: (member) -> what becomes its `extra`; called in its own thread once its image is written, while others go on.
    :param flush: called once before the end of the passes: what they have written goes to the disks while the VMs still run,
        so the snapshot need not wait for it.
    :param stop: () -> whether somebody wants this process to end.
    """

    def __init__(
        self,
        connect: t.Callable[[], t.Any],
        members: t.Sequence[Member],
        fallback: t.Sequence[str] = (),
        pace: Pace = PACE,
        save: t.Callable[[Member], None] = lambda member: t.cast("None", member.dom.save(member.path)),
        say: t.Callable[..., None] = lambda *dummy, **facts: None,
        finish: t.Callable[[Member], t.Any] = lambda dummy: None,
        flush: t.Callable[[], None] = lambda: None,
        stop: t.Callable[[], bool] = lambda: False,
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.members = sorted(members, key=lambda member: (-member.memory, member.name))  # the longest passes begin first
        self._connect, self._fallback, self._pace, self._say = connect, fallback, pace, say
        self._save, self._finish, self._flush, self._stop, self._clock, self._sleep = save, finish, flush, stop, clock, sleep
        self._conns: list[t.Any] = []
        self._control: t.Any = None
        self._flushing: threading.Thread | None = None
        self._asked: tuple[Member, float] | None = None  # the VM whose QEMU is waited for, and since when
        self._given_up = False

    # -- to the moment

    def open(self) -> None:
        """Everything that can be done before the first pass."""
        for member in self.members:
            conn = self._connect()
            self._conns.append(conn)
            member.dom = conn.lookupByName(member.name)
        self._control = self._connect()
        self._conns.append(self._control)

    def run(self) -> None:
        """Return when every member is paused, saved, or has ended; those of method FROZEN are paused last of all.

        :raises HvmError: when one failed, or does not answer; the caller calls `let_go`, whatever happens here.
        """
        work = Call(self._to_the_end)
        while not work.wait(_WATCH):
            asked = self._asked
            if asked and time.monotonic() - asked[1] > self._pace.answer:
                self._given_up = True
                asked[0].error = DEAF
                raise self._failure(asked[0])
        if work.error:
            raise work.error

    @contextlib.contextmanager
    def _asking(self, member: Member) -> Iterator[None]:
        """Around what QEMU itself is asked by the one that leads all passes."""
        self._asked = member, time.monotonic()
        try:
            yield
        finally:
            self._asked = None
        if self._given_up:  # the answer has come after all, and nobody waits for it any more
            raise Interrupted("the checkpoint was given up", "Run it again.")

    def _to_the_end(self) -> None:
        began = told = self._clock()
        queue = [member for member in self.members if member.method in (CHECKPOINT, SAVE)]
        while True:
            if self._stop():
                raise Interrupted("the checkpoint was interrupted", "Run it again.")
            going = [member for member in self.members if member.is_busy()]
            self._look_for_failures()
            now = self._clock()
            for member in going:
                self._look(member, now)
            for member in self._next(queue, going, now):
                self._begin(member)
                going.append(member)
            queue = [member for member in queue if not member.touched]
            if not going and not queue and not self._late():
                break
            full = len(going) >= self._pace.passes
            orders = decide(self._seen(now), len(queue) if full else 0, now - began, self._pace)
            if RELEASE in orders.values() and not queue and not self._flushed():
                orders = {name: HOLD if order == RELEASE else order for name, order in orders.items()}
            for member in going:
                self._tell(member, orders.get(member.name, ""), now)
            if now - told >= 1:
                told = now
                self._progress(going)
            self._sleep(self._pace.interval)
        for member in self.members:
            if member.method in (CHECKPOINT, SAVE) and member.ended is None and not member.whole:
                member.error = member.error or "its pass ended without a word"
        self._look_for_failures()
        self._freeze()

    def _next(self, queue: t.Sequence[Member], going: t.Sequence[Member], now: float) -> list[Member]:
        """Whose turn it is. A plain save stops its VM at once, so it comes when all others are near their end."""
        room = max(self._pace.passes - len(going), 0)
        seen = self._seen(now)
        if queue:
            running = [seen[member.name] for member in going]
            turn = []
            for member in queue[:room]:
                if may_begin(member.memory * 1024, running, self._pace):
                    turn.append(member)
                    running.append(seen[member.name])
            return turn
        late = self._late()
        names = {member.name for member in late}
        near = all(is_near(one, self._pace) for name, one in seen.items() if name not in names)
        return late[:room] if near else []

    def _late(self) -> list[Member]:
        return [m for m in self.members if m.method == SAVE and not m.saving and not m.is_busy() and m.ended is None]

    def _seen(self, now: float) -> dict[str, Seen]:
        return {m.name: self._as_seen(m, now) for m in self.members if m.method in (CHECKPOINT, SAVE)}

    def _begin(self, member: Member) -> None:
        member.began, member.seen = self._clock(), None
        member.touched, member.saving = True, member.method == SAVE
        member.thread = threading.Thread(target=self._pass, args=(member,), name=f"pass of {member.name}", daemon=True)
        member.thread.start()

    def _pass(self, member: Member) -> None:
        """In the member's own thread: it blocks for as long as the pass takes."""
        work = self._checkpoint if member.method == CHECKPOINT else self._plain_save
        try:
            work(member)
        except BaseException as exc:  # noqa: BLE001  whatever it is, the main thread must hear of it
            falls_back = False
            with contextlib.suppress(Exception):
                falls_back = self._falls_back(member, exc)
            if not falls_back:
                member.error = str(exc) or type(exc).__name__

    def _checkpoint(self, member: Member) -> None:
        xml = member.dom.XMLDesc(0)
        member.stays = any(writable for dummy, writable in targets(xml))
        if self._pace.strategy == "hold":
            with contextlib.suppress(Exception):  # QEMU's own 300 ms are a lot of memory: it would end too soon
                member.downtime = int(member.dom.migrateGetMaxDowntime())
                member.dom.migrateSetMaxDowntime(SHORTEST)
        member.dom.snapshotCreateXML(snapshot_xml(xml, member.path), NO_METADATA | (LIVE if member.ran else 0))
        member.paused = self._clock()
        member.extra = self._finish(member)
        member.whole = True

    def _plain_save(self, member: Member) -> None:
        member.paused = self._clock()
        self._save(member)
        member.whole = True

    def _falls_back(self, member: Member, exc: BaseException) -> bool:
        """libvirt refused it before it did anything, and there is another way."""
        refused = code_of(exc) in REFUSALS or (member.method == SAVE and isinstance(exc, HvmError))
        if not refused or self._gone(member) or member.dom.state()[0] in GONE:
            return False
        rest = self._fallback if member.method == CHECKPOINT else self._fallback[self._fallback.index(SAVE) + 1 :]
        if not rest:
            return False
        member.refused, member.method, member.paused = str(exc), rest[0], 0.0
        return True

    def _gone(self, member: Member) -> bool:
        """Whether the VM has ended by itself; `ended` says how."""
        try:
            state, reason = member.dom.state()[:2]
        except Exception as exc:  # noqa: BLE001
            if code_of(exc) == NO_DOMAIN:
                member.ended = False
            return member.ended is not None
        if state in GONE and not (member.method == SAVE and reason == SAVED):
            member.ended = reason == SHUT_DOWN
        return member.ended is not None

    def _look_for_failures(self) -> None:
        for member in self.members:
            if member.error and member.ended is None and not self._gone(member):
                raise self._failure(member)

    def _failure(self, member: Member) -> HvmError:
        return HvmError(f"the checkpoint of VM {member.name} failed: {member.error}", self._remedy(member))

    def _remedy(self, member: Member) -> str:
        if member.error == DEAF:
            return (
                f"No set was taken. See virsh domcontrol {member.name}. hvm_vm state=poweredoff ends it; "
                "the next backup takes its disks as they are."
            )
        alive = False
        with contextlib.suppress(Exception):
            member.dom.connect().getLibVersion()  # isAlive does not notice without libvirt's event loop
            alive = True
        if not alive:
            return "No set was taken. libvirt went away in the middle: see journalctl -u libvirtd, then do it again."
        return "No set was taken. See that there is room for the memory of all VMs, then do it again."

    def _look(self, member: Member, now: float) -> None:
        """The numbers of a pass; nothing is lost when they cannot be had this time."""
        with self._asking(member), contextlib.suppress(Exception):
            dom = self._control.lookupByName(member.name)
            stats = dom.jobStats()
            total = int(stats.get("memory_total", 0))
            if not total:
                # until QEMU has said that it has begun, libvirt answers for it (qemuDomainGetJobInfoMigrationStats)
                dom.migrateGetMaxDowntime()
                return
            before, remaining = member.seen, int(stats.get("memory_remaining", 0))
            passed = now - member.began - before.since if before else now - member.began
            ahead = (before.remaining if before else total) - remaining
            speed = ahead / passed if ahead > 0 and passed > 0 else (before.speed if before else 0.0)
            written, rounds = int(stats.get("memory_processed", 0)), int(stats.get("memory_iteration", 1))
            member.seen = Seen(total, remaining, written, speed, rounds, now - member.began)

    def _as_seen(self, member: Member, now: float) -> Seen:
        one = member.seen or Seen(member.memory * 1024, member.memory * 1024)
        return one._replace(
            since=now - member.began if member.began else 0.0,
            released=None if member.released is None else now - member.released,
            held=member.held,
            forced=member.forced,
            done=not member.is_busy() and (member.whole or member.ended is not None),
            steered=member.method == CHECKPOINT and member.seen is not None,
        )

    def _tell(self, member: Member, order: str, now: float) -> None:
        if not order or (order == HOLD and member.held):
            return
        # its pass has just ended, or nothing can hold it: both do no harm
        with self._asking(member), contextlib.suppress(Exception):
            dom = self._control.lookupByName(member.name)
            if member.downtime is None:
                member.downtime = int(dom.migrateGetMaxDowntime())
            dom.migrateSetMaxDowntime({RELEASE: self._pace.downtime, FORCE: ANY}.get(order, SHORTEST))
            dom.migrateSetMaxSpeed(SLOW if order == HOLD else FAST)
        member.held = order == HOLD
        member.forced = member.forced or order == FORCE
        if order in (RELEASE, FORCE) and member.released is None:
            member.released = now

    def _flushed(self) -> bool:
        if self._flushing is None:
            self._flushing = threading.Thread(target=self._flush_quietly, name="flush", daemon=True)
            self._flushing.start()
        return not self._flushing.is_alive()

    def _flush_quietly(self) -> None:
        with contextlib.suppress(Exception):  # it only makes the snapshot faster
            self._flush()

    def _progress(self, going: t.Sequence[Member]) -> None:
        known = [(member.name, member.seen) for member in going if member.seen]
        if known:
            text = "{} {} of {} MiB left, {:.0f} MiB/s"
            words = [text.format(name, one.remaining >> 20, one.total >> 20, one.speed / 2**20) for name, one in known]
            self._say(f"memory: {'; '.join(words)}", memory={name: one._asdict() for name, one in known})

    def _freeze(self) -> None:
        frozen = [member for member in self.members if member.method == FROZEN and member.ran and member.ended is None]

        def one(member: Member) -> None:
            member.touched = True
            member.paused = self._clock()
            member.thread = threading.current_thread()
            try:
                member.dom.suspend()
            except Exception as exc:  # noqa: BLE001
                member.error = str(exc)

        for member in in_parallel(one, frozen, self._pace.answer):
            member.error = DEAF
        self._look_for_failures()

    # -- and back

    def active(self) -> set[str]:
        """VMs that run or are paused now, members or not; as the next daemon says it, when this one has died."""
        try:
            found = self._control.listAllDomains(1)  # VIR_CONNECT_LIST_DOMAINS_ACTIVE
        except Exception:  # noqa: BLE001  what else it may be, the next one says again
            self._control = self._connect()
            self._conns.append(self._control)
            found = self._control.listAllDomains(1)
        return {dom.name() for dom in found}

    def astray(self) -> list[str]:
        """Members that should be paused now and are not: killed, or resumed by somebody. Their images fit nothing.

        That a daemon has died lets none of them go on: the next one is asked, since it looks at QEMU itself.
        """

        def one(member: Member) -> None:
            with contextlib.suppress(Exception):
                if self._state(member) == PAUSED:
                    paused.append(member.name)

        paused: list[str] = []
        asked = [m for m in self.members if m.ended is None and (m.method == FROZEN or (m.method == CHECKPOINT and m.stays))]
        in_parallel(one, asked)
        return sorted({member.name for member in asked} - set(paused))

    def _state(self, member: Member) -> int:
        try:
            return int(member.dom.state()[0])
        except Exception as exc:
            if code_of(exc) == NO_DOMAIN:
                raise
        conn = self._connect()
        self._conns.append(conn)
        return int(conn.lookupByName(member.name).state()[0])

    def let_go(self, timeout: float = 120.0) -> dict[str, str]:
        """Every VM that ran runs again, whatever has happened. Waits `timeout` seconds for a libvirt that is not there.

        Passes that still go on are aborted, which leaves their VMs running.

        :return: name -> why it is not known to run.
        """
        errors: dict[str, str] = {}
        deadline = self._clock() + timeout
        touched = [member for member in self.members if member.touched]

        def one(member: Member) -> None:
            try:
                error = self._let_go(member, deadline)
            except Exception as exc:  # noqa: BLE001
                error = str(exc)
            if error:
                errors[member.name] = error

        for member in in_parallel(one, touched, timeout + self._pace.answer):
            errors[member.name] = DEAF
        return errors

    def _let_go(self, member: Member, deadline: float) -> str:
        dom, fresh = member.dom, None
        while True:
            try:
                if dom is None:
                    fresh = self._connect()
                    dom = fresh.lookupByName(member.name)
                if member.is_busy() and member.method == FROZEN:
                    error = DEAF  # one that answers late is paused then
                elif member.is_busy():
                    error = "its pass does not end"
                    self._abort(member)
                elif self._goes_on(member, dom):
                    return ""
                else:
                    error = "it is still paused"
            except Exception as exc:  # noqa: BLE001  libvirt may be on its way back
                if code_of(exc) == NO_DOMAIN:
                    return ""
                error, dom = DEAF if code_of(exc) == OPERATION_TIMEOUT else str(exc), None
            finally:
                if fresh is not None and dom is None:
                    with contextlib.suppress(Exception):
                        fresh.close()
                    fresh = None
            if self._clock() > deadline:
                return error
            self._sleep(0.1)

    def _abort(self, member: Member) -> None:
        conn = self._connect()  # that of the member is taken by its pass
        try:
            conn.lookupByName(member.name).abortJob()
        finally:
            conn.close()

    def _goes_on(self, member: Member, dom: t.Any) -> bool:
        """Resume it if it is paused and ran before; True when nothing is left to do."""
        state = dom.state()[0]
        if state == PAUSED and member.ran:
            dom.resume()
            member.resumed = self._clock()
            state = dom.state()[0]
        return state != PAUSED or not member.ran

    def settle(self) -> None:
        """After everything: what was set for the passes is as it was, connections are closed. Nothing of it can fail."""
        for member in self.members:
            if self._given_up or member.is_busy():
                continue  # QEMU forgets it when it ends; nobody waits for one more answer
            with contextlib.suppress(Exception):
                if member.method == CHECKPOINT and member.whole:
                    # QEMU's own figure of the pause: our moment is the end of it
                    member.paused -= int(member.dom.jobStats(1).get("downtime", 0)) / 1000  # VIR_DOMAIN_JOB_STATS_COMPLETED
            with contextlib.suppress(Exception):
                if member.downtime is not None:
                    member.dom.migrateSetMaxDowntime(member.downtime)
        for conn in self._conns:
            with contextlib.suppress(Exception):
                conn.close()
        self._conns = []


def in_parallel(work: t.Callable[[Member], None], members: t.Sequence[Member], limit: float | None = None) -> list[Member]:
    """For all at once: none of them waits for another's answer.

    :param limit: seconds; None: as long as it takes.
    :return: those for which it did not end within that time.
    """
    threads = [threading.Thread(target=work, args=(member,), daemon=True) for member in members]
    for thread in threads:
        thread.start()
    deadline = None if limit is None else time.monotonic() + limit
    for thread in threads:
        thread.join(None if deadline is None else max(deadline - time.monotonic(), 0.0))
    return [member for member, thread in zip(members, threads, strict=True) if thread.is_alive()]
