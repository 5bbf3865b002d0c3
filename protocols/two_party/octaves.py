"""1 / x and 1 / sqrt(x) over wide ranges: tables of lines, each wider than the one before, that add up."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np

from parties.errors import RangeError
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.inverse_sqrt import InverseSqrt, RangeReducedInverseSqrt
from protocols.arithmetic.lines import Floats, Lines, fit
from protocols.arithmetic.reciprocal import ScaledReciprocal
from protocols.share import Share

Function = Callable[[Floats], Floats]
DIGIT_BITS = 8
FINENESS = 64
"""Pieces are narrower than a number divided by this."""
RAMP = 96
"""Pieces over which one table fades into the next."""
WIDEST = 1024.0
"""Largest ratio of a range's ends: an index has one digit above the first table's."""
_RELATIVE_BITS = 15
"""Rounding of slopes and intercepts, relative to the result."""
_GRID = 1 << 16


@final
class LineInverseSqrt(InverseSqrt):
    """1 / sqrt(x) by lines. See `tables_of`. Over a range wider than `WIDEST`, as `RangeReducedInverseSqrt`.

    Cost: 5 rounds.
    Source: look-ups as in SIRNN (S&P 2021); tables that fade into each other are this project's own.

    Args:
        low, high: at least 2^-8, at most 2^20.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__(low, high)
        self._wide = RangeReducedInverseSqrt(low, high)  # raises RangeError
        self._tables = _roots(low, high) if high <= WIDEST * low else None
        self.max_rel_error = 2.5e-4 if self._tables else self._wide.max_rel_error

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        return executor.lines(x, *self._tables) if self._tables else self._wide(executor, x)

    def normalise(self, executor: Arithmetic, x: Share, mean_square: Share) -> Share:
        if self._tables is None:
            return self._wide.normalise(executor, x, mean_square)
        return super().normalise(executor, x, mean_square)


@final
class LineReciprocal(ScaledReciprocal):
    """2^scale_bits / x by lines: 5 rounds.

    Args:
        low, high: bounds on x, at most `WIDEST` apart.

    Attributes:
        scale_bits: k.
        max_rel_error: of the result, but for a unit of the last place.
    """

    max_rel_error = 3.6e-4

    def __init__(self, low: float, high: float) -> None:
        self.scale_bits = max(0, math.ceil(math.log2(high) / 2))
        self._tables = _reciprocals(low, high, self.scale_bits)

    def scaled(self, executor: Arithmetic, x: Share) -> Share:
        """2^scale_bits / x, of x's shape."""
        return executor.lines(x, *self._tables)


@lru_cache(maxsize=128)
def _roots(low: float, high: float) -> tuple[Lines, ...]:
    return tables_of(lambda x: x**-0.5, lambda x: -0.5 * x**-1.5, low, high)


@lru_cache(maxsize=16)
def _reciprocals(low: float, high: float, scale_bits: int) -> tuple[Lines, ...]:
    scale = 2.0**scale_bits
    return tables_of(lambda x: scale / x, lambda x: -scale * x**-2.0, low, high)


def tables_of(function: Function, slope: Function, low: float, high: float) -> tuple[Lines, ...]:
    """Lines that add up to a falling function on [low, high].

    Of a number the index may be one too small at one table and right at the next, so that tables that meet
    at an edge would both count there, or neither. So they fade: with weights w_j that add up to 1, each from
    0 to 1 and back over `RAMP` pieces, table j has the integral of slope * w_j. That is constant outside of
    its pieces, and has no kink.

    Raises:
        RangeError: the range is not positive, or wider than `WIDEST`.
    """
    if not 0.0 < low <= high <= WIDEST * low:
        raise RangeError(f"lines over [{low:g}, {high:g}]: needs 0 < low <= high <= {WIDEST:g} low")
    spans = _spans(low, high)
    first, least = float(function(np.array([spans[0].start]))[0]), float(function(np.array([high]))[0])
    slope_bits = _RELATIVE_BITS + math.ceil(math.log2(spans[-1].step / least))
    intercept_bits = _RELATIVE_BITS + math.ceil(-math.log2(least))
    tables: list[Lines] = []
    for place, span in enumerate(spans):
        before, after = (
            spans[place - 1] if place else None,
            spans[place + 1] if span is not spans[-1] else None,
        )
        part = _integral(slope, span, before, after, 0.0 if place else first)
        constant = float(part(np.array([span.end]))[0]) if after else 0.0
        tables.append(
            fit(
                part,
                span.start,
                step_bits=span.step_bits,
                digit_bits=DIGIT_BITS,
                slope_bits=slope_bits,
                intercept_bits=intercept_bits,
                left=(0.0, 0.0),
                right=(0.0, constant),
                reach=(spans[0].start + spans[0].step, max(high, span.end)),
                largest=first,
            )
        )
    return tuple(tables)


@dataclass(frozen=True, slots=True)
class _Span:
    """Where a table's pieces begin, and their width 2^-step_bits."""

    start: float
    step_bits: int

    @property
    def step(self) -> float:
        return 2.0**-self.step_bits

    @property
    def end(self) -> float:
        return self.start + (self.step * (1 << DIGIT_BITS))


def _spans(low: float, high: float) -> list[_Span]:
    """Tables, each of which overlaps the next, from a piece below `low` until a piece above `high`."""
    first = _step_bits(low)
    spans = [_Span((math.floor(low * 2.0**first) - 1) * 2.0**-first, first)]
    while spans[-1].end < high + spans[-1].step:
        start = spans[-1].end - RAMP * spans[-1].step
        spans.append(_Span(start, _step_bits(start)))
    return spans


def _step_bits(start: float) -> int:
    return -math.floor(math.log2(start / FINENESS))


def _integral(
    slope: Function, span: _Span, before: _Span | None, after: _Span | None, value: float
) -> Function:
    """The integral of slope times a weight from the span's start on: it rises until the one before ends, and
    falls from where the one after starts."""
    grid = np.linspace(span.start, span.end + 2.0 * span.step, _GRID)
    weight = np.ones(_GRID)
    if before:
        weight = np.minimum(weight, (grid - span.start) / (before.end - span.start))
    if after:
        weight = np.minimum(weight, np.maximum(0.0, (span.end - grid) / (span.end - after.start)))
    height = slope(grid) * weight
    total = value + np.concatenate([[0.0], np.cumsum((height[1:] + height[:-1]) / 2.0 * np.diff(grid))])
    return lambda x: np.interp(x, grid, total)
