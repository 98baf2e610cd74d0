# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which VMs run on a host that is ACTIVE from now on, and how: one VM with libvirt's test driver, all of them on a fake host."""

from __future__ import annotations

import pathlib
import re
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, image, readiness
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._procedure import serving
from ansible_collections.hvm.pair.plugins.module_utils._procedure.serving import Todo, Wanted

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_pair import BEFORE, FROZEN, RUNNING, STOPPED, Lab, broken, daemon_dies

libvirt = pytest.importorskip("libvirt")


# ---- which


def vms(**states: str) -> dict[str, dict[str, t.Any]]:
    """One whose name begins with auto has autostart=yes."""
    return {name: {"state": state, "autostart": name.startswith("auto")} for name, state in states.items()}


@pytest.mark.parametrize(
    ("infos", "saved", "wanted", "todo"),
    [
        ({}, [], Wanted(), Todo([], [], [])),
        # who ran runs again, who starts by itself does so, and nobody else
        (vms(web=STOPPED, auto=STOPPED, cold=STOPPED), [], Wanted(["web"]), Todo(["auto", "web"], [], ["cold"])),
        (vms(web=RUNNING, auto=RUNNING), [], Wanted(["web"]), Todo([], [], [])),
        # one that an operator had saved stays so, and is nobody's riddle
        (vms(web=STOPPED), ["web"], Wanted(), Todo([], [], [])),
        (vms(web=STOPPED), ["web"], Wanted(["web"]), Todo(["web"], [], [])),
        # after a rollback to a set with VM states all that were saved in it go on
        (vms(web=STOPPED, cold=STOPPED), ["web"], Wanted(images=True), Todo(["web"], [], ["cold"])),
        # an image brings its VM's definition along
        ({}, ["web"], Wanted(["web"]), Todo(["web"], [], [])),
        ({}, ["web"], Wanted(images=True), Todo(["web"], [], [])),
        ({}, ["web"], Wanted(), Todo([], [], [])),
        ({}, [], Wanted(["web"]), Todo([], [], [])),
        # paused by what was interrupted, unlike one that somebody had frozen, or that nobody knows of
        (vms(web=FROZEN, ice=FROZEN, other=FROZEN), [], Wanted(["web", "ice"], ["ice"]), Todo([], ["web"], [])),
        (vms(auto=FROZEN), [], Wanted(), Todo([], [], [])),
        # one that was frozen and is off now was saved frozen: it comes back so
        (vms(ice=STOPPED), ["ice"], Wanted(["ice"], ["ice"]), Todo(["ice"], [], [])),
        (vms(web=domains.OTHER), [], Wanted(["web"]), Todo([], [], [])),  # cannot be proven stopped
        # what has moved to the other host is not started here, whoever wants it to run
        (vms(web=STOPPED, auto=STOPPED, ice=FROZEN), ["web"], Wanted(["web", "ice"], elsewhere=["web", "auto", "ice"]),
         Todo([], [], [])),
    ],
)
def test_which_vms_run(infos: dict[str, t.Any], saved: list[str], wanted: Wanted, todo: Todo) -> None:
    assert serving.todo(infos, saved, wanted) == todo


def test_a_vm_that_ran_and_is_not_there_is_named() -> None:
    infos = vms(web=STOPPED, odd=domains.OTHER, other=domains.OTHER)
    assert serving.missing(infos, ["saved"], Wanted(["gone", "odd", "saved", "web"])) == {
        "gone": "it ran, and libvirt does not know it any more",
        "odd": "it cannot be proven stopped (virsh domstate --reason)",
    }
    assert serving.missing(infos, [], Wanted()) == {}
    assert serving.missing(infos, [], Wanted(["gone"], elsewhere=["gone"])) == {}


# ---- one VM

DOMAIN = """
<domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0">
  <name>{name}</name><memory>65536</memory><os><type arch="x86_64">hvm</type></os>
  <devices><disk type="file" device="disk"><source file="{at}/{name}.img"/><target dev="vda"/></disk></devices>
  <test:runstate>1</test:runstate>
</domain>
"""


class VMs:
    """web and db, each on a file; both run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: pathlib.Path) -> None:
        self.at, self.dir = at, str(at / "images")
        for name in ("web", "db"):
            (at / f"{name}.img").write_bytes(b"disk")
        (at / "node.xml").write_text("<node>" + "".join(DOMAIN.format(name=name, at=at) for name in ("web", "db")) + "</node>")
        self.conn = domains.connect(f"test://{at}/node.xml")
        monkeypatch.setattr(image, "read_header", lambda dummy: (image.Header(True, 2, 8192, True), ""))

    def save(self) -> None:
        image.save(self.conn, "web", self.dir)

    def bring(self, name: str = "web") -> str | None:
        return serving.bring(self.conn, name, self.dir)

    def state(self, name: str = "web") -> str:
        return domains.vms(self.conn, self.dir)[name]["state"]

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.dir)) for path in pathlib.Path(self.dir).rglob("*") if path.is_file())


@pytest.fixture(name="one")
def _one(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> t.Iterator[VMs]:
    found = VMs(monkeypatch, tmp_path)
    yield found
    found.conn.close()


def test_a_vm_goes_on_from_an_image_that_fits(one: VMs) -> None:
    one.save()
    assert one.bring() == "web restored"
    assert (one.state(), one.files()) == ("running", [])
    assert one.bring() is None


def test_a_vm_without_an_image_is_started(one: VMs) -> None:
    one.conn.lookupByName("web").destroy()
    assert one.bring() == "web started"
    assert one.state() == "running"


def test_an_image_that_does_not_fit_is_put_beside_and_the_vm_starts_from_its_disks(one: VMs) -> None:
    one.save()
    (one.at / "web.img").write_bytes(b"it ran on, and wrote")
    said = one.bring() or ""
    kept, manifest = one.files()
    assert re.fullmatch(r"unfit-\d{8}T\d{6}Z/web\.state", kept) and manifest == f"{kept}.json"
    assert said.startswith(f"web started from its disks, without its memory: VM web: disk vda ({one.at}/web.img) has changed")
    assert said.endswith(f"The image is kept as {one.dir}/{kept}")
    assert (one.state(), image.saved_names(one.dir)) == ("running", [])  # nobody takes it for the VM's state


def test_an_image_of_a_machine_that_is_not_offered_here_stays_where_it_is(one: VMs, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is good with another QEMU, and without one the VM would not start from its disks either."""
    one.save()
    monkeypatch.setattr(image, "_unfit", lambda *dummy: "unsupported machine type")
    with pytest.raises(Refused, match="which is not offered here"):
        one.bring()
    assert (one.state(), one.files()) == ("stopped", ["web.state", "web.state.json"])


@pytest.mark.parametrize("written", [True, False])
def test_where_the_image_lies_is_told_when_the_vm_does_not_start_either(
    one: VMs, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    one.save()
    if written:
        (one.at / "web.img").write_bytes(b"it ran on, and wrote")
    else:
        (one.at / "images/web.state.json").unlink()

    def fail(*dummy: t.Any) -> None:
        raise libvirt.libvirtError("no such network")

    monkeypatch.setattr(libvirt.virDomain, "create", fail)
    said = r"VM web goes on neither from its image \(.+\) nor from its disks \(no such network\)"
    with pytest.raises(HvmError, match=said) as caught:
        one.bring()
    image_file = one.files()[0]
    assert caught.value.remedy == f"The image is kept as {one.dir}/{image_file}."
    assert image_file.startswith("unfit-") is written  # it may still be good where nothing says otherwise
    assert image.saved_names(one.dir) == ([] if written else ["web"])


def test_an_image_that_does_not_fit_stays_where_it_is_when_libvirt_does_not_know_the_vm(one: VMs) -> None:
    one.save()
    (one.at / "web.img").write_bytes(b"written")
    one.conn.lookupByName("web").undefine()
    with pytest.raises(Refused, match="has changed since"):
        one.bring()
    assert one.files() == ["web.state", "web.state.json"]


@pytest.mark.parametrize("change", ["written", "gone", "nothing", "started"])
def test_of_one_that_stays_off_an_image_of_the_past_is_put_beside(one: VMs, change: str) -> None:
    """Else status says that it is to be restored, and every restore refuses."""
    one.save()
    disk = one.at / "web.img"
    if change == "written":
        disk.write_bytes(b"it ran on, and wrote")
    elif change == "gone":
        disk.unlink()
    elif change == "started":
        disk.write_bytes(b"it runs")
        one.conn.lookupByName("web").create()
    said = serving.put_past_beside(one.conn, one.dir, ["db", "web"], Progress())
    assert list(said) == (["web"] if change == "written" else [])
    assert image.saved_names(one.dir) == ([] if change == "written" else ["web"])
    if said:
        assert said["web"].startswith(f"web stays off, and its image is of the past: VM web: disk vda ({one.at}/web.img) has")
        assert said["web"].endswith("/web.state") and len(one.files()) == 2
    assert serving.put_past_beside(one.conn, one.dir, ["db"], Progress()) == {}


def test_a_restore_that_fails_is_no_reason_to_start_without_the_memory(one: VMs, monkeypatch: pytest.MonkeyPatch) -> None:
    one.save()

    def fail(*dummy: t.Any) -> None:
        raise libvirt.libvirtError("no")

    monkeypatch.setattr(libvirt.virConnect, "restore", fail)
    with pytest.raises(libvirt.libvirtError):
        one.bring()
    assert (one.state(), one.files()) == ("stopped", ["web.state", "web.state.json"])


# ---- all of them


@pytest.fixture(name="lab")
def _lab(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab = Lab(tmp_path, monkeypatch)
    lab.be(lab.hv1, "ACTIVE", 3, boot=BEFORE)
    for name, priority in (("a", 10), ("b", 20), ("c", 20), ("d", 99)):
        lab.hv1.vm(name, priority=priority)
    return lab


def serve(lab: Lab, *ran: str, **words: t.Any) -> dict[str, t.Any]:
    journal = operation.Journal("recover")
    return serving.serve(lab.hv1.config, 4, "so", Progress(), Wanted(ran, **words), journal, 3)


def brought(lab: Lab) -> list[str]:
    return [one.split()[-1] for one in lab.did if one.startswith("hv1 bring")]


def test_they_come_by_priority_and_each_whatever_happens_to_another(lab: Lab) -> None:
    lab.hv1.images = {"stray"}  # libvirt does not know it
    for name in ("a", "b"):
        lab.faults[f"hv1 bring {name}"] = broken("no")
    result = serve(lab, "d", "c", "b", "a", images=True)
    assert brought(lab)[0] == "a" and set(brought(lab)[1:3]) == {"b", "c"} and set(brought(lab)[3:]) == {"d", "stray"}
    assert result["errors"] == {"a": "no", "b": "no"}
    assert result["vms"] == {"c": "c started", "d": "d started", "stray": "stray restored"}


def test_a_vm_that_cannot_be_proven_stopped_is_not_started(lab: Lab) -> None:
    lab.hv1.processes = ["b"]
    result = serve(lab, "a", "b")
    assert brought(lab) == ["a"]
    assert list(result["errors"]) == ["b"]
    assert result["errors"]["b"].startswith("VM b has a process, although libvirt does not call it running.")


def test_a_vm_that_is_not_there_keeps_no_other_down(lab: Lab) -> None:
    result = serve(lab, "a", "gone")
    assert (result["vms"], list(result["errors"])) == ({"a": "a started"}, ["gone"])


def test_a_vm_that_cannot_go_on_keeps_no_other_down(lab: Lab) -> None:
    lab.hv1.vm("b", FROZEN)
    lab.hv1.vm("c", FROZEN)
    lab.faults["hv1 unfreeze b"] = broken("no")
    result = serve(lab, "a", "b", "c")
    assert (result["errors"], result["vms"]) == ({"b": "no"}, {"a": "a started", "c": "c goes on"})


def test_a_daemon_that_dies_keeps_no_vm_down(lab: Lab) -> None:
    daemon_dies(lab, "hv1 bring b")
    result = serve(lab, "a", "b", "c", "d")
    assert (result["errors"], lab.hv1.running()) == ({}, ["a", "b", "c", "d"])
    assert lab.did.count("hv1 systemctl start") == 2
    assert brought(lab).count("a") == 1  # it ran already
    assert sorted(result["vms"]) == ["a", "b", "c", "d"]


def test_a_daemon_that_died_before_the_vms_come_is_not_waited_for(lab: Lab) -> None:
    daemon_dies(lab, "hv1 address on")
    result = serve(lab, "a", "d")
    assert (result["errors"], brought(lab)) == ({}, ["a", "d"])
    assert lab.did.index("hv1 address on") < len(lab.did) - 1 - lab.did[::-1].index("hv1 systemctl start")


def test_a_daemon_that_does_not_come_back_is_the_reason(lab: Lab) -> None:
    lab.faults["hv1 bring b"] = lambda: lab.faults.update({"hv1 systemctl start": broken("it failed")}) or lab.down(lab.hv1)
    with pytest.raises(Exception, match="it failed"):
        serve(lab, "a", "b")


def test_an_image_whose_vm_was_restored_already_goes_with_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.hv1.vms["a"]["state"] = RUNNING
    lab.hv1.vms["b"]["state"] = RUNNING
    facts: dict[str, t.Any] = {"disks": [], "sets": {}}
    found = {"a": {**facts, "begun": "then"}, "b": {**facts, "begun": ""}, "stray": {**facts, "begun": "then"}}
    monkeypatch.setattr(serving.states, "manifests", lambda dummy: found)
    serve(lab, "d")
    assert brought(lab) == ["a", "d"]  # of b's nobody knows where it came from


def test_one_priority_waits_for_the_other(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "d"):
        lab.hv1.vms[name]["delay"] = 5
    lab.faults["hv1 bring b"] = broken("no")
    waited: list[list[str]] = []

    def wait(dummy: t.Any, found: list[readiness.Wait]) -> list[str]:
        waited.append([one.name for one in found])
        return [f"{one.name} is late" for one in found]

    monkeypatch.setattr(readiness, "wait_for", wait)
    result = serve(lab, "a", "b", "c", "d")
    assert waited == [["a"], [], []]  # not for one that failed, and not after the last
    assert result["warnings"] == ["a is late"]


def test_a_definition_that_came_with_an_image_does_not_start_by_itself(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.domains, "neutralise_autostart", lambda dummy: lab.do("neutralise") or [])
    serve(lab, "a")
    assert lab.did.count("hv1 neutralise") == 2
    assert lab.did.index("hv1 bring a") < len(lab.did) - 1 - lab.did[::-1].index("hv1 neutralise")


def test_the_connection_is_closed_also_after_an_error(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    class Connection:
        def close(self) -> None:
            lab.do("closed")

    monkeypatch.setattr(serving.domains, "connect", Connection)
    lab.patch.setattr(serving.domains, "saved_names", lambda dummy: lab.do("saved?") or [])
    lab.faults["hv1 saved?"] = broken("I/O error")
    with pytest.raises(Exception, match="I/O error"):
        serve(lab, "a")
    assert lab.did[-1] == "hv1 closed"
