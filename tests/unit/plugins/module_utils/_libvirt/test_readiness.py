# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import socket
import sys
import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._libvirt import readiness
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.description import settings
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.readiness import Wait, wait_for, waits

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_guest import Guest, Host


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_POLL", 0.01)


def test_who_is_waited_for() -> None:
    infos = {
        "db": settings("ready=agent ready_timeout=5 delay=3"),
        "web": settings("delay=2"),
        "old": settings(""),
        "api": settings("ready=tcp:api:80"),
    }
    assert waits(infos, ["web", "db", "old"], last=False) == [Wait("db", "agent", 5, 3), Wait("web", "", 120, 2)]
    assert waits(infos, ["web", "db", "api"], last=True) == [Wait("api", "tcp:api:80", 120, 0), Wait("db", "agent", 5, 0)]
    assert waits(infos, [], last=False) == []


@given(st.lists(st.sampled_from(["", "delay=2", "ready=agent", "ready=agent delay=9"]), max_size=5), st.booleans())
def test_nobody_is_waited_for_without_reason(texts: list[str], last: bool) -> None:
    infos = {str(number): settings(text) for number, text in enumerate(texts)}
    for one in waits(infos, infos, last):
        assert one.ready == infos[one.name]["ready"]
        assert one.delay == (0 if last else infos[one.name]["delay"])
        assert one.ready or one.delay


def test_an_agent_that_answers_after_a_while() -> None:
    guest = Guest("db", agent=False)
    looks: list[str] = []
    read = guest.XMLDesc

    def xml(dummy: int = 0) -> str:
        looks.append("look")
        guest.agent = len(looks) > 3
        return read()

    guest.XMLDesc = xml  # type: ignore[method-assign]
    assert wait_for(Host(guest), [Wait("db", "agent", 5, 0)]) == []
    assert len(looks) == 4


def test_one_that_is_not_ready_in_time_is_a_warning() -> None:
    host = Host(Guest("db", agent=False), Guest("web", agent=True))
    found = [Wait("db", "agent", 0.1, 0), Wait("gone", "agent", 0.1, 0), Wait("web", "agent", 0.1, 0)]
    assert wait_for(host, found) == [
        "VM db was started and is not ready: no agent is connected (agent, 0 s)",
        "VM gone was started and is not ready: Domain not found",
    ]


def test_a_port_that_opens() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        place = f"tcp:127.0.0.1:{server.getsockname()[1]}"
        warnings = wait_for(Host(), [Wait("db", place, 0.05, 0)])
        assert len(warnings) == 1 and "refused" in warnings[0] and place in warnings[0]
        server.listen()
        assert wait_for(Host(), [Wait("db", place, 5, 0)]) == []


def test_delays_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(t.cast("t.Any", readiness).time, "sleep", sleep)
    assert wait_for(Host(), [Wait("a", "", 1, 20), Wait("b", "", 1, 10)]) == []
    assert sorted(slept) == [10, 20]
    monkeypatch.undo()
    began = time.monotonic()
    wait_for(Host(), [Wait(str(n), "", 1, 0.2) for n in range(9)])
    assert 0.2 <= time.monotonic() - began < 1.5


def test_nothing_to_wait_for() -> None:
    assert wait_for(Host(), []) == []
