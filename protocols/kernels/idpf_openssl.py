"""The incremental DPF in NumPy with OpenSSL's AES: bit for bit what the compiled kernels give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.aes import INNER, VALUE, Hash
from protocols.kernels.openssl_aes import hash_blocks
from protocols.kernels.openssl_tree import (
    control_mask,
    direction,
    expand_neighbours,
    left_children,
    start_state,
)
from protocols.kernels.window import nodes_in_range

Words = NDArray[np.uint64]

_CHUNK_NODES = 1 << 16
"""Nodes that are worked on at a time."""
_ZERO = np.uint64(0)
_ONE = np.uint64(1)


def _right(points: Words, bits: int, level: int) -> Words:
    """All ones where the point goes right on this level."""
    return _ZERO - (direction(points, bits, level) & _ONE)


def _convert(nodes: Words, hash: Hash) -> Words:
    """Word 0 of H(node xor VALUE)."""
    return hash_blocks(hash.key, nodes, VALUE)[..., 0]


def _share(nodes: Words, values: Words, hash: Hash) -> Words:
    """conv(s) + t W."""
    return _convert(nodes, hash) + (values & (_ZERO - (nodes[..., 0] & _ONE)))


def _signed(rank: int, sums: Words) -> NDArray[np.int64]:
    return (_ZERO - sums if rank else sums).view(np.int64)


def generate(
    bits: int, depths: tuple[int, ...], alpha: Words, roots: Words, hash: Hash, cw: Words, values: Words
) -> None:
    """Fills `cw` [max(depths), N, 2] and `values` [len(depths), N]."""
    state = start_state(roots[0], 0)
    delta = state ^ start_state(roots[1], 1)
    for level in range(depths[-1]):
        right = _right(alpha, bits, level)[:, None]
        mine, theirs = (hash_blocks(hash.key, nodes, INNER) for nodes in (state, state ^ delta))
        cw[level] = mine ^ theirs ^ (delta & ~right)
        state = mine ^ (cw[level] & control_mask(state[:, 0])) ^ (state & right)
        if level + 1 in depths:
            value = _ONE - _convert(state, hash) + _convert(state ^ delta, hash)
            ones = (state[:, 0] & _ONE).astype(bool)
            values[depths.index(level + 1)] = np.where(ones, value, _ZERO - value)


def range_lookup(
    rank: int,
    cw: Words,
    values: Words,
    root: Words,
    first: Words,
    counts: NDArray[np.int64],
    table: NDArray[np.int64],
    hash: Hash,
) -> NDArray[np.int64]:
    """See `idpf.range_lookup`; `cw` ends at the depth, and no count is larger than the table."""
    sums = np.empty(len(root), np.uint64)
    held = nodes_in_range(len(cw), len(table), len(cw))
    step = max(1, _CHUNK_NODES // len(table))
    for start in range(0, len(root), step):
        span = slice(start, start + step)
        nodes = expand_neighbours(rank, len(cw), cw[:, span], root[span], first[span], held, hash)
        shares = _share(nodes, values[span], hash)
        weights = np.where(np.arange(len(table))[:, None] < counts[span], table[:, None], 0).view(np.uint64)
        sums[span] = (shares[np.arange(len(table)) % len(shares)] * weights).sum(0, dtype=np.uint64)
    return _signed(rank, sums)


def prefix_sum(
    rank: int, cw: Words, values: Words, root: Words, points: Words, hash: Hash
) -> NDArray[np.int64]:
    """See `idpf.prefix_sum`."""
    sums = np.zeros(points.shape, np.uint64)
    for index, row in enumerate(points):
        state = start_state(root, rank)
        for level in range(len(cw)):
            left = left_children(state, cw[level], hash)
            right = _right(row, len(cw), level)
            sums[index] += _share(left, values[level], hash) & right
            state = left ^ (state & right[:, None])
        sums[index] += _share(state, values[-1], hash)
    return _signed(rank, sums)
