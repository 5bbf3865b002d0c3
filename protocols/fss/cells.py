"""A masked number as a cell and a place in it, and tables that have a row for every public place.

A number x of Z_2^n in units of its last place has cells of 2^d of them. With xh = x + r,

    x  =  2^d j + a - b,   j = (xh >> d) - (r >> d) modulo 2^(n-d),   a = xh mod 2^d,   b = r mod 2^d,

an identity of integers since neither side wraps. A key of a point function at r >> d reads a table at j; a is
public, so that the table may be another one for every a; b is a number of the dealer's, from 0 to below 2^d.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.fss.party_side import PartySide
from protocols.fss.point_keys import PointKeys
from protocols.fss.ring import low, shift_right, signed
from protocols.kernels.window_table import WindowTable
from protocols.share import Held, Share
from protocols.tensors import to_words


@dataclass(frozen=True, slots=True)
class Cells:
    """How numbers are cut.

    Attributes:
        ring_bits: n, of the number.
        rest_bits: d, at least 1.
    """

    ring_bits: int
    rest_bits: int

    @property
    def bits(self) -> int:
        """Of a cell's number."""
        return self.ring_bits - self.rest_bits

    def cut(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cell and place of xh, or of r."""
        return shift_right(value, self.rest_bits, self.ring_bits), low(value, self.rest_bits)

    def places(
        self, number: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """j, signed, a and b of a number under a mask: what the reference needs."""
        (cell, a), (own, b) = self.cut(number + mask), self.cut(mask)
        return signed(cell - own, self.bits), a, b


@dataclass(frozen=True, eq=False)
class RowTable:
    """Integers T[a, j], zero for cells outside of a window.

    Attributes:
        low: the window's first cell.
        values: int64 [2^d, W], W at least 1.
    """

    low: int
    values: NDArray[np.int64]

    @property
    def high(self) -> int:
        """One more than the window's last cell."""
        return self.low + self.values.shape[1]

    @property
    def value_bits(self) -> int:
        """The smallest ring from which +T and -T can be read into wider ones: |T| < 2^(bits - 2)."""
        return int(np.abs(self.values).max()).bit_length() + 2

    @cached_property
    def backwards(self) -> WindowTable:
        """From the last cell to the first, as a window of points relative to a masked cell reads it."""
        return WindowTable(np.ascontiguousarray(self.values[:, ::-1]))

    def at(self, cell: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """T of signed cells."""
        place = (cell - self.low).clamp(0, self.values.shape[1] - 1)
        inside = (cell >= self.low) & (cell < self.high)
        return torch.where(inside, torch.from_numpy(self.values)[row, place], 0)

    def read(self, party: PartySide, keys: PointKeys, cell: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """This party's summand of s T, s the keys' signs, from public cells and rows."""
        first = to_words((cell - (self.high - 1)).reshape(-1))
        sums = torch.from_numpy(keys.window_lookup(first, self.backwards, row.reshape(-1).numpy()))
        return (sums if party.first else sums.neg_()).reshape(cell.shape)


def masked_number(x: Share, cells: Cells) -> torch.Tensor:
    """What is public of a number that is cut into such cells."""
    assert x.held is Held.MASKED, f"{x!r} is not masked"
    assert x.ring_bits == cells.ring_bits, f"{x!r} instead of {cells.ring_bits} bits"
    return x.value
