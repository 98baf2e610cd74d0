# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Start or stop the hypervisor by hand, with the guards."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._net import shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import address, hypervisor, preflight


def apply(config: PairConfig, state: str, peer_is_down: str, check: bool) -> dict[str, t.Any]:
    me, other, dummy = preflight.look(config)
    warnings: list[str] = []
    now, epoch = me["role"]["now"], me["role"]["epoch"]
    running = me["hypervisor"]["running"]
    if state == "started":
        if running and now == role.ACTIVE:
            return _result(False, now, epoch, now)
        findings = guards.start(me, other, peer_is_down)
        if findings:
            raise Refused("starting the hypervisor", findings)
        new = epoch if now == role.ACTIVE else max(epoch, other["role"]["epoch"] if other else 0) + 1
        if not check:
            with operation.Lock().held("hv start", operation.owner()):
                # asked for before anything starts: another holder of the address may be the other host
                prepared = shared_ip.prepare(config.shared_ips, config.interface, config.gateway) if config.shared_ips else None
                hypervisor.start(config, new, "started by hand", Progress()).close()
                if prepared:
                    shared_ip.take(prepared, dad=True)
                warnings = address.keep_announcing(config.shared_ips, config.interface)
        return _result(True, role.ACTIVE, new, now, warnings)
    if (
        not running
        and not me["not_inert"]
        and not me["gate_open"]
        and not (now == role.ACTIVE and me["mountpoints"] and _mounted(me))
    ):
        return _result(False, now, epoch, now)
    findings = guards.stop(me)
    if findings:
        raise Refused("stopping the hypervisor", findings)
    if not check:
        with operation.Lock().held("hv stop", operation.owner()):
            hypervisor.stop(config, Progress())
            gone = address.give_up(config)
        if gone and other is not None:
            address.tell_peer(config)
    return _result(True, now, epoch, now)


def _mounted(me: dict[str, t.Any]) -> bool:
    import os

    return any(os.path.ismount(point) for point in me["mountpoints"])


def _result(changed: bool, now: str, epoch: int, before: str, warnings: t.Sequence[str] = ()) -> dict[str, t.Any]:
    diff = {"before": {"role": before}, "after": {"role": now}}
    return {"changed": changed, "role": now, "epoch": epoch, "diff": diff, "warnings": list(warnings)}
