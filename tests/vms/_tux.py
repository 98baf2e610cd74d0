# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Linux guest as a test on the lab's hosts sees it."""

from __future__ import annotations

import json
import shlex
import time
import typing as t
from collections.abc import Callable

import _guests
import _hostside
import _linux
from _hosts import Failure, Host

NAME = _linux.TUX.name
#: Seconds that anything in this guest may take; it is emulated in an emulated host, and boots in half of it.
BOUND = 180.0
VOLUME = f"{_hostside.PLACES['ssd'].dataset}/{NAME}"
COPY = f"{VOLUME.split('/', maxsplit=1)[0]}/test-{NAME}"


class Tux:
    def __init__(self, host: Host) -> None:
        self.host = host
        self._log = _linux.log_path(NAME)

    def sh(self, script: str, check: bool = True) -> str:
        return self.host.sh(script, check)

    def vm(self, verb: str, **limits: t.Any) -> dict[str, t.Any]:
        done = self.host.call("vm", verb=verb, names=[NAME], **limits)
        assert not done.get("failed"), done
        return done

    def said(self) -> list[_linux.Boot | _linux.Count | str]:
        """Since the log was last forgotten."""
        return _linux.said(self.sh(f"cat {self._log}", check=False))

    def forget(self) -> None:
        """Empty the log, which QEMU's log daemon has open for appending."""
        self.sh(f": > {self._log}")

    def counts(self) -> list[_linux.Count]:
        return [one for one in self.said() if isinstance(one, _linux.Count)]

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + BOUND
        while not condition():
            assert time.monotonic() < end, f"no {what} within {BOUND:.0f} s; it said {self.said()[-5:]}"
            time.sleep(0.5)

    def hear(self, number: int = 2) -> _linux.Count:
        """Wait for that many more counts; the last one."""
        now = len(self.counts())
        self.wait(lambda: len(self.counts()) >= now + number, f"{number} counts")
        return self.counts()[-1]

    def ask(self, command: str, **arguments: t.Any) -> t.Any:
        words = json.dumps({"execute": command, "arguments": arguments})
        return json.loads(self.sh(f"virsh qemu-agent-command --timeout 30 {NAME} {shlex.quote(words)}"))["return"]

    def answers(self) -> bool:
        try:
            return self.ask("guest-ping") == {}
        except Failure:
            return False

    def ahead(self) -> float:
        """Its clock, of the host's; within what two questions take here."""
        return self.ask("guest-get-time") / 1e9 - float(self.sh("date +%s.%N"))

    def needs_recovery(self, name: str) -> bool:
        """Whether its filesystem in that set has to be recovered."""
        device = _guests.volume_path(COPY)
        self.sh(f"zfs clone -o volmode=dev -o readonly=on {VOLUME}@{name} {COPY}")
        try:
            wait = f"for i in $(seq 100); do test -b {device} && break; sleep 0.1; done"
            return _linux.needs_recovery(bytes.fromhex(self.sh(f"{wait}; head -c 2048 {device} | od -An -v -tx1")))
        finally:
            self.sh(f"udevadm settle; zfs destroy {COPY}")

    def backup(self, method: str) -> dict[str, t.Any]:
        done = self.host.call("backup", method=method, quiesce_limit=60)
        assert not done.get("failed"), done
        return done
