# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._procedure import mount
from ansible_collections.hvm.pair.plugins.modules import hvm_zfs_mount

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
            hvm_zfs_mount.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_what_is_asked_reaches_the_procedure_and_what_it_did_comes_back(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    result = {"changed": True, "mountpoints": ["/srv"], "diff": {"before": {"mounted": []}, "after": {"mounted": ["/srv"]}}}

    def apply(config: t.Any, *arguments: t.Any) -> dict[str, t.Any]:
        calls.append((config.pair, *arguments))
        return dict(result)

    monkeypatch.setattr(mount, "apply", apply)
    done = module(state="mounted")
    assert {key: done[key] for key in result} == result
    module(state="mounted", peer_is_down="hv2", check=True)
    module(state="unmounted")
    assert calls == [("p", "mounted", "", False), ("p", "mounted", "hv2", True), ("p", "unmounted", "", False)]


@pytest.mark.parametrize(
    ("options", "said"),
    [({}, "missing required arguments: state"), ({"state": "present"}, "value of state must be one of: mounted, unmounted")],
)
def test_the_state_must_be_said(module: Module, options: dict[str, str], said: str) -> None:
    refused = module(**options)
    assert refused["failed"] and said in refused["msg"]
