# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hvm_zfs_sync does, as a process of its own on the ACTIVE host, with the library that is installed there.

Prints the result as JSON, with the number of requests that went to the other host.
"""

from __future__ import annotations

import sys

sys.path.insert(0, "/usr/lib/hvm/current")

from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import early


def main() -> int:
    pair = config.load()
    ahead = early.ahead(pair)
    import json
    import typing as t

    from ansible_collections.hvm.pair.plugins.module_utils._core.errors import HvmError
    from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress
    from ansible_collections.hvm.pair.plugins.module_utils._peer import channel
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import sync

    requests: list[str] = []
    begin = channel.Peer.begin

    def counted(self: channel.Peer, op: str, *arguments: t.Any, **named: t.Any) -> t.Any:
        requests.append(op)
        return begin(self, op, *arguments, **named)

    channel.Peer.begin = counted  # type: ignore[method-assign]
    try:
        result = sync.run(pair, Progress(), None, False, sync.Options(), ahead)
    except HvmError as exc:
        print(exc, file=sys.stderr)
        return 1
    result["requests"] = requests
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
