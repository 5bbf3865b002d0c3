"""tanh."""

from __future__ import annotations

from typing import final

from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.chebyshev import ChebyshevSeries
from protocols.arithmetic.operation import UnaryProtocol
from protocols.arithmetic.piecewise import EDGE_TOLERANCE, LARGEST
from protocols.share import Share

RADIUS = 4.0
# tanh(z) / z on [0, RADIUS] as a Chebyshev series in 2 (z / RADIUS)^2 - 1, minimax for z times it by Lawson's
# reweighted least squares.
_SERIES = ChebyshevSeries(
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
class PiecewiseTanh(UnaryProtocol):
    """-1, an odd polynomial of degree 17, and 1; cut at -4 and 4.

    1. l = [x < -4] and b = [x < 4], in the same rounds; z = x (b - l), which is 0 outside of the middle.
    2. v = 2 (z / 4)^2 - 1, and z times the series of v.
    3. Add 1 - b - l: local, the bits are shares.

    Error: the series' is 8.2e-4, the outer pieces' 6.7e-4; the rest is rounding.
    Source: piecewise polynomials as in PUMA (Dong et al., 2023); pieces and fit are this project's own.
    """

    domain = (-32750.0, 32750.0)
    max_abs_error = 1.5e-3

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        edges = [executor.add_public(x, RADIUS), executor.add_public(x, -RADIUS)]
        bits = executor.less_than_zero(executor.stack(edges), LARGEST, EDGE_TOLERANCE)
        left, below = (executor.rearrange(bits, lambda value, i=i: value[i]) for i in range(2))
        z = executor.select(x, executor.sub(below, left))
        with executor.within(2.0 * RADIUS**2):
            square = executor.square(z)
            v = executor.combination([(square, 2.0 / RADIUS**2)], -1.0)
            middle = executor.mul(z, _SERIES(executor, v))
        outside = executor.add_public(executor.neg(executor.add(below, left)), 1.0)
        return executor.add(middle, executor.scaled(outside, 1.0, middle.frac_bits))
