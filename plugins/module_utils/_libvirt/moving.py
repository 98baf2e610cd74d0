# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""One VM's memory, and what is in its overlays, to another host, while it runs or paused; it arrives paused.

The one place that starts a migration of libvirt's. libvirt lets a VM go without what its disks hold and says nothing, so every
disk that the VM writes to is an overlay here, and is named (VIR_MIGRATE_PARAM_MIGRATE_DISKS): `move` refuses any other.

It arrives paused because an answer can get lost: then the VM goes on here, and what is left there has never run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import human
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import overlay
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import state as vm_state
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.errors import NO_DOMAIN, code_of

#: virDomainMigrateFlags.
LIVE, PERSIST_DEST, ARRIVE_PAUSED, NON_SHARED_INC, CHANGE_PROTECTION = 1, 8, 32, 128, 256
ABORT_ON_ERROR, AUTO_CONVERGE, SYNCHRONOUS_WRITES = 1 << 12, 1 << 13, 1 << 18
_FLAGS = LIVE | PERSIST_DEST | ARRIVE_PAUSED | NON_SHARED_INC | CHANGE_PROTECTION | ABORT_ON_ERROR
#: VIR_MIGRATE_PARAM_*
URI, DISKS_URI, DISKS, BANDWIDTH = "migrate_uri", "disks_uri", "migrate_disks", "bandwidth"
#: virDomainState SHUTOFF; virDomainShutoffReason MIGRATED, and UNKNOWN: only libvirtd's memory has it.
_MOVED, _OFF = (5, 4), (5, 0)
#: Seconds between two looks at a job: what says when a VM was paused, too.
LOOK = 0.05
#: Milliseconds that QEMU may pause a VM for the end of its memory.
DOWNTIME = 300
#: Seconds in which something of a VM has to go over, and the other host to make ready for one that stands still; in which it has
#: to make ready for one that runs, or bring all that has come to its disks, for which QEMU waits when nothing is left; and in
#: which a move that was told to end has to.
STALL, FLUSH, ENDING = 60.0, 600.0, 30.0
#: Of a job's figures, those that change while anything goes over. All are 0 while the other host makes ready.
_GOES = ("memory_remaining", "memory_processed", "memory_iteration", "disk_remaining", "disk_processed")
#: QEMU, and with it the guest, waits for a write over there as long as it takes.
LOOK_AT = "Look at the pools of the other host (zpool status): one that is suspended lets all writes wait, those of VMs here too."


class Aborted(HvmError):
    """Somebody has told it to stop; the VM runs where it was."""


@dataclasses.dataclass(frozen=True)
class Way:
    """How one VM moves.

    :ivar memory, disks: paths of sockets; the same on both hosts, and what is between them is the caller's.
    :ivar throttle: its CPUs may be slowed down until its memory converges.
    :ivar limit: seconds for a live move; then `pause`, or it is given up. 0: none.
    :ivar pause: whether it is paused when its time is over.
    :ivar rate: MiB per second; 0: as fast as it goes.
    """

    memory: str
    disks: str
    throttle: bool = False
    limit: float = 0.0
    pause: bool = False
    rate: int = 0


class Report(t.NamedTuple):
    """:ivar paused: time.monotonic() at which the VM stood still; None when nobody has seen it.
    :ivar late: whether its time was over, and it was paused for that.
    """

    paused: float | None
    late: bool


class Seen(t.NamedTuple):
    """Of a job, at one look. Bytes, bytes per second, milliseconds; -1: not known."""

    memory_left: int
    memory_total: int
    disk_left: int
    dirty: int
    speed: int
    downtime: int

    @classmethod
    def of(cls, stats: t.Mapping[str, t.Any]) -> Seen:
        """From virDomainGetJobStats. Pure."""

        def number(key: str) -> int:
            return int(stats.get(key, -1))

        dirty = number("memory_dirty_rate")
        page = int(stats.get("memory_page_size", 4096))
        return cls(
            number("memory_remaining"),
            number("memory_total"),
            number("disk_remaining"),
            dirty * page if dirty >= 0 else -1,
            number("memory_bps"),
            number("downtime"),
        )


def left(seen: Seen) -> str:
    """What is left of a VM and how long it would stand still, as a sentence. Pure.

    Disks come first: until they are on the other host libvirt says 0 of memory, of a total of 0. Until QEMU has gone through the
    memory once, its own figure is only the limit that it was given.
    """
    words = [f"{human(seen.memory_left)} of {human(seen.memory_total)} of memory"] if seen.memory_total > 0 else []
    words += [f"{human(seen.disk_left)} of its disks"] if seen.disk_left > 0 else []
    if not words:
        return "its disks are made ready"
    downtime = max(seen.downtime, seen.memory_left * 1000 // seen.speed if seen.speed > 0 else 0)
    still = f"; it would stand still for {downtime} ms now" if downtime > 0 and seen.memory_total > 0 else ""
    return f"{' and '.join(words)} left{still}"


def flags(throttle: bool, synchronous: bool = True) -> int:
    return _FLAGS | (AUTO_CONVERGE if throttle else 0) | (SYNCHRONOUS_WRITES if synchronous else 0)


def move(
    source: t.Any,
    target: t.Any,
    name: str,
    disks: t.Sequence[overlay.Disk],
    way: Way,
    seen: t.Callable[[Seen], None] = lambda dummy: None,
    stop: t.Callable[[], bool] = lambda: False,
    watcher: t.Any = None,
    cuts: t.Sequence[t.Callable[[], None]] = (),
) -> Report:
    """:param source, target: connections to the libvirt of the two hosts.
    :param disks: of this VM that are overlays now; the same files are there, empty, on the other host.
    :param seen: told what is left, now and then. :param stop: asked whether to abort.
    :param watcher: a second connection to the source: the first one is busy while the VM moves.
    :param cuts: what ends the VM's connections to the other host, then libvirt's own: one after the other, when nothing goes over
        any more, or it does not end when it is told to.
    :raises Aborted: by `stop`.
    :raises HvmError: when it did not move; it runs on where it was (paused, when somebody had paused it).
    """
    dom = source.lookupByName(name)
    xml = dom.XMLDesc(0)
    every = [disk.dev for disk in overlay.disks(name, xml)]
    bare = sorted(set(every).difference(overlay.in_use(xml, disks)))
    if bare:
        raise HvmError(f"VM {name} writes to {', '.join(bare)} itself, and not to an overlay: it does not move")
    parameters: dict[str, t.Any] = {URI: f"unix://{way.memory}", DISKS_URI: f"unix://{way.disks}", DISKS: every}
    if way.rate:
        parameters[BANDWIDTH] = way.rate
    watch = _Watch(watcher or source, name, way, seen, stop, cuts)
    threading.Thread(target=watch.run, name=f"move {name}", daemon=True).start()
    guard = threading.Thread(target=watch.guard, name=f"guard {name}", daemon=True)
    guard.start()
    try:
        dom.migrate3(target, parameters, flags(way.throttle))
    except Exception as exc:
        watch.end()
        if has_moved(source, target, name):
            return watch.report()  # only the answer has got lost
        if watch.stood:
            raise HvmError(f"VM {name} did not move, and its connections were closed: {watch.stood}", LOOK_AT) from exc
        if watch.aborted and watch.report().late and not way.pause:
            what = f"VM {name} did not move: its memory did not converge within {way.limit:g} s"
            remedy = "Give it more time (hvm_move_limit), or let it be paused (hvm_move_mode=auto and hvm_move_fallback=direct)."
            raise HvmError(what, remedy) from exc
        if watch.aborted:
            raise Aborted(f"the move of {name} was stopped") from exc
        raise HvmError(f"VM {name} did not move: {_why(exc)}") from exc
    finally:
        watch.end()
        guard.join(ENDING)  # what it closes is the caller's to close next
    return watch.report()


def _why(exc: Exception) -> str:
    return str(exc).strip() or type(exc).__name__


def has_moved(source: t.Any, target: t.Any, name: str) -> bool:
    """Whether a VM stands on the target, whole, and was told to end here for that: proven by what libvirt says on both hosts."""
    return has_gone(source, name) and _stands(target, name)


def has_ended(conn: t.Any, name: str) -> bool:
    """Whether a VM is off, and not because it has moved."""
    try:
        dom = conn.lookupByName(name)
        return bool(vm_state.state_of(dom) == vm_state.STOPPED) and tuple(dom.state()) != _MOVED
    except Exception:  # noqa: BLE001  whatever it is: it is not proven
        return False


def has_gone(conn: t.Any, name: str) -> bool:
    """Whether its move has ended on this side."""
    try:
        return tuple(conn.lookupByName(name).state()) == _MOVED
    except Exception as exc:  # noqa: BLE001  libvirtError
        return code_of(exc) == NO_DOMAIN


def may_have_gone(conn: t.Any, name: str) -> bool:
    """Whether nobody can say any more that it has ended for another reason: libvirtd has been started since."""
    return has_gone(conn, name) or is_off_unknown(conn, name)


def is_off_unknown(conn: t.Any, name: str) -> bool:
    return tuple(conn.lookupByName(name).state()) == _OFF


def _stands(conn: t.Any, name: str) -> bool:
    try:
        return bool(vm_state.state_of(conn.lookupByName(name)) == vm_state.FROZEN)
    except Exception:  # noqa: BLE001  whatever it is: it is not proven
        return False


class _Watch:
    """Looks at a move, in a thread of its own: what is left, when the VM is paused, whether its time is over."""

    def __init__(
        self,
        conn: t.Any,
        name: str,
        way: Way,
        seen: t.Callable[[Seen], None],
        stop: t.Callable[[], bool],
        cuts: t.Sequence[t.Callable[[], None]] = (),
    ) -> None:
        """:ivar stood: why its connections were closed; "" when they were not."""
        self._conn, self._name, self._way, self._seen, self._stop, self._cuts = conn, name, way, seen, stop, cuts
        self._end = threading.Event()
        self._began = time.monotonic()
        self._paused: float | None = None
        self._late = False
        self._goes: list[int] = []
        self._since: float | None = None  # nothing has gone over
        self._left, self._remains = "the other host makes ready for it", True
        self._ready = False  # that host is: something has gone over
        self._told: float | None = None  # to end
        self.aborted = False
        self.stood = ""

    def end(self) -> None:
        self._end.set()

    def report(self) -> Report:
        return Report(self._paused, self._late)

    def run(self) -> None:
        while not self._end.is_set():
            try:
                dom = self._conn.lookupByName(self._name)
                self._look(dom)
            except Exception:  # noqa: BLE001  between two phases libvirt has no job; the move itself says what fails
                pass
            self._end.wait(LOOK)

    def guard(self) -> None:
        """Apart from what asks libvirt: that may hang as long as the VM's QEMU does."""
        while not self.stood:
            if self._end.wait(LOOK):
                return
            with contextlib.suppress(Exception):  # whether somebody wants it to stop cannot be read
                if self._told is None and self._stop():
                    self._told = time.monotonic()
            self.stood = self._overdue(time.monotonic()) if self._cuts else ""
        for cut in self._cuts:
            with contextlib.suppress(Exception):  # the next one ends more
                cut()
            if self._end.wait(ENDING):
                return

    def _overdue(self, now: float) -> str:
        told, since = self._told, self._since
        if told is not None and now > told + ENDING:
            return f"it was told to stop, and had not done so after {ENDING:g} s"
        limit = STALL if (self._remains if self._ready else self._paused is not None) else FLUSH
        if since is not None and now > since + limit:
            return f"nothing of it went over for {limit:g} s ({self._left})"
        return ""

    def _went(self, stats: t.Mapping[str, t.Any]) -> None:
        goes = [int(stats.get(key, 0)) for key in _GOES] if stats.get("type") else []
        if not any(goes):
            self._since = None if self._ready else self._began
        elif goes != self._goes:
            self._since, self._left, self._ready = time.monotonic(), left(Seen.of(stats)), True
            self._remains = bool(stats.get("memory_remaining") or stats.get("disk_remaining"))
        self._goes = goes

    def _look(self, dom: t.Any) -> None:
        state = vm_state.state_of(dom)
        if state == vm_state.FROZEN and self._paused is None:
            self._paused = time.monotonic()
        if self._stop() and not self.aborted:
            dom.abortJob()
            self.aborted = True
        stats = dom.jobStats()
        self._went(stats)
        if stats.get("type"):
            self._seen(Seen.of(stats))
        over = self._way.limit and time.monotonic() > self._began + self._way.limit
        if over and not self._late and state == vm_state.RUNNING and stats.get("type"):
            self._late = True
            if self._way.pause:
                dom.suspend()  # QEMU goes on with what is left, and nothing is added to it
            else:
                self._told = time.monotonic()
                dom.abortJob()
                self.aborted = True
