"""The exponential of numbers that are not positive."""

from __future__ import annotations

from typing import final

from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.operation import UnaryProtocol
from protocols.share import Share

SQUARINGS = 5
QUARTIC, INNER, QUADRATIC = 0.00483299, 9.07190333, 0.09290121
_LARGEST_INNER, _LARGEST_POWER = 512.0, 2.0
"""Squares of steps 1 and 2 over the domain, and of step 4."""


@final
class QuarticExponential(UnaryProtocol):
    """e^x = q(x / 32)^32 for x <= 0, with a quartic q that stays small far to the left.

    1. u = x / 32; w = u^2.
    2. s = (w + INNER u)^2.
    3. q = 1 + x / 32 + QUADRATIC w + QUARTIC s: local, the linear term at full precision.
    4. Square five times.

    Cost: 7 squarings, one after the other.

    Source: CrypTen's limit (1 + x / 256)^256 needs 8 squarings for an error of 2e-3; a base of degree four
    needs fewer. Its coefficients are a weighted minimax fit (Lawson's reweighted least squares) of
    q(u) = 1 + u + ... with q(0) = 1, q'(0) = 1 fixed: |q^32 - e^(32 u)| <= 1e-4 for u in [-0.35, 0], and
    |q| <= 0.75, so that q^32 <= 1e-4, for u in [-10, -0.35]. `tests/protocols/test_exponential.py`
    evaluates the result densely.
    """

    domain = (-320.0, 0.0)
    max_abs_error = 1.1e-3

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        small = executor.shift_down(x, SQUARINGS)
        with executor.within(_LARGEST_INNER):
            square = executor.square(small)
            inner = executor.add(square, executor.mul_public(small, INNER))
            fourth = executor.square(inner)
        power = executor.combination([(fourth, QUARTIC), (square, QUADRATIC), (x, 2.0**-SQUARINGS)], 1.0)
        with executor.within(_LARGEST_POWER):
            for _ in range(SQUARINGS):
                power = executor.square(power)
        return power
