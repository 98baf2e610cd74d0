# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`hvm constraint` on a pair of fakes: what each host knows afterwards, also when the other one does not answer."""

from __future__ import annotations

import datetime
import pathlib
import sys
import threading
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint, constraint_file, operation
from ansible_collections.hvm.pair.plugins.module_utils._procedure import constraints

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_pair import Host, Lab

TODAY = datetime.date(2026, 12, 1)
LATER = "It is told at the next scheduled run, or the next time that a constraint is set."


@pytest.fixture(name="lab")
def _lab(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(constraint_file, "today", lambda: TODAY)
    lab = Lab(tmp_path, monkeypatch)
    lab.be(lab.hv1, "ACTIVE", 3)
    lab.be(lab.hv2, "PASSIVE", 3)
    return lab


def put(lab: Lab, at: Host, host: str, start: str, end: str | None = None, **more: t.Any) -> dict[str, t.Any]:
    with lab.on(at):
        return constraints.put(at.config, host, start, end, **more)


def unset(lab: Lab, at: Host, **more: t.Any) -> dict[str, t.Any]:
    with lab.on(at):
        return constraints.take_out(at.config, **more)


def known(lab: Lab, at: Host) -> list[str]:
    with lab.on(at):
        return [one.sentence() for one in constraint_file.load()]


ON_HV2 = "hv2 must be ACTIVE from 2026-12-20 to 2027-01-03 inclusive"


@pytest.mark.parametrize("name", ["hv1", "hv2"])
def test_set_and_unset_on_either_host_is_known_to_both(lab: Lab, name: str, logged: list[str]) -> None:
    at = getattr(lab, name)
    done = put(lab, at, "hv2", "20/12/2026", "3/1/2027")
    assert (done["changed"], done["sentence"], done["warnings"]) == (True, f"{ON_HV2}.", [])
    assert known(lab, lab.hv1) == known(lab, lab.hv2) == [ON_HV2]
    assert logged[-1] == f"constraint: {ON_HV2}."
    for host in (lab.hv1, lab.hv2):
        again = put(lab, host, "hv2", "20/12/2026", "3/1/2027")
        assert not again["changed"] and again["sentence"] == f"This is set already: {ON_HV2}."
        with lab.on(host):
            shown = constraints.query(host.config)
        assert shown["text"].startswith("No constraint is in force today, 2026-12-01. The next one: hv2") and not shown["changed"]
        assert "December 2026" in shown["text"] and " 21b 22b" in shown["text"]
    gone = unset(lab, lab.other(), host="hv2")
    assert gone["changed"] and gone["constraints"] == []
    assert known(lab, lab.hv1) == known(lab, lab.hv2) == []
    assert not unset(lab, at)["changed"]


def test_check_mode_asks_the_other_host_and_writes_on_neither(lab: Lab) -> None:
    put(lab, lab.hv2, "hv2", "20/12/2026", "3/1/2027")
    lab.hv1.answers = False
    put(lab, lab.hv2, "hv1", "5/12/2026")
    lab.hv1.answers = True
    files = [host.place / "constraint.json" for host in (lab.hv1, lab.hv2)]
    before = [path.read_text() for path in files]
    planned = put(lab, lab.hv1, "hv2", "6/12/2026", check=True)
    assert planned["changed"] and len(planned["constraints"]) == 3
    with pytest.raises(HvmError, match=r"overlaps another constraint \(2026-12-05\): hv1 must be ACTIVE on 2026-12-05"):
        put(lab, lab.hv1, "hv2", "5/12/2026", check=True)
    assert unset(lab, lab.hv1, check=True)["changed"]
    with lab.on(lab.hv1):
        assert len(constraints.query(lab.hv1.config)["constraints"]) == 2
    assert [path.read_text() for path in files] == before


def test_a_host_that_does_not_answer_is_a_warning_and_hears_of_it_when_they_meet_again(lab: Lab) -> None:
    put(lab, lab.hv1, "hv1", "tomorrow")
    lab.hv2.answers = False
    done = put(lab, lab.hv1, "hv2", "20/12/2026", "3/1/2027")
    assert done["changed"]
    assert done["warnings"] == [f"hv2 cannot be asked: ssh to hv2 ended with 255. {LATER}"]
    unset(lab, lab.hv1, host="hv1")
    lab.hv1.answers = False
    assert known(lab, lab.hv2) == ["hv1 must be ACTIVE on 2026-12-02"]
    put(lab, lab.hv2, "hv1", "3/1/2027", "5/1/2027", moment=datetime.datetime(2026, 12, 31, tzinfo=datetime.UTC))
    lab.hv1.answers = lab.hv2.answers = True
    with lab.on(lab.hv1):
        book, news = constraints.exchange(lab.hv1.config, constraints.Peer(lab.hv1.config))
    assert news and [one.sentence() for one in book.there] == ["hv1 must be ACTIVE from 2027-01-03 to 2027-01-05 inclusive"]
    assert known(lab, lab.hv1) == known(lab, lab.hv2) == ["hv1 must be ACTIVE from 2027-01-03 to 2027-01-05 inclusive"]


def test_one_that_only_the_other_host_knows_is_in_the_way(lab: Lab) -> None:
    lab.hv1.answers = False
    put(lab, lab.hv2, "hv2", "20/12/2026", "3/1/2027")
    lab.hv1.answers = True
    with pytest.raises(HvmError, match="overlaps another constraint"):
        put(lab, lab.hv1, "hv1", "24/12/2026")
    assert known(lab, lab.hv1) == [ON_HV2]  # it was heard of by the way


def test_two_operators_at_the_same_moment_are_told_whose_counts(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    say = constraints.log.say

    def meanwhile(text: str) -> None:
        say(text)
        lab.hv1.answers = False
        later = datetime.datetime(2026, 12, 31, tzinfo=datetime.UTC)
        monkeypatch.setattr(constraints.log, "say", say)
        put(lab, lab.hv2, "hv2", "24/12/2026", moment=later)
        lab.hv1.answers = True

    monkeypatch.setattr(constraints.log, "say", meanwhile)
    with pytest.raises(HvmError, match="has given way to one that was set on hv2 at the same time"):
        put(lab, lab.hv1, "hv1", "20/12/2026", "3/1/2027", moment=datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC))
    assert known(lab, lab.hv1) == known(lab, lab.hv2) == ["hv2 must be ACTIVE on 2026-12-24"]


def test_the_other_host_is_lost_after_it_was_written_here(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constraints.log, "say", lambda dummy: setattr(lab.hv2, "answers", False))
    done = put(lab, lab.hv1, "hv1", "tomorrow")
    assert done["changed"]
    assert done["warnings"] == [f"hv2 was not told: the connection to hv2 ended. {LATER}"]


def test_a_constraint_is_set_while_a_backup_runs(lab: Lab) -> None:
    with lab.on(lab.hv1), operation.Lock().held("checkpoint", "root"):
        put(lab, lab.hv2, "hv1", "tomorrow")
        put(lab, lab.hv1, "hv2", "20/12/2026")
    assert len(known(lab, lab.hv1)) == len(known(lab, lab.hv2)) == 2


def test_what_another_host_would_have_is_not_told_and_can_be_unset(lab: Lab) -> None:
    """A host of the pair has got another name since."""
    with lab.on(lab.hv1):
        stranger = constraint.Constraint("old", TODAY, TODAY, datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC))
        constraint_file.save(constraint.Book((stranger,)))
    put(lab, lab.hv2, "hv1", "tomorrow")
    assert known(lab, lab.hv2) == ["hv1 must be ACTIVE on 2026-12-02"]
    unset(lab, lab.hv1, host="old")
    assert known(lab, lab.hv1) == known(lab, lab.hv2)


def test_a_wire_that_tells_no_book_is_refused(lab: Lab) -> None:
    with lab.on(lab.hv2), pytest.raises(HvmError, match="cannot be read"):
        constraints.told(lab.hv2.config, '{"format": 1, "constraints": [{"host": "hv1"}]}')
    assert not (lab.hv2.place / "constraint.json").exists()


def test_a_change_waits_for_the_one_that_is_being_written(tmp_path: pathlib.Path) -> None:
    path, order = str(tmp_path / "constraint.json"), []

    def second() -> None:
        with constraint_file.changing(path):
            order.append("second")

    thread = threading.Thread(target=second)
    with constraint_file.changing(path):
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
