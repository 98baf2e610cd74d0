# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The hands of `network_plan`: a look at this host, and what is to be done, done. What is decided is decided there."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.command import run, succeeds
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, sync_directory, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._net import links, managers, network_plan
from ansible_collections.hvm.pair.plugins.module_utils._net.links import LINK, PROC, REMOVE, TRY, WRITE, Links, Step
from ansible_collections.hvm.pair.plugins.module_utils._net.networks import Bridge

_TIMEOUT = 60.0
#: Seconds that networkd may take until a network is as it was declared; mostly it is less than one.
SETTLE = 10.0
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Host:
    """This host.

    :param root: where its files are, for tests.
    """

    def __init__(self, root: str = "") -> None:
        self._root = root

    def links(self) -> dict[str, links.Seen]:
        return links.parse(run(["ip", "-j", "-d", "addr", "show"], _TIMEOUT))

    def default_routes(self) -> set[str]:
        return links.default_routes(*(run(["ip", family, "-j", "route", "show", "default"], _TIMEOUT) for family in ("-4", "-6")))

    def files(self) -> dict[str, str]:
        """Our own; of a link where it leads."""
        found = {}
        for pattern in managers.PATTERNS:
            for path in sorted(glob.glob(self._root + pattern)):
                text = os.readlink(path) if os.path.islink(path) else read_text(path)
                if text is not None:
                    found[path.removeprefix(self._root)] = text
        return found

    def keeping(self, interface: str) -> managers.Files:
        """`managers.keeping` for an interface of this host; nothing where networkd does not run."""
        if not interface or not self._runs("systemd-networkd"):
            return {}
        try:
            said = run(["networkctl", "status", "--no-pager", "--lines=0", "--", interface], _TIMEOUT)
        except CommandError:  # not there (yet)
            return {}
        return managers.keeping(managers.network_file(said))

    def facts(self) -> managers.Facts:
        networkd = nm = None
        if self._runs("systemd-networkd"):
            networkd = managers.parse_networkctl(run(["networkctl", "list", "--no-legend", "--no-pager", "--full"], _TIMEOUT))
        if self._runs("NetworkManager") and shutil.which("nmcli", path=_PATH):
            nm = managers.parse_nmcli(run(["nmcli", "-t", "-f", "DEVICE,STATE", "device"], _TIMEOUT))
        installed = bool(shutil.which("ifup", path=_PATH)) and os.path.exists(self._root + managers.INTERFACES)
        return managers.Facts(installed, self._interfaces() if installed else {}, networkd, nm)

    @staticmethod
    def _runs(service: str) -> bool:
        return succeeds(["systemctl", "is-active", "--quiet", f"{service}.service"], _TIMEOUT)

    def _interfaces(self) -> dict[str, str]:
        """/etc/network/interfaces and whatever it reads, and what that reads."""
        found: dict[str, str] = {}
        todo = [managers.INTERFACES]
        while todo:
            path = todo.pop()
            if path in found or not os.path.isfile(self._root + path):
                continue
            found[path] = read_text(self._root + path) or ""
            for pattern in managers.sources(found[path]):
                todo += [one.removeprefix(self._root) for one in sorted(glob.glob(self._root + pattern))]
        return found

    # ---- what changes it

    def do(self, step: Step) -> None:
        """:raises HvmError: when it cannot be done."""
        path = self._root + step.what
        if step.do == TRY:
            succeeds(step.words, _TIMEOUT)
        elif step.do == PROC:
            with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
                self._proc(step.what, step.words[0])
        elif step.do == WRITE:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            write_atomic(path, step.words[0], 0o644)
        elif step.do == LINK:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.symlink(step.words[0], path)
            sync_directory(os.path.dirname(path))
        elif step.do == REMOVE:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            if step.what.rpartition("/")[0].endswith(".wants"):
                with contextlib.suppress(OSError):  # somebody else's are in it, too
                    os.rmdir(os.path.dirname(path))
        else:
            run(step.words, _TIMEOUT)

    @staticmethod
    def _proc(path: str, value: str) -> None:
        if value.startswith("/"):
            value = (read_text(value) or "0").strip()
        try:
            with open(path, "w", encoding="ascii") as handle:
                handle.write(value)
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise HvmError(
                f"{path} cannot be written: {exc.strerror}", "See that you are root, and that /proc/sys can be written."
            ) from exc


def carry_out(plan: network_plan.Plan, host: Host, settle: float = SETTLE) -> None:
    """All of it. Running it again after a failure, or a crash, goes on where it stopped: the next plan sees what is there.

    :raises HvmError: when a step fails, or a network is not as it was declared afterwards.
    """
    for step in plan.steps:
        host.do(step)
    mine = [bridge for bridge in plan.wanted if any(one.startswith(f"{bridge.name}: ") for one in plan.actions)]
    if plan.settle:
        _wait(mine, host, settle)
    failed = ""
    try:
        for bridge in mine:
            # networkd may be at the same thing: then it is there already, and the next look says so
            for step in links.mend(bridge, host.links()):
                host.do(step)
    except CommandError as exc:
        failed = exc.what
    found = host.links()
    wrong = [one for bridge in mine for one in links.faults(bridge, found)]
    if wrong:
        remedy = "See the journal (journalctl -b -u systemd-networkd -u networking), then run hvm_network state=applied."
        raise HvmError(f"the networks are not as they were declared: {'; '.join([*wrong, *filter(None, [failed])])}", remedy)


def _wait(wanted: t.Sequence[Bridge], host: Host, seconds: float) -> None:
    end = time.monotonic() + seconds
    while any(links.faults(bridge, found) for found in [host.links()] for bridge in wanted) and time.monotonic() < end:
        time.sleep(0.2)


def lost(before: Links, after: Links, names: t.Iterable[str]) -> list[str]:
    """Of these interfaces: addresses that are gone, and those that are switched off now, as ADDR/PREFIX on NAME, or NAME."""
    found = []
    for name in names:
        old, new = before.get(name), after.get(name)
        if old is None:
            continue
        if new is None or (old.up and not new.up):
            found.append(name)
        else:
            found += [f"{one} on {name}" for one in old.addresses if one not in new.addresses]
    return found
