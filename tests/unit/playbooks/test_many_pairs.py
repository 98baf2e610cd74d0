# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many pairs in one run: the real playbooks and the real role, against made-up hosts (fake_pairs.py), of which one is slow, some
cannot be reached, and some fail, one pair at each step. The slow one works until all others have come to their end: a pair that
had to wait for it would never come there. HVM_PAIRS=100 for more pairs, HVM_FORKS=50; what that took is in docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import typing as t

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_pairs import FAIL, LOST, OK, SLOW, Line, log
from test_playbooks import ANSIBLE, ROOT, World, look

PAIRS = int(os.environ.get("HVM_PAIRS", "12"))
FORKS = int(os.environ.get("HVM_FORKS", "8"))
#: Seconds: that the slow host works when the others do not come to their end.
PATIENCE = 300.0

#: In place of a module.
ACTION = '''
import pathlib, sys
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

sys.path.insert(0, "HERE")
import fake_pairs


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        host = self._task.delegate_to or task_vars["inventory_hostname"]
        address = self._connection.get_option("host")
        try:
            return fake_pairs.answer(pathlib.Path("WORLD"), "NAME", host, address, dict(self._task.args), self._task.check_mode)
        except fake_pairs.Lost as exc:
            raise AnsibleConnectionFailure(str(exc))
'''

#: An inventory of many pairs, as in inventory/hundred-pairs.example.yml.
INVENTORY = '''
hvm:
  hosts:
    p[001:{pairs:03d}][a:b]:
  vars:
    ansible_host: "{{{{ inventory_hostname }}}}.example.org"
    hvm_pair: "{{{{ inventory_hostname[:-1] }}}}"
    hvm_hosts: "{{{{ [hvm_pair ~ 'a', hvm_pair ~ 'b'] }}}}"
    hvm_datasets: [ssd/shared]
'''

#: What of the role is not of this collection and touches a host.
_ON_A_HOST = re.compile(r"ansible\.builtin\.(apt|command|slurp|file|lineinfile|copy|systemd_service|template|stat):")


class Ended(t.NamedTuple):
    """:ivar rows: pair -> what the summary has as data.
    :ivar seconds, cpu: that all of it took, by the clock and of the processor.
    """

    rc: int
    text: str
    rows: dict[str, dict[str, t.Any]]
    lines: list[Line]
    seconds: float
    cpu: float

    def of(self, pair: str, kind: str = OK) -> list[tuple[str, str]]:
        """(letter of the host, module) of each answer, in order."""
        return [(line.host[-1], line.module) for line in self.lines if line.host[:-1] == pair and line.kind == kind]


class Many(World):
    """:ivar faults, ends: see fake_pairs.Plan."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory)
        tree = directory / "collections/ansible_collections/hvm/pair"
        shutil.rmtree(tree / "plugins/modules")
        shutil.copytree(ROOT / "roles/host", tree / "roles/host")
        names = [module.stem for module in (ROOT / "plugins/modules").glob("hvm_*.py")]
        for tasks in (tree / "roles/host/tasks").glob("*.yml"):
            text = tasks.read_text()
            names += _ON_A_HOST.findall(text)
            text = re.sub(r"(command): (systemctl .*)", r"\1: {argv: [\2]}", text)
            tasks.write_text(_ON_A_HOST.sub(r"hvm.pair.\1:", text))
        text = (tree / "playbooks/shutdown.yml").read_text()
        (tree / "playbooks/shutdown.yml").write_text(text.replace("ansible.builtin.command:", "hvm.pair.command:"))
        text = (tree / "playbooks/tasks/is_off.yml").read_text()
        (tree / "playbooks/tasks/is_off.yml").write_text(text.replace("ansible.builtin.ping:", "hvm.pair.ping:"))
        (tree / "plugins/action").mkdir()
        for name in {*names, "command", "ping"}:
            action = ACTION.replace("HERE", str(pathlib.Path(__file__).parent)).replace("WORLD", str(directory))
            (tree / "plugins/action" / f"{name}.py").write_text(action.replace("NAME", name))
        self.pairs = [f"p{number:03d}" for number in range(1, PAIRS + 1)]
        self.inventory.write_text(INVENTORY.format(pairs=PAIRS))
        self.faults: dict[str, dict[str, str]] = {}
        self.ends: dict[str, list[str]] = {}
        (directory / "active").mkdir()
        for pair in self.pairs:
            self.active(pair, "a")

    def active(self, pair: str, letter: str) -> None:
        (self.directory / "active" / pair).write_text(pair + letter)

    def run(self, name: str, *words: str) -> Ended:
        (self.directory / "log").write_text("")
        looks = {
            host: {role: look(role, host=host, peer=f"{pair}{'ab'[letter == 'a']}", pair=pair) for role in ("ACTIVE", "PASSIVE")}
            for pair in self.pairs
            for letter in "ab"
            for host in (pair + letter,)
        }
        plan = {"faults": self.faults, "ends": self.ends, "patience": PATIENCE, "looks": looks}
        (self.directory / "plan.json").write_text(json.dumps(plan))
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(self.directory / "collections"),
            "ANSIBLE_HOME": str(self.directory / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_SHOW_CUSTOM_STATS": "1",
        }
        ansible = os.environ.get("HVM_ANSIBLE_PLAYBOOK", str(ANSIBLE))
        command = [ansible, "-f", str(FORKS), "-i", str(self.inventory), f"hvm.pair.{name}", *words]
        began, before = time.monotonic(), os.times()
        made = subprocess.run(
            command, env=environment, cwd=self.directory, capture_output=True, text=True, timeout=900, check=False
        )
        after = os.times()
        seconds = time.monotonic() - began
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        text = made.stdout + made.stderr
        rows = re.search(r"^\tRUN: (\{.*?\})$", made.stdout, re.MULTILINE)
        found = json.loads(rows[1])["hvm_pairs"] if rows else []
        return Ended(made.returncode, text, {row["pair"]: row for row in found}, log(self.directory), seconds, cpu)


@pytest.fixture(name="many")
def _many(tmp_path: pathlib.Path) -> Many:
    if not pathlib.Path(os.environ.get("HVM_ANSIBLE_PLAYBOOK", str(ANSIBLE))).exists():
        pytest.skip("no ansible-playbook beside this Python")
    return Many(tmp_path)


class Course(t.NamedTuple):
    """:ivar steps: the modules of a playbook on the host that acts, in order; a pair fails at each.
    :ivar slow: the one that takes long; the others have more to do after it, where they would not come if held up.
    :ivar goes_without: whether a host that cannot be reached may be the one that is off.
    """

    steps: tuple[str, ...]
    slow: str
    goes_without: bool = False


#: Playbooks in which one host of each pair leads.
COURSES = {
    "backup_secure": Course(("hvm_preflight", "hvm_checkpoint", "hvm_zfs_sync", "hvm_zfs_prune"), "hvm_zfs_sync"),
    "backup_unsecure": Course(("hvm_preflight", "hvm_checkpoint", "hvm_zfs_sync", "hvm_zfs_prune"), "hvm_checkpoint"),
    "migrate_secure": Course(("hvm_preflight", "hvm_switchover"), "hvm_preflight"),
    "migrate_unsecure": Course(("hvm_preflight", "hvm_move"), "hvm_preflight"),
    "hv_start": Course(("hvm_preflight", "hvm_hypervisor"), "hvm_preflight"),
    "rollback": Course(("hvm_preflight", "hvm_zfs_rollback"), "hvm_preflight"),
    "scheduled": Course(("hvm_scheduled",), "hvm_scheduled"),
    "recover": Course(("hvm_recover", "hvm_rejoin"), "hvm_recover", goes_without=True),
    "rejoin": Course(("hvm_info", "hvm_rejoin"), "hvm_info"),
}


def test_every_playbook_is_free() -> None:
    """Also where the tests below have nothing after the slow step. But that of one pair, before there is one, which compares."""
    for path in (ROOT / "playbooks").glob("*.yml"):
        plays = [play for play in yaml.safe_load(path.read_text()) if "hosts" in play]
        if path.stem not in ("awx", "import_local_conf"):
            assert [play.get("strategy") for play in plays] == ["ansible.builtin.free"], path.name


@pytest.mark.parametrize("name", COURSES)
def test_no_pair_waits_for_another_and_each_has_its_summary(many: Many, name: str) -> None:
    course = COURSES[name]
    first, turned, slow, leader_lost, active_lost, *others = many.pairs
    failing, well = dict(zip(others, course.steps, strict=False)), others[len(course.steps) :]
    assert well, "more pairs are needed: HVM_PAIRS"
    for pair in (turned, leader_lost, active_lost):
        many.active(pair, "b")
    many.faults = {f"{slow}a": {course.slow: SLOW}, f"{leader_lost}a": {"*": LOST}, f"{active_lost}b": {"*": LOST}}
    many.faults.update({f"{pair}a": {step: FAIL} for pair, step in failing.items()})
    last = course.steps[-1]
    many.ends = {pair: [f"{pair}a", last, OK] for pair in (first, *well)}
    many.ends.update({pair: [f"{pair}b", last, OK] for pair in (turned, leader_lost)})
    many.ends.update({active_lost: [f"{active_lost}b", course.steps[0], LOST]})
    many.ends.update({pair: [f"{pair}a", step, FAIL] for pair, step in failing.items()})

    ended = many.run(name)
    assert ended.rc in (2, 4), ended.text
    assert sorted(ended.rows) == many.pairs, ended.text
    for pair in (first, turned, slow, *well):
        assert (ended.rows[pair]["outcome"], ended.rows[pair]["error"]) == ("done", ""), ended.text
        letter = "b" if pair == turned else "a"
        assert (letter, last) in ended.of(pair, SLOW if (pair, last) == (slow, course.slow) else OK)
    for pair, step in failing.items():
        row = ended.rows[pair]
        assert row["outcome"] == "failed" and f"{step} failed on {pair}a. Mend {{{{ 6 * 7 }}}}." in row["error"], ended.text
        later = course.steps[course.steps.index(step) + 1 :]
        assert not [module for _letter, module in ended.of(pair) if module in later], "it went on after a failure"
    row = ended.rows[leader_lost]
    assert ("b", last) in ended.of(leader_lost)
    assert row["outcome"] == ("done" if course.goes_without else "failed")
    assert course.goes_without or "no route to host" in row["error"]
    row = ended.rows[active_lost]
    assert row["outcome"] in ("unreachable", "failed") and row["error"], ended.text
    assert ("b", last) not in ended.of(active_lost)
    # what is asked of a host goes to its own address, whoever asks
    assert {(line.host, line.address) for line in ended.lines if line.address != f"{line.host}.example.org"} == set()
    # failures last, in the lines too
    shown = [line for line in ended.text.splitlines() if re.match(r' *"p\d{3} ', line)]
    assert len(shown) == PAIRS and all("FAILED" in line or "UNREACHABLE" in line for line in shown[-len(failing) :])
    print(f"{name}: {PAIRS} pairs, {FORKS} forks, {len(ended.lines)} answers in {ended.seconds:.1f} s ({ended.cpu:.1f} s of CPU)")


@pytest.mark.parametrize(("name", "module"), [("migrate_secure", "hvm_switchover"), ("migrate_unsecure", "hvm_move")])
def test_a_migration_is_made_once_whoever_is_asked_when(many: Many, name: str, module: str) -> None:
    """Asked for itself, after it was made ACTIVE, the other host would migrate back."""
    for pair in many.pairs[::2]:
        many.active(pair, "b")
    ended = many.run(name)
    assert ended.rc == 0, ended.text
    for number, pair in enumerate(many.pairs):
        source, target = ("b", "a") if number % 2 == 0 else ("a", "b")
        assert [step for step in ended.of(pair) if step[1] == module] == [(source, module)]
        assert ended.rows[pair]["active"] == pair + target and ended.rows[pair]["interruption"] == 1.5


def test_one_playbook_after_another_asks_anew_which_host_acts(many: Many) -> None:
    """Variables last as long as a run: what the one before has found out is not what is so now."""
    playbooks = many.directory / "collections/ansible_collections/hvm/pair/playbooks"
    names = ("hv_start", "migrate_secure", "backup_secure", "migrate_unsecure", "hv_start")
    (playbooks / "site.yml").write_text("".join(f"- ansible.builtin.import_playbook: hvm.pair.{name}\n" for name in names))
    for pair in many.pairs[::2]:
        many.active(pair, "b")
    ended = many.run("site")
    assert ended.rc == 0, ended.text
    for number, pair in enumerate(many.pairs):
        source, target = ("b", "a") if number % 2 == 0 else ("a", "b")
        did = [step for step in ended.of(pair) if step[1] in ("hvm_hypervisor", "hvm_switchover", "hvm_checkpoint", "hvm_move")]
        assert did == [
            *((source, "hvm_hypervisor"), (source, "hvm_switchover"), (target, "hvm_checkpoint"), (target, "hvm_move")),
            (source, "hvm_hypervisor"),
        ]


ALONE = [("status", "hvm_info"), ("snapshots", "hvm_zfs_snapshot_info"), ("hv_stop", "hvm_hypervisor")]


@pytest.mark.parametrize(("name", "module"), ALONE)
def test_what_each_host_does_for_itself(many: Many, name: str, module: str) -> None:
    slow, failing, lost, *well = many.pairs
    many.faults = {f"{slow}a": {module: SLOW}, f"{failing}b": {module: FAIL}, f"{lost}a": {module: LOST}}
    many.ends = {pair: [f"{pair}b", module, OK] for pair in (lost, *well)} | {failing: [f"{failing}b", module, FAIL]}
    ended = many.run(name)
    assert ended.rc == 4 and sorted(ended.rows) == many.pairs, ended.text
    assert {(line.host, line.module) for line in ended.lines} == {(f"{pair}{one}", module) for pair in many.pairs for one in "ab"}
    outcomes = {pair: ended.rows[pair]["outcome"] for pair in many.pairs}
    good = "done" if name == "hv_stop" else "unchanged"
    assert outcomes == {slow: good, failing: "failed", lost: "unreachable", **dict.fromkeys(well, good)}
    assert ended.rows[lost]["error"].endswith(f"{lost}a: no route to host")
    if name == "status":
        assert {ended.rows[pair]["active"] for pair in well} == {f"{pair}a" for pair in well}


def test_an_installation_gives_roles_when_both_hosts_of_a_pair_have_come_so_far(many: Many) -> None:
    slow, failing, lost, late, *well = many.pairs
    many.faults = {f"{slow}a": {"apt": SLOW}, f"{failing}b": {"apt": FAIL}, f"{lost}a": {"*": LOST}}
    many.faults[f"{late}b"] = {"hvm_agent": SLOW}
    many.ends = {pair: [f"{pair}b", "hvm_role", OK] for pair in well}
    ended = many.run("install")
    assert ended.rc in (2, 4), ended.text
    for pair in (slow, late, *well):
        roles = [step for step in ended.of(pair) if step[1] == "hvm_role"]
        assert set(roles) == {("a", "hvm_role"), ("b", "hvm_role")}, ended.text
        assert ended.rows[pair]["outcome"] not in ("failed", "unreachable"), ended.text
    for pair in (failing, lost):
        assert "hvm_role" not in {module for _letter, module in ended.of(pair)}
        assert ended.rows[pair]["outcome"] in ("failed", "unreachable")
    for line in ended.lines:
        assert line.address == f"{line.host}.example.org"
        if line.told.get("path") == "/root/.ssh/authorized_keys":
            other = line.host[:-1] + ("b" if line.host.endswith("a") else "a")
            place = "regexp" if line.told.get("state") == "absent" else "line"  # every other key goes first
            assert f"KEY-OF-{other}" in line.told[place].replace("\\", ""), line
            assert "/usr/lib/hvm/hvm-agent" in line.told[place].replace("\\", ""), line
        if line.told.get("dest") == "/etc/hvm/known_hosts":
            other = line.host[:-1] + ("b" if line.host.endswith("a") else "a")
            assert line.told["content"].split() == [other, "ssh-ed25519", f"KEY-OF-{other}"], line


@pytest.mark.parametrize(
    ("name", "words", "steps"),
    [
        ("failover", {"hvm_dead_host": "p003a"}, [("b", "hvm_failover")]),
        ("failover", {"hvm_dead_host": "p003b"}, [("a", "hvm_failover")]),
        ("rejoin", {"hvm_winner": "p003b"}, [("b", "hvm_rejoin")]),
        (
            "rejoin",
            {"hvm_rejoin": "discard", "hvm_discard": "p003b"},
            [("a", "hvm_info"), ("b", "hvm_info"), ("a", "hvm_rejoin")],
        ),
        ("hv_start", {"hvm_start_host": "p003b"}, [("b", "hvm_hypervisor")]),
        ("hv_start", {"hvm_peer_is_down": "p003b"}, [("a", "hvm_preflight"), ("a", "hvm_hypervisor")]),
        (
            "recover",
            {"hvm_peer_is_down": "p003b", "hvm_give_up": "p003b"},
            [("a", "hvm_recover")] * 2 + [("a", "hvm_rejoin")],  # it is asked, then does it
        ),
        ("shutdown", {"hvm_shutdown_host": "p003b"}, [("b", "hvm_info"), ("b", "hvm_info"), ("b", "command")]),
    ],
)
def test_a_host_that_is_named_is_named_for_its_pair_alone(
    many: Many, name: str, words: dict[str, str], steps: list[tuple[str, str]]
) -> None:
    for word in ("hvm_dead_host", "hvm_peer_is_down"):
        if word in words:
            many.faults[words[word]] = {"*": LOST}
    ended = many.run(name, "--check" if name == "shutdown" else "-v", "-e", json.dumps(words))
    assert ended.rc == 0, ended.text
    assert ended.of("p003") == steps
    assert {line.host[:-1] for line in ended.lines} == {"p003"}
    assert {row["outcome"] for pair, row in ended.rows.items() if pair != "p003"} <= {"not asked", "unchanged"}


def test_a_host_that_is_lost_and_left_out_of_the_run_is_named_for_its_pair_alone(many: Many) -> None:
    ended = many.run("hv_start", "--limit", "all:!p003b", "-e", json.dumps({"hvm_peer_is_down": "p003b"}))
    assert {line.host[:-1] for line in ended.lines} == {"p003"}, ended.text


@pytest.mark.parametrize("limit", ["p003*", "p003a", "p003b"])
def test_a_limit_to_a_pair_or_to_a_host(many: Many, limit: str) -> None:
    ended = many.run("backup_secure", "--limit", limit)
    assert {line.host[:-1] for line in ended.lines} == {"p003"} and ended.rows == {} and "pairs:" not in ended.text
    if limit == "p003b":
        assert ended.rc == 2 and ended.of("p003") == [("b", "hvm_preflight")]
        assert "p003a is ACTIVE and is not in this run (--limit?): nothing was done." in " ".join(ended.text.split())
    else:
        assert ended.rc == 0, ended.text
        assert [module for _letter, module in ended.of("p003")] == list(COURSES["backup_secure"].steps)


def test_a_host_that_no_pair_names_is_not_left_out_in_silence(many: Many) -> None:
    many.inventory.write_text(many.inventory.read_text() + "  children:\n    other: {hosts: {stray: }}\n")
    ended = many.run("migrate_secure")
    assert ended.rc == 2, ended.text
    text = " ".join(ended.text.split())
    assert "stray: hvm_hosts is straa, strab, and must name this host and the other one of its pair: nothing was done." in text
    assert {ended.rows[pair]["outcome"] for pair in many.pairs} == {"done"}
