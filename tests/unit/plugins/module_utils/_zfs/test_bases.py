# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import bases


def entry(mountpoint: str, canmount: str = "noauto", kind: str = "filesystem") -> dict[str, t.Any]:
    props = {"mountpoint": [mountpoint, "local"], "canmount": [canmount, "local"]}
    return {"type": kind, "guid": "1", "origin": "", "snapshots": [], "bookmarks": [], "props": props}


TREE = {
    "ssd/pair": entry("none"),
    "ssd/pair/etc": entry("/etc/libvirt"),
    "ssd/pair/lib": entry("/var/lib/libvirt"),
    "ssd/pair/lib/images": entry("/var/lib/libvirt/images"),
    "ssd/pair/near": entry("/var/lib/libvirt-images"),
    "ssd/pair/srv": entry("/srv/vms"),
    "ssd/pair/other": entry("/mnt", "off"),
    "ssd/pair/vol": entry("-", kind="volume"),
}


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    asked: list[list[str]] = []

    def run(command: list[str]) -> str:
        asked.append(command)
        return "ssd/pair/near\nssd/pair/srv\n" if command[:2] == ["zfs", "get"] else ""

    monkeypatch.setattr(bases, "run", run)
    return asked


def test_libvirt_writes_below_its_own_places_and_disks_are_everywhere_else() -> None:
    assert bases.libvirts(TREE) == ["ssd/pair/etc", "ssd/pair/lib", "ssd/pair/lib/images"]
    assert sorted(bases.images(TREE)) == ["ssd/pair/near", "ssd/pair/srv"]


def test_they_are_shut_and_marked_at_once_and_their_mounts_stay_writable(asked: list[list[str]]) -> None:
    bases.shut(TREE)
    assert asked[0][:4] == ["zfs", "set", "readonly=on", "hvm:moving=on"]
    assert sorted(asked[0][4:]) == ["ssd/pair/near", "ssd/pair/srv"]
    assert sorted(asked[1:]) == [
        ["mount", "-o", "remount,bind,rw", "/srv/vms"],
        ["mount", "-o", "remount,bind,rw", "/var/lib/libvirt-images"],
    ]


def test_what_its_owner_has_made_read_only_is_not_marked_and_so_stays_read_only(asked: list[list[str]]) -> None:
    iso, below = entry("/srv/iso"), entry("/srv/iso/old")
    iso["props"]["readonly"], below["props"]["readonly"] = ["on", "local"], ["on", "inherited"]
    bases.shut({"ssd/pair/iso": iso, "ssd/pair/iso/old": below, "ssd/pair/srv": TREE["ssd/pair/srv"]})
    assert asked[0][4:] == ["ssd/pair/srv", "ssd/pair/iso/old"], "one that inherits it does so again afterwards"
    assert ["mount", "-o", "remount,bind,rw", "/srv/iso"] not in asked


def test_without_any_nothing_is_asked_for(asked: list[list[str]]) -> None:
    bases.shut({name: TREE[name] for name in ("ssd/pair", "ssd/pair/etc", "ssd/pair/vol")})
    assert asked == []


def test_only_what_was_shut_is_opened_again(asked: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert bases.reopen(["ssd/pair"]) == ["ssd/pair/near", "ssd/pair/srv"]
    assert asked[0] == ["zfs", "get", "-H", "-r", "-t", "filesystem", "-s", "local", "-o", "name", "hvm:moving", "ssd/pair"]
    assert asked[1:] == [["zfs", "inherit", one, "ssd/pair/near", "ssd/pair/srv"] for one in ("readonly", "hvm:moving")]
    asked.clear()
    monkeypatch.setattr(bases, "run", lambda command: asked.append(command) or "")
    assert bases.reopen(["ssd/pair"]) == [] and len(asked) == 1


def test_a_root_that_is_away_in_the_midst_of_a_swap_keeps_the_others_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: list[str]) -> str:
        asked.append(command)
        if "ssd/pair" in command:
            raise CommandError(command, 1, "", "cannot open 'ssd/pair': dataset does not exist")
        return "rot/pair/srv\n" if command[:2] == ["zfs", "get"] else ""

    monkeypatch.setattr(bases, "run", run)
    assert bases.reopen(["ssd/pair", "rot/pair"]) == ["rot/pair/srv"]
    assert asked[-1] == ["zfs", "inherit", "hvm:moving", "rot/pair/srv"]
    assert bases.reopen(["ssd/pair"]) == []


def test_a_name_with_a_space_is_one_dataset(asked: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "run", lambda command: asked.append(command) or "ssd/pair/my vms\n")
    assert bases.reopen(["ssd/pair"]) == ["ssd/pair/my vms"]
    assert asked[1:] == [["zfs", "inherit", one, "ssd/pair/my vms"] for one in ("readonly", "hvm:moving")]
