# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import time

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core import command
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError


def test_what_it_prints_and_what_it_is_given() -> None:
    assert command.run(["cat"], stdin="text") == "text"
    assert command.run(["cat"]) == ""
    assert command.run(["sh", "-c", "printf '\\377'"]) == "\udcff"


def test_one_that_fails_says_why() -> None:
    with pytest.raises(CommandError) as caught:
        command.run(["sh", "-c", "echo out; echo err >&2; exit 3"], remedy="Do.")
    assert (caught.value.rc, caught.value.stderr, caught.value.remedy) == (3, "err\n", "Do.")
    with pytest.raises(CommandError, match="command not found"):
        command.run(["hvm-no-such-command"])
    assert command.succeeds(["true"]) and not command.succeeds(["false"])


def test_one_that_takes_too_long_is_ended() -> None:
    with pytest.raises(CommandError, match="no end after 0 s"):
        command.run(["sleep", "60"], timeout=0.1)


def test_one_that_cannot_be_ended_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sleeps in the kernel, on a pool that is suspended: VMs may stand still meanwhile."""
    monkeypatch.setattr(command, "GRACE", 0.1)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda dummy: None)
    began = time.monotonic()
    with pytest.raises(CommandError, match="no end after 0 s"):
        command.run(["sleep", "5"], timeout=0.1)
    assert time.monotonic() - began < 3
