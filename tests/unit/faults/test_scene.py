# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess
import sys
import time
import types

import _scene
import pytest
from _machines import process_start


def said(**advice):
    """What status prints: host -> what it says comes next."""
    return "".join(f'ok: [{host}] => {{\n        "Next: {text}"\n}}\n' for host, text in advice.items())


class Node:
    """A control node of which each look at the status gives the next of these, and which notes what else it is to run."""

    def __init__(self, *looks):
        self.looks, self.ran = list(looks), []

    def run(self, playbook, *words):
        self.ran.append(" ".join([playbook, *words]))
        return types.SimpleNamespace(output="", tail=lambda *dummy: "", process=types.SimpleNamespace(returncode=0))

    def module(self, host, name, *words):
        return self.run(f"{host}: {name}", *words)


@pytest.fixture
def world(monkeypatch):
    made = object.__new__(_scene.World)
    made.a, made.b = types.SimpleNamespace(name="hva"), types.SimpleNamespace(name="hvb")
    monkeypatch.setattr(made, "on", lambda: [made.a, made.b])
    monkeypatch.setattr(made, "at_rest", lambda: None)
    monkeypatch.setattr(made, "status", lambda: made.node.looks.pop(0))
    return made


RECOVER = "hvm.pair.recover: it was ACTIVE before it rebooted"
REJOIN = "hvm.pair.rejoin, on the host that goes on, shows what it holds that the other lacks"


def test_what_status_advises_is_run_until_it_has_no_advice(world):
    world.node = Node(said(hva=RECOVER), said(hva="hvm_vm state=restored for echo, if not saved on purpose"), "")
    assert world.follow_advice() == ["recover", "hvm_vm state=restored name=echo"]
    assert world.node.ran == ["recover", "hva: hvm_vm state=restored name=echo"]


def test_nothing_is_run_without_advice(world):
    world.node = Node("")
    assert world.follow_advice() == []
    assert world.node.ran == []


def test_a_host_that_is_off_is_named(world, monkeypatch):
    monkeypatch.setattr(world, "on", lambda: [world.b])
    world.node = Node(said(hvb=RECOVER), "")
    assert world.follow_advice() == ["recover hvm_peer_is_down=hva"]


def test_what_a_host_has_of_its_own_may_go_once_it_was_shown(world):
    world.node = Node(said(hva=REJOIN), said(hva=REJOIN), "")
    assert world.follow_advice() == ["rejoin", "rejoin hvm_rejoin=discard hvm_discard=hva"]


def test_advice_without_end_is_a_fault(world):
    world.node = Node(*[said(hva=RECOVER)] * 9)
    with pytest.raises(_scene.Trouble, match="after recover, recover, recover status still says"):
        world.follow_advice()


@pytest.mark.parametrize(
    ("what", "words", "typed"),
    [
        ("recover", ["hvm_peer_is_down=hva"], "hvm recover --peer-is-down hva"),
        ("failover", ["hvm_dead_host=hva"], "hvm failover --dead-host hva"),
        ("migrate_unsecure", [], "hvm migrate unsecure"),
        ("rejoin", ["hvm_rejoin=discard", "hvm_discard=hva"], "hvm rejoin --rejoin discard --discard hva"),
        ("hvm_vm", ["state=restored", "name=alpha,echo"], "hvm vm restore alpha echo"),
    ],
)
def test_what_is_typed_for_a_playbook_or_a_module(what, words, typed):
    assert _scene.command(what, words) == typed


def test_a_command_is_typed_where_it_was_refused_to(world, monkeypatch):
    typed = []

    def type_there(host, command):
        typed.append((host.name, command))
        refused = host.name == "hva"
        output = "recover was refused. hvb was ACTIVE later. Go on there, on hvb." if refused else "done"
        return types.SimpleNamespace(
            output=output, wait=lambda: None, tail=lambda *dummy: output, process=types.SimpleNamespace(returncode=3 * refused)
        )

    monkeypatch.setattr(_scene, "typed", type_there)
    world.node, world.typing = Node(said(hva=RECOVER), ""), True
    assert world.follow_advice() == ["recover"]
    assert (typed, world.node.ran) == ([("hva", "hvm recover"), ("hvb", "hvm recover")], [])


@pytest.mark.parametrize("active", ["hva", "hvb"])
def test_the_next_cell_goes_on_from_a_pair_that_is_whole(world, monkeypatch, active):
    done = []
    world.node = types.SimpleNamespace(forget=lambda: done.append("forget"))
    monkeypatch.setattr(world, "fresh", lambda: done.append("fresh"))
    monkeypatch.setattr(world, "listen", lambda: done.append("listen"))
    world.names, world._before, world._whole = ["alpha", "echo"], {"alpha": 3}, None
    host, other = (world.a, world.b) if active == "hva" else (world.b, world.a)
    world.is_whole(host, ["alpha"])  # echo has stayed off
    world.go_on()
    world.is_whole(host, ["echo", "alpha"])
    world.go_on()
    assert (done, world.a, world.b, world.floor) == (["fresh", "forget", "listen"], host, other, {"alpha": 3})
    world.go_on()
    assert done[-1] == "fresh", "a cell that did not pass is gone on from"


def test_a_pair_that_is_there_is_taken_as_it_is_and_the_first_cell_goes_on_from_it(world, monkeypatch, tmp_path):
    done = []
    world.node, world.names = types.SimpleNamespace(forget=lambda: None), ["alpha", "echo"]
    world.lab = types.SimpleNamespace(save=lambda name: done.append(f"save {name}"), dir=tmp_path)
    (tmp_path / "faults.json").write_text('{"version": "of another pair"}')
    for name in ("arm", "listen", "heard", "fresh"):
        monkeypatch.setattr(world, name, lambda *words, name=name: done.append(" ".join([name, *(one.name for one in words)])))
    monkeypatch.setattr(world, "active", lambda: world.b)

    def next_backup(active):
        world._before = {"alpha": 7, "echo": 9}
        done.append(f"backup of {active.name}")
        return []

    monkeypatch.setattr(world, "next_backup", next_backup)
    world.take_over()
    assert done == ["arm hva", "arm hvb", "listen", "backup of hvb", "heard", "save faults"]
    assert not list(tmp_path.iterdir()), "what was known of the state before"
    world.go_on()
    assert (world.a.name, world.floor) == ("hvb", {"alpha": 7, "echo": 9})
    assert "fresh" not in done


def shows(world, **now):
    """Each host says in which role it is; None: it cannot be looked at."""
    for host in (world.a, world.b):
        found = {"host": host.name, "role": {"now": now[host.name]}} if now[host.name] else {"failed": True, "msg": "no python"}
        words = ["echo", json.dumps(found)]
        host.begin = lambda what, words=words: subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_active_host_is_the_only_one_that_says_so(world):
    shows(world, hva="PASSIVE", hvb="ACTIVE")
    looks = world.looks()
    assert [one["role"]["now"] for one in looks] == ["PASSIVE", "ACTIVE"]
    assert world.active() is world.active(looks) is world.b
    assert world.observe(world.a) == looks[0]
    shows(world, hva="ACTIVE", hvb="ACTIVE")
    assert world.active(looks) is world.b  # nobody is asked again
    with pytest.raises(_scene.Trouble, match="2 hosts are ACTIVE"):
        world.active()
    shows(world, hva="ACTIVE", hvb=None)
    with pytest.raises(_scene.Trouble, match="hvb cannot be looked at: no python"):
        world.active()


def test_a_control_node_has_connections_of_its_own_and_notices_soon_that_a_host_is_gone(tmp_path):
    lab = types.SimpleNamespace(dir=tmp_path, ssh_options=lambda: ["-oServerAliveInterval=10"])
    nodes = [_scene.ControlNode(lab, name) for name in ("cn1", "cn2")]
    found = [json.loads((tmp_path / f"inventory-{node.name}.json").read_text())["hvm"]["vars"] for node in nodes]
    paths = [f"-oControlPath={tmp_path}/{node.name}-%C" for node in nodes]
    assert all(path in one["ansible_ssh_common_args"] for path, one in zip(paths, found, strict=True))
    # Ansible puts these before the common ones, and ssh takes what comes first
    assert {one["ansible_ssh_args"] for one in found} == {_scene.KEEPALIVE}


@pytest.mark.parametrize(("fails", "worked"), [(0, True), (2, True), (9, False)])
def test_a_pool_is_filled_although_something_is_written_meanwhile(tmp_path, fails, worked):
    tool = tmp_path / "zfs"
    tool.write_text(
        f"""#!/bin/sh
if [ "$1" = get ]; then echo 1000000; exit 0; fi
echo "$@" >> {tmp_path}/did
[ $(wc -l < {tmp_path}/did) -gt {fails} ]
"""
    )
    tool.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", _scene.FILL.format(filler="f")], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, check=False
    )
    assert (done.returncode == 0) == worked
    did = (tmp_path / "did").read_text().splitlines()
    one = "create -o mountpoint=none -o canmount=off -o reservation=737856"
    assert did == ([*[f"{one} ssd/f"] * (fails + 1), f"{one} rot/f"] if worked else [f"{one} ssd/f"] * 5)


def test_a_run_is_killed_with_all_that_it_has_started():
    run = _scene.Run(["sh", "-c", "echo begun; setsid sleep 60 & wait"], "x")
    end = time.monotonic() + 20
    while "begun" not in run.output or not _scene.below(run.process.pid):
        assert time.monotonic() < end
        time.sleep(0.01)
    children = _scene.below(run.process.pid)
    run.kill()
    assert run.process.returncode == -9
    while any(process_start(pid) for pid in children):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_run_goes_on_to_write_where_it_was_when_its_output_is_read():
    code = "import sys\nfor n in range(200): print(n, flush=True)"
    run = _scene.Run([sys.executable, "-c", code], "x")
    while run.running():
        assert len(run.output) >= 0
    assert run.wait()
    assert run.output.split() == [str(number) for number in range(200)]


def test_a_run_that_does_not_end_is_a_fault():
    with pytest.raises(_scene.Trouble, match="sleep does not end within 0 s"):
        _scene.Run(["sleep", "60"], "sleep").wait(0.2)
