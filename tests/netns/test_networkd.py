# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks for VMs on a host that systemd-networkd has: with the real one, in namespaces. As root: pytest tests/netns"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing as t

import pytest

SCENE = pathlib.Path(__file__).with_name("_networkd_scene.py")
NEEDED = ("/lib/systemd/systemd-networkd", "unshare", "dbus-daemon", "networkctl")
#: A process namespace as well: whatever was started in it ends with its first process.
NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]


@pytest.fixture(name="scene", scope="module")
def _scene() -> dict[str, t.Any]:
    if os.geteuid():
        pytest.skip("namespaces need root")
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")
    made = subprocess.run(
        [*NAMESPACES, sys.executable, str(SCENE)], capture_output=True, text=True, check=False, timeout=180
    )  # fmt: skip
    if "unshare failed" in made.stderr:
        pytest.skip(f"no namespaces here: {made.stderr.strip()}")
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


def way_in(scene: dict[str, t.Any]) -> dict[str, t.Any]:
    return {key: scene["links"]["eth0"][key] for key in ("addresses", "up", "mtu", "master")}


STEPS = ("made", "again", "changed", "gone")


def test_the_way_in_keeps_its_addresses_also_the_shared_ip_that_networkd_does_not_know(scene: dict[str, t.Any]) -> None:
    before = way_in(scene["before"])
    assert before["addresses"] == ["192.0.2.1/24", "192.0.2.100/32"]
    assert [way_in(scene[step]) for step in STEPS] == [before] * len(STEPS)


def test_networkd_makes_the_bridges_and_nobody_elses_file_gets_their_ports(scene: dict[str, t.Any]) -> None:
    there = scene["made"]["links"]
    assert there["br-out"]["kind"] == "bridge" and there["br-out"]["up"] and not there["br-out"]["stp"]
    assert there["eth1"]["master"] == "br-out" and there["eth1"]["mtu"] == there["br-out"]["mtu"] == 1400
    assert there["br-out"]["addresses"] == there["br-out"]["local"] == there["eth1"]["local"] == []
    assert there["br-in"]["addresses"] == ["10.9.0.1/24", "fd09::1/64"]
    assert {scene["made"]["setups"][name] for name in ("br-out", "eth1", "br-in")} <= {"configured", "configuring"}
    assert scene["again"]["actions"] == []


def test_a_change_is_applied_to_what_is_there(scene: dict[str, t.Any]) -> None:
    there = scene["changed"]["links"]
    assert there["br-in"]["addresses"] == ["10.9.0.2/24"]
    assert there["br-out"]["mtu"] == there["eth1"]["mtu"] == 1500 and there["eth1"]["master"] == "br-out"


def test_a_vlan_of_the_way_in(scene: dict[str, t.Any]) -> None:
    if scene["vlans"] is None:
        pytest.skip("this kernel has no VLANs (module 8021q)")
    there = scene["vlans"]["links"]
    assert there["eth0.10"]["master"] == "br-v10" and there["eth0.10"]["up"] and there["eth0.10"]["addresses"] == []
    assert way_in(scene["vlans"]) == way_in(scene["before"])


def test_nothing_is_left(scene: dict[str, t.Any]) -> None:
    assert set(scene["gone"]["links"]) == set(scene["before"]["links"])
    assert scene["gone"]["files"] == []


def test_a_drop_in_for_the_way_in_would_have_cost_the_shared_ip(scene: dict[str, t.Any]) -> None:
    """Why a VLAN is made by a unit. When this fails, networkd has learnt better, and `managers` may, too."""
    assert scene["dropped"]
