# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the command prints, in which language, and its exit codes."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._command import detached, main, outcome, tree
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    alone,
    backup,
    brief,
    cancelling,
    constraints,
    failover,
    move,
    networks,
    preflight,
    prune,
    recover,
    snapshots,
    switch,
    sync,
    verbs,
    vms,
)

STOPPED: dict[str, t.Any] = {"hypervisor": {"running": False}, "shared_ip": {"enabled": False}, "qemu": []}


# What is printed


def test_status_is_the_manual_s_three_lines_exactly(hvm: t.Any) -> None:
    ran = hvm("status")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "Hypervisor is running\nShared IP is enabled\nVMs are running\n"
    hvm.answers[brief, "look"] = STOPPED
    assert hvm("status").out == "Hypervisor is stopped\nShared IP is disabled\nVMs are stopped\n"


def test_each_part_has_its_own_line(hvm: t.Any) -> None:
    assert hvm("hv", "status").out == "Hypervisor is running\n"
    assert hvm("hv", "sharedIP", "status").out == "Shared IP is enabled\n"
    assert hvm("vms", "status").out == "VMs are running\n"


def test_the_three_lines_are_french_when_that_is_asked_for_and_not_by_the_locale(
    hvm: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    french = "L'hyperviseur est en marche\nL'adresse IP partagée est activée\nLes VMs sont en marche\n"
    assert hvm("status", "--lang", "fr").out == french
    monkeypatch.setenv("LANG", "fr_FR.UTF-8")
    assert hvm("status").out.startswith("Hypervisor is running")
    assert "Afficher la contrainte" in hvm("help").out
    monkeypatch.setenv("HVM_LANG", "fr")
    assert hvm("status").out == french
    assert hvm("status", "--lang=en").out.startswith("Hypervisor is running")


def test_status_says_more_with_an_option_only(hvm: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = hvm.observed("ACTIVE", saved=["web"])
    monkeypatch.setattr(alone, "observe", lambda config: saved)
    lines = hvm("status", "--all").lines
    assert lines[:3] == ["Hypervisor is running", "Shared IP is enabled", "VMs are stopped"]
    assert lines[3] == "hv1 is ACTIVE (pair p, epoch 3; so)"
    assert lines[-1] == "Next: hvm vm restore for web, if not saved on purpose"
    data = json.loads(hvm("status", "--json").out)
    assert data["hvm"] == saved and data["status"] == lines[:3] and data["changed"] is False
    assert json.loads(hvm("hv", "status", "--json").out)["status"] == ["Hypervisor is running"]


def test_lists_are_in_the_manual_s_words(hvm: t.Any) -> None:
    kinds = {"web": ("running", 10, True), "db": ("frozen", 99, False), "old": ("stopped", 5, False)}
    found = {
        name: {"state": state, "priority": priority, "autostart": auto, "autobackup": True, "snapshots": name == "old"}
        for name, (state, priority, auto) in kinds.items()
    }
    hvm.answers[vms, "look"] = {"vms": found, "saved": ["old"], "lists": vms.lists(found, ["old"]), "unknown": []}
    assert hvm("vms", "list", "all").lines == ["web  running", "db   freezed", "old  stopped"]
    names = {"running": "web", "freezed": "db", "frozen": "db", "stopped": "old", "backups": "old", "snapshots": "old",
             "autostart": "web"}  # fmt: skip
    assert {word: hvm("vms", "list", word).out for word in names} == {word: f"{name}\n" for word, name in names.items()}
    assert hvm("vms", "list", "prio").lines == [" 5  old", "10  web", "99  db"]
    assert hvm("vms", "list", "all", "--lang", "fr").lines == ["web  running", "db   freezed", "old  stopped"]


def test_what_is_not_known_is_said_beside_the_list(hvm: t.Any) -> None:
    unknown = "the VMs are not known: the hypervisor is stopped"
    hvm.answers[vms, "look"] = {"vms": {}, "saved": ["old"], "lists": vms.lists({}, ["old"]), "unknown": [unknown]}
    ran = hvm("vm", "status", "old")
    assert (ran.code, ran.out, ran.err) == (0, "old  backup\n", f"hvm: warning: {unknown}\n")


def test_snapshot_lists(hvm: t.Any) -> None:
    assert hvm("zfs", "snap", "list", "dates").out == "20261123T094512Z B  3 h\n" == hvm("snapshots").out
    assert hvm("zfs", "snap", "list", "all").out == "tank/vm@x\n" == hvm("snapshots", "all").out
    assert hvm("zfs", "snap", "list", "lasts").out == "20261123T094512Z B  tank/vm\n"
    hvm.answers[snapshots, "look"] = {"sets": [], "lists": {"dates": []}}
    assert hvm("snapshots", "--lang", "fr").out == "Il n'y a aucun jeu de snapshots.\n"


def test_networks_are_shown_with_what_is_not_as_declared_on_which_host(hvm: t.Any) -> None:
    assert hvm("net", "list").out == "br-v10: VLAN 10 of eno1\n  hv1: as declared\n  hv2: br-v10 is not there\n"
    said = hvm("net", "list", "--lang", "fr").out
    assert said == "br-v10: VLAN 10 of eno1\n  hv1: conforme\n  hv2: br-v10 n'est pas là\n"
    assert hvm("net", "add", "br-v10", "--interface", "eno1", "--vlan", "10").out == "hv1: br-v10: made (VLAN 10 of eno1)\n"
    planned = hvm("net", "add", "br-v10", "--interface", "eno1", "--vlan", "10", "--check").out
    assert planned == "Plan (nothing was changed):\nhv1: br-v10: made (VLAN 10 of eno1)\n  ifup br-v10\n"
    hvm.answers[networks, "query"] = {"networks": [], "warnings": []}
    assert hvm("net", "list").out == "No network is declared.\n"
    wrong = hvm("net", "add", "br-v10", "--address", "10.0.0.1/24")
    assert wrong.code == 1 and "'10.0.0.1/24' is for no host. Write --address HOST=10.0.0.1/24." in wrong.err


def test_constraint_show_is_the_calendar_as_it_is(hvm: t.Any) -> None:
    text = "hv2 must be ACTIVE on 2026-12-20.\n\n       December 2026\n"
    hvm.answers[constraints, "query"] = {"text": text, "warnings": []}
    assert hvm("constraint", "show").out == text


def test_a_backup_reports_as_its_playbook_does_and_so_in_check_mode(hvm: t.Any) -> None:
    hvm.answers[backup, "backup"] = {
        "changed": True, "set": "hvm_x_p_B", "vms": {"web": {"method": "checkpoint", "interruption": 0.2}}, "warnings": ["slow"]
    }  # fmt: skip
    ran = hvm("backup", "secure")
    assert ran.lines == [
        "ACTIVE host: hv1",
        "Interruption of 1 VMs:",
        "  web                  0.20 s",
        "Snapshot set: hvm_x_p_B (B: VM states inside)",
        "Sent: 2.0 KiB, verified on the other host by GUID",
        "Old sets pruned: 1 on hv1 (1.0 KiB), 1 on hv2 (1.0 KiB)",
    ]
    assert ran.err == "hvm: warning: slow\n"
    hvm.answers[backup, "backup"] = {"changed": True, "vms": {}, "plan": ["write the memory of web"], "warnings": []}
    assert hvm("backup", "secure", "--check").lines[:2] == ["Plan (nothing was changed):", "  write the memory of web"]


def test_an_other_host_that_does_not_prune_is_a_warning(hvm: t.Any) -> None:
    hvm.answers["peer"] = HvmError("hv2 is silent", "Look at it.")
    ran = hvm("backup", "secure")
    assert ran.code == 0 and "1 on hv2" not in ran.out
    assert ran.err == "hvm: warning: old sets stay on hv2: hv2 is silent. Look at it.\n"


def test_json_is_what_the_module_returns(hvm: t.Any) -> None:
    ran = hvm("hv", "start", "--json")
    assert json.loads(ran.out) == {
        "changed": True, "role": "ACTIVE", "epoch": 4, "plan": ["start libvirt"], "warnings": []
    }  # fmt: skip
    hvm.answers[switch, "apply"] = Refused("starting the hypervisor", [Finding("it is so", "Wait.", "hv2")])
    failed = hvm("hv", "start", "--json")
    data = json.loads(failed.out)
    assert data["failed"] is True and data["findings"] == [{"what": "it is so", "remedy": "Wait.", "host": "hv2"}]
    assert data["msg"].startswith("starting the hypervisor is refused") and "it is so" in failed.err


def test_steps_are_shown_while_they_are_done_unless_it_is_to_be_quiet(hvm: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def say(config: t.Any, state: str, peer_is_down: str, check: bool, progress: t.Any) -> t.Any:
        progress.say("hvm_vm state=restored comes next")
        return {"changed": False, "role": "ACTIVE", "epoch": 4, "plan": []}

    monkeypatch.setattr(switch, "apply", say)
    ran = hvm("hv", "start", "--check")
    assert ran.err.split(" s  ")[1] == "hvm vm restore comes next\n"
    assert hvm("hv", "start", "--check", "--quiet").err == ""


def test_what_comes_next_after_a_start(hvm: t.Any) -> None:
    assert hvm("hv", "start").lines == [
        "Hypervisor is running (ACTIVE, epoch 4)",
        "  start libvirt",
        "Next: The VMs: hvm vms start; after a rollback to a set with their states (B): hvm vms restore",
    ]


def test_purge_shows_what_stays_and_why(hvm: t.Any) -> None:
    hvm.answers[prune, "prune"] = {
        "changed": True, "destroyed": ["hvm_a"], "blocked": {"hvm_b": ["it is cloned"]}, "warnings": [],
        "decisions": [{"set": "hvm_a", "keep": False, "reason": "old"}, {"set": "hvm_c", "keep": True, "reason": "it is new"}],
    }  # fmt: skip
    assert hvm("zfs", "snap", "purge", "--show").lines == ["Would be destroyed: hvm_a", "Stays: hvm_c: it is new"]
    assert hvm("zfs", "snap", "purge").lines == ["Destroyed: hvm_a", "Stays: hvm_b: it is cloned"]


def test_a_sync_with_nothing_to_send_and_what_would_be_sent(hvm: t.Any) -> None:
    hvm.answers[sync, "run"] = {"changed": False, "set": "hvm_x", "warnings": []}
    assert hvm("zfs", "snap", "sync").lines == ["hvm_x is on the other host already"]
    plan = [{"dataset": "tank/vm", "bytes": 2048}, {"dataset": "tank/vm/a", "bytes": None}]
    hvm.answers[sync, "run"] = {"changed": True, "set": "hvm_x", "plan": plan, "warnings": []}
    wanted = ["hvm_x would be sent (2.0 KiB)", "  tank/vm: 2.0 KiB", "  tank/vm/a: 0 B"]
    assert hvm("zfs", "snap", "sync", "--check").lines == wanted


def test_verbs_say_what_they_did_and_a_second_time_that_there_is_nothing_to_do(hvm: t.Any) -> None:
    assert hvm("vm", "start", "web").lines == ["web started", "web: running"]
    assert hvm("vm", "start", "web", "--check").lines == ["web: would be running"]
    hvm.answers[verbs, "apply"] = {"changed": False, "actions": [], "vms": {}, "diff": {"before": {}}}
    assert hvm("vm", "start", "web").lines == ["Nothing to do."]


# Exit codes


def test_the_exit_codes_are_those_that_are_documented() -> None:
    from ansible_collections.hvm.pair.plugins.module_utils._command.texts import TEXTS

    assert (outcome.DONE, outcome.FAILED, outcome.USAGE, outcome.REFUSED, outcome.UNWATCHED) == (0, 1, 2, 3, 4)
    for text in TEXTS["exit codes"]:
        assert [int(number) for number in text if number.isdigit()] == [0, 1, 2, 3, 4]


def test_wrong_words_are_2_with_where_to_look(hvm: t.Any) -> None:
    ran = hvm("vms", "frob")
    assert (ran.code, ran.out, ran.calls) == (2, "", [])
    assert ran.err == "hvm: frob is no command of 'hvm vms'\nSee: hvm help vms\n"
    assert hvm("--lang", "fr", "vms", "frob").err == "hvm: frob n'est pas une commande de 'hvm vms'\nVoir: hvm help vms\n"
    assert hvm("help", "vms", "frob").code == 2


def test_what_is_refused_is_3_with_every_reason_on_its_line(hvm: t.Any) -> None:
    findings = [
        Finding("the hypervisor is running", "Stop it: hvm_hypervisor state=stopped.", "hv1"),
        Finding("it is DIVERGED", "Decide about them first: hvm.pair.rejoin shows them.", "hv2"),
    ]
    hvm.answers[preflight, "preflight"] = Refused("rollback", findings)
    ran = hvm("rollback")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.splitlines() == [
        "hvm: rollback is refused, nothing was changed:",
        "  hv1: the hypervisor is running. Stop it: hvm hv stop.",
        "  hv2: it is DIVERGED. Decide about them first: hvm rejoin shows them.",
    ]


def test_what_is_for_the_other_host_is_3_and_names_it(hvm: t.Any) -> None:
    hvm.role = "PASSIVE"
    hvm.answers[preflight, "preflight"] = {
        "acts": False, "active": "hv2", "sentence": "hv2 is ACTIVE and does the work", "role": "PASSIVE", "warnings": []
    }  # fmt: skip
    ran = hvm("backup", "secure")
    assert ran.code == 3 and ran.calls == ["preflight.preflight(operation='backup')"]
    assert ran.err.splitlines()[1] == "  hv1: hv2 is ACTIVE and does the work. Run it there, on hv2."


def test_recovery_that_begins_elsewhere_is_3(hvm: t.Any) -> None:
    elsewhere = {"do": "elsewhere", "sentence": "hv2 was ACTIVE, later than hv1: hv2 recovers first", "changed": False}
    hvm.answers[recover, "apply"] = elsewhere
    ran = hvm("recover")
    assert ran.code == 3 and "rejoin" not in str(ran.calls)
    assert "hv2 recovers first. Go on there, on hv2." in ran.err


def test_a_failover_that_is_refused_shows_what_would_be_lost(hvm: t.Any) -> None:
    refused = Refused("failover", [Finding("hv2 does not answer", "If hv2 is off, name it: hvm_dead_host=hv2.", "hv1")])
    refused.what += "\nVM web: loses 12 min\nLost altogether: 3 MiB"
    hvm.answers[failover, "apply"] = refused
    ran = hvm("failover")
    assert ran.code == 3
    assert ran.err.splitlines()[1:] == [
        "  hv1: hv2 does not answer. If hv2 is off, name it: --dead-host hv2.",
        "  VM web: loses 12 min",
        "  Lost altogether: 3 MiB",
    ]


def test_what_fails_is_1_with_its_sentence_remedy_and_warnings(hvm: t.Any) -> None:
    hvm.answers[verbs, "apply"] = HvmError("not all VMs are started: web: no", "Mend it.", warnings=["db is slow"], changed=True)
    ran = hvm("vms", "start")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "hvm: warning: db is slow\nhvm: not all VMs are started: web: no. Mend it.\n"


def test_a_bug_is_1_and_says_where(hvm: t.Any) -> None:
    hvm.answers[verbs, "apply"] = ZeroDivisionError("by zero")
    ran = hvm("vms", "start")
    assert ran.code == 1 and "hvm: unexpected ZeroDivisionError: by zero" in ran.err and "Traceback" in ran.err
    assert "erreur inattendue" in hvm("vms", "start", "--lang", "fr").err


def test_what_libvirt_itself_says_is_no_bug(hvm: t.Any) -> None:
    hvm.answers[verbs, "apply"] = type("libvirtError", (Exception,), {})("Cannot write data: Broken pipe")
    ran = hvm("vms", "start")
    said = "hvm: libvirt failed: Cannot write data: Broken pipe. What it says of that itself: journalctl -u libvirtd.\n"
    assert (ran.code, ran.err) == (1, said)


def test_a_move_asks_what_its_playbook_asks_and_reports_each_vm(hvm: t.Any) -> None:
    hvm.answers[preflight, "preflight"] = {**hvm.answers[preflight, "preflight"], "warnings": ["slow"]}
    hvm.answers[move, "migrate"] = {
        "changed": True, "active": "hv2", "vms": {"web": {"mode": "live", "interruption": 1.7}}, "warnings": ["not held"],
        "steps": [{"step": "target: overlays into the disks", "seconds": 4.0}], "window": 1.7,
    }  # fmt: skip
    ran = hvm("migrate", "unsecure")
    assert (ran.code, ran.err) == (0, "hvm: warning: slow\nhvm: warning: not held\n")
    assert ran.lines == [
        "ACTIVE host: hv2",
        "Interruption of 1 VMs:",
        "  web                   1.7 s  live",
        "Steps (the longest interruption of a VM: 1.7 s):",
        "  target: overlays into the disks     4.00 s",
    ]


def test_a_move_that_is_for_the_other_host_is_refused_and_names_it(hvm: t.Any) -> None:
    hvm.answers[preflight, "preflight"] = {
        "acts": False, "active": "hv2", "sentence": "hv2 is ACTIVE and does the work", "role": "PASSIVE", "warnings": []
    }  # fmt: skip
    ran = hvm("migrate", "unsecure")
    assert ran.code == 3 and ran.calls == ["preflight.preflight(operation='migrate_unsecure')"]
    assert "Run it there, on hv2." in ran.err


def test_a_move_is_cancelled_beside_the_process_that_moves_and_without_one_of_its_own(
    hvm: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hvm follow` goes on with the migration, so this must not be the newest task."""
    monkeypatch.setattr(detached.Task, "new", lambda typed: pytest.fail("a task"))
    ran = hvm("cancel", "--stay")
    assert ran.lines == [
        "migrate_unsecure is told to end; VMs that have moved come back",
        "It goes on until it has ended in good order: hvm follow",
    ]
    assert ran.calls == ["cancelling.cancel(moved='stay', check=False, other='hv2')"]
    assert hvm("cancel", "--check").lines == ran.lines[:1]
    hvm.answers[cancelling, "cancel"] = HvmError("nothing runs here that could be cancelled", "Only x can be.")
    failed = hvm("cancel", "--lang", "fr")
    assert failed.code == 1 and "rien n'est en cours ici qui puisse être interrompu" in failed.err


def test_status_says_where_each_vm_is_while_they_move(hvm: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"operation": "migrate_unsecure", "started": "then", "step": "move", "vms": ["db", "web"], "begun": ["web"]}
    me = hvm.observed("ACTIVE", qemu=["db"], pending={**entry, "moved": ["web"], "set": "s"})
    other = {**hvm.observed("PASSIVE", qemu=["web"]), "host": "hv2", "peer": "hv1"}
    other["role"] = {**other["role"], "role": "PASSIVE"}
    other["pending"] = {**entry, "set": "s", "source": "hv1", "arrived": ["web"]}
    monkeypatch.setattr(alone, "observe", lambda config: me)
    monkeypatch.setattr(preflight, "ask", lambda config: (other, ""))
    lines = hvm("status", "--all").lines
    assert lines[4:7] == ["State: MOVING, the VMs are on both hosts", "  db   hv1  runs", "  web  hv2  runs"]
    assert lines[-1] == "Next: hvm migrate unsecure goes on with it, if it can; hvm recover brings all VMs back"
    found = json.loads(hvm("status", "--json").out)["moving"]
    assert found == {
        "state": "MOVING",
        "asked": True,
        "vms": {"db": {"host": "hv1", "how": "runs"}, "web": {"host": "hv2", "how": "runs"}},
    }
    monkeypatch.setattr(preflight, "ask", lambda config: (None, "no route"))
    lines = hvm("status", "--all", "--lang", "fr").lines
    assert lines[4:8] == [
        "État: MOVING, les VMs sont sur les deux hôtes",
        "  db   hv1  runs",
        "  web  unknown  unknown",
        "  hv2 ne répond pas: de ses VMs on ne sait rien de plus",
    ]


def test_a_host_on_which_nothing_moves_does_not_ask_the_other_one(hvm: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "observe", lambda config: hvm.observed("ACTIVE"))
    monkeypatch.setattr(preflight, "ask", lambda config: pytest.fail("it was asked"))
    assert json.loads(hvm("status", "--json").out)["moving"] == {}


@pytest.mark.parametrize("typed", ["backup secure --check", "vm start web", "hv stop", "recover", "follow", "cancel"])
def test_what_changes_something_is_for_root(hvm: t.Any, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr(main.os, "geteuid", lambda: 1000)
    ran = hvm(*typed.split())
    assert (ran.code, ran.calls) == (3, []) and "is for root" in ran.err


@pytest.mark.parametrize("typed", ["status --all", "vm status web", "vms list all", "net list", "constraint show"])
def test_what_asks_libvirt_or_the_other_host_is_for_root_too(hvm: t.Any, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    """Root's are the state images, and the key for the other host: it would be called silent."""
    monkeypatch.setattr(main.os, "geteuid", lambda: 1000)
    ran = hvm(*typed.split())
    assert (ran.code, ran.calls, ran.out) == (3, [], "")
    assert ran.err == f"hvm: 'hvm {typed.removesuffix(' web')}' is for root. Run it as root, or with sudo.\n"


@pytest.mark.parametrize("typed", ["status", "vms status", "zfs snap list dates"])
def test_who_only_looks_need_not_be_root(hvm: t.Any, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr(main.os, "geteuid", lambda: 1000)
    assert hvm(*typed.split()).code == 0


def test_a_host_without_a_pair_says_so(hvm: t.Any) -> None:
    hvm.config.unlink()
    ran = hvm("status")
    assert ran.code == 1 and "this host does not belong to a pair" in ran.err


def test_all_that_changes_something_runs_detached_and_nothing_else_does() -> None:
    """By the tree: whoever forgets it there would leave the command to the terminal's mercy."""
    looks = ("status", "vms_list", "vm_status", "snap_list", "constraint_show", "kept_list", "net_list", "help", "complete")
    looks += ("follow",)
    at_once = ("cancel",)  # one word in a file
    for way in tree.commands():
        assert way[-1].changes == (way[-1].action not in (*looks, *at_once)), tree.path(way)
