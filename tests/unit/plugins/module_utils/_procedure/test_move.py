# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`migrate unsecure` on a pair of fakes: there, back, and out of every midst of it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import sys
import tarfile
import threading
import time
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import moving as migration
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import overlay, variables
from ansible_collections.hvm.pair.plugins.module_utils._pair import advice, guards, modes, moving
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import PeerLost
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    arrive,
    cancelling,
    failover,
    goback,
    move,
    overlays,
    passage,
    rejoin,
)

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fake_moving import IMAGES, SEED, SPARSE, STRIKES, Error, Moving, Off, each_strike, ended, migrate, pair, recovered
from fake_pair import FROZEN, ROOTS, RUNNING, STOPPED, Killed

#: VMs that nobody lets run: mail is off; of the others no journal said that they ran.
OFF, ANY = ("mail",), ("db", "mail", "web")


@pytest.fixture(name="lab")
def _lab(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Moving:
    lab = Moving(tmp_path, monkeypatch)
    pair(lab)
    return lab


def fails(text: str = "no space left on device") -> t.Callable[[], None]:
    """As an effect's fault: libvirt says so."""

    def fault() -> None:
        raise Error(text)

    return fault


def on(lab: Moving, effect: str, act: t.Callable[[], object]) -> None:
    """At that effect, once."""

    def fault() -> None:
        del lab.faults[effect]
        act()

    lab.faults[effect] = fault


def dies() -> None:
    """The agent of the other host."""
    raise Off


# ---- there


def test_the_vms_and_the_role_move(lab: Moving) -> None:
    done = migrate(lab)
    lab.whole(lab.hv2, OFF)
    assert (done["changed"], done["active"], lab.hv2.role()) == (True, "hv2", ("ACTIVE", 4))
    assert {vm: one["mode"] for vm, one in done["vms"].items()} == {"db": "live", "web": "live"}
    assert all(one["interruption"] >= 0 for one in done["vms"].values())
    moved = [one for one in lab.did if one.split()[1] in ("finish", "push")]
    assert moved == ["hv1 finish db", "hv1 finish web"], "by priority"


def test_a_vm_goes_on_there_after_its_overlay_is_on_disk_and_the_journal_says_that_it_is_there(lab: Moving) -> None:
    migrate(lab)
    first = lab.did.index("hv1 confirm db")
    assert lab.did[first + 1 : first + 5] == ["hv2 fsync", "hv2 fsync", "hv2 journal migrate_unsecure: arrived", "hv2 resume db"]


def test_a_pool_that_is_stalled_there_has_time_and_what_goes_on_there_is_left_alone(
    lab: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its VM would start here, and be that host's as soon as the pool goes on. Those that came before run on there."""
    lost = PeerLost("hv2 has not answered to 'arrived'")
    asked: list[tuple[str, float]] = []
    call = move.Peer.call

    def stalled(peer: t.Any, op: str, timeout: float = 0, *more: t.Any, **arguments: t.Any) -> t.Any:
        if op in ("arrived", "drop") and arguments["vm"] == "web":
            asked.append((op, timeout))
            if not peer.agent._turn.locked():
                peer.agent._turn.acquire()
                raise lost
        return call(peer, op, timeout, *more, **arguments)

    monkeypatch.setattr(move.Peer, "call", stalled)
    with pytest.raises(HvmError, match=r"db: it is still at.*web: it is still at"):
        migrate(lab)
    assert [op for op, dummy in asked] == ["arrived", "arrived", "drop"]
    assert all(timeout >= goback.LONG for op, timeout in asked if op == "arrived")
    assert (lab.hv1.vms["web"]["state"], lab.hv2.vms["web"]["state"]) == (STOPPED, FROZEN)
    assert (lab.hv1.vms["db"]["state"], lab.hv2.vms["db"]["state"]) == (STOPPED, RUNNING)
    lab.again()
    lab.whole(ended(lab), OFF)


def test_nobody_is_active_between_the_two(lab: Moving) -> None:
    migrate(lab)
    assert lab.did.index("hv1 record PASSIVE 3") < lab.did.index("hv2 record ACTIVE 4")
    assert lab.did.index("hv1 address off") < lab.did.index("hv2 address on")
    assert lab.did.index("hv2 record ACTIVE 4") < lab.did.index("hv2 commit db vda")


def test_there_and_back_again(lab: Moving) -> None:
    migrate(lab)
    lab.again()
    migrate(lab, lab.hv2)
    lab.whole(lab.hv1, OFF)
    lab.again()
    migrate(lab)
    lab.whole(lab.hv2, OFF)


def test_check_mode_has_the_plan_and_does_nothing(lab: Moving) -> None:
    with lab.on(lab.hv1) as at:
        plan = move.migrate(at.config, Progress(), check=True)
    assert lab.effects() == [] and plan["changed"] and set(plan["vms"]) == {"db", "web"}
    assert any("db" in line for line in plan["plan"])


# ---- measured beforehand

MIB = 1 << 20


def checked(lab: Moving, **options: t.Any) -> dict[str, t.Any]:
    with lab.on(lab.hv1) as at:
        return move.migrate(at.config, Progress(), check=True, options=move.Options(**options))


def test_check_mode_says_how_long_each_takes_and_why(lab: Moving) -> None:
    lab.link, lab.dirty = 128 * MIB, {"db": 4, "web": 500}
    plan = checked(lab)
    assert lab.effects() == [] and plan["measured"] == {"link": 128 * MIB, "dirty": {"db": 4 * MIB, "web": 500 * MIB}}
    rates = "of 1.0 GiB of memory {} MiB change in a second, and 128.0 MiB can go over"
    late = rates.format("500.0") + ": it would not end by itself"
    assert plan["vms"] == {
        "db": {"mode": "live", "why": rates.format("4.0"), "expected_seconds": 8.258, "expected_interruption": 0.8},
        "web": {"mode": "live", "why": late, "expected_seconds": 300.0, "expected_interruption": 8.5},
    }
    assert any(line.startswith("db: live, in about 8.3 s, about 0.8 s of interruption: of 1.0 GiB") for line in plan["plan"])
    assert any(line.startswith("web: live, in about 300 s, at most 8.5 s of interruption; slowed") for line in plan["plan"])


def test_a_vm_that_cannot_be_measured_is_no_error(lab: Moving) -> None:
    lab.link, lab.dirty = 128 * MIB, {"db": 0}
    plan = checked(lab)
    assert plan["measured"]["dirty"] == {"db": 0, "web": None}
    assert plan["vms"]["web"]["why"].endswith("how fast it changes is not known")
    migrate(lab)
    lab.whole(lab.hv2, OFF)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fallback": modes.REFUSE}, "VM web cannot move while it runs: of 1.0 GiB of memory 500.0 MiB change in a second"),
        ({"max_pause": 5}, "VM web would stand still for 8.5 s \\(live\\), and 5 s are allowed"),
    ],
)
def test_what_was_measured_is_decided_by_before_anything_is_changed(lab: Moving, options: dict[str, t.Any], said: str) -> None:
    lab.link, lab.dirty = 128 * MIB, {"db": 0, "web": 500}
    with pytest.raises(Refused, match=said) as raised:
        migrate(lab, policy=modes.Policy(**options))
    assert len(raised.value.findings) == 1 and lab.effects() == []
    lab.dirty["web"] = 1
    migrate(lab, policy=modes.Policy(**options))
    lab.whole(lab.hv2, OFF)


def test_one_that_changes_too_fast_is_saved_where_it_is_wished_so(lab: Moving) -> None:
    lab.link, lab.dirty = 128 * MIB, {"db": 0, "web": 500}
    done = migrate(lab, policy=modes.Policy(fallback=modes.SECURE))
    lab.whole(lab.hv2, OFF)
    assert {vm: one["mode"] for vm, one in done["vms"].items()} == {"db": "live", "web": "secure"}
    assert done["measured"] == {"link": 128 * MIB, "dirty": {"db": 0, "web": 500 * MIB}}


def test_it_is_measured_once_and_before_anything_is_changed(lab: Moving) -> None:
    on(lab, "hv1 sync", lambda: lab.asked.append("the first change"))
    migrate(lab)
    assert (sorted(lab.asked[:3]), lab.asked[3:]) == (["db", "link", "web"], ["the first change"])


def test_measuring_disturbs_neither_a_frozen_vm_nor_one_that_does_not_move_live(lab: Moving) -> None:
    lab.hv1.vms["web"]["state"] = FROZEN
    checked(lab)
    checked(lab, policy=modes.Policy(wish=modes.DIRECT))
    assert lab.asked == ["db", "link", "link"]


def test_a_rate_of_the_operators_is_what_memory_travels_with_and_the_link_is_left_alone(lab: Moving) -> None:
    lab.link, lab.dirty = 128 * MIB, {"db": 0, "web": 30}
    plan = checked(lab, rate=32)
    assert "link" not in lab.asked and plan["measured"]["link"] == 0
    assert plan["vms"]["db"]["expected_seconds"] == 32.0
    assert "it would not end by itself" in plan["vms"]["web"]["why"]


def test_what_is_refused_anyway_is_not_measured(lab: Moving) -> None:
    (lab.hv2.place / "overlays/old.vda.qcow2").touch()
    with pytest.raises(Refused, match="overlays of an earlier migrate_unsecure are left"):
        checked(lab)
    assert lab.asked == []


def test_without_a_vm_that_runs_nothing_is_measured(lab: Moving) -> None:
    for name in ("db", "web"):
        lab.end(lab.hv1, name)
    checked(lab)
    assert lab.asked == []


@pytest.mark.parametrize("options", [{"rate": -1}, {"policy": modes.Policy(limit=-1)}, {"policy": modes.Policy(max_pause=-1)}])
def test_less_than_nothing_is_no_limit(lab: Moving, options: dict[str, t.Any]) -> None:
    with pytest.raises(HvmError, match=r"hvm_move_[a-z_]+ is less than 0"):
        migrate(lab, **options)
    assert lab.did == []


def test_a_frozen_vm_stays_frozen(lab: Moving) -> None:
    lab.hv1.vms["web"]["state"] = FROZEN
    migrate(lab)
    lab.whole(lab.hv2, OFF, frozen=["web"])
    assert not any(one.endswith(("suspend web", "resume web")) for one in lab.did)


def test_a_vm_that_cannot_move_is_saved_and_restored_there(lab: Moving) -> None:
    lab.hv1.vms["web"]["move"] = modes.SECURE
    done = migrate(lab)
    lab.whole(lab.hv2, OFF)
    assert done["vms"]["web"]["mode"] == modes.SECURE
    assert lab.did.index("hv1 save web") < lab.did.index("hv1 snapshot db")
    assert lab.did.index("hv2 record ACTIVE 4") < lab.did.index("hv2 bring web")


def test_its_image_may_be_on_a_dataset_that_is_shut_while_the_others_move(lab: Moving) -> None:
    lab.states_on = IMAGES
    lab.hv1.vms["web"]["move"] = modes.SECURE
    migrate(lab)
    lab.whole(lab.hv2, OFF)


def test_a_vm_is_paused_first_when_it_is_wished_so(lab: Moving) -> None:
    migrate(lab, policy=modes.Policy(wish=modes.DIRECT))
    lab.whole(lab.hv2, OFF)
    assert lab.did[lab.did.index("hv1 migrate db") - 1] == "hv1 suspend db"


def test_without_a_vm_only_the_role_moves(lab: Moving) -> None:
    for name in ("db", "web"):
        lab.end(lab.hv1, name)
    migrate(lab)
    lab.whole(lab.hv2, ANY)


def test_a_vm_that_ends_before_its_turn_comes_with_what_it_has_written(lab: Moving) -> None:
    on(lab, "hv1 migrate db", lambda: lab.end(lab.hv1, "web"))
    migrate(lab)
    assert lab.hv2.vms["web"]["state"] == STOPPED
    lab.whole(lab.hv2, [*OFF, "web"])
    assert "hv2 qemu-img commit web.vda.qcow2" in lab.did


def test_a_vm_that_ends_while_it_moves_comes_with_what_it_has_written(lab: Moving) -> None:
    def ends() -> None:
        lab.end(lab.hv1, "db")
        raise Error("domain is not running")

    on(lab, "hv1 copied db", ends)
    done = migrate(lab)
    lab.whole(lab.hv2, [*OFF, "db"])
    assert "hv2 overlay db.vda.qcow2" in lab.did[lab.did.index("hv1 copied db") :], "not over what had come of it"
    assert lab.hv2.vms["db"]["state"] == STOPPED and done["vms"]["db"]["mode"] == "live"


def test_a_vm_that_ends_after_it_has_moved_stays_off_there(lab: Moving) -> None:
    on(lab, "hv1 migrate web", lambda: lab.end(lab.hv2, "db"))
    migrate(lab)
    assert lab.hv2.vms["db"]["state"] == STOPPED
    lab.whole(lab.hv2, [*OFF, "db"])


def test_an_answer_that_is_lost_is_asked_for(lab: Moving) -> None:
    lab.loses_answer = True
    migrate(lab)
    lab.whole(lab.hv2, OFF)
    assert "hv2 resume db" in lab.did and not any(one.endswith("start db") for one in lab.did)


@pytest.mark.parametrize("name", ["db", "web"])
def test_one_that_has_not_ended_here_does_not_go_on_there(lab: Moving, name: str) -> None:
    """libvirt died before it could end it, with others still to move, and after the last."""
    lab.unconfirmed.add(name)
    with pytest.raises(HvmError, match=rf"VM {name} does not go on on hv2: its QEMU on hv1 has not ended; so .* undone"):
        migrate(lab)
    lab.whole(lab.hv1, OFF)
    assert f"hv2 resume {name}" not in lab.did and not any(one.endswith((" bring db", " start db")) for one in lab.did)


def test_one_that_has_not_ended_here_is_sent_again(lab: Moving) -> None:
    lab.unconfirmed.add("web")
    with pytest.raises(HvmError, match=r"VM web does not go on on hv2: its QEMU on hv1 has not ended.*; db stay on hv2"):
        migrate(lab, stay=True)
    assert (lab.hv1.vms["web"]["state"], lab.hv2.vms["web"]["state"]) == (RUNNING, FROZEN)
    lab.again()
    migrate(lab)
    lab.whole(lab.hv2, OFF)


def test_one_that_is_about_to_end_here_is_waited_for(lab: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(move, "ENDS_WITHIN", 10.0)
    looks = iter([["db"], ["db"]])
    monkeypatch.setattr(move, "qemu_processes", lambda: next(looks, []))
    migrate(lab)
    lab.whole(lab.hv2, OFF)
    assert not list(looks)


def test_one_that_has_ended_here_starts_again_when_nobody_knows_why_any_more(lab: Moving) -> None:
    on(lab, "hv2 fsync", lambda: lab.libvirt_ends(lab.hv1) or fails()())
    with pytest.raises(HvmError, match="undone"):
        migrate(lab)
    lab.whole(lab.hv1, OFF)
    assert lab.did.index("hv2 destroy db") < lab.did.index("hv1 start db")


def test_one_that_has_ended_by_itself_stays_off_when_all_come_back(lab: Moving) -> None:
    on(lab, "hv1 migrate db", lambda: lab.end(lab.hv1, "web"))
    on(lab, "hv1 push web.vdb.qcow2", fails())
    with pytest.raises(HvmError, match="undone"):
        migrate(lab)
    assert lab.hv1.vms["web"]["state"] == STOPPED
    lab.whole(lab.hv1, [*OFF, "web"])


def test_a_vm_that_was_started_or_ended_since_it_was_decided_about_stops_it(lab: Moving) -> None:
    on(lab, "hv1 sync", lambda: lab.start(lab.hv1, "mail"))
    with pytest.raises(HvmError, match="mail: started, ended, frozen or unfrozen since the migration had begun"):
        migrate(lab)
    lab.whole(lab.hv1)


def becomes(lab: Moving, host: t.Any, name: str, state: str) -> t.Callable[[], None]:
    """By somebody's hand."""
    return lambda: host.vms[name].update(state=state)


@pytest.mark.parametrize(("before", "after"), [(FROZEN, RUNNING), (RUNNING, FROZEN)])
def test_so_does_one_that_was_frozen_or_unfrozen(lab: Moving, before: str, after: str) -> None:
    lab.hv1.vms["web"]["state"] = before
    on(lab, "hv1 sync", becomes(lab, lab.hv1, "web", after))
    with pytest.raises(HvmError, match="web: started, ended, frozen or unfrozen since the migration had begun"):
        migrate(lab)
    lab.whole(lab.hv1, OFF, frozen=["web"] if after == FROZEN else ())


@pytest.mark.parametrize(("before", "after"), [(FROZEN, RUNNING), (RUNNING, FROZEN)])
def test_what_somebody_did_before_its_turn_counts_there(lab: Moving, before: str, after: str) -> None:
    lab.hv1.vms["web"]["state"] = before
    on(lab, "hv1 migrate db", becomes(lab, lab.hv1, "web", after))
    done = migrate(lab)
    lab.whole(lab.hv2, OFF, frozen=["web"] if after == FROZEN else ())
    assert ("interruption" in done["vms"]["web"]) is (after == RUNNING)


def test_one_that_was_frozen_before_its_turn_stays_so_when_its_turn_does_not_come(lab: Moving) -> None:
    lab.faults["hv1 migrate db"] = lambda: becomes(lab, lab.hv1, "web", FROZEN)() or fails()()
    with pytest.raises(HvmError, match="undone"):
        migrate(lab)
    lab.whole(lab.hv1, OFF, frozen=["web"])


@pytest.mark.parametrize(("before", "after"), [(FROZEN, RUNNING), (RUNNING, FROZEN)])
def test_what_somebody_did_there_counts_when_it_comes_back(lab: Moving, before: str, after: str) -> None:
    lab.hv1.vms["db"]["state"] = before
    on(lab, "hv1 copied web", lambda: becomes(lab, lab.hv2, "db", after)() or fails()())
    with pytest.raises(HvmError, match="undone"):
        migrate(lab)
    lab.whole(lab.hv1, OFF, frozen=["db"] if after == FROZEN else ())


def with_variables(lab: Moving) -> None:
    """web has variables of its firmware; what it has written there since the set is "newest"."""
    lab.hv1.vms["web"]["nvram"] = lab.hv2.vms["web"]["nvram"] = "web.fd"
    for host in (lab.hv1, lab.hv2):
        (host.place / "nvram/web.fd").write_text("of the set")
    on(lab, "hv1 journal migrate_unsecure: arrive there", lambda: lab.set_variables(lab.hv1, "web", "newest"))


def test_the_variables_of_a_vm_that_ends_before_its_turn_come_too(lab: Moving) -> None:
    with_variables(lab)
    on(lab, "hv1 migrate db", lambda: lab.end(lab.hv1, "web"))
    migrate(lab)
    assert (lab.hv2.place / "nvram/web.fd").read_text() == "newest"
    lab.whole(lab.hv2, [*OFF, "web"])


def test_those_of_a_vm_that_comes_back_as_files_come_back(lab: Moving) -> None:
    with_variables(lab)
    on(lab, "hv1 migrate db", lambda: lab.end(lab.hv1, "web"))
    on(lab, "hv1 systemctl stop", fails("busy"))
    on(lab, "hv1 address off", lambda: (lab.hv2.place / "nvram/web.fd").write_text("written there"))
    with pytest.raises(HvmError):
        migrate(lab)
    assert (lab.hv1.place / "nvram/web.fd").read_text() == "written there"
    lab.whole(lab.hv1, [*OFF, "web"])


def test_where_nothing_of_libvirts_is_mounted_they_are_read_all_the_same(
    lab: Moving, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That host has rebooted."""
    stays(lab)
    elsewhere = tmp_path / "mounted/qemu/nvram"
    elsewhere.mkdir(parents=True)
    (elsewhere / "db.fd").write_text("written there")
    lab.end(lab.hv2, "db")
    looked: list[str] = []

    def mounted(name: str) -> t.Any:
        looked.append(name)
        return contextlib.nullcontext(str(tmp_path / ("then" if "@" in name else "mounted")))

    monkeypatch.setattr(arrive.content, "mounted", mounted)
    monkeypatch.setattr(variables, "NVRAM", "/var/lib/libvirt/qemu/nvram")
    with lab.on(lab.hv2) as at:
        libvirts = ROOTS[1]
        at.tree[libvirts]["props"].update(mounted=["no", "-"], canmount=["noauto", "local"])
        assert arrive.pack(at.config, "db", variables.Own("db.fd")) == {"packed": True}
        assert looked == [libvirts, f"{libvirts}@{lab.hv2.journal()['set']}"]
        with pytest.raises(HvmError, match="VM web has not arrived here, or runs"):
            arrive.pack(at.config, "web", variables.Own("web.fd"))
    with tarfile.open(lab.hv2.place / "overlays/db.rest") as made:
        assert made.getnames() == ["nvram"]


@pytest.mark.parametrize("strike", STRIKES)
def test_the_variables_of_a_vm_are_the_newest_whatever_ends_its_move(strike: str) -> None:
    def prepare(lab: Moving) -> None:
        pair(lab)
        with_variables(lab)

    for lab, dummy in each_strike(strike, prepare, migrate, every=2):
        was_set = not lab.faults
        lab.faults.clear()
        active = ended(lab)
        lab.whole(active, OFF if lab.pending else ANY)
        assert not was_set or (active.place / "nvram/web.fd").read_text() == "newest"


def test_variables_that_are_on_disk_on_the_source_only_stay(lab: Moving) -> None:
    """Of a frozen VM no file there has them until somebody lets it go on."""
    with_variables(lab)
    on(lab, "hv1 journal migrate_unsecure: move", lambda: lab.hv1.vms["web"].update(state=FROZEN))
    on(lab, "hv1 systemctl stop", lambda: lab.power_cut(lab.hv2) or fails("busy")())
    with pytest.raises(HvmError):
        migrate(lab)
    lab.again()
    lab.whole(ended(lab), OFF)
    assert (lab.hv1.place / "nvram/web.fd").read_text() == "newest"


def test_variables_are_brought_to_disk_as_soon_as_the_vm_goes_on_and_count_for_no_interruption(lab: Moving) -> None:
    with_variables(lab)
    on(lab, "hv2 fsync web.fd", lambda: time.sleep(0.3))
    on(lab, "hv1 address off", lambda: lab.set_variables(lab.hv2, "web", "written there"))
    on(lab, "hv1 systemctl stop", fails("busy"))
    said: list[str] = []
    with pytest.raises(HvmError, match="undone"), lab.on(lab.hv1) as at:
        move.migrate(at.config, types.SimpleNamespace(say=lambda text, **dummy: said.append(text)))  # type: ignore[arg-type]
    after = [lab.did[number + 1] for number, one in enumerate(lab.did) if one.endswith(" resume web")]
    assert [one for one in after if one.endswith("fsync web.fd")] == ["hv2 fsync web.fd", "hv1 fsync web.fd"]
    stood = next(text for text in said if text.startswith("web has moved"))
    assert float(stood.rpartition(" for ")[2].partition(" s")[0].split()[-1]) < 0.3, stood
    assert (lab.hv1.place / "nvram/web.fd").read_text() == "written there"
    lab.whole(lab.hv1, OFF)


def new_file(host: t.Any) -> pathlib.Path:
    """A disk image that somebody has put beside libvirt's own files."""
    path: pathlib.Path = host.place / "now/images/debian.iso"
    path.parent.mkdir(parents=True)
    path.write_text("iso")
    return path


KEPT = "/var/lib/libvirt/images/debian.iso: changed on"


def test_what_somebody_has_changed_on_the_source_meanwhile_is_kept_and_named(lab: Moving) -> None:
    on(lab, "hv1 migrate web", lambda: new_file(lab.hv1))
    done = migrate(lab)
    (kept,) = (lab.hv1.place / "overlays").glob("kept-*/var/lib/libvirt/images/debian.iso")
    assert any(text.startswith(f"{KEPT} hv1") for text in done["warnings"]) and kept.read_text() == "iso"


def test_what_somebody_has_changed_on_the_target_is_kept_and_named_when_all_come_back(lab: Moving) -> None:
    stays(lab)
    new_file(lab.hv2)
    done = recovered(lab, lab.hv1)
    (kept,) = (lab.hv2.place / "overlays").glob("kept-*/var/lib/libvirt/images/debian.iso")
    assert any(text.startswith(f"hv2: {KEPT} hv2") for text in done["warnings"]) and kept.read_text() == "iso"


# ---- it fails


@pytest.mark.parametrize(
    "effect", ["hv1 snapshot web", "hv2 overlay web.vda.qcow2", "hv1 copied db", "hv1 copied web", "hv2 fsync", "hv2 resume db"]
)
@pytest.mark.parametrize("wish", [modes.LIVE, modes.DIRECT])
def test_what_fails_is_undone_and_every_vm_is_back(lab: Moving, effect: str, wish: str) -> None:
    on(lab, effect, fails())
    with pytest.raises(HvmError, match="so the migration was undone, and hv1 goes on as the ACTIVE host") as raised:
        migrate(lab, policy=modes.Policy(wish=wish))
    assert "unexpected" not in str(raised.value)
    lab.whole(lab.hv1, OFF)
    assert not any(one.endswith((" bring db", " start db", " start web")) for one in lab.did), "with their RAM"


@pytest.mark.parametrize("cancelled", [False, True])
def test_one_that_waits_for_a_pool_which_takes_nothing_goes_on_here(
    lab: Moving, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    monkeypatch.setattr(migration, "STALL", 0.3 + 60 * cancelled)
    monkeypatch.setattr(migration, "ENDING", 0.3)
    lab.stuck.add("web")
    if cancelled:
        cancels(lab, "hv1 migrate web", cancelling.BACK)
    said = "told to stop, and had not done so" if cancelled else "nothing of it went over for 0.3 s (1.0 MiB of 1.0 GiB of memory"
    with pytest.raises(HvmError, match=f"{re.escape(said)}.*so the migration was undone.*zpool status"):
        migrate(lab)
    lab.whole(lab.hv1, OFF)


@pytest.mark.parametrize("cancelled", [False, True])
def test_one_that_is_off_and_does_not_get_to_the_disks_there_is_waited_for_with_an_end(
    lab: Moving, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    monkeypatch.setattr(passage, "GIVE_UP", 0.3 + 60 * cancelled)
    on(lab, "hv1 confirm db", lambda: lab.end(lab.hv1, "web"))
    lab.unkept.add("web.vda.qcow2")
    said = "no byte of web.vda.qcow2 has moved for 0 s: it waits for hv2"
    if cancelled:
        cancels(lab, "hv1 push web.vda.qcow2", cancelling.BACK)
        said = "somebody has cancelled it while web moved"
    with pytest.raises(HvmError, match=f"{said}; so the migration was undone"):
        migrate(lab)
    lab.whole(lab.hv1, [*OFF, "web"])


def test_one_that_is_paused_for_a_host_that_does_not_make_ready_goes_on(lab: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "STALL", 0.3)
    monkeypatch.setattr(migration, "ENDING", 0.3)
    lab.unready.add("web")
    said = re.escape("nothing of it went over for 0.3 s (the other host makes ready for it)")
    with pytest.raises(HvmError, match=f"{said}.*so the migration was undone.*zpool status"):
        migrate(lab, policy=modes.Policy(wish=modes.DIRECT))
    lab.whole(lab.hv1, OFF)


def test_on_its_way_back_it_goes_on_where_it_is(lab: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "STALL", 0.3)
    on(lab, "hv1 copied web", lambda: lab.stuck.add("db") or fails()())
    with pytest.raises(HvmError, match=r"db: VM db did not move, and its connections were closed: nothing of it went over"):
        migrate(lab)
    assert lab.hv2.vms["db"]["state"] == RUNNING
    lab.stuck.clear()
    lab.again()
    lab.whole(ended(lab), OFF)


def test_libvirts_own_connection_ends_after_those_of_a_vm(lab: Moving) -> None:
    with lab.on(lab.hv1), passage.Passage(lab.hv1.config, None) as way:  # type: ignore[arg-type]
        lab.may_relay = lambda dummy: None  # type: ignore[method-assign]
        lab.hv2.daemon = True
        assert way.libvirt is not None
        with way.way("web"):
            for number, cut in enumerate(way.cuts):
                cut()
                assert lab.closed == [*passage.socket_names("web"), "libvirt"][: 2 + number]


def test_one_that_is_too_busy_to_come_back_live_is_slowed_down_and_paused(lab: Moving) -> None:
    on(lab, "hv1 copied web", lambda: lab.lively.add("db") or fails()())
    with pytest.raises(HvmError, match="undone"):
        migrate(lab, policy=modes.Policy(limit=1), rate=7)
    lab.whole(lab.hv1, OFF)
    assert lab.rates == [7, 7, 7], "there, there, and back"


def test_one_that_went_paused_comes_back_paused(lab: Moving) -> None:
    on(lab, "hv1 copied web", lambda: lab.lively.add("db") or fails()())
    with pytest.raises(HvmError, match="undone"):
        migrate(lab, policy=modes.Policy(wish=modes.DIRECT))
    lab.whole(lab.hv1, OFF)


def test_one_that_was_paused_to_come_back_and_cannot_goes_on_there(lab: Moving) -> None:
    on(lab, "hv1 copied web", fails())
    lab.faults["hv1 migrate db"] = lambda: lab.faults.update({"hv1 migrate db": fails("it does not come back")})
    with pytest.raises(HvmError, match="db: VM db did not move: it does not come back"):
        migrate(lab, policy=modes.Policy(wish=modes.DIRECT))
    assert lab.hv2.vms["db"]["state"] == RUNNING
    lab.faults.clear()
    lab.again()
    lab.whole(ended(lab), OFF)


def test_one_that_stands_since_its_overlay_has_no_room_goes_on_when_it_is_on_its_disks(lab: Moving) -> None:
    def full() -> None:
        lab.no_room.add("web")
        lab.hv1.vms["web"]["state"] = FROZEN
        fails()()

    lab.faults["hv1 migrate db"] = full
    with pytest.raises(HvmError, match="undone"):
        migrate(lab)
    lab.whole(lab.hv1, OFF)


def detach(lab: Moving, host: t.Any, name: str, how: str = "--persistent") -> None:
    """As virsh detach-disk NAME vdb does."""
    process = lab.processes[host.name][name]
    for known in (process.layers, process.paths, host.vms[name]["conf"] if how == "--persistent" else {"vdb": ""}):
        known.pop("vdb")


@pytest.mark.parametrize("how", ["--persistent", "--live"])
def test_a_disk_that_is_detached_meanwhile_keeps_what_was_written_to_it(lab: Moving, how: str) -> None:
    on(lab, "hv1 migrate db", lambda: detach(lab, lab.hv1, "web", how))
    file = lab.hv1.place / "overlays/web.vdb.qcow2"
    with pytest.raises(HvmError, match=r"web: VM web: its disk vdb was detached, and \S+web.vdb.qcow2 holds what was written"):
        migrate(lab)
    for dummy in range(2):
        lab.again()
        with pytest.raises(HvmError, match="its disk vdb was detached"):
            recovered(lab, lab.hv1)
    assert file.exists() and lab.hv1.vms["web"]["state"] == RUNNING
    file.unlink()
    lab.again()
    recovered(lab, lab.hv1)
    assert lab.hv1.pending() == "" and lab.hv2.pending() == "" and list((lab.hv1.place / "overlays").iterdir()) == []
    assert list(lab.processes["hv1"]["web"].paths.values()) == ["/srv/vms/web.img"]
    assert set(lab.hv1.vms["web"]["conf"].values()) <= {"/srv/vms/web.img", "/srv/vms/web.qcow2"}, "it would not start again"


def test_one_that_is_detached_there_comes_back_as_a_file(lab: Moving) -> None:
    stays(lab)
    detach(lab, lab.hv2, "db")
    with pytest.raises(HvmError, match="db: VM db: vdb was detached there, and what was written to it would not come back"):
        recovered(lab, lab.hv1)
    assert lab.hv2.vms["db"]["state"] == RUNNING
    lab.end(lab.hv2, "db")
    del lab.flushed["db"]  # from here on it has no vdb to write to
    written = set(lab.file(f"{overlays.overlay.DIRECTORY}/db.vdb.qcow2", lab.hv2).writes)
    lab.again()
    recovered(lab, lab.hv1)
    assert written <= lab.disks["hv1"]["/srv/vms/db.qcow2"].writes and lab.hv1.pending() == ""


BESIDE, ELSEWHERE = "web.vda.snap1", "/backup/x.qcow2"


@pytest.mark.parametrize("file", [BESIDE, ELSEWHERE])
@pytest.mark.parametrize("runs", [True, False])
def test_somebodys_snapshot_over_an_overlay_keeps_what_is_below_it(lab: Moving, file: str, runs: bool) -> None:
    file = os.path.join(overlays.overlay.DIRECTORY, file)  # libvirt's own name for it lies beside the overlay

    def act() -> None:
        lab.snapshot_of_somebodys(lab.hv1, "web", file)
        if not runs:
            lab.end(lab.hv1, "web")

    on(lab, "hv1 migrate db", act)
    what = rf"web: VM web: its disk vda is on {file}, a snapshot over \S+web.vda.qcow2"
    how = "virsh blockcommit web vda --base" if runs else rf"with the VM off: qemu-img commit -b \S+ {file}"
    with pytest.raises(HvmError, match=rf"everything: {what}\. Bring that down \({how}"):
        migrate(lab)
    for dummy in range(2):
        lab.again()
        with pytest.raises(HvmError, match=what):
            recovered(lab, lab.hv1)
    assert (lab.hv1.place / "overlays/web.vda.qcow2").exists() and lab.hv1.vms["web"]["state"] == RUNNING
    assert not lab.kept(lab.hv1)
    lab.brought_down(lab.hv1, "web", file)
    lab.again()
    lab.whole(ended(lab), OFF)


def test_where_nobody_sees_what_is_below_nothing_goes(lab: Moving) -> None:
    def act() -> None:
        lab.snapshot_of_somebodys(lab.hv1, "web", ELSEWHERE)
        lab.end(lab.hv1, "web")
        del lab.others["hv1"][ELSEWHERE]

    on(lab, "hv1 migrate db", act)
    with pytest.raises(HvmError, match=f"everything: web: VM web: its disk vda is on {ELSEWHERE}, and whether .* cannot be seen"):
        migrate(lab)
    assert (lab.hv1.place / "overlays/web.vda.qcow2").exists() and not lab.kept(lab.hv1)
    lab.hv1.vms["web"]["conf"]["vda"] = overlays.overlay.overlay_path("web", "vda")
    lab.flushed["web"] &= lab.file(lab.hv1.vms["web"]["conf"]["vda"], lab.hv1).all()  # the file is gone with the rest
    lab.again()
    lab.whole(ended(lab), OFF)


@pytest.mark.parametrize("runs", [True, False])
def test_somebodys_snapshot_there_is_not_left_there(lab: Moving, runs: bool) -> None:
    stays(lab)
    lab.snapshot_of_somebodys(lab.hv2, "db", ELSEWHERE)
    lab.write_all()
    if not runs:
        lab.end(lab.hv2, "db")
    with pytest.raises(HvmError, match=rf"db: VM db: vda is on {ELSEWHERE} there, and .*\. Bring that down over there"):
        recovered(lab, lab.hv1)
    lab.brought_down(lab.hv2, "db", ELSEWHERE)
    lab.again()
    lab.whole(ended(lab), [*OFF, *([] if runs else ["db"])])


def test_an_overlay_whose_vm_was_defined_anew_is_kept_with_what_is_in_it(lab: Moving) -> None:
    def anew() -> None:
        lab.end(lab.hv1, "web")
        lab.hv1.vms["web"]["conf"] = {dev: path for dev, (path, dummy) in lab.hv1.vms["web"]["disks"].items()}
        fails()()

    class Told(Progress):
        def say(self, text: str, **dummy: t.Any) -> None:
            said.append(text)

    said: list[str] = []
    on(lab, "hv1 migrate db", anew)
    with pytest.raises(HvmError, match="undone"), lab.on(lab.hv1) as at:
        move.migrate(at.config, Told())
    assert [text.partition("kept in")[0] for text in said if "kept" in text] == ["overlays of web, which no VM uses, are "]
    kept = lab.kept(lab.hv1)
    assert sorted(kept) == ["web.vda.qcow2", "web.vdb.qcow2"] and lab.hv1.pending() == ""
    assert all(lab.flushed["web"] <= one.all() for one in kept.values())


def test_one_that_is_merged_goes_before_the_next_one_is(lab: Moving) -> None:
    """Else a crash in the next one, which may take hours, leaves it, and nothing tells that it was merged."""
    half_way_on(lab)
    killed_at(lab, "hv1 commit web vdb", lambda lab: recovered(lab, lab.hv1))
    lab.whole(ended(lab), OFF)
    assert not lab.kept(lab.hv1)


def test_one_that_runs_on_its_disk_and_would_start_from_its_overlay_starts_from_its_disk(lab: Moving) -> None:
    """What is in the overlay may have been merged, or not: it is not merged over what the VM has written to its disk."""
    killed_at(lab, "hv1 journal migrate_unsecure: last snapshot", migrate)
    conf = dict(lab.hv1.vms["web"]["conf"])
    lab.write_all()
    lab.end(lab.hv1, "web")
    lab.hv1.vms["web"]["conf"] = {dev: path for dev, (path, dummy) in lab.hv1.vms["web"]["disks"].items()}
    lab.start(lab.hv1, "web")
    lab.hv1.vms["web"]["conf"] = dict(conf)
    recovered(lab, lab.hv1)
    assert lab.hv1.vms["web"]["conf"] == lab.processes["hv1"]["web"].paths != conf
    assert sorted(lab.kept(lab.hv1)) == ["web.vda.qcow2", "web.vdb.qcow2"] and lab.hv1.pending() == ""


def test_a_snapshot_over_one_that_no_journal_knows_is_said_too(lab: Moving) -> None:
    killed_at(lab, "hv1 journal migrate_unsecure: last snapshot", migrate)
    lab.snapshot_of_somebodys(lab.hv1, "web", ELSEWHERE)
    lab.end(lab.hv1, "web")
    (lab.hv1.place / "journal.json").unlink()
    with pytest.raises(HvmError, match=f"web: VM web: its disk vda is on {ELSEWHERE}, a snapshot over"):
        recovered(lab, lab.hv1)
    assert not lab.kept(lab.hv1)


def undefine(lab: Moving, host: t.Any, name: str) -> None:
    if name in lab.processes[host.name]:
        lab.end(host, name)
    del host.vms[name]


def test_a_vm_that_was_undefined_leaves_its_overlays_beside_and_nothing_pending(lab: Moving) -> None:
    half_way_on(lab)
    undefine(lab, lab.hv1, "web")
    written = lab.flushed.pop("web")
    with pytest.raises(HvmError, match="web: it ran, and libvirt does not know it any more") as got:
        recovered(lab, lab.hv1)
    assert any("overlays of web, which no VM uses, are kept in" in text for text in got.value.details["warnings"])
    assert written and all(written <= one.all() for one in lab.kept(lab.hv1).values()) and len(lab.kept(lab.hv1)) == 2
    assert (lab.hv1.pending(), lab.hv2.pending()) == ("", "")
    lab.again()
    assert recovered(lab, lab.hv1)["do"] == ""


@pytest.mark.parametrize("effect", ["hv1 migrate db", "hv1 migrate web"])
def test_so_does_one_that_was_undefined_in_a_move_that_is_undone(lab: Moving, effect: str) -> None:
    def act() -> None:
        undefine(lab, lab.hv1, "web")
        fails()()

    on(lab, effect, act)
    with pytest.raises(HvmError, match="undone"):
        migrate(lab)
    assert lab.hv1.pending() == "" and sorted(lab.kept(lab.hv1)) == ["web.vda.qcow2", "web.vdb.qcow2"]


def test_one_that_was_undefined_here_while_it_is_off_there_comes_back_with_that_hosts_definition(lab: Moving) -> None:
    stays(lab)
    lab.end(lab.hv2, "db")
    undefine(lab, lab.hv1, "db")
    recovered(lab, lab.hv1)
    lab.whole(lab.hv1, [*OFF, "db"])


def test_where_that_host_cannot_say_it_either_it_is_to_be_defined(lab: Moving) -> None:
    stays(lab)
    known = {**lab.hv1.vms["db"], "state": STOPPED}
    undefine(lab, lab.hv1, "db")
    lab.power_cut(lab.hv2)
    for dummy in range(2):
        with pytest.raises(HvmError, match=r"db: VM db was undefined here, and is off there. Define it here"):
            recovered(lab, lab.hv1)
        lab.again()
    lab.hv1.vms["db"] = known
    lab.whole(ended(lab), OFF)


@pytest.mark.parametrize("effect", ["hv1 systemctl stop", "hv1 unmount", "hv1 address off"])
def test_with_every_vm_there_it_is_undone_as_well(lab: Moving, effect: str) -> None:
    on(lab, effect, fails("busy"))
    with pytest.raises(HvmError):
        migrate(lab)
    lab.whole(lab.hv1, OFF)


def test_saved_vms_come_back_too(lab: Moving) -> None:
    lab.hv1.vms["web"]["move"] = modes.SECURE
    on(lab, "hv1 copied db", fails())
    with pytest.raises(HvmError, match="undone"):
        migrate(lab)
    lab.whole(lab.hv1, OFF)


def test_one_whose_turn_to_be_saved_had_not_come_is_no_reason_to_stay_pending(lab: Moving) -> None:
    lab.hv1.vms["web"]["move"] = modes.SECURE
    on(lab, "hv1 save web", fails())
    with pytest.raises(HvmError, match="no space left"):
        migrate(lab)
    lab.whole(lab.hv1, OFF)


@pytest.mark.parametrize("effect", ["hv1 systemctl stop", "hv2 record ACTIVE 4"])
def test_what_a_move_without_overlays_has_shut_is_open_after_recover(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, effect: str
) -> None:
    lab = Moving(tmp_path, monkeypatch)
    pair(lab)
    killed_at(lab, effect, lambda lab: migrate(lab, policy=modes.Policy(wish=modes.SECURE)))
    lab.whole(ended(lab), OFF if lab.pending else ANY)


def test_one_that_stands_still_as_it_was_to_move_is_not_one_that_somebody_has_frozen(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Moving(tmp_path, monkeypatch)
    pair(lab)
    direct = {"policy": modes.Policy(wish=modes.DIRECT)}
    killed_at(lab, "hv1 migrate web", lambda lab: migrate(lab, **direct))
    assert lab.hv1.vms["web"]["state"] == FROZEN
    on(lab, "hv1 migrate web", fails())
    with pytest.raises(HvmError, match="undone"):
        migrate(lab, **direct)
    lab.whole(lab.hv1, OFF)


def ends_there(lab: Moving, name: str) -> None:
    """By itself, while it moves back."""
    lab.end(lab.hv2, name)
    raise Error("domain is not running")


@pytest.mark.parametrize(
    ("effect", "act"),
    [("hv1 migrate app", lambda lab: lab.end(lab.hv2, "db")), ("hv1 migrate db", lambda lab: ends_there(lab, "db")),
     ("hv1 copied db", lambda lab: ends_there(lab, "db"))],
)  # fmt: skip
def test_one_that_ends_there_while_they_come_back_comes_as_files(
    lab: Moving, effect: str, act: t.Callable[[Moving], object]
) -> None:
    lab.define("app")
    on(lab, "hv1 copied web", lambda: on(lab, effect, lambda: act(lab)) or fails()())
    with pytest.raises(HvmError, match="undone"):
        migrate(lab)
    assert "hv1 fetch db.vda.qcow2" in lab.did and lab.hv1.vms["db"]["state"] == STOPPED
    lab.whole(lab.hv1, [*OFF, "db"])


def test_a_way_back_that_fails_for_one_vm_is_taken_by_recover(lab: Moving) -> None:
    on(lab, "hv1 copied web", fails())
    lab.faults["hv1 migrate db"] = lambda: lab.faults.update({"hv1 migrate db": fails("it does not come back")})
    with pytest.raises(HvmError, match="db: VM db did not move: it does not come back"):
        migrate(lab)
    assert (lab.hv2.vms["db"]["state"], lab.hv1.vms["web"]["state"]) == (RUNNING, RUNNING)
    lab.faults.clear()
    lab.again()
    lab.whole(ended(lab), OFF)


def test_one_that_an_older_qemu_does_not_take_back_comes_as_files(lab: Moving) -> None:
    on(lab, "hv1 copied web", fails())
    lab.faults["hv1 migrate db"] = lambda: lab.faults.update({"hv1 migrate db": fails("unsupported machine type")})
    with pytest.raises(HvmError, match=r"Shut the VM down there, then hvm\.pair\.recover: it comes back as files"):
        migrate(lab)
    for dummy in range(2):
        with lab.on(lab.hv1):
            assert "migrate_unsecure" not in advice.advice(lab.observe())
        lab.again()
        with pytest.raises(HvmError, match=r"Shut the VM down there.*Mend the reason, then hvm\.pair\.recover\.$"):
            recovered(lab, lab.hv1)
    lab.end(lab.hv2, "db")
    lab.again()
    recovered(lab, lab.hv1)
    lab.whole(lab.hv1, [*OFF, "db"])


def test_the_address_comes_back_when_it_was_there(lab: Moving) -> None:
    lab.hv1.address = False
    on(lab, "hv1 copied db", fails())
    with pytest.raises(HvmError, match="undone"):
        migrate(lab)
    assert not lab.hv1.address and "hv1 address on" not in lab.did


def test_an_overlay_that_cannot_be_merged_there_is_for_recover_there_and_everything_says_so(lab: Moving) -> None:
    lab.faults["hv2 commit web vda"] = fails()
    with pytest.raises(HvmError, match=r"hv2 is ACTIVE, but not everything is there: web: .*, then hvm\.pair\.recover there"):
        migrate(lab)
    for step in ("commit", "overlays into the disks"):
        lab.again()
        assert lab.hv2.journal()["step"] == step
        said = f"it was last at '{step}'. hvm.pair.recover on this host ends it, or says what is in the way"
        with pytest.raises(Refused, match=said):
            migrate(lab, lab.hv2)
        with lab.on(lab.hv2):
            me = lab.observe()
        assert [one.remedy for one in guards.vms(me, "started", "")] == [said.partition(". ")[2] + "."]
        with pytest.raises(HvmError, match=r"web: .*no space left on device.*Mend the reason, then hvm\.pair\.recover\.$"):
            recovered(lab, lab.hv2)
    lab.faults.clear()
    lab.again()
    lab.whole(ended(lab), OFF)


# ---- somebody takes a ZFS snapshot meanwhile

SOMEBODYS = "autosnap_2026-11-23_10:00:00_hourly"


def destroyed(lab: Moving, host: t.Any) -> None:
    """As somebody does it whom the error has told how."""
    for root in ROOTS:
        host.tree[root]["snapshots"] = [snap for snap in host.tree[root]["snapshots"] if snap[0] != SOMEBODYS]


@pytest.mark.parametrize(("effect", "last"), [("hv1 copied db", "hv1 migrate db"), ("hv1 confirm web", "hv1 migrate web")])
def test_a_snapshot_of_somebodys_ends_it_before_libvirt_is_stopped(lab: Moving, effect: str, last: str) -> None:
    """Else every VM would have moved, and come back. Another run takes another set, so that it is in nobody's way."""
    on(lab, effect, lambda: lab.snapshot(SOMEBODYS, lab.hv1))
    with pytest.raises(HvmError, match=rf"ssd/a@{SOMEBODYS} was taken since hvm_.*; rot/b@.* undone") as raised:
        migrate(lab)
    assert raised.value.remedy.startswith("Run it again. Nothing may take snapshots there")
    assert "hv1 address off" not in lab.did and "hv1 systemctl stop" not in lab.did
    assert [one for one in lab.did if one.startswith("hv1 migrate")][-1] == last
    lab.whole(lab.hv1, OFF)
    lab.again()
    migrate(lab)
    lab.whole(lab.hv2, OFF)


def test_where_vms_have_stayed_there_it_is_refused_until_that_is_destroyed(lab: Moving) -> None:
    """It does not begin, and so nothing comes back."""
    stays(lab)
    lab.snapshot(SOMEBODYS, lab.hv1)
    with pytest.raises(Refused, match=f"If nobody needs it: zfs destroy 'ssd/a@{SOMEBODYS}'"):
        migrate(lab)
    assert lab.effects() == []
    destroyed(lab, lab.hv1)
    lab.again()
    migrate(lab)
    lab.whole(lab.hv2, OFF)


def test_one_on_the_other_host_is_not_in_the_way_there(lab: Moving) -> None:
    on(lab, "hv1 copied db", lambda: lab.snapshot(SOMEBODYS, lab.hv2))
    migrate(lab)
    lab.whole(lab.hv2, OFF)


def test_one_on_the_other_host_keeps_no_vm_from_its_way_back(lab: Moving) -> None:
    """Only that host's part does not end: whoever recovers is told each time what to destroy, and nothing is kept each time."""
    on(lab, "hv1 copied web", lambda: lab.snapshot(SOMEBODYS, lab.hv2) or fails()())
    (lab.hv2.place / "now").mkdir()
    (lab.hv2.place / "now/cd.iso").touch()
    remedy = f"If nobody needs it: zfs destroy 'ssd/a@{SOMEBODYS}'"
    with pytest.raises(HvmError, match=rf"not with everything: hv2: ssd/a@{SOMEBODYS} was taken since .*{remedy}") as raised:
        migrate(lab)
    assert "it may be there" not in str(raised.value)
    assert [vm["state"] for vm in lab.hv1.vms.values()] == [RUNNING, RUNNING, STOPPED] and not lab.hv2.running()
    assert "hv1 commit db vda" in lab.did and lab.remains(lab.hv1) == [], "they do not write to overlays until then"
    for dummy in range(2):
        lab.again()
        with pytest.raises(HvmError, match=rf"not everything runs: hv2: ssd/a@.*{remedy}.*then hvm.pair.recover\.$"):
            recovered(lab, lab.hv1)
    assert not list((lab.hv2.place / "overlays").glob("kept-*"))
    destroyed(lab, lab.hv2)
    lab.again()
    lab.whole(ended(lab), OFF)
    assert len(list((lab.hv2.place / "overlays").glob("kept-*"))) == 1


# ---- it is struck


def test_what_is_written_right_after_an_overlay_has_begun_outlives_a_power_cut(lab: Moving) -> None:
    """The definition that names it is on disk before the VM goes on."""

    def cut() -> None:
        lab.dead = True
        lab.power_cut(lab.hv1)
        raise Killed

    on(lab, "hv1 journal migrate_unsecure: last snapshot", cut)
    with pytest.raises(Killed):
        migrate(lab)
    lab.up_again()
    lab.whole(ended(lab), OFF)


def test_a_vm_that_is_off_and_has_its_writes_in_its_disks_starts_from_these_after_a_power_cut(lab: Moving) -> None:
    on(lab, "hv1 migrate db", lambda: lab.end(lab.hv1, "web"))
    migrate(lab)
    lab.power_cut(lab.hv2)
    assert lab.hv2.vms["web"]["conf"] == {dev: path for dev, (path, dummy) in lab.hv2.vms["web"]["disks"].items()}


@pytest.mark.parametrize("strike", STRIKES)
def test_whatever_ends_it_recover_makes_the_pair_whole(strike: str) -> None:
    count = 0
    for lab, dummy in each_strike(strike, pair, migrate):
        lab.whole(ended(lab), OFF if lab.pending else ANY)
        count += 1
    assert count * SPARSE > (30 if strike == "agent" else 60)


@pytest.mark.parametrize("strike", STRIKES)
def test_where_status_says_so_it_goes_on(strike: str) -> None:
    """Else, or when it is refused, `recover`."""
    gone_on = 0
    for lab, dummy in each_strike(strike, pair, lambda lab: migrate(lab, stay=True), every=2):
        with lab.on(lab.hv1):
            said = advice.advice(lab.observe())
        if "migrate_unsecure goes on" in said:
            try:
                migrate(lab)
                lab.whole(lab.hv2, OFF)
                gone_on += 1
                continue
            except Refused as exc:
                assert "hvm.pair.recover" in str(exc)
            lab.again()
        lab.whole(ended(lab), OFF if lab.pending else ANY)
    assert SPARSE > 1 or gone_on > (1 if strike in ("agent", "link") else 15) or strike.startswith("power"), gone_on


def half_way(lab: Moving) -> None:
    """db has moved; the process was killed when web was about to."""
    pair(lab)
    half_way_on(lab)


def half_way_on(lab: Moving) -> None:
    def hit(dummy: int, effect: str) -> None:
        if effect == "hv1 migrate web":
            lab.dead = True
            raise Killed(effect)

    lab.at_effect = hit
    with pytest.raises(Killed):
        migrate(lab)
    lab.up_again()


@pytest.mark.parametrize("strike", STRIKES)
def test_what_ends_recover_is_ended_by_recover(strike: str) -> None:
    for lab, dummy in each_strike(strike, half_way, lambda lab: recovered(lab, lab.hv1), every=2):
        lab.whole(ended(lab), OFF if lab.pending else ANY)


def killed_at(lab: Moving, wanted: str, act: t.Callable[[Moving], object]) -> None:
    """The process ends right before that effect."""

    def hit(dummy: int, effect: str) -> None:
        if effect == wanted:
            lab.dead = True
            raise Killed(effect)

    lab.at_effect = hit
    with pytest.raises(Killed):
        act(lab)
    lab.up_again()


def test_a_recover_that_ends_twice_still_knows_that_all_are_back(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First when the other host has ended its part; then before that is so again in this one's journal, by its step."""
    lab = Moving(tmp_path, monkeypatch)
    half_way(lab)
    killed_at(lab, "hv1 commit db vda", lambda lab: recovered(lab, lab.hv1))
    killed_at(lab, "hv1 journal migrate_unsecure: start the VMs", lambda lab: recovered(lab, lab.hv1))
    lab.whole(ended(lab), OFF)


@pytest.mark.parametrize("strike", STRIKES)
def test_what_ends_going_on_is_ended_by_recover(strike: str) -> None:
    for lab, dummy in each_strike(strike, half_way, migrate, every=2):
        lab.whole(ended(lab), OFF if lab.pending else ANY)


@pytest.mark.parametrize("strike", STRIKES)
def test_what_ends_the_way_back_is_ended_by_recover(strike: str) -> None:
    def prepare(lab: Moving) -> None:
        pair(lab)
        on(lab, "hv1 copied web", fails())

    def act(lab: Moving) -> None:
        """Paused both ways: recover has the live way back."""
        migrate(lab, policy=modes.Policy(wish=modes.DIRECT))

    for lab, dummy in each_strike(strike, prepare, act, every=2):
        lab.faults.clear()
        lab.whole(ended(lab), OFF if lab.pending else ANY)


# ---- it stays, and is gone on with


def stays(lab: Moving, text: str = "db stay on hv2") -> None:
    """db has moved, and web has not."""
    on(lab, "hv1 copied web", fails())
    with pytest.raises(HvmError, match=text):
        migrate(lab, stay=True)
    lab.again()
    assert (lab.hv2.vms["db"]["state"], lab.hv1.vms["web"]["state"]) == (RUNNING, RUNNING)
    assert lab.hv1.pending() == "migrate_unsecure: stays as it is"


ARRIVED = "hv2 journal migrate_unsecure: arrived"


def test_one_that_was_not_taken_in_is_asked_for_once_more_when_what_has_moved_stays(lab: Moving) -> None:
    on(lab, ARRIVED, lambda: on(lab, ARRIVED, fails()))
    with pytest.raises(HvmError, match=r"no space left on device\); db, web stay on hv2") as raised:
        migrate(lab, stay=True)
    assert "standing still" not in str(raised.value)
    assert (lab.hv2.vms["web"]["state"], lab.hv1.journal()["moved"]) == (RUNNING, ["db", "web"])
    lab.again()
    migrate(lab)
    lab.whole(lab.hv2, OFF)


@pytest.mark.parametrize("fault", [fails(), dies])
def test_one_that_is_still_not_taken_in_then_is_named(lab: Moving, fault: t.Callable[[], None]) -> None:
    on(lab, ARRIVED, lambda: lab.faults.update({ARRIVED: fault}))
    with pytest.raises(HvmError, match=r"db stay on hv2; gone there, and maybe standing still until then: web\. hvm"):
        migrate(lab, stay=True)
    assert (lab.hv2.vms["web"]["state"], lab.hv1.vms["web"]["state"]) == (FROZEN, STOPPED)
    assert lab.hv1.journal()["moved"] == ["db"]
    lab.faults.clear()
    lab.again()
    migrate(lab)
    lab.whole(lab.hv2, OFF)


def test_one_that_has_ended_by_itself_stands_nowhere(lab: Moving) -> None:
    on(lab, "hv1 confirm db", lambda: lab.end(lab.hv1, "web"))
    on(lab, "hv1 push web.vda.qcow2", fails())
    with pytest.raises(HvmError, match="db stay on hv2") as raised:
        migrate(lab, stay=True)
    assert "standing still" not in str(raised.value)


def test_it_is_gone_on_with(lab: Moving) -> None:
    stays(lab)
    done = migrate(lab)
    assert set(done["vms"]) == {"db", "web"} and not any(one.endswith("migrate db") for one in lab.did)
    assert not any("snapshot" in one.split()[1] for one in lab.did), "no other set"
    assert done["presync"] == []
    lab.whole(lab.hv2, OFF)


def test_check_mode_says_how_it_is_gone_on_with(lab: Moving) -> None:
    stays(lab)
    plan = checked(lab)["plan"]
    assert not any(line.startswith(("snapshot", "overlays", "db:")) for line in plan)
    assert any(line.startswith("web: live") for line in plan) and plan[-1] == "merge the overlays into the disks"


def test_it_is_taken_back(lab: Moving) -> None:
    stays(lab)
    recovered(lab, lab.hv1)
    lab.whole(lab.hv1, OFF)
    assert "hv1 confirm db" in lab.did and not any(one.endswith((" bring db", " start db")) for one in lab.did)


def test_one_that_was_paused_to_move_runs_while_it_stays(lab: Moving) -> None:
    on(lab, "hv1 copied web", fails())
    with pytest.raises(HvmError, match="stay on hv2"):
        migrate(lab, policy=modes.Policy(wish=modes.DIRECT), stay=True)
    assert lab.hv1.vms["web"]["state"] == RUNNING


def refused(lab: Moving) -> None:
    """`virsh start db` on hv1."""
    with pytest.raises(Error, match="Hook script"):
        lab.start(lab.hv1, "db")


def test_one_that_has_moved_cannot_be_started_where_it_came_from_until_it_is_back(lab: Moving) -> None:
    stays(lab)
    refused(lab)
    recovered(lab, lab.hv1)
    lab.end(lab.hv1, "db")
    lab.start(lab.hv1, "db")
    lab.whole(lab.hv1, OFF)


def test_what_has_not_come_back_stays_pending_whatever_lies_here(lab: Moving) -> None:
    """Else nobody knows that the other host has what it wrote: it would be started from its disks."""
    stays(lab)
    lab.end(lab.hv2, "db")
    on(lab, "hv1 fetch db.vda.qcow2", fails("the connection ended"))
    with pytest.raises(HvmError, match="db: the connection ended"):
        recovered(lab, lab.hv1)
    assert lab.hv1.pending() == "migrate_unsecure: coming back" and lab.away(lab.hv1) == ["db"]
    lab.again()
    lab.whole(ended(lab), [*OFF, "db"])


def test_a_second_try_does_not_send_what_may_stand_there_as_files(lab: Moving) -> None:
    """libvirt here was started anew: it does not know that it has moved."""
    killed_at(lab, "hv2 journal migrate_unsecure: arrived", migrate)
    lab.libvirt_ends(lab.hv1)
    lab.hv1.daemon = True  # by systemd
    with pytest.raises(HvmError, match=r"VM db is off, and nobody knows any more whether it stands on hv2; so .* undone"):
        migrate(lab)
    assert not any(one.startswith("hv1 push") for one in lab.did)
    lab.whole(lab.hv1, OFF)


def test_one_that_stands_since_its_move_was_cut_off_is_decided_about_as_one_that_runs() -> None:
    vms = {name: {"state": FROZEN, "disks": []} for name in ("cut", "frozen")}
    listed = {name: [["vda", "/d", "raw", False, overlay.overlay_path(name, "vda")]] for name in vms}
    begun = {"overlays": listed, "begun": ["cut", "frozen"], "frozen": ["frozen"]}
    found = move.left(vms, begun, ())
    assert {name: vm["state"] for name, vm in found.items()} == {"cut": RUNNING, "frozen": FROZEN}


def test_nor_by_what_a_way_back_that_failed_has_left(lab: Moving) -> None:
    stays(lab)
    note = lab.hv1.place / "run/comes/db"
    note.parent.mkdir()
    on(lab, "hv1 migrate db", lambda: note.touch() or fails()())  # the hook's
    with pytest.raises(HvmError, match="db: VM db did not move"):
        recovered(lab, lab.hv1)
    assert not note.exists()
    refused(lab)


def test_nor_when_its_host_has_rebooted(lab: Moving) -> None:
    stays(lab)
    lab.power_cut(lab.hv1)
    on(lab, "hv1 bring web", lambda: refused(lab))
    recovered(lab, lab.hv1)
    assert not lab.faults
    lab.whole(lab.hv1, OFF)


def test_nor_when_the_hypervisor_starts_again_to_undo_it(lab: Moving) -> None:
    def fault() -> None:
        on(lab, "hv1 migrate db", lambda: refused(lab))
        fails()()

    on(lab, "hv1 journal migrate_unsecure: hand over", fault)
    with pytest.raises(HvmError, match="the migration was undone"):
        migrate(lab)
    assert not lab.faults
    lab.whole(lab.hv1, OFF)


def test_how_the_rest_moves_is_decided_anew(lab: Moving) -> None:
    stays(lab)
    done = migrate(lab, policy=modes.Policy(wish=modes.DIRECT))
    lab.whole(lab.hv2, OFF)
    assert {vm: one["mode"] for vm, one in done["vms"].items()} == {"db": "live", "web": "direct"}
    assert "hv1 suspend web" in lab.did


def test_nothing_can_be_saved_any_more(lab: Moving) -> None:
    stays(lab)
    with pytest.raises(Refused, match=r"VM web would have to be saved \(it is wished so\), and the last set has been taken"):
        migrate(lab, policy=modes.Policy(wish=modes.SECURE))
    assert lab.effects() == []


def test_a_vm_that_somebody_has_started_meanwhile_is_named(lab: Moving) -> None:
    stays(lab)
    lab.start(lab.hv1, "mail", FROZEN)
    with pytest.raises(Refused, match="VM mail runs, and is no part of the move"):
        migrate(lab)


def test_one_that_sleeps_meanwhile_is_named(lab: Moving) -> None:
    stays(lab)
    lab.hv1.vms["web"]["state"] = "other"
    with pytest.raises(Refused, match="VM web cannot be proven stopped"):
        migrate(lab)
    assert lab.effects() == []


def test_one_that_somebody_starts_after_it_was_decided_about_the_rest_is_named(lab: Moving) -> None:
    cancels(lab, "hv2 resume db", cancelling.STAY)
    with pytest.raises(HvmError, match="db stay on hv2"):
        migrate(lab)
    lab.again()
    lab.end(lab.hv1, "web")
    on(lab, "hv1 journal migrate_unsecure: arrive there", lambda: lab.start(lab.hv1, "web"))
    with pytest.raises(HvmError, match="VM web was started since the migration had begun; so the migration was undone"):
        migrate(lab)
    lab.whole(lab.hv1, OFF)


def test_one_that_has_ended_meanwhile_goes_with_what_it_has_written(lab: Moving) -> None:
    stays(lab)
    lab.end(lab.hv1, "web")
    migrate(lab)
    assert lab.hv2.vms["web"]["state"] == STOPPED
    lab.whole(lab.hv2, [*OFF, "web"])


def test_one_that_stands_there_and_has_gone_here_is_not_sent_again(lab: Moving) -> None:
    """The process ended before it could tell the other host that web is its own."""

    def hit(dummy: int, effect: str) -> None:
        if effect == "hv2 journal migrate_unsecure: arrived" and "hv1 confirm web" in lab.did:
            lab.dead = True
            raise Killed(effect)

    lab.at_effect = hit
    with pytest.raises(Killed):
        migrate(lab)
    lab.up_again()
    memory = lab.processes["hv2"]["web"]
    migrate(lab)
    lab.whole(lab.hv2, OFF)
    assert lab.processes["hv2"]["web"] is memory and "hv2 destroy web" not in lab.did


def test_one_whose_memory_was_sent_and_that_stands_here_is_sent_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ended when libvirt was to be told that it has moved: QEMU sends the memory of one that has run since only."""
    lab = Moving(tmp_path, monkeypatch)
    pair(lab)
    killed_at(lab, "hv1 confirm db", migrate)
    assert (lab.hv1.vms["db"]["state"], lab.hv2.vms["db"]["state"]) == (FROZEN, FROZEN)
    migrate(lab)
    lab.whole(lab.hv2, OFF)
    assert lab.did.index("hv2 destroy db") < lab.did.index("hv1 resume db")


@pytest.mark.parametrize("effect", ["hv1 finish db", "hv1 confirm db"])
def test_one_whose_memory_was_sent_back_and_that_stands_there_is_sent_again(lab: Moving, effect: str) -> None:
    stays(lab)

    def cut() -> None:
        lab.cut = True

    on(lab, effect, cut)
    with pytest.raises(HvmError, match="db"):
        recovered(lab, lab.hv1)
    lab.up_again()
    assert lab.hv2.vms["db"]["state"] == FROZEN
    recovered(lab, lab.hv1)
    lab.whole(lab.hv1, OFF)
    assert not any(one.endswith((" bring db", " start db")) for one in lab.did)


def test_one_that_has_not_ended_there_does_not_go_on_here(lab: Moving) -> None:
    """libvirt died there before it could end it."""
    stays(lab)
    lab.unconfirmed.add("db")
    with pytest.raises(HvmError, match="VM db has a process here"):
        recovered(lab, lab.hv1)
    lab.again()
    lab.hv2.daemon = True  # by systemd
    recovered(lab, lab.hv1)
    lab.whole(lab.hv1, OFF)
    stood = [one for one in lab.did if one.endswith((" resume db", " confirm db"))]
    assert stood[:3] == ["hv1 resume db", "hv1 confirm db", "hv1 resume db"], "there, and here"


def test_one_that_does_not_go_on_there_comes_back_all_the_same(lab: Moving) -> None:
    lab.faults["hv2 resume db"] = fails()
    with pytest.raises(HvmError, match="undone"):
        migrate(lab)
    lab.whole(lab.hv1, OFF)


def test_one_that_stands_there_and_has_gone_here_comes_back_with_its_memory(lab: Moving) -> None:
    """Nobody has written down that it is there: it is not started here before libvirt was asked."""
    killed_at(lab, "hv2 journal migrate_unsecure: arrived", migrate)
    assert (lab.hv1.vms["db"]["state"], lab.hv2.vms["db"]["state"]) == (STOPPED, FROZEN)
    memory = set(lab.processes["hv2"]["db"].memory)
    recovered(lab, lab.hv1)
    lab.whole(lab.hv1, OFF)
    assert memory <= lab.processes["hv1"]["db"].memory
    assert "hv1 confirm db" in lab.did and not any(one.endswith((" bring db", " start db", " destroy db")) for one in lab.did)


def test_one_that_somebody_has_ended_here_stays_off_and_is_named(lab: Moving) -> None:
    killed_at(lab, "hv2 journal migrate_unsecure: arrived", migrate)
    lab.why_off["hv1", "db"] = 2  # destroyed
    done = recovered(lab, lab.hv1)
    assert lab.hv1.vms["db"]["state"] == STOPPED and not lab.processes["hv2"]
    assert [text for text in done["warnings"] if "db" in text] == [
        "VM db is off: it ended here, and not because it had moved (hvm_vm state=started)"
    ]


def test_one_of_which_nobody_knows_that_it_stands_there_whole_starts_here(lab: Moving) -> None:
    killed_at(lab, "hv2 journal migrate_unsecure: arrived", migrate)
    lab.libvirt_ends(lab.hv1)
    recovered(lab, lab.hv1)
    lab.whole(lab.hv1, OFF)
    assert lab.did.index("hv2 destroy db") < lab.did.index("hv1 start db")


def test_gone_on_with_twice(lab: Moving) -> None:
    stays(lab)
    on(lab, "hv1 copied web", fails())
    with pytest.raises(HvmError, match="stay"):
        migrate(lab, stay=True)
    lab.again()
    migrate(lab)
    lab.whole(lab.hv2, OFF)


def rebooted(lab: Moving, host: t.Any) -> None:
    lab.power_cut(host)
    lab.again()


GONE = "hv2 has rebooted since, or was stopped: db had moved there and do not run"


def test_it_is_not_gone_on_with_when_what_had_moved_is_off_there(lab: Moving) -> None:
    stays(lab)
    rebooted(lab, lab.hv2)
    with pytest.raises(Refused, match=f"{GONE}. hvm.pair.recover brings the VMs back"):
        migrate(lab)
    assert lab.effects() == []
    lab.whole(ended(lab), OFF)


def test_it_is_gone_on_with_when_what_was_on_its_way_to_a_host_that_rebooted_still_runs_here(lab: Moving) -> None:
    killed_at(lab, "hv1 copied db", migrate)
    assert (lab.hv1.journal()["begun"], lab.hv2.journal()["arrived"]) == (["db"], [])
    rebooted(lab, lab.hv2)
    memory = lab.processes["hv1"]["db"].memory
    migrate(lab)
    lab.whole(lab.hv2, OFF)
    assert memory <= lab.processes["hv2"]["db"].memory and "hv2 systemctl start" in lab.did


def test_what_was_on_its_way_to_a_host_that_rebooted_is_taken_back_from_it_with_nothing_mounted_there(lab: Moving) -> None:
    killed_at(lab, "hv1 copied db", migrate)
    rebooted(lab, lab.hv2)
    recovered(lab, lab.hv1)
    assert "hv2 mount" not in lab.did
    lab.whole(lab.hv1, OFF)


def test_but_not_when_it_has_gone_here_and_its_memory_was_there_only(lab: Moving) -> None:
    killed_at(lab, "hv2 journal migrate_unsecure: arrived", migrate)
    assert lab.hv1.vms["db"]["state"] == STOPPED
    rebooted(lab, lab.hv2)
    with pytest.raises(Refused, match=GONE):
        migrate(lab)
    lab.whole(ended(lab), OFF)


# ---- cancelled


def cancels(lab: Moving, effect: str, word: str) -> None:
    on(lab, effect, lambda: (lab.hv1.place / "run/cancel").write_text(f"{word}\n"))


@pytest.mark.parametrize("effect", ["hv2 resume db", "hv1 snapshot web", "hv2 systemctl start"])
def test_cancelled_between_two_vms_all_come_back(lab: Moving, effect: str) -> None:
    cancels(lab, effect, cancelling.BACK)
    with pytest.raises(HvmError, match="somebody has cancelled it"):
        migrate(lab, stay=True)
    lab.whole(lab.hv1, OFF)
    assert "hv1 confirm web" not in lab.did


def test_cancelled_what_has_moved_stays_when_it_is_wished_so(lab: Moving) -> None:
    cancels(lab, "hv2 resume db", cancelling.STAY)
    with pytest.raises(HvmError, match=r"somebody has cancelled it before web moved.*db stay on hv2"):
        migrate(lab)
    assert (lab.hv2.vms["db"]["state"], lab.hv1.vms["web"]["state"]) == (RUNNING, RUNNING)
    lab.again()
    migrate(lab)
    lab.whole(lab.hv2, OFF)


@pytest.mark.parametrize(
    ("effect", "wish", "when"),
    [
        ("hv1 sync", modes.SECURE, "before any VM moved"),
        ("hv1 sync", modes.LIVE, "before any VM moved"),
        ("hv1 save web", modes.SECURE, "before the role moved"),
        ("hv2 resume web", modes.LIVE, "before the role moved"),
    ],
)
def test_cancelled_before_the_first_or_after_the_last_it_ends_too(lab: Moving, effect: str, wish: str, when: str) -> None:
    cancels(lab, effect, cancelling.BACK)
    with pytest.raises(HvmError, match=f"somebody has cancelled it {when}"):
        migrate(lab, policy=modes.Policy(wish=wish))
    lab.whole(lab.hv1, OFF)
    assert ("hv1 save web" in lab.did) is (effect == "hv1 save web")


def test_those_that_were_saved_are_named_when_the_others_stay(lab: Moving) -> None:
    lab.hv1.vms["web"]["move"] = modes.SECURE
    cancels(lab, "hv2 resume db", cancelling.STAY)
    with pytest.raises(HvmError, match="db stay on hv2; saved, and off until then: web"):
        migrate(lab)


def test_cancelled_after_the_last_all_may_stay(lab: Moving) -> None:
    cancels(lab, "hv2 resume web", cancelling.STAY)
    with pytest.raises(HvmError, match=r"before the role moved\); db, web stay on hv2"):
        migrate(lab)
    lab.again()
    migrate(lab)
    lab.whole(lab.hv2, OFF)


def test_a_word_of_before_cancels_nothing(lab: Moving) -> None:
    (lab.hv1.place / "run/cancel").write_text("back\n")
    migrate(lab)
    lab.whole(lab.hv2, OFF)


# ---- a host is lost


def lost_a(lab: Moving) -> None:
    half_way(lab)
    lab.power_cut(lab.hv1)
    lab.hv1.answers = False


def fail_over(lab: Moving, to: str = "last", **words: str) -> dict[str, t.Any]:
    with lab.on(lab.hv2) as at:
        return failover.apply(at.config, to, failover.Words(**words), False, Progress())


def lost_a_with_some_of_each(lab: Moving) -> None:
    """db has moved, frozen; web was saved; app was about to move."""
    pair(lab)
    lab.define("app")
    lab.hv1.vms["web"]["move"] = modes.SECURE
    lab.hv1.vms["db"]["state"] = FROZEN
    killed_at(lab, "hv1 migrate app", migrate)
    lab.power_cut(lab.hv1)
    lab.hv1.answers = False


def test_a_failover_shows_who_has_moved_and_keeps_a_frozen_vm_frozen(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Moving(tmp_path, monkeypatch)
    lost_a_with_some_of_each(lab)
    lines = fail_over(lab, dead_host="hv1")["lost"]["lines"]
    assert "VM db: has moved here, and loses nothing" in lines and not any("VM db: loses" in line for line in lines)
    assert (lab.hv2.vms["db"]["state"], lab.hv2.running()) == (FROZEN, ["app", "db", "web"])
    assert "hv2 unfreeze db" not in lab.did and lab.hv2.images == set()


@pytest.mark.parametrize("power", [False, True])
def test_what_ends_a_failover_in_the_midst_of_a_move_is_gone_on_with(tmp_path: pathlib.Path, power: bool) -> None:
    for number in range(1 + power + 2 * (SEED % SPARSE), 200, 2 * SPARSE):
        with pytest.MonkeyPatch.context() as patch:
            lab = Moving(tmp_path / str(number), patch)
            lost_a_with_some_of_each(lab)
            at = lab.number + number

            def hit(now: int, effect: str, lab: Moving = lab, at: int = at) -> None:
                if now >= at and threading.current_thread() is threading.main_thread():  # others would outlive it
                    lab.dead = True
                    if power:
                        lab.power_cut(lab.hv2)
                    raise Killed(effect)

            lab.at_effect, ended, effect = hit, False, ""
            try:
                fail_over(lab, dead_host="hv1")
                ended = True
            except Killed as exc:
                effect = str(exc)
            if ended:
                break
            lab.up_again()
            lab.hv1.answers = False
            if lab.hv2.role()[0] == "ACTIVE":
                recovered(lab, lab.hv2, peer_is_down="hv1")
            else:
                fail_over(lab, dead_host="hv1")
            assert lab.hv2.running() == ["app", "db", "web"], effect
            assert lab.flushed["db"] <= lab.disks["hv2"]["/srv/vms/db.img"].writes, effect
            assert lab.hv2.images == set() and lab.hv2.pending() == "", effect
            assert list((lab.hv2.place / "overlays").iterdir()) == [], effect
            assert power or lab.hv2.vms["db"]["state"] == FROZEN, effect
            for name in ("app", "db", "web"):
                process = lab.processes["hv2"][name]
                assert all(process.memory <= layer.writes for layer in process.layers.values()), f"{effect}: {name}"
    assert number > 20


def test_a_failover_to_an_earlier_set_when_nothing_has_arrived(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Moving(tmp_path, monkeypatch)
    pair(lab)
    first = lab.hv2.sets()[-1]
    killed_at(lab, "hv1 migrate db", migrate)
    lab.power_cut(lab.hv1)
    lab.hv1.answers = False
    fail_over(lab, first, dead_host="hv1")
    assert lab.hv2.sets()[-1] == first and lab.hv2.role()[0] == "ACTIVE" and lab.hv2.pending() == ""
    assert "arrived" not in lab.hv2.journal() and lab.did.index("hv2 systemctl stop") < lab.did.index("hv2 systemctl start")


def test_without_its_source_the_target_goes_on_with_what_has_moved_and_the_rest_from_the_set(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Moving(tmp_path, monkeypatch)
    lost_a(lab)
    with pytest.raises(Refused):
        fail_over(lab)
    fail_over(lab, dead_host="hv1")
    assert lab.hv2.running() == ["db", "web"]
    for name in ("db", "web"):
        assert all(path.startswith("/srv") for path in lab.hv2.vms[name]["conf"].values())
        assert lab.processes["hv2"][name].paths == lab.hv2.vms[name]["conf"]
    assert lab.flushed["db"] <= lab.disks["hv2"]["/srv/vms/db.img"].writes
    assert list((lab.hv2.place / "overlays").iterdir()) == []


def test_after_a_failover_an_overlay_that_could_not_be_merged_is_pending(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its VM writes is in no set: a backup that left it out would be called complete."""
    lab = Moving(tmp_path, monkeypatch)
    lost_a(lab)
    lab.faults["hv2 commit db vda"] = fails()
    with pytest.raises(HvmError, match="not everything runs: db: no space left on device"):
        fail_over(lab, dead_host="hv1")
    assert lab.hv2.pending().startswith("failover")
    with lab.on(lab.hv2):
        assert "did not end" in guards.backup(lab.observe(), None)[0].what
        assert "hvm.pair.recover" in advice.advice(lab.observe())
    lab.faults.clear()
    recovered(lab, lab.hv2, peer_is_down="hv1")
    assert lab.hv2.pending() == "" and list((lab.hv2.place / "overlays").iterdir()) == []


def test_half_copies_that_cannot_be_seen_are_not_what_a_vm_starts_from(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a reboot the filesystem of the overlays may not be mounted: an encrypted pool whose key came late."""
    lab = Moving(tmp_path, monkeypatch)
    lost_a(lab)
    lab.power_cut(lab.hv2)
    lab.again()
    mounted: list[bool] = []
    monkeypatch.setattr(overlays, "directory", lambda *dummy, **more: mounted.append(True))
    forget = overlays.forget
    monkeypatch.setattr(overlays, "forget", lambda found: forget(found) if mounted else None)
    fail_over(lab, dead_host="hv1")
    assert lab.hv2.running() == ["db", "web"] and list((lab.hv2.place / "overlays").iterdir()) == []


@pytest.mark.parametrize("choice", ["keep", "discard"])
def test_the_source_that_comes_back_has_overlays_of_its_own(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, choice: str
) -> None:
    lab = Moving(tmp_path, monkeypatch)
    lost_a(lab)
    fail_over(lab, dead_host="hv1")
    lab.again()
    lab.hv1.answers = True
    mine = lab.file(f"{overlays.overlay.DIRECTORY}/web.vda.qcow2", lab.hv1)
    with lab.on(lab.hv2) as at:
        found = rejoin.apply(at.config, rejoin.Words(), False, Progress())
        assert "overlays of" in found["own"]["sentence"] and lab.hv1.role()[0] == "DIVERGED"
        words = rejoin.Words(choice, "hv1" if choice == "discard" else "")
        done = rejoin.apply(at.config, words, False, Progress())
    places = list((lab.hv1.place / "overlays").glob("kept-*/web.vda.qcow2"))
    assert [lab.layers[place.stat().st_ino] for place in places] == ([mine] if choice == "keep" else [])
    assert any("kept-" in text for text in done["warnings"]) is (choice == "keep")
    assert lab.hv1.role()[0] == "PASSIVE" and lab.hv1.pending() == ""


def comes_back_and_wins(lab: Moving) -> None:
    """The source, after a failover to the target, by the operator's word."""
    fail_over(lab, dead_host="hv1")
    lab.again()
    lab.hv1.answers = True
    for name in ("db", "web"):
        lab.end(lab.hv2, name)
    lab.down(lab.hv2)
    lab.excused = ["db"]
    with lab.on(lab.hv1) as at:
        rejoin.apply(at.config, rejoin.Words(winner="hv1"), False, Progress())
    assert lab.hv1.running() == ["db", "web"] and lab.hv1.pending() == ""


def test_the_source_that_comes_back_and_wins_has_its_overlays_in_its_disks(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Moving(tmp_path, monkeypatch)
    lost_a(lab)
    mine = set(lab.flushed["web"])
    comes_back_and_wins(lab)
    assert list((lab.hv1.place / "overlays").iterdir()) == []
    assert mine <= lab.disks["hv1"]["/srv/vms/web.img"].writes


def test_one_that_wins_in_the_midst_of_its_way_back_goes_on_from_what_it_had_left(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: set[int] = set()
    lab = Moving(tmp_path, monkeypatch)
    lab.faults["hv1 confirm db"] = lambda: left.update(lab.flushed["db"])
    half_way(lab)
    lab.faults.clear()
    killed_at(lab, "hv1 copied db", lambda lab: recovered(lab, lab.hv1))
    assert lab.hv1.journal()[moving.HALF] == ["db"]
    lab.power_cut(lab.hv1)
    lab.hv1.answers = False
    comes_back_and_wins(lab)
    assert left and left <= lab.disks["hv1"]["/srv/vms/db.img"].writes
    for process in lab.processes["hv1"].values():
        assert all(process.memory <= layer.writes for layer in process.layers.values())


def test_overlays_that_no_journal_knows_are_merged_on_the_active_host(lab: Moving) -> None:
    killed_at(lab, "hv1 journal migrate_unsecure: last snapshot", migrate)
    assert lab.hv1.vms["web"]["conf"]["vda"] == overlays.overlay.overlay_path("web", "vda")
    lab.again()
    for dummy in range(2):
        (lab.hv1.place / "journal.json").unlink(missing_ok=True)
        done = recovered(lab, lab.hv1)
        lab.again()
    assert done["do"] == "" and list((lab.hv1.place / "overlays").iterdir()) == []
    lab.whole(lab.hv1, OFF)


@pytest.mark.parametrize("of", ["web", "gone"])
def test_an_overlay_that_no_vm_uses_stands_in_no_backups_way(lab: Moving, of: str) -> None:
    """A power cut undid its unlink, or its VM was undefined: nothing else would ever take it away."""
    (lab.hv1.place / "overlays" / f"{of}.vda.qcow2").write_text("writes")
    with lab.on(lab.hv1):
        assert "overlays are left" in guards.backup_unsecure(lab.observe(), None)[0].what
    done = recovered(lab, lab.hv1)
    with lab.on(lab.hv1):
        assert guards.backup_unsecure(lab.observe(), None) == []
    kept = [one.read_text() for one in (lab.hv1.place / "overlays").glob(f"kept-*/{of}.vda.qcow2")]
    assert kept == ["writes"]
    assert [f"overlays of {of}, which no VM uses, are kept in " in text for text in done["warnings"]] == [True]
    assert recovered(lab, lab.hv1)["do"] == ""


def test_the_source_forgets_its_overlays_also_when_nothing_had_mounted_them(lab: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else they are there again one day, and no journal knows them."""
    killed_at(lab, "hv2 journal ended", migrate)
    lab.power_cut(lab.hv1)
    mounted = [lab.hv2]
    monkeypatch.setattr(overlays, "is_mounted", lambda: lab.at in mounted)
    monkeypatch.setattr(overlays, "directory", lambda *dummy, **more: mounted.append(lab.at))
    forget = overlays.forget
    monkeypatch.setattr(overlays, "forget", lambda found: forget(found) if overlays.is_mounted() else None)
    recovered(lab, lab.hv2)
    assert list((lab.hv1.place / "overlays").iterdir()) != []
    assert recovered(lab, lab.hv1)["role"] == "PASSIVE"
    assert list((lab.hv1.place / "overlays").iterdir()) == []


def test_without_its_target_the_source_goes_on_by_two_words(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Moving(tmp_path, monkeypatch)
    half_way(lab)
    lab.power_cut(lab.hv2)
    lab.hv2.answers = False
    for words in ({}, {"peer_is_down": "hv2"}):
        with pytest.raises(Refused, match="db"):
            recovered(lab, lab.hv1, **words)
    lab.excused = ["db"]
    recovered(lab, lab.hv1, peer_is_down="hv2", give_up="hv2")
    assert lab.hv1.running() == ["db", "web"] and lab.hv1.pending() == ""
    assert lab.flushed["web"] <= lab.disks["hv1"]["/srv/vms/web.img"].writes
    lab.again()
    # that host is found again: what db has written there is its own
    lab.hv2.answers = True
    assert recovered(lab, lab.hv2)["do"] == "elsewhere"
    with lab.on(lab.hv1) as at:
        found = rejoin.apply(at.config, rejoin.Words(), False, Progress())
        assert (found["do"], lab.hv2.role()[0], list(found["own"]["overlays"])) == ("diverge", "DIVERGED", ["db"])
        assert "overlays of db" in found["own"]["sentence"] and "in these" in found["own"]["sentence"]
        again = rejoin.apply(at.config, rejoin.Words(), False, Progress())
        assert (again["changed"], list(again["own"]["overlays"])) == (False, ["db"])
        done = rejoin.apply(at.config, rejoin.Words("discard", "hv2"), False, Progress())
    assert (done["warnings"], lab.hv2.role()[0], lab.hv2.pending(), lab.hv2.inert()) == ([], "PASSIVE", "", True)
    assert list((lab.hv2.place / "overlays").iterdir()) == []


def lost_b(lab: Moving) -> None:
    half_way(lab)
    lab.power_cut(lab.hv2)
    lab.hv2.answers = False
    lab.excused = ["db"]


@pytest.mark.parametrize("strike", ["process", "power hv1"])
def test_what_was_given_up_stays_so_whatever_ends_it_and_whoever_is_found_again(strike: str) -> None:
    """Nothing is merged, and no VM started, before it is written down: else that host's overlay came over other disks."""
    ends = set()
    words = {"peer_is_down": "hv2", "give_up": "hv2"}
    sparse = min(SPARSE, 3)  # so that some are struck before it is written down
    for lab, effect in each_strike(strike, lost_b, lambda lab: recovered(lab, lab.hv1, **words), sparse=sparse):
        entry = lab.hv1.journal()
        given_up = bool(entry.get("done")) or entry.get("set") == ""
        assert given_up or not any(one.startswith(("hv1 commit", "hv1 bring", "hv1 qemu-img commit")) for one in lab.did), effect
        done = recovered(lab, lab.hv1)  # that host answers again by now
        assert ("db come back from hv2" in done["sentence"]) is not given_up, effect
        assert ("hv1 fetch db.vda.qcow2" in lab.did) is not given_up, effect
        assert lab.hv1.running() == ["db", "web"] and lab.hv1.pending() == "", effect
        said = recovered(lab, lab.hv2)
        assert given_up is ("hvm.pair.rejoin comes next" in said["sentence"]), effect
        ends.add(given_up)
    assert ends == {True, False}


@pytest.mark.parametrize("strike", ["process", "power hv1"])
def test_what_had_come_back_by_half_is_not_what_a_vm_goes_on_from(strike: str) -> None:
    """The way back is cut off, and then the other host is lost for good: what was left behind here is whole, and counts."""
    left: dict[str, set[int]] = {}

    def prepare(lab: Moving) -> None:
        lab.faults["hv1 confirm db"] = lambda: left.update(db=set(lab.flushed["db"]))
        half_way(lab)
        lab.faults.clear()

    words = {"peer_is_down": "hv2", "give_up": "hv2"}
    for lab, effect in each_strike(strike, prepare, lambda lab: recovered(lab, lab.hv1)):
        lab.power_cut(lab.hv2)
        lab.hv2.answers = False
        lab.excused = ["db"]
        recovered(lab, lab.hv1, **words)
        missing = left["db"] - lab.disks["hv1"]["/srv/vms/db.img"].writes
        assert not missing and lab.hv1.running() == ["db", "web"], f"{effect}: {sorted(missing)}"
        for name in ("db", "web"):
            process = lab.processes["hv1"][name]
            assert all(process.memory <= layer.writes for layer in process.layers.values()), f"{effect}: {name}"
        assert lab.remains(lab.hv1) == [] and lab.hv1.pending() == "", effect


# ---- the set of a move, later


def test_a_set_that_was_taken_in_the_midst_of_it_is_one_to_go_on_from(lab: Moving) -> None:
    """Its definitions name overlays that are gone."""
    migrate(lab)
    lab.again()
    lab.power_cut(lab.hv2)
    lab.hv2.answers = False
    with lab.on(lab.hv1) as at:
        done = failover.apply(at.config, "last", failover.Words(dead_host="hv2"), False, Progress())
        assert set(done["left"]) == {"db", "mail", "web"}  # nobody said that they ran
        for name in ("db", "web"):
            assert lab.hv1.vms[name]["conf"] == {dev: one[0] for dev, one in lab.hv1.vms[name]["disks"].items()}
            lab.bring(None, name)
    assert lab.hv1.running() == ["db", "web"]
