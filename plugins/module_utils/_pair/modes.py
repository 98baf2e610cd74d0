# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""How each VM goes to the other host in `migrate unsecure`, how long it will stand still, and why: pure.

====== =================================================================================================================
live   Its memory moves while it runs; it stands still for the last of it.
direct It is paused, its memory moves straight over, and it goes on there; a frozen one stays frozen.
secure It is saved before the last set, and restored when the other host is ACTIVE: for what libvirt cannot move.
====== =================================================================================================================

A VM that is off has no part in it: its disks are in the last set.
"""

from __future__ import annotations

import math
import types
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import human

LIVE, DIRECT, SECURE, REFUSED = "live", "direct", "secure", "refused"
#: What the operator may wish, for all VMs (`hvm_move_mode`) or for one (`move=` in its description).
AUTO = "auto"
WISHES = (AUTO, LIVE, DIRECT, SECURE)
#: What becomes of a VM whose memory changes too fast (`hvm_move_fallback`).
REFUSE = "refuse"
FALLBACKS = (DIRECT, SECURE, REFUSE)
#: What is done with one that has not converged when its time is over: it is paused and moves on | it stays, and all goes back
#: (or stays as it is, as the operator chose).
BACK = "back"

#: Where the overlays are: on neither host's replicated datasets.
OVERLAYS = "/var/lib/hvm/overlays"

#: Of the link, what memory may change of in a second: above, each pass is hardly shorter than the one before it.
CONVERGES = 0.8
#: Bytes per second by which a dirty rate may be wrong: QEMU looks at 512 pages of each GiB, so each page that it sees changed
#: stands for 2 MiB, whatever the VM's size.
UNSURE = 4 << 20
#: Seconds. What stands still at the end of a live move (libvirt's own default for the last pass), and what a hand-over of one
#: VM takes besides: a journal on disk, and its MAC announced.
LAST_PASS, HAND_OVER = 0.3, 0.5
#: A saved VM's memory is written, sent and read.
SAVED_TIMES = 3

#: Facts of one VM: what `_libvirt.domains.vms` says of it.
Vm = t.Mapping[str, t.Any]


class Measured(t.NamedTuple):
    """What was measured before anything was changed.

    :ivar link: bytes per second that the link carries; 0 when that was not measured.
    :ivar dirty: VM -> bytes of its memory that change in a second; None, or not there, when that was not measured.
    """

    link: int = 0
    dirty: t.Mapping[str, int | None] = types.MappingProxyType({})


NOTHING = Measured()


class Policy(t.NamedTuple):
    """:ivar wish: for all VMs; AUTO leaves it to each VM's description.
    :ivar link: bytes per second that the link carries; 0 when nobody has measured it.
    :ivar limit: seconds in which a live move must have ended; with the last of them it is slowed down (auto-converge).
    :ivar max_pause: seconds that a VM may stand still, as far as that can be told before; 0 for any.
    :ivar fallback: of FALLBACKS.
    :ivar rate: bytes per second that one VM's memory may travel with, by the operator's word; 0: as fast as the link is.
    """

    wish: str = AUTO
    link: int = 0
    limit: int = 300
    max_pause: int = 0
    fallback: str = DIRECT
    rate: int = 0

    @property
    def speed(self) -> int:
        """Bytes per second that memory travels with; 0 when nobody knows."""
        return min(self.link, self.rate) if self.link and self.rate else self.link or self.rate


class Choice(t.NamedTuple):
    """:ivar mode: LIVE, DIRECT, SECURE, or REFUSED.
    :ivar why: the sentence for it, without its full stop; "" for one that is refused.
    :ivar findings: why it is refused.
    :ivar throttle: its CPUs are slowed down until its memory converges.
    :ivar then: what becomes of a live move that does not end in time: DIRECT or BACK; "" for the other modes.
    :ivar pause, seconds: how long it is expected to stand still, and to take; at most, since free memory is not sent; None when
        the link was not measured.
    :ivar frozen: somebody has frozen it, and it stays so.
    :ivar known: whether how fast its memory changes was measured well enough to choose by it.
    """

    mode: str
    why: str = ""
    findings: tuple[Finding, ...] = ()
    throttle: bool = False
    then: str = ""
    pause: float | None = None
    seconds: float | None = None
    frozen: bool = False
    known: bool = True


def takes_part(vm: Vm) -> bool:
    return vm["state"] in ("running", "frozen")


# ---- what is measured


def worth_measuring(vms: t.Mapping[str, Vm], policy: Policy) -> list[str]:
    """VMs that may move live. One that is frozen changes nothing, and the others' way does not depend on it."""
    return sorted(name for name, vm in vms.items() if vm["state"] == "running" and wished(vm, policy) in (AUTO, LIVE))


def measured_lines(measured: Measured) -> list[str]:
    lines = [f"the link carries {human(measured.link)} in a second"] if measured.link else []
    rates = ", ".join(f"{name} {human(rate)}" for name, rate in sorted(measured.dirty.items()) if rate is not None)
    return lines + ([f"of the VMs' memory change in a second: {rates}"] if rates else [])


# ---- what is in the way


def blockers(name: str, vm: Vm, covered: t.Callable[[str], bool], host: str = "") -> list[Finding]:
    """What lets a VM neither move nor be saved.

    :param covered: whether a path of this host lies on a replicated dataset.
    """
    found = []

    def no(what: str, remedy: str) -> None:
        found.append(Finding(f"VM {name} {what}", remedy, host))

    has = vm["obstacles"]
    if vm["hostdevs"]:
        no("holds a device of the host", "Shut it down first, or detach the device.")
    if not vm["persistent"]:
        no("is transient and would be lost", "Define it (virsh define), or shut it down.")
    if vm["saved"]:
        no("runs and yet has a state image", "Look which is right; move the image away if it is old.")
    if has["tpm"]:
        no("uses the TPM of the host", "Shut it down first, or give it an emulated one.")
    for shown in has["filesystems"]:
        no(f"has a directory of the host ({shown})", "Shut it down first, or detach the directory.")
    for disk in has["transient"]:
        no(f"has a disk whose writes are thrown away ({disk})", "Shut it down first.")
    for disk in has["luns"]:
        no(f"has a device of the host as its disk {disk}", "Shut it down first, or detach the disk.")
    for disk in has["jobs"]:
        no(f"has a disk that libvirt works on ({disk})", f"Wait until that has ended: virsh blockjob {name} {disk} --info.")
    for medium in has["media"]:
        if not covered(medium):
            no(
                f"has the medium {medium}, which is on no replicated dataset",
                "Eject it (virsh change-media), or move it below one of hvm_datasets.",
            )
    for path in _writable(vm):
        if path.startswith(f"{OVERLAYS}/"):
            no(
                f"still writes into an overlay: {path}",
                "An earlier migrate_unsecure has left it. hvm.pair.recover merges it into the disk.",
            )
        elif not covered(path):
            no(f"has the disk {path}, which is on no replicated dataset", "Move it below one of hvm_datasets.")
    return found


def stays_put(vm: Vm, shared: t.Collection[str]) -> list[str]:
    """What libvirt does not move, or an overlay does not stand for, and a saved VM does not mind: half sentences.

    :param shared: disks that another VM that runs has, too.
    """
    has = vm["obstacles"]
    found = [f"it has a device whose other end is a program of the host ({one})" for one in has["vhost_user"]]
    found += [f"another VM may write to its disk {disk}" for disk in has["shareable"]]
    found += [f"another VM has its disk {path}, too" for path in _writable(vm) if path in shared]
    found += [f"its disk {disk} is encrypted by QEMU" for disk in has["encrypted"]]
    return found + (["it has snapshots of libvirt's"] if vm["snapshots"] else [])


def _writable(vm: Vm) -> list[str]:
    return [disk["path"] for disk in vm["disks"] if disk["path"] and disk["device"] == "disk" and not disk["readonly"]]


def shared_disks(vms: t.Mapping[str, Vm]) -> set[str]:
    """Disks that more than one of the VMs that run would write to."""
    seen: set[str] = set()
    twice: set[str] = set()
    for vm in vms.values():
        for path in set(_writable(vm)) if takes_part(vm) else ():
            (twice if path in seen else seen).add(path)
    return twice


# ---- how long it takes


def live_seconds(memory: int, dirty: int | None, link: int) -> float | None:
    """Of the passes through a VM's memory: each takes as long as what has changed in the one before it, so they sum up to
    memory / (link - dirty).

    :param memory: bytes; `dirty`, `link`: bytes per second. :return: None when nobody knows, or it never ends.
    """
    if not link or not converges(dirty, link):
        return None
    return memory / (link - (dirty or 0))


def converges(dirty: int | None, link: int) -> bool:
    """Whether a live move ends by itself; one whose rates nobody has measured may."""
    return not dirty or not link or dirty < CONVERGES * link


def certain(dirty: int | None, link: int) -> int | None:
    """A dirty rate; None for one that says nothing about this link: what it may be wrong by decides whether it converges."""
    turns = dirty is not None and converges(dirty, link) and not converges(dirty + UNSURE, link)
    return None if turns else dirty


def _sent(vm: Vm, link: int, times: int = 1) -> float | None:
    return times * vm["memory_kib"] * 1024 / link if link else None


# ---- the choice


def wished(vm: Vm, policy: Policy) -> str:
    """The word for this run counts for all; without one, that in the VM's description."""
    return policy.wish if policy.wish != AUTO else str(vm.get("move") or AUTO)


def choose(
    name: str,
    vm: Vm,
    policy: Policy,
    dirty: int | None = None,
    shared: t.Collection[str] = (),
    covered: t.Callable[[str], bool] = lambda path: True,
    host: str = "",
) -> Choice:
    """For one VM that runs or is frozen.

    :param dirty: bytes of its memory that change in a second; None when that was not measured.
    :param shared: as in `stays_put`; `covered`: as in `blockers`.
    """
    found = blockers(name, vm, covered, host)
    if found:
        return Choice(REFUSED, findings=tuple(found))
    wish, stays = wished(vm, policy), stays_put(vm, shared)
    if stays and wish in (LIVE, DIRECT):
        what = f"VM {name} cannot move ({wish}): {'; '.join(stays)}"
        remedy = "Let it be saved (hvm_move_mode=secure, or move=secure in its description), or shut it down first."
        return Choice(REFUSED, findings=(Finding(what, remedy, host),))
    frozen = vm["state"] == "frozen"
    if stays:
        return _secure(vm, policy, "; ".join(stays), frozen)
    if wish == SECURE:
        return _secure(vm, policy, "it is wished so", frozen)
    if frozen:
        return Choice(DIRECT, "it is frozen, and stays so", pause=0.0, seconds=_sent(vm, policy.speed), frozen=True)
    if wish == DIRECT:
        return _direct(vm, policy, "it is wished so")
    return _live(name, vm, policy, dirty, wish, host)


def _secure(vm: Vm, policy: Policy, why: str, frozen: bool = False) -> Choice:
    # its image goes with the last sync, which has no part in what one VM's memory may take
    seconds = _sent(vm, policy.link, SAVED_TIMES)
    return Choice(SECURE, why, pause=0.0 if frozen else _plus(seconds, HAND_OVER), seconds=seconds, frozen=frozen)


def _direct(vm: Vm, policy: Policy, why: str) -> Choice:
    seconds = _sent(vm, policy.speed)
    return Choice(DIRECT, why, pause=_plus(seconds, HAND_OVER), seconds=seconds)


def _plus(seconds: float | None, more: float) -> float | None:
    return None if seconds is None else seconds + more


def _live(name: str, vm: Vm, policy: Policy, dirty: int | None, wish: str, host: str) -> Choice:
    """Live where its memory converges in time; else slowed down, or as `fallback` says."""
    memory, link = vm["memory_kib"] * 1024, policy.speed
    then = DIRECT if wish == AUTO and policy.fallback == DIRECT else BACK
    dirty = certain(dirty, link)
    seconds = live_seconds(memory, dirty, link)
    if not link or dirty is None:
        return _unknown(memory, policy, then)
    rates = f"of {human(memory)} of memory {human(dirty)} change in a second, and {human(link)} can go over"
    if seconds is not None and seconds <= policy.limit:
        return Choice(LIVE, rates, then=then, pause=LAST_PASS + HAND_OVER, seconds=seconds)
    late = f"it would take longer than {policy.limit} s" if seconds is not None else "it would not end by itself"
    if wish == LIVE:
        return _throttled(memory, policy, f"{rates}: {late}", BACK)
    if policy.fallback == REFUSE:
        what = f"VM {name} cannot move while it runs: {rates}: {late}"
        remedy = (
            "Allow it to be paused (hvm_move_fallback=direct) or saved (secure), give it more time (hvm_move_limit), or wait."
        )
        return Choice(REFUSED, findings=(Finding(what, remedy, host),))
    if policy.fallback == SECURE:
        return _secure(vm, policy, f"{rates}: {late}")
    if memory / link > policy.limit:  # no pass through it ends in time: to slow it down costs, and brings nothing
        return _direct(vm, policy, f"{rates}: {late}")
    return _throttled(memory, policy, f"{rates}: {late}", then)


def _throttled(memory: int, policy: Policy, why: str, then: str) -> Choice:
    return Choice(LIVE, why, throttle=True, then=then, pause=_late(memory, policy.speed, then), seconds=float(policy.limit))


def _unknown(memory: int, policy: Policy, then: str) -> Choice:
    """One that nothing is known against: it is tried. It is not paused for longer than is allowed, but rather given up."""
    if not policy.speed:
        why = f"{human(memory)} of memory; how fast it changes is not known"
        return Choice(LIVE, why, throttle=True, then=then, known=False)
    if policy.max_pause and _late(memory, policy.speed, then) > policy.max_pause:
        then = BACK
    why = f"{human(memory)} of memory, of which {human(policy.speed)} can go over in a second; how fast it changes is not known"
    pause, seconds = _late(memory, policy.speed, then), memory / policy.speed
    return Choice(LIVE, why, throttle=True, then=then, pause=pause, seconds=seconds, known=False)


def _late(memory: int, speed: int, then: str) -> float:
    """Seconds of interruption of one that may not converge: paused at the end of its time, it has at most all its memory left."""
    return memory / speed + HAND_OVER if then == DIRECT else LAST_PASS + HAND_OVER


def choose_all(
    vms: t.Mapping[str, Vm],
    policy: Policy,
    dirty: t.Mapping[str, int | None],
    covered: t.Callable[[str], bool],
    host: str,
) -> dict[str, Choice]:
    """For every VM that takes part, by name.

    A saved VM waits for all the others, since it is restored when the other host is ACTIVE.
    """
    shared = shared_disks(vms)
    found = {
        name: choose(name, vm, policy, dirty.get(name), shared, covered, host)
        for name, vm in sorted(vms.items())
        if takes_part(vm)
    }
    others = sum(one.seconds or 0.0 for one in found.values() if one.mode in (LIVE, DIRECT))
    return {name: _within(name, _waiting(one, others), policy, host) for name, one in found.items()}


def _waiting(one: Choice, others: float) -> Choice:
    return one._replace(pause=_plus(one.pause, others)) if one.mode == SECURE and not one.frozen else one


def _within(name: str, one: Choice, policy: Policy, host: str) -> Choice:
    if not policy.max_pause or one.pause is None or one.pause <= policy.max_pause:
        return one
    what = f"VM {name} would stand still for {_seconds(one.pause)} ({one.mode}), and {policy.max_pause} s are allowed: {one.why}"
    remedy = "Allow more (hvm_move_max_pause), choose another way for it (hvm_move_mode), or wait until it has less to do."
    return Choice(REFUSED, findings=(Finding(what, remedy, host),))


def refusals(choices: t.Mapping[str, Choice]) -> list[Finding]:
    return [finding for one in choices.values() for finding in one.findings]


def of_mode(choices: t.Mapping[str, Choice], *modes: str) -> list[str]:
    """Names, sorted."""
    return sorted(name for name, one in choices.items() if one.mode in modes)


# ---- said


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 10 else f"{math.ceil(value)} s"


def expected(one: Choice) -> dict[str, t.Any]:
    """As data, for check mode: its mode and why; what it is expected to take, and to stand still, where that is known."""
    seconds = {"expected_seconds": one.seconds, "expected_interruption": one.pause}
    return {"mode": one.mode, "why": one.why, **{key: round(value, 3) for key, value in seconds.items() if value is not None}}


def plan_line(name: str, one: Choice) -> str:
    """What becomes of a VM, and why."""
    if one.frozen:
        how = f"{name}: {one.mode}, and stays frozen"
    elif one.pause is None or one.seconds is None:
        how = f"{name}: {one.mode}"
    elif one.mode == SECURE:
        how = f"{name}: secure, about {_seconds(one.pause)} of interruption, until all others have moved"
    elif not one.known and one.then == DIRECT:
        how = f"{name}: {one.mode}, in {_seconds(one.seconds)} or more, at most {_seconds(one.pause)} of interruption"
    elif not one.known:
        how = f"{name}: {one.mode}, in {_seconds(one.seconds)} or more, about {_seconds(one.pause)} of interruption"
    elif one.throttle and one.then == DIRECT:
        how = f"{name}: {one.mode}, in about {_seconds(one.seconds)}, at most {_seconds(one.pause)} of interruption"
    else:
        how = f"{name}: {one.mode}, in about {_seconds(one.seconds)}, about {_seconds(one.pause)} of interruption"
    if one.throttle:
        how = f"{how}; slowed down if it does not converge, then {_THEN[one.then]}"
    return f"{how}: {one.why}"


_THEN = {DIRECT: "paused and moved", BACK: "given up"}


def plan(
    choices: t.Mapping[str, Choice],
    here: str,
    there: str,
    shared_ips: t.Sequence[str] = (),
    begun: t.Mapping[str, t.Any] | None = None,
) -> list[str]:
    """Every step of the migration, for check mode.

    :param begun: the journal of one that is gone on with: the last set was taken, VMs saved, and nothing is written to disks.
    """
    moving, saved = of_mode(choices, LIVE, DIRECT), of_mode(choices, SECURE)
    lines = []
    if begun is None:
        lines += ["snapshot, sync, until the rest is small"]
        lines += [f"save these VMs: {', '.join(saved)}"] if saved else []
        if moving:
            lines += [f"overlays for the disks of {', '.join(moving)}: from then on nobody writes the disks themselves"]
        lines += ["snapshot set, sync, verify"]
    else:
        moving, saved = sorted(begun["overlays"]), list(begun["saved"])
    lines += [f"{there} makes ready to take the VMs, without becoming ACTIVE"]
    lines += [f"move to {there}, by priority:"] if choices else []
    lines += [plan_line(name, one) for name, one in choices.items()]
    lines += [f"shared IP off on {here}"] if shared_ips else []
    lines += [f"stop the hypervisor on {here}, {here} becomes PASSIVE", f"{there} becomes ACTIVE"]
    lines += [f"restore these VMs: {', '.join(saved)}"] if saved else []
    lines += [f"shared IP on at {there}"] if shared_ips else []
    return lines + (["merge the overlays into the disks"] if moving else [])
