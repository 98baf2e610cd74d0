# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import sys
import time
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._libvirt import guest_agent

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_guest import PAUSED, Error, Guest, Host

NOW = 1795000000_250000000


def set_clock(host: Host, names: t.Iterable[str] | None = None, **kwargs: t.Any) -> list[str]:
    return guest_agent.set_clock(host, host.guests if names is None else names, now=lambda: NOW, **kwargs)


@pytest.mark.parametrize(("agent", "said"), [(None, "none"), (False, "disconnected"), (True, "connected")])
def test_what_there_is_of_an_agent(agent: bool | None, said: str) -> None:
    assert guest_agent.channel(Guest(agent=agent).XMLDesc()) == said


def test_another_channel_is_no_agent() -> None:
    xml = '<domain><devices><channel><target name="com.redhat.spice.0" state="connected"/></channel></devices></domain>'
    assert guest_agent.channel(xml) == "none"


def test_whether_it_answers() -> None:
    guest = Guest(agent=True)
    assert guest_agent.silence(guest) == ""
    assert guest.timeout == guest_agent.BLOCK
    assert guest_agent.silence(Guest(agent=True, refuses={"time": Error(86, "not responding")})) == "not responding"
    assert guest_agent.silence(Guest(agent=False)) == "no agent is connected"
    assert guest_agent.silence(Guest()) == "no channel for an agent"


def test_the_clock_is_set_to_the_hosts_and_the_agent_may_take_its_time_again() -> None:
    guest = Guest(agent=True)
    assert set_clock(Host(guest)) == []
    assert guest.clock == {"seconds": 1795000000, "nseconds": 250000000}
    assert guest.timeout == guest_agent.BLOCK


def test_one_warning_for_each_reason() -> None:
    host = Host(
        Guest("a"),
        Guest("b"),
        Guest("c", agent=False),
        Guest("d", agent=True, refuses={"set time": Error(1, "the guest refuses")}),
        Guest("e", agent=True),
    )
    tail = "It may be behind by the time of the pause"
    assert set_clock(host) == [
        f"the clock of c is not set: no agent is connected. {tail}",
        f"the clock of a, b is not set: no channel for an agent. {tail}",
        f"the clock of d is not set: the guest refuses. {tail}",
    ]
    assert host.guests["e"].clock


def test_an_agent_that_is_slow_at_first_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_agent, "_AGAIN", 0.01)
    guest = Guest("a", agent=True, refuses={"set time": Error(86, "not responding")})
    asked: list[t.Any] = []

    def awake(dom: Guest, moment: dict[str, int]) -> None:
        asked.append(moment)
        if len(asked) == 3:
            dom.refuses = {}
        real(dom, moment)

    real = Guest.setTime
    monkeypatch.setattr(Guest, "setTime", awake)
    assert set_clock(Host(guest)) == []
    assert (len(asked), guest.timeout) == (3, guest_agent.BLOCK)
    asked.clear()
    monkeypatch.setattr(guest_agent, "CLOCK_LIMIT", 0)
    guest.refuses = {"set time": Error(86, "not responding")}
    assert len(set_clock(Host(guest))) == 1
    assert len(asked) <= 2


def test_no_agent_is_no_warning_after_a_brief_pause() -> None:
    host = Host(Guest("a"), Guest("b", agent=True), Guest("c", agent=False), Guest("d"))
    tail = "It may be behind by the time of the pause"
    assert set_clock(host, brief=["a", "b", "c"]) == [f"the clock of d is not set: no channel for an agent. {tail}"]
    assert host.guests["b"].clock


def test_a_vm_that_does_not_run_is_left_out_and_one_that_is_gone_is_a_warning() -> None:
    host = Host(Guest("a", agent=True, state=PAUSED))
    assert set_clock(host) == []
    assert host.guests["a"].calls == []
    assert set_clock(host, ["b"]) == ["the clock of b is not set: Domain not found. It may be behind by the time of the pause"]
    assert set_clock(host, []) == []


def test_an_agent_that_never_answers_does_not_keep_the_others() -> None:
    host = Host(Guest("a", agent=True, hangs=["set time"]), Guest("b", agent=True))
    began = time.monotonic()
    warnings = set_clock(host, seconds=0.3)
    assert time.monotonic() - began < 3
    assert warnings == ["the clock of a is not set: the agent did not answer in time. It may be behind by the time of the pause"]
    assert host.guests["b"].clock


def test_with_libvirts_own_calls(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    libvirt = pytest.importorskip("libvirt")
    assert libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK == guest_agent.BLOCK
    assert libvirt.VIR_ERR_AGENT_UNRESPONSIVE == guest_agent.AGENT_UNRESPONSIVE
    # its test driver has the clock, but neither channels nor limits
    monkeypatch.setattr(libvirt.virDomain, "agentSetResponseTimeout", lambda *dummy: 0)
    monkeypatch.setattr(guest_agent, "channel", lambda dummy: guest_agent.CONNECTED)
    conn = libvirt.open("test:///default")
    assert guest_agent.set_clock(conn, ["test"], now=lambda: NOW) == []
    assert guest_agent.silence(conn.lookupByName("test")) == ""
    conn.close()
