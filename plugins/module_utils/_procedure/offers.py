# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What a host offers to VMs, without its libvirt: asked of the PASSIVE one before VMs go there."""

from __future__ import annotations

import os
import re
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text

#: Comes with libvirt (package libvirt0 of Debian and Ubuntu): what its CPU models consist of.
CPU_MAP = "/usr/share/libvirt/cpu_map"


def parse_machines(text: str) -> list[str]:
    """`-machine help`: a heading, then a name and its description in each line; aliases are names too. Pure."""
    return [line.split()[0] for line in text.splitlines()[1:] if line.strip()]


def parse_version(text: str) -> str:
    """`--version`: "QEMU emulator version 10.0.2 (Debian ...)"; "" when it says nothing of the kind. Pure."""
    match = re.search(r"version (\d+(?:\.\d+)+)", text)
    return match[1] if match else ""


def parse_cpuinfo(text: str) -> dict[str, t.Any]:
    """``{vendor, model, flags}`` of the first processor in /proc/cpuinfo. Pure."""
    found: dict[str, str] = {}
    for line in text.split("\n\n", 1)[0].splitlines():
        key, dummy, value = line.partition(":")
        found[key.strip()] = value.strip()
    flags = found.get("flags", found.get("Features", ""))
    return {"vendor": found.get("vendor_id", ""), "model": found.get("model name", ""), "flags": sorted(flags.split())}


def cpu() -> dict[str, t.Any]:
    return parse_cpuinfo(read_text("/proc/cpuinfo") or "")


def offers(emulators: t.Iterable[str], files: t.Iterable[str]) -> dict[str, t.Any]:
    """``{cpu, machines: {emulator: names}, versions: {emulator: version}, files: {path: is there}}``; about 0.1 s per emulator.

    :param emulators: paths; the caller has seen to it that they are emulators.
    """
    machines: dict[str, list[str]] = {}
    versions: dict[str, str] = {}
    for emulator in emulators:
        try:
            machines[emulator] = parse_machines(run([emulator, "-machine", "help"], timeout=30))
            versions[emulator] = parse_version(run([emulator, "--version"], timeout=30))
        except CommandError:
            continue  # one that does not run says nothing; that it is there at all is asked elsewhere
    return {"cpu": cpu(), "machines": machines, "versions": versions, "files": {path: os.path.exists(path) for path in files}}


def wanted(me: t.Mapping[str, t.Any]) -> dict[str, list[str]]:
    """What to ask the other host for, given this one's VMs. Pure."""
    vms = list(me["vms"].values())
    return {
        "emulators": sorted({vm["emulator"] for vm in vms} - {""}),
        "files": sorted({path for vm in vms for path in vm["needs"]["files"]}),
    }


def compare(me: dict[str, t.Any], ask: t.Callable[..., t.Any]) -> t.Any:
    """The other host's offers, and beside them in `me` what they are compared with.

    :param ask: calls an operation of the other host.
    """
    models = {vm["needs"]["cpu"]["model"] for vm in me["vms"].values()} - {""}
    me["cpu"] = cpu()
    me["cpu_models"] = {model: features_of(model) for model in models}
    me["cpu_features"] = all_features()
    return ask("offers", **wanted(me))


def features_of(model: str, directory: str = CPU_MAP) -> list[str]:
    """Features of a CPU model of libvirt's, with those of the model that it builds on; none for one that is not in the map."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", model):
        return []
    root = _read(f"{directory}/x86_{model}.xml")
    entry = root.find("model") if root is not None else None
    if entry is None:
        return []
    below = entry.find("model")
    features = set(features_of(below.get("name", ""), directory)) if below is not None else set()
    for feature in entry.findall("feature"):
        name = feature.get("name", "")
        if feature.get("removed") == "yes":
            features.discard(name)
        else:
            features.add(name)
    return sorted(features)


def all_features(directory: str = CPU_MAP) -> list[str]:
    """Every feature that libvirt has a name for: what a guest can see, unlike much of /proc/cpuinfo."""
    root = _read(f"{directory}/x86_features.xml")
    return sorted(feature.get("name", "") for feature in root.findall("feature")) if root is not None else []


def _read(path: str) -> ET.Element | None:
    text = read_text(path)
    try:
        return ET.fromstring(text) if text else None
    except ET.ParseError:
        return None
