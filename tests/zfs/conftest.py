# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replication on the lab's two hosts, which `make zfs` has started and made a pair."""

from __future__ import annotations

import itertools
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "zfs"), str(ROOT / "tests" / "lab")]

from _hosts import HOSTS, Host, Lab, Pair, ansible

pytest_plugins = ["_pytest_parts"]
_numbers = itertools.count(1)
_session = f"{random.randrange(36**4):x}"


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab, up, its hosts a pair with the code of this checkout."""
    lab = Lab(os.environ.get("HVM_LAB_NAME", "main"))
    hosts = [Host(lab, host) for host in HOSTS]
    installed = hosts[0].sh("test -e /etc/hvm/pair.json && echo yes || true") == "yes"
    words = ["ansible", "hvm", "-m", "hvm.pair.hvm_agent"] if installed else ["ansible-playbook", "install.yml"]
    ansible(lab, *words)
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
