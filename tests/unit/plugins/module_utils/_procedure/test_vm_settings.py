# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""On libvirt's own test driver: definitions and descriptions are kept by the real library."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError, Refused
from ansible_collections.hvm.pair.plugins.module_utils._libvirt import domains, guest_agent
from ansible_collections.hvm.pair.plugins.module_utils._pair.config import Host, PairConfig
from ansible_collections.hvm.pair.plugins.module_utils._procedure import vm_settings

pytest.importorskip("libvirt")

DOMAIN = """
<domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0">
  <name>{0}</name>{1}<memory>65536</memory>
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <devices><graphics type="vnc" passwd="secret"/></devices>
  <test:runstate>{2}</test:runstate>
</domain>
"""
INACTIVE = 2
DEFAULT = {"autostart": False, "priority": 99, "autobackup": True, "ready": "", "ready_timeout": 120, "delay": 0, "move": "auto"}


class Here:
    """This host: `web` runs, `db` is off."""

    def __init__(self, patch: pytest.MonkeyPatch, place: pathlib.Path) -> None:
        words = "<description>Ask Alice. prio=10</description>"
        (place / "node.xml").write_text(f"<node>{DOMAIN.format('web', words, 1)}{DOMAIN.format('db', '', 5)}</node>")
        self.conn = domains.connect(f"test://{place}/node.xml")
        self.config = PairConfig("p", Host("hv1", "hv1"), Host("hv2", "hv2"), ("ssd/shared",), str(place))
        self.place = place
        self.me: dict[str, t.Any] = {
            "host": "hv1", "peer": "hv2", "role": {"now": "ACTIVE"}, "hypervisor": {"running": True}, "lock": None,
            "vms": {"web": {"persistent": True}, "db": {"persistent": True}},
        }  # fmt: skip
        self.others = ""
        kept = self.conn  # the test driver's VMs end with their last connection

        class Open:
            def __getattr__(self, name: str) -> t.Any:
                return getattr(kept, name)

            def close(self) -> None:
                pass

        patch.setattr(vm_settings.domains, "connect", Open)
        patch.setattr(vm_settings, "observe", lambda dummy: self.me)
        patch.setattr(vm_settings.operation, "others_operation", lambda: self.others)

    def set(
        self, names: t.Sequence[str] = (), agent: bool | None = None, check: bool = False, **wanted: t.Any
    ) -> dict[str, t.Any]:
        return vm_settings.apply(self.config, names, not names, wanted, agent, check)

    def said(self, name: str, flags: int = 0) -> str:
        return str(domains.parse_xml(self.conn.lookupByName(name).XMLDesc(flags))["description"])


@pytest.fixture(name="here")
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Here:
    return Here(monkeypatch, tmp_path)


def test_one_that_runs_has_it_at_once_and_after_its_next_start(here: Here) -> None:
    done = here.set(["web"], autostart=True, priority=3)
    assert here.said("web") == here.said("web", INACTIVE) == "Ask Alice. prio=3 autostart=yes"
    assert done["actions"] == ["web: description is now 'Ask Alice. prio=3 autostart=yes'"]
    before = {**DEFAULT, "priority": 10, "agent_channel": False}
    after = {**before, "autostart": True, "priority": 3}
    assert (done["changed"], done["vms"], done["warnings"]) == (True, {"web": after}, [])
    assert done["diff"] == {"before": {"web": before}, "after": {"web": after}}


def test_the_second_run_and_check_mode_change_nothing(here: Here) -> None:
    planned = here.set(check=True, delay=20)
    assert (here.said("web"), here.said("db")) == ("Ask Alice. prio=10", "")
    done = here.set(delay=20)
    assert planned == done
    assert (done["changed"], len(done["actions"]), here.said("db")) == (True, 2, "delay=20")
    again = here.set(delay=20)
    assert (again["changed"], again["actions"], again["vms"]) == (False, [], done["vms"])


def test_a_running_vm_that_says_something_else_than_its_definition(here: Here) -> None:
    here.conn.lookupByName("web").setMetadata(0, "prio=10 delay=7", None, None, 1)
    done = here.set(["web"], priority=10, delay=0)
    assert (here.said("web"), here.said("web", INACTIVE)) == ("prio=10 delay=0", "Ask Alice. prio=10")
    assert done["actions"] == ["web: description of the running VM is now 'prio=10 delay=0'"]


def test_a_channel_for_an_agent_is_added_once_and_keeps_the_rest(here: Here) -> None:
    done = here.set(agent=True)
    assert done["actions"] == ["web: channel for an agent added", "db: channel for an agent added"]
    assert done["warnings"] == ["VM web runs: the channel for its agent changes when it is shut down and started again"]
    for name in ("web", "db"):
        xml = here.conn.lookupByName(name).XMLDesc(INACTIVE | 1)
        assert guest_agent.channel(xml) == guest_agent.DISCONNECTED
        assert 'passwd="secret"' in xml or "passwd='secret'" in xml
    assert here.said("web", INACTIVE) == "Ask Alice. prio=10"
    assert here.set(agent=True)["changed"] is False
    assert here.set(["db"], agent=False)["actions"] == ["db: channel for an agent removed"]
    assert guest_agent.channel(here.conn.lookupByName("db").XMLDesc(INACTIVE)) == guest_agent.NONE


def test_channel_and_words_together(here: Here) -> None:
    here.set(["db"], agent=True, autostart=True, check=True)
    assert here.said("db") == ""
    here.set(["db"], agent=True, autostart=True)
    assert here.said("db") == "autostart=yes"
    assert guest_agent.channel(here.conn.lookupByName("db").XMLDesc(INACTIVE)) == guest_agent.DISCONNECTED


def test_what_no_description_can_say_is_refused_before_anything_is_done(here: Here) -> None:
    with pytest.raises(Refused) as caught:
        here.set(priority=100, delay=-1, ready_timeout=0, ready="tcp:db")
    assert [finding.what for finding in caught.value.findings] == [
        "priority is 100", "ready_timeout is 0", "delay is -1", "ready is 'tcp:db'"
    ]  # fmt: skip
    for ready in ("agent", "tcp:db.lan:5432", "tcp:[2001:db8::5]:22", ""):
        vm_settings.check({"ready": ready})


def test_every_vm_that_cannot_be_changed_is_named_and_none_is(here: Here) -> None:
    here.me["vms"]["db"]["persistent"] = False
    (here.place / "web.state").write_bytes(b"LibvirtQemudSave")
    here.others, here.me["lock"] = "migrate_secure", "migrate_secure by alice"
    with pytest.raises(Refused) as caught:
        here.set(priority=1)
    assert [finding.what for finding in caught.value.findings] == [
        "another operation is running: migrate_secure by alice",
        "VM web has a state image, which brings its own definition back",
        "VM db is transient: it has no definition to change",
    ]
    assert here.said("web") == "Ask Alice. prio=10"


def test_where_no_vm_can_be_changed(here: Here) -> None:
    with pytest.raises(Refused, match="there is no VM wbe"):
        here.set(["wbe"], priority=1)
    here.me["hypervisor"]["running"] = False
    with pytest.raises(HvmError, match="the hypervisor is stopped"):
        here.set(priority=1)
    here.me["role"]["now"] = "PASSIVE"
    with pytest.raises(Refused, match="only the ACTIVE one can change VMs"):
        here.set(priority=1)
