# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes is decided on two hosts that exist in memory; the commands themselves are tried on real ZFS."""

from __future__ import annotations

import copy
import datetime
import itertools
import pathlib
import struct
import typing as t

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import prune
from ansible_collections.hvm.pair.plugins.module_utils._zfs import inventory, names, plan, protect, retention
from ansible_collections.hvm.pair.plugins.module_utils._zfs.retention import Decision, Rules

PAIR = "p"
A, B = "tank/vm/a", "tank/vm/b"
CONFIG = PairConfig(PAIR, Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("tank/vm",), "/vm/state")
START = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)


def name(number: int, mark: str = "C") -> str:
    """The set of hour `number`."""
    return f"hvm_{START + datetime.timedelta(hours=number):%Y%m%dT%H%M%SZ}_{PAIR}_{mark}"


S = [name(number) for number in range(12)]


class FakeHost:
    """Datasets, holds, bookmarks and the ledger of one host, and what the library asks of them."""

    def __init__(self, *datasets: str) -> None:
        props = {
            "type": "filesystem",
            "props": {"encryption": ["off", "-"], "written": ["0", "-"], "receive_resume_token": ["-", "-"]},
        }
        self.datasets: inventory.Inventory = {
            one: copy.deepcopy({**props, "guid": one, "snapshots": [], "bookmarks": []}) for one in ("tank/vm", *datasets)
        }
        self.held: dict[str, list[str]] = {}
        self.ledger: dict[str, bool] | None = None
        self.pending: dict[str, t.Any] | None = None
        self.peer: FakeHost | None = None
        self.blocked: dict[str, str] = {}
        self.stubborn: dict[str, str] = {}
        self.health = {"tank": "ONLINE"}
        self.times: dict[str, int] = {}
        self.asked = 0

    def take(self, number: int, *datasets: str, mark: str = "C") -> str:
        taken = name(number, mark)
        for dataset in datasets or self.datasets:
            self.datasets[dataset]["snapshots"].append([taken, f"{dataset}:{taken}", number])
        return taken

    def hold(self, taken: str) -> None:
        members = [one for one, entry in self.datasets.items() if any(snap[0] == taken for snap in entry["snapshots"])]
        if members:
            self.held[taken] = members

    def sets(self) -> list[str]:
        return list(inventory.sets(self.datasets, PAIR))

    def on(self, dataset: str) -> list[str]:
        return [snap[0] for snap in self.datasets[dataset]["snapshots"]]

    def destroy(self, snapshots: t.Sequence[str]) -> dict[str, str]:
        failed = {}
        for one in snapshots:
            dataset, snapshot = one.split("@")
            # what ZFS itself refuses
            assert dataset not in self.held.get(snapshot, []), f"{one} is held"
            if one in self.stubborn:
                failed[one] = self.stubborn[one]
            else:
                entry = self.datasets[dataset]
                entry["snapshots"] = [snap for snap in entry["snapshots"] if snap[0] != snapshot]
        return failed

    def destroy_bookmarks(self, bookmarks: t.Sequence[str]) -> list[str]:
        for one in bookmarks:
            dataset, mark = one.split("#")
            entry = self.datasets[dataset]
            entry["bookmarks"] = [snap for snap in entry["bookmarks"] if snap[0] != mark]
        return list(bookmarks)

    def ask(self, dummy: PairConfig) -> tuple[inventory.Inventory | None, str]:
        self.asked += 1
        return (copy.deepcopy(self.peer.datasets), "") if self.peer else (None, "the connection to hv2 ended: no route")

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(prune.inventory, "read", lambda dummy: copy.deepcopy(self.datasets))
        monkeypatch.setattr(prune.inventory, "read_times", lambda dummy: self.times)
        monkeypatch.setattr(prune.protect, "held", lambda *dummy: copy.deepcopy(self.held))
        monkeypatch.setattr(prune.protect, "destroy", self.destroy)
        monkeypatch.setattr(prune.protect, "destroy_bookmarks", self.destroy_bookmarks)
        monkeypatch.setattr(
            prune.destroyable, "blocked", lambda snaps: {one: why for one, why in self.blocked.items() if one in snaps}
        )
        monkeypatch.setattr(prune.destroyable, "space", lambda snaps: 1024 * len(snaps))
        monkeypatch.setattr(prune.kernel, "pool_health", lambda dummy: dict(self.health))
        monkeypatch.setattr(prune.holds, "ledger", lambda: self.ledger)
        monkeypatch.setattr(prune.operation, "pending", lambda: self.pending)
        monkeypatch.setattr(prune, "ask", self.ask)

    def prune(self, check: bool = False, **rules: t.Any) -> dict[str, t.Any]:
        with pytest.MonkeyPatch.context() as monkeypatch:
            self.patch(monkeypatch)
            return prune._prune(CONFIG, Rules(**rules), Progress(), check)


def synced(*sets: int, base: int, marks: t.Sequence[int] = ()) -> FakeHost:
    """A host whose last sync, of the set `base`, was verified."""
    host = FakeHost(A, B)
    for number in sets:
        host.take(number)
    host.hold(S[base])
    host.ledger = {S[base]: True}
    for entry in host.datasets.values():
        entry["bookmarks"] = [snap for snap in entry["snapshots"] if snap[2] in marks]
    return host


def reasons(result: dict[str, t.Any]) -> dict[str, str]:
    return {one["set"]: one["reason"] for one in result["decisions"]}


# What goes


def test_what_a_cut_sync_may_have_brought_stays_while_nobody_can_be_asked() -> None:
    """Its set is written down before its first stream begins; the hold comes beside that."""
    host = synced(*range(7), base=1)
    host.ledger = {S[1]: True, S[4]: False}
    host.peer = None
    host.prune(keep_last=1)
    assert host.sets() == [*S[:5], S[6]]  # a dataset that is sent anew begins with its oldest set


def test_after_a_verified_sync_the_host_knows_alone_what_may_go() -> None:
    host = synced(*range(6), base=5, marks=(2, 4, 5))
    planned = host.prune(check=True, keep_last=2)
    assert host.sets() == S[:6]
    done = host.prune(keep_last=2)
    assert host.asked == 0 and not done["asked"]
    assert done == planned
    assert host.sets() == S[4:6]
    assert done["destroyed"] == S[:4]
    assert done["bytes"] == 1024 * 4 * 3
    assert done["bookmarks"] == [f"{one}#{S[mark]}" for one in ("tank/vm", A, B) for mark in (2, 4)]
    assert done["diff"] == {"before": "".join(f"{one}\n" for one in S[:6]), "after": f"{S[4]}\n{S[5]}\n"}
    assert done["decisions"][0] == {"set": S[0], "keep": False, "reason": "no rule keeps it"}
    assert reasons(done)[S[5]] == "the next sync starts from it (held as hvm:p)"
    again = host.prune(keep_last=2)
    assert not again["changed"] and again["destroyed"] == [] and again["bookmarks"] == []
    assert again["diff"]["before"] == again["diff"]["after"]


def test_one_set_of_the_future_does_not_end_it() -> None:
    host = synced(*range(2), base=0)
    ahead = [f"hvm_2999010{number}T000000Z_p_C" for number in range(1, 7)]
    for number, one in enumerate(ahead):
        for entry in host.datasets.values():
            entry["snapshots"].append([one, f"guid {one}", 100 + number])
        host.times[one] = int((START + datetime.timedelta(hours=number)).timestamp())
    host.times[ahead[0]] = int(datetime.datetime(2999, 1, 1, tzinfo=datetime.UTC).timestamp())
    host.hold(ahead[5])
    host.ledger = {ahead[5]: True}
    del host.held[S[0]]
    done = host.prune(keep_last=2)
    assert host.on("tank/vm") == [ahead[0], *ahead[4:]]
    assert done["warnings"] == [
        (
            f"hv1: {ahead[0]} is dated in the future, and stays: was the clock ahead when it was taken, or is it behind now? "
            f"If the clock is right and nobody needs it: hvm_zfs_snapshot state=absent name={ahead[0]}"
        )
    ]


@pytest.mark.parametrize(("seconds", "newest", "said"), [(60, False, False), (7200, False, True), (7200, True, False)])
def test_a_clock_that_is_a_little_behind_is_not_worth_a_word(seconds: int, newest: bool, said: bool) -> None:
    """Nor is the newest set: the next sync starts from it, so it could not go."""
    host = synced(*range(2), base=0)
    moments = [datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds + more) for more in (0, 1)]
    for number, moment in enumerate(moments[: 1 if newest else 2]):
        name = f"hvm_{moment:%Y%m%dT%H%M%SZ}_p_C"
        host.datasets["tank/vm"]["snapshots"].append([name, f"guid {name}", 100 + number])
        host.times[name] = int(moment.timestamp())
    assert bool(host.prune(keep_last=2)["warnings"]) is said


def test_without_a_rule_nothing_goes() -> None:
    host = synced(*range(4), base=3)
    done = host.prune()
    assert not done["changed"] and host.sets() == S[:4]
    assert reasons(done)[S[0]] == "no rule is given"


def test_a_host_without_sets_has_nothing_to_do() -> None:
    assert FakeHost(A).prune(keep_last=1)["changed"] is False


def test_in_a_dead_pair_unsent_sets_go_and_the_base_stays() -> None:
    host = synced(*range(8), base=2, marks=(0, 1, 2))
    done = host.prune(keep_last=2)
    assert host.asked == 1
    assert host.sets() == [S[2], *S[6:8]]
    assert done["warnings"] == ["hv2 was asked what it has and did not answer: the connection to hv2 ended: no route"]
    assert done["bookmarks"] == []


def test_before_anything_is_common_nothing_goes() -> None:
    """The first sync was cut: the hold on the source proves nothing, the replica may have any of the older sets."""
    host = synced(*range(4), base=3)
    host.ledger = None
    for peer, why in ((None, "hv2 does not answer"), (FakeHost(A, B), "hv2 has none of them")):
        host.peer = peer
        done = host.prune(keep_last=1)
        assert not done["changed"] and host.sets() == S[:4]
        assert reasons(done)[S[0]] == f"no sync with hv2 was verified on this host so far, and {why}"


def test_after_a_rollback_without_the_other_host_what_is_newer_may_go() -> None:
    """It takes the ledger away, and holds the set that was gone back to; nothing was sent since."""
    host = synced(*range(8), base=1)
    host.hold(S[3])
    host.ledger = None
    done = host.prune(keep_last=2)
    assert host.sets() == [*S[:4], *S[6:8]]
    assert done["warnings"] and "hv2 does not answer" in reasons(done)[S[0]]
    for entry in host.datasets.values():  # one that was sent and could not be held
        entry["bookmarks"] = [snap for snap in entry["snapshots"] if snap[0] == S[6]]
    host.take(8)
    host.prune(keep_last=1)
    assert host.sets() == [*S[:4], S[6], S[8]]


def test_after_an_operation_that_did_not_end_no_hold_tells_what_was_sent() -> None:
    host = synced(*range(6), base=1)
    host.ledger = None
    host.pending = {"operation": "migrate_secure", "step": "last sync", "set": S[3]}
    assert not host.prune(keep_last=1)["changed"]


def test_after_a_cut_sync_the_other_host_is_asked_what_it_has_got() -> None:
    host, other = synced(*range(6), base=1), FakeHost(A, B)
    host.hold(S[4])
    host.ledger = {S[1]: True, S[4]: False}
    for number in (0, 1):
        other.take(number)
    other.take(2, A)
    host.peer = other
    done = host.prune(keep_last=1)
    assert host.sets() == [S[1], S[2], S[4], S[5]]
    assert reasons(done)[S[2]] == "it is the newest that hv2 has too (tank/vm/a)"


def test_after_a_cut_sync_and_without_an_answer_all_in_between_stays() -> None:
    host = synced(*range(7), base=1)
    host.hold(S[4])
    host.ledger = {S[1]: True, S[4]: False}
    done = host.prune(keep_last=1)
    assert host.sets() == [*S[:5], S[6]]
    assert reasons(done)[S[2]] == "hv2 may have it, and hv2 does not answer"


def test_with_an_interrupted_operation_and_without_an_answer_nothing_newer_than_the_base_goes() -> None:
    host = synced(*range(6), base=1)
    host.pending = {"operation": "migrate_secure", "step": "last sync", "set": S[3]}
    done = host.prune(keep_last=1)
    assert host.sets() == S[1:6]
    assert reasons(done)[S[3]] == "migrate_secure, which did not end, may need it"
    assert reasons(done)[S[4]] == "hv2 may have it, and hv2 does not answer"


def test_when_nothing_is_held_bookmarks_tell_what_was_sent() -> None:
    host = synced(*range(5), base=0)
    host.held = {}
    for entry in host.datasets.values():
        entry["bookmarks"] = [snap for snap in entry["snapshots"] if snap[0] == S[2]]
    done = host.prune(keep_last=1)
    assert host.sets() == [S[2], S[4]]
    assert reasons(done)[S[2]] == "it has a bookmark, so it was sent once"


def test_when_nothing_tells_nothing_goes() -> None:
    host = synced(*range(3), base=0)
    host.held = {}
    done = host.prune(keep_last=1)
    assert host.sets() == S[:3]
    assert reasons(done)[S[0]] == ("no hold and no bookmark tells which set the next sync starts from, and hv2 does not answer")


def test_a_hold_by_hand_on_another_snapshot_proves_nothing() -> None:
    assert prune.ours({"backup": [A], S[0]: [A], "hvm_20261101T000000Z_other_C": [A]}, PAIR) == {S[0]: [A]}


@pytest.mark.parametrize("replica", [False, True])
def test_half_sets_do_not_push_out_whole_ones(replica: bool) -> None:
    host = FakeHost(A, B)
    for number in range(3):
        host.take(number)
    for number in range(3, 7):
        host.take(number, "tank/vm", A)
    host.take(7)
    host.hold(S[7])
    host.ledger = {S[7]: True}
    for entry in host.datasets.values():
        entry["props"]["readonly"] = ["on" if replica else "off", "-"]
    host.prune(keep_last=3)
    assert host.on(B) == [*S[1:3], S[7]]
    assert host.on(A) == [*S[1:3], *S[5:8]]


def test_what_a_sync_has_still_to_bring_is_no_gap() -> None:
    """Nor is one that is gone on the other host, of which the replica is left alone: old sets would stay there for ever."""
    host = FakeHost(A, B)
    for number in range(3):
        host.take(number)
    for number in range(3, 7):
        host.take(number, "tank/vm", A)
    sets = inventory.sets(host.datasets, PAIR)
    assert inventory.gaps(host.datasets, sets) == set(S[3:7])
    for entry in host.datasets.values():
        entry["props"]["readonly"] = ["on", "-"]
    assert inventory.gaps(host.datasets, sets) == set()
    host.hold(S[6])
    host.ledger = {S[6]: True}
    host.prune(keep_last=2)
    assert host.on(A) == S[5:7] and host.on(B) == [S[2]]


def test_a_dataset_that_came_later_makes_no_gap() -> None:
    host = FakeHost(A)
    for number in range(3):
        host.take(number)
    host.datasets[B] = {**copy.deepcopy(host.datasets[A]), "snapshots": []}
    assert inventory.gaps(host.datasets, inventory.sets(host.datasets, PAIR)) == set()
    host.take(3)
    assert inventory.gaps(host.datasets, inventory.sets(host.datasets, PAIR)) == set()


# What cannot go


def test_a_set_that_is_held_by_somebody_or_cloned_stays_whole() -> None:
    host = synced(*range(5), base=4)
    host.blocked = {f"{A}@{S[1]}": f"{A}@{S[1]} is held as keep", f"{B}@{S[2]}": f"{B}@{S[2]} has the clone tank/test"}
    done = host.prune(keep_last=1)
    assert done["destroyed"] == [S[0], S[3]]
    assert host.on("tank/vm") == [S[1], S[2], S[4]]
    assert done["blocked"] == {S[1]: [f"{A}@{S[1]} is held as keep"], S[2]: [f"{B}@{S[2]} has the clone tank/test"]}
    assert done["decisions"][1] == {"set": S[1], "keep": True, "reason": f"it cannot go: {A}@{S[1]} is held as keep"}
    assert not host.prune(keep_last=1)["changed"]


def test_the_last_set_of_a_dataset_that_is_gone_on_the_other_host_stays() -> None:
    host = synced(base=4)
    host.take(0)
    host.take(1, "tank/vm", A)
    host.take(4, "tank/vm", A)
    host.hold(S[4])
    for entry in host.datasets.values():
        entry["props"]["readonly"] = ["on", "-"]
    done = host.prune(keep_last=1)
    assert host.on(B) == [S[0]] and host.on(A) == [S[4]]
    assert done["left"] == [f"{B}@{S[0]}"]
    assert done["diff"]["after"] == f"{S[0]}\n{S[4]}\n"
    again = host.prune(keep_last=1)
    assert not again["changed"]
    assert again["decisions"][0] == {"set": S[0], "keep": True, "reason": "it is the last one that tank/vm/b has"}


def test_what_cannot_be_destroyed_is_a_warning() -> None:
    host = synced(*range(5), base=4)
    host.stubborn = {f"{one}@{S[1]}": "it is held or in use" for one in (A, B)}
    done = host.prune(keep_last=1)
    assert done["changed"] and done["destroyed"] == [S[0], S[2], S[3]]
    assert done["warnings"] == [f"hv1: {A}@{S[1]} (and 1 more) stays: it is held or in use"]
    assert done["bytes"] is None
    assert done["diff"]["after"] == f"{S[1]}\n{S[4]}\n"


def test_a_command_that_fails_is_a_warning_and_what_went_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    host = synced(*range(5), base=4)
    host.patch(monkeypatch)

    def destroy(snapshots: t.Sequence[str]) -> dict[str, str]:
        host.destroy(snapshots[:3])
        raise HvmError("'zfs program' failed (-1): no end after 300 s")

    monkeypatch.setattr(prune.protect, "destroy", destroy)
    done = prune._prune(CONFIG, Rules(keep_last=1), Progress(), False)
    assert done["destroyed"] == [S[0]] and done["changed"]
    assert done["warnings"] == [f"hv1: tank/vm@{S[0]} stays: 'zfs program' failed (-1): no end after 300 s"]


@pytest.mark.parametrize(
    ("health", "said"),
    [
        ("missing", "pool tank is not there. Nothing was destroyed. Look at it: zpool status tank."),
        ("SUSPENDED", "pool tank is SUSPENDED. Nothing was destroyed. Look at it: zpool status tank."),
    ],
)
def test_a_pool_that_cannot_tell_what_it_holds_is_left_alone(health: str, said: str) -> None:
    host = synced(*range(5), base=4)
    host.health = {"tank": health}
    with pytest.raises(HvmError) as caught:
        host.prune(keep_last=1)
    assert str(caught.value) == said and host.sets() == S[:5]
    host.health = {"tank": "DEGRADED"}  # a lost disk must not let the others fill up
    assert host.prune(keep_last=1)["destroyed"] == S[:4]


def test_a_busy_host_is_left_alone_and_says_who_works(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = synced(*range(5), base=4)
    host.patch(monkeypatch)
    path = str(tmp_path / "lock")
    real = operation.Lock
    monkeypatch.setattr(prune.operation, "Lock", lambda: real(path))
    with (
        real(path).held("sync", "root on hv2"),
        pytest.raises(HvmError, match=r"another operation is running on .*: sync by root"),
    ):
        prune.prune(CONFIG, Rules(keep_last=1), Progress(), False)
    assert host.sets() == S[:5]
    with real(path).held("sync", "root on hv2"):
        assert prune.prune(CONFIG, Rules(keep_last=1), Progress(), True)["destroyed"] == S[:4]
    assert prune.prune(CONFIG, Rules(keep_last=1), Progress(), False)["destroyed"] == S[:4]
    assert operation.lock_holder(path) is None


def test_it_goes_set_by_set_and_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert prune.chunks({"s2": ["a@s2", "b@s2"], "s1": ["a@s1", "b@s1"], "s3": ["a@s3"]}, 3) == [
        ["a@s1", "b@s1", "a@s2", "b@s2"],
        ["a@s3"],
    ]
    host = synced(*range(5), base=4)
    host.patch(monkeypatch)
    monkeypatch.setattr(prune, "chunks", lambda going: [going[one] for one in sorted(going)])
    progress = Progress()
    prune._prune(CONFIG, Rules(keep_last=1), progress, False)
    assert [line["text"] for line in progress.lines] == [f"{n} of 12 snapshots of old sets done" for n in (3, 6, 9, 12)]


# The time zone


def tzif(footer: str) -> bytes:
    """A zone file (RFC 9636) without transitions of its own: its footer, a POSIX TZ string, says it all."""

    def block(version: bytes) -> bytes:
        return b"TZif" + version + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lBB", 3600, 0, 0) + b"CET\0"

    return block(b"2") * 2 + f"\n{footer}\n".encode()


def test_a_day_in_summer_is_judged_by_summer_time_in_winter_too(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "localtime"
    path.write_bytes(tzif("CET-1CEST,M3.5.0,M10.5.0/3"))
    zone = prune.local_zone(str(path))
    noon = [datetime.datetime(2026, month, 15, 12, tzinfo=zone).astimezone(datetime.UTC).hour for month in (1, 7)]
    assert noon == [11, 10]
    sets = [f"hvm_2026{month}15T{hour:02}0500Z_{PAIR}_C" for month in ("01", "07") for hour in (10, 11)]
    now = datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC)
    kept = retention.decide(sets, Rules(older_than=24, except_at=("12:00",)), now, {}, PAIR, zone)
    assert [one.name for one in kept if "12:00" in one.reason] == [sets[1], sets[2]]


@pytest.mark.parametrize("content", [None, b"", b"not a zone file"])
def test_without_a_zone_it_is_utc(tmp_path: pathlib.Path, content: bytes | None) -> None:
    path = tmp_path / "localtime"
    if content is not None:
        path.write_bytes(content)
    assert prune.local_zone(str(path)) is datetime.UTC


# Whatever happens, the next sync is an increment


class World:
    """Two hosts and what `_procedure.sync` does to holds, bookmarks and the ledger, in its order; a sync may end anywhere."""

    def __init__(self) -> None:
        self.hosts = [FakeHost(A, B), FakeHost()]
        self.hosts[1].datasets.clear()
        self.clock = itertools.count(0)

    def take(self, mark: str) -> None:
        self.hosts[0].take(next(self.clock), mark=mark)

    def sync(self, cut: int, in_step: bool) -> None:
        """:param cut: streams (of one snapshot of one dataset) until it is cut.
        :param in_step: all datasets at the same pace; else one after the other.
        """
        source, target = self.hosts
        if not source.sets():
            return
        wanted = source.sets()[-1]
        made = plan.plan(source.datasets, target.datasets, wanted, "hv2")
        assert made.findings == [], "the next sync must be an increment"
        if source.ledger is not None and (made.steps or wanted not in source.ledger):
            source.ledger[wanted] = False
        source.hold(wanted)
        self.mark(source, wanted)
        streams = [
            (step.dataset, snap)
            for step in made.steps
            for snap in source.datasets[step.dataset]["snapshots"]
            if self.txg(source, step.dataset, step.base) < snap[2] <= self.txg(source, step.dataset, step.snapshot)
        ]
        streams.sort(key=lambda one: (one[1][2], one[0]) if in_step else (one[0], one[1][2]))
        for count, (dataset, snap) in enumerate(streams):
            if count == cut:
                return
            entry = target.datasets.setdefault(
                dataset, copy.deepcopy({**source.datasets[dataset], "snapshots": [], "bookmarks": []})
            )
            entry["snapshots"].append(list(snap))
        for host in (target, source):
            host.hold(wanted)
            self.mark(host, wanted)
            host.held = {wanted: host.held[wanted]}
            host.ledger = {wanted: True}

    @staticmethod
    def txg(host: FakeHost, dataset: str, one: str | None) -> int:
        entry = host.datasets[dataset]
        known = {snap[0]: snap[2] for snap in entry["snapshots"]} | {f"#{snap[0]}": snap[2] for snap in entry["bookmarks"]}
        return known[one] if one else -1

    @staticmethod
    def mark(host: FakeHost, wanted: str) -> None:
        for entry in host.datasets.values():
            snap = next((one for one in entry["snapshots"] if one[0] == wanted), None)
            if snap and snap not in entry["bookmarks"]:
                entry["bookmarks"].append(snap)

    def aside(self, dataset: str) -> None:
        """By a sync, which then sends it anew."""
        self.hosts[1].datasets.pop(dataset, None)
        for members in self.hosts[1].held.values():
            members[:] = [one for one in members if one != dataset]
        self.sync(2, True)

    def swap(self) -> None:
        """The roles, which a migration swaps only after a sync that was verified."""
        if self.hosts[1].datasets and all(host.ledger == {host.sets()[-1]: True} for host in self.hosts if host.sets()):
            made = plan.plan(self.hosts[0].datasets, self.hosts[1].datasets, self.hosts[0].sets()[-1], "hv2")
            if made.is_empty:
                self.hosts.reverse()

    def prune(self, which: int, answers: bool, keep: int) -> None:
        host, other = self.hosts[which], self.hosts[1 - which]
        host.peer = other if answers else None
        before = {one: list(entry["snapshots"]) for one, entry in host.datasets.items()}
        done = host.prune(keep_last=keep)
        assert all(entry["snapshots"] or not before[one] for one, entry in host.datasets.items())
        assert done["decisions"] == [] or all(one["keep"] == (one["set"] not in done["destroyed"]) for one in done["decisions"])


STEP = st.one_of(
    st.tuples(st.just("take"), st.sampled_from("CCB")),
    st.tuples(st.just("sync"), st.one_of(st.just(10**6), st.integers(0, 12)), st.booleans()),
    st.tuples(st.just("prune"), st.integers(0, 1), st.booleans(), st.integers(1, 3)),
    st.tuples(st.just("aside"), st.sampled_from([A, B])),
    st.tuples(st.just("swap")),
)


TAKES: list[tuple[t.Any, ...]] = [("take", "C")] * 4


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(st.lists(STEP, max_size=30))
# cut when the replica has the oldest two again: of the set that both have, and of a newer one
@example([*TAKES, ("sync", 10**6, True), ("aside", A), ("prune", 0, False, 1)])
@example([*TAKES, ("sync", 10**6, True), ("aside", A), ("prune", 0, True, 1)])
@example([*TAKES, ("sync", 10**6, True), ("take", "C"), ("aside", A), ("prune", 0, False, 1)])
def test_whatever_is_pruned_and_wherever_a_sync_was_cut_the_next_one_is_an_increment(steps: list[tuple[t.Any, ...]]) -> None:
    world = World()
    for word, *arguments in steps:
        getattr(world, word)(*arguments)
    world.take("C")
    world.sync(10**6, True)
    source, target = world.hosts
    assert plan.missing_on_target(source.datasets, target.datasets, source.sets()[-1]) == []


# Pure


def test_decisions_are_told_as_they_come_about() -> None:
    doomed = retention.Doomed({"s1": ["a@s1"], "s2": ["a@s2"]}, ["b@s3"])
    given_ = [Decision(one, one == "s4", "x") for one in ("s1", "s2", "s3", "s4")]
    assert prune.final(given_, doomed, {"s2": ["a@s2 is held as k"]}) == [
        Decision("s1", False, "x"),
        Decision("s2", True, "it cannot go: a@s2 is held as k"),
        Decision("s3", True, "it is the last one that b has"),
        Decision("s4", True, "x"),
    ]


def test_only_sets_that_the_journal_names_are_its_business() -> None:
    entry = {"operation": "migrate_secure", "vms": [S[0]], "set": S[1], "epoch": 3, "cause": "x"}
    assert list(prune.unfinished(entry)) == [S[1]]
    assert prune.unfinished(None) == {}


def test_the_tag_is_the_one_that_is_placed() -> None:
    assert protect.tag(PAIR) == "hvm:p" and names.parse(S[0]) is not None
