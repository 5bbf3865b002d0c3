"""1 / x and 1 / sqrt(x) over a public range by additions and products alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, final

from parties.errors import RangeError
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product
from protocols.fss.operations.polynomial_series import integer_bits
from protocols.fss.operations.rescale import truncate_locally, view
from protocols.fss.operations.suite import RangeReductionFormats, RangeReductionProtocol
from protocols.fss.tables.binade_cells import Function
from protocols.share import Share

MAX_RATIO = 2.0**14
LAST_INTERVAL = 2.0**-6
"""Relative distance to the result before the last step, which squares it."""
_RING_BITS = 64
_NUMBER, _LAST_NUMBER = 5, 10
"""Fraction bits of the steps' factors, and of those of the last step."""
_MOST_STEPS = 16
_MOST_READ = 12
"""Fraction bits of y, at most."""
_ABOVE = 8.5
"""Bound on what is added up in a step, over the inverse of the least x."""


@dataclass(frozen=True, slots=True)
class Step:
    """y (a - b x y^n): a and b in units of 2^-`number_frac`."""

    a: int
    b: int
    number_frac: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Steps over a range, and the fraction bits that they read.

    Attributes:
        added: to the integer s; x = (s + added) 2^-point is at most 1.
        x_frac: fraction bits of x as it is read.
        y_frac, last_frac: of y, and of y in the last step.
        integer_bits: of all sums before the last step.
        max_rel_error: of the result, its truncation aside.
    """

    added: int
    point: int
    x_frac: int
    y_frac: int
    last_frac: int
    integer_bits: int
    steps: tuple[Step, ...]
    last: Step
    max_rel_error: float


class PolynomialInverse(RangeReductionProtocol):
    """x^(-1/n) by steps with the best factors for what is left of the range, a round each.

    With y near x^(-1/n) let u = y x^(1/n), in [l, h]. The step y (a - b x y^n) makes u (a - b u^n) of it; a
    and b that bring all of [l, h] nearest to 1 follow from l / h. The last step is Newton's, which squares
    what is left. x is the same in every step, so that what y is rounded by is squared, too.

    1. x = s 2^-m, below 1: public, so that the point moves. y = a - b x, opened.
    2. a y - b (x y y ..), one product of views of x and of y; opened. Until u is within 2^-6 of 1.
    3. The last step, with what 2^-m lacks in its factors.

    Outside of its range the result is anything: below it stays smaller than x^(-1/n), above it u grows with
    every step without bound.

    Attributes:
        order: n.

    Raises:
        RangeError: ends of the range are further apart than a factor of 2^14.

    Source: Goldschmidt 1964; factors as in Chen and Chow, A stable scaling of Newton-Schulz (2014).
        Deviation: uncoupled, as a product of several masked values takes no message.
    """

    polynomial = True
    order: ClassVar[int]
    based_on: ClassVar[tuple[object, ...]] = (Product,)

    def __call__(
        self, executor: Executor, function: Function, formats: RangeReductionFormats, s: Share
    ) -> Share:
        plan = schedule(self.order, formats)
        x = executor.add_public(s, plan.added)
        x = view(executor, executor.scaled(x, s.frac_bits - plan.point), plan.x_frac)
        first, *rest = plan.steps
        y = _linear(executor, first, x, plan)
        for step in rest:
            y = self._stepped(executor, step, x, _opened(executor, y, plan.y_frac), plan.integer_bits)
        y = _opened(executor, y, plan.last_frac)
        moved = plan.last.number_frac - _LAST_NUMBER
        last = self._stepped(executor, plan.last, x, y, plan.integer_bits - moved)
        bits = min(formats.ring_bits + last.frac_bits - formats.frac_bits, last.ring_bits)
        return truncate_locally(executor, executor.reduce(last, bits), formats.frac_bits)

    def _stepped(self, executor: Executor, step: Step, x: Share, y: Share, integer: int) -> Share:
        """A step of masked views, additive, in a ring of a sign and so many integer bits."""
        frac = x.frac_bits + self.order * y.frac_bits
        bits = 1 + integer + y.frac_bits + frac + step.number_frac
        product = executor.one(Product(bits), x, *(y for _ in range(self.order + 1)))
        scaled = executor.mul_integer(executor.one(Product(bits), y), step.a << frac, frac + step.number_frac)
        return executor.sub(scaled, executor.mul_integer(product, step.b, step.number_frac))

    def max_rel_error(self, power: float, formats: RangeReductionFormats) -> float:
        return schedule(self.order, formats).max_rel_error


@final
class PolynomialReciprocal(PolynomialInverse):
    """1 / x by additions and products alone.

    Source: Goldschmidt 1964, with the best factors for a public range.
    """

    order = 1


@final
class PolynomialInverseSqrt(PolynomialInverse):
    """1 / sqrt(x) by additions and products alone.

    Source: Goldschmidt 1964, with factors as in Chen and Chow (2014).
    """

    order = 2


@lru_cache(maxsize=512)
def schedule(order: int, formats: RangeReductionFormats) -> Schedule:
    """The steps for a range.

    Raises:
        RangeError: it is too wide.
    """
    added = round(formats.added * formats.unit)
    low, high = formats.low + added, formats.high + added
    if not 0 < low <= high <= MAX_RATIO * low:
        raise RangeError(
            f"{'1 / x' if order == 1 else '1 / sqrt(x)'} by products over [{low / formats.unit:.3g}, "
            f"{high / formats.unit:.3g}]: the ends may be {MAX_RATIO:g} times apart; train with a penalty on "
            f"{'scores, or a larger attention_epsilon' if order == 1 else 'variances'}"
        )
    point = math.ceil(math.log2(high))
    least = low * 2.0**-point
    x_frac = min(point, math.ceil(-math.log2(least)) + 10)
    off = 2.0**-x_frac
    above = integer_bits(_ABOVE * (least - off) ** (-1.0 / order))
    room = _RING_BITS - x_frac - above - 1
    y_frac = min((room - _NUMBER) // (order + 1), _MOST_READ)
    steps, left = _steps(order, least - off, 1.0 + off, 2.0**-y_frac)
    last_frac = min((room - _LAST_NUMBER) // (order + 1), _MOST_READ)
    near = left + 2.0**-last_frac
    newton = near**2 if order == 1 else 1.5 * near**2 + 0.5 * near**3
    of_x = (off / least + 0.5 / low) / order * 1.01
    return Schedule(
        added=added,
        point=point,
        x_frac=x_frac,
        y_frac=y_frac,
        last_frac=last_frac,
        integer_bits=above,
        steps=steps,
        last=_last(order, (formats.unit * 2.0**-point) ** (1.0 / order)),
        max_rel_error=newton + of_x + 2.0 ** -(_LAST_NUMBER + 1),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Where u is for x in one binade.

    Attributes:
        largest: the largest x^(1/n): rounding of y moves u by at most so many units.
    """

    lower: float
    upper: float
    largest: float

    def after(self, step: Step, order: int) -> _Part:
        """Where u is after a step."""
        a, b = step.a * 2.0**-step.number_frac, step.b * 2.0**-step.number_frac
        peak = (a / ((order + 1) * b)) ** (1.0 / order)
        turns = min(max(peak, self.lower), self.upper)
        ends = [u * (a - b * u**order) for u in (self.lower, turns, self.upper)]
        return _Part(min(ends), max(ends), self.largest)

    def read(self, unit: float) -> _Part:
        """Where u is when y is read in such units."""
        return _Part(self.lower - unit * self.largest, self.upper + unit * self.largest, self.largest)


def _left(parts: Sequence[_Part]) -> float:
    """How far from 1 u may be."""
    return max(max(1.0 - part.lower, part.upper - 1.0) for part in parts)


def _steps(order: int, least: float, most: float, unit: float) -> tuple[tuple[Step, ...], float]:
    """Steps until u is near 1, at least one, and how near it is before what is read of it is rounded.

    Args:
        least, most: ends of x.
        unit: of y as it is read.

    Raises:
        RangeError: rounding keeps it away from 1.
    """
    binades = math.ceil(math.log2(most / least))
    cuts = [least, *(most * 2.0**-i for i in reversed(range(binades)))]
    roots = [cut ** (1.0 / order) for cut in cuts]
    parts = [_Part(low, high, high) for low, high in itertools.pairwise(roots)]
    steps: list[Step] = []
    while len(steps) < _MOST_STEPS:
        steps.append(_best(order, parts))
        parts = [part.after(steps[-1], order) for part in parts]
        if (left := _left(parts)) <= max(LAST_INTERVAL, 2 * unit):
            return tuple(steps), left
        parts = [part.read(unit) for part in parts]
    raise RangeError(
        f"an inverse over a ratio of {most / least:.3g}: {_RING_BITS} bits do not hold its steps"
    )


def _best(order: int, parts: Sequence[_Part]) -> Step:
    """Factors that bring both ends of where u is as far below 1 as the peak between them above it, each
    rounded as is better."""
    lower, upper = min(part.lower for part in parts), max(part.upper for part in parts)
    if order == 1:
        b = 2.0 / ((lower + upper) ** 2 / 4.0 + lower * upper)
        a = b * (lower + upper)
    else:
        ratio = lower / upper
        squares = 1.0 + ratio + ratio * ratio
        shape = 2.0 / (ratio + ratio * ratio + 2.0 * math.sqrt(squares / 3.0) ** 3)
        a, b = shape * squares / upper, shape / upper**3
    whole, part = math.floor(a * 2.0**_NUMBER), math.floor(b * 2.0**_NUMBER)
    near = [Step(whole + i, part + j, _NUMBER) for i in range(2) for j in range(2) if part + j > 0]

    def narrowness(step: Step) -> float:
        after = [part.after(step, order) for part in parts]
        return min(part.lower for part in after) / max(part.upper for part in after)

    return max(near, key=narrowness)


def _last(order: int, factor: float) -> Step:
    """Newton's step times a factor, which keeps `_LAST_NUMBER` fraction bits beyond its highest."""
    moved = -math.floor(math.log2(factor))
    whole = round(factor * 2.0 ** (moved + _LAST_NUMBER))
    part = round(whole / order)
    return Step(whole + part, part, _LAST_NUMBER + moved)


def _linear(executor: Executor, step: Step, x: Share, plan: Schedule) -> Share:
    """a - b x, additive."""
    bits = plan.integer_bits + 1 + x.frac_bits + step.number_frac
    falling = executor.mul_integer(executor.one(Product(bits), x), -step.b, step.number_frac)
    return executor.add_public(falling, step.a << x.frac_bits)


def _opened(executor: Executor, y: Share, frac_bits: int) -> Share:
    """A view with so many fraction bits."""
    (opened,) = executor.apply(Open(), truncate_locally(executor, y, frac_bits))
    return view(executor, opened, frac_bits)
