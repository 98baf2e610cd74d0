#!/usr/bin/env python3
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run several make targets one after the other, all of them even when one fails, and say at the end how each went."""

from __future__ import annotations

import os
import subprocess
import sys
import time

#: Names the targets that this process runs inside of, so that one which contains itself stops instead of filling the memory.
CHAIN = "HVM_PARTS"


def main(targets: list[str]) -> int:
    chain = os.environ.get(CHAIN, "").split()
    repeated = sorted(set(targets) & set(chain))
    if repeated or not targets:
        print(f"parts: {', '.join(repeated) or 'nothing'} to run inside of {' > '.join(chain)}", file=sys.stderr)
        return 2
    results: list[tuple[str, int, float]] = []
    for target in targets:
        print(f"\n==> make {target}", flush=True)
        start = time.monotonic()
        env = {**os.environ, CHAIN: " ".join([*chain, target])}
        code = subprocess.run(["make", "--no-print-directory", target], env=env, check=False).returncode
        results.append((target, code, time.monotonic() - start))
    width = max(map(len, targets))
    print()
    for target, code, seconds in results:
        print(f"{target:<{width}}  {'FAILED' if code else 'passed'}  {seconds:7.1f} s")
    failed = [target for target, code, _seconds in results if code]
    print(f"{'FAILED: ' + ', '.join(failed) if failed else 'All passed'} ({sum(s for *_, s in results):.1f} s)", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
