# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""A unix socket and a connection joined: what comes out of the one goes into the other, as if the two sockets were one.

The same on both hosts, in one thread that waits for nothing but all of it at once: so nothing that one side does not take can
hold up the other direction, or the end.
"""

from __future__ import annotations

import math
import select
import socket
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._peer.wire import DATA, END, HEADER, PIECE, PING, STOP, Cut, Ended, Wire

if t.TYPE_CHECKING:
    from ansible_collections.hvm.pair.plugins.module_utils._peer.flow import Limiter

_NOTHING = memoryview(b"")


class Joint:
    """:param near: this end waits for the other one to end first: that one has delivered all then.
    :param limiter: of what goes to the other host.
    :ivar sent: bytes that came out of the socket and went to the other host, `received`: the other way.
    """

    def __init__(self, wire: Wire, local: socket.socket, near: bool, limiter: Limiter | None = None) -> None:
        self.sent = self.received = 0
        self._wire, self._local, self._near, self._limiter = wire, local, near, limiter
        local.setblocking(False)
        self._buffer = memoryview(bytearray(HEADER.size + PIECE))
        self._going = _NOTHING  # to the other host
        self._coming = _NOTHING  # from there, to the socket
        self._not_before = 0.0  # may it go, for the rate's sake
        self._out_ended = self._in_ended = False  # the end was said, was heard
        self._deaf = False  # the socket takes nothing any more
        self._stopped = False  # and the other host has been told

    def run(self) -> None:
        """Until both directions have ended.

        :raises HvmError: when the connection ended before; the socket is for the caller to close, in any case.
        """
        self._wire.heard = time.monotonic()
        while True:
            if not self._coming:
                self._hear()
            if not self._going:
                self._speak()
            if self._out_ended and self._in_ended and not self._near and not self._coming and not self._going:
                return
            if not self._turn():
                return

    def _hear(self) -> None:
        """What the frames say that have come, up to the first data."""
        while not self._coming and (frame := self._wire.next()) is not None:
            kind, part = frame
            if kind == DATA:
                self.received += len(part)
                if not self._deaf:
                    self._coming = part
            elif kind == END:
                self._in_ended = True
                self._shut(socket.SHUT_WR)
            elif kind == STOP:
                self._shut(socket.SHUT_RD)  # whoever writes into the socket gets EPIPE, and we read its end

    def _shut(self, how: int) -> None:
        try:
            self._local.shutdown(how)
        except OSError:  # it is gone altogether: reading and writing say so
            pass

    def _speak(self) -> None:
        """What is to be said besides data."""
        if self._deaf and not self._stopped and not self._in_ended:
            self._stopped = True
            self._going = memoryview(HEADER.pack(STOP, 0))
        elif time.monotonic() >= self._wire.said + self._wire.ping_every:
            self._going = memoryview(HEADER.pack(PING, 0))

    def _turn(self) -> bool:
        """Wait until something can move, and move it. :return: False at the end."""
        wire, local = self._wire, self._local.fileno()
        now = time.monotonic()
        poll = select.poll()
        until = wire.said + wire.ping_every if not self._going else math.inf
        if self._coming:
            wire.heard = now  # nobody listens now; what it says meanwhile is heard later
        else:
            if now >= wire.heard + wire.silence:
                raise Cut(f"it has said nothing for {wire.silence:.0f} s")
            until = min(until, wire.heard + wire.silence)
            poll.register(wire.source, select.POLLIN)
        if self._going and now >= self._not_before:
            poll.register(wire.target, select.POLLOUT)
        elif self._going:
            until = min(until, self._not_before)
        reads = not self._going and not self._out_ended
        # With no events asked for poll(2) still tells of one who has closed altogether, without a word that could be read.
        if reads or self._coming or (self._out_ended and not self._deaf and not self._in_ended):
            poll.register(local, (select.POLLIN if reads else 0) | (select.POLLOUT if self._coming else 0))
        ready = dict(poll.poll(None if until is math.inf else max(math.ceil((until - now) * 1000), 0)))
        if local in ready:
            if self._coming:
                self._into_socket()
            elif not reads:
                self._deaf = True
            if reads:
                self._out_of_socket()
        over = self._near and self._out_ended and self._in_ended
        try:
            if wire.target in ready:
                self._going = self._going[wire.write([self._going]) :]
            if wire.source in ready and not wire.read():
                raise Ended()
        except Cut:
            if over:  # as expected; whether the other end had delivered all is said by what it ended with
                return False
            raise
        return True

    def _into_socket(self) -> None:
        try:
            self._coming = self._coming[self._local.send(self._coming) :]
        except BlockingIOError:
            pass
        except OSError:
            self._deaf, self._coming = True, _NOTHING

    def _out_of_socket(self) -> None:
        most = PIECE if self._limiter is None else self._limiter.piece(PIECE)
        try:
            count = self._local.recv_into(self._buffer[HEADER.size : HEADER.size + most])
        except BlockingIOError:
            return
        except OSError:  # closed with something in it that was not read
            count, self._deaf = 0, True
        if not count:
            self._out_ended = True
            self._going = memoryview(HEADER.pack(END, 0))
            return
        HEADER.pack_into(self._buffer, 0, DATA, count)
        self._going = self._buffer[: HEADER.size + count]
        self.sent += count
        if self._limiter is not None:
            self._not_before = time.monotonic() + self._limiter.delay(count)


def join(wire: Wire, local: socket.socket, near: bool, limiter: Limiter | None = None) -> Joint:
    """:raises HvmError: see `Joint.run`."""
    joint = Joint(wire, local, near, limiter)
    joint.run()
    return joint
