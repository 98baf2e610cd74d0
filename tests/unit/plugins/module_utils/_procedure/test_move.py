# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`migrate unsecure` on a pair of fakes: there, back, and out of every midst of it."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import fake_moving
from fake_moving import Moving, migrate, pair, recovered


@pytest.fixture(name="lab")
def _lab(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Moving:
    lab = Moving(tmp_path, monkeypatch)
    pair(lab)
    return lab


def test_the_vms_and_the_role_move(lab: Moving) -> None:
    done = migrate(lab)
    print("\n".join(lab.did))
    lab.whole(lab.hv2, off=["mail"])
