# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""One verb of the manual on one VM, several, or all."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, guest_agent, image, readiness, stopping
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import backup, saving, states
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import qemu_processes
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

#: One VM does not wait for another there; and on a bad night each counts.
TO_THE_END = ("poweredoff", "restored")


def candidates(verb: str, infos: dict[str, dict[str, t.Any]], saved: t.Sequence[str]) -> list[str]:
    """The VMs that `all` means for a verb; pure."""
    if verb == "started":
        return [name for name, vm in infos.items() if vm["autostart"]]
    if verb == "restored":
        return list(saved)
    return list(infos)


def needs(verb: str, vm: dict[str, t.Any], has_process: bool = False) -> bool:
    """Whether the verb has anything to do on a VM; pure.

    :param has_process: there is a QEMU of it, whatever libvirt says.
    """
    state = vm["state"]
    return {
        "started": state != domains.RUNNING,
        "saved": state != domains.STOPPED,
        "restored": bool(vm["saved"]),
        "frozen": state == domains.RUNNING,
        "unfrozen": state == domains.FROZEN,
        "shutdown": state != domains.STOPPED or has_process,
        "poweredoff": state != domains.STOPPED or has_process,
    }[verb]


def doubtful(verb: str, infos: t.Mapping[str, t.Any], names: t.Iterable[str], processes: t.Collection[str]) -> list[Finding]:
    """VMs that must not be started, since they cannot be proven stopped; pure."""
    if verb not in ("started", "restored"):
        return []
    return [
        Finding(
            f"VM {name} has a process, although libvirt does not call it running",
            "It cannot be proven stopped. Look for the process; a second one would destroy its disks.",
        )
        for name in names
        if name in processes and (name not in infos or infos[name]["state"] == domains.STOPPED)
    ]


@dataclasses.dataclass(frozen=True)
class Options:
    """:ivar limits: of the stages of a shutdown, and of switching off.
    :ivar parallel: VMs of one priority that are worked on at once.
    :ivar force: the operator's word for what cannot be proven of a state image.
    """

    limits: stopping.Limits = dataclasses.field(default_factory=stopping.Limits)
    parallel: int = domains.PARALLEL
    force: bool = False


def need_hypervisor(me: dict[str, t.Any], what: str) -> None:
    """:raises HvmError: where libvirt does not run: `what` only the ACTIVE host can."""
    if me["hypervisor"]["running"]:
        return
    findings = guards.is_active(me, what)
    if findings:
        raise Refused("this", findings)
    raise HvmError("the hypervisor is stopped", "Start it: hvm_hypervisor state=started.")


def apply(
    config: PairConfig,
    verb: str,
    names: t.Sequence[str],
    everything: bool,
    options: Options,
    check: bool,
    progress: Progress | None = None,
) -> dict[str, t.Any]:
    """:param progress: for whoever watches; a line for each VM that is done.
    :return: ``{changed, actions, vms, diff, warnings}``
    :raises HvmError: when a VM is unknown (before anything is done), or the verb failed on some.
    """
    if options.parallel < 1:
        raise HvmError(f"parallel is {options.parallel}", "It is 1 or more: VMs of one priority at once.")
    me = observe(config)
    need_hypervisor(me, "run VMs")
    findings = guards.vms(me, verb, operation.others_operation())
    if findings:
        raise Refused("this", findings)
    if not check and _cured(config, me, verb):
        me = observe(config)
    if not names and not everything:
        raise HvmError("no VM is named", "Give 'name', or 'all: true'.")
    infos = me["vms"]
    known = set(infos) | (set(me["saved"]) if verb == "restored" else set())
    domains.check_names(names, known)
    wanted = candidates(verb, infos, me["saved"]) if everything else list(dict.fromkeys(names))
    todo = [name for name in wanted if name not in infos or needs(verb, infos[name], name in me["qemu"])]
    # asked again: one that ended during the first look had a process at its beginning, and none at its end
    findings = doubtful(verb, infos, todo, me["qemu"]) and doubtful(verb, infos, todo, qemu_processes())
    if findings:
        raise Refused("this", findings)
    findings = guards.go_on(me, todo) if verb == "unfrozen" else []
    if findings:
        raise Refused("this", findings)
    before = {name: infos[name]["state"] if name in infos else "saved" for name in wanted}
    if check or not todo:
        errors = _would_fail(config, verb, infos, todo, options.force)
        if errors:
            groups = domains.order(infos, todo, domains.VERBS[verb][1])
            raise _not_all(verb, errors, groups, {"actions": [], "vms": before, "changed": False, "warnings": []})
        after = {name: AFTER[verb] if name in todo else state for name, state in before.items()}
        return {"changed": bool(todo), "actions": [], "vms": after, "diff": {"before": before, "after": after}}
    return _work(config, verb, infos, todo, before, options, progress or Progress())


def _would_fail(config: PairConfig, verb: str, infos: dict[str, t.Any], todo: list[str], force: bool) -> dict[str, str]:
    """What the verb itself refuses because of a state image, found without doing anything. :return: name -> error."""
    errors: dict[str, str] = {}
    if verb == "started":
        stopped = [name for name in todo if infos[name]["state"] != domains.FROZEN and infos[name]["saved"]]
        errors = {name: str(domains.has_saved_state(name)) for name in stopped}
    elif verb == "restored" and todo:
        written = states.written(states.manifests(config.state_dir).values())
        conn = domains.connect()
        for name in todo:
            try:
                image.may_restore(conn, name, config.state_dir, written, force=force)
            except Exception as exc:  # noqa: BLE001  as `domains.for_each`
                errors[name] = str(exc)
        conn.close()
    return errors


def _cured(config: PairConfig, me: dict[str, t.Any], verb: str) -> bool:
    """`backup.cure_before`. What keeps it from ending may be the very VM that shall be off."""
    try:
        return bool(backup.cure_before(config, me))
    except HvmError:
        if verb in ("shutdown", "poweredoff"):
            return True
        raise


def _work(
    config: PairConfig,
    verb: str,
    infos: dict[str, t.Any],
    todo: list[str],
    before: dict[str, str],
    options: Options,
    progress: Progress,
) -> dict[str, t.Any]:
    function, descending = domains.VERBS[verb]
    actions: list[str] = []
    warnings: list[str] = []
    gone_on: list[str] = []
    conn = domains.connect()

    def done(name: str, text: str | None, *dummy: float) -> None:
        if text:
            actions.append(text)
            progress.say(text)
            if verb in ("restored", "unfrozen") or (verb == "started" and before[name] == domains.FROZEN):
                gone_on.append(name)

    def wait(names: t.Sequence[str], last: bool) -> None:
        if verb == "started":
            warnings.extend(readiness.wait_for(conn, readiness.waits(infos, names, last)))

    extra: dict[str, t.Any] = {}
    if verb in ("shutdown", "poweredoff"):
        extra = {"processes": qemu_processes, "limits": options.limits}
    groups = domains.order(infos, todo, descending)
    with saving.around(config, verb, infos, todo, options.force, actions.append) as more:
        errors = domains.for_each(
            function, conn, groups, config.state_dir, done, options.parallel, wait, verb in TO_THE_END, **extra, **more
        )
    if verb in ("started", "restored"):
        # an image brings its VM's definition along, and somebody may have set it since the hypervisor was started
        actions += [f"libvirt's own autostart of {name} switched off" for name in domains.neutralise_autostart(conn)]
    warnings += guest_agent.set_clock(conn, gone_on)
    after_all = {name: vm["state"] for name, vm in domains.vms(conn, config.state_dir).items()}
    conn.close()
    # a transient VM is not known any more when it has ended
    after = {name: after_all.get(name, "saved" if verb == "restored" else domains.STOPPED) for name in before}
    if errors:
        facts = {"actions": actions, "vms": after, "changed": bool(actions), "warnings": warnings}
        raise _not_all(verb, errors, groups, facts)
    return {
        "changed": bool(actions),
        "actions": actions,
        "vms": after,
        "diff": {"before": before, "after": after},
        "warnings": warnings,
    }


def _not_all(verb: str, errors: dict[str, str], groups: list[list[str]], facts: dict[str, t.Any]) -> HvmError:
    said = domains.failures(errors, groups, verb in TO_THE_END)
    return HvmError(f"not all VMs are {verb}: {said}", "Mend that, then run this again: what is done stays.", **facts)
