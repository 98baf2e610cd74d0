# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast memory changes, asked of a libvirt that does not know it, answers late, or never."""

from __future__ import annotations

import threading
import time
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._libvirt import dirty

MIB = 1 << 20


class Domain:
    """:ivar looks: of which the last one has the answer. :ivar left_out: something else is done with it at the first look."""

    def __init__(self, rate: int = 0, looks: int = 1, left_out: bool = False) -> None:
        self.rate, self.looks, self.left_out = rate, looks, left_out
        self.begun = 0

    def startDirtyRateCalc(self, seconds: int, flags: int) -> None:
        assert (seconds, flags) == (dirty.SECONDS, 0)
        self.begun += 1


class Old(Domain):
    """Of a libvirt before 7.2."""

    startDirtyRateCalc: t.Any = None


class Unable(Domain):
    def startDirtyRateCalc(self, seconds: int, flags: int) -> None:
        raise RuntimeError("unsupported configuration: QEMU does not support calculating dirty page rate")


class Hung(Domain):
    def __init__(self, until: threading.Event) -> None:
        super().__init__()
        self.until = until

    def startDirtyRateCalc(self, seconds: int, flags: int) -> None:
        self.until.wait(20)


class Connection:
    def __init__(self, **vms: Domain) -> None:
        self.vms = vms

    def lookupByName(self, name: str) -> Domain:
        return self.vms[name]

    def domainListGetStats(self, doms: t.Sequence[Domain], stats: int, flags: int) -> list[tuple[Domain, dict[str, int]]]:
        assert (stats, flags) == (512, 1 << 29)
        found = []
        for dom in doms:
            assert dom.begun == 1
            dom.looks -= 1
            if dom.left_out:
                dom.left_out = False
            else:
                known = {dirty.STATUS: 2, dirty.RATE: dom.rate} if dom.looks <= 0 else {dirty.STATUS: 1}
                found.append((dom, known))
        return found


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dirty, "SECONDS", 0)
    monkeypatch.setattr(dirty, "LOOK", 0.01)


def test_they_are_bytes_and_waited_for() -> None:
    conn = Connection(calm=Domain(0), busy=Domain(70, looks=3), backed_up=Domain(5, left_out=True))
    assert dirty.rates(conn, conn.vms) == {"calm": 0, "busy": 70 * MIB, "backed_up": 5 * MIB}


def test_what_cannot_be_measured_is_not_known_and_no_error() -> None:
    conn = Connection(web=Domain(3), old=Old(), unable=Unable())
    assert dirty.rates(conn, ["gone", *conn.vms]) == {"gone": None, "web": 3 * MIB, "old": None, "unable": None}
    assert dirty.rates(conn, []) == {}


def test_one_that_hangs_or_never_ends_keeps_nobody() -> None:
    until = threading.Event()
    conn = Connection(hung=Hung(until), never=Domain(9, looks=1 << 30), web=Domain(3))
    began = time.monotonic()
    try:
        assert dirty.rates(conn, conn.vms, wait=0.3) == {"hung": None, "never": None, "web": 3 * MIB}
        assert time.monotonic() - began < 5
    finally:
        until.set()


@pytest.mark.parametrize(
    ("stats", "rate"),
    [
        ({}, None),
        ({dirty.STATUS: 0}, None),
        ({dirty.STATUS: 1, dirty.RATE: 4}, None),
        ({dirty.STATUS: 2}, None),
        ({dirty.STATUS: 2, dirty.RATE: 0}, 0),
        ({dirty.STATUS: 2, dirty.RATE: 4, "dirtyrate.calc_period": 1}, 4 * MIB),
    ],
)
def test_what_libvirt_says(stats: dict[str, t.Any], rate: int | None) -> None:
    assert dirty.of_stats(stats) == rate
