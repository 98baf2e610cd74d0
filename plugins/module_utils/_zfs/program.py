# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Channel programs (zfs-program(8)): one process and one transaction group for many snapshots of a pool."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run

#: Arguments of one program: far below ARG_MAX and the program's own limit of memory.
BATCH = 500

#: Like `Run`, with the program as `stdin`. What a unit test replaces.
Execute = t.Callable[..., str]

# What a program of ours is: `call` for each `step` arguments, and what failed by name. Everything that can be done is done.
_LOOP = """
args = ...
argv = args["argv"]
failed = {{}}
for i = 1, #argv, {step} do
    err = {call}
    if err ~= 0 then failed[{name}] = err end
end
return failed
"""

DESTROY = _LOOP.format(step=1, call="zfs.sync.destroy(argv[i])", name="argv[i]")
#: zfs.check.destroy asks what zfs.sync.destroy would say
CHECK_DESTROY = _LOOP.format(step=1, call="zfs.check.destroy(argv[i])", name="argv[i]")
#: Arguments are pairs: snapshot, bookmark.
BOOKMARK = _LOOP.format(step=2, call="zfs.sync.bookmark(argv[i], argv[i + 1])", name="argv[i + 1]")


def execute(text: str, words: t.Sequence[str], command: Execute = run, dry: bool = False) -> dict[str, int]:
    """Run a program, given as standard input, on the pool of `words`.

    :param dry: -n, which makes it impossible to change anything.
    :return: what failed, by name -> errno.
    """
    options = ["-n"] if dry else []
    out = command(["zfs", "program", *options, "-j", pool_of(words[0]), "-", *words], stdin=text)
    returned = json.loads(out).get("return", {})
    return returned if isinstance(returned, dict) else {}


def pool_of(name: str) -> str:
    """The pool of a dataset, a snapshot or a bookmark."""
    return name.split("/", 1)[0].split("@", 1)[0].split("#", 1)[0]


def batches(names: t.Iterable[str], size: int = BATCH) -> list[list[str]]:
    """`names` by their pool, in their order, at most `size` together."""
    pools: dict[str, list[str]] = {}
    for name in names:
        pools.setdefault(pool_of(name), []).append(name)
    return [members[at : at + size] for members in pools.values() for at in range(0, len(members), size)]
