# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What each command of the tree calls: the functions of `_procedure` that the modules call, with the same arguments.

Each is loaded when it is called: `hvm status` needs hardly anything. Those that change something run in a process of their own
(`_command.detached`), which has loaded the whole library before it begins.
"""

from __future__ import annotations

import shlex
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress, bytes_of
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig

Result = dict[str, t.Any]


class Call(t.NamedTuple):
    """:ivar words: what the tree says besides what was typed. :ivar values: what was typed, by key.
    :ivar json: all facts are wanted.
    """

    config: PairConfig
    words: tuple[str, ...]
    values: dict[str, t.Any]
    check: bool
    progress: Progress
    json: bool = False


# ---- what only looks


def status(call: Call) -> Result:
    """The three lines, or one of them; all there is to know with --all, and as data."""
    if call.words == ("all",) and (call.values["all"] or call.json):
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import alone

        return alone.status(call.config)
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import brief

    lines = brief.lines(brief.look(call.config))
    which = {"all": slice(None), "hypervisor": slice(0, 1), "shared_ip": slice(1, 2), "vms": slice(2, 3)}[call.words[0]]
    return {"changed": False, "host": call.config.me.name, "status": lines[which]}


def vms_list(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import vms

    return vms.look(call.config, vms.Filter())


def vm_status(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import vms

    return vms.look(call.config, vms.Filter(tuple(call.values["names"])))


def snap_list(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import snapshots

    return snapshots.look(call.config, used=False)


def constraint_show(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import constraints

    return constraints.query(call.config)


def kept_list(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import rollback

    return {"changed": False, "kept": rollback.kept_list(call.config)}


def net_list(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import networks

    return networks.query(call.config)


def complete(call: Call) -> Result:
    """Words for the completion, one each; none where they cannot be told."""
    from ansible_collections.hvm.pair.plugins.module_utils._command import tree

    kind = call.values["kind"]
    if kind == tree.HOSTS:
        return {"words": [one.name for one in call.config.hosts]}
    if kind == tree.VMS:
        found = vms_list(call)
        return {"words": sorted({*found["vms"], *found["saved"]})}
    if kind == tree.NETWORKS:
        from ansible_collections.hvm.pair.plugins.module_utils._procedure import networks

        return {"words": sorted(networks.summary(call.config)["declared"])}
    if kind == tree.SETS:
        return {"words": [one["stamp"] for one in snap_list(call)["sets"]]}
    return {"words": [one["name"] for one in kept_list(call)["kept"]]}


# ---- what changes something


def backup(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import alone
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import backup as backups

    options = backups.Options(call.values["method"], backups.ways(call.values.get("fallback", ("save", "frozen"))))
    return alone.backup(call.config, call.progress, options, _rules(call.values), call.check)


def _rules(values: t.Mapping[str, t.Any]) -> t.Any:
    from ansible_collections.hvm.pair.plugins.module_utils._zfs import retention

    counts = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly")
    return retention.Rules(values["older_than"], values["except_at"], **{name: values[name] for name in counts})


def migrate(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import alone

    return alone.migrate(call.config, call.progress, call.check)


def migrate_unsecure(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._pair import modes
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import alone, move

    values = call.values
    policy = modes.Policy(
        wish=values["mode"], limit=values["limit"], max_pause=values["max_pause"], fallback=values["fallback"]
    )
    options = move.Options(policy, values["rate"], values["on_failure"] == "stay")
    return alone.move(call.config, call.progress, options, call.check)


def constraint(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import constraints

    work = {"present": constraints.put, "absent": constraints.take_out}[call.words[0]]
    return work(call.config, call.values["host"], call.values["start"], call.values["end"], call.check)


def hypervisor(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import switch

    return switch.apply(call.config, call.words[0], call.values.get("peer_is_down", ""), call.check, call.progress)


def shared_ip(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import address

    pair = call.config
    if not pair.shared_ips:
        raise HvmError("the pair has no shared IP", "Set hvm_shared_ip in the inventory and run the playbook hvm.pair.install.")
    return address.apply(call.words[0], list(pair.shared_ips), pair.interface, pair.gateway, pair, call.check)


def verb(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._libvirt import stopping
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import verbs

    values, plain = call.values, stopping.Limits()
    limits = stopping.Limits(
        values.get("agent_timeout", plain.agent),
        values.get("acpi_timeout", plain.acpi),
        values.get("poweroff_timeout", plain.poweroff),
        values.get("poweroff", False),
    )
    options = verbs.Options(limits, values["parallel"], values.get("force", False))
    names = values.get("names", [])
    return verbs.apply(call.config, call.words[0], names, not names, options, call.check, call.progress)


def vm_set(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import vm_settings

    said = {"yes": True, "no": False, "none": ""}
    asked = {key: call.values[key] for key in (*vm_settings.SETTINGS, "agent_channel") if call.values[key] is not None}
    if not asked:
        raise HvmError("nothing is to be set", "Say what: 'hvm help vm set' lists it.")
    wanted: dict[str, t.Any] = {key: said.get(value, value) for key, value in asked.items()}
    agent = wanted.pop("agent_channel", None)
    return vm_settings.apply(call.config, call.values["names"], False, wanted, agent, call.check)


def snap_create(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import snapshots

    return snapshots.apply(call.config, "present", None, call.values["consistency"], call.check)


def snap_destroy(call: Call) -> Result:
    """Takes the timestamp alone, too, as a rollback does."""
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import snapshots

    return snapshots.apply(call.config, "absent", _whole_name(call, call.values["name"]), "crash", call.check)


def _whole_name(call: Call, word: str) -> str:
    """Of a set that is named by its timestamp, as it is listed and completed."""
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import snapshots

    found = [one["name"] for one in snapshots.look(call.config, used=False)["sets"] if one["stamp"] == word]
    return found[-1] if found else word


def snap_sync(call: Call) -> Result:
    name = call.values["set"]
    return _sync(call, _whole_name(call, name) if name else name)


def snap_createsync(call: Call) -> Result:
    """In check mode the set is not there that would be sent: then the plan is that of the newest one."""
    taken = snap_create(call)
    sent = _sync(call, None if call.check else taken["set"])
    return {"changed": True, "create": taken, "sync": sent, "warnings": sent.pop("warnings", [])}


def _sync(call: Call, name: str | None) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import early

    values = call.values
    rate = bytes_of(values["rate"])
    ahead = early.ahead(call.config)
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import sync  # loaded while both hosts look

    options = sync.Options(
        streams=values["streams"],
        rate=rate,
        compress=values["compress"],
        stalled=values["stalled"],
        give_up=values["give_up_after"],
        content=values["verify"] == "content",
        aside=values["set_aside"],
        retries=values["retries"],
    )
    return sync.run(call.config, call.progress, name, call.check, options, ahead)


def snap_purge(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import prune

    return prune.prune(call.config, _rules(call.values), call.progress, call.check)


#: The manual's words for a set, and shorter ones -> what `_zfs.rollback.choose` takes.
_SETS = {"lasts": "last", "lastb": "last_state", "lastsb": "last_state"}


def set_of(word: str) -> str:
    return _SETS.get(word.lower(), word)


def rollback(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import alone
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import rollback as rolling

    state = call.values.get("state", call.words[0] if call.words else "")
    to = rolling.aim_of(state, set_of(call.values["to"]), call.values.get("kept", ""))
    return alone.roll_back(call.config, call.progress, state, to, call.check)


def mount(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import mount as mounting

    return mounting.apply(call.config, call.words[0], call.values.get("peer_is_down", ""), call.check)


def kept_drop(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import rollback as rolling

    return rolling.drop(call.config, call.values["name"], call.check)


def net_add(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import networks

    values = call.values
    found: dict[str, t.Any] = {key: values[key] for key in ("name", "vlan", "mtu") if values[key] is not None}
    interfaces = list(values["interface"])
    if len(interfaces) == 1 and "=" not in interfaces[0]:
        found["interface"] = interfaces[0]
    elif interfaces:
        found["interface"] = {host: those[-1] for host, those in _by_host("--interface", interfaces).items()}
    if values["address"]:
        found["addresses"] = _by_host("--address", values["address"])
    return networks.put(call.config, [found], call.check)


def _by_host(option: str, words: t.Sequence[str]) -> dict[str, list[str]]:
    """:raises HvmError: for what is no HOST=VALUE."""
    found: dict[str, list[str]] = {}
    for word in words:
        host, equals, value = word.partition("=")
        if not equals:
            raise HvmError(f"{option}: {word!r} is for no host", f"Write {option} HOST={word}.")
        found.setdefault(host, []).append(value)
    return found


def net_remove(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import networks

    return networks.take_out(call.config, [call.values["name"]], call.check)


def net_apply(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import networks

    return networks.reapply(call.config, call.check)


def recover(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import alone

    words = call.values
    return alone.recover(call.config, call.progress, words["peer_is_down"], call.check, words["give_up"])


def failover(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import failover as failing

    try:
        fence = shlex.split(call.values["fence"])
    except ValueError as exc:
        raise HvmError(f"--fence: {exc}", "Give the whole command in quotes, as a shell would read it.") from exc
    words = failing.Words(call.values["dead_host"], call.values["give_up"], fence)
    return failing.apply(call.config, set_of(call.values["to"]), words, call.check, call.progress)


def rejoin(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import rejoin as rejoining

    values = call.values
    if values["choice"] == "discard" and not values["discard"]:
        remedy = f"Name it: --discard NAME. The hosts are {' and '.join(one.name for one in call.config.hosts)}."
        raise HvmError("the host whose own data are to be destroyed is not named", remedy)
    words = rejoining.Words(values["choice"], values["discard"], values["winner"])
    return rejoining.apply(call.config, words, call.check, call.progress)


def shutdown(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import alone

    return alone.shut_down(call.config, call.progress, call.values["host"], call.check)


def scheduled(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import scheduled as scheduling

    return scheduling.apply(call.config, call.progress, call.check)


def acknowledge(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._pair import operation

    return operation.acknowledge(call.check)


def cancel(call: Call) -> Result:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import cancelling

    moved = cancelling.STAY if call.values["stay"] else cancelling.BACK
    return cancelling.cancel(moved, call.check, call.config.peer.name)
