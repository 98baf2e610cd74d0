# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection taken off a host below a directory: ZFS, libvirt and systemd only say what they were asked for; files, records
and the lock are real. Whatever step is the last one, the same again ends it."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core import files
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._pair import config as configs
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._procedure import install, uninstall

SET = "hvm_20261123T094512Z_office_B"
ALL = ("pending", "saved", "stopped", "unknown", "diverged")
THEIRS = "ssh-ed25519 AAAA admin@home\n"
DATASETS: dict[str, t.Any] = {
    "ssd/a": {"type": "filesystem", "props": {"mountpoint": ["none"], "canmount": ["noauto"]}},
    "ssd/a/lib": {"type": "filesystem", "props": {"mountpoint": ["/var/lib/libvirt"], "canmount": ["noauto"]}},
    "ssd/a/vm": {"type": "volume", "props": {}},
}
for _entry in DATASETS.values():
    _entry.update(snapshots=[[SET, "1", 1], ["mine", "2", 2]], bookmarks=[[SET, "1", 1], ["other", "3", 3]])


class Killed(BaseException):
    """The process ends here."""


class Host:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: pathlib.Path) -> None:
        self.root = root
        self.did: list[str] = []
        self.fails: set[str] = set()
        self.kill_at: int | None = None
        self.overlays: dict[str, t.Any] = {"dataset": "", "files": []}
        self.more = [self.path("/usr/local/sbin/hvm")]
        self.seen: dict[str, t.Any] = {"qemu": [], "saved": [], "vms": {}, "addresses": {}, "running": False}
        modules = (
            (install, "HOME CONFIG STATE HOOK AGENT UNITS"),
            (uninstall, "AUTHORIZED CONFIGURATION RECORDS NEW RUNNING LAST DIRECTORIES"),
        )
        for module, words in modules:
            for name in words.split():
                value = getattr(module, name)
                monkeypatch.setattr(module, name, self.path(value) if isinstance(value, str) else tuple(map(self.path, value)))
        for module, names in ((role, "RECORD RUN GATE STATE"), (configs, "PATH"), (operation, "LOCK JOURNAL")):
            for name in names.split():
                monkeypatch.setattr(module, name, self.path(getattr(module, name)))
        for function in (role.load, role.record, role.write, operation.Lock.__init__, operation.lock_holder, operation.pending):
            defaults = tuple(self.path(one) if isinstance(one, str) else one for one in function.__defaults__ or ())
            monkeypatch.setattr(function, "__defaults__", defaults)
        texts = {path: (install.HOOK_HEAD if path.endswith("/qemu") else "", 0o755) for path in map(self.path, install.files())}
        monkeypatch.setattr(install, "files", lambda: texts)
        for module in (install, uninstall):
            monkeypatch.setattr(module, "run", self.run)
            monkeypatch.setattr(
                module, "succeeds", lambda command: self.did.append(" ".join(command)) if "stop" in command else False
            )
        monkeypatch.setattr(uninstall.early, "read_datasets", lambda config: DATASETS)
        monkeypatch.setattr(uninstall.observe, "observe", self.observe)
        monkeypatch.setattr(uninstall.protect, "held", lambda roots, pair: {SET: ["ssd/a", "ssd/a/lib"]})
        monkeypatch.setattr(uninstall.protect, "release", lambda roots, name, pair: self.run(["release", name, pair]))
        monkeypatch.setattr(
            uninstall.protect, "destroy_bookmarks", lambda names: [one for one in names if not self.run(["unmark", one])]
        )
        monkeypatch.setattr(uninstall.rollback, "kept_list", lambda config: [])
        monkeypatch.setattr(uninstall.overlays, "there", lambda config: self.overlays)
        monkeypatch.setattr(uninstall.bridges.Host, "files", lambda dummy: {"/etc/network/interfaces.d/hvm-br-v10": ""})
        for name in ("unlink", "rmdir"):
            real = getattr(uninstall.os, name)
            monkeypatch.setattr(uninstall.os, name, lambda path, *w, _real=real, **k: self.step() or _real(path, *w, **k))
        self.put()

    def path(self, path: str) -> str:
        return path if path.startswith(str(self.root)) else f"{self.root}{path}"

    def step(self) -> None:
        if self.kill_at is not None:
            self.kill_at -= 1
            if self.kill_at < 0:
                raise Killed

    def run(self, command: t.Sequence[str], *dummy: t.Any, **dummies: t.Any) -> str:
        self.step()
        text = " ".join(command)
        self.did.append(text)
        if any(word in text for word in self.fails):
            raise CommandError(command, 1, "", "no")
        return ""

    def observe(self, config: configs.PairConfig, datasets: t.Any) -> dict[str, t.Any]:
        return {
            "role": role.as_dict(role.load()), "gate_open": (self.root / "run/hvm/gate").exists(), "pending": operation.pending(),
            "hypervisor": {"running": self.seen["running"]},
            "shared_ip": {"addresses": self.seen["addresses"], "interface": "br0"},
            **{key: self.seen[key] for key in ("qemu", "saved", "vms")},
        }  # fmt: skip

    def put(self) -> None:
        """Everything that an installation and some months leave on a host."""
        everything = [
            *install.files(), *self.more, *install.UNITS, *uninstall.CONFIGURATION, *uninstall.RECORDS, operation.JOURNAL,
            f"{install.HOME}/lib-1/x.py",
            f"{role.STATE}/networks-peer.json", f"{role.STATE}/networks.lock", f"{role.RUN}/shared-ip-off",
        ]  # fmt: skip
        for name in everything:
            path = pathlib.Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(install.HOOK_HEAD if name == install.HOOK else "")
        hosts = [{"name": "hv1", "address": "10.0.0.1"}, {"name": "hv2", "address": "10.0.0.2"}]
        raw = {"pair": "office", "me": "hv1", "hosts": hosts, "datasets": ["ssd/a"], "state_dir": "/vm/state"}
        pathlib.Path(configs.PATH).write_text(json.dumps(raw))
        keys = pathlib.Path(uninstall.AUTHORIZED)
        keys.parent.mkdir(parents=True, exist_ok=True)
        keys.write_text(f'{THEIRS}restrict,command="{install.AGENT}" ssh-ed25519 BBBB hvm-pair office hv2\n')
        keys.chmod(0o600)
        (self.root / "run/hvm/commands/x").mkdir(parents=True, exist_ok=True)

    def becomes(self, which: str) -> None:
        """ACTIVE: with its hypervisor running and a VM."""
        entry = role.Role(
            role.ACTIVE if which == role.UNKNOWN else which,
            3,
            "then",
            "so",
            "before" if which == role.UNKNOWN else role.boot_id(),
        )
        pathlib.Path(role.RECORD).write_text(json.dumps(entry._asdict()))
        if which == role.ACTIVE:
            pathlib.Path(role.GATE).touch()
            vms = {"db": {"autostart": True}, "web": {"autostart": False}}
            self.seen.update(running=True, qemu=["web"], vms=vms, addresses={"192.0.2.10/24": True, "fd00::1/64": False})

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir())

    def __call__(
        self, name: str = "office", check: bool = False, release: bool = False, despite: t.Collection[str] = ()
    ) -> dict[str, t.Any]:
        self.did = []
        return uninstall.uninstall(name, despite, release, check, self.more)


@pytest.fixture(name="host")
def _host(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Host:
    return Host(monkeypatch, tmp_path)


ENABLED = [f"systemctl enable {unit}" for unit in uninstall.SERVICES]


def test_the_active_host_goes_on_by_itself(host: Host) -> None:
    host.becomes(role.ACTIVE)
    before = host.left()
    planned = host(check=True)
    assert (planned["changed"], planned["role"], host.did, host.left()) == (True, "ACTIVE", [], before)
    done = host()
    assert done["left"] == planned["left"] and done["diff"] == planned["diff"] and done["warnings"] == []
    assert host.did == [
        "zfs set canmount=on hvm:let-go=office ssd/a/lib", "systemctl stop hvm-announce.service",
        "systemctl disable --now hvm-scheduled.timer", "systemctl daemon-reload", *ENABLED,
        "systemctl start libvirt-guests.service",
    ]  # fmt: skip
    assert host.left() == ["root/.ssh/authorized_keys"]
    keys = pathlib.Path(uninstall.AUTHORIZED)
    assert keys.read_text() == THEIRS and keys.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in host.root.iterdir()} == {"etc", "usr", "root", "var", "run"}
    assert not any((host.root / name).exists() for name in ("etc/hvm", "var/lib/hvm", "run/hvm", "usr/lib/hvm"))
    assert "shared IP: 192.0.2.10/24 on br0, until the next boot" in "\n".join(done["left"])
    assert "VMs with autostart=yes: db." in "\n".join(done["left"]) and done["left"][-1] == "the packages (libvirt, QEMU, ZFS)"
    again = host("whatever")
    assert (again["changed"], again["done"], again["left"], host.did) == (False, [], [], [])


@pytest.mark.parametrize("which", [role.PASSIVE, role.UNKNOWN, role.DIVERGED])
def test_any_other_host_stays_a_copy_with_libvirt_off(host: Host, which: str) -> None:
    host.becomes(which)
    done = host(despite=ALL)
    assert done["role"] == which and "they are a copy, read-only and not mounted" in done["left"][1]
    assert not [text for text in host.did if "zfs" in text or "enable" in text.split()]
    assert host.left() == ["root/.ssh/authorized_keys"]


def test_nothing_goes_without_the_name_of_the_pair(host: Host) -> None:
    before = host.left()
    for name in ("", "home"):
        with pytest.raises(HvmError, match=r"belongs to the pair office, and .* was named: nothing was removed") as error:
            host(name)
        assert error.value.remedy == "To remove it: hvm_uninstall=office."
    assert host("", check=True)["changed"] is True
    with pytest.raises(HvmError, match="home was named"):
        host("home", check=True)
    assert host.left() == before and host.did == []


def test_what_refuses_changes_nothing_and_a_word_takes_it_away(host: Host) -> None:
    host.becomes(role.ACTIVE)
    host.seen["saved"] = ["mail"]
    entry = {"operation": "backup", "owner": "x", "started": "then", "step": "save", "done": False}
    pathlib.Path(operation.JOURNAL).write_text(json.dumps(entry))
    before = host.left()
    for check in (True, False):
        with pytest.raises(
            Refused, match=r"removal is refused, nothing was changed: \(1\) hv1: backup.*\(2\) hv1: VMs have state"
        ):
            host(check=check)
        with pytest.raises(Refused, match="hvm_uninstall_despite=saved"):
            host(check=check, despite=["pending"])
    assert host.did == [] and set(host.left()) - {"run/hvm/lock"} == set(before)
    assert "state images in /vm/state: mail" in "\n".join(host(despite=["pending", "saved"])["left"])


def test_an_operation_that_runs_is_waited_for_whatever_is_said(host: Host) -> None:
    host.becomes(role.ACTIVE)
    with operation.Lock().held("migrate", "ann"):
        for check in (True, False):
            with pytest.raises(HvmError, match=r"another operation is running on .*: migrate by ann"):
                host(check=check, despite=ALL)
    assert host.did == []


def test_holds_and_bookmarks_go_on_request_only(host: Host) -> None:
    host.becomes(role.PASSIVE)
    kept = host(check=True)["left"]
    assert f"{SET} is held (hvm:office) on 2 datasets: zfs release -r hvm:office ssd/a@{SET}" in kept
    assert f"3 bookmarks of sets, such as: zfs destroy 'ssd/a#{SET}'" in kept
    host.fails = {"release"}
    done = host(release=True)
    assert host.did[:4] == [f"release {SET} office", *(f"unmark {name}#{SET}" for name in DATASETS)]
    assert done["warnings"] == [f"the hold on {SET} stays: 'release {SET} office' failed (1): no"]


@pytest.mark.parametrize("files", [[], ["web.vda.qcow2"]])
def test_the_filesystem_of_the_overlays_goes_when_nothing_is_in_it_and_networks_stay(host: Host, files: list[str]) -> None:
    host.becomes(role.PASSIVE)
    host.overlays = {"dataset": "ssd/hvm-overlays", "files": files}
    planned = host(check=True)
    assert ("ssd/hvm-overlays, which is empty, goes" in planned["done"]) is (not files) and host.did == []
    done = host()
    assert ("zfs destroy ssd/hvm-overlays" in host.did) is (not files)
    assert any("web.vda.qcow2" in text for text in done["left"]) is bool(files)
    assert any("br-v10, made at each boot by /etc/network/interfaces.d/hvm-br-v10" in text for text in done["left"])


def test_what_is_not_ours_stays_and_is_named(host: Host) -> None:
    host.becomes(role.PASSIVE)
    pathlib.Path(install.HOOK).write_text("#!/bin/sh\n# somebody's own\n")
    notes = host.root / "etc/hvm/notes"
    notes.touch()
    new = host.root / "run/hvm/new/data"
    new.parent.mkdir()
    new.touch()
    assert f"{notes}, which is not of this collection" in host()["left"]
    assert host.left() == ["etc/hvm/notes", "etc/libvirt/hooks/qemu", "root/.ssh/authorized_keys", "run/hvm/new/data"]


def test_a_service_that_cannot_be_enabled_is_a_warning(host: Host) -> None:
    host.becomes(role.ACTIVE)
    host.fails = {"libvirtd-admin.socket"}
    (said,) = host()["warnings"]
    assert "libvirtd-admin.socket" in said and "do it by hand" in said
    assert host.left() == ["root/.ssh/authorized_keys"]


def test_a_role_without_a_description_is_not_guessed_about(host: Host) -> None:
    host.becomes(role.ACTIVE)
    pathlib.Path(configs.PATH).unlink()
    with pytest.raises(HvmError, match=r"this host has a role .*, and .*pair.json is gone") as error:
        host(despite=ALL)
    assert error.value.remedy.startswith("Run the playbook hvm.pair.install")


def test_whatever_step_is_the_last_one_the_same_again_ends_it_as_it_would_have(host: Host, logged: list[str]) -> None:
    kills = 0
    for at in range(100):
        host.put()
        host.becomes(role.ACTIVE)
        host.kill_at, did = at, []
        try:
            host()
            break
        except Killed:
            kills += 1
            did += host.did
        host.kill_at = None
        host()
        assert set(host.left()) - {"run/hvm/lock"} == {"root/.ssh/authorized_keys"}, at
        assert {"zfs set canmount=on hvm:let-go=office ssd/a/lib", *ENABLED} <= {*did, *host.did}, at
    assert kills > 25
    assert files.read_text(uninstall.AUTHORIZED) == THEIRS
    assert any("hvm.pair was removed from this host, which was ACTIVE in epoch 3" in line for line in logged)
