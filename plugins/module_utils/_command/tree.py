# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The commands of `hvm` as data: parser, help, completion and documentation are made from it.

Words and order are those of the manual; what it does not have comes after that. An option is called as the playbooks' variable
is, without its `hvm_`; a second, shorter name is that of the module's option.
"""

from __future__ import annotations

import typing as t

#: What the completion puts in: words that only the host knows (`_command.complete`).
VMS, SETS, HOSTS, KEPT, NETWORKS, COMMANDS = "vms", "sets", "hosts", "kept", "networks", "commands"


class Option(t.NamedTuple):
    """:ivar names: the first one names its text.
    :ivar key: in the parsed values. :ivar kind: flag, text, int, float, or list (may be given several times, or with commas).
    :ivar kinds: what the completion offers for the value.
    """

    names: tuple[str, ...]
    key: str
    kind: str = "text"
    choices: tuple[str, ...] = ()
    default: t.Any = None
    kinds: str = ""


class Argument(t.NamedTuple):
    """:ivar name: as the help shows it. :ivar many: "" for one, "?" for one or none, "+" for several."""

    name: str
    key: str
    many: str = ""
    choices: tuple[str, ...] = ()
    default: t.Any = None
    kinds: str = ""


class Node(t.NamedTuple):
    """A word of the command line, with what may follow it; without children it is a command.

    :ivar action: name of the function in `_command.actions`. :ivar words: what it is told besides what was typed.
    :ivar changes: whether it changes anything: it wants root then, and runs detached. :ivar root: it wants root all the same: it
        asks libvirt, the state images, which are root's alone, or the other host, with root's key.
    :ivar ours: not in the manual.
    """

    word: str
    children: tuple[Node, ...] = ()
    action: str = ""
    words: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    changes: bool = False
    root: bool = False
    aliases: tuple[str, ...] = ()
    ours: bool = False
    hidden: bool = False


GLOBAL = (
    Option(("--check",), "check", "flag"),
    Option(("--json",), "json", "flag"),
    Option(("--quiet", "-q"), "quiet", "flag"),
    Option(("--lang",), "lang", choices=("en", "fr")),
    Option(("--help", "-h"), "help", "flag"),
    Option(("--config",), "config"),
)

_PEER_IS_DOWN = Option(("--peer-is-down",), "peer_is_down", default="", kinds=HOSTS)
_GIVE_UP = Option(("--give-up",), "give_up", default="", kinds=HOSTS)
_PROGRESS_VERBS = (Option(("--parallel",), "parallel", "int", default=4),)

#: As the variables of the playbooks: hvm_keep, hvm_prune_older_than ...
PRUNE = (
    Option(("--keep", "--keep-last"), "keep_last", "int", default=48),
    Option(("--prune-older-than", "--older-than"), "older_than", "float"),
    Option(("--prune-except-at", "--except-at"), "except_at", "list", default=()),
    Option(("--prune-keep-hourly", "--keep-hourly"), "keep_hourly", "int", default=0),
    Option(("--prune-keep-daily", "--keep-daily"), "keep_daily", "int", default=0),
    Option(("--prune-keep-weekly", "--keep-weekly"), "keep_weekly", "int", default=0),
    Option(("--prune-keep-monthly", "--keep-monthly"), "keep_monthly", "int", default=0),
)
SYNC = (
    Option(("--verify",), "verify", choices=("guid", "content"), default="guid"),
    Option(("--set-aside",), "set_aside", "list", default=()),
    Option(("--streams",), "streams", "int", default=8),
    Option(("--rate",), "rate", default="0"),
    Option(("--compress",), "compress", "flag"),
    Option(("--stalled",), "stalled", "int", default=60),
    Option(("--give-up-after",), "give_up_after", "int", default=900),
    Option(("--retries",), "retries", "int", default=2),
)
_CONSISTENCY = Option(("--consistency",), "consistency", choices=("state", "frozen", "quiesced", "crash"), default="crash")
_TO = Argument("last|lastb|TIMESTAMP", "to", "?", default="last", kinds=SETS)

#: The manual's verb -> what `hvm_vm` calls the state.
VERBS = {
    "start": "started",
    "backup": "saved",
    "restore": "restored",
    "freeze": "frozen",
    "unfreeze": "unfrozen",
    "shutdown": "shutdown",
    "poweroff": "poweredoff",
}
_OF_VERB = {
    "restore": (Option(("--force",), "force", "flag"),),
    "shutdown": (
        Option(("--agent-timeout",), "agent_timeout", "int", default=60),
        Option(("--acpi-timeout",), "acpi_timeout", "int", default=120),
        Option(("--poweroff",), "poweroff", "flag"),
        Option(("--poweroff-timeout",), "poweroff_timeout", "int", default=60),
    ),
    "poweroff": (Option(("--poweroff-timeout",), "poweroff_timeout", "int", default=60),),
}


def _verbs(*arguments: Argument) -> tuple[Node, ...]:
    """The same verbs for one VM, or several, and for all."""
    return tuple(
        Node(
            verb,
            action="verb",
            words=(state,),
            arguments=arguments,
            options=(*_OF_VERB.get(verb, ()), *_PROGRESS_VERBS),
            changes=True,
        )
        for verb, state in VERBS.items()
    )


_VM = Argument("VM", "names", "+", kinds=VMS)
_YES_NO = ("yes", "no")
#: As hvm_vm_settings has them.
_SET = Node(
    "set",
    action="vm_set",
    arguments=(_VM,),
    options=(
        Option(("--autostart",), "autostart", choices=_YES_NO),
        Option(("--priority", "--prio"), "priority", "int"),
        Option(("--autobackup",), "autobackup", choices=_YES_NO),
        Option(("--ready",), "ready"),
        Option(("--ready-timeout",), "ready_timeout", "int"),
        Option(("--delay",), "delay", "int"),
        Option(("--move",), "move", choices=("auto", "live", "direct", "secure")),
        Option(("--agent-channel",), "agent_channel", choices=_YES_NO),
    ),
    changes=True,
    ours=True,
)

_BACKUP = Node(
    "backup",
    (
        Node(
            "secure",
            action="backup",
            options=(
                Option(("--backup-method", "--method"), "method", choices=("checkpoint", "save"), default="checkpoint"),
                Option(
                    ("--checkpoint-fallback", "--fallback"),
                    "fallback",
                    "list",
                    ("save", "frozen", "refuse"),
                    ("save", "frozen"),
                ),
                *PRUNE,
            ),
            changes=True,
        ),
        Node(
            "unsecure",
            action="backup",
            options=(
                Option(("--unsecure-method", "--method"), "method", choices=("quiesce", "freeze"), default="quiesce"),
                *PRUNE,
            ),
            changes=True,
        ),
    ),
)

#: As hvm_move has them.
MOVE = (
    Option(("--move-mode", "--mode"), "mode", choices=("auto", "live", "direct", "secure"), default="auto"),
    Option(("--move-fallback", "--fallback"), "fallback", choices=("direct", "secure", "refuse"), default="direct"),
    Option(("--move-limit", "--limit"), "limit", "int", default=300),
    Option(("--move-max-pause", "--max-pause"), "max_pause", "int", default=0),
    Option(("--move-rate",), "rate", "int", default=0),  # not --rate, which is bytes of a sync
    Option(("--on-failure",), "on_failure", choices=("back", "stay"), default="back"),
)
_MIGRATE = Node(
    "migrate",
    (
        Node("secure", action="migrate", changes=True),
        Node("unsecure", action="migrate_unsecure", options=MOVE, changes=True),
    ),
)

_CONSTRAINT = Node(
    "constraint",
    (
        Node("show", action="constraint_show", root=True),
        Node(
            "set",
            action="constraint",
            words=("present",),
            arguments=(
                Argument("HOST", "host", kinds=HOSTS),
                Argument("today|tomorrow|DAY", "start"),
                Argument("DAY", "end", "?"),
            ),
            changes=True,
        ),
        Node(
            "unset",
            action="constraint",
            words=("absent",),
            arguments=(Argument("HOST", "host", "?", kinds=HOSTS), Argument("DAY", "start", "?"), Argument("DAY", "end", "?")),
            changes=True,
        ),
    ),
)

_HV = Node(
    "hv",
    (
        Node("status", action="status", words=("hypervisor",)),
        Node("start", action="hypervisor", words=("started",), options=(_PEER_IS_DOWN,), changes=True),
        Node("stop", action="hypervisor", words=("stopped",), changes=True),
        Node(
            "sharedIP",
            (
                Node("status", action="status", words=("shared_ip",)),
                Node("enable", action="shared_ip", words=("enabled",), changes=True),
                Node("disable", action="shared_ip", words=("disabled",), changes=True),
            ),
            aliases=("sharedip", "shared-ip"),
        ),
    ),
)

_LISTS = ("all", "running", "freezed", "stopped", "backups", "snapshots", "autostart", "prio")
_VMS = Node(
    "vms",
    (
        Node("status", action="status", words=("vms",)),
        Node(
            "list",
            tuple(
                Node(word, action="vms_list", words=(word,), aliases=("frozen",) if word == "freezed" else (), root=True)
                for word in _LISTS
            ),
        ),
        *_verbs(),
    ),
)

_SNAP = Node(
    "snap",
    (
        Node("create", action="snap_create", options=(_CONSISTENCY,), changes=True),
        Node(
            "sync",
            action="snap_sync",
            options=(Option(("--set",), "set", kinds=SETS), *SYNC),
            changes=True,
        ),
        Node("createsync", action="snap_createsync", options=(_CONSISTENCY, *SYNC), changes=True),
        Node("rollback", action="rollback", words=("rolled_back",), arguments=(_TO,), changes=True),
        Node(
            "purge",
            action="snap_purge",
            options=(Option(("--show", "-show"), "show", "flag"), Option(("--exec", "-exec"), "exec", "flag"), *PRUNE),
            changes=True,
        ),
        Node(
            "list",
            (
                Node("all", action="snap_list", words=("all",)),
                Node("dates", action="snap_list", words=("dates",)),
                Node("lasts", action="snap_list", words=("lasts",), aliases=("last",)),
            ),
        ),
        Node("destroy", action="snap_destroy", arguments=(Argument("SET", "name", kinds=SETS),), changes=True, ours=True),
    ),
)

_ZFS = Node(
    "zfs",
    (
        _SNAP,
        Node("mount", action="mount", words=("mounted",), options=(_PEER_IS_DOWN,), changes=True),
        Node("umount", action="mount", words=("unmounted",), changes=True, aliases=("unmount",)),
        Node(
            "kept",
            (
                Node("list", action="kept_list"),
                Node("drop", action="kept_drop", arguments=(Argument("NAME", "name", kinds=KEPT),), changes=True),
            ),
            ours=True,
        ),
    ),
)

_BRIDGE = Argument("BRIDGE", "name", kinds=NETWORKS)
#: In place of the manual's hvm-interface-config.
_NET = Node(
    "net",
    (
        Node("list", action="net_list", root=True),
        Node(
            "add",
            action="net_add",
            arguments=(_BRIDGE,),
            options=(
                Option(("--interface",), "interface", "list", default=()),
                Option(("--vlan",), "vlan", "int"),
                Option(("--mtu",), "mtu", "int"),
                Option(("--address",), "address", "list", default=()),
            ),
            changes=True,
        ),
        Node("remove", action="net_remove", arguments=(_BRIDGE,), changes=True),
        Node("apply", action="net_apply", changes=True),
    ),
    ours=True,
)

#: The playbooks of the same names, and what the command itself needs.
_OURS = (
    Node("recover", action="recover", options=(_PEER_IS_DOWN, _GIVE_UP), changes=True),
    Node(
        "failover",
        action="failover",
        options=(
            Option(("--dead-host",), "dead_host", default="", kinds=HOSTS),
            _GIVE_UP,
            Option(("--fence",), "fence", default=""),
            Option(("--failover-to", "--to"), "to", default="last", kinds=SETS),
        ),
        changes=True,
    ),
    Node(
        "rejoin",
        action="rejoin",
        options=(
            Option(("--rejoin", "--choice"), "choice", choices=("keep", "discard"), default=""),
            Option(("--discard",), "discard", default="", kinds=HOSTS),
            Option(("--winner",), "winner", default="", kinds=HOSTS),
        ),
        changes=True,
    ),
    Node(
        "rollback",
        action="rollback",
        options=(
            Option(("--rollback-to", "--to"), "to", default="last", kinds=SETS),
            Option(
                ("--rollback-state", "--state"),
                "state",
                choices=("rolled_back", "undone", "followed"),
                default="rolled_back",
            ),
            Option(("--rollback-kept", "--kept"), "kept", default="", kinds=KEPT),
        ),
        changes=True,
    ),
    Node("shutdown", action="shutdown", options=(Option(("--shutdown-host",), "host", default="", kinds=HOSTS),), changes=True),
    Node(
        "snapshots",
        action="snap_list",
        arguments=(Argument("dates|all|lasts", "which", "?", ("dates", "all", "lasts"), "dates"),),
    ),
    Node("scheduled", action="scheduled", changes=True),
    Node("acknowledge", action="acknowledge", changes=True),
    # one word in a file: nothing to watch, and `follow` is to go on with what it ends
    Node("cancel", action="cancel", options=(Option(("--stay",), "stay", "flag"),), root=True),
    Node("follow", action="follow", root=True),
    Node("help", action="help", arguments=(Argument("COMMAND", "path", "*", kinds=COMMANDS),)),
    Node(
        "complete",
        action="complete",
        arguments=(Argument("KIND", "kind", "", (VMS, SETS, HOSTS, KEPT, NETWORKS)),),
        hidden=True,
    ),
)

TREE = Node(
    "hvm",
    (
        Node("status", action="status", words=("all",), options=(Option(("--all", "-a"), "all", "flag"),)),
        _BACKUP,
        _MIGRATE,
        _CONSTRAINT,
        _HV,
        Node("vm", (Node("status", action="vm_status", arguments=(_VM,), root=True), *_verbs(_VM), _SET)),
        _VMS,
        _ZFS,
        _NET,
        *(one._replace(ours=True) for one in _OURS),
    ),
)


def child(node: Node, word: str) -> Node | None:
    return next((one for one in node.children if word == one.word or word in one.aliases), None)


def descend(words: t.Sequence[str], top: Node = TREE) -> tuple[tuple[Node, ...], list[str]]:
    """``(the nodes on the way down without the top, the words that are left)``."""
    way: list[Node] = []
    node, left = top, list(words)
    while left and (found := child(node, left[0])):
        way.append(found)
        node = found
        del left[0]
    return tuple(way), left


def path(way: t.Sequence[Node]) -> str:
    return " ".join(node.word for node in way)


def walk(node: Node = TREE, way: tuple[Node, ...] = ()) -> t.Iterator[tuple[Node, ...]]:
    """Every way down, in the order of the manual; hidden ones too."""
    for one in node.children:
        yield (*way, one)
        yield from walk(one, (*way, one))


def commands(top: Node = TREE) -> list[tuple[Node, ...]]:
    """The ways to what can be run."""
    return [way for way in walk(top) if way[-1].action]
