# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scheduled run on a pair of fakes: what is done on which host, what is reported, and by mail through a real SMTP server."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
import signal
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core import mail
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint_file, modes, operation
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    backup,
    constraints,
    cycle,
    install,
    move,
    preflight,
    prune,
    scheduled,
    switchover,
    sync,
)
from ansible_collections.hvm.pair.plugins.module_utils._zfs.retention import Rules

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "_core"))

from fake_pair import BEFORE, STATE, Host, Lab

TODAY = datetime.date(2026, 12, 1)
WEB = {"method": "checkpoint", "interruption": 0.31}
TAKEN = {"changed": True, "set": STATE, "vms": {"web": WEB}, "steps": [], "window": 0.3}
SENT = {"changed": True, "set": STATE, "bytes": 2048, "warnings": ["it is not held"]}
PRUNED = {"changed": True, "destroyed": ["one"], "bytes": 1024, "blocked": {}, "warnings": [], "decisions": []}


class Work:
    """The procedures that a scheduled run is made of: each is told in `done`, and does what `faults` has for it."""

    def __init__(self, lab: Lab, patch: pytest.MonkeyPatch) -> None:
        self.lab = lab
        self.done: list[str] = []
        self.faults: dict[str, BaseException] = {}
        self.told: dict[str, t.Any] = {}
        patch.setattr(preflight, "preflight", lambda config, name: self.do("preflight", {"acts": True, "warnings": []}, name))
        patch.setattr(backup, "backup", lambda config, progress, options, check: self.do("backup", TAKEN, options, check))
        patch.setattr(sync, "run", lambda config, progress, name, check: self.do("sync", SENT, name, check))
        patch.setattr(prune, "prune", lambda config, rules, progress, check: self.do("prune", PRUNED, rules, check))

        def moves(config: t.Any, progress: t.Any, check: bool, options: t.Any) -> dict[str, t.Any]:
            return self.do("move", self.moved(check), check, options)

        patch.setattr(move, "migrate", moves)
        patch.setattr(switchover, "migrate", lambda config, progress, check: self.do("migrate", self.moved(check), check))

    def do(self, what: str, result: dict[str, t.Any], *told: t.Any) -> dict[str, t.Any]:
        self.done.append(f"{self.lab.at.name} {what}")
        self.told[self.done[-1]] = told
        if what in self.faults:
            raise self.faults[what]
        return json.loads(json.dumps(result))

    def moved(self, check: bool) -> dict[str, t.Any]:
        if not check and not {"migrate", "move"} & set(self.faults):
            one, other = self.lab.at, self.lab.other()
            epoch = one.role()[1]
            self.lab.be(one, "PASSIVE", epoch + 1)
            self.lab.be(other, "ACTIVE", epoch + 1)
        return {"changed": True, "active": self.lab.other().name, "vms": {"web": {"interruption": 1.5}}, "warnings": []}


@pytest.fixture(name="lab")
def _lab(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(constraint_file, "today", lambda: TODAY)
    monkeypatch.setattr(scheduled, "_now", lambda: datetime.datetime(2026, 12, 1, 12, tzinfo=datetime.UTC))
    monkeypatch.setattr(mail, "load", lambda: None)
    lab = Lab(tmp_path, monkeypatch)
    lab.be(lab.hv1, "ACTIVE", 3)
    lab.be(lab.hv2, "PASSIVE", 3)
    return lab


@pytest.fixture(name="work")
def _work(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(lab, monkeypatch)


def run(lab: Lab, at: Host | None = None, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
    with lab.on(at or lab.hv1) as host:
        return scheduled.apply(host.config, Progress(), check, scheduled.Options(**options))


def must(lab: Lab, name: str) -> None:
    with lab.on(lab.hv1):
        constraints.put(lab.hv1.config, name, "today")


# ---- what is done where


BACKED_UP = ["hv1 preflight", "hv1 backup", "hv1 sync", "hv1 prune", "hv2 prune"]


def test_the_active_host_is_backed_up_and_old_sets_go_on_both(lab: Lab, work: Work, logged: list[str]) -> None:
    rules = Rules(keep_last=5, except_at=("12:00",), older_than=48)
    done = run(lab, rules=rules, backup=backup.Options("save"))
    assert work.done == BACKED_UP
    assert work.told["hv1 backup"] == (backup.Options("save"), False)
    assert work.told["hv1 prune"] == work.told["hv2 prune"] == (rules, False)
    assert (done["changed"], done["do"], done["active"], done["role"], done["epoch"]) == (True, "backup", "hv1", "ACTIVE", 3)
    assert done["subject"] == "[hvm office] hv1: done, with warnings: backup secure"
    assert done["warnings"] == ["it is not held"] and not done["mailed"]
    text = "\n".join(done["report"])
    for words in (
        "Pair office, scheduled run on hv1",
        "Decided: hv1 is ACTIVE and is backed up.",
        "web                  0.31 s",
        f"Snapshot set: {STATE} (B: VM states inside)",
        "Old sets pruned: 1 on hv1 (1.0 KiB), 1 on hv2 (1.0 KiB)",
        "Warnings:\n  - it is not held",
        "hv1 is ACTIVE now, in epoch 3.",
    ):
        assert words in text
    assert logged == ["scheduled: this host is ACTIVE in epoch 3; hv1 is ACTIVE and is backed up"]


def test_the_other_host_does_nothing_and_says_so_in_its_log(lab: Lab, work: Work, logged: list[str]) -> None:
    done = run(lab, lab.hv2)
    assert (work.done, done["changed"], done["do"], done["active"]) == ([], False, "elsewhere", "hv1")
    assert logged == ["scheduled: this host is PASSIVE in epoch 3; hv1 is ACTIVE and does the work; hv2 is PASSIVE"]


def test_a_constraint_moves_the_pair_and_then_the_pair_is_backed_up(lab: Lab, work: Work) -> None:
    must(lab, "hv2")
    done = run(lab)
    assert work.done == ["hv1 migrate", "hv1 prune", "hv2 prune"]
    assert (done["do"], done["active"], done["role"]) == ("migrate", "hv2", "PASSIVE")
    assert done["subject"] == "[hvm office] hv1: done: migrate secure, hv2 is ACTIVE"
    assert "hv2 must be ACTIVE on 2026-12-01; today, 2026-12-01, is day 1 of 1" in "\n".join(done["report"])
    assert run(lab)["do"] == "elsewhere"
    work.done.clear()
    assert run(lab, lab.hv2)["do"] == "backup"
    assert work.done == [one.translate(str.maketrans("12", "21")) for one in BACKED_UP]


def test_a_pool_that_has_lost_a_disk_is_in_the_mail_and_hinders_nothing(lab: Lab, work: Work) -> None:
    lab.hv1.pools["rot"] = "DEGRADED"
    must(lab, "hv2")
    done = run(lab)
    assert done["do"] == "migrate"
    assert done["warnings"][0] == "pool rot of hv1 is DEGRADED: replace what has failed (zpool status rot)"
    assert done["subject"].startswith("[hvm office] hv1: done, with warnings: migrate secure")


def test_the_vms_move_while_they_run_where_that_is_wanted(lab: Lab, work: Work) -> None:
    must(lab, "hv2")
    options = move.Options(modes.Policy(limit=60), 100)
    done = run(lab, migrate="unsecure", move=options)
    assert work.done == ["hv1 move", "hv1 prune", "hv2 prune"] and work.told["hv1 move"] == (False, options)
    assert (done["do"], done["active"], done["role"]) == ("migrate", "hv2", "PASSIVE")
    assert done["subject"] == "[hvm office] hv1: done: migrate unsecure, hv2 is ACTIVE"


def test_a_move_that_is_refused_is_followed_by_a_backup(lab: Lab, work: Work) -> None:
    must(lab, "hv2")
    work.faults["move"] = Refused("the migration", [Finding("VM web holds a device of the host", "Shut it down first.", "hv1")])
    with pytest.raises(Refused) as caught:
        run(lab, migrate="unsecure")
    assert work.done == ["hv1 move", *BACKED_UP]
    assert "FAILED: migrate unsecure is refused, a backup was made instead" in str(caught.value.details["subject"])


def test_a_constraint_that_only_the_other_host_knows_counts(lab: Lab, work: Work) -> None:
    lab.hv1.answers = False
    with lab.on(lab.hv2):
        constraints.put(lab.hv2.config, "hv2", "today")
    lab.hv1.answers = True
    assert run(lab)["do"] == "migrate"
    assert (lab.hv1.place / "constraint.json").exists()


def test_where_the_roles_are_swapped_each_day_old_sets_go_all_the_same(lab: Lab, work: Work) -> None:
    """The other host has just taken over when its timer fires, and makes no backup: else nothing would ever go."""
    assert run(lab, swap_days=1)["do"] == "migrate"
    assert work.done == ["hv1 migrate", "hv1 prune", "hv2 prune"]


def test_the_roles_are_swapped_every_so_many_days(lab: Lab, work: Work) -> None:
    assert run(lab, swap_days=60)["do"] == "backup"  # they are 30 days old
    assert run(lab, swap_days=30)["do"] == "migrate"


def test_check_mode_says_what_would_be_done_and_does_not_report(lab: Lab, work: Work, logged: list[str]) -> None:
    planned = run(lab, check=True)
    assert planned["changed"] and work.told["hv1 backup"][1] and work.told["hv2 prune"][1]
    must(lab, "hv2")
    logged.clear()
    assert run(lab, check=True)["do"] == "migrate" and work.told["hv1 migrate"] == (True,)
    assert lab.hv1.role() == ("ACTIVE", 3)
    assert logged == []


def test_constraints_that_cannot_be_read_move_nothing_and_keep_no_backup_from_being_made(lab: Lab, work: Work) -> None:
    (lab.hv1.place / "constraint.json").write_text("{")
    done = run(lab, swap_days=1)
    assert done["do"] == "backup"
    assert [text for text in done["warnings"] if "cannot be read" in text]
    assert lab.hv1.role() == ("ACTIVE", 3)


def test_a_host_at_work_is_waited_for(lab: Lab, work: Work) -> None:
    held = operation.Lock(str(lab.hv2.place / "run/lock"))
    held.take("prune", "alice")
    lab.waits = iter([held.release])
    assert run(lab)["do"] == "backup"


def test_one_that_stays_at_work_is_named(lab: Lab, work: Work) -> None:
    held = operation.Lock(str(lab.hv2.place / "run/lock")).held("sync", "alice")
    with held, pytest.raises(Refused, match="hv2: another operation is running: sync by alice"):
        run(lab)
    assert work.done == []


@pytest.mark.parametrize("name", ["hv1", "hv2"])
def test_never_a_failover_by_itself(lab: Lab, work: Work, name: str) -> None:
    """Whichever host is left."""
    lab.other().answers = True
    at = getattr(lab, name)
    for host in (lab.hv1, lab.hv2):
        host.answers = host is at
    with pytest.raises(Refused, match=r"does not answer.*ssh to hv. ended with 255"):
        run(lab, at, swap_days=1)
    assert work.done == [] and (lab.hv1.role(), lab.hv2.role()) == (("ACTIVE", 3), ("PASSIVE", 3))


def test_nothing_is_done_while_something_is_pending_and_the_status_is_asked(lab: Lab, work: Work, logged: list[str]) -> None:
    lab.begun(lab.hv1, "migrate_secure")
    said = r"migrate_secure, begun .* did not end.*hvm\.pair\.recover finishes it or undoes it"
    with pytest.raises(Refused, match=said) as caught:
        run(lab)
    assert work.done == []
    details = caught.value.details
    assert details["subject"].startswith("[hvm office] hv1: FAILED: the scheduled run: hv1: migrate_secure, begun")
    assert "hv1 is ACTIVE now, in epoch 3." in "\n".join(details["report"])
    assert len(details["findings"]) == 1 and not details["mailed"]
    assert logged[-1].startswith("scheduled: this host is ACTIVE in epoch 3; failed: the scheduled run is refused")


def test_after_a_power_cut_of_both_it_waits_for_somebody(lab: Lab, work: Work) -> None:
    lab.be(lab.hv1, "ACTIVE", 3, boot=BEFORE, clean=False)
    for host in (lab.hv1, lab.hv2):
        with pytest.raises(Refused, match=r"no host is ACTIVE.*hvm.pair.recover: it was ACTIVE before it rebooted"):
            run(lab, host)
    assert work.done == []


# ---- what goes wrong


def test_a_migration_that_is_refused_leaves_no_night_without_a_backup(lab: Lab, work: Work) -> None:
    must(lab, "hv2")
    work.faults["migrate"] = Refused("the migration", [Finding("VM web holds a device", "Shut it down.", "hv1")])
    with pytest.raises(Refused, match="VM web holds a device") as caught:
        run(lab)
    assert work.done == ["hv1 migrate", *BACKED_UP]
    head = "[hvm office] hv1: FAILED: migrate secure is refused, a backup was made instead"
    assert caught.value.details["subject"] == f"{head}: hv1: VM web holds a device. Shut it down."
    report = caught.value.details["report"]
    assert f"Snapshot set: {STATE} (B: VM states inside)" in report
    assert "FAILED: migrate secure is refused, a backup was made instead:" in report
    assert "  - hv1: VM web holds a device. Shut it down." in report
    work.faults["sync"] = HvmError("the link is gone", "Look.")
    with pytest.raises(HvmError, match="the link is gone") as caught:
        run(lab)
    assert [text for text in caught.value.details["warnings"] if "VM web holds a device" in text]


def test_one_that_failed_and_was_undone_is_not_followed_by_anything(lab: Lab, work: Work) -> None:
    must(lab, "hv2")
    work.faults["migrate"] = HvmError("no room; so the migration was undone", "Free some.", undone=True, vms={"web": {}})
    with pytest.raises(HvmError, match="no room") as caught:
        run(lab)
    assert work.done == ["hv1 migrate"]
    report = "\n".join(caught.value.details["report"])
    assert "FAILED: no room; so the migration was undone" in report and "What to do: Free some." in report
    assert caught.value.details["undone"]


def test_old_sets_that_cannot_go_fail_nothing(lab: Lab, work: Work) -> None:
    work.faults["prune"] = HvmError("pool ssd is SUSPENDED", "Look.")
    done = run(lab)
    assert done["changed"] and done["warnings"][1:] == [
        f"old sets stay on {host}: pool ssd is SUSPENDED. Look." for host in ("hv1", "hv2")
    ]
    work.done.clear()
    run(lab, rules=Rules())
    assert "hv1 prune" not in work.done


def test_a_role_that_has_changed_meanwhile_is_no_success(lab: Lab, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = {"acts": False, "sentence": "hv2 is ACTIVE and does the work", "warnings": []}
    monkeypatch.setattr(preflight, "preflight", lambda *dummy: elsewhere)
    with pytest.raises(HvmError, match="the roles have changed meanwhile"):
        run(lab)


def test_a_bug_is_reported_and_stays_what_it_is(lab: Lab, work: Work, logged: list[str]) -> None:
    work.faults["backup"] = KeyError("x")
    with pytest.raises(KeyError):
        run(lab)
    assert logged == ["scheduled: this host is ACTIVE in epoch 3; failed: 'x'"]


def test_a_role_that_cannot_be_read_is_reported_too(lab: Lab, work: Work, logged: list[str]) -> None:
    (lab.hv1.place / "role.json").write_text("{")
    with pytest.raises(HvmError, match=r"the role record .* cannot be read"):
        run(lab)
    assert logged[-1].startswith("scheduled: this host is not known in epoch 0; failed: the role record")


# ---- the mail


@pytest.fixture(name="server")
def _server(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> t.Iterator[t.Any]:
    smtp_server = pytest.importorskip("smtp_server")
    with smtp_server.serving(tmp_path, "starttls") as server:
        where = mail.Settings(("ops@example.org",), "hvm@hv1", "localhost", server.port, "starttls", ca=server.ca)
        monkeypatch.setattr(mail, "load", lambda: where)
        yield server


def test_success_and_failure_are_mailed_with_the_outcome_in_the_subject(lab: Lab, work: Work, server: t.Any) -> None:
    done = run(lab)
    assert done["mailed"]
    work.faults["sync"] = HvmError("the connection to hv2 ended", "Look at hv2.")
    with pytest.raises(HvmError) as caught:
        run(lab)
    assert caught.value.details["mailed"]
    run(lab, lab.hv2)  # nothing was done there: no mail
    (first, second) = [message for _to, message, _tls, _user in server.got]
    assert first["Subject"] == "[hvm office] hv1: done, with warnings: backup secure"
    assert first.get_content().splitlines() == done["report"]
    assert second["Subject"] == "[hvm office] hv1: FAILED: backup secure: the connection to hv2 ended"
    body = second.get_content()
    assert "FAILED: the connection to hv2 ended" in body and "What to do: Look at hv2." in body
    assert "hv1 is ACTIVE and is backed up" in body.split("What was done")[1]


def test_a_mail_that_is_refused_is_a_warning_and_a_line_in_the_log(
    lab: Lab, work: Work, server: t.Any, logged: list[str]
) -> None:
    server.answer = "554 that is spam"
    done = run(lab)
    assert done["changed"] and not done["mailed"]
    (said,) = [text for text in done["warnings"] if "mail" in text]
    assert said.startswith("no mail was sent: the mail could not be sent by localhost:") and "that is spam" in said
    assert logged[-1] == f"mail: {said}"
    work.faults["sync"] = HvmError("the connection to hv2 ended")
    with pytest.raises(HvmError, match="the connection to hv2 ended") as caught:
        run(lab)
    assert [text for text in caught.value.details["warnings"] if "that is spam" in text]


def test_a_mail_that_nobody_takes_or_that_is_not_configured_well_fails_nothing(
    lab: Lab, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault in (HvmError("mail.json cannot be used"), RuntimeError("a bug"), UnicodeError("x")):

        def fail(fault: Exception = fault) -> t.NoReturn:
            raise fault

        monkeypatch.setattr(mail, "load", fail)
        done = run(lab)
        assert done["changed"] and done["warnings"][-1] == f"no mail was sent: {fault}"


# ---- the file


def test_options_are_read_with_the_defaults_of_the_playbooks(tmp_path: pathlib.Path) -> None:
    assert scheduled.load(str(tmp_path / "none")) == scheduled.parse("{}") == scheduled.Options()
    assert scheduled.Options().rules == Rules(keep_last=48) and scheduled.Options().kind == "secure"
    kept = {"keep_last": 3, "keep_daily": 7, "except_at": ["12:00"], "older_than": 4.5}
    raw = {"backup": "unsecure", "swap_days": 14, "prune": kept}
    found = scheduled.parse(json.dumps(raw))
    assert (found.backup.method, found.swap_days, found.kind) == ("quiesce", 14, "unsecure")
    assert found.rules == Rules(4.5, ("12:00",), 3, keep_daily=7)
    assert (found.migrate, found.move) == ("secure", move.Options())
    raw = {"migrate": "unsecure", "move": {"mode": "live", "fallback": "refuse", "limit": 60, "max_pause": 5, "rate": 100}}
    moves = scheduled.parse(json.dumps(raw))
    assert (moves.migrate, moves.move) == ("unsecure", move.Options(modes.Policy("live", 0, 60, 5, "refuse"), 100))
    assert not moves.move.stay  # nobody is there who would go on
    saved = scheduled.parse('{"method": "save", "fallback": ["refuse"], "prune": {}}')
    assert saved.backup == backup.Options("save", ()) and saved.rules.is_empty


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object with backup, method"),
        ('{"hour": 3}', "must be a JSON object with backup, method"),
        ('{"backup": "full"}', "'backup' is 'full'"),
        ('{"method": "freeze"}', "'method' of a backup secure is 'freeze'"),
        ('{"backup": "unsecure", "method": "checkpoint"}', "'method' of a backup unsecure is 'checkpoint'"),
        ('{"fallback": ["hope"]}', "'fallback' is ['hope']"),
        ('{"fallback": "save"}', "'fallback' is 'save'"),
        ('{"swap_days": -1}', "'swap_days' is -1"),
        ('{"swap_days": true}', "'swap_days' is True"),
        ('{"swap_days": "7"}', "'swap_days' is '7'"),
        ('{"migrate": "fast"}', "'migrate' is 'fast'"),
        ('{"move": []}', "'move' must be a JSON object with mode, fallback"),
        ('{"move": {"on_failure": "stay"}}', "'move' must be a JSON object with mode, fallback"),
        ('{"move": {"mode": "fast"}}', "'mode' of 'move' is 'fast'"),
        ('{"move": {"limit": 0}}', "'limit' of 'move' is 0"),
        ('{"move": {"rate": true}}', "'rate' of 'move' is True"),
        ('{"move": {"max_pause": "5"}}', "'max_pause' of 'move' is '5'"),
        ('{"prune": {"keep": 3}}', "'keep' is no rule of what old sets stay"),
        ('{"prune": {"keep_last": "3"}}', "keep_last is '3'"),
        ('{"prune": {"keep_last": -3}}', "keep_last is -3"),
        ('{"prune": {"except_at": "12:00"}}', "except_at is '12:00'"),
    ],
)
def test_a_file_that_means_nothing_is_said(text: str, fault: str) -> None:
    with pytest.raises(HvmError) as caught:
        scheduled.parse(text)
    assert fault in caught.value.what


def test_rules_go_over_the_wire_unchanged() -> None:
    rules = Rules(4.5, ("12:00",), 3, keep_daily=7)
    wire = json.loads(json.dumps(dataclasses.asdict(rules)))
    from ansible_collections.hvm.pair.plugins.module_utils._zfs import retention

    assert retention.rules(wire) == rules and cycle.PRUNE_TIMEOUT > 3600


# ---- the process of the timer


#: A run whose one step is `work`; what it says is printed.
PROCESS = """
import os, signal, sys, time
from ansible_collections.hvm.pair.plugins.module_utils._core import log, mail
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import scheduled, switchover

pair = config.PairConfig("office", config.Host("hv1", "h"), config.Host("hv2", "h"), ("d/r",), "/s")
scheduled.configs.load = lambda: pair
scheduled.load = scheduled.Options
log._send = lambda line: print("log:", line, flush=True)
mail.load = lambda: None
def moved(*dummy):
    print("in the midst", flush=True)
    time.sleep(1.5)
    print("at the end", flush=True)
    return {"changed": True, "active": "hv2"}
switchover.migrate = moved
def work(self, options, progress):
    self.decision = scheduled.schedule.Decision("migrate", "so")
    WORK
scheduled.Run.work = work
sys.exit(scheduled.main([]))
"""


def process(work: str) -> subprocess.Popen[str]:
    text = PROCESS.replace("WORK", work)
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_migration_is_not_ended_by_a_signal(number: int) -> None:
    made = process("self._migrate(options, progress)")  # by main(), which lets a signal end it before and after
    assert made.stdout and made.stdout.readline() == "in the midst\n"
    made.send_signal(number)
    out, err = made.communicate(timeout=30)
    assert made.returncode == 0, err
    assert out.startswith("at the end\n") and "[hvm" not in err and "ACTIVE host: hv2" in out


def test_anything_else_is_ended_and_reported() -> None:
    made = process("print('in the midst', flush=True); time.sleep(20)")
    assert made.stdout and made.stdout.readline() == "in the midst\n"
    made.send_signal(signal.SIGTERM)
    out, err = made.communicate(timeout=30)
    assert (made.returncode, err) == (143, "it was told to end (SIGTERM); see the status for what is pending\n")
    assert "failed: it was told to end (SIGTERM)" in out


@pytest.mark.parametrize(
    ("work", "rc", "said"),
    [
        ("pass", 0, ""),
        ("raise HvmError('so', 'Do this.')", 1, "so. Do this.\n"),
        ("self.warnings.append('so')", 0, "warning: so\n"),
    ],
)
def test_the_exit_code_is_that_of_the_unit(work: str, rc: int, said: str) -> None:
    made = process(work)
    out, err = made.communicate(timeout=30)
    assert (made.returncode, err) == (rc, said)
    assert "log: scheduled: this host is" in out


def test_a_bug_ends_the_unit_with_its_place() -> None:
    made = process("raise KeyError('x')")
    _out, err = made.communicate(timeout=30)
    assert made.returncode == 1 and "Traceback" in err


def test_what_the_timer_starts_finds_the_installed_library(tmp_path: pathlib.Path) -> None:
    text, mode = install.files()[install.SCHEDULED]
    assert mode == 0o755 and text.startswith("#!/usr/bin/python3 ")
    script = tmp_path / "hvm-scheduled"
    tree = pathlib.Path(str(scheduled.__file__)).parents[6]
    script.write_text(text.replace(f"{install.HOME}/current", str(tree)))
    hosts = [{"name": "hv1", "address": "10.0.0.1"}, {"name": "hv2", "address": "10.0.0.2"}]
    pair = {"pair": "office", "me": "hv1", "hosts": hosts, "datasets": ["ssd/shared"], "state_dir": "/vm/state"}
    for option, wrong, fault, right in (
        ("--check-options", '{"swap_days": -1}', "'swap_days' is -1", "{}"),
        ("--check-mail", '{"to": ["x"]}', "'x' is no mail address", "{}"),
        ("--check-pair", json.dumps({**pair, "datasets": ["ssd"]}), "POOL/NAME", json.dumps(pair)),
    ):
        for content, rc, words in ((wrong, 1, fault), (right, 0, "")):
            (tmp_path / "file").write_text(content)
            command = [sys.executable, "-I", str(script), option, str(tmp_path / "file")]
            said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert said.returncode == rc and words in said.stderr and said.stdout == ""
