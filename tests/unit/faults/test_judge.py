# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import _judge
import _witness
import pytest
from _judge import Advice

from ansible_collections.hvm.pair.plugins.module_utils._pair import advice

# as ansible-playbook prints it with callback_result_format=json
STATUS = """\
TASK [Status] ******************************************************************
ok: [hva] => {
    "msg": [
        "Hypervisor is stopped",
        "hva is UNKNOWN (pair lab, epoch 1; install)",
        "Next: hvm.pair.recover: it was ACTIVE before it rebooted"
    ]
}
ok: [hvb] => {
    "msg": [
        "hvb is PASSIVE (pair lab, epoch 1; install)",
        "Pending: checkpoint, begun 2026-11-25T04:45:29+00:00, stopped at 'memory'",
        "Next: the next backup ends it: hvm.pair.backup_secure"
    ]
}
"""


def test_what_status_says_is_understood():
    """By the function itself, so that a new kind of advice is seen here."""
    for operation, text in advice.ENDED_BY.items():
        if operation == "unknown":  # nobody but a person can tell
            continue
        assert _judge.advised(f'ok: [a] => {{\n "Next: {text}"')[0].what in ("backup_secure", "backup_unsecure", "rollback")
    found = {
        "role": {"now": "ACTIVE"},
        "pending": None,
        "lock": None,
        "hypervisor": {"running": True},
        "qemu": [],
        "not_inert": [],
        "saved": ["echo"],
        "vms": {},
    }
    said = advice.advice(found)
    assert _judge.advised(f'ok: [a] => {{\n "Next: {said}"') == [Advice("a", "hvm_vm", ("state=restored", "name=echo"))]
    said = advice.advice({**found, "vms": {name: {"state": "frozen", "io_error": True} for name in ("a", "b")}})
    assert _judge.advised(f'ok: [a] => {{\n "Next: {said}"') == [Advice("a", "hvm_vm", ("state=unfrozen", "name=a,b"))]
    said = advice.advice({**found, "saved": [], "shared_ip": {"addresses": {"10.0.0.1/24": False}}})
    assert _judge.advised(f'ok: [a] => {{\n "Next: {said}"') == [Advice("a", "hv_start")]


def test_advice_is_read_from_what_status_prints():
    assert _judge.advised(STATUS) == [Advice("hva", "recover"), Advice("hvb", "backup_secure")]


def test_recover_comes_first():
    swapped = STATUS.replace("[hva]", "[x]").replace("[hvb]", "[hva]").replace("[x]", "[hvb]")
    turned = "\n".join([*swapped.splitlines()[8:], *swapped.splitlines()[:8]])
    assert [one.what for one in _judge.advised(turned)] == ["recover", "backup_secure"]


@pytest.mark.parametrize(
    ("text", "what", "words"),
    [
        ("hvm.pair.rollback hvm_rollback_state=undone goes on with it", "rollback", ("hvm_rollback_state=undone",)),
        ("hvm.pair.rollback goes on with it; hvm_rollback_state=undone goes back", "rollback", ()),
        ("hvm.pair.hv_start, if the hypervisor is not stopped on purpose", "hv_start", ()),
        ("hvm_vm state=restored for a, b, if not saved on purpose", "hvm_vm", ("state=restored", "name=a,b")),
        ("look at it", "look at it", ()),
    ],
)
def test_what_is_to_be_run_and_the_words_right_behind_it(text, what, words):
    assert _judge.advised(f'ok: [hva] => {{\n  "Next: {text}"\n') == [Advice("hva", what, words)]


def test_no_advice():
    assert _judge.advised('ok: [hva] => {\n    "msg": [\n        "hva is ACTIVE"\n    ]\n}\n') == []


def side(host, now, **more):
    active = now == "ACTIVE"
    return {
        "host": host,
        "role": {"now": now},
        "lock": None,
        "pending": None,
        "qemu": ["one", "two"] if active else [],
        "hypervisor": {"running": active},
        "vms": {name: {"state": "running"} for name in ("one", "two")} if active else {},
        "shared_ip": {"addresses": {"10.0.0.1/24": active, "fd42::1/64": active}},
        "not_inert": [],
        "overlays": {},
        **more,
    }


NAMES = ["one", "two"]


def test_a_pair_that_is_whole():
    assert _judge.pair([side("a", "PASSIVE"), side("b", "ACTIVE")], NAMES) == []


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        (side("a", "ACTIVE"), side("b", "ACTIVE"), "the roles are ACTIVE of a and ACTIVE of b"),
        (side("a", "PASSIVE"), side("b", "UNKNOWN"), "the roles are PASSIVE of a and UNKNOWN of b"),
        (side("a", "ACTIVE", lock="sync by root"), side("b", "PASSIVE"), "a is still at work: sync by root"),
        (
            side("a", "ACTIVE"),
            side("b", "PASSIVE", pending={"operation": "migrate_secure", "step": "save"}),
            "b has something pending: migrate_secure at 'save'",
        ),
        (side("a", "ACTIVE", qemu=["two"]), side("b", "PASSIVE"), "one: not running on a, which is ACTIVE"),
        (
            side("a", "ACTIVE", vms={"one": {"state": "frozen"}, "two": {"state": "running"}}),
            side("b", "PASSIVE"),
            "one: frozen on a",
        ),
        (side("a", "ACTIVE"), side("b", "PASSIVE", qemu=["one"]), "b is PASSIVE and runs: one"),
        (side("a", "ACTIVE", qemu=["one", "two", "x"]), side("b", "PASSIVE"), "x: running on a, and was off"),
        (side("a", "ACTIVE", overlays={"one": ["f"]}), side("b", "PASSIVE"), "a has overlays: one"),
        (side("a", "ACTIVE"), side("b", "PASSIVE", overlays={"one": []}), "b has overlays: one"),
        (side("a", "ACTIVE"), side("b", "PASSIVE", hypervisor={"running": True}), "b is PASSIVE and runs: its hypervisor"),
        (side("a", "ACTIVE"), side("b", "PASSIVE", not_inert=["ssd/x is mounted"]), "b: ssd/x is mounted"),
        (
            side("a", "ACTIVE", shared_ip={"addresses": {"10.0.0.1/24": True, "fd42::1/64": False}}),
            side("b", "PASSIVE"),
            "a is ACTIVE and has not the whole shared IP: 10.0.0.1/24",
        ),
        (
            side("a", "ACTIVE"),
            side("b", "PASSIVE", shared_ip={"addresses": {"10.0.0.1/24": True}}),
            "b is PASSIVE and has the shared IP: 10.0.0.1/24",
        ),
    ],
)
def test_what_is_wrong_with_a_pair(a, b, sentence):
    assert _judge.pair([a, b], NAMES) == [sentence]


def beats(*spans, vm="one", kind="C"):
    """(first time, last time, first counter) with two beats a second; a cold boot where the counter is given as text."""
    found = []
    for number, (first, last, counter) in enumerate(spans):
        boot = isinstance(counter, str)
        for at in range(int((last - first) * 2) + 1):
            found.append(
                {
                    "t": first + at / 2,
                    "vm": vm,
                    "host": "a",
                    "source": f"a:{number}",
                    "where": "1",
                    "rtc": 0,
                    "kind": "B" if boot and not at else kind,
                    "counter": int(counter) + at,
                    "disagreements": 0,
                }
            )
    return found


def reports(given, after=0.0):
    return _witness.analyse(given, after, None, ["one"])


def test_a_cold_boot_counts_only_where_the_power_went():
    given = reports(beats((0, 10, 100), (40, 50, "120")))
    assert _judge.counts(given, ["one"], None, may_boot=["one"]) == []
    assert _judge.counts(given, ["one"], None, may_boot=[]) == ["one lost its RAM: cold boot at 120 after 120"]


def test_a_vm_boots_once_where_the_power_went_once():
    given = reports(beats((0, 10, 100), (40, 50, "120"), (60, 70, "141")))
    both = ["one lost its RAM: cold boot at 120 after 120", "one lost its RAM: cold boot at 141 after 140"]
    assert [text for text in _judge.counts(given, ["one"], None, ["one"]) if "cold boot" in text] == both
    assert _judge.counts(given, ["one"], None, ["one"], times=2) == []
    assert [text for text in _judge.counts(given, ["one"], None, ["two"], times=2) if "cold boot" in text] == both


def test_which_vms_a_host_had_when_the_power_went():
    moved = [{**beat, "host": "b"} for beat in beats((12, 20, 126))]
    given = beats((0, 10, 100)) + moved + beats((0, 30, 100), vm="two")
    assert _judge.on_host(given, "a", 11.0) == {"one", "two"}
    assert _judge.on_host(given, "a", 15.0) == {"two"}
    assert _judge.on_host(given, "b", 15.0) == {"one"}


def test_a_boot_that_was_not_heard_is_seen_by_its_reason():
    """Behind a link that is cut the beats of a cold boot go nowhere, and what comes later looks as if it had gone on."""
    unheard = reports(beats((0, 15, 100), (42, 60, 131)))
    assert _judge.counts(unheard, ["one"], None, []) == []
    reasons = {"one": "running (booted)", "two": "running (unpaused)", "three": "running (restored)"}
    assert _judge.booted(reasons, []) == ["one was booted"]
    assert _judge.booted(reasons, ["one"]) == []


def test_how_long_a_vm_was_away():
    given = beats((0, 10, 100), (16, 30, 121)) + beats((0, 30, 100), vm="two")
    assert _judge.silence(given, ["one", "two"], 5.0) == 6.0
    assert _judge.silence(given, ["one", "two"], 12.0) == 4.0
    assert _judge.silence(given, ["one", "two"], 20.0) == 0.5
    assert _judge.silence(given, ["two"], 5.0) == 0.5


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ('fatal: [hva]: FAILED! => {"msg": "unexpected KeyError: a bug"}', 'unexpected KeyError: a bug"}'),
        ("Traceback (most recent call last):\n  File", "Traceback (most recent call last)"),
        ("hvm: unexpected CommandError: zfs get failed", "unexpected CommandError: zfs get failed"),
        ("hva is ACTIVE; an unexpected end of the stream", ""),
        ("", ""),
    ],
)
def test_what_no_procedure_may_say(output, said):
    assert _judge.bug(output) == said


def test_going_back_is_allowed_down_to_the_last_set_only():
    given = reports(beats((0, 10, 100), (40, 50, 110)))
    assert _judge.counts(given, ["one"], {"one": 105}, may_boot=["one"]) == []
    assert _judge.counts(given, ["one"], None, may_boot=["one"]) == ["one went back from 120 to 110"]
    assert _judge.counts(given, ["one"], {"one": 111}, may_boot=["one"]) == [
        "one went back from 120 to 110, and the last completed set has 111"
    ]


def test_a_vm_that_need_not_run_may_be_silent_and_nothing_else():
    given = _witness.analyse(beats((0, 10, 100), (40, 50, 110)), 0.0, 90.0, ["one"])
    assert _judge.counts(given, [], None, may_boot=["one"]) == ["one went back from 120 to 110"]


def test_serving_again_is_when_the_last_vm_is_heard():
    given = beats((0, 10, 100), (40, 60, 121)) + beats((0, 12, 100), (52, 60, 125), vm="two")
    assert _judge.serving(given, ["one", "two"], 11.0, 55.0) == 41.0
    assert _judge.serving(given, ["one"], 11.0, 55.0) == 29.0


def test_a_vm_that_was_not_away():
    assert _judge.serving(beats((0, 60, 100)), ["one"], 11.0, 55.0) == 0.0


def test_what_comes_later_is_of_something_else():
    given = beats((0, 10, 100), (40, 60, 121), (80, 90, 162))
    assert _judge.serving(given, ["one"], 11.0, 55.0) == 29.0


def test_a_vm_that_is_not_heard_again():
    assert _judge.serving(beats((0, 10, 100)), ["one"], 11.0, 55.0) is None
    assert _judge.serving([], ["one"], 11.0, 55.0) is None


def test_an_increment_has_a_base():
    active = {"ssd": ["s1 1", "s2 2"], "rot": ["s1 3", "s2 4"]}
    assert _judge.incremental(active, active, "s2") == []
    assert _judge.incremental(active, {"ssd": ["s2 2"], "rot": ["s1 3", "s2 4"]}, "s2") == [
        "ssd was sent as a whole: the hosts have no older snapshot in common"
    ]
    assert _judge.incremental(active, {"ssd": ["s1 1", "s2 2"]}, "s2") == ["rot has not arrived with s2"]
    assert _judge.incremental(active, {"ssd": ["s1 1", "s2 2"], "rot": ["s1 3", "s2 9"]}, "s2") == ["rot has not arrived with s2"]
