# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Back to a snapshot set, and back from there: first on the host that was ACTIVE last, then on the replicas, so that the next
sync is an increment. What is newer is kept on both hosts until somebody drops it by name.

How is in `_zfs.rollback`. Here is when: guards, locks, the journal, the other host, and the protection of the new base.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.advice import ENDED_BY, IT_RECOVERS
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import both, holds, preflight, sync
from ansible_collections.hvm.pair.plugins.module_utils._procedure.early import wait_for_receivers
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe
from ansible_collections.hvm.pair.plugins.module_utils._zfs import (
    actions,
    content,
    inventory,
    kept,
    names,
    plan,
    protect,
    rollback,
)
from ansible_collections.hvm.pair.plugins.module_utils._zfs.rollback import Aim, Tree

STATES = ("rolled_back", "undone", "followed")
#: Seconds that the other host may take for its part.
TIMEOUT = 1800.0
AGAIN = "Run hvm_zfs_rollback again: it goes on where it was. To go back instead: hvm_zfs_rollback state=undone."
FOLLOW = "hvm_zfs_rollback state=followed"


def aim_of(state: str, to: str, kept_as: str) -> str:
    """What `apply` takes for `to`, of what the operator has said.

    :raises HvmError: for words that belong to another state: to be ignored they are too dangerous.
    """
    if kept_as and state != "undone":
        remedy = f"To undo that one: hvm_zfs_rollback state=undone kept={kept_as}."
        raise HvmError(f"a rollback to undo is named ({kept_as}), and state is {state}", remedy)
    if to != "last" and state != "rolled_back":
        remedy = "To go back: hvm_zfs_rollback state=rolled_back."
        if state == "undone":  # whoever says so has begun with that set, and is on the way out of it
            remedy = "Leave the set out: what is undone is named by kept (see hvm_zfs_kept)."
        raise HvmError(f"a set to go back to is named ({to}), and state is {state}", remedy)
    return kept_as if state == "undone" else to


def apply(config: PairConfig, state: str, to: str, check: bool, progress: Progress) -> dict[str, t.Any]:
    """:param state: one of STATES.
    :param to: the set to go back to (`_zfs.rollback.choose`); of "undone" the stamp under which it is kept, or "".
    :return: ``{changed, do, set, stamp, kept, datasets, state_images, replica, warnings}``
    :raises Refused: when it may not be done; nothing was changed then.
    """
    with contextlib.ExitStack() as stack:
        peer, other, reason = preflight.reach(config, stack)
        me, other = both.at_rest(lambda: observe(config), peer, other, progress)
        if state == "followed":
            if other is None:
                raise HvmError(f"{config.peer.name} does not answer: {reason}", "Its replicas can follow when it is back.")
            findings = guards.follow(me, other)
        else:
            findings = guards.rollback(me, other)
        if findings:
            raise Refused("the rollback", findings)
        hindered = [f"{config.peer.name} does not answer: {reason}"]
        if other is not None:
            hindered = [finding.sentence() for finding in guards.follower(me, other)]
        if not check:
            stack.enter_context(operation.Lock().held("rollback", operation.owner()))
            if peer is not None and not hindered:
                owner = f"{operation.owner()} on {config.me.name}"
                peer.call("lock", operation="rollback", owner=owner, epoch=me["role"]["epoch"])
        begun_there = ((other or {}).get("pending") or {}).get("operation", "")
        return _Work(config, None if hindered else peer, hindered, begun_there, check, progress).run(state, to)


class _Work:
    """One run, under the locks.

    :param peer: None when the replicas cannot follow now, and then `hindered` says why.
    :param begun_there: what did not end on the other host, or "".
    """

    def __init__(
        self, config: PairConfig, peer: Peer | None, hindered: list[str], begun_there: str, check: bool, progress: Progress
    ) -> None:
        self.config = config
        self.peer = peer
        self.hindered = hindered
        self.begun_there = begun_there
        self.check = check
        self.progress = progress
        self.warnings: list[str] = []

    def run(self, state: str, to: str) -> dict[str, t.Any]:
        config, roots = self.config, self.config.datasets
        kept.flush(config.pools)
        mine, theirs = kept.read(roots), self._theirs()
        wanted = Aim("", "", "", "")
        if state == "followed":
            left = rollback.unfinished(mine, roots)
            if left:
                raise HvmError(f"the {left.action} of {left.stamp} on this host did not end", AGAIN)
        else:
            undo = state == "undone"
            begun = operation.pending() or {}
            if undo and not to and begun.get("operation") in guards.ROLLBACK:
                to = str(begun.get("stamp", ""))  # what did not end, not the newest that is kept
            # one that ended before its first step has left nothing to undo
            nothing = undo and begun.get("operation") == "rollback" and to not in rollback.stamps(mine)
            if not nothing:
                now = datetime.datetime.now(datetime.UTC)
                untouched = kept.untouched if _was_rolled_back(mine) else lambda *dummy: False
                wanted = rollback.aim(mine, roots, config.pair, undo, to, now, theirs, untouched)
        result: dict[str, t.Any] = {"changed": bool(wanted.do), "do": wanted.do, "set": wanted.set, "stamp": wanted.stamp}
        if wanted.do:
            if not self.check and make_inert(config):
                mine = kept.read(roots)
            made = plan_for(config, mine, wanted)
            result.update(_described(config, mine, wanted), plan=[step.sentence() for step in made.steps])
            result["state_images"] = self._images(mine, wanted.set)
            if self.check:
                mine = rollback.after(mine, made.steps)
            else:
                self.warnings += _carry_out(config, wanted, made, self.progress.say)
                mine = kept.read(roots)
                self.warnings += kept.load_keys(rollback.in_use(mine, roots))
        result["replica"] = replica = self._replica(state, wanted, mine, theirs)
        result["changed"] = result["changed"] or replica["do"] != ""
        if not self.check:
            if result["changed"]:
                self._protect(wanted, mine)
            if wanted.do or state != "followed":
                _end_journal()
        return {**result, "warnings": self.warnings}

    def _theirs(self) -> Tree:
        return t.cast("Tree", self.peer.call("trees", timeout=TIMEOUT)) if self.peer else {}

    def _images(self, mine: Tree, name: str) -> list[str]:
        """VMs whose saved state comes back with the set."""
        if not name.endswith("_B"):
            return []
        try:
            return names_with(mine, self.config.datasets, self.config.state_dir, name, ".state")
        except HvmError as exc:
            self.warnings.append(f"the state images in {name} cannot be listed: {exc.what}")
            return []

    # ---- the other host

    def _replica(self, state: str, wanted: Aim, mine: Tree, theirs: Tree) -> dict[str, t.Any]:
        """Let the replicas follow. Here it is done by now: what fails there is a warning, unless it was all that was wanted."""
        host = self.config.peer.name
        if self.peer is None:
            if wanted.do:
                self.warnings += [*self.hindered, f"The replicas on {host} do not follow yet: {FOLLOW}, before the next sync."]
            return {"host": host, "do": "", "in_step": None}
        try:
            return self._follow(self.peer, wanted, mine, theirs)
        except HvmError as exc:
            if state == "followed" or not wanted.do:
                raise
            self.warnings.append(f"The replicas on {host} do not follow yet: {exc}. When that is mended: {FOLLOW}.")
            return {"host": host, "do": "", "in_step": False}

    def _follow(self, peer: Peer, wanted: Aim, mine: Tree, theirs: Tree) -> dict[str, t.Any]:
        config, roots, host = self.config, self.config.datasets, self.config.peer.name
        done = {"host": host, "do": "", "in_step": True}
        left = rollback.unfinished(theirs, roots)
        if left:
            theirs = self._swap(peer, Aim(left.action, left.set, left.stamp, left.aside), theirs)
            done["do"] = left.action
        newest = (rollback.kept_trees(mine, roots, config.pair) or [rollback.Kept("", "", "", {}, 0)])[-1]
        eager = wanted.do == "undo"
        decided = rollback.follow(mine, theirs, roots, config.pair, newest.back, eager, plan.ZIL_SLACK, host)
        if decided.findings:
            raise Refused("letting the replica follow", decided.findings)
        if decided.do:
            used = rollback.stamps(theirs)
            stamp = newest.stamp if newest.stamp and newest.stamp not in used else ""
            stamp = stamp or rollback.new_stamp(datetime.datetime.now(datetime.UTC), {**mine, **theirs})
            if decided.do == "undo":
                theirs = self._swap(peer, Aim("undo", "", newest.back, stamp), theirs)
            else:
                theirs = self._swap(peer, Aim("rollback", decided.set, stamp, ""), theirs)
                done.update(set=decided.set)
            done.update(do=decided.do, kept=_tops(roots, stamp, theirs))
        elif self.begun_there in guards.ROLLBACK and not left:  # it was interrupted behind its last step
            done["do"] = self.begun_there
            self._swap(peer, Aim("", "", "", ""), theirs)
        for name in decided.anew:
            self.warnings.append(f"{name} on {host} has nothing in common with this host: the next sync sends it anew")
        only = sorted(set(rollback.in_use(theirs, roots)) - set(mine))
        if only and decided.do:
            self.warnings.append(f"only {host} has {', '.join(only)}: destroyed here since, or renamed")
        return done

    def _swap(self, peer: Peer, there: Aim, theirs: Tree) -> Tree:
        """:return: the other host's trees afterwards."""
        if self.check:
            return rollback.after(theirs, plan_for(self.config, theirs, there, replica=True).steps) if there.do else theirs
        host = self.config.peer.name

        def told(event: dict[str, t.Any]) -> None:
            self.progress.say(f"{host}: {event['text']}")

        answer = peer.call("swap", timeout=TIMEOUT, on_event=told, **there._asdict())
        self.warnings += [f"{host}: {text}" for text in answer["warnings"]]
        return t.cast("Tree", peer.call("trees", timeout=TIMEOUT))

    def _protect(self, wanted: Aim, mine: Tree) -> None:
        """Hold and bookmark the base of the next increment, on both hosts; here alone it is the set that was gone back to."""
        config = self.config
        datasets = rollback.in_use(mine, config.datasets)
        base = None
        if self.peer is not None:
            try:
                base = rollback.common_set(datasets, rollback.in_use(self._theirs(), config.datasets), config.pair)
                if base:
                    self.warnings += sync.settle(config, self.peer, base)
            except HvmError as exc:
                self.warnings.append(f"{base or 'the new base'} is not protected on both hosts: {exc}")
                base = None
        if not base and wanted.set:
            self.warnings += holds.hold_and_mark(config, datasets, wanted.set)


def plan_for(config: PairConfig, tree: Tree, wanted: Aim, replica: bool = False) -> rollback.Plan:
    """:raises Refused: when it cannot be done."""
    if wanted.do == "undo":
        made = rollback.plan_undo(tree, config.datasets, config.pair, wanted.stamp, wanted.aside)
    else:
        made = rollback.plan(tree, config.datasets, config.pair, wanted.set, wanted.stamp, replica)
    if made.findings:
        raise Refused("the rollback" if wanted.do == "rollback" else "the undo", made.findings)
    return made


def _described(config: PairConfig, tree: Tree, wanted: Aim) -> dict[str, t.Any]:
    roots = config.datasets
    if wanted.do == "rollback":
        tops = [rollback.kept(root, wanted.stamp) for root in roots]
        return {"kept": tops, "datasets": rollback.describe(tree, roots, wanted)}
    back = {root: rollback.kept(root, wanted.stamp) for root in roots}
    return {
        "kept": [rollback.kept(root, wanted.aside) for root in roots if root in tree],
        "datasets": {
            root + name[len(top) :]: {"comes_back": True, "newer": [], "written": 0, "kept": ""}
            for root, top in back.items()
            for name in rollback.below(tree, top)
        },
    }


def _tops(roots: t.Sequence[str], stamp: str, tree: Tree) -> list[str]:
    return [top for root in roots if (top := rollback.kept(root, stamp)) in tree]


def place_of(tree: Tree, roots: t.Sequence[str], path: str, name: str) -> tuple[str, str] | None:
    """The dataset in use that holds the directory `path` and is in the set, and what is below its mountpoint."""
    found: tuple[int, str, str] | None = None
    for dataset, entry in rollback.in_use(tree, roots).items():
        point = inventory.prop(entry, "mountpoint")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if point.startswith("/") and inside and any(snap[0] == name for snap in entry["snapshots"]):
            found = max(found or (0, "", ""), (len(point), dataset, path[len(point) :].strip("/")))
    return (found[1], found[2]) if found else None


def names_with(tree: Tree, roots: t.Sequence[str], path: str, name: str, ending: str) -> list[str]:
    """Names, without their `ending`, of the files in the directory `path` as the set `name` has it."""
    place = place_of(tree, roots, path, name)
    found = content.names_in(place[0], name, place[1]) if place else []
    return [entry.removesuffix(ending) for entry in found if entry.endswith(ending)]


def texts_with(tree: Tree, roots: t.Sequence[str], path: str, name: str, ending: str) -> dict[str, str]:
    """The same, with the text of each."""
    place = place_of(tree, roots, path, name)
    found = content.texts_in(place[0], name, place[1], ending) if place else {}
    return {entry.removesuffix(ending): text for entry, text in found.items()}


def make_inert(config: PairConfig) -> bool:
    """As `hv stop` leaves the datasets: after a crash they are not. Returns whether anything had to be done."""
    datasets = inventory.read(config.datasets)
    if not inventory.not_inert(datasets):
        return False
    actions.unmount_all(datasets)
    actions.make_inert(config.datasets, datasets)
    return True


def _carry_out(
    config: PairConfig, wanted: Aim, made: rollback.Plan, say: t.Callable[[str], None], remedy: str = AGAIN
) -> list[str]:
    """Take the steps, then look whether it is as it was planned. The trees tell how far it came; the journal that it began.

    :param remedy: what the operator does when it does not end. :return: warnings.
    """
    entry = {"set": wanted.set, "stamp": wanted.stamp, "boot": role.boot_id(), "remedy": remedy}
    journal = operation.Journal(wanted.do, **entry)

    def said(sentence: str) -> None:
        journal.step(sentence)
        say(sentence)

    journal.step("begin")
    warnings = take_steps(config, wanted, made, said)
    journal.done(wanted.set or wanted.stamp)
    return warnings


def take_steps(config: PairConfig, wanted: Aim, made: rollback.Plan, said: t.Callable[[str], None]) -> list[str]:
    """The same, without a journal of its own. :param said: told of each step before it is taken. :return: warnings."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(holds.LEDGER)  # holds go and come with their snapshots: the next one who needs to know asks ZFS
    warnings = kept.take(made.steps, said)
    tree = kept.read(config.datasets)
    wrong = [step.sentence() for step in plan_for(config, tree, wanted, replica=True).steps] if wanted.do == "rollback" else []
    wrong += [f"no {root}" for root in config.datasets if root not in tree]
    wrong += inventory.not_inert(inventory.read(config.datasets))
    if rollback.unfinished(tree, config.datasets):
        wrong.append("the mark of a swap is still there")
    if wrong:
        raise HvmError(f"the {wanted.do} is not complete: {'; '.join(wrong[:5])}", AGAIN)
    return warnings


def _end_journal() -> None:
    """One that was interrupted behind its last step is still pending."""
    journal = operation.Journal.of_pending()
    if journal and journal.entry["operation"] in guards.ROLLBACK:
        journal.done("nothing was left to do")


def acknowledge(config: PairConfig, check: bool) -> dict[str, t.Any]:
    """`operation.acknowledge`, but not while a swap is half done: its mark would stay, and be gone on with at some later time.

    :raises Refused: then. :return: as that.
    """
    entry = operation.pending()
    left = None
    if entry and entry["operation"] != operation.UNKNOWN:
        with contextlib.suppress(CommandError):  # a pool that is away: somebody has looked
            left = rollback.unfinished(kept.read(config.datasets), config.datasets)
    if entry and left:
        remedy = entry.get("remedy") or f"{ENDED_BY.get(entry['operation'], IT_RECOVERS)}."
        what = f"the {left.action} of {left.stamp} is half done on this host: it cannot be acknowledged"
        raise Refused("this", [Finding(what, remedy)])
    return operation.acknowledge(check)


def _was_rolled_back(tree: Tree) -> bool:
    """Whether the last thing that was done here, in this very boot, was a rollback. Then no crash has left anything in the intent
    logs of what is in use, and few bytes "written" may be none.
    """
    try:
        last = json.loads(read_text(operation.JOURNAL) or "{}")
        done = bool(last.get("done")) or last.get("stamp") in rollback.stamps(tree)
        return last.get("operation") == "rollback" and last.get("boot") == role.boot_id() and done
    except (ValueError, AttributeError):
        return False


# ---- the agent's part


def swap(config: PairConfig, words: t.Mapping[str, str], say: t.Callable[[str], None]) -> dict[str, t.Any]:
    """The same on a PASSIVE host, under its lock, for the host that asks. The second time it does nothing.

    :param words: an Aim, from the wire; with nothing to do it takes the mark of one away that is finished.
    """
    wanted = Aim(**words)
    if not wanted.do:
        left = rollback.unfinished(kept.read(config.datasets), config.datasets)
        if left:
            raise HvmError(f"the {left.action} of {left.stamp} did not end", AGAIN)
        _end_journal()
        return {"changed": False, "warnings": []}
    if wanted.do not in guards.ROLLBACK or (wanted.do == "rollback" and not names.is_set_of(wanted.set, config.pair)):
        raise HvmError(f"{wanted.do!r} to {wanted.set!r} is nothing that a replica can do")
    if not names.is_stamp(wanted.stamp) or (wanted.do == "undo" and not names.is_stamp(wanted.aside)):
        raise HvmError(f"{wanted.stamp!r} or {wanted.aside!r} is no stamp")
    made = plan_for(config, nothing_received(config), wanted, replica=True)
    # an undo on the other host would put aside what has been written there since
    remedy = f"On {config.peer.name}: {FOLLOW} goes on with it. If that host is lost: hvm.pair.failover does."
    warnings = _carry_out(config, wanted, made, say, remedy) if made.steps else []
    _end_journal()
    return {"changed": bool(made.steps), "warnings": warnings}


def nothing_received(config: PairConfig) -> Tree:
    """The trees, once no stream comes in and none waits for its rest: its base may go aside, and the sender has it all."""
    wait_for_receivers(config.datasets)
    tree = kept.read(config.datasets)
    for name, entry in rollback.in_use(tree, config.datasets).items():
        if inventory.prop(entry, "receive_resume_token") not in ("-", ""):
            actions.abort_receive(name)
    return tree


# ---- what is kept


def kept_list(config: PairConfig) -> list[dict[str, t.Any]]:
    """Everything that is kept on this host, oldest first."""
    dummy, trees = _kept(config)
    return [one.as_dict() for one in trees]


def _kept(config: PairConfig) -> tuple[Tree, list[rollback.Kept]]:
    tree = {**kept.read(config.datasets), **kept.read_aside(config.pools)}
    trees = rollback.kept_trees(tree, config.datasets, config.pair) + rollback.aside_trees(tree, config.pair)
    return tree, sorted(trees, key=lambda one: (one.stamp, one.name))


def drop(config: PairConfig, name: str, check: bool) -> dict[str, t.Any]:
    """Destroy what is kept under `name`, and nothing else.

    :return: ``{changed, destroyed: {dataset: [snapshots]}, freed}``; bytes.
    :raises Refused: when something depends on it, holds it or has it mounted; nothing was destroyed then.
    """
    with contextlib.ExitStack() as stack:
        if not check:
            stack.enter_context(operation.Lock().held("drop", operation.owner()))
        pending = operation.pending()
        if pending and pending["operation"] in guards.ROLLBACK:
            raise HvmError(f"{pending['operation']}, begun {pending['started']}, did not end", AGAIN)
        return destroy_kept(config, name, check)


def destroy_kept(config: PairConfig, name: str, check: bool = False) -> dict[str, t.Any]:
    """`drop` under a lock that the caller holds."""
    kept.flush(config.pools)
    tree, trees = _kept(config)
    chosen = [one for one in trees if one.name == name]
    if not chosen:
        _refuse_what_is_not_kept(config, name)
        return {"changed": False, "destroyed": {}, "freed": 0}
    left = rollback.unfinished(tree, config.datasets)
    if left:
        raise HvmError(f"the {left.action} of {left.stamp} did not end", AGAIN)
    tops = [top for one in chosen for top in one.tops.values()]
    tag = protect.tag(config.pair)
    held = kept.holds(tops)
    foreign = {snap: others for snap, tags in held.items() if (others := [one for one in tags if one != tag])}
    made = rollback.plan_drop(tree, chosen, kept.clones(tops), foreign)
    if made.findings:
        raise Refused(f"dropping {name}", made.findings)
    if not check:
        kept.destroy(made.datasets, {snap for snap, tags in held.items() if tag in tags}, tag)
    return {"changed": True, "destroyed": dict(made.datasets), "freed": sum(one.used for one in chosen)}


def _refuse_what_is_not_kept(config: PairConfig, name: str) -> None:
    """A name under which nothing is kept any more is fine; anything that exists and is not kept is somebody's data."""
    place = "/" in name and name.split("/")[1:2] == [rollback.ASIDE] and name.count("/") == 2
    if names.is_stamp(name) or (place and not inventory.existing([name])):
        return
    what = f"{name} is not kept by this collection for the pair {config.pair}"
    raise Refused(f"dropping {name}", [Finding(what, "See hvm_zfs_kept for the names.", config.me.name)])
