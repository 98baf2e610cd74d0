# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each command of the tree calls, with which arguments: a table that was read by a person (`calls_golden.txt`).

HVM_GOLDEN=write makes it anew; then read what has changed.
"""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._command import actions, parse, show, tree

GOLDEN = pathlib.Path(__file__).with_name("calls_golden.txt")

#: For commands that want more than their words.
ARGUMENTS = {
    "vm": ["web", "db"],
    "constraint set": ["hv2", "20/12/2026", "3/1/2027"],
    "zfs snap destroy": ["20261123T094512Z"],
    "zfs kept drop": ["20261124T081500Z"],
    "net add": ["br-v10", "--interface", "eno1", "--vlan", "10"],
    "net remove": ["br-v10"],
    "failover": ["--dead-host", "hv2"],
    "complete": ["hosts"],
}
#: The same commands with more said: every option and argument of the tree is in one of these (a test sees to that).
MORE = [
    "status --all",
    "backup secure --backup-method save --checkpoint-fallback refuse --keep 20 --check",
    "backup secure --prune-older-than 48 --prune-except-at 12:00,20:00 --prune-keep-hourly 2 --prune-keep-daily 3",
    "backup secure --prune_keep_weekly 4 --prune-keep-monthly=5 --fallback save --fallback frozen",
    "backup unsecure --unsecure-method freeze",
    "constraint set hv1 tomorrow",
    "constraint unset hv1 20/12/2026 3/1/2027 --check",
    "hv start --peer-is-down hv2 --check",
    "hv shared-ip enable --check",
    "vm start --parallel 2 web --check",
    "vm shutdown web --agent-timeout 5 --acpi-timeout 0 --poweroff --poweroff-timeout 7",
    "vm poweroff web --poweroff-timeout 7",
    "vm restore web --force",
    "vm set web db --autostart yes --prio 5 --autobackup no --ready tcp:192.0.2.20:5432 --ready-timeout 60 --delay 0 --move live",
    "vm set web --ready none --agent-channel yes --check",
    "vms shutdown --check",
    "vms list frozen",
    "zfs snap create --consistency frozen --check",
    "zfs snap sync --set hvm_20261123T094512Z_p_B --verify content --set-aside tank/vm/a,tank/vm/b --streams 2 --rate 20M",
    "zfs snap sync --compress --stalled 5 --give-up-after 6 --retries 0 --check",
    "zfs snap createsync --check",
    "zfs snap rollback lasts --check",
    "zfs snap rollback lastsb",
    "zfs snap rollback 20261123T094512Z",
    "zfs snap purge --show",
    "zfs snap purge -show",
    "zfs snap purge -exec --keep 3",
    "zfs mount --peer_is_down hv2",
    "zfs unmount --check",
    "net add br-dmz --interface hv1=eno2,hv2=enp3s0 --mtu 9000 --address hv1=10.9.0.1/24,hv2=10.9.0.2/24",
    "net add br-x --interface eno1 --interface eno2 --check",
    "net remove br-v10 --check",
    "net apply --check",
    "migrate unsecure --move-mode direct --move-fallback refuse --move-limit 60 --move-max-pause 5 --move-rate 100 --check",
    "migrate unsecure --mode live --fallback secure --limit 9 --max-pause 1 --on-failure stay",
    "recover --peer-is-down hv2",
    "recover --peer-is-down hv2 --give-up hv2",
    "recover --check",
    "failover --dead-host hv2 --give-up hv2 --failover-to last_state --check",
    "rejoin --rejoin discard --discard hv2",
    "rejoin --choice keep --check",
    "rejoin --winner hv1",
    "rejoin --winner hv1 --dead-host hv2",
    "rollback --rollback-to last_state",
    "rollback --state undone --kept 20261124T081500Z",
    "rollback --rollback-state followed --check",
    "shutdown --shutdown-host hv1 --check",
    "snapshots all",
    "acknowledge --check",
    "cancel --stay",
    "cancel --check",
]


def typed() -> list[list[str]]:
    plain = []
    for way in tree.commands():
        path = tree.path(way)
        more = next((words for begin, words in ARGUMENTS.items() if path == begin or path.startswith(f"{begin} ")), [])
        plain.append([*path.split(), *more])
    return plain + [line.split() for line in MORE] + [["failover", "--fence", "ipmitool -H 10.0.0.9 power 'off'"]]


WITHOUT = ("help", "follow", "shutdown", "complete")


def test_every_command_calls_what_the_table_says(hvm: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import alone

    me = hvm.observed("PASSIVE")
    monkeypatch.setattr(alone, "observe", lambda config: me)
    monkeypatch.setattr(alone, "run", lambda command: hvm.calls.append(" ".join(command)))
    found = []
    for words in typed():
        if words[0] in ("help", "follow"):
            continue
        ran = hvm(*words)
        quoted = [f"'{word}'" if " " in word else word for word in words]
        found.append(f"hvm {' '.join(quoted)}\n" + "".join(f"    {call}\n" for call in ran.calls) + f"    = {ran.code}\n")
    text = "\n".join(found)
    if os.environ.get("HVM_GOLDEN") == "write":
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_the_table_has_every_option_and_argument() -> None:
    """One that no line sets could go to the wrong place unseen."""
    used: dict[str, set[str]] = {}
    for words in typed():
        parsed = parse.parse(words)
        plain = {one.key: one.default for one in (*parsed.node.options, *parsed.node.arguments)}
        used.setdefault(parsed.node.action, set()).update(
            key for key, default in plain.items() if parsed.values[key] not in (default, [])
        )
    assert used.pop("help") == set()
    wanted: dict[str, set[str]] = {}
    for way in tree.commands():
        if way[-1].action != "help":
            wanted.setdefault(way[-1].action, set()).update(one.key for one in (*way[-1].options, *way[-1].arguments))
    # set elsewhere with the same action: the rules of a purge, the counts of a backup
    wanted["snap_purge"] -= {"older_than", "except_at", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly"}
    wanted["snap_createsync"] = set()  # the same options go the way of create and sync
    assert {action: keys - used.get(action, set()) for action, keys in wanted.items() if keys - used.get(action, set())} == {}


def test_every_action_is_there_and_can_be_shown() -> None:
    for way in tree.commands():
        action = way[-1].action
        if action not in ("help", "follow"):
            assert callable(getattr(actions, action)), action
            assert callable(show.by_action(action)), action
