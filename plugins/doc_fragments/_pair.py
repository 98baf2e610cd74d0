# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Private to this collection: it can change or go at any time.

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  config:
    description:
      - The file on the host that describes the pair, as the P(hvm.pair.host#role) role writes it.
    type: path
    default: /etc/hvm/pair.json
requirements:
  - Debian 12, Debian 13 or Ubuntu 24.04, as root
  - python3 (3.11 or later)
  - zfsutils-linux
  - python3-libvirt
author:
  - The hvm.pair developers (@hvm-pair)
"""
