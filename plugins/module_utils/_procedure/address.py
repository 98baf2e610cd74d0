# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The shared addresses of a pair, taken and given up with what goes with it: the announcer here, and a word to the other host."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run, succeeds
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.files import write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._net import announcer, bridges, shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._pair import config as configs
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer

#: Laid down by `_procedure.install`.
ANNOUNCER = "/usr/lib/hvm/hvm-announce"
UNIT = "hvm-announce.service"
#: Below `role.RUN`: its time is when the addresses were last taken off.
OFF = "shared-ip-off"
ENABLE = "have the shared IP"
#: Seconds for systemd to answer. Nothing waits for the announcer itself.
_TIMEOUT = 10.0


def files(interface: str) -> dict[str, tuple[str, int]]:
    """Path -> (text, mode) of what lets this host keep the shared addresses on `interface`, or on that of its description."""
    if not interface and os.path.exists(configs.PATH):
        try:
            interface = configs.load().interface
        except HvmError:
            return {}  # a description that cannot be used is about to be replaced
    return {path: (text, 0o644) for path, text in bridges.Host().keeping(interface).items()}


def unless_held(failure: HvmError) -> list[str]:
    """That the shared IP is not there keeps no VM down: a warning.

    :raises HvmError: when another machine has it: nobody knows what runs there.
    """
    if "mac" in failure.details or isinstance(failure, Refused):
        raise failure
    return [f"the shared IP is not taken: {failure} (hvm_shared_ip state=enabled)"]


def prepare(config: PairConfig) -> tuple[shared_ip.Prepared | None, list[str]]:
    """Asked for before anything starts: another holder of an address may be the other host. :return: (it, warnings)."""
    if not config.shared_ips:
        return None, []
    try:
        return shared_ip.prepare(config.shared_ips, config.interface, config.gateway), []
    except HvmError as exc:
        return None, unless_held(exc)


def keep_announcing(addresses: t.Sequence[str], interface: str) -> list[str]:
    """Start the announcer, or start it anew; it ends by itself. Returns at once.

    A transient unit, since whatever belongs to this task, or to its ssh session, may end with it.

    :return: warnings: the addresses are here and were announced, so no failure is worth more.
    """
    if not addresses:
        return []
    if not os.path.exists(ANNOUNCER):
        return [f"the shared addresses are announced once only: {ANNOUNCER} is missing. Run the playbook hvm.pair.install"]
    command = [
        "systemd-run",
        "--quiet",
        "--collect",
        "--no-block",
        f"--unit={UNIT}",
        "--description=hvm.pair: tells the neighbours where the shared IP is",
        f"--property=RuntimeMaxSec={announcer.LONGEST + 60:.0f}",
        ANNOUNCER,
        interface,
        *addresses,
    ]
    failure: HvmError | None = None
    for dummy in range(2):  # systemd may need a moment to forget the one that was stopped
        succeeds(["systemctl", "stop", UNIT], _TIMEOUT)  # of an earlier time; mostly there is none
        try:
            run(command, _TIMEOUT)
        except HvmError as exc:
            failure = exc
            time.sleep(0.2)
        else:
            return []
    return [f"the shared addresses are announced once only: {failure}"]


def apply(
    state: str, addresses: t.Sequence[str], interface: str, gateway: str, pair: PairConfig | None, check: bool
) -> dict[str, t.Any]:
    """`hvm hv sharedIP enable` and `disable`.

    :param state: "enabled" or "disabled". :param pair: whose addresses they are; the other host is told that they are gone here.
        None: somebody's, who knows what he does.
    :return: ``{changed, sentence, enabled, addresses, diff, warnings}``
    :raises HvmError: when another machine answers for one, the gateway does not, or this session goes to one.
    :raises Refused: when this host is not ACTIVE. While a migration moves them nobody has them, and nobody answers.
    """
    warnings: list[str] = []
    if state == "enabled":
        if pair is None or shared_ip.status(addresses, interface).enabled:
            change = shared_ip.enable(addresses, interface, gateway, check=check)
        else:
            with taking(pair, operation.SHARED_IP, check) as sure:
                change = shared_ip.enable(addresses, interface, gateway, check=check, sure=sure)
        if change.changed and not check:
            warnings = keep_announcing(addresses, interface)
    else:
        change = shared_ip.disable(addresses, interface, check=True) if check else _off(addresses, interface)
        if change.changed and pair and not check:
            tell_peer(pair)
    return {
        "changed": bool(change.changed),
        "warnings": warnings,
        "sentence": change.after.sentence,
        "enabled": change.after.enabled,
        "addresses": [dataclasses.asdict(where) for where in change.after.addresses],
        "diff": {"before": change.before.text, "after": change.after.text},
    }


@contextlib.contextmanager
def taking(config: PairConfig, name: str, check: bool = False) -> t.Iterator[t.Callable[[], None]]:
    """The shared IP may be taken here: under the lock where it can be had, else beside what does not move it. A sync takes hours.

    :param name: of the operation, for the lock. In check mode it is only looked at.
    :return: what asks once more, for whoever has no lock and was busy for seconds.
    :raises Refused: when this host is not ACTIVE. :raises HvmError: while an operation moves the address, or the role.
    """

    def sure() -> None:
        operation.none_moves()
        now = role.load().now(role.boot_id())
        findings = guards.is_active({"role": {"now": now}, "host": config.me.name, "peer": config.peer.name}, ENABLE)
        if findings:
            raise Refused("enabling the shared IP", findings)

    lock = operation.Lock()
    if not check:
        with contextlib.suppress(HvmError):
            lock.take(name, operation.owner())
    try:
        sure()
        yield sure
    finally:
        lock.release()


def hindrance(config: PairConfig) -> list[str]:
    """Why this host could not take the addresses if the other one gave them up: ``[what, remedy]``, or nothing."""
    if not config.shared_ips:
        return []
    try:
        shared_ip.prepare(config.shared_ips, config.interface, config.gateway, peer_holds=True)
    except HvmError as exc:
        return [exc.what, exc.remedy]
    return []


def take(config: PairConfig) -> None:
    """Without asking who has them: the other host has just given them up, under the lock of this operation.

    Without asking for the gateway either: that was done before the first VM stopped, and they run here in any case. The caller
    lets them be announced again (`keep_announcing`) when nothing waits any more.
    """
    if config.shared_ips:
        shared_ip.take(shared_ip.prepare(config.shared_ips, config.interface, peer_holds=True))


def take_back(config: PairConfig, addresses: t.Sequence[str]) -> list[str]:
    """What this host had until a moment ago, and nobody else can have taken. :return: warnings."""
    if not addresses:
        return []
    shared_ip.take_back(addresses, config.interface)
    return keep_announcing(addresses, config.interface)


def give_up(config: PairConfig) -> bool:
    """:return: whether there was anything to give up."""
    return bool(config.shared_ips and _off(config.shared_ips, config.interface).changed)


def _off(addresses: t.Sequence[str], interface: str) -> shared_ip.Change:
    """Written down before they go: who misses them then (`networks`) must not put them back."""
    with contextlib.suppress(OSError):
        os.makedirs(role.RUN, mode=0o755, exist_ok=True)
        write_atomic(f"{role.RUN}/{OFF}", "", 0o644)
    return shared_ip.disable(addresses, interface)


def last_off() -> int:
    """Whether this differs from what it was says whether somebody has taken the addresses off on purpose meanwhile."""
    try:
        return os.stat(f"{role.RUN}/{OFF}").st_mtime_ns
    except OSError:
        return 0


def tell_peer(config: PairConfig) -> None:
    """This host has let the addresses go: if the other one has them, the neighbours must hear it from there once more.

    They may believe this one, when both had them for a while. Without an answer there is nobody to tell.
    """
    try:
        with Peer(config) as peer:
            peer.call("announce")
    except HvmError:
        pass


def announce(config: PairConfig) -> list[str]:
    """What this host has of the addresses, now and for a while. :return: what was announced."""
    if not config.shared_ips:
        return []
    told = shared_ip.announce(config.shared_ips, config.interface)
    if told:
        keep_announcing(config.shared_ips, config.interface)
    return list(told)
