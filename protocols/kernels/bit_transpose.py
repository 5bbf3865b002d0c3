"""The transpose of a matrix of bits, 64 by 64 at a time: columns of an OT extension become blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel

Words = NDArray[np.uint64]

_SIDE = 64


def transpose_bits(columns: Words) -> Words:
    """Blocks from bit columns.

    Args:
        columns: uint64 [128, m / 64], m a multiple of 64; row i holds bit i of every block, block j at bit
            j % 64 of word j // 64.

    Returns:
        uint64 [m, 2].
    """
    rows, words = columns.shape
    assert rows == 2 * _SIDE, f"a block has 128 bits, got {rows} columns"
    out = np.empty((_SIDE * words, 2), np.uint64)
    transpose_into(np.ascontiguousarray(columns), out)
    return out


@kernel
def transpose_into(columns: Words, out: Words) -> None:
    """See `transpose_bits`. Recursive swaps of halves (Warren, "Hacker's Delight", section 7-3)."""
    tile = np.empty(_SIDE, np.uint64)
    for word in range(columns.shape[1]):
        for half in range(2):
            for i in range(_SIDE):
                tile[i] = columns[_SIDE * half + i, word]
            width, mask = 32, np.uint64(0x00000000FFFFFFFF)
            while width:
                shift = np.uint64(width)
                for i in range(_SIDE):
                    if i & width == 0:
                        swapped = ((tile[i] >> shift) ^ tile[i + width]) & mask
                        tile[i] ^= swapped << shift
                        tile[i + width] ^= swapped
                width >>= 1
                mask ^= mask << np.uint64(width)
            for i in range(_SIDE):
                out[_SIDE * word + i, half] = tile[i]
