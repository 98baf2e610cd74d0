# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The frames that ask who has an address and that tell who has it now: ARP for IPv4, neighbour discovery for IPv6.

Whole Ethernet frames, as bytes; nothing here touches a socket. ARP: RFC 826 and 5227. IPv6: RFC 4861 and 4862.
"""

from __future__ import annotations

import ipaddress
import struct
import typing as t

# A string: ansible-test checks these files for older Pythons too, which cannot join classes by |.
Address: t.TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD
REQUEST, REPLY = 1, 2
SOLICITATION, ADVERTISEMENT = 135, 136

BROADCAST = b"\xff" * 6
ALL_NODES = ipaddress.IPv6Address("ff02::1")
UNSPECIFIED = ipaddress.IPv6Address("::")

_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET_IPV4 = (1, 0x0800, 6, 4)
_MINIMUM = 60  # bytes of an Ethernet frame without its checksum; a driver need not pad what comes from a raw socket
_ICMPV6 = 58
_ROUTER, _SOLICITED, _OVERRIDE = 0x80000000, 0x40000000, 0x20000000
_SOURCE_LINK_LAYER, _TARGET_LINK_LAYER = 1, 2


class Heard(t.NamedTuple):
    """What one frame says.

    :ivar kind: REQUEST, REPLY, SOLICITATION or ADVERTISEMENT.
    :ivar mac: who sent it.
    :ivar sender: the address that the sender claims as its own; None when it claims none (a probe).
    :ivar target: the address that it is about.
    """

    kind: int
    mac: str
    sender: Address | None
    target: Address

    def claims(self, address: Address) -> bool:
        """Whether this shows that the sender has `address`, or is about to take it (RFC 5227 2.1.1, RFC 4862 5.4.3)."""
        if self.sender == address:
            return True
        if self.kind == ADVERTISEMENT:
            return self.target == address
        return self.sender is None and self.target == address and self.kind in (REQUEST, SOLICITATION)


def mac_bytes(mac: str) -> bytes:
    """The six bytes of aa:bb:cc:dd:ee:ff.

    :raises ValueError: for anything else.
    """
    raw = bytes.fromhex(mac.replace(":", ""))
    if len(raw) != 6:
        raise ValueError(f"{mac!r} is not an Ethernet address")
    return raw


def mac_text(raw: bytes) -> str:
    return raw.hex(":")


def question(mac: str, target: Address, sender: Address | None = None) -> bytes:
    """Who has `target`? Without a `sender` it is a probe, which changes nobody's cache."""
    if isinstance(target, ipaddress.IPv4Address):
        claimed = sender if isinstance(sender, ipaddress.IPv4Address) else ipaddress.IPv4Address(0)
        # RFC 5227 2.1.1: in a probe the sender address is all zero, the target hardware address should be.
        return _arp(mac, REQUEST, claimed, bytes(6), target)
    return _solicitation(mac, target, sender if isinstance(sender, ipaddress.IPv6Address) else None)


def announcements(mac: str, address: Address, router: bool = False) -> list[bytes]:
    """`address` is at `mac` from now on.

    For IPv4 both forms: caches of some systems and switches follow only requests, others only replies (RFC 5944 4.6
    allows either; pacemaker/resource-agents pull request 977). For IPv6 one unsolicited advertisement with the override
    flag, which replaces what the neighbours know (RFC 4861 7.2.6).
    """
    if isinstance(address, ipaddress.IPv4Address):
        # RFC 5227 3: sender and target are the address. RFC 5944 4.6: in the reply the target hardware address is ours.
        return [_arp(mac, REQUEST, address, bytes(6), address), _arp(mac, REPLY, address, mac_bytes(mac), address)]
    flags = _OVERRIDE | (_ROUTER if router else 0)
    body = struct.pack("!I16s", flags, address.packed) + _link_layer(_TARGET_LINK_LAYER, mac)
    return [_icmpv6(mac, address, ALL_NODES, ADVERTISEMENT, body)]


def solicited_node(address: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    """The multicast group that whoever has `address` listens to (RFC 4291 2.7.1)."""
    return ipaddress.IPv6Address(bytes.fromhex("ff0200000000000000000001ff") + address.packed[13:])


def multicast_mac(group: ipaddress.IPv6Address) -> bytes:
    """RFC 2464 7."""
    return b"\x33\x33" + group.packed[12:]


def parse(frame: bytes) -> Heard | None:
    """What `frame` says; None for what is no ARP for IPv4 over Ethernet and no valid neighbour discovery message."""
    ethertype = int.from_bytes(frame[12:14], "big") if len(frame) >= 14 else 0
    if ethertype == ETHERTYPE_ARP:
        return _parse_arp(frame[14:])
    if ethertype == ETHERTYPE_IPV6:
        return _parse_ipv6(frame[6:12], frame[14:])
    return None


def _arp(mac: str, kind: int, sender: ipaddress.IPv4Address, target_mac: bytes, target: ipaddress.IPv4Address) -> bytes:
    source = mac_bytes(mac)
    body = _ARP.pack(*_ETHERNET_IPV4, kind, source, sender.packed, target_mac, target.packed)
    return (BROADCAST + source + ETHERTYPE_ARP.to_bytes(2, "big") + body).ljust(_MINIMUM, b"\0")


def _parse_arp(packet: bytes) -> Heard | None:
    if len(packet) < _ARP.size:
        return None
    *form, kind, mac, sender, _target_mac, target = _ARP.unpack_from(packet)
    if tuple(form) != _ETHERNET_IPV4 or kind not in (REQUEST, REPLY):
        return None
    # The sender as ARP names it, not as the frame does: that is what caches learn. They differ behind some bonds.
    return Heard(kind, mac_text(mac), ipaddress.IPv4Address(sender) if any(sender) else None, ipaddress.IPv4Address(target))


def _solicitation(mac: str, target: ipaddress.IPv6Address, sender: ipaddress.IPv6Address | None) -> bytes:
    body = struct.pack("!I16s", 0, target.packed)
    if sender is not None:  # RFC 4861 4.3: this option must not go with the unspecified address
        body += _link_layer(_SOURCE_LINK_LAYER, mac)
    return _icmpv6(mac, sender or UNSPECIFIED, solicited_node(target), SOLICITATION, body)


def _link_layer(option: int, mac: str) -> bytes:
    return bytes((option, 1)) + mac_bytes(mac)


def _icmpv6(mac: str, source: ipaddress.IPv6Address, group: ipaddress.IPv6Address, kind: int, body: bytes) -> bytes:
    packet = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = source.packed + group.packed + struct.pack("!II", len(packet), _ICMPV6)
    packet = packet[:2] + checksum(pseudo + packet).to_bytes(2, "big") + packet[4:]
    # Version 6; hop limit 255: a receiver drops neighbour discovery with any other, since a router may have passed it on.
    header = struct.pack("!IHBB", 0x60000000, len(packet), _ICMPV6, 255) + source.packed + group.packed
    return multicast_mac(group) + mac_bytes(mac) + ETHERTYPE_IPV6.to_bytes(2, "big") + header + packet


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _parse_ipv6(source_mac: bytes, packet: bytes) -> Heard | None:
    # The checks of RFC 4861 7.1, but the checksum: a host that we fail to hear is worse than one that we hear wrongly,
    # and the kernel may leave the sum to a network card that is not there (virtual interfaces).
    if len(packet) < 64 or packet[0] >> 4 != 6 or packet[6] != _ICMPV6 or packet[7] != 255:
        return None
    kind, code = packet[40], packet[41]
    if kind not in (SOLICITATION, ADVERTISEMENT) or code:
        return None
    sender, target = ipaddress.IPv6Address(packet[8:24]), ipaddress.IPv6Address(packet[48:64])
    if target.is_multicast or sender.is_multicast:
        return None
    return Heard(kind, mac_text(source_mac), None if sender == UNSPECIFIED else sender, target)
