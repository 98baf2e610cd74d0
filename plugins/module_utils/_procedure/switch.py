# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Start or stop the hypervisor by hand, with the guards."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._net import shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import address, both, hypervisor, preflight
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe


def apply(
    config: PairConfig, state: str, peer_is_down: str, check: bool, progress: Progress | None = None
) -> dict[str, t.Any]:
    """:param progress: for whoever watches.
    :return: ``{changed, role, epoch, plan, diff, warnings}``; `plan` is what is done, or would be: a line per step.
    :raises Refused: when it may not be done; nothing was changed then.
    """
    progress = progress or Progress()
    me, other, dummy = preflight.look(config)
    now, epoch = me["role"]["now"], me["role"]["epoch"]
    running = me["hypervisor"]["running"]
    if state == "started":
        if running and now == role.ACTIVE:
            return _address_too(config, me, check)
        findings = guards.start(me, other, peer_is_down)
        if findings:
            raise Refused("starting the hypervisor", findings)
        new = _next_epoch(me, other)
        warnings: list[str] = []
        if not check:
            new, warnings = _start(config, peer_is_down, other is not None, progress)
        return _result(True, role.ACTIVE, new, now, plan=start_plan(config, new), warnings=warnings)
    if (
        not running
        and not any(me["shared_ip"]["addresses"].values())
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
            hypervisor.stop(config, progress)
            gone = address.give_up(config)
        if gone and other is not None:
            address.tell_peer(config)
    return _result(True, now, epoch, now, plan=stop_plan(config))


def _address_too(config: PairConfig, me: dict[str, t.Any], check: bool) -> dict[str, t.Any]:
    """The hypervisor runs. The addresses may be missing: an earlier start found another holder, or somebody took them off."""
    now, epoch = me["role"]["now"], me["role"]["epoch"]
    if not config.shared_ips or me["shared_ip"]["enabled"]:
        return _result(False, now, epoch, now)
    warnings: list[str] = []
    with address.taking(config, "hv start", check) as sure:
        if not check:
            try:
                shared_ip.enable(config.shared_ips, config.interface, config.gateway, sure=sure)
            except HvmError as exc:
                return _result(False, now, epoch, now, warnings=address.unless_held(exc))
            warnings = address.keep_announcing(config.shared_ips, config.interface)
    return _result(True, now, epoch, now, plan=start_plan(config, epoch)[-1:], warnings=warnings)


def _next_epoch(me: dict[str, t.Any], other: dict[str, t.Any] | None) -> int:
    mine = int(me["role"]["epoch"])
    return mine if me["role"]["now"] == role.ACTIVE else max(mine, other["role"]["epoch"] if other else 0) + 1


def _start(config: PairConfig, peer_is_down: str, lend: bool, progress: Progress) -> tuple[int, list[str]]:
    """Under the locks it is looked at once more: somebody may have worked between the look and the locks.

    :param lend: hold the other host's lock too: nothing starts there meanwhile.
    :return: ``(the epoch, warnings)``
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(operation.Lock().held("hv start", operation.owner()))
        peer = None
        if lend:
            peer = stack.enter_context(Peer(config))
            peer.call("lock", operation="hv start", owner=f"{operation.owner()} on {config.me.name}")
        me = observe(config)
        other = peer.call("observe") if peer else None
        findings = guards.start(me, other, peer_is_down)
        if findings:
            raise Refused("starting the hypervisor", findings)
        epoch = _next_epoch(me, other)
        prepared, warnings = address.prepare(config)
        hypervisor.start(config, epoch, "started by hand", progress, other["role"]["epoch"] if other else None).close()
        warnings += both.tell_epoch(peer, epoch)
        if prepared:
            shared_ip.take(prepared, dad=True)
            warnings += address.keep_announcing(config.shared_ips, config.interface)
        return epoch, warnings


def start_plan(config: PairConfig, epoch: int, vms: str = "") -> list[str]:
    """Pure. :param vms: the line of what becomes of the VMs; "" when that is nothing."""
    lines = [
        f"mount the datasets below {', '.join(config.datasets)}, writable",
        f"{config.me.name} is ACTIVE, in epoch {epoch}; the gate is open",
        f"start libvirt, its networks and pools{'' if vms else '; no VM'}",
    ]
    lines += [f"shared IP on: {', '.join(config.shared_ips)}"] if config.shared_ips else []
    return lines + ([vms] if vms else [])


def stop_plan(config: PairConfig) -> list[str]:
    """Pure."""
    lines = [
        "stop libvirt, shut the gate",
        f"unmount the datasets below {', '.join(config.datasets)}: read-only, without devices",
    ]
    return lines + ([f"shared IP off: {', '.join(config.shared_ips)}"] if config.shared_ips else [])


def _mounted(me: dict[str, t.Any]) -> bool:
    import os

    return any(os.path.ismount(point) for point in me["mountpoints"])


def _result(changed: bool, now: str, epoch: int, before: str, **more: list[str]) -> dict[str, t.Any]:
    diff = {"before": {"role": before}, "after": {"role": now}}
    return {"changed": changed, "role": now, "epoch": epoch, "diff": diff, "plan": [], "warnings": [], **more}
