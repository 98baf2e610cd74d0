# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Out of `migrate unsecure` the way back: every VM on the source again, its overlays in its disks, the other host as before."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import moving as migration
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import overlay, variables
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import state as vm_state
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, modes, moving, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Event, Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    address,
    checkpoint,
    hypervisor,
    overlays,
    passage,
    serving,
)
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import qemu_processes
from ansible_collections.hvm.pair.plugins.module_utils._zfs import bases

#: What becomes of a VM that does not come back while it runs.
AS_FILES = "Shut the VM down there, then hvm.pair.recover: it comes back as files, with all its disks, and can be started here."
#: Seconds for one request in which the other host stops its libvirt, or brings a VM's overlays to disk.
LONG = 1800.0
#: Seconds after which the other host is looked at again before a VM comes back.
LOOK_AGAIN = 10.0


def go_back(
    config: PairConfig, peer: Peer, progress: Progress, journal: operation.Journal, stopped: bool, held: t.Sequence[str]
) -> dict[str, str]:
    """On the source, which is ACTIVE still. What fails stays where it is, and is told; `recover` does the same again.

    :param stopped: whether libvirt was stopped here. :param held: shared addresses that this host had.
    :return: name of a VM or a thing -> error.
    """
    entry = journal.entry
    early = entry["step"] == moving.OVERLAYS  # one may stand whose overlay has just begun
    operation.noted(lambda: journal.step(moving.COMING_BACK))
    bases.reopen(config.datasets)
    if stopped:
        away = moving.may_be_there(entry)
        conn = hypervisor.start(config, role.load().epoch, "the migration was undone", progress, elsewhere=away)
    else:
        conn = hypervisor.connect_again()
    # none of them has begun to come back, so one that stands here, and has not moved, has never run there
    go_on(conn, entry, entry["overlays"] if early else set(entry["begun"]).difference(entry["moved"]))
    try:
        errors = bring_back(config, peer, conn, journal, progress)
    except HvmError as exc:
        errors = {config.peer.name: str(exc), **dict.fromkeys(entry["begun"], "it may be there")}
    if not errors:
        role.keep_away((), "")
    errors.update(here(conn, entry, progress, errors))
    for text in serving.put_overlays_beside(config, conn, errors):
        progress.say(text)
    saved = sorted(set(entry["saved"]).difference(qemu_processes()))  # the turn of the others to be saved had not come
    if saved:
        back = list[str]()

        def left() -> set[str]:
            return set(saved).difference(back)

        errors.update(checkpoint.restore_lasting(config, conn, progress, back.append, left, own=True, force=True)[1])
    for text in address.take_back(config, held):
        progress.say(text)
    if not errors:
        operation.noted(lambda: journal.done("undone: every VM is here again"))
    return errors


def bring_back(
    config: PairConfig,
    peer: Peer,
    conn: t.Any,
    journal: operation.Journal,
    progress: Progress,
    warnings: list[str] | None = None,
) -> dict[str, str]:
    """Every VM that has arrived on the other host; then that one is as it was before.

    :param warnings: to which what that host had to say is added. :return: name -> error
    """
    entry, other, seen = journal.entry, peer.call("observe"), time.monotonic()
    disks, errors = overlays.of_journal(entry), dict[str, str]()
    if not moving.is_same(entry, moving.target(other)):
        return errors  # it has not begun, or has ended, its part; or was given up, and what it has is no more than its own
    there = moving.arrived(other)

    def heard(what: dict[str, t.Any]) -> None:
        if what.get("text"):
            progress.say(f"{config.peer.name}: {what['text']}")

    with passage.Passage(config, peer) as way:
        for name in sorted({*there, *entry["begun"]}.intersection(disks)):
            try:
                if time.monotonic() >= seen + LOOK_AGAIN:  # this one may have ended since
                    other, seen = peer.call("observe"), time.monotonic()
                if name in there:
                    _bring(conn, way, peer, name, disks[name], other, journal)
                    progress.say(f"{name} is back")
                elif _drop(conn, way, peer, name, other, name in entry["frozen"], heard):
                    _bring(conn, way, peer, name, disks[name], peer.call("observe"), journal)
                    progress.say(f"{name} is back")
            except Exception as exc:  # noqa: BLE001  the others come back all the same
                errors[name] = str(exc)
    if not errors:
        try:
            said = [f"{config.peer.name}: {text}" for text in peer.call("depart", LONG, heard).get("warnings", ())]
        except HvmError as exc:
            return {config.peer.name: str(exc).removeprefix(f"{config.peer.name}: ")}  # every VM is here all the same
        for text in said:
            progress.say(text)
        (warnings if warnings is not None else []).extend(said)
    return errors


def _drop(
    conn: t.Any, way: passage.Passage, peer: Peer, name: str, other: guards.Observation, frozen: bool, heard: Event
) -> bool:
    """Of a VM that was to move, and is not the other host's, nothing is left there. One that is off because of that starts here.

    One that has gone here and stands there, whole, becomes that host's all the same: so it keeps its memory.

    :return: whether that has happened, so that it comes back.
    """
    if name in other["qemu"] and migration.has_gone(conn, name) and migration.has_moved(conn, way.libvirt, name):
        if name in qemu_processes():
            what = f"VM {name} has moved, and its QEMU here has not ended"
            raise HvmError(what, "See journalctl -u libvirtd; then hvm.pair.recover.")
        role.goes_away(name, other["host"])
        with contextlib.suppress(HvmError):  # as it has failed before, maybe
            peer.call("arrived", LONG, heard, vm=name, frozen=frozen)
            return True
    peer.call("drop", vm=name)
    role.is_here(name)
    dom = overlay.defined(conn, name)
    if dom is not None and migration.may_have_gone(conn, name) and name not in qemu_processes():
        dom.create()
    return False


def _bring(
    conn: t.Any,
    way: passage.Passage,
    peer: Peer,
    name: str,
    disks: t.Sequence[overlay.Disk],
    other: guards.Observation,
    journal: operation.Journal,
) -> None:
    """One VM that is the other host's: it moves here, or its overlays are fetched when it is off there.

    It is the other host's until that one has written down that it is not; only then it goes on here.
    """
    entry = journal.entry
    running, frozen, half = name in other["qemu"], name in entry["frozen"], name in entry.get(moving.HALF, ())
    came = name in qemu_processes()
    if came:
        if not running:  # it has moved here, and only that host's word was missing
            overlays.durable(disks)
            _half(journal, name, False)
            overlays.drop_old(disks)
            peer.call("left", vm=name)
            role.is_here(name)
            if not frozen:
                _resume(conn, name)
            return
        conn.lookupByName(name).destroy()  # half of it, from a way back that was cut off
    if running or moving.is_ready(other):
        _refuse_covered(way, name, disks, not running)
    xml = "" if running else _definition(conn, way, name, moving.is_ready(other))
    if half:
        overlays.as_left(disks)
    else:
        if running and name in entry["moved"] and not came:  # else it may stand because of the move, or now of its way back
            frozen = vm_state.is_frozen(way.libvirt.lookupByName(name), frozen)
            entry["frozen"] = sorted({*entry["frozen"], name} if frozen else set(entry["frozen"]) - {name})
        overlays.drop_old(disks)
        _half(journal, name, True)
    overlays.put_by(disks)
    if running:
        overlays.make(disks)
        try:
            _move_back(conn, way, name, disks, entry)
        except HvmError:
            if name in qemu_processes() or not migration.has_ended(way.libvirt, name):
                raise
            running, xml = False, _definition(conn, way, name, True)  # it has ended by itself meanwhile
    if running:
        overlays.durable(disks)
    else:
        way.fetch(name, disks, xml)
    _half(journal, name, False)
    moved = peer.call("left", vm=name)["moved"]
    role.is_here(name)
    overlays.drop_old(disks)
    if running and not frozen:
        _resume(conn, name)
    elif not running and (moved or not moving.is_ready(other)):  # until this host, or that one, ended; else by itself
        conn.lookupByName(name).create()


def _resume(conn: t.Any, name: str) -> None:
    dom = conn.lookupByName(name)
    dom.resume()
    variables.durable(variables.of(dom.XMLDesc(0)))


def _refuse_covered(way: passage.Passage, name: str, disks: t.Sequence[overlay.Disk], off: bool) -> None:
    """:raises HvmError: when somebody's snapshot lies over an overlay there, and only what is below it would come."""
    dom = overlay.defined(way.libvirt, name)
    for disk, dummy, chain in overlay.covers(dom.XMLDesc(0), disks) if dom is not None else ():
        what = f"VM {name}: {disk.dev} is on {chain[0]} there, and what was written to it would not come back"
        how = overlay.bring_down(name, disk, chain[0], off)
        raise HvmError(what, f"Bring that down over there ({how}), then hvm.pair.recover here.")


def _definition(conn: t.Any, way: passage.Passage, name: str, ready: bool) -> str:
    """Of a VM that is off there; one that was undefined here meanwhile has that host's again."""
    dom = overlay.defined(conn, name)
    if dom is not None:
        return str(dom.XMLDesc(0))
    there = overlay.defined(way.libvirt, name) if ready else None
    if there is None:
        raise HvmError(f"VM {name} was undefined here, and is off there", "Define it here (virsh define), then hvm.pair.recover.")
    xml = str(there.XMLDesc(overlay.SECURE | overlay.INACTIVE))
    conn.defineXML(xml)
    return xml


def _move_back(
    conn: t.Any, way: passage.Passage, name: str, disks: t.Sequence[overlay.Disk], entry: t.Mapping[str, t.Any]
) -> None:
    """The way it went. A live one is slowed down, and paused in the end, whatever was wished: else it might go on for ever.

    One that does not come goes on where it is.
    """
    dom = way.libvirt.lookupByName(name)
    gone = [disk.dev for disk in overlay.detached(dom, disks)]
    if gone:  # its overlay would stay there, and go
        what = f"VM {name}: {', '.join(gone)} was detached there, and what was written to it would not come back"
        raise HvmError(what, AS_FILES)
    if vm_state.state_of(dom) == vm_state.FROZEN and name not in entry["frozen"]:
        with contextlib.suppress(Exception):  # QEMU sends memory again only of one that has run since
            dom.resume()
    runs, direct = vm_state.state_of(dom) == vm_state.RUNNING, entry["modes"].get(name) == modes.DIRECT
    with way.way_back(name) as (memory, nbd):
        limit = 0.0 if direct else float(entry.get("limit") or modes.Policy().limit)
        back = migration.Way(memory, nbd, throttle=not direct, limit=limit, pause=not direct, rate=int(entry.get("rate", 0)))
        try:
            if runs and direct:
                dom.suspend()
            migration.move(way.libvirt, conn, name, disks, back, watcher=way.watcher_there, cuts=way.cuts)
        except Exception as exc:
            role.comes_no_more(name)
            with contextlib.suppress(Exception):
                if runs and vm_state.state_of(dom) == vm_state.FROZEN:
                    dom.resume()
            what = exc.what if isinstance(exc, HvmError) else str(exc)
            raise HvmError(what, f"If it cannot come while it runs (an older QEMU here): {AS_FILES}") from exc


def _half(journal: operation.Journal, name: str, yes: bool) -> None:
    """One write for all disks of a VM: they are of one moment, those that were left behind as well as those that have come."""
    others = set(journal.entry.get(moving.HALF, ())).difference([name])
    journal.step(moving.COMING_BACK, **{moving.HALF: sorted({*others, name} if yes else others)})


def instead_of_half(config: PairConfig, journal: operation.Journal, back: t.Collection[str]) -> None:
    """VMs that were coming back and will not: they go on from what they have left behind here, which is whole."""
    gone = set(journal.entry.get(moving.HALF, ())).difference(back)
    if not gone:
        return
    overlays.directory(config, make=False)
    disks = overlays.of_journal(journal.entry)
    standing = gone.intersection(qemu_processes())
    conn = hypervisor.connect_again() if standing else None
    for name in sorted(gone):
        if name in standing:
            t.cast("t.Any", conn).lookupByName(name).destroy()  # it has never run since it began to come back
        overlays.as_left(disks[name])
    if conn is not None:
        conn.close()
    journal.step(moving.COMING_BACK, **{moving.HALF: sorted(set(journal.entry[moving.HALF]) - gone)})


def here(conn: t.Any, entry: t.Mapping[str, t.Any], progress: Progress, elsewhere: t.Collection[str]) -> dict[str, str]:
    """Those that are on this host go on, and what they have written comes into their disks.

    :param elsewhere: VMs that are the other host's, or may be. :return: name -> error
    """
    go_on(conn, entry, set(entry["begun"]).difference(elsewhere))
    mine = {name: disks for name, disks in overlays.of_journal(entry).items() if name not in elsewhere}
    return overlays.fold(conn, mine, progress)


def let_run(entry: t.Mapping[str, t.Any]) -> None:
    """VMs that have not moved go on here, while those that have stay there: a move that failed may have left one standing."""
    with contextlib.suppress(Exception):
        conn = hypervisor.connect_again()
        try:
            go_on(conn, entry, set(entry["begun"]).difference(entry["moved"]))
        finally:
            conn.close()


def go_on(conn: t.Any, entry: t.Mapping[str, t.Any], names: t.Collection[str]) -> None:
    """Those of the VMs that a move which failed has left standing; whom it had not begun with, somebody has frozen."""
    for name in set(names).intersection(qemu_processes()).difference(entry["frozen"]):
        with contextlib.suppress(Exception):  # whoever needs it to run finds out
            dom = conn.lookupByName(name)
            if vm_state.state_of(dom) == vm_state.FROZEN:
                dom.resume()
