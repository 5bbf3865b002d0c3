"""The sum of those table entries whose bit is 1, in NumPy: eight bits at a time, from prepared sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.window import touched_leaves

LEAF_BYTES = 16


class ByteSums:
    """The sums that any byte of bits selects, wherever in the table it stands.

    Args:
        table: int64 [W].
        bits: n, of the domain.
    """

    def __init__(self, table: NDArray[np.int64], bits: int) -> None:
        self.leaves = touched_leaves(bits, len(table))
        """Leaves of a key that `sum` reads."""
        self._places = LEAF_BYTES * (self.leaves + 1) - 1
        padded = np.zeros(8 * self._places + 14, np.int64)
        padded[8 * LEAF_BYTES - 1 :][: len(table)] = table
        # Byte c whose lowest bit stands r entries before a multiple of eight begins at entry 8 c + 7 - r.
        rows = 8 * np.arange(self._places)[:, None] + np.arange(8)
        entries = padded[rows + 7 - np.arange(8)[:, None, None]]
        selected = np.unpackbits(np.arange(256, dtype=np.uint8)[None], axis=0, bitorder="little")
        self._sums = (entries @ selected.astype(np.int64)).reshape(-1)

    def sum(self, leaves: NDArray[np.uint64], offset: NDArray[np.int64]) -> NDArray[np.int64]:
        """For every key the sum over j of bit `offset + j` times table[j], modulo 2^64.

        Args:
            leaves: uint64 [N, leaves, 2].
            offset: int64 [N], 0 to 127.
        """
        shares = np.ascontiguousarray(leaves).view(np.uint8).reshape(len(leaves), LEAF_BYTES * self.leaves)
        start = (offset & 7) * self._places + LEAF_BYTES - 1 - (offset >> 3)
        index = start[:, None] + np.arange(shares.shape[1])
        return self._sums[256 * index + shares].sum(1)
