# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What a playbook makes of several modules, made on a host itself, where there is no controller: for the command `hvm`.

The host that this runs on is the one that acts. If it is not the right one, that is refused, and the other one is named; where a
playbook goes on to the other host, that one is asked by its agent.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.memory import CHECKPOINT, SAVE
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, recovery, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import backup as checkpoints
from ansible_collections.hvm.pair.plugins.module_utils._procedure import brief, cycle, preflight, switchover
from ansible_collections.hvm.pair.plugins.module_utils._procedure import move as moving
from ansible_collections.hvm.pair.plugins.module_utils._procedure import recover as recovering
from ansible_collections.hvm.pair.plugins.module_utils._procedure import rejoin as rejoining
from ansible_collections.hvm.pair.plugins.module_utils._procedure import rollback as rolling
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe
from ansible_collections.hvm.pair.plugins.module_utils._zfs.retention import Rules

#: By systemd, some seconds later: whoever asked for it has its answer by then.
POWEROFF = [
    *("systemd-run", "--quiet", "--collect", "--on-active=3s", "--timer-property=AccuracySec=100ms"),
    *("systemctl", "poweroff"),
]


def begin(config: PairConfig, operation: str) -> list[str]:
    """Whether `operation` may begin, on this host. :return: warnings.

    :raises Refused: with every finding; and when it is the other host that acts.
    """
    found = preflight.preflight(config, operation)
    if not found["acts"]:
        raise Refused(operation, [Finding(found["sentence"], f"Run it there, on {found['active']}.", config.me.name)])
    return list(found["warnings"])


def backup(config: PairConfig, progress: Progress, options: checkpoints.Options, rules: Rules, check: bool) -> dict[str, t.Any]:
    """`backup secure` and `backup unsecure`, whole. :return: as `cycle.run`, with the name of the ACTIVE host.

    :raises Refused: on a host that is not ACTIVE; the one that is gets named.
    """
    if role.load().now(role.boot_id()) != role.ACTIVE:
        begin(config, "backup" if options.method in (CHECKPOINT, SAVE) else "backup_unsecure")
    return {"active": config.me.name, **cycle.run(config, options, rules, progress, check)}


def migrate(config: PairConfig, progress: Progress, check: bool) -> dict[str, t.Any]:
    """`migrate secure`, with what its playbook asks before. :return: as `switchover.migrate`."""
    warnings = begin(config, "migrate")
    done = switchover.migrate(config, progress, check)
    return {**done, "warnings": warnings + list(done.get("warnings", []))}


def move(config: PairConfig, progress: Progress, options: moving.Options, check: bool) -> dict[str, t.Any]:
    """`migrate unsecure`, with what its playbook asks before. :return: as `move.migrate`."""
    warnings = begin(config, "migrate_unsecure")
    done = moving.migrate(config, progress, check, options)
    return {**done, "warnings": warnings + list(done.get("warnings", []))}


def roll_back(config: PairConfig, progress: Progress, state: str, to: str, check: bool) -> dict[str, t.Any]:
    """:param state, to: as `rollback.apply` has them. :return: as that."""
    begin(config, "follow" if state == "followed" else "rollback")
    return rolling.apply(config, state, to, check, progress)


def recover(
    config: PairConfig, progress: Progress, peer_is_down: str, check: bool, give_up: str = ""
) -> dict[str, t.Any]:
    """What this host has to do after a crash; once it is ACTIVE, the other one comes back as its replica.

    :raises Refused: when the other host comes first.
    :return: as `recover.apply`; ``rejoin`` is what became of the other host, where it was asked.
    """
    done = recovering.apply(config, peer_is_down, check, progress, give_up)
    if done["do"] == recovery.ELSEWHERE:
        raise Refused(recovery.RECOVER, [Finding(done["sentence"], f"Go on there, on {config.peer.name}.", config.me.name)])
    done["rejoin"] = None
    if done["role"] == role.ACTIVE and done["peer_answers"] and not check:
        # what it has of its own is only made sure of: that is for the operator to decide
        done["rejoin"] = rejoining.apply(config, rejoining.Words(), False, progress)
        done["warnings"] = done["warnings"] + done["rejoin"].pop("warnings")
        done["changed"] = done["changed"] or done["rejoin"]["changed"]
    return done


def shut_down(config: PairConfig, progress: Progress, name: str, check: bool) -> dict[str, t.Any]:
    """Empties this host by a migration if it is ACTIVE, sees that it is PASSIVE and idle, and switches it off.

    :param name: this host's, as the operator's word; "" when there is none.
    :return: ``{changed, host, peer, migration: result or None, warnings}``
    :raises Refused: over the shared IP, which moves; for another host's name. Nothing was changed then.
    """
    me = observe(config)
    here = config.me.name
    if name not in ("", here):
        raise Refused("switching off", [Finding(f"this is {here}, not {name}", f"Run it on {name}.", here)])
    if me["shared_ip"]["in_use_by_us"]:
        remedy = f"Connect to the host's own address, {config.me.address}."
        what = "this session comes in over the shared IP, which is about to move"
        raise Refused("switching off", [Finding(what, remedy, here)])
    result: dict[str, t.Any] = {"changed": True, "host": here, "peer": config.peer.name, "migration": None, "warnings": []}
    if me["role"]["now"] == role.ACTIVE:
        result["migration"] = migrate(config, progress, check)
        result["warnings"] = result["migration"].pop("warnings")
        if check:
            return result
        me = observe(config)
    findings = guards.switch_off(me)
    if findings and result["migration"]:
        said = " ".join(one.sentence() for one in findings)
        raise HvmError(f"the VMs are on {config.peer.name}, and {here} stays on: {said}", "", changed=True)
    if findings:
        raise Refused("switching off", findings)
    if not check:
        progress.say(f"{here} is PASSIVE: it is switched off in 3 s")
        run(POWEROFF)
    return result


def status(config: PairConfig) -> dict[str, t.Any]:
    """Everything, as `hvm_info` returns it."""
    found = observe(config)
    found.update(preflight.peer_answers(config, found))
    return {"changed": False, "hvm": found, "status": brief.lines(found), "moving": preflight.places(config, found)}
