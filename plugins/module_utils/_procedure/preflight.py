# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""May it be done? Asked of both hosts, answered with all reasons at once, before anything is changed."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._pair import compat, guards, moving, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.advice import hangs_on_peer
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer, PeerLost
from ansible_collections.hvm.pair.plugins.module_utils._procedure import offers
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe

OPERATIONS: dict[str, t.Callable[..., list[Finding]]] = {
    "migrate": guards.migrate,
    "migrate_unsecure": guards.migrate_unsecure,
    "backup": guards.backup,
    "backup_unsecure": guards.backup_unsecure,
    "sync": guards.sync,
}
#: Those of the host that was ACTIVE last, which need not be ACTIVE now, nor the other one answer.
LAST_ACTIVE: dict[str, t.Callable[..., list[Finding]]] = {
    "hv_start": guards.hv_start,
    "rollback": guards.rollback,
    "follow": guards.follow,
}


class Refusal(str):
    """Why there is no observation of the other host, in that host's own words: it answers, so it is not off."""


def _why(exc: HvmError, text: str) -> str:
    return text if isinstance(exc, PeerLost) else Refusal(text)


def heard(me: dict[str, t.Any], silent: str) -> dict[str, t.Any]:
    """This host's observation, with what a host said that refuses to be asked (`guards.not_off`). Pure."""
    return {**me, "peer_says": silent.rstrip(".").removeprefix(f"{me['peer']}: ")} if isinstance(silent, Refusal) else me


def look(
    config: PairConfig, landing: bool = False, shared_ip: bool = False
) -> tuple[dict[str, t.Any], dict[str, t.Any] | None, str]:
    """Both observations; the other is None, with the reason, when it does not answer.

    :param landing: ask also what the other one offers the VMs of this one.
    :param shared_ip: ask also whether the other one could take the shared addresses.
    """
    me = observe(config, users=True)
    other, silent = ask(config, me if landing else None, shared_ip)
    return heard(me, silent), other, silent


def ask(
    config: PairConfig, me: dict[str, t.Any] | None = None, shared_ip: bool = False
) -> tuple[dict[str, t.Any] | None, str]:
    """The other host's observation; None, with the reason, when it does not answer.

    :param me: this host's observation, to ask also what the other one offers its VMs.
    :param shared_ip: ask also whether it could take the shared addresses.
    """
    try:
        with Peer(config) as peer:
            other = t.cast("dict[str, t.Any]", peer.call("observe"))
            if me is not None and me["vms"]:
                other["offers"] = offers.compare(me, peer.call)
            if shared_ip:
                other["no_shared_ip"] = peer.call("no_shared_ip")
            return other, ""
    except HvmError as exc:
        return None, _why(exc, str(exc))


def peer_answers(config: PairConfig, me: dict[str, t.Any]) -> dict[str, bool]:
    """What a status adds to `me`, this host's observation: the other one is only asked where the advice hangs on it."""
    if not hangs_on_peer(me):
        return {}
    other, silent = ask(config)
    return {"peer_answers": other is not None or isinstance(silent, Refusal)}


def reach(config: PairConfig, stack: contextlib.ExitStack) -> tuple[Peer | None, dict[str, t.Any] | None, str]:
    """The same over a connection that stays: ``(it, the observation, "")``, or ``(None, None, why not)``."""
    try:
        peer = stack.enter_context(Peer(config))
        return peer, peer.call("observe"), ""
    except HvmError as exc:
        return None, None, _why(exc, exc.what)


def preflight(config: PairConfig, operation: str) -> dict[str, t.Any]:
    """On the host that acts: refuse or not. On the other: say who acts.

    :return: ``{acts: bool, role, active: name, sentence, warnings}``; warned is of degraded pools, and before a backup of VMs
        that could not run on the other host.
    :raises Refused: with every finding.
    """
    if operation in LAST_ACTIVE:
        return _last_active(config, operation)
    me, other, reason = look(config, landing=operation != "sync", shared_ip=operation.startswith("migrate"))
    mine = me["role"]["now"]
    theirs = other["role"]["now"] if other else role.UNKNOWN
    if mine != role.ACTIVE and theirs == role.ACTIVE:
        return {
            "acts": False,
            "role": mine,
            "active": config.peer.name,
            "sentence": f"{config.peer.name} is ACTIVE and does the work",
            "warnings": [],
        }
    if other is None:
        findings = [Finding(f"{config.peer.name} does not answer: {reason}", "", config.me.name)]
        findings += guards.is_active(me, operation) + guards.common(me)
    else:
        findings = OPERATIONS[operation](me, other)
    findings += busy(me, other)
    if findings:
        raise Refused(operation, findings)
    outside, doubts = list[Finding](), list[Finding]()
    if other and operation.startswith("backup"):
        outside, doubts = guards.outside(me), compat.landing(me, other, guards.covered) + guards.locked(other)
    return {
        "acts": True,
        "role": mine,
        "active": config.me.name,
        "sentence": f"{config.me.name} is ACTIVE, {config.peer.name} is {theirs}: {operation} can begin",
        "warnings": [
            *guards.degraded(me, other),
            *(one.sentence() for one in outside),
            *(f"it could not run on {config.peer.name} now: {one.sentence()}" for one in doubts),
        ],
    }


def _last_active(config: PairConfig, operation: str) -> dict[str, t.Any]:
    """`preflight` of what the host does that was ACTIVE last; the module that does it may refuse more."""
    me, other, dummy = look(config)
    last = guards.last_active(me, other)
    result = {"role": me["role"]["now"], "active": last, "warnings": []}
    if last and last != config.me.name:
        return {**result, "acts": False, "sentence": f"{last} was ACTIVE last and does the work"}
    findings = LAST_ACTIVE[operation](me, other)
    findings += [one for one in busy(me, other) if one not in findings]
    if findings:
        raise Refused(operation, findings)
    warnings = guards.degraded(me, other)
    return {**result, "acts": True, "sentence": f"{config.me.name} was ACTIVE last: {operation} can begin", "warnings": warnings}


def busy(me: dict[str, t.Any], other: dict[str, t.Any] | None) -> list[Finding]:
    """What runs on either host now, with its owner and since when; pure."""
    return [
        Finding(f"another operation is running: {side['lock']}", "Wait until it has ended.", side["host"])
        for side in (me, other)
        if side and side["lock"]
    ]


def places(config: PairConfig, me: dict[str, t.Any]) -> dict[str, t.Any]:
    """Where each VM is, while they are on both hosts: for the status. Only then the other host is asked.

    :return: ``{state: MOVING, asked: whether the other one answered, vms: {name: {host, how}}}``; empty when nothing moves.
    """
    if not moving.state(me, None):
        return {}
    other, dummy = ask(config)
    found = moving.where(me, other)
    vms = {name: place._asdict() for name, place in found.items()}
    return {"state": moving.MOVING, "asked": other is not None, "vms": vms} if moving.state(me, other) else {}
