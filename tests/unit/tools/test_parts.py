# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

PARTS = pathlib.Path(__file__).resolve().parents[2] / "tools/parts.py"
#: meets: passes only while `waits` is there, which passes only when `meets` has been there
MAKEFILE = """
.PHONY: good bad meets waits long nice itself talks
good: ; @echo good >> log
bad: ; @echo bad >> log; false
meets: ; @touch met; for i in $$(seq 200); do [ -e waited ] && exit 0; sleep 0.05; done; exit 1
waits: ; @for i in $$(seq 200); do [ -e met ] && touch waited && exit 0; sleep 0.05; done; exit 1
long: ; @echo $$$$ > pid; exec sleep 60
nice: ; @nice > nice
itself: ; @{parts} itself
talks: ; @echo "$$TEXT"; false
"""


@pytest.fixture(name="place")
def _place(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "Makefile").write_text(MAKEFILE.format(parts=f"{sys.executable} {PARTS}"))
    return tmp_path


def parts(place: pathlib.Path, *words: str) -> tuple[int, list[str]]:
    command = [sys.executable, str(PARTS), *words]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout.splitlines()


def test_all_are_run_in_their_order_and_what_failed_is_named(place: pathlib.Path) -> None:
    code, said = parts(place, "bad", "good")
    assert (code, (place / "log").read_text().split()) == (1, ["bad", "good"])
    assert said[-1].startswith("FAILED: bad (")
    assert parts(place, "good")[0] == 0
    assert parts(place, "itself")[0] == 1
    assert parts(place)[0] == 2


@pytest.mark.parametrize("beside", [[], ["--beside=talks"]])
def test_the_end_of_it_says_why_a_part_failed(place: pathlib.Path, monkeypatch: pytest.MonkeyPatch, beside: list[str]) -> None:
    fatal = "\x1b[2m│\x1b[0m \x1b[0;31mfatal: [hva]: FAILED! => \x1b[0m"
    lines = [fatal, "│     msg: nothing is there", "│ ok: [hvb]", *"x" * 50]
    monkeypatch.setenv("TEXT", "\n".join(["before", *lines, "E   assert 1 == 2", "tests/a.py:3: AssertionError"]))
    code, said = parts(place, "talks", "good", *beside)
    end = said[said.index("Why talks failed:") + 1 :]
    assert code == 1
    assert end[:2] == ["  │ fatal: [hva]: FAILED! =>", "  │     msg: nothing is there"]
    assert [line for line in end if "x" not in line][3:5] == ["  E   assert 1 == 2", "  tests/a.py:3: AssertionError"]
    assert end[-1].startswith("FAILED: talks (")
    assert len(end) < len(lines)


@pytest.mark.parametrize("beside", ["meets", "waits"])
def test_one_runs_beside_the_others(place: pathlib.Path, beside: str) -> None:
    code, said = parts(place, "meets", "waits", f"--beside={beside}", "--beside=good")
    assert (code, said[-1].split(" (")[0]) == (0, "All passed")
    assert f"==> make {beside}, beside the others" in said
    assert not (place / "log").exists(), "one that was not asked for has run"


def test_one_that_fails_beside_the_others_is_a_failure_and_the_next_one_runs(place: pathlib.Path) -> None:
    code, said = parts(place, "meets", "bad", "waits", "good", "--beside=bad", "--beside=waits")
    assert (code, said[-1].split(" (")[0]) == (1, "FAILED: bad")


def test_it_gives_way_and_one_alone_does_not(place: pathlib.Path) -> None:
    parts(place, "good", "nice", "--beside=nice")
    assert int((place / "nice").read_text()) - os.nice(0) == min(19, 19 - os.nice(0))
    parts(place, "nice", "--beside=nice")
    assert int((place / "nice").read_text()) == os.nice(0)


@pytest.mark.parametrize("words", [["waits", "long", "--beside=long"], ["long", "good"]])
def test_nothing_goes_on_when_it_is_ended(place: pathlib.Path, words: list[str]) -> None:
    process = subprocess.Popen([sys.executable, str(PARTS), *words], cwd=place, stdout=subprocess.DEVNULL)
    for dummy in range(200):
        if (place / "pid").exists() and (place / "pid").read_text().strip():
            break
        time.sleep(0.05)
    pid = int((place / "pid").read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) != 0
    for dummy in range(100):
        if not pathlib.Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    raise AssertionError("what it has begun goes on")
