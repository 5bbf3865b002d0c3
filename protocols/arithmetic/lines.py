"""Functions as lines: a public table of slopes and intercepts, for numbers that neither party knows."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]
Line = tuple[float, float]
"""A slope and an intercept."""
_SAMPLES = 129
"""Points of a piece at which its line is fitted."""
_SLACK_BITS = 2
"""A product that is at most 2^b lies in a ring of so many bits more: a sign, and truncation's slack."""


@dataclass(frozen=True, eq=False)
class Lines:
    """2^digit_bits pieces of width 2^-step_bits from `low` on, and a line on either side of them.

    A piece is found from shares whose low bits are left out, so that a number may be taken for one of the
    piece before its own: line i holds on pieces i and i + 1, the one on the left on the first piece too.

    Attributes:
        low: where pieces begin, a multiple of 2^-step_bits.
        step_bits, digit_bits: see above.
        upper_bits: pieces are told apart modulo 2^(digit_bits + upper_bits).
        positive: how many of the 2^upper_bits digits above a piece's stand for numbers on the right.
        slope_bits, intercept_bits: fraction bits of slopes and intercepts.
        slopes, intercepts: int64 [pieces].
        left, right: a slope and an intercept each, as integers with the same fraction bits.
        largest: bound on results.
    """

    low: float
    step_bits: int
    digit_bits: int
    upper_bits: int
    positive: int
    slope_bits: int
    intercept_bits: int
    slopes: Numbers
    intercepts: Numbers
    left: tuple[int, int]
    right: tuple[int, int]
    largest: float

    @property
    def index_bits(self) -> int:
        """Of a piece's number, the digit above included."""
        return self.digit_bits + self.upper_bits

    @property
    def domain(self) -> tuple[float, float]:
        """The numbers that are told apart."""
        width = 2.0 ** (self.digit_bits - self.step_bits)
        below = (1 << self.upper_bits) - 1 - self.positive
        return self.low - below * width + 2.0**-self.step_bits, self.low + (self.positive + 1) * width

    def ring_bits(self, frac_bits: int) -> int:
        """Of the ring in which a slope times a number with `frac_bits` fraction bits is computed."""
        return frac_bits + self.slope_bits + math.ceil(math.log2(self.largest)) + _SLACK_BITS

    def dropped_bits(self, frac_bits: int) -> int:
        """Low bits of a number with `frac_bits` fraction bits that do not matter to its piece."""
        return frac_bits - self.step_bits

    def exact(self, value: torch.Tensor, frac_bits: int, *, before: bool = False) -> torch.Tensor:
        """The function of int64 numbers with `frac_bits` fraction bits, with slope_bits more.

        Args:
            before: takes every number for one of the piece before its own, as shares do with some.
        """
        start = round(self.low * 2.0**frac_bits)
        piece = ((value - start) >> self.dropped_bits(frac_bits)) - int(before)
        pieces = 1 << self.digit_bits
        inside = piece.clamp(0, pieces - 1)
        chosen: list[torch.Tensor] = []
        for table, place in ((self.slopes, 0), (self.intercepts, 1)):
            middle = torch.from_numpy(table)[inside]
            outer = torch.where(piece < 0, self.left[place], self.right[place])
            chosen.append(torch.where(inside == piece, middle, outer))
        return chosen[0] * value + (chosen[1] << frac_bits + self.slope_bits - self.intercept_bits)


def fit(
    function: Callable[[Floats], Floats],
    low: float,
    *,
    step_bits: int,
    digit_bits: int,
    slope_bits: int,
    intercept_bits: int,
    left: Line,
    right: Line,
    reach: tuple[float, float],
    largest: float = 0.0,
) -> Lines:
    """Lines as near to a function of float64 as those of such slopes and intercepts can be.

    A line has the slope of the chord over both pieces on which it is to hold, rounded, and halves the largest
    difference: for a function that bends one way there that is minimax, rounding aside.

    Args:
        reach: the least and the greatest number that are to be told apart.
        largest: further bound on what is computed with the lines.
    """
    step, pieces = 2.0**-step_bits, 1 << digit_bits
    starts = low + step * np.arange(pieces)
    x = starts[:, None] + 2.0 * step * np.linspace(0.0, 1.0, _SAMPLES)[None, :]
    y = function(x)
    slopes = np.rint((y[:, -1] - y[:, 0]) / (2.0 * step) * 2.0**slope_bits)
    rest = y - slopes[:, None] * 2.0**-slope_bits * x
    intercepts = np.rint((rest.max(1) + rest.min(1)) / 2.0 * 2.0**intercept_bits)
    outer = [(round(a * 2.0**slope_bits), round(b * 2.0**intercept_bits)) for a, b in (left, right)]
    width = step * pieces
    below = max(0, math.ceil((low + step - reach[0]) / width))
    above = max(0, math.ceil((reach[1] + step - low) / width) - 1)
    ends = [abs(a * end + b) for (a, b), end in zip((left, right), reach, strict=True)]
    return Lines(
        low=low,
        step_bits=step_bits,
        digit_bits=digit_bits,
        upper_bits=max(1, (below + above).bit_length()),
        positive=above,
        slope_bits=slope_bits,
        intercept_bits=intercept_bits,
        slopes=slopes.astype(np.int64),
        intercepts=intercepts.astype(np.int64),
        left=outer[0],
        right=outer[1],
        largest=1.02 * max(float(np.abs(y).max()), largest, *ends),
    )
