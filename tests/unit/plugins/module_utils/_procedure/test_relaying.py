# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import agent, relaying

CONFIG = PairConfig("office", Host("hv2", "192.0.2.12"), Host("hv1", "192.0.2.11"), ("d/r",), "/var/lib/libvirt/hvm")


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("libvirt", "/run/libvirt/libvirt-sock"),
        ("web1ram", "/run/hvm/move/web1ram.sock"),
        ("a" * 40, f"/run/hvm/move/{'a' * 40}.sock"),
        ("read:web-1.vda.qcow2", "/var/lib/hvm/overlays/web-1.vda.qcow2"),
        ("write:_x", "/var/lib/hvm/overlays/_x"),
    ],
)
def test_where_an_endpoint_is(endpoint: str, path: str) -> None:
    assert relaying.path_of(endpoint) == path


@pytest.mark.parametrize(
    "endpoint",
    [
        *("", "a" * 41, "Web", "web-1", "web/1", "../libvirt", "web\n", "libvirt\n", "libvirt/../x", "/run/libvirt/libvirt-sock"),
        *("read:", "read:..", "read:.", "read:.hidden", "read:a/b", "read:../x", "read:/etc/shadow", "read:a\n", "read:a b"),
        *("write:", "write:..", "write:a.partial", "read:a.partial", "append:a", "read:read:a", "read:ä", "a" * 300, "None"),
    ],
)
def test_what_is_no_endpoint(endpoint: str) -> None:
    with pytest.raises(HvmError, match="the relay knows no endpoint"):
        relaying.path_of(endpoint)


@given(st.one_of(st.text(), st.text(alphabet="abz09./_-:readwit\n\0")))
def test_no_endpoint_leads_elsewhere(name: str) -> None:
    for endpoint in (name, f"read:{name}", f"write:{name}"):
        try:
            path = relaying.path_of(endpoint)
        except HvmError:
            continue
        assert path == relaying.LIBVIRT or str(pathlib.PurePosixPath(path).parent) in (relaying.MOVE, relaying.OVERLAYS)
        assert ".." not in path.split("/") and "\0" not in path and "\n" not in path


CLOSED = "no operation runs here"


@pytest.mark.parametrize(
    ("gate", "running", "reason"),
    [
        (None, "", CLOSED),
        ("ACTIVE 7\n", "", CLOSED),
        ("", "", CLOSED),
        ("NOT ARRIVING 7\n", "", CLOSED),
        ("ARRIVING 7\n", "", ""),
        ("ARRIVING 7\n", "sync", ""),
        (None, "migrate_unsecure", ""),
        ("ACTIVE 7\n", "migrate_unsecure", ""),
        ("ACTIVE 7\n", "recover", ""),
        ("ACTIVE 7\n", "migrate_secure", "it is held for migrate_secure"),
        (None, "sync", "it is held for sync"),
        (None, "recover2", "it is held for recover2"),
    ],
)
def test_when_the_relay_is_open(gate: str | None, running: str, reason: str) -> None:
    said = relaying.refusal(gate, running, False)
    assert said == (f"no VMs are moving to or from this host ({reason})" if reason else "")


@pytest.mark.parametrize("gate", ["ACTIVE 7\n", "whatever 7\n"])
def test_who_only_holds_the_lock_of_an_active_host_is_not_let_in(gate: str) -> None:
    assert "lets nobody in" in relaying.refusal(gate, "migrate_unsecure", True)
    assert relaying.refusal(gate, "migrate_unsecure", False) == ""
    assert relaying.refusal(None, "recover", True) == "", "one that has rebooted since VMs came to it"
    assert relaying.refusal("ARRIVING 7\n", "migrate_unsecure", True) == ""


def test_the_agent_asks_the_hosts_own_gate_and_lock(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, lock = tmp_path / "gate", tmp_path / "lock"
    monkeypatch.setattr(role, "GATE", str(gate))
    mounted = [relaying.OVERLAYS]
    monkeypatch.setattr(relaying.os.path, "ismount", lambda path: path in mounted)
    held = operation.others_operation
    monkeypatch.setattr(operation, "others_operation", lambda: held(str(lock)))
    with pytest.raises(HvmError) as caught:
        relaying.endpoint(CONFIG, "libvirt")
    assert (caught.value.what, caught.value.remedy) == (
        "the relay to libvirt is refused: no VMs are moving to or from this host (no operation runs here)",
        "It is open in the midst of migrate_unsecure and recover of the pair office only.",
    )
    gate.write_text("ARRIVING 7\n")
    assert relaying.endpoint(CONFIG, "libvirt") == relaying.LIBVIRT
    gate.write_text("ACTIVE 7\n")
    with pytest.raises(HvmError, match="the relay to read:a is refused"):
        relaying.endpoint(CONFIG, "read:a")
    with operation.Lock(str(lock)).held("migrate_unsecure", "root"):
        monkeypatch.setattr(operation.os, "getpid", lambda: 1)  # it is another process that holds it
        assert relaying.endpoint(CONFIG, "read:a") == f"{relaying.OVERLAYS}/a"
        mounted.clear()
        for file in ("read:a", "write:a"):  # into the directory below, which is the root filesystem's
            with pytest.raises(HvmError, match=r"/var/lib/hvm/overlays is not mounted here\. Mount it: zfs mount -a"):
                relaying.endpoint(CONFIG, file)
        assert relaying.endpoint(CONFIG, "libvirt") == relaying.LIBVIRT
    with pytest.raises(HvmError, match="the relay to read:a is refused"):
        relaying.endpoint(CONFIG, "read:a")


def test_it_is_installed_with_the_agent() -> None:
    assert relaying in agent.load_rest()
