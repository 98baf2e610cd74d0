# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What two hosts have been told of networks: whichever begins, and however often they meet, both come to the same."""

from __future__ import annotations

import datetime
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net.networks import Network
from ansible_collections.hvm.pair.plugins.module_utils._pair import networks
from ansible_collections.hvm.pair.plugins.module_utils._pair.networks import COMMAND, INVENTORY, Book, Kept

HOSTS = ("hv1", "hv2")
NOON = datetime.datetime(2026, 12, 1, 12, tzinfo=datetime.UTC)
BOTH = tuple((host, "eno1") for host in HOSTS)
V10, V11 = Network("br-a", BOTH, 10), Network("br-a", BOTH, 11)
OUT = Network("br-out", (("hv1", "eno2"), ("hv2", "enp3s0")), mtu=9000, addresses=(("hv1", ("10.9.0.1/24",)),))


def later(seconds: float) -> datetime.datetime:
    return NOON + datetime.timedelta(seconds=seconds)


def names(book: Book) -> list[str]:
    return [one.name for one in networks.there(book)]


def test_told_by_the_command() -> None:
    book, sentence = networks.put({}, V10, NOON)
    assert sentence == "br-a: VLAN 10 of eno1." and names(book) == ["br-a"]
    assert networks.put(book, V10, later(1)) == (book, "This is declared already: br-a: VLAN 10 of eno1.")
    with pytest.raises(HvmError, match=r"br-a is declared already, as another one \(br-a: VLAN 10 of eno1\)"):
        networks.put(book, V11, later(1))
    gone, sentence = networks.take_out(book, "br-a", later(2))
    assert sentence == "br-a is removed." and names(gone) == []
    assert networks.take_out(gone, "br-a", later(3)) == (gone, "br-a is not declared.")
    assert names(networks.put(gone, V11, later(4))[0]) == ["br-a"]


def test_the_inventory_takes_away_what_it_had_declared_and_nothing_else() -> None:
    book = networks.put({}, Network("br-mine"), NOON)[0]
    book = networks.declare(book, [V10, OUT], later(1))
    assert names(book) == ["br-a", "br-mine", "br-out"] and networks.besides(book) == ["br-mine"]
    assert networks.declare(book, [V10, OUT], later(2)) == book
    changed = networks.declare(book, [V11], later(3))
    assert changed["br-a"].network == V11 and names(changed) == ["br-a", "br-mine"]
    # what the command had made becomes the inventory's, when that declares it too
    taken = networks.declare(changed, [V11, Network("br-mine")], later(4))
    assert networks.besides(taken) == [] and names(networks.declare(taken, [], later(5))) == []


def test_a_wrong_clock_makes_no_word_without_effect() -> None:
    book = networks.put({}, V10, later(3600))[0]
    gone = networks.take_out(book, "br-a", NOON)[0]
    assert gone["br-a"].at > book["br-a"].at
    assert names(networks.meet(book, gone)) == names(networks.meet(gone, book)) == []


def test_a_host_that_was_off_hears_what_came_and_what_went() -> None:
    mine = networks.declare({}, [V10, OUT], NOON)
    theirs = mine
    mine = networks.put(networks.take_out(mine, "br-out", later(1))[0], Network("br-new"), later(2))[0]
    assert networks.differing(mine, theirs) == ["br-new", "br-out"]
    assert networks.meet(theirs, mine) == mine and names(mine) == ["br-a", "br-new"]


WORD = st.tuples(st.sampled_from(["br-a", "br-b"]), st.sampled_from([None, 10, 11]), st.integers(0, 3), st.booleans())


def told(words: t.Sequence[tuple[str, int | None, int, bool]]) -> Book:
    book: Book = {}
    for name, vlan, at, inventory in words:
        origin = INVENTORY if inventory else COMMAND
        if vlan is None:
            book = networks.take_out(book, name, later(at), origin)[0]
        else:
            try:
                book = networks.put(book, Network(name, BOTH, vlan), later(at), origin)[0]
            except HvmError:
                assert not inventory
    return book


BOOKS = st.lists(WORD, max_size=4).map(told)


@given(BOOKS, BOOKS, BOOKS)
def test_books_that_meet_come_to_the_same(one: Book, two: Book, three: Book) -> None:
    meet = networks.meet
    assert meet(one, two) == meet(two, one)
    assert meet(one, one) == one
    assert meet(meet(one, two), three) == meet(one, meet(two, three))
    assert meet(meet(one, two), one) == meet(one, two)


@given(BOOKS, BOOKS, WORD)
def test_the_last_word_counts_on_both(one: Book, two: Book, word: tuple[str, int | None, int, bool]) -> None:
    """Said on a host that has heard of the other one, it is what both have when they meet again."""
    name, vlan, at, _inventory = word
    known = networks.meet(one, two)
    if vlan is None:
        said = networks.take_out(known, name, later(at), INVENTORY)[0]
    else:
        said = networks.put(known, Network(name, BOTH, vlan), later(at), INVENTORY)[0]
    for other in (one, two, known):
        assert networks._network(networks.meet(said, other), name) == (Network(name, BOTH, vlan) if vlan else None)


@given(BOOKS, st.sampled_from(["auto", "networkd"]))
def test_what_is_written_is_read_as_the_same(book: Book, manager: str) -> None:
    assert networks.parse(networks.dump(Kept(book, manager)), HOSTS) == Kept(book, manager)


def test_a_network_that_differs_by_host_is_written_whole() -> None:
    kept = Kept(networks.declare({}, [OUT], NOON))
    assert networks.parse(networks.dump(kept), HOSTS) == kept


GOOD: dict[str, t.Any] = json.loads(networks.dump(Kept(networks.declare({}, [V10], NOON))))


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", json.dumps({**GOOD, "format": 2}), json.dumps({**GOOD, "manager": "ifconfig"}),
        json.dumps({**GOOD, "networks": [{**GOOD["networks"][0], "at": "yesterday"}]}),
        json.dumps({**GOOD, "networks": [{**GOOD["networks"][0], "name": "br-b"}]}),
        json.dumps({**GOOD, "networks": [{**GOOD["networks"][0], "name": "../br", "network": None}]}),
        json.dumps({**GOOD, "networks": [{**GOOD["networks"][0], "network": {"name": "br-a", "interface": "$(x)"}}]}),
    ],
)  # fmt: skip
def test_what_is_no_book_is_said(text: str) -> None:
    with pytest.raises(HvmError) as caught:
        networks.parse(text, HOSTS)
    assert caught.value.remedy


def test_a_network_of_a_host_that_is_no_longer_in_the_pair_hinders_no_other() -> None:
    text = networks.dump(Kept(networks.declare({}, [OUT, V10], NOON)))
    assert names(networks.parse(text, HOSTS).book) == ["br-a", "br-out"]
    found = networks.parse(text.replace('"hv2"', '"old"'), HOSTS)
    assert "br-out" not in names(found.book)


def test_it_is_kept_until_somebody_says_what_becomes_of_it() -> None:
    text = networks.dump(Kept(networks.declare({}, [OUT, V10], NOON))).replace('"hv2"', '"old"')
    found = networks.parse(text, HOSTS)
    assert [one["name"] for one in found.undecided()] == ["br-out"]
    again = networks.dump(found)
    assert networks.parse(again, HOSTS) == found and networks.parse(again, ("hv1", "old")).others == ()
    for book, dummy in (networks.put(found.book, OUT, later(1)), networks.take_out(found.book, "br-out", later(1))):
        assert "br-out" in book
        said = networks.parse(networks.dump(found._replace(book=book)), HOSTS)
        assert (said.book, said.undecided()) == (book, [])
