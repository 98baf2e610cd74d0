# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shared IP between two hosts and a client, with real frames. As root: pytest tests/netns"""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net import announcer, arp, shared_ip
from ansible_collections.hvm.pair.plugins.module_utils._net.declared import parse_shared
from ansible_collections.hvm.pair.plugins.module_utils._net.wire import Wire

V4, V6 = "10.77.0.10/24", "fd77::10/64"
BOTH = [V4, V6]


def bare(address: str) -> str:
    return address.partition("/")[0]


def addresses(namespace: t.Any, interface: str = "eth0") -> list[str]:
    (link,) = json.loads(namespace.ip("-j", "addr", "show", "dev", interface))
    return sorted(f"{info['local']}/{info['prefixlen']}" for info in link["addr_info"] if info["scope"] == "global")


def talk(lan: t.Any, address: str) -> None:
    """The client reaches `address`, and knows where it is from now on."""
    with pytest.raises(ConnectionRefusedError):  # so somebody is there
        lan.client.call(socket.create_connection, (bare(address), 9), timeout=2)


class Ear:
    """What the client hears about the shared addresses while the block runs."""

    def __init__(self, lan: t.Any, wanted: t.Sequence[str] = (V4, V6)) -> None:
        self.heard: list[arp.Heard] = []
        self._wanted = [one.ip for one in parse_shared(wanted)]
        self._stop, self._ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lan.client.call, args=(self._listen,))

    def _listen(self) -> None:
        with Wire("br0", self._wanted) as wire:
            self._ready.set()
            while not self._stop.is_set():
                self.heard += [one for one in wire.heard(0.05) if one.target in self._wanted or one.sender in self._wanted]

    def __enter__(self) -> Ear:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.2)
        self._stop.set()
        self._thread.join()


def test_enable_probes_adds_and_announces_and_the_second_run_does_nothing(lan: t.Any) -> None:
    with Ear(lan) as ear:
        change = lan.a.call(shared_ip.enable, BOTH, "eth0", "10.77.0.254")
    assert change.changed == tuple(BOTH)
    assert (change.before.sentence, change.after.sentence) == ("Shared IP is disabled", "Shared IP is enabled")
    assert addresses(lan.a) == ["10.77.0.1/24", "10.77.0.10/32", "fd77::1/64", "fd77::10/128"]
    mac = lan.a.mac()
    assert {one.mac for one in ear.heard} == {mac}
    kinds = [(one.kind, str(one.sender)) for one in ear.heard if str(one.target) == "10.77.0.10"]
    assert kinds == [(arp.REQUEST, "None")] * 3 + [(arp.REQUEST, "10.77.0.10"), (arp.REPLY, "10.77.0.10")] * 3
    told = [one for one in ear.heard if one.kind == arp.ADVERTISEMENT and str(one.target) == "fd77::10"]
    assert len(told) == 3
    assert any(one.kind == arp.SOLICITATION and one.sender is None for one in ear.heard)
    assert lan.b.call(shared_ip.holders, BOTH, "eth0") == {V4: mac, V6: mac}
    assert lan.a.call(shared_ip.holders, BOTH, "eth0") == {}
    for address in BOTH:
        talk(lan, address)

    lan.client.ip("neigh", "flush", "all")
    with Ear(lan) as ear:
        again = lan.a.call(shared_ip.enable, BOTH, "eth0", "10.77.0.254")
    assert again.changed == ()
    assert ear.heard == []


def test_label_names_the_owner_and_the_host_keeps_its_own_source_address(lan: t.Any) -> None:
    lan.a.call(shared_ip.enable, BOTH, "eth0")
    assert "eth0:hvm" in lan.a.ip("-4", "addr", "show", "dev", "eth0")
    assert json.loads(lan.a.ip("-j", "route", "get", "10.77.0.254"))[0]["prefsrc"] == "10.77.0.1"
    assert json.loads(lan.a.ip("-j", "route", "get", "fd77::fe"))[0]["prefsrc"] == "fd77::1"
    assert "10.77.0.10" not in lan.a.ip("route") and "fd77::10" not in lan.a.ip("-6", "route", "show", "table", "main")
    # The host's own address is set anew: the shared one stays.
    lan.a.ip("addr", "del", "10.77.0.1/24", "dev", "eth0")
    assert "10.77.0.10/32" in addresses(lan.a)


@pytest.mark.parametrize("wanted", [[V4], [V6], BOTH])
def test_enable_is_refused_while_the_other_host_answers(lan: t.Any, wanted: list[str]) -> None:
    lan.a.call(shared_ip.enable, wanted, "eth0")
    before = addresses(lan.b)
    start = time.monotonic()
    sentence = f"is in use: the machine with the Ethernet address {lan.a.mac()} answers for it"
    with pytest.raises(HvmError, match=sentence) as caught:
        lan.b.call(shared_ip.enable, wanted, "eth0")
    assert time.monotonic() - start < 0.8  # not the whole probe
    assert caught.value.details == {"address": bare(wanted[0]), "mac": lan.a.mac()}
    assert "disable the shared IP there first" in caught.value.remedy
    assert addresses(lan.b) == before


def test_takeover_inside_the_window_moves_the_clients_neighbours_in_milliseconds(lan: t.Any) -> None:
    lan.a.call(shared_ip.enable, BOTH, "eth0")
    for address in BOTH:
        talk(lan, address)
        assert lan.client.neighbour(bare(address)) == lan.a.mac()
    prepared = lan.b.call(shared_ip.prepare, BOTH, "eth0", "10.77.0.254", peer_holds=True)
    start = time.monotonic()
    lan.a.call(shared_ip.disable, BOTH, "eth0")
    released = time.monotonic()
    assert lan.b.call(shared_ip.take, prepared) == tuple(BOTH)
    taken = time.monotonic()
    print(f"disable {(released - start) * 1000:.1f} ms, take {(taken - released) * 1000:.1f} ms")
    assert taken - released < 0.5  # a busy machine; 10 ms otherwise
    time.sleep(0.1)
    for address in BOTH:
        assert lan.client.neighbour(bare(address)) == lan.b.mac()
        talk(lan, address)
    assert lan.b.call(shared_ip.status, BOTH, "eth0").enabled
    assert not lan.a.call(shared_ip.status, BOTH, "eth0").held
    # Once more, as after a crash between the two: nothing is wrong with what is there.
    assert lan.b.call(shared_ip.take, prepared) == tuple(BOTH)
    assert lan.b.call(shared_ip.prepare, BOTH, "eth0").missing == ()


@pytest.mark.parametrize("form", [0, 1], ids=["request", "reply"])
def test_each_form_of_announcement_alone_moves_a_neighbour(lan: t.Any, form: int) -> None:
    lan.a.call(shared_ip.enable, [V4], "eth0")
    talk(lan, V4)
    (one,) = parse_shared([V4])

    def send() -> None:
        with Wire("eth0", [one.ip]) as wire:
            wire.send(4, arp.announcements(mac, one.ip)[form])

    mac = lan.b.mac()
    time.sleep(1.1)  # locktime: the kernel follows no change within a second of the last
    lan.b.call(send)
    time.sleep(0.1)
    assert lan.client.neighbour("10.77.0.10") == mac


def test_kernels_own_detection_removes_the_address_and_refuses(lan: t.Any) -> None:
    lan.a.call(shared_ip.enable, [V6], "eth0")
    before = addresses(lan.b)
    prepared = lan.b.call(shared_ip.prepare, BOTH, "eth0", peer_holds=True)
    with Ear(lan, [V4]) as ear, pytest.raises(HvmError, match=f"fd77::10 is in use: .* {lan.a.mac()} answers for it"):
        lan.b.call(shared_ip.take, prepared, dad=True)
    assert ear.heard == []  # not the other address either
    assert addresses(lan.b) == before


def test_address_that_failed_detection_once_is_taken_when_it_is_free(lan: t.Any) -> None:
    lan.a.call(shared_ip.enable, [V6], "eth0")
    lan.b.ip("addr", "add", "fd77::10/64", "dev", "eth0")
    time.sleep(2.5)
    status = lan.b.call(shared_ip.status, [V6], "eth0")
    assert (status.enabled, status.held) == (False, True)
    assert status.sentence == "Shared IP is partly enabled: fd77::10 is on eth0 but cannot be used, since another machine has it"
    with pytest.raises(HvmError, match="is in use"):
        lan.b.call(shared_ip.enable, [V6], "eth0")
    lan.a.call(shared_ip.disable, [V6], "eth0")
    assert lan.b.call(shared_ip.enable, [V6], "eth0").after.enabled
    talk(lan, V6)


@pytest.mark.parametrize("gateway", ["10.77.0.254", "fd77::fe"])
def test_gateway_that_answers(lan: t.Any, gateway: str) -> None:
    assert lan.a.call(shared_ip.prepare, [V4], "eth0", gateway).missing
    # No address of its own to ask from
    lan.a.ip("addr", "flush", "dev", "eth0")
    assert lan.a.call(shared_ip.prepare, BOTH, "eth0", gateway).missing


def test_link_local_gateway_answers(lan: t.Any) -> None:
    found: list[str] = []
    deadline = time.monotonic() + 10
    while not found and time.monotonic() < deadline:
        time.sleep(0.1)
        found = re.findall("inet6 (fe80[^/]+)", lan.client.ip("-6", "addr", "show", "dev", "br0", "-tentative"))
    (gateway,) = found
    assert lan.a.call(shared_ip.prepare, [V6], "eth0", gateway).missing


@pytest.mark.parametrize("gateway", ["10.77.0.99", "fd77::99"])
def test_gateway_that_does_not_answer(lan: t.Any, gateway: str) -> None:
    start = time.monotonic()
    with pytest.raises(HvmError, match=f"the gateway {gateway} does not answer on eth0 within 3 s"):
        lan.a.call(shared_ip.enable, BOTH, "eth0", gateway)
    assert time.monotonic() - start < 5
    assert addresses(lan.a) == ["10.77.0.1/24", "fd77::1/64"]


def test_gateway_elsewhere_is_pinged(lan: t.Any) -> None:
    lan.client.ip("addr", "add", "10.99.0.1/32", "dev", "lo")
    lan.client.ip("link", "set", "lo", "up")
    lan.a.ip("route", "add", "default", "via", "10.77.0.254")
    assert lan.a.call(shared_ip.prepare, [V4], "eth0", "10.99.0.1").missing
    with pytest.raises(HvmError, match=r"the gateway 10\.99\.0\.2 does not answer a ping"):
        lan.a.call(shared_ip.prepare, [V4], "eth0", "10.99.0.2")


def test_host_behind_a_dead_link_is_refused(lan: t.Any) -> None:
    lan.client.ip("link", "set", "toa", "down")
    with pytest.raises(HvmError, match="interface eth0 has no carrier"):
        lan.a.call(shared_ip.enable, BOTH, "eth0", "10.77.0.254")
    lan.a.ip("link", "set", "eth0", "down")
    with pytest.raises(HvmError, match="interface eth0 is switched off"):
        lan.a.call(shared_ip.enable, BOTH, "eth0")
    with pytest.raises(HvmError, match="there is no interface 'eth7'"):
        lan.a.call(shared_ip.enable, BOTH, "eth7")


def test_a_probe_says_nothing_about_a_holder_behind_a_dead_link(lan: t.Any) -> None:
    """The limit of all this, kept here so that nobody builds on the contrary."""
    lan.a.call(shared_ip.enable, [V4], "eth0")
    lan.client.ip("link", "set", "toa", "nomaster")
    assert lan.b.call(shared_ip.holders, [V4], "eth0") == {}
    lan.b.call(shared_ip.enable, [V4], "eth0")
    lan.client.ip("link", "set", "toa", "master", "br0")
    # Both have it now; who has it by right says so again, and is believed.
    talk(lan, V4)
    time.sleep(1.1)
    assert lan.b.call(shared_ip.announce, [V4], "eth0") == (V4,)
    assert lan.client.neighbour("10.77.0.10") == lan.b.mac()


@pytest.mark.parametrize("address", BOTH)
def test_of_two_that_probe_at_once_one_at_least_sees_the_other(lan: t.Any, address: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(host.call, shared_ip.holders, [address], "eth0") for host in (lan.a, lan.b)]
        results = [run.result() for run in runs]
    assert any(results), results


def test_disable_deletes_whatever_prefix_it_has_and_twice_changes_nothing(lan: t.Any) -> None:
    lan.a.ip("addr", "add", "10.77.0.10/24", "dev", "eth0")
    lan.a.ip("addr", "add", "fd77::10/64", "dev", "eth0", "nodad")
    change = lan.a.call(shared_ip.disable, BOTH, "eth0")
    assert change.changed == tuple(BOTH)
    assert change.after.sentence == "Shared IP is disabled"
    assert addresses(lan.a) == ["10.77.0.1/24", "fd77::1/64"]
    assert lan.a.call(shared_ip.disable, BOTH, "eth0").changed == ()


def test_disable_of_a_primary_takes_no_other_address_along(lan: t.Any) -> None:
    lan.a.ip("addr", "flush", "dev", "eth0")
    lan.a.call(lambda: pathlib.Path("/proc/sys/net/ipv4/conf/eth0/promote_secondaries").write_text("0"))
    lan.a.ip("addr", "add", "10.77.0.10/24", "dev", "eth0")
    lan.a.ip("addr", "add", "10.77.0.1/24", "dev", "eth0")  # secondary now
    lan.a.call(shared_ip.disable, [V4], "eth0")
    assert addresses(lan.a) == ["10.77.0.1/24"]


def test_networks_that_the_interface_does_not_reach_get_their_route(lan: t.Any) -> None:
    wanted = ["10.88.0.10/24", "10.88.0.11/24", "fd88::10/64"]
    lan.a.call(shared_ip.enable, wanted, "eth0")
    assert addresses(lan.a) == ["10.77.0.1/24", "10.88.0.10/24", "10.88.0.11/24", "fd77::1/64", "fd88::10/64"]
    lan.client.ip("addr", "add", "10.88.0.254/24", "dev", "br0")
    lan.client.ip("addr", "add", "fd88::fe/64", "dev", "br0", "nodad")
    for address in wanted:
        talk(lan, address)
    assert lan.a.call(shared_ip.disable, wanted, "eth0").after.text == ""
    assert addresses(lan.a) == ["10.77.0.1/24", "fd77::1/64"]


def test_address_on_another_interface_is_seen_refused_and_let_go(lan: t.Any) -> None:
    lan.a.ip("link", "add", "eth1", "type", "bridge")
    lan.a.ip("addr", "add", "10.77.0.10/32", "dev", "eth1")
    sentence = lan.a.call(shared_ip.status, [V4], "eth0").sentence
    assert sentence == "Shared IP is partly enabled: 10.77.0.10 is on eth1, not on eth0"
    with pytest.raises(HvmError, match="is on interface eth1 of this host, and is to be on eth0"):
        lan.a.call(shared_ip.enable, [V4], "eth0")
    assert lan.a.call(shared_ip.disable, [V4], "eth0").changed == ("10.77.0.10/32",)


def test_what_ip_refuses_is_said_and_nothing_stays(lan: t.Any) -> None:
    prepared = lan.a.call(shared_ip.prepare, BOTH, "eth0")
    lan.a.run("sysctl", "-q", "-w", "net.ipv6.conf.eth0.disable_ipv6=1")
    with pytest.raises(HvmError, match=r"'ip addr replace 10\.77\.0\.10/32 .* failed: .*"):
        lan.a.call(shared_ip.take, prepared)
    assert addresses(lan.a) == ["10.77.0.1/24"]


def test_announce_only_speaks_for_what_is_here(lan: t.Any) -> None:
    lan.a.call(shared_ip.enable, [V4], "eth0")
    with Ear(lan, BOTH) as ear:
        assert lan.a.call(shared_ip.announce, BOTH, "eth0", interval=0.0) == (V4,)
        assert lan.b.call(shared_ip.announce, BOTH, "eth0") == ()
    assert {(one.mac, str(one.target)) for one in ear.heard} == {(lan.a.mac(), "10.77.0.10")}


class Announcer:
    """The announcer on a host, while the block runs. `told` are the moments of its announcements, in seconds since it began."""

    def __init__(self, namespace: t.Any, *repeats: float, quiet: float = 60.0, longest: float = 60.0) -> None:
        self.said: list[str] = []
        self.told: list[float] = []
        self._begin = time.monotonic()
        moments = announcer.Moments(self._begin, repeats, quiet, longest)
        self._watch = announcer.Watch(BOTH, "eth0", moments, self._say)
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        self._run = self._pool.submit(namespace.call, self._watch.run)

    def _say(self, text: str) -> None:
        self.said.append(text)
        if text.startswith("announced"):
            self.told.append(time.monotonic() - self._begin)

    def ended(self, timeout: float) -> str:
        return self._run.result(timeout)

    def wait(self, what: t.Callable[[], t.Any], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, self.said
            time.sleep(0.02)


def test_announcer_repeats_and_ends_when_it_has_been_quiet(lan: t.Any) -> None:
    lan.a.call(shared_ip.enable, BOTH, "eth0")
    with Ear(lan) as ear:
        announcing = Announcer(lan.a, 0.5, 1.5, quiet=2.0)
        assert announcing.ended(15) == "nobody else has claimed the addresses for long enough"
    assert len(announcing.told) == 2 and announcing.told[0] >= 0.5 and announcing.told[1] >= 1.5
    heard = [(one.mac, one.kind, str(one.target)) for one in ear.heard]
    mac = lan.a.mac()
    assert heard.count((mac, arp.REQUEST, "10.77.0.10")) == heard.count((mac, arp.REPLY, "10.77.0.10")) == 6
    assert heard.count((mac, arp.ADVERTISEMENT, "fd77::10")) == 6


def test_announcer_is_gone_when_the_addresses_are_and_says_nothing_more(lan: t.Any) -> None:
    lan.a.call(shared_ip.enable, BOTH, "eth0")
    announcing = Announcer(lan.a, 3.0, 4.0)
    time.sleep(0.3)
    lan.a.call(shared_ip.disable, BOTH, "eth0")
    with Ear(lan) as ear:
        assert announcing.ended(3) == "the addresses are not here any more"
    assert (announcing.told, ear.heard) == ([], [])


def test_announcer_speaks_only_for_what_is_left(lan: t.Any) -> None:
    lan.a.call(shared_ip.enable, BOTH, "eth0")
    lan.a.call(shared_ip.disable, [V6], "eth0")
    with Ear(lan) as ear:
        announcing = Announcer(lan.a, 0.2)
        announcing.wait(lambda: announcing.told)
        lan.a.call(shared_ip.disable, [V4], "eth0")
        announcing.ended(3)
    assert {str(one.target) for one in ear.heard} == {"10.77.0.10"}


@pytest.mark.parametrize("address", BOTH)
def test_stale_holder_that_speaks_last_is_put_right(lan: t.Any, address: str) -> None:
    """The host that had the address was cut off, still has it, comes back, and tells everybody so."""
    lan.client.ip("link", "set", "br0", "address", "02:00:00:00:00:01")  # else it changes with the ports, and forgets neighbours
    lan.a.call(shared_ip.enable, BOTH, "eth0")
    lan.client.ip("link", "set", "toa", "nomaster")
    lan.b.call(shared_ip.enable, BOTH, "eth0")
    announcing = Announcer(lan.b)
    talk(lan, address)
    assert lan.client.neighbour(bare(address)) == lan.b.mac()
    lan.client.ip("link", "set", "toa", "master", "br0")
    time.sleep(1.1)  # locktime of the client's neighbours
    lan.a.call(shared_ip.announce, [address], "eth0", count=1)
    announcing.wait(lambda: announcing.told)
    assert announcing.said[0] == f"{lan.a.mac()} claims {bare(address)} too"
    announcing.wait(lambda: lan.client.neighbour(bare(address)) == lan.b.mac())
    lan.b.call(shared_ip.disable, BOTH, "eth0")
    announcing.ended(5)


def test_announcer_waits_for_a_link_that_is_down_and_tells_when_it_is_back(lan: t.Any) -> None:
    lan.client.ip("link", "set", "toa", "down")
    assert lan.a.call(shared_ip.take_back, BOTH, "eth0") == tuple(BOTH)
    assert lan.a.call(shared_ip.take_back, BOTH, "eth0") == ()
    announcing = Announcer(lan.a, 0.2)
    announcing.wait(lambda: announcing.said)
    assert "eth0 has no carrier" in announcing.said[0]
    with Ear(lan) as ear:
        lan.client.ip("link", "set", "toa", "up")
        announcing.wait(lambda: announcing.told)
    assert {str(one.target) for one in ear.heard if one.mac == lan.a.mac()} >= {"10.77.0.10", "fd77::10"}
    lan.a.call(shared_ip.disable, BOTH, "eth0")
    announcing.ended(5)


def test_announcer_as_a_process(lan: t.Any) -> None:
    lan.a.call(shared_ip.enable, BOTH, "eth0")
    start = f"import sys; from {announcer.__name__} import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-S", "-c", start, "eth0", *BOTH]
    process = lan.a.call(subprocess.Popen, command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == f"announced on eth0: {V4}, {V6}\n"  # two seconds after its start
        lan.a.call(shared_ip.disable, BOTH, "eth0")
        assert process.stdout.readline() == "the addresses are not here any more\n"
        assert process.wait(5) == 0
    finally:
        process.kill()


def module(namespace: t.Any, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
    arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": True}
    name = "ansible_collections.hvm.pair.plugins.modules.hvm_shared_ip"
    start = (
        "import sys; from ansible.module_utils.testing import patch_module_args; import json;"
        f"from {name} import main\nwith patch_module_args(json.load(sys.stdin)): main()"
    )
    try:
        return json.loads(namespace.run(sys.executable, "-c", start, stdin=json.dumps(arguments)))
    except RuntimeError as exc:
        text = str(exc)
        return json.loads(text[text.index('{"') : text.rindex("}") + 1].splitlines()[0])


def test_module(lan: t.Any, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("ansible.module_utils.testing")
    hosts = [{"name": "HOST-a", "address": "10.77.0.1"}, {"name": "HOST-b", "address": "10.77.0.2"}]
    raw = {"pair": "p", "me": "HOST-a", "hosts": hosts, "datasets": ["tank/vm"], "state_dir": "/vm/state"}
    config = tmp_path / "pair.json"
    config.write_text(json.dumps({**raw, "shared_ips": BOTH, "interface": "eth0", "gateway": "10.77.0.254"}))
    common = {"config": str(config)}

    planned = module(lan.a, check=True, state="enabled", **common)
    assert planned["changed"]
    assert addresses(lan.a) == ["10.77.0.1/24", "fd77::1/64"]
    done = module(lan.a, state="enabled", **common)
    assert done["changed"] and done["enabled"] and done["sentence"] == "Shared IP is enabled"
    assert done["diff"] == planned["diff"] == {"before": "", "after": "10.77.0.10/32 on eth0\nfd77::10/128 on eth0\n"}
    again = module(lan.a, state="enabled", **common)
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    refused = module(lan.b, check=True, state="enabled", **common)
    assert refused["failed"] and lan.a.mac() in refused["msg"] and refused["mac"] == lan.a.mac()
    assert module(lan.a, check=True, state="disabled", **common)["changed"]
    assert module(lan.a, state="disabled", **common)["sentence"] == "Shared IP is disabled"
    assert not module(lan.a, state="disabled", **common)["changed"]
    assert module(lan.b, state="enabled", addresses=[V4], interface="eth0")["addresses"][0]["enabled"]
