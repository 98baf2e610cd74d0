# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The look at the datasets, which the agent begins with while the rest of the library is still being loaded.

Loading takes about as long as the `zfs` commands do. So this imports little, and is what the agent imports first.
"""

from __future__ import annotations

import concurrent.futures
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import config as pair
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, inventory, newest

#: Behind the agent's name in the ssh command: the first question will be `hello` with a look.
LOOK = "look"

_begun: concurrent.futures.Future[inventory.Inventory] | None = None


def _usable(config: pair.PairConfig) -> list[str]:
    """The roots whose pools are there."""
    pools = actions.pool_health(config.pools)
    return [root for root in config.datasets if pools[root.split("/", 1)[0]] != "missing"]


def read_datasets(config: pair.PairConfig) -> inventory.Inventory:
    """The inventory of the roots whose pools are there."""
    usable = _usable(config)
    return inventory.read(usable) if usable else {}


def read_newest(config: pair.PairConfig) -> inventory.Inventory:
    """The same with the newest snapshots only."""
    usable = _usable(config)
    return newest.read(usable) if usable else {}


def wait_for_receivers(datasets: t.Sequence[str], timeout: float = 20.0) -> None:
    """Wait for a zfs receive of an earlier connection to end: until then its resume token is not what it will be."""
    deadline = time.monotonic() + timeout
    while found := actions.receivers(datasets):
        if time.monotonic() > deadline:
            raise HvmError(
                "a zfs receive is still running here: " + ", ".join(f"{name} (pid {pid})" for pid, name in found.items()),
                "Wait for its end, or end that process.",
            )
        time.sleep(0.2)


def read_quiet(config: pair.PairConfig) -> inventory.Inventory:
    """The newest snapshots when nothing is received any more."""
    wait_for_receivers(config.datasets)
    return read_newest(config)


def begin(command: str) -> None:
    """:param command: what the other host asked ssh to run (SSH_ORIGINAL_COMMAND)."""
    global _begun  # noqa: PLW0603  one for the agent's life
    if command.split()[1:] == [LOOK]:
        pool = concurrent.futures.ThreadPoolExecutor(1)
        _begun = pool.submit(lambda: read_quiet(pair.load()))
        pool.shutdown(wait=False)


def take(config: pair.PairConfig) -> inventory.Inventory:
    """What was begun, once; read now when nothing was, or when it failed: then for whoever asks to hear why."""
    global _begun
    begun, _begun = _begun, None
    if begun is not None and begun.exception() is None:
        return begun.result()
    return read_quiet(config)
