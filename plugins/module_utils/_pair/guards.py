# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Who may do what: pure functions from what was observed on both hosts to reasons to refuse.

An observation is what `_procedure.observe.observe` returns on a host. No finding means: allowed.
"""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding
from ansible_collections.hvm.pair.plugins.module_utils._pair import compat, modes, moving, operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import ACTIVE, DIVERGED, PASSIVE, UNKNOWN
from ansible_collections.hvm.pair.plugins.module_utils._zfs import kernel

Observation = dict[str, t.Any]


def common(me: Observation, own: t.Collection[str] = ()) -> list[Finding]:
    """What every operation needs of a host.

    :param own: operations that the one asked for finishes, if they did not end.
    """
    host = me["host"]
    found = []
    for pool, health in me["pools"].items():
        if health == "missing":
            found.append(Finding(f"pool {pool} is not there", f"Import it (zpool import {pool}), or correct hvm_datasets.", host))
        elif health not in kernel.USABLE:
            found.append(Finding(f"pool {pool} is {health}", f"Repair it first: zpool status {pool}.", host))
    entry = me["pending"]
    if entry and not me["lock"] and entry["operation"] == moving.OPERATION and moving.OPERATION not in own:
        found.append(moving.unfinished(entry, host))
    elif entry and not me["lock"] and entry["operation"] not in own:
        found.append(
            Finding(
                f"{entry['operation']}, begun {entry['started']}, did not end: it was last at '{entry['step']}'",
                _ends(entry, me),
                host,
            )
        )
    return found


def _ends(entry: t.Mapping[str, t.Any], me: Observation) -> str:
    """What ends an operation. The next backup ends one of its kind, but for that libvirt has to answer."""
    if entry["operation"] in BACKUPS and not me["hypervisor"]["running"]:
        return "hvm.pair.recover finishes it or undoes it, and says which."
    return entry.get("remedy") or "hvm.pair.recover finishes it or undoes it, and says which."


def degraded(*sides: Observation | None) -> list[str]:
    """Pools that have lost a disk, in words. No reason to refuse: a backup and a way off that host are wanted all the more."""
    return [
        f"pool {pool} of {side['host']} is DEGRADED: replace what has failed (zpool status {pool})"
        for side in sides
        if side
        for pool, health in side["pools"].items()
        if health == "DEGRADED"
    ]


def is_active(me: Observation, what: str) -> list[Finding]:
    """This host is the one that may do `what`."""
    role, host = me["role"]["now"], me["host"]
    if role == ACTIVE:
        return []
    remedy = {
        PASSIVE: f"Run it on the other host, {me['peer']}, if that one is ACTIVE.",
        UNKNOWN: "After a boot nothing starts by itself: hvm.pair.recover finds the host that was ACTIVE last, and starts it.",
        DIVERGED: "It holds writes that the other lacks: decide about them first (hvm.pair.rejoin).",
    }[role]
    return [Finding(f"this host is {role}, and only the ACTIVE one can {what}", remedy, host)]


def roles(me: Observation, peer: Observation) -> list[Finding]:
    """One ACTIVE, one PASSIVE, in that order; the other one really is stopped."""
    found = _strangers(me, peer)
    host, other = peer["host"], me["host"]
    now = peer["role"]["now"]
    if now == ACTIVE:
        found.append(
            Finding(
                f"{host} is ACTIVE too (epoch {peer['role']['epoch']}; {other} has epoch {me['role']['epoch']})",
                _which_is_the_later(me, peer),
                host,
            )
        )
    elif now == UNKNOWN and not peer["role"]["since"]:
        found.append(Finding("it has no role yet", "Run the playbook hvm.pair.install on both hosts.", host))
    elif now == DIVERGED:
        found.append(Finding("it is DIVERGED: it holds writes that the other lacks", "Decide about them first.", host))
    elif now == UNKNOWN and peer["role"]["role"] == ACTIVE:
        found.append(
            Finding(
                f"it was ACTIVE (epoch {peer['role']['epoch']}) before it rebooted",
                "Find out which host has the newest data before anything is sent there.",
                host,
            )
        )
    if peer["role"]["epoch"] > me["role"]["epoch"]:
        found.append(
            Finding(
                f"{host} has seen epoch {peer['role']['epoch']} and {other} only {me['role']['epoch']}",
                f"{host} was ACTIVE after {other}: its data are newer. Nothing may be sent over them.",
                host,
            )
        )
    if peer["hypervisor"]["running"] and now != ACTIVE:
        found.append(
            Finding("its hypervisor is running although it is not ACTIVE", "Stop it there: hvm_hypervisor state=stopped.", host)
        )
    if peer["qemu"] and now != ACTIVE:
        found.append(
            Finding(f"VMs run there: {', '.join(peer['qemu'])}", "Shut them down there first; they run on a copy.", host)
        )
    return found


def replicas(me: Observation, peer: Observation) -> list[Finding]:
    """The datasets of both sides fit for a sync to `peer`."""
    found = []
    for root in me["missing_datasets"]:
        found.append(
            Finding(f"dataset {root} does not exist", "Create it (hvm.pair.install does), or correct hvm_datasets.", me["host"])
        )
    for text in peer["not_inert"]:
        found.append(
            Finding(
                f"{text} although it is PASSIVE",
                "A replica must be inert: hvm_hypervisor state=stopped makes it so.",
                peer["host"],
            )
        )
    return found


def landing(me: Observation, peer: Observation) -> list[Finding]:
    """The VMs of this host can live on `peer`, and can be saved."""
    return _savable(me) + places(me, peer)


def _savable(me: Observation) -> list[Finding]:
    found = []
    for name, vm in me["vms"].items():
        if vm["state"] not in ("running", "frozen"):
            continue
        if vm["hostdevs"]:
            found.append(
                Finding(
                    f"VM {name} holds a device of the host and cannot be saved",
                    "Shut it down first, or detach the device.",
                    me["host"],
                )
            )
        if not vm["persistent"]:
            found.append(
                Finding(f"VM {name} is transient and would be lost", "Define it (virsh define), or shut it down.", me["host"])
            )
        if vm["saved"]:
            found.append(
                Finding(
                    f"VM {name} runs and yet has a state image",
                    "Look which is right; move the image away if it is old.",
                    me["host"],
                )
            )
        found += _left_behind(name, vm, me)
    return found


def _left_behind(name: str, vm: t.Mapping[str, t.Any], me: Observation) -> list[Finding]:
    return [
        Finding(
            f"VM {name}: disk {disk['path']} is on no replicated dataset",
            "Move it below one of hvm_datasets; it would be left behind.",
            me["host"],
        )
        for disk in vm["disks"]
        if disk["path"] and not disk["readonly"] and disk["device"] == "disk" and not covered(disk["path"], me)
    ]


def outside(me: Observation) -> list[Finding]:
    """Disks that are in no set, of VMs that run, are saved, or start by themselves: each backup warns of them.

    Not of a VM that its owner has left out (autobackup=no), and of no disk that is neither a file nor a device of this host.
    """
    found = []
    for name, vm in me["vms"].items():
        if vm.get("autobackup", True) and (vm["state"] != "stopped" or vm["saved"] or vm["autostart"]):
            local = [disk for disk in vm["disks"] if (disk["path"] or "").startswith("/")]
            found += _left_behind(name, {**vm, "disks": local}, me)
    return found


def locked(peer: Observation) -> list[Finding]:
    """Nothing of an encrypted dataset is seen where its key is not loaded. A replica does without, since it is sent raw."""
    names = sorted(peer.get("locked") or ())
    what = f"the encryption key of {', '.join(names)} is not loaded"
    return [Finding(what, "Load it there: zfs load-key -a.", peer["host"])] if names else []


def places(me: Observation, peer: Observation) -> list[Finding]:
    """What `peer` must have for the VMs of this host."""
    found = locked(peer)
    for name in sorted(set(peer["dataset_names"]) - set(me["dataset_names"])):
        found.append(
            Finding(
                f"dataset {name} is there and not on {me['host']} (renamed or destroyed here?)",
                f"Rename it to a place outside of {', '.join(me['datasets'])}, or destroy it.",
                peer["host"],
            )
        )
    needed = 0
    bridges: dict[str, list[str]] = {}
    for name, vm in me["vms"].items():
        runs = vm["state"] in ("running", "frozen")
        for bridge in [*vm["bridges"], *(me["network_bridges"][n] for n in vm["networks"] if n in me["network_bridges"])]:
            bridges.setdefault(bridge, []).append(name)
        if vm["emulator"] and vm["emulator"] not in peer["emulators"]:
            found.append(
                Finding(f"VM {name} wants the emulator {vm['emulator']}, which is not there", "Install it there.", peer["host"])
            )
        if runs:
            needed += vm["memory_kib"]
    for bridge, names in sorted(bridges.items()):
        found += _network(bridge, ", ".join(names), me, peer)
    if needed > peer["memory_available_kib"]:
        found.append(
            Finding(
                f"the VMs need {needed // 1024} MiB of memory and {peer['memory_available_kib'] // 1024} MiB are free",
                "Free some there.",
                peer["host"],
            )
        )
    interface = me["shared_ip"]["interface"]
    if interface and interface not in peer["interfaces"]:
        found.append(Finding(f"interface {interface} for the shared IP is not there", "Correct hvm_service_iface.", peer["host"]))
    elif peer.get("no_shared_ip"):
        what, remedy = peer["no_shared_ip"]
        found.append(Finding(f"it could not take the shared IP: {what}", remedy, peer["host"]))
    return found


def _network(bridge: str, vms: str, me: Observation, peer: Observation) -> list[Finding]:
    """A bridge that is another network there is worse than none: the VMs would talk to others."""
    mine, theirs = (side.get("networks", {}).get("declared", {}).get(bridge) for side in (me, peer))
    wrong = peer.get("networks", {}).get("wrong", {}).get(bridge, [])
    apply = "Bring the two together: hvm_network state=applied."
    if bridge not in peer["bridges"]:
        remedy = apply if mine or theirs else "Create it there, as it is on this host."
        return [Finding(f"bridge {bridge} is not there, and {vms} need it", remedy, peer["host"])]
    if mine and theirs and mine != theirs:
        return [Finding(f"bridge {bridge} is declared as another network there, and {vms} need it", apply, peer["host"])]
    if theirs and wrong:
        what = f"bridge {bridge} is not as it was declared ({'; '.join(wrong)}), and {vms} need it"
        return [Finding(what, "Mend it there: hvm_network state=applied.", peer["host"])]
    return []


def covered(path: str, me: Observation) -> bool:
    """Whether a disk lies on a replicated dataset: a zvol below a root, or a file below one of their mountpoints."""
    if path.startswith("/dev/zvol/"):
        return any(
            path[len("/dev/zvol/") :] == root or path[len("/dev/zvol/") :].startswith(root + "/") for root in me["datasets"]
        )
    return any(path.startswith(mount.rstrip("/") + "/") for mount in me["mountpoints"])


def room(me: Observation, names: t.Collection[str] | None = None) -> list[Finding]:
    """Room for the state images of the running VMs: of all, or of those that are named."""
    runs = {name: vm for name, vm in me["vms"].items() if vm["state"] in ("running", "frozen")}
    needed = sum(vm["memory_kib"] for name, vm in runs.items() if names is None or name in names) * 1024
    if me["state_dir_free"] is not None and needed > me["state_dir_free"]:
        return [
            Finding(
                f"the state images may need {needed >> 20} MiB and {me['state_dir']} has {me['state_dir_free'] >> 20} MiB free",
                "Free some, or shut down VMs that need not run.",
                me["host"],
            )
        ]
    return []


#: What the journal calls a backup that the next one finishes: `backup secure` by checkpoint, `backup unsecure`.
BACKUPS = ("checkpoint", "backup_unsecure")
#: In its journal when `recover` goes on with it, because the power went: then only that knows which VMs have to run again.
RECOVERS = "recovers"


def ended_by_backup(entry: t.Mapping[str, t.Any] | None) -> bool:
    """Whether this journal is of a backup that did not end, and all that is left to do is what the next one does first."""
    return entry is not None and entry["operation"] in BACKUPS and not entry.get(RECOVERS)


def backup(me: Observation, peer: Observation | None) -> list[Finding]:
    """With the memory of the VMs."""
    return backup_unsecure(me, peer) + room(me)


def backup_unsecure(me: Observation, peer: Observation | None) -> list[Finding]:
    found = [*is_active(me, "be backed up"), *common(me, BACKUPS if ended_by_backup(me["pending"]) else ())]
    if me.get("overlays") and not me["pending"]:
        what = f"overlays are left: {', '.join(sorted(me['overlays']))}; what their VMs write is in no dataset of the pair"
        found.append(Finding(what, "hvm.pair.recover merges them into their disks.", me["host"]))
    if peer is not None:
        found += [*common(peer), *roles(me, peer), *replicas(me, peer)]
    return found


def silent(me: Observation) -> list[Finding]:
    """VMs that would be waited for without end, while all others stand still."""
    remedy = "See virsh domcontrol {}. hvm_vm state=poweredoff ends it; then start it again."
    return [
        Finding(f"the QEMU of VM {name} does not answer", remedy.format(name), me["host"])
        for name, vm in me["vms"].items()
        if vm.get("silent")
    ]


def plain_save(me: Observation) -> list[Finding]:
    """Every VM that runs can be saved and restored."""
    return silent(me) + [
        Finding(
            f"VM {name} cannot be saved ({'host device' if vm['hostdevs'] else 'transient'})", "Shut it down first.", me["host"]
        )
        for name, vm in me["vms"].items()
        if vm["state"] in ("running", "frozen") and (vm["hostdevs"] or not vm["persistent"])
    ]


def sync(me: Observation, peer: Observation) -> list[Finding]:
    return [*is_active(me, "send"), *common(me), *common(peer), *roles(me, peer), *replicas(me, peer)]


def migrate(me: Observation, peer: Observation) -> list[Finding]:
    found = _hand_over(me, peer) + _unclear(me)
    return found + landing(me, peer) + compat.landing(me, peer, covered) + room(me)


def _unclear(me: Observation) -> list[Finding]:
    """A guest that sleeps, or has crashed and is kept: it is neither saved nor moved, and its process keeps the datasets."""
    remedy = "Look for its process (virsh domstate --reason); a VM must run or be off to move."
    return [
        Finding(f"VM {name} cannot be proven stopped", remedy, me["host"])
        for name, vm in me["vms"].items()
        if vm["state"] not in ("running", "frozen", "stopped")
    ]


def _hand_over(me: Observation, peer: Observation) -> list[Finding]:
    """What every migration needs of both hosts."""
    found = [*is_active(me, "hand its VMs over"), *common(me), *common(peer), *roles(me, peer), *replicas(me, peer)]
    if not me["hypervisor"]["running"]:
        found.append(
            Finding(
                "the hypervisor is stopped, so there is nothing to migrate", "Start it: hvm_hypervisor state=started.", me["host"]
            )
        )
    found += silent(me)
    found += _not_ours(me)
    for point, users in me["foreign_users"].items():
        found.append(
            Finding(
                f"{point} is in use by {', '.join(users)} and could not be unmounted",
                "End that (a shell with its directory there?).",
                me["host"],
            )
        )
    if me["shared_ip"]["in_use_by_us"]:
        found.append(
            Finding(
                "this run comes in over the shared IP, which is about to move",
                f"Connect to the host's own address, as {me['address']}.",
                me["host"],
            )
        )
    return found


def _not_ours(me: Observation) -> list[Finding]:
    """Mounts of the datasets that are taken away with the rest, and that `hv start` does not bring back."""
    otherwise = me.get("mounted_otherwise", {})
    found = []
    for name, point in otherwise.items():
        place = "" if point.startswith("/") else " mountpoint=PATH"
        found.append(
            Finding(
                f"{name} is mounted without hvm.pair, which would not mount it again after a stop or a move",
                f"Leave that to hvm.pair: zfs set canmount=noauto{place} {name}.",
                me["host"],
            )
        )
    # a bind mount goes, too: a dataset that is mounted anywhere is not inert, and nothing is received into it
    for name, point in me.get("mounted_elsewhere", []):
        if name not in otherwise:
            what = f"{name} is mounted at {point}, where hvm.pair would not mount it again"
            found.append(Finding(what, f"Unmount it: umount {point}.", me["host"]))
    return found


def migrate_unsecure(me: Observation, peer: Observation, choices: t.Mapping[str, modes.Choice] | None = None) -> list[Finding]:
    """Begin a move of VMs that run, or go on with one.

    :param choices: how each VM goes (`modes.choose_all`); None: not decided yet, and nothing is said of it.
    """
    if moving.source(me):
        return _move_on(me, peer, choices)
    found = _hand_over(me, peer) + places(me, peer) + compat.landing(me, peer, covered) + _unclear(me)
    for side in (me, peer):
        left = sorted(side.get("overlays") or ())
        if left:
            what = f"overlays of an earlier migrate_unsecure are left: {', '.join(left)}"
            found.append(Finding(what, f"hvm.pair.recover on {side['host']} puts them where they belong.", side["host"]))
    if choices is not None:
        found += [*modes.refusals(choices), *room(me, modes.of_mode(choices, modes.SECURE))]
    return found


def _move_on(me: Observation, peer: Observation, choices: t.Mapping[str, modes.Choice] | None) -> list[Finding]:
    """One that has begun. The rest was asked when it began, and both hosts have been busy with nothing else since.

    :param choices: of VMs that are left.
    """
    found = common(me, (moving.OPERATION,)) + common(peer, (moving.OPERATION,)) + _strangers(me, peer) + moving.go_on(me, peer)
    found += _unclear(me)
    for side in (me, peer):
        if side["lock"]:
            what = f"another operation is running: {side['lock']}"
            found.append(Finding(what, "Wait until it has ended.", side["host"]))
    if me["shared_ip"]["in_use_by_us"]:
        what = "this run comes in over the shared IP, which is about to move"
        found.append(Finding(what, f"Connect to the host's own address, as {me['address']}.", me["host"]))
    for name in moving.new(me):
        found.append(Finding(f"VM {name} runs, and is no part of the move", "Shut it down first.", me["host"]))
    back = "Let it be paused (hvm_move_mode=direct); or hvm.pair.recover brings the VMs back."
    for name, one in (choices or {}).items():
        found += one.findings
        if one.mode == modes.SECURE:
            what = f"VM {name} would have to be saved ({one.why}), and the last set has been taken"
            found.append(Finding(what, back, me["host"]))
    return found


def arrive(me: Observation, epoch: int, name: str, behind: t.Sequence[str], complete: bool) -> list[Finding]:
    """Take VMs that move, without becoming ACTIVE; asked on the host where they arrive. Once more is no fault.

    :param epoch: in which this host is to become ACTIVE; `name`, `behind`, `complete`: as in `activate`.
    """
    again = moving.is_same({"set": name}, moving.target(me))
    if again and moving.is_ready(me):
        return []
    found = activate(me, epoch, name, behind, complete)
    if again and not moving.arrived(me):
        return found  # it was cut off before it was ready
    if not found and (me["pending"] or me.get("overlays")):
        what = "an operation did not end here"
        if not me["pending"]:
            what = f"overlays are left here: {', '.join(sorted(me['overlays']))}"
        found = [Finding(what, "hvm.pair.recover on this host puts that in order.")]
    return found


def take_over(me: Observation, epoch: int, name: str, vms: t.Collection[str]) -> list[Finding]:
    """Become ACTIVE, because the other host has nothing left; asked on the host that its VMs have moved to.

    :param vms: all that had to arrive; saved ones do not. Asked once more it says nothing, as long as it is the same.
    """
    now, mine, entry = me["role"]["now"], me["role"]["epoch"], moving.target(me)
    if entry is None or not moving.is_same({"set": name}, entry):
        return [Finding(f"no VM has arrived here with the set {name}", "")]
    if now == ACTIVE and mine == epoch:
        return []
    if now != PASSIVE or epoch <= mine or not moving.is_ready(me):
        return [Finding(f"this host is {now} in epoch {mine} and cannot become ACTIVE in {epoch}", "")]
    missing = sorted(set(vms) - set(moving.arrived(me)))
    return [Finding(f"{', '.join(missing)} did not arrive here", "")] if missing else []


def go_on(me: Observation, names: t.Collection[str]) -> list[Finding]:
    """Let VMs that stand still on this host go on, by an operator's word.

    A VM stands on both hosts when the answer of its move got lost: QEMU would let either go on, and only one is the VM.
    """
    found = []
    for name in sorted(moving.not_mine(me).intersection(names)):
        what = f"VM {name} stands still in the midst of its move, and may be the other host's"
        found.append(Finding(what, moving.ways(me["pending"]), me["host"]))
    return found


def misnamed(me: Observation, down: str) -> list[Finding]:
    """A word about a host of another pair, or of none, is for nobody here, also where it is not needed. A playbook says it to
    both hosts of the pair.
    """
    if down in ("", me["peer"], me["host"]):
        return []
    remedy = f"If {me['peer']} is off, name it: hvm_peer_is_down={me['peer']}."
    return [Finding(f"{down!r} is not the other host of the pair", remedy, me["host"])]


def start(me: Observation, peer: Observation | None, confirmed_down: str = "") -> list[Finding]:
    """Start the hypervisor here. Nobody becomes ACTIVE on the strength of a failed ping.

    :param peer: None when the other host does not answer.
    :param confirmed_down: the other host's name, typed by the operator: it is off.
    """
    found = common(me) + (misnamed(me, confirmed_down) if peer is not None else [])
    if not me["role"]["since"]:
        found.append(Finding("this host has no role yet", "Run the playbook hvm.pair.install on both hosts.", me["host"]))
    elif me["role"]["role"] == DIVERGED:
        found.append(Finding(DIVERGED_HERE, DECIDE, me["host"]))
    return found + _other_may_be_active(me, peer, confirmed_down)


def _other_may_be_active(me: Observation, peer: Observation | None, confirmed_down: str) -> list[Finding]:
    found = []
    role, host, other = me["role"], me["host"], me["peer"]
    if role["role"] == PASSIVE and me["sets"] and not me["sets"][-1]["complete"]:
        found.append(
            Finding(
                f"the replicas are of two moments: {me['sets'][-1]['name']} has arrived on some datasets only",
                "hvm.pair.recover or hvm.pair.failover goes back to the last complete set.",
                host,
            )
        )
    if peer is None:
        if role["now"] == ACTIVE:
            return found
        silent = [_silent(me)] if confirmed_down != other else []
        return found + (not_off(me) or silent)
    found += _strangers(me, peer)
    if peer["lock"]:
        found.append(Finding(f"another operation is running: {peer['lock']}", "Wait until it has ended.", peer["host"]))
    if peer["role"]["now"] == ACTIVE or peer["hypervisor"]["running"] or peer["qemu"]:
        found.append(
            Finding(
                f"{peer['host']} is {peer['role']['now']} and its hypervisor is not stopped",
                "Migrate from there instead.",
                peer["host"],
            )
        )
    elif role["now"] != ACTIVE and peer["role"]["role"] == ACTIVE:
        if role["role"] == PASSIVE and peer["role"]["epoch"] <= role["epoch"]:
            found.append(
                Finding(
                    f"{other} was ACTIVE last (epoch {peer['role']['epoch']}): what it wrote since the last set is only there",
                    f"Start it there. If {other} cannot: hvm.pair.failover shows what would be lost.",
                    host,
                )
            )
        elif role["role"] == ACTIVE and not is_later(me, peer):
            return [*found, _later(me, peer) if is_later(peer, me) else both_were_active(me, peer)]
    if peer["role"]["epoch"] > role["epoch"]:
        found += _newer(me, peer) if role["role"] == peer["role"]["role"] == PASSIVE else [_later(me, peer)]
    return found


def newest(side: Observation) -> str:
    """The newest complete set; their names sort by time."""
    return max((str(one["name"]) for one in side["sets"] if one["complete"]), default="")


def _newer(me: Observation, peer: Observation) -> list[Finding]:
    """Of two PASSIVE hosts the higher epoch may be the other one's that was seen, as this host's record may be of an older time.

    So what counts is what they have: a PASSIVE host has nothing but its sets.
    """
    mine, theirs = newest(me), newest(peer)
    if mine and mine >= theirs:
        return []
    what = f"the newest complete set of {peer['host']} is {theirs or 'none'}, and here {mine or 'none'}"
    return [Finding(what, f"Start it on {peer['host']} instead.", me["host"])]


def _later(me: Observation, peer: Observation) -> Finding:
    return Finding(
        f"{peer['host']} was ACTIVE later (epoch {peer['role']['epoch']}, here {me['role']['epoch']})",
        f"Start it on {peer['host']} instead.",
        me["host"],
    )


DIVERGED_HERE = "this host is DIVERGED: it holds writes that the other lacks"
DECIDE = "Decide about them first: hvm.pair.rejoin shows them."


def _silent(me: Observation) -> Finding:
    other = me["peer"]
    if me["role"]["role"] == PASSIVE:
        complete = [one["name"] for one in me["sets"] if one["complete"]]
        since = f" since {complete[-1]}" if complete else ""
        return Finding(
            f"{other} does not answer, so it may be ACTIVE; what it wrote{since} is only there",
            f"hvm.pair.failover shows what would be lost. If you know that {other} is switched off: hvm_peer_is_down={other}.",
            me["host"],
        )
    return Finding(
        f"{other} does not answer, so it may be ACTIVE",
        f"If you know that it is switched off, say so: hvm_peer_is_down={other}.",
        me["host"],
    )


def not_off(me: Observation) -> list[Finding]:
    """The other host has answered, if only that it will not be asked: so no word counts that it is off."""
    says, other = me.get("peer_says"), me["peer"]
    if not says:
        return []
    remedy = "Mend that; hvm.pair.install brings both hosts to one version. To go on without it: switch it off, then say so."
    return [Finding(f"{other} answers, so it is not off, but it cannot be asked: {says}", remedy, me["host"])]


def _which_is_the_later(me: Observation, peer: Observation) -> str:
    """What to do about two ACTIVE hosts."""
    earlier = [other["host"] for one, other in ((me, peer), (peer, me)) if is_later(one, other)]
    if len(earlier) == 1:
        return f"Two ACTIVE hosts, and {earlier[0]} was it before the other: stop the VMs there, before anything else."
    return "Two ACTIVE hosts, and nothing tells which was it later: look at both, and stop the VMs on one before anything else."


def _strangers(me: Observation, peer: Observation) -> list[Finding]:
    if peer["pair"] == me["pair"]:
        return []
    remedy = "Correct hvm_hosts in the inventory and run hvm.pair.install."
    return [Finding(f"it belongs to the pair {peer['pair']}, not to {me['pair']}", remedy, peer["host"])]


def is_later(one: Observation, other: Observation) -> bool:
    """Whether `one` knew of the time when `other` was ACTIVE when it became so itself.

    The number of an epoch alone does not tell: a host that was started by force has counted on from what it knew.
    """
    return bool(other["role"]["epoch"] <= one["role"]["seen"])


def both_were_active(me: Observation, peer: Observation) -> Finding:
    """Neither knew of the other: only the operator can tell which data shall go on."""
    one, two = (f"{side['host']} (epoch {side['role']['epoch']})" for side in (me, peer))
    return Finding(
        f"{one} and {two} were both ACTIVE, without each other",
        "Each may hold writes that the other lacks. Look at both, then name the one that goes on: "
        "hvm.pair.rejoin with hvm_winner.",
        me["host"],
    )


def lend(me: Observation, epoch: int | None) -> list[Finding]:
    """Lend this host's lock to the other one, for an operation of that one's.

    :param epoch: of the host that asks; None for one that only wants to know where it stands (rejoin).
    """
    mine = me["role"]["epoch"]
    if epoch is not None and epoch < mine:
        what = f"this host has seen epoch {mine}, and the one that asks is in epoch {epoch}"
        return [Finding(what, "Its data are older than this host's: nothing is taken from it.")]
    if me["qemu"] and not moving.is_ready(me):  # to whom they came from: that one decides by both hosts' journals
        return [Finding(f"VMs run here: {', '.join(me['qemu'])}", "Shut them down first; they run on a copy.")]
    return []


def activate(me: Observation, epoch: int, name: str, behind: t.Sequence[str], complete: bool) -> list[Finding]:
    """Become ACTIVE because the other host hands over; asked on the host that takes over.

    :param name: the set that was handed over; `complete`: whether it is; `behind`: datasets that are not exactly at it.
    """
    now, mine = me["role"]["now"], me["role"]["epoch"]
    if now != PASSIVE or epoch <= mine:
        return [Finding(f"this host is {now} in epoch {mine} and cannot become ACTIVE in {epoch}", "")]
    if me["qemu"] or me["hypervisor"]["running"]:
        return [Finding("the hypervisor or VMs are running already", "")]
    if behind or not complete:
        return [Finding(f"the set {name} is not the state of {', '.join(behind) or 'all datasets'}", "")]
    return []


def took_over(other: Observation, epoch: int) -> bool:
    """Whether a host that was told to take over has done so: its record counts, also when it has rebooted since.

    :param epoch: in which the role was given away.
    """
    return bool(other["role"]["role"] == ACTIVE and other["role"]["epoch"] > epoch)


def may_go_on(other: Observation | None) -> bool:
    """Whether the host that gave its role away may take it back: only proof counts, a record and a stopped host."""
    if other is None or other["lock"] or other["qemu"] or other["hypervisor"]["running"]:
        return False
    return bool(other["role"]["role"] != ACTIVE)


def mount(me: Observation, peer: Observation | None, confirmed_down: str = "") -> list[Finding]:
    """Mount the datasets here, without the hypervisor. What it needs is what `start` needs; a replica is never mounted.

    :param peer: None when the other host does not answer.
    :param confirmed_down: the other host's name, typed by the operator: it is off.
    """
    if me["role"]["now"] == PASSIVE:
        return [
            Finding(
                "this host is PASSIVE, and mounting alone changes a replica (OpenZFS #12580): the next sync would be refused",
                "Look at a clone of a snapshot instead (zfs clone). If this host shall take over: hvm_hypervisor state=started.",
                me["host"],
            )
        ]
    return common(me) + _other_may_be_active(me, peer, confirmed_down)


def unmount(me: Observation) -> list[Finding]:
    """Unmount the datasets here: never under the hypervisor or a VM. What would not be mounted again stays."""
    host = me["host"]
    if me["qemu"]:
        return [Finding(f"VMs are running: {', '.join(me['qemu'])}", "Shut them down, save them, or migrate them first.", host)]
    if me["hypervisor"]["running"]:
        return [
            Finding(
                "the hypervisor is running and uses the datasets",
                "Stop it, which unmounts them too: hvm_hypervisor state=stopped.",
                host,
            )
        ]
    found = _not_ours(me) if me["role"]["role"] == ACTIVE else []
    return found + [
        Finding(f"{point} is in use by {', '.join(users)}", "End that (a shell with its directory there?).", host)
        for point, users in me["foreign_users"].items()
    ]


#: What the lock calls operations that move all VMs of a host, or the hypervisor from under them.
MOVING = (*operation.MOVE_THE_ROLE, "backup_secure")
#: Verbs on VMs that would come between: they start one, or leave an image that is not the operation's.
_COMES_BETWEEN = ("started", "restored", "saved")
#: Those that would make or use up an image while a backup has images of its own there. A start only costs its mark.
_OF_IMAGES = ("restored", "saved")


def vms(me: Observation, verb: str, others: str) -> list[Finding]:
    """A verb on VMs while another process works on this host. One that ends VMs is always allowed.

    :param others: the operation for which another process holds this host's lock; "" for none.
    """
    if verb not in _COMES_BETWEEN:
        return []
    if others in MOVING or (verb in _OF_IMAGES and others in BACKUPS):
        return [Finding(f"another operation is running: {me['lock'] or others}", "Wait until it has ended.", me["host"])]
    # one that is off here may run on the other host, or have its newest writes there
    return [moving.unfinished(me["pending"], me["host"])] if moving.source(me) or moving.target(me) else []


def last_active(me: Observation, peer: Observation | None) -> str:
    """Name of the host that was ACTIVE last, by what both have recorded; "" when neither record says so, or both say the same.

    :param peer: None when the other host does not answer: then its record may say otherwise.
    """
    said = {side["host"]: side["role"]["epoch"] for side in (me, peer) if side and side["role"]["role"] == ACTIVE}
    newest = [host for host, epoch in said.items() if epoch == max(said.values())]
    return newest[0] if len(newest) == 1 else ""


def hv_start(me: Observation, peer: Observation | None) -> list[Finding]:
    """Why no host can be named that `hv start` is for. What may refuse it there is for `start` to say."""
    if last_active(me, peer):
        return []
    other, host = me["peer"], me["host"]
    if peer is None:
        remedy = f"If {other} is lost: hvm.pair.failover shows what would be lost with it. If it is only silent: wait for it."
        return [Finding(f"this host was not ACTIVE last, and {other} does not answer", remedy, host)]
    if peer["role"]["role"] == me["role"]["role"] == ACTIVE:
        what = f"this host and {other} were both ACTIVE, in epoch {me['role']['epoch']}"
        return [Finding(what, "Look which one has the newest data, and start nothing before.", host)]
    remedy = "hvm.pair.recover finds out which one goes on; or name the one that you are sure of: hvm_start_host=NAME."
    return [Finding(f"neither this host nor {other} was ACTIVE last", remedy, host)]


def stop(me: Observation) -> list[Finding]:
    """Stop the hypervisor here: never under a VM, and never over the address that goes with it. In any role.

    Also where VMs have moved to and none runs any more: what they wrote stays there. Not where they come from.
    """
    found = unmount({**me, "hypervisor": {"running": False}})
    if moving.source(me):
        found.append(moving.unfinished(me["pending"], me["host"]))
    if me["shared_ip"]["in_use_by_us"]:
        found.append(
            Finding(
                "this run comes in over the shared IP, which is taken off this host when it stops",
                f"Connect to the host's own address, as {me['address']}.",
                me["host"],
            )
        )
    return found


#: What the journal calls a rollback and its undo; each goes on with what the other one has left.
ROLLBACK = ("rollback", "undo")


def rollback(me: Observation, peer: Observation | None) -> list[Finding]:
    """Go back to a snapshot set, or undo that, on the host that was ACTIVE last: hv stop > rollback > hv start.

    :param peer: None when the other host does not answer. Nothing is started by this, and nothing is lost, so that is no reason
        to refuse; whether the replica can follow is for `follower` to say.
    """
    found = common(me, ROLLBACK)
    host = me["host"]
    if me["hypervisor"]["running"]:
        found.append(Finding("the hypervisor is running on the present datasets", "Stop it: hvm_hypervisor state=stopped.", host))
    if me["qemu"]:
        found.append(Finding(f"VMs are running: {', '.join(me['qemu'])}", "Shut them down, or save them.", host))
    if me["role"]["role"] != ACTIVE:
        found.append(_not_the_last_active(me))
    elif not me["pending"]:
        found += _not_ours(me)  # after a boot, which mounts by itself: all is unmounted first
    if not me["pending"]:
        for root in me["missing_datasets"]:
            found.append(Finding(f"dataset {root} does not exist", "Look at it: zfs list; correct hvm_datasets.", host))
    if peer is not None:
        other = peer["host"]
        found += _strangers(me, peer)
        if peer["role"]["now"] == ACTIVE:
            remedy = f"Roll back there: {host} is not the ACTIVE host any more, and comes back by hvm.pair.recover."
            found.append(Finding("it is ACTIVE", remedy, other))
        elif peer["hypervisor"]["running"] or peer["qemu"]:
            found.append(Finding("its hypervisor is not stopped", "Stop it there: hvm_hypervisor state=stopped.", other))
        if peer["role"]["epoch"] > me["role"]["epoch"]:
            found.append(
                Finding(
                    f"it was ACTIVE later (epoch {peer['role']['epoch']}, {host} has epoch {me['role']['epoch']})",
                    "Its data are the newer ones: start it there, and look at 'status' of both.",
                    other,
                )
            )
    return found


def _not_the_last_active(me: Observation) -> Finding:
    role, peer = me["role"]["role"], me["peer"]
    if role == PASSIVE:
        return Finding(
            f"this host is PASSIVE: its datasets are copies of those of {peer}",
            f"Run it on {peer}. If that host is lost, start this one (hvm_hypervisor state=started), stop it, and roll back.",
            me["host"],
        )
    if role == DIVERGED:
        return Finding("this host is DIVERGED: it holds writes that the other lacks", "Decide about them first.", me["host"])
    return Finding("this host has no role yet", "Run the playbook hvm.pair.install on both hosts.", me["host"])


def follow(me: Observation, peer: Observation | None) -> list[Finding]:
    """Only the other host goes back, to what both have: the VMs and the hypervisor here may run."""
    if peer is None:
        return [Finding(f"{me['peer']} does not answer", "Its replicas can follow when it is back.", me["host"])]
    return common(me, ROLLBACK) + follower(me, peer)


def follower(me: Observation, peer: Observation) -> list[Finding]:
    """The replicas on `peer` may be taken back to what both have; what is newer is kept there."""
    found = common(peer, ROLLBACK)
    if me["role"]["role"] != ACTIVE:
        found.append(_not_the_last_active(me))
    found += roles(me, peer)
    if peer["role"]["now"] != PASSIVE and not any(one.host == peer["host"] for one in found):
        found.append(Finding(f"it is {peer['role']['now']}", "Only the replicas of a PASSIVE host follow.", peer["host"]))
    if peer["lock"]:
        found.append(Finding(f"another operation is running: {peer['lock']}", "Wait until it has ended.", peer["host"]))
    for text in peer["not_inert"]:
        remedy = "A replica must be inert: hvm_hypervisor state=stopped makes it so."
        found.append(Finding(f"{text} although it is PASSIVE", remedy, peer["host"]))
    return found


def switch_off(me: Observation) -> list[Finding]:
    """What the manual's "hvm status" says of a PASSIVE host, and that nothing is sent to it now."""
    now, host = me["role"]["now"], me["host"]
    found = []
    if now != PASSIVE:
        what = f"this host is {now}, and only a PASSIVE one is switched off"
        found.append(Finding(what, "See hvm.pair.status for what comes next.", host))
    if me["hypervisor"]["running"]:
        found.append(Finding("the hypervisor is running", "Stop it: hvm_hypervisor state=stopped.", host))
    if me["shared_ip"]["enabled"]:
        found.append(Finding("the shared IP is enabled here", "Take it off: hvm_shared_ip state=disabled.", host))
    if me["qemu"]:
        found.append(Finding(f"VMs run here: {', '.join(me['qemu'])}", "Shut them down first.", host))
    if me["lock"]:
        found.append(Finding(f"another operation is running: {me['lock']}", "Wait until it has ended.", host))
    elif me["pending"]:
        found += common({**me, "pools": {}})
    return found
