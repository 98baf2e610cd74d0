# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The older scripts' local.conf: what is understood is what a shell would make of it, anything else is named."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import typing as t

import hypothesis
import pytest
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.filter import hvm_local_conf
from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.plugin_utils import _local_conf as local_conf

PLAIN = """#!/bin/bash
# Configuration of hvm
HVM_SERVICE_IFACE=eth0
HVM_HOSTS="hv1 hv2"   # in this order
HVM_SHARED_IP='192.0.2.10/24'
export HVM_GATEWAY=192.0.2.1
"""
SAID = {"hvm_hosts": ["hv1", "hv2"], "hvm_service_iface": "eth0", "hvm_shared_ip": ["192.0.2.10/24"], "hvm_gateway": "192.0.2.1"}


def taken(one: str, other: str | None = None, host: str = "hv1", given: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
    return local_conf.take_over(
        {"hv1": one, "hv2": one if other is None else other, "hv3": ""}, host, given or {}, "/x/local.conf"
    )


def refused(*words: t.Any, **more: t.Any) -> str:
    with pytest.raises(HvmError) as error:
        taken(*words, **more)
    assert error.value.what.startswith("/x/local.conf cannot be taken over: ")
    return error.value.what.removeprefix("/x/local.conf cannot be taken over: ")


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        "\ufeff" + PLAIN,
        PLAIN.replace('"hv1 hv2"', "(hv1 'hv2')"),
        PLAIN.replace('"hv1 hv2"', "(\n  hv1  # the new one\n  hv2\n)"),
        PLAIN.replace('"hv1 hv2"', "hv1\\ hv2"),
        PLAIN.replace('"hv1 hv2"', '"hv1 \\\nhv2"'),
        PLAIN.replace("\nHVM_HOSTS", "; HVM_HOSTS"),
        PLAIN.replace("=eth0", "=eth0\nexport HVM_SERVICE_IFACE HVM_HOSTS"),
        f"{PLAIN}HVM_GATEWAY=192.0.2.1\n",
    ],
)
def test_what_a_shell_would_take_for_an_assignment_is_one(text: str) -> None:
    assert taken(text) == {"variables": SAID, "left_out": []}


def test_several_addresses_and_none() -> None:
    text = PLAIN.replace("'192.0.2.10/24'", "(192.0.2.10/24 2001:db8::10/64)").replace("=192.0.2.1\n", '=""\n')
    assert taken(text)["variables"] == {**SAID, "hvm_shared_ip": ["192.0.2.10/24", "2001:db8::10/64"], "hvm_gateway": ""}
    without = "".join(line for line in PLAIN.splitlines(True) if "GATEWAY" not in line)
    assert taken(without)["variables"] == {name: value for name, value in SAID.items() if name != "hvm_gateway"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("source other.conf", "line 7: 'source other.conf' is no plain assignment"),
        ("if [ -e /x ]; then", "line 7: 'if [ -e /x ]' is no plain assignment; hv1: line 7: 'then' is no plain assignment"),
        ("HVM_HOSTS+=(hv3)", "line 7: 'HVM_HOSTS+=(hv3)' is no plain assignment"),
        ("HVM_HOSTS[0]=hv3", "line 7: 'HVM_HOSTS[0]=hv3' is no plain assignment"),
        ("HVM_GATEWAY=$GW", "line 7: 'HVM_GATEWAY=$GW' has something in it that only a shell could fill in"),
        ("HVM_GATEWAY=`ip r`", "line 7: 'HVM_GATEWAY=`ip r`' has something in it that only a shell could fill in"),
        ("MAIL=$(unset x; echo)", "line 7: 'MAIL=$(unset x' is no plain assignment"),
        ("HVM_GATEWAY=192.0.2.1 rm -r x", "line 7: 'HVM_GATEWAY=192.0.2.1 rm -r x' is a command with a variable"),
        ("FOO=1 rm -r x", "line 7: 'FOO=1 rm -r x' is no plain assignment"),
        ("HVM_GATEWAY='192.0.2.1", "line 7: 'HVM_GATEWAY='192.0.2.1' cannot be read: no closing quotation"),
        ("HVM_GATEWAY=192.0.2.9", "line 7: HVM_GATEWAY is assigned a second time, with another value"),
        ("unset HVM_GATEWAY", "line 7: 'unset HVM_GATEWAY' is no plain assignment"),
    ],
)
def test_what_only_a_shell_could_tell_is_named_with_its_line(line: str, said: str) -> None:
    assert f"hv1: {said}" in refused(f"{PLAIN}{line}\n")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("hv1 hv2", "hv1", "HVM_HOSTS is 'hv1': it must be the names of two hosts"),
        ("hv1 hv2", "hv1,hv2", "HVM_HOSTS is 'hv1,hv2': it must be the names of two hosts"),
        ("hv1 hv2", "hv1 hv1", "HVM_HOSTS is 'hv1 hv1': it must be the names of two hosts"),
        ("=eth0", "='eth0 eth1'", "HVM_SERVICE_IFACE is 'eth0 eth1': it must be the name of one interface"),
        ("10/24", "10", "HVM_SHARED_IP is '192.0.2.10': 192.0.2.10 has no prefix length, as /24, and nothing here says it"),
        ("10/24", "10/33", "HVM_SHARED_IP is '192.0.2.10/33': "),
        ("=192.0.2.1\n", "=192.0.2.1\\;x\n", "HVM_GATEWAY is '192.0.2.1;x': "),
        ("=192.0.2.1\n", "='192.0.2.1 192.0.2.2'\n", "HVM_GATEWAY is '192.0.2.1 192.0.2.2': it must be one address"),
    ],
)
def test_values_that_no_pair_can_have_are_named_in_each_file(old: str, new: str, said: str) -> None:
    found = refused(PLAIN.replace(old, new))
    assert f"hv1: {said}" in found


def test_two_files_that_differ_are_compared_variable_by_variable() -> None:
    other = (
        PLAIN.replace("=eth0", "=eno1").replace("192.0.2.10/24", "192.0.2.11/24").replace("export HVM_GATEWAY=192.0.2.1\n", "")
    )
    assert refused(PLAIN, other) == (
        "HVM_SERVICE_IFACE is eth0 on hv1 and eno1 on hv2; HVM_SHARED_IP is 192.0.2.10/24 on hv1 and 192.0.2.11/24 on hv2; "
        "HVM_GATEWAY is 192.0.2.1 on hv1 and not set on hv2"
    )
    assert refused(PLAIN, PLAIN.replace("hv1 hv2", "hv2 hv1")) == "HVM_HOSTS is hv1 hv2 on hv1 and hv2 hv1 on hv2"
    both = {"hvm_service_iface": "eth0", "hvm_shared_ip": [], "hvm_gateway": ""}
    assert taken(PLAIN, other, given=both)["variables"] == {"hvm_hosts": ["hv1", "hv2"]}


def test_hosts_must_be_called_as_in_the_inventory() -> None:
    text = PLAIN.replace("hv1 hv2", "HOST-01 hv2")
    assert refused(text) == (
        "HVM_HOSTS names HOST-01, and the hosts of this run are hv1, hv2, hv3: call them alike in the inventory, or set "
        "hvm_hosts there"
    )
    assert taken(text, given={"hvm_hosts": ["hv2", "hv1"]})["variables"] == {k: v for k, v in SAID.items() if k != "hvm_hosts"}
    assert refused(PLAIN, PLAIN, "hv3") == "hv3: HVM_HOSTS is not set"
    strange = local_conf.take_over
    with pytest.raises(HvmError, match="HVM_HOSTS names hv1 and hv2 on hv3: which is neither of them"):
        strange(dict.fromkeys(("hv1", "hv2", "hv3"), PLAIN), "hv3", {}, "x")


def test_what_the_inventory_says_wins_and_other_variables_are_left_out_and_named() -> None:
    text = f"{PLAIN}HVM_MAIL='a b'\nHVM_LIST=(a b)\n"
    found = taken(text, given={"hvm_gateway": "198.51.100.1"})
    assert found["variables"] == {name: value for name, value in SAID.items() if name != "hvm_gateway"}
    assert found["left_out"] == [
        f"{host}: line {n}: {v}" for host in ("hv1", "hv2") for n, v in ((7, "HVM_MAIL"), (8, "HVM_LIST"))
    ]


def test_the_filter_fails_with_the_sentence() -> None:
    read = hvm_local_conf.FilterModule().filters()["hvm_local_conf"]
    assert read({"hv1": PLAIN, "hv2": PLAIN}, "hv1")["variables"] == SAID
    with pytest.raises(
        hvm_local_conf.AnsibleFilterError, match=r"local.conf cannot be taken over: hv1: HVM_HOSTS is not set.*not run"
    ):
        read({"hv1": "", "hv2": ""}, "hv1")


PIECES = st.sampled_from(
    [
        "HVM_HOSTS",
        "HVM_GATEWAY",
        "FOO",
        "=",
        "(",
        ")",
        "hv1",
        "10.0.0.1",
        " ",
        " ",
        "\n",
        "\n",
        '"',
        "'",
        "\\",
        "#",
        ";",
        "export ",
    ]
)


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
@hypothesis.settings(max_examples=100)
@hypothesis.given(st.lists(PIECES, max_size=14).map("".join))
def test_what_is_taken_is_what_bash_makes_of_it(text: str) -> None:
    """Never another value than bash's: either the same words, or a refusal."""
    found = local_conf.read(text)
    if found.wrong:
        return
    show = 'for n in HVM_HOSTS HVM_GATEWAY; do declare -n v=$n; [ -n "${v+x}" ] && echo "$n" ${v[@]}; done; true'
    script = f"unset HVM_HOSTS HVM_GATEWAY; set -f; PATH=\n{text}\n{show}"
    made = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    if made.returncode:  # no file that the scripts could have used
        return
    bash = {line.split()[0]: line.split()[1:] for line in made.stdout.splitlines()}
    assert {name: words for name, words in found.values.items() if words} == {
        name: words for name, words in bash.items() if words
    }


@hypothesis.given(st.text(max_size=60))
def test_no_text_is_too_strange(text: str) -> None:
    local_conf.read(text)
    local_conf.read(f"HVM_HOSTS={shlex.quote(text)}")
