"""How finely numbers are kept, and the rings that hold them."""

from __future__ import annotations

from dataclasses import dataclass

from mpcinfer.models.bounds import integer_bits
from parties.errors import RangeError

RING_BITS = 64


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
    pooled: int = 12
    """Of pooled rows as they go to the client."""


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
