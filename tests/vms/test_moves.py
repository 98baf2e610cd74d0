# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`migrate unsecure` as those see it who use the VMs, with a VM that is too busy to move, and ended by an operator in its midst.

``make vms PYTEST_ARGS="-s -k test_moves"``: with -s the times are shown.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import typing as t
from collections.abc import Iterator

import _guests
import _hostside
import _linux
import pytest
from _hosts import Host, finish
from _pings import Pings
from _tux import NAME, Tux
from _world import World

#: Seconds without an answer beside the move's own: an emulated host stutters. A bridge that has not learned where the VM is sends
#: what is for it to the wrong host until it forgets, after 300 s.
STUTTER = 5.0
#: Seconds: the most that the client may wait. That is how long a VM stands still here when all goes well, several times over.
LONGEST = 15.0
#: Seconds after a move in which a second gap would show.
AFTER = 15.0

#: It writes all over 24 MiB of its RAM in less than a second, and moves at RATE MiB per second.
BUSY = _guests.Vm("golf", 10, False, ("file:ssd",), True, _guests.FIRST_PORT + 6, "52:54:00:48:56:07", 48)
RATE = 2
#: Seconds for its live move: RAM goes over a few times. Of the second one: less than all of its RAM needs to go over once.
LIMIT, TOO_SHORT = 60, 8
#: Seconds for all that is done besides, both hosts being emulated.
BESIDES = 300.0

#: MiB per second at which the five VMs move when somebody is to come in between.
SLOWLY = 8
JOURNAL = "/var/lib/hvm/journal.json"


def move(host: Host, **options: t.Any) -> dict[str, t.Any]:
    began = time.monotonic()
    done = host.call("move", **options)
    print(f"{host.name}: {options or 'migrate unsecure'}: {time.monotonic() - began:.0f} s", flush=True)
    for line in done.get("plan") or [one["text"] for one in done.get("lines", [])]:
        print(f"    {line}", flush=True)
    return done


def hvm(host: Host, words: str) -> list[str]:
    """Types it. :return: the lines that it says."""
    *lines, ended = host.sh(f"hvm {words} 2>&1 < /dev/null; echo $?", check=False, timeout=900).splitlines()
    print(f"{host.name}# hvm {words}   = {ended}", *lines, sep="\n    ", flush=True)
    assert int(ended) == 0, "\n".join(lines)
    return lines


def well(world: World, active: Host, began: float) -> None:
    """Every VM counts on, on that host alone, nothing that it counted is lost, and nothing is left of a move."""
    world.heard()
    other = world.b if active is world.a else world.a
    states = world.states(active)
    assert {name: states[name] for name in world.names} == dict.fromkeys(world.names, "running")
    assert other.sh("pgrep -c qemu-system || true") == "0"
    for host, role in ((active, "ACTIVE"), (other, "PASSIVE")):
        look = host.call("observe")
        assert (look["role"]["now"], look["pending"], look["overlays"]) == (role, None, {}), look
    reports = world.reports(began)
    assert [text for name in world.names for text in reports[name].verdict] == []
    for name in world.names:
        if gap := reports[name].interruption:
            print(f"{name}: heard nothing of it for {gap.seconds:.2f} s at most", flush=True)


# ---- a client


def echoes(connection: socket.socket, words: bytes) -> bool:
    connection.sendall(words)
    found = b""
    while len(found) < len(words):
        part = connection.recv(len(words) - len(found))
        if not part:
            return False
        found += part
    return found == words


def test_a_client_is_answered_all_along(alone: World) -> None:
    tux = Tux(alone.a)
    tux.hear()
    for address in (_linux.ADDRESS4, _linux.ADDRESS6):
        with socket.create_connection((address, _linux.ECHO_PORT), timeout=60) as connection:
            assert echoes(connection, b"before\n")
    plan = move(alone.a, check=True)
    assert not plan.get("failed"), plan
    assert plan["measured"]["link"] > 0 and plan["measured"]["dirty"][NAME] is not None
    assert plan["vms"][NAME]["expected_seconds"] > 0
    with (
        Pings(_linux.ADDRESS4) as client,
        socket.create_connection((_linux.ADDRESS4, _linux.ECHO_PORT), timeout=60) as connection,
    ):
        for source, target in ((alone.a, alone.b), (alone.b, alone.a)):
            began = time.time()
            done = move(source)
            assert not done.get("failed"), done
            assert done["vms"][NAME]["mode"] == "live"
            moved = time.time()
            time.sleep(AFTER)
            ended = time.time()
            longest, second = client.gaps(began, ended)[:2]
            still = done["vms"][NAME]["interruption"]
            times = f"no answer for {longest:.2f} s, at another time for {second:.2f} s; it stood still for {still:.2f} s"
            print(f"{source.name} > {target.name}: {times}", flush=True)
            assert longest <= min(still + STUTTER, LONGEST)
            assert second <= STUTTER
            assert client.gaps(moved, ended)[0] <= STUTTER
            assert echoes(connection, f"on {target.name}\n".encode()), "its connection has not outlived the move"
            Tux(target).hear()
    with socket.create_connection((_linux.ADDRESS6, _linux.ECHO_PORT), timeout=60) as connection:
        assert echoes(connection, b"after\n")


# ---- one that writes faster than the link


class Busy(World):
    vms = (BUSY,)
    load: t.ClassVar[dict[str, int]] = {"ticks": 2, "load_kib": 8192, "fill_mib": BUSY.memory - 12}
    ready = "busy"


@pytest.fixture(scope="module")
def made(ready: World) -> Busy:
    """It alone, saved as a state of the lab."""
    ready.fresh()
    off = ready.a.call("vm", verb="poweredoff", names=ready.names)
    assert not off.get("failed"), off
    world = Busy(ready.lab)
    _hostside.make_vms(world.lab, world.vms, **world.load)
    world._awake()
    world.heard()
    world.lab.save(world.ready)
    return world


@pytest.fixture
def busy(made: Busy) -> Iterator[Busy]:
    made.fresh()
    yield made
    for host in (made.a, made.b):
        host.forget()


@pytest.mark.long
def test_one_that_writes_faster_than_the_link_is_slowed_down_then_paused_and_moves(busy: Busy) -> None:
    began, watch = time.time(), time.monotonic()
    plan = move(busy.a, check=True, rate=RATE, limit=LIMIT)
    assert not plan.get("failed"), plan
    expected = plan["vms"][BUSY.name]
    assert plan["measured"]["dirty"][BUSY.name] > RATE << 20, "what it writes was not seen"
    assert (expected["mode"], expected["expected_seconds"]) == ("live", LIMIT)
    assert expected["why"].endswith("it would not end by itself")
    done = move(busy.a, rate=RATE, limit=LIMIT)
    assert not done.get("failed"), done
    assert done["vms"][BUSY.name]["mode"] == "live"
    assert done["vms"][BUSY.name]["interruption"] <= expected["expected_interruption"] + LONGEST
    assert time.monotonic() - watch < LIMIT + expected["expected_interruption"] + BESIDES
    well(busy, busy.b, began)


@pytest.mark.long
def test_it_is_refused_before_anything_is_changed_where_that_is_the_policy(busy: Busy) -> None:
    began = time.time()
    for policy in ({"fallback": "refuse"}, {"max_pause": 5}):
        done = move(busy.a, rate=RATE, limit=LIMIT, **policy)
        assert (done["failed"], done["kind"]) == (True, "Refused"), done
        assert f"VM {BUSY.name} {'cannot move while it runs' if 'fallback' in policy else 'would stand still for'}" in done["msg"]
    assert "unsecure" not in busy.a.sh(f"cat {JOURNAL} 2>/dev/null || true")
    well(busy, busy.a, began)


@pytest.mark.long
def test_it_is_given_up_and_everything_comes_back_when_it_may_not_be_paused(busy: Busy) -> None:
    began, watch = time.time(), time.monotonic()
    done = move(busy.a, wish="live", rate=RATE, limit=TOO_SHORT)
    assert done["failed"] and done["undone"], done
    assert "so the migration was undone, and hva goes on as the ACTIVE host" in done["msg"]
    assert time.monotonic() - watch < TOO_SHORT + BESIDES
    well(busy, busy.a, began)
    again = move(busy.a, wish="direct")
    assert not again.get("failed"), again
    well(busy, busy.b, began)


# ---- ended by an operator


def moved(host: Host) -> list[str]:
    """VMs that have moved, as that host's journal has it."""
    text = host.sh(f"cat {JOURNAL} 2>/dev/null || true")
    return list(json.loads(text).get("moved", ())) if text else []


def is_moving(host: Host) -> bool:
    return any("State: MOVING, the VMs are on both hosts" in line for line in hvm(host, "status --all"))


def begun(world: World) -> subprocess.Popen[str]:
    """A move of which at least one VM is through, and not all."""
    process = world.a.begin("move", rate=SLOWLY)
    deadline = time.monotonic() + BESIDES
    while not moved(world.a):
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline, "no VM moves"
        time.sleep(0.5)
    assert is_moving(world.a)
    assert process.poll() is None, finish(process)
    return process


@pytest.mark.long
def test_cancelled_in_its_midst_all_come_back_and_move_the_next_time(world: World) -> None:
    began = time.time()
    process = begun(world)
    assert any("is told to end" in line for line in hvm(world.a, "cancel"))
    done = finish(process)
    assert done["failed"] and done["undone"], done
    assert not is_moving(world.a)
    well(world, world.a, began)
    hvm(world.a, "migrate unsecure")
    well(world, world.b, began)


@pytest.mark.long
@pytest.mark.parametrize("then", ["migrate unsecure", "recover"])
def test_cancelled_to_stay_they_run_on_both_hosts_until_somebody_goes_on_or_back(world: World, then: str) -> None:
    began = time.time()
    process = begun(world)
    hvm(world.a, "cancel --stay")
    done = finish(process)
    assert done["failed"] and "stay on hvb" in done["msg"], done
    there = moved(world.a)
    assert 0 < len(there) < len(world.names)
    assert is_moving(world.a) and is_moving(world.b)
    world.heard()
    seen = {name: [stay.host for stay in report.hosts][-1] for name, report in world.reports(began).items()}
    assert seen == {name: "hvb" if name in there else "hva" for name in world.names}
    hvm(world.a, then)
    well(world, world.b if then == "migrate unsecure" else world.a, began)
