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


def state_of(dom: t.Any) -> str:
    return STATES.get(dom.state()[0], OTHER)
