# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The frames of `arp` on an interface: packet sockets (packet(7)), which need no address and no process."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import select
import socket
import struct
import threading
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net import arp

# Python's socket module has no names for these: asm-generic/socket.h, linux/if_packet.h
_SO_ATTACH_FILTER = 26
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_MULTICAST = 263, 1, 0

Program = t.Sequence[tuple[int, int, int, int]]
Groups = t.Iterable[ipaddress.IPv6Address]

#: Classic BPF: nothing but neighbour solicitations and advertisements. Without it, a busy interface fills the socket's
#: buffer with other IPv6 traffic and the one answer that counts is dropped. (code, jump if true, jump if false, value)
_NEIGHBOUR_DISCOVERY = (
    (0x30, 0, 0, 20),  # load the byte at 20: next header
    (0x15, 0, 4, 58),  # ICMPv6?
    (0x30, 0, 0, 54),  # load the byte at 54: type
    (0x15, 1, 0, arp.SOLICITATION),
    (0x15, 0, 1, arp.ADVERTISEMENT),
    (0x06, 0, 0, 0x40000),  # take it whole
    (0x06, 0, 0, 0),  # drop it
)


def send(interface: str, frames: t.Sequence[bytes], count: int = 1, interval: float = 0.0) -> None:
    """Send all frames `count` times, without listening.

    :raises HvmError: when they cannot be sent.
    """
    try:
        # Protocol 0: hears nothing.
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            for turn in range(count):
                if turn and interval:
                    time.sleep(interval)
                for frame in frames:
                    one.sendto(frame, (interface, int.from_bytes(frame[12:14], "big")))
        finally:
            # To close a packet socket the kernel waits until no processor can still look at it (packet_release:
            # synchronize_net): 10 to 30 ms, all else took one. Nobody needs to wait for that with it.
            threading.Thread(target=one.close).start()
    except OSError as exc:
        raise _error(interface, exc) from exc


def answers_ping(address: arp.Address, seconds: float) -> bool:
    """Whether `address`, behind whatever routers, answers an echo request; a host need not have a `ping`."""
    four = address.version == 4
    family, protocol, ask, answer = (socket.AF_INET, 1, 8, 0) if four else (socket.AF_INET6, 58, 128, 129)
    mark = os.urandom(8)
    packet = struct.pack("!BBHHH", ask, 0, 0, os.getpid() & 0xFFFF, 0) + mark
    packet = packet[:2] + arp.checksum(packet).to_bytes(2, "big") + packet[4:]  # for IPv6 the kernel puts in its own
    end = time.monotonic() + seconds
    try:
        with socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as one:
            one.connect((str(address), 0))
            while time.monotonic() < end:
                one.send(packet)
                turn = min(end, time.monotonic() + 0.5)
                while select.select([one], [], [], max(0.0, turn - time.monotonic()))[0]:
                    heard = one.recv(2048)
                    message = heard[(heard[0] & 15) * 4 :] if four else heard  # a raw IPv4 socket gives the header too
                    if message[:1] == bytes([answer]) and message[8:] == mark:
                        return True
    except OSError:  # no route, or a router says that it is not to be reached
        return False
    return False


class Wire:
    """Sends frames on `interface` and hears what others say there about `addresses`. A context manager.

    :raises HvmError: when the sockets cannot be had.
    """

    def __init__(self, interface: str, addresses: t.Sequence[arp.Address]) -> None:
        self._interface = interface
        self._sockets: dict[int, socket.socket] = {}
        try:
            if any(address.version == 4 for address in addresses):
                self._sockets[4] = self._open(arp.ETHERTYPE_ARP)
            groups = {arp.solicited_node(a) for a in addresses if a.version == 6}
            if groups:
                self._sockets[6] = self._open(arp.ETHERTYPE_IPV6, _NEIGHBOUR_DISCOVERY, groups | {arp.ALL_NODES})
        except OSError as exc:
            self.close()
            raise _error(self._interface, exc) from exc

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for one in self._sockets.values():
            one.close()

    def send(self, version: int, frame: bytes) -> None:
        try:
            self._sockets[version].send(frame)
        except OSError as exc:
            raise _error(self._interface, exc) from exc

    def heard(self, seconds: float) -> t.Iterator[arp.Heard]:
        """What is heard within so many seconds, as it comes."""
        end = time.monotonic() + seconds
        while True:
            ready = select.select(list(self._sockets.values()), [], [], max(0.0, end - time.monotonic()))[0]
            if not ready:
                return
            for one in ready:
                try:
                    frame, (_name, _protocol, direction, *_rest) = one.recvfrom(2048)
                except OSError as exc:
                    raise _error(self._interface, exc) from exc
                # Our own, and what a promiscuous interface picks up on its way to others, maybe on another VLAN.
                if direction not in (socket.PACKET_OUTGOING, socket.PACKET_OTHERHOST):
                    message = arp.parse(frame)
                    if message is not None:
                        yield message
            if time.monotonic() >= end:
                return

    def _open(self, ethertype: int, program: Program = (), groups: Groups = ()) -> socket.socket:
        # Protocol 0 hears nothing until bind, so that nothing gets in before the filter is there.
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            if program:
                code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
                one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code)))
            one.bind((self._interface, ethertype))
            index = socket.if_nametoindex(self._interface)
            for group in groups:
                member = struct.pack("iHH8s", index, _PACKET_MR_MULTICAST, 6, arp.multicast_mac(group))
                one.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, member)
        except BaseException:
            one.close()
            raise
        return one


def _error(interface: str, exc: OSError) -> HvmError:
    remedy = "This needs root." if isinstance(exc, PermissionError) else f"See 'ip link show {interface}' and run this again."
    return HvmError(f"no frames can be sent or heard on {interface}: {exc.strerror or exc}", remedy)
