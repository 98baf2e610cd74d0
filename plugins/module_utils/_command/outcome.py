# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""How a command has ended, as data: what is printed, now or by `hvm follow`, and the exit code."""

from __future__ import annotations

import json
import traceback
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Refused, known

DONE, FAILED, USAGE, REFUSED, UNWATCHED = 0, 1, 2, 3, 4


class Outcome(t.NamedTuple):
    """:ivar result: as the module returns it; of a failure its facts. :ivar error: ``{msg, remedy, ...}``; empty when it is done.

    Of what was refused the error has `operation`, `findings` (``[what, remedy, host]``) and `more`, lines that follow them.
    """

    code: int
    result: dict[str, t.Any]
    error: dict[str, t.Any] = {}  # noqa: RUF012  never changed


def of_error(exc: Exception) -> Outcome:
    if isinstance(exc, Refused):
        head = exc.what.split(" is refused, nothing was changed: ", 1)[0]
        plain = Refused(head, exc.findings).what
        more = exc.what[len(plain) :].split("\n")[1:]
        error = {"operation": head, "findings": [list(one) for one in exc.findings], "more": more}
        return Outcome(REFUSED, dict(exc.details), {"msg": str(exc), "what": exc.what, "remedy": exc.remedy, **error})
    if failure := known(exc):
        return Outcome(FAILED, dict(failure.details), {"msg": str(failure), "what": failure.what, "remedy": failure.remedy})
    error = {"msg": f"unexpected {type(exc).__name__}: {exc}", "bug": type(exc).__name__, "exception": traceback.format_exc()}
    return Outcome(FAILED, {}, {**error, "what": str(exc), "remedy": ""})


def attempt(work: t.Callable[[], dict[str, t.Any]]) -> Outcome:
    """What `work` comes to; a bug is kept with where it happened."""
    try:
        return Outcome(DONE, work())
    except Exception as exc:  # noqa: BLE001
        return of_error(exc)


def as_json(outcome: Outcome) -> str:
    """As the module says it: the result, or ``{"failed": true, "msg", "remedy", ...}`` with the facts."""
    if not outcome.error:
        return json.dumps({"changed": False, **outcome.result}, indent=1, ensure_ascii=False, default=str)
    error = {key: value for key, value in outcome.error.items() if key in ("msg", "remedy", "exception")}
    return json.dumps({"failed": True, **outcome.result, **error}, indent=1, ensure_ascii=False, default=str)
