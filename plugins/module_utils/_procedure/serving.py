# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""This host is ACTIVE from now on, or goes on so, and its VMs run: the end of `recover` and `failover`, and of a `rejoin` that
lets this host win. Whether it may is decided before, by the caller.
"""

from __future__ import annotations

import contextlib
import datetime
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress, Stopwatch
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, image, overlay, readiness
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.state import state_of
from ansible_collections.hvm.pair.plugins.module_utils._net import shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    address,
    backup,
    checkpoint,
    hypervisor,
    overlays,
    states,
    verbs,
)
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import qemu_processes
from ansible_collections.hvm.pair.plugins.module_utils._zfs import bases

#: Seconds in which a job of libvirt's in a VM must have ended: a save whose client is gone.
SETTLE = 60.0


class Wanted(t.NamedTuple):
    """:ivar ran: VMs that ran when it stopped, as a journal has it: they run again.
    :ivar frozen: of these, the ones that somebody had frozen.
    :ivar images: whether every VM with a state image goes on from it, as after a rollback to a set with VM states (B).
    :ivar fresh: VMs of which it is known that nothing has written to their zvols since they were saved.
    :ivar elsewhere: VMs that have moved to the other host, or may have: never started here, whoever wants them to run.
    """

    ran: t.Collection[str] = ()
    frozen: t.Collection[str] = ()
    images: bool = False
    fresh: t.Collection[str] = ()
    elsewhere: t.Collection[str] = ()


class Todo(t.NamedTuple):
    """:ivar bring: VMs that are off and shall run; `unfreeze`: that stand still and shall not.
    :ivar left: that stay off, and nobody has said why.
    """

    bring: list[str]
    unfreeze: list[str]
    left: list[str]


def todo(infos: t.Mapping[str, t.Mapping[str, t.Any]], saved: t.Collection[str], wanted: Wanted) -> Todo:
    """Pure. Those that ran, those with autostart=yes, on request those with an image; one that somebody had frozen stays so."""
    shall = {*wanted.ran, *(name for name, vm in infos.items() if vm["autostart"]), *(saved if wanted.images else ())}
    shall -= set(wanted.elsewhere)
    off = [name for name, vm in infos.items() if vm["state"] == domains.STOPPED and name not in wanted.elsewhere]
    return Todo(
        bring=sorted({*shall.intersection(off), *shall.intersection(saved).difference(infos)}),
        unfreeze=sorted(
            name
            for name, vm in infos.items()
            if vm["state"] == domains.FROZEN and name in shall.intersection(wanted.ran) and name not in wanted.frozen
        ),
        left=sorted(set(off) - shall - set(saved) - set(wanted.elsewhere)),
    )


def missing(infos: t.Mapping[str, t.Mapping[str, t.Any]], saved: t.Collection[str], wanted: Wanted) -> dict[str, str]:
    """Pure: name -> why a VM that ran is not among those of `todo`."""
    gone = sorted(set(wanted.ran).difference(infos, saved, wanted.elsewhere))
    found = dict.fromkeys(gone, "it ran, and libvirt does not know it any more")
    unclear = [name for name in sorted(wanted.ran) if name in infos and infos[name]["state"] == domains.OTHER]
    return {**found, **dict.fromkeys(unclear, "it cannot be proven stopped (virsh domstate --reason)")}


def serve(
    config: PairConfig, epoch: int, reason: str, progress: Progress, wanted: Wanted, journal: operation.Journal, seen: int | None
) -> dict[str, t.Any]:
    """:param seen: the other host's epoch, when it has just been asked.
    :return: ``{vms: {name: sentence}, left: [names], errors: {name or thing: text}, warnings, steps}``
    :raises HvmError: when this host does not become ACTIVE; then it is as it was.
    """
    watch = Stopwatch()
    journal.step("the shared IP is asked for")
    prepared, warnings = address.prepare(config)
    journal.step("start the hypervisor")
    if journal.entry.get("overlays") or overlays.left():
        overlays.directory(config)
    bases.reopen(config.datasets)  # a move shuts them also when no VM has an overlay
    conn = hypervisor.start(config, epoch, reason, progress, seen, wanted.elsewhere)
    watch.step("start the hypervisor")
    errors: dict[str, str] = {}
    try:
        # first of all, since it takes no time: the VMs find their host at its address
        if prepared:
            warnings += operation.noted(lambda: journal.step("shared IP on"))
            try:
                shared_ip.take(prepared)
            except Exception as exc:  # noqa: BLE001  the VMs are worth more
                errors["the shared IP"] = f"{exc} (hvm_shared_ip state=enabled)"
            watch.step("shared IP on")
        warnings += operation.noted(lambda: journal.step("start the VMs"))
        conn = hypervisor.answering(conn)
        settled = settle(conn, wanted.ran)
        try:
            backup.cure(config, progress, ends=False)
        except HvmError as exc:
            errors["a backup that did not end"] = str(exc)
        infos = domains.vms(conn, config.state_dir)
        saved = domains.saved_names(config.state_dir)
        work = todo(infos, saved, wanted)
        done, failed, more = _bring(config, conn, infos, work, progress, wanted.fresh)
        if failed and (again := hypervisor.answering(conn)) is not conn:
            conn = again  # its daemon has died, which is no VM's fault
            hypervisor.ended(conn, config.state_dir, work.bring)
            infos = domains.vms(conn, config.state_dir)
            left = todo(infos, domains.saved_names(config.state_dir), wanted)
            rest, failed, later = _bring(config, conn, infos, left, progress, wanted.fresh)
            done, more = {**done, **rest}, more + later
        off = [name for name in saved if name in infos and name not in {*work.bring, *wanted.elsewhere}]
        past = put_past_beside(conn, config.state_dir, off, progress)
        done.update(past)
        errors.update({**missing(infos, saved, wanted), **settled, **failed})
        domains.neutralise_autostart(conn)  # an image brings its VM's definition along
        watch.step("start the VMs")
        known = overlays.of_journal(journal.entry) or overlays.unmerged(config, conn)
        here = {vm: disks for vm, disks in known.items() if vm not in wanted.elsewhere}
        if here:
            warnings += operation.noted(lambda: journal.step("overlays into the disks"))
            errors.update(overlays.fold(conn, here, progress))
            watch.step("overlays into the disks")
        warnings += put_overlays_beside(config, conn, wanted.elsewhere, errors)
    finally:
        conn.close()
    warnings += more + address.keep_announcing(config.shared_ips, config.interface)
    warnings += checkpoint.set_clocks([name for name, sentence in done.items() if sentence.endswith(("restored", "goes on"))])
    return {"vms": done, "left": sorted({*work.left, *past}), "errors": errors, "warnings": warnings, "steps": watch.steps}


def settle(conn: t.Any, names: t.Iterable[str]) -> dict[str, str]:
    """Until libvirt works on none of these VMs any more: it goes on with a save whose client is gone. :return: name -> error."""
    errors = {}
    for name in names:
        try:
            backup.settled(conn, name, SETTLE)
        except Exception as exc:  # noqa: BLE001  the others shall run all the same
            errors[name] = str(exc)
    return errors


def _bring(
    config: PairConfig,
    conn: t.Any,
    infos: dict[str, dict[str, t.Any]],
    work: Todo,
    progress: Progress,
    known_fresh: t.Collection[str],
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """By priority; each of them, whatever happens to another. :return: (name -> sentence, name -> error, warnings)."""
    done: dict[str, str] = {}
    warnings: list[str] = []
    found = states.manifests(config.state_dir)
    # restored by somebody who was cut off before the image could go: it goes now, else no backup would be taken
    half = [vm for vm, one in found.items() if one["begun"] and vm in infos and infos[vm]["state"] == domains.RUNNING]
    doubts = verbs.doubtful("started", infos, work.bring, qemu_processes())
    errors = {name: one.sentence() for one in doubts for name in work.bring if f"VM {name} " in one.what}
    written = states.written(one for vm, one in found.items() if vm in work.bring)
    fresh = [vm for vm in known_fresh if not found.get(vm, {}).get("begun")]  # one that was restored has run, and written

    def said(name: str, sentence: str | None, *dummy: float) -> None:
        if sentence:
            done[name] = sentence
            progress.say(sentence)

    for name in work.unfreeze:
        try:
            said(name, domains.unfreeze(conn, name))
        except Exception as exc:  # noqa: BLE001
            errors[name] = str(exc)
    bringing = [name for name in {*work.bring, *half} if name not in errors]
    groups = domains.order(infos, bringing, descending=False)
    for number, group in enumerate(groups, 1):
        errors.update(domains.for_each(bring, conn, [group], config.state_dir, said, written=written, fresh=fresh))
        started = [name for name in group if name in done and name in infos]
        warnings += readiness.wait_for(conn, readiness.waits(infos, started, number == len(groups)))
    return done, errors, warnings


def put_past_beside(conn: t.Any, state_dir: str, names: t.Collection[str], progress: Progress) -> dict[str, str]:
    """Images of VMs that stay off, which their disks have gone on from.

    A backup removes its images when the set has them, and the VMs run on; a power cut within seconds brings them back.

    :return: name -> sentence
    """
    found = {name: one for name, one in states.manifests(state_dir).items() if name in names and one["format"] == image.FORMAT}
    written, said = states.written(found.values()), {}
    for name, one in found.items():
        with contextlib.suppress(Exception):  # it stays then, and a restore says what is the matter
            if image.exists(state_dir, name) and state_of(conn.lookupByName(name)) == domains.STOPPED:
                why = image.is_of_the_past(name, one, image.look(conn, name, state_dir, one, written))
                if why:
                    place = image.put_beside(state_dir, name, _stamp())
                    said[name] = f"{name} stays off, and its image is of the past: {why}. It is kept as {place}"
                    progress.say(said[name])
    return said


def put_overlays_beside(
    config: PairConfig, conn: t.Any, elsewhere: t.Collection[str], errors: t.Collection[str] = ()
) -> list[str]:
    """Those that no VM here uses: nothing would ever merge them, and no backup is made while they lie there.

    They may hold what a VM has written that is not defined any more, or was defined anew, so nothing is deleted.

    :param elsewhere: VMs whose overlays wait for them. :param errors: VMs to be seen to, whose overlays wait as long as they are
        defined: else that would be for ever.
    :return: warnings
    """
    try:
        saved = [disk["path"] for one in states.manifests(config.state_dir).values() for disk in one["disks"]]
        found = {vm: names for vm, names in overlays.unused(conn, saved).items() if vm not in elsewhere}
        found = {vm: names for vm, names in found.items() if vm not in errors or overlay.defined(conn, vm) is None}
        place = overlays.put_beside(_stamp(), found) if found else ""
    except Exception as exc:  # noqa: BLE001  the VMs run, and that is what this is for
        return [f"whether overlays are left that no VM uses is not known: {exc}"]
    return [f"overlays of {', '.join(sorted(found))}, which no VM uses, are kept in {place}"] if found else []


def _stamp() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")


def bring(
    conn: t.Any, name: str, state_dir: str, written: image.Written | None = None, fresh: t.Collection[str] = ()
) -> str | None:
    """Let one VM run: from its state image where that fits, else from its disks. An image that does not fit is put beside.

    Not where this QEMU lacks the machine: the disks do not help then, and the image is good with another one.
    """
    if not image.exists(state_dir, name):
        return domains.start(conn, name, state_dir)
    try:
        return image.restore(conn, name, state_dir, written=written, fresh=fresh)
    except Refused as exc:
        found = image.read_manifest(state_dir, name)
        seen = image.look(conn, name, state_dir, found, written, name in fresh)
        if name not in {dom.name() for dom in conn.listAllDomains()} or seen.unfit:
            raise
        why = "; ".join(finding.what for finding in exc.findings)
        place = image.put_beside(state_dir, name, _stamp())
        try:
            domains.start(conn, name, state_dir)
        except Exception as failure:
            if not (found and image.disks(name, found, seen)[0]):  # it may still be good
                image.take_back(state_dir, name, place)
                place = image.image_path(state_dir, name)
            what = f"VM {name} goes on neither from its image ({why}) nor from its disks ({failure})"
            raise HvmError(what, f"The image is kept as {place}.") from failure
        return f"{name} started from its disks, without its memory: {why}. The image is kept as {place}"
