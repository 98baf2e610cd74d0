# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from _figures import Figure, order, ratio, replaced, table


@pytest.mark.parametrize(
    ("figure", "line"),
    [
        (Figure("fast", 3.0, 3.0), "figure fast 3.00 >=3.00 ok"),
        (Figure("slow", 2.999, 3.0), "figure slow 2.99 >=3.00 short"),
        (Figure("few", 2, 2, least=False), "figure few 2 <=2 ok"),
        (Figure("many", 3, 2, least=False), "figure many 3 <=2 short"),
    ],
)
def test_a_figure_is_one_line_and_is_never_shown_better_than_it_is(figure: Figure, line: str) -> None:
    assert figure.line() == line
    assert figure.row() == "| " + " | ".join(line.split(" ")[1:]) + " |"


def test_a_ratio_is_of_medians() -> None:
    assert ratio({"other": [9.0, 6.0, 100.0], "ours": [3.0, 1.0, 4.0]}, "other", "ours") == 3.0


def test_every_tool_begins_a_round_once_in_a_while() -> None:
    assert [order(["a", "b", "c"], number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_the_table_begins_with_the_quickest() -> None:
    assert table({"ours": [2.0], "other": [3.0, 5.0], "quick": [1.0]}, "ours", {"quick": "why"})[2:] == [
        "| quick | 1.00 | 1.00 | 1.00 | 0.50 | why |",
        "| ours | 2.00 | 2.00 | 2.00 | 1.00 |  |",
        "| other | 4.00 | 3.00 | 5.00 | 2.00 |  |",
    ]


TEXT = "# Benchmarks\n\nAll.\n\n## one\n\nfirst\n\n## two\n\nsecond\n"


def test_a_section_takes_the_place_of_its_older_self() -> None:
    assert replaced(TEXT, "## one", "## one\n\nnew\n") == "# Benchmarks\n\nAll.\n\n## one\n\nnew\n\n## two\n\nsecond\n"
    assert replaced(TEXT, "## two", "## two\n\nnew\n") == "# Benchmarks\n\nAll.\n\n## one\n\nfirst\n\n## two\n\nnew\n"


def test_a_new_section_comes_last() -> None:
    assert replaced(TEXT, "## three", "## three\n\nnew\n") == TEXT + "\n## three\n\nnew\n"
