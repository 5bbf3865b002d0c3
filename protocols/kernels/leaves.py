"""Reads and makes leaves of 128 bits once AES is done: compiled loops over keys.

Leaves of many keys lie side by side, leaf after leaf: leaf j of key i of a block of K keys is row j K + i.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel
from protocols.kernels.masked_sums import masked_sum

Words = NDArray[np.uint64]

_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel
def leaf_parity(low: np.uint64, high: np.uint64, point: np.uint64) -> np.uint64:
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
def leaf_parities(leaves: Words, parity: Words, points: Words, parities: NDArray[np.uint8]) -> None:
    """Prefix parities from one leaf a key, and the parity of what lies above it in word 0 of `parity`."""
    for i in range(parities.shape[0]):
        last = leaf_parity(leaves[i, 0], leaves[i, 1], points[i])
        parities[i] = last ^ (parity[i, 0] & _ONE)


@kernel
def make_leaves(
    state: Words, mine: Words, theirs: Words, alpha: Words, leaf: Words, signs: NDArray[np.int8]
) -> None:
    """Leaf correction words and signs from both parties' hashes, `state` being party 0's nodes."""
    for i in range(signs.shape[0]):
        upper = (alpha[i] >> np.uint64(6)) & _ONE
        place = alpha[i] & np.uint64(63)
        low = mine[i, 0] ^ theirs[i, 0] ^ ((upper ^ _ONE) << place)
        high = mine[i, 1] ^ theirs[i, 1] ^ (upper << place)
        leaf[i, 0], leaf[i, 1] = low, high
        control = np.uint64(0) - (state[i, 0] & _ONE)
        low, high = mine[i, 0] ^ (low & control), mine[i, 1] ^ (high & control)
        share = ((high if upper else low) >> place) & _ONE
        signs[i] = 1 if share else -1


@kernel
def sum_leaves(
    bits: int,
    leaves: Words,
    row: int,
    held: int,
    read: int,
    first: Words,
    starts: NDArray[np.int64],
    entries: NDArray[np.int32] | NDArray[np.int64],
    filled: int,
    sums: NDArray[np.int64],
) -> None:
    """Sums of those entries of each key's row whose bit is 1, for windows that begin in the key's first leaf.

    Args:
        leaves: uint64 [., 2], with a maximum context of `read` and for `filled + 1` leaves a key from row
            `row` on.
        held: leaves a key that are there.
        read: leaves that a window may touch; one more than there are where it comes round to the first.
        first: uint64 [K], where the windows begin.
        starts: int64 [K], where each key's row of entries begins.
        entries: see `WindowTable`.
        filled: leaves that a window fills once it is moved to the lowest bit.
        sums: int64 [K], overwritten.
    """
    keys = sums.shape[0]
    window = np.empty(2 * filled, np.uint64)
    inside = np.uint64((1 << min(bits, 7)) - 1)
    if bits < 7:
        _repeat_domain(leaves[row : row + keys], bits)
    if read > held:
        end = row + held * keys
        leaves[end : end + keys] = leaves[row : row + keys]
    for i in range(keys):
        _move_window(leaves, row + i, keys, np.int64(first[i] & inside), window)
        sums[i] = masked_sum(window, 0, 2, filled, entries, starts[i])


@kernel
def _move_window(leaves: Words, row: int, keys: int, offset: np.int64, window: Words) -> None:
    """Moves a key's bits from an offset in its first leaf on to the lowest bit."""
    shift = np.uint64(offset & 63)
    at = offset >> 6
    low = leaves[row, at]
    for j in range(window.size):
        at += 1
        high = leaves[row + (at >> 1) * keys, at & 1]
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
def copy_to_rows(leaves: Words, row: int, out: Words) -> None:
    """Leaves as rows of keys: `out` is uint64 [K, leaves, 2]."""
    keys = out.shape[0]
    for j in range(out.shape[1]):
        for i in range(keys):
            out[i, j, 0] = leaves[row + j * keys + i, 0]
            out[i, j, 1] = leaves[row + j * keys + i, 1]
