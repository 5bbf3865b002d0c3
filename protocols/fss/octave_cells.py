"""Cells whose width grows with the number: a table of a function over many octaves, read relative to a mask.

A number s lies in octave k where 2^k <= s < 2^(k+1). An octave has 2^m cells of width 2^j, j = k - m; numbers
below 2^m have cells of width 1. What lies below `low` belongs to the cell of `low`.

Reading with a mask r of Z_2^n, xh = s + r, looks at i = (xh >> j) - (r >> j) mod 2^(n-j), which is
floor(s / 2^j) plus the carry of the low bits: s / 2^j rounded at random to one of its neighbours, without
bias. The carry differs from one j to the next, so it must be settled which j counts. Window j is the cells i
from 2^m (in the first window from -2) to h_j = 2^(m+1) - 2 + b_j, b_j being bit j of xh; in the last window
to the cell after that of `high`.

Windows tile. Write v_j for v >> j. For a given xh, i lies in window j where xh_j - h_j <= r_j <= xh_j - 2^m:
r lies in the arc of Z_2^n from (xh_j - h_j) 2^j to below (xh_j - 2^m + 1) 2^j. Since xh_j = 2 xh_(j+1) + b_j,

    (xh_j - h_j) 2^j = (2 xh_(j+1) + b_j - 2^(m+1) + 2 - b_j) 2^j = (xh_(j+1) - 2^m + 1) 2^(j+1):

one arc begins where that of the next window ends. So together they are one arc without gaps. It is shorter
than 2^n, because high < 2^(n-1), and holds r = xh - s for every s from -2^(j+1) (the first j) to `high`.

Values. Cell i of window j has the function's value at g = i 2^j, clamped to the cell of `low`. The highest
cell, i = 2^(m+1) - 1, has that of the cell below it: in the last two cells of an octave, of width u each,
from a = 2^(k+1) - 2u on, s then reads a or a + 2u, the latter with probability (s - a) / 2u. (For s = a + t,
window j + 1 applies exactly if the carry at width 2u makes i_(j+1) = 2^m, with probability t / 2u, and gives
f(a + 2u); all else gives f(a).) So everywhere the result is f at one of two grid points around s, and its
mean over masks is the straight line between them.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from parties.errors import ConfigError
from protocols.fss.ring import low as residue
from protocols.fss.ring import shift_right

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]

BELOW = 2
"""Cells of the first window below zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Cells of one width.

    Attributes:
        shift: j.
        first: the lowest cell.
        table: values of the cells from `first` on, int64.
        last: whether it is the last window: then every cell always counts; otherwise the highest one only
            where bit j of xh is 1.
    """

    shift: int
    first: int
    table: torch.Tensor
    last: bool

    def counts(self, masked: torch.Tensor) -> torch.Tensor:
        """How many of its cells count, given xh."""
        if self.last:
            return torch.full_like(masked, len(self.table))
        return len(self.table) - 1 + ((masked >> self.shift) & 1)

    def places(self, masked: torch.Tensor, mask: torch.Tensor, ring_bits: int) -> torch.Tensor:
        """Place in the table of the cell of xh, r; it is hit if that is less than the count."""
        cells = shift_right(masked, self.shift, ring_bits) - shift_right(mask, self.shift, ring_bits)
        return residue(cells - self.first, ring_bits - self.shift)


class OctaveCells:
    """The table of a function.

    Args:
        function: float64 to float64, of any shape; evaluated from the cell of `low` to the end of the cell
            after that of `high`, and finite there.
        low, high: 0 <= low <= high; fractions are rounded outwards.
        cells_bits: m, at least 1: an octave has 2^m cells.
        frac_bits: of the values.

    Raises:
        ConfigError: no such bounds.
    """

    def __init__(
        self, function: Function, low: int | float, high: int | float, cells_bits: int, frac_bits: int
    ) -> None:
        self._function, self._frac_bits, self._cells_bits = function, frac_bits, cells_bits
        if not (0 <= low <= high and cells_bits >= 1):
            raise ConfigError(f"no octaves from {low} to {high} with {cells_bits} bits of cells")
        self.low, self.high = math.floor(low), max(1, math.ceil(high))
        narrowest = max(0, max(1, self.low).bit_length() - 1 - cells_bits)
        widest = max(0, self.high.bit_length() - 1 - cells_bits)
        self.shifts = range(narrowest, widest + 1)
        """Every j, from the narrowest cells to the widest."""

    @property
    def least(self) -> int:
        """The least number that the first window holds."""
        return -(BELOW << self.shifts[0])

    @cached_property
    def windows(self) -> list[Window]:
        """From the narrowest cells to the widest."""
        half = 1 << self._cells_bits
        windows: list[Window] = []
        for shift in self.shifts:
            last = shift == self.shifts[-1]
            first = -BELOW if shift == self.shifts[0] else half
            highest = (self.high >> shift) + 1 if last else 2 * half - 1
            grid = np.arange(first, highest + 1)
            if not last:
                grid[-1] -= 1
            points = np.maximum(grid, self.low >> self.shifts[0] if shift == self.shifts[0] else half)
            windows.append(Window(shift, first, self._values(points * 2.0**shift), last))
        return windows

    @cached_property
    def exact(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the cells begin, and the function's values at their means, for a number whose cell is known.

        int64 [C] each. The first cell takes everything below as well, the last everything above.
        """
        half = 1 << self._cells_bits
        starts: list[NDArray[np.int64]] = []
        means: list[NDArray[np.float64]] = []
        for shift in self.shifts:
            first = self.low >> shift if shift == self.shifts[0] else half
            end = (self.high >> shift) + 1 if shift == self.shifts[-1] else 2 * half
            cells = np.arange(first, end)
            starts.append(cells << shift)
            means.append((cells + 0.5).astype(np.float64) * 2.0**shift - 0.5)
        return torch.from_numpy(np.concatenate(starts)), self._values(np.concatenate(means))

    def at_cell(self, numbers: torch.Tensor) -> torch.Tensor:
        """Value of each number's own cell."""
        starts, values = self.exact
        return values[torch.searchsorted(starts[1:], numbers.contiguous(), right=True)]

    def at_random_cell(self, numbers: torch.Tensor, mask: torch.Tensor, ring_bits: int) -> torch.Tensor:
        """What reading the windows with this mask gives."""
        masked = residue(numbers + mask, ring_bits)
        result = torch.zeros_like(numbers)
        for window in self.windows:
            place, table = window.places(masked, mask, ring_bits), window.table
            hit = place < window.counts(masked)
            result += torch.where(hit, table[place.clamp(max=len(table) - 1)], 0)
        return result

    def _values(self, points: NDArray[np.float64]) -> torch.Tensor:
        values = np.rint(self._function(points) * 2.0**self._frac_bits)
        if not np.all(np.abs(values) < 2.0**62):  # neither too large nor undefined
            raise ConfigError(f"the function is too large or undefined between {points[0]} and {points[-1]}")
        return torch.from_numpy(values.astype(np.int64))
