"""Sums and correction values of the incremental DPF, from nodes and their hashes: compiled loops.

All of them work on whole chunks of keys. `rank` changes the sign of party 1's sums: see `idpf.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel
from protocols.kernels.key_chunks import CHUNK

Words = NDArray[np.uint64]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)


@kernel
def make_values(state: Words, word: int, mine: Words, theirs: Words, wanted: Words, values: Words) -> None:
    """W = (-1)^t_1 (wanted - conv(s_0) + conv(s_1)), conv being this word of the hash."""
    for i in range(values.size):
        value = wanted[i] - mine[i, word] + theirs[i, word]
        values[i] = value if state[i, 0] & _ONE else _ZERO - value  # t_1 = 1 - t_0


@kernel
def add_entries(
    controls: Words,
    hashes: Words,
    values: Words,
    counts: Words,
    j: np.uint64,
    entries: Words,
    total: Words,
) -> None:
    """Adds place j of a range times the chunk's shares, to the sums of those keys whose range is longer.

    Args:
        controls, hashes: uint64 [CHUNK, 2], the nodes and what they hash to.
        values: uint64 [CHUNK], W.
        entries: uint64 [1], or [CHUNK] where each key has its own.
    """
    if entries.size == 1:
        entry = entries[0]
        for i in range(CHUNK):
            share = hashes[i, 0] + (values[i] & (_ZERO - (controls[i, 0] & _ONE)))
            total[i] += share * (entry if j < counts[i] else _ZERO)
    else:
        for i in range(CHUNK):
            share = hashes[i, 0] + (values[i] & (_ZERO - (controls[i, 0] & _ONE)))
            total[i] += share * (entries[i] if j < counts[i] else _ZERO)


@kernel
def add_places(
    controls: Words,
    hashes: Words,
    values: Words,
    counts: Words,
    j: np.uint64,
    places: Words,
    table: Words,
    slopes: Words,
    total: Words,
) -> None:
    """Adds what place j of a range says on its line, to the sums of those keys whose range is longer.

    Args:
        controls, hashes: uint64 [CHUNK, 2], the nodes and what they hash to.
        values: uint64 [2, CHUNK], W of the 1 and of the payload.
        places: uint64 [CHUNK], where on its line each key is read, plus the payload.
        table, slopes: uint64 [1], or [CHUNK] where each key has its own.
    """
    if table.size == 1:
        value, slope = table[0], slopes[0]
        for i in range(CHUNK):
            control = _ZERO - (controls[i, 0] & _ONE)
            one = hashes[i, 0] + (values[0, i] & control)
            payload = hashes[i, 1] + (values[1, i] & control)
            sum_here = one * (value + slope * places[i]) - payload * slope
            total[i] += sum_here if j < counts[i] else _ZERO
    else:
        for i in range(CHUNK):
            control = _ZERO - (controls[i, 0] & _ONE)
            one = hashes[i, 0] + (values[0, i] & control)
            payload = hashes[i, 1] + (values[1, i] & control)
            sum_here = one * (table[i] + slopes[i] * places[i]) - payload * slopes[i]
            total[i] += sum_here if j < counts[i] else _ZERO


@kernel
def step_left(cw: Words, points: Words, shift: np.uint64, state: Words, left: Words) -> None:
    """From hashes in `left` to left children there, and in `state` to the children that the points name."""
    for i in range(points.size):
        control = _ZERO - (state[i, 0] & _ONE)
        right = _ZERO - ((points[i] >> shift) & _ONE)
        left[i, 0] ^= cw[i, 0] & control
        left[i, 1] ^= cw[i, 1] & control
        state[i, 0] = left[i, 0] ^ (state[i, 0] & right)
        state[i, 1] = left[i, 1] ^ (state[i, 1] & right)


@kernel
def add_left(
    points: Words, shift: np.uint64, left: Words, hashes: Words, values: Words, total: Words
) -> None:
    """Adds the left child's share where the point lies in the right one."""
    for i in range(points.size):
        share = hashes[i, 0] + (values[i] & (_ZERO - (left[i, 0] & _ONE)))
        total[i] += share & (_ZERO - ((points[i] >> shift) & _ONE))


@kernel
def change_sign(rank: int, sums: Words) -> None:
    """Negates party 1's sums, in place."""
    if rank:
        for i in range(sums.size):
            sums[i] = _ZERO - sums[i]


@kernel
def add_last(rank: int, nodes: Words, hashes: Words, values: Words, sums: Words) -> None:
    """Adds the shares of the nodes that the points end in, and changes the sign of party 1's sums."""
    for i in range(sums.size):
        share = sums[i] + hashes[i, 0] + (values[i] & (_ZERO - (nodes[i, 0] & _ONE)))
        sums[i] = _ZERO - share if rank else share
