# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What a host knows of its pair: `/etc/hvm/pair.json`, written by the role `hvm.pair.host` from the inventory."""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError

PATH = "/etc/hvm/pair.json"
REMEDY = "Run the playbook hvm.pair.install on both hosts of the pair."

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}\Z")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z")


class Host(t.NamedTuple):
    """One host of the pair: its inventory name and the address at which the other one reaches it."""

    name: str
    address: str


class PairConfig(t.NamedTuple):
    """The pair as this host sees it.

    :ivar pair: name of the pair; part of every snapshot name.
    :ivar me: the host that this file lies on.
    :ivar peer: the other one.
    :ivar datasets: root datasets; each is replicated with all its children.
    :ivar state_dir: directory of the state images; on a replicated dataset.
    :ivar shared_ips: addresses with prefix length that the ACTIVE host holds (HVM_SHARED_IP); may be empty.
    :ivar interface: interface of the shared addresses (HVM_SERVICE_IFACE).
    :ivar gateway: must answer before the shared addresses are taken (HVM_GATEWAY); empty: not asked.
    """

    pair: str
    me: Host
    peer: Host
    datasets: tuple[str, ...]
    state_dir: str
    shared_ips: tuple[str, ...] = ()
    interface: str = ""
    gateway: str = ""

    @property
    def hosts(self) -> tuple[Host, Host]:
        first, second = sorted((self.me, self.peer), key=lambda host: host.name)
        return first, second

    @property
    def pools(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(root.split("/", 1)[0] for root in self.datasets))

    def host(self, name: str) -> Host:
        """The host of that name.

        :raises HvmError: for a name that is not in the pair.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        names = " and ".join(host.name for host in self.hosts)
        raise HvmError(f"{name} is not a host of the pair {self.pair}", f"Its hosts are {names}.")


def parse(text: str) -> PairConfig:
    """Read the file's text; every mistake in it is named.

    :raises HvmError: with all that is wrong at once.
    """
    try:
        raw = json.loads(text)
    except ValueError as exc:
        raise HvmError(f"{PATH} is not JSON: {exc}", REMEDY) from exc
    if not isinstance(raw, dict):
        raise HvmError(f"{PATH} is not a JSON object", REMEDY)
    wrong = list(_mistakes(raw))
    if wrong:
        raise HvmError(f"{PATH} cannot be used: {'; '.join(wrong)}", REMEDY)
    hosts = {entry["name"]: Host(entry["name"], entry["address"]) for entry in raw["hosts"]}
    me = hosts.pop(raw["me"])
    return PairConfig(
        pair=raw["pair"],
        me=me,
        peer=next(iter(hosts.values())),
        datasets=tuple(raw["datasets"]),
        state_dir=raw["state_dir"],
        shared_ips=tuple(raw.get("shared_ips", ())),
        interface=raw.get("interface", ""),
        gateway=raw.get("gateway", ""),
    )


def _mistakes(raw: dict[str, t.Any]) -> t.Iterator[str]:
    import ipaddress

    if not isinstance(raw.get("pair"), str) or not _NAME.match(raw["pair"]):
        yield f"'pair' must be lower-case letters, digits and dashes, 31 at most, not {raw.get('pair')!r}"
    hosts = raw.get("hosts")
    if not isinstance(hosts, list) or len(hosts) != 2 or not all(isinstance(h, dict) for h in hosts):
        yield "'hosts' must list exactly two hosts"
    else:
        names = [h.get("name") for h in hosts]
        for host in hosts:
            if not isinstance(host.get("name"), str) or not _HOST.match(host["name"]):
                yield f"{host.get('name')!r} is not a host name"
            if not isinstance(host.get("address"), str) or not _HOST.match(host["address"].replace(":", ".").lstrip(".")):
                yield f"{host.get('address')!r} is not the address of a host"
        if names[0] == names[1]:
            yield f"both hosts are called {names[0]!r}"
        if raw.get("me") not in names:
            yield f"'me' is {raw.get('me')!r}, which is not one of the two hosts"
    datasets = raw.get("datasets")
    if (
        not isinstance(datasets, list)
        or not datasets
        or not all(isinstance(d, str) and "/" in d and "@" not in d for d in datasets)
    ):
        yield "'datasets' must list the root datasets, each as POOL/NAME"
    else:
        for one in dict.fromkeys(datasets):
            if datasets.count(one) > 1:
                yield f"dataset {one} is named twice"
            for other in datasets:
                if other.startswith(f"{one}/"):
                    yield f"dataset {other} lies inside {one}: name the outer one only"
    if not isinstance(raw.get("state_dir"), str) or not raw["state_dir"].startswith("/"):
        yield "'state_dir' must be an absolute path"
    shared = raw.get("shared_ips", [])
    if not isinstance(shared, list) or not all(isinstance(address, str) for address in shared):
        yield "'shared_ips' must be a list of addresses, each with its prefix length"
    else:
        # each by itself, to name them all; together, for one that is there twice
        yield from [*filter(None, (_unusable([one]) for one in shared))] or filter(None, [_unusable(shared)])
    if raw.get("shared_ips") and not _INTERFACE.match(str(raw.get("interface", ""))):
        yield f"'interface' must name the interface of the shared address, not {raw.get('interface')!r}"
    if raw.get("gateway"):
        try:
            ipaddress.ip_address(raw["gateway"])
        except ValueError as exc:
            yield f"gateway: {exc}"


def _unusable(shared: t.Sequence[str]) -> str:
    """By the rule of those who take them."""
    from ansible_collections.hvm.pair.plugins.module_utils._net.declared import parse_shared

    try:
        parse_shared(shared)
    except HvmError as exc:
        return exc.what
    return ""


def load(path: str = PATH) -> PairConfig:
    """The pair's description on this host.

    :raises HvmError: when it is missing or wrong.
    """
    try:
        with open(path, encoding="utf-8") as handle:
            return parse(handle.read())
    except OSError as exc:
        raise HvmError(f"this host does not belong to a pair: {path}: {exc.strerror}", REMEDY) from exc
