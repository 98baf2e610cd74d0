# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The ssh connection to the other host. Apart from what goes over it, so that it is under way while that is being loaded."""

from __future__ import annotations

import os
import subprocess
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.begun import ENVIRONMENT
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig

KEY = "/etc/hvm/id_ed25519"
KNOWN_HOSTS = "/etc/hvm/known_hosts"
#: Behind the agent's name in the ssh command: the first question will be `hello` with a look.
LOOK = "look"
#: There too: this connection is not for questions, it is one end of the relay (relayed.py).
RELAY = "relay"


def ssh_command(config: PairConfig, ask: str = "") -> list[str]:
    """Own key, pinned host key, nothing of the user's configuration, nothing shared with other connections.

    :param ask: what the agent may begin with before it is asked (SSH_ORIGINAL_COMMAND).
    """
    options = {
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": KNOWN_HOSTS,
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": config.peer.name,
        "ControlMaster": "no",
        "ControlPath": "none",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "LogLevel": "ERROR",
    }
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    return ["ssh", "-T", "-F", "/dev/null", "-i", KEY, *words, f"root@{config.peer.address}", f"hvm-agent {ask}".strip()]


def dial(command: t.Sequence[str]) -> subprocess.Popen[bytes]:
    """Start `command` (`ssh_command`), with a pipe at each end; it is the caller's to end it."""
    try:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT},
        )
    except FileNotFoundError as exc:
        raise HvmError(f"{exc.filename} is not installed on this host", "Run the playbook hvm.pair.install.") from exc
