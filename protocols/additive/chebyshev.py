"""Polynomials on shares, in Chebyshev's basis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocols.additive.arithmetic import Arithmetic
from protocols.share import Share


@dataclass(frozen=True, slots=True)
class ChebyshevSeries:
    """The sum of coefficients[i] * T_i(v) for v in [-1, 1].

    The basis stays within [-1, 1], so 16 fraction bits are enough at these degrees.

    1. T_2 = 2 v^2 - 1.
    2. Degree 4: q = (T_2 + a v)^2 with a = c_3 / (2 c_4) has T_4 and T_3 in the right proportion, the rest is
       local. Degree 8: T_3 = 2 v T_2 - v and T_4 = 2 T_2^2 - 1 in one round, T_2 opened once.
    3. Degree 8: T_4 times (2 c_5 T_1 + ... + 2 c_8 T_4), where 2 T_4 T_i = T_(4+i) + T_(4-i).

    Cost under the suite `crypten`: degree 4, 2 rounds and 16 bytes an element; degree 8, 3 rounds and 48
    bytes.

    Attributes:
        coefficients: 5 or 9.
    """

    coefficients: tuple[float, ...]

    def __call__(self, executor: Arithmetic, v: Share, extra: Sequence[tuple[Share, float]] = ()) -> Share:
        """The series at v, plus public multiples of further shares."""
        t2 = executor.add_public(executor.mul_integer(executor.square(v), 2), -1.0)
        if len(self.coefficients) == 5:
            return self._degree_four(executor, v, t2, extra)
        return self._degree_eight(executor, v, t2, extra)

    def _degree_four(
        self, executor: Arithmetic, v: Share, t2: Share, extra: Sequence[tuple[Share, float]]
    ) -> Share:
        c0, c1, c2, c3, c4 = self.coefficients
        inner = c3 / (2.0 * c4)
        twist = c4 * inner * inner
        q = executor.square(executor.add(t2, executor.mul_public(v, inner)))
        return executor.combination([(q, 2.0 * c4), (t2, c2 - twist), (v, c1 - c3), *extra], c0 - c4 - twist)

    def _degree_eight(
        self, executor: Arithmetic, v: Share, t2: Share, extra: Sequence[tuple[Share, float]]
    ) -> Share:
        c = self.coefficients
        products = executor.mul_integer(executor.mul(t2, executor.stack([v, t2])), 2)
        t3 = executor.sub(executor.rearrange(products, lambda x: x[0]), v)
        t4 = executor.add_public(executor.rearrange(products, lambda x: x[1]), -1.0)
        basis = [v, t2, t3, t4]
        upper = executor.combination([(t, 2.0 * c[5 + i]) for i, t in enumerate(basis)])
        lower = [c[1] - c[7], c[2] - c[6], c[3] - c[5], c[4]]
        rest = executor.combination([*zip(basis, lower, strict=True), *extra], c[0] - c[8])
        return executor.add(executor.mul(t4, upper), rest)


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
