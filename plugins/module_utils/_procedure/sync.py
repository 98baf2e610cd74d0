# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Bring a snapshot set to the other host and prove that it is there.

Look (both hosts at once) > plan > protect here > send > look again, protect there > let go of what the old base held.
With nothing to send it ends after the first look: one question to the other host, two `zfs` processes on each.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import itertools
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress, human
from ansible_collections.hvm.pair.plugins.module_utils._pair import guards, operation
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._pair.operation import owner
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import GO_ON, Peer, PeerLost, PeerSilent
from ansible_collections.hvm.pair.plugins.module_utils._peer.flow import EVERY, Limiter, Meter, Watch
from ansible_collections.hvm.pair.plugins.module_utils._procedure import holds
from ansible_collections.hvm.pair.plugins.module_utils._procedure.early import Ahead, need_roots, read_datasets, read_newest
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import look
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, content, inventory, names, newest, plan

#: Seconds between the attempts after a lost connection; longer than the agent's patience (protocol.SILENCE).
RETRY_AFTER = 50.0
CONTENT_TIMEOUT = 24 * 3600.0

_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Options:
    """:ivar streams: datasets at the same time over the one connection.
    :ivar rate: bytes per second for all of them together; 0: as fast as it goes.
    :ivar compress: put each stream through zstd; worth it on slow links with datasets that ZFS does not compress.
    :ivar stalled: seconds without a byte until a stream is named; `give_up`: until it is ended.
    :ivar content: compare what the snapshots hold on both hosts, not only their GUIDs.
    :ivar aside: replicas that may be moved out of the way.
    :ivar retries: after a lost connection.
    :ivar protect: hold and bookmark the set as soon as it is there.
    """

    streams: int = 8
    rate: int = 0
    compress: bool = False
    stalled: float = 60.0
    give_up: float = 900.0
    content: bool = False
    aside: tuple[str, ...] = ()
    retries: int = 2
    protect: bool = True

    def __post_init__(self) -> None:
        """:raises HvmError: for a number that means nothing."""
        for word in ("stalled", "give_up", "retries"):
            if getattr(self, word) < 0:
                raise HvmError(f"{word} is less than 0", "Give 0 or more.")


DEFAULTS = Options()


def newest_complete(datasets: inventory.Inventory, pair: str) -> str | None:
    complete = [name for name, members in inventory.sets(datasets, pair).items() if inventory.is_complete(members, datasets)]
    return complete[-1] if complete else None


def choose(config: PairConfig, mine: inventory.Inventory, snapshot: str | None) -> str:
    """The set to bring over. :raises HvmError: when there is none, or not the one asked for."""
    need_roots(config, mine)
    if snapshot is not None and not names.is_set_of(snapshot, config.pair):
        raise HvmError(f"{snapshot!r} is not the name of a snapshot set of the pair {config.pair}", "See 'status' for the sets.")
    name = snapshot or newest_complete(mine, config.pair)
    if name is None:
        raise HvmError(
            f"there is no complete snapshot set of the pair {config.pair} on {config.me.name}", "Take one: hvm_zfs_snapshot."
        )
    return name


def make_plan(
    config: PairConfig, mine: inventory.Inventory, theirs: inventory.Inventory, name: str, aside: t.Collection[str] = ()
) -> plan.Plan:
    """What would be sent. :raises Refused: when a replica does not fit."""
    wrong = [dataset for dataset in aside if dataset not in theirs]
    if wrong:
        raise HvmError(f"there is no dataset {', '.join(wrong)} on {config.peer.name} to set aside", "Look at 'status'.")
    tokens = {}
    for dataset, copy in theirs.items():
        token = inventory.prop(copy, "receive_resume_token")
        if token not in ("-", "") and (held := actions.decode_token(token)):
            tokens[dataset] = held
    made = plan.plan(mine, theirs, name, config.peer.name, tokens, aside)
    if made.findings:
        raise Refused(f"the sync of {name}", made.findings)
    return made


def sync(
    config: PairConfig,
    peer: Peer,
    progress: Progress,
    snapshot: str | None = None,
    options: Options = DEFAULTS,
    mine: inventory.Inventory | None = None,
    theirs: inventory.Inventory | None = None,
    unprotected: bool = False,
    kept: dict[str, str] | None = None,
    made: plan.Plan | None = None,
) -> dict[str, t.Any]:
    """Send what `config.peer` lacks of a set, then verify. The second run sends nothing. Both locks are the caller's.

    :param mine, theirs: inventories that were read under the locks; read here when left out.
    :param unprotected: the set may be there already and not be held (a crash): hold it also when there is nothing to send.
    :param kept: replicas that were set aside -> where they are now; gets what is set aside here.
    :param made: the plan that was made from `mine` and `theirs`.
    :return: ``{changed, set, bytes, seconds, datasets: {name: bytes}, verified, …}``
    """
    kept = {} if kept is None else kept
    start = time.monotonic()
    if mine is None or theirs is None:
        mine, theirs = read_both(config, peer, snapshot, brief=not options.aside)
    name = snapshot if made and snapshot else choose(config, mine, snapshot)
    made = made or make_plan(config, mine, theirs, name, options.aside)
    changes = not made.is_empty or unprotected
    result: dict[str, t.Any] = {"changed": changes, "set": name, "bytes": 0, "datasets": {}, "warnings": []}
    gone = plan.tops(made.extra)
    if gone:
        result["warnings"].append(
            f"{', '.join(gone)} on {config.peer.name}: gone on this host; older sets are incomplete with it, and no VM can be "
            f"migrated there. hvm_zfs_sync with set_aside [{', '.join(gone)}] puts it aside, where it is kept"
        )
    result.update(properties=made.properties, renamed=made.renames, resumed=[s.dataset for s in made.steps if s.token])
    if not changes:
        wrong = dict.fromkeys(plan.missing_on_target(mine, theirs, name), f"{name} is not there")
    else:
        if made.steps:
            holds.reopen(name)
        _prepare_replicas(config, peer, progress, made, kept)
        with concurrent.futures.ThreadPoolExecutor(1) as beside:
            protected = beside.submit(holds.hold_and_mark, config, mine, name) if options.protect else None
            if protected and holds.ledger() is None:
                protected.result()  # held beside the streams is only what was written down before
            try:
                _send_all(config, peer, progress, made, result["datasets"], options)
            finally:
                failed = protected.result() if protected else []
                result["warnings"] += failed
        for dataset, properties in made.properties.items():
            peer.call("set_properties", dataset=dataset, properties=properties)
        settled = peer.call("settle", set=name, datasets=sorted(mine), protect=options.protect)
        result["warnings"] += settled["warnings"]
        dummy, before = plan.renamed(mine, plan.outside(theirs, made.aside))
        wrong = plan.unverified(mine, before, settled["found"], name)
        if not wrong and options.protect:
            result["warnings"] += holds.release_others(config, name, placed=not failed)
    if wrong:
        raise HvmError(
            f"the set {name} is not complete on {config.peer.name}: " + "; ".join(f"{one}: {why}" for one, why in wrong.items()),
            "Run the sync again; nothing was overwritten.",
        )
    if options.content:
        result["content"] = compare_content(config, peer, progress, mine, name)
        result["warnings"] += [
            f"the content of {dataset} was not compared: its key is not loaded on both hosts"
            for dataset, digest in result["content"].items()
            if digest is None
        ]
    result.update(
        bytes=sum(result["datasets"].values()),
        seconds=round(time.monotonic() - start, 3),
        verified=True,
        extra_on_peer=made.extra,
        kept=list(kept.values()),
    )
    return result


def read_both(
    config: PairConfig,
    peer: Peer,
    snapshot: str | None,
    looked: tuple[inventory.Inventory, inventory.Inventory] | None = None,
    brief: bool = False,
) -> tuple[inventory.Inventory, inventory.Inventory]:
    """The inventories of both hosts, read at the same time: the newest snapshots when those decide what to do, else everything.

    :param looked: the newest snapshots of both, when they have just been read.
    :param brief: try it with those.
    """
    if looked is None and brief:
        asked = peer.begin("newest")
        mine = read_newest(config)
        looked = mine, t.cast("inventory.Inventory", peer.result(asked, "newest"))
    if looked is not None:
        newest.add_bases(*looked)
        if newest.decide(*looked, config.pair, snapshot):
            return looked
    asked = peer.begin("datasets")
    mine = read_datasets(config)
    return mine, t.cast("inventory.Inventory", peer.result(asked, "datasets"))


def _prepare_replicas(config: PairConfig, peer: Peer, progress: Progress, made: plan.Plan, kept: dict[str, str]) -> None:
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    for dataset in made.aside:
        kept[dataset] = peer.call("set_aside", dataset=dataset, stamp=stamp)["kept"]
        progress.say(f"{config.peer.name}: {dataset} is kept as {kept[dataset]}")
    for dataset in made.aborts:
        peer.call("abort_receive", dataset=plan.old_name(made.renames, dataset))  # the renames come later
        progress.say(f"{config.peer.name}: the cut stream of {dataset} does not fit any more and was dropped")


def run(
    config: PairConfig,
    progress: Progress,
    snapshot: str | None,
    check: bool,
    options: Options = DEFAULTS,
    ahead: Ahead | None = None,
) -> dict[str, t.Any]:
    """The sync as an operation of its own: guarded and locked on both hosts; goes on after a lost connection.

    :param ahead: what was begun while this was loaded.
    """
    kept: dict[str, str] = {}
    for left in range(options.retries, -1, -1):
        # what has been set aside is not once more: there may be half of a new replica in its place by now
        aside = tuple(dataset for dataset in options.aside if dataset not in kept)
        try:
            return _run(config, progress, snapshot, check, dataclasses.replace(options, aside=aside), kept, ahead)
        except PeerLost as exc:
            if not left or check or (left == options.retries and isinstance(exc, PeerSilent)):
                raise  # a host that is down is no lost connection
            progress.say(f"{exc.what}; trying again in {RETRY_AFTER:.0f} s ({left} left)")
            time.sleep(RETRY_AFTER)
            ahead = None
    raise AssertionError("unreachable")


def _run(
    config: PairConfig,
    progress: Progress,
    snapshot: str | None,
    check: bool,
    options: Options,
    kept: dict[str, str],
    ahead: Ahead | None,
) -> dict[str, t.Any]:
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        looked = beside.submit(look, config, (lambda dummy: ahead.reading.result()) if ahead else read_newest)
        with Peer(config, dialled=ahead.dialled if ahead else None, look=True) as peer:
            other = peer.hello["look"]
            (me, mine), theirs = looked.result(), other["inventory"]
            findings = guards.sync(me, other["observation"])
            if findings:
                raise Refused("the sync", findings)
            brief = newest.is_partial(mine) and newest.is_partial(theirs) and not options.aside
            if newest.is_partial(mine) or newest.is_partial(theirs):
                mine, theirs = read_both(config, peer, snapshot, (mine, theirs) if brief else None)
            if check and snapshot is None and newest_complete(mine, config.pair) is None:
                return {"changed": True, "set": "the one that will be taken", "plan": []}
            name = choose(config, mine, snapshot)
            made = make_plan(config, mine, theirs, name, options.aside)
            if check:
                return describe(made, name)
            unprotected = not (holds.is_protected(name) and other["protected"].get(name))
            if made.is_empty and not options.content and not unprotected:
                return sync(config, peer, progress, name, options, mine, theirs, kept=kept, made=made)
            with operation.Lock().held("sync", owner()):
                epoch = me["role"]["epoch"]
                peer.call("lock", operation="sync", owner=f"{owner()} on {config.me.name}", epoch=epoch)
                # read again: somebody may have worked between the look and the lock
                mine, theirs = read_both(config, peer, snapshot, brief=brief)
                return sync(config, peer, progress, snapshot and name, options, mine, theirs, unprotected, kept)


def describe(made: plan.Plan, name: str) -> dict[str, t.Any]:
    """The plan as a result, with the bytes of each stream as ZFS estimates them."""
    with concurrent.futures.ThreadPoolExecutor(4) as several:
        guesses = list(several.map(actions.estimate, made.steps))
    steps = [{**step.as_dict(), "bytes": guess} for step, guess in zip(made.steps, guesses, strict=True)]
    described = made.as_dict()
    described.pop("steps")
    return {"changed": not made.is_empty, "set": name, "plan": steps, "bytes": sum(guess or 0 for guess in guesses), **described}


def _send_all(
    config: PairConfig, peer: Peer, progress: Progress, made: plan.Plan, sent: dict[str, int], options: Options
) -> None:
    """Datasets in parallel; the steps of one in order; a new or renamed dataset after its new parent.

    Renames come one by one, in the plan's order: one may be of a dataset that the one before has brought where it is.
    """
    chains: dict[str, list[plan.Step]] = {}
    moves = {new: old for old, new in made.renames}
    for step in made.steps:
        chains.setdefault(step.dataset, []).append(step)
    levels: dict[int, list[str]] = {dataset.count("/"): [] for dataset in moves}
    for dataset, steps in chains.items():
        waits = _is_new(steps[0]) or any(dataset == new or dataset.startswith(f"{new}/") for new in moves)
        levels.setdefault(dataset.count("/") if waits else 0, []).append(dataset)
    limiter = Limiter(options.rate)
    running: dict[str, plan.Step] = {}

    def estimate(dataset: str) -> int | None:
        return actions.estimate(running[dataset])

    def rename(dataset: str) -> None:
        peer.call("rename", dataset=moves[dataset], to=dataset)
        progress.say(f"{config.peer.name}: {moves[dataset]} is called {dataset} now")

    def work(dataset: str) -> None:
        for step in chains[dataset]:
            running[dataset] = step
            meter = watch.begin(dataset)
            try:
                sent[dataset] = sent.get(dataset, 0) + send_one(config, peer, step, meter, limiter, options.compress)
            finally:
                watch.end(meter)
        progress.say(f"{dataset}: {human(sent[dataset])} sent", dataset=dataset, bytes=sent[dataset], done=True)

    with Watch(progress.say, estimate, options.stalled, options.give_up) as watch:
        for level, datasets in sorted(levels.items()):
            for dataset in moves:
                if dataset.count("/") == level:
                    rename(dataset)
            with concurrent.futures.ThreadPoolExecutor(max(options.streams, 1)) as pool:
                jobs = [pool.submit(work, dataset) for dataset in datasets]
                try:
                    for job in concurrent.futures.as_completed(jobs):
                        job.result()
                except BaseException as exc:
                    pool.shutdown(cancel_futures=True)  # what runs ends by itself; nothing new begins
                    if watch.failure and isinstance(exc, PeerLost):
                        raise PeerLost(watch.failure, GO_ON) from exc  # whichever stream hears of the end first
                    raise


def _is_new(step: plan.Step) -> bool:
    """Whether it makes its dataset."""
    return step.base is None and not step.token


def send_one(config: PairConfig, peer: Peer, step: plan.Step, meter: Meter, limiter: Limiter, compress: bool) -> int:
    stream = next(_numbers)
    future = peer.begin(
        "receive", stream=stream, dataset=step.dataset, new=_is_new(step), volume=step.volume, compressed=compress
    )
    commands = [actions.send_command(step)]
    if compress:
        commands.append(["zstd", "-q", "-1", "-c"])
    try:
        count = peer.send(stream, commands, meter, limiter)
    except PeerLost:
        raise
    except HvmError as exc:
        # the receiver may have failed first, and then it knows better why
        theirs = _failure(future)
        raise (_explained(theirs, config, step.dataset) if theirs else exc) from exc
    try:
        peer.result(future, f"receive {step.dataset}", timeout=3600)
    except PeerLost as exc:
        if meter.failure:  # it was ended because of this
            raise PeerLost(meter.failure, GO_ON) from exc
        raise
    except HvmError as exc:
        raise _explained(exc, config, step.dataset) from exc
    return count


def _explained(exc: BaseException, config: PairConfig, dataset: str) -> BaseException:
    if isinstance(exc, HvmError) and not isinstance(exc, PeerLost) and not exc.remedy:
        exc.remedy = actions.receive_remedy(str(exc.details.get("stderr", "")), config.peer.name, dataset)
    return exc


def _failure(future: concurrent.futures.Future[t.Any]) -> BaseException | None:
    try:
        exc = future.exception(10)
    except concurrent.futures.TimeoutError:
        return None
    # a stream that was cut is no news: what cut it is
    return None if exc is None or "incomplete stream" in str(exc) or "failed to read from stream" in str(exc) else exc


def settle(config: PairConfig, peer: Peer, name: str) -> list[str]:
    """The protection that was left out of an interruption, on both hosts."""
    mine = inventory.read(config.datasets)
    asked = peer.begin("settle", set=name, datasets=sorted(mine), protect=True)
    warnings = holds.protect_set(config, mine, name)
    return warnings + t.cast("list[str]", peer.result(asked, "settle")["warnings"])


# ---- content


def compare_content(
    config: PairConfig, peer: Peer, progress: Progress, mine: inventory.Inventory, name: str
) -> dict[str, str | None]:
    """Read the set on both hosts.

    :return: dataset -> digest; None for an encrypted one whose key is not loaded here or there.
    :raises HvmError: naming what differs.
    """
    found: dict[str, str | None] = {}
    wrong = []
    for dataset, entry in mine.items():
        volume = inventory.is_volume(entry)
        asked = peer.begin("content", dataset=dataset, set=name, volume=volume)
        said = _reading(progress, dataset)
        found[dataset] = content.digest(dataset, name, volume, said) if content.is_readable(dataset) else None
        theirs = peer.result(asked, f"read {dataset}", CONTENT_TIMEOUT)["digest"]
        if theirs is None or found[dataset] is None:
            found[dataset] = None
            progress.say(f"{dataset}: its key is not loaded on both hosts")
            continue
        if theirs != found[dataset]:
            wrong.append(dataset)
        progress.say(f"{dataset}: content {'differs' if dataset in wrong else 'is the same'} on both hosts")
    if wrong:
        raise HvmError(
            f"the content of {', '.join(wrong)} in {name} differs between the hosts",
            f"Do not fail over to {config.peer.name} with this set. Check its pool (zpool scrub), "
            f"then have it sent anew: hvm_zfs_sync with set_aside [{', '.join(wrong)}].",
            different=wrong,
        )
    return found


def _reading(progress: Progress, dataset: str) -> content.Said:
    """Says now and then how far the reading is."""
    said_at = time.monotonic()

    def said(done: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= EVERY:
            said_at = time.monotonic()
            progress.say(f"{dataset}: {human(done)} read", dataset=dataset, bytes=done)

    return said
