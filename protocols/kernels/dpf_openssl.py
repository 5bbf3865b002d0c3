"""The DPF in NumPy with OpenSSL's AES: bit for bit what the compiled kernels give, several times slower."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.aes import INNER, LEAF, Hash
from protocols.kernels.openssl_aes import hash_blocks
from protocols.kernels.openssl_tree import (
    control_mask,
    direction,
    expand_neighbours,
    left_children,
    start_state,
)
from protocols.kernels.window import inner_levels, nodes_by_level
from protocols.kernels.window_table import WindowTable, windows_of

Words = NDArray[np.uint64]

_LEAF_BYTES = 16
_CHUNK_BYTES = 1 << 20
"""About as much of the largest array is worked on at a time."""
_ONE = np.uint64(1)
_SIX = np.uint64(6)
_LOW_SIX = np.uint64(63)


def _spans(count: int, bytes_each: int) -> list[slice]:
    step = max(1, _CHUNK_BYTES // bytes_each)
    return [slice(start, start + step) for start in range(0, count, step)]


def _convert(state: Words, correction: Words, hash: Hash) -> Words:
    return hash_blocks(hash.key, state, LEAF) ^ (correction & control_mask(state[..., 0]))


def _one_hot(alpha: Words) -> Words:
    place = _ONE << (alpha & _LOW_SIX)
    upper = ((alpha >> _SIX) & _ONE).astype(bool)
    return np.stack([np.where(upper, np.uint64(0), place), np.where(upper, place, np.uint64(0))], axis=1)


def generate(bits: int, alpha: Words, roots: Words, hash: Hash, blocks: Words) -> NDArray[np.int8]:
    """Fills `blocks` [levels + 1, N, 2] with correction words and returns the signs."""
    signs = np.empty(len(alpha), np.int8)
    for span in _spans(len(alpha), 16):
        signs[span] = _generate(bits, alpha[span], roots[:, span], hash, blocks[:, span])
    return signs


def _generate(bits: int, alpha: Words, roots: Words, hash: Hash, blocks: Words) -> NDArray[np.int8]:
    state = start_state(roots[0], 0)
    delta = state ^ start_state(roots[1], 1)
    for level in range(inner_levels(bits)):
        right = control_mask(direction(alpha, bits, level))
        mine = hash_blocks(hash.key, state, INNER)
        blocks[level] = mine ^ hash_blocks(hash.key, state ^ delta, INNER) ^ (delta & ~right)
        state = mine ^ (blocks[level] & control_mask(state[:, 0])) ^ (state & right)
    hot = _one_hot(alpha)
    blocks[-1] = hash_blocks(hash.key, state, LEAF) ^ hash_blocks(hash.key, state ^ delta, LEAF) ^ hot
    share = _convert(state, blocks[-1], hash) & hot
    return np.where((share[:, 0] | share[:, 1]) != 0, 1, -1).astype(np.int8)


def prefix_parity(
    rank: int, bits: int, blocks: Words, root: Words, points: Words, hash: Hash
) -> NDArray[np.uint8]:
    """See `dpf.prefix_parity`."""
    parities = np.empty(points.shape, np.uint8)
    for span in _spans(len(root), 16):
        for row, out in zip(points[:, span], parities[:, span], strict=True):
            out[:] = _walk(rank, bits, blocks[:, span], root[span], row, hash)
    return parities


def _walk(rank: int, bits: int, blocks: Words, root: Words, points: Words, hash: Hash) -> Words:
    state, parity = start_state(root, rank), np.zeros(len(root), np.uint64)
    turns = points ^ (points >> _ONE)
    for level in range(inner_levels(bits)):
        parity ^= state[:, 0] & direction(turns, bits, level)
        right = control_mask(direction(points, bits, level))
        left = left_children(state, blocks[level], hash)
        state = left ^ (state & right)
    leaf = _convert(state, blocks[-1], hash)
    right = control_mask(points >> np.uint64(7))[:, 0]
    upper = control_mask(points >> _SIX)[:, 0]
    prefix = ~np.uint64(0) >> (_LOW_SIX - (points & _LOW_SIX))
    counted = (leaf[:, 0] & ((prefix | upper) ^ right)) ^ (leaf[:, 1] & ((prefix & upper) ^ right))
    for shift in (32, 16, 8, 4, 2, 1):
        counted ^= counted >> np.uint64(shift)
    return (parity ^ counted) & _ONE


def _expand_window(
    rank: int, bits: int, blocks: Words, root: Words, first: Words, window: int, hash: Hash
) -> Words:
    """The neighbouring leaves from the one that holds the first point on: uint64 [leaves, N, 2]."""
    nodes = expand_neighbours(rank, bits, blocks[:-1], root, first, nodes_by_level(bits, window), hash)
    return _convert(nodes, blocks[-1], hash)


def _repeat_domain(leaves: Words, bits: int) -> Words:
    """Leaves of a domain below 128 points with its bits over and over."""
    width = 1 << bits
    word = leaves[..., 0] & (~np.uint64(0) >> np.uint64(64 - width))
    while width < 64:
        word |= word << np.uint64(width)
        width *= 2
    return np.stack([word, word], axis=-1)


def window_lookup(
    rank: int,
    bits: int,
    blocks: Words,
    root: Words,
    first: Words,
    table: WindowTable,
    which: NDArray[np.int64] | None,
    hash: Hash,
) -> NDArray[np.int64]:
    """See `dpf.window_lookup`."""
    sums = np.empty(len(root), np.int64)
    offset = (first & np.uint64((1 << min(bits, 7)) - 1)).astype(np.int64)
    for span in _spans(len(root), 8 * _LEAF_BYTES * (table.leaves + 1)):
        leaves = _expand_window(rank, bits, blocks[:, span], root[span], first[span], table.size, hash)
        if bits < 7:
            leaves = _repeat_domain(leaves, bits)
        # What follows the last leaf that is needed does not matter.
        read = leaves[np.arange(table.leaves + 1) % len(leaves)].transpose(1, 0, 2)
        windows = windows_of(read.reshape(read.shape[0], -1), offset[span], table.leaves)
        sums[span] = table.sum(windows, None if which is None else which[span])
    return sums


def expand_all(rank: int, bits: int, blocks: Words, root: Words, hash: Hash) -> Words:
    """All leaves of every key: uint64 [N, leaves, 2]."""
    first = np.zeros(len(root), np.uint64)
    leaves = _expand_window(rank, bits, blocks, root, first, 1 << bits, hash)
    return np.ascontiguousarray(leaves.transpose(1, 0, 2))
