# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fault matrix as data: each step of a procedure, each fault, and why some of them do not meet. No I/O.

The source is the host that is ACTIVE when a procedure begins, the target the other one. In a failover the source has no power.
"""

from __future__ import annotations

import dataclasses
import random
import typing as t

SOURCE, TARGET = "source", "target"

POWER_SOURCE = "power cut of the source"
POWER_TARGET = "power cut of the target"
CONTROL = "killed control node"
LINK = "cut link"
FULL = "full pool on the target"
LIBVIRTD = "libvirtd killed"
#: fault -> its word in the name of a cell
FAULTS = {
    POWER_SOURCE: "power_source",
    POWER_TARGET: "power_target",
    CONTROL: "control",
    LINK: "link",
    FULL: "full",
    LIBVIRTD: "libvirtd",
}

MIGRATE, BACKUP, FAILOVER, MOVE = "migrate_secure", "backup_secure", "failover", "migrate_unsecure"
#: Where VMs run while they move one by one.
BOTH = "both"


@dataclasses.dataclass(frozen=True)
class Step:
    """:ivar host: on which it runs.
    :ivar sign: by what `_watch.py` knows there that it has begun.
    :ivar memory: the host whose power cut may cost VMs their memory: they run there, or have just been saved; BOTH when some run
        on either; "" when it is on disk for good, in files that nobody writes to any more.
    :ivar libvirtd: whether one runs there in this step.
    :ivar room: why a pool of the target that fills up now is no fault of this step; "" when it is one.
    """

    name: str
    host: str
    sign: t.Mapping[str, t.Any]
    memory: str = SOURCE
    libvirtd: bool = True
    room: str = ""


def _noted(operation: str, *names: str, **facts: t.Any) -> list[Step]:
    """Steps that the journal names."""
    host = facts.pop("host", SOURCE)
    return [Step(name, host, {"journal": [operation, name]}, **facts) for name in names]


_VMS_RUN = "VMs run there: what a full pool does to them is none of the procedure's doing"

#: The words of the journals: _procedure/switchover.py, backup.py, failover.py with serving.py; where the journal is ahead of what
#: it announces, the first sign of that.
STEPS: dict[str, list[Step]] = {
    MIGRATE: [
        Step("hot sync", SOURCE, {"send": "migrate_secure"}),
        Step("save", SOURCE, {"images": ".partial"}),
        *_noted("migrate_secure", "shared IP off", "stop here"),
        *_noted("migrate_secure", "last snapshot", "last sync", "hand over", memory="", libvirtd=False),
        Step("target: ACTIVE", TARGET, {"role": "ACTIVE"}, memory="", libvirtd=False),
        Step("target: first VM", TARGET, {"qemu": True}, memory=TARGET, room=_VMS_RUN),
    ],
    BACKUP: [
        Step("memory", SOURCE, {"images": ".live"}),
        Step("snapshot", SOURCE, {"images": ".state"}),
        Step("sync", SOURCE, {"send": "sync"}),
        Step("prune", SOURCE, {"lock": "prune"}, room="pruning only makes room"),
    ],
    MOVE: [
        Step("hot sync", SOURCE, {"send": "migrate_unsecure"}),
        *_noted("migrate_unsecure", "overlays", "last snapshot", "last sync", "arrive there", "move"),
        Step("move: second VM", SOURCE, {"moved": 1}, memory=BOTH, room=_VMS_RUN),
        *_noted("migrate_unsecure", "shared IP off", "stop here", memory=TARGET, room=_VMS_RUN),
        *_noted("migrate_unsecure", "hand over", memory=TARGET, libvirtd=False, room=_VMS_RUN),
        Step("take over", TARGET, {"journal": ["migrate_unsecure", "take over"]}, memory=TARGET, room=_VMS_RUN),
        Step("commit", TARGET, {"journal": ["migrate_unsecure", "commit"]}, memory=TARGET, room=_VMS_RUN),
    ],
    FAILOVER: [
        *_noted("failover", "back to the set", "the shared IP is asked for", host=TARGET, memory="", libvirtd=False),
        *_noted("failover", "start the hypervisor", host=TARGET, memory="", libvirtd=False),
        *_noted("failover", "shared IP on", host=TARGET, memory="", room=_VMS_RUN),
        Step("start the VMs", TARGET, {"qemu": True}, memory=TARGET, room=_VMS_RUN),
    ],
}


@dataclasses.dataclass(frozen=True)
class Cell:
    procedure: str
    step: Step
    fault: str

    @property
    def name(self) -> str:
        """As pytest's -k can take it."""
        return f"{self.procedure}-{slug(self.step.name)}-{FAULTS[self.fault]}"

    @property
    def struck(self) -> str:
        """The host to which the fault happens; "" when to neither."""
        places = {POWER_SOURCE: SOURCE, POWER_TARGET: TARGET, LINK: TARGET, FULL: TARGET, LIBVIRTD: self.step.host}
        return places.get(self.fault, "")

    @property
    def meaningless(self) -> str:
        """Why this fault cannot happen in this step, or is not the procedure's; "" for a cell that is run."""
        if self.fault == POWER_SOURCE and self.procedure == FAILOVER:
            return "the source has no power: that is why there is a failover"
        if self.fault == LIBVIRTD and not self.step.libvirtd:
            return f"no libvirtd runs on the {self.step.host} in this step"
        if self.fault == FULL:
            return self.step.room
        return ""

    @property
    def may_boot(self) -> bool:
        """Whether VMs may lose their memory: where it was the power went. The set that a failover goes back to has it."""
        cuts = {"": (), SOURCE: (POWER_SOURCE,), TARGET: (POWER_TARGET,), BOTH: (POWER_SOURCE, POWER_TARGET)}
        return self.fault in cuts[self.step.memory]

    @property
    def may_stay_off(self) -> bool:
        """Whether VMs without autostart may stay off: nobody has written down that they ran, as a move does when it begins."""
        return self.may_boot and (self.procedure != MOVE or self.step.name == "hot sync")

    @property
    def typed(self) -> bool:
        """Whether it is `hvm` on a host, which an emulated one is quicker with; a control node is needed to be killed."""
        return self.fault != CONTROL

    @property
    def may_go_back(self) -> bool:
        """Whether VMs may go back, as far as the last completed set."""
        return self.procedure == FAILOVER


def acting(procedure: str) -> str:
    """The host on which a procedure is typed."""
    return TARGET if procedure == FAILOVER else SOURCE


def slug(text: str) -> str:
    return "_".join("".join(letter if letter.isalnum() else " " for letter in text).split())


def everything() -> list[Cell]:
    """Procedure x step x fault, those that are not run included."""
    return [Cell(procedure, step, fault) for procedure, steps in STEPS.items() for step in steps for fault in FAULTS]


def matrix() -> list[Cell]:
    """The cells that are run."""
    return [cell for cell in everything() if not cell.meaningless]


#: Seconds that a cell of `make test` may have taken when it passed: all of it has to end in three quarters of an hour.
SHORT = 100


def for_all(result: t.Mapping[str, t.Any]) -> bool:
    """Whether a test that has passed is one for `make test`: it is run now as it was then, and is short."""
    return "typed" in result and int(result["seconds"]) <= SHORT


EVENT = "event"


def labels(name: str) -> set[str]:
    """What a test is of, by its name: the procedure, the step and the fault of a cell; of anything else that it is an event."""
    parts = name.split("-")
    return {*parts[:1], "-".join(parts[:2]), *parts[2:]} if parts[0] in STEPS else {EVENT, name}


def sample(names: t.Iterable[str], number: int, seed: int) -> list[str]:
    """So many tests by chance, as different from one another as can be: a few of them are to meet every fault."""
    left = sorted(names)
    random.Random(seed).shuffle(left)
    used: dict[str, int] = {}
    chosen: list[str] = []
    while left and len(chosen) < number:
        best = min(left, key=lambda name: sum(used.get(label, 0) for label in labels(name)))
        left.remove(best)
        chosen.append(best)
        for label in labels(best):
            used[label] = used.get(label, 0) + 1
    return chosen
