"""Gates x * g(x) with g(-x) = 1 - g(x), such as GELU and SiLU, in three pieces."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.chebyshev import ChebyshevSeries
from protocols.share import Share

EDGE_TOLERANCE = 2.0**-9
"""Pieces meet so smoothly that either holds so close to an edge."""
LARGEST = 32767.0
"""Compared numbers stay below 2^15, so that 32 bits with 16 fraction bits decide their sign."""


@dataclass(frozen=True, slots=True)
class PiecewiseGate:
    """0 left of -radius, x right of radius, and x / 2 plus an even polynomial in between.

    1. l = [x < -radius] and b = [x < radius], in the same rounds.
    2. z = x (b - l), which is 0 outside of the middle piece, and x (1 - b), in one round with x opened once:
       no polynomial ever sees a large number.
    3. v = 2 (z / radius)^2 - 1, and the series of v plus z / 2.
    4. Add x (1 - b); where x is outside, subtract the series' value at z = 0: local, the bits are shares.

    Inputs up to 32,750 in magnitude. Cost under the suite `crypten`: 6 rounds and 49 bytes an element, and
    the series.

    Attributes:
        radius: where the pieces meet.
        series: of the gate minus x / 2, which is even, in v.
    """

    radius: float
    series: ChebyshevSeries

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        edges = [executor.add_public(x, self.radius), executor.add_public(x, -self.radius)]
        bits = executor.less_than_zero(executor.stack(edges), LARGEST, EDGE_TOLERANCE)
        left, below = (executor.rearrange(bits, lambda value, i=i: value[i]) for i in range(2))
        inside, right = executor.sub(below, left), executor.add_public(executor.neg(below), 1.0)
        pieces = executor.select(x, executor.stack([inside, right]))
        z, tail = (executor.rearrange(pieces, lambda value, i=i: value[i]) for i in range(2))
        with executor.within(2.0 * self.radius**2):
            square = executor.square(z)
        v = executor.combination([(square, 2.0 / self.radius**2)], -1.0)
        middle = self.series(executor, v, [(z, 0.5)])
        outside = executor.add_public(executor.neg(inside), 1.0)
        excess = executor.scaled(outside, self._at_zero, middle.frac_bits)
        return executor.add(tail, executor.sub(middle, excess))

    @property
    def _at_zero(self) -> float:
        """The series at z = 0, where v = -1."""
        return sum(c if i % 2 == 0 else -c for i, c in enumerate(self.series.coefficients))
