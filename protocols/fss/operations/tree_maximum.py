"""The largest entry of every row, exactly, by a tree of comparisons."""

from __future__ import annotations

from protocols.fss.executors.executor import Executor
from protocols.fss.gates.comparison import IsNegative
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product
from protocols.share import Held, Share
from protocols.tournament import Level


def row_maximum(executor: Executor, x: Share, lengths: tuple[int, ...]) -> Share:
    """The exact maximum of every row, all rows of all lengths together level by level.

    1. Pair neighbours within each row; an odd entry waits.
    2. Open left - right, masked; differences of masked entries are masked already.
    3. d = 1{left < right} (`IsNegative`).
    4. The larger is left - d (left - right): one `Product` with a bit.
    5. Repeat until each row has one entry: ceil(log2(longest row)) levels.

    Args:
        executor: any of the four.
        x: additive or masked, [..., sum(lengths)], rows end to end. Entries of a row differ by less than
            2^(ring_bits - 1).
        lengths: of the rows, 1 at least.

    Returns:
        Additive shares of the maxima, [..., rows], in x's ring and scale.

    Cost: 2 rounds a level; 1 less in all where x is masked. With n = ring_bits, each of a row's length - 1
        comparisons takes n + 1 bits each way, 1 where both entries are masked, and a key of 16 max(1, n - 7)
        bytes to each party and 3 n bits to the server; a masked x takes n bits an entry more of key.
    Reveals: see `Open` and `IsNegative`. Which entry was largest is never computed.
    Source: the usual knock-out tree.
    """
    masked = x if x.held is Held.MASKED else None
    if masked is not None:
        x = executor.one(Product(x.ring_bits), masked)
    while max(lengths) > 1:
        level = Level(lengths)
        ahead = _lead(executor, x if masked is None else masked, level)
        if masked is None:
            ahead = executor.one(Open(), ahead)
        loss = executor.one(Product(x.ring_bits), executor.one(IsNegative(), ahead), ahead)
        larger = executor.sub(executor.map(x, level.left), loss)
        both = executor.concat([larger, executor.map(x, level.waiting)], -1)
        x, lengths, masked = executor.map(both, level.join), level.next_lengths, None
    return x


def _lead(executor: Executor, x: Share, level: Level) -> Share:
    """By how much the left entry of each pair is larger."""
    return executor.sub(executor.map(x, level.left), executor.map(x, level.right))
