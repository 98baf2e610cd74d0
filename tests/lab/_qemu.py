# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest under a QEMU of this machine, without any lab host: for the tests of the guests themselves."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import typing as t
from collections.abc import Callable
from pathlib import Path

import _image

BOUND = 30.0  #: seconds that anything here may take


def wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, f"no {what} within {BOUND:.0f} s"
        time.sleep(0.02)


class Qemu:
    """One QEMU with a guest and its control socket.

    :param memory: MiB.
    :param disks: what follows `-drive if=none,id=...`.
    """

    def __init__(self, directory: Path, memory: int, disks: list[str], *more: str) -> None:
        control = directory / f"qmp-{time.monotonic_ns()}"
        share = _image.build_tools() / "root/usr/share"
        command = [*_image.tool("qemu-system-x86_64"), "-L", str(share / "qemu"), "-L", str(share / "seabios")]
        command += "-M pc -accel tcg,tb-size=32 -cpu qemu64 -nodefaults -display none -boot strict=on -rtc base=utc".split()
        command += ["-m", str(memory), "-qmp", f"unix:{control},server=on,wait=off"]
        for number, disk in enumerate(disks):
            command += ["-drive", f"if=none,id=disk{number},{disk}"]
            command += ["-device", f"virtio-blk-pci,drive=disk{number},bootindex={number + 1},write-cache=on"]
        self.process = subprocess.Popen([*command, *more], stdin=subprocess.DEVNULL)
        wait(lambda: control.exists() or self.process.poll() is not None, "control socket")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(control))
        self._file = self._socket.makefile("rw")
        self._answer()
        self.do("qmp_capabilities")

    def _answer(self) -> t.Any:
        while True:
            message = json.loads(self._file.readline())
            if "event" not in message:
                assert "error" not in message, message
                return message.get("return")

    def do(self, command: str, **arguments: t.Any) -> t.Any:
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        return self._answer()

    def monitor(self, line: str) -> str:
        said = self.do("human-monitor-command", **{"command-line": line})
        assert "Error" not in said, said
        return str(said)

    def migrate(self, uri: str) -> None:
        self.do("migrate", uri=uri)
        wait(lambda: self.do("query-migrate").get("status") in ("completed", "failed"), "end of the migration")
        assert self.do("query-migrate")["status"] == "completed"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._file.close()
        self._socket.close()
