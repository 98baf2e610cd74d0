# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pathlib
import random
import socket
import stat
import threading
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import CommandError, HvmError
from ansible_collections.hvm.pair.plugins.module_utils._zfs import content

Deed = t.Callable[[pathlib.Path], None]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away and makes devices")


def fill(top: pathlib.Path, order: int = 0) -> pathlib.Path:
    """A tree of every kind; made in another order for each `order`."""
    top.mkdir(parents=True)
    deeds: list[Deed] = [
        lambda top: (top / "image").write_bytes(bytes(range(256)) * 20),
        lambda top: (top / "empty file").write_bytes(b""),
        lambda top: (top / "dir" / "sub").mkdir(parents=True),
        lambda top: (top / "empty dir").mkdir(),
        lambda top: (top / "link").symlink_to("dir/sub"),
        lambda top: (top / "dangling").symlink_to("nowhere"),
        lambda top: (top / "Größe").write_bytes(b"5"),
        lambda top: pathlib.Path(os.fsdecode(os.fsencode(top) + b"/latin\xff1")).write_bytes(b"6"),
        lambda top: os.mkfifo(top / "fifo"),
    ]
    random.Random(order).shuffle(deeds)
    for deed in deeds:
        deed(top)
    (top / "dir" / "sub" / "file").write_bytes(b"deep")
    (top / "dir" / "second").write_bytes(b"second")
    return top


@pytest.fixture(name="top")
def _top(tmp_path: pathlib.Path) -> pathlib.Path:
    return fill(tmp_path / "top")


# Equal trees


def test_neither_the_order_of_creation_nor_the_place_nor_the_time_matters(tmp_path: pathlib.Path) -> None:
    digests = set()
    for order in range(4):
        top = fill(tmp_path / f"place {order}" / ("deeper" * order or "top"), order)
        os.utime(top / "image", (order, order))
        digests.add(content.tree(str(top)))
    assert len(digests) == 1


def test_the_order_in_which_a_directory_lists_its_names_does_not_matter(
    top: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is that of hashes in ZFS, and another on each host."""
    for name in "abcdef":
        (top / "dir" / name).mkdir()
        (top / "dir" / name / "file").write_text(name)
    expected = content.tree(str(top))
    scandir = os.scandir

    class Shuffled:
        def __init__(self, path: bytes) -> None:
            with scandir(path) as found:
                entries = list(found)
            random.Random(len(entries)).shuffle(entries)
            self.entries = iter(entries)

        def __enter__(self) -> t.Any:
            return self

        def __exit__(self, *dummy: t.Any) -> None:
            pass

        def __iter__(self) -> t.Any:
            return self

        def __next__(self) -> t.Any:
            return next(self.entries)

    monkeypatch.setattr(os, "scandir", Shuffled)
    assert content.tree(str(top)) == expected


def test_reading_does_not_change_it(top: pathlib.Path) -> None:
    assert content.tree(str(top)) == content.tree(str(top))


# Every difference


def swap_contents(top: pathlib.Path) -> None:
    (top / "dir/second").write_bytes(b"deep")
    (top / "dir/sub/file").write_bytes(b"second")


def retarget(top: pathlib.Path) -> None:
    (top / "link").unlink()
    (top / "link").symlink_to("dir/su")


def link_to_copy(top: pathlib.Path) -> None:
    (top / "link").unlink()
    (top / "link").mkdir()
    (top / "link/file").write_bytes(b"deep")


def file_to_link(top: pathlib.Path) -> None:
    (top / "dir/second").unlink()
    (top / "dir/second").symlink_to("second")


def flip_a_bit(top: pathlib.Path) -> None:
    data = bytearray((top / "image").read_bytes())
    data[-1] ^= 1
    (top / "image").write_bytes(data)


def fifo_to_socket(top: pathlib.Path) -> None:
    os.unlink(top / "fifo")
    here = os.getcwd()
    os.chdir(top)  # the path of a socket is short
    try:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as one:
            one.bind("fifo")
        os.chmod("fifo", 0o644)
    finally:
        os.chdir(here)


CHANGES: dict[str, Deed] = {
    "a name": lambda top: (top / "image").rename(top / "imagf"),
    "a name's case": lambda top: (top / "image").rename(top / "Image"),
    "a name that is no text": lambda top: os.rename(os.fsencode(top) + b"/latin\xff1", os.fsencode(top) + b"/latin\xfe1"),
    "a directory's name": lambda top: (top / "empty dir").rename(top / "another dir"),
    "a place": lambda top: (top / "dir/second").rename(top / "second"),
    "a mode": lambda top: (top / "image").chmod(0o600),
    "a setuid bit": lambda top: (top / "image").chmod(0o4644),
    "a directory's mode": lambda top: (top / "dir").chmod(0o700),
    "the mode of the top": lambda top: top.chmod(0o700),
    "longer": lambda top: (top / "image").write_bytes((top / "image").read_bytes() + b"\0"),
    "shorter by zeros": lambda top: (top / "empty file").write_bytes(b"\0"),
    "one bit": flip_a_bit,
    "two contents changed places": swap_contents,
    "a link's target": retarget,
    "a link that is a directory": link_to_copy,
    "a file that is a link": file_to_link,
    "a pipe that is a socket": fifo_to_socket,
    "an empty directory less": lambda top: (top / "empty dir").rmdir(),
    "an empty directory more": lambda top: (top / "dir/sub/new").mkdir(),
    "an empty file less": lambda top: (top / "empty file").unlink(),
    "a dangling link less": lambda top: (top / "dangling").unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_difference_is_seen(top: pathlib.Path, change: Deed) -> None:
    before = content.tree(str(top))
    change(top)
    assert content.tree(str(top)) != before


@as_root
@pytest.mark.parametrize("path", [".", "image", "dir", "dangling", "fifo"])
@pytest.mark.parametrize(("uid", "gid"), [(1, -1), (-1, 1)])
def test_every_owner_is_seen(top: pathlib.Path, path: str, uid: int, gid: int) -> None:
    before = content.tree(str(top))
    os.lchown(top / path, uid, gid)
    assert content.tree(str(top)) != before


@as_root
def test_the_numbers_of_a_device_are_seen(top: pathlib.Path) -> None:
    found = set()
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        for minor in (1, 2):
            try:
                os.mknod(top / "device", kind | 0o600, os.makedev(1, minor))
            except PermissionError:
                pytest.skip("no devices in this container")
            found.add(content.tree(str(top)))
            (top / "device").unlink()
    assert len(found) == 4


def test_a_target_cannot_look_like_the_next_entry(tmp_path: pathlib.Path) -> None:
    """One tree with two links, and one with a link to what the second one's entry would be put down as."""
    one, two = tmp_path / "one", tmp_path / "two"
    for top in (one, two):
        top.mkdir()
    (one / "a").symlink_to("x")
    (one / "b").symlink_to("y")
    info = os.lstat(one / "b")
    for forged in (
        repr((b"b", info.st_mode, info.st_uid, info.st_gid, b"y")),
        repr(("b", stat.S_IFLNK, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)) + "y",
    ):
        (two / "a").unlink(missing_ok=True)
        (two / "a").symlink_to("x" + forged)
        assert content.tree(str(one)) != content.tree(str(two))


NAMES = st.sampled_from(["a", "b", "ab", "a b", "ß"])
TREES: st.SearchStrategy[t.Any] = st.recursive(
    st.one_of(st.binary(max_size=3), st.tuples(NAMES)), lambda below: st.dictionaries(NAMES, below, max_size=4), max_leaves=8
)


def make(top: bytes, tree: t.Any) -> None:
    """bytes: a file; a tuple: a link to its name; a dict: a directory."""
    if isinstance(tree, dict):
        os.mkdir(top)
        for name, below in tree.items():
            make(top + b"/" + name.encode(), below)
    elif isinstance(tree, tuple):
        os.symlink(tree[0], top)
    else:
        with open(top, "wb") as handle:
            handle.write(tree)


@settings(max_examples=40)
@given(st.dictionaries(NAMES, TREES, max_size=4), st.dictionaries(NAMES, TREES, max_size=4))
def test_two_trees_have_one_digest_just_when_they_are_equal(
    tmp_path_factory: pytest.TempPathFactory, one: t.Any, two: t.Any
) -> None:
    top = os.fsencode(tmp_path_factory.mktemp("trees", numbered=True))
    make(top + b"/1", one)
    make(top + b"/2", two)
    assert (content.tree(os.fsdecode(top + b"/1")) == content.tree(os.fsdecode(top + b"/2"))) == (one == two)


# What cannot be read; how far it is


def test_a_directory_that_cannot_be_read_is_not_left_out(top: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an I/O error, which hits root too: both hosts' digests would lack what is below."""
    scandir = os.scandir

    def damaged(path: bytes) -> t.Any:
        if path.endswith(b"/dir"):
            raise OSError(errno.EIO, "Input/output error", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", damaged)
    with pytest.raises(HvmError, match=f"{top}/dir cannot be read: Input/output error") as caught:
        content.tree(str(top))
    assert caught.value.remedy == "Look at 'zpool status -v' on that host."


def test_a_tree_that_is_not_there_is_no_empty_tree(tmp_path: pathlib.Path) -> None:
    with pytest.raises(HvmError, match=f"{tmp_path}/none cannot be read: No such file"):
        content.tree(str(tmp_path / "none"))


def test_the_bytes_read_so_far_are_those_of_all_files(tmp_path: pathlib.Path) -> None:
    for name, size in (("a", 10), ("b", content.CHUNK + 5), ("c", 0)):
        (tmp_path / name).write_bytes(bytes(size))
    seen: list[int] = []
    content.tree(str(tmp_path), seen.append)
    assert seen == [10, 10 + content.CHUNK, 10 + content.CHUNK + 5]


# How a snapshot is got at


class Host:
    """`run` of a host with ZFS: what was run, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *clones: str) -> None:
        self.commands: list[list[str]] = []
        self.clones = set(clones)
        self.busy = 0
        self.on_mount: Deed = lambda dummy: None
        monkeypatch.setattr(content, "run", self)
        monkeypatch.setattr(content, "existing", lambda names: [name for name in names if name in self.clones])
        monkeypatch.setattr(content.time, "sleep", lambda dummy: None)

    def __call__(self, command: list[str]) -> str:
        self.commands.append(command)
        if command[0] == "mount":
            self.on_mount(pathlib.Path(command[-1]))
        elif command[0] == "umount":
            for path in pathlib.Path(command[-1]).iterdir():
                path.unlink()
        elif command[1] == "clone":
            assert command[-1] not in self.clones
            self.clones.add(command[-1])
        elif command[1] == "destroy":
            assert len(command) == 3 and "@" not in command[2]
            if self.busy:
                self.busy -= 1
                raise CommandError(command, 1, "", "dataset is busy")
            self.clones.remove(command[2])
        return ""


def test_a_filesystem_is_read_where_its_snapshot_is_mounted_read_only(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(monkeypatch)
    host.on_mount = lambda path: (path / "file").write_text("x")
    (tmp_path / "file").write_text("x")
    tmp_path.chmod(0o700)  # as the directory is that stands for the mount
    assert content.digest("d/my vms", "s", volume=False) == content.tree(str(tmp_path))
    (mount, umount) = host.commands
    assert mount[:6] == ["mount", "-t", "zfs", "-o", "ro", "d/my vms@s"]
    assert umount == ["umount", mount[-1]]
    assert not os.path.exists(mount[-1])


def test_the_texts_of_a_directory_of_a_snapshot(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / "qemu" / "networks.xml").mkdir(parents=True)
    (tmp_path / "qemu" / "my vm.xml").write_text("<domain/>")
    (tmp_path / "qemu" / "web.txt").write_text("")
    monkeypatch.setattr(content, "mounted", lambda name: contextlib.nullcontext({"d/a@s": str(tmp_path)}[name]))
    (tmp_path / "qemu" / "torn.xml").symlink_to("/proc/self/mem")  # its first read is an EIO
    assert content.texts_in("d/a", "s", "qemu", ".xml") == {"my vm.xml": "<domain/>", "torn.xml": ""}
    assert content.texts_in("d/a", "s", "nowhere", ".xml") == {}


def test_it_is_unmounted_when_the_reading_fails_and_never_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)

    def fail(dummy: str, dummy2: content.Said) -> str:
        raise HvmError("damaged")

    monkeypatch.setattr(content, "tree", fail)
    with pytest.raises(HvmError, match="damaged"):
        content.digest("d/a", "s", volume=False)
    assert [command[0] for command in host.commands] == ["mount", "umount"]


def test_what_stays_mounted_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    host.on_mount = lambda path: (path / "file").write_text("x")

    def busy(command: list[str]) -> str:
        if command[0] == "umount":
            raise CommandError(command, 32, "", "target is busy")
        return host(command)

    monkeypatch.setattr(content, "run", busy)
    with pytest.raises(CommandError, match="target is busy"):
        content.digest("d/a", "s", volume=False)
    path = pathlib.Path(host.commands[0][-1])
    assert (path / "file").read_text() == "x"
    (path / "file").unlink()
    path.rmdir()


@pytest.fixture(name="volume")
def _volume(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    data = random.Random(3).randbytes(content.CHUNK + 12345)
    (tmp_path / "device").write_bytes(data)
    real = content._opened
    monkeypatch.setattr(content, "_opened", lambda path: real(str(tmp_path / "device")) if path.startswith("/dev/zvol/") else -1)
    return data


def test_a_volume_is_read_through_a_clone_that_goes_again(volume: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    host.busy = 3  # udev looks at it
    seen: list[int] = []
    assert content.digest("d/r/disk", "s", True, seen.append) == hashlib.sha256(volume).hexdigest()
    assert seen[-1] == len(volume)
    assert host.clones == set()
    clone = host.commands[0]
    assert clone[:-2] == ["zfs", "clone", "-o", "readonly=on", "-o", "volmode=dev"]
    assert clone[-2] == "d/r/disk@s"
    assert clone[-1].startswith("d/hvm-reading-")  # beside the roots: no part of a set


def test_a_clone_that_a_crash_has_left_is_made_anew(volume: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    content.digest("d/r/disk", "s", volume=True)
    name = host.commands[0][-1]
    host = Host(monkeypatch, name)
    content.digest("d/r/disk", "t", volume=True)  # the next sync is of another set
    assert [command[1] for command in host.commands] == ["destroy", "clone", "destroy"]
    assert {command[-1] for command in host.commands} == {name}
    content.digest("d/r/other", "t", volume=True)
    assert host.commands[-1][-1] != name


def test_the_clone_goes_when_the_reading_fails(volume: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*dummy: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    host = Host(monkeypatch)
    monkeypatch.setattr(content, "_file", broken)
    with pytest.raises(HvmError, match="d/r/disk cannot be read: Input/output error"):
        content.digest("d/r/disk", "s", volume=True)
    assert host.clones == set()


def test_a_device_that_does_not_come_is_named_and_its_clone_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    real = content._opened
    monkeypatch.setattr(content, "_opened", lambda path: real(path, 0.2))
    with pytest.raises(HvmError, match=r"no device /dev/zvol/d/hvm-reading-\w+ after 0 s: No such file"):
        content.digest("d/r/disk", "s", volume=True)
    assert host.clones == set()


def test_a_link_that_comes_late_is_waited_for(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "device"
    threading.Timer(0.2, lambda: path.write_bytes(b"x")).start()
    handle = content._opened(str(path), 30)
    assert os.read(handle, 9) in (b"", b"x")
    os.close(handle)


def test_a_clone_that_cannot_go_is_told(volume: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    host.busy = 999
    with pytest.raises(CommandError, match="dataset is busy"):
        content.digest("d/r/disk", "s", volume=True)


@pytest.mark.parametrize(("status", "readable"), [("available\n", True), ("-\n", True), ("unavailable\n", False)])
def test_what_has_no_key_here_cannot_be_read(monkeypatch: pytest.MonkeyPatch, status: str, readable: bool) -> None:
    monkeypatch.setattr(content, "run", lambda dummy: status)
    assert content.is_readable("d/a") is readable
