# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import rollback

CONFIG = PairConfig("office", Host("hv1", "10.0.0.1"), Host("hv2", "10.0.0.2"), ("ssd/a", "rot/b"), "/srv/vms/states")
SET = "hvm_20261123T000000Z_office_B"
STAMP = "20261124T000000Z"


def entry(mountpoint: str, *snapshots: str) -> dict[str, t.Any]:
    return {
        "type": "filesystem",
        "props": {"mountpoint": [mountpoint, "local"]},
        "origin": "",
        "snapshots": [[name, name, 1] for name in snapshots],
        "bookmarks": [],
    }


@pytest.mark.parametrize(
    ("state_dir", "place"),
    [
        ("/srv/vms/states", ("ssd/a/vms", "states")),
        ("/srv/vms", ("ssd/a/vms", "")),
        ("/srv/vmsx", ("ssd/a", "vmsx")),
        ("/srv/new/states", ("ssd/a", "new/states")),
        ("/var/lib", None),
    ],
)
def test_state_images_are_on_the_innermost_dataset_that_is_in_the_set(state_dir: str, place: tuple[str, str] | None) -> None:
    tree = {
        "ssd/a": entry("/srv", SET),
        "ssd/a/vms": entry("/srv/vms", SET),
        "ssd/a/new": entry("/srv/new"),  # made later
        "rot/b": entry("none", SET),
        f"ssd/a-hvm-kept-{STAMP}": entry("/srv/vms/states", SET),  # kept, not in use
    }
    assert rollback.place_of(tree, CONFIG.datasets, state_dir, SET) == place


@pytest.mark.parametrize(
    "words",
    [
        {"do": "destroy"},
        {"set": "hvm_20261123T000000Z_other_B"},
        {"set": "-r"},
        {"stamp": "x"},
        {"stamp": f"{STAMP}/in"},
        {"do": "undo", "aside": ""},
        {"do": "undo", "aside": "-rf"},
    ],
)
def test_a_replica_takes_no_words_that_it_does_not_know(words: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback.kept, "read", lambda roots: pytest.fail("it went on"))
    with pytest.raises(HvmError, match=r"nothing that a replica can do|is no stamp"):
        rollback.swap(CONFIG, {"do": "rollback", "set": SET, "stamp": STAMP, "aside": "", **words}, lambda dummy: None)


@pytest.mark.parametrize(
    ("name", "there", "said"),
    [
        (STAMP, [], ""),
        (f"ssd/hvm-kept/a-{STAMP}", [], ""),
        (f"ssd/hvm-kept/a-{STAMP}", [f"ssd/hvm-kept/a-{STAMP}"], "is not kept by this collection for the pair office"),
        ("ssd/hvm-kept", [], "is not kept by this collection"),
        ("ssd/a", ["ssd/a"], "is not kept by this collection"),
        ("ssd", ["ssd"], "is not kept by this collection"),
        (f"ssd/a-hvm-kept-{STAMP}", [], "is not kept by this collection"),
    ],
)
def test_only_what_is_kept_is_dropped(name: str, there: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback.operation, "pending", lambda: None)
    monkeypatch.setattr(rollback.kept, "flush", lambda pools: None)
    monkeypatch.setattr(rollback.kept, "read", lambda roots: {"ssd/a": entry("/srv", SET)})
    monkeypatch.setattr(rollback.kept, "read_aside", lambda pools: {})
    monkeypatch.setattr(rollback.kept, "destroy", lambda *dummy: pytest.fail("something was destroyed"))
    monkeypatch.setattr(rollback.inventory, "existing", lambda names: [one for one in names if one in there])
    if said:
        with pytest.raises(Refused, match=said):
            rollback.drop(CONFIG, name, check=True)
    else:
        assert rollback.drop(CONFIG, name, check=True) == {"changed": False, "destroyed": {}, "freed": 0}


def test_nothing_is_dropped_while_a_rollback_is_not_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback.operation, "pending", lambda: {"operation": "undo", "started": "now"})
    with pytest.raises(HvmError, match=r"undo, begun now, did not end\. Run hvm_zfs_rollback again"):
        rollback.drop(CONFIG, STAMP, check=True)
