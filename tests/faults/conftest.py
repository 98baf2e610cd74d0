# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pair at which faults are made; `make faults` has started the lab."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("faults", "vms", "zfs", "lab", "bench")]
sys.path.append(str(ROOT / "collections"))

import _cells
import _table
from _machines import Lab
from _scene import World

pytest_plugins = ["_pytest_parts"]
_recorded: list[str] = []


@pytest.hookimpl(trylast=True)  # after -k, so that a sample is of what was asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """HVM_FAULTS_REST: those that have not passed yet; HVM_FAULTS_KNOWN: those that have, and are short.
    HVM_SAMPLE: so many of them, by HVM_SEED.
    """
    if os.environ.get("HVM_FAULTS_REST"):
        passed = _passed(_table.load())
        items[:] = [item for item in items if item.name not in passed]
    if os.environ.get("HVM_FAULTS_KNOWN"):
        passed = _passed(_table.load(_table.KNOWN))  # what has failed here since is not to be left out for that
        items[:] = [item for item in items if _cells.for_all(passed.get(item.name, {}))]
    number = int(os.environ.get("HVM_SAMPLE") or 0)
    if number:
        from _pytest_parts import SEED  # loaded as a plugin before, so that pytest can rewrite its asserts

        # a cell's test has the cell's name in brackets
        names = {item.name.partition("[")[2].rstrip("]") if "-" in item.name else item.name: item for item in items}
        items[:] = [names[name] for name in _cells.sample(names, number, SEED)]


def _passed(results: t.Mapping[str, dict[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    return {result["test"]: result for result in results.values() if result["passed"]}


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    results = _table.load()
    for name in _recorded:
        terminalreporter.write_line(f"{name}: {_table.entry(results[name])}")


@pytest.fixture(scope="session")
def ready() -> Iterator[World]:
    """The VMs run and count, and one completed set is on both hosts: saved as a state of the lab.

    HVM_FAULTS_AGAIN: made from that state, when it is there: in a quarter of the time, or in none for the same version.
    HVM_FAULTS_AS_IS: it is there already. HVM_FAULTS_VMS: which of the lab's VMs run.
    """
    world = World(Lab(os.environ.get("HVM_LAB_NAME", "main")), os.environ.get("HVM_FAULTS_VMS", "").split())
    if os.environ.get("HVM_FAULTS_AS_IS"):
        world.take_over()
    else:
        world.make_ready(bool(os.environ.get("HVM_FAULTS_AGAIN")))
    yield world
    world.node.forget()
    world.other_node.forget()
    for host in (world.a, world.b):
        host.forget()


@pytest.fixture
def world(ready: World) -> World:
    ready.fresh()
    return ready


@pytest.fixture
def record(request: pytest.FixtureRequest, ready: World) -> Iterator[dict[str, t.Any]]:
    """What a test fills in with what it has found; kept also when it fails, and with `passed` only when it has not."""
    version = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    result: dict[str, t.Any] = {
        "name": request.node.callspec.id if hasattr(request.node, "callspec") else request.node.name,
        "test": request.node.name,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "version": version.stdout.strip(),
        "active": "",
        "advice": [],
        "serving": None,
        "waited": 0.0,
        "boot": 0.0,
        "passed": False,
        "vms": len(ready.names),
    }
    began = time.monotonic()
    yield result
    result["seconds"] = round(time.monotonic() - began)
    if not result["passed"]:
        print("\n".join([*result.get("said", []), ready.evidence()]), flush=True)
    _table.keep(result)
    _recorded.append(result["name"])
