"""Cells whose width grows with the number: a table of a function over many binades, read relative to a mask.

A number s lies in binade k where 2^k <= s < 2^(k+1). A binade has 2^m cells of width 2^j, j = k - m; numbers
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

Lines. In window j the cell i stands for g = i 2^j, and s = g + d with d = (xh mod 2^j) - (r mod 2^j), between
-2^j and 2^j: a public number less one that the dealer knows. So each cell has a line, not only a value, and
what is read is the function to first order around g. What a line lacks to it is about c d^2 / 2, c the second
derivative, and has the mean c 4^j / 12 where s may be anything: the values are larger by that. As many bits
of d count as `REST_BITS` says.

Cells of width 1 have no line: g is s. The cell of `low` has the line to the next cell, since the function
need not be defined before it, and cells below have the value of that cell.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parties.errors import ConfigError
from protocols.fss.ring import low as residue
from protocols.fss.ring import shift_right
from protocols.kernels.lines import Lines

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]

BELOW = 2
"""Cells of the first window below zero."""
REST_BITS = 8
"""Bits of a number's place in its cell; values on a line have as many more fraction bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Cells of one width.

    Attributes:
        shift: j.
        first: the lowest cell.
        table: values of the cells from `first` on, int64.
        slopes: what the function gains from each cell to the next, int64.
        last: whether it is the last window: then every cell always counts; otherwise the highest one only
            where bit j of xh is 1.
    """

    shift: int
    first: int
    table: torch.Tensor
    slopes: torch.Tensor
    last: bool

    def rest(self, value: torch.Tensor) -> torch.Tensor:
        """Where xh, or r, lies in a cell: its low j bits, in units of 2^(j - REST_BITS)."""
        rest = residue(value, self.shift)
        return (
            rest >> (self.shift - REST_BITS) if self.shift > REST_BITS else rest << (REST_BITS - self.shift)
        )

    def counts(self, masked: torch.Tensor) -> torch.Tensor:
        """How many of its cells count, given xh."""
        if self.last:
            return torch.full_like(masked, len(self.table))
        return len(self.table) - 1 + ((masked >> self.shift) & 1)

    def places(self, masked: torch.Tensor, mask: torch.Tensor, ring_bits: int) -> torch.Tensor:
        """Place in the table of the cell of xh, r; it is hit if that is less than the count."""
        cells = shift_right(masked, self.shift, ring_bits) - shift_right(mask, self.shift, ring_bits)
        return residue(cells - self.first, ring_bits - self.shift)


class BinadeCells:
    """The table of a function.

    Args:
        function: float64 to float64, of any shape; evaluated from the cell of `low` to the end of the cell
            after that of `high`, and finite there.
        low, high: 0 <= low <= high; fractions are rounded outwards.
        cells_bits: m, at least 1: a binade has 2^m cells.
        frac_bits: of the values.

    Raises:
        ConfigError: no such bounds.
    """

    def __init__(
        self, function: Function, low: int | float, high: int | float, cells_bits: int, frac_bits: int
    ) -> None:
        self._function, self._frac_bits, self._cells_bits = function, frac_bits, cells_bits
        if not (0 <= low <= high and cells_bits >= 1):
            raise ConfigError(f"no binades from {low} to {high} with {cells_bits} bits of cells")
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
            table, slopes = self._lines(np.arange(first, highest + 1), shift)
            windows.append(Window(shift, first, table, slopes, last))
        return windows

    def _lines(self, cells: NDArray[np.int64], shift: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Values and slopes of cells of a width, those below the cell of `low` with its value."""
        least = self.low >> shift
        at = np.maximum(cells, least)
        here = self._function(at * 2.0**shift)
        if shift == 0:
            return self._rounded(here, at), torch.zeros(len(at), dtype=torch.int64)
        before, after = (self._function(np.maximum(at + d, least) * 2.0**shift) for d in (-1, 1))
        bend = np.where(cells > least, (before - 2.0 * here + after) / 12.0, 0.0)
        slopes = np.where(cells > least, (after - before) / 2.0, np.where(cells == least, after - here, 0.0))
        return self._rounded(here + bend, at), self._rounded(slopes, at)

    @cached_property
    def _stacked(self) -> tuple[NDArray[np.int64], ...]:
        """Of all windows: shifts, first cells and numbers of cells [L, 1]; values, with `REST_BITS` more, and
        slopes [L, W], W the most cells of a window."""
        windows = self.windows
        numbers = [(window.shift, window.first, len(window.table)) for window in windows]
        width = max(length for _, _, length in numbers)
        tables = np.zeros((2, len(windows), width), np.int64)
        for row, window in enumerate(windows):
            tables[0, row, : len(window.table)] = window.table.numpy() << REST_BITS
            tables[1, row, : len(window.table)] = window.slopes.numpy()
        shifts, first, lengths = np.array(numbers, np.int64).T[..., None]
        return shifts, first, lengths, tables[0], tables[1]

    def lines(self, masked: torch.Tensor, ring_bits: int) -> Lines:
        """What is read of keys at -1 - r where xh = s + r: all windows at once.

        Args:
            masked: xh, int64 [N], from 0.
        """
        shifts, first, lengths, values, slopes = self._stacked
        points = masked.numpy()
        cells, rests = points >> shifts, points & ((1 << shifts) - 1)
        counts = lengths - 1 + (cells & 1)
        counts[-1] = lengths[-1]
        places = (rests >> np.maximum(shifts - REST_BITS, 0)) << np.maximum(REST_BITS - shifts, 0)
        depths = ring_bits - shifts[:, 0]
        return Lines(depths, (first - 1 - cells).view(np.uint64), counts, places, values, slopes)

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
        points = np.concatenate(means)
        return torch.from_numpy(np.concatenate(starts)), self._rounded(self._function(points), points)

    def at_cell(self, numbers: torch.Tensor) -> torch.Tensor:
        """Value of each number's own cell."""
        starts, values = self.exact
        return values[torch.searchsorted(starts[1:], numbers.contiguous(), right=True)]

    def at_random_cell(self, numbers: torch.Tensor, mask: torch.Tensor, ring_bits: int) -> torch.Tensor:
        """What reading the windows with this mask gives, with `REST_BITS` more fraction bits."""
        masked = residue(numbers + mask, ring_bits)
        result = torch.zeros_like(numbers)
        for window in self.windows:
            place = window.places(masked, mask, ring_bits)
            hit, place = place < window.counts(masked), place.clamp(max=len(window.table) - 1)
            rest = window.rest(masked) - window.rest(mask)
            read = (window.table[place] << REST_BITS) + window.slopes[place] * rest
            result += torch.where(hit, read, 0)
        return result

    def _rounded(self, values: NDArray[np.float64], points: NDArray[Any]) -> torch.Tensor:
        """On the grid of the result."""
        scaled = np.rint(values * 2.0**self._frac_bits)
        if not np.all(np.abs(scaled) < 2.0 ** (62 - REST_BITS)):  # neither too large nor undefined
            raise ConfigError(f"the function is too large or undefined between {points[0]} and {points[-1]}")
        return torch.from_numpy(scaled.astype(np.int64))


@lru_cache(maxsize=256)
def octave_cells(
    function: Function, low: int | float, high: int | float, cells_bits: int, frac_bits: int
) -> BinadeCells:
    """The table of a function, made once for each: pass the same function again, not another of the kind."""
    return BinadeCells(function, low, high, cells_bits, frac_bits)
