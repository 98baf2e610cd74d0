# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What a VM writes, kept apart from its disks: a qcow2 overlay for each of them, and its way back into the disk.

While a VM has overlays nobody writes its disks (the bases), so that they are the same on both hosts, and what it has written can
move to the other host by itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import struct
import time
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import sync_directory
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import state as vm_state
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.errors import NO_DOMAIN, code_of

DIRECTORY = "/var/lib/hvm/overlays"
#: Where libvirt has the definitions of VMs. It writes each of them whole (virFileRewrite: fsync, rename), and does nothing for
#: their directory: after a power cut within seconds the one of before is there.
DEFINITIONS = "/etc/libvirt/qemu"
#: A guest's small write copies a subcluster of 4 KiB, not a cluster of 128 (QEMU 5.2, docs/interop/qcow2.txt).
OPTIONS = "extended_l2=on,cluster_size=128k"
#: virDomainSnapshotCreateFlags: DISK_ONLY, REUSE_EXT, NO_METADATA, ATOMIC.
_SNAPSHOT = 16 | 32 | 4 | 128
#: virDomainBlockCommitFlags: SHALLOW: into the image right below, which may have others below it.
_SHALLOW, _ACTIVE = 1, 4
#: virDomainBlockJobAbortFlags
_PIVOT = 2
#: virDomainXMLFlags
SECURE, INACTIVE = 1, 2
_POLL = 0.05


class Disk(t.NamedTuple):
    """:ivar dev: the target in the VM (vda). :ivar base: path of the disk. :ivar format: raw or qcow2.
    :ivar block: whether the base is a device. :ivar overlay: path of the overlay.
    """

    dev: str
    base: str
    format: str
    block: bool
    overlay: str


def disks(name: str, xml: str) -> list[Disk]:
    """The disks of a VM that it can write to, from its XML without overlays. Pure."""
    found = []
    for disk in ET.fromstring(xml).findall("./devices/disk"):
        source, driver, target = disk.find("source"), disk.find("driver"), disk.find("target")
        if disk.get("device", "disk") != "disk" or disk.find("readonly") is not None or source is None or target is None:
            continue
        path = source.get("file") or source.get("dev") or ""
        dev = target.get("dev", "")
        form = driver.get("type", "raw") if driver is not None else "raw"
        found.append(Disk(dev, path, form, source.get("dev") is not None, overlay_path(name, dev)))
    return found


def overlay_path(name: str, dev: str) -> str:
    return f"{_stem(name)}.{dev}.qcow2"


def rest_path(name: str) -> str:
    """Of what is no disk of a VM that moves as files (`variables`)."""
    return f"{_stem(name)}.rest"


def _stem(name: str) -> str:
    """A VM's name may be nearly anything (virDomainDefPostParse); a name of a file that the relay takes may not."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:100]
    if plain != name:
        plain = f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return f"{DIRECTORY}/{plain}"


def make(disk: Disk) -> None:
    """An empty one; an old one of that name is never overwritten."""
    if os.path.lexists(disk.overlay):
        raise HvmError(f"{disk.overlay} is there already", "It holds what a VM has written: hvm.pair.recover decides about it.")
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", OPTIONS, "-b", disk.base, "-F", disk.format, disk.overlay]
    run(words, timeout=60)
    os.chmod(disk.overlay, 0o600)


def is_empty(path: str) -> bool:
    """Whether nothing was ever written into an overlay: its L1 table refers to nothing. Of what is no qcow2 that is not known.

    From the file alone (docs/interop/qcow2.txt), which nobody has open: qemu-img would look at all of its base.
    """
    with open(path, "rb") as handle:
        header = handle.read(48)
        if len(header) < 48 or header[:4] != b"QFI\xfb":
            return False
        entries, offset = struct.unpack(">IQ", header[36:])
        handle.seek(offset)
        table = handle.read(entries * 8)
        return bool(entries) and len(table) == entries * 8 and not any(table)


@contextlib.contextmanager
def _standing_still(dom: t.Any, no_room: bool = False) -> t.Iterator[None]:
    """The VM writes nothing while its disks change, and until it is on disk by which files it starts next time.

    Else a power cut within seconds has it start from the others: what it was told is safe would be in files that nobody reads,
    or would be hidden by older ones.

    :param no_room: whether it stood since there was no room where it writes, and goes on where there is.
    """
    runs = vm_state.state_of(dom) == vm_state.RUNNING  # one that has ended meanwhile writes nothing either
    if runs:
        dom.suspend()
    try:
        yield
        sync_directory(DEFINITIONS)
    finally:
        if runs or no_room:
            dom.resume()


def begin(conn: t.Any, name: str, wanted: t.Sequence[Disk]) -> None:
    """From now on the VM writes to its overlays, which have just been made; all of its disks at one moment."""
    root = ET.Element("domainsnapshot")
    ET.SubElement(root, "name").text = "hvm"
    ET.SubElement(root, "memory", snapshot="no")
    listed = ET.SubElement(root, "disks")
    dom = conn.lookupByName(name)
    mine = {disk.dev: disk for disk in wanted}
    for disk in ET.fromstring(dom.XMLDesc(0)).findall("./devices/disk"):
        dev = disk.find("target").get("dev", "")  # type: ignore[union-attr]
        entry = ET.SubElement(listed, "disk", name=dev, snapshot="external" if dev in mine else "no")
        if dev in mine:
            ET.SubElement(entry, "driver", type="qcow2")
            ET.SubElement(entry, "source", file=mine[dev].overlay)
    with _standing_still(dom):
        dom.snapshotCreateXML(ET.tostring(root, encoding="unicode"), _SNAPSHOT)


def in_use(xml: str, listed: t.Iterable[Disk]) -> list[str]:
    """Targets of a VM whose disk is its overlay, and not only has it below: others may put files beside ours. Pure."""
    mine = {(disk.dev, disk.overlay) for disk in listed}
    found = []
    for disk in ET.fromstring(xml).findall("./devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        if source is not None and target is not None and (target.get("dev", ""), source.get("file")) in mine:
            found.append(target.get("dev", ""))
    return found


class Cover(t.NamedTuple):
    """What a disk is on instead of its overlay or its base.

    :ivar chain: that file, and those below as far as the XML has them.
    """

    disk: Disk
    format: str
    chain: list[str]


def covers(xml: str, listed: t.Iterable[Disk]) -> list[Cover]:
    """Disks on files of somebody else's: a snapshot, which has the overlay below, or another disk. Pure."""
    mine, found = {disk.dev: disk for disk in listed}, []
    for element in ET.fromstring(xml).findall("./devices/disk"):
        target, driver = element.find("target"), element.find("driver")
        disk = mine.get(target.get("dev", "")) if target is not None else None
        sources = [*element.findall("source"), *element.findall("backingStore//source")]
        chain = [one.get("file") or one.get("dev") or "" for one in sources]
        if disk is not None and chain and chain[0] not in (disk.overlay, disk.base):
            found.append(Cover(disk, driver.get("type", "raw") if driver is not None else "raw", chain))
    return found


def refuse_covered(dom: t.Any, listed: t.Sequence[Disk]) -> None:
    """:raises HvmError: when somebody's snapshot lies over an overlay, or may: both hold writes, and go together."""
    name = dom.name()
    for flags in (INACTIVE,) if vm_state.state_of(dom) == vm_state.STOPPED else (0, INACTIVE):
        for disk, form, chain in covers(dom.XMLDesc(flags), listed):
            if not os.path.lexists(disk.overlay):
                continue
            top, overlay = chain[0], disk.overlay
            # what runs is shown with all that is below it, a definition is not
            if overlay not in chain and not (flags and form != "raw" and _is_below(name, disk, form, top)):
                continue
            what = f"VM {name}: its disk {disk.dev} is on {top}, a snapshot over {overlay}"
            raise HvmError(what, f"Bring that down ({bring_down(name, disk, top, bool(flags))}), then hvm.pair.recover.")


def bring_down(name: str, disk: Disk, top: str, off: bool) -> str:
    """What somebody whose snapshot it is can do."""
    if off:
        return f"with the VM off: qemu-img commit -b {disk.overlay} {top}, and {disk.overlay} into virsh edit {name}"
    return f"virsh blockcommit {name} {disk.dev} --base {disk.overlay} --active --pivot"


def _is_below(name: str, disk: Disk, form: str, top: str) -> bool:
    try:
        return disk.overlay in run(["qemu-img", "info", "-U", "--backing-chain", "--output=json", "-f", form, top], timeout=60)
    except HvmError as exc:
        raise HvmError(
            f"VM {name}: its disk {disk.dev} is on {top}, and whether {disk.overlay} lies below cannot be seen: {exc.what}",
            f"Mend that, or put {disk.overlay} into its definition instead (virsh edit {name}) when nothing in {top} is missed; "
            "then hvm.pair.recover.",
        ) from exc


def is_reached(dom: t.Any, listed: t.Sequence[Disk]) -> bool:
    """Whether a VM is on one of its overlays, or may have one below."""
    texts = [dom.XMLDesc(0), dom.XMLDesc(INACTIVE)]
    return any(covers(xml, listed) or any(disk.overlay in xml for disk in listed) for xml in texts)


def detached(dom: t.Any, listed: t.Sequence[Disk]) -> list[Disk]:
    """Disks that the VM has not any more, or, while it runs, not until it is started again: libvirt does nothing with those."""
    targets = [target.get("dev") for target in ET.fromstring(dom.XMLDesc(0)).findall("./devices/disk/target")]
    return [disk for disk in listed if disk.dev not in targets]


def refuse_detached(dom: t.Any, listed: t.Sequence[Disk]) -> None:
    """:raises HvmError: when an overlay would be left behind, and removed in the end, with what is in it."""
    for disk in detached(dom, listed):
        if os.path.lexists(disk.overlay):
            name, file = dom.name(), disk.overlay
            where = "--config" if vm_state.state_of(dom) == vm_state.STOPPED else "--live"
            again = f"virsh attach-disk {name} {file} {disk.dev} --subdriver qcow2 {where}"
            raise HvmError(
                f"VM {name}: its disk {disk.dev} was detached, and {file} holds what was written to it",
                # before recover the disk itself must not be written
                f"Attach it again ({again}), then hvm.pair.recover. "
                f"Or hvm.pair.recover first, then qemu-img commit -d {file}, move the file away, and hvm.pair.recover again.",
            )


def fold(conn: t.Any, name: str, listed: t.Sequence[Disk], timeout: float = 3600.0) -> str | None:
    """What the VM has written comes into its disks, and the VM is on these again; the files go. Again it does nothing.

    Of one that runs by an active commit, of one that is off by qemu-img. An overlay that the VM is not on, and that is not known
    to be empty, stays where it is: it was merged right before a crash, or the VM was undefined or defined anew. So each one
    goes as soon as it is merged, and not after the others.

    :raises HvmError: naming the disk; then the VM goes on with its overlay, and nothing is lost.
    :return: a sentence, None when there was nothing to do, or something stays.
    """
    dom = defined(conn, name)
    if dom is None:
        return None
    left = [disk for disk in listed if os.path.lexists(disk.overlay)]
    used = {*in_use(dom.XMLDesc(0), listed), *in_use(dom.XMLDesc(INACTIVE), listed)}
    if not left and not used:
        return None
    refuse_detached(dom, listed)
    refuse_covered(dom, listed)
    running = vm_state.state_of(dom) in (vm_state.RUNNING, vm_state.FROZEN)
    gone = detached(dom, listed)  # and somebody has seen to what was in their overlays
    for disk in listed:
        merged = False
        if disk.dev in used and disk not in gone:
            if not os.path.lexists(disk.overlay):
                raise HvmError(f"VM {name}: {disk.overlay} is not there, and its disk {disk.dev} needs it")
            merged = _merge(dom, disk, running, timeout)
        if disk.dev in used:
            _redefine(conn, dom, [disk])
            sync_directory(DEFINITIONS)  # else it may name files that are gone
        if disk in left and (merged or is_empty(disk.overlay)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(disk.overlay)
    return None if any(os.path.lexists(disk.overlay) for disk in listed) else f"{name}: what it has written is in its disks"


def _merge(dom: t.Any, disk: Disk, running: bool, timeout: float) -> bool:
    """:return: whether it was; not when the VM runs on something else, and only starts with the overlay next time."""
    if not running:
        run(["qemu-img", "commit", "-q", "-f", "qcow2", "-d", disk.overlay], timeout=timeout)
    elif disk.dev in in_use(dom.XMLDesc(0), [disk]):
        _commit(dom, disk, timeout)
    else:
        return False
    return True


def _commit(dom: t.Any, disk: Disk, timeout: float) -> None:
    """An active commit into the disk below, and nothing further down."""
    deadline = time.monotonic() + timeout
    if not dom.blockJobInfo(disk.dev):
        dom.blockCommit(disk.dev, None, None, 0, _SHALLOW | _ACTIVE)
    while not _is_ready(dom.XMLDesc(0), disk.dev):
        if not dom.blockJobInfo(disk.dev):
            raise HvmError(f"VM {dom.name()}: what was written to {disk.dev} could not be brought into {disk.base}")
        if time.monotonic() > deadline:
            raise HvmError(f"VM {dom.name()}: {disk.dev} is not in {disk.base} after {timeout:.0f} s")
        time.sleep(_POLL)
    with _standing_still(dom, no_room=tuple(dom.state()) == vm_state.IO_ERROR):
        dom.blockJobAbort(disk.dev, _PIVOT)
        while disk.dev in in_use(dom.XMLDesc(0), [disk]) and time.monotonic() < deadline:
            time.sleep(_POLL)
    if disk.dev in in_use(dom.XMLDesc(0), [disk]):
        raise HvmError(f"VM {dom.name()}: {disk.dev} is still on its overlay")


def _is_ready(xml: str, dev: str) -> bool:
    for disk in ET.fromstring(xml).findall("./devices/disk"):
        target, mirror = disk.find("target"), disk.find("mirror")
        if target is not None and target.get("dev") == dev:
            return mirror is not None and mirror.get("job") == "active-commit" and mirror.get("ready") == "yes"
    return False


def on_bases(xml: str, listed: t.Sequence[Disk]) -> str:
    """A definition with its disks instead of the overlays. Pure."""
    root = ET.fromstring(xml)
    mine = {disk.dev: disk for disk in listed}
    for element in root.findall("./devices/disk"):
        target, source, driver = element.find("target"), element.find("source"), element.find("driver")
        disk = mine.get(target.get("dev", "")) if target is not None else None
        if disk is None or source is None or source.get("file") != disk.overlay:
            continue
        backing = element.find("backingStore")
        below = backing.find("backingStore") if backing is not None else None
        if backing is not None:
            element.remove(backing)
        if below is not None and len(below):
            element.insert(list(element).index(source) + 1, below)
        source.attrib.clear()
        source.set("dev" if disk.block else "file", disk.base)
        element.set("type", "block" if disk.block else "file")
        if driver is not None:
            driver.set("type", disk.format)
    return ET.tostring(root, encoding="unicode")


def forsake(conn: t.Any, name: str, listed: t.Sequence[Disk]) -> None:
    """A VM that is off and whose definition names overlays that are gone is defined with its disks; else nothing is done."""
    dom = defined(conn, name)
    if dom is not None and vm_state.state_of(dom) == vm_state.STOPPED:
        _redefine(conn, dom, listed)


def defined(conn: t.Any, name: str) -> t.Any | None:
    """None when libvirt knows no VM of that name."""
    try:
        return conn.lookupByName(name)
    except Exception as exc:
        if code_of(exc) != NO_DOMAIN:
            raise
    return None


def _redefine(conn: t.Any, dom: t.Any, listed: t.Sequence[Disk]) -> None:
    xml = dom.XMLDesc(INACTIVE | SECURE)
    if in_use(xml, listed):
        conn.defineXML(on_bases(xml, listed))
