# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many made-up pairs: what their hosts say, and what goes wrong with some of them. Runs in the workers of ansible-playbook, in
place of the modules, without a connection; a host is named by its pair and a letter: p007a, p007b.

In the directory: ``plan.json`` (see Plan), ``log`` (a line of JSON for each answer), ``active/PAIR`` (its ACTIVE host's name)."""

from __future__ import annotations

import base64
import json
import pathlib
import time
import typing as t

#: Kinds of fault: the module fails | the host cannot be reached | it works until all that is waited for is done.
FAIL, LOST, SLOW = "fail", "lost", "slow"
OK = "ok"


class Lost(Exception):
    """The host cannot be reached."""


class Plan(t.NamedTuple):
    """:ivar faults: host -> module -> kind; the module "*" is every one.
    :ivar ends: pair -> [host, module, kind] of the line of the log that is its end, for the slow one to wait for.
    :ivar patience: seconds that the slow one waits.
    :ivar looks: host -> role -> what hvm_info says.
    """

    faults: dict[str, dict[str, str]]
    ends: dict[str, list[str]]
    patience: float
    looks: dict[str, dict[str, t.Any]]


class Line(t.NamedTuple):
    """:ivar at: seconds, by the clock of this machine. :ivar kind: OK or a fault."""

    at: float
    host: str
    module: str
    kind: str
    address: str
    told: dict[str, t.Any]


def log(world: pathlib.Path) -> list[Line]:
    return [Line(*json.loads(line)) for line in (world / "log").read_text().splitlines()]


def answer(world: pathlib.Path, module: str, host: str, address: str, told: dict[str, t.Any], check: bool) -> dict[str, t.Any]:
    """What a module says. :param address: that the connection would have been made to.

    :raises Lost: when it cannot be reached.
    """
    plan = Plan(**json.loads((world / "plan.json").read_text()))
    mine = plan.faults.get(host, {})
    kind = mine.get(module, mine.get("*", OK))
    # braces: what a host says is never a template for the controller
    found = {"failed": True, "changed": False, "msg": f"{module} failed on {host}. Mend {{{{ 6 * 7 }}}}."}
    if kind == SLOW:
        missing = _wait(world, plan)
        if not missing:
            found = _say(world, plan, module, host, told, check)
        else:
            found["msg"] = f"{host} was waited for by {', '.join(missing)}"
    elif kind == OK:
        found = _say(world, plan, module, host, told, check)
    with (world / "log").open("a") as lines:
        lines.write(json.dumps([time.time(), host, module, kind, address, told]) + "\n")
    if kind == LOST:
        raise Lost(f"{host}: no route to host")
    return found


def _wait(world: pathlib.Path, plan: Plan) -> list[str]:
    """:return: the pairs that have not come to their end, when the patience has."""
    deadline = time.monotonic() + plan.patience
    while True:
        seen = {(line.host, line.module, line.kind) for line in log(world)}
        missing = [pair for pair, end in plan.ends.items() if tuple(end) not in seen]
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(0.2)


def _say(world: pathlib.Path, plan: Plan, module: str, host: str, told: dict[str, t.Any], check: bool) -> dict[str, t.Any]:
    record = world / "active" / host[:-1]
    active = record.read_text()
    peer = host[:-1] + ("b" if host.endswith("a") else "a")
    here = host == active
    role = "ACTIVE" if here else "PASSIVE"
    name = f"hvm_20261123T094512Z_{host[:-1]}_B"
    if module in ("hvm_switchover", "hvm_move"):
        if not here:
            return {"failed": True, "changed": False, "msg": f"{host} is not ACTIVE"}
        record.write_text(peer)
        moved = {"web": {"interruption": 1.5}}
        return {"changed": True, "active": peer, "vms": moved, "set": name, "steps": [], "window": 1.5, "bytes": 1024}
    if module == "hvm_role":
        early = {peer, host} - {line.host for line in log(world) if line.told.get("dest") == "/etc/hvm/known_hosts"}
        return {"failed": bool(early), "changed": not early, "msg": f"{host}: asked before {early} was ready"}
    if module == "hvm_recover":
        do = ("start" if here else "elsewhere") if check else ("start" if here else "pass")
        facts = {"changed": do in ("start", "pass"), "do": do, "sentence": f"{host}: {do}", "host": host, "role": role}
        return {**facts, "peer_answers": True, "epoch": 4, "plan": [], "vms": {}, "left": [], "steps": []}
    return {
        "hvm_preflight": {"changed": False, "acts": here, "active": active, "sentence": "so", "role": role},
        "hvm_info": plan.looks[host][role],
        "hvm_checkpoint": {
            "changed": True, "set": name, "kind": "state", "mark": "B", "vms": {"web": {"interruption": 0.4}}, "steps": [],
            "window": 0.4,
        },
        "hvm_zfs_sync": {"changed": True, "set": name, "bytes": 2048, "steps": []},
        "hvm_zfs_prune": {"changed": False, "hosts": {}},
        "hvm_zfs_snapshot_info": {"changed": False, "lists": {"dates": ["20261123T094512Z B"], "all": [], "lasts": []}},
        "hvm_zfs_rollback": {"changed": True, "do": "rollback", "set": name, "replica": {"host": peer, "in_step": True}},
        "hvm_hypervisor": {"changed": True, "host": host, "role": role, "epoch": 4, "plan": [f"{told.get('state')} it"]},
        "hvm_scheduled": {
            "changed": here, "do": "backup" if here else "elsewhere", "active": active, "sentence": "a backup is due",
            "report": ["so"],
        },
        "hvm_rejoin": {
            "changed": True, "do": "join", "sentence": f"{peer} becomes PASSIVE", "host": host, "role": role, "epoch": 4,
            "plan": [], "vms": {}, "left": [], "steps": [], "kept": [],
        },
        "hvm_failover": {
            "changed": True, "do": "take over", "sentence": f"{host} becomes ACTIVE", "host": host, "role": "ACTIVE", "epoch": 5,
            "plan": [], "vms": {}, "left": [], "steps": [], "lost": {"lines": []},
        },
        "slurp": {"changed": False, "content": base64.b64encode(f"ssh-ed25519 KEY-OF-{host} x\n".encode()).decode()},
        "stat": {"changed": False, "stat": {"exists": False}},
    }.get(module, {"changed": True})  # fmt: skip
