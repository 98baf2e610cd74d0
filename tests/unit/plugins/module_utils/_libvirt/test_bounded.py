# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
import time

from ansible_collections.hvm.pair.plugins.module_utils._libvirt.bounded import Call, all_within


def test_result_and_error_of_a_call() -> None:
    call = Call(lambda: 7)
    assert call.wait(5) and (call.result, call.error) == (7, None)
    call = Call(lambda: 1 // 0)
    assert call.wait(5) and isinstance(call.error, ZeroDivisionError)


def test_one_that_does_not_end_is_not_waited_for() -> None:
    never = threading.Event()
    began = time.monotonic()
    done = all_within({"good": lambda: "yes", "stuck": never.wait}, 0.2, 4)
    assert time.monotonic() - began < 3
    assert done["stuck"] is None
    assert done["good"] is not None and done["good"].result == "yes"
    never.set()


def test_so_many_at_a_time_and_the_rest_is_not_begun_when_the_time_is_up() -> None:
    never = threading.Event()
    done = all_within({"a": never.wait, "b": never.wait, "c": lambda: "late"}, 0.2, 2)
    assert done == {"a": None, "b": None, "c": None}
    never.set()
    lock, now, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal now, most
        with lock:
            now, most = now + 1, max(most, now + 1)
        time.sleep(0.01)
        with lock:
            now -= 1

    assert all(all_within({str(n): work for n in range(12)}, 30, 3).values())
    assert most == 3
