"""The compiled loops of the DPF, over chunks of keys that stay in the first cache.

Every kernel works on the first keys of its arrays, as many as its output has room for: a multiple of `CHUNK`.
`blocks` is uint64 [levels + 1, N, 2], correction words of all levels and then of the leaves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.aes import LEAF, hash_group
from protocols.kernels.chunks import CHUNK
from protocols.kernels.jit import kernel
from protocols.kernels.lookup import masked_sum
from protocols.kernels.neighbours import expand_neighbours, load_roots, room_for_nodes
from protocols.kernels.registers import GROUP
from protocols.kernels.tree import convert, correct, descend

Words = NDArray[np.uint64]

_WORDS = 2 * CHUNK
_GROUP_WORDS = 2 * GROUP
_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


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
                descend(state, at, parity, blocks, row + at, points, start + at // 2, shift, round_keys)
            row += 2 * count
        for at in range(0, _WORDS, _GROUP_WORDS):
            convert(state, at, blocks, row + at, state, at, round_keys)
        for i in range(CHUNK):
            last = _leaf_parity(state[i, 0], state[i, 1], points[start + i])
            parities[start + i] = last ^ (parity[i, 0] & _ONE)


@kernel
def _leaf_parity(low: np.uint64, high: np.uint64, point: np.uint64) -> np.uint64:
    """Parity of a leaf's bits up to the point's; of those after it where the last direction was right."""
    right = np.uint64(0) - ((point >> np.uint64(7)) & _ONE)
    upper = np.uint64(0) - ((point >> np.uint64(6)) & _ONE)
    prefix = _ALL >> (np.uint64(63) - (point & np.uint64(63)))
    folded = (low & ((prefix | upper) ^ right)) ^ (high & ((prefix & upper) ^ right))
    folded ^= folded >> np.uint64(32)
    folded ^= folded >> np.uint64(16)
    folded ^= folded >> np.uint64(8)
    folded ^= folded >> np.uint64(4)
    folded ^= folded >> np.uint64(2)
    return (folded ^ (folded >> _ONE)) & _ONE


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
    levels, count = blocks.shape[0] - 1, blocks.shape[1]
    for start in range(0, signs.shape[0], CHUNK):
        load_roots(roots[0], start, 0, state)
        load_roots(roots[1], start, 1, delta)
        for i in range(CHUNK):
            delta[i, 0] ^= state[i, 0]
            delta[i, 1] ^= state[i, 1]
        row = 2 * start
        for level in range(levels):
            shift = np.uint64(64 - bits + level)
            for at in range(0, _WORDS, _GROUP_WORDS):
                correct(state, delta, at, blocks, row + at, alpha, start + at // 2, shift, round_keys)
            row += 2 * count
        _make_leaves(state, delta, start, alpha, round_keys, blocks[levels], signs)


@kernel
def _make_leaves(
    state: Words,
    delta: Words,
    start: int,
    alpha: Words,
    round_keys: Words,
    leaf: Words,
    signs: NDArray[np.int8],
) -> None:
    """Leaf correction words and signs of one chunk; overwrites `delta`."""
    mine = np.empty((CHUNK, 2), np.uint64)
    for i in range(CHUNK):
        delta[i, 0] ^= state[i, 0]
        delta[i, 1] ^= state[i, 1]
    for at in range(0, _WORDS, _GROUP_WORDS):
        hash_group(state, at, mine, at, LEAF, round_keys)
        hash_group(delta, at, delta, at, LEAF, round_keys)
    for i in range(CHUNK):
        upper = (alpha[start + i] >> np.uint64(6)) & _ONE
        place = alpha[start + i] & np.uint64(63)
        low = mine[i, 0] ^ delta[i, 0] ^ ((upper ^ _ONE) << place)
        high = mine[i, 1] ^ delta[i, 1] ^ (upper << place)
        leaf[start + i, 0], leaf[start + i, 1] = low, high
        control = np.uint64(0) - (state[i, 0] & _ONE)
        low, high = mine[i, 0] ^ (low & control), mine[i, 1] ^ (high & control)
        share = ((high if upper else low) >> place) & _ONE
        signs[start + i] = 1 if share else -1


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
            convert(nodes, node, blocks, row + at, nodes, node, round_keys)
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
    nodes = room_for_nodes(max(leaves, filled + 1), nodes_at)
    window = np.empty(2 * filled, np.uint64)
    inside = np.uint64((1 << min(bits, 7)) - 1)
    for start in range(0, sums.shape[0], CHUNK):
        word = _expand_window(start, rank, bits, blocks, root, first, nodes_at, round_keys, nodes)
        slot = word // 2
        if bits < 7:
            _repeat_domain(nodes[slot : slot + CHUNK], bits)
        if leaves > nodes_at[-1]:
            end = slot + nodes_at[-1] * CHUNK
            nodes[end : end + CHUNK] = nodes[slot : slot + CHUNK]
        for i in range(CHUNK):
            _move_window(nodes, slot + i, np.int64(first[start + i] & inside), window)
            sums[start + i] = masked_sum(window, 0, 2, filled, entries, starts[start + i])


@kernel
def _move_window(nodes: Words, leaf: int, offset: np.int64, window: Words) -> None:
    """Moves a key's bits from an offset in its first leaf on to the lowest bit; leaves lie a chunk apart."""
    shift = np.uint64(offset & 63)
    at = offset >> 6
    low = nodes[leaf, at]
    for j in range(window.size):
        at += 1
        high = nodes[leaf + (at >> 1) * CHUNK, at & 1]
        window[j] = (low >> shift) | (high << (np.uint64(63) - shift) << _ONE)
        low = high


@kernel
def _repeat_domain(leaves: Words, bits: int) -> None:
    """Fills leaves of a domain below 128 points with its bits over and over."""
    for i in range(leaves.shape[0]):
        width = 1 << bits
        word = leaves[i, 0] & (_ALL >> np.uint64(64 - width))
        while width < 64:
            word |= word << np.uint64(width)
            width *= 2
        leaves[i, 0] = leaves[i, 1] = word


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
    leaves = nodes_at[-1]
    nodes = room_for_nodes(leaves, nodes_at)
    first = np.zeros(root.shape[0], np.uint64)
    for start in range(0, out.shape[0], CHUNK):
        slot = _expand_window(start, rank, bits, blocks, root, first, nodes_at, round_keys, nodes) // 2
        for j in range(leaves):
            for i in range(CHUNK):
                out[start + i, j, 0] = nodes[slot + j * CHUNK + i, 0]
                out[start + i, j, 1] = nodes[slot + j * CHUNK + i, 1]
