"""One key of a point function on a masked number's cell: a line there and the sign, opened together.

1. The dealer hands out keys of a point function at r >> d, the mask's cell, with their sign s = +-1.
2. Each party sums up a table's entries under the bits of a window, as in `lookup.py`, from the row of the
   number's public place: summands of s T and s U, the line's value and slope. Prefix parities at both ends of
   half of the ring give XOR shares of e = 1{j >= 0}.
3. s T and s U, each in the smallest ring in which it can be read as a view, and e, as a bit, are opened in
   one exchange, each under a fresh uniform mask of its own width.
4. With b = r mod 2^d the line is value_unit s (s T) - s (s U) rest(b), and s and rest(b) are the dealer's. So
   it is a linear form in five of its secrets (`forms`).

Source: the window look-up of `lookup.py`; a line relative to the mask, with the place in the cell public on
one side and the dealer's on the other, is this project's own.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import final

import torch

from protocols.fss.executors.party_side import PartySide
from protocols.fss.gates.lookup import Opened, PointLookup
from protocols.fss.gates.polynomial import Form, TermList
from protocols.fss.gates.terms import Coefficient, Computed, coefficients, secrets, some_of
from protocols.fss.preprocessing.correlations import Shape
from protocols.fss.preprocessing.point_keys import PointKeys
from protocols.fss.tables.line_table import LineTable
from protocols.share import Share


@final
class LineLookup(PointLookup):
    """A line's value and slope, and where it is wanted the sign; the table says how numbers are cut into
    cells."""

    def __init__(self, table: LineTable, *, sign: bool = True) -> None:
        widths = (table.value_bits, table.slope_bits)
        super().__init__(table.cells, widths=widths, table_frac=0, sign=sign)
        self._table = table

    def forms(self, shape: Shape) -> list[Form]:
        """The line as a form in s, s (value_unit R - rest R'), s w, s rest and s rest w', R and w being the
        secrets of the value's view, R' and w' those of the slope's."""
        return [Form(shape, False, (0, 0, self._table.value_bits, 0, self._table.slope_bits))]

    def coefficients(self, opened: Opened) -> list[TermList]:
        unit, (line_value, line_slope) = self._table.value_unit, opened.values

        def compute(part: slice) -> list[Coefficient]:
            value, _, wraps = coefficients(some_of(line_value, part))
            slope, _, turns = coefficients(some_of(line_slope, part))
            return [value * unit, -1, wraps * unit, -slope, -turns]

        return [Computed(compute)]

    def secrets(self, opened: Opened, signs: torch.Tensor, index: Share) -> list[TermList]:
        line_value, line_slope = opened.values
        _, place = self._cells.split(index.value)
        place, signs = place.reshape(-1), signs.reshape(-1)

        def compute(part: slice) -> list[Coefficient]:
            sign, rest = signs[part], self._table.rest(place[part])
            mask, wrap = secrets(some_of(line_value, part))
            slope_mask, turn = secrets(some_of(line_slope, part))
            known = sign * (self._table.value_unit * mask - rest * slope_mask)
            return [sign, known, sign * wrap, sign * rest, sign * rest * turn]

        return [Computed(compute)]

    def _read(
        self, party: PartySide, keys: PointKeys, cell: torch.Tensor, place: torch.Tensor
    ) -> list[torch.Tensor]:
        return self._table.read(party, keys, cell, place)
