# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The library's sentences in French: none of what an operator is refused with, or reported to, is forgotten."""

from __future__ import annotations

import ast
import json
import pathlib
import re
import string
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._command import french, words
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding, Refused
from ansible_collections.hvm.pair.plugins.module_utils._core.report import report
from ansible_collections.hvm.pair.plugins.module_utils._procedure import preflight
from ansible_collections.hvm.pair.plugins.module_utils._procedure.rollback import AGAIN, FOLLOW
from ansible_collections.hvm.pair.plugins.module_utils._report.rollback import rollback
from ansible_collections.hvm.pair.plugins.module_utils._report.steps import steps

LIBRARY = pathlib.Path(str(french.__file__)).parents[1]

#: What is put together with something else before it is said; each has its whole in the table, or is filled in as it is.
PARTS = {
    "_pair/guards.py": [
        *(" since {}", ", ", "; ", " mountpoint=PATH"),
        "{} does not answer, so it may be ACTIVE; what it wrote{} is only there",
    ],
    "_pair/recovery.py": [
        *("take over", "; ", ", ", "{} s", "{} min", "{} h", "{} bytes", "{} is {}", "{} {} in epoch {}"),
        *("{} {} {} in epoch {}", "{}, which was ACTIVE, only {}"),
        *("was ACTIVE last, in epoch {}", "had begun to hand over", "{} has seen epoch {} and {}"),
        *("goes on from its saved memory", "starts anew from its disks", "VM {}: loses {}, and {}"),
        *("dataset {}: written since: {}", "{} To go on with them: hvm.pair.rejoin with {}."),
        *("hvm_winner={} hvm_dead_host={}", "{} can come back when it does. If it is off and lost, with what only it has: {}."),
        "{} {} and wins, by the operator's word: it becomes ACTIVE in epoch {}, and {} is off",
        "{} {}; {} is off, by the operator's word: {} becomes ACTIVE in epoch {}",
        "{} and has what {} lacks: {}",
        "{}. {} becomes DIVERGED and it is held until somebody decides: {}",
        "{} {} and wins, by the operator's word: it becomes ACTIVE in epoch {}, {} ({} in epoch {}) becomes DIVERGED",
        ", if it has anything of its own",
        "{}. It is destroyed, by the operator's word, and {} becomes PASSIVE in epoch {}",
        "{} and has nothing of its own: it becomes PASSIVE in epoch {}",
        "{}. It is kept beside, and {} becomes PASSIVE in epoch {}",
        "{}. It is held until somebody decides: {}",
    ],
    "_pair/moving.py": [
        *("arrive there", "coming back", "commit there", "hand over", "last snapshot", "last sync", "shared IP off"),
        *("stays as it is", "stop here", "take over", "waiting for the other host", "  {}  {}  {}", "{} is {}"),
        ", ",
    ],
    "_pair/modes.py": [", ", "; ", "{} s", "{}: {}", "{} {}"],
    "_pair/advice.py": [", "],
    "_core/report.py": [
        *("left out", "saved and restored", "without its memory: paused", "filesystems frozen by its agent"),
        *("was shut down meanwhile", "its disks are in the set as after a power cut", "left out: autobackup=no"),
        *("  {} {}{}", "  {} {} s", "  {}        -    {}", " ({})", "{} on {}{}", "  {}", "{} in {} s", "{} s", ", ", "; "),
        *("Before the interruption: ", "Before the VMs moved: ", "direct: paused meanwhile"),
        "no interruption in this run",
        "live, and paused when its time was over",
    ],
    "_report/status.py": [
        "; ",
        *("Last complete set", "Last with VM states (B)", "{}: {}, {} old", "{}: none", " by {}", "  {} {} prio {} {}"),
        *("Pending: {}{}, begun {}, stopped at '{}'", "  because: {}", "{} min", "{} h", " (frozen by an I/O error)"),
        " (its QEMU does not answer)",
        "  {} does not answer: of its VMs no more is known",
    ],
    "_report/steps.py": [" ({}, epoch {})", "{} already{}: nothing to do", "  {}"],
    "_report/recovery.py": ["take over", "  {}", "  {}: {}", "{} {} s", ", "],
    "_report/rollback.py": [
        *("{} newer snapshots", "{} written since", "not in the set", " to {}", "  {}", "  {}: {}", ", "),
        *("The rollback of {} {} undone", "The datasets {} back to {}", "would follow", "has followed", "would be", "would go"),
        *("{} {}{}; what was newer there is kept", " (B: VM states inside)"),
    ],
    "_procedure/switch.py": [
        *("start libvirt, its networks and pools{}", "{} on {}", "started by hand", "; no VM", "hv start", "hv stop", ", "),
    ],
    "_net/network_plan.py": [
        *(", MTU {}", ", {}", " and ", "changed ({} > {}{})", "made ({}{})", "mended ({})", "its files are written anew"),
        *("{} {}", "it has the address {}", "it is in {}", " at most", "{} has an MTU of {}{}, and {} wants {}", "{}: {}"),
        *("{} is in use: {}", "{} is not as it was declared: {}. {}", ", ", "; ", "{} cannot be changed"),
        *("{} cannot be removed", "{} cannot be put into {}"),
    ],
    "_net/links.py": [
        *(" (by way of ", "{} (by way of {})", " ", "{} {}"),
    ],
    "_procedure/networks.py": [
        *(" ", ", ", ": removed", "network {}", "{}: {}", "has the address that this session comes in by"),
        *("has the default route", "is that of the shared IP", "has the address at which {} reaches this host"),
        *("libvirt's network {}", "{} cannot be asked, so it is not told: {}. {}"),
        "When it answers, run hvm_network state=applied.",
    ],
    "_procedure/cancelling.py": [" and ", "would be told", "is told", "the other host", "{} {} to end; {}"],
    "_procedure/rollback.py": [
        *(", ", "; ", "{} on {}", "no {}", "the new base", "{}, begun {}, did not end", "{}: {}"),
        *(FOLLOW, AGAIN),
    ],
    "_procedure/checkpoint.py": [
        *(", ", "; ", "{}: {}", "{}; {}", "failed, VMs restored"),
        *("not every VM could be saved: {}", "not every VM could be restored: "),
    ],
    "_pair/constraint.py": [
        *(" ", "    ", " Mo  Tu  We  Th  Fr  Sa  Su", " and ", ", ", "; ", "{} = {}", "{} {}", "{} {} {}", "{} {} (set {})"),
        "{} is none",
    ],
    "_procedure/verbs.py": [],
    "_procedure/vm_settings.py": ["{} is {}"],
    "_procedure/vms.py": ["VMs are {}", "{}  {}", "the VMs are not known: {}"],
}


def templates(name: str) -> set[str]:
    """The strings of a file that are more than one word, with {} for what is filled in."""
    parsed = ast.parse((LIBRARY / name).read_text())
    silent = {id(node.value) for node in ast.walk(parsed) if isinstance(node, ast.Expr)}
    silent |= {id(part) for node in ast.walk(parsed) if isinstance(node, ast.JoinedStr) for part in node.values
               if isinstance(part, ast.Constant)}  # fmt: skip
    found = set()
    for node in ast.walk(parsed):
        if id(node) in silent:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if " " in text and "ansible_collections" not in text:
            found.add(text)
    return found


@pytest.mark.parametrize("name", PARTS)
def test_each_sentence_is_in_the_table_or_known_to_be_a_part(name: str) -> None:
    missing = {text for text in templates(name) if text not in french.SENTENCES and text not in PARTS[name]}
    assert missing == set()


def test_what_is_not_in_the_table_is_not_made_half_french_by_what_is() -> None:
    """ "{} is in {}" is for a bridge; "No constraint is in force today" is not "dans force"."""
    half = {}
    for path in LIBRARY.glob("_*/*.py"):
        name = str(path.relative_to(LIBRARY))
        if name.startswith("_command/"):
            continue
        for text in templates(name) - set(french.SENTENCES) - set(PARTS.get(name, ())):
            said = french.line(text.replace("{}", "x1"))
            if said is not None and re.search(r"\b(is|was|are|the|and|not|has|of|in|with|it)\b", said):
                half[f"{name}: {text}"] = said
    assert half == {}


def test_what_is_a_part_is_still_there() -> None:
    assert {name: sorted(set(parts) - templates(name)) for name, parts in PARTS.items() if set(parts) - templates(name)} == {}


def test_each_sentence_fills_in_the_same_things() -> None:
    for english, said in french.SENTENCES.items():
        fields = [name for _text, name, _format, _conversion in string.Formatter().parse(said) if name is not None]
        assert len(fields) in (0, english.count("{}")) if "=NAME" in english else len(fields) == english.count("{}"), english
        assert english != said or english == "Total: {} s", english


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("this host is PASSIVE, and only the ACTIVE one can be backed up",
         "cet hôte est PASSIF, et seul l'hôte ACTIF peut être sauvegardé"),
        ("Start it: hvm_hypervisor state=started.", "Le démarrer: hvm hv start."),
        ("  hv2 is ACTIVE, in epoch 4; the gate is open", "  hv2 est ACTIF, en époque 4; la porte est ouverte"),
        ("Next: hvm_vm state=restored for web, if not saved on purpose", "Ensuite: hvm vm restore web, sauf sauvegarde voulue"),
        ("hv2 does not answer. It can come back when it does.", "hv2 ne répond pas. Il pourra revenir quand il répondra."),
        ("zfs send failed (1). Run the playbook hvm.pair.install.", "zfs send failed (1). Run the playbook hvm.pair.install."),
        ("it could not run on hv2 now: bridge br0 is not there, and web need it",
         "elle ne pourrait tourner maintenant sur hv2: le pont br0 n'est pas là, et web en ont besoin"),
        ("No constraint is in force today, 2026-11-29. The next one: hv1 must be ACTIVE on 2026-12-01.",
         "Aucune contrainte n'est en vigueur aujourd'hui, 2026-11-29. La prochaine: hv1 doit être ACTIF le 2026-12-01."),
        ("* hv1 must be ACTIVE from 2026-12-01 to 2026-12-03 inclusive (set 2026-11-28T10:00:00Z)",
         "* hv1 doit être ACTIF du 2026-12-01 au 2026-12-03 inclus (fixé 2026-11-28T10:00:00Z)"),
        ("VM db has a saved state; starting it would make that useless",
         "la VM db a une sauvegarde d'état; la démarrer la rendrait inutile"),
        ("VM db has something that is not in the table", "VM db has something that is not in the table"),
        ("what is new is not known", "what is new is not known"),
        ("br0 is in /etc/network/interfaces", "br0 est dans /etc/network/interfaces"),
        ("", ""),
    ],
)  # fmt: skip
def test_sentences(text: str, said: str) -> None:
    assert words.Words("fr").said(text) == said


def test_each_decision_after_a_crash_is_french() -> None:
    """Those of the golden table, where nothing is refused: what they are put together from is in the table too."""
    golden = pathlib.Path(__file__).parents[1] / "_pair" / "recovery_golden.txt"
    decided = set()
    for line in golden.read_text().splitlines():
        kind, _colon, text = line.strip().partition(": ")
        if line.startswith("    ") and kind != "refused":
            decided.add(re.sub(r" \[.*\]$", "", text))
    assert len(decided) > 30
    said = {text: french.line(text) or text for text in decided}
    left = {text: words for text, words in said.items() if re.search(r" (is|was|the|and|becomes) ", words)}
    assert left == {}


def test_reports_are_french_line_by_line() -> None:
    said = words.Words("fr").said
    result = {
        "vms": {"web": {"method": "save", "interruption": 12.3}}, "set": "hvm_x_B", "steps": [{"step": "save", "seconds": 1.0}],
        "window": 1.0, "memory": 2.0, "bytes": 1, "total": 3.0,
    }  # fmt: skip
    pruned = {"hv1": {"destroyed": ["a"], "blocked": {"b": ["c"]}}}
    lines = [said(line) for line in report(result, "hv1", {"bytes": 2048}, pruned)]
    assert lines == [
        "Hôte ACTIF: hv1",
        "Interruption de 1 VMs:",
        "  web                  12.3 s  sauvegardée et restaurée",
        "Jeu de snapshots: hvm_x_B (B: avec l'état des VMs)",
        "Envoyé: 1 B, vérifié sur l'autre hôte par GUID",
        "Mémoire écrite en 2.0 s, pendant que les VMs tournaient",
        "Etapes de l'interruption (1.0 s):",
        "  save                             1.00 s",
        "Anciens jeux purgés: 1 on hv1",
        "L'ancien jeu b reste sur hv1: c",
        "Total: 3.0 s",
    ]
    moved = {
        "vms": {
            "web": {"mode": "live", "interruption": 1.7},
            "db": {"mode": "live", "interruption": 4.0, "late": True},
            "old": {"mode": "secure", "interruption": 61.0},
            "app": {"mode": "direct", "interruption": 3.0},
            "ice": {"mode": "direct"},
        },
        "active": "hv2", "presync": [{"bytes": 1, "seconds": 2.0}], "steps": [{"step": "move", "seconds": 60.0}], "window": 61.0,
    }  # fmt: skip
    assert [said(line) for line in report(moved)] == [
        "Hôte ACTIF: hv2",
        "Interruption de 5 VMs:",
        "  app                   3.0 s  direct: figée pendant ce temps",
        "  db                    4.0 s  live, puis figée une fois son temps écoulé",
        "  ice                     -    aucune interruption cette fois",
        "  old                  61.0 s  sauvegardée et restaurée",
        "  web                   1.7 s  live",
        "Avant le déplacement des VMs: 1 B in 2.0 s",
        "Etapes (la plus longue interruption d'une VM: 61.0 s):",
        "  move                            60.00 s",
    ]
    plan = {"plan": ["stop libvirt, shut the gate"], "role": "ACTIVE", "epoch": 4}
    assert [said(line) for line in steps(plan, "Hypervisor is stopped", "", True)] == [
        "Plan (rien n'a été changé):",
        "  arrêter libvirt, fermer la porte",
    ]
    rolled = {
        "do": "rollback", "set": "hvm_x_B", "datasets": {"t/v": {"newer": ["a"], "written": 2048, "comes_back": False}},
        "kept": ["t/k"], "replica": {"host": "hv2", "do": "rollback", "set": "hvm_x_B"}, "state_images": ["web"],
    }  # fmt: skip
    assert [said(line) for line in rollback(rolled)] == [
        "Les volumes sont revenus à hvm_x_B (B: avec l'état des VMs)",
        "  t/v: 1 snapshots plus récents, 2.0 KiB écrits depuis, absent du jeu",
        "Gardé, jusqu'à 'hvm zfs kept drop': t/k",
        "hv2 a suivi vers hvm_x_B; ce qui y était plus récent est gardé",
        "Ensuite: hvm hv start, puis les VMs",
        "Sauvegardes d'état de web: hvm vms restore",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alpha: its disks are made ready", "alpha: ses disques sont préparés"),
        ("alpha: 64.0 KiB of its disks left", "alpha: reste 64.0 KiB de ses disques"),
        ("alpha: 1.0 MiB of 32.5 MiB of memory and 2 B of its disks left; it would stand still for 300 ms now",
         "alpha: reste 1.0 MiB de mémoire sur 32.5 MiB et 2 B de ses disques; elle s'arrêterait 300 ms maintenant"),
        ("alpha has moved (live) in 11.5 s; it stood still for 1.7 s",
         "alpha s'est déplacée (live) en 11.5 s; interrompue 1.7 s"),
        ("hva: alpha: what it has written is in its disks", "hva: alpha: ce qu'elle a écrit est dans ses disques"),
        ("overlays for no VM", "overlays pour aucune VM"),
        ("the move of db was stopped; so the migration was undone, and hv1 goes on as the ACTIVE host",
         "le déplacement de db a été interrompu; la migration a donc été annulée, et hv1 continue comme hôte ACTIF"),
        ("the migration ended before its time (the move of db was stopped); web stay on hv2",
         "la migration a pris fin avant l'heure (le déplacement de db a été interrompu); web restent sur hv2"),
        ("migrate_unsecure is told to end; VMs that have moved come back",
         "migrate_unsecure: ordre de fin donné; les VMs déplacées reviennent"),
    ],
)  # fmt: skip
def test_steps_of_a_move_in_french(text: str, said: str) -> None:
    assert words.Words("fr").said(text) == said


def test_a_refusal_in_french(hvm: t.Any) -> None:
    findings = [Finding("the hypervisor is running", "Stop it: hvm_hypervisor state=stopped.", "hv1"),
                Finding("something new", "Nobody has translated it.", "hv2")]  # fmt: skip
    hvm.answers[preflight, "preflight"] = Refused("the rollback", findings)
    ran = hvm("rollback", "--lang", "fr")
    assert ran.code == 3
    assert ran.err.splitlines() == [
        "hvm: retour arrière: refusé, rien n'a été changé:",
        "  hv1: l'hyperviseur est en marche. L'arrêter: hvm hv stop.",
        "  hv2: something new. Nobody has translated it.",
    ]
    data = json.loads(hvm("rollback", "--lang", "fr", "--json").out)
    assert data["findings"][0]["what"] == "the hypervisor is running"  # data are for programs


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("vm start", "hvm: arguments manquants: VM"),
        ("status now", "hvm: arguments inconnus: now"),
        ("vm start a --parallel x", "hvm: --parallel: 'x' n'est pas un nombre entier"),
        ("vm start a --parallel", "hvm: --parallel: une valeur est attendue"),
        ("backup secure --older-than x", "hvm: --prune-older-than/--older-than: 'x' n'est pas un nombre"),
        ("rejoin --choice drop", "hvm: --rejoin/--choice: 'drop' n'est pas parmi "),
        ("zfs mount --check=yes", "hvm: --check: valeur 'yes' inattendue"),
    ],
)
def test_wrong_words_in_french(hvm: t.Any, typed: str, said: str) -> None:
    ran = hvm(*typed.split(), "--lang=fr")
    assert ran.code == 2 and ran.err.startswith(said)
