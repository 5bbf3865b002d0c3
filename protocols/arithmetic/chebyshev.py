"""Polynomials on shares, in Chebyshev's basis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocols.arithmetic.arithmetic import Arithmetic
from protocols.share import Share


@dataclass(frozen=True, slots=True)
class ChebyshevSeries:
    """The sum of coefficients[i] * T_i(v) for v in [-1, 1].

    The basis stays within [-1, 1], so 16 fraction bits are enough at these degrees.

    1. T_2 = 2 v^2 - 1.
    2. Degree 4: q = (T_2 + a v)^2 with a = c_3 / (2 c_4) has T_4 and T_3 in the right proportion, the rest is
       local. Above: T_3 = 2 v T_2 - v and T_4 = 2 T_2^2 - 1 in one round, T_2 opened once.
    3. A series of degree 2 m is one of degree m plus T_m times another without a constant, as
       2 T_m T_i = T_(m+i) + T_(m-i). So it is cut into series of degree 4, which are local; then T_4 times
       every second of them is added to the one before, T_8 times every second of those, and so on: a round
       each, in which the next 2 T_m^2 - 1 is computed as well.

    Cost under the suite `crypten`: degree 4, 2 rounds and 16 bytes an element; degree 8, 3 rounds and 48
    bytes; degree 16, 4 rounds and 80 bytes.

    Attributes:
        coefficients: 5, 9, 17, ..., one more than a power of two.
    """

    coefficients: tuple[float, ...]

    def __call__(self, executor: Arithmetic, v: Share, extra: Sequence[tuple[Share, float]] = ()) -> Share:
        """The series at v, plus public multiples of further shares."""
        with executor.within(self._largest):
            t2 = executor.add_public(executor.mul_integer(executor.square(v), 2), -1.0)
            if len(self.coefficients) == 5:
                return self._degree_four(executor, v, t2, extra)
            return self._by_halves(executor, v, t2, extra)

    @property
    def _largest(self) -> float:
        """Bound on products: of polynomials of the basis, of the square of step 2, and of partial sums."""
        inner = 1.0 + abs(self.coefficients[3] / (2.0 * self.coefficients[4]))
        return 1.25 * max(
            1.0, inner**2 if len(self.coefficients) == 5 else 0.0, 2.0 * sum(map(abs, self.coefficients))
        )

    def _degree_four(
        self, executor: Arithmetic, v: Share, t2: Share, extra: Sequence[tuple[Share, float]]
    ) -> Share:
        c0, c1, c2, c3, c4 = self.coefficients
        inner = c3 / (2.0 * c4)
        twist = c4 * inner * inner
        q = executor.square(executor.add(t2, executor.mul_public(v, inner)))
        return executor.combination([(q, 2.0 * c4), (t2, c2 - twist), (v, c1 - c3), *extra], c0 - c4 - twist)

    def _by_halves(
        self, executor: Arithmetic, v: Share, t2: Share, extra: Sequence[tuple[Share, float]]
    ) -> Share:
        products = executor.mul_integer(executor.mul(t2, executor.stack([v, t2])), 2)
        t3 = executor.sub(executor.rearrange(products, lambda x: x[0]), v)
        power = executor.add_public(executor.rearrange(products, lambda x: x[1]), -1.0)
        basis = [v, t2, t3, power]
        leaves = halved(self.coefficients)
        parts = [
            executor.combination([*zip(basis, leaf[1:], strict=True), *(() if i else extra)], leaf[0])
            for i, leaf in enumerate(leaves)
        ]
        while len(parts) > 1:
            factors = parts[1::2] if len(parts) == 2 else [*parts[1::2], power]
            if len(factors) == 1:
                return executor.add(executor.mul(power, factors[0]), parts[0])
            products = executor.mul(power, executor.stack(factors))
            each = [executor.rearrange(products, lambda x, i=i: x[i]) for i in range(len(factors))]
            parts = [executor.add(part, product) for part, product in zip(parts[0::2], each, strict=False)]
            power = executor.add_public(executor.mul_integer(each[-1], 2), -1.0)
        return parts[0]


def halved(coefficients: Sequence[float]) -> list[list[float]]:
    """Series of degree 4, in the order in which step 3 puts them together.

    Args:
        coefficients: 5, 9, 17, ...: with T = T_4, T_8, ..., the series is the sum of those of the even places
            and T times those of the odd ones, again and again.
    """
    degree = len(coefficients) - 1
    if degree == 4:
        return [list(coefficients)]
    half = degree // 2
    lower, upper = list(coefficients[: half + 1]), [0.0] * (half + 1)
    for i in range(1, half + 1):
        upper[i] = 2.0 * coefficients[half + i]
        lower[half - i] -= coefficients[half + i]
    return [*halved(lower), *halved(upper)]


def interpolate(function: Callable[[float], float], low: float, high: float, degree: int) -> ChebyshevSeries:
    """The series through a function's values at the degree + 1 Chebyshev points of [low, high]."""
    count = degree + 1
    angles = [math.pi * (i + 0.5) / count for i in range(count)]
    values = [function((low + high + (high - low) * math.cos(angle)) / 2.0) for angle in angles]

    def coefficient(order: int) -> float:
        total = math.fsum(
            value * math.cos(order * angle) for value, angle in zip(values, angles, strict=True)
        )
        return total * (1.0 if order == 0 else 2.0) / count

    return ChebyshevSeries(tuple(coefficient(order) for order in range(count)))
