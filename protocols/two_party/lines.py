"""GELU, SiLU and softmax by lines that are looked up."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import lru_cache
from typing import final

import numpy as np

from parties.errors import RangeError
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.lines import Floats, Lines, fit
from protocols.arithmetic.maximum import TreeMaximum
from protocols.arithmetic.operation import CausalProtocol, UnaryProtocol
from protocols.arithmetic.reciprocal import GoldschmidtReciprocal, ScaledReciprocal
from protocols.arithmetic.softmax import TreeSoftmax
from protocols.key_pattern import KeyPattern
from protocols.share import Share
from protocols.two_party.octaves import WIDEST, LineReciprocal

USUAL = 119.0
"""How large inputs of an activation are taken to be where nothing is calibrated."""
MOST = 1024.0
"""Larger ones need an upper digit of more than eight bits, whose look-up costs more than comparisons."""
SPREAD = 320.0
"""How far a score may be below its row's largest."""
TOLERANCE = 2.0**-4
"""By how much a level of the tree may miss the larger of two scores."""
OVERSHOOT = math.e
"""What exponentials are at most, where up to 16 levels miss."""


class LineActivation(UnaryProtocol):
    """A gate x g(x), g from 0 to 1, as 0, lines on pieces of 1/16, and x.

    1. Each party drops the low bits of its share; both open the sum, a piece's number, minus a random one.
    2. Its digits' one-hot rows were shared ahead: what the table says at the piece is a sum of shares, bit by
       bit. Zero outside of the table: an AND a bit.
    3. Each bit of the slope times x and each bit of the intercept: a choice between two masked messages.
    4. One truncation.

    Args:
        largest: bound on inputs; None for `USUAL`.

    Raises:
        RangeError: inputs beyond `MOST`.
    """

    calibrated = True

    def __init__(self, largest: float | None = None) -> None:
        largest = USUAL if largest is None else largest
        if not largest <= MOST:
            raise RangeError(
                f"{type(self).__name__}: holds inputs up to {MOST:g}, calibrated are {largest:.4g}; take "
                "the protocol `piecewise` for it"
            )
        self._table = self.table(largest)
        self.domain = (-largest, largest)

    @staticmethod
    @abstractmethod
    def table(largest: float) -> Lines:
        """Lines for numbers up to that."""

    def within(self, largest: float) -> LineActivation:
        return type(self)(largest)

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        return executor.lines(x, self._table)


@final
class LineGelu(LineActivation):
    """x Phi(x) by 128 lines on [-4, 4]. See `LineActivation`.

    Error: lines that hold on two pieces, 8e-4; slopes of 6 bits, 5e-4; intercepts of 10 bits, 5e-4.
    Source: look-ups of splines as in SIRNN (Rathee et al., S&P 2021); pieces and fit are this project's own.
    """

    max_abs_error = 1.6e-3

    @staticmethod
    def table(largest: float) -> Lines:
        return _gelu(largest)


@final
class LineSilu(LineActivation):
    """x / (1 + e^-x) by 256 lines on [-8, 8]. See `LineActivation`.

    Error: at the edges 2.7e-3, where x or 0 begins.
    Source: as of `LineGelu`.
    """

    max_abs_error = 3.2e-3

    @staticmethod
    def table(largest: float) -> Lines:
        return _silu(largest)


@final
class LineExponential(UnaryProtocol):
    """e^x by 256 lines on [-16, 0], 0 on their left. See `LineActivation`.

    Error: a relative 1e-3 of lines that hold on two pieces of 1/16; the rest is rounding.
    Source: as of `LineGelu`.
    """

    domain = (-SPREAD, 0.0)
    max_abs_error = 1.1e-3

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        return executor.lines(x, _exponential())


@final
class LineSoftmax(CausalProtocol):
    """`TreeSoftmax` with `LineExponential`, whose last products leave hidden keys out too.

    Source: of its parts.
    """

    max_spread = SPREAD
    max_abs_error = 2.5e-3

    def __init__(self) -> None:
        self._softmax = TreeSoftmax(
            TreeMaximum(SPREAD, TOLERANCE),
            LineExponential(),
            reciprocal=_reciprocal,
            overshoot=OVERSHOOT,
            packed=True,
        )
        self.exponential = self._softmax.exponential

    def __call__(
        self,
        executor: Arithmetic,
        scores: Share,
        start: int,
        window: int = 0,
        *,
        causal: bool = True,
        patterns: tuple[KeyPattern, ...] = (),
    ) -> Share:
        return self._softmax(executor, scores, start, window, causal=causal, patterns=patterns)


def _reciprocal(low: float, high: float) -> ScaledReciprocal:
    """By lines, where a row's sums do not span more than those hold."""
    return LineReciprocal(low, high) if high <= WIDEST * low else GoldschmidtReciprocal(low, high)


@lru_cache(maxsize=16)
def _gelu(largest: float) -> Lines:
    erf = np.vectorize(math.erf, otypes=[np.float64])

    def gelu(x: Floats) -> Floats:
        return x * (1.0 + erf(x / math.sqrt(2.0))) / 2.0

    return fit(
        gelu,
        -4.0,
        step_bits=4,
        digit_bits=7,
        slope_bits=6,
        intercept_bits=10,
        left=(0.0, 0.0),
        right=(1.0, 0.0),
        reach=(-largest, largest),
    )


@lru_cache(maxsize=16)
def _silu(largest: float) -> Lines:
    def silu(x: Floats) -> Floats:
        return x / (1.0 + np.exp(-x))

    return fit(
        silu,
        -8.0,
        step_bits=4,
        digit_bits=8,
        slope_bits=6,
        intercept_bits=10,
        left=(0.0, 0.0),
        right=(1.0, 0.0),
        reach=(-largest, largest),
    )


def _exp(x: Floats) -> Floats:
    return np.exp(x)


@lru_cache(maxsize=1)
def _exponential() -> Lines:
    return fit(
        _exp,
        -15.0,
        step_bits=4,
        digit_bits=8,
        slope_bits=9,
        intercept_bits=13,
        left=(0.0, 0.0),
        right=(0.0, 1.0),
        reach=(-SPREAD, 0.0),
    )
