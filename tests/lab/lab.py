#!/usr/bin/env python3
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two real Debian hypervisors on this machine, for tests: ZFS, systemd, libvirt and guests, under QEMU."""

from __future__ import annotations

import argparse
import os
import signal
import sys

import _hostside
import _image
import _linux
from _machines import FRESH, HOSTS, Lab, host_named

EPILOG = f"""\
The hosts are {HOSTS[0].name} ({HOSTS[0].address}) and {HOSTS[1].name} ({HOSTS[1].address});
everything happens in a network namespace of its own.
Environment: HVM_LAB_CACHE  where images and disks are kept (default: the user's cache)
             HVM_LAB_MIRROR the Debian mirror (default: mmdebstrap's)
             HVM_LAB_NAME   same as --name
A first "up" builds an image (4 to 8 minutes) and boots it (about 70 s); the next ones take 10 s.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lab.py", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default=os.environ.get("HVM_LAB_NAME", "main"), help="which lab (default: %(default)s)")
    sub = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return sub.add_parser(name, help=text, description=text)

    build = add("build", "build the image if its recipe has changed")
    build.add_argument("--linux", action="store_true", help="the Linux VM's kernel and disk too")
    for command in (build, add("up", "start both hosts, building first if need be")):
        command.add_argument(
            "--suite",
            choices=(*_image.SUITES, _image.MIXED),
            help=f"the Debian release of the hosts (default: as before, else {_image.SUITES[0]}); {_image.MIXED}: one of each",
        )
    add("down", "stop both hosts; disks and saved states stay")
    add("destroy", "stop both hosts and remove their disks; the image stays")
    add("status", "what is running and which states are saved")
    add("save", "freeze both hosts under a name").add_argument("state")
    add("reset", "bring both hosts back to a saved state").add_argument(
        "state", nargs="?", default=FRESH, help="default: the first boot"
    )
    ssh = add("ssh", "a shell, or a command, on a host")
    ssh.add_argument("host", choices=[h.name for h in HOSTS])
    ssh.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    inside = add("exec", "run a command of this machine inside the lab's network")
    inside.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    power = add("power", "cut a host's power, or give it back and wait for it to boot")
    power.add_argument("host", choices=[h.name for h in HOSTS])
    power.add_argument("switch", choices=["on", "off"])
    link = add("link", "cut a host's network cable, or plug it in again")
    link.add_argument("host", choices=[h.name for h in HOSTS])
    link.add_argument("switch", choices=["up", "cut"])
    add("inventory", "write the Ansible inventory of the lab and print its path")
    add("vms", "make the VMs that count, on the ACTIVE host")
    add("linux", "make the Linux VM with a guest agent, on the ACTIVE host")
    add("witness", "begin to listen to the VMs, afresh")
    add("report", "what became of each VM, as heard from outside").add_argument(
        "--after", type=float, help="only from this time on (seconds since 1970)"
    )
    add("console", "print what a host has written on its console").add_argument("host", choices=[h.name for h in HOSTS])
    return parser


def _replace(command: list[str]) -> None:
    sys.stdout.flush()
    os.environ["PATH"] = _image._path()
    os.execvp(command[0], command)


def main() -> int:
    options = _parser().parse_args()
    lab = Lab(options.name)
    words = getattr(options, "words", [])
    words = words[1:] if words[:1] == ["--"] else words
    match options.command:
        case "build":
            _image.build_tools()
            for suite in dict.fromkeys(_image.suites_of(options.suite or lab.suite)):
                _image.build_image(suite)
            if options.linux:
                _linux.build()
        case "up":
            lab.up(options.suite)
        case "down":
            lab.down()
        case "destroy":
            lab.destroy()
        case "status":
            state = lab.state()
            for host in HOSTS:
                print(f"{host.name} {host.address} {'running' if lab.running(host) else 'off'}")
            print(f"suite {lab.suite}, saved states: {', '.join(state.get('states', [])) or 'none'}")
        case "save":
            lab.save(options.state)
        case "reset":
            lab.reset(options.state)
        case "ssh":
            _replace(lab.ssh_command(host_named(options.host), words))
        case "exec":
            _replace(lab.exec_command(words or [os.environ.get("SHELL", "/bin/sh")]))
        case "power":
            lab.power(host_named(options.host), options.switch == "on")
        case "link":
            lab.link(host_named(options.host), options.switch == "up")
        case "inventory":
            print(_hostside.write_inventory(lab))
        case "vms":
            _hostside.make_vms(lab)
        case "linux":
            _hostside.make_linux(lab)
        case "witness":
            _hostside.start_witness(lab)
        case "report":
            return _hostside.report(lab, options.after)
        case "console":
            sys.stdout.write((lab.dir / f"{options.host}-console.log").read_text(errors="replace"))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except _image.LabError as exc:
        print(f"lab: error: {exc}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
