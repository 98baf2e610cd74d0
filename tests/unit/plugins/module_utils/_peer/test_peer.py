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
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core import build
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer import channel, flow, pipeline, probe, protocol
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer, PeerLost, PeerSilent
from ansible_collections.hvm.pair.plugins.module_utils._peer.flow import Limiter, Meter, Watch
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
    return arguments["commands"]

print("Welcome to hv2, a banner", flush=True)
print('{"id": 77, "result": "to nobody"}', flush=True)
operations = {f.__name__: f for f in (hello, echo, count, refuse, fail, nap, write, receive)}
Server(operations, silence=float(os.environ.get("SILENCE", "45"))).serve()
"""


@pytest.fixture(name="command", scope="module")
def _command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = tmp_path_factory.mktemp("agent") / "agent.py"
    path.write_text(AGENT)
    return [sys.executable, "-S", str(path)]


@pytest.fixture(name="peers", scope="module")
def _peers() -> t.Iterator[list[Peer]]:
    peers: list[Peer] = []
    yield peers
    for peer in peers:
        peer.close()


@pytest.fixture(name="peer")
def _peer(command: list[str], peers: list[Peer]) -> Peer:
    """A connection; the one of the test before, unless that has ended it: the agent's start is what takes time here."""
    if not peers or peers[-1]._process.poll() is not None:
        peers.append(Peer(CONFIG, command))
    peers[-1].bytes_sent = 0
    return peers[-1]


def open_stream(peer: Peer, stream: int, *scripts: str, dataset: str = "ssd/shared") -> concurrent.futures.Future[t.Any]:
    return peer.begin("receive", stream=stream, dataset=dataset, commands=[["sh", "-c", script] for script in scripts])


def whole(tmp_path: pathlib.Path) -> str:
    """Takes a stream as zfs receive does: one that breaks off is no whole one; here a whole one says END."""
    out = f"'{tmp_path}/out'"
    incomplete = "{ echo 'cannot receive: incomplete stream' >&2; exit 1; }"
    return f"cat >{out}; tail -c 3 {out} | grep -q END || {incomplete}; touch '{tmp_path}/complete'"


class Cut(Meter):
    """Ends the connection when more than `after` bytes have gone."""

    def __init__(self, peer: Peer, after: int) -> None:
        super().__init__("ssd/shared")
        self.peer, self.after = peer, after

    def add(self, count: int) -> None:
        super().add(count)
        if self.bytes > self.after:
            os.kill(self.peer.hello["pid"], signal.SIGKILL)
            self.peer._process.wait()


# Requests


def test_hello_says_who_asks(peer: Peer) -> None:
    assert peer.hello["pid"] != os.getpid()
    assert peer.hello == {"pid": peer.hello["pid"], "pair": "office", "me": "hv1", "protocol": protocol.PROTOCOL}


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


def test_an_installed_library_has_it_written_down(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path.joinpath(*build.PACKAGE.strip(".").split("."), "_core", "build.py")
    monkeypatch.setattr(build, "__file__", str(file))
    asked = build.digests()
    assert build.differing(asked) == []  # nothing is written: the sources say it
    written = {name: digest for name, digest in asked.items() if name != "_core.errors"}
    (tmp_path / build.WRITTEN).write_text(json.dumps({**written, "_core.command": "0"}))
    assert build.differing(asked) == ["_core.command", "_core.errors"]
    assert build.digests_of(build.sources()) == asked


def test_a_file_that_is_missing_there_differs() -> None:
    assert build.differing({}) == []
    assert build.differing(build.digests()) == []
    assert build.differing({"_zfs.no_such_file": "0"}) == ["_zfs.no_such_file"]


def test_no_connection_says_what_ssh_said() -> None:
    with pytest.raises(PeerSilent) as caught:
        Peer(CONFIG, ["sh", "-c", "echo 'ssh: connect to host hv2: No route to host' >&2; exit 255"])
    assert caught.value.what == "the connection to hv2 ended: ssh: connect to host hv2: No route to host"


@pytest.mark.parametrize(("status", "is_silent"), [(255, True), (127, True), (1, False), (2, False)])
def test_an_agent_that_began_and_failed_is_not_silence(status: int, is_silent: bool) -> None:
    """Its host is up, and may run VMs: nobody must be asked whether it is off."""
    with pytest.raises(HvmError, match="ImportError") as caught:
        Peer(CONFIG, ["sh", "-c", f"echo ImportError >&2; exit {status}"])
    assert isinstance(caught.value, PeerSilent) is is_silent is isinstance(caught.value, PeerLost)


def test_no_ssh_at_all() -> None:
    with pytest.raises(PeerSilent, match="/no/such/ssh is not installed on this host"):
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
    meter = Meter("ssd/shared")
    assert peer.send(1, [["cat", str(tmp_path / "in")]], meter) == len(content) == meter.bytes
    assert peer.result(future, "receive", 30) == {}
    assert (tmp_path / "out").read_bytes() == content
    assert peer.bytes_sent == len(content)


def test_streams_and_requests_share_the_connection(peer: Peer, tmp_path: pathlib.Path) -> None:
    contents = {number: random.Random(number).randbytes(2_000_000 + number) for number in (1, 2, 3)}

    def carry(number: int) -> None:
        (tmp_path / f"in{number}").write_bytes(contents[number])
        future = open_stream(peer, number, f"exec cat >'{tmp_path}/out{number}'")
        peer.send(number, [["cat", str(tmp_path / f"in{number}")]])
        peer.result(future, "receive", 30)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(carry, number) for number in contents]
        for number in range(20):
            assert peer.call("echo", number=number) == {"number": number}
        for job in jobs:
            job.result()
    for number, content in contents.items():
        assert (tmp_path / f"out{number}").read_bytes() == content


def test_what_goes_into_the_sink_is_counted_and_dropped_while_streams_go_on(peer: Peer, tmp_path: pathlib.Path) -> None:
    content = random.Random(1).randbytes(5_000_001)
    (tmp_path / "in").write_bytes(content)
    future = open_stream(peer, 1, f"exec cat >'{tmp_path}/out'")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(peer.send, 1, [["cat", str(tmp_path / "in")]])
        for count in (3 * protocol.CHUNK + 7, 1, 0):
            peer.pour(os.urandom(protocol.CHUNK), count)
            assert peer.call("sink") == {"bytes": count}
        job.result()
    peer.result(future, "receive", 30)
    assert (tmp_path / "out").read_bytes() == content and peer.bytes_sent == len(content)


def test_what_the_link_carries_is_measured_on_the_connection_itself(peer: Peer) -> None:
    began = time.monotonic()
    rate = probe.carries(peer)
    assert rate > 1 << 20 and time.monotonic() - began < 10
    assert peer.call("sink") == {"bytes": 0} and peer.call("echo", still=1) == {"still": 1}


def test_a_link_that_ends_while_it_is_measured_is_told_as_ever(command: list[str]) -> None:
    with Peer(CONFIG, command) as peer:
        os.kill(peer.hello["pid"], signal.SIGKILL)
        with pytest.raises(PeerLost, match="the connection to hv2 ended"):
            probe.carries(peer)


def test_a_stream_of_nothing(peer: Peer, tmp_path: pathlib.Path) -> None:
    future = open_stream(peer, 1, f"exec cat >'{tmp_path}/out'")
    assert peer.send(1, [["true"]]) == 0
    assert peer.result(future, "receive", 30) == {}
    assert (tmp_path / "out").read_bytes() == b""


def test_a_receiver_that_dies_early_says_why_and_the_connection_lives(peer: Peer, tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").write_bytes(bytes(6_000_000))
    future = open_stream(peer, 1, "head -c 100000 >/dev/null; echo 'cannot receive: out of space' >&2; exit 3")
    assert peer.send(1, [["cat", str(tmp_path / "in")]]) == 6_000_000
    with pytest.raises(HvmError, match=r"hv2: 'sh -c .*' failed \(3\): cannot receive: out of space"):
        peer.result(future, "receive", 30)
    assert peer.call("echo", still=1) == {"still": 1}


def test_a_stream_that_is_not_allowed_is_dropped(peer: Peer, tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").write_bytes(bytes(3_000_000))
    future = open_stream(peer, 1, f"exec cat >'{tmp_path}/out'", dataset="forbidden")
    peer.send(1, [["cat", str(tmp_path / "in")]])
    with pytest.raises(HvmError, match="hv2: dataset forbidden is not below"):
        peer.result(future, "receive", 30)
    assert not (tmp_path / "out").exists()
    assert peer.call("echo", still=1) == {"still": 1}


def test_a_sender_that_fails_is_never_taken_for_the_end(peer: Peer, tmp_path: pathlib.Path) -> None:
    future = open_stream(peer, 1, whole(tmp_path))
    with pytest.raises(CommandError, match=r"failed \(1\): cannot send: snapshot is gone"):
        peer.send(1, [["sh", "-c", "head -c 500000 /dev/zero; echo 'cannot send: snapshot is gone' >&2; exit 1"]])
    with pytest.raises(HvmError, match=r"hv2: .* failed \(1\): cannot receive: incomplete stream"):
        peer.result(future, "receive", 30)
    assert not (tmp_path / "complete").exists()
    assert (tmp_path / "out").stat().st_size == 500_000  # what there was is kept: it can be gone on with
    assert peer.bytes_sent == 0


def test_a_connection_that_is_cut_while_a_stream_runs(peer: Peer, tmp_path: pathlib.Path) -> None:
    future = open_stream(peer, 1, "exec cat >/dev/null")
    with pytest.raises(PeerLost, match="the connection to hv2 ended while /dev/zero was sent") as caught:
        peer.send(1, [["cat", "/dev/zero"]], Cut(peer, 2_000_000))
    assert caught.value.remedy.startswith("Run this again")
    with pytest.raises(PeerLost, match="the connection to hv2 ended"):
        peer.result(future, "receive", 30)


def test_a_connection_that_is_cut_at_the_very_end(peer: Peer) -> None:
    future = open_stream(peer, 1, "exec cat >/dev/null")
    peer.call("echo")
    peer.send(1, [["echo", "all of it"]], Cut(peer, 0))
    with pytest.raises(PeerLost, match="the connection to hv2 ended"):
        peer.result(future, "receive", 30)


# The agent's end alone


def frame(kind: bytes, stream: int, payload: bytes) -> bytes:
    return protocol.HEADER.pack(kind, stream, len(payload)) + payload


def answers(tmp_path: pathlib.Path) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in (tmp_path / "answers").read_text().splitlines()]


def serve(data: bytes, tmp_path: pathlib.Path) -> list[dict[str, t.Any]]:
    """What a server answers to `data` and then the end of the connection."""
    (tmp_path / "wire").write_bytes(data)
    with (tmp_path / "wire").open("rb") as source, (tmp_path / "answers").open("wb") as target:
        Server({"receive": lambda arguments, dummy: arguments["commands"]}, source.fileno(), target.fileno()).serve()
    return answers(tmp_path)


def request(tmp_path: pathlib.Path) -> bytes:
    arguments = {"stream": 1, "dataset": "d", "commands": [["sh", "-c", whole(tmp_path)]]}
    return frame(b"J", 0, json.dumps({"id": 1, "op": "receive", "args": arguments}).encode())


def test_a_stream_with_its_end_is_whole(tmp_path: pathlib.Path) -> None:
    data = request(tmp_path) + frame(b"D", 1, b"half ") + frame(b"D", 1, b"and half END") + frame(b"E", 1, b"")
    assert serve(data, tmp_path) == [{"id": 1, "result": {}}]
    assert (tmp_path / "out").read_text() == "half and half END"
    assert (tmp_path / "complete").exists()


@pytest.mark.parametrize("rest", [b"", frame(b"X", 1, b""), frame(b"D", 1, b"x" * 100)[:50], b"D\0\0"])
def test_a_stream_without_its_end_is_cut(tmp_path: pathlib.Path, rest: bytes) -> None:
    (answer,) = serve(request(tmp_path) + frame(b"D", 1, b"half ") + rest, tmp_path)
    assert "failed (1): cannot receive: incomplete stream" in answer["error"]["what"]
    assert (tmp_path / "out").read_bytes().startswith(b"half ")
    assert not (tmp_path / "complete").exists()


def test_data_of_a_stream_that_nobody_opened_is_dropped(tmp_path: pathlib.Path) -> None:
    data = frame(b"D", 9, b"x" * 100_000) + frame(b"E", 9, b"") + frame(b"J", 0, b'{"id": 2, "op": "nothing"}')
    (answer,) = serve(data, tmp_path)
    assert (answer["id"], answer["error"]["what"]) == (2, "the agent does not know the operation 'nothing'")


@pytest.mark.parametrize("half", [b'{"id": 2, "op": "nothing"}', b""])
def test_half_a_request_is_none(tmp_path: pathlib.Path, half: bytes) -> None:
    assert serve(protocol.HEADER.pack(b"J", 0, 100) + half, tmp_path) == []


# Pipelines: any part that fails is a failure of all


CAT, SAY_AND_FAIL = "exec cat", "cat; echo 'it broke' >&2; exit 4"
BROKEN = "cat 2>/dev/null; echo 'cannot send: Broken pipe' >&2; exit 1"
PARTS = {
    "the first": ([SAY_AND_FAIL, CAT, CAT], r"failed \(4\): it broke"),
    "one in between": ([CAT, SAY_AND_FAIL, CAT], r"failed \(4\): it broke"),
    "the last": ([CAT, CAT, SAY_AND_FAIL], r"failed \(4\): it broke"),
    "the last, early, so that those before it break their pipes": ([CAT, CAT, "exit 5"], r"'sh -c exit 5' failed \(5\)"),
    "the last, early, and the first tells of its broken pipe": ([BROKEN, "exit 5"], r"'sh -c exit 5' failed \(5\)"),
}


@pytest.mark.parametrize(("scripts", "said"), PARTS.values(), ids=PARTS)
def test_a_sending_pipeline_fails_with_any_part(peer: Peer, tmp_path: pathlib.Path, scripts: list[str], said: str) -> None:
    (tmp_path / "in").write_bytes(bytes(2_000_000) + b"END")
    future = open_stream(peer, 1, f"cat >'{tmp_path}/out'")
    first, *rest = scripts
    with pytest.raises(CommandError, match=said):
        peer.send(1, [["sh", "-c", f"exec <'{tmp_path}/in'; {first}"], *(["sh", "-c", script] for script in rest)])
    assert peer.result(future, "receive", 30) == {}
    assert peer.bytes_sent == 0
    assert peer.call("echo", still=1) == {"still": 1}


def test_a_pipeline_changes_the_stream_and_changes_it_back(peer: Peer, tmp_path: pathlib.Path) -> None:
    content = random.Random(2).randbytes(1_000_000)
    (tmp_path / "in").write_bytes(content)
    future = open_stream(peer, 1, "exec gzip -d", f"exec cat >'{tmp_path}/out'")
    count = peer.send(1, [["cat", str(tmp_path / "in")], ["gzip", "-1"], ["cat"]])
    assert peer.result(future, "receive", 30) == {}
    assert (tmp_path / "out").read_bytes() == content
    assert count > len(content)  # what went is what is counted; random bytes only grow


@pytest.mark.parametrize(
    ("scripts", "said"),
    [
        (["cat; echo 'bad frame' >&2; exit 6", "cat >/dev/null"], r"failed \(6\): bad frame"),
        (["cat", "cat >/dev/null; echo 'out of space' >&2; exit 1"], r"failed \(1\): out of space"),
        (["cat; echo 'bad frame' >&2; exit 6", "cat >/dev/null; echo 'incomplete' >&2; exit 1"], r"failed \(1\): incomplete"),
        (["cat", "head -c 10 >/dev/null; echo 'out of space' >&2; exit 1"], r"failed \(1\): out of space"),
    ],
)
def test_a_receiving_pipeline_fails_with_any_part_and_its_last_word_counts(
    peer: Peer, tmp_path: pathlib.Path, scripts: list[str], said: str
) -> None:
    (tmp_path / "in").write_bytes(bytes(2_000_000))
    future = open_stream(peer, 1, *scripts)
    assert peer.send(1, [["cat", str(tmp_path / "in")]]) == 2_000_000
    with pytest.raises(HvmError, match=said):
        peer.result(future, "receive", 30)
    assert peer.call("echo", still=1) == {"still": 1}


def test_a_program_that_is_missing_here_cuts_the_stream_at_once(peer: Peer, tmp_path: pathlib.Path) -> None:
    future = open_stream(peer, 1, whole(tmp_path))
    with pytest.raises(HvmError, match="/no/such/zstd is not installed on this host") as caught:
        peer.send(1, [["sleep", "60"], ["/no/such/zstd"]])
    assert caught.value.remedy == "Install it, or do without compression."
    with pytest.raises(HvmError, match="incomplete stream"):
        peer.result(future, "receive", 30)


def test_a_program_that_is_missing_leaves_none_of_the_others_running(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *arguments: t.Any, **more: t.Any) -> None:
            super().__init__(*arguments, **more)
            started.append(self)

    monkeypatch.setattr(pipeline.subprocess, "Popen", Popen)
    with pytest.raises(HvmError, match="is not installed"):
        pipeline.start([["sleep", "60"], ["cat"], ["/no/such/zstd"]], subprocess.DEVNULL, subprocess.DEVNULL)
    # cat may see the end of its input before it is killed
    assert started[0].returncode == -signal.SIGKILL
    assert started[1].returncode in (0, -signal.SIGKILL)


def test_a_program_that_is_missing_there_is_named(peer: Peer) -> None:
    future = peer.begin("receive", stream=1, dataset="d", commands=[["/no/such/zstd", "-d"], ["cat"]])
    assert peer.send(1, [["echo", "dropped"]]) == 8
    with pytest.raises(HvmError, match="hv2: /no/such/zstd is not installed on this host") as caught:
        peer.result(future, "receive", 30)
    assert caught.value.remedy == "Install it, or do without compression."


# Streams that stand still


@pytest.fixture(name="watch")
def _watch(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[tuple[Watch, list[str]]]:
    monkeypatch.setattr(flow, "LOOK", 0.05)
    lines: list[str] = []
    with Watch(lambda text, **dummy: lines.append(text), stalled=0.3, give_up=2.5) as watch:
        yield watch, lines


def named(lines: list[str]) -> set[str]:
    """Who stood still, and why; on a busy machine it may be for longer, and more than once."""
    return {re.sub(r" for \d+ s:", ":", line) for line in lines if "stands still" in line}


def test_a_stream_that_nobody_reads_is_named_and_ended_with_its_connection(
    peer: Peer, watch: tuple[Watch, list[str]]
) -> None:
    """The write of it holds the connection, so nothing else can get through either; and no kill of the sender ends a write."""
    future = open_stream(peer, 1, "exec sleep 10")
    with pytest.raises(PeerLost, match=r"no byte of ssd/shared has moved for \d s: it waits for hv2") as caught:
        peer.send(1, [["cat", "/dev/zero"]], watch[0].begin("ssd/shared"))
    assert caught.value.remedy == "Run this again: it goes on where it was cut."
    assert named(watch[1]) == {"ssd/shared stands still: it waits for hv2"}
    with pytest.raises(PeerLost, match="the connection to hv2 ended"):
        peer.result(future, "receive", 30)


def test_a_stream_behind_one_that_nobody_reads_is_told_to_wait_for_the_other_host(
    peer: Peer, watch: tuple[Watch, list[str]]
) -> None:
    open_stream(peer, 1, "exec sleep 10")
    open_stream(peer, 2, "exec cat >/dev/null")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(peer.send, n, [["cat", "/dev/zero"]], watch[0].begin(f"ssd/shared/{n}")) for n in (1, 2)]
        said = [str(job.exception(30)) for job in jobs]
    # the first one whose time is over ends the connection, and the other one may hear of that first
    assert any(re.search(r"has moved for \d s: it waits for hv2", text) for text in said), said
    assert all("it waits for hv2" in text or "the connection to hv2 ended" in text for text in said), said
    assert all(isinstance(job.exception(), PeerLost) for job in jobs)
    assert named(watch[1]) == {f"ssd/shared/{n} stands still: it waits for hv2" for n in (1, 2)}


def test_a_sender_that_says_nothing_is_named_and_ended_and_the_connection_lives(
    peer: Peer, tmp_path: pathlib.Path, watch: tuple[Watch, list[str]]
) -> None:
    future = open_stream(peer, 1, whole(tmp_path))
    with pytest.raises(HvmError, match=r"no byte of ssd/shared has moved for \d s: it waits for sh -c") as caught:
        peer.send(1, [["sh", "-c", "echo half; exec sleep 30"], ["cat"]], watch[0].begin("ssd/shared"))
    assert not isinstance(caught.value, (PeerLost, CommandError))
    assert named(watch[1]) == {"ssd/shared stands still: it waits for sh -c"}
    with pytest.raises(HvmError, match="incomplete stream"):
        peer.result(future, "receive", 30)
    assert peer.call("echo", still=1) == {"still": 1}


def test_at_its_end_a_stream_waits_for_the_other_host(peer: Peer) -> None:
    future = open_stream(peer, 1, "exec cat >/dev/null")
    meter = Meter("ssd/shared")
    peer.send(1, [["echo", "all of it"]], meter)
    assert meter.waits_for == "hv2"
    peer.result(future, "receive", 30)


def test_streams_keep_to_their_rate_together(peer: Peer) -> None:
    limiter = Limiter(400_000)
    began = time.monotonic()

    def carry(number: int) -> int:
        future = open_stream(peer, number, "exec cat >/dev/null")
        count = peer.send(number, [["head", "-c", "150000", "/dev/zero"]], Meter(str(number)), limiter)
        peer.result(future, "receive", 30)
        return count

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(carry, (1, 2))) == [150_000, 150_000]
    # the last piece of at most 100,000 bytes does not wait for its own time
    assert time.monotonic() - began > 0.5


# Whether anybody is there


def talk(tmp_path: pathlib.Path, silence: float, *said: bytes, every: float = 0.05) -> float:
    """Seconds that a server serves somebody who says these things and then no more, without the connection's end."""
    source, wire = os.pipe()
    with (tmp_path / "answers").open("wb") as target:
        server = Server({"receive": lambda arguments, dummy: arguments["commands"]}, source, target.fileno(), silence)
        thread = threading.Thread(target=server.serve)
        thread.start()
        began = time.monotonic()
        for one in said:
            os.write(wire, one)
            time.sleep(every)
        thread.join(10)
        took = time.monotonic() - began
        os.close(wire)
        thread.join(10)
    os.close(source)
    return took


def test_nobody_is_waited_for_who_says_nothing(tmp_path: pathlib.Path) -> None:
    assert talk(tmp_path, 0.2) < 5


def test_somebody_who_says_that_he_is_there_is_waited_for(tmp_path: pathlib.Path) -> None:
    assert talk(tmp_path, 1.0, *[frame(b"P", 0, b"")] * 11, every=0.1) > 1.9


@pytest.mark.parametrize(
    "last", [frame(b"D", 1, b"x" * 100)[:50], b"D\0\0", frame(b"J", 0, b"{}" * 50)[:50], frame(b"D", 7, b"x" * 100)[:50]]
)
def test_a_link_that_is_cut_in_the_midst_of_a_frame_is_a_silence(tmp_path: pathlib.Path, last: bytes) -> None:
    """Where else would it be cut while a stream runs. The stream breaks off then, and the agent ends and gives its lock back."""
    assert talk(tmp_path, 0.2, request(tmp_path) + frame(b"D", 1, b"half ") + last) < 5
    (answer,) = answers(tmp_path)
    assert "cannot receive: incomplete stream" in answer["error"]["what"]


def test_what_comes_after_a_silence_in_a_frame_is_not_taken_for_a_frame(tmp_path: pathlib.Path) -> None:
    """A part of a stream that looks like a request."""
    late = frame(b"J", 0, b'{"id": 9, "op": "receive", "args": {"stream": 2, "commands": [["touch", "late"]]}}')
    talk(tmp_path, 0.2, frame(b"D", 1, b"x" * 400)[:50], late, every=0.5)
    assert answers(tmp_path) == []


def test_an_agent_that_hears_nothing_ends(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILENCE", "0.3")
    with Peer(CONFIG, command) as peer:
        assert peer._process.wait(20) == 0
        with pytest.raises(PeerLost, match="the connection to hv2 ended"):
            peer.call("echo", timeout=20)


def test_the_asking_side_says_that_it_is_there(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILENCE", "1")
    monkeypatch.setattr(channel, "PING_EVERY", 0.1)
    with Peer(CONFIG, command) as peer:
        time.sleep(1.3)
        assert peer.call("echo", still=1) == {"still": 1}


def test_nothing_is_written_after_the_end_to_whatever_has_the_descriptors_number_then(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "PING_EVERY", 0.05)
    peer = Peer(CONFIG, command)
    number = peer._stdin
    peer.close()
    read, write = os.pipe()
    try:
        os.dup2(write, number)
        with pytest.raises(PeerLost):
            peer.call("echo", timeout=20)
        with pytest.raises(PeerLost):
            peer.send(1, [["echo", "x"]])
        time.sleep(0.2)
        os.set_blocking(read, False)
        with pytest.raises(BlockingIOError):
            os.read(read, 1)
    finally:
        for fd in sorted({read, write, number}):
            os.close(fd)
