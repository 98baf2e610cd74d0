# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Of libvirt's own files what somebody has changed since the last set of a move, on the host whose own go back to it.

libvirt writes there by itself, of VMs that are elsewhere by then: that goes. A VM that somebody has defined, a network, an image
for a CD are somebody's: they are put beside, and named.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import shutil
import stat
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import sync_directory
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import overlay
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import overlays
from ansible_collections.hvm.pair.plugins.module_utils._zfs import bases, content, inventory
from ansible_collections.hvm.pair.plugins.module_utils._zfs import rollback as trees

DEFINITIONS, WORK = "/etc/libvirt", "/var/lib/libvirt"
#: Below WORK: where libvirt, QEMU and their helpers write by themselves.
_OWN = ("dnsmasq", "interface", "lockd", "network", "nodedev", "nwfilter", "sanlock", "secrets", "storage", "swtpm")
#: Of WORK/qemu what is not: memory and snapshots that somebody has taken with libvirt's own commands.
_TAKEN = ("checkpoint", "dump", "save", "snapshot")
#: Bytes up to which a file's contents count, and not its time: libvirt may write the same once more.
SMALL = 1 << 20

#: Path -> what tells a file from another one.
Listing = dict[str, tuple[t.Any, ...]]


def is_somebodys(path: str, moved: t.Collection[str], state_dir: str) -> bool:
    """Pure. :param moved: VMs that have moved: libvirt has taken their definitions along."""
    if path.startswith(f"{state_dir}/"):
        return False  # of the pair's own; nothing is saved while VMs move
    if path.startswith(f"{DEFINITIONS}/"):
        return "/autostart/" not in path and path not in {f"{DEFINITIONS}/qemu/{name}.xml" for name in moved}
    first, *rest = path.removeprefix(f"{WORK}/").split("/")
    if first == "qemu":
        return bool(rest) and rest[0] in _TAKEN
    return first not in _OWN


def listing(top: str, point: str) -> Listing:
    """Files and links below `top`, by their paths below `point`."""
    found: Listing = {}
    for directory, dummy, files in os.walk(top):
        for name in files:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            kind = stat.S_IFMT(info.st_mode)
            what: t.Any = info.st_mtime_ns
            if stat.S_ISLNK(info.st_mode):
                what = os.readlink(path)
            elif stat.S_ISREG(info.st_mode) and info.st_size <= SMALL:
                with open(path, "rb") as handle:
                    what = hashlib.sha256(handle.read()).hexdigest()
            if stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode):
                found[os.path.join(point, os.path.relpath(path, top))] = (kind, info.st_size, what)
    return found


@contextlib.contextmanager
def _views(dataset: str, name: str) -> t.Iterator[tuple[str, str]]:
    """Directories with what the set has, and with what there is now; nothing is mounted where it belongs."""
    with content.mounted(f"{dataset}@{name}") as then, content.mounted(dataset) as now:
        yield then, now


def keep(config: PairConfig, name: str, moved: t.Collection[str]) -> list[str]:
    """Right before the datasets go back to the set; they are unmounted. :return: what was put beside, and where, as sentences.

    :raises HvmError: when it cannot be kept: then they must not go back.
    """
    datasets = inventory.read(config.datasets)
    place, kept, gone = "", list[str](), list[str]()
    for dataset in bases.libvirts(datasets):
        point = inventory.prop(datasets[dataset], "mountpoint")
        if not content.is_readable(dataset):
            raise HvmError(f"the key of {dataset} is not loaded: nobody can see what was changed there", "Load it: zfs load-key.")
        with _views(dataset, name) as (then, now):
            before, after = listing(then, point), listing(now, point)
            changed = [path for path in sorted(after) if before.get(path) != after[path]]
            changed = [path for path in changed if is_somebodys(path, moved, config.state_dir)]
            gone += [path for path in sorted(set(before).difference(after)) if is_somebodys(path, moved, config.state_dir)]
            for path in changed:
                place = place or _place(config)
                _copy(os.path.join(now, os.path.relpath(path, point)), f"{place}{path}")
            kept += changed
    said, when = [], f"on {config.me.name} while VMs were on both hosts"
    if kept:
        said.append(f"{', '.join(kept)}: changed {when}, and not on the other one; kept in {place}")
    if gone:
        said.append(f"{', '.join(gone)}: removed {when}, and still there on the other one")
    return said


def _place(config: PairConfig) -> str:
    overlays.directory(config)
    place = f"{overlay.DIRECTORY}/kept-{trees.new_stamp(datetime.datetime.now(datetime.UTC), {})}"
    os.makedirs(place, mode=0o700, exist_ok=True)
    return place


def _copy(source: str, target: str) -> None:
    """It is on disk when this returns: the only other one goes."""
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
        if not os.path.islink(target):
            with open(target, "rb") as handle:
                os.fsync(handle.fileno())
        sync_directory(os.path.dirname(target))
    except OSError as exc:
        remedy = f"See that {overlay.DIRECTORY} has room, or move that file away."
        raise HvmError(f"{source} cannot be kept as {target}: {exc.strerror or exc}", remedy) from exc
