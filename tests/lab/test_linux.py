# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does the Linux guest do what its agent and its power button say? Under a QEMU of this machine, without any lab host.

Not part of the unit tests: it wants the lab's tools (`_image.py`) and takes a minute. `pytest tests/lab/test_linux.py`
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import _linux
import _network
from _qemu import Qemu, wait


class World:
    """One disk, and the QEMUs that run the guest on it, one after another."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.disk = directory / "disk"
        self.made = _linux.build()
        shutil.copyfile(self.made / _linux.DISK, self.disk)
        self._qemus: list[Qemu] = []

    def start(self, *more: str, disk: Path | None = None) -> Machine:
        number = len(self._qemus)
        log, agent = self.directory / f"serial{number}", self.directory / f"agent{number}"
        boot = ["-kernel", str(self.made / _linux.KERNEL), "-initrd", str(self.made / _linux.INITRD), "-append", _linux.CMDLINE]
        channel = ["-chardev", f"socket,id=ga,path={agent},server=on,wait=off", "-device", "virtio-serial"]
        channel += ["-device", f"virtserialport,chardev=ga,name={_linux.AGENT}"]
        drive = f"file={disk or self.disk},format=raw,cache=writeback,file.locking=off"
        self._qemus.append(Qemu(self.directory, _linux.TUX.memory, [drive], *boot, "-serial", f"file:{log}", *channel, *more))
        return Machine(self._qemus[-1], log, agent)

    def head(self) -> bytes:
        with self.disk.open("rb") as disk:
            return disk.read(2048)

    def end(self) -> None:
        for qemu in self._qemus:
            qemu.kill()


class Machine:
    def __init__(self, qemu: Qemu, log: Path, agent: Path) -> None:
        self.qemu = qemu
        self._log = log
        self._agent = agent
        self._socket: socket.socket | None = None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def counts(self) -> list[_linux.Count]:
        return _linux.counts(self.log)

    def boot(self) -> _linux.Boot:
        wait(lambda: any(isinstance(one, _linux.Boot) for one in _linux.said(self.log)), "boot")
        return next(one for one in _linux.said(self.log) if isinstance(one, _linux.Boot))

    def hear(self, number: int = 3) -> _linux.Count:
        """Wait for that many more counts; the last one."""
        now = len(self.counts())
        wait(lambda: len(self.counts()) >= now + number, f"{number} counts")
        return self.counts()[-1]

    def send(self, command: str, **arguments: t.Any) -> None:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(30)
            self._socket.connect(str(self._agent))
            self._answers = self._socket.makefile("r")
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")

    def ask(self, command: str, **arguments: t.Any) -> t.Any:
        self.send(command, **arguments)
        answer = json.loads(self._answers.readline())
        if "error" in answer:
            raise LookupError(answer["error"]["desc"])
        return answer["return"]

    def ends(self) -> None:
        wait(lambda: self.qemu.process.poll() is not None, "end")
        assert self.qemu.process.returncode == 0
        assert "closed" in _linux.said(self.log)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.end()


def test_it_boots_counts_and_its_agent_answers(world):
    tux = world.start()
    assert tux.boot() == (True, 0)
    last = tux.hear()
    assert [one.number for one in tux.counts()] == list(range(1, last.number + 1))
    assert abs(last.date - time.time()) < 5
    assert tux.ask("guest-ping") == {}
    assert {"guest-shutdown", "guest-fsfreeze-freeze", "guest-set-time"} <= {
        one["name"] for one in tux.ask("guest-info")["supported_commands"] if one["enabled"]
    }


def test_it_sends_back_what_comes_to_its_port(world):
    """By way of QEMU's own network, which is told that the guest has its address in the lab."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forward = f"hostfwd=tcp:127.0.0.1:{port}-{_linux.ADDRESS4}:{_linux.ECHO_PORT}"
    user = f"user,id=net0,net={_network.VMS_GATEWAY4}/24,host={_network.VMS_GATEWAY4},restrict=on,{forward}"
    tux = world.start("-netdev", user, "-device", f"virtio-net-pci,netdev=net0,mac={_linux.TUX.mac},romfile=")
    tux.hear()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for words in (b"once\n", b"and again\n"):
            connection.sendall(words)
            assert connection.recv(100) == words


def test_a_freeze_stops_the_writer_and_makes_the_disk_whole(world):
    tux = world.start()
    tux.hear()
    assert _linux.needs_recovery(world.head())
    assert tux.ask("guest-fsfreeze-status") == "thawed"
    assert tux.ask("guest-fsfreeze-freeze") == 1
    assert tux.ask("guest-fsfreeze-status") == "frozen"
    time.sleep(1.5)
    last = tux.counts()[-1]
    assert not _linux.needs_recovery(world.head())
    shutil.copy(world.disk, world.directory / "frozen")
    time.sleep(1.5)
    assert tux.counts()[-1] == last
    assert tux.ask("guest-fsfreeze-thaw") == 1
    assert tux.ask("guest-fsfreeze-status") == "thawed"
    tux.hear()
    after = tux.counts()[last.number]
    assert after.number == last.number + 1
    assert after.uptime - last.uptime > 3
    assert _linux.needs_recovery(world.head())
    # fsync comes before the line, so that the file may be one ahead of it
    clean, found = world.start(disk=world.directory / "frozen").boot()
    assert clean
    assert found in (last.number, last.number + 1)


def test_a_disk_that_is_not_frozen_is_recovered(world):
    tux = world.start()
    tux.hear()
    tux.qemu.kill()
    last = tux.counts()[-1]
    clean, found = world.start().boot()
    assert not clean
    assert found in (last.number, last.number + 1)


def test_a_frozen_guest_refuses_to_shut_down(world):
    tux = world.start()
    tux.hear()
    tux.ask("guest-fsfreeze-freeze")
    with pytest.raises(LookupError):
        tux.ask("guest-shutdown")
    tux.ask("guest-fsfreeze-thaw")
    tux.send("guest-shutdown")
    tux.ends()


def test_time(world):
    tux = world.start()
    tux.hear()

    def ahead() -> float:
        return tux.ask("guest-get-time") / 1e9 - time.time()

    assert abs(ahead()) < 3
    tux.qemu.do("stop")
    time.sleep(4)
    tux.qemu.do("cont")
    assert ahead() < -2.5
    # without an argument it takes the time of the machine's clock, which went on
    tux.ask("guest-set-time")
    assert abs(ahead()) < 2
    tux.ask("guest-set-time", time=1_900_000_000 * 10**9)
    assert 0 <= tux.hear().date - 1_900_000_000 < 10


@pytest.mark.parametrize("way", ["agent", "button"])
def test_shutdown(world, way):
    tux = world.start()
    last = tux.hear().number
    if way == "agent":
        tux.send("guest-shutdown", mode="powerdown")
    else:
        tux.qemu.do("system_powerdown")
    tux.ends()
    assert f"down {'powerdown' if way == 'agent' else 'button'}" in _linux.said(tux.log)
    assert not _linux.needs_recovery(world.head())
    last = tux.counts()[-1].number
    clean, found = world.start().boot()
    assert clean
    assert found in (last, last + 1)


def test_a_saved_guest_goes_on_and_its_agent_answers(world):
    tux = world.start()
    tux.hear()
    tux.ask("guest-ping")
    tux.qemu.do("stop")
    ram = world.directory / "ram"
    tux.qemu.migrate(f"exec:cat > {ram}")
    tux.qemu.kill()
    last = tux.counts()[-1]
    again = world.start("-incoming", f"exec:cat {ram}")
    wait(lambda: again.qemu.do("query-status")["status"] != "inmigrate", "end of the restore")
    again.qemu.do("cont")
    again.hear()
    assert again.ask("guest-sync", id=42) == 42
    assert again.ask("guest-ping") == {}
    assert again.counts()[0].number == last.number + 1
