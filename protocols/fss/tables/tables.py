"""Functions of an index with few fraction bits, as integers over a window of indices and zero outside."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from parties.errors import ConfigError
from protocols.fss.executors.party_side import PartySide
from protocols.fss.preprocessing.point_keys import PointKeys
from protocols.kernels.window_table import WindowTable
from protocols.tensors import to_words

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_LARGEST = 2.0**52
"""Beyond this float64 does not hold every integer."""


@dataclass(frozen=True, eq=False)
class Table:
    """Integers T[low], .., T[high - 1], or a row of them for every place; T is zero at all other indices.

    Attributes:
        low: first index of the window.
        values: int64 [W], or [places, W]; W may be 0.
    """

    low: int
    values: NDArray[np.int64]

    @property
    def high(self) -> int:
        """One more than the window's last index."""
        return self.low + self.values.shape[-1]

    @property
    def value_bits(self) -> int:
        """The smallest ring from which +T and -T can be read into wider ones: |T| < 2^(bits - 2)."""
        largest = int(np.abs(self.values).max()) if self.values.size else 0
        return largest.bit_length() + 2

    @cached_property
    def backwards(self) -> WindowTable:
        """From the last index to the first, as a window of points relative to a masked index reads it."""
        return WindowTable(np.ascontiguousarray(self.values[..., ::-1]))

    def at(self, index: torch.Tensor, row: torch.Tensor | None = None) -> torch.Tensor:
        """T of signed indices, int64 of any shape; of these rows, where there are some."""
        if not self.values.size:
            return torch.zeros_like(index)
        values = torch.from_numpy(self.values)
        entry = (index - self.low).clamp(0, self.values.shape[-1] - 1)
        inside = (index >= self.low) & (index < self.high)
        return torch.where(inside, values[entry] if row is None else values[row, entry], 0)

    def read(
        self, party: PartySide, keys: PointKeys, index: torch.Tensor, row: torch.Tensor | None = None
    ) -> torch.Tensor:
        """This party's summand of s T, s the keys' signs, from masked indices and public rows, all flat."""
        rows = None if row is None else row.numpy()
        sums = torch.from_numpy(keys.window_lookup(to_words(index - (self.high - 1)), self.backwards, rows))
        return sums if party.first else sums.neg_()


def tabulate(
    function: Function, *, low: int, high: int, index_frac: int, table_frac: int, offset: float = 0.0
) -> Table:
    """The function on a grid, rounded to the nearest integer and without the zeros at either end.

    Args:
        function: of float64 arrays; finite on the grid.
        low, high: indices low .. high - 1 are tabulated.
        index_frac: fraction bits of the index.
        table_frac: fraction bits of the table.
        offset: index i stands for (i + offset) / 2^index_frac: 0.5 where the index was rounded down.

    Raises:
        ConfigError: a value is not finite or too large.
    """
    points = (np.arange(low, high, dtype=np.float64) + offset) * 2.0**-index_frac
    with np.errstate(over="ignore"):
        scaled = np.rint(function(points) * 2.0**table_frac)
    if not np.all(np.abs(scaled) < _LARGEST):
        raise ConfigError(f"a table with {table_frac} fraction bits has entries beyond 52 bits")
    used = np.flatnonzero(scaled)
    if not used.size:
        return Table(low, np.zeros(0, np.int64))
    first, last = int(used[0]), int(used[-1])
    return Table(low + first, scaled[first : last + 1].astype(np.int64))
