# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""`hvm vms status` and `hvm vms list`: the VMs of this host, as data and as the manual's lists. Changes nothing."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.mounts import zfs_mounts
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, image
from ansible_collections.hvm.pair.plugins.module_utils._pair import role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import hypervisor_running, qemu_processes

Vms = t.Mapping[str, t.Mapping[str, t.Any]]
#: Ours are the words of the other modules; the manual writes "freezed".
_WORDS = {domains.FROZEN: "freezed"}


@dataclasses.dataclass(frozen=True)
class Filter:
    """What to show. None and empty: whatever it is.

    :ivar flags: key of a VM's data (autostart, autobackup, saved, snapshots) -> the value that it must have.
    """

    names: t.Sequence[str] = ()
    states: t.Sequence[str] = ()
    flags: t.Mapping[str, bool] = dataclasses.field(default_factory=dict)


def select(vms: Vms, wanted: Filter) -> dict[str, t.Mapping[str, t.Any]]:
    """Pure."""
    return {
        name: vm
        for name, vm in vms.items()
        if (not wanted.names or name in wanted.names)
        and (not wanted.states or vm["state"] in wanted.states)
        and all(vm[key] == value for key, value in wanted.flags.items())
    }


def lists(vms: Vms, saved: t.Sequence[str]) -> dict[str, list[str]]:
    """The manual's lists, one line per VM; `autobackup` is ours. Pure.

    :param saved: VMs with a state image; libvirt need not know them.
    """
    width = max(map(len, vms), default=0)

    def names(key: str, value: t.Any = True) -> list[str]:
        return [name for name, vm in vms.items() if vm[key] == value]

    by_priority = sorted(vms, key=lambda name: (vms[name]["priority"], name))
    return {
        "all": [f"{name:<{width}}  {_WORDS.get(vm['state'], vm['state'])}" for name, vm in vms.items()],
        "running": names("state", domains.RUNNING),
        "freezed": names("state", domains.FROZEN),
        "stopped": names("state", domains.STOPPED),
        "backups": list(saved),
        "snapshots": names("snapshots"),
        "autostart": names("autostart"),
        "autobackup": names("autobackup"),
        "prio": [f"{vms[name]['priority']:>2}  {name}" for name in by_priority],
    }


def look(config: PairConfig, wanted: Filter) -> dict[str, t.Any]:
    """On any host, in any role.

    :return: ``{changed, host, role, status, vms, saved, lists, unknown}``; `unknown` has a sentence for each thing that cannot be
        told here, so that nobody takes an empty list for "none".
    :raises Refused: for a name that libvirt does not know, where it could be asked.
    """
    now = role.load().now(role.boot_id())
    vms: dict[str, dict[str, t.Any]] = {}
    unknown = []
    saved = image.saved_names(config.state_dir)
    if hypervisor_running():
        try:
            conn = domains.connect()
        except HvmError as exc:
            unknown.append(f"the VMs are not known: {exc}")
        else:
            vms = domains.vms(conn, config.state_dir)
            conn.close()
            domains.check_names(wanted.names, {*vms, *saved})
    elif now == role.ACTIVE:
        unknown.append("the VMs are not known: the hypervisor is stopped")
    else:
        unknown.append(f"the VMs are not known: this host is {now}, and their definitions lie in datasets that are not mounted")
    if not _mounted(config):
        unknown.append(f"the state images are not known: {config.state_dir} is not mounted")
    processes = qemu_processes()
    for name, vm in vms.items():
        del vm["needs"], vm["obstacles"]  # for a migration only, and long
        if vm["state"] == domains.STOPPED and name in processes:
            vm["state"] = domains.OTHER  # crashed and kept, or not to be killed: in any case not proven stopped
    found = select(vms, wanted)
    narrowed = wanted.states or wanted.flags
    saved = [name for name in saved if (name in found if narrowed else not wanted.names or name in wanted.names)]
    return {
        "changed": False,
        "host": config.me.name,
        "role": now,
        "status": f"VMs are {'running' if processes else 'stopped'}",
        "vms": found,
        "saved": saved,
        "lists": lists(found, saved),
        "unknown": unknown,
    }


def _mounted(config: PairConfig) -> bool:
    """Whether the state directory is on one of the pair's datasets now: under a mountpoint that is not mounted lies nothing."""
    dummy, dataset = image.dataset_of(os.path.join(config.state_dir, "NAME.state"), zfs_mounts())
    return any(dataset == root or dataset.startswith(f"{root}/") for root in config.datasets)
