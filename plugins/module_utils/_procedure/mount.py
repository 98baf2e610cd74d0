# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""`hvm zfs mount` and `hvm zfs umount`: the datasets without the hypervisor, for whoever has to repair something in them.

Mounted is as `hv start` has it (writable, with the zvols' devices), unmounted as `hv stop` leaves it (inert). The role stays.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import preflight
from ansible_collections.hvm.pair.plugins.module_utils._procedure.early import read_datasets
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, inventory


def apply(config: PairConfig, state: str, peer_is_down: str, check: bool) -> dict[str, t.Any]:
    """:return: ``{changed, mountpoints: what this mounts or unmounts, diff}``"""
    return _mounted(config, peer_is_down, check) if state == "mounted" else _unmounted(config, check)


def state_of(roots: t.Sequence[str], datasets: inventory.Inventory) -> dict[str, t.Any]:
    """Pure. `writable` is that of the roots: a child may be read-only by its owner's wish, and stays so."""
    return {
        "mounted": [point for name, point in inventory.mountable(datasets).items() if _is_mounted(datasets[name])],
        "writable": all(
            inventory.prop(datasets[root], "readonly") == "off" and inventory.prop(datasets[root], "volmode") != "none"
            for root in roots
            if root in datasets
        ),
    }


def _is_mounted(entry: dict[str, t.Any]) -> bool:
    return inventory.prop(entry, "mounted") == "yes"


def _result(before: dict[str, t.Any], after: dict[str, t.Any], changed: bool) -> dict[str, t.Any]:
    there = [side["mounted"] for side in (before, after)]
    points = [point for point in dict.fromkeys([*there[0], *there[1]]) if (point in there[0]) != (point in there[1])]
    return {"changed": changed, "mountpoints": points, "diff": {"before": before, "after": after}}


def _mounted(config: PairConfig, peer_is_down: str, check: bool) -> dict[str, t.Any]:
    datasets = read_datasets(config)
    before = state_of(config.datasets, datasets)
    after = {"mounted": list(inventory.mountable(datasets).values()), "writable": True}
    me = observe(config, datasets=datasets)
    now = me["role"]["now"]
    if now == role.ACTIVE and before == after:
        return _result(before, after, False)
    other, silent = (None, "") if now == role.PASSIVE else preflight.ask(config)
    findings = guards.mount(preflight.heard(me, silent), other, peer_is_down)
    if findings:
        raise Refused("mounting the datasets", findings)
    if before != after and not check:
        with operation.Lock().held("zfs mount", operation.owner()):
            _open(config, inert=not inventory.not_inert(datasets))
    return _result(before, after, before != after)


def _open(config: PairConfig, inert: bool) -> None:
    role.in_use()
    try:
        actions.make_writable(config.datasets)
        datasets = inventory.read(config.datasets)
        actions.mount_all(datasets)
        actions.wait_devices(datasets)
    except BaseException:
        if inert:  # as it was before
            with contextlib.suppress(Exception):
                _close(config, inventory.read(config.datasets))
        raise


def _unmounted(config: PairConfig, check: bool) -> dict[str, t.Any]:
    datasets = read_datasets(config)
    findings = guards.unmount(observe(config, users=True, datasets=datasets))
    if findings:
        raise Refused("unmounting the datasets", findings)
    before = state_of(config.datasets, datasets)
    wrong = inventory.not_inert(datasets)
    if wrong and not check:
        with operation.Lock().held("zfs unmount", operation.owner()):
            _close(config, datasets)
            left = inventory.not_inert(read_datasets(config))
        if left:
            raise HvmError("; ".join(left), "hvm.pair did not mount that: close it by hand (zfs unmount, zfs set).")
    return _result(before, {"mounted": [], "writable": False} if wrong else before, bool(wrong))


def _close(config: PairConfig, datasets: inventory.Inventory) -> None:
    actions.unmount_all(datasets)
    role.stopped_in_order()
    actions.make_inert(config.datasets, datasets)
