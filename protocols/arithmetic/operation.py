"""What a replaceable operation looks like: a class that says its security, its domain and its error.

A protocol that is `polynomial` computes by additions and products alone, truncation aside: it compares
nothing and asks nothing of the library under the executor. Its `security` is that of the executor's
primitives where it says nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from protocols.arithmetic.arithmetic import Arithmetic
from protocols.key_pattern import KeyPattern
from protocols.share import Share
from protocols.trust import Security


class UnaryProtocol(ABC):
    """An elementwise nonlinearity on shares.

    A subclass is final, documents numbered steps and its source, and states:

        domain: inputs for which the error holds; outside it the result can be anything.
        max_abs_error: largest |protocol - true function| over the domain with 16 fraction bits, rounding
            included, on any executor that truncates to one of the two neighbours.
    """

    security: ClassVar[Security | None] = None
    polynomial: ClassVar[bool] = False
    calibrated: ClassVar[bool] = False
    """Whether it is to be asked for the protocol of a calibrated domain."""
    domain: tuple[float, float]
    max_abs_error: float

    def within(self, largest: float) -> UnaryProtocol:
        """Itself, or where the domain is calibrated the protocol for inputs up to `largest` in magnitude."""
        return self

    @abstractmethod
    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        """The function of every element of x, of x's shape."""


class CausalProtocol(ABC):
    """Attention weights of scores [B, H, T, S] on shares.

    Query i stands at position start + i, S = start + T, and sees keys up to its own, or the last `window` of
    these, or all where `causal` is False, or what the pattern of its head says where there are some; hidden
    keys get exactly zero. A subclass is final, documents numbered steps and its source, and states:

        exponential: of numbers that are not positive, as the weights are made of it.
        max_spread: row maximum minus score may be this large; beyond it the result can be anything.
        max_abs_error: largest |weight - softmax|, likewise, not counting a unit of the last place for every
            key: weights that small round to a unit or to nothing, and the others make up for it.
    """

    security: ClassVar[Security | None] = None
    exponential: UnaryProtocol
    max_spread: ClassVar[float]
    max_abs_error: ClassVar[float]

    @abstractmethod
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
        """Weights of the same shape; every row sums to 1 up to S times the error."""


class CausalPowerProtocol(ABC):
    """Attention weights s^power / (mean s^power + epsilon) / L of scores, L the keys a query may see.

    Args:
        power: 2, 4, 6 or 8.
        low, high: bounds on divisors, means plus epsilon, for which the error holds; outside of them the
            result can be anything.
        largest: bound on scores.

    Attributes:
        max_abs_error: largest |weight - true weight| with 16 fraction bits.

    Raises:
        RangeError: bounds that the protocol cannot hold.
    """

    security: ClassVar[Security | None] = None
    polynomial: ClassVar[bool] = False
    max_abs_error: float

    def __init__(self, power: int, low: float, high: float, largest: float) -> None:
        self.power, self.low, self.high, self.largest = power, low, high, largest

    @abstractmethod
    def __call__(
        self,
        executor: Arithmetic,
        scores: Share,
        start: int,
        epsilon: float | Share,
        patterns: tuple[KeyPattern, ...] = (),
    ) -> Share:
        """Weights of scores [B, H, T, S], S = start + T; a shared epsilon is one number a head, [H]."""


class RowMaximum(ABC):
    """The largest entry of every row."""

    security: ClassVar[Security | None] = None
    max_abs_error: ClassVar[float]

    @abstractmethod
    def __call__(self, executor: Arithmetic, x: Share, lengths: tuple[int, ...]) -> Share:
        """Maxima [..., rows] of rows that lie end to end in x [..., sum of lengths]."""


class RangedProtocol(ABC):
    """An elementwise function of positive numbers whose range is public, from calibration.

    Args:
        low, high: inputs for which the error holds; outside it the result can be anything.

    Attributes:
        max_rel_error: largest relative error over the range with 16 fraction bits, rounding of intermediate
            results included; the last rounding of the result adds two units of the last place.

    Raises:
        RangeError: the range is empty, not positive, or more than the protocol can hold.
    """

    security: ClassVar[Security | None] = None
    polynomial: ClassVar[bool] = False
    max_rel_error: float

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    @abstractmethod
    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        """The function of every element of x, of x's shape."""
