# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

SESSION = pathlib.Path(__file__).resolve().parents[2] / "tools/lab-session"
#: A lab that only says what it is told; `exec` becomes the command, as the real one does.
LAB = """\
#!{python}
import os, sys
with open({log!r}, "a") as handle:
    handle.write(sys.argv[1] + "\\n")
if sys.argv[1] == os.environ.get("FAILS"):
    sys.exit(3)
if sys.argv[1] == "inventory":
    print("/the/inventory")
if sys.argv[1] == "exec":
    os.execvp(sys.argv[3], sys.argv[3:])
"""
MACHINES = """\
import pathlib
class Lab:
    def __init__(self, name):
        self.name, self.dir = name, pathlib.Path({place!r}) / name
"""
BEGINNING = ["up", "reset", "witness"]


class Place:
    def __init__(self, path: pathlib.Path) -> None:
        self.path, self.log = path, path / "log"
        for name in ("tests/tools", "tests/lab"):
            (path / name).mkdir(parents=True)
        self.session = str(shutil.copy(SESSION, path / "tests/tools/lab-session"))
        lab = path / "tests/lab/lab.py"
        lab.write_text(LAB.format(python=sys.executable, log=str(self.log)))
        lab.chmod(0o755)
        (path / "tests/lab/_machines.py").write_text(MACHINES.format(place=str(path)))

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, self.session, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def did(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []

    def until(self, what: str) -> None:
        deadline = time.monotonic() + 20
        while what not in self.did():
            assert time.monotonic() < deadline, self.did()
            time.sleep(0.02)


@pytest.fixture(name="place")
def _place(tmp_path: pathlib.Path) -> Place:
    return Place(tmp_path)


def test_the_lab_is_up_for_the_command_and_down_afterwards(place: Place) -> None:
    process = place.begin("sh", "-c", "echo $HVM_LAB_INVENTORY; exit 5")
    assert process.communicate(timeout=30)[0] == "/the/inventory\n"
    assert (process.returncode, place.did()) == (5, [*BEGINNING, "inventory", "exec", "down"])


def test_a_lab_that_does_not_start_is_stopped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILS", "reset")
    process = place.begin("true")
    process.communicate(timeout=30)
    assert (process.returncode, place.did()) == (3, ["up", "reset", "down"])


def test_it_can_be_left_running(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HVM_LAB_KEEP", "1")
    place.begin("true").communicate(timeout=30)
    assert "down" not in place.did()


def test_one_that_is_told_to_end_ends_its_command_and_the_lab(place: Place) -> None:
    pid = place.path / "pid"
    process = place.begin("sh", "-c", f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 60")
    place.until("exec")
    deadline = time.monotonic() + 20
    while not pid.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert (process.returncode, place.did()[-1]) == (143, "down")
    assert not pathlib.Path("/proc", pid.read_text().strip()).exists()


def test_there_is_one_session_at_a_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.begin("sleep", "60")
    place.until("exec")
    second = place.begin("true")
    assert "another session uses the lab main" in second.communicate(timeout=30)[1]
    assert second.returncode == 1 and "down" not in place.did()
    monkeypatch.setenv("HVM_LAB_NAME", "other")
    third = place.begin("true")
    third.communicate(timeout=30)
    assert third.returncode == 0
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=30)
