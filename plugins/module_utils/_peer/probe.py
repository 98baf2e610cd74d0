# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

"""What the link to the other host carries: a moment's worth of data into the agent's sink, by the way that all else goes.

So the cipher counts, and both processors. VMs' memory goes over connections of its own, of the same kind.
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._peer.protocol import CHUNK

if t.TYPE_CHECKING:
    from ansible_collections.hvm.pair.plugins.module_utils._peer.channel import Peer

#: Bytes: the first burst, which a slow link shall have time for, and all of them together.
FIRST, MOST = 64 << 10, 64 << 20
#: Seconds: one burst of such a length says enough, since the time for its answer counts for little by then; all of them together.
ENOUGH, LONGEST = 0.25, 1.0


def next_burst(burst: int, took: float, sent: int, elapsed: float) -> int:
    """Bytes of the next burst, each being twice the one before; 0: what was measured is enough, or all that is allowed. Pure.

    :param burst, took: of the last one, in bytes and seconds; `sent`, `elapsed`: of all.
    """
    more = 2 * burst
    if took >= ENOUGH or sent + more > MOST or elapsed + 2 * took > LONGEST:
        return 0
    return more


def carries(peer: Peer, clock: t.Callable[[], float] = time.monotonic) -> int:
    """Bytes per second; 0 when they did not arrive as they were sent.

    :raises PeerLost: when the connection ends.
    """
    piece = os.urandom(CHUNK)  # nothing on the way can make it smaller
    peer.call("sink")  # what else is on its way is through
    began, burst, sent, rate = clock(), FIRST, 0, 0
    while burst:
        start = clock()
        peer.pour(piece, burst)
        if peer.call("sink")["bytes"] != burst:
            return 0
        now = clock()
        took, sent = max(now - start, 1e-6), sent + burst
        rate = int(burst / took)
        burst = next_burst(burst, took, sent, now - began)
    return rate
