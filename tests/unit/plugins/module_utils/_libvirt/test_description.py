# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._libvirt.description import (
    Endpoint,
    autostart,
    by_priority,
    changed,
    endpoint,
    priority,
    ready,
    settings,
)

DEFAULT = {"autostart": False, "priority": 99, "autobackup": True, "ready": "", "ready_timeout": 120, "delay": 0, "move": "auto"}


@pytest.mark.parametrize(
    ("text", "start", "number"),
    [
        ("", False, 99),
        ("autostart=yes prio=10", True, 10),
        ("The web server.\nautostart = YES, prio = 7.", True, 7),
        ("autostart=no", False, 99),
        ("autostart=yes autostart=no prio=3 prio=5", False, 5),
        ("autostart=yesterday prio=1x", False, 99),
        ("no-autostart=yes sub-prio=3 xprio=4", False, 99),
        ("prio=0", False, 1),
        ("prio=00012", False, 12),
        ("prio=100", False, 99),
        ("prio=-1", False, 99),
        ("(prio=4;autostart=yes)", True, 4),
    ],
)
def test_what_a_description_says(text: str, start: bool, number: int) -> None:
    assert (autostart(text), priority(text)) == (start, number)


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("", {}),
        ("autobackup=no", {"autobackup": False}),
        ("AutoBackup = No, then autobackup=yes.", {}),
        ("autobackup=none", {}),
        ("delay=20 ready=agent", {"delay": 20, "ready": "agent"}),
        ("Ready = TCP:10.0.0.5:22; ready_timeout = 30", {"ready": "tcp:10.0.0.5:22", "ready_timeout": 30}),
        ("It is ready=tcp:db.lan:5432.", {"ready": "tcp:db.lan:5432"}),
        ("ready=tcp:[2001:db8::5]:22", {"ready": "tcp:[2001:db8::5]:22"}),
        ("ready=tcp:2001:db8::5:22", {}),
        ("ready=tcp:db:0 ready=tcp:db:65536 ready=tcp::22 ready=soon", {}),
        ("ready=agent ready=tcp:db:0", {"ready": "agent"}),
        ("ready=agents already=agent", {}),
        ("ready=agent ready=none", {}),
        ("ready=none Ready = agent", {"ready": "agent"}),
        ("ready_timeout=0 delay=999999", {"ready_timeout": 1, "delay": 3600}),
        ("delay=-5", {}),
        ("delay=5m", {}),
        ("move=live, then Move = DIRECT.", {"move": "direct"}),
        ("move=secure remove=live move=lively", {"move": "secure"}),
        ("move=live move=auto", {}),
    ],
)
def test_what_the_words_that_the_manual_lacks_say(text: str, more: dict[str, t.Any]) -> None:
    assert settings(text) == {**DEFAULT, **more}


@given(st.text())
def test_any_text_has_settings_within_their_limits(text: str) -> None:
    found = settings(text)
    assert 1 <= found["priority"] <= 99
    assert 1 <= found["ready_timeout"] <= 3600
    assert 0 <= found["delay"] <= 3600
    assert found["ready"] in ("", "agent") or endpoint(found["ready"]) is not None


_WORDS = {
    "autostart": "autostart{0}={0}yes",
    "priority": "prio{0}={0}7",
    "autobackup": "autobackup{0}={0}no",
    "ready": "ready{0}={0}tcp:db:22",
    "ready_timeout": "ready_timeout{0}={0}9",
    "delay": "delay{0}={0}3",
    "move": "move{0}={0}live",
}
_SAID = {
    "autostart": True,
    "priority": 7,
    "autobackup": False,
    "ready": "tcp:db:22",
    "ready_timeout": 9,
    "delay": 3,
    "move": "live",
}


@given(
    st.permutations(sorted(_WORDS)),
    st.integers(0, len(_WORDS)),
    st.sampled_from(["", " ", "  ", "\t"]),
    st.sampled_from([" ", ", ", "; ", "\n", " | ", ") ("]),
    st.text(alphabet="abc äé.,:()\n", max_size=20),
)
def test_in_any_order_with_spaces_and_other_text_around(
    order: list[str], count: int, space: str, between: str, other: str
) -> None:
    words = [_WORDS[key].format(space) for key in order[:count]]
    text = between.join([f"{other} ", *words, f" {other}"])
    assert settings(text) == {**DEFAULT, **{key: _SAID[key] for key in order[:count]}}
    assert settings(text.upper()) == settings(text)


@pytest.mark.parametrize(
    ("text", "wanted", "after"),
    [
        ("", {"autostart": True, "priority": 5}, "autostart=yes prio=5"),
        ("", {"autostart": False, "priority": 99, "ready": "", "delay": 0}, ""),
        ("The web server.", {"priority": 7}, "The web server. prio=7"),
        ("The web server.\nAsk Alice.\n", {"autostart": True}, "The web server.\nAsk Alice.\nautostart=yes"),
        ("Web (PRIO = 3; autostart=no).", {"priority": 12, "autostart": True}, "Web (PRIO = 12; autostart=yes)."),
        ("prio=3 prio=5", {"priority": 5}, "prio=3 prio=5"),
        ("prio=3 prio=5", {"priority": 3}, "prio=3 prio=3"),
        ("prio=high", {"priority": 1}, "prio=high prio=1"),
        ("ready=agent", {"ready": ""}, "ready=none"),
        ("ready=none", {"ready": "tcp:[::1]:22"}, "ready=tcp:[::1]:22"),
        ("autostart= ready=agent yes", {"ready": ""}, "autostart= ready=none yes"),
        ("autobackup=no", {"autobackup": True}, "autobackup=yes"),
    ],
)
def test_a_setting_goes_where_its_word_is(text: str, wanted: dict[str, t.Any], after: str) -> None:
    assert changed(text, wanted) == after


_WANTED = st.fixed_dictionaries(
    {},
    optional={
        "autostart": st.booleans(),
        "priority": st.integers(1, 99),
        "autobackup": st.booleans(),
        "ready": st.sampled_from(["", "agent", "tcp:db.lan:22", "tcp:[::1]:5432"]),
        "ready_timeout": st.integers(1, 3600),
        "delay": st.integers(0, 3600),
        "move": st.sampled_from(["auto", "live", "direct", "secure"]),
    },
)
_TEXT = st.lists(
    st.sampled_from([*(word.format("") for word in _WORDS.values()), "prio", "=", "ready=none", "yes", "12", " ", "\n", "-", "é"])
).map("".join)


@given(st.one_of(st.text(), _TEXT), _WANTED)
def test_what_was_written_is_what_is_read_and_nothing_else_changes(text: str, wanted: dict[str, t.Any]) -> None:
    after = changed(text, wanted)
    assert settings(after) == {**settings(text), **wanted}
    assert changed(after, wanted) == after
    if not wanted:
        assert after == text


def test_the_end_of_a_connection() -> None:
    assert endpoint("tcp:db.lan:5432") == Endpoint("db.lan", 5432)
    assert endpoint("tcp:[::1]:22") == Endpoint("::1", 22)
    assert endpoint("agent") is None
    assert ready("ready=agent") == "agent"


def test_groups_of_one_priority_in_their_order() -> None:
    vms = [("web", 50), ("db", 10), ("api", 50), ("test", 99)]
    assert by_priority(vms) == [["db"], ["api", "web"], ["test"]]
    assert by_priority(vms, descending=True) == [["test"], ["api", "web"], ["db"]]
    assert by_priority([]) == []


@given(st.dictionaries(st.text(alphabet="abcdef", min_size=1, max_size=3), st.integers(1, 99)), st.booleans())
def test_every_vm_once_and_never_one_before_a_higher_priority(vms: dict[str, int], descending: bool) -> None:
    groups = by_priority(vms.items(), descending)
    assert sorted(itertools.chain(*groups)) == sorted(vms)
    numbers = [{vms[name] for name in group} for group in groups]
    assert all(len(one) == 1 for one in numbers)
    assert [one.pop() for one in numbers] == sorted(set(vms.values()), reverse=descending)
