# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import os
import pathlib

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net.networks import Network
from ansible_collections.hvm.pair.plugins.module_utils._pair import networks, networks_file
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig

CONFIG = PairConfig("p", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("ssd/a",), "/vm/state")
BOOK = networks.put({}, Network("br-in"), datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC))[0]


def test_what_was_told_and_what_the_other_one_knew(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "etc" / "networks.json")
    assert networks_file.read(CONFIG, path) == networks.Kept({}) and networks_file.read_peer(CONFIG, path) is None
    networks_file.save(networks.Kept(BOOK, "networkd"), path)
    assert networks_file.read(CONFIG, path) == networks.Kept(BOOK, "networkd")
    assert os.stat(path).st_mode & 0o777 == 0o644
    number = os.stat(path).st_ino
    networks_file.save(networks.Kept(BOOK, "networkd"), path)
    assert os.stat(path).st_ino == number  # nothing is written that is there
    networks_file.save_peer(BOOK, path)
    assert networks_file.read_peer(CONFIG, path) == BOOK


def test_a_file_that_cannot_be_read_is_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "networks.json"
    path.write_text("{}")
    with pytest.raises(HvmError, match=f"{path}: it is no list of networks"):
        networks_file.read(CONFIG, str(path))


def test_two_that_change_them_at_once_wait_but_not_for_ever(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "lock")
    said = "somebody else is changing the networks of"
    with networks_file.changing(1.0, path), pytest.raises(HvmError, match=said), networks_file.changing(0.2, path):
        raise AssertionError("both at once")
    with networks_file.changing(0.0, path):
        pass
