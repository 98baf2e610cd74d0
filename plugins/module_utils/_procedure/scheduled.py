# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""The scheduled run (the manual's "hvm-cron"): on both hosts, does its work only on the one where it should, and reports.

By the timer of the host, by the playbook, by AWX, by the command: always `apply`. What it does is decided in `_pair/schedule.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import signal
import sys
import traceback
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core import log, mail, report, signals
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.files import read_text
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
from ansible_collections.hvm.pair.plugins.module_utils._libvirt.memory import CHECKPOINT, SAVE
from ansible_collections.hvm.pair.plugins.module_utils._pair import config as configs
from ansible_collections.hvm.pair.plugins.module_utils._pair import constraint, constraint_file, guards, modes, role, schedule
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._procedure import (
    backup,
    both,
    constraints,
    cycle,
    move,
    preflight,
    switchover,
)
from ansible_collections.hvm.pair.plugins.module_utils._procedure.observe import observe
from ansible_collections.hvm.pair.plugins.module_utils._zfs import retention

PATH = "/etc/hvm/schedule.json"
REMEDY = "Correct the variables hvm_schedule_* and run the playbook hvm.pair.install."
OPERATION = "the scheduled run"
SECURE, UNSECURE = "secure", "unsecure"
#: Words of the file -> method of the backup when it does not say one.
_METHODS = {SECURE: CHECKPOINT, UNSECURE: backup.QUIESCE}
#: Lines of progress in the report of a run that failed.
_LAST_STEPS = 30


@dataclasses.dataclass(frozen=True)
class Options:
    """:ivar swap_days: the roles are swapped every so many days; 0: not.
    :ivar rules: which old sets stay.
    :ivar migrate: SECURE or UNSECURE. :ivar move: how the VMs move in the second case; what fails comes back in any case.
    """

    backup: backup.Options = dataclasses.field(default_factory=backup.Options)
    swap_days: int = 0
    rules: retention.Rules = dataclasses.field(default_factory=lambda: retention.Rules(keep_last=48))
    migrate: str = SECURE
    move: move.Options = move.DEFAULTS

    @property
    def kind(self) -> str:
        return SECURE if self.backup.method in (CHECKPOINT, SAVE) else UNSECURE


def parse(text: str) -> Options:
    """The file's text; what is not there is as the playbooks have it.

    :raises HvmError: for anything that means nothing.
    """
    try:
        raw = json.loads(text)
    except ValueError as exc:
        raise HvmError(f"{PATH} is not JSON: {exc}", REMEDY) from exc
    known = ("backup", "method", "fallback", "swap_days", "prune", "migrate", "move")
    if not isinstance(raw, dict) or set(raw) - set(known):
        raise HvmError(f"{PATH} must be a JSON object with {', '.join(known)} and no more", REMEDY)
    kind = raw.get("backup", SECURE)
    if kind not in _METHODS:
        raise HvmError(f"{PATH}: 'backup' is {kind!r}", f"It must be {SECURE} or {UNSECURE}. {REMEDY}")
    method = raw.get("method") or _METHODS[kind]
    of_kind = [one for one in backup.METHODS if Options(backup.Options(one)).kind == kind]
    if method not in of_kind:
        raise HvmError(f"{PATH}: 'method' of a backup {kind} is {method!r}", f"It must be {' or '.join(of_kind)}. {REMEDY}")
    fallback = raw.get("fallback", list(backup.Options().fallback))
    if not isinstance(fallback, list) or [one for one in fallback if one not in backup.FALLBACKS]:
        raise HvmError(f"{PATH}: 'fallback' is {fallback!r}", f"A list of {', '.join(backup.FALLBACKS)}. {REMEDY}")
    days = raw.get("swap_days", 0)
    if not isinstance(days, int) or isinstance(days, bool) or not 0 <= days <= 3660:
        raise HvmError(f"{PATH}: 'swap_days' is {days!r}", f"A number of days, 0 for never. {REMEDY}")
    rules = Options().rules if raw.get("prune") is None else retention.rules(raw["prune"])
    migrate = raw.get("migrate", SECURE)
    if migrate not in _METHODS:
        raise HvmError(f"{PATH}: 'migrate' is {migrate!r}", f"It must be {SECURE} or {UNSECURE}. {REMEDY}")
    return Options(backup.Options(method, backup.ways(fallback)), days, rules, migrate, _move(raw.get("move", {})))


#: Of 'move': key -> the words that it may have, or the smallest number.
_MOVE: dict[str, tuple[str, ...] | int] = {
    "mode": modes.WISHES, "fallback": modes.FALLBACKS, "limit": 1, "max_pause": 0, "rate": 0
}  # fmt: skip


def _move(raw: t.Any) -> move.Options:
    """:raises HvmError: for anything that means nothing."""
    if not isinstance(raw, dict) or set(raw) - set(_MOVE):
        raise HvmError(f"{PATH}: 'move' must be a JSON object with {', '.join(_MOVE)} and no more", REMEDY)
    for key, value in raw.items():
        allowed = _MOVE[key]
        if isinstance(allowed, tuple):
            if value not in allowed:
                raise HvmError(f"{PATH}: '{key}' of 'move' is {value!r}", f"It must be {' or '.join(allowed)}. {REMEDY}")
        elif not isinstance(value, int) or isinstance(value, bool) or value < allowed:
            raise HvmError(f"{PATH}: '{key}' of 'move' is {value!r}", f"A number, {allowed} or more. {REMEDY}")
    found = {**raw}
    rate = found.pop("rate", move.DEFAULTS.rate)
    if "mode" in found:
        found["wish"] = found.pop("mode")
    return move.Options(move.DEFAULTS.policy._replace(**found), rate)


def load(path: str = PATH) -> Options:
    """Without a file everything is as the playbooks have it by themselves."""
    text = read_text(path)
    return Options() if text is None else parse(text)


class Stopped(BaseException):
    """Somebody ends this process, where it may end. No Exception: nothing takes it for a failure that it can live with."""


class Run:
    """What is known of a run so far: the report is made of it, however it ends."""

    def __init__(self, config: PairConfig, check: bool) -> None:
        self.config, self.check = config, check
        self.began = datetime.datetime.now(datetime.UTC)
        self.decision = schedule.Decision("", "")
        self.what = ""  # in words of the operator, for the subject
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.changed = False
        self.active = ""

    def work(self, options: Options, progress: Progress) -> None:
        config = self.config
        with contextlib.ExitStack() as stack:
            peer, other, silent = preflight.reach(config, stack)
            me = observe(config)
            if me["role"]["now"] == role.ACTIVE:
                me, other = both.at_rest(lambda: observe(config), peer, other, progress)
            days = options.swap_days
            known = self._constraints(peer)
            decision = schedule.decide(me, other, known or (), days if known is not None else 0, _now())
        self.decision = decision
        self.warnings += decision.warnings
        self.active = config.peer.name if other and other["role"]["now"] == role.ACTIVE else config.me.name
        if decision.findings:
            self.active = ""
            raise Refused(OPERATION, both.explained(decision.findings, silent))
        progress.say(decision.sentence)
        if decision.do == schedule.MIGRATE:
            self.warnings += guards.degraded(me, other)
            self._migrate(options, progress)
        elif decision.do == schedule.BACKUP:
            self._back_up(options, progress)

    def _constraints(self, peer: Peer | None) -> constraint.Constraints | None:
        """Those of both hosts; None when this host's file cannot be read: then nothing moves, and a backup is made."""
        if peer is not None:
            try:
                return constraints.exchange(self.config, peer, self.check)[0].there
            except HvmError as exc:
                self.warnings.append(f"the constraints were not compared with those of {self.config.peer.name}: {exc}")
        try:
            return constraint_file.load()
        except HvmError as exc:
            self.warnings.append(str(exc))
            return None

    def _migrate(self, options: Options, progress: Progress) -> None:
        """A pair that cannot migrate, for as long as a constraint lasts, is not to be without a backup all the while."""
        self.what = kind = f"migrate {options.migrate}"
        try:
            with signals.Remembered():  # whoever ends this process, or switches the host off, does not end it in the midst
                if options.migrate == UNSECURE:
                    result = move.migrate(self.config, progress, self.check, options.move)
                else:
                    result = switchover.migrate(self.config, progress, self.check)
        except Refused as exc:
            self.what = f"{kind} is refused, and the backup instead of it"
            self.lines.append("The migration is refused, so a backup is made instead:")
            try:
                self._back_up(options, progress)
            except HvmError:
                self.warnings.append(str(exc))
                raise
            self.what = f"{kind} is refused, a backup was made instead"
            raise
        self.changed, self.active = bool(result["changed"]), result["active"]
        self.warnings += result.get("warnings", [])
        self.lines += report.report(result)
        if not self.check:  # where the roles are swapped each day no backup comes, and its sets would stay for ever
            cycle.prune_both(self.config, options.rules, progress, self.check, self.warnings)

    def _back_up(self, options: Options, progress: Progress) -> None:
        self.what = self.what or f"backup {options.kind}"
        result = cycle.run(self.config, options.backup, options.rules, progress, self.check)
        self.changed = bool(result["changed"])
        self.warnings += [text for text in result["warnings"] if text not in self.warnings]
        self.lines += report.report(result["checkpoint"], self.config.me.name, result["sync"], result["prune"])


def apply(config: PairConfig, progress: Progress, check: bool = False, options: Options | None = None) -> dict[str, t.Any]:
    """Decide, do it, write the line in the log, send the mail.

    :param options: those of the host's file when left out.
    :return: ``{changed, do, sentence, active, role, epoch, subject, report: [lines], mailed, warnings}``
    :raises HvmError: what was refused, or went wrong; it is in the log and in the mail by then, and the report in its details.
    """
    run = Run(config, check)
    failure: BaseException | None = None
    try:
        run.work(load() if options is None else options, progress)
    except (Exception, Stopped) as exc:  # noqa: BLE001  whatever it is, somebody is to hear of it
        failure = exc
    result = _ended(run, failure, progress)
    if isinstance(failure, HvmError):
        details = {**failure.details, **{key: result[key] for key in ("report", "subject", "mailed", "do")}}
        failure.details = {**details, "warnings": [*failure.details.get("warnings", []), *result["warnings"]]}
    if failure is not None:
        raise failure
    return result


def _ended(run: Run, failure: BaseException | None, progress: Progress) -> dict[str, t.Any]:
    entry = _role()
    now = entry.now(role.boot_id()) if entry else "not known"
    epoch = entry.epoch if entry else 0
    subject = subject_of(run.config, run.decision.do, run.what, failure, bool(run.warnings))
    lines = report_of(run, failure, now, epoch, progress.lines)
    warnings = list(run.warnings)
    mailed = False
    if not run.check:
        said = f"failed: {failure}" if failure else run.decision.sentence
        log.say(f"scheduled: this host is {now} in epoch {epoch}; {said}")
        if failure or run.decision.do in (schedule.BACKUP, schedule.MIGRATE):
            mailed = _mail(subject, lines, warnings)
    return {
        "changed": run.changed,
        "do": run.decision.do,
        "sentence": run.decision.sentence,
        "active": run.active,
        "role": now,
        "epoch": epoch,
        "subject": subject,
        "report": lines,
        "mailed": mailed,
        "warnings": warnings,
    }


def _role() -> role.Role | None:
    try:
        return role.load()
    except HvmError:
        return None


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def subject_of(config: PairConfig, do: str, what: str, failure: BaseException | None, warned: bool) -> str:
    """The outcome first: it is what is read on a telephone at night. Pure."""
    where = f"[hvm {config.pair}] {config.me.name}"
    if failure is not None:
        return f"{where}: FAILED: {what or OPERATION}: {_sentence(failure)}"
    if do == schedule.MIGRATE:
        what = f"{what}, {config.peer.name} is ACTIVE"
    return f"{where}: {'done, with warnings' if warned else 'done'}: {what or 'nothing to do'}"


def _sentence(failure: BaseException) -> str:
    if isinstance(failure, Refused):
        return failure.findings[0].sentence()
    if isinstance(failure, HvmError):
        return failure.what
    return str(failure) if isinstance(failure, Stopped) else f"unexpected {type(failure).__name__}: {failure}"


def report_of(
    run: Run, failure: BaseException | None, now: str, epoch: int, steps: t.Sequence[dict[str, t.Any]]
) -> list[str]:
    """The lines of the mail. Pure but for the clock."""
    ended = _now()
    config = run.config
    lines = [f"Pair {config.pair}, scheduled run on {config.me.name}, {_local(run.began)}"]
    if isinstance(failure, Refused):
        lines += ["", f"FAILED: {run.what or OPERATION}:", *(f"  - {finding.sentence()}" for finding in failure.findings)]
    elif failure is not None:
        lines += ["", f"FAILED: {_sentence(failure)}."]
        if isinstance(failure, HvmError) and failure.remedy:
            lines += [f"  What to do: {failure.remedy}"]
    if run.decision.sentence:
        lines += ["", f"Decided: {run.decision.sentence}."]
    if run.lines:
        lines += ["", *run.lines]
    if run.warnings:
        lines += ["", "Warnings:", *(f"  - {text}" for text in run.warnings)]
    if failure is not None and steps:
        lines += ["", "What was done, in seconds from the beginning:"]
        lines += [f"  {one['t']:8.1f}  {one['text']}" for one in steps[-_LAST_STEPS:]]
    lines += ["", f"{config.me.name} is {now} now, in epoch {epoch}. Ended {_local(ended)}, after {_took(ended - run.began)}."]
    if failure is not None:
        lines += ["More: the playbook hvm.pair.status; on the host journalctl -t hvm, and journalctl -u hvm-scheduled-work."]
    return lines


def _local(moment: datetime.datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def _took(span: datetime.timedelta) -> str:
    seconds = int(span.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def _mail(subject: str, lines: t.Sequence[str], warnings: list[str]) -> bool:
    """A mail that cannot be sent fails nothing: it is a warning, and a line in the log."""
    try:
        settings = mail.load()
        if settings is None:
            return False
        refused = mail.send(settings, mail.compose(settings, subject, lines))
    except Exception as exc:  # noqa: BLE001  whatever a mail server comes up with
        refused, sent = [f"no mail was sent: {exc}"], False
    else:
        sent = True
    for text in refused:
        log.say(f"mail: {text}")
    warnings += refused
    return sent


class _Printed(Progress):
    """For the journal of the unit."""

    def say(self, text: str, **facts: t.Any) -> None:
        super().say(text, **facts)
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _stop(number: int, dummy: t.Any) -> t.NoReturn:
    raise Stopped(f"it was told to end ({signal.Signals(number).name}); see the status for what is pending")


def main(words: t.Sequence[str]) -> int:
    """What the unit hvm-scheduled-work.service runs. :return: its exit code."""
    parser = argparse.ArgumentParser("hvm-scheduled", description="The scheduled run of the pair; see hvm-scheduled.timer.")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--check-options", metavar="FILE", help=f"only look whether this could be {PATH}")
    one.add_argument("--check-mail", metavar="FILE", help=f"only look whether this could be {mail.PATH}")
    one.add_argument("--check-pair", metavar="FILE", help=f"only look whether this could be {configs.PATH}")
    asked = parser.parse_args(words)
    checks: dict[str, t.Callable[[str], object]] = {"options": load, "mail": mail.load, "pair": configs.load}
    try:
        for name, check in checks.items():
            path = getattr(asked, f"check_{name}")
            if path:
                check(path)
                return 0
    except HvmError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return _run()


def _run() -> int:
    for number in signals.ENDS:
        signal.signal(number, _stop)
    try:
        result = apply(configs.load(), _Printed())
    except HvmError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    except Stopped as exc:
        sys.stderr.write(f"{exc}\n")
        return 143
    except Exception:  # noqa: BLE001  a bug: the journal keeps where it happened
        traceback.print_exc()
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in result["report"]))
    for text in result["warnings"]:
        sys.stderr.write(f"warning: {text}\n")
    return 0
