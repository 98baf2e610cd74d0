# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The library's sentences in the words of the command; both languages complete."""

from __future__ import annotations

import ast
import pathlib
import re
import string
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._command import parse, texts, tree, words

LIBRARY = pathlib.Path(str(words.__file__)).parents[1]
MODULES = sorted(path.stem for path in (LIBRARY.parent / "modules").glob("hvm_*.py"))
PLAYBOOKS = sorted(path.stem for path in (LIBRARY.parents[1] / "playbooks").glob("*.yml"))


def template(node: ast.AST) -> str | None:
    """A string, with something for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(one.value) if isinstance(one, ast.Constant) else "hv2" for one in node.values)
    return None


def sentences() -> list[str]:
    """Every string of the library that a person may get to read, and that names a module, a playbook or a variable."""
    found = set()
    for path in LIBRARY.rglob("*.py"):
        if path.parent.name == "_command" or path.name in ("install.py", "_ansible.py"):
            continue
        parsed = ast.parse(path.read_text())
        silent = {id(node.value) for node in ast.walk(parsed) if isinstance(node, ast.Expr)}
        silent |= {id(part) for node in ast.walk(parsed) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(parsed):
            text = None if id(node) in silent else template(node)
            if text and "ansible_collections" not in text and re.search(r"hvm\.pair\.\w|\bhvm_[a-z]|peer_is_down", text):
                found.add(text)
    return sorted(found)


#: Of the inventory, not of this host: its remedy is the playbook hvm.pair.install.
INVENTORY = {"hvm_hosts", "hvm_datasets", "hvm_service_iface", "hvm_filesystems", "hvm_shared_ip", "hvm_gateway", "hvm_state_dir"}
INVENTORY |= {"hvm_pools", "hvm_create_datasets", "hvm_first_active", "hvm_libvirt_dataset"}
INVENTORY |= {"hvm_uninstall", "hvm_uninstall_despite", "hvm_uninstall_holds"}
#: Whole families of variables.
INVENTORY |= {"hvm_mail_", "hvm_schedule_", "hvm_networks", "hvm_network_manager"}
#: No sentences: the name of a key or of an argument.
BARE = {"peer_is_down"}


def test_no_sentence_names_a_module_or_a_playbook_that_is_not_one_of_the_inventory() -> None:
    left = {}
    for text in sentences():
        if text in BARE:
            continue
        said = words.ours(text)
        named = set(re.findall(r"\bhvm_[a-z_]+", said)) - INVENTORY
        named |= set(re.findall(r"hvm\.pair\.[a-z_]+", said)) - {"hvm.pair.install"}
        named |= set(re.findall(r"(?<![\w-])peer_is_down", said)) | set(re.findall(r"state=[a-z_]+", said))
        if named:
            left[text] = sorted(named)
    assert left == {}
    assert len(sentences()) > 60


COMMAND = re.compile(r"(?<![\w./])hvm ((?:[a-z]+(?:IP)?(?= |[.,;:)']|$) ?)+)((?:--[a-z-]+(?: (?!--)[\w@/]+)? ?)*)")


def test_each_command_that_a_sentence_names_is_one() -> None:
    named = 0
    for text in sentences():
        said = words.ours(text)
        for match in COMMAND.finditer(said):
            way, left = tree.descend(match[1].split())
            assert way, said
            # what follows a whole command is the rest of the sentence
            assert way[-1].action or not left, said
            options = {name for one in parse.options(way[-1]) for name in one.names} if way[-1].action else set()
            assert set(re.findall(r"--[a-z-]+", match[2])) <= options, said
            named += 1
    assert named > 50


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Start it: hvm_hypervisor state=started.", "Start it: hvm hv start."),
        ("(hvm_vm state=shutdown all=true, then)", "(hvm vms shutdown, then)"),
        ("Try hvm_vm state=restored.", "Try hvm vm restore."),
        ("hvm.pair.rejoin with hvm_winner=hv-2.lan.", "hvm rejoin --winner hv-2.lan."),
        ("Run hvm.pair.recover, with hvm_peer_is_down=hv2 if it is off.", "Run hvm recover --peer-is-down hv2 if it is off."),
        ("hvm_zfs_rollback state=undone kept=s1.", "hvm rollback --rollback-state undone --rollback-kept s1."),
        ("hvm_zfs_sync with set_aside [ssd/a].", "hvm zfs snap sync --set-aside ssd/a."),
        ("Run the playbook hvm.pair.install on both hosts.", "Run the playbook hvm.pair.install on both hosts."),
        ("the set hvm_20261123T094512Z_office_B stays", "the set hvm_20261123T094512Z_office_B stays"),
        ("below hvm_datasets", "below hvm_datasets"),
        ("nothing of it", "nothing of it"),
    ],
)  # fmt: skip
def test_names_become_commands(text: str, said: str) -> None:
    assert words.ours(text) == said


def test_every_module_and_playbook_is_a_command_or_is_known_to_be_none() -> None:
    """A new one must be thought of here."""
    of_the_controller = {"hvm_agent", "hvm_preflight", "hvm_role", "hvm_hypervisor", "hvm_shared_ip", "hvm_zfs_mount"}
    of_the_controller |= {"hvm_operation", "hvm_pool", "hvm_uninstall"}
    with_state = {key.split(" ")[0] for key in words._BY_STATE}
    assert set(MODULES) - of_the_controller == set(words._MODULES)
    assert with_state >= {"hvm_role", "hvm_operation", "hvm_hypervisor", "hvm_shared_ip", "hvm_zfs_mount"}
    assert set(PLAYBOOKS) - {"install", "import_local_conf", "uninstall", "awx"} == set(words._PLAYBOOKS)


# Languages


TABLES: dict[str, t.Mapping[str, tuple[str, str]]] = {
    "COMMANDS": texts.COMMANDS, "OPTIONS": texts.OPTIONS, "TEXTS": texts.TEXTS
}  # fmt: skip


def fields(text: str) -> list[str]:
    return sorted(name for _text, name, _format, _conversion in string.Formatter().parse(text) if name is not None)


@pytest.mark.parametrize("name", TABLES)
def test_each_text_is_there_in_both_languages_with_the_same_things_filled_in(name: str) -> None:
    for key, pair in TABLES[name].items():
        assert len(pair) == len(words.LANGUAGES) and all(pair), key
        assert fields(pair[0]) == fields(pair[1]), key
        same = pair[0] == pair[1]
        assert not same or key in ("sync of", "is", "following", "options"), key


def test_each_word_and_option_of_the_tree_has_its_text_and_no_text_is_left_over() -> None:
    assert set(texts.COMMANDS) == {tree.path(way) for way in tree.walk()}
    options = {option.names[0] for way in tree.commands() for option in parse.options(way[-1])}
    assert set(texts.OPTIONS) == options


def test_each_text_that_is_said_is_there_and_no_text_is_left_over() -> None:
    source = "".join(path.read_text() for path in sorted((LIBRARY / "_command").glob("*.py")) if path.name != "texts.py")
    # keys that are put together
    made = {"Hypervisor is running", "Hypervisor is stopped", "VMs are running", "VMs are stopped", "mounted", "unmounted"}
    made |= {"would be mounted", "would be unmounted"}
    used = {key for key in texts.TEXTS if f'"{key}"' in source or f"'{key}'" in source} | made
    assert set(texts.TEXTS) == used
    for key in re.findall(r"\bwords\(\s*\"([^\"]+)\"[,)]", source):
        assert key in texts.TEXTS, key


@pytest.mark.parametrize(
    ("asked", "environ", "lang", "lines"),
    [
        (None, {}, "en", "en"),
        (None, {"LANG": "fr_FR.UTF-8"}, "fr", "en"),
        (None, {"LANG": "fr_FR.UTF-8", "LC_ALL": "C"}, "en", "en"),
        (None, {"LANG": "C.UTF-8", "LC_MESSAGES": "fr_CH"}, "fr", "en"),
        (None, {"HVM_LANG": "fr"}, "fr", "fr"),
        (None, {"HVM_LANG": "en", "LC_ALL": "fr_FR"}, "en", "en"),
        ("fr", {"HVM_LANG": "en"}, "fr", "fr"),
        ("en", {"LANG": "fr_FR"}, "en", "en"),
        (None, {"LANG": "de_DE"}, "en", "en"),
    ],
)
def test_who_says_which_language(asked: str | None, environ: dict[str, str], lang: str, lines: str) -> None:
    assert (words.language(asked, environ), words.wished(asked, environ)) == (lang, lines)
