# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Back to a set and back again, on both hosts: nothing is lost, nothing is copied, and replication goes on incrementally."""

from __future__ import annotations

import random
import typing as t
from pathlib import Path

import pytest
from _hosts import DRIVER, Host, Pair


@pytest.fixture
def rolling(synced: Pair) -> t.Iterator[Pair]:
    """A synced pair; its hypervisor runs again afterwards, for whoever comes next."""
    scribble(synced)
    synced.first = synced.sync()["set"]
    yield synced
    synced.both(lambda host: host.unwrap())
    ok(synced.a.call("hypervisor", state="started"))


def ok(result: dict[str, t.Any]) -> dict[str, t.Any]:
    assert not result.get("failed"), result.get("msg")
    return result


def refused(result: dict[str, t.Any], *parts: str) -> None:
    assert result.get("failed"), result
    for part in parts:
        assert part in result["msg"], f"{part!r} is not in {result['msg']!r}"


def stop(pair: Pair) -> None:
    ok(pair.a.call("hypervisor", state="stopped"))


def start(pair: Pair) -> None:
    ok(pair.a.call("hypervisor", state="started"))


def sums(pair: Pair) -> dict[str, str]:
    """What the ACTIVE host holds now: digests of the files, and of the volume."""
    files = [f"{pair.path(number)}/data" for number in (0, 1)]
    out = pair.a.sh(f"sync; sha256sum {' '.join(files)} /dev/zvol/{pair.roots[0]}/disk")
    return {line.split()[1]: line.split()[0] for line in out.splitlines()}


def scribble(pair: Pair, seek: int = 0) -> None:
    """New content everywhere; that of the volume too."""
    for number in (0, 1):
        pair.write(kib=96, number=number)
    pair.a.sh(f"dd if=/dev/urandom of=/dev/zvol/{pair.roots[0]}/disk bs=64k count=2 seek={seek} conv=fsync,notrunc 2>/dev/null")


def used(host: Host, pair: Pair) -> int:
    """Bytes that the pools hold, all in all."""
    host.sh("zpool sync; zpool wait -t free ssd; zpool wait -t free rot")
    return sum(map(int, host.sh("zpool get -Hp -o value allocated ssd rot").split()))


def properties(host: Host, pair: Pair) -> set[str]:
    """Everything that is set on the datasets in use."""
    listed = host.sh(f"zfs get -Hp -r -t filesystem,volume -s local,received -o name,property,value all {' '.join(pair.roots)}")
    # a dataset that was received has these from its receive; a clone of it has them as its own
    return {line for line in listed.splitlines() if line.split("\t")[1] not in ("volsize", "refreservation")}


@pytest.mark.long
def test_the_everyday_case_and_its_undo(rolling: Pair) -> None:
    pair = rolling
    pair.a.sh(f"echo memory > {pair.path()}/web.state")
    scribble(pair)
    pair.a.zfs("set", "user:note=a b\tc", f"{pair.roots[0]}/disk")
    pair.a.zfs("set", "quota=1G", f"{pair.roots[1]}/files")
    at_b = sums(pair)
    b = ok(pair.a.call("take", consistency="state"))["set"]
    ok(pair.a.call("sync"))
    pair.a.sh(f"rm {pair.path()}/web.state")
    scribble(pair, 1)
    newer = pair.sync()["set"]
    scribble(pair, 2)
    pair.a.zfs("create", "-o", "canmount=noauto", f"{pair.roots[0]}/files/later")
    last = sums(pair)

    refused(pair.a.call("rollback", to="last_state"), "the hypervisor is running", "hvm_hypervisor state=stopped")
    refused(pair.b.call("rollback", to="last_state"), "this host is PASSIVE", "Run it on hva")
    stop(pair)
    before, there, set_before = pair.snapshots(pair.a), pair.snapshots(pair.b), properties(pair.a, pair)
    space = used(pair.a, pair)

    plan = ok(pair.a.call("rollback", to="last_state", check=True))
    assert (plan["changed"], plan["set"], plan["state_images"], plan["replica"]["set"]) == (True, b, ["web"], b)
    assert pair.snapshots(pair.a) == before
    assert plan["datasets"][f"{pair.roots[0]}/files/later"]["comes_back"] is False
    assert plan["datasets"][f"{pair.roots[0]}/files"]["newer"] == [newer]
    assert plan["datasets"][f"{pair.roots[0]}/files"]["written"] > 0

    done = ok(pair.a.call("rollback", to="last_state"))
    assert (done["set"], done["state_images"], done["warnings"]) == (b, ["web"], [])
    assert done["replica"] == {"host": "hvb", "do": "rollback", "in_step": True, "set": b, "kept": done["kept"]}
    assert used(pair.a, pair) - space < 4 << 20  # nothing is copied
    # the GUIDs are what they were, up to the set; what is newer is in the kept trees
    upto = {
        name: lines[: 1 + [line.split()[0] for line in lines].index(b)] for name, lines in before.items() if "later" not in name
    }
    assert pair.snapshots(pair.a) == upto
    assert pair.snapshots(pair.b) == upto
    assert properties(pair.a, pair) == {line for line in set_before if "later" not in line}
    pair.correct(b)

    again = ok(pair.a.call("rollback", to="last_state"))
    assert (again["changed"], again["replica"]["in_step"]) == (False, True)
    assert ok(pair.a.call("rollback"))["changed"] is False  # it is the last one too, now

    start(pair)
    assert sums(pair) == at_b
    assert pair.a.sh(f"cat {pair.path()}/web.state") == "memory"
    scribble(pair, 3)
    forked = sums(pair)
    on = pair.sync()
    assert all(count < 400 << 10 for count in on["datasets"].values()), on["datasets"]  # increments
    pair.correct(on["set"])

    stop(pair)
    undone = ok(pair.a.call("rollback", state="undone", to=""))
    assert (undone["do"], undone["stamp"], undone["replica"]["do"]) == ("undo", done["stamp"], "undo")
    assert pair.snapshots(pair.a) == before
    assert pair.snapshots(pair.b) == there
    assert properties(pair.a, pair) == set_before
    assert ok(pair.a.call("rollback", state="undone", to=""))["changed"] is False
    assert ok(pair.a.call("rollback", state="undone", to=done["stamp"]))["changed"] is False
    start(pair)
    assert sums(pair) == last
    pair.correct(pair.sync()["set"])

    # what was forked is kept in its turn, until it is dropped
    kept = ok(pair.a.call("kept"))["kept"]
    mine = [one for one in kept if set(one["tops"]) == set(pair.roots)]
    assert [(one["by"], one["set"], one["back"]) for one in mine] == [("undo", b, done["stamp"])]
    stop(pair)
    ok(pair.a.call("rollback", state="undone", to=mine[0]["name"]))
    start(pair)
    assert sums(pair) == forked
    pair.correct(pair.sync()["set"])


@pytest.mark.long
def test_dropping_what_is_kept(rolling: Pair) -> None:
    pair = rolling
    scribble(pair)
    newer = pair.sync()["set"]
    pair.write(kib=3000)
    stop(pair)
    done = ok(pair.a.call("rollback", to=pair.first.split("_")[1]))
    top, name = done["kept"][0], done["stamp"]
    assert pair.a.zfs("holds", "-H", f"{top}/files@{newer}").split("\t")[1] == "hvm:lab"
    for other in (pair.roots[0], top, f"{pair.roots[0]}/files", "ssd/hvm-kept", "ssd"):
        refused(pair.a.call("drop", which=other), "is not kept by this collection")
    # somebody needs something of it
    pair.a.zfs("hold", "mine", f"{top}/files@{newer}")
    pair.a.zfs("clone", "-o", "volmode=none", f"{top}/disk@{newer}", f"{top.split('/')[0]}/test-mine")
    refused(pair.a.call("drop", which=name), "is held by mine", "test-mine is a clone of a snapshot of")
    pair.a.zfs("release", "mine", f"{top}/files@{newer}")
    pair.a.zfs("destroy", f"{top.split('/')[0]}/test-mine")
    space = used(pair.a, pair)
    planned = ok(pair.a.call("drop", which=name, check=True))
    assert pair.a.zfs("list", "-H", "-o", "name", top) == top
    gone = ok(pair.a.call("drop", which=name))
    assert gone == planned
    assert gone["freed"] > 3 << 20
    assert set(gone["destroyed"]) == {place for place in gone["destroyed"] if place.startswith(tuple(done["kept"]))}
    assert pair.a.zfs("list", "-H", "-o", "name", top, check=False) == ""
    assert space - used(pair.a, pair) > 2 << 20
    assert ok(pair.a.call("drop", which=name))["changed"] is False
    assert [one for one in ok(pair.a.call("kept"))["kept"] if one["name"] == name] == []
    start(pair)
    pair.correct(pair.sync()["set"])
    ok(pair.b.call("drop", which=name))
    pair.correct(pair.sync()["set"])


@pytest.mark.long
def test_the_other_host_is_away_and_follows_later(rolling: Pair) -> None:
    pair = rolling
    at_first = sums(pair)
    scribble(pair)
    newer = pair.sync()["set"]
    stop(pair)
    pair.lab.link(pair.b.host, up=False)
    try:
        done = ok(pair.a.call("rollback", to=pair.first))
    finally:
        pair.lab.link(pair.b.host, up=True)
    assert done["changed"] and done["replica"]["in_step"] is None
    assert any("does not answer" in line for line in done["warnings"])
    assert any("hvm_zfs_rollback state=followed" in line for line in done["warnings"])
    start(pair)
    assert sums(pair) == at_first
    scribble(pair, 5)
    refused(pair.a.call("take_and_sync"), "has snapshots that this host lacks", newer, "hvm_zfs_rollback state=followed")
    planned = ok(pair.a.call("rollback", state="followed", check=True))
    assert planned["replica"]["set"] == pair.first
    followed = ok(pair.a.call("rollback", state="followed"))  # the hypervisor runs here
    assert (followed["do"], followed["replica"]["do"], followed["replica"]["in_step"]) == ("", "rollback", True)
    assert ok(pair.a.call("rollback", state="followed"))["changed"] is False
    on = ok(pair.a.call("sync"))
    assert all(count < 400 << 10 for count in on["datasets"].values()), on["datasets"]
    pair.correct(on["set"])
    kept = [one for one in ok(pair.b.call("kept"))["kept"] if set(one["tops"]) == set(pair.roots)]
    assert [one["name"] for one in kept] == [done["stamp"]]
    top = kept[0]["tops"][pair.roots[0]]
    assert pair.b.zfs("list", "-H", "-t", "snapshot", "-o", "name", f"{top}/files") == f"{top}/files@{newer}"


#: Ends the library (and the agent, where it runs) at its N-th command that changes a dataset: before it or behind it.
CUT = """
case "$1" in clone|promote|rename|set|inherit)
  echo x >> /run/hvm-count
  if [ "$(wc -l < /run/hvm-count)" -eq {number} ]; then
    {behind} && "$ZFS" "$@"
    kill -9 "$PPID"; exit 1
  fi ;;
esac
"""


def cut(host: Host, number: int, behind: bool) -> None:
    host.sh("rm -f /run/hvm-count")
    host.wrap(CUT.format(number=number, behind="true" if behind else "false"))


@pytest.mark.long
@pytest.mark.parametrize("round_", range(3))
def test_any_step_can_be_the_last(rolling: Pair, seed: random.Random, round_: int) -> None:
    pair = rolling
    at_first = sums(pair)
    scribble(pair)
    pair.sync()
    scribble(pair, 4)
    last = sums(pair)
    stop(pair)
    before = pair.snapshots(pair.a)
    steps = len(ok(pair.a.call("rollback", to=pair.first, check=True))["plan"])
    number, behind = seed.randint(1, steps), seed.random() < 0.5
    print(f"step {number} of {steps}, {'behind' if behind else 'before'} it")
    cut(pair.a, number, behind)
    assert pair.a.call("rollback", to=pair.first)["kind"] == "Killed"
    pair.a.unwrap()
    # it is seen, and nothing else begins
    pending = "rollback, begun"
    refused(pair.a.call("hypervisor", state="started"), pending, "Run hvm_zfs_rollback again")
    refused(pair.a.call("sync"), pending)
    if round_ == 2:  # back from wherever it is
        ok(pair.a.call("rollback", state="undone", to=""))
        start(pair)
        assert pair.snapshots(pair.a) == before
        assert sums(pair) == last
        pair.correct(pair.sync()["set"])
        return
    # goes on; this time the other host's part is cut
    number = seed.randint(1, 12)  # it has as many clones, promotes and renames, and fewer properties
    cut(pair.b, number, behind)
    half = ok(pair.a.call("rollback", to=pair.first))
    pair.b.unwrap()
    assert half["replica"]["in_step"] is False, half
    start(pair)
    assert sums(pair) == at_first
    refused(pair.a.call("take_and_sync"), pending, "Run hvm_zfs_rollback again")
    followed = ok(pair.a.call("rollback", state="followed"))
    assert followed["replica"]["in_step"] is True
    pair.correct(pair.sync()["set"])


@pytest.mark.long
def test_the_power_goes_in_between(rolling: Pair) -> None:
    pair = rolling
    scribble(pair)
    pair.sync()
    stop(pair)
    before = pair.snapshots(pair.a)
    pair.a.wrap('case "$1 $2" in rename\\ -u) [ -e /run/hvm-first ] && sleep 60; : > /run/hvm-first;; esac')  # between the two
    running = pair.a.begin("rollback", to=pair.first)
    pair.wait(pair.a, "[ -e /run/hvm-first ] && pgrep -x sleep", 120)
    pair.a.sh("zpool sync; rm -f /usr/local/sbin/zfs; sync")
    pair.a.forget()
    pair.lab.power(pair.a.host, on=False)
    running.kill()
    pair.lab.power(pair.a.host, on=True)
    pair.a.put(DRIVER, (Path(__file__).parent / "_driver.py").read_text(encoding="utf-8"))  # /run is empty
    refused(pair.a.call("hypervisor", state="started"), "rollback, begun")
    done = ok(pair.a.call("rollback", to=pair.first))
    assert done["replica"]["in_step"] is True
    start(pair)
    pair.correct(pair.sync()["set"])
    stop(pair)
    ok(pair.a.call("rollback", state="undone", to=""))
    assert pair.snapshots(pair.a) == before


@pytest.mark.long
def test_datasets_that_came_went_and_grew(rolling: Pair) -> None:
    pair = rolling
    root = pair.roots[0]
    pair.a.sh(f"zfs create -o canmount=noauto -o mountpoint=none {root}/gone; zfs create -V 4M {root}/thick")
    first = pair.sync()["set"]
    pair.a.sh(f"zfs clone -o canmount=noauto {root}/files@{first} {root}/from-template")
    pair.a.sh(
        f"zfs create -o canmount=noauto -o mountpoint=none {root}/new; zfs set volsize=16M {root}/disk; "
        f"zfs set quota=1G {root}/files"
    )
    pair.sync()
    held = pair.a.sh(f"zfs list -H -o name -t snapshot -r {root}/gone").split()
    pair.a.sh("; ".join(f"zfs release hvm:lab {one} 2>/dev/null" for one in held) + f"; zfs destroy -r {root}/gone")
    stop(pair)
    done = ok(pair.a.call("rollback", to=first))
    assert done["datasets"][f"{root}/new"]["comes_back"] is False
    assert any(f"only hvb has {root}/gone" in line for line in done["warnings"]), done["warnings"]
    assert sorted(pair.datasets(pair.a)) == sorted([root, f"{root}/disk", f"{root}/files", f"{root}/thick", *_second(pair)])
    assert pair.a.zfs("get", "-Hp", "-o", "value", "volsize", f"{root}/disk") == str(8 << 20)
    assert int(pair.a.zfs("get", "-Hp", "-o", "value", "refreservation", f"{root}/thick")) >= 4 << 20
    assert pair.a.zfs("get", "-Hp", "-o", "value", "refreservation", f"{done['kept'][0]}/thick") in ("0", "none")
    start(pair)
    pair.correct(pair.sync()["set"])
    stop(pair)
    ok(pair.a.call("rollback", state="undone", to=""))
    assert pair.a.zfs("get", "-Hp", "-o", "value", "volsize", f"{root}/disk") == str(16 << 20)
    assert pair.a.zfs("get", "-Hp", "-o", "value", "quota", f"{root}/files") == str(1 << 30)
    assert {f"{root}/new", f"{root}/from-template"} <= set(pair.datasets(pair.a))
    start(pair)
    pair.correct(pair.sync()["set"])


def _second(pair: Pair) -> list[str]:
    return [pair.roots[1], f"{pair.roots[1]}/files"]


@pytest.mark.long
def test_encrypted_datasets_whose_key_the_other_host_has_not(rolling: Pair) -> None:
    pair = rolling
    root = f"{pair.roots[0]}/secret"
    pair.a.sh(
        f"echo 12345678 > /run/hvm-test-key; zfs create -o encryption=on -o keyformat=passphrase -o canmount=noauto "
        f"-o keylocation=file:///run/hvm-test-key -o mountpoint=/srv/secret {root}; zfs create -o canmount=noauto {root}/in; "
        f"zfs mount {root}; echo one > /srv/secret/data; zfs create -s -V 4M {root}/vol"
    )
    first = pair.sync()["set"]
    pair.a.sh("echo two > /srv/secret/data")
    pair.sync()
    assert pair.b.zfs("get", "-H", "-o", "value", "keystatus", f"{root}/in") == "unavailable"
    stop(pair)
    done = ok(pair.a.call("rollback", to=first))
    assert done["replica"]["in_step"] is True and done["warnings"] == [], done
    start(pair)
    assert pair.a.sh("cat /srv/secret/data") == "one"
    pair.a.sh("echo three > /srv/secret/data")
    on = pair.sync()
    pair.correct(on["set"], content=False)
    stop(pair)
    ok(pair.a.call("rollback", state="undone", to=""))
    start(pair)
    assert pair.a.sh("cat /srv/secret/data") == "two"
    last = pair.sync()["set"]
    pair.correct(last, content=False)
    # what arrived raw can be read there with the key
    pair.b.sh(f"echo 12345678 > /run/hvm-test-key; mkdir -p /run/look; zfs load-key -L file:///run/hvm-test-key {root}")
    read = pair.b.sh(f"mount -t zfs -o ro {root}@{last} /run/look; cat /run/look/data; umount /run/look")
    pair.b.sh(f"zfs unload-key -r {root}; rm /run/hvm-test-key")
    assert read == "two"
