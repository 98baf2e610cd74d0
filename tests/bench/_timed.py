# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a lab host: starts a command (a JSON list), and prints how long it took, its exit code and what it said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

start = time.monotonic()
done = subprocess.run(
    json.loads(sys.argv[1]),
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
    errors="replace",
    env={"PATH": PATH, "HOME": "/root", "LC_ALL": "C", "USER": "root", "LOGNAME": "root", "TERM": os.environ.get("TERM", "dumb")},
    check=False,
)
seconds = time.monotonic() - start
print(json.dumps({"seconds": seconds, "rc": done.returncode, "out": done.stdout[-20000:], "err": done.stderr[-4000:]}))
