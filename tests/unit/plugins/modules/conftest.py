# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pathlib
import types
import typing as t

import pytest

testing = pytest.importorskip("ansible.module_utils.testing")


@pytest.fixture
def module_of(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> t.Callable[[types.ModuleType], t.Callable[..., dict[str, t.Any]]]:
    """Makes a module callable, on the host hv1 of a pair `p`: options in, result out."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)  # whoever runs the tests
    config = tmp_path / "pair.json"
    hosts = [{"name": "hv1", "address": "10.0.0.1"}, {"name": "hv2", "address": "10.0.0.2"}]
    config.write_text(json.dumps({"pair": "p", "me": "hv1", "hosts": hosts, "datasets": ["tank/vm"], "state_dir": "/vm/state"}))

    def made(module: types.ModuleType) -> t.Callable[..., dict[str, t.Any]]:
        def run(check: bool = False, **options: t.Any) -> dict[str, t.Any]:
            arguments = {"config": str(config), **options, "_ansible_check_mode": check}
            capsys.readouterr()
            with testing.patch_module_args(arguments), pytest.raises(SystemExit):
                module.main()
            return json.loads(capsys.readouterr().out)

        return run

    return made
