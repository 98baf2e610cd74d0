# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes `import ansible_collections.hvm.pair...` mean this checkout, with plain pytest and nothing installed."""

from __future__ import annotations

import os
import pathlib
import sys
import types

import hypothesis
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Under ansible-test the checkout itself lies in such a tree; otherwise collections/ holds a link to it.
TREE = ROOT.parent.parent if ROOT.parent.parent.name == "ansible_collections" else ROOT / "collections" / "ansible_collections"

if "ansible_collections" not in sys.modules:
    # Not by sys.path: an installed `ansible` bundle brings a regular package of this name, and that would win.
    package = types.ModuleType("ansible_collections")
    package.__path__ = [str(TREE)]
    sys.modules["ansible_collections"] = package
# For the Pythons that tests start
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TREE.parent), os.environ.get("PYTHONPATH")]))

# Hosts here are thousands of small files; no power cut of theirs is a real one.
os.fsync = os.fdatasync = lambda fd: None

# The time of one example says nothing on a busy machine.
hypothesis.settings.register_profile("hvm", deadline=None, print_blob=True)
hypothesis.settings.load_profile("hvm")


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be in the host's log: no test writes into that of this machine."""
    from ansible_collections.hvm.pair.plugins.module_utils._core import log

    lines: list[str] = []
    monkeypatch.setattr(log, "_send", lines.append)
    return lines
