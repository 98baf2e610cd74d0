# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Refused
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains
from ansible_collections.hvm.pair.plugins.module_utils._pair import role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import vms
from ansible_collections.hvm.pair.plugins.module_utils._procedure.vms import Filter, lists, look, select

pytest.importorskip("libvirt")

DOMAIN = """
<domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0">
  <name>{name}</name>
  <description>{description}</description>
  <memory>65536</memory>
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <devices>
    <disk type="block" device="disk"><source dev="/dev/zvol/ssd/shared/{name}"/><target dev="vda"/></disk>
    <disk type="file" device="cdrom"><target dev="hda"/><readonly/></disk>
    <interface type="bridge"><mac address="52:54:00:00:{number}"/><source bridge="br0"/></interface>
  </devices>
  <test:runstate>{state}</test:runstate>
</domain>
"""


def vm(state: str = "running", **more: t.Any) -> dict[str, t.Any]:
    known = {"autostart": False, "autobackup": True, "saved": False, "snapshots": False, "priority": 99}
    known.update(needs={}, obstacles={})
    return {"state": state, **known, **more}


VMS = {
    "alpha": vm(autostart=True),
    "db": vm("frozen", priority=5, snapshots=True),
    "old": vm("stopped", saved=True, autobackup=False),
    "web": vm("other", priority=10),
}


def test_the_manuals_lists() -> None:
    assert lists(VMS, ["lost", "old"]) == {
        "all": ["alpha  running", "db     freezed", "old    stopped", "web    other"],
        "running": ["alpha"],
        "freezed": ["db"],
        "stopped": ["old"],
        "backups": ["lost", "old"],
        "snapshots": ["db"],
        "autostart": ["alpha"],
        "autobackup": ["alpha", "db", "web"],
        "prio": [" 5  db", "10  web", "99  alpha", "99  old"],
    }
    assert set(map(tuple, lists({}, []).values())) == {()}


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Filter(), ["alpha", "db", "old", "web"]),
        (Filter(["db", "web"]), ["db", "web"]),
        (Filter(states=["running", "frozen"]), ["alpha", "db"]),
        (Filter(flags={"autostart": True}), ["alpha"]),
        (Filter(flags={"autostart": False, "saved": False}), ["db", "web"]),
        (Filter(["db"], ["running"]), []),
    ],
)
def test_filters(wanted: Filter, names: list[str]) -> None:
    assert list(select(VMS, wanted)) == names


_VMS = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.builds(
        vm,
        st.sampled_from(["running", "frozen", "stopped", "other"]),
        priority=st.integers(1, 99),
        autostart=st.booleans(),
        saved=st.booleans(),
    ),
)


@given(_VMS)
def test_every_vm_is_in_the_lists_that_it_belongs_to(found: dict[str, t.Any]) -> None:
    made = lists(found, [])
    assert len(made["all"]) == len(made["prio"]) == len(found)
    states = [*made["running"], *made["freezed"], *made["stopped"]]
    assert sorted(states) == sorted(name for name, one in found.items() if one["state"] != "other")
    assert [int(line[:2]) for line in made["prio"]] == sorted(one["priority"] for one in found.values())
    assert made["autostart"] == list(select(found, Filter(flags={"autostart": True})))


class Here:
    """This host, as it is seen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
        self.path, self.running, self.role, self.processes = tmp_path, True, role.ACTIVE, list[str]()
        (tmp_path / "images").mkdir()
        self.mounts = [("ssd/shared/state", str(tmp_path / "images"))]
        config = (Host("hv1", "hv1"), Host("hv2", "hv2"), ("ssd/shared",), str(tmp_path / "images"))
        self.config = PairConfig("office", *config)
        self.uri = ""
        monkeypatch.setattr(vms, "hypervisor_running", lambda: self.running)
        monkeypatch.setattr(vms, "qemu_processes", lambda: self.processes)
        monkeypatch.setattr(vms, "zfs_mounts", lambda: self.mounts)
        monkeypatch.setattr(vms.role, "load", lambda: self)
        monkeypatch.setattr(vms.role, "boot_id", lambda: "")
        monkeypatch.setattr(vms.domains, "connect", lambda: CONNECT(self.uri))

    def now(self, dummy: str) -> str:
        return self.role

    def define(self, *found: tuple[str, str, int]) -> None:
        """(name, description, state as a number)"""
        xml = "".join(
            DOMAIN.format(name=name, description=text, state=state, number=f"{number // 256:02x}:{number % 256:02x}")
            for number, (name, text, state) in enumerate(found)
        )
        (self.path / f"{len(found)}.xml").write_text(f"<node>{xml}</node>")
        self.uri = f"test://{self.path}/{len(found)}.xml"

    def save(self, name: str) -> None:
        (self.path / "images" / f"{name}.state").write_text("image")


CONNECT = domains.connect


@pytest.fixture(name="here")
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Here:
    here = Here(monkeypatch, tmp_path)
    here.define(("web", "prio=10 autostart=yes", 1), ("db", "prio=5", 3), ("old", "", 5))
    here.processes = ["web", "db"]
    return here


def test_a_look(here: Here) -> None:
    here.save("old")
    here.save("lost")
    found = look(here.config, Filter())
    assert {name: one["state"] for name, one in found["vms"].items()} == {"db": "frozen", "old": "stopped", "web": "running"}
    assert (found["host"], found["role"], found["status"], found["unknown"]) == ("hv1", "ACTIVE", "VMs are running", [])
    assert found["saved"] == found["lists"]["backups"] == ["lost", "old"]
    assert found["changed"] is False
    assert not any({"needs", "obstacles"} & set(one) for one in found["vms"].values())


def test_a_look_at_some(here: Here) -> None:
    here.save("old")
    here.save("lost")
    found = look(here.config, Filter(states=["stopped"]))
    assert (list(found["vms"]), found["saved"]) == (["old"], ["old"])
    found = look(here.config, Filter(["lost", "web"]))
    assert (list(found["vms"]), found["saved"]) == (["web"], ["lost"])
    assert found["lists"]["all"] == ["web  running"]
    with pytest.raises(Refused, match="there is no VM wbe"):
        look(here.config, Filter(["wbe"]))


def test_one_that_is_not_proven_stopped_is_not_called_so(here: Here) -> None:
    here.processes = ["old"]
    assert look(here.config, Filter())["vms"]["old"]["state"] == "other"


def test_where_libvirt_is_stopped_it_says_what_it_does_not_know(here: Here) -> None:
    here.running, here.processes = False, []
    here.save("web")
    found = look(here.config, Filter(["web"]))
    assert (found["vms"], found["saved"], found["status"]) == ({}, ["web"], "VMs are stopped")
    assert found["unknown"] == ["the VMs are not known: the hypervisor is stopped"]


def test_on_a_passive_host(here: Here) -> None:
    here.running, here.role, here.mounts = False, role.PASSIVE, [("rpool/root", "/")]
    found = look(here.config, Filter())
    assert found["unknown"] == [
        "the VMs are not known: this host is PASSIVE, and their definitions lie in datasets that are not mounted",
        f"the state images are not known: {here.config.state_dir} is not mounted",
    ]
    assert (found["vms"], found["saved"], found["role"]) == ({}, [], "PASSIVE")


def test_a_libvirt_that_does_not_answer(here: Here) -> None:
    here.uri = "test:///nowhere.xml"
    (unknown,) = look(here.config, Filter())["unknown"]
    assert unknown.startswith("the VMs are not known: libvirt does not answer at test:///nowhere.xml")


def test_a_thousand_vms_in_two_seconds_and_four_times_as_many_in_about_four_times(here: Here) -> None:
    def best(count: int) -> float:
        """Seconds for the best look of several at so many VMs."""
        here.define(*((f"vm{n:04}", f"prio={n % 99 + 1} autostart=yes delay=3", n % 2 * 4 + 1) for n in range(count)))
        here.processes = [f"vm{n:04}" for n in range(0, count, 2)]
        times = []
        for dummy in range(5):
            began = time.perf_counter()
            found = look(here.config, Filter())
            times.append(time.perf_counter() - began)
            assert len(found["vms"]) == len(found["lists"]["all"]) == count
        return min(times)

    few, many = best(250), best(1000)
    assert many < 2
    assert many / few < 4 * 2.2  # 16 if it grew with the square; 7 was seen beside a lab


def test_bulk_requests_do_not_grow_with_the_vms(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request per VM, for its XML; against a real daemon each costs a round trip."""
    libvirt = pytest.importorskip("libvirt")
    calls: list[str] = []

    def counted(cls: t.Any, name: str) -> None:
        real = getattr(cls, name)
        monkeypatch.setattr(cls, name, lambda *args: calls.append(name) or real(*args))  # type: ignore[func-returns-value]

    for cls, names in (
        (libvirt.virDomain, ("XMLDesc", "state", "info", "isPersistent", "autostart", "hasManagedSaveImage", "snapshotNum")),
        (libvirt.virConnect, ("listAllDomains", "getAllDomainStats", "lookupByName")),
    ):
        for name in names:
            counted(cls, name)
    look(here.config, Filter())
    assert {name: calls.count(name) for name in set(calls)} == {"XMLDesc": 3, "listAllDomains": 4, "getAllDomainStats": 1}
