# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Where the overlays of moving VMs are, on each of the hosts, and what becomes of them."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run, succeeds
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, sync_directory, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import overlay
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._zfs import bases, inventory, kept

#: Below the pool, beside the pair's roots: not replicated.
DATASET = "hvm-overlays"
#: In the directory of the state images: which disk each overlay of the last move belongs to.
NOTE = "overlays.json"
#: Debian's and Ubuntu's user of QEMU.
QEMU_USER = "libvirt-qemu"


def disks(raw: t.Mapping[str, t.Sequence[t.Any]]) -> dict[str, list[overlay.Disk]]:
    """From a journal or the wire: VM -> its disks; every path of an overlay is one of ours."""
    found = {str(name): [overlay.Disk(*one) for one in listed] for name, listed in raw.items()}
    for name, listed in found.items():
        for disk in listed:
            if not re.fullmatch(r"[a-z0-9]+", disk.dev) or disk.overlay != overlay.overlay_path(name, disk.dev):
                raise HvmError(f"{disk.overlay!r} is no overlay of VM {name}")
    return found


def _dataset(config: PairConfig) -> str:
    return f"{config.pools[0]}/{DATASET}"


def is_mounted() -> bool:
    """Else what is seen in the directory says nothing; what is written there fills the root filesystem, and is hidden later."""
    return os.path.ismount(overlay.DIRECTORY)


def directory(config: PairConfig, make: bool = True) -> None:
    """A filesystem of its own, on the pool of the first root; made when it is not there.

    :param make: False: only mounted, if there is one.
    """
    if is_mounted():
        return
    name = _dataset(config)
    if succeeds(["zfs", "list", "-H", name]):
        run(["zfs", "mount", name])
        return
    if not make:
        return
    options = [f"mountpoint={overlay.DIRECTORY}", "recordsize=64k", "compression=lz4", "atime=off"]
    run(["zfs", "create", *(word for one in options for word in ("-o", one)), name])
    os.chmod(overlay.DIRECTORY, 0o711)


def there(config: PairConfig) -> dict[str, t.Any]:
    """``{dataset, files}``: that filesystem, "" when there is none, and what is in it; it stays from one move to the next."""
    name = _dataset(config)
    if not succeeds(["zfs", "list", "-H", name]):
        return {"dataset": "", "files": []}
    if not is_mounted():
        return {"dataset": name, "files": ["not seen, since it is not mounted"]}
    return {"dataset": name, "files": sorted(os.listdir(overlay.DIRECTORY))}


def make(listed: t.Iterable[overlay.Disk]) -> None:
    for disk in listed:
        overlay.make(disk)


def durable(listed: t.Iterable[overlay.Disk]) -> None:
    """Also what came over the link and no guest has flushed here: it may have flushed that over there."""
    for disk in listed:
        fd = os.open(disk.overlay, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def put_by(listed: t.Iterable[overlay.Disk]) -> None:
    """What a VM has left behind makes room for what comes back."""
    for disk in listed:
        if os.path.lexists(disk.overlay):
            os.replace(disk.overlay, f"{disk.overlay}.old")


def as_left(listed: t.Iterable[overlay.Disk]) -> None:
    """That again, instead of half of what was to come back. Again it does nothing."""
    for disk in listed:
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{disk.overlay}.old", disk.overlay)


def drop_old(listed: t.Iterable[overlay.Disk]) -> None:
    for disk in listed:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{disk.overlay}.old")


def note(config: PairConfig, found: t.Mapping[str, t.Sequence[overlay.Disk]]) -> None:
    """Beside the state images, and so in the set: there the VMs' definitions name overlays that will be gone."""
    os.makedirs(config.state_dir, mode=0o700, exist_ok=True)
    write_atomic(f"{config.state_dir}/{NOTE}", json.dumps({name: [*map(list, one)] for name, one in found.items()}) + "\n", 0o600)


def mend(config: PairConfig, conn: t.Any, progress: Progress) -> None:
    """Definitions from a set that was taken in the midst of a move: their VMs are on their disks again.

    Not while an operation that did not end says that their overlays count, nor when one of these is there.
    """
    counts = of_journal(operation.pending() or {})
    for name, listed in sorted(_noted(config).items()):
        if name not in counts and not any(os.path.lexists(disk.overlay) for disk in listed):
            try:
                overlay.forsake(conn, name, listed)
            except Exception as exc:  # noqa: BLE001  the others are no worse for it
                progress.say(f"{name} is still defined with overlays that are gone: {exc}")


def _noted(config: PairConfig) -> dict[str, list[overlay.Disk]]:
    """Of the last move; without it a VM whose overlay is gone does not start, and libvirt says which file it lacks."""
    try:
        return disks(json.loads(read_text(f"{config.state_dir}/{NOTE}") or "{}"))
    except (ValueError, TypeError, AttributeError, HvmError):
        return {}


def unmerged(config: PairConfig, conn: t.Any) -> dict[str, list[overlay.Disk]]:
    """VMs that write to their overlays still, although no journal says so."""
    found = {}
    for name, listed in _noted(config).items():
        if any(os.path.lexists(disk.overlay) for disk in listed):
            with contextlib.suppress(Exception):  # it is not defined any more; its files stay
                if overlay.is_reached(conn.lookupByName(name), listed):
                    found[name] = listed
    return found


def fold(conn: t.Any, found: t.Mapping[str, t.Sequence[overlay.Disk]], progress: Progress) -> dict[str, str]:
    """All that was written comes into the disks, VM by VM. :return: name -> error; such a VM goes on with its overlay."""
    errors: dict[str, str] = {}
    for name, listed in sorted(found.items()):
        try:
            said = overlay.fold(conn, name, listed)
        except Exception as exc:  # noqa: BLE001  the others are no worse for it
            errors[name] = str(exc)
        else:
            drop_old(listed)
            if said:
                progress.say(said)
    _stay_away()
    return errors


def of_journal(entry: t.Mapping[str, t.Any]) -> dict[str, list[overlay.Disk]]:
    """VM -> its disks with overlays, as an operation has noted them; none for most operations."""
    return disks(entry.get("overlays") or {})


def forget(found: t.Mapping[str, t.Sequence[overlay.Disk]]) -> None:
    """The files go: what is in them is somewhere else."""
    for name, listed in found.items():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(overlay.rest_path(name))
        for disk in listed:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(disk.overlay)
    _stay_away()


def _stay_away() -> None:
    """Files that went: a power cut would bring them back, after the journal that knows them has ended on another filesystem."""
    with contextlib.suppress(OSError):  # the VMs have moved, or run; one that is back `recover` puts beside
        sync_directory(overlay.DIRECTORY)


def unused(conn: t.Any, paths: t.Collection[str]) -> dict[str, list[str]]:
    """As `left`, without what a VM's definition, live or not, names, at whatever depth. :param paths: that count as named."""
    found = {vm: names for vm, names in left().items() if names}
    if not found:
        return {}
    known = [*paths, *(xml for dom in conn.listAllDomains() for xml in (dom.XMLDesc(0), dom.XMLDesc(overlay.INACTIVE)))]
    used = {one for names in found.values() for one in names if any(f"{overlay.DIRECTORY}/{one}" in text for text in known)}
    return {vm: strays for vm, names in found.items() if (strays := sorted({*names} - used))}


def put_beside(stamp: str, found: t.Mapping[str, t.Sequence[str]] | None = None) -> str:
    """:param found: as `left`, when it is not all of them. :return: the directory in which they are now."""
    place = f"{overlay.DIRECTORY}/kept-{stamp}"
    os.makedirs(place, mode=0o700, exist_ok=True)
    for names in (left() if found is None else found).values():
        for name in names:
            os.replace(f"{overlay.DIRECTORY}/{name}", f"{place}/{name}")
    return place


def empty() -> None:
    """Every file goes; what was put beside stays."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(overlay.DIRECTORY):
            if entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)


def left(place: str = "") -> dict[str, list[str]]:
    """What lies there: VM -> names of files. The journal knows the VM; else it is what its name has become in the file's.

    Where nobody can look, what the journal knows counts as there.
    """
    found: dict[str, list[str]] = {}
    known: dict[str, str] = {}
    with contextlib.suppress(HvmError):
        for vm, listed in of_journal(operation.pending() or {}).items():
            known.update({os.path.basename(disk.overlay): vm for disk in listed})
    if not place and not is_mounted():
        return {vm: [] for vm in sorted(known.values())}
    with contextlib.suppress(OSError):
        for entry in sorted(os.listdir(place or overlay.DIRECTORY)):
            if entry.endswith(".qcow2"):
                found.setdefault(known.get(entry, entry.rsplit(".", 2)[0]), []).append(entry)
    return found


def sizes() -> dict[str, int]:
    """VM -> bytes that its overlays take; without those at which nobody can look."""
    found = {}
    for vm, names in left().items():
        with contextlib.suppress(OSError):
            count = sum(os.stat(f"{overlay.DIRECTORY}/{name}").st_blocks for name in names)
            found.update({vm: count * 512} if names else {})
    return found


def newer(config: PairConfig, name: str, datasets: inventory.Inventory | None = None) -> list[Finding]:
    """Snapshots that somebody has taken on this host since the set of the move: it does not go back to that beneath them.

    Nor are empty ones left alone: the next increment, from the set, is received only where that is the newest snapshot.
    """
    found = list[Finding]()
    for dataset, entry in (inventory.read(config.datasets) if datasets is None else datasets).items():
        there = [snap[0] for snap in entry["snapshots"]]
        if name not in there:
            what = f"{dataset} does not have {name}, the set of the move"
            found.append(Finding(what, f"See what it is: zfs list -t snapshot '{dataset}'.", config.me.name))
            continue
        for one in there[there.index(name) + 1 :]:
            what = f"{dataset}@{one} was taken since {name}, the set of the move"
            found.append(Finding(what, f"If nobody needs it: zfs destroy '{dataset}@{one}'.", config.me.name))
    return found


def refuse_newer(config: PairConfig, name: str, datasets: inventory.Inventory | None = None, again: bool = False) -> None:
    """:param again: a run from the beginning takes another set, and nothing need be destroyed.

    :raises HvmError: with all of them.
    """
    if again and all(
        inventory.prop(entry, "prevsnap") == f"{dataset}@{name}"
        for dataset, entry in inventory.read_datasets(config.datasets, run, ["prevsnap"]).items()
    ):
        return  # in the way of each VM: nothing is listed, however many snapshots there are
    found = newer(config, name, datasets)
    if found:
        remedy = "Run it again." if again else " ".join(one.remedy for one in found)
        remedy += " Nothing may take snapshots there (sanoid, a timer) while VMs are on both hosts."
        raise HvmError("; ".join(one.what for one in found), remedy)


def back_to(config: PairConfig, name: str) -> None:
    """The datasets are exactly on the set again: since it was taken only libvirt wrote to them, of VMs that are elsewhere.

    :raises HvmError: when disks were written to, or somebody has taken snapshots.
    """
    datasets = inventory.read(config.datasets)
    own = bases.libvirts(datasets)
    refuse_newer(config, name, datasets)
    for dataset, entry in datasets.items():
        if dataset not in own and inventory.prop(entry, "written") in ("0", "-"):
            continue
        if dataset not in own and not kept.untouched(dataset, name):
            what = f"{dataset} was written to since {name}, while its VMs had overlays"
            raise HvmError(what, f"See what it is: zfs diff {dataset}@{name}.")
        # Newest snapshot only: zfs-rollback(8) refuses when there is a newer one, and -r is never given. Those of libvirt in any
        # case: after a power cut an intent log may hold what "written" does not tell.
        run(["zfs", "rollback", f"{dataset}@{name}"])


def qemu_owner() -> tuple[int, int]:
    """(uid, gid) of QEMU's processes; root's where that user is not known."""
    try:
        entry = pwd.getpwnam(QEMU_USER)
    except KeyError:
        return 0, 0
    return entry.pw_uid, entry.pw_gid


def sockets(directory: str) -> None:
    """The directory in which QEMU makes the sockets that it hears the other host's at."""
    os.makedirs(os.path.dirname(directory), mode=0o755, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    os.chmod(directory, 0o700)
    os.chown(directory, *qemu_owner())
    for name in os.listdir(directory):
        os.unlink(os.path.join(directory, name))
