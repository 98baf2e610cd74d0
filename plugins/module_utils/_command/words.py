# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""In which language the command speaks, and the library's sentences in the words of this command.

The library names modules and playbooks as remedies ("hvm_vm state=started"). At a host's own prompt these are commands.
"""

from __future__ import annotations

import functools
import re
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._command import texts

LANGUAGES = ("en", "fr")


def language(asked: str | None, environ: t.Mapping[str, str]) -> str:
    """--lang, HVM_LANG, then the locale, in the order of locale(7). Pure."""
    for word in (asked, environ.get("HVM_LANG"), *(environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))):
        if word:
            return "fr" if word.lower().startswith("fr") else "en"
    return "en"


def wished(asked: str | None, environ: t.Mapping[str, str]) -> str:
    """The language of the status' three lines: the manual, which is French, shows them in English, and scripts look for them.

    So the locale alone does not change them. Pure.
    """
    return language(asked, {"HVM_LANG": environ.get("HVM_LANG", "")})


class Words:
    """One language."""

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self._column = LANGUAGES.index(lang)

    def __call__(self, key: str, **facts: t.Any) -> str:
        return texts.TEXTS[key][self._column].format(**facts)

    def command(self, path: str) -> str:
        return texts.COMMANDS[path][self._column]

    def option(self, name: str, default: t.Any = "") -> str:
        return texts.OPTIONS[name][self._column].format(default=default)

    def said(self, text: str) -> str:
        """A sentence of the library, or a line of its reports, in this language and in the words of this command."""
        if self.lang == "fr":
            from ansible_collections.hvm.pair.plugins.module_utils._command import french

            return ours(french.line(text) or text)
        return ours(text)

    def sentence(self, what: str, remedy: str) -> str:
        """What is wrong and what to do: each by itself, since not both may be known in this language."""
        return f"{self.said(what)}. {self.said(remedy)}" if remedy else self.said(what)


#: Module -> command, where its state says which.
_BY_STATE = {
    "hvm_hypervisor state=started": "hvm hv start",
    "hvm_hypervisor state=stopped": "hvm hv stop",
    "hvm_shared_ip state=enabled": "hvm hv sharedIP enable",
    "hvm_shared_ip state=disabled": "hvm hv sharedIP disable",
    "hvm_role state=acknowledged": "hvm acknowledge",
    "hvm_operation state=acknowledged": "hvm acknowledge",
    "hvm_operation state=cancelled": "hvm cancel",
    "hvm_constraint state=query": "hvm constraint show",
    "hvm_constraint state=absent": "hvm constraint unset",
    "hvm_network state=applied": "hvm net apply",
    "hvm_network state=absent": "hvm net remove",
    "hvm_zfs_snapshot state=absent name=": "hvm zfs snap destroy ",
    "hvm_zfs_rollback to=": "hvm zfs snap rollback ",
    "hvm_zfs_rollback state=": "hvm rollback --rollback-state ",
    "hvm_zfs_mount state=mounted": "hvm zfs mount",
    "hvm_zfs_mount state=unmounted": "hvm zfs umount",
}
_VERBS = {
    "started": "start",
    "saved": "backup",
    "restored": "restore",
    "frozen": "freeze",
    "unfrozen": "unfreeze",
    "shutdown": "shutdown",
    "poweredoff": "poweroff",
}
_MODULES = {
    "hvm_vm": "hvm vms list all",
    "hvm_vm_info": "hvm vms list all",
    "hvm_vm_settings": "hvm vm set",
    "hvm_info": "hvm status --all",
    "hvm_checkpoint": "hvm backup secure",
    "hvm_constraint": "hvm constraint",
    "hvm_failover": "hvm failover",
    "hvm_move": "hvm migrate unsecure",
    "hvm_network": "hvm net",
    "hvm_recover": "hvm recover",
    "hvm_rejoin": "hvm rejoin",
    "hvm_scheduled": "hvm scheduled",
    "hvm_switchover": "hvm migrate secure",
    "hvm_zfs_kept": "hvm zfs kept list",
    "hvm_zfs_prune": "hvm zfs snap purge",
    "hvm_zfs_rollback": "hvm zfs snap rollback",
    "hvm_zfs_snapshot": "hvm zfs snap create",
    "hvm_zfs_snapshot_info": "hvm zfs snap list dates",
    "hvm_zfs_sync": "hvm zfs snap sync",
}
_PLAYBOOKS = {
    "backup_secure": "hvm backup secure",
    "backup_unsecure": "hvm backup unsecure",
    "failover": "hvm failover",
    "hv_start": "hvm hv start",
    "hv_stop": "hvm hv stop",
    "migrate_secure": "hvm migrate secure",
    "migrate_unsecure": "hvm migrate unsecure",
    "recover": "hvm recover",
    "rejoin": "hvm rejoin",
    "rollback": "hvm rollback",
    "scheduled": "hvm scheduled",
    "shutdown": "hvm shutdown",
    "snapshots": "hvm snapshots",
    "status": "hvm status --all",
}
#: Variables of the playbooks that are options here. The others (hvm_datasets ...) are the inventory's, and stay.
_VARIABLES = (
    "dead_host|discard|failover_to|fence|give_up|move_fallback|move_limit|move_max_pause|move_mode|move_rate|on_failure|"
    "peer_is_down|rejoin|"
    "rollback_kept|rollback_state|rollback_to|shutdown_host|winner"
)
#: What a sentence fills in: it ends before the punctuation.
_VALUE = r"((?:[\w.:/@-]*\w)?)"


def _any(words: t.Iterable[str]) -> str:
    """Longest first: hvm_vm is also the beginning of hvm_vm_info."""
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


_Replace = t.Callable[[re.Match[str]], str]
#: In their order: what is longer comes first.
_RULES: tuple[tuple[str, str | _Replace], ...] = (
    (r"\bhvm_vm state=restored or state=started\b", "hvm vm restore or hvm vm start"),
    (rf"\bhvm_vm state=({_any(_VERBS)}) all=true\b", lambda found: f"hvm vms {_VERBS[found[1]]}"),
    (rf"\bhvm_vm state=({_any(_VERBS)})\b", lambda found: f"hvm vm {_VERBS[found[1]]}"),
    (rf"\(hvm_zfs_rollback to={_VALUE}\), or go back \(state=undone\)",
     r"(hvm zfs snap rollback \1), or go back (hvm rollback --rollback-state undone)"),
    (rf"\bhvm_zfs_rollback state=(\w+) kept={_VALUE}", r"hvm rollback --rollback-state \1 --rollback-kept \2"),
    (rf"\b({_any(_BY_STATE)})", lambda found: _BY_STATE[found[1]]),
    (r"\bhvm_zfs_sync with set_aside \[([^]]*)\]", r"hvm zfs snap sync --set-aside \1"),
    (r"\bhvm_zfs_kept drops it\b", "'hvm zfs kept drop' destroys it"),
    (r"\bhvm_start_host=" + _VALUE, r"run 'hvm hv start' on \1"),
    (r"\bhvm_rejoin=keep, hvm_rejoin=discard with hvm_discard=" + _VALUE + r", or hvm_winner=" + _VALUE,
     r"hvm rejoin --rejoin keep, hvm rejoin --rejoin discard --discard \1, or hvm rejoin --winner \2"),
    (r"\bhvm\.pair\.rollback hvm_rollback_state=", "hvm rollback --rollback-state "),
    (r"(?<!--)\bhvm_rollback_state=(\w+)", r"hvm rollback --rollback-state \1"),
    (rf"\b(?:the playbook )?hvm\.pair\.({_any(_PLAYBOOKS)})\b,? with (?=hvm_)", lambda found: f"{_PLAYBOOKS[found[1]]} "),
    (rf"\b(?:the playbook )?hvm\.pair\.({_any(_PLAYBOOKS)})\b", lambda found: _PLAYBOOKS[found[1]]),
    (rf"\bhvm_({_VARIABLES})=" + _VALUE, lambda found: f"--{found[1].replace('_', '-')} {found[2]}".rstrip()),
    (rf"\bhvm_({_VARIABLES})\b", lambda found: f"--{found[1].replace('_', '-')}"),
    (r"(?<![\w-])peer_is_down=" + _VALUE, r"--peer-is-down \1"),
    (rf"\b({_any(_MODULES)})\b", lambda found: _MODULES[found[1]]),
    (r"with the same variables", "with the same options"),
)  # fmt: skip


@functools.cache
def _compiled() -> tuple[tuple[re.Pattern[str], str | _Replace], ...]:
    """When the first one is needed: `hvm status` needs none."""
    return tuple((re.compile(pattern), replacement) for pattern, replacement in _RULES)


def ours(text: str) -> str:
    """A sentence of the library, with commands of `hvm` for the modules, playbooks and variables that it names. Pure."""
    if "hvm" not in text and "peer_is_down" not in text:
        return text
    for pattern, replacement in _compiled():
        text = pattern.sub(replacement, text)
    return text
