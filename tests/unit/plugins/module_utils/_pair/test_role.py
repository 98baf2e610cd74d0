# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
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
    assert role.gate_says() == "ACTIVE"
    role.shut_gate()
    assert role.gate_says() == ""


def test_who_is_away_is_so_until_the_gate_is_shut_or_it_is_here(path: str, tmp_path: pathlib.Path) -> None:
    def away() -> dict[str, str]:
        return {one.name: one.read_text() for one in (tmp_path / "run/away").iterdir()}

    role.keep_away(["web", "db"], "hv2")
    role.record(role.ACTIVE, 7, "", path)
    assert away() == {"web": "hv2\n", "db": "hv2\n"}
    role.keep_away(["db"], "hv2")
    role.goes_away("my vm", "hv2")
    assert away() == {"db": "hv2\n", "my vm": "hv2\n"}
    role.is_here("db")
    role.is_here("db")
    assert away() == {"my vm": "hv2\n"}
    role.shut_gate()
    assert away() == {}


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


# what it knew of the other host


def test_a_host_that_becomes_active_remembers_what_it_knew_of_the_other(path: str) -> None:
    role.record(role.PASSIVE, 0, "PASSIVE host of a new pair", path)
    assert role.see(4, path)  # a sync came
    assert not role.see(3, path)
    assert role.record(role.ACTIVE, 5, "took over", path).seen == 4
    assert not role.see(9, path)  # an ACTIVE host is told nothing
    assert role.load(path).epoch == 5
    # started again without an answer: it has learnt nothing, whatever its own epoch is
    assert role.record(role.ACTIVE, 6, "started by hand", path).seen == 4
    assert role.record(role.ACTIVE, 9, "started by hand", path, seen=8).seen == 8


def test_a_host_without_a_role_is_told_nothing(path: str) -> None:
    assert not role.see(4, path)
    assert role.load(path).since == ""


def test_a_record_of_before_has_seen_what_its_epoch_says(path: str) -> None:
    role.record(role.ACTIVE, 5, "", path)
    entry = {name: value for name, value in json.loads(pathlib.Path(path).read_text()).items() if name not in ("seen", "clean")}
    pathlib.Path(path).write_text(json.dumps(entry))
    assert (role.load(path).seen, role.load(path).clean) == (4, False)


# whether it was stopped in good order


def test_only_a_stop_in_the_same_boot_is_in_good_order(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    role.record(role.ACTIVE, 5, "", path)
    assert not role.load(path).clean
    role.stopped_in_order(path)
    assert role.load(path).clean
    role.in_use(path)  # it is mounted again
    assert not role.load(path).clean
    monkeypatch.setattr(role, "boot_id", lambda: "after a power cut")
    role.stopped_in_order(path)  # what is in the intent logs has not been replayed by that
    assert not role.load(path).clean
    assert not role.record(role.DIVERGED, 5, "", path).clean


def test_a_good_stop_is_remembered_by_a_host_that_is_set_aside(path: str) -> None:
    role.record(role.ACTIVE, 5, "", path)
    role.stopped_in_order(path)
    assert role.record(role.DIVERGED, 5, "", path).clean
    assert not role.record(role.ACTIVE, 6, "", path).clean
