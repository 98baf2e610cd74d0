# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How each bench ends: what it has found is kept or shown, its figures are the last lines, and the exit code says how it went."""

from __future__ import annotations

import signal
import sys
import typing as t
from pathlib import Path

import _figures
from _image import LabError, say

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs/benchmarks.md"


def tell(section: str, heading: str, figures: t.Sequence[_figures.Figure], record: bool) -> int:
    """:param record: keep the section in docs/benchmarks.md.
    :return: 0 when no figure is short.
    """
    if record:
        DOCS.write_text(_figures.replaced(DOCS.read_text(encoding="utf-8"), heading, section), encoding="utf-8")
        say(f"kept in {DOCS.relative_to(ROOT)}")
    else:
        sys.stderr.write("\n" + section + "\n")
    for figure in figures:
        print(figure.line())
    return 0 if all(figure.ok for figure in figures) else 1


def run(main: t.Callable[[], int]) -> t.NoReturn:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except LabError as exc:
        print(f"bench: error: {exc}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
