# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import _cells
import _table
import pytest


def result(name, **more):
    facts = {"active": "target", "advice": [], "serving": 41.3, "waited": 0.0, "boot": 0.0, "passed": True, "vms": 5}
    return {"name": name, "date": "2026-11-25", **facts, **more}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, "not run"),
        (result("x"), "target: 41 s"),
        (result("x", passed=False), "**failed**"),
        (result("x", serving=0.0, active="source"), "source: not away"),
        (result("x", serving=90.0, waited=52.0, advice=["recover"]), "target: 90 s (mended after 52 s); recover"),
        (result("x", serving=20.0, waited=52.0), "target: 20 s"),
    ],
)
def test_an_entry(given, text):
    assert _table.entry(given) == text


def test_an_event_has_no_seconds():
    assert _table.ended(result("event-x")) == "passed"
    assert _table.ended(result("event-x", advice=["recover", "rejoin"])) == "passed; recover, rejoin"
    assert _table.ended(result("event-x", passed=False)) == "**failed**"


def test_the_newest_result_of_a_cell_counts(tmp_path):
    path = tmp_path / "output" / "faults.jsonl"
    assert _table.load(path) == {}
    for one in (result("x", passed=False), result("y"), result("x")):
        _table.keep(one, path)
    assert {name: one["passed"] for name, one in _table.load(path).items()} == {"x": True, "y": True}
    known = tmp_path / "results.jsonl"
    for one in (result("y", passed=False), result("z")):
        _table.keep(one, known)
    assert {name: one["passed"] for name, one in _table.load(known, path).items()} == {"x": True, "y": True, "z": True}


def test_what_was_run_before_is_kept_beside_the_code_and_in_the_docs(tmp_path, monkeypatch, capsys):
    places = {"ROOT": tmp_path, "KNOWN": tmp_path / "results.jsonl", "RESULTS": tmp_path / "new.jsonl", "DOCS": tmp_path / "x.md"}
    for name, place in places.items():
        monkeypatch.setattr(_table, name, place)
    one, two, *_rest = _cells.matrix()
    places["DOCS"].write_text("# Reliability\n\n## The matrix\n\nold\n")
    _table.keep(result(one.name), places["RESULTS"])
    _table.main()
    places["RESULTS"].unlink()  # another machine
    _table.keep(result(two.name), places["RESULTS"])
    _table.main()
    assert sorted(_table.load(places["KNOWN"])) == sorted([one.name, two.name])
    text = places["DOCS"].read_text()
    assert text.startswith("# Reliability\n\n## The matrix\n") and "2 of " in text and "old" not in text
    assert capsys.readouterr().out.count("kept in x.md and results.jsonl") == 2


def test_the_section_has_each_cell_and_counts_those_that_have_passed():
    one, two, *_rest = _cells.matrix()
    results = {one.name: result(one.name, boot=38.0), two.name: result(two.name, passed=False, vms=3)}
    results["event-late"] = result("event-late", title="a host returns late")
    text = _table.section(results)
    assert f"1 of {len(_cells.matrix())} cells have passed" in text
    assert "A host boots in 38 s" in text
    assert "VMs that ran, in so many cells: 3 in 1, 5 in 1." in text
    assert "| a host returns late | passed |" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert sum(row.count("not run") for row in rows) == len(_cells.matrix()) - 2
    assert sum(row.count("**failed**") for row in rows) == 1
    assert sum(row.split(" | ").count("-") + row.endswith("| - |") for row in rows) == sum(
        bool(cell.meaningless) for cell in _cells.everything()
    )
