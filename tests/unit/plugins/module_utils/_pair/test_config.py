# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import config

GOOD: dict[str, t.Any] = {
    "pair": "office",
    "me": "hv2",
    "hosts": [{"name": "hv1", "address": "192.0.2.11"}, {"name": "hv2", "address": "2001:db8::12"}],
    "datasets": ["ssd/shared", "rot/shared", "ssd/more"],
    "state_dir": "/var/lib/libvirt/hvm",
    "shared_ips": ["192.0.2.10/24", "2001:db8::10/64"],
    "interface": "eth0",
    "gateway": "192.0.2.1",
}


def mistakes(**changes: t.Any) -> list[str]:
    with pytest.raises(HvmError) as caught:
        config.parse(json.dumps({**GOOD, **changes}))
    assert caught.value.remedy == config.REMEDY
    head = f"{config.PATH} cannot be used: "
    assert caught.value.what.startswith(head)
    return caught.value.what.removeprefix(head).split("; ")


def test_a_good_description() -> None:
    found = config.parse(json.dumps(GOOD))
    assert found.me == config.Host("hv2", "2001:db8::12")
    assert found.peer == config.Host("hv1", "192.0.2.11")
    assert [host.name for host in found.hosts] == ["hv1", "hv2"]
    assert found.pools == ("ssd", "rot")
    assert found.shared_ips == ("192.0.2.10/24", "2001:db8::10/64")
    assert found.host("hv1") == found.peer


def test_the_shared_address_may_be_left_out() -> None:
    found = config.parse(json.dumps({key: GOOD[key] for key in ("pair", "me", "hosts", "datasets", "state_dir")}))
    assert (found.shared_ips, found.interface, found.gateway) == ((), "", "")


def test_a_host_of_another_pair_is_named_with_those_there_are() -> None:
    with pytest.raises(HvmError) as caught:
        config.parse(json.dumps(GOOD)).host("hv3")
    assert str(caught.value) == "hv3 is not a host of the pair office. Its hosts are hv1 and hv2."


ONE: dict[str, tuple[dict[str, t.Any], str]] = {
    "pair": ({"pair": "Office"}, "'pair' must be lower-case letters, digits and dashes, 31 at most, not 'Office'"),
    "long pair": ({"pair": "x" * 32}, f"'pair' must be lower-case letters, digits and dashes, 31 at most, not {'x' * 32!r}"),
    "one host": ({"hosts": GOOD["hosts"][:1]}, "'hosts' must list exactly two hosts"),
    "me": ({"me": "hv3"}, "'me' is 'hv3', which is not one of the two hosts"),
    "option as address": (
        {"hosts": [GOOD["hosts"][1], {"name": "hv1", "address": "-oProxyCommand=x"}]},
        "'-oProxyCommand=x' is not the address of a host",
    ),
    "no address": ({"hosts": [GOOD["hosts"][1], {"name": "hv1"}]}, "None is not the address of a host"),
    "same name": (
        {"hosts": [GOOD["hosts"][1], {"name": "hv2", "address": "x"}]},
        "both hosts are called 'hv2'",
    ),
    "pool": ({"datasets": ["ssd"]}, "'datasets' must list the root datasets, each as POOL/NAME"),
    "no datasets": ({"datasets": []}, "'datasets' must list the root datasets, each as POOL/NAME"),
    "snapshot": ({"datasets": ["ssd/a@b"]}, "'datasets' must list the root datasets, each as POOL/NAME"),
    "inside": ({"datasets": ["ssd/a", "ssd/a/b"]}, "dataset ssd/a/b lies inside ssd/a: name the outer one only"),
    "twice": ({"datasets": ["ssd/a", "ssd/b", "ssd/a"]}, "dataset ssd/a is named twice"),
    "state_dir": ({"state_dir": "images"}, "'state_dir' must be an absolute path"),
    "shared": (
        {"shared_ips": ["192.0.2.300/24"]},
        "shared address: '192.0.2.300/24' does not appear to be an IPv4 or IPv6 interface",
    ),
    "shared bare": ({"shared_ips": ["192.0.2.10"]}, "shared address: '192.0.2.10' has no prefix length"),
    "shared twice": ({"shared_ips": ["192.0.2.10/24", "192.0.2.10/25"]}, "shared address 192.0.2.10 is named twice"),
    "shared local": (
        {"shared_ips": ["192.0.2.10/24", "fe80::1/64"]},
        "fe80::1 cannot be a shared address: it cannot be reached from elsewhere",
    ),
    "shared network": (
        {"shared_ips": ["192.0.2.0/24"]},
        "192.0.2.0/24 cannot be a shared address: it is the network's own or its broadcast address",
    ),
    "shared text": ({"shared_ips": "192.0.2.10/24"}, "'shared_ips' must be a list of addresses, each with its prefix length"),
    "shared null": ({"shared_ips": None}, "'shared_ips' must be a list of addresses, each with its prefix length"),
    "interface": ({"interface": ""}, "'interface' must name the interface of the shared address, not ''"),
    "gateway": ({"gateway": "router"}, "gateway: 'router' does not appear to be an IPv4 or IPv6 address"),
}


@pytest.mark.parametrize(("changes", "sentence"), ONE.values(), ids=ONE)
def test_a_mistake_is_named(changes: dict[str, t.Any], sentence: str) -> None:
    assert mistakes(**changes) == [sentence]


def test_all_mistakes_are_named_at_once() -> None:
    together = ["pair", "me", "pool", "state_dir", "shared", "interface", "gateway"]
    changes = {key: value for name in together for key, value in ONE[name][0].items()}
    assert mistakes(**changes) == [ONE[name][1] for name in together]


@pytest.mark.parametrize(("text", "what"), [("", "is not JSON: "), ("{", "is not JSON: "), ("[]", "is not a JSON object")])
def test_what_is_no_description_at_all(text: str, what: str) -> None:
    with pytest.raises(HvmError, match=what):
        config.parse(text)


def test_a_host_without_the_file_belongs_to_no_pair(tmp_path: pathlib.Path) -> None:
    with pytest.raises(HvmError, match=r"this host does not belong to a pair: .*No such file"):
        config.load(str(tmp_path / "pair.json"))
    (tmp_path / "pair.json").write_text(json.dumps(GOOD))
    assert config.load(str(tmp_path / "pair.json")).pair == "office"
