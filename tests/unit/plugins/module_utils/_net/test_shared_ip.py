# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hands with `ip` and the sockets replaced; with real ones: tests/netns."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._net import shared_ip

V4, V6 = "192.0.2.10/24", "2001:db8::10/64"


class Host:
    """Stands for `ip`: knows the addresses of br0 and carries out the lines of a batch."""

    def __init__(self, *there: str) -> None:
        self.there = list(there)
        self.batches: list[list[str]] = []
        self.sent: list[tuple[str, int]] = []
        self.broken = ""

    def run(self, command: t.Sequence[str], timeout: float = 0, remedy: str = "", stdin: str | None = None) -> str:
        if command == ["ip", "-batch", "-"]:
            lines = (stdin or "").splitlines()
            self.batches.append(lines)
            for line in lines:
                verb, address = line.split()[1:3]
                if verb == "replace" and self.broken and self.broken in address:
                    raise CommandError(command, 1, "", "Error: ipv4: broken.\nCommand failed -:1\n")
                self.there = [one for one in self.there if one != address] + ([address] if verb == "replace" else [])
            return ""
        assert command == ["ip", "-j", "addr", "show"]
        infos = [
            {"family": "inet6" if ":" in one else "inet", "local": one.split("/")[0], "prefixlen": int(one.split("/")[1])}
            for one in self.there
        ]
        flags = ["UP", "LOWER_UP"]
        return json.dumps(
            [{"ifname": "br0", "flags": flags, "link_type": "ether", "address": "52:54:00:00:00:01", "addr_info": infos}]
        )


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host("192.0.2.1/24")
    monkeypatch.setattr(shared_ip, "run", made.run)
    monkeypatch.setattr(shared_ip, "_probe", lambda *_: {})
    monkeypatch.setattr(shared_ip, "send", lambda name, frames, count, interval: made.sent.append((name, len(frames) * count)))
    monkeypatch.setattr(shared_ip, "over_shared_ip", lambda *_: None)
    return made


def test_whoever_is_not_sure_any_more_after_the_look_takes_nothing(host: Host) -> None:
    def sure() -> None:
        raise HvmError("it is being moved")

    with pytest.raises(HvmError, match="it is being moved"):
        shared_ip.enable([V4], "br0", sure=sure)
    assert host.batches == []


def test_enable_then_again_then_disable_then_again(host: Host) -> None:
    change = shared_ip.enable([V4, V6], "br0")
    assert (change.changed, change.before.sentence, change.after.sentence) == (
        (V4, V6),
        "Shared IP is disabled",
        "Shared IP is enabled",
    )
    assert host.there == ["192.0.2.1/24", "192.0.2.10/32", "2001:db8::10/64"]
    assert host.sent == [("br0", 9)]  # two forms for IPv4, one for IPv6, three times
    assert len(host.batches) == 1
    assert shared_ip.enable([V4, V6], "br0").changed == ()
    assert (len(host.batches), len(host.sent)) == (1, 1)
    assert shared_ip.disable([V4, V6], "br0").changed == ("192.0.2.10/32", V6)
    assert host.there == ["192.0.2.1/24"]
    assert shared_ip.disable([V4, V6], "br0").changed == ()
    assert len(host.batches) == 2


def test_check_mode_foretells_what_then_happens(host: Host) -> None:
    planned = shared_ip.enable([V4, V6], "br0", check=True)
    assert host.batches == host.sent == []
    assert planned == shared_ip.enable([V4, V6], "br0")
    planned = shared_ip.disable([V4, V6], "br0", check=True)
    assert len(host.batches) == 1
    assert planned == shared_ip.disable([V4, V6], "br0")


def test_only_what_is_missing_is_added_and_announced(host: Host) -> None:
    host.there.append(V4)
    assert shared_ip.enable([V4, V6], "br0").changed == (V6,)
    assert host.sent == [("br0", 3)]


def test_no_addresses_is_nothing_to_do(host: Host) -> None:
    assert shared_ip.enable([], "").after.sentence == "Shared IP is not configured"
    assert shared_ip.disable([], "").changed == ()


def test_a_holder_is_named_and_not_asked_for_when_the_peer_is_known_to_be_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_ip, "_probe", lambda _links, _link, wanted, *_: {wanted[0]: "52:54:00:00:00:02"})
    with pytest.raises(HvmError) as caught:
        shared_ip.enable([V4], "br0")
    assert caught.value.what == (
        "the shared address 192.0.2.10 is in use: the machine with the Ethernet address 52:54:00:00:00:02 answers for it"
    )
    assert caught.value.details == {"address": "192.0.2.10", "mac": "52:54:00:00:00:02"}
    assert [str(one) for one in shared_ip.prepare([V4], "br0", peer_holds=True).missing] == [V4]
    assert host.batches == []


def test_when_one_address_cannot_be_added_none_stays(host: Host) -> None:
    host.broken = "2001"
    with pytest.raises(HvmError) as caught:
        shared_ip.enable([V4, V6], "br0")
    assert caught.value.what == (
        "'ip addr replace 192.0.2.10/32 dev br0 label br0:hvm; addr replace 2001:db8::10/64 dev br0 preferred_lft 0' failed: "
        "Error: ipv4: broken."
    )
    assert host.there == ["192.0.2.1/24"]
    assert host.sent == []


def test_when_it_cannot_be_announced_it_does_not_stay(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def send(*_: t.Any) -> None:
        raise HvmError("no frames can be sent")

    monkeypatch.setattr(shared_ip, "send", send)
    with pytest.raises(HvmError, match="no frames can be sent"):
        shared_ip.enable([V4], "br0")
    assert host.there == ["192.0.2.1/24"]


@pytest.mark.parametrize("check", [False, True])
def test_disable_refuses_to_cut_its_own_session(host: Host, monkeypatch: pytest.MonkeyPatch, check: bool) -> None:
    monkeypatch.setattr(shared_ip, "over_shared_ip", lambda *_: "192.0.2.10")
    assert shared_ip.disable([V4], "br0", check=check).changed == ()  # nothing to do, nothing to refuse
    host.there.append("192.0.2.10/32")
    with pytest.raises(HvmError) as caught:
        shared_ip.disable([V4], "br0", check=check)
    assert str(caught.value) == (
        "this session came in over the shared address 192.0.2.10, and would be cut off. "
        "Connect to the host's own address and run this again."
    )
    assert host.batches == []


def test_gateway_that_is_no_address_is_refused(host: Host) -> None:
    with pytest.raises(HvmError, match="gateway: 'gw' does not appear to be"):
        shared_ip.enable([V4], "br0", "gw")
    assert shared_ip.prepare([V4], "br0", "192.0.2.1").missing  # this host itself


def process(proc: pathlib.Path, pid: int, parent: int, environ: str = "", session: str = "4294967295") -> None:
    directory = proc / str(pid)
    directory.mkdir()
    (directory / "status").write_text(f"Name:\tx\nUmask:\t0022\nPid:\t{pid}\nPPid:\t{parent}\n")
    (directory / "environ").write_text(environ)
    (directory / "sessionid").write_text(session)


SHARED = "SSH_CONNECTION=198.51.100.7 50000 192.0.2.10 22\0"
OWN = "SSH_CONNECTION=198.51.100.7 50000 192.0.2.1 22\0"


@pytest.mark.parametrize(
    ("tree", "found"),
    [
        # (pid, parent, environment, session); 9 asks
        ([(9, 1, SHARED)], "192.0.2.10"),
        ([(9, 1, OWN)], None),
        ([(9, 1, "")], None),
        # sshd - shell - sudo - module
        ([(5, 1, ""), (6, 5, SHARED), (7, 6, SHARED), (9, 7, "PATH=/bin\0")], "192.0.2.10"),
        # the nearest counts: somebody else's shell, in which an own session was opened
        ([(5, 1, SHARED), (9, 5, OWN)], None),
        # detached below sudo: only the login is left to tell
        ([(5, 1, "", "3"), (6, 5, SHARED, "3"), (9, 1, "", "3")], "192.0.2.10"),
        ([(5, 1, "", "3"), (6, 5, OWN, "3"), (7, 1, SHARED, "4"), (9, 1, "", "3")], None),
        # started by systemd
        ([(6, 1, SHARED, "3"), (9, 1, "")], None),
        # a process that is gone, and a circle
        ([(9, 77, "")], None),
        ([(8, 9, ""), (9, 8, "")], None),
    ],
)
def test_way_in_is_found_through_the_processes(tmp_path: pathlib.Path, tree: list[tuple[t.Any, ...]], found: str | None) -> None:
    (tmp_path / "uptime").write_text("1")
    process(tmp_path, 1, 0)
    for one in tree:
        process(tmp_path, *one)
    assert shared_ip.over_shared_ip([V4, V6], pid=9, proc=str(tmp_path)) == found


def test_way_in_is_found_above_a_real_process_with_an_empty_environment() -> None:
    ask = (
        "import sys; sys.path[:] = eval(sys.argv[1]);"
        "from ansible_collections.hvm.pair.plugins.module_utils._net import shared_ip;"
        "print(shared_ip.over_shared_ip(['192.0.2.10/24']))"
    )
    tree = str(pathlib.Path(__file__).parents[5] / "collections")
    if not pathlib.Path(tree).is_dir():
        pytest.skip("no link to the checkout")
    middle = "import os, subprocess, sys; sys.exit(subprocess.run([sys.executable, '-S', *sys.argv[1:]], env={}).returncode)"
    for environment, answer in (
        ({"SSH_CONNECTION": "198.51.100.7 5 192.0.2.10 22"}, "192.0.2.10"),
        ({"SSH_CONNECTION": "::1 5 ::1 22"}, "None"),
    ):
        command = [sys.executable, "-S", "-c", middle, "-c", ask, repr([tree, *sys.path])]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        assert result.stdout.strip() == answer
