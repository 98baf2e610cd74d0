# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""One operation at a time, and what it was doing: the lock and the journal of a host.

The lock is a kernel lock on a file in /run: it ends with its process, so it is never stale. The journal is on disk and
outlives everything.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._pair import moving, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import RUN, STATE

LOCK = f"{RUN}/lock"
JOURNAL = f"{STATE}/journal.json"
SOURCE = moving.SOURCE
#: What the lock calls operations that move the role of a host, or its hypervisor, and the shared IP with them.
MOVE_THE_ROLE = ("migrate_secure", moving.OPERATION, "hv start", "hv stop", "rollback", "recover", "failover", "rejoin")
SHARED_IP = "hvm_shared_ip"
#: Beside these nobody takes the shared IP. An installation may give a host its first role.
_MOVE_THE_ADDRESS = (*MOVE_THE_ROLE, SHARED_IP, "install")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def owner() -> str:
    """Who runs this, and from where, for the sentences of lock and journal: two operators may both be root here."""
    user = os.environ.get("SUDO_USER") or os.environ.get("USER") or "root"
    client = os.environ.get("SSH_CONNECTION", "").split(" ")[0]  # ssh(1); sudo drops it
    return f"{user} from {client}" if client else user


class Lock:
    """Held from `take` until `release` or the end of the process."""

    def __init__(self, path: str = LOCK) -> None:
        self._path = path
        self._file: t.IO[str] | None = None

    def take(self, operation: str, owner: str, lent: bool = False) -> None:
        """:param lent: it is held for the other host's operation.
        :raises HvmError: naming who holds it and since when.
        """
        os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
        handle = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+", encoding="utf-8")
        for attempt in range(10):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                handle.seek(0)
                text = handle.read()
                if text or attempt == 9:
                    handle.close()
                    raise _running(text) from exc
                time.sleep(0.1)  # nobody's name: somebody only looks who holds it
        handle.seek(0)
        handle.truncate()
        json.dump({"operation": operation, "owner": owner, "since": _now(), "pid": os.getpid(), "lent": lent}, handle)
        handle.flush()
        self._file = handle

    @property
    def is_held(self) -> bool:
        return self._file is not None

    def release(self) -> None:
        if self._file:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    @contextlib.contextmanager
    def held(self, operation: str, owner: str) -> t.Iterator[None]:
        self.take(operation, owner)
        try:
            yield
        finally:
            self.release()


def _running(text: str) -> HvmError:
    what = f"another operation is running on {os.uname().nodename}: {describe(text)}"
    return HvmError(what, "Wait until it has ended, then run this again.")


def describe(text: str) -> str:
    try:
        raw = json.loads(text)
        return f"{raw['operation']} by {raw['owner']} since {raw['since']} (process {raw['pid']})"
    except (ValueError, KeyError, TypeError):
        return "one that did not say its name"


def lock_holder(path: str = LOCK) -> str | None:
    """Who holds the lock now, as a sentence; None when it is free."""
    text = _held_by(path)
    return None if text is None else describe(text)


def others_operation(path: str = LOCK) -> str:
    """What another process than this one holds the lock for; "" when none does."""
    try:
        raw = json.loads(_held_by(path) or "{}")
        return str(raw["operation"]) if raw["pid"] != os.getpid() else ""
    except (ValueError, KeyError, TypeError):
        return ""


def none_moves(path: str = LOCK) -> None:
    """:raises HvmError: when another process than this one moves the shared IP or the role, or does not say what it does."""
    text = _held_by(path)
    if text is None:
        return
    try:
        raw = json.loads(text)
        if raw["pid"] == os.getpid() or raw["operation"] not in _MOVE_THE_ADDRESS:
            return
    except (ValueError, KeyError, TypeError):
        pass
    raise _running(text)


def is_lent(path: str = LOCK) -> bool:
    """Whether the lock is held, and for the other host."""
    try:
        return bool(json.loads(_held_by(path) or "{}").get("lent"))
    except (ValueError, AttributeError):
        return True


def _held_by(path: str) -> str | None:
    """The text of a lock that is held; None when it is free, whatever stands there."""
    try:
        with open(path, encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return handle.read()
    except FileNotFoundError:
        pass
    return None


class Journal:
    """What an operation has done so far, on disk before each step begins."""

    def __init__(self, operation: str, path: str = JOURNAL, **facts: t.Any) -> None:
        self._path = path
        self.entry: dict[str, t.Any] = {
            "operation": operation,
            "owner": owner(),
            "started": _now(),
            "step": "begin",
            "at": _now(),
            "done": False,
            **facts,
        }

    @classmethod
    def of_pending(cls, path: str = JOURNAL) -> Journal | None:
        """That of the operation which did not end, to be gone on with; None when there is none."""
        entry = pending(path)
        if not entry:
            return None
        found = cls(str(entry["operation"]), path)
        found.entry.update(entry)
        found.entry.pop(SOURCE, None)  # who goes on with it does so in an epoch of its own
        return found

    @classmethod
    def of_arrival(cls, path: str = JOURNAL) -> Journal | None:
        """That of VMs that come to this host one by one; None when none do."""
        entry = pending(path)
        if not entry or moving.ARRIVED not in entry:
            return None
        found = cls(str(entry["operation"]), path)
        found.entry.update(entry)
        return found

    def step(self, name: str, **facts: t.Any) -> None:
        self.entry.update(facts, step=name, at=_now())
        self._write()

    def done(self, outcome: str) -> None:
        self.entry.update(step="end", outcome=outcome, at=_now(), done=True)
        self._write()

    def _write(self) -> None:
        os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
        write_atomic(self._path, json.dumps(self.entry, indent=1) + "\n", 0o644)


def noted(write: t.Callable[[], t.Any]) -> list[str]:
    """Write down what has happened already: that it cannot be written changes none of it. :return: warnings."""
    try:
        write()
    except Exception as exc:  # noqa: BLE001  whatever it is, there are VMs that wait
        return [f"it could not be written down: {exc}"]
    return []


def pending(path: str = JOURNAL) -> dict[str, t.Any] | None:
    """The operation that began here and did not end, or None."""
    text = read_text(path)
    if not text:
        return None
    try:
        entry = json.loads(text)
    except ValueError:
        return {"operation": "unknown", "step": "unreadable journal", "at": "", "started": ""}
    if not isinstance(entry, dict):
        return {"operation": "unknown", "step": "unreadable journal", "at": "", "started": ""}
    if entry.get("done") or (SOURCE in entry and not took_part(entry, role.load())):
        return None
    return entry


def took_part(entry: t.Mapping[str, t.Any], record: role.Role) -> bool:
    """Whether the target of a migration has something to finish: only since it is ACTIVE by it. Before that, the source has.

    Not so where VMs move before their host's role does: they are the target's from when they have arrived.

    :param entry: the target's journal, which names the source.
    """
    if entry.get("operation") == moving.OPERATION:
        return True
    return record.role == role.ACTIVE and record.epoch == entry.get("epoch")


def acknowledge(check: bool, path: str = JOURNAL) -> dict[str, t.Any]:
    """Somebody has looked: the interrupted operation is no longer pending."""
    entry = pending(path)
    if entry and lock_holder():
        raise HvmError(f"{lock_holder()} is still running", "Wait until it has ended.")
    findings = moving.forget(entry)
    if findings:
        raise Refused("this", findings)
    if entry and not check:
        write_atomic(path, json.dumps({**entry, "done": True, "outcome": "acknowledged"}, indent=1) + "\n", 0o644)
    return {"changed": bool(entry)}
