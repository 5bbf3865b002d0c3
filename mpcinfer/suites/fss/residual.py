"""A residual of norms that come last: their rows at the server, through a gain, plus what a block writes.

The rows stay at the server, where the next linear layer and the residual read them without a message. The
gain that the residual needs is a diagonal layer of the server's; it is added to what the block writes before
the sum is opened, once, for the next norm.
"""

from __future__ import annotations

from mpcinfer.suites.fss.range_check import plain_name
from mpcinfer.suites.fss.widths import Widths
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.linear import Linear
from protocols.fss.preprocessing.matrix import Matrix
from protocols.share import Held, Share


def through_gain(executor: Executor, x: Share, gain: Matrix, mean: Matrix | None) -> Share:
    """x, held by the server, times a gain, plus the bias that is kept with it, less the mean of the row.

    Cost: nothing online; offline, ring_bits an element from the dealer to the server, and as many from the
        client.
    """
    read = plain_name(gain.name) in ("head.residual.weight", "head.norm.weight")  # by the client or the head
    held = Held.SERVER_HELD if read else Held.SERVER_MASKED
    x = executor.reduce(x, gain.ring_bits)
    y = executor.one(Linear(gain, held=held), x)
    return y if mean is None else executor.sub(y, executor.one(Linear(mean, held=held), x))


def sum_at_one_scale(executor: Executor, widths: Widths, a: Share, b: Share) -> Share:
    """a + b, masked at the server, at the finer of their scales, in a ring for the residual."""
    finest = max(a.frac_bits, b.frac_bits)
    bits = widths.residual_bits + finest - widths.precision.residual
    shifted: list[Share] = []
    for x in (a, b):
        up = finest - x.frac_bits
        shifted.append(executor.shift_up(executor.reduce(x, bits - up), up))
    return executor.add(*shifted)
