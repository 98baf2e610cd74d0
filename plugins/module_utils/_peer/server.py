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
import select
import subprocess
import threading
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, known
from ansible_collections.hvm.pair.plugins.module_utils._peer import pipeline
from ansible_collections.hvm.pair.plugins.module_utils._peer.protocol import (
    CHUNK,
    HEADER,
    SILENCE,
    SINK,
    move,
    read_exact,
    write_all,
)

Emit = t.Callable[[dict[str, t.Any]], None]
#: (arguments, emit) -> result
Operation = t.Callable[[dict[str, t.Any], Emit], t.Any]


class Server:
    """Serves one connection on two descriptors until its end.

    Streams that have not ended by then are cut; operations end first.
    """

    def __init__(
        self, operations: dict[str, Operation], source: int = 0, target: int = 1, silence: float = SILENCE
    ) -> None:
        """:param operations: `receive` among them gets a stream's arguments and returns the pipeline that takes it."""
        self._operations = {**operations, "receive": self._receive, "sink": self._sink}
        self._sunk = 0
        self._silence = silence
        self._gone = False
        self._check_receive = operations["receive"]
        self._source = source
        self._poll = select.poll()
        self._poll.register(source, select.POLLIN)
        self._target = target
        self._out = threading.Lock()
        self._streams: dict[int, subprocess.Popen[bytes]] = {}
        self._receivers: dict[int, list[subprocess.Popen[bytes]]] = {}
        self._threads: list[threading.Thread] = []

    def serve(self) -> None:
        while self._somebody_is_there():
            header = read_exact(self._source, HEADER.size, self._somebody_is_there)
            if len(header) < HEADER.size:
                break
            kind, stream, length = HEADER.unpack(header)
            if kind == b"J":
                payload = read_exact(self._source, length, self._somebody_is_there)
                if len(payload) < length:
                    break
                self._request(json.loads(payload))
            elif kind == b"D":
                self._data(stream, length)
            elif kind in (b"E", b"X"):
                self._end(stream)
        for stream in list(self._streams):
            self._end(stream)
        for thread in self._threads:
            thread.join()

    def _somebody_is_there(self) -> bool:
        """False after a silence in which the other side would have said that it is there; from then on for good.

        Also asked in the midst of a frame: that is where a link is cut while a stream runs.
        """
        if not self._gone:
            self._gone = not self._poll.poll(self._silence * 1000)
        return not self._gone

    def _request(self, request: dict[str, t.Any]) -> None:
        number, op, arguments = request["id"], request["op"], request.get("args", {})
        if op == "receive":  # its process must be there before the next frame is read
            try:
                self._spawn(arguments["stream"], self._check_receive(arguments, lambda dummy: None))
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
            write_all(self._target, line)

    # ---- streams

    def _spawn(self, stream: int, commands: list[list[str]]) -> None:
        processes = pipeline.start(commands, subprocess.PIPE, subprocess.DEVNULL)
        with contextlib.suppress(OSError):
            fcntl.fcntl(processes[0].stdin.fileno(), fcntl.F_SETPIPE_SZ, CHUNK)  # type: ignore[union-attr]
        self._streams[stream] = processes[0]
        self._receivers[stream] = processes

    def _receive(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        """Wait for the pipeline's end. What its last command, the zfs receive, says comes first."""
        failed = pipeline.reap(self._receivers.pop(arguments["stream"])[::-1])
        if failed:
            raise failed[0]
        return {}

    def _data(self, stream: int, length: int) -> None:
        process = self._streams.get(stream)
        left = length
        if process is not None and process.stdin:
            left -= move(self._source, process.stdin.fileno(), length, self._somebody_is_there)
        died = left > 0
        while left > 0:
            part = os.read(self._source, min(left, CHUNK)) if self._somebody_is_there() else b""
            if not part:
                return  # not the receiver, the connection has ended: the stream stays known, so that `serve` cuts it
            left -= len(part)
        if stream == SINK:
            self._sunk += length
        elif died:
            self._end(stream)  # it says why by itself; the rest of its stream is dropped

    def _sink(self, dummy_arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        """How many bytes have gone into the sink since it was asked last; frames come in their order, so all that were sent."""
        count, self._sunk = self._sunk, 0
        return {"bytes": count}

    def _end(self, stream: int) -> None:
        """No more of it. A stream that was cut looks the same to zfs receive: it keeps what it has, resumable."""
        process = self._streams.pop(stream, None)
        if process is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]


def _error(exc: Exception) -> dict[str, t.Any]:
    if failure := known(exc):
        return {"what": failure.what, "remedy": failure.remedy, "details": failure.details}
    import traceback  # it loads a dozen files more

    return {"what": f"unexpected {type(exc).__name__}: {exc}", "remedy": "", "details": {"exception": traceback.format_exc()}}
