# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The first roles of a new pair. Done once; a host that has a role keeps it."""

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
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory

#: Seconds that another installation may take to give this host its role, and between two looks.
PATIENCE, POLL = 600.0, 0.5


def initialise(config: PairConfig, active: str, filesystems: dict[str, dict[str, t.Any]], check: bool) -> dict[str, t.Any]:
    """:param active: name of the host that becomes ACTIVE in a new pair.
    :param filesystems: dataset -> ``{mountpoint, properties}``; made on the ACTIVE host when missing, with what lies at the
        mountpoint.
    """
    config.host(active)
    current = role.load()
    if current.role != role.UNKNOWN:
        return {"changed": False, "role": current.now(role.boot_id()), "epoch": current.epoch}
    with Peer(config) as peer:
        theirs = peer.hello["role"]
    wanted = role.ACTIVE if active == config.me.name else role.PASSIVE
    if theirs["role"] in (role.ACTIVE, role.DIVERGED):
        wanted = role.PASSIVE  # a host that was rebuilt joins the pair that goes on
    if qemu_processes():
        raise HvmError(
            f"VMs run on {config.me.name} ({', '.join(qemu_processes())}) while the pair is being made",
            "Shut them down for the installation.",
        )
    if check:
        return {"changed": True, "role": wanted, "epoch": 1 if wanted == role.ACTIVE else 0}
    progress = Progress()
    with contextlib.ExitStack() as stack:
        _wait_for_lock(stack)
        current = role.load()
        if current.role != role.UNKNOWN:
            return {"changed": False, "role": current.now(role.boot_id()), "epoch": current.epoch}
        # libvirt of a bare host may run: it reads the files that are about to move
        run(["systemctl", "stop", "libvirtd.service", *SOCKETS])
        if wanted == role.ACTIVE:
            _make_datasets(config, filesystems)
            hypervisor.start(config, 1, "first ACTIVE host of a new pair", progress).close()
            if config.shared_ips:
                shared_ip.enable(config.shared_ips, config.interface)
                address.keep_announcing(config.shared_ips, config.interface)
        else:
            hypervisor.stop(config, progress)
            role.record(role.PASSIVE, 0, "PASSIVE host of a new pair")
    return {"changed": True, "role": wanted, "epoch": role.load().epoch}


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


def _make_datasets(config: PairConfig, filesystems: dict[str, dict[str, t.Any]]) -> None:
    there = inventory.read(config.datasets)
    for root in config.datasets:
        if root not in there:
            run(["zfs", "create", "-o", "mountpoint=none", "-o", "canmount=noauto", "-o", "atime=off", root])
    for dataset, what in sorted(filesystems.items(), key=lambda item: (item[1]["mountpoint"].count("/"), item[0])):
        if dataset in there:
            continue
        if not any(dataset.startswith(root + "/") for root in config.datasets):
            raise HvmError(f"dataset {dataset} is not below the pair's datasets", "Correct hvm_filesystems.")
        options = [f"{name}={value}" for name, value in sorted((what.get("properties") or {}).items())]
        words = [word for option in [*options, "canmount=noauto", f"mountpoint={what['mountpoint']}"] for word in ("-o", option)]
        run(["zfs", "create", "-p", *words, dataset])
        _take_over(dataset, what["mountpoint"], int(str(what.get("mode", "0755")), 8))


def _take_over(dataset: str, mountpoint: str, mode: int) -> None:
    """Copy what lies at the mountpoint into the dataset; the original stays underneath."""
    temporary = f"{role.RUN}/new"
    os.makedirs(temporary, mode=0o700, exist_ok=True)
    os.makedirs(mountpoint, mode=mode, exist_ok=True)
    run(["mount", "-t", "zfs", "-o", "zfsutil", dataset, temporary])
    try:
        os.chmod(temporary, mode)
        run(["cp", "-a", f"{mountpoint}/.", temporary])
        os.chmod(temporary, mode)
    finally:
        run(["umount", temporary])
