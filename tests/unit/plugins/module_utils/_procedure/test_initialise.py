# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first role of a host, when both halves of an installation come to give it at the same moment."""

from __future__ import annotations

import contextlib
import pathlib
import threading
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import initialise

CONFIG = PairConfig("p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("tank/vm",), "/vm/state")
Lock = operation.Lock


class Bare:
    """A host without a role. :ivar did: what was done to it, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: pathlib.Path) -> None:
        self.lock, self.did = str(directory / "lock"), list[str]()
        self.role = role.Role(role.UNKNOWN, 0, "", "", "")
        answers = types.SimpleNamespace(hello={"role": {"role": role.UNKNOWN}})
        monkeypatch.setattr(initialise, "Peer", lambda config: contextlib.nullcontext(answers))
        monkeypatch.setattr(initialise, "qemu_processes", list)
        monkeypatch.setattr(initialise, "run", lambda command: self.did.append(" ".join(command[:2])))
        monkeypatch.setattr(initialise.hypervisor, "stop", lambda config, progress: self.did.append("stop"))
        monkeypatch.setattr(operation, "Lock", lambda: Lock(self.lock))
        monkeypatch.setattr(role, "load", lambda: self.role)
        monkeypatch.setattr(role, "boot_id", lambda: "boot")
        monkeypatch.setattr(role, "record", self._record)
        monkeypatch.setattr(initialise, "POLL", 0.01)

    def _record(self, name: str, epoch: int, reason: str) -> None:
        self.did.append(f"record {name}")
        self.role = role.Role(name, epoch, "", reason, "boot")


@pytest.fixture(name="bare")
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Bare:
    return Bare(monkeypatch, tmp_path)


def test_a_bare_host_gets_its_role(bare: Bare) -> None:
    done = initialise.initialise(CONFIG, "hv2", {}, False)
    assert done == {"changed": True, "role": role.PASSIVE, "epoch": 0}
    assert bare.did == ["systemctl stop", "stop", f"record {role.PASSIVE}"]
    assert initialise.initialise(CONFIG, "hv2", {}, False)["changed"] is False


def test_whoever_comes_second_waits_and_finds_the_role_given(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lock(bare.lock).held("install", "the other half"):
        results: list[dict[str, t.Any]] = []
        second = threading.Thread(target=lambda: results.append(initialise.initialise(CONFIG, "hv2", {}, False)))
        second.start()
        second.join(0.2)
        assert second.is_alive() and bare.did == []
        bare.role = role.Role(role.PASSIVE, 0, "", "by the other half", "boot")
    second.join(10)
    assert results == [{"changed": False, "role": role.PASSIVE, "epoch": 0}] and bare.did == []


def test_a_lock_that_is_never_free_is_named(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initialise, "PATIENCE", 0.05)
    with Lock(bare.lock).held("sync", "somebody"), pytest.raises(HvmError, match=r"is running on .*: sync by somebody"):
        initialise.initialise(CONFIG, "hv2", {}, False)
    assert bare.did == []
