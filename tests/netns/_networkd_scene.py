# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host whose network systemd-networkd has: the real one, in namespaces of its own, which are gone with this process.

Started by test_networkd.py in new namespaces (network, mounts, processes); prints what it has seen as JSON. There is no systemd,
so the unit that makes a VLAN is not started: `ip` makes it, as it does on a host where the unit fails.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

NETWORKD = "/lib/systemd/systemd-networkd"
ETC = pathlib.Path("/etc/systemd/network")
SHARED = "192.0.2.100/32"


def sh(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30).stdout


def until(what: t.Callable[[], bool], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def prepare() -> subprocess.Popen[bytes]:
    """eth0 is the host's, by networkd; eth1 is nobody's, though a file for `eth*` is there, as in many images."""
    sh("mount", "--make-rprivate", "/")
    sh("mount", "-t", "tmpfs", "tmpfs", "/run")
    for name in ("dbus", "systemd/netif/links", "systemd/netif/leases", "systemd/netif/lldp", "systemd/network"):
        pathlib.Path("/run", name).mkdir(parents=True)
    sh("chown", "-R", "systemd-network:systemd-network", "/run/systemd/netif")
    ETC.mkdir(parents=True, exist_ok=True)
    sh("mount", "-t", "tmpfs", "tmpfs", str(ETC))
    sh("mount", "-t", "sysfs", "-o", "ro", "sysfs", "/sys")  # read-only: networkd does not wait for udev then
    sh("ip", "link", "set", "lo", "up")
    for name in ("eth0", "eth1"):
        sh("ip", "link", "add", name, "type", "veth", "peer", "name", f"x{name}")
        sh("ip", "link", "set", f"x{name}", "up")
    (ETC / "10-eth0.network").write_text("[Match]\nName=eth0\n[Network]\nAddress=192.0.2.1/24\n")
    (ETC / "20-all.network").write_text("[Match]\nName=eth*\n[Network]\nDHCP=yes\n")
    sh("dbus-daemon", "--system", "--nopidfile", "--fork")
    with open("/run/networkd.log", "wb") as log:
        return subprocess.Popen([NETWORKD], stdout=log, stderr=log)


def main() -> None:
    import importlib.util

    sys.dont_write_bytecode = True
    here = pathlib.Path(__file__).resolve().parent
    # makes `ansible_collections.hvm.pair` this checkout, as in the unit tests
    spec = importlib.util.spec_from_file_location("_unit_conftest", here.parent / "unit" / "conftest.py")
    assert spec and spec.loader
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    from ansible_collections.hvm.pair.plugins.module_utils._net import bridges, links, network_plan
    from ansible_collections.hvm.pair.plugins.module_utils._net.networks import Bridge

    class Host(bridges.Host):
        @staticmethod
        def _runs(service: str) -> bool:
            return service == "systemd-networkd"

        def do(self, step: links.Step) -> None:
            if step.words[:1] != ("systemctl",):
                super().do(step)

    def make(*wanted: Bridge) -> dict[str, t.Any]:
        world = network_plan.World(host.links(), host.files(), host.facts(), {"eth0": "is the way in"})
        plan = network_plan.plan(wanted, world, host="a")
        assert not plan.findings, plan.findings
        bridges.carry_out(plan, host, settle=8.0)
        return {"actions": plan.actions, "links": {name: one._asdict() for name, one in host.links().items()}, **seen()}

    def seen() -> dict[str, t.Any]:
        return {"setups": dict(host.facts().networkd or {}), "files": sorted(host.files())}

    host = Host()
    networkd = prepare()
    try:
        assert until(lambda: "192.0.2.1/24" in host.links()["eth0"].addresses), pathlib.Path("/run/networkd.log").read_text()
        sh("ip", "addr", "add", SHARED, "dev", "eth0")  # as hvm_shared_ip adds it
        found: dict[str, t.Any] = {"before": {"links": {name: one._asdict() for name, one in host.links().items()}, **seen()}}
        out, inner = Bridge("br-out", "eth1", mtu=1400), Bridge("br-in", addresses=("10.9.0.1/24", "fd09::1/64"))
        found["made"] = make(out, inner)
        found["again"] = make(out, inner)
        found["changed"] = make(out._replace(mtu=0), inner._replace(addresses=("10.9.0.2/24",)))
        try:
            sh("ip", "link", "add", "link", "eth0", "name", "eth0.4", "type", "vlan", "id", "4")
            sh("ip", "link", "del", "dev", "eth0.4")
        except subprocess.CalledProcessError:
            found["vlans"] = None
        else:
            found["vlans"] = make(Bridge("br-v10", "eth0", 10))
        found["gone"] = make()
        # what networkd would have had: its own way to say VLAN
        (ETC / "10-eth0.network.d").mkdir()
        (ETC / "10-eth0.network.d" / "vlan.conf").write_text("[Network]\nVLAN=eth0.10\n")
        sh("networkctl", "reload")
        found["dropped"] = until(lambda: SHARED not in host.links()["eth0"].addresses, 10.0)
        print(json.dumps(found))
    finally:
        networkd.kill()
        networkd.wait()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
