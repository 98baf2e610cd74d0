# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Networks for VMs, as they are declared: one word for both hosts, and what it means on one of them. No I/O.

Names become file names, arguments of `ip` and lines of ifupdown, which a shell reads: nothing but letters, digits, dots,
dashes and underscores gets here. A bridge's name has no dot: ifupdown takes what is behind one for a VLAN (interfaces(5)),
and reads files without one only (source-directory).
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
import zlib

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net.declared import parse_shared

#: IFNAMSIZ without its null.
LONGEST = 15
_BRIDGE = re.compile(r"(?!vlan\d)[A-Za-z][A-Za-z0-9_-]{0,14}\Z")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z")
#: 0 and 4095 are reserved (IEEE 802.1Q).
VLANS = range(1, 4095)
#: IPv6 wants 1280 (RFC 8200); 65535 is what the kernel's bridge can have.
MTUS = range(1280, 65536)

REMEDY = (
    "A network has a name (a bridge; 15 letters, digits, dashes and underscores at most, and not vlanN, which ifupdown takes "
    "for a VLAN) and, as it needs them, interface, vlan (1 to 4094), mtu and, by host, addresses."
)


class Bridge(t.NamedTuple):
    """A network on one host.

    :ivar parent: the interface that it is connected to; "" for none: then it connects the VMs of this host only.
    :ivar vlan: its VLAN on that interface; 0 for none: then the interface itself is in the bridge.
    :ivar mtu: bytes; 0: as the kernel has it. :ivar addresses: this host's own on the bridge, as ADDR/PREFIX.
    """

    name: str
    parent: str = ""
    vlan: int = 0
    mtu: int = 0
    addresses: tuple[str, ...] = ()

    @property
    def port(self) -> str:
        """The interface that is in the bridge: the parent, or its VLAN; "" for none.

        By the name that everybody gives to a VLAN where that is short enough.
        """
        if not self.vlan:
            return self.parent
        plain = f"{self.parent}.{self.vlan}"
        return plain if len(plain) <= LONGEST else f"v{self.vlan}-{zlib.crc32(self.parent.encode()):08x}"

    @property
    def has_ipv6(self) -> bool:
        return any(ipaddress.ip_interface(one).version == 6 for one in self.addresses)

    @property
    def over(self) -> str:
        """In words: what the bridge is connected to."""
        if not self.parent:
            return "no interface"
        return f"VLAN {self.vlan} of {self.parent}" if self.vlan else self.parent


class Network(t.NamedTuple):
    """A network as it is declared for both hosts.

    :ivar interfaces: ``(host, interface)`` of each host, by name; empty for none. :ivar addresses: ``(host, its addresses)``.
    """

    name: str
    interfaces: tuple[tuple[str, str], ...] = ()
    vlan: int = 0
    mtu: int = 0
    addresses: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def on(self, host: str) -> Bridge:
        return Bridge(self.name, dict(self.interfaces).get(host, ""), self.vlan, self.mtu, dict(self.addresses).get(host, ()))

    def record(self) -> dict[str, t.Any]:
        """As it is declared, and stored: what is not said is left out."""
        names = {interface for dummy, interface in self.interfaces}
        raw: dict[str, t.Any] = {"name": self.name}
        if names:
            raw["interface"] = names.pop() if len(names) == 1 else dict(self.interfaces)
        raw.update({key: value for key, value in (("vlan", self.vlan), ("mtu", self.mtu)) if value})
        if self.addresses:
            raw["addresses"] = {host: list(found) for host, found in self.addresses}
        return raw

    def sentence(self) -> str:
        names = sorted({interface for dummy, interface in self.interfaces})
        over = " or ".join(names) or "no interface"
        if len(names) > 1:
            over = ", ".join(f"{interface} on {host}" for host, interface in self.interfaces)
        text = f"{self.name}: {f'VLAN {self.vlan} of ' if self.vlan else ''}{over}"
        text += f", MTU {self.mtu}" if self.mtu else ""
        return text + "".join(f", {' and '.join(found)} on {host}" for host, found in self.addresses)


def parse(raws: t.Any, hosts: t.Sequence[str], shared_ips: t.Sequence[str] = ()) -> tuple[Network, ...]:
    """What the inventory declares, or a host has stored, by name.

    :param raws: list of ``{name, interface: NAME or {host: NAME}, vlan, mtu, addresses: {host: [ADDR/PREFIX]}}``.
    :param hosts: the names of both. :param shared_ips: addresses that come and go by themselves: none of them is a network's.
    :raises HvmError: with all that is wrong at once.
    """
    wrong: list[str] = []
    found: dict[str, Network] = {}
    if not isinstance(raws, (list, tuple)):
        raise HvmError("the networks are no list", REMEDY)
    for raw in raws:
        one = _one(raw, hosts, wrong)
        if one is None:
            continue
        if one.name in found:
            wrong.append(f"{one.name} is declared twice")
        found[one.name] = one
    for host in hosts:
        wrong += _clashes([one.on(host) for one in found.values()], host)
    wrong += _same_address(found.values(), shared_ips)
    if wrong:
        raise HvmError(f"the networks cannot be used: {'; '.join(dict.fromkeys(wrong))}", REMEDY)
    return tuple(found[name] for name in sorted(found))


def _one(raw: t.Any, hosts: t.Sequence[str], wrong: list[str]) -> Network | None:
    if not isinstance(raw, dict):
        wrong.append(f"{raw!r} is no network")
        return None
    name = raw.get("name")
    if not isinstance(name, str) or not _BRIDGE.match(name):
        wrong.append(f"{name!r} is no name of a bridge")
        return None
    wrong += [
        f"{name}: {key!r} is not known"
        for key in sorted(map(str, set(raw) - {"name", "interface", "vlan", "mtu", "addresses"}))
    ]
    interfaces = _interfaces(name, raw.get("interface"), hosts, wrong)
    vlan = _number(name, "vlan", raw.get("vlan"), VLANS, wrong)
    mtu = _number(name, "mtu", raw.get("mtu"), MTUS, wrong)
    if vlan and not interfaces:
        wrong.append(f"{name}: the VLAN {vlan} is on no interface")
    return Network(name, interfaces, vlan, mtu, _addresses(name, raw.get("addresses"), hosts, wrong))


def _interfaces(name: str, raw: t.Any, hosts: t.Sequence[str], wrong: list[str]) -> tuple[tuple[str, str], ...]:
    if raw is None or raw == "":
        return ()
    by_host = raw if isinstance(raw, dict) else dict.fromkeys(hosts, raw)
    if set(by_host) != set(hosts):
        wrong.append(
            f"{name}: interface must name one for each of {' and '.join(hosts)}, not for {', '.join(map(str, by_host)) or 'none'}"
        )
        return ()
    for interface in dict.fromkeys(map(str, by_host.values())):
        if not _INTERFACE.match(interface) or interface == "lo":
            wrong.append(f"{name}: {interface!r} is no name of an interface")
    return tuple(sorted((host, str(interface)) for host, interface in by_host.items()))


def _number(name: str, key: str, raw: t.Any, allowed: range, wrong: list[str]) -> int:
    if raw is None or raw == "":
        return 0
    if isinstance(raw, str) and raw.isascii() and raw.isdigit():
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int) or raw not in allowed:
        wrong.append(f"{name}: {key} must be a number from {allowed[0]} to {allowed[-1]}, not {raw!r}")
        return 0
    return raw


def _addresses(name: str, raw: t.Any, hosts: t.Sequence[str], wrong: list[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not raw:
        return ()
    if not isinstance(raw, dict) or set(raw) - set(hosts):
        wrong.append(f"{name}: addresses are those of each host, such as {{{hosts[0]}: [192.0.2.1/24]}}")
        return ()
    found = []
    for host, those in sorted(raw.items()):
        try:
            one = parse_shared([those] if isinstance(those, str) else [str(address) for address in those or ()])
        except HvmError as exc:
            wrong.append(f"{name}: {exc.what}".replace("a shared address", "an address").replace("shared address", "address"))
            continue
        if one:
            found.append((str(host), tuple(map(str, one))))
    return tuple(found)


def _clashes(bridges: t.Sequence[Bridge], host: str) -> t.Iterator[str]:
    """Two that want the same thing of one host."""
    names = {one.name for one in bridges}
    ports: dict[str, Bridge] = {}
    for one in bridges:
        if one.port and one.port in ports:
            yield f"{ports[one.port].name} and {one.name} both want {one.over} on {host}"
        ports.setdefault(one.port, one)
        if one.port in names:
            yield f"{one.name}: {one.port} is a bridge itself"
        if one.vlan and one.parent in names:
            yield f"{one.name}: {one.parent} is another of these networks; name the interface below it"


def _same_address(networks: t.Iterable[Network], shared_ips: t.Sequence[str]) -> t.Iterator[str]:
    known = {one.ip: "the shared IP" for one in parse_shared(shared_ips)}
    for network in networks:
        for host, found in network.addresses:
            for one in map(ipaddress.ip_interface, found):
                if one.ip in known:
                    yield f"{network.name}: {one.ip} on {host} is the address of {known[one.ip]}, too"
                known[one.ip] = f"{network.name} on {host}"
