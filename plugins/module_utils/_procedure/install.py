# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The files of a pair's host: library, agent, announcer of the shared IP, scheduled run, libvirt hook, unit conditions.

Written as one step; the same again changes nothing.
"""

from __future__ import annotations

import compileall
import hashlib
import json
import os
import shutil
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core import build
from ansible_collections.hvm.pair.plugins.module_utils._core.command import run
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import GATE, RUN, STATE
from ansible_collections.hvm.pair.plugins.module_utils._peer.dial import LOOK, RELAY
from ansible_collections.hvm.pair.plugins.module_utils._procedure.address import ANNOUNCER
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import SOCKETS, UNIT

HOME = "/usr/lib/hvm"
AGENT = f"{HOME}/hvm-agent"
CONFIG = "/etc/hvm"
HOOK = "/etc/libvirt/hooks/qemu"
#: Written by the role when there is a schedule; without the library they would only fail.
TIMER = "hvm-scheduled.timer"
UNITS = (f"/etc/systemd/system/{TIMER}", "/etc/systemd/system/hvm-scheduled.service")

#: Without `site`, which looks for more than is needed; python3-libvirt is where Debian and Ubuntu put it.
AGENT_TEXT = f"""#!/usr/bin/python3 -IBS
# The pair's other host comes in here (forced command of its ssh key).
import os
import sys

sys.path.insert(0, "{HOME}/current")
sys.path.append("/usr/lib/python3/dist-packages")
asked = os.environ.get("SSH_ORIGINAL_COMMAND", "")
if asked.split()[1:] == ["{RELAY}"]:
    from {build.PACKAGE}_procedure.relaying import main

    sys.exit(main())
if asked.split()[1:] == ["{LOOK}"]:
    from {build.PACKAGE}_core import begun

    begun.begin()
from {build.PACKAGE}_procedure import early

early.begin(asked)
from {build.PACKAGE}_procedure.agent import main

sys.exit(main())
"""

ANNOUNCER_TEXT = f"""#!/usr/bin/python3 -IB
# Tells the neighbours again where the shared IP is (transient unit hvm-announce.service).
import sys

sys.path.insert(0, "{HOME}/current")
from {build.PACKAGE}_net.announcer import main

sys.exit(main(sys.argv[1:]))
"""

SCHEDULED = f"{HOME}/hvm-scheduled"
SCHEDULED_TEXT = f"""#!/usr/bin/python3 -IB
# The scheduled run (transient unit hvm-scheduled-work.service, which hvm-scheduled.timer starts).
import sys

sys.path.insert(0, "{HOME}/current")
from {build.PACKAGE}_procedure.scheduled import main

sys.exit(main(sys.argv[1:]))
"""

# Never fails for an operation that only looks on or cleans up: failing "reconnect begin" would kill a running QEMU.
# libvirt calls "migrate begin" on the host to which a VM moves, right before "prepare begin" (hooks.html); no start has that.
HOOK_TEXT = f"""#!/bin/sh
# hvm.pair: only the ACTIVE host of the pair starts or restores a VM; one that is ARRIVING takes in those that move to it.
gate={GATE}
comes="{RUN}/comes/$1"
case "$2/$3" in
  migrate/begin)
    mkdir -p {RUN}/comes && : > "$comes"
    ;;
  prepare/begin)
    read -r whom epoch 2>/dev/null < "$gate" || :
    if [ -e "$comes" ]; then
      rm -f "$comes"
    elif [ "$whom" = ARRIVING ]; then
      echo "hvm: VMs are moving to this host, so VM '$1' must not start here: it may run on the other one." \\
        "hvm.pair.status shows where each VM is; hvm.pair.migrate_unsecure goes on, hvm.pair.recover goes back." >&2
      exit 1
    fi
    if [ ! -e "$gate" ]; then
      echo "hvm: this host is not ACTIVE, so VM '$1' must not start here: it may run on the other one." \\
        "hvm.pair.status shows both; hvm.pair.migrate_secure brings the VMs here; after a boot or a crash: hvm.pair.recover." >&2
      exit 1
    fi
    ;;
esac
exit 0
"""

CONDITION_TEXT = f"""# hvm.pair: libvirt runs on the ACTIVE host only; hvm_hypervisor opens and shuts this gate.
[Unit]
ConditionPathExists={GATE}
"""


def files() -> dict[str, tuple[str, int]]:
    """Path -> (text, mode) of all but the library."""
    found = {AGENT: (AGENT_TEXT, 0o755), ANNOUNCER: (ANNOUNCER_TEXT, 0o755), HOOK: (HOOK_TEXT, 0o755)}
    found[SCHEDULED] = (SCHEDULED_TEXT, 0o755)
    for unit in (UNIT, *SOCKETS):
        found[f"/etc/systemd/system/{unit}.d/hvm.conf"] = (CONDITION_TEXT, 0o644)
    return found


#: Path -> (text, mode)
Files = t.Mapping[str, tuple[str, int]]


def install(check: bool, more: Files | None = None) -> dict[str, t.Any]:
    """:param more: files besides, of a layer that this one does not know.
    :return: ``{changed, version, diff}``.
    """
    changed = []
    sources = build.sources()
    digest = hashlib.sha256("".join(f"{name}\0{text}\0" for name, text in sorted(sources.items())).encode()).hexdigest()[:16]
    library = f"{HOME}/lib-{digest}"
    for directory, mode in ((HOME, 0o755), (CONFIG, 0o755), (STATE, 0o755)):
        if not os.path.isdir(directory):
            changed.append(directory)
            if not check:
                os.makedirs(directory, mode=mode)
    if _link() != library:
        changed.append(library)
        if not check:
            _install_library(library, sources)
    units = False
    for path, (text, mode) in {**files(), **(more or {})}.items():
        if read_text(path) == text and os.stat(path).st_mode & 0o777 == mode:
            continue
        changed.append(path)
        units |= path.endswith(".conf")
        if not check:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_atomic(path, text, mode)
    if units and not check:
        run(["systemctl", "daemon-reload"])
    return {
        "changed": bool(changed),
        "version": digest,
        "diff": {"before": "", "after": "".join(f"{path}\n" for path in changed)},
    }


def remove(check: bool, more: t.Iterable[str] = ()) -> dict[str, t.Any]:
    """Everything of it again, with the files `more`; configuration and state stay."""
    there = [path for path in [*files(), *more, *UNITS, HOME] if os.path.lexists(path)]
    if not check:
        if UNITS[0] in there:
            run(["systemctl", "disable", "--now", TIMER])
        for path in there:
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        if there:
            run(["systemctl", "daemon-reload"])
    return {"changed": bool(there), "diff": {"before": "".join(f"{path}\n" for path in there), "after": ""}}


def _link() -> str:
    try:
        return os.readlink(f"{HOME}/current")
    except OSError:
        return ""


def _install_library(library: str, sources: dict[str, str]) -> None:
    """Beside the old one, then one rename of the link: a running agent keeps what it has, a new one sees all or nothing."""
    partial = f"{library}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    for name, text in sources.items():
        path = os.path.join(partial, *build.PACKAGE.strip(".").split("."), *name.split(".")) + ".py"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(text)
    with open(os.path.join(partial, build.WRITTEN), "w", encoding="utf-8") as handle:
        json.dump(build.digests_of(sources), handle)
    compileall.compile_dir(partial, quiet=1, stripdir=partial, prependdir=library)
    old = _link()
    shutil.rmtree(library, ignore_errors=True)
    os.rename(partial, library)
    os.symlink(library, f"{HOME}/current.new")
    os.replace(f"{HOME}/current.new", f"{HOME}/current")
    if old and old != library and old.startswith(HOME):
        shutil.rmtree(old, ignore_errors=True)
