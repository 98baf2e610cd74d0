# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""Who is in charge of a host's network, ifupdown or systemd-networkd, and the files that let it have a network at each boot.
No I/O.

Files of our own only, beside the host's: nobody's `interfaces` is edited, and neither is the .network file of the interface
below.

**ifupdown**: one file for each network. It says what `ip` is to do, so neither bridge-utils nor vlan is needed, and nothing
for `ifdown`: a bridge outlives `systemctl restart networking`, since its VMs would be cut off until they are started anew.

**networkd** wants a VLAN to be named in the .network file of the interface below it (`VLAN=`). A drop-in would do; but then a
reload reconfigures that interface, which drops its DHCP lease, and every address that networkd did not give it: the shared
IP, which was added by `ip` (systemd issues 12050, 42696). So the VLAN is made by a unit that comes and goes with that
interface, and networkd gets what lies above. Its files sort before all others, since the first one that matches an interface
counts (systemd.network(5)), and many hosts have one for `en*`.
"""

from __future__ import annotations

import fnmatch
import json
import posixpath
import re
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import Finding
from ansible_collections.hvm.pair.plugins.module_utils._net.networks import Bridge

AUTO, IFUPDOWN, NETWORKD = "auto", "ifupdown", "networkd"
MANAGERS = (AUTO, IFUPDOWN, NETWORKD)

INTERFACES = "/etc/network/interfaces"
_IFUPDOWN = "/etc/network/interfaces.d/hvm-"
_NETWORKD = "/etc/systemd/network/01-hvm-"
SYSTEM = "/etc/systemd/system"
_UNIT = f"{SYSTEM}/hvm-vlan-"
#: Where files of ours may lie: what a host looks at to know what was made.
PATTERNS = (f"{_IFUPDOWN}*", f"{_NETWORKD}*", f"{_UNIT}*.service", f"{SYSTEM}/*.wants/hvm-vlan-*.service")
_MARK = "# declared: "

#: Beside the .network file of the interface of the shared IP; of a network of ours it is in the file itself.
_KEEPING = """# hvm.pair: the shared IP is not given by networkd, which would take it away at each of its starts.
[Network]
KeepConfiguration=yes
"""

#: Path -> text; of a link (below a directory *.wants) where it leads.
Files = dict[str, str]


class Facts(t.NamedTuple):
    """What a host says of its network.

    :ivar ifupdown: it is installed. :ivar interfaces: path -> text of /etc/network/interfaces and all that it reads.
    :ivar networkd: interface -> setup as `networkctl` has it ("configured", "unmanaged", ...); None when networkd does not run.
    :ivar nm: interface -> state as `nmcli` has it; None when NetworkManager does not run.
    """

    ifupdown: bool = False
    interfaces: t.Mapping[str, str] = {}
    networkd: t.Mapping[str, str] | None = None
    nm: t.Mapping[str, str] | None = None


def configured(interfaces: t.Mapping[str, str]) -> dict[str, set[str]]:
    """What ifupdown's files name, without our own: interface -> methods (static, dhcp, manual ...), as far as there are any."""
    found: dict[str, set[str]] = {}
    for path, text in interfaces.items():
        if path.startswith(_IFUPDOWN):
            continue
        for line in text.replace("\\\n", " ").splitlines():
            words = line.split()
            if words[:1] == ["iface"] and len(words) > 1:
                found.setdefault(words[1], set()).update(words[3:4])
            elif words and (words[0] == "auto" or words[0].startswith("allow-")):
                for word in words[1:]:
                    found.setdefault(word, set())
    return found


def sources(text: str) -> list[str]:
    """Patterns of the files that one of ifupdown's reads besides (interfaces(5))."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split()
        if len(words) > 1 and words[0] in ("source", "source-directory", "source-dir"):
            pattern = posixpath.join(posixpath.dirname(INTERFACES), words[1])
            found.append(pattern if words[0] == "source" else posixpath.join(pattern, "*"))
    return found


def reads_ours(interfaces: t.Mapping[str, str]) -> bool:
    return any(fnmatch.fnmatch(f"{_IFUPDOWN}x", pattern) for text in interfaces.values() for pattern in sources(text))


def parse_networkctl(text: str) -> dict[str, str]:
    """`networkctl list --no-legend`: index, name, type, operational state, setup; a mark may stand before."""
    rows = [line.split() for line in text.splitlines()]
    return {row[-4]: row[-1] for row in rows if len(row) >= 5}


def network_file(text: str) -> str:
    """`networkctl status INTERFACE`: the path of the .network file that is in force; "" when there is none."""
    found = re.search(r"^\s*Network File: (/\S+\.network)\s*$", text, re.MULTILINE)
    return found[1] if found else ""


def keeping(path: str) -> Files:
    """What lets networkd keep the shared IP, which it did not give, when it starts anew, as with each of its updates
    (systemd.network(5), KeepConfiguration=; systemd issue 12050). Not "static": that keeps no IPv6 address that is deprecated, as
    the shared one is (seen with systemd 257). Besides, a DHCP lease is kept when its server is away.

    :param path: the .network file of the interface, wherever it lies: a drop-in in /etc counts for each (netplan's is in /run).
    """
    name = posixpath.basename(path)
    if not name or path.startswith(_NETWORKD):
        return {}
    return {f"/etc/systemd/network/{name}.d/hvm.conf": _KEEPING}


def parse_nmcli(text: str) -> dict[str, str]:
    """`nmcli -t -f DEVICE,STATE device`."""
    rows = [line.rpartition(":") for line in text.splitlines() if ":" in line]
    return {name.replace("\\:", ":"): state for name, dummy, state in rows}


def choose(facts: Facts, parent: str, wanted: str = AUTO, host: str = "") -> tuple[str, list[Finding]]:
    """Who gets the files of a network over `parent`: whoever has that interface, else whoever has the others.

    :return: ``("ifupdown" or "networkd", [])``, or ``("", why not)``.
    """
    state = (facts.nm or {}).get(parent, "unmanaged")
    if wanted == AUTO and parent and not state.startswith("unmanaged") and "external" not in state:
        remedy = (
            f"Take {parent} away from it (unmanaged-devices in /etc/NetworkManager/conf.d), and let ifupdown or "
            "systemd-networkd have it."
        )
        return "", [
            Finding(f"NetworkManager is in charge of {parent}, and networks are for ifupdown or systemd-networkd", remedy, host)
        ]
    manager = wanted
    if wanted == AUTO:
        setups = {name: setup for name, setup in (facts.networkd or {}).items() if name != "lo" and setup != "unmanaged"}
        named = set(configured(facts.interfaces)) - {"lo"} if facts.ifupdown else set()
        if parent in named:
            manager = IFUPDOWN
        elif facts.networkd is not None and (parent in setups or setups or not facts.ifupdown):
            manager = NETWORKD
        elif facts.ifupdown:
            manager = IFUPDOWN
        else:
            remedy = "Install ifupdown, or enable systemd-networkd: 'systemctl enable --now systemd-networkd'."
            return "", [Finding("neither ifupdown nor systemd-networkd is in charge of the network", remedy, host)]
    if manager == NETWORKD and facts.networkd is None:
        remedy = "Start it: 'systemctl enable --now systemd-networkd'; or choose ifupdown (hvm_network_manager)."
        return "", [Finding("systemd-networkd does not run", remedy, host)]
    if manager == IFUPDOWN and not facts.ifupdown:
        remedy = "Install it, or choose networkd (hvm_network_manager)."
        return "", [Finding("ifupdown is not installed", remedy, host)]
    if manager == IFUPDOWN and not reads_ours(facts.interfaces):
        remedy = f"Add the line 'source {INTERFACES}.d/*' to it, as Debian has it."
        return "", [Finding(f"{INTERFACES} does not read the files in {INTERFACES}.d", remedy, host)]
    return manager, []


# ---- files


def escape(name: str) -> str:
    """As systemd-escape does: what an interface is called in the name of a unit."""
    return "".join(
        one if re.match(r"[A-Za-z0-9:_]", one) or (one == "." and at) else f"\\x{ord(one):02x}" for at, one in enumerate(name)
    )


def unit_name(bridge: str) -> str:
    return f"hvm-vlan-{bridge}.service"


def files(bridge: Bridge, manager: str) -> Files:
    """All that lets the host make it anew at each boot."""
    head = [f"# {bridge.name}: {bridge.over}. hvm.pair wrote this (hvm_network): change it there.", _mark(bridge)]
    if manager == IFUPDOWN:
        return {f"{_IFUPDOWN}{bridge.name}": _text([*head, *_ifupdown(bridge)])}
    place = f"{_NETWORKD}{bridge.name}"
    found = {
        f"{place}.netdev": _text([*head, *_netdev(bridge)]),
        f"{place}.network": _text([*head, *_network(bridge)]),
    }
    if bridge.port:
        found[f"{place}.port.network"] = _text([*head, *_port(bridge)])
    if bridge.vlan:
        unit = unit_name(bridge.name)
        found[f"{SYSTEM}/{unit}"] = _text([*head, *_unit(bridge)])
        found[f"{SYSTEM}/{_device(bridge.parent)}.wants/{unit}"] = f"{SYSTEM}/{unit}"
    return found


def _text(lines: t.Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _mark(bridge: Bridge) -> str:
    return _MARK + json.dumps(bridge._asdict(), sort_keys=True)


def _device(interface: str) -> str:
    return f"sys-subsystem-net-devices-{escape(interface)}.device"


def _ifupdown(bridge: Bridge) -> list[str]:
    def missing(name: str) -> str:
        return f"    pre-up ip link show dev {name} > /dev/null 2>&1 || ip link add"

    def ipv6(name: str, key: str, value: int) -> str:
        path = f"/proc/sys/net/ipv6/conf/{name}/{key}"
        return f"    pre-up [ ! -e {path} ] || echo {value} > {path}"

    name, port = bridge.name, bridge.port
    lines = [f"auto {name}", f"iface {name} inet manual"]
    lines.append(f"{missing(name)} name {name} type bridge stp_state 0 forward_delay 0")
    lines.append(ipv6(name, "accept_ra", 0) if bridge.has_ipv6 else ipv6(name, "disable_ipv6", 1))
    if port:
        # `ifup -a` goes by the order in which interfaces are named, and our files may be read before what the parent is made by,
        # or gets its MTU by. ifup(8) of another interface is allowed there: each has its own lock. But a parent whose stanza
        # brings up this bridge would wait for it for ever: so the limit, and -k, since ifup outlives SIGTERM while it waits.
        wide = bridge.mtu if bridge.vlan and bridge.mtu else 1
        mtu = f"$(cat /sys/class/net/{bridge.parent}/mtu 2> /dev/null || echo 0)"
        lines.append(f'    pre-up [ "{mtu}" -ge {wide} ] || timeout -k 5 60 ifup {bridge.parent} || true')
        if bridge.vlan:
            lines.append(f"{missing(port)} link {bridge.parent} name {port} type vlan id {bridge.vlan}")
            lines.append(f"    pre-up ip link set dev {bridge.parent} up")
        lines.append(ipv6(port, "disable_ipv6", 1))
        if bridge.mtu:
            lines.append(f"    pre-up ip link set dev {port} mtu {bridge.mtu}")
        lines.append(f"    pre-up ip link set dev {port} master {name} up")
    if bridge.mtu:
        lines.append(f"    pre-up ip link set dev {name} mtu {bridge.mtu}")
    lines.append(f"    up ip link set dev {name} up")
    return lines + [f"    up ip addr replace {one} dev {name}" for one in bridge.addresses]


def _netdev(bridge: Bridge) -> list[str]:
    return ["[NetDev]", f"Name={bridge.name}", "Kind=bridge", "", "[Bridge]", "STP=no", "ForwardDelaySec=0"]


def _network(bridge: Bridge) -> list[str]:
    """KeepConfiguration: as in `keeping`, since the shared IP may lie on it."""
    return [
        *_link(bridge.name, bridge.mtu),
        f"LinkLocalAddressing={'ipv6' if bridge.has_ipv6 else 'no'}",
        "IPv6AcceptRA=no",
        "ConfigureWithoutCarrier=yes",
        "KeepConfiguration=yes",
        *(f"Address={one}" for one in bridge.addresses),
    ]


def _port(bridge: Bridge) -> list[str]:
    return [*_link(bridge.port, bridge.mtu), f"Bridge={bridge.name}", "LinkLocalAddressing=no", "IPv6AcceptRA=no"]


def _link(name: str, mtu: int) -> list[str]:
    """No boot waits for it (systemd-networkd-wait-online)."""
    more = [f"MTUBytes={mtu}"] if mtu else []
    return ["[Match]", f"Name={name}", "", "[Link]", "RequiredForOnline=no", *more, "", "[Network]"]


def _unit(bridge: Bridge) -> list[str]:
    device = _device(bridge.parent)
    return [
        "[Unit]",
        f"Description=hvm.pair: {bridge.over}, for {bridge.name}",
        f"BindsTo={device}",
        f"After={device}",
        "",
        "[Service]",
        "Type=oneshot",
        "RemainAfterExit=yes",
        "# it may be there already: the next line finds out",
        f"ExecStart=-/sbin/ip link add link {bridge.parent} name {bridge.port} type vlan id {bridge.vlan}",
        f"ExecStart=/sbin/ip link set dev {bridge.port} up",
        f"ExecStart=/sbin/ip link set dev {bridge.parent} up",
        "",
        "[Install]",
        f"WantedBy={device}",
    ]


# ---- what was made


class Made(t.NamedTuple):
    """A network that has files here. :ivar bridge: what it was made as. :ivar paths: its files."""

    bridge: Bridge
    paths: tuple[str, ...]


def name_of(path: str) -> str:
    """Whose file it is; "" when it is none of ours."""
    base = posixpath.basename(path)
    for pattern in (
        r"hvm-vlan-(.+)\.service",
        r"01-hvm-(.+)\.port\.network",
        r"01-hvm-(.+)\.(?:netdev|network)",
        r"hvm-([^.]+)",
    ):
        found = re.fullmatch(pattern, base)
        if found:
            return found[1]
    return ""


def made(ours: t.Mapping[str, str]) -> dict[str, Made]:
    """Out of our files, also when some of them are missing: a crash may have been in between.

    A network whose files nobody can read any more is known by its name; then only its bridge is.
    """
    found: dict[str, Made] = {}
    for path in sorted(ours):
        name = name_of(path)
        if not name:
            continue
        before = found.get(name, Made(Bridge(name), ()))
        bridge = before.bridge if before.bridge.parent else _read(name, ours[path]) or before.bridge
        found[name] = Made(bridge, (*before.paths, path))
    return found


def _read(name: str, text: str) -> Bridge | None:
    for line in text.splitlines():
        if line.startswith(_MARK):
            try:
                raw = json.loads(line.removeprefix(_MARK))
                bridge = Bridge(name, str(raw["parent"]), int(raw["vlan"]), int(raw["mtu"]), tuple(map(str, raw["addresses"])))
            except (ValueError, KeyError, TypeError):
                return None
            return bridge
    return None
