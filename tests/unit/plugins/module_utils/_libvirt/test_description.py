# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._libvirt.description import autostart, by_priority, priority


@pytest.mark.parametrize(
    ("text", "start", "number"),
    [
        ("", False, 99),
        ("autostart=yes prio=10", True, 10),
        ("The web server.\nautostart = YES, prio = 7.", True, 7),
        ("autostart=no", False, 99),
        ("autostart=yes autostart=no prio=3 prio=5", False, 5),
        ("autostart=yesterday prio=1x", False, 99),
        ("no-autostart=yes sub-prio=3 xprio=4", False, 99),
        ("prio=0", False, 1),
        ("prio=00012", False, 12),
        ("prio=100", False, 99),
        ("prio=-1", False, 99),
        ("(prio=4;autostart=yes)", True, 4),
    ],
)
def test_what_a_description_says(text: str, start: bool, number: int) -> None:
    assert (autostart(text), priority(text)) == (start, number)


@given(st.text())
def test_any_text_has_a_priority(text: str) -> None:
    assert 1 <= priority(text) <= 99


def test_groups_of_one_priority_in_their_order() -> None:
    vms = [("web", 50), ("db", 10), ("api", 50), ("test", 99)]
    assert by_priority(vms) == [["db"], ["api", "web"], ["test"]]
    assert by_priority(vms, descending=True) == [["test"], ["api", "web"], ["db"]]
    assert by_priority([]) == []
