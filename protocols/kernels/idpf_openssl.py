"""The incremental DPF in NumPy with OpenSSL's AES: bit for bit what the compiled kernels give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.aes import INNER, VALUE, Hash
from protocols.kernels.lines import Lines
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
    """Words of H(node xor VALUE)."""
    return hash_blocks(hash.key, nodes, VALUE)


def _share(nodes: Words, values: Words, hash: Hash, word: int = 0) -> Words:
    """conv(s) + t W."""
    return _convert(nodes, hash)[..., word] + (values & (_ZERO - (nodes[..., 0] & _ONE)))


def _signed(rank: int, sums: Words) -> NDArray[np.int64]:
    return (_ZERO - sums if rank else sums).view(np.int64)


def generate(
    bits: int,
    depths: tuple[int, ...],
    alpha: Words,
    roots: Words,
    wanted: Words,
    hash: Hash,
    cw: Words,
    values: Words,
) -> None:
    """Fills `cw` [max(depths), N, 2] and `values` [1 or 2, len(depths), N], from `wanted`, of that shape."""
    state = start_state(roots[0], 0)
    delta = state ^ start_state(roots[1], 1)
    for level in range(depths[-1]):
        right = _right(alpha, bits, level)[:, None]
        mine, theirs = (hash_blocks(hash.key, nodes, INNER) for nodes in (state, state ^ delta))
        cw[level] = mine ^ theirs ^ (delta & ~right)
        state = mine ^ (cw[level] & control_mask(state[:, 0])) ^ (state & right)
        if level + 1 in depths:
            row = depths.index(level + 1)
            both = _convert(state, hash), _convert(state ^ delta, hash)
            ones = (state[:, 0] & _ONE).astype(bool)
            for word in range(len(values)):
                value = wanted[word, row] - both[0][:, word] + both[1][:, word]
                values[word, row] = np.where(ones, value, _ZERO - value)


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


def line_lookup(
    rank: int, cw: Words, values: Words, root: Words, lines: Lines, hash: Hash
) -> NDArray[np.int64]:
    """See `idpf.line_lookup`; `values` is [L, 2, N]."""
    sums, width = np.zeros(len(root), np.uint64), lines.values.shape[1]
    values_at, slopes, places_on = (
        array.view(np.uint64) for array in (lines.values, lines.slopes, lines.places)
    )
    places: NDArray[np.int64] = np.arange(width, dtype=np.int64)
    for line, depth in enumerate(lines.depths.tolist()):
        held = nodes_in_range(depth, width, depth)
        at, slope = values_at[line, :, None], slopes[line, :, None]
        step = max(1, _CHUNK_NODES // width)
        for start in range(0, len(root), step):
            span = slice(start, start + step)
            first = lines.first[line, span]
            nodes = expand_neighbours(rank, depth, cw[:depth, span], root[span], first, held, hash)
            one, payload = (_share(nodes, values[line, word, span], hash, word) for word in (0, 1))
            one, payload = (share[places % len(nodes)] for share in (one, payload))
            sums_here = one * (at + slope * places_on[line, span]) - payload * slope
            counted = places[:, None] < lines.counts[line, span]
            sums[span] += np.where(counted, sums_here, _ZERO).sum(0, dtype=np.uint64)
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
