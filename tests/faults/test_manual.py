# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manual, walked through from its first page to its last by typing nothing but `hvm` on the hosts."""

from __future__ import annotations

import json
import time
import typing as t

from _hosts import Host
from _scene import World
from test_events import Record, whole

ACTIVE = ["Hypervisor is running", "Shared IP is enabled", "VMs are running"]
PASSIVE = ["Hypervisor is stopped", "Shared IP is disabled", "VMs are stopped"]
#: hvm's exit code when nothing was changed.
REFUSED = 3


def hvm(host: Host, words: str, code: int = 0) -> list[str]:
    """Types it. :return: the lines that it says, on both streams."""
    began = time.monotonic()
    *lines, ended = host.sh(f"hvm {words} 2>&1 < /dev/null; echo $?", check=False, timeout=900).splitlines()
    print(f"{host.name}# hvm {words}   = {ended}, {time.monotonic() - began:.1f} s", *lines, sep="\n    ", flush=True)
    assert int(ended) == code, "\n".join(lines)
    return lines


def stamps(host: Host) -> list[str]:
    """Of the sets that have the states of the VMs: the B beside the timestamp, as the manual has it."""
    return [line.split()[0] for line in hvm(host, "zfs snap list dates") if line.split()[1:2] == ["B"]]


def test_the_manual_is_walked_through(world: World, record: Record) -> None:
    record.update(name="event-manual", title="every procedure of the manual, by `hvm` on the hosts")
    began = time.time()
    a, b = world.a, world.b
    running = sorted(world.names)

    # Opérations courantes (tous les hôtes)
    assert hvm(a, "status") == ACTIVE
    assert hvm(b, "status") == PASSIVE
    assert hvm(a, "--lang fr status")[0] == "L'hyperviseur est en marche"
    assert sorted(line.split()[0] for line in hvm(a, "vms list running")) == running
    assert set(running) <= {line.split()[0] for line in hvm(a, "vms list all")}
    before = stamps(a)
    assert before

    # Opérations courantes (hôte ACTIF)
    hvm(b, "backup secure", REFUSED)
    hvm(a, "backup secure --check")
    assert stamps(a) == before
    hvm(a, "backup secure")
    assert len(stamps(b)) == len(before) + 1
    hvm(a, f"constraint set {b.name} tomorrow")
    assert any(b.name in line for line in hvm(b, "constraint show"))
    hvm(b, "constraint unset")
    assert not any(b.name in line and "must" in line for line in hvm(a, "constraint show"))

    # Arrêt complet de l'hyperviseur: the host is emptied first
    hvm(a, "migrate secure")
    assert (hvm(a, "status"), hvm(b, "status")) == (PASSIVE, ACTIVE)
    world.heard(names=world.names)
    hvm(a, "shutdown --check")

    # En cas de panne: the last ACTIVE host is started first
    world.power(b, on=False)
    world.power(b, on=True)
    assert hvm(b, "status") == PASSIVE
    hvm(a, "hv start", REFUSED)
    hvm(b, "hv start")
    hvm(b, "vms start")
    assert hvm(b, "status") == ACTIVE
    world.heard(names=world.autostart)

    # Si les VMs sont HS / inconsistantes
    set_b = stamps(b)[-1]
    hvm(b, "hv stop", REFUSED)
    hvm(b, "vms poweroff")
    hvm(b, "hv stop")
    hvm(b, f"zfs snap rollback {set_b}")
    hvm(b, "hv start")
    hvm(b, "vms restore")
    world.heard(names=world.names)
    hvm(b, "backup secure")

    # Si l'hôte ACTIF est totalement indisponible
    world.power(b, on=False)
    hvm(a, "hv start", REFUSED)
    assert any("loses" in line for line in hvm(a, "failover", REFUSED))
    hvm(a, f"hv start --peer-is-down {b.name}")
    hvm(a, "vms restore")
    assert hvm(a, "status") == ACTIVE
    world.heard(names=world.names)

    # what the manual leaves to the administrator: the dead host comes back
    world.power(b, on=True)
    hvm(a, "rejoin")
    hvm(a, f"rejoin --rejoin discard --discard {b.name}")
    assert hvm(b, "status") == PASSIVE
    found = t.cast("dict[str, t.Any]", json.loads("\n".join(hvm(a, "status --json"))))
    assert found["hvm"]["pending"] is None
    record.update(waited=0.0, boot=round(world.booting, 1))
    whole(world, record, world.names, began, may_boot=world.names, may_go_back=True, times=9)
