# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""`migrate unsecure`: the VMs move to the other host while they run, one after the other, and the role follows.

What they write from the beginning on is in overlays, so that their disks are the same on both hosts all the time: the last
snapshot set has those, libvirt's migration brings the rest. As `switchover` it has four pieces: what may refuse, what is done,
how it is undone (`comeback`, which `recover` shares), and what a later run finds (the journals of both hosts).
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress, Stopwatch, human
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, moving, overlay
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import state as vm_state
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, modes, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer, PeerLost
from ansible_collections.hvm.pair.plugins.module_utils._peer.relay import Relay
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    address,
    arrive,
    checkpoint,
    hypervisor,
    overlays,
    switchover,
    sync,
)
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, bases, inventory

OPERATION = arrive.OPERATION
#: Seconds for one request in which the other host starts its libvirt, or brings VMs' overlays into their disks.
LONG = 3600.0


class Options(t.NamedTuple):
    """:ivar policy: how each VM moves. :ivar rate: MiB per second for one VM; 0: as fast as it goes.
    :ivar stay: what has moved stays there when something fails; it is gone on with later, or taken back.
    """

    policy: modes.Policy = modes.Policy()
    rate: int = 0
    stay: bool = False


def prerequisites(config: PairConfig, peer: Peer, options: Options) -> tuple[dict[str, t.Any], dict[str, t.Any], t.Any]:
    """Look at both hosts; no effects. :return: (this host, the other one, VM -> how it moves)

    :raises Refused: with everything that is in the way.
    """
    me, other = switchover.look(config, peer)
    findings = guards.migrate(me, other)
    choices = modes.choose_all(me["vms"], options.policy, {}, lambda path: guards.covered(path, me), config.me.name)
    findings += modes.refusals(choices)
    if findings:
        raise Refused("the migration", findings)
    return me, other, choices


def migrate(config: PairConfig, progress: Progress, check: bool = False, options: Options = Options()) -> dict[str, t.Any]:
    """:return: as `switchover.migrate`, and for each VM its ``mode``."""
    started = time.monotonic()
    with Peer(config) as peer:
        me, dummy, choices = prerequisites(config, peer, options)
        if check:
            plan = modes.plan(choices, config.me.name, config.peer.name, config.shared_ips)
            vms = {name: {"mode": one.mode} for name, one in choices.items()}
            return {"changed": True, "active": config.peer.name, "vms": vms, "plan": plan}
        with operation.Lock().held(OPERATION, operation.owner()):
            epoch = me["role"]["epoch"]
            peer.call("lock", operation=OPERATION, owner=f"{operation.owner()} on {config.me.name}", epoch=epoch)
            me, other, choices = prerequisites(config, peer, options)
            presync = switchover.presync(config, peer, progress, epoch)
            result = _Move(config, peer, progress, me, other, choices, options).execute()
    result.update(presync=presync, total=round(time.monotonic() - started, 3))
    result["bytes"] += sum(entry["bytes"] for entry in presync)
    return result


class _Move:
    def __init__(
        self,
        config: PairConfig,
        peer: Peer,
        progress: Progress,
        me: dict[str, t.Any],
        other: dict[str, t.Any],
        choices: t.Mapping[str, modes.Choice],
        options: Options,
    ) -> None:
        self.config, self.peer, self.progress, self.options = config, peer, progress, options
        self.choices = dict(choices)
        self.held = [one for one, enabled in me["shared_ip"]["addresses"].items() if enabled]
        self.epoch = max(me["role"]["epoch"], other["role"]["epoch"])
        self.watch = Stopwatch()
        self.saved = modes.of_mode(choices, modes.SECURE)
        self.moving = modes.of_mode(choices, modes.LIVE, modes.DIRECT)
        frozen = sorted(name for name, one in choices.items() if one.frozen)
        self.journal = operation.Journal(
            OPERATION,
            vms=sorted(choices),
            frozen=frozen,
            saved=self.saved,
            overlays={},
            begun=[],
            moved=[],
            set="",
            peer=config.peer.name,
            epoch=self.epoch + 1,
            on_failure="stay" if options.stay else "back",
        )
        self.paused: dict[str, float] = {}
        self.resumed: dict[str, float] = {}
        self.late: set[str] = set()
        self.given_away = False
        self.stopped = False

    def execute(self) -> dict[str, t.Any]:
        conn = domains.connect()
        try:
            infos = self._last_look(conn)
            name, sent, warnings = self._prepare(conn, infos)
            self._move_all(conn, infos)
            self._hand_over(conn, name)
            answer = self._take_over()
        except BaseException as exc:
            self.revert(exc)
            if isinstance(exc, HvmError):
                raise self._undone(exc) from exc
            raise
        self.watch.step("take over there")
        return self._settled(name, sent, warnings, answer)

    # ---- before the first VM moves

    def _last_look(self, conn: t.Any) -> dict[str, dict[str, t.Any]]:
        """:raises HvmError: when VMs were started or ended since it was decided how each moves."""
        infos = domains.vms(conn, self.config.state_dir)
        now = {name for name, vm in infos.items() if vm["state"] in (domains.RUNNING, domains.FROZEN)}
        changed = sorted(now.symmetric_difference(self.choices))
        if changed:
            raise HvmError(f"{', '.join(changed)}: started or ended since the migration had begun", "Run it again.")
        return infos

    def _prepare(self, conn: t.Any, infos: dict[str, dict[str, t.Any]]) -> tuple[str, int, list[str]]:
        """Overlays here, the last set on both hosts, the other one ready. :return: (set, bytes, warnings)"""
        config, progress = self.config, self.progress
        disks = {name: overlay.disks(name, conn.lookupByName(name).XMLDesc(0)) for name in self.moving}
        listed = {name: [list(disk) for disk in found] for name, found in disks.items()}
        self.journal.step("overlays", overlays=listed)
        overlays.directory(config)
        overlays.sockets()
        if self.saved:
            progress.say(f"save {', '.join(self.saved)}")
            checkpoint.save_all(config, conn, {name: infos[name] for name in self.saved}, progress, self.paused)
            self.watch.step("save")
        for found in disks.values():
            overlays.make(found)
        for name, found in disks.items():
            overlay.begin(conn, name, found)
        progress.say(f"overlays for {', '.join(self.moving) or 'no VM'}")
        self.watch.step("overlays")
        self.journal.step("last snapshot")
        bases.shut(inventory.read(config.datasets))
        name = checkpoint.take_set(config, "crash" if self.moving else "state", self.epoch, fresh=self.paused)
        self.watch.step("snapshot")
        self.journal.step("last sync", set=name)
        done = sync.sync(config, self.peer, progress, name, switchover.UNPROTECTED)
        self.watch.step("sync and verify")
        self.journal.step("arrive there")
        facts = {key: self.journal.entry[key] for key in ("set", "epoch", "vms", "frozen", "saved", "overlays")}
        self.peer.call("arrive", LONG, self._heard, facts=facts)
        self.watch.step("arrive there")
        return name, done["bytes"], done["warnings"]

    def _heard(self, what: dict[str, t.Any]) -> None:
        if what.get("resumed"):
            self.resumed[what["resumed"]] = time.monotonic()
        if what.get("text"):
            self.progress.say(f"{self.config.peer.name}: {what['text']}")

    # ---- VM by VM

    def _move_all(self, conn: t.Any, infos: dict[str, dict[str, t.Any]]) -> None:
        self.journal.step("move")
        with contextlib.ExitStack() as stack:
            there = Passage(self.config, stack)
            for group in domains.order(infos, self.moving, descending=False):
                for name in group:
                    self._move(conn, there, name)
        self.watch.step("move")

    def _move(self, conn: t.Any, there: Passage, name: str) -> None:
        choice, journal = self.choices[name], self.journal
        disks = overlays.disks(journal.entry["overlays"])[name]
        stopwatch = Stopwatch()
        with there.sockets(name) as way:
            journal.step("move", begun=sorted({*journal.entry["begun"], name}))
            dom = conn.lookupByName(name)
            if vm_state.state_of(dom) == vm_state.STOPPED:
                there.carry(disks)
            else:
                if choice.mode == modes.DIRECT and not choice.frozen:
                    self.paused[name] = time.monotonic()
                    dom.suspend()
                way = way._replace_way(choice, self.options)
                report = moving.move(conn, there.libvirt, name, disks, way, self._seen(name), self._cancelled, there.watcher)
                if not choice.frozen:
                    self.paused.setdefault(name, report.paused or time.monotonic())
                self.late |= {name} if report.late else set()
            runs = self.peer.call("arrived", vm=name)["runs"]
        if runs:
            self.resumed[name] = time.monotonic()
        journal.step("move", moved=sorted({*journal.entry["moved"], name}))
        stood = f", stood still for {self.resumed[name] - self.paused[name]:.1f} s" if name in self.resumed else ""
        self.progress.say(f"{name} has moved ({choice.mode}) in {stopwatch.total:.1f} s{stood}")
