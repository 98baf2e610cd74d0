# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bridges and VLANs in a real kernel: what is planned is done there, VMs reach each other, nothing is cut.

As root: pytest tests/netns. Files go into a directory; ifupdown is either not there (then `ip` does all of it) or /bin/sh, which
reads the lines of its file. What needs a VLAN is left out where the kernel has none (module 8021q).
"""

from __future__ import annotations

import ipaddress
import json
import os
import pathlib
import socket
import threading
import time
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net import bridges, links, managers, network_plan
from ansible_collections.hvm.pair.plugins.module_utils._net.network_plan import Plan, World
from ansible_collections.hvm.pair.plugins.module_utils._net.networks import Bridge

V10, V20, OUT = Bridge("br-v10", "eth0", 10), Bridge("br-v20", "eth0", 20), Bridge("br-out", "eth1")
SAN = Bridge("br-san", "eth1", 30, 1400, ("10.9.0.1/24", "fd09::1/64"))
FACTS = managers.Facts(True, {"/etc/network/interfaces": "source /etc/network/interfaces.d/*\n"})


class Host(bridges.Host):
    """One in a namespace. :ivar asked: commands of ifupdown; `ifup` runs the lines of our file when `shell` says so."""

    def __init__(self, root: pathlib.Path, shell: bool = False) -> None:
        super().__init__(str(root))
        self.root, self.shell = root, shell
        self.asked: list[str] = []

    def facts(self) -> managers.Facts:
        return FACTS

    def do(self, step: links.Step) -> None:
        if step.words and step.words[0] in ("ifup", "ifdown"):
            self.asked.append(" ".join(step.words))
            if self.shell and step.words[0] == "ifup":
                self.ifup(step.words[1])
            return
        super().do(step)

    def ifup(self, name: str) -> None:
        text = (self.root / f"etc/network/interfaces.d/hvm-{name}").read_text()
        for line in text.splitlines():
            verb, _space, rest = line.strip().partition(" ")
            if verb in ("pre-up", "up"):
                run(["/bin/sh", "-c", rest])  # as ifupdown runs it


def plan(host: Host, *wanted: Bridge) -> Plan:
    found = host.links()
    reasons = dict.fromkeys(links.with_address(found, {ipaddress.ip_address("10.77.0.1")}), "is the way in")
    return network_plan.plan(wanted, World(found, host.files(), host.facts(), reasons), host="a")


def make(host: Host, *wanted: Bridge) -> list[str]:
    made = plan(host, *wanted)
    assert made.findings == ()
    bridges.carry_out(made, host)
    return list(made.actions)


@pytest.fixture(name="eth1")
def _eth1(lan: t.Any) -> None:
    """A second interface on each host, of nobody; the two are connected to each other."""
    place = f"/proc/{os.getpid()}/fd/{lan.b.fd}"
    lan.a.ip("link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", place)


@pytest.fixture(name="vlans")
def _vlans(lan: t.Any) -> None:
    try:
        lan.a.ip("link", "add", "link", "eth0", "name", "eth0.4", "type", "vlan", "id", "4")
    except RuntimeError as exc:
        if "Unknown device type" not in str(exc):
            raise
        pytest.skip("this kernel has no VLANs (module 8021q)")
    lan.a.ip("link", "del", "dev", "eth0.4")


def reaches(namespace: t.Any, address: str) -> bool:
    """Whether anybody is there: nobody listens on that port, and whoever is there says so."""
    try:
        namespace.call(socket.create_connection, (address, 9), timeout=2)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    raise AssertionError(f"somebody listens at {address}")


def flags(namespace: t.Any, name: str) -> dict[str, t.Any]:
    return json.loads(namespace.ip("-j", "-d", "addr", "show", "dev", name))[0]


IPV6, WIDE = Bridge("br-san", "eth1", 0, 1400, ("10.9.0.1/24", "fd09::1/64")), Bridge("br-in", mtu=9000)


@pytest.mark.parametrize("shell", [False, True], ids=["ip", "ifupdown"])
def test_made_as_declared_and_the_second_run_does_nothing(lan: t.Any, eth1: None, tmp_path: pathlib.Path, shell: bool) -> None:
    host = Host(tmp_path, shell)
    before = flags(lan.a, "eth0")
    actions = lan.a.call(make, host, WIDE, IPV6)
    assert actions == ["br-in: made (no interface, MTU 9000)", "br-san: made (eth1, MTU 1400, 10.9.0.1/24 and fd09::1/64)"]
    assert host.asked == ["ifup br-in", "ifup br-san"]
    inner, san, port = (flags(lan.a, name) for name in ("br-in", "br-san", "eth1"))
    for bridge in (inner, san):
        assert "UP" in bridge["flags"]
        assert bridge["linkinfo"]["info_data"]["stp_state"] == 0 and bridge["linkinfo"]["info_data"]["forward_delay"] == 0
    assert inner["mtu"] == 9000 and san["mtu"] == port["mtu"] == 1400
    assert "UP" in port["flags"] and port["master"] == "br-san"
    assert inner["addr_info"] == port["addr_info"] == []  # no link-local address either
    assert {f"{one['local']}/{one['prefixlen']}" for one in san["addr_info"] if one["scope"] == "global"} == set(IPV6.addresses)
    after = flags(lan.a, "eth0")
    assert (after["flags"], after["addr_info"]) == (before["flags"], before["addr_info"])
    assert lan.a.call(make, host, WIDE, IPV6) == []


@pytest.mark.parametrize("shell", [False, True], ids=["ip", "ifupdown"])
def test_vlans_of_the_way_in_and_of_another_interface(
    lan: t.Any, eth1: None, vlans: None, tmp_path: pathlib.Path, shell: bool
) -> None:
    host = Host(tmp_path, shell)
    before = flags(lan.a, "eth0")
    lan.a.call(make, host, V10, SAN)
    bridge, vlan = flags(lan.a, "br-v10"), flags(lan.a, "eth0.10")
    assert "UP" in bridge["flags"] and "UP" in vlan["flags"] and vlan["master"] == "br-v10"
    assert vlan["linkinfo"]["info_data"]["id"] == 10 and vlan["link"] == "eth0"
    assert bridge["addr_info"] == vlan["addr_info"] == []
    assert flags(lan.a, "br-san")["mtu"] == flags(lan.a, "eth1.30")["mtu"] == 1400
    after = flags(lan.a, "eth0")
    assert (after["flags"], after["addr_info"]) == (before["flags"], before["addr_info"])
    assert lan.a.call(make, host, SAN, V10) == []


@pytest.mark.parametrize("with_vlans", [False, True], ids=["plain", "vlans"])
def test_the_file_of_ifupdown_does_at_the_next_boot_what_was_done_now(
    lan: t.Any, eth1: None, tmp_path: pathlib.Path, with_vlans: bool, request: pytest.FixtureRequest
) -> None:
    wanted = (IPV6, WIDE)
    if with_vlans:
        request.getfixturevalue("vlans")
        wanted = (V10, SAN, OUT._replace(mtu=1400))
    host = Host(tmp_path)
    lan.a.call(make, host, *wanted)
    now = lan.a.call(host.links)
    for name in sorted(set(now) - {"lo", "eth0", "eth1"}, reverse=True):
        if name in lan.a.call(host.links):
            lan.a.ip("link", "del", "dev", name)
    lan.a.ip("link", "set", "dev", "eth1", "down", "mtu", "1500")
    for one in wanted:
        lan.a.call(host.ifup, one.name)
        lan.a.call(host.ifup, one.name)  # what is there is no reason to fail
    assert {name: one._replace(local=()) for name, one in lan.a.call(host.links).items()} == {
        name: one._replace(local=()) for name, one in now.items()
    }
    assert lan.a.call(plan, host, *wanted).actions == ()


@pytest.mark.parametrize("off", ["0", "1"])
def test_a_whole_interface_has_ipv6_again_when_its_network_has_gone_if_the_host_has_it(
    lan: t.Any, eth1: None, tmp_path: pathlib.Path, off: str
) -> None:
    place = pathlib.Path("/proc/sys/net/ipv6/conf")
    lan.a.call((place / "default/disable_ipv6").write_text, off)
    host = Host(tmp_path)
    lan.a.call(make, host, OUT)
    assert lan.a.call((place / "eth1/disable_ipv6").read_text) == "1\n"
    lan.a.call(make, host)
    assert lan.a.call((place / "eth1/disable_ipv6").read_text) == f"{off}\n"


class Vm:
    """A network namespace with one interface, whose other end is in a bridge of a host: what QEMU's is, but for the wire."""

    def __init__(self, host: t.Any, bridge: str, name: str, address: str) -> None:
        self.space = type(host)()
        place = f"/proc/{os.getpid()}/fd/{self.space.fd}"
        host.ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", place)
        host.ip("link", "set", name, "master", bridge, "up")
        self.space.ip("link", "set", "lo", "up")
        self.space.ip("addr", "add", address, "dev", "eth0")
        self.space.ip("link", "set", "eth0", "up")


def test_vms_of_two_hosts_reach_each_other_over_a_whole_interface(lan: t.Any, eth1: None, tmp_path: pathlib.Path) -> None:
    hosts = {name: Host(tmp_path / name) for name in "ab"}
    for name, namespace in (("a", lan.a), ("b", lan.b)):
        namespace.call(make, hosts[name], OUT, WIDE)
    one, _two = Vm(lan.a, "br-out", "vm1", "10.10.0.1/24"), Vm(lan.b, "br-out", "vm2", "10.10.0.2/24")
    _other = Vm(lan.b, "br-in", "vm3", "10.10.0.3/24")
    assert reaches(one.space, "10.10.0.2") and not reaches(one.space, "10.10.0.3")
    found = lan.a.call(plan, hosts["a"], WIDE)
    assert [finding.what for finding in found.findings] == ["br-out cannot be removed: vm1 are connected to it"]
    lan.a.call(make, hosts["a"], OUT)  # the other one goes
    assert reaches(one.space, "10.10.0.2")


def test_vms_on_one_vlan_of_two_hosts_reach_each_other_and_no_other_vlan(
    lan: t.Any, vlans: None, tmp_path: pathlib.Path
) -> None:
    """Through the hosts' own interface, which goes on as before."""
    for name, namespace in (("a", lan.a), ("b", lan.b)):
        namespace.call(make, Host(tmp_path / name), V10, V20)
    one, _two = Vm(lan.a, "br-v10", "vm1", "10.10.0.1/24"), Vm(lan.b, "br-v10", "vm2", "10.10.0.2/24")
    _other = Vm(lan.b, "br-v20", "vm3", "10.10.0.3/24")
    assert reaches(one.space, "10.10.0.2") and not reaches(one.space, "10.10.0.3")
    assert reaches(lan.a, "10.77.0.254")


@pytest.mark.parametrize("with_vlans", [False, True], ids=["plain", "vlans"])
def test_nothing_is_lost_on_the_way_in_while_networks_come_and_go(
    lan: t.Any, eth1: None, tmp_path: pathlib.Path, with_vlans: bool, request: pytest.FixtureRequest
) -> None:
    first, second = (OUT, WIDE), (Bridge("br-out"), Bridge("br-in", "eth1"))
    if with_vlans:
        request.getfixturevalue("vlans")
        first, second = (V10, V20), (V10._replace(vlan=20), V20._replace(vlan=10))
    host = Host(tmp_path)
    clean = set(lan.a.call(host.links))
    stop = threading.Event()
    answers: list[bool] = []

    def watch() -> None:
        while not stop.is_set():
            answers.append(reaches(lan.client, "10.77.0.1"))
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for _turn in range(3):
            for wanted in (first, second, ()):
                lan.a.call(make, host, *wanted)
    finally:
        stop.set()
        thread.join()
    assert len(answers) > 3 and all(answers)
    assert set(lan.a.call(host.links)) == clean
    assert host.files() == {}


@pytest.mark.parametrize("with_vlans", [False, True], ids=["plain", "vlans"])
def test_each_step_may_be_the_last_one(
    lan: t.Any, eth1: None, tmp_path: pathlib.Path, with_vlans: bool, request: pytest.FixtureRequest
) -> None:
    """Cut off after each of them: running it again completes it, and taking it back leaves nothing."""
    wanted = (IPV6, WIDE)
    if with_vlans:
        request.getfixturevalue("vlans")
        wanted = (V10, SAN)

    class Dies(Host):
        left = 0

        def do(self, step: links.Step) -> None:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            super().do(step)

    clean = set(lan.a.call(bridges.Host().links))
    for number in range(40):
        host = Dies(tmp_path)
        host.left = number
        try:
            lan.a.call(make, host, *wanted)
        except KeyboardInterrupt:
            host.left = 1000
            if number % 2:
                lan.a.call(make, host, *wanted)
                assert lan.a.call(plan, host, *wanted).actions == ()
            lan.a.call(make, host)
            assert set(lan.a.call(host.links)) == clean and host.files() == {}
            assert flags(lan.a, "eth1")["mtu"] == 1500
        else:
            assert number > 12
            return
    raise AssertionError("it never ended")


def test_what_is_not_as_declared_is_said(lan: t.Any, eth1: None, tmp_path: pathlib.Path) -> None:
    class Lame(Host):
        def do(self, step: links.Step) -> None:
            if "master" not in step.words:
                super().do(step)

    with pytest.raises(HvmError, match="the networks are not as they were declared: eth1 is not in br-out") as caught:
        lan.a.call(make, Lame(tmp_path), OUT)
    assert "hvm_network state=applied" in caught.value.remedy
    assert lan.a.call(make, Host(tmp_path), OUT) == ["br-out: mended (eth1 is not in br-out)"]


def test_the_whole_interface_of_the_way_in_is_refused(lan: t.Any, tmp_path: pathlib.Path) -> None:
    found = lan.a.call(plan, Host(tmp_path), Bridge("br-lan", "eth0"))
    assert [one.what for one in found.findings] == ["eth0 cannot be put into br-lan: eth0 is the way in"]
    assert os.listdir(tmp_path) == []


def test_default_route(lan: t.Any) -> None:
    assert lan.a.call(bridges.Host().default_routes) == set()
    lan.a.ip("route", "add", "default", "via", "10.77.0.254")
    assert lan.a.call(bridges.Host().default_routes) == {"eth0"}
