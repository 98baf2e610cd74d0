# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Lines in the host's log, for whoever asks after a crash which host was ACTIVE: ``journalctl -t hvm``, or /var/log/syslog."""

from __future__ import annotations

TAG = "hvm"


def clean(text: str) -> str:
    """One line that every log can take. Pure."""
    line = "; ".join(part.strip() for part in text.splitlines() if part.strip())
    return line.encode("utf-8", "backslashreplace").decode().replace("\0", "")


def _send(line: str) -> None:
    """syslog(3), which the journal takes in as well. What a unit test replaces."""
    import syslog

    syslog.openlog(TAG, syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_NOTICE, line)


def say(text: str) -> None:
    """Never fails: what was done counts more than its line."""
    try:
        _send(clean(text))
    except (OSError, ValueError):
        pass
