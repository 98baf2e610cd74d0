# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a lab host, standard library only: waits until a step begins and holds the process that works on it, so that a fault
falls into this very step.

The argument is JSON: ``{"sign": {...}, "timeout": s, "hold": s}``. On standard output: "watching"; then, when the step has
begun and its process stands still, a line of JSON. It goes on at the next line on standard input, or after `hold` seconds: the
link may be what was cut.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import select
import signal
import sys
import time
import typing as t

LOCK = "/run/hvm/lock"
JOURNAL = "/var/lib/hvm/journal.json"
ROLE = "/var/lib/hvm/role.json"
QEMU = "/run/libvirt/qemu"
IMAGES = "/var/lib/libvirt/hvm"
#: The shortest step takes 80 ms.
INTERVAL = 0.004


def read(path: str) -> dict[str, t.Any]:
    """A file of JSON; nothing when there is none, or half of one."""
    try:
        with open(path, encoding="utf-8") as handle:
            found = json.load(handle)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def files(directory: str, suffix: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if name.endswith(suffix)]
    except OSError:
        return []


def begun(sign: dict[str, t.Any]) -> bool:
    """Whether the step with this sign is under way."""
    if "journal" in sign:
        operation, step = sign["journal"]
        entry = read(JOURNAL)
        here = str(entry.get("step", ""))
        return entry.get("operation") == operation and not entry.get("done") and (here == step or here.startswith(f"{step}:"))
    if "moved" in sign:
        entry = read(JOURNAL)
        return not entry.get("done") and len(entry.get("moved", ())) >= sign["moved"]
    if "lock" in sign:
        return read(LOCK).get("operation") == sign["lock"]
    if "role" in sign:
        return read(ROLE).get("role") == sign["role"]
    if "images" in sign:
        return bool(files(IMAGES, sign["images"]))
    if "send" in sign:
        lock = read(LOCK)
        return lock.get("operation") == sign["send"] and sends(int(lock.get("pid", 0)))
    return bool(set(files(QEMU, ".pid")) - {"driver.pid"})  # that is libvirtd's own


def is_send(words: list[str]) -> bool:
    """Whether this command line sends a stream; with -n it only asks how long one would be."""
    return words[0].endswith("zfs") and words[1:2] == ["send"] and not words[2].startswith("-n")


def sends(pid: int) -> bool:
    """Whether a child of this process sends a stream."""
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(OSError):
            with open(path, encoding="ascii") as handle:
                children = handle.read().split()
            for child in children:
                with open(f"/proc/{child}/cmdline", encoding="utf-8", errors="replace") as handle:
                    if is_send(handle.read().split("\0")):
                        return True
    return False


def keep(directory: str) -> None:
    """Bring a directory to the disk: the process may stand still between the renaming that was seen and its own fsync of it."""
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main() -> int:
    wanted = json.loads(sys.argv[1])
    end = time.monotonic() + wanted["timeout"]
    print("watching", flush=True)
    while not begun(wanted["sign"]):
        if time.monotonic() > end:
            return 1
        time.sleep(INTERVAL)
    pid = int(read(LOCK).get("pid", 0))
    if pid:
        send(pid, signal.SIGSTOP)
    keep(os.path.dirname(JOURNAL))
    try:
        print(json.dumps({"pid": pid, "journal": read(JOURNAL).get("step", "")}), flush=True)
        select.select([sys.stdin], [], [], wanted["hold"])
    finally:
        if pid:
            send(pid, signal.SIGCONT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
