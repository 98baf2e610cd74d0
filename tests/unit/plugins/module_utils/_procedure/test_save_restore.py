# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Save all, take a set, restore all: with libvirt's test driver and a ZFS that is told what to say."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, image
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import checkpoint, states

libvirt = pytest.importorskip("libvirt")

DOMAIN = """
<domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0">
  <name>{name}</name><memory>65536</memory><os><type arch="x86_64">hvm</type></os>
  <devices><disk type="block" device="disk"><source dev="/dev/zvol/ssd/{name}"/><target dev="vda"/></disk></devices>
  <test:runstate>1</test:runstate>
</domain>
"""


class Pair:
    """alpha and beta run, each on a zvol."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
        xml = "".join(DOMAIN.format(name=name) for name in ("alpha", "beta"))
        (tmp_path / "node.xml").write_text(f"<node>{xml}</node>")
        self.conn = domains.connect(f"test://{tmp_path}/node.xml")
        self.dir = str(tmp_path / "images")
        self.config = PairConfig("office", Host("hv1", "hv1"), Host("hv2", "hv2"), ("ssd",), self.dir)
        self.since: dict[str, dict[str, int]] = {}
        self.asked = 0
        self.in_set: dict[str, dict[str, t.Any]] = {}
        self.broken = False
        self.paused: dict[str, float] = {}
        header = image.Header(True, 2, 8192, True)
        monkeypatch.setattr(image, "read_header", lambda dummy: (header, ""))
        monkeypatch.setattr(states, "qemu_processes", list)
        for name in ("read", "read_datasets"):
            monkeypatch.setattr(checkpoint.inventory, name, lambda dummy: {"ssd": {"snapshots": []}})
        monkeypatch.setattr(checkpoint.actions, "snapshot_set", self.snapshot)
        monkeypatch.setattr(states.actions, "written_since", self.written_since)

    def snapshot(self, *dummy: t.Any) -> None:
        if self.broken:
            raise CommandError(["zfs", "snapshot"], 1, "", "out of space")
        self.in_set = {vm: one["sets"] for vm, one in states.manifests(self.dir).items()}

    def written_since(self, *dummy: t.Any) -> dict[str, dict[str, int]]:
        self.asked += 1
        return self.since

    def save(self) -> None:
        infos = domains.vms(self.conn, self.dir)
        checkpoint.save_all(self.config, self.conn, infos, Progress(), self.paused)

    def restore(self, names: t.Collection[str] = ("alpha", "beta"), **kwargs: t.Any) -> dict[str, str]:
        return checkpoint.restore_all(self.config, self.conn, Progress(), lambda dummy: None, names, **kwargs)

    def running(self) -> list[str]:
        return [name for name, vm in domains.vms(self.conn, self.dir).items() if vm["state"] == "running"]


@pytest.fixture(name="pair")
def _pair(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> t.Iterator[Pair]:
    pair = Pair(monkeypatch, tmp_path)
    yield pair
    pair.conn.close()


def test_a_backup_in_one_process_asks_nothing_about_its_own_images(pair: Pair) -> None:
    pair.save()
    name = checkpoint.take_set(pair.config, "state", 1, fresh=pair.paused)
    assert pair.in_set == {"alpha": {name: {}}, "beta": {name: {}}}
    assert pair.restore(fresh=pair.paused) == {}
    assert pair.running() == ["alpha", "beta"]
    assert pair.asked == 0


def test_a_snapshot_that_fails_keeps_no_vm_down(pair: Pair) -> None:
    pair.save()
    pair.broken = True
    with pytest.raises(CommandError):
        checkpoint.take_set(pair.config, "state", 1, fresh=pair.paused)
    assert pair.restore(fresh=pair.paused) == {}
    assert pair.running() == ["alpha", "beta"]


def test_the_other_host_restores_what_it_has_looked_at(pair: Pair) -> None:
    pair.save()
    name = checkpoint.take_set(pair.config, "state", 1, fresh=pair.paused)
    assert pair.restore(written={"ssd/alpha": {name: ["0", "1"]}, "ssd/beta": {name: ["0", "2"]}}) == {}
    assert pair.running() == ["alpha", "beta"]
    assert pair.asked == 0


def test_a_vm_that_somebody_had_saved_before_stays_saved(pair: Pair) -> None:
    domains.save(pair.conn, "beta", pair.dir)
    checkpoint.take_set(pair.config, "crash", 1, fresh=["beta"])
    pair.save()
    assert list(pair.paused) == ["alpha"]
    assert pair.restore(pair.paused, fresh=pair.paused) == {}
    assert pair.running() == ["alpha"]
    assert image.saved_names(pair.dir) == ["beta"]
    assert pair.asked == 0  # its disks are of no interest while others wait


def test_an_image_that_is_not_there_is_told_of_and_the_others_go_on(pair: Pair) -> None:
    pair.save()
    image.remove(pair.dir, "alpha")
    assert pair.restore(fresh=pair.paused) == {"alpha": "its state image is not there"}
    assert pair.running() == ["beta"]


def test_anybody_else_asks_once_and_an_image_of_the_past_stays(pair: Pair) -> None:
    pair.save()
    name = checkpoint.take_set(pair.config, "state", 1, fresh=pair.paused)
    pair.since = {"ssd/alpha": {name: 0}, "ssd/beta": {name: 5 << 20}}
    errors = pair.restore()
    assert list(errors) == ["beta"]
    assert f"{5 << 20} bytes were written since {name}" in errors["beta"]
    assert (pair.running(), pair.asked) == (["alpha"], 1)
    assert image.saved_names(pair.dir) == ["beta"]


def test_a_migration_anchors_while_the_directory_is_mounted_and_takes_the_set_later(pair: Pair) -> None:
    pair.save()
    name = checkpoint.new_set_name(pair.config, {}, "state")
    assert states.anchor(pair.config.state_dir, name, pair.paused) == ["alpha", "beta"]
    assert checkpoint.take_set(pair.config, "state", 1, anchored=name) == name
    assert pair.in_set == {"alpha": {name: {}}, "beta": {name: {}}}
