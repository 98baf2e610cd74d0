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
import itertools
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused, known
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress, Stopwatch
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import dirty, domains, moving, overlay
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import state as vm_state
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, modes, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair import moving as pair_moving
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer import probe
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer, PeerLost
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    address,
    arrive,
    cancelling,
    checkpoint,
    goback,
    hypervisor,
    meanwhile,
    overlays,
    passage,
    states,
    switchover,
    sync,
)
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import qemu_processes
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, bases, inventory

OPERATION = arrive.OPERATION
#: Seconds for one request in which the other host starts its libvirt, or brings VMs' overlays to disk, or into their disks.
LONG = 3600.0
#: Seconds between two lines about one VM.
TELL_EVERY = 2.0
#: Seconds in which the QEMU of a VM that has moved must have ended here.
ENDS_WITHIN = 2.0


class Options(t.NamedTuple):
    """:ivar policy: how each VM moves. :ivar rate: MiB per second for one VM; 0: as fast as it goes.
    :ivar stay: what has moved stays there when something fails; it is gone on with later, or taken back.
    """

    policy: modes.Policy = modes.Policy()
    rate: int = 0
    stay: bool = False


class Known(t.NamedTuple):
    """What is known before anything is changed. :ivar choices: VM -> how it moves."""

    me: dict[str, t.Any]
    other: dict[str, t.Any]
    choices: dict[str, modes.Choice]
    measured: modes.Measured


def prerequisites(
    config: PairConfig,
    peer: Peer,
    options: Options,
    progress: Progress,
    locked: bool = False,
    measured: modes.Measured | None = None,
) -> Known:
    """Look at both hosts; no effects.

    :param locked: the lock of this host is held for this.
    :param measured: by an earlier look; without one it is measured here, unless it is refused for something else anyway.
    :raises Refused: with everything that is in the way.
    """
    me, other = switchover.look(config, peer)
    if locked:
        me["lock"] = None
    begun = pair_moving.source(me)
    vms = me["vms"] if begun is None else left(me["vms"], begun, pair_moving.arrived(other))
    if measured is None and not guards.migrate_unsecure(me, other):
        measured = _measure(peer, vms, options, progress)
    measured = measured or modes.NOTHING
    policy = options.policy._replace(link=measured.link, rate=options.rate << 20)
    choices = modes.choose_all(vms, policy, measured.dirty, lambda path: guards.covered(path, me), config.me.name)
    findings = guards.migrate_unsecure(me, other, choices)
    if begun is not None and begun.get("set"):
        findings += overlays.newer(config, str(begun["set"]))
    if findings:
        raise Refused("the migration", findings)
    return Known(me, other, choices, measured)


def _measure(peer: Peer, vms: t.Mapping[str, modes.Vm], options: Options, progress: Progress) -> modes.Measured:
    """One after the other: what the link is filled with costs processors that the VMs then do not have.

    With a rate of the operator's the link is left alone: that is what memory travels with.
    """
    if not any(modes.takes_part(vm) for vm in vms.values()):
        return modes.NOTHING
    rates: dict[str, int | None] = {}
    names = modes.worth_measuring(vms, options.policy)
    if names:
        conn = domains.connect()
        try:
            rates = dirty.rates(conn, names)
        finally:
            conn.close()
    measured = modes.Measured(0 if options.rate else probe.carries(peer), rates)
    for line in modes.measured_lines(measured):
        progress.say(line)
    return measured


def left(vms: t.Mapping[str, modes.Vm], begun: pair_moving.Entry, there: t.Collection[str]) -> dict[str, dict[str, t.Any]]:
    """VMs of a move that has begun which are still to be decided about, as they would be without their overlays. Pure."""
    found = {}
    for name, disks in overlays.of_journal(begun).items():
        if name in vms and name not in there:
            bases_of = {disk.overlay: disk.base for disk in disks}
            listed = [{**disk, "path": bases_of.get(disk["path"], disk["path"])} for disk in vms[name]["disks"]]
            found[name] = {**vms[name], "disks": listed}
            # it stands since its move was cut off, and goes on before it is sent again
            if name in begun.get("begun", ()) and name not in begun.get("frozen", ()) and vms[name]["state"] == domains.FROZEN:
                found[name]["state"] = domains.RUNNING
    return found


DEFAULTS = Options()


def migrate(config: PairConfig, progress: Progress, check: bool = False, options: Options = DEFAULTS) -> dict[str, t.Any]:
    """:return: as `switchover.migrate`, and for each VM its ``mode``, in check mode as `modes.expected` has it; what was
    ``measured``.
    """
    started = time.monotonic()
    policy = options.policy
    limits = (("hvm_move_limit", policy.limit), ("hvm_move_max_pause", policy.max_pause), ("hvm_move_rate", options.rate))
    for word, value in limits:
        if value < 0:
            raise HvmError(f"{word} is less than 0", "Give 0 or more.")
    with Peer(config) as peer:
        me, dummy, choices, measured = prerequisites(config, peer, options, progress)
        facts = {"link": measured.link, "dirty": dict(measured.dirty)}
        if check:
            plan = modes.plan(choices, config.me.name, config.peer.name, config.shared_ips, pair_moving.source(me))
            vms = {name: modes.expected(one) for name, one in choices.items()}
            return {"changed": True, "active": config.peer.name, "vms": vms, "plan": plan, "measured": facts}
        with operation.Lock().held(OPERATION, operation.owner()):
            cancelling.forget()
            epoch = me["role"]["epoch"]
            peer.call("lock", operation=OPERATION, owner=f"{operation.owner()} on {config.me.name}", epoch=epoch)
            me, other, choices, measured = prerequisites(config, peer, options, progress, True, measured)
            goes_on = operation.Journal.of_pending()
            # with overlays nothing is written that a set could bring over
            presync = [] if goes_on else switchover.presync(config, peer, progress, epoch)
            result = _Move(config, peer, progress, me, other, choices, options, goes_on).execute()
    result.update(presync=presync, measured=facts, total=round(time.monotonic() - started, 3))
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
        goes_on: operation.Journal | None = None,
    ) -> None:
        """:param goes_on: the journal of a move that did not end, which is gone on with."""
        self.config, self.peer, self.progress, self.options = config, peer, progress, options
        self.other, self.choices = other, dict(choices)
        self.watch = Stopwatch()
        self.moving = modes.of_mode(choices, modes.LIVE, modes.DIRECT)
        self.goes_on = goes_on is not None
        facts: dict[str, t.Any] = {
            "frozen": sorted(name for name, one in choices.items() if one.frozen),
            "modes": {name: one.mode for name, one in choices.items()},
            "on_failure": "stay" if options.stay else "back",
            "limit": options.policy.limit,  # for the way back, which is another process's, maybe
            "rate": options.rate,
        }
        if goes_on:
            self.journal, entry = goes_on, goes_on.entry
            # one that had begun may stand still because of that, and nobody has frozen it
            entry["frozen"] = sorted({*entry["frozen"], *set(facts["frozen"]).difference(entry["begun"])})
            entry.update({**facts, "modes": {**entry["modes"], **facts["modes"]}, "frozen": entry["frozen"]})
            self.epoch = int(entry["epoch"]) - 1
        else:
            self.epoch = max(me["role"]["epoch"], other["role"]["epoch"])
            held = [one for one, enabled in me["shared_ip"]["addresses"].items() if enabled]
            first: dict[str, t.Any] = {"overlays": {}, "begun": [], "moved": [], "set": "", "peer": config.peer.name}
            saved = modes.of_mode(choices, modes.SECURE)
            more: dict[str, t.Any] = {"vms": sorted(choices), "saved": saved, "held": held, "epoch": self.epoch + 1}
            self.journal = operation.Journal(OPERATION, **first, **more, **facts)
        self.saved: list[str] = self.journal.entry["saved"]
        self.held: list[str] = self.journal.entry["held"]
        self.paused: dict[str, float] = {}
        self.resumed: dict[str, float] = {}
        self.late: set[str] = set()
        self.gone: set[str] = set()  # nothing of them runs here, and all that they have is there
        self.kept: list[str] = []  # what somebody changed among libvirt's files meanwhile
        self.given_away = False
        self.stopped = False

    def execute(self) -> dict[str, t.Any]:
        conn = None
        try:
            if self.goes_on:
                name, sent, warnings = str(self.journal.entry["set"]), 0, list[str]()
                self._arrive_there()
            else:
                conn = domains.connect()
                infos = self._last_look(conn)
                self._heed("before any VM moved")  # the hot rounds may have been hours
                name, sent, warnings = self._prepare(conn, infos)
            self._move_all()
            self._hand_over(conn, name)
            answer = self._take_over()
        except BaseException as exc:
            self.revert(exc)
            checkpoint.drop_half(exc, self.progress.say)
            if cause := known(exc):
                raise self._undone(cause) from exc
            raise
        self.watch.step("take over there")
        return self._settled(name, sent, warnings, answer)

    # ---- before the first VM moves

    def _last_look(self, conn: t.Any) -> dict[str, dict[str, t.Any]]:
        """:raises HvmError: when VMs were started, ended, frozen or unfrozen since it was decided how each moves."""
        infos = domains.vms(conn, self.config.state_dir)
        now = {(name, vm["state"] == domains.FROZEN) for name, vm in infos.items() if modes.takes_part(vm)}
        changed = sorted({name for name, dummy in now ^ {(name, one.frozen) for name, one in self.choices.items()}})
        if changed:
            what = f"{', '.join(changed)}: started, ended, frozen or unfrozen since the migration had begun"
            raise HvmError(what, "Run it again.")
        return infos

    def _prepare(self, conn: t.Any, infos: dict[str, dict[str, t.Any]]) -> tuple[str, int, list[str]]:
        """Overlays here, the last set on both hosts, the other one ready. :return: (set, bytes, warnings)"""
        config, progress = self.config, self.progress
        disks = {name: overlay.disks(name, conn.lookupByName(name).XMLDesc(0)) for name in self.moving}
        listed = {name: [list(disk) for disk in found] for name, found in disks.items()}
        self.journal.step("overlays", overlays=listed)
        overlays.directory(config)
        overlays.note(config, disks)
        if self.saved:
            progress.say(f"save {', '.join(self.saved)}")
            checkpoint.save_all(config, conn, {name: infos[name] for name in self.saved}, progress, self.paused)
            self.watch.step("save")
        for found in disks.values():
            overlays.make(found)
        for name, found in disks.items():
            try:
                overlay.begin(conn, name, found)
            except Exception as exc:  # libvirtError
                raise HvmError(f"VM {name} could not be put onto its overlays: {exc}") from exc
        progress.say(f"overlays for {', '.join(self.moving) or 'no VM'}")
        self.watch.step("overlays")
        self.journal.step("last snapshot")
        datasets, consistency = inventory.read(config.datasets), "crash" if self.moving else "state"
        name = checkpoint.new_set_name(config, datasets, consistency)
        states.anchor(config.state_dir, name, self.paused)  # the images' directory may be on what is shut
        bases.shut(datasets)
        checkpoint.take_set(config, consistency, self.epoch, anchored=name)
        self.watch.step("snapshot")
        self.journal.step("last sync", set=name)
        done = sync.sync(config, self.peer, progress, name, switchover.UNPROTECTED)
        self.watch.step("sync and verify")
        self._arrive_there()
        return name, done["bytes"], done["warnings"]

    def _arrive_there(self) -> None:
        """Again it does nothing there, when it is ready."""
        self.journal.step("arrive there")
        facts = {key: self.journal.entry[key] for key in ("set", "epoch", "vms", "frozen", "saved", "overlays")}
        self.peer.call("arrive", LONG, self._heard, facts=facts)
        self.watch.step("arrive there")

    def _heard(self, what: dict[str, t.Any]) -> None:
        if what.get("resumed"):
            self.resumed[what["resumed"]] = time.monotonic()
        if what.get("text"):
            self.progress.say(f"{self.config.peer.name}: {what['text']}")

    # ---- VM by VM

    def _move_all(self) -> None:
        """Every VM that is not there yet, by priority; also one that has ended meanwhile, with what it has written."""
        self.journal.step("move")
        there = pair_moving.arrived(self.other) if self.goes_on else ()
        names = set(self.journal.entry["overlays"]).difference(there)
        for name in sorted(set(there).difference(self.journal.entry["moved"])):
            self._arrived(name)  # it may stand: that host was not heard any more
        self.journal.step("move", moved=sorted({*self.journal.entry["moved"], *there}))
        if names:
            conn = domains.connect()
            try:
                infos = domains.vms(conn, self.config.state_dir)
                with passage.Passage(self.config, self.peer) as way:
                    for name in itertools.chain(*domains.order(infos, names, descending=False)):
                        self._move(conn, way, name)
            finally:
                conn.close()
        self.watch.step("move")

    def _move(self, conn: t.Any, there: passage.Passage, name: str) -> None:
        self._heed(f"before {name} moved")
        overlays.refuse_newer(self.config, self.journal.entry["set"], again=True)  # else it would fail at the very end
        journal, began = self.journal, time.monotonic()
        disks = overlays.disks(journal.entry["overlays"])[name]
        again, frozen = name in journal.entry["begun"], set(journal.entry["frozen"])
        dom = conn.lookupByName(name)
        overlay.refuse_detached(dom, disks)
        overlay.refuse_covered(dom, disks)
        if not again:  # else it may stand because of that
            frozen = frozen - {name} | ({name} if vm_state.is_frozen(dom, name in frozen) else set())
        role.goes_away(name, self.config.peer.name)  # before it can be there
        journal.step("move", begun=sorted({*journal.entry["begun"], name}), frozen=sorted(frozen))
        how = "off"
        if again and moving.has_moved(conn, there.libvirt, name):
            how = "it had moved before"
        elif again:
            if moving.is_off_unknown(conn, name):
                raise HvmError(f"VM {name} is off, and nobody knows any more whether it stands on {self.config.peer.name}")
            self.peer.call("drop", vm=name)
            goback.go_on(conn, journal.entry, [name])  # QEMU sends memory again only of one that has run since
        if vm_state.state_of(dom) != vm_state.STOPPED:
            how = self._move_running(conn, there, name, disks)
        elif how == "off":
            self._push(there, name, disks, dom)
        self._ended_here(name)
        self.gone.add(name)
        if self._arrived(name):
            self.resumed.setdefault(name, time.monotonic())
        journal.step("move", moved=sorted({*journal.entry["moved"], name}))
        stood = ""
        if name in self.resumed and name in self.paused:
            stood = f"; it stood still for {self.resumed[name] - self.paused[name]:.1f} s"
        self.progress.say(f"{name} has moved ({how}) in {time.monotonic() - began:.1f} s{stood}")

    def _ended_here(self, name: str) -> None:
        """libvirt says that a VM has moved also when it has not ended it here (virDomainMigrateVersion3Full); it has died, maybe.

        :raises HvmError: when there is a QEMU: it might go on here as well.
        """
        deadline = time.monotonic() + ENDS_WITHIN
        while name in qemu_processes():
            if time.monotonic() > deadline:
                what = f"VM {name} does not go on on {self.config.peer.name}: its QEMU on {self.config.me.name} has not ended"
                raise HvmError(what, "See journalctl -u libvirtd; then run it again.")
            time.sleep(0.02)

    def _arrived(self, name: str, seconds: float = LONG) -> bool:
        """:return: whether it runs there."""
        frozen = name in self.journal.entry["frozen"]
        return bool(self.peer.call("arrived", seconds, self._heard, vm=name, frozen=frozen)["runs"])

    def _move_running(self, conn: t.Any, there: passage.Passage, name: str, disks: t.Sequence[overlay.Disk]) -> str:
        """:return: its mode; "off" when it has ended meanwhile, and what it has written was sent.

        :raises HvmError: when it did not move.
        """
        if name not in self.choices:
            raise HvmError(f"VM {name} was started since the migration had begun", "Run it again.")
        choice, dom = self.choices[name], conn.lookupByName(name)
        with there.way(name) as (memory, nbd):
            target = there.libvirt  # connected to before the VM stands still
            watched = self._seen(name), self._cancelled, there.watcher
            if choice.mode == modes.DIRECT and vm_state.state_of(dom) == vm_state.RUNNING:
                self.paused[name] = time.monotonic()
                dom.suspend()
            limit = float(self.options.policy.limit) if choice.mode == modes.LIVE else 0.0
            way = moving.Way(memory, nbd, choice.throttle, limit, choice.then == modes.DIRECT, self.options.rate)
            try:
                report = moving.move(conn, target, name, disks, way, *watched, cuts=there.cuts)
            except HvmError:
                if not moving.has_ended(conn, name):
                    raise
                self.peer.call("drop", vm=name)
                self._push(there, name, disks, dom)
                return "off"
        if report.late:
            self.late.add(name)
        if name not in self.journal.entry["frozen"]:
            self.paused.setdefault(name, report.paused or time.monotonic())
        return choice.mode

    def _push(self, there: passage.Passage, name: str, disks: t.Sequence[overlay.Disk], dom: t.Any) -> None:
        try:
            there.push(name, disks, dom.XMLDesc(0), self.progress.say, self._cancelled)
        except HvmError:
            self._heed(f"while {name} moved")
            raise

    def _seen(self, name: str) -> t.Callable[[moving.Seen], None]:
        """What is left of a VM, every few seconds, and not twice the same."""
        told, said = time.monotonic(), ""

        def tell(seen: moving.Seen) -> None:
            nonlocal told, said
            if time.monotonic() < told + TELL_EVERY:
                return
            told, text = time.monotonic(), moving.left(seen)
            if text != said:
                said = text
                self.progress.say(f"{name}: {text}", vm=name, **seen._asdict())

        return tell

    def _cancelled(self) -> bool:
        return cancelling.wanted() is not None

    def _heed(self, when: str) -> None:
        if self._cancelled():
            raise HvmError(f"somebody has cancelled it {when}")

    # ---- the role follows

    def _hand_over(self, conn: t.Any, name: str) -> None:
        """:raises HvmError: when a VM is still here."""
        self.journal.step("shared IP off")
        self._heed("before the role moved")  # from that step on nobody is told that it would end
        overlays.refuse_newer(self.config, name, again=True)
        address.give_up(self.config)
        self.watch.step("shared IP off")
        self.journal.step("stop here")
        self.stopped = True
        hypervisor.stop(self.config, self.progress, conn, keep_writable=True)
        self.watch.step("stop here")
        self.kept = meanwhile.keep(self.config, name, list(self.journal.entry["overlays"]))
        for text in self.kept:
            self.progress.say(text)
        overlays.back_to(self.config, name)  # of libvirt's own files; the disks were read-only
        self.journal.step("hand over")
        bases.reopen(self.config.datasets)
        actions.make_inert(self.config.datasets, inventory.read(self.config.datasets))
        role.record(role.PASSIVE, self.epoch, f"handed over to {self.config.peer.name}")
        self.given_away = True
        self.watch.step("hand over")

    def _take_over(self) -> dict[str, t.Any]:
        try:
            return t.cast("dict[str, t.Any]", self.peer.call("take_over", LONG, self._heard))
        except PeerLost as exc:
            raise HvmError(
                f"{self.config.peer.name} was told to take over, and has not answered: {exc.what}",
                f"The VMs run there. Run hvm.pair.recover when {self.config.peer.name} answers again.",
            ) from exc

    def _settled(self, name: str, sent: int, warnings: list[str], answer: dict[str, t.Any]) -> dict[str, t.Any]:
        other = self.config.peer.name
        try:
            warnings = warnings + sync.settle(self.config, self.peer, name)
        except HvmError as exc:
            warnings = [*warnings, f"the set {name} is not held: {exc}"]
        warnings += self.kept + answer["warnings"]
        overlays.forget(overlays.disks(self.journal.entry["overlays"]))
        warnings += operation.noted(lambda: role.record(role.PASSIVE, self.epoch + 1, f"{other} is ACTIVE"))
        warnings += operation.noted(lambda: self.journal.done(f"{other} is ACTIVE"))
        stood = {vm: round(end - self.paused[vm], 3) for vm, end in self.resumed.items() if vm in self.paused}
        vms = {
            vm: {
                "mode": self.journal.entry["modes"][vm],
                **({"interruption": stood[vm]} if vm in stood else {}),
                **({"late": True} if vm in self.late else {}),
            }
            for vm in self.journal.entry["vms"]
        }
        result = {
            "changed": True,
            "active": other,
            "set": name,
            "bytes": sent,
            "vms": vms,
            "steps": self.watch.steps + answer["steps"],
            "warnings": warnings,
            "window": max(stood.values(), default=0.0),
        }
        if answer["errors"]:
            raise HvmError(
                f"{other} is ACTIVE, but not everything is there: "
                + "; ".join(f"{vm}: {text}" for vm, text in answer["errors"].items()),
                "See the reason, then hvm.pair.recover there.",
                **result,
            )
        return result

    # ---- undone

    def _undone(self, cause: HvmError) -> HvmError:
        return HvmError(
            f"{cause.what}; so the migration was undone, and {self.config.me.name} goes on as the ACTIVE host",
            cause.remedy,
            **{**cause.details, "undone": True, "active": self.config.me.name},
        )

    def _not_taken_in(self) -> list[str]:
        """VMs that have gone, and that the other host was not heard to have let go on. It is asked once more."""
        entry = self.journal.entry
        for name in sorted(self.gone.difference(entry["moved"])):
            with contextlib.suppress(Exception):  # whatever it is, it is named
                self._arrived(name, passage.WAIT)
                self.journal.step(entry["step"], moved=sorted({*entry["moved"], name}))
        left = set(entry["begun"]).difference(entry["moved"], qemu_processes())
        with contextlib.suppress(Exception):  # else none is known to be just off
            conn = hypervisor.connect_again()
            try:
                left = {name for name in left if name in self.gone or moving.may_have_gone(conn, name)}
            finally:
                conn.close()
        return sorted(left)

    def revert(self, cause: BaseException) -> None:
        """The VMs come back, and all is as it was. Not after the role was given away: then the other host has them all.

        :raises HvmError: when not everything is as it was, or the operator wanted it to stay.
        """
        self.progress.say(f"going back: {cause}")
        if self.given_away:
            operation.noted(lambda: self.journal.step("waiting for the other host", cause=str(cause)))
            raise HvmError(
                f"every VM is on {self.config.peer.name}, and it has not taken over ({cause})",
                "hvm.pair.recover finds out which host goes on, and lets it.",
            ) from cause
        wanted = cancelling.wanted()
        stay = self.options.stay if wanted is None else wanted == cancelling.STAY
        if stay and self.journal.entry["moved"] and not self.stopped:
            operation.noted(lambda: self.journal.step("stays as it is", cause=str(cause)))
            goback.let_run(self.journal.entry)
            waits = self._not_taken_in()
            off = f"; gone there, and maybe standing still until then: {', '.join(waits)}" if waits else ""
            off += f"; saved, and off until then: {', '.join(self.saved)}" if self.saved else ""
            raise HvmError(
                f"the migration ended before its time ({cause}); {', '.join(self.journal.entry['moved'])} stay on "
                f"{self.config.peer.name}{off}",
                "hvm.pair.migrate_unsecure goes on with the others, hvm.pair.recover takes them back.",
            ) from cause
        errors = goback.go_back(self.config, self.peer, self.progress, self.journal, self.stopped, self.held)
        if errors:
            raise HvmError(
                f"the migration failed ({cause}); this host goes on, but not with everything: "
                + "; ".join(f"{vm}: {text}" for vm, text in errors.items()),
                "Mend the reason, then hvm.pair.recover.",
            ) from cause
