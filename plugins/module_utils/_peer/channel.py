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
import json
import os
import subprocess
import termios
import threading
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.build import digests
from ansible_collections.hvm.pair.plugins.module_utils._core.command import ENVIRONMENT
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.protocol import CHUNK, HEADER, PROTOCOL, move, write_all

KEY = "/etc/hvm/id_ed25519"
KNOWN_HOSTS = "/etc/hvm/known_hosts"
REQUEST_TIMEOUT = 120.0

Event = t.Callable[[dict[str, t.Any]], None]


class PeerLost(HvmError):
    """The connection ended; what the other host did after the last answer is not known."""


def ssh_command(config: PairConfig) -> list[str]:
    """Own key, pinned host key, nothing of the user's configuration, nothing shared with other connections."""
    options = {
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": KNOWN_HOSTS,
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": config.peer.name,
        "ControlMaster": "no",
        "ControlPath": "none",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "LogLevel": "ERROR",
    }
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    return ["ssh", "-T", "-F", "/dev/null", "-i", KEY, *words, f"root@{config.peer.address}", "hvm-agent"]


class Peer:
    """The other host. A context manager; requests may come from several threads."""

    def __init__(self, config: PairConfig, command: t.Sequence[str] | None = None) -> None:
        self.name = config.peer.name
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[concurrent.futures.Future[t.Any], Event | None]] = {}
        self._next = 0
        self._closed = False
        self._telling = threading.Lock()
        self._said = ""  # the last line that ssh said: it can be read once only
        self.bytes_sent = 0
        try:
            self._process = subprocess.Popen(
                list(command or ssh_command(config)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **ENVIRONMENT},
            )
        except FileNotFoundError as exc:
            raise HvmError(f"{exc.filename} is not installed on this host", "Run the playbook hvm.pair.install.") from exc
        self._stdin = t.cast(t.IO[bytes], self._process.stdin).fileno()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._stdin, fcntl.F_SETPIPE_SZ, CHUNK)
        self._reader = threading.Thread(target=self._read, name="peer", daemon=True)
        self._reader.start()
        try:
            self.hello = self.call("hello", timeout=40, protocol=PROTOCOL, pair=config.pair, me=config.me.name, digests=digests())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the agent finishes what it was told and gives its lock back."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
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
        with self._lock:
            self._next += 1
            number = self._next
            self._waiting[number] = (future, on_event)
            payload = json.dumps({"id": number, "op": op, "args": arguments}).encode()
            try:
                write_all(self._stdin, HEADER.pack(b"J", 0, len(payload)) + payload)
            except (OSError, ValueError):
                pass  # the reader sees the end and says why
        if not self._reader.is_alive():
            self._fail_all()
        return future

    def result(self, future: concurrent.futures.Future[t.Any], op: str, timeout: float = REQUEST_TIMEOUT) -> t.Any:
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError as exc:
            raise PeerLost(
                f"{self.name} has not answered to '{op}' within {timeout:.0f} s",
                "Look at that host and at the link between them.",
            ) from exc

    def send(self, stream: int, command: t.Sequence[str], on_bytes: t.Callable[[int], None] = lambda dummy: None) -> int:
        """Run `command` (a zfs send) and carry its output to the agent's stream `stream`; returns the bytes.

        :raises CommandError: when the command fails; the stream's end is not announced then, so the receiver keeps its
            resumable part.
        """
        total = 0
        with subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT},
        ) as process:
            out = t.cast(t.IO[bytes], process.stdout).fileno()
            with contextlib.suppress(OSError):
                fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, CHUNK)
            try:
                while True:
                    first = _wait_readable(out)
                    if not first:
                        break
                    with self._lock:
                        write_all(self._stdin, HEADER.pack(b"D", stream, first))
                        if move(out, self._stdin, first) < first:
                            raise BrokenPipeError(errno.EPIPE, "the connection ended")
                    total += first
                    on_bytes(first)
            except OSError as exc:
                process.kill()
                self._reader.join(5)
                if exc.errno in (errno.EPIPE, errno.EBADF):
                    raise PeerLost(
                        f"the connection to {self.name} ended while {command[-1]} was sent: {self._why()}",
                        "Run this again.",
                    ) from exc
                raise
            said = t.cast(t.IO[bytes], process.stderr).read().decode(errors="replace")
            failed = process.wait()
        # A connection that has ended is for the reader to tell, with the reason: whoever waits for the result gets PeerLost.
        with self._lock, contextlib.suppress(OSError):
            write_all(self._stdin, HEADER.pack(b"X" if failed else b"E", stream, 0))
        if failed:
            raise CommandError(command, failed, "", said)
        with self._lock:
            self.bytes_sent += total
        return total

    def _read(self) -> None:
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
        self._fail_all()

    def _fail_all(self) -> None:
        error = PeerLost(
            f"the connection to {self.name} ended: {self._why()}",
            f"Check that {self.name} is up, and that hvm.pair.install has run on both hosts.",
        )
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
    import select

    select.select([fd], [], [])
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    if not count[0]:
        time.sleep(0)
        select.select([fd], [], [])
        fcntl.ioctl(fd, termios.FIONREAD, count)
    return min(count[0], CHUNK)
