# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verbs on VMs, with libvirt's test driver."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, guest_agent, image
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.readiness import Wait
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.stopping import Limits
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import verbs
from ansible_collections.hvm.pair.plugins.module_utils._procedure.verbs import Options, apply, candidates, doubtful, needs

libvirt = pytest.importorskip("libvirt")

DOMAIN = """
<domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0">
  <name>{name}</name><description>{text}</description><memory>65536</memory><os><type arch="x86_64">hvm</type></os>
  <test:runstate>{state}</test:runstate>
</domain>
"""
RUNNING, PAUSED, OFF = 1, 3, 5
STATES = ("running", "frozen", "stopped", "other")


class World:
    """db (5) is off and must be ready first, web (10) and api (10) are off, lab (99) runs, ice (99) is frozen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
        vms = [
            ("db", "prio=5 autostart=yes ready=agent delay=3", OFF),
            ("web", "prio=10 autostart=yes delay=9", OFF),
            ("api", "prio=10", OFF),
            ("lab", "", RUNNING),
            ("ice", "", PAUSED),
        ]
        xml = "".join(DOMAIN.format(name=name, text=text, state=state) for name, text, state in vms)
        (tmp_path / "node.xml").write_text(f"<node>{xml}</node>")
        self.dir = str(tmp_path / "images")
        self.config = PairConfig("office", Host("hv1", "hv1"), Host("hv2", "hv2"), ("ssd/shared",), self.dir)
        self.uri = f"test://{tmp_path}/node.xml"
        self.conn = domains.connect(self.uri)
        self.running, self.role = True, "ACTIVE"
        self.extra_processes: list[str] = []
        self.waited: list[list[Wait]] = []
        self.clocks: list[list[str]] = []
        monkeypatch.setattr(verbs, "observe", lambda dummy: self.observe())
        monkeypatch.setattr(verbs, "qemu_processes", self.processes)
        monkeypatch.setattr(verbs.backup, "cure_before", lambda *dummy: [])
        monkeypatch.setattr(verbs.domains, "connect", self.again)
        monkeypatch.setattr(verbs.readiness, "wait_for", self.wait_for)
        monkeypatch.setattr(guest_agent, "set_clock", self.set_clock)
        monkeypatch.setattr(libvirt.virDomain, "shutdownFlags", lambda dom, dummy: dom.shutdown())

    def again(self) -> t.Any:
        """The same VMs: a second connection to this driver would have its own."""

        conn = self.conn

        class Kept:
            def __getattr__(self, name: str) -> t.Any:
                return (lambda: 0) if name == "close" else getattr(conn, name)

        return Kept()

    def processes(self) -> list[str]:
        return [dom.name() for dom in self.conn.listAllDomains() if dom.isActive()] + self.extra_processes

    def observe(self) -> dict[str, t.Any]:
        vms = domains.vms(self.conn, self.dir)
        saved = [name for name, vm in vms.items() if vm["saved"]]
        where = {"host": "hv1", "peer": "hv2", "role": {"now": self.role}, "hypervisor": {"running": self.running}}
        return {**where, "vms": vms, "saved": saved, "qemu": self.processes(), "lock": None, "pending": None}

    def wait_for(self, dummy: t.Any, found: list[Wait]) -> list[str]:
        self.waited.append(found)
        return [f"VM {one.name} is not ready" for one in found if one.ready]

    def set_clock(self, dummy: t.Any, names: t.Iterable[str]) -> list[str]:
        self.clocks.append(sorted(names))
        return [f"clock of {name}" for name in names]

    def apply(self, verb: str, *names: str, check: bool = False, options: Options | None = None) -> dict[str, t.Any]:
        return apply(self.config, verb, names, not names, options or Options(Limits(1, 1, 1)), check)

    def states(self) -> dict[str, str]:
        return {name: vm["state"] for name, vm in domains.vms(self.conn, self.dir).items()}


@pytest.fixture(name="world")
def _world(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> t.Iterator[World]:
    world = World(monkeypatch, tmp_path)
    yield world
    world.conn.close()


def test_all_that_start_by_themselves_by_priority_and_each_waits_for_those_before(world: World) -> None:
    done = world.apply("started")
    assert done["actions"] == ["db started", "web started"]
    assert done["vms"] == {"db": "running", "web": "running"}
    # none comes after web, so nobody waits for its delay
    assert world.waited == [[Wait("db", "agent", 120, 3)], []]
    assert done["warnings"] == ["VM db is not ready"]
    assert world.clocks == [[]]
    again = world.apply("started")
    assert not again["changed"] and again["actions"] == []


def test_each_vm_that_is_done_is_told_to_who_watches(world: World) -> None:
    progress = Progress()
    apply(world.config, "started", (), True, Options(Limits(1, 1, 1)), False, progress)
    assert [line["text"] for line in progress.lines] == ["db started", "web started"]


def test_what_goes_on_gets_its_clock_set_when_all_do(world: World) -> None:
    done = world.apply("unfrozen")
    assert (done["actions"], done["warnings"]) == (["ice goes on"], ["clock of ice"])
    world.apply("frozen", "ice")
    assert world.clocks == [["ice"], []]
    assert world.apply("started", "ice", "api")["warnings"] == ["clock of ice"]


def test_shutdown_says_how_each_ended_and_switching_off_too(world: World) -> None:
    done = world.apply("shutdown", "lab", "ice", "web")
    said = [text.split(" in ")[0] for text in sorted(done["actions"])]
    assert said == ["ice was shut down by ACPI", "lab was shut down by ACPI"]
    assert done["vms"] == {"ice": "stopped", "lab": "stopped", "web": "stopped"}
    assert world.clocks == [[]]
    assert not world.apply("shutdown")["changed"]
    world.apply("started", "api")
    assert world.apply("poweredoff")["actions"] == ["api was switched off"]


def test_check_mode_says_it_and_does_nothing(world: World) -> None:
    before = world.states()
    planned = world.apply("shutdown", check=True)
    assert planned["changed"] and planned["diff"]["after"]["lab"] == "stopped"
    assert world.states() == before


def _said(world: World, verb: str, *names: str, check: bool) -> str:
    before = world.states()
    with pytest.raises(HvmError) as caught:
        world.apply(verb, *names, check=check)
    assert world.states() == before and not caught.value.details["changed"]
    return str(caught.value)


def test_check_mode_refuses_what_the_run_refuses_because_of_a_state_image(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs.states, "written", lambda dummy: None)
    os.makedirs(world.dir)
    for name in ("db", "lab"):
        pathlib.Path(image.image_path(world.dir, name)).write_bytes(b"no image of libvirt")
    said = _said(world, "started", "db", "web", check=True)
    assert said.startswith("not all VMs are started: db: VM db has a saved state;") and "; not tried: web. " in said
    assert said == _said(world, "started", "db", "web", check=False)
    planned = world.apply("started", "web", check=True)  # the others are no reason
    assert planned["vms"] == {"web": "running"}
    said = _said(world, "restored", check=True)
    assert "db: restoring VM db is refused" in said and "lab: VM lab runs and yet has a state image" in said
    assert said == _said(world, "restored", check=False)


def test_libvirts_own_autostart_goes_with_a_start(world: World) -> None:
    world.conn.lookupByName("lab").setAutostart(1)
    assert world.apply("started", "api")["actions"] == ["api started", "libvirt's own autostart of lab switched off"]
    assert not world.conn.lookupByName("lab").autostart()


def test_a_vm_with_a_process_is_not_stopped_whatever_libvirt_says(world: World) -> None:
    world.extra_processes = ["web"]
    with pytest.raises(Refused, match="VM web has a process, although libvirt does not call it running"):
        world.apply("started")
    assert world.states()["db"] == "stopped"
    with pytest.raises(HvmError, match="VM web cannot be proven stopped"):
        world.apply("poweredoff", "web")
    assert world.apply("frozen", "web")["changed"] is False


def test_a_backup_that_one_vm_keeps_from_ending_does_not_keep_that_vm_from_being_switched_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hung(*dummy: t.Any) -> list[str]:
        raise HvmError("a backup did not end, and the QEMU of VM web does not answer", "hvm_vm state=poweredoff ends it")

    monkeypatch.setattr(verbs.backup, "cure_before", hung)
    with pytest.raises(HvmError, match="does not answer"):
        world.apply("started", "db")
    assert world.apply("poweredoff", "web")["vms"]["web"] == "stopped"


def test_one_that_ended_during_the_look_is_no_reason_to_refuse(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = world.observe()
    seen["qemu"].append("web")
    monkeypatch.setattr(verbs, "observe", lambda dummy: seen)
    assert "web started" in world.apply("started")["actions"]


def test_an_error_tells_what_was_done_and_what_was_warned_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    create = libvirt.virDomain.create

    def broken(dom: t.Any) -> None:
        if dom.name() == "web":
            raise HvmError("no memory")
        create(dom)

    monkeypatch.setattr(libvirt.virDomain, "create", broken)
    with pytest.raises(HvmError, match="not all VMs are started: web: no memory") as caught:
        world.apply("started", "db", "web", "lab")
    assert caught.value.details["actions"] == ["db started"]
    assert caught.value.details["warnings"] == ["VM db is not ready"]
    assert caught.value.details["vms"] == {"db": "running", "lab": "running", "web": "stopped"}


def test_a_verb_that_ends_early_names_whom_it_did_not_try_and_on_a_bad_night_it_does_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(dom: t.Any) -> t.NoReturn:
        raise HvmError("no memory")

    monkeypatch.setattr(libvirt.virDomain, "create", broken)
    with pytest.raises(HvmError, match=r"are started: db: no memory; not tried: web\. Mend that, then run this again"):
        world.apply("started")
    destroy = verbs.stopping.poweroff

    def hung(conn: t.Any, name: str, *words: t.Any, **more: t.Any) -> t.Any:
        if name == "lab":
            raise HvmError("it hangs")
        return destroy(conn, name, *words, **more)

    world.conn.lookupByName("db").createWithFlags(0)
    monkeypatch.setitem(domains.VERBS, "poweredoff", (hung, True))
    with pytest.raises(HvmError, match=r"not all VMs are poweredoff: lab: it hangs\. Mend that"):
        world.apply("poweredoff")
    assert (world.states()["db"], world.states()["lab"]) == ("stopped", "running")


def test_refusals(world: World) -> None:
    for check in (True, False):
        with pytest.raises(HvmError, match=r"parallel is 0\. It is 1 or more"):
            world.apply("started", options=Options(parallel=0), check=check)
    with pytest.raises(Refused, match="there is no VM wbe"):
        world.apply("started", "wbe")
    with pytest.raises(HvmError, match="no VM is named"):
        apply(world.config, "started", [], False, Options(), False)
    world.running = False
    with pytest.raises(HvmError, match="the hypervisor is stopped"):
        world.apply("started")
    world.role = "PASSIVE"
    with pytest.raises(Refused, match="this host is PASSIVE, and only the ACTIVE one can run VMs"):
        world.apply("started")


VM = st.fixed_dictionaries({"state": st.sampled_from(STATES), "saved": st.booleans(), "autostart": st.booleans()})


@given(st.sampled_from(sorted(domains.VERBS)), VM, st.booleans())
def test_a_verb_has_nothing_to_do_where_its_result_is_there(verb: str, vm: dict[str, t.Any], process: bool) -> None:
    todo = needs(verb, vm, process)
    if verb == "restored":
        assert todo == vm["saved"]
    elif vm["state"] == verbs.AFTER[verb] and not process:
        assert not todo
    if verb in ("shutdown", "poweredoff") and process:
        assert todo  # whatever libvirt says
    if verb == "frozen":
        assert todo == (vm["state"] == "running")


@given(st.sampled_from(sorted(domains.VERBS)), st.dictionaries(st.text("ab", max_size=2), VM), st.sets(st.text("ab", max_size=2)))
def test_nothing_that_has_a_process_is_started_a_second_time(verb: str, infos: dict[str, t.Any], processes: set[str]) -> None:
    found = {finding.what.split()[1] for finding in doubtful(verb, infos, filter(None, infos), processes)}
    stopped = {name for name in processes & set(infos) if name and infos[name]["state"] == "stopped"}
    assert found == (stopped if verb in ("started", "restored") else set())


def test_what_all_means() -> None:
    infos = {"a": {"autostart": True}, "b": {"autostart": False}}
    assert candidates("started", infos, ["c"]) == ["a"]
    assert candidates("restored", infos, ["c"]) == ["c"]
    assert candidates("shutdown", infos, ["c"]) == ["a", "b"]


def test_nothing_is_started_while_a_migration_moves_all_of_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs.operation, "others_operation", lambda: "migrate_secure")
    before = world.states()
    for check in (False, True):
        with pytest.raises(Refused, match="another operation is running: migrate_secure"):
            world.apply("started", "api", check=check)
    assert world.states() == before
    assert world.apply("poweredoff", "lab")["changed"]


def test_a_vm_that_may_be_the_other_hosts_is_not_let_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its move was cut off: QEMU stands on both hosts, and would go on on either."""
    entry = {"operation": "migrate_unsecure", "started": "then", "step": "move", "begun": ["ice"], "moved": []}
    look = world.observe
    monkeypatch.setattr(verbs, "observe", lambda dummy: {**look(), "pending": entry})
    for names in (["ice"], []):
        with pytest.raises(HvmError, match="VM ice stands still in the midst of its move, and may be the other host's"):
            apply(world.config, "unfrozen", names, not names, Options(), True)
    monkeypatch.setattr(verbs, "observe", lambda dummy: {**look(), "pending": {**entry, "begun": []}})
    assert apply(world.config, "unfrozen", ["ice"], False, Options(), True)["vms"] == {"ice": "running"}
    monkeypatch.setattr(verbs, "observe", lambda dummy: {**look(), "pending": entry})
    assert apply(world.config, "poweredoff", ["ice"], False, Options(), True)["changed"]  # ending one is always allowed
