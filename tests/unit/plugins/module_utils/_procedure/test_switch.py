# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`hv start` and `hv stop`, with everything below them replaced by what writes down that it was called."""

from __future__ import annotations

import contextlib
import copy
import pathlib
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import switch

V4 = "192.0.2.10/24"
CONFIG = PairConfig("p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("t/vm",), "/vm/state", (V4,), "br0", "192.0.2.1")


def side(host: str, role: str, now: str, epoch: int, running: bool = False) -> dict[str, t.Any]:
    return {
        "host": host, "peer": {"hv1": "hv2", "hv2": "hv1"}[host], "pair": "p", "address": "10.0.0.1",
        "role": {"role": role, "now": now, "epoch": epoch, "since": "then"}, "lock": None, "pending": None, "pools": {},
        "hypervisor": {"running": running}, "qemu": [], "missing_datasets": [],
        "not_inert": ["t/vm is writable"] if running else [], "gate_open": running,
        "mountpoints": [], "foreign_users": {}, "sets": [],
        "shared_ip": {"in_use_by_us": False, "enabled": running, "addresses": {V4: running}},
    }  # fmt: skip


class Host1:
    def __init__(self, path: str, patch: pytest.MonkeyPatch) -> None:
        self.did: list[t.Any] = []
        self.me, self.other = side("hv1", "ACTIVE", "UNKNOWN", 3), side("hv2", "PASSIVE", "PASSIVE", 2)
        self.peer_answers, self.peer_lends, self.path = True, True, path
        self.later: dict[str, t.Any] | None = None  # the other host, as it is when its lock is held
        lock = operation.Lock
        patch.setattr(switch.operation, "Lock", lambda: lock(path))
        patch.setattr(switch.preflight, "look", lambda dummy: (self.me, self.other if self.peer_answers else None, ""))
        patch.setattr(switch, "observe", lambda dummy: self.me)
        patch.setattr(switch, "Peer", self.peer)
        patch.setattr(switch.shared_ip, "prepare", lambda *args: self.do("prepare", *args) or "prepared")
        patch.setattr(switch.shared_ip, "take", lambda *args, **more: self.do("take", *args, more))
        patch.setattr(switch.shared_ip, "enable", lambda *args, sure: sure() or self.do("enable", *args))
        patch.setattr(switch.address, "keep_announcing", lambda *args: self.do("announce", *args) or ["a warning"])
        record = types.SimpleNamespace(now=lambda dummy: self.me["role"]["now"])
        patch.setattr(switch.address.role, "load", lambda: record)
        patch.setattr(switch.address.role, "boot_id", lambda: "b")
        patch.setattr(switch.operation.none_moves, "__defaults__", (path,))
        patch.setattr(switch.address, "give_up", lambda dummy: self.do("give up") or True)
        patch.setattr(switch.address, "tell_peer", lambda dummy: self.do("tell"))
        patch.setattr(switch.hypervisor, "start", self.start)
        patch.setattr(switch.hypervisor, "stop", lambda *dummy: self.do("stop"))

    def do(self, *what: t.Any) -> None:
        self.did.append(what if len(what) > 1 else what[0])

    def start(self, dummy: PairConfig, epoch: int, dummy_reason: str, dummy_progress: t.Any, seen: int | None) -> t.Any:
        assert operation.lock_holder(self.path)
        self.do("start", epoch, seen)
        return types.SimpleNamespace(close=lambda: None)

    @contextlib.contextmanager
    def peer(self, dummy: PairConfig) -> t.Iterator[t.Any]:
        def call(op: str, **arguments: t.Any) -> t.Any:
            self.do(op, *arguments.values())
            if not self.peer_lends:
                raise HvmError("hv2: another operation is running on hv2: sync by bob since then (process 7)")
            return self.later or self.other

        yield types.SimpleNamespace(call=call)
        self.do("lock ends")

    def apply(self, state: str, peer_is_down: str = "", check: bool = False) -> dict[str, t.Any]:
        return switch.apply(CONFIG, state, peer_is_down, check)


@pytest.fixture(name="host")
def _host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host1:
    monkeypatch.setattr(operation, "owner", lambda: "alice")
    return Host1(str(tmp_path / "lock"), monkeypatch)


LOOK = switch.preflight.look
PREPARE = ("prepare", (V4,), "br0", "192.0.2.1")
TAKEN: list[t.Any] = [("take", "prepared", {"dad": True}), ("announce", (V4,), "br0")]


def test_start_holds_both_locks_and_asks_for_the_address_before_anything_starts(host: Host1) -> None:
    result = host.apply("started")
    asked: list[t.Any] = [("lock", "hv start", "alice on hv1"), "observe"]
    assert host.did == [*asked, PREPARE, ("start", 4, 2), ("see", 4), *TAKEN, "lock ends"]
    assert (result["changed"], result["role"], result["epoch"], result["warnings"]) == (True, "ACTIVE", 4, ["a warning"])
    assert result["plan"] == switch.start_plan(CONFIG, 4)
    assert result["plan"][-1] == f"shared IP on: {V4}"


def test_a_silent_gateway_keeps_no_hypervisor_down_and_another_holder_does(host: Host1, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = HvmError("the gateway 192.0.2.1 does not answer")
    holder = HvmError("192.0.2.10 is in use", mac="52:54:00:00:00:01")

    def fails(failure: HvmError) -> t.Callable[..., t.NoReturn]:
        def fail(*dummy: t.Any, **dummy_more: t.Any) -> t.NoReturn:
            raise failure

        return fail

    said = ["the shared IP is not taken: the gateway 192.0.2.1 does not answer (hvm_shared_ip state=enabled)"]
    monkeypatch.setattr(switch.shared_ip, "prepare", fails(silent))
    result = host.apply("started")
    assert (result["changed"], result["warnings"]) == (True, said)
    assert ("start", 4, 2) in host.did and TAKEN[1] not in host.did
    monkeypatch.setattr(switch.shared_ip, "prepare", fails(holder))
    host.did.clear()
    with pytest.raises(HvmError, match="is in use"):
        host.apply("started")
    assert ("start", 4, 2) not in host.did
    host.me = side("hv1", "ACTIVE", "ACTIVE", 4, running=True)
    host.me["shared_ip"]["enabled"] = False
    monkeypatch.setattr(switch.shared_ip, "enable", fails(silent))
    again = host.apply("started")
    assert (again["changed"], again["warnings"]) == (False, said)
    monkeypatch.setattr(switch.shared_ip, "enable", fails(holder))
    with pytest.raises(HvmError, match="is in use"):
        host.apply("started")
    monkeypatch.setattr(switch.shared_ip, "enable", fails(Refused("x", [Finding("this host is PASSIVE now", "")])))
    with pytest.raises(Refused, match="is PASSIVE now"):
        host.apply("started")


def test_start_without_the_other_host_wants_its_name(host: Host1) -> None:
    host.peer_answers = False
    with pytest.raises(Refused, match="hv2 does not answer, so it may be ACTIVE"):
        host.apply("started")
    assert host.did == []
    assert host.apply("started", "hv2")["changed"]
    assert host.did == [PREPARE, ("start", 4, None), *TAKEN]


def test_start_beside_a_host_that_refuses_to_be_asked_believes_no_word(host: Host1, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(dummy: PairConfig) -> t.NoReturn:
        raise HvmError("hv2: its role record cannot be read", "Look at it.")

    monkeypatch.setattr(switch.preflight, "look", LOOK)
    monkeypatch.setattr(switch.preflight, "observe", lambda *dummy, **more: host.me)
    monkeypatch.setattr(switch.preflight, "Peer", refuses)
    for word in ("", "hv2"):
        with pytest.raises(Refused) as caught:
            host.apply("started", word)
        assert [one.what for one in caught.value.findings] == [
            "hv2 answers, so it is not off, but it cannot be asked: its role record cannot be read. Look at it"
        ]
    assert host.did == []
    host.me = side("hv1", "ACTIVE", "ACTIVE", 3)
    assert host.apply("started")["changed"]  # nobody else has become so since


def test_start_looks_again_under_both_locks(host: Host1) -> None:
    host.later = side("hv2", "ACTIVE", "ACTIVE", 4, running=True)
    with pytest.raises(Refused, match="hv2"):
        host.apply("started")
    assert host.did == [("lock", "hv start", "alice on hv1"), "observe"]
    host.did.clear()
    host.later = side("hv2", "PASSIVE", "PASSIVE", 3)
    host.other["role"]["epoch"] = 2
    assert host.apply("started")["epoch"] == 4
    assert ("start", 4, 3) in host.did


def test_start_is_refused_while_the_other_host_is_at_work(host: Host1) -> None:
    host.peer_lends = False
    with pytest.raises(HvmError, match="sync by bob since then"):
        host.apply("started")
    assert host.did == [("lock", "hv start", "alice on hv1")]
    assert operation.lock_holder(host.path) is None


def test_check_mode_has_the_plan_and_does_nothing(host: Host1) -> None:
    assert host.apply("started", check=True)["plan"] == switch.start_plan(CONFIG, 4)
    host.me = side("hv1", "ACTIVE", "ACTIVE", 3, running=True)
    assert host.apply("stopped", check=True)["plan"] == switch.stop_plan(CONFIG)
    assert host.did == []


def test_what_is_so_already_changes_nothing_and_has_no_plan(host: Host1) -> None:
    result = host.apply("stopped")
    assert (result["changed"], result["plan"], result["role"]) == (False, [], "UNKNOWN")
    host.me = side("hv1", "ACTIVE", "ACTIVE", 3, running=True)
    result = host.apply("started")
    assert (result["changed"], result["plan"], result["epoch"]) == (False, [], 3)
    assert host.did == []


def test_stop_takes_the_address_off_and_tells_the_other_host(host: Host1) -> None:
    host.me = side("hv1", "ACTIVE", "ACTIVE", 3, running=True)
    assert host.apply("stopped")["changed"]
    assert host.did == ["stop", "give up", "tell"]
    host.did.clear()
    host.peer_answers = False
    host.apply("stopped")
    assert host.did == ["stop", "give up"]


@pytest.mark.parametrize("check", [False, True])
def test_start_takes_an_address_that_is_missing_although_the_hypervisor_runs(host: Host1, check: bool) -> None:
    host.me = side("hv1", "ACTIVE", "ACTIVE", 3, running=True)
    host.me["shared_ip"]["enabled"] = False
    result = host.apply("started", check=check)
    assert (result["changed"], result["epoch"], result["plan"]) == (True, 3, [f"shared IP on: {V4}"])
    assert host.did == ([] if check else [("enable", (V4,), "br0", "192.0.2.1"), ("announce", (V4,), "br0")])


@pytest.mark.parametrize("check", [False, True])
def test_a_missing_address_does_not_wait_for_a_sync_and_is_left_to_a_migration(
    host: Host1, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    host.me = side("hv1", "ACTIVE", "ACTIVE", 3, running=True)
    host.me["shared_ip"]["enabled"] = False
    pid = operation.os.getpid()
    with operation.Lock().held("sync", "bob"):
        monkeypatch.setattr(operation.os, "getpid", lambda: pid + 1)
        assert host.apply("started", check=check)["changed"]
    monkeypatch.setattr(operation.os, "getpid", lambda: pid)
    host.did.clear()
    with operation.Lock().held("migrate_secure", "bob"):
        monkeypatch.setattr(operation.os, "getpid", lambda: pid + 1)
        with pytest.raises(HvmError, match="another operation is running"):
            host.apply("started", check=check)
    assert host.did == []


def test_stop_takes_an_address_off_that_was_left_behind(host: Host1) -> None:
    host.me["shared_ip"]["addresses"][V4] = True
    host.me["not_inert"] = []
    assert host.apply("stopped")["changed"]
    assert host.did == ["stop", "give up", "tell"]


OVER_IT = {"in_use_by_us": True, "addresses": {V4: True}}


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("change", "why"),
    [({"qemu": ["web"]}, "VMs are running: web"), ({"shared_ip": OVER_IT}, "comes in over the shared IP")],
)
def test_stop_is_refused_before_anything_is_done(host: Host1, change: dict[str, t.Any], why: str, check: bool) -> None:
    host.me = copy.deepcopy(side("hv1", "ACTIVE", "ACTIVE", 3, running=True)) | change
    with pytest.raises(Refused, match=why):
        host.apply("stopped", check=check)
    assert host.did == []
