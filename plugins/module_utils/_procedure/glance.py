# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What a sync has to know of a host before it begins: the part of `observe` that loads little and is quick."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import succeeds
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure.early import Reading, read_newest
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, kernel

UNIT = "libvirtd.service"
SOCKETS = ("libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket")


def hypervisor_running() -> bool:
    return succeeds(["systemctl", "is-active", "--quiet", UNIT, SOCKETS[0]])  # 0 when one of them is (systemctl(1))


def qemu_processes() -> list[str]:
    """VMs that run, by QEMU's own command line: true also when libvirt is stopped or broken."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as handle:
                words = handle.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if os.path.basename(words[0]).startswith(("qemu-system-", "qemu-kvm", "kvm")) and "-name" in words:
            found.append(guest_name(words[words.index("-name") + 1]))
    return sorted(found)


def guest_name(word: str) -> str:
    """Of QEMU's option -name; a comma in a value is written twice (qemu(1))."""
    return t.cast("re.Match[str]", re.match(r"(?:[^,]|,,)*", word.removeprefix("guest=")))[0].replace(",,", ",")


def host(config: PairConfig) -> dict[str, t.Any]:
    """What is known without a look into the pools, and without libvirt."""
    return {
        "pair": config.pair,
        "host": config.me.name,
        "peer": config.peer.name,
        "address": config.me.address,
        "role": role.as_dict(role.load()),
        "gate_open": role.gate_is_open(),
        "gate": role.gate_says(),
        "qemu": qemu_processes(),
        "pools": kernel.pool_health(config.pools),
        "datasets": list(config.datasets),
        "lock": operation.lock_holder(),
        "pending": operation.pending(),
    }


def storage(config: PairConfig, datasets: inventory.Inventory, now: str) -> dict[str, t.Any]:
    """:param now: this host's role."""
    return {
        "dataset_names": sorted(datasets),
        "missing_datasets": [root for root in config.datasets if root not in datasets],
        "locked": [name for name, entry in datasets.items() if inventory.prop(entry, "keystatus") == "unavailable"],
        "mountpoints": list(inventory.mountable(datasets).values()),
        "mounted_otherwise": inventory.mounted_otherwise(datasets),
        "not_inert": [] if now == role.ACTIVE else inventory.not_inert(datasets),
    }


def look(
    config: PairConfig, datasets_of: t.Callable[[PairConfig], inventory.Inventory] = read_newest
) -> tuple[dict[str, t.Any], inventory.Inventory]:
    """The observation, as far as a sync is decided by it, and the inventory that it was made from; all read at the same time."""
    running = Reading(hypervisor_running)
    reading = Reading(lambda: datasets_of(config))
    found = host(config)
    datasets = reading.result()
    return {**found, **storage(config, datasets, found["role"]["now"]), "hypervisor": {"running": running.result()}}, datasets
