# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import json
import pathlib
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import address, install

V4, V6 = "192.0.2.10/24", "2001:db8::10/64"
CONFIG = PairConfig("p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("t/vm",), "/vm/state", (V4, V6), "br0", "192.0.2.1")
WITHOUT = CONFIG._replace(shared_ips=(), interface="", gateway="")


class Host1:
    """Commands and calls, in order."""

    def __init__(self, run: pathlib.Path, patch: pytest.MonkeyPatch) -> None:
        self.did: list[t.Any] = []
        self.installed = True
        self.failures = 0
        self.held: tuple[str, ...] = ()
        patch.setattr(address.role, "RUN", str(run))
        patch.setattr(address, "run", self.run)
        patch.setattr(address, "succeeds", self.run)
        patch.setattr(address, "time", types.SimpleNamespace(sleep=lambda dummy: None))
        patch.setattr(address.os.path, "exists", lambda path: self.installed and path == address.ANNOUNCER)
        calls = address.shared_ip
        patch.setattr(calls, "prepare", lambda *args, **more: self.did.append(("prepare", *args, more)) or "prepared")
        patch.setattr(calls, "take", lambda *args: self.did.append(("take", *args)))
        patch.setattr(calls, "take_back", lambda *args: self.did.append(("take back", *args)))
        patch.setattr(calls, "announce", lambda *dummy: self.held)
        patch.setattr(calls, "disable", lambda *dummy: types.SimpleNamespace(changed=self.held))

    def run(self, command: list[str], dummy: float) -> str:
        self.did.append(" ".join(command[:2]) if command[0] == "systemctl" else command)
        if command[0] == "systemd-run" and self.failures:
            self.failures -= 1
            raise CommandError(command, 1, "", "Failed to start transient service unit: Access denied")
        return ""


@pytest.fixture(name="host")
def _host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host1:
    return Host1(tmp_path / "run", monkeypatch)


START = [
    *("systemd-run", "--quiet", "--collect", "--no-block", "--unit=hvm-announce.service"),
    *("--description=hvm.pair: tells the neighbours where the shared IP is", "--property=RuntimeMaxSec=3660"),
    *("/usr/lib/hvm/hvm-announce", "br0", V4, V6),
]


def test_the_announcer_is_a_unit_of_its_own_with_a_limit_and_one_of_an_earlier_time_goes(host: Host1) -> None:
    assert address.keep_announcing([V4, V6], "br0") == []
    assert host.did == ["systemctl stop", START]


def test_what_it_runs_is_what_gets_installed() -> None:
    text, mode = install.files()["/usr/lib/hvm/hvm-announce"]
    assert (text.splitlines()[0], mode) == ("#!/usr/bin/python3 -IB", 0o755)
    assert "\nfrom ansible_collections.hvm.pair.plugins.module_utils._net.announcer import main\n" in text
    compile(text, "hvm-announce", "exec")


def test_that_it_cannot_be_started_is_a_warning(host: Host1) -> None:
    host.failures = 1
    assert address.keep_announcing([V4], "br0") == []
    host.did.clear()
    host.failures = 2
    (text,) = address.keep_announcing([V4], "br0")
    assert text.startswith("the shared addresses are announced once only: 'systemd-run --quiet")
    assert text.endswith("failed (1): Failed to start transient service unit: Access denied")
    assert [one[0] for one in host.did] == ["s", "systemd-run"] * 2
    host.installed = False
    host.did.clear()
    (text,) = address.keep_announcing([V4], "br0")
    assert text.endswith("/usr/lib/hvm/hvm-announce is missing. Run the playbook hvm.pair.install")
    assert host.did == []


def test_in_an_interruption_nobody_is_asked(host: Host1) -> None:
    address.take(CONFIG)
    assert host.did == [("prepare", (V4, V6), "br0", {"peer_holds": True}), ("take", "prepared")]


def test_what_would_keep_it_from_taking_them_is_known_before(host: Host1, monkeypatch: pytest.MonkeyPatch) -> None:
    assert address.hindrance(CONFIG) == []
    assert host.did == [("prepare", (V4, V6), "br0", "192.0.2.1", {"peer_holds": True})]

    def refuse(*dummy: t.Any, **dummy_too: t.Any) -> None:
        raise HvmError("interface br0 has no carrier", "Check its cable.")

    monkeypatch.setattr(address.shared_ip, "prepare", refuse)
    assert address.hindrance(CONFIG) == ["interface br0 has no carrier", "Check its cable."]


def test_what_is_taken_back_is_announced_again_too(host: Host1) -> None:
    assert address.take_back(CONFIG, [V6]) == []
    assert host.did == [("take back", [V6], "br0"), "systemctl stop", [*START[:-2], V6]]


def test_without_addresses_there_is_nothing_to_do(host: Host1) -> None:
    address.take(WITHOUT)
    assert (address.hindrance(WITHOUT), address.take_back(CONFIG, [])) == ([], [])
    assert not address.give_up(WITHOUT)
    assert (address.announce(WITHOUT), address.keep_announcing([], "")) == ([], [])
    assert host.did == []


def test_only_what_is_here_is_announced(host: Host1) -> None:
    assert address.announce(CONFIG) == []
    assert host.did == []
    host.held = (V4,)
    assert address.announce(CONFIG) == [V4]
    assert host.did == ["systemctl stop", START]
    before = address.last_off()
    assert before == 0 and address.give_up(CONFIG) and address.last_off() > before


def test_the_other_host_is_told_and_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Peer:
        def __init__(self, dummy: PairConfig) -> None:
            if asked:
                raise HvmError("hv2 does not answer")

        def __enter__(self) -> t.Any:
            return self

        def __exit__(self, *dummy: object) -> None:
            pass

        def call(self, op: str) -> None:
            asked.append(op)

    monkeypatch.setattr(address, "Peer", Peer)
    address.tell_peer(CONFIG)
    address.tell_peer(CONFIG)
    assert asked == ["announce"]


def test_what_lets_networkd_keep_them_is_for_the_interface_that_is_given_or_that_of_the_description(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bridges = address.bridges
    runs = {"systemd-networkd"}
    monkeypatch.setattr(bridges.Host, "_runs", staticmethod(lambda service: service in runs))

    def status(command: list[str], dummy: float) -> str:
        assert command[:2] == ["networkctl", "status"]
        if command[-1] not in ("eth0", "br0"):
            raise CommandError(command, 1, "", "Interface not found")
        return f"  Network File: /run/systemd/network/{command[-1]}.network\n"

    monkeypatch.setattr(bridges, "run", status)
    monkeypatch.setattr(address.os.path, "exists", lambda dummy: True)
    monkeypatch.setattr(address.configs, "load", lambda: CONFIG)
    drop_in = "/etc/systemd/network/{}.network.d/hvm.conf".format
    assert list(address.files("eth0")) == [drop_in("eth0")]
    assert list(address.files("")) == [drop_in("br0")]
    assert address.files("gone") == {}
    monkeypatch.setattr(address.configs, "load", lambda: WITHOUT)
    assert address.files("") == {}
    runs.clear()
    assert address.files("eth0") == {}


def test_a_description_that_cannot_be_used_hinders_no_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what is about to be replaced."""

    def broken() -> t.NoReturn:
        raise HvmError("/etc/hvm/pair.json cannot be used")

    monkeypatch.setattr(address.os.path, "exists", lambda dummy: True)
    monkeypatch.setattr(address.configs, "load", broken)
    assert address.files("") == {}


def held(path: str, name: str) -> t.IO[str]:
    """The lock, as another process holds it."""
    handle = open(path, "w", encoding="utf-8")  # noqa: SIM115  closing it lets it go
    fcntl.flock(handle, fcntl.LOCK_EX)
    handle.write(json.dumps({"operation": name, "owner": "bob", "since": "then", "pid": 0}) if name else "")
    handle.flush()
    return handle


@pytest.mark.parametrize("check", [True, False])
def test_only_the_active_host_takes_it_and_not_while_it_moves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, check: bool
) -> None:
    """In a migration nobody has it for a moment, so nobody answers: both hosts could take it."""
    off = types.SimpleNamespace(enabled=False, sentence="Shared IP is disabled", addresses=(), text="")
    took: list[str] = []
    between: list[t.Callable[[], object]] = []

    def taken(*dummy: t.Any, sure: t.Callable[[], None], **dummy_more: t.Any) -> t.Any:
        for one in between:  # it looks for seconds
            one()
        sure()
        took.append("it")
        return types.SimpleNamespace(changed=(), before=off, after=off)

    monkeypatch.setattr(address.shared_ip, "status", lambda *dummy: off)
    monkeypatch.setattr(address.shared_ip, "enable", taken)
    lock = str(tmp_path / "lock")
    for function in (address.operation.Lock.__init__, address.operation.none_moves):
        monkeypatch.setattr(function, "__defaults__", (lock,))
    monkeypatch.setattr(address.role, "boot_id", lambda: "b")
    entry = types.SimpleNamespace(now=lambda dummy: "PASSIVE")
    monkeypatch.setattr(address.role, "load", lambda: entry)

    def enable() -> dict[str, t.Any]:
        return address.apply("enabled", ["192.0.2.10/24"], "br0", "", CONFIG, check)

    with pytest.raises(Refused, match=r"enabling the shared IP is refused.*only the ACTIVE one can have the shared IP"):
        enable()
    entry.now = lambda dummy: "ACTIVE"
    for name in ("migrate_secure", "migrate_unsecure", "hv stop", "failover", "hvm_shared_ip", ""):
        with held(lock, name), pytest.raises(HvmError, match="another operation is running"):
            enable()
    assert took == []
    enable()
    with held(lock, "sync"):
        enable()
    assert took == ["it", "it"]
    with held(lock, "backup_secure"):
        between.append(lambda: pathlib.Path(lock).write_text('{"operation": "hv stop", "pid": 0}'))
        with pytest.raises(HvmError, match="another operation is running"):
            enable()
    between[:] = [lambda: setattr(entry, "now", lambda dummy: "PASSIVE")]
    with pytest.raises(Refused, match="only the ACTIVE one"):
        enable()
    assert took == ["it", "it"] and address.operation.lock_holder(lock) is None
