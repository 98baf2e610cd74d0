# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import mount
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory

CONFIG = PairConfig("p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("tank/vm",), "/vm/state")
OPEN = {"mounted": ["/srv", "/srv/images"], "writable": True}
CLOSED = {"mounted": [], "writable": False}
#: dataset -> mountpoint, canmount, own readonly
DATASETS = {
    "tank/vm": ("none", "noauto"),
    "tank/vm/images": ("/srv/images", "noauto"),
    "tank/vm/srv": ("/srv", "noauto"),
    "tank/vm/by-hand": ("/mnt", "on"),
}


class FakeHost:
    """The datasets of a host and what the library does to them."""

    def __init__(self, role: str, mounted: bool, path: str) -> None:
        self.points = {"/srv", "/srv/images"} if mounted else set()
        self.readonly, self.volmode = ("off", "dev") if mounted else ("on", "none")
        self.me: dict[str, t.Any] = {
            "pair": "p",
            "host": "hv1",
            "peer": "hv2",
            "role": {"role": role, "now": role, "epoch": 3},
            "hypervisor": {"running": False},
            "qemu": [],
            "pools": {"tank": "ONLINE"},
            "pending": None,
            "lock": None,
            "foreign_users": {},
        }
        self.other: dict[str, t.Any] | None = None
        self.asked = 0
        self.done: list[str] = []
        self.fails = ""
        self.lock = path

    def datasets(self) -> inventory.Inventory:
        found = {}
        for name, (point, canmount) in DATASETS.items():
            mounted = "yes" if point in self.points else "no"
            props = {"mountpoint": point, "canmount": canmount, "mounted": mounted, "readonly": self.readonly}
            found[name] = {"type": "filesystem", "props": {key: [value, "-"] for key, value in props.items()}}
            found[name]["props"]["volmode"] = [self.volmode, "local"]
        return found

    def _do(self, word: str) -> None:
        assert operation.lock_holder(self.lock), f"{word} without the lock"
        self.done.append(word)
        if word == self.fails:
            self.fails = ""
            raise HvmError(f"{word} failed")

    def make_writable(self, *dummy: t.Any) -> None:
        self._do("make_writable")
        self.readonly, self.volmode = "off", "dev"

    def mount_all(self, *dummy: t.Any) -> None:
        self._do("mount_all")
        self.points |= {"/srv", "/srv/images"}

    def wait_devices(self, *dummy: t.Any) -> None:
        self._do("wait_devices")

    def unmount_all(self, *dummy: t.Any) -> None:
        self._do("unmount_all")
        self.points -= {"/srv", "/srv/images"}

    def make_inert(self, *dummy: t.Any) -> None:
        self._do("make_inert")
        self.readonly, self.volmode = "on", "none"

    def ask(self, *dummy: t.Any) -> tuple[dict[str, t.Any] | None, str]:
        self.asked += 1
        return self.other, ""


Make = t.Callable[..., FakeHost]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Make:
    def make(role: str, mounted: bool = False) -> FakeHost:
        fake = FakeHost(role, mounted, str(tmp_path / "lock"))
        real = operation.Lock
        monkeypatch.setattr(mount.operation, "Lock", lambda: real(fake.lock))
        monkeypatch.setattr(mount, "read_datasets", lambda dummy: fake.datasets())
        monkeypatch.setattr(mount.inventory, "read", lambda dummy: fake.datasets())
        monkeypatch.setattr(mount, "observe", lambda *dummy, **others: copy.deepcopy(fake.me))
        monkeypatch.setattr(mount.preflight, "ask", fake.ask)
        for word in ("make_writable", "mount_all", "wait_devices", "unmount_all", "make_inert"):
            monkeypatch.setattr(mount.actions, word, getattr(fake, word))
        return fake

    return make


def test_mounted_and_again_and_unmounted_and_again(host: Make) -> None:
    fake = host("ACTIVE")
    wanted = {"changed": True, "mountpoints": ["/srv", "/srv/images"], "diff": {"before": CLOSED, "after": OPEN}}
    assert mount.apply(CONFIG, "mounted", "", True) == wanted
    assert fake.done == [] and fake.asked == 1
    assert mount.apply(CONFIG, "mounted", "", False) == wanted
    assert fake.done == ["make_writable", "mount_all", "wait_devices"]
    fake.done, fake.asked = [], 0
    again = mount.apply(CONFIG, "mounted", "", False)
    assert again == {"changed": False, "mountpoints": [], "diff": {"before": OPEN, "after": OPEN}}
    assert fake.done == [] and fake.asked == 0

    back = {"changed": True, "mountpoints": ["/srv", "/srv/images"], "diff": {"before": OPEN, "after": CLOSED}}
    assert mount.apply(CONFIG, "unmounted", "", True) == back
    assert fake.done == []
    assert mount.apply(CONFIG, "unmounted", "", False) == back
    assert fake.done == ["unmount_all", "make_inert"]
    fake.done = []
    assert not mount.apply(CONFIG, "unmounted", "", False)["changed"]
    assert fake.done == []


def test_a_mountpoint_that_is_missing_is_added(host: Make) -> None:
    fake = host("ACTIVE", mounted=True)
    fake.points.remove("/srv/images")
    assert mount.apply(CONFIG, "mounted", "", False)["mountpoints"] == ["/srv/images"]


def test_on_a_passive_host_it_is_refused_before_anybody_is_asked(host: Make) -> None:
    fake = host("PASSIVE")
    for check in (True, False):
        with pytest.raises(Refused, match="mounting the datasets is refused, nothing was changed: hv1: this host is PASSIVE"):
            mount.apply(CONFIG, "mounted", "hv2", check)
    assert fake.done == [] and fake.asked == 0


def test_on_an_unknown_host_it_needs_an_answer_or_the_operators_word(host: Make) -> None:
    fake = host("UNKNOWN")
    with pytest.raises(Refused, match="hv2 does not answer, so it may be ACTIVE"):
        mount.apply(CONFIG, "mounted", "", False)
    assert fake.done == []
    assert mount.apply(CONFIG, "mounted", "hv2", True)["changed"]
    fake.other = {**fake.me, "host": "hv2", "role": {"role": "ACTIVE", "now": "ACTIVE", "epoch": 4}}
    with pytest.raises(Refused, match="hv2 is ACTIVE"):
        mount.apply(CONFIG, "mounted", "hv2", False)
    fake.other["role"] = {"role": "PASSIVE", "now": "PASSIVE", "epoch": 2}
    assert mount.apply(CONFIG, "mounted", "", False)["changed"]


@pytest.mark.parametrize("word", ["make_writable", "mount_all", "wait_devices"])
def test_what_fails_leaves_it_as_it_was(host: Make, word: str) -> None:
    fake = host("ACTIVE")
    fake.fails = word
    with pytest.raises(HvmError, match=f"{word} failed"):
        mount.apply(CONFIG, "mounted", "", False)
    assert mount.state_of(CONFIG.datasets, fake.datasets()) == CLOSED
    assert operation.lock_holder(fake.lock) is None


def test_what_fails_on_a_host_that_was_open_closes_nothing(host: Make) -> None:
    fake = host("ACTIVE", mounted=True)
    fake.points.remove("/srv/images")
    fake.fails = "mount_all"
    with pytest.raises(HvmError):
        mount.apply(CONFIG, "mounted", "", False)
    assert fake.done == ["make_writable", "mount_all"] and fake.points == {"/srv"}


@pytest.mark.parametrize("role", ["ACTIVE", "PASSIVE", "UNKNOWN", "DIVERGED"])
def test_a_replica_that_somebody_opened_is_closed_in_any_role(host: Make, role: str) -> None:
    fake = host(role)
    fake.readonly = "off"
    assert mount.apply(CONFIG, "unmounted", "", False)["changed"]
    assert fake.readonly == "on"


def test_what_hvm_did_not_mount_is_named(host: Make) -> None:
    fake = host("ACTIVE", mounted=True)
    fake.points.add("/mnt")
    with pytest.raises(HvmError) as caught:
        mount.apply(CONFIG, "unmounted", "", False)
    assert str(caught.value) == (
        "tank/vm/by-hand is mounted. hvm.pair did not mount that: close it by hand (zfs unmount, zfs set)."
    )


def test_a_child_that_is_read_only_by_its_owners_wish_is_no_reason_to_open_again() -> None:
    datasets = FakeHost("ACTIVE", True, "").datasets()
    datasets["tank/vm/images"]["props"]["readonly"] = ["on", "local"]
    assert mount.state_of(CONFIG.datasets, datasets) == OPEN
    datasets["tank/vm"]["props"]["volmode"] = ["none", "local"]
    assert not mount.state_of(CONFIG.datasets, datasets)["writable"]
