# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._pair.role import GATE
from ansible_collections.hvm.pair.plugins.module_utils._peer.dial import RELAY
from ansible_collections.hvm.pair.plugins.module_utils._procedure import install


class Hook:
    """libvirt's qemu hook, as it gets installed, with its gate elsewhere."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.gate = directory / "gate"
        self.path = directory / "qemu"
        text, mode = install.files()[install.HOOK]
        assert text.count(GATE) == 1
        self.path.write_text(text.replace(GATE, str(self.gate)))
        self.path.chmod(mode)

    def __call__(self, operation: str, sub: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.path), "web", operation, sub, "-"]
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
