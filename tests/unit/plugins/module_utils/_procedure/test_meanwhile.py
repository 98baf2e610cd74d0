# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import os
import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import overlay
from ansible_collections.hvm.pair.plugins.module_utils._pair import config as configs
from ansible_collections.hvm.pair.plugins.module_utils._procedure import meanwhile, overlays

STATES = "/var/lib/libvirt/hvm"
S = "hvm_20261123T110000Z_office_C"


@pytest.mark.parametrize(
    ("path", "somebodys"),
    [
        ("/etc/libvirt/qemu/new.xml", True),
        ("/etc/libvirt/qemu/web.xml", False),  # it has moved, and its definition with it
        ("/etc/libvirt/qemu/networks/web.xml", True),
        ("/etc/libvirt/qemu/networks/autostart/office.xml", False),
        ("/etc/libvirt/qemu/autostart/new.xml", False),
        ("/etc/libvirt/qemu.conf", True),
        ("/var/lib/libvirt/images/debian.iso", True),
        ("/var/lib/libvirt/images/qemu/x.img", True),
        ("/var/lib/libvirt/qemu/nvram/web_VARS.fd", False),
        ("/var/lib/libvirt/qemu/domain-3-web/master-key.aes", False),
        ("/var/lib/libvirt/qemu/qemu.log", False),
        ("/var/lib/libvirt/qemu/save/old.save", True),
        ("/var/lib/libvirt/qemu/snapshot/old/one.xml", True),
        ("/var/lib/libvirt/dnsmasq/default.conf", False),
        ("/var/lib/libvirt/swtpm/1234/tpm2/tpm2-00.permall", False),
        ("/var/lib/libvirt/notes.txt", True),
        (f"{STATES}/overlays.json", False),
    ],
)
def test_what_is_somebodys(path: str, somebodys: bool) -> None:
    assert meanwhile.is_somebodys(path, ["web", "db"], STATES) is somebodys


@pytest.fixture(name="place")
def _place(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """``etc`` and ``lib``, each with what the set has (``then``) and what there is (``now``)."""
    datasets: dict[str, t.Any] = {
        f"rot/{name}": {"type": "filesystem", "props": {"mountpoint": [point, "local"], "canmount": ["noauto", "local"]}}
        for name, point in (("etc", "/etc/libvirt"), ("lib", "/var/lib/libvirt"), ("vms", "/srv/vms"))
    }
    for one in ("etc", "lib", "vms"):
        for when in ("then", "now"):
            (tmp_path / one / when).mkdir(parents=True)
    monkeypatch.setattr(meanwhile.inventory, "read", lambda dummy: datasets)
    monkeypatch.setattr(meanwhile.content, "is_readable", lambda dummy: True)

    def views(dataset: str, name: str) -> t.Any:
        assert name == S
        top = tmp_path / dataset.removeprefix("rot/")
        return contextlib.nullcontext((str(top / "then"), str(top / "now")))

    monkeypatch.setattr(meanwhile, "_views", views)
    monkeypatch.setattr(overlay, "DIRECTORY", str(tmp_path / "overlays"))
    monkeypatch.setattr(overlays, "is_mounted", lambda: True)
    return tmp_path


CONFIG = configs.PairConfig("office", configs.Host("hv1", "192.0.2.1"), configs.Host("hv2", "192.0.2.2"), ("rot",), STATES)


def write(path: pathlib.Path, text: str) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def both(place: pathlib.Path, path: str, text: str, now: str | None = None) -> None:
    top, dummy, below = path.partition("/")
    write(place / top / "then" / below, text)
    write(place / top / "now" / below, text if now is None else now)


def test_nothing_is_kept_when_only_libvirt_has_written(place: pathlib.Path) -> None:
    both(place, "etc/qemu/web.xml", "on its disk", "on its overlay")
    both(place, "etc/qemu/old.xml", "the same")  # written once more, later
    os.utime(place / "etc/now/qemu/old.xml", (1, 1))
    write(place / "lib/now/qemu/domain-1-web/x", "x")
    write(place / "vms/now/web.img", "x")  # that one is not libvirt's: `overlays.back_to` looks at it
    assert meanwhile.keep(CONFIG, S, ["web"]) == []
    assert not (place / "overlays").exists()


def test_what_somebody_has_changed_is_put_beside_and_named(place: pathlib.Path) -> None:
    both(place, "etc/qemu/old.xml", "1 GiB", "2 GiB")
    write(place / "etc/now/qemu/new.xml", "new")
    write(place / "etc/then/qemu/gone.xml", "gone")
    write(place / "lib/now/images/debian.iso", "iso")
    os.symlink("debian.iso", place / "lib/now/images/latest.iso")
    os.mkfifo(place / "lib/now/images/pipe")
    changed, removed = meanwhile.keep(CONFIG, S, ["web"])
    (kept,) = (place / "overlays").iterdir()
    assert changed == (
        "/etc/libvirt/qemu/new.xml, /etc/libvirt/qemu/old.xml, /var/lib/libvirt/images/debian.iso, "
        "/var/lib/libvirt/images/latest.iso: changed on hv1 while VMs were on both hosts, and not on the other one; "
        f"kept in {kept}"
    )
    assert removed == "/etc/libvirt/qemu/gone.xml: removed on hv1 while VMs were on both hosts, and still there on the other one"
    assert (kept / "etc/libvirt/qemu/old.xml").read_text() == "2 GiB"
    assert (kept / "var/lib/libvirt/images/debian.iso").read_text() == "iso"
    assert os.readlink(kept / "var/lib/libvirt/images/latest.iso") == "debian.iso"
    assert overlays.left() == {}


def test_of_a_big_file_its_size_and_time_count(place: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meanwhile, "SMALL", 2)
    both(place, "lib/images/a.img", "same size", "same sizE")
    for when in ("then", "now"):
        os.utime(place / "lib" / when / "images/a.img", (5, 5))
    assert meanwhile.keep(CONFIG, S, []) == []
    os.utime(place / "lib/now/images/a.img", (5, 6))
    assert meanwhile.keep(CONFIG, S, [])


def test_what_cannot_be_kept_or_seen_stops_it(place: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place / "etc/now/qemu/new.xml", "new")
    write(place / "overlays", "in the way")
    with pytest.raises((HvmError, OSError)):
        meanwhile.keep(CONFIG, S, [])
    monkeypatch.setattr(meanwhile.content, "is_readable", lambda dummy: False)
    with pytest.raises(HvmError, match="the key of rot/etc is not loaded"):
        meanwhile.keep(CONFIG, S, [])
