#!/usr/bin/env python3
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run several make targets one after the other, all of them even when one fails, and say at the end how each went.

Those that only need processor time can run beside the others, one after the other too, with what these leave idle: the lab waits
a lot. What they print is shown when each has ended.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time

#: Names the targets that this process runs inside of, so that one which contains itself stops instead of filling the memory.
CHAIN = "HVM_PARTS"
#: Gives way to everything else. A session of its own is what the kernel schedules as one (sched(7), autogroup).
MODESTLY = 'echo 19 2>/dev/null > /proc/self/autogroup; exec nice -n 19 "$@"'

Result = tuple[str, int, float]


def make(target: str, chain: list[str]) -> tuple[list[str], dict[str, str]]:
    return ["make", "--no-print-directory", target], {**os.environ, CHAIN: " ".join([*chain, target])}


def run(target: str, chain: list[str]) -> Result:
    print(f"\n==> make {target}", flush=True)
    start = time.monotonic()
    command, env = make(target, chain)
    code = subprocess.run(command, env=env, check=False).returncode
    return target, code, time.monotonic() - start


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
            self.results.append((target, self._process.returncode, time.monotonic() - start))

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
    results += [(target, 1, 0.0) for target in beside.targets[len(beside.results) :]]  # whatever has kept it from ending
    width = max(map(len, targets))
    print()
    for target, code, seconds in results:
        print(f"{target:<{width}}  {'FAILED' if code else 'passed'}  {seconds:7.1f} s")
    failed = [target for target, code, _seconds in results if code]
    print(f"{'FAILED: ' + ', '.join(failed) if failed else 'All passed'} ({time.monotonic() - start:.1f} s)", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
