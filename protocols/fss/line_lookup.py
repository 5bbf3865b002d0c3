"""One key of a point function on a masked number's cell: a line there and the sign, opened together.

1. The dealer hands out keys of a point function at r >> d, the mask's cell, with their sign s = +-1.
2. Each party sums up a table's entries under the bits of a window, as in `lookup.py`, from the row of the
   number's public place: summands of s T and s U, the line's value and slope. Prefix parities at both ends of
   half of the ring give XOR shares of e = 1{j >= 0}.
3. s T and s U, each in the smallest ring in which it can be read as a view, and e, as a bit, are opened in
   one exchange, each under a fresh uniform mask of its own width.
4. With b = r mod 2^d the line is value_unit s (s T) - s (s U) rest(b), and s and rest(b) are the dealer's. So
   it is a linear form in five of its secrets (`form`).

Source: the window look-up of `lookup.py`; a line relative to the mask, with the place in the cell public on
one side and the dealer's on the other, is this project's own.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from protocols.fss.cells import masked_number
from protocols.fss.dealer_side import DealerSide
from protocols.fss.line_table import LineTable
from protocols.fss.lookup import share_of_sign
from protocols.fss.material import Dpf, Items, Mask, Shape
from protocols.fss.party_side import PartySide
from protocols.fss.point_keys import PointKeys, read_all
from protocols.fss.polynomial import Form
from protocols.fss.terms import Coefficient, Computed, coefficients, secrets, some_of
from protocols.share import Held, Share


@dataclass(frozen=True, slots=True, eq=False)
class OpenedLine:
    """What a look-up opens: masked values at a party, their masks at the dealer.

    Attributes:
        value, slope: s T and s U as views.
        sign: e = 1{j >= 0} as a bit.
    """

    value: Share
    slope: Share
    sign: Share


@final
class LineLookup:
    """The steps on this file's page, for gates to use; the table says how numbers are cut into cells."""

    def __init__(self, table: LineTable) -> None:
        self._table, self._cells = table, table.cells
        self._widths = (table.value_bits, table.slope_bits, 1)

    def items(self, shape: Shape) -> Items:
        """What it takes from the dealer: keys, and a mask for everything that is opened."""
        names = ("value mask", "slope mask", "sign mask")
        masks = {name: Mask(shape, bits) for name, bits in zip(names, self._widths, strict=True)}
        return {"point": Dpf(shape, self._cells.bits), **masks}

    def arrays(self, shape: Shape) -> list[tuple[int, Shape]]:
        """Widths and shapes of what is exchanged."""
        return [(bits, shape) for bits in self._widths]

    def form(self, shape: Shape) -> Form:
        """The line as a form in s, s (value_unit R - rest R'), s w, s rest and s rest w', R and w being the
        secrets of the value's view, R' and w' those of the slope's."""
        return Form(shape, False, (0, 0, self._table.value_bits, 0, self._table.slope_bits))

    def coefficients(self, opened: OpenedLine) -> Computed:
        """A party's public coefficients of `form`."""
        unit = self._table.value_unit

        def compute(part: slice) -> list[Coefficient]:
            value, _, wraps = coefficients(some_of(opened.value, part))
            slope, _, turns = coefficients(some_of(opened.slope, part))
            return [value * unit, -1, wraps * unit, -slope, -turns]

        return Computed(compute)

    def run(self, party: PartySide, index: Share, reason: str) -> OpenedLine:
        """A party's step: one exchange."""
        point, *masks = self.items(index.shape).values()
        value = masked_number(index, self._cells).reshape(-1)

        def read(keys: PointKeys, part: slice) -> list[torch.Tensor]:
            cell, place = self._cells.cut(value[part])
            line = self._table.read(party, keys, cell, place)
            return [*line, share_of_sign(keys, cell, self._cells.bits, party.first)]

        summands = read_all(party.point_keys(point), value.numel(), read)
        masked = [
            summand.reshape(index.shape).add_(party.mask(mask))
            for summand, mask in zip(summands, masks, strict=True)
        ]
        opened = party.exchange(list(zip(masked, self._widths, strict=True)), reason)
        return self._opened(opened)

    def deal(self, dealing: DealerSide, index: Share) -> tuple[OpenedLine, Computed]:
        """The dealer's step: the masks of what is opened, and the secrets of `form`."""
        point, *masks = self.items(index.shape).values()
        cell, place = self._cells.cut(index.value)
        signs = dealing.point_keys(point, cell)
        opened = self._opened([dealing.mask(mask) for mask in masks])
        place, signs = place.reshape(-1), signs.reshape(-1)

        def compute(part: slice) -> list[Coefficient]:
            sign, rest = signs[part], self._table.rest(place[part])
            mask, wrap = secrets(some_of(opened.value, part))
            slope_mask, turn = secrets(some_of(opened.slope, part))
            known = sign * (self._table.value_unit * mask - rest * slope_mask)
            return [sign, known, sign * wrap, sign * rest, sign * rest * turn]

        return opened, Computed(compute)

    def _opened(self, values: list[torch.Tensor]) -> OpenedLine:
        value, slope, sign = (
            Share(each, 0, bits, Held.MASKED, None if bits == 1 else 0)
            for each, bits in zip(values, self._widths, strict=True)
        )
        return OpenedLine(value, slope, sign)
