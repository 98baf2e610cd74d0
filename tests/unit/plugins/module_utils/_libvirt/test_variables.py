# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import os
import pathlib
import shutil
import tarfile

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import variables
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.variables import Own

UUID = "11111111-2222-3333-4444-555555555555"


def domain(firmware: str = "", devices: str = "") -> str:
    return f"<domain><name>web</name><uuid>{UUID}</uuid><os>{firmware}</os><devices>{devices}</devices></domain>"


TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"


@pytest.mark.parametrize(
    ("xml", "own"),
    [
        (domain(), Own()),
        (domain("<nvram template='/usr/share/x.fd'>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram>"), Own("web_VARS.fd")),
        (domain("<nvram type='file'><source file='/var/lib/libvirt/qemu/nvram/w.fd'/></nvram>"), Own("w.fd")),
        (domain("<nvram>/srv/vms/web_VARS.fd</nvram>"), Own()),
        (domain("<nvram>/var/lib/libvirt/qemu/nvram/deeper/w.fd</nvram>"), Own()),
        (domain("<nvram/>"), Own()),
        (domain(devices=TPM), Own(tpm=UUID)),
        (domain(devices="<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"), Own()),
        (domain(devices="<tpm><backend type='emulator'><source type='dir' path='/srv/tpm'/></backend></tpm>"), Own()),
    ],
)
def test_what_a_vm_has_of_its_own(xml: str, own: Own) -> None:
    assert variables.of(xml) == own == own.checked()


@pytest.mark.parametrize("own", [Own("../x"), Own("a/b"), Own(".."), Own("a\0"), Own(tpm="../x"), Own(tpm=UUID.upper() + "A")])
def test_what_leads_elsewhere_is_refused(own: Own) -> None:
    with pytest.raises(HvmError):
        own.checked()


@pytest.fixture(name="place")
def _place(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    for name in ("NVRAM", "TPM"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(variables, name, str(tmp_path / name))
    return tmp_path


WEB = Own("web.fd", UUID)


def write(place: pathlib.Path, text: str) -> None:
    (place / "NVRAM/web.fd").write_text(text)
    (place / "NVRAM/web.fd").chmod(0o600)
    tree = place / "TPM" / UUID / "tpm2"
    tree.mkdir(parents=True, exist_ok=True)
    tree.chmod(0o711)
    (tree / "tpm2-00.permall").write_text(text)


def read(place: pathlib.Path) -> list[str]:
    return [(place / one).read_text() for one in ("NVRAM/web.fd", f"TPM/{UUID}/tpm2/tpm2-00.permall")]


def names(place: pathlib.Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file() and path.suffix != ".rest")


def test_a_pack_brings_it_along(place: pathlib.Path) -> None:
    write(place, "newest")
    before = names(place)
    assert variables.pack(WEB, str(place / "web.rest"))
    write(place, "of the set")
    (place / f"TPM/{UUID}/tpm2/more").write_text("what is not in the pack goes")
    for dummy in range(2):
        variables.unpack(WEB, str(place / "web.rest"))
        assert (read(place), names(place)) == (["newest", "newest"], before)
    assert (place / "NVRAM/web.fd").stat().st_mode & 0o777 == 0o600
    assert (place / f"TPM/{UUID}/tpm2").stat().st_mode & 0o777 == 0o711


@pytest.mark.parametrize("left", [f"TPM/{UUID}.new/tpm2/x", f"TPM/{UUID}.old/tpm2/x", "NVRAM/web.fd.new"])
@pytest.mark.parametrize("gone", [False, True])
def test_one_that_was_cut_off_is_gone_on_with(place: pathlib.Path, left: str, gone: bool) -> None:
    write(place, "newest")
    before = names(place)
    variables.pack(WEB, str(place / "web.rest"))
    if gone:
        (place / "TPM" / UUID).rename(place / "TPM" / f"{UUID}.old")
    (place / left).parent.mkdir(parents=True, exist_ok=True)
    (place / left).write_text("half")
    variables.unpack(WEB, str(place / "web.rest"))
    assert (read(place), names(place)) == (["newest", "newest"], before)


def test_of_a_vm_without_it_there_is_no_pack(place: pathlib.Path) -> None:
    (place / "web.rest").write_text("an old one")
    assert not variables.pack(WEB, str(place / "web.rest"))
    assert not (place / "web.rest").exists()


def test_it_may_be_read_elsewhere(place: pathlib.Path, tmp_path: pathlib.Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "web.fd").write_text("there")
    assert variables.pack(Own("web.fd"), str(place / "web.rest"), lambda path: str(elsewhere / pathlib.Path(path).name))
    variables.unpack(Own("web.fd"), str(place / "web.rest"))
    assert (place / "NVRAM/web.fd").read_text() == "there"


@pytest.mark.parametrize("name", ["../x", "tpm/../../x", "/etc/passwd", "nvram/x", "other", "tpm//x"])
def test_a_pack_with_anything_else_is_refused(place: pathlib.Path, name: str) -> None:
    with tarfile.open(place / "web.rest", "w") as made:
        member = tarfile.TarInfo(name)
        member.size = 1
        made.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(HvmError, match="nothing of a VM's firmware or TPM"):
        variables.unpack(WEB, str(place / "web.rest"))
    assert names(place) == []


def test_a_link_in_a_pack_is_refused(place: pathlib.Path) -> None:
    with tarfile.open(place / "web.rest", "w") as made:
        member = tarfile.TarInfo("tpm/x")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(member)
    with pytest.raises(HvmError):
        variables.unpack(WEB, str(place / "web.rest"))


def test_what_was_not_written_since_the_set_is_left_out(place: pathlib.Path) -> None:
    write(place, "of the set")
    shutil.copytree(place, place / "then", copy_function=shutil.copy2)
    rest = place / "web.rest"

    def then(path: str) -> str:
        return f"{place}/then{path.removeprefix(str(place))}"

    def packed() -> list[str]:
        if not variables.pack(WEB, str(rest), then=then):
            return []
        with tarfile.open(rest) as made:
            return sorted({name.split("/")[0] for name in made.getnames()})

    assert packed() == [] and not rest.exists()
    (place / "TPM" / UUID / "tpm2/.lock").touch()
    assert packed() == []
    (place / "NVRAM/web.fd").write_text("of the set")  # a guest may set them back
    assert packed() == ["nvram"]
    (place / "TPM" / UUID / "tpm2/tpm2-00.permall").write_text("newest")
    assert packed() == ["nvram", "tpm"]
    shutil.rmtree(place / "then")
    assert packed() == ["nvram", "tpm"]
    assert variables.pack(WEB, str(rest), then=lambda dummy: "")


def test_all_of_it_is_brought_to_disk(place: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place, "newest")
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))))
    variables.durable(WEB)
    assert sorted(synced) == sorted(["web.fd", UUID, "tpm2", "tpm2-00.permall"])
    synced.clear()
    variables.durable(Own())
    variables.durable(Own("gone.fd", UUID.replace("1", "9")))
    assert synced == []
