# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab as an inventory, and its VMs on whichever host is ACTIVE."""

from __future__ import annotations

import functools
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import _guests
import _linux
import _network
import _witness
from _image import LabError, say
from _machines import HOSTS, Lab, LabHost

PLACES = {
    "ssd": _guests.Place("/srv/ssd", "ssd/shared/vm"),
    "rot": _guests.Place("/srv/rot", "rot/shared/vm"),
}
SHARED_IP = ["10.42.0.100/24", "fd42::100/64"]


def inventory(lab: Lab) -> dict:
    """For ansible; the connection is made inside the lab's network (`lab.py exec`)."""
    # every lab has the same addresses: a connection kept open must not be taken for one to another lab's host
    arguments = shlex.join([*lab.ssh_options(), f"-oControlPath={lab.dir}/cp-%C"])
    return {
        "hvm": {
            "hosts": {host.name: {"ansible_host": host.address} for host in HOSTS},
            "vars": {
                "ansible_user": "root",
                "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_common_args": arguments,
                "hvm_pair": "lab",
                "hvm_hosts": [host.name for host in HOSTS],
                "hvm_datasets": ["ssd/shared", "rot/shared"],
                "hvm_service_iface": "eth0",
                "hvm_shared_ip": SHARED_IP,
                "hvm_gateway": _network.GATEWAY4,
                "hvm_filesystems": {
                    "ssd/shared/images": {"mountpoint": PLACES["ssd"].directory},
                    "rot/shared/images": {"mountpoint": PLACES["rot"].directory},
                },
            },
        }
    }


def write_inventory(lab: Lab) -> Path:
    path = lab.dir / "inventory.json"
    path.write_text(json.dumps(inventory(lab), indent=1), encoding="ascii")
    return path


def active(lab: Lab) -> LabHost:
    """The host whose gate is open."""
    found = [host for host in HOSTS if lab.running(host) and lab.run(host, "test -e /run/hvm/gate", check=False).returncode == 0]
    if len(found) != 1:
        raise LabError(f"{len(found)} hosts of the lab are ACTIVE: {', '.join(h.name for h in found) or 'none'}")
    return found[0]


def make_vms(lab: Lab, vms: Sequence[_guests.Vm] = _guests.VMS, **values: int) -> None:
    """VMs on the ACTIVE host; those that are there stay as they are. `values`: of `_guests.boot_image`."""
    start_witness(lab, vms)  # one that nobody hears may hang (_witness._prepare)
    host = active(lab)
    image = "/run/hvm-lab-guest.img"
    lab.run(host, f"cat > {image}", stdin=_guests.boot_image(_guests.program(), **values))
    _run_script(lab, host, image, _guests.script(vms, PLACES, functools.partial(_guests.domain_xml, gateway=_network.GATEWAY4)))


def make_linux(lab: Lab, vm: _guests.Vm = _linux.TUX) -> None:
    """The Linux guest on the ACTIVE host; one that is there stays as it is."""
    host = active(lab)
    if lab.run(host, f"virsh -q dominfo {vm.name}", check=False).returncode == 0:
        say(f"{host.name}: {vm.name} is there")
        return
    image = f"/run/hvm-lab-{vm.name}.img"
    kernel, initrd = _linux.boot_paths(vm, PLACES)
    packed = _linux.archive({kernel: _linux.KERNEL, initrd: _linux.INITRD, image: _linux.DISK})
    lab.run(host, "tar -C / -xzf -", timeout=300, stdin=packed)
    define = functools.partial(_linux.domain_xml, kernel=kernel, initrd=initrd)
    _run_script(lab, host, image, _guests.script([vm], PLACES, define, _linux.DISK_MIB * _guests.MIB))
    lab.run(host, f"rm {image}")


def _run_script(lab: Lab, host: LabHost, image: str, script: str) -> None:
    lab.run(host, "cat > /run/hvm-lab-vms.sh", stdin=script.encode())
    result = lab.run(host, f"sh /run/hvm-lab-vms.sh {image}", timeout=300)
    for line in result.stdout.decode().splitlines():
        say(f"{host.name}: {line}")


def beats(lab: Lab) -> Path:
    return lab.dir / "beats.jsonl"


def start_witness(lab: Lab, vms: Sequence[_guests.Vm] = _guests.VMS) -> None:
    """Listen to the VMs from outside, afresh."""
    beats(lab).unlink(missing_ok=True)
    command = [sys.executable, str(Path(_witness.__file__)), "collect", "--bind", _network.GATEWAY4, "--file", str(beats(lab))]
    command += [word for host in HOSTS for word in ("--host", f"{host.address}={host.name}")]
    command += [f"{port}={vm}" for port, vm in _guests.ports(vms).items()]
    lab.start_helper("witness", command, lab.dir / "witness.log", beats(lab))


def report(lab: Lab, after: float | None) -> int:
    """What the witness saw; 1 when something was wrong."""
    expected = [vm.name for vm in _guests.VMS if vm.running]
    reports = _witness.analyse(_witness.load(beats(lab)), after, None, expected)
    sys.stdout.write(_witness.render(reports))
    return 1 if any(one.verdict for one in reports.values()) else 0
