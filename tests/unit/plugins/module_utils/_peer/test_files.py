# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import json
import os
import pathlib
import stat
import threading
import time
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
from ansible_collections.hvm.pair.plugins.module_utils._peer import files, wire
from ansible_collections.hvm.pair.plugins.module_utils._peer.flow import Meter
from ansible_collections.hvm.pair.plugins.module_utils._peer.wire import Cut, Wire

OLD = time.time() - 3600
BLOCK = 65536


class Ends:
    """Whoever gives a file and whoever takes it, joined by pipes."""

    def __init__(self, **signs: float) -> None:
        self._fds = [*os.pipe(), *os.pipe()]
        here_in, there_out, there_in, here_out = self._fds
        self.here, self.there = Wire(here_in, here_out, **signs), Wire(there_in, there_out, **signs)
        self.failure: Exception | None = None
        self.taken: files.Done | None = None
        self._thread: threading.Thread | None = None

    def take(self, path: pathlib.Path, meter: Meter | None = None) -> None:
        def run() -> None:
            try:
                self.taken = files.take(self.there, str(path), meter)
            except HvmError as exc:
                self.failure = exc
                self.there.fail(exc)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def copy(self, source: pathlib.Path, target: pathlib.Path) -> files.Done:
        self.take(target)
        done = files.give(self.here, str(source))
        assert self._thread
        self._thread.join(20)
        assert self.taken == done
        return done

    def __enter__(self) -> Ends:
        return self

    def __exit__(self, *dummy: object) -> None:
        if self._thread:
            self._thread.join(20)
        for fd in self._fds:
            os.close(fd)


def lay(path: pathlib.Path, size: int, parts: list[tuple[int, bytes]], mtime: float = OLD) -> None:
    with path.open("wb") as handle:
        handle.truncate(size)
        for at, data in parts:
            handle.seek(at)
            handle.write(data[: max(size - at, 0)])
    os.utime(path, (mtime, mtime))


LAYOUTS = st.lists(
    st.tuples(
        st.integers(0, 40).map(lambda at: at * BLOCK // 2),
        st.sampled_from([b"x", b"\0", b"y" * 5000, b"z" * BLOCK, bytes(BLOCK)]),
    ),
    max_size=8,
)


@settings(max_examples=50)
@given(st.integers(0, 20 * BLOCK), LAYOUTS, st.booleans())
def test_a_copy_is_the_same_and_its_holes_do_not_go_over(
    tmp_path_factory: pytest.TempPathFactory, size: int, parts: list[tuple[int, bytes]], fresh: bool
) -> None:
    directory = tmp_path_factory.mktemp("files")
    lay(directory / "a", size, parts, time.time() if fresh else OLD)
    with Ends() as ends:
        done = ends.copy(directory / "a", directory / "b")
    assert (directory / "b").read_bytes() == (directory / "a").read_bytes()
    assert done.size == size
    assert done.sent <= sum(len(data) for dummy, data in parts) + 2 * files.PIECE * len(parts)
    if not any(data.strip(b"\0") for dummy, data in parts):
        assert done.sent == 0


def test_a_big_hole_costs_nothing(tmp_path: pathlib.Path) -> None:
    lay(tmp_path / "a", 1 << 40, [(1 << 39, b"in the middle")])
    with Ends() as ends:
        done = ends.copy(tmp_path / "a", tmp_path / "b")
    assert done.sent <= files.PIECE
    found = os.stat(tmp_path / "b")
    assert (found.st_size, found.st_blocks * 512 <= 1 << 20) == (1 << 40, True)
    with (tmp_path / "b").open("rb") as handle:
        handle.seek(1 << 39)
        assert handle.read(13) == b"in the middle"


@pytest.mark.parametrize(
    ("mtime", "fresh"), [(1000.0, False), (1939.0, False), (1941.0, True), (2000.0, True), (3000.0, True)]
)
def test_a_file_that_was_just_written_is_read_from_end_to_end(mtime: float, fresh: bool) -> None:
    assert files.is_fresh(mtime, 2000.0) is fresh


def test_what_a_filesystem_may_take_for_a_hole_too_early_is_sent(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path / "a", 3 * BLOCK, [(0, b"x" * BLOCK * 3)], time.time())
    monkeypatch.setattr(files, "extents", lambda fd, size: [])
    with Ends() as ends:
        assert ends.copy(tmp_path / "a", tmp_path / "b").sent == 3 * BLOCK


def test_a_filesystem_that_knows_of_no_holes(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lseek(*dummy: t.Any) -> int:
        raise OSError(errno.EINVAL, "no")

    monkeypatch.setattr(os, "lseek", lseek)
    assert files.extents(0, 7) == [(0, 7)]


def test_what_is_there_stays_until_all_has_come(tmp_path: pathlib.Path) -> None:
    lay(tmp_path / "a", 100, [(0, b"new" * 40)])
    (tmp_path / "b").write_bytes(b"old")
    (tmp_path / "b.partial").write_bytes(b"left over" * 1000)
    with Ends() as ends:
        ends.take(tmp_path / "b")
        ends.here.send(wire.FILE, b'{"size": 100, "data": 100}')
        ends.here.send(wire.DATA, b"new")
        time.sleep(0.2)
        assert (tmp_path / "b").read_bytes() == b"old"
        ends.here.send(wire.END, b"{}")
        with pytest.raises(HvmError, match=r"what came of .*/b is not what was sent"):
            ends.here.receive()
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    with Ends() as ends:
        ends.copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (b"new" * 40)[:100]
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600


#: Of "abc" (FIPS 180-2, B.1)
GOOD = json.dumps(
    files.Done(3, 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")._asdict(),
).encode()


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        ([(wire.FILE, b'{"size": 3, "data": 3}'), (wire.DATA, b"abc"), (wire.END, GOOD)], ""),
        ([(wire.FILE, b'{"size": 3, "data": 3}'), (wire.DATA, b"abd"), (wire.END, GOOD)], "is not what"),
        ([(wire.FILE, b'{"size": 3, "data": 3}'), (wire.DATA, b"abcd")], "more came of"),
        ([(wire.FILE, b'{"size": 3, "data": 3}'), (wire.AT, b"\0\0\0\0\0\0\0\1"), (wire.DATA, b"abc")], "more came of"),
        ([(wire.FILE, b'{"size": 3, "data": 3}'), (wire.AT, b"\0")], "cannot be understood"),
        ([(wire.FILE, b'{"size": 3, "data": 3}'), (wire.KEPT, b"")], "cannot be understood"),
        ([(wire.FILE, b'{"size": "?"}')], "cannot be understood"),
        ([(wire.FILE, b'{"size": -1, "data": 0}')], "cannot be understood"),
        ([(wire.DATA, b"abc")], "cannot be understood"),
    ],
)
def test_what_comes_is_checked(tmp_path: pathlib.Path, frames: list[tuple[bytes, bytes]], why: str) -> None:
    with Ends() as ends:
        ends.take(tmp_path / "b")
        for kind, payload in frames:
            ends.here.send(kind, payload)
        if why:
            with pytest.raises(HvmError, match=why):
                ends.here.receive()
        else:
            assert ends.here.receive()[0] == wire.KEPT
    assert os.listdir(tmp_path) == ([] if why else ["b"])


def test_two_do_not_write_one_file(tmp_path: pathlib.Path) -> None:
    with Ends() as first, Ends() as second:
        first.take(tmp_path / "b")
        first.here.send(wire.FILE, b'{"size": 3, "data": 3}')
        first.here.send(wire.DATA, b"abc")
        while not (tmp_path / "b.partial").exists() or not (tmp_path / "b.partial").stat().st_size:
            time.sleep(0.01)
        second.take(tmp_path / "b")
        with pytest.raises(HvmError, match=r"b\.partial is being written by another process"):
            second.here.receive()
        first.here.send(wire.END, GOOD)
        assert first.here.receive()[0] == wire.KEPT
    assert (tmp_path / "b").read_bytes() == b"abc"


def test_a_file_whose_giver_waits_no_longer_does_not_come_into_its_place(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk hung meanwhile: by then somebody else has that place, maybe."""
    goes, flush = threading.Event(), files._flush
    monkeypatch.setattr(files, "_flush", lambda *words: goes.wait(20) and flush(*words))
    (tmp_path / "b").write_bytes(b"new")
    with Ends() as ends:
        ends.take(tmp_path / "b")
        for kind, payload in [(wire.FILE, b'{"size": 3, "data": 3}'), (wire.DATA, b"abc"), (wire.END, GOOD), (wire.PING, b"")]:
            ends.here.send(kind, payload)
        os.close(ends.here.target)
        ends._fds.remove(ends.here.target)
        goes.set()
        assert ends._thread
        ends._thread.join(20)
        assert isinstance(ends.failure, Cut)
    assert os.listdir(tmp_path) == ["b"] and (tmp_path / "b").read_bytes() == b"new"


def test_a_file_that_is_changed_meanwhile_is_not_given(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path / "a", 3 * files.PIECE, [(0, b"x" * files.PIECE * 3)])
    with Ends() as ends:
        ends.take(tmp_path / "b")
        send = ends.here.send

        def meddle(kind: bytes, payload: t.Any = b"", patience: float = 5.0) -> None:
            if kind == wire.DATA:
                with (tmp_path / "a").open("r+b") as handle:
                    handle.write(b"meddled")
            send(kind, payload, patience)

        monkeypatch.setattr(ends.here, "send", meddle)
        with pytest.raises(HvmError, match=r"/a was changed while it was sent"):
            files.give(ends.here, str(tmp_path / "a"))
        monkeypatch.undo()
        ends.here.fail(HvmError("it was changed"))
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("what", ["link", "fifo", "directory"])
def test_only_a_file_is_given_or_taken(tmp_path: pathlib.Path, what: str) -> None:
    (tmp_path / "secret").write_text("secret")
    for name in ("x", "y.partial"):
        if what == "link":
            (tmp_path / name).symlink_to(tmp_path / "secret")
        elif what == "fifo":
            os.mkfifo(tmp_path / name)
        else:
            (tmp_path / name).mkdir()
    with Ends() as ends:
        with pytest.raises(HvmError, match=r"x (is not a file|cannot be read)"):
            files.give(ends.here, str(tmp_path / "x"))
        with pytest.raises(HvmError, match=r"y.partial (is not a file|cannot be written)"):
            files.take(ends.here, str(tmp_path / "y"))
    assert (tmp_path / "secret").read_text() == "secret"


def test_whoever_waits_for_a_slow_disk_hears_that_it_works(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path / "a", 10, [(0, b"x")])
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (time.sleep(1.2), fsync(fd)))
    with Ends(ping_every=0.1, silence=0.7) as ends:
        ends.copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_a_disk_that_fails_at_the_very_end(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path / "a", 10, [(0, b"x")])

    def fsync(dummy: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with Ends() as ends:
        ends.take(tmp_path / "b")
        with pytest.raises(HvmError, match="b cannot be written: Input/output error"):
            files.give(ends.here, str(tmp_path / "a"))
    assert os.listdir(tmp_path) == ["a"]


def test_how_far_it_is(tmp_path: pathlib.Path) -> None:
    lay(tmp_path / "a", 1 << 30, [(0, b"x" * files.PIECE), (1 << 29, b"y" * files.PIECE)])
    gives, takes = Meter("a"), Meter("b")
    with Ends() as ends:
        ends.take(tmp_path / "b", takes)
        files.give(ends.here, str(tmp_path / "a"), gives)
    assert gives.expected == gives.bytes == takes.expected == takes.bytes == 2 * files.PIECE


def test_the_giver_is_told_when_nobody_takes_it(tmp_path: pathlib.Path) -> None:
    lay(tmp_path / "a", 10, [(0, b"x")])
    with Ends(ping_every=0.1, silence=0.3) as ends, pytest.raises(Cut, match="it has said nothing for 0 s"):
        files.give(ends.here, str(tmp_path / "a"))
