# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is put on a host: the whole library, and a command that starts it as it lies there."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._command import completion, detached, installed, words
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
from ansible_collections.hvm.pair.plugins.module_utils._procedure import install

#: As the module hvm_agent does it, in a process that has loaded nothing else; below another root.
INSTALL = """
import json, sys
from ansible_collections.hvm.pair.plugins.module_utils._command import installed
from ansible_collections.hvm.pair.plugins.module_utils._core import build
from ansible_collections.hvm.pair.plugins.module_utils._procedure import agent, install
place = sys.argv[1]
agent.load_rest()
installed.load_all()
sources = build.sources()
install.HOME = place
install._install_library(f"{place}/lib-1", sources)
text, mode = installed.files()[installed.COMMAND]
assert text.count("/usr/lib/hvm/current") == 1
open(f"{place}/hvm", "w").write(text.replace("/usr/lib/hvm/current", f"{place}/current"))
print(json.dumps(sorted(sources)))
"""


@pytest.fixture(name="place", scope="module")
def _place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    place = tmp_path_factory.mktemp("host")
    made = subprocess.run([sys.executable, "-c", INSTALL, str(place)], capture_output=True, text=True, check=True, timeout=120)
    (place / "names").write_text(made.stdout)
    return place


def hvm(place: pathlib.Path, *typed: str) -> subprocess.CompletedProcess[str]:
    """As it starts on a host: no site, no environment of Python's, nothing of this checkout."""
    command = [sys.executable, "-IBS", str(place / "hvm"), *typed]
    environ = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd="/", env=environ)


def test_what_is_installed_is_every_file_of_the_library(place: pathlib.Path) -> None:
    library = pathlib.Path(str(words.__file__)).parents[1]
    files = {".".join(path.relative_to(library).with_suffix("").parts) for path in library.rglob("*.py")}
    assert set(json.loads((place / "names").read_text())) == files - {"_ansible"}


def test_the_command_runs_from_what_is_installed(place: pathlib.Path) -> None:
    made = hvm(place, "help")
    assert made.returncode == 0 and "|  |--* unsecure        Without the state of the VMs" in made.stdout and made.stderr == ""
    config = place / "pair.json"
    hosts = [{"name": "hv1", "address": "10.0.0.1"}, {"name": "hv2", "address": "10.0.0.2"}]
    config.write_text(json.dumps({"pair": "p", "me": "hv1", "hosts": hosts, "datasets": ["no-pool/vm"], "state_dir": "/v"}))
    made = hvm(place, "status", "--config", str(config))
    if pathlib.Path("/usr/bin/systemctl").exists():
        assert made.returncode == 0, made.stderr
        begins = ("Hypervisor is ", "Shared IP is ", "VMs are ")
        assert all(line.startswith(begin) for line, begin in zip(made.stdout.splitlines(), begins, strict=True))


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="no /dev/full")
def test_a_reader_that_has_gone_and_a_full_disk_are_no_success_and_no_traceback(place: pathlib.Path) -> None:
    command = [sys.executable, "-IBS", str(place / "hvm"), "help"]
    with open("/dev/full", "w", encoding="utf-8") as full:
        made = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    assert (made.returncode, made.stderr) == (1, "hvm: [Errno 28] No space left on device\n")
    read, write = os.pipe()
    os.close(read)
    made = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    os.close(write)
    assert (made.returncode, made.stderr) == (1, "")


def test_accents_are_no_reason_to_fail(place: pathlib.Path) -> None:
    made = subprocess.run(
        [sys.executable, "-IBS", str(place / "hvm"), "help"],
        capture_output=True, check=False, timeout=120, env={"LC_ALL": "POSIX", "HVM_LANG": "fr", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert made.returncode == 0 and b"hyperviseur" in made.stdout


def test_status_loads_little(place: pathlib.Path) -> None:
    """What it costs is for the most part what it imports."""
    script = f"""
import sys
sys.path.insert(0, {str(place / "current")!r})
from ansible_collections.hvm.pair.plugins.module_utils._command import main
from ansible_collections.hvm.pair.plugins.module_utils._procedure import brief
brief.look = lambda config: {{"hypervisor": {{"running": True}}, "shared_ip": {{"enabled": True}}, "qemu": []}}
main.main(["status", "--config", {str(place / "pair.json")!r}])
print(sorted(name.split("._procedure.")[1] for name in sys.modules if "._procedure." in name))
print([name for name in ("libvirt", "tempfile", "hashlib", "concurrent.futures", "logging") if name in sys.modules])
"""
    made = subprocess.run([sys.executable, "-ISc", script], capture_output=True, text=True, check=True, timeout=120)
    lines = made.stdout.splitlines()
    assert lines[:3] == ["Hypervisor is running", "Shared IP is enabled", "VMs are stopped"]
    assert lines[3:] == ["['brief', 'early', 'glance']", "[]"]


def test_the_files_of_the_command_are_root_s_to_run_and_end_with_what_the_tree_makes() -> None:
    found = installed.files()
    assert found[installed.COMMAND][1] == 0o755 and found[installed.COMMAND][0].startswith("#!/usr/bin/python3 -IBS\n")
    assert found[installed.COMPLETION] == (completion.script(), 0o644)
    assert not set(found) & set(install.files())


class Root:
    """install and remove, with every file below another root and no systemd."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: pathlib.Path) -> None:
        self.root = root
        home = str(root / "usr/lib/hvm")
        for name, value in (("HOME", home), ("CONFIG", str(root / "etc/hvm")), ("STATE", str(root / "var/lib/hvm"))):
            monkeypatch.setattr(install, name, value)
        plain = install.files()
        monkeypatch.setattr(install, "files", lambda: {f"{root}{path}": text for path, text in plain.items()})
        for function in (operation.Lock.__init__, operation.lock_holder):
            monkeypatch.setattr(function, "__defaults__", (str(root / "run/lock"),))
        monkeypatch.setattr(operation.pending, "__defaults__", (str(root / "run/journal"),))
        monkeypatch.setattr(install, "succeeds", lambda command: False)
        self.asked: list[t.Any] = []
        monkeypatch.setattr(install, "run", self.asked.append)
        self.more = {f"{root}{path}": text for path, text in installed.files().items()}

    def there(self) -> list[str]:
        files = [path for path in self.root.rglob("*") if path.is_file() and "lib-" not in str(path) and path.name != "lock"]
        return sorted(str(path.relative_to(self.root)) for path in files)


@pytest.fixture(name="root")
def _root(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Root:
    return Root(monkeypatch, tmp_path)


def test_install_puts_the_command_there_once_and_remove_takes_it_away(root: Root) -> None:
    planned = install.install(True, root.more)
    assert planned["changed"] and root.there() == []
    assert install.install(False, root.more)["changed"] is True
    assert {"usr/local/sbin/hvm", "usr/local/share/bash-completion/completions/hvm"} <= set(root.there())
    again = install.install(False, root.more)
    assert (again["changed"], again["diff"]["after"]) == (False, "")
    (root.root / "usr/local/sbin/hvm").chmod(0o644)
    assert install.install(False, root.more)["diff"]["after"] == f"{root.root}/usr/local/sbin/hvm\n"
    assert install.remove(True, root.more)["changed"] and "usr/local/sbin/hvm" in root.there()
    assert install.remove(False, root.more)["changed"] is True
    assert root.there() == []
    assert install.remove(False, root.more)["changed"] is False


def test_a_command_that_is_at_work_is_known_by_what_was_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(detached.tasks, "__defaults__", (str(tmp_path),))
    assert installed.at_work() == []
    task = detached.Task.new(["backup", "secure"], str(tmp_path))
    assert installed.at_work() == []
    held = task.hold()
    assert installed.at_work() == [f"'hvm backup secure' is at work (process {os.getpid()})"]
    held.close()
    assert installed.at_work() == []
