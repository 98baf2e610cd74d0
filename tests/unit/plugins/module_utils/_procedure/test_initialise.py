# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""First roles, the datasets that are made for them, and two halves of an installation that come at the same moment."""

from __future__ import annotations

import pathlib
import threading
import types
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._pair import config as configs
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._procedure import initialise
from ansible_collections.hvm.pair.plugins.module_utils._procedure.initialise import Missing

ROOTS = ("ssd/hvm/a", "rot/b")
FILESYSTEMS: dict[str, dict[str, t.Any]] = {
    "rot/b/lib/deep": {"mountpoint": "/var/lib/libvirt/deep"},
    "rot/b/lib": {"mountpoint": "/var/lib/libvirt", "properties": {"atime": False, "recordsize": "1M"}, "mode": "0711"},
}


@pytest.mark.parametrize(
    ("there", "active", "found"),
    [
        ((), True, Missing(["ssd/hvm"], ["ssd/hvm/a", "rot/b"], ["rot/b/lib", "rot/b/lib/deep"])),
        ((), False, Missing(["ssd/hvm"], [], [])),
        (("ssd/hvm", "ssd/hvm/a", "rot/b", "rot/b/lib"), True, Missing([], [], ["rot/b/lib/deep"])),
        (("ssd/hvm", "ssd/hvm/a", "rot/b", *FILESYSTEMS), True, Missing([], [], [])),
    ],
)
def test_what_is_made_where(there: tuple[str, ...], active: bool, found: Missing) -> None:
    """The outer mountpoint before the inner one; on the PASSIVE host nothing that a sync brings."""
    assert initialise.missing(ROOTS, FILESYSTEMS, there, active) == found


def test_a_filesystem_that_no_backup_would_hold_is_refused() -> None:
    with pytest.raises(HvmError, match=r"dataset rot/bb/x is not below the pair's datasets\. Correct hvm_filesystems"):
        initialise.missing(ROOTS, {"rot/bb/x": {"mountpoint": "/x"}}, (), False)


@pytest.mark.parametrize(("given", "mode"), [("0711", 0o711), ("711", 0o711), (0o711, 0o711), ("0o755", 0o755), ("2770", 0o2770)])
def test_a_mode_is_what_the_inventory_says_with_quotes_or_without(given: t.Any, mode: int) -> None:
    assert initialise._mode({"mode": given}) == mode
    assert initialise._mode({}) == 0o755


MOUNTED = {"mounted": ["yes", "-"]}


class Here:
    """This host, with ZFS, systemd, libvirt and the other host replaced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: pathlib.Path) -> None:
        me, peer = configs.Host("hv1", "10.0.0.1"), configs.Host("hv2", "10.0.0.2")
        self.config = configs.PairConfig("p", me, peer, ROOTS, "/vm/state")
        self.did: list[str] = []
        self.there: set[str] = set()
        self.pools = {"ssd": "ONLINE", "rot": "ONLINE"}
        self.role = role.UNKNOWN
        self.pending: t.Any = None
        self.gate = True
        self.let_go: set[str] = set()
        self.half: set[str] = set()
        self.mounted: set[str] = set()
        self.theirs: dict[str, t.Any] = {}
        self.place = place
        self.filesystems = {"rot/b/img": {"mountpoint": str(place / "img"), "properties": {"atime": False}, "mode": "0711"}}
        self.hello: dict[str, t.Any] = {"role": {"role": role.UNKNOWN, "epoch": 0}}
        other = types.SimpleNamespace(hello=self.hello, call=lambda op: {"datasets": self.theirs}[op])
        monkeypatch.setattr(initialise, "Peer", lambda config: _Held(other))
        monkeypatch.setattr(initialise, "run", self._run)
        monkeypatch.setattr(initialise, "qemu_processes", list)
        monkeypatch.setattr(initialise.kernel, "pool_health", lambda pools: self.pools)
        monkeypatch.setattr(initialise.inventory, "existing", lambda names: [one for one in names if one in self.there])
        monkeypatch.setattr(initialise.inventory, "read_datasets", self._datasets)
        self.copy: t.Callable[[str], None] = lambda dummy: None
        monkeypatch.setattr(initialise, "_take_over", self._take_over)
        closing = types.SimpleNamespace(close=lambda: None)
        monkeypatch.setattr(initialise.hypervisor, "start", lambda *words: self.did.append("start") or closing)
        monkeypatch.setattr(initialise.hypervisor, "stop", lambda *words: self.did.append("stop"))
        monkeypatch.setattr(role, "record", lambda *words: self.did.append(f"record {words[0]}"))
        monkeypatch.setattr(role, "load", lambda: role.Role(self.role, 3, "s", "r", role.boot_id()))
        monkeypatch.setattr(role, "gate_is_open", lambda: self.gate)
        monkeypatch.setattr(operation, "pending", lambda: self.pending)
        monkeypatch.setattr(operation, "lock_holder", lambda: None)
        lock = operation.Lock
        monkeypatch.setattr(operation, "Lock", lambda: lock(str(place / "lock")))
        monkeypatch.setattr(initialise, "POLL", 0.01)

    def _take_over(self, dataset: str, *dummy: t.Any) -> None:
        self.copy(dataset)
        self.did.append(f"take over {dataset}")

    def _run(self, command: t.Sequence[str]) -> str:
        self.did.append(" ".join(command))
        if command[:2] == ["zfs", "mount"]:
            (self.place / "img").mkdir(exist_ok=True)
        return ""

    def _datasets(self, dummy: t.Any, more: t.Sequence[str] = ()) -> dict[str, t.Any]:
        if list(more) == ["hvm:copying"]:
            return {one: {"props": {"hvm:copying": ["on", "local" if one in self.half else "-"]}} for one in sorted(self.there)}
        marked = {"hvm:let-go": ["p", "local"]} if more else {}
        where = {"mountpoint": ["/x", "local"]}
        return {
            one: {
                "type": "filesystem",
                "props": {**(marked if one in self.let_go else {}), **(where | MOUNTED if one in self.mounted else where)},
            }
            for one in sorted(self.there)
        }

    def __call__(self, check: bool = False, **words: t.Any) -> dict[str, t.Any]:
        self.did = []
        return initialise.initialise(self.config, words.pop("active", "hv1"), self.filesystems, check, **words)


class _Held:
    def __init__(self, what: t.Any) -> None:
        self.what = what

    def __enter__(self) -> t.Any:
        return self.what

    def __exit__(self, *dummy: t.Any) -> None:
        pass


@pytest.fixture(name="here")
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Here:
    return Here(monkeypatch, tmp_path)


ROOT = "zfs create -o mountpoint=none -o canmount=noauto -o atime=off"


def test_the_first_active_host_gets_everything_the_other_one_what_a_replica_needs(here: Here) -> None:
    made = f"zfs create -p -o atime=off -o hvm:copying=on -o canmount=noauto -o mountpoint={here.place}/img rot/b/img"
    planned = here(check=True)
    assert planned["datasets"] == ["ssd/hvm", "ssd/hvm/a", "rot/b", "rot/b/img"] and here.did == []
    assert here()["datasets"] == planned["datasets"]
    assert here.did[1:] == [
        "zfs create -o mountpoint=none -o canmount=off ssd/hvm",
        *(f"{ROOT} {root}" for root in ROOTS),
        *(made, "take over rot/b/img", "zfs inherit hvm:copying rot/b/img", "start"),
    ]
    assert here(active="hv2")["datasets"] == ["ssd/hvm"]
    assert here.did[1:] == ["zfs create -o mountpoint=none -o canmount=off ssd/hvm", "stop", "record PASSIVE"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        *(({"mode": mode}, f"rot/b/img: its mode is {mode!r}, and no mode") for mode in (711, 755, "493", "u=rwx", -1, True)),
        *(({"mountpoint": point}, f"rot/b/img: its mountpoint is {point!r}, and") for point in ("srv/img", "none", "", None, 7)),
    ],
)
@pytest.mark.parametrize("now", [role.UNKNOWN, role.ACTIVE])
def test_a_filesystem_that_cannot_be_made_is_named_before_anything_is(here: Here, wrong: t.Any, said: str, now: str) -> None:
    here.role = now
    here.filesystems["rot/b/img"].update(wrong)
    for check in (True, False):
        with pytest.raises(HvmError, match=f"dataset {said}"):
            here(check=check)
        assert here.did == []


def test_a_pool_that_is_missing_is_refused_before_anything_stops(here: Here) -> None:
    here.pools["rot"] = "missing"
    with pytest.raises(HvmError, match=r"pool rot is not there on hv1. Import it \(zpool import rot\), describe it in hvm_pools"):
        here()
    assert here.did == []


def test_without_leave_to_make_datasets_each_that_is_missing_is_named(here: Here) -> None:
    here.there = {"ssd/hvm", "ssd/hvm/a", "rot/b"}
    with pytest.raises(HvmError, match="there is no dataset rot/b/img on hv1, and hvm_create_datasets is false"):
        here(create=False)
    assert here.did == []
    here.there.add("rot/b/img")
    assert here(create=False)["datasets"] == []


@pytest.mark.parametrize("active", ["hv1", "hv2"])
def test_a_host_that_was_made_anew_does_not_begin_the_pair_anew(here: Here, active: str) -> None:
    """The only data, or the newer ones, are on the other host."""
    here.hello["role"] = {"role": role.PASSIVE, "epoch": 5}
    with pytest.raises(HvmError, match=r"hv2 is PASSIVE in epoch 5: this is no new pair.*failover there first"):
        here(active=active)
    assert here.did == []
    here.hello["role"] = {"role": role.PASSIVE, "epoch": 0}  # the other half of a first installation
    assert here(active=active)["changed"]


def test_where_the_files_of_libvirt_have_another_dataset_it_is_named(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.role, here.there = role.ACTIVE, {"ssd/hvm", *ROOTS, "ssd/hvm/a/img"}
    monkeypatch.setattr(initialise.inventory, "mountable", lambda dummy: {"ssd/hvm/a/img": str(here.place / "img")})
    with pytest.raises(HvmError, match=r"/img is that of ssd/hvm/a/img, and rot/b/img is to be.*hvm_libvirt_dataset"):
        here()
    assert here.did == []


def test_a_copy_that_was_cut_off_is_made_again_by_the_next_installation(here: Here) -> None:
    """What is in the dataset by then is not all that lies at its mountpoint, and would hide the rest."""

    def full(dataset: str) -> t.NoReturn:
        raise HvmError("no space left on device")

    here.copy = full
    with pytest.raises(HvmError, match="no space left"):
        here()
    assert "start" not in here.did
    here.there, here.half = {"ssd/hvm", *ROOTS, "rot/b/img"}, {"rot/b/img"}
    here.copy = lambda dummy: None
    assert here(check=True)["datasets"] == ["rot/b/img"]
    here()
    assert here.did[1:] == ["take over rot/b/img", "zfs inherit hvm:copying rot/b/img", "start"]
    here.half = set()
    here()
    assert here.did[1:] == ["start"]


def test_a_large_disk_may_take_hours_to_be_copied(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    given: list[float] = []

    def run(command: t.Sequence[str], timeout: float = 300.0) -> str:
        if command[0] == "cp":
            given.append(timeout)
        return ""

    monkeypatch.setattr(initialise, "run", run)
    monkeypatch.setattr(initialise.role, "RUN", str(tmp_path))
    initialise._take_over("rot/b/img", str(tmp_path / "img"), 0o711)
    assert given == [24 * 3600.0]


@pytest.mark.parametrize("mounted", [True, False])
def test_what_a_killed_one_has_left_mounted_is_in_nobodys_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, mounted: bool
) -> None:
    did: list[str] = []
    there = {str(tmp_path / "new")} if mounted else set()

    def run(command: t.Sequence[str], **dummy: t.Any) -> str:
        did.append(command[0])
        if command[0] == "mount":
            assert not there, "filesystem is busy"
            there.add(command[-1])
        elif command[0] == "umount":
            there.remove(command[-1])
        return ""

    monkeypatch.setattr(initialise, "run", run)
    monkeypatch.setattr(initialise.role, "RUN", str(tmp_path))
    monkeypatch.setattr(initialise.os.path, "ismount", there.__contains__)
    initialise._take_over("rot/b/img", str(tmp_path / "img"), 0o711)
    assert did == [*(["umount"] if mounted else []), "mount", "cp", "umount"]


def test_what_the_inventory_has_gained_is_made_beside_running_vms(here: Here) -> None:
    here.role, here.there = role.ACTIVE, {"ssd/hvm", "ssd/hvm/a"}
    planned = here(check=True)
    assert (planned["changed"], planned["datasets"], here.did) == (True, ["rot/b", "rot/b/img"], [])
    assert here()["role"] == role.ACTIVE
    made = f"zfs create -p -o atime=off -o canmount=noauto -o mountpoint={here.place}/img rot/b/img"
    assert here.did == [f"{ROOT} rot/b", "zfs set volmode=dev rot/b", made, "zfs mount rot/b/img"]
    assert (here.place / "img").stat().st_mode & 0o777 == 0o711
    here.there |= {"rot/b", "rot/b/img"}
    assert here() == {"changed": False, "role": role.ACTIVE, "epoch": 3, "datasets": []} and here.did == []
    here.role, here.there = role.PASSIVE, set()
    assert here()["datasets"] == ["ssd/hvm"] and here.did == ["zfs create -o mountpoint=none -o canmount=off ssd/hvm"]


def test_a_mountpoint_with_something_in_it_is_not_hidden_from_vms_that_run(here: Here) -> None:
    here.role = role.ACTIVE
    (here.place / "img").mkdir()
    (here.place / "img/disk").write_text("")
    for check in (True, False):
        with pytest.raises(HvmError, match="img is not empty, and a new dataset of hvm_filesystems is to be mounted there"):
            here(check=check)
        assert here.did == []


@pytest.mark.parametrize("why", ["pending", "stopped", "diverged", "no pool", "not wanted"])
def test_nothing_is_made_where_it_could_take_the_place_of_something(here: Here, why: str) -> None:
    """In the midst of a rollback a root is away; a host that is stopped or DIVERGED is as it should be."""
    here.role = role.DIVERGED if why == "diverged" else role.ACTIVE
    here.pending = {"operation": "rollback"} if why == "pending" else None
    here.gate = why != "stopped"
    here.pools["rot"] = "missing" if why == "no pool" else "ONLINE"
    assert here(create=why != "not wanted")["changed"] is False and here.did == []


def test_what_a_removal_has_left_to_be_mounted_at_boot_is_taken_back(here: Here) -> None:
    """A replica gets its canmount: it would be mounted at boot, on the PASSIVE host."""
    here.there = {"ssd/hvm", "ssd/hvm/a", "ssd/hvm/a/lib", "rot/b", "rot/b/img"}
    here.let_go = {"ssd/hvm/a/lib", "rot/b/img"}
    assert here()["datasets"] == []
    both = "rot/b/img ssd/hvm/a/lib"
    assert here.did[1:] == [f"zfs set canmount=noauto {both}", f"zfs inherit hvm:let-go {both}", "start"]
    assert here(active="hv2")["role"] == role.PASSIVE and here.did[1:] == ["stop", "record PASSIVE"]


def test_the_host_that_stands_by_itself_does_not_become_a_copy_of_an_old_copy(here: Here) -> None:
    """After a removal the roles are forgotten; whichever of the two hosts looks first, nothing is changed on either."""
    entry = {"props": {"mountpoint": ["/var/lib/libvirt", "local"]}}
    here.theirs = {"rot/b/lib": {"props": {**entry["props"], **MOUNTED}}, "rot/b": entry}
    with pytest.raises(HvmError, match="are mounted on hv2, which is to become PASSIVE: rot/b/lib") as error:
        here()
    assert "hvm_first_active=hv2" in error.value.remedy and here.did == []
    assert here(active="hv2")["role"] == role.PASSIVE  # the other way round it is right
    here.theirs, here.there, here.mounted = {}, {"rot/b", "rot/b/lib"}, {"rot/b/lib"}
    for check in (True, False):
        with pytest.raises(HvmError, match="are mounted on hv1, which is to become PASSIVE: rot/b/lib"):
            here(check=check, active="hv2")
        assert here.did == []
    assert here()["role"] == role.ACTIVE


# ---- the shared IP


class Addresses:
    """Those of this host; `why` they cannot be taken."""

    def __init__(self, here: Here, patch: pytest.MonkeyPatch) -> None:
        self.here, self.enabled, self.why = here, False, ""
        here.config = here.config._replace(shared_ips=("192.0.2.10/24",), interface="br0", gateway="192.0.2.1")
        patch.setattr(initialise.shared_ip, "status", lambda *dummy: types.SimpleNamespace(enabled=self.enabled))
        patch.setattr(initialise.shared_ip, "prepare", lambda *words: self.enable(*words, check=True))
        patch.setattr(initialise.shared_ip, "enable", self.enable)
        patch.setattr(initialise.address, "keep_announcing", lambda *dummy: here.did.append("announce") or [])

    def enable(self, wanted: t.Sequence[str], interface: str, gateway: str = "", check: bool = False) -> t.Any:
        if self.why:
            raise HvmError(self.why, "Correct it.")
        if not check:
            self.here.did.append(f"enable {wanted[0]} on {interface}")
            self.enabled = True
        return types.SimpleNamespace(changed=wanted)


@pytest.fixture(name="shared")
def _shared(here: Here, monkeypatch: pytest.MonkeyPatch) -> Addresses:
    return Addresses(here, monkeypatch)


def test_a_shared_ip_that_cannot_be_taken_is_found_before_the_host_is_active(here: Here, shared: Addresses) -> None:
    shared.why = "there is no interface 'br0' for the shared address"
    for check in (True, False):
        with pytest.raises(HvmError, match="there is no interface 'br0'"):
            here(check=check)
        assert here.did == []
    assert here(active="hv2")["role"] == role.PASSIVE  # which takes none


@pytest.mark.parametrize("create", [True, False])
def test_an_active_host_takes_the_shared_ip_that_it_lacks(here: Here, shared: Addresses, create: bool) -> None:
    here.role, here.there = role.ACTIVE, {"ssd/hvm", *ROOTS, "rot/b/img"}
    assert here(check=True, create=create)["changed"] and here.did == []
    shared.why = "there is no interface 'br0'"
    for check in (True, False):
        result = here(check=check, create=create)
        assert result["warnings"] == ["the shared IP is not enabled on hv1: there is no interface 'br0'. Correct it."]
        assert not result["changed"] and here.did == []
    shared.why = ""
    assert here(create=create)["changed"] and here.did == ["enable 192.0.2.10/24 on br0", "announce"]
    assert not here(create=create)["changed"] and here.did == []


@pytest.mark.parametrize("why", ["passive", "stopped", "pending", "moved meanwhile"])
def test_who_is_not_active_and_at_rest_takes_no_shared_ip(
    here: Here, shared: Addresses, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    here.role, here.there = role.PASSIVE if why == "passive" else role.ACTIVE, {"ssd/hvm", *ROOTS, "rot/b/img"}
    here.gate = why != "stopped"
    here.pending = {"operation": "migrate"} if why == "pending" else None
    if why == "moved meanwhile":
        monkeypatch.setattr(initialise, "_wait_for_lock", lambda dummy: setattr(here, "role", role.PASSIVE))
    here()
    assert not shared.enabled and here.did == []


# ---- both halves of an installation may come to a host at the same moment


def _meanwhile(here: Here, then: t.Callable[[], None]) -> dict[str, t.Any]:
    """What this half is told, when the other one has the lock first, and then has done `then`."""
    results: list[dict[str, t.Any]] = []
    with operation.Lock().held("install", "the other half"):
        second = threading.Thread(target=lambda: results.append(here(active="hv2")))
        second.start()
        second.join(0.2)
        assert second.is_alive() and here.did == []
        then()
    second.join(10)
    return results[0]


def test_whoever_comes_second_waits_and_finds_the_role_given(here: Here) -> None:
    assert _meanwhile(here, lambda: setattr(here, "role", role.PASSIVE))["changed"] is False
    assert here.did == []


def test_whoever_comes_second_makes_nothing_twice(here: Here) -> None:
    """The first one has failed half-way; or the host has its role, and the inventory has gained something."""
    above = "zfs create -o mountpoint=none -o canmount=off ssd/hvm"
    assert above not in (_meanwhile(here, lambda: here.there.add("ssd/hvm")) and here.did)
    here.role, here.there = role.PASSIVE, set()
    assert _meanwhile(here, lambda: here.there.add("ssd/hvm"))["changed"] is False
    assert here.did == []


def test_a_lock_that_is_never_free_is_named(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initialise, "PATIENCE", 0.05)
    with operation.Lock().held("sync", "somebody"), pytest.raises(HvmError, match=r"is running on .*: sync by somebody"):
        here(active="hv2")
    assert here.did == []
