"""Which nodes of a DPF's tree hold a window of its domain."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEAF_LEVELS = 7
"""Levels of the tree that a leaf of 128 bits stands for."""


def inner_levels(bits: int) -> int:
    """Levels from the root of an n-bit domain's tree to its leaves."""
    return max(0, bits - LEAF_LEVELS)


def nodes_by_level(bits: int, window: int) -> NDArray[np.int64]:
    """Neighbouring nodes that are enough to hold a window wherever it begins, level by level.

    Args:
        bits: n; the domain is 0 .. 2^n - 1 and the last is followed by 0.
        window: W points, 1 to 2^n.

    Returns:
        int64 [levels + 1]: never more than there are on a level.
    """
    return nodes_in_range(inner_levels(bits), window, bits)


@lru_cache(maxsize=1 << 12)
def nodes_in_range(levels: int, window: int, bits: int) -> NDArray[np.int64]:
    """As `nodes_by_level`, down to any level; read-only, and one for all who ask.

    Args:
        levels: from the root to the level that is wanted, at most `bits`.
        window: W points; where they are more than 2^n, all nodes are enough.
        bits: n.
    """
    nodes = [min(1 << level, _touched(window, bits - level)) for level in range(levels + 1)]
    held = np.array(nodes, np.int64)
    held.flags.writeable = False
    return held


def touched_leaves(bits: int, window: int) -> int:
    """Leaves that a window may touch from end to end, the first once more where it comes round to it."""
    return 1 if bits < LEAF_LEVELS else _touched(window, LEAF_LEVELS)


def _touched(window: int, width_bits: int) -> int:
    """Nodes of 2^k points that a window touches, at most."""
    return 1 if window == 1 else ((window - 2) >> width_bits) + 2
