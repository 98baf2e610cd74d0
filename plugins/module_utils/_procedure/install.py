# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The files of a pair's host: library, agent, announcer of the shared IP, scheduled run, libvirt hook, unit conditions.

Written as one step, over whatever version is there, while nothing of the pair is at work; the same again changes nothing.
"""

from __future__ import annotations

import compileall
import contextlib
import hashlib
import json
import os
import shutil
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core import build
from ansible_collections.hvm.pair.plugins.module_utils._core.command import run, succeeds
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text, write_atomic
from ansible_collections.hvm.pair.plugins.module_utils._net import addresses, shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._net.declared import parse_shared
from ansible_collections.hvm.pair.plugins.module_utils._pair import config as configs
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation
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
#: What these start: the run itself.
WORK = "hvm-scheduled-work.service"
#: In HOME: the files that this version has brought, so that the next one takes away those that it lacks.
LIST = "files.json"

#: Without `site`, which looks for more than is needed; python3-libvirt is where Debian and Ubuntu put it.
AGENT_TEXT = f"""#!/usr/bin/python3 -IBS
# The pair's other host comes in here (forced command of its ssh key).
import os
import sys

# By its real place: one that is installed meanwhile does not get mixed with this one.
sys.path.insert(0, os.path.realpath("{HOME}/current"))
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
import os
import sys

sys.path.insert(0, os.path.realpath("{HOME}/current"))
from {build.PACKAGE}_net.announcer import main

sys.exit(main(sys.argv[1:]))
"""

SCHEDULED = f"{HOME}/hvm-scheduled"
SCHEDULED_TEXT = f"""#!/usr/bin/python3 -IB
# The scheduled run (transient unit hvm-scheduled-work.service, which hvm-scheduled.timer starts).
import os
import sys

sys.path.insert(0, os.path.realpath("{HOME}/current"))
from {build.PACKAGE}_procedure.scheduled import main

sys.exit(main(sys.argv[1:]))
"""

# Never fails for an operation that only looks on or cleans up: failing "reconnect begin" would kill a running QEMU.
# libvirt calls "migrate begin" on the host to which a VM moves, right before "prepare begin" (hooks.html); no start has that.
HOOK_HEAD = "#!/bin/sh\n# hvm.pair: "
HOOK_TEXT = f"""{HOOK_HEAD}only the ACTIVE host of the pair starts or restores a VM; an ARRIVING one takes in those that come.
gate={GATE}
comes="{RUN}/comes/$1"
away="{RUN}/away/$1"
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
    elif [ -e "$away" ]; then
      read -r other 2>/dev/null < "$away" || :
      echo "hvm: VM '$1' has moved to ${{other:-the other host}}, or is on its way there, so it must not start here." \\
        "hvm.pair.status shows where each VM is; hvm.pair.migrate_unsecure goes on, hvm.pair.recover brings it back." >&2
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


#: Whatever else is at work on this host with the library as it is, as sentences.
Busy = t.Callable[[], t.Sequence[str]]


def nobody() -> t.Sequence[str]:
    return ()


def install(
    check: bool, more: Files | None = None, *, busy: Busy = nobody, wait: float = 0.0, despite_pending: bool = False
) -> dict[str, t.Any]:
    """What is as it should be is not touched, and then nobody is in the way.

    :param more: files besides, of a layer that this one does not know.
    :param busy: what else is at work here.
    :param wait: seconds for an operation that runs to end.
    :param despite_pending: also when one did not end, which the version that began it knows best how to end.
    :return: ``{changed, version, previous, diff}``; `previous`: the version that was there; "" when none was.
    :raises HvmError: when an operation runs or did not end, with whose it is and since when.
    """
    sources = build.sources()
    digest = hashlib.sha256("".join(f"{name}\0{text}\0" for name, text in sorted(sources.items())).encode()).hexdigest()[:16]
    library = f"{HOME}/lib-{digest}"
    wanted: dict[str, tuple[str, int]] = {**files(), **(more or {})}
    wanted[f"{HOME}/{LIST}"] = (json.dumps(sorted(wanted), indent=1) + "\n", 0o644)
    old = [path for path in listed() if path not in wanted and os.path.lexists(path)]
    directories = [path for path in (HOME, CONFIG, STATE) if not os.path.isdir(path)]
    outdated = [path for path, (text, mode) in wanted.items() if not _is(path, text, mode)]
    changed = [*directories, *([] if _link() == library and _is_whole(library, sources) else [library]), *outdated]
    result = {
        "changed": bool(changed or old),
        "version": digest,
        "previous": _link().rsplit("-", 1)[-1],
        "diff": {"before": "".join(f"{path}\n" for path in old), "after": "".join(f"{path}\n" for path in changed)},
    }
    if not result["changed"]:
        return result
    with alone(busy, wait, despite_pending, check):
        if check:
            return result
        for directory in directories:
            os.makedirs(directory, mode=0o755)
        if library in changed:
            _install_library(library, sources)
        for path in outdated:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_atomic(path, *wanted[path])
        for path in old:
            os.unlink(path)
        if any(path.endswith(".conf") for path in (*outdated, *old)):
            run(["systemctl", "daemon-reload"])
    return result


def refuse_left_over(wanted: t.Sequence[str]) -> None:
    """:param wanted: the shared addresses that the pair is to have, each as ADDR/PREFIX.
    :raises HvmError: for another one that this host still has: with a description that lacks it, nobody would take it off.
    """
    stay = {one.ip for one in parse_shared(wanted)}
    try:
        before = configs.load()
        gone = [one.ip for one in parse_shared(before.shared_ips) if one.ip not in stay]
    except HvmError:
        return  # none yet, or one that nobody can go by
    links = shared_ip.read_links() if gone else {}
    left = [str(one) for one in gone if addresses.having(links, one)]
    if left:
        raise HvmError(
            f"{before.me.name} has the shared address {', '.join(left)}, which hvm_shared_ip has no more",
            f"Take it off first: 'hvm hv sharedIP disable' on {before.me.name}; then install again.",
        )


@contextlib.contextmanager
def alone(busy: Busy, wait: float, despite_pending: bool, check: bool) -> t.Iterator[None]:
    """Nothing of this host's pair is at work, and begins to be, while its files change.

    A process keeps the library that it began with; but it meets the other host's again and again, and these two must be alike.
    """
    lock = operation.Lock()
    deadline = time.monotonic() + wait
    while True:
        running = [*busy()]
        if succeeds(["systemctl", "is-active", "--quiet", WORK]):
            running.append(f"the scheduled run is at work ({WORK})")
        try:
            if running:
                raise HvmError(f"{'; '.join(running)} on {os.uname().nodename}", "Wait until it has ended, then run this again.")
            if check:
                holder = operation.lock_holder()
                if holder:
                    raise HvmError(
                        f"another operation is running on {os.uname().nodename}: {holder}",
                        "Wait until it has ended, then run this again.",
                    )
            else:
                lock.take("install", operation.owner())
            break
        except HvmError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(min(1.0, wait))
    try:
        entry = operation.pending()
        if entry and not despite_pending:
            raise HvmError(
                f"{entry['operation']} by {entry.get('owner', 'somebody')}, begun {entry['started']} on {os.uname().nodename}, "
                f"did not end: it was last at '{entry['step']}'",
                "The version that began it ends it: 'hvm recover' on that host. If the two hosts have different versions "
                "already, so that this is refused, too: hvm.pair.install with hvm_install_despite_pending=true.",
            )
        yield
    finally:
        lock.release()


def _is(path: str, text: str, mode: int) -> bool:
    return read_text(path) == text and os.stat(path).st_mode & 0o777 == mode


def listed() -> list[str]:
    """The files that the version which is there has brought."""
    try:
        return [str(path) for path in json.loads(read_text(f"{HOME}/{LIST}") or "[]")]
    except (ValueError, TypeError):
        return []


def remove(check: bool, more: t.Iterable[str] = ()) -> dict[str, t.Any]:
    """Everything of it again, with the files `more`; configuration and state stay."""
    there = [
        path for path in dict.fromkeys([*files(), *more, *listed(), *UNITS, HOME]) if os.path.lexists(path) and is_ours(path)
    ]
    if not check:
        if UNITS[0] in there:
            run(["systemctl", "disable", "--now", TIMER])
        for path in there:
            if os.path.lexists(path):  # the list lies in HOME, which is one of them
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            if path.endswith(".d/hvm.conf"):
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.dirname(path))
        if there:
            run(["systemctl", "daemon-reload"])
    return {"changed": bool(there), "diff": {"before": "".join(f"{path}\n" for path in there), "after": ""}}


def is_ours(path: str) -> bool:
    """Not so a hook that somebody has put in the place of ours."""
    return path != HOOK or (read_text(path) or "").startswith(HOOK_HEAD)


def _link() -> str:
    try:
        return os.readlink(f"{HOME}/current")
    except OSError:
        return ""


def _place(library: str, module: str) -> str:
    return os.path.join(library, *build.PACKAGE.strip(".").split("."), *module.split(".")) + ".py"


def _is_whole(library: str, sources: t.Mapping[str, str]) -> bool:
    return all(read_text(_place(library, name)) == text for name, text in sources.items())


def _install_library(library: str, sources: dict[str, str]) -> None:
    """Beside the old one, then one rename of the link: a running agent keeps what it has, a new one sees all or nothing."""
    partial = f"{library}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    for name, text in sources.items():
        path = _place(partial, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(text)
    with open(os.path.join(partial, build.WRITTEN), "w", encoding="utf-8") as handle:
        json.dump(build.digests_of(sources), handle)
    compileall.compile_dir(partial, quiet=1, stripdir=partial, prependdir=library)
    old = _link()
    shutil.rmtree(library, ignore_errors=True)
    os.rename(partial, library)
    os.sync()  # else a power cut may leave empty files under the new name
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{HOME}/current.new")
    os.symlink(library, f"{HOME}/current.new")
    os.replace(f"{HOME}/current.new", f"{HOME}/current")
    # the one before stays: who began with it may still look for a part of it
    for name in os.listdir(HOME):
        path = f"{HOME}/{name}"
        if name.startswith("lib-") and path not in (library, old):
            shutil.rmtree(path, ignore_errors=True)
