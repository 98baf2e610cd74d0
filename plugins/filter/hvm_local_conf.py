# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: hvm_local_conf
short_description: The older scripts' local.conf as variables
version_added: 0.1.0
author: The hvm.pair developers (@hvm-pair)
description:
  - Reads C(HVM_HOSTS), C(HVM_SERVICE_IFACE), C(HVM_SHARED_IP) and C(HVM_GATEWAY). The file is never run, so only plain
    assignments count. Anything else is a failure that names it.
  - The files of both hosts must agree.
options:
  _input:
    description: Inventory name of each host of the run, with the text of its file.
    type: dict
    required: true
  host:
    description: The host that this is about.
    type: str
    required: true
  given:
    description: Variables that the inventory sets. Of these nothing is taken, and in these nothing is wrong.
    type: dict
    default: {}
  path:
    description: Where the file lies, for messages.
    type: str
    default: local.conf
"""

EXAMPLES = r"""
- name: What does it say?
  ansible.builtin.debug:
    msg: "{{ {'hv1': one, 'hv2': other} | hvm.pair.hvm_local_conf('hv1') }}"
"""

RETURN = r"""
_value:
  description: C(variables), as they go into an inventory, and C(left_out), assignments of other variables.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.plugin_utils._local_conf import take_over


def local_conf(
    texts: t.Mapping[str, str], host: str, given: t.Mapping[str, t.Any] | None = None, path: str = "local.conf"
) -> dict[str, t.Any]:
    try:
        return take_over({str(name): str(text) for name, text in texts.items()}, host, given or {}, path)
    except HvmError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """A filter for the files of the older scripts."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"hvm_local_conf": local_conf}
