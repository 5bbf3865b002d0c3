"""Neighbouring nodes of a half-tree, found together: the compiled loops from the roots down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel
from protocols.kernels.key_chunks import CHUNK
from protocols.kernels.registers import GROUP
from protocols.kernels.tree import close, expand

Words = NDArray[np.uint64]

_WORDS = 2 * CHUNK
_GROUP_WORDS = 2 * GROUP
_ONE = np.uint64(1)


@kernel
def load_roots(root: Words, start: int, rank: int, state: Words) -> None:
    """A chunk's roots, their lowest bits forced to the rank."""
    for i in range(CHUNK):
        state[i, 0] = (root[start + i, 0] & ~_ONE) | np.uint64(rank)
        state[i, 1] = root[start + i, 1]


@kernel
def room_for_nodes(leaves: int, nodes_at: NDArray[np.int64]) -> Words:
    """Memory for both lists of `expand_neighbours`."""
    slots = 1 + max(leaves, 2 * nodes_at.max())
    return np.empty((2 * slots * CHUNK, 2), np.uint64)


@kernel
def expand_neighbours(
    start: int,
    rank: int,
    levels: int,
    bits: int,
    cw: Words,
    root: Words,
    first: Words,
    nodes_at: NDArray[np.int64],
    round_keys: Words,
    nodes: Words,
) -> int:
    """The neighbouring nodes of one chunk on a level, in `nodes`: returns the word at which the first begins.

    On level d the `nodes_at[d]` neighbours from the one that holds the key's first point on are kept, each
    for all keys of the chunk side by side. Two lists take turns in `nodes`; in front of each is a slot that
    `expand` may spoil.

    Args:
        start: the chunk's first key.
        levels: of correction words to go down.
        bits: of a point in `first`, of which the high `levels` ones name the first node.
        cw: uint64 [at least levels, N, 2], correction words.
    """
    here, there = _WORDS, _WORDS + nodes.size // 2
    load_roots(root, start, rank, nodes[CHUNK : 2 * CHUNK])
    row = 2 * start
    for level in range(levels):
        shift = np.uint64(64 - bits + level)
        held = nodes_at[level]
        for at in range(0, _WORDS, _GROUP_WORDS):
            key, correction = start + at // 2, row + at
            for i in range(held):
                node, slot = here + i * _WORDS + at, there + 2 * i * _WORDS + at
                expand(nodes, node, nodes, slot, _WORDS, cw, correction, first, key, shift, round_keys, None)
            if held >> level:
                last = there + (2 * held - 1) * _WORDS + at
                close(nodes, here + at, nodes, there + at, last, first, key, shift)
        here, there = there, here
        row += 2 * cw.shape[1]
    return here
