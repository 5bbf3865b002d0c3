"""Sums of rotated vectors, row by row, as counts from the top: the loop of the coarse maximum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.entries import Bytes, Layout
from protocols.kernels.jit import kernel
from protocols.kernels.parallel import in_threads

Units = NDArray[np.unsignedinteger[Any]]
_THREAD_BYTES = 1 << 18
"""Vectors for which another thread pays."""


def suffix_counts(
    packed: Bytes, layout: Layout, shifts: NDArray[np.uint8], starts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many elements of each row are as large as each threshold, if vectors are one-hot.

    With entry j of vector e moved to (j + shifts[e]) mod B and the vectors of a row added up to H, B even:
    entry t - 1 of a row's result is the sum of H over all v with signed value from t - B/2 on, 0 < t < B;
    v below B/2 has the signed value v, the others v - B.

    Args:
        packed: uint8 [E, layout.vector_bytes]; sums are taken modulo 2^c, bits above may be anything.
        shifts: [E], below B.
        starts: [R + 1], where rows begin, 0 first and E last.

    Returns:
        int64 [R, B - 1].
    """
    rows, size = starts.size - 1, layout.entries
    out = np.empty((rows, size - 1), np.int64)
    # Planes of whole words are unpacked a word at a time.
    unit = np.dtype(np.uint64 if size >= 64 else np.uint8)
    flat = packed.reshape(-1)

    def work(first: int, last: int) -> None:
        unpacked = np.zeros(size, np.uint8)
        _add_rows(
            flat,
            flat.view(unit),
            layout.vector_bytes,
            layout.planes,
            layout.low_planes,
            shifts,
            starts[first : last + 1],
            np.zeros(2 * size, np.uint16),
            np.zeros(2 * size, np.uint8),
            unpacked,
            unpacked.view(unit),
            out[first:last],
            (0,) * (size // 8),
            (0,) * unit.itemsize,
        )

    in_threads(rows, max(1, rows * _THREAD_BYTES // max(1, packed.size)), work)
    return out


@kernel
def _add_rows(
    flat: Bytes,
    units: Units,
    vector_bytes: int,
    planes: NDArray[np.int64],
    low_planes: int,
    shifts: NDArray[np.uint8],
    starts: NDArray[np.int64],
    low_sums: NDArray[np.uint16],
    high_sums: Bytes,
    unpacked: Bytes,
    unpacked_units: Units,
    out: NDArray[np.int64],
    eighths: tuple[int, ...],
    unit: tuple[int, ...],
) -> None:
    """The low eight bits of entries are summed apart from what is above them, each part as it lies in memory.

    Sums have room for a vector at any shift, unwrapped; `units` and `unpacked_units` are the same memory
    as `flat` and `unpacked`. B is eight times the length of `eighths`, and units have as many bytes as `unit`
    is long: the compiler knows both from their types."""
    size = 8 * len(eighths)
    half = size // 2
    low_whole, has_high = planes[0, 1] == 8, planes.shape[0] > low_planes
    high_whole = has_high and planes[low_planes, 1] == 8
    high_start = planes[low_planes, 0] if has_high else 0
    for row in range(starts.size - 1):
        low_sums[:] = 0
        high_sums[:] = 0
        for e in range(starts[row], starts[row + 1]):
            at, shift = np.uint64(e * vector_bytes), np.uint64(shifts[e])
            if low_whole:
                _add(flat, at, low_sums, shift, eighths)
            else:
                _unpack(units, at, planes[:low_planes], unpacked_units, eighths, unit)
                _add(unpacked, np.uint64(0), low_sums, shift, eighths)
            if high_whole:
                _add(flat, at + np.uint64(high_start), high_sums, shift, eighths)
            elif has_high:
                _unpack(units, at, planes[low_planes:], unpacked_units, eighths, unit)
                _add(unpacked, np.uint64(0), high_sums, shift, eighths)
        count = np.int64(0)
        for t in range(size - 1, 0, -1):
            v = t + half if t < half else t - half
            count += np.int64(low_sums[v]) + np.int64(low_sums[v + size])
            count += (np.int64(high_sums[v]) + np.int64(high_sums[v + size])) << 8
            out[row, t - 1] = count


@kernel
def _add(
    vector: Bytes,
    first: np.uint64,
    to: NDArray[np.unsignedinteger[Any]],
    shift: np.uint64,
    eighths: tuple[int, ...],
) -> None:
    for i in range(8 * len(eighths)):
        to[shift + np.uint64(i)] += vector[first + np.uint64(i)]


@kernel
def _unpack(
    units: Units,
    at: np.uint64,
    planes: NDArray[np.int64],
    out: Units,
    eighths: tuple[int, ...],
    unit: tuple[int, ...],
) -> None:
    """Entries of planes of less than a byte, as bytes; `at` is where their vector begins, in bytes."""
    out[:] = 0
    for p in range(planes.shape[0]):
        start, up = (at + np.uint64(planes[p, 0])) // np.uint64(len(unit)), np.uint64(planes[p, 2] & 7)
        if planes[p, 1] == 1:
            _unpack_plane(units, start, up, out, eighths, unit, (0,) * 8)
        elif planes[p, 1] == 2:
            _unpack_plane(units, start, up, out, eighths, unit, (0,) * 4)
        else:
            _unpack_plane(units, start, up, out, eighths, unit, (0,) * 2)


@kernel
def _unpack_plane(
    units: Units,
    start: np.uint64,
    up: np.uint64,
    out: Units,
    eighths: tuple[int, ...],
    unit: tuple[int, ...],
    parts: tuple[int, ...],
) -> None:
    """A plane of 8, 4 or 2 entries a byte, as many as `parts` is long, into bits `up` on of every byte."""
    width = 8 // len(parts)
    length = 8 * len(eighths) // (len(unit) * len(parts))
    ones = np.uint64(0x0101010101010101 if len(unit) == 8 else 1)
    mask = (ones * np.uint64((1 << width) - 1)) << up
    for k in range(length):
        word = np.uint64(units[start + np.uint64(k)])
        for part in range(len(parts)):
            out[part * length + k] |= ((word >> np.uint64(width * part)) << up) & mask
