# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""`migrate secure`: everything from the last look to the VMs running on the other host, in one process on the source.

Four pieces: what may refuse (`prerequisites`), what is done (`execute`), how it is undone (`revert`), and what a later
run finds (the journal). The one step that cannot be undone from here is the request `activate`: before it this host has
given its role away on disk, so that whatever is lost in that moment, there are never two ACTIVE hosts.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused, known
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress, Stopwatch
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer, PeerLost
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    address,
    checkpoint,
    hypervisor,
    offers,
    states,
    sync,
)
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import hypervisor_running, qemu_processes
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, inventory, plan

OPERATION = "migrate_secure"
#: Bytes of the last hot round below which the rest is small enough, and the most rounds.
SMALL = 4 << 20
ROUNDS = 3
ACTIVATE_TIMEOUT = 1800.0
UNPROTECTED = sync.Options(protect=False)
#: Seconds in which the other host must answer after the link was lost, until this host stays down.
ASK_TIMEOUT = 120.0
#: Seconds for asking once more.
ONE_MORE = 3.0
#: Seconds in which a VM must go on whose save was cut off.
RESUME_TIMEOUT = 30.0


def prerequisites(config: PairConfig, peer: Peer) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Look at both hosts; no effects. :raises Refused: with everything that is in the way."""
    me, other = look(config, peer)
    findings = guards.migrate(me, other)
    if findings:
        raise Refused("the migration", findings)
    return me, other


def look(config: PairConfig, peer: Peer) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Both hosts, with all that a migration is decided by."""
    me = observe(config, users=True)
    other = peer.call("observe")
    other["offers"] = offers.compare(me, peer.call)
    other["no_shared_ip"] = peer.call("no_shared_ip")
    return me, other


def migrate(config: PairConfig, progress: Progress, check: bool = False) -> dict[str, t.Any]:
    """Hand the VMs and the role over to the other host.

    :return: ``{changed, active, set, bytes, window, vms: {name: {interruption}}, steps, presync}``; seconds and bytes.
    """
    started = time.monotonic()
    with Peer(config) as peer:
        me, other = prerequisites(config, peer)
        running = _running(me)
        if check:
            return {
                "changed": True,
                "active": config.peer.name,
                "vms": {name: {} for name in running},
                "plan": _plan_lines(config, running),
            }
        with operation.Lock().held(OPERATION, operation.owner()):
            epoch = me["role"]["epoch"]
            peer.call("lock", operation=OPERATION, owner=f"{operation.owner()} on {config.me.name}", epoch=epoch)
            me, other = prerequisites(config, peer)  # again: somebody may have worked between the look and the locks
            running = _running(me)
            rounds = presync(config, peer, progress, me["role"]["epoch"])
            result = _Switch(config, peer, progress, me, other, running).execute()
    result.update(presync=rounds, total=round(time.monotonic() - started, 3))
    result["bytes"] += sum(entry["bytes"] for entry in rounds)
    return result


def _running(me: dict[str, t.Any]) -> list[str]:
    return [name for name, vm in me["vms"].items() if vm["state"] in (domains.RUNNING, domains.FROZEN)]


def _plan_lines(config: PairConfig, running: t.Sequence[str]) -> list[str]:
    return [
        "snapshot, sync, until the rest is small",
        f"save {', '.join(running) or 'no VM'}",
        f"shared IP off on {config.me.name}",
        f"stop the hypervisor on {config.me.name}",
        "snapshot set (B), sync, verify",
        f"start the hypervisor on {config.peer.name}",
        "restore the VMs by priority",
        f"shared IP on at {config.peer.name}",
    ]


def presync(config: PairConfig, peer: Peer, progress: Progress, epoch: int) -> list[dict[str, t.Any]]:
    """Hot rounds, so that little is left for the interruption.

    :raises HvmError: when the other host has what is gone here: it would not become ACTIVE with it (`guards.activate`).
    """
    rounds: list[dict[str, t.Any]] = []
    for number in range(1, ROUNDS + 1):
        progress.say(f"hot sync, round {number}")
        try:
            name = checkpoint.take_set(config, "crash", epoch)
        except HvmError as exc:
            checkpoint.drop_half(exc, progress.say)
            raise
        done = sync.sync(config, peer, progress, name)
        if gone := ", ".join(plan.tops(done["extra_on_peer"])):
            raise HvmError(
                f"{gone} on {config.peer.name}: gone on this host, and a migration would bring it back; no VM has been touched",
                f"hvm_zfs_sync with set_aside [{gone}] puts it aside, where it is kept.",
            )
        rounds.append({"set": name, "bytes": done["bytes"], "seconds": done["seconds"]})
        if done["bytes"] < SMALL or (number > 1 and done["bytes"] > rounds[-2]["bytes"] * 0.7):
            break
    return rounds


class _Switch:
    def __init__(
        self,
        config: PairConfig,
        peer: Peer,
        progress: Progress,
        me: dict[str, t.Any],
        other: dict[str, t.Any],
        running: list[str],
    ) -> None:
        self.config, self.peer, self.progress, self.running = config, peer, progress, running
        self.held = [one for one, enabled in me["shared_ip"]["addresses"].items() if enabled]
        self.epoch = max(me["role"]["epoch"], other["role"]["epoch"])
        self.watch = Stopwatch()
        self.journal = operation.Journal(OPERATION, vms=running, peer=config.peer.name, epoch=self.epoch + 1)
        self.paused: dict[str, float] = {}
        self.resumed: dict[str, float] = {}
        self.frozen: set[str] = set()
        self.stopped = False
        self.given_away = False
        self.ask_until = 0.0

    def execute(self) -> dict[str, t.Any]:
        name = checkpoint.new_set_name(self.config, inventory.read(self.config.datasets), "state")
        conn = domains.connect()
        infos = self._last_look(conn)
        try:
            self.journal.step("save", vms=self.running, frozen=sorted(self.frozen))
            checkpoint.save_all(self.config, conn, infos, self.progress, self.paused)
            states.anchor(self.config.state_dir, name, self.paused)  # here, because it is unmounted before the snapshot
            self.watch.step("save")
            self.journal.step("shared IP off")
            address.give_up(self.config)
            self.watch.step("shared IP off")
            # stopped and unmounted before the last snapshot: nothing can be written after it, so this host stays
            # exactly on the last common set and takes the way back as an increment
            self.journal.step("stop here")
            self.stopped = True
            hypervisor.stop(self.config, self.progress, conn, keep_writable=True)
            self.watch.step("stop here")
            self.journal.step("last snapshot")
            checkpoint.take_set(self.config, "state", self.epoch, anchored=name)
            self.watch.step("snapshot")
            self.journal.step("last sync", set=name)
            # its protection has no place in an interruption: the last hot set is held until it is made up for, below
            done = sync.sync(self.config, self.peer, self.progress, name, UNPROTECTED)
            self.watch.step("sync and verify")
            self.journal.step("hand over", set=name)
            actions.make_inert(self.config.datasets, inventory.read(self.config.datasets))
            role.record(role.PASSIVE, self.epoch, f"handed over to {self.config.peer.name}")
            self.given_away = True
            answer = self._activate(name)
            self.watch.step("start there and restore")
        except BaseException as exc:
            self.revert(exc)
            checkpoint.drop_half(exc, self.progress.say)
            if cause := known(exc):
                raise self._undone(cause) from exc
            raise
        warnings = done["warnings"] + self._settle(name) + answer["warnings"]
        warnings += operation.noted(lambda: role.record(role.PASSIVE, self.epoch + 1, f"{self.config.peer.name} is ACTIVE"))
        warnings += operation.noted(lambda: self.journal.done(f"{self.config.peer.name} is ACTIVE"))
        vms = {
            vm: {"interruption": round(self.resumed[vm] - self.paused[vm], 3)} for vm in sorted(self.paused) if vm in self.resumed
        }
        first = min(self.paused.values(), default=0.0)
        result = {
            "changed": True,
            "active": self.config.peer.name,
            "set": name,
            "bytes": done["bytes"],
            "vms": vms,
            "steps": self.watch.steps + answer["steps"],
            "warnings": warnings,
            "window": round(max(self.resumed.values(), default=first) - first, 3),
        }
        if answer["errors"]:
            raise HvmError(
                f"{self.config.peer.name} is ACTIVE, but not everything is there: "
                + "; ".join(f"{vm}: {text}" for vm, text in answer["errors"].items()),
                "Their images are kept there. See the reason, then hvm_vm state=restored on that host.",
                **result,
            )
        return result

    def _last_look(self, conn: t.Any) -> dict[str, dict[str, t.Any]]:
        """The VMs as they are now, since the hot rounds may have taken long; nothing stands still for it.

        :raises HvmError: for one that was started meanwhile: nobody has looked whether it can run on the other host.
        """
        infos = domains.vms(conn, self.config.state_dir)
        now = [name for name, vm in infos.items() if vm["state"] in (domains.RUNNING, domains.FROZEN)]
        new = sorted(set(now) - set(self.running))
        if new:
            raise HvmError(f"{', '.join(new)} was started after the migration had begun; nothing was stopped", "Run it again.")
        self.running = now
        self.frozen = {name for name in now if infos[name]["state"] == domains.FROZEN}
        return infos

    def _undone(self, cause: HvmError) -> HvmError:
        """What is raised when everything is as it was."""
        vms = {vm: {"interruption": round(self.resumed[vm] - self.paused[vm], 3)} for vm in self.paused if vm in self.resumed}
        return HvmError(
            f"{cause.what}; so the migration was undone, and {self.config.me.name} goes on as the ACTIVE host",
            cause.remedy,
            **{**cause.details, "undone": True, "active": self.config.me.name, "vms": vms},
        )

    def _settle(self, name: str) -> list[str]:
        try:
            return sync.settle(self.config, self.peer, name)
        except HvmError as exc:  # everything has moved already
            return [f"the set {name} is not held: {exc}"]

    def _activate(self, name: str) -> dict[str, t.Any]:
        def event(what: dict[str, t.Any]) -> None:
            if what.get("resumed"):
                self.resumed[what["resumed"]] = time.monotonic()
            if what.get("text"):
                self.progress.say(f"{self.config.peer.name}: {what['text']}")

        try:
            saved = sorted(self.paused)
            frozen = sorted(self.frozen.intersection(saved))
            words = {"set": name, "epoch": self.epoch + 1, "vms": saved, "frozen": frozen}
            return self.peer.call("activate", ACTIVATE_TIMEOUT, event, **words)
        except PeerLost as exc:
            return self._ask_what_happened(exc)

    def _ask_what_happened(self, lost: PeerLost) -> dict[str, t.Any]:
        """The link went while the other host was taking over: what its record says is what happened."""
        self.progress.say(f"{lost.what}; asking {self.config.peer.name} again")
        other = self._other_at_rest()
        if other is None:
            raise lost
        if not guards.took_over(other, self.epoch):
            raise HvmError(f"{self.config.peer.name} did not take over: {other['role']['reason']}")
        for vm in self.paused:
            if vm in other["qemu"]:
                self.resumed.setdefault(vm, time.monotonic())
        errors = {vm: "it does not run" for vm in sorted(self.paused) if vm not in other["qemu"]}
        return {"steps": [], "errors": errors, "warnings": []}

    def _other_at_rest(self) -> dict[str, t.Any] | None:
        """The other host as it is when it works on nothing any more; None when that cannot be learnt.

        Who asks again has the rest of the time, and one more answer.
        """
        self.peer.close()
        now = time.monotonic()
        self.ask_until = self.ask_until or now + ASK_TIMEOUT
        deadline = max(self.ask_until, now + ONE_MORE)
        while time.monotonic() < deadline:
            try:
                with Peer(self.config) as peer:
                    other = t.cast("dict[str, t.Any]", peer.call("observe"))
                if not other["lock"]:
                    return other
            except HvmError:
                pass  # whatever it is: not an answer
            time.sleep(2)
        return None

    def _may_go_on_here(self) -> bool:
        """Before the role was given away nobody else can be ACTIVE; after it, only proof counts: asked afresh, seen stopped."""
        if not self.given_away:
            return True
        other = self._other_at_rest()
        if other is not None:
            self.epoch = max(self.epoch, other["role"]["epoch"])
        return guards.may_go_on(other)

    def revert(self, cause: BaseException) -> None:
        """The VMs go on here: from their images, by priority, on this host's shared IP. Never when the other may be ACTIVE.

        A journal that cannot be written keeps no VM down.

        :raises HvmError: when not everything is as it was.
        """
        if not self._may_go_on_here():
            self._say_all(operation.noted(lambda: self.journal.step("waiting for the other host", cause=str(cause))))
            name = self.config.peer.name
            raise HvmError(
                f"{name} was told to take over, and it is not proven that it did not ({cause}): "
                "it may be ACTIVE, so nothing is started here",
                f"Run hvm.pair.recover when {name} answers again: it finds out which host goes on. "
                "The set with all VM states is on both hosts.",
            ) from cause
        self.progress.say(f"going back: {cause}")
        self._say_all(operation.noted(lambda: self.journal.step("going back", cause=str(cause))))
        self.resumed.clear()
        try:
            conn = self._hypervisor_here()
        except Exception as exc:  # noqa: BLE001  whatever it is, both reasons must be told
            raise HvmError(
                f"the migration failed ({cause}) and could not be undone either: {exc}",
                "The VMs' images and the snapshot set are intact. Mend the reason, then run hvm.pair.recover.",
            ) from cause
        errors = self._restore_here(conn)
        try:
            self._say_all(address.take_back(self.config, self.held))
        except Exception as exc:  # noqa: BLE001  the VMs run: that is more than the address
            errors["the shared IP"] = f"{exc} (hvm_shared_ip state=enabled)"
        self._say_all(checkpoint.set_clocks(self.resumed))
        if errors:
            raise HvmError(
                f"the migration failed ({cause}); this host goes on, but not with everything: "
                + "; ".join(f"{vm}: {text}" for vm, text in errors.items()),
                f"State images that were not restored are kept in {self.config.state_dir}.",
            ) from cause
        self._say_all(operation.noted(lambda: self.journal.done(f"failed and undone: {cause}")))

    def _say_all(self, texts: t.Iterable[str]) -> None:
        for text in texts:
            self.progress.say(text)

    def _hypervisor_here(self) -> t.Any:
        """A connection to it, started again if it was stopped, or has died."""
        if not self.stopped:
            return hypervisor.connect_again()
        epoch = self.epoch + 1 if self.given_away else self.epoch
        seen = self.epoch if self.given_away else None  # the other host has just been asked
        reason = f"the migration to {self.config.peer.name} was undone"
        return hypervisor.start(self.config, epoch, reason, self.progress, seen)

    def _restore_here(self, conn: t.Any) -> dict[str, str]:
        """Every VM that this process has stopped, also one whose save failed when it was off already. :return: name -> error."""
        saved = {*self.paused, *set(self.running).intersection(domains.saved_names(self.config.state_dir))}

        def back(vm: str) -> None:
            self.resumed[vm] = time.monotonic()

        def left() -> set[str]:
            return saved.difference(self.resumed)

        # under the lock of this operation nobody else has touched them: an image without a manifest is theirs, too
        conn, errors = checkpoint.restore_lasting(
            self.config, conn, self.progress, back, left, self.running, own=True, force=True
        )
        try:
            now = domains.vms(conn, self.config.state_dir)
        except Exception as exc:  # noqa: BLE001
            return errors or {self.config.me.name: str(exc)}
        for vm in self.running:
            state = now[vm]["state"] if vm in now else domains.STOPPED
            text = ""
            if state == domains.STOPPED:
                text = "it ended, and has no state image (hvm_vm state=started)"
            elif state == domains.FROZEN and vm not in self.frozen:
                text = _unfreeze(conn, vm)
            if text:
                errors.setdefault(vm, text)
        return errors


def _unfreeze(conn: t.Any, vm: str) -> str:
    """A VM that a save had paused when libvirt died under it. libvirt lets it go on itself when it is back, if it can.

    :return: why it does not go on.
    """
    deadline = time.monotonic() + RESUME_TIMEOUT
    while True:
        try:
            domains.unfreeze(conn, vm)
            return ""
        except Exception as exc:  # noqa: BLE001  libvirt may still be busy with it
            if time.monotonic() > deadline:
                return str(exc)
        time.sleep(1)


def activate(
    config: PairConfig,
    name: str,
    epoch: int,
    vms: t.Collection[str],
    frozen: t.Collection[str],
    emit: t.Callable[[dict[str, t.Any]], None],
) -> dict[str, t.Any]:
    """The other half, on the target: become ACTIVE on exactly this set and restore the VMs.

    Fails as a whole, and undoes itself, until the first VM runs; after that this host stays ACTIVE.

    :param vms: that ran on the source, and were saved there; `frozen`: of these, the ones that somebody had frozen.
    """
    class Told(Progress):
        def say(self, text: str, **facts: t.Any) -> None:
            super().say(text, **facts)
            emit({"text": text})

    progress = Told()
    watch = Stopwatch()
    me = observe(config)
    datasets = inventory.read(config.datasets)
    members = inventory.sets(datasets, config.pair).get(name, {})
    behind = [
        d
        for d, entry in datasets.items()
        if not entry["snapshots"] or entry["snapshots"][-1][0] != name or inventory.prop(entry, "written") not in ("0", "-")
    ]
    findings = guards.activate(me, epoch, name, behind, inventory.is_complete(members, datasets))
    if findings:
        raise HvmError(findings[0].what)
    watch.step("target: last look")
    resumed: list[str] = []

    def on_resumed(vm: str) -> None:
        resumed.append(vm)
        emit({"resumed": vm})

    # should the source be lost for good, this host knows by itself which VMs there are
    facts: dict[str, t.Any] = {"set": name, "epoch": epoch, "vms": sorted(vms), "frozen": sorted(frozen)}
    journal = operation.Journal(OPERATION, **facts, **{operation.SOURCE: config.peer.name})
    warnings = operation.noted(lambda: journal.step("target: start the hypervisor"))
    conn = None
    try:
        conn = hypervisor.start(config, epoch, f"{role.TOOK_OVER} {OPERATION}", progress)
        warnings += operation.noted(lambda: journal.step("target: restore VMs"))
        watch.step("target: start hypervisor")
        # looked at above; since then nothing could write to a zvol
        written = {dataset: {name: ["0", guid]} for dataset, guid in members.items()}

        def left() -> set[str]:
            return set(vms).difference(resumed)

        conn, errors = checkpoint.restore_lasting(config, conn, progress, on_resumed, left, written=written)
        watch.step("target: restore VMs")
        if errors and not resumed:
            raise HvmError("no VM could be restored: " + "; ".join(f"{vm}: {text}" for vm, text in errors.items()))
    except BaseException:
        if not resumed:
            _undo_activation(config, name, epoch, progress, conn)
        raise
    finally:
        if conn is not None:
            conn.close()
    try:
        address.take(config)
    except Exception as exc:  # noqa: BLE001  the VMs run here, so this host stays ACTIVE
        errors["the shared IP"] = str(exc)
    watch.step("target: shared IP on")
    warnings += operation.noted(lambda: journal.done(f"{config.me.name} is ACTIVE"))
    warnings += address.keep_announcing(config.shared_ips, config.interface) + checkpoint.set_clocks(resumed)
    return {"steps": watch.steps, "errors": errors, "warnings": warnings}


def _undo_activation(config: PairConfig, name: str, epoch: int, progress: Progress, conn: t.Any) -> None:
    """As it was before: stopped, on the set, PASSIVE. With a VM's process left this host stays ACTIVE, and the source down."""
    try:
        hypervisor.stop(config, progress, conn)
        _back_to(config, name)
    finally:
        # what could not be unmounted or taken back is for the next `hv stop`; what counts for the source is that nothing runs
        if not qemu_processes() and not hypervisor_running():
            role.record(role.PASSIVE, epoch, "taking over failed and was undone")


def _back_to(config: PairConfig, name: str) -> None:
    """After an undone take-over: nothing was kept since the set, so the datasets may go back to it.

    Only files of libvirt's start differ.
    """
    for dataset, entry in inventory.read(config.datasets).items():
        # newest snapshot only: zfs-rollback(8) refuses when there is a newer one, and -r is never given
        if entry["snapshots"][-1][0] == name and inventory.prop(entry, "written") not in ("0", "-"):
            run(["zfs", "rollback", f"{dataset}@{name}"])
