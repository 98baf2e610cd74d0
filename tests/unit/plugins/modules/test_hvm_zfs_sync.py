# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._procedure import early, sync
from ansible_collections.hvm.pair.plugins.modules import hvm_zfs_sync


@pytest.mark.parametrize(
    ("text", "rate"), [("0", 0), ("20M", 20 << 20), ("20MiB", 20 << 20), ("1.5 kb", 1536), ("fast", None), ("", None)]
)
def test_the_rate_is_a_number_of_bytes_or_named(
    module_of: t.Callable[[types.ModuleType], t.Callable[..., dict[str, t.Any]]],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    rate: int | None,
) -> None:
    given: list[int] = []
    monkeypatch.setattr(early, "ahead", lambda dummy: None)
    monkeypatch.setattr(sync, "run", lambda *words: given.append(words[4].rate) or {})
    done = module_of(hvm_zfs_sync)(rate=text)
    if rate is None:
        assert done["failed"] and done["msg"] == f"rate: {text!r} is no number of bytes. Write it as 20M; 0 is no limit."
        assert given == []
    else:
        assert given == [rate]
