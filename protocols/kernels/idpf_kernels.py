"""The compiled loops of the incremental DPF, over chunks of keys that stay in cache.

Every kernel works on the first keys of its arrays, as many as its output has room for: a multiple of `CHUNK`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.aes import INNER, VALUE, hash_group
from protocols.kernels.jit import kernel
from protocols.kernels.key_chunks import CHUNK
from protocols.kernels.neighbours import expand_neighbours, load_roots, room_for_nodes
from protocols.kernels.prefix_shares import (
    add_entries,
    add_last,
    add_left,
    add_places,
    change_sign,
    make_values,
    step_left,
)
from protocols.kernels.registers import GROUP
from protocols.kernels.tree import correct

Words = NDArray[np.uint64]

_WORDS = 2 * CHUNK
_GROUP_WORDS = 2 * GROUP
_ZERO = np.uint64(0)


@kernel
def _hash_chunk(source: Words, word: int, target: Words, tweak: np.uint64, round_keys: Words) -> None:
    """Hashes a chunk's blocks, those from word `word` of the source on."""
    for at in range(0, _WORDS, _GROUP_WORDS):
        hash_group(source, word + at, target, at, tweak, round_keys)


@kernel
def make_keys(
    bits: int,
    value_at: NDArray[np.int64],
    alpha: Words,
    roots: Words,
    wanted: Words,
    round_keys: Words,
    cw: Words,
    values: Words,
    keys: int,
) -> None:
    """Writes `cw` and `values` of the first `keys` keys: see `idpf.generate`.

    Args:
        value_at: for each level, which row of `values` its children's values go to, or -1 for none.
        wanted: uint64 [1 or 2, len(depths), N], what alpha's prefixes have.
    """
    mine, theirs = np.empty((CHUNK, 2), np.uint64), np.empty((CHUNK, 2), np.uint64)
    state, delta = np.empty((CHUNK, 2), np.uint64), np.empty((CHUNK, 2), np.uint64)
    for start in range(0, keys, CHUNK):
        load_roots(roots[0], start, 0, state)
        load_roots(roots[1], start, 1, delta)
        for i in range(CHUNK):
            delta[i, 0] ^= state[i, 0]
            delta[i, 1] ^= state[i, 1]
        for level in range(cw.shape[0]):
            row = 2 * (level * cw.shape[1] + start)
            shift = np.uint64(64 - bits + level)
            for at in range(0, _WORDS, _GROUP_WORDS):
                correct(state, delta, at, cw, row + at, alpha, start + at // 2, shift, round_keys, None, None)
            row = value_at[level]
            if row >= 0:
                _convert_both(state, delta, round_keys, mine, theirs)
                for word in range(values.shape[0]):
                    there = slice(start, start + CHUNK)
                    make_values(state, word, mine, theirs, wanted[word, row, there], values[word, row, there])


@kernel
def _convert_both(state: Words, delta: Words, round_keys: Words, mine: Words, theirs: Words) -> None:
    """Hashes party 0's nodes and, by their difference, party 1's."""
    for i in range(CHUNK):
        theirs[i, 0] = state[i, 0] ^ delta[i, 0]
        theirs[i, 1] = state[i, 1] ^ delta[i, 1]
    _hash_chunk(state, 0, mine, VALUE, round_keys)
    _hash_chunk(theirs, 0, theirs, VALUE, round_keys)


@kernel
def sum_range(
    rank: int,
    cw: Words,
    values: Words,
    root: Words,
    first: Words,
    counts: Words,
    tables: Words,
    nodes_at: NDArray[np.int64],
    round_keys: Words,
    sums: Words,
) -> None:
    """Sums of table entries: see `idpf.range_lookup`.

    Args:
        cw: uint64 [depth, N, 2].
        tables: uint64 [W, 1], or [W, CHUNK] for one chunk of keys, each with its own.
        nodes_at: see `expand_neighbours`; the last one is the table's length, or all nodes of the depth.
    """
    depth = cw.shape[0]
    held = int(nodes_at[depth])
    nodes = room_for_nodes(held, nodes_at)
    converted = np.empty((CHUNK, 2), np.uint64)
    for start in range(0, sums.shape[0], CHUNK):
        end = start + CHUNK
        word = expand_neighbours(start, rank, depth, depth, cw, root, first, nodes_at, round_keys, nodes)
        total = sums[start:end]
        total[:] = _ZERO
        for j in range(int(counts[start:end].max())):
            node = word + (j % held) * _WORDS
            _hash_chunk(nodes, node, converted, VALUE, round_keys)
            controls = nodes[node // 2 : node // 2 + CHUNK]
            add_entries(
                controls, converted, values[start:end], counts[start:end], np.uint64(j), tables[j], total
            )
        change_sign(rank, total)


@kernel
def sum_lines(
    rank: int,
    depths: NDArray[np.int64],
    cw: Words,
    values: Words,
    root: Words,
    first: Words,
    counts: Words,
    places: Words,
    tables: Words,
    slopes: Words,
    nodes_at: NDArray[np.int64],
    round_keys: Words,
    sums: Words,
) -> None:
    """Sums over lines: see `idpf.line_lookup`.

    Args:
        values: uint64 [L, 2, N].
        first, counts, places: uint64 [L, N].
        tables, slopes: uint64 [L, W, 1], or [L, W, CHUNK] for one chunk of keys, each with its own.
        nodes_at: int64 [L, depth + 1] for the largest depth: see `expand_neighbours`.
    """
    most = 0
    for line in range(depths.size):
        most = max(most, nodes_at[line, depths[line]])
    nodes = room_for_nodes(most, nodes_at)
    converted = np.empty((CHUNK, 2), np.uint64)
    for start in range(0, sums.shape[0], CHUNK):
        end = start + CHUNK
        total = sums[start:end]
        total[:] = _ZERO
        for line in range(depths.size):
            depth = depths[line]
            held = nodes_at[line, depth]
            word = expand_neighbours(
                start, rank, depth, depth, cw, root, first[line], nodes_at[line], round_keys, nodes
            )
            for j in range(int(counts[line, start:end].max())):
                node = word + (j % held) * _WORDS
                _hash_chunk(nodes, node, converted, VALUE, round_keys)
                controls = nodes[node // 2 : node // 2 + CHUNK]
                add_places(
                    controls,
                    converted,
                    values[line, :, start:end],
                    counts[line, start:end],
                    np.uint64(j),
                    places[line, start:end],
                    tables[line, j],
                    slopes[line, j],
                    total,
                )
        change_sign(rank, total)


@kernel
def sum_prefixes(
    rank: int, cw: Words, values: Words, root: Words, points: Words, round_keys: Words, sums: Words
) -> None:
    """Sums up to one point a key: see `idpf.prefix_sum`."""
    state, left, converted = (
        np.empty((CHUNK, 2), np.uint64),
        np.empty((CHUNK, 2), np.uint64),
        np.empty((CHUNK, 2), np.uint64),
    )
    bits = cw.shape[0]
    for start in range(0, sums.shape[0], CHUNK):
        end = start + CHUNK
        load_roots(root, start, rank, state)
        total = sums[start:end]
        total[:] = _ZERO
        for level in range(bits):
            shift = np.uint64(bits - 1 - level)
            _hash_chunk(state, 0, left, INNER, round_keys)
            step_left(cw[level, start:end], points[start:end], shift, state, left)
            _hash_chunk(left, 0, converted, VALUE, round_keys)
            add_left(points[start:end], shift, left, converted, values[level, start:end], total)
        _hash_chunk(state, 0, converted, VALUE, round_keys)
        add_last(rank, state, converted, values[bits - 1, start:end], total)
