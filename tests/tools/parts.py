#!/usr/bin/env python3
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run several make targets one after the other, all of them even when one fails, and say at the end how each went.

Those that only need processor time can run beside the others, one after the other too, with what these leave idle: the lab waits
a lot. What they print is shown when each has ended. Whoever sees only the end of it all is told there why a part has failed.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
import typing as t

#: Names the targets that this process runs inside of, so that one which contains itself stops instead of filling the memory.
CHAIN = "HVM_PARTS"
#: Gives way to everything else. A session of its own is what the kernel schedules as one (sched(7), autogroup).
MODESTLY = 'echo 19 2>/dev/null > /proc/self/autogroup; exec nice -n 19 "$@"'

#: How ansible, pytest and what checks lines begin to say what failed; molecule draws a box around it.
FAILURE = re.compile(r"(?:│ )?(?:\[ERROR\]|fatal: |failed: |(?:FAILED|ERROR) |E  |[\w./-]+:\d+:)")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
#: It goes on for so many lines; so many of all are repeated, the last ones.
FOLLOWING, REPEATED = 12, 40


class Result(t.NamedTuple):
    """:ivar why: the lines in which it says why it failed."""

    target: str
    code: int
    seconds: float
    why: list[str]


def why(lines: list[str]) -> list[str]:
    plain = [COLOURS.sub("", line).strip() for line in lines]
    begun = [number for number, line in enumerate(plain) if FAILURE.match(line)]
    kept = sorted({number + n for number in begun for n in range(FOLLOWING + 1)} & set(range(len(plain))))
    return [plain[number] for number in kept[-REPEATED:]]


def make(target: str, chain: list[str]) -> tuple[list[str], dict[str, str]]:
    return ["make", "--no-print-directory", target], {**os.environ, CHAIN: " ".join([*chain, target])}


def run(target: str, chain: list[str]) -> Result:
    print(f"\n==> make {target}", flush=True)
    start = time.monotonic()
    command, env = make(target, chain)
    shown = sys.stdout.isatty()  # colours and progress, and nobody has to be told what he has just seen
    pipe: dict[str, t.Any] = {} if shown else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    lines = []
    with subprocess.Popen(command, env=env, **pipe) as process:
        try:
            for raw in process.stdout or ():
                lines.append(raw.decode(errors="replace"))
                print(lines[-1], end="", flush=True)
            process.wait()
        except KeyboardInterrupt:
            raise  # the terminal has told it, too
        except BaseException:
            process.terminate()  # make tells its children, and the lab is stopped
            raise
    return Result(target, process.returncode, time.monotonic() - start, why(lines))


class Beside(threading.Thread):
    """The targets that run with what the others leave idle."""

    def __init__(self, targets: list[str], chain: list[str]) -> None:
        super().__init__(daemon=True)
        self.targets, self.chain, self.results = targets, chain, list[Result]()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Lock()
        self._enough = False

    def run(self) -> None:
        for target in self.targets:
            start = time.monotonic()
            command, env = make(target, self.chain)
            with self._ended:
                if self._enough:
                    return
                self._process = subprocess.Popen(
                    ["sh", "-c", MODESTLY, "sh", *command],
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            out = self._process.communicate()[0]
            text = f"\n==> make {target}, beside the others\n{out.decode(errors='replace')}"
            sys.stdout.write(text)
            sys.stdout.flush()
            self.results.append(Result(target, self._process.returncode, time.monotonic() - start, why(text.splitlines())))

    def end(self) -> None:
        """What still runs of it."""
        with self._ended:
            self._enough = True
            if self._process and self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGTERM)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="parts.py", description=__doc__)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--beside", action="append", default=[], help="one of the targets that runs beside the others")
    options = parser.parse_args(arguments)
    targets: list[str] = options.targets
    chain = os.environ.get(CHAIN, "").split()
    repeated = sorted(set(targets) & set(chain))
    if repeated or not targets:
        print(f"parts: {', '.join(repeated) or 'nothing'} to run inside of {' > '.join(chain)}", file=sys.stderr)
        return 2
    ahead = [target for target in targets if target not in options.beside] or targets
    beside = Beside([target for target in targets if target not in ahead], chain)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    start = time.monotonic()
    beside.start()
    try:
        results = [run(target, chain) for target in ahead]
        beside.join()
    finally:
        beside.end()
    results += beside.results
    # whatever has kept them from ending
    results += [Result(target, 1, 0.0, []) for target in beside.targets[len(beside.results) :]]
    width = max(map(len, targets))
    failed = [result for result in results if result.code]
    for result in failed:
        print(f"\nWhy {result.target} failed:", *result.why, sep="\n  ")
    print()
    for result in results:
        print(f"{result.target:<{width}}  {'FAILED' if result.code else 'passed'}  {result.seconds:7.1f} s")
    end = "FAILED: " + ", ".join(result.target for result in failed) if failed else "All passed"
    print(f"{end} ({time.monotonic() - start:.1f} s)", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
