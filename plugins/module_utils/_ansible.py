# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The only file of the library that knows Ansible: how a module takes its arguments and gives its result.

Everything else here is plain Python, so that the agent on the hosts runs the same code without Ansible.
"""

from __future__ import annotations

import os
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import known

CONFIG_ARGUMENT = {"config": {"type": "path", "default": "/etc/hvm/pair.json"}}


class HvmModule:
    """An AnsibleModule whose work is one function.

    The library gets plain values out of ``params`` and ``check_mode``; it never sees this class.
    """

    def __init__(self, argument_spec: dict[str, t.Any] | None = None, **kwargs: t.Any) -> None:
        kwargs.setdefault("supports_check_mode", True)
        self.module = AnsibleModule(argument_spec={**CONFIG_ARGUMENT, **(argument_spec or {})}, **kwargs)
        self.params: dict[str, t.Any] = self.module.params
        self.check_mode: bool = self.module.check_mode

    def run(self, work: t.Callable[[HvmModule], dict[str, t.Any]]) -> t.NoReturn:
        """Exit with what `work` returns; what is `known` becomes a failure with its sentence, remedy and facts."""
        if os.geteuid() != 0:
            # else the other host would be called silent: the key to it is root's
            remedy = "For the playbooks: hvm_become: true. In a task: become: true; ad hoc: -b."
            self.module.fail_json(msg=f"this is for root, and was asked as user {os.geteuid()}. {remedy}", remedy=remedy)
        try:
            result = work(self)
        except Exception as exc:  # noqa: BLE001
            if failure := known(exc):
                self._warn(failure.details)
                self.module.fail_json(msg=str(failure), remedy=failure.remedy, **failure.details)
            # a bug: keep where it happened
            self.module.fail_json(msg=f"unexpected {type(exc).__name__}: {exc}", exception=traceback.format_exc())
        result.setdefault("changed", False)
        self._warn(result)
        self.module.exit_json(**result)

    def _warn(self, result: dict[str, t.Any]) -> None:
        for text in result.pop("warnings", []):
            self.module.warn(text)  # not as a result: that is deprecated since ansible-core 2.19
