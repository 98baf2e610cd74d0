# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A row for each pair of a run, whatever became of its hosts."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.plugin_utils._summary import Host, duration, lines, rows

OFFICE, BRANCH = ("hv1", "hv2"), ("hv3", "hv4")
ASKED = {"changed": False, "acts": True, "active": "hv1"}
TAKEN = {
    "changed": True, "set": "hvm_x_B", "vms": {"web": {"interruption": 0.4}, "db": {"interruption": 1.26}, "off": {}},
    "elapsed": 61.5,
}  # fmt: skip
SENT = {"changed": True, "set": "hvm_x_B", "bytes": 3 << 20, "elapsed": 20.0}
LOST = {"unreachable": True, "changed": False, "msg": "no route to host"}


def refused(text: str) -> dict[str, t.Any]:
    return {"failed": True, "changed": False, "msg": text}


def pair(names: tuple[str, str], *results: dict[str, t.Any], alive: bool = True, name: str = "") -> list[Host]:
    """The first one leads, and the other one has no results."""
    return [Host(names[0], name, names, results, alive), Host(names[1], name, names, (), True)]


def row(*results: dict[str, t.Any], alive: bool = True, check: bool = False) -> dict[str, t.Any]:
    (found,) = rows(pair(OFFICE, *results, alive=alive, name="office"), check)
    return found


def test_a_backup() -> None:
    assert row(ASKED, TAKEN, SENT) == {
        "pair": "office", "hosts": ["hv1", "hv2"], "active": "hv1", "outcome": "done", "seconds": 81.5, "interruption": 1.26,
        "bytes": 3 << 20, "said": "", "error": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("results", "outcome", "error"),
    [
        ((ASKED, TAKEN, refused("sync failed: no room. Free some.")), "failed", "hv1: sync failed: no room. Free some."),
        ((refused("hv1: it is full.\nFree some."),), "failed", "hv1: it is full. Free some."),
        # went on from the first one, and was lost by the second
        ((refused("hv1 is UNKNOWN"), refused("hv2 is UNKNOWN, too")), "failed", "hv1: hv2 is UNKNOWN, too"),
        ((ASKED, LOST), "unreachable", "hv1: no route to host"),
        ((LOST, ASKED, refused("hv1: no route. The work was done.")), "failed", "hv1: no route. The work was done."),
        ((ASKED,), "failed", "hv1: it failed before or between the steps; the reason is further up"),
        ((), "failed", "hv1: it failed before or between the steps; the reason is further up"),
    ],
)
def test_what_went_wrong_is_the_last_thing_that_did(results: tuple[dict[str, t.Any], ...], outcome: str, error: str) -> None:
    found = row(*results, alive=False)
    assert (found["outcome"], found["error"], found["active"]) == (outcome, error, "")


@pytest.mark.parametrize(
    ("results", "check", "outcome"),
    [
        ((), False, "not asked"),
        (({"skipped": True, "changed": False},), False, "not asked"),
        ((ASKED,), False, "unchanged"),
        ((ASKED, TAKEN), True, "planned"),
        ((ASKED,), True, "unchanged"),
        # a host that is off, and that recover went on without
        ((LOST, {"changed": True, "do": "start", "sentence": "so"}), False, "done"),
    ],
)
def test_what_went_well(results: tuple[dict[str, t.Any], ...], check: bool, outcome: str) -> None:
    assert row(*results, check=check)["outcome"] == outcome


def test_who_is_active_is_the_last_word_on_it() -> None:
    moved = {"changed": True, "active": "hv2"}
    started = {"changed": True, "role": "ACTIVE", "host": "hv2"}
    assert row(ASKED, moved)["active"] == row(ASKED, started)["active"] == "hv2"
    assert row({"changed": False, "role": "PASSIVE", "host": "hv2"})["active"] == ""


def look(host: str, peer: str, now: str, **more: t.Any) -> dict[str, t.Any]:
    role = {"now": now, "since": "2026", "epoch": 3}
    hvm = {"host": host, "peer": peer, "role": role, "lock": None, "pending": None, "hypervisor": {"running": now == "ACTIVE"}}
    return {"changed": False, "hvm": {**hvm, "qemu": [], "not_inert": [], "vms": {}, "saved": [], **more}}


def test_a_status_says_what_comes_next() -> None:
    hosts = [Host("hv1", "office", OFFICE, (look("hv1", "hv2", "UNKNOWN"),), True)]
    hosts.append(Host("hv2", "office", OFFICE, (look("hv2", "hv1", "PASSIVE"),), True))
    (found,) = rows(hosts)
    assert found["said"] == "hv1: hvm.pair.recover: it was ACTIVE before it rebooted" and found["active"] == ""


def test_only_what_was_decided_last_is_said() -> None:
    looked = {"changed": False, "do": "elsewhere", "sentence": "hv1 comes first"}
    did = {"changed": True, "do": "start", "sentence": "hv1 becomes ACTIVE in epoch 4", "vms": {"web": "web started"}}
    assert row(did, looked)["said"] == "hv1 becomes ACTIVE in epoch 4"


def test_pairs_are_told_apart_and_failures_come_last() -> None:
    hosts = [
        *pair(BRANCH, ASKED, refused("it is full. Free some."), alive=False, name="p"),
        *pair(("hv5", "hv6"), ASKED, {"changed": True, "active": "hv6", "elapsed": 3725.0}, name="zoo"),
        *pair(OFFICE, ASKED, TAKEN, SENT, name="p"),
        *pair(("hv7", "hv8"), LOST, alive=False),
        *pair(("hv9", "hv0"), name="a"),
    ]
    assert lines(rows(hosts)) == [
        "5 pairs: 1 not asked, 2 done, 1 unreachable, 1 failed",
        "a             -    not asked",
        "p (hv1, hv2)  hv1  done         1 min 22 s, VMs stood still 1.3 s at most, 3.0 MiB sent",
        "zoo           hv6  done         1 h 02 min",
        "hv7, hv8      -    UNREACHABLE  hv7: no route to host",
        "p (hv3, hv4)  -    FAILED       hv3: it is full. Free some.",
    ]


def test_hosts_of_which_no_pair_is_known() -> None:
    bare = [Host(name, "", (), (ASKED,), True) for name in ("a", "b", "c")]
    assert [one["hosts"] for one in rows(bare[:2])] == [["a", "b"]]
    assert [one["hosts"] for one in rows(bare)] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0.0 s"), (59.4, "59.4 s"), (61.0, "1 min 01 s"), (7260.0, "2 h 01 min")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


RESULTS = st.lists(st.sampled_from([ASKED, TAKEN, SENT, LOST, refused("no"), {"skipped": True}]), max_size=5).map(tuple)


@given(st.lists(st.tuples(RESULTS, st.booleans(), RESULTS, st.booleans()), max_size=8), st.booleans())
def test_every_host_is_in_one_row_and_a_lost_one_makes_it_bad(given_pairs: list[tuple[t.Any, ...]], check: bool) -> None:
    hosts = []
    for number, (mine, alive, theirs, alive_too) in enumerate(given_pairs):
        names = (f"a{number}", f"b{number}")
        hosts += [Host(names[0], "", names, mine, alive), Host(names[1], "", names, theirs, alive_too)]
    found = rows(hosts, check)
    assert sorted(name for one in found for name in one["hosts"]) == sorted(host.name for host in hosts)
    lost = {host.name for host in hosts if not host.alive}
    for one in found:
        bad = one["outcome"] in ("failed", "unreachable")
        assert bad == bool(lost.intersection(one["hosts"])) == bool(one["error"])
    said = lines(found)
    assert len(said) == len(found) + 1
    marks = ["FAILED" in line or "UNREACHABLE" in line for line in said[1:]]
    assert marks == sorted(marks)  # all of them at the end
