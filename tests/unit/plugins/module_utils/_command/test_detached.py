# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work survives who watches it: with real processes, a pseudo-terminal, and signals."""

from __future__ import annotations

import json
import os
import pathlib
import pty
import shlex
import signal
import subprocess
import sys
import time
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._command import detached, outcome
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress

#: `hvm hv start` with a procedure that takes as long as the file `go` is not there.
SCRIPT = """
import os, sys, time
from ansible_collections.hvm.pair.plugins.module_utils._command import detached, main
from ansible_collections.hvm.pair.plugins.module_utils._net import shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._procedure import switch
place = sys.argv[1]
detached.tasks.__defaults__ = detached.forget.__defaults__ = (place + "/run",)
new = detached.Task.new
detached.Task.new = lambda typed: new(typed, place + "/run")
main.os.geteuid = lambda: 0

def apply(config, state, peer_is_down, check, progress):
    over = shared_ip.over_shared_ip(["10.0.0.9/24"])
    loaded = [name.split("module_utils.")[1] for name in sys.modules if "module_utils._" in name]
    progress.say("begun", session=os.getsid(0), over=over, loaded=loaded)
    print("printed by somebody")
    while not os.path.exists(place + "/go"):
        time.sleep(0.05)
    progress.say("done")
    open(place + "/done", "w").write(str(os.getpid()))
    if peer_is_down == "die":
        os._exit(9)
    return {"changed": True, "role": "ACTIVE", "epoch": 4, "plan": ["start libvirt"], "warnings": []}

switch.apply = apply
sys.exit(main.main(sys.argv[2:]))
"""


class Place:
    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        (directory / "script.py").write_text(SCRIPT)
        hosts = [{"name": "hv1", "address": "10.0.0.1"}, {"name": "hv2", "address": "10.0.0.2"}]
        self.config = directory / "pair.json"
        self.config.write_text(json.dumps({"pair": "p", "me": "hv1", "hosts": hosts, "datasets": ["t/v"], "state_dir": "/v"}))

    def command(self, *typed: str) -> list[str]:
        return [sys.executable, str(self.directory / "script.py"), str(self.directory), *typed, "--config", str(self.config)]

    def run(self, *typed: str, **words: t.Any) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command(*typed), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **words)

    def go(self) -> None:
        (self.directory / "go").touch()

    @property
    def task(self) -> detached.Task:
        return detached.tasks(str(self.directory / "run"))[-1]

    def wait_for(self, what: t.Callable[[], t.Any]) -> t.Any:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = what()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError("it did not come")

    def begun(self) -> dict[str, t.Any]:
        """The first step of the work."""

        def first() -> t.Any:
            there = detached.tasks(str(self.directory / "run"))
            text = pathlib.Path(there[-1].steps).read_text() if there and os.path.exists(there[-1].steps) else ""
            return json.loads(text.splitlines()[0]) if "\n" in text else None

        return self.wait_for(first)

    def ended(self) -> outcome.Outcome:
        self.go()
        self.wait_for((self.directory / "done").exists)
        return self.wait_for(lambda: self.task.outcome)


@pytest.fixture(name="place")
def _place(tmp_path: pathlib.Path) -> t.Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.go()


def test_the_work_is_watched_to_its_end(place: Place) -> None:
    made = place.run("hv", "start")
    begun = place.begun()
    assert begun["session"] != made.pid and begun["session"] != os.getsid(0)
    place.go()
    out, err = made.communicate(timeout=60)
    assert made.returncode == 0
    assert out.splitlines()[:2] == ["Hypervisor is running (ACTIVE, epoch 4)", "  start libvirt"]
    assert [line.split(" s  ")[1] for line in err.splitlines()] == ["begun", "done"]
    assert pathlib.Path(place.task.output).read_text() == "printed by somebody\n"
    assert os.stat(place.task.place).st_mode & 0o777 == 0o700


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_signal_to_who_watches_ends_the_work(place: Place, number: signal.Signals) -> None:
    made = place.run("hv", "start")
    assert made.stderr and made.stderr.readline()  # it watches
    made.send_signal(number)
    out, err = made.communicate(timeout=60)
    assert out == ""
    if number != signal.SIGKILL:
        assert made.returncode == outcome.UNWATCHED and "hvm follow" in err
    assert place.ended().code == 0


def test_a_terminal_that_is_closed_ends_only_the_watching(place: Place) -> None:
    """As when a window is closed or ssh is cut: the kernel sends SIGHUP to the terminal's processes, and reading it fails."""
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, place.command("hv", "start"))
    place.begun()
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (outcome.UNWATCHED, -signal.SIGHUP)
    assert place.ended().code == 0


def test_ctrl_c_in_the_terminal_does_not_reach_the_work(place: Place) -> None:
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, place.command("hv", "start"))
    place.begun()
    os.write(terminal, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == outcome.UNWATCHED
    os.close(terminal)
    assert place.ended().code == 0


@pytest.mark.parametrize("drops", [False, True])
def test_the_work_still_knows_the_session_that_somebody_came_in_by(place: Place, drops: bool) -> None:
    """So a stop over the shared IP is refused as in a module; sudo drops the variable: then a process above has it."""
    words = ["env", *(["-u", "SSH_CONNECTION"] if drops else []), *place.command("hv", "stop")]
    line = " ".join(map(shlex.quote, words))
    environ = {**os.environ, "SSH_CONNECTION": "10.0.0.7 4711 10.0.0.9 22"}
    made = subprocess.Popen(["sh", "-c", f"{line}; true"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert place.begun()["over"] == "10.0.0.9"
    place.go()
    made.communicate(timeout=60)


def test_all_is_loaded_before_it_begins(place: Place) -> None:
    """Of the library that the command was started from: an installation takes its files away."""
    made = place.run("hv", "start")
    loaded = set(place.begun()["loaded"])
    place.go()
    made.communicate(timeout=60)
    library = pathlib.Path(str(detached.__file__)).parents[1]
    files = {".".join(path.relative_to(library).with_suffix("").parts) for path in library.rglob("*.py")}
    assert files - {"_ansible"} <= loaded


def test_whoever_follows_sees_all_steps_and_the_result(place: Place) -> None:
    first = place.run("hv", "start")
    place.begun()
    first.kill()
    first.communicate()
    second = place.run("follow")
    place.wait_for(lambda: place.task.process)
    place.go()
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0 and out.startswith("Hypervisor is running (ACTIVE, epoch 4)\n")
    assert err.splitlines()[0].startswith("'hvm hv start --config")
    assert [line.split(" s  ")[1] for line in err.splitlines()[1:]] == ["begun", "done"]
    again = place.run("follow", "--json")
    assert json.loads(again.communicate(timeout=60)[0])["epoch"] == 4


def test_a_process_that_dies_is_no_success(place: Place) -> None:
    place.go()
    made = place.run("hv", "start", "--peer-is-down", "die")
    out, err = made.communicate(timeout=60)
    assert made.returncode == 1 and out == ""
    assert "ended without a result; what it said is in" in err and "hvm status --all" in err
    assert place.run("follow").wait(60) == 1


def test_nothing_to_follow(place: Place) -> None:
    made = place.run("follow")
    assert made.communicate(timeout=60)[1] == "No operation of this command has run since the boot.\n"
    assert made.returncode == 0


def test_who_asks_for_check_mode_gets_no_process_and_no_file(place: Place) -> None:
    place.go()
    made = place.run("hv", "start", "--check")
    assert "Plan (nothing was changed):" in made.communicate(timeout=60)[0]
    assert detached.tasks(str(place.directory / "run")) == []


# In this process


def test_the_latest_are_kept_and_one_that_runs_always(tmp_path: pathlib.Path) -> None:
    directory = str(tmp_path / "run")
    first = detached.Task.new(["hv", "start"], directory)
    second = detached.Task.new(["hv", "stop"], directory)
    second.settle(outcome.Outcome(0, {"changed": False}))
    held = first.hold()
    try:
        assert first.process == os.getpid() and second.process is None
        for _turn in range(detached.KEEP):
            detached.Task.new(["recover"], directory)
        there = [task.place for task in detached.tasks(directory)]
        assert first.place in there and second.place not in there
        assert first.typed == ["hv", "start"]
    finally:
        held.close()
    assert first.process is None


def test_an_outcome_comes_back_as_it_was(tmp_path: pathlib.Path) -> None:
    task = detached.Task.new([], str(tmp_path))
    assert task.outcome is None

    def fail() -> t.NoReturn:
        raise HvmError("so", "Wait.", changed=True)

    failed = outcome.attempt(fail)
    task.settle(failed)
    assert task.outcome == failed and failed.code == 1 and failed.result == {"changed": True}


def test_half_a_line_is_shown_when_it_is_whole(tmp_path: pathlib.Path) -> None:
    task = detached.Task.new([], str(tmp_path))
    Progress(task.steps).say("prêt")
    with open(task.steps, "a", encoding="utf-8") as handle:
        handle.write('{"t": 1, "text": "ha')
    steps = detached._Steps(task.steps)
    assert [line["text"] for line in steps.new()] == ["prêt"]
    assert list(steps.new()) == []
    with open(task.steps, "a", encoding="utf-8") as handle:
        handle.write('lf"}\n')
    assert [line["text"] for line in steps.new()] == ["half"]


def test_no_place_is_said(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HvmError, match="cannot be made"):
        detached.Task.new([], str(tmp_path / "file"))
