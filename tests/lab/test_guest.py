# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does the guest notice, and does the witness say so? The guest under a QEMU of this machine, without any lab host.

Not part of the unit tests: it wants the lab's tools (`_image.py`) and takes two minutes. `pytest tests/lab/test_guest.py`
"""

from __future__ import annotations

import itertools
import shutil
import socket
import struct
import subprocess
import sys
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import _guests
import _image
import _witness
from _qemu import Qemu, wait


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "beats.jsonl"
        self.code = _guests.program()
        self._qemus: list[Qemu] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.listen()

    def listen(self) -> None:
        command = [sys.executable, _witness.__file__, "collect", "--bind", "127.0.0.1", "--seconds", "300"]
        self.witness = subprocess.Popen([*command, "--file", str(self.file), f"{self.port}=vm"])
        wait(self.file.exists, "witness")

    def deaf(self) -> None:
        self.witness.terminate()
        assert self.witness.wait(5) == 0

    def disk(self, name: str, counter: int = 0, **values: int) -> str:
        image = bytearray(_guests.disk_image(self.code, **{"ticks": 2, **values}))
        image[8 * 512 : 9 * 512] = struct.pack("<I", counter) * 128
        (self.directory / name).write_bytes(image)
        return self.drive(name)

    def drive(self, name: str, form: str = "raw") -> str:
        return f"file={self.directory / name},format={form},cache.direct=off,file.locking=off"

    def start(self, disks: list[str], *more: str) -> Qemu:
        # as libvirt does it
        serial = f"udp,id=serial,host=127.0.0.1,port={self.port},localaddr=0.0.0.0,localport=0"
        more = ("-chardev", serial, "-device", "isa-serial,chardev=serial", *more)
        self._qemus.append(Qemu(self.directory, 32, disks, *more))
        return self._qemus[-1]

    def restore(self, disks: list[str]) -> Qemu:
        """Start from the file `ram`; as after virsh save, the VM was paused when it was written."""
        qemu = self.start(disks, "-incoming", f"exec:cat {self.directory / 'ram'}")
        wait(lambda: qemu.do("query-status")["status"] != "inmigrate", "end of the restore")
        qemu.do("cont")
        return qemu

    def beats(self) -> list[dict[str, t.Any]]:
        return _witness.load(self.file)

    def hear(self, number: int = 10) -> None:
        """Wait for that many more beats."""
        now = len(self.beats())
        wait(lambda: len(self.beats()) >= now + number, f"{number} beats")

    def report(self, after: float | None = None) -> _witness.Report:
        return _witness.analyse(self.beats(), after)["vm"]

    def end(self) -> None:
        for qemu in self._qemus:
            qemu.kill()
        if self.witness.poll() is None:
            self.deaf()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.end()


def test_it_boots_and_counts_at_its_rate(world):
    world.start([world.disk("one"), world.disk("two")])
    world.hear(40)
    report = world.report()
    assert report.verdict == []
    assert (report.continuous, report.lost, report.garbled) == (True, 0, 0)
    assert report.first == 0
    assert 0.08 < report.turn < 0.15
    assert {beat["where"] for beat in world.beats()} == {"2"}
    disks = [_guests.counter_of((world.directory / name).read_bytes()) for name in ("one", "two")]
    assert report.last <= disks[0] <= report.last + 2


def test_every_write_is_durable_before_it_counts(world):
    qemu = world.start([world.disk("one")])
    world.hear(3)
    before = qemu.do("query-blockstats")[0]["stats"]
    world.hear(20)
    after = qemu.do("query-blockstats")[0]["stats"]
    # One flush per write: QEMU makes the disk write-through when the driver does not know how to flush.
    assert after["flush_operations"] - before["flush_operations"] >= 19 or "writethrough" in qemu.monitor("info block")


def test_a_pause_is_an_interruption_by_both_clocks_and_nothing_else(world):
    qemu = world.start([world.disk("one")])
    world.hear()
    qemu.do("stop")
    time.sleep(3)
    qemu.do("cont")
    world.hear()
    report = world.report()
    assert report.verdict == []
    assert report.continuous
    assert 2.9 < report.interruption.seconds < 3.6
    assert report.interruption.guest_seconds in (2, 3, 4)


def test_many_pauses_at_any_instruction_are_never_reported(world):
    qemu = world.start([world.disk("one", ticks=1), world.disk("two")])
    world.hear()
    for number in range(120):
        qemu.do("stop")
        qemu.do("cont")
        time.sleep(0.013 + 0.0007 * (number % 40))
    world.hear()
    report = world.report()
    assert (report.verdict, report.continuous, report.lost) == ([], True, 0)


def test_a_snapshot_of_the_whole_vm_continues(world):
    world.disk("one")
    command = [*_image.tool("qemu-img"), "convert", "-f", "raw", "-O", "qcow2"]
    subprocess.run([*command, str(world.directory / "one"), str(world.directory / "one.qcow2")], check=True)
    drive = world.drive("one.qcow2", "qcow2")
    qemu = world.start([drive])
    world.hear()
    qemu.do("stop")
    qemu.monitor("savevm here")
    qemu.kill()
    world.start([drive], "-loadvm", "here")
    world.hear()
    report = world.report()
    assert (report.verdict, report.continuous) == ([], True)
    assert report.hosts[0].processes == 2


@pytest.fixture
def saved(world):
    """The drive of a VM whose RAM is in a file, as virsh save leaves it; a copy of its disk from before is in `older`."""
    drive = world.disk("one")
    qemu = world.start([drive])
    world.hear()
    qemu.do("stop")
    shutil.copy(world.directory / "one", world.directory / "older")
    qemu.do("cont")
    world.hear()
    qemu.do("stop")
    qemu.migrate(f"exec:cat > {world.directory / 'ram'}")
    qemu.kill()
    return drive


def test_a_saved_vm_continues(world, saved):
    world.restore([saved])
    world.hear()
    report = world.report()
    assert (report.verdict, report.continuous) == ([], True)


@pytest.mark.usefixtures("saved")
def test_ram_on_an_older_disk_is_seen(world):
    world.restore([world.drive("older")])
    world.hear()
    report = world.report()
    (where, found, counter) = report.found[0]
    assert report.disagreements == 1
    assert found < counter
    assert report.verdict == [f"vm disagreed with itself once: disk 1 held {found} instead of {counter}"]
    assert world.beats()[-1]["disagreements"] == 1
    assert where == "1"


def test_ram_restored_twice_is_seen_on_the_newer_disk(world, saved):
    qemu = world.restore([saved])
    world.hear()
    qemu.kill()
    world.restore([saved])
    world.hear()
    report = world.report()
    (one, two) = report.rollbacks[0]
    assert two <= one
    assert report.found[0][1] > report.found[0][2]
    assert report.verdict[0] == f"vm went back from {one} to {two}"
    assert report.verdict[1].startswith("vm disagreed with itself once: disk 1 held ")


def test_a_cold_boot_loses_no_count_and_is_seen(world):
    drive = world.disk("one")
    qemu = world.start([drive])
    world.hear()
    qemu.kill()
    world.hear(0)
    time.sleep(0.2)
    last = world.report().last
    world.start([drive])
    world.hear()
    report = world.report()
    assert report.boots[0][:2] == (None, 0)
    assert report.boots[1][0] == last
    assert report.boots[1][1] in (last, last + 1)
    assert report.verdict == [f"vm lost its RAM: cold boot at {report.boots[1][1]} after {last}"]


def test_disks_of_different_age_are_seen_at_boot(world):
    world.start([world.disk("one", 100), world.disk("two", 90), world.disk("three", 101)])
    world.hear()
    assert world.report().verdict == [
        "vm disagreed with itself 2 times: disk 2 held 90 instead of 100, disk 3 held 101 instead of 100"
    ]


def test_a_disk_one_write_behind_is_no_fault(world):
    world.start([world.disk("one", 100), world.disk("two", 99), world.disk("three", 99)])
    world.hear()
    report = world.report()
    assert (report.verdict, report.behind, report.first) == ([], 1, 100)


def test_but_not_in_an_order_that_no_power_cut_makes(world):
    world.start([world.disk("one", 100), world.disk("two", 99), world.disk("three", 100)])
    world.hear()
    report = world.report()
    assert report.verdict == ["vm disagreed with itself once: disk 3 held 100 instead of 99"]


def test_a_torn_sector_is_seen(world):
    drive = world.disk("one", 100)
    with (world.directory / "one").open("r+b") as handle:
        handle.seek(8 * 512 + 300)
        handle.write(struct.pack("<I", 77))
    world.start([drive])
    world.hear()
    assert world.report().verdict == ["vm disagreed with itself once: disk 1 held 77 instead of 100"]


def test_a_disk_error_is_seen_and_tried_again(world):
    path = world.disk("one").split(",")[0].removeprefix("file=")
    fault = "inject-error.0.event=pwritev,inject-error.0.errno=5,inject-error.0.once=on"
    world.start([f"format=raw,file.driver=blkdebug,file.image.filename={path},file.{fault.replace(',', ',file.')},werror=report"])
    world.hear(20)
    report = world.report()
    assert (report.errors, report.continuous) == (1, True)
    assert report.verdict == ["vm had 1 disk error"]
    error = next(beat for beat in world.beats() if beat["kind"] == "E")
    assert (error["where"], error["counter"] >> 8) == ("1", 0x43)


def _poke(port: int, address: int, value: int) -> None:
    """Change a dword of the guest's RAM through QEMU's gdb server."""

    def packet(body: str) -> bytes:
        return f"${body}#{sum(body.encode()) % 256:02x}".encode()

    with socket.create_connection(("127.0.0.1", port), 10) as gdb:
        for body in (f"M{address:x},4:{struct.pack('<I', value).hex()}", "D"):
            gdb.sendall(packet(body))
            said = b""
            while b"OK#" not in said:
                said += gdb.recv(1000) or pytest.fail(f"gdb server: {said!r}")


@pytest.mark.parametrize("page", range(4))
def test_a_torn_ram_image_is_seen(world, page):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    qemu = world.start([world.disk("one")])
    world.hear()
    qemu.monitor(f"gdbserver tcp:127.0.0.1:{port}")
    wait(lambda: qemu.do("query-status")["running"], "run")
    # Stopped between the check of the pattern and its renewal, the guest rightly sees nothing: then once more.
    for _try in range(3):
        _poke(port, 0x20000 + page * 0x10000 + 20, 0x1234 + (page << 24))
        qemu.do("cont")
        world.hear()
        report = world.report()
        if report.disagreements:
            break
    assert report.disagreements == 1
    assert report.verdict[0].startswith(f"vm disagreed with itself once: the RAM pattern held {0x1234} instead of ")


def test_it_goes_on_without_a_witness(world):
    qemu = world.start([world.disk("one")])
    world.hear()
    world.deaf()
    time.sleep(3)
    world.listen()
    world.hear()
    report = world.report()
    assert (report.verdict, report.continuous) == ([], True)
    assert report.lost > 15
    assert qemu.process.poll() is None


def test_ram_that_is_filled_has_to_be_saved(world):
    sizes = []
    for mib in (0, 24):
        qemu = world.start([world.disk(f"fill{mib}", fill_mib=mib)])
        world.hear()
        qemu.do("stop")
        qemu.migrate(f"exec:cat > {world.directory / 'ram'}")
        sizes.append((world.directory / "ram").stat().st_size)
        qemu.kill()
    assert 22 * _guests.MIB < sizes[1] - sizes[0] < 24 * _guests.MIB


def test_load_costs_no_truth_and_changes_the_disk(world):
    before = world.disk("one", size=_guests.MIB, load_kib=1024, load_sectors=200)
    content = (world.directory / "one").read_bytes()
    qemu = world.start([before])
    world.hear(20)
    for _number in range(10):
        qemu.do("stop")
        qemu.do("cont")
        time.sleep(0.1)
    world.hear()
    report = world.report()
    assert (report.verdict, report.continuous, report.lost) == ([], True, 0)
    now = (world.directory / "one").read_bytes()
    assert len(now) == len(content)
    blocks = [now[start : start + 32768] != content[start : start + 32768] for start in range(128 * 512, len(now), 32768)]
    assert all(blocks)
    assert now[9 * 512 : 128 * 512] == content[9 * 512 : 128 * 512]


@pytest.mark.parametrize("load_kib", [0, 2048])
def test_live_migration_continues(world, load_kib):
    drive = world.disk("one", load_kib=load_kib)
    qemu = world.start([drive])
    world.hear(20)
    for number in itertools.count():
        path = world.directory / f"live{number}"
        target = world.start([drive], "-incoming", f"unix:{path}")
        qemu.do("migrate-set-parameters", **{"max-bandwidth": 1 << 30})
        qemu.migrate(f"unix:{path}")
        qemu.kill()
        qemu = target
        world.hear()
        if number == 4:
            break
    report = world.report()
    assert (report.verdict, report.continuous, report.lost) == ([], True, 0)
    assert report.hosts[0].processes == 6


def test_two_copies_at_once_are_seen(world):
    drive = world.disk("one")
    qemu = world.start([drive])
    world.hear()
    qemu.do("stop")
    qemu.migrate(f"exec:cat > {world.directory / 'ram'}")
    shutil.copy(world.directory / "one", world.directory / "two")
    world.restore([world.drive("two")])
    world.hear()
    qemu.do("cont")
    world.hear(20)
    report = world.report()
    assert report.overlap.beats > 5
    assert report.verdict[0].startswith("vm ran twice at once for ")
    assert not report.continuous
