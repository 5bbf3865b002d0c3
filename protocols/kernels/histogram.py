"""Sums of rotated vectors, row by row, as counts from the top: the loop of the coarse maximum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel


def suffix_counts(
    vectors: NDArray[np.unsignedinteger[Any]], shifts: NDArray[np.uint8], starts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many elements of each row are as large as each threshold, if vectors are one-hot.

    With entry j of vector e moved to (j + shifts[e]) mod B and the vectors of a row added up to H, B even:
    entry t - 1 of a row's result is the sum of H over all v with signed value from t - B/2 on, 0 < t < B;
    v below B/2 has the signed value v, the others v - B.

    Args:
        vectors: uint8 or uint16 [E, B]; sums are taken modulo 2^8 or 2^16.
        shifts: [E], below B.
        starts: [R + 1], where rows begin, 0 first and E last.

    Returns:
        int64 [R, B - 1].
    """
    out = np.empty((starts.size - 1, vectors.shape[1] - 1), np.int64)
    sums = np.empty(2 * vectors.shape[1], vectors.dtype)
    _add_rows(vectors, shifts, starts, sums, out)
    return out


@kernel
def _add_rows(
    vectors: NDArray[np.unsignedinteger[Any]],
    shifts: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sums: NDArray[np.unsignedinteger[Any]],
    out: NDArray[np.int64],
) -> None:
    """`sums` has room for a vector at any shift, unwrapped."""
    size = vectors.shape[1]
    half = size // 2
    for row in range(starts.size - 1):
        sums[:] = 0
        for e in range(starts[row], starts[row + 1]):
            _add(vectors[e], sums[np.int64(shifts[e]) :])
        count = np.int64(0)
        for t in range(size - 1, 0, -1):
            v = t + half if t < half else t - half
            count += np.int64(sums[v]) + np.int64(sums[v + size])
            out[row, t - 1] = count


@kernel
def _add(vector: NDArray[np.unsignedinteger[Any]], to: NDArray[np.unsignedinteger[Any]]) -> None:
    for i in range(vector.size):
        to[i] += vector[i]
