# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a host is not given up, how it ends, and what is said to stay."""

from __future__ import annotations

import itertools
import typing as t

import hypothesis
import pytest
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._pair import removal
from ansible_collections.hvm.pair.plugins.module_utils._pair.role import ACTIVE, DIVERGED, PASSIVE, UNKNOWN

SET = "hvm_20261123T094512Z_office_B"
AGENT = "/usr/lib/hvm/hvm-agent"


def found(now: str = PASSIVE, **more: t.Any) -> dict[str, t.Any]:
    on = now == ACTIVE
    return {
        "host": "hv1", "pair": "office", "role": {"now": now, "since": "yesterday", "epoch": 3}, "gate_open": on,
        "hypervisor": on,
        "pending": None, "qemu": ["web"] if on else [], "saved": [], "state_dir": "/vm/state", "datasets": ["ssd/a", "rot/b"],
        "mountable": {"ssd/a/qemu": "/etc/libvirt/qemu", "rot/b/lib": "/var/lib/libvirt"}, "snapshots": 12, "sets": 3,
        "tag": "hvm:office", "holds": {}, "bookmarks": [], "kept": [], "autostart": [], "addresses": [], "interface": "",
        "overlays": {"dataset": "ssd/hvm-overlays", "files": []}, "networks": {}, **more,
    }  # fmt: skip


PENDING = {"operation": "migrate", "started": "10:00", "step": "save"}


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (found(ACTIVE), []),
        (found(PASSIVE), []),
        (found(UNKNOWN, role={"now": UNKNOWN, "since": "", "epoch": 0}, qemu=["web"]), []),
        (
            found(ACTIVE, pending=PENDING),
            [
                (
                    "hv1: migrate, begun 10:00, did not end: it was last at 'save'. hvm.pair.recover finishes it or undoes it. "
                    "Or remove it all the same: hvm_uninstall_despite=pending."
                )
            ],
        ),
        (
            found(ACTIVE, saved=["db", "mail"]),
            [
                (
                    "hv1: VMs have state images: db, mail. Restore them (hvm_vm state=restored); without this collection nothing "
                    "proves that an image fits its disks. Or remove it all the same: hvm_uninstall_despite=saved."
                )
            ],
        ),
        (
            found(ACTIVE, gate_open=False, hypervisor=False, qemu=[]),
            [
                (
                    "hv1: it is ACTIVE, and its hypervisor is stopped. Start it (hvm_hypervisor state=started), so that the host "
                    "stands by itself afterwards. Or remove it all the same: hvm_uninstall_despite=stopped."
                )
            ],
        ),
        (
            found(UNKNOWN),
            [
                (
                    "hv1: it was ACTIVE before it rebooted, and nobody has said since whether it still is. hvm.pair.recover "
                    "finds out. Or remove it all the same: hvm_uninstall_despite=unknown."
                )
            ],
        ),
        (
            found(DIVERGED),
            [
                (
                    "hv1: it is DIVERGED: it holds writes that the other host lacks. Decide about them first (hvm.pair.rejoin). "
                    "Or remove it all the same: hvm_uninstall_despite=diverged."
                )
            ],
        ),
        (
            found(PASSIVE, qemu=["web"]),
            ["hv1: VMs run here: web, although it is not the host that goes on with them. Shut them down first."],
        ),
    ],
)
def test_why_nothing_is_removed(seen: dict[str, t.Any], said: list[str]) -> None:
    assert [finding.sentence() for finding in removal.refusals(seen, ())] == said


HOSTS = st.builds(
    lambda now, gate, running, pending, saved, qemu, since: found(
        now, gate_open=gate, hypervisor=running, pending=PENDING if pending else None, saved=saved, qemu=qemu,
        role={"now": now, "since": since, "epoch": 1},
    ),
    st.sampled_from([ACTIVE, PASSIVE, UNKNOWN, DIVERGED]), *[st.booleans()] * 3,
    *[st.lists(st.sampled_from(["web", "db"]), unique=True)] * 2, st.sampled_from(["", "x"]),
)  # fmt: skip


@hypothesis.given(HOSTS, st.sets(st.sampled_from(removal.WORDS)))
def test_each_word_takes_one_reason_away_and_no_word_lets_vms_run_on_a_copy(seen: dict[str, t.Any], despite: set[str]) -> None:
    every = removal.refusals(seen, ())
    some = removal.refusals(seen, despite)
    assert [one for one in every if not any(one.remedy.endswith(f"={word}.") for word in despite)] == some
    none = removal.refusals(seen, removal.WORDS)
    assert bool(none) == bool(seen["qemu"] and seen["role"]["since"] and not removal.stands(seen))
    # what is mounted at boot is mounted on a host that goes on, and nowhere else
    assert bool(removal.boots(seen)) == (seen["role"]["now"] == ACTIVE and seen["gate_open"] and seen["hypervisor"])


def test_what_stays_on_the_host_that_goes_on() -> None:
    seen = found(
        ACTIVE, autostart=["db"], addresses=["192.0.2.10/24"], interface="br0", saved=["mail"], kept=["20261124T081500Z"],
        overlays={"dataset": "ssd/hvm-overlays", "files": ["web.vda.qcow2"]},
        networks={"br-v10": ("/a/hvm-br-v10",), "br-v20": ()},
    )  # fmt: skip
    assert removal.left(seen, True) == [
        "datasets: ssd/a, rot/b, with everything below, 12 snapshots in 3 sets of the pair (zfs list -r -t all ssd/a rot/b)",
        "they are mounted at each boot from now on (canmount=on): /etc/libvirt/qemu, /var/lib/libvirt",
        "libvirt goes on with the VMs that run, and starts by itself at boot",
        "VMs with autostart=yes: db. libvirt does not start them by itself: virsh autostart db",
        "shared IP: 192.0.2.10/24 on br0, until the next boot. To keep it, write it into the host's own network configuration",
        "state images in /vm/state: mail (virsh restore FILE)",
        "put aside by rollbacks and syncs: 20261124T081500Z",
        ("overlays of VMs that moved, in ssd/hvm-overlays: web.vda.qcow2 (zfs destroy ssd/hvm-overlays, when nobody needs them)"),
        (
            "networks for VMs: br-v10, br-v20, made at each boot by /a/hvm-br-v10. To be rid of one, remove its files and its "
            "interfaces (ip link del)"
        ),
    ]


def test_what_stays_on_the_copy_with_its_holds_and_how_they_go() -> None:
    seen = found(holds={SET: ["ssd/a", "rot/b", "rot/b/c"]}, bookmarks=[f"ssd/a#{SET}", f"rot/b#{SET}"])
    assert removal.left(seen, False)[1:] == [
        (
            "they are a copy, read-only and not mounted, and libvirt stays off. To go on with them, when the other host does "
            "not: zfs set readonly=off volmode=dev ssd/a rot/b; zfs set canmount=on and zfs mount, for each filesystem; "
            "systemctl enable --now libvirtd"
        ),
        f"{SET} is held (hvm:office) on 3 datasets: zfs release -r hvm:office ssd/a@{SET}; zfs release -r hvm:office rot/b@{SET}",
        f"2 bookmarks of sets, such as: zfs destroy 'ssd/a#{SET}'",
        "all these holds and bookmarks go with hvm_uninstall_holds=release",
    ]
    assert len(removal.left(seen, True)) == 2
    assert len(removal.left({**seen, "role": {"now": UNKNOWN, "since": ""}}, True)) == 1  # it is not known what they are


KEYS = ["ssh-ed25519 AAAA me@home\n", "# a comment\n", 'command="/usr/bin/other" ssh-ed25519 BBBB x\n', "\n"]
OURS = f'restrict,command="{AGENT}" ssh-ed25519 CCCC hvm-pair office hv2\n'


def test_only_our_own_line_goes_from_authorized_keys() -> None:
    for lines in itertools.permutations([*KEYS, OURS]):
        assert removal.without_agent("".join(lines), AGENT) == "".join(line for line in lines if line != OURS)
    assert removal.without_agent("".join(KEYS).rstrip(), AGENT) == "".join(KEYS).rstrip()
