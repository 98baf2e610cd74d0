# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import overlay
from ansible_collections.hvm.pair.plugins.module_utils._pair import config as configs
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._procedure import move, overlays

PATH = overlay.overlay_path


def raw(name: str = "web", dev: str = "vda", path: str | None = None) -> list[t.Any]:
    return [dev, "/srv/web.img", "raw", False, PATH(name, dev) if path is None else path]


@pytest.fixture(name="place")
def _place(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Where the overlays are; nothing is pending."""
    place = tmp_path / "overlays"
    place.mkdir()
    monkeypatch.setattr(overlay, "DIRECTORY", str(place))
    monkeypatch.setattr(overlays, "is_mounted", lambda: True)
    monkeypatch.setattr(operation, "pending", lambda: None)
    return place


@pytest.fixture(name="config")
def _config(tmp_path: pathlib.Path) -> configs.PairConfig:
    me, other = configs.Host("hv1", "10.0.0.1"), configs.Host("hv2", "10.0.0.2")
    return configs.PairConfig("office", me, other, ("ssd/a",), str(tmp_path / "states"), (), "", "")


# ---- what comes over the wire


def test_disks_come_as_they_were_sent() -> None:
    sent = {"web": [raw(), raw(dev="vdb")], "a b": [raw("a b")]}
    found = overlays.disks(json.loads(json.dumps(sent)))
    assert {name: [list(disk) for disk in listed] for name, listed in found.items()} == sent


@pytest.mark.parametrize(
    "bad",
    [
        raw(path="/etc/shadow"),
        raw(path=f"{overlay.DIRECTORY}/../../etc/shadow"),
        raw(path=PATH("db", "vda")),
        raw(path=PATH("web", "vdb")),
        raw(dev="../x"),
        raw(dev=""),
        raw(dev="vda\n"),
        raw(dev="VDA"),
        raw(path=""),
    ],
)
def test_a_path_that_is_not_that_vms_own_overlay_is_refused(bad: list[t.Any]) -> None:
    with pytest.raises(HvmError, match="is no overlay of VM web"):
        overlays.disks({"db": [raw("db")], "web": [bad]})


# ---- the files


def test_what_lies_there_is_named_by_the_journal_that_knows_it(place: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("web", "a b"):
        pathlib.Path(PATH(name, "vda")).touch()
    (place / "web.vda.qcow2.old").touch()
    (place / "kept-1").mkdir()
    plain = pathlib.Path(PATH("a b", "vda")).name.removesuffix(".vda.qcow2")
    assert sorted(overlays.left()) == sorted(["web", plain])
    pathlib.Path(PATH("web", "vda")).write_bytes(b"x" * 8192)
    assert overlays.sizes()["web"] >= 8192 and overlays.sizes()[plain] == 0
    monkeypatch.setattr(operation, "pending", lambda: {"overlays": {"a b": [raw("a b")]}})
    assert sorted(overlays.left()) == ["a b", "web"]
    monkeypatch.setattr(operation, "pending", lambda: {"overlays": {"a b": [raw("x")]}})
    assert sorted(overlays.left()) == sorted(["web", plain]), "a journal that makes no sense hides none"


def test_where_nobody_can_look_what_the_journal_knows_counts_as_there(
    place: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlays, "is_mounted", lambda: False)
    pathlib.Path(PATH("db", "vda")).touch()  # below what is not mounted
    assert overlays.left() == overlays.sizes() == {}
    entry = {"operation": "migrate_unsecure", "overlays": {"web": [raw()]}}
    monkeypatch.setattr(operation, "pending", lambda: entry)
    assert (overlays.left(), overlays.sizes()) == ({"web": []}, {})


@pytest.mark.parametrize("act", [overlays.forget, lambda found: overlays.fold(Libvirt(), found, Progress())])
def test_what_goes_is_gone_before_any_journal_says_so(
    place: pathlib.Path, monkeypatch: pytest.MonkeyPatch, act: t.Callable[[t.Any], object]
) -> None:
    """The journal is on another filesystem, and on disk at once."""
    monkeypatch.setattr(overlay, "fold", lambda conn, name, listed, *more: overlays.forget({name: listed}))
    path = pathlib.Path(PATH("web", "vda"))
    path.touch()
    synced: list[tuple[str, bool]] = []
    monkeypatch.setattr(overlays, "sync_directory", lambda directory: synced.append((directory, path.exists())))
    act(overlays.disks({"web": [raw()]}))
    assert synced and synced[-1] == (str(place), False)
    monkeypatch.undo()
    overlays.forget({})  # also where no such directory is


@pytest.mark.parametrize(
    ("live", "inactive", "saved", "unused"),
    [
        ("", "", [], {"web": ["web.vda.qcow2"]}),
        ("<source file='{}'/>", "", [], {}),
        ("", "<source file='{}'/>", [], {}),
        ("<backingStore><source file='{}'/></backingStore>", "", [], {}),
        ("", "", ["{}"], {}),
    ],
)
def test_what_a_definition_or_an_image_names_is_in_use(
    place: pathlib.Path, live: str, inactive: str, saved: list[str], unused: dict[str, list[str]]
) -> None:
    path = PATH("web", "vda")
    pathlib.Path(path).touch()

    class Dom:
        def XMLDesc(self, flags: int) -> str:
            return (inactive if flags & overlay.INACTIVE else live).format(path)

    class Conn:
        def listAllDomains(self) -> list[Dom]:
            return [Dom()]

    assert overlays.unused(Conn(), [one.format(path) for one in saved]) == unused


def test_kept_they_are_beside_and_the_rest_goes(place: pathlib.Path) -> None:
    for name in ("web.vda.qcow2", "web.vda.qcow2.old", "db.vda.qcow2.partial"):
        (place / name).write_text(name)
    kept = overlays.put_beside("20261123T094512Z")
    overlays.empty()
    assert [one.name for one in place.iterdir()] == ["kept-20261123T094512Z"]
    assert (pathlib.Path(kept) / "web.vda.qcow2").read_text() == "web.vda.qcow2" and overlays.left() == {}
    assert overlays.left(kept) == {"web": ["web.vda.qcow2"]}
    assert pathlib.Path(kept).stat().st_mode & 0o777 == 0o700


# ---- definitions of a set that was taken in the midst


class Libvirt:
    """:ivar state: of its only VM, web; :ivar defined: what it was defined with."""

    def __init__(self, state: int = 5) -> None:
        self.now, self.defined = state, list[str]()

    def lookupByName(self, name: str) -> t.Any:
        if name != "web":
            error = Exception("Domain not found")
            error.get_error_code = lambda: 42  # type: ignore[attr-defined]
            raise error
        return self

    def state(self) -> list[int]:
        return [self.now, 1]

    def XMLDesc(self, dummy: int) -> str:
        return f"""<domain><name>web</name><devices><disk type="file"><driver type="qcow2"/>
        <source file="{PATH('web', 'vda')}"/><target dev="vda"/></disk></devices></domain>"""

    def defineXML(self, xml: str) -> None:
        self.defined.append(xml)


@pytest.mark.parametrize(
    ("state", "pending", "file", "mended"),
    [
        (5, [], False, True),
        (5, ["db"], False, True),
        (5, ["web"], False, False),
        (5, [], True, False),
        (1, [], False, False),
    ],
)
def test_a_vm_whose_overlays_are_gone_and_count_for_nobody_is_on_its_disks_again(
    place: pathlib.Path, config: configs.PairConfig, monkeypatch: pytest.MonkeyPatch, state: int, pending: list[str], file: bool,
    mended: bool,
) -> None:  # fmt: skip
    overlays.note(config, overlays.disks({"web": [raw()], "gone": [raw("gone")]}))
    monkeypatch.setattr(operation, "pending", lambda: {"overlays": {name: [raw(name)] for name in pending}})
    if file:
        pathlib.Path(PATH("web", "vda")).touch()
    libvirt = Libvirt(state)
    overlays.mend(config, libvirt, Progress())
    assert ['file="/srv/web.img"' in xml for xml in libvirt.defined] == ([True] if mended else [])


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"web": [["vda", "/srv/a", "raw", false, "/etc/shadow"]]}', '{"web": 5}'])
def test_a_note_that_says_nothing_mends_nothing(place: pathlib.Path, config: configs.PairConfig, text: str | None) -> None:
    note = pathlib.Path(config.state_dir) / overlays.NOTE
    note.parent.mkdir()
    if text is not None:
        note.write_text(text)
    libvirt = Libvirt()
    overlays.mend(config, libvirt, Progress())
    assert libvirt.defined == []


# ---- what is left to decide about


def test_the_rest_of_a_move_is_decided_about_as_if_it_had_no_overlays() -> None:
    def vm(path: str) -> dict[str, t.Any]:
        return {"state": "running", "disks": [{"path": path, "device": "disk"}, {"path": None, "device": "cdrom"}]}

    entry = {"overlays": {name: [raw(name)] for name in ("web", "db", "gone")}}
    vms = {"web": vm(PATH("web", "vda")), "db": vm(PATH("db", "vda")), "new": vm("/srv/new.img")}
    found = move.left(vms, entry, ["db"])
    assert found == {"web": {"state": "running", "disks": [{"path": "/srv/web.img", "device": "disk"}, vms["web"]["disks"][1]]}}
    assert vms["web"]["disks"][0]["path"] == PATH("web", "vda"), "what was seen stays as it was"
