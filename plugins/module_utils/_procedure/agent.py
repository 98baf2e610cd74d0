# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What the other host may ask of this one: the whole of what the pair's ssh key can do (forced command)."""

from __future__ import annotations

import contextlib
import sys
import threading
import types
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core import build
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig, load
from ansible_collections.hvm.pair.plugins.module_utils._peer.protocol import PROTOCOL
from ansible_collections.hvm.pair.plugins.module_utils._peer.server import Emit, Server
from ansible_collections.hvm.pair.plugins.module_utils._procedure import early, glance, holds
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, names

#: Seconds after which whoever waits is told that this host is still at it.
TELL_AFTER = 30.0


def load_rest() -> tuple[types.ModuleType, ...]:
    """The whole library: it is what gets installed, and nothing is left to load in an interruption.

    The first answer does not wait for it; `lock` does, which comes before anything is changed.
    """
    from ansible_collections.hvm.pair.plugins.module_utils._peer import relay
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
        address,
        alone,
        arrive,
        backup,
        brief,
        cancelling,
        checkpoint,
        comeback,
        constraints,
        cycle,
        failover,
        goback,
        hypervisor,
        initialise,
        install,
        meanwhile,
        mount,
        move,
        networks,
        offers,
        overlays,
        passage,
        pools,
        preflight,
        prune,
        recover,
        rejoin,
        relaying,
        rollback,
        scheduled,
        snapshots,
        switch,
        switchover,
        sync,
        uninstall,
        verbs,
        vm_settings,
        vms,
    )

    return (
        *(address, alone, arrive, backup, brief, cancelling, checkpoint, comeback, constraints, cycle, failover, goback),
        *(hypervisor, initialise, install, meanwhile, mount, move, networks, offers, overlays, passage, pools),
        *(preflight, prune, recover, rejoin, relaying, rollback, scheduled, snapshots, switch, switchover, sync, uninstall),
        *(verbs, vm_settings, vms, relay),
    )


class Agent:
    """Operations by name: every method without an underscore. Arguments are checked here, whoever sends them."""

    def __init__(self, config: PairConfig) -> None:
        self._config = config
        self._lock = operation.Lock()
        self._relays = contextlib.ExitStack()
        self._turn = threading.Lock()
        self._at = ""  # what has that

    def operations(self) -> dict[str, t.Callable[[dict[str, t.Any], Emit], t.Any]]:
        found = [name for name in dir(self) if not name.startswith("_") and name != "operations"]
        return {name: getattr(self, name) for name in found}

    @property
    def _actions(self) -> types.ModuleType:
        """Loaded at `lock` at the latest; the first answer does not wait for it."""
        from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions

        return actions

    def _below(self, name: str) -> str:
        if not any(name == root or name.startswith(root + "/") for root in self._config.datasets) or "@" in name:
            raise HvmError(f"dataset {name} is not below the datasets of the pair ({', '.join(self._config.datasets)})")
        return name

    def _set(self, arguments: dict[str, t.Any]) -> str:
        name = str(arguments["set"])
        if not names.is_set_of(name, self._config.pair):
            raise HvmError(f"{name!r} is no snapshot set of the pair {self._config.pair}")
        return name

    def _dataset(self, arguments: dict[str, t.Any]) -> str:
        name = self._below(str(arguments["dataset"]))
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
        answer: dict[str, t.Any] = {"host": config.me.name, "role": role.as_dict(role.load())}
        if arguments.get("look"):
            answer["look"] = self.look({}, dummy)
        return answer

    def observe(self, dummy_arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import observe

        found = observe.observe(self._config)
        if self._lock.is_held:
            found["lock"] = None  # held for the one who asks
        return found

    def offers(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        """Only what is an emulator by name and place is run."""
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import observe, offers

        known = observe.emulators()
        wanted = [str(one) for one in arguments["emulators"]]
        return offers.offers([one for one in wanted if one in known], [str(one) for one in arguments["files"]])

    def lock(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._pair import guards

        epoch = arguments.get("epoch")
        me: dict[str, t.Any] = {"role": {"epoch": role.load().epoch}, "qemu": glance.qemu_processes()}
        me.update(pending=operation.pending(), gate=role.gate_says())
        findings = guards.lend(me, None if epoch is None else int(epoch))
        if findings:
            raise HvmError(findings[0].what, findings[0].remedy)
        load_rest()
        self._lock.take(str(arguments["operation"]), str(arguments["owner"]), lent=True)
        if epoch is not None:
            role.see(int(epoch))
        return {}

    def datasets(self, dummy_arguments: dict[str, t.Any], dummy: Emit) -> inventory.Inventory:
        return early.read_datasets(self._config)

    def newest(self, dummy_arguments: dict[str, t.Any], dummy: Emit) -> inventory.Inventory:
        return early.read_newest(self._config)

    def look(self, dummy_arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        """The observation and the inventory that it was made from, read once, with the newest snapshots only."""
        found, datasets = glance.look(self._config, early.take)
        if self._lock.is_held:
            found["lock"] = None
        return {"observation": found, "inventory": datasets, "protected": holds.ledger() or {}}

    def receive(self, arguments: dict[str, t.Any], dummy: Emit) -> list[list[str]]:
        """The commands that take a stream; made here, never taken from the wire."""
        name = self._dataset(arguments)
        if not self._lock.is_held:
            raise HvmError("a stream comes under the pair's lock only")
        used = self._actions.in_use(name)
        if used:
            raise HvmError(used, "A replica must be inert: hvm_hypervisor state=stopped makes it so.")
        new, volume = bool(arguments["new"]), bool(arguments["volume"])
        command = self._actions.receive_command(name, new, volume, name in self._config.datasets)
        return [["zstd", "-q", "-d", "-c"], command] if arguments.get("compressed") else [command]

    def abort_receive(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        self._actions.abort_receive(self._dataset(arguments))
        return {}

    def rename(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        self._actions.rename(self._dataset(arguments), self._dataset({"dataset": arguments["to"]}))
        return {}

    def set_aside(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        stamp = str(arguments["stamp"])
        if not names.is_stamp(stamp):
            raise HvmError(f"{stamp!r} is no time stamp")
        return {"kept": self._actions.set_aside(self._dataset(arguments), stamp, self._config.pair)}

    def settle(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        """After the streams: what there is of the set, and on request its protection."""
        name = self._set(arguments)
        found = self._actions.find_set([self._below(str(one)) for one in arguments["datasets"]], name)
        warnings: list[str] = []
        if arguments["protect"] and set(arguments["datasets"]) <= set(found):  # else the base before it is still the base
            present: inventory.Inventory = {one: {"snapshots": [[name, *found[one]]]} for one in found}
            warnings = holds.protect_set(self._config, present, name)
        return {"found": found, "warnings": warnings}

    def content(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._zfs import content

        name = self._dataset(arguments)
        if not content.is_readable(name):
            return {"digest": None}
        return {"digest": content.digest(name, self._set(arguments), bool(arguments["volume"]))}

    def set_properties(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        unknown = set(arguments["properties"]) - inventory.REPLICATED
        if unknown:
            raise HvmError(f"properties {', '.join(sorted(unknown))} are not replicated")
        self._actions.set_properties(self._dataset(arguments), arguments["properties"])
        return {}

    def trees(self, dummy_arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._zfs import kept

        kept.flush(self._config.pools)
        return kept.read(self._config.datasets)

    def swap(self, arguments: dict[str, t.Any], emit: Emit) -> dict[str, t.Any]:
        """A rollback of the replicas, or its undo; nothing is destroyed by either."""
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import rollback

        self._dataset({"dataset": self._config.datasets[0]})
        if not self._lock.is_held:
            raise HvmError("a replica is rolled back under the pair's lock only")
        words = {name: str(arguments[name]) for name in ("do", "set", "stamp", "aside")}
        return rollback.swap(self._config, words, lambda text: emit({"text": text}))

    def no_shared_ip(self, dummy_arguments: dict[str, t.Any], dummy: Emit) -> list[str]:
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import address

        return address.hindrance(self._config)

    def announce(self, dummy_arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        """Only what this host has of the pair's own addresses: nothing that is asked for."""
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import address

        return {"announced": address.announce(self._config)}

    def see(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        """In which epoch the host that asks is ACTIVE."""
        self._need_lock("an epoch is told")
        return {"changed": role.see(int(arguments["epoch"]))}

    def constraints(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        """Without the pair's lock: a constraint changes no role and no dataset, and is set while a backup runs, too."""
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import constraints

        return constraints.told(self._config, str(arguments["told"]))

    def networks(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        """Without the pair's lock, as constraints; what removes a bridge takes it for itself."""
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import networks

        return networks.told(self._config, str(arguments["do"]), str(arguments["told"]))

    def prune(self, arguments: dict[str, t.Any], emit: Emit) -> dict[str, t.Any]:
        """By the rules of the host that asks; what this host itself needs stays, whatever they say. :return: as `prune.prune`."""
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import prune
        from ansible_collections.hvm.pair.plugins.module_utils._zfs import retention

        class Told(Progress):
            def say(self, text: str, **facts: t.Any) -> None:
                emit({"text": text})

        return prune.prune(self._config, retention.rules(arguments["rules"]), Told(), check=bool(arguments["check"]))

    def touched(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import comeback

        return {"touched": comeback.touched(self._config, [self._below(str(one)) for one in arguments["datasets"]])}

    def written(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, int]:
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import comeback

        return comeback.written(self._config, self._set(arguments))

    def replay(self, dummy_arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import comeback

        self._need_lock("logs are replayed")
        return comeback.replay(self._config)

    def stand_down(self, arguments: dict[str, t.Any], dummy: Emit) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import comeback

        self._need_lock("a host stands down")
        return comeback.become_diverged(self._config, bool(arguments["snapshot"]), str(arguments["reason"]))

    def come_back(self, arguments: dict[str, t.Any], emit: Emit) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import comeback

        self._need_lock("a host comes back")
        return comeback.come_back(self._config, arguments, lambda text: emit({"text": text}))

    def _need_lock(self, what: str) -> None:
        if not self._lock.is_held:
            raise HvmError(f"{what} under the pair's lock only")

    def activate(self, arguments: dict[str, t.Any], emit: Emit) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import switchover

        vms, frozen = ([str(name) for name in arguments[word]] for word in ("vms", "frozen"))
        return switchover.activate(self._config, str(arguments["set"]), int(arguments["epoch"]), vms, frozen, emit)

    # ---- VMs that come one by one; `arrive` is asked first

    def arrive(self, arguments: dict[str, t.Any], emit: Emit) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import arrive

        self._need_lock("VMs are taken in")
        self._set(arguments["facts"])
        with self._one_at_a_time("arrive", emit):
            return arrive.arrive(self._config, arguments["facts"], emit)

    def arrived(self, arguments: dict[str, t.Any], emit: Emit) -> dict[str, t.Any]:
        return self._arrive("arrived", arguments, emit, bool(arguments["frozen"]), emit)

    def left(self, arguments: dict[str, t.Any], emit: Emit) -> dict[str, t.Any]:
        return self._arrive("left", arguments, emit)

    def drop(self, arguments: dict[str, t.Any], emit: Emit) -> dict[str, t.Any]:
        return self._arrive("drop", arguments, emit)

    def _arrive(self, what: str, arguments: dict[str, t.Any], emit: Emit, *more: t.Any) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import arrive

        self._need_lock("VMs are taken in")
        with self._one_at_a_time(f"{what} {arguments['vm']}", emit):
            return t.cast("dict[str, t.Any]", getattr(arrive, what)(self._config, str(arguments["vm"]), *more))

    @contextlib.contextmanager
    def _one_at_a_time(self, what: str, emit: Emit) -> t.Iterator[None]:
        """What changes the journal of VMs that come, or their overlays.

        A request goes on also when nobody waits for its answer any more. One beside it would not see what it has yet to change.

        :raises HvmError: when one goes on. No other waits for its turn: nobody might wait for that either.
        """
        if not self._turn.acquire(blocking=False):
            raise HvmError(
                f"it is still at '{self._at}', which it was asked for before",
                "See there what that waits for (zpool status, dmesg); when it has ended, hvm.pair.recover.",
            )
        try:
            self._at = what
            told = threading.Timer(TELL_AFTER, emit, [{"text": f"still at '{what}'"}])
            told.daemon = True
            told.start()
            try:
                yield
            finally:
                told.cancel()
        finally:
            self._turn.release()

    def pack(self, arguments: dict[str, t.Any], emit: Emit) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._libvirt import variables
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import arrive

        self._need_lock("VMs go back")
        own = variables.Own(str(arguments["nvram"]), str(arguments["tpm"])).checked()
        with self._one_at_a_time(f"pack {arguments['vm']}", emit):
            return arrive.pack(self._config, str(arguments["vm"]), own)

    def depart(self, dummy_arguments: dict[str, t.Any], emit: Emit) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import arrive

        self._need_lock("VMs are taken in")
        with self._one_at_a_time("depart", emit):
            return arrive.depart(self._config)

    def take_over(self, dummy_arguments: dict[str, t.Any], emit: Emit) -> dict[str, t.Any]:
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import arrive

        self._need_lock("a role is taken over")
        with self._one_at_a_time("take_over", emit):
            return arrive.take_over(self._config, emit)

    def listen(self, arguments: dict[str, t.Any], emit: Emit) -> dict[str, t.Any]:
        """Relays from here to the host that asks, for a VM that goes back to it; those of before end."""
        from ansible_collections.hvm.pair.plugins.module_utils._peer import relay
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import overlays, relaying

        self._need_lock("a relay is opened")
        with self._one_at_a_time("listen", emit):  # else it would go, and stand still there: this host could not let it go
            self._relays.close()
            for endpoint in map(str, arguments["endpoints"]):
                made = relay.Relay(self._config, relaying.path_of(endpoint), endpoint, *overlays.qemu_owner(), wait=60.0)
                self._relays.enter_context(made)
                made.ready(1)
        return {}


def main() -> int:
    try:
        agent = Agent(load())
    except HvmError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    Server(agent.operations()).serve()
    return 0
