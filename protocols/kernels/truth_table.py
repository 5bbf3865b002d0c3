"""Point functions on small domains, shared as whole truth tables: a bit a point, to one party alone.

Party 1 draws its table, uniform bits. Party 0 is sent the same with the bit at alpha changed: uniform bits
again, whatever alpha is. Up to `MAX_BITS` that is no more than keys of `dpf`, which go to both, and it takes
no hash to read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parties.errors import RangeError
from protocols.kernels.checks import require_below, require_bits
from protocols.kernels.jit import kernel
from protocols.kernels.masked_sums import LEAF_BITS, masked_sum
from protocols.kernels.window_table import WindowTable

Words = NDArray[np.uint64]

MAX_BITS = 10
"""Bits of the largest domain: a table has 128 bytes, as many as two keys of `dpf` have there."""

_ONE = np.uint64(1)


def table_bytes(bits: int) -> int:
    """Bytes of one table; domains of fewer than 8 points take a byte."""
    return max(1, (1 << bits) // 8)


def share(drawn: NDArray[np.uint8], bits: int, alpha: Words) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Party 0's tables from party 1's.

    Args:
        drawn: uint8 [N table_bytes], uniform.
        bits: 1 to `MAX_BITS`.
        alpha: uint64 [N], the points, below 2^bits.

    Returns:
        uint8 of the same size, and int8 [N] signs as those of `dpf.generate`: 1 where party 0's bit at alpha
        is 1, and -1 elsewhere. Signs are secret.

    Raises:
        RangeError: a point or a size does not fit.
    """
    _require_size(bits, alpha.size, drawn.size)
    require_below(alpha, bits)
    place = np.arange(alpha.size) * table_bytes(bits) + (alpha >> np.uint64(3)).astype(np.int64)
    bit = (_ONE << (alpha & np.uint64(7))).astype(np.uint8)
    changed = drawn.copy()
    changed[place] ^= bit
    return changed, np.where(changed[place] & bit, 1, -1).astype(np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class TruthTables:
    """One party's tables of N point functions.

    Attributes:
        bits: of the domain.
        words: uint64 [N, M], 2^bits bits; those of fewer than 128 points over and over. Read-only.
    """

    bits: int
    words: Words

    @classmethod
    def from_bytes(cls, bits: int, count: int, data: NDArray[np.uint8]) -> TruthTables:
        """Tables one after the other; copied where they are of fewer than 128 points.

        Raises:
            RangeError: there are more or fewer bytes.
        """
        _require_size(bits, count, data.size)
        tables = data.reshape(count, table_bytes(bits))
        if bits < 3:
            tables = _repeated(tables, bits)
        if tables.shape[1] < LEAF_BITS // 8:
            tables = np.tile(tables, (1, LEAF_BITS // 8 // tables.shape[1]))
        words = np.ascontiguousarray(tables).view(np.uint64)
        words.flags.writeable = False
        return cls(bits, words)

    def prefix_parity(self, points: Words) -> NDArray[np.uint8]:
        """As `dpf.prefix_parity`: XOR shares of 1{alpha <= x}, uint8 [P, N], at points uint64 [P, N].

        Raises:
            RangeError: a point or a shape does not fit.
        """
        if points.ndim != 2 or points.shape[1] != len(self.words):
            raise RangeError(f"points: expected one a key of {len(self.words)}, got shape {points.shape}")
        require_below(points, self.bits)
        parities = np.empty(points.shape, np.uint8)
        for row, out in zip(points, parities, strict=True):
            _parities(self.words, np.ascontiguousarray(row), out)
        return parities

    def window_lookup(
        self, first: Words, table: WindowTable, which: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """As `dpf.window_lookup`.

        Raises:
            RangeError: the window is larger than the domain, or a shape does not fit.
        """
        if first.shape != (len(self.words),) or table.size > 1 << self.bits:
            raise RangeError(f"{table.size} entries, {first.shape} first points for {len(self.words)} tables")
        places = (first & np.uint64((1 << self.bits) - 1)).astype(np.int64)
        sums = np.empty(len(first), np.int64)
        starts = table.starts(which, len(first))
        _sums(self.words, places, starts, table.entries, table.leaves, sums)
        return sums


def _require_size(bits: int, count: int, size: int) -> None:
    require_bits(bits, MAX_BITS)
    if size != count * table_bytes(bits):
        raise RangeError(f"expected {count} tables of {table_bytes(bits)} bytes, got {size} bytes")


def _repeated(tables: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Bytes of the low 2^bits bits over and over."""
    width = 1 << bits
    low = tables & np.uint8((1 << width) - 1)
    whole = low.copy()
    for shift in range(width, 8, width):
        whole |= low << np.uint8(shift)
    return whole


@kernel
def _parities(words: Words, points: Words, out: NDArray[np.uint8]) -> None:
    for i in range(out.shape[0]):
        last = np.int64(points[i] >> np.uint64(6))
        folded = words[i, last] & (
            np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(63) - (points[i] & np.uint64(63)))
        )
        for j in range(last):
            folded ^= words[i, j]
        for shift in (32, 16, 8, 4, 2, 1):
            folded ^= folded >> np.uint64(shift)
        out[i] = folded & np.uint64(1)


@kernel
def _sums(
    words: Words,
    places: NDArray[np.int64],
    starts: NDArray[np.int64],
    entries: NDArray[np.int32] | NDArray[np.int64],
    leaves: int,
    sums: NDArray[np.int64],
) -> None:
    """Moves each window to the lowest bit, and adds up what it selects."""
    window = np.empty(2 * leaves, np.uint64)
    ring = words.shape[1] - 1
    for i in range(sums.shape[0]):
        at, shift = places[i] >> 6, np.uint64(places[i] & 63)
        for j in range(2 * leaves):
            low, high = words[i, (at + j) & ring], words[i, (at + j + 1) & ring]
            window[j] = (low >> shift) | (high << (np.uint64(63) - shift) << np.uint64(1))
        sums[i] = masked_sum(window, 0, 2, leaves, entries, starts[i])
