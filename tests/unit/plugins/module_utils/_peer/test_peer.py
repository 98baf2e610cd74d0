# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both ends of the connection, over the pipes of a subprocess instead of ssh."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import time
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core import build
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer import channel, protocol
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer, PeerLost
from ansible_collections.hvm.pair.plugins.module_utils._peer.server import Server

CONFIG = PairConfig("office", Host("hv1", "192.0.2.11"), Host("hv2", "192.0.2.12"), ("ssd/shared",), "/var/lib/libvirt/hvm")

AGENT = """
import os, sys, time
from ansible_collections.hvm.pair.plugins.module_utils._core import build
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._peer.server import Server

def hello(arguments, emit):
    wrong = build.differing(arguments["digests"])
    if wrong:
        raise HvmError(f"another version: {', '.join(wrong)}", "Run the playbook hvm.pair.install.")
    return {"pid": os.getpid(), "pair": arguments["pair"], "me": arguments["me"], "protocol": arguments["protocol"]}

def echo(arguments, emit):
    return arguments

def count(arguments, emit):
    for number in range(arguments["to"]):
        emit({"number": number})
    return "counted"

def refuse(arguments, emit):
    raise HvmError("the pool is full", "Free some.", pool="ssd")

def fail(arguments, emit):
    return 1 // 0

def nap(arguments, emit):
    time.sleep(arguments["seconds"])
    return arguments["seconds"]

def write(arguments, emit):
    time.sleep(0.3)
    with open(arguments["path"], "w") as handle:
        handle.write("done")

def receive(arguments, emit):
    if arguments["dataset"] == "forbidden":
        raise HvmError("dataset forbidden is not below the datasets of the pair")

print("Welcome to hv2, a banner", flush=True)
print('{"id": 77, "result": "to nobody"}', flush=True)
Server({f.__name__: f for f in (hello, echo, count, refuse, fail, nap, write, receive)}).serve()
"""


@pytest.fixture(name="command")
def _command(tmp_path: pathlib.Path) -> list[str]:
    (tmp_path / "agent.py").write_text(AGENT)
    return [sys.executable, "-S", str(tmp_path / "agent.py")]


@pytest.fixture(name="peer")
def _peer(command: list[str]) -> t.Iterator[Peer]:
    with Peer(CONFIG, command) as peer:
        yield peer


def open_stream(peer: Peer, stream: int, script: str, dataset: str = "ssd/shared") -> concurrent.futures.Future[t.Any]:
    return peer.begin("receive", stream=stream, dataset=dataset, command=["sh", "-c", script])


# Requests


def test_hello_says_who_asks(peer: Peer) -> None:
    pid = peer.hello.pop("pid")
    assert pid != os.getpid()
    assert peer.hello == {"pair": "office", "me": "hv1", "protocol": protocol.PROTOCOL}


def test_a_result_comes_back_as_it_was(peer: Peer) -> None:
    value = {"text": "Größe\n\u2028", "list": [1, None, True, {"deep": []}], "long": "x" * 3_000_000}
    assert peer.call("echo", **value) == value


def test_what_the_other_host_refuses_is_refused_here_with_its_name(peer: Peer) -> None:
    with pytest.raises(HvmError) as caught:
        peer.call("refuse")
    assert (caught.value.what, caught.value.remedy) == ("hv2: the pool is full", "Free some.")
    assert caught.value.details == {"pool": "ssd"}
    assert not isinstance(caught.value, PeerLost)


def test_a_bug_over_there_comes_with_where_it_was(peer: Peer) -> None:
    with pytest.raises(HvmError, match="hv2: unexpected ZeroDivisionError") as caught:
        peer.call("fail")
    assert "return 1 // 0" in caught.value.details["exception"] or "in fail" in caught.value.details["exception"]
    assert peer.call("echo", still=1) == {"still": 1}


def test_an_operation_that_it_does_not_know(peer: Peer) -> None:
    with pytest.raises(HvmError, match="hv2: the agent does not know the operation 'format_disks'"):
        peer.call("format_disks")


def test_events_come_in_order_before_the_result(peer: Peer) -> None:
    seen: list[dict[str, t.Any]] = []
    assert peer.call("count", on_event=seen.append, to=50) == "counted"
    assert seen == [{"number": number} for number in range(50)]


def test_requests_do_not_wait_for_one_another(peer: Peer) -> None:
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        naps = [pool.submit(peer.call, "nap", seconds=0.4) for dummy in range(8)]
        assert peer.call("echo", quick=1) == {"quick": 1}
        assert time.monotonic() - began < 0.4
        assert [nap.result() for nap in naps] == [0.4] * 8
    assert time.monotonic() - began < 3


def test_an_answer_that_does_not_come_is_a_lost_peer(peer: Peer) -> None:
    with pytest.raises(PeerLost, match="hv2 has not answered to 'nap' within 0 s"):
        peer.call("nap", timeout=0.1, seconds=1)


def test_what_was_begun_is_finished_when_the_connection_closes(command: list[str], tmp_path: pathlib.Path) -> None:
    with Peer(CONFIG, command) as peer:
        peer.begin("write", path=str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "done"


# Connections that fail


def test_an_agent_of_another_version_is_found(command: list[str], tmp_path: pathlib.Path) -> None:
    tree = tmp_path / "tree"
    for name, text in build.sources().items():
        path = tree.joinpath(*build.PACKAGE.strip(".").split("."), *name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    old = ["env", f"PYTHONPATH={tree}", *command]
    with Peer(CONFIG, old) as peer:
        assert peer.hello["pair"] == "office"
    changed = tree.joinpath(*build.PACKAGE.strip(".").split("."), "_peer", "protocol.py")
    changed.write_text(changed.read_text() + "\n# older\n")
    shutil.rmtree(changed.parent / "__pycache__", ignore_errors=True)
    with pytest.raises(HvmError, match=r"hv2: another version: _peer\.protocol\. Run") as caught:
        Peer(CONFIG, old)
    assert caught.value.remedy == "Run the playbook hvm.pair.install."


def test_a_file_that_is_missing_there_differs() -> None:
    assert build.differing({}) == []
    assert build.differing(build.digests()) == []
    assert build.differing({"_zfs.no_such_file": "0"}) == ["_zfs.no_such_file"]


def test_no_connection_says_what_ssh_said() -> None:
    with pytest.raises(PeerLost) as caught:
        Peer(CONFIG, ["sh", "-c", "echo 'ssh: connect to host hv2: No route to host' >&2; exit 255"])
    assert caught.value.what == "the connection to hv2 ended: ssh: connect to host hv2: No route to host"


def test_no_ssh_at_all() -> None:
    with pytest.raises(HvmError, match="/no/such/ssh is not installed on this host"):
        Peer(CONFIG, ["/no/such/ssh"])


def test_an_agent_that_dies_takes_no_request_into_limbo(peer: Peer) -> None:
    waiting = peer.begin("nap", seconds=60)
    os.kill(peer.hello["pid"], signal.SIGKILL)
    with pytest.raises(PeerLost, match="the connection to hv2 ended"):
        peer.result(waiting, "nap", timeout=20)
    with pytest.raises(PeerLost, match="the connection to hv2 ended"):
        peer.call("echo", timeout=20)


def test_ssh_takes_nothing_of_the_user() -> None:
    command = channel.ssh_command(CONFIG)
    assert command[:3] == ["ssh", "-T", "-F"]
    assert command[-2:] == ["root@192.0.2.12", "hvm-agent"]
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "HostKeyAlias=hv2", "ControlPath=none", "IdentitiesOnly=yes"):
        assert option in command


# Streams


def test_a_stream_of_several_megabytes_arrives_as_it_was_sent(peer: Peer, tmp_path: pathlib.Path) -> None:
    content = random.Random(1).randbytes(9_000_001)
    (tmp_path / "in").write_bytes(content)
    future = open_stream(peer, 1, f"exec cat >'{tmp_path}/out'")
    seen: list[int] = []
    assert peer.send(1, ["cat", str(tmp_path / "in")], seen.append) == len(content) == sum(seen)
    assert peer.result(future, "receive", 30) == {}
    assert (tmp_path / "out").read_bytes() == content
    assert peer.bytes_sent == len(content)


def test_streams_and_requests_share_the_connection(peer: Peer, tmp_path: pathlib.Path) -> None:
    contents = {number: random.Random(number).randbytes(2_000_000 + number) for number in (1, 2, 3)}

    def carry(number: int) -> None:
        (tmp_path / f"in{number}").write_bytes(contents[number])
        future = open_stream(peer, number, f"exec cat >'{tmp_path}/out{number}'")
        peer.send(number, ["cat", str(tmp_path / f"in{number}")])
        peer.result(future, "receive", 30)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(carry, number) for number in contents]
        for number in range(20):
            assert peer.call("echo", number=number) == {"number": number}
        for job in jobs:
            job.result()
    for number, content in contents.items():
        assert (tmp_path / f"out{number}").read_bytes() == content


def test_a_stream_of_nothing(peer: Peer, tmp_path: pathlib.Path) -> None:
    future = open_stream(peer, 1, f"exec cat >'{tmp_path}/out'")
    assert peer.send(1, ["true"]) == 0
    assert peer.result(future, "receive", 30) == {}
    assert (tmp_path / "out").read_bytes() == b""


def test_a_receiver_that_dies_early_says_why_and_the_connection_lives(peer: Peer, tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").write_bytes(bytes(6_000_000))
    future = open_stream(peer, 1, "head -c 100000 >/dev/null; echo 'cannot receive: out of space' >&2; exit 3")
    assert peer.send(1, ["cat", str(tmp_path / "in")]) == 6_000_000
    with pytest.raises(HvmError, match=r"hv2: 'sh -c .*' failed \(3\): cannot receive: out of space"):
        peer.result(future, "receive", 30)
    assert peer.call("echo", still=1) == {"still": 1}


def test_a_stream_that_is_not_allowed_is_dropped(peer: Peer, tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").write_bytes(bytes(3_000_000))
    future = open_stream(peer, 1, f"exec cat >'{tmp_path}/out'", dataset="forbidden")
    peer.send(1, ["cat", str(tmp_path / "in")])
    with pytest.raises(HvmError, match="hv2: dataset forbidden is not below"):
        peer.result(future, "receive", 30)
    assert not (tmp_path / "out").exists()
    assert peer.call("echo", still=1) == {"still": 1}


def test_a_sender_that_fails_is_never_taken_for_the_end(peer: Peer, tmp_path: pathlib.Path) -> None:
    script = f"cat >'{tmp_path}/out'; touch '{tmp_path}/complete'"
    future = open_stream(peer, 1, script)
    with pytest.raises(CommandError, match=r"failed \(1\): cannot send: snapshot is gone"):
        peer.send(1, ["sh", "-c", "head -c 500000 /dev/zero; echo 'cannot send: snapshot is gone' >&2; exit 1"])
    with pytest.raises(HvmError, match=r"hv2: .* failed"):
        peer.result(future, "receive", 30)
    assert not (tmp_path / "complete").exists()
    assert peer.bytes_sent == 0


def test_a_connection_that_is_cut_while_a_stream_runs(peer: Peer, tmp_path: pathlib.Path) -> None:
    future = open_stream(peer, 1, "exec cat >/dev/null")
    total = 0

    def cut(count: int) -> None:
        nonlocal total
        total += count
        if total > 2_000_000:
            os.kill(peer.hello["pid"], signal.SIGKILL)

    with pytest.raises(PeerLost, match="the connection to hv2 ended while /dev/zero was sent") as caught:
        peer.send(1, ["cat", "/dev/zero"], cut)
    assert caught.value.remedy.startswith("Run this again")
    with pytest.raises(PeerLost, match="the connection to hv2 ended"):
        peer.result(future, "receive", 30)


def test_a_connection_that_is_cut_at_the_very_end(peer: Peer) -> None:
    future = open_stream(peer, 1, "exec cat >/dev/null")
    peer.call("echo")

    def cut(dummy: int) -> None:
        os.kill(peer.hello["pid"], signal.SIGKILL)
        peer._process.wait()

    peer.send(1, ["echo", "all of it"], cut)
    with pytest.raises(PeerLost, match="the connection to hv2 ended"):
        peer.result(future, "receive", 30)


# The agent's end alone


def frame(kind: bytes, stream: int, payload: bytes) -> bytes:
    return protocol.HEADER.pack(kind, stream, len(payload)) + payload


def serve(data: bytes, tmp_path: pathlib.Path) -> list[dict[str, t.Any]]:
    """What a server answers to `data` and then the end of the connection."""
    (tmp_path / "wire").write_bytes(data)
    with (tmp_path / "wire").open("rb") as source, (tmp_path / "answers").open("wb") as target:
        Server({"receive": lambda *dummy: None}, source.fileno(), target.fileno()).serve()
    return [json.loads(line) for line in (tmp_path / "answers").read_text().splitlines()]


def request(tmp_path: pathlib.Path) -> bytes:
    script = f"cat >'{tmp_path}/out'; touch '{tmp_path}/complete'"
    arguments = {"stream": 1, "dataset": "d", "command": ["sh", "-c", script]}
    return frame(b"J", 0, json.dumps({"id": 1, "op": "receive", "args": arguments}).encode())


def test_a_stream_with_its_end_is_whole(tmp_path: pathlib.Path) -> None:
    data = request(tmp_path) + frame(b"D", 1, b"half ") + frame(b"D", 1, b"and half") + frame(b"E", 1, b"")
    assert serve(data, tmp_path) == [{"id": 1, "result": {}}]
    assert (tmp_path / "out").read_text() == "half and half"


@pytest.mark.parametrize("rest", [b"", frame(b"X", 1, b""), frame(b"D", 1, b"x" * 100)[:50], b"D\0\0"])
def test_a_stream_without_its_end_is_cut(tmp_path: pathlib.Path, rest: bytes) -> None:
    (answer,) = serve(request(tmp_path) + frame(b"D", 1, b"half ") + rest, tmp_path)
    assert "failed (-15)" in answer["error"]["what"]
    assert not (tmp_path / "complete").exists()


def test_data_of_a_stream_that_nobody_opened_is_dropped(tmp_path: pathlib.Path) -> None:
    data = frame(b"D", 9, b"x" * 100_000) + frame(b"E", 9, b"") + frame(b"J", 0, b'{"id": 2, "op": "nothing"}')
    (answer,) = serve(data, tmp_path)
    assert (answer["id"], answer["error"]["what"]) == (2, "the agent does not know the operation 'nothing'")
