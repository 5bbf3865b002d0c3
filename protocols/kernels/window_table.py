"""Tables under a window of bits: which entries a window's bits select, laid out as the kernels read them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from parties.errors import RangeError
from protocols.kernels.masked_sums import LEAF_BITS


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
