# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's network: one namespace with two bridges, held open by one sleeping process.

The hosts are on the one, with their addresses, and the bridges for their guests on the other: two cables, as in a real pair.

Nothing has a name outside of the namespace, so labs cannot collide and no traffic can leave. As an ordinary user the
namespace lies in a user namespace of its own; entering it is the same command.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from _image import LabError, _path, is_root, run_or_fail

BRIDGE = "lab0"
GATEWAY4 = "10.42.0.1"
NETWORK4 = "10.42.0.0/24"
GATEWAY6 = "fd42::1"
#: For what the hosts' own bridges are connected to: guests with an address have one of these.
VMS_BRIDGE = "lab1"
VMS_GATEWAY4 = "10.44.0.1"
VMS_GATEWAY6 = "fd44::1"


def create() -> int:
    """Make the namespace with its bridges; returns the process id that holds it."""
    flags = ["--net"] if is_root() else ["--user", "--map-root-user", "--net"]
    holder = subprocess.Popen(
        ["unshare", *flags, "sleep", "infinity"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PATH": _path()},
    )
    deadline = time.monotonic() + 10
    own = os.readlink("/proc/self/ns/net")
    while True:
        if holder.poll() is not None:
            raise LabError(
                "could not make a network namespace"
                + (
                    ""
                    if is_root()
                    else ": as an ordinary user the kernel must allow user namespaces "
                    "(sysctl kernel.unprivileged_userns_clone, AppArmor)"
                )
            )
        try:
            comm = Path(f"/proc/{holder.pid}/comm").read_text(encoding="ascii").strip()
            if comm == "sleep" and os.readlink(f"/proc/{holder.pid}/ns/net") != own:
                break
        except OSError:
            pass
        if time.monotonic() > deadline:
            holder.kill()
            raise LabError("the network namespace did not appear within 10 s")
        time.sleep(0.02)
    script = ["ip link set lo up"]
    for bridge, address4, address6 in ((BRIDGE, GATEWAY4, GATEWAY6), (VMS_BRIDGE, VMS_GATEWAY4, VMS_GATEWAY6)):
        script += [f"ip link add {bridge} type bridge stp_state 0 forward_delay 0", f"ip link set {bridge} up"]
        script += [f"ip addr add {address4}/24 dev {bridge}", f"ip -6 addr add {address6}/64 dev {bridge} nodad"]
    run_or_fail(enter(holder.pid, ["sh", "-c", " && ".join(script)]), "make the lab's bridges")
    return holder.pid


def enter(holder: int, command: list[str]) -> list[str]:
    """`command` as one that runs inside the namespace."""
    flags = ["--net"] if is_root() else ["--user", "--preserve-credentials", "--net"]
    return ["nsenter", "--target", str(holder), *flags, "--", *command]


def add_tap(holder: int, tap: str, bridge: str = BRIDGE) -> None:
    script = f"ip tuntap add {tap} mode tap && ip link set {tap} master {bridge} && ip link set {tap} up"
    run_or_fail(enter(holder, ["sh", "-c", script]), f"make the tap {tap}")


def set_link(holder: int, tap: str, up: bool) -> None:
    run_or_fail(enter(holder, ["ip", "link", "set", tap, "up" if up else "down"]), f"switch the link {tap}")
