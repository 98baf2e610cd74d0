# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""`hvm hv start` and `hvm hv stop`: mount the datasets, open the gate, start libvirt; and the reverse."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains
from ansible_collections.hvm.pair.plugins.module_utils._pair import role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import overlays
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import SOCKETS, UNIT, hypervisor_running, qemu_processes
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import daemon_failure
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, inventory

AUTOSTART = "/etc/libvirt/qemu/autostart"


def start(
    config: PairConfig,
    epoch: int,
    reason: str,
    progress: Progress,
    seen: int | None = None,
    elsewhere: t.Collection[str] = (),
) -> t.Any:
    """Make this host ACTIVE in `epoch`; returns a libvirt connection. The caller has asked the guards.

    :param seen: the other host's epoch, when it has just been asked.
    :param elsewhere: VMs that are the other host's, or may be: nobody starts them here.

    Whatever fails leaves the gate shut and the datasets as `stop` leaves them.
    """
    previous = role.load()
    role.in_use()
    try:
        actions.make_writable(config.datasets)
        datasets = inventory.read(config.datasets)
        actions.mount_all(datasets)
        actions.wait_devices(datasets)
        progress.say("datasets mounted")
        drop_autostart_links()
        role.keep_away(elsewhere, config.peer.name)
        role.record(role.ACTIVE, epoch, reason, seen=seen)
        try:
            run(["systemctl", "start", UNIT], timeout=120)
        except CommandError as exc:
            raise HvmError(f"libvirt does not start: {daemon_failure() or exc}", "See journalctl -u libvirtd.") from exc
        conn = connect_soon()
        overlays.mend(config, conn, progress)
        domains.neutralise_autostart(conn)
        for text in domains.start_networks(conn):
            progress.say(text)
        progress.say("hypervisor running")
        return conn
    except BaseException:
        with contextlib.suppress(Exception):
            stop(config, progress)
            role.write(previous if previous.role != role.ACTIVE else previous._replace(clean=role.load().clean))
        raise


def stop(config: PairConfig, progress: Progress, conn: t.Any = None, keep_writable: bool = False) -> None:
    """Stop libvirt, shut the gate, unmount everything, make the datasets inert. The role is the caller's.

    :raises HvmError: when a VM runs: a hypervisor is never stopped under its VMs.
    """
    running = qemu_processes()
    if running:
        raise HvmError(f"VMs are running: {', '.join(running)}", "Shut them down, save them, or migrate them first.")
    if hypervisor_running():
        try:
            used = answering(conn) if conn else domains.connect()
        except HvmError:
            used = None  # a daemon that does not come up: no VM runs, and all else is to be as it was
        try:
            if used is not None:
                domains.stop_networks(used)
        finally:
            if used is not None and used is not conn:
                used.close()
        role.shut_gate()
        run(["systemctl", "stop", UNIT, *SOCKETS], timeout=120)
    role.shut_gate()
    progress.say("hypervisor stopped")
    datasets = inventory.read(config.datasets)
    actions.unmount_all(datasets)
    role.stopped_in_order()
    if not keep_writable:
        actions.make_inert(config.datasets, datasets)
    progress.say("datasets unmounted")


def connect_again() -> t.Any:
    """A connection on a host whose hypervisor is started, also when its daemon has died; the VMs do not need it to live."""
    run(["systemctl", "start", UNIT], timeout=120)
    return connect_soon()


def answering(conn: t.Any) -> t.Any:
    """This connection, or a new one when its daemon has died meanwhile.

    It is asked, since without libvirt's event loop virConnectIsAlive does not notice that the other end has gone.
    """
    try:
        conn.getLibVersion()
    except Exception:  # noqa: BLE001  libvirtError; why does not matter
        return connect_again()
    return conn


def ended(conn: t.Any, state_dir: str, names: t.Iterable[str], timeout: float = 30.0) -> None:
    """Wait until libvirt has ended these VMs or knows that they run, after its daemon has died while it started them.

    It ends those that were not quite started (qemuProcessReconnect); until then it calls them paused. One that stays so is for
    whoever looks next.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        infos = domains.vms(conn, state_dir)
        if not any(infos[name]["state"] in (domains.FROZEN, domains.OTHER) for name in names if name in infos):
            break
        time.sleep(0.2)


def drop_autostart_links() -> None:
    # libvirt would act on them before we could ask it not to
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(AUTOSTART):
            os.unlink(os.path.join(AUTOSTART, name))


def connect_soon(timeout: float = 60) -> t.Any:
    deadline = time.monotonic() + timeout
    while True:
        try:
            return domains.connect()
        except HvmError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
