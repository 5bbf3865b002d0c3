"""tanh and erf."""

from __future__ import annotations

from typing import ClassVar, final

from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.chebyshev import ChebyshevSeries
from protocols.arithmetic.operation import UnaryProtocol
from protocols.arithmetic.piecewise import EDGE_TOLERANCE, LARGEST
from protocols.share import Share


class _PiecewiseOdd(UnaryProtocol):
    """-1, an odd polynomial, and 1; cut at -radius and radius.

    1. l = [x < -radius] and b = [x < radius], in the same rounds; z = x (b - l), which is 0 outside of the
       middle.
    2. v = 2 (z / radius)^2 - 1, and z times the series of v.
    3. Add 1 - b - l: local, the bits are shares.

    Attributes:
        radius: where the pieces meet.
        series: f(z) / z on [0, radius] as a Chebyshev series in 2 (z / radius)^2 - 1, minimax for z times it
            by Lawson's reweighted least squares.
    """

    domain = (-32750.0, 32750.0)
    radius: ClassVar[float]
    series: ClassVar[ChebyshevSeries]

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        radius = self.radius
        edges = [executor.add_public(x, radius), executor.add_public(x, -radius)]
        bits = executor.less_than_zero(executor.stack(edges), LARGEST, EDGE_TOLERANCE)
        left, below = (executor.rearrange(bits, lambda value, i=i: value[i]) for i in range(2))
        z = executor.select(x, executor.sub(below, left))
        with executor.within(2.0 * radius**2):
            square = executor.square(z)
            v = executor.combination([(square, 2.0 / radius**2)], -1.0)
            middle = executor.mul(z, self.series(executor, v))
        outside = executor.add_public(executor.neg(executor.add(below, left)), 1.0)
        return executor.add(middle, executor.scaled(outside, 1.0, middle.frac_bits))


@final
class PiecewiseTanh(_PiecewiseOdd):
    """tanh with degree 17, cut at -4 and 4.

    Error: the series' is 8.2e-4, the outer pieces' 6.7e-4; the rest is rounding.
    Source: piecewise polynomials as in PUMA (Dong et al., 2023); pieces and fit are this project's own.
    """

    max_abs_error = 1.5e-3
    radius = 4.0
    series = ChebyshevSeries(
        (
            0.4587852,
            -0.2985143,
            0.1302491,
            -0.0593808,
            0.027256,
            -0.0124303,
            0.0055549,
            -0.0023621,
            0.0008789,
        )
    )


@final
class PiecewiseErf(_PiecewiseOdd):
    """erf with degree 9, cut at -2.35 and 2.35: one round less than tanh.

    Error: the series' is 1.1e-3, the outer pieces' 8.9e-4; the rest is rounding.
    Source: as for tanh.
    """

    max_abs_error = 1.5e-3
    radius = 2.35
    series = ChebyshevSeries((0.6776835, -0.325505, 0.0920066, -0.0231114, 0.0045465))
