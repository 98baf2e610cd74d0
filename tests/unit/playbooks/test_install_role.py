# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook `install` with its role, by ansible-playbook, on two directories instead of two hosts: what is asked of the
modules, and what becomes of a host whose other one is off, refuses, or is new."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import sys
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from test_playbooks import ANSIBLE, OLD_STYLE, ROOT, Run, World

from ansible_collections.hvm.pair.plugins.module_utils._pair import config

#: Modules of Ansible that would change this machine.
FOREIGN = ("apt", "systemd_service")
PLACES = re.compile(r"(?<=[ \[])(/(?:etc|root)/[\w./-]+)(?=[\],\n])")
#: What is done on the other host.
ELSEWHERE = re.compile(r'  delegate_to: "\{\{ __hvm_other \}\}"\n.*?(?=\n\n#|\Z)', re.DOTALL)


class Installation(World):
    """`install`, where /etc and /root are below a directory of each host."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory)
        tree = directory / "collections/ansible_collections/hvm/pair"
        shutil.copytree(ROOT / "roles", tree / "roles")
        for module in FOREIGN:
            (tree / f"plugins/modules/{module}.py").write_text(OLD_STYLE.replace("NAME", module).replace("WORLD", str(directory)))
        for path in (tree / "roles/host/tasks").glob("*.yml"):
            text = path.read_text()
            for module in FOREIGN:
                text = text.replace(f"ansible.builtin.{module}:", f"hvm.pair.{module}:")
            # below the directory of the host that a task is delegated to
            text = ELSEWHERE.sub(lambda found: PLACES.sub(rf'"{directory}/{{{{ __hvm_other }}}}\1"', found[0]), text)
            text = PLACES.sub(rf'"{directory}/{{{{ inventory_hostname }}}}\1"', text)
            text = re.sub(r"\n +validate: .*", "", text)  # what is installed is not (test_scheduled, test_schedule_role)
            # each module takes a second: one service stands for all
            path.write_text(re.sub(r"(loop:\n    - libvirtd.service\n)(    - .*\n)+", r"\1", text))
        (tree / "roles/host/tasks/schedule.yml").write_text("[]\n")  # test_schedule_role
        for host in ("hv1", "hv2"):
            for place in ("etc/hvm", "etc/ssh", "root/.ssh", "etc/systemd/system"):
                (directory / host / place).mkdir(parents=True)
            (directory / host / "etc/ssh/ssh_host_ed25519_key.pub").write_text(f"ssh-ed25519 KEY-OF-{host} root@{host}\n")
        common = {"hvm_pair": "office", "hvm_hosts": ["hv1", "hv2"], "hvm_datasets": ["ssd/shared"]}
        self.says(**common, hvm_shared_ip="192.0.2.10/24", hvm_service_iface="br0")

    def says(self, **variables: t.Any) -> None:
        """The inventory's variables."""
        head = self.inventory.read_text().split("[hvm:vars]")[0]
        self.inventory.write_text(head + "[hvm:vars]\n" + "".join(f"{key}={value!r}\n" for key, value in variables.items()))

    def install(self, *words: str) -> Run:
        return self.play("install", *words)

    def text(self, host: str, path: str) -> str:
        return (self.directory / host / path).read_text()


@pytest.fixture(name="pair")
def _pair(tmp_path: pathlib.Path) -> Installation:
    if not ANSIBLE.exists() or not shutil.which("ssh-keygen"):
        pytest.skip("no ansible-playbook beside this Python, or no ssh-keygen")
    return Installation(tmp_path)


def test_two_hosts_meet_then_nothing_changes_then_one_is_off_and_the_other_one_gets_its_version(pair: Installation) -> None:
    """One after the other: each run of Ansible takes long."""
    keys = pair.directory / "hv2/root/.ssh/authorized_keys"
    keys.parent.mkdir(parents=True, exist_ok=True)
    agents = 'restrict,command="/usr/lib/hvm/hvm-agent"'  # of hosts whose place hv1 has taken
    keys.write_text(f"{agents} ssh-ed25519 OLDER hv8\nssh-ed25519 ADMIN\n{agents},no-pty ssh-ed25519 OLD hvm-pair office hv9\n")
    run = pair.install()
    assert not run.failed, run.text
    # both ask it whether it may be installed; whoever comes second gives the roles, or both
    calls = [name for host, name in run.calls() if host == "hv1" and name not in FOREIGN]
    assert calls[:3] == ["agent"] * 3 and set(calls[3:]) == {"role"}
    asked = [(check, told.get("shared_ips")) for host, name, told, check in run.asked if name == "hvm_agent" and host == "hv1"]
    assert sorted(check for check, _shared in asked) == [False, True, True]
    assert [shared for check, shared in asked if check] == [["192.0.2.10/24"]] * 2
    role, *more = [told for host, name, told, _check in run.asked if (host, name) == ("hv2", "hvm_role")]
    assert [role] * len(more) == more
    assert role["active"] == "hv1" and role["create_datasets"] is True and "ssd/shared/libvirt/qemu" in role["filesystems"]
    described = config.parse(pair.text("hv2", "etc/hvm/pair.json"))
    assert (described.me.name, described.peer.name, described.datasets) == ("hv2", "hv1", ("ssd/shared",))
    assert pair.text("hv1", "etc/hvm/known_hosts") == "hv2 ssh-ed25519 KEY-OF-hv2\n"
    admin, line = pair.text("hv2", "root/.ssh/authorized_keys").splitlines()
    assert admin == "ssh-ed25519 ADMIN"
    assert line.startswith('restrict,command="/usr/lib/hvm/hvm-agent" ssh-ed25519 ') and line.endswith(" hvm-pair office hv1")
    again = pair.install()
    assert not again.failed and again.text.count("changed=0") == 2

    before = pair.text("hv1", "etc/hvm/known_hosts"), pair.text("hv1", "root/.ssh/authorized_keys")
    pair.lose("hv2")
    alone = pair.install()
    assert "unreachable=1" in alone.text and alone.text.count("failed=0") == 2
    assert "hv2 was not reached. Its keys stay as they are on hv1." in alone.text
    assert [name for host, name in alone.calls() if name not in FOREIGN] == ["agent", "agent", "role"]
    assert (pair.text("hv1", "etc/hvm/known_hosts"), pair.text("hv1", "root/.ssh/authorized_keys")) == before


def test_pools_come_before_anything_else_of_ours_and_networks_before_the_roles(pair: Installation) -> None:
    pools = {"ssd": {"vdevs": [["mirror", "/dev/disk/by-id/a", "/dev/disk/by-id/b"]]}}
    networks = [{"name": "br-v10", "interface": "eno1", "vlan": 10}]
    common = {"hvm_pair": "office", "hvm_hosts": ["hv1", "hv2"], "hvm_datasets": ["ssd/shared"], "hvm_networks": networks}
    pair.says(**common, hvm_pools=pools, hvm_create_datasets=False)
    text = pair.inventory.read_text()
    pair.inventory.write_text(text.replace("hv2 ansible", "hv2 hvm_network_manager=networkd ansible"))
    run = pair.install()
    assert not run.failed, run.text
    for host, manager in (("hv1", "auto"), ("hv2", "networkd")):
        calls = [name for at, name in run.calls() if at == host and name not in FOREIGN]
        assert calls[:4] == ["pool", "agent", "agent", "agent"] and calls[4] == "network" and calls[-1] == "role"
        told = {name: told for at, name, told, _check in run.asked if at == host}
        assert told["hvm_pool"] == {"pools": pools} and told["hvm_role"]["create_datasets"] is False
        assert told["hvm_network"] == {"networks": networks, "manager": manager}, "its own words, whoever has made it"


def test_a_host_that_refuses_another_version_keeps_the_other_one_from_it(pair: Installation) -> None:
    pair.answers["hv2"]["hvm_agent"] = {"failed": True, "msg": "another operation is running on hv2: sync.", "remedy": "Wait."}
    run = pair.install()
    assert run.failed and "another operation is running on hv2: sync." in run.text
    assert "hv1 was not changed." in run.text and "hv2 was not changed." in run.text
    assert {check for _host, name, _told, check in run.asked if name == "hvm_agent"} == {True}
    assert "hvm_role" not in [name for _host, name, *_rest in run.asked]


def test_a_new_pair_needs_both(pair: Installation) -> None:
    pair.lose("hv2")
    run = pair.install()
    assert run.failed and "hv2 was not reached, and hv1 has never had its key: run this again when both answer." in run.text
    assert "hvm_role" not in [name for _host, name, *_rest in run.asked]


def test_what_the_inventory_leaves_open_is_taken_from_local_conf(pair: Installation) -> None:
    path = pair.directory / "local.conf"
    path.write_text("HVM_HOSTS=(hv2 hv1)\r\nHVM_SHARED_IP='192.0.2.10/24'\r\nHVM_SERVICE_IFACE=br0\r\nHVM_GATEWAY=192.0.2.1\r\n")
    pair.says(hvm_datasets=["ssd/shared"], hvm_local_conf=str(path), hvm_gateway="198.51.100.1")
    run = pair.install()
    assert not run.failed, run.text
    found = json.loads(pair.text("hv1", "etc/hvm/pair.json"))
    assert [host["name"] for host in found["hosts"]] == ["hv2", "hv1"] and found["shared_ips"] == ["192.0.2.10/24"]
    assert (found["interface"], found["gateway"]) == ("br0", "198.51.100.1")
    told = [told for host, name, told, _check in run.asked if name == "hvm_role"]
    assert {one["active"] for one in told} == {"hv2"}
