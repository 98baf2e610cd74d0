# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The older scripts' `local.conf`, a piece of shell, as variables of the inventory.

It is read, never run. So what only a shell could tell (another variable, a condition, a command) is named, never guessed: a wrong
address or a wrong order of the hosts would be found out when it hurts.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError

#: The manual's variables ("Configuration") -> those of the inventory.
NAMES = {
    "HVM_HOSTS": "hvm_hosts",
    "HVM_SERVICE_IFACE": "hvm_service_iface",
    "HVM_SHARED_IP": "hvm_shared_ip",
    "HVM_GATEWAY": "hvm_gateway",
}

#: As `_pair.config` wants them.
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z")
_ASSIGNMENT = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)\Z", re.DOTALL)
#: Bash and what it does not change.
_HARMLESS = re.compile(r"export(?:[ \t]+[A-Za-z_][A-Za-z0-9_]*)+\Z")


class Read(t.NamedTuple):
    """:ivar values: HVM_… -> its words. :ivar wrong: what could not be understood, each with its line. :ivar left_out:
    assignments of other variables.
    """

    values: dict[str, list[str]]
    wrong: list[str]
    left_out: list[str]


def _statements(text: str) -> t.Iterator[tuple[int, str]]:
    """Line number and text of each statement, without comments; an array or a quoted text may go over several lines."""
    start, line, depth, quote, words = 1, 1, 0, "", ""
    fresh = True  # no word has begun: only there `#` begins a comment
    characters = iter(enumerate(text))
    for at, char in characters:
        line += char == "\n"
        following = next(characters, (0, ""))[1] if char == "\\" and quote != "'" else ""
        line += following == "\n"
        began, fresh = fresh, not quote and char in " \t\n;("
        if following == "\n":  # a backslash before it: both are nothing
            fresh = began
        elif quote:
            words += char + following
            quote = "" if char == quote else quote
        elif char == "#" and began:
            end = text.find("\n", at)
            for dummy in range((len(text) if end < 0 else end) - at - 1):
                next(characters, None)
        elif char == "\n" and depth > 0:
            words += " "
        elif char in "\n;":
            if words.strip():
                yield start, words.strip()
            words = ""
        else:
            quote = char if char in "'\"" else ""
            depth += (char == "(") - (char == ")")
            words += char + following
        if not words.strip():
            start, words = line, ""
    if words.strip():
        yield start, words.strip()


def read(text: str) -> Read:
    """What the file says of the four variables. Pure."""
    found = Read({}, [], [])
    for number, statement in _statements(text.removeprefix("\ufeff").replace("\r\n", "\n")):
        where = f"line {number}"
        short = statement.splitlines()[0]
        short = short if len(short) <= 60 else f"{short[:57]}..."
        match = _ASSIGNMENT.match(statement)
        if not match:
            if not _HARMLESS.match(statement):
                found.wrong.append(f"{where}: '{short}' is no plain assignment")
            continue
        name, value = match.groups()
        if name not in NAMES:
            try:
                plain = len(shlex.split(value)) < 2 or value.startswith("(")
            except ValueError:
                plain = False
            if plain and not _SUBSTITUTION.search(value):
                found.left_out.append(f"{where}: {name}")
            else:
                found.wrong.append(f"{where}: '{short}' is no plain assignment")
            continue
        try:
            words = _words(value)
        except ValueError as exc:
            found.wrong.append(f"{where}: '{short}' {exc}")
            continue
        if found.values.get(name, words) != words:
            found.wrong.append(f"{where}: {name} is assigned a second time, with another value")
        found.values[name] = words
    return found


#: Commands may do anything: unset a variable, read another file.
_SUBSTITUTION = re.compile(r"[`]|\$\(|<\(")


def _words(value: str) -> list[str]:
    """:raises ValueError: saying what is wrong with it, as the end of a sentence."""
    if re.search(r"[$`]", value):
        raise ValueError("has something in it that only a shell could fill in")
    is_array = value.startswith("(")
    if is_array and not value.endswith(")"):
        raise ValueError("is no plain assignment")
    try:
        words = shlex.split(value[1:-1] if is_array else value)
    except ValueError as exc:
        raise ValueError(f"cannot be read: {exc}".lower()) from exc
    if not is_array and len(words) > 1:
        raise ValueError("is a command with a variable, no plain assignment: put its value in quotes")
    return [one for word in words for one in word.split()]


def variables(values: t.Mapping[str, t.Sequence[str]]) -> tuple[dict[str, t.Any], dict[str, str]]:
    """``(variables of the inventory, what is wrong with others)``, the latter by name of the variable. Pure."""
    found: dict[str, t.Any] = {}
    wrong: dict[str, str] = {}
    for name, ours in NAMES.items():
        if name not in values:
            continue
        words = list(values[name])
        try:
            found[ours] = _MAKE[ours](words)
        except ValueError as exc:
            wrong[ours] = f"{name} is '{' '.join(words)}': {exc}"
    return found, wrong


def _hosts(words: list[str]) -> list[str]:
    if len(words) != 2 or words[0] == words[1] or not all(map(_HOST.match, words)):
        raise ValueError("it must be the names of two hosts")
    return words


def _interface(words: list[str]) -> str:
    if len(words) > 1 or not all(map(_INTERFACE.match, words)):
        raise ValueError("it must be the name of one interface")
    return "".join(words)


def _addresses(words: list[str]) -> list[str]:
    for word in words:
        ipaddress.ip_interface(word)
        if "/" not in word:
            raise ValueError(f"{word} has no prefix length, as /24, and nothing here says it")
    return words


def _address(words: list[str]) -> str:
    if len(words) > 1:
        raise ValueError("it must be one address")
    for word in words:
        ipaddress.ip_address(word)
    return "".join(words)


_MAKE: dict[str, t.Callable[[list[str]], t.Any]] = {
    "hvm_hosts": _hosts, "hvm_service_iface": _interface, "hvm_shared_ip": _addresses, "hvm_gateway": _address,
}  # fmt: skip


def take_over(texts: t.Mapping[str, str], host: str, given: t.Mapping[str, t.Any], path: str) -> dict[str, t.Any]:
    """What the files of a pair say that its inventory does not.

    :param texts: host of the inventory -> its file's text, of all hosts of the run.
    :param host: the host of the pair that this is about.
    :param given: variables that the inventory sets; of these nothing is taken and nothing is wrong.
    :return: ``{variables, left_out}``.
    :raises HvmError: with all that is wrong at once, in both files, or between them.
    """
    wanted = [name for name in NAMES.values() if name not in given]
    mine = read(texts[host])
    hosts = list(given.get("hvm_hosts") or variables(mine.values)[0].get("hvm_hosts") or [])
    wrong = [] if hosts or "hvm_hosts" not in wanted or "HVM_HOSTS" in mine.values else [f"{host}: HVM_HOSTS is not set"]
    strangers = [name for name in hosts if name not in texts]
    if strangers:
        wrong.append(
            f"HVM_HOSTS names {' and '.join(strangers)}, and the hosts of this run are {', '.join(sorted(texts))}: call them "
            "alike in the inventory, or set hvm_hosts there"
        )
    elif hosts and host not in hosts:
        wrong.append(f"HVM_HOSTS names {' and '.join(hosts)} on {host}: which is neither of them")
    files = {name: read(texts[name]) for name in dict.fromkeys([host, *hosts]) if name in texts}
    made: dict[str, dict[str, t.Any]] = {}
    for name, file in files.items():
        made[name], mistakes = variables(file.values)
        wrong += [f"{name}: {text}" for text in file.wrong] if wanted else []
        wrong += [f"{name}: {text}" for ours, text in mistakes.items() if ours in wanted]
    if not wrong:
        wrong = [text for ours in wanted for text in _difference(ours, made)]
    if wrong:
        raise HvmError(
            f"{path} cannot be taken over: {'; '.join(wrong)}",
            f"It is read, not run. Correct it on the hosts, or set in the inventory what it is to say ({', '.join(wanted)}).",
        )
    left_out = [f"{name}: {text}" for name, file in files.items() for text in file.left_out]
    return {"variables": {name: value for name, value in made[host].items() if name in wanted}, "left_out": left_out}


def _difference(name: str, made: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    upper = next(theirs for theirs, ours in NAMES.items() if ours == name)
    said = {host: _plain(found[name]) if name in found else "not set" for host, found in made.items()}
    if len(set(said.values())) < 2:
        return []
    return [f"{upper} is {' and '.join(f'{value} on {host}' for host, value in said.items())}"]


def _plain(value: t.Any) -> str:
    return (" ".join(value) if isinstance(value, list) else str(value)) or "empty"
