"""The largest entry of every row, without finding out which."""

from __future__ import annotations

from typing import final

from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.operation import RowMaximum
from protocols.share import Share
from protocols.tournament import Level

LARGEST = 32767.0
"""Entries of a row are at most this far apart, so that 32 bits with 16 fraction bits decide a comparison."""


@final
class TreeMaximum(RowMaximum):
    """Row maxima by a tree of comparisons, all rows level by level.

    1. Pair neighbours within each row; an odd entry waits.
    2. b = [left < right], one comparison for all pairs of all rows.
    3. The larger is left + (right - left) * b: one product with a bit, nothing is truncated. Both steps are
       one primitive, `positive_part`.
    4. Repeat until each row has one entry: ceil(log2(longest row)) levels.

    Every row of L entries costs L - 1 comparisons in all. Which entry was largest is never computed.
    Exact for entries of a row that are less than 32,767 apart.

    Source: the usual knock-out tree. Deviation from CrypTen 0.4.1, whose `max` spends 17 more rounds on a
    one-hot arg-max that softmax drops, and ends in all-pairs comparisons.

    Args:
        largest: bound on how far entries of a row are apart.
        tolerance: at each level an entry may pass for the larger that is less than this below it.
    """

    max_abs_error = 0.0

    def __init__(self, largest: float = LARGEST, tolerance: float = 0.0) -> None:
        self._largest, self._tolerance = largest, tolerance

    def __call__(self, executor: Arithmetic, x: Share, lengths: tuple[int, ...]) -> Share:
        while max(lengths) > 1:
            level = Level(lengths)
            left, right = executor.rearrange(x, level.left), executor.rearrange(x, level.right)
            difference = executor.sub(right, left)
            more = executor.positive_part(difference, self._largest, self._tolerance)
            larger = executor.add(left, more)
            both = executor.concat([larger, executor.rearrange(x, level.waiting)], -1)
            x, lengths = executor.rearrange(both, level.join), level.next_lengths
        return x
