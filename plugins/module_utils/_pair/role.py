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

import contextlib
import datetime
import json
import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core import log
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic

STATE = "/var/lib/hvm"
RECORD = f"{STATE}/role.json"
RUN = "/run/hvm"
GATE = f"{RUN}/gate"

ACTIVE, PASSIVE, UNKNOWN, DIVERGED = "ACTIVE", "PASSIVE", "UNKNOWN", "DIVERGED"
#: No role: what the gate says on a PASSIVE host to which VMs come one by one.
ARRIVING = "ARRIVING"
#: How the reason begins of a host that the other one has handed over to.
TOOK_OVER = "took over by"


class Role(t.NamedTuple):
    """:ivar role: as it was recorded; `now` is what it is worth.
    :ivar epoch: rises at every activation of either host; the higher one wins.
    :ivar boot_id: of the boot in which it was recorded.
    :ivar seen: highest epoch of the other host that this one knew of when it became ACTIVE. Only of what was seen a later epoch
        is known to be later: a host that was started by force, without an answer, knows nothing of what the other did meanwhile.
    :ivar clean: since it was ACTIVE it was stopped in good order, so no intent log holds anything.
    """

    role: str
    epoch: int
    since: str
    reason: str
    boot_id: str
    seen: int = 0
    clean: bool = False

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
        epoch = int(raw["epoch"])
        return Role(
            str(raw["role"]),
            epoch,
            str(raw["since"]),
            str(raw["reason"]),
            str(raw["boot_id"]),
            int(raw.get("seen", max(epoch - 1, 0))),
            bool(raw.get("clean", False)),
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise HvmError(
            f"the role record {path} cannot be read: {exc!r}",
            "Look at it; the other host's record tells which of them is ACTIVE.",
        ) from exc


def record(role: str, epoch: int, reason: str, path: str = RECORD, seen: int | None = None) -> Role:
    """Write the record and set the gate accordingly.

    The gate is shut before a record that is not ACTIVE, and opened after one that is.

    :param seen: of a host that becomes ACTIVE; None: no more than it knew before.
    """
    if role != ACTIVE:
        shut_gate()
    before = load(path)
    if seen is None:
        seen = before.epoch if role == ACTIVE and before.role != ACTIVE else before.seen
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = Role(role, epoch, since, reason, boot_id(), seen, before.clean and role != ACTIVE)
    write(entry, path)
    if role == ACTIVE:
        open_gate(epoch)
    return entry


def write(entry: Role, path: str = RECORD) -> None:
    """The record alone, as it is given; the gate stays as it is.

    Another role or epoch is told to the host's log, as is ACTIVE again after a boot: after a crash of both hosts it says which
    one was ACTIVE.
    """
    try:
        known = load(path)
        before = known.now(entry.boot_id), known.epoch
    except HvmError:
        before = "", -1
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    write_atomic(path, json.dumps(entry._asdict(), indent=1) + "\n", 0o644)
    if before != entry[:2]:
        log.say(f"role: this host is {entry.role} in epoch {entry.epoch}: {entry.reason}")


def see(epoch: int, path: str = RECORD) -> bool:
    """A host that is not ACTIVE writes down in which epoch the other one is. :return: whether that was new."""
    entry = load(path)
    if entry.role == ACTIVE or not entry.since or epoch <= entry.epoch:
        return False
    write(entry._replace(epoch=epoch), path)
    return True


def stopped_in_order(path: str = RECORD) -> None:
    """Everything is unmounted, in the very boot in which it was mounted. A host that crashed while it was ACTIVE stays marked."""
    entry = load(path)
    if entry.now(boot_id()) == ACTIVE and not entry.clean:
        write(entry._replace(clean=True), path)


def in_use(path: str = RECORD) -> None:
    """The opposite, before anything is mounted on a host that is ACTIVE already."""
    entry = load(path)
    if entry.clean and entry.role == ACTIVE:
        write(entry._replace(clean=False), path)


def open_gate(epoch: int, state: str = ACTIVE) -> None:
    """:param state: ARRIVING: only for VMs that come from the other host."""
    os.makedirs(RUN, mode=0o755, exist_ok=True)
    write_atomic(GATE, f"{state} {epoch}\n", 0o644)


def shut_gate() -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(GATE)
    keep_away((), "")  # nothing starts here, and whoever opens the gate says anew what may not


def keep_away(names: t.Collection[str], host: str) -> None:
    """These VMs, and no others, are on `host`, or may be: libvirt's hook lets nobody start them here."""
    with contextlib.suppress(FileNotFoundError):
        for name in set(os.listdir(_away(""))).difference(names):
            is_here(name)
    for name in names:
        goes_away(name, host)


def goes_away(name: str, host: str) -> None:
    """One more; a name of a VM of QEMU's has no slash (virDomainDefPostParseCheckFeatures)."""
    os.makedirs(_away(""), mode=0o755, exist_ok=True)
    with open(_away(name), "w", encoding="utf-8") as handle:
        handle.write(f"{host}\n")


def is_here(name: str) -> None:
    """One less: it is this host's again."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_away(name))


def comes_no_more(name: str) -> None:
    """What the hook has noted when a move to here began must let nobody else start the VM."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{RUN}/comes/{name}")


def _away(name: str) -> str:
    return f"{RUN}/away/{name}"


def gate_says() -> str:
    """For whom it is open: ACTIVE or ARRIVING; "" when it is shut."""
    return (read_text(GATE) or "").partition(" ")[0].strip()


def gate_is_open() -> bool:
    return os.path.exists(GATE)


def as_dict(entry: Role) -> dict[str, t.Any]:
    return {**entry._asdict(), "now": entry.now(boot_id())}
