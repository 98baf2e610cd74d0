# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad weather on real ZFS: each ends in a correct replica, or in a clear error with the remedy, and never in lost data."""

from __future__ import annotations

import time
import typing as t

import pytest
from _hosts import Pair, finish


def refused(result: dict[str, t.Any], *words: str) -> None:
    assert result.get("failed"), result
    for word in words:
        assert word in result["msg"], result["msg"]


def held(host: t.Any, pair: Pair) -> set[str]:
    """Sets that the pair holds on a host."""
    names = "zfs list -H -r -t snapshot -o name,userrefs " + " ".join(pair.roots)
    lines = host.sh(f"{names} | awk -F'\\t' '$2 > 0 {{print $1}}' | xargs -r -d '\\n' zfs holds -H").splitlines()
    return {line.split("@")[1].split("\t")[0] for line in lines if line.split("\t")[1] == "hvm:lab"}


# ---- what is sent


def test_a_second_sync_changes_nothing_and_check_mode_says_what_a_first_one_would(pair: Pair) -> None:
    name = pair.a.call("take")["set"]
    plan = pair.a.call("sync", check=True)
    assert [step["dataset"] for step in plan["plan"]] == sorted(pair.datasets(pair.a), key=lambda one: (one.count("/"), one))
    assert plan["bytes"] > 64 << 10
    assert pair.b.sh(f"zfs list -H -o name {pair.roots[0]} 2>/dev/null || true") == ""
    done = pair.a.call("sync")
    assert done["changed"] and set(done["datasets"]) == set(pair.datasets(pair.a))
    pair.correct(name)
    assert held(pair.a, pair) == held(pair.b, pair) == {name}
    before = pair.both(pair.snapshots)
    again = pair.a.call("sync")
    assert (again["changed"], again["bytes"], again["verified"]) == (False, 0, True)
    assert pair.both(pair.snapshots) == before


def test_names_with_spaces_and_other_odd_characters(pair: Pair) -> None:
    odd = [f"{pair.roots[0]}/my vm: disk.1", f"{pair.roots[0]}/my vm: disk.1/a-b_c.d:e", f"{pair.roots[1]}/100 percent"]
    for name in odd:
        pair.a.zfs("create", "-o", "canmount=noauto", "-o", "mountpoint=none", name)
    pair.a.zfs("create", "-s", "-V", "1M", f"{pair.roots[1]}/100 percent/a zvol")
    first = pair.sync()["set"]
    pair.correct(first)
    second = pair.sync(content=True)
    assert set(odd) <= set(second["datasets"])
    pair.correct(second["set"])
    assert held(pair.b, pair) == {second["set"]}


def test_a_volume_that_has_grown(synced: Pair) -> None:
    disk = f"{synced.roots[0]}/disk"
    synced.a.zfs("set", "volsize=12M", disk)
    synced.a.sh(f"dd if=/dev/urandom of=/dev/zvol/{disk} bs=1M seek=10 count=1 conv=fsync 2>/dev/null")
    synced.correct(synced.sync()["set"])
    assert synced.b.zfs("get", "-Hp", "-o", "value", "volsize", disk) == str(12 << 20)


def test_an_encrypted_dataset_travels_raw_and_its_key_stays_here(pair: Pair) -> None:
    secret = f"{pair.roots[1]}/secret"
    pair.a.sh("head -c 32 /dev/urandom > /run/hvm-test-key")
    key = ["-o", "encryption=on", "-o", "keyformat=raw", "-o", "keylocation=file:///run/hvm-test-key"]
    pair.a.zfs("create", *key, "-o", "canmount=noauto", "-o", f"mountpoint={pair.directory}/secret", secret)
    pair.a.sh(f"zfs mount {secret}; head -c 300k /dev/urandom > {pair.directory}/secret/data")
    pair.correct(pair.sync()["set"], content=False)
    assert pair.b.zfs("get", "-H", "-o", "value", "keystatus", secret) == "unavailable"
    pair.a.sh(f"head -c 300k /dev/urandom > {pair.directory}/secret/data")
    done = pair.sync(content=True)
    assert done["content"][secret] is None
    assert any("key is not loaded" in line for line in done["warnings"])
    pair.correct(done["set"], content=False)
    # the same key there: the content is the same, too
    pair.b.put("/run/hvm-test-key.b64", pair.a.sh("base64 /run/hvm-test-key"))
    pair.b.sh(f"base64 -d /run/hvm-test-key.b64 > /run/hvm-test-key; zfs load-key -L file:///run/hvm-test-key {secret}")
    pair.correct(done["set"])
    assert pair.a.call("sync", content=True)["content"][secret]


def test_compressed_and_slow(synced: Pair) -> None:
    synced.a.sh(f"zfs set compression=off {synced.roots[0]}/files; yes | head -c 3000k > {synced.path()}/text")
    done = synced.sync(compress=True)
    assert done["bytes"] < 600_000  # of 3 MB
    synced.correct(done["set"])
    synced.write(600)
    done = synced.sync(rate=100 << 10, stalled=20)
    assert done["seconds"] > 5
    said = [line for line in done["lines"] if line.get("left")]
    assert said and said[0]["expected"] and "/s" in said[0]["text"] and " left" in said[0]["text"]
    assert not any(line.get("stalled") for line in done["lines"])
    synced.correct(done["set"])


# ---- what protects the base


def test_the_last_common_set_cannot_be_destroyed_by_anyone(synced: Pair) -> None:
    for host in (synced.a, synced.b):
        assert "being held" in host.sh(f"zfs destroy {synced.roots[0]}/files@{synced.first} 2>&1 || true")
    second = synced.sync()["set"]
    assert held(synced.a, synced) == held(synced.b, synced) == {second}
    for host in (synced.a, synced.b):
        host.zfs("destroy", f"{synced.roots[0]}/files@{synced.first}")


def test_a_hold_left_by_a_crash_is_let_go_by_the_next_sync(synced: Pair) -> None:
    for host, verb in ((synced.a, "hold"), (synced.b, "hold")):
        synced.write()
        host.wrap(f'case "$1" in {verb}) "$ZFS" "$@"; kill -9 "$PPID" ;; esac')
        crashed = synced.a.call("take_and_sync", retries=0)
        host.unwrap()
        assert crashed.get("failed"), crashed
        again = synced.a.call("sync")
        assert not again.get("failed"), again
        assert held(synced.a, synced) == held(synced.b, synced) == {again["set"]}
        synced.correct(again["set"], content=False)


def test_protection_that_a_crash_prevented_is_made_up_for(synced: Pair) -> None:
    """All streams have arrived, and then the connection is gone: nothing is left to send, and the set is not held there."""
    synced.write()
    synced.b.wrap('case "$1" in hold) kill -9 "$PPID"; exit 1 ;; esac')
    assert synced.a.call("take_and_sync", retries=0).get("failed")
    synced.b.unwrap()
    again = synced.a.call("sync")
    assert not again.get("failed") and again["bytes"] == 0
    assert held(synced.b, synced) == {again["set"]}
    assert not synced.a.call("sync")["changed"]


# ---- the base is gone


def test_the_base_is_gone_here_and_its_bookmark_takes_its_place(synced: Pair) -> None:
    dataset = f"{synced.roots[0]}/files"
    synced.a.sh(f"zfs release hvm:lab {dataset}@{synced.first}; zfs destroy {dataset}@{synced.first}")
    synced.write()
    synced.a.call("take")
    synced.write()
    name = synced.a.call("take")["set"]
    plan = synced.a.call("sync", check=True)["plan"]
    assert next(step["base"] for step in plan if step["dataset"] == dataset) == f"#{synced.first}"
    assert not synced.a.call("sync").get("failed")
    synced.correct(name)


def test_the_base_is_gone_and_so_is_its_bookmark(synced: Pair) -> None:
    dataset = f"{synced.roots[0]}/files"
    synced.a.sh(f"zfs release hvm:lab {dataset}@{synced.first}; zfs destroy {dataset}@{synced.first}")
    synced.a.zfs("destroy", f"{dataset}#{synced.first}")
    before = synced.snapshots(synced.b)
    refused(synced.a.call("take_and_sync"), f"{dataset} on hvb has no snapshot in common", f"set_aside [{dataset}]")
    assert synced.snapshots(synced.b) == before
    done = synced.a.call("sync", aside=[dataset])
    assert len(done["kept"]) == 1
    synced.correct(done["set"])
    assert synced.b.sh(f"zfs list -H -t snapshot -o name '{done['kept'][0]}'") == f"{done['kept'][0]}@{synced.first}"


def test_the_base_is_gone_on_the_other_host(synced: Pair) -> None:
    dataset = f"{synced.roots[0]}/files"
    second = synced.sync()["set"]
    synced.b.sh(f"zfs release hvm:lab {dataset}@{second}; zfs destroy {dataset}@{second}")
    done = synced.sync()  # from the set before
    synced.correct(done["set"])
    assert [line.split()[0] for line in synced.snapshots(synced.b)[dataset]] == [synced.first, second, done["set"]]


# ---- the replica was touched


def test_a_replica_that_was_written_to_is_refused_and_kept(synced: Pair) -> None:
    dataset = f"{synced.roots[0]}/files"
    synced.b.sh(
        f"zfs set readonly=off {dataset} && zfs mount {dataset} && echo precious > {synced.path()}/mine && zfs unmount {dataset}"
        f" && zfs inherit readonly {dataset}"
    )
    # so little that only the kernel can tell it from the header of an intent log
    refused(synced.a.call("take_and_sync"), "has been modified since most recent snapshot", f"set_aside [{dataset}]")
    synced.b.sh(
        f"zfs set readonly=off {dataset} && zfs mount {dataset} && head -c 200k /dev/urandom > {synced.path()}/more"
        f" && zfs unmount {dataset} && zfs inherit readonly {dataset}"
    )
    refused(synced.a.call("sync"), f"{dataset} on hvb was written to after {synced.first}", f"set_aside [{dataset}]")
    done = synced.a.call("sync", aside=[dataset])
    synced.correct(done["set"])
    look = f"mkdir -p /run/look; mount -t zfs -o ro,zfsutil {done['kept'][0]} /run/look; cat /run/look/mine; umount /run/look"
    assert synced.b.sh(look) == "precious"


def test_a_foreign_snapshot_on_the_replica(synced: Pair) -> None:
    dataset = f"{synced.roots[0]}/disk"
    synced.b.zfs("snapshot", f"{dataset}@mine")
    refused(synced.a.call("take_and_sync"), f"{dataset} on hvb has snapshots that this host lacks", "mine", "zfs destroy")
    synced.b.zfs("destroy", f"{dataset}@mine")  # what the remedy says
    done = synced.a.call("sync")
    synced.correct(done["set"])


def test_a_replica_that_is_not_inert(synced: Pair) -> None:
    synced.b.zfs("set", "readonly=off", synced.roots[0])
    refused(synced.a.call("take_and_sync"), f"{synced.roots[0]}/files is writable although it is PASSIVE", "hvm_hypervisor")
    synced.b.zfs("set", "readonly=on", synced.roots[0])
    synced.correct(synced.a.call("sync")["set"], content=False)


# ---- the source has changed


def test_a_renamed_dataset_is_renamed_there_and_goes_on_from_its_base(synced: Pair) -> None:
    old, new = (f"{synced.roots[0]}/{name}" for name in ("files", "documents"))
    synced.a.zfs("rename", old, new)
    synced.write()
    done = synced.sync()
    assert done["renamed"] == [[old, new]]
    assert done["bytes"] < 400 << 10
    synced.correct(done["set"])


def test_a_dataset_made_anew_under_an_old_name(synced: Pair) -> None:
    dataset = f"{synced.roots[1]}/files"
    synced.a.sh(f"zfs release hvm:lab {dataset}@{synced.first}; zfs destroy -r {dataset}")
    synced.a.sh(f"zfs create -o canmount=noauto -o mountpoint={synced.path(1)} {dataset}; zfs mount {dataset}")
    synced.write(number=1)
    refused(synced.a.call("take_and_sync"), f"{dataset} on hvb has no snapshot in common", "set_aside")
    done = synced.a.call("sync", aside=[dataset])
    synced.correct(done["set"])
    assert synced.b.zfs("list", "-H", "-o", "name", done["kept"][0]) == done["kept"][0]


def test_a_dataset_that_is_gone_here_stays_there(synced: Pair) -> None:
    dataset = f"{synced.roots[0]}/disk"
    synced.a.sh(f"zfs release hvm:lab {dataset}@{synced.first}; zfs destroy -r {dataset}")
    done = synced.sync()
    assert done["extra_on_peer"] == [dataset]
    assert synced.b.zfs("list", "-H", "-o", "name", dataset) == dataset
    synced.correct(done["set"])


def test_a_snapshot_cannot_go_while_it_is_sent(synced: Pair) -> None:
    dataset = f"{synced.roots[0]}/files"
    synced.write(800)
    first = synced.a.call("take")["set"]
    synced.write(800)
    name = synced.a.call("take")["set"]
    destroy = "; ".join(f'"$ZFS" destroy {dataset}@{one} >> /run/hvm-tried 2>&1' for one in (first, name))
    tried = f'"$ZFS" "$@" | {{ head -c 9k; {destroy}; cat; }}; exit'
    synced.a.wrap(f'case "$1 $2 $*" in send\\ -n*) ;; send\\ *{dataset}*) {tried} ;; esac')
    done = synced.a.call("sync")
    synced.a.unwrap()
    assert not done.get("failed"), done
    assert synced.a.sh("cat /run/hvm-tried; rm /run/hvm-tried").count("being held") == 2
    synced.correct(done["set"])


# ---- cut, and then


def cut(pair: Pair, dataset: str, after: str = "300k") -> dict[str, t.Any]:
    """A sync whose stream of one dataset is cut."""
    pair.a.wrap(f'case "$1 $2 $*" in send\\ -n*) ;; send\\ *{dataset}*) "$ZFS" "$@" | head -c {after}; exit 1 ;; esac')
    result = pair.a.call("sync", retries=0)
    pair.a.unwrap()
    assert result.get("failed"), result
    assert pair.b.zfs("get", "-H", "-o", "value", "receive_resume_token", dataset) != "-"
    return result


def test_a_stale_resume_token_is_dropped_and_the_rest_sent_anew(synced: Pair) -> None:
    dataset = f"{synced.roots[0]}/files"
    synced.write(900)
    gone = synced.a.call("take")["set"]
    cut(synced, dataset)
    synced.a.sh(f"zfs release hvm:lab {dataset}@{gone}; zfs destroy {dataset}@{gone}; zfs destroy {dataset}#{gone}")
    synced.write(100)
    name = synced.a.call("take")["set"]
    plan = synced.a.call("sync", check=True)
    assert plan["aborts"] == [dataset]
    done = synced.a.call("sync")
    assert not done.get("failed") and done["resumed"] == [], done
    synced.correct(name)


def test_a_cut_first_stream_goes_on_after_newer_sets(pair: Pair) -> None:
    dataset = f"{pair.roots[0]}/files"
    pair.write(900)
    pair.a.call("take")
    cut(pair, dataset)
    pair.write(100)
    done = pair.sync()
    assert done["resumed"] == [dataset]
    pair.correct(done["set"])


def test_the_receiver_is_full(synced: Pair) -> None:
    root = synced.roots[0]
    used = int(synced.b.zfs("get", "-Hp", "-o", "value", "used", root))
    synced.b.zfs("set", f"quota={used + (1 << 20)}", root)
    synced.write(4000)
    failed = synced.a.call("take_and_sync", retries=0)
    refused(failed, "hvb", "Free", "goes on where it was")
    synced.b.zfs("set", "quota=none", root)
    done = synced.a.call("sync")
    assert not done.get("failed"), done
    synced.correct(done["set"])


def test_a_stream_that_stands_still_is_named_and_at_last_ended(synced: Pair) -> None:
    dataset = f"{synced.roots[0]}/files"
    synced.write(5000)
    pause = 'case "$1 $*" in receive\\ *{}*) {{ head -c 100k; sleep {}; cat; }} | "$ZFS" "$@"; exit ;; esac'
    synced.b.wrap(pause.format(dataset, 8))
    done = synced.sync(stalled=3)
    named = [line for line in done["lines"] if line["text"].startswith(f"{dataset} stands still for ")]
    assert named and named[0]["stalled"], done["lines"]
    after = [line["text"] for line in done["lines"][done["lines"].index(named[0]) + 1 :]]
    # the rest may all be sent before the next look
    assert any(text.startswith((f"{dataset} goes on", f"{dataset}: ")) for text in after), done["lines"]
    synced.write(5000)
    synced.b.wrap(pause.format(dataset, 25))
    ended = synced.a.call("take_and_sync", stalled=2, give_up=6, retries=0)
    refused(ended, "no byte of", "has moved", "it waits for hvb", "goes on where it was cut")
    synced.b.unwrap()
    time.sleep(20)  # until the pause is over: the receiver's host is busy with it
    done = synced.a.call("sync")
    assert not done.get("failed"), done
    synced.correct(done["set"])


RECEIVING = "ps -C zfs -o args= | grep -q receive"


@pytest.mark.long
def test_the_link_is_cut_and_comes_back(synced: Pair) -> None:
    synced.write(1500)
    name = synced.a.call("take")["set"]
    running = synced.a.begin("sync", rate=150 << 10, retry_after=50)
    synced.wait(synced.b, RECEIVING, 60)
    time.sleep(3)
    synced.lab.link(synced.b.host, up=False)
    time.sleep(25)
    synced.lab.link(synced.b.host, up=True)
    done = finish(running)
    assert not done.get("failed"), done
    assert any("trying again" in line["text"] for line in done["lines"])
    assert done["resumed"] == [f"{synced.roots[0]}/files"]
    synced.correct(name)


@pytest.mark.long
def test_the_receiver_loses_its_power(synced: Pair) -> None:
    synced.write(2500)
    name = synced.a.call("take")["set"]
    running = synced.a.begin("sync", rate=200 << 10, retries=0)
    synced.wait(synced.b, RECEIVING, 60)
    time.sleep(6)
    synced.b.forget()
    synced.lab.power(synced.b.host, on=False)
    refused(finish(running), "hvb")
    synced.lab.power(synced.b.host, on=True)
    done = synced.a.call("sync")
    assert not done.get("failed"), done
    synced.correct(name)
