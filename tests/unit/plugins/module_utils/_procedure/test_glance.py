# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._procedure import glance


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("guest=web,debug-threads=on", "web"),
        ("web", "web"),
        ("guest=db,,prod,debug-threads=on", "db,prod"),
        ("guest=a,,,debug-threads=on", "a,"),
        ("guest=with space.and-dots,process=qemu:x", "with space.and-dots"),
        ("guest=guest=x,debug-threads=on", "guest=x"),
    ],
)
def test_the_name_of_a_vm_as_qemu_has_it(word: str, name: str) -> None:
    assert glance.guest_name(word) == name
