# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time

import _watch
import pytest


@pytest.fixture
def host(tmp_path, monkeypatch):
    for name in ("LOCK", "JOURNAL", "ROLE", "QEMU", "IMAGES"):
        monkeypatch.setattr(_watch, name, str(tmp_path / name.lower()))
    (tmp_path / "qemu").mkdir()
    return tmp_path


def journal(host, **entry):
    (host / "journal").write_text(json.dumps({"operation": "migrate_secure", "step": "save", "done": False, **entry}))


def test_a_step_of_the_journal(host):
    sign = {"journal": ["migrate_secure", "save"]}
    assert not _watch.begun(sign)
    journal(host)
    assert _watch.begun(sign)
    journal(host, step="save: alpha")
    assert _watch.begun(sign)
    journal(host, step="saved")
    assert not _watch.begun(sign)
    journal(host, done=True)
    assert not _watch.begun(sign)
    journal(host, operation="recover")
    assert not _watch.begun(sign)
    (host / "journal").write_text('{"operation": "migrate_')
    assert not _watch.begun(sign)


def test_the_other_signs(host):
    signs = [{"lock": "sync"}, {"role": "ACTIVE"}, {"images": ".state"}, {"qemu": True}]
    (host / "lock").write_text("")
    (host / "role").write_text('{"role": "PASSIVE"}')
    (host / "qemu" / "driver.pid").touch()
    assert [_watch.begun(sign) for sign in signs] == [False] * 4
    (host / "lock").write_text('{"operation": "sync", "pid": 1}')
    (host / "role").write_text('{"role": "ACTIVE"}')
    (host / "images").mkdir()
    (host / "images" / "alpha.state").touch()
    (host / "qemu" / "alpha.pid").touch()
    assert [_watch.begun(sign) for sign in signs] == [True] * 4


def test_what_sends_a_stream():
    assert _watch.is_send(["/usr/sbin/zfs", "send", "-L", "-I", "a@1", "a@2", ""])
    assert _watch.is_send(["zfs", "send", "-t", "token", ""])
    for words in (["zfs", "send", "-nvt", "token", ""], ["zfs", "list", ""], ["zfs", ""], ["sh", "send", "-L", ""], [""]):
        assert not _watch.is_send(words)


PROGRAM = """
import sys; sys.path.insert(0, sys.argv.pop(1)); import _watch
_watch.LOCK = sys.argv.pop(1)
sys.exit(_watch.main())
"""


def stands_still(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("told", [True, False])
def test_the_process_at_work_is_held_until_told_or_until_the_time_is_over(tmp_path, told):
    worker = subprocess.Popen(["sleep", "60"])
    lock = tmp_path / "lock"
    wanted = json.dumps({"sign": {"lock": "sync"}, "timeout": 20, "hold": 20 if told else 0.3})
    directory = os.path.dirname(_watch.__file__)
    watch = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, directory, str(lock), wanted], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert watch.stdout.readline() == "watching\n"
        lock.write_text(json.dumps({"operation": "sync", "pid": worker.pid}))
        assert json.loads(watch.stdout.readline())["pid"] == worker.pid
        if told:
            until(lambda: stands_still(worker.pid))
            watch.stdin.write("\n")
            watch.stdin.flush()
        assert watch.wait(20) == 0
        until(lambda: not stands_still(worker.pid))
    finally:
        watch.kill()
        watch.communicate()
        worker.kill()
        worker.wait()
