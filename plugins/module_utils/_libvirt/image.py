# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""State images: a VM's saved memory, with a manifest that says which disks it fits.

`NAME.state` is the image as libvirt writes it, `NAME.state.json` its manifest, `NAME.state.partial` an image that is being
written. All three lie in one directory, so they are in the same snapshot set as the disks.

An image fits its disks as long as nothing has written to them since the VM stopped. What proves it depends on the disk:

* a file has a stamp: its object number, its size, its time of modification in nanoseconds. ZFS sets that time with every write
  (zfs_write, zfs_freesp), and all three arrive unchanged by `zfs receive`, a rollback and a clone. Nothing but a look at the
  file is needed, and other files of the same dataset may change.
* a zvol has none of that. It is anchored in a snapshot set that was taken after the VM stopped and before anything else could
  write; later, nothing was written since that snapshot. The anchor's name goes into the manifest *before* the snapshot is
  taken, so the manifest in the set names the set.

A manifest is a dict, as JSON::

    {"format": 1, "vm": "web", "uuid": "...", "type": "kvm", "arch": "x86_64", "machine": "pc-q35-10.0",
     "emulator": "/usr/bin/...", "libvirt": "11.3.0", "qemu": "10.0.2",
     "host": "a", "boot": boot id, "saved": "2026-11-25T04:00:00+00:00",
     "paused": the operator had frozen it, "image": {"size": bytes, "ends": sha256}, "begun": "" or when its restore was begun,
     "disks": [{"target": "vda", "path": ..., "kind": "file", "dataset": ..., "stamp": {"inode", "size", "mtime_ns"}},
               {"target": "vdb", "path": ..., "kind": "zvol", "dataset": ..., "stamp": null}, ...],
     "sets": {"hvm_..._B": {dataset: GUID of the snapshot, where it was known when this was written}}}
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import re
import stat
import struct
import time
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, sync_directory, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._core.mounts import zfs_mounts
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.state import FROZEN, RUNNING, STOPPED, state_of

FORMAT = 1
FILE, ZVOL, OTHER = "file", "zvol", "other"
ZVOLS = "/dev/zvol/"
Manifest = dict[str, t.Any]
Stamp = dict[str, int]
#: dataset -> set -> ``[bytes written since that snapshot, GUID of the snapshot or ""]``; a set that is not on it is left out.
Written = t.Mapping[str, t.Mapping[str, t.Sequence[t.Any]]]

#: struct _virQEMUSaveHeader (libvirt, src/qemu/qemu_saveimage.h): magic, version, data_len, was_running, format, cookieOffset and
#: 14 words of reserve. libvirt writes the magic of a whole image last of all.
_HEADER = "16s5I56x"
HEADER_LENGTH = struct.calcsize("=" + _HEADER)
WHOLE, PARTIAL = b"LibvirtQemudSave", b"LibvirtQemudPart"
#: Far above any version that there will be; a number above it is one of the other byte order.
_VERSIONS = 1 << 16
#: Bytes at each end of an image that its checksum covers.
ENDS = 64 << 10
#: Limit of the XML in an image, in bytes; a longer one is no image.
_XML_LIMIT = 16 << 20


# ---- names


def image_path(state_dir: str, name: str) -> str:
    return os.path.join(state_dir, f"{name}.state")


def partial_path(state_dir: str, name: str) -> str:
    return f"{image_path(state_dir, name)}.partial"


def manifest_path(state_dir: str, name: str) -> str:
    """It does not end in `.state`: no listing takes it for an image."""
    return f"{image_path(state_dir, name)}.json"


# ---- the image's own header


class Header(t.NamedTuple):
    """:ivar whole: False for one that is still being written, or never was to its end.
    :ivar data_length: bytes of XML and cookie that follow the header.
    :ivar was_running: what `virDomainRestore` goes by; False in a live checkpoint although the VM ran.
    """

    whole: bool
    version: int
    data_length: int
    was_running: bool


def parse_header(head: bytes) -> Header | None:
    """Of the first bytes of a file; None for what libvirt's QEMU driver has not written. Pure."""
    if len(head) < HEADER_LENGTH or head[:16] not in (WHOLE, PARTIAL):
        return None
    words = struct.unpack("<" + _HEADER, head[:HEADER_LENGTH])
    if words[1] > _VERSIONS:
        words = struct.unpack(">" + _HEADER, head[:HEADER_LENGTH])
    return Header(words[0] == WHOLE, words[1], words[2], bool(words[3]))


def parse_xml(data: bytes) -> str:
    """The domain's XML out of what follows the header: up to its NUL; the cookie comes behind it. Pure."""
    return data.split(b"\0", 1)[0].decode(errors="replace")


# ---- what a manifest is made of


def disks_of(xml: str) -> list[dict[str, str]]:
    """``[{target, path}]`` of the disks that a running VM may write to, each with what lies below it (backing files); pure.

    CD-ROMs, floppies and read-only disks are left out: no write of theirs can be missing. `path` is "" for what has none on
    this host, such as a disk of the network; "pool:volume" is for libvirt to look up.
    """
    found = []
    for disk in ET.fromstring(xml).findall("./devices/disk"):
        if disk.get("device", "disk") not in ("disk", "lun") or disk.find("readonly") is not None:
            continue
        target = disk.find("target")
        name = target.get("dev", "") if target is not None else ""
        layer: ET.Element | None = disk
        depth = 0
        while layer is not None:
            source = layer.find("source")
            if source is not None or depth == 0:
                found.append({"target": f"{name}[{depth}]" if depth else name, "path": _path_of(source)})
            layer = layer.find("backingStore")
            depth += 1
    return found


def _path_of(source: ET.Element | None) -> str:
    if source is None:
        return ""
    if source.get("pool") and source.get("volume"):
        return f"{source.get('pool')}:{source.get('volume')}"
    return source.get("file") or source.get("dev") or ""


def version_text(number: int) -> str:
    """libvirt's numbers, 1000000 * major + 1000 * minor + release; pure."""
    return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"


def release(text: str) -> tuple[int, ...]:
    """Major and minor of a version of QEMU's: within these it keeps the format of its memory."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def stamp(path: str) -> Stamp | None:
    """What changes with every write to a file; None when there is no regular file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return {"inode": found.st_ino, "size": found.st_size, "mtime_ns": found.st_mtime_ns}


def dataset_of(path: str, mounts: t.Sequence[tuple[str, str]]) -> tuple[str, str]:
    """``(kind, dataset)`` of a disk's path. Pure.

    :param mounts: (dataset, mountpoint) of the ZFS filesystems that are mounted.
    """
    if path.startswith(ZVOLS):
        return ZVOL, path[len(ZVOLS) :]
    best = max(
        ((point, dataset) for dataset, point in mounts if path.startswith(point.rstrip("/") + "/")),
        key=lambda pair: len(pair[0]),
        default=("", ""),
    )
    return (FILE if path.startswith("/") and not path.startswith("/dev/") else OTHER), best[1]


def _real(path: str) -> str:
    """What a link leads to; a zvol by its name, not by the number of its device, which changes."""
    if not path or path.startswith(ZVOLS):
        return path
    real = os.path.realpath(path)
    if re.fullmatch(r"/dev/zd\d+", real):
        for directory, dummy, names in os.walk(ZVOLS):
            for name in names:
                if os.path.realpath(link := os.path.join(directory, name)) == real:
                    return link
    return real


def disk_facts(disks: t.Iterable[t.Mapping[str, str]], mounts: t.Sequence[tuple[str, str]]) -> list[dict[str, t.Any]]:
    """The manifest's disks, stamped now: call it while the VM cannot write (paused, or off)."""
    found = []
    for disk in disks:
        kind, dataset = dataset_of(_real(disk["path"]), mounts)
        found.append({**disk, "kind": kind, "dataset": dataset, "stamp": stamp(disk["path"]) if kind == FILE else None})
    return found


def manifest(
    vm: t.Mapping[str, t.Any], disks: t.Sequence[t.Mapping[str, t.Any]], image: t.Mapping[str, t.Any], sets: t.Iterable[str] = ()
) -> Manifest:
    """One from facts; pure but for the clock.

    :param vm: what `facts` gives.
    :param disks: what `disk_facts` gives.
    :param image: what `measure` gives.
    :param sets: the set that is taken before anything can write, where its name is known already.
    """
    return {
        "format": FORMAT,
        **vm,
        "saved": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "image": dict(image),
        "disks": [dict(disk) for disk in disks],
        "sets": {name: {} for name in sets},
        "begun": "",
    }


def zvols(found: t.Mapping[str, t.Any]) -> list[str]:
    """The zvols among a manifest's disks."""
    return sorted({disk["dataset"] for disk in found["disks"] if disk["kind"] == ZVOL})


# ---- does it fit?


@dataclasses.dataclass(frozen=True)
class Seen:
    """What is there at the moment of a restore.

    :ivar header: of the image; None when it is none of libvirt's.
    :ivar size, ends: of the image, as in its manifest.
    :ivar uuid: in the image's own XML.
    :ivar defined: UUID of the VM that libvirt knows under this name; "" for none.
    :ivar stamps: path -> stamp of the file now, None for one that is not there.
    :ivar written: of the zvols; None when it was not asked.
    :ivar fresh: saved by the very process that restores it, under the pair's lock: its zvols need no other proof.
    :ivar qemu: version of the QEMU here; "" when not known.
    :ivar unfit: why this QEMU does not offer the machine, in libvirt's words; "" when it does.
    """

    header: Header | None
    size: int
    ends: str
    uuid: str = ""
    defined: str = ""
    stamps: t.Mapping[str, Stamp | None] = dataclasses.field(default_factory=dict)
    written: Written | None = None
    fresh: bool = False
    qemu: str = ""
    unfit: str = ""


KEEP = "The image is kept."
BACK = (
    "An image on changed disks corrupts filesystems, so nothing forces it. Take the disks back (hvm_zfs_rollback){there}, "
    "or move the image away and start the VM with the disks of now."
)
FORCE = "If you know that {what}, restore it with force=true."


def check(name: str, found: t.Mapping[str, t.Any] | None, seen: Seen, force: bool = False) -> list[Finding]:
    """Why the image of VM `name` may not be restored now; empty when it may. Pure.

    :param found: its manifest; None when it has none.
    :param force: the operator's word for what cannot be proven. What is proven wrong stays refused.
    """
    findings = _image(name, found, seen)
    doubts = []
    if found is None:
        doubts.append(
            Finding(
                f"the image of VM {name} has no manifest: nothing says which disks it fits",
                FORCE.format(what="nothing has run on the VM's disks since it was saved"),
            )
        )
    else:
        if found.get("format") != FORMAT:
            return [
                Finding(
                    f"the manifest of VM {name} has format {found.get('format')}, and this version reads {FORMAT}",
                    "Run the playbook hvm.pair.install with the version of hvm.pair that wrote it.",
                )
            ]
        wrong, unproven = disks(name, found, seen)
        findings += wrong
        doubts += unproven
        if seen.qemu and release(seen.qemu) < release(found["qemu"]):
            doubts.append(
                Finding(
                    f"VM {name} was saved with QEMU {found['qemu']}, and here is the older {seen.qemu}",
                    "Update it here. " + FORCE.format(what="this QEMU reads it (if not, libvirt says so and it is kept)"),
                )
            )
        if seen.unfit:
            remedy = f"Install a QEMU that does: it was saved with QEMU {found['qemu']}. {KEEP}"
            findings.append(
                Finding(f"VM {name} has the machine type {found['machine']}, which is not offered here ({seen.unfit})", remedy)
            )
    return findings if force else findings + doubts


def _image(name: str, found: t.Mapping[str, t.Any] | None, seen: Seen) -> list[Finding]:
    if seen.header is None or not seen.header.whole:
        what = "is no image of libvirt's" if seen.header is None else "is half of one: it was never written to its end"
        remedy = "Move it away; go back to a set that holds a whole one, or start the VM."
        return [Finding(f"the image of VM {name} {what}", remedy)]
    findings = []
    if found is not None:
        said = found.get("image", {})
        if said.get("size") != seen.size:
            what = f"the image of VM {name} has {seen.size} bytes, and its manifest says {said.get('size')}"
            findings.append(Finding(what, "It was cut or replaced: take it from a snapshot set again. " + KEEP))
        elif said.get("ends") != seen.ends:
            what = f"the image of VM {name} is not the one that its manifest is about: its checksum differs"
            findings.append(Finding(what, "It was replaced or damaged: take it from a snapshot set again. " + KEEP))
    known = {"the image": seen.uuid, "its manifest": (found or {}).get("uuid", ""), "libvirt": seen.defined}
    if len({uuid for uuid in known.values() if uuid}) > 1:
        told = ", ".join(f"{who} says {uuid}" for who, uuid in known.items() if uuid)
        what = f"the image called {name} is of another VM: UUID: {told}"
        findings.append(Finding(what, "Define the VM that it belongs to, or move the image away."))
    return findings


def disks(name: str, found: t.Mapping[str, t.Any], seen: Seen) -> tuple[list[Finding], list[Finding]]:
    """``(proven wrong, not proven)`` of a manifest's disks. Pure."""
    wrong: list[Finding] = []
    unproven: list[Finding] = []
    sets = found.get("sets", {})
    there = f" to the set {max(sets)}" if sets else ""
    for disk in found["disks"]:
        what = f"VM {name}: disk {disk['target']} ({disk['path'] or 'of the network'})"
        if disk["kind"] == FILE:
            now = seen.stamps.get(disk["path"])
            if now is None:
                wrong.append(Finding(f"{what} is not there", f"Bring it back, from a set or a backup. {KEEP}"))
            elif disk["stamp"] is None:
                unproven.append(_unproven(what, "was not a plain file when the VM was saved"))
            elif now != disk["stamp"]:
                reason = _difference(disk["stamp"], now)
                wrong.append(Finding(f"{what} has changed since the VM was saved: {reason}", BACK.format(there=there)))
        elif disk["kind"] == ZVOL:
            if seen.fresh:
                continue
            verdict = anchored(disk["dataset"], sets, seen.written)
            if verdict is None:
                unproven.append(_unproven(what, "is in no snapshot set that was taken when the VM was saved"))
            elif verdict:
                wrong.append(Finding(f"{what} {verdict}", BACK.format(there=there)))
        else:
            unproven.append(_unproven(what, "is neither a file nor a zvol"))
    return wrong, unproven


def is_of_the_past(name: str, found: t.Mapping[str, t.Any], seen: Seen) -> str:
    """Why the image of a VM is good for other disks only: these are all there, and were written since. "" else. Pure."""
    wrong, dummy = disks(name, found, seen)
    there = all(seen.stamps.get(disk["path"]) for disk in found["disks"] if disk["kind"] == FILE)
    return "; ".join(finding.what for finding in wrong) if there else ""


def _unproven(what: str, why: str) -> Finding:
    return Finding(f"{what} {why}, so nothing proves that it is as it was", FORCE.format(what="nothing has written to it since"))


def _difference(then: Stamp, now: Stamp) -> str:
    if then["inode"] != now["inode"]:
        return "it is another file"
    if then["size"] != now["size"]:
        return f"it had {then['size']} bytes and has {now['size']}"
    moment = datetime.datetime.fromtimestamp(now["mtime_ns"] / 1e9, datetime.UTC)
    return f"it was last written at {moment.isoformat(timespec='seconds')}"


def anchored(dataset: str, sets: t.Mapping[str, t.Mapping[str, str]], written: Written | None) -> str | None:
    """"" when one of the sets proves that the zvol is as it was, a reason when it proves that it is not, None when none is there.

    Pure. One that proves it is enough: a later anchor was only given while an earlier one held.
    """
    reason = None
    for name in sorted(sets):
        there = (written or {}).get(dataset, {}).get(name)
        if there is None:
            continue
        size, guid = int(there[0]), str(there[1])
        known = sets[name].get(dataset, "")
        if known and guid and known != guid:
            reason = f"has another snapshot under the name {name}"
        elif size:
            reason = f"has changed since the VM was saved: {size} bytes were written since {name}"
        else:
            return ""
    return reason


def with_set(found: t.Mapping[str, t.Any], name: str, guids: t.Mapping[str, str] | None = None) -> Manifest:
    """The manifest with one more anchor; pure.

    :param guids: dataset -> GUID of the snapshot, when it has been taken.
    """
    ours = {dataset: (guids or {})[dataset] for dataset in zvols(found) if dataset in (guids or {})}
    return {**found, "sets": {**found["sets"], name: ours}}


# ---- files


def write_manifest(state_dir: str, found: t.Mapping[str, t.Any], durable: bool = True) -> None:
    """:param durable: False where a snapshot follows at once: it holds all that was written before it, fsync or not."""
    write_atomic(manifest_path(state_dir, found["vm"]), json.dumps(found, indent=1, sort_keys=True) + "\n", durable=durable)


def read_manifest(state_dir: str, name: str) -> Manifest | None:
    """None when there is none, or one that cannot be read as such: what it says is not known then."""
    text = read_text(manifest_path(state_dir, name))
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("vm") == name else None


def measure(path: str) -> dict[str, t.Any]:
    """``{size, ends}`` of an image: its checksum is over both ends only, so that a VM does not wait while all of it is read.

    That tells an image from another, and from one that was cut; that its blocks are what was written is ZFS's to check.
    """
    with open(path, "rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        digest = hashlib.sha256(handle.read(ENDS))
        handle.seek(max(size - ENDS, 0))
        digest.update(handle.read(ENDS))
    return {"size": size, "ends": digest.hexdigest()}


def read_header(path: str) -> tuple[Header | None, str]:
    """The header, and the XML that follows it ("" when there is none)."""
    with open(path, "rb") as handle:
        header = parse_header(handle.read(HEADER_LENGTH))
        if header is None or not 0 < header.data_length <= _XML_LIMIT:
            return header, ""
        return header, parse_xml(handle.read(header.data_length))


def is_whole(path: str) -> bool:
    """Whether it is an image that libvirt has written to its end."""
    try:
        with open(path, "rb") as handle:
            return handle.read(len(WHOLE)) == WHOLE
    except FileNotFoundError:
        return False


def exists(state_dir: str, name: str) -> bool:
    """Whether the VM has an image. One that libvirt has finished after its client was killed has not got its name yet."""
    return os.path.exists(image_path(state_dir, name)) or is_whole(partial_path(state_dir, name))


def saved_names(state_dir: str) -> list[str]:
    """VMs that have a state image on this host."""
    try:
        entries = os.listdir(state_dir)
    except FileNotFoundError:
        return []
    found = {entry.removesuffix(".state") for entry in entries if entry.endswith(".state")}
    halves = {entry.removesuffix(".state.partial") for entry in entries if entry.endswith(".state.partial")}
    return sorted(found | {name for name in halves if is_whole(partial_path(state_dir, name))})


def remove(state_dir: str, name: str) -> None:
    """The image and its manifest, in this order: an image that lost its manifest could not be judged."""
    for path in (image_path(state_dir, name), manifest_path(state_dir, name)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def put_beside(state_dir: str, name: str, stamp: str) -> str:
    """The image and its manifest go where nobody takes them for the VM's state. :return: the image's new path."""
    place = os.path.join(state_dir, f"unfit-{stamp}")
    os.makedirs(place, mode=0o700, exist_ok=True)
    source = image_path(state_dir, name)
    if not os.path.exists(source):
        os.rename(partial_path(state_dir, name), source)
    for path in (source, manifest_path(state_dir, name)):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, os.path.join(place, os.path.basename(path)))
    return os.path.join(place, os.path.basename(source))


def take_back(state_dir: str, name: str, beside: str) -> None:
    """The reverse. :param beside: what `put_beside` gave."""
    for path in (manifest_path(state_dir, name), image_path(state_dir, name)):  # an image under its own name always has one
        with contextlib.suppress(FileNotFoundError):
            os.rename(os.path.join(os.path.dirname(beside), os.path.basename(path)), path)


# ---- with libvirt


def facts(conn: t.Any, dom: t.Any) -> tuple[dict[str, t.Any], list[dict[str, str]]]:
    """``(what `manifest` wants of the VM, its disks for `disk_facts`)``, of a VM that runs or is frozen. Nothing stops for it."""
    xml = dom.XMLDesc(0)
    root = ET.fromstring(xml)
    kind = root.find("./os/type")
    vm = {
        "vm": dom.name(),
        "uuid": dom.UUIDString(),
        "type": root.get("type", ""),
        "arch": kind.get("arch", "") if kind is not None else "",
        "machine": kind.get("machine", "") if kind is not None else "",
        "emulator": root.findtext("./devices/emulator") or "",
        "libvirt": version_text(conn.getLibVersion()),
        "qemu": version_text(conn.getVersion()),
        "host": os.uname().nodename,
        "boot": (read_text("/proc/sys/kernel/random/boot_id") or "").strip(),
        "paused": state_of(dom) == FROZEN,
    }
    return vm, [{**disk, "path": _volume(conn, disk["path"])} for disk in disks_of(xml)]


def _volume(conn: t.Any, path: str) -> str:
    if not path or path.startswith("/"):
        return path
    import libvirt

    pool, volume = path.split(":", 1)
    try:
        return str(conn.storagePoolLookupByName(pool).storageVolLookupByName(volume).path())
    except libvirt.libvirtError:
        return path


def save(conn: t.Any, name: str, state_dir: str, durable: bool = True) -> str | None:
    """State image into `state_dir`, then the VM is off. A failed save leaves the VM running (libvirt resumes it).

    :param durable: False where a snapshot follows at once: that one writes everything, and fsync would only write it twice.
    """
    dom = conn.lookupByName(name)
    if state_of(dom) == STOPPED:
        return None
    if not dom.isPersistent():
        raise HvmError(f"VM {name} is transient: nothing of it would be left but its image", "Define it (virsh define).")
    os.makedirs(state_dir, mode=0o700, exist_ok=True)
    path, partial = image_path(state_dir, name), partial_path(state_dir, name)
    if exists(state_dir, name):
        if not _came_from_it(state_dir, name, dom):
            raise _runs_and_has_one(name, path if os.path.exists(path) else partial)
        remove(state_dir, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial)  # half an image of a save that did not end; libvirt resumed that VM
    vm, disks = facts(conn, dom)
    dom.save(partial)
    os.chmod(partial, 0o600)
    if durable:
        with open(partial, "rb") as handle:
            os.fsync(handle.fileno())
    # the manifest first: an image under its own name always has one
    write_manifest(state_dir, manifest(vm, disk_facts(disks, zfs_mounts()), measure(partial)), durable)
    os.rename(partial, path)
    if durable:
        sync_directory(state_dir)
    return f"{name} saved"


def _runs_and_has_one(name: str, path: str) -> HvmError:
    return HvmError(f"VM {name} runs and yet has a state image {path}", "Look which is right; if the image is old, move it away.")


def look(
    conn: t.Any, name: str, state_dir: str, found: Manifest | None, written: Written | None = None, fresh: bool = False
) -> Seen:
    """What `check` asks for. :param written: of the zvols; None when they are not known."""
    path = _place(state_dir, name)
    header, xml = read_header(path)
    defined = {dom.name(): dom.UUIDString() for dom in conn.listAllDomains()}
    return Seen(
        header=header,
        **measure(path),
        uuid=(ET.fromstring(xml).findtext("uuid") or "") if xml else "",
        defined=defined.get(name, ""),
        stamps={disk["path"]: stamp(disk["path"]) for disk in (found or {}).get("disks", []) if disk["kind"] == FILE},
        written=written,
        fresh=fresh,
        qemu=version_text(conn.getVersion()),
        unfit=_unfit(conn, found) if found and not fresh else "",
    )


def _unfit(conn: t.Any, found: Manifest) -> str:
    import libvirt

    try:
        conn.getDomainCapabilities(found["emulator"] or None, found["arch"] or None, found["machine"] or None, found["type"])
    except libvirt.libvirtError as exc:
        # what does not suit this QEMU; for anything else the restore itself has the better words
        return str(exc) if exc.get_error_code() == libvirt.VIR_ERR_INVALID_ARG else ""
    return ""


def restore(
    conn: t.Any,
    name: str,
    state_dir: str,
    timeout: float = 60,
    written: Written | None = None,
    fresh: t.Collection[str] = (),
    force: bool = False,
) -> str | None:
    """Restore from the state image; the image goes only after the VM is seen running (or frozen, as it was saved).

    :param written: of the zvols of all VMs that are restored together, asked before the first of them runs.
    :param fresh: VMs of which the caller knows that nobody has written to their zvols: this very process has saved them, under
        the pair's lock.
    :param force: the operator's word for what cannot be proven.
    :raises Refused: when the image does not fit, with every reason. It is kept.
    """
    if not exists(state_dir, name):
        return None
    path = image_path(state_dir, name)
    if not os.path.exists(path) and _active(conn, name) is None:
        os.rename(partial_path(state_dir, name), path)
    fitting = may_restore(conn, name, state_dir, written, fresh, force)
    if fitting is None:
        remove(state_dir, name)
        return f"{name} was restored before; its image is removed"
    found, seen = fitting
    if found:
        # whoever finds the image and the running VM knows then that the one came from the other
        begun = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_manifest(state_dir, {**found, "begun": begun}, durable=False)
    if found and seen.header and seen.header.was_running == found["paused"]:
        conn.restoreFlags(path, None, 4 if found["paused"] else 2)  # VIR_DOMAIN_SAVE_PAUSED, _RUNNING
    else:
        conn.restore(path)
    deadline = time.monotonic() + timeout
    while state_of(conn.lookupByName(name)) not in (RUNNING, FROZEN):
        if time.monotonic() > deadline:
            raise HvmError(f"VM {name} was restored but is not seen running after {timeout:.0f} s", f"Its image is kept: {path}.")
        time.sleep(0.05)
    remove(state_dir, name)
    return f"{name} restored"


def may_restore(
    conn: t.Any, name: str, state_dir: str, written: Written | None = None, fresh: t.Collection[str] = (), force: bool = False
) -> tuple[Manifest | None, Seen] | None:
    """What `restore` goes by, with its arguments; None when the VM runs from its image already. Changes nothing.

    :raises HvmError: as `restore`.
    """
    dom = _active(conn, name)
    if dom is not None:
        if _came_from_it(state_dir, name, dom):
            return None
        raise _runs_and_has_one(name, image_path(state_dir, name))
    found = read_manifest(state_dir, name)
    seen = look(conn, name, state_dir, found, written, name in fresh)
    findings = check(name, found, seen, force)
    if findings:
        raise Refused(f"restoring VM {name}", findings)
    return found, seen


def _active(conn: t.Any, name: str) -> t.Any:
    """The domain, unless it is stopped or not known."""
    return next((dom for dom in conn.listAllDomains() if dom.name() == name and state_of(dom) != STOPPED), None)


def _place(state_dir: str, name: str) -> str:
    """Where the image lies that `exists` has found: a save may have been cut before its last step."""
    path = image_path(state_dir, name)
    return path if os.path.exists(path) else partial_path(state_dir, name)


def _came_from_it(state_dir: str, name: str, dom: t.Any) -> bool:
    """The VM that runs came from the image that is there: a restore was cut before it could remove it."""
    found = read_manifest(state_dir, name)
    # VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_RESTORED: libvirt's word, which a start by hand changes
    return bool(found and found["begun"]) and os.path.exists(image_path(state_dir, name)) and list(dom.state()) == [1, 3]
