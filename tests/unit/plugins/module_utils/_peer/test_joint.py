# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two sockets, joined by two pipes, behave as if they were one pair of sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._peer import wire
from ansible_collections.hvm.pair.plugins.module_utils._peer.flow import Limiter
from ansible_collections.hvm.pair.plugins.module_utils._peer.joint import Joint
from ansible_collections.hvm.pair.plugins.module_utils._peer.wire import Wire


class Joined:
    """`client` on this host, `server` on the other one; `ends` are how the two joints ended: None, or why not."""

    def __init__(self, limiter: Limiter | None = None, **signs: float) -> None:
        near_in, far_out = os.pipe()
        far_in, near_out = os.pipe()
        self.client, near_socket = socket.socketpair()
        self.server, far_socket = socket.socketpair()
        for one in (self.client, self.server):
            one.settimeout(20)
        self.ends: dict[str, HvmError | None] = {}
        self.near = Joint(Wire(near_in, near_out, **signs), near_socket, True, limiter)
        self.far = Joint(Wire(far_in, far_out, **signs), far_socket, False)
        self.pipes = {"near": (near_in, near_out), "far": (far_in, far_out)}
        self.threads = [
            threading.Thread(target=self._run, args=("near", self.near, near_socket), daemon=True),
            threading.Thread(target=self._run, args=("far", self.far, far_socket), daemon=True),
        ]
        for thread in self.threads:
            thread.start()

    def _run(self, name: str, joint: Joint, local: socket.socket) -> None:
        try:
            joint.run()
            self.ends[name] = None
        except HvmError as exc:
            self.ends[name] = exc
        local.close()
        for fd in self.pipes[name]:
            os.close(fd)

    def ended(self) -> dict[str, HvmError | None]:
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()
        return self.ends

    def __enter__(self) -> Joined:
        return self

    def __exit__(self, *dummy: object) -> None:
        self.client.close()
        self.server.close()
        self.ended()


def read_all(one: socket.socket) -> bytes:
    parts = []
    while part := one.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def talk(one: socket.socket, chunks: list[bytes], last: bool) -> bytes:
    """Say it, end; read what the other one says. :param last: ends only when the other one has."""
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(read_all(one)), daemon=True)
    reader.start()
    for chunk in chunks:
        one.sendall(chunk)
    if last:
        reader.join(20)
    one.shutdown(socket.SHUT_WR)
    reader.join(20)
    return found[0]


CHUNKS = st.lists(st.tuples(st.binary(min_size=1, max_size=30), st.sampled_from([1, 7, 3000, 20_000])), max_size=6).map(
    lambda parts: [part * times for part, times in parts]
)


@settings(max_examples=60)
@given(CHUNKS, CHUNKS, st.sampled_from(["client", "server", "both"]))
def test_all_comes_over_and_each_direction_ends_by_itself(asked: list[bytes], answered: list[bytes], first: str) -> None:
    with Joined() as joined:
        found: dict[str, bytes] = {}
        server = threading.Thread(
            target=lambda: found.update(server=talk(joined.server, answered, first == "client")), daemon=True
        )
        server.start()
        found["client"] = talk(joined.client, asked, first == "server")
        server.join(20)
        assert joined.ended() == {"near": None, "far": None}
    assert found == {"client": b"".join(answered), "server": b"".join(asked)}
    assert (joined.near.sent, joined.far.received) == (len(found["server"]),) * 2
    assert (joined.near.received, joined.far.sent) == (len(found["client"]),) * 2


@settings(max_examples=40)
@given(CHUNKS, CHUNKS, st.booleans())
def test_one_who_closes_altogether_has_said_what_he_said(said: list[bytes], unread: list[bytes], client: bool) -> None:
    """Whether or not he has read everything; and the other one hears of it, as he writes or as he reads."""
    with Joined() as joined:
        one, other = (joined.client, joined.server) if client else (joined.server, joined.client)
        other.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            for chunk in unread:
                other.sendall(chunk)  # as much as fits
        other.settimeout(20)
        reader_found: list[bytes] = []
        reader = threading.Thread(target=lambda: reader_found.append(read_all(other)), daemon=True)
        reader.start()
        for chunk in said:
            one.sendall(chunk)
        one.close()
        reader.join(20)
        assert reader_found == [b"".join(said)]
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for dummy in range(2000):
                other.sendall(b"x" * 1000)
                time.sleep(0.001)
        other.close()
        assert joined.ended() == {"near": None, "far": None}


def test_one_who_does_not_read_holds_up_nobody_but_who_writes_to_him() -> None:
    with Joined(ping_every=0.05, silence=3) as joined:  # enough for a machine that is busy
        joined.client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            joined.client.sendall(b"x" * 20_000_000)  # the server does not read
        joined.client.settimeout(20)
        joined.server.sendall(b"answer")
        assert joined.client.recv(100) == b"answer"
        time.sleep(3.5)  # longer than the silence: nobody is taken for gone
        joined.server.sendall(b"another")
        assert joined.client.recv(100) == b"another"
        assert joined.ends == {}


def test_two_who_say_nothing_for_long_stay_joined() -> None:
    with Joined(ping_every=0.05, silence=3) as joined:
        time.sleep(3.5)
        joined.client.sendall(b"still")
        assert joined.server.recv(100) == b"still"


def test_the_other_end_says_nothing_any_more() -> None:
    near_in, _far_out = os.pipe()
    _far_in, near_out = os.pipe()
    client, local = socket.socketpair()
    with client, local, pytest.raises(wire.Cut, match="it has said nothing for 0 s"):
        Joint(Wire(near_in, near_out, 0.05, 0.3), local, True).run()


@pytest.mark.parametrize("more", [b"", b"x" * 5_000_000])
def test_a_connection_that_is_cut_is_no_end(more: bytes) -> None:
    near_in, far_out = os.pipe()
    far_in, near_out = os.pipe()
    client, local = socket.socketpair()
    found: list[Exception] = []

    def run() -> None:
        try:
            Joint(Wire(near_in, near_out), local, True).run()
        except wire.Cut as exc:
            found.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with client, local:
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.send(more)
        os.close(far_out)
        os.close(far_in)
        thread.join(20)
    assert [str(error) for error in found] in (["the connection ended"], ["it takes nothing any more"])


def test_what_the_other_end_failed_at_is_told() -> None:
    near_in, far_out = os.pipe()
    far_in, near_out = os.pipe()
    client, local = socket.socketpair()
    Wire(far_in, far_out).fail(HvmError("nobody listens there"))
    with client, local, pytest.raises(wire.Told, match="nobody listens there"):
        Joint(Wire(near_in, near_out), local, True).run()


def test_a_rate_is_kept() -> None:
    with Joined(limiter=Limiter(2_000_000)) as joined:
        reader: list[bytes] = []
        thread = threading.Thread(target=lambda: reader.append(read_all(joined.server)), daemon=True)
        thread.start()
        began = time.monotonic()
        joined.client.sendall(b"x" * 2_000_000)
        joined.client.shutdown(socket.SHUT_WR)
        thread.join(20)
        assert len(reader[0]) == 2_000_000
        assert 0.7 < time.monotonic() - began < 8
        # the other direction is not held
        joined.server.sendall(b"y" * 100_000)
        joined.server.shutdown(socket.SHUT_WR)
        assert len(read_all(joined.client)) == 100_000


def test_an_empty_answer() -> None:
    with Joined() as joined:
        joined.server.shutdown(socket.SHUT_WR)
        assert joined.client.recv(1) == b""
        joined.client.sendall(b"and yet")
        joined.client.close()
        assert read_all(joined.server) == b"and yet"
        assert joined.ended() == {"near": None, "far": None}


def test_for_one_who_has_gone_altogether_nothing_is_kept_open_over_there() -> None:
    with Joined() as joined:
        joined.client.close()
        assert joined.server.recv(1) == b""
        assert joined.ended() == {"near": None, "far": None}  # although the server says nothing, and does not close
