# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What goes wrong, said so that it helps at three in the morning: what it is, and what to do."""

from __future__ import annotations

import typing as t


class Finding(t.NamedTuple):
    """One reason to refuse: `what` names the thing, `remedy` says what to do, `host` where it was seen."""

    what: str
    remedy: str
    host: str = ""

    def sentence(self) -> str:
        where = f"{self.host}: " if self.host else ""
        return f"{where}{self.what}. {self.remedy}".strip()


class HvmError(Exception):
    """Anything this collection refuses or fails at.

    :param what: one sentence without its full stop; names the thing.
    :param remedy: what the operator can do, as a whole sentence.
    :param details: JSON-serialisable facts that go into a module's result.
    """

    def __init__(self, what: str, remedy: str = "", **details: t.Any) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.details = details

    def __str__(self) -> str:
        return f"{self.what}. {self.remedy}".strip() if self.remedy else self.what


class Refused(HvmError):
    """A guard or a preflight said no; nothing has been changed. Holds every finding at once."""

    def __init__(self, operation: str, findings: t.Sequence[Finding]) -> None:
        self.findings = list(findings)
        count = len(self.findings)
        head = f"{operation} is refused, nothing was changed"
        body = (
            " ".join(f"({n}) {f.sentence()}" for n, f in enumerate(self.findings, 1))
            if count > 1
            else self.findings[0].sentence()
        )
        super().__init__(f"{head}: {body}", "", findings=[f._asdict() for f in self.findings])


def known(exc: BaseException) -> HvmError | None:
    """One of ours, also of what libvirt said where nobody had a better word for it: it has died, mostly. None: a bug."""
    if isinstance(exc, HvmError):
        return exc
    if type(exc).__name__ == "libvirtError":  # by name: the library need not be importable here
        return HvmError(f"libvirt failed: {exc}", "What it says of that itself: journalctl -u libvirtd.")
    return None


class CommandError(HvmError):
    """A command of the host failed. `stderr` is what it said."""

    def __init__(self, command: t.Sequence[str], rc: int, stdout: str, stderr: str, remedy: str = "") -> None:
        super().__init__(
            f"'{' '.join(command)}' failed ({rc}): {_sentence(stderr.strip() or stdout.strip() or 'it said nothing')}",
            remedy, command=list(command), rc=rc, stdout=stdout, stderr=stderr
        )
        self.rc = rc
        self.stderr = stderr


def _sentence(text: str) -> str:
    """The one line that says what went wrong: the last, as of most commands.

    Of zfs the one that begins with "cannot": after it may come advice ("A resuming stream can be generated …"), and some are
    broken in two ("destination X has been modified", "since most recent snapshot").
    """
    lines = text.splitlines()
    at = next((number for number, line in enumerate(lines) if line.startswith("cannot ")), len(lines) - 1)
    more = lines[at + 1] if at + 1 < len(lines) and lines[at + 1][:1].islower() else ""
    return f"{lines[at]} {more}".strip()
