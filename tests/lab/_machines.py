# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One lab: two hosts as QEMU machines, their disks, their saved states, and the file that remembers them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import hashlib
import inspect
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import _image
import _network
from _image import LabError, say

#: The pool disks of a host, each a pool by the same name; two, as the original had.
POOL_DISKS = {"ssd": 6144, "rot": 6144}
MEMORY_MIB = 2560
FRESH = "fresh"


@dataclasses.dataclass(frozen=True)
class LabHost:
    name: str
    number: int

    @property
    def address(self) -> str:
        return f"10.42.0.{10 + self.number}"

    @property
    def address6(self) -> str:
        return f"fd42::{10 + self.number}"

    @property
    def mac(self) -> str:
        return f"52:54:00:42:00:{10 + self.number}"

    @property
    def tap(self) -> str:
        return f"tap-{self.name}"

    @property
    def vms_mac(self) -> str:
        """Of eth1, which is in its bridge for guests."""
        return f"52:54:00:42:01:{10 + self.number}"

    @property
    def vms_tap(self) -> str:
        return f"tap-{self.name}-vms"


HOSTS = (LabHost("hva", 1), LabHost("hvb", 2))


def host_named(name: str) -> LabHost:
    for host in HOSTS:
        if host.name == name:
            return host
    raise LabError(f"there is no host {name!r}: the lab has {' and '.join(h.name for h in HOSTS)}")


def alive(pid: int | None, start: str | None) -> bool:
    """Whether that very process still runs: the id alone may have been given to another."""
    return pid is not None and process_start(pid) == start and start is not None


def process_start(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        # while other threads than the first are left, QEMU still holds its disks' locks
        ended = fields[0] == "Z" and len(os.listdir(f"/proc/{pid}/task")) == 1
    except OSError:
        return None
    return None if ended else fields[19]


class Lab:
    """The lab of one name. Every method may be called from another process than the one that started it."""

    def __init__(self, name: str) -> None:
        if not name.isalnum():
            raise LabError(f"a lab's name is letters and digits, not {name!r}")
        self.name = name
        self.dir = _image.cache_dir() / f"lab-{name}"
        self.state_file = self.dir / "state.json"

    # ---- what is remembered

    def state(self) -> dict:
        try:
            return json.loads(self.state_file.read_text(encoding="ascii"))
        except FileNotFoundError:
            return {}

    def _store(self, **changes: t.Any) -> dict:
        state = {**self.state(), **changes}
        partial = self.state_file.with_suffix(".tmp")
        partial.write_text(json.dumps(state, indent=1), encoding="ascii")
        partial.replace(self.state_file)
        return state

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        self.dir.mkdir(parents=True, exist_ok=True)
        with open(self.dir / "lock", "w", encoding="ascii") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise LabError(
                    f"another command is working on the lab {self.name}; wait for it or use --name for a lab of your own"
                ) from exc
            yield

    @property
    def suite(self) -> str:
        return self.state().get("suite", _image.SUITES[0])

    def holder(self) -> int:
        entry = self.state().get("holder") or {}
        if not alive(entry.get("pid"), entry.get("start")):
            raise LabError(f"the lab {self.name} is not up: tests/lab/lab.py up")
        return entry["pid"]

    def running(self, host: LabHost) -> bool:
        entry = self.state().get("machines", {}).get(host.name) or {}
        return alive(entry.get("pid"), entry.get("start"))

    # ---- up and down

    def up(self, suite: str | None = None) -> None:
        """Both hosts booted, reachable over ssh, clocks right. From the saved first boot when there is one."""
        with self._exclusive():
            suite = suite or self.suite
            if all(self.running(host) for host in HOSTS) and self.suite == suite and self._is_of_now():
                say("both hosts are up already")
                return
            self._stop_all()
            _image.build_tools()
            images = {host.name: _image.build_image(one).name for host, one in zip(HOSTS, _image.suites_of(suite), strict=True)}
            _image.need_space(self.dir, 3000)
            state = self.state()
            fresh = state.get("images") != images or not self._is_of_now() or not self._has_state(FRESH)
            if fresh:
                self._new_disks(images)
            holder = _network.create()
            self._store(
                suite=suite,
                images=images,
                prepared=self._prepared(),
                holder={"pid": holder, "start": process_start(holder)},
                machines={},
                states=[] if fresh else self.state().get("states", []),
            )
            start = time.monotonic()
            try:
                for host in HOSTS:
                    _network.add_tap(holder, host.tap)
                    _network.add_tap(holder, host.vms_tap, _network.VMS_BRIDGE)
                    self._start(host, None if fresh else FRESH)
                say(f"booting both hosts ({suite}): about {70 if fresh else 10} s")
                self.wait_ssh(600)
                self.set_clocks()
                if fresh:
                    self._prepare_hosts()
                    self._save(FRESH)
            except BaseException:
                self._stop_all()
                raise
            say(f"both hosts are up after {time.monotonic() - start:.0f} s")

    def down(self) -> None:
        with self._exclusive():
            self._stop_all()

    def destroy(self) -> None:
        with self._exclusive():
            self._stop_all()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _stop_all(self) -> None:
        state = self.state()
        for entry in [*state.get("machines", {}).values(), *state.get("helpers", {}).values(), state.get("holder")]:
            if entry:
                _kill(entry)
        if state:
            self._store(machines={}, holder=None, helpers={})

    def _new_disks(self, images: dict[str, str]) -> None:
        for host in HOSTS:
            image = _image.cache_dir() / images[host.name]
            for old in self.dir.glob(f"{host.name}-*.qcow2"):
                old.unlink()
            self._qemu_img(
                "create",
                "-q",
                "-f",
                "qcow2",
                "-F",
                "raw",
                "-b",
                str(image / "base.ext4"),
                str(self.dir / f"{host.name}-root.qcow2"),
            )
            for disk, mib in POOL_DISKS.items():
                self._qemu_img("create", "-q", "-f", "qcow2", str(self.dir / f"{host.name}-{disk}.qcow2"), f"{mib}M")

    def _qemu_img(self, *arguments: str) -> str:
        return _image.run_or_fail([*_image.tool("qemu-img"), *arguments], f"make a disk (qemu-img {arguments[0]})")

    def _has_state(self, name: str) -> bool:
        return name in self.state().get("states", []) and all((self.dir / f"{h.name}-root.qcow2").exists() for h in HOSTS)

    def _start(self, host: LabHost, load: str | None = None) -> None:
        if not self._is_of_now():
            raise LabError(f"the lab {self.name} was made by another version of this tool: tests/lab/lab.py up makes it anew")
        image = _image.cache_dir() / self.state()["images"][host.name]
        share = _image.tools_dir() / "root/usr/share"
        address = f"ip={host.address}::{_network.GATEWAY4}:255.255.255.0:{host.name}:eth0:off"
        append = (
            f"root=/dev/vda rw console=ttyS0 net.ifnames=0 {address} systemd.hostname={host.name} mitigations=off quiet"
            f" systemd.machine_id={host.number:032x} spl.spl_hostid=0x{0x42000000 + host.number:08x}"
        )
        command = [
            *_image.tool("qemu-system-x86_64"),
            *("-L", str(share / "qemu"), "-L", str(share / "seabios")),
            *("-name", f"hvm-lab-{self.name}-{host.name}", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,-la57,-pcid", "-smp", "2", "-m", str(MEMORY_MIB)),
            *("-rtc", "base=utc,clock=host", "-device", "virtio-rng-pci"),
            *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd"), "-append", append),
            *("-serial", f"file:{self.dir / (host.name + '-console.log')}"),
            *("-qmp", f"unix:{self._qmp_path(host)},server=on,wait=off"),
            *("-netdev", f"tap,id=net0,ifname={host.tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net0,mac={host.mac},romfile="),
            # behind the first one on the bus, so this is eth1
            *("-netdev", f"tap,id=net1,ifname={host.vms_tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net1,mac={host.vms_mac},romfile="),
        ]
        for disk in ("root", *POOL_DISKS):
            # writeback: what the guest has flushed survives a kill -9 of this process, as on a power cut.
            command += ["-drive", f"file={self.dir}/{host.name}-{disk}.qcow2,if=none,id={disk},cache=writeback,discard=unmap"]
            command += ["-device", f"virtio-blk-pci,drive={disk},serial={disk}"]
        if load:
            command += ["-loadvm", load]
        with open(self.dir / f"{host.name}-qemu.log", "ab") as log:
            process = subprocess.Popen(
                _network.enter(self.holder(), command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PATH": _image._path()},
            )
        machines = {**self.state().get("machines", {}), host.name: {"pid": process.pid, "start": process_start(process.pid)}}
        self._store(machines=machines)
        deadline = time.monotonic() + 60
        while True:
            if process.poll() is not None:
                tail = (self.dir / f"{host.name}-qemu.log").read_text(errors="replace").strip().splitlines()[-3:]
                raise LabError(f"QEMU of {host.name} did not start: {' / '.join(tail)}")
            try:
                self.monitor(host, "info status")
                return
            except (OSError, LabError) as exc:
                if time.monotonic() > deadline:
                    raise LabError(f"QEMU of {host.name} does not answer: {exc}") from exc
                time.sleep(0.1)

    def _qmp_path(self, host: LabHost) -> Path:
        path = self.dir / f"{host.name}.qmp"
        if len(str(path)) > 100:
            raise LabError(f"the path {path} is too long for a socket: set HVM_LAB_CACHE to a shorter place")
        return path

    # ---- the monitor: freezing and thawing whole hosts

    def monitor(self, host: LabHost, *lines: str, timeout: float = 120) -> list[str]:
        """Commands of QEMU's human monitor, with what each printed."""
        answers = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(self._qmp_path(host)))
            stream = connection.makefile("rw", encoding="utf-8")
            stream.readline()
            for command in [{"execute": "qmp_capabilities"}] + [
                {"execute": "human-monitor-command", "arguments": {"command-line": line}} for line in lines
            ]:
                stream.write(json.dumps(command) + "\n")
                stream.flush()
                while True:
                    text = stream.readline()
                    if not text:
                        raise LabError(f"QEMU of {host.name} closed its monitor")
                    reply = json.loads(text)
                    if "error" in reply:
                        raise LabError(f"QEMU of {host.name}: {reply['error']['desc']}")
                    if "return" in reply:
                        answers.append(reply["return"])
                        break
        return answers[1:]

    def _on_both(self, *lines: str) -> None:
        with concurrent.futures.ThreadPoolExecutor(len(HOSTS)) as pool:
            for host, answers in zip(HOSTS, pool.map(lambda h: self.monitor(h, *lines, timeout=300), HOSTS), strict=True):
                said = "".join(answers).strip()
                if said:
                    raise LabError(f"QEMU of {host.name}: {said}")

    def _save(self, name: str) -> None:
        self._on_both("stop")
        try:
            if self._has_state(name):
                self._on_both(f"delvm {name}")
            self._on_both(f"savevm {name}")
        finally:
            self._on_both("cont")
        self._store(states=sorted({*self.state().get("states", []), name}))

    def save(self, name: str) -> None:
        """Freeze both hosts as they are, under a name to come back to."""
        if not name.isidentifier():
            raise LabError(f"a state's name is letters, digits and _, not {name!r}")
        with self._exclusive():
            self._both_running()
            start = time.monotonic()
            self._save(name)
        say(f"saved both hosts as {name} in {time.monotonic() - start:.1f} s")

    def reset(self, name: str) -> None:
        """Both hosts back to a saved state, links up, clocks right; also after a power cut."""
        with self._exclusive():
            if not self._has_state(name):
                raise LabError(f"there is no state {name!r}; saved are: {', '.join(self.state().get('states', [])) or 'none'}")
            start = time.monotonic()
            holder = self.holder()
            for host in HOSTS:
                _network.set_link(holder, host.tap, True)
                _kill(self.state().get("machines", {}).get(host.name) or {})
            for host in HOSTS:
                self._start(host, name)
            self.wait_ssh(120)
            self.set_clocks()
        say(f"both hosts are back at {name} after {time.monotonic() - start:.1f} s")

    def _both_running(self) -> None:
        for host in HOSTS:
            if not self.running(host):
                raise LabError(f"{host.name} has no power: tests/lab/lab.py power {host.name} on")

    # ---- bad weather

    def power(self, host: LabHost, on: bool) -> None:
        with self._exclusive():
            if on:
                if self.running(host):
                    say(f"{host.name} has power already")
                    return
                self._start(host)
                self.wait_ssh(300, (host,))
                say(f"{host.name} has booted")
            else:
                self.holder()
                _kill(self.state().get("machines", {}).get(host.name) or {})
                say(f"{host.name} has lost its power")

    def link(self, host: LabHost, up: bool) -> None:
        _network.set_link(self.holder(), host.tap, up)
        say(f"the link of {host.name} is {'up' if up else 'cut'}")

    # ---- talking to the hosts

    def ssh_options(self) -> list[str]:
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "GlobalKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "ConnectTimeout": "10",
            "ServerAliveInterval": "10",
        }
        return ["-F", "/dev/null", "-i", str(_image.ssh_key())] + [f"-o{key}={value}" for key, value in options.items()]

    def ssh_command(self, host: LabHost, command: list[str]) -> list[str]:
        return _network.enter(self.holder(), ["ssh", *self.ssh_options(), f"root@{host.address}", *command])

    def exec_command(self, command: list[str]) -> list[str]:
        return _network.enter(self.holder(), command)

    def run(
        self, host: LabHost, script: str, timeout: float = 120, check: bool = True, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess:
        """Run a shell script on a host."""
        # never ours: ssh makes it non-blocking and, when it is killed, leaves it so; Ansible refuses to run with that
        result = subprocess.run(
            self.ssh_command(host, [shlex.join(["sh", "-c", script])]),
            input=stdin or b"",
            capture_output=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "PATH": _image._path()},
        )
        if check and result.returncode:
            raise LabError(
                f"{host.name}: {script[:80]!r} failed ({result.returncode}): "
                f"{result.stderr.decode(errors='replace').strip()[-400:]}"
            )
        return result

    def wait_ssh(self, seconds: float, hosts: tuple[LabHost, ...] = HOSTS) -> None:
        deadline = time.monotonic() + seconds
        last = time.monotonic()
        waiting = list(hosts)
        while waiting:
            for host in list(waiting):
                if not self.running(host):
                    raise LabError(f"QEMU of {host.name} has ended; see {self.dir / (host.name + '-qemu.log')}")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    if self.run(host, "true", timeout=15, check=False).returncode == 0:
                        waiting.remove(host)
            if not waiting:
                return
            if time.monotonic() > deadline:
                names = ", ".join(h.name for h in waiting)
                raise LabError(
                    f"{names} did not answer over ssh within {seconds:.0f} s; its console is in {self.dir}/NAME-console.log"
                )
            if time.monotonic() - last > 15:
                last = time.monotonic()
                say(f"waiting for {', '.join(h.name for h in waiting)}")
            time.sleep(0.5)

    def set_clocks(self) -> None:
        """A host that was frozen has the time of its freezing; give it ours."""
        with concurrent.futures.ThreadPoolExecutor(len(HOSTS)) as pool:
            list(pool.map(lambda host: self.run(host, f"date -u -s @{time.time() + 0.1:.3f} >/dev/null"), HOSTS))

    def _is_of_now(self) -> bool:
        """Whether its disks and states are of hosts that this tool would make: a state only fits the machine it was saved on."""
        return self.state().get("prepared") == self._prepared()

    @staticmethod
    def _prepared() -> str:
        """Digest of what makes a first boot what it is, so that an old one is not taken for it."""
        code = [inspect.getsource(one) for one in (Lab._prepare_hosts, Lab._start, LabHost)]
        parts = [code, POOL_DISKS, MEMORY_MIB]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]

    def _prepare_hosts(self) -> None:
        """What a bare hypervisor has before this project touches it: pools, a second address, a bridge for its guests."""

        def prepare(host: LabHost) -> None:
            pools = "\n".join(
                f"zpool create -f -O mountpoint=none -O atime=off {pool} /dev/disk/by-id/virtio-{pool}" for pool in POOL_DISKS
            )
            names = "\n".join(f"{h.address} {h.name}" for h in HOSTS)
            self.run(
                host,
                f"""set -e
modprobe zfs
printf '%s\\n' '{names}' >> /etc/hosts
mkdir -p /etc/systemd/network
cat > /etc/systemd/network/10-eth0.network <<'END'
[Match]
Name=eth0
[Network]
Address={host.address}/24
Address={host.address6}/64
Gateway={_network.GATEWAY4}
IPv6AcceptRA=no
END
cat > /etc/systemd/network/20-br-vms.netdev <<'END'
[NetDev]
Name=br-vms
Kind=bridge
[Bridge]
STP=no
ForwardDelaySec=0
END
cat > /etc/systemd/network/10-eth1.network <<'END'
[Match]
Name=eth1
[Network]
Bridge=br-vms
LinkLocalAddressing=no
IPv6AcceptRA=no
END
cat > /etc/systemd/network/20-br-vms.network <<'END'
[Match]
Name=br-vms
[Link]
ActivationPolicy=always-up
[Network]
ConfigureWithoutCarrier=yes
LinkLocalAddressing=no
END
networkctl reload
forwards() {{ test "$(cat /sys/class/net/br-vms/brif/eth1/state 2>/dev/null)" = 3; }}
for i in $(seq 300); do forwards && break; sleep 0.1; done
forwards
{pools}
sync
""",
                timeout=180,
            )

        with concurrent.futures.ThreadPoolExecutor(len(HOSTS)) as pool:
            list(pool.map(prepare, HOSTS))

    # ---- helpers that live as long as the lab (the witness)

    def start_helper(self, name: str, command: list[str], log: Path, ready: Path) -> None:
        """:param ready: it makes this file when it is at work; only then one of before ends."""
        before = self.state().get("helpers", {}).get(name)
        with open(log, "ab") as out:
            process = subprocess.Popen(
                self.exec_command(command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, "PATH": _image._path()},
            )
        deadline = time.monotonic() + 60
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise LabError(f"{name} does not start: see {log}")
            time.sleep(0.05)
        self._store(helpers={**self.state().get("helpers", {}), name: {"pid": process.pid, "start": process_start(process.pid)}})
        if before:
            _kill(before, signal.SIGTERM)

    def stop_helper(self, name: str) -> None:
        helpers = dict(self.state().get("helpers", {}))
        entry = helpers.pop(name, None)
        if entry:
            _kill(entry, signal.SIGTERM)
            self._store(helpers=helpers)


def _kill(entry: dict, sig: int = signal.SIGKILL) -> None:
    pid, start = entry.get("pid"), entry.get("start")
    if not alive(pid, start):
        return
    os.kill(pid, sig)
    deadline = time.monotonic() + 20
    while alive(pid, start):
        if time.monotonic() > deadline:
            if sig == signal.SIGKILL:
                raise LabError(f"process {pid} does not end")
            os.kill(pid, signal.SIGKILL)
            sig, deadline = signal.SIGKILL, time.monotonic() + 20
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)
