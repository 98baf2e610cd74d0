# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Out of `migrate unsecure` the way back: every VM on the source again, its overlays in its disks, the other host as before."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import moving, overlay
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import state as vm_state
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import address, checkpoint, hypervisor, overlays, passage
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import qemu_processes
from ansible_collections.hvm.pair.plugins.module_utils._zfs import bases

#: Seconds for one request in which the other host stops its libvirt.
LONG = 1800.0


def go_back(
    config: PairConfig, peer: Peer, progress: Progress, journal: operation.Journal, stopped: bool, held: t.Sequence[str]
) -> dict[str, str]:
    """On the source, which is ACTIVE still. What fails stays where it is, and is told; `recover` does the same again.

    :param stopped: whether libvirt was stopped here. :param held: shared addresses that this host had.
    :return: name of a VM or a thing -> error.
    """
    entry = journal.entry
    operation.noted(lambda: journal.step("coming back"))
    if stopped:
        conn = hypervisor.start(config, int(entry["epoch"]), "the migration was undone", progress)
    else:
        conn = hypervisor.connect_again()
    errors: dict[str, str] = {}
    disks = overlays.disks(entry["overlays"])
    there = _arrived(peer)
    if there is not None:
        with _passage(config, peer, there) as way:
            for name in sorted(disks):
                try:
                    if name in there:
                        bring(conn, way, peer, name, disks[name], name in entry["frozen"])
                        progress.say(f"{name} is back")
                    elif name in entry["begun"]:
                        peer.call("drop", vm=name)
                except Exception as exc:  # noqa: BLE001  the others come back all the same
                    errors[name] = str(exc)
        if not errors:
            peer.call("depart", LONG)
    errors.update(here(config, conn, disks, entry, progress))
    if entry["saved"]:
        saved, back = entry["saved"], list[str]()
        errors.update(checkpoint.restore_all(config, conn, progress, back.append, saved, fresh=saved, force=True))
    for text in address.take_back(config, held):
        progress.say(text)
    if not errors:
        operation.noted(lambda: journal.done("undone: every VM is here again"))
    return errors


def _arrived(peer: Peer) -> set[str] | None:
    """VMs that are on the other host; None when it takes none in."""
    entry = peer.call("observe")["pending"]
    return set(entry["arrived"]) if entry and "arrived" in entry else None


@contextlib.contextmanager
def _passage(config: PairConfig, peer: Peer, there: t.Collection[str]) -> t.Iterator[t.Any]:
    if not there:
        yield None
        return
    with passage.Passage(config, peer) as way:
        yield way


def bring(
    conn: t.Any, way: passage.Passage, peer: Peer, name: str, disks: t.Sequence[overlay.Disk], frozen: bool
) -> None:
    """One VM that is the other host's: it moves here, or its overlays are fetched when it is off there."""
    for disk in disks:
        if os.path.lexists(disk.overlay):
            os.replace(disk.overlay, f"{disk.overlay}.old")
    running = next((one for one in way.libvirt.listAllDomains(1) if one.name() == name), None)  # VIR_CONNECT_LIST_DOMAINS_ACTIVE
    if running is None:
        way.fetch(disks)
    else:
        overlays.make(disks)
        with way.way_back(name) as (memory, nbd):
            moving.move(way.libvirt, conn, name, disks, moving.Way(memory, nbd))
        overlays.durable(disks)
    peer.call("left", vm=name)
    for disk in disks:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{disk.overlay}.old")
    if running is not None and not frozen:
        conn.lookupByName(name).resume()


def here(
    config: PairConfig,
    conn: t.Any,
    disks: t.Mapping[str, t.Sequence[overlay.Disk]],
    entry: t.Mapping[str, t.Any],
    progress: Progress,
) -> dict[str, str]:
    """Those that are on this host go on, and what they have written comes into their disks."""
    bases.reopen(config.datasets)
    for name in disks:
        if name in qemu_processes() and name not in entry["frozen"]:
            dom = conn.lookupByName(name)
            with contextlib.suppress(Exception):  # it runs
                if vm_state.state_of(dom) == vm_state.FROZEN:
                    dom.resume()
    return overlays.fold(config, conn, disks, progress)
