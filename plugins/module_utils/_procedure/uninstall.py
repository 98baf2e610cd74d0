# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Takes the collection off a host (`_pair.removal` decides). Never a dataset, a snapshot, or a state image of a VM.

What says how the host is to end goes last: the role, then the description of the pair. So whatever ends this in the midst, the
same again goes on.
"""

from __future__ import annotations

import os
import shutil
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core import begun, log, mail
from ansible_collections.hvm.pair.plugins.module_utils._core.command import run, succeeds
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._net import bridges, managers
from ansible_collections.hvm.pair.plugins.module_utils._pair import config as configs
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint_file, networks_file, operation, removal, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer import dial
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    address,
    early,
    holds,
    install,
    observe,
    overlays,
    rollback,
    scheduled,
)
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import SOCKETS, UNIT
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, layout, names, protect

AUTHORIZED = "/root/.ssh/authorized_keys"
#: What Debian and Ubuntu enable, and the role disables.
SERVICES = (UNIT, *SOCKETS, "libvirt-guests.service")

#: Ours in directories that are ours: other files there are somebody else's.
CONFIGURATION = (dial.KEY, f"{dial.KEY}.pub", dial.KNOWN_HOSTS, scheduled.PATH, mail.PATH, f"{install.CONFIG}/mail-password")
RECORDS = (
    *(operation.JOURNAL, holds.LEDGER, constraint_file.PATH, f"{constraint_file.PATH}.lock", begun.WORDS),
    # the networks themselves stay: VMs are on them
    *(networks_file.PATH, networks_file.PEER, networks_file.LOCK),
)
#: Of the running system. Never the directory as a whole: a dataset may be mounted below it (`initialise`).
NEW = f"{role.RUN}/new"
RUNNING = (f"{role.RUN}/commands", f"{role.RUN}/{address.OFF}", NEW)
LAST = (role.RECORD, role.GATE, configs.PATH)
DIRECTORIES = (install.CONFIG, role.STATE)


def uninstall(
    name: str,
    despite: t.Collection[str],
    release: bool,
    check: bool,
    more: t.Iterable[str] = (),
    busy: install.Busy = install.nobody,
) -> dict[str, t.Any]:
    """:param name: of the pair, as the operator has typed it; "" in check mode only.
    :param despite: words of `removal.WORDS`.
    :param release: also let go of the holds, and destroy the bookmarks, of the replication.
    :param more: files besides, of a layer that this one does not know.
    :return: ``{changed, pair, role, done, left, diff, warnings}``; `done` and `left` are sentences.
    """
    more = list(more)
    if not _there(more):
        return {"changed": False, "pair": "", "role": "", "done": [], "left": [], "diff": {"before": "", "after": ""}}
    config = _config()
    if config and name != config.pair and (name or not check):
        raise HvmError(
            f"this host belongs to the pair {config.pair}, and {name or 'no pair'} was named: nothing was removed",
            f"To remove it: hvm_uninstall={config.pair}.",
        )
    with install.alone(busy, 0.0, True, check):
        found = look(config) if config else None
        findings = removal.refusals(found, despite) if found else []
        if findings:
            raise Refused("removal", findings)
        before = _there(more)
        warnings = [] if check else _remove(config, found, release, more)
    left = removal.left(found, release) if found else []
    left += [f"{path}, which is not of this collection" for path in _foreign()] if not check else []
    return {
        "changed": True,
        "pair": config.pair if config else "",
        "role": found["role"]["now"] if found else role.UNKNOWN,
        "done": _planned(found, release),
        "left": [*left, "the packages (libvirt, QEMU, ZFS)"],
        "diff": {"before": "".join(f"{path}\n" for path in before), "after": ""},
        "warnings": warnings,
    }


def _config() -> PairConfig | None:
    """:raises HvmError: when there is a role, and nothing says of which datasets."""
    if not os.path.exists(configs.PATH):
        if os.path.exists(role.RECORD):
            raise HvmError(
                f"this host has a role ({role.RECORD}), and {configs.PATH} is gone, which says of which datasets",
                "Run the playbook hvm.pair.install, then this again.",
            )
        return None
    return configs.load(configs.PATH)


def look(config: PairConfig) -> dict[str, t.Any]:
    """What `removal` decides by."""
    datasets = early.read_datasets(config)
    found = observe.observe(config, datasets=datasets)
    bookmarks = [
        f"{dataset}#{name}"
        for dataset, entry in datasets.items()
        for name, dummy, dummy_txg in entry["bookmarks"]
        if names.is_set_of(name, config.pair)
    ]
    snapshots = [one for entry in datasets.values() for one, *dummy in entry["snapshots"] if names.is_set_of(one, config.pair)]
    return {
        "host": config.me.name,
        "pair": config.pair,
        "role": found["role"],
        "gate_open": found["gate_open"],
        "hypervisor": found["hypervisor"]["running"],
        "pending": found["pending"],
        "qemu": found["qemu"],
        "saved": found["saved"],
        "state_dir": config.state_dir,
        "datasets": [root for root in config.datasets if root in datasets],
        "mountable": inventory.mountable(datasets),
        "snapshots": len(snapshots),
        "sets": len(set(snapshots)),
        "tag": protect.tag(config.pair),
        "holds": protect.held(config.datasets, config.pair),
        "bookmarks": bookmarks,
        "kept": _kept(config),
        "overlays": overlays.there(config),
        "networks": {name: one.paths for name, one in managers.made(bridges.Host().files()).items()},
        "autostart": sorted(name for name, vm in found["vms"].items() if vm.get("autostart")),
        "addresses": [one for one, here in found["shared_ip"]["addresses"].items() if here],
        "interface": found["shared_ip"]["interface"],
    }


def _kept(config: PairConfig) -> list[str]:
    try:
        return [one["name"] for one in rollback.kept_list(config)]
    except CommandError:  # a pool or a root is not there; the others are named all the same
        return []


def _there(more: t.Sequence[str]) -> list[str]:
    """What of ours is on the host, outside of /run."""
    paths = [*install.files(), *more, *install.listed(), *install.UNITS, install.HOME, *CONFIGURATION, *RECORDS, *LAST]
    found = [path for path in dict.fromkeys(paths) if os.path.lexists(path) and install.is_ours(path)]
    if removal.without_agent(_authorized(), install.AGENT) != _authorized():
        found.append(f"{AUTHORIZED} (the other host's key)")
    return found


def _authorized() -> str:
    return read_text(AUTHORIZED) or ""


def _planned(found: dict[str, t.Any] | None, release: bool) -> list[str]:
    steps = ["the timer, the libvirt hook and the unit conditions go"]
    if found and _is_empty(found):
        steps.append(f"{found['overlays']['dataset']}, which is empty, goes")
    if found and removal.stands(found):
        steps += ["its filesystems are mounted at boot", "libvirt is enabled, and goes on running"]
    if found and release:
        steps.append(f"the holds on {', '.join(found['holds']) or 'no set'} and {len(found['bookmarks'])} bookmarks go")
    return [*steps, "keys, command, library, configuration and records go"]


def _remove(config: PairConfig | None, found: dict[str, t.Any] | None, release: bool, more: t.Sequence[str]) -> list[str]:
    """:return: warnings: what could not be done, and keeps nothing from being removed."""
    warnings: list[str] = []
    if found and removal.boots(found):
        # neither mounts nor unmounts anything (zfsprops(7)); marked, so that an installation can take it back
        run(["zfs", "set", "canmount=on", f"{layout.LET_GO}={found['pair']}", *removal.boots(found)])
    if found and config and release:
        warnings += _release(config, found)
    if found and _is_empty(found):
        try:
            run(["zfs", "destroy", found["overlays"]["dataset"]])
        except CommandError as exc:
            warnings.append(f"{found['overlays']['dataset']} stays: {exc}")
    succeeds(["systemctl", "stop", address.UNIT])
    _shut_out()
    install.remove(False, more)
    if found and removal.stands(found):
        warnings += _enable()
    for path in (*CONFIGURATION, *RECORDS, *RUNNING):
        _drop(path)
    if found:
        log.say(f"hvm.pair was removed from this host, which was {found['role']['now']} in epoch {found['role']['epoch']}")
    for path in (*LAST, operation.LOCK):
        _drop(path)
    for path in (*DIRECTORIES, role.RUN):
        if os.path.isdir(path) and not os.listdir(path):
            os.rmdir(path)
    return warnings


def _is_empty(found: dict[str, t.Any]) -> bool:
    """The filesystem of the overlays is there, and nothing in it."""
    return bool(found["overlays"]["dataset"] and not found["overlays"]["files"])


def _release(config: PairConfig, found: dict[str, t.Any]) -> list[str]:
    warnings = []
    for name in found["holds"]:
        try:
            protect.release(config.datasets, name, config.pair)
        except HvmError as exc:
            warnings.append(f"the hold on {name} stays: {exc}")
    stay = set(found["bookmarks"]) - set(protect.destroy_bookmarks(found["bookmarks"]))
    if stay:
        warnings.append(f"bookmarks stay: {', '.join(sorted(stay))}")
    return warnings


def _shut_out() -> None:
    """The other host's key runs nothing here any more."""
    text = _authorized()
    rest = removal.without_agent(text, install.AGENT)
    if rest != text:
        path = os.path.realpath(AUTHORIZED)
        write_atomic(path, rest, os.stat(path).st_mode & 0o777)


def _enable() -> list[str]:
    """As Debian has it. libvirtd runs, and is not touched; libvirt-guests has to be started to act when the host goes down."""
    warnings = []
    for command in (*(["systemctl", "enable", unit] for unit in SERVICES), ["systemctl", "start", SERVICES[-1]]):
        try:
            run(command)
        except CommandError as exc:
            warnings.append(f"{exc}: do it by hand, or libvirt does not come up at boot")
    return warnings


def _drop(path: str) -> None:
    if path == NEW:  # something may be mounted there
        if os.path.isdir(path) and not os.path.ismount(path) and not os.listdir(path):
            os.rmdir(path)
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _foreign() -> list[str]:
    return [
        os.path.join(directory, name)
        for directory in DIRECTORIES
        if os.path.isdir(directory)
        for name in sorted(os.listdir(directory))
    ]
