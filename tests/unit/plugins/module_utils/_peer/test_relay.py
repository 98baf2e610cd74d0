# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The relay: this host's end in this process, the other host's in a process of its own, over pipes instead of ssh."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer import relay
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import PeerLost
from ansible_collections.hvm.pair.plugins.module_utils._peer.flow import Limiter, Meter
from ansible_collections.hvm.pair.plugins.module_utils._peer.relay import Relay

CONFIG = PairConfig("office", Host("hv1", "192.0.2.11"), Host("hv2", "192.0.2.12"), ("ssd/shared",), "/var/lib/libvirt/hvm")
THERE = CONFIG._replace(me=CONFIG.peer, peer=CONFIG.me)

#: The other host: its sockets and files lie in a directory. LOG has a line for each that was dialled.
FAR = """
import os, sys, time
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer import relayed

directory = sys.argv[1]
with open(f"{directory}/dialled", "a") as log:
    log.write(f"{os.getpid()}\\n")
config = PairConfig("office", Host("hv2", "192.0.2.12"), Host("hv1", "192.0.2.11"), ("ssd/shared",), "/var/lib/libvirt/hvm")

def permitted(endpoint):
    if os.path.exists(f"{directory}/refuse"):
        raise HvmError(f"the relay to {endpoint} is refused: no VMs are moving", "Wait.")
    return f"{directory}/{endpoint.partition(':')[2] or endpoint}"

print("Welcome to hv2, a banner", flush=True)
signs = [float(sign) for sign in os.environ.get("SIGNS", "10 45").split()]
sys.exit(relayed.serve(lambda: config, permitted, 0, 1, *signs))
"""


class Far:
    """The other host."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        script = directory / "far.py"
        script.write_text(FAR)
        self.command = [sys.executable, "-S", str(script), str(directory)]
        self._listeners: list[socket.socket] = []

    def listen(self, name: str = "vm") -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.directory / name))
        listener.listen(64)
        listener.settimeout(20)
        self._listeners.append(listener)
        return listener

    def serve(self, answer: t.Callable[[socket.socket], None], name: str = "vm") -> None:
        listener = self.listen(name)

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, dummy = listener.accept()
                    threading.Thread(target=answer, args=(client,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()

    def processes(self) -> list[int]:
        with contextlib.suppress(FileNotFoundError):
            return [int(line) for line in (self.directory / "dialled").read_text().split()]
        return []

    def alive(self) -> list[int]:
        return [pid for pid in self.processes() if os.path.exists(f"/proc/{pid}")]

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()


@pytest.fixture(name="far")
def _far(tmp_path: pathlib.Path) -> t.Iterator[Far]:
    directory = tmp_path / "far"
    directory.mkdir()
    far = Far(directory)
    yield far
    far.close()


@pytest.fixture(name="near")
def _near(tmp_path: pathlib.Path, far: Far) -> t.Callable[..., Relay]:
    def near(**options: t.Any) -> Relay:
        uid, gid = os.geteuid(), os.getegid()
        command = options.pop("command", far.command)
        return Relay(CONFIG, str(tmp_path / "move" / "vm.sock"), "vm", uid, gid, command=command, **{"wait": 0.0, **options})

    return near


def connect(relayed: Relay) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(relayed.path)
    return client


def read_all(one: socket.socket) -> bytes:
    parts = []
    while part := one.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def echo(client: socket.socket) -> None:
    with client:
        while part := client.recv(1 << 16):
            client.sendall(part)


def until(true: t.Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("relay")]


# What goes over


def test_both_directions_and_the_end_of_one_before_that_of_the_other(far: Far, near: t.Callable[..., Relay]) -> None:
    heard: list[bytes] = []

    def answer(client: socket.socket) -> None:
        with client:
            heard.append(read_all(client))  # all of it has come, and its end, before a word is said
            client.sendall(b"and this is the answer" * 100_000)

    far.serve(answer)
    with near() as relayed:
        with connect(relayed) as client:
            client.sendall(b"question" * 300_000)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"and this is the answer" * 100_000
        until(lambda: not far.alive())
        assert heard == [b"question" * 300_000]
        assert (relayed.sent, relayed.received, relayed.said) == (2_400_000, 2_200_000, "")
    assert threads() == []


def test_thirteen_at_once_and_no_more_dial_at_the_same_time_than_sshd_lets_in(
    far: Far, near: t.Callable[..., Relay], tmp_path: pathlib.Path
) -> None:
    far.serve(echo)
    # As sshd counts: who has not been let in yet.
    script = f"""
    mkdir -p {tmp_path}/in; : >{tmp_path}/in/$$; ls {tmp_path}/in | wc -l >>{tmp_path}/counts; sleep 0.1; rm {tmp_path}/in/$$
    exec {shlex.join(far.command)}
    """
    with near(command=["sh", "-c", script]) as relayed:
        clients = [connect(relayed) for dummy in range(13)]
        for number, client in enumerate(clients):
            client.sendall(bytes([number]) * 1000)
        for number, client in enumerate(clients):
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == bytes([number]) * 1000
            client.close()
        assert relayed.said == ""
        assert len(far.processes()) == 13
        until(lambda: not far.alive())
    assert 1 < max(map(int, (tmp_path / "counts").read_text().split())) <= relay.AT_ONCE
    assert threads() == []
