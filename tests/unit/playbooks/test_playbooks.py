# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the playbooks ask of which host and in which order, by ansible-playbook: the modules are replaced by one that says what it
is told to. What the modules do is tested with them."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing as t

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
ANSIBLE = pathlib.Path(sys.executable).with_name("ansible-playbook")

# An old-style module: it gets the name of a file with its arguments, and says JSON (WANT_JSON).
OLD_STYLE = """#!/usr/bin/python
# WANT_JSON
import json, os, sys

arguments = json.load(open(sys.argv[1]))
check = arguments.get("_ansible_check_mode", False)
host = os.path.basename(arguments["_ansible_remote_tmp"])
name = "NAME"
told = {k: v for k, v in arguments.items() if not k.startswith("_ansible")}
with open("WORLD/log", "a") as log:
    log.write(json.dumps([host, name, told, check]) + chr(10))
answers = json.load(open("WORLD/answers.json"))
found = answers.get(host, {}).get(name, {"changed": False})
if isinstance(found, list):
    count = sum(json.loads(line)[:2] == [host, name] for line in open("WORLD/log"))
    found = found[min(count, len(found)) - 1]
print(json.dumps(found))
"""

#: Connection to a host that is off.
DEAD = """
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = "name: dead\\nshort_description: nobody there\\ndescription: nobody there\\noptions: {}"


class Connection(ConnectionBase):
    transport = "hvm.pair.dead"

    def _connect(self, *dummy, **dummy_words):
        raise AnsibleConnectionFailure("no route to host")

    exec_command = put_file = fetch_file = close = _connect
"""


class Run(t.NamedTuple):
    """:ivar text: what was printed, as one line.
    :ivar asked: ``[host, module, arguments, check mode?]``, in order.
    """

    failed: bool
    text: str
    asked: list[list[t.Any]]

    def calls(self) -> list[tuple[str, str]]:
        return [(host, name.removeprefix("hvm_")) for host, name, *_rest in self.asked]

    def told(self, name: str) -> dict[str, t.Any]:
        (found,) = [arguments for _host, asked, arguments, _check in self.asked if asked == name]
        return found


class World:
    """The collection's playbooks and filters, with modules that answer what `answers` says: host -> module -> result, or one for
    each time that it is asked."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        tree = directory / "collections" / "ansible_collections" / "hvm" / "pair"
        for part in ("playbooks", "meta", "plugins/filter", "plugins/module_utils", "plugins/plugin_utils"):
            shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "galaxy.yml", tree)
        (tree / "plugins/modules").mkdir()
        for module in (ROOT / "plugins/modules").glob("hvm_*.py"):
            text = OLD_STYLE.replace("NAME", module.stem).replace("WORLD", str(directory))
            (tree / "plugins/modules" / module.name).write_text(text)
        self._disarm(tree / "playbooks/shutdown.yml")
        self.inventory = directory / "inventory"
        line = "{0} ansible_connection=local ansible_remote_tmp={1}/tmp/{0} ansible_python_interpreter={2}\n"
        self.inventory.write_text("[hvm]\n" + "".join(line.format(name, directory, sys.executable) for name in ("hv1", "hv2")))
        self.answers: dict[str, dict[str, t.Any]] = {"hv1": {}, "hv2": {}}

    def lose(self, host: str) -> None:
        """The controller cannot reach it."""
        plugins = self.directory / "collections/ansible_collections/hvm/pair/plugins/connection"
        plugins.mkdir(exist_ok=True)
        (plugins / "dead.py").write_text(DEAD)
        line = f"{host} ansible_connection="
        self.inventory.write_text(self.inventory.read_text().replace(f"{line}local", f"{line}hvm.pair.dead"))

    def _disarm(self, playbook: pathlib.Path) -> None:
        """This machine stays on: its command that switches a host off only says that it was asked."""
        fake = self.directory / "systemd-run"
        fake.write_text(f'#!/bin/sh\necho "[\\"hv1\\", \\"$1 $4 $6 $7\\", {{}}, false]" >> {self.directory}/log\n')
        fake.chmod(0o755)
        text = playbook.read_text()
        assert text.count("argv: [systemd-run,") == text.count("poweroff") == 1
        text = text.replace("argv: [systemd-run,", f"argv: [{fake},")
        # nobody listens there: the host is seen off
        assert text.count("port: 22\n") == 1
        playbook.write_text(text.replace("port: 22\n", "port: 1\n"))

    def play(self, name: str, *words: str) -> Run:
        log = self.directory / "log"
        log.write_text("")
        (self.directory / "answers.json").write_text(json.dumps(self.answers))
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(self.directory / "collections"),
            "ANSIBLE_HOME": str(self.directory / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_STDOUT_CALLBACK": "default",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        }
        command = [str(ANSIBLE), "-f", "1", "-i", str(self.inventory), f"hvm.pair.{name}", *words]
        made = subprocess.run(
            command, env=environment, cwd=self.directory, capture_output=True, text=True, timeout=300, check=False
        )
        asked = [json.loads(line) for line in log.read_text().splitlines()]
        return Run(made.returncode != 0, " ".join((made.stdout + made.stderr).split()), asked)


@pytest.fixture(name="world")
def _world(tmp_path: pathlib.Path) -> World:
    if not ANSIBLE.exists():
        pytest.skip("no ansible-playbook beside this Python")
    return World(tmp_path)


def look(role: str, **more: t.Any) -> dict[str, t.Any]:
    """What hvm_info says of hv1."""
    on = role == "ACTIVE"
    words = [("running", "stopped"), ("enabled", "disabled"), ("running", "stopped")]
    subjects = ("Hypervisor", "Shared IP", "VMs")
    hvm = {
        "host": "hv1", "peer": "hv2", "pair": "p", "address": "127.0.0.1", "vms": {}, "pools": {}, "sets": [], "lock": None,
        "pending": None, "hypervisor": {"running": on}, "qemu": [], "not_inert": [], "saved": [],
        "role": {"now": role, "epoch": 3, "reason": "so", "role": role},
        "shared_ip": {"in_use_by_us": False}, **more,
    }  # fmt: skip
    status = [f"{subject} is {pair[not on]}".replace("VMs is", "VMs are") for subject, pair in zip(subjects, words, strict=True)]
    return {"changed": False, "hvm": hvm, "status": status}


def acts(host: str, yes: bool) -> dict[str, t.Any]:
    return {"changed": False, "acts": yes, "active": host, "sentence": "so", "role": "ACTIVE"}


MOVED = {"changed": True, "active": "hv2", "vms": {}, "set": "hvm_x_B", "steps": [], "window": 0.0, "bytes": 1}
STARTED = {"changed": True, "role": "ACTIVE", "epoch": 4, "plan": ["mount the datasets", "start libvirt"]}


def test_hv_start_is_for_the_host_that_was_active_last(world: World) -> None:
    world.answers["hv1"] = {"hvm_preflight": acts("hv2", False)}
    world.answers["hv2"] = {"hvm_preflight": acts("hv2", True), "hvm_hypervisor": STARTED}
    run = world.play("hv_start")
    assert not run.failed, run.text
    assert run.calls() == [("hv1", "preflight"), ("hv2", "preflight"), ("hv2", "hypervisor")]
    assert run.told("hvm_hypervisor") == {"state": "started", "peer_is_down": ""}
    assert "Hypervisor is running (ACTIVE, epoch 4)" in run.text and "start libvirt" in run.text and "Next: The VMs:" in run.text
    named = world.play("hv_start", "--check", "-e", "hvm_start_host=hv2")
    assert named.asked == [["hv2", "hvm_hypervisor", {"state": "started", "peer_is_down": ""}, True]]
    assert "Plan (nothing was changed):" in named.text
    elsewhere = world.play("hv_start", "--limit", "hv1")
    assert elsewhere.failed and elsewhere.calls() == [("hv1", "preflight")]
    assert "hv2 is to be started and is not in this run (--limit?): nothing was done." in elsewhere.text


def test_a_host_that_the_controller_does_not_see_hinders_nothing_and_is_no_success(world: World) -> None:
    world.lose("hv1")
    world.answers["hv2"] = {"hvm_preflight": acts("hv2", True), "hvm_hypervisor": STARTED}
    run = world.play("hv_start")
    assert run.calls() == [("hv2", "preflight"), ("hv2", "hypervisor")]
    assert run.failed and "no route to host. The work was done all the same, by hv2." in run.text
    known = world.play("hv_start", "-e", "hvm_peer_is_down=hv1")
    assert not known.failed, known.text
    assert known.told("hvm_hypervisor") == {"state": "started", "peer_is_down": "hv1"}


#: Each word that says of a host that it is off, and what is not done then.
SAID_OFF = [
    ("hv_start", "hvm_peer_is_down=hv2", "hvm_hypervisor"),
    ("recover", "hvm_peer_is_down=hv2", "hvm_recover"),
    ("failover", "hvm_dead_host=hv2", "hvm_failover"),
    ("rejoin", "hvm_dead_host=hv2 hvm_winner=hv1", "hvm_rejoin"),
]


@pytest.mark.parametrize(("name", "words", "module"), SAID_OFF)
def test_no_host_that_the_controller_reaches_is_taken_for_off(world: World, name: str, words: str, module: str) -> None:
    """The link between the two is cut, so neither knows of the other; hv2 is ACTIVE."""
    world.answers["hv1"] = {"hvm_preflight": acts("hv1", True), "hvm_recover": {**STARTS, "peer_answers": False}}
    world.answers["hv2"] = {"hvm_recover": {**decided("", "nothing to recover", role="ACTIVE"), "peer_answers": False}}
    run = world.play(name, "-e", words)
    assert run.failed and "hv2 is said to be off" in run.text and "was reached by this run: nothing was done" in run.text
    assert not [asked for _host, asked, _told, check in run.asked if asked == module and (name != "recover" or not check)]


def test_two_hosts_that_each_name_the_other_one_do_nothing(world: World) -> None:
    """Asked one after the other, in the midst of a change of roles."""
    world.answers = {"hv1": {"hvm_preflight": acts("hv2", False)}, "hv2": {"hvm_preflight": acts("hv1", False)}}
    run = world.play("migrate_secure")
    assert run.failed and {name for _host, name in run.calls()} == {"preflight"}
    assert "each name the other one: their roles have just changed, and nothing was done" in run.text


def test_recover_that_reaches_only_the_host_that_waits_is_no_success(world: World) -> None:
    world.lose("hv1")
    world.answers["hv2"] = {"hvm_recover": [decided("elsewhere", "hv1 recovers first")] * 2}
    run = world.play("recover")
    assert run.failed and "hv1 recovers first. That host was not reached by this run: nothing was done there." in run.text


def test_hv_stop_is_for_every_host_of_the_run(world: World) -> None:
    world.answers["hv1"] = {"hvm_hypervisor": {**STARTED, "plan": ["stop libvirt, shut the gate"]}}
    world.answers["hv2"] = {"hvm_hypervisor": {"changed": False, "role": "PASSIVE", "epoch": 4, "plan": []}}
    run = world.play("hv_stop")
    assert not run.failed, run.text
    assert run.asked == [[host, "hvm_hypervisor", {"state": "stopped"}, False] for host in ("hv1", "hv2")]
    assert "stop libvirt, shut the gate" in run.text
    assert "Hypervisor is stopped already (PASSIVE, epoch 4): nothing to do" in run.text


def test_rollback_is_asked_of_one_host_and_says_what_was_newer(world: World) -> None:
    done = {
        "changed": True, "do": "rollback", "set": "hvm_20261123T094512Z_p_B", "stamp": "s", "kept": ["t/vm-hvm-kept-s"],
        "datasets": {"t/vm": {"comes_back": True, "newer": ["a", "b"], "written": 2048, "kept": "k"}}, "plan": ["zfs rename a b"],
        "state_images": ["web"], "replica": {"host": "hv2", "do": "rollback", "set": "hvm_x", "in_step": True}, "warnings": [],
    }  # fmt: skip
    world.answers["hv1"] = {"hvm_preflight": acts("hv1", True), "hvm_zfs_rollback": done}
    world.answers["hv2"] = {"hvm_preflight": acts("hv1", False)}
    run = world.play("rollback", "-e", "hvm_rollback_to=last_state", "--check")
    assert not run.failed, run.text
    assert run.calls() == [("hv1", "preflight"), ("hv1", "zfs_rollback")]
    assert run.told("hvm_zfs_rollback") == {"to": "last_state"}
    assert "t/vm: 2 newer snapshots, 2.0 KiB written since" in run.text
    assert "zfs rename a b" in run.text and "hv2 would follow to hvm_x" in run.text
    assert run.told("hvm_preflight") == {"operation": "rollback"}
    follow = world.play("rollback", "-e", "hvm_rollback_state=followed")
    assert follow.told("hvm_preflight") == {"operation": "follow"}  # which VMs that run do not hinder
    world.answers["hv1"]["hvm_preflight"] = {"failed": True, "msg": "rollback is refused: the hypervisor is running"}
    refused = world.play("rollback")
    assert refused.failed and "zfs_rollback" not in str(refused.calls())


def test_shutdown_empties_an_active_host_first_and_looks_again(world: World) -> None:
    world.answers["hv1"] = {
        "hvm_info": [look("ACTIVE"), look("PASSIVE")], "hvm_preflight": acts("hv1", True), "hvm_switchover": MOVED
    }  # fmt: skip
    world.answers["hv2"] = {"hvm_info": look("PASSIVE")}
    run = world.play("shutdown", "-e", "hvm_shutdown_host=hv1")
    assert not run.failed, run.text
    switched_off = ("hv1", "--quiet --timer-property=AccuracySec=100ms poweroff ")
    before = [("hv1", "info"), ("hv1", "preflight"), ("hv1", "switchover")]
    assert run.calls() == [*before, ("hv1", "info"), switched_off]
    assert "hv1 was PASSIVE, and is switched off. hv2 goes on without a copy until it is back." in run.text


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (look("UNKNOWN"), "hv1 is UNKNOWN"),
        (look("PASSIVE", lock="sync by root on hv2"), "Running now: sync by root on hv2"),
        ({**look("PASSIVE"), "status": ["Hypervisor is stopped", "Shared IP is enabled", "VMs are stopped"]}, "IP is enabled"),
        (look("PASSIVE", shared_ip={"in_use_by_us": True}), "this run comes in over the shared IP"),
    ],
)
def test_a_host_that_is_not_passive_and_at_rest_stays_on(world: World, found: dict[str, t.Any], sentence: str) -> None:
    world.answers = {"hv1": {"hvm_info": found}, "hv2": {"hvm_info": look("ACTIVE")}}
    run = world.play("shutdown", "-e", "hvm_shutdown_host=hv1")
    assert run.failed and sentence in run.text
    assert {name for _host, name in run.calls()} == {"info"}


def test_shutdown_does_not_say_that_a_host_is_off_which_nobody_looked_at(world: World) -> None:
    world.answers["hv1"]["hvm_info"] = look("PASSIVE")
    run = world.play("shutdown", "--limit", "hv1", "-e", "hvm_shutdown_host=hv1")
    assert not run.failed, run.text
    assert "hv1 was PASSIVE, and was told to switch itself off: nobody has seen that it did, since hv2" in run.text


def test_a_list_of_snapshots_that_there_is_not_is_named(world: World) -> None:
    run = world.play("snapshots", "-e", "hvm_list=date")
    assert run.failed and "hvm_list is date, and must be one of dates, all, lasts." in run.text


def test_shutdown_plans_in_check_mode_and_wants_a_name(world: World) -> None:
    plan = {"changed": True, "active": "hv2", "vms": {}, "plan": ["save web"]}
    world.answers["hv1"] = {"hvm_info": look("ACTIVE"), "hvm_preflight": acts("hv1", True), "hvm_switchover": plan}
    world.answers["hv2"] = {"hvm_info": look("PASSIVE")}
    run = world.play("shutdown", "--check", "-e", "hvm_shutdown_host=hv1")
    assert not run.failed, run.text
    assert run.calls() == [("hv1", "info"), ("hv1", "preflight"), ("hv1", "switchover")]
    assert "save web" in run.text and "hv1 would be PASSIVE, and would be switched off" in run.text
    nameless = world.play("shutdown")
    assert nameless.failed and nameless.asked == []
    assert "hvm_shutdown_host is not given, and it must be one of hv1, hv2" in nameless.text


def test_vms_move_from_the_active_host_as_was_said(world: World) -> None:
    moved = {**MOVED, "vms": {"web": {"mode": "live", "interruption": 1.7}}}
    world.answers["hv1"] = {"hvm_preflight": acts("hv1", True), "hvm_move": moved}
    world.answers["hv2"] = {"hvm_preflight": acts("hv1", False)}
    run = world.play("migrate_unsecure", "-e", "hvm_move_mode=direct hvm_on_failure=stay hvm_move_rate=100")
    assert not run.failed, run.text
    assert run.calls() == [("hv1", "preflight"), ("hv1", "move")]
    assert {told["operation"] for _host, name, told, _check in run.asked if name == "hvm_preflight"} == {"migrate_unsecure"}
    assert run.told("hvm_move") == {"mode": "direct", "on_failure": "stay", "rate": "100"}
    assert "web 1.7 s live" in run.text
    elsewhere = world.play("migrate_unsecure", "--limit", "hv2")
    assert elsewhere.failed and elsewhere.calls() == [("hv2", "preflight")]
    assert "hv1 is ACTIVE and is not in this run (--limit?): nothing was done." in elsewhere.text


# ---- after something went wrong


def decided(do: str, sentence: str, **more: t.Any) -> dict[str, t.Any]:
    """What hvm_recover, hvm_failover or hvm_rejoin says."""
    return {
        "changed": do not in ("", "elsewhere"), "do": do, "sentence": sentence, "role": "PASSIVE", "epoch": 4,
        "peer_answers": True, "plan": [], "vms": {}, "left": [], "steps": [], **more,
    }  # fmt: skip


STARTS = decided("start", "hv1 becomes ACTIVE", role="ACTIVE", plan=["mount the datasets"], vms={"web": "web restored"})
WAITS, FOLLOWS = decided("elsewhere", "hv1 recovers first"), decided("pass", "hv1 is ACTIVE: hv2 stays PASSIVE")
JOINED = decided("join", "hv2 becomes PASSIVE in epoch 4")


def crashed(world: World) -> None:
    world.answers["hv1"] = {"hvm_recover": STARTS, "hvm_rejoin": JOINED}
    world.answers["hv2"] = {"hvm_recover": [WAITS, FOLLOWS]}


def test_recover_starts_one_then_the_other_follows_then_comes_back(world: World) -> None:
    crashed(world)
    run = world.play("recover")
    assert not run.failed, run.text
    word = {"peer_is_down": "", "give_up": ""}
    assert run.asked == [
        ["hv1", "hvm_recover", word, True],
        ["hv2", "hvm_recover", word, True],
        ["hv1", "hvm_recover", word, False],
        ["hv2", "hvm_recover", word, False],
        ["hv1", "hvm_rejoin", {}, False],  # what hv2 has of its own is the operator's to decide
    ]
    for sentence in ("hv1 becomes ACTIVE", "web restored", "hv2 stays PASSIVE", "hv2 becomes PASSIVE in epoch 4"):
        assert sentence in run.text
    assert "hv1 recovers first" not in run.text.split("TASK [Report]")[1]  # that was before


def test_recover_in_check_mode_only_looks(world: World) -> None:
    crashed(world)
    run = world.play("recover", "--check")
    assert not run.failed, run.text
    assert {(name, check) for _host, name, _told, check in run.asked} == {("hvm_recover", True)}
    assert "Plan (nothing was changed):" in run.text and "mount the datasets" in run.text


def test_recover_goes_on_without_a_host_that_cannot_be_reached(world: World) -> None:
    crashed(world)
    world.lose("hv2")
    world.answers["hv1"]["hvm_recover"] = {**STARTS, "peer_answers": False}
    run = world.play("recover", "-e", "hvm_peer_is_down=hv2")
    assert not run.failed, run.text
    assert run.calls() == [("hv1", "recover"), ("hv1", "recover")]
    assert {told["peer_is_down"] for _host, _name, told, _check in run.asked} == {"hv2"}
    assert "hv1 becomes ACTIVE" in run.text and "web restored" in run.text


@pytest.mark.parametrize(("name", "words"), [("recover", []), ("failover", ["-e", "hvm_dead_host=hv1"])])
def test_a_pair_of_which_no_host_can_be_reached_is_no_success(world: World, name: str, words: list[str]) -> None:
    """Seen on the lab: the survivor lost its power in a failover, and the run ended well."""
    crashed(world)
    for host in ("hv1", "hv2"):
        world.lose(host)
    run = world.play(name, *words)
    assert run.failed and "no host of the pair answers" in run.text
    assert run.asked == []


@pytest.mark.parametrize("name", ["recover", "failover"])
def test_a_run_limited_to_a_lost_host_says_that_the_other_one_was_not_asked(world: World, name: str) -> None:
    """As AWX's relaunch on failed hosts does it: what fails is the leader's."""
    world.lose("hv1")
    inventory = world.inventory.read_text()
    world.inventory.write_text(inventory + "[hvm:vars]\nhvm_hosts=['hv1', 'hv2']\n")
    run = world.play(name, "--limit", "hv1")
    assert run.failed and "hv1: it does not answer" in run.text
    assert "hv2 is not in this run (--limit?): run this for the whole pair." in run.text


def test_recover_asks_a_host_to_come_back_also_when_nothing_else_is_left_to_do(world: World) -> None:
    world.answers["hv1"] = {"hvm_recover": decided("", "nothing to recover", role="ACTIVE"), "hvm_rejoin": decided("", "so")}
    world.answers["hv2"] = {"hvm_recover": decided("elsewhere", "hvm.pair.rejoin comes next", role="UNKNOWN")}
    run = world.play("recover")
    assert not run.failed, run.text
    assert run.calls() == [("hv1", "recover"), ("hv2", "recover"), ("hv2", "recover"), ("hv1", "rejoin")]
    assert "changed=0" in run.text.split("PLAY RECAP")[1].split("hv2")[0]


def test_recover_that_fails_on_one_host_lets_the_other_one_follow(world: World) -> None:
    crashed(world)
    world.answers["hv1"]["hvm_recover"] = [STARTS, {"failed": True, "msg": "hv1 is ACTIVE, but not everything runs: db: no"}]
    run = world.play("recover")
    assert run.failed and "not everything runs: db: no" in run.text
    assert run.calls()[2:] == [("hv1", "recover"), ("hv2", "recover")]
    assert "hv2 stays PASSIVE" in run.text


TAKEN = decided("take over", "hv1 becomes ACTIVE in epoch 6", role="ACTIVE", lost={"lines": ["VM web: loses 12 min"]})


def test_failover_without_a_word_shows_what_would_be_lost(world: World) -> None:
    world.lose("hv2")
    refused = "failover is refused: hv2 does not answer\nVM web: loses 12 min"
    world.answers["hv1"] = {"hvm_failover": {"failed": True, "msg": refused}}
    world.answers["hv1"]["hvm_info"] = look("PASSIVE")
    run = world.play("failover")
    assert run.failed and "VM web: loses 12 min" in run.text
    told = {"dead_host": "", "give_up": "", "fence": []}
    assert run.asked == [["hv1", "hvm_info", {}, False], ["hv1", "hvm_failover", told, False]]


def test_failover_passes_the_operators_words_on(world: World) -> None:
    world.answers["hv1"] = {"hvm_failover": {**TAKEN, "plan": ["fence hv2: ipmitool"]}}
    words = {"hvm_dead_host": "hv2", "hvm_give_up": "hv3", "hvm_fence": ["ipmitool", "off"], "hvm_failover_to": "last_state"}
    run = world.play("failover", "--check", "-e", json.dumps({**words, "hvm_target": "hv1"}))
    assert not run.failed, run.text
    told = {"dead_host": "hv2", "give_up": "hv3", "fence": ["ipmitool", "off"], "to": "last_state"}
    assert run.asked == [["hv1", "hvm_failover", told, True]]
    for sentence in ("hv1 becomes ACTIVE in epoch 6", "VM web: loses 12 min", "fence hv2: ipmitool"):
        assert sentence in run.text


def other(role: str) -> dict[str, t.Any]:
    """What hvm_info says of hv2."""
    return look(role, host="hv2", peer="hv1")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({}, {"discard": "", "winner": ""}),
        ({"hvm_rejoin": "keep"}, {"choice": "keep", "discard": "", "winner": ""}),
        ({"hvm_rejoin": "discard", "hvm_discard": "hv2"}, {"choice": "discard", "discard": "hv2", "winner": ""}),
    ],
)
def test_rejoin_is_for_the_active_host(world: World, words: dict[str, str], told: dict[str, str]) -> None:
    world.answers = {"hv1": {"hvm_info": look("ACTIVE"), "hvm_rejoin": {**JOINED, "kept": ["ssd/a-hvm-kept-s"]}}}
    world.answers["hv2"] = {"hvm_info": other("UNKNOWN")}
    run = world.play("rejoin", "-e", json.dumps(words))
    assert not run.failed, run.text
    assert run.calls() == [("hv1", "info"), ("hv2", "info"), ("hv1", "rejoin")]
    assert run.told("hvm_rejoin") == told
    assert "hv2 becomes PASSIVE in epoch 4" in run.text and "ssd/a-hvm-kept-s" in run.text


@pytest.mark.parametrize("role", ["ACTIVE", "UNKNOWN"])
def test_rejoin_is_for_the_winner_when_one_is_named(world: World, role: str) -> None:
    won = decided("win", "hv2 wins", role="ACTIVE", vms={"web": "web started"})
    world.answers = {"hv1": {"hvm_info": look(role)}, "hv2": {"hvm_info": other("DIVERGED"), "hvm_rejoin": won}}
    run = world.play("rejoin", "--check", "-e", "hvm_winner=hv2")
    assert not run.failed, run.text
    assert run.calls() == [("hv2", "rejoin")]
    assert run.asked[-1] == ["hv2", "hvm_rejoin", {"discard": "", "winner": "hv2"}, True]


def test_a_winner_whose_other_host_is_lost_is_told_so(world: World) -> None:
    world.answers = {"hv2": {"hvm_rejoin": decided("win", "hv2 wins", role="ACTIVE")}}
    world.lose("hv1")
    run = world.play("rejoin", "--check", "-e", "hvm_winner=hv2 hvm_dead_host=hv1")
    assert run.asked[-1] == ["hv2", "hvm_rejoin", {"dead_host": "hv1", "discard": "", "winner": "hv2"}, True]


@pytest.mark.parametrize("limit", [(), ("--limit", "hv2")])
def test_rejoin_without_a_host_that_goes_on_does_nothing(world: World, limit: tuple[str, ...]) -> None:
    world.answers = {"hv1": {"hvm_info": look("ACTIVE" if limit else "UNKNOWN")}, "hv2": {"hvm_info": other("UNKNOWN")}}
    run = world.play("rejoin", *limit)
    assert run.failed and "is ACTIVE in this run: hvm.pair.recover comes first" in run.text
    assert {name for _host, name in run.calls()} == {"info"}


# ---- by the clock


def due(do: str, active: str) -> dict[str, t.Any]:
    """What hvm_scheduled says."""
    return {"changed": do == "backup", "do": do, "active": active, "sentence": "so", "report": [f"{do} is due"]}


def test_scheduled_is_for_both_hosts_and_reports_of_the_one_that_worked(world: World) -> None:
    world.answers = {"hv1": {"hvm_scheduled": due("backup", "hv1")}, "hv2": {"hvm_scheduled": due("elsewhere", "hv1")}}
    run = world.play("scheduled")
    assert not run.failed, run.text
    assert run.asked == [["hv1", "hvm_scheduled", {}, False]]
    assert "backup is due" in run.text
    world.answers = {"hv1": {"hvm_scheduled": due("elsewhere", "hv2")}, "hv2": {"hvm_scheduled": due("backup", "hv2")}}
    run = world.play("scheduled")
    assert not run.failed, run.text
    assert run.asked == [[host, "hvm_scheduled", {}, False] for host in ("hv1", "hv2")]
    assert "backup is due" in run.text and "elsewhere is due" not in run.text
    assert {check for *_rest, check in world.play("scheduled", "--check").asked} == {True}


def test_scheduled_without_the_host_that_works_is_no_success(world: World) -> None:
    world.answers["hv2"] = {"hvm_scheduled": due("elsewhere", "hv1")}
    run = world.play("scheduled", "--limit", "hv2")
    assert run.failed and "hv1 is ACTIVE and is not in this run (--limit?): nothing was done." in run.text


def test_scheduled_that_fails_on_the_host_that_works_fails(world: World) -> None:
    failed = {"failed": True, "msg": "the scheduled run is refused: migrate_secure did not end"}
    world.answers["hv1"] = {"hvm_scheduled": failed}
    world.answers["hv2"] = {"hvm_scheduled": due("elsewhere", "hv1")}
    run = world.play("scheduled")
    assert run.failed and "migrate_secure did not end" in run.text


# ---- a word that was not given: AWX leaves it out, or hands an empty answer of a survey on, with a tag: `!unsafe ''`, which
# ansible-core 2.19 reads as null

#: playbook -> its words -> what the host that acts is told when all of them are empty
EMPTY = [
    ("failover", "hvm_dead_host hvm_give_up hvm_failover_to", "hvm_failover", {"dead_host": "", "give_up": "", "fence": []}),
    ("recover", "hvm_peer_is_down hvm_give_up", "hvm_recover", {"peer_is_down": "", "give_up": ""}),
    ("migrate_unsecure", "hvm_move_mode hvm_move_limit hvm_on_failure", "hvm_move", {}),
    ("hv_start", "hvm_start_host hvm_peer_is_down", "hvm_hypervisor", {"state": "started", "peer_is_down": ""}),
    ("rejoin", "hvm_rejoin hvm_discard hvm_winner hvm_dead_host", "hvm_rejoin", {"discard": "", "winner": ""}),
    ("rollback", "hvm_rollback_state hvm_rollback_to hvm_rollback_kept", "hvm_zfs_rollback", {}),
]


@pytest.mark.parametrize("empty", ["", None], ids=["text", "null"])
@pytest.mark.parametrize(("playbook", "words", "module", "told"), EMPTY, ids=[row[0] for row in EMPTY])
def test_an_empty_word_is_no_word(
    world: World, playbook: str, words: str, module: str, told: dict[str, t.Any], empty: str | None
) -> None:
    refused = {"failed": True, "msg": "refused here"}  # the first one that acts is all that counts
    world.answers["hv1"] = {"hvm_preflight": acts("hv1", True), "hvm_info": look("ACTIVE"), module: refused}
    world.answers["hv2"] = {"hvm_preflight": acts("hv1", False), "hvm_info": other("PASSIVE"), module: refused}
    run = world.play(playbook, "-e", json.dumps(dict.fromkeys(words.split(), empty)))
    host = "hv2" if playbook == "failover" else "hv1"  # the PASSIVE one
    assert [asked[2] for asked in run.asked if asked[:2] == [host, module]] == [told], run.text


def test_an_empty_name_is_no_host_to_switch_off_and_an_empty_list_is_the_usual_one(world: World) -> None:
    for word in ("hvm_shutdown_host=", '{"hvm_shutdown_host": null}'):
        shutdown = world.play("shutdown", "-e", word)
        assert shutdown.failed and shutdown.asked == [] and "hvm_shutdown_host is not given" in shutdown.text
    sets = {"lists": {"dates": ["20261123T094512Z B"], "all": [], "lasts": []}, "changed": False}
    world.answers = {host: {"hvm_zfs_snapshot_info": sets} for host in ("hv1", "hv2")}
    assert "20261123T094512Z B" in world.play("snapshots", "-e", "hvm_list=").text


LOCAL_CONF = "HVM_HOSTS='hv1 hv2'\nHVM_SHARED_IP=192.0.2.10/24\nHVM_GATEWAY=192.0.2.1\nHVM_SERVICE_IFACE=eth0\nHVM_MAIL=x\n"


def test_local_conf_is_shown_as_variables_and_the_inventory_wins(world: World) -> None:
    for host in ("hv1", "hv2"):
        (world.directory / f"{host}.conf").write_text(LOCAL_CONF)
    where = f"hvm_local_conf={world.directory}/{{{{ inventory_hostname }}}}.conf"
    run = world.play("import_local_conf", "-e", where)
    assert not run.failed, run.text
    assert "- 'hvm_gateway: 192.0.2.1' - 'hvm_hosts:' - '- hv1' - '- hv2' - 'hvm_service_iface: eth0'" in run.text
    assert "# not taken over: hv2: line 5: HVM_MAIL" in run.text
    world.inventory.write_text(world.inventory.read_text() + "[hvm:vars]\nhvm_gateway=198.51.100.1\n")
    again = world.play("import_local_conf", "-e", where)
    assert not again.failed and "hvm_gateway" not in again.text and "hvm_service_iface: eth0" in again.text
    (world.directory / "hv2.conf").write_text(LOCAL_CONF.replace("eth0", "eno1"))
    other = world.play("import_local_conf", "-e", where)
    assert other.failed and "HVM_SERVICE_IFACE is eth0 on hv1 and eno1 on hv2" in other.text
    (world.directory / "hv2.conf").unlink()
    assert world.play("import_local_conf", "-e", where).failed


GOES = {"changed": True, "pair": "office", "role": "ACTIVE", "done": ["the timer goes"], "left": ["datasets: t/vm"]}


def test_uninstall_shows_and_wants_the_name_of_the_pair(world: World) -> None:
    for answers in world.answers.values():
        answers["hvm_uninstall"] = GOES
    shown = world.play("uninstall")
    assert shown.failed and "Nothing was removed. To remove it: -e hvm_uninstall=office" in shown.text
    assert "This stays:" in shown.text and "datasets: t/vm" in shown.text
    assert [check for _host, _name, _told, check in shown.asked] == [True, True]
    run = world.play("uninstall", "-e", "hvm_uninstall=office", "-e", "hvm_uninstall_despite='saved, pending'")
    assert not run.failed, run.text
    told = {"name": "office", "despite": ["saved", "pending"], "holds": "keep"}
    assert [one[1:] for one in run.asked] == [["hvm_uninstall", told, check] for check in (True, True, False, False)]
    checked = world.play("uninstall", "--check")
    assert not checked.failed and all(check for *_rest, check in checked.asked)
    gone = {**GOES, "changed": False, "pair": "", "done": [], "left": []}
    world.answers["hv1"] = world.answers["hv2"] = {"hvm_uninstall": gone}
    nothing = world.play("uninstall")
    assert not nothing.failed and "Nothing of the pair is on hv1" in nothing.text


def test_uninstall_removes_no_half_of_a_pair(world: World) -> None:
    world.answers["hv1"]["hvm_uninstall"] = {"failed": True, "msg": "VMs have state images: web"}
    world.answers["hv2"]["hvm_uninstall"] = GOES
    world.inventory.write_text(world.inventory.read_text() + "[hvm:vars]\nhvm_hosts=['hv1', 'hv2']\n")
    run = world.play("uninstall", "-e", "hvm_uninstall=office")
    assert run.failed and "Nothing was removed, since hv1 refused. VMs have state images: web" in run.text
    assert all(check for *_rest, check in run.asked)


def test_uninstall_takes_it_off_the_host_that_is_left(world: World) -> None:
    """A host that is gone for good refuses nothing; but nobody is to believe that it was removed there."""
    world.answers["hv2"]["hvm_uninstall"] = GOES
    world.lose("hv1")
    run = world.play("uninstall", "-e", "hvm_uninstall=office")
    assert run.failed and "hv1 was not reached: nothing was removed there. When it answers, run this again." in run.text
    assert [(host, check) for host, _name, _told, check in run.asked] == [("hv2", True), ("hv2", False)]


def test_uninstall_that_fails_on_one_host_goes_on_on_the_other(world: World) -> None:
    world.answers["hv1"]["hvm_uninstall"] = [GOES, {"failed": True, "msg": "no space left"}]
    world.answers["hv2"]["hvm_uninstall"] = GOES
    run = world.play("uninstall", "-e", "hvm_uninstall=office")
    assert run.failed and "hv1: no space left" in run.text
    assert [(host, check) for host, _name, _told, check in run.asked][2:] == [("hv1", False), ("hv2", False)]
