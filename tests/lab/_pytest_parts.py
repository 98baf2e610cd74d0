# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the conftest files of the tests on lab hosts have in common: a plugin of theirs."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

SEED = int(os.environ.get("HVM_SEED") or random.randrange(1 << 30))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes; only with HVM_LONG=1, or when it is named with -k, or by chance")


def pytest_report_header() -> str:
    return f"HVM_SEED={SEED}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the long ones only HVM_SAMPLE (default: none), by chance, so that in many runs each has its turn."""
    if os.environ.get("HVM_LONG") or config.getoption("keyword"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    chosen = random.Random(SEED).sample(long, min(int(os.environ.get("HVM_SAMPLE") or 0), len(long)))
    for item in long:
        if item not in chosen:
            item.add_marker(pytest.mark.skip(reason="takes minutes: HVM_LONG=1"))


def pytest_exception_interact(report: pytest.CollectReport | pytest.TestReport) -> None:
    """A failure is shown when it happens: the end of such a run is far away."""
    print(f"\n{report.longreprtext}", flush=True)


@pytest.fixture
def seed() -> Iterator[random.Random]:
    """Chance that can be had again: HVM_SEED; printed when the test fails."""
    print(f"HVM_SEED={SEED}")
    yield random.Random(SEED)
