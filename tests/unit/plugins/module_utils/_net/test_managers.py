# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is in charge of a host's network, and the files of each; systemd says what it thinks of the unit."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._net import managers
from ansible_collections.hvm.pair.plugins.module_utils._net.managers import AUTO, IFUPDOWN, NETWORKD, Facts
from ansible_collections.hvm.pair.plugins.module_utils._net.networks import Bridge

DEBIAN = {
    "/etc/network/interfaces": "source /etc/network/interfaces.d/*\nauto lo\niface lo inet loopback\n",
    "/etc/network/interfaces.d/setup": "auto eno1\niface eno1 inet static\n    address 192.0.2.1/24\niface eno2 inet manual\n",
}
IFUP = Facts(True, DEBIAN)
NETD = Facts(networkd={"lo": "unmanaged", "eno1": "configured", "eno2": "unmanaged"})
CLOSED = Facts(True, {"/etc/network/interfaces": "auto eno1\niface eno1 inet dhcp\n"})


@pytest.mark.parametrize(
    ("facts", "parent", "wanted", "manager", "said"),
    [
        (IFUP, "eno1", AUTO, IFUPDOWN, ""),
        (IFUP, "", AUTO, IFUPDOWN, ""),
        (NETD, "eno1", AUTO, NETWORKD, ""),
        (NETD, "eno2", AUTO, NETWORKD, ""),
        # both run, as on a Debian host where somebody has started networkd for one thing
        (Facts(True, DEBIAN, {"eno1": "unmanaged", "eno3": "configured"}), "eno1", AUTO, IFUPDOWN, ""),
        (Facts(True, DEBIAN, {"eno1": "unmanaged", "eno3": "configured"}), "eno3", AUTO, NETWORKD, ""),
        (Facts(True, DEBIAN, {"eno1": "unmanaged"}), "eno9", AUTO, IFUPDOWN, ""),
        (Facts(True, {"/etc/network/interfaces": ""}, {"eno1": "configured"}), "eno1", AUTO, NETWORKD, ""),
        (IFUP, "eno1", NETWORKD, "", "systemd-networkd does not run"),
        (NETD, "eno1", IFUPDOWN, "", "ifupdown is not installed"),
        (CLOSED, "eno1", AUTO, "", "/etc/network/interfaces does not read the files in /etc/network/interfaces.d"),
        (Facts(), "eno1", AUTO, "", "neither ifupdown nor systemd-networkd is in charge of the network"),
        (NETD._replace(nm={"eno1": "connected"}), "eno1", AUTO, "", "NetworkManager is in charge of eno1"),
        (NETD._replace(nm={"eno1": "disconnected"}), "eno1", AUTO, "", "NetworkManager is in charge of eno1"),
        (NETD._replace(nm={"eno1": "unmanaged", "eno2": "connected"}), "eno1", AUTO, NETWORKD, ""),
        (NETD._replace(nm={"br0": "connected (externally)"}), "br0", AUTO, NETWORKD, ""),
        (NETD._replace(nm={"eno1": "connected"}), "eno1", NETWORKD, NETWORKD, ""),
    ],
)
def test_who_gets_the_files(facts: Facts, parent: str, wanted: str, manager: str, said: str) -> None:
    found, findings = managers.choose(facts, parent, wanted, "hv1")
    assert found == manager
    assert [one.what.startswith(said) and bool(one.remedy) and one.host == "hv1" for one in findings] == [True] * bool(said)


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("source /etc/network/interfaces.d/*", True),
        ("source interfaces.d/*", True),
        ("source-directory /etc/network/interfaces.d", True),
        ("source-directory interfaces.d", True),
        ("source \\\n  /etc/network/interfaces.d/*", True),
        ("source /etc/network/interfaces.d/*.cfg", False),
        ("# source /etc/network/interfaces.d/*", False),
        ("source", False),
    ],
)
def test_whether_ifupdown_reads_our_files(line: str, read: bool) -> None:
    assert managers.reads_ours({"/etc/network/interfaces": f"auto lo\n{line}\n"}) is read


def test_what_ifupdown_has_configured_without_our_own() -> None:
    ours = managers.files(Bridge("br-vlan10", "eno1", 10), IFUPDOWN)
    text = "auto eno1 eno3\nallow-hotplug eno4\niface eno1 inet \\\n  static\niface eno1 inet6 auto\n"
    found = managers.configured({"/etc/network/interfaces": text, **ours})
    assert found == {"eno1": {"static", "auto"}, "eno3": set(), "eno4": set()}


def test_what_networkctl_and_nmcli_say() -> None:
    text = "  1 lo    loopback carrier    unmanaged\n  2 eth0  ether    routable   configured\n"
    text += "● 3 br-vms bridge no-carrier configuring\n"
    assert managers.parse_networkctl(text) == {"lo": "unmanaged", "eth0": "configured", "br-vms": "configuring"}
    assert managers.parse_nmcli("eno1:connected\nbr0:connected (externally)\nx\\:y:unmanaged\n") == {
        "eno1": "connected", "br0": "connected (externally)", "x:y": "unmanaged",
    }  # fmt: skip


STATUS = """● 2: eth0
                     Link File: /usr/lib/systemd/network/99-default.link
                  Network File: {path}
                         State: routable (configured)
"""


@pytest.mark.parametrize(
    ("path", "beside"),
    [
        ("/etc/systemd/network/10-lan.network", "/etc/systemd/network/10-lan.network.d/hvm.conf"),
        ("/run/systemd/network/10-netplan-eth0.network", "/etc/systemd/network/10-netplan-eth0.network.d/hvm.conf"),
        ("/etc/systemd/network/01-hvm-br-lan.network", ""),  # has it in itself
        ("n/a", ""),
    ],
)
def test_the_interface_of_the_shared_ip_keeps_what_networkd_did_not_give(path: str, beside: str) -> None:
    found = managers.keeping(managers.network_file(STATUS.format(path=path)))
    assert list(found) == [beside] * bool(beside)
    for text in found.values():
        assert text.splitlines()[1:] == ["[Network]", "KeepConfiguration=yes"]


FULL = Bridge("br-san", "eno1", 20, 9000, ("10.9.0.1/24", "fd09::1/64"))


def test_files_of_ifupdown() -> None:
    ((path, text),) = managers.files(FULL, IFUPDOWN).items()
    assert path == "/etc/network/interfaces.d/hvm-br-san"
    assert text.splitlines()[2:] == [
        "auto br-san",
        "iface br-san inet manual",
        "    pre-up ip link show dev br-san > /dev/null 2>&1 || ip link add name br-san type bridge stp_state 0 forward_delay 0",
        "    pre-up [ ! -e /proc/sys/net/ipv6/conf/br-san/accept_ra ] || echo 0 > /proc/sys/net/ipv6/conf/br-san/accept_ra",
        '    pre-up [ "$(cat /sys/class/net/eno1/mtu 2> /dev/null || echo 0)" -ge 9000 ] || timeout -k 5 60 ifup eno1 || true',
        "    pre-up ip link show dev eno1.20 > /dev/null 2>&1 || ip link add link eno1 name eno1.20 type vlan id 20",
        "    pre-up ip link set dev eno1 up",
        "    pre-up [ ! -e {0} ] || echo 1 > {0}".format("/proc/sys/net/ipv6/conf/eno1.20/disable_ipv6"),
        "    pre-up ip link set dev eno1.20 mtu 9000",
        "    pre-up ip link set dev eno1.20 master br-san up",
        "    pre-up ip link set dev br-san mtu 9000",
        "    up ip link set dev br-san up",
        "    up ip addr replace 10.9.0.1/24 dev br-san",
        "    up ip addr replace fd09::1/64 dev br-san",
    ]


def test_files_of_networkd() -> None:
    found = managers.files(FULL, NETWORKD)
    place = "/etc/systemd/network/01-hvm-br-san"
    unit = "/etc/systemd/system/hvm-vlan-br-san.service"
    link = "/etc/systemd/system/sys-subsystem-net-devices-eno1.device.wants/hvm-vlan-br-san.service"
    assert set(found) == {f"{place}.netdev", f"{place}.network", f"{place}.port.network", unit, link}
    assert found[link] == unit
    text = {path: text.splitlines()[2:] for path, text in found.items()}
    assert text[f"{place}.netdev"] == ["[NetDev]", "Name=br-san", "Kind=bridge", "", "[Bridge]", "STP=no", "ForwardDelaySec=0"]
    assert text[f"{place}.network"] == [
        *("[Match]", "Name=br-san", "", "[Link]", "RequiredForOnline=no", "MTUBytes=9000", ""),
        *(
            "[Network]",
            "LinkLocalAddressing=ipv6",
            "IPv6AcceptRA=no",
            "ConfigureWithoutCarrier=yes",
            "KeepConfiguration=yes",
        ),
        *("Address=10.9.0.1/24", "Address=fd09::1/64"),
    ]
    assert text[f"{place}.port.network"] == [
        *("[Match]", "Name=eno1.20", "", "[Link]", "RequiredForOnline=no", "MTUBytes=9000", ""),
        *("[Network]", "Bridge=br-san", "LinkLocalAddressing=no", "IPv6AcceptRA=no"),
    ]
    # the interface below is nobody's business but its own: no file of ours is about it
    assert not any("Name=eno1\n" in text for text in found.values())
    assert set(managers.files(Bridge("br-in"), NETWORKD)) == {
        "/etc/systemd/network/01-hvm-br-in.netdev", "/etc/systemd/network/01-hvm-br-in.network",
    }  # fmt: skip
    assert "Name=eno2\n" in managers.files(Bridge("br-out", "eno2"), NETWORKD)["/etc/systemd/network/01-hvm-br-out.port.network"]


@pytest.mark.parametrize(
    ("name", "escaped"), [("eno1", "eno1"), ("br-lan", "br\\x2dlan"), ("eno1.10", "eno1.10"), (".x", "\\x2ex")]
)
def test_a_name_in_the_name_of_a_unit(name: str, escaped: str) -> None:
    assert managers.escape(name) == escaped
    if shutil.which("systemd-escape"):
        made = subprocess.run(["systemd-escape", "--", name], capture_output=True, text=True, check=True, timeout=60)
        assert made.stdout.strip() == escaped


@pytest.mark.parametrize("bridge", [FULL, Bridge("br-a", "br-lan", 4094), Bridge("br-b", "enxaabbccddeeff", 4094)])
def test_systemd_understands_the_unit(bridge: Bridge, tmp_path: pathlib.Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd")
    found = managers.files(bridge, NETWORKD)
    unit = tmp_path / managers.unit_name(bridge.name)
    text = found[f"/etc/systemd/system/{unit.name}"]
    unit.write_text(text.replace("/sbin/ip", shutil.which("true") or ""))
    said = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False, timeout=120)
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize("manager", [IFUPDOWN, NETWORKD])
@pytest.mark.parametrize("bridge", [FULL, Bridge("br-in"), Bridge("br-out", "eno2"), Bridge("v10", "enxaabbccddeeff", 10)])
def test_what_was_made_is_read_out_of_the_files_also_of_some_of_them(bridge: Bridge, manager: str) -> None:
    found = managers.files(bridge, manager)
    assert managers.made(found) == {bridge.name: managers.Made(bridge, tuple(sorted(found)))}
    for path, text in found.items():
        left = managers.made({path: text})
        assert left == {bridge.name: managers.Made(Bridge(bridge.name) if ".wants/" in path else bridge, (path,))}


@given(st.text(max_size=60))
def test_files_that_somebody_has_changed_are_known_by_their_name(text: str) -> None:
    path = "/etc/network/interfaces.d/hvm-br0"
    for found in (text, f"{managers._MARK}{text}"):
        assert list(managers.made({path: found})) == ["br0"]


def test_whose_file_it_is() -> None:
    some = (FULL, Bridge("br-port", "eno1", 3), Bridge("port"))
    paths = {path: one.name for one in some for manager in (IFUPDOWN, NETWORKD) for path in managers.files(one, manager)}
    assert {path: managers.name_of(path) for path in paths} == paths
    strange: t.Any = [
        "/etc/network/interfaces.d/hvm-a.dpkg-old",
        "/etc/systemd/network/10-eth0.network",
        "/etc/systemd/network/01-hvm-.network",
    ]
    assert [managers.name_of(path) for path in strange] == ["", "", ""]


@pytest.mark.parametrize(
    ("bridge", "mtu", "asked"),
    [
        (Bridge("br-a", "bond0", 10), None, True),
        (Bridge("br-a", "bond0"), None, True),
        (Bridge("br-a", "bond0", 10, 9000), 1500, True),
        (Bridge("br-a", "bond0", 10, 9000), 9000, False),
        (Bridge("br-a", "bond0", 10), 1500, False),
        (Bridge("br-a", "bond0", 0, 9000), 1500, False),  # its MTU is raised by our own file
    ],
)
def test_ifupdown_brings_up_the_parent_first_only_where_it_is_missing_or_too_narrow(
    tmp_path: pathlib.Path, bridge: Bridge, mtu: int | None, asked: bool
) -> None:
    """At boot our files come by their names, mostly before what makes the parent. With a real ifup it has been seen by hand."""
    (text,) = managers.files(bridge, IFUPDOWN).values()
    lines = [line.strip().removeprefix("pre-up ") for line in text.splitlines() if "pre-up" in line]
    (at,) = (number for number, line in enumerate(lines) if " ifup " in line)
    assert all(bridge.port not in line for line in lines[:at]) and any(f"{bridge.port} " in line for line in lines[at + 1 :])
    said = tmp_path / "said"
    stub = tmp_path / "ifup"
    stub.write_text(f"#!/bin/sh\necho $@ > {said}\nexit 1\n")  # as for an interface that ifupdown does not know
    stub.chmod(0o755)
    if mtu is not None:
        (tmp_path / "bond0").mkdir()
        (tmp_path / "bond0/mtu").write_text(f"{mtu}\n")
    line = lines[at].replace("/sys/class/net", str(tmp_path))
    subprocess.run(["/bin/sh", "-c", line], check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert (said.read_text() if said.exists() else "") == ("bond0\n" if asked else "")
