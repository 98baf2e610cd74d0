# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._pair import compat

QEMU, OVMF = "/usr/bin/qemu-system-x86_64", "/usr/share/OVMF/OVMF_CODE_4M.fd"


def pair(cpu: dict[str, t.Any] | None = None, **vm: t.Any) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """hv1 with one running VM, and hv2, where it could run."""
    needs = {
        "type": "kvm",
        "cpu": {"mode": "custom", "model": "New", "require": ["ssbd"], "disable": [], **(cpu or {})},
        "files": [OVMF, "/var/lib/libvirt/boot/kernel"],
        "interfaces": ["eth1"],
        "pools": ["fast"],
        "secrets": ["s"],
    }
    web = {"state": "running", "saved": False, "autostart": True, "networks": ["lan"], "needs": needs}
    web.update(machine="pc-q35-10.0", emulator=QEMU)
    web.update(vm)
    me = {
        "host": "hv1",
        "vms": {"web": web},
        "defined": {"networks": {"lan": True}, "pools": {"fast": True}, "secrets": {"s": False}, "qemu_version": "10.0.2"},
        "cpu": {"vendor": "GenuineIntel", "model": "Xeon", "flags": ["aes", "avx512_vnni", "nopl", "sse4_1", "ssbd", "vmx"]},
        "cpu_models": {"New": ["aes", "sse4.1", "avx512vnni"]},
        "cpu_features": ["aes", "avx512vnni", "sse4.1", "ssbd", "vmx"],
    }
    peer = {
        "host": "hv2",
        "interfaces": ["eth1"],
        "offers": {
            "cpu": {"vendor": "GenuineIntel", "model": "Xeon", "flags": ["aes", "avx512_vnni", "sse4_1", "ssbd"]},
            "machines": {QEMU: ["pc-q35-10.0"]},
            "versions": {QEMU: "10.0.8"},
            "files": {OVMF: True, "/var/lib/libvirt/boot/kernel": False},
        },
    }
    return me, peer


PLACES = ("/etc/libvirt/", "/var/lib/libvirt/")


def told(me: dict[str, t.Any], peer: dict[str, t.Any], places: tuple[str, ...] = PLACES) -> list[str]:
    found = compat.landing(me, peer, lambda path, dummy: path.startswith(places))
    assert all(finding.remedy and finding.host for finding in found)
    return [f"{finding.host}: {finding.what}" for finding in found]


def test_a_pair_of_equal_hosts() -> None:
    assert told(*pair()) == []


def test_a_host_that_was_not_asked_has_nothing_said_about_it() -> None:
    me, peer = pair()
    del peer["offers"]
    assert told(me, peer) == []


def test_machine_firmware_and_interface() -> None:
    me, peer = pair()
    peer["offers"].update(machines={QEMU: ["pc-q35-9.2"]}, files={})
    peer["interfaces"] = []
    assert told(me, peer) == [
        f"hv2: VM web has the machine type pc-q35-10.0, which {QEMU} lacks there",
        f"hv2: VM web needs the file {OVMF}, which is not there",
        "hv2: VM web uses the interface eth1, which is not there",
    ]


def test_what_libvirt_defines_must_travel_and_start_by_itself() -> None:
    me, peer = pair()
    assert told(me, peer, ("/var/",)) == [
        "hv1: VM web uses the network lan, whose definition is on no replicated dataset",
        "hv1: VM web uses the pool fast, whose definition is on no replicated dataset",
        "hv1: VM web uses the secret s, whose definition is on no replicated dataset",
    ]
    me["defined"].update(networks={"lan": False}, pools={}, secrets={"s": True})
    assert told(me, peer) == [
        "hv1: VM web uses the network lan, which would not be started there: it is not marked autostart",
        "hv1: VM web uses the pool fast, which libvirt does not know",
        "hv1: VM web uses the secret s, which is only in libvirt's memory here",
    ]


@pytest.mark.parametrize(("version", "older"), [("9.2.4", True), ("10.0.0", False), ("10.1.0", False), ("", False)])
def test_an_older_qemu_does_not_read_the_memory_of_a_newer_one(version: str, older: bool) -> None:
    me, peer = pair()
    peer["offers"]["versions"] = {QEMU: version} if version else {}
    assert told(me, peer) == ([f"hv2: VM web runs with QEMU 10.0.2, and there is the older {version}"] if older else [])
    me["vms"]["web"]["state"] = "stopped"
    assert told(me, peer) == []


def less(peer: dict[str, t.Any], *flags: str) -> None:
    peer["offers"]["cpu"]["flags"] = [flag for flag in peer["offers"]["cpu"]["flags"] if flag not in flags]


def test_a_vm_that_nobody_waits_for_keeps_no_other_back() -> None:
    me, peer = pair(state="stopped", autostart=False)
    peer["offers"].update(machines={QEMU: ["other"]}, files={})
    me["defined"]["networks"] = {}
    assert told(me, peer) == []
    me["vms"]["web"]["saved"] = True
    assert len(told(me, peer)) == 3


def test_features_of_the_model_and_those_asked_for_by_name() -> None:
    me, peer = pair()
    less(peer, "avx512_vnni", "ssbd")
    assert told(me, peer) == ["hv2: VM web uses CPU features that are not there: avx512vnni, ssbd"]
    me["vms"]["web"]["needs"]["cpu"]["disable"] = ["avx512vnni"]
    assert told(me, peer) == ["hv2: VM web uses CPU features that are not there: ssbd"]
    me["vms"]["web"]["needs"]["type"] = "qemu"
    assert told(me, peer) == []


def test_features_that_the_vm_does_not_use_may_be_missing() -> None:
    me, peer = pair({"model": "Old", "require": []})
    less(peer, "avx512_vnni", "ssbd")
    assert told(me, peer) == []


def test_a_vm_with_the_hosts_cpu_uses_all_that_a_guest_sees() -> None:
    me, peer = pair({"mode": "host-passthrough", "model": "", "require": []})
    assert told(me, peer) == []  # vmx and nopl are missing there
    less(peer, "aes")
    assert told(me, peer) == ["hv2: VM web uses CPU features that are not there: aes"]
    peer["offers"]["cpu"]["vendor"] = "AuthenticAMD"
    assert told(me, peer) == ["hv2: VM web has the CPU of hv1 (GenuineIntel), and there is one of AuthenticAMD"]
