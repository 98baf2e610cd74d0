# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which pools are made, what is refused, what is left alone."""

from __future__ import annotations

import json
import re
import typing as t

import hypothesis
import pytest
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import layout
from ansible_collections.hvm.pair.plugins.module_utils._zfs.layout import Device, Vdev

BY_ID = "/dev/disk/by-id"
A, B, C, D = (f"{BY_ID}/{name}" for name in "abcd")
MIRROR = {"ssd": {"vdevs": [["mirror", A, B]]}}
EMPTY = {path: Device(f"/dev/sd{path[-1]}") for path in (A, B, C, D)}


def planned(
    described: dict[str, t.Any],
    there: dict[str, list[Vdev]] | None = None,
    importable: t.Sequence[str] = (),
    devices: dict[str, Device] | None = None,
    **properties: dict[str, set[str]],
) -> layout.Plan:
    return layout.plan(layout.parse(described), there or {}, importable, {**EMPTY, **(devices or {})}, properties)


def sentences(plan: layout.Plan) -> list[str]:
    return [finding.sentence() for finding in plan.findings]


def test_a_pool_is_made_with_what_nobody_can_change_later_and_nothing_is_forced() -> None:
    (made,) = planned(MIRROR).create
    assert " ".join(made.command()) == (
        "zpool create -o ashift=12 -O compression=lz4 -O atime=off -O xattr=sa -O acltype=posixacl -O mountpoint=none "
        f"-O canmount=off ssd mirror {A} {B}"
    )


def test_what_is_said_wins_and_null_leaves_it_to_zfs() -> None:
    entry = {
        "vdevs": [["log", "mirror", C, D], [A], [B]],
        "properties": {"ashift": 13, "autotrim": True},
        "filesystem_properties": {"atime": True, "compression": None, "recordsize": "1M", "xattr": None, "acltype": None},
    }
    (made,) = planned({"rot": entry}).create
    # a word like `log` goes on for all that follows: what is for data comes first
    assert " ".join(made.command()) == (
        "zpool create -o ashift=13 -o autotrim=on -O atime=on -O mountpoint=none -O canmount=off -O recordsize=1M "
        f"rot {A} {B} log mirror {C} {D}"
    )


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({"mirror1": {"vdevs": [[A]]}}, "'mirror1' is no name for a pool"),
        ({"-f": {"vdevs": [[A]]}}, "'-f' is no name for a pool"),
        ({"a b": {"vdevs": [[A]]}}, "'a b' is no name for a pool"),
        ({"log": {"vdevs": [[A]]}}, "'log' is no name for a pool"),
        ({"ssd": [A]}, "ssd must have 'vdevs'"),
        ({"ssd": {"vdevs": [[A]], "force": True}}, "ssd must have 'vdevs'"),
        ({"ssd": {}}, "ssd: 'vdevs' must be a list of lists of words"),
        ({"ssd": {"vdevs": []}}, "ssd: 'vdevs' must be a list of lists of words"),
        ({"ssd": {"vdevs": ["mirror", A]}}, "ssd: 'vdevs' must be a list of lists of words"),
        ({"ssd": {"vdevs": [["mirror", "sda", "sdb"]]}}, "ssd: [mirror, sda, sdb] does not end with devices"),
        ({"ssd": {"vdevs": [["mirror"]]}}, "ssd: [mirror] does not end with devices"),
        ({"ssd": {"vdevs": [["log"]]}}, "ssd: [log] does not end with devices"),
        ({"ssd": {"vdevs": [["-f", A]]}}, "ssd: [-f, /dev/disk/by-id/a] does not end with devices"),
        ({"ssd": {"vdevs": [["mirror", A, A]]}}, "has a device twice"),
        ({"ssd": {"vdevs": [["log", A]]}}, "ssd: none of its vdevs is for data"),
        ({"ssd": {"vdevs": [["cache", "mirror", A, B], [C]]}}, "ssd: a cache has no mirror"),
        ({"ssd": {"vdevs": [[A]], "properties": ["ashift=12"]}}, "ssd: properties: must be properties with their values"),
        ({"ssd": {"vdevs": [[A]], "properties": {"-f": 1}}}, "ssd: properties: -f='1' is no property with a value"),
        ({"ssd": {"vdevs": [[A]], "filesystem_properties": {"atime": ""}}}, "atime='' is no property with a value"),
    ],
)
def test_what_cannot_be_a_pool_is_named(described: dict[str, t.Any], said: str) -> None:
    with pytest.raises(HvmError) as error:
        layout.parse(described)
    assert said in error.value.what and error.value.remedy.startswith("It is to look like {ssd: {vdevs: [[mirror, ")


def test_every_mistake_is_said_at_once() -> None:
    with pytest.raises(HvmError, match=r"no name for a pool.*rot: 'vdevs'"):
        layout.parse({"c0t0": {"vdevs": [[A]]}, "rot": {"vdevs": {}}})


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        (
            {A: Device("")},
            [
                (
                    "pool ssd: there is no block device /dev/disk/by-id/a. "
                    "Correct hvm_pools: ls -l /dev/disk/by-id shows what there is."
                )
            ],
        ),
        (
            {A: Device("/dev/sda", ("has the partition /dev/sda1", "is mounted at / (/dev/sda1)"))},
            [
                (
                    "pool ssd: /dev/disk/by-id/a is not empty: it has the partition /dev/sda1, it is mounted at / (/dev/sda1). "
                    "Nothing here erases a device. Name another one; or, if nobody needs what is on it, end its use and empty it "
                    "by hand (wipefs --all /dev/disk/by-id/a, its partitions first)."
                )
            ],
        ),
        (
            {B: Device("/dev/sda")},
            ["pool ssd: /dev/disk/by-id/b is in hvm_pools twice (/dev/sda, as /dev/disk/by-id/a is). Name another device."],
        ),
    ],
)
def test_a_device_that_is_not_free_is_refused_by_name(devices: dict[str, Device], said: list[str]) -> None:
    assert sentences(planned(MIRROR, devices=devices)) == said


def test_a_device_in_two_pools_is_refused() -> None:
    plan = planned({**MIRROR, "rot": {"vdevs": [[B]]}})
    assert sentences(plan) == ["pool rot: /dev/disk/by-id/b is in hvm_pools twice. Name another device."]


def test_a_pool_that_only_has_to_be_imported_is_not_made_anew() -> None:
    assert sentences(planned(MIRROR, importable=["ssd", "old"])) == [
        "a pool ssd is there, and not imported. Import it: zpool import ssd. If it is another one, give the new one another name."
    ]


def test_a_pool_that_is_as_described_needs_nothing_and_its_devices_need_not_be_empty() -> None:
    there = {"ssd": [Vdev("", "mirror", (B, A))]}
    full = {A: Device("/dev/sda", ("has a signature of zfs_member",))}
    values = {"ashift": {"12"}, "acltype": {"posix"}, "compression": {"lz4"}}
    assert planned(MIRROR, there, devices=full, ssd=values) == layout.Plan([], [], {})


def test_a_pool_that_is_otherwise_is_left_alone_and_reported() -> None:
    there = {"ssd": [Vdev("", "raidz1", (A, B, C)), Vdev("cache", "disk", (D,))]}
    plan = planned(MIRROR, there, ssd={"ashift": {"9"}, "atime": {"on"}})
    assert (plan.create, plan.findings) == ([], [])
    assert plan.differs == {
        "ssd": [
            f"it has no mirror {A} {B}",
            f"it has raidz1 {A} {B} {C}, which is not described",
            f"it has cache {D}, which is not described",
            "its ashift is 9, not 12",
            "its atime is on, not off",
        ]
    }


def test_disks_side_by_side_are_the_same_however_they_are_listed() -> None:
    there = {"rot": [Vdev("", "disk", (B,)), Vdev("", "disk", (A,)), Vdev("", "disk", (C,))]}
    assert planned({"rot": {"vdevs": [[A, B], [C]]}}, there).differs == {}
    assert planned({"rot": {"vdevs": [[A, B]]}}, there).differs == {"rot": [f"it has {C}, which is not described"]}
    raidz = {"rot": [Vdev("", "raidz1", (A, B, C))]}
    assert planned({"rot": {"vdevs": [["raidz", C, B, A]]}}, raidz).differs == {}


def test_a_size_may_be_written_in_either_way() -> None:
    there = {"ssd": [Vdev("", "mirror", (A, B))]}
    for value in ("1M", 1048576):
        described = {"ssd": {**MIRROR["ssd"], "filesystem_properties": {"recordsize": value}}}
        assert planned(described, there, ssd={"recordsize": {"1M", "1048576"}}).differs == {}
        assert planned(described, there, ssd={"recordsize": {"128K", "131072"}}).differs


NAMES = st.sampled_from(["ssd", "rot", "tank"])
DEVICES = st.lists(st.sampled_from([A, B, C, D]), min_size=1, max_size=4, unique=True)
VDEV = st.tuples(st.sampled_from([[], ["mirror"], ["raidz"], ["log"], ["spare"]]), DEVICES).map(lambda pair: [*pair[0], *pair[1]])
POOLS = st.dictionaries(NAMES, st.fixed_dictionaries({"vdevs": st.lists(VDEV, min_size=1, max_size=2)}), min_size=1)
FOUND = st.one_of(
    st.just(Device("")), st.builds(Device, st.sampled_from(["/dev/sda", "/dev/sdb"]), st.sampled_from([(), ("has X",)]))
)


@hypothesis.given(POOLS, st.sets(NAMES), st.sets(NAMES), st.fixed_dictionaries(dict.fromkeys((A, B, C, D), FOUND)))
def test_only_what_is_missing_is_made_and_only_of_devices_that_hold_nothing(
    described: dict[str, t.Any], there: set[str], importable: set[str], devices: dict[str, Device]
) -> None:
    try:
        wanted = layout.parse(described)
    except HvmError:
        return
    plan = layout.plan(wanted, {name: [] for name in there}, importable, devices, {})
    assert {pool.name for pool in plan.create} == set(described) - there
    used = [path for pool in plan.create for vdev in pool.vdevs for path in vdev.devices]
    free = all(devices[path].real and not devices[path].holds for path in used)
    once = len({devices[path].real for path in used}) == len(used)
    assert bool(plan.findings) == (not free or not once or bool({pool.name for pool in plan.create} & importable))
    for pool in plan.create:
        command = pool.command()
        assert command[:2] == ["zpool", "create"] and not [word for word in command if re.fullmatch("-[^oO]+", word)]


# What the host's commands print

STATUS = """  pool: ssd
 state: DEGRADED
status: One or more devices could not be used because the label is missing or
\tinvalid.  Sufficient replicas exist for the pool to continue
action: Replace the device using 'zpool replace'.
  scan: resilvered 1.2G in 00:00:10 with 0 errors on Sun Nov  8 00:24:11 2026
config:

\tNAME                                 STATE     READ WRITE CKSUM
\tssd                                  DEGRADED     0     0     0
\t  mirror-0                           DEGRADED     0     0     0
\t    /dev/disk/by-id/a-part1          ONLINE       0     0     0
\t    9136128374650297364              UNAVAIL      0     0     0  was /dev/disk/by-id/b-part1
\t  raidz2-1                           ONLINE       0     0     0
\t    /dev/disk/by-id/c-part1          ONLINE       0     0     0
\t    replacing-1                      ONLINE       0     0     0
\t      /dev/disk/by-id/d-part1        ONLINE       0     0     0
\t      /dev/disk/by-id/e-part1        ONLINE       0     0     0  (resilvering)
\t  /dev/sdx1                          ONLINE       0     0     0
\tspecial\t
\t  mirror-4                           ONLINE       0     0     0
\t    /dev/nvme0n1p4                   ONLINE       0     0     0
\t    /dev/nvme1n1p4                   ONLINE       0     0     0
\tlogs\t
\t  /dev/disk/by-id/l-part1            ONLINE       0     0     0
\tcache
\t  /dev/disk/by-id/k-part1            ONLINE       0     0     0
\tspares
\t  /dev/disk/by-id/s-part1            AVAIL
\t  draid2-0-0                         AVAIL

errors: No known data errors
"""


def test_the_tree_of_zpool_status_is_read() -> None:
    assert layout.parse_status(STATUS) == [
        Vdev("", "mirror", (f"{BY_ID}/a-part1", f"{BY_ID}/b-part1")),
        Vdev("", "raidz2", tuple(f"{BY_ID}/{name}-part1" for name in "cde")),
        Vdev("", "disk", ("/dev/sdx1",)),
        Vdev("special", "mirror", ("/dev/nvme0n1p4", "/dev/nvme1n1p4")),
        Vdev("log", "disk", (f"{BY_ID}/l-part1",)),
        Vdev("cache", "disk", (f"{BY_ID}/k-part1",)),
        Vdev("spare", "disk", (f"{BY_ID}/s-part1",)),
    ]


def test_pools_that_could_be_imported_are_read() -> None:
    text = (
        "   pool: old\n     id: 1234\n  state: ONLINE\n action: The pool can be imported\n config:\n\n\told  ONLINE\n   pool: b\n"
    )
    assert layout.parse_importable(text) == ["old", "b"] and layout.parse_importable("") == []


def test_values_are_read_in_both_ways() -> None:
    assert layout.parse_values("recordsize\t1M\natime\toff\n", "recordsize\t1048576\natime\toff\n") == {
        "recordsize": {"1M", "1048576"},
        "atime": {"off"},
    }


@pytest.mark.parametrize(
    ("lsblk", "signatures", "found"),
    [
        ({"name": "/dev/sda", "type": "disk", "ro": False, "mountpoint": None}, [], []),
        ({"name": "/dev/sda", "type": "disk", "ro": "0", "mountpoint": ""}, None, []),
        ({"name": "/dev/sda", "type": "disk", "ro": True, "mountpoint": None}, [], ["is read-only"]),
        (
            {"name": "/dev/sda", "type": "disk", "ro": False, "mountpoint": "/srv"},
            [{"type": "ext4", "label": "data"}, {"type": "ext4", "label": "data"}],
            ["has a signature of ext4 'data'", "is mounted at /srv"],
        ),
        (
            {
                "name": "/dev/sda", "type": "disk", "ro": False, "mountpoint": None,
                "children": [
                    {"name": "/dev/sda1", "type": "part", "mountpoint": "[SWAP]"},
                    {"name": "/dev/sda2", "type": "part", "mountpoint": None, "children": [
                        {"name": "/dev/mapper/vg-root", "type": "lvm", "mountpoint": "/"}]},
                ],
            },
            [{"type": "gpt", "label": None}],
            [
                "has a signature of gpt", "has the partition /dev/sda1", "is swap space (/dev/sda1)",
                "has the partition /dev/sda2",
                "is used by the lvm /dev/mapper/vg-root", "is mounted at / (/dev/mapper/vg-root)",
            ],
        ),
        (
            {"name": "/dev/sdb", "type": "disk", "ro": False, "mountpoint": None},
            [{"type": "zfs_member", "label": "old"}],
            ["has a signature of zfs_member 'old'"],
        ),
    ],
)  # fmt: skip
def test_what_is_on_a_device(lsblk: dict[str, t.Any], signatures: list[dict[str, t.Any]] | None, found: list[str]) -> None:
    wipefs = "" if signatures is None else json.dumps({"signatures": signatures})
    assert layout.holds(json.dumps({"blockdevices": [lsblk]}), wipefs) == found


@pytest.mark.parametrize(
    ("roots", "there", "found"),
    [
        (["ssd/shared"], [], []),
        (["ssd/a/b/c", "ssd/a/d", "rot/x/y"], ["ssd"], ["ssd/a", "rot/x", "ssd/a/b"]),
        (["ssd/a/b/c"], ["ssd/a"], ["ssd/a/b"]),
    ],
)
def test_what_lies_above_the_roots(roots: list[str], there: list[str], found: list[str]) -> None:
    assert layout.missing_parents(roots, there) == found
