# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError
from ansible_collections.hvm.pair.plugins.module_utils._procedure import offers

MACHINES = """Supported machines are:
microvm              microvm (i386)
pc                   Standard PC (i440FX + PIIX, 1996) (alias of pc-i440fx-10.0)
pc-i440fx-10.0       Standard PC (i440FX + PIIX, 1996) (default)

"""
CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R)
flags\t\t: fpu sse4_1 aes

processor\t: 1
vendor_id\t: Other
"""


def test_what_qemu_and_the_kernel_say() -> None:
    assert offers.parse_machines(MACHINES) == ["microvm", "pc", "pc-i440fx-10.0"]
    assert offers.parse_machines("") == []
    assert offers.parse_version("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright (c) 2003") == "10.0.2"
    assert offers.parse_version("kvm") == ""
    assert offers.parse_cpuinfo(CPUINFO) == {
        "vendor": "GenuineIntel",
        "model": "Intel(R) Xeon(R)",
        "flags": ["aes", "fpu", "sse4_1"],
    }
    assert offers.parse_cpuinfo("Features : fp asimd") == {"vendor": "", "model": "", "flags": ["asimd", "fp"]}


def test_what_a_host_offers(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    def run(command: t.Sequence[str], **dummy: t.Any) -> str:
        if command[0] == "/usr/bin/broken":
            raise CommandError(command, 1, "", "no")
        return MACHINES if "help" in command else "QEMU emulator version 9.2.1"

    monkeypatch.setattr(offers, "run", run)
    found = offers.offers(["/usr/bin/qemu", "/usr/bin/broken"], [str(tmp_path), "/nowhere/else"])
    assert found["machines"] == {"/usr/bin/qemu": ["microvm", "pc", "pc-i440fx-10.0"]}
    assert found["versions"] == {"/usr/bin/qemu": "9.2.1"}
    assert found["files"] == {str(tmp_path): True, "/nowhere/else": False}
    assert found["cpu"] == offers.cpu()


def test_features_of_a_model_and_of_what_it_builds_on(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x86_Base.xml").write_text("<cpus><model name='Base'><feature name='aes'/><feature name='mpx'/></model></cpus>")
    (tmp_path / "x86_New.xml").write_text(
        "<cpus><model name='New'><model name='Base'/><feature name='avx'/><feature name='mpx' removed='yes'/></model></cpus>"
    )
    (tmp_path / "x86_Bad.xml").write_text("<cpus>")
    (tmp_path / "x86_features.xml").write_text("<cpus><feature name='aes'/><feature name='sse4.1'/></cpus>")
    assert offers.features_of("New", str(tmp_path)) == ["aes", "avx"]
    assert [offers.features_of(name, str(tmp_path)) for name in ("Bad", "None", "../x", "")] == [[], [], [], []]
    assert offers.all_features(str(tmp_path)) == ["aes", "sse4.1"]
    assert offers.all_features(str(tmp_path / "none")) == []


def test_only_what_the_vms_need_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = {"mode": "custom", "model": "New", "require": [], "disable": []}
    me: dict[str, t.Any] = {
        "vms": {
            "a": {"emulator": "/usr/bin/qemu", "needs": {"files": ["/b", "/a"], "cpu": cpu}},
            "b": {"emulator": "", "needs": {"files": ["/a"], "cpu": {**cpu, "model": ""}}},
        }
    }
    monkeypatch.setattr(offers, "features_of", lambda model: [model.lower()])
    assert offers.compare(me, lambda op, **arguments: (op, arguments)) == (
        "offers",
        {"emulators": ["/usr/bin/qemu"], "files": ["/a", "/b"]},
    )
    assert me["cpu_models"] == {"New": ["new"]}
    assert me["cpu"] == offers.cpu()
