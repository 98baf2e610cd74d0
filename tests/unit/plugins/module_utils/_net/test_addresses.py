# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ipaddress
import json
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net import addresses as pure
from ansible_collections.hvm.pair.plugins.module_utils._net.declared import parse_shared

V4, V6 = "192.0.2.10/24", "2001:db8::10/64"
PARTLY = "Shared IP is partly enabled: 192.0.2.10 is on br0, "
UP = ("BROADCAST", "MULTICAST", "UP", "LOWER_UP")


def info(address: str, **more: t.Any) -> dict[str, t.Any]:
    one = ipaddress.ip_interface(address)
    family = "inet" if one.version == 4 else "inet6"
    return {"family": family, "local": str(one.ip), "prefixlen": one.network.prefixlen, "scope": "global", **more}


def link(*infos: dict[str, t.Any], name: str = "br0", flags: t.Sequence[str] = UP, kind: str = "ether") -> dict[str, t.Any]:
    return {"ifname": name, "flags": flags, "link_type": kind, "address": "52:54:00:12:34:56", "addr_info": list(infos)}


def links(*raw: dict[str, t.Any]) -> dict[str, pure.Link]:
    return pure.parse_links(json.dumps(raw))


def sentence(*raw: dict[str, t.Any], wanted: tuple[str, ...] = (V4, V6)) -> str:
    return pure.status(links(*raw), parse_shared(wanted), "br0").sentence


LO = link(info("127.0.0.1/8"), name="lo", kind="loopback")


def test_parse_what_iproute2_prints() -> None:
    # Captured from iproute2 6.1; with a filter it prints an empty object for each link that does not match.
    text = """[{},{"ifindex":3,"link":"v1","ifname":"v0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,
    "qdisc":"noqueue","operstate":"UP","group":"default","txqlen":1000,"link_type":"ether","address":"1e:6c:1a:07:15:4e",
    "broadcast":"ff:ff:ff:ff:ff:ff","addr_info":[{},{"family":"inet","local":"10.9.0.1","prefixlen":24,"scope":"global",
    "label":"v0","valid_life_time":4294967295,"preferred_life_time":4294967295},{"family":"inet","local":"10.9.0.5",
    "prefixlen":24,"scope":"global","secondary":true,"label":"v0:hvm"},{"family":"inet6","local":"fd00::5","prefixlen":128,
    "scope":"global","deprecated":true,"tentative":true,"dadfailed":true},{"family":"inet6","local":"fd00::7",
    "prefixlen":128,"scope":"global","nodad":true,"deprecated":true}]}]"""
    one = pure.parse_links(text)["v0"]
    assert len(pure.parse_links(text)) == 1
    assert (one.name, one.mac, one.ethernet, one.up, one.carrier) == ("v0", "1e:6c:1a:07:15:4e", True, True, True)
    assert [(str(e.address), e.secondary, e.tentative, e.failed, e.usable) for e in one.entries] == [
        ("10.9.0.1/24", False, False, False, True),
        ("10.9.0.5/24", True, False, False, True),
        ("fd00::5/128", False, True, True, False),
        ("fd00::7/128", False, False, False, True),
    ]
    assert pure.parse_links("") == pure.parse_links("[]") == {}


@pytest.mark.parametrize(
    ("wanted", "fault"),
    [
        (["192.0.2.10"], "'192.0.2.10' has no prefix length"),
        (["x/24"], "shared address: 'x/24' does not appear to be an IPv4 or IPv6 interface"),
        (["192.0.2.10/33"], "shared address: '192.0.2.10/33' does not appear"),
        (["192.0.2.0/24"], "192.0.2.0/24 cannot be a shared address: it is the network's own or its broadcast address"),
        (["192.0.2.255/24"], "it is the network's own or its broadcast address"),
        (["127.0.0.1/8"], "127.0.0.1 cannot be a shared address: it cannot be reached from elsewhere"),
        (["fe80::1/64"], "fe80::1 cannot be a shared address"),
        (["ff02::1/64"], "ff02::1 cannot be a shared address"),
        ([V4, "192.0.2.10/32"], "shared address 192.0.2.10 is named twice"),
    ],
)
def test_addresses_that_cannot_be_shared(wanted: list[str], fault: str) -> None:
    with pytest.raises(HvmError) as caught:
        parse_shared(wanted)
    assert fault in caught.value.what
    assert "ADDR/PREFIX" in caught.value.remedy


def test_addresses_of_any_prefix_length_are_shared() -> None:
    for text in (V4, V6, "192.0.2.10/32", "192.0.2.0/31", "2001:db8::/128"):
        assert str(parse_shared([text])[0]) == text


@pytest.mark.parametrize(
    ("infos", "said"),
    [
        ([info(V4), info(V6)], "Shared IP is enabled"),
        ([info("192.0.2.10/32"), info("2001:db8::10/128")], "Shared IP is enabled"),
        ([], "Shared IP is disabled"),
        ([info("192.0.2.1/24")], "Shared IP is disabled"),
        ([info(V4)], "Shared IP is partly enabled: 192.0.2.10 is on br0, 2001:db8::10 is not here"),
        (
            [info(V4), info(V6, tentative=True)],
            PARTLY + "2001:db8::10 is on br0 but cannot be used yet (duplicate address detection)",
        ),
        (
            [info(V4), info(V6, tentative=True, dadfailed=True)],
            PARTLY + "2001:db8::10 is on br0 but cannot be used, since another machine has it",
        ),
        ([info(V4), info(V6, tentative=True, optimistic=True)], "Shared IP is enabled"),
    ],
)
def test_status_in_words(infos: list[dict[str, t.Any]], said: str) -> None:
    assert sentence(LO, link(*infos)) == said


def test_status_knows_other_interfaces_and_no_addresses_at_all() -> None:
    other = link(info(V4), name="eth1")
    assert sentence(link(), other, wanted=(V4,)) == "Shared IP is partly enabled: 192.0.2.10 is on eth1, not on br0"
    status = pure.status(links(link(), other), parse_shared([V4]), "br0")
    assert (status.enabled, status.held, status.text) == (False, True, "192.0.2.10/24 on eth1\n")
    assert sentence(LO, wanted=()) == "Shared IP is not configured"
    assert not pure.status({}, (), "").enabled


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ([LO], "there is no interface 'br0' for the shared address"),
        ([link(kind="none")], "interface br0 is no Ethernet interface"),
        ([link(flags=["BROADCAST"])], "interface br0 is switched off"),
        ([link(flags=["NO-CARRIER", "BROADCAST", "UP"])], "interface br0 has no carrier"),
    ],
)
def test_interfaces_that_cannot_carry_it(raw: list[dict[str, t.Any]], fault: str) -> None:
    with pytest.raises(HvmError) as caught:
        pure.ready(links(*raw), "br0")
    assert caught.value.what == fault
    assert caught.value.remedy.endswith(".")


def test_missing_counts_what_can_be_used_and_refuses_another_interface() -> None:
    shared = parse_shared([V4, V6])
    assert pure.missing(links(link(info(V4))), shared, "br0") == [shared[1]]
    failed = links(link(info(V4), info(V6, dadfailed=True)))
    assert pure.missing(failed, shared, "br0") == [shared[1]]
    assert [str(entry.address) for entry in pure.useless(failed, shared)] == [V6]
    with pytest.raises(HvmError, match=r"192\.0\.2\.10 is on interface eth1 of this host, and is to be on br0"):
        pure.missing(links(link(info(V4)), link(info(V4), name="eth1")), shared, "br0")


@pytest.mark.parametrize(
    ("infos", "name", "address", "dad", "line"),
    [
        ([info("192.0.2.1/24")], "br0", V4, True, "addr replace 192.0.2.10/32 dev br0 label br0:hvm"),
        ([], "br0", V4, True, "addr replace 192.0.2.10/24 dev br0 label br0:hvm"),
        ([info("192.0.2.1/32")], "br0", V4, True, "addr replace 192.0.2.10/24 dev br0 label br0:hvm"),
        ([], "enp175s0f1v", V4, True, "addr replace 192.0.2.10/24 dev enp175s0f1v label enp175s0f1v:hvm"),  # 15
        ([], "enp175s0f1v2", V4, True, "addr replace 192.0.2.10/24 dev enp175s0f1v2"),  # 16
        ([info("2001:db8::1/64")], "br0", V6, True, "addr replace 2001:db8::10/128 dev br0 preferred_lft 0 noprefixroute"),
        ([], "br0", V6, True, "addr replace 2001:db8::10/64 dev br0 preferred_lft 0"),
        ([], "br0", V6, False, "addr replace 2001:db8::10/64 dev br0 preferred_lft 0 nodad"),
    ],
)
def test_how_an_address_is_added(infos: list[dict[str, t.Any]], name: str, address: str, dad: bool, line: str) -> None:
    (one,) = parse_shared([address])
    assert pure.adding(links(link(*infos, name=name))[name], one, dad) == line


def test_deleting_begins_with_secondaries_and_knows_what_a_primary_takes_along() -> None:
    found = links(
        link(info(V4), info("192.0.2.1/24", secondary=True), info("192.0.2.11/24", secondary=True), info("192.0.2.12/32")),
        link(info("198.51.100.1/24"), name="eth1"),
    )
    entries = found["br0"].entries
    both = [entries[0], entries[2]]
    assert pure.deleting(both) == ["addr del 192.0.2.11/24 dev br0", "addr del 192.0.2.10/24 dev br0"]
    assert pure.taken_along(found, both) == ["br0"]  # the host's own, .1
    assert pure.taken_along(found, entries) == []
    assert pure.taken_along(found, [entries[2], entries[3]]) == []


def test_source_to_ask_from() -> None:
    one = links(link(info("192.0.2.1/24"), info("fe80::1/64", scope="link"), info("2001:db8::1/64", tentative=True)))["br0"]
    for target, source in (("192.0.2.254", "192.0.2.1"), ("198.51.100.1", None), ("2001:db8::fe", "fe80::1")):
        assert pure.source_for(one, ipaddress.ip_address(target)) == (source and ipaddress.ip_address(source))


@pytest.mark.parametrize(
    ("environment", "server"),
    [
        ("PATH=/bin\0SSH_CONNECTION=198.51.100.7 50000 192.0.2.10 22\0HOME=/\0", "192.0.2.10"),
        ("SSH_CONNECTION=2001:db8::7 50000 2001:db8::10 22", "2001:db8::10"),
        ("SSH_CONNECTION=fe80::7%br0 50000 fe80::10%br0 22", "fe80::10"),
        ("SSH_CONNECTION=::ffff:198.51.100.7 5 ::ffff:192.0.2.10 22", "192.0.2.10"),
        ("SSH_CONNECTION=UNKNOWN 65535 UNKNOWN 65535", None),
        ("OLD_SSH_CONNECTION=198.51.100.7 50000 192.0.2.10 22", None),
        ("SSH_CONNECTION=", None),
        ("", None),
    ],
)
def test_server_of_an_ssh_session(environment: str, server: str | None) -> None:
    assert pure.ssh_server(environment) == (server and ipaddress.ip_address(server))
