# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The word that ends a `migrate unsecure`: to whom it may be said, and what becomes of it."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._procedure import cancelling

SOURCE = {"operation": "migrate_unsecure", "step": "move"}
NOTHING = "nothing runs here that could be cancelled. Only migrate_unsecure can be, on the host that runs it."
ALL = "every VM has moved, and the role with them: nothing is left to cancel. To go back, migrate from hv2."
LENT = "migrate_unsecure is run by hv2; here its lock is only lent. Cancel it there, on hv2."
BACK = "VMs that have moved come back already, all of them. Wait until it has ended."
TARGET = {"operation": "migrate_unsecure", "step": "arrived", "arrived": [], "source": "hv1"}


@pytest.mark.parametrize(
    ("running", "now", "entry", "said"),
    [
        ("migrate_unsecure", "ACTIVE", SOURCE, ""),
        ("migrate_unsecure", "ACTIVE", None, ""),  # the hot sync: it has written down nothing yet
        ("", "ACTIVE", None, NOTHING),
        # what was left of one that has ended is for recover
        ("", "ACTIVE", SOURCE, NOTHING),
        ("recover", "ACTIVE", SOURCE, "recover cannot be cancelled. Only migrate_unsecure can be. Wait until it has ended."),
        ("sync", "ACTIVE", None, "sync cannot be cancelled. Only migrate_unsecure can be. Wait until it has ended."),
        # nobody would look for the word on the host that only lends its lock
        ("migrate_unsecure", "PASSIVE", None, LENT),
        ("migrate_unsecure", "PASSIVE", TARGET, LENT),
        ("migrate_unsecure", "ACTIVE", {**TARGET, "step": "commit"}, LENT),
        ("migrate_unsecure", "PASSIVE", {**SOURCE, "step": "hand over"}, ALL),
        ("migrate_unsecure", "ACTIVE", {**SOURCE, "step": "shared IP off"}, ALL),
        ("migrate_unsecure", "ACTIVE", {**SOURCE, "step": "stop here"}, ALL),
        ("migrate_unsecure", "ACTIVE", {**SOURCE, "step": "hand over"}, ALL),
        # nobody looks for the word there, either, and they do not stay
        ("migrate_unsecure", "ACTIVE", {**SOURCE, "step": "coming back"}, BACK),
    ],
)  # fmt: skip
def test_who_may_be_told(running: str, now: str, entry: dict[str, t.Any] | None, said: str) -> None:
    refused = cancelling.refusal(running, now, entry, "hv2")
    assert (". ".join(refused) if refused else "") == said


@pytest.fixture(name="request_file")
def _request_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    path = tmp_path / "cancel"
    monkeypatch.setattr(cancelling, "REQUEST", str(path))
    monkeypatch.setattr(operation, "others_operation", lambda: "migrate_unsecure")
    monkeypatch.setattr(operation, "pending", lambda: SOURCE)
    monkeypatch.setattr(role, "load", lambda: role.Role("ACTIVE", 3, "then", "so", role.boot_id()))
    return path


def test_it_is_told_once_and_may_be_told_otherwise(request_file: pathlib.Path) -> None:
    assert cancelling.wanted() is None
    planned = cancelling.cancel("back", True)
    assert planned == {
        "changed": True,
        "sentence": "migrate_unsecure would be told to end; VMs that have moved come back",
    }
    assert not request_file.exists()
    done = cancelling.cancel("back", False)
    assert done["changed"] and done["sentence"] == "migrate_unsecure is told to end; VMs that have moved come back"
    assert cancelling.wanted() == "back"
    before = os.stat(request_file).st_ino
    assert not cancelling.cancel("back", False)["changed"] and os.stat(request_file).st_ino == before
    assert cancelling.cancel("stay", False)["changed"] and cancelling.wanted() == "stay"


def test_no_word_of_before_is_meant_for_the_next_one(request_file: pathlib.Path) -> None:
    cancelling.forget()
    cancelling.cancel("stay", False)
    cancelling.forget()
    assert cancelling.wanted() is None


def test_what_is_refused_leaves_no_word(request_file: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "pending", lambda: TARGET)
    with pytest.raises(HvmError, match="is run by hv9"):
        cancelling.cancel("back", False, "hv9")
    assert not request_file.exists()
