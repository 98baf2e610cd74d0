# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Results as lines for people: by the action that gave them. Pure.

What a playbook reports too is the same report, in the words of this command (`words.ours`).
"""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._command.words import Words
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import human

Result = dict[str, t.Any]
#: Actions that show names and stamps, and no sentences: a VM may be called anything.
DATA = ("vms_list", "vm_status", "snap_list", "kept_list")
#: (result, words of the tree, values, check mode?, texts) -> lines
Shown = t.Callable[[Result, tuple[str, ...], dict[str, t.Any], bool, Words], list[str]]


def status(result: Result, dummy: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    """:param words: in the language of the three lines, which is not always that of the rest."""
    lines = [words(line) for line in result["status"]]
    if "hvm" not in result:
        return lines
    from ansible_collections.hvm.pair.plugins.module_utils._report.status import status as report

    return lines + report(result)[len(lines) :]


def vms_list(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    return list(result["lists"][told[0]])


def vm_status(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    """As `vms list all`, also of one that is only saved: libvirt need not know it."""
    only_saved = [f"{name}  backup" for name in result["saved"] if name not in result["vms"]]
    return [*result["lists"]["all"], *only_saved]


def snap_list(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    which = told[0] if told else values["which"]
    return list(result["lists"][which]) or [words("no set")]


def constraint_show(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    return str(result["text"]).rstrip("\n").split("\n")


def constraint(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    return [result["sentence"]]


def kept_list(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    return [words("kept", **{**one, "size": human(one["used"])}) for one in result["kept"]] or [words("nothing kept")]


def net_list(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    lines = []
    for one in result["networks"]:
        lines.append(words.said(one["sentence"]))
        for host, wrong in one["hosts"].items():
            lines.append(f"  {host}: {'; '.join(map(words.said, wrong)) or words('as declared')}")
    return lines or [words("no network")]


def net_add(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    if not result["changed"]:
        return [*filter(None, [result["sentence"]]), words("nothing to do would" if check else "nothing to do")]
    steps = result["plan"] if check else {}
    lines = [words("plan")] if check else []
    for host, done in result["actions"].items():
        lines += [f"{host}: {words.said(action)}" for action in done]
        lines += [f"  {step}" for step in steps.get(host, ())]
    return lines or [result["sentence"]]


net_remove = net_apply = net_add


def complete(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    return list(result["words"])


def backup(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    from ansible_collections.hvm.pair.plugins.module_utils._core.report import report

    return report(result["checkpoint"], result["active"], result["sync"], result["prune"])


def migrate(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    from ansible_collections.hvm.pair.plugins.module_utils._core.report import report

    return report(result)


migrate_unsecure = migrate


def hypervisor(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    from ansible_collections.hvm.pair.plugins.module_utils._report.steps import steps

    running = told[0] == "started"
    then = words("vms next") if running else ""
    return steps(result, words(f"Hypervisor is {'running' if running else 'stopped'}"), then, check)


def shared_ip(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    state = [f"  {one['sentence']}" for one in result["addresses"]]
    return [words("Shared IP is enabled" if result["enabled"] else "Shared IP is disabled"), *state]


def verb(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    if not result["changed"]:
        return [words("nothing to do would" if check else "nothing to do")]
    before = result["diff"]["before"]
    if check:
        return [words("would be", name=name, state=state) for name, state in result["vms"].items() if state != before[name]]
    return [*result["actions"], *(words("is", name=name, state=state) for name, state in result["vms"].items())]


def vm_set(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    return list(result["actions"]) or [words("nothing to do would" if check else "nothing to do")]


def snap_create(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    return [words("would be taken" if check else "taken", name=result["set"])]


def snap_destroy(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    gone = [words("would be destroyed" if check else "destroyed", name=name) for name in result["destroyed"]]
    return gone or [words("nothing to do would" if check else "nothing to do")]


def snap_sync(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    name = result["set"]
    if check:
        plan = result.get("plan") or []
        total = human(sum(step.get("bytes") or 0 for step in plan))
        steps = [words("sync of", dataset=step["dataset"], size=human(step.get("bytes") or 0)) for step in plan]
        return [words("would sync", name=name, size=total), *steps] if plan else [words("in step", name=name)]
    if not result["changed"]:
        return [words("in step", name=name)]
    return [words("synced", name=name, size=human(result.get("bytes", 0)))]


def snap_createsync(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    made = snap_create(result["create"], told, values, check, words)
    return made + snap_sync(result["sync"], told, values, check, words)


def snap_purge(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    """In check mode with every set that stays, and why: that is what one looks for in it."""
    lines = [words("would be destroyed" if check else "destroyed", name=name) for name in result["destroyed"]]
    if check:
        lines += [words("stays", name=one["set"], reason=one["reason"]) for one in result["decisions"] if one["keep"]]
    lines += [words("stays", name=name, reason="; ".join(why)) for name, why in result["blocked"].items() if not check]
    return lines or [words("nothing to do would" if check else "nothing to do")]


def rollback(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    from ansible_collections.hvm.pair.plugins.module_utils._report.rollback import rollback as report

    return report(result, check)


def mount(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    if not result["changed"]:
        return [words("nothing to do would" if check else "nothing to do")]
    return [words(f"would be {told[0]}" if check else told[0], points=", ".join(result["mountpoints"]) or "-")]


def kept_drop(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    gone = [words("would be destroyed" if check else "destroyed", name=name) for name in result["destroyed"]]
    return gone or [words("nothing to do would" if check else "nothing to do")]


def recover(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    from ansible_collections.hvm.pair.plugins.module_utils._report.recovery import recovery

    other = result.get("rejoin")
    return recovery(result, check) + (recovery(other) if other and other["do"] else [])


failover = rejoin = recover


def shutdown(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    moved = migrate(result["migration"], told, values, check, words) if result["migration"] else []
    return [*moved, words("would be switched off" if check else "switched off", host=result["host"], peer=result["peer"])]


def scheduled(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    return list(result["report"])


def acknowledge(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    if not result["changed"]:
        return [words("nothing to do would" if check else "nothing to do")]
    return [words("would be acknowledged" if check else "acknowledged")]


def cancel(result: Result, told: tuple[str, ...], values: dict[str, t.Any], check: bool, words: Words) -> list[str]:
    return [result["sentence"], *([words("cancel later")] if not check else [])]


def by_action(action: str) -> Shown:
    return t.cast("Shown", globals()[action])


def error(outcome_error: dict[str, t.Any], words: Words) -> list[str]:
    findings = outcome_error.get("findings")
    if findings:
        lines = [words("refused", operation=words.said(outcome_error["operation"]))]
        for what, remedy, host in findings:
            lines.append(f"  {host}: {words.sentence(what, remedy)}" if host else f"  {words.sentence(what, remedy)}")
        return lines + [f"  {words.said(line)}" for line in outcome_error.get("more", [])]
    if outcome_error.get("bug"):
        return [words("bug", kind=outcome_error["bug"], text=outcome_error["what"])]
    return [words.sentence(outcome_error["what"], outcome_error["remedy"])]
