# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's two hosts as a test sees them: commands over a kept ssh connection, the library, and things to break."""

from __future__ import annotations

import concurrent.futures
import json
import shlex
import subprocess
import time
import typing as t
from pathlib import Path

import _hostside
from _machines import HOSTS, Lab, LabHost

DRIVER = "/run/hvm-test-driver.py"
#: Found before the real one: the library's commands have this directory first on their PATH.
WRAPPER = "/usr/local/sbin/zfs"
ZFS = "/usr/sbin/zfs"
ROOTS = ("ssd", "rot")

#: Content of snapshots, read without the library: `dataset@snapshot type` words on standard input, `digest dataset` lines out.
DIGEST = r"""
set -eu
while read -r type name; do
  if [ "$type" = volume ]; then
    copy=${name%%/*}/test-reading-$$
    zfs clone -o volmode=dev -o readonly=on "$name" "$copy"
    sum=
    for try in $(seq 600); do sum=$(sha256sum 2>/dev/null < "/dev/zvol/$copy") && break; sleep 0.1; done
    udevadm settle
    for try in $(seq 50); do zfs destroy "$copy" 2>/dev/null && break; sleep 0.1; done
  else
    mkdir -p /run/test-reading
    mount -t zfs -o ro "$name" /run/test-reading
    sum=$(tar -C /run/test-reading --sort=name --numeric-owner -cf - . | sha256sum)
    umount /run/test-reading
  fi
  echo "${sum%% *} ${name%%@*}"
done
"""


class Failure(AssertionError):
    """A command on a host failed that should not have."""


def ansible(lab: Lab, program: str, *words: str) -> None:
    """Run one of Ansible's programs on both hosts, with the code of this checkout; the lab's network is that of this process."""
    done = subprocess.run(
        [program, *words, "-i", str(_hostside.write_inventory(lab))],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


class Host:
    """One lab host."""

    def __init__(self, lab: Lab, host: LabHost) -> None:
        self.lab, self.host, self.name = lab, host, host.name
        self._options = ["-oControlMaster=auto", "-oControlPersist=300", f"-oControlPath={lab.dir}/zt-%C"]

    def _ssh(self, words: t.Sequence[str], options: t.Sequence[str] | None = None) -> list[str]:
        """:param options: of ssh; those of the kept connection when left out."""
        command = self.lab.ssh_command(self.host, list(words))
        at = command.index(f"root@{self.host.address}")
        return [*command[:at], *(self._options if options is None else options), *command[at:]]

    def sh(self, script: str, check: bool = True, timeout: float = 180, stdin: str = "") -> str:
        """Run a shell script; its output. Standard error is in the exception only."""
        words = self._ssh([shlex.join(["sh", "-c", script])])
        result = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        if check and result.returncode:
            raise Failure(f"{self.name}: {script[:300]!r} failed ({result.returncode}): {result.stderr.strip()[-800:]}")
        return result.stdout.strip()

    def start(self, script: str) -> subprocess.Popen[str]:
        words = self._ssh([shlex.join(["sh", "-c", script])])
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def forget(self) -> None:
        """The kept connection does not outlive a power cut."""
        subprocess.run(self._ssh(["-O", "exit"]), capture_output=True, check=False)

    def put(self, path: str, text: str, mode: str = "0644") -> None:
        self.sh(f"cat > {path}.new && chmod {mode} {path}.new && mv {path}.new {path}", stdin=text)

    def call(self, name: str, **arguments: t.Any) -> dict[str, t.Any]:
        """A call of the driver: what the module of that name would give; ``failed`` and ``msg`` when it raised an error."""
        return finish(self.begin(name, **arguments))

    def begin(self, name: str, **arguments: t.Any) -> subprocess.Popen[str]:
        text = json.dumps({"call": name, **arguments})
        return self.start(f"exec /usr/bin/python3 -IB {DRIVER} {shlex.quote(text)}")

    def zfs(self, *words: str, check: bool = True) -> str:
        return self.sh(shlex.join(["zfs", *words]), check)

    def wrap(self, script: str) -> None:
        """Put a shell script before the real zfs; `$ZFS` in it is the real one. Everything that it does not end goes on there."""
        self.put(WRAPPER, f'#!/bin/sh\nZFS={ZFS}\n{script}\nexec "$ZFS" "$@"\n', "0755")

    def unwrap(self) -> None:
        self.sh(f"rm -f {WRAPPER}")


def finish(process: subprocess.Popen[str], timeout: float = 600) -> dict[str, t.Any]:
    out, err = process.communicate(timeout=timeout)
    try:
        return json.loads(out.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {"failed": True, "kind": "Killed", "msg": f"ended with {process.returncode}: {err.strip()[-2000:]}", "lines": []}


class Pair:
    """A pair with roots of its own on the two lab hosts; hva is ACTIVE, hvb PASSIVE."""

    def __init__(self, lab: Lab, number: int) -> None:
        self.lab = lab
        self.a, self.b = (Host(lab, host) for host in HOSTS)
        self.roots = [f"{pool}/t{number}" for pool in ROOTS]
        self.directory = f"/srv/t{number}"

    def both(self, work: t.Callable[[Host], t.Any]) -> list[t.Any]:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return list(pool.map(work, (self.a, self.b)))

    def make(self) -> None:
        """The roots, on hva: filesystem ``files``, volume ``disk`` of 8 MiB on the one, filesystem ``files`` on the other."""
        code = f"""
import json
path = "/etc/hvm/pair.json"
pair = json.load(open(path))
pair.update(datasets={self.roots!r}, state_dir="{self.directory}/0/files", shared_ips=[], gateway="")
json.dump(pair, open(path, "w"))
"""
        driver = (Path(__file__).parent / "_driver.py").read_text(encoding="utf-8")

        def configure(host: Host) -> None:
            host.sh(f"rm -f {WRAPPER} /var/lib/hvm/holds.json /var/lib/hvm/journal.json; python3 -", stdin=code)
            host.put(DRIVER, driver)

        self.both(configure)
        script = ["set -e"]
        for number, root in enumerate(self.roots):
            script.append(f"zfs create -o mountpoint=none -o canmount=noauto -o volmode=dev {root}")
            script.append(f"zfs create -o canmount=noauto -o mountpoint={self.directory}/{number}/files {root}/files")
            script.append(f"zfs mount {root}/files")
        script.append(f"zfs create -V 8M -s {self.roots[0]}/disk")
        script.append(f"for try in $(seq 300); do [ -e /dev/zvol/{self.roots[0]}/disk ] && break; sleep 0.1; done")
        script.append(f"dd if=/dev/urandom of=/dev/zvol/{self.roots[0]}/disk bs=64k count=16 conv=fsync 2>/dev/null")
        self.a.sh("\n".join(script))
        self.write(kib=64)

    def path(self, number: int = 0) -> str:
        return f"{self.directory}/{number}/files"

    def write(self, kib: int = 64, number: int = 0, name: str = "data") -> None:
        """New random content of a file on hva."""
        self.a.sh(f"head -c {kib}k /dev/urandom > {self.path(number)}/{name}")

    def sync(self, **options: t.Any) -> dict[str, t.Any]:
        """Take a set and bring it over. :raises Failure: when that fails."""
        result = self.a.call("take_and_sync", **options)
        if result.get("failed"):
            raise Failure(result["msg"])
        return result

    def snapshots(self, host: Host) -> dict[str, list[str]]:
        """dataset -> ``NAME GUID`` of its snapshots, in the order of their createtxg."""
        listed = host.sh(f"zfs list -Hp -r -t snapshot -o name,guid -s createtxg {shlex.join(self.roots)}").splitlines()
        found: dict[str, list[str]] = {}
        for line in listed:
            name, guid = line.split("\t")
            dataset, snapshot = name.split("@")
            found.setdefault(dataset, []).append(f"{snapshot} {guid}")
        return found

    def datasets(self, host: Host) -> dict[str, str]:
        """dataset -> type."""
        listed = host.sh(f"zfs list -H -r -t filesystem,volume -o name,type {shlex.join(self.roots)}").splitlines()
        return dict(line.split("\t") for line in listed)

    def same_content(self, name: str) -> None:
        """Whether every dataset's snapshot `name` holds the same on both hosts, read without the library."""
        words = "".join(f"{kind} {dataset}@{name}\n" for dataset, kind in self.datasets(self.a).items())
        mine, theirs = self.both(lambda host: host.sh(DIGEST, stdin=words))
        assert mine.splitlines() == theirs.splitlines()
        assert len(mine.splitlines()) == len(words.splitlines())

    def correct(self, name: str, content: bool = True) -> None:
        """The replica is whole: the set on every dataset with equal GUIDs, every replica inert, nothing half received."""
        mine, theirs = self.both(self.snapshots)
        for dataset in self.datasets(self.a):
            last = [line for line in mine[dataset] if line.startswith(f"{name} ")]
            assert last, f"{dataset} has no {name}"
            assert theirs.get(dataset, [""])[-1] == last[0], f"{dataset}: {theirs.get(dataset)} and not {last}"
        columns = "name,mounted,readonly,volmode,receive_resume_token"
        for line in self.b.sh(f"zfs list -H -r -t filesystem,volume -o {columns} {shlex.join(self.roots)}").splitlines():
            dataset, mounted, readonly, volmode, token = line.split("\t")
            assert (mounted, readonly, volmode, token) in {("no", "on", "none", "-"), ("-", "on", "none", "-")}, line
        if content:
            self.same_content(name)

    def wait(self, host: Host, script: str, seconds: float = 30) -> None:
        """Until a shell script says yes."""
        deadline = time.monotonic() + seconds
        while host.sh(f"({script}) >/dev/null 2>&1 && echo yes || true") != "yes":
            assert time.monotonic() < deadline, f"{host.name}: {script!r} did not come true within {seconds:.0f} s"
            time.sleep(0.2)
