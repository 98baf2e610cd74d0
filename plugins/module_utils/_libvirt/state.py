# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The four states that we tell apart."""

from __future__ import annotations

import typing as t

RUNNING, FROZEN, STOPPED, OTHER = "running", "frozen", "stopped", "other"


#: virDomainState: 1 running, 2 blocked, 3 paused, 4 shutting down, 5 shut off, 6 crashed; left out is 7, suspended by the guest.
#: Of a crashed one there may still be a process (on_crash=preserve), as of any that could not be killed.
STATES = {0: STOPPED, 1: RUNNING, 2: RUNNING, 3: FROZEN, 4: RUNNING, 5: STOPPED, 6: STOPPED}
#: VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR: QEMU's own doing when a pool is full (werror=enospc), and it stays so.
IO_ERROR = (3, 5)


def state_of(dom: t.Any) -> str:
    return STATES.get(dom.state()[0], OTHER)


def is_frozen(dom: t.Any, was: bool) -> bool:
    """Whether somebody wants it to stand still. :param was: whether that was known before; else a full pool may be the reason."""
    return state_of(dom) == FROZEN and (was or tuple(dom.state()) != IO_ERROR)
