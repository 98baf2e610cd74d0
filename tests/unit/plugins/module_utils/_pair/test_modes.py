# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._libvirt import description
from ansible_collections.hvm.pair.plugins.module_utils._pair import modes
from ansible_collections.hvm.pair.plugins.module_utils._pair.modes import (
    AUTO,
    BACK,
    DIRECT,
    LIVE,
    REFUSE,
    REFUSED,
    SECURE,
    Policy,
)

MIB = 1 << 20
#: 100 MiB/s, and a VM of 1000 MiB: 10 s for all of its memory.
LINK = 100 * MIB
POLICY = Policy(link=LINK)
NOTHING: dict[str, list[str]] = {
    kind: [] for kind in ("tpm", "filesystems", "vhost_user", "shareable", "transient", "encrypted", "luns", "jobs", "media")
}


def disk(path: str = "/srv/vms/web.img", **more: t.Any) -> dict[str, t.Any]:
    return {"path": path, "device": "disk", "readonly": False, **more}


def vm(obstacles: dict[str, list[str]] | None = None, **more: t.Any) -> dict[str, t.Any]:
    known = {"state": "running", "memory_kib": 1000 << 10, "disks": [disk()], "hostdevs": 0, "persistent": True, "saved": False}
    return {**known, "snapshots": False, "move": AUTO, "obstacles": {**NOTHING, **(obstacles or {})}, **more}


def covered(path: str) -> bool:
    return path.startswith(("/srv/", "/dev/zvol/ssd/"))


def chosen(one: dict[str, t.Any], policy: Policy = POLICY, dirty: int | None = 0, **more: t.Any) -> modes.Choice:
    return modes.choose("web", one, policy, dirty, covered=covered, host="hv1", **more)


def test_the_words_of_a_description_are_those_of_an_operator() -> None:
    assert description.MOVES == modes.WISHES


# ---- what is in the way


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (vm(hostdevs=1), "holds a device of the host"),
        (vm(persistent=False), "is transient and would be lost"),
        (vm(saved=True), "runs and yet has a state image"),
        (vm({"tpm": ["passthrough"]}), "uses the TPM of the host"),
        (vm({"filesystems": ["srv"]}), "has a directory of the host (srv)"),
        (vm({"transient": ["vda"]}), "has a disk whose writes are thrown away (vda)"),
        (vm({"luns": ["vdb"]}), "has a device of the host as its disk vdb"),
        (vm({"jobs": ["vda"]}), "has a disk that libvirt works on (vda)"),
        (vm({"media": ["/iso/a.iso"]}), "has the medium /iso/a.iso, which is on no replicated dataset"),
        (vm(disks=[disk("/data/web.img")]), "has the disk /data/web.img, which is on no replicated dataset"),
        (vm(disks=[disk("rbd/web")]), "has the disk rbd/web, which is on no replicated dataset"),
        (vm(disks=[disk("/var/lib/hvm/overlays/web.vda")]), "still writes into an overlay: /var/lib/hvm/overlays/web.vda"),
    ],
)
@pytest.mark.parametrize("wish", modes.WISHES)
def test_what_can_neither_move_nor_be_saved(one: dict[str, t.Any], said: str, wish: str) -> None:
    found = chosen({**one, "move": wish})
    assert (found.mode, [finding.what for finding in found.findings]) == (REFUSED, [f"VM web {said}"])
    assert all(finding.remedy.endswith(".") and finding.host == "hv1" for finding in found.findings)


def test_everything_at_once() -> None:
    found = chosen(vm({"tpm": ["passthrough"], "luns": ["vdb", "vdc"]}, hostdevs=1))
    assert len(found.findings) == 4


def test_what_is_read_only_or_empty_is_in_nobodys_way() -> None:
    others = [disk("/iso/a.iso", device="cdrom"), disk("/data/a", readonly=True), disk(None)]  # type: ignore[arg-type]
    assert chosen(vm({"media": ["/srv/iso/a.iso"]}, disks=[disk("/dev/zvol/ssd/web"), *others])).mode == LIVE


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (vm({"vhost_user": ["vhostuser"]}), "it has a device whose other end is a program of the host (vhostuser)"),
        (vm({"shareable": ["vdb"]}), "another VM may write to its disk vdb"),
        (vm({"encrypted": ["vda"]}), "its disk vda is encrypted by QEMU"),
        (vm(snapshots=True), "it has snapshots of libvirt's"),
    ],
)
def test_what_does_not_move_is_saved_unless_somebody_wants_it_to_move(one: dict[str, t.Any], why: str) -> None:
    assert (chosen(one).mode, chosen(one).why) == (SECURE, why)
    assert chosen({**one, "move": SECURE}).mode == SECURE
    for wish in (LIVE, DIRECT):
        found = chosen({**one, "move": wish})
        assert [finding.what for finding in found.findings] == [f"VM web cannot move ({wish}): {why}"]


def test_two_that_run_with_one_disk_are_saved_both() -> None:
    vms = {"a": vm(), "b": vm(), "c": vm(disks=[disk("/srv/c")]), "off": vm(state="stopped", disks=[disk("/srv/c")])}
    found = modes.choose_all(vms, POLICY, {}, covered, "hv1")
    assert {name: one.mode for name, one in found.items()} == {"a": SECURE, "b": SECURE, "c": LIVE}
    assert found["a"].why == "another VM has its disk /srv/vms/web.img, too"


# ---- live, or not


@pytest.mark.parametrize(
    ("dirty", "policy", "mode", "throttle", "then", "pause", "seconds"),
    [
        (0, {}, LIVE, False, DIRECT, 0.8, 10.0),
        (50 * MIB, {}, LIVE, False, DIRECT, 0.8, 20.0),
        (75 * MIB, {}, LIVE, False, DIRECT, 0.8, 40.0),
        (75 * MIB, {"limit": 30}, LIVE, True, DIRECT, 10.5, 30.0),
        (79 * MIB, {}, LIVE, True, DIRECT, 10.5, 10.0),  # as good as unknown: what it may be wrong by decides
        (79 * MIB, {"fallback": REFUSE}, LIVE, True, BACK, 0.8, 10.0),
        (80 * MIB, {}, LIVE, True, DIRECT, 10.5, 300.0),
        (80 * MIB, {"limit": 9}, DIRECT, False, "", 10.5, 10.0),
        (80 * MIB, {"fallback": SECURE}, SECURE, False, "", 30.5, 30.0),
        (80 * MIB, {"fallback": REFUSE}, REFUSED, False, "", None, None),
        (0, {"fallback": REFUSE}, LIVE, False, BACK, 0.8, 10.0),
        (0, {"fallback": SECURE}, LIVE, False, BACK, 0.8, 10.0),
        (80 * MIB, {"wish": LIVE}, LIVE, True, BACK, 0.8, 300.0),
        (0, {"wish": DIRECT}, DIRECT, False, "", 10.5, 10.0),
        (0, {"wish": SECURE}, SECURE, False, "", 30.5, 30.0),
        (None, {}, LIVE, True, DIRECT, 10.5, 10.0),
        (None, {"fallback": REFUSE}, LIVE, True, BACK, 0.8, 10.0),
        (None, {"max_pause": 11}, LIVE, True, DIRECT, 10.5, 10.0),
        (None, {"max_pause": 10}, LIVE, True, BACK, 0.8, 10.0),  # rather given up than paused for too long
        (50 * MIB, {"link": 0}, LIVE, True, DIRECT, None, None),
        # the operator's rate is for memory that moves, not for the sync that carries a saved VM
        (0, {"rate": 10 * MIB}, LIVE, False, DIRECT, 0.8, 100.0),
        (0, {"rate": 200 * MIB}, LIVE, False, DIRECT, 0.8, 10.0),
        (50 * MIB, {"rate": 10 * MIB, "link": 0}, LIVE, True, DIRECT, 100.5, 300.0),
        (0, {"rate": 10 * MIB, "wish": DIRECT}, DIRECT, False, "", 100.5, 100.0),
        (0, {"rate": 10 * MIB, "wish": SECURE}, SECURE, False, "", 30.5, 30.0),
        (0, {"rate": 10 * MIB, "wish": SECURE, "link": 0}, SECURE, False, "", None, None),
        (0, {"max_pause": 1}, LIVE, False, DIRECT, 0.8, 10.0),
    ],
)
def test_how_a_running_vm_moves(
    dirty: int | None,
    policy: dict[str, t.Any],
    mode: str,
    throttle: bool,
    then: str,
    pause: float | None,
    seconds: float | None,
) -> None:
    found = modes.choose_all({"web": vm()}, POLICY._replace(**policy), {"web": dirty}, covered, "hv1")["web"]
    assert (found.mode, found.throttle, found.then) == (mode, throttle, then)
    assert (found.pause, found.seconds) == (pytest.approx(pause), pytest.approx(seconds))


def test_the_word_for_the_run_counts_more_than_the_description() -> None:
    assert chosen(vm(move=DIRECT)).mode == DIRECT
    assert chosen(vm(move=DIRECT), POLICY._replace(wish=LIVE)).mode == LIVE
    assert chosen(vm(move=DIRECT), POLICY._replace(wish=AUTO)).mode == DIRECT


def test_a_frozen_vm_moves_direct_and_is_interrupted_by_nothing() -> None:
    found = chosen(vm(state="frozen", move=LIVE), POLICY._replace(max_pause=1))
    assert (found.mode, found.frozen, found.pause) == (DIRECT, True, 0.0)
    saved = chosen(vm(state="frozen", snapshots=True), POLICY._replace(max_pause=1))
    assert (saved.mode, saved.frozen, saved.pause) == (SECURE, True, 0.0)


def test_one_that_would_stand_still_for_too_long_is_refused() -> None:
    policy = POLICY._replace(max_pause=10)
    found = modes.choose_all({"web": vm(move=DIRECT), "db": vm(disks=[disk("/srv/db")])}, policy, {"db": 0}, covered, "hv1")
    assert modes.refusals(found)[0].sentence() == (
        "hv1: VM web would stand still for 11 s (direct), and 10 s are allowed: it is wished so. Allow more "
        "(hvm_move_max_pause), choose another way for it (hvm_move_mode), or wait until it has less to do."
    )
    assert (modes.of_mode(found, LIVE), modes.of_mode(found, REFUSED)) == (["db"], ["web"])


def test_a_saved_vm_waits_for_the_others() -> None:
    vms = {"db": vm(snapshots=True), "web": vm(disks=[disk("/srv/web")]), "off": vm(state="stopped")}
    found = modes.choose_all(vms, POLICY, {"web": 50 * MIB}, covered, "hv1")
    assert {name: one.pause for name, one in found.items()} == {"db": pytest.approx(50.5), "web": pytest.approx(0.8)}


@given(
    st.integers(1, 1 << 44),
    st.one_of(st.none(), st.integers(0, 1 << 36)),
    st.integers(0, 1 << 36),
    st.integers(1, 7200),
    st.sampled_from(modes.WISHES),
    st.sampled_from(modes.FALLBACKS),
    st.integers(0, 100),
    st.one_of(st.just(0), st.integers(1, 1 << 36)),
)
def test_whatever_the_rates_the_policy_is_kept(
    memory: int, dirty: int | None, link: int, limit: int, wish: str, fallback: str, max_pause: int, rate: int
) -> None:
    policy = Policy(wish, link, limit, max_pause, fallback, rate)
    one = vm(memory_kib=memory)
    found = modes.choose_all({"web": one}, policy, {"web": dirty}, covered, "hv1")["web"]
    assert (found.mode == REFUSED) == bool(found.findings)
    if max_pause and found.pause is not None:
        assert found.pause <= max_pause
    if found.mode == LIVE:
        assert wish in (AUTO, LIVE)
        assert found.then in (DIRECT, BACK)
        # it ends by itself within its time, or something is done about it
        assert found.throttle or (modes.converges(dirty, policy.speed) and (found.seconds or 0.0) <= limit)
        if found.then == DIRECT:
            assert (wish, fallback) == (AUTO, DIRECT)
            if max_pause and policy.speed and found.throttle:  # whatever it does: it is paused with no more than its memory
                assert memory * 1024 / policy.speed <= max_pause
        # nobody is slowed down who was seen to end in time
        if found.known and found.throttle and dirty is not None:
            assert not modes.converges(dirty, policy.speed) or modes.live_seconds(memory * 1024, dirty, policy.speed) > limit
    if found.mode == DIRECT:
        assert DIRECT in (wish, fallback)
    if wish == SECURE:
        assert found.mode in (SECURE, REFUSED)
    assert modes.plan_line("web", found) if found.mode != REFUSED else True
    told = modes.expected(found)
    assert (told["mode"], told.get("expected_interruption") is None) == (found.mode, found.pause is None)


@given(st.integers(0, 1 << 36), st.integers(1, 1 << 36))
def test_a_rate_that_may_be_wrong_turns_nothing(dirty: int, link: int) -> None:
    found = modes.certain(dirty, link)
    if found is None:
        assert modes.converges(dirty, link) and not modes.converges(dirty + modes.UNSURE, link)
    else:
        assert found == dirty
        assert modes.converges(dirty, link) == modes.converges(dirty + modes.UNSURE, link) or not modes.converges(dirty, link)
    assert modes.certain(None, link) is None


@given(st.integers(1, 1 << 40), st.integers(0, 1 << 36), st.integers(0, 1 << 36), st.integers(1, 1 << 36))
def test_more_memory_that_changes_takes_no_less_time_and_a_faster_link_no_more(memory: int, a: int, b: int, link: int) -> None:
    low, high = sorted((a, b))
    fast, slow = (modes.live_seconds(memory, dirty, link) for dirty in (low, high))
    assert slow is None or (fast is not None and fast <= slow)
    faster = modes.live_seconds(memory, low, 2 * link)
    assert fast is None or (faster is not None and faster <= fast)


def test_what_is_measured_and_how_that_is_said() -> None:
    vms = {
        "auto": vm(), "live": vm(move=LIVE), "direct": vm(move=DIRECT), "secure": vm(move=SECURE), "off": vm(state="stopped"),
        "ice": vm(state="frozen"), "lost": vm(state="other"),
    }  # fmt: skip
    assert modes.worth_measuring(vms, POLICY) == ["auto", "live"]
    assert modes.worth_measuring(vms, POLICY._replace(wish=LIVE)) == ["auto", "direct", "live", "secure"]
    assert modes.worth_measuring(vms, POLICY._replace(wish=DIRECT)) == []
    assert modes.measured_lines(modes.NOTHING) == modes.measured_lines(modes.Measured(0, {"web": None})) == []
    assert modes.measured_lines(modes.Measured(LINK, {"web": 3 * MIB, "db": None, "calm": 0})) == [
        "the link carries 100.0 MiB in a second",
        "of the VMs' memory change in a second: calm 0 B, web 3.0 MiB",
    ]


SLOWED = "slowed down if it does not converge, then"
UNKNOWN = "1000.0 MiB of memory, of which 100.0 MiB can go over in a second; how fast it changes is not known"
ENDLESS = "it would not end by itself"
CHANGES = "of 1000.0 MiB of memory {} change in a second, and 100.0 MiB can go over"


@pytest.mark.parametrize(
    ("dirty", "policy", "said"),
    [
        (0, {}, f"live, in about 10 s, about 0.8 s of interruption: {CHANGES.format('0 B')}"),
        (None, {}, f"live, in 10 s or more, at most 11 s of interruption; {SLOWED} paused and moved: {UNKNOWN}"),
        (
            None,
            {"fallback": REFUSE},
            f"live, in 10 s or more, about 0.8 s of interruption; {SLOWED} given up: {UNKNOWN}",
        ),
        (None, {"link": 0}, f"live; {SLOWED} paused and moved: 1000.0 MiB of memory; how fast it changes is not known"),
        (0, {"wish": DIRECT}, "direct, in about 10 s, about 11 s of interruption: it is wished so"),
        (0, {"wish": SECURE}, "secure, about 31 s of interruption, until all others have moved: it is wished so"),
        (
            90 * MIB,
            {"wish": LIVE},
            f"live, in about 300 s, about 0.8 s of interruption; {SLOWED} given up: {CHANGES.format('90.0 MiB')}: {ENDLESS}",
        ),
    ],
)
def test_what_is_expected_of_one_vm(dirty: int | None, policy: dict[str, t.Any], said: str) -> None:
    found = modes.choose_all({"web": vm()}, POLICY._replace(**policy), {"web": dirty}, covered, "hv1")["web"]
    assert modes.plan_line("web", found) == f"web: {said}"


def test_the_plan() -> None:
    vms = {
        "busy": vm(disks=[disk("/srv/busy")]),
        "db": vm(snapshots=True),
        "ice": vm(state="frozen", disks=[disk("/srv/ice")]),
        "web": vm(disks=[disk("/srv/web")]),
    }
    found = modes.choose_all(vms, POLICY, {"web": 10 * MIB, "busy": 200 * MIB}, covered, "hv1")
    assert modes.plan(found, "hv1", "hv2", ["192.0.2.1/24"]) == [
        "snapshot, sync, until the rest is small",
        "save these VMs: db",
        "overlays for the disks of busy, ice, web: from then on nobody writes the disks themselves",
        "snapshot set, sync, verify",
        "hv2 makes ready to take the VMs, without becoming ACTIVE",
        "move to hv2, by priority:",
        (
            "busy: live, in about 300 s, at most 11 s of interruption; slowed down if it does not converge, then paused and "
            "moved: of 1000.0 MiB of memory 200.0 MiB change in a second, and 100.0 MiB can go over: it would not end by itself"
        ),
        "db: secure, about 352 s of interruption, until all others have moved: it has snapshots of libvirt's",
        "ice: direct, and stays frozen: it is frozen, and stays so",
        (
            "web: live, in about 12 s, about 0.8 s of interruption: of 1000.0 MiB of memory 10.0 MiB change in a second, and "
            "100.0 MiB can go over"
        ),
        "shared IP off on hv1",
        "stop the hypervisor on hv1, hv1 becomes PASSIVE",
        "hv2 becomes ACTIVE",
        "restore these VMs: db",
        "shared IP on at hv2",
        "merge the overlays into the disks",
    ]
    assert modes.plan({}, "hv1", "hv2") == [
        "snapshot, sync, until the rest is small",
        "snapshot set, sync, verify",
        "hv2 makes ready to take the VMs, without becoming ACTIVE",
        "stop the hypervisor on hv1, hv1 becomes PASSIVE",
        "hv2 becomes ACTIVE",
    ]
