# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images and the sets that anchor them, with a ZFS that is told what was written."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import image
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import checkpoint, saving, states

FIRST, SECOND = "hvm_20261125T040000Z_office_B", "hvm_20261125T050000Z_office_C"


class Lab:
    """web has a file, db a zvol; each has an image."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
        self.dir = str(tmp_path)
        self.disk = tmp_path / "web.img"
        self.disk.write_bytes(b"disk")
        self.size: dict[str, dict[str, int]] = {}
        self.running: list[str] = []
        self.asked: list[tuple[list[str], list[str]]] = []
        self.empty = False
        monkeypatch.setattr(states, "qemu_processes", lambda: self.running)
        monkeypatch.setattr(states.actions, "written_since", self.written_since)
        monkeypatch.setattr(states.kept, "untouched", lambda *dummy: self.empty)
        monkeypatch.setattr(states.actions, "find_set", lambda datasets, name: {one: ["11", 5] for one in datasets})
        for name, path in (("web", str(self.disk)), ("db", "/dev/zvol/ssd/db")):
            (tmp_path / f"{name}.state").write_bytes(b"image")
            disks = image.disk_facts([{"target": "vda", "path": path}], [])
            image.write_manifest(self.dir, image.manifest({"vm": name, "uuid": "u", "paused": False}, disks, {}))

    def written_since(self, datasets: list[str], sets: list[str]) -> dict[str, dict[str, int]]:
        self.asked.append((datasets, sets))
        return self.size

    def sets(self, name: str) -> dict[str, t.Any]:
        return states.manifests(self.dir)[name]["sets"]


@pytest.fixture(name="lab")
def _lab(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Lab:
    return Lab(monkeypatch, tmp_path)


def test_what_was_just_saved_is_anchored_without_a_question(lab: Lab) -> None:
    lab.running = ["web"]  # held paused for a live checkpoint
    assert states.anchor(lab.dir, FIRST, ["web", "db"]) == ["db", "web"]
    assert (lab.sets("web"), lab.sets("db")) == ({FIRST: {}}, {FIRST: {}})
    assert lab.asked == []


def test_an_older_image_gets_a_new_anchor_while_the_old_one_holds(lab: Lab) -> None:
    states.anchor(lab.dir, FIRST, ["web", "db"])
    lab.size = {"ssd/db": {FIRST: 0}}
    assert states.anchor(lab.dir, SECOND) == ["db", "web"]
    assert lab.asked == [(["ssd/db"], [FIRST])]
    assert sorted(lab.sets("db")) == [FIRST, SECOND]


def test_an_anchor_that_has_been_pruned_is_dropped_when_the_next_one_is_given(lab: Lab) -> None:
    third = FIRST.replace("20261125", "20261126")
    states.anchor(lab.dir, FIRST, ["web", "db"])
    lab.size = {"ssd/db": {FIRST: 0}}
    states.anchor(lab.dir, SECOND)
    lab.size = {"ssd/db": {SECOND: 0}}
    assert states.anchor(lab.dir, third) == ["db", "web"]
    assert (sorted(lab.sets("db")), sorted(lab.sets("web"))) == ([SECOND, third], [third])


def test_an_image_of_the_past_gets_no_anchor(lab: Lab) -> None:
    states.anchor(lab.dir, FIRST, ["web", "db"])
    lab.size = {"ssd/db": {FIRST: 4096}}
    lab.disk.write_bytes(b"changed")
    assert states.anchor(lab.dir, SECOND) == []
    assert (lab.sets("web"), lab.sets("db")) == ({FIRST: {}}, {FIRST: {}})


def test_neither_does_one_whose_vm_runs_or_that_was_never_anchored(lab: Lab) -> None:
    states.anchor(lab.dir, FIRST, ["web"])
    lab.running = ["web"]
    assert states.anchor(lab.dir, SECOND) == []
    assert lab.sets("db") == {}


def test_one_command_for_all_and_none_without_zvols(lab: Lab) -> None:
    states.anchor(lab.dir, FIRST, ["web", "db"])
    found = states.manifests(lab.dir)
    assert states.written([found["web"]]) == {}
    assert lab.asked == []
    lab.size = {"ssd/db": {FIRST: 0}}
    assert states.written(found.values()) == {"ssd/db": {FIRST: ["0", ""]}}
    assert lab.asked == [(["ssd/db"], [FIRST])]


def test_a_trifle_is_looked_at_more_closely(lab: Lab) -> None:
    states.anchor(lab.dir, FIRST, ["db"])
    found = states.manifests(lab.dir).values()
    lab.size = {"ssd/db": {FIRST: 1024}}
    assert states.written(found) == {"ssd/db": {FIRST: ["1024", ""]}}
    lab.empty = True
    assert states.written(found) == {"ssd/db": {FIRST: ["0", ""]}}
    lab.size = {"ssd/db": {FIRST: 1 << 30}}
    assert states.written(found) == {"ssd/db": {FIRST: [str(1 << 30), ""]}}


def test_guids_are_asked_where_they_were_recorded(lab: Lab) -> None:
    found = image.with_set(states.manifests(lab.dir)["db"], FIRST, {"ssd/db": "11"})
    lab.size = {"ssd/db": {FIRST: 0}}
    assert states.written([found]) == {"ssd/db": {FIRST: ["0", "11"]}}


def test_a_manifest_that_is_not_understood_is_left_alone(lab: Lab) -> None:
    image.write_manifest(lab.dir, {**states.manifests(lab.dir)["web"], "format": 2})
    assert states.anchor(lab.dir, FIRST, ["web", "db"]) == ["db"]
    assert (image.read_manifest(lab.dir, "web") or {})["sets"] == {}


# ---- around a verb

INFOS = {"web": {"disks": [{"path": "/srv/web.img"}]}, "db": {"disks": [{"path": None}, {"path": "/dev/zvol/ssd/db"}]}}


@pytest.fixture(name="pair")
def _pair(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> PairConfig:
    def take(config: PairConfig, dummy: str, dummy_epoch: int, fresh: list[str]) -> str:
        states.anchor(config.state_dir, FIRST, fresh)
        return FIRST

    monkeypatch.setattr(checkpoint, "take_set", take)
    monkeypatch.setattr(checkpoint, "check_set", lambda *dummy: None)
    plain = operation.Lock
    monkeypatch.setattr(operation, "Lock", lambda: plain(str(tmp_path / "lock")))
    return PairConfig("office", Host("hv1", "hv1"), Host("hv2", "hv2"), ("ssd",), lab.dir)


def around(pair: PairConfig, verb: str, *names: str) -> tuple[dict[str, t.Any], list[str]]:
    said: list[str] = []
    with saving.around(pair, verb, INFOS, names, True, said.append) as more:
        pass
    return more, said


def test_a_save_of_a_zvol_is_anchored_in_a_set_with_its_guid(lab: Lab, pair: PairConfig) -> None:
    assert around(pair, "saved", "db") == ({}, [f"snapshot set {FIRST}"])
    assert lab.sets("db") == {FIRST: {"ssd/db": "11"}}
    assert lab.sets("web") == {FIRST: {}}  # its image lies there too, and fits


def test_files_need_no_set(lab: Lab, pair: PairConfig) -> None:
    assert around(pair, "saved", "web") == ({}, [])
    assert lab.sets("web") == {}


def test_no_zvol_is_saved_while_something_else_works_on_the_host(pair: PairConfig) -> None:
    with operation.Lock().held("sync", "cron"), pytest.raises(HvmError, match="another operation is running"):
        around(pair, "saved", "db")


def test_a_restore_looks_at_all_zvols_first(lab: Lab, pair: PairConfig) -> None:
    states.anchor(lab.dir, FIRST, ["db"])
    lab.size = {"ssd/db": {FIRST: 7 << 20}}
    assert around(pair, "restored", "db") == ({"written": {"ssd/db": {FIRST: [str(7 << 20), ""]}}, "force": True}, [])
    assert around(pair, "started", "db") == ({}, [])
