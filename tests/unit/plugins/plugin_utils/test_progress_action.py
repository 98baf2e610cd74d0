# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible_collections.hvm.pair.plugins.plugin_utils import _progress_action
from ansible_collections.hvm.pair.plugins.plugin_utils._progress_action import ProgressAction, plain

#: As ansible-core 2.19 writes one into the file of an async job
SUMMARY = {"event": {"msg": "d@x stays", "__ansible_type": "Event"}, "__ansible_type": "WarningSummary"}


class Follower(ProgressAction):
    """One that reads `text` where a job's file would be."""

    def __init__(self, text: str, boot: str = "first") -> None:
        self.text, self.boot = text, boot
        self._boots = {}
        self.commands: list[str] = []

    def get_shell_option(self, *dummy: t.Any, **others: t.Any) -> str:
        return "/tmp/jobs"

    def _shell(self, command: str) -> dict[str, t.Any]:
        self.commands.append(command)
        return {"stdout": f"{self.boot}\n{self.text}" if "boot_id" in command else self.text}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("d@x stays", "d@x stays"),
        (SUMMARY, "d@x stays"),
        ({"msg": "old", "version": "2.23"}, "old"),
        ({"other": 1}, "{'other': 1}"),
    ],
)
def test_a_warning_is_text_whatever_the_version_made_of_it(message: t.Any, text: str) -> None:
    assert plain(message) == text


def test_the_result_of_a_job_is_read_once_it_is_there() -> None:
    assert Follower("")._status("j", {}) is None
    assert Follower('{"changed": tr')._status("j", {}) is None
    assert Follower(json.dumps({"started": 1, "finished": 0, "ansible_job_id": "j"}))._status("j", {}) is None
    done = Follower(json.dumps({"changed": True, "warnings": [SUMMARY], "deprecations": [{"msg": "old"}]}))
    assert done._status("j", {}) == {"changed": True, "warnings": ["d@x stays", "old"]}
    assert done.commands[-1] == "rm -f /tmp/jobs/j"
    assert Follower(json.dumps({"changed": False}))._status("j", {}) == {"changed": False}


def test_a_job_that_a_boot_has_cut_off_is_not_waited_for() -> None:
    """Seen in AWX with ANSIBLE_SSH_RETRIES: the file says that it has started, and nobody will ever say more."""
    job = Follower(json.dumps({"started": 1, "finished": 0, "ansible_job_id": "j"}))
    assert job._status("j", {}) is None
    job.boot = ""  # not told this time
    assert job._status("j", {}) is None
    job.boot = "second"
    assert "the host has booted anew" in job._status("j", {})["msg"]
    job.text = json.dumps({"changed": True})  # it had ended before
    assert job._status("j", {}) == {"changed": True}


class Started(Follower):
    """One whose module has just been started on a host to which the task is delegated."""

    def __init__(self, text: str, delegate_to: str | None) -> None:
        super().__init__(text)
        self._task = types.SimpleNamespace(delegate_to=delegate_to, no_log=False)


@pytest.mark.parametrize(("delegate_to", "host"), [(None, "hv1"), ("hv2", "hv2")])
def test_a_step_is_shown_with_the_host_that_does_it(
    monkeypatch: pytest.MonkeyPatch, delegate_to: str | None, host: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr(_progress_action.display, "display", said.append)
    line = json.dumps({"t": 1.0, "text": "sync"}) + "\n"
    assert Started(line, delegate_to)._show("/run/x", 0, {"inventory_hostname": "hv1"}) == len(line)
    assert said == [f"  [{host}]     1.0 s  sync"]
