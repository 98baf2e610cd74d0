# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What a VM needs of the host that it runs on, and what of it libvirt defines here."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.hvm.pair.plugins.module_utils._libvirt.image import version_text


def of(root: ET.Element) -> dict[str, t.Any]:
    """Of a domain's XML, the one of the running VM if it runs: libvirt has put the real CPU into that. Pure.

    :return: ``{type, arch, cpu: {mode, model, require, disable}, files, interfaces, pools, secrets}``; `files` are of the host
        (firmware, templates of its variables, kernels), `interfaces` those that a VM uses without a bridge (macvtap).
    """
    kind = root.find("./os/type")
    cpu = root.find("cpu")
    files = [root.findtext(f"./os/{name}") or "" for name in ("loader", "kernel", "initrd")]
    nvram = root.find("./os/nvram")
    if nvram is not None:
        files.append(nvram.get("template", ""))
    sources = [interface.find("source") for interface in root.findall("./devices/interface") if interface.get("type") == "direct"]
    return {
        "type": root.get("type", ""),
        "arch": kind.get("arch", "") if kind is not None else "",
        "cpu": _cpu(cpu),
        "files": sorted({path.strip() for path in files} - {""}),
        "interfaces": sorted({source.get("dev", "") for source in sources if source is not None} - {""}),
        "pools": sorted({source.get("pool", "") for source in root.findall("./devices/disk/source")} - {""}),
        "secrets": sorted({secret.get("uuid", "") for secret in root.iter("secret")} - {""}),
    }


def _cpu(cpu: ET.Element | None) -> dict[str, t.Any]:
    if cpu is None:
        return {"mode": "", "model": "", "require": [], "disable": []}
    features: dict[str, list[str]] = {"require": [], "disable": []}
    for feature in cpu.findall("feature"):
        # optional: the VM does without; force: it is emulated, whatever the host has
        policy = {"forbid": "disable"}.get(feature.get("policy", "require"), feature.get("policy", "require"))
        features.get(policy, []).append(feature.get("name", ""))
    mode = cpu.get("mode", "custom" if cpu.find("model") is not None else "")
    return {"mode": mode, "model": (cpu.findtext("model") or "").strip(), **features}


def definitions(conn: t.Any) -> dict[str, t.Any]:
    """``{networks: {name: starts by itself}, pools: the same, secrets: {uuid: is only in memory}, qemu_version}``"""
    import libvirt

    try:
        secrets = conn.listAllSecrets()
    except libvirt.libvirtError as exc:
        if exc.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
            raise
        secrets = []  # that driver is a package of its own, and need not be there
    return {
        "networks": {one.name(): bool(one.autostart()) for one in conn.listAllNetworks()},
        "pools": {one.name(): bool(one.autostart()) for one in conn.listAllStoragePools()},
        "secrets": {one.UUIDString(): ET.fromstring(one.XMLDesc(0)).get("ephemeral") == "yes" for one in secrets},
        "qemu_version": version_text(conn.getVersion()),
    }
