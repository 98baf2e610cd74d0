# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import kept, protect, rollback

NOW = "20261124T000000Z"
TOP = f"ssd/my a-hvm-kept-{NOW}"


class Zfs:
    """Answers commands by their first words; keeps what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.asked: list[list[str]] = []

    def __call__(self, command: t.Sequence[str], timeout: float = 0, remedy: str = "", stdin: str = "") -> str:
        self.asked.append(list(command))
        for key in sorted(self.answers, key=len, reverse=True):
            if " ".join(command).startswith(key):
                answer = self.answers[key]
                if answer.startswith("! "):
                    raise CommandError(command, 1, "", answer[2:])
                return answer
        return ""


GET = f"""\
-\tssd/my a\ttype\tfilesystem
-\tssd/my a\tcreatetxg\t7
local\tssd/my a\treadonly\ton
default\tssd/my a\tatime\ton
inherited from ssd\tssd/my a\tmountpoint\t/srv
-\t{TOP}\ttype\tfilesystem
-\t{TOP}\torigin\tssd/my a@s1
local\t{TOP}\thvm:kept\toffice
"""


def test_the_roots_and_the_trees_beside_them_are_read_in_three_commands() -> None:
    zfs = Zfs()
    zfs.answers = {
        "zfs list -H -o": f"ssd\nssd/my a\n{TOP}\nssd/other\n",
        "zfs get": GET,
        "zfs list -Hp": f"{TOP}@s3\t30\t30\nssd/my a@s1\t10\t10\nssd/my a#s1\t10\t10\n",
    }
    tree = kept.read(["ssd/my a"], zfs)
    assert [command[-2:] for command in zfs.asked] == [["1", "ssd"], ["ssd/my a", TOP], ["ssd/my a", TOP]]
    assert tree["ssd/my a"]["snapshots"] == tree["ssd/my a"]["bookmarks"] == [["s1", "10", 10]]
    assert tree[TOP]["origin"] == "ssd/my a@s1" and tree[TOP]["snapshots"] == [["s3", "30", 30]]
    # what is set, and what a plan looks at; no defaults
    assert tree["ssd/my a"]["props"] == {
        "createtxg": ["7", "-"],
        "readonly": ["on", "local"],
        "mountpoint": ["/srv", "inherited"],
    }


def test_where_no_root_is_there_nothing_is_asked_for() -> None:
    zfs = Zfs()
    assert kept.read(["ssd/a", "rot/b"], zfs) == {}
    assert [command[-2:] for command in zfs.asked] == [["ssd", "rot"]]


def test_a_pool_in_which_nothing_was_set_aside() -> None:
    zfs = Zfs()
    zfs.answers = {"zfs list -H -o name rot/hvm-kept": "! cannot open: dataset does not exist"}
    assert kept.read_aside(["rot"], zfs) == {}


def test_clones_and_holds_wherever_they_are() -> None:
    zfs = Zfs()
    zfs.answers = {
        "zfs get": f"{TOP}@s1\t-\n{TOP}@s2\tssd/x,ssd/my y\n{TOP}@s3\t\n",
        "zfs list": f"{TOP}@s1\t0\n{TOP}@s2\t2\n{TOP}@s3\t-\n",
        "zfs holds": f"{TOP}@s2\thvm:office\tTue Nov 24 00:00 2026\n{TOP}@s2\tmine\tTue Nov 24 00:00 2026\n",
    }
    assert kept.clones([TOP], zfs) == {f"{TOP}@s2": ["ssd/x", "ssd/my y"]}
    assert kept.holds([TOP], zfs) == {f"{TOP}@s2": ["hvm:office", "mine"]}
    assert zfs.asked[-1] == ["zfs", "holds", "-H", f"{TOP}@s2"]
    zfs.answers["zfs list"] = f"{TOP}@s1\t0\n"
    assert kept.holds([TOP], zfs) == {}


STEPS = [
    rollback.Step("promote", "ssd/x"),
    rollback.Step("set", "ssd/x", properties=(("quota", "1"),), optional=True),
    rollback.Step("inherit", "ssd/x", properties=(("hvm:rollback", ""),)),
]


def test_a_step_that_is_optional_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    zfs = Zfs()
    zfs.answers = {"zfs set quota": "! size is less than current used"}
    monkeypatch.setattr(kept, "run", zfs)
    said: list[str] = []
    [warning] = kept.take(STEPS, said.append)
    assert "size is less than current used" in warning
    assert said == [" ".join(command) for command in zfs.asked] == [step.sentence() for step in STEPS]


def test_any_other_step_ends_it_there(monkeypatch: pytest.MonkeyPatch) -> None:
    zfs = Zfs()
    zfs.answers = {"zfs promote": "! pool is suspended"}
    monkeypatch.setattr(kept, "run", zfs)
    with pytest.raises(CommandError, match="pool is suspended"):
        kept.take(STEPS, lambda dummy: None)
    assert len(zfs.asked) == 1


def test_keys_that_zfs_has_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry(root: str, status: str, location: str = "") -> dict[str, t.Any]:
        props = {"encryptionroot": [root, "-"], "keystatus": [status, "-"]}
        if location:
            props["keylocation"] = [location, "local"]
        return {"type": "filesystem", "props": props}

    zfs = Zfs()
    zfs.answers = {"zfs load-key ssd/lost": "! Key load error: no such file"}
    monkeypatch.setattr(kept, "run", zfs)
    warnings = kept.load_keys(
        {
            "ssd/a": entry("ssd/a", "unavailable", "file:///key"),
            "ssd/a/in": entry("ssd/a", "unavailable"),
            "ssd/asked": entry("ssd/asked", "unavailable", "prompt"),
            "ssd/lost": entry("ssd/lost", "unavailable", "file:///gone"),
            "ssd/open": entry("ssd/open", "available", "file:///key"),
            "ssd/plain": entry("-", "-"),
        }
    )
    assert zfs.asked == [["zfs", "load-key", "ssd/a"], ["zfs", "load-key", "ssd/lost"]]
    assert [warning.split(" must be")[0] for warning in warnings] == ["the key of ssd/asked", "the key of ssd/lost"]
    assert warnings[0].endswith("zfs load-key 'ssd/asked' (it is asked for)")


def test_what_is_dropped_goes_by_name_and_our_holds_first(monkeypatch: pytest.MonkeyPatch) -> None:
    zfs = Zfs()
    zfs.answers = {"zfs program": json.dumps({"return": {}})}
    monkeypatch.setattr(kept, "run", zfs)
    real = protect.destroy
    monkeypatch.setattr(kept.protect, "destroy", lambda names: real(names, zfs))
    kept.destroy([(f"{TOP}/in", ["s2", "s3"]), (TOP, [])], {f"{TOP}/in@s3", "ssd/a@s3"}, "hvm:office")
    first, program, second, third = zfs.asked
    assert first == ["zfs", "release", "hvm:office", f"{TOP}/in@s3"]
    assert program[:3] == ["zfs", "program", "-j"] and program[-2:] == [f"{TOP}/in@s2", f"{TOP}/in@s3"]
    assert [second, third] == [["zfs", "destroy", f"{TOP}/in"], ["zfs", "destroy", TOP]]


def test_a_snapshot_that_does_not_go_stops_a_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    zfs = Zfs()
    monkeypatch.setattr(kept, "run", zfs)
    monkeypatch.setattr(kept.protect, "destroy", lambda names: {names[0]: "it is held or in use"})
    with pytest.raises(HvmError, match=f"{TOP}@s2 is still there: it is held or in use"):
        kept.destroy([(TOP, ["s2"])], [], "hvm:office")
    assert zfs.asked == []


@pytest.mark.parametrize(
    ("code", "empty"), [("zeros(0) + zeros(5)", True), ("zeros(0) + zeros(1) * 9999", False), ("b''", False)]
)
def test_only_the_beginning_of_what_would_be_sent_is_read(code: str, empty: bool) -> None:
    asked = "sys.argv[1:] == ['-i', '@s', 'd']"
    text = f"import sys; zeros = lambda n: bytes([n]) + bytes(311); sys.stdout.buffer.write(({code}) * ({asked}))"
    assert kept.untouched("d", "s", [sys.executable, "-c", text]) is empty
