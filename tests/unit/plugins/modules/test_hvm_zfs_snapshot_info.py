# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._procedure import snapshots
from ansible_collections.hvm.pair.plugins.modules import hvm_zfs_snapshot_info

testing = pytest.importorskip("ansible.module_utils.testing")

Module = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def module(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> Module:
    config = tmp_path / "pair.json"
    hosts = [{"name": "hv1", "address": "10.0.0.1"}, {"name": "hv2", "address": "10.0.0.2"}]
    config.write_text(json.dumps({"pair": "p", "me": "hv1", "hosts": hosts, "datasets": ["tank/vm"], "state_dir": "/vm/state"}))

    def run(check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        arguments = {"config": str(config), **options, "_ansible_check_mode": check}
        capsys.readouterr()
        with testing.patch_module_args(arguments), pytest.raises(SystemExit):
            hvm_zfs_snapshot_info.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_the_sizes_are_asked_for_only_on_request_and_nothing_changes(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    found = {"sets": [], "lists": {"all": [], "dates": [], "lasts": []}, "held": {}, "resumable": [], "bookmarks": []}

    def look(config: t.Any, used: bool) -> dict[str, t.Any]:
        calls.append((config.pair, used))
        return dict(found)

    monkeypatch.setattr(snapshots, "look", look)
    done = module()
    assert done["changed"] is False and {key: done[key] for key in found} == found
    module(used=True, check=True)
    assert calls == [("p", False), ("p", True)]
