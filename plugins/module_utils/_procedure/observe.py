# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Everything that a decision about this host needs, read in one go, as JSON-serialisable data."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import answering, domains, needs
from ansible_collections.hvm.pair.plugins.module_utils._net import shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint_file
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import networks, overlays
from ansible_collections.hvm.pair.plugins.module_utils._procedure.early import read_datasets
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import UNIT, host, hypervisor_running, storage
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, inventory


def emulators() -> list[str]:
    return sorted(f"/usr/bin/{name}" for name in os.listdir("/usr/bin") if name.startswith(("qemu-system-", "kvm")))


def _memory_available_kib() -> int:
    with open("/proc/meminfo", encoding="ascii") as handle:
        for line in handle:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1])
    return 0


def _free(path: str) -> int | None:
    try:
        stat = os.statvfs(path)
    except OSError:
        return None
    return stat.f_bavail * stat.f_frsize


def observe(config: PairConfig, users: bool = False, datasets: inventory.Inventory | None = None) -> dict[str, t.Any]:
    """:param users: also look which processes use the mounted datasets (walks /proc).
    :param datasets: what `read_datasets` has just read; read here when left out.
    """
    if datasets is None:
        datasets = read_datasets(config)
    running = hypervisor_running()
    found = _host(config)
    found.update(storage(config, datasets, found["role"]["now"]), hypervisor={"running": running})
    found["mounted_elsewhere"] = actions.mounted_elsewhere(datasets)
    found["sets"] = _sets(datasets, config.pair)
    if running:
        try:
            conn = domains.connect()
            try:
                found["vms"] = domains.vms(conn, config.state_dir)
                found["network_bridges"] = domains.network_bridges(conn)
                found["defined"] = needs.definitions(conn)
                live = [name for name, vm in found["vms"].items() if vm["state"] in (domains.RUNNING, domains.FROZEN)]
                for name in answering.silent(domains.connect, live):
                    found["vms"][name]["silent"] = True
            finally:
                conn.close()
        except HvmError as exc:
            found["vms_error"] = str(exc)
    if users:
        ours = ("libvirtd", "qemu-system", "dnsmasq", "virtlogd")
        points = [*found["mountpoints"], *(point for dummy, point in found["mounted_elsewhere"])]
        for point, names in actions.users_of(points).items():
            foreign = [name for name in names if not name.startswith(ours)]
            if foreign:
                found["foreign_users"][point] = foreign
    return found


def _host(config: PairConfig) -> dict[str, t.Any]:
    """What is known without a look into the pools, and without libvirt."""
    return {
        **host(config),
        "shared_ip": _shared_ip(config),
        "vms": {},
        "network_bridges": {},
        "saved": domains.saved_names(config.state_dir),
        "state_dir": config.state_dir,
        "state_dir_free": _free(config.state_dir),
        "memory_available_kib": _memory_available_kib(),
        "bridges": sorted(name for name in os.listdir("/sys/class/net") if os.path.isdir(f"/sys/class/net/{name}/bridge")),
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "emulators": emulators(),
        "foreign_users": {},
        "overlays": overlays.left(),
        "overlay_bytes": overlays.sizes(),
        "constraint": constraint_file.current_sentence(),
        "networks": networks.summary(config),
    }


def _shared_ip(config: PairConfig) -> dict[str, t.Any]:
    if not config.shared_ips:
        return {"interface": "", "enabled": False, "addresses": {}, "in_use_by_us": False}
    status = shared_ip.status(config.shared_ips, config.interface)
    return {
        "interface": config.interface,
        "enabled": status.enabled,
        "addresses": {address: where.enabled for address, where in zip(config.shared_ips, status.addresses, strict=True)},
        "in_use_by_us": bool(shared_ip.over_shared_ip(config.shared_ips)),
    }


def _sets(datasets: inventory.Inventory, pair: str) -> list[dict[str, t.Any]]:
    return [
        {"name": name, "complete": inventory.is_complete(members, datasets), "datasets": len(members)}
        for name, members in inventory.sets(datasets, pair).items()
    ]


def daemon_failure() -> str:
    try:
        return run(["journalctl", "-u", UNIT, "-n", "3", "--no-pager", "-o", "cat"]).strip().replace("\n", "; ")
    except CommandError:
        return ""
