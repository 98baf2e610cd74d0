# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Everything that a decision about this host needs, read in one go, as JSON-serialisable data."""

from __future__ import annotations

import concurrent.futures
import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run, succeeds
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, needs
from ansible_collections.hvm.pair.plugins.module_utils._net import shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint_file, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure.early import read_datasets, read_newest
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, inventory, kernel

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
            found.append(words[words.index("-name") + 1].removeprefix("guest=").split(",")[0])
    return sorted(found)


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


def look(
    config: PairConfig, datasets_of: t.Callable[[PairConfig], inventory.Inventory] = read_newest
) -> tuple[dict[str, t.Any], inventory.Inventory]:
    """The observation, without sets and VMs, and the inventory that it was made from: what a sync begins with.

    As fast as it goes: all at the same time, and libvirt is not asked.
    """
    with concurrent.futures.ThreadPoolExecutor(2) as beside:
        running = beside.submit(hypervisor_running)
        reading = beside.submit(datasets_of, config)
        found = _host(config)
        datasets = reading.result()
        found.update(_storage(config, datasets, found["role"]["now"]), sets=[], hypervisor={"running": running.result()})
        return found, datasets


def observe(config: PairConfig, users: bool = False, datasets: inventory.Inventory | None = None) -> dict[str, t.Any]:
    """:param users: also look which processes use the mounted datasets (walks /proc).
    :param datasets: what `read_datasets` has just read; read here when left out.
    """
    if datasets is None:
        datasets = read_datasets(config)
    running = hypervisor_running()
    found = _host(config)
    found.update(_storage(config, datasets, found["role"]["now"]), hypervisor={"running": running})
    found["sets"] = _sets(datasets, config.pair)
    if running:
        try:
            conn = domains.connect()
            try:
                found["vms"] = domains.vms(conn, config.state_dir)
                found["network_bridges"] = domains.network_bridges(conn)
                found["defined"] = needs.definitions(conn)
            finally:
                conn.close()
        except HvmError as exc:
            found["vms_error"] = str(exc)
    if users:
        ours = ("libvirtd", "qemu-system", "dnsmasq", "virtlogd")
        for point, names in actions.users_of(found["mountpoints"]).items():
            foreign = [name for name in names if not name.startswith(ours)]
            if foreign:
                found["foreign_users"][point] = foreign
    return found


def _host(config: PairConfig) -> dict[str, t.Any]:
    """What is known without a look into the pools, and without libvirt."""
    return {
        "pair": config.pair,
        "host": config.me.name,
        "peer": config.peer.name,
        "address": config.me.address,
        "role": role.as_dict(role.load()),
        "gate_open": role.gate_is_open(),
        "qemu": qemu_processes(),
        "shared_ip": _shared_ip(config),
        "pools": kernel.pool_health(config.pools),
        "datasets": list(config.datasets),
        "lock": operation.lock_holder(),
        "pending": operation.pending(),
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
        "constraint": constraint_file.current_sentence(),
    }


def _storage(config: PairConfig, datasets: inventory.Inventory, now: str) -> dict[str, t.Any]:
    """:param now: this host's role."""
    return {
        "dataset_names": sorted(datasets),
        "missing_datasets": [root for root in config.datasets if root not in datasets],
        "mountpoints": list(inventory.mountable(datasets).values()),
        "not_inert": [] if now == role.ACTIVE else actions.is_inert(config.datasets, datasets),
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


def status_lines(found: dict[str, t.Any]) -> list[str]:
    """The manual's three lines, exactly."""
    return [
        f"Hypervisor is {'running' if found['hypervisor']['running'] else 'stopped'}",
        f"Shared IP is {'enabled' if found['shared_ip']['enabled'] else 'disabled'}",
        f"VMs are {'running' if found['qemu'] else 'stopped'}",
    ]


def daemon_failure() -> str:
    try:
        return run(["journalctl", "-u", UNIT, "-n", "3", "--no-pager", "-o", "cat"]).strip().replace("\n", "; ")
    except CommandError:
        return ""
