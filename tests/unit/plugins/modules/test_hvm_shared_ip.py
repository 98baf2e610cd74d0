# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the arguments come from and what is returned; the module on real interfaces: tests/netns."""

from __future__ import annotations

import json
import pathlib
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net import addresses, shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._net.declared import parse_shared
from ansible_collections.hvm.pair.plugins.module_utils._procedure import address
from ansible_collections.hvm.pair.plugins.modules import hvm_shared_ip

testing = pytest.importorskip("ansible.module_utils.testing")

Module = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> list[tuple[t.Any, ...]]:
    """Of a host that is ACTIVE and has no shared address yet."""
    made: list[tuple[t.Any, ...]] = []

    def change(wanted: list[str], interface: str, on: bool) -> shared_ip.Change:
        states = []
        for there in (not on, on):
            entry = addresses.Entry(interface, *parse_shared(wanted)) if there else None
            link = addresses.Link(interface, "52:54:00:00:00:01", True, True, True, (entry,) if entry else ())
            states.append(addresses.status({interface: link}, parse_shared(wanted), interface))
        return shared_ip.Change(tuple(wanted), *states)

    def enable(wanted: list[str], interface: str, gateway: str = "", check: bool = False, **dummy: t.Any) -> shared_ip.Change:
        made.append(("enable", wanted, interface, gateway, check))
        return change(wanted, interface, True)

    def disable(wanted: list[str], interface: str, check: bool = False) -> shared_ip.Change:
        made.append(("disable", wanted, interface, check))
        return change(wanted, interface, False)

    monkeypatch.setattr(shared_ip, "status", lambda *dummy: types.SimpleNamespace(enabled=False))
    monkeypatch.setattr(address.role, "load", lambda: types.SimpleNamespace(now=lambda dummy: "ACTIVE"))
    monkeypatch.setattr(address.role, "RUN", str(tmp_path))
    monkeypatch.setattr(address.role, "boot_id", lambda: "b")
    monkeypatch.setattr(address.operation.Lock.__init__, "__defaults__", (str(tmp_path / "lock"),))
    monkeypatch.setattr(shared_ip, "enable", enable)
    monkeypatch.setattr(shared_ip, "disable", disable)
    monkeypatch.setattr(address, "keep_announcing", lambda *args: made.append(("announce", *args)) or [])
    monkeypatch.setattr(address, "tell_peer", lambda config: made.append(("tell", config.peer.name)))
    return made


@pytest.fixture
def module(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> Module:
    config = tmp_path / "pair.json"
    hosts = [{"name": "HOST-a", "address": "10.0.0.1"}, {"name": "HOST-b", "address": "10.0.0.2"}]
    raw = {"pair": "p", "me": "HOST-a", "hosts": hosts, "datasets": ["tank/vm"], "state_dir": "/vm/state"}
    config.write_text(json.dumps({**raw, "shared_ips": ["10.0.0.9/24"], "interface": "br0", "gateway": "10.0.0.254"}))

    def run(check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        arguments = {"config": str(config), **options, "_ansible_check_mode": check}
        capsys.readouterr()
        with testing.patch_module_args(arguments), pytest.raises(SystemExit):
            hvm_shared_ip.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_the_file_says_what_is_not_given(module: Module, calls: list[tuple[t.Any, ...]]) -> None:
    done = module(state="enabled")
    assert calls == [("enable", ["10.0.0.9/24"], "br0", "10.0.0.254", False), ("announce", ["10.0.0.9/24"], "br0")]
    assert (done["changed"], done["enabled"], done["sentence"]) == (True, True, "Shared IP is enabled")
    assert done["diff"] == {"before": "", "after": "10.0.0.9/24 on br0\n"}
    where = {"address": "10.0.0.9/24", "enabled": True, "found": ["10.0.0.9/24 on br0"], "sentence": "10.0.0.9 is on br0"}
    assert done["addresses"] == [where]


def test_what_is_given_goes_before_the_file(module: Module, calls: list[tuple[t.Any, ...]]) -> None:
    module(state="enabled", interface="br1")
    module(state="enabled", gateway="", check=True)
    assert module(state="disabled", addresses=["10.0.0.8/24"])["sentence"] == "Shared IP is disabled"
    assert calls == [
        ("enable", ["10.0.0.9/24"], "br1", "10.0.0.254", False),
        ("announce", ["10.0.0.9/24"], "br1"),
        ("enable", ["10.0.0.9/24"], "br0", "", True),
        ("disable", ["10.0.0.8/24"], "br0", False),
        ("tell", "HOST-b"),
    ]


def test_without_a_pair_addresses_and_interface_do(module: Module, calls: list[tuple[t.Any, ...]]) -> None:
    assert module(config="/none.json", state="enabled", addresses=["10.0.0.8/24"], interface="br0")["changed"]
    assert calls == [("enable", ["10.0.0.8/24"], "br0", "", False), ("announce", ["10.0.0.8/24"], "br0")]
    refused = module(config="/none.json", state="enabled", interface="br0")
    assert refused["failed"] and "does not belong to a pair" in refused["msg"]


def test_check_mode_starts_nothing_and_tells_nobody(module: Module, calls: list[tuple[t.Any, ...]]) -> None:
    assert module(state="enabled", check=True)["changed"] and module(state="disabled", check=True)["changed"]
    assert [call[0] for call in calls] == ["enable", "disable"]


def test_a_refusal_has_its_remedy_and_its_facts(
    module: Module, calls: list[tuple[t.Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def enable(*_args: t.Any, **_kwargs: t.Any) -> shared_ip.Change:
        raise HvmError("10.0.0.9 is in use", "Disable it there.", mac="52:54:00:00:00:02")

    monkeypatch.setattr(shared_ip, "enable", enable)
    refused = module(state="enabled")
    assert (refused["msg"], refused["remedy"], refused["mac"]) == (
        "10.0.0.9 is in use. Disable it there.",
        "Disable it there.",
        "52:54:00:00:00:02",
    )
