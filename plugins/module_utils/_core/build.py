# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Which code this is: the digest of each of our files that is loaded, so that two hosts can tell whether they run the same."""

from __future__ import annotations

import hashlib
import importlib.util
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


def digests() -> dict[str, str]:
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in sources().items()}


def differing(theirs: dict[str, str]) -> list[str]:
    """Names among `theirs` whose source here is another one, or is missing."""
    wrong = []
    for name, digest in theirs.items():
        try:
            text = source(PACKAGE + name) or ""
        except ImportError:
            text = ""
        if hashlib.sha256(text.encode()).hexdigest()[:16] != digest:
            wrong.append(name)
    return wrong
