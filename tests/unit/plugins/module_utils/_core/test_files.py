# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic


def test_what_is_read_is_what_was_written(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "x")
    for text in ("", "Größe\r\n\u2028", "\udcff raw"):
        write_atomic(path, text)
        assert read_text(path) == text
    assert os.listdir(tmp_path) == ["x"]


def test_what_something_else_makes_durable_is_replaced_all_the_same(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_atomic(str(tmp_path / "x"), "old")
    assert len(synced) == 2
    write_atomic(str(tmp_path / "x"), "new", durable=False)
    assert len(synced) == 2
    assert read_text(str(tmp_path / "x")) == "new"


def test_the_mode_is_exact_whatever_the_umask(tmp_path: pathlib.Path) -> None:
    old = os.umask(0o077)
    try:
        write_atomic(str(tmp_path / "x"), "", 0o755)
    finally:
        os.umask(old)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o755


def test_a_link_is_replaced_not_followed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomic(str(tmp_path / "link"), "new")
    assert (tmp_path / "real").read_text() == "old"
    assert not (tmp_path / "link").is_symlink()


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_text("old")

    def full(dummy: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HvmError, match="x cannot be written: No space left on device"):
        write_atomic(str(tmp_path / "x"), "new")
    assert (tmp_path / "x").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_missing_is_none_and_unreadable_is_an_error(tmp_path: pathlib.Path) -> None:
    assert read_text(str(tmp_path / "x")) is None
    with pytest.raises(HvmError, match="cannot be read: Is a directory"):
        read_text(str(tmp_path))
    with pytest.raises(HvmError, match="cannot be written: No such file or directory"):
        write_atomic(str(tmp_path / "no/x"), "")
