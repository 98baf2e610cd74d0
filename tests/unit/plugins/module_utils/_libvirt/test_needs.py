# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, needs

XML = """
<domain type="kvm"><name>web</name>
  <os><type arch="x86_64" machine="pc-q35-10.0">hvm</type>
    <loader readonly="yes" type="pflash">/usr/share/OVMF/OVMF_CODE_4M.fd</loader>
    <nvram template="/usr/share/OVMF/OVMF_VARS_4M.fd">/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram>
    <kernel>/boot/vmlinuz</kernel>
  </os>
  <cpu mode="custom" match="exact" check="full"><model fallback="forbid">Skylake-Server</model>
    <feature policy="require" name="pcid"/><feature policy="disable" name="hle"/><feature policy="forbid" name="rtm"/>
    <feature policy="optional" name="vmx"/><feature name="ssbd"/>
  </cpu>
  <devices>
    <disk type="volume" device="disk"><source pool="fast" volume="a"/><target dev="vda"/>
      <encryption format="luks"><secret type="passphrase" uuid="11111111-f6a4-8304-79aa-97f2502e193f"/></encryption></disk>
    <interface type="direct"><source dev="eth1" mode="bridge"/></interface>
    <interface type="bridge"><source bridge="br0"/></interface>
  </devices>
</domain>
"""


def test_what_a_vm_needs() -> None:
    assert needs.of(ET.fromstring(XML)) == {
        "type": "kvm",
        "arch": "x86_64",
        "cpu": {"mode": "custom", "model": "Skylake-Server", "require": ["pcid", "ssbd"], "disable": ["hle", "rtm"]},
        "files": ["/boot/vmlinuz", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"],
        "interfaces": ["eth1"],
        "pools": ["fast"],
        "secrets": ["11111111-f6a4-8304-79aa-97f2502e193f"],
    }


NONE: dict[str, list[str]] = {
    kind: []
    for kind in ("tpm", "filesystems", "vhost_user", "shareable", "transient", "encrypted", "luns", "jobs", "media")
}
_AT = '<target dev="vda"/>'


@pytest.mark.parametrize(
    ("device", "found"),
    [
        (f'<disk type="file" device="disk"><source file="/a"/>{_AT}</disk>', {}),
        (f'<disk type="file"><source file="/a"/>{_AT}<shareable/></disk>', {"shareable": ["vda"]}),
        (f'<disk type="file"><source file="/a"/>{_AT}<transient/></disk>', {"transient": ["vda"]}),
        (f'<disk type="file"><source file="/a"><encryption format="luks"/></source>{_AT}</disk>', {"encrypted": ["vda"]}),
        (f'<disk type="file"><source file="/a"/>{_AT}<encryption format="luks"/></disk>', {"encrypted": ["vda"]}),
        (f'<disk type="file"><source file="/a"/>{_AT}<mirror type="file" job="copy"/></disk>', {"jobs": ["vda"]}),
        (f'<disk type="block" device="lun"><source dev="/dev/sdb"/>{_AT}</disk>', {"luns": ["vda"]}),
        (f'<disk type="block"><source dev="/dev/zvol/a"/>{_AT}<readonly/></disk>', {"media": ["/dev/zvol/a"]}),
        (f'<disk type="file" device="cdrom"><source file="/a.iso"/>{_AT}<readonly/></disk>', {"media": ["/a.iso"]}),
        (f'<disk type="file" device="cdrom"><source file="/a.iso" startupPolicy="optional"/>{_AT}</disk>', {}),
        (f'<disk type="file" device="cdrom">{_AT}<readonly/></disk>', {}),
        ('<tpm><backend type="passthrough"><device path="/dev/tpm0"/></backend></tpm>', {"tpm": ["passthrough"]}),
        ('<tpm><backend type="emulator" version="2.0"/></tpm>', {}),
        ('<filesystem type="mount"><source dir="/srv"/><target dir="srv"/></filesystem>', {"filesystems": ["srv"]}),
        ('<interface type="vhostuser"><source type="unix" path="/x"/></interface>', {"vhost_user": ["vhostuser"]}),
        ('<interface type="bridge"><source bridge="br0"/></interface>', {}),
    ],
)
def test_what_keeps_it_from_moving(device: str, found: dict[str, list[str]]) -> None:
    assert needs.obstacles(ET.fromstring(f"<domain><devices>{device}</devices></domain>")) == {**NONE, **found}


@pytest.mark.parametrize(
    ("cpu", "mode", "model"),
    [
        ("", "", ""),
        ("<cpu mode='host-passthrough'/>", "host-passthrough", ""),
        ("<cpu><model>qemu64</model></cpu>", "custom", "qemu64"),
    ],
)
def test_its_cpu(cpu: str, mode: str, model: str) -> None:
    found = needs.of(ET.fromstring(f"<domain type='kvm'>{cpu}</domain>"))["cpu"]
    assert (found["mode"], found["model"]) == (mode, model)


def test_what_libvirt_defines_here() -> None:
    pytest.importorskip("libvirt")
    conn: t.Any = domains.connect("test:///default")

    class Secret:
        def UUIDString(self) -> str:
            return "u"

        def XMLDesc(self, dummy: int) -> str:
            return "<secret ephemeral='yes' private='no'/>"

    class Here:
        listAllNetworks, listAllStoragePools, getVersion = conn.listAllNetworks, conn.listAllStoragePools, conn.getVersion

        def listAllSecrets(self) -> list[Secret]:
            return [Secret()]

    assert needs.definitions(conn)["secrets"] == {}  # the test driver knows none
    found = needs.definitions(Here())
    assert found["networks"] == {"default": False}
    assert found["pools"] == {"default-pool": False}
    assert found["secrets"] == {"u": True}
    assert found["qemu_version"].count(".") == 2
    conn.close()
