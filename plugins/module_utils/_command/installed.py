# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Where the command lies on a host, beside the library that it starts (`_procedure.install`)."""

from __future__ import annotations

import types

from ansible_collections.hvm.pair.plugins.module_utils._command import completion
from ansible_collections.hvm.pair.plugins.module_utils._core import build
from ansible_collections.hvm.pair.plugins.module_utils._procedure.install import HOME

#: For root, and from no package of the distribution: /usr/local/sbin (FHS 4.9), which sudo's secure_path has too.
COMMAND = "/usr/local/sbin/hvm"
#: bash-completion looks in ../share of where a command lies, and in XDG_DATA_DIRS, of which this is one.
COMPLETION = "/usr/local/share/bash-completion/completions/hvm"

# The library by its real place: one that is installed meanwhile does not get mixed with this one.
COMMAND_TEXT = f"""#!/usr/bin/python3 -IBS
# hvm: the command of the pair; see 'hvm help'.
import os
import sys

sys.path.insert(0, os.path.realpath("{HOME}/current"))
sys.path.append("/usr/lib/python3/dist-packages")
from {build.PACKAGE}_command.main import main

sys.exit(main())
"""


def files() -> dict[str, tuple[str, int]]:
    """Path -> (text, mode)."""
    return {COMMAND: (COMMAND_TEXT, 0o755), COMPLETION: (completion.script(), 0o644)}


def at_work() -> list[str]:
    """The commands that are at work on this host, watched or not."""
    from ansible_collections.hvm.pair.plugins.module_utils._command import detached

    found = [(task, task.process) for task in detached.tasks()]
    return [f"'hvm {' '.join(task.typed)}' is at work (process {process})" for task, process in found if process is not None]


def load_all() -> tuple[types.ModuleType, ...]:
    """The whole package: what is loaded is installed."""
    from ansible_collections.hvm.pair.plugins.module_utils._command import (
        actions,
        detached,
        french,
        help,
        main,
        outcome,
        parse,
        show,
        texts,
        tree,
        words,
    )
    from ansible_collections.hvm.pair.plugins.module_utils._core import report
    from ansible_collections.hvm.pair.plugins.module_utils._report import recovery, rollback, status, steps

    return (
        *(actions, completion, detached, french, help, main, outcome, parse, show, texts, tree, words),
        *(recovery, report, rollback, status, steps),
    )
