# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What a verb on VMs needs around it for their state images to be provable: a set after a save, a look before a restore."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._libvirt import image
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import checkpoint, states
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions


@contextlib.contextmanager
def around(
    config: PairConfig,
    verb: str,
    infos: t.Mapping[str, t.Any],
    names: t.Sequence[str],
    force: bool,
    said: t.Callable[[str], None],
) -> t.Iterator[dict[str, t.Any]]:
    """Gives the arguments that the verb takes beside `timeout`, and does what comes after it.

    After a save of VMs with zvols a snapshot set is taken, under a lock that was held all along: nothing else could prove later
    that a zvol is as it was.

    :param said: called with a sentence of what was done besides.
    """
    if verb == "restored":
        yield {"written": states.written(states.manifests(config.state_dir).values()), "force": force}
    elif verb == "saved" and any(_has_zvol(infos[name]) for name in names):
        with operation.Lock().held("save VMs", operation.owner()):
            yield {}
            _anchor(config, names, said)
    else:
        yield {}


def _has_zvol(vm: t.Mapping[str, t.Any]) -> bool:
    return any((disk["path"] or "").startswith(image.ZVOLS) for disk in vm["disks"])


def _anchor(config: PairConfig, names: t.Sequence[str], said: t.Callable[[str], None]) -> None:
    fresh = [vm for vm, found in states.manifests(config.state_dir).items() if vm in names and not found["sets"]]
    if not fresh:
        return
    name = checkpoint.take_set(config, "crash", role.load().epoch, fresh=fresh)
    checkpoint.check_set(config, name)
    for vm, found in states.manifests(config.state_dir).items():
        if vm in fresh:
            image.write_manifest(config.state_dir, image.with_set(found, name, _guids(found, name)))
    said(f"snapshot set {name}")


def _guids(found: image.Manifest, name: str) -> dict[str, str]:
    return {dataset: guid for dataset, (guid, dummy) in actions.find_set(image.zvols(found), name).items()}
