# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Look at both hosts and decide; then once more under both locks, since somebody may have worked in between."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._pair import operation, recovery
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._peer.protocol import SILENCE
from ansible_collections.hvm.pair.plugins.module_utils._procedure import preflight
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe

#: What is decided of this host alone, and changes nothing there.
_ALONE = (recovery.NOTHING, recovery.ELSEWHERE, recovery.PASS)

Observation = dict[str, t.Any]
Rule = t.Callable[[Observation, "Observation | None", "Peer | None"], recovery.Decision]


@dataclasses.dataclass(frozen=True)
class Decided:
    """:ivar peer, other: the connection and the observation; None when the other host does not answer.
    :ivar silent: why it does not; one that refuses to be asked is not off, whatever word was given (preflight.Refusal).
    """

    me: Observation
    peer: Peer | None
    other: Observation | None
    silent: str
    decision: recovery.Decision

    @property
    def seen(self) -> int | None:
        """The other host's epoch, when it has just been asked, and has one."""
        return self.other["role"]["epoch"] if self.other and self.has_role else None

    @property
    def has_role(self) -> bool:
        """Whether the other host answers and has one: else there is nothing that could stand down."""
        return bool(self.other and self.other["role"]["since"])

    def result(self, changed: bool) -> dict[str, t.Any]:
        """What the modules of this kind return, before anything is done."""
        now = self.me["role"]
        return {
            "changed": changed,
            "do": self.decision.do,
            "sentence": self.decision.sentence,
            "host": self.me["host"],
            "role": now["now"],
            "epoch": now["epoch"],
            "plan": [],
            "vms": {},
            "left": [],
            "warnings": [],
            "steps": [],
        }


#: Seconds that a lock is waited for: the agent of a host that has lost its power under a sync holds it until SILENCE has passed.
PATIENCE = SILENCE + 15.0
_POLL = 2.0


def decide(
    config: PairConfig, name: str, rule: Rule, check: bool, stack: contextlib.ExitStack, progress: Progress
) -> Decided:
    """Whatever is to be done afterwards is allowed, and nobody else works on either host until `stack` ends.

    :param name: of the operation, for the locks and in what is refused.
    :param rule: (this host's observation, the other's or None, the connection or None) -> decision.
    :raises Refused: with every finding; nothing was changed then.
    """
    peer, other, silent = preflight.reach(config, stack)
    # in check mode too: a playbook looks before it acts
    me, other = at_rest(lambda: observe(config, users=True), peer, other, progress)
    found = _ruled(Decided(me, peer, other, silent, recovery.Decision("", "")), name, rule)
    if check or found.decision.do in (recovery.NOTHING, recovery.ELSEWHERE):
        return found
    stack.enter_context(operation.Lock().held(name, operation.owner()))
    if peer is not None and found.decision.do not in _ALONE:
        peer.call("lock", operation=name, owner=f"{operation.owner()} on {config.me.name}")
    return once_more(config, found, name, rule)


def at_rest(
    look: t.Callable[[], Observation], peer: Peer | None, other: Observation | None, progress: Progress
) -> tuple[Observation, Observation | None]:
    """Both hosts, when nobody works on either any more, or after PATIENCE: whoever holds a lock then is at work."""
    me = look()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        busy = [f"{side['host']}: {side['lock']}" for side in (me, other) if side and side["lock"]]
        if not busy:
            break
        progress.say(f"waiting for {' and '.join(busy)}")
        time.sleep(_POLL)
        me, other = look(), peer.call("observe") if peer else None
    return me, other


def once_more(config: PairConfig, found: Decided, name: str, rule: Rule) -> Decided:
    """The same, looked at and decided again, under locks that are held."""
    other = found.peer.call("observe") if found.peer is not None else None
    me = observe(config, users=True)
    me["lock"] = None  # it is ours
    return _ruled(dataclasses.replace(found, me=me, other=other), name, rule)


def _ruled(found: Decided, name: str, rule: Rule) -> Decided:
    decision = rule(preflight.heard(found.me, found.silent), found.other, found.peer)
    if decision.findings:
        raise Refused(name, explained(decision.findings, found.silent))
    return dataclasses.replace(found, decision=decision)


def explained(findings: t.Sequence[Finding], silent: str) -> list[Finding]:
    """With the reason why the other host does not answer, where that is what is in the way. Pure."""
    if not silent:
        return list(findings)
    return [one._replace(what=f"{one.what} ({silent})") if "does not answer" in one.what else one for one in findings]


def tell_epoch(peer: Peer | None, epoch: int) -> list[str]:
    """The other host writes down in which epoch this one is ACTIVE. :return: warnings: the next sync tells it, too."""
    if peer is None:
        return []
    try:
        peer.call("see", epoch=epoch)
    except HvmError as exc:
        return [f"the other host was not told of epoch {epoch}: {exc}"]
    return []
