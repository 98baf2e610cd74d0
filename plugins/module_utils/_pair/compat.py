# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Whether the VMs of this host can run on the other one, whose libvirt is stopped and stays so: pure.

What is known of the other host (`offers`) comes from QEMU itself (``-machine help``, ``--version``), from /proc/cpuinfo and from
the files that are there. libvirt's own definitions need no question: they travel with the datasets, if they lie on them.

What this cannot know: what KVM there hides of the CPU (a kernel option, a microcode), features that /proc/cpuinfo has no word
for, and devices that QEMU was built without. The restore finds those; the image is kept then.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding

Observation = dict[str, t.Any]

#: Where libvirt keeps what it defines.
PLACES = {
    "network": "/etc/libvirt/qemu/networks/",
    "pool": "/etc/libvirt/storage/",
    "secret": "/etc/libvirt/secrets/",
}
#: Of the host's CPU, never shown to a guest, or not without being asked for: they may differ.
NOT_A_GUESTS = frozenset(
    "acpi cmt ds dscpl dtes64 est ht invtsc mbmlocal mbmtotal monitor osxsave pbe pdcm smx ss svm tm tm2 vmx xtpr".split()
)


def landing(me: Observation, peer: Observation, covered: t.Callable[[str, Observation], bool]) -> list[Finding]:
    """What is missing on `peer` for VMs that run, are saved, or start by themselves; nothing when it was not asked.

    :param covered: whether a path of this host lies on a replicated dataset.
    """
    offers = peer.get("offers")
    if offers is None:
        return []
    host, found = peer["host"], []
    for name, vm in me["vms"].items():
        needs = vm["needs"]
        runs = vm["state"] in ("running", "frozen")
        if not (runs or vm["saved"] or vm["autostart"]):
            continue  # nobody waits for it there
        machines = offers["machines"].get(vm["emulator"])
        if machines and vm["machine"] and vm["machine"] not in machines:
            what = f"VM {name} has the machine type {vm['machine']}, which {vm['emulator']} lacks there"
            remedy = f"Install the QEMU of {me['host']} there, or give the VM a machine type that both have."
            found.append(Finding(what, remedy, host))
        for path in needs["files"]:
            if not offers["files"].get(path) and not covered(path, me):
                remedy = f"Install the package that has it there (on {me['host']}: dpkg -S {path}), or copy it."
                found.append(Finding(f"VM {name} needs the file {path}, which is not there", remedy, host))
        for interface in needs["interfaces"]:
            if interface not in peer["interfaces"]:
                remedy = "Create or rename it there, or connect the VM to a bridge that both have."
                found.append(Finding(f"VM {name} uses the interface {interface}, which is not there", remedy, host))
        found += _defined(name, vm, me, covered)
        if runs:
            found += _cpu(name, needs, me, peer)
            mine, theirs = me["defined"]["qemu_version"], offers["versions"].get(vm["emulator"], "")
            if _release(theirs) < _release(mine):
                what = f"VM {name} runs with QEMU {mine}, and there is the older {theirs}"
                found.append(Finding(what, "Update QEMU there: an older one does not read the memory of a newer one.", host))
    return found


def _release(version: str) -> tuple[int, ...]:
    """Major and minor: within these QEMU keeps its format. Nothing known is later than everything."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    return numbers or (1 << 30,)


def _defined(
    name: str, vm: t.Mapping[str, t.Any], me: Observation, covered: t.Callable[[str, Observation], bool]
) -> t.Iterator[Finding]:
    used = [("network", one) for one in vm["networks"]] + [
        (kind, one) for kind in ("pool", "secret") for one in vm["needs"][f"{kind}s"]
    ]
    for kind, one in used:
        known = me["defined"][f"{kind}s"]
        if one not in known:
            yield Finding(f"VM {name} uses the {kind} {one}, which libvirt does not know", "Define it.", me["host"])
            continue
        if not covered(f"{PLACES[kind]}{one}", me):
            remedy = f"Give {PLACES[kind].rstrip('/')} a dataset below hvm_datasets (hvm.pair.install does)."
            yield Finding(f"VM {name} uses the {kind} {one}, whose definition is on no replicated dataset", remedy, me["host"])
        if kind == "secret" and known[one]:
            remedy = "Define it again without ephemeral='yes', or set it there by hand after every start of libvirt."
            yield Finding(f"VM {name} uses the secret {one}, which is only in libvirt's memory here", remedy, me["host"])
        if kind != "secret" and not known[one]:
            command = {"network": "net-autostart", "pool": "pool-autostart"}[kind]
            what = f"VM {name} uses the {kind} {one}, which would not be started there: it is not marked autostart"
            yield Finding(what, f"Mark it: virsh {command} {one}.", me["host"])


def _cpu(name: str, needs: t.Mapping[str, t.Any], me: Observation, peer: Observation) -> list[Finding]:
    if needs["type"] != "kvm" or "cpu" not in me:
        return []  # an emulated CPU does not look at the host's
    host, cpu, here, there = peer["host"], needs["cpu"], me["cpu"], peer["offers"]["cpu"]
    whole = cpu["mode"] in ("host-passthrough", "maximum")
    found = []
    if whole and here["vendor"] != there["vendor"]:
        remedy = "Give the VM a CPU model that both have (virsh hypervisor-cpu-baseline)."
        what = f"VM {name} has the CPU of {me['host']} ({here['vendor']}), and there is one of {there['vendor']}"
        return [Finding(what, remedy, host)]
    lost = {plain(flag) for flag in here["flags"]} - {plain(flag) for flag in there["flags"]}
    wanted = set(map(plain, cpu["require"]))
    wanted |= set(map(plain, me["cpu_features"] if whole else me["cpu_models"].get(cpu["model"], [])))
    missing = (lost & wanted) - set(map(plain, cpu["disable"])) - (NOT_A_GUESTS if whole else frozenset())
    if missing:
        what = f"VM {name} uses CPU features that are not there: {', '.join(sorted(missing))}"
        remedy = "Give the VM a CPU model that both have (virsh hypervisor-cpu-baseline); or see to BIOS and microcode there."
        found.append(Finding(what, remedy, host))
    return found


def plain(feature: str) -> str:
    """One spelling: the kernel writes sse4_1 and avx512_vnni, libvirt sse4.1 and avx512vnni."""
    return re.sub(r"[-_.]", "", feature.lower())
