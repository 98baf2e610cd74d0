# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What a sync begins with on both hosts while the rest of the library is still being loaded: the look, the connection.

Loading takes about as long as the `zfs` commands do. So this imports little, and is what is imported first.
"""

from __future__ import annotations

import subprocess
import threading
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core import begun
from ansible_collections.hvm.pair.plugins.module_utils._core.command import Run, run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import config as pair
from ansible_collections.hvm.pair.plugins.module_utils._peer.dial import LOOK, dial, ssh_command
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, kernel, newest

_Found = t.TypeVar("_Found")


class Reading(t.Generic[_Found]):
    """What a thread reads meanwhile. Not a future of concurrent.futures: that loads `logging`."""

    def __init__(self, read: t.Callable[[], _Found]) -> None:
        self._read = read
        self._found: _Found | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="look", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._found = self._read()
        except Exception as exc:  # noqa: BLE001  for whoever wants the result
            self._error = exc

    def result(self) -> _Found:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return t.cast("_Found", self._found)


class Ahead(t.NamedTuple):
    """What `ahead` has begun."""

    dialled: subprocess.Popen[bytes]
    reading: Reading[inventory.Inventory]


def ahead(config: pair.PairConfig) -> Ahead:
    """On the asking side: call the other host, and look at the datasets of this one."""
    return Ahead(dial(ssh_command(config, LOOK)), Reading(lambda: read_newest(config)))


_begun: Reading[inventory.Inventory] | None = None


def _usable(config: pair.PairConfig) -> list[str]:
    """The roots whose pools are there."""
    pools = kernel.pool_health(config.pools)
    return [root for root in config.datasets if pools[root.split("/", 1)[0]] != "missing"]


def need_roots(config: pair.PairConfig, datasets: inventory.Inventory) -> None:
    """:raises HvmError: naming the roots that are not in `datasets`."""
    missing = [root for root in config.datasets if root not in datasets]
    if missing:
        raise HvmError(f"there is no dataset {', '.join(missing)} on {config.me.name}", "Create it, or correct hvm_datasets.")


def read_datasets(config: pair.PairConfig) -> inventory.Inventory:
    """The inventory of the roots whose pools are there."""
    usable = _usable(config)
    return inventory.read(usable) if usable else {}


def read_newest(config: pair.PairConfig, execute: Run = run) -> inventory.Inventory:
    """The same with the newest snapshots only."""
    usable = _usable(config)
    return newest.read(usable, execute) if usable else {}


def wait_for_receivers(datasets: t.Sequence[str], timeout: float = 20.0) -> None:
    """Wait for a zfs receive of an earlier connection to end: until then its resume token is not what it will be."""
    deadline = time.monotonic() + timeout
    while found := kernel.receivers(datasets):
        if time.monotonic() > deadline:
            raise HvmError(
                "a zfs receive is still running here: " + ", ".join(f"{name} (pid {pid})" for pid, name in found.items()),
                "Wait for its end, or end that process.",
            )
        time.sleep(0.2)


def read_quiet(config: pair.PairConfig) -> inventory.Inventory:
    """The newest snapshots when nothing is received any more."""
    if kernel.receivers(config.datasets):
        begun.take([])  # it may have looked in the midst of it
        wait_for_receivers(config.datasets)
    return read_newest(config, _begun_first())


def _begun_first() -> Run:
    """Runs a look's commands. The first one is what was begun; when it was not, it is what the next process begins with."""
    first: list[str] = []

    def execute(command: t.Sequence[str]) -> str:
        if first:
            return run(command)
        first.extend(command)
        said = begun.take(first)
        if said is None:
            said = run(first)
            begun.remember(first)
        return said

    return execute


def begin(command: str) -> None:
    """:param command: what the other host asked ssh to run (SSH_ORIGINAL_COMMAND)."""
    global _begun  # noqa: PLW0603  one for the agent's life
    if command.split()[1:] == [LOOK]:
        _begun = Reading(lambda: read_quiet(pair.load()))


def take(config: pair.PairConfig) -> inventory.Inventory:
    """What was begun, once; read now when nothing was."""
    global _begun
    reading, _begun = _begun, None
    return reading.result() if reading is not None else read_quiet(config)
