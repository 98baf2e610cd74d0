# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Which sets are held on this host: that of the last sync, the base of the next increment."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import STATE
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, protect

#: Sets that this pair may hold on this host -> whether the hold is known to be there. Written before a hold is taken, so that
#: none is forgotten, and after it, so that a crash between the two is made up for.
LEDGER = f"{STATE}/holds.json"


def ledger() -> dict[str, bool] | None:
    """None when there is none yet, or when it cannot be read."""
    text = read_text(LEDGER)
    if text is None:
        return None
    try:
        return {str(name): bool(placed) for name, placed in json.loads(text).items()}
    except (ValueError, AttributeError):
        return None


def verified(config: PairConfig) -> list[str]:
    """Sets that are known to have been complete on this host, whatever else there is by now."""
    known = ledger()
    if known is None:  # a rollback takes it away
        return list(protect.held(config.datasets, config.pair))
    return [name for name, placed in known.items() if placed]


def is_protected(name: str) -> bool:
    return (ledger() or {}).get(name, False)


def _write_ledger(sets: t.Mapping[str, bool]) -> None:
    os.makedirs(STATE, mode=0o755, exist_ok=True)
    write_atomic(LEDGER, json.dumps(dict(sorted(sets.items()))) + "\n", 0o644)


def remember(name: str) -> None:
    """Before it is held."""
    known = ledger()
    if known is not None and name not in known:
        _write_ledger({**known, name: False})


def reopen(name: str) -> None:
    """Before streams of a set that was verified: a replica was set aside, and until it ends the other host has less of it."""
    known = ledger()
    if known and known.get(name):
        _write_ledger({**known, name: False})


def release_others(config: PairConfig, name: str, placed: bool) -> list[str]:
    """Let go of every set but `name`, the base of the next increment. A failure is a warning: the data are safe.

    :param placed: whether `name` itself is held now; until it is, the others stay.
    """
    if not placed:
        remember(name)
        return []
    known = ledger()
    if known is None:  # the first time here, or the file is lost: ask ZFS for all that is held
        known = dict.fromkeys(protect.held(config.datasets, config.pair), True)
    warnings = []
    left = {name: True}
    for old in known:
        if old == name:
            continue
        try:
            protect.release(config.datasets, old, config.pair)
        except HvmError as exc:
            warnings.append(f"{config.me.name}: the hold on {old} stays: {exc}")
            left[old] = True
    _write_ledger(left)
    return warnings


def protect_set(config: PairConfig, datasets: inventory.Inventory, name: str) -> list[str]:
    """Hold and bookmark a set that both hosts have, and let go of the one before. Returns warnings."""
    failed = hold_and_mark(config, datasets, name)
    return failed + release_others(config, name, placed=not failed)


def hold_and_mark(config: PairConfig, datasets: inventory.Inventory, name: str) -> list[str]:
    return protect.hold_and_mark(config.datasets, datasets, name, config.pair, remember)
