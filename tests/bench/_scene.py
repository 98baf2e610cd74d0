# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is measured on: a pair whose hosts hold the same 40 datasets with 200 snapshots each, and one large dataset.

Receiving 8000 snapshots would take hours under emulation. So the pool is made on one host, in a file, and the file is copied
to the other: every GUID is the same on both, as on a replica that was received.
"""

from __future__ import annotations

import datetime
import hashlib
import inspect
import json
import os
import shlex
import subprocess
import sys
import typing as t
from pathlib import Path

import _hostside
import _image
import _tools
from _image import LabError, say
from _machines import FRESH, HOSTS, Lab

ROOT = Path(__file__).resolve().parents[2]
ACTIVE, PASSIVE = HOSTS
PAIR = "lab"

MANY = "bench/vms"
FILESYSTEMS, VOLUMES = 20, 19
DATASETS = 1 + FILESYSTEMS + VOLUMES  # the root itself is one
SNAPSHOTS = 200
LARGE = "ssd/large"
LARGE_MIB = 256
FIRST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

POOL_FILE = "/var/lib/hvm-bench.pool"

#: Written to on every dataset before each round of small changes.
CHANGED_KIB = 64

MAKE_POOL = f"""
set -e
truncate -s 2560M {POOL_FILE}
zpool create -O mountpoint=none -O atime=off -O compression=lz4 bench {POOL_FILE}
zfs create -o canmount=noauto -o mountpoint=/srv/bench/root -o autobackup:bench=true -o volmode=dev {MANY}
for i in $(seq 1 {FILESYSTEMS}); do
  zfs create -o canmount=noauto -o mountpoint=/srv/bench/$i {MANY}/f$i
done
for i in $(seq 1 {VOLUMES}); do
  zfs create -s -V 64M {MANY}/v$i
done
"""

#: Everything that is mounted on an ACTIVE host, and the devices of the zvols.
OPEN = f"""
set -e
zfs set readonly=off volmode=dev {MANY}
for dataset in $(zfs list -H -o name -r -t filesystem {MANY}); do zfs mount $dataset; done
udevadm settle
for i in $(seq 1 {VOLUMES}); do
  for n in $(seq 1 100); do [ -b /dev/zvol/{MANY}/v$i ] && break; sleep 0.1; done
  [ -b /dev/zvol/{MANY}/v$i ]
done
"""

CLOSE = f"""
set -e
for dataset in $(zfs list -H -o name -r -t filesystem {MANY} | sort -r); do zfs unmount $dataset; done
zpool export bench
"""

COPY = f"""
set -e
tar -C /var/lib -cSf - {os.path.basename(POOL_FILE)} | zstd -q -1 -T0 | ssh {PASSIVE.name} 'zstd -q -d | tar -C /var/lib -xSf -'
zpool import -d {POOL_FILE} bench
"""

#: A pair that has synced before: it knows that it holds nothing. Without that, the first sync of all looks at every snapshot.
LEDGER = "echo '{}' > /var/lib/hvm/holds.json"

REPLICA = f"""
set -e
zpool import -N -d {POOL_FILE} bench
zfs set readonly=on volmode=none {MANY}
"""

MAKE_LARGE = f"""
set -e
zfs create -o canmount=noauto -o mountpoint=/srv/large {LARGE}
zfs mount {LARGE}
head -c {LARGE_MIB}M /dev/urandom > /srv/large/disk
"""

#: For zfs-autobackup, as its documentation advises for speed; bzfs does the same by itself, and so does syncoid within one run.
SSH_CONFIG = """Host *
  ControlMaster auto
  ControlPath /run/hvm-bench-%C
  ControlPersist 3600
"""

#: Counts what is called; in the PATH of every tool only while something is counted.
COUNTER = """#!/bin/sh
echo "{name}" >> /run/hvm-bench-count
exec {path} "$@"
"""
COUNTED = {"zfs": "/usr/sbin/zfs", "zpool": "/usr/sbin/zpool"}


def set_name(number: int) -> str:
    """The snapshot set of that number, in the pair's own form; a minute lies between two."""
    return f"hvm_{(FIRST + datetime.timedelta(minutes=number)).strftime('%Y%m%dT%H%M%SZ')}_{PAIR}_C"


LARGE_SET = set_name(1_000_000)


def state_name(lab: Lab) -> str:
    """The saved state of a prepared lab; another one as soon as the recipe is another."""
    recipe = [inspect.getsource(sys.modules[__name__]), inspect.getsource(_tools)]
    return "bench_" + hashlib.sha256(repr(recipe).encode()).hexdigest()[:10]


def prepare(lab: Lab, first: t.Mapping[str, t.Sequence[str]]) -> None:
    """The lab up, with everything in place and the library of this checkout on both hosts. Quick when it was prepared before.

    :param first: commands by tool, run once before the state is saved, with nothing to send.
    """
    lab.up()
    state = state_name(lab)
    if state in lab.state().get("states", []):
        lab.reset(state)
        say("bringing the hosts to the version of this checkout")
        scripts(lab)
        ansible(lab, "ansible", "hvm", "-m", "hvm.pair.hvm_agent")
        return
    say("nothing is prepared yet: this takes about 15 minutes, once")
    lab.reset(FRESH)
    ansible(lab, "ansible-playbook", "install.yml")
    _tools.install(lab, lab.suite)
    scripts(lab)
    _keys(lab)
    _datasets(lab)
    point_pair_at(lab, MANY)
    for tool, command in first.items():
        say(f"{tool}: the first run, which reads everything")
        ran = timed(lab, command, 3600)
        if ran.rc:
            raise LabError(f"{tool} failed ({ran.rc}): {(ran.err or ran.out).strip()[-800:]}")
    lab.save(state)


def ansible(lab: Lab, program: str, *words: str) -> str:
    """Run one of Ansible's programs on the pair; what it said. :raises LabError: when it failed."""
    inventory = _hostside.write_inventory(lab)
    result = subprocess.run(
        lab.exec_command([program, "-i", str(inventory), *words]),
        cwd=ROOT,
        env={**os.environ, "PATH": _image._path(), "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise LabError(f"{program} {' '.join(words)} failed: {(result.stdout + result.stderr).strip()[-1500:]}")
    return result.stdout


def ansible_sync(lab: Lab) -> str:
    """The sync as a task of Ansible."""
    return ansible(lab, "ansible", ACTIVE.name, "-m", "hvm.pair.hvm_zfs_sync")


def scripts(lab: Lab) -> None:
    here = Path(__file__).parent
    for host in HOSTS:
        for name in ("_timed.py", "_ours.py"):
            lab.run(host, f"cat > {_tools.HOME}/{name}", stdin=(here / name).read_bytes())
        for name, path in COUNTED.items():
            text = COUNTER.format(name=name, path=path)
            lab.run(host, f"mkdir -p {_tools.HOME}/count && cat > {_tools.HOME}/count/{name}", stdin=text.encode())
        lab.run(host, f"chmod 755 {_tools.HOME}/count/*")
    lab.run(ACTIVE, f"cat > {_tools.HOME}/ssh_config", stdin=SSH_CONFIG.encode())


def _keys(lab: Lab) -> None:
    """The peers' way in: a key of root's own; ours has its own key already."""
    lab.run(ACTIVE, "test -e /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
    public = lab.run(ACTIVE, "cat /root/.ssh/id_ed25519.pub").stdout
    lab.run(PASSIVE, "cat >> /root/.ssh/authorized_keys", stdin=public)
    lab.run(ACTIVE, f"ssh-keyscan -t ed25519 {PASSIVE.name} > /root/.ssh/known_hosts 2>/dev/null; ssh {PASSIVE.name} true")


def _datasets(lab: Lab) -> None:
    say(f"{ACTIVE.name}: making {DATASETS} datasets")
    lab.run(ACTIVE, MAKE_POOL, timeout=600)
    lab.run(ACTIVE, OPEN, timeout=300)
    change(lab)
    step = 20
    for first in range(0, SNAPSHOTS, step):
        say(f"{ACTIVE.name}: snapshots of all of them, {first} of {SNAPSHOTS}")
        names = " ".join(set_name(number) for number in range(first, first + step))
        lab.run(ACTIVE, f"for name in {names}; do zfs snapshot -r {MANY}@$name || exit 1; done", timeout=600)
    say("copying the pool to the other host")
    lab.run(ACTIVE, CLOSE, timeout=300)
    lab.run(ACTIVE, COPY, timeout=1200)
    lab.run(PASSIVE, REPLICA, timeout=300)
    lab.run(ACTIVE, OPEN, timeout=300)
    for host in HOSTS:
        lab.run(host, LEDGER)
    say(f"{ACTIVE.name}: {LARGE_MIB} MiB that cannot be compressed")
    lab.run(ACTIVE, MAKE_LARGE, timeout=600)
    lab.run(ACTIVE, f"zfs snapshot {LARGE}@{LARGE_SET}; zpool sync")


CHANGE = """
import os, sys
size, places = int(sys.argv[1]), sys.argv[2:]
for place in places:
    handle = os.open(place, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(handle, os.urandom(size))
    os.fsync(handle)
    os.close(handle)
"""


def change(lab: Lab) -> None:
    """New data at the same place of each dataset."""
    places = ["/srv/bench/root/disk"]
    places += [f"/srv/bench/{number}/disk" for number in range(1, FILESYSTEMS + 1)]
    places += [f"/dev/zvol/{MANY}/v{number}" for number in range(1, VOLUMES + 1)]
    lab.run(ACTIVE, f"python3 - {CHANGED_KIB * 1024} {' '.join(places)}", stdin=CHANGE.encode(), timeout=300)


def point_pair_at(lab: Lab, root: str) -> None:
    """The pair's description on both hosts says that this is what it replicates."""
    for host in HOSTS:
        path = "/etc/hvm/pair.json"
        described = json.loads(lab.run(host, f"cat {path}").stdout)
        described["datasets"] = [root]
        lab.run(host, f"cat > {path}", stdin=json.dumps(described, indent=1).encode())


class Ran(t.NamedTuple):
    seconds: float
    rc: int
    out: str
    err: str


def timed(lab: Lab, command: t.Sequence[str], timeout: float = 1800, keep: bool = False) -> Ran:
    """A command on the ACTIVE host, timed there.

    :param keep: leave the ssh connections open that tools have left; otherwise it begins without any, as a timer's run does.
    """
    lab.run(PASSIVE, "zpool sync", timeout=120)
    lab.run(ACTIVE, "zpool sync" + ("" if keep else "; pkill -f '^ssh: .*mux]$'; true"), timeout=120)
    line = shlex.join(["python3", "-I", f"{_tools.HOME}/_timed.py", json.dumps(list(command))])
    return Ran(**json.loads(lab.run(ACTIVE, line, timeout=timeout).stdout))


class Counts(t.NamedTuple):
    """Processes on each host, and new ssh connections between them."""

    zfs_here: int
    zfs_there: int
    zpool_here: int
    zpool_there: int
    connections: int


def counted(lab: Lab, command: t.Sequence[str], timeout: float = 1800) -> tuple[Ran, Counts]:
    """The same, not timed: what it starts on both hosts is counted."""
    links = " ".join(f"{_tools.HOME}/count/{name}" for name in COUNTED)
    drop = " ".join(f"/usr/local/sbin/{name}" for name in COUNTED)
    accepted = f"journalctl -q -u ssh -o cat --no-pager | grep -c 'Accepted publickey .* from {ACTIVE.address} ' || true"
    before = int(lab.run(PASSIVE, accepted).stdout)
    for host in HOSTS:
        lab.run(host, f"rm -f /run/hvm-bench-count; : > /run/hvm-bench-count; ln -sf {links} /usr/local/sbin/")
    try:
        ran = timed(lab, command, timeout)
    finally:
        for host in HOSTS:
            lab.run(host, f"rm -f {drop}")
    called = [lab.run(host, "cat /run/hvm-bench-count").stdout.decode().split() for host in HOSTS]
    # `timed` itself settles the pools first: one zpool on each host
    settle = 1
    connections = int(lab.run(PASSIVE, accepted).stdout) - before
    return ran, Counts(
        called[0].count("zfs"),
        called[1].count("zfs"),
        called[0].count("zpool") - settle,
        called[1].count("zpool") - settle,
        connections,
    )
