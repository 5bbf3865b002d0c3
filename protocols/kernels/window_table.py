"""Tables under a window of bits: which entries a window's bits select, laid out as the kernels read them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from parties.errors import RangeError
from protocols.kernels.lookup import LEAF_BITS

Words = NDArray[np.uint64]

_GROUP_SUMS_BYTES = 1 << 22
"""Sums of eight bits' entries may take as much memory; where they would take more, of four bits."""


class WindowTable:
    """Rows of W entries; each key's window of W bits selects entries of one row.

    Args:
        values: int64 [W] for a single row, or [V, W].

    Raises:
        RangeError: it is empty or has another number of axes.
    """

    def __init__(self, values: NDArray[np.int64]) -> None:
        if values.ndim not in {1, 2} or values.size == 0:
            raise RangeError(f"expected a table of entries, got shape {values.shape}")
        self.values = values.reshape(-1, values.shape[-1])

    @property
    def rows(self) -> int:
        """V."""
        return len(self.values)

    @property
    def size(self) -> int:
        """W."""
        return self.values.shape[1]

    @property
    def leaves(self) -> int:
        """Leaves that a window's bits fill, once the first of them is the lowest of a leaf."""
        return -(-self.size // LEAF_BITS)

    @cached_property
    def entries(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """Row after row, each with zeros up to whole leaves: flat.

        In int32 where no sum of a row's entries can leave it, since twice as many of those fit a register.
        """
        padded = np.zeros((self.rows, LEAF_BITS * self.leaves), np.int64)
        padded[:, : self.size] = self.values
        largest = float(np.abs(self.values.astype(np.float64)).sum(1).max())
        return (padded.astype(np.int32) if largest < 2**31 else padded).reshape(-1)

    def starts(self, which: NDArray[np.int64] | None, count: int) -> NDArray[np.int64]:
        """Where the row of each key begins in `entries`, int64 [N].

        Args:
            which: int64 [N]; None where there is one row.

        Raises:
            RangeError: the shape differs, or there is no such row.
        """
        if which is None:
            which = np.zeros(count, np.int64)
        if which.shape != (count,) or (which.size and not 0 <= which.min() <= which.max() < self.rows):
            raise RangeError(f"expected {count} rows below {self.rows}, got shape {which.shape}")
        return which * (LEAF_BITS * self.leaves)

    def sum(self, windows: Words, which: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """The sums of the selected entries in NumPy, modulo 2^64.

        Args:
            windows: uint64 [N, 2 leaves], each window's bits from the lowest on.
        """
        groups = windows.view(np.uint8).reshape(len(windows), -1)
        if self._group_bits == 4:
            groups = np.stack([groups & 15, groups >> 4], axis=2).reshape(len(windows), -1)
        rows = np.zeros((1, 1), np.int64) if which is None else which[:, None]
        place = rows * groups.shape[1] + np.arange(groups.shape[1])
        return self._group_sums[(place << self._group_bits) + groups].sum(1)

    @property
    def _group_bits(self) -> int:
        """Bits whose entries are summed ahead, for each value of theirs."""
        by_byte = self.rows * self.leaves * (LEAF_BITS // 8) * 256 * 8
        return 8 if by_byte <= _GROUP_SUMS_BYTES else 4

    @cached_property
    def _group_sums(self) -> NDArray[np.int64]:
        """Sums that each value of each group of bits selects, flat."""
        bits = self._group_bits
        entries = self.entries.astype(np.int64).reshape(-1, bits)
        selected = np.arange(1 << bits)[None] >> np.arange(bits)[:, None] & 1
        return (entries @ selected).reshape(-1)


def windows_of(words: Words, offset: NDArray[np.int64], leaves: int) -> Words:
    """Bits from an offset on, moved to the lowest place.

    Args:
        words: uint64 [N, M]; after the last one comes the first.
        offset: int64 [N], of the first bit.

    Returns:
        uint64 [N, 2 leaves].
    """
    place = (offset >> 6)[:, None] + np.arange(2 * leaves)
    shift = (offset & 63).astype(np.uint64)[:, None]
    low, high = (np.take_along_axis(words, (place + i) % words.shape[1], 1) for i in (0, 1))
    return (low >> shift) | (high << (np.uint64(63) - shift) << np.uint64(1))
