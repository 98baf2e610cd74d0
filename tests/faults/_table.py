#!/usr/bin/env python3
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results of cells, kept as JSON lines, as the tables of docs/reliability.md; the newest result of each cell counts.

By itself it writes them there, and beside this file, so that a matrix of hours can be run in pieces, on several machines.
"""

from __future__ import annotations

import collections
import contextlib
import json
import statistics
import sys
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("faults", "bench")]

import _cells
import _figures

RESULTS = ROOT / "tests/output/faults.jsonl"
#: Those of earlier machines.
KNOWN = Path(__file__).with_name("results.jsonl")
DOCS = ROOT / "docs/reliability.md"
HEADING = "## The matrix"
FAILED = "**failed**"

Result = dict[str, t.Any]


def load(*paths: Path) -> dict[str, Result]:
    """name of a cell or event -> its newest result; the last path has the newest ones."""
    found: dict[str, Result] = {}
    for path in paths or (KNOWN, RESULTS):
        with contextlib.suppress(FileNotFoundError):
            for line in path.read_text(encoding="utf-8").splitlines():
                one = json.loads(line)
                found[one["name"]] = one
    return found


def keep(result: Result, path: Path = RESULTS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(result) + "\n")


def entry(result: Result | None) -> str:
    """One cell of the table. Pure."""
    if result is None:
        return "not run"
    if not result["passed"]:
        return FAILED
    serving, waited = result["serving"], result["waited"]
    words = [f"{result['active']}:", "not away" if not serving else f"{serving:.0f} s"]
    if serving and waited and waited < serving:
        words.append(f"(mended after {waited:.0f} s)")
    return " ".join(words) + (f"; {', '.join(result['advice'])}" if result["advice"] else "")


def ended(result: Result) -> str:
    """One event: a walk of many steps, so the seconds from its beginning say nothing. Pure."""
    if not result["passed"]:
        return FAILED
    return "; ".join(["passed", *([", ".join(result["advice"])] if result["advice"] else [])])


def tables(results: t.Mapping[str, Result]) -> list[str]:
    """Markdown: a table for each procedure, a row for each step; and the events. Pure."""
    lines: list[str] = []
    for procedure, steps in _cells.STEPS.items():
        lines += [f"### {procedure}", "", "| | " + " | ".join(_cells.FAULTS) + " |", "|---" * (len(_cells.FAULTS) + 1) + "|"]
        for step in steps:
            cells = [_cells.Cell(procedure, step, fault) for fault in _cells.FAULTS]
            row = ["-" if cell.meaningless else entry(results.get(cell.name)) for cell in cells]
            lines.append(f"| {step.name} | " + " | ".join(row) + " |")
        lines.append("")
    events = [one for name, one in sorted(results.items()) if name.startswith("event-")]
    if events:
        lines += ["### Besides", "", "| | |", "|---|---|"]
        lines += [f"| {one['title']} | {ended(one)} |" for one in events]
        lines.append("")
    why = sorted({f"{cell.fault}, {cell.step.name}: {cell.meaningless}" for cell in _cells.everything() if cell.meaningless})
    return [*lines, "Not run, as the fault does not meet the step:", "", *(f"* {text}." for text in why)]


def section(results: t.Mapping[str, Result]) -> str:
    ran = [results[cell.name] for cell in _cells.matrix() if cell.name in results]
    passed = sum(one["passed"] for one in ran)
    dates = sorted(one["date"] for one in ran) or ["never"]
    boots = [one["boot"] for one in ran if one["boot"]]
    head = f"{passed} of {len(_cells.matrix())} cells have passed; runs of `make faults` from {dates[0]} to {dates[-1]}."
    vms = collections.Counter(one["vms"] for one in ran)
    if vms:
        head += f" VMs that ran, in so many cells: {', '.join(f'{number} in {times}' for number, times in sorted(vms.items()))}."
    if boots:
        head += f" A host boots in {statistics.median(boots):.0f} s (median), which is part of the time until it is mended."
    return "\n".join([HEADING, "", head, "", *tables(results)]).rstrip("\n") + "\n"


def main() -> int:
    results = load()
    lines = [json.dumps(results[name], sort_keys=True) for name in sorted(results)]
    KNOWN.write_text("\n".join(lines) + "\n", encoding="utf-8")
    DOCS.write_text(_figures.replaced(DOCS.read_text(encoding="utf-8"), HEADING, section(results)), encoding="utf-8")
    print(f"kept in {DOCS.relative_to(ROOT)} and {KNOWN.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
