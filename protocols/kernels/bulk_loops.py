"""The part of a half-tree's level that needs no AES, for many trees: compiled loops.

Keys come in whole chunks of 64; nodes lie as in `bulk.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel
from protocols.kernels.key_chunks import CHUNK
from protocols.kernels.prefix_shares import add_entries, add_places
from protocols.kernels.registers import GROUP
from protocols.kernels.tree import close, convert, correct, descend, expand, turn

Words = NDArray[np.uint64]

_GROUP_WORDS = 2 * GROUP


@kernel
def turn_nodes(nodes: Words, word: int, turned: Words, tweak: np.uint64) -> None:
    """The blocks that AES encrypts for the hashes of nodes, from word `word` on; `turned` is flat."""
    for at in range(0, turned.size, _GROUP_WORDS):
        turn(nodes, word + at, turned, at, tweak)


@kernel
def expand_nodes(
    nodes: Words,
    children: Words,
    keys: int,
    held: int,
    whole: bool,
    cw: Words,
    first: Words,
    shift: np.uint64,
    hashes: Words,
) -> None:
    """One level of `expand_neighbours`: both lists begin after a slot that may be spoiled.

    Args:
        held: nodes a key in `nodes`.
        whole: they are all there are on this level.
        cw: uint64 [K, 2], this level's.
        first: uint64 [K].
        hashes: uint64 [held K, 2], of the nodes.
    """
    words = 2 * keys
    for at in range(0, words, _GROUP_WORDS):
        here, key = words + at, at // 2
        for i in range(held):
            place = i * words
            expand(
                nodes,
                here + place,
                children,
                here + 2 * place,
                words,
                cw,
                at,
                first,
                key,
                shift,
                hashes,
                at + place,
            )
        if whole:
            close(nodes, here, children, here, here + (2 * held - 1) * words, first, key, shift)


@kernel
def convert_nodes(nodes: Words, row: int, keys: int, held: int, correction: Words, hashes: Words) -> None:
    """Turns nodes from row `row` on into leaves, in place."""
    words = 2 * keys
    for i in range(held):
        for at in range(0, words, _GROUP_WORDS):
            node = 2 * row + i * words + at
            convert(nodes, node, correction, at, nodes, node, hashes, i * words + at)


@kernel
def descend_nodes(
    state: Words, parity: Words, cw: Words, points: Words, shift: np.uint64, hashes: Words
) -> None:
    """One level of the walk to one point a key, in place: see `tree.descend`."""
    for at in range(0, state.size, _GROUP_WORDS):
        descend(state, at, parity, cw, at, points, at // 2, shift, hashes, at)


@kernel
def correct_nodes(
    state: Words, delta: Words, cw: Words, alpha: Words, shift: np.uint64, hashes: Words
) -> None:
    """One level of making keys: see `tree.correct`. `hashes` has party 0's, then party 1's."""
    for at in range(0, state.size, _GROUP_WORDS):
        correct(state, delta, at, cw, at, alpha, at // 2, shift, hashes, at, state.size + at)


@kernel
def add_range(
    nodes: Words,
    row: int,
    held: int,
    hashes: Words,
    values: Words,
    counts: Words,
    tables: Words,
    total: Words,
) -> None:
    """Adds a range's entries: see `idpf_kernels.sum_range`.

    Args:
        nodes: `held` a key from row `row` on, and their hashes, uint64 [held K, 2].
    """
    keys = total.size
    for start in range(0, keys, CHUNK):
        end = start + CHUNK
        for j in range(int(counts[start:end].max())):
            node = (j % held) * keys + start
            controls, there = nodes[row + node : row + node + CHUNK], hashes[node : node + CHUNK]
            add_entries(
                controls,
                there,
                values[start:end],
                counts[start:end],
                np.uint64(j),
                tables[j],
                total[start:end],
            )


@kernel
def add_line(
    nodes: Words,
    row: int,
    held: int,
    hashes: Words,
    values: Words,
    counts: Words,
    places: Words,
    tables: Words,
    slopes: Words,
    total: Words,
) -> None:
    """Adds a range's lines: see `idpf_kernels.sum_lines`. Nodes as for `add_range`."""
    keys = total.size
    for start in range(0, keys, CHUNK):
        end = start + CHUNK
        for j in range(int(counts[start:end].max())):
            node = (j % held) * keys + start
            add_places(
                nodes[row + node : row + node + CHUNK],
                hashes[node : node + CHUNK],
                values[:, start:end],
                counts[start:end],
                np.uint64(j),
                places[start:end],
                tables[j],
                slopes[j],
                total[start:end],
            )
