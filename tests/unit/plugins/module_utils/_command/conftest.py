# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command on the host hv1 of a pair `p`, in one process: what it calls is written down instead of being done."""

from __future__ import annotations

import dataclasses
import inspect
import json
import pathlib
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._command import detached, main, outcome
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    address,
    alone,
    backup,
    brief,
    cancelling,
    constraints,
    cycle,
    early,
    failover,
    mount,
    move,
    networks,
    preflight,
    prune,
    recover,
    rejoin,
    rollback,
    scheduled,
    snapshots,
    switch,
    switchover,
    sync,
    verbs,
    vm_settings,
    vms,
)

SET = "hvm_20261123T094512Z_p_B"
VM = {"state": "running", "priority": 10, "autostart": True, "saved": False, "snapshots": False, "autobackup": True}
BRIEF = {"hypervisor": {"running": True}, "shared_ip": {"enabled": True}, "qemu": ["web"]}
DECIDED = {
    "changed": True, "do": "start", "sentence": "hv1 becomes ACTIVE", "role": "ACTIVE", "epoch": 4, "plan": [], "vms": {},
    "left": [], "warnings": [], "steps": [],
}  # fmt: skip
PRUNED = {"changed": True, "destroyed": ["hvm_x"], "bytes": 1024, "blocked": {}, "decisions": [], "warnings": []}
ROLLED = {
    "changed": True, "do": "rollback", "set": SET, "stamp": "s", "kept": [], "datasets": {}, "state_images": [], "plan": [],
    "replica": {"host": "hv2", "in_step": True}, "warnings": [],
}  # fmt: skip
CONSTRAINTS = {"changed": True, "sentence": "hv2 must be ACTIVE.", "text": "No constraint is set.\n", "warnings": []}
NETWORKS = {
    "changed": True, "sentence": "br-v10: VLAN 10 of eno1.", "actions": {"hv1": ["br-v10: made (VLAN 10 of eno1)"], "hv2": []},
    "plan": {"hv1": ["ifup br-v10"], "hv2": []}, "networks": [], "warnings": [],
}  # fmt: skip

#: What each procedure says, unless a test says otherwise.
ANSWERS: dict[tuple[types.ModuleType, str], t.Any] = {
    (brief, "look"): BRIEF,
    (preflight, "preflight"): {"acts": True, "active": "hv1", "role": "ACTIVE", "sentence": "so", "warnings": []},
    (backup, "backup"): {"changed": True, "set": SET, "vms": {}, "warnings": []},
    (sync, "run"): {"changed": True, "set": SET, "bytes": 2048, "warnings": []},
    (prune, "prune"): PRUNED,
    (switchover, "migrate"): {"changed": True, "active": "hv2", "set": SET, "vms": {}, "bytes": 1},
    (move, "migrate"): {"changed": True, "active": "hv2", "set": SET, "vms": {}, "bytes": 1},
    (cancelling, "cancel"): {"changed": True, "sentence": "migrate_unsecure is told to end; VMs that have moved come back"},
    (switch, "apply"): {"changed": True, "role": "ACTIVE", "epoch": 4, "plan": ["start libvirt"], "warnings": []},
    (address, "apply"): {"changed": True, "enabled": True, "sentence": "so", "addresses": [], "warnings": []},
    (verbs, "apply"): {
        "changed": True, "actions": ["web started"], "vms": {"web": "running"}, "diff": {"before": {"web": "stopped"}},
        "warnings": [],
    },
    (vm_settings, "apply"): {"changed": True, "actions": ["web: description is now 'prio=5'"], "vms": {}, "warnings": []},
    (vms, "look"): {
        "changed": False, "vms": {"web": VM}, "saved": [], "lists": vms.lists({"web": VM}, []), "unknown": [],
        "status": "VMs are running",
    },
    (snapshots, "apply"): {"changed": True, "set": SET, "destroyed": [SET]},
    (snapshots, "look"): {
        "changed": False, "sets": [{"name": SET, "stamp": SET.split("_")[1]}],
        "lists": {"all": ["tank/vm@x"], "dates": ["20261123T094512Z B  3 h"], "lasts": ["20261123T094512Z B  tank/vm"]},
    },
    (rollback, "apply"): ROLLED,
    (rollback, "kept_list"): [{"name": "s", "by": "rollback", "set": SET, "used": 1024}],
    (rollback, "drop"): {"changed": True, "destroyed": {"tank/vm-hvm-kept-s": []}, "freed": 1024},
    (mount, "apply"): {"changed": True, "mountpoints": ["/vm"]},
    (recover, "apply"): {**DECIDED, "peer_answers": True},
    (rejoin, "apply"): {**DECIDED, "do": "join", "sentence": "hv2 becomes PASSIVE", "kept": [], "destroyed": {}},
    (failover, "apply"): {**DECIDED, "do": "take over", "lost": {"lines": ["VM web: loses 12 min"]}},
    (constraints, "query"): CONSTRAINTS,
    (constraints, "put"): CONSTRAINTS,
    (constraints, "take_out"): CONSTRAINTS,
    (networks, "put"): NETWORKS,
    (networks, "take_out"): NETWORKS,
    (networks, "reapply"): NETWORKS,
    (networks, "query"): {
        "changed": False, "warnings": [],
        "networks": [{"sentence": "br-v10: VLAN 10 of eno1", "hosts": {"hv1": [], "hv2": ["br-v10 is not there"]}}],
    },
    (scheduled, "apply"): {"changed": True, "do": "backup", "report": ["hv1 is ACTIVE and is backed up"], "warnings": []},
    (rollback, "acknowledge"): {"changed": True},
}  # fmt: skip


def observed(role: str, **more: t.Any) -> dict[str, t.Any]:
    """What hv1 sees of itself."""
    on = role == "ACTIVE"
    return {
        "host": "hv1", "peer": "hv2", "pair": "p", "address": "10.0.0.1", "vms": {}, "saved": [], "pools": {}, "sets": [],
        "role": {"now": role, "epoch": 3, "reason": "so"}, "shared_ip": {"in_use_by_us": False, "enabled": on},
        "hypervisor": {"running": on}, "qemu": [], "not_inert": [], "lock": None, "pending": None, **more,
    }  # fmt: skip


#: Arguments that are the same for all.
SAME = ("config", "pair", "progress", "ahead")


def spelt(value: t.Any) -> str:
    """Of options only what is not the default."""
    if dataclasses.is_dataclass(value):
        plain = type(value)()  # type: ignore[operator]
        names = [one.name for one in dataclasses.fields(value)]
        return f"({', '.join(f'{n}={spelt(getattr(value, n))}' for n in names if getattr(value, n) != getattr(plain, n))})"
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return f"({', '.join(f'{name}={one!r}' for name, one in value._asdict().items() if one)})"
    return repr(value)


class World:
    """:ivar calls: procedures that were called, as text. :ivar answers: what they say; an exception is raised."""

    observed = staticmethod(observed)

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.calls: list[str] = []
        self.answers = dict(ANSWERS)
        self.steps: list[str] = []
        self._capsys = capsys
        self.config = tmp_path / "pair.json"
        hosts = [{"name": "hv1", "address": "10.0.0.1"}, {"name": "hv2", "address": "10.0.0.2"}]
        more = {"shared_ips": ["10.0.0.9/24"], "interface": "br0", "gateway": "10.0.0.254"}
        self.config.write_text(
            json.dumps({"pair": "p", "me": "hv1", "hosts": hosts, "datasets": ["tank/vm"], "state_dir": "/vm/state", **more})
        )
        for module, name in self.answers:
            monkeypatch.setattr(module, name, self._recorder(module, name))
        monkeypatch.setattr(early, "ahead", lambda config: "ahead")
        monkeypatch.setattr(cycle, "Peer", self._peer())
        self.role = "ACTIVE"
        monkeypatch.setattr(alone.role, "load", lambda: alone.role.Role(self.role, 3, "", "", "boot"))
        monkeypatch.setattr(alone.role, "boot_id", lambda: "boot")
        for name in ("LC_ALL", "LC_MESSAGES", "LANG", "HVM_LANG"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(main.os, "geteuid", lambda: 0)
        monkeypatch.setattr(detached.Task, "new", lambda typed: detached.Task(str(tmp_path / "task")))
        monkeypatch.setattr(detached, "start", self._at_once)
        monkeypatch.setattr(detached, "watch", self._watched)

    def _at_once(self, task: detached.Task, work: detached.Work) -> int:
        self._outcome = outcome.attempt(lambda: work(Progress(str(self.config.with_name("steps")))))
        return 0

    def _watched(self, *dummy: t.Any) -> outcome.Outcome:
        return self._outcome

    def _recorder(self, module: types.ModuleType, name: str) -> t.Callable[..., t.Any]:
        signature = inspect.signature(getattr(module, name))

        def record(*arguments: t.Any, **words: t.Any) -> t.Any:
            bound = signature.bind(*arguments, **words)
            bound.apply_defaults()
            told = ", ".join(f"{key}={spelt(value)}" for key, value in bound.arguments.items() if key not in SAME)
            self.calls.append(f"{module.__name__.rsplit('.', 1)[1]}.{name}({told})")
            answer = self.answers[module, name]
            if isinstance(answer, Exception):
                raise answer
            return json.loads(json.dumps(answer))

        return record

    def _peer(self) -> t.Any:
        world = self

        class Peer:
            def __init__(self, config: t.Any) -> None:
                pass

            def __enter__(self) -> t.Any:
                return self

            def __exit__(self, *dummy: object) -> None:
                pass

            def call(self, op: str, timeout: float, on_event: t.Any, **arguments: t.Any) -> t.Any:
                told = {key: value for key, value in arguments.pop("rules").items() if value}
                world.calls.append(f"hv2: {op}(rules={told!r}, {', '.join(f'{k}={v!r}' for k, v in arguments.items())})")
                answer = world.answers.get("peer", PRUNED)  # type: ignore[call-overload]
                if isinstance(answer, Exception):
                    raise answer
                return dict(answer)

        return Peer

    def __call__(self, *typed: str) -> Ran:
        """Types a command."""
        self.calls.clear()
        self._capsys.readouterr()
        code = main.main([*typed, "--config", str(self.config)])
        said = self._capsys.readouterr()
        return Ran(code, said.out, said.err, list(self.calls))


class Ran(t.NamedTuple):
    code: int
    out: str
    err: str
    calls: list[str]

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@pytest.fixture(name="hvm")
def _hvm(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> World:
    return World(monkeypatch, tmp_path, capsys)
