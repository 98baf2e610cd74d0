# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""`hvm help`: the tree as the manual draws it, and one command with its options."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._command import tree
from ansible_collections.hvm.pair.plugins.module_utils._command.tree import Argument, Node, Option
from ansible_collections.hvm.pair.plugins.module_utils._command.words import Words

_COLUMN = 23
_OPTION_COLUMN = 34


def drawn(words: Words) -> list[str]:
    """The whole tree."""
    lines = ["* hvm"]
    for way in tree.walk():
        if way[0].hidden:
            continue
        if len(way) == 1 and len(lines) > 1:
            lines.append("|")
        lines.append(f"{'|  ' * (len(way) - 1)}|--* {way[-1].word}".ljust(_COLUMN) + " " + words.command(tree.path(way)))
    return lines + ["", words("exit codes")]


def _argument(argument: Argument) -> str:
    return {"": "{}", "?": "[{}]", "+": "{0} [{0} ...]", "*": "[{} ...]"}[argument.many].format(argument.name)


def usage(way: t.Sequence[Node]) -> str:
    node = way[-1]
    parts = ["hvm", tree.path(way), *(_argument(one) for one in node.arguments)]
    return " ".join([*parts, "[OPTION ...]"])


def _option(option: Option, words: Words) -> str:
    value = "" if option.kind == "flag" else f" {'|'.join(option.choices) if option.choices else option.key.upper()}"
    if option.kind == "list" and option.choices:
        value += ",..."
    default = ",".join(option.default) if isinstance(option.default, tuple) else option.default
    if option.key == "config":
        from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PATH

        default = PATH
    head = f"  {', '.join(option.names)}{value}"
    text = words.option(option.names[0], default)
    return f"{head.ljust(_OPTION_COLUMN)} {text}" if len(head) <= _OPTION_COLUMN else f"{head}\n{' ' * _OPTION_COLUMN} {text}"


def about(way: t.Sequence[Node], words: Words) -> list[str]:
    """One command, or a word that others follow; without any, everything."""
    if not way:
        return drawn(words)
    node = way[-1]
    lines = [words.command(tree.path(way)), ""]
    if node.children:
        lines.append(words("commands"))
        for below in tree.walk(node, tuple(way)):
            lines.append(f"  hvm {tree.path(below)}".ljust(_OPTION_COLUMN) + " " + words.command(tree.path(below)))
    else:
        lines.append(words("usage", usage=usage(way)))
        if node.options:
            lines += ["", words("options"), *(_option(one, words) for one in node.options)]
    return [*lines, "", words("options of all"), *(_option(one, words) for one in tree.GLOBAL), "", words("exit codes")]
