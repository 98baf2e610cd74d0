# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a scheduled run decides, for every state of two hosts, beside in schedule_golden.txt; and what holds of any of them.

After a change that is meant: HVM_GOLDEN=write, and read the difference.
"""

from __future__ import annotations

import datetime
import itertools
import os
import pathlib
import typing as t
import zoneinfo

import hypothesis
import hypothesis.strategies as st
import pytest

from ansible_collections.hvm.pair.plugins.module_utils._pair import schedule
from ansible_collections.hvm.pair.plugins.module_utils._pair.constraint import Constraint

GOLDEN = pathlib.Path(__file__).parent / "schedule_golden.txt"
UTC = datetime.UTC
NOW = datetime.datetime(2026, 12, 1, 2, 0, tzinfo=UTC)
DAY = datetime.timedelta(days=1)
TODAY = NOW.date()


def host(name: str, role: str, **more: t.Any) -> dict[str, t.Any]:
    """:param role: "stopped" is ACTIVE without its hypervisor, "rebooted" was ACTIVE before that, "none" never had a role."""
    recorded = {"stopped": "ACTIVE", "rebooted": "ACTIVE", "none": "UNKNOWN"}.get(role, role)
    now = {"stopped": "ACTIVE", "rebooted": "UNKNOWN", "none": "UNKNOWN"}.get(role, role)
    since = "" if role == "none" else "2026-11-20T10:00:00+00:00"
    runs = role == "ACTIVE"
    return {
        "pair": "office", "host": name, "peer": "hv2" if name == "hv1" else "hv1",
        "role": {"role": recorded, "now": now, "epoch": 5, "seen": 4, "since": since, "reason": "so"},
        "hypervisor": {"running": runs}, "qemu": ["web"] if runs else [], "pools": {"ssd": "ONLINE"},
        "lock": None, "pending": None, "not_inert": [], "saved": [], "vms": {}, **more,
    }  # fmt: skip


def taken_over(minutes: float) -> dict[str, t.Any]:
    found = host("hv1", "ACTIVE")
    since = (NOW - datetime.timedelta(minutes=minutes)).isoformat()
    return {**found, "role": {**found["role"], "since": since, "reason": "took over by migrate_secure"}}


def must(name: str, start: int = 0, end: int = 0) -> Constraint:
    """From so many days after today on."""
    return Constraint(name, TODAY + start * DAY, TODAY + max(start, end) * DAY, NOW)


def decide(me: dict[str, t.Any], peer: dict[str, t.Any] | None, *constraints: Constraint, swap: int = 0) -> schedule.Decision:
    return schedule.decide(me, peer, constraints, swap, NOW, UTC)


LOCK = {"lock": "checkpoint by root since 2026-12-01T01:00:00+00:00 (process 7)"}
ROLES = ("ACTIVE", "stopped", "PASSIVE", "rebooted", "DIVERGED", "none")


def begun(operation: str) -> dict[str, t.Any]:
    return {"pending": {"operation": operation, "started": "2026-11-30", "step": "save"}}


#: One line of the table each: what hv1 is, what hv2 is (None: it does not answer), what else there is.
CASES: dict[str, tuple[dict[str, t.Any], dict[str, t.Any] | None, list[Constraint], int]] = {}
for mine, theirs in itertools.product(ROLES, (*ROLES, None)):
    CASES[f"{mine} | {theirs or 'silent'}"] = (host("hv1", mine), host("hv2", theirs) if theirs else None, [], 0)
for mine, theirs in (("ACTIVE", "PASSIVE"), ("PASSIVE", "ACTIVE"), ("PASSIVE", "PASSIVE"), ("PASSIVE", None), ("ACTIVE", None)):
    peer = host("hv2", theirs) if theirs else None
    both = f"{mine} | {theirs or 'silent'}"
    CASES[f"{both} | hv1 is at work"] = (host("hv1", mine, **LOCK), peer, [], 0)
    for what in ("migrate_secure", "checkpoint", "failover"):
        CASES[f"{both} | {what} pending on hv1"] = (host("hv1", mine, **begun(what)), peer, [must("hv2")], 0)
    if theirs:
        CASES[f"{both} | hv2 is at work"] = (host("hv1", mine), host("hv2", theirs, **LOCK), [], 0)
        late = host("hv2", theirs, **begun("migrate_secure"))
        CASES[f"{both} | migrate_secure pending on hv2"] = (host("hv1", mine), late, [], 0)
for words, constraints in {
    "no constraint": [],
    "hv1 today": [must("hv1", -1, 2)],
    "hv2 today": [must("hv2")],
    "hv2 until yesterday": [must("hv2", -3, -1)],
    "hv2 from tomorrow on": [must("hv2", 1, 3)],
    "hv1 from tomorrow on": [must("hv1", 1, 3)],
    "hv1 in a month": [must("hv1", 30)],
    "a host of another pair today": [must("hv9")],
}.items():
    for swap in (0, 7, 30):  # the roles are 11 days old
        CASES[f"whole | {words} | swap {swap}"] = (host("hv1", "ACTIVE"), host("hv2", "PASSIVE"), constraints, swap)
for minutes in (0, 44, 46, -5):
    for words, constraints in (("no constraint", []), ("hv1 today", [must("hv1")]), ("hv2 today", [must("hv2")])):
        CASES[f"taken over {minutes} min ago | {words}"] = (taken_over(minutes), host("hv2", "PASSIVE"), constraints, 30)
CASES["an epoch that hv1 has not seen"] = (
    host("hv1", "ACTIVE"), {**host("hv2", "PASSIVE"), "role": {**host("hv2", "PASSIVE")["role"], "epoch": 9}}, [], 0,
)  # fmt: skip
CASES["VMs run on the PASSIVE host"] = (host("hv1", "ACTIVE"), host("hv2", "PASSIVE", qemu=["web"]), [], 0)
CASES["since when is not known"] = (
    {**host("hv1", "ACTIVE"), "role": {**host("hv1", "ACTIVE")["role"], "since": "x"}},
    {**host("hv2", "PASSIVE"), "role": {**host("hv2", "PASSIVE")["role"], "since": "x"}}, [], 7,
)  # fmt: skip
CASES["whole | no constraint | swap 1"] = (host("hv1", "ACTIVE"), host("hv2", "PASSIVE"), [], 1)


def line(found: schedule.Decision) -> str:
    words = f"{found.do}: {found.sentence}" if found.do else "refused: " + " ".join(one.sentence() for one in found.findings)
    return "".join(f"    {text}\n" for text in (words, *(f"warning: {one}" for one in found.warnings)))


def test_decisions_are_those_of_the_table() -> None:
    text = "# hv1 decides: what hv1 is | what hv2 is | what there is besides\n"
    for name, (me, peer, constraints, swap) in CASES.items():
        text += f"{name}\n{line(decide(me, peer, *constraints, swap=swap))}"
    if os.environ.get("HVM_GOLDEN") == "write":
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


@pytest.mark.parametrize(
    ("moment", "due"),
    [("2026-11-07T22:59:00+00:00", False), ("2026-11-07T23:01:00+00:00", True), ("2026-11-08T22:00:00+00:00", True)],
)
def test_days_count_and_not_hours(moment: str, due: bool) -> None:
    """In local time: the roles were swapped on November 1, at 2:07 in Paris, and the timer is earlier this time."""
    since = "2026-11-01T01:07:00+00:00"
    me, peer = ({**host(name, role), "role": {**host(name, role)["role"], "since": since}} for name, role in
                (("hv1", "ACTIVE"), ("hv2", "PASSIVE")))  # fmt: skip
    when = datetime.datetime.fromisoformat(moment)
    found = schedule.decide(me, peer, [], 7, when, zoneinfo.ZoneInfo("Europe/Paris"))
    assert (found.do == schedule.MIGRATE) == due


def test_a_start_anew_does_not_make_the_roles_young() -> None:
    me, peer = host("hv1", "ACTIVE"), host("hv2", "PASSIVE")
    for side, other in ((me, peer), (peer, me)):
        young = {**side, "role": {**side["role"], "since": NOW.isoformat()}}
        pair = (young, other) if side is me else (other, young)
        assert schedule.decide(*pair, [], 7, NOW, UTC).do == schedule.MIGRATE


# Properties

#: One thing that is not as it should be, at most: two would hide each other.
facts = st.just({}) | st.sampled_from(
    [
        LOCK,
        {"qemu": ["web"]},
        {"not_inert": ["ssd/a is mounted"]},
        *(begun(one) for one in ("migrate_secure", "checkpoint", "failover", "rollback")),
    ]
)
moments = st.integers(-60 * 24, 24).map(lambda hours: NOW + datetime.timedelta(hours=hours))


@st.composite
def sides(draw: st.DrawFn, name: str) -> dict[str, t.Any]:
    usual = "ACTIVE" if name == "hv1" else "PASSIVE"
    found = host(name, draw(st.just(usual) | st.sampled_from(ROLES)), **draw(facts))
    found["role"]["epoch"] = draw(st.integers(1, 4))
    if found["role"]["since"]:
        found["role"]["since"] = draw(moments).isoformat()
        found["role"]["reason"] = draw(st.sampled_from(["so", "took over by migrate_secure"]))
    return found


anything = st.lists(st.builds(must, st.sampled_from(["hv1", "hv2"]), st.integers(-5, 5), st.integers(0, 5)), max_size=3)
WORK = (schedule.BACKUP, schedule.MIGRATE)


@hypothesis.settings(max_examples=500)
@hypothesis.given(sides("hv1"), st.none() | sides("hv2"), anything, st.integers(0, 10))
def test_work_is_done_on_a_pair_that_is_whole_only(
    me: dict[str, t.Any], peer: dict[str, t.Any] | None, constraints: list[Constraint], swap: int
) -> None:
    found = decide(me, peer, *constraints, swap=swap)
    if found.do in WORK:
        assert peer is not None
        assert (me["role"]["now"], peer["role"]["now"]) == ("ACTIVE", "PASSIVE")
        assert me["hypervisor"]["running"] and not peer["hypervisor"]["running"] and not peer["qemu"]
        assert peer["role"]["epoch"] <= me["role"]["epoch"]
        assert not [side for side in (me, peer) if side["lock"] or side["pending"]]
    # whatever it is, there are words for it, and what is refused says what to do
    assert bool(found.sentence) == bool(found.do) == (not found.findings)
    assert all(one.what and one.remedy.endswith(".") for one in found.findings)
    assert not found.sentence.endswith(".")


@hypothesis.given(sides("hv1"), sides("hv2"), anything, st.integers(0, 10))
def test_never_do_both_hosts_work(
    one: dict[str, t.Any], other: dict[str, t.Any], constraints: list[Constraint], swap: int
) -> None:
    both = (decide(one, other, *constraints, swap=swap), decide(other, one, *constraints, swap=swap))
    assert sum(found.do in WORK for found in both) <= 1


@hypothesis.given(st.integers(0, 10), moments, moments, anything)
def test_a_constraint_counts_before_the_swap_and_is_not_undone_by_the_next_run(
    swap: int, since: datetime.datetime, passive_since: datetime.datetime, constraints: list[Constraint]
) -> None:
    me, peer = host("hv1", "ACTIVE"), host("hv2", "PASSIVE")
    me["role"]["since"], peer["role"]["since"] = since.isoformat(), passive_since.isoformat()
    found = decide(me, peer, *constraints, swap=swap)
    wanted = [one.host for one in constraints if one.covers(TODAY)]
    if wanted == ["hv1"] or not (wanted or swap):
        assert found.do == schedule.BACKUP
    if wanted == ["hv2"]:
        assert found.do == schedule.MIGRATE
    if found.do == schedule.MIGRATE:
        for later in (datetime.timedelta(), datetime.timedelta(minutes=20), datetime.timedelta(hours=3)):
            active, passive = host("hv2", "ACTIVE"), host("hv1", "PASSIVE")
            active["role"].update(since=NOW.isoformat(), reason="took over by migrate_secure")
            passive["role"]["since"] = NOW.isoformat()
            again = schedule.decide(active, passive, constraints, swap, NOW + later, UTC)
            assert again.do == (schedule.BACKUP if later > schedule.JUST_NOW else schedule.NOTHING)
