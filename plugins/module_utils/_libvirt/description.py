# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What a VM's description says of it: `autostart=yes` and `prio=NN` as the manual writes them, more in the same way; the order.

Each is a word, `=` and a value, anywhere in the text, in any order, upper or lower case, with spaces around the `=` or without.
The last one counts. What cannot be read is text like any other.

==================== ======= ==================================================================================================
word                 default meaning
==================== ======= ==================================================================================================
autostart=yes|no     no      `vms start` starts it
prio=NN              99      1 is first, 99 last
autobackup=yes|no    yes     no: a backup leaves it alone
ready=agent|none     none    it is ready when its agent answers; none: when it runs
ready=tcp:HOST:PORT  none    it is ready when the port opens; an IPv6 address in brackets
ready_timeout=NN     120     seconds after which the order goes on without it
delay=NN             0       seconds, after it is ready, until VMs of the next priority are started
move=WORD            auto    how `migrate unsecure` moves it: live, direct, secure, or auto
==================== ======= ==================================================================================================
"""

from __future__ import annotations

import re
import typing as t

LOWEST = 99
#: Seconds; the longest that a description may make others wait.
LONGEST = 3600
READY_TIMEOUT = 120
AGENT, TCP, NONE = "agent", "tcp", "none"
#: What `move` may say; the first is the default.
MOVES = ("auto", "live", "direct", "secure")


class Endpoint(t.NamedTuple):
    """Where a port opens; `host` is a name or an address, without brackets."""

    host: str
    port: int


def _word(name: str, value: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){name}\s*=\s*({value})(?![\w-])", re.IGNORECASE)


_AUTOSTART = _word("autostart", "yes|no")
_PRIORITY = _word("prio", r"\d+")
_AUTOBACKUP = _word("autobackup", "yes|no")
_DELAY = _word("delay", r"\d+")
_READY_TIMEOUT = _word("ready_timeout", r"\d+")
_MOVE = _word("move", "|".join(MOVES))
_READY = _word("ready", r"agent|none|tcp:(?:\[[0-9a-f:.]+\]|[a-z0-9_.-]+):\d{1,5}")


def _last(pattern: re.Pattern[str], description: str, default: str) -> str:
    found = pattern.findall(description)
    return str(found[-1]).lower() if found else default


def _number(pattern: re.Pattern[str], description: str, default: int, lowest: int, highest: int) -> int:
    """What is outside is brought inside."""
    return min(max(int(_last(pattern, description, str(default))), lowest), highest)


def autostart(description: str) -> bool:
    return _last(_AUTOSTART, description, "no") == "yes"


def priority(description: str) -> int:
    return _number(_PRIORITY, description, LOWEST, 1, LOWEST)


def ready(description: str) -> str:
    """"agent", "tcp:HOST:PORT" with a port that there is, or ""."""
    found = [one.lower() for one in _READY.findall(description)]
    last = next((one for one in reversed(found) if one in (AGENT, NONE) or endpoint(one) is not None), NONE)
    return "" if last == NONE else last


def endpoint(text: str) -> Endpoint | None:
    """The end of "tcp:HOST:PORT"; None for anything else."""
    kind, dummy, rest = text.partition(":")
    host, dummy, port = rest.rpartition(":")
    if kind != TCP or not host or not port.isdigit() or not 0 < int(port) < 65536:
        return None
    return Endpoint(host.strip("[]"), int(port))


def settings(description: str) -> dict[str, t.Any]:
    """All of it: ``{autostart, priority, autobackup, ready, ready_timeout, delay, move}``."""
    return {
        "autostart": autostart(description),
        "priority": priority(description),
        "autobackup": _last(_AUTOBACKUP, description, "yes") == "yes",
        "ready": ready(description),
        "ready_timeout": _number(_READY_TIMEOUT, description, READY_TIMEOUT, 1, LONGEST),
        "delay": _number(_DELAY, description, 0, 0, LONGEST),
        "move": _last(_MOVE, description, MOVES[0]),
    }


#: Setting -> its word and how that is found.
_WORDS = {
    "autostart": ("autostart", _AUTOSTART),
    "priority": ("prio", _PRIORITY),
    "autobackup": ("autobackup", _AUTOBACKUP),
    "ready": ("ready", _READY),
    "ready_timeout": ("ready_timeout", _READY_TIMEOUT),
    "delay": ("delay", _DELAY),
    "move": ("move", _MOVE),
}


def changed(description: str, wanted: t.Mapping[str, t.Any]) -> str:
    """The description with these settings; all other text stays as it is.

    A word that is there gets the new value where it stands. One that is not there is added at the end, unless it would only say
    what holds without it.

    :param wanted: some of what `settings` returns, within the same limits.
    """
    for key, value in wanted.items():
        if settings(description)[key] == value:
            continue
        word, pattern = _WORDS[key]
        said = ("yes" if value else "no") if isinstance(value, bool) else str(value) or NONE
        description, count = pattern.subn(lambda match, said=said: _with(match, said), description)  # type: ignore[misc]
        if not count:
            text = description.rstrip()
            between = "\n" if "\n" in text else " " if text else ""
            description = f"{text}{between}{word}={said}"
    return description


def _with(match: re.Match[str], value: str) -> str:
    start, end = match.start(1) - match.start(), match.end(1) - match.start()
    return f"{match[0][:start]}{value}{match[0][end:]}"


def by_priority(vms: t.Iterable[tuple[str, int]], descending: bool = False) -> list[list[str]]:
    """Groups of one priority in their order, names sorted inside each. Start, restore and unfreeze ascend; the rest descends."""
    groups: dict[int, list[str]] = {}
    for name, prio in vms:
        groups.setdefault(prio, []).append(name)
    return [sorted(groups[prio]) for prio in sorted(groups, reverse=descending)]
