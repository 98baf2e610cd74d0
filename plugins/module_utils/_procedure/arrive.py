# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The host that VMs come to by `migrate unsecure`: what the source asks of it, under the lock of the pair.

It is PASSIVE until the last of them has come, and takes no other VM. A VM is its own from the moment when its journal says so:
that is written before the VM goes on here.
"""

from __future__ import annotations

import contextlib
import functools
import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress, Stopwatch
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, overlay, variables
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import moving as migration
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import state as vm_state
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, moving, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    address,
    checkpoint,
    hypervisor,
    meanwhile,
    overlays,
    relaying,
    serving,
)
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import UNIT, hypervisor_running, qemu_processes
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, bases, content, inventory

OPERATION = moving.OPERATION


def journal_here() -> operation.Journal:
    """That of the VMs that come, or have come. :raises HvmError: when there is none."""
    found = operation.Journal.of_arrival()
    if found is None:
        raise HvmError("no VM is on its way to this host")
    return found


def arrive(config: PairConfig, facts: t.Mapping[str, t.Any], emit: t.Callable[[dict[str, t.Any]], None]) -> dict[str, t.Any]:
    """Make ready: the set's datasets mounted, overlays as on the source, libvirt started with no VM.

    :param facts: ``{set, epoch, vms, frozen, saved, overlays}`` as in the source's journal.
    """
    name, epoch = str(facts["set"]), int(facts["epoch"])
    disks = overlays.disks(facts["overlays"])
    me = observe(config)
    begun = moving.target(me)
    if begun and begun.get("set") == name and not moving.arrived(me) and not (moving.is_ready(me) and hypervisor_running()):
        depart(config)  # it was cut off before it was ready, or is not any more
        me = observe(config)
    findings = guards.arrive(me, epoch, name, *_set_state(config, name))
    if findings:
        raise HvmError(findings[0].what, findings[0].remedy)
    if operation.Journal.of_arrival() is not None:
        return {}  # it is ready
    journal = operation.Journal(OPERATION, **dict(facts), arrived=[], **{operation.SOURCE: config.peer.name})
    journal.step("arrive")
    try:
        actions.make_writable(config.datasets)
        datasets = inventory.read(config.datasets)
        actions.mount_all(datasets)
        actions.wait_devices(datasets)
        bases.shut(datasets)
        emit({"text": "datasets mounted"})
        overlays.directory(config)
        for one in disks.values():
            overlays.make(one)
        hypervisor.drop_autostart_links()
        overlays.sockets(relaying.MOVE)
        role.open_gate(epoch, role.ARRIVING)
        run(["systemctl", "start", UNIT], timeout=120)
        conn = hypervisor.connect_soon()
        try:
            domains.neutralise_autostart(conn)
            for text in domains.start_networks(conn):
                emit({"text": text})
        finally:
            conn.close()
        emit({"text": "ready for the VMs"})
    except BaseException:
        with contextlib.suppress(Exception):
            depart(config)
        raise
    return {}


def _set_state(config: PairConfig, name: str) -> tuple[list[str], bool]:
    """(datasets that are not exactly on this set, whether it is complete)."""
    datasets = inventory.read(config.datasets)
    members = inventory.sets(datasets, config.pair).get(name, {})
    behind = [
        dataset
        for dataset, entry in datasets.items()
        if not entry["snapshots"] or entry["snapshots"][-1][0] != name or inventory.prop(entry, "written") not in ("0", "-")
    ]
    return behind, inventory.is_complete(members, datasets)


def arrived(
    config: PairConfig, name: str, frozen: bool, emit: t.Callable[[dict[str, t.Any]], None] = lambda dummy: None
) -> dict[str, t.Any]:
    """A VM that has come, paused: all that it has is on disk here, then it is this host's, then it goes on.

    One that is off has come with its overlays alone. Again it does nothing, but for one that stands still here.

    :param frozen: whether somebody had frozen it when it left.
    """
    journal = journal_here()
    entry = journal.entry
    if name not in entry["overlays"]:
        raise HvmError(f"VM {name} is not among those that come: {', '.join(sorted(entry['overlays']))}")
    role.comes_no_more(name)
    overlays.durable(overlays.disks(entry["overlays"])[name])
    _take_rest(name)
    if name not in entry["arrived"]:
        stand = {*entry["frozen"], name} if frozen else set(entry["frozen"]) - {name}
        journal.step("arrived", arrived=sorted({*entry["arrived"], name}), frozen=sorted(stand))
    conn = domains.connect()
    try:
        dom = conn.lookupByName(name)
        if vm_state.state_of(dom) == vm_state.FROZEN and not frozen:
            dom.resume()
            emit({"resumed": name})
        variables.durable(variables.of(dom.XMLDesc(0)))
        return {"runs": vm_state.state_of(dom) == vm_state.RUNNING}
    finally:
        conn.close()


def _take_rest(name: str) -> None:
    """Of a VM that has come as files, what is no disk."""
    rest = overlay.rest_path(name)
    if os.path.lexists(rest):
        if name not in qemu_processes():
            conn = domains.connect()
            try:
                variables.unpack(variables.of(conn.lookupByName(name).XMLDesc(0)), rest)
            finally:
                conn.close()
        os.unlink(rest)


def pack(config: PairConfig, name: str, own: variables.Own) -> dict[str, t.Any]:
    """Of a VM that is off here and goes back, what is no disk. Also after a reboot, when nothing of libvirt's is mounted.

    :return: ``{packed}``: whether there was anything.
    """
    entry = journal_here().entry
    if name not in entry["arrived"] or name in qemu_processes():
        raise HvmError(f"VM {name} has not arrived here, or runs")
    overlays.directory(config, make=False)
    datasets = inventory.read(config.datasets)
    with contextlib.ExitStack() as stack:

        @functools.cache
        def mounted(what: str) -> str:
            return stack.enter_context(content.mounted(what))

        def where(path: str, at: str = "") -> str:
            inside = [(point, one) for one, point in inventory.mountable(datasets).items() if path.startswith(f"{point}/")]
            if not inside or (not at and inventory.prop(datasets[max(inside)[1]], "mounted") == "yes"):
                return "" if at else path
            point, dataset = max(inside)
            return os.path.join(mounted(f"{dataset}{at}"), os.path.relpath(path, point))

        return {"packed": variables.pack(own, overlay.rest_path(name), where, lambda path: where(path, f"@{entry['set']}"))}


def left(config: PairConfig, name: str) -> dict[str, t.Any]:
    """A VM that goes back: it is the source's, before it goes on there.

    :return: ``{moved}``: whether it is off here because it has moved, and not by itself.
    """
    journal = journal_here()
    if name in qemu_processes():  # also when libvirt has died
        raise HvmError(f"VM {name} has a process here")
    conn = domains.connect() if hypervisor_running() else None
    try:
        moved = conn is not None and migration.has_gone(conn, name)
    finally:
        if conn is not None:
            conn.close()
    journal.step("left", arrived=sorted(set(journal.entry["arrived"]).difference([name])))
    return {"moved": moved}


def drop(config: PairConfig, name: str) -> dict[str, t.Any]:
    """What a failed move has left of a VM that is not this host's: it has never run here."""
    if name in journal_here().entry["arrived"]:
        raise HvmError(f"VM {name} has arrived, and is not dropped")
    role.comes_no_more(name)
    runs = hypervisor_running()
    if runs:
        conn = domains.connect()
        try:
            with contextlib.suppress(Exception):  # there is none
                conn.lookupByName(name).destroy()
        finally:
            conn.close()
    for disk in overlays.disks(journal_here().entry["overlays"])[name]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(disk.overlay)
        if runs:  # else the disk below is not mounted, maybe, and `arrive` makes all of them anew
            overlay.make(disk)
    return {}


def alone(config: PairConfig, here: t.Collection[str]) -> dict[str, t.Any]:
    """What the journal of an operation takes over from that of a move, when this host goes on without the other one.

    :param here: VMs whose overlays are theirs. What lies here of others is half a copy, and goes: they go on from the set.
    :return: ``{overlays, frozen}``
    """
    entry = operation.pending() or {}
    with contextlib.suppress(HvmError):  # else nothing is seen of it; whoever needs it mounts it, and says why he cannot
        overlays.directory(config, make=False)
    half = {vm: disks for vm, disks in overlays.of_journal(entry).items() if vm not in here}
    for vm in half if moving.target({"pending": entry}) and hypervisor_running() else ():
        drop(config, vm)
    overlays.forget(half)
    mine = {vm: disks for vm, disks in (entry.get("overlays") or {}).items() if vm in here}
    return {"overlays": mine, "frozen": list(entry.get("frozen", ()))}


def depart(config: PairConfig) -> dict[str, t.Any]:
    """As it was before `arrive`: no VM, libvirt stopped, on the set, inert. Again it changes nothing.

    :return: ``{changed, warnings}``: what somebody had changed here meanwhile.
    """
    journal = operation.Journal.of_arrival()
    if journal is None:
        return {"changed": False, "warnings": []}
    here = journal.entry["arrived"]
    if here:
        raise HvmError(f"VMs have arrived here: {', '.join(here)}", "They go back first: hvm.pair.recover on the other host.")
    if hypervisor_running():
        conn = domains.connect()
        for name in qemu_processes():
            conn.lookupByName(name).destroy()  # it stands, and has never run here
        conn.close()
    bases.reopen(config.datasets)
    hypervisor.stop(config, Progress())
    overlays.refuse_newer(config, str(journal.entry["set"]))  # before anything is kept: that would be so each time
    kept = meanwhile.keep(config, str(journal.entry["set"]), list(journal.entry["overlays"]))
    overlays.back_to(config, str(journal.entry["set"]))
    with contextlib.suppress(HvmError):
        overlays.directory(config, make=False)
    overlays.forget(overlays.disks(journal.entry["overlays"]))
    role.shut_gate()
    journal.done("the VMs are on the other host")
    return {"changed": True, "warnings": kept}


def take_over(config: PairConfig, emit: t.Callable[[dict[str, t.Any]], None]) -> dict[str, t.Any]:
    """Every VM is here: become ACTIVE, restore those that were saved, take the shared IP. The source has given its role away.

    :return: ``{steps, errors, warnings}``
    """

    class Told(Progress):
        def say(self, text: str, **facts: t.Any) -> None:
            super().say(text, **facts)
            emit({"text": text})

    progress, watch = Told(), Stopwatch()
    journal = journal_here()
    entry = journal.entry
    findings = guards.take_over(observe(config), int(entry["epoch"]), str(entry["set"]), list(entry["overlays"]))
    if findings:
        raise HvmError(findings[0].what, findings[0].remedy)
    journal.step("take over")
    bases.reopen(config.datasets)
    role.record(role.ACTIVE, int(entry["epoch"]), f"{role.TOOK_OVER} {OPERATION}")
    watch.step("target: ACTIVE")
    errors: dict[str, str] = {}
    warnings: list[str] = []
    resumed: list[str] = []
    conn = hypervisor.connect_soon()
    try:
        if entry["saved"]:

            def left() -> set[str]:
                return set(entry["saved"]).difference(resumed)

            conn, errors = checkpoint.restore_lasting(config, conn, progress, resumed.append, left)
            for vm in resumed:
                emit({"resumed": vm})
            watch.step("target: restore VMs")
        try:
            address.take(config)
        except Exception as exc:  # noqa: BLE001  the VMs run here, so this host stays ACTIVE
            errors["the shared IP"] = str(exc)
        watch.step("target: shared IP on")
        warnings += operation.noted(lambda: journal.step("commit"))
        failed = overlays.fold(conn, overlays.disks(entry["overlays"]), progress)
        errors.update(failed)
        warnings += serving.put_overlays_beside(config, conn, failed)
        watch.step("target: overlays into the disks")
    finally:
        conn.close()
    if not failed:
        warnings += operation.noted(lambda: journal.done(f"{config.me.name} is ACTIVE"))
    warnings += address.keep_announcing(config.shared_ips, config.interface) + checkpoint.set_clocks(resumed)
    return {"steps": watch.steps, "errors": errors, "warnings": warnings}
