# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import time

import pytest
from _pings import Pings, checksum, gaps, is_answer, request

#: RFC 1071, 3: the sum of these is ddf2.
RFC1071 = bytes.fromhex("0001f203f4f5f6f7")


def test_a_checksum_is_that_of_the_rfc():
    assert checksum(RFC1071) == ~0xDDF2 & 0xFFFF
    for number in (1, 65535, 70000):
        assert checksum(request(4711, number)) == 0
    assert checksum(b"\x01") == ~0x0100 & 0xFFFF


def answer(identifier, kind=0, words=5):
    return bytes([0x40 | words]) + bytes(4 * words - 1) + bytes([kind, 0, 0, 0]) + identifier.to_bytes(2, "big") + b"\0\1data"


def test_an_answer_to_one_of_ours():
    assert is_answer(answer(7), 7) and is_answer(answer(7, words=6), 7)
    assert not is_answer(answer(8), 7)
    assert not is_answer(answer(7, kind=8), 7), "our own question, which a raw socket hears on lo"
    assert not is_answer(answer(7)[:25], 7) and not is_answer(b"", 7)


def test_the_longest_time_without_an_answer():
    assert gaps([1.0, 2.0, 5.0], 1.0, 5.5) == [3.0, 1.0, 0.5, 0.0]
    assert gaps([5.0, 2.0, 99.0], 0.0, 10.0) == [5.0, 3.0, 2.0]
    assert gaps([], 0.0, 10.0) == [10.0]


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets are root's")
def test_two_at_once_hear_each_their_own():
    began = time.time()
    with Pings("127.0.0.1", 0.02) as here, Pings("127.0.0.2", 0.02) as also:
        time.sleep(0.5)
    ended = time.time()
    assert 5 < len(here.answers) <= 26 and 5 < len(also.answers) <= 26
    assert here.gaps(began, ended)[0] < 0.4
