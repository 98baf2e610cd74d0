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


#: A medium that libvirt leaves out where it is missing (formatdomain: startupPolicy).
_OPTIONAL = ("optional", "requisite")


def obstacles(root: ET.Element) -> dict[str, list[str]]:
    """What keeps a VM, or its disks, from moving while it runs, or from being saved; what it means is decided elsewhere. Pure.

    :return: kind -> names: targets of disks (shareable, transient, encrypted, luns, jobs), paths (media: what is read only),
        what the VM calls it (filesystems), types (tpm, vhost_user).
    """
    found: dict[str, list[str]] = {
        "tpm": [one.get("type", "") for one in root.findall("./devices/tpm/backend") if one.get("type") != "emulator"],
        "filesystems": [_attribute(one, "target", "dir") for one in root.findall("./devices/filesystem")],
        "vhost_user": [
            kind
            for kind, path in (("vhostuser", "interface"), ("vdpa", "interface"), ("vhostuser", "disk"))
            for one in root.findall(f"./devices/{path}")
            if one.get("type") == kind
        ],
    }
    found.update({kind: [] for kind in ("shareable", "transient", "encrypted", "luns", "jobs", "media")})
    for disk in root.findall("./devices/disk"):
        source = disk.find("source")
        if source is None:
            continue
        target = _attribute(disk, "target", "dev")
        for kind, path in (("transient", "transient"), ("encrypted", ".//encryption"), ("jobs", "mirror")):
            if disk.find(path) is not None:
                found[kind].append(target)
        if disk.get("device", "disk") == "lun":
            found["luns"].append(target)
        elif disk.get("device", "disk") == "disk" and disk.find("readonly") is None:
            found["shareable"] += [target] if disk.find("shareable") is not None else []
        elif (place := source.get("file") or source.get("dev") or "") and source.get("startupPolicy") not in _OPTIONAL:
            found["media"].append(place)
    return found


def _attribute(element: ET.Element, child: str, name: str) -> str:
    found = element.find(child)
    return found.get(name, "") if found is not None else ""


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
