# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What libvirt's errors are told apart by. Without libvirt itself, which need not be importable where this is loaded."""

from __future__ import annotations

import typing as t

#: virErrorNumber. NO_DOMAIN: also of a transient VM that has ended. OPERATION_TIMEOUT: another call to the same VM has kept this
#: one waiting for half a minute. AGENT_TIMEOUT: the agent is there, and does not answer this question.
NO_DOMAIN, OPERATION_TIMEOUT, AGENT_UNRESPONSIVE, AGENT_TIMEOUT = 42, 68, 86, 112


def code_of(exc: BaseException) -> int | None:
    """virErrorNumber of a libvirtError; None of anything else."""
    get = getattr(exc, "get_error_code", None)
    return t.cast("int | None", get()) if get else None
