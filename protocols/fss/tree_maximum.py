"""The largest entry of every row, exactly, by a tree of comparisons."""

from __future__ import annotations

from protocols.fss.comparison import IsNegative
from protocols.fss.machine import Machine
from protocols.fss.opening import Open
from protocols.fss.polynomial import Product
from protocols.knockout import Level
from protocols.share import Held, Share


def row_maximum(machine: Machine, x: Share, lengths: tuple[int, ...]) -> Share:
    """The exact maximum of every row, all rows of all lengths together level by level.

    1. Pair neighbours within each row; an odd entry waits.
    2. Open left - right, masked; differences of masked entries are masked already.
    3. d = 1{left < right} (`IsNegative`).
    4. The larger is left - d (left - right): one `Product` with a bit.
    5. Repeat until each row has one entry: ceil(log2(longest row)) levels.

    Args:
        machine: any of the four.
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
        x = machine.one(Product(x.ring_bits), masked)
    while max(lengths) > 1:
        level = Level(lengths)
        ahead = _lead(machine, x if masked is None else masked, level)
        if masked is None:
            ahead = machine.one(Open(), ahead)
        loss = machine.one(Product(x.ring_bits), machine.one(IsNegative(), ahead), ahead)
        larger = machine.sub(machine.map(x, level.left), loss)
        both = machine.concat([larger, machine.map(x, level.waiting)], -1)
        x, lengths, masked = machine.map(both, level.join), level.next_lengths, None
    return x


def _lead(machine: Machine, x: Share, level: Level) -> Share:
    """By how much the left entry of each pair is larger."""
    return machine.sub(machine.map(x, level.left), machine.map(x, level.right))
