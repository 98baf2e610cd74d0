# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tree of commands beside the manual's own drawing of it (`manual_tree.txt`); parsing, help, completion."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._command import completion, parse, texts, tree
from ansible_collections.hvm.pair.plugins.module_utils._command import help as helping
from ansible_collections.hvm.pair.plugins.module_utils._command.words import Words

DRAWN = re.compile(r"^(?P<bars>[| -]*)\* (?P<word>\S+) +(?P<text>\S.*)$")

#: Where the manual's French is not taken as it is: what it leaves out matters, or it has a slip of the pen.
OTHER_TEXTS = {
    "hv sharedIP disable": "Désactiver l'adress IP partagée",
    "vm backup": "Sauvegarder l'état d'une VM",
    "vms backup": "Sauvegarder l'état des VMs",
    "zfs snap purge": "Purger les snapshots",
}


def manual() -> dict[str, str]:
    """Path -> text, in the manual's order. The depth is that of the column."""
    found: dict[str, str] = {}
    way: list[str] = []
    for line in pathlib.Path(__file__).with_name("manual_tree.txt").read_text().splitlines():
        match = DRAWN.match(line)
        if match:
            depth = len(match["bars"]) // 3
            way[depth - 1 :] = [match["word"]]
            found[" ".join(way)] = match["text"].strip()
    return found


def test_the_manual_is_read_whole() -> None:
    found = manual()
    assert len(found) == 59
    assert found["vms list freezed"] == "Seulement les VMs figées" and "zfs snap list lasts" in found


def test_the_tree_has_every_word_of_the_manual_in_its_order_and_marks_the_others() -> None:
    theirs = [tree.path(way) for way in tree.walk() if not any(node.ours for node in way)]
    assert theirs == list(manual())


def test_the_french_is_the_manual_s() -> None:
    differing = {path: text for path, text in manual().items() if texts.COMMANDS[path][1] != text}
    assert differing == OTHER_TEXTS


def test_no_word_means_two_things() -> None:
    for way in [(), *tree.walk()]:
        node = way[-1] if way else tree.TREE
        names = [name for one in node.children for name in (one.word, *one.aliases)]
        assert len(names) == len(set(names)), tree.path(way)
        assert bool(node.children) != bool(node.action), tree.path(way)
        for options in (parse.options(node),):
            spelt = [name for option in options for name in option.names]
            assert len(spelt) == len(set(spelt)), tree.path(way)


@pytest.mark.parametrize(
    ("typed", "path", "values"),
    [
        ("--json status", "status", {"json": True, "check": False}),
        ("--lang fr --check vm start a", "vm start", {"lang": "fr", "check": True, "names": ["a"]}),
        ("vm start a --parallel 2 b", "vm start", {"names": ["a", "b"], "parallel": 2}),
        ("failover --dead_host hv_2", "failover", {"dead_host": "hv_2"}),
        ("failover --dead_host=hv_2", "failover", {"dead_host": "hv_2"}),
        ("vm start -- --odd", "vm start", {"names": ["--odd"]}),
        ("zfs snap rollback", "zfs snap rollback", {"to": "last"}),
        ("hv sharedip status", "hv sharedIP status", {}),
        ("backup secure", "backup secure", {"fallback": ("save", "frozen"), "keep_last": 48, "except_at": ()}),
        ("constraint unset", "constraint unset", {"host": None, "start": None, "end": None}),
        ("vm start -h", "vm start", {"help": True}),
        ("--help", "", {"help": True}),
    ],
)
def test_words_are_understood(typed: str, path: str, values: dict[str, t.Any]) -> None:
    found = parse.parse(typed.split())
    assert tree.path(found.way) == path
    assert {key: found.values.get(key) for key in values} == values


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "what of 'hvm'? One of: status, backup,"),
        ("vms", "what of 'hvm vms'? One of: status, list, start,"),
        ("vms frob", "frob is no command of 'hvm vms'"),
        ("vm start", "the following arguments are required: VM"),
        ("vm start a --frob", "unrecognized arguments: --frob"),
        ("vm start a --paral 2", "unrecognized arguments: --paral 2"),
        ("vm start a --parallel two", "argument --parallel: invalid int value: 'two'"),
        ("status now", "unrecognized arguments: now"),
        ("zfs snap rollback a b", "unrecognized arguments: b"),
        ("backup secure --fallback save,quick", "--checkpoint-fallback: quick is none of save, frozen, refuse"),
        ("snapshots old", "dates|all|lasts: old is none of dates, all, lasts"),
        ("--lang de status", "argument --lang: invalid choice: 'de'"),
        ("--lang", "what of 'hvm'?"),
        ("rejoin --choice drop", "argument --rejoin/--choice: invalid choice: 'drop'"),
    ],
)
def test_wrong_words_are_named(typed: str, said: str) -> None:
    with pytest.raises(parse.UsageError) as caught:
        parse.parse(typed.split())
    exc = caught.value
    text = Words("en")(exc.key, **exc.facts) if exc.key else exc.text
    assert text.startswith(said)


# Help


def test_help_draws_the_tree_as_the_manual_does() -> None:
    lines = helping.about((), Words("fr"))
    drawing = pathlib.Path(__file__).with_name("manual_tree.txt").read_text().splitlines()
    for line in drawing:
        match = DRAWN.match(line)
        if match and match["text"].strip() not in OTHER_TEXTS.values():
            # the manual draws one bar as a dash in one place
            assert [match["word"], match["text"].strip()] in [line.split("* ", 1)[-1].split(None, 1) for line in lines]
    assert lines[1] == "|--* status             Etat de l'hyperviseur (hv, sharedIP, vms)"
    assert "|  |  |--* freezed      Seulement les VMs figées" in lines
    assert not any("complete" in line for line in lines)


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_each_command_has_its_help_with_every_option_and_argument(lang: str) -> None:
    for way in tree.walk():
        text = "\n".join(helping.about(way, Words(lang)))
        for option in way[-1].options:
            assert f"  {option.names[0]}" in text
        for argument in way[-1].arguments:
            assert argument.name in text
        assert "{" not in text and "None" not in text, tree.path(way)


# Completion


BASH = shutil.which("bash")


class Shell:
    """bash with the script; `hvm complete` says what `host` has."""

    def __init__(self, directory: pathlib.Path) -> None:
        (directory / "script").write_text(completion.script())
        fake = directory / "hvm"
        fake.write_text('#!/bin/sh\necho "$2-one"\necho "$2 two"\n')
        fake.chmod(0o755)
        self.directory = directory

    def __call__(self, *lines: str) -> list[list[str]]:
        """What is offered at the end of each line."""
        asked = "".join(
            f"COMP_WORDS=({' '.join(map(repr, ['hvm', *line.split(' ')]))}); COMP_CWORD={len(line.split(' '))}; _hvm\n"
            'printf "%s\\t" "${COMPREPLY[@]}"; echo\n'
            for line in lines
        )
        text = f"PATH={self.directory}:$PATH\n. {self.directory}/script\n{asked}"
        made = subprocess.run([str(BASH), "-c", text], capture_output=True, text=True, check=True, timeout=120)
        assert made.stderr == ""
        return [[one for one in line.split("\t") if one] for line in made.stdout.splitlines()]


@pytest.fixture(name="shell")
def _shell(tmp_path: pathlib.Path) -> Shell:
    if not BASH:
        pytest.skip("no bash")
    return Shell(tmp_path)


def test_completion_offers_what_the_tree_has(shell: Shell) -> None:
    ways = [(), *(way for way in tree.walk() if not way[0].hidden)]
    asked = [f"{tree.path(way)} ".lstrip() for way in ways if (way[-1] if way else tree.TREE).children]
    nodes = [way[-1] if way else tree.TREE for way in ways if (way[-1] if way else tree.TREE).children]
    for line, node, offered in zip(asked, nodes, shell(*asked), strict=True):
        assert offered == [one.word for one in node.children if not one.hidden], line


def test_completion_offers_every_option_and_its_choices(shell: Shell) -> None:
    ways = [way for way in tree.commands() if not way[0].hidden]
    for way, offered in zip(ways, shell(*(f"{tree.path(way)} --" for way in ways)), strict=True):
        assert offered == [option.names[0] for option in (*way[-1].options, *tree.GLOBAL)]
    cases = [(tree.path(way), option) for way in ways for option in parse.options(way[-1]) if option.choices]
    for (path, option), offered in zip(cases, shell(*(f"{path} {option.names[-1]} " for path, option in cases)), strict=True):
        assert offered == list(option.choices), (path, option.names)


def test_completion_asks_the_host_for_its_words_and_knows_where_it_is(shell: Shell) -> None:
    lines = {
        "vm start ": ["vms-one", r"vms\ two"],
        "vm start vms-o": ["vms-one"],
        "zfs snap rollback ": ["sets-one", r"sets\ two"],
        "failover --dead-host ": ["hosts-one", r"hosts\ two"],
        "zfs kept drop ": ["kept-one", r"kept\ two"],
        "st": ["status"],
        "--json vms li": ["list"],
        "vms list free": ["freezed"],
        "help zfs sn": ["snap"],
        "help ": [one.word for one in tree.TREE.children if not one.hidden],
        "snapshots ": ["dates", "all", "lasts"],
        "hv stop ": [],
    }
    assert dict(zip(lines, shell(*lines), strict=True)) == lines


# Documentation


def test_the_table_of_commands_has_a_row_for_each_and_no_other() -> None:
    """docs/commands.md: what the manual has first, in its order."""
    text = (pathlib.Path(str(tree.__file__)).parents[3] / "docs" / "commands.md").read_text()
    rows = [line.replace("\\|", "/").split("|") for line in text.splitlines() if line.startswith("|")]
    rows = [row for row in rows if len(row) == 7 and "`hvm " in row[2]]  # the exit codes are a table, too

    def command(cell: str) -> str:
        """The path of the command that a cell begins with; "" when it begins with none."""
        match = re.match(r" *`hvm ([^`]*)`", cell)
        return tree.path(tree.descend(match[1].split())[0]) if match else ""

    here = [command(row[2]) for row in rows]
    shown = [tree.path(way) for way in tree.commands() if not way[-1].hidden]
    assert sorted(here) == sorted(shown)
    theirs = [tree.path(way) for way in tree.commands() if not any(node.ours for node in way)]
    assert [command(row[1]) for row in rows if command(row[1])] == theirs
    assert all(command(row[1]) in ("", path) for row, path in zip(rows, here, strict=True))
    tests = {path.stem for path in pathlib.Path(__file__).parents[1].glob("*/test_*.py")}
    assert {name for row in rows for name in re.findall(r"`(test_\w+)`", row[4])} <= tests
