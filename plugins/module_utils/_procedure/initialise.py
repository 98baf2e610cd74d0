# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The first roles of a new pair, and the datasets that it needs. A host that has a role keeps it."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._net import shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import address, hypervisor
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import SOCKETS, qemu_processes
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, kernel, layout

#: Seconds that another installation may take to give this host its role, and between two looks.
PATIENCE, POLL = 600.0, 0.5
#: Seconds for copying what a bare host has into a dataset: images of VMs, too.
COPY = 24 * 3600.0


class Missing(t.NamedTuple):
    """Datasets that are to be made, each list in the order in which that is possible.

    :ivar parents: what lies above the roots: a replica needs it, too. :ivar roots: and :ivar filesystems: of the ACTIVE host
        only; the other one gets them by the first sync.
    """

    parents: list[str]
    roots: list[str]
    filesystems: list[str]

    def all(self) -> list[str]:
        return [*self.parents, *self.roots, *self.filesystems]


def missing(
    roots: t.Sequence[str], filesystems: t.Mapping[str, t.Mapping[str, t.Any]], there: t.Collection[str], active: bool
) -> Missing:
    """What there must be and is not. Pure.

    :param there: the datasets of the roots and above them that exist.
    :raises HvmError: for filesystems that no backup would hold.
    """
    stray = [name for name in filesystems if not any(name.startswith(f"{root}/") for root in roots)]
    if stray:
        raise HvmError(f"dataset {', '.join(stray)} is not below the pair's datasets", "Correct hvm_filesystems.")
    parents = layout.missing_parents(roots, there)
    if not active:
        return Missing(parents, [], [])
    ordered = sorted(filesystems, key=lambda name: (filesystems[name]["mountpoint"].count("/"), name))
    return Missing(parents, [one for one in roots if one not in there], [one for one in ordered if one not in there])


def initialise(
    config: PairConfig, active: str, filesystems: dict[str, dict[str, t.Any]], check: bool, create: bool = True
) -> dict[str, t.Any]:
    """:param active: name of the host that becomes ACTIVE in a new pair.
    :param filesystems: dataset -> ``{mountpoint, properties, mode}``; made on the ACTIVE host when missing. In a new pair with
        what lies at the mountpoint.
    :param create: whether datasets are made at all; else a missing one is refused.
    """
    config.host(active)
    _judge(filesystems)
    current = role.load()
    if current.role != role.UNKNOWN:
        return _complete(config, current, filesystems, check, create)
    with Peer(config) as peer:
        theirs = peer.hello["role"]
        their_datasets: inventory.Inventory = peer.call("datasets")
    if theirs["role"] == role.PASSIVE and theirs.get("epoch", 0) > 0:
        raise HvmError(
            f"{config.peer.name} is PASSIVE in epoch {theirs['epoch']}: this is no new pair, and {config.me.name} was its ACTIVE "
            "host, or takes its place",
            f"If the data of {config.peer.name} are to go on: hvm.pair.failover there first, with "
            f"hvm_give_up={config.me.name}. If the pair begins anew: take it off that host first (hvm_uninstall).",
        )
    wanted = role.ACTIVE if active == config.me.name else role.PASSIVE
    if theirs["role"] in (role.ACTIVE, role.DIVERGED):
        wanted = role.PASSIVE  # a host that was rebuilt joins the pair that goes on
    if qemu_processes():
        raise HvmError(
            f"VMs run on {config.me.name} ({', '.join(qemu_processes())}) while the pair is being made",
            "Shut them down for the installation.",
        )
    _refuse_standing(config, wanted, their_datasets)
    lacking = _missing_here(config, filesystems, wanted == role.ACTIVE, create, _half_copied(config))
    if wanted == role.ACTIVE and config.shared_ips:
        # a wrong interface, another holder: it would be ACTIVE when that is found, and never be here again; the gateway may be a
        # VM of this very pair
        shared_ip.prepare(config.shared_ips, config.interface)
    result = {"changed": True, "role": wanted, "epoch": 1 if wanted == role.ACTIVE else 0, "datasets": lacking.all()}
    if check:
        return result
    progress = Progress()
    with contextlib.ExitStack() as stack:
        _wait_for_lock(stack)
        current = role.load()
        if current.role != role.UNKNOWN:
            return {"changed": False, "role": current.now(role.boot_id()), "epoch": current.epoch, "datasets": []}
        half = _half_copied(config)
        lacking = _missing_here(config, filesystems, wanted == role.ACTIVE, create, half)
        # libvirt of a bare host may run: it reads the files that are about to move
        run(["systemctl", "stop", "libvirtd.service", *SOCKETS])
        _make_above(lacking)
        if wanted == role.ACTIVE:
            _take_back(config)
            for dataset in lacking.filesystems:
                what = filesystems[dataset]
                if dataset not in half:
                    _make_filesystem(dataset, {**what, "properties": {**(what.get("properties") or {}), layout.COPYING: "on"}})
                _take_over(dataset, what["mountpoint"], _mode(what))
                run(["zfs", "inherit", layout.COPYING, dataset])
            hypervisor.start(config, 1, "first ACTIVE host of a new pair", progress).close()
            if config.shared_ips:
                shared_ip.enable(config.shared_ips, config.interface)
                address.keep_announcing(config.shared_ips, config.interface)
        else:
            hypervisor.stop(config, progress)
            role.record(role.PASSIVE, 0, "PASSIVE host of a new pair")
    return {**result, "epoch": role.load().epoch, "datasets": lacking.all()}


def _wait_for_lock(stack: contextlib.ExitStack) -> None:
    """The installation may give this host its role from either side at the same moment (roles/host/tasks/main.yml).

    :raises HvmError: when somebody holds the lock for longer than PATIENCE.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            stack.enter_context(operation.Lock().held("install", "hvm.pair.install"))
        except HvmError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL)
        else:
            return


def _refuse_standing(config: PairConfig, wanted: str, theirs: inventory.Inventory) -> None:
    """A host that mounts datasets of the pair has been ACTIVE, or alone; the other one's may be an old copy of them.

    Both hosts look, each before it changes anything: whoever is first, neither takes the wrong role.
    """
    passive = config.me if wanted == role.PASSIVE else config.peer
    seen = inventory.read_datasets(config.datasets) if wanted == role.PASSIVE else theirs
    mounted = standing(seen)
    if mounted:
        raise HvmError(
            f"datasets of the pair are mounted on {passive.name}, which is to become PASSIVE: {', '.join(mounted)}",
            f"If its data are those to go on with: hvm_first_active={passive.name}, unless the other host has a role already. "
            "If they are not, unmount them there, and set canmount=noauto.",
        )


def standing(datasets: inventory.Inventory) -> list[str]:
    """Filesystems with a real mountpoint that are mounted. Pure."""
    return [
        name
        for name, entry in datasets.items()
        if inventory.prop(entry, "mounted") == "yes" and inventory.prop(entry, "mountpoint").startswith("/")
    ]


def _complete(
    config: PairConfig, current: role.Role, filesystems: dict[str, dict[str, t.Any]], check: bool, create: bool
) -> dict[str, t.Any]:
    """A host that has a role keeps it. What has come to the inventory since then is made, where VMs may run beside it."""
    now = current.now(role.boot_id())
    result: dict[str, t.Any] = {"changed": False, "role": now, "epoch": current.epoch, "datasets": []}
    ready = now == role.PASSIVE or (now == role.ACTIVE and role.gate_is_open())
    if not ready or operation.pending() or operation.lock_holder():
        return result
    if now == role.ACTIVE:
        result = {**result, **_address_too(config, current, check)}
    # in the midst of a rollback a root is away under another name; without its pool nothing can be said
    if not create or _pools_gone(config):
        return result
    lacking = _missing_here(config, filesystems, now == role.ACTIVE, create)
    _refuse_moved(config, filesystems, lacking)
    _refuse_used([filesystems[dataset]["mountpoint"] for dataset in lacking.filesystems])
    if lacking.all() and not check:
        with contextlib.ExitStack() as stack:
            _wait_for_lock(stack)
            if role.load() != current or operation.pending():
                return result
            lacking = _missing_here(config, filesystems, now == role.ACTIVE, create)  # another installation may have been first
            _make_above(lacking)
            if now == role.ACTIVE and lacking.roots:
                run(["zfs", "set", "volmode=dev", *lacking.roots])  # as `actions.make_writable` has it
            for dataset in lacking.filesystems:
                what = filesystems[dataset]
                _make_filesystem(dataset, what)
                run(["zfs", "mount", dataset])
                os.chmod(what["mountpoint"], _mode(what))
    return {**result, "changed": result["changed"] or bool(lacking.all()), "datasets": lacking.all()}


def _address_too(config: PairConfig, current: role.Role, check: bool) -> dict[str, t.Any]:
    """The shared addresses of an ACTIVE host that lacks them: the first installation could not take them, or they are new ones.

    That they cannot be taken is a warning: the VMs run here in any case, and another version comes all the same.
    """
    if not config.shared_ips:
        return {}
    try:
        if shared_ip.status(config.shared_ips, config.interface).enabled:
            return {}
        with contextlib.ExitStack() as stack:
            if not check:
                _wait_for_lock(stack)
                if role.load() != current or operation.pending():
                    return {}
            change = shared_ip.enable(config.shared_ips, config.interface, config.gateway, check)
    except HvmError as exc:
        return {"warnings": [f"the shared IP is not enabled on {config.me.name}: {exc}"]}
    if check or not change.changed:
        return {"changed": bool(change.changed)}
    return {"changed": True, "warnings": address.keep_announcing(config.shared_ips, config.interface)}


def _pools_gone(config: PairConfig) -> list[str]:
    return [pool for pool, health in kernel.pool_health(config.pools).items() if health == "missing"]


def _half_copied(config: PairConfig) -> set[str]:
    """Datasets into which a first installation that was cut off was copying: what is in them is not all."""
    there = inventory.read_datasets(config.datasets, more=[layout.COPYING])
    return {name for name, entry in there.items() if entry["props"].get(layout.COPYING, ["-", "-"])[1] == "local"}


def _missing_here(
    config: PairConfig, filesystems: dict[str, dict[str, t.Any]], active: bool, create: bool, half: t.Collection[str] = ()
) -> Missing:
    """:param half: datasets that are there and count as missing.
    :raises HvmError: when a pool is missing, or a dataset that is not to be made.
    """
    gone = _pools_gone(config)
    if gone:
        raise HvmError(
            f"pool {', '.join(gone)} is not there on {config.me.name}",
            f"Import it (zpool import {gone[0]}), describe it in hvm_pools, or make it by hand.",
        )
    above = layout.missing_parents(config.datasets, ())
    there = {*inventory.existing(above), *inventory.read_datasets(config.datasets)}.difference(half)
    lacking = missing(config.datasets, filesystems, there, active)
    if lacking.all() and not create:
        raise HvmError(
            f"there is no dataset {', '.join(lacking.all())} on {config.me.name}, and hvm_create_datasets is false",
            "Make it by hand, with canmount=noauto, or leave hvm_create_datasets out.",
        )
    return lacking


def _refuse_moved(config: PairConfig, filesystems: dict[str, dict[str, t.Any]], lacking: Missing) -> None:
    """Another dataset of the pair's is at a mountpoint already: hvm_datasets has another last root now."""
    places = {point: name for name, point in inventory.mountable(inventory.read_datasets(config.datasets)).items()}
    for dataset in lacking.filesystems:
        point = filesystems[dataset]["mountpoint"]
        if point in places:
            raise HvmError(
                f"{point} is that of {places[point]}, and {dataset} is to be mounted there",
                "Name the place that libvirt's files have: hvm_libvirt_dataset. It is below the last of hvm_datasets otherwise.",
            )


def _refuse_used(mountpoints: t.Sequence[str]) -> None:
    """A new dataset hides what lies at its mountpoint, from VMs that run, too. So there must be nothing."""
    for point in mountpoints:
        if os.path.isdir(point) and os.listdir(point):
            raise HvmError(
                f"{point} is not empty, and a new dataset of hvm_filesystems is to be mounted there",
                "Move away what is there, then run this again, and move it back into the dataset.",
            )


def _take_back(config: PairConfig) -> None:
    """What a removal has left to be mounted at boot is `hv start`'s again: a replica of it would be mounted at boot, too."""
    there = inventory.read_datasets(config.datasets, more=[layout.LET_GO])
    marked = [name for name, entry in there.items() if entry["props"].get(layout.LET_GO, ["-", "-"])[1] in ("local", "received")]
    if marked:
        run(["zfs", "set", "canmount=noauto", *marked])
        run(["zfs", "inherit", layout.LET_GO, *marked])


def _make_above(lacking: Missing) -> None:
    for parent in lacking.parents:
        run(["zfs", "create", "-o", "mountpoint=none", "-o", "canmount=off", parent])
    for root in lacking.roots:
        run(["zfs", "create", "-o", "mountpoint=none", "-o", "canmount=noauto", "-o", "atime=off", root])


def _make_filesystem(dataset: str, what: t.Mapping[str, t.Any]) -> None:
    options = [f"{name}={layout.word(value)}" for name, value in sorted((what.get("properties") or {}).items())]
    words = [word for option in [*options, "canmount=noauto", f"mountpoint={what['mountpoint']}"] for word in ("-o", option)]
    run(["zfs", "create", "-p", *words, dataset])


def _judge(filesystems: t.Mapping[str, t.Any]) -> None:
    """:raises HvmError: for what cannot be made, before anything is."""
    for name, what in filesystems.items():
        point = what.get("mountpoint") if isinstance(what, dict) else None
        if not isinstance(point, str) or not point.startswith("/"):
            raise HvmError(f"dataset {name}: its mountpoint is {point!r}, and no absolute path", "Correct hvm_filesystems.")
        try:
            _mode(what)
        except ValueError:
            raise HvmError(
                f"dataset {name}: its mode is {what['mode']!r}, and no mode of a directory",
                'Write it with quotes in hvm_filesystems, as in mode: "0711".',
            ) from None


def _mode(what: t.Mapping[str, t.Any]) -> int:
    """As Ansible's own modules have it: YAML has read an unquoted 0711 as octal already, so a number is what it is.

    :raises ValueError: for none, and for an unquoted 711: that is 01307, and nobody means that.
    """
    given = what.get("mode", "0755")
    mode = given if isinstance(given, int) else int(given, 8) if isinstance(given, str) else -1
    if isinstance(given, bool) or not 0 <= mode <= 0o7777 or (isinstance(given, int) and mode & 0o700 != 0o700):
        raise ValueError(given)
    return mode


def _take_over(dataset: str, mountpoint: str, mode: int) -> None:
    """Copy what lies at the mountpoint into the dataset; the original stays underneath."""
    temporary = f"{role.RUN}/new"
    if os.path.ismount(temporary):  # of one that was killed; busy while its copy goes on, and then nothing else may
        run(["umount", temporary])
    os.makedirs(temporary, mode=0o700, exist_ok=True)
    os.makedirs(mountpoint, mode=mode, exist_ok=True)
    run(["mount", "-t", "zfs", "-o", "zfsutil", dataset, temporary])
    try:
        os.chmod(temporary, mode)
        run(["cp", "-a", f"{mountpoint}/.", temporary], timeout=COPY)
        os.chmod(temporary, mode)
    finally:
        run(["umount", temporary])
