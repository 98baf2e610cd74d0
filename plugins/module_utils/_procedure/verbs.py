# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""One verb of the manual on one VM, several, or all."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import backup, saving
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe

#: State of a VM after the verb, for check mode's diff.
AFTER = {
    "started": "running",
    "saved": "stopped",
    "restored": "running",
    "frozen": "frozen",
    "unfrozen": "running",
    "shutdown": "stopped",
    "poweredoff": "stopped",
}


def candidates(verb: str, infos: dict[str, dict[str, t.Any]], saved: t.Sequence[str]) -> list[str]:
    """The VMs that `all` means for a verb; pure."""
    if verb == "started":
        return [name for name, vm in infos.items() if vm["autostart"]]
    if verb == "restored":
        return list(saved)
    return list(infos)


def needs(verb: str, vm: dict[str, t.Any]) -> bool:
    """Whether the verb has anything to do on a VM; pure."""
    state = vm["state"]
    return {
        "started": state != domains.RUNNING,
        "saved": state != domains.STOPPED,
        "restored": bool(vm["saved"]),
        "frozen": state == domains.RUNNING,
        "unfrozen": state == domains.FROZEN,
        "shutdown": state != domains.STOPPED,
        "poweredoff": state != domains.STOPPED,
    }[verb]


def apply(
    config: PairConfig,
    verb: str,
    names: t.Sequence[str],
    everything: bool,
    timeout: int,
    parallel: int,
    check: bool,
    force: bool = False,
) -> dict[str, t.Any]:
    """:return: ``{changed, actions, vms, diff}``
    :raises HvmError: when a VM is unknown (before anything is done), or the verb failed on some.
    """
    me = observe(config)
    if not me["hypervisor"]["running"]:
        findings = guards.is_active(me, "run VMs")
        if findings:
            raise Refused("this", findings)
        raise HvmError("the hypervisor is stopped", "Start it: hvm_hypervisor state=started.")
    if not check and backup.cure_before(config, me):
        me = observe(config)
    if not names and not everything:
        raise HvmError("no VM is named", "Give 'name', or 'all: true'.")
    infos = me["vms"]
    known = set(infos) | (set(me["saved"]) if verb == "restored" else set())
    domains.check_names(names, known)
    wanted = candidates(verb, infos, me["saved"]) if everything else list(names)
    todo = [name for name in wanted if name not in infos or needs(verb, infos[name])]
    before = {name: infos[name]["state"] if name in infos else "saved" for name in wanted}
    if check or not todo:
        after = {name: AFTER[verb] if name in todo else state for name, state in before.items()}
        return {"changed": bool(todo), "actions": [], "vms": after, "diff": {"before": before, "after": after}}
    function, descending = domains.VERBS[verb]
    actions: list[str] = []
    conn = domains.connect()
    extra = {"timeout": timeout} if verb == "shutdown" else {}
    with saving.around(config, verb, infos, todo, force, actions.append) as more:
        errors = domains.for_each(
            function,
            conn,
            domains.order(infos, todo, descending),
            config.state_dir,
            lambda dummy, text, *rest: actions.append(text) if text else None,
            parallel,
            **extra,
            **more,
        )
    after_all = {name: vm["state"] for name, vm in domains.vms(conn, config.state_dir).items()}
    conn.close()
    after = {name: after_all.get(name, "saved") for name in wanted}
    if errors:
        said = "; ".join(f"{name}: {text}" for name, text in sorted(errors.items()))
        raise HvmError(f"not all VMs are {verb}: {said}", "", actions=actions, vms=after, changed=bool(actions))
    return {"changed": bool(actions), "actions": actions, "vms": after, "diff": {"before": before, "after": after}}
