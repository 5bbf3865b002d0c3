"""A masked number as a cell and a place in it.

A number x of Z_2^n in units of its last place has cells of 2^d of them. With xh = x + r,

    x  =  2^d j + a - b,   j = (xh >> d) - (r >> d) modulo 2^(n-d),   a = xh mod 2^d,   b = r mod 2^d,

an identity of integers since neither side wraps. A key of a point function at r >> d reads a table at j; a is
public, so that the table may have a row for every a; b is a number of the dealer's, from 0 to below 2^d.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass

import torch

from protocols.fss.ring import low, shift_right, signed


@dataclass(frozen=True, slots=True)
class Cells:
    """How numbers are cut.

    Attributes:
        ring_bits: n, of the number.
        rest_bits: d; 0 where every number is a cell.
    """

    ring_bits: int
    rest_bits: int

    @property
    def bits(self) -> int:
        """Bits of a cell's number."""
        return self.ring_bits - self.rest_bits

    def split(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cell and place of xh, or of r."""
        return shift_right(value, self.rest_bits, self.ring_bits), low(value, self.rest_bits)

    def places(
        self, number: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """j, signed, a and b of a number under a mask: what the reference needs."""
        (cell, a), (own, b) = self.split(number + mask), self.split(mask)
        return signed(cell - own, self.bits), a, b
