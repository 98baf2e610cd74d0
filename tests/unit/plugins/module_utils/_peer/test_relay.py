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
from ansible_collections.hvm.pair.plugins.module_utils._peer import relay, wire
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


class Cut(Meter):
    """Ends the connection in the midst of a file."""

    def add(self, count: int) -> None:
        super().add(count)
        if self.bytes > 1_000_000:
            self.abort()


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


def test_what_is_ready_is_taken_first_and_nobody_waits_for_a_connection(
    far: Far, near: t.Callable[..., Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNS", "0.1 2")
    far.serve(echo)
    with near(ping_every=0.1, silence=2.0) as relayed:
        relayed.ready(2)
        relayed.ready(2)
        before = far.processes()
        assert len(before) == 2
        time.sleep(2.5)  # longer than the silence
        for expected in (2, 2, 3):
            with connect(relayed) as client:
                client.sendall(b"?")
                assert client.recv(1) == b"?"
                client.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""
            assert len(far.processes()) == expected
        assert relayed.said == ""
    until(lambda: not far.alive())


def test_the_socket_over_there_is_connected_when_somebody_connects_and_not_before(far: Far, near: t.Callable[..., Relay]) -> None:
    listener = far.listen()
    with near() as relayed:
        relayed.ready(1)
        listener.settimeout(0.5)
        with pytest.raises(TimeoutError):
            listener.accept()
        listener.settimeout(20)
        with connect(relayed) as client:
            client.sendall(b"one")
            server, dummy = listener.accept()
            assert server.recv(10) == b"one"
            server.close()
        # One who does not wait until ssh is there would use it up for nobody.
        connect(relayed).close()
        listener.settimeout(1.5)
        with pytest.raises(TimeoutError):
            listener.accept()
        until(lambda: len(far.processes()) == 2 and not far.alive())
        assert relayed.said == ""


def test_one_who_has_spoken_and_gone_is_heard(far: Far, near: t.Callable[..., Relay]) -> None:
    listener = far.listen()
    with near() as relayed:
        with connect(relayed) as client:
            client.sendall(b"last words")
        server, dummy = listener.accept()
        with server:
            assert read_all(server) == b"last words"


def test_a_socket_that_is_not_there_yet_is_waited_for(far: Far, near: t.Callable[..., Relay]) -> None:
    with near(wait=20.0) as relayed, connect(relayed) as client:
        client.sendall(b"early")
        until(far.processes)
        time.sleep(0.5)
        assert relayed.said == ""
        server, dummy = far.listen().accept()
        with server:
            assert server.recv(100) == b"early"


# What goes wrong


def fails(relayed: Relay, client: socket.socket) -> str:
    """The client's connection ends, and why."""
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""
    client.close()
    until(lambda: relayed.said)
    return relayed.said


def test_what_the_other_host_refuses(far: Far, near: t.Callable[..., Relay]) -> None:
    (far.directory / "refuse").touch()
    with near() as relayed:
        assert fails(relayed, connect(relayed)) == "hv2: the relay to vm is refused: no VMs are moving. Wait."
        with pytest.raises(HvmError, match="hv2: the relay to vm is refused: no VMs are moving"):
            relayed.ready(3)
    assert threads() == [] and far.alive() == []


def test_what_is_allowed_is_asked_again_when_it_is_used(far: Far, near: t.Callable[..., Relay]) -> None:
    far.serve(echo)
    with near() as relayed:
        relayed.ready(1)
        (far.directory / "refuse").touch()
        assert fails(relayed, connect(relayed)) == "hv2: the relay to vm is refused: no VMs are moving. Wait."


def test_nobody_listens_over_there(far: Far, near: t.Callable[..., Relay]) -> None:
    with near() as relayed:
        assert fails(relayed, connect(relayed)) == (
            f"hv2: nobody listens at the socket {far.directory}/vm. What should listen there has not begun, or has ended."
        )
    with near(wait=0.3) as relayed:
        assert f"nobody listens at the socket {far.directory}/vm, for 0 s" in fails(relayed, connect(relayed))
    (far.directory / "vm").touch()
    with near() as relayed:
        assert "Connection refused" not in fails(relayed, connect(relayed))


def test_another_pair_and_another_version(far: Far, near: t.Callable[..., Relay], monkeypatch: pytest.MonkeyPatch) -> None:
    with near() as relayed:
        monkeypatch.setattr(relayed, "_config", CONFIG._replace(pair="factory"))
        assert fails(relayed, connect(relayed)) == (
            "hv2: this host belongs to the pair office with hv1, not to factory with hv1. "
            "Correct hvm_hosts in the inventory and run hvm.pair.install."
        )
    monkeypatch.setattr(relay, "PROTOCOL", 99)
    with near() as relayed:
        assert "hv2: the two hosts run different versions of hvm.pair." in fails(relayed, connect(relayed))


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["sh", "-c", "echo 'ssh: connect to host 192.0.2.12 port 22: No route to host' >&2; exit 255"], "No route to host"),
        (["sh", "-c", "exit 3"], "ssh ended with 3"),
        (["sh", "-c", "exec >&- 2>&-; sleep 60"], "ssh ended with -9"),
        (["sh", "-c", "echo '{}'; exec sleep 60"], "what it says cannot be understood"),
        (["sh", "-c", "echo '{\"error\": 7}'; exec sleep 60"], "it failed, and did not say why"),
    ],
)
def test_a_connection_that_does_not_come_about(
    near: t.Callable[..., Relay], command: list[str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with near(command=command) as relayed:
        said = fails(relayed, connect(relayed))
        assert said.startswith("the connection to hv2 for vm ended: ") and why in said
        assert said.endswith("Look at hv2 and at the link between the two hosts.")
        with pytest.raises(PeerLost, match="the connection to hv2 for vm ended"):
            relayed.ready(1)


def test_a_greeting_that_does_not_come_is_not_waited_for_for_ever(
    near: t.Callable[..., Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "HELLO", 0.3)
    with near(command=["sleep", "60"]) as relayed:
        assert "it has not answered within 0 s" in fails(relayed, connect(relayed))


def test_ssh_is_not_installed(near: t.Callable[..., Relay]) -> None:
    with near(command=["/nowhere/ssh"]) as relayed:
        assert fails(relayed, connect(relayed)).startswith("/nowhere/ssh is not installed on this host.")


def test_when_sshd_turns_away_who_comes_with_too_many_it_is_tried_again(
    far: Far, near: t.Callable[..., Relay], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PAUSE", 0.05)
    far.serve(echo)
    turned = "echo 'kex_exchange_identification: Connection closed by remote host' >&2; exit 255"
    counts = f"echo x >>{tmp_path}/tries; test $(wc -l <{tmp_path}/tries) -gt 2"
    script = f"{counts} || {{ {turned}; }}; exec {shlex.join(far.command)}"
    with near(command=["sh", "-c", script]) as relayed:
        relayed.ready(1)
        assert (tmp_path / "tries").read_text() == "x\n" * 3
    with near(command=["sh", "-c", turned]) as relayed, pytest.raises(PeerLost, match="kex_exchange_identification"):
        relayed.ready(1)


@pytest.mark.parametrize("which", ["ssh", "far"])
def test_a_connection_that_dies_in_the_midst(far: Far, near: t.Callable[..., Relay], which: str) -> None:
    listener = far.listen()
    # As sshd's child the far end is a process of its own, and only its output ends with it.
    command = far.command if which == "ssh" else ["sh", "-c", f"{shlex.join(far.command)}; exit 255"]
    with near(command=command) as relayed:
        client = connect(relayed)
        client.sendall(b"x")
        server, dummy = listener.accept()
        assert server.recv(1) == b"x"
        pid = next(iter(relayed._processes)).pid if which == "ssh" else far.processes()[0]
        os.kill(pid, signal.SIGKILL)
        assert server.recv(1) == b""
        said = fails(relayed, client)
        assert said.startswith("the connection to hv2 for vm ended: " + ("ssh ended with -9" if which == "ssh" else "Killed"))
        server.close()
    until(lambda: not far.alive())
    assert threads() == []


def test_another_host_that_stands_still_is_gone_after_a_while(
    far: Far, near: t.Callable[..., Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNS", "0.1 60")
    far.serve(echo)
    with near(ping_every=0.1, silence=2.0) as relayed:
        client = connect(relayed)
        for dummy in range(2):
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            time.sleep(2.5)  # to have nothing to say is not to stand still
        os.kill(far.processes()[0], signal.SIGSTOP)
        assert "it has said nothing for 2 s" in fails(relayed, client)
    until(lambda: not far.alive())


def test_the_far_end_does_not_stay_when_nobody_says_anything_any_more(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that was cut: its ssh server still has the connection."""
    monkeypatch.setenv("SIGNS", "0.1 0.8")
    for endpoint in (b"vm", b"write:file"):
        with subprocess.Popen(far.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin and process.stdout
            hello = b'{"protocol": %d, "pair": "office", "me": "hv1", "endpoint": "%s"}\n' % (relay.PROTOCOL, endpoint)
            process.stdin.write(hello)
            process.stdin.flush()
            assert process.stdout.readline() == b"Welcome to hv2, a banner\n"
            assert process.stdout.readline() == b'{"ok": true}\n'
            assert process.wait(15) == 1
    assert os.listdir(far.directory).count("file.partial") == 0


def test_one_that_died_while_nobody_used_it_is_replaced(far: Far, near: t.Callable[..., Relay]) -> None:
    far.serve(echo)
    with near() as relayed:
        relayed.ready(1)
        os.kill(far.processes()[0], signal.SIGKILL)
        with connect(relayed) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
        assert relayed.said == ""
        assert len(far.processes()) == 2


def test_the_end_ends_everything_at_once(far: Far, near: t.Callable[..., Relay], tmp_path: pathlib.Path) -> None:
    listener = far.listen()
    relayed = near(wait=60.0)
    with relayed:
        silent = connect(relayed)  # one who says nothing
        servers = [listener.accept()[0]]
        busy = connect(relayed)
        busy.settimeout(0.5)
        servers.append(listener.accept()[0])
        with pytest.raises(TimeoutError):
            busy.sendall(b"x" * 20_000_000)
        listener.close()
        (far.directory / "vm").unlink()
        waits = connect(relayed)
        relayed.ready(1)
        began = time.monotonic()
    assert time.monotonic() - began < relay.PATIENCE
    assert threads() == []
    until(lambda: not far.alive())
    for server in servers:
        server.close()
    for client in (silent, busy, waits):
        client.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        client.close()
    assert not os.path.exists(relayed.path)
    assert relayed.said == ""
    relayed.close()


def test_what_is_dialled_while_it_ends_does_not_stay(near: t.Callable[..., Relay]) -> None:
    with near(command=["sleep", "60"]) as relayed:
        pass
    began = time.monotonic()
    with pytest.raises(PeerLost, match="ssh ended with -9"):
        relayed.ready(1)
    assert time.monotonic() - began < relay.HELLO / 2


def test_one_that_does_not_want_to_end_is_killed(near: t.Callable[..., Relay], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "PATIENCE", 0.5)
    relayed = near(command=["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])
    with relayed:
        client = connect(relayed)
        until(lambda: relayed._processes)
        process = next(iter(relayed._processes))
        time.sleep(0.3)
    assert process.wait(5) == -signal.SIGKILL
    client.close()
    assert threads() == []


def test_more_than_a_relay_carries(far: Far, near: t.Callable[..., Relay], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MOST", 2)
    far.serve(echo)
    with near() as relayed:
        first, second = connect(relayed), connect(relayed)
        for client in (first, second):
            client.sendall(b"x")
            assert client.recv(1) == b"x"
        assert fails(relayed, connect(relayed)).startswith(f"more than 2 connections at {relayed.path}.")
        first.sendall(b"y")
        assert first.recv(1) == b"y"
        first.close()
        second.close()


# The socket


def test_only_its_owner_reaches_the_socket(near: t.Callable[..., Relay], tmp_path: pathlib.Path) -> None:
    (tmp_path / "move").mkdir(mode=0o777)
    (tmp_path / "move").chmod(0o777)
    with near() as relayed:
        there = os.lstat(relayed.path)
        assert (stat.S_ISSOCK(there.st_mode), stat.S_IMODE(there.st_mode)) == (True, 0o600)
        assert stat.S_IMODE(os.stat(tmp_path / "move").st_mode) == 0o711


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
def test_the_socket_is_qemus_and_its_directory_is_not(tmp_path: pathlib.Path) -> None:
    (tmp_path / "move").mkdir()
    os.chown(tmp_path / "move", 64055, 109)
    with Relay(CONFIG, str(tmp_path / "move" / "vm.sock"), "vm", 64055, 109):
        there, directory = os.lstat(tmp_path / "move" / "vm.sock"), os.stat(tmp_path / "move")
        assert (there.st_uid, there.st_gid) == (64055, 109)
        assert (directory.st_uid, directory.st_gid) == (0, 0)


def test_a_socket_that_was_left_over_gives_way_and_one_that_is_used_does_not(near: t.Callable[..., Relay]) -> None:
    with near() as first:
        with pytest.raises(HvmError, match=f"somebody listens at {first.path}"), near():
            pass
        assert os.path.exists(first.path)
    left = socket.socket(socket.AF_UNIX)
    left.bind(first.path)
    left.close()
    with near():
        pass
    pathlib.Path(first.path).write_text("precious")
    with pytest.raises(HvmError, match=f"{first.path} is there, and is no socket"), near():
        pass
    assert pathlib.Path(first.path).read_text() == "precious"


def test_a_socket_of_another_is_not_removed_at_the_end(near: t.Callable[..., Relay]) -> None:
    with near() as relayed:
        os.unlink(relayed.path)
        pathlib.Path(relayed.path).write_text("another's")
    assert os.path.exists(relayed.path)


@pytest.mark.parametrize("path", ["/nowhere/at/all.sock", f"{'x' * 120}", "file/vm.sock"])
def test_a_place_where_no_socket_can_be(tmp_path: pathlib.Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HvmError, match="no socket can be made at"):
        relay.listen(str(tmp_path / path) if path[0] != "/" else path)


def test_a_directory_of_everybody_is_no_place_for_it(tmp_path: pathlib.Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(HvmError, match="is everybody's"):
        relay.listen(str(tmp_path / "vm.sock"))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777


# Files


def test_a_file_is_fetched_and_pushed(far: Far, tmp_path: pathlib.Path) -> None:
    content = os.urandom(3_000_000)
    (far.directory / "disk").write_bytes(content)
    meter = Meter("disk")
    done = relay.fetch(CONFIG, "disk", str(tmp_path / "here"), meter, command=far.command)
    assert (tmp_path / "here").read_bytes() == content
    assert (done.size, done.sent, meter.bytes, meter.expected) == (3_000_000,) * 4
    assert relay.push(CONFIG, "back", str(tmp_path / "here"), Meter("back"), command=far.command) == done
    assert (far.directory / "back").read_bytes() == content
    until(lambda: not far.alive())


def test_which_host_a_file_failed_on(far: Far, tmp_path: pathlib.Path) -> None:
    with pytest.raises(HvmError) as caught:
        relay.fetch(CONFIG, "missing", str(tmp_path / "here"), command=far.command)
    assert caught.value.what == f"hv2: {far.directory}/missing cannot be read: No such file or directory"
    (far.directory / "disk").write_bytes(b"x" * 5_000_000)
    with pytest.raises(HvmError) as caught:
        relay.fetch(CONFIG, "disk", str(tmp_path / "no" / "here"), command=far.command)
    assert caught.value.what == f"{tmp_path}/no/here.partial cannot be written: No such file or directory"
    (far.directory / "directory").mkdir()
    with pytest.raises(HvmError) as caught:
        relay.push(CONFIG, "directory", str(far.directory / "disk"), command=far.command)
    assert caught.value.what == f"hv2: {far.directory}/directory cannot be written: Is a directory"
    (far.directory / "refuse").touch()
    with pytest.raises(HvmError, match="hv2: the relay to write:x is refused"):
        relay.push(CONFIG, "x", str(far.directory / "disk"), command=far.command)
    assert [name for name in os.listdir(far.directory) if name.endswith(".partial")] == []
    until(lambda: not far.alive())


def test_a_full_disk_over_there_is_told(far: Far, tmp_path: pathlib.Path) -> None:
    (tmp_path / "disk").write_bytes(os.urandom(8_000_000))
    limited = ["sh", "-c", f"ulimit -f 4000; trap '' XFSZ; exec {shlex.join(far.command)}"]
    with pytest.raises(HvmError) as caught:
        relay.push(CONFIG, "copy", str(tmp_path / "disk"), command=limited)
    assert caught.value.what == f"hv2: {far.directory}/copy cannot be written: File too large"
    assert [name for name in os.listdir(far.directory) if name.startswith("copy")] == []


@pytest.mark.parametrize("way", ["fetch", "push"])
def test_a_file_whose_connection_is_cut(far: Far, tmp_path: pathlib.Path, way: str) -> None:
    for directory in (tmp_path, far.directory):
        (directory / "disk").write_bytes(os.urandom(5_000_000))
        (directory / "old").write_bytes(b"old")
    meter = Cut("disk")
    slow = Limiter(4_000_000)
    with pytest.raises(PeerLost, match="the connection to hv2 for"):
        if way == "fetch":
            relay.fetch(CONFIG, "disk", str(tmp_path / "old"), meter, slow, far.command)
        else:
            relay.push(CONFIG, "old", str(tmp_path / "disk"), meter, slow, far.command)
    assert 1_000_000 < meter.bytes < 5_000_000
    until(lambda: not far.alive())
    assert (tmp_path / "old").read_bytes() == (far.directory / "old").read_bytes() == b"old"
    assert not (tmp_path / "old.partial").exists()
    assert (far.directory / "old.partial").exists() == (way == "push")  # it was killed; what it left is in nobody's way:
    relay.push(CONFIG, "old", str(tmp_path / "disk"), command=far.command)
    assert (far.directory / "old").read_bytes() == (tmp_path / "disk").read_bytes()
    assert not (far.directory / "old.partial").exists()


def test_half_a_file_is_not_kept_when_the_other_host_has_gone(far: Far) -> None:
    with subprocess.Popen(far.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b'{"protocol": %d, "pair": "office", "me": "hv1", "endpoint": "write:disk"}\n' % relay.PROTOCOL)
        for kind, payload in ((wire.FILE, b'{"size": 9, "data": 9}'), (wire.DATA, b"123")):
            process.stdin.write(wire.HEADER.pack(kind, len(payload)) + payload)
        process.stdin.flush()
        until((far.directory / "disk.partial").exists)
        process.stdin.close()
        assert process.wait(15) == 1
    assert not (far.directory / "disk.partial").exists()
