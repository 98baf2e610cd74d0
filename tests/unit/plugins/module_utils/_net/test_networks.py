# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._command import french
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net import networks
from ansible_collections.hvm.pair.plugins.module_utils._net.networks import Bridge

HOSTS = ("hv1", "hv2")
VLAN10 = {"name": "br-vlan10", "interface": "eno1", "vlan": 10}


def test_one_word_for_both_hosts() -> None:
    (one,) = networks.parse([VLAN10], HOSTS)
    assert one.on("hv1") == one.on("hv2") == Bridge("br-vlan10", "eno1", 10)
    assert (one.on("hv1").port, one.on("hv1").over) == ("eno1.10", "VLAN 10 of eno1")
    assert one.sentence() == "br-vlan10: VLAN 10 of eno1"


def test_hosts_whose_interfaces_and_addresses_differ() -> None:
    raw = {
        "name": "br-san",
        "interface": {"hv1": "eno1", "hv2": "enp3s0"},
        "vlan": "20",
        "mtu": "9000",
        "addresses": {"hv1": ["10.9.0.1/24", "fd09::1/64"], "hv2": "10.9.0.2/24"},
    }
    (one,) = networks.parse([raw], HOSTS)
    assert one.on("hv1") == Bridge("br-san", "eno1", 20, 9000, ("10.9.0.1/24", "fd09::1/64"))
    assert one.on("hv2") == Bridge("br-san", "enp3s0", 20, 9000, ("10.9.0.2/24",))
    assert (one.on("hv1").has_ipv6, one.on("hv2").has_ipv6) == (True, False)
    assert one.sentence() == (
        "br-san: VLAN 20 of eno1 on hv1, enp3s0 on hv2, MTU 9000, 10.9.0.1/24 and fd09::1/64 on hv1, 10.9.0.2/24 on hv2"
    )


def test_a_network_without_an_interface_and_one_that_has_a_whole_one() -> None:
    inner, whole = networks.parse([{"name": "br-in"}, {"name": "br-out", "interface": "eno2"}], HOSTS)
    assert (inner.on("hv1").port, inner.on("hv1").over, inner.sentence()) == ("", "no interface", "br-in: no interface")
    assert (whole.on("hv1").port, whole.on("hv1").over, whole.sentence()) == ("eno2", "eno2", "br-out: eno2")


@pytest.mark.parametrize(
    ("parent", "port"),
    [
        ("eno1", "eno1.4094"),
        ("enp130s0f1", "enp130s0f1.4094"),
        ("enp130s0f1n", "v4094-cf4b09c0"),
        ("enxaabbccddeeff", "v4094-4a8ef268"),
    ],
)
def test_a_vlan_has_a_name_that_the_kernel_takes(parent: str, port: str) -> None:
    assert Bridge("br", parent, 4094).port == port and len(port) <= 15


@pytest.mark.parametrize(
    ("raws", "said"),
    [
        ("eno1", "the networks are no list"),
        (["br0"], "'br0' is no network"),
        ([{"interface": "eno1"}], "None is no name of a bridge"),
        ([{"name": "br-much-too-long"}], "'br-much-too-long' is no name of a bridge"),
        ([{"name": "vlan10"}], "'vlan10' is no name of a bridge"),
        ([{"name": "br0.10"}], "'br0.10' is no name of a bridge"),
        ([{"name": "br0;reboot"}], "'br0;reboot' is no name of a bridge"),
        ([{"name": "br0\n"}], "'br0\\n' is no name of a bridge"),
        ([{"name": "br0", "interface": "$(reboot)"}], "br0: '$(reboot)' is no name of an interface"),
        ([{"name": "br0", "interface": "lo"}], "br0: 'lo' is no name of an interface"),
        ([{"name": "br0", "interface": {"hv1": "eno1"}}], "br0: interface must name one for each of hv1 and hv2, not for hv1"),
        ([{"name": "br0", "interface": "eno1", "vlan": 0}], "br0: vlan must be a number from 1 to 4094, not 0"),
        ([{"name": "br0", "interface": "eno1", "vlan": 4095}], "br0: vlan must be a number from 1 to 4094, not 4095"),
        ([{"name": "br0", "interface": "eno1", "vlan": "ten"}], "br0: vlan must be a number from 1 to 4094, not 'ten'"),
        ([{"name": "br0", "interface": "eno1", "vlan": True}], "br0: vlan must be a number from 1 to 4094, not True"),
        ([{"name": "br0", "vlan": 10}], "br0: the VLAN 10 is on no interface"),
        ([{"name": "br0", "mtu": 68}], "br0: mtu must be a number from 1280 to 65535, not 68"),
        ([{"name": "br0", "vlans": [1]}], "br0: 'vlans' is not known"),
        ([VLAN10, VLAN10], "br-vlan10 is declared twice"),
        ([VLAN10, {**VLAN10, "name": "br-b"}], "br-vlan10 and br-b both want VLAN 10 of eno1 on hv1"),
        ([{"name": "br0", "interface": "eno1"}, {"name": "br1", "interface": "br0"}], "br1: br0 is a bridge itself"),
        (
            [{"name": "br0", "interface": "eno1"}, {"name": "br1", "interface": "br0", "vlan": 5}],
            "br1: br0 is another of these networks",
        ),
        (
            [{"name": "br0", "addresses": ["10.0.0.1/24"]}],
            "br0: addresses are those of each host, such as {hv1: [192.0.2.1/24]}",
        ),
        ([{"name": "br0", "addresses": {"hv3": ["10.0.0.1/24"]}}], "br0: addresses are those of each host"),
        ([{"name": "br0", "addresses": {"hv1": ["10.0.0.1"]}}], "br0: address: '10.0.0.1' has no prefix length"),
        ([{"name": "br0", "addresses": {"hv1": ["10.0.0.0/24"]}}], "br0: 10.0.0.0/24 cannot be an address"),
        (
            [{"name": "br0", "addresses": {"hv1": ["10.0.0.1/24"], "hv2": ["10.0.0.1/24"]}}],
            "br0: 10.0.0.1 on hv2 is the address of br0 on hv1, too",
        ),
        ([{"name": "br0", "addresses": {"hv1": ["10.0.0.9/24"]}}], "br0: 10.0.0.9 on hv1 is the address of the shared IP, too"),
    ],
)
def test_what_cannot_be_used_is_named(raws: t.Any, said: str) -> None:
    with pytest.raises(HvmError) as caught:
        networks.parse(raws, HOSTS, ["10.0.0.9/24"])
    assert said in caught.value.what


def test_the_remedy_is_known_in_french() -> None:
    assert networks.REMEDY in french.SENTENCES


def test_all_mistakes_at_once() -> None:
    with pytest.raises(HvmError) as caught:
        networks.parse([{"name": "a b"}, {"name": "br0", "vlan": 9999}], HOSTS)
    assert "'a b' is no name" in caught.value.what and "br0: vlan must be" in caught.value.what


INTERFACES = st.sampled_from(["eno1", "eno2", "bond0", "enxaabbccddeeff"])
RAW = st.fixed_dictionaries(
    {"name": st.from_regex(r"br-[a-z0-9_]{1,8}", fullmatch=True)},
    optional={
        "interface": st.one_of(INTERFACES, st.fixed_dictionaries({"hv1": INTERFACES, "hv2": INTERFACES})),
        "mtu": st.integers(1280, 9000),
    },
)


@given(st.lists(RAW, unique_by=lambda raw: raw["name"], max_size=4))
def test_what_is_stored_is_read_as_the_same(raws: list[dict[str, t.Any]]) -> None:
    """Each on a VLAN of its own, where it has an interface."""
    declared = [{**raw, "vlan": 100 + at} if "interface" in raw else raw for at, raw in enumerate(raws)]
    found = networks.parse(declared, HOSTS)
    assert networks.parse([one.record() for one in found], HOSTS) == found
    assert [one.name for one in found] == sorted(raw["name"] for raw in raws)


@given(st.one_of(st.text(max_size=20), st.text("eno1.-_ ;$\n/", max_size=17)))
def test_nothing_but_a_name_gets_into_a_command(text: str) -> None:
    for raw in ({"name": text}, {"name": "br0", "interface": text}):
        try:
            (one,) = networks.parse([raw], HOSTS)
        except HvmError:
            continue
        for name in (one.name, one.on("hv1").port):
            assert (
                len(name) <= 15 and not set(name) & set(" \t\n;&|$`'\"\\/<>(){}*?[]#!~%,:@") and not name.startswith(("-", "."))
            )
