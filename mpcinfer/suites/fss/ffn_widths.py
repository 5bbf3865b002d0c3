"""Rings of an FFN, and of a gated product."""

from __future__ import annotations

from dataclasses import dataclass

from mpcinfer.models.bounds import PROFILE, Seen, integer_bits
from mpcinfer.suites.fss.attention_widths import NormWidths
from mpcinfer.suites.fss.precision import Precision, ring


@dataclass(frozen=True, slots=True, kw_only=True)
class FfnWidths:
    """Rings of one layer's FFN."""

    norm: NormWidths
    """The block's norm; where it has none, that of the profile."""
    in_bits: int
    reading: int
    """Fraction bits of the weights that read the norm or the residual."""
    largest: float
    """How large the pre-activation gets, for a polynomial that is to be near the activation."""
    preactivation_bits: int
    """Ring bits of the pre-activation as it is opened to the client."""
    index_bits: int
    activation_bits: int
    """Ring bits for the activation and the gated product."""
    out_bits: int


def product_bits(seen: Seen, p: Precision, prefix: str, factor: float, room: int) -> int:
    """Ring bits of a gated product: for the largest product of two factors, if `room` allows it, or for what
    was seen.

    Args:
        factor: largest value of either.
    """
    what, frac = f"{prefix}.product", 2 * p.gate
    bits = ring(seen.largest(f"{prefix}.product/mul", PROFILE.product), frac, slack=1, what=what)
    known = integer_bits(min(factor**2, seen.bound(what))) + frac + 1
    return known if known <= room else bits
