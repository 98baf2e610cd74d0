# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import json
import os
import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint_file
from ansible_collections.hvm.pair.plugins.module_utils._procedure import constraints
from ansible_collections.hvm.pair.plugins.modules import hvm_constraint

testing = pytest.importorskip("ansible.module_utils.testing")

Module = t.Callable[..., dict[str, t.Any]]


def silent(dummy: object) -> t.NoReturn:
    """What both hosts know is for the tests of the procedure."""
    raise HvmError("ssh to HOST-b ended with 255")


@pytest.fixture
def module(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Module:
    config = tmp_path / "pair.json"
    hosts = [{"name": "HOST-a", "address": "10.0.0.1"}, {"name": "HOST-b", "address": "10.0.0.2"}]
    raw = {"pair": "p", "me": "HOST-a", "hosts": hosts, "datasets": ["tank/vm"], "state_dir": "/vm/state"}
    config.write_text(json.dumps(raw))
    path = str(tmp_path / "constraint.json")
    for name in ("read", "load", "changing"):
        function = getattr(constraint_file, name)
        monkeypatch.setattr(constraint_file, name, lambda *dummy, function=function: function(path))
    save = constraint_file.save
    monkeypatch.setattr(constraint_file, "save", lambda book: save(book, path))
    monkeypatch.setattr(constraint_file, "today", lambda: datetime.date(2026, 12, 1))
    monkeypatch.setattr(constraints, "Peer", silent)

    def run(check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        arguments = {"config": str(config), **options, "_ansible_check_mode": check}
        capsys.readouterr()
        with testing.patch_module_args(arguments), pytest.raises(SystemExit):
            hvm_constraint.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_set_show_again_and_unset(module: Module, tmp_path: pathlib.Path) -> None:
    wanted = {"host": "HOST-b", "start": "today", "end": "3/12/2026", "set_at": "2026-12-01T09:00:00Z"}
    planned = module(check=True, **wanted)
    assert planned["changed"] and not (tmp_path / "constraint.json").exists()
    done = module(**wanted)
    # ansible-core leaves out a warning that this process has given before
    assert {**done, "warnings": []} == {**planned, "warnings": []}
    assert done["sentence"] == "HOST-b must be ACTIVE from 2026-12-01 to 2026-12-03 inclusive."
    assert done["diff"] == {"before": "", "after": "HOST-b must be ACTIVE from 2026-12-01 to 2026-12-03 inclusive\n"}
    assert done["in_force"] == done["constraints"][0]
    assert done["in_force"]["set_at"] == "2026-12-01T09:00:00Z"
    assert "December 2026" in done["text"]
    shown = module(state="query")
    assert not shown["changed"] and shown["text"] == done["text"] and shown["sentence"] == done["today"]
    before = os.stat(tmp_path / "constraint.json")
    again = module(**{**wanted, "set_at": "2026-12-01T10:00:00Z"})
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    assert os.stat(tmp_path / "constraint.json").st_ino == before.st_ino
    assert again["in_force"] == done["in_force"]

    refused = module(host="HOST-a", start="tomorrow")
    assert refused["failed"] and "overlaps another constraint (2026-12-02)" in refused["msg"]
    assert refused["overlaps"]["host"] == "HOST-b"

    assert module(check=True, state="absent")["changed"]
    gone = module(state="absent")
    assert gone["changed"] and gone["constraints"] == [] and gone["in_force"] == {}
    assert not module(state="absent")["changed"]


def test_today_is_the_day_of_set_at(module: Module) -> None:
    done = module(host="HOST-b", start="today", end="tomorrow", set_at="2026-11-30T12:00:00Z")
    assert [done["constraints"][0][key] for key in ("start", "end")] == ["2026-11-30", "2026-12-01"]
    assert module(state="absent", start="today", set_at="2026-11-30T12:00:00Z")["changed"]


def test_what_is_over_is_dropped_with_the_next_write_and_not_before(module: Module, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "constraint.json"
    old = {"id": "x", "host": "HOST-a", "start": "2026-11-01", "end": "2026-11-02", "set_at": "2026-10-01T00:00:00Z"}
    path.write_text(json.dumps({"format": 1, "constraints": [old]}))
    nothing = module(state="absent")
    assert not nothing["changed"] and nothing["sentence"] == "No constraint is set."
    assert "2026-11-01" in path.read_text()
    assert module(host="HOST-b", start="2026-12-05")["changed"]
    assert "2026-11-01" not in path.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "state is present but all of the following are missing: host, start"),
        ({"host": "HOST-b"}, "state is present but all of the following are missing: start"),
        ({"host": "HOST-c", "start": "today"}, "HOST-c is not a host of the pair. Its hosts are HOST-a and HOST-b."),
        ({"host": "HOST-b", "start": "30/11/2026"}, "that is over, today is 2026-12-01"),
        ({"host": "HOST-b", "start": "5/12/2026", "end": "4/12/2026"}, "before it begins on 2026-12-05"),
        ({"host": "HOST-b", "start": "today", "set_at": "2026-12-01"}, "it has no time zone"),
        ({"host": "", "start": ""}, "'' is not a host of the pair"),
    ],
)
def test_refusals(module: Module, options: dict[str, str], said: str) -> None:
    refused = module(**options)
    assert refused["failed"] and said in refused["msg"]
