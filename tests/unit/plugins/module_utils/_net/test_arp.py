# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ipaddress

import hypothesis
import hypothesis.strategies as st
import pytest

from ansible_collections.hvm.pair.plugins.module_utils._net import arp

MAC, OTHER = "52:54:00:12:34:56", "52:54:00:ab:cd:ef"
V4, V6 = ipaddress.IPv4Address("192.0.2.10"), ipaddress.IPv6Address("2001:db8::10")

macs = st.binary(min_size=6, max_size=6).map(arp.mac_text)
v4s = st.ip_addresses(v=4).filter(int)
v6s = st.ip_addresses(v=6).filter(lambda a: int(a) and not a.is_multicast)
addresses = st.one_of(v4s, v6s)


def test_probe_byte_by_byte() -> None:
    # RFC 5227 1.1: sender 0.0.0.0, target hardware address zero, to everybody
    assert arp.question(MAC, V4).hex(" ") == (
        "ff ff ff ff ff ff 52 54 00 12 34 56 08 06 "
        "00 01 08 00 06 04 00 01 52 54 00 12 34 56 00 00 00 00 00 00 00 00 00 00 c0 00 02 0a" + " 00" * 18
    )


def test_announcements_byte_by_byte() -> None:
    request, reply = arp.announcements(MAC, V4)
    head, pad = "ff ff ff ff ff ff 52 54 00 12 34 56 08 06 00 01 08 00 06 04 00 ", " 00" * 18
    sender = " 52 54 00 12 34 56 c0 00 02 0a "
    assert request.hex(" ") == head + "01" + sender + "00 00 00 00 00 00 c0 00 02 0a" + pad
    assert reply.hex(" ") == head + "02" + sender + "52 54 00 12 34 56 c0 00 02 0a" + pad


def test_unsolicited_advertisement_byte_by_byte() -> None:
    (frame,) = arp.announcements(MAC, V6)
    address = V6.packed.hex(" ")
    assert frame.hex(" ") == (
        "33 33 00 00 00 01 52 54 00 12 34 56 86 dd "
        f"60 00 00 00 00 20 3a ff {address} ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01 "  # hop limit 255, to all nodes
        f"88 00 74 51 20 00 00 00 {address} 02 01 52 54 00 12 34 56"  # override, and where it is
    )
    (router,) = arp.announcements(MAC, V6, router=True)
    assert router[58] == 0xA0


def test_duplicate_address_solicitation() -> None:
    frame = arp.question(MAC, ipaddress.IPv6Address("2001:db8::12:3456"))
    assert frame[:6] == bytes.fromhex("3333ff123456")
    assert frame[21] == 255
    assert frame[22:38] == bytes(16)  # from nobody
    assert ipaddress.IPv6Address(frame[38:54]) == ipaddress.IPv6Address("ff02::1:ff12:3456")
    assert frame[54] == arp.SOLICITATION
    assert len(frame) == 14 + 40 + 24  # RFC 4861 4.3: no source link-layer option from the unspecified address
    assert len(arp.question(MAC, V6, ipaddress.IPv6Address("fe80::1"))) == 14 + 40 + 32


@hypothesis.given(macs, v6s, st.one_of(st.none(), v6s))
def test_checksum_of_what_is_sent_is_right(mac: str, target: ipaddress.IPv6Address, sender: ipaddress.IPv6Address | None) -> None:
    for frame in [arp.question(mac, target, sender), *arp.announcements(mac, target)]:
        packet = frame[54:]
        pseudo = frame[22:54] + len(packet).to_bytes(4, "big") + b"\0\0\0\x3a"
        assert arp.checksum(pseudo + packet) == 0  # over the sum itself: RFC 1071


@hypothesis.given(macs, addresses)
def test_a_probe_is_heard_as_one(mac: str, address: arp.Address) -> None:
    kind = arp.REQUEST if address.version == 4 else arp.SOLICITATION
    heard = arp.parse(arp.question(mac, address))
    assert heard == arp.Heard(kind, mac, None, address)
    assert heard.claims(address)  # somebody else is about to take it


@hypothesis.given(macs, addresses, addresses)
def test_an_announcement_claims_its_address_and_no_other(mac: str, address: arp.Address, other: arp.Address) -> None:
    for frame in arp.announcements(mac, address):
        heard = arp.parse(frame)
        assert heard and heard.mac == mac and heard.claims(address)
        assert heard.claims(other) == (address == other)


@hypothesis.given(macs, v4s, v4s)
def test_a_question_claims_who_asks_not_what_is_asked_for(mac: str, target: arp.Address, sender: arp.Address) -> None:
    heard = arp.parse(arp.question(mac, target, sender))
    assert heard and heard.claims(sender)
    assert heard.claims(target) == (target == sender)


def test_a_neighbours_question_from_the_address_claims_it() -> None:
    heard = arp.parse(arp.question(OTHER, ipaddress.IPv6Address("2001:db8::1"), V6))
    assert heard and heard.claims(V6) and not heard.claims(ipaddress.IPv6Address("2001:db8::1"))


def test_an_advertisement_from_a_link_local_source_claims_its_target() -> None:
    (frame,) = arp.announcements(MAC, V6)
    heard = arp.parse(frame[:22] + ipaddress.IPv6Address("fe80::1").packed + frame[38:])
    assert heard and heard.claims(V6)


def test_frames_that_are_something_else_or_forged_from_afar_are_ignored() -> None:
    (advertisement,) = arp.announcements(MAC, V6)
    probe = arp.question(MAC, V4)

    def with_byte(frame: bytes, position: int, value: int) -> bytes:
        return frame[:position] + bytes([value]) + frame[position + 1 :]

    assert arp.parse(with_byte(advertisement, 21, 64)) is None  # hop limit: came through a router
    assert arp.parse(with_byte(advertisement, 20, 17)) is None  # UDP
    assert arp.parse(with_byte(advertisement, 54, 134)) is None  # router advertisement
    assert arp.parse(with_byte(advertisement, 55, 1)) is None  # code
    assert arp.parse(with_byte(advertisement, 62, 0xFF)) is None  # multicast target
    assert arp.parse(with_byte(probe, 21, 8)) is None  # reverse ARP
    assert arp.parse(with_byte(probe, 16, 0x86)) is None  # not for IPv4


@hypothesis.given(st.one_of(st.binary(max_size=100), st.binary(max_size=80).map(lambda tail: arp.question(MAC, V6)[:40] + tail)))
def test_no_frame_breaks_it(frame: bytes) -> None:
    arp.parse(frame)
    for whole in (arp.question(MAC, V4), arp.question(MAC, V6)):
        for length in (0, 13, 14, 20, 41, 53, 77):
            arp.parse(whole[:length])


def test_what_is_no_ethernet_address_is_refused() -> None:
    for text in ("", "52:54:00:12:34", "52:54:00:12:34:56:78", "nonsense"):
        with pytest.raises(ValueError):
            arp.mac_bytes(text)
