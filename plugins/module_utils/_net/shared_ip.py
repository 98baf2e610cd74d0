# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The shared addresses on this host: see them, take them, let them go. Who tells the neighbours again later: `announcer`.

`enable` does all of it. A switchover splits it: `prepare` while the other host still has the address, `take` inside the
interruption. That nobody answers a probe proves nothing about a host behind a dead link: who may have the address is
decided by role and epoch, never here.

`addresses` are always strings ADDR/PREFIX.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import os
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net import addresses as pure
from ansible_collections.hvm.pair.plugins.module_utils._net import arp
from ansible_collections.hvm.pair.plugins.module_utils._net.declared import Address, Interface, parse_shared
from ansible_collections.hvm.pair.plugins.module_utils._net.wire import Wire, answers_ping, send

PROBES, PROBE_INTERVAL = 3, 0.3
ANNOUNCEMENTS, ANNOUNCE_INTERVAL = 3, 0.2
GATEWAY_TIMEOUT = 3.0
#: Duplicate address detection takes up to two seconds, more where an administrator set dad_transmits.
DAD_TIMEOUT = 10.0
_COMMAND_TIMEOUT = 30.0
_NO_SESSION = "4294967295"  # /proc/PID/sessionid of what no login started


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What `take` needs; plain data. `missing` is empty when there is nothing to do, `useless` goes before they come."""

    link: pure.Link
    missing: tuple[Interface, ...]
    useless: tuple[pure.Entry, ...]
    before: pure.Status


@dataclasses.dataclass(frozen=True)
class Change:
    """What was done, or in check mode would be: the addresses it was done to, as ADDR/PREFIX, and how things stood and stand."""

    changed: tuple[str, ...]
    before: pure.Status
    after: pure.Status


def status(addresses: t.Sequence[str], interface: str) -> pure.Status:
    """How the shared addresses stand on this host."""
    return pure.status(read_links(), parse_shared(addresses), interface)


def enable(
    addresses: t.Sequence[str],
    interface: str,
    gateway: str = "",
    check: bool = False,
    sure: t.Callable[[], None] = lambda: None,
) -> Change:
    """Make this host the holder of the shared addresses, when nobody else is. Takes about a second; with IPv6 three.

    In check mode it looks and asks all the same: probes change nothing on this host and in nobody's cache.

    :param sure: asked when nothing is left but to take them: looking takes seconds. It raises when they are not to be taken.
    :raises HvmError: when that cannot be done; nothing has been changed then.
    """
    prepared = prepare(addresses, interface, gateway)
    if not prepared.missing:
        return Change((), prepared.before, prepared.before)
    if check:
        after = pure.Status(True, True, pure.ENABLED, tuple(_would_be(prepared, where) for where in prepared.before.addresses))
        return Change(tuple(map(str, prepared.missing)), prepared.before, after)
    sure()
    added = take(prepared, dad=True, interval=ANNOUNCE_INTERVAL)
    return Change(added, prepared.before, status(addresses, interface))


def prepare(
    addresses: t.Sequence[str],
    interface: str,
    gateway: str = "",
    peer_holds: bool = False,
    probes: int = PROBES,
    interval: float = PROBE_INTERVAL,
) -> Prepared:
    """Everything that can be found out before the address is taken. Changes nothing.

    :param peer_holds: the other host has the addresses still, and gives them up before `take`: nobody is asked for them.
    :raises HvmError: when the addresses cannot or must not be taken here.
    """
    shared = parse_shared(addresses)
    links = read_links()
    before = pure.status(links, shared, interface)
    missing = tuple(pure.missing(links, shared, interface))
    if not missing:
        return Prepared(links.get(interface) or pure.Link(interface, "", False, False, False), (), (), before)
    link = pure.ready(links, interface)
    if gateway:
        _check_gateway(links, link, shared, gateway)
    if not peer_holds:
        for address, mac in _probe(links, link, [one.ip for one in missing], probes, interval).items():
            raise _in_use(address, mac)
    return Prepared(link, missing, tuple(pure.useless(links, missing)), before)


def take(prepared: Prepared, dad: bool = False, count: int = ANNOUNCEMENTS, interval: float = 0.0) -> tuple[str, ...]:
    """Add the addresses and tell the neighbours; one process, milliseconds.

    :param dad: wait for the kernel's own duplicate address detection (IPv6), which does not fit into an interruption.
    :param interval: seconds between the announcements; the time that they take is part of the call.
    :returns: what was added, as ADDR/PREFIX.
    :raises HvmError: none of the addresses has been added then.
    """
    if not prepared.missing:
        return ()
    link = prepared.link
    try:
        _batch(pure.deleting(prepared.useless) + [pure.adding(link, one, dad) for one in prepared.missing])
        if dad:
            _wait_until_usable(link, [one.ip for one in prepared.missing if one.version == 6])
        _announce(link, [one.ip for one in prepared.missing], count, interval)
    except BaseException:
        with contextlib.suppress(HvmError):
            _give_back(link, prepared.missing)
        raise
    return tuple(map(str, prepared.missing))


def take_back(addresses: t.Sequence[str], interface: str) -> tuple[str, ...]:
    """Put back what this host had until a moment ago. Nobody is asked, and a missing carrier is no reason: it may come back.

    :returns: what was added, as ADDR/PREFIX.
    :raises HvmError: when it cannot be added. That it cannot be announced now is none.
    """
    shared = parse_shared(addresses)
    links = read_links()
    missing = pure.missing(links, shared, interface)
    if not missing:
        return ()
    if interface not in links:
        pure.ready(links, interface)  # says which there are
    link = links[interface]
    _batch(pure.deleting(pure.useless(links, missing)) + [pure.adding(link, one, dad=False) for one in missing])
    with contextlib.suppress(HvmError):
        _announce(link, [one.ip for one in missing], ANNOUNCEMENTS, 0.0)
    return tuple(map(str, missing))


def disable(addresses: t.Sequence[str], interface: str, check: bool = False) -> Change:
    """Take the shared addresses off this host, wherever they are on it.

    :raises HvmError: when the session that runs this goes to one of them; nothing has been changed then.
    """
    shared = parse_shared(addresses)
    links = read_links()
    before = pure.status(links, shared, interface)
    entries = [entry for one in shared for entry in pure.having(links, one.ip)]
    if not entries:
        return Change((), before, before)
    way = over_shared_ip(addresses)
    if way:
        raise HvmError(
            f"this session came in over the shared address {way}, and would be cut off",
            "Connect to the host's own address and run this again.",
            address=way,
        )
    gone = tuple(str(entry.address) for entry in entries)
    if check:
        return Change(gone, before, pure.status({}, shared, interface))
    _delete(links, entries)
    return Change(gone, before, status(addresses, interface))


def announce(
    addresses: t.Sequence[str], interface: str, count: int = ANNOUNCEMENTS, interval: float = ANNOUNCE_INTERVAL
) -> tuple[str, ...]:
    """Tell the neighbours again about those of the addresses that this host has, and only those.

    :returns: what was announced, as ADDR/PREFIX.
    """
    links = read_links()
    shared = parse_shared(addresses)
    places = pure.status(links, shared, interface).addresses
    held = [one for one, where in zip(shared, places, strict=True) if where.enabled]
    if held:
        _announce(pure.ready(links, interface), [one.ip for one in held], count, interval)
    return tuple(map(str, held))


def holders(addresses: t.Sequence[str], interface: str, probes: int = PROBES, interval: float = PROBE_INTERVAL) -> dict[str, str]:
    """Which machine, by its Ethernet address, answers for which of the addresses. This host itself is never among them.

    :returns: ADDR/PREFIX -> aa:bb:cc:dd:ee:ff; what nobody answers for is left out.
    """
    shared = parse_shared(addresses)
    links = read_links()
    found = _probe(links, pure.ready(links, interface), [one.ip for one in shared], probes, interval)
    return {str(one): found[one.ip] for one in shared if one.ip in found}


def over_shared_ip(addresses: t.Sequence[str], pid: int | None = None, proc: str = "/proc") -> str | None:
    """The shared address that the ssh session goes to in which this runs; None when it goes elsewhere, or there is none."""
    shared = {one.ip for one in parse_shared(addresses)}
    return next((str(server) for server in session_servers(pid, proc) if server in shared), None)


def session_servers(pid: int | None = None, proc: str = "/proc") -> list[Address]:
    """The address of this host that the ssh session goes to in which this runs; none when it runs in no such session.

    sudo drops SSH_CONNECTION, so the processes above are looked at too, the nearest first. A task that runs detached has
    none above it: then whatever belongs to the same login does (pam_loginuid gives it a number, which sudo keeps); these may
    be several.
    """
    me = pid or os.getpid()
    for process in _ancestry(me, proc):
        server = pure.ssh_server(_read(f"{proc}/{process}/environ"))
        if server is not None:
            return [server]
    session = _read(f"{proc}/{me}/sessionid").strip()
    if session in ("", _NO_SESSION):
        return []
    found: list[Address] = []
    for other in filter(str.isdigit, os.listdir(proc)):
        if _read(f"{proc}/{other}/sessionid").strip() == session:
            server = pure.ssh_server(_read(f"{proc}/{other}/environ"))
            if server is not None and server not in found:
                found.append(server)
    return found


def _in_use(address: arp.Address, mac: str) -> HvmError:
    who = f"the machine with the Ethernet address {mac}" if mac else "another machine"
    remedy = "If that is the other host, disable the shared IP there first; else give one of the two another address."
    return HvmError(f"the shared address {address} is in use: {who} answers for it", remedy, address=str(address), mac=mac)


def read_links() -> dict[str, pure.Link]:
    """All interfaces of this host, as they are now."""
    return pure.parse_links(run(["ip", "-j", "addr", "show"], timeout=_COMMAND_TIMEOUT))


def _batch(lines: t.Sequence[str]) -> None:
    try:
        run(["ip", "-batch", "-"], timeout=_COMMAND_TIMEOUT, stdin="".join(f"{line}\n" for line in lines))
    except CommandError as exc:
        # Its last line says which line failed; the reason stands before that.
        said = [line for line in exc.stderr.splitlines() if not line.startswith("Command failed")]
        reason = " ".join(said) or "it said nothing"
        raise HvmError(f"'ip {'; '.join(lines)}' failed: {reason}", "See 'ip addr' on this host.") from exc


def _delete(links: dict[str, pure.Link], entries: t.Sequence[pure.Entry]) -> None:
    for interface in pure.taken_along(links, entries):
        path = f"/proc/sys/net/ipv4/conf/{interface}/promote_secondaries"
        try:
            with open(path, "w", encoding="ascii") as handle:
                handle.write("1")
        except OSError as exc:
            raise HvmError(
                f"taking the shared address off {interface} would take other addresses along: {path}: {exc.strerror}",
                f"Run 'sysctl -w net/ipv4/conf/{interface}/promote_secondaries=1' and run this again.",
            ) from exc
    _batch(pure.deleting(entries))


def _give_back(link: pure.Link, shared: t.Sequence[Interface]) -> None:
    links = read_links()
    entries = [entry for one in shared for entry in pure.having(links, one.ip) if entry.interface == link.name]
    if entries:
        _delete(links, entries)


def _probe(
    links: dict[str, pure.Link], link: pure.Link, wanted: t.Sequence[arp.Address], probes: int, interval: float
) -> dict[arp.Address, str]:
    """Ask for each address `probes` times; ends as soon as each has been answered for.

    RFC 5227 asks for up to seven seconds of this, for hosts that just woke up. Here the answer is a server's or nobody's.
    """
    ours = {other.mac for other in links.values()}
    found: dict[arp.Address, str] = {}
    with Wire(link.name, wanted) as wire:
        for _turn in range(probes):
            for address in wanted:
                wire.send(address.version, arp.question(link.mac, address))
            for message in wire.heard(interval):
                if message.mac not in ours:
                    found.update({address: message.mac for address in wanted if message.claims(address)})
                if len(found) == len(wanted):
                    return found
    return found


def _check_gateway(links: dict[str, pure.Link], link: pure.Link, shared: t.Sequence[Interface], gateway: str) -> None:
    """A host whose gateway does not answer is the one that is cut off, and must not take the address."""
    try:
        address = ipaddress.ip_address(gateway)
    except ValueError as exc:
        raise HvmError(f"gateway: {exc}", "Name the gateway of the shared address in the inventory.") from exc
    if pure.having(links, address):
        return  # this host routes for itself
    remedy = f"Check the link of {link.name} and whether the gateway is up; or set no gateway in the inventory."
    if not (address.is_link_local or link.reaches(address) or any(address in one.network for one in shared)):
        # Behind a router, or on another interface: no neighbour to be asked directly
        if not answers_ping(address, GATEWAY_TIMEOUT):
            raise HvmError(f"the gateway {address} does not answer a ping", remedy)
        return
    ours = {other.mac for other in links.values()}
    source = pure.source_for(link, address)
    end = time.monotonic() + GATEWAY_TIMEOUT
    with Wire(link.name, [address]) as wire:
        while time.monotonic() < end:
            wire.send(address.version, arp.question(link.mac, address, source))
            if any(message.mac not in ours and message.claims(address) for message in wire.heard(0.5)):
                return
    raise HvmError(f"the gateway {address} does not answer on {link.name} within {GATEWAY_TIMEOUT:.0f} s", remedy)


def _wait_until_usable(link: pure.Link, wanted: t.Sequence[arp.Address]) -> None:
    """Until the kernel's duplicate address detection is over."""
    end = time.monotonic() + DAD_TIMEOUT
    while wanted:
        links = read_links()
        entries = {a: next((e for e in pure.having(links, a) if e.interface == link.name), None) for a in wanted}
        for address, entry in entries.items():
            if entry is None or entry.failed:
                # The kernel does not tell who it was.
                raise _in_use(address, _probe(links, link, [address], PROBES, PROBE_INTERVAL).get(address, ""))
        if all(entry and entry.usable for entry in entries.values()):
            return
        if time.monotonic() > end:
            late = f"{', '.join(map(str, wanted))}: duplicate address detection is not over after {DAD_TIMEOUT:.0f} s"
            raise HvmError(late, f"Check the link of {link.name}.")
        time.sleep(0.1)


def _announce(link: pure.Link, wanted: t.Sequence[arp.Address], count: int, interval: float) -> None:
    router = _read(f"/proc/sys/net/ipv6/conf/{link.name}/forwarding").strip() == "1"
    send(link.name, [frame for address in wanted for frame in arp.announcements(link.mac, address, router)], count, interval)


def _would_be(prepared: Prepared, where: pure.Where) -> pure.Where:
    one = next((one for one in prepared.missing if str(one) == where.address), None)
    if one is None:
        return where
    line = pure.adding(prepared.link, one, True).split()
    return pure.Where(where.address, True, (f"{line[2]} on {prepared.link.name}",), f"{one.ip} is on {prepared.link.name}")


def _ancestry(pid: int, proc: str) -> t.Iterator[int]:
    """`pid` and the processes above it."""
    seen: set[int] = set()
    while pid > 0 and pid not in seen:
        seen.add(pid)
        yield pid
        parents = [line.split()[1] for line in _read(f"{proc}/{pid}/status").splitlines() if line.startswith("PPid:")]
        pid = int(parents[0]) if parents else 0


def _read(path: str) -> str:
    """The text of a file in /proc; "" when it is gone or not ours to read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as handle:
            return handle.read()
    except OSError:
        return ""
