# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import syslog

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core import log
from ansible_collections.hvm.pair.plugins.module_utils._pair import role


def test_a_line_is_one_line_that_every_log_can_take() -> None:
    assert log.clean("a\n  b\r\n\n\0c \udcff") == "a; b; c \\udcff"


#: Before any test has replaced it.
SEND = log._send


def test_a_line_goes_to_syslog_under_our_name(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setattr(log, "_send", SEND)
    monkeypatch.setattr(syslog, "openlog", lambda *words: sent.append(words[0]))
    monkeypatch.setattr(syslog, "syslog", lambda priority, line: sent.append((priority, line)))
    log.say("100 %s\nof it")
    assert sent == ["hvm", (syslog.LOG_NOTICE, "100 %s; of it")]


def test_a_log_that_cannot_be_written_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(line: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log, "_send", fail)
    log.say("so")


def test_each_change_of_role_is_a_line_and_nothing_else_is(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    monkeypatch.setattr(role, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(role, "GATE", str(tmp_path / "run/gate"))
    path = str(tmp_path / "role.json")
    role.record(role.PASSIVE, 4, "so", path)
    role.see(5, path)
    role.see(5, path)
    role.record(role.ACTIVE, 6, "took over by migrate_secure", path)
    role.stopped_in_order(path)
    role.in_use(path)
    role.record(role.ACTIVE, 6, "started", path)
    monkeypatch.setattr(role, "boot_id", lambda: "the next boot")
    role.record(role.ACTIVE, 6, "started after the power cut", path)
    assert logged == [
        "role: this host is PASSIVE in epoch 4: so",
        "role: this host is PASSIVE in epoch 5: so",
        "role: this host is ACTIVE in epoch 6: took over by migrate_secure",
        "role: this host is ACTIVE in epoch 6: started after the power cut",
    ]
    (tmp_path / "role.json").write_text("{")
    role.write(role.Role(role.PASSIVE, 7, "", "mended", ""), path)
    assert logged[-1] == "role: this host is PASSIVE in epoch 7: mended"
