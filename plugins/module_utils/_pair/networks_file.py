# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Where the networks of VMs are kept: what this host was told, and what the other one knew when it last answered.

On no replicated dataset: a host must know of its networks before it is ACTIVE. The lock is for the moment of a change only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._pair import networks
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import STATE

PATH = "/etc/hvm/networks.json"
PEER = f"{STATE}/networks-peer.json"
LOCK = f"{STATE}/networks.lock"


def read(config: PairConfig, path: str = PATH) -> networks.Kept:
    """:raises HvmError: for a file that cannot be read."""
    return _read(config, path) or networks.Kept({})


def read_peer(config: PairConfig, path: str = PEER) -> networks.Book | None:
    """What the other host knew when it last answered; None when it never did."""
    found = _read(config, path)
    return None if found is None else found.book


def _read(config: PairConfig, path: str) -> networks.Kept | None:
    text = read_text(path)
    if text is None:
        return None
    try:
        return networks.parse(text, [one.name for one in config.hosts])
    except HvmError as exc:
        raise HvmError(f"{path}: {exc.what}", exc.remedy) from exc


def save(kept: networks.Kept, path: str = PATH) -> None:
    _save(kept, path)


def save_peer(book: networks.Book, path: str = PEER) -> None:
    _save(networks.Kept(book), path)


def _save(kept: networks.Kept, path: str) -> None:
    """Readable for everyone: whoever asks for the status may see them. Nothing is written that is there."""
    text = networks.dump(kept)
    if read_text(path) != text:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        write_atomic(path, text, 0o644)


@contextlib.contextmanager
def changing(seconds: float, path: str = LOCK) -> t.Iterator[None]:
    """Nobody else changes the networks of this host meanwhile.

    :param seconds: to wait for who does. Not for ever: the two hosts may be waiting for each other.
    :raises HvmError: when it takes longer.
    """
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path, "a", encoding="utf-8") as handle:
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > end:
                    what = f"somebody else is changing the networks of {os.uname().nodename}"
                    raise HvmError(what, "Wait a moment, then run hvm_network state=applied.") from exc
                time.sleep(0.1)
        yield
