# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ipaddress
import json
import os
import pathlib
import subprocess
import sys

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net import addresses
from ansible_collections.hvm.pair.plugins.module_utils._pair import config as configs
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import GATE, RUN
from ansible_collections.hvm.pair.plugins.module_utils._peer.dial import RELAY
from ansible_collections.hvm.pair.plugins.module_utils._procedure import install


class Hook:
    """libvirt's qemu hook, as it gets installed, with what it looks at in /run elsewhere."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.gate = directory / "gate"
        self.path = directory / "qemu"
        text, mode = install.files()[install.HOOK]
        assert text.count(GATE) == 1
        self.path.write_text(text.replace(RUN, str(directory)))
        self.path.chmod(mode)

    def __call__(self, operation: str, sub: str, name: str = "web") -> subprocess.CompletedProcess[str]:
        command = [str(self.path), name, operation, sub, "-"]
        return subprocess.run(command, input="<domain/>", capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture(name="hook")
def _hook(tmp_path: pathlib.Path) -> Hook:
    return Hook(tmp_path)


#: What libvirt asks the hook for (hooks.html): an operation and its part. Each start, restore and incoming migration has
#: "prepare begin".
ALL = [
    ("prepare", "begin"), ("start", "begin"), ("started", "begin"), ("stopped", "end"), ("release", "end"), ("migrate", "begin"),
    ("restore", "begin"), ("reconnect", "begin"), ("attach", "begin"),
]  # fmt: skip


def test_nothing_starts_behind_a_shut_gate_and_the_message_says_what_to_do_instead(hook: Hook) -> None:
    made = hook("prepare", "begin")
    assert made.returncode == 1
    assert made.stderr == (
        "hvm: this host is not ACTIVE, so VM 'web' must not start here: it may run on the other one. hvm.pair.status shows both; "
        "hvm.pair.migrate_secure brings the VMs here; after a boot or a crash: hvm.pair.recover.\n"
    )


@pytest.mark.parametrize("what", ALL[1:], ids=" ".join)
def test_it_fails_for_nothing_that_only_looks_on_or_cleans_up(hook: Hook, what: tuple[str, str]) -> None:
    assert hook(*what).returncode == 0


@pytest.mark.parametrize("what", ALL, ids=" ".join)
def test_an_open_gate_lets_everything_through(hook: Hook, what: tuple[str, str]) -> None:
    hook.gate.touch()
    made = hook(*what)
    assert (made.returncode, made.stderr) == (0, "")


def test_a_vm_that_has_moved_starts_here_no_more_until_it_is_back(
    hook: Hook, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(role, "RUN", str(tmp_path))
    hook.gate.write_text("ACTIVE 3\n")
    role.goes_away("web", "hv2")
    role.goes_away("my $web 'x'", "hv2")
    made = hook("prepare", "begin")
    assert made.returncode == 1
    assert made.stderr == (
        "hvm: VM 'web' has moved to hv2, or is on its way there, so it must not start here. hvm.pair.status shows where each VM "
        "is; hvm.pair.migrate_unsecure goes on, hvm.pair.recover brings it back.\n"
    )
    assert hook("prepare", "begin", "my $web 'x'").returncode == 1 and hook("prepare", "begin", "we").returncode == 0
    assert [what for what in ALL if hook(*what).returncode] == [("prepare", "begin")]
    role.comes_no_more("web")
    assert hook("migrate", "begin").returncode == hook("prepare", "begin").returncode == 0, "it comes by a migration"
    assert hook("prepare", "begin").returncode == 1, "once"
    role.is_here("web")
    assert hook("prepare", "begin").returncode == 0


def test_units_of_libvirt_start_behind_an_open_gate_only() -> None:
    units = [path for path in install.files() if path.endswith(".d/hvm.conf")]
    assert {path.split("/")[-2] for path in units} >= {"libvirtd.service.d", "libvirtd.socket.d"}
    for path in units:
        assert f"ConditionPathExists={GATE}\n" in install.files()[path][0]


def test_with_the_library_goes_the_timer_that_needs_it(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = [tmp_path / name for name in ("hvm-scheduled.timer", "hvm-scheduled.service")]
    done: list[str] = []
    monkeypatch.setattr(install, "UNITS", tuple(map(str, units)))
    monkeypatch.setattr(install, "HOME", str(tmp_path / "home"))
    monkeypatch.setattr(install, "files", dict)
    monkeypatch.setattr(install, "run", lambda command: done.append(f"{' '.join(command)}: {units[0].exists()}"))
    assert not install.remove(check=False)["changed"] and done == []
    for unit in units:
        unit.touch()
    assert install.remove(check=True)["changed"] and done == []
    assert install.remove(check=False)["changed"]
    assert done == ["systemctl disable --now hvm-scheduled.timer: True", "systemctl daemon-reload: False"]
    assert not [unit for unit in units if unit.exists()]


#: What hvm_agent installs, by the very functions, into another place.
INSTALL = """
import sys
from ansible_collections.hvm.pair.plugins.module_utils._core import build
from ansible_collections.hvm.pair.plugins.module_utils._procedure import agent, install

agent.load_rest()
install.HOME = sys.argv[1]
install._install_library(f"{install.HOME}/lib-x", build.sources())
"""


def test_what_the_timer_starts_finds_all_that_it_needs_in_the_library_that_is_installed(tmp_path: pathlib.Path) -> None:
    subprocess.run([sys.executable, "-c", INSTALL, str(tmp_path)], timeout=120, check=True)
    script, options = tmp_path / "hvm-scheduled", tmp_path / "options"
    script.write_text(install.files()[install.SCHEDULED][0].replace(install.HOME, str(tmp_path)))
    options.write_text('{"swap_days": 7}')
    for option in ("--check-options", "--check-mail"):
        said = subprocess.run(
            [sys.executable, "-I", str(script), option, str(options)], capture_output=True, text=True, timeout=120, check=False
        )
        assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_the_agents_start_as_a_relay_finds_what_it_needs_in_the_library_that_is_installed_and_no_more(
    tmp_path: pathlib.Path,
) -> None:
    subprocess.run([sys.executable, "-c", INSTALL, str(tmp_path)], timeout=120, check=True)
    script = tmp_path / "hvm-agent"
    text = install.files()[install.AGENT][0].replace(install.HOME, str(tmp_path))
    listing = "import atexit; atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n"
    script.write_text(text.replace("asked =", f"{listing}asked =", 1))
    hello = '{"protocol": 0, "pair": "office", "me": "hv1", "endpoint": "libvirt"}\n'
    said = subprocess.run(
        [sys.executable, "-IBS", str(script)],
        input=hello,
        env={"SSH_ORIGINAL_COMMAND": f"hvm-agent {RELAY}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said.returncode == 1
    assert set(json.loads(said.stdout)) == {"error"}  # this machine has no pair; or there is one, of another version
    loaded = {name.rpartition(".")[2] for name in said.stderr.split()}
    assert "relayed" in loaded
    assert loaded & {"agent", "server", "early", "inventory", "subprocess", "hashlib", "logging", "libvirt"} == set()
# One version over another


class Place:
    """A host below a directory, where systemd only says what it was asked; its library is one file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: pathlib.Path) -> None:
        self.root = root
        self.asked: list[str] = []
        self.scheduled = False
        self.version: dict[str, str] = {}
        self.texts: dict[str, tuple[str, int]] = {}
        for name in ("HOME", "CONFIG", "STATE"):
            monkeypatch.setattr(install, name, str(root / name.lower()))
        monkeypatch.setattr(install, "UNITS", (str(root / "timer"), str(root / "service")))
        monkeypatch.setattr(install, "HOOK", str(root / "qemu"))
        monkeypatch.setattr(install, "files", lambda: self.texts)
        monkeypatch.setattr(install.build, "sources", lambda: self.version)
        monkeypatch.setattr(install, "run", lambda command: self.asked.append(" ".join(command)))
        monkeypatch.setattr(install, "succeeds", lambda command: self.scheduled and command[-1] == install.WORK)
        lock, journal = str(root / "lock"), str(root / "journal")
        for function, default in ((operation.Lock.__init__, lock), (operation.lock_holder, lock), (operation.pending, journal)):
            monkeypatch.setattr(function, "__defaults__", (default,))
        self.becomes("1")

    def becomes(self, version: str, **more: str) -> None:
        """The version that is to be installed, with files of its own."""
        self.version = {"_core.x": f"VERSION = {version}\n"}
        names = {"agent": version, "qemu": install.HOOK_HEAD + version, **more}
        self.texts = {str(self.root / name.replace("__", ".")): (text, 0o755) for name, text in names.items()}

    def there(self) -> set[str]:
        return {path.name for path in self.root.iterdir() if path.is_file()} - {"lock", "journal"}

    def libraries(self) -> set[str]:
        return {path.name for path in (self.root / "home").iterdir() if path.name.startswith("lib-")}

    def interrupt(self) -> None:
        entry = {"operation": "migrate", "owner": "ann from 10.0.0.9", "started": "10:00", "step": "save", "done": False}
        (self.root / "journal").write_text(json.dumps(entry))


@pytest.fixture(name="place")
def _place(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Place:
    return Place(monkeypatch, tmp_path)


def test_a_version_takes_the_place_of_another_one_with_all_that_only_that_one_had(place: Place) -> None:
    place.becomes("1", old="gone in 2", unit__conf="x")
    first = install.install(False)
    assert (first["changed"], first["previous"]) == (True, "")
    assert install.install(False)["changed"] is False
    place.becomes("2", new="came in 2")
    planned = install.install(True)
    assert planned["diff"]["before"].split() == [str(place.root / "old"), str(place.root / "unit.conf")]
    assert place.there() == {"agent", "qemu", "old", "unit.conf"} and len(place.libraries()) == 1
    second = install.install(False)
    assert (second["previous"], second["changed"]) == (first["version"], True) and second["diff"] == planned["diff"]
    assert place.there() == {"agent", "qemu", "new"} and (place.root / "agent").read_text() == "2"
    assert install.install(False) == {
        **second,
        "changed": False,
        "previous": second["version"],
        "diff": {"before": "", "after": ""},
    }
    # who began with the first one finds the rest of it; the next version takes it away
    assert place.libraries() == {f"lib-{first['version']}", f"lib-{second['version']}"}
    place.becomes("3")
    third = install.install(False)
    assert place.libraries() == {f"lib-{second['version']}", f"lib-{third['version']}"}
    assert os.readlink(place.root / "home/current").endswith(third["version"])


def test_what_a_killed_installation_has_left_is_cleared_away_by_the_next(place: Place) -> None:
    install.install(False)
    (place.root / "home/lib-dead.partial").mkdir()
    (place.root / "home/files.json").unlink()
    assert install.install(False)["changed"] is True  # the list
    place.becomes("2")
    install.install(False)
    assert not [name for name in place.libraries() if "dead" in name]


def test_a_library_that_a_power_cut_has_emptied_is_installed_again(place: Place) -> None:
    install.install(False)
    (text,) = (place.root / "home").glob("lib-*/**/x.py")
    text.write_text("")
    assert install.install(True)["changed"] is True
    install.install(False)
    assert text.read_text() == "VERSION = 1\n"
    assert install.install(False)["changed"] is False


def test_a_link_that_was_not_put_in_place_is_in_nobodys_way(place: Place) -> None:
    install.install(False)
    (place.root / "home/current.new").symlink_to("gone")
    place.becomes("2")
    install.install(False)
    assert (place.root / "home/current").resolve().name in place.libraries() and len(place.libraries()) == 2
    assert not (place.root / "home/current.new").is_symlink()


def test_while_an_operation_runs_no_other_version_comes_and_it_is_said_whose_it_is(place: Place) -> None:
    install.install(False)
    with operation.Lock().held("sync", "bob from 10.0.0.7"):
        assert install.install(False)["changed"] is False  # the same version is in nobody's way
        place.becomes("2")
        for check in (False, True):
            with pytest.raises(HvmError, match=r"another operation is running on .*: sync by bob from 10.0.0.7 since ") as error:
                install.install(check)
            assert error.value.remedy == "Wait until it has ended, then run this again."
    assert (place.root / "agent").read_text() == "1"
    assert install.install(False)["changed"] is True
    assert operation.lock_holder() is None


def test_it_waits_for_what_ends_soon(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = operation.Lock()
    lock.take("prune", "timer")
    slept: list[float] = []
    monkeypatch.setattr(install.time, "sleep", lambda seconds: slept.append(seconds) or lock.release())
    assert install.install(False, wait=60)["changed"] is True and slept == [1.0]


@pytest.mark.parametrize("check", [True, False])
def test_commands_and_the_scheduled_run_at_work_are_waited_for_too(place: Place, check: bool) -> None:
    install.install(False)
    place.becomes("2")
    place.scheduled = True
    with pytest.raises(HvmError, match=r"the scheduled run is at work \(hvm-scheduled-work.service\) on "):
        install.install(check)
    place.scheduled = False
    with pytest.raises(HvmError, match=r"'hvm backup secure' is at work \(process 7\) on "):
        install.install(check, busy=lambda: ["'hvm backup secure' is at work (process 7)"])
    assert (place.root / "agent").read_text() == "1"


def test_the_version_that_began_an_operation_ends_it(place: Place) -> None:
    install.install(False)
    place.interrupt()
    assert install.install(False)["changed"] is False
    place.becomes("2")
    for check in (True, False):
        with pytest.raises(HvmError, match=r"migrate by ann from 10.0.0.9, begun 10:00 on .*, did not end: .* 'save'") as error:
            install.install(check)
        assert "'hvm recover' on that host" in error.value.remedy
        assert "hvm_install_despite_pending=true" in error.value.remedy
        assert operation.lock_holder() is None
    assert install.install(False, despite_pending=True)["changed"] is True


@pytest.mark.parametrize(
    ("wanted", "here", "left"),
    [
        (["192.0.2.11/24"], ["192.0.2.10/32"], "192.0.2.10"),
        ([], ["192.0.2.10/32", "2001:db8::10/128"], "192.0.2.10, 2001:db8::10"),
        (["2001:db8:0::10/64"], ["192.0.2.10/32", "2001:db8::10/128"], "192.0.2.10"),
        (["192.0.2.11/24"], ["10.0.0.1/24"], ""),
        (["192.0.2.10/16", "2001:db8::10/64"], ["192.0.2.10/32"], ""),
    ],
)
def test_a_shared_ip_that_nobody_would_take_off_is_named_before_it_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, wanted: list[str], here: list[str], left: str
) -> None:
    me, peer = configs.Host("hv1", "10.0.0.1"), configs.Host("hv2", "10.0.0.2")
    before = configs.PairConfig("p", me, peer, ("t/vm",), "/vm", ("192.0.2.10/24", "2001:db8::10/64"), "br0")
    entries = tuple(addresses.Entry("br0", ipaddress.ip_interface(one), True) for one in here)
    links = {"br0": addresses.Link("br0", "52:54:00:00:00:01", True, True, True, entries)}
    monkeypatch.setattr(install.configs, "load", lambda: before)
    monkeypatch.setattr(install.shared_ip, "read_links", lambda: links)
    if left:
        with pytest.raises(HvmError, match=f"hv1 has the shared address {left}, which hvm_shared_ip has no more") as error:
            install.refuse_left_over(wanted)
        assert "'hvm hv sharedIP disable' on hv1; then install again" in error.value.remedy
    else:
        install.refuse_left_over(wanted)


def test_a_host_of_no_pair_has_no_shared_ip_left(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    load = configs.load
    monkeypatch.setattr(install.configs, "load", lambda: load(str(tmp_path / "none")))
    install.refuse_left_over(["192.0.2.10/24"])


def test_a_hook_that_somebody_has_put_there_is_not_taken_away(place: Place) -> None:
    install.install(False)
    (place.root / "qemu").write_text("#!/bin/sh\n# somebody's\n")
    (place.root / "timer").touch()
    assert install.remove(False)["changed"] is True
    assert place.there() == {"qemu"} and place.asked[-2:] == [
        "systemctl disable --now hvm-scheduled.timer",
        "systemctl daemon-reload",
    ]
    assert install.remove(False)["changed"] is False


def test_what_an_older_version_has_left_is_removed_by_a_newer_one(place: Place) -> None:
    place.becomes("1", old="only in 1")
    install.install(False)
    place.becomes("2")
    install.remove(False)
    assert place.there() == set() and not (place.root / "home").exists()


@pytest.mark.parametrize(
    "text", [install.AGENT_TEXT, install.ANNOUNCER_TEXT, install.SCHEDULED_TEXT], ids=["agent", "announcer", "run"]
)
def test_what_is_started_goes_by_the_library_as_it_was_then(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "lib-1").mkdir()
    (tmp_path / "current").symlink_to(tmp_path / "lib-1")
    head = (
        text.split("asked = ", maxsplit=1)[0].split("from ansible", maxsplit=1)[0].replace(install.HOME, str(tmp_path))
        + "\nprint(sys.path[0])\n"
    )
    said = subprocess.run([sys.executable, "-I", "-c", head], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == str(tmp_path / "lib-1")
