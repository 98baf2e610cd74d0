# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client of a VM: it pings from the lab's network, whatever becomes of the VM, and says when answers came.

Written here instead of run as `ping`: that is not installed everywhere, and its output has no time of a lost answer.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable

#: ICMP (RFC 792): type, code, checksum, identifier, sequence number.
_HEADER = struct.Struct("!BBHHH")
_ECHO, _REPLY = 8, 0


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def request(identifier: int, number: int) -> bytes:
    payload = b"hvm.pair lab"
    bare = _HEADER.pack(_ECHO, 0, 0, identifier, number & 0xFFFF) + payload
    return _HEADER.pack(_ECHO, 0, checksum(bare), identifier, number & 0xFFFF) + payload


def is_answer(packet: bytes, identifier: int) -> bool:
    """Of a raw IPv4 socket, so with the IP header: whether it answers to one of ours."""
    if len(packet) < 20:
        return False
    start = (packet[0] & 15) * 4
    if len(packet) < start + _HEADER.size:
        return False
    kind, _code, _checksum, whose, _number = _HEADER.unpack_from(packet, start)
    return (kind, whose) == (_REPLY, identifier)


def gaps(answers: Iterable[float], began: float, ended: float) -> list[float]:
    """Seconds without an answer between `began` and `ended`, the longest first; also at both ends."""
    within = sorted(t for t in answers if began <= t <= ended)
    edges = [began, *within, ended]
    return sorted((after - before for before, after in itertools.pairwise(edges)), reverse=True)


class Pings:
    """Pings an IPv4 address every `every` seconds, as a context manager; needs CAP_NET_RAW.

    :ivar answers: when each came, in seconds since 1970.
    """

    def __init__(self, address: str, every: float = 0.1) -> None:
        self.address, self.every = address, every
        self.answers: list[float] = []
        self._identifier = os.getpid() & 0xFFFF
        self._end = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._socket.settimeout(0.2)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)]

    def __enter__(self) -> Pings:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *dummy: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _send(self) -> None:
        number = 0
        while not self._end.wait(self.every):
            number += 1
            with contextlib.suppress(OSError):  # nobody has that address, at this moment
                self._socket.sendto(request(self._identifier, number), (self.address, 0))

    def _receive(self) -> None:
        while not self._end.is_set():
            with contextlib.suppress(OSError):
                packet, sender = self._socket.recvfrom(2048)
                if sender[0] == self.address and is_answer(packet, self._identifier):
                    self.answers.append(time.time())

    def gaps(self, began: float, ended: float) -> list[float]:
        return gaps(list(self.answers), began, ended)
