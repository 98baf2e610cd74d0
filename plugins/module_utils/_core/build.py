# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Which code this is: the digest of each of our files that is loaded, so that two hosts can tell whether they run the same."""

from __future__ import annotations

import importlib.util
import json
import os
import sys

PACKAGE = "ansible_collections.hvm.pair.plugins.module_utils."


def source(name: str) -> str | None:
    """Source text of one of our files, wherever it comes from; loaded it need not be. None for a package."""
    loader = getattr(importlib.util.find_spec(name), "loader", None)
    get_source = getattr(loader, "get_source", None)
    return get_source(name) if get_source else None


def sources() -> dict[str, str]:
    """Name below the package -> source, for all of our files that are loaded and run without Ansible."""
    found = {}
    for name in sorted(sys.modules):
        if name.startswith(PACKAGE) and not name.endswith("._ansible"):
            text = source(name)
            if text:
                found[name[len(PACKAGE) :]] = text
    return found


def _digest(text: str) -> str:
    import hashlib  # it loads OpenSSL, which the agent's first answer has no need of

    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digests() -> dict[str, str]:
    return digests_of(sources())


def digests_of(texts: dict[str, str]) -> dict[str, str]:
    return {name: _digest(text) for name, text in texts.items()}


#: Beside an installed library: what `digests_of` says of it. Written with it, and it is never changed, only replaced as a whole.
WRITTEN = "digests.json"


def _written() -> dict[str, str] | None:
    """Of the library that this file belongs to; None when it was not installed."""
    root = os.path.abspath(__file__)
    for dummy in [*PACKAGE.strip(".").split("."), "_core", "build.py"]:
        root = os.path.dirname(root)
    try:
        with open(os.path.join(root, WRITTEN), encoding="utf-8") as handle:
            return dict(json.load(handle))
    except (OSError, ValueError):
        return None


def differing(theirs: dict[str, str]) -> list[str]:
    """Names among `theirs` whose source here is another one, or is missing."""
    known = _written()
    if known is not None:
        return [name for name, digest in theirs.items() if known.get(name) != digest]
    wrong = []
    for name, digest in theirs.items():
        try:
            text = source(PACKAGE + name) or ""
        except ImportError:
            text = ""
        if _digest(text) != digest:
            wrong.append(name)
    return wrong
