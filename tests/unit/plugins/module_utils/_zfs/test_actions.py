# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import typing as t

import pytest

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import actions, kernel, plan
from ansible_collections.hvm.pair.plugins.module_utils._zfs.inventory import not_inert
from ansible_collections.hvm.pair.plugins.module_utils._zfs.plan import Step


class Host:
    """`run` of a host: notes the commands; answers by how they begin, with a text or an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: str | CommandError) -> None:
        """:param answers: first words, joined by underscores -> what it prints."""
        self.commands: list[list[str]] = []
        self.answers = {tuple(words.split("_")): answer for words, answer in answers.items()}
        monkeypatch.setattr(actions, "run", self)
        monkeypatch.setattr(kernel, "run", self)
        monkeypatch.setattr(actions, "existing", self.existing)
        self.there: set[str] = set()

    def existing(self, datasets: t.Sequence[str]) -> list[str]:
        return [name for name in datasets if name in self.there]

    def __call__(self, command: t.Sequence[str], **dummy: t.Any) -> str:
        self.commands.append(list(command))
        for words, answer in self.answers.items():
            if tuple(command[: len(words)]) == words:
                if isinstance(answer, CommandError):
                    raise answer
                return answer
        return ""


def failed(stderr: str, stdout: str = "") -> CommandError:
    return CommandError(["zfs"], 1, stdout, stderr)


# What is run for a stream


SENT: dict[str, tuple[Step, str]] = {
    "a full one": (Step("d/my vms", None, "s", False, False), "zfs send -L -c -e|d/my vms@s"),
    "a full raw one": (Step("d/my vms", None, "s", False, True), "zfs send -L -w|d/my vms@s"),
    "all in between": (Step("d/my vms", "a", "s", True, False), "zfs send -L -c -e -I @a|d/my vms@s"),
    "all in between, raw": (Step("d/my vms", "a", "s", True, True), "zfs send -L -w -I @a|d/my vms@s"),
    "from a bookmark": (Step("d/my vms", "#a", "s", False, False), "zfs send -L -c -e -i|d/my vms#a|d/my vms@s"),
    "from a bookmark, raw": (Step("d/my vms", "#a", "s", False, True), "zfs send -L -w -i|d/my vms#a|d/my vms@s"),
    "a cut one": (Step("d/my vms", "a", "s", False, False, "1-abc"), "zfs send -t 1-abc"),
    "a cut raw one": (Step("d/my vms", None, "s", False, True, "1-abc"), "zfs send -t 1-abc"),
}


def words(text: str) -> list[str]:
    first, *rest = text.split("|")
    return [*first.split(), *rest]


@pytest.mark.parametrize(("step", "command"), SENT.values(), ids=SENT)
def test_what_sends_a_step(step: Step, command: str) -> None:
    assert actions.send_command(step) == words(command)


RECEIVED = [
    (("d/a", False, False, False), "zfs receive -u -s|d/a"),
    (("d/a", False, False, True), "zfs receive -u -s|d/a"),
    (("d/a", False, True, False), "zfs receive -u -s|d/a"),
    (("d/a", True, False, False), "zfs receive -u -s -o canmount=noauto|d/a"),
    (("d/a", True, True, False), "zfs receive -u -s|d/a"),
    (
        ("d/my vms", True, False, True),
        "zfs receive -u -s -o canmount=noauto -o readonly=on -o volmode=none -o mountpoint=none|d/my vms",
    ),
    (("d/a", True, True, True), "zfs receive -u -s -o readonly=on -o volmode=none|d/a"),
]


@pytest.mark.parametrize(("arguments", "command"), RECEIVED)
def test_what_receives_a_stream_is_inert_resumable_and_never_forced(
    arguments: tuple[str, bool, bool, bool], command: str
) -> None:
    assert actions.receive_command(*arguments) == words(command)
    assert "-F" not in actions.receive_command(*arguments)


SAID = {
    "cannot receive new filesystem stream: out of space": "Free space on hv2",
    "cannot receive incremental stream: destination d/a space quota exceeded.": "Free space on hv2",
    "cannot receive incremental stream: destination d/a has been modified\nsince most recent snapshot": "set_aside [d/a]",
    "cannot receive incremental stream: dataset is busy": "Something on hv2 uses the dataset",
    "cannot receive: failed to read from stream": "it goes on where it was cut",
    "cannot receive incremental stream: checksum mismatch or incomplete stream.": "it goes on where it was cut",
    "cannot receive: invalid stream (bad magic number)": "The stream was damaged",
    "cannot receive: stream has unsupported feature, feature flags = 4": "lacks a feature",
}


@pytest.mark.parametrize(("said", "remedy"), SAID.items())
def test_a_receive_that_failed_has_a_remedy(said: str, remedy: str) -> None:
    found = actions.receive_remedy(said, "hv2", "d/a")
    assert remedy in found
    assert "{" not in found and found.endswith(".")


def test_what_nobody_has_thought_of_has_none() -> None:
    assert actions.receive_remedy("cannot receive: the moon is full", "hv2", "d/a") == ""


# How large a stream is


STEP = Step("d/a", "a", "s", False, False)


@pytest.mark.parametrize(
    ("out", "size"),
    [
        ("incremental\td/a@a\td/a@s\t624\nsize\t12345\n", 12345),
        ("full\td/size 7@s\t1\nsize 88\n", 88),
        ("", None),
        ("size\t-\n", None),
        ("incremental\td/a@size\td/a@s\n", None),
    ],
)
def test_the_estimate_is_the_last_word_of_the_size(monkeypatch: pytest.MonkeyPatch, out: str, size: int | None) -> None:
    host = Host(monkeypatch, zfs_send=out)
    assert actions.estimate(STEP) == size
    assert host.commands == [["zfs", "send", "-nP", "-L", "-c", "-e", "-I", "@a", "d/a@s"]]


def test_an_estimate_changes_nothing_and_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, zfs_send=failed("cannot open 'd/a@a'"))
    assert actions.estimate(Step("d/a", "#a", "s", False, True, "1-abc")) is None
    assert host.commands == [["zfs", "send", "-nP", "-t", "1-abc"]]


# Resume tokens, as `zfs send -nvt` prints them


TOKEN = """resume token contents:
nvlist version: 0
\tfromguid = 0xe0b3a4c2b7a4d7a1
\tobject = 0x80
\toffset = 0x40000
\tbytes = 0x10c5f8
\ttoguid = 0x6cb2f5dc52f4a7e6
\ttoname = ssd/shared/my vms@hvm_20261123T094512Z_office_B
\tcompressok = 1
\trawok = 1
full send of ssd/shared/my vms@hvm_20261123T094512Z_office_B estimated size is 10.1M
total estimated size is 10.1M
"""


def test_a_token_is_read_with_its_numbers_as_the_inventories_write_them() -> None:
    assert actions.parse_token(TOKEN) == {
        "fromguid": "16191466241538709409",
        "object": "128",
        "offset": "262144",
        "bytes": "1099256",
        "toguid": "7832593028584089574",
        "toname": "ssd/shared/my vms@hvm_20261123T094512Z_office_B",
        "compressok": "1",
        "rawok": "1",
    }
    assert actions.parse_token("cannot resume send: unable to find snapshot\n") == {}


def test_a_token_whose_snapshots_are_gone_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """zfs prints what it holds, then fails: that is how it is found not to fit."""
    host = Host(monkeypatch, zfs_send=failed("cannot resume send: 'd/a@s' used in the initial send no longer exists", TOKEN))
    found = actions.decode_token("1-abc")
    assert found and found["toguid"] == "7832593028584089574"
    assert host.commands == [["zfs", "send", "-nvt", "1-abc"]]


@pytest.mark.parametrize("answer", ["", failed("cannot resume send: resume token is corrupt (invalid checksum)")])
def test_a_token_that_cannot_be_read_is_none(monkeypatch: pytest.MonkeyPatch, answer: str | CommandError) -> None:
    Host(monkeypatch, zfs_send=answer)
    assert actions.decode_token("1-abc") is None


def test_a_token_that_was_read_fits_its_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of it and the text of the inventories speak of GUIDs in the same way."""
    name = "ssd/shared/my vms"
    snaps = [["a", "16191466241538709409", 1], ["hvm_20261123T094512Z_office_B", "7832593028584089574", 2]]
    props = {"receive_resume_token": ["1-abc", "-"], "encryption": ["aes-256-gcm", "-"], "written": ["0", "-"]}
    source = {name: {"type": "filesystem", "props": {**props, "receive_resume_token": ["-", "-"]}, "snapshots": snaps}}
    target = {name: {"type": "filesystem", "props": props, "snapshots": snaps[:1]}}
    Host(monkeypatch, zfs_send=TOKEN)
    token = actions.decode_token("1-abc")
    assert token is not None
    made = plan.plan(source, target, snaps[1][0], "hv2", {name: token})
    assert [(step.token, step.snapshot) for step in made.steps] == [("1-abc", snaps[1][0])]
    assert made.aborts == []


# What is there of a set


def test_a_set_is_found_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, zfs_list="d/a@s\t123\t7\nd/my vms@s\t456\t8\n")
    assert actions.find_set(["d/a", "d/my vms"], "s") == {"d/a": ["123", 7], "d/my vms": ["456", 8]}
    assert host.commands[0][-2:] == ["d/a@s", "d/my vms@s"]


def test_a_set_that_is_missing_somewhere_is_found_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    Host(monkeypatch, zfs_list=failed("cannot open 'd/b@s': dataset does not exist", "d/a@s\t123\t7\n"))
    assert actions.find_set(["d/a", "d/b"], "s") == {"d/a": ["123", 7]}


def test_any_other_error_is_no_set_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    Host(monkeypatch, zfs_list=failed("cannot open 'd/b@s': I/O error", "d/a@s\t123\t7\n"))
    with pytest.raises(CommandError, match="I/O error"):
        actions.find_set(["d/a", "d/b"], "s")


def test_no_dataset_has_no_set_and_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    assert actions.find_set([], "s") == {}
    assert host.commands == []  # `zfs list` without a name lists everything


# Dropping, renaming, moving out of the way


def test_a_half_received_stream_is_dropped_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    actions.abort_receive("d/a")
    assert host.commands == [["zfs", "receive", "-A", "d/a"]]


@pytest.mark.parametrize(("kind", "options"), [("volume", []), ("filesystem", ["-u"])])
def test_a_rename_mounts_nothing(monkeypatch: pytest.MonkeyPatch, kind: str, options: list[str]) -> None:
    """zfs rename -u is for filesystems only (zfs-rename(8))."""
    host = Host(monkeypatch, zfs_get=f"{kind}\n")
    actions.rename("d/old", "d/new")
    assert host.commands[-1] == ["zfs", "rename", *options, "d/old", "d/new"]


def test_a_replica_is_set_aside_inert_before_it_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, zfs_get="filesystem\n")
    kept = actions.set_aside("d/r/my vms/a", "20261123T094512Z", "office")
    assert kept == "d/hvm-kept/r-my vms-a-20261123T094512Z"
    verbs = [command[1] for command in host.commands if command[1] != "get"]
    assert verbs == ["create", "set", "rename"]
    create, change, rename = [command for command in host.commands if command[1] != "get"]
    assert create[-1] == "d/hvm-kept" and "mountpoint=none" in create and "canmount=off" in create
    assert {"readonly=on", "volmode=none"} <= set(change) and change[-1] == "d/r/my vms/a"
    assert any(word.endswith("=d/r/my vms/a") for word in change)  # its name is kept too
    assert rename == ["zfs", "rename", "-u", "d/r/my vms/a", kept]


def test_one_that_cannot_be_set_aside_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be read-only, and without a device, when this host is ACTIVE."""
    before = "readonly\ton\tlocal\nvolmode\tdefault\tinherited from d\n" + "".join(
        f"{name}\t-\t-\n" for name in (actions.KEPT, actions.KEPT_BY, actions.KEPT_WAS)
    )
    host = Host(monkeypatch, zfs_get=before, zfs_rename=failed("out of space"))
    host.there.add("d/hvm-kept")
    with pytest.raises(CommandError, match="out of space"):
        actions.set_aside("d/r/a", "20261123T094512Z", "office")
    last = [" ".join(command) for command in host.commands][-5:]
    assert last[:2] == ["zfs set readonly=on d/r/a", "zfs inherit volmode d/r/a"]
    assert [command.split()[1] for command in last[2:]] == ["inherit"] * 3


def test_the_place_for_what_is_set_aside_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, zfs_get="volume\n")
    host.there.add("d/hvm-kept")
    actions.set_aside("d/r", "20261123T094512Z", "office")
    assert "create" not in [command[1] for command in host.commands]


def test_what_cannot_be_made_inert_is_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, zfs_set=failed("permission denied"))
    with pytest.raises(CommandError, match="permission denied"):
        actions.set_aside("d/r", "20261123T094512Z", "office")
    assert "rename" not in [command[1] for command in host.commands]


# Snapshots and pools


def test_a_set_is_one_command_for_each_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    actions.snapshot_set({"d/r": {}, "e/s": {}, "d/r/my vms": {}}, "s", {"hvm:pair": "office"})
    assert sorted(host.commands) == [
        ["zfs", "snapshot", "-o", "hvm:pair=office", "d/r@s", "d/r/my vms@s"],
        ["zfs", "snapshot", "-o", "hvm:pair=office", "e/s@s"],
    ]


def test_what_the_other_pools_took_of_a_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)

    def run(command: t.Sequence[str]) -> str:
        if command[-1] == "e/s@s":
            raise failed("cannot create snapshots : out of space")
        return host(command)

    monkeypatch.setattr(actions, "run", run)
    with pytest.raises(CommandError, match="out of space") as caught:
        actions.snapshot_set(["e/s", "d/r", "f/t", "d/r/my vms"], "s", {})
    assert caught.value.details["half"] == ["d/r@s", "d/r/my vms@s", "f/t@s"]


def test_a_pool_that_is_not_imported_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "KSTAT", "/nowhere")
    Host(monkeypatch, zpool_list="ssd\tONLINE\nother\tDEGRADED\n")
    assert kernel.pool_health(["ssd", "rot"]) == {"ssd": "ONLINE", "rot": "missing"}


def test_the_kernel_says_the_same_of_pools_without_a_process(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(kernel, "KSTAT", str(tmp_path))
    for pool, state in (("ssd", "ONLINE\n"), ("other", "DEGRADED\n")):
        (tmp_path / pool).mkdir()
        (tmp_path / pool / "state").write_text(state)
    host = Host(monkeypatch)
    assert kernel.pool_health(["ssd", "rot", "other"]) == {"ssd": "ONLINE", "rot": "missing", "other": "DEGRADED"}
    assert host.commands == []


# Inert


def dataset(kind: str = "filesystem", **props: tuple[str, str]) -> dict[str, t.Any]:
    found = {"readonly": ("on", "inherited"), "volmode": ("none", "inherited"), "mounted": ("no", "-"), **props}
    return {"type": kind, "props": {name: list(value) for name, value in found.items()}, "snapshots": []}


def test_inert_is_set_at_the_roots_and_inherited_by_what_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = {
        "d/r": dataset(readonly=("off", "local"), volmode=("dev", "local")),
        "d/r/a": dataset(readonly=("off", "local")),
        "d/r/b": dataset("volume", readonly=("off", "inherited"), volmode=("full", "received")),
        "d/r/c": dataset(readonly=("on", "local"), volmode=("-", "-")),
    }
    host = Host(monkeypatch)
    actions.make_inert(["d/r", "e/s"], inventory)
    assert host.commands == [
        ["zfs", "inherit", "readonly", "d/r/a"],
        ["zfs", "inherit", "volmode", "d/r/b"],
        ["zfs", "set", "readonly=on", "volmode=none", "d/r"],
    ]


def test_what_is_not_inert_is_named() -> None:
    inventory = {
        "d/r": dataset(),
        "d/r/a": dataset(mounted=("yes", "-")),
        "d/r/b": dataset("volume", volmode=("dev", "local")),
        "d/r/c": dataset(volmode=("dev", "local")),  # no volume: no device
        "d/r/d": dataset(readonly=("off", "local")),
    }
    assert not_inert(inventory) == [
        "d/r/a is mounted",
        "d/r/b has a device (volmode=dev)",
        "d/r/d is writable",
    ]


def test_what_is_mounted_otherwise_is_unmounted_too_innermost_first(monkeypatch: pytest.MonkeyPatch) -> None:
    noauto = {"canmount": ("noauto", "local")}
    inventory = {
        "d/r": dataset(mountpoint=("/srv", "local"), **noauto),
        "d/r/in": dataset(mountpoint=("/srv/my iso/in", "local"), **noauto),
        "d/r/off": dataset(mountpoint=("/off", "local"), **noauto),
        "d/r/iso": dataset(mountpoint=("/srv/my iso", "local"), canmount=("on", "default")),
        "d/r/old": dataset(mountpoint=("legacy", "local")),
    }
    mounts = [("d/r", "/srv"), ("d/r/iso", "/srv/my iso"), ("d/r/in", "/srv/my iso/in"), ("d/r/old", "/old"), ("d/x", "/x")]
    there = {point for dummy, point in mounts}
    host = Host(monkeypatch)

    def unmount(command: t.Sequence[str], *dummy: t.Any, **options: t.Any) -> str:
        host.commands.append(list(command))
        point = dict(mounts).get(command[-1], command[-1])
        if any(other.startswith(f"{point}/") for other in there):
            raise failed("target is busy")
        there.remove(point)
        return ""

    monkeypatch.setattr(actions, "run", unmount)
    monkeypatch.setattr(actions, "zfs_mounts", lambda: [mount for mount in mounts if mount[1] in there])
    monkeypatch.setattr(actions, "topmost", {point: name for name, point in mounts}.get)
    monkeypatch.setattr(actions.os.path, "ismount", lambda point: point in there)
    actions.unmount_all(inventory, attempts=1)
    assert there == {"/x"}
    assert host.commands == [
        ["zfs", "unmount", "d/r/in"],
        ["umount", "/srv/my iso"],
        ["zfs", "unmount", "d/r"],
        ["umount", "/old"],
    ]


@pytest.mark.parametrize(
    ("there", "left", "said"),
    [
        ([("t/x", "/b"), ("d/r", "/b"), ("d/r", "/b")], [("t/x", "/b")], ""),  # another one beneath stays
        ([("d/r", "/b"), ("t/x", "/b")], [("d/r", "/b"), ("t/x", "/b")], "/b (d/r) cannot be unmounted: t/x is mounted over it"),
        ([("d/r", "/a"), ("d/r", "/b")], [], ""),
        ([("d/s", "/b"), ("d/r", "/b")], [], ""),
        ([("d/r", "/b"), ("d/s", "/b")], [], ""),
        ([("d/s", "/a")], [], ""),
    ],
)
def test_what_is_mounted_elsewhere_is_unmounted_and_nothing_else_at_its_place(
    monkeypatch: pytest.MonkeyPatch, there: list[tuple[str, str]], left: list[tuple[str, str]], said: str
) -> None:
    def unmount(command: t.Sequence[str], **dummy: t.Any) -> str:
        gone = command[-1] if command[0] == "umount" else "/a"
        there.remove([one for one in there if one[1] == gone][-1])
        return ""

    monkeypatch.setattr(actions, "run", unmount)
    monkeypatch.setattr(actions, "zfs_mounts", lambda: list(there))
    monkeypatch.setattr(actions, "topmost", lambda point: [source for source, at in there if at == point][-1])
    # a bind mount within one dataset has the device of its parent: os.path.ismount says no
    monkeypatch.setattr(actions.os.path, "ismount", lambda point: point == "/a" and any(at == "/a" for dummy, at in there))
    inventory = {"d/r": dataset(mountpoint=("/a", "local"), canmount=("noauto", "local")), "d/s": dataset()}
    with pytest.raises(HvmError, match="is mounted over it") if said else contextlib.nullcontext() as caught:
        actions.unmount_all(inventory)
    assert there == left and (caught is None or str(caught.value).startswith(said))


def test_mounts_of_the_datasets_that_nobody_makes_here(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    noauto = {"canmount": ("noauto", "local")}
    inventory = {
        "d/r": dataset(mountpoint=("/srv", "local"), **noauto),
        "d/r/link": dataset(mountpoint=(f"{link}/in", "local"), **noauto),
        "d/r/iso": dataset(mountpoint=("/iso", "local"), canmount=("on", "default")),
    }
    mounts = [("d/r", "/srv"), ("d/r", "/export"), ("d/r/link", f"{tmp_path}/in"), ("d/r/iso", "/iso"), ("d/x", "/x")]
    monkeypatch.setattr(actions, "zfs_mounts", lambda: mounts)
    assert actions.mounted_elsewhere(inventory) == [("d/r", "/export"), ("d/r/iso", "/iso")]


# A receive that is still running


@contextlib.contextmanager
def running(tmp_path: pathlib.Path, *command: str) -> t.Iterator[int]:
    """A process with that command line: a shell that takes the second word for its script, which waits."""
    (tmp_path / command[1]).write_text("read line")
    process = subprocess.Popen(command, executable="/bin/sh", cwd=tmp_path, stdin=subprocess.PIPE)
    try:
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def test_a_receive_below_the_datasets_is_seen_while_it_runs(tmp_path: pathlib.Path) -> None:
    with (
        running(tmp_path, "/usr/sbin/zfs", "receive", "-u", "-s", "d/r/my vms") as one,
        running(tmp_path, "zfs", "recv", "d/r") as two,
        running(tmp_path, "zfs", "receive", "d/rr"),
        running(tmp_path, "zfs", "send", "d/r"),
        running(tmp_path, "other", "receive", "d/r/a"),
    ):
        assert kernel.receivers(["d/r", "e/s"]) == {one: "d/r/my vms", two: "d/r"}
        assert kernel.receivers(["e/s"]) == {}
    assert kernel.receivers(["d/r"]) == {}


# A replica that is in use


MOUNTS = """sysfs /sys sysfs rw,nosuid 0 0
d/r /srv zfs rw 0 0
d/my\\040vms /srv/my\\040\\134vms zfs rw,xattr 0 0
d/other /mnt ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("dataset", "why"),
    [
        ("d/r", "d/r is mounted at /srv"),
        ("d/my vms", "d/my vms is mounted at /srv/my \\vms"),
        ("d/other", ""),  # a device of that name that is no dataset
        ("d", ""),
        ("d/r/a", ""),
        ("d/volume", "d/volume has a device: /dev/zvol/d/volume"),
    ],
)
def test_what_is_mounted_or_has_a_device_takes_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, dataset: str, why: str
) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    monkeypatch.setattr(actions.os.path, "exists", lambda path: path == "/dev/zvol/d/volume")
    assert actions.in_use(dataset, str(tmp_path / "mounts")) == why


# What was written since


def test_what_was_written_since_a_snapshot_and_nothing_of_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "d/my vms\twritten@a\t0\nd/my vms\twritten@b\t8192\nd/x\twritten@a\t-\n"
    host = Host(monkeypatch, zfs_get=lines)
    assert actions.written_since(["d/my vms", "d/x"], ["a", "b"]) == {"d/my vms": {"a": 0, "b": 8192}}
    assert host.commands == [["zfs", "get", "-Hp", "-o", "name,property,value", "written@a,written@b", "d/my vms", "d/x"]]
    Host(monkeypatch, zfs_get=failed("cannot open 'd/y': dataset does not exist", lines))
    assert actions.written_since(["d/my vms", "d/y"], ["a"])["d/my vms"]["a"] == 0
    Host(monkeypatch, zfs_get=failed("no pools"))
    with pytest.raises(CommandError):
        actions.written_since(["d"], ["a"])


def test_thousands_of_snapshots_are_more_than_one_argument_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def zfs(command: t.Sequence[str], *dummy: t.Any, **options: t.Any) -> str:
        asked.append(command[5])
        return "".join(f"d\t{name}\t0\n" for name in command[5].split(","))

    monkeypatch.setattr(actions, "run", zfs)
    names = [f"hvm_20261125T040000Z_{'o' * 60}_{number}_B" for number in range(5000)]
    assert sorted(actions.written_since(["d"], names)["d"]) == sorted(names)
    assert max(map(len, asked)) < 128 << 10
