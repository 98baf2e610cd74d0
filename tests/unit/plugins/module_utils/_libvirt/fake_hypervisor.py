# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A hypervisor of dicts: as much of libvirt as a checkpoint asks for, with a clock of its own.

libvirt's test driver has no external memory snapshots, no jobs and no agent. Time passes only when the code under test sleeps or
asks for a job's numbers, so every run is the same.
"""

from __future__ import annotations

import pathlib
import struct
import threading
import time
import typing as t
import xml.etree.ElementTree as ET

MIB = 1 << 20
RUNNING, PAUSED, OFF = 1, 3, 5
XML = """
<domain type="kvm"><name>{name}</name><uuid>{name}</uuid><description/><memory>{memory}</memory>
  <os><type arch="x86_64" machine="pc-q35-10.0">hvm</type></os>
  <devices>{disks}
    <disk type="file" device="cdrom"><target dev="sda"/><readonly/></disk>{agent}
  </devices>
</domain>
"""
DISK = '<disk type="block" device="disk"><source dev="/dev/zvol/tank/vm/{name}"/><target dev="vda"/></disk>'
CHANNEL = '<channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0" state="connected"/></channel>'


class Error(Exception):
    """As libvirt.libvirtError."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self._code = code

    def get_error_code(self) -> int:
        return self._code


class VM:
    """:ivar speed: MiB/s of its memory pass. :ivar dirty: MiB/s that the guest writes while it runs."""

    def __init__(self, name: str, memory: int = 512, speed: float = 400.0, dirty: float = 0.0, **more: t.Any) -> None:
        self.name, self.memory, self.speed, self.dirty = name, memory, speed, dirty
        self.state, self.reason = (PAUSED, 1) if more.get("frozen") else (RUNNING, 1)
        self.diskless, self.agent = more.get("diskless", False), more.get("agent", False)
        self.forbids: int = more.get("forbids", 0)  # virErrorNumber with which a checkpoint is refused
        self.unsavable: bool = more.get("unsavable", False)
        self.limit = self.downtime = 0.0
        self.remaining: float | None = None
        self.written, self.rounds, self.ended = 0.0, 1, threading.Event()
        self.failure: Error | None = None
        self.max_downtime, self.max_speed = 300, 1 << 30
        self.fs_frozen = False
        self.paused_at: float | None = None
        self.calls: list[str] = []
        #: What this QEMU does not answer until it is set; nothing is answered when there are no words.
        self.deaf: threading.Event | None = None
        self.deaf_to: tuple[str, ...] = ()
        self.mute = False  # it has not said yet that its pass has begun
        self.occupied = 0  # milliseconds, as libvirt sees it


class World:
    """The VMs, the clock, and `fault`, which is asked before every call and may raise."""

    def __init__(self, *vms: VM) -> None:
        self.vms = {vm.name: vm for vm in vms}
        self.now = 1000.0
        self.lock = threading.RLock()
        self.fault: t.Callable[[str, str], None] = lambda call, vm: None
        self.log: list[tuple[float, str, str]] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        time.sleep(0.0002)  # the threads of the passes have their turn
        with self.lock:
            self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for vm in self.vms.values():
            if vm.remaining is not None:
                self._pass(vm, seconds)

    def _pass(self, vm: VM, seconds: float) -> None:
        speed = min(vm.speed, vm.max_speed)
        sent = min(speed * seconds, t.cast("float", vm.remaining))
        vm.written += sent
        dirtied = vm.dirty * seconds if vm.state == RUNNING else 0.0
        vm.remaining = min(t.cast("float", vm.remaining) - sent + dirtied, vm.memory)
        if sent and vm.written > vm.rounds * vm.memory:
            vm.rounds += 1
        if vm.state != RUNNING and vm.remaining <= 0:
            vm.ended.set()
        elif vm.remaining <= max(speed * vm.max_downtime / 1000, 0.001):
            vm.state, vm.reason = PAUSED, 11
            vm.written += vm.remaining
            vm.remaining = 0.0
            vm.paused_at = self.now
            vm.ended.set()

    def connect(self) -> Connection:
        self.call("connect", "")
        return Connection(self)

    def call(self, name: str, vm: str) -> None:
        with self.lock:
            self.log.append((self.now, name, vm))
            self.fault(name, vm)

    def states(self) -> dict[str, int]:
        return {name: vm.state for name, vm in self.vms.items()}


class Connection:
    def __init__(self, world: World) -> None:
        self.world = world

    def lookupByName(self, name: str) -> Domain:
        self.world.call("lookup", name)
        if name not in self.world.vms:
            raise Error(42, f"no domain {name}")
        return Domain(self, self.world.vms[name])

    def listAllDomains(self, active: int = 0) -> list[Domain]:
        self.world.call("list", "")
        return [Domain(self, vm) for vm in self.world.vms.values() if not active or vm.state != OFF]

    def restore(self, path: str) -> None:
        was_running = struct.unpack_from("=16sIII", pathlib.Path(path).read_bytes())[3]
        self.restoreFlags(path, None, 2 if was_running else 4)

    def restoreFlags(self, path: str, dummy: object, flags: int) -> None:
        vm = self.world.vms[pathlib.Path(path).name.removesuffix(".state")]
        self.world.call("restore", vm.name)
        assert vm.state == OFF
        vm.state, vm.reason = (RUNNING, 3) if flags == 2 else (PAUSED, 1)

    def getDomainCapabilities(self, *dummy: object) -> str:
        return ""

    def close(self) -> None:
        pass

    def getLibVersion(self) -> int:
        return 11003000

    def getVersion(self) -> int:
        return 10000002


class Domain:
    def __init__(self, conn: Connection, vm: VM) -> None:
        self.conn, self.vm, self.world = conn, vm, conn.world

    def _call(self, name: str, *wanted: int) -> None:
        self.world.call(name, self.vm.name)
        self.vm.calls.append(name)
        if self.vm.deaf and name != "state" and (not self.vm.deaf_to or name in self.vm.deaf_to):
            assert self.vm.deaf.wait(20), "it was waited for without end"
        if wanted and self.vm.state not in wanted:
            raise Error(55, "Requested operation is not valid: domain is not running")

    def name(self) -> str:
        return self.vm.name

    def UUIDString(self) -> str:
        return self.vm.name

    def connect(self) -> Connection:
        return self.conn

    def isPersistent(self) -> bool:
        return True

    def isActive(self) -> bool:
        return self.vm.state != OFF

    def state(self) -> list[int]:
        self._call("state")
        return [self.vm.state, self.vm.reason]

    def XMLDesc(self, dummy: int) -> str:
        vm = self.vm
        disks = "" if vm.diskless else DISK.format(name=vm.name)
        return XML.format(name=vm.name, memory=vm.memory * 1024, disks=disks, agent=CHANNEL if vm.agent else "")

    def snapshotCreateXML(self, xml: str, flags: int) -> None:
        self._call("snapshot", RUNNING, PAUSED)
        vm, world = self.vm, self.world
        memory = ET.fromstring(xml).find("memory")
        assert memory is not None and flags == (4 | 256 if vm.state == RUNNING else 4)
        path = pathlib.Path(memory.get("file", ""))
        if vm.forbids:
            raise Error(vm.forbids, "cannot migrate a domain with <hostdev>")
        self._write(path, "LibvirtQemudPart")
        ran = vm.state == RUNNING
        with world.lock:
            vm.ended.clear()
            vm.remaining, vm.written, vm.rounds = float(vm.memory), 0.0, 1
        assert vm.ended.wait(20), "the pass was never brought to its end"
        with world.lock:
            vm.remaining = None
            failure, vm.failure = vm.failure, None
        if failure:
            path.unlink()
            raise failure
        world.call("snapshot ends", vm.name)
        self._write(path, "LibvirtQemudSave")
        if vm.diskless and ran:
            vm.state = RUNNING

    @staticmethod
    def _write(path: pathlib.Path, magic: str, was_running: bool = False) -> None:
        path.write_bytes(struct.pack("=16sIII", magic.encode(), 2, 8, was_running).ljust(200, b"\0"))

    def save(self, path: str) -> None:
        self._call("save", RUNNING, PAUSED)
        if self.vm.unsavable:
            raise Error(55, "cannot save a domain with <hostdev>")
        self._write(pathlib.Path(path), "LibvirtQemudSave", self.vm.state == RUNNING)
        self.vm.state, self.vm.reason = OFF, 5

    def abortJob(self) -> None:
        self._call("abort")
        self.fail(Error(78, "operation aborted: by client"))

    def fail(self, error: Error) -> None:
        with self.world.lock:
            if self.vm.remaining is not None and not self.vm.ended.is_set():
                self.vm.failure = error
                self.vm.ended.set()

    def jobInfo(self) -> list[int]:
        return [0 if self.vm.remaining is None else 2]

    def jobStats(self, flags: int = 0) -> dict[str, t.Any]:
        self._call("stats")
        vm = self.vm
        if flags:
            return {"downtime": 0}
        if vm.remaining is None or vm.mute:
            return {"type": 0}
        return {
            "memory_total": vm.memory * MIB,
            "memory_remaining": int(vm.remaining * MIB),
            "memory_processed": int(vm.written * MIB),
            "memory_iteration": vm.rounds,
        }

    def controlInfo(self) -> list[int]:
        return [2 if self.vm.occupied else 0, 0, self.vm.occupied]

    def migrateGetMaxDowntime(self) -> int:
        self._call("get downtime", RUNNING, PAUSED)
        return self.vm.max_downtime

    def migrateSetMaxDowntime(self, value: int) -> None:
        self._call(f"downtime {value}", RUNNING, PAUSED)
        self.vm.max_downtime = value

    def migrateSetMaxSpeed(self, value: int) -> None:
        self._call(f"speed {value}", RUNNING, PAUSED)
        self.vm.max_speed = value

    def suspend(self) -> None:
        self._call("suspend", RUNNING)
        self.vm.state, self.vm.paused_at = PAUSED, self.world.now

    def resume(self) -> None:
        self._call("resume", PAUSED)
        self.vm.state, self.vm.reason = RUNNING, 5

    def agentSetResponseTimeout(self, value: int) -> None:
        self._call(f"agent timeout {value}")

    def fsFreeze(self) -> int:
        self._call("fs freeze", RUNNING)
        self.vm.fs_frozen = True
        return 2

    def fsThaw(self) -> int:
        self._call("fs thaw", RUNNING)
        was, self.vm.fs_frozen = self.vm.fs_frozen, False
        return 2 if was else 0
