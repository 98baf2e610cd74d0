# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Runs a module detached on its host and shows what it is doing while it does it.

Detached, since a section that must not be left half done has to survive the loss of the controller; shown, since a module
itself can say nothing until its end. The module writes lines into a file on the host; this reads them, without Python
there (40 ms a look), and prints them: live on a terminal, as events under AWX.
"""

from __future__ import annotations

import json
import shlex
import time
import typing as t
import uuid

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

#: Seconds between two looks, and the most that a module may take: a day.
INTERVAL = 1.0
REMEDY = "hvm.pair.status says how far it came and what comes next."
LIMIT = 86400


class ProgressAction(ActionBase):
    """Base of the action plugins whose module has a `progress_file`."""

    #: Job -> boot of its host when it was first looked at. An action is made for one task of one host.
    _boots: dict[str, str]

    _supports_check_mode = True
    _supports_async = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        arguments = dict(self._task.args)
        if self._task.check_mode or self._task.async_val:
            return {
                **result,
                **self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=bool(self._task.async_val)),
            }
        began = time.monotonic()
        path = f"/run/hvm-progress-{uuid.uuid4().hex}"
        arguments["progress_file"] = path
        self._task.async_val = LIMIT
        try:
            started = self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=True)
        finally:
            self._task.async_val = 0
        if started.get("failed") or "ansible_job_id" not in started:
            return {**result, **started}
        try:
            outcome = self._follow(started["ansible_job_id"], path, task_vars)
        finally:
            self._shell(f"rm -f {shlex.quote(path)}")
        for key in ("ansible_job_id", "started", "finished", "results_file", "stdout", "stderr"):
            outcome.pop(key, None)
        return {**result, **outcome, "elapsed": round(time.monotonic() - began, 1)}

    def _follow(self, job: str, path: str, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        shown = 0
        self._boots = {}
        began = time.monotonic()
        while True:
            shown = self._show(path, shown, task_vars)
            status = self._status(job, task_vars)
            if status is not None:
                self._show(path, shown, task_vars)
                return status
            if time.monotonic() - began > LIMIT:
                return {"failed": True, "msg": f"no end after {LIMIT} s; the job {job} may still run on the host"}
            time.sleep(INTERVAL)

    def _shell(self, command: str) -> dict[str, t.Any]:
        execute: t.Callable[[str], dict[str, t.Any]] = self._low_level_execute_command
        return execute(command)

    def _show(self, path: str, shown: int, task_vars: dict[str, t.Any]) -> int:
        """:param shown: bytes of the file that were shown; what is returned too. Only what is new travels."""
        if self._task.no_log:
            return shown
        answer = self._shell(f"tail -c +{shown + 1} {shlex.quote(path)} 2>/dev/null || true")
        for line in answer.get("stdout", "").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                break  # half a line: next time
            host = self._task.delegate_to or task_vars.get("inventory_hostname", "")
            display.display(f"  [{host}] {entry['t']:7.1f} s  {entry['text']}")
            shown += len(line) + 1
        return shown

    def _status(self, job: str, task_vars: dict[str, t.Any]) -> dict[str, t.Any] | None:
        """The module's result when it has ended; read from async's own file, so that a look costs no Python on the host."""
        option: t.Callable[..., str] = self.get_shell_option
        directory = option("async_dir", default="~/.ansible_async")
        quoted = shlex.quote(job)
        answer = self._shell(f"cat /proc/sys/kernel/random/boot_id || echo; cat {directory}/{quoted} 2>/dev/null || true")
        boot, dummy, text = answer.get("stdout", "").partition("\n")
        try:
            status = json.loads(text or "{}")
        except ValueError:
            status = {}
        if not status or ("started" in status and not status.get("finished") and "changed" not in status):
            # ssh that connects again by itself (ANSIBLE_SSH_RETRIES) finds the job's file as it was before the boot
            if boot and boot != self._boots.setdefault(job, boot):
                return {"failed": True, "msg": f"the host has booted anew, which cut off what it did. {REMEDY}", "remedy": REMEDY}
            return None
        self._shell(f"rm -f {directory}/{quoted}")
        said = [*status.pop("warnings", []), *status.pop("deprecations", [])]
        return {**status, "warnings": [plain(one) for one in said]} if said else status


def plain(message: t.Any) -> str:
    """A warning as it is in the file: text, or since ansible-core 2.19 an object, whose text is in its `event`."""
    if isinstance(message, dict):
        message = message.get("event", message).get("msg", message)
    return str(message)
