# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be done for which networks on which host: a table that was read by a person, and what holds for all of them.

The kernel is a made-up one (`fake_kernel`).
"""

from __future__ import annotations

import os
import pathlib
import sys
import typing as t

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._net import links, managers, network_plan
from ansible_collections.hvm.pair.plugins.module_utils._net.links import PROC, RUN, Seen
from ansible_collections.hvm.pair.plugins.module_utils._net.managers import IFUPDOWN, NETWORKD
from ansible_collections.hvm.pair.plugins.module_utils._net.networks import Bridge

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_kernel import SSH, Kernel

GOLDEN = pathlib.Path(__file__).with_name("networks_golden.txt")


V10, V20, OUT, IN = Bridge("br-v10", "eno1", 10), Bridge("br-v20", "eno1", 20), Bridge("br-out", "eno2"), Bridge("br-in")
SAN = Bridge("br-san", "eno2", 30, 1400, ("10.9.0.1/24", "fd09::1/64"))


def made(*bridges: Bridge, manager: str = IFUPDOWN) -> Kernel:
    kernel = Kernel()
    kernel.settle(bridges, manager)
    return kernel


def tap(name: str, master: str) -> Seen:
    return Seen(name, "tun", master=master)


def scenes() -> t.Iterator[tuple[str, Kernel, list[Bridge], dict[str, t.Any]]]:
    """What there is, what is wanted, and what else is known of the host."""
    yield "nothing is there, nothing is wanted", Kernel(), [], {}
    yield "a VLAN of the interface that this session comes in by", Kernel(), [V10], {}
    yield "a whole interface", Kernel(), [OUT], {}
    yield "no interface", Kernel(), [IN], {}
    yield "addresses, an MTU, an interface that is switched off", Kernel(Seen("eno2", up=False, max_mtu=9000)), [SAN], {}
    yield "it is there", made(V10, OUT), [V10, OUT], {}
    yield "one goes, one stays", made(V10, OUT), [V10], {}
    yield "another VLAN, with VMs connected", _with(made(V10), tap("vnet0", "br-v10")), [V10._replace(vlan=11)], {}
    yield "two that change their VLANs", made(V10, V20), [V10._replace(vlan=20), V20._replace(vlan=10)], {}
    yield "from a VLAN to a whole interface", made(SAN), [Bridge("br-san", "eno2")], {}
    yield "an address more, one less", made(SAN), [SAN._replace(addresses=("10.9.0.2/24", "fd09::1/64"))], {}
    yield "no MTU any more", made(Bridge("br-out", "eno2", 0, 1400)), [OUT], {}
    yield "a file that somebody has changed", _files(made(V10), {"/etc/network/interfaces.d/hvm-br-v10": "# gone\n"}), [V10], {}
    yield "a bridge that somebody has removed", _without(made(V10), "br-v10"), [V10], {}
    yield "the files only, as after a crash", Kernel(files=made(V10).files), [V10], {}
    yield "the files only, and it is not wanted any more", Kernel(files=made(V10).files), [], {}
    yield "the whole interface that this session comes in by", Kernel(), [Bridge("br-lan", "eno1")], {}
    bonded = Kernel(
        Seen("bond0", "bond", addresses=("192.0.2.1/24",)), Seen("eno1", master="bond0"), Seen("eno2", master="bond0")
    )
    yield "a part of the bond of the shared IP", bonded, [OUT], {"reasons": {"bond0": "has the shared IP"}}
    yield "a VLAN of a part of a bond", bonded, [V10], {"reasons": {}}
    hosts = Kernel(Seen("br0", "bridge", addresses=("192.0.2.1/24",)), Seen("eno1", master="br0"), Seen("eno2"))
    yield "the port of the bridge that the host lies on", hosts, [Bridge("br-lan", "eno1")], {"reasons": {"br0": SSH}}
    yield "a VLAN of the bridge that the host lies on", hosts, [Bridge("br-v10", "br0", 10)], {"reasons": {"br0": SSH}}
    yield "an interface that has an address", Kernel(), [Bridge("br-lan", "eno1")], {"reasons": {}}
    yield "an interface that is not there", Kernel(), [Bridge("br-x", "eno7", 7), Bridge("br-y", "eno8")], {}
    yield "a bridge of somebody else", Kernel(Seen("br-v10", "bridge")), [V10], {}
    yield "a VLAN of somebody else, by another name", Kernel(Seen("vlan10", "vlan", below="eno1", vlan=10)), [V10], {}
    used = Seen("eno1.10", "vlan", below="eno1", vlan=10, addresses=("10.1.1.1/24",))
    yield "a VLAN of somebody else, in use", Kernel(used), [V10], {}
    yield "a VLAN that nobody uses", Kernel(used._replace(addresses=())), [V10], {}
    yield "an MTU that the interface lacks", Kernel(), [V10._replace(mtu=9000), OUT._replace(mtu=9216)], {}
    wide = [Bridge("br-a", "eno2", 5, 9000), Bridge("br-b", "eno2", 0, 9000)]
    yield "an MTU that the interface gets by another of them", Kernel(), wide, {}
    yield "an address that the host has elsewhere", Kernel(), [SAN._replace(addresses=("192.0.2.1/24",))], {"reasons": {}}
    yield "VMs need what is to go", made(V10), [], {"users": {"br-v10": ["web", "db"]}}
    yield "something unknown is in what is to go", _with(made(V10), tap("vnet0", "br-v10"), tap("tap7", "br-v10")), [], {}
    yield "the shared IP is on what is to go", made(SAN), [], {"reasons": {"br-san": "has the shared IP"}}
    yield (
        "the shared IP is on what is to change",
        made(SAN),
        [SAN._replace(vlan=31)],
        {"reasons": {"br-san": "has the shared IP"}},
    )
    yield "the shared IP is on what stays", made(SAN), [SAN, V10], {"reasons": {"br-san": "has the shared IP"}}
    yield "one has lost its interface, another is wanted", _without(made(OUT), "eno2"), [OUT, V10], {}


def _with(kernel: Kernel, *more: Seen) -> Kernel:
    kernel.links.update({one.name: one for one in more})
    return kernel


def _without(kernel: Kernel, name: str) -> Kernel:
    del kernel.links[name]
    return kernel


def _files(kernel: Kernel, files: t.Mapping[str, str]) -> Kernel:
    kernel.files.update(files)
    return kernel


def test_each_scene_is_decided_as_the_table_says() -> None:
    found = []
    for title, kernel, wanted, more in scenes():
        plan = network_plan.plan(wanted, kernel.world(IFUPDOWN, **more), host="hv1")
        lines = [f"refused: {one.what} | {one.remedy}" for one in plan.findings]
        lines += [] if lines else [*plan.actions, *(f"left: {one}" for one in plan.left)]
        if not plan.findings:
            lines += [f"  {step.text()}" for step in kernel.all(plan)]
        found.append(f"{title}\n" + "".join(f"    {line}\n" for line in lines or ["nothing to do"]))
    text = "\n".join(found)
    if os.environ.get("HVM_GOLDEN") == "write":
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_networkd_gets_its_files_then_is_told_then_the_unit_starts() -> None:
    kernel = Kernel()
    plan = network_plan.plan([V10], kernel.world(NETWORKD), host="hv1")
    place, unit = "/etc/systemd/network/01-hvm-br-v10", "/etc/systemd/system/hvm-vlan-br-v10.service"
    link = "/etc/systemd/system/sys-subsystem-net-devices-eno1.device.wants/hvm-vlan-br-v10.service"
    assert [step.text() for step in plan.steps] == [
        *(f"write {path}" for path in (f"{place}.netdev", f"{place}.network", f"{place}.port.network", unit)),
        f"link {link}",
        "systemctl daemon-reload",
        "networkctl reload",
        "systemctl restart --no-block hvm-vlan-br-v10.service",
    ]
    assert plan.settle
    assert "networkctl reload" in kernel.settle([V10], NETWORKD)
    gone = network_plan.plan([], kernel.world(NETWORKD), host="hv1")
    assert [step.text() for step in gone.steps] == [
        "systemctl stop hvm-vlan-br-v10.service",
        "ip link del dev eno1.10",
        "ip link del dev br-v10",
        f"remove {link}",
        *(f"remove {path}" for path in (f"{place}.netdev", f"{place}.network", f"{place}.port.network", unit)),
        "systemctl daemon-reload",
        "networkctl reload",
    ]
    # without a VLAN there is no unit
    assert not any("systemctl" in step.text() for step in network_plan.plan([OUT], Kernel().world(NETWORKD)).steps)


@pytest.mark.parametrize(("old", "new"), [(IFUPDOWN, NETWORKD), (NETWORKD, IFUPDOWN)])
def test_a_host_that_has_changed_its_manager_gets_other_files_and_keeps_its_bridges(old: str, new: str) -> None:
    kernel = _with(made(V10, OUT, manager=old), tap("vnet0", "br-v10"))
    before = dict(kernel.links)
    done = kernel.settle([V10, OUT], new)
    assert kernel.links == before
    assert kernel.files == {**managers.files(V10, new), **managers.files(OUT, new)}
    assert not [text for text in done if text.startswith("ip ")]
    assert kernel.settle([V10, OUT], new) == []


def test_the_reason_why_an_interface_is_not_touched_names_what_lies_on_it() -> None:
    kernel = Kernel(
        Seen("bond0", "bond"), Seen("eno1", master="bond0"), Seen("bond0.5", "vlan", below="bond0", vlan=5, master="br0"),
        Seen("br0", "bridge"), tap("vnet0", "br0"),
    )  # fmt: skip
    assert links.protected(kernel.links, {"br0": SSH, "": "x", "gone": "y"}) == {
        "br0": SSH, "gone": "y", "bond0.5": f"{SSH} (by way of br0)", "bond0": f"{SSH} (by way of br0)",
        "eno1": f"{SSH} (by way of br0)",
    }  # fmt: skip


# What holds for all of them

PARENTS = st.sampled_from(["", "eno1", "eno2"])
VLANS = st.sampled_from([0, 10, 11, 12])
NAMES = ["br-a", "br-b", "br-c"]
ADDRESSES = st.sampled_from([(), ("10.9.0.1/24",), ("10.9.0.1/24", "fd09::1/64"), ("10.9.0.2/24",)])


@st.composite
def sets(draw: st.DrawFn) -> list[Bridge]:
    """Networks that a host may be told: no two for one thing."""
    found: list[Bridge] = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        parent, vlan = draw(PARENTS), draw(VLANS)
        taken = {(one.parent, one.vlan) for one in found}
        if parent == "eno1" and not vlan:
            continue  # refused: see the table
        if parent and (parent, vlan) in taken:
            continue
        addresses = draw(ADDRESSES) if not any(one.addresses for one in found) else ()
        found.append(Bridge(name, parent, vlan if parent else 0, draw(st.sampled_from([0, 1400, 1500])), addresses))
    narrow = any(one.port == "eno2" and one.mtu == 1400 for one in found)
    return [one._replace(mtu=min(one.mtu, 1400)) if narrow and one.parent == "eno2" else one for one in found]


MANAGERS = st.sampled_from([IFUPDOWN, NETWORKD])


def whole(kernel: Kernel, wanted: t.Sequence[Bridge], manager: str) -> None:
    """As it was declared, nothing besides, and the next run has nothing to do."""
    assert [fault for bridge in wanted for fault in links.faults(bridge, kernel.links)] == []
    expected = {"lo", "eno1", "eno2"} | {one.name for one in wanted} | {one.port for one in wanted if one.port}
    assert set(kernel.links) - {"vnet0"} == expected
    assert kernel.files == {path: text for one in wanted for path, text in managers.files(one, manager).items()}
    again = network_plan.plan(wanted, kernel.world(manager), host="hv1")
    assert (again.steps, again.actions, again.findings) == ((), (), ())
    declared = {one.name: one.addresses for one in wanted}
    assert all(set(one.addresses) == set(declared.get(one.name, ())) for one in kernel.links.values() if one.kind == "bridge")


@settings(max_examples=60)
@example(
    [Bridge("br-b", "eno2", 0, 1400), Bridge("br-a", "eno2", 11, 1400)],
    [Bridge("br-b", "eno1", 10), Bridge("br-a", "eno2", 11)],
    IFUPDOWN,
    IFUPDOWN,
)
@example(
    [Bridge("br-b", "eno2", 0, 1400), Bridge("br-a", "eno2", 11, 1400)],
    [Bridge("br-b", "eno2", 0, 1400), Bridge("br-a", "eno2", 11)],
    IFUPDOWN,
    IFUPDOWN,
)
@given(sets(), sets(), MANAGERS, MANAGERS)
def test_from_any_networks_to_any_others_and_the_second_run_changes_nothing(
    old: list[Bridge], new: list[Bridge], before: str, after: str
) -> None:
    kernel = Kernel()
    kernel.settle(old, before)
    whole(kernel, old, before)
    kernel.settle(new, after)
    whole(kernel, new, after)


@settings(max_examples=60)
@given(sets(), sets(), MANAGERS, st.data())
def test_each_step_may_be_the_last_one(old: list[Bridge], new: list[Bridge], manager: str, data: st.DataObject) -> None:
    """A crash anywhere; then it is run again, or what was there before is wanted back."""
    kernel = Kernel()
    kernel.settle(old, manager)
    steps = kernel.all(network_plan.plan(new, kernel.world(manager), host="hv1"))
    for _turn in range(data.draw(st.integers(0, 25))):
        next(steps, None)
    if data.draw(st.booleans()):  # a reboot: the kernel forgets, the files stay
        kernel.links = Kernel().links
    wanted = data.draw(st.sampled_from([old, new]))
    kernel.settle(wanted, manager)
    whole(kernel, wanted, manager)


CUTTING = {("link", "del"), ("addr", "del"), ("addr", "replace")}


@settings(max_examples=60)
@given(sets(), sets(), MANAGERS)
def test_the_way_in_is_never_touched(old: list[Bridge], new: list[Bridge], manager: str) -> None:
    """eno1 has it. It may carry VLANs; nothing is done to it."""
    kernel = Kernel()
    before = kernel.links["eno1"]
    kernel.settle(old, manager)
    plan = network_plan.plan(new, kernel.world(manager), host="hv1")
    for step in kernel.all(plan):
        words = step.words
        if step.do == RUN and words[0] == "ip":
            assert words[words.index("dev") + 1 if "dev" in words else -1] != "eno1", step
        elif step.do != PROC and words[:1] in (("ifup",), ("ifdown",)):
            assert words[1] in NAMES
        assert kernel.links["eno1"] == before


@given(sets(), MANAGERS)
def test_a_bridge_with_a_vm_in_it_is_never_removed(old: list[Bridge], manager: str) -> None:
    kernel = Kernel()
    kernel.settle(old, manager)
    for bridge in old:
        world = _with(Kernel(*kernel.links.values(), files=kernel.files), tap("vnet0", bridge.name)).world(manager)
        plan = network_plan.plan([one for one in old if one != bridge], world, host="hv1")
        assert [one.what for one in plan.findings] == [f"{bridge.name} cannot be removed: vnet0 are connected to it"]


def test_what_ip_prints_is_read() -> None:
    text = """[{},
      {"ifname": "lo", "flags": ["LOOPBACK", "UP"], "mtu": 65536, "link_type": "loopback", "addr_info": [
        {"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
      {"ifname": "eno1", "flags": ["BROADCAST", "UP", "LOWER_UP"], "mtu": 1500, "max_mtu": 9000, "link_type": "ether",
       "master": "br0", "linkinfo": {"info_slave_kind": "bridge"}, "addr_info": [
        {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"}]},
      {"ifname": "br0", "flags": ["BROADCAST"], "mtu": 1500, "link_type": "ether",
       "linkinfo": {"info_kind": "bridge", "info_data": {"stp_state": 1}}, "addr_info": [
        {"family": "inet", "local": "192.0.2.1", "prefixlen": 24}, {"family": "inet6", "local": "fd00::1", "prefixlen": 64}]},
      {"ifname": "eno1.10", "link": "eno1", "flags": ["UP"], "mtu": 1500, "link_type": "ether",
       "linkinfo": {"info_kind": "vlan", "info_data": {"protocol": "802.1Q", "id": 10}}, "addr_info": []},
      {"ifname": "vnet0", "flags": ["UP"], "mtu": 1500, "link_type": "ether", "linkinfo": {"info_kind": "tun"}}]"""
    found = links.parse(text)
    assert found["lo"] == Seen("lo", ethernet=False, mtu=65536, addresses=("127.0.0.1/8",))
    assert found["eno1"] == Seen("eno1", max_mtu=9000, master="br0", local=("fe80::1/64",))
    assert found["br0"] == Seen("br0", "bridge", up=False, stp=True, addresses=("192.0.2.1/24", "fd00::1/64"))
    assert found["eno1.10"] == Seen("eno1.10", "vlan", below="eno1", vlan=10)
    assert found["vnet0"].of_a_vm and not found["br0"].of_a_vm


def test_a_whole_interface_gets_its_ipv6_back() -> None:
    kernel = Kernel(Seen("eno2", up=False, max_mtu=9000))
    kernel.settle([OUT], IFUPDOWN)
    assert "eno2" in kernel.quiet
    kernel.settle([], IFUPDOWN)
    assert "eno2" not in kernel.quiet


def test_default_routes() -> None:
    many = '[{"dst": "default", "dev": "eno1"}, {"dst": "default", "nexthops": [{"dev": "eno2"}, {"dev": "eno3"}]}]'
    assert links.default_routes(many, "", "[]") == {"eno1", "eno2", "eno3"}
