# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Small files that must be whole after a power cut."""

from __future__ import annotations

import contextlib
import os

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError


def write_atomic(path: str, text: str, mode: int = 0o600, durable: bool = True) -> None:
    """Replace `path` so that a reader, or the next boot, finds the old text or the new one.

    fsync, rename, fsync of the directory; without `durable` the rename alone, for what something else makes durable.

    The mode is exactly `mode`, whatever the umask. A symbolic link is replaced, not followed.

    :raises HvmError: when it cannot be written; the old file is as it was then, unless it was the last fsync that failed.
    """
    import tempfile  # it loads a dozen files more, and most who read write nothing

    directory = os.path.dirname(path) or "."
    try:
        # A name of its own for each writer: two at once must not write into one temporary file.
        handle, temporary = tempfile.mkstemp(dir=directory, prefix=f".{os.path.basename(path)}.")
        try:
            # newline="": what read_text gives back is what was written. surrogateescape: as commands are read.
            with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
                stream.write(text)
                stream.flush()
                os.fchmod(stream.fileno(), mode)
                if durable:
                    os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        if not durable:
            return
        # Without this the rename itself may be lost in a power cut; see fsync(2).
        sync_directory(directory)
    except OSError as exc:
        remedy = f"See that the directory {directory} exists and that its filesystem can be written and has room."
        raise HvmError(f"{path} cannot be written: {exc.strerror or exc}", remedy) from exc


def sync_directory(directory: str) -> None:
    """A rename in it outlives a power cut from here on."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_text(path: str) -> str | None:
    """The file's text; None when there is no such file.

    :raises HvmError: when it is there and cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise HvmError(f"{path} cannot be read: {exc.strerror or exc}", "See that it is a file, and that you are root.") from exc
