# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The role of this host, and the gate that goes with it.

The record is on this host only, never on a replicated dataset. The gate is a file in /run: it is gone after a reboot, so
libvirt's hook and units refuse until somebody has proven the role anew.
"""

from __future__ import annotations

import datetime
import json
import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic

STATE = "/var/lib/hvm"
RECORD = f"{STATE}/role.json"
RUN = "/run/hvm"
GATE = f"{RUN}/gate"

ACTIVE, PASSIVE, UNKNOWN, DIVERGED = "ACTIVE", "PASSIVE", "UNKNOWN", "DIVERGED"


class Role(t.NamedTuple):
    """:ivar role: as it was recorded; `now` is what it is worth.
    :ivar epoch: rises at every activation of either host; the higher one wins.
    :ivar boot_id: of the boot in which it was recorded.
    """

    role: str
    epoch: int
    since: str
    reason: str
    boot_id: str

    def now(self, boot_id: str) -> str:
        """An ACTIVE host that has rebooted is UNKNOWN: the other may have taken over since. A PASSIVE one has nothing to lose."""
        return UNKNOWN if self.role == ACTIVE and self.boot_id != boot_id else self.role


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
        return handle.read().strip()


def load(path: str = RECORD) -> Role:
    """The record; a host without one is UNKNOWN in epoch 0.

    :raises HvmError: for a record that cannot be read: guessing a role is how data is lost.
    """
    text = read_text(path)
    if text is None:
        return Role(UNKNOWN, 0, "", "no role was ever recorded here", "")
    try:
        raw = json.loads(text)
        return Role(str(raw["role"]), int(raw["epoch"]), str(raw["since"]), str(raw["reason"]), str(raw["boot_id"]))
    except (ValueError, KeyError, TypeError) as exc:
        raise HvmError(
            f"the role record {path} cannot be read: {exc!r}",
            "Look at it; the other host's record tells which of them is ACTIVE.",
        ) from exc


def record(role: str, epoch: int, reason: str, path: str = RECORD) -> Role:
    """Write the record and set the gate accordingly.

    The gate is shut before a record that is not ACTIVE, and opened after one that is.
    """
    entry = Role(role, epoch, datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), reason, boot_id())
    if role != ACTIVE:
        shut_gate()
    write(entry, path)
    if role == ACTIVE:
        open_gate(epoch)
    return entry


def write(entry: Role, path: str = RECORD) -> None:
    """The record alone, as it is given; the gate stays as it is."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    write_atomic(path, json.dumps(entry._asdict(), indent=1) + "\n", 0o644)


def open_gate(epoch: int) -> None:
    os.makedirs(RUN, mode=0o755, exist_ok=True)
    write_atomic(GATE, f"{ACTIVE} {epoch}\n", 0o644)


def shut_gate() -> None:
    try:
        os.unlink(GATE)
    except FileNotFoundError:
        pass


def gate_is_open() -> bool:
    return os.path.exists(GATE)


def as_dict(entry: Role) -> dict[str, t.Any]:
    return {**entry._asdict(), "now": entry.now(boot_id())}
