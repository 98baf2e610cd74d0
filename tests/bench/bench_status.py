#!/usr/bin/env python3
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long `hvm status` takes on a host, beside `ansible localhost -m ping` on the same host at the same time.

ansible-core comes from PyPI as wheels for the host's Python, unpacked on it: Debian's older one would be no faster.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))

import _command
import _figures
import _hostside
import _scene
import _tools
from _figures import Figure
from _image import LabError, say
from _machines import FRESH, Lab
from _scene import ACTIVE

HEADING = "## hvm status"
PLACE = f"{_tools.HOME}/ansible"
OURS, PING = "hvm status", "ansible localhost -m ping"
ADHOC = ["env", f"PYTHONPATH={PLACE}", "ANSIBLE_LOCALHOST_WARNING=0", "LC_ALL=C.UTF-8", "python3", "-m", "ansible", "adhoc"]
COMMANDS = {OURS: ["hvm", "status"], PING: [*ADHOC, *PING.split()[1:]]}


def bring_ansible(lab: Lab) -> str:
    """:return: its version."""
    python = lab.run(ACTIVE, "python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")'").stdout.decode().strip()
    platforms = [word for one in ("manylinux2014", "manylinux_2_28") for word in ("--platform", f"{one}_x86_64")]
    with tempfile.TemporaryDirectory() as directory:
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "-d", directory]
        words += ["--python-version", python, *platforms, "ansible-core"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"pip download failed: {done.stderr.strip()[-800:]}")
        tar = io.BytesIO()
        version = ""
        with tarfile.open(fileobj=tar, mode="w") as archive:
            for wheel in sorted(Path(directory).glob("*.whl")):
                name, number, *_rest = wheel.name.split("-")
                version = number if name == "ansible_core" else version
                with zipfile.ZipFile(wheel) as content:
                    content.extractall(f"{directory}/all")
            archive.add(f"{directory}/all", ".")
    lab.run(ACTIVE, f"mkdir -p {PLACE} && tar -C {PLACE} -xf - --no-same-owner", stdin=tar.getvalue(), timeout=600)
    lab.run(ACTIVE, f"python3 -m compileall -q {PLACE} > /dev/null; true", timeout=900)
    return version


def prepare(lab: Lab) -> str:
    lab.up()
    lab.reset(FRESH)
    _scene.ansible(lab, "ansible-playbook", "install.yml")
    _hostside.make_vms(lab)
    script = Path(__file__).with_name("_timed.py").read_bytes()
    lab.run(ACTIVE, f"mkdir -p {_tools.HOME} && cat > {_tools.HOME}/_timed.py", stdin=script)
    version = bring_ansible(lab)
    for tool, command in COMMANDS.items():  # what only a first run reads
        ran = _scene.timed(lab, command)
        if ran.rc:
            raise LabError(f"{tool} failed ({ran.rc}): {(ran.err or ran.out).strip()[-800:]}")
    return version


def measure(lab: Lab, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds):
        for name in _figures.order(list(COMMANDS), number):
            times[name].append(_scene.timed(lab, COMMANDS[name]).seconds)
    say(", ".join(f"{name}: {' '.join(f'{one:.2f}' for one in values)}" for name, values in times.items()))
    return times


SECTION = """\
{heading}

From one run of `make bench-status` on {date}: each {rounds} times, by turns, on the ACTIVE host with five VMs running. The host
is emulated, so the ratio counts. ansible-core {version} on the host itself, compiled.

| figure | value | goal | |
|---|---:|---:|---|
{figure}

{table}
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench_status.py", description=__doc__)
    parser.add_argument("--name", default=os.environ.get("HVM_LAB_NAME", "bench"), help="which lab (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="how often each (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="keep the results in docs/benchmarks.md")
    options = parser.parse_args()
    lab = Lab(options.name)
    try:
        version = prepare(lab)
        times = measure(lab, options.rounds)
    finally:
        if not os.environ.get("HVM_LAB_KEEP"):
            with contextlib.suppress(LabError):
                lab.down()
    figure = Figure("status_times_ping", 1 / _figures.ratio(times, PING, OURS), 2.0, least=False)
    text = SECTION.format(
        heading=HEADING,
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        rounds=options.rounds,
        version=version,
        figure=figure.row(),
        table="\n".join(_figures.table(times, OURS, {})),
    )
    return _command.tell(text, HEADING, [figure], options.record)


if __name__ == "__main__":
    _command.run(main)
