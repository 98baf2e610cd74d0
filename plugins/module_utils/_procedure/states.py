# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""State images and the snapshot sets that anchor them: which set proves that the zvols of a saved VM are as they were."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._libvirt import image
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import qemu_processes
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, kept

#: "written" of a volume up to which it is looked at more closely: a rollback leaves 1 KiB that nobody wrote (kept.untouched).
TRIFLE = 1 << 20


def manifests(state_dir: str) -> dict[str, image.Manifest]:
    """Of the images that have one in the format of this version, by VM."""
    found = {name: image.read_manifest(state_dir, name) for name in image.saved_names(state_dir)}
    return {name: one for name, one in found.items() if one is not None and one.get("format") == image.FORMAT}


def written(found: t.Iterable[image.Manifest]) -> dict[str, dict[str, list[str]]]:
    """What was written to the zvols since the sets that the manifests name; one command for all, none without zvols.

    Ask before the first of the VMs runs. The figure is right once the device is closed: a zvol that was written to is synced with
    its last close (zvol_shutdown_zv), so what a VM that has ended wrote is in it.
    """
    manifests_ = [one for one in found if image.zvols(one) and one["sets"]]
    datasets = sorted({zvol for one in manifests_ for zvol in image.zvols(one)})
    sets = sorted({name for one in manifests_ for name in one["sets"]})
    if not datasets:
        return {}
    sizes = actions.written_since(datasets, sets)
    recorded = sorted({name for one in manifests_ for name, guids in one["sets"].items() if guids})
    guids = {name: actions.find_set(datasets, name) for name in recorded}
    return {
        dataset: {
            name: [
                "0" if 0 < size <= TRIFLE and kept.untouched(dataset, name) else str(size),
                guids.get(name, {}).get(dataset, [""])[0],
            ]
            for name, size in there.items()
        }
        for dataset, there in sizes.items()
    }


def anchor(state_dir: str, name: str, fresh: t.Collection[str] = ()) -> list[str]:
    """Write the set that is about to be taken into the manifests of all images whose disks are as they were.

    :param name: of the set; it is taken next, under the lock that is held.
    :param fresh: VMs that this process has just saved, or that it holds paused: theirs are.
    :return: the VMs whose images the set is an anchor of.
    """
    found = manifests(state_dir)
    old = {vm: one for vm, one in found.items() if vm not in fresh}
    if old:
        # a VM that runs may write until the snapshot, whatever its disks look like now
        running = qemu_processes()
        since = written(old.values())
        held = {vm: _held(one, since) for vm, one in old.items() if vm not in running and _as_it_was(one, since)}
        found = {vm: one for vm, one in found.items() if vm in fresh} | held
    for one in found.values():
        image.write_manifest(state_dir, image.with_set(one, name), durable=False)
    return sorted(found)


def _held(found: image.Manifest, since: image.Written) -> image.Manifest:
    """Without the sets that are gone: an image may lie there for years, and one more name is added with each set."""
    there = {name for zvol in image.zvols(found) for name in since.get(zvol, {})}
    return {**found, "sets": {name: guids for name, guids in found["sets"].items() if name in there}}


def _as_it_was(found: image.Manifest, since: image.Written) -> bool:
    stamps = {disk["path"]: image.stamp(disk["path"]) for disk in found["disks"] if disk["kind"] == image.FILE}
    return not any(image.disks(found["vm"], found, image.Seen(None, 0, "", stamps=stamps, written=since)))
