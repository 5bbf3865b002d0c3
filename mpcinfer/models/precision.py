"""How wide a model's numbers are assumed to be, and how finely they are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from parties.errors import ConfigError, RangeError

MARGIN = 2.0
"""Values may grow beyond what calibration saw by this factor; scores, whose range is narrow, by 1.5."""
SCORE_MARGIN = 1.5
BOUND_MARGIN = 1.0625
"""What cannot be exceeded in real arithmetic may be in fixed point, by what norms and weights are rounded."""
POWER_MARGIN = 4.0
"""Mean squares may leave their calibrated range by this factor at either end."""
RING_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Ranges assumed for shapes without weights, margins included: wide enough for GPT-2-class models."""

    residual: float = 2.0**15
    mean_square: tuple[float, float] = (2.0**-6, 2.0**21)
    linear: float = 32.0
    """Queries, keys and values."""
    scores: float = 64.0
    power_scores: float = 3.75
    """Of power and ReLU attention before a public shift, where range training kept them near 2.5."""
    power_mean: float = 3.0
    """The mean of a row's p-th powers is at most this to the p."""
    pre_activation: float = 128.0
    product: float = 4096.0
    """Of a gated unit."""
    embedding: float = 8.0
    normed: float = 64.0
    """The final norm with its gain."""
    logits: float = 512.0


PROFILE = Profile()


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Fraction bits by what they are for; the defaults are those of the plans `fss` and `fss-faithful`."""

    residual: int = 15
    weight: int = 14
    reading: int = 16
    """Of weights that read a norm's rows, with its gain folded in, where rings have room for more."""
    embedding: int = 15
    query: int = 11
    """Of queries over sqrt(K)."""
    key: int = 8
    value: int = 11
    score: int = 10
    """Of the index of exp."""
    power: int = 13
    """Of exp, and of ReLU attention."""
    square: int = 8
    """Of what power attention squares on its way; the factors of the last product have one less at least."""
    divisor: int = 6
    """Bits that power attention's least divisor keeps above the last place of a power."""
    step: int = 1
    """Row maxima are exact to 2^step."""
    mixed: int = 11
    """Of attention outputs before they are divided by their rows' sums."""
    row: int = 8
    """Bits that the least normal row of a norm keeps above its binary point."""
    inverse: int = 8
    """Significant bits of the least inverse square root and of the least reciprocal."""
    cells: int = 6
    """Bits of the mantissa that pick a cell of inverse square roots and reciprocals: each has a line."""
    exact_cells: int = 10
    """The same where truncation is exact, and cells are constant."""
    activation: int = 10
    index: int = 7
    table: int = 12
    gate: int = 13
    """Of both factors of a gated unit."""
    held: int = 13
    """Of norms' rows, attention's output and gated products, when they go to the server. Exact plans send all
    that products have."""
    rotation: int = 11
    """Of RoPE's cosines, and of 1 / L in ReLU attention."""
    logits: int = 8


@dataclass(frozen=True, slots=True)
class Seen:
    """What calibration saw, see `mpcinfer.models.ranges`; None for shapes without weights."""

    ranges: Mapping[str, float] | None

    def largest(self, label: str, otherwise: float, margin: float = MARGIN) -> float:
        """What was seen times a margin, or what is known where that takes no more bits; `otherwise`, margin
        included, for a shape.

        Raises:
            ConfigError: the ranges lack it.
        """
        if self.ranges is None:
            return otherwise
        usual, bound = margin * self.range(label), self.bound(label.rpartition("/")[0])
        return bound if integer_bits(bound) <= integer_bits(usual) else usual

    def bound(self, label: str) -> float:
        """What a label's output cannot exceed; infinite where nobody knows."""
        known = None if self.ranges is None else self.ranges.get(f"{label}/bound")
        return float("inf") if known is None else BOUND_MARGIN * known

    def range(self, label: str) -> float:
        """As it was seen; only for ranges that are there. Raises ConfigError as `largest`."""
        assert self.ranges is not None
        if label not in self.ranges:
            raise ConfigError(f"the model's ranges lack {label!r}; calibrate it again")
        return self.ranges[label]


def integer_bits(largest: float) -> int:
    """The least b with 2^b > largest; more than any ring has for what has no limit."""
    if largest == float("inf"):
        return 2 * RING_BITS
    return math.floor(math.log2(max(largest, 2.0**-8))) + 1


def fits(bits: int, what: str) -> int:
    """Bits of a ring.

    Raises:
        RangeError: more than there are.
    """
    if bits > RING_BITS:
        raise RangeError(
            f"{what} needs {bits} bits, a ring has at most {RING_BITS}: see `mpcinfer calibrate`"
        )
    return max(bits, 1)


def ring(largest: float, frac_bits: int, *, slack: int, what: str) -> int:
    """Bits of a ring that holds a number up to `largest`, with `slack` bits for signs and views.

    Raises:
        RangeError: more than there are.
    """
    return fits(integer_bits(largest) + frac_bits + slack, what)
