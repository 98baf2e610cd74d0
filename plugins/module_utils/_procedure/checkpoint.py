# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""A consistent point of all VMs: states > ZFS snapshot > VMs go on. One process from the first pause to the last resumption."""

from __future__ import annotations

import datetime
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core import signals
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress, Stopwatch
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, guest_agent, image
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import hypervisor, states
from ansible_collections.hvm.pair.plugins.module_utils._procedure.early import need_roots
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import qemu_processes
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, inventory, names, protect


def new_set_name(config: PairConfig, datasets: inventory.Inventory, consistency: str) -> str:
    existing = [snap[0] for entry in datasets.values() for snap in entry["snapshots"]]
    return str(names.new_name(config.pair, consistency, datetime.datetime.now(datetime.UTC), existing))


def take_set(config: PairConfig, consistency: str, epoch: int, fresh: t.Collection[str] = (), anchored: str = "") -> str:
    """Snapshot every dataset of every root. The caller checks it (`check_set`), once nothing waits for that.

    :param fresh: VMs whose images are of this very moment: saved by this process, or held paused by it.
    :param anchored: the set's name, when the images have been anchored in it already, because their directory is away by now.
    """
    # only a new name needs the snapshots that there are; an anchored set is taken in an interruption
    datasets = inventory.read_datasets(config.datasets) if anchored else inventory.read(config.datasets)
    need_roots(config, datasets)
    name = anchored or new_set_name(config, datasets, consistency)
    if not anchored:
        states.anchor(config.state_dir, name, fresh)
    snapshot(config, datasets, name, consistency, epoch)
    return name


def snapshot(config: PairConfig, datasets: t.Iterable[str], name: str, consistency: str, epoch: int) -> None:
    """The set itself, with what it is in its properties."""
    actions.snapshot_set(datasets, name, {"hvm:pair": config.pair, "hvm:consistency": consistency, "hvm:epoch": str(epoch)})


def drop_half(failure: BaseException, say: t.Callable[[str], None] = lambda text: None) -> None:
    """Destroy what some pools have of a set that another one refused: it would lie there as a set. It fails at nothing.

    Only once no VM waits for it, and no state image that was made for this set needs it as its proof.
    """
    half = failure.details.get("half") if isinstance(failure, HvmError) else None
    if not half:
        return
    name = half[0].split("@")[1]
    try:
        left = protect.destroy(half)
    except (HvmError, OSError, ValueError) as exc:
        left = {half[0]: str(exc)}
    for one, why in sorted(left.items())[:1]:
        say(f"the set {name} is not complete, and {one} stays: {why}")
    if not left:
        say(f"the set {name}, which is not complete, was destroyed again")


def check_set(config: PairConfig, name: str) -> None:
    """Whether the set is there as it should be. :raises HvmError: naming what is not."""
    datasets = list(inventory.read(config.datasets))
    wrong = set_faults(name, datasets, actions.find_set(datasets, name))
    if wrong:
        raise HvmError("; ".join(wrong), f"Take a new set, then destroy this one: hvm_zfs_snapshot state=absent name={name}.")


def set_faults(name: str, datasets: t.Sequence[str], found: t.Mapping[str, t.Sequence[t.Any]]) -> list[str]:
    """Why a set is not complete, or not of one moment in each pool: pure.

    The moment is the transaction group; `creation` may differ by a second within one command (OpenZFS #18220).

    :param found: dataset -> ``[guid, createtxg]``, as `actions.find_set` gives it.
    """
    missing = [dataset for dataset in datasets if dataset not in found]
    wrong = [f"the set {name} is not complete: it is not on {', '.join(missing)}"] if missing else []
    moments: dict[str, set[int]] = {}
    for dataset, (dummy, createtxg) in found.items():
        moments.setdefault(dataset.split("/", 1)[0], set()).add(createtxg)
    return wrong + [
        f"the set {name} was not taken at once in pool {pool}: transaction groups {', '.join(map(str, sorted(groups)))}"
        for pool, groups in sorted(moments.items())
        if len(groups) > 1
    ]


def save_all(
    config: PairConfig, conn: t.Any, infos: dict[str, dict[str, t.Any]], progress: Progress, paused: dict[str, float]
) -> list[str]:
    """Save every VM that runs, highest number first. `paused` gets the moment of each pause.

    :return: the names, saved.
    :raises HvmError: when one could not be saved; those that were are in `paused`.
    """
    running = [name for name, vm in infos.items() if vm["state"] in (domains.RUNNING, domains.FROZEN)]

    def done(name: str, sentence: str | None, before: float, dummy: float) -> None:
        if sentence:
            paused[name] = before
            progress.say(sentence)

    groups = domains.order(infos, running, descending=True)
    errors = domains.for_each(domains.save, conn, groups, config.state_dir, done, durable=False)
    if errors:
        raise HvmError(f"not every VM could be saved: {domains.failures(errors, groups)}")
    return running


def restore_all(
    config: PairConfig,
    conn: t.Any,
    progress: Progress,
    resumed: t.Callable[[str], None],
    names: t.Collection[str],
    fresh: t.Collection[str] = (),
    written: image.Written | None = None,
    force: bool = False,
) -> dict[str, str]:
    """Restore these VMs from their state images, by priority; all of them, whatever happens to one.

    :param names: the VMs that ran. One that the operator had saved stays saved.
    :param fresh: VMs that this process has saved.
    :param written: of the zvols, when it is known already; asked here when left out.
    :param force: restore also an image that nothing proves, such as one without a manifest.
    :return: name -> error.
    """
    infos = domains.vms(conn, config.state_dir)
    if written is None:  # before the first one runs
        asked = set(names).difference(fresh)
        written = states.written(one for vm, one in states.manifests(config.state_dir).items() if vm in asked)
    there = set(domains.saved_names(config.state_dir))
    errors = dict.fromkeys(sorted(set(names) - there), "its state image is not there")

    def done(name: str, sentence: str | None, *dummy: float) -> None:
        if sentence:
            resumed(name)
            progress.say(sentence)

    for group in domains.order(infos, there.intersection(names), descending=False):
        errors.update(
            domains.for_each(domains.restore, conn, [group], config.state_dir, done, written=written, fresh=fresh, force=force)
        )
    return errors


def restore_lasting(
    config: PairConfig,
    conn: t.Any,
    progress: Progress,
    resumed: t.Callable[[str], None],
    left: t.Callable[[], t.Collection[str]],
    ran: t.Collection[str] = (),
    written: image.Written | None = None,
    own: bool = False,
    force: bool = False,
) -> tuple[t.Any, dict[str, str]]:
    """As `restore_all`, and once more when libvirt's daemon dies under it, which is no VM's fault.

    :param left: says which VMs are to be restored, as it is at that moment.
    :param ran: others that a save may have paused: the daemon lets them go on when it is back, and that is waited for.
    :param written: as `restore_all` has it; asked anew the second time, since a VM may have run until the daemon died.
    :param own: this process has saved them.
    :return: (the connection, another one if the daemon had died; name -> error)
    """

    def attempt(conn: t.Any, written: image.Written | None) -> dict[str, str]:
        names = left()
        return restore_all(config, conn, progress, resumed, names, fresh=names if own else (), written=written, force=force)

    try:
        errors = attempt(conn, written)
        if not errors:
            return conn, errors
    except Exception as exc:  # noqa: BLE001  libvirtError; why does not matter
        errors = dict.fromkeys(sorted(left()), str(exc))
    try:
        again = hypervisor.answering(conn)
        if again is conn:
            return conn, errors
        hypervisor.ended(again, config.state_dir, {*left(), *ran})
        return again, attempt(again, None)
    except Exception as exc:  # noqa: BLE001  libvirt does not come back
        return conn, {vm: f"{text}; {exc}" for vm, text in errors.items()} or {config.me.name: str(exc)}


def set_clocks(vms: t.Collection[str], brief: t.Collection[str] = ()) -> list[str]:
    """Of VMs that stood still, once all go on, on a connection of its own. :return: warnings; it fails at nothing.

    :param brief: as `guest_agent.set_clock` has it.
    """
    if not vms:
        return []
    try:
        conn = domains.connect()
    except HvmError as exc:
        return [f"the clock of {', '.join(vms)} is not set: {exc}"]
    try:
        return guest_agent.set_clock(conn, vms, brief=brief)
    finally:
        conn.close()


def checkpoint(config: PairConfig, progress: Progress) -> dict[str, t.Any]:
    """`backup secure` by plain saves, up to the sync: save all VMs, snapshot with the mark B, restore them.

    :return: ``{changed, set, vms: {name: {interruption}}, steps, window, warnings}``; seconds.
    """
    me = observe(config)
    findings = guards.backup(me, None)
    if findings:
        raise Refused("the backup", findings)
    infos = {name: vm for name, vm in me["vms"].items() if vm.get("autobackup", True)}
    running = [name for name, vm in infos.items() if vm["state"] in (domains.RUNNING, domains.FROZEN)]
    watch = Stopwatch()
    paused: dict[str, float] = {}
    back: dict[str, float] = {}
    with operation.Lock().held("backup_secure", operation.owner()), signals.Remembered() as asked:
        conn = domains.connect()
        journal = operation.Journal("backup_secure", vms=running)
        journal.step("save")
        failure: BaseException | None = None
        name, warnings = "", list[str]()
        try:
            save_all(config, conn, infos, progress, paused)
            if asked.came:
                raise HvmError("the backup was interrupted", "Run it again.")
            watch.step("save")
            # one that sleeps, or was started since: it writes on
            spared = {vm for vm in me["vms"] if vm not in infos}
            left = sorted(set(qemu_processes()) - spared)
            if left:
                warnings.append(f"{', '.join(left)} could not be saved, and run: in the set as after a power cut")
            name = take_set(config, "crash" if left else "state", me["role"]["epoch"], fresh=paused)
            late = sorted(set(qemu_processes()) - spared)
            if late and not left:
                raise HvmError(
                    f"the set {name} is not what its mark says: {', '.join(late)} was started while it was taken",
                    f"Destroy it (hvm_zfs_snapshot state=absent name={name}), then do this again.",
                )
            progress.say(f"snapshot set {name}")
            watch.step("snapshot")
        except BaseException as exc:  # noqa: BLE001  the VMs go on first, then it is raised again
            failure = exc

        def saved() -> set[str]:
            """Also one whose save failed when it was off already: it has its image."""
            return {*paused, *set(running).intersection(domains.saved_names(config.state_dir))}.difference(back)

        def resumed(vm: str) -> None:
            back[vm] = time.monotonic()

        conn, errors = restore_lasting(config, conn, progress, resumed, saved, running, own=True)
        watch.step("restore")
        warnings += guest_agent.set_clock(conn, back)
        if errors:
            raise HvmError(
                "not every VM could be restored: " + "; ".join(f"{vm}: {text}" for vm, text in errors.items()),
                f"Their images are kept in {config.state_dir}. Try hvm_vm state=restored.",
            ) from failure
        journal.done("failed, VMs restored" if failure else name)
        conn.close()
        if failure:
            drop_half(failure, progress.say)
            raise failure
        check_set(config, name)
    return {
        "changed": True,
        "set": name,
        "vms": {vm: {"interruption": round(back[vm] - paused[vm], 3)} for vm in sorted(back) if vm in paused},
        "steps": watch.steps,
        "window": round(sum(step["seconds"] for step in watch.steps), 3),
        "warnings": warnings,
    }
