# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What `ip -j addr` shows, what of the shared addresses is there, and which lines for `ip -batch` change it. No I/O.

How an address is added, and why:

* **Host prefix (/32, /128) when the interface already reaches that network**, the given prefix otherwise. With the given
  one, an IPv4 address becomes a *secondary* of the host's own address: it is gone without a word when that one is set
  anew, and when the shared address comes first, taking it away takes the host's own address along (`ip-sysctl.rst`,
  `promote_secondaries`, which is off on Debian 12). A host prefix is in no such relation, and the host does not choose the
  address for connections of its own, which would break when it moves. No route goes with it: the kernel adds none for a
  /32, and `noprefixroute` keeps it from adding one for a /128. Where the interface has no address of that network, the
  route is wanted: neighbours in that network could not be answered without.
* **IPv6: preferred_lft 0.** A deprecated address takes connections and is no source of new ones (RFC 6724 rule 3);
  keepalived does the same.
* **Label IFACE:hvm** for IPv4, when it fits (15 characters), so that a plain `ip addr` shows whose address that is.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net.declared import Address, Interface

ENABLED, DISABLED, NOT_CONFIGURED = "Shared IP is enabled", "Shared IP is disabled", "Shared IP is not configured"

_LABEL = 15  # IFNAMSIZ without its null


@dataclasses.dataclass(frozen=True)
class Entry:
    """One address of one interface.

    :ivar tentative: duplicate address detection is not over: it cannot be used yet.
    :ivar failed: duplicate address detection found another host: it never will be.
    """

    interface: str
    address: Interface
    secondary: bool = False
    tentative: bool = False
    failed: bool = False

    @property
    def usable(self) -> bool:
        return not (self.tentative or self.failed)


@dataclasses.dataclass(frozen=True)
class Link:
    """One interface. `up`: switched on; `carrier`: and something is at the other end."""

    name: str
    mac: str
    ethernet: bool
    up: bool
    carrier: bool
    entries: tuple[Entry, ...] = ()

    def reaches(self, address: Address) -> bool:
        """Whether `address` is a neighbour here, by the networks of the interface's own addresses."""
        return any(entry.address.network.num_addresses > 1 and address in entry.address.network for entry in self.entries)


@dataclasses.dataclass(frozen=True)
class Where:
    """One shared address: `found` lists each place where this host has it, as ADDR/PREFIX on IFACE."""

    address: str
    enabled: bool
    found: tuple[str, ...]
    sentence: str


@dataclasses.dataclass(frozen=True)
class Status:
    """:ivar enabled: all shared addresses are on their interface and can be used.
    :ivar held: at least one is somewhere on this host.
    :ivar sentence: the manual's words where they say it all.
    """

    enabled: bool
    held: bool
    sentence: str
    addresses: tuple[Where, ...]

    @property
    def text(self) -> str:
        """What is there, a line for each, as a diff shows it."""
        return "".join(f"{found}\n" for where in self.addresses for found in where.found)


def parse_links(text: str) -> dict[str, Link]:
    """The output of `ip -j addr`, by interface. An entry of the list may be empty: iproute2 prints {} for what it filtered."""
    links = {}
    for raw in json.loads(text or "[]"):
        if not raw.get("ifname"):
            continue
        name, flags = raw["ifname"], raw.get("flags", ())
        entries = tuple(
            Entry(
                name,
                ipaddress.ip_interface(f"{info['local']}/{info['prefixlen']}"),
                secondary=bool(info.get("secondary")) and info["family"] == "inet",  # for IPv6 it means: temporary
                tentative=bool(info.get("tentative")) and not info.get("optimistic"),
                failed=bool(info.get("dadfailed")),
            )
            for info in raw.get("addr_info", ())
            if info.get("family") in ("inet", "inet6") and "local" in info
        )
        # LOWER_UP is the carrier bit; NO-CARRIER is shown instead only while the interface is switched on.
        ethernet = raw.get("link_type") == "ether"
        links[name] = Link(name, raw.get("address", ""), ethernet, "UP" in flags, "LOWER_UP" in flags, entries)
    return links


def status(links: dict[str, Link], shared: t.Sequence[Interface], interface: str) -> Status:
    """How the shared addresses stand on this host."""
    places = tuple(_where(links, one, interface) for one in shared)
    enabled = bool(places) and all(place.enabled for place in places)
    held = any(place.found for place in places)
    if not places:
        sentence = NOT_CONFIGURED
    elif enabled:
        sentence = ENABLED
    elif not held:
        sentence = DISABLED
    else:
        sentence = f"Shared IP is partly enabled: {', '.join(place.sentence for place in places)}"
    return Status(enabled, held, sentence, places)


def _where(links: dict[str, Link], one: Interface, interface: str) -> Where:
    entries = having(links, one.ip)
    here = [entry for entry in entries if entry.interface == interface]
    elsewhere = sorted({entry.interface for entry in entries} - {interface})
    if any(entry.usable for entry in here):
        sentence = f"{one.ip} is on {interface}"
    elif any(entry.failed for entry in here):
        sentence = f"{one.ip} is on {interface} but cannot be used, since another machine has it"
    elif here:
        sentence = f"{one.ip} is on {interface} but cannot be used yet (duplicate address detection)"
    elif elsewhere:
        sentence = f"{one.ip} is on {', '.join(elsewhere)}, not on {interface}"
    else:
        sentence = f"{one.ip} is not here"
    found = tuple(f"{entry.address} on {entry.interface}" for entry in entries)
    return Where(str(one), any(entry.usable for entry in here), found, sentence)


def having(links: dict[str, Link], address: Address) -> list[Entry]:
    """Every place where this host has `address`, with whatever prefix length."""
    return [entry for link in links.values() for entry in link.entries if entry.address.ip == address]


def missing(links: dict[str, Link], shared: t.Sequence[Interface], interface: str) -> list[Interface]:
    """The shared addresses that are yet to be added.

    :raises HvmError: when one is on another interface: then it is not the one of two hosts that is wrong, but the wiring.
    """
    for one in shared:
        wrong = [entry.interface for entry in having(links, one.ip) if entry.interface != interface]
        if wrong:
            raise HvmError(
                f"the shared address {one.ip} is on interface {wrong[0]} of this host, and is to be on {interface}",
                f"Take it away there (ip addr del {one.ip} dev {wrong[0]}), or name the right interface in the inventory.",
            )
    return [one for one in shared if not any(entry.usable for entry in having(links, one.ip))]


def useless(links: dict[str, Link], shared: t.Sequence[Interface]) -> list[Entry]:
    """Entries whose duplicate address detection failed: they stay so for ever, `ip addr replace` does not start it again."""
    return [entry for one in shared for entry in having(links, one.ip) if entry.failed]


def ready(links: dict[str, Link], interface: str) -> Link:
    """The interface, when it can carry a shared address.

    :raises HvmError: when it is not there, is no Ethernet, is switched off or has no carrier.
    """
    link = links.get(interface)
    if link is None:
        there = ", ".join(name for name in links if name != "lo") or "none"
        raise HvmError(f"there is no interface {interface!r} for the shared address", f"The interfaces of this host: {there}.")
    if not link.ethernet:
        raise HvmError(f"interface {interface} is no Ethernet interface", "Name the clients' one in the inventory.")
    if not link.up:
        raise HvmError(f"interface {interface} is switched off", f"Switch it on (ip link set {interface} up) and run this again.")
    if not link.carrier:
        raise HvmError(f"interface {interface} has no carrier", "Check its cable, its bridge ports and the port of the switch.")
    return link


def adding(link: Link, one: Interface, dad: bool) -> str:
    """The line for `ip -batch` that puts `one` on the interface; see the top of this file.

    `replace`, since a step that is run again after a crash must find nothing wrong with its own work.

    :param dad: let the kernel look for another holder of an IPv6 address first, which takes one to two seconds.
    """
    prefix = one.max_prefixlen if link.reaches(one.ip) else one.network.prefixlen
    words = ["addr", "replace", f"{one.ip}/{prefix}", "dev", link.name]
    label = f"{link.name}:hvm"
    if one.version == 4 and len(label) <= _LABEL:
        words += ["label", label]
    if one.version == 6:
        words += ["preferred_lft", "0"] + (["noprefixroute"] if prefix == 128 else []) + ([] if dad else ["nodad"])
    return " ".join(words)


def deleting(entries: t.Sequence[Entry]) -> list[str]:
    """The lines for `ip -batch` that take `entries` away, each with the prefix that it has.

    Secondaries first: their primary would take them along, and they could not be found then.
    """
    return [f"addr del {entry.address} dev {entry.interface}" for entry in sorted(entries, key=lambda entry: not entry.secondary)]


def taken_along(links: dict[str, Link], entries: t.Sequence[Entry]) -> list[str]:
    """Interfaces where deleting `entries` deletes other addresses too, unless promote_secondaries is on.

    The kernel deletes the secondaries of a primary along with it: those with the same network and prefix length.
    """
    return sorted(
        {
            gone.interface
            for gone in entries
            for other in links[gone.interface].entries
            if gone.address.version == 4 and not gone.secondary
            if other not in entries and other.secondary and other.address.network == gone.address.network
        }
    )


def source_for(link: Link, target: Address) -> Address | None:
    """The interface's own address to ask `target` from; None when it has none that fits."""
    for entry in link.entries:
        own = entry.address
        fits = target in own.network or (own.version == 6 == target.version and own.ip.is_link_local)
        if fits and entry.usable:
            return own.ip
    return None


def ssh_server(environment: str) -> Address | None:
    """The address on this host that the ssh session goes to, out of the null-separated text of /proc/PID/environ."""
    for variable in environment.split("\0"):
        name, _sep, value = variable.partition("=")
        fields = value.split()
        if name == "SSH_CONNECTION" and len(fields) == 4:  # client address and port, server address and port: ssh(1)
            try:
                address = ipaddress.ip_address(fields[2].partition("%")[0])
            except ValueError:
                return None
            return getattr(address, "ipv4_mapped", None) or address
    return None
