"""Causal attention, from masked queries, keys and values to an output that the server holds.

What all kinds have in common is here, and softmax; `fss_power_attention` has the others. Softmax:

1. Scores: a product of masked matrices; their causal part is opened.
2. The coarse maximum of every row: a histogram opened, a zero test.  3. It is opened.
4. exp(maximum - score): one look-up.  5. It is opened, with each row's sum.
6. Weights times values; opened together with each row's reciprocal; their product goes to the server.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mpcinfer.backends.fss_wires import exponential_wires, reciprocal, score_index_bits
from mpcinfer.models.attention_widths import AttentionWidths
from mpcinfer.models.precision import Precision
from protocols.fss.linear import Hold
from protocols.fss.machine import Machine
from protocols.fss.matmul import MatMul
from protocols.fss.opening import Open
from protocols.fss.polynomial import Product
from protocols.fss.rescale import cut, narrow, view
from protocols.fss.suite import FssSuite, MaximumProtocol
from protocols.share import Share


@dataclass(frozen=True, slots=True, eq=False)
class Causal:
    """Which keys each query may see: rows of scores packed end to end.

    Attributes:
        queries, keys: T, S.
        rows: row of every visible entry, row by row.
        visible: where they lie in the flattened [T, S] matrix.
    """

    queries: int
    keys: int
    rows: torch.Tensor
    visible: torch.Tensor

    @classmethod
    def of(cls, queries: int, keys: int) -> Causal:
        """The last T of S positions."""
        return cls(queries, keys, *causal(queries, keys, keys - queries))

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many keys each query sees."""
        return tuple(range(self.keys - self.queries + 1, self.keys + 1))

    def pack(self, machine: Machine, x: Share) -> Share:
        """[..., T, S] -> what can be seen of it, end to end."""
        return machine.map(x, lambda t: t.flatten(-2).index_select(-1, self.visible))

    def unpack(self, machine: Machine, x: Share) -> Share:
        """The inverse, with zeros."""

        def change(t: torch.Tensor) -> torch.Tensor:
            full = t.new_zeros((*t.shape[:-1], self.queries * self.keys))
            full[..., self.visible] = t
            return full.reshape(*t.shape[:-1], self.queries, self.keys)

        return machine.map(x, change)


def causal(queries: int, keys: int, start: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and flat positions [.] of the entries of [T, S] that causal attention sees, row by row."""
    mask = torch.ones(queries, keys, dtype=torch.bool).tril(start)
    rows = mask.nonzero()[:, 0]
    return rows, mask.flatten().nonzero()[:, 0]


def packed_scores(machine: Machine, q: Share, k: Share, seen: Causal) -> Share:
    """q k^T where it can be seen, additive."""
    scores = machine.one(MatMul(), q, machine.map(k, lambda t: t.transpose(-1, -2)))
    return seen.pack(machine, scores)


def hold_quotient(machine: Machine, quotient: Share, widths: AttentionWidths, p: Precision) -> Share:
    """Attention's output for the next layer, held by the server; opened and cut first where it is too fine.

    Cost: 1 message to the server; where it is opened, a round more.
    """
    if widths.reopened:
        (opened,) = machine.apply(Open(), cut(machine, quotient, p.mixed))
        quotient = machine.one(Product(widths.out_bits), view(machine, opened, p.mixed))
    return machine.one(Hold(), cut(machine, quotient, widths.held))


def divide(
    machine: Machine, suite: FssSuite, mixed: Share, sums: Share, widths: AttentionWidths, p: Precision
) -> Share:
    """Weights times values over each row's masked sum, held by the server for the next layer.

    Cost: 2 rounds, and as `hold_quotient` says.
    """
    weights = widths.weighting
    inverse = suite.reciprocal(machine, *reciprocal(widths, p, faithful=machine.faithful), sums)
    mixed, inverse = machine.apply(Open(), cut(machine, mixed, weights.mixed), inverse)
    mixed, inverse = view(machine, mixed, weights.mixed), view(machine, inverse, weights.inverse)
    return hold_quotient(machine, machine.one(Product(widths.quotient_bits), mixed, inverse), widths, p)


def softmax_attention(
    machine: Machine,
    suite: FssSuite,
    q: Share,
    k: Share,
    v: Share,
    widths: AttentionWidths,
    p: Precision,
) -> Share:
    """softmax(q k^T) v over the keys each query may see, held by the server for the next layer.

    Args:
        q: masked [B, H, T, K], divided by sqrt(K) already.
        k, v: masked [B, H, S, K]; the queries are the last T of the S positions.

    Cost: 7 rounds, and one more as `hold_quotient` says.
    """
    seen, span = Causal.of(q.shape[-2], k.shape[-2]), machine.meter.span
    with span("scores", "matmul"):
        (scores,) = machine.apply(Open(), cut(machine, packed_scores(machine, q, k, seen), p.score))
    with span("softmax", "softmax"):
        index = _below_maximum(machine, suite.maximum, scores, seen, widths, p)
        around = exponential_wires(widths, p, coarse=suite.maximum.coarse, faithful=machine.faithful)
        powers = suite.exponential(machine, around, index)
        powers = cut(machine, powers, p.power)
        sums = machine.reduce(machine.sum_last(seen.unpack(machine, powers)), widths.sum_bits)
        powers, sums = machine.apply(Open(), powers, sums)
    with span("mix", "matmul"):
        mixed = machine.one(MatMul(), seen.unpack(machine, powers), v)
        return divide(machine, suite, mixed, sums, widths, p)


def _below_maximum(
    machine: Machine,
    maximum: MaximumProtocol,
    scores: Share,
    seen: Causal,
    widths: AttentionWidths,
    p: Precision,
) -> Share:
    """Each row's maximum, exact or coarse, minus its scores, as an index of exp."""
    fine_wire = (scores, p.score, score_index_bits(widths, p.score))
    coarse_wire = (scores, -p.step, score_index_bits(widths, -p.step))
    narrowed = narrow(machine, *([coarse_wire, fine_wire] if maximum.coarse else [fine_wire]))
    compared, fine = narrowed[0], narrowed[-1]
    (peak,) = machine.apply(Open(), maximum(machine, compared, seen.lengths))
    peak = machine.shift_up(peak, p.score - peak.frac_bits)
    return machine.sub(machine.map(peak, lambda t: t.index_select(-1, seen.rows)), fine)
