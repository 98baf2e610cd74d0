#!/usr/bin/python
# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hvm_zfs_sync
short_description: Bring a snapshot set to the other host and verify it
description:
  - Runs on the ACTIVE host. Finds for each dataset the newest snapshot that both hosts have, by GUID, and sends what came
    after it, several datasets at once, over one ssh connection of the pair's own.
  - A stream that was cut goes on where it was cut, when its resume token fits exactly what would be sent now.
  - Nothing is ever rolled back or destroyed on the other host to make a stream fit; a replica that does not fit is refused with
    the remedy. One that was renamed here is renamed there too.
  - The set is held (C(zfs hold)) and bookmarked on both hosts until a newer one has taken its place.
version_added: 0.1.0
options:
  set:
    description: The set to bring over; the newest complete one when left out.
    type: str
  verify:
    description:
      - V(guid) looks on the other host whether every dataset has the set's snapshot, with the same GUID, as its newest.
      - V(content) besides reads the whole set on both hosts and compares what it holds. A dataset whose key is not loaded
        on both hosts is named in RV(warnings) instead.
    type: str
    default: guid
    choices: [guid, content]
  set_aside:
    description:
      - Datasets whose replica may be moved out of the way and sent anew, or that are gone here and still there.
      - Nothing is destroyed; the replica is kept below C(POOL/hvm-kept), inert, until somebody drops it.
    type: list
    elements: str
    default: []
  streams:
    description: Datasets to send at the same time.
    type: int
    default: 8
  rate:
    description: Limit for all streams together, such as C(20M) bytes per second; C(0) for none.
    type: str
    default: "0"
  compress:
    description:
      - Put the streams through C(zstd -1), which must be installed on both hosts.
      - Blocks that ZFS has compressed travel compressed anyhow; this helps on slow links with datasets that are not.
    type: bool
    default: false
  stalled:
    description: Seconds without a byte until a stream is named in the progress.
    type: int
    default: 60
  give_up:
    description: Seconds without a byte until a stream is ended. The next run goes on where it was.
    type: int
    default: 900
  retries:
    description: Attempts after a lost connection.
    type: int
    default: 2
attributes:
  check_mode:
    description: Says what it would do, and changes nothing.
    support: full
  diff_mode:
    description: Shows the state before and after.
    support: none
extends_documentation_fragment:
  - hvm.pair._pair
  - hvm.pair._progress
"""

EXAMPLES = r"""
- name: Bring the newest snapshot set to the other host
  hvm.pair.hvm_zfs_sync:

- name: At night, slowly, and compare what both hosts hold
  hvm.pair.hvm_zfs_sync:
    rate: 20M
    verify: content

- name: Send a dataset anew whose replica was written to; the old replica is kept
  hvm.pair.hvm_zfs_sync:
    set_aside: [ssd/shared/images]
"""

RETURN = r"""
set:
  description: Name of the set.
  type: str
  returned: success
bytes:
  description: Bytes that were sent.
  type: int
  returned: when something was done
datasets:
  description: Bytes by dataset.
  type: dict
  returned: when something was done
seconds:
  description: How long it took.
  type: float
  returned: when something was done
verified:
  description: Whether the set was seen complete on the other host, with equal GUIDs.
  type: bool
  returned: when something was done
properties:
  description: Properties that were set on the replica, by dataset.
  type: dict
  returned: success
renamed:
  description: Replicas that got the name that their dataset has here, as pairs of old and new name.
  type: list
  elements: list
  returned: success
resumed:
  description: Datasets whose stream went on where it had been cut.
  type: list
  elements: str
  returned: when something was done
kept:
  description: Where replicas that were set aside are now.
  type: list
  elements: str
  returned: when something was done
content:
  description: Digest of what the set holds, by dataset; the same on both hosts.
  type: dict
  returned: with O(verify=content)
warnings:
  description:
    - What did not work and does no harm now, such as a hold that could not be placed.
    - Datasets that are gone here, and whose replicas make older sets incomplete there (RV(extra_on_peer)).
  type: list
  elements: str
  returned: not in check mode
extra_on_peer:
  description: Datasets that only the other host has; they are left alone.
  type: list
  elements: str
  returned: success
plan:
  description:
    - The streams that would be sent, with C(dataset), C(base), C(snapshot), C(token) and C(bytes) as ZFS estimates them.
    - Beside it C(renames), C(aside), C(aborts), C(properties), C(extra) and C(base) tell the rest of what would be done.
  type: list
  elements: dict
  returned: in check mode
"""

import typing as t

from ansible_collections.hvm.pair.plugins.module_utils._ansible import HvmModule
from ansible_collections.hvm.pair.plugins.module_utils._core.progress import Progress, bytes_of
from ansible_collections.hvm.pair.plugins.module_utils._pair import config
from ansible_collections.hvm.pair.plugins.module_utils._procedure import early


def work(module: HvmModule) -> dict[str, t.Any]:
    p = module.params
    pair = config.load(p["config"])
    rate = bytes_of(p["rate"])
    ahead = early.ahead(pair)
    from ansible_collections.hvm.pair.plugins.module_utils._procedure import sync  # loaded while both hosts look

    options = sync.Options(
        streams=p["streams"],
        rate=rate,
        compress=p["compress"],
        stalled=p["stalled"],
        give_up=p["give_up"],
        content=p["verify"] == "content",
        aside=tuple(p["set_aside"]),
        retries=p["retries"],
    )
    return sync.run(pair, Progress(p["progress_file"]), p["set"], module.check_mode, options, ahead)


def main() -> None:
    HvmModule(
        {
            "set": {"type": "str"},
            "verify": {"type": "str", "default": "guid", "choices": ["guid", "content"]},
            "set_aside": {"type": "list", "elements": "str", "default": []},
            "streams": {"type": "int", "default": 8},
            "rate": {"type": "str", "default": "0"},
            "compress": {"type": "bool", "default": False},
            "stalled": {"type": "int", "default": 60},
            "give_up": {"type": "int", "default": 900},
            "retries": {"type": "int", "default": 2},
            "progress_file": {"type": "path"},
        }
    ).run(work)


if __name__ == "__main__":
    main()
