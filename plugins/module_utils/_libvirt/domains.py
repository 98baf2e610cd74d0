# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""VMs of this host through libvirt: what there is, and one verb on one VM.

`libvirt` is imported when it is first needed: a PASSIVE host answers without it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import difflib
import time
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import image, needs, stopping
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import state as vm_state
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.description import LOWEST, by_priority, settings
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.errors import NO_DOMAIN, code_of

URI = "qemu:///system"
#: VMs of one priority that are worked on at once.
PARALLEL = 4

RUNNING, FROZEN, STOPPED, OTHER = vm_state.RUNNING, vm_state.FROZEN, vm_state.STOPPED, vm_state.OTHER
image_path, saved_names, save, restore = image.image_path, image.saved_names, image.save, image.restore
_state = vm_state.state_of


def connect(uri: str = URI) -> t.Any:
    """A connection to libvirt.

    :raises HvmError: when the library or the daemon is not there.
    """
    try:
        import libvirt
    except ImportError as exc:
        raise HvmError("python3-libvirt is not installed on this host", "Run the playbook hvm.pair.install.") from exc
    libvirt.registerErrorHandler(lambda *dummy: None, None)  # it would print every error on stderr as well
    try:
        return libvirt.open(uri)
    except libvirt.libvirtError as exc:
        raise HvmError(
            f"libvirt does not answer at {uri}: {exc}", "On the ACTIVE host start it with hvm_hypervisor state=started."
        ) from exc


def parse_xml(text: str) -> dict[str, t.Any]:
    """What we need of a domain's XML; pure."""
    root = ET.fromstring(text)
    disks = []
    for disk in root.findall("./devices/disk"):
        source = disk.find("source")
        path = None
        if source is not None:
            path = source.get("file") or source.get("dev") or source.get("volume") or source.get("name")
        disks.append({"path": path, "device": disk.get("device", "disk"), "readonly": disk.find("readonly") is not None})
    interfaces = [interface.find("source") for interface in root.findall("./devices/interface")]
    description = root.findtext("description") or ""
    machine = root.find("./os/type")
    return {
        "description": description,
        **settings(description),
        "disks": disks,
        "bridges": sorted({s.get("bridge", "") for s in interfaces if s is not None and s.get("bridge")}),
        "networks": sorted({s.get("network", "") for s in interfaces if s is not None and s.get("network")}),
        "hostdevs": len(root.findall("./devices/hostdev")),
        "emulator": root.findtext("./devices/emulator") or "",
        "machine": machine.get("machine", "") if machine is not None else "",
        "needs": needs.of(root),
        "obstacles": needs.obstacles(root),
        "memory_kib": int(root.findtext("memory") or 0),
    }


#: virConnectListAllDomainsFlags: what libvirt says of all VMs in one answer.
_BULK = {"persistent": 4, "managed_save": 256, "libvirt_autostart": 1024, "snapshots": 4096}
#: virDomainStatsTypes VIR_DOMAIN_STATS_STATE; asks no QEMU.
_STATS_STATE = 1


def vms(conn: t.Any, state_dir: str) -> dict[str, dict[str, t.Any]]:
    """All VMs, by name, with state, priority, disks, networks and whether a state image lies there.

    One request per VM, for its XML, which has the description; the rest comes for all VMs at once.
    """
    bulk = {key: {dom.name() for dom in conn.listAllDomains(flag)} for key, flag in _BULK.items()}
    saved = set(image.saved_names(state_dir))
    found = {}
    for dom, stats in conn.getAllDomainStats(_STATS_STATE):
        name = dom.name()
        try:
            info = parse_xml(dom.XMLDesc(0))
        except Exception as exc:
            if code_of(exc) != NO_DOMAIN:
                raise
            continue  # a transient one that has ended meanwhile
        info.update({key: name in names for key, names in bulk.items()})
        info.update(uuid=dom.UUIDString(), state=vm_state.STATES.get(stats["state.state"], OTHER), saved=name in saved)
        info["io_error"] = (stats["state.state"], stats.get("state.reason")) == vm_state.IO_ERROR
        found[name] = info
    return dict(sorted(found.items()))


def check_names(wanted: t.Sequence[str], known: t.Collection[str]) -> None:
    """:raises Refused: with every unknown name at once, and what may have been meant."""
    findings = []
    for name in wanted:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(sorted(known)) or 'none'}."
            findings.append(Finding(f"there is no VM {name}", hint))
    if findings:
        raise Refused("this", findings)


# ---- one verb, one VM; each returns a sentence of what was done, or None when there was nothing to do


def start(conn: t.Any, name: str, state_dir: str) -> str | None:
    dom = conn.lookupByName(name)
    state = _state(dom)
    if state == RUNNING:
        return None
    if state == FROZEN:
        dom.resume()
        return f"{name} goes on"
    if image.exists(state_dir, name):
        raise has_saved_state(name)
    dom.create()
    return f"{name} started"


def has_saved_state(name: str) -> HvmError:
    what = f"VM {name} has a saved state; starting it would make that useless"
    return HvmError(what, "Restore it first (hvm_vm state=restored).")


def freeze(conn: t.Any, name: str, dummy: str = "") -> str | None:
    dom = conn.lookupByName(name)
    if _state(dom) != RUNNING:
        return None
    dom.suspend()
    return f"{name} frozen"


def unfreeze(conn: t.Any, name: str, dummy: str = "") -> str | None:
    dom = conn.lookupByName(name)
    if _state(dom) != FROZEN:
        return None
    dom.resume()
    return f"{name} goes on"


Verb = t.Callable[..., "str | None"]
#: verb -> (function, highest number first?)
VERBS: dict[str, tuple[Verb, bool]] = {
    "started": (start, False),
    "saved": (save, True),
    "restored": (restore, False),
    "frozen": (freeze, True),
    "unfrozen": (unfreeze, False),
    "shutdown": (stopping.shutdown, True),
    "poweredoff": (stopping.poweroff, True),
}


def for_each(
    verb: Verb,
    conn: t.Any,
    ordered: t.Sequence[t.Sequence[str]],
    state_dir: str,
    done: t.Callable[[str, str | None, float, float], None] = lambda *dummy: None,
    parallel: int = PARALLEL,
    between: t.Callable[[t.Sequence[str], bool], None] = lambda *dummy: None,
    to_the_end: bool = False,
    **kwargs: t.Any,
) -> dict[str, str]:
    """One verb on groups of VMs: group after group, the VMs of a group at the same time.

    :param done: called with (name, sentence, monotonic time before, after) for each VM that succeeded.
    :param between: called after each group without errors, with (names on which something was done, was it the last group?).
    :param to_the_end: all groups are tried, whatever happens in one.
    :return: name -> error of those that failed; a failure ends the work after its group (see `failures`).
    """
    errors: dict[str, str] = {}
    touched: set[str] = set()

    def one(name: str) -> None:
        before = time.monotonic()
        try:
            sentence = verb(conn, name, state_dir, **kwargs)
        except Exception as exc:  # noqa: BLE001  libvirtError and ours alike: the others of the group must be told apart from it
            errors[name] = str(exc)
        else:
            if sentence:
                touched.add(name)
            done(name, sentence, before, time.monotonic())

    for number, group in enumerate(ordered, 1):
        with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
            list(pool.map(one, group))
        if errors and not to_the_end:
            break
        between([name for name in group if name in touched], number == len(ordered))
    return errors


def failures(errors: t.Mapping[str, str], ordered: t.Sequence[t.Sequence[str]], to_the_end: bool = False) -> str:
    """What became of `for_each`, for a sentence: each error, and whom it has kept from being tried. Pure."""
    said = "; ".join(f"{name}: {text}" for name, text in sorted(errors.items()))
    last = next((number for number, group in enumerate(ordered) if not errors.keys().isdisjoint(group)), len(ordered))
    left = [] if to_the_end else [name for group in ordered[last + 1 :] for name in group]
    return f"{said}; not tried: {', '.join(left)}" if left else said


def order(infos: dict[str, dict[str, t.Any]], names: t.Iterable[str], descending: bool) -> list[list[str]]:
    # an image whose VM libvirt does not know has the lowest priority
    return by_priority(((name, infos[name]["priority"] if name in infos else LOWEST) for name in names), descending)


# ---- around the daemon


def start_networks(conn: t.Any) -> list[str]:
    """Networks and pools marked autostart; libvirt does that once per boot only (virDriverShouldAutostart).

    :return: why some do not start. As with libvirt itself, that is no reason to go without the others: a pool's directory may be
        on the other host only. A VM that needs one says so.
    """
    failed = []
    for thing in [*conn.listAllNetworks(), *conn.listAllStoragePools()]:
        if thing.autostart() and not thing.isActive():
            try:
                thing.create()
            except Exception as exc:  # noqa: BLE001
                failed.append(f"{thing.name()} does not start: {exc}")
    return failed


def stop_networks(conn: t.Any) -> None:
    """Their dnsmasq would keep files below /var/lib/libvirt open. What a pool keeps open is found when it is unmounted."""
    for network in conn.listAllNetworks():
        if network.isActive():
            network.destroy()
    for pool in conn.listAllStoragePools():
        if pool.isActive():
            with contextlib.suppress(Exception):
                pool.destroy()


def network_bridges(conn: t.Any) -> dict[str, str]:
    """Bridges of the host that libvirt networks lean on (forward mode 'bridge'): network -> bridge."""
    found = {}
    for network in conn.listAllNetworks():
        root = ET.fromstring(network.XMLDesc())
        forward, bridge = root.find("forward"), root.find("bridge")
        if forward is not None and forward.get("mode") == "bridge" and bridge is not None:
            found[network.name()] = bridge.get("name", "")
    return found


def neutralise_autostart(conn: t.Any) -> list[str]:
    """Switch libvirt's own autostart off (manual, NOTES); returns the VMs that had it."""
    had = conn.listAllDomains(_BULK["libvirt_autostart"])
    for dom in had:
        dom.setAutostart(0)
    return sorted(dom.name() for dom in had)
