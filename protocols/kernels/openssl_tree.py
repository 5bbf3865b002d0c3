"""Steps in a half-tree, in NumPy with OpenSSL's AES: what `tree.py` does, for whole arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.aes import INNER, Hash
from protocols.kernels.openssl_aes import hash_blocks

Words = NDArray[np.uint64]

_ONE = np.uint64(1)


def start_state(root: Words, rank: int) -> Words:
    """The roots with their lowest bits forced to the rank."""
    state = root.copy()
    state[:, 0] &= ~_ONE
    state[:, 0] |= np.uint64(rank)
    return state


def control_mask(words: Words) -> Words:
    """All ones where the lowest bit is 1, with an axis for the two words of a block."""
    return (np.uint64(0) - (words & _ONE))[..., None]


def direction(points: Words, bits: int, level: int) -> Words:
    """Points whose lowest bit is the one that is read on this level."""
    return points >> np.uint64(bits - 1 - level)


def left_children(nodes: Words, correction: Words, hash: Hash) -> Words:
    """H(s) xor t CW; the right children are these XOR their parents."""
    return hash_blocks(hash.key, nodes, INNER) ^ (correction & control_mask(nodes[..., 0]))


def expand_neighbours(
    rank: int, bits: int, cw: Words, root: Words, first: Words, nodes_at: NDArray[np.int64], hash: Hash
) -> Words:
    """The neighbouring nodes below all levels of `cw` from the one that holds the first point on.

    Args:
        bits: of a point in `first`.
        cw: uint64 [levels, N, 2], correction words.
        nodes_at: int64 [levels + 1], how many to keep on each level.

    Returns:
        uint64 [nodes_at[levels], N, 2].
    """
    nodes = start_state(root, rank)[None]
    for level, correction in enumerate(cw):
        left = left_children(nodes, correction, hash)
        children = np.stack([left, left ^ nodes], axis=1).reshape(2 * len(nodes), *root.shape)
        moved = (direction(first, bits, level) & _ONE).astype(np.int64)
        order = (np.arange(int(nodes_at[level + 1]))[:, None] + moved) % len(children)
        nodes = children[order, np.arange(len(root))]
    return nodes
