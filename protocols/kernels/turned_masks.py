"""The arithmetic of OTs of values, in one pass over the masks, modulo 2^64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel

Words = NDArray[np.uint64]


@kernel
def turn_masks(first: Words, second: Words, turns: NDArray[np.uint8], values: Words) -> None:
    """What the sender sends and keeps, in place.

    With y_0 and y_1 the row's masks, exchanged where it is turned: `second` becomes y_0 - y_1 + v, `first`
    becomes -y_0.

    Args:
        first, second: uint64 [n, m].
        turns: uint8 [n], or [0] where no row is turned.
        values: uint64 [r, m], n a multiple of r: row i has the values i % r.
    """
    rows, zero = values.shape[0], np.uint64(0)
    for i in range(first.shape[0]):
        turned = turns.shape[0] > 0 and turns[i] != 0
        row = i % rows
        for j in range(first.shape[1]):
            kept, other = first[i, j], second[i, j]
            if turned:
                kept, other = other, kept
            second[i, j] = kept - other + values[row, j]
            first[i, j] = zero - kept


@kernel
def add_chosen(
    masks: Words, start: int, bits: NDArray[np.uint8], received: NDArray[np.unsignedinteger]
) -> None:
    """masks[start + i, j] += bits[start + i] received[i, j], in place: uint64 [n, m] and [rows, m]."""
    for i in range(received.shape[0]):
        taken = np.uint64(0) - np.uint64(bits[start + i])
        for j in range(received.shape[1]):
            masks[start + i, j] += taken & np.uint64(received[i, j])
