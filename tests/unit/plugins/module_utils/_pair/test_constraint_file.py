# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import pathlib

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint, constraint_file

NOW = datetime.datetime(2026, 12, 1, 9, tzinfo=datetime.UTC)


def test_load_and_save(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "hvm" / "constraint.json"
    assert constraint_file.load(str(path)) == ()
    one = constraint.Constraint("HOST-b", NOW.date(), NOW.date(), NOW)
    book = constraint.Book((one,), (constraint.Constraint("HOST-a", NOW.date(), NOW.date(), NOW),))
    constraint_file.save(book, str(path))
    assert constraint_file.read(str(path)) == book and constraint_file.load(str(path)) == (one,)
    assert path.stat().st_mode & 0o7777 == 0o644


def test_sentence_for_the_status(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "constraint.json"
    one = constraint.Constraint("HOST-b", NOW.date(), NOW.date(), NOW)
    monkeypatch.setattr(constraint_file, "today", NOW.date)
    assert constraint_file.current_sentence(str(path)) == ""
    constraint_file.save(constraint.Book((one,)), str(path))
    assert constraint_file.current_sentence(str(path)) == "HOST-b must be ACTIVE on 2026-12-01; today, 2026-12-01, is day 1 of 1."
    monkeypatch.setattr(constraint_file, "today", lambda: datetime.date(2026, 12, 2))
    assert constraint_file.current_sentence(str(path)) == ""  # over: no effect
    path.write_text("{")
    assert constraint_file.current_sentence(str(path)).startswith(f"{path}: the hosting constraints cannot be read: ")
    with pytest.raises(HvmError, match="cannot be read"):
        constraint_file.load(str(path))


def test_today_is_the_hosts_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert constraint_file.today() in (datetime.datetime.now().astimezone().date(), datetime.date.today())  # noqa: DTZ011
