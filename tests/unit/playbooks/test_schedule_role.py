# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role `host` does for the schedule, by ansible-playbook: its tasks and templates, on a directory instead of /.

systemd is asked what it thinks of the units; its module is replaced by one that says what it was told.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import time
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core import mail
from ansible_collections.hvm.pair.plugins.module_utils._procedure import install, scheduled
from ansible_collections.hvm.pair.plugins.module_utils._zfs.retention import Rules

ROOT = pathlib.Path(__file__).resolve().parents[3]
ANSIBLE = pathlib.Path(sys.executable).with_name("ansible-playbook")
TREE = pathlib.Path(str(scheduled.__file__)).parents[6]

SYSTEMD = """#!/usr/bin/python
# WANT_JSON
import json, sys

arguments = {k: v for k, v in json.load(open(sys.argv[1])).items() if not k.startswith("_ansible")}
with open("ROOT/asked", "a") as log:
    log.write(json.dumps(arguments) + chr(10))
print(json.dumps({"changed": arguments.get("state") in ("restarted", "stopped") or arguments.get("daemon_reload", False)}))
"""

PLAY = """
- hosts: hvm
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: host
        tasks_from: schedule.yml
        rolespec_validate: false
"""


class Host:
    """A directory that is / of the host hv1 or hv2."""

    def __init__(self, directory: pathlib.Path, name: str = "hv1") -> None:
        self.root, self.name = directory, name
        for part in ("etc/hvm", "etc/systemd/system", "usr/lib/hvm"):
            (directory / part).mkdir(parents=True)
        script, mode = install.files()[install.SCHEDULED]
        entry = directory / "usr/lib/hvm/hvm-scheduled"
        entry.write_text(script.replace(f"{install.HOME}/current", str(TREE)).replace("/usr/bin/python3", sys.executable))
        entry.chmod(mode)
        role = directory / "roles/host"
        for part in ("defaults", "vars", "tasks", "templates"):
            shutil.copytree(ROOT / "roles/host" / part, role / part)
        tasks = role / "tasks/schedule.yml"
        text = tasks.read_text()
        assert text.count(" /etc/") == text.count("/etc/") > 0 and text.count("systemd_service") == 3
        text = text.replace(" /etc/", f" {directory}/etc/").replace(" /usr/lib/hvm", f" {directory}/usr/lib/hvm")
        text = text.replace(" /var/lib/systemd", f" {directory}/var/lib/systemd")
        tasks.write_text(text.replace("ansible.builtin.systemd_service", "told_systemd"))
        (role / "library").mkdir()
        (role / "library/told_systemd.py").write_text(SYSTEMD.replace("ROOT", str(directory)))
        (directory / "play.yml").write_text(PLAY)

    def run(self, *words: str, **variables: t.Any) -> tuple[str, list[dict[str, t.Any]]]:
        """:return: what ansible-playbook printed, and what systemd was asked."""
        asked = self.root / "asked"
        asked.write_text("")
        inventory = {"hvm": {"hosts": {self.name: {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}}}
        inventory["hvm"]["vars"] = {"hvm_hosts": ["hv1", "hv2"], **variables}
        (self.root / "inventory.json").write_text(json.dumps(inventory))
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        environment.update(ANSIBLE_HOME=str(self.root / "home"), ANSIBLE_NOCOLOR="1", ANSIBLE_PIPELINING="1")
        command = [str(ANSIBLE), "-v", "-i", str(self.root / "inventory.json"), str(self.root / "play.yml"), *words]
        made = subprocess.run(command, env=environment, cwd=self.root, capture_output=True, text=True, timeout=300, check=False)
        return made.stdout + made.stderr, [json.loads(line) for line in asked.read_text().splitlines()]

    def done(self, *words: str, **variables: t.Any) -> tuple[int, list[dict[str, t.Any]]]:
        """The same of a run that does not fail. :return: how many tasks changed anything, and what systemd was asked."""
        said, asked = self.run(*words, **variables)
        assert "failed=0" in said, said
        return int(said.split("changed=")[-1].split()[0]), asked

    def units(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.root / "etc/systemd/system").iterdir()}

    def etc(self, name: str) -> pathlib.Path:
        return self.root / "etc/hvm" / name


@pytest.fixture(name="host")
def _host(tmp_path: pathlib.Path) -> Host:
    if not ANSIBLE.exists() or not shutil.which("systemd-analyze"):
        pytest.skip("no ansible-playbook beside this Python, or no systemd")
    return Host(tmp_path)


NIGHT, MORNING = "*-*-* 02:00", "Mon..Fri *-*-* 04:00"
STARTED = {"name": "hvm-scheduled.timer", "enabled": True, "daemon_reload": False, "state": "started"}
ANEW = {**STARTED, "daemon_reload": True, "state": "restarted"}
MAIL: dict[str, t.Any] = {
    "hvm_mail_to": ["ops@example.org"], "hvm_mail_host": "mail.example.org", "hvm_mail_tls": "starttls", "hvm_mail_user": "hvm",
    "hvm_mail_password": "s3cret",
}  # fmt: skip


def test_off_then_on_with_mail_then_off_again(host: Host) -> None:
    """One after the other on one host: each run of Ansible takes seconds."""
    password = host.etc("mail-password")
    assert host.done() == (2, [])  # the two files that say what a run does and where mail goes
    assert host.units() == {} and not password.exists() and mail.load(str(host.etc("mail.json"))) is None
    assert scheduled.load(str(host.etc("schedule.json"))) == scheduled.Options(rules=Rules(0.0, keep_last=48))

    said, asked = host.run(hvm_schedule=NIGHT, **MAIL)
    assert "failed=0" in said and "s3cret" not in said and asked == [ANEW]
    assert set(host.units()) == {"hvm-scheduled.service", "hvm-scheduled.timer"}
    assert password.read_text() == "s3cret\n" and stat.S_IMODE(password.stat().st_mode) == 0o600
    words = ("hvm@hv1", "mail.example.org", 587, "starttls", "hvm", "/etc/hvm/mail-password")
    settings = mail.Settings(("ops@example.org",), *words)
    assert mail.load(str(host.etc("mail.json"))) == settings and "s3cret" not in host.etc("mail.json").read_text()

    stamp = host.root / "var/lib/systemd/timers/stamp-hvm-scheduled.timer"
    assert time.time() - stamp.stat().st_mtime < 600
    os.utime(stamp, (1, 1))
    assert host.done(hvm_schedule=NIGHT, **MAIL) == (0, [STARTED])
    assert stamp.stat().st_mtime == 1  # what was missed while the host was off is made up for
    host.done(hvm_schedule=MORNING, **MAIL)
    assert time.time() - stamp.stat().st_mtime < 600, "the new time was missed today, so systemd would begin at once"
    host.done(hvm_schedule=NIGHT, **MAIL)
    before = host.units()
    assert host.done("--check", hvm_schedule=MORNING, **MAIL)[1] == [] and host.units() == before

    # without the file of the vault
    said, asked = host.run(hvm_schedule=NIGHT, **{**MAIL, "hvm_mail_password": ""})
    assert "'user' needs a 'password_file'" in said and asked == []
    assert password.read_text() == "s3cret\n" and mail.load(str(host.etc("mail.json"))) == settings

    _changed, asked = host.done()
    assert [one.get("state", "reload") for one in asked] == ["stopped", "reload"] and host.units() == {}
    assert {one.get("name", "") for one in asked} == {"hvm-scheduled.timer", ""}  # a run that is under way is not stopped
    assert not password.exists() and mail.load(str(host.etc("mail.json"))) is None
    assert host.done() == (0, [])


def test_the_units_are_what_systemd_understands_and_the_work_is_not_shot(host: Host) -> None:
    words = {"hvm_schedule_swap_days": 14, "hvm_backup_method": "save", "hvm_checkpoint_fallback": ["refuse"], "hvm_keep": 5}
    words.update(hvm_schedule_migrate="unsecure", hvm_move_limit="60", hvm_move_fallback="refuse")
    words.update(hvm_prune_keep_daily="7", hvm_prune_older_than=4.5, hvm_prune_except_at=["12:00"])
    host.done(hvm_schedule=MORNING, hvm_schedule_random_delay=77, **words)
    found = scheduled.load(str(host.etc("schedule.json")))
    assert (found.backup.method, found.backup.fallback, found.swap_days) == ("save", (), 14)
    assert found.rules == Rules(4.5, ("12:00",), 5, keep_daily=7)
    assert found.migrate == "unsecure" and (found.move.policy.limit, found.move.policy.fallback) == (60, "refuse")
    service, timer = (host.units()[f"hvm-scheduled.{kind}"] for kind in ("service", "timer"))
    for line in (f"OnCalendar={MORNING}", "Persistent=true", "RandomizedDelaySec=77", "FixedRandomDelay=true"):
        assert f"{line}\n" in timer
    (start,) = [line for line in service.replace("\\\n", "").splitlines() if line.startswith("ExecStart=")]
    given = start.split()
    assert given[0] == "ExecStart=/usr/bin/systemd-run" and given[-1] == "/usr/lib/hvm/hvm-scheduled"
    for word in ("--wait", "--collect", "--unit=hvm-scheduled-work", "--property=KillMode=mixed", "--property=TimeoutStopSec=1h"):
        assert word in given
    assert "libvirt" not in start, "a migration stops and starts it: in an order with it, it would wait for its own end"
    assert "ExecStartPre" not in service and not {"{{", "{%"} & set((service + timer).split())
    units = host.root / "etc/systemd/system"
    command = ["systemd-analyze", "verify", "--man=no", *(str(units / name) for name in host.units())]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert [line for line in said.stderr.splitlines() if "hvm-scheduled" in line] == []
    # the second host looks later, and may be told to do it otherwise
    host.name = "hv2"
    host.done(hvm_schedule=MORNING, hvm_schedule_backup="unsecure", hvm_unsecure_method="freeze", hvm_backup_method="save")
    assert "ExecStartPre=/usr/bin/sleep 300\n" in host.units()["hvm-scheduled.service"]
    assert scheduled.load(str(host.etc("schedule.json"))).backup.method == "freeze"


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"hvm_schedule": "at night"}, "Failed to parse calendar specification 'at night'"),
        ({"hvm_schedule": f"{NIGHT}\nExecStart=/bin/sh"}, "hvm_schedule must be one line"),
        ({"hvm_schedule": NIGHT, "hvm_schedule_offset": 1700, "hvm_schedule_random_delay": 300}, "together 1800 at most"),
        ({"hvm_schedule": NIGHT, "hvm_mail_to": ["a@b"], "hvm_mail_user": "hvm"}, "'user' needs a 'password_file'"),
        ({"hvm_schedule": NIGHT, "hvm_checkpoint_fallback": ["hope"]}, "'fallback' is ['hope']"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_runs_by_it(host: Host, variables: dict[str, t.Any], fault: str) -> None:
    said, asked = host.run(**variables)
    assert "failed=1" in said and fault in said, said
    assert asked == [] and host.units() == {}
