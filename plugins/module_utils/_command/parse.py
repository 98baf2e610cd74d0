# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""From the words of a command line to a command and its values; by argparse, with the tree's own idea of what may follow what."""

from __future__ import annotations

import argparse
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._command import tree
from ansible_collections.hvm.pair.plugins.module_utils._command.tree import Argument, Node, Option


class UsageError(Exception):
    """:ivar key, facts: of `texts.TEXTS`; or "" and argparse's own sentence. :ivar path: how far it was understood."""

    def __init__(self, path: str, text: str = "", key: str = "", **facts: str) -> None:
        super().__init__(text or key)
        self.path, self.text, self.key, self.facts = path, text, key, facts


class Parsed(t.NamedTuple):
    """:ivar way: from the top down to the command; for help possibly less. :ivar values: by key of option and argument."""

    way: tuple[Node, ...]
    values: dict[str, t.Any]

    @property
    def node(self) -> Node:
        return self.way[-1]

    @property
    def path(self) -> str:
        return tree.path(self.way)


class _Parser(argparse.ArgumentParser):
    def __init__(self, path: str) -> None:
        super().__init__(prog=f"hvm {path}".strip(), add_help=False, allow_abbrev=False)
        self._path = path

    def error(self, message: str) -> t.NoReturn:
        raise UsageError(self._path, message)


def dashes(words: t.Sequence[str]) -> list[str]:
    """--dead_host is --dead-host: as the playbooks' variable is spelt."""
    found: list[str] = []
    for number, word in enumerate(words):
        if word == "--":
            return found + list(words[number:])
        name, equals, value = word.partition("=")
        found.append(name.replace("_", "-") + equals + value if word.startswith("--") else word)
    return found


def _items(text: str) -> list[str]:
    return [one for one in text.split(",") if one]


_TYPES: dict[str, t.Any] = {"text": str, "int": int, "float": float, "list": _items}


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    if option.kind == "flag":
        parser.add_argument(*option.names, dest=option.key, action="store_true", default=False)
    elif option.kind == "list":
        parser.add_argument(*option.names, dest=option.key, action="extend", type=_items, default=None)
    else:
        kind = _TYPES[option.kind]
        parser.add_argument(*option.names, dest=option.key, type=kind, default=option.default, choices=option.choices or None)


def _add_argument(parser: argparse.ArgumentParser, argument: Argument) -> None:
    parser.add_argument(argument.key, metavar=argument.name, nargs=argument.many or None, default=argument.default)


def options(node: Node) -> tuple[Option, ...]:
    return (*tree.GLOBAL, *node.options)


def _before(words: t.Sequence[str]) -> tuple[list[str], list[str]]:
    """Options of every command that stand in front of it, and the rest."""
    known = {name: option for option in tree.GLOBAL for name in option.names}
    at = 0
    while at < len(words) and words[at].partition("=")[0] in known:
        at += 1 if known[words[at].partition("=")[0]].kind == "flag" or "=" in words[at] else 2
    return list(words[:at]), list(words[at:])


def parse(typed: t.Sequence[str]) -> Parsed:
    """:raises UsageError: for words that are no command, or not all of one."""
    early, rest = _before(dashes(typed))
    way, left = tree.descend(rest)
    path = tree.path(way)
    node = way[-1] if way else tree.TREE
    if not node.action:
        return _unfinished(way, early, left, path)
    asked = [*early, *left]
    if {"-h", "--help"} & set(asked):
        return Parsed(way, {"help": True, "lang": _lang(asked)})
    values = _values(path, node, asked)
    for option in node.options:
        if option.kind == "list":
            values[option.key] = tuple(option.default if values[option.key] is None else values[option.key])
            _choose(path, option.names[0], option.choices, values[option.key])
    for argument in node.arguments:
        if values[argument.key] is not None and argument.choices:
            _choose(path, argument.name, argument.choices, [values[argument.key]])
    return Parsed(way, values)


def _values(path: str, node: Node, asked: list[str]) -> dict[str, t.Any]:
    """Options may stand between the arguments; behind -- there are only those.

    By two parsers: argparse's own mixture of both takes -- differently from one Python to the next.
    """
    at = asked.index("--") if "--" in asked else len(asked)
    by_name = _Parser(path)
    for option in options(node):
        _add_option(by_name, option)
    found, rest = by_name.parse_known_args(asked[:at])
    unknown = [word for word in rest if word.startswith("-")]
    if unknown:
        by_name.error(f"unrecognized arguments: {' '.join(rest[rest.index(unknown[0]) :])}")
    rest += asked[at + 1 :]
    if not node.arguments:
        if rest:
            by_name.error(f"unrecognized arguments: {' '.join(rest)}")
        return vars(found)
    by_place = _Parser(path)
    for argument in node.arguments:
        _add_argument(by_place, argument)
    return {**vars(found), **vars(by_place.parse_args(["--", *rest]))}


def _choose(path: str, name: str, choices: t.Sequence[str], values: t.Iterable[str]) -> None:
    for value in values:
        if choices and value not in choices:
            raise UsageError(path, key="no choice", name=name, value=value, words=", ".join(choices))


def _unfinished(way: tuple[Node, ...], early: list[str], left: list[str], path: str) -> Parsed:
    """No command yet: help, if that is what is wanted."""
    asked = [*early, *left]
    if {"-h", "--help"} & set(asked):
        return Parsed(way, {"help": True, "lang": _lang(asked)})
    node = way[-1] if way else tree.TREE
    here = f"hvm {path}".strip()
    if left:
        raise UsageError(path, key="no command", word=left[0], at=here)
    raise UsageError(path, key="which", at=here, words=", ".join(one.word for one in node.children if not one.hidden))


def _lang(words: t.Sequence[str]) -> str | None:
    """Wherever it stands: also what cannot be parsed is to be said in it."""
    for at, word in enumerate(words):
        if word == "--lang" and at + 1 < len(words):
            return words[at + 1]
        if word.startswith("--lang="):
            return word.partition("=")[2]
    return None


lang = _lang
