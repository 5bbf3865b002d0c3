"""One over the square root by additions and products alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from parties.errors import RangeError
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.inverse_sqrt import InverseSqrt, times_power_of_two
from protocols.share import Share

UNIT = 2.0**-16
LAST_INTERVAL = 2.0**-6
"""Relative distance to 1 / sqrt(x) before the last step, which is Newton's and squares it."""
MAX_RATIO = 2.0**14


@dataclass(frozen=True, slots=True)
class Step:
    """y <- y (a - b x y^2)."""

    a: float
    b: float


@final
class GoldschmidtInverseSqrt(InverseSqrt):
    """1 / sqrt(x) over a public range by coupled steps with the best factors for what is left of the range.

    With y near 1 / sqrt(x) let u = y sqrt(x), in [l, h]. The step y (a - b x y^2) makes u (a - b u^2) of it;
    a and b that bring all of [l, h] nearest to 1 follow from l / h (equal errors at both ends and at the
    maximum between), and what is left is a narrower [l, h]. A range of ratio R takes about
    log(sqrt R) / log(2.6) + 3 steps, where Newton's a = 3/2, b = 1/2 take log(sqrt R) / log(1.5) + 4.

    1. y = 2^-m, the largest below 1 / sqrt(high): public, so that x y^2 only moves the point, and the first
       step is local.
    2. g = x y. A step is q = g y, then y and g times (a - b q): two rounds, until u is within 2^-6 of 1.
    3. The errors of g have not been seen by y: g = x y anew, q = g y, y (3/2 - q/2): three rounds.

    Additions and products alone. Outside of the range the result is anything: below `low` it stays smaller
    than 1 / sqrt(x), far above `high` u grows with every step without bound.

    Cost under the suite `crypten`: 2 rounds a step and 2 more; 14 for [0.1, 150].

    Source: Goldschmidt 1964; factors as in Chen and Chow, A stable scaling of Newton-Schulz (2014), for the
    sign function. Deviation from Panda (2022), who begins from a polynomial.

    Args:
        low, high: at least 2^-8, at most 2^14, ratio up to 2^14.
    """

    polynomial = True

    def __init__(self, low: float, high: float) -> None:
        if not 2.0**-8 <= low <= high <= min(MAX_RATIO, MAX_RATIO * low):
            raise RangeError(
                f"inverse square root by products over [{low:g}, {high:g}]: needs 2^-8 <= low <= high <= "
                f"2^14 and high / low <= 2^14; train with a penalty on variances"
            )
        super().__init__(low, high)
        self._start_bits = math.ceil(math.log2(high) / 2.0)
        self._steps, left = _schedule(low, high, 2.0**-self._start_bits)
        # The last step squares what is left (3/2 e^2 + e^3 / 2); its q is off by y units of g, and one more.
        largest = low**-0.5
        newton = 1.5 * left * left + 0.5 * left**3
        self.max_rel_error = newton + 0.5 * UNIT * (largest + 2.0) + UNIT

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        first, *rest = self._steps
        start = 2.0**-self._start_bits
        q = times_power_of_two(executor, x, -2 * self._start_bits)
        y = executor.combination([(q, -first.b * start)], first.a * start)
        g = executor.mul(x, y)
        for i, step in enumerate(rest):
            factor = executor.combination([(executor.mul(g, y), -step.b)], step.a)
            if i + 1 < len(rest):
                both = executor.mul(executor.stack([y, g]), factor)
                y, g = (executor.rearrange(both, lambda value, k=k: value[k]) for k in range(2))
            else:
                y = executor.mul(y, factor)
        if rest:
            g = executor.mul(x, y)
        factor = executor.combination([(executor.mul(g, y), -0.5)], 1.5)
        return executor.mul(y, factor)


def _schedule(low: float, high: float, start: float) -> tuple[list[Step], float]:
    """Steps until u is near 1, at least one, and how near: rounding of y and g widens every interval."""
    lower, upper = start * math.sqrt(low), start * math.sqrt(high)
    slack = 2.0 * UNIT * (low**-0.5 + high**0.5 + 1.0)
    steps: list[Step] = []
    while not steps or max(1.0 - lower, upper - 1.0) > LAST_INTERVAL:
        ratio = lower / upper
        squares = 1.0 + ratio + ratio * ratio
        peak = math.sqrt(squares / 3.0)
        b = 2.0 / (ratio + ratio * ratio + 2.0 * peak**3)
        steps.append(Step(b * squares / upper, b / upper**3))
        end = b * (ratio + ratio * ratio)
        lower, upper = end - slack, 2.0 - end + slack
        if slack > LAST_INTERVAL / 2:
            raise RangeError(f"inverse square root over [{low:g}, {high:g}]: 16 fraction bits do not hold it")
    return steps, max(1.0 - lower, upper - 1.0)
