# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks as AWX runs them: the wrappers at the root of the project, with its ansible.cfg, by ansible-runner; and what AWX
would show of them, which is what runner's events hold. The modules are replaced as in test_playbooks.py."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sys
import time
import typing as t

import pytest

ansible_runner = pytest.importorskip("ansible_runner")

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from test_playbooks import ANSIBLE, ROOT, TAKEN, World, acts, look, other  # noqa: E402

PLUGINS = "collections/ansible_collections/hvm/pair/plugins"

#: A module that takes a while and says what it does, as those with a `progress_file` do (_core/progress.py).
SLOW = """#!/usr/bin/python
# WANT_JSON
import json, sys, time

arguments = json.load(open(sys.argv[1]))
with open(arguments["progress_file"], "w") as progress:
    for number, text in enumerate(STEPS):
        progress.write(json.dumps({"t": float(number), "text": text}) + chr(10))
        progress.flush()
        time.sleep(1.2)
print(json.dumps(ANSWER))
"""


class Job(t.NamedTuple):
    """What AWX keeps of a run.

    :ivar events: those of runner, in order; `received` is added, the time at which each one arrived.
    """

    status: str
    events: list[dict[str, t.Any]]

    def of(self, kind: str) -> list[dict[str, t.Any]]:
        return [event for event in self.events if event["event"] == kind]

    def results(self, kind: str, task: str) -> dict[str, dict[str, t.Any]]:
        """Host -> result of the task of that name."""
        found = [event["event_data"] for event in self.of(kind)]
        return {data["host"]: data["res"] for data in found if data["task"] == task}


def run(world: World, playbook: str, **extra_vars: t.Any) -> Job:
    """:param extra_vars: answers of a survey, in the file and with the tag with which AWX hands them on."""
    project = world.directory / "project"
    if not project.exists():
        project.mkdir()
        for name in (f"{playbook}.yml", "ansible.cfg"):
            shutil.copy(ROOT / name, project)
        (project / "collections").symlink_to(world.directory / "collections")
    (world.directory / "env").mkdir(exist_ok=True)
    answers = "".join(f"{name}: !unsafe {json.dumps(value)}\n" for name, value in {"hvm_target": "hvm", **extra_vars}.items())
    (world.directory / "env/extravars").write_text(answers)
    (world.directory / "log").write_text("")
    (world.directory / "answers.json").write_text(json.dumps(world.answers))
    events: list[dict[str, t.Any]] = []

    def receive(event: dict[str, t.Any]) -> bool:
        events.append({**event, "received": time.monotonic()})
        return True

    # runner takes the environment of this process: what `make` has set for the checkout would reach the play
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("ANSIBLE_")}
    try:
        done = ansible_runner.run(
            private_data_dir=str(world.directory),
            playbook=f"{playbook}.yml",
            inventory=str(world.inventory),
            envvars={"ANSIBLE_HOME": str(world.directory / "home"), "PATH": f"{ANSIBLE.parent}{os.pathsep}{os.environ['PATH']}"},
            event_handler=receive,
            quiet=True,
            forks=1,
        )
    finally:
        os.environ.update(kept)
    return Job(done.status, events)


def asked(world: World) -> list[list[t.Any]]:
    return [json.loads(line) for line in (world.directory / "log").read_text().splitlines()]


@pytest.fixture(name="world")
def _world(tmp_path: pathlib.Path) -> World:
    if not ANSIBLE.exists():
        pytest.skip("no ansible-playbook beside this Python")
    return World(tmp_path)


def test_status_shows_play_tasks_and_the_report_of_each_host(world: World) -> None:
    world.answers = {"hv1": {"hvm_info": look("ACTIVE")}, "hv2": {"hvm_info": other("PASSIVE")}}
    job = run(world, "status")
    assert job.status == "successful"
    assert [event["event_data"]["play"] for event in job.of("playbook_on_play_start")] == ["State of the pair", "Each pair"]
    # once for each host: none waits for the other
    started = sorted(event["event_data"]["task"] for event in job.of("playbook_on_task_start"))
    assert started == ["Look", "Look", "Status", "Status"]
    shown = job.results("runner_on_ok", "Status")
    assert shown["hv1"]["msg"][:3] == ["Hypervisor is running", "Shared IP is enabled", "VMs are running"]
    assert shown["hv2"]["msg"][:3] == ["Hypervisor is stopped", "Shared IP is disabled", "VMs are stopped"]
    assert "Hypervisor is running" in "".join(event["stdout"] for event in job.of("runner_on_ok"))


def test_a_refused_backup_fails_with_the_remedy_in_its_event(world: World) -> None:
    refused = "backup is refused: hv2 does not answer. Switch it on, or look at the cable."
    world.answers = {host: {"hvm_preflight": {"failed": True, "msg": refused}} for host in ("hv1", "hv2")}
    job = run(world, "backup_secure")
    assert job.status == "failed"
    for task in ("May it be done?", "May it be done, by the other host?"):
        failed = job.results("runner_on_failed", task)
        assert {host: result["msg"] for host, result in failed.items()} == {"hv1": refused}
    assert {module for _host, module, *_rest in asked(world)} == {"hvm_preflight"}


def test_a_backup_runs_where_it_must_and_its_report_is_in_the_event(world: World) -> None:
    made = {
        "changed": True, "set": "hvm_20261123T094512Z_p_B", "kind": "state", "mark": "B", "vms": {}, "steps": [], "window": 0.0,
        "warnings": [],
    }  # fmt: skip
    synced = {"changed": True, "set": made["set"], "bytes": 2048, "steps": [], "warnings": []}
    pruned = {"changed": False, "hosts": {"hv1": {"changed": False, "destroyed": []}}}
    for host in ("hv1", "hv2"):
        world.answers[host] = {
            "hvm_preflight": acts("hv1", host == "hv1"), "hvm_checkpoint": made, "hvm_zfs_sync": synced, "hvm_zfs_prune": pruned
        }  # fmt: skip
    job = run(world, "backup_secure")
    assert job.status == "successful", job.events[-1]
    assert [(host, name) for host, name, *_rest in asked(world)][1:] == [
        ("hv1", "hvm_checkpoint"), ("hv1", "hvm_zfs_sync"), ("hv1", "hvm_zfs_prune")
    ]  # fmt: skip
    report = job.results("runner_on_ok", "Report")
    assert list(report) == ["hv1"] and made["set"] in " ".join(report["hv1"]["msg"])


UNSAID = {"hvm_dead_host": "", "hvm_give_up": "", "hvm_failover_to": ""}


@pytest.mark.parametrize("answers", [{}, UNSAID], ids=["left out", "empty"])
def test_a_failover_whose_survey_was_not_answered_names_what_would_be_lost(world: World, answers: dict[str, str]) -> None:
    world.lose("hv2")
    refused = "failover is refused: hv2 does not answer\nVM web: loses 12 min. Name the host that is off: hvm_dead_host."
    world.answers["hv1"] = {"hvm_info": look("PASSIVE"), "hvm_failover": {"failed": True, "msg": refused}}
    job = run(world, "failover", **answers)
    assert job.status == "failed"
    (_looked, (_host, _module, told, _check)) = asked(world)
    assert told == {"dead_host": "", "give_up": "", "fence": []}
    (failed,) = job.results("runner_on_failed", "Back to the set > mount > gate > libvirt > shared IP > VMs").values()
    assert failed["msg"] == refused
    (lost,) = job.of("runner_on_unreachable")
    assert lost["event_data"]["task"] == "Look at the other one"


def test_the_next_job_of_a_workflow_gets_what_became_of_the_pair(world: World) -> None:
    """As the artifacts of the job; AWX says who it is by variables of its own."""
    world.answers["hv1"] = {"hvm_hypervisor": {"changed": True, "host": "hv1", "role": "ACTIVE", "epoch": 4, "plan": ["mount"]}}
    # what the job before has left, as AWX gives it
    before = [{"pair": "office", "hosts": [], "active": "hv2", "outcome": "failed"}]
    job = run(world, "hv_start", hvm_start_host="hv1", awx_job_id=7, hvm_pairs=before)
    assert job.status == "successful"
    (ended,) = job.of("playbook_on_stats")
    (row,) = ended["event_data"]["artifact_data"]["hvm_pairs"]
    assert (row["hosts"], row["active"], row["outcome"]) == (["hv1", "hv2"], "hv1", "done")
    assert "Summary" not in {event["event_data"]["task"] for event in job.of("runner_on_ok")}


def test_a_failover_with_the_name_of_the_dead_host_takes_over(world: World) -> None:
    world.lose("hv2")
    world.answers["hv1"] = {"hvm_failover": TAKEN}
    job = run(world, "failover", hvm_dead_host="hv2", hvm_give_up="", hvm_failover_to="last_state")
    assert job.status == "successful"
    ((host, _module, told, _check),) = asked(world)
    assert (host, told) == ("hv1", {"dead_host": "hv2", "give_up": "", "fence": [], "to": "last_state"})
    assert "hv1 becomes ACTIVE in epoch 6" in " ".join(job.results("runner_on_ok", "Report")["hv1"]["msg"])


@pytest.mark.skipif(not os.access("/run", os.W_OK), reason="only root writes into /run, where a host's progress is")
@pytest.mark.parametrize(("dead", "host"), [("hv2", "hv1"), ("hv1", "hv2")], ids=["here", "delegated"])
def test_what_a_long_task_says_of_itself_arrives_while_it_works(world: World, dead: str, host: str) -> None:
    shutil.copytree(ROOT / "plugins/action", world.directory / PLUGINS / "action", ignore=shutil.ignore_patterns("__pycache__"))
    steps = ["roll back to hvm_x_B", "mount", "restore VMs: 1 of 2"]
    text = SLOW.replace("STEPS", repr(steps)).replace("ANSWER", repr(TAKEN))
    (world.directory / PLUGINS / "modules/hvm_failover.py").write_text(text)
    world.lose(dead)
    job = run(world, "failover", hvm_dead_host=dead)
    assert job.status == "successful"
    said = [event for event in job.of("verbose") if event["stdout"].lstrip().startswith(f"[{host}]")]
    assert [event["stdout"].split(" s  ")[1].strip() for event in said] == steps
    (end,) = [event for event in job.of("runner_on_ok") if event["event_data"]["task"].startswith("Back to the set")]
    # not all at once at the end: the first one was there while the others were still to come
    assert end["received"] - said[0]["received"] > 2
    assert end["event_data"]["res"]["elapsed"] > 2
    assert "progress_file" not in end["event_data"]["res"] and end["event_data"]["res"]["sentence"] == TAKEN["sentence"]
