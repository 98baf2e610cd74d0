# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

pytest.importorskip("ansible")

from ansible_collections.hvm.pair.plugins.filter.hvm_pairs import FilterModule as Pairs
from ansible_collections.hvm.pair.plugins.filter.hvm_summary import FilterModule as Summary


def test_the_results_that_are_named_make_the_rows_and_the_lines() -> None:
    hostvars = {
        "hv1": {"hvm_pair": "office", "hvm_hosts": ["hv1", "hv2"], "hvm_sync": {"changed": True, "set": "s", "bytes": 1024}},
        "hv2": {"hvm_pair": "office", "hvm_hosts": ["hv1", "hv2"]},
        "hv3": {"hvm_hosts": ["hv3", "hv4"], "hvm_sync": {"failed": True, "msg": "no {{ room }}"}, "other": {"changed": True}},
        "hv4": {"hvm_hosts": ["hv3", "hv4"]},
    }
    rows = Pairs().filters()["hvm_pairs"](list(hostvars), hostvars, ["hv1", "hv2", "hv4"], ["hvm_look", "hvm_sync"])
    found = [(row["pair"], row["outcome"], row["bytes"]) for row in rows]
    assert found == [("office", "done", 1024), ("hv3, hv4", "failed", None)]
    lines = Summary().filters()["hvm_summary"](rows)
    assert lines[0] == "2 pairs: 1 done, 1 failed"
    assert lines[2] == "hv3, hv4  -  FAILED       hv3: no {{ room }}"
