"""Polynomials of masked values in Chebyshev's basis: additions and products alone."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.arithmetic.chebyshev import halved
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product
from protocols.fss.gates.square import Square
from protocols.fss.operations.rescale import truncate_locally, view
from protocols.share import Share

BASIS = 17
"""Fraction bits of what is opened on the way."""
COEFFICIENT = 16
"""Fraction bits of coefficients."""
SCALE = 2 * BASIS + COEFFICIENT
"""Fraction bits of the result."""
BASIS_BITS = BASIS + 3
"""The ring in which a T_m is opened: it is below 2, and views need a bit of slack."""


def integer_bits(largest: float) -> int:
    """The least b >= 1 with 2^b > largest."""
    return max(1, int(largest).bit_length())


@dataclass(frozen=True, slots=True)
class MaskedSeries:
    """The sum of coefficients[i] T_i(v) of a masked v in [-1, 1].

    1. T_2 = 2 v^2 - 1, opened.
    2. The series is cut into series of degree 4 (`ChebyshevSeries`). These are sums of v, T_2, v T_2 and
       T_2^2 times public numbers, as T_3 = 2 v T_2 - v and T_4 = 2 T_2^2 - 1.
    3. T_4 times every second of them is added to the one before, T_8 times every second of those, and so on:
       both factors are opened first, with 2 T_m^2 - 1 for the next, in one round.

    Cost: degree 4, 1 round and 20 bits an element each way; degree 8, 2 rounds; degree 16, 3 rounds.

    Attributes:
        coefficients: 5, 9 or 17.
    """

    coefficients: tuple[float, ...]

    @property
    def largest(self) -> float:
        """Bound on the series, and on all sums on its way."""
        return 3.0 * sum(sum(map(abs, leaf)) for leaf in halved(self.coefficients)) + 1.0

    @property
    def ring_bits(self) -> int:
        """That hold every sum, with the bit of slack that views of what is opened of it need."""
        return SCALE + integer_bits(self.largest) + 2

    def __call__(self, executor: Executor, v: Share, ring_bits: int) -> Share:
        """The series, additive, with `SCALE` fraction bits.

        Args:
            v: a view with `BASIS` fraction bits, within 2^-10 of [-1, 1].
            ring_bits: of the result; at least this series' own.
        """
        (power,) = _opened(executor, _doubled(executor, v))
        parts = self._leaves(executor, v, power, ring_bits)
        while len(parts) > 1:
            factors = [executor.reduce(part, self.ring_bits) for part in parts[1::2]]
            power, *seen = _opened(executor, _doubled(executor, power), *factors)
            parts = [
                executor.add(part, _times(executor, power, factor, ring_bits))
                for part, factor in zip(parts[::2], seen, strict=True)
            ]
        return parts[0]

    def _leaves(self, executor: Executor, v: Share, t2: Share, ring_bits: int) -> list[Share]:
        """Step 2: the series of degree 4."""
        basis = [
            *(executor.mul_integer(executor.one(Product(ring_bits), x), 1 << BASIS, BASIS) for x in (v, t2)),
            executor.one(Product(ring_bits), v, t2),
            executor.one(Square(ring_bits), t2),
        ]
        leaves = list[Share]()
        for c0, c1, c2, c3, c4 in halved(self.coefficients):
            numbers = [_encoded(c) for c in (c1 - c3, c2, 2.0 * c3, 2.0 * c4)]
            terms = [executor.mul_integer(x, c, COEFFICIENT) for x, c in zip(basis, numbers, strict=True)]
            total = terms[0]
            for term in terms[1:]:
                total = executor.add(total, term)
            leaves.append(executor.add_public(total, _encoded(c0 - c4) << (2 * BASIS)))
        return leaves

    def max_rounding(self) -> float:
        """Bound on what the series is off for a v as it is read.

        T_2 is off by a unit u of what is opened, T_2m by 4 e + 2 e^2 + u where T_m is by e. A series of
        degree 4 is off by what T_2 and the coefficients are; its opening adds u. A product of factors up to a
        and b is off by a times the one's error and b times the other's.
        """
        unit, encoding = 2.0**-BASIS, 2.0 ** -(COEFFICIENT + 1)
        power = 2 * unit**2 + unit
        parts = [
            (sum(map(abs, leaf)), power * (abs(leaf[2]) + 2 * abs(leaf[3]) + 5 * abs(leaf[4])) + 5 * encoding)
            for leaf in halved(self.coefficients)
        ]
        while len(parts) > 1:
            power = 4 * power + 2 * power**2 + unit
            parts = [
                (low + high, low_error + (high + high_error + unit) * power + high_error + unit)
                for (low, low_error), (high, high_error) in zip(parts[::2], parts[1::2], strict=True)
            ]
        return parts[0][1]


def _doubled(executor: Executor, x: Share) -> Share:
    """2 x^2 - 1, additive."""
    square = executor.one(Square(BASIS_BITS + BASIS - 1), x)
    return executor.add_public(executor.scaled(square, 1), -(1 << (2 * BASIS - 1)))


def _opened(executor: Executor, *values: Share) -> list[Share]:
    """Views with `BASIS` fraction bits, opened in one round."""
    cut = [truncate_locally(executor, x, BASIS) for x in values]
    return [view(executor, x, BASIS) for x in executor.apply(Open(), *cut)]


def _times(executor: Executor, a: Share, b: Share, ring_bits: int) -> Share:
    """a b, additive, with `SCALE` fraction bits."""
    return executor.mul_integer(executor.one(Product(ring_bits), a, b), 1 << COEFFICIENT, COEFFICIENT)


def _encoded(number: float) -> int:
    return round(number * 2.0**COEFFICIENT)
