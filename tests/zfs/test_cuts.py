# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams that are cut at random points, in every way that we know, and gone on with: each round must end in a correct replica.

``HVM_CUTS=50 make zfs PYTEST_ARGS="-k cut"`` for many; a few of them are part of every run. ``HVM_SEED`` repeats one.
"""

from __future__ import annotations

import os
import random

from _hosts import Pair

ROUNDS = int(os.environ.get("HVM_CUTS", "4"))

#: Of the first send of a dataset: what ends it after $N bytes. In `pick` only once, and only that dataset.
ONCE = """
case "$1 $2 $*" in
  {verb}\\ -n*) ;;
  {verb}\\ *{dataset}*) if mkdir /run/hvm-cut 2>/dev/null; then
{body}
  fi ;;
esac
"""
CONNECTION = """kill -9 $(ps -o pid=,comm= --ppid "$PPID" | awk '$2 == "ssh" {print $1}')"""
WAYS = {
    "the sender fails": ("a", "send", '"$ZFS" "$@" | head -c "$N"; exit 1'),
    "the sender ends early and says nothing of it": ("a", "send", '"$ZFS" "$@" | head -c "$N"; exit 0'),
    "the sender is killed": ("a", "send", '"$ZFS" "$@" | head -c "$N"; kill -9 $$'),
    "the connection is killed": ("a", "send", f'"$ZFS" "$@" | {{ head -c "$N"; sleep 0.5; {CONNECTION}; }}; exit 1'),
    "the whole sync is killed": ("a", "send", '"$ZFS" "$@" | { head -c "$N"; sleep 0.5; kill -9 "$PPID"; }; exit 1'),
    "the receiver is killed": (
        "b",
        "receive",
        (
            'mkfifo /run/hvm-cut/pipe; "$ZFS" "$@" < /run/hvm-cut/pipe & pid=$!\n'
            '{ head -c "$N"; sleep 0.5; kill -9 $pid; } > /run/hvm-cut/pipe; exit 1'
        ),
    ),
    "the agent is killed": ("b", "receive", '{ head -c "$N"; sleep 0.5; kill -9 "$PPID"; } | "$ZFS" "$@"; exit 1'),
}


def test_cut_streams_go_on_and_end_in_a_correct_replica(synced: Pair, seed: random.Random) -> None:
    pair = synced
    places = {f"{pair.roots[0]}/files": 0, f"{pair.roots[1]}/files": 1, f"{pair.roots[0]}/disk": None}
    resumed = 0
    ways = list(WAYS) * (ROUNDS // len(WAYS) + 1)
    seed.shuffle(ways)
    for number, way in enumerate(ways[:ROUNDS], 1):
        where, verb, body = WAYS[way]
        host = pair.a if where == "a" else pair.b
        dataset = seed.choice(list(places))
        sizes = {}
        for name, place in places.items():
            sizes[name] = seed.choice([64, 700, 3000])
            if place is None:
                disk = f"of=/dev/zvol/{name} bs=64k count={sizes[name] // 64} seek={seed.randrange(64)}"
                pair.a.sh(f"dd if=/dev/urandom {disk} conv=fsync 2>/dev/null")
            else:
                pair.write(sizes[name], place, f"data{seed.randrange(4)}")
        if seed.random() < 0.4:  # then there is a snapshot between the base and the set
            pair.a.call("take")
            pair.write(100, 1, "between")
        name = pair.a.call("take")["set"]
        after = seed.randrange(1, sizes[dataset] * 1100)
        line = f"round {number}: {way}, {dataset} after {after} bytes of about {sizes[dataset]} KiB"
        host.sh("rmdir /run/hvm-cut 2>/dev/null || rm -rf /run/hvm-cut")
        host.wrap(f"N={after}\n" + ONCE.format(verb=verb, dataset=dataset, body=body))
        cut = pair.a.call("sync", retries=0)
        happened = host.sh("test -e /run/hvm-cut && echo yes || true") == "yes"
        host.unwrap()
        assert happened, f"{line}: nothing was cut"
        again = pair.a.call("sync", content=True)
        assert not again.get("failed"), f"{line}: {cut.get('msg')} / {again['msg']}"
        assert again["set"] == name
        resumed += len(again["resumed"])
        pair.correct(name, content=number % 5 == 0 or number == ROUNDS)
        print(f"{line}: {'went on' if again['resumed'] else 'sent anew'}; {cut.get('msg', 'it was whole already')}")
    print(f"{ROUNDS} rounds, {ROUNDS} correct replicas, {resumed} streams went on where they were cut")
    assert resumed >= ROUNDS // 4
