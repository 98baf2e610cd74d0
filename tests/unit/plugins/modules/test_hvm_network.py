# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._procedure import networks
from ansible_collections.hvm.pair.plugins.modules import hvm_network

V10 = {"name": "br-v10", "interface": "eno1", "vlan": 10}
#: As Ansible fills it in.
FILLED = {**V10, "mtu": None, "addresses": None}
NAMED = {"name": "br-v10", "interface": None, "vlan": None, "mtu": None, "addresses": None}


@pytest.fixture(name="called")
def _called(monkeypatch: pytest.MonkeyPatch) -> list[t.Any]:
    called: list[t.Any] = []

    def recorder(name: str) -> t.Callable[..., t.Any]:
        def record(config: t.Any, *words: t.Any) -> dict[str, t.Any]:
            called.append((name, config.me.name, *words))
            return {"changed": name != "query", "networks": [], "warnings": []}

        return record

    for name in ("declare", "put", "take_out", "reapply", "query"):
        monkeypatch.setattr(networks, name, recorder(name))
    return called


@pytest.mark.parametrize(
    ("options", "call"),
    [
        ({"networks": [V10]}, ("declare", "hv1", [FILLED], "auto", False)),
        ({"networks": [], "manager": "networkd", "check": True}, ("declare", "hv1", [], "networkd", True)),
        ({"state": "present", "networks": [V10]}, ("put", "hv1", [FILLED], False)),
        ({"state": "absent", "networks": [{"name": "br-v10"}], "check": True}, ("take_out", "hv1", ["br-v10"], True)),
        ({"state": "applied"}, ("reapply", "hv1", False)),
        ({"state": "query"}, ("query", "hv1")),
    ],
)
def test_what_is_called(module_of: t.Any, called: list[t.Any], options: dict[str, t.Any], call: tuple[t.Any, ...]) -> None:
    result = module_of(hvm_network)(**options)
    assert not result.get("failed"), result
    assert called == [call] and result["changed"] == (call[0] != "query")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"state": "present"}, "state is present but all of the following are missing: networks"),
        ({}, "state is declared but all of the following are missing: networks"),
        ({"networks": [{"interface": "eno1"}]}, "name"),
        ({"networks": [{"name": "br0", "vlan": "ten"}]}, "vlan"),
        ({"networks": [], "manager": "nmcli"}, "manager"),
    ],
)
def test_wrong_arguments(module_of: t.Any, called: list[t.Any], options: dict[str, t.Any], said: str) -> None:
    result = module_of(hvm_network)(**options)
    assert result["failed"] and said in result["msg"] and called == []


def test_what_cannot_be_declared_is_named_before_the_host_is_looked_at(module_of: t.Any) -> None:
    run = module_of(hvm_network)
    result = run(networks=[{"name": "br0", "interface": "eno1", "vlan": 4095}, {"name": "br1", "interface": {"hv1": "eno1"}}])
    assert result["failed"] and "br0: vlan must be a number from 1 to 4094, not 4095" in result["msg"]
    assert "br1: interface must name one for each of hv1 and hv2" in result["msg"]
