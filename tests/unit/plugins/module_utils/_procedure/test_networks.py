# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`hvm net` on a pair of fakes, each with a made-up kernel: what each host has and knows afterwards, also when one is silent."""

from __future__ import annotations

import contextlib
import fcntl
import json
import pathlib
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._net import managers
from ansible_collections.hvm.pair.plugins.module_utils._net.links import Seen, Step
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation
from ansible_collections.hvm.pair.plugins.module_utils._procedure import networks

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "_net"))

from fake_kernel import FACTS, Kernel
from fake_pair import BEFORE, BOOT, Host, Lab

V10 = {"name": "br-v10", "interface": "eno1", "vlan": 10}
OUT = {"name": "br-out", "interface": "eno2"}
AWAY = "hv2 cannot be asked, so it is not told: ssh to hv2 ended with 255. When it answers, run hvm_network state=applied."


class Machine:
    """What `bridges.Host` is of a host of the pair. :ivar fails: a word of a command that does not work there."""

    def __init__(self) -> None:
        self.kernel = Kernel()
        self.kernel.set("eno1", addresses=("10.0.0.1/24",))
        self.fails = ""
        self.did: list[str] = []

    def links(self) -> dict[str, Seen]:
        return dict(self.kernel.links)

    def files(self) -> dict[str, str]:
        return dict(self.kernel.files)

    def facts(self) -> managers.Facts:
        return FACTS[managers.IFUPDOWN]

    def default_routes(self) -> set[str]:
        return set()

    def do(self, step: Step) -> None:
        if self.fails and self.fails in step.words:
            raise HvmError(f"'{' '.join(step.words)}' failed (2): RTNETLINK answers: no")
        self.did.append(step.text())
        self.kernel.do(step)

    @property
    def bridges(self) -> list[str]:
        return sorted(one.name for one in self.kernel.links.values() if one.kind == "bridge")


class Pair(Lab):
    """:ivar users: host -> what `_users` says of it."""

    def __init__(self, place: pathlib.Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(place, patch)
        self.machines = {"hv1": Machine(), "hv2": Machine()}
        self.users: dict[str, dict[str, list[str]]] = {}
        patch.setattr(networks.bridges, "Host", lambda: self.machines[self.at.name])
        patch.setattr(networks.shared_ip, "session_servers", list)
        patch.setattr(networks, "_users", lambda dummy: self.users.get(self.at.name, {}))
        patch.setattr(networks, "hypervisor_running", lambda: self.at.daemon)
        self.be(self.hv1, "ACTIVE", 3)
        self.be(self.hv2, "PASSIVE", 3)

    def run(self, verb: str, *words: t.Any, at: Host | None = None, **more: t.Any) -> dict[str, t.Any]:
        with self.on(at or self.hv1) as host:
            return getattr(networks, verb)(host.config, *words, **more)

    def there(self) -> tuple[list[str], list[str]]:
        return self.machines["hv1"].bridges, self.machines["hv2"].bridges

    def notes(self, host: Host) -> list[str]:
        return self.run("summary", at=host)["notes"]


@pytest.fixture(name="pair")
def _pair(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    return Pair(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", ["hv1", "hv2"])
def test_added_and_removed_on_either_host_is_so_on_both(pair: Pair, name: str, logged: list[str]) -> None:
    at = getattr(pair, name)
    planned = pair.run("put", [V10], at=at, check=True)
    assert planned["changed"] and pair.there() == ([], []) and not (at.place / "networks.json").exists()
    done = pair.run("put", [V10], at=at)
    assert {**done, "warnings": []} == planned
    assert done["actions"] == {host: ["br-v10: made (VLAN 10 of eno1)"] for host in ("hv1", "hv2")}
    assert done["sentence"] == "br-v10: VLAN 10 of eno1." and done["warnings"] == []
    assert pair.there() == (["br-v10"], ["br-v10"])
    assert logged.count("network br-v10: made (VLAN 10 of eno1)") == 2
    for host in (pair.hv1, pair.hv2):
        again = pair.run("put", [V10], at=host)
        assert not again["changed"] and again["sentence"] == "This is declared already: br-v10: VLAN 10 of eno1."
        assert pair.run("query", at=host)["networks"] == [
            {**V10, "sentence": "br-v10: VLAN 10 of eno1", "origin": "command", "hosts": {"hv1": [], "hv2": []}}
        ]
        assert pair.run("summary", at=host) == {"declared": {"br-v10": V10}, "wrong": {}, "notes": []}
    gone = pair.run("take_out", ["br-v10"], at=pair.other())
    assert gone["changed"] and gone["networks"] == [] and pair.there() == ([], [])
    assert not pair.run("take_out", ["br-v10"], at=at)["changed"]
    with pytest.raises(HvmError, match="there is no network br-x"):
        pair.run("take_out", ["br-x"], at=at)


def old(pair: Pair, origin: str = "command") -> None:
    """hv2 has come instead of a host of another name, with which br-out was declared."""
    pair.run("put", [{**OUT, "addresses": {"hv2": ["10.9.0.2/24"]}}, V10])
    kept = pair.hv1.place / "networks.json"
    kept.write_text(kept.read_text().replace('"hv2"', '"old"').replace('"command"', f'"{origin}"'))
    (pair.hv1.place / "networks-peer.json").unlink()
    (pair.hv2.place / "networks.json").unlink()
    pair.machines["hv2"] = Machine()


def test_a_network_that_was_declared_for_a_host_that_is_gone_is_not_one_that_is_to_go(pair: Pair) -> None:
    old(pair)
    for dummy in range(2):  # also after it has been written again
        done = pair.run("put", [{"name": "br-new"}])
        assert "br-out" not in str(done["actions"]) and any("br-out stays as it is" in text for text in done["warnings"])
        assert pair.there()[0] == ["br-new", "br-out", "br-v10"]
    with pair.on(pair.hv1) as host:
        assert networks._plan(host.config, networks.networks_file.read(host.config)).actions == ()
    done = pair.run("put", [OUT])
    assert done["actions"]["hv1"] == [] and "made" in done["actions"]["hv2"][0] and done["warnings"] == []
    assert pair.there()[0] == pair.there()[1]


def test_it_is_removed_when_that_is_said(pair: Pair) -> None:
    old(pair)
    assert pair.run("take_out", ["br-out"])["actions"]["hv1"] == ["br-out: removed (eno2)"]
    assert pair.there()[0] == ["br-v10"] and not pair.run("reapply")["warnings"]
    with pytest.raises(HvmError, match="there is no network br-x"):
        pair.run("take_out", ["br-x"])


def test_what_the_inventory_had_declared_for_it_goes_when_it_declares_it_no_more(pair: Pair) -> None:
    old(pair, "inventory")
    assert pair.run("reapply")["actions"]["hv1"] == []
    assert pair.run("declare", [V10])["actions"]["hv1"] == ["br-out: removed (eno2)"]


@pytest.mark.parametrize("name", ["hv1", "hv2"])
def test_what_one_host_refuses_is_done_on_neither(pair: Pair, name: str) -> None:
    pair.machines[name].kernel.set("eno2", addresses=("192.0.2.77/24",))
    with pytest.raises(Refused) as caught:
        pair.run("put", [OUT, V10])
    assert [(one.host, one.what) for one in caught.value.findings] == [
        (name, "eno2 has the address 192.0.2.77/24: it is in use")
    ]
    assert pair.there() == ([], []) and not (pair.hv1.place / "networks.json").exists()


def test_a_bridge_that_vms_need_on_the_active_host_is_removed_on_neither(pair: Pair) -> None:
    pair.run("put", [V10])
    pair.users["hv1"] = {"br-v10": ["web"]}
    for host in (pair.hv1, pair.hv2):
        with pytest.raises(Refused) as caught:
            pair.run("take_out", ["br-v10"], at=host)
        assert [(one.host, one.what) for one in caught.value.findings] == [("hv1", "br-v10 cannot be removed: web need it")]
    assert pair.there() == (["br-v10"], ["br-v10"])


@pytest.mark.parametrize("boot", [BOOT, BEFORE])
def test_nothing_is_removed_while_nobody_knows_the_vms(pair: Pair, boot: str) -> None:
    """After hv stop, and after a power cut of both."""
    pair.run("put", [V10])
    pair.be(pair.hv1, "ACTIVE", 3, boot=boot)
    pair.down(pair.hv1)
    for host in (pair.hv1, pair.hv2):
        with pytest.raises(Refused) as caught:
            pair.run("take_out", ["br-v10"], at=host)
        assert [(one.host, one.what) for one in caught.value.findings] == [
            ("hv1", "libvirt does not run, so nobody knows whether VMs need br-v10")
        ]
    pair.run("put", [OUT])  # which takes nothing from anybody
    assert pair.there() == (["br-out", "br-v10"], ["br-out", "br-v10"])
    (pair.hv1.place / "role.json").unlink()  # no pair yet, so no VMs of it
    pair.run("take_out", ["br-v10"])
    assert pair.there() == (["br-out"], ["br-out"])


def test_the_way_by_which_the_other_host_comes_in_is_not_put_into_a_bridge(pair: Pair) -> None:
    with pytest.raises(Refused) as caught:
        pair.run("put", [{"name": "br-lan", "interface": "eno1"}])
    assert [one.what for one in caught.value.findings] == [
        f"eno1 cannot be put into br-lan: eno1 has the address at which {other} reaches this host" for other in ("hv2", "hv1")
    ]


@pytest.mark.parametrize(
    ("known", "protected"),
    [
        ({"hv1.example": "10.0.0.1"}, True),
        ({"hv1.example": "127.0.1.1", "hv2.example": "10.0.0.2"}, True),  # as Debian writes /etc/hosts
        ({"hv1.example": "127.0.1.1"}, False),
        ({}, False),
    ],
)
def test_the_way_in_is_known_by_a_name_too(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, known: dict[str, str], protected: bool
) -> None:
    me, other = pair.hv1.config.hosts
    config = pair.hv1.config._replace(me=me._replace(address="hv1.example"), peer=other._replace(address="hv2.example"))

    def resolve(name: str, *dummy: t.Any, **dummy_more: t.Any) -> list[t.Any]:
        if name not in known:
            raise OSError("Name or service not known")
        return [(0, 0, 0, "", (known[name], 0))]

    monkeypatch.setattr(networks.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(networks, "_source", lambda target: networks._ip("10.0.0.1") if str(target) == "10.0.0.2" else None)
    host = pair.machines["hv1"]
    reasons = networks._reasons(config, host, host.links())
    assert reasons.get("eno1") == ("has the address at which hv2 reaches this host" if protected else None)


def test_what_this_host_would_be_seen_with() -> None:
    assert networks._source(networks._ip("127.0.0.1")) == networks._ip("127.0.0.1")
    assert networks._addresses("no such name.invalid") == set()


def test_a_host_that_was_off_is_told_when_it_is_back(pair: Pair) -> None:
    pair.run("put", [OUT])
    pair.hv2.answers = False
    added = pair.run("put", [V10])
    assert added["warnings"] == [AWAY] and pair.there() == (["br-out", "br-v10"], ["br-out"])
    assert pair.notes(pair.hv1) == [
        "when hv2 last answered, it was told otherwise of br-v10. Bring the two together: hvm_network state=applied."
    ]
    assert pair.run("query")["warnings"] == ["hv2 cannot be asked: ssh to hv2 ended with 255. This is what hv1 knows."]
    pair.run("take_out", ["br-out"])
    pair.hv2.answers = True
    shown = {one["name"]: one["hosts"] for one in pair.run("query")["networks"]}
    assert shown == {"br-v10": {"hv1": [], "hv2": ["not declared there"]}, "br-out": {"hv1": ["not declared there"], "hv2": []}}
    applied = pair.run("reapply", at=pair.hv2)
    assert applied["changed"] and pair.there() == (["br-v10"], ["br-v10"])
    assert pair.notes(pair.hv1) == pair.notes(pair.hv2) == []
    assert not pair.run("reapply")["changed"]


def test_a_passive_host_alone_does_not_remove_what_vms_may_need(pair: Pair) -> None:
    pair.run("put", [V10])
    pair.hv1.answers = False
    with pytest.raises(Refused, match="hv1 does not answer, and its VMs may need what is to be removed"):
        pair.run("take_out", ["br-v10"], at=pair.hv2)
    pair.run("put", [OUT], at=pair.hv2)  # adding takes nothing from anybody
    pair.hv1.answers, pair.hv2.answers = True, False
    pair.run("take_out", ["br-v10"])
    assert pair.there() == ([], ["br-out", "br-v10"])


def test_a_failure_on_the_other_host_is_said_and_mended_later(pair: Pair) -> None:
    pair.machines["hv2"].fails = "master"
    with pytest.raises(HvmError, match=r"it is done on hv1, and not on hv2: .* failed") as caught:
        pair.run("put", [V10])
    assert caught.value.details["changed"]
    wrong = {"br-v10": ["br-v10 is switched off", "eno1.10 is switched off", "eno1.10 is not in br-v10"]}
    found = pair.run("summary", at=pair.hv2)["wrong"]
    assert {name: sorted(those) for name, those in found.items()} == {name: sorted(those) for name, those in wrong.items()}
    pair.machines["hv2"].fails = ""
    assert pair.run("reapply")["actions"]["hv2"][0].startswith("br-v10: mended (")
    assert pair.run("summary", at=pair.hv2) == pair.run("summary") == {"declared": {"br-v10": V10}, "wrong": {}, "notes": []}


def test_a_removal_waits_for_nobody_and_adding_goes_on_beside_a_backup(pair: Pair) -> None:
    pair.run("put", [OUT])
    with pair.on(pair.hv2):
        lock = operation.Lock()
        lock.take("backup", "bob")
    try:
        pair.run("put", [V10])
        with pytest.raises(HvmError, match="it is done on hv1, and not on hv2: another operation is running"):
            pair.run("take_out", ["br-out"])
    finally:
        lock.release()
    pair.run("reapply")
    assert pair.there() == (["br-v10"], ["br-v10"])


def test_a_removal_that_the_lock_refuses_has_not_begun(pair: Pair) -> None:
    pair.run("put", [OUT])
    with pair.on(pair.hv1), operation.Lock().held("sync", "bob"):
        with pytest.raises(HvmError, match="another operation is running"):
            pair.run("take_out", ["br-out"])
        (row,) = pair.run("query")["networks"]
    assert row["hosts"] == {"hv1": [], "hv2": []} and pair.run("summary")["declared"] == {"br-out": OUT}


@pytest.mark.parametrize("name", ["hv1", "hv2"])
def test_a_removal_that_did_not_end_is_shown_until_it_does(pair: Pair, name: str) -> None:
    pair.run("put", [OUT])
    machine = pair.machines[name]
    machine.fails = "del"
    with pytest.raises(HvmError, match="failed"):
        pair.run("take_out", ["br-out"])
    wrong = ["br-out is to be removed, and is still there"]
    at = getattr(pair, name)
    assert pair.run("summary", at=at)["wrong"] == {"br-out": wrong}
    (row,) = pair.run("query", at=at)["networks"]
    assert row["hosts"][name][-1:] == wrong
    machine.fails = ""
    assert "br-out: removed (eno2)" in pair.run("reapply", at=at)["actions"][name]
    assert pair.run("query")["networks"] == [] and pair.run("summary", at=at)["wrong"] == {}


def test_two_that_want_the_same_are_refused_also_when_each_host_was_told_one(pair: Pair) -> None:
    pair.hv2.answers = False
    pair.run("put", [V10])
    pair.hv1.answers, pair.hv2.answers = False, True
    pair.run("put", [{**V10, "name": "br-other"}], at=pair.hv2)
    pair.hv1.answers = True
    with pytest.raises(HvmError, match="br-other and br-v10 both want VLAN 10 of eno1 on hv1"):
        pair.run("reapply")
    pair.run("take_out", ["br-other"])
    assert pair.there() == (["br-v10"], ["br-v10"])


# The inventory's word


def test_the_inventory_on_both_hosts_one_after_the_other(pair: Pair) -> None:
    for host in (pair.hv1, pair.hv2):
        planned = pair.run("declare", [V10, OUT], at=host, check=True)
        done = pair.run("declare", [V10, OUT], at=host)
        assert planned["changed"] and done["actions"] == planned["actions"] == {
            host.name: ["br-out: made (eno2)", "br-v10: made (VLAN 10 of eno1)"]
        }
    assert pair.there() == (["br-out", "br-v10"], ["br-out", "br-v10"])
    assert pair.notes(pair.hv1) == pair.notes(pair.hv2) == []
    for host in (pair.hv1, pair.hv2):
        assert not pair.run("declare", [V10, OUT], at=host)["changed"]
    pair.run("put", [{"name": "br-mine"}])
    for host in (pair.hv1, pair.hv2):
        done = pair.run("declare", [V10], at=host)
        assert done["actions"] == {host.name: ["br-out: removed (eno2)"]}
        assert done["warnings"] == [
            (
                "networks that are not in the inventory stay: br-mine. Declare them in hvm_networks, or remove them "
                "(hvm_network state=absent)"
            )
        ]
    assert pair.there() == (["br-mine", "br-v10"], ["br-mine", "br-v10"])
    removed = pair.run("take_out", ["br-v10"])
    assert removed["warnings"] == [
        "in the inventory (hvm_networks) there is still br-v10: the next hvm.pair.install brings it back"
    ]
    for host in (pair.hv1, pair.hv2):
        assert pair.run("declare", [V10], at=host)["changed"]


def test_the_inventory_on_one_host_while_the_other_one_is_off(pair: Pair) -> None:
    pair.hv2.answers = False
    done = pair.run("declare", [V10])
    assert done["warnings"] == ["hv2 cannot be asked for its networks: ssh to hv2 ended with 255"]
    assert pair.notes(pair.hv1) == [
        "hv2 has not been asked yet whether it has br-v10. Bring the two together: hvm_network state=applied."
    ]
    pair.hv2.answers = True
    pair.run("declare", [V10], at=pair.hv2)
    assert pair.notes(pair.hv1) == pair.notes(pair.hv2) == []


def test_the_inventory_removes_on_the_passive_host_nothing_that_vms_need_on_the_active_one(pair: Pair) -> None:
    for host in (pair.hv1, pair.hv2):
        pair.run("declare", [V10], at=host)
    pair.users["hv1"] = {"br-v10": ["web"]}
    for host in (pair.hv2, pair.hv1):
        with pytest.raises(Refused, match="hv1: br-v10 cannot be removed: web need it"):
            pair.run("declare", [], at=host)
    pair.hv1.answers = False
    with pytest.raises(Refused, match="hv1 does not answer, and its VMs may need"):
        pair.run("declare", [], at=pair.hv2)
    assert pair.there() == (["br-v10"], ["br-v10"])
    pair.hv1.answers, pair.users["hv1"] = True, {}
    for host in (pair.hv2, pair.hv1):
        pair.run("declare", [], at=host)
    assert pair.there() == ([], [])


def test_the_other_way_to_have_the_files(pair: Pair) -> None:
    with pytest.raises(Refused, match="systemd-networkd does not run"):
        pair.run("declare", [V10], "networkd")


# What else


HAD = ("10.0.0.1/24", "192.0.2.10/32", "192.0.2.5/24")


def reconfigured(
    pair: Pair, patch: pytest.MonkeyPatch, *left: str, then: t.Callable[[], object] = lambda: None
) -> list[tuple[list[str], str]]:
    """Something takes all addresses but these off hv1 while a network is made there, and `then` happens.

    :return: what is put back.
    """
    machine = pair.machines["hv1"]
    machine.kernel.set("eno1", addresses=HAD)
    back: list[t.Any] = []
    patch.setattr(networks.address.shared_ip, "take_back", lambda *words: back.append(words))
    do = machine.do

    def did(step: Step) -> None:
        do(step)
        machine.kernel.set("eno1", addresses=left)
        then()

    patch.setattr(machine, "do", did)
    return back


def test_what_is_lost_on_the_way_in_is_said_and_the_shared_ip_is_put_back(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    back = reconfigured(pair, monkeypatch, "10.0.0.1/24")
    monkeypatch.setattr(networks.bridges, "SETTLE", 0.0)
    with pytest.raises(HvmError, match=r"this is gone: 192\.0\.2\.5/24 on eno1"):
        pair.run("put", [V10])
    assert back == [(["192.0.2.10/24"], "br0")] and pair.did[-1] == "hv1 announce"


def test_addresses_that_networkd_gives_anew_after_a_reload_are_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shared IP too: without the host's own address it would be added as the only one of its network."""
    back = reconfigured(pair, monkeypatch)
    kernel, slept = pair.machines["hv1"].kernel, []

    def sleep(seconds: float) -> None:
        assert back == []
        slept.append(seconds)
        if len(slept) == 3:
            kernel.set("eno1", addresses=("10.0.0.1/24", "192.0.2.5/24"))

    monkeypatch.setattr(networks.time, "sleep", sleep)
    pair.run("put", [V10])
    assert back == [(["192.0.2.10/24"], "br0")] and len(slept) == 3


@pytest.mark.parametrize("name", ["", "backup_secure", "sync", "migrate_secure", "migrate_unsecure", "hv stop", "hvm_shared_ip"])
def test_beside_what_moves_the_shared_ip_it_is_not_put_back(pair: Pair, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    back = reconfigured(pair, monkeypatch, "10.0.0.1/24", "192.0.2.5/24")
    with contextlib.ExitStack() as stack:
        if name:
            handle = stack.enter_context((pair.hv1.place / "run/lock").open("w"))
            fcntl.flock(handle, fcntl.LOCK_EX)
            handle.write(json.dumps({"operation": name, "owner": "bob", "since": "then", "pid": 0}))
            handle.flush()
        pair.run("put", [V10])
    assert len(back) == (name in ("", "backup_secure", "sync"))
    assert pair.there() == (["br-v10"], ["br-v10"])


def test_a_shared_ip_that_was_given_up_meanwhile_is_not_put_back(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """hv stop and sharedIP disable leave the role as it is, and hold no lock when they are over."""
    off = pair.hv1.place / "run" / networks.address.OFF
    back = reconfigured(pair, monkeypatch, "10.0.0.1/24", "192.0.2.5/24", then=lambda: off.write_text(""))
    pair.run("put", [V10])
    assert back == []


def test_on_a_host_that_is_not_active_any_more_it_is_not_put_back(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    then = [lambda: pair.be(pair.hv1, "PASSIVE", 4)]
    back = reconfigured(pair, monkeypatch, "10.0.0.1/24", "192.0.2.5/24", then=lambda: then and then.pop()())
    pair.run("put", [V10])
    assert back == []


def test_a_file_that_cannot_be_read_hides_nothing_else_of_the_status(pair: Pair) -> None:
    (pair.hv1.place / "networks.json").write_text("{")
    found = pair.run("summary")
    assert found["declared"] == found["wrong"] == {} and "it is no list of networks" in found["notes"][0]


def observed(host: str, bridges: list[str], told: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"host": host, "bridges": bridges, "networks": told}


@pytest.mark.parametrize(
    ("bridges", "declared", "wrong", "said"),
    [
        (["br-v10"], V10, [], ""),
        (["br-v10"], None, [], ""),
        (["br-v10"], None, ["br-v10 is to be removed, and is still there"], ""),
        ([], V10, ["br-v10 is not there"], "is not there, and web need it. Bring the two together: hvm_network state=applied."),
        (
            ["br-v10"],
            {**V10, "vlan": 11},
            [],
            "is declared as another network there, and web need it. Bring the two together: hvm_network state=applied.",
        ),
        (
            ["br-v10"],
            V10,
            ["eno1 is switched off"],
            "is not as it was declared (eno1 is switched off), and web need it. Mend it there: hvm_network state=applied.",
        ),
    ],
)
def test_a_migration_to_another_network_is_refused(
    bridges: list[str], declared: dict[str, t.Any] | None, wrong: list[str], said: str
) -> None:
    me = observed("hv1", ["br-v10"], {"declared": {"br-v10": V10}, "wrong": {}, "notes": []})
    there = {"declared": {"br-v10": declared} if declared else {}, "wrong": {"br-v10": wrong} if wrong else {}, "notes": []}
    found = guards._network("br-v10", "web", me, observed("hv2", bridges, there))
    assert [one.sentence() for one in found] == ([f"hv2: bridge br-v10 {said}"] if said else [])


def test_faults_are_named_by_the_network(pair: Pair) -> None:
    pair.run("put", [V10])
    del pair.machines["hv2"].kernel.links["eno1.10"]
    assert pair.run("query")["networks"][0]["hosts"] == {"hv1": [], "hv2": ["VLAN 10 of eno1 is not there"]}
