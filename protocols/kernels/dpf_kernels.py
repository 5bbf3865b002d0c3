"""The compiled loops of the DPF, over chunks of keys that stay in the first cache.

Every kernel works on the first keys of its arrays, as many as its output has room for: a multiple of `CHUNK`.
`blocks` is uint64 [levels + 1, N, 2], correction words of all levels and then of the leaves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.aes import LEAF, hash_group
from protocols.kernels.jit import kernel
from protocols.kernels.key_chunks import CHUNK
from protocols.kernels.leaves import copy_to_rows, leaf_parities, make_leaves, sum_leaves
from protocols.kernels.neighbours import expand_neighbours, load_roots, room_for_nodes
from protocols.kernels.registers import GROUP
from protocols.kernels.tree import convert, correct, descend

Words = NDArray[np.uint64]

_WORDS = 2 * CHUNK
_GROUP_WORDS = 2 * GROUP


@kernel
def walk(
    rank: int,
    bits: int,
    blocks: Words,
    root: Words,
    points: Words,
    round_keys: Words,
    parities: NDArray[np.uint8],
) -> None:
    """Prefix parities at one point a key: see `dpf.prefix_parity`."""
    state, parity = np.empty((CHUNK, 2), np.uint64), np.empty((CHUNK, 2), np.uint64)
    levels, count = blocks.shape[0] - 1, blocks.shape[1]
    for start in range(0, parities.shape[0], CHUNK):
        load_roots(root, start, rank, state)
        parity[:] = 0
        row = 2 * start
        for level in range(levels):
            shift = np.uint64(64 - bits + level)
            for at in range(0, _WORDS, _GROUP_WORDS):
                descend(state, at, parity, blocks, row + at, points, start + at // 2, shift, round_keys, None)
            row += 2 * count
        for at in range(0, _WORDS, _GROUP_WORDS):
            convert(state, at, blocks, row + at, state, at, round_keys, None)
        end = start + CHUNK
        leaf_parities(state, parity, points[start:end], parities[start:end])


@kernel
def make_keys(
    bits: int,
    alpha: Words,
    roots: Words,
    round_keys: Words,
    blocks: Words,
    signs: NDArray[np.int8],
) -> None:
    """Writes correction words and signs: see `dpf.generate`."""
    state, delta = np.empty((CHUNK, 2), np.uint64), np.empty((CHUNK, 2), np.uint64)
    mine = np.empty((CHUNK, 2), np.uint64)
    levels, count = blocks.shape[0] - 1, blocks.shape[1]
    for start in range(0, signs.shape[0], CHUNK):
        end = start + CHUNK
        load_roots(roots[0], start, 0, state)
        load_roots(roots[1], start, 1, delta)
        for i in range(CHUNK):
            delta[i, 0] ^= state[i, 0]
            delta[i, 1] ^= state[i, 1]
        row = 2 * start
        for level in range(levels):
            shift = np.uint64(64 - bits + level)
            for at in range(0, _WORDS, _GROUP_WORDS):
                correct(
                    state, delta, at, blocks, row + at, alpha, start + at // 2, shift, round_keys, None, None
                )
            row += 2 * count
        for i in range(CHUNK):
            delta[i, 0] ^= state[i, 0]
            delta[i, 1] ^= state[i, 1]
        for at in range(0, _WORDS, _GROUP_WORDS):
            hash_group(state, at, mine, at, LEAF, round_keys)
            hash_group(delta, at, delta, at, LEAF, round_keys)
        make_leaves(state, mine, delta, alpha[start:end], blocks[levels, start:end], signs[start:end])


@kernel
def _expand_window(
    start: int,
    rank: int,
    bits: int,
    blocks: Words,
    root: Words,
    first: Words,
    nodes_at: NDArray[np.int64],
    round_keys: Words,
    nodes: Words,
) -> int:
    """The leaves of one chunk that hold a window, in `nodes`: see `expand_neighbours`."""
    levels = blocks.shape[0] - 1
    here = expand_neighbours(start, rank, levels, bits, blocks, root, first, nodes_at, round_keys, nodes)
    row = 2 * (levels * blocks.shape[1] + start)
    for i in range(nodes_at[levels]):
        for at in range(0, _WORDS, _GROUP_WORDS):
            node = here + i * _WORDS + at
            convert(nodes, node, blocks, row + at, nodes, node, round_keys, None)
    return here


@kernel
def sum_window(
    rank: int,
    bits: int,
    blocks: Words,
    root: Words,
    first: Words,
    starts: NDArray[np.int64],
    entries: NDArray[np.int32] | NDArray[np.int64],
    filled: int,
    leaves: int,
    nodes_at: NDArray[np.int64],
    round_keys: Words,
    sums: NDArray[np.int64],
) -> None:
    """Sums of table entries: see `dpf.window_lookup`.

    Args:
        starts: where each key's row of entries begins.
        entries: see `WindowTable`.
        filled: leaves that a window fills once it is moved to the lowest bit.
        leaves: leaves that a window may touch; one more than there are where it comes round to the first.
        nodes_at: see `expand_neighbours`.
    """
    nodes, held = room_for_nodes(max(leaves, filled + 1), nodes_at), nodes_at[-1]
    for start in range(0, sums.shape[0], CHUNK):
        end = start + CHUNK
        row = _expand_window(start, rank, bits, blocks, root, first, nodes_at, round_keys, nodes) // 2
        here, rows, total = first[start:end], starts[start:end], sums[start:end]
        sum_leaves(bits, nodes, row, held, leaves, here, rows, entries, filled, total)


@kernel
def copy_leaves(
    rank: int,
    bits: int,
    blocks: Words,
    root: Words,
    nodes_at: NDArray[np.int64],
    round_keys: Words,
    out: Words,
) -> None:
    """All leaves of every key: uint64 [N, leaves, 2]."""
    nodes = room_for_nodes(nodes_at[-1], nodes_at)
    first = np.zeros(root.shape[0], np.uint64)
    for start in range(0, out.shape[0], CHUNK):
        row = _expand_window(start, rank, bits, blocks, root, first, nodes_at, round_keys, nodes) // 2
        copy_to_rows(nodes, row, out[start : start + CHUNK])
