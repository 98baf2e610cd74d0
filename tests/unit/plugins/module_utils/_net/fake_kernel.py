# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A made-up kernel that knows `ip link` and `ip addr`, and is as strict as the real one (tests/netns has that)."""

from __future__ import annotations

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._net import links, network_plan
from ansible_collections.hvm.pair.plugins.module_utils._net.links import LINK, PROC, REMOVE, TRY, WRITE, Seen, Step
from ansible_collections.hvm.pair.plugins.module_utils._net.managers import IFUPDOWN, NETWORKD, Facts
from ansible_collections.hvm.pair.plugins.module_utils._net.network_plan import World
from ansible_collections.hvm.pair.plugins.module_utils._net.networks import Bridge

FACTS = {
    IFUPDOWN: Facts(
        True, {"/etc/network/interfaces": "source /etc/network/interfaces.d/*\nauto eno1\niface eno1 inet static\n"}
    ),
    NETWORKD: Facts(networkd={"eno1": "configured", "eno2": "unmanaged"}),
}
SSH = "has the address that this session comes in by"


class Kernel:
    """Interfaces and our files. What a command cannot do raises ValueError, as `ip` would fail."""

    def __init__(self, *there: Seen, files: t.Mapping[str, str] | None = None) -> None:
        cards = (
            Seen("lo", ethernet=False),
            Seen("eno1", addresses=("192.0.2.1/24",), max_mtu=9000),
            Seen("eno2", max_mtu=9000),
        )
        self.links = {one.name: one for one in (*cards, *there)}
        self.files = dict(files or {})
        self.quiet: set[str] = set()

    def world(self, manager: str, reasons: t.Mapping[str, str] | None = None, **more: t.Any) -> World:
        reasons = {"eno1": SSH} if reasons is None else reasons
        return World(dict(self.links), dict(self.files), FACTS[manager], reasons, **more)

    def set(self, name: str, **changes: t.Any) -> None:
        self.links[name] = self.links[name]._replace(**changes)

    def do(self, step: Step) -> None:
        if step.do in (WRITE, LINK):
            self.files[step.what] = step.words[0]
        elif step.do == REMOVE:
            self.files.pop(step.what, None)
        elif step.do == PROC:
            name = step.what.split("/")[6]
            assert name in self.links, step
            if step.what.endswith("/disable_ipv6") and step.words[0] != "1":
                self.quiet.discard(name)
            elif step.what.endswith("/disable_ipv6"):
                self.set(name, local=())
                self.quiet.add(name)
        elif step.do == TRY:
            assert step.words[0] in ("ifdown", "systemctl")
        elif step.words[0] == "ip":
            self._ip(*step.words[1:])
        else:
            assert step.words[0] in ("ifup", "networkctl", "systemctl"), step

    def _ip(self, *words: str) -> None:
        found = dict(zip(words[2::2], words[3::2], strict=False))
        if words[:2] == ("link", "add"):
            name = found["name"]
            if name in self.links:
                raise ValueError(f"RTNETLINK answers: File exists: {name}")
            if found["type"] == "vlan":
                below, vlan = found["link"], int(found["id"])
                if any((one.below, one.vlan) == (below, vlan) for one in self.links.values()):
                    raise ValueError(f"VLAN {vlan} of {below} exists")
                self.links[name] = Seen(name, "vlan", up=False, mtu=self.links[below].mtu, below=below, vlan=vlan)
            else:
                self.links[name] = Seen(name, "bridge", up=False)
        elif words[:2] == ("link", "del"):
            self.quiet.discard(found["dev"])
            for name in (found["dev"], *(one.name for one in self.links.values() if one.below == found["dev"])):
                del self.links[name]
            for one in list(self.links.values()):
                if one.master == found["dev"]:
                    self.set(one.name, master="")
        elif words[:2] == ("link", "set"):
            self._set(found["dev"], words[4:])
        elif words[:2] == ("addr", "replace"):
            self.set(words[4], addresses=(*self.links[words[4]].addresses, words[2]))
        elif words[:2] == ("addr", "del"):
            kept = [one for one in self.links[words[4]].addresses if one != words[2]]
            assert len(kept) < len(self.links[words[4]].addresses)
            self.set(words[4], addresses=tuple(kept))
        else:
            raise AssertionError(words)

    def _set(self, name: str, words: t.Sequence[str]) -> None:
        link = self.links[name]
        if words[0] == "up":
            local = () if link.up or name in self.quiet or not link.kind else ("fe80::1/64",)
            self.set(name, up=True, local=link.local + local)
        elif words[0] == "nomaster":
            self.set(name, master="")
        elif words[0] == "master":
            assert self.links[words[1]].kind == "bridge" and link.kind != "bridge", words
            self.set(name, master=words[1])
        elif words[0] == "mtu":
            assert not link.below or int(words[1]) <= self.links[link.below].mtu, words
            self.set(name, mtu=int(words[1]))
            for one in [one for one in self.links.values() if one.below == name and one.mtu > int(words[1])]:
                self.set(one.name, mtu=int(words[1]))
        elif words[:2] == ("type", "bridge"):
            self.set(name, stp=False)
        else:
            raise AssertionError(words)

    def all(self, plan: network_plan.Plan) -> t.Iterator[Step]:
        """Every step, those after the managers too, each done when the next one is asked for."""
        for step in plan.steps:
            self.do(step)
            yield step
        for bridge in plan.wanted:
            for step in links.mend(bridge, self.links):
                self.do(step)
                yield step

    def settle(self, wanted: t.Sequence[Bridge], manager: str, **more: t.Any) -> list[str]:
        plan = network_plan.plan(wanted, self.world(manager, **more), host="hv1")
        assert plan.findings == () and plan.left == ()
        return [step.text() for step in self.all(plan)]
