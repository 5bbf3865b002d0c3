"""Rings and fraction bits of attention over states, from those of the attention beside it."""

from __future__ import annotations

from dataclasses import dataclass

from mpcinfer.models.bounds import integer_bits
from mpcinfer.models.prefix_formats import PAIRS_FRAC
from mpcinfer.suites.fss.precision import RING_BITS, Precision, fits, ring
from parties.errors import RangeError

_LEAST = 4
"""Fewest fraction bits of sums."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateWidths:
    """One layer's.

    Attributes:
        sums: fraction bits of the state.
        moved_bits: ring of keys and values as they move into it, where nothing is cut off yet; 0 where none
            do.
        sum_bits: ring of the state as it is opened.
        read_bits: ring of the state and of queries as they read it.
        value: fraction bits of values.
    """

    sums: int
    moved_bits: int
    sum_bits: int
    read_bits: int
    value: int


def state_widths(read: float, largest: float, p: Precision, max_context: int, what: str) -> StateWidths:
    """What queries read fits where sums of the attention beside it do; the sums themselves fit as the largest
    keys and values of a whole session.

    Args:
        read: bound on weights times values, and on rows' sums, not divided.
        largest: bound on keys, values and what is added to scores.
        max_context: the most keys of a session.
        what: the attention's label.

    Raises:
        RangeError: something needs more than 64 bits.
    """
    exact = 2 * p.key + p.value
    integer = integer_bits(read)
    sums = min(exact, RING_BITS - 2 - integer - 2 * p.query)
    if sums < _LEAST:
        raise RangeError(
            f"{what}: a state needs {RING_BITS + _LEAST - sums} bits, a ring has at most {RING_BITS}: take a "
            "smaller --max-context, or see `mpcinfer calibrate`"
        )
    bound = 2.0 * max_context * largest**2 * max(largest, 1.0)
    moved_bits = ring(bound, exact, slack=2, what=f"{what}: sums of keys")
    sum_bits, read_bits = moved_bits - (exact - sums), fits(integer + 2 * p.query + sums + 2, what)
    return StateWidths(
        sums=sums,
        moved_bits=moved_bits,
        sum_bits=min(sum_bits, read_bits),
        read_bits=read_bits,
        value=p.value,
    )


def prefix_widths(read: float, frac: int, p: Precision, what: str) -> StateWidths:
    """Of a prefix's state, which is opened in the ring in which it is read: what queries read of it fits, and
    so it may be of any size itself.

    Args:
        read: bound on weights times values, and on rows' sums, not divided.
        frac: fraction bits of weights, to which what is read is cut.
        what: the attention's label.

    Raises:
        RangeError: that needs more than 64 bits, or weights are finer than what is read.
    """
    if frac + p.value > 2 * p.query + PAIRS_FRAC:
        raise RangeError(
            f"{what}: weights of {frac} fraction bits are finer than what is read of a prefix: divisors are "
            "too small, see `mpcinfer calibrate`"
        )
    bits = ring(read, 2 * p.query + PAIRS_FRAC, slack=2, what=f"{what}: a prefix")
    return StateWidths(sums=PAIRS_FRAC, moved_bits=0, sum_bits=bits, read_bits=bits, value=p.value)


def published_bits(score_bits: int, mix_bits: int, state: StateWidths | None) -> tuple[int, int, int]:
    """Ring bits of queries, keys and values as they are published: of the widest product each is in.

    Args:
        score_bits, mix_bits: of the attention beside the state.
    """
    if state is None:
        return score_bits, score_bits, mix_bits
    moved = state.moved_bits
    return max(score_bits, state.read_bits), max(score_bits, moved), max(mix_bits, moved)
