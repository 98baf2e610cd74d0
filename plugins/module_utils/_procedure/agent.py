# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What the other host may ask of this one: the whole of what the pair's ssh key can do (forced command)."""

from __future__ import annotations

import sys
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core import build
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig, load
from ansible_collections.hvm.pair.plugins.module_utils._peer.protocol import PROTOCOL
from ansible_collections.hvm.pair.plugins.module_utils._peer.server import Emit, Server
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    checkpoint,
    hypervisor,
    initialise,
    install,
    observe,
    preflight,
    prune,
    snapshots,
    switch,
    switchover,
    sync,
    verbs,
)
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, inventory

#: The whole library: it is what gets installed, and nothing is left to load in an interruption.
LIBRARY = (checkpoint, hypervisor, initialise, install, preflight, prune, snapshots, switch, switchover, sync, verbs)


class Agent:
    """Operations by name: every method without an underscore. Arguments are checked here, whoever sends them."""

    def __init__(self, config: PairConfig) -> None:
        self._config = config
        self._lock = operation.Lock()

    def operations(self) -> dict[str, t.Callable[[dict[str, t.Any], Emit], t.Any]]:
        names = [name for name in dir(self) if not name.startswith("_") and name != "operations"]
        return {name: getattr(self, name) for name in names}

    def _dataset(self, arguments: dict[str, t.Any]) -> str:
        name = str(arguments["dataset"])
        if not any(name == root or name.startswith(root + "/") for root in self._config.datasets) or "@" in name:
            raise HvmError(f"dataset {name} is not below the datasets of the pair ({', '.join(self._config.datasets)})")
        current = role.load().now(role.boot_id())
        if current != role.PASSIVE:
            raise HvmError(f"this host is {current}: it takes nothing from the other", "Only a PASSIVE host is sent to.")
        return name

    def hello(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        config = self._config
        if arguments.get("protocol") != PROTOCOL:
            raise HvmError("the two hosts run different versions of hvm.pair", "Run the playbook hvm.pair.install on both hosts.")
        if arguments.get("pair") != config.pair or arguments.get("me") != config.peer.name:
            raise HvmError(
                f"this host belongs to the pair {config.pair} with {config.peer.name}, "
                f"not to {arguments.get('pair')} with {arguments.get('me')}",
                "Correct hvm_hosts in the inventory and run hvm.pair.install.",
            )
        wrong = build.differing(arguments.get("digests", {}))
        if wrong:
            raise HvmError(
                f"its agent is not of the version that asks ({len(wrong)} files differ, such as {wrong[0]})",
                "Run the playbook hvm.pair.install.",
            )
        return {"host": config.me.name, "role": role.as_dict(role.load())}

    def observe(self, dummy_arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        found = observe.observe(self._config)
        if self._lock.is_held:
            found["lock"] = None  # held for the one who asks
        return found

    def lock(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        self._lock.take(str(arguments["operation"]), str(arguments["owner"]))
        return {}

    def datasets(self, dummy_arguments: dict[str, t.Any], dummy: Emit) -> inventory.Inventory:
        return inventory.read(self._config.datasets)

    def receive(self, arguments: dict[str, t.Any], dummy: Emit) -> None:
        """The check before a stream is taken; the command is made here, never taken from the wire."""
        name = self._dataset(arguments)
        if list(arguments["command"])[:2] != ["zfs", "receive"]:
            raise HvmError("only zfs receive is run for a stream")
        allowed = {"-u", "-s", "-o", "canmount=noauto", "readonly=on", "volmode=none", "mountpoint=none"}
        if arguments["command"][-1] != name or not set(arguments["command"][2:-1]) <= allowed:
            raise HvmError(f"unexpected options for zfs receive: {arguments['command']}")

    def abort_receive(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        actions.abort_receive(self._dataset(arguments))
        return {}

    def set_properties(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        unknown = set(arguments["properties"]) - inventory.REPLICATED
        if unknown:
            raise HvmError(f"properties {', '.join(sorted(unknown))} are not replicated")
        actions.set_properties(self._dataset(arguments), arguments["properties"])
        return {}

    def prune(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        return {"destroyed": prune.destroy_sets(self._config, arguments["sets"])}

    def activate(self, arguments: dict[str, t.Any], emit: Emit) -> dict[str, t.Any]:
        return switchover.activate(self._config, str(arguments["set"]), int(arguments["epoch"]), emit)


def main() -> int:
    try:
        agent = Agent(load())
    except HvmError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    Server(agent.operations()).serve()
    return 0
