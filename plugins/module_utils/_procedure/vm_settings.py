# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What a VM's description says of it, and its channel for an agent: set on the ACTIVE host; they travel with the VM."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import description, domains, guest_agent, image
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import verbs
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe

#: virDomainXMLFlags VIR_DOMAIN_XML_SECURE, _INACTIVE; virDomainMetadataType, virDomainModificationImpact.
_SECURE, _INACTIVE = 1, 2
_DESCRIPTION, _LIVE, _CONFIG = 0, 1, 2
#: What a description says (`_libvirt.description.settings`).
SETTINGS = tuple(description.settings(""))
#: What a setting may be: (lowest, highest).
LIMITS = {"priority": (1, description.LOWEST), "ready_timeout": (1, description.LONGEST), "delay": (0, description.LONGEST)}


def check(wanted: t.Mapping[str, t.Any]) -> None:
    """:raises Refused: with every value that a description could not say."""
    found = []
    for key, (lowest, highest) in LIMITS.items():
        if key in wanted and not lowest <= wanted[key] <= highest:
            found.append(Finding(f"{key} is {wanted[key]}", f"It goes from {lowest} to {highest}."))
    ready = wanted.get("ready", "")
    if ready and description.ready(f"ready={ready}") != ready:
        found.append(Finding(f"ready is {ready!r}", "It is 'agent', 'tcp:HOST:PORT' in lower case, or empty."))
    if found:
        raise Refused("this", found)


def apply(
    config: PairConfig,
    names: t.Sequence[str],
    everything: bool,
    wanted: t.Mapping[str, t.Any],
    agent: bool | None,
    is_check: bool,
) -> dict[str, t.Any]:
    """:param wanted: some of `description.settings`. :param agent: whether there is a channel for an agent; None: as it is.

    :return: ``{changed, actions, vms: {name: {autostart, priority, ..., agent_channel}}, diff, warnings}``
    :raises Refused: before anything is changed, with every reason.
    """
    check(wanted)
    me = observe(config)
    verbs.need_hypervisor(me, "change VMs")
    if not names and not everything:
        raise HvmError("no VM is named", "Give 'name', or 'all: true'.")
    domains.check_names(names, me["vms"])
    chosen = list(me["vms"]) if everything else list(dict.fromkeys(names))
    findings = refusals(config, me, chosen)
    if findings:
        raise Refused("this", findings)
    conn = domains.connect()
    try:
        done = [_one(conn, name, wanted, agent, is_check) for name in chosen]
    finally:
        conn.close()
    return {
        "changed": any(one["actions"] for one in done),
        "actions": [text for one in done for text in one["actions"]],
        "vms": {one["name"]: one["after"] for one in done},
        "diff": {when: {one["name"]: one[when] for one in done} for when in ("before", "after")},
        "warnings": [text for one in done for text in one["warnings"]],
    }


def refusals(config: PairConfig, me: t.Mapping[str, t.Any], names: t.Iterable[str]) -> list[Finding]:
    """Why these VMs are left alone: all of it."""
    found = []
    if operation.others_operation() in guards.MOVING:
        found.append(Finding(f"another operation is running: {me['lock']}", "Wait until it has ended."))
    for name in names:
        if not me["vms"][name]["persistent"]:
            found.append(Finding(f"VM {name} is transient: it has no definition to change", "Define it (virsh define)."))
        elif image.exists(config.state_dir, name):
            what = f"VM {name} has a state image, which brings its own definition back"
            found.append(Finding(what, "Restore it first (hvm_vm state=restored)."))
    return found


def _one(conn: t.Any, name: str, wanted: t.Mapping[str, t.Any], agent: bool | None, is_check: bool) -> dict[str, t.Any]:
    dom = conn.lookupByName(name)
    xml = dom.XMLDesc(_SECURE | _INACTIVE)
    text = domains.parse_xml(xml)["description"]
    has_agent = guest_agent.channel(xml) != guest_agent.NONE
    before = {**description.settings(text), "agent_channel": has_agent}
    after = {**before, **wanted, "agent_channel": has_agent if agent is None else agent}
    actions, warnings = [], []
    if after["agent_channel"] != has_agent:
        actions.append(f"{name}: channel for an agent {'added' if agent else 'removed'}")
        if not is_check:
            conn.defineXML(guest_agent.with_channel(xml, after["agent_channel"]))
        if dom.isActive():
            warnings.append(f"VM {name} runs: the channel for its agent changes when it is shut down and started again")
    new = description.changed(text, wanted)
    if new != text:
        actions.append(f"{name}: description is now {new!r}")
        if not is_check:
            dom.setMetadata(_DESCRIPTION, new, None, None, _CONFIG)
    if dom.isActive():  # it may say something else while it runs
        live = domains.parse_xml(dom.XMLDesc(0))["description"]
        new_live = description.changed(live, wanted)
        if new_live != live:
            if new == text:
                actions.append(f"{name}: description of the running VM is now {new_live!r}")
            if not is_check:
                dom.setMetadata(_DESCRIPTION, new_live, None, None, _LIVE)
    return {"name": name, "before": before, "after": after, "actions": actions, "warnings": warnings}
