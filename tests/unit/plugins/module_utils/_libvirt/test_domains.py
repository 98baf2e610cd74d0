# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With libvirt's own test driver: VMs that live in this process only."""

from __future__ import annotations

import pathlib
import threading
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, state

libvirt = pytest.importorskip("libvirt")

DOMAIN = """
<domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0">
  <name>{name}</name>
  <description>{description}</description>
  <memory>65536</memory>
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <devices>
    <disk type="file" device="disk"><source file="/srv/vms/{name}.img"/><target dev="vda"/></disk>
    <disk type="block" device="disk"><source dev="/dev/zvol/ssd/shared/{name}"/><target dev="vdb"/></disk>
    <disk type="file" device="cdrom"><target dev="hda"/><readonly/></disk>
    <interface type="bridge"><mac address="52:54:00:00:00:{number:02}"/><source bridge="br0"/></interface>
    <interface type="network"><mac address="52:54:00:00:01:{number:02}"/><source network="lan"/></interface>
  </devices>
  <test:runstate>{state}</test:runstate>
</domain>
"""
RUNNING, SHUTOFF = 1, 5


@pytest.fixture(name="conn")
def _conn(tmp_path: pathlib.Path) -> t.Iterator[t.Any]:
    """web (10) and db (5) run, old (99) is off."""
    vms = [("web", "prio=10 autostart=yes", RUNNING), ("db", "prio=5", RUNNING), ("old", "", SHUTOFF)]
    xml = "".join(
        DOMAIN.format(name=name, description=text, state=state, number=number) for number, (name, text, state) in enumerate(vms)
    )
    (tmp_path / "node.xml").write_text(f"<node>{xml}</node>")
    conn = domains.connect(f"test://{tmp_path}/node.xml")
    yield conn
    conn.close()


@pytest.fixture(name="images")
def _images(tmp_path: pathlib.Path) -> str:
    """The state directory, not yet made."""
    return str(tmp_path / "images")


def states(conn: t.Any, images: str) -> dict[str, str]:
    return {name: vm["state"] for name, vm in domains.vms(conn, images).items()}


def test_what_is_known_of_a_vm(conn: t.Any, images: str) -> None:
    found = domains.vms(conn, images)
    assert list(found) == ["db", "old", "web"]
    web = found["web"]
    assert (web["autostart"], web["priority"], web["state"], web["persistent"], web["saved"]) == (
        True,
        10,
        "running",
        True,
        False,
    )
    assert {(disk["path"], disk["device"], disk["readonly"]) for disk in web["disks"]} == {
        ("/srv/vms/web.img", "disk", False),
        ("/dev/zvol/ssd/shared/web", "disk", False),
        (None, "cdrom", True),
    }
    assert (web["bridges"], web["networks"], web["hostdevs"], web["memory_kib"]) == (["br0"], ["lan"], 0, 65536)
    assert (found["old"]["priority"], found["old"]["state"]) == (99, "stopped")


@pytest.mark.parametrize(("state", "reason", "error"), [(3, 5, True), (3, 1, False), (1, 5, False), (3, None, False)])
def test_a_vm_that_a_full_pool_has_stopped_is_told_from_one_that_somebody_has(
    conn: t.Any, images: str, monkeypatch: pytest.MonkeyPatch, state: int, reason: int | None, error: bool
) -> None:
    said = {"state.state": state, **({} if reason is None else {"state.reason": reason})}
    doms = [(dom, said if dom.name() == "web" else stats) for dom, stats in conn.getAllDomainStats(1)]
    monkeypatch.setattr(libvirt.virConnect, "getAllDomainStats", lambda *dummy: doms)
    found = domains.vms(conn, images)
    assert {name: vm["io_error"] for name, vm in found.items()} == {"db": False, "old": False, "web": error}


def test_a_daemon_that_does_not_answer_is_an_error_with_a_remedy() -> None:
    with pytest.raises(HvmError, match=r"libvirt does not answer at test:///nowhere\.xml") as caught:
        domains.connect("test:///nowhere.xml")
    assert caught.value.remedy == "On the ACTIVE host start it with hvm_hypervisor state=started."


def test_a_vm_with_an_image_is_not_started_over_it(conn: t.Any, images: str) -> None:
    domains.save(conn, "web", images)
    with pytest.raises(HvmError, match="has a saved state; starting it would make that useless"):
        domains.start(conn, "web", images)
    assert states(conn, images)["web"] == "stopped"


def test_start(conn: t.Any, images: str) -> None:
    assert domains.start(conn, "old", images) == "old started"
    assert domains.start(conn, "old", images) is None
    domains.freeze(conn, "old")
    assert domains.start(conn, "old", images) == "old goes on"
    assert states(conn, images)["old"] == "running"


def test_freeze_and_unfreeze(conn: t.Any, images: str) -> None:
    assert domains.freeze(conn, "web") == "web frozen"
    assert states(conn, images)["web"] == "frozen"
    assert domains.freeze(conn, "web") is None
    assert domains.unfreeze(conn, "web") == "web goes on"
    assert domains.unfreeze(conn, "web") is None
    assert domains.freeze(conn, "old") is None
    assert domains.unfreeze(conn, "old") is None
    assert states(conn, images) == {"db": "running", "old": "stopped", "web": "running"}


def test_unknown_names_are_said_at_once_with_what_was_meant() -> None:
    domains.check_names(["web"], ["web", "db"])
    with pytest.raises(Refused) as caught:
        domains.check_names(["wbe", "web", "xyzzy"], ["web", "db"])
    assert [finding.sentence() for finding in caught.value.findings] == [
        "there is no VM wbe. Did you mean web?",
        "there is no VM xyzzy. There are: db, web.",
    ]


def test_order_by_priority_and_an_unknown_image_last(conn: t.Any, images: str) -> None:
    infos = domains.vms(conn, images)
    assert domains.order(infos, ["old", "web", "db"], descending=False) == [["db"], ["web"], ["old"]]
    assert domains.order(infos, ["old", "web", "db", "lost"], descending=True) == [["lost", "old"], ["web"], ["db"]]


def test_every_verb_of_the_manual_with_its_direction() -> None:
    assert {name for name, (dummy, descending) in domains.VERBS.items() if descending} == {
        "saved",
        "frozen",
        "shutdown",
        "poweredoff",
    }


def test_groups_one_after_the_other_and_their_vms_together() -> None:
    both = threading.Barrier(2, timeout=10)
    log: list[str] = []

    def verb(dummy_conn: None, name: str, state_dir: str, extra: str) -> str:
        if name in ("a", "b"):
            both.wait()  # breaks unless the other one is at it at the same time
        log.append(name)
        return f"{name} {state_dir} {extra}"

    said: list[str | None] = []
    errors = domains.for_each(
        verb, None, [["a", "b"], ["c"]], "dir", lambda name, text, before, after: said.append(text), extra="x"
    )
    assert errors == {}
    assert log[2] == "c"
    assert sorted(filter(None, said)) == ["a dir x", "b dir x", "c dir x"]


def test_after_an_error_the_group_is_finished_and_the_next_not_begun(conn: t.Any, images: str) -> None:
    done: list[str] = []
    errors = domains.for_each(domains.freeze, conn, [["nobody", "web"], ["db"]], images, lambda name, *dummy: done.append(name))
    assert errors == {"nobody": "Domain not found"}
    assert done == ["web"]
    assert states(conn, images)["db"] == "running"


def test_what_was_not_tried_after_an_error_is_named() -> None:
    groups = [["a"], ["b", "c"], ["d"], ["e", "f"]]
    assert domains.failures({"c": "full", "b": "no"}, groups) == "b: no; c: full; not tried: d, e, f"
    assert domains.failures({"e": "no"}, groups) == "e: no"
    assert domains.failures({"a": "no"}, groups, to_the_end=True) == "a: no"


def test_to_the_end_all_groups_are_tried(conn: t.Any, images: str) -> None:
    errors = domains.for_each(domains.freeze, conn, [["nobody"], ["web"]], images, to_the_end=True)
    assert errors == {"nobody": "Domain not found"}
    assert states(conn, images)["web"] == "frozen"


def test_between_two_groups_it_is_said_what_was_done_in_the_first() -> None:
    told: list[tuple[list[str], bool]] = []

    def verb(dummy_conn: None, name: str, dummy_dir: str) -> str | None:
        if name == "bad":
            raise HvmError("no")
        return None if name == "same" else f"{name} done"

    def between(names: t.Sequence[str], last: bool) -> None:
        told.append((list(names), last))

    assert domains.for_each(verb, None, [["b", "a", "same"], ["c"]], "", between=between) == {}
    assert told == [(["b", "a"], False), (["c"], True)]
    told.clear()
    domains.for_each(verb, None, [["bad", "a"], ["c"]], "", between=between)
    assert told == []


def test_libvirts_own_autostart_is_switched_off(conn: t.Any, images: str) -> None:
    conn.lookupByName("web").setAutostart(1)
    assert [name for name, vm in domains.vms(conn, images).items() if vm["libvirt_autostart"]] == ["web"]
    assert domains.neutralise_autostart(conn) == ["web"]
    assert domains.neutralise_autostart(conn) == []
    assert not conn.lookupByName("web").autostart()


def test_what_comes_for_all_vms_at_once_is_what_each_would_have_said(conn: t.Any, images: str) -> None:
    conn.createXML(DOMAIN.format(name="guest", description="", state=RUNNING, number=9))
    conn.lookupByName("old").setAutostart(1)
    conn.lookupByName("db").snapshotCreateXML("<domainsnapshot><name>s</name></domainsnapshot>")
    conn.lookupByName("db").suspend()
    conn.lookupByName("web").managedSave()
    found = domains.vms(conn, images)
    assert sorted(found) == ["db", "guest", "old", "web"]
    for dom in conn.listAllDomains():
        vm = found[dom.name()]
        assert vm["state"] == domains._state(dom)
        assert vm["persistent"] == bool(dom.isPersistent())
        assert vm["managed_save"] == bool(dom.hasManagedSaveImage())
        assert vm["libvirt_autostart"] == bool(dom.isPersistent() and dom.autostart())
        assert vm["snapshots"] == bool(dom.snapshotNum())
        assert vm["uuid"] == dom.UUIDString()


def test_a_vm_that_ends_during_the_look_is_left_out(conn: t.Any, images: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = libvirt.virDomain.XMLDesc

    def gone(dom: t.Any, flags: int = 0) -> str:
        if dom.name() == "db":
            dom.connect().lookupByName("nobody")  # as libvirt says it
        return str(read(dom, flags))

    monkeypatch.setattr(libvirt.virDomain, "XMLDesc", gone)
    assert list(domains.vms(conn, images)) == ["old", "web"]


def test_numbers_of_libvirt() -> None:
    flags = {"persistent": "PERSISTENT", "managed_save": "MANAGEDSAVE", "libvirt_autostart": "AUTOSTART"}
    flags["snapshots"] = "HAS_SNAPSHOT"
    assert {key: getattr(libvirt, f"VIR_CONNECT_LIST_DOMAINS_{flags[key]}") for key in flags} == domains._BULK
    assert (libvirt.VIR_DOMAIN_STATS_STATE, libvirt.VIR_ERR_NO_DOMAIN) == (domains._STATS_STATE, domains.NO_DOMAIN)
    words = ("NOSTATE", "RUNNING", "BLOCKED", "PAUSED", "SHUTDOWN", "SHUTOFF", "CRASHED")
    assert [getattr(libvirt, f"VIR_DOMAIN_{word}") for word in words] == list(state.STATES)


NETWORK = "<network><name>{name}</name>{forward}<bridge name='{bridge}'/></network>"


def test_networks_marked_autostart_are_started_and_all_are_stopped(conn: t.Any) -> None:
    address = "<ip address='192.0.2.1' netmask='255.255.255.0'/>"
    for name in ("lan", "spare"):
        conn.networkDefineXML(f"<network><name>{name}</name>{address}</network>")
    conn.networkLookupByName("lan").setAutostart(1)
    domains.start_networks(conn)
    assert [net.name() for net in conn.listAllNetworks() if net.isActive()] == ["lan"]
    domains.start_networks(conn)
    domains.stop_networks(conn)
    assert not any(net.isActive() for net in conn.listAllNetworks())


class Thing:
    """A network or a pool; `broken`: what it says when it is to start or stop."""

    def __init__(self, name: str, active: bool = False, broken: str = "") -> None:
        self._name, self.active, self.broken = name, active, broken

    def name(self) -> str:
        return self._name

    def autostart(self) -> int:
        return 1

    def isActive(self) -> bool:
        return self.active

    def create(self) -> None:
        if self.broken:
            raise libvirt.libvirtError(self.broken)
        self.active = True

    def destroy(self) -> None:
        if self.broken:
            raise libvirt.libvirtError(self.broken)
        self.active = False


def test_a_pool_that_does_not_start_keeps_nothing_else_from_it() -> None:
    pools = [Thing("iso", broken="cannot open directory '/srv/alice/iso'"), Thing("images")]
    conn = types.SimpleNamespace(listAllNetworks=lambda: [Thing("lan")], listAllStoragePools=lambda: pools)
    (said,) = domains.start_networks(conn)
    assert said.startswith("iso does not start: ") and "/srv/alice/iso" in said
    assert [pool.active for pool in pools] == [False, True]
    for pool in pools:
        pool.active = True
    domains.stop_networks(conn)
    assert [pool.active for pool in pools] == [True, False]
    conn.listAllNetworks = lambda: [Thing("lan", True, "network is busy")]
    with pytest.raises(libvirt.libvirtError):  # its dnsmasq would keep files open
        domains.stop_networks(conn)


def test_bridges_that_networks_lean_on(conn: t.Any) -> None:
    conn.networkDefineXML(NETWORK.format(name="lan", forward="<forward mode='bridge'/>", bridge="br0"))
    conn.networkDefineXML(
        "<network><name>nat</name><forward mode='nat'/><bridge name='virbr9'/><ip address='192.0.2.1'/></network>"
    )
    assert domains.network_bridges(conn) == {"lan": "br0"}
