# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the conftest files of the tests on lab hosts have in common; they import it by name."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes; only with HVM_LONG=1, or when it is named with -k")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not (os.environ.get("HVM_LONG") or config.getoption("keyword")):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: HVM_LONG=1"))


@pytest.fixture
def seed() -> Iterator[random.Random]:
    """Chance that can be had again: HVM_SEED; printed when the test fails."""
    number = int(os.environ.get("HVM_SEED") or random.randrange(1 << 30))
    print(f"HVM_SEED={number}")
    yield random.Random(number)
