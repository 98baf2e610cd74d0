# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Shared addresses as they are declared. No I/O; it loads little, since the description of the pair is read before all else."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError

# A string: ansible-test checks these files for older Pythons too, which cannot join classes by |.
Address: t.TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Interface: t.TypeAlias = "ipaddress.IPv4Interface | ipaddress.IPv6Interface"


def parse_shared(addresses: t.Sequence[str]) -> tuple[Interface, ...]:
    """:raises HvmError: for what is no ADDR/PREFIX of one host, and for one that is named twice."""
    remedy = "Give each shared address once, as ADDR/PREFIX, for example 192.0.2.10/24 or 2001:db8::10/64."
    shared: list[Interface] = []
    for text in addresses:
        try:
            if "/" not in text:
                raise ValueError(f"{text!r} has no prefix length")
            one = ipaddress.ip_interface(text)
        except ValueError as exc:
            raise HvmError(f"shared address: {exc}", remedy) from exc
        if one.ip.is_multicast or one.ip.is_unspecified or one.ip.is_loopback or one.ip.is_link_local:
            raise HvmError(f"{one.ip} cannot be a shared address: it cannot be reached from elsewhere", remedy)
        net = one.network
        if one.version == 4 and net.prefixlen < 31 and one.ip in (net.network_address, net.broadcast_address):
            raise HvmError(f"{one} cannot be a shared address: it is the network's own or its broadcast address", remedy)
        if one.ip in [other.ip for other in shared]:
            raise HvmError(f"shared address {one.ip} is named twice", remedy)
        shared.append(one)
    return tuple(shared)
