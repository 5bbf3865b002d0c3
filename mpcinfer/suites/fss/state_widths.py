"""Rings and fraction bits of attention over states, from those of the attention beside it."""

from __future__ import annotations

from dataclasses import dataclass

from mpcinfer.models.bounds import integer_bits
from mpcinfer.suites.fss.attention_widths import Weighting
from mpcinfer.suites.fss.precision import RING_BITS, Precision, fits

_QUERY = 14
"""Fraction bits of pairs of queries, where powers ask for no more."""
_LEAST_READ = 6
"""Fewest fraction bits of queries and keys as pairs are made of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateWidths:
    """One layer's. Sums have the fraction bits of pairs of keys and of values together, none cut off.

    Attributes:
        ring_bits: of pairs, of sums, and of their product.
        query, key: fraction bits of pairs of queries and of keys as they are opened.
        query_read, key_read: fraction bits of what those are products of.
        value: fraction bits of values.
    """

    ring_bits: int
    query: int
    key: int
    query_read: int
    key_read: int
    value: int

    @property
    def sums(self) -> int:
        """Fraction bits of the state."""
        return self.key + self.value

    @property
    def read(self) -> int:
        """Fraction bits of what queries read from it."""
        return self.query + self.sums


def state_widths(weights: Weighting, p: Precision, what: str) -> StateWidths:
    """Sums of all keys that a session may hold fit, as rows of the attention beside them do.

    Args:
        weights: of power 2.
        what: the attention's label.

    Raises:
        RangeError: something needs more than 64 bits.
    """
    key, query = p.key, max(_QUERY, weights.frac - p.key)
    integer = max(integer_bits(weights.largest_mix), integer_bits(weights.largest_sum))
    ring_bits = fits(integer + query + key + p.value + 2, f"{what}: a state")
    reads = [
        min(usual, (RING_BITS - ring_bits + kept) // 2)  # pairs are cut to `kept` when they are opened
        for usual, kept in ((p.query, query), (p.key, key))
    ]
    if min(reads) < _LEAST_READ or 2 * reads[0] < query or 2 * reads[1] < key:
        fits(RING_BITS + 2 * _LEAST_READ - min(reads), f"{what}: pairs of queries and keys")
    return StateWidths(
        ring_bits=ring_bits, query=query, key=key, query_read=reads[0], key_read=reads[1], value=p.value
    )
