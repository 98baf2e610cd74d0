# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("cannot open 'a/b': dataset does not exist\n", "cannot open 'a/b': dataset does not exist"),
        (
            "cannot receive incremental stream: destination a/b has been modified\nsince most recent snapshot\n",
            "cannot receive incremental stream: destination a/b has been modified since most recent snapshot",
        ),
        ("warning: one thing\nError: another\n", "Error: another"),
        (
            (
                "cannot receive resume stream: checksum mismatch or incomplete stream.\nPartially received snapshot is saved.\n"
                "A resuming stream can be generated on the sending system by running:\n    zfs send -t 1-1295b15888-138-789c\n"
            ),
            "cannot receive resume stream: checksum mismatch or incomplete stream.",
        ),
        ("nothing but this\n", "nothing but this"),
        ("", "it said nothing"),
    ],
)
def test_what_a_failed_command_said_is_its_last_sentence(stderr: str, said: str) -> None:
    assert str(CommandError(["zfs", "x"], 1, "", stderr)) == f"'zfs x' failed (1): {said}"
