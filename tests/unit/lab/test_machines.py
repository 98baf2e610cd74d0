# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab knows which of its states fit the hosts that this version of the tool would start."""

from __future__ import annotations

import _image
import pytest
from _image import LabError
from _machines import HOSTS, Lab


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setenv("HVM_LAB_CACHE", str(tmp_path))
    one = Lab("test")
    one.dir.mkdir()
    one._store(prepared=Lab._prepared(), suite="trixie", states=["fresh"])
    return one


class Reached(Exception):
    pass


def reached(*dummy):
    raise Reached


def test_hosts_of_another_version_are_not_started_from_its_states(lab, monkeypatch):
    monkeypatch.setattr(_image, "tool", reached)  # QEMU's command: it would be built
    lab._store(images={host.name: "image" for host in HOSTS})
    with pytest.raises(Reached):
        lab._start(HOSTS[0], "fresh")
    lab._store(prepared="0123456789ab")
    with pytest.raises(LabError, match=r"the lab test was made by another version of this tool: tests/lab/lab\.py up"):
        lab._start(HOSTS[0], "fresh")


def test_up_leaves_running_hosts_alone_only_when_they_are_of_this_version(lab, monkeypatch):
    monkeypatch.setattr(Lab, "running", lambda self, host: True)
    monkeypatch.setattr(Lab, "_stop_all", reached)
    lab.up()
    lab._store(prepared="0123456789ab")
    with pytest.raises(Reached):
        lab.up()
