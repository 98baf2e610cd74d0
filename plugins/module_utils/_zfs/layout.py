# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Pools that a host shall have: what is to be made, what is refused, what is there already and differs. Pure.

A pool is only ever made, of devices that hold nothing, and never by force. One that is there is never changed.
"""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError

#: ashift: disks with 4 KiB sectors say 512, and it can never be changed.
POOL_PROPERTIES: t.Mapping[str, t.Any] = {"ashift": 12}
#: Inherited by every dataset. compression: before ZFS 2.2 the default is off. atime: each read of an image would be a write.
#: xattr, acltype: as Linux needs them, and not as hidden directories. mountpoint, canmount: the pool itself holds no file, and
#: nothing mounts below / by itself.
FILESYSTEM_PROPERTIES: t.Mapping[str, t.Any] = {
    "compression": "lz4",
    "atime": "off",
    "xattr": "sa",
    "acltype": "posixacl",
    "mountpoint": "none",
    "canmount": "off",
}

#: On filesystems that a removal has left to be mounted at boot, with the name of the pair: an installation takes that back.
LET_GO = "hvm:let-go"
#: Set while a first installation copies into a dataset what lies at its mountpoint.
COPYING = "hvm:copying"

#: As zpool create says them -> as zpool status does; "": for data.
USES = {"": "", "log": "logs", "cache": "cache", "spare": "spares", "special": "special", "dedup": "dedup"}
DISK = "disk"
_SHAPE = re.compile(r"(mirror|raidz[123]?|draid[123]?(:\d+[dcs])*)\Z")
#: zpoolconcepts(7); a space or a colon would be allowed, and is only trouble.
_POOL = re.compile(r"(?!mirror|raidz|draid|spare|c[0-9]|log\Z)[A-Za-z][A-Za-z0-9_.-]{0,62}\Z")
_PROPERTY = re.compile(r"[a-z][a-z0-9_:.@-]*\Z")
#: What ZFS prints for what it was told (zfsprops(7)).
_ALIASES = {("acltype", "posixacl"): "posix", ("acltype", "noacl"): "off"}
EXAMPLE = "{ssd: {vdevs: [[mirror, /dev/disk/by-id/ONE, /dev/disk/by-id/OTHER]]}}"


class Vdev(t.NamedTuple):
    """:ivar use: a key of USES. :ivar shape: "disk", "mirror", "raidz1" ... :ivar devices: paths."""

    use: str
    shape: str
    devices: tuple[str, ...]

    def words(self) -> list[str]:
        """As zpool create takes it."""
        return [*filter(None, [self.use]), *([] if self.shape == DISK else [self.shape]), *self.devices]

    def same_as(self, other: Vdev) -> bool:
        return (self.use, _kind(self.shape), set(self.devices)) == (other.use, _kind(other.shape), set(other.devices))


class Wanted(t.NamedTuple):
    """A pool as it is described."""

    name: str
    vdevs: tuple[Vdev, ...]
    properties: dict[str, str]
    filesystem_properties: dict[str, str]

    def command(self) -> list[str]:
        options = [word for key, value in self.properties.items() for word in ("-o", f"{key}={value}")]
        options += [word for key, value in self.filesystem_properties.items() for word in ("-O", f"{key}={value}")]
        return ["zpool", "create", *options, self.name, *(word for vdev in self.vdevs for word in vdev.words())]


class Device(t.NamedTuple):
    """:ivar real: its one name; "" when there is no such block device.
    :ivar holds: what is on it and who uses it, each as a phrase behind its name: "has a partition table (gpt)".
    """

    real: str
    holds: tuple[str, ...] = ()


class Plan(t.NamedTuple):
    """:ivar create: the pools to be made. :ivar findings: why none is made. :ivar differs: pool -> how it is not as described."""

    create: list[Wanted]
    findings: list[Finding]
    differs: dict[str, list[str]]


def word(value: t.Any) -> str:
    """A property's value for a command: YAML takes `off` for false."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def parse(described: t.Mapping[str, t.Any]) -> list[Wanted]:
    """:param described: pool -> ``{vdevs, properties, filesystem_properties}``.
    :raises HvmError: with all that is wrong at once.
    """
    wrong: list[str] = []
    found = []
    for name, entry in described.items():
        if not _POOL.match(str(name)):
            wrong.append(f"{name!r} is no name for a pool: letters, digits, '_', '.' and '-', and no word of zpool's own")
        if not isinstance(entry, dict) or set(entry) - {"vdevs", "properties", "filesystem_properties"}:
            wrong.append(f"{name} must have 'vdevs', and may have 'properties' and 'filesystem_properties'")
            continue
        vdevs = _vdevs(name, entry.get("vdevs"), wrong)
        both = []
        for key, defaults in (("properties", POOL_PROPERTIES), ("filesystem_properties", FILESYSTEM_PROPERTIES)):
            both.append(_properties(f"{name}: {key}", entry.get(key), defaults, wrong))
        found.append(Wanted(str(name), tuple(vdevs), *both))
    if wrong:
        raise HvmError(f"hvm_pools cannot be used: {'; '.join(wrong)}", f"It is to look like {EXAMPLE}.")
    return found


def _vdevs(name: str, raw: t.Any, wrong: list[str]) -> list[Vdev]:
    if not isinstance(raw, list) or not raw or not all(isinstance(one, list) and one for one in raw):
        wrong.append(f"{name}: 'vdevs' must be a list of lists of words, as zpool create takes them")
        return []
    found = []
    for one in raw:
        words = [str(each) for each in one]
        use = words.pop(0) if words[0] in USES else ""
        shape = words.pop(0) if words and _SHAPE.match(words[0]) else DISK
        if not words or not all(re.fullmatch(r"/dev/[!-~]+", each) for each in words):
            wrong.append(f"{name}: [{', '.join(map(str, one))}] does not end with devices, each as a path below /dev")
        elif len(set(words)) < len(words):
            wrong.append(f"{name}: [{', '.join(map(str, one))}] has a device twice")
        elif use in ("spare", "cache") and shape != DISK:
            wrong.append(f"{name}: a {use} has no {shape}")
        else:
            found.append(Vdev(use, shape, tuple(words)))
    if found and not any(vdev.use == "" for vdev in found) and not wrong:
        wrong.append(f"{name}: none of its vdevs is for data")
    # a word like `log` goes on for whatever follows it (zpool-create(8)): what is for data comes first
    return sorted(found, key=lambda vdev: vdev.use != "")


def _properties(where: str, raw: t.Any, defaults: t.Mapping[str, t.Any], wrong: list[str]) -> dict[str, str]:
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        wrong.append(f"{where}: must be properties with their values")
        return {}
    given = {str(key): value for key, value in raw.items()}
    merged = {key: word(value) for key, value in {**defaults, **given}.items() if value is not None}
    for key, value in merged.items():
        if not _PROPERTY.match(key) or not re.fullmatch(r"[ -~]+", value):
            wrong.append(f"{where}: {key}={value!r} is no property with a value")
    return merged


def _kind(shape: str) -> str:
    """raidz is raidz1; of a draid the numbers that follow are not compared."""
    kind = shape.split(":", 1)[0]
    return f"{kind}1" if kind in ("raidz", "draid") else kind


def plan(
    wanted: t.Sequence[Wanted],
    there: t.Mapping[str, t.Sequence[Vdev]],
    importable: t.Collection[str],
    devices: t.Mapping[str, Device],
    properties: t.Mapping[str, t.Mapping[str, t.Collection[str]]],
) -> Plan:
    """:param there: pools that are imported -> their vdevs, by the paths of `wanted` where they are the same device.
    :param importable: names of pools that are there and not imported.
    :param devices: path -> what was found, of all pools that are not there.
    :param properties: pools that are imported -> property -> the ways in which ZFS writes its value.
    """
    create: list[Wanted] = []
    findings: list[Finding] = []
    differs: dict[str, list[str]] = {}
    used: dict[str, str] = {}
    for pool in wanted:
        if pool.name in there:
            found = [*_layout(pool, there[pool.name]), *_other_values(pool, properties.get(pool.name, {}))]
            if found:
                differs[pool.name] = found
            continue
        create.append(pool)
        if pool.name in importable:
            findings.append(
                Finding(
                    f"a pool {pool.name} is there, and not imported",
                    f"Import it: zpool import {pool.name}. If it is another one, give the new one another name.",
                )
            )
        for path in (path for vdev in pool.vdevs for path in vdev.devices):
            findings += _device(pool.name, path, devices.get(path, Device("")), used)
    return Plan(create, findings, differs)


def _device(pool: str, path: str, device: Device, used: dict[str, str]) -> t.Iterator[Finding]:
    if not device.real:
        yield Finding(
            f"pool {pool}: there is no block device {path}", "Correct hvm_pools: ls -l /dev/disk/by-id shows what there is."
        )
        return
    where = f"pool {pool}: {path}"
    if device.real in used:
        before = used[device.real]
        same = f" ({device.real}, as {before} is)" if before != path else ""
        yield Finding(f"{where} is in hvm_pools twice{same}", "Name another device.")
    used[device.real] = path
    if device.holds:
        yield Finding(
            f"pool {pool}: {path} is not empty: it {', it '.join(device.holds)}",
            "Nothing here erases a device. Name another one; or, if nobody needs what is on it, end its use and empty it by hand "
            f"(wipefs --all {path}, its partitions first).",
        )


def _layout(pool: Wanted, there: t.Sequence[Vdev]) -> list[str]:
    left = list(there)
    missing = []
    for vdev in pool.vdevs:
        same = next((one for one in left if one.same_as(vdev)), None)
        # zpool status shows several disks without a shape one by one
        singles = [one for one in left if vdev.shape == DISK and (one.use, one.shape) == (vdev.use, DISK)]
        if same:
            left.remove(same)
        elif len(vdev.devices) > 1 and {one.devices[0] for one in singles} >= set(vdev.devices):
            left = [one for one in left if one not in singles or one.devices[0] not in vdev.devices]
        else:
            missing.append(vdev)
    return [f"it has no {' '.join(vdev.words())}" for vdev in missing] + [
        f"it has {' '.join(vdev.words())}, which is not described" for vdev in left
    ]


def _other_values(pool: Wanted, values: t.Mapping[str, t.Collection[str]]) -> list[str]:
    found = []
    for name, wanted in {**pool.properties, **pool.filesystem_properties}.items():
        seen = values.get(name)
        if seen and not {wanted, _ALIASES.get((name, wanted), wanted)} & set(seen):
            found.append(f"its {name} is {min(seen, key=len)}, not {wanted}")
    return found


def parse_status(text: str) -> list[Vdev]:
    """The vdevs in what `zpool status -P POOL` prints.

    A tree by two spaces a level, below lines without any: the pool, then `logs`, `cache` ... A device that is being replaced or
    is missing counts by the path that it had.
    """
    uses = {shown: use for use, shown in USES.items() if shown}
    found: list[tuple[str, str, list[str]]] = []
    use = ""
    in_config = False
    for line in text.splitlines():
        if line.startswith("config:"):
            in_config = True
        elif line.startswith("errors:"):
            break
        if not in_config or not line.startswith("\t") or line.split()[:2] == ["NAME", "STATE"] or not line.strip():
            continue
        depth = len(line) - len(line.lstrip("\t ")) - 1
        words = line.split()
        path = words[words.index("was") + 1] if "was" in words[:-1] else words[0]
        if depth == 0:
            use = uses.get(words[0], "")
        elif path.startswith("/"):
            if depth == 2:
                found.append((use, DISK, [path]))
            else:
                found[-1][2].append(path)
        elif depth == 2 and use != "spare":
            found.append((use, words[0].rsplit("-", 1)[0], []))
    return [Vdev(use, shape, tuple(devices)) for use, shape, devices in found]


def parse_importable(text: str) -> list[str]:
    """The names in what `zpool import` prints when it is asked what there is."""
    return re.findall(r"^\s*pool: (\S+)", text, re.MULTILINE)


def parse_values(*texts: str) -> dict[str, set[str]]:
    """`zpool get -H -o property,value`, and the same of zfs, with -p and without: property -> its values, as they are written."""
    found: dict[str, set[str]] = {}
    for line in "".join(texts).splitlines():
        name, _tab, value = line.partition("\t")
        found.setdefault(name, set()).add(value)
    return found


def holds(lsblk: str, wipefs: str) -> list[str]:
    """What is on a device, from `lsblk --json --paths -o NAME,TYPE,RO,MOUNTPOINT DEVICE` and `wipefs --no-act --json DEVICE`."""
    found = []
    for one in json.loads(wipefs or "{}").get("signatures") or []:
        label = f" '{one['label']}'" if one.get("label") else ""
        found.append(f"has a signature of {one['type']}{label}")
    for device in json.loads(lsblk).get("blockdevices", []):
        if device.get("ro") in (True, "1"):
            found.append("is read-only")
        if device.get("mountpoint"):
            found.append(_mounted(device["mountpoint"]))
        found += _inside(device.get("children") or [])
    return list(dict.fromkeys(found))


def _inside(children: t.Sequence[t.Mapping[str, t.Any]]) -> t.Iterator[str]:
    for child in children:
        kind = "has the partition" if child.get("type") == "part" else f"is used by the {child.get('type') or 'device'}"
        yield f"{kind} {child['name']}"
        if child.get("mountpoint"):
            yield f"{_mounted(child['mountpoint'])} ({child['name']})"
        yield from _inside(child.get("children") or [])


def _mounted(point: str) -> str:
    return "is swap space" if point == "[SWAP]" else f"is mounted at {point}"


def missing_parents(roots: t.Iterable[str], there: t.Collection[str]) -> list[str]:
    """Datasets above the roots that are missing, the outermost first; the pools are not among them."""
    found: dict[str, None] = {}
    for root in roots:
        parts = root.split("/")
        for depth in range(2, len(parts)):
            parent = "/".join(parts[:depth])
            if parent not in there:
                found[parent] = None
    return sorted(found, key=lambda name: name.count("/"))
