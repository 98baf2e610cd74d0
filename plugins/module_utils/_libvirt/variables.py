# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What a VM has of its own besides memory and disks: the variables of its firmware, and the state of its emulated TPM.

A migration of libvirt's brings both. Of a VM that is off and moves as the files of its overlays they are packed into one more.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pathlib
import pwd
import re
import shutil
import tarfile
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import sync_directory

NVRAM, TPM = "/var/lib/libvirt/qemu/nvram", "/var/lib/libvirt/swtpm"
#: What they are called in a pack.
_FILE, _TREE = "nvram", "tpm"

#: A path as a definition has it -> where that can be read now.
Where = t.Callable[[str], str]


class Own(t.NamedTuple):
    """:ivar nvram: name of the file below NVRAM. :ivar tpm: of the directory below TPM. "" for none there."""

    nvram: str = ""
    tpm: str = ""

    def checked(self) -> Own:
        """As it came over the wire. :raises HvmError: when it leads elsewhere."""
        if (self.nvram and not re.fullmatch(r"[^/\0]+", self.nvram)) or self.nvram in (".", ".."):
            raise HvmError(f"{self.nvram!r} is no file of a firmware's variables")
        if self.tpm and not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", self.tpm):
            raise HvmError(f"{self.tpm!r} is no UUID of a VM")
        return self


def of(xml: str) -> Own:
    """Where libvirt puts them by itself; elsewhere they lie on a dataset of images, which nobody writes meanwhile. Pure."""
    root = ET.fromstring(xml)
    nvram, source = root.find("./os/nvram"), root.find("./os/nvram/source")
    path = (source.get("file") if source is not None else (nvram.text if nvram is not None else "")) or ""
    directory, dummy, name = path.strip().rpartition("/")
    backend = root.find("./devices/tpm/backend")
    has_tpm = backend is not None and backend.get("type") == "emulator" and backend.find("source") is None
    return Own(name if directory == NVRAM else "", (root.findtext("uuid") or "").strip() if has_tpm else "")


def pack(own: Own, target: str, where: Where = str, then: Where | None = None) -> bool:
    """Into a file, which is on disk when this returns. :return: whether there was anything.

    :param then: a path -> where that can be read as it was in the last set. What was not written since is left out: it has not
        come to disk here, or was never written here, and what the other host has is newer.
    """
    paths = {_FILE: f"{NVRAM}/{own.nvram}" if own.nvram else "", _TREE: f"{TPM}/{own.tpm}" if own.tpm else ""}
    found = {name: where(path) for name, path in paths.items() if path}
    there = {name: path for name, path in found.items() if os.path.exists(path)}
    if then:
        there = {name: path for name, path in there.items() if _written(path) != _written(then(paths[name]))}
    if not there:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
        return False
    partial = f"{target}.new"
    with open(partial, "wb") as handle:
        with tarfile.open(fileobj=handle, mode="w") as made:
            for name, path in there.items():
                made.add(path, name)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(partial, target)
    sync_directory(os.path.dirname(target))
    return True


def _written(top: str) -> dict[str, int]:
    """When each file was, by its path. Not hidden ones: swtpm's lock is one."""
    if not os.path.isdir(top):
        return {"": os.stat(top).st_mtime_ns} if os.path.exists(top) else {}
    paths = [os.path.join(directory, name) for directory, dummy, names in os.walk(top) for name in names if name[0] != "."]
    return {os.path.relpath(path, top): os.stat(path).st_mtime_ns for path in paths}


def durable(own: Own) -> None:
    """Of a VM that has moved and goes on: QEMU writes all variables then, and does not bring them to disk."""
    paths = [f"{NVRAM}/{own.nvram}"] if own.nvram else []
    for directory, dummy, names in os.walk(f"{TPM}/{own.tpm}") if own.tpm else ():
        paths += [*(os.path.join(directory, name) for name in names), directory]
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # swtpm replaces its files
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def unpack(own: Own, source: str) -> None:
    """In place of what is here. Again, after whatever has ended it, it does the same.

    :raises HvmError: for a pack that has what does not belong there.
    """
    with tarfile.open(source) as made:
        for member in made.getmembers():
            parts = member.name.split("/")
            fits = (parts == [_FILE] and member.isreg()) or (parts[0] == _TREE and (member.isreg() or member.isdir()))
            if not fits or ".." in parts or "" in parts:
                raise HvmError(f"{source} has {member.name!r}, which is nothing of a VM's firmware or TPM")
        names = made.getnames()
        if own.nvram and _FILE in names:
            _put(made, made.getmember(_FILE), f"{NVRAM}/{own.nvram}.new")
            os.replace(f"{NVRAM}/{own.nvram}.new", f"{NVRAM}/{own.nvram}")
            sync_directory(NVRAM)
        if own.tpm and _TREE in names:
            new, old = f"{TPM}/{own.tpm}.new", f"{TPM}/{own.tpm}.old"
            shutil.rmtree(new, ignore_errors=True)
            for member in made.getmembers():
                if member.name.split("/")[0] == _TREE:
                    _put(made, member, f"{new}{member.name.removeprefix(_TREE)}")
            shutil.rmtree(old, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{TPM}/{own.tpm}", old)
            os.replace(new, f"{TPM}/{own.tpm}")
            sync_directory(TPM)
            shutil.rmtree(old, ignore_errors=True)


def _put(made: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    """By hand: the filters of tarfile that make this safe are not in every Python 3.11."""
    if member.isdir():
        os.mkdir(path, 0o700)
    else:
        pathlib.Path(path).unlink(missing_ok=True)
        with open(path, "xb") as handle:
            shutil.copyfileobj(t.cast("t.IO[bytes]", made.extractfile(member)), handle)
            handle.flush()
            os.fsync(handle.fileno())
    _own(path, member)
    os.chmod(path, member.mode & 0o777)


def _own(path: str, member: tarfile.TarInfo) -> None:
    """The same user by name, where this host knows it: numbers differ between hosts."""
    try:
        uid, gid = pwd.getpwnam(member.uname).pw_uid, grp.getgrnam(member.gname).gr_gid
    except KeyError:
        uid, gid = member.uid, member.gid
    os.chown(path, uid, gid)
