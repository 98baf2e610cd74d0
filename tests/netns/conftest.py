# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two hosts and a client on one bridge, all in network namespaces without a name: no traffic leaves them, and they are gone
with the process, however it ends."""

from __future__ import annotations

import concurrent.futures
import ctypes
import importlib.util
import json
import os
import pathlib
import subprocess
import typing as t

import pytest

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

# Makes `ansible_collections.hvm.pair` this checkout, as in the unit tests.
_spec = importlib.util.spec_from_file_location("_unit_conftest", pathlib.Path(__file__).parents[1] / "unit" / "conftest.py")
assert _spec and _spec.loader
_spec.loader.exec_module(importlib.util.module_from_spec(_spec))

R = t.TypeVar("R")


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Namespace:
    """A network namespace, kept open by a file descriptor. A namespace belongs to a thread: each call runs in one of its own."""

    def __init__(self) -> None:
        self.fd = self._thread(self._new)

    def close(self) -> None:
        os.close(self.fd)

    def call(self, work: t.Callable[..., R], *args: t.Any, **kwargs: t.Any) -> R:
        def inside() -> R:
            _check(LIBC.setns(self.fd, CLONE_NEWNET))
            return work(*args, **kwargs)

        return self._thread(inside)

    def ip(self, *words: str) -> str:
        return self.run("ip", *words)

    def run(self, *words: str, stdin: str | None = None) -> str:
        # A process takes the namespace of the thread that starts it.
        result = self.call(subprocess.run, words, capture_output=True, text=True, input=stdin, timeout=30)
        if result.returncode:
            raise RuntimeError(f"{words}: {result.stdout}{result.stderr}")
        return result.stdout

    def mac(self, interface: str = "eth0") -> str:
        return json.loads(self.ip("-j", "link", "show", interface))[0]["address"]

    def neighbour(self, address: str) -> str | None:
        """The Ethernet address at which this one believes `address` to be."""
        entries = json.loads(self.ip("-j", "neigh", "show") or "[]")
        return next((entry.get("lladdr") for entry in entries if entry.get("dst") == address), None)

    @staticmethod
    def _new() -> int:
        _check(LIBC.unshare(CLONE_NEWNET))
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    @staticmethod
    def _thread(work: t.Callable[[], R]) -> R:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(work).result()


class Lan(t.NamedTuple):
    """`a` and `b`: the hosts, with eth0 (.1 and .2). `client`: bridge and gateway, .254; its ports are named toa and tob."""

    a: Namespace
    b: Namespace
    client: Namespace


@pytest.fixture
def lan() -> t.Iterator[Lan]:
    if os.geteuid():
        pytest.skip("network namespaces need root")
    try:
        made = Lan(Namespace(), Namespace(), Namespace())
    except OSError as exc:
        pytest.skip(f"no network namespaces here: {exc}")
    try:
        client = made.client
        client.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0")
        client.ip("addr", "add", "10.77.0.254/24", "dev", "br0")
        client.ip("addr", "add", "fd77::fe/64", "dev", "br0", "nodad")
        for number, name, host in ((1, "a", made.a), (2, "b", made.b)):
            place = f"/proc/{os.getpid()}/fd/{host.fd}"
            client.ip("link", "add", f"to{name}", "type", "veth", "peer", "name", "eth0", "netns", place)
            client.ip("link", "set", f"to{name}", "master", "br0", "up")
            host.ip("link", "set", "lo", "up")
            host.ip("addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            host.ip("addr", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
            host.ip("link", "set", "eth0", "up")
        client.ip("link", "set", "br0", "up")
        yield made
    finally:
        for namespace in made:
            namespace.close()
