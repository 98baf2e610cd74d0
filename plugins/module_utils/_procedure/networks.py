# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Networks for VMs on both hosts of a pair: `hvm net list`, `add`, `remove`, `apply`, and the word of the inventory.

Both hosts look before either changes anything: what one of them refuses is done on neither. Then this host does it, then the
other one. A host that does not answer is a warning; `status` goes on to say that it was not told, and `apply` brings the two
together.

A removal holds the lock of each host while it is done: nothing brings VMs to a bridge that is about to go.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core import log
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains
from ansible_collections.hvm.pair.plugins.module_utils._net import bridges, links, managers, network_plan, networks, shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._net.declared import parse_shared
from ansible_collections.hvm.pair.plugins.module_utils._net.network_plan import Plan, World
from ansible_collections.hvm.pair.plugins.module_utils._pair import networks as books
from ansible_collections.hvm.pair.plugins.module_utils._pair import networks_file, operation, role
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._pair.networks import Book, Kept
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import address
from ansible_collections.hvm.pair.plugins.module_utils._procedure.glance import hypervisor_running

#: What the other host is asked to do with what it is told.
LOOK, PLAN, DO = "look", "plan", "do"
#: Seconds for the other host to do it: networkd may take its time.
_TIMEOUT = 180.0
_CHANGE = "this change of the networks"
_APPLY = "When it answers, run hvm_network state=applied."

Result = dict[str, t.Any]
Edit = t.Callable[[Book], tuple[Book, str]]


# ---- the verbs


def query(config: PairConfig) -> Result:
    """What is declared, and how it stands on both hosts; what the other one has told is remembered, nothing else is changed."""
    kept = networks_file.read(config)
    warnings: list[str] = []
    theirs: Book | None = None
    there: dict[str, t.Any] = {}
    try:
        with Peer(config) as peer:
            answer = _ask(config, peer, LOOK, kept.book)
            theirs, there = answer["book"], answer["wrong"]
            networks_file.save_peer(theirs)
    except HvmError as exc:
        warnings.append(f"{config.peer.name} cannot be asked: {exc.what}. This is what {config.me.name} knows.")
    here = _wrong(config, kept)
    known = books.meet(kept.book, theirs or {})
    rows = [_row(config, network, kept.book, theirs, here, there) for network in books.there(known)]
    for name in books.differing(kept.book, theirs or {}):
        if known[name].network is None:  # removed on one of them, and still there on the other
            left = next(book[name].network for book in (kept.book, theirs or {}) if name in book and book[name].network)
            rows += [_row(config, left, kept.book, theirs, here, there)] if left else []
    for name in {*here, *there} - {row["name"] for row in rows}:  # its removal has not ended
        entry = known.get(name)
        hosts = {config.me.name: here.get(name, []), config.peer.name: ["not known"] if theirs is None else there.get(name, [])}
        rows.append({"name": name, "sentence": f"{name} is removed.", "origin": entry.origin if entry else "", "hosts": hosts})
    return {"changed": False, "networks": sorted(rows, key=lambda row: str(row["name"])), "warnings": warnings}


def _row(
    config: PairConfig,
    network: networks.Network,
    mine: Book,
    theirs: Book | None,
    here: t.Mapping[str, t.Any],
    there: t.Mapping[str, t.Any],
) -> Result:
    def state(book: Book | None, wrong: t.Mapping[str, t.Any]) -> list[str]:
        if book is None:
            return ["not known"]
        entry = book.get(network.name)
        if entry is None or entry.network is None:
            return ["not declared there", *wrong.get(network.name, ())]
        other = [] if entry.network == network else [f"declared as {entry.network.sentence()}"]
        return other + list(wrong.get(network.name, ()))

    entry = mine.get(network.name) or (theirs or {})[network.name]
    return {
        **network.record(),
        "sentence": network.sentence(),
        "origin": entry.origin,
        "hosts": {config.me.name: state(mine, here), config.peer.name: state(theirs, there)},
    }


def put(config: PairConfig, raws: t.Sequence[t.Any], check: bool = False) -> Result:
    """`hvm net add`, on both hosts.

    :param raws: as `_net.networks.parse` takes them.
    :return: ``{changed, sentence, actions: {host: [...]}, plan: {host: [...]}, networks, diff, warnings}``
    :raises HvmError: when one cannot be used. :raises Refused: when a host refuses it; nothing was changed.
    """
    said = networks.parse(_said(raws), _names(config), config.shared_ips)

    def edit(book: Book) -> tuple[Book, str]:
        sentences = []
        for network in said:
            book, sentence = books.put(book, network, _now())
            sentences.append(sentence)
        return book, " ".join(sentences)

    return _both(config, edit, check)


def take_out(config: PairConfig, names: t.Sequence[str], check: bool = False) -> Result:
    """`hvm net remove`, on both hosts. :return, :raises: as `put`; also for a name that nobody knows."""
    declared = []

    def edit(book: Book) -> tuple[Book, str]:
        sentences = []
        for name in names:
            entry = book.get(name)
            if entry is None and name not in managers.made(bridges.Host().files()):
                there = ", ".join(one.name for one in books.there(book)) or "none"
                raise HvmError(f"there is no network {name}", f"There are: {there}.")
            if entry is not None and entry.network is not None and entry.origin == books.INVENTORY:
                declared.append(name)
            book, sentence = books.take_out(book, name, _now())
            sentences.append(sentence)
        return book, " ".join(sentences)

    done = _both(config, edit, check)
    if declared:
        done["warnings"].append(
            f"in the inventory (hvm_networks) there is still {', '.join(declared)}: the next hvm.pair.install brings it back"
        )
    return done


def reapply(config: PairConfig, check: bool = False) -> Result:
    """`hvm net apply`: the two hosts hear of each other's networks, and both are made as declared. As `put`."""
    return _both(config, lambda book: (book, ""), check)


def declare(config: PairConfig, raws: t.Sequence[t.Any], manager: str = managers.AUTO, check: bool = False) -> Result:
    """The inventory's word, on this host; the other one hears its own. What came by `hvm net add` stays.

    :return: as `put`.
    """
    declared = networks.parse(_said(raws), _names(config), config.shared_ips)
    warnings: list[str] = []
    with _changing(check):
        kept = networks_file.read(config)
        book = books.declare(kept.book, declared, _now())
        # what the inventory had declared for a host that is gone, it declares for the one that is there, or it is to go
        after = Kept(book, manager, tuple(one for one in kept.others if one["origin"] != books.INVENTORY))
        done = _plan(config, after)
        findings = list(done.findings)
        if _removes(done):
            findings += _needed_there(config, done, kept.book, book)
        if findings:
            raise Refused(_CHANGE, findings)
        if not check:
            _do_here(config, after, done)
        changed = done.changes or books.dump(after) != books.dump(kept)
    others = books.besides(book)
    if others:
        warnings.append(
            f"networks that are not in the inventory stay: {', '.join(others)}. Declare them in hvm_networks, or remove them "
            "(hvm_network state=absent)"
        )
    warnings += done.left
    if not check:
        warnings += _let_know(config, book)
    return _result(config, changed, "", {config.me.name: done}, kept.book, book, warnings)


# ---- the two hosts


def _both(config: PairConfig, edit: Edit, check: bool) -> Result:
    warnings: list[str] = []
    me, other = config.me.name, config.peer.name
    with contextlib.ExitStack() as stack, _changing(check):
        kept = networks_file.read(config)
        peer: Peer | None = None
        theirs: Book = {}
        try:
            peer = stack.enter_context(Peer(config))
            theirs = _ask(config, peer, LOOK, {})["book"]
        except HvmError as exc:
            peer = None
            warnings.append(f"{other} cannot be asked, so it is not told: {exc.what}. {_APPLY}")
        book, sentence = edit(books.meet(kept.book, theirs))
        plans = {me: _plan(config, kept._replace(book=book))}
        findings = list(plans[me].findings)
        if peer is None:
            findings += _alone(config, plans[me], kept.book, book)
        else:
            answer = _ask(config, peer, PLAN, book)
            plans[other] = answer["plan"]
            findings += answer["plan"].findings
        if findings:
            raise Refused(_CHANGE, findings)
        changed = any(plan.changes for plan in plans.values()) or book != kept.book or (peer is not None and book != theirs)
        if changed and not check:
            _do_here(config, kept._replace(book=book), plans[me])
            if peer is not None:
                warnings += _do_there(config, peer, book)
    for host, plan in plans.items():
        warnings += [f"{host}: {one}" for one in plan.left]
    return _result(config, changed, sentence, plans, kept.book, book, warnings)


def _alone(config: PairConfig, plan: Plan, before: Book, after: Book) -> list[Finding]:
    """The other host may have VMs on what is to go, and would find no bridge here when it hands them over."""
    gone = [name for name, entry in after.items() if entry.network is None and before.get(name) != entry]
    if not (gone or _removes(plan)) or role.load().now(role.boot_id()) == role.ACTIVE:
        return []
    what = f"{config.peer.name} does not answer, and its VMs may need what is to be removed"
    return [Finding(what, "Wait until it answers; or do it on the host that is ACTIVE.", config.me.name)]


def _needed_there(config: PairConfig, plan: Plan, before: Book, after: Book) -> list[Finding]:
    """What the other host has against it, though it hears it for itself: it may have the VMs."""
    try:
        with Peer(config) as peer:
            return list(_ask(config, peer, PLAN, after)["plan"].findings)
    except HvmError:
        return _alone(config, plan, before, after)


def _removes(plan: Plan) -> bool:
    return any(": removed" in action for action in plan.actions)


def _do_there(config: PairConfig, peer: Peer, book: Book) -> list[str]:
    """:raises HvmError: when it failed there: here it is done then."""
    try:
        answer = _ask(config, peer, DO, book)
    except HvmError as exc:
        remedy = exc.remedy or "See what it says there, then run hvm_network state=applied."
        raise HvmError(
            f"it is done on {config.me.name}, and not on {config.peer.name}: {exc.what}", remedy, changed=True
        ) from exc
    networks_file.save_peer(answer["book"])
    return []


def _ask(config: PairConfig, peer: Peer, do: str, book: Book) -> Result:
    """:return: ``{book, wrong, plan}`` of the other host."""
    raw = peer.call("networks", timeout=_TIMEOUT, do=do, told=books.dump(Kept(book)))
    plan = raw["plan"]
    return {
        "book": books.parse(str(raw["book"]), _names(config)).book,
        "wrong": raw["wrong"],
        "plan": Plan(
            findings=tuple(Finding(*map(str, one)) for one in plan["findings"]),
            actions=tuple(map(str, plan["actions"])),
            left=tuple(map(str, plan["left"])),
            steps=tuple(links.command(*str(one).split()) for one in plan["steps"]),
        ),
    }


def _let_know(config: PairConfig, book: Book) -> list[str]:
    """What this host was told by the inventory; the other one may be told at the same time, and says so when it is."""
    try:
        with Peer(config) as peer:
            networks_file.save_peer(_ask(config, peer, LOOK, book)["book"])
    except HvmError as exc:
        if books.there(book):
            return [f"{config.peer.name} cannot be asked for its networks: {exc.what}"]
    return []


def told(config: PairConfig, do: str, text: str) -> Result:
    """The agent's part.

    :param do: LOOK: what this host has; PLAN: what it would do; DO: it does it.
    :return: ``{book, wrong, plan: {findings, actions, left, steps}}``, JSON-serialisable.
    """
    theirs = books.parse(text, _names(config)).book
    with _changing(do != DO, seconds=10.0):
        kept = networks_file.read(config)
        plan = Plan()
        if do == LOOK:
            if theirs:
                networks_file.save_peer(theirs)
        else:
            kept = kept._replace(book=books.meet(kept.book, theirs))
            plan = _plan(config, kept)
            if do == DO:
                if plan.findings:
                    raise Refused(_CHANGE, plan.findings)
                networks_file.save_peer(theirs)
                _do_here(config, kept, plan)
    return {
        "book": books.dump(Kept(kept.book)),
        "wrong": _wrong(config, kept),
        "plan": {
            "findings": [list(one) for one in plan.findings],
            "actions": list(plan.actions),
            "left": list(plan.left),
            "steps": [step.text() for step in plan.steps],
        },
    }


# ---- this host


def _plan(config: PairConfig, kept: Kept) -> Plan:
    there = books.there(kept.book)
    networks.parse([one.record() for one in there], _names(config), config.shared_ips)  # two may want the same
    host = bridges.Host()
    made = managers.made(host.files())
    stay = [str(one["name"]) for one in kept.undecided() if one["name"] in made]
    wanted = [*(one.on(config.me.name) for one in there), *(made[name].bridge for name in stay)]
    gone = set(made).difference(one.name for one in wanted)
    world = _world(config, host, with_users=bool(gone))
    done = network_plan.plan(wanted, world, kept.manager, config.me.name)
    said = [
        f"{name} stays as it is, since it was declared for a host that is not in the pair any more. "
        "Declare it anew, or remove it (hvm_network state=absent)."
        for name in stay
    ]
    return done._replace(left=(*done.left, *said), findings=(*done.findings, *_nobody_knows(config, gone)))


def _nobody_knows(config: PairConfig, gone: t.Collection[str]) -> list[Finding]:
    """Without libvirt there is nobody to say which bridges VMs need. A PASSIVE host has none, and the other one is asked."""
    record = role.load()
    if not gone or hypervisor_running() or record.role == role.PASSIVE or not record.since:
        return []
    what = f"libvirt does not run, so nobody knows whether VMs need {', '.join(sorted(gone))}"
    return [Finding(what, "Start it: hvm_hypervisor state=started.", config.me.name)]


def _do_here(config: PairConfig, kept: Kept, plan: Plan) -> None:
    """What is declared is written before anything is done: a failure, or a crash, leaves something to be mended, and `status`
    says so. But not before the lock: what it refuses has not begun.
    """
    host = bridges.Host()
    with operation.Lock().held("network", operation.owner()) if _removes(plan) else contextlib.nullcontext():
        networks_file.save(kept)
        if not plan.changes:
            return
        off, before = address.last_off(), host.links()
        reasons = links.protected(before, _reasons(config, host, before))
        try:
            bridges.carry_out(plan, host)
        finally:
            _still_reached(config, before, host, reasons, off)
    for action in plan.actions:
        log.say(f"network {action}")


def _still_reached(config: PairConfig, before: links.Links, host: bridges.Host, names: t.Collection[str], off: int) -> None:
    """What must not be touched is as it was; the shared IP, if something took it away, is put back.

    Not before the host's own addresses are there again: a reload may make networkd give an interface its addresses anew, which
    takes it a moment, and how the shared IP is added depends on them.

    :param off: of before, when the shared IP was last taken off on purpose.
    :raises HvmError: naming what is gone.
    """
    shared = {one.ip: str(one) for one in parse_shared(config.shared_ips)}
    end = time.monotonic() + bridges.SETTLE
    while True:
        lost = bridges.lost(before, host.links(), names)
        if all(_ip(one) in shared for one in lost) or time.monotonic() >= end:
            break
        time.sleep(0.2)
    back = [shared[ip] for ip in (_ip(one) for one in lost) if ip in shared]
    if back:
        _put_back(config, back, off)
    left = [one for one in lost if _ip(one) not in shared]
    if left:
        remedy = "Something else reconfigured it at the same time: see the journal of this host (journalctl -b)."
        raise HvmError(f"after the change of the networks this is gone: {', '.join(left)}", remedy)


def _put_back(config: PairConfig, addresses: t.Sequence[str], off: int) -> None:
    """Unless this host has given it up: the other one may have it by now, or is about to."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(address.taking(config, "network"))
        except HvmError:
            return
        if address.last_off() == off:
            for warning in address.take_back(config, addresses):
                log.say(warning)


def _ip(text: str) -> t.Any:
    try:
        return ipaddress.ip_interface(text.partition(" ")[0]).ip
    except ValueError:
        return None


def _world(config: PairConfig, host: bridges.Host, with_users: bool) -> World:
    found = host.links()
    return World(found, host.files(), host.facts(), _reasons(config, host, found), _users(config) if with_users else {})


def _reasons(config: PairConfig, host: bridges.Host, found: links.Links) -> dict[str, str]:
    """Why which interface must not be touched, the most telling reason of each."""
    reasons = {}
    for name in links.with_address(found, set(shared_ip.session_servers())):
        reasons[name] = "has the address that this session comes in by"
    for name in host.default_routes():
        reasons.setdefault(name, "has the default route")
    if config.shared_ips:
        reasons.setdefault(config.interface, "is that of the shared IP")
    for name in links.with_address(found, _reached_at(config)):
        reasons.setdefault(name, f"has the address at which {config.peer.name} reaches this host")
    return reasons


def _reached_at(config: PairConfig) -> set[t.Any]:
    """Where the other host reaches this one. Its name is mostly that of a loopback address in its own /etc/hosts (Debian): then
    what it would be seen with there.
    """
    found = _addresses(config.me.address)
    if found and all(one.is_loopback for one in found):
        found |= {_source(one) for one in _addresses(config.peer.address)}
    return found - {None}


def _addresses(host: str) -> set[t.Any]:
    """Nothing for a name that nobody knows."""
    try:
        return {_ip(str(info[4][0]).partition("%")[0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)}
    except (OSError, UnicodeError):
        return set()


def _source(target: t.Any) -> t.Any:
    """This host's address on the way to `target`; nothing is sent."""
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((str(target), 9))
            return _ip(str(sock.getsockname()[0]).partition("%")[0])
    except OSError:
        return None


def _users(config: PairConfig) -> dict[str, list[str]]:
    """Bridge -> VMs that have it in their definition, also through a network of libvirt; nobody where libvirt does not run.

    :raises HvmError: when libvirt runs and does not say.
    """
    found: dict[str, list[str]] = {}
    if not hypervisor_running():
        return found
    conn = domains.connect()
    try:
        by_network = domains.network_bridges(conn)
        for name, vm in domains.vms(conn, config.state_dir).items():
            for bridge in {*vm["bridges"], *(by_network[one] for one in vm["networks"] if one in by_network)}:
                found.setdefault(bridge, []).append(name)
        for network, bridge in by_network.items():
            found.setdefault(bridge, []).append(f"libvirt's network {network}")
    finally:
        conn.close()
    return found


def _wrong(config: PairConfig, kept: Kept) -> dict[str, list[str]]:
    """Network -> what is not as it was declared, on this host."""
    host, there = bridges.Host(), books.there(kept.book)
    left = set(managers.made(host.files())).difference(
        (one.name for one in there), (str(one["name"]) for one in kept.undecided())
    )
    wrong = {name: [f"{name} is to be removed, and is still there"] for name in sorted(left)}
    if there:
        found = host.links()
        wrong |= {one.name: links.faults(one.on(config.me.name), found) for one in there}
    return {name: faults for name, faults in wrong.items() if faults}


def summary(config: PairConfig) -> Result:
    """For an observation: ``{declared: {name: record}, wrong: {name: [sentence]}, notes: [sentence]}``; never fails.

    :ivar notes: what the other host was not told, as far as this one knows without asking it.
    """
    try:
        kept = networks_file.read(config)
        book = kept.book
        declared = {one.name: one.record() for one in books.there(book)}
        wrong = _wrong(config, kept)
        other = networks_file.read_peer(config)
    except HvmError as exc:
        return {"declared": {}, "wrong": {}, "notes": [str(exc)]}
    notes = []
    names = books.differing(book, other or {})
    if names and other is None:
        notes.append(f"{config.peer.name} has not been asked yet whether it has {', '.join(names)}")
    elif names:
        notes.append(f"when {config.peer.name} last answered, it was told otherwise of {', '.join(names)}")
    return {
        "declared": declared,
        "wrong": wrong,
        "notes": [f"{one}. Bring the two together: hvm_network state=applied." for one in notes],
    }


# ---- small things


def _names(config: PairConfig) -> list[str]:
    return [one.name for one in config.hosts]


def _said(raws: t.Sequence[t.Any]) -> list[t.Any]:
    """Without what was not said: Ansible fills it in."""
    return [{key: one for key, one in raw.items() if one not in (None, "")} if isinstance(raw, dict) else raw for raw in raws]


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _changing(check: bool, seconds: float = 60.0) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if check else networks_file.changing(seconds)


def _result(
    config: PairConfig,
    changed: bool,
    sentence: str,
    plans: t.Mapping[str, Plan],
    before: Book,
    after: Book,
    warnings: list[str],
) -> Result:
    def lines(book: Book) -> str:
        return "".join(f"{one.sentence()}\n" for one in books.there(book))

    return {
        "changed": changed,
        "sentence": sentence,
        "actions": {host: list(plan.actions) for host, plan in plans.items()},
        "plan": {host: [step.text() for step in plan.steps] for host, plan in plans.items()},
        "networks": [one.record() for one in books.there(after)],
        "diff": {"before": lines(before), "after": lines(after)},
        "warnings": warnings,
    }
