# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The relay's near end: a unix socket on this host that is one of the other host's.

libvirt and QEMU of the two hosts talk over unix sockets; the bytes of each connection go through an ssh connection of its own,
with the pair's own key, the pinned host key and the forced command: encrypted, authenticated, and no port is opened. The far end
is relayed.py. Also files, over connections of their own (files.py).

The bytes are copied, not spliced: measured with 3 GiB, 0.3 s of CPU per GiB and end, 0.1 s with `os.splice`; ssh takes several
times that beside either. And sshd gives its command sockets, not pipes: none can be spliced into another socket.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import stat
import subprocess
import threading
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer import files
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import PeerLost
from ansible_collections.hvm.pair.plugins.module_utils._peer.dial import RELAY, dial, ssh_command
from ansible_collections.hvm.pair.plugins.module_utils._peer.flow import Limiter, Meter
from ansible_collections.hvm.pair.plugins.module_utils._peer.joint import Joint
from ansible_collections.hvm.pair.plugins.module_utils._peer.protocol import CHUNK, PING_EVERY, PROTOCOL, SILENCE
from ansible_collections.hvm.pair.plugins.module_utils._peer.wire import NO_SENSE, OPEN, Cut, Ended, Told, Wire, told_by

#: Seconds until the far end has answered the first line: ssh's own ConnectTimeout, the login, the start of its Python.
HELLO = 30.0
#: How many dial at once, in this process: from ten on that have not logged in sshd turns some away (MaxStartups, sshd_config(5)),
#: and somebody else may log in, too.
AT_ONCE = 6
#: How often it is tried when sshd has turned us away, and the first pause between, in seconds. What ssh says then is this.
TRIES, PAUSE, TURNED_AWAY = 4, 0.5, "kex_exchange_identification"
#: Connections of one relay at most.
MOST = 64
#: Seconds until what was told to end has ended; then it is killed.
PATIENCE = 5.0

_dialling = threading.BoundedSemaphore(AT_ONCE)
Begun = t.Callable[["subprocess.Popen[bytes]"], None]


class Line:
    """One ssh connection whose far end has allowed the endpoint, and waits.

    :param command: instead of ssh.
    :param wait: seconds that the far end waits for its socket to be there.
    :param begun: told of the process, so that somebody else can end it.
    :raises HvmError: what the other host refused, with its name in front; PeerLost when there was no answer.
    """

    def __init__(
        self,
        config: PairConfig,
        endpoint: str,
        command: t.Sequence[str] | None = None,
        wait: float = 0.0,
        ping_every: float = PING_EVERY,
        silence: float = SILENCE,
        begun: Begun = lambda dummy: None,
    ) -> None:
        self._peer, self._endpoint, self._waits = config.peer.name, endpoint, wait
        self.process = dial(command or ssh_command(config, RELAY))
        begun(self.process)
        source, target = (t.cast("t.IO[bytes]", pipe).fileno() for pipe in (self.process.stdout, self.process.stdin))
        for pipe in (source, target):
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK)
        self.wire = Wire(source, target, ping_every, silence)
        hello = {"protocol": PROTOCOL, "pair": config.pair, "me": config.me.name, "endpoint": endpoint, "wait": wait}
        try:
            self.wire.tell(hello, HELLO)
            answer = self.wire.hear(HELLO)
            if "error" in answer:
                raise told_by(answer["error"])
            if answer.get("ok") is not True:
                raise Cut(NO_SENSE)
        except HvmError as exc:
            raise self.end(exc) from exc
        except BaseException:
            self.process.kill()
            self.end()
            raise

    def open(self) -> None:
        """Have the far end connected to its socket."""
        self.wire.send(OPEN)
        if self.wire.receive(self._waits + HELLO)[0] != OPEN:
            raise Cut(NO_SENSE)

    def is_there(self) -> bool:
        """Of one that nobody uses yet: whether it still lives; the far end hears that we do."""
        try:
            self.wire.idle(0)
        except HvmError:
            return False
        return True

    def end(self, failure: HvmError | None = None) -> HvmError:
        """End it, bounded.

        :return: `failure` as whoever waits should hear it: with the host whose it is; when the line was lost, with ssh's reason.
        """
        process = self.process
        pipes = [t.cast("t.IO[bytes]", pipe) for pipe in (process.stdin, process.stdout, process.stderr)]
        with contextlib.suppress(OSError):
            pipes[0].close()
        try:
            process.wait(PATIENCE if failure is None else 1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        said = _last_line(pipes[2].fileno())
        for pipe in pipes[1:]:
            pipe.close()
        if isinstance(failure, Told):
            return HvmError(f"{self._peer}: {failure.what}", failure.remedy)
        if failure is not None and not isinstance(failure, Cut):
            return failure
        why = said or (failure.what if failure and not isinstance(failure, Ended) else f"ssh ended with {process.returncode}")
        return PeerLost(
            f"the connection to {self._peer} for {self._endpoint} ended: {why}",
            f"Look at {self._peer} and at the link between the two hosts.",
        )


def _last_line(fd: int) -> str:
    """Of what ssh has said; without waiting: a child of its may still have the pipe."""
    os.set_blocking(fd, False)
    try:
        lines = os.read(fd, 1 << 16).decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip().rstrip(".") for line in reversed(lines) if line.strip()), "")


def _dial(
    config: PairConfig,
    endpoint: str,
    command: t.Sequence[str] | None,
    wait: float = 0.0,
    begun: Begun = lambda dummy: None,
    closing: threading.Event | None = None,
    **signs: float,
) -> Line:
    """A line, when it is this one's turn.

    :param closing: nobody wants it any more.
    """
    closing = closing or threading.Event()
    while not _dialling.acquire(timeout=0.2):
        if closing.is_set():
            raise PeerLost("the relay was closed")
    try:
        for attempt in range(1, TRIES + 1):
            try:
                return Line(config, endpoint, command, wait, begun=begun, **signs)
            except PeerLost as exc:
                if TURNED_AWAY not in exc.what or attempt == TRIES or closing.wait(PAUSE * attempt):
                    raise
    finally:
        _dialling.release()
    raise AssertionError  # not reached: the last attempt returns or raises


class Relay:
    """A context manager: from here to its end whoever connects to `path` talks to the other host's `endpoint`.

    :param path: of the socket. Its directory is the relay's own: it is made, or becomes root's with mode 0711, so that nobody
        else can put a socket in its place.
    :param uid: who may connect: user and group of QEMU (`gid`), or root's.
    :param wait: seconds that a socket over there is waited for which is not there yet.
    :param limiter: bytes per second towards the other host; one for several relays when they share a link.
    :ivar said: why a connection failed, the last one, as a sentence; "" when none has.
    """

    def __init__(
        self,
        config: PairConfig,
        path: str,
        endpoint: str,
        uid: int = 0,
        gid: int = 0,
        wait: float = 30.0,
        limiter: Limiter | None = None,
        command: t.Sequence[str] | None = None,
        ping_every: float = PING_EVERY,
        silence: float = SILENCE,
    ) -> None:
        self.path, self.endpoint = path, endpoint
        self.said = ""
        self._config, self._command, self._wait, self._limiter = config, command, wait, limiter
        self._owner = uid, gid
        self._ping_every = ping_every
        self._signs = {"ping_every": ping_every, "silence": silence}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._idle: list[Line] = []
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._clients: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._joints: list[Joint] = []
        self._listener: socket.socket | None = None
        self._made: tuple[int, int] | None = None
        self._wake = (-1, -1)

    @property
    def sent(self) -> int:
        """Bytes towards the other host, of all connections so far."""
        return sum(joint.sent for joint in list(self._joints))

    @property
    def received(self) -> int:
        return sum(joint.received for joint in list(self._joints))

    def __enter__(self) -> Relay:
        self._listener = listen(self.path, *self._owner)
        there = os.lstat(self.path)
        self._made = there.st_dev, there.st_ino
        self._wake = os.pipe()
        self._start(self._run, self._listener)
        return self

    def __exit__(self, *dummy: object) -> None:
        self.close()

    def _start(self, work: t.Callable[..., None], *arguments: t.Any) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=f"relay {self.endpoint}", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()
        return thread

    def ready(self, count: int) -> None:
        """Have `count` connections open before they are wanted: whoever connects then waits for no ssh, only for one round trip.

        :raises HvmError: why one of them cannot be had.
        """
        failures: list[Exception] = []

        def one() -> None:
            try:
                line = self._dial()
            except HvmError as exc:
                failures.append(exc)
                return
            with self._lock:
                if not self._closing.is_set():
                    self._idle.append(line)
                    return
            self._end(line)

        with self._lock:
            missing = count - len(self._idle)
        threads = [self._start(one) for dummy in range(missing)]
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def close(self) -> None:
        """End everything, whatever was under way; bounded by twice PATIENCE."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
            processes, clients, idle = list(self._processes), list(self._clients), self._idle[:]
            self._idle.clear()
        if self._listener is not None:
            os.write(self._wake[1], b"x")
        for process in processes:
            process.terminate()
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for line in idle:
            self._end(line)
        if not self._join(PATIENCE):
            with self._lock:
                processes = list(self._processes)
            for process in processes:
                process.kill()
            self._join(PATIENCE)
        if self._listener is None:
            return
        self._listener.close()
        for end in self._wake:
            os.close(end)
        with contextlib.suppress(FileNotFoundError):
            there = os.lstat(self.path)
            if (there.st_dev, there.st_ino) == self._made:
                os.unlink(self.path)

    def _join(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._lock:
                thread = next((one for one in self._threads if one.ident is not None), None)
            if thread is None:
                return True
            thread.join(max(deadline - time.monotonic(), 0))
        return False

    # ---- connections

    def _run(self, listener: socket.socket) -> None:
        poll = select.poll()
        for fd in (listener.fileno(), self._wake[0]):
            poll.register(fd, select.POLLIN)
        while not self._closing.is_set():
            if poll.poll(self._ping_every / 2 * 1000) and not self._closing.is_set():
                self._accept(listener)
            self._keep()

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, dummy = listener.accept()
        except OSError as exc:
            if not isinstance(exc, (BlockingIOError, ConnectionAbortedError)):
                self._say(HvmError(f"no connection can be taken at {self.path}: {exc.strerror or exc}"))
                self._closing.wait(0.2)  # no descriptors, no memory: the next one is as bad
            return
        with self._lock:
            full = len(self._clients) >= MOST
            if not full:
                self._clients.add(client)
        if full:
            client.close()
            self._say(HvmError(f"more than {MOST} connections at {self.path}", "See who connects there."))
            return
        self._start(self._carry, client)

    def _keep(self) -> None:
        with self._lock:
            gone = [line for line in self._idle if not line.is_there()]
            self._idle = [line for line in self._idle if line not in gone]
        for line in gone:
            self._end(line)

    def _carry(self, client: socket.socket) -> None:
        try:
            with client:
                line = self._opened(client)
                if line is None:
                    return
                joint = Joint(line.wire, client, True, self._limiter)
                self._joints.append(joint)
                failure: HvmError | None = None
                try:
                    joint.run()
                except HvmError as exc:
                    failure = exc
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            ended = self._end(line, failure)
            if failure is not None or line.process.returncode:
                self._say(ended)
        except HvmError as exc:
            self._say(exc)
        finally:
            with self._lock:
                self._clients.discard(client)

    def _opened(self, client: socket.socket) -> Line | None:
        """A line whose far end is connected; None when the client did not wait for it."""
        while True:
            with self._lock:
                line = self._idle.pop() if self._idle else None
            ahead = line is not None
            line = line or self._dial()
            if _has_gone(client):
                self._end(line)
                return None
            try:
                line.open()
                return line
            except HvmError as exc:
                error = self._end(line, exc)
                if not ahead or not isinstance(exc, Cut) or self._closing.is_set():
                    raise error from exc
                # It has died while nobody used it; nothing was begun on it.

    def _dial(self) -> Line:
        return _dial(
            self._config, self.endpoint, self._command, self._wait, begun=self._begun, closing=self._closing, **self._signs
        )

    def _begun(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._processes = {one for one in self._processes if one.returncode is None} | {process}
            if self._closing.is_set():
                process.kill()

    def _end(self, line: Line, failure: HvmError | None = None) -> HvmError:
        error = line.end(failure)
        with self._lock:
            self._processes.discard(line.process)
        return error

    def _say(self, error: HvmError) -> None:
        if not self._closing.is_set():
            self.said = str(error)


def _has_gone(client: socket.socket) -> bool:
    """Closed altogether, and nothing was said: the other host's socket would only be used up by it."""
    poll = select.poll()
    poll.register(client, 0)
    if not poll.poll(0):
        return False
    try:
        return not client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return True


def listen(path: str, uid: int = 0, gid: int = 0) -> socket.socket:
    """A socket that only `uid` (and root) can connect to; one that was left over gives way.

    :raises HvmError: when somebody listens there, or what is there is no socket.
    """
    directory = os.path.dirname(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _own(directory)
        _make_way(path)
        os.fchmod(listener.fileno(), 0o600)  # Linux makes the socket's file with it: it was never open to others
        listener.bind(path)
        os.chown(path, uid, gid, follow_symlinks=False)
        listener.setblocking(False)
        listener.listen(MOST)
    except OSError as exc:
        listener.close()
        raise HvmError(
            f"no socket can be made at {path}: {exc.strerror or exc}",
            f"See that {directory} is a directory, and that you are root.",
        ) from exc
    except BaseException:
        listener.close()
        raise
    return listener


def _own(directory: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o711)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if found.st_mode & stat.S_ISVTX:
            raise HvmError(f"{directory} is everybody's: no place for a socket of the pair")
        if found.st_uid != os.geteuid():
            os.fchown(fd, os.geteuid(), os.getegid())
        if stat.S_IMODE(found.st_mode) != 0o711:
            os.fchmod(fd, 0o711)
    finally:
        os.close(fd)


def _make_way(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise HvmError(f"{path} is there, and is no socket", "Look what it is, and remove it.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # nobody listens: it was left over
            return
        except BlockingIOError:
            pass
    raise HvmError(f"somebody listens at {path}", "Another migration may be running, or the VM's QEMU: wait for its end.")


# ---- files


def fetch(
    config: PairConfig,
    name: str,
    path: str,
    meter: Meter | None = None,
    limiter: Limiter | None = None,
    command: t.Sequence[str] | None = None,
) -> files.Done:
    """Copy the file `read:name` of the other host to `path`, which is replaced when all of it is there.

    :param meter: told how far it is; its `abort` ends it.
    :raises HvmError: naming the host where it failed; PeerLost when the connection was lost.
    """
    return _file(config, f"read:{name}", lambda wire: files.take(wire, path, meter, limiter), meter, command)


def push(
    config: PairConfig,
    name: str,
    path: str,
    meter: Meter | None = None,
    limiter: Limiter | None = None,
    command: t.Sequence[str] | None = None,
) -> files.Done:
    """The other way: `path` to the file `write:name` of the other host. It is on disk there when this returns."""
    return _file(config, f"write:{name}", lambda wire: files.give(wire, path, meter, limiter), meter, command)


def _file(
    config: PairConfig,
    endpoint: str,
    work: t.Callable[[Wire], files.Done],
    meter: Meter | None,
    command: t.Sequence[str] | None,
) -> files.Done:
    line = _dial(config, endpoint, command)
    if meter:
        meter.abort = line.process.kill
        meter.waits_for = config.peer.name  # from now on it can be ended
    try:
        done = work(line.wire)
    except HvmError as exc:
        error = line.end(exc)
        if meter and meter.failure:
            raise HvmError(meter.failure, error.remedy) from exc
        raise error from exc
    except BaseException:
        line.process.kill()
        line.end()
        raise
    line.end()
    return done
