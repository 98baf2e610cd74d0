# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The other end: reads frames, runs the operations it was given, answers. Knows no operation itself."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import threading
import traceback
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import ENVIRONMENT
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._peer.protocol import CHUNK, HEADER, move, read_exact

Emit = t.Callable[[dict[str, t.Any]], None]
#: (arguments, emit) -> result
Operation = t.Callable[[dict[str, t.Any], Emit], t.Any]


class Server:
    """Serves one connection on two descriptors until its end.

    Streams that have not ended by then are cut; operations end first.
    """

    def __init__(self, operations: dict[str, Operation], source: int = 0, target: int = 1) -> None:
        self._operations = {**operations, "receive": self._receive}
        self._check_receive = operations["receive"]
        self._source = source
        self._target = target
        self._out = threading.Lock()
        self._streams: dict[int, subprocess.Popen[bytes]] = {}
        self._receivers: dict[int, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []

    def serve(self) -> None:
        while True:
            header = read_exact(self._source, HEADER.size)
            if len(header) < HEADER.size:
                break
            kind, stream, length = HEADER.unpack(header)
            if kind == b"J":
                self._request(json.loads(read_exact(self._source, length)))
            elif kind == b"D":
                self._data(stream, length)
            elif kind in (b"E", b"X"):
                self._end(stream, cut=kind == b"X")
        for stream in list(self._streams):
            self._end(stream, cut=True)
        for thread in self._threads:
            thread.join()

    def _request(self, request: dict[str, t.Any]) -> None:
        number, op, arguments = request["id"], request["op"], request.get("args", {})
        if op == "receive":  # its process must be there before the next frame is read
            try:
                self._check_receive(arguments, lambda dummy: None)
                self._spawn(arguments)
            except Exception as exc:  # noqa: BLE001  whatever it is, the one who asked must hear it
                self._answer(number, error=_error(exc))
                return
        thread = threading.Thread(target=self._work, args=(number, op, arguments), name=op)
        self._threads.append(thread)
        thread.start()

    def _work(self, number: int, op: str, arguments: dict[str, t.Any]) -> None:
        def emit(event: dict[str, t.Any]) -> None:
            self._answer(number, event=event)

        try:
            operation = self._operations.get(op)
            if operation is None:
                raise HvmError(
                    f"the agent does not know the operation {op!r}", "Run the playbook hvm.pair.install on both hosts."
                )
            self._answer(number, result=operation(arguments, emit))
        except Exception as exc:  # noqa: BLE001  whatever it is, the one who asked must hear it
            self._answer(number, error=_error(exc))

    def _answer(self, number: int, **fields: t.Any) -> None:
        line = json.dumps({"id": number, **fields}).encode() + b"\n"
        with self._out, contextlib.suppress(OSError):  # the other host may be gone; the work goes on all the same
            view = memoryview(line)
            while view:
                view = view[os.write(self._target, view) :]

    # ---- streams

    def _spawn(self, arguments: dict[str, t.Any]) -> None:
        process = subprocess.Popen(
            arguments["command"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT},
        )
        with contextlib.suppress(OSError):
            fcntl.fcntl(process.stdin.fileno(), fcntl.F_SETPIPE_SZ, CHUNK)  # type: ignore[union-attr]
        self._streams[arguments["stream"]] = self._receivers[arguments["stream"]] = process

    def _receive(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        process = self._receivers.pop(arguments["stream"])
        said = process.stderr.read().decode(errors="replace")  # type: ignore[union-attr]
        if process.wait():
            raise CommandError(arguments["command"], process.returncode, "", said)
        return {}

    def _data(self, stream: int, length: int) -> None:
        process = self._streams.get(stream)
        moved = 0
        if process is not None and process.stdin:
            moved = move(self._source, process.stdin.fileno(), length)
        left = length - moved
        died = left > 0
        while left > 0:
            part = os.read(self._source, min(left, CHUNK))
            if not part:
                return  # not the receiver, the connection has ended: the stream stays known, so that `serve` cuts it
            left -= len(part)
        if died:
            self._streams.pop(stream, None)  # it says why by itself; the rest of its stream is dropped

    def _end(self, stream: int, cut: bool) -> None:
        process = self._streams.pop(stream, None)
        if process is None:
            return
        if cut:
            process.terminate()
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]


def _error(exc: Exception) -> dict[str, t.Any]:
    if isinstance(exc, HvmError):
        return {"what": exc.what, "remedy": exc.remedy, "details": exc.details}
    return {"what": f"unexpected {type(exc).__name__}: {exc}", "remedy": "", "details": {"exception": traceback.format_exc()}}
