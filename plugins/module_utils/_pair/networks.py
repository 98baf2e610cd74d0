# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What both hosts have been told of networks for VMs: a book on each host, and what becomes of two that meet. No I/O.

Either host may be told while the other one does not answer. Of each network the later word counts, made or removed, so the
same comes out on both hosts, whichever begins. That a network was removed is remembered for good: a host that was off for a
year must not bring it back, and a name is a line.
"""

from __future__ import annotations

import datetime
import json
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net import networks
from ansible_collections.hvm.pair.plugins.module_utils._net.managers import AUTO, MANAGERS
from ansible_collections.hvm.pair.plugins.module_utils._net.networks import Network

#: Who said so: the inventory takes away what it has declared and declares no more, and leaves alone what came by the command.
INVENTORY, COMMAND = "inventory", "command"
_FORMAT = 1
_MOMENT = "%Y-%m-%dT%H:%M:%S.%fZ"
_TICK = datetime.timedelta(microseconds=1)


class Entry(t.NamedTuple):
    """:ivar network: None: it was removed. :ivar at: when that was said, UTC. :ivar origin: who said it."""

    network: Network | None
    at: str
    origin: str

    @property
    def order(self) -> tuple[str, bool, str]:
        """Later counts. At the same moment "gone" does, and else the text decides, so that both hosts come to the same."""
        return self.at, self.network is None, json.dumps([self.network and self.network.record(), self.origin], sort_keys=True)


Book = t.Mapping[str, Entry]


class Kept(t.NamedTuple):
    """What a host keeps.

    :ivar manager: who gets the files of a network on this very host: auto, ifupdown or networkd.
    :ivar others: as they were stored, networks of a host that is not in the pair any more: nobody has said that they are to go.
    """

    book: Book
    manager: str = AUTO
    others: tuple[t.Mapping[str, t.Any], ...] = ()

    def undecided(self) -> list[t.Mapping[str, t.Any]]:
        """Of `others`, those of which no word has been said since."""
        return [one for one in self.others if one["name"] not in self.book]


def there(book: Book) -> tuple[Network, ...]:
    return tuple(entry.network for dummy, entry in sorted(book.items()) if entry.network is not None)


def meet(one: Book, other: Book) -> Book:
    """What both hosts know once they have heard of each other."""
    found = dict(one)
    for name, entry in other.items():
        if name not in found or entry.order > found[name].order:
            found[name] = entry
    return found


def put(book: Book, network: Network, moment: datetime.datetime, origin: str = COMMAND) -> tuple[Book, str]:
    """:raises HvmError: when the command is to change one that is there: a slip of the keyboard must not move VMs elsewhere."""
    known = book.get(network.name)
    if known is not None and known.network == network and (origin == known.origin or origin == COMMAND):
        return book, f"This is declared already: {network.sentence()}."
    if known is not None and known.network is not None and known.network != network and origin == COMMAND:
        raise HvmError(
            f"{network.name} is declared already, as another one ({known.network.sentence()})",
            "Remove it first, or change it in the inventory (hvm_networks) and run the playbook hvm.pair.install.",
        )
    return {**book, network.name: Entry(network, _later(known, moment), origin)}, f"{network.sentence()}."


def take_out(book: Book, name: str, moment: datetime.datetime, origin: str = COMMAND) -> tuple[Book, str]:
    """One that is not known may be there all the same: its word was lost, or is of a host that has gone (`Kept.others`)."""
    known = book.get(name)
    if known is not None and known.network is None:
        return book, f"{name} is not declared."
    return {**book, name: Entry(None, _later(known, moment), origin)}, f"{name} is removed."


def declare(book: Book, declared: t.Sequence[Network], moment: datetime.datetime) -> Book:
    """The inventory's word: exactly these, besides what came by the command."""
    for network in declared:
        book = put(book, network, moment, INVENTORY)[0]
    names = {network.name for network in declared}
    for network in there(book):
        if network.name not in names and book[network.name].origin == INVENTORY:
            book = take_out(book, network.name, moment, INVENTORY)[0]
    return book


def besides(book: Book) -> list[str]:
    """Networks that came by the command."""
    return [network.name for network in there(book) if book[network.name].origin == COMMAND]


def differing(mine: Book, theirs: Book) -> list[str]:
    """Names of networks of which the two were told different things."""
    return sorted(name for name in {*mine, *theirs} if _network(mine, name) != _network(theirs, name))


def _network(book: Book, name: str) -> Network | None:
    return book[name].network if name in book else None


def _later(known: Entry | None, moment: datetime.datetime) -> str:
    """A clock that is wrong cannot make a word without effect: it is later than what is known."""
    text = moment.astimezone(datetime.UTC).strftime(_MOMENT)
    if known is not None and text <= known.at:
        text = (datetime.datetime.strptime(known.at, _MOMENT).replace(tzinfo=datetime.UTC) + _TICK).strftime(_MOMENT)
    return text


def dump(kept: Kept) -> str:
    entries = [
        {"name": name, "at": entry.at, "origin": entry.origin, "network": entry.network.record() if entry.network else None}
        for name, entry in sorted(kept.book.items())
    ]
    entries += [dict(one) for one in kept.undecided()]
    return json.dumps({"format": _FORMAT, "manager": kept.manager, "networks": entries}, indent=1) + "\n"


def _is_of_others(raw: t.Mapping[str, t.Any], hosts: t.Collection[str]) -> bool:
    """Whether it says something of a host that is not in the pair any more."""
    return any(set(value).difference(hosts) for value in raw.values() if isinstance(value, dict))


def parse(text: str, hosts: t.Sequence[str]) -> Kept:
    """:raises HvmError: for what is no such book. That two networks want the same thing is not seen here."""
    try:
        raw = json.loads(text)
        if raw["format"] != _FORMAT or raw["manager"] not in MANAGERS:
            raise HvmError("it is of another version", "Run the playbook hvm.pair.install on both hosts.")
        book, others = {}, []
        for one in raw["networks"]:
            at, origin = str(one["at"]), str(one["origin"])
            datetime.datetime.strptime(at, _MOMENT).replace(tzinfo=datetime.UTC)
            name = networks.parse([{"name": one["name"]}], hosts)[0].name
            if one["network"] is not None and _is_of_others(one["network"], hosts):
                others.append(one)  # it is to be declared anew for the host that has come instead, or has a new name
                continue
            network = networks.parse([one["network"]], hosts)[0] if one["network"] is not None else None
            if network is not None and network.name != name:
                raise ValueError(f"{name} is {network.name}")
            book[name] = Entry(network, at, origin if origin == INVENTORY else COMMAND)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise HvmError(f"it is no list of networks ({exc})", "Declare them again: hvm_networks and hvm.pair.install.") from exc
    return Kept(book, raw["manager"], tuple(others))
