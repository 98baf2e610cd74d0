# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The VMs that count, under load, on the lab's pair; `make vms` has started the lab."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("vms", "zfs", "lab")]

import _hostside
from _hosts import Lab
from _world import READY, World

pytest_plugins = ["_pytest_parts"]


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
    ready.fresh()
    yield ready
    for host in (ready.a, ready.b):
        host.forget()


@pytest.fixture(scope="module")
def alone(ready: World) -> World:
    """The Linux guest made, and no other VM running: it has the host to itself."""
    ready.fresh()
    off = ready.a.call("vm", verb="poweredoff", names=ready.names)
    assert not off.get("failed"), off
    _hostside.make_linux(ready.lab)
    return ready
