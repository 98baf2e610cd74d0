# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of docs/development.md that no other tool holds.

Each rule is a function that takes text and returns its faults as sentences, with a test over the project's files and,
where the rule is not obvious, a test that it finds what it is there for.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import pathlib
import posixpath
import re
import shlex
import sys
import types
import typing as t
import urllib.parse

import markdown_it
import pytest
import yaml
from markdown_it.tree import SyntaxTreeNode

from ansible_collections.hvm.pair.plugins.module_utils._command import parse
from ansible_collections.hvm.pair.plugins.module_utils._command import tree as commands

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLUGINS = "ansible_collections.hvm.pair.plugins"
LIBRARY = f"{PLUGINS}.module_utils"


def _load_tool(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def files() -> dict[str, str]:
    """The text of every file of the project, by its path; links and what is not text are left out."""
    texts = {}
    for name in _load_tool("_tree").project_files(ROOT):
        path = ROOT / name
        if not path.is_symlink():
            try:
                texts[name] = path.read_text()
            except UnicodeDecodeError:
                pass
    return texts


def select(*prefixes: str, suffix: str = "") -> dict[str, str]:
    return {name: text for name, text in files().items() if name.startswith(prefixes) and name.endswith(suffix)}


def over(rule: t.Callable[[str, str], list[str]], chosen: dict[str, str]) -> list[str]:
    return [f"{name}: {fault}" for name, text in chosen.items() for fault in rule(name, text)]


# What the library imports

LAYERS = {"_core": 0, "_zfs": 1, "_libvirt": 1, "_net": 1, "_pair": 2, "_report": 3, "_peer": 3, "_procedure": 4, "_command": 5}


def imports(name: str, text: str) -> t.Iterator[str]:
    """The full names that the file `name` imports, those inside functions too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = ["ansible_collections", "hvm", "pair", *pathlib.PurePosixPath(name).parent.parts]
                module = ".".join([*package[: len(package) + 1 - node.level], *filter(None, [module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def import_faults(name: str, text: str) -> list[str]:
    """Standard library, libvirt and lower layers only: the agent runs this on hosts without Ansible."""
    layer = pathlib.PurePosixPath(name).relative_to("plugins/module_utils").parts[0]
    if layer == "_ansible.py":
        return []
    if layer not in LAYERS:
        return [f"'{layer}' is no layer"]
    faults = []
    for imported in imports(name, text):
        top = imported.partition(".")[0]
        if imported.startswith(f"{LIBRARY}."):
            other = imported.removeprefix(f"{LIBRARY}.").partition(".")[0]
            if other != layer and LAYERS.get(other, 99) >= LAYERS[layer]:
                faults.append(f"{layer} imports {other}, which is not below it")
        elif top not in sys.stdlib_module_names and not top.startswith("libvirt"):
            faults.append(f"imports {imported}, which a host need not have")
    return faults


def test_library_imports_nothing_above_it_and_nothing_that_hosts_lack() -> None:
    assert over(import_faults, select("plugins/module_utils/", suffix=".py")) == []


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("_core/x.py", "import ansible.module_utils.basic", "imports ansible.module_utils.basic, which a host need not have"),
        ("_core/x.py", "def f():\n    import yaml", "imports yaml, which a host need not have"),
        ("_zfs/x.py", f"from {LIBRARY}._net import arp", "_zfs imports _net, which is not below it"),
        ("_zfs/x.py", f"from {LIBRARY} import _pair", "_zfs imports _pair, which is not below it"),
        ("_zfs/x.py", f"import {LIBRARY}._pair.role", "_zfs imports _pair, which is not below it"),
        ("_zfs/x.py", f"from {LIBRARY}._ansible import HvmModule", "_zfs imports _ansible, which is not below it"),
        ("_pair/x.py", "from .._peer import agent", "_pair imports _peer, which is not below it"),
        ("_pair/x.py", "from ... import modules", f"imports {PLUGINS}.modules, which a host need not have"),
        ("_new/x.py", "", "'_new' is no layer"),
    ],
)
def test_an_import_that_is_not_allowed_is_found(name: str, text: str, fault: str) -> None:
    assert import_faults(f"plugins/module_utils/{name}", text) == [fault]


def test_an_import_from_below_or_beside_is_allowed() -> None:
    text = f"import json, libvirt_qemu\nfrom {LIBRARY}._core.errors import HvmError\nfrom . import role\nfrom .._zfs import plan"
    assert import_faults("plugins/module_utils/_pair/x.py", text) == []


# What no code here may say to a host

#: verb of zfs -> options that throw data away without asking
FORBIDDEN_OPTIONS = {"recv": "F", "receive": "F", "rollback": "rR", "destroy": "R"}


def _words(nodes: t.Sequence[ast.expr]) -> list[str]:
    """What the expressions spell, word by word; "" stands for what is not written there."""
    words: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words += node.value.split()
        elif isinstance(node, ast.JoinedStr):
            words += _words(node.values)
        else:
            words.append("")
    return words


def _docstrings(tree: ast.Module) -> set[int]:
    """Strings that stand alone or are a module's documentation: they may name what the code must not do."""
    found = set()
    for node in ast.walk(tree):
        documentation = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
        if isinstance(node, ast.Expr) or (documentation and "\n" in str(getattr(node.value, "value", ""))):
            found.add(id(node.value))
    return found


def command_faults(_name: str, text: str) -> list[str]:
    tree = ast.parse(text)
    documentation = _docstrings(tree)
    faults = []
    for node in ast.walk(tree):
        words: list[str] = []
        if isinstance(node, (ast.List, ast.Tuple)):
            words = _words(node.elts)
        elif isinstance(node, ast.Call):
            words = _words(node.args)
            if any(word.arg == "shell" and getattr(word.value, "value", True) is not False for word in node.keywords):
                faults.append(f"line {node.lineno}: shell=")
        elif isinstance(node, (ast.Constant, ast.JoinedStr)) and id(node) not in documentation:
            words = _words([node])
        for position, verb in enumerate(words):
            for option in words[position + 1 :] if verb in FORBIDDEN_OPTIONS else []:
                if re.fullmatch(f"-[A-Za-z]*[{FORBIDDEN_OPTIONS[verb]}][A-Za-z]*", option):
                    faults.append(f"line {node.lineno}: {verb} {option}")
    return sorted(set(faults))


def test_library_never_forces_and_uses_no_shell() -> None:
    assert over(command_faults, select("plugins/", suffix=".py")) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('run(["zfs", "recv", "-u", "-F", name])', "line 1: recv -F"),
        ('run("zfs", "receive", "-suF", name)', "line 1: receive -suF"),
        ('x = f"zfs rollback -r {name}"', "line 1: rollback -r"),
        ('run(("zfs", "destroy", *more, "-Rf"))', "line 1: destroy -Rf"),
        ("subprocess.run(command, shell=True)", "line 1: shell="),
        ("subprocess.run(command, shell=flag)", "line 1: shell="),
    ],
)
def test_a_command_that_is_not_allowed_is_found(text: str, fault: str) -> None:
    assert command_faults("x.py", text) == [fault]


@pytest.mark.parametrize(
    "text",
    [
        'run(["zfs", "destroy", "-r", name])',
        'run(["zfs", "recv", "-s", "-u", name])',
        'run(["systemctl", "--quiet", "-FR"])',
        '"""Never `zfs recv -F`."""',
        'DOCUMENTATION = r"""\n- never zfs rollback -r\n"""',
        "subprocess.run(command, shell=False)",
    ],
)
def test_a_command_that_is_allowed_passes(text: str) -> None:
    assert command_faults("x.py", text) == []


# Names that must agree


def test_every_module_is_in_the_action_group() -> None:
    group = yaml.safe_load(files()["meta/runtime.yml"])["action_groups"]["pair"]
    modules = {pathlib.PurePosixPath(name).stem for name in select("plugins/modules/", suffix=".py")}
    assert sorted(modules - set(group)) == []
    assert group == sorted(set(group))


def test_every_action_plugin_has_its_module() -> None:
    actions = {pathlib.PurePosixPath(name).name for name in select("plugins/action/", suffix=".py")}
    assert sorted(name for name in actions if not name.startswith("_") and f"plugins/modules/{name}" not in files()) == []


def role_faults(defaults: dict[str, t.Any], specs: dict[str, t.Any]) -> list[str]:
    """Defaults of a role that differ from its argument_specs. A computed default ("{{ }}") need not be in the specs."""
    options: dict[str, dict[str, t.Any]] = {}
    for entry_point in specs.values():
        options.update(entry_point.get("options") or {})
    faults = []
    for name, value in defaults.items():
        if name.startswith("_"):
            continue
        if name not in options:
            faults.append(f"{name} is in defaults, not in argument_specs")
        elif "default" not in options[name]:
            if "{{" not in str(value):
                faults.append(f"{name} has the default {value!r}, argument_specs has none")
        elif (type(options[name]["default"]), options[name]["default"]) != (type(value), value):
            faults.append(f"{name} is {value!r} in defaults, {options[name]['default']!r} in argument_specs")
    for name, option in options.items():
        if "default" in option and name not in defaults:
            faults.append(f"{name} has a default in argument_specs only")
        if option.get("required") and name in defaults:
            faults.append(f"{name} is required, yet has a default")
    return faults


@functools.cache
def roles() -> list[str]:
    return sorted({name.split("/")[1] for name in select("roles/") if name.count("/") > 1})


def test_defaults_of_roles_agree_with_their_argument_specs() -> None:
    faults = []
    for role in roles():
        specs = yaml.safe_load(files().get(f"roles/{role}/meta/argument_specs.yml", "{}")).get("argument_specs")
        if specs is None:
            faults.append(f"{role}: no argument_specs")
            continue
        defaults = yaml.safe_load(files().get(f"roles/{role}/defaults/main.yml", "{}")) or {}
        faults += [f"{role}: {fault}" for fault in role_faults(defaults, specs)]
    assert faults == []


@pytest.mark.parametrize(
    ("defaults", "options", "fault"),
    [
        ({"a": 1}, {"a": {"default": 2}}, "a is 1 in defaults, 2 in argument_specs"),
        ({"a": 1}, {"a": {"default": True}}, "a is 1 in defaults, True in argument_specs"),
        ({"a": 1}, {}, "a is in defaults, not in argument_specs"),
        ({"a": 1}, {"a": {}}, "a has the default 1, argument_specs has none"),
        ({}, {"a": {"default": 1}}, "a has a default in argument_specs only"),
        ({"a": "{{ b }}"}, {"a": {"required": True}}, "a is required, yet has a default"),
    ],
)
def test_a_default_that_differs_is_found(defaults: dict[str, t.Any], options: dict[str, t.Any], fault: str) -> None:
    assert role_faults(defaults, {"main": {"options": options}}) == [fault]


def test_playbooks_can_be_named_from_anywhere() -> None:
    # ansible-core takes NAMESPACE.NAME.PLAYBOOK only when each part is a Python word; a dash makes it unreachable.
    assert [name for name in select("playbooks/", suffix=".yml") if not re.fullmatch(r"[a-z0-9_/]+\.yml", name)] == []


def test_every_playbook_at_the_root_is_a_wrapper_that_awx_lists_and_the_collection_does_not_ship() -> None:
    ignored = yaml.safe_load(files()["galaxy.yml"])["build_ignore"]
    for name, text in files().items():
        if re.fullmatch(r"[a-z]\w*\.yml", name) and name != "galaxy.yml":
            # AWX shows a file when one of its lines looks like this (its own expression, without `include` and `hosts`).
            assert re.search(rf"^ *-? *(?:ansible\.builtin\.)?import_playbook: hvm\.pair\.{name[:-4]}$", text, re.MULTILINE), name
            assert name in ignored


# What is written in two languages

#: English -> French
TRANSLATIONS = {"README.md": "README.fr.md", "docs/runbook.md": "docs/runbook.fr.md"}
NUMBER = re.compile(r"\d+(?:\.\d+)*")
#: In the languages in which blocks have comments; it takes the spaces before it, too.
COMMENT = re.compile(r"(?:^| +)# .*$", re.MULTILINE)


class Section(t.NamedTuple):
    """What must be the same in every language of a page, from one heading to the next.

    :ivar level: 1 to 6; 0 before the first heading. :ivar title: for messages only. :ivar blocks: code, without its comments.
    :ivar tables: the first column of each table, by row: the code in it, or whether there is text.
    :ivar rows: the code in each row of each table. :ivar words: code in the text. :ivar numbers: figures in the text.
    :ivar links: targets, without the mark of a language.
    """

    level: int
    title: str
    blocks: list[str]
    tables: list[list[str]]
    rows: list[list[str]]
    words: set[str]
    numbers: set[str]
    links: list[str]


def markdown(text: str) -> SyntaxTreeNode:
    return SyntaxTreeNode(markdown_it.MarkdownIt("commonmark").enable("table").parse(text))


def within(node: SyntaxTreeNode, kind: str) -> list[SyntaxTreeNode]:
    return [one for one in node.walk() if one.type == kind]


def code(node: SyntaxTreeNode) -> list[str]:
    return [one.content for one in within(node, "code_inline")]


def targets(node: SyntaxTreeNode) -> list[str]:
    return [urllib.parse.unquote(str(one.attrs["href"])) for one in within(node, "link")]


def headings(tree: SyntaxTreeNode) -> list[str]:
    return ["".join(one.content for one in heading.walk() if not one.children) for heading in within(tree, "heading")]


def first_cell(row: SyntaxTreeNode) -> str:
    return ", ".join(code(row.children[0])) or ("(text)" if within(row.children[0], "text") else "")


def anchor(title: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def sections(text: str) -> list[Section]:
    tree = markdown(text)
    titles = headings(tree)
    anchors = {f"#{anchor(title)}": f"#{number}" for number, title in enumerate(titles)}
    found = [Section(0, "", [], [], [], set(), set(), [])]
    for node in tree.children:
        if node.type == "heading":
            found.append(Section(int(node.tag[1]), titles[len(found) - 1], [], [], [], set(), set(), []))
        now = found[-1]
        if node.type in ("fence", "code_block"):
            now.blocks.append(f"{node.info}\n{node.content if node.info == 'text' else COMMENT.sub('', node.content)}")
        for row in within(node, "tr"):
            now.rows.append(sorted(set(code(row))))
        now.tables.extend([first_cell(row) for row in within(table, "tr")] for table in within(node, "table"))
        now.words.update(code(node))
        for one in within(node, "text"):
            now.numbers.update(NUMBER.findall(one.content))
        now.links.extend(sorted(anchors.get(one, one.replace(".fr.md", ".md")) for one in targets(node) if "://" not in one))
    return found


def translation_faults(english: str, french: str) -> list[str]:
    """What one of two pages has and the other has not."""
    ours, theirs = sections(english), sections(french)
    if [one.level for one in ours] != [one.level for one in theirs]:
        return [f"headings: {[one.title for one in ours]} and {[one.title for one in theirs]}"]
    return [
        f"{one.title or 'the beginning'}: {field}: {getattr(one, field)} and {getattr(other, field)}"
        for one, other in zip(ours, theirs, strict=True)
        for field in one._fields
        if field != "title" and getattr(one, field) != getattr(other, field)
    ]


@pytest.mark.parametrize(("english", "french"), TRANSLATIONS.items())
def test_both_languages_say_the_same(english: str, french: str) -> None:
    assert translation_faults(files()[english], files()[french]) == []
    for here, there in ((english, french), (french, english)):
        assert targets(markdown(files()[here]))[0] == pathlib.PurePosixPath(there).name


def test_every_page_in_a_second_language_is_compared_with_the_first() -> None:
    assert sorted(select("", suffix=".fr.md")) == sorted(TRANSLATIONS.values())


PAGE = """\
# Title
Text of 48 `words`, see [more](docs/more.md) and [below](#end-of-it).

```shell
ls     # what is there
```

| name | does |
|---|---|
| `a` | lists `b` |
| text | |
## End of it
"""
SEITE = """\
# Titre
Un texte de 48 mots, `words`: [plus bas](#fin-de-ça), [davantage](docs/more.fr.md).

```shell
ls     # ce qu'il y a
```

| nom | effet |
|---|---|
| `a` | liste `b` |
| texte | |
## Fin de ça
"""


def test_a_page_and_its_translation_agree() -> None:
    assert translation_faults(PAGE, SEITE) == []


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("## Fin", "### Fin", "headings"),
        ("## Fin", "## Autre\n## Fin", "headings"),
        ("ls  ", "ls -l  ", "blocks"),
        ("```shell", "```text", "blocks"),
        ("| `a` |", "| `c` |", "tables"),
        ("| `a` |", "| `c` |", "rows"),
        ("| texte | |\n", "", "tables"),
        ("| texte |", "| `texte` |", "tables"),
        ("liste `b`", "liste `c`", "rows"),
        ("`words`", "`mots`", "words"),
        ("48", "24", "numbers"),
        ("docs/more.fr.md", "docs/less.md", "links"),
        ("#fin-de-ça", "#fin", "links"),
        (", [davantage](docs/more.fr.md)", "", "links"),
    ],
)
def test_what_one_language_lacks_is_found(old: str, new: str, field: str) -> None:
    assert SEITE.count(old) == 1
    assert any(field in fault for fault in translation_faults(PAGE, SEITE.replace(old, new)))


def link_faults(name: str, text: str) -> list[str]:
    """Links that lead nowhere; and, in a page that is not English, to the English page although there is one in its language."""
    faults = []
    for link in (one for one in targets(markdown(text)) if "://" not in one):
        place, dummy, part = link.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), place)) if place else name
        there = path == name or (ROOT / path).exists()
        if not there or (part and part not in map(anchor, headings(markdown(text if path == name else files()[path])))):
            faults.append(f"{link} is not there")
        elif name in TRANSLATIONS.values() and TRANSLATIONS.get(path, name) != name:
            faults.append(f"{link} is there in this language, too")
    return faults


def test_links_lead_somewhere() -> None:
    assert over(link_faults, select("", suffix=".md")) == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    fine = "# É, b\n[a](lab.md#the-hosts) [b](#é-b) [c](../README.md) [d](https://example.org/d) [e](../roles)"
    assert link_faults("docs/x.md", fine) == []
    assert link_faults("docs/x.md", "[a](README.md)") == ["README.md is not there"]
    assert link_faults("docs/x.md", "[a](lab.md#nowhere) [b](#b)") == ["lab.md#nowhere is not there", "#b is not there"]
    assert link_faults("README.fr.md", "[a](docs/runbook.md)") == ["docs/runbook.md is there in this language, too"]
    assert link_faults("docs/runbook.fr.md", "[a](../README.md)") == ["../README.md is there in this language, too"]
    assert link_faults("docs/runbook.fr.md", "[a](runbook.md)") == []


def test_readme_leads_to_every_page_and_names_every_playbook_module_and_role() -> None:
    tree = markdown(files()["README.md"])
    pages = {name for name in select("docs/", "roles/", suffix=".md") if name not in TRANSLATIONS.values()}
    assert sorted(pages - set(targets(tree))) == []
    names = {
        f"hvm.pair.{name.split('/')[1].removesuffix('.yml')}"
        for name in select("playbooks/", "roles/")
        if name.startswith("roles/") or re.fullmatch(r"playbooks/\w+\.yml", name)
    }
    names |= {pathlib.PurePosixPath(name).stem for name in select("plugins/modules/", "plugins/filter/", suffix=".py")}
    assert sorted(names - set(code(tree)) - {"__init__"}) == []


@functools.cache
def variables() -> set[str]:
    """What begins with hvm_ in playbooks, roles and plugins."""
    return {name for text in select("playbooks/", "roles/", "plugins/").values() for name in re.findall(r"\bhvm_\w+", text)} | {
        pathlib.PurePosixPath(name).stem for name in select("plugins/", suffix=".py")
    }


def typing_faults(_name: str, text: str) -> list[str]:
    """Commands of `hvm` that it would not take, and names of variables and modules that nothing knows."""
    tree = markdown(text)
    lines = [
        line.strip() for block in tree.children if block.type in ("fence", "code_block") for line in block.content.splitlines()
    ]
    faults = []
    for line in [*lines, *code(tree)]:
        words = (
            shlex.split(line.removeprefix("root@hv1:~# "), comments=True) if re.match(r"(root@hv1:~# )?hvm [a-z]", line) else []
        )
        if words and commands.descend(words[1:])[1]:  # else a branch of the tree, or a command without anything behind it
            try:
                parse.parse(words[1:])
            except parse.UsageError as error:
                faults.append(f"{line}: {error}")
        faults += [f"{line}: {name}" for name in re.findall(r"\bhvm_[a-z]\w+", line) if name not in variables()]
    return faults


def test_what_the_reader_is_to_type_is_there() -> None:
    pages = {name: files()[name] for name in ("docs/networks.md", "docs/vms.md", *TRANSLATIONS, *TRANSLATIONS.values())}
    assert over(typing_faults, pages) == []


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("`hvm migrate secure --check` or `hvm zfs snap`, `hvm_vm state=started`", 0),
        ("`hvm rejoin --rejoin keap`", 1),
        ("`hvm vms begin`", 1),
        ("```shell\nhvm hv start     # or not\nhvm hv start --peer-down hv2\n```", 1),
        ("    root@hv1:~# hvm backup --check secure", 1),
        ("```shell\nansible-playbook failover.yml -e hvm_lost_host=hv1\n```", 1),
    ],
)
def test_what_nobody_can_type_is_found(text: str, faults: int) -> None:
    assert len(typing_faults("x.md", text)) == faults


# What must be in every file, and what in none

LICENCE = [
    "# Copyright (c) 2026, the hvm.pair developers",
    "# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)",
    "# SPDX-License-Identifier: GPL-3.0-or-later",
]
PRIVATE = ["#", "# Private to this collection: it can change or go at any time."]


def licence_faults(name: str, text: str) -> list[str]:
    lines = text.splitlines()
    path = pathlib.PurePosixPath(name)
    script = text.startswith("#!")
    if script:
        lines = lines[1:]
    commented = path.suffix in {".cfg", ".ini", ".py", ".sh", ".toml", ".yml", ".yaml"} or path.name == "Makefile" or script
    if not commented or path.parts[0] == "changelogs":  # antsibull-changelog writes those anew
        return []
    wanted = LICENCE + (PRIVATE if name.startswith("plugins/module_utils/") else [])
    return [] if lines[: len(wanted)] == wanted else ["does not start with the licence lines"]


def test_files_start_with_the_licence() -> None:
    assert over(licence_faults, files()) == []


def test_a_missing_licence_is_found() -> None:
    head = "\n".join(LICENCE)
    assert licence_faults("plugins/modules/x.py", f"#!/usr/bin/python\n{head}\n") == []
    assert licence_faults("plugins/modules/x.py", "import os\n") == ["does not start with the licence lines"]
    assert licence_faults("plugins/module_utils/_core/x.py", head) == ["does not start with the licence lines"]


#: Names of package registries and addresses of package sources: where packages come from is the machine's business.
#: The brackets keep these lines from finding themselves.
REGISTRIES = re.compile(
    r"(?:[\w-]+\.)*(?:pyp[i]\.org|pythonhoste[d]\.org|npmj[s]\.(?:org|com)|(?:deb|security|ftp[\w.]*|snapshot)\.debia[n]\.org"
    r"|(?:archive|security|ports)\.ubunt[u]\.com|docke[r]\.io|qua[y]\.io|ghc[r]\.io|gc[r]\.io|crate[s]\.io|gala[x]y\.ansible\.com"
    r"|prox[y]\.golang\.org)\b"
    r"|(?:\bindex[-_]ur[l]|\bfind[-_]link[s]|\bUR[I]s:|^deb(?:-src)?\s)\s*[=:]?\s*[\"']?\w+://\S+",
    re.MULTILINE | re.IGNORECASE,
)
#: /root is also a directory of the hosts; its caches and tools are not.
HOMES = re.compile(r"(?<![\w.~*])/(?:home|Users)/\w+|(?<![\w.~*])/root/\.(?:pyenv|cache|local|ansible|config)\b")


def place_faults(_name: str, text: str) -> list[str]:
    faults = [f"'{match[0]}' names a package source" for match in REGISTRIES.finditer(text)]
    faults += [f"'{match[0]}' is somebody's home" for match in HOMES.finditer(text)]
    if str(ROOT) in text and len(ROOT.parts) > 2:
        faults.append(f"'{ROOT}' is this checkout")
    return faults


def test_no_file_names_a_package_source_or_a_place_of_this_machine() -> None:
    assert over(place_faults, files()) == []


def test_a_package_source_or_a_place_is_found() -> None:
    # Taken apart, so that this file has none of them
    found = {
        "py" + "pi.org": "names a package source",
        "index-url" + " = http://10.0.0.1/simple": "names a package source",
        "deb" + " http://mirror/debian": "names a package source",
        "/home" + "/me": "is somebody's home",
    }
    assert place_faults("x", "\n".join(found)) == [f"'{text}' {why}" for text, why in found.items()]
