"""What an activation lacks to its ramp, on a line in every cell of a masked number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.fss.executors.party_side import PartySide
from protocols.fss.preprocessing.point_keys import PointKeys
from protocols.fss.ring import signed
from protocols.fss.tables.cells import Cells
from protocols.fss.tables.tables import Table

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]

FARTHEST = 32.0
"""Beyond this an activation differs from ReLU by less than 10^-12."""
_SAMPLES = 9
"""Samples of a cell, by which its line is put midway between the largest and the least error."""


@dataclass(frozen=True, eq=False)
class LineTable:
    """Lines c = value_unit T - slope_unit U (b - 2^(d-1)) of cell j and place a: see `cells.py` for these.

    Attributes:
        values, slopes: T and U, integers in the rings of their bits, a bit of slack included.
        value_unit: of T, in units of the result's last place.
        slope_unit: of U times a unit of b, likewise; any number.
    """

    cells: Cells
    values: Table
    slopes: Table
    value_bits: int
    slope_bits: int
    value_unit: int
    slope_unit: float

    def rest(self, b: torch.Tensor) -> torch.Tensor:
        """slope_unit (b - 2^(d-1)), rounded: what the dealer knows of a number's place in its cell."""
        middle = b - (1 << (self.cells.rest_bits - 1))
        return (middle.double() * self.slope_unit).round().to(torch.int64)

    def at(self, cell: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """c, in units of the result's last place."""
        return self.value_unit * self.values.at(cell, a) - self.slopes.at(cell, a) * self.rest(b)

    def read(
        self, party: PartySide, keys: PointKeys, cell: torch.Tensor, a: torch.Tensor
    ) -> list[torch.Tensor]:
        """This party's summands of s T and s U, from one walk through its keys."""
        both = self._both.read(party, keys, cell, a)
        value = signed(both, self._low_bits)
        return [value, (both - value) >> self._low_bits]

    @cached_property
    def _low_bits(self) -> int:
        """Bits in which no sum of a row's values wraps around, sign included."""
        return int(np.abs(self.values.values).sum(1).max()).bit_length() + 1

    @cached_property
    def _both(self) -> Table:
        """T in the low bits of a word, U above them."""
        return Table(self.values.low, self.values.values + (self.slopes.values << self._low_bits))


def line_table(
    lack: Function,
    *,
    cells: Cells,
    index_frac: int,
    frac_bits: int,
    value_bits: int,
    slope_bits: int,
) -> LineTable:
    """The table of c(x) = 1{j >= 0} x - f(x), f being a ramp but for a bump around 0.

    Slopes are those of chords, and values lie in the middle between the most and the least of a cell.

    Args:
        lack: ReLU - f as a function of |x|.
        cells: of x with `index_frac` fraction bits.
        frac_bits: of the result.
        value_bits, slope_bits: rings of T and U, 3 or more.
    """
    most = min(1 << (cells.bits - 1), int(FARTHEST * 2.0 ** (index_frac - cells.rest_bits)))
    above = np.where(np.arange(-most, most) >= 0, 1.0, -1.0)[:, None]

    def corrections(x: NDArray[np.float64]) -> NDArray[np.float64]:
        """That of a cell's sign, on both sides of 0."""
        return lack(np.abs(x)) + np.minimum(above * x, 0.0)

    return _table_of(corrections, most, cells, index_frac, frac_bits, (value_bits, slope_bits))


def lines_everywhere(
    function: Function,
    *,
    cells: Cells,
    index_frac: int,
    frac_bits: int,
    value_bits: int,
    slope_bits: int,
) -> LineTable:
    """The table of a function over all cells there are. Arguments as for `line_table`."""
    most = 1 << (cells.bits - 1)
    return _table_of(function, most, cells, index_frac, frac_bits, (value_bits, slope_bits))


def _table_of(
    function: Function, most: int, cells: Cells, index_frac: int, frac_bits: int, bits: tuple[int, int]
) -> LineTable:
    """Lines of a function of numbers [cells, places] over the cells from -most to below most.

    Args:
        bits: rings of values and slopes.
    """
    (value_bits, slope_bits), unit = bits, 2.0**-index_frac
    rest = 1 << (cells.rest_bits - 1)
    places = (np.arange(-most, most) << cells.rest_bits)[:, None] + np.arange(2 * rest)

    def wanted(offset: int) -> NDArray[np.float64]:
        """At places' middles less an offset."""
        return function((places - rest - offset).astype(np.float64) * unit)

    slopes, slope_step = _levels((wanted(-rest) - wanted(rest - 1)) / ((2 * rest - 1) * unit), slope_bits)
    offsets = sorted({round(offset) for offset in np.linspace(-rest, rest - 1, _SAMPLES)})
    lowest = highest = wanted(offsets[0]) + slopes * (slope_step * offsets[0] * unit)
    for offset in offsets[1:]:
        line = wanted(offset) + slopes * (slope_step * offset * unit)
        lowest, highest = np.minimum(lowest, line), np.maximum(highest, line)
    middle = (lowest + highest) / 2.0
    limit = (1 << (value_bits - 2)) - 1
    value_unit = max(1, int(np.ceil(np.abs(middle).max() * 2.0**frac_bits / (limit + 0.25))))
    values = np.rint(middle * 2.0**frac_bits / value_unit)
    used = np.flatnonzero((values != 0).any(1) | (slopes != 0).any(1))
    kept = slice(int(used[0]), int(used[-1]) + 1)
    tables = [Table(kept.start - most, part[kept].T.astype(np.int64)) for part in (values, slopes)]
    step = float(slope_step * unit * 2.0**frac_bits)
    return LineTable(cells, tables[0], tables[1], value_bits, slope_bits, value_unit, step)


def _levels(numbers: NDArray[np.float64], bits: int) -> tuple[NDArray[np.float64], float]:
    """Numbers on the finest grid for which a ring of so many bits, one of slack, holds them; its step."""
    step = float(np.abs(numbers).max()) / ((1 << (bits - 2)) - 0.75)
    return np.rint(numbers / step), step
