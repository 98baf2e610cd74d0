# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a lab host: one call into the installed library, as a module makes it; the result or the error as one line of JSON.

The argument is JSON: ``{"call": "sync", ...}``. Calls are the functions below.
"""

from __future__ import annotations

import json
import sys
import typing as t

sys.path.insert(0, "/usr/lib/hvm/current")

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import config, role
from ansible_collections.hvm.pair.plugins.module_utils._procedure import checkpoint, sync


def take(consistency: str = "crash") -> dict[str, t.Any]:
    return {"set": checkpoint.take_set(config.load(), consistency, role.load().epoch)}


def run_sync(snapshot: str | None = None, check: bool = False, retry_after: float = 50.0, **options: t.Any) -> dict[str, t.Any]:
    sync.RETRY_AFTER = retry_after
    progress = Progress()
    options["aside"] = tuple(options.get("aside", ()))
    try:
        result = sync.run(config.load(), progress, snapshot, check, sync.Options(**options))
    except HvmError as exc:
        exc.details["lines"] = progress.lines
        raise
    return {**result, "lines": progress.lines}


def take_and_sync(**options: t.Any) -> dict[str, t.Any]:
    return run_sync(take()["set"], **options)


def run_rollback(state: str = "rolled_back", to: str = "last", check: bool = False) -> dict[str, t.Any]:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import rollback

    progress = Progress()
    result = rollback.apply(config.load(), state, to, check, progress)
    return {**result, "lines": progress.lines}


def kept() -> dict[str, t.Any]:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import rollback

    return {"kept": rollback.kept_list(config.load())}


def drop(which: str, check: bool = False) -> dict[str, t.Any]:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import rollback

    return rollback.drop(config.load(), which, check)


def hypervisor(state: str, peer_is_down: str = "") -> dict[str, t.Any]:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import switch

    return switch.apply(config.load(), state, peer_is_down, False)


def run_backup(**options: t.Any) -> dict[str, t.Any]:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import backup

    progress = Progress()
    try:
        result = backup.backup(config.load(), progress, backup.Options(**options))
    except HvmError as exc:
        exc.details["lines"] = progress.lines
        raise
    return {**result, "lines": progress.lines}


def run_move(check: bool = False, rate: int = 0, on_failure: str = "back", **policy: t.Any) -> dict[str, t.Any]:
    """:param policy: of `modes.Policy`."""
    from ansible_collections.hvm.pair.plugins.module_utils._pair import modes
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import alone, move

    progress = Progress()
    try:
        result = alone.move(config.load(), progress, move.Options(modes.Policy(**policy), rate, on_failure == "stay"), check)
    except HvmError as exc:
        exc.details["lines"] = progress.lines
        raise
    return {**result, "lines": progress.lines}


def vm(verb: str, names: t.Sequence[str] = (), everything: bool = False, **limits: t.Any) -> dict[str, t.Any]:
    from ansible_collections.hvm.pair.plugins.module_utils._libvirt import stopping
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import verbs

    return verbs.apply(config.load(), verb, names, everything, verbs.Options(stopping.Limits(**limits)), False)


def observe() -> dict[str, t.Any]:
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import observe as looking

    return looking.observe(config.load())


CALLS: dict[str, t.Callable[..., dict[str, t.Any]]] = {
    "take": take,
    "sync": run_sync,
    "take_and_sync": take_and_sync,
    "rollback": run_rollback,
    "kept": kept,
    "drop": drop,
    "hypervisor": hypervisor,
    "backup": run_backup,
    "move": run_move,
    "vm": vm,
    "observe": observe,
}


def main() -> None:
    arguments = json.loads(sys.argv[1])
    try:
        answer = CALLS[arguments.pop("call")](**arguments)
    except HvmError as exc:
        answer = {"failed": True, "kind": type(exc).__name__, "msg": str(exc), "remedy": exc.remedy, **exc.details}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
