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

ROOT = pathlib.Path(__file__).resolve().parents[2]
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
        for part in ("playbooks", "meta", "plugins/filter", "plugins/module_utils"):
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
    run = world.play("hv_start", "-e", "hvm_peer_is_down=hv1")
    assert not run.failed, run.text
    assert run.calls() == [("hv1", "preflight"), ("hv2", "preflight"), ("hv2", "hypervisor")]
    assert run.told("hvm_hypervisor") == {"state": "started", "peer_is_down": "hv1"}
    assert "Hypervisor is running (ACTIVE, epoch 4)" in run.text and "start libvirt" in run.text and "Next: The VMs:" in run.text
    named = world.play("hv_start", "--check", "-e", "hvm_start_host=hv2")
    assert named.asked == [["hv2", "hvm_hypervisor", {"state": "started", "peer_is_down": ""}, True]]
    assert "Plan (nothing was changed):" in named.text
    elsewhere = world.play("hv_start", "--limit", "hv1")
    assert elsewhere.failed and elsewhere.calls() == [("hv1", "preflight")]
    assert "hv2 is to be started and is not in this run (--limit?): nothing was done." in elsewhere.text


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
    assert run.calls() == [("hv1", "preflight"), ("hv2", "preflight"), ("hv1", "zfs_rollback")]
    assert run.told("hvm_zfs_rollback") == {"to": "last_state"}
    assert "t/vm: 2 newer snapshots, 2.0 KiB written since" in run.text
    assert "zfs rename a b" in run.text and "hv2 would follow to hvm_x" in run.text
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
    before = [("hv1", "info"), ("hv2", "info"), ("hv1", "preflight"), ("hv1", "switchover")]
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


def test_shutdown_plans_in_check_mode_and_wants_a_name(world: World) -> None:
    plan = {"changed": True, "active": "hv2", "vms": {}, "plan": ["save web"]}
    world.answers["hv1"] = {"hvm_info": look("ACTIVE"), "hvm_preflight": acts("hv1", True), "hvm_switchover": plan}
    world.answers["hv2"] = {"hvm_info": look("PASSIVE")}
    run = world.play("shutdown", "--check", "-e", "hvm_shutdown_host=hv1")
    assert not run.failed, run.text
    assert run.calls() == [("hv1", "info"), ("hv2", "info"), ("hv1", "preflight"), ("hv1", "switchover")]
    assert "save web" in run.text and "hv1 would be PASSIVE, and would be switched off" in run.text
    nameless = world.play("shutdown")
    assert nameless.failed and nameless.asked == []
    assert "hvm_shutdown_host is not given, and it must be one of hv1, hv2" in nameless.text
