# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replication on the lab's two hosts, which `make zfs` has started and made a pair."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "zfs"), str(ROOT / "tests" / "lab")]

import _hostside
from _hosts import HOSTS, Host, Lab, Pair

_numbers = itertools.count(1)
_session = f"{random.randrange(36**4):x}"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes; only with HVM_LONG=1, or when it is named with -k")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not (os.environ.get("HVM_LONG") or config.getoption("keyword")):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: HVM_LONG=1"))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab, up, its hosts a pair with the code of this checkout."""
    lab = Lab(os.environ.get("HVM_LAB_NAME", "main"))
    hosts = [Host(lab, host) for host in HOSTS]
    inventory = str(_hostside.write_inventory(lab))
    installed = hosts[0].sh("test -e /etc/hvm/pair.json && echo yes || true") == "yes"
    words = ["ansible", "hvm", "-m", "hvm.pair.hvm_agent"] if installed else ["ansible-playbook", "install.yml"]
    done = subprocess.run(
        [*words, "-i", inventory],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    yield lab
    for host in hosts:
        host.forget()


@pytest.fixture
def pair(lab: Lab) -> Iterator[Pair]:
    """A pair that has never been synced, with roots of its own; what a test has broken is mended afterwards."""
    made = Pair(lab, f"{_session}x{next(_numbers)}")
    made.make()
    yield made
    made.both(lambda host: host.unwrap())


@pytest.fixture
def synced(pair: Pair) -> Pair:
    """A pair with one set on both hosts."""
    pair.first = pair.sync()["set"]
    return pair


@pytest.fixture
def seed() -> Iterator[random.Random]:
    """Chance that can be had again: HVM_SEED; printed when the test fails."""
    number = int(os.environ.get("HVM_SEED") or random.randrange(1 << 30))
    print(f"HVM_SEED={number}")
    yield random.Random(number)
