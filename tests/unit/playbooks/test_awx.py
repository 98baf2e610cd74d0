# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX is told: the role awx for real, with the modules of awx.awx, against a server that answers as AWX does (fake_awx.py);
that its templates and surveys say the same as the playbooks; and the image that AWX runs them in."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import jinja2
import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_awx import FakeAWX, answer_fault, survey_fault

ROOT = pathlib.Path(__file__).resolve().parents[3]
ANSIBLE = pathlib.Path(sys.executable).with_name("ansible-playbook")
AWX_AWX = list(pathlib.Path(sys.executable).parents[1].glob("lib/python*/site-packages/ansible_collections/awx/awx"))

#: Playbooks that have no template: the one that makes the templates, and one whose output is for the inventory, once.
WITHOUT_TEMPLATE = {"awx", "import_local_conf"}

#: What playbooks read and no survey asks, since it is a setting of the pair, for its inventory -> why it is no question
NOT_ASKED = {
    "hvm_target": "the template says it",
    "hvm_become": "goes with the user of the inventory",
    "hvm_hosts": "the pair itself",
    "hvm_local_conf": "read once, when the pair is made",
    "hvm_backup_method": "an answer would win over the inventory",
    "hvm_checkpoint_fallback": "a list",
    "hvm_unsecure_method": "an answer would win over the inventory",
    "hvm_move_fallback": "an answer would win over the inventory",
    "hvm_move_limit": "an answer would win over the inventory",
    "hvm_move_max_pause": "an answer would win over the inventory",
    "hvm_move_rate": "an answer would win over the inventory",
    "hvm_keep": "an answer would win over the inventory",
    "hvm_prune_older_than": "an answer would win over the inventory",
    "hvm_prune_except_at": "an answer would win over the inventory",
    "hvm_prune_keep_hourly": "an answer would win over the inventory",
    "hvm_prune_keep_daily": "an answer would win over the inventory",
    "hvm_prune_keep_weekly": "an answer would win over the inventory",
    "hvm_prune_keep_monthly": "an answer would win over the inventory",
    "hvm_fence": "a command; whoever may launch must not choose it",
    "hvm_shutdown_timeout": "an answer would win over the inventory",
}


@functools.cache
def data() -> dict[str, t.Any]:
    return yaml.safe_load((ROOT / "roles/awx/vars/main.yml").read_text())


def templates() -> list[dict[str, t.Any]]:
    return data()["__hvm_awx_templates"]


def some(*names: str) -> list[dict[str, t.Any]]:
    """A few of the templates, for a run that is to be short: a module takes a second."""
    return [template for template in templates() if template["name"] in names]


def questions() -> list[tuple[str, dict[str, t.Any]]]:
    return [(template["name"], question) for template in templates() for question in template.get("survey", [])]


# ---- what a playbook reads

#: Keys whose value is an expression without braces
BARE = {"when", "that", "until", "failed_when", "changed_when"}


def expressions(part: t.Any, bare: bool = False) -> t.Iterator[jinja2.nodes.Template]:
    """All expressions of a part of a playbook."""
    if isinstance(part, str):
        yield jinja2.Environment().parse(f"{{{{ {part} }}}}" if bare and "{{" not in part else part)
    elif isinstance(part, list):
        for item in part:
            yield from expressions(item, bare)
    elif isinstance(part, dict):
        for key, value in part.items():
            yield from expressions(value, key in BARE)


def reads(part: t.Any) -> set[str]:
    return {node.name for tree in expressions(part) for node in tree.find_all(jinja2.nodes.Name)}


def reads_without_care(part: t.Any, name: str) -> int:
    """How often a variable is read otherwise than as `NAME | default(..., true)`, to which empty and null are not given."""
    times = 0
    for tree in expressions(part):
        times += sum(node.name == name for node in tree.find_all(jinja2.nodes.Name))
        for node in tree.find_all(jinja2.nodes.Filter):
            careful = node.name == "default" and len(node.args) == 2 and getattr(node.args[1], "value", None) is True
            times -= careful and getattr(node.node, "name", None) == name
    return times


def sets(part: t.Any) -> t.Iterator[str]:
    """Names that a part of a playbook gives to something itself."""
    if isinstance(part, list):
        for item in part:
            yield from sets(item)
    elif isinstance(part, dict):
        yield from part.get("vars") or {}
        if isinstance(part.get("register"), str):
            yield part["register"]
        for value in part.values():
            yield from sets(value)


def with_its_tasks(part: t.Any) -> t.Any:
    """A playbook with the files of tasks that it imports."""
    if isinstance(part, list):
        return [with_its_tasks(item) for item in part]
    if not isinstance(part, dict):
        return part
    if isinstance(name := part.get("ansible.builtin.import_tasks"), str):
        (path,) = [path for path in (ROOT / "playbooks" / name, ROOT / "playbooks/tasks" / name) if path.exists()]
        return [part, with_its_tasks(yaml.safe_load(path.read_text()))]
    if "vars_files" in part:
        found = [{"vars": yaml.safe_load((ROOT / "playbooks" / name).read_text())} for name in part["vars_files"]]
        return [*found, with_its_tasks({key: value for key, value in part.items() if key != "vars_files"})]
    return {key: with_its_tasks(value) for key, value in part.items()}


def playbook(name: str) -> t.Any:
    return with_its_tasks(yaml.safe_load((ROOT / f"playbooks/{name}.yml").read_text()))


@functools.cache
def playbooks() -> dict[str, set[str]]:
    """Playbook -> the variables that it takes from the inventory or the command line."""
    whole = {path.stem: playbook(path.stem) for path in (ROOT / "playbooks").glob("*.yml")}
    # of any of them: what they share reads what not all of them set
    ours = {name for one in whole.values() for name in sets(one)}
    return {stem: {name for name in reads(one) - ours if name.startswith("hvm_")} for stem, one in whole.items()}


def test_the_variables_of_a_playbook_are_found() -> None:
    assert playbooks()["failover"] == {
        "hvm_target", "hvm_become", "hvm_failover_to", "hvm_dead_host", "hvm_give_up", "hvm_fence", "hvm_hosts"
    }  # fmt: skip
    assert playbooks()["migrate_secure"] == {"hvm_target", "hvm_become", "hvm_hosts"}
    assert playbooks()["backup_secure"] >= {"hvm_backup_method", "hvm_keep"}  # one in a file of tasks
    assert "hvm_start_host" in playbooks()["hv_start"]  # in `when` and in `vars`


# ---- the templates


def test_every_playbook_has_a_template() -> None:
    assert {template["playbook"] for template in templates()} == set(playbooks()) - WITHOUT_TEMPLATE
    names = [template["name"] for template in templates()]
    assert len(set(names)) == len(names)
    assert all((ROOT / f"{template['playbook']}.yml").exists() for template in templates())


@pytest.mark.parametrize("name", sorted(set(playbooks()) - WITHOUT_TEMPLATE))
def test_what_a_playbook_reads_is_asked_or_is_a_setting(name: str) -> None:
    asked = {
        question["variable"]
        for template in templates()
        if template["playbook"] == name
        for question in template.get("survey", [])
    }
    assert asked - playbooks()[name] == set(), "asked, and read by nobody"
    assert playbooks()[name] - asked - set(NOT_ASKED) == set(), "neither asked nor a setting"
    assert asked & set(NOT_ASKED) == set()


def test_the_documentation_has_a_line_for_each_survey() -> None:
    lines = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/awx.md").read_text(), re.MULTILINE)
    assert lines == [template["name"] for template in templates() if "survey" in template]


def test_no_setting_is_declared_that_no_playbook_reads() -> None:
    assert set(NOT_ASKED) - set().union(*playbooks().values()) == set()


@pytest.mark.parametrize("template", [one for one in templates() if "survey" in one], ids=lambda one: one["name"])
def test_awx_takes_the_survey(template: dict[str, t.Any]) -> None:
    assert survey_fault({"name": "", "description": "", "spec": template["survey"]}) == ""


@pytest.mark.parametrize(("template", "question"), questions(), ids=lambda one: one if isinstance(one, str) else one["variable"])
def test_an_empty_answer_is_possible_where_nothing_need_be_said(template: str, question: dict[str, t.Any]) -> None:
    name = question["variable"]
    if question["type"] == "multiplechoice":  # AWX refuses an empty choice, required or not
        assert question["required"] and answer_fault(question, {name: question["default"]}) == "", template
    else:
        assert question["type"] == "text" and question["default"] == "", template
        assert (answer_fault(question, {name: ""}) == "") is not question["required"], template
        assert (answer_fault(question, {}) == "") is not question["required"], template
        assert question["required"] or "Empty: " in question["question_description"], f"{template}: says what empty means"


@pytest.mark.parametrize("template", [one for one in templates() if "survey" in one], ids=lambda one: one["name"])
def test_the_playbook_takes_an_empty_answer_as_none(template: dict[str, t.Any]) -> None:
    whole = playbook(template["playbook"])
    asked = [question["variable"] for question in template["survey"]]
    assert {name: reads_without_care(whole, name) for name in asked} == dict.fromkeys(asked, 0)


def test_a_variable_that_is_read_without_care_is_found() -> None:
    for text in ("a | default('')", "a | default(omit)", "a", "b | default(a, true)", "a | default('', false)"):
        assert reads_without_care({"when": [text]}, "a") == 1
    careful = {"vars": {"x": "{{ a | default('', true) }}"}, "when": "b and not a | default(omit, true)"}
    assert reads_without_care(careful, "a") == 0


def test_the_choices_are_those_of_the_module() -> None:
    """What a choice offers is what the playbook takes."""
    by_name = {question["variable"]: question for _template, question in questions()}
    modules = ROOT / "plugins/modules"
    (line,) = re.findall(r'"state": \{.*"choices": \[(.*)\]', (modules / "hvm_zfs_rollback.py").read_text())
    assert {*by_name["hvm_rollback_state"]["choices"], "rolled_back"} == set(json.loads(f"[{line}]"))
    documented = yaml.safe_load(re.search(r'RETURN = r"""(.*?)"""', (modules / "hvm_zfs_snapshot_info.py").read_text(), re.S)[1])
    assert all(word in str(documented["lists"]) for word in by_name["hvm_list"]["choices"])
    moves = yaml.safe_load(re.search(r'DOCUMENTATION = r"""(.*?)"""', (modules / "hvm_move.py").read_text(), re.S)[1])["options"]
    for variable, option in (("hvm_move_mode", "mode"), ("hvm_on_failure", "on_failure")):
        told, taken = by_name[variable]["question_description"], moves[option]
        words = [word for word in taken["choices"] if f"{word}: " in told]
        assert (words, told.split()[-1]) == (taken["choices"], f"{taken['default']}.")


# ---- the role, for real

pytestmark_real = pytest.mark.skipif(not ANSIBLE.exists() or not AWX_AWX, reason="no awx.awx beside this Python: make venv")

PAIR = {
    "hosts": {"hv1": {"ansible_host": "192.0.2.11"}, "hv2": {"ansible_host": "192.0.2.12"}},
    "vars": {"ansible_user": "root", "hvm_pair": "office", "hvm_hosts": ["hv1", "hv2"], "hvm_datasets": ["ssd/shared"]},
}
WORDS = {
    "hvm_awx_scm_url": "https://git.example.org/hvm-pair.git",
    "hvm_awx_credentials": ["hosts"],
    "hvm_awx_image": "registry.example.org/hvm-pair:1",
    "hvm_awx_pairs": {"office": PAIR},
}


class Done(t.NamedTuple):
    failed: bool
    text: str
    changed: int


def play(awx: FakeAWX, *options: str, **words: t.Any) -> Done:
    """:param words: variables beside WORDS, or None for one of those that is not to be given."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "CONTROLLER_", "TOWER_"))},
        "CONTROLLER_HOST": awx.address,
        "CONTROLLER_OAUTH_TOKEN": awx.token,
        "ANSIBLE_NOCOLOR": "1",
    }
    given = {key: value for key, value in {**WORDS, **words}.items() if value is not None}
    command = [str(ANSIBLE), "awx.yml", "-e", json.dumps(given), *options]
    made = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    text = " ".join((made.stdout + made.stderr).split())
    counts = re.search(r"changed=(\d+)", text)
    return Done(made.returncode != 0, text, int(counts[1]) if counts else 0)


@pytest.fixture(name="awx")
def _awx() -> t.Iterator[FakeAWX]:
    awx = FakeAWX(ROOT)
    awx.add("organizations", name="Default")
    awx.add("credentials", name="hosts")
    yield awx
    awx.close()


@pytestmark_real
def test_awx_is_set_up_from_nothing_and_the_second_run_changes_nothing(awx: FakeAWX) -> None:
    first = play(awx)
    assert not first.failed, first.text
    assert awx.token not in first.text
    names = [f"hvm office: {template['name']}" for template in templates()]
    assert awx.names("job_templates") == names
    assert awx.names("inventories") == ["hvm office"] and awx.linked("groups", "office", "hosts") == ["hv1", "hv2"]
    assert json.loads(awx.one("hosts", "hv2")["variables"]) == {"ansible_host": "192.0.2.12"}
    assert json.loads(awx.one("groups", "office")["variables"]) == PAIR["vars"]
    project = awx.one("projects", "hvm.pair")
    assert project["scm_url"] == WORDS["hvm_awx_scm_url"] and project["scm_update_on_launch"] is False
    for name in names:
        made = awx.one("job_templates", name)
        assert awx.linked("job_templates", name, "credentials") == ["hosts"]
        assert (made["allow_simultaneous"], made["ask_job_type_on_launch"], made["job_slice_count"]) == (False, True, 1)
        assert made["execution_environment"] == awx.one("execution_environments", "hvm.pair")["id"]
    (night,) = awx.things["schedules"]
    assert night["unified_job_template"] == awx.one("job_templates", "hvm office: backup_secure")["id"] and night["enabled"]

    writes = list(awx.writes)
    second = play(awx)
    assert not second.failed and second.changed == 0, second.text
    assert awx.writes == writes, "it wrote, and AWX found nothing new in it"

    awx.remove("hosts", "hv2")
    awx.remove("job_templates", "hvm office: hv_stop")
    often = {"name": "often", "template": "hv_stop", "rrule": "DTSTART:20260101T013000Z RRULE:FREQ=DAILY;INTERVAL=1"}
    planned = play(awx, "--check", __hvm_awx_templates=some("hv_stop"), hvm_awx_schedules=[often])
    assert not planned.failed and planned.changed == 2 and awx.writes == writes, planned.text

    awx.surveys[awx.one("job_templates", "hvm office: failover")["id"]]["spec"][0]["required"] = True
    awx.one("job_templates", "hvm office: status")["allow_simultaneous"] = True
    third = play(
        awx,
        hvm_awx_schedules=[{"name": "backup at night", "template": "backup_secure", "state": "absent"}],
        __hvm_awx_templates=some("status", "failover", "backup_secure"),
    )
    assert not third.failed, third.text
    found = [write.split("/")[3:] for write in awx.writes[len(writes) :]]
    assert [(kind, rest) for kind, _id_or_end, *rest in found] == [
        ("hosts", []), ("groups", ["hosts", ""]), ("job_templates", [""]), ("job_templates", ["survey_spec", ""]),
        ("schedules", [""]),
    ]  # fmt: skip
    assert awx.things["schedules"] == [] and not awx.one("job_templates", "hvm office: status")["allow_simultaneous"]

    nothing, faults = awx.launch("hvm office: failover", {"hvm_dead_host": "", "hvm_give_up": "", "hvm_failover_to": ""})
    assert faults == [] and nothing == {"hvm_target": "office", "hvm_dead_host": "", "hvm_give_up": "", "hvm_failover_to": ""}
    assert awx.launch("hvm office: failover", {})[0] == nothing  # a schedule or the API, without a word
    assert awx.launch("hvm office: failover", {"hvm_target": "all"})[1] == ["hvm_target is not allowed on launch"]
    assert awx.launch("hvm office: shutdown", {})[1] == ["'hvm_shutdown_host' value missing"]
    assert awx.launch("hvm office: shutdown", {"hvm_shutdown_host": ""})[1] != []
    assert awx.launch("hvm office: status", {}, limit="hv1") == ({"hvm_target": "office"}, [])
    assert awx.launch("hvm office: migrate_secure", {}, limit="hv1")[1] != []


@pytestmark_real
def test_check_mode_plans_on_an_empty_awx_too_and_writes_nothing(awx: FakeAWX, tmp_path: pathlib.Path) -> None:
    """The modules would fail at the first thing that is to belong to one which is not there yet."""
    second = tmp_path / "branch.yml"
    second.write_text(yaml.safe_dump({"branch": {"hosts": {"hv3": None, "hv4": None}, "vars": {"hvm_hosts": ["hv3", "hv4"]}}}))
    inventories = ["-i", "inventory/example.yml", "-i", str(second)]
    done = play(awx, "--check", *inventories, __hvm_awx_templates=some("status", "backup_secure"), hvm_awx_pairs=None)
    assert not done.failed and done.changed > 0, done.text
    for pair, hosts in (("hvm", "hv1, hv2"), ("branch", "hv3, hv4")):
        assert f"hvm {pair}: would be made with {hosts}, and the templates status, backup_secure" in done.text
    assert awx.writes == []


@pytestmark_real
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"hvm_awx_pairs": {"office": {**PAIR, "hosts": {"hv1": {}}}}}, "office has the hosts hv1 and its hvm_hosts is hv1, hv2"),
        ({"hvm_awx_pairs": {"all": {"children": {"office": PAIR}}}}, "the group all has the hosts none"),
        ({"hvm_awx_schedules": [{"name": "n", "template": "no", "rrule": "r"}]}, '"n" has the template no and the rrule r.'),
        ({"hvm_awx_schedules": [{"name": "n", "template": "status"}]}, "the rrule not given. It needs an rrule"),
        (
            {"hvm_awx_pairs": {"office": {**PAIR, "vars": {**PAIR["vars"], "hvm_mail_password": "x"}}}},
            "the group office has hvm_mail_password",
        ),
        (
            {"hvm_awx_pairs": {"office": {**PAIR, "hosts": {"hv1": None, "hv2": {"hvm_mail_password": "x"}}}}},
            "the group office has hvm_mail_password",
        ),
        ({"hvm_awx_scm_url": None}, "missing required arguments: hvm_awx_scm_url"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_made(awx: FakeAWX, words: dict[str, t.Any], sentence: str) -> None:
    done = play(awx, **words)
    assert done.failed and sentence in done.text, done.text
    assert awx.writes == []


@pytestmark_real
def test_two_files_with_a_group_of_one_name_are_not_one_pair(awx: FakeAWX, tmp_path: pathlib.Path) -> None:
    second = tmp_path / "branch.yml"
    second.write_text(yaml.safe_dump({"hvm": {"hosts": {"hv3": None, "hv4": None}, "vars": {"hvm_hosts": ["hv3", "hv4"]}}}))
    done = play(awx, "--check", "-i", "inventory/example.yml", "-i", str(second), hvm_awx_pairs=None)
    assert done.failed and "the group hvm has the hosts hv1, hv2, hv3, hv4" in done.text, done.text
    assert "a name that no group of another file has" in done.text


@pytestmark_real
def test_a_credential_that_is_not_there_is_named(awx: FakeAWX) -> None:
    done = play(awx, hvm_awx_credentials=["no such"], __hvm_awx_templates=some("status", "backup_secure"))
    assert done.failed and "/credentials/?name=no+such returned 0 items" in done.text, done.text
    assert awx.things["job_templates"] == []


# ---- the execution environment


def test_ansible_builder_makes_a_context_of_the_execution_environment(tmp_path: pathlib.Path) -> None:
    builder = ANSIBLE.with_name("ansible-builder")
    if not builder.exists():
        pytest.skip("no ansible-builder beside this Python")
    command = [str(builder), "create", "--context", str(tmp_path), "--output-filename", "Containerfile"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    definition = yaml.safe_load((ROOT / "execution-environment.yml").read_text())
    steps = (tmp_path / "Containerfile").read_text()
    assert f'EE_BASE_IMAGE="{definition["images"]["base_image"]["name"]}"' in steps
    assert definition["dependencies"]["ansible_core"]["package_pip"] in steps
    assert "openssh-clients [platform:rpm]" in (tmp_path / "_build/bindep.txt").read_text()
    wanted = re.search(r'requires_ansible: "(.*?)(?:\.0)?"', (ROOT / "meta/runtime.yml").read_text())
    assert wanted and definition["dependencies"]["ansible_core"]["package_pip"] == f"ansible-core{wanted[1]}"
