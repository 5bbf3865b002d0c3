"""One over positive numbers of a known public range."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

from parties.errors import RangeError
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.operation import RangedProtocol
from protocols.share import Share

RESIDUAL = 2.0**-9
"""Largest error before the shared iteration's last step, which squares it."""
ONE_CORRECTION_RATIO, MAX_RATIO = 1100.0, 4096.0


class ScaledReciprocal(ABC):
    """2^scale_bits / x of numbers of a public range.

    Attributes:
        scale_bits: keep small results precise.
    """

    scale_bits: int

    @abstractmethod
    def scaled(self, executor: Arithmetic, x: Share) -> Share:
        """2^scale_bits / x, of x's shape."""


@final
class GoldschmidtReciprocal(RangedProtocol, ScaledReciprocal):
    """1 / x by Goldschmidt's iteration with Chebyshev's step lengths, corrected once by Newton.

    With y near 1 / x and residual e = 1 - x y, the plain step y (1 + e) squares the residual. While |e| may
    be as large as 1 / t, the step a y (1 + e) with a = 2 t^2 / (2 t^2 - 1) leaves a e^2 - (a - 1), at most
    1 / (2 t^2 - 1): these are the residuals T_n(s(x)) / T_n(s(0)) of Chebyshev polynomials, with the degree
    doubled every round. Over a range of ratio R that takes about log2(sqrt(R)) + 3 rounds.

    1. y = 2 / (low + high), e = 1 - x y: public start, local.
    2. y <- a y (1 + e) and e <- a e^2 - (a - 1), both in one round, until |e| <= 2^-9.
    3. y <- y (1 + e).
    4. Errors of step 2 have collected in y: one Newton step with the true residual, y <- y (2 - x y); two
       where the ratio, or the range's end, is over 1100.

    All of it on 2^k y instead of y, with k = ceil(log2(high) / 2), which `scaled` returns, so that 1 / high
    keeps its precision.

    Source: Goldschmidt 1964; the step lengths are those of Chebyshev semi-iteration (Golub and Varga 1961).
    Deviation from CrypTen 0.4.1: its initial guess exp(1 - 2 x) explodes from x = 256.

    Args:
        low, high: at least 1/16, at most 4096, ratio up to 4096.

    Attributes:
        scale_bits: k.
    """

    def __init__(self, low: float, high: float) -> None:
        if not 0.0625 <= low <= high <= MAX_RATIO * min(low, 1.0):
            raise RangeError(
                f"reciprocal over [{low:g}, {high:g}]: needs 1/16 <= low <= high <= 4096 min(low, 1)"
            )
        super().__init__(low, high)
        self.scale_bits = max(0, math.ceil(math.log2(high) / 2))
        self.max_rel_error = 2.0**-12 * max(1.0, high / low / 200.0)

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        return executor.shift_down(self.scaled(executor, x), self.scale_bits)

    def scaled(self, executor: Arithmetic, x: Share) -> Share:
        """2^scale_bits / x, of x's shape."""
        start, steps = _schedule(self.low, self.high, executor.frac_bits)
        first = 2.0**self.scale_bits * start * steps[0]
        residual = executor.combination([(x, -start)], 1.0)
        result, residual = executor.combinations(
            [([(residual, first)], first), ([(executor.square(residual), steps[0])], 1.0 - steps[0])]
        )
        for step in steps[1:]:
            product, square = executor.mul_together([(result, residual), (residual, residual)])
            result, residual = executor.combinations(
                [([(result, step), (product, step)], 0.0), ([(square, step)], 1.0 - step)]
            )
        result = executor.add(result, executor.mul(result, residual))
        for _ in range(1 if self.high <= ONE_CORRECTION_RATIO * min(self.low, 1.0) else 2):
            product = executor.shift_down(executor.mul(x, result), self.scale_bits)
            residual = executor.add_public(executor.neg(product), 1.0)
            result = executor.add(result, executor.mul(result, residual))
        return result


def _schedule(low: float, high: float, frac_bits: int) -> tuple[float, list[float]]:
    """The public start 2 / (low + high) and Chebyshev's factors a until residuals are small.

    The start is rounded down to the executor's grid, so that it is exact; that is the right start for a
    slightly higher `high`, which the factors are then made for.
    """
    start = math.floor(2.0 / (low + high) * 2.0**frac_bits) / 2.0**frac_bits
    bound = 1.0 / max(1.0 - low * start, RESIDUAL)
    steps: list[float] = []
    while not steps or 1.0 / bound > RESIDUAL:
        doubled = 2.0 * bound * bound - 1.0
        steps.append(2.0 * bound * bound / doubled)
        bound = doubled
    return start, steps
