# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""A host that comes back, or is left behind: what the one that goes on asks of it (`stand_down`, the agent's part below)."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation, recovery, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import checkpoint, holds, overlays, recover, rollback
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import hypervisor_running, qemu_processes
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, inventory, kept, names, plan, protect
from ansible_collections.hvm.pair.plugins.module_utils._zfs import rollback as trees

#: Seconds that the other host may take for its part.
TIMEOUT = 1800.0


def their_trees(config: PairConfig, peer: Peer) -> trees.Tree:
    """Those of the other host, with "written" as it is: few bytes may be a pool's doing (plan.ZIL_SLACK), or a guest's."""
    theirs = t.cast("trees.Tree", peer.call("trees", timeout=TIMEOUT))
    doubtful = [
        name
        for name, entry in trees.in_use(theirs, config.datasets).items()
        if entry["snapshots"] and (size := inventory.prop(entry, "written")).isdigit() and 0 < int(size) <= plan.ZIL_SLACK
    ]
    touched = peer.call("touched", timeout=TIMEOUT, datasets=doubtful)["touched"] if doubtful else []
    for name in set(doubtful).difference(touched):
        theirs[name]["props"]["written"] = ["0", "-"]
    return theirs


def own(config: PairConfig, peer: Peer, other: guards.Observation) -> recovery.Own:
    """What the other host has of its own, as both hosts' datasets show it."""
    theirs = trees.in_use(their_trees(config, peer), config.datasets)
    mine = trees.in_use(kept.read(config.datasets), config.datasets)
    return recovery.own(other, theirs, mine)


def sizes(config: PairConfig, peer: Peer) -> dict[str, t.Any]:
    """How much the other host has of its own: ``{set, written: {dataset: bytes}}`` since the last common set.

    The set is "" when there is none in common.
    """
    theirs = trees.in_use(peer.call("trees", timeout=TIMEOUT), config.datasets)
    common = trees.common_set(trees.in_use(kept.read(config.datasets), config.datasets), theirs, config.pair)
    return {"set": common or "", "written": peer.call("written", set=common) if common else {}}


def stand_down(config: PairConfig, peer: Peer, progress: Progress) -> list[str]:
    """The other host, which is stopped, becomes DIVERGED. Its own data are in a snapshot set and held before it says so.

    Not a replica without anything of its own: if this host is lost, that has a failover to its last complete set, while one that
    is DIVERGED goes on from what it has, and that may be half of a set.

    :return: warnings.
    """
    other = peer.call("observe")
    found = own(config, peer, other)
    if found.doubt:
        peer.call("replay", timeout=TIMEOUT)
        found = own(config, peer, peer.call("observe"))
    if other["role"]["role"] == role.PASSIVE and not found and not other["pending"]:
        return []
    progress.say(f"{config.peer.name} becomes DIVERGED")
    # one that is DIVERGED already has its snapshot, unless somebody wrote to it since
    wanted = bool(found.written) or (bool(found) and other["role"]["role"] != role.DIVERGED)
    answer = peer.call("stand_down", timeout=TIMEOUT, snapshot=wanted, reason=f"{config.me.name} goes on without it")
    return [f"{config.peer.name}: {text}" for text in answer["warnings"]]


# ---- the agent's part, under the lock of the pair


def refuse_if_up() -> None:
    """:raises HvmError: when anything of the pair runs here."""
    running = qemu_processes()
    if running:
        raise HvmError(f"VMs run here: {', '.join(running)}", "Shut them down first.")
    if hypervisor_running():
        raise HvmError("its hypervisor is running", "Stop it there: hvm_hypervisor state=stopped.")


def replay(config: PairConfig) -> dict[str, t.Any]:
    """Writes that a crash has left in the intent logs become part of the datasets.

    Mounting replays a filesystem's; a zvol's is replayed when its device is made (zvol_os_create_minor).
    """
    refuse_if_up()
    try:
        actions.make_writable(config.datasets)
        datasets = inventory.read(config.datasets)
        actions.mount_all(datasets)
        actions.wait_devices(datasets)
    finally:
        datasets = inventory.read(config.datasets)
        actions.unmount_all(datasets)
        actions.make_inert(config.datasets, datasets)
    role.write(role.load()._replace(clean=True))
    return {}


def touched(config: PairConfig, datasets: t.Iterable[str]) -> list[str]:
    """Those that are not proven to be at their newest snapshot: a stream of what came after it is not empty."""
    found = inventory.read(config.datasets)
    return [name for name in datasets if not kept.untouched(name, found[name]["snapshots"][-1][0])]


def written(config: PairConfig, name: str) -> dict[str, int]:
    """Bytes that each dataset of the set has been written to since."""
    since = actions.written_since(list(inventory.read_datasets(config.datasets)), [name])
    return {dataset: sizes[name] for dataset, sizes in since.items()}


def _let_overlays_go(config: PairConfig, do: str, stamp: str) -> list[str]:
    """What VMs have written beside the datasets goes the same way. :return: where it is now, as a warning."""
    arrival = operation.Journal.of_arrival()
    said = []
    overlays.directory(config, make=False)  # else what is hidden now would be there again later
    if do == recovery.KEEP and overlays.left():
        place = overlays.put_beside(stamp or trees.new_stamp(datetime.datetime.now(datetime.UTC), kept.read(config.datasets)))
        said = [f"what {', '.join(sorted(overlays.left(place)))} had written beside the disks is kept in {place}"]
    overlays.empty()
    if arrival:
        arrival.done("given up, by the operator's word")
    return said


def _refuse_to_forget(names_: t.Sequence[str]) -> None:
    """:raises HvmError: when VMs have overlays here: the host that asks has not seen them."""
    if names_:
        what = f"overlays are left here: {', '.join(names_)}"
        raise HvmError(what, "They are kept or destroyed by the operator's word only: hvm.pair.rejoin.")


def become_diverged(config: PairConfig, snapshot: bool, reason: str) -> dict[str, t.Any]:
    """:param snapshot: whether there is anything that needs one: it tells of it from then on, whatever happens."""
    refuse_if_up()
    warnings = recover.let_go(config)
    epoch = role.load().epoch
    name = ""
    if snapshot:
        datasets = inventory.read(config.datasets)
        name = checkpoint.new_set_name(config, datasets, "crash")
        checkpoint.snapshot(config, datasets, name, "crash", epoch)
        holds.remember(name)
        # one that is between the two renames of a swap is not there; nor has it got the set
        protect.hold([root for root in config.datasets if root in datasets], name, config.pair)
    role.record(role.DIVERGED, epoch, reason)
    return {"set": name, "warnings": warnings}


def come_back(config: PairConfig, words: t.Mapping[str, t.Any], say: t.Callable[[str], None]) -> dict[str, t.Any]:
    """PASSIVE again, as a replica of the host that asks.

    :param words: ``{do, epoch, set, stamp, reason}``: by going back to `set` what it has of its own is kept beside, or destroyed;
        without a set its datasets stay as they are.
    """
    refuse_if_up()
    do, name, stamp = (str(words[key]) for key in ("do", "set", "stamp"))
    if do not in (recovery.JOIN, recovery.KEEP, recovery.DISCARD):
        raise HvmError(f"{do!r} is no way back")
    if name and not (names.is_set_of(name, config.pair) and names.is_stamp(stamp)):
        raise HvmError(f"{name!r} or {stamp!r} is no set and stamp of the pair {config.pair}")
    warnings = recover.let_go(config)
    begun = operation.pending() or {}
    if do in (recovery.KEEP, recovery.DISCARD):
        warnings += _let_overlays_go(config, do, stamp)
    else:
        me = {"role": {"role": role.load().role}, "pending": begun or None, "overlays": overlays.left()}
        _refuse_to_forget(recovery.own_overlays(me))
    left = trees.unfinished(kept.read(config.datasets), config.datasets)
    # what a rollback has put aside is the operator's to drop: `discard` is of what this host has in use
    spared = begun.get("spared", "") if begun.get("operation") == recovery.REJOIN else left.stamp if left else ""
    journal = operation.Journal(recovery.REJOIN, set=name, stamp=stamp, spared=spared)
    aims = [trees.Aim(left.action, left.set, left.stamp, left.aside)] if left else []
    if name and not (left and left.stamp == stamp):
        aims.append(trees.Aim("rollback", name, stamp, ""))

    def said(sentence: str) -> None:
        journal.step(sentence)
        say(sentence)

    for aim in aims:
        warnings += recover.swap_replica(config, aim, said)
    destroyed: dict[str, t.Any] = {}
    if do == recovery.DISCARD:
        for one in dict.fromkeys(aim.stamp for aim in aims if aim.do == "rollback" and aim.stamp != spared):
            destroyed.update(rollback.destroy_kept(config, one)["destroyed"])
    warnings += recover.become_passive(config, int(words["epoch"]), str(words["reason"]))
    tree = kept.read(config.datasets)
    stamps = [aim.aside or aim.stamp for aim in aims]
    if begun.get("operation") == recovery.REJOIN:  # what was cut off behind its swap has left something, too
        stamps.append(str(begun.get("stamp", "")))
    tops = [top for one in dict.fromkeys(stamps) for root in config.datasets if (top := trees.kept(root, one)) in tree]
    return {"kept": tops, "destroyed": destroyed, "warnings": warnings}
