# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What VMs move through between the two hosts: libvirt's connection to the other one, and two sockets for each VM."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, overlay, variables
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._peer import relay
from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer
from ansible_collections.hvm.pair.plugins.module_utils._peer.flow import Watch
from ansible_collections.hvm.pair.plugins.module_utils._procedure import overlays, relaying

#: The socket here that is the other host's libvirt.
LIBVIRT = f"{relaying.MOVE}/libvirt.sock"
THERE = f"qemu+unix:///system?socket={LIBVIRT}"
#: Seconds that a socket of QEMU's is waited for on its host: libvirt has QEMU make it when it is wanted.
WAIT = 60.0
#: Seconds in which something of a file has to go over, and the other host to bring all of it to its disk.
GIVE_UP = 3600.0


def socket_names(name: str) -> tuple[str, str]:
    """Of a VM's memory and of its disks, for the relay. Pure."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"m{digest}", f"d{digest}"


class Passage:
    """A context manager; what it needs is opened when it is first wanted."""

    def __init__(self, config: PairConfig, peer: Peer) -> None:
        self._config, self._peer = config, peer
        self._stack = contextlib.ExitStack()
        self._relays: list[relay.Relay] = []
        self._of_libvirt: relay.Relay | None = None
        self._listens = False

    def __enter__(self) -> Passage:
        return self

    def __exit__(self, *dummy: object) -> None:
        self._stack.close()

    @functools.cached_property
    def libvirt(self) -> t.Any:
        """A connection to the other host's."""
        self._of_libvirt = self._stack.enter_context(relay.Relay(self._config, LIBVIRT, "libvirt"))
        return self._connect(THERE)

    @functools.cached_property
    def watcher(self) -> t.Any:
        """A second one to this host's."""
        return self._connect(domains.URI)

    @functools.cached_property
    def watcher_there(self) -> t.Any:
        """A second one to the other host's, through the relay of the first."""
        return self._connect(THERE) if self.libvirt else None  # that one opens the relay

    def _connect(self, uri: str) -> t.Any:
        conn = domains.connect(uri)
        self._stack.callback(conn.close)
        return conn

    @property
    def cuts(self) -> tuple[t.Callable[[], None], t.Callable[[], None]]:
        """What ends the connections of the VM that moves, and then that of libvirt: whoever waits for the other host fails."""
        return self._cut, self._cut_libvirt

    def _cut(self) -> None:
        for one in list(self._relays):
            one.close()
        if self._listens:
            self._peer.call("listen", WAIT, endpoints=[])

    def _cut_libvirt(self) -> None:
        if self._of_libvirt is not None:
            self._of_libvirt.close()

    @contextlib.contextmanager
    def way(self, name: str) -> t.Iterator[tuple[str, str]]:
        """For a VM of this host. :return: the sockets' paths, the same on both hosts."""
        with contextlib.ExitStack() as stack:
            paths = []
            for one in socket_names(name):
                path = relaying.path_of(one)
                made = stack.enter_context(relay.Relay(self._config, path, one, *overlays.qemu_owner(), wait=WAIT))
                self._relays.append(made)
                stack.callback(self._relays.remove, made)
                made.ready(1)
                paths.append(path)
            yield paths[0], paths[1]

    @contextlib.contextmanager
    def way_back(self, name: str) -> t.Iterator[tuple[str, str]]:
        """For a VM of the other host, whose QEMU connects there, to a relay of that host's agent."""
        names = [f"back:{one}" for one in socket_names(name)]
        overlays.sockets(relaying.BACK)
        self._peer.call("listen", endpoints=names)
        self._listens = True
        try:
            yield relaying.path_of(names[0]), relaying.path_of(names[1])
        finally:
            self._listens = False
            with contextlib.suppress(Exception):  # it ends with the connection in any case
                self._peer.call("listen", endpoints=[])

    def push(
        self, name: str, disks: t.Iterable[overlay.Disk], xml: str, say: t.Callable[..., None], stop: t.Callable[[], bool]
    ) -> None:
        """A VM that is off, to the other host, which takes what is no disk into its place when it has arrived.

        :param xml: its definition here. :param say: told how far it is. :param stop: asked whether to end it.
        """
        with Watch(say, give_up=GIVE_UP, stop=stop) as watch:
            for disk in disks:
                self._push(watch, disk.overlay)
            rest = overlay.rest_path(name)
            if variables.pack(variables.of(xml), rest):
                self._push(watch, rest)
                os.unlink(rest)

    def _push(self, watch: Watch, path: str) -> None:
        meter = watch.begin(os.path.basename(path))
        try:
            relay.push(self._config, meter.name, path, meter)
        finally:
            watch.end(meter)

    def fetch(self, name: str, disks: t.Iterable[overlay.Disk], xml: str) -> None:
        """One that is off there, to here."""
        for disk in disks:
            relay.fetch(self._config, os.path.basename(disk.overlay), disk.overlay)
        rest, own = overlay.rest_path(name), variables.of(xml)
        if any(own) and self._peer.call("pack", vm=name, nvram=own.nvram, tpm=own.tpm)["packed"]:
            relay.fetch(self._config, os.path.basename(rest), rest)
            variables.unpack(own, rest)
            os.unlink(rest)
