# Copyright (c) 2026, the hvm.pair developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module hvm.pair.hvm_move detached, with its progress shown."""

from __future__ import annotations

from ansible_collections.hvm.pair.plugins.plugin_utils._progress_action import ProgressAction


class ActionModule(ProgressAction):
    """Nothing of its own: the module does the work."""
