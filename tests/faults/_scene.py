# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hands of the fault matrix: the pair with its control nodes, a watch on a step, the faults, and what mends them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shlex
import signal
import subprocess
import tempfile
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import _guests
import _hostside
import _judge
import _world
from _hosts import DRIVER, Host, ansible, finish
from _machines import Lab

from ansible_collections.hvm.pair.plugins.module_utils._command.words import ours
from ansible_collections.hvm.pair.plugins.module_utils._report import status

ROOT = Path(__file__).resolve().parents[2]
WATCH = "/run/hvm-faults-watch.py"
#: A dataset beside the roots; its reservation takes all that is left of a pool.
FILLER = "hvm-faults-filler"
#: Seconds: of a playbook; for a step to begin; until both hosts work on nothing any more.
PLAYBOOK, STEP, REST = 900.0, 420.0, 600.0
#: Seconds for which the step is held while a fault is made; a watch behind a link that is cut cannot be told to go on.
HOLD, HOLD_CUT = 30.0, 5.0
#: A host that is gone is noticed in 20 s instead of ansible.cfg's minute, which is how long a fault lasts then. The hosts have no
#: more patience with each other (_peer/dial.py).
NOTICED = ("-oServerAliveInterval=5", "-oServerAliveCountMax=3")
KEEPALIVE = " ".join(["-oControlMaster=auto", "-oControlPersist=10m", *NOTICED])
#: Takes all that is left of a pool. What is on its way there may come in between, so it is tried again.
FILL = """
for pool in ssd rot; do
  for attempt in 1 2 3 4 5; do
    left=$(zfs get -Hp -o value available $pool) || exit 1
    options="-o mountpoint=none -o canmount=off -o reservation=$((left - 262144))"
    zfs create $options $pool/{filler} && continue 2
  done
  exit 1
done
"""
#: Cells on one pair: each leaves two sets more, and with 600 snapshots an emulated host takes 5 s to list them.
CHAIN = 12
#: The most pieces of advice that are followed; `hvm` recovers one host at a time.
ROUNDS, ROUNDS_TYPED = 3, 5
#: The host on which `hvm` says that it has to be typed.
_THERE = re.compile(r"\b(?:Go on|Run it) there, on (\w+)")


class Trouble(AssertionError):
    """What happened is not what had to."""


class ControlNode:
    """Where Ansible runs: its connections are its own, so that it can die alone."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._sockets = str(lab.dir / f"{name}-")
        hosts = _hostside.inventory(lab)
        hosts["hvm"]["vars"]["ansible_ssh_args"] = KEEPALIVE
        inventory = json.dumps(hosts, indent=1).replace(str(lab.dir / "cp-"), self._sockets)
        self._inventory = lab.dir / f"inventory-{name}.json"
        self._inventory.write_text(inventory, encoding="ascii")
        self.name = name

    def start(self, playbook: str, *words: str) -> Run:
        command = ["ansible-playbook", f"{playbook}.yml", "-i", str(self._inventory)]
        return Run([*command, *(word for one in words for word in ("-e", one))], playbook)

    def run(self, playbook: str, *words: str) -> Run:
        """One that ends. :raises Trouble: when it does not."""
        run = self.start(playbook, *words)
        run.wait()
        return run

    def module(self, host: str, name: str, *words: str) -> Run:
        run = Run(["ansible", host, "-i", str(self._inventory), "-m", f"hvm.pair.{name}", "-a", " ".join(words)], name)
        run.wait()
        return run

    def kill(self, run: Run) -> None:
        """Its power goes: Ansible, and what keeps its connections."""
        run.kill()
        self.forget()

    def forget(self) -> None:
        """No connection of this node is kept. They are named by their sockets, which are in this lab's own directory."""
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self._sockets in (entry / "cmdline").read_text(errors="replace"):
                    os.kill(int(entry.name), signal.SIGKILL)


class Run:
    """A playbook, a module, or a command on a host, while it runs."""

    def __init__(self, command: t.Sequence[str], name: str) -> None:
        self.name = name
        self._out = tempfile.TemporaryFile()  # noqa: SIM115  as long as this object
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1"},
        )

    def wait(self, timeout: float = PLAYBOOK) -> bool:
        """Whether it has succeeded. :raises Trouble: when it does not end in time."""
        try:
            return self.process.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            self.kill()
            raise Trouble(f"{self.name} does not end within {timeout:.0f} s: {self.tail()}") from None

    def kill(self) -> None:
        """All of it: Ansible's workers have sessions of their own."""
        for pid in [self.process.pid, *below(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)

    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def output(self) -> str:
        """So far. Its offset is the one at which the process goes on to write, so it is left alone."""
        return os.pread(self._out.fileno(), 1 << 24, 0).decode(errors="replace")

    def tail(self, size: int = 3000) -> str:
        return self.output.strip()[-size:]


def no_bug(run: Run) -> None:
    """:raises Trouble: when it has ended by a fault of ours, however well the pair comes out of it."""
    said = _judge.bug(run.output)
    if said:
        raise Trouble(f"{run.name} says: {said}\n{run.tail()}")


def below(pid: int) -> list[int]:
    """A process's children, and theirs."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents.setdefault(int(path.read_text().rsplit(")", 1)[1].split()[1]), []).append(int(path.parent.name))
    found: list[int] = []
    left = [pid]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found


def typed(host: Host, command: str) -> Run:
    """`hvm` on a host, over a connection of its own: that is noticed to be dead as soon as a control node's."""
    return Run(host._ssh([command], ["-oControlMaster=no", "-oControlPath=none", *NOTICED]), command)


def command(what: str, words: t.Sequence[str]) -> str:
    """What is typed on a host for a playbook with its variables, or for the module hvm_vm with its arguments."""
    if what == "hvm_vm":
        state, names = words
        return " ".join([ours(f"{what} {state}"), *names.removeprefix("name=").split(",")])
    return ours(" ".join([f"hvm.pair.{what}", *words]))


class Watch:
    """The step of a procedure on a host, seen and held from there."""

    def __init__(self, host: Host, sign: t.Mapping[str, t.Any], hold: float = HOLD) -> None:
        argument = shlex.quote(json.dumps({"sign": sign, "timeout": STEP, "hold": hold}))
        words = host._ssh([f"exec /usr/bin/python3 -IBS {WATCH} {argument}"])
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._said = t.cast(t.IO[str], self.process.stdout)
        self.hold = hold
        self.began = 0.0
        assert self._said.readline().strip() == "watching"

    def wait(self, run: Run) -> dict[str, t.Any]:
        """Until the step has begun; it stands still then. :raises Trouble: when the procedure ends without it."""
        deadline = time.monotonic() + STEP
        while time.monotonic() < deadline:
            if select.select([self._said], [], [], 0.2)[0]:
                line = self._said.readline()
                self.began = time.monotonic()
                if line:
                    return t.cast("dict[str, t.Any]", json.loads(line))
                break
            if not run.running() and not select.select([self._said], [], [], 1.0)[0]:
                break
        raise Trouble(f"{run.name} did not come to this step: {run.tail()}")

    def go_on(self) -> None:
        """:raises Trouble: when it went on by itself before the fault was made."""
        late = time.monotonic() - self.began
        with contextlib.suppress(OSError):
            t.cast(t.IO[str], self.process.stdin).write("\n")
            t.cast(t.IO[str], self.process.stdin).flush()
        if late > self.hold:
            raise Trouble(f"the fault took {late:.1f} s, and the step was held for {self.hold:.0f} s only")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def _version() -> str:
    """Of all that is on the hosts; "" when it is not committed."""
    parts = ("plugins", "roles", "playbooks", "tests/lab")
    git = ["git", "-C", str(ROOT)]
    if subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *parts], check=False).returncode:
        return ""
    trees = [f"HEAD:{part}" for part in parts]
    return subprocess.run([*git, "rev-parse", *trees], capture_output=True, text=True, check=False).stdout


class World(_world.World):
    """The pair with the lab's VMs as they are, one completed set on both hosts, and control nodes."""

    #: Those of the lab's VMs that run, unless some are chosen.
    all: t.ClassVar[list[str]] = [vm.name for vm in _guests.VMS if vm.running]
    #: They only count; the tests of memory have them write as well.
    load: t.ClassVar[dict[str, int]] = {}
    enough = 4
    ready = "faults"
    #: Whether procedures and remedies are typed on the hosts, or are playbooks.
    typing = False
    #: Cells that have gone on from the one before.
    _chained = 0

    def __init__(self, lab: Lab, running: t.Collection[str] = ()) -> None:
        """:param running: names of those of the lab's VMs that are made, besides those that do not run; none: all of them."""
        chosen = set(running or self.all)
        assert chosen <= set(self.all), f"{sorted(chosen - set(self.all))}: not among {', '.join(self.all)}"
        self.vms = [vm for vm in _guests.VMS if not vm.running or vm.name in chosen]
        super().__init__(lab)
        if running:  # a ready state of its own
            self.ready = f"faults_{'_'.join(sorted(running))}"
        self.node = ControlNode(lab, "cn1")
        self.other_node = ControlNode(lab, "cn2")
        self.autostart = [vm.name for vm in self.vms if vm.running and vm.autostart]
        self._first = self.a.name  # which one is ACTIVE in the ready state
        #: What the last completed set has at least: that of the ready state, and the one that counts now.
        self._floor: dict[str, int] = {}
        self.floor: dict[str, int] = {}
        self.booting = 0.0
        self._before: dict[str, int] = {}
        self._lap = time.monotonic()
        #: The ACTIVE host of a pair that is whole, and what its last completed set has at least; None when there is none.
        self._whole: tuple[Host, dict[str, int]] | None = None

    def make_ready(self, again: bool = False) -> None:
        """:param again: from the state that was saved before, if it was: as it is, or with this version over it."""
        noted = self.lab.dir / f"{self.ready}.json"
        version = _version()
        if again and self.ready in self.lab.state().get("states", []):
            known = json.loads(noted.read_text(encoding="ascii")) if noted.exists() else {}
            if version and known.get("version") == version:
                self._floor = known["floor"]
                return
            self.lab.reset(self.ready)
            ansible(self.lab, "ansible-playbook", "install.yml")
        else:
            self.make()
        noted.unlink(missing_ok=True)
        self.listen()
        self._floor = self.counts()
        run = self.node.run("backup_secure")
        assert run.process.returncode == 0, run.tail()
        self.heard()
        self.lab.save(self.ready)
        noted.write_text(json.dumps({"version": version, "floor": self._floor}), encoding="ascii")

    def take_over(self) -> None:
        """The pair as it is, with the lab's VMs running: what a scenario has left. The first cell goes on from it."""
        for host in (self.a, self.b):
            self.arm(host)
        self.listen()
        active = self.active()
        said = self.next_backup(active)
        assert said == []
        self._first, self._floor = active.name, self._before
        self.heard()
        (self.lab.dir / f"{self.ready}.json").unlink(missing_ok=True)  # what was known of the state before
        self.lab.save(self.ready)
        self.is_whole(active, self.names)

    def fresh(self) -> None:
        self.node.forget()
        self.other_node.forget()
        self._whole = None
        self._chained = 0
        self.a, self.b = sorted((self.a, self.b), key=lambda host: host.name != self._first)
        super().fresh()
        self.booting, self.typing, self.floor = 0.0, False, self._floor
        for host in (self.a, self.b):
            self.arm(host)

    def go_on(self) -> None:
        """The pair as the last cell left it, when that was whole: `a` is the ACTIVE host. Else as it was made."""
        if self._whole is None or self._chained >= CHAIN:
            self.fresh()
            return
        self._chained += 1
        active, self.floor = self._whole
        self._whole = None
        if active is self.b:
            self.a, self.b = self.b, self.a
        self.node.forget()
        self.booting, self.typing = 0.0, False
        self.listen()

    def is_whole(self, active: Host, names: t.Collection[str]) -> None:
        """A cell has passed, with its next backup: the next one may go on from here, if these VMs are all of them."""
        if set(names) == set(self.names):
            self._whole = active, self._before

    def arm(self, host: Host) -> None:
        """The tests' own tools; a reboot has emptied /run."""
        host.put(DRIVER, (ROOT / "tests/zfs/_driver.py").read_text(encoding="utf-8"))
        host.put(WATCH, (Path(__file__).parent / "_watch.py").read_text(encoding="utf-8"))

    def lap(self, what: str) -> None:
        """Show how long this took."""
        now = time.monotonic()
        print(f"    {now - self._lap:4.0f} s: {what}", flush=True)
        self._lap = now

    def counts(self) -> dict[str, int]:
        """The last that was heard of each VM."""
        return {beat["vm"]: beat["counter"] for beat in self.beats() if beat["kind"] in "BC"}

    def on(self) -> list[Host]:
        return [host for host in (self.a, self.b) if self.lab.running(host.host)]

    # ---- faults, and what mends them

    def power(self, host: Host, on: bool) -> None:
        began = time.monotonic()
        self.lab.power(host.host, on)
        host.forget()
        if on:
            self.booting += time.monotonic() - began
            self.arm(host)

    def link(self, host: Host, up: bool) -> None:
        self.lab.link(host.host, up)
        if up:
            host.forget()
            self.lab.wait_ssh(60, (host.host,))  # who has asked for it in vain knows that for some seconds (arp(7))

    def fill(self, host: Host) -> None:
        """Nothing can be written to the pools any more."""
        host.sh(FILL.format(filler=FILLER))

    def free(self, host: Host) -> None:
        host.sh(f"for pool in ssd rot; do zfs destroy $pool/{FILLER} || exit 1; done")

    def kill_libvirtd(self, host: Host) -> None:
        host.sh("systemctl is-active libvirtd.service && systemctl kill -s KILL libvirtd.service")

    # ---- what the operator does afterwards

    def at_rest(self) -> None:
        """Until nobody works on either host: a procedure goes on without its control node."""
        free = "[ ! -e /run/hvm/lock ] || flock -sn /run/hvm/lock true"
        for host in self.on():
            deadline = time.monotonic() + REST
            while host.sh(f"({free}) && echo free || true") != "free":
                if time.monotonic() > deadline:
                    raise Trouble(f"{host.name} is still at work after {REST:.0f} s: {host.sh('cat /run/hvm/lock')}")
                time.sleep(1)

    def follow_advice(self) -> list[str]:
        """What `status` says, until it says nothing more. :return: the playbooks that were run, with their words.

        :raises Trouble: when it still has advice after three pieces of it.
        """
        did: list[str] = []
        while True:
            self.at_rest()
            said = self.status()
            advice = _judge.advised(said)
            if not advice:
                return did
            if len(did) == (ROUNDS_TYPED if self.typing else ROUNDS):
                raise Trouble(f"after {', '.join(did)} status still says {advice}: {said[-3000:]}")
            one = advice[0]
            words = self._words(one, did)
            if self.typing:
                run = self._type(one, words)
            else:
                run = self.node.module(one.host, one.what, *words) if one.is_module else self.node.run(one.what, *words)
            did.append(" ".join([one.what, *words]))
            print(f"{did[-1]}: {'succeeded' if run.process.returncode == 0 else 'failed'}\n{run.tail(1500)}", flush=True)
            no_bug(run)

    def begin(self, host: Host, playbook: str, *words: str) -> Run:
        """A procedure, as its operator begins it: on the host that acts, or from the control node."""
        return typed(host, command(playbook, words)) if self.typing else self.node.start(playbook, *words)

    def _type(self, one: _judge.Advice, words: t.Sequence[str]) -> Run:
        """On the host that shows it; where that says that it has to be the other one, there."""
        hosts = {host.name: host for host in (self.a, self.b)}
        run = typed(hosts[one.host], command(one.what, words))
        run.wait()
        there = _THERE.search(run.output)
        if run.process.returncode and there:
            run = typed(hosts[there[1]], command(one.what, words))
            run.wait()
        return run

    def status(self) -> str:
        """As the playbook shows it, of the hosts that have power, by `hvm` on each: a module is compiled anew for each task, and
        that takes an emulated host long.
        """
        with ThreadPoolExecutor() as pool:
            found = [json.loads(said) for said in pool.map(lambda host: host.sh("hvm status --json"), self.on())]
        return "\n".join(f"ok: [{one['hvm']['host']}] => {json.dumps({'msg': status.status(one)}, indent=1)}" for one in found)

    def _words(self, advice: _judge.Advice, did: t.Sequence[str]) -> list[str]:
        """Those of the advice, and what only the operator knows: which host is off, and, once it was shown, what may go."""
        off = [host.name for host in (self.a, self.b) if host not in self.on()]
        words = list(advice.words)
        if off and advice.what in ("recover", "failover"):
            words.append(f"hvm_{'peer_is_down' if advice.what == 'recover' else 'dead_host'}={off[0]}")
        if advice.what == "rejoin" and "rejoin" in did:
            words += ["hvm_rejoin=discard", f"hvm_discard={advice.host}"]
        return words

    # ---- what is true then

    def observe(self, host: Host) -> dict[str, t.Any]:
        return self.looks([host])[0]

    def looks(self, hosts: t.Sequence[Host] | None = None) -> list[dict[str, t.Any]]:
        """What each host that has power shows, looked at at the same time."""
        looks = []
        for host, process in [(host, host.begin("observe")) for host in (self.on() if hosts is None else hosts)]:
            found = finish(process)
            if found.get("failed"):
                raise Trouble(f"{host.name} cannot be looked at: {found['msg']}")
            looks.append(found)
        return looks

    def snapshots(self, host: Host) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in host.sh("zfs list -Hp -r -t snapshot -o name,guid -s createtxg ssd/shared rot/shared").splitlines():
            name, guid = line.split("\t")
            dataset, snapshot = name.split("@")
            found.setdefault(dataset, []).append(f"{snapshot} {guid}")
        return found

    def evidence(self) -> str:
        """What to look at when something is wrong."""
        script = (
            "cat /var/lib/hvm/role.json /var/lib/hvm/journal.json /run/hvm/lock; virsh -q list --all; "
            "ls -A /var/lib/libvirt/hvm; zfs list -o name,written,mounted,readonly -r ssd/shared rot/shared; ip -br addr"
        )
        return "\n".join(f"--- {host.name}\n{host.sh(f'({script}) 2>&1', check=False)}" for host in self.on())

    def active(self, looks: t.Sequence[t.Mapping[str, t.Any]] | None = None) -> Host:
        """:param looks: of just now, when there are any. :raises Trouble: when not exactly one is."""
        found = [one["host"] for one in (self.looks() if looks is None else looks) if one["role"]["now"] == "ACTIVE"]
        if len(found) != 1:
            raise Trouble(f"{len(found)} hosts are ACTIVE")
        return next(host for host in (self.a, self.b) if host.name == found[0])

    def booted(self, active: Host, may_boot: t.Collection[str]) -> list[str]:
        """Before the next backup: that one lets every VM go on from its memory. :return: what is wrong."""
        script = 'for vm in $(virsh -q list --name); do echo "$vm $(virsh -q domstate --reason $vm)"; done'
        return _judge.booted(dict(line.split(" ", 1) for line in active.sh(script).splitlines() if " " in line), may_boot)

    def next_backup(self, active: Host | None = None) -> list[str]:
        """A backup with all memories passes, comes over as an increment, and leaves nothing half behind; by `hvm`, as with
        `status`. :return: what is wrong.
        """
        active = active or self.active()
        self._before = self.counts()
        old = {name.split()[0] for host in self.on() for names in self.snapshots(host).values() for name in names}
        *said, code = active.sh("hvm backup secure 2>&1; echo $?", check=False, timeout=PLAYBOOK).splitlines() or [""]
        if code != "0":
            return [f"the next backup fails: {' '.join(said)[-3000:]}"]
        mine = self.snapshots(active)
        theirs = self.snapshots(self.b if active is self.a else self.a)
        newest = mine["ssd/shared"][-1].split()[0]
        wrong = [] if newest not in old and newest.endswith("_B") else [f"the next backup has taken no set B: {newest} is there"]
        half = active.sh(f"ls -A {_world.STATE_DIR} | grep -E '[.](partial|live)$' || true").split()
        wrong += [f"half images are left: {', '.join(half)}"] if half else []
        return wrong + _judge.incremental(mine, theirs, newest)
