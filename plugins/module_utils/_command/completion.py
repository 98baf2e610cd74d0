# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The shell's completion: a script for bash, made from the tree, and the words that only the host knows."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._command import tree
from ansible_collections.hvm.pair.plugins.module_utils._command.tree import Node, Option

_HEAD = """# Completion of the command hvm in bash; made from its tree of commands by hvm.pair.install.
# A word that begins with @ stands for what the host knows: 'hvm complete WORD' says it.
declare -A _hvm_words=(
{words})
declare -A _hvm_options=(
{options})
declare -A _hvm_values=(
{values})
"""
_REST = """
_hvm() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} path= word= words= line= i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        [[ $word == -* ]] && continue
        [[ $path == help ]] && path=
        [[ -v _hvm_words["/$path${path:+ }$word"] ]] && path="$path${path:+ }$word"
    done
    if [[ -v _hvm_values["/$path $before"] ]]; then
        words=${_hvm_values["/$path $before"]}
    elif [[ $current == -* ]]; then
        words="${_hvm_options["/$path"]} ${_hvm_options[every]}"
    else
        words=${_hvm_words["/$path"]}
    fi
    [[ $words == @commands ]] && words=${_hvm_words["/"]}
    if [[ $words == @* ]]; then
        while IFS= read -r line; do
            [[ $line == "$current"* ]] && COMPREPLY+=("$(printf '%q' "$line")")
        done < <(hvm complete "${words#@}" 2>/dev/null)
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    fi
}
complete -F _hvm hvm
"""


def _offered(option: Option) -> str:
    return f"@{option.kinds}" if option.kinds else " ".join(option.choices)


def follows(node: Node) -> str:
    """What may come after a word: the next ones, or what its first argument may be."""
    if node.children:
        return " ".join(one.word for one in node.children if not one.hidden)
    if not node.arguments:
        return ""
    first = node.arguments[0]
    return f"@{first.kinds}" if first.kinds else " ".join(first.choices)


def _names(options: t.Iterable[Option]) -> str:
    return " ".join(option.names[0] for option in options)


def script() -> str:
    ways: list[tuple[Node, ...]] = [(), *(way for way in tree.walk() if not way[0].hidden)]
    words, options, values = [], [("every", _names(tree.GLOBAL))], []
    for way in ways:
        node, path = way[-1] if way else tree.TREE, f"/{tree.path(way)}"
        words.append((path, follows(node)))
        if node.options:
            options.append((path, _names(node.options)))
        for option in (*tree.GLOBAL, *node.options) if node.action else ():
            if _offered(option):
                values += [(f"{path} {name}", _offered(option)) for name in option.names]

    def table(rows: t.Iterable[tuple[str, str]]) -> str:
        return "".join(f'    ["{key}"]="{text}"\n' for key, text in rows)

    return _HEAD.format(words=table(words), options=table(options), values=table(values)) + _REST
