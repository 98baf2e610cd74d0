# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The VMs that count, under load, on the lab's pair; `make vms` has started the lab."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("vms", "zfs", "lab")]

from _hosts import Lab
from _world import World

READY = "vms"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes; only with HVM_LONG=1, or when it is named with -k")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not (os.environ.get("HVM_LONG") or config.getoption("keyword")):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: HVM_LONG=1"))


@pytest.fixture(scope="session")
def ready() -> Iterator[World]:
    """The VMs made and counting, saved as a state of the lab."""
    world = World(Lab(os.environ.get("HVM_LAB_NAME", "main")))
    world.make()
    world.listen()
    world.lab.save(READY)
    yield world
    for host in (world.a, world.b):
        host.forget()


@pytest.fixture
def world(ready: World) -> Iterator[World]:
    """All VMs run and count; what a test before has broken is as it was."""
    for host in (ready.a, ready.b):
        host.forget()
    ready.lab.reset(READY)
    ready.listen()
    yield ready
    for host in (ready.a, ready.b):
        host.forget()


@pytest.fixture
def seed() -> Iterator[random.Random]:
    """Chance that can be had again: HVM_SEED; printed when the test fails."""
    number = int(os.environ.get("HVM_SEED") or random.randrange(1 << 30))
    print(f"HVM_SEED={number}")
    yield random.Random(number)
