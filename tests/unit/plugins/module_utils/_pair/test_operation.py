# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role

HOLD = """
import sys
from ansible_collections.hvm.pair.plugins.module_utils._pair.operation import Lock
lock = Lock(sys.argv[1])
lock.take("backup_secure", "alice on hv1")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(name="path")
def _path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "run/lock")


def hold(path: str) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-S", "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_one_at_a_time_and_the_holder_is_named(path: str) -> None:
    with hold(path) as process:
        with pytest.raises(HvmError) as caught:
            operation.Lock(path).take("sync", "bob")
        assert (
            f"another operation is running on {os.uname().nodename}: backup_secure by alice on hv1 since 2" in caught.value.what
        )
        assert caught.value.what.endswith(f"(process {process.pid})")
        assert caught.value.remedy == "Wait until it has ended, then run this again."
        holder = operation.lock_holder(path)
        assert holder is not None
        assert holder.startswith("backup_secure by alice on hv1 since ")


def test_what_another_process_is_at_is_not_what_this_one_is_at(path: str) -> None:
    assert operation.others_operation(path) == ""
    with operation.Lock(path).held("sync", "bob"):
        assert operation.others_operation(path) == ""
    with hold(path) as process:
        assert operation.others_operation(path) == "backup_secure"
        process.kill()
    assert operation.others_operation(path) == ""


def test_the_lock_ends_with_its_process_however_that_ends(path: str) -> None:
    with hold(path) as process:
        process.kill()
        process.wait()
        assert pathlib.Path(path).read_text()  # its name still stands there, and means nothing
        assert operation.lock_holder(path) is None
        with operation.Lock(path).held("sync", "bob"):
            assert (operation.lock_holder(path) or "").startswith("sync by bob")


def test_it_is_given_back_also_after_an_error(path: str) -> None:
    lock = operation.Lock(path)
    with pytest.raises(ValueError, match="mine"), lock.held("sync", "bob"):
        assert lock.is_held
        raise ValueError("mine")
    assert not lock.is_held
    assert operation.lock_holder(path) is None
    assert pathlib.Path(path).read_text() == ""
    lock.release()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "root"),
        ({"USER": "alice"}, "alice"),
        ({"USER": "root", "SUDO_USER": "alice"}, "alice"),
        ({"USER": "root", "SSH_CONNECTION": "192.0.2.7 50000 192.0.2.1 22"}, "root from 192.0.2.7"),
    ],
)
def test_an_owner_is_told_from_another_one_of_the_same_name(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    for name in ("USER", "SUDO_USER", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert operation.owner() == said


def test_a_lock_that_was_never_taken_is_free(path: str) -> None:
    assert operation.lock_holder(path) is None


def test_a_shorter_name_leaves_nothing_of_a_longer_one(path: str) -> None:
    with hold(path) as process:
        process.kill()
    with operation.Lock(path).held("x", "y"):
        assert (operation.lock_holder(path) or "").startswith("x by y since ")


def test_the_journal_is_pending_from_its_first_step_until_done(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "state/journal.json")
    assert operation.pending(path) is None
    journal = operation.Journal("migrate_secure", path, peer="hv2", epoch=4)
    assert operation.pending(path) is None
    journal.step("save")
    journal.step("last sync", set="hvm_x")
    found = operation.pending(path)
    assert found is not None
    assert found["owner"] == operation.owner()
    assert {key: found[key] for key in ("operation", "step", "peer", "epoch", "set", "done")} == {
        "operation": "migrate_secure",
        "step": "last sync",
        "peer": "hv2",
        "epoch": 4,
        "set": "hvm_x",
        "done": False,
    }
    journal.done("hv2 is ACTIVE")
    assert operation.pending(path) is None


def test_what_did_not_end_is_gone_on_with_under_its_own_name(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "journal.json")
    assert operation.Journal.of_pending(path) is None
    first = operation.Journal("migrate_secure", path, vms=["web"], frozen=["db"])
    first.entry["started"] = "then"
    first.step("save")
    found = operation.Journal.of_pending(path)
    assert found is not None
    found.step("start the VMs")
    now = operation.pending(path) or {}
    assert [now[key] for key in ("operation", "vms", "frozen", "started", "step")] == [
        "migrate_secure", ["web"], ["db"], "then", "start the VMs",
    ]  # fmt: skip
    found.done("recovered")
    assert operation.Journal.of_pending(path) is None


def test_a_journal_that_cannot_be_read_can_be_ended(tmp_path: pathlib.Path) -> None:
    (tmp_path / "journal.json").write_text('{"operation": "mig')
    found = operation.Journal.of_pending(str(tmp_path / "journal.json"))
    assert found is not None and found.entry["operation"] == "unknown"
    found.done("looked at")
    assert operation.pending(str(tmp_path / "journal.json")) is None


def test_a_journal_that_cannot_be_read_is_pending(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "journal.json"
    path.write_text('{"operation": "mig')
    found = operation.pending(str(path))
    assert found is not None
    assert (found["operation"], found["step"]) == ("unknown", "unreadable journal")


def test_acknowledged_is_no_longer_pending_and_the_second_time_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "lock_holder", lambda: None)
    path = str(tmp_path / "journal.json")
    operation.Journal("sync", path).step("send")
    assert operation.acknowledge(True, path) == {"changed": True}
    assert operation.pending(path) is not None
    assert operation.acknowledge(False, path) == {"changed": True}
    assert operation.pending(path) is None
    assert operation.acknowledge(False, path) == {"changed": False}


def test_what_still_runs_cannot_be_acknowledged(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "lock_holder", lambda: "sync by bob")
    path = str(tmp_path / "journal.json")
    operation.Journal("sync", path).step("send")
    with pytest.raises(HvmError, match="sync by bob is still running"):
        operation.acknowledge(False, path)
    assert operation.pending(path) is not None


@pytest.mark.parametrize(
    ("now", "epoch", "pending"),
    [(role.ACTIVE, 4, True), (role.ACTIVE, 5, False), (role.PASSIVE, 4, False), (role.PASSIVE, 3, False)],
)
def test_a_target_has_something_to_finish_only_since_it_is_active_by_this_migration(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, now: str, epoch: int, pending: bool
) -> None:
    path = str(tmp_path / "journal.json")
    monkeypatch.setattr(role, "load", lambda: role.Role(now, epoch, "then", "", "boot"))
    operation.Journal("migrate_secure", path, vms=["web"], epoch=4).step("save")
    assert operation.pending(path) is not None, "the source has it in any role"
    operation.Journal("migrate_secure", path, vms=["web"], epoch=4, source="hv1").step("target: restore VMs")
    assert (operation.pending(path) is not None) == pending
    found = operation.Journal.of_pending(path)
    assert (found is not None) == pending
    if found:  # gone on with in an epoch of its own it stays pending
        found.step("start the VMs")
        monkeypatch.setattr(role, "load", lambda: role.Role(role.ACTIVE, 5, "then", "", "boot"))
        again = operation.pending(path)
        assert again is not None
        assert (again["step"], again["vms"]) == ("start the VMs", ["web"])
