# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Bridges, VLANs and their ports as the kernel has them, what of a network is not as it was declared, and what mends it. No I/O.

A bridge for VMs has no address of its own unless one is declared, and no IPv6 (not even link-local: a VM's network is none of
the host's), no spanning tree (it would hold a port back for half a minute, and the switch may shut its own down for it), and
no delay.
"""

from __future__ import annotations

import ipaddress
import json
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._net.networks import Bridge

#: What a step does: run a command, or one that may fail; write into /proc; write a file; make a link; remove a file.
RUN, TRY, PROC, WRITE, LINK, REMOVE = "run", "try", "proc", "write", "link", "remove"
#: The MTU that an interface has when nobody says otherwise.
ETHERNET = 1500
IPV6_OFF = "/proc/sys/net/ipv6/conf/{}/disable_ipv6"


class Step(t.NamedTuple):
    """:ivar what: path of a file; "" for a command. :ivar words: the command; or one: what is written (PROC: or the path of what
    has it), where a link leads.
    """

    do: str
    what: str
    words: tuple[str, ...] = ()

    def text(self) -> str:
        """A line for the plan that is shown."""
        if self.do in (RUN, TRY):
            return " ".join(self.words)
        return f"{self.do} {self.what}"


def command(*words: str) -> Step:
    return Step(RUN, "", words)


class Seen(t.NamedTuple):
    """One interface.

    :ivar kind: of those that exist in software only: bridge, vlan, bond, tun, veth, ...; "" for a network card.
    :ivar master: the bridge or bond that it is a port of. :ivar below: of a VLAN, its interface.
    :ivar addresses: those that reach beyond the wire, as ADDR/PREFIX. :ivar local: link-local ones of IPv6.
    :ivar max_mtu: 0 when it is not known.
    """

    name: str
    kind: str = ""
    ethernet: bool = True
    up: bool = True
    mtu: int = 1500
    max_mtu: int = 0
    master: str = ""
    below: str = ""
    vlan: int = 0
    stp: bool = False
    addresses: tuple[str, ...] = ()
    local: tuple[str, ...] = ()

    @property
    def of_a_vm(self) -> bool:
        return self.kind == "tun" or self.name.startswith(("vnet", "macvtap"))


Links = t.Mapping[str, Seen]


def parse(text: str) -> dict[str, Seen]:
    """The output of `ip -j -d addr show`, by name."""
    found = {}
    for raw in json.loads(text or "[]"):
        if not raw.get("ifname"):
            continue  # iproute2 prints {} for what it filtered
        info = raw.get("linkinfo") or {}
        data = info.get("info_data") or {}
        kind = str(info.get("info_kind", ""))
        scopes: dict[bool, list[str]] = {True: [], False: []}
        for one in raw.get("addr_info", ()):
            if one.get("family") in ("inet", "inet6") and "local" in one:
                address = ipaddress.ip_interface(f"{one['local']}/{one['prefixlen']}")
                scopes[one["family"] == "inet6" and address.is_link_local].append(str(address))
        name = str(raw["ifname"])
        found[name] = Seen(
            name=name,
            kind=kind,
            ethernet=raw.get("link_type") == "ether",
            up="UP" in raw.get("flags", ()),
            mtu=int(raw.get("mtu", 0)),
            max_mtu=int(raw.get("max_mtu", 0)),
            master=str(raw.get("master", "")),
            below=str(raw.get("link", "")),
            vlan=int(data.get("id", 0)) if kind == "vlan" else 0,
            stp=kind == "bridge" and bool(data.get("stp_state")),
            addresses=tuple(scopes[False]),
            local=tuple(scopes[True]),
        )
    return found


def default_routes(*texts: str) -> set[str]:
    """The interfaces of `ip -j route show default`, of each family."""
    found = set()
    for text in texts:
        for raw in json.loads(text or "[]"):
            found |= {str(hop["dev"]) for hop in [raw, *raw.get("nexthops", ())] if hop.get("dev")}
    return found


def with_address(links: Links, wanted: t.Container[t.Any]) -> list[str]:
    """The interfaces that have one of these addresses."""
    return [name for name, link in links.items() if any(ipaddress.ip_interface(one).ip in wanted for one in link.addresses)]


def protected(links: Links, reasons: t.Mapping[str, str]) -> dict[str, str]:
    """What must not be touched, with the reason: these interfaces, and all that carries them.

    Without the ports of a bridge that lead to VMs: nothing of the host goes that way.

    :param reasons: interface -> why, as the end of a sentence.
    """
    found: dict[str, str] = {}
    todo = [(name, why) for name, why in reasons.items() if name]
    while todo:
        name, why = todo.pop(0)
        if name in found:
            continue
        found[name] = why
        link = links.get(name)
        carriers = [one.name for one in links.values() if one.master == name and not one.of_a_vm]
        if link is not None and link.below:
            carriers.append(link.below)
        todo += [(one, why if " (by way of " in why else f"{why} (by way of {name})") for one in carriers]
    return found


def is_port(bridge: Bridge, links: Links) -> bool:
    """Whether the interface of that name is the one that the network wants."""
    link = links.get(bridge.port)
    return link is not None and (not bridge.vlan or (link.kind, link.below, link.vlan) == ("vlan", bridge.parent, bridge.vlan))


def faults(bridge: Bridge, links: Links) -> list[str]:
    """What is not as it was declared, a sentence each; nothing when all is well. Addresses besides are nobody's fault."""
    own = links.get(bridge.name)
    found = []
    if own is None:
        found.append(f"{bridge.name} is not there")
    elif own.kind != "bridge":
        return [f"{bridge.name} is no bridge"]
    else:
        found += _state(own, bridge.mtu, not bridge.has_ipv6)
        if own.stp:
            found.append(f"{bridge.name} has its spanning tree protocol switched on")
        found += [f"{bridge.name} lacks the address {one}" for one in bridge.addresses if one not in own.addresses]
    if not bridge.parent:
        return found
    parent, port = links.get(bridge.parent), links.get(bridge.port)
    if parent is None:
        return [*found, f"the interface {bridge.parent} is not there"]
    if not parent.up:
        found.append(f"{bridge.parent} is switched off")
    if port is None:
        found.append(f"{bridge.over} is not there")
    elif not is_port(bridge, links):
        found.append(f"{bridge.port} is not {bridge.over}")
    else:
        if port.master != bridge.name:
            found.append(f"{bridge.port} is not in {bridge.name}")
        found += [one for one in _state(port, bridge.mtu, True) if one not in found]
    return found


def _state(link: Seen, mtu: int, without_ipv6: bool) -> list[str]:
    found = [] if link.up else [f"{link.name} is switched off"]
    if mtu and link.mtu != mtu:
        found.append(f"{link.name} has an MTU of {link.mtu}, not {mtu}")
    if without_ipv6 and link.local:
        found.append(f"{link.name} has the address {link.local[0]}")
    return found


def mend(bridge: Bridge, links: Links) -> list[Step]:
    """What makes it as it was declared; nothing when it is. It takes nothing away from anybody: the plan has looked."""
    if not faults(bridge, links):
        return []
    own, steps = links.get(bridge.name), []
    if own is None:
        kind = ("type", "bridge", "stp_state", "0", "forward_delay", "0")
        steps.append(command("ip", "link", "add", "name", bridge.name, *kind))
    elif own.stp:
        steps.append(command("ip", "link", "set", "dev", bridge.name, "type", "bridge", "stp_state", "0"))
    steps += _quiet(bridge.name, own, not bridge.has_ipv6)
    if bridge.parent in links:
        steps += _mend_port(bridge, links)
    if bridge.mtu and (own is None or own.mtu != bridge.mtu):
        steps.append(command("ip", "link", "set", "dev", bridge.name, "mtu", str(bridge.mtu)))
    if own is None or not own.up:
        steps.append(command("ip", "link", "set", "dev", bridge.name, "up"))
    there = own.addresses if own else ()
    return steps + [command("ip", "addr", "replace", one, "dev", bridge.name) for one in bridge.addresses if one not in there]


def _mend_port(bridge: Bridge, links: Links) -> list[Step]:
    steps = []
    port = links.get(bridge.port)
    if not links[bridge.parent].up:
        steps.append(command("ip", "link", "set", "dev", bridge.parent, "up"))
    if bridge.vlan and not is_port(bridge, links):
        if port is not None:
            steps.append(command("ip", "link", "del", "dev", bridge.port))
        kind = ("type", "vlan", "id", str(bridge.vlan))
        steps.append(command("ip", "link", "add", "link", bridge.parent, "name", bridge.port, *kind))
        port = None
    steps += _quiet(bridge.port, port, True)
    if bridge.mtu and (port is None or port.mtu != bridge.mtu):
        steps.append(command("ip", "link", "set", "dev", bridge.port, "mtu", str(bridge.mtu)))
    if port is None or port.master != bridge.name:
        steps.append(command("ip", "link", "set", "dev", bridge.port, "master", bridge.name))
    if port is None or not (port.up or port.name == bridge.parent):
        steps.append(command("ip", "link", "set", "dev", bridge.port, "up"))
    return steps


def _quiet(name: str, link: Seen | None, without_ipv6: bool) -> list[Step]:
    """Before it is switched on: no link-local address, or at least none by a router's advertisement."""
    if link is not None and link.up and not (without_ipv6 and link.local):
        return []
    return [
        Step(
            PROC, f"/proc/sys/net/ipv6/conf/{name}/{'disable_ipv6' if without_ipv6 else 'accept_ra'}", (str(int(without_ipv6)),)
        )
    ]


def take_apart(made: Bridge, links: Links, only_port: bool = False) -> list[Step]:
    """What a network has had, gone: its VLAN, its interface out of the bridge, the bridge.

    :param only_port: the bridge stays, for it gets another port.
    """
    steps = []
    port = links.get(made.port)
    if port is not None and made.vlan and is_port(made, links) and port.master in ("", made.name):
        steps.append(command("ip", "link", "del", "dev", made.port))
    elif port is not None and not made.vlan and port.master in ("", made.name):
        if port.master:
            steps.append(command("ip", "link", "set", "dev", made.port, "nomaster"))
        # `_quiet` and ifupdown's file have switched IPv6 off; back to what an interface of this host begins with
        steps.append(Step(PROC, IPV6_OFF.format(made.port), (IPV6_OFF.format("default"),)))
        if made.mtu and port.mtu == made.mtu != ETHERNET:
            steps.append(command("ip", "link", "set", "dev", made.port, "mtu", str(ETHERNET)))
    own = links.get(made.name)
    if not only_port and own is not None and own.kind == "bridge":
        steps.append(command("ip", "link", "del", "dev", made.name))
    return steps


def others_ports(made: Bridge, links: Links) -> list[str]:
    """The ports of a bridge that are not the network's own: VMs, as a rule."""
    return sorted(one.name for one in links.values() if one.master == made.name and one.name != made.port)
