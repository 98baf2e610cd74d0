# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import role


@pytest.fixture(name="path")
def _path(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of the record; the gate lies in tmp_path too."""
    monkeypatch.setattr(role, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(role, "GATE", str(tmp_path / "run/gate"))
    return str(tmp_path / "state/role.json")


def test_a_host_without_a_record_is_unknown(path: str) -> None:
    found = role.load(path)
    assert (found.role, found.epoch, found.now("any")) == (role.UNKNOWN, 0, role.UNKNOWN)


def test_active_opens_the_gate_with_its_epoch(path: str, tmp_path: pathlib.Path) -> None:
    written = role.record(role.ACTIVE, 7, "took over", path)
    assert role.load(path) == written
    assert role.as_dict(written)["now"] == role.ACTIVE
    assert role.gate_is_open()
    assert (tmp_path / "run/gate").read_text() == "ACTIVE 7\n"


@pytest.mark.parametrize("other", [role.PASSIVE, role.UNKNOWN, role.DIVERGED])
def test_any_other_role_shuts_the_gate(path: str, other: str) -> None:
    role.record(role.ACTIVE, 1, "", path)
    role.record(other, 1, "handed over", path)
    assert not role.gate_is_open()
    assert role.load(path).role == other


def test_the_gate_is_shut_before_the_record_is_written(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    role.record(role.ACTIVE, 1, "", path)

    def power_cut(*dummy: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(role, "write_atomic", power_cut)
    with pytest.raises(OSError, match="power cut"):
        role.record(role.PASSIVE, 1, "", path)
    assert not role.gate_is_open()
    assert role.load(path).role == role.ACTIVE


def test_the_gate_stays_shut_when_the_record_cannot_be_written(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def power_cut(*dummy: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(role, "write_atomic", power_cut)
    with pytest.raises(OSError, match="power cut"):
        role.record(role.ACTIVE, 1, "", path)
    assert not role.gate_is_open()


@pytest.mark.parametrize(
    ("recorded", "same_boot", "after_reboot"),
    [
        (role.ACTIVE, role.ACTIVE, role.UNKNOWN),
        (role.PASSIVE, role.PASSIVE, role.PASSIVE),
        (role.DIVERGED, role.DIVERGED, role.DIVERGED),
        (role.UNKNOWN, role.UNKNOWN, role.UNKNOWN),
    ],
)
def test_only_an_active_host_must_prove_itself_after_a_reboot(recorded: str, same_boot: str, after_reboot: str) -> None:
    found = role.Role(recorded, 1, "", "", "boot-1")
    assert (found.now("boot-1"), found.now("boot-2")) == (same_boot, after_reboot)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"role": "ACTIVE"}', '{"role": 1, "epoch": "x", "since": 1, "reason": 1, "boot_id": 1}']
)
def test_a_record_that_cannot_be_read_is_no_role(tmp_path: pathlib.Path, text: str) -> None:
    path = tmp_path / "role.json"
    path.write_text(text)
    with pytest.raises(HvmError, match="cannot be read") as caught:
        role.load(str(path))
    assert caught.value.remedy == "Look at it; the other host's record tells which of them is ACTIVE."
