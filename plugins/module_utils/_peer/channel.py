# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""This host's end of the connection to the other host.

Opened before an interruption begins; then a request costs a round trip, and a dataset's stream costs nothing to open.
"""

from __future__ import annotations

import array
import concurrent.futures
import contextlib
import errno
import fcntl
import itertools
import json
import select
import subprocess
import termios
import threading
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.build import digests
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer import pipeline
from ansible_collections.hvm.pair.plugins.module_utils._peer.dial import LOOK, dial, ssh_command
from ansible_collections.hvm.pair.plugins.module_utils._peer.flow import Limiter, Meter
from ansible_collections.hvm.pair.plugins.module_utils._peer.protocol import (
    CHUNK,
    HEADER,
    PING_EVERY,
    PROTOCOL,
    SINK,
    move,
    write_all,
)

#: Seconds. A lost link is noticed earlier (ssh_command); this is for work that takes long, such as listing a hundred thousand
#: snapshots, and is as long as any command of the other host may take.
REQUEST_TIMEOUT = 300.0
GO_ON = "Run this again: it goes on where it was cut."

Event = t.Callable[[dict[str, t.Any]], None]


class PeerLost(HvmError):
    """The connection ended; what the other host did after the last answer is not known."""


class PeerSilent(PeerLost):
    """There was no connection at all."""


#: What ssh ends with when the other host's agent began and failed: 255 is ssh's own failure, 126 and 127 that there is no agent.
_AGENT_FAILED = range(1, 126)


class Peer:
    """The other host. A context manager; requests may come from several threads."""

    def __init__(
        self,
        config: PairConfig,
        command: t.Sequence[str] | None = None,
        dialled: subprocess.Popen[bytes] | None = None,
        **hello: t.Any,
    ) -> None:
        """:param dialled: the connection, when it is under way already (`dial`).
        :param hello: what the first question asks besides, so that it costs no round trip of its own (``look=True``).
        """
        self.name = config.peer.name
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[concurrent.futures.Future[t.Any], Event | None]] = {}
        self._numbers = itertools.count(1)
        self._closing = threading.Event()
        self._closed = False  # the descriptor is; guarded by the lock
        self._only_greeted = True
        self._ended = False  # the reader has told everybody who waited
        self._telling = threading.Lock()
        self._said = ""  # the last line that ssh said: it can be read once only
        self.bytes_sent = 0
        try:
            self._process = dialled or dial(command or ssh_command(config, LOOK if hello.get("look") else ""))
        except HvmError as exc:  # no ssh on this host: that says nothing of the other one
            raise PeerSilent(exc.what, exc.remedy) from exc
        self._stdin = t.cast(t.IO[bytes], self._process.stdin).fileno()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._stdin, fcntl.F_SETPIPE_SZ, CHUNK)
        self._reader = threading.Thread(target=self._read, name="peer", daemon=True)
        self._reader.start()
        threading.Thread(target=self._ping, name="ping", daemon=True).start()
        try:
            self.hello = self.call("hello", protocol=PROTOCOL, pair=config.pair, me=config.me.name, digests=digests(), **hello)
        except PeerLost as exc:
            self.close()
            if self._process.returncode in _AGENT_FAILED:  # that host is up: whoever asks must not take it for silent
                raise HvmError(exc.what, exc.remedy) from exc
            raise PeerSilent(exc.what, exc.remedy) from exc
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the agent finishes what it was told and gives its lock back."""
        self._closing.set()
        if not self._lock.acquire(timeout=10):
            self._process.kill()  # somebody sits in a write that only the connection's end ends
            self._lock.acquire()
        try:
            self._closed = True
            with contextlib.suppress(OSError):
                self._process.stdin.close()  # type: ignore[union-attr]
        finally:
            self._lock.release()
        if self._only_greeted:
            self._process.terminate()  # nothing was begun there that would have to end first
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def call(self, op: str, timeout: float = REQUEST_TIMEOUT, on_event: Event | None = None, **arguments: t.Any) -> t.Any:
        """Ask for an operation and wait for its result.

        :raises HvmError: what the other host refused or failed at, with its name in front.
        :raises PeerLost: when the connection ended or `timeout` seconds passed.
        """
        return self.result(self.begin(op, on_event, **arguments), op, timeout)

    def begin(self, op: str, on_event: Event | None = None, **arguments: t.Any) -> concurrent.futures.Future[t.Any]:
        future: concurrent.futures.Future[t.Any] = concurrent.futures.Future()
        self._only_greeted &= op == "hello"
        number = next(self._numbers)
        self._waiting[number] = (future, on_event)
        payload = json.dumps({"id": number, "op": op, "args": arguments}).encode()
        with contextlib.suppress(OSError), self._wire() as wire:  # the reader sees the end and says why
            write_all(wire, HEADER.pack(b"J", 0, len(payload)) + payload)
        if self._ended:
            self._fail_all()
        return future

    @contextlib.contextmanager
    def _wire(self) -> t.Iterator[int]:
        """The descriptor for one whole frame. Its number is another file's after `close`, so nobody uses it without this."""
        with self._lock:
            if self._closed:
                raise BrokenPipeError(errno.EPIPE, "the connection is closed")
            yield self._stdin

    def result(self, future: concurrent.futures.Future[t.Any], op: str, timeout: float = REQUEST_TIMEOUT) -> t.Any:
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError as exc:
            raise PeerLost(
                f"{self.name} has not answered to '{op}' within {timeout:.0f} s",
                "Look at that host and at the link between them.",
            ) from exc

    def send(
        self,
        stream: int,
        commands: t.Sequence[t.Sequence[str]],
        meter: Meter | None = None,
        limiter: Limiter | None = None,
    ) -> int:
        """Run a pipeline (a zfs send, and what it goes through) and carry its output to the agent's stream `stream`.

        :return: the bytes.
        :raises CommandError: when any of the commands fails; the stream's end is not announced then, so the receiver keeps its
            resumable part.
        """
        meter = meter or Meter(str(commands[0][-1]))
        limiter = limiter or Limiter()
        try:
            processes = pipeline.start(commands, subprocess.DEVNULL, subprocess.PIPE)
        except HvmError:
            self._end(b"X", stream)
            raise
        out = t.cast(t.IO[bytes], processes[-1].stdout).fileno()
        with contextlib.suppress(OSError):
            fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, CHUNK)

        def abort() -> None:
            sits = meter.waits_for == self.name  # now: the end of the commands changes it
            for process in processes:
                process.kill()
            if sits:
                self._process.kill()  # it sits in a write that only the connection's end ends

        meter.abort = abort
        what = commands[0][-1]
        ended = False
        try:
            while True:
                meter.waits_for = " ".join(commands[0][:2])
                count = limiter.piece(_wait_readable(out))
                if not count:
                    break
                delay = limiter.delay(count)
                if delay:
                    time.sleep(delay)
                meter.waits_for = self.name  # also while another stream has the connection, because that one waits too
                with self._wire() as wire:
                    write_all(wire, HEADER.pack(b"D", stream, count))
                    if move(out, wire, count) < count:
                        raise BrokenPipeError(errno.EPIPE, "the connection ended")
                meter.add(count)
            ended = True
            meter.waits_for = self.name  # for its answer
        except OSError as exc:
            if exc.errno != errno.EPIPE:
                self._process.kill()  # half a frame may be out: nothing that follows would be understood
                raise
            self._reader.join(5)
            raise PeerLost(
                meter.failure or f"the connection to {self.name} ended while {what} was sent: {self._why()}", GO_ON
            ) from exc
        finally:
            failed = pipeline.reap(processes, kill=not ended)
        self._end(b"X" if failed else b"E", stream)
        if meter.failure:
            raise HvmError(meter.failure, GO_ON)
        if failed:
            raise failed[0]
        with self._lock:
            self.bytes_sent += meter.bytes
        return meter.bytes

    def pour(self, piece: bytes, count: int) -> None:
        """`count` bytes into the agent's sink, made of `piece` again and again; `call("sink")` then says how many have come.

        That also tells when the connection has ended.
        """
        with contextlib.suppress(OSError):
            while count:
                part = memoryview(piece)[:count]
                with self._wire() as wire:
                    write_all(wire, HEADER.pack(b"D", SINK, len(part)))
                    write_all(wire, part)
                count -= len(part)

    def _end(self, kind: bytes, stream: int) -> None:
        # A connection that has ended is for the reader to tell, with the reason: whoever waits for the result gets PeerLost.
        with contextlib.suppress(OSError), self._wire() as wire:
            write_all(wire, HEADER.pack(kind, stream, 0))

    def _ping(self) -> None:
        while not self._closing.wait(PING_EVERY):
            try:
                with self._wire() as wire:
                    write_all(wire, HEADER.pack(b"P", 0, 0))
            except OSError:
                return  # the reader tells

    def _read(self) -> None:
        try:
            self._answers()
        finally:
            self._fail_all()

    def _answers(self) -> None:
        for line in t.cast(t.IO[bytes], self._process.stdout):
            try:
                message = json.loads(line)
                number = message["id"]
            except (ValueError, KeyError, TypeError):
                continue  # a login banner or the like
            future, on_event = self._waiting.get(number, (None, None))
            if future is None:
                continue
            if "event" in message:
                if on_event:
                    on_event(message["event"])
                continue
            del self._waiting[number]
            if "error" in message:
                error = message["error"]
                future.set_exception(
                    HvmError(f"{self.name}: {error['what']}", error.get("remedy", ""), **error.get("details", {}))
                )
            else:
                future.set_result(message.get("result"))

    def _fail_all(self) -> None:
        error = PeerLost(
            f"the connection to {self.name} ended: {self._why()}",
            f"Check that {self.name} is up, and that hvm.pair.install has run on both hosts.",
        )
        self._ended = True  # before the look at who waits: who comes later looks at this
        for number in list(self._waiting):
            future, dummy = self._waiting.pop(number, (None, None))
            if future is not None and not future.done():
                future.set_exception(error)

    def _why(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        if self._process.poll() is None or not self._process.stderr:
            return "closed"
        with self._telling, contextlib.suppress(OSError, ValueError):
            said = self._process.stderr.read().decode(errors="replace").strip()
            if said:
                self._said = said.splitlines()[-1]
        if self._said:
            return self._said
        return f"ssh ended with {self._process.returncode}"


def _wait_readable(fd: int) -> int:
    """Bytes that can be taken from a pipe now, waiting for the first; 0 at its end."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll()
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return min(count[0], CHUNK)
