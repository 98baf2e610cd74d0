# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The first half of `backup secure` and `backup unsecure`: one moment of all VMs in a snapshot set, in one process.

Four pieces: what may refuse (`_refuse`), what is done (`_Backup.run`), how it is undone (`_Backup.go_on`, which is also how it
ends), and what a later run does about one that was killed (`cure`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core import signals
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.mounts import zfs_mounts
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress, Stopwatch
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import answering, bounded, domains, image, memory, quiesce
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.errors import NO_DOMAIN, code_of
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.memory import CHECKPOINT, FROZEN, SAVE, Member, Passes
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import checkpoint, states
from ansible_collections.hvm.pair.plugins.module_utils._procedure.early import need_roots
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, kept, names

#: What `method` may be. QUIESCE and FREEZE are `backup unsecure`: without the VMs' memory.
QUIESCE, FREEZE = "quiesce", "freeze"
METHODS = (CHECKPOINT, SAVE, QUIESCE, FREEZE)
#: virErrorNumber of an agent's own "no"; it thaws by itself what it had frozen by then (qemu-ga, qmp_guest_fsfreeze_freeze_list).
INTERNAL_ERROR = 1
MEMORY = "memory"
#: What `fallback` may hold.
REFUSE = "refuse"
FALLBACKS = (SAVE, FROZEN, REFUSE)
#: How a VM may be in a set besides: filesystems frozen by the agent; stopped in good order; as after a power cut; not at all.
QUIESCED, STOPPED, CRASHED, LEFT_OUT = "quiesced", "stopped", "crashed", "left out"
#: For the plan: those that are CRASHED for another reason.
SILENT = "silent"
#: Seconds of standing still that a guest without an agent may be left behind by without a warning: its own NTP cures them.
BRIEF = 2.0
#: Seconds for what is done with the images while the VMs stand still.
FILES_LIMIT = 20.0
AGAIN = "Run it again (hvm_checkpoint): it lets go on what is still paused and removes what is left of the images."


@dataclasses.dataclass(frozen=True)
class Options:
    """:ivar fallback: for a VM of which libvirt refuses a checkpoint: SAVE, FROZEN in their order; none: refuse.
    :ivar quiesce_limit: seconds for a guest's agent.
    :ivar pace: how several passes are brought to one end.
    """

    method: str = CHECKPOINT
    fallback: tuple[str, ...] = (SAVE, FROZEN)
    quiesce_limit: int = quiesce.LIMIT
    pace: memory.Pace = memory.PACE

    def __post_init__(self) -> None:
        """:raises HvmError: for a limit that is none: libvirt takes -2 for "wait for ever", 0 for "do not wait"."""
        if self.quiesce_limit < 1:
            raise HvmError("quiesce_limit is less than 1", "Give 1 second or more.")


# ---- decisions


def consistency(methods: t.Collection[str]) -> str:
    """The word for a set of which these are the VMs' methods: the strongest that is true of all. Pure.

    B is only for memory of every VM that runs; those that are left out on purpose do not count.
    """
    there = set(methods) - {LEFT_OUT, STOPPED}
    if CRASHED in there:
        return "crash"
    if FROZEN in there:
        return "frozen"  # the weaker of the two: a guest that has not flushed its own caches
    if QUIESCED in there:
        return "quiesced"
    return "state"


def ways(fallback: t.Sequence[str]) -> tuple[str, ...]:
    """The policy as ways to go: those before a REFUSE, each once, a save before a freeze, which always can be done. Pure."""
    words = list(fallback[: fallback.index(REFUSE)] if REFUSE in fallback else fallback)
    return tuple(way for way in (SAVE, FROZEN) if way in words)


def image_in_progress(state_dir: str, name: str) -> str:
    """Where the memory of a running VM goes. Not `image.partial_path`: whole, that one is taken for a saved VM's."""
    return f"{image.image_path(state_dir, name)}.live"


def plan(me: dict[str, t.Any], options: Options) -> tuple[dict[str, str], list[str]]:
    """``(method by VM, the same as sentences)`` of every VM that runs or is frozen, as far as it can be told before. Pure."""
    methods: dict[str, str] = {}
    for name, vm in me["vms"].items():
        if vm["state"] == domains.STOPPED:
            continue
        if not vm.get("autobackup", True):
            methods[name] = LEFT_OUT
        elif vm.get("silent"):
            methods[name] = CRASHED  # whoever waits for it waits for ever, and all others with it
        elif vm["state"] == domains.OTHER:
            methods[name] = CRASHED  # libvirt refuses every snapshot of a guest that sleeps (S3), and it may wake up at any time
        elif options.method == FREEZE:
            methods[name] = FROZEN
        elif options.method == QUIESCE:
            methods[name] = FROZEN if vm["state"] == domains.FROZEN else QUIESCED
        else:
            methods[name] = options.method
    said = {
        CHECKPOINT: "memory of {}, while they run",
        SAVE: "save {}",
        FROZEN: "freeze {}",
        QUIESCED: "freeze the filesystems in {}, where an agent answers; freeze the others",
        LEFT_OUT: "leave out {}: autobackup=no",
        CRASHED: "{}: the guest sleeps; its disks only, as after a power cut",
        SILENT: "{}: its QEMU does not answer; its disks only, as after a power cut",
    }
    lines = []
    told = {**methods, **dict.fromkeys(_unheard(me, methods), SILENT)}
    for method, text in said.items():
        of_it = sorted(name for name, one in told.items() if one == method)
        if of_it:
            lines.append(text.format(", ".join(of_it)))
    for name, method in methods.items():
        if method == CHECKPOINT and me["vms"][name]["hostdevs"]:
            lines.append(f"{name} holds a device of the host: if libvirt refuses, {' or '.join(options.fallback)} instead")
    mark = names.MARKS[consistency(methods.values())]
    return methods, [*(lines or ["no VM runs"]), f"snapshot set ({mark})", "let them go on"]


def _unheard(me: dict[str, t.Any], methods: t.Mapping[str, str]) -> list[str]:
    """VMs that are in the set as after a power cut since their QEMU does not answer. Pure."""
    return sorted(name for name, method in methods.items() if method == CRASHED and me["vms"][name].get("silent"))


def _refuse(me: dict[str, t.Any], options: Options) -> None:
    """:raises Refused: with everything that is in the way."""
    with_memory = options.method in (CHECKPOINT, SAVE)
    findings = guards.backup(me, None) if with_memory else guards.backup_unsecure(me, None)
    if options.method == SAVE:
        findings += guards.plain_save(me)
    if me.get("vms_error"):  # then no VM is known, and each may run
        findings.append(Finding(f"the VMs of this host are not known: {me['vms_error']}", "Mend that first.", me["host"]))
    unfinished = set((me["pending"] or {}).get("vms", []))  # an image of theirs is what `cure` removes
    for name, vm in me["vms"].items():
        if vm["state"] not in (domains.RUNNING, domains.FROZEN) or not with_memory or not vm.get("autobackup", True):
            continue
        if vm.get("silent"):  # its memory is not asked for
            continue
        if vm["saved"] and name not in unfinished:
            what = f"VM {name} runs and yet has a state image"
            findings.append(Finding(what, "Look which is right; move the image away if it is old.", me["host"]))
        if options.method == CHECKPOINT and vm["hostdevs"] and not options.fallback:
            what = f"VM {name} holds a device of the host, which allows no checkpoint, and there is no fallback"
            findings.append(Finding(what, "Give a fallback (save, frozen), or shut it down first.", me["host"]))
    if findings:
        raise Refused("the backup", findings)


def deaf(name: str) -> str:
    """Warning of a VM that is in a set as after a power cut, since nobody can pause it. Pure."""
    return (
        f"the QEMU of VM {name} does not answer: its disks are in the set as after a power cut. "
        f"See virsh domcontrol {name}; hvm_vm state=poweredoff ends it"
    )


# ---- what is done


def backup(config: PairConfig, progress: Progress, options: Options, check: bool = False) -> dict[str, t.Any]:
    """:return: ``{changed, set, vms: {name: {method, interruption, ...}}, steps, window, warnings}``; seconds."""
    me = observe(config)
    _refuse(me, options)
    methods, lines = plan(me, options)
    if check:
        return {"changed": True, "vms": {name: {"method": method} for name, method in methods.items()}, "plan": lines}
    if options.method == SAVE:
        # whom a killed one has paused, its journal alone knows, and this one would be written over it
        if ended := cure_before(config, me):
            me = observe(config)
            _refuse(me, options)
            methods, dummy = plan(me, options)
        result = checkpoint.checkpoint(config, progress)
        left = {name: {"method": method} for name, method in methods.items() if method == LEFT_OUT}
        vms = {**left, **{name: {"method": SAVE, **vm} for name, vm in result["vms"].items()}}
        return {**result, "vms": vms, "warnings": ended + result["warnings"]}
    name = guards.BACKUPS[0 if options.method == CHECKPOINT else 1]
    with operation.Lock().held(name, operation.owner()):
        warnings = cure(config, progress)
        if warnings or me["pending"]:
            me = observe(config)
            _refuse(me, options)
            methods, dummy = plan(me, options)
        result = _Backup(config, progress, options, me, methods).run(name)
    return {**result, "warnings": warnings + result["warnings"]}


class _Backup:
    """One run, under the lock.

    :param methods: what `plan` says.
    """

    def __init__(
        self, config: PairConfig, progress: Progress, options: Options, me: dict[str, t.Any], methods: dict[str, str]
    ) -> None:
        self.config, self.progress, self.options, self.methods = config, progress, options, methods
        self.infos, self.epoch = me["vms"], me["role"]["epoch"]
        self.watch = Stopwatch()
        self.signals = signals.Remembered()
        self.warnings = [deaf(name) for name in _unheard(me, methods)]
        self.quiesced: dict[str, t.Any] = {}  # those of which a freeze was asked, answered or not
        self.thawed: dict[str, int] = {}
        self.named: set[str] = set()  # those whose image has its name here
        self.stuck: bounded.Call | None = None  # what has not come back from the directory of the images
        self.saved: list[str] = []
        self.saving = threading.Lock()
        self.back: dict[str, float] = {}  # saved and restored
        self.wanted = {name: method for name, method in methods.items() if method not in (LEFT_OUT, CRASHED)}
        members = [
            Member(
                name,
                image_in_progress(config.state_dir, name),
                self.infos[name]["memory_kib"],
                self.infos[name]["state"] == domains.RUNNING,
                FROZEN if method == QUIESCED else method,
            )
            for name, method in sorted(self.wanted.items())
        ]
        self.passes = Passes(
            domains.connect,
            members,
            fallback=options.fallback,
            pace=options.pace,
            save=self._save,
            say=progress.say,
            finish=self._finish,
            flush=lambda: kept.flush(config.pools),
            stop=lambda: self.signals.came,
        )
        self.facts: dict[str, tuple[dict[str, t.Any], list[dict[str, str]]]] = {}
        self.mounts: list[tuple[str, str]] = []

    def run(self, name: str) -> dict[str, t.Any]:
        os.makedirs(self.config.state_dir, mode=0o700, exist_ok=True)
        ran = sorted(member.name for member in self.passes.members if member.ran)
        journal = operation.Journal(name, vms=sorted(self.wanted), ran=ran, method=self.options.method, remedy=AGAIN)
        self.journal = journal
        errors: dict[str, str] = {}
        with self.signals:
            journal.step(MEMORY if self.options.method == CHECKPOINT else "freeze")
            try:
                try:
                    self._prepare()
                    taken = self._to_the_moment()
                    self.watch.step("snapshot")
                finally:
                    errors = self.go_on()
                    self.watch.step("VMs go on")
                    self.passes.settle()
            except BaseException as exc:
                if not errors and not self.stuck:
                    journal.done(f"failed, the VMs go on: {exc}")
                    checkpoint.drop_half(exc, self.progress.say)
                self._say_clocks()
                if errors:
                    raise _still_down(errors) from exc
                raise
            if errors:
                self._say_clocks()
                raise _still_down(errors)
            if self.stuck:
                self._say_clocks()
                raise self._no_answer()
            journal.done(taken)
        checkpoint.check_set(self.config, taken)
        result = self._result(taken)
        self.warnings += self._set_clocks()
        return result

    def _set_clocks(self) -> list[str]:
        """Of all that stood still and go on, whatever has become of the backup. :return: warnings."""
        stood = {
            member.name: (self.back.get(member.name) or member.resumed) - member.paused
            for member in self.passes.members
            if member.ran and member.paused and member.method != QUIESCED and (member.name in self.back or member.resumed)
        }
        return checkpoint.set_clocks(stood, brief=[vm for vm, seconds in stood.items() if seconds < BRIEF])

    def _say_clocks(self) -> None:
        for text in self._set_clocks():
            self.progress.say(text)

    def _prepare(self) -> None:
        """All that takes time and need not be done while a VM is paused."""
        self.datasets = inventory.read(self.config.datasets)
        need_roots(self.config, self.datasets)
        self.names = {word: checkpoint.new_set_name(self.config, self.datasets, word) for word in names.MARKS}
        self.mounts = zfs_mounts()
        self.passes.open()
        for member in self.passes.members:
            if member.method == CHECKPOINT:
                self.facts[member.name] = image.facts(member.dom.connect(), member.dom)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(member.path)

    def _to_the_moment(self) -> str:
        """From the first pass to the snapshot. :return: the name of the set."""
        if self.options.method == QUIESCE:
            self._quiesce()
        self.passes.run()
        self.watch.step(MEMORY if self.options.method == CHECKPOINT else "freeze")
        self._tell_methods(self.passes.astray(), self.passes.active())
        word = consistency(self.methods.values())
        name = self.names[word]
        self._name_images(name)
        checkpoint.snapshot(self.config, self.datasets, name, word, self.epoch)
        late = set(self.passes.astray()) - {vm for vm, method in self.methods.items() if method in (CRASHED, STOPPED)}
        late |= self.passes.active() - {vm for vm, method in self.methods.items() if method != STOPPED} - self._spared()
        if late and word != "crash":
            who = ", ".join(sorted(late))
            raise HvmError(
                f"the set {name} is not what its mark says: {who} went on, or was started, while it was taken",
                f"Destroy it (hvm_zfs_snapshot state=absent name={name}), then do this again.",
            )
        self.progress.say(f"snapshot set {name}")
        return name

    def _spared(self) -> set[str]:
        """Left out on purpose, whether they run or not."""
        return {vm for vm, info in self.infos.items() if not info.get("autobackup", True)}

    def _quiesce(self) -> None:
        """Filesystems of the guests whose agent answers; the others are paused in the end. All at the same time."""

        def one(member: Member) -> None:
            if not member.ran or self.methods[member.name] != QUIESCED:
                return
            try:
                if not quiesce.has_agent(member.dom.XMLDesc(0)):
                    raise HvmError("no agent is connected")
                self.quiesced[member.name] = member
                quiesce.freeze(member.dom, self.options.quiesce_limit)
                member.method = QUIESCED
                member.paused = time.monotonic()
            except Exception as exc:  # noqa: BLE001
                if code_of(exc) == INTERNAL_ERROR or isinstance(exc, HvmError):
                    self.quiesced.pop(member.name, None)  # it has answered; any other may freeze yet, and is thawed
                self.warnings.append(f"the filesystems of VM {member.name} are not frozen, so it is paused instead: {exc}")

        memory.in_parallel(one, self.passes.members)
        deaf = sorted(name for name, member in self.quiesced.items() if member.method != QUIESCED)
        if deaf:
            self.journal.step("freeze", deaf=deaf)  # for `cure`: one that answers nothing must not keep it from its end

    def _tell_methods(self, astray: t.Collection[str], active: t.Collection[str]) -> None:
        for name in sorted(set(active) - set(self.methods) - self._spared()):
            self.methods[name] = CRASHED
            self.warnings.append(f"VM {name} was started during the backup: its disks are in the set as after a power cut")
        for member in self.passes.members:
            method = member.method
            if member.ended is not None:
                method = STOPPED if member.ended and member.name not in active else CRASHED
            elif member.name in astray:
                method = CRASHED
            self.methods[member.name] = method
            if member.refused:
                self.warnings.append(f"VM {member.name}: no checkpoint, {method} instead: {member.refused}")
            if method == CRASHED:
                self.warnings.append(f"VM {member.name} ended during the backup: its disks are in the set as after a power cut")

    # ---- images

    def _finish(self, member: Member) -> dict[str, t.Any]:
        """While this VM waits for the others: all that its manifest says, but for the name of the set."""
        vm, disks = self.facts[member.name]
        return {"vm": vm, "disks": image.disk_facts(disks, self.mounts), "image": image.measure(member.path)}

    def _save(self, member: Member) -> None:
        with self.saving:
            self.saved.append(member.name)
            self.journal.step(MEMORY, saved=self.saved)
        image.save(member.dom.connect(), member.name, self.config.state_dir, durable=False)

    def _within(self, function: t.Callable[[], None]) -> None:
        """On a suspended pool it would sleep in the kernel, where nothing ends it, and every VM would stand still meanwhile.

        :raises HvmError: when it has not come back in time, or another one has not yet.
        """
        if self.stuck and not self.stuck.wait(0.0):
            raise self._no_answer()
        self.stuck = None
        call = bounded.Call(function)
        if not call.wait(FILES_LIMIT):
            self.stuck = call
            raise self._no_answer()
        if call.error:
            raise call.error

    def _no_answer(self) -> HvmError:
        what = f"{self.config.state_dir} does not answer, so images of the VMs' memory may be left there"
        return HvmError(what, f"See zpool status. {AGAIN}")

    def _name_images(self, name: str) -> None:
        """From here on they are images. No fsync: the snapshot itself writes everything that was written before it."""
        self._within(lambda: self._name_each(name))

    def _name_each(self, name: str) -> None:
        state_dir = self.config.state_dir
        for member in self.passes.members:
            if self.stuck:
                return  # nobody waits any more, and the VMs go on
            if not member.whole or self.methods[member.name] not in (CHECKPOINT, SAVE):
                continue
            if member.method == SAVE:
                continue
            made = image.manifest(member.extra["vm"], member.extra["disks"], member.extra["image"], [name])
            self.named.add(member.name)
            image.write_manifest(state_dir, made, durable=False)
            os.chmod(member.path, 0o600)
            os.rename(member.path, image.image_path(state_dir, member.name))
        saved = [member.name for member in self.passes.members if member.whole and member.method == SAVE]
        if not self.stuck and set(image.saved_names(state_dir)) - self.named:
            states.anchor(state_dir, name, [*self.named, *saved])

    def go_on(self) -> dict[str, str]:
        """Every VM runs as before, whatever has happened; its image is only in the set. :return: name -> why it does not run."""
        errors: dict[str, str] = {}
        # the images first: what lies there while the VM runs would be an image of the past
        for step in (self._remove_images, self.passes.let_go, self._thaw, self._restore, self._remove_images):
            try:
                errors.update(step() or {})
            except Exception as exc:  # noqa: BLE001  whatever it is, the other steps are for other VMs
                errors[self.config.me.name] = str(exc)
        return errors

    def _remove_images(self) -> None:
        with contextlib.suppress(HvmError):  # it is told in the end
            self._within(self._remove_each)

    def _remove_each(self) -> None:
        for member in self.passes.members:
            if self.stuck:
                return
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(member.path)
                if member.name in self.named:
                    image.remove(self.config.state_dir, member.name)
                    self.named.discard(member.name)  # one that lies there later is somebody else's: of a save that waited for us
            except OSError as exc:
                self.warnings.append(f"what is left of the image of VM {member.name} cannot be removed: {exc}")

    def _thaw(self) -> dict[str, str]:
        errors: dict[str, str] = {}

        def one(member: Member) -> None:
            try:
                self.thawed[member.name] = quiesce.thaw(member.dom)
                member.resumed = time.monotonic()
            except Exception as exc:  # noqa: BLE001
                if member.method != QUIESCED and quiesce.is_unheard(exc):
                    self.warnings.append(str(exc))  # nothing says that it ever froze
                else:
                    errors[member.name] = str(exc)

        memory.in_parallel(one, list(self.quiesced.values()))
        for name, count in self.thawed.items():
            if self.methods.get(name) == QUIESCED and not count:
                self.warnings.append(f"VM {name} had thawed by itself: it is in the set as after a power cut")
        return errors

    def _restore(self) -> dict[str, str]:
        """Those that had to be saved. Nothing but this process can have touched their disks."""
        saved = [m.name for m in self.passes.members if m.saving and image.exists(self.config.state_dir, m.name)]
        if not saved:
            return {}
        try:
            conn = domains.connect()
        except HvmError as exc:
            return dict.fromkeys(saved, str(exc))

        def done(name: str, *dummy: t.Any) -> None:
            self.back[name] = time.monotonic()

        errors: dict[str, str] = {}
        for group in domains.order(self.infos, saved, descending=False):
            errors.update(
                domains.for_each(domains.restore, conn, [group], self.config.state_dir, done, fresh=saved, force=True)
            )
        conn.close()
        return errors

    def _result(self, name: str) -> dict[str, t.Any]:
        vms: dict[str, dict[str, t.Any]] = {vm: {"method": method} for vm, method in sorted(self.methods.items())}
        waits = {m.name: m.paused for m in self.passes.members if m.paused}
        last = max(waits.values(), default=0.0)
        ends = [*self.back.values(), *(m.resumed for m in self.passes.members if m.resumed)]
        steps = [step for step in self.watch.steps if step["step"] != MEMORY]  # the VMs run in that one
        for member in self.passes.members:
            resumed = self.back.get(member.name) or member.resumed
            if member.method == CHECKPOINT and member.began and member.whole:
                vms[member.name].update(memory=round(member.paused - member.began, 3), waited=round(last - member.paused, 3))
            if member.paused and resumed and member.ran:
                vms[member.name]["interruption"] = round(resumed - member.paused, 3)
        for vm, facts in vms.items():
            if "interruption" in facts:
                words = ", ".join(f"{key} {facts[key]:.2f} s" for key in ("memory", "waited", "interruption") if key in facts)
                self.progress.say(f"{vm}: {facts['method']}: {words}", vm=vm, **facts)
        return {
            "changed": True,
            "set": name,
            "vms": vms,
            "steps": steps,
            "memory": round(sum(step["seconds"] for step in self.watch.steps if step["step"] == MEMORY), 3),
            "window": round(max(ends, default=0.0) - min(waits.values(), default=0.0), 3) if ends else 0.0,
            "warnings": self.warnings,
        }


def _still_down(errors: dict[str, str]) -> HvmError:
    said = "; ".join(f"{name}: {text}" for name, text in sorted(errors.items()))
    return HvmError(f"not every VM goes on: {said}", f"Look at them (hvm_vm). {AGAIN}")


# ---- after one that was killed


def cure_before(config: PairConfig, me: dict[str, t.Any]) -> list[str]:
    """The same for whatever is about to look at VMs, under a lock of its own. Nothing when a backup is still running.

    :param me: what was observed; look again when something was done.
    """
    if me["lock"] or not guards.ended_by_backup(me["pending"]):
        return []
    with operation.Lock().held("end a backup", operation.owner()):
        return cure(config, Progress())


def cure(config: PairConfig, progress: Progress, timeout: float = 60.0, ends: bool = True) -> list[str]:
    """End a backup that was killed: VMs that it paused go on, what is left of its images goes. The caller holds the lock.

    libvirt goes on with a pass whose client is gone, and leaves the VM paused at its end; so passes are aborted first.

    :param ends: False for a caller that goes on with its journal: which VMs ran is known from nowhere else.
    :return: what was done, as sentences; none when there was nothing.
    :raises HvmError: when a VM cannot be let go on; all others have been.
    """
    entry = operation.pending()
    if not entry or entry["operation"] not in guards.BACKUPS:
        return []
    begun = f"a {entry['operation']}, begun {entry['started']}, did not end"
    did = [f"{begun}: its VMs go on"]
    members = [Member(str(name), "", 0, touched=True) for name in entry.get("ran", [])]
    vms = [str(name) for name in entry.get("vms", [])]
    silent = answering.silent(domains.connect, vms)
    errors: dict[str, str] = {}
    ended: list[str] = []
    deadline = time.monotonic() + timeout
    for name in vms:
        if name in silent:
            continue  # the others are not to stand still for it
        conn = domains.connect()
        try:
            state = settled(conn, name, max(deadline - time.monotonic(), 1.0), entry.get("method") == QUIESCE)
        except Exception as exc:  # noqa: BLE001  nor for this one
            if name in entry.get("deaf", ()) and quiesce.is_unheard(exc):
                did.append(str(exc))
            else:
                errors[name] = str(exc)
            continue
        finally:
            conn.close()
        if state == domains.STOPPED:
            ended.append(name)
        elif entry.get("method") == CHECKPOINT:
            image.remove(config.state_dir, name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(image_in_progress(config.state_dir, name))
    errors = {**Passes(domains.connect, [one for one in members if one.name not in silent]).let_go(timeout), **errors}
    said, back = _restore_proven(config, [name for name in ended if name in entry.get("saved", [])])
    did += said
    others = [name for name in ended if name not in entry.get("saved", [])]
    if others:
        # what its image is worth its manifest says: hvm_vm state=restored refuses it when the disks have gone on
        did.append(f"{', '.join(others)}: not running any more; a state image of theirs is kept (hvm_vm state=restored)")
    did += checkpoint.set_clocks([*back, *(one.name for one in members if one.resumed)])  # nobody knows for how long they stood
    for text in did:
        progress.say(text)
    if silent:
        more = "".join(f"; {name}: {text}" for name, text in sorted(errors.items()))
        raise HvmError(
            f"{begun}, and the QEMU of VM {', '.join(silent)} does not answer{more}",
            f"See virsh domcontrol {silent[0]}. hvm_vm state=poweredoff ends it; then do this again.",
        )
    if errors:
        raise _still_down(errors)
    if ends:
        operation.Journal(entry["operation"], started=entry["started"]).done("interrupted; the VMs go on")
    return did


def _restore_proven(config: PairConfig, saved: t.Sequence[str]) -> tuple[list[str], list[str]]:
    """VMs that were saved, since no checkpoint was possible: they go on if their disks are proven to be as they were.

    :return: (sentences, those that go on)
    """
    names_ = [name for name in saved if image.exists(config.state_dir, name)]
    if not names_:
        return [], []
    did = [f"{', '.join(names_)} had been saved: restored"]
    written = states.written(one for name, one in states.manifests(config.state_dir).items() if name in names_)
    conn = domains.connect()
    try:
        errors = domains.for_each(domains.restore, conn, [names_], config.state_dir, written=written)
    finally:
        conn.close()
    did += [f"VM {name} is still off, its image is kept: {text}" for name, text in sorted(errors.items())]
    return did, [name for name in names_ if name not in errors]


def settled(conn: t.Any, name: str, timeout: float, thaw: bool = False) -> str:
    """The state of a VM once no job of libvirt's goes on in it."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            dom = conn.lookupByName(name)
            if not dom.isActive():
                return domains.STOPPED
            if not int(dom.jobInfo()[0]):  # VIR_DOMAIN_JOB_NONE
                if thaw and quiesce.has_agent(dom.XMLDesc(0)):
                    dom.agentSetResponseTimeout(quiesce.LIMIT)
                    quiesce.thaw(dom)
                return domains.FROZEN if dom.state()[0] == memory.PAUSED else domains.RUNNING
            with contextlib.suppress(Exception):
                dom.abortJob()
        except HvmError:
            raise
        except Exception as exc:
            if code_of(exc) == NO_DOMAIN:
                return domains.STOPPED
            if time.monotonic() > deadline:
                raise HvmError(f"VM {name} cannot be looked at: {exc}", AGAIN) from exc
        if time.monotonic() > deadline:
            raise HvmError(f"a job of libvirt's in VM {name} does not end", "See virsh domjobinfo; virsh domjobabort.")
        time.sleep(0.1)
