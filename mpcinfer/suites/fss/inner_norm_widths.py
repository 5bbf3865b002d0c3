"""Rings around norms of what a linear layer left: of a head's queries and keys, and of what a block adds."""

from __future__ import annotations

from dataclasses import dataclass

from mpcinfer.suites.fss.attention_widths import NormWidths
from mpcinfer.suites.fss.precision import RING_BITS
from parties.errors import RangeError

LEAST_GAIN = 10
"""Fraction bits that a gain keeps, or what reads the norm gets its upper bits by a gate of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerNormWidths:
    """A norm with a gain, whose input is opened and whose result the server may publish.

    Attributes:
        open_bits: ring bits of the input as it is opened, with the residual's fraction bits.
        ring_bits: of the rows that the gain multiplies, and of the result.
        gain_frac: fraction bits of the gain.
        extended: the ring holds the result, and what reads it needs a wider one.
    """

    norm: NormWidths
    open_bits: int
    ring_bits: int
    gain_frac: int
    extended: bool


def inner_norm_widths(
    norm: NormWidths, *, open_bits: int, own: int, needed: int, moved: int, weight: int, what: str
) -> InnerNormWidths:
    """The widths, with a gain as fine as the ring has room for.

    Args:
        own: integer bits of the result, slack included.
        needed: those that what reads it wants, rounded to the reader's fraction bits.
        moved: fraction bits that the result gets before it is opened: by RoPE, and by 1 / sqrt(K).
        weight: fraction bits of a weight, the most that a gain has.

    Raises:
        RangeError: there is no room for a gain.
    """
    room = RING_BITS - norm.input_frac - norm.frac - moved
    extended = room - max(own, needed) < min(LEAST_GAIN, weight)
    integer = own if extended else max(own, needed)
    gain = min(weight, room - integer)
    if gain < 1:
        raise RangeError(f"{what} needs {RING_BITS + 1 - gain} bits, a ring has at most {RING_BITS}")
    return InnerNormWidths(
        norm=norm,
        open_bits=open_bits,
        ring_bits=integer + norm.held + gain + moved,
        gain_frac=gain,
        extended=extended,
    )
