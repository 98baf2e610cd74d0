# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""From what is declared and what is there to what is to be done, or why it must not be. No I/O.

What is refused: whatever would touch the way by which this host is reached, or take from somebody else what is in use. What
is done comes in an order in which each step may be the last one: the files are what tells the next run that a network was
begun, so they come before what is made of them, and go after it.
"""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding
from ansible_collections.hvm.pair.plugins.module_utils._net import links as link
from ansible_collections.hvm.pair.plugins.module_utils._net import managers
from ansible_collections.hvm.pair.plugins.module_utils._net.links import LINK, REMOVE, RUN, TRY, WRITE, Links, Step, command
from ansible_collections.hvm.pair.plugins.module_utils._net.managers import AUTO, IFUPDOWN, NETWORKD, SYSTEM, Facts, Made
from ansible_collections.hvm.pair.plugins.module_utils._net.networks import Bridge


class World(t.NamedTuple):
    """One host, as it was looked at.

    :ivar files: our own, by path. :ivar reasons: interface -> why it must not be touched.
    :ivar users: bridge -> the VMs that have it in their definition, also those that do not run.
    """

    links: Links
    files: t.Mapping[str, str]
    facts: Facts
    reasons: t.Mapping[str, str] = {}
    users: t.Mapping[str, t.Sequence[str]] = {}


class Plan(t.NamedTuple):
    """:ivar steps: in their order. :ivar wanted: what is to be there then. :ivar findings: why nothing of it is to be done.
    :ivar actions: what it does, a sentence for each network. :ivar left: what is wrong with a network that was made before, and
        cannot be mended now: no reason to refuse another one. :ivar settle: networkd works on it; it needs a moment.
    """

    steps: tuple[Step, ...] = ()
    wanted: tuple[Bridge, ...] = ()
    findings: tuple[Finding, ...] = ()
    actions: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    settle: bool = False

    @property
    def changes(self) -> bool:
        return bool(self.actions)


def plan(wanted: t.Sequence[Bridge], world: World, manager: str = AUTO, host: str = "") -> Plan:
    """:param wanted: all networks of this host; what was made besides goes. :param host: its name, for the findings."""
    # a VLAN can have no greater MTU than the interface that it is on, so that one comes first
    wanted = sorted(wanted, key=lambda bridge: (bridge.vlan > 0, bridge.name))
    known = managers.made(world.files)
    findings: list[Finding] = []
    actions: list[str] = []
    left: list[str] = []
    gone = [made for name, made in known.items() if name not in {one.name for one in wanted}]
    untouchable = link.protected(world.links, world.reasons)
    for made in gone:
        findings += _may_go(made, world, untouchable, host)
        actions.append(f"{made.bridge.name}: removed ({made.bridge.over})")
    after: managers.Files = {}
    chosen: dict[str, str] = {}
    changed: list[tuple[Bridge, Made | None]] = []
    for bridge in wanted:
        made_as = known.get(bridge.name)
        who, why_not = managers.choose(world.facts, bridge.parent, manager, host)
        new = managers.files(bridge, who) if who else {}
        chosen[bridge.name] = who
        after.update(new)
        same = made_as is not None and who and {path: world.files[path] for path in made_as.paths} == new
        wrong = link.faults(bridge, world.links)
        if same and not wrong:
            continue
        hindrances = [*why_not, *_may_be(bridge, made_as, world, untouchable, known, host)]
        hindrances += _wide_enough(bridge, wanted, known, world.links, host)
        if same and hindrances:
            left += [f"{bridge.name} is not as it was declared: {'; '.join(wrong)}. {one.sentence()}" for one in hindrances]
            continue
        findings += hindrances
        changed.append((bridge, made_as))
        actions.append(f"{bridge.name}: {_verb(bridge, made_as, wrong)}")
    steps = _steps(changed, gone, world, after if changed or gone else dict(world.files), chosen)
    return Plan(
        tuple(steps),
        tuple(wanted),
        tuple(dict.fromkeys(findings)),
        tuple(actions),
        tuple(dict.fromkeys(left)),
        any(chosen[bridge.name] == NETWORKD for bridge, dummy in changed),
    )


def _verb(bridge: Bridge, made: Made | None, wrong: t.Sequence[str]) -> str:
    more = f", MTU {bridge.mtu}" if bridge.mtu else ""
    more += f", {' and '.join(bridge.addresses)}" if bridge.addresses else ""
    if made is None:
        return f"made ({bridge.over}{more})"
    if made.bridge != bridge:
        return f"changed ({made.bridge.over} > {bridge.over}{more})"
    return f"mended ({', '.join(wrong)})" if wrong else "its files are written anew"


def _steps(
    changed: t.Sequence[tuple[Bridge, Made | None]],
    gone: t.Sequence[Made],
    world: World,
    after: managers.Files,
    chosen: t.Mapping[str, str],
) -> list[Step]:
    steps: list[Step] = []
    for made in gone:
        if any(path.startswith(f"{managers.INTERFACES}.d/") for path in made.paths):
            steps.append(Step(TRY, "", ("ifdown", made.bridge.name)))  # so that it forgets it; our file does nothing there
        if made.bridge.vlan and any(path.startswith(SYSTEM) for path in made.paths):
            steps.append(Step(TRY, "", ("systemctl", "stop", managers.unit_name(made.bridge.name))))
        steps += link.take_apart(made.bridge, world.links)
    others = [(bridge, made_as) for bridge, made_as in changed if made_as is not None and made_as.bridge != bridge]
    for bridge, made_as in others:  # all of them first: a VLAN can have no greater MTU than an interface that is let go here
        if (made_as.bridge.port, made_as.bridge.vlan) != (bridge.port, bridge.vlan):
            steps += link.take_apart(made_as.bridge, world.links, only_port=True)
    for bridge, made_as in others:
        own = world.links.get(bridge.name)
        if made_as.bridge.mtu and not bridge.mtu:
            most = link.ETHERNET
            if bridge.vlan and bridge.parent in world.links and _with_mtu(bridge.parent, most) not in steps:
                most = min(most, world.links[bridge.parent].mtu)
            for name in (bridge.port if bridge.port == made_as.bridge.port else "", bridge.name):
                if name in world.links and world.links[name].mtu != most:
                    steps.append(_with_mtu(name, most))
        old = [one for one in made_as.bridge.addresses if one not in bridge.addresses and own and one in own.addresses]
        steps += [command("ip", "addr", "del", one, "dev", bridge.name) for one in old]
    touched = []
    # the unit before the link to it, and the other way round
    for path in sorted(set(world.files) - set(after), key=lambda path: (".wants/" not in path, path)):
        steps.append(Step(REMOVE, path))
        touched.append(path)
    for path in sorted(after, key=lambda path: (".wants/" in path, path)):
        if world.files.get(path) != after[path]:
            steps.append(Step(LINK if ".wants/" in path else WRITE, path, (after[path],)))
            touched.append(path)
    if any(path.startswith(f"{SYSTEM}/") for path in touched):
        steps.append(command("systemctl", "daemon-reload"))
    by_networkd = [bridge for bridge, dummy in changed if chosen[bridge.name] == NETWORKD]
    if world.facts.networkd is not None and (by_networkd or any(path.startswith("/etc/systemd/network/") for path in touched)):
        steps.append(command("networkctl", "reload"))
    for bridge in by_networkd:
        if bridge.vlan:
            # not waited for: the device may be one that udev does not know of, and systemd waits for that for a minute and a half
            steps.append(command("systemctl", "restart", "--no-block", managers.unit_name(bridge.name)))
    steps += [Step(RUN, "", ("ifup", bridge.name)) for bridge, dummy in changed if chosen[bridge.name] == IFUPDOWN]
    return steps


def _with_mtu(name: str, mtu: int) -> Step:
    return command("ip", "link", "set", "dev", name, "mtu", str(mtu))


# ---- what is refused


def _cut(what: str, why: str, host: str) -> Finding:
    remedy = "Choose another interface, or do it on the host's console, without hvm."
    return Finding(f"{what}: {why}", remedy, host)


def _may_go(made: Made, world: World, untouchable: t.Mapping[str, str], host: str) -> list[Finding]:
    bridge = made.bridge
    found: list[Finding] = []
    for name in (bridge.name, bridge.port if bridge.vlan else ""):
        if not found and name in untouchable and name in world.links:
            found.append(_cut(f"{bridge.name} cannot be removed", f"{name} {untouchable[name]}", host))
    return found + _used(bridge, world, host)


def _used(bridge: Bridge, world: World, host: str) -> list[Finding]:
    users = list(world.users.get(bridge.name, ()))
    ports = link.others_ports(bridge, world.links)
    if users:
        what = f"{bridge.name} cannot be removed: {', '.join(users)} need it"
        return [Finding(what, "Connect these VMs to another bridge first (virsh edit), also those that do not run.", host)]
    if ports:
        what = f"{bridge.name} cannot be removed: {', '.join(ports)} are connected to it"
        return [Finding(what, "Take them out of it first ('ip link show master' with its name shows them).", host)]
    return []


def _may_be(
    bridge: Bridge, made: Made | None, world: World, untouchable: t.Mapping[str, str], known: t.Mapping[str, Made], host: str
) -> list[Finding]:
    found: list[Finding] = []
    links = world.links
    own = links.get(bridge.name)
    if made is None and own is not None:
        remedy = "Choose another name, or take it away where it comes from: only what hvm has made is changed by it."
        found.append(Finding(f"{bridge.name} is there already, and hvm has not made it", remedy, host))
    elif own is not None and own.kind != "bridge":
        found.append(Finding(f"{bridge.name} is there, and is no bridge", "Choose another name.", host))
    if made is not None and made.bridge != bridge and own is not None and bridge.name in untouchable:
        found.append(_cut(f"{bridge.name} cannot be changed", f"{bridge.name} {untouchable[bridge.name]}", host))
    names = managers.configured(world.facts.interfaces)
    for name in dict.fromkeys((bridge.name, bridge.port if bridge.vlan else "")):
        if name in names:
            remedy = "Remove it there, or choose another name: two would bring it up."
            found.append(Finding(f"{name} is in {managers.INTERFACES}", remedy, host))
    if bridge.parent:
        found += _may_carry(bridge, world, untouchable, known, names, host)
    for other in links.values():
        if other.name in known:
            continue  # it gives the address up, or the declaration would have been refused
        here = {ipaddress.ip_interface(one).ip for one in other.addresses}
        for one in bridge.addresses:
            if other.name != bridge.name and ipaddress.ip_interface(one).ip in here:
                found.append(
                    Finding(f"{one} is on {other.name} already", "Take it away there, or choose another address.", host)
                )
    return found


def _may_carry(
    bridge: Bridge,
    world: World,
    untouchable: t.Mapping[str, str],
    known: t.Mapping[str, Made],
    names: t.Mapping[str, set[str]],
    host: str,
) -> list[Finding]:
    links, parent = world.links, world.links.get(bridge.parent)
    if parent is None:
        there = ", ".join(sorted(name for name, one in links.items() if name != "lo" and not one.of_a_vm)) or "none"
        return [
            Finding(f"there is no interface {bridge.parent} for {bridge.name}", f"The interfaces of this host: {there}.", host)
        ]
    if not parent.ethernet or parent.of_a_vm:
        return [
            Finding(
                f"{parent.name} cannot carry {bridge.name}: it is no Ethernet interface of the host",
                "Choose another one.",
                host,
            )
        ]
    master = links.get(parent.master)
    if master is not None and master.kind in ("bond", "team"):
        return [Finding(f"{parent.name} is a part of {master.name}", f"Name {master.name} instead.", host)]
    return (
        _vlan_is_free(bridge, world, known, host) if bridge.vlan else _is_free(bridge, world, untouchable, known, names, host)
    )


def _wide_enough(
    bridge: Bridge, wanted: t.Sequence[Bridge], known: t.Mapping[str, Made], links: Links, host: str
) -> list[Finding]:
    """An MTU that the interface can have; that of one which is not ours is not changed."""
    parent = links.get(bridge.parent)
    if not bridge.mtu or parent is None:
        return []
    limit, most = parent.max_mtu, " at most"
    if bridge.vlan:
        # one that a network of ours has, or gives up, has the MTU that it gets by that
        had = link.ETHERNET if any(one.bridge.port == parent.name and one.bridge.mtu for one in known.values()) else parent.mtu
        limit, most = next((one.mtu for one in wanted if one.port == parent.name and one.mtu), had), ""
    if not limit or bridge.mtu <= limit:
        return []
    what = f"{parent.name} has an MTU of {limit}{most}, and {bridge.name} wants {bridge.mtu}"
    return [Finding(what, "Raise it there first, where that interface is configured, or want less.", host)]


def _is_free(
    bridge: Bridge,
    world: World,
    untouchable: t.Mapping[str, str],
    known: t.Mapping[str, Made],
    names: t.Mapping[str, set[str]],
    host: str,
) -> list[Finding]:
    """The whole interface goes into the bridge, so it must be nobody's."""
    parent = world.links[bridge.parent]
    if parent.master == bridge.name:
        return []
    if parent.name in untouchable:
        return [_cut(f"{parent.name} cannot be put into {bridge.name}", f"{parent.name} {untouchable[parent.name]}", host)]
    if parent.kind == "bridge":
        return [
            Finding(
                f"{parent.name} cannot be put into {bridge.name}: it is a bridge itself", "Name the interface below it.", host
            )
        ]
    if parent.master and parent.master not in known:
        return [Finding(f"{parent.name} is in {parent.master}", "Take it out of it first, or choose another interface.", host)]
    if parent.addresses:
        remedy = "Take the address away first, where it is configured, or choose another interface."
        return [Finding(f"{parent.name} has the address {parent.addresses[0]}: it is in use", remedy, host)]
    other = names.get(parent.name, set()) - {"manual"}
    if other:
        remedy = f"Make it 'iface {parent.name} inet manual' there, or choose another interface."
        return [Finding(f"{parent.name} is in {managers.INTERFACES} ({', '.join(sorted(other))})", remedy, host)]
    return []


def _vlan_is_free(bridge: Bridge, world: World, known: t.Mapping[str, Made], host: str) -> list[Finding]:
    """The interface itself is not touched; the VLAN must be nobody's."""
    links = world.links
    ours = {made.bridge.port for made in known.values()}
    for one in links.values():
        if (
            one.kind == "vlan"
            and (one.below, one.vlan) == (bridge.parent, bridge.vlan)
            and one.name not in {bridge.port} | ours
        ):
            remedy = "Take it away where it comes from: the kernel has each VLAN of an interface once."
            return [Finding(f"{bridge.over} is there already, as {one.name}", remedy, host)]
    port = links.get(bridge.port)
    if port is None or bridge.port in ours:
        return []
    if port.kind != "vlan" or not link.is_port(bridge, links):
        return [Finding(f"{bridge.port} is there already, and is not {bridge.over}", "Give it another name.", host)]
    if port.addresses or port.master not in ("", bridge.name):
        what = f"it has the address {port.addresses[0]}" if port.addresses else f"it is in {port.master}"
        return [Finding(f"{bridge.port} is in use: {what}", "Take that away first, where it is configured.", host)]
    return []
