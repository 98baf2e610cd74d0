# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import threading

from ansible_collections.hvm.pair.plugins.module_utils._peer import protocol


def test_a_header_has_nine_bytes_in_network_order() -> None:
    assert protocol.HEADER.pack(b"D", 1, 0x01020304) == b"D\0\0\0\1\1\2\3\4"


def test_read_exact_stops_at_the_end() -> None:
    source, sink = os.pipe()
    os.write(sink, b"abcdef")
    assert protocol.read_exact(source, 4) == b"abcd"
    os.close(sink)
    assert protocol.read_exact(source, 4) == b"ef"
    assert protocol.read_exact(source, 4) == b""
    os.close(source)


def test_write_all_writes_more_than_a_pipe_holds() -> None:
    source, sink = os.pipe()
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(protocol.read_exact(source, 1_000_000)))
    reader.start()
    protocol.write_all(sink, b"x" * 1_000_000)
    reader.join(10)
    assert found == [b"x" * 1_000_000]
    os.close(source)
    os.close(sink)


def test_move_between_pipe_and_file_and_between_files(tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").write_bytes(b"0123456789")
    source, sink = os.pipe()
    with (tmp_path / "in").open("rb") as first, (tmp_path / "out").open("wb") as second:
        assert protocol.move(first.fileno(), sink, 4) == 4  # file to pipe
        assert protocol.move(source, second.fileno(), 4) == 4  # pipe to file
        assert protocol.move(first.fileno(), second.fileno(), 3) == 3  # no pipe: not by splice
        assert protocol.move(first.fileno(), second.fileno(), 99) == 3  # the source ends
    assert (tmp_path / "out").read_bytes() == b"0123456789"
    os.close(source)
    os.close(sink)


def test_move_into_a_pipe_that_nobody_reads() -> None:
    source, sink = os.pipe()
    dead, end = os.pipe()
    os.close(dead)
    os.write(sink, b"abc")
    assert protocol.move(source, end, 3) == 0
    for fd in (source, sink, end):
        os.close(fd)
