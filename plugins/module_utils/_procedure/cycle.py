# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""All of `hvm backup secure` and `hvm backup unsecure`, as the playbooks have it: look > set > sync > verify > prune on both."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import backup, preflight, prune, sync
from ansible_collections.hvm.pair.plugins.module_utils._zfs.retention import Rules

#: What `hvm_preflight` calls a backup by this method.
_OPERATIONS = {backup.QUIESCE: "backup_unsecure", backup.FREEZE: "backup_unsecure"}
#: Seconds that the other host may take to destroy its old sets.
PRUNE_TIMEOUT = 4 * 3600.0


def run(config: PairConfig, options: backup.Options, rules: Rules, progress: Progress, check: bool = False) -> dict[str, t.Any]:
    """:return: ``{changed, checkpoint, sync, prune: {host: ...}, warnings}``: what each of the modules returns.

    :raises HvmError: until the set is on the other host and verified; that old sets cannot go after that is a warning.
    """
    may = preflight.preflight(config, _OPERATIONS.get(options.method, "backup"))
    if not may["acts"]:
        raise HvmError(f"{may['sentence']}; the roles have changed meanwhile", "The next scheduled run looks anew.")
    taken = backup.backup(config, progress, options, check)
    sent = sync.run(config, progress, None, check)
    warnings = [*may["warnings"], *taken.pop("warnings", []), *sent.pop("warnings", [])]
    pruned = prune_both(config, rules, progress, check, warnings)
    return {"changed": True, "checkpoint": taken, "sync": sent, "prune": pruned, "warnings": warnings}


def prune_both(
    config: PairConfig, rules: Rules, progress: Progress, check: bool, warnings: list[str]
) -> dict[str, dict[str, t.Any]]:
    """Old sets go on each host by its own look, by these rules. :return: by host, as far as it came."""
    found: dict[str, dict[str, t.Any]] = {}
    if rules.is_empty:
        return found

    def here() -> dict[str, t.Any]:
        return prune.prune(config, rules, progress, check)

    def there() -> dict[str, t.Any]:
        def told(event: dict[str, t.Any]) -> None:
            progress.say(f"{config.peer.name}: {event['text']}")

        with Peer(config) as peer:
            return peer.call("prune", timeout=PRUNE_TIMEOUT, on_event=told, rules=dataclasses.asdict(rules), check=check)

    for host, work in ((config.me.name, here), (config.peer.name, there)):
        try:
            found[host] = work()
        except HvmError as exc:
            warnings.append(f"old sets stay on {host}: {exc}")
        else:
            warnings += found[host].pop("warnings", [])
    return found
